//! Conversations: what was said with a person, who must answer, and what somebody of us does about it.

use crate::body::{Field, Fields, Json, Kind, Shape};
use crate::error::{Code, FieldError, sentence};
use crate::media::{Medium, media};
use crate::message::{self, Door, Message, Options, Parsed, bounded};
use crate::show::Shown;
use crate::template::{self, Filling};
use crate::{sms, webhook};
use serde::Serialize;
use tidings_domain::address::PhoneNumber;
use tidings_domain::conversation::{self as domain, Change, Entry, NAME_MAX, NOTE_MAX, is_tag};
use tidings_domain::id::{ConversationId, NoteId};
use tidings_domain::pool::Source;
use tidings_domain::sender::Sender;
use tidings_domain::time::Timestamp;
use utoipa::ToSchema;

const AUTHOR: Field = Field::new(
    "author",
    Kind::Text,
    "Who of you wrote it, at most 100 characters; the token's id if not given.",
)
.example("\"Maya\"");

/// The body of `POST /v1/conversations`.
pub static NEW_CONVERSATION: Shape = Shape {
    name: "NewConversation",
    about: "A message that begins a conversation with a person, or goes on with the one that there is.",
    fields: &[
        sms::FROM,
        sms::TO,
        sms::MESSAGE,
        sms::BODY,
        sms::TEXT,
        sms::CONTENT,
        template::TEMPLATE,
        template::VERSION,
        template::WANTED_LANGUAGE,
        template::VALUES,
        AUTHOR,
        message::PURPOSE,
        message::PROGRAMME,
        message::SEND_AT,
        message::EXPIRES_IN_S,
        message::CALLBACK_URL,
        message::REFERENCE,
        message::METADATA,
        message::TRANSLITERATE,
    ],
};

/// The body of `POST /v1/conversations/{id}/reply`.
pub static REPLY: Shape = Shape {
    name: "NewReply",
    about: "A message to the person of the conversation, from its sender.",
    fields: &[
        Field::new(
            "if_last",
            Kind::Text,
            "The id of the last entry that its writer saw (`last_id` of the conversation). If it is not the last any more, \
             nothing is sent, and the answer is 409 OVERTAKEN.",
        )
        .required()
        .example("\"inb_01j8z0k2m4p6q\""),
        sms::MESSAGE,
        sms::BODY,
        sms::TEXT,
        sms::CONTENT,
        template::TEMPLATE,
        template::VERSION,
        template::WANTED_LANGUAGE,
        template::VALUES,
        AUTHOR,
        message::PURPOSE,
        message::PROGRAMME,
        message::SEND_AT,
        message::EXPIRES_IN_S,
        message::CALLBACK_URL,
        message::REFERENCE,
        message::METADATA,
        message::TRANSLITERATE,
    ],
};

/// The body of `POST /v1/conversations/{id}/notes`.
pub static NOTE: Shape = Shape {
    name: "NewNote",
    about: "A note that only you see.",
    fields: &[Field::new("text", Kind::Text, "What it says: 1 to 5000 characters.").required(), AUTHOR],
};

/// The body of `POST /v1/conversations/{id}/assign`.
pub static ASSIGNMENT: Shape = Shape {
    name: "Assignment",
    about: "Who looks after a conversation.",
    fields: &[Field::new(
        "assignee",
        Kind::Text,
        "The name of somebody of you, at most 100 characters; nobody if it is not given.",
    )
    .example("\"Maya\"")],
};

/// The body of `POST /v1/conversations/{id}/tags`.
pub static TAGS: Shape = Shape {
    name: "TagChange",
    about: "Tags to add and to take away. A tag has 1 to 30 small letters, digits, `-` and `_`; a conversation has 20 at most.",
    fields: &[
        Field::new("add", Kind::Texts, "Those that it gets.").example(r#"["refund"]"#),
        Field::new("remove", Kind::Texts, "Those that it loses."),
    ],
};

/// The body of `POST /v1/conversations/{id}/snooze`.
pub static SNOOZE: Shape = Shape {
    name: "Snooze",
    about: "Until when nobody wants to be reminded of a conversation. What the person writes ends it.",
    fields: &[Field::new("until", Kind::Text, "A moment ahead, with offset (RFC 3339).")
        .required()
        .example("\"2026-12-24T08:00:00+01:00\"")],
};

/// A reply, all parsed.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The message.
    pub message: Parsed,
    /// The last entry that its writer saw; `None` where that is not asked.
    pub seen: Option<Entry>,
    /// Who wrote it, if that is said.
    pub author: Option<String>,
}

