//! Messages: the general form of sending, what a preview tells, and how a message is shown.

use crate::body::{Field, Fields, Json, Kind, Shape};
use crate::error::{Code, FieldError};
use crate::show::Shown;
use crate::sms;
use crate::template::{self, Filling, TemplateOrigin};
use serde::Serialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use tidings_domain::account::Environment;
use tidings_domain::address::{Country, PhoneNumber};
use tidings_domain::code;
use tidings_domain::consent::Channel;
use tidings_domain::content;
use tidings_domain::failure::{Failure, Recovery};
use tidings_domain::gate::{self, Hold};
use tidings_domain::id::{BatchId, ConnectionId, InboundId, MessageId};
use tidings_domain::intake::{Plan, SendAt, SendRequest};
use tidings_domain::message::{self as domain, Life, Status};
use tidings_domain::pool::{self, Picked, Source};
use tidings_domain::programme;
use tidings_domain::purpose::Purpose;
use tidings_domain::sender::Sender;
use tidings_domain::text::{self, Cost, Encoding};
use tidings_domain::time::Timestamp;
use utoipa::ToSchema;

/// Characters of a caller's own name for a message.
pub const REFERENCE_MAX: usize = 100;
/// Keys of a message's metadata.
pub const METADATA_KEYS_MAX: usize = 20;
/// Characters of a metadata key.
pub const METADATA_KEY_MAX: usize = 40;
/// Characters of a metadata value.
pub const METADATA_VALUE_MAX: usize = 500;
/// Octets of an address for webhooks.
pub const URL_MAX: usize = 2048;
/// Octets of a text before it is even measured: 255 segments of 67 units of at most three octets each.
pub const TEXT_MAX: usize = 51_255;

const PURPOSES: &[&str] = &["authentication", "alert", "transactional", "marketing"];

pub(crate) const PURPOSE: Field = Field::new(
    "purpose",
    Kind::Word(PURPOSES),
    "Why it is sent. Decides its urgency, how long it is worth sending, and what happens if the carrier never \
     answers. `transactional` if not given.",
)
.example("\"authentication\"");
pub(crate) const PROGRAMME: Field = Field::new(
    "programme",
    Kind::Text,
    "The programme that it is of, by its name: a `[[programme]]` of the configuration. If not given, it is the one that its \
     sender belongs to, if that is one and not several.",
)
.example("\"reminders\"");
pub(crate) const SEND_AT: Field = Field::new(
    "send_at",
    Kind::Text,
    "When to send it: with offset (RFC 3339), or without one (`2026-12-24T08:00`) in the recipient's local time. At once if \
     not given or just past.",
)
.example("\"2026-12-24T08:00:00+01:00\"");
pub(crate) const EXPIRES_IN_S: Field = Field::new(
    "expires_in_s",
    Kind::Integer(1, 259_200),
    "How long it is worth sending, counted from when it is due: seconds. Afterwards it ends as `expired`.",
)
.example("300");
pub(crate) const CALLBACK_URL: Field = Field::new(
    "callback_url",
    Kind::Text,
    "An address that is told what becomes of this message, besides the account's endpoints.",
)
.example("\"https://example.com/sms-events\"");
pub(crate) const REFERENCE: Field = Field::new(
    "reference",
    Kind::Text,
    "Your own name for it, at most 100 characters; messages can be searched by it.",
)
.example("\"order-1042\"");
pub(crate) const METADATA: Field = Field::new(
    "metadata",
    Kind::Strings,
    "Your own data, given back wherever the message is shown: at most 20 keys of 40 characters with values of 500.",
)
.example("{\"customer\":\"42\"}");
pub(crate) const TRANSLITERATE: Field = Field::new(
    "transliterate",
    Kind::Boolean,
    "Whether costly characters may be replaced by cheap ones that look alike, if that saves a segment.",
);

/// The body of `POST /v1/messages`.
pub static MESSAGE: Shape = Shape {
    name: "NewMessage",
    about: "A message to send.",
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
        PURPOSE,
        PROGRAMME,
        SEND_AT,
        EXPIRES_IN_S,
        CALLBACK_URL,
        REFERENCE,
        METADATA,
        TRANSLITERATE,
    ],
};

/// The body of `POST /v1/messages/preview`: a message, of which only the text is needed.
pub static PREVIEW: Shape = Shape {
    name: "PreviewMessage",
    about: "A message to look at before sending it. Without `from` and `to`, only its text is measured.",
    fields: &[
        Field { required: false, ..sms::FROM },
        Field { required: false, ..sms::TO },
        sms::MESSAGE,
        sms::BODY,
        sms::TEXT,
        sms::CONTENT,
        PURPOSE,
        PROGRAMME,
        SEND_AT,
        EXPIRES_IN_S,
        CALLBACK_URL,
        REFERENCE,
        METADATA,
        TRANSLITERATE,
        CHANNEL,
    ],
};

const CHANNEL: Field = Field::new(
    "channel",
    Kind::Word(&["text", "recorded_voice", "live_voice"]),
    "What the consent in `gate` is looked at for; `text` if not given.",
);

/// The rules of the door that a request comes in by.
#[derive(Debug, Clone, Copy)]
pub struct Door {
    /// Test takes fictional numbers, live does not.
    pub environment: Environment,
    /// Where numbers without a country code are from; without it they are refused.
    pub default_country: Option<Country>,
}

