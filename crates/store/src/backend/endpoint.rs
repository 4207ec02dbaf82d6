//! Endpoints of webhooks, and their calls.

use tidings_domain::id::EventId;
use tidings_domain::time::Timestamp;
pub use tidings_domain::webhook::{Attempt, Endpoint};

/// Different callback addresses of one realm. Each is an endpoint with a queue and callers of its own.
pub(crate) const CALLBACKS_MAX: usize = 1_000;

/// A callback address may be needed as long as a message that names it may wait and live: 35 days ahead, 72 hours
/// of life, 72 hours for late receipts.
pub(crate) const CALLBACKS_MS: i64 = 42 * 24 * 3_600_000;

/// What to tell again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// This event.
    One(EventId),
    /// All public events from (inclusive) to (exclusive).
    Range(Timestamp, Timestamp),
}
