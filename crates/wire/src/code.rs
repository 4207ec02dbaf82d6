//! One-time codes: asking for one, trying it, and how one is shown. The code itself is in none of these bodies but that
//! of a try.

use crate::body::{Field, Fields, Json, Kind, Shape};
use crate::error::{Code as ErrorCode, FieldError};
use crate::message::{Door, REFERENCE, REFERENCE_MAX, TEXT_MAX, bounded, check_length};
use crate::show::Shown;
use crate::sms;
use serde::Serialize;
use std::net::IpAddr;
use tidings_domain::address::PhoneNumber;
use tidings_domain::code::{self as domain, BRAND_MAX, NewCode, SENDS_MAX, Template, Verdict};
use tidings_domain::id::{CodeId, MessageId};
use tidings_domain::keyword::Language;
use tidings_domain::pool;
use tidings_domain::sender::Sender;
use tidings_domain::time::Timestamp;
use utoipa::ToSchema;

/// Characters of what somebody types in. More than any code with spaces between its digits.
const TYPED_MAX: usize = 32;
/// Characters of a caller's word for a session.
pub const SESSION_MAX: usize = 200;

const CLIENT_ADDRESS: Field = Field::new(
    "client_address",
    Kind::Text,
    "The address of the person who asks you: IPv4 or IPv6. Codes are counted by it; it is not shown again.",
)
.example("\"203.0.113.9\"");
const CLIENT_SESSION: Field = Field::new(
    "client_session",
    Kind::Text,
    "Your word for the person's session, at most 200 characters. Codes are counted by it; only a digest is kept.",
)
.example("\"s-7f3a\"");

/// The body of `POST /v1/codes`.
pub static NEW_CODE: Shape = Shape {
    name: "NewCode",
    about: "A one-time code to send to a phone number.",
    fields: &[
        sms::TO,
        Field {
            required: false,
            about: "Who it is from: a phone number, a short code, or a name of up to 11 characters. If not given, the \
                    sender of the configuration.",
            ..sms::FROM
        },
        Field::new(
            "digits",
            Kind::Integer(domain::DIGITS_MIN as i64, domain::DIGITS_MAX as i64),
            "How many digits it has; 6 if not given.",
        )
        .example("6"),
        Field::new(
            "expires_in_s",
            Kind::Integer(domain::LIFE_MIN_S, domain::LIFE_MAX_S),
            "How long it is good: seconds; 300 if not given.",
        )
        .example("300"),
        Field::new(
            "text",
            Kind::Text,
            "Your own text, with `{code}` in it once, and `{brand}` if you like. If not given, ours in the language.",
        )
        .example("\"{brand}: {code} is your code to sign in.\""),
        Field::new("brand", Kind::Text, "The name that people know you by: at most 30 characters.")
            .example("\"Acme\""),
        Field::new(
            "locale",
            Kind::Text,
            "The language of our text, such as `de` or `pt-BR`: de, en, es, fr, it, nl, pl, pt or sv. English if not \
             given or another.",
        )
        .example("\"en\""),
        REFERENCE,
        CLIENT_ADDRESS,
        CLIENT_SESSION,
    ],
};

/// The body of `POST /v1/codes/{id}/resend`.
pub static RESEND: Shape = Shape {
    name: "ResendCode",
    about: "Who wants the code again.",
    fields: &[CLIENT_ADDRESS, CLIENT_SESSION],
};

/// The body of `POST /v1/codes/{id}/check`.
pub static CHECK: Shape = Shape {
    name: "CheckCode",
    about: "What the person typed in.",
    fields: &[Field::new(
        "code",
        Kind::Text,
        "The code as it was typed in, as a string. Spaces and hyphens do not count.",
    )
    .required()
    .example("\"123456\"")],
};

/// Who asks the caller for a code, as far as the caller says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Client {
    /// From which address.
    pub address: Option<IpAddr>,
    /// In which session.
    pub session: Option<String>,
}