impl Door {
    /// Parses a recipient in `field`.
    ///
    /// # Errors
    /// Why it is not one.
    pub fn recipient(self, field: &'static str, text: &str) -> Result<PhoneNumber, FieldError> {
        PhoneNumber::parse(text, self.default_country, self.environment)
            .map_err(|why| FieldError::new(field, Code::InvalidNumber, why.code(), why))
    }

    /// Parses a sender in `field`.
    ///
    /// # Errors
    /// Why it is not one.
    pub fn sender(self, field: &'static str, text: &str) -> Result<Sender, FieldError> {
        Sender::parse(text, self.default_country, self.environment)
            .map_err(|why| FieldError::new(field, Code::InvalidSender, why.code(), why))
    }

    /// Parses a sender in `field`, or `pool:` and the name of a pool of senders.
    ///
    /// # Errors
    /// Why it is neither.
    pub fn source(self, field: &'static str, text: &str) -> Result<Source, FieldError> {
        match pool::Name::after_prefix(text) {
            None => self.sender(field, text).map(Source::Sender),
            Some(name) => pool::Name::parse(name).map(Source::Pool).ok_or_else(|| {
                let detail = format!(
                    "After `pool:` stands the name of a pool: 1 to {} of a to z, digits, - and _.",
                    pool::NAME_MAX
                );
                FieldError::new(field, Code::InvalidSender, "no_pool", detail)
            }),
        }
    }
}

/// A request, all parsed; only its callback address must still be turned into an endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// The request, without callback.
    pub request: SendRequest,
    /// The callback address.
    pub callback_url: Option<String>,
    /// The name under which the text came, for errors about it.
    pub text_field: &'static str,
    /// The template that the text is still to be made of. The request's text is empty until then.
    pub filling: Option<Box<Filling>>,
}

/// What a message has besides sender, recipient and text.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    purpose: Purpose,
    programme: Option<programme::Name>,
    send_at: Option<SendAt>,
    validity_s: Option<i64>,
    transliterate: bool,
    callback_url: Option<String>,
    reference: Option<String>,
    metadata: Option<String>,
}

impl Options {
    pub(crate) const fn new(purpose: Purpose) -> Self {
        Self {
            purpose,
            programme: None,
            send_at: None,
            validity_s: None,
            transliterate: false,
            callback_url: None,
            reference: None,
            metadata: None,
        }
    }

    pub(crate) fn read(fields: Fields<'_, '_>, errors: &mut Vec<FieldError>) -> Self {
        let send_at = fields.text("send_at").and_then(|text| match SendAt::parse(text) {
            Ok(at) => Some(at),
            Err(_) => {
                let detail = "Write the time with its offset, such as 2026-11-23T08:00:00+01:00, or as 2026-11-23T08:00 for the \
                              recipient's local time.";
                errors.push(FieldError::new("send_at", Code::InvalidTime, "unreadable", detail));
                None
            }
        });
        Self {
            purpose: fields.text("purpose").and_then(Purpose::parse).unwrap_or(Purpose::Transactional),
            programme: named_programme(fields, errors),
            send_at,
            validity_s: fields.integer("expires_in_s"),
            transliterate: fields.boolean("transliterate").unwrap_or(false),
            callback_url: bounded(fields, "callback_url", URL_MAX, errors),
            reference: bounded(fields, "reference", REFERENCE_MAX, errors),
            metadata: metadata(fields, errors),
        }
    }

    pub(crate) fn with(
        self,
        from: Source,
        recipient: PhoneNumber,
        text: String,
    ) -> (SendRequest, Option<String>) {
        let request = SendRequest {
            from,
            recipient,
            text,
            purpose: self.purpose,
            send_at: self.send_at,
            validity_s: self.validity_s,
            transliterate: self.transliterate,
            callback: None,
            reference: self.reference,
            metadata: self.metadata,
            retry_of: None,
            template: None,
            programme: self.programme,
        };
        (request, self.callback_url)
    }
}

/// The programme that is named; whether it is known is asked later.
fn named_programme(fields: Fields<'_, '_>, errors: &mut Vec<FieldError>) -> Option<programme::Name> {
    let text = fields.text("programme")?;
    let name = programme::Name::parse(text);
    if name.is_none() {
        let most = programme::NAME_MAX;
        let detail = format!("A programme's name is 1 to {most} of a to z, digits, - and _.");
        errors.push(FieldError::new("programme", Code::UnknownProgramme, "no_programme", detail));
    }
    name
}

/// A text of 1 to `most` characters without control characters.
pub(crate) fn bounded(
    fields: Fields<'_, '_>,
    name: &'static str,
    most: usize,
    errors: &mut Vec<FieldError>,
) -> Option<String> {
    let text = fields.text(name)?;
    let count = text.chars().count();
    if count == 0 || count > most || text.chars().any(char::is_control) {
        let detail = format!("`{name}` must have 1 to {most} characters, and no control characters.");
        errors.push(FieldError::new(name, Code::InvalidRequest, "length", detail));
        return None;
    }
    Some(text.to_owned())
}

