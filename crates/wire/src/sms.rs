//! The short form of sending: `from`, `to`, and the text.

use crate::body::{Field, Fields, Json, Kind, Shape};
use crate::error::{Code, FieldError};
use crate::message::{self, Door, Parsed};
use tidings_domain::purpose::Purpose;

/// The field that holds the text, under each of its names.
pub const TEXT_FIELDS: [&str; 4] = ["message", "body", "text", "content"];

pub(crate) const FROM: Field = Field::new(
    "from",
    Kind::Text,
    "Who it is from: a phone number, a short code, a name of up to 11 characters, or `pool:` and the name of a pool of \
     senders, of which one is chosen.",
)
.required()
.example("\"+15550001111\"");
pub(crate) const TO: Field =
    Field::new("to", Kind::Text, "Who it is to: a phone number with + and country code.")
        .required()
        .example("\"+15550002222\"");
pub(crate) const MESSAGE: Field = Field::new(
    "message",
    Kind::Text,
    "The text. `body`, `text` and `content` are other names of the same field; give exactly one.",
)
.example("\"Hello from our app\"");
pub(crate) const BODY: Field = Field::new("body", Kind::Text, "Another name of `message`.");
pub(crate) const TEXT: Field = Field::new("text", Kind::Text, "Another name of `message`.");
pub(crate) const CONTENT: Field = Field::new("content", Kind::Text, "Another name of `message`.");

/// The body of `POST /v1/sms`.
pub static SMS: Shape = Shape {
    name: "Sms",
    about: "A message in its shortest form. For everything else see NewMessage.",
    fields: &[FROM, TO, MESSAGE, BODY, TEXT, CONTENT],
};

/// Parses the body of `POST /v1/sms`.
///
/// # Errors
/// Everything that is wrong with it, field by field.
pub fn parse(json: &Json<'_>, door: Door) -> Result<Parsed, Vec<FieldError>> {
    let mut errors = Vec::new();
    let fields = SMS.read(json, "", &mut errors);
    for error in errors.iter_mut().filter(|error| error.reason == "unknown_field") {
        if message::MESSAGE.fields.iter().any(|field| field.name == error.field) {
            error.detail = format!("`{}` belongs to the general form: use POST /v1/messages.", error.field);
        }
    }
    message::finish(fields, door, message::Options::new(Purpose::Transactional), None, errors)
}

/// The text and the name under which it came.
pub(crate) fn text<'j>(
    fields: Fields<'j, '_>,
    required: bool,
    errors: &mut Vec<FieldError>,
) -> (&'static str, Option<&'j str>) {
    let mut given = TEXT_FIELDS.into_iter().filter(|name| fields.has(name));
    match (given.next(), given.next()) {
        (None, _) => {
            if required {
                errors.push(FieldError::new(
                    "message",
                    Code::InvalidRequest,
                    "missing",
                    "`message` is missing.",
                ));
            }
            ("message", None)
        }
        (Some(one), Some(other)) => {
            errors.push(FieldError::new(
                other,
                Code::InvalidRequest,
                "given_twice",
                format_args!("`{one}` and `{other}` are names of the same field; give one of them."),
            ));
            (one, None)
        }
        (Some(one), None) => (one, fields.text(one)),
    }
}
