//! Events as a timeline shows them. How webhooks and the feed show them is in `webhook`.

use crate::message::{Message, MessageError, SenderChoice};
use crate::show::Shown;
use serde::Serialize;
use tidings_domain::event::{Event, Kind};
use tidings_domain::id::EventId;
use tidings_domain::pool;
use tidings_domain::purpose::Purpose;
use tidings_domain::time::Timestamp;
use utoipa::ToSchema;

/// One fact of a message's life.
#[derive(Debug, Serialize, ToSchema)]
pub struct TimelineEvent<'a> {
    /// Its id.
    #[schema(value_type = String)]
    pub id: Shown<EventId>,
    /// What happened, such as `message.sent`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// When.
    #[schema(value_type = String)]
    pub at: Shown<Timestamp>,
    /// Where the message stands afterwards.
    pub status: &'static str,
    /// The submission that it belongs to.
    pub attempt: u32,
    /// When it will be tried again, if it will.
    #[schema(value_type = Option<String>)]
    pub next_attempt_at: Option<Shown<Timestamp>>,
    /// What went wrong, if anything did.
    pub error: Option<MessageError<'a>>,
    /// Why the message is from its sender, where that was chosen from a pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender_choice: Option<SenderChoice>,
    /// The carrier's own words.
    pub raw: Option<&'a str>,
}

impl<'a> TimelineEvent<'a> {
    /// Shows an event.
    pub fn new(id: EventId, event: &'a Event, purpose: Purpose) -> Self {
        let is_choice = event.kind == Kind::SenderChosen;
        let noted = event.raw.as_deref().filter(|_| is_choice).and_then(pool::read_noted);
        Self {
            id: Shown(id),
            kind: event.kind.as_str(),
            at: Shown(event.at),
            status: event.status.as_str(),
            attempt: event.attempt,
            next_attempt_at: event.due_at.map(Shown),
            error: event.failure.as_ref().map(|failure| MessageError::new(failure, event.status, purpose)),
            sender_choice: noted.map(|(choice, pool)| SenderChoice::of(choice, &pool)),
            raw: event.raw.as_deref().filter(|_| !is_choice),
        }
    }
}

/// Everything that is recorded about one message.
#[derive(Debug, Serialize, ToSchema)]
pub struct Timeline<'a> {
    /// The message as it is now.
    pub message: Message<'a>,
    /// The name of its connection.
    pub connection_name: Option<&'a str>,
    /// Why its connection is paused, if it is.
    pub connection_paused: Option<&'a str>,
    /// What happened, oldest first.
    pub events: Vec<TimelineEvent<'a>>,
    /// Webhook calls about it, oldest first.
    pub webhook_attempts: Vec<crate::endpoint::Attempt<'a>>,
    /// Webhook calls that are still to be made.
    pub webhook_deliveries: Vec<crate::endpoint::Delivery>,
}

/// A stretch of the event feed.
#[derive(Debug, Serialize, ToSchema)]
pub struct Feed {
    /// The events, oldest first; each is what a webhook call would carry.
    #[schema(value_type = Vec<crate::webhook::Envelope<Object>>)]
    pub data: Vec<Box<serde_json::value::RawValue>>,
    /// Give this as `after` the next time, also when there was nothing new.
    #[schema(value_type = Option<String>)]
    pub next: Option<Shown<EventId>>,
}
