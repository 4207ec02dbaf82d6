//! The suppression list: adding, lifting, showing.

use crate::body::{Field, Json, Kind, Shape};
use crate::error::{Code, FieldError};
use crate::message::Door;
use crate::show::Shown;
use serde::Serialize;
use tidings_domain::address::PhoneNumber;
use tidings_domain::id::SuppressionId;
use tidings_domain::programme;
use tidings_domain::suppression::{self as domain, Reason};
use tidings_domain::time::Timestamp;
use utoipa::ToSchema;

/// Numbers that one call can add.
pub const LIST_MAX: usize = 1000;
/// Characters of the reason for lifting.
pub const REASON_MAX: usize = 200;

const REASON: Field = Field::new(
    "reason",
    Kind::Word(&["opted_out", "invalid_number", "manual", "unreachable"]),
    "Why; `manual` if not given.",
);
const EXPIRES_AT: Field = Field::new(
    "expires_at",
    Kind::Text,
    "Until when, with offset; for ever if not given (`invalid_number`, `unreachable`: 90 days).",
);

const PROGRAMME: Field = Field::new(
    "programme",
    Kind::Text,
    "The programme whose messages it is about; all that the account sends if not given.",
);

/// The body of `POST /v1/suppressions`.
pub static NEW_SUPPRESSION: Shape = Shape {
    name: "NewSuppression",
    about: "Phone numbers that get nothing more: one as `to`, or up to 1000 as `recipients`.",
    fields: &[
        Field { required: false, ..crate::sms::TO },
        Field::new("recipients", Kind::Texts, "Several phone numbers."),
        PROGRAMME,
        REASON,
        EXPIRES_AT,
    ],
};

/// The body of `POST /v1/suppressions/lift`.
pub static LIFT: Shape = Shape {
    name: "Lift",
    about: "Takes a phone number off the list: its entry for all that the account sends, or what is there for one programme, by any of its names.",
    fields: &[
        crate::sms::TO,
        PROGRAMME,
        Field::new("reason", Kind::Text, "Why, for the record: 1 to 200 characters.")
            .required()
            .example("\"asked for it again by phone\""),
    ],
};

/// What to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addition {
    /// Who.
    pub recipients: Vec<PhoneNumber>,
    /// The name of the programme, as it was written, if it is about one.
    pub programme: Option<String>,
    /// Why.
    pub reason: Reason,
    /// Until when, if it was said.
    pub expires_at: Option<Timestamp>,
}

/// Parses the body of `POST /v1/suppressions`.
///
/// # Errors
/// Everything that is wrong with it; nothing of it is to be added then.
pub fn parse(json: &Json<'_>, door: Door) -> Result<Addition, Vec<FieldError>> {
    let mut errors = Vec::new();
    let fields = NEW_SUPPRESSION.read(json, "", &mut errors);
    let mut recipients = Vec::new();
    match (fields.text("to"), fields.list("recipients")) {
        (Some(to), None) => match door.recipient("to", to) {
            Ok(number) => recipients.push(number),
            Err(error) => errors.push(error),
        },
        (None, Some(list)) if list.len() > LIST_MAX => {
            let detail = format!("One call takes at most {LIST_MAX} numbers, and this has {}.", list.len());
            errors.push(FieldError::new("recipients", Code::LimitExceeded, "too_many", detail));
        }
        (None, Some(list)) => {
            for (index, text) in fields.texts("recipients").into_iter().flatten().enumerate() {
                match door.recipient("to", text) {
                    Ok(number) => recipients.push(number),
                    Err(error) => {
                        errors.push(FieldError { field: format!("recipients[{index}]").into(), ..error });
                    }
                }
            }
            if list.is_empty() {
                let detail = "`recipients` must have at least one entry.";
                errors.push(FieldError::new("recipients", Code::InvalidRequest, "empty", detail));
            }
        }
        _ if errors.is_empty() => errors.push(FieldError::new(
            "to",
            Code::InvalidRequest,
            "missing",
            "Give either `to` or `recipients`.",
        )),
        _ => {}
    }
    let expires_at = match fields.text("expires_at").map(Timestamp::parse) {
        Some(Err(why)) => {
            errors.push(FieldError::new("expires_at", Code::InvalidTime, "unreadable", why));
            None
        }
        Some(Ok(at)) => Some(at),
        None => None,
    };
    let reason = fields.text("reason").and_then(Reason::parse).unwrap_or(Reason::Manual);
    let programme = fields.text("programme").map(str::to_owned);
    recipients.sort_unstable();
    recipients.dedup();
    if errors.is_empty() { Ok(Addition { recipients, programme, reason, expires_at }) } else { Err(errors) }
}

