//! Failures that a person must look at, grouped by like cause, and what the person may decide.

use crate::failure::{Failure, FailureClass};
use crate::id::{ConnectionId, InboundId, MessageId, ReviewId};
use crate::time::Timestamp;

/// What an item is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum About {
    /// A message of ours that failed.
    Message(MessageId),
    /// A message of a person who perhaps wants no more.
    Inbound(InboundId),
}

impl About {
    /// The message of ours, if it is about one.
    pub const fn message(self) -> Option<MessageId> {
        match self {
            Self::Message(id) => Some(id),
            Self::Inbound(_) => None,
        }
    }

    /// The person's message, if it is about one.
    pub const fn inbound(self) -> Option<InboundId> {
        match self {
            Self::Message(_) => None,
            Self::Inbound(id) => Some(id),
        }
    }
}

/// A failure that a person must look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// Its id.
    pub id: ReviewId,
    /// Its group.
    pub cause: String,
    /// What it is about.
    pub about: About,
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
    /// When the first came.
    pub first_at: Timestamp,
    /// When the last came.
    pub last_at: Timestamp,
    /// What the last is about.
    pub example: About,
}

/// Why a person must look at an inbound message: it may ask for no more messages.
pub fn doubtful(matched: &str) -> Failure {
    Failure::new(
        FailureClass::UnknownError,
        false,
        "tidings doubtful_opt_out",
        format!(
            "somebody may have asked for no more messages (\"{matched}\"): suppress the number, or drop this"
        ),
    )
}

/// What a person decides about one failure or a whole group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Send the same content again, as a new message that names the old one. The old one's end stays true.
    Retry,
    /// Nothing more is done.
    Drop,
    /// Nothing more is sent to this recipient.
    Suppress,
}

impl Decision {
    /// All of them; the place in this list is the number in the store.
    pub const ALL: [Self; 3] = [Self::Retry, Self::Drop, Self::Suppress];

    /// The public word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Drop => "drop",
            Self::Suppress => "suppress",
        }
    }

    /// From the public word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|decision| decision.as_str() == word)
    }
}

/// The name under which like failures are grouped: where it happened and the carrier's code.
pub fn cause(connection: ConnectionId, failure: &Failure) -> String {
    format!("{connection} {} {}", failure.class.as_str(), failure.code)
}
