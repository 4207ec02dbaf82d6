//! Endpoints of webhooks, and their calls.

use tidings_domain::id::EventId;
use tidings_domain::time::Timestamp;
pub use tidings_domain::webhook::{Attempt, Endpoint};

/// What to tell again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// This event.
    One(EventId),
    /// All public events from (inclusive) to (exclusive).
    Range(Timestamp, Timestamp),
}
