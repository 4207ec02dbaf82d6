//! Failures that wait for a decision.

use tidings_domain::id::ReviewId;
pub use tidings_domain::review::{Review, ReviewGroup};

/// Which items are decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReviewChoice {
    /// All open ones of this cause.
    Cause(String),
    /// This one.
    One(ReviewId),
}