fn metadata(fields: Fields<'_, '_>, errors: &mut Vec<FieldError>) -> Option<String> {
    let entries = fields.strings("metadata")?;
    let fits = |(key, value): (&str, &str)| {
        (1..=METADATA_KEY_MAX).contains(&key.chars().count()) && value.chars().count() <= METADATA_VALUE_MAX
    };
    if entries.clone().count() > METADATA_KEYS_MAX || !entries.clone().all(fits) {
        errors.push(FieldError::new(
            "metadata",
            Code::LimitExceeded,
            "metadata",
            format_args!(
                "`metadata` takes at most {METADATA_KEYS_MAX} keys of 1 to {METADATA_KEY_MAX} characters with values \
                 of at most {METADATA_VALUE_MAX}."
            ),
        ));
        return None;
    }
    struct Map<I>(I);
    impl<'t, I: Iterator<Item = (&'t str, &'t str)> + Clone> Serialize for Map<I> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map(self.0.clone())
        }
    }
    Some(serde_json::to_string(&Map(entries)).expect("strings are JSON"))
}

/// Parses the body of `POST /v1/messages`, or one item of a batch that stands at `place`.
///
/// # Errors
/// Everything that is wrong with it, field by field.
pub fn parse(json: &Json<'_>, door: Door) -> Result<Parsed, Vec<FieldError>> {
    let mut errors = Vec::new();
    let fields = MESSAGE.read(json, "", &mut errors);
    let options = Options::read(fields, &mut errors);
    let filling = Filling::read(fields, &mut errors);
    finish(fields, door, options, filling, errors)
}

pub(crate) fn finish(
    fields: Fields<'_, '_>,
    door: Door,
    options: Options,
    filling: Option<Filling>,
    mut errors: Vec<FieldError>,
) -> Result<Parsed, Vec<FieldError>> {
    let sender = fields.text("from").map(|from| door.source("from", from));
    let recipient = fields.text("to").map(|to| door.recipient("to", to));
    let (text_field, text) = text(fields, filling.is_some(), &mut errors);
    match (sender, recipient, text) {
        (Some(Ok(from)), Some(Ok(recipient)), Some(text)) if errors.is_empty() => {
            let (request, callback_url) = options.with(from, recipient, text.to_owned());
            Ok(Parsed { request, callback_url, text_field, filling: filling.map(Box::new) })
        }
        (sender, recipient, _) => {
            errors.extend(sender.and_then(Result::err));
            errors.extend(recipient.and_then(Result::err));
            Err(errors)
        }
    }
}

/// The text and the name under which it came. With a template it is empty as yet.
pub(crate) fn text<'j>(
    fields: Fields<'j, '_>,
    has_template: bool,
    errors: &mut Vec<FieldError>,
) -> (&'static str, Option<&'j str>) {
    let (name, text) = sms::text(fields, !has_template, errors);
    if has_template {
        if fields.has(name) {
            let detail = format!("Give `{name}` or `template`: the text is made of one of them.");
            errors.push(FieldError::new(name, Code::InvalidRequest, "given_twice", detail));
        }
        return ("template", Some(""));
    }
    if let Some(text) = text {
        check_length(text, name, errors);
    }
    (name, text)
}

pub(crate) fn check_length(text: &str, field: &'static str, errors: &mut Vec<FieldError>) {
    if text.len() > TEXT_MAX {
        errors.push(FieldError::new(
            field,
            Code::TooManySegments,
            "too_many_segments",
            "The text is longer than 255 segments.",
        ));
    }
}

/// A preview request: the text, and the whole message if it can be one.
#[derive(Debug, Clone)]
pub struct PreviewRequest {
    /// The text as given.
    pub text: String,
    /// The name under which it came.
    pub text_field: &'static str,
    /// Whether costly characters may be replaced.
    pub transliterate: bool,
    /// The message, if sender and recipient were given and everything is right.
    pub message: Option<Parsed>,
    /// What its recipient's consent is looked at for.
    pub channel: Channel,
    /// What would be refused.
    pub refused: Vec<FieldError>,
}

/// Parses the body of `POST /v1/messages/preview`.
///
/// # Errors
/// What is wrong with its form. What sending would refuse is in [`PreviewRequest::refused`] instead.
pub fn parse_preview(json: &Json<'_>, door: Door) -> Result<PreviewRequest, Vec<FieldError>> {
    let mut errors = Vec::new();
    let fields = PREVIEW.read(json, "", &mut errors);
    let options = Options::read(fields, &mut errors);
    let (text_field, text) = sms::text(fields, true, &mut errors);
    if let Some(text) = text {
        check_length(text, text_field, &mut errors);
    }
    let (form, mut refused): (Vec<_>, Vec<_>) =
        errors.into_iter().partition(|error| error.code == Code::InvalidRequest);
    let Some(text) = text.filter(|text| form.is_empty() && text.len() <= TEXT_MAX) else {
        return Err([form, refused].concat());
    };
    let sender = fields.text("from").map(|from| door.source("from", from));
    let recipient = fields.text("to").map(|to| door.recipient("to", to));
    let transliterate = options.transliterate;
    let mut message = None;
    match (sender, recipient) {
        (Some(Ok(from)), Some(Ok(recipient))) if refused.is_empty() => {
            let (request, callback_url) = options.with(from, recipient, text.to_owned());
            message = Some(Parsed { request, callback_url, text_field, filling: None });
        }
        (sender, recipient) => {
            refused.extend(sender.and_then(Result::err));
            refused.extend(recipient.and_then(Result::err));
        }
    }
    let channel = fields.text("channel").and_then(Channel::parse).unwrap_or(Channel::Text);
    Ok(PreviewRequest { text: text.to_owned(), text_field, transliterate, message, channel, refused })
}

