//! What people agreed to: recording it, showing how it stands, and the proof of it.

use crate::body::{Field, Fields, Json, Kind, Shape};
use crate::consent_request::ConsentRequest;
use crate::error::{Code, FieldError};
use crate::message::{Door, bounded};
use crate::show::Shown;
use crate::suppression::Suppression;
use serde::Serialize;
use tidings_domain::address::PhoneNumber;
use tidings_domain::consent::{
    self, Act, Channel, Evidence, Method, PART_MAX, Standing, WORDING_MAX, Wording,
};
use tidings_domain::id::ConsentId;
use tidings_domain::programme::Programmes;
use tidings_domain::purpose::Purpose;
use tidings_domain::time::Timestamp;
use utoipa::ToSchema;

/// A clock a little ahead of ours is no mistake of the caller: ms.
const CLOCK_TOLERANCE_MS: i64 = 5_000;

/// The body of `POST /v1/consents`.
pub static NEW_CONSENT: Shape = Shape {
    name: "NewConsent",
    about: "What a person agreed to, or does not agree to any more: an entry for each purpose and channel. Entries are never \
            changed; the newest word of a person counts.",
    fields: &[
        crate::sms::TO,
        Field::new(
            "act",
            Kind::Word(&["express", "written", "revoked"]),
            "`express` or `written` consent, or that it was `revoked`.",
        )
        .required()
        .example("\"written\""),
        Field::new(
            "purposes",
            Kind::Texts,
            "To be contacted why: `marketing`, `transactional`, `alert`, `authentication`; `marketing` if not given.",
        ),
        Field::new(
            "channels",
            Kind::Texts,
            "And how: `text`, `recorded_voice` (calls with a recorded or made voice, and voicemail that does not ring), `live_voice`; `text` if not given.",
        ),
        Field::new(
            "method",
            Kind::Word(&["form", "text", "paper", "spoken", "import"]),
            "How the person said so.",
        )
        .required()
        .example("\"form\""),
        Field::new("given_at", Kind::Text, "When the person said so, with offset; now if not given."),
        Field::new("expires_at", Kind::Text, "Until when it counts, with offset; for ever if not given."),
        Field::new(
            "wording",
            Kind::Text,
            "The words that the person was shown: 1 to 5000 characters. `written` needs them.",
        ),
        Field::new(
            "place",
            Kind::Text,
            "Where: the address of the form, the number that was texted, the shop. `written` needs it.",
        ),
        Field::new(
            "seller",
            Kind::Text,
            "Who may contact the person, as the words name it. `written` needs it.",
        ),
        Field::new("programme", Kind::Text, "Which programme of the seller."),
        Field::new("ip", Kind::Text, "The network address from which a form was sent: IPv4 or IPv6."),
        Field::new("user_agent", Kind::Text, "The program that sent the form."),
        Field::new("attested_by", Kind::Text, "Who vouches for a list of another system. `import` needs it."),
    ],
};

/// What to record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Whose consent.
    pub recipient: PhoneNumber,
    /// For what.
    pub purposes: Vec<Purpose>,
    /// Over what.
    pub channels: Vec<Channel>,
    /// What the person said.
    pub act: Act,
    /// When.
    pub given_at: Timestamp,
    /// Until when.
    pub expires_at: Option<Timestamp>,
    /// How.
    pub method: Method,
    /// What proves it.
    pub evidence: Evidence,
}

