//! Webhook endpoints: where an account is told what happens, with their secrets and attempt logs.

use crate::body::{Field, Fields, Json, Kind, Shape};
use crate::error::{Code, FieldError};
use crate::message::URL_MAX;
use crate::show::Shown;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use tidings_domain::event;
use tidings_domain::id::{EndpointId, EventId, MessageId};
use tidings_domain::time::Timestamp;
use tidings_domain::webhook::{self, Verdict};
use utoipa::ToSchema;

/// Octets of a new secret (Standard Webhooks takes 24 to 64).
pub const SECRET_OCTETS: usize = 32;
/// Characters of a description.
const DESCRIPTION_MAX: usize = 200;
/// How long an old secret may stay good after a rotation: seven days.
pub const OVERLAP_MAX_S: i64 = 7 * 24 * 3600;
/// How long it stays good if the caller does not say: a day.
pub const OVERLAP_DEFAULT_S: i64 = 24 * 3600;

const URL: Field =
    Field::new("url", Kind::Text, "The https address to call.").example("\"https://example.com/sms-events\"");
const DESCRIPTION: Field = Field::new("description", Kind::Text, "What it is for, at most 200 characters.");
const EVENTS: Field = Field::new(
    "events",
    Kind::Texts,
    "The events it wants, such as `message.delivered`; all of them if empty or not given.",
)
.example(r#"["message.delivered","message.undelivered"]"#);
pub(crate) const OVERLAP: Field = Field::new(
    "overlap_s",
    Kind::Integer(0, OVERLAP_MAX_S),
    "How long the old secret stays good besides the new one: seconds, at most 7 days; a day if not given.",
);

/// The body of `POST /v1/webhooks`.
pub static NEW_ENDPOINT: Shape = Shape {
    name: "NewWebhook",
    about: "An endpoint to be told what happens.",
    fields: &[Field { required: true, ..URL }, DESCRIPTION, EVENTS],
};

/// The body of `PATCH /v1/webhooks/{id}`.
pub static ENDPOINT_CHANGE: Shape = Shape {
    name: "WebhookChange",
    about: "What to change of an endpoint; what is not given stays.",
    fields: &[
        URL,
        DESCRIPTION,
        EVENTS,
        Field::new("enabled", Kind::Boolean, "False switches it off, true on again."),
    ],
};

/// The body of a rotation.
pub static ROTATION: Shape =
    Shape { name: "Rotation", about: "How to replace a secret.", fields: &[OVERLAP] };

/// The body of `POST /v1/webhooks/{id}/replay`.
pub static REPLAY: Shape = Shape {
    name: "Replay",
    about: "What to tell again: one event, or all events of a time range.",
    fields: &[
        Field::new("event_id", Kind::Text, "One event.").example("\"evt_01j8z0k2m4p6q\""),
        Field::new("since", Kind::Text, "Events from this moment on.").example("\"2026-11-23T08:00:00Z\""),
        Field::new("until", Kind::Text, "Events before this moment.").example("\"2026-11-23T09:00:00Z\""),
    ],
};

/// What an endpoint is to be; `None` where nothing was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The address; not checked against the rules of egress yet.
    pub url: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// The kinds, as bits; 0 for all.
    pub kinds: Option<u32>,
    /// On or off.
    pub enabled: Option<bool>,
}

/// Parses the body that makes (or, with `change`, changes) an endpoint.
///
/// # Errors
/// Everything that is wrong with it, field by field.
pub fn parse(json: &Json<'_>, change: bool) -> Result<Wanted, Vec<FieldError>> {
    let mut errors = Vec::new();
    let shape = if change { &ENDPOINT_CHANGE } else { &NEW_ENDPOINT };
    let fields = shape.read(json, "", &mut errors);
    let wanted = Wanted {
        url: crate::message::bounded(fields, "url", URL_MAX, &mut errors),
        description: match fields.text("description") {
            Some("") => Some(String::new()),
            _ => crate::message::bounded(fields, "description", DESCRIPTION_MAX, &mut errors),
        },
        kinds: kinds(fields, &mut errors),
        enabled: if change { fields.boolean("enabled") } else { None },
    };
    if errors.is_empty() { Ok(wanted) } else { Err(errors) }
}

fn kinds(fields: Fields<'_, '_>, errors: &mut Vec<FieldError>) -> Option<u32> {
    let mut bits = 0;
    for name in fields.texts("events")? {
        match event::Kind::parse(name).filter(|kind| kind.is_public()) {
            Some(kind) => bits |= kind.bit(),
            None => {
                let known: Vec<_> = public_kinds().map(event::Kind::as_str).collect();
                let near = tidings_domain::spelling::nearest(name, known.iter().copied());
                let near = near.map(|near| format!(" Did you mean `{near}`?")).unwrap_or_default();
                let detail = format!("`events` takes: {}.{near}", known.join(", "));
                errors.push(FieldError::new("events", Code::InvalidRequest, "unknown_word", detail));
                return None;
            }
        }
    }
    Some(bits)
}

