//! What happened, with what it is about.

use super::Inbound;
use tidings_domain::account::Realm;
use tidings_domain::event::Event;
use tidings_domain::id::*;
use tidings_domain::message::Message;
use tidings_domain::webhook::Delivery;

/// How long a delivery that was handed over in memory counts as taken: longer than any call may last.
pub(crate) const FIRST_LEASE_MS: i64 = 60_000;

/// Events that are looked at for one [`Stretch`], at most, whosever they are: those of one realm may lie far apart among those
/// of all others.
pub const EVENTS_LOOKED_AT_MAX: usize = 10_000;

/// A stretch of the event log, with the public events of one realm in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stretch {
    /// Them, oldest first.
    pub told: Vec<Told>,
    /// Up to where the log was looked through: what comes behind it was not there yet, or was not looked at. `None` if there
    /// was nothing at all.
    pub upto: Option<EventId>,
    /// Whether that was its end at this moment. If not, there may be more, also where nothing was found.
    pub is_end: bool,
}

/// An event with what is needed to tell it, and the delivery it is told by (if any).
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// Its id and place in the feed.
    pub id: EventId,
    /// Whose.
    pub realm: Realm,
    /// The fact.
    pub event: Event,
    /// About which message.
    pub about: About,
    /// The delivery, when it is on its way to an endpoint.
    pub delivery: Option<Delivery>,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq)]
pub enum About {
    /// An outbound message: its unchanging facts, without the text.
    Message(Box<Message>),
    /// An inbound message.
    Inbound(Box<Inbound>),
    /// A test call that somebody asked for.
    Test,
}
