//! Failures that wait for a decision.

use tidings_domain::failure::Failure;
use tidings_domain::id::*;
use tidings_domain::review::{self, Decision};
use tidings_domain::time::Timestamp;

/// A failure that a person must look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// Its id.
    pub id: ReviewId,
    /// Its group.
    pub cause: String,
    /// What it is about.
    pub about: review::About,
    /// The failure.
    pub failure: Failure,
    /// When.
    pub opened_at: Timestamp,
    /// What was decided, when, by whom.
    pub decided: Option<(Decision, Timestamp, String)>,
}

/// Like failures together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReviewGroup {
    /// What they have in common.
    pub cause: String,
    /// One of the failures.
    pub failure: Failure,
    /// How many are open.
    pub open: u64,
    /// The first and the last.
    pub first_at: Timestamp,
    /// The last.
    pub last_at: Timestamp,
    /// What the last is about.
    pub example: review::About,
}

/// Which items are decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReviewChoice {
    /// All open ones of this cause.
    Cause(String),
    /// This one.
    One(ReviewId),
}
