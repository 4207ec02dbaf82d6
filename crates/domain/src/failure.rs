//! Why a message did not get through, and the one function that says what to do about it.
//!
//! Carriers have thousands of codes; here there are six classes and three recoveries. A carrier's code is
//! turned into a [`Failure`] by data (`carriers/data/failures.csv`, which an operator may extend), never by code.

use std::fmt;

/// The kind of a failure, spelled as the public API spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureClass {
    /// The carrier does not accept our credentials or rights.
    AuthFailed,
    /// The number cannot receive messages.
    InvalidNumber,
    /// Too much at once.
    RateLimited,
    /// The person said stop.
    OptedOut,
    /// Content, sender or route was blocked.
    Filtered,
    /// Anything else.
    UnknownError,
}

impl FailureClass {
    /// All of them; the place in this list is the number in the store.
    pub const ALL: [Self; 6] = [
        Self::AuthFailed,
        Self::InvalidNumber,
        Self::RateLimited,
        Self::OptedOut,
        Self::Filtered,
        Self::UnknownError,
    ];

    /// The public word, such as `INVALID_NUMBER`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthFailed => "AUTH_FAILED",
            Self::InvalidNumber => "INVALID_NUMBER",
            Self::RateLimited => "RATE_LIMITED",
            Self::OptedOut => "OPTED_OUT",
            Self::Filtered => "FILTERED",
            Self::UnknownError => "UNKNOWN_ERROR",
        }
    }

    /// From the public word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == word)
    }
}

/// The three things that can be done about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Recovery {
    /// Try again by itself, later.
    Retry,
    /// Never send to this number again until somebody lifts the suppression.
    Suppress,
    /// A person must look.
    Review,
}

impl Recovery {
    /// All of them; the place in this list is the number in the store.
    pub const ALL: [Self; 3] = [Self::Retry, Self::Suppress, Self::Review];

    /// The public word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Suppress => "suppress",
            Self::Review => "review",
        }
    }

    /// From the public word; `escalate` is the reference table's word for `review`.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "escalate" => Some(Self::Review),
            _ => Self::ALL.into_iter().find(|recovery| recovery.as_str() == word),
        }
    }
}

/// One failure: its class, whether time cures it, and the carrier's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The kind.
    pub class: FailureClass,
    /// Whether the same request may succeed later without anybody changing anything.
    pub transient: bool,
    /// The code as its origin spells it, with the origin's name: `smpp 0x00000058`, `tidings expired`.
    pub code: String,
    /// A sentence for people.
    pub detail: String,
    /// Whether it says that the phone could not be reached, and nothing worse: what makes a number [dead](crate::reachability) in
    /// time. It counts for that alone, and is no part of what is told.
    pub unreached: bool,
}

impl Failure {
    /// A failure with all its parts.
    pub fn new(
        class: FailureClass,
        transient: bool,
        code: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        Self { class, transient, code: code.into(), detail: detail.into(), unreached: false }
    }

    /// What to do about it. The only place that decides; see [`Recovery`].
    ///
    /// `UNKNOWN_ERROR` splits: transport trouble cures itself, trouble with a request or an account does not.
    pub const fn recovery(&self) -> Recovery {
        match (self.class, self.transient) {
            (FailureClass::RateLimited, _) | (FailureClass::UnknownError, true) => Recovery::Retry,
            (FailureClass::InvalidNumber | FailureClass::OptedOut, _) => Recovery::Suppress,
            (FailureClass::AuthFailed | FailureClass::Filtered, _) | (FailureClass::UnknownError, false) => {
                Recovery::Review
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}: {})", self.class.as_str(), self.code, self.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_has_one_recovery() {
        let check = |class, transient, recovery| {
            assert_eq!(
                Failure::new(class, transient, "x", "x").recovery(),
                recovery,
                "{class:?} {transient}"
            );
        };
        check(FailureClass::AuthFailed, false, Recovery::Review);
        check(FailureClass::AuthFailed, true, Recovery::Review);
        check(FailureClass::InvalidNumber, false, Recovery::Suppress);
        check(FailureClass::RateLimited, true, Recovery::Retry);
        check(FailureClass::RateLimited, false, Recovery::Retry);
        check(FailureClass::OptedOut, false, Recovery::Suppress);
        check(FailureClass::Filtered, false, Recovery::Review);
        check(FailureClass::UnknownError, true, Recovery::Retry);
        check(FailureClass::UnknownError, false, Recovery::Review);
    }
}
