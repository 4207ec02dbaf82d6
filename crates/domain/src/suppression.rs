//! The suppression list: who must not be sent to, and why. One list, read at intake and again at the last moment, and the
//! first reason of the [gate](crate::gate).

use crate::failure::{Failure, FailureClass};
use crate::reply::{self, Reply};
use crate::time::Timestamp;

/// Why somebody is on the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The person said stop, to us or to the carrier.
    OptedOut,
    /// The carrier says that the number cannot receive messages.
    InvalidNumber,
    /// Somebody of the account put it there.
    Manual,
}

impl Reason {
    /// All of them; the place in this list is the number in the store.
    pub const ALL: [Self; 3] = [Self::OptedOut, Self::InvalidNumber, Self::Manual];

    /// The public word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OptedOut => "opted_out",
            Self::InvalidNumber => "invalid_number",
            Self::Manual => "manual",
        }
    }

    /// From the public word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }

    /// Whether it stops a message that answers this by itself, if anything, and was accepted then. It stops every message
    /// but one: the confirmation of an opt-out, while it is fresh (47 CFR 64.1200(a)(12)). Such a message is made only in
    /// the commit that puts its recipient on the list, and says so in [`Message::reply`](crate::message::Message::reply).
    pub fn stops(self, reply: Option<Reply>, created_at: Timestamp, now: Timestamp) -> bool {
        let confirms = reply.is_some_and(|reply| reply.kind == reply::Kind::OptOut);
        let is_fresh = now < created_at.plus_s(reply::VALIDITY_S);
        !(self == Self::OptedOut && confirms && is_fresh)
    }

    /// Whether the person's own word, by text, ends an entry of this reason: only what was the person's own word, to us,
    /// to somebody of the account, or to the carrier. What others know or decided stays.
    pub const fn is_lifted_by_person(self) -> bool {
        matches!(self, Self::OptedOut)
    }

    /// The reason that a carrier's failure gives.
    pub const fn of(class: FailureClass) -> Self {
        match class {
            FailureClass::OptedOut => Self::OptedOut,
            FailureClass::InvalidNumber => Self::InvalidNumber,
            FailureClass::AuthFailed
            | FailureClass::RateLimited
            | FailureClass::Filtered
            | FailureClass::UnknownError => Self::Manual,
        }
    }

    /// What a message to somebody on the list is refused with.
    pub fn failure(self) -> Failure {
        match self {
            Self::OptedOut => Failure::new(
                FailureClass::OptedOut,
                false,
                "tidings opted_out",
                "the recipient withdrew consent and is on the suppression list",
            ),
            Self::InvalidNumber => Failure::new(
                FailureClass::InvalidNumber,
                false,
                "tidings suppressed_invalid_number",
                "a carrier reported this number as unable to receive messages, and it is on the suppression list",
            ),
            Self::Manual => Failure::new(
                FailureClass::OptedOut,
                false,
                "tidings suppressed",
                "the recipient was put on the suppression list",
            ),
        }
    }
}

/// Until when an entry counts, for the reasons that cure themselves: numbers are given to new people.
pub const fn default_end(reason: Reason, now: Timestamp) -> Option<Timestamp> {
    match reason {
        Reason::InvalidNumber => Some(now.plus_s(90 * 24 * 3600)),
        Reason::OptedOut | Reason::Manual => None,
    }
}
