//! Consent that a person is asked for by a message: what is asked, and how it stands.

use crate::body::{Field, Json, Kind, Shape};
use crate::consent::words;
use crate::error::{Code, FieldError};
use crate::message::{Door, Options, Parsed, bounded, check_length};
use crate::show::Shown;
use serde::Serialize;
use tidings_domain::address::PhoneNumber;
use tidings_domain::consent::{self, Act, Channel, Evidence, Method, PART_MAX};
use tidings_domain::consent_request::{self as domain, LIFE_S, LIFE_S_MAX, LIFE_S_MIN, NewConsentRequest};
use tidings_domain::id::{ConsentRequestId, InboundId, MessageId};
use tidings_domain::purpose::Purpose;
use tidings_domain::sender::Sender;
use tidings_domain::time::Timestamp;
use utoipa::ToSchema;

/// The body of `POST /v1/consents/requests`.
pub static NEW_REQUEST: Shape = Shape {
    name: "NewConsentRequest",
    about: "Consent that a person is asked for by one message, and gives or refuses by answering it. Nothing is permitted by it \
            until the person says yes.",
    fields: &[
        crate::sms::FROM,
        crate::sms::TO,
        Field::new(
            "text",
            Kind::Text,
            "What the message says: who asks, for what, and how to say yes, with a word that counts: YES, OUI, JA, SÍ …",
        )
        .required()
        .example("\"Acme: offers by text, about 4 a month? Reply YES to agree, NO to refuse, STOP to end. Msg&data rates may apply.\""),
        Field::new("act", Kind::Word(&["express", "written"]), "What a yes is: `express` or `written` consent.")
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
            "And how: `text`, `recorded_voice`, `live_voice`; `text` if not given.",
        ),
        Field::new(
            "expires_in_s",
            Kind::Integer(LIFE_S_MIN, LIFE_S_MAX),
            "How long an answer counts: seconds; a week if not given.",
        ),
        Field::new(
            "place",
            Kind::Text,
            "Where the person asked for it before, such as the address of a form: at most 500 characters.",
        ),
        Field::new("seller", Kind::Text, "Who may contact the person, as the text names it. `written` needs it."),
        Field::new("programme", Kind::Text, "Which programme of the seller."),
    ],
};

/// Parses the body of `POST /v1/consents/requests`: the message, and what it asks for.
///
/// # Errors
/// Everything that is wrong with it, field by field; nobody is to be asked then.
pub fn parse(json: &Json<'_>, door: Door) -> Result<(Parsed, NewConsentRequest), Vec<FieldError>> {
    let mut errors = Vec::new();
    let fields = NEW_REQUEST.read(json, "", &mut errors);
    let act = fields.text("act").and_then(Act::parse);
    let purposes = words(fields, "purposes", Purpose::parse, Purpose::Marketing, &mut errors);
    let channels = words(fields, "channels", Channel::parse, Channel::Text, &mut errors);
    let place = bounded(fields, "place", PART_MAX, &mut errors);
    let seller = bounded(fields, "seller", PART_MAX, &mut errors);
    let programme = bounded(fields, "programme", PART_MAX, &mut errors);
    let life_s = fields.integer("expires_in_s").unwrap_or(LIFE_S);
    if fields.text("text").is_some_and(|text| !domain::names_a_yes(text)) {
        let detail = "`text` must name a word that counts as a yes, such as YES: \"Reply YES to agree\".";
        errors.push(FieldError::new("text", Code::InvalidText, "no_yes", detail));
    }
    // The words are the text itself, and the place is the sender.
    let evidence = Evidence { seller: seller.clone(), ..Evidence::default() };
    let lacks = act.is_some_and(|act| consent::missing(act, Method::Text, &evidence).contains(&"seller"));
    if lacks {
        let detail = "`seller` is missing: a written consent must have it.";
        errors.push(FieldError::new("seller", Code::InvalidRequest, "missing", detail));
    }
    if let Some(text) = fields.text("text") {
        check_length(text, "text", &mut errors);
    }
    let sender = fields.text("from").map(|from| door.source("from", from));
    let recipient = fields.text("to").map(|to| door.recipient("to", to));
    match (sender, recipient, fields.text("text"), act) {
        (Some(Ok(sender)), Some(Ok(recipient)), Some(text), Some(act)) if errors.is_empty() => {
            let options = Options::new(Purpose::Transactional);
            let (request, callback_url) = options.with(sender, recipient, text.to_owned());
            let message = Parsed { request, callback_url, text_field: "text", filling: None };
            let source = "api".to_owned();
            Ok((
                message,
                NewConsentRequest { purposes, channels, act, life_s, place, seller, programme, source },
            ))
        }
        (sender, recipient, ..) => {
            errors.extend(sender.and_then(Result::err));
            errors.extend(recipient.and_then(Result::err));
            Err(errors)
        }
    }
}