/// What a message would become.
#[derive(Debug, Serialize, ToSchema)]
pub struct Preview {
    /// `gsm7` or `ucs2`.
    #[schema(value_type = String)]
    pub encoding: Shown<Encoding>,
    /// Septets (gsm7) or UTF-16 units (ucs2).
    pub units: u32,
    /// The parts that the network carries, which is what is paid.
    pub segments: u32,
    /// The units that fit into the only segment of a message.
    pub units_alone: u32,
    /// The units that fit into each of several segments.
    pub units_concatenated: u32,
    /// The characters that make it dearer, in the order of their first appearance.
    pub costly_characters: Vec<Costly>,
    /// What replacing costly characters would give; null if it would save nothing.
    pub transliteration: Option<Transliteration>,
    /// Who it would be from.
    #[schema(value_type = Option<String>)]
    pub from: Option<Shown<Sender>>,
    /// Why it would be from this sender, if it is of a pool.
    pub sender_choice: Option<SenderChoice>,
    /// The programme that it would be of.
    pub programme: Option<String>,
    /// Who it would go to.
    #[schema(value_type = Option<String>)]
    pub to: Option<Shown<PhoneNumber>>,
    /// The connection that it would take.
    #[schema(value_type = Option<String>)]
    pub connection: Option<Shown<ConnectionId>>,
    /// When it would be sent, if not at once.
    #[schema(value_type = Option<String>)]
    pub send_at: Option<Shown<Timestamp>>,
    /// When it would not be worth sending any more.
    #[schema(value_type = Option<String>)]
    pub expires_at: Option<Shown<Timestamp>>,
    /// Why it would be refused; empty if it would be accepted.
    pub refused: Vec<FieldError>,
    /// What in its text carriers may filter, though it would be accepted; empty if sender and recipient are not given.
    pub warnings: Vec<Warning>,
    /// Every reason why it would not go at the time that it asks for, in a fixed order; empty if it would, or if sender and
    /// recipient are not given.
    pub gate: Vec<GateReason>,
    /// When it would go in the end; null if it would be refused, or if sender and recipient are not given.
    #[schema(value_type = Option<String>)]
    pub sends_at: Option<Shown<Timestamp>>,
}

/// A reason why a message would not go at the time that it asks for.
#[derive(Debug, Serialize, ToSchema)]
pub struct GateReason {
    /// One of the public codes.
    #[schema(value_type = String, example = "QUIET_HOURS")]
    pub code: Code,
    /// The finer reason, a lower-case word.
    pub reason: &'static str,
    /// A sentence for people. It never repeats phone numbers.
    pub detail: String,
    /// The address of the page about the code.
    pub page: String,
    /// Until when the message would wait; null if it would be refused.
    #[schema(value_type = Option<String>)]
    pub holds_until: Option<Shown<Timestamp>>,
}

impl GateReason {
    /// Shows a finding of the gate. `base` is put before the address of its page.
    pub fn new(finding: &gate::Finding, base: &str) -> Self {
        let FieldError { code, reason, detail, .. } = FieldError::gate(&finding.reason, "text");
        Self { code, reason, detail, page: code.address(base), holds_until: finding.holds_until.map(Shown) }
    }
}

/// What in a text carriers may filter, though the message goes.
#[derive(Debug, Serialize, ToSchema)]
pub struct Warning {
    /// One of the public codes.
    #[schema(value_type = String, example = "RISKY_CONTENT")]
    pub code: Code,
    /// The finer reason, a lower-case word: `url_shortener`, `restricted_goods`, `all_capitals`, `no_opt_out_wording` or
    /// `no_brand`.
    pub reason: &'static str,
    /// A sentence for people. It never repeats the text.
    pub detail: String,
}

impl Warning {
    /// Shows what was found.
    pub fn new(finding: &content::Finding) -> Self {
        let FieldError { code, reason, detail, .. } = FieldError::content(finding, "text");
        Self { code, reason, detail }
    }
}

/// What the gate says of a message.
#[derive(Debug, Default)]
pub struct Gated {
    /// Its reasons.
    pub reasons: Vec<GateReason>,
    /// When the message would go.
    pub sends_at: Option<Timestamp>,
}

/// A character that makes a text dearer.
#[derive(Debug, Serialize, ToSchema)]
pub struct Costly {
    /// The character.
    pub character: char,
    /// `forces_ucs2`, `two_septets` or `national_table`.
    pub cost: &'static str,
    /// How often it is there.
    pub count: u32,
    /// Where, in characters from 0.
    pub positions: Vec<u32>,
}

/// What replacing costly characters would give.
#[derive(Debug, Serialize, ToSchema)]
pub struct Transliteration {
    /// The text afterwards.
    pub text: String,
    /// Its encoding.
    #[schema(value_type = String)]
    pub encoding: Shown<Encoding>,
    /// Its segments.
    pub segments: u32,
    /// The segments that it saves.
    pub segments_saved: u32,
    /// What is replaced.
    pub replacements: Vec<Replaced>,
}

