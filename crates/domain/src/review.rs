//! Failures that a person must look at, grouped by like cause, and what the person may decide.

use crate::failure::Failure;
use crate::id::ConnectionId;

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