/// Consent that a person is asked for.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConsentRequest<'a> {
    /// Its id.
    #[schema(value_type = String, example = "crq_01j8z0k2m4p6q")]
    pub id: Shown<ConsentRequestId>,
    /// `pending`; `granted` or `declined` by the person; `opted_out` if the person opted out of everything since; `expired`;
    /// `undelivered` if its message will not arrive.
    pub status: &'static str,
    /// Who is asked.
    #[schema(value_type = String)]
    pub to: Shown<PhoneNumber>,
    /// From which sender: the answer must come to it.
    #[schema(value_type = String)]
    pub from: Shown<Sender>,
    /// The message that asks.
    #[schema(value_type = String)]
    pub message_id: Shown<MessageId>,
    /// What a yes is: `express` or `written`.
    pub act: &'static str,
    /// To be contacted why.
    pub purposes: Vec<&'static str>,
    /// And how.
    pub channels: Vec<&'static str>,
    /// What the message says.
    pub wording: &'a str,
    /// Its SHA-256, hexadecimal.
    pub wording_sha256: String,
    /// Where the person asked for it before.
    pub place: Option<&'a str>,
    /// Who may contact the person.
    pub seller: Option<&'a str>,
    /// Which programme of the seller.
    pub programme: Option<&'a str>,
    /// Who asked.
    pub source: &'a str,
    /// When it was accepted.
    #[schema(value_type = String)]
    pub requested_at: Shown<Timestamp>,
    /// Until when an answer counts.
    #[schema(value_type = String)]
    pub expires_at: Shown<Timestamp>,
    /// When the answer came that ended it.
    #[schema(value_type = Option<String>)]
    pub answered_at: Option<Shown<Timestamp>>,
    /// The answer that ended it.
    #[schema(value_type = Option<String>)]
    pub answer_id: Option<Shown<InboundId>>,
}

/// Shows a request, as it stands.
pub fn shown(one: &domain::ConsentRequest) -> ConsentRequest<'_> {
    ConsentRequest {
        id: Shown(one.id),
        status: one.state.as_str(),
        to: Shown(one.recipient),
        from: Shown(one.sender),
        message_id: Shown(one.message),
        act: one.act.as_str(),
        purposes: one.purposes.iter().map(|purpose| purpose.as_str()).collect(),
        channels: one.channels.iter().map(|channel| channel.as_str()).collect(),
        wording: &one.wording.text,
        wording_sha256: one.wording.sha256(),
        place: one.place.as_deref(),
        seller: one.seller.as_deref(),
        programme: one.programme.as_deref(),
        source: &one.source,
        requested_at: Shown(one.requested_at),
        expires_at: Shown(one.expires_at),
        answered_at: one.ended_at.map(Shown),
        answer_id: one.answer.map(Shown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_domain::account::Environment;
    use tidings_domain::pool::Source;

    fn read(text: &str) -> Result<(Parsed, NewConsentRequest), Vec<FieldError>> {
        let door = Door { environment: Environment::Test, default_country: None };
        parse(&Json::parse(text.as_bytes()).unwrap(), door)
    }

    #[test]
    fn a_request_is_read_with_what_it_asks_for() {
        let (message, new) = read(
            r#"{"from":"+15550001111","to":"+15550002222","text":"Offers? Reply YES","act":"written","seller":"Acme",
                "purposes":["marketing","alert"],"expires_in_s":3600}"#,
        )
        .unwrap();
        assert_eq!(message.request.purpose, Purpose::Transactional);
        assert_eq!(
            (new.purposes, new.channels),
            (vec![Purpose::Marketing, Purpose::Alert], vec![Channel::Text])
        );
        assert_eq!((new.act, new.life_s), (Act::Written, 3600));
        let of_a_pool =
            read(r#"{"from":"pool:support","to":"+15550002222","text":"Reply YES","act":"express"}"#);
        let Source::Pool(pool) = of_a_pool.unwrap().0.request.from else { panic!("not a pool") };
        assert_eq!(pool.as_str(), "support");
    }

    #[test]
    fn what_is_wrong_is_said_by_field() {
        let check = |more: &str, expected: &[(&str, &str)]| {
            let errors =
                read(&format!(r#"{{"from":"+15550001111","to":"+15550002222",{more}}}"#)).unwrap_err();
            let found: Vec<(&str, &str)> = errors.iter().map(|error| (&*error.field, error.reason)).collect();
            assert_eq!(found, expected, "{more}");
        };
        check(r#""text":"Offers?","act":"express""#, &[("text", "no_yes")]);
        check(r#""text":"Offers? YES","act":"written""#, &[("seller", "missing")]);
        check(r#""text":"YES","act":"express","channels":["smoke"]"#, &[("channels[0]", "unknown_word")]);
        assert!(read(r#"{"from":"+15550001111","to":"+15550002222","text":"YES"}"#).is_err());
        assert!(read(r#"{"from":"+15550001111","to":"+15550002222","text":"YES","act":"revoked"}"#).is_err());
    }
}