/// Parses the body of `POST /v1/consents`.
///
/// # Errors
/// Everything that is wrong with it, field by field; nothing of it is to be recorded then.
pub fn parse(json: &Json<'_>, door: Door, now: Timestamp) -> Result<Recorded, Vec<FieldError>> {
    let mut errors = Vec::new();
    let fields = NEW_CONSENT.read(json, "", &mut errors);
    let recipient =
        fields.text("to").map(|to| door.recipient("to", to)).and_then(|read| kept(read, &mut errors));
    let act = fields.text("act").and_then(Act::parse);
    let method = fields.text("method").and_then(Method::parse);
    let purposes = words(fields, "purposes", Purpose::parse, Purpose::Marketing, &mut errors);
    let channels = words(fields, "channels", Channel::parse, Channel::Text, &mut errors);
    let given_at = moment(fields, "given_at", &mut errors).unwrap_or(now);
    if given_at > now.plus_ms(CLOCK_TOLERANCE_MS) {
        let detail = "`given_at` lies ahead: a consent is recorded when it was given.";
        errors.push(FieldError::new("given_at", Code::InvalidTime, "ahead", detail));
    }
    if !consent::is_credible(given_at) {
        let detail = "`given_at` is from before 1990, when there was nothing to agree to.";
        errors.push(FieldError::new("given_at", Code::InvalidTime, "too_early", detail));
    }
    let expires_at = moment(fields, "expires_at", &mut errors);
    if expires_at.is_some_and(|end| end <= given_at) {
        let detail = "`expires_at` must be later than `given_at`.";
        errors.push(FieldError::new("expires_at", Code::InvalidTime, "before_start", detail));
    }
    let evidence = Evidence {
        wording: wording(fields, &mut errors),
        place: bounded(fields, "place", PART_MAX, &mut errors),
        seller: bounded(fields, "seller", PART_MAX, &mut errors),
        programme: bounded(fields, "programme", PART_MAX, &mut errors),
        ip: address(fields, &mut errors),
        user_agent: bounded(fields, "user_agent", PART_MAX, &mut errors),
        attested_by: bounded(fields, "attested_by", PART_MAX, &mut errors),
    };
    let (Some(recipient), Some(act), Some(method), true) = (recipient, act, method, errors.is_empty()) else {
        return Err(errors);
    };
    for field in consent::missing(act, method, &evidence) {
        let detail = format!("`{field}` is missing: a consent of this kind must have it.");
        errors.push(FieldError::new(field, Code::InvalidRequest, "missing", detail));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(Recorded { recipient, purposes, channels, act, given_at, expires_at, method, evidence })
}

/// The network address from which a form was sent.
fn address(fields: Fields<'_, '_>, errors: &mut Vec<FieldError>) -> Option<String> {
    let text = fields.text("ip")?;
    let found = consent::network_address(text).map(|address| address.to_string());
    if found.is_none() {
        let detail = "`ip` must be an IPv4 or IPv6 address, such as 192.0.2.1.";
        errors.push(FieldError::new("ip", Code::InvalidRequest, "no_address", detail));
    }
    found
}

fn kept<T>(read: Result<T, FieldError>, errors: &mut Vec<FieldError>) -> Option<T> {
    read.map_err(|error| errors.push(error)).ok()
}

fn moment(fields: Fields<'_, '_>, name: &'static str, errors: &mut Vec<FieldError>) -> Option<Timestamp> {
    let read = Timestamp::parse(fields.text(name)?);
    kept(read.map_err(|why| FieldError::new(name, Code::InvalidTime, "unreadable", why)), errors)
}

fn wording(fields: Fields<'_, '_>, errors: &mut Vec<FieldError>) -> Option<Wording> {
    let text = fields.text("wording")?;
    if !Wording::can_be(text) {
        let detail = format!(
            "`wording` must have 1 to {WORDING_MAX} characters, and no control characters but line ends and tabs."
        );
        errors.push(FieldError::new("wording", Code::InvalidRequest, "length", detail));
        return None;
    }
    Some(Wording { hash: crate::token::hash(text), text: text.to_owned() })
}

/// Each different word of a list, in its order; one if there is no list.
pub(crate) fn words<T: PartialEq>(
    fields: Fields<'_, '_>,
    name: &'static str,
    parse: fn(&str) -> Option<T>,
    default: T,
    errors: &mut Vec<FieldError>,
) -> Vec<T> {
    let Some(list) = fields.texts(name) else { return vec![default] };
    let mut found = Vec::new();
    for (index, word) in list.enumerate() {
        match parse(word) {
            Some(value) if !found.contains(&value) => found.push(value),
            Some(_) => {}
            None => errors.push(FieldError {
                field: format!("{name}[{index}]").into(),
                ..FieldError::new(
                    name,
                    Code::InvalidRequest,
                    "unknown_word",
                    "This is none of the known words.",
                )
            }),
        }
    }
    if found.is_empty() && errors.is_empty() {
        let detail = format!("`{name}` must have at least one entry.");
        errors.push(FieldError::new(name, Code::InvalidRequest, "empty", detail));
    }
    found
}

/// An entry of the ledger.
#[derive(Debug, Serialize, ToSchema)]
pub struct Consent<'a> {
    /// Its id.
    #[schema(value_type = String)]
    pub id: Shown<ConsentId>,
    /// Whose consent.
    #[schema(value_type = String)]
    pub to: Shown<PhoneNumber>,
    /// `express`, `written` or `revoked`.
    pub act: &'static str,
    /// To be contacted why.
    pub purpose: &'static str,
    /// And how: `text`, `recorded_voice` or `live_voice`.
    pub channel: &'static str,
    /// How it was said: `form`, `text`, `paper`, `spoken` or `import`.
    pub method: &'static str,
    /// When it was said.
    #[schema(value_type = String)]
    pub given_at: Shown<Timestamp>,
    /// When it was recorded.
    #[schema(value_type = String)]
    pub recorded_at: Shown<Timestamp>,
    /// Until when it counts, if it ends by itself.
    #[schema(value_type = Option<String>)]
    pub expires_at: Option<Shown<Timestamp>>,
    /// The words that were shown.
    pub wording: Option<&'a str>,
    /// Their SHA-256, hexadecimal.
    pub wording_sha256: Option<String>,
    /// Where it was said.
    pub place: Option<&'a str>,
    /// Who may contact the person.
    pub seller: Option<&'a str>,
    /// Which programme of the seller.
    pub programme: Option<&'a str>,
    /// The network address from which a form was sent.
    pub ip: Option<&'a str>,
    /// The program that sent the form.
    pub user_agent: Option<&'a str>,
    /// Who vouches for it.
    pub attested_by: Option<&'a str>,
    /// Who recorded it.
    pub source: &'a str,
}