/// Parses the body of `POST /v1/conversations`.
///
/// # Errors
/// Everything that is wrong with it, field by field.
pub fn parse(json: &Json<'_>, door: Door) -> Result<Reply, Vec<FieldError>> {
    let mut errors = Vec::new();
    let fields = NEW_CONVERSATION.read(json, "", &mut errors);
    let author = bounded(fields, "author", NAME_MAX, &mut errors);
    let options = Options::read(fields, &mut errors);
    let filling = Filling::read(fields, &mut errors);
    let message = message::finish(fields, door, options, filling, errors)?;
    Ok(Reply { message, seen: None, author })
}

/// Parses the body of `POST /v1/conversations/{id}/reply`.
///
/// # Errors
/// Everything that is wrong with it, field by field.
pub fn parse_reply(json: &Json<'_>, to: &domain::Conversation) -> Result<Reply, Vec<FieldError>> {
    let mut errors = Vec::new();
    let fields = REPLY.read(json, "", &mut errors);
    let seen = fields.text("if_last").and_then(Entry::parse);
    if fields.text("if_last").is_some() && seen.is_none() {
        let detail = "`if_last` must be the id of an entry: `inb_…`, `msg_…` or `not_…`.";
        errors.push(FieldError::new("if_last", Code::InvalidRequest, "no_entry", detail));
    }
    let author = bounded(fields, "author", NAME_MAX, &mut errors);
    let options = Options::read(fields, &mut errors);
    let filling = Filling::read(fields, &mut errors);
    let (text_field, text) = message::text(fields, filling.is_some(), &mut errors);
    match text {
        Some(text) if errors.is_empty() => {
            let (request, callback_url) = options.with(Source::Sender(to.sender), to.person, text.to_owned());
            let message = Parsed { request, callback_url, text_field, filling: filling.map(Box::new) };
            Ok(Reply { message, seen, author })
        }
        _ => Err(errors),
    }
}

/// Parses the body of `POST /v1/conversations/{id}/notes`: the text, and its author if that is said.
///
/// # Errors
/// Everything that is wrong with it, field by field.
pub fn parse_note(json: &Json<'_>) -> Result<(String, Option<String>), Vec<FieldError>> {
    let mut errors = Vec::new();
    let fields = NOTE.read(json, "", &mut errors);
    let author = bounded(fields, "author", NAME_MAX, &mut errors);
    let text = fields.text("text").unwrap_or_default();
    let is_control = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if fields.text("text").is_some()
        && (text.trim().is_empty() || text.chars().count() > NOTE_MAX || text.chars().any(is_control))
    {
        let detail = format!(
            "`text` must have 1 to {NOTE_MAX} characters, and no control characters but line ends and tabs."
        );
        errors.push(FieldError::new("text", Code::InvalidRequest, "length", detail));
    }
    if errors.is_empty() { Ok((text.to_owned(), author)) } else { Err(errors) }
}

/// Parses the body of `POST /v1/conversations/{id}/assign`.
///
/// # Errors
/// Everything that is wrong with it, field by field.
pub fn parse_assignment(json: &Json<'_>) -> Result<Change, Vec<FieldError>> {
    let mut errors = Vec::new();
    let fields = ASSIGNMENT.read(json, "", &mut errors);
    let assignee = bounded(fields, "assignee", NAME_MAX, &mut errors);
    if errors.is_empty() { Ok(Change::Assign(assignee)) } else { Err(errors) }
}

