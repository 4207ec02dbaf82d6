//! Batches: many messages in one call, and what became of each.

use crate::body::{Field, Json, Kind, Shape};
use crate::error::{Code, FieldError};
use crate::message::{self, Accepted, Door, Options, Parsed};
use crate::show::Shown;
use serde::Serialize;
use tidings_domain::id::BatchId;
use tidings_domain::intake::Limits;
use tidings_domain::message::Status;
use tidings_domain::time::Timestamp;
use utoipa::ToSchema;

/// The body of `POST /v1/messages/batch`.
pub static BATCH: Shape = Shape {
    name: "NewBatch",
    about: "Either `messages`, or `recipients` and `bodies` (each recipient gets each text) with the other fields.",
    fields: &[
        Field::new(
            "messages",
            Kind::Bodies(&message::MESSAGE),
            "The messages, each as in POST /v1/messages; at most 500.",
        ),
        Field::new("recipients", Kind::Texts, "Phone numbers, at most 100.").example(r#"["+15550002222"]"#),
        Field::new("bodies", Kind::Texts, "Texts, at most 5; every recipient gets each of them.")
            .example(r#"["The doors open at 8."]"#),
        Field { required: false, ..crate::sms::FROM },
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

/// One item of a batch: a message, or what is wrong with it.
pub type Item = Result<Parsed, FieldError>;

/// Parses the body of `POST /v1/messages/batch` into its items, in their order (recipient by recipient where it is
/// recipients × bodies).
///
/// # Errors
/// What is wrong with the call as a whole. What is wrong with one item stays with that item.
pub fn parse(json: &Json<'_>, door: Door, limits: &Limits) -> Result<Vec<Item>, Vec<FieldError>> {
    let mut errors = Vec::new();
    let fields = BATCH.read(json, "", &mut errors);
    if !errors.is_empty() {
        return Err(errors);
    }
    if let Some(messages) = fields.list("messages") {
        for field in BATCH.fields.iter().filter(|field| field.name != "messages" && fields.has(field.name)) {
            let detail = format!("With `messages`, `{}` belongs into each message.", field.name);
            errors.push(FieldError::new(field.name, Code::InvalidRequest, "misplaced", detail));
        }
        limit("messages", messages.len(), limits.max_batch_messages, &mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        let first = |errors: Vec<FieldError>| errors.into_iter().next().expect("a refusal has a reason");
        return Ok(messages.iter().map(|item| message::parse(item, door).map_err(first)).collect());
    }

    let recipients: Vec<&str> = fields.texts("recipients").into_iter().flatten().collect();
    let bodies: Vec<&str> = fields.texts("bodies").into_iter().flatten().collect();
    if !fields.has("recipients") && !fields.has("bodies") {
        let detail = "Give `messages`, or `recipients` and `bodies`.";
        return Err(vec![FieldError::new("messages", Code::InvalidRequest, "missing", detail)]);
    }
    limit("recipients", recipients.len(), limits.max_batch_recipients, &mut errors);
    limit("bodies", bodies.len(), limits.max_batch_bodies, &mut errors);
    let messages = recipients.len().saturating_mul(bodies.len());
    if messages > limits.max_batch_messages {
        limit("recipients", messages, limits.max_batch_messages, &mut errors);
    }
    for body in &bodies {
        message::check_length(body, "bodies", &mut errors);
    }
    let options = Options::read(fields, &mut errors);
    let sender = match fields.text("from").map(|from| door.source("from", from)) {
        Some(Ok(sender)) => Some(sender),
        Some(Err(error)) => {
            errors.push(error);
            None
        }
        None => {
            errors.push(FieldError::new("from", Code::InvalidRequest, "missing", "`from` is missing."));
            None
        }
    };
    let (Some(sender), true) = (sender, errors.is_empty()) else {
        errors.dedup();
        return Err(errors);
    };
    let mut seen = Vec::with_capacity(recipients.len());
    let mut items = Vec::with_capacity(recipients.len() * bodies.len());
    for recipient in recipients {
        let parsed = door.recipient("to", recipient).and_then(|number| {
            if seen.contains(&number) {
                let detail = "This recipient comes twice in the list; it gets each text once.";
                return Err(FieldError::new("to", Code::InvalidRequest, "duplicate", detail));
            }
            seen.push(number);
            Ok(number)
        });
        for body in &bodies {
            items.push(parsed.clone().map(|recipient| {
                let (request, callback_url) =
                    options.clone().with(sender.clone(), recipient, (*body).to_owned());
                Parsed { request, callback_url, text_field: "bodies", filling: None }
            }));
        }
    }
    Ok(items)
}

fn limit(field: &'static str, count: usize, most: usize, errors: &mut Vec<FieldError>) {
    if count == 0 {
        let detail = format!("`{field}` must have at least one entry.");
        errors.push(FieldError::new(field, Code::InvalidRequest, "empty", detail));
    } else if count > most {
        let detail = format!("One call takes at most {most} of these, and this has {count}.");
        errors.push(FieldError::new(field, Code::LimitExceeded, "too_many", detail));
    }
}

/// The answer to a batch.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchAccepted<'a> {
    /// The batch's id.
    #[schema(value_type = Option<String>, example = "bat_01j8z0k2m4p6q")]
    pub batch_id: Option<Shown<BatchId>>,
    /// Items asked for.
    pub asked: usize,
    /// Items that are messages now.
    pub accepted: usize,
    /// Items that are not.
    pub refused: usize,
    /// One for each item, in order.
    pub results: Vec<BatchResult<'a>>,
}

/// What became of one item.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchResult<'a> {
    /// Its place in the request, from 0.
    pub index: usize,
    /// The message, if it was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Accepted<'a>>,
    /// The message's id, if it was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub id: Option<Shown<tidings_domain::id::MessageId>>,
    /// Why not, if it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<FieldError>)]
    pub error: Option<FieldError>,
}

impl<'a> BatchAccepted<'a> {
    /// Counts the results.
    pub fn new(batch: Option<BatchId>, results: Vec<Result<Accepted<'a>, FieldError>>) -> Self {
        let accepted = results.iter().filter(|result| result.is_ok()).count();
        Self {
            batch_id: batch.map(Shown),
            asked: results.len(),
            accepted,
            refused: results.len() - accepted,
            results: results
                .into_iter()
                .enumerate()
                .map(|(index, result)| match result {
                    Ok(message) => {
                        let id = Some(Shown(message.id.0));
                        BatchResult { index, message: Some(message), id, error: None }
                    }
                    Err(error) => BatchResult { index, message: None, id: None, error: Some(error) },
                })
                .collect(),
        }
    }
}

/// A batch as it is now.
#[derive(Debug, Serialize, ToSchema)]
pub struct Batch {
    /// Its id.
    #[schema(value_type = String)]
    pub id: Shown<BatchId>,
    /// When it was accepted.
    #[schema(value_type = String)]
    pub created_at: Shown<Timestamp>,
    /// Items asked for.
    pub asked: u32,
    /// Items that became messages.
    pub accepted: u64,
    /// Messages by status; statuses without any are left out.
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    pub counts: Counts,
    /// Whether nothing more happens by itself to any of them.
    pub finished: bool,
}

/// Messages by status.
#[derive(Debug)]
pub struct Counts(Vec<(Status, u64)>);

impl Serialize for Counts {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(status, count)| (status.as_str(), count)))
    }
}

