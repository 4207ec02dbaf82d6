//! A message that a person sent, as it is read by its id: what events tell of it, and what came, octet by octet.

use crate::media::{Medium, media};
use crate::show::Shown;
use crate::webhook::{Inbound, Parts};
use serde::Serialize;
use tidings_domain::id::{ConnectionId, ContactId, ConversationId, InboundId};
use tidings_domain::inbound::Whose;
use tidings_domain::octets::hexadecimal;
use tidings_domain::text::Segment;
use tidings_domain::time::Timestamp;
use utoipa::ToSchema;

/// A message that a person sent.
#[derive(Debug, Serialize, ToSchema)]
pub struct InboundMessage<'a> {
    /// Its id.
    #[schema(value_type = String)]
    pub id: Shown<InboundId>,
    /// `received`, or `waiting` while some of its parts have not come: then nobody was told of it yet.
    pub status: &'static str,
    /// Who sent it, as the carrier wrote it.
    pub from: &'a str,
    /// To which of our senders.
    pub to: &'a str,
    /// Its text; null while it waits. Written by a stranger: escape it for whatever shows it.
    pub text: Option<&'a str>,
    /// The connection that it came in on.
    #[schema(value_type = String)]
    pub connection: Shown<ConnectionId>,
    /// From how many parts it is put together; null if it came in one.
    pub parts: Option<Parts>,
    /// What it asks: `stop`, `start`, `help`, or `doubtful` if a person must look; null for nothing that is known.
    pub keyword: Option<&'static str>,
    /// The name of the rule of the configuration that acted on it, if one did.
    pub rule: Option<&'a str>,
    /// The contact whose number it came from, as contacts are now.
    #[schema(value_type = Option<String>)]
    pub contact_id: Option<Shown<ContactId>>,
    /// The conversation that it stands in; null where nobody can be answered.
    #[schema(value_type = Option<String>)]
    pub conversation_id: Option<Shown<ConversationId>>,
    /// When it was told; while it waits, when its first part came.
    #[schema(value_type = String)]
    pub received_at: Shown<Timestamp>,
    /// Until when it waits for its parts, if it does.
    #[schema(value_type = Option<String>)]
    pub waits_until: Option<Shown<Timestamp>>,
    /// What came with it, in its order; left out if nothing did.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub media: Vec<Medium<'a>>,
    /// What came.
    pub originals: Vec<Original>,
}

/// A part of a message as it came.
#[derive(Debug, Serialize, ToSchema)]
pub struct Original {
    /// Which part it is, from 1.
    pub number: u8,
    /// How its octets are written: `gsm7`, `ucs2`, `latin1`, `ascii`, `cyrillic`, `hebrew`, or `unknown` if they are no text
    /// or nobody here can read them.
    pub alphabet: &'static str,
    /// Its user data header, in hexadecimal; empty if it has none.
    pub header: String,
    /// Its octets, in hexadecimal.
    pub octets: String,
}

impl<'a> InboundMessage<'a> {
    /// The message with what came of it.
    pub fn new(
        message: Inbound<'a>,
        whose: Whose,
        waits_until: Option<Timestamp>,
        came: &[(u8, Segment)],
    ) -> Self {
        let original = |(number, segment): &(u8, Segment)| Original {
            number: *number,
            alphabet: segment.charset.as_str(),
            header: hexadecimal(&segment.header),
            octets: hexadecimal(&segment.octets),
        };
        Self {
            id: Shown(message.id),
            status: if waits_until.is_some() { "waiting" } else { "received" },
            from: message.from,
            to: message.to,
            text: waits_until.is_none().then_some(message.text),
            connection: Shown(message.connection),
            parts: message.parts.map(Parts::new),
            keyword: message.keyword.as_str(),
            rule: message.rule,
            contact_id: whose.contact.map(Shown),
            conversation_id: whose.conversation.map(Shown),
            received_at: Shown(message.at),
            waits_until: waits_until.map(Shown),
            media: media(message.id, message.media),
            originals: came.iter().map(original).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tests::golden;
    use tidings_domain::keyword::Class;
    use tidings_domain::text::{Charset, Part};

    #[test]
    fn the_body_is_that_of_the_golden_file() {
        let message = Inbound {
            id: InboundId::from_key(5),
            from: "+15550002222",
            to: "+15550001111",
            text: "<b>\u{202E}caf\u{E9}\u{FFFD} […]",
            connection: ConnectionId::from_key(3),
            parts: Some((7, 3, &[2, 3])),
            keyword: Class::Nothing,
            rule: Some("support"),
            media: &[],
            at: Timestamp::from_millis(1_700_000_000_000),
        };
        let place = Part { reference: 7, total: 3, number: 1 };
        let part = Segment::received(Charset::Ucs2, b"\x05\0\x03\x07\x03\x01\0A", true, None);
        assert_eq!(part.part, Some(place));
        let whose = Whose {
            contact: Some(ContactId::from_key(8)),
            conversation: Some(ConversationId::from_key(9)),
            programme: None,
        };
        let body = InboundMessage::new(message, whose, None, &[(1, part)]);
        golden("inbound.json", &serde_json::to_string_pretty(&body).expect("strings and numbers are JSON"));
        let waits = InboundMessage::new(
            Inbound { rule: None, ..message },
            Whose::default(),
            Some(message.at.plus_s(180)),
            &[],
        );
        golden("inbound_waiting.json", &serde_json::to_string_pretty(&waits).expect("the same"));
    }
}