/// What to lift.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifting {
    /// Whose entry.
    pub recipient: PhoneNumber,
    /// The programme of the entry; `None` for the one that is about everything.
    pub programme: Option<programme::Name>,
    /// Why.
    pub reason: String,
}

/// Parses the body of `POST /v1/suppressions/lift`. An entry of a programme that is not configured any more can be lifted, too.
///
/// # Errors
/// Everything that is wrong with it, field by field.
pub fn parse_lift(json: &Json<'_>, door: Door) -> Result<Lifting, Vec<FieldError>> {
    let mut errors = Vec::new();
    let fields = LIFT.read(json, "", &mut errors);
    let reason = crate::message::bounded(fields, "reason", REASON_MAX, &mut errors);
    let programme = fields.text("programme").map(|text| {
        programme::Name::parse(text).ok_or_else(|| FieldError::no_programme(text, std::iter::empty()))
    });
    let programme = programme.transpose().unwrap_or_else(|error| {
        errors.push(error);
        None
    });
    match (fields.text("to").map(|to| door.recipient("to", to)), reason) {
        (Some(Ok(recipient)), Some(reason)) if errors.is_empty() => {
            Ok(Lifting { recipient, programme, reason })
        }
        (number, _) => {
            errors.extend(number.and_then(Result::err));
            Err(errors)
        }
    }
}

/// An entry of the list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Suppression<'a> {
    /// Its id.
    #[schema(value_type = String)]
    pub id: Shown<SuppressionId>,
    /// Who is not sent to.
    #[schema(value_type = String)]
    pub to: Shown<PhoneNumber>,
    /// The programme whose messages it is about; null for all that the account sends.
    pub programme: Option<&'a str>,
    /// `opted_out`, `invalid_number`, `manual` or `unreachable`.
    pub reason: &'static str,
    /// Where it came from.
    pub source: &'a str,
    /// Since when.
    #[schema(value_type = String)]
    pub created_at: Shown<Timestamp>,
    /// Until when, if it ends by itself.
    #[schema(value_type = Option<String>)]
    pub expires_at: Option<Shown<Timestamp>>,
    /// When it was lifted, if it was.
    #[schema(value_type = Option<String>)]
    pub lifted_at: Option<Shown<Timestamp>>,
    /// Why it was lifted.
    pub lifted_reason: Option<&'a str>,
}

/// Shows an entry.
pub fn shown(one: &domain::Suppression) -> Suppression<'_> {
    let lifted = one.lifted.as_ref();
    Suppression {
        id: Shown(one.id),
        to: Shown(one.recipient),
        programme: one.programme.as_ref().map(programme::Name::as_str),
        reason: one.reason.as_str(),
        source: &one.source,
        created_at: Shown(one.created_at),
        expires_at: one.expires_at.map(Shown),
        lifted_at: lifted.map(|(at, _)| Shown(*at)),
        lifted_reason: lifted.map(|(_, why)| why.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_domain::account::Environment;

    const DOOR: Door = Door { environment: Environment::Test, default_country: None };

    #[test]
    fn one_or_many_are_added_whole_or_not_at_all() {
        let add = |text: &str| parse(&Json::parse(text.as_bytes()).unwrap(), DOOR);
        assert_eq!(add(r#"{"to":"+15550002222"}"#).unwrap().reason, Reason::Manual);
        let many = add(r#"{"recipients":["+15550002222","+1 555 000 2222"],"reason":"opted_out"}"#).unwrap();
        assert_eq!((many.recipients.len(), many.reason), (1, Reason::OptedOut));
        let wrong = add(r#"{"recipients":["+15550002222","x"]}"#).unwrap_err();
        assert_eq!(wrong[0].field, "recipients[1]");
        for wrong in [
            "{}",
            r#"{"to":"+15550002222","recipients":[]}"#,
            r#"{"recipients":[]}"#,
            r#"{"to":"+15550002222","expires_at":"x"}"#,
        ] {
            assert!(add(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lifting_needs_a_reason() {
        let lift = |text: &str| parse_lift(&Json::parse(text.as_bytes()).unwrap(), DOOR);
        assert_eq!(lift(r#"{"to":"+15550002222","reason":"asked again"}"#).unwrap().programme, None);
        let of_one = lift(r#"{"to":"+15550002222","reason":"asked again","programme":"offers"}"#).unwrap();
        assert_eq!(of_one.programme, programme::Name::parse("offers"));
        let wrong = lift(r#"{"to":"+15550002222","reason":"asked again","programme":"Of fers"}"#);
        assert_eq!(wrong.unwrap_err()[0].field, "programme");
        assert_eq!(lift(r#"{"to":"+15550002222"}"#).unwrap_err()[0].field, "reason");
        assert_eq!(lift(r#"{"to":"+15550002222","reason":""}"#).unwrap_err()[0].reason, "length");
    }
}