/// What would be written for what.
#[derive(Debug, Serialize, ToSchema)]
pub struct Replaced {
    /// What was there.
    pub from: String,
    /// What is there now.
    pub to: String,
    /// How often.
    pub count: u32,
}

impl Preview {
    /// Tells what became of the request. `plan` is there if it would be accepted by the rules.
    pub fn new(
        request: &PreviewRequest,
        plan: Option<&Plan>,
        refused: Vec<FieldError>,
        gated: Gated,
    ) -> Self {
        let sends_at = gated.sends_at.filter(|_| refused.is_empty()).map(Shown);
        let options = plan.map(|plan| plan.options).unwrap_or_default();
        let cheaper = text::transliterate(&request.text, &options);
        let sent = if request.transliterate { cheaper.text.as_ref() } else { &request.text };
        let measured = text::measure(sent, &options);
        let costly = text::costly_characters(sent, &options);
        let transliteration = (!cheaper.replacements.is_empty()).then(|| Transliteration {
            text: cheaper.text.to_string(),
            encoding: Shown(cheaper.after.encoding),
            segments: cheaper.after.segments,
            segments_saved: cheaper.segments_saved(),
            replacements: cheaper
                .replacements
                .iter()
                .map(|r| Replaced { from: r.from.clone(), to: r.to.clone(), count: r.count })
                .collect(),
        });
        let message = request.message.as_ref().map(|message| &message.request);
        Self {
            encoding: Shown(measured.encoding),
            units: measured.units,
            segments: measured.segments,
            units_alone: measured.limits.alone,
            units_concatenated: measured.limits.concatenated,
            costly_characters: costly
                .into_iter()
                .map(|costly| Costly {
                    character: costly.character,
                    cost: match costly.cost {
                        Cost::ForcesUcs2 => "forces_ucs2",
                        Cost::TwoSeptets => "two_septets",
                        Cost::NationalTable => "national_table",
                    },
                    count: costly.count,
                    positions: costly.positions,
                })
                .collect(),
            transliteration,
            from: message.and_then(|message| message.from.sender()).map(Shown),
            sender_choice: message.and_then(|message| message.from.picked()).map(SenderChoice::new),
            programme: plan.and_then(|plan| Some(plan.programme.as_ref()?.to_string())),
            to: message.map(|message| Shown(message.recipient)),
            connection: plan.map(|plan| Shown(plan.connection)),
            send_at: plan.and_then(|plan| plan.send_at.map(Shown)),
            expires_at: plan.map(|plan| Shown(plan.expires_at)),
            refused,
            warnings: plan.map(|plan| plan.warnings.iter().map(Warning::new).collect()).unwrap_or_default(),
            gate: gated.reasons,
            sends_at,
        }
    }
}

/// The answer to a message that was accepted. The text is not in it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Accepted<'a> {
    /// Its id: keep it, later events name it.
    #[schema(value_type = String, example = "msg_01j8z0k2m4p6q")]
    pub id: Shown<MessageId>,
    /// `queued` or `scheduled`: accepted for sending, not yet delivered.
    pub status: &'static str,
    /// Who it is from, as it will be sent.
    #[schema(value_type = String)]
    pub from: Shown<Sender>,
    /// Why it is from this sender, if that was chosen from a pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender_choice: Option<SenderChoice>,
    /// Who it is to, in E.164.
    #[schema(value_type = String)]
    pub to: Shown<PhoneNumber>,
    /// Why it is sent.
    pub purpose: &'static str,
    /// The programme that it is of, if it is of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub programme: Option<&'a str>,
    /// The parts that the network carries.
    pub segments: u8,
    /// `gsm7` or `ucs2`.
    #[schema(value_type = String)]
    pub encoding: Shown<Encoding>,
    /// When it was accepted.
    #[schema(value_type = String)]
    pub created_at: Shown<Timestamp>,
    /// When it will be sent, if not at once: the time you gave, or a later one until which it is held.
    #[schema(value_type = Option<String>)]
    pub send_at: Option<Shown<Timestamp>>,
    /// Why it is held until then, if it is.
    pub held: Option<MessageError<'a>>,
    /// What in its text carriers may filter, as the operator's policy for its purpose has it looked at.
    pub warnings: Vec<Warning>,
    /// After this it is not sent any more.
    #[schema(value_type = String)]
    pub expires_at: Shown<Timestamp>,
    /// The caller's own name for it.
    #[schema(value_type = Option<String>)]
    pub reference: Option<&'a str>,
}

impl<'a> Accepted<'a> {
    /// Shows a message that was just accepted, with what the gate holds it for, and what was found in its text.
    pub fn new(
        message: &'a domain::Message,
        status: Status,
        held: Option<&'a Hold>,
        warnings: &[content::Finding],
    ) -> Self {
        Self {
            id: Shown(message.id),
            status: status.as_str(),
            from: Shown(message.sender),
            sender_choice: None,
            to: Shown(message.recipient),
            purpose: message.purpose.as_str(),
            programme: message.programme.as_ref().map(programme::Name::as_str),
            segments: message.segments,
            encoding: Shown(message.encoding),
            created_at: Shown(message.created_at),
            send_at: message.send_at.map(Shown),
            held: held.map(|hold| MessageError::new(&hold.why, status, message.purpose)),
            warnings: warnings.iter().map(Warning::new).collect(),
            expires_at: Shown(message.expires_at),
            reference: message.reference.as_deref(),
        }
    }