impl Batch {
    /// Shows a batch with its counts.
    pub fn new(id: BatchId, created_at: Timestamp, asked: u32, counts: &[(Status, u64)]) -> Self {
        let counts: Vec<_> = counts.iter().copied().filter(|(_, count)| *count > 0).collect();
        Self {
            id: Shown(id),
            created_at: Shown(created_at),
            asked,
            accepted: counts.iter().map(|(_, count)| count).sum(),
            finished: counts.iter().all(|(status, _)| status.is_final()),
            counts: Counts(counts),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_domain::account::Environment;

    fn items(body: &str) -> String {
        let door = Door { environment: Environment::Test, default_country: None };
        match parse(&Json::parse(body.as_bytes()).unwrap(), door, &Limits::default()) {
            Err(errors) => {
                errors.iter().map(|e| format!("!{}:{}", e.field, e.reason)).collect::<Vec<_>>().join(" ")
            }
            Ok(items) => items
                .iter()
                .map(|item| match item {
                    Ok(item) => format!("{}/{}", item.request.recipient, item.request.text),
                    Err(error) => format!("{}:{}", error.field, error.reason),
                })
                .collect::<Vec<_>>()
                .join(" "),
        }
    }

    #[test]
    fn a_batch_is_a_list_or_a_product() {
        for (body, expected) in [
            (
                r#"{"messages":[{"from":"A1","to":"+15550002222","text":"a"},{"from":"A1","to":"12","text":"b"}]}"#,
                "+15550002222/a to:short_number",
            ),
            (
                r#"{"from":"A1","recipients":["+15550002222","+15550003333"],"bodies":["a","b"]}"#,
                "+15550002222/a +15550002222/b +15550003333/a +15550003333/b",
            ),
            (
                r#"{"from":"A1","recipients":["+15550002222","+1 555 000 2222","x"],"bodies":["a"]}"#,
                "+15550002222/a to:duplicate to:letters",
            ),
            (r#"{"messages":[]}"#, "!messages:empty"),
            (r#"{}"#, "!messages:missing"),
            (r#"{"messages":[{}],"purpose":"alert"}"#, "!purpose:misplaced"),
            (r#"{"recipients":["+15550002222"],"bodies":["a"]}"#, "!from:missing"),
            (r#"{"from":"A1","recipients":[],"bodies":["a"]}"#, "!recipients:empty"),
            (r#"{"messages":[3,{"to":1}]}"#, ":wrong_type to:wrong_type"),
            (r#"{"mesages":[]}"#, "!mesages:unknown_field"),
        ] {
            assert_eq!(items(body), expected, "{body}");
        }
    }

    #[test]
    fn the_limits_are_named() {
        let many = vec!["{}"; 501].join(",");
        assert_eq!(items(&format!(r#"{{"messages":[{many}]}}"#)), "!messages:too_many");
        let many = vec!["\"+15550002222\""; 101].join(",");
        assert_eq!(
            items(&format!(r#"{{"from":"A1","recipients":[{many}],"bodies":["a"]}}"#)),
            "!recipients:too_many"
        );
        let bodies = r#"["a","b","c","d","e","f"]"#;
        let body = format!(r#"{{"from":"A1","recipients":["+15550002222"],"bodies":{bodies}}}"#);
        assert_eq!(items(&body), "!bodies:too_many");
    }
}