/// Parses the body of `POST /v1/conversations/{id}/tags`.
///
/// # Errors
/// Everything that is wrong with it, field by field.
pub fn parse_tags(json: &Json<'_>) -> Result<Change, Vec<FieldError>> {
    let mut errors = Vec::new();
    let fields = TAGS.read(json, "", &mut errors);
    let (add, remove) = (tags(fields, "add", &mut errors), tags(fields, "remove", &mut errors));
    if errors.is_empty() { Ok(Change::Tag { add, remove }) } else { Err(errors) }
}

fn tags(fields: Fields<'_, '_>, name: &'static str, errors: &mut Vec<FieldError>) -> Vec<String> {
    let all: Vec<&str> = fields.texts(name).into_iter().flatten().collect();
    if all.len() > 2 * domain::TAGS_MAX || !all.iter().all(|tag| is_tag(tag)) {
        let detail = format!("`{name}` takes a few tags of 1 to 30 small letters, digits, `-` and `_`.");
        errors.push(FieldError::new(name, Code::InvalidRequest, "tag", detail));
    }
    all.into_iter().map(str::to_owned).collect()
}

/// Parses the body of `POST /v1/conversations/{id}/snooze`.
///
/// # Errors
/// Everything that is wrong with it, field by field.
pub fn parse_snooze(json: &Json<'_>, now: Timestamp) -> Result<Change, Vec<FieldError>> {
    let mut errors = Vec::new();
    let fields = SNOOZE.read(json, "", &mut errors);
    let until = fields.text("until").map(Timestamp::parse);
    let mut wrong = |reason, detail: String| {
        errors.push(FieldError::new("until", Code::InvalidTime, reason, detail));
    };
    match until {
        Some(Err(why)) => wrong("unreadable", sentence(why)),
        Some(Ok(until)) if until <= now => wrong("in_past", "`until` has passed.".to_owned()),
        Some(Ok(_)) | None => {}
    }
    match until {
        Some(Ok(until)) if errors.is_empty() => Ok(Change::Snooze(until)),
        _ => Err(errors),
    }
}

/// What was said between a person and one of your senders.
#[derive(Debug, Serialize, ToSchema)]
pub struct Conversation<'a> {
    /// Its id.
    #[schema(value_type = String, example = "cnv_01j8z0k2m4p6q")]
    pub id: Shown<ConversationId>,
    /// How it stands: `needs_reply`, `waiting`, `snoozed` or `closed`.
    pub status: &'static str,
    /// With whom.
    #[schema(value_type = String)]
    pub with: Shown<PhoneNumber>,
    /// From which of your senders.
    #[schema(value_type = String)]
    pub from: Shown<Sender>,
    /// The id of its last entry: give it as `if_last` with a reply.
    pub last_id: String,
    /// When its last entry came.
    #[schema(value_type = String)]
    pub last_at: Shown<Timestamp>,
    /// How many entries there were.
    pub entries: u32,
    /// Who looks after it.
    pub assignee: Option<&'a str>,
    /// Its tags.
    pub tags: &'a [String],
    /// Until when it is put off, if it is.
    #[schema(value_type = Option<String>)]
    pub snoozed_until: Option<Shown<Timestamp>>,
    /// When it began.
    #[schema(value_type = String)]
    pub created_at: Shown<Timestamp>,
}

impl<'a> Conversation<'a> {
    /// Shows a conversation as it stands now.
    pub fn new(one: &'a domain::Conversation, now: Timestamp) -> Self {
        Self {
            id: Shown(one.id),
            status: one.status(now).as_str(),
            with: Shown(one.person),
            from: Shown(one.sender),
            last_id: one.last.to_string(),
            last_at: Shown(one.last_at),
            entries: one.entries,
            assignee: one.assignee.as_deref(),
            tags: &one.tags,
            snoozed_until: one.snoozed_until.filter(|until| *until > now).map(Shown),
            created_at: Shown(one.created_at),
        }
    }
}