fn public_kinds() -> impl Iterator<Item = event::Kind> {
    event::Kind::ALL.into_iter().filter(|kind| kind.is_public())
}

/// Parses the overlap of a rotation: seconds.
///
/// # Errors
/// Everything that is wrong with it, field by field.
pub fn parse_rotation(json: &Json<'_>) -> Result<i64, Vec<FieldError>> {
    let mut errors = Vec::new();
    let overlap = ROTATION.read(json, "", &mut errors).integer("overlap_s").unwrap_or(OVERLAP_DEFAULT_S);
    if errors.is_empty() { Ok(overlap) } else { Err(errors) }
}

/// What to tell again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// One event.
    One(EventId),
    /// All from the first to before the second moment.
    Range(Timestamp, Timestamp),
}

/// Parses the body of a replay.
///
/// # Errors
/// Everything that is wrong with it, field by field.
pub fn parse_replay(json: &Json<'_>) -> Result<Again, Vec<FieldError>> {
    let mut errors = Vec::new();
    let fields = REPLAY.read(json, "", &mut errors);
    let mut time = |name: &'static str| match fields.text(name).map(Timestamp::parse) {
        Some(Ok(at)) => Some(at),
        Some(Err(why)) => {
            errors.push(FieldError::new(name, Code::InvalidTime, "unreadable", why));
            None
        }
        None => None,
    };
    let (since, until) = (time("since"), time("until"));
    let event = match fields.text("event_id").map(str::parse::<EventId>) {
        Some(Ok(id)) => Some(id),
        Some(Err(why)) => {
            errors.push(FieldError::new("event_id", Code::InvalidRequest, "invalid_id", why));
            None
        }
        None => None,
    };
    if !errors.is_empty() {
        return Err(errors);
    }
    match (event, since, until) {
        (Some(id), None, None) => Ok(Again::One(id)),
        (None, Some(since), Some(until)) if since < until => Ok(Again::Range(since, until)),
        _ => Err(vec![FieldError::new(
            "event_id",
            Code::InvalidRequest,
            "missing",
            "Give either `event_id`, or `since` and a later `until`.",
        )]),
    }
}

/// Prints a secret as its owner configures it (Standard Webhooks): `whsec_` and base 64.
pub fn print_secret(secret: &[u8]) -> String {
    format!("whsec_{}", STANDARD.encode(secret))
}

/// An endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub struct Endpoint<'a> {
    /// Its id.
    #[schema(value_type = String, example = "whk_01j8z0k2m4p6q")]
    pub id: Shown<EndpointId>,
    /// The address.
    pub url: &'a str,
    /// What it is for.
    pub description: &'a str,
    /// The events it wants; empty for all.
    pub events: Vec<&'static str>,
    /// Whether it is called.
    pub enabled: bool,
    /// Why it is switched off, if it is.
    pub disabled_reason: Option<&'a str>,
    /// Since when every try failed.
    #[schema(value_type = Option<String>)]
    pub failing_since: Option<Shown<Timestamp>>,
    /// Whether it was made for the `callback_url` of messages, and hears only of those.
    pub callback_only: bool,
    /// Until when the secret before the last rotation signs too.
    #[schema(value_type = Option<String>)]
    pub previous_secret_until: Option<Shown<Timestamp>>,
    /// When it was made.
    #[schema(value_type = String)]
    pub created_at: Shown<Timestamp>,
    /// The secret that signs. Only in the answer to making it or to a rotation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

impl<'a> Endpoint<'a> {
    /// Shows an endpoint without its secret.
    pub fn new(one: &'a webhook::Endpoint) -> Self {
        let wanted = public_kinds().filter(|kind| one.kinds & kind.bit() != 0);
        Self {
            id: Shown(one.id),
            url: &one.url,
            description: &one.description,
            events: wanted.map(event::Kind::as_str).collect(),
            enabled: one.disabled.is_none(),
            disabled_reason: one.disabled.as_deref(),
            failing_since: one.failing_since.map(Shown),
            callback_only: one.callback_only,
            previous_secret_until: one.previous.as_ref().map(|(_, until)| Shown(*until)),
            created_at: Shown(one.created_at),
            secret: None,
        }
    }

    /// The same with the secret that signs, for whoever made it or replaced it.
    pub fn with_secret(one: &'a webhook::Endpoint) -> Self {
        Self { secret: Some(print_secret(&one.secret)), ..Self::new(one) }
    }
}

