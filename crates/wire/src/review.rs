//! Failures that a person must look at, and the person's decisions.

use crate::body::{Field, Json, Kind, Shape};
use crate::error::{Code, FieldError};
use crate::message::MessageError;
use crate::show::Shown;
use serde::Serialize;
use tidings_domain::id::{InboundId, MessageId, ReviewId};
use tidings_domain::review::{self as domain, Decision};
use tidings_domain::time::Timestamp;
use utoipa::ToSchema;

/// The body of `POST /v1/review/decisions`.
pub static DECISION: Shape = Shape {
    name: "NewDecision",
    about: "A decision about all open items of a cause, or about one item.",
    fields: &[
        Field::new("cause", Kind::Text, "The cause, as in /v1/review/groups."),
        Field::new("item", Kind::Text, "The item's id.").example("\"rev_01j8z0k2m4p6q\""),
        Field::new(
            "decision",
            Kind::Word(&["retry", "drop", "suppress"]),
            "`retry` sends the same content as a new message, `drop` does nothing more, `suppress` stops sending to \
             the recipient, or to the sender of an inbound message. An inbound message is not sent again.",
        )
        .required(),
    ],
};

/// Which items are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// All open ones of this cause.
    Cause(String),
    /// This one.
    Item(ReviewId),
}

/// Parses the body of a decision.
///
/// # Errors
/// Everything that is wrong with it, field by field.
pub fn parse(json: &Json<'_>) -> Result<(Which, Decision), Vec<FieldError>> {
    let mut errors = Vec::new();
    let fields = DECISION.read(json, "", &mut errors);
    let which = match (fields.text("cause"), fields.text("item").map(str::parse)) {
        (Some(cause), None) => Some(Which::Cause(cause.to_owned())),
        (None, Some(Ok(id))) => Some(Which::Item(id)),
        (None, Some(Err(why))) => {
            errors.push(FieldError::new("item", Code::InvalidRequest, "invalid_id", why));
            None
        }
        _ => {
            let detail = "Give either `cause` or `item`.";
            errors.push(FieldError::new("cause", Code::InvalidRequest, "missing", detail));
            None
        }
    };
    match (which, fields.text("decision").and_then(Decision::parse)) {
        (Some(which), Some(decision)) if errors.is_empty() => Ok((which, decision)),
        _ => Err(errors),
    }
}

/// Like failures together.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReviewGroup<'a> {
    /// What they have in common; decisions name it.
    pub cause: &'a str,
    /// One of the failures.
    pub error: MessageError<'a>,
    /// How many are open.
    pub open: u64,
    /// When the first came.
    #[schema(value_type = String)]
    pub first_at: Shown<Timestamp>,
    /// When the last came.
    #[schema(value_type = String)]
    pub last_at: Shown<Timestamp>,
    /// The last message among them; null where they are about inbound messages.
    #[schema(value_type = Option<String>)]
    pub example_message_id: Option<Shown<MessageId>>,
    /// The last inbound message among them, which may ask for no more messages.
    #[schema(value_type = Option<String>)]
    pub example_inbound_id: Option<Shown<InboundId>>,
}

/// Shows a group.
pub fn group(one: &domain::ReviewGroup) -> ReviewGroup<'_> {
    ReviewGroup {
        cause: &one.cause,
        error: MessageError::in_review(&one.failure),
        open: one.open,
        first_at: Shown(one.first_at),
        last_at: Shown(one.last_at),
        example_message_id: one.example.message().map(Shown),
        example_inbound_id: one.example.inbound().map(Shown),
    }
}

/// One failure, or one inbound message, that a person must look at.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReviewItem<'a> {
    /// Its id.
    #[schema(value_type = String)]
    pub id: Shown<ReviewId>,
    /// Its group.
    pub cause: &'a str,
    /// The message; null where it is about an inbound one.
    #[schema(value_type = Option<String>)]
    pub message_id: Option<Shown<MessageId>>,
    /// The inbound message, which may ask for no more messages.
    #[schema(value_type = Option<String>)]
    pub inbound_id: Option<Shown<InboundId>>,
    /// The failure.
    pub error: MessageError<'a>,
    /// When it came.
    #[schema(value_type = String)]
    pub opened_at: Shown<Timestamp>,
    /// What was decided: `retry`, `drop` or `suppress`; null while it is open.
    pub decision: Option<&'static str>,
    /// When it was decided.
    #[schema(value_type = Option<String>)]
    pub decided_at: Option<Shown<Timestamp>>,
    /// By whom.
    pub decided_by: Option<&'a str>,
}

/// Shows an item.
pub fn item(one: &domain::Review) -> ReviewItem<'_> {
    let decided = one.decided.as_ref();
    ReviewItem {
        id: Shown(one.id),
        cause: &one.cause,
        message_id: one.about.message().map(Shown),
        inbound_id: one.about.inbound().map(Shown),
        error: MessageError::in_review(&one.failure),
        opened_at: Shown(one.opened_at),
        decision: decided.map(|(decision, _, _)| decision.as_str()),
        decided_at: decided.map(|(_, at, _)| Shown(*at)),
        decided_by: decided.map(|(_, _, who)| who.as_str()),
    }
}

/// What a decision did.
#[derive(Debug, Serialize, ToSchema)]
pub struct Decided {
    /// How many items were closed.
    pub closed: usize,
    /// For `retry`: the old messages and the new ones.
    pub repeated: Vec<Repeated>,
}

/// A message and its repeat.
#[derive(Debug, Serialize, ToSchema)]
pub struct Repeated {
    /// The old message.
    #[schema(value_type = String)]
    pub message_id: Shown<MessageId>,
    /// The new one; null where the old one cannot be repeated.
    #[schema(value_type = Option<String>)]
    pub new_message_id: Option<Shown<MessageId>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_names_a_cause_or_an_item() {
        let decide = |text: &str| parse(&Json::parse(text.as_bytes()).unwrap());
        assert!(decide(r#"{"cause":"c","decision":"drop"}"#).is_ok());
        let item = ReviewId::from_key(4);
        let one = decide(&format!(r#"{{"item":"{item}","decision":"retry"}}"#));
        assert_eq!(one, Ok((Which::Item(item), Decision::Retry)));
        for wrong in [
            "{}",
            r#"{"decision":"drop"}"#,
            r#"{"cause":"c"}"#,
            r#"{"cause":"c","decision":"keep"}"#,
            r#"{"item":"x","decision":"drop"}"#,
        ] {
            assert!(decide(wrong).is_err(), "{wrong}");
        }
    }
}