    /// With why it is from its sender, if that was chosen from a pool.
    #[must_use]
    pub fn chosen(self, picked: Option<&Picked>) -> Self {
        Self { sender_choice: picked.map(SenderChoice::new), ..self }
    }
}

/// Why a message is from a sender that was chosen from a pool.
#[derive(Debug, Serialize, ToSchema)]
pub struct SenderChoice {
    /// The pool's name.
    pub pool: String,
    /// `sticky`, `area`, `spread` or `failover`.
    pub choice: &'static str,
    /// A sentence for people. It never repeats phone numbers.
    pub detail: String,
}

impl SenderChoice {
    /// Shows why a sender was chosen.
    pub fn new(picked: &Picked) -> Self {
        Self::of(picked.choice, &picked.pool)
    }

    pub(crate) fn of(choice: pool::Choice, pool: &pool::Name) -> Self {
        Self { pool: pool.to_string(), choice: choice.as_str(), detail: choice.to_string() }
    }
}

/// A message as it is now.
#[derive(Debug, Serialize, ToSchema)]
pub struct Message<'a> {
    /// Its id.
    #[schema(value_type = String, example = "msg_01j8z0k2m4p6q")]
    pub id: Shown<MessageId>,
    /// Where it is: `scheduled`, `queued`, `sending`, `sent`, `delivered`, `undelivered`, `failed`, `rejected`,
    /// `expired`, `canceled` or `unconfirmed`.
    pub status: &'static str,
    /// Who it is from.
    #[schema(value_type = String)]
    pub from: Shown<Sender>,
    /// Who it is to.
    #[schema(value_type = String)]
    pub to: Shown<PhoneNumber>,
    /// Why it is sent.
    pub purpose: &'static str,
    /// The programme that it is of; null if it is of none.
    pub programme: Option<&'a str>,
    /// The parts that the network carries.
    pub segments: u8,
    /// `gsm7` or `ucs2`.
    #[schema(value_type = String)]
    pub encoding: Shown<Encoding>,
    /// The text as it was sent; null after it was removed. A one-time code in it is not shown.
    pub text: Option<Cow<'a, str>>,
    /// When it was accepted.
    #[schema(value_type = String)]
    pub created_at: Shown<Timestamp>,
    /// When it last changed.
    #[schema(value_type = String)]
    pub updated_at: Shown<Timestamp>,
    /// When it is to be sent, if not at once: the time its caller gave, or the later one until which it was held when it
    /// was accepted.
    #[schema(value_type = Option<String>)]
    pub send_at: Option<Shown<Timestamp>>,
    /// After this it is not worth sending.
    #[schema(value_type = String)]
    pub expires_at: Shown<Timestamp>,
    /// The caller's own name for it.
    pub reference: Option<&'a str>,
    /// The caller's own data.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<&'a RawValue>,
    /// The batch that it came with.
    #[schema(value_type = Option<String>)]
    pub batch_id: Option<Shown<BatchId>>,
    /// The connection that it goes out on.
    #[schema(value_type = String)]
    pub connection: Shown<ConnectionId>,
    /// The carrier's ids for its segments, as far as there are any.
    pub carrier_ids: Vec<&'a str>,
    /// How often it was submitted.
    pub attempts: u32,
    /// What went wrong last, if anything did.
    pub error: Option<MessageError<'a>>,
    /// The message of which this is a repeat.
    #[schema(value_type = Option<String>)]
    pub retry_of: Option<Shown<MessageId>>,
    /// What it answers by itself, if it does.
    pub reply: Option<Reply>,
    /// The template that its text was made of, if it was.
    pub template: Option<TemplateOrigin>,
}

/// What a message answers by itself.
#[derive(Debug, Serialize, ToSchema)]
pub struct Reply {
    /// `opt_out_confirmation`, `programme_opt_out_confirmation`, `opt_in_confirmation`, `help`, or `rule` for what a rule of the
    /// configuration says. The first two are sent to a number that is on the suppression list, for five minutes; nothing else is.
    pub kind: &'static str,
    /// The inbound message that it answers.
    #[schema(value_type = String)]
    pub inbound_id: Shown<InboundId>,
}

impl Reply {
    pub(crate) fn new(reply: tidings_domain::reply::Reply) -> Self {
        Self { kind: reply.kind.as_str(), inbound_id: Shown(reply.to) }
    }
}

/// What went wrong with a message.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageError<'a> {
    /// One of the public codes: that of the rule of ours that spoke, if it has one, else the class of the failure.
    pub code: &'static str,
    /// A sentence for people.
    pub detail: &'a str,
    /// The code as its origin spells it.
    pub carrier_code: &'a str,
    /// What is done about it: `retry`, `suppress`, `review`, or `none` where it ended and nothing is left to do.
    pub recovery: &'static str,
}