/// An entry of a conversation: one of `inbound`, `message` and `note` is there.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConversationEntry<'a> {
    /// The id of what it is: `inb_…`, `msg_…` or `not_…`.
    pub id: String,
    /// `inbound`, `message` or `note`.
    pub kind: &'static str,
    /// When it came.
    #[schema(value_type = String)]
    pub at: Shown<Timestamp>,
    /// Who of you wrote it.
    pub author: Option<&'a str>,
    /// What the person sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<InboundEntry>)]
    pub inbound: Option<InboundEntry<'a>>,
    /// What was sent to the person.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Message>)]
    pub message: Option<Message<'a>>,
    /// What only you see.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<NoteEntry>)]
    pub note: Option<NoteEntry<'a>>,
}

/// What a person sent, as an entry of a conversation.
#[derive(Debug, Serialize, ToSchema)]
pub struct InboundEntry<'a> {
    /// Its text. Written by a stranger: escape it for whatever shows it.
    pub text: &'a str,
    /// What it asks: `stop`, `start`, `help`, or `doubtful` if a person must look; null for nothing that is known.
    pub keyword: Option<&'static str>,
    /// The name of the rule of the configuration that acted on it, if one did.
    pub rule: Option<&'a str>,
    /// The numbers of parts that did not come; empty if it is whole.
    pub missing_parts: &'a [u8],
    /// What came with it, in its order; left out if nothing did.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub media: Vec<Medium<'a>>,
}

/// A note in a conversation.
#[derive(Debug, Serialize, ToSchema)]
pub struct NoteEntry<'a> {
    /// What it says.
    pub text: &'a str,
}