/// One call of an endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub struct Attempt<'a> {
    /// The event that was told.
    #[schema(value_type = String)]
    pub event_id: Shown<EventId>,
    /// The message that it was about.
    #[schema(value_type = Option<String>)]
    pub message_id: Option<Shown<MessageId>>,
    /// The endpoint.
    #[schema(value_type = String)]
    pub endpoint_id: Shown<EndpointId>,
    /// Which try, from 1.
    pub number: u32,
    /// When it began.
    #[schema(value_type = String)]
    pub at: Shown<Timestamp>,
    /// How long it took: milliseconds.
    pub took_ms: u32,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// The body that was sent, in an endpoint's own log; a message's timeline leaves it out.
    pub request: Option<&'a str>,
    /// The beginning of the answer's body, or why there was none.
    pub response: &'a str,
    /// What becomes of it: `done`, `retry`, `dead` or `gone`.
    pub outcome: &'static str,
    /// When the next try is, if there is one.
    #[schema(value_type = Option<String>)]
    pub next_attempt_at: Option<Shown<Timestamp>>,
}

impl<'a> Attempt<'a> {
    /// Shows a call, with its request where that is known.
    pub fn new(one: &'a webhook::Attempt) -> Self {
        let (outcome, next) = outcome(one.verdict);
        Self {
            event_id: Shown(one.event),
            message_id: one.message.map(Shown),
            endpoint_id: Shown(one.endpoint),
            number: one.number,
            at: Shown(one.at),
            took_ms: one.took_ms,
            status: one.status,
            request: Some(one.request.as_str()).filter(|request| !request.is_empty()),
            response: &one.response,
            outcome,
            next_attempt_at: next.map(Shown),
        }
    }
}

/// The word for what becomes of a delivery, and when it is tried again.
pub const fn outcome(verdict: Verdict) -> (&'static str, Option<Timestamp>) {
    match verdict {
        Verdict::Done => ("done", None),
        Verdict::RetryAt(at) => ("retry", Some(at)),
        Verdict::Dead => ("dead", None),
        Verdict::Gone => ("gone", None),
    }
}

/// An event on its way to an endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub struct Delivery {
    /// The event.
    #[schema(value_type = String)]
    pub event_id: Shown<EventId>,
    /// The endpoint.
    #[schema(value_type = String)]
    pub endpoint_id: Shown<EndpointId>,
    /// Tries so far.
    pub tries: u32,
    /// When the next is due.
    #[schema(value_type = String)]
    pub due_at: Shown<Timestamp>,
}

impl Delivery {
    /// Shows a delivery.
    pub const fn new(one: &webhook::Delivery) -> Self {
        Self {
            event_id: Shown(one.event),
            endpoint_id: Shown(one.endpoint),
            tries: one.tries,
            due_at: Shown(one.due_at),
        }
    }
}

/// What a replay did.
#[derive(Debug, Serialize, ToSchema)]
pub struct Replayed {
    /// How many events are due again.
    pub events: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json<'_> {
        Json::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn an_endpoint_names_its_events() {
        let wanted =
            parse(&json(r#"{"url":"https://a.example/x","events":["message.sent"]}"#), false).unwrap();
        assert_eq!(wanted.kinds, Some(event::Kind::Sent.bit()));
        let all = parse(&json(r#"{"url":"https://a.example/x","events":[]}"#), false).unwrap();
        assert_eq!(all.kinds, Some(0));
        let wrong =
            parse(&json(r#"{"url":"https://a.example/x","events":["message.snet"]}"#), false).unwrap_err();
        assert!(wrong[0].detail.ends_with("Did you mean `message.sent`?"), "{}", wrong[0].detail);
        let hidden = parse(&json(r#"{"url":"https://a.example/x","events":["message.progress"]}"#), false);
        assert!(hidden.is_err());
        assert_eq!(parse(&json("{}"), false).unwrap_err()[0].reason, "missing");
        assert!(parse(&json("{}"), true).is_ok());
        assert_eq!(parse(&json(r#"{"enabled":true,"url":"u"}"#), false).unwrap_err()[0].field, "enabled");
    }

    #[test]
    fn a_replay_is_one_event_or_a_range() {
        let one = EventId::from_key(77);
        assert_eq!(parse_replay(&json(&format!(r#"{{"event_id":"{one}"}}"#))), Ok(Again::One(one)));
        let range = r#"{"since":"2026-11-23T08:00:00Z","until":"2026-11-23T09:00:00Z"}"#;
        assert!(matches!(parse_replay(&json(range)), Ok(Again::Range(..))));
        for wrong in [
            "{}",
            r#"{"since":"2026-11-23T08:00:00Z"}"#,
            r#"{"event_id":"x"}"#,
            r#"{"since":"x","until":"y"}"#,
        ] {
            assert!(parse_replay(&json(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_overlap_is_at_most_a_week() {
        assert_eq!(parse_rotation(&json("{}")), Ok(OVERLAP_DEFAULT_S));
        assert_eq!(parse_rotation(&json(r#"{"overlap_s":0}"#)), Ok(0));
        assert!(parse_rotation(&json(r#"{"overlap_s":604801}"#)).is_err());
    }

    #[test]
    fn a_secret_is_printed_as_standard_webhooks_wants_it() {
        assert_eq!(print_secret(&[0; 3]), "whsec_AAAA");
    }
}