/// A request for a code, all parsed.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// Who it is to.
    pub recipient: PhoneNumber,
    /// Who it is from, if that was said.
    pub sender: Option<Sender>,
    /// The words around it.
    pub template: Template,
    /// The code.
    pub code: NewCode,
    /// Who asks for it.
    pub client: Client,
}

/// Parses the body of `POST /v1/codes`. `brand` is the name where the caller gives none.
///
/// # Errors
/// Everything that is wrong with it, field by field.
pub fn parse(json: &Json<'_>, door: Door, brand: Option<&str>) -> Result<Parsed, Vec<FieldError>> {
    let mut errors = Vec::new();
    let fields = NEW_CODE.read(json, "", &mut errors);
    let recipient = fields.text("to").map(|to| door.recipient("to", to));
    let sender = fields.text("from").map(|from| one_sender(door, from)).transpose();
    let own_brand = bounded(fields, "brand", BRAND_MAX, &mut errors);
    let brand = own_brand.as_deref().or(brand);
    let template = match fields.text("text") {
        Some(text) => {
            check_length(text, "text", &mut errors);
            if text.len() > TEXT_MAX { None } else { Some(Template::parse(text, brand)) }
        }
        None => Some(Template::built_in(fields.text("locale").and_then(language), brand)),
    };
    let client = client(fields, &mut errors);
    let reference = bounded(fields, "reference", REFERENCE_MAX, &mut errors);
    let digits = fields.integer("digits").and_then(|digits| u8::try_from(digits).ok());
    let code = NewCode {
        digits: digits.unwrap_or(domain::DIGITS),
        life_s: fields.integer("expires_in_s").unwrap_or(domain::LIFE_S),
        reference,
    };
    match (recipient, sender, template) {
        (Some(Ok(recipient)), Ok(sender), Some(Ok(template))) if errors.is_empty() => {
            Ok(Parsed { recipient, sender, template, code, client })
        }
        (recipient, sender, template) => {
            errors.extend(recipient.and_then(Result::err));
            errors.extend(sender.err());
            if let Some(Err(why)) = template {
                errors.push(FieldError::new("text", ErrorCode::InvalidText, "no_template", why));
            }
            Err(errors)
        }
    }
}

/// The sender of a code, which a pool is not.
fn one_sender(door: Door, from: &str) -> Result<Sender, FieldError> {
    if pool::Name::after_prefix(from).is_some() {
        let detail =
            "A code is from one sender and not from a pool: write the sender itself, or leave `from` out.";
        return Err(FieldError::new("from", ErrorCode::InvalidSender, "pool", detail));
    }
    door.sender("from", from)
}

/// The language of a tag such as `pt-BR` (BCP 47).
fn language(tag: &str) -> Option<Language> {
    let first = tag.split(['-', '_']).next()?;
    Language::parse(&first.to_ascii_lowercase())
}

fn client(fields: Fields<'_, '_>, errors: &mut Vec<FieldError>) -> Client {
    let address = match fields.text("client_address").map(str::parse::<IpAddr>) {
        None => None,
        Some(Ok(address)) => Some(address),
        Some(Err(_)) => {
            let detail = "`client_address` must be an IPv4 or IPv6 address.";
            errors.push(FieldError::new("client_address", ErrorCode::InvalidRequest, "no_address", detail));
            None
        }
    };
    Client { address, session: bounded(fields, "client_session", SESSION_MAX, errors) }
}

/// Parses the body of `POST /v1/codes/{id}/resend`.
///
/// # Errors
/// Everything that is wrong with it, field by field.
pub fn parse_resend(json: &Json<'_>) -> Result<Client, Vec<FieldError>> {
    let mut errors = Vec::new();
    let fields = RESEND.read(json, "", &mut errors);
    let client = client(fields, &mut errors);
    if errors.is_empty() { Ok(client) } else { Err(errors) }
}