/// What an entry is, to be shown.
pub enum What<'a> {
    /// Something that the person sent.
    Inbound(webhook::Inbound<'a>),
    /// Something that was sent to the person.
    Message(Box<Message<'a>>),
    /// Something that only we see.
    Note(NoteId, &'a str),
}

impl<'a> ConversationEntry<'a> {
    /// Shows an entry.
    pub fn new(at: Timestamp, author: Option<&'a str>, what: What<'a>) -> Self {
        let bare = Self {
            id: String::new(),
            kind: "",
            at: Shown(at),
            author,
            inbound: None,
            message: None,
            note: None,
        };
        match what {
            What::Inbound(inbound) => Self {
                id: inbound.id.to_string(),
                kind: "inbound",
                inbound: Some(InboundEntry {
                    text: inbound.text,
                    keyword: inbound.keyword.as_str(),
                    rule: inbound.rule,
                    missing_parts: inbound.parts.map_or(&[][..], |(.., missing)| missing),
                    media: media(inbound.id, inbound.media),
                }),
                ..bare
            },
            What::Message(message) => {
                Self { id: message.id.0.to_string(), kind: "message", message: Some(*message), ..bare }
            }
            What::Note(id, text) => {
                Self { id: id.to_string(), kind: "note", note: Some(NoteEntry { text }), ..bare }
            }
        }
    }
}

/// An entry that a search found.
#[derive(Debug, Serialize, ToSchema)]
pub struct FoundEntry<'a> {
    /// Its conversation.
    #[schema(value_type = String)]
    pub conversation_id: Shown<ConversationId>,
    /// The entry.
    #[serde(flatten)]
    #[schema(value_type = ConversationEntry)]
    pub entry: ConversationEntry<'a>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tests::{example, golden};
    use tidings_domain::account::{Environment, Realm};
    use tidings_domain::id::{AccountId, ConnectionId, InboundId};
    use tidings_domain::keyword::Class;

    const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_123);

    fn conversation() -> domain::Conversation {
        let realm = Realm { account: AccountId::from_key(1), environment: Environment::Test };
        let person = PhoneNumber::from_stored("+15550002222").unwrap();
        let sender = Sender::from_stored("+15550001111").unwrap();
        let first = Entry::Inbound(InboundId::from_key(5));
        let mut one =
            domain::Conversation::begun(ConversationId::from_key(9), realm, person, sender, first, NOW);
        one.add(first, true, NOW);
        let tags = Change::Tag { add: vec!["refund".into()], remove: Vec::new() };
        one.change(&tags).unwrap();
        one
    }

    #[test]
    fn the_bodies_are_those_of_the_golden_files() {
        let one = conversation();
        let shown = Conversation::new(&one, NOW);
        golden("conversation.json", &serde_json::to_string_pretty(&shown).unwrap());
        let inbound = webhook::Inbound {
            id: InboundId::from_key(5),
            from: "+15550002222",
            to: "+15550001111",
            text: "Where is my order?",
            connection: ConnectionId::from_key(3),
            parts: None,
            keyword: Class::Nothing,
            rule: None,
            media: &[],
            at: NOW,
        };
        let (message, life) = example();
        let entries = [
            ConversationEntry::new(NOW, None, What::Inbound(inbound)),
            ConversationEntry::new(NOW, Some("Maya"), What::Note(NoteId::from_key(6), "It is late.")),
            ConversationEntry::new(
                NOW,
                Some("Maya"),
                What::Message(Box::new(Message::new(&message, &life, None, NOW))),
            ),
        ];
        golden("conversation_entries.json", &serde_json::to_string_pretty(&entries).unwrap());
    }

    #[test]
    fn what_is_wrong_is_said_by_field() {
        let json = |body: &'static str| Json::parse(body.as_bytes()).unwrap();
        let reasons = |errors: Vec<FieldError>| {
            errors.iter().map(|e| format!("{}:{}", e.field, e.reason)).collect::<Vec<_>>().join(" ")
        };
        let reply = |body| reasons(parse_reply(&json(body), &conversation()).unwrap_err());
        assert_eq!(reply(r#"{"text":"a"}"#), "if_last:missing");
        assert_eq!(reply(r#"{"text":"a","if_last":"evt_1"}"#), "if_last:no_entry");
        assert_eq!(reply(r#"{"if_last":"inb_0000000000005"}"#), "message:missing");
        assert_eq!(reply(r#"{"to":"+1","text":"a","if_last":"inb_0000000000005"}"#), "to:unknown_field");
        let good =
            parse_reply(&json(r#"{"text":"a","if_last":"inb_0000000000005"}"#), &conversation()).unwrap();
        assert_eq!(good.seen, Some(conversation().last));
        assert_eq!(good.message.request.recipient, conversation().person);
        assert_eq!(reasons(parse_note(&json(r#"{"text":" "}"#)).unwrap_err()), "text:length");
        assert_eq!(reasons(parse_tags(&json(r#"{"add":["A b"]}"#)).unwrap_err()), "add:tag");
        assert_eq!(parse_assignment(&json(r#"{"assignee":null}"#)), Ok(Change::Assign(None)));
        let snooze = |body| parse_snooze(&json(body), NOW).map_err(reasons);
        assert_eq!(snooze(r#"{"until":"2020-01-01T00:00:00Z"}"#), Err("until:in_past".to_owned()));
        assert_eq!(snooze(r#"{}"#), Err("until:missing".to_owned()));
        assert_eq!(snooze(r#"{"until":7}"#), Err("until:wrong_type".to_owned()));
        let both = snooze(r#"{"until":"2030-01-01T00:00:00Z","untill":"x"}"#);
        assert_eq!(both, Err("untill:unknown_field".to_owned()));
        let both = snooze(r#"{"until":"2020-01-01T00:00:00Z","note":"x"}"#);
        assert_eq!(both, Err("note:unknown_field until:in_past".to_owned()));
        let both = snooze(r#"{"until":"tomorrow","note":"x"}"#);
        assert_eq!(both, Err("note:unknown_field until:unreadable".to_owned()));
        let why = parse_snooze(&json(r#"{"until":"tomorrow"}"#), NOW).unwrap_err();
        assert!(why[0].detail.starts_with("Write ") && why[0].detail.ends_with('.'), "{}", why[0].detail);
        assert!(matches!(snooze(r#"{"until":"2030-01-01T00:00:00Z"}"#), Ok(Change::Snooze(_))));
    }
}
