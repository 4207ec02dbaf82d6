//! The body of a webhook call, which is also an item of the event feed: Standard Webhooks' `{id, type, timestamp, data}`.
//!
//! A body comes only from the event and from what does not change about its message, so that every try and every
//! replay sends the same octets, and the signature over them stays the same. Texts of outbound messages are never in it.

use crate::media::{Medium, media};
use crate::message::{MessageError, Reply, raw};
use crate::show::Shown;
use serde::Serialize;
use serde_json::value::RawValue;
use tidings_domain::address::PhoneNumber;
use tidings_domain::event::Event;
use tidings_domain::id::{BatchId, ConnectionId, ContactId, ConversationId, EventId, InboundId, MessageId};
use tidings_domain::inbound::Whose;
use tidings_domain::keyword;
use tidings_domain::media::Listed;
use tidings_domain::message::Message;
use tidings_domain::programme;
use tidings_domain::sender::Sender;
use tidings_domain::text::Encoding;
use tidings_domain::time::Timestamp;
use utoipa::ToSchema;

/// The public name of a test call.
pub const TEST: &str = "webhook.test";

/// What every webhook and every item of the feed looks like.
#[derive(Debug, Serialize, ToSchema)]
pub struct Envelope<T> {
    /// The event's id, the same in every try: receivers deduplicate by it.
    #[schema(value_type = String, example = "evt_01j8z0k2m4p6q")]
    pub id: Shown<EventId>,
    /// What happened, such as `message.delivered`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// When it happened.
    #[schema(value_type = String)]
    pub timestamp: Shown<Timestamp>,
    /// About what.
    pub data: T,
}

/// What an event tells about an outbound message.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageData<'a> {
    /// The message.
    #[schema(value_type = String)]
    pub message_id: Shown<MessageId>,
    /// Where it stands after the event.
    pub status: &'static str,
    /// Who it is from.
    #[schema(value_type = String)]
    pub from: Shown<Sender>,
    /// Who it is to.
    #[schema(value_type = String)]
    pub to: Shown<PhoneNumber>,
    /// Why it is sent.
    pub purpose: &'static str,
    /// The programme that it is of, if it is of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub programme: Option<&'a str>,
    /// The parts that the network carries.
    pub segments: u8,
    /// `gsm7` or `ucs2`.
    #[schema(value_type = String)]
    pub encoding: Shown<Encoding>,
    /// When it was accepted.
    #[schema(value_type = String)]
    pub created_at: Shown<Timestamp>,
    /// The caller's own name for it.
    pub reference: Option<&'a str>,
    /// The caller's own data.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<&'a RawValue>,
    /// The batch that it came with.
    #[schema(value_type = Option<String>)]
    pub batch_id: Option<Shown<BatchId>>,
    /// The connection that it goes out on.
    #[schema(value_type = String)]
    pub connection: Shown<ConnectionId>,
    /// The submission that it is about, from 1.
    pub attempt: u32,
    /// When it will be tried again, if it will.
    #[schema(value_type = Option<String>)]
    pub next_attempt_at: Option<Shown<Timestamp>>,
    /// What went wrong, if anything did.
    pub error: Option<MessageError<'a>>,
    /// The message of which this is a repeat.
    #[schema(value_type = Option<String>)]
    pub retry_of: Option<Shown<MessageId>>,
    /// What it answers by itself, if it does.
    pub reply: Option<Reply>,
}

/// What an event tells about a message that a person sent.
#[derive(Debug, Serialize, ToSchema)]
pub struct InboundData<'a> {
    /// The inbound message's id.
    #[schema(value_type = String)]
    pub inbound_id: Shown<InboundId>,
    /// Who sent it, as the carrier wrote it.
    pub from: &'a str,
    /// To which of our senders.
    pub to: &'a str,
    /// Its text.
    pub text: &'a str,
    /// The connection that it came in on.
    #[schema(value_type = String)]
    pub connection: Shown<ConnectionId>,
    /// From how many parts it was put together; null if it came in one.
    pub parts: Option<Parts>,
    /// What it asks: `stop`, `start`, `help`, or `doubtful` if a person must look; null for nothing that is known.
    pub keyword: Option<&'static str>,
    /// The programme that an opt-out by it ends, or whose word took one back; left out for everything, and for what is neither.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub programme: Option<String>,
    /// The name of the rule of the configuration that acted on it, if one did.
    pub rule: Option<&'a str>,
    /// The contact whose number it came from, if there was one when it was told.
    #[schema(value_type = Option<String>)]
    pub contact_id: Option<Shown<ContactId>>,
    /// The conversation that it stands in; null where nobody can be answered.
    #[schema(value_type = Option<String>)]
    pub conversation_id: Option<Shown<ConversationId>>,
    /// What came with it, in its order; left out if nothing did.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub media: Vec<Medium<'a>>,
}