/// Shows an entry.
pub fn shown(entry: &consent::Consent) -> Consent<'_> {
    let evidence = &entry.evidence;
    let wording = evidence.wording.as_ref();
    Consent {
        id: Shown(entry.id),
        to: Shown(entry.recipient),
        act: entry.act.as_str(),
        purpose: entry.purpose.as_str(),
        channel: entry.channel.as_str(),
        method: entry.method.as_str(),
        given_at: Shown(entry.given_at),
        recorded_at: Shown(entry.recorded_at),
        expires_at: entry.expires_at.map(Shown),
        wording: wording.map(|wording| &*wording.text),
        wording_sha256: wording.map(Wording::sha256),
        place: evidence.place.as_deref(),
        seller: evidence.seller.as_deref(),
        programme: evidence.programme.as_deref(),
        ip: evidence.ip.as_deref(),
        user_agent: evidence.user_agent.as_deref(),
        attested_by: evidence.attested_by.as_deref(),
        source: &entry.source,
    }
}

/// How consent stands for one purpose over one channel.
#[derive(Debug, Serialize, ToSchema)]
pub struct Stand {
    /// For messages of which programme; null for those of none, or where there are no programmes.
    pub programme: Option<String>,
    /// To be contacted why.
    pub purpose: &'static str,
    /// And how.
    pub channel: &'static str,
    /// `granted`, `revoked`, `expired` or `never_given`.
    pub state: &'static str,
    /// What is asked for by law for this: `express` or `written`.
    pub needed: &'static str,
    /// Whether what there is is enough for that.
    pub enough: bool,
    /// Since when: the grant, the revocation or the end.
    #[schema(value_type = Option<String>)]
    pub since: Option<Shown<Timestamp>>,
    /// The entry that counts, if it is a grant.
    #[schema(value_type = Option<String>)]
    pub consent_id: Option<Shown<ConsentId>>,
}

/// How everything stands, given all that a person said, for messages of no programme and for those of each: what was never
/// spoken of is left out.
pub fn standings(
    ledger: &[consent::Consent],
    opt_outs: &[consent::OptOut],
    programmes: &Programmes,
    now: Timestamp,
) -> Vec<Stand> {
    let names = std::iter::once(None).chain(programmes.all.iter().map(|one| Some(&one.name)));
    let pairs = Purpose::ALL.into_iter().flat_map(|purpose| Channel::ALL.map(|channel| (purpose, channel)));
    let all = names.flat_map(|name| pairs.clone().map(move |(purpose, channel)| (name, purpose, channel)));
    all.filter_map(|(name, purpose, channel)| {
        let scope = programmes.scope(name);
        let standing = consent::standing(ledger, opt_outs, purpose, channel, scope, now);
        let needed = consent::needed(purpose, channel);
        let (since, id) = match standing {
            Standing::Never => return None,
            Standing::Granted(entry) => (entry.given_at, Some(entry.id)),
            Standing::Revoked(at) | Standing::Expired(at) => (at, None),
        };
        Some(Stand {
            programme: name.map(ToString::to_string),
            purpose: purpose.as_str(),
            channel: channel.as_str(),
            state: standing.as_str(),
            needed: needed.as_str(),
            enough: standing.permits(needed),
            since: Some(Shown(since)),
            consent_id: id.map(Shown),
        })
    })
    .collect()
}