/// Parses the body of `POST /v1/codes/{id}/check`: what was typed in, without what does not count.
///
/// # Errors
/// Everything that is wrong with it, field by field. A wrong code is no error.
pub fn parse_check(json: &Json<'_>) -> Result<String, Vec<FieldError>> {
    let mut errors = Vec::new();
    let fields = CHECK.read(json, "", &mut errors);
    match bounded(fields, "code", TYPED_MAX, &mut errors) {
        Some(typed) if errors.is_empty() => {
            Ok(typed.chars().filter(|c| !c.is_whitespace() && *c != '-').collect())
        }
        _ => Err(errors),
    }
}

/// A one-time code as it is now, without the code.
#[derive(Debug, Serialize, ToSchema)]
pub struct Code<'a> {
    /// Its id: keep it with the person's session.
    #[schema(value_type = String, example = "cod_01j8z0k2m4p6q")]
    pub id: Shown<CodeId>,
    /// `pending`, `approved`, `expired`, `canceled` or `spent`.
    pub status: &'static str,
    /// The phone number that it is for.
    #[schema(value_type = String)]
    pub to: Shown<PhoneNumber>,
    /// How many digits it has.
    pub digits: u8,
    /// Its newest message: what became of that is told like that of any message. Its text is shown without the code.
    #[schema(value_type = String)]
    pub message_id: Shown<MessageId>,
    /// How often it was sent.
    pub sends: u8,
    /// From when on it may be sent again; null if it may not.
    #[schema(value_type = Option<String>)]
    pub resend_at: Option<Shown<Timestamp>>,
    /// Wrong tries that it still bears.
    pub tries_left: u8,
    /// When it was made.
    #[schema(value_type = String)]
    pub created_at: Shown<Timestamp>,
    /// From then on it is good for nothing.
    #[schema(value_type = String)]
    pub expires_at: Shown<Timestamp>,
    /// The caller's own name for it.
    pub reference: Option<&'a str>,
}

impl<'a> Code<'a> {
    /// Shows a code as it is at `now`.
    pub fn new(code: &'a domain::Code, resend_after_s: i64, now: Timestamp) -> Self {
        let status = code.status(now);
        let is_pending = status == domain::Status::Pending;
        debug_assert!(code.life.sends <= SENDS_MAX);
        let resend_at = code.resend_at(resend_after_s).filter(|at| is_pending && *at < code.expires_at);
        Self {
            id: Shown(code.id),
            status: status.as_str(),
            to: Shown(code.recipient),
            digits: code.digits,
            message_id: Shown(code.life.message),
            sends: code.life.sends,
            resend_at: resend_at.map(Shown),
            tries_left: if is_pending { code.tries_left() } else { 0 },
            created_at: Shown(code.created_at),
            expires_at: Shown(code.expires_at),
            reference: code.reference.as_deref(),
        }
    }
}

/// What became of a try.
#[derive(Debug, Serialize, ToSchema)]
pub struct Checked {
    /// Which code.
    #[schema(value_type = String, example = "cod_01j8z0k2m4p6q")]
    pub id: Shown<CodeId>,
    /// Whether it was right: then the phone number is the person's, and the code is used.
    pub valid: bool,
    /// How the code stands now: `approved`, `pending` or `spent`.
    pub status: &'static str,
    /// Wrong tries that it still bears.
    pub tries_left: u8,
}