/// The parts of a message that a person sent.
#[derive(Debug, Serialize, ToSchema)]
pub struct Parts {
    /// How many there are.
    pub total: u8,
    /// The numbers of those that did not come, from 1. `[…]` stands in the text where they are missing.
    pub missing: Vec<u8>,
    /// The reference that the phone gave to all of them. It uses it again later.
    pub reference: u16,
}

impl Parts {
    pub(crate) fn new((reference, total, missing): (u16, u8, &[u8])) -> Self {
        Self { total, missing: missing.to_vec(), reference }
    }
}

/// What a test call tells.
#[derive(Debug, Serialize, ToSchema)]
pub struct TestData {
    /// A sentence for people.
    pub message: &'static str,
}

/// An inbound message, as this module needs it.
#[derive(Debug, Clone, Copy)]
pub struct Inbound<'a> {
    /// Its id.
    pub id: InboundId,
    /// Who sent it.
    pub from: &'a str,
    /// To which of our senders.
    pub to: &'a str,
    /// Its text.
    pub text: &'a str,
    /// Where it came in.
    pub connection: ConnectionId,
    /// Reference, total and the missing numbers, of a message that was put together.
    pub parts: Option<(u16, u8, &'a [u8])>,
    /// What it asks.
    pub keyword: keyword::Class,
    /// The rule that acted on it.
    pub rule: Option<&'a str>,
    /// What came with it.
    pub media: &'a [Listed],
    /// When.
    pub at: Timestamp,
}

/// The body for an event of an outbound message.
pub fn render_message(id: EventId, event: &Event, message: &Message) -> Vec<u8> {
    render(Envelope {
        id: Shown(id),
        kind: event.kind.as_str(),
        timestamp: Shown(event.at),
        data: MessageData {
            message_id: Shown(message.id),
            status: event.status.as_str(),
            from: Shown(message.sender),
            to: Shown(message.recipient),
            purpose: message.purpose.as_str(),
            programme: message.programme.as_ref().map(programme::Name::as_str),
            segments: message.segments,
            encoding: Shown(message.encoding),
            created_at: Shown(message.created_at),
            reference: message.reference.as_deref(),
            metadata: raw(message.metadata.as_deref()),
            batch_id: message.batch.map(Shown),
            connection: Shown(message.connection),
            attempt: event.attempt,
            next_attempt_at: event.due_at.map(Shown),
            error: event
                .failure
                .as_ref()
                .map(|failure| MessageError::new(failure, event.status, message.purpose)),
            retry_of: message.retry_of.map(Shown),
            reply: message.reply.map(Reply::new),
        },
    })
}

/// The body for a message that a person sent, or for what followed from it.
pub fn render_inbound(id: EventId, event: &Event, inbound: Inbound<'_>) -> Vec<u8> {
    let whose = Whose::read_noted(event.raw.as_deref());
    render(Envelope {
        id: Shown(id),
        kind: event.kind.as_str(),
        timestamp: Shown(inbound.at),
        data: InboundData {
            inbound_id: Shown(inbound.id),
            from: inbound.from,
            to: inbound.to,
            text: inbound.text,
            connection: Shown(inbound.connection),
            parts: inbound.parts.map(Parts::new),
            keyword: inbound.keyword.as_str(),
            programme: whose.programme.map(|name| name.to_string()),
            rule: inbound.rule,
            contact_id: whose.contact.map(Shown),
            conversation_id: whose.conversation.map(Shown),
            media: media(inbound.id, inbound.media),
        },
    })
}

/// The body of a test call.
pub fn render_test(id: EventId, at: Timestamp) -> Vec<u8> {
    let data = TestData { message: "This is a test call. Your endpoint can be reached." };
    render(Envelope { id: Shown(id), kind: TEST, timestamp: Shown(at), data })
}

