//! What is kept for how long, and numbers for operators.

use tidings_domain::account::Environment;
use tidings_domain::id::*;
use tidings_domain::purpose::Purpose;
use tidings_domain::time::Timestamp;

/// A configured connection as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Its id.
    pub id: ConnectionId,
    /// Its name in the configuration.
    pub name: String,
    /// Its environment.
    pub environment: Environment,
    /// Why it is paused, if it is.
    pub paused: Option<String>,
}

/// How long things are kept: milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Idempotency keys.
    pub idempotency_ms: i64,
    /// Parked receipts.
    pub parked_ms: i64,
    /// Webhook attempts.
    pub attempts_ms: i64,
    /// Finished messages, and those of people, with their events; `None` for ever.
    pub messages_ms: Option<i64>,
}

impl Retention {
    /// Nothing is forgotten.
    pub const FOR_EVER: Self =
        Self { idempotency_ms: i64::MAX, parked_ms: i64::MAX, attempts_ms: i64::MAX, messages_ms: None };
}

/// The room on the disk of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// What the store may still use: octets.
    pub free: u64,
    /// The whole disk: octets.
    pub size: u64,
    /// Whether it was found full: new work is refused until there is room.
    pub full: bool,
}

/// Numbers for metrics and doctor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Waiting messages by connection and purpose: how many, and when the oldest became due.
    pub queues: Vec<(ConnectionId, Purpose, u64, Option<Timestamp>)>,
    /// Messages at a carrier, in doubt, or unconfirmed while a late receipt may still correct that.
    pub in_flight: u64,
    /// Open webhook deliveries, and when the oldest became due.
    pub deliveries: (u64, Option<Timestamp>),
    /// Receipts that wait for their segment.
    pub parked: u64,
    /// Open review items.
    pub reviews: u64,
    /// Size of the database: octets.
    pub size: u64,
}