impl<'a> MessageError<'a> {
    /// Shows the failure of a message that stands so.
    pub fn new(failure: &'a Failure, status: Status, purpose: Purpose) -> Self {
        Self {
            code: Code::of_failure(failure).as_str(),
            detail: &failure.detail,
            carrier_code: &failure.code,
            recovery: domain::done_about(failure, status, purpose),
        }
    }

    /// Shows a failure that waits for a person, or did.
    pub fn in_review(failure: &'a Failure) -> Self {
        Self {
            code: Code::of_failure(failure).as_str(),
            detail: &failure.detail,
            carrier_code: &failure.code,
            recovery: Recovery::Review.as_str(),
        }
    }
}

impl<'a> Message<'a> {
    /// Shows a message as it is now, with the failure that it last suffered.
    pub fn new(
        message: &'a domain::Message,
        life: &'a Life,
        failure: Option<&'a Failure>,
        updated_at: Timestamp,
    ) -> Self {
        Self {
            id: Shown(message.id),
            status: life.state.status().as_str(),
            from: Shown(message.sender),
            to: Shown(message.recipient),
            purpose: message.purpose.as_str(),
            programme: message.programme.as_ref().map(programme::Name::as_str),
            segments: message.segments,
            encoding: Shown(message.encoding),
            text: message.text.as_deref().map(code::masked),
            created_at: Shown(message.created_at),
            updated_at: Shown(updated_at),
            send_at: message.send_at.map(Shown),
            expires_at: Shown(message.expires_at),
            reference: message.reference.as_deref(),
            metadata: raw(message.metadata.as_deref()),
            batch_id: message.batch.map(Shown),
            connection: Shown(message.connection),
            carrier_ids: life.segments.iter().filter_map(|segment| segment.carrier_id()).collect(),
            attempts: life.attempt,
            error: failure.map(|failure| MessageError::new(failure, life.state.status(), message.purpose)),
            retry_of: message.retry_of.map(Shown),
            reply: message.reply.map(Reply::new),
            template: message.template.map(TemplateOrigin::new),
        }
    }
}