fn render<T: Serialize>(envelope: Envelope<T>) -> Vec<u8> {
    serde_json::to_vec(&envelope).expect("strings and numbers are JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tests::{example, golden};
    use tidings_domain::event::Kind;
    use tidings_domain::failure::{Failure, FailureClass};
    use tidings_domain::media::{Fate, LeftOut};
    use tidings_domain::message::Status;

    fn pretty(body: &[u8]) -> String {
        serde_json::to_string_pretty(&serde_json::from_slice::<serde_json::Value>(body).unwrap()).unwrap()
    }

    #[test]
    fn the_bodies_are_those_of_the_golden_files() {
        let (message, _) = example();
        let mut event = Event {
            kind: Kind::Delivered,
            status: Status::Delivered,
            attempt: 1,
            at: message.created_at.plus_ms(1500),
            due_at: None,
            failure: None,
            raw: Some("id:C-1 stat:DELIVRD".to_owned()),
        };
        let id = EventId::from_key(99);
        golden("event_delivered.json", &pretty(&render_message(id, &event, &message)));
        event.kind = Kind::Delayed;
        event.status = Status::Queued;
        event.due_at = Some(event.at.plus_s(60));
        event.failure = Some(Failure::new(FailureClass::RateLimited, true, "smpp 0x00000058", "slow down"));
        golden("event_delayed.json", &pretty(&render_message(id, &event, &message)));
        let inbound = Inbound {
            id: InboundId::from_key(5),
            from: "15550002222",
            to: "15550001111",
            text: "Thanks!",
            connection: message.connection,
            parts: None,
            keyword: keyword::Class::Nothing,
            rule: Some("after-hours"),
            media: &[],
            at: event.at,
        };
        let whose = Whose {
            contact: Some(ContactId::from_key(8)),
            conversation: Some(ConversationId::from_key(9)),
            programme: None,
        };
        let mut event = Event { kind: Kind::Received, raw: whose.noted(), ..event };
        golden("event_received.json", &pretty(&render_inbound(id, &event, inbound)));
        event.raw = None;
        let long = Inbound { rule: None, text: "Thanks […]!", parts: Some((7, 3, &[2])), ..inbound };
        golden("event_received_parts.json", &pretty(&render_inbound(id, &event, long)));
        let picture = Listed {
            content_type: "image/jpeg".to_owned(),
            name: Some("photo.jpg".to_owned()),
            octets: 48_213,
            fate: Fate::Kept([0xA7; 32]),
        };
        let page = Listed { content_type: "text/html".to_owned(), name: None, ..picture.clone() };
        let large = Listed { octets: 7 << 20, fate: Fate::LeftOut(LeftOut::TooLarge), ..picture.clone() };
        let media = [picture, page, large];
        let with_media = Inbound { text: "", media: &media, parts: None, ..long };
        golden("event_received_media.json", &pretty(&render_inbound(id, &event, with_media)));
        let stop = Inbound { text: "STOP", keyword: keyword::Class::Stop, parts: None, ..long };
        event.kind = Kind::OptedOut;
        golden("event_opted_out.json", &pretty(&render_inbound(id, &event, stop)));
        let of_offers = Whose { programme: programme::Name::parse("offers"), ..whose };
        let of_one = Event { raw: of_offers.noted(), ..event.clone() };
        golden("event_opted_out_of_programme.json", &pretty(&render_inbound(id, &of_one, stop)));
        let start = Inbound { text: "START", keyword: keyword::Class::Start, ..stop };
        event.kind = Kind::OptedIn;
        golden("event_opted_in.json", &pretty(&render_inbound(id, &event, start)));
        let join = Inbound { text: "JOIN", keyword: keyword::Class::Nothing, ..start };
        let to_one = Event { raw: of_offers.noted(), ..event.clone() };
        golden("event_opted_in_to_programme.json", &pretty(&render_inbound(id, &to_one, join)));
        golden("event_test.json", &pretty(&render_test(id, event.at)));
    }

    #[test]
    fn every_try_sends_the_same_octets_and_never_the_text() {
        let (mut message, _) = example();
        let event = Event {
            kind: Kind::Sent,
            status: Status::Sent,
            attempt: 1,
            at: message.created_at,
            due_at: None,
            failure: None,
            raw: None,
        };
        let first = render_message(EventId::from_key(1), &event, &message);
        message.text = None;
        assert_eq!(render_message(EventId::from_key(1), &event, &message), first);
        assert!(!String::from_utf8(first).unwrap().contains("Hello"));
    }
}