/// Everything that is known of what a person said, at a moment.
#[derive(Debug, Serialize, ToSchema)]
pub struct Proof<'a> {
    /// Whose consent.
    #[schema(value_type = String)]
    pub to: Shown<PhoneNumber>,
    /// When this was made.
    #[schema(value_type = String)]
    pub made_at: Shown<Timestamp>,
    /// Whether the number is on the suppression list now for all that the account sends. What it is on there for one programme
    /// is in `suppressions`.
    pub suppressed: bool,
    /// How consent stands for what was ever spoken of.
    pub standing: Vec<Stand>,
    /// Every entry of the ledger, the first recorded first.
    pub consents: Vec<Consent<'a>>,
    /// Every entry of the suppression list, the first first. The source of an opt-out by text, and the reason for its end,
    /// name the inbound message and the word.
    pub suppressions: Vec<Suppression<'a>>,
    /// Every request for consent by text, the first first: what was asked, when, and the answer.
    pub requests: Vec<ConsentRequest<'a>>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_domain::account::Environment;

    const DOOR: Door = Door { environment: Environment::Test, default_country: None };
    const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

    fn read(text: &str) -> Result<Recorded, Vec<FieldError>> {
        parse(&Json::parse(text.as_bytes()).unwrap(), DOOR, NOW)
    }

    #[test]
    fn a_consent_is_read_with_its_evidence() {
        let read = read(
            r#"{"to":"+15550002222","act":"written","method":"form","purposes":["marketing","alert","alert"],
                "channels":["text","recorded_voice"],"wording":"I agree\nto texts","place":"https://shop.example",
                "seller":"Shop","given_at":"2026-01-01T00:00:00Z","expires_at":"2028-01-01T00:00:00Z"}"#,
        )
        .unwrap();
        assert_eq!(read.purposes, [Purpose::Marketing, Purpose::Alert]);
        assert_eq!(read.channels, [Channel::Text, Channel::RecordedVoice]);
        assert_eq!(read.evidence.wording.unwrap().hash, crate::token::hash("I agree\nto texts"));
    }

    #[test]
    fn what_is_wrong_is_said_by_field() {
        let check = |text: &str, expected: &[(&str, &str)]| {
            let errors = read(text).unwrap_err();
            let found: Vec<(&str, &str)> = errors.iter().map(|error| (&*error.field, error.reason)).collect();
            assert_eq!(found, expected, "{text}");
        };
        check(
            r#"{"to":"+15550002222","act":"written","method":"form"}"#,
            &[("wording", "missing"), ("seller", "missing"), ("place", "missing")],
        );
        check(r#"{"to":"+15550002222","act":"express","method":"import"}"#, &[("attested_by", "missing")]);
        check(
            r#"{"to":"+15550002222","act":"express","method":"form","channels":["text","smoke"]}"#,
            &[("channels[1]", "unknown_word")],
        );
        check(
            r#"{"to":"+15550002222","act":"express","method":"form","purposes":[]}"#,
            &[("purposes", "empty")],
        );
        check(
            r#"{"to":"+15550002222","act":"express","method":"form","given_at":"2099-01-01T00:00:00Z"}"#,
            &[("given_at", "ahead")],
        );
        check(
            r#"{"to":"+15550002222","act":"express","method":"form","given_at":"0001-01-01T00:00:00Z","ip":"office"}"#,
            &[("given_at", "too_early"), ("ip", "no_address")],
        );
        check(
            r#"{"to":"+15550002222","act":"express","method":"form","given_at":"2026-01-01T00:00:00Z","expires_at":"2025-01-01T00:00:00Z"}"#,
            &[("expires_at", "before_start")],
        );
        check(
            r#"{"to":"+15550002222","act":"express","method":"form","wording":" "}"#,
            &[("wording", "length")],
        );
        assert!(read("{}").is_err());
    }
}