/// Stored JSON as it is; nothing if somebody wrote something else there.
pub(crate) fn raw(text: Option<&str>) -> Option<&RawValue> {
    text.and_then(|text| serde_json::from_str(text).ok())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use tidings_domain::failure::FailureClass;
    use tidings_domain::id::AccountId;
    use tidings_domain::message::{Segment, State};

    const TEST: Door = Door { environment: Environment::Test, default_country: None };
    const LIVE: Door = Door { environment: Environment::Live, default_country: None };

    fn outcome(parsed: Result<Parsed, Vec<FieldError>>) -> String {
        match parsed {
            Ok(parsed) => format!(
                "{} -> {} {} {}",
                match &parsed.request.from {
                    Source::Pool(name) => format!("pool {name}"),
                    from => from.sender().map(|sender| sender.to_string()).unwrap_or_default(),
                },
                parsed.request.recipient,
                parsed.request.purpose.as_str(),
                parsed.text_field
            ),
            Err(errors) => errors
                .iter()
                .map(|e| format!("{} {} {}", e.field, e.code.as_str(), e.reason))
                .collect::<Vec<_>>()
                .join("; "),
        }
    }

    fn sms(body: &str, door: Door) -> String {
        outcome(sms::parse(&Json::parse(body.as_bytes()).unwrap(), door))
    }

    fn general(body: &str) -> String {
        outcome(parse(&Json::parse(body.as_bytes()).unwrap(), TEST))
    }

    #[test]
    fn the_short_form_takes_the_text_under_four_names() {
        for name in sms::TEXT_FIELDS {
            let body =
                format!(r#"{{"from":"+15550001111","to":"+15550002222","{name}":"Hello from our app"}}"#);
            assert_eq!(sms(&body, TEST), format!("+15550001111 -> +15550002222 transactional {name}"));
        }
    }

    #[test]
    fn the_short_form_says_what_is_wrong() {
        for (body, expected) in [
            (r#"{"from":"A1","to":"+15550002222"}"#, "message INVALID_REQUEST missing"),
            (
                r#"{"from":"A1","to":"+15550002222","text":"a","body":"a"}"#,
                "text INVALID_REQUEST given_twice",
            ),
            (r#"{"from":"A1","to":"12","text":"a"}"#, "to INVALID_NUMBER short_number"),
            (r#"{"from":"","to":"x","text":"a"}"#, "from INVALID_SENDER empty; to INVALID_NUMBER letters"),
            (
                r#"{"from":"A1","to":"+15550002222","text":"a","purpose":"alert"}"#,
                "purpose INVALID_REQUEST unknown_field",
            ),
            (r#"{"from":"A1","to":["+15550002222"],"text":"a"}"#, "to INVALID_REQUEST wrong_type"),
        ] {
            assert_eq!(sms(body, TEST), expected, "{body}");
        }
    }

    #[test]
    fn fictional_numbers_are_for_tests() {
        let body = r#"{"from":"Tidings","to":"+15550002222","message":"a"}"#;
        assert_eq!(sms(body, TEST), "Tidings -> +15550002222 transactional message");
        assert!(sms(body, LIVE).starts_with("to INVALID_NUMBER"), "{}", sms(body, LIVE));
    }

    #[test]
    fn the_general_form_is_bounded() {
        let base = r#""from":"A1","to":"+15550002222","text":"a""#;
        let keys: Vec<String> = (0..21).map(|i| format!("\"k{i}\":\"v\"")).collect();
        for (more, expected) in [
            (
                r#""purpose":"authentication","transliterate":true"#.to_owned(),
                "A1 -> +15550002222 authentication text",
            ),
            (r#""send_at":"tomorrow""#.to_owned(), "send_at INVALID_TIME unreadable"),
            (r#""send_at":"2026-02-30T00:00:00Z""#.to_owned(), "send_at INVALID_TIME unreadable"),
            (r#""send_at":"2026-02-30T00:00:00""#.to_owned(), "send_at INVALID_TIME unreadable"),
            (r#""send_at":"9999-12-31T23:59:59Z""#.to_owned(), "A1 -> +15550002222 transactional text"),
            (r#""send_at":"2026-02-03T00:00""#.to_owned(), "A1 -> +15550002222 transactional text"),
            (r#""reference":"""#.to_owned(), "reference INVALID_REQUEST length"),
            (format!(r#""reference":"{}""#, "r".repeat(101)), "reference INVALID_REQUEST length"),
            (format!(r#""metadata":{{{}}}"#, keys.join(",")), "metadata LIMIT_EXCEEDED metadata"),
            (format!(r#""metadata":{{"a":"{}"}}"#, "v".repeat(501)), "metadata LIMIT_EXCEEDED metadata"),
            (r#""expires_in_s":0"#.to_owned(), "expires_in_s INVALID_REQUEST out_of_range"),
            (r#""id":"msg_1""#.to_owned(), "id INVALID_REQUEST unknown_field"),
        ] {
            assert_eq!(general(&format!("{{{base},{more}}}")), expected, "{more}");
        }
    }

    #[test]
    fn metadata_is_kept_in_its_order() {
        let body = br#"{"from":"A1","to":"+15550002222","text":"a","metadata":{"z":"\u00e9","a":"\"q\""}}"#;
        let parsed = parse(&Json::parse(body).unwrap(), TEST).unwrap();
        assert_eq!(parsed.request.metadata.as_deref(), Some(r#"{"z":"é","a":"\"q\""}"#));
    }

    #[test]
    fn a_preview_tells_form_and_content_apart() {
        let preview = |body: &str| parse_preview(&Json::parse(body.as_bytes()).unwrap(), TEST);
        assert_eq!(preview(r#"{"txt":"a"}"#).unwrap_err()[0].reason, "unknown_field");
        let wrong = preview(r#"{"text":"a","to":"12","from":"A1"}"#).unwrap();
        assert_eq!(wrong.refused[0].code, Code::InvalidNumber);
        let short = preview(r#"{"text":"“hi” [ok]"}"#).unwrap();
        let told = Preview::new(&short, None, vec![], Gated::default());
        assert_eq!((told.segments, told.encoding.0.to_string().as_str()), (1, "ucs2"));
        assert_eq!(told.transliteration.unwrap().text, "\"hi\" [ok]");
        assert_eq!(told.costly_characters[0].cost, "forces_ucs2");
    }

    pub(crate) fn example() -> (domain::Message, Life) {
        let at = Timestamp::from_millis(1_795_000_000_123);
        let message = domain::Message {
            id: MessageId::from_key(1_234_567_890_123_456),
            account: AccountId::from_key(1),
            environment: Environment::Test,
            token: None,
            batch: Some(BatchId::from_key(7)),
            purpose: Purpose::Transactional,
            sender: Sender::from_stored("+15550001111").unwrap(),
            recipient: PhoneNumber::from_stored("+15550002222").unwrap(),
            text: Some("Hello from our app".to_owned()),
            encoding: text::measure("Hello", &text::Options::default()).encoding,
            options: text::Options::default(),
            segments: 1,
            connection: ConnectionId::from_key(3),
            created_at: at,
            send_at: None,
            expires_at: at.plus_s(7200),
            callback: None,
            reference: Some("order-1042".to_owned()),
            metadata: Some(r#"{"customer":"42"}"#.to_owned()),
            retry_of: None,
            reply: None,
            template: None,
            programme: None,
        };
        let life = Life {
            state: State::Rejected,
            attempt: 1,
            tries: 1,
            resends: 0,
            segments: vec![Segment::Accepted { carrier_id: "C-1".to_owned() }],
        };
        (message, life)
    }

    pub(crate) fn golden(name: &str, body: &str) {
        let path = format!("{}/testdata/{name}", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, format!("{body}\n")).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap().trim_end(), body, "{name}; UPDATE=1 rewrites it");
    }

    #[test]
    fn the_bodies_are_those_of_the_golden_files() {
        let (message, life) = example();
        let failure =
            Failure::new(FailureClass::Filtered, false, "smpp 0x00000045", "the carrier blocked it");
        let at = message.created_at.plus_ms(877);
        let shown = Message::new(&message, &life, Some(&failure), at);
        golden("message.json", &serde_json::to_string_pretty(&shown).unwrap());
        let accepted = Accepted::new(&message, Status::Queued, None, &[]);
        golden("accepted.json", &serde_json::to_string_pretty(&accepted).unwrap());
    }
}
