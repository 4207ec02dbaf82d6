//! Carrier connections, as an operator sees them.

use crate::body::{Field, Json, Kind, Shape};
use crate::error::FieldError;
use crate::show::Shown;
use serde::Serialize;
use tidings_domain::id::ConnectionId;
use tidings_domain::time::Timestamp;
use utoipa::ToSchema;

/// The body of `POST /v1/connections/{name}/pause`.
pub static PAUSE: Shape = Shape {
    name: "Pause",
    about: "Why a connection is paused.",
    fields: &[Field::new("reason", Kind::Text, "Why, for those who find it paused: 1 to 200 characters.")
        .required()],
};

/// Parses the body of a pause: the reason.
///
/// # Errors
/// Everything that is wrong with it, field by field.
pub fn parse_pause(json: &Json<'_>) -> Result<String, Vec<FieldError>> {
    let mut errors = Vec::new();
    let fields = PAUSE.read(json, "", &mut errors);
    let reason = crate::message::bounded(fields, "reason", 200, &mut errors);
    reason.filter(|_| errors.is_empty()).ok_or(errors)
}

/// A connection as it is now.
#[derive(Debug, Serialize, ToSchema)]
pub struct Connection<'a> {
    /// Its id, which messages name.
    #[schema(value_type = String)]
    pub id: Shown<ConnectionId>,
    /// Its name in the configuration.
    pub name: &'a str,
    /// What its carrier is called, if several connections lead to it.
    pub carrier: Option<&'a str>,
    /// The kind of carrier.
    pub kind: &'a str,
    /// `connecting`, `up`, `refused`, `stopped`, or `elsewhere` (another node holds it).
    pub state: &'static str,
    /// More about the state, such as the carrier's words.
    pub state_detail: Option<String>,
    /// Why it is paused, if it is.
    pub paused: Option<&'a str>,
    /// How many segments may be under way at once.
    pub window_size: usize,
    /// How many are.
    pub window_used: usize,
    /// The pace in force: segments per second; null without limit.
    pub pace_per_s: Option<f64>,
    /// What waits, by purpose.
    pub queues: Vec<Queue>,
}

/// What waits for a connection.
#[derive(Debug, Serialize, ToSchema)]
pub struct Queue {
    /// Why the messages are sent.
    pub purpose: &'static str,
    /// How many wait.
    pub messages: u64,
    /// Since when the oldest is due.
    #[schema(value_type = Option<String>)]
    pub oldest_due_at: Option<Shown<Timestamp>>,
}