impl Checked {
    /// Shows what became of a try that was compared.
    pub fn new(code: &domain::Code, verdict: Verdict, now: Timestamp) -> Self {
        Self {
            id: Shown(code.id),
            valid: verdict == Verdict::Right,
            status: code.status(now).as_str(),
            tries_left: code.tries_left(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tests::golden;
    use tidings_domain::account::{Environment, Realm};
    use tidings_domain::code::Mark;
    use tidings_domain::id::AccountId;

    const TEST: Door = Door { environment: Environment::Test, default_country: None };

    fn asked(body: &str) -> String {
        let json = Json::parse(body.as_bytes()).unwrap();
        match parse(&json, TEST, Some("Acme")) {
            Ok(parsed) => {
                let text =
                    domain::sample(&parsed.template.blank(parsed.code.digits, Mark::new(0))).into_owned();
                format!("{} {} {text}", parsed.recipient, parsed.code.life_s)
            }
            Err(errors) => errors
                .iter()
                .map(|e| format!("{} {} {}", e.field, e.code.as_str(), e.reason))
                .collect::<Vec<_>>()
                .join("; "),
        }
    }

    #[test]
    fn a_request_for_a_code_is_read_or_says_what_is_wrong() {
        let to = r#""to":"+15550002222""#;
        for (more, expected) in [
            ("", "+15550002222 300 Acme: your code is 000000. Do not share it."),
            (
                r#","locale":"de-AT","digits":4,"expires_in_s":600,"brand":"Hut""#,
                "+15550002222 600 Hut: Ihr Code ist 0000. Geben Sie ihn nicht weiter.",
            ),
            (r#","text":"{code} by {brand}""#, "+15550002222 300 000000 by Acme"),
            (r#","text":"Hello""#, "text INVALID_TEXT no_template"),
            (r#","text":"{code} {code}""#, "text INVALID_TEXT no_template"),
            (r#","digits":3"#, "digits INVALID_REQUEST out_of_range"),
            (r#","expires_in_s":601"#, "expires_in_s INVALID_REQUEST out_of_range"),
            (r#","brand":"""#, "brand INVALID_REQUEST length"),
            (r#","client_address":"here""#, "client_address INVALID_REQUEST no_address"),
            (
                r#","client_address":"2001:db8::1","client_session":"s""#,
                "+15550002222 300 Acme: your code is 000000. Do not share it.",
            ),
            (r#","from":"""#, "from INVALID_SENDER empty"),
            (r#","from":"pool:support""#, "from INVALID_SENDER pool"),
            (r#","code":"123456""#, "code INVALID_REQUEST unknown_field"),
        ] {
            assert_eq!(asked(&format!("{{{to}{more}}}")), expected, "{more}");
        }
        assert_eq!(asked("{}"), "to INVALID_REQUEST missing");
    }

    #[test]
    fn what_is_typed_in_is_read_without_what_does_not_count() {
        let typed = |body: &str| parse_check(&Json::parse(body.as_bytes()).unwrap()).map_err(|e| e[0].reason);
        assert_eq!(typed(r#"{"code":" 123-456 "}"#).as_deref(), Ok("123456"));
        assert_eq!(typed(r#"{"code":"12"}"#).as_deref(), Ok("12"));
        assert_eq!(typed(r#"{"code":123456}"#), Err("wrong_type"), "noughts at its beginning would be lost");
        assert_eq!(typed(r#"{"code":""}"#), Err("length"));
        assert_eq!(typed("{}"), Err("missing"));
    }

    #[test]
    fn the_bodies_are_those_of_the_golden_files() {
        let at = Timestamp::from_millis(1_795_000_000_123);
        let realm = Realm { account: AccountId::from_key(1), environment: Environment::Test };
        let new = NewCode { digits: 6, life_s: 300, reference: Some("sign-in".to_owned()) };
        let recipient = PhoneNumber::from_stored("+15550002222").unwrap();
        let mut code =
            new.sent(realm, MessageId::from_key(1_234_567_890_123_456), recipient, Mark::new(1), at);
        golden("code.json", &serde_json::to_string_pretty(&Code::new(&code, 30, at)).unwrap());
        let (verdict, life) = code.check(false, at);
        code.life = life;
        let checked = Checked::new(&code, verdict, at);
        golden("code_checked.json", &serde_json::to_string_pretty(&checked).unwrap());
    }
}
