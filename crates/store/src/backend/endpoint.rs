//! Endpoints of webhooks, and their calls.

use tidings_domain::account::Realm;
use tidings_domain::id::*;
use tidings_domain::time::Timestamp;
use tidings_domain::webhook::Verdict;

/// Different callback addresses of one realm. Each is an endpoint with a queue and callers of its own.
pub(crate) const CALLBACKS_MAX: usize = 1_000;

/// A callback address may be needed as long as a message that names it may wait and live: 35 days ahead, 72 hours
/// of life, 72 hours for late receipts.
pub(crate) const CALLBACKS_MS: i64 = 42 * 24 * 3_600_000;

/// Where a customer is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// Whose.
    pub realm: Realm,
    /// The address.
    pub url: String,
    /// What it is for, in the owner's words.
    pub description: String,
    /// The kinds it wants, as [`Kind::bit`]s; 0 for all.
    pub kinds: u32,
    /// Made for one message's callback address: it hears only of messages that name it.
    pub callback_only: bool,
    /// The secret that signs.
    pub secret: Vec<u8>,
    /// The secret before, and until when it signs too.
    pub previous: Option<(Vec<u8>, Timestamp)>,
    /// Why it is switched off, if it is.
    pub disabled: Option<String>,
    /// Since when every try failed.
    pub failing_since: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// One try to tell one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Its place in the log; 0 before it is recorded.
    pub seq: i64,
    /// Whose endpoint.
    pub realm: Realm,
    /// What was told.
    pub event: EventId,
    /// About which message.
    pub message: Option<MessageId>,
    /// To whom.
    pub endpoint: EndpointId,
    /// The due time of the lease that the try held; says which open delivery it settles.
    pub lease: Timestamp,
    /// Which try, from 1.
    pub number: u32,
    /// When it began.
    pub at: Timestamp,
    /// How long it took: ms.
    pub took_ms: u32,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// The request's body. Empty where it can be rendered again from the event.
    pub request: String,
    /// The beginning of the answer's body, or why there was none.
    pub response: String,
    /// What becomes of the delivery.
    pub verdict: Verdict,
}

/// What to tell again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// This event.
    One(EventId),
    /// All public events from (inclusive) to (exclusive).
    Range(Timestamp, Timestamp),
}
