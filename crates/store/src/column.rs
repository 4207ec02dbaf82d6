//! How the domain's values are written into columns. Both databases write them the same way.

use crate::backend::{Arrival, Parts};
use crate::{Error, Result};
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};
use tidings_domain::account::Environment;
use tidings_domain::address::PhoneNumber;
use tidings_domain::code;
use tidings_domain::consent::{Channel, Wording};
use tidings_domain::contact::{Decimal, Details, FieldName, Group, Language as Tongue, Value, ZoneName};
use tidings_domain::conversation::Entry;
use tidings_domain::failure::{Failure, FailureClass};
use tidings_domain::id::{ContactId, InboundId, MessageId, TemplateId};
use tidings_domain::import::Row;
use tidings_domain::keyword;
use tidings_domain::media;
use tidings_domain::message::{Message, Outcome, Segment, State, Status};
use tidings_domain::programme;
use tidings_domain::purpose::Purpose;
use tidings_domain::receipt::{IdForm, Receipt};
use tidings_domain::reply::{self, Reply};
use tidings_domain::review::About;
use tidings_domain::sender::Sender;
use tidings_domain::suppression::Reason;
use tidings_domain::table::{Refused, Report};
use tidings_domain::template::{self, Content, Costs, Kind as Typed, Origin, Variable};
use tidings_domain::text::{
    Charset, Concatenation, Encoding, Language, Languages, Options, Part, Segment as Came, Tables,
};
use tidings_domain::time::Timestamp;
use tidings_domain::velocity::{Count, Window};

/// A state is a number and a moment. `Doubtful` is a number of its own; the others are [`Status`] numbers.
pub(crate) const DOUBTFUL: i64 = 100;

pub(crate) fn state_number(state: State) -> i64 {
    match state {
        State::Doubtful { .. } => DOUBTFUL,
        other => status_number(other.status()),
    }
}

pub(crate) fn status_number(status: Status) -> i64 {
    status as i64
}

pub(crate) fn status(number: i64) -> Result<Status> {
    match number {
        DOUBTFUL => Ok(Status::Sending),
        _ => usize::try_from(number)
            .ok()
            .and_then(|n| Status::ALL.get(n).copied())
            .ok_or_else(|| corrupt("status", number)),
    }
}

/// Every state in which a message has this public status.
pub(crate) fn state_numbers(status: Status) -> Vec<i16> {
    let own = status_number(status) as i16;
    if status == Status::Sending { vec![own, DOUBTFUL as i16] } else { vec![own] }
}

pub(crate) fn state(number: i64, until: Option<i64>) -> Result<State> {
    let until = Timestamp::from_millis(until.unwrap_or(0));
    Ok(match number {
        DOUBTFUL => State::Doubtful { until },
        _ => match status(number)? {
            Status::Scheduled => State::Scheduled { due_at: until },
            Status::Queued => State::Queued { due_at: until },
            Status::Sending => State::Sending { until },
            Status::Sent => State::Sent { until },
            Status::Unconfirmed => State::Unconfirmed { until },
            Status::Delivered => State::Delivered,
            Status::Undelivered => State::Undelivered,
            Status::Failed => State::Failed,
            Status::Rejected => State::Rejected,
            Status::Expired => State::Expired,
            Status::Canceled => State::Canceled,
        },
    })
}

/// The environment as a number.
pub(crate) const fn live(environment: Environment) -> i64 {
    match environment {
        Environment::Test => 0,
        Environment::Live => 1,
    }
}

pub(crate) const fn environment(live: i64) -> Environment {
    if live == 0 { Environment::Test } else { Environment::Live }
}

pub(crate) fn number(digits: i64) -> Result<PhoneNumber> {
    u64::try_from(digits)
        .ok()
        .and_then(PhoneNumber::from_digits)
        .ok_or_else(|| corrupt("phone number", digits))
}

/// The one at this place in a list of the domain.
pub(crate) fn listed<T: Copy>(what: &'static str, list: &[T], number: i64) -> Result<T> {
    usize::try_from(number).ok().and_then(|n| list.get(n).copied()).ok_or_else(|| corrupt(what, number))
}

/// The slots of a window: of each, in four octets what was sent, and in four what was verified.
pub(crate) fn slots_octets(window: &Window) -> Vec<u8> {
    let octets = |count: &Count| [count.sends.to_be_bytes(), count.verified.to_be_bytes()].concat();
    window.slots.iter().flat_map(octets).collect()
}

pub(crate) fn window(newest: i64, octets: &[u8]) -> Result<Window> {
    let mut window = Window { newest, ..Window::EMPTY };
    let (numbers, rest) = octets.as_chunks::<4>();
    if !rest.is_empty() || numbers.len() != 2 * window.slots.len() {
        return Err(corrupt("window of codes", octets.len()));
    }
    for (slot, pair) in window.slots.iter_mut().zip(numbers.chunks_exact(2)) {
        *slot = Count { sends: u32::from_be_bytes(pair[0]), verified: u32::from_be_bytes(pair[1]) };
    }
    Ok(window)
}

pub(crate) fn code_state(number: i64) -> Result<code::State> {
    let state = usize::try_from(number).ok().and_then(|n| code::State::ALL.get(n).copied());
    state.ok_or_else(|| corrupt("state of a code", number))
}

/// A checksum over what never changes of a message and must never be wrong when it is sent: whose it is, to whom, from
/// whom, what, until when. A single change shows for certain, several all but certainly. It is stored: how it is made never
/// changes.
pub(crate) fn checksum(message: &Message) -> i64 {
    // FNV-1a, by words: each step can be undone, so two sums that differ once never meet again.
    let mix = |sum: u64, word: u64| (sum ^ word).wrapping_mul(0x100_0000_01b3).rotate_left(23);
    let octets = |sum: u64, text: &str| {
        let words = text.as_bytes().chunks(8).fold(sum, |sum, part| {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            mix(sum, u64::from_le_bytes(word))
        });
        mix(words, text.len() as u64)
    };
    let time = |at: Option<Timestamp>| at.map_or(i64::MIN, Timestamp::as_millis) as u64;
    let numbers = [
        message.id.key() as u64,
        message.account.key() as u64,
        message.environment as u64,
        u64::from(message.purpose.priority()),
        message.recipient.digits(),
        form_number(&message.options, message.encoding) as u64,
        time(message.send_at),
        time(Some(message.expires_at)),
    ];
    let sum = numbers.into_iter().fold(0xcbf2_9ce4_8422_2325, mix);
    let sum = match &message.sender {
        Sender::PhoneNumber(number) => mix(sum, number.digits()),
        Sender::ShortCode(digits) => octets(sum, digits.as_str()),
        Sender::Alphanumeric(name) => octets(sum, name.as_str()),
    };
    // A message that answers by itself may pass the suppression list: nothing may turn another one into such.
    let sum = message.reply.map_or(sum, |reply| mix(mix(sum, reply.kind as u64 + 1), reply.to.key() as u64));
    // What a consent must be for follows from the programme.
    let sum = message.programme.as_ref().map_or(sum, |name| octets(mix(sum, 1), name.as_str()));
    octets(sum, message.text.as_deref().unwrap_or_default()) as i64
}

/// The programme that a message is of, as its column says.
pub(crate) fn programme(name: Option<String>) -> Result<Option<programme::Name>> {
    name.map(|name| programme::Name::parse(&name).ok_or_else(|| corrupt("programme", name))).transpose()
}

/// What a message answers by itself, as its two columns say.
pub(crate) fn reply(kind: Option<i64>, to: Option<i64>) -> Result<Option<Reply>> {
    let (Some(number), Some(to)) = (kind, to) else { return Ok(None) };
    let kind = usize::try_from(number).ok().and_then(|n| reply::Kind::ALL.get(n).copied());
    let kind = kind.ok_or_else(|| corrupt("kind of reply", number))?;
    Ok(Some(Reply { kind, to: InboundId::from_key(to) }))
}

/// A bit for each purpose, by its number.
pub(crate) fn purposes_bits(purposes: &[Purpose]) -> i64 {
    purposes.iter().fold(0, |bits, purpose| bits | 1 << purpose.priority())
}

pub(crate) fn purposes_of(bits: i64) -> Vec<Purpose> {
    Purpose::ALL.into_iter().filter(|purpose| bits & 1 << purpose.priority() != 0).collect()
}

/// A bit for each channel, by its number.
pub(crate) fn channels_bits(channels: &[Channel]) -> i64 {
    channels.iter().fold(0, |bits, channel| bits | 1 << *channel as i64)
}

pub(crate) fn channels_of(bits: i64) -> Vec<Channel> {
    Channel::ALL.into_iter().filter(|channel| bits & 1 << *channel as i64 != 0).collect()
}

/// The words that a person was shown.
pub(crate) fn wording(text: &str) -> Wording {
    Wording { hash: Sha256::digest(text.as_bytes()).into(), text: text.to_owned() }
}

/// Words and tags stand in one column, each between two spaces.
pub(crate) fn spaced(words: &[String]) -> String {
    words.iter().fold(String::from(" "), |text, word| text + word + " ")
}

pub(crate) fn unspaced(text: &str) -> Vec<String> {
    text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// An entry of a conversation.
pub(crate) fn entry(kind: i64, key: i64) -> Result<Entry> {
    Entry::stored(kind, key).ok_or_else(|| corrupt("kind of an entry", kind))
}

/// Of which template a message was made, as its two columns say.
pub(crate) fn origin(template: Option<i64>, version: Option<i64>) -> Result<Option<Origin>> {
    let (Some(template), Some(number)) = (template, version) else { return Ok(None) };
    let version = u32::try_from(number).map_err(|_| corrupt("version of a template", number))?;
    Ok(Some(Origin { template: TemplateId::from_key(template), version }))
}

/// What a version of a template says, as JSON. It is stored: names may be added, and none is given another meaning.
pub(crate) fn content_text(content: &Content) -> String {
    let variables: Vec<_> = content
        .variables
        .iter()
        .map(|variable| {
            let mut one = json!({
                "name": variable.name,
                "type": variable.kind.as_str(),
                "sample": sample_json(&variable.sample),
            });
            match variable.kind {
                Typed::Text { most, any_alphabet, may_be_empty } => {
                    one["most"] = json!(most);
                    one["any_alphabet"] = json!(any_alphabet);
                    one["may_be_empty"] = json!(may_be_empty);
                }
                Typed::Number { least, most } | Typed::Amount { least, most } => {
                    one["least"] = json!(least);
                    one["most"] = json!(most);
                }
                Typed::Date | Typed::YesNo => {}
            }
            one
        })
        .collect();
    let texts: serde_json::Map<String, Json> =
        content.texts.iter().map(|(tag, text)| (tag.to_string(), json!(text))).collect();
    json!({ "language": content.language.as_str(), "texts": texts, "variables": variables }).to_string()
}

/// A number that stands for hundredths stays whole.
fn sample_json(sample: &template::Value) -> Json {
    match sample {
        template::Value::Text(text) | template::Value::Date(text) => json!(text),
        template::Value::Number(number) | template::Value::Amount(number) => json!(number),
        template::Value::YesNo(yes) => json!(yes),
    }
}

pub(crate) fn content(text: &str) -> Result<Content> {
    read_content(text).ok_or_else(|| corrupt("version of a template", text.len()))
}

fn read_content(text: &str) -> Option<Content> {
    let json: Json = serde_json::from_str(text).ok()?;
    let tag = |text: &str| template::Language::parse(text);
    let texts = json["texts"].as_object()?.iter();
    let texts = texts.map(|(language, text)| Some((tag(language)?, text.as_str()?.to_owned())));
    let variables = json["variables"].as_array()?.iter().map(read_variable);
    Some(Content {
        language: tag(json["language"].as_str()?)?,
        texts: texts.collect::<Option<_>>()?,
        variables: variables.collect::<Option<_>>()?,
    })
}

fn read_variable(json: &Json) -> Option<Variable> {
    let whole = |name: &str| json[name].as_i64();
    let sample = &json["sample"];
    let (kind, sample) = match json["type"].as_str()? {
        "text" => {
            let most = u16::try_from(whole("most")?).ok()?;
            let (any_alphabet, may_be_empty) =
                (json["any_alphabet"].as_bool()?, json["may_be_empty"].as_bool()?);
            (
                Typed::Text { most, any_alphabet, may_be_empty },
                template::Value::Text(sample.as_str()?.to_owned()),
            )
        }
        "number" => {
            let kind = Typed::Number { least: whole("least")?, most: whole("most")? };
            (kind, template::Value::Number(sample.as_i64()?))
        }
        "amount" => {
            let kind = Typed::Amount { least: whole("least")?, most: whole("most")? };
            (kind, template::Value::Amount(sample.as_i64()?))
        }
        "date" => (Typed::Date, template::Value::Date(sample.as_str()?.to_owned())),
        "yes_no" => (Typed::YesNo, template::Value::YesNo(sample.as_bool()?)),
        _ => return None,
    };
    Some(Variable { name: json["name"].as_str()?.to_owned(), kind, sample })
}

/// What an inbound message asks.
pub(crate) fn keyword(number: i64) -> Result<keyword::Class> {
    let class = usize::try_from(number).ok().and_then(|n| keyword::Class::ALL.get(n).copied());
    class.ok_or_else(|| corrupt("class of keyword", number))
}

/// What makes messages of people the same, or parts of them ones of the same message: see `domain::assembly`.
pub(crate) fn fingerprint(arrival: &Arrival) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut add = |octets: &[u8]| {
        hash.update((octets.len() as u64).to_be_bytes());
        hash.update(octets);
    };
    add(&arrival.realm.account.key().to_be_bytes());
    add(&arrival.connection.key().to_be_bytes());
    add(arrival.from.as_bytes());
    add(arrival.to.as_bytes());
    if let Some(part) = arrival.place() {
        add(&part.reference.to_be_bytes());
        add(&[part.total]);
    } else {
        add(&arrival.beside);
        add(&[charset_number(arrival.segment.charset) as u8]);
        add(&arrival.segment.user_data());
        // Nothing is added for nothing, so that what came before there were media is known again.
        if let Some(noted) = media::noted(&arrival.listed()) {
            add(noted.as_bytes());
        }
    }
    hash.finalize().into()
}

/// What came with a message, as [`media::noted`] wrote it.
pub(crate) fn media(noted: Option<&str>) -> Result<Vec<media::Listed>> {
    media::read_noted(noted.unwrap_or_default())
        .ok_or_else(|| corrupt("list of media", "an inbound message's"))
}

pub(crate) const fn charset_number(charset: Charset) -> i64 {
    charset as i64
}

/// A part as it came, as its columns say. One that has no header is told its place.
pub(crate) fn segment(charset: i64, has_header: bool, octets: &[u8], place: Option<Part>) -> Result<Came> {
    let known = usize::try_from(charset).ok().and_then(|n| Charset::ALL.get(n).copied());
    let charset = known.ok_or_else(|| corrupt("alphabet", charset))?;
    Ok(Came::received(charset, octets, has_header, place))
}

/// Of how many parts a message is, as three columns say. An earlier version told each part by itself, and kept its place in
/// a column of its own, as `reference/total/number`: the others are missing there.
pub(crate) fn parts(
    reference: Option<u16>,
    total: Option<u8>,
    missing: Option<Vec<u8>>,
    place: Option<&str>,
) -> Option<Parts> {
    if let Some(place) = place {
        let mut numbers = place.split('/');
        let (reference, total) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
        let number: u8 = numbers.next()?.parse().ok()?;
        return Some(Parts {
            reference,
            total,
            missing: (1..=total).filter(|other| *other != number).collect(),
        });
    }
    Some(Parts { reference: reference?, total: total?, missing: missing.unwrap_or_default() })
}

/// What a review item is about: the message's id is 0 where it is an inbound one.
pub(crate) fn about(message: i64, inbound: Option<i64>) -> About {
    match inbound {
        Some(id) => About::Inbound(InboundId::from_key(id)),
        None => About::Message(MessageId::from_key(message)),
    }
}

/// The two columns for that.
pub(crate) fn about_numbers(about: About) -> (i64, Option<i64>) {
    match about {
        About::Message(id) => (id.key(), None),
        About::Inbound(id) => (0, Some(id.key())),
    }
}

/// A sender, as it is stored.
pub(crate) fn sender(text: &str) -> Result<Sender> {
    Sender::from_stored(text).ok_or_else(|| corrupt("sender", text))
}

pub(crate) fn corrupt(what: &str, value: impl std::fmt::Display) -> Error {
    Error::Corrupt(format!("{value} is no {what}"))
}

// Parts of a text column are set apart by control characters, which no carrier's id or code may hold.
const FIELD: char = '\u{1f}';
const RECORD: char = '\u{1e}';

fn clean(text: &str) -> std::borrow::Cow<'_, str> {
    if text.chars().any(|c| c == FIELD || c == RECORD) {
        text.replace([FIELD, RECORD], " ").into()
    } else {
        text.into()
    }
}

pub(crate) fn failure_text(failure: &Failure) -> String {
    let mut text = format!(
        "{}{FIELD}{}{FIELD}{}{FIELD}{}",
        failure.class.as_str(),
        if failure.transient { 't' } else { 'p' },
        clean(&failure.code),
        clean(&failure.detail)
    );
    if failure.unreached {
        text.push(FIELD);
        text.push(UNREACHED);
    }
    text
}

/// The fifth field of a failure that says that the phone could not be reached. Others have none.
const UNREACHED: char = 'u';

pub(crate) fn failure(text: &str) -> Result<Failure> {
    let mut fields = text.splitn(5, FIELD);
    let class = fields.next().and_then(FailureClass::parse).ok_or_else(|| corrupt("failure", text))?;
    let transient = fields.next() == Some("t");
    let (code, detail) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
    let unreached = fields.next().is_some_and(|field| field.starts_with(UNREACHED));
    Ok(Failure { unreached, ..Failure::new(class, transient, code, detail) })
}

/// A reason as a column has it, and whether the number is dead. That is a column of its own, and such an entry has the number
/// of one for which a carrier said that there is no such phone: programs of before know nothing worse of it.
pub(crate) const fn reason_numbers(reason: Reason) -> (i64, Option<i64>) {
    match reason {
        Reason::OptedOut => (0, None),
        Reason::InvalidNumber => (1, None),
        Reason::Manual => (2, None),
        Reason::Unreachable => (1, Some(1)),
    }
}

/// The reason that these are.
pub(crate) fn reason(number: i64, unreachable: Option<i64>) -> Result<Reason> {
    let found = Reason::ALL.into_iter().find(|reason| reason_numbers(*reason) == (number, unreachable));
    found.ok_or_else(|| corrupt("suppression reason", number))
}

pub(crate) fn segments_text(segments: &[Segment]) -> String {
    let mut text = String::with_capacity(segments.len() * 24);
    for (n, segment) in segments.iter().enumerate() {
        if n > 0 {
            text.push(RECORD);
        }
        match segment {
            Segment::Waiting => text.push('w'),
            Segment::Submitted => text.push('s'),
            Segment::Unanswered => text.push('u'),
            Segment::Accepted { carrier_id } => {
                text.push('a');
                text.push_str(&clean(carrier_id));
            }
            Segment::Refused(failure) => {
                text.push('f');
                text.push_str(&failure_text(failure));
            }
            Segment::Reported { carrier_id, outcome } => {
                text.push('r');
                let (word, failure) = outcome_parts(outcome);
                text.push(word);
                text.push_str(&clean(carrier_id));
                if let Some(failure) = failure {
                    text.push(FIELD);
                    text.push_str(&failure_text(failure));
                }
            }
        }
    }
    text
}

fn outcome_parts(outcome: &Outcome) -> (char, Option<&Failure>) {
    match outcome {
        Outcome::Delivered => ('d', None),
        Outcome::Unknown(failure) => ('u', Some(failure)),
        Outcome::Expired(failure) => ('e', Some(failure)),
        Outcome::Undelivered(failure) => ('n', Some(failure)),
        Outcome::Rejected(failure) => ('r', Some(failure)),
    }
}

fn outcome(word: char, failure_text: Option<&str>) -> Result<Outcome> {
    let why = || failure(failure_text.unwrap_or_default());
    Ok(match word {
        'd' => Outcome::Delivered,
        'u' => Outcome::Unknown(why()?),
        'e' => Outcome::Expired(why()?),
        'n' => Outcome::Undelivered(why()?),
        'r' => Outcome::Rejected(why()?),
        other => return Err(corrupt("outcome", other)),
    })
}

pub(crate) fn segments(text: &str) -> Result<Vec<Segment>> {
    text.split(RECORD)
        .map(|record| {
            let mut chars = record.chars();
            let word = chars.next();
            let rest = chars.as_str();
            Ok(match word {
                Some('w') => Segment::Waiting,
                Some('s') => Segment::Submitted,
                Some('u') => Segment::Unanswered,
                Some('a') => Segment::Accepted { carrier_id: rest.to_owned() },
                Some('f') => Segment::Refused(failure(rest)?),
                Some('r') => {
                    let mut chars = rest.chars();
                    let word = chars.next().ok_or_else(|| corrupt("segment", record))?;
                    let (carrier_id, why) = match chars.as_str().split_once(FIELD) {
                        Some((id, why)) => (id, Some(why)),
                        None => (chars.as_str(), None),
                    };
                    Segment::Reported { carrier_id: carrier_id.to_owned(), outcome: outcome(word, why)? }
                }
                _ => return Err(corrupt("segment", record)),
            })
        })
        .collect()
}

pub(crate) fn receipt_text(receipt: &Receipt) -> String {
    let (word, failure) = match &receipt.outcome {
        None => ('-', None),
        Some(outcome) => outcome_parts(outcome),
    };
    let fields = [
        clean(&receipt.carrier_id).into_owned(),
        receipt.id_form.as_str().to_owned(),
        receipt.our_reference.map(|r| r.to_string()).unwrap_or_default(),
        receipt.parties.iter().map(|p| clean(p).into_owned()).collect::<Vec<_>>().join(","),
        word.to_string(),
        clean(&receipt.raw).into_owned(),
        failure.map(failure_text).unwrap_or_default().replace(FIELD, "\u{1d}"),
    ];
    fields.join(&RECORD.to_string())
}

pub(crate) fn receipt(text: &str) -> Result<Receipt> {
    let fields: Vec<&str> = text.split(RECORD).collect();
    let [carrier_id, id_form, our_reference, parties, word, raw, why] = fields[..] else {
        return Err(corrupt("receipt", text));
    };
    let why = why.replace('\u{1d}', &FIELD.to_string());
    Ok(Receipt {
        carrier_id: carrier_id.to_owned(),
        id_form: IdForm::ALL
            .into_iter()
            .find(|f| f.as_str() == id_form)
            .ok_or_else(|| corrupt("id form", id_form))?,
        our_reference: our_reference.parse().ok(),
        parties: parties.split(',').filter(|p| !p.is_empty()).map(str::to_owned).collect(),
        outcome: match word {
            "-" => None,
            _ => Some(outcome(word.chars().next().unwrap_or('?'), Some(&why))?),
        },
        raw: raw.to_owned(),
    })
}

/// The options of a text and its encoding in one number: concatenation in bits 0–1, single shift tables in 2–4,
/// locking shift tables in 5–7, UCS-2 in bit 8, the tables in use in 9–10 (single) and 11–12 (locking).
pub(crate) fn form_number(options: &Options, encoding: Encoding) -> i64 {
    let concatenation = match options.concatenation {
        Concatenation::Header8 => 0,
        Concatenation::Header16 => 1,
        Concatenation::Sar => 2,
        Concatenation::Payload => 3,
    };
    let languages = |set: Languages| {
        Language::ALL.into_iter().filter(|l| set.contains(*l)).fold(0, |bits, l| bits | (1 << (l as i64 - 1)))
    };
    let table = |language: Option<Language>| language.map_or(0, |l| l as i64);
    let encoding = match encoding {
        Encoding::Ucs2 => 1 << 8,
        Encoding::Gsm7(tables) => (table(tables.single) << 9) | (table(tables.locking) << 11),
    };
    concatenation
        | (languages(options.single_shift) << 2)
        | (languages(options.locking_shift) << 5)
        | encoding
}

pub(crate) fn form(number: i64) -> (Options, Encoding) {
    let concatenation = match number & 3 {
        0 => Concatenation::Header8,
        1 => Concatenation::Header16,
        2 => Concatenation::Sar,
        _ => Concatenation::Payload,
    };
    let languages = |bits: i64| {
        Language::ALL
            .into_iter()
            .filter(|l| bits & (1 << (*l as i64 - 1)) != 0)
            .fold(Languages::NONE, |set, l| set.with(l))
    };
    let table = |n: i64| Language::ALL.into_iter().find(|l| *l as i64 == n);
    let options = Options {
        concatenation,
        single_shift: languages((number >> 2) & 7),
        locking_shift: languages((number >> 5) & 7),
    };
    let encoding = if number & (1 << 8) != 0 {
        Encoding::Ucs2
    } else {
        Encoding::Gsm7(Tables { single: table((number >> 9) & 3), locking: table((number >> 11) & 3) })
    };
    (options, encoding)
}

// ── contacts ────────────────────────────────────────────────────────────────────────────────────────────────

/// Sets the parts of a part of a text column apart.
const PART: char = '\u{1d}';

pub(crate) fn numbers_text(numbers: &[PhoneNumber]) -> String {
    numbers.iter().map(|number| number.digits().to_string()).collect::<Vec<_>>().join(" ")
}

pub(crate) fn numbers(text: &str) -> Result<Vec<PhoneNumber>> {
    let read = |digits: &str| digits.parse().ok().and_then(PhoneNumber::from_digits);
    text.split(' ').map(|digits| read(digits).ok_or_else(|| corrupt("phone number", digits))).collect()
}

/// No name of a group has a `;`.
pub(crate) fn groups_text(details: &Details) -> String {
    details.groups.iter().map(Group::as_str).collect::<Vec<_>>().join(";")
}

/// Fields as a JSON object. Each value has the form in which JSON has it, and dates are strings: no text looks like one.
pub(crate) fn fields_text(details: &Details) -> String {
    let mut text = String::from("{");
    for (n, (name, value)) in details.fields.iter().enumerate() {
        text.push_str(if n > 0 { "," } else { "" });
        text.push_str(&quoted(name.as_str()));
        text.push(':');
        match value {
            Value::Text(words) => text.push_str(&quoted(words)),
            Value::Date(date) => text.push_str(&quoted(&date.to_string())),
            Value::Number(number) => text.push_str(&number.to_string()),
            Value::YesNo(yes) => text.push_str(if *yes { "true" } else { "false" }),
        }
    }
    text.push('}');
    text
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string is JSON")
}

/// What is known of a person, from its columns.
pub(crate) fn details(
    name: Option<String>,
    language: Option<String>,
    zone: Option<String>,
    owner: Option<String>,
    groups: &str,
    fields: &str,
) -> Result<Details> {
    let read: serde_json::Map<String, serde_json::Value> = if fields == "{}" {
        serde_json::Map::new()
    } else {
        serde_json::from_str(fields).map_err(|_| corrupt("object of fields", fields.len()))?
    };
    let value = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => Value::text(&text).ok().or(Some(Value::Text(text))),
        serde_json::Value::Number(number) => Decimal::parse(&number.to_string()).ok().map(Value::Number),
        serde_json::Value::Bool(yes) => Some(Value::YesNo(yes)),
        serde_json::Value::Null | serde_json::Value::Array(_) | serde_json::Value::Object(_) => None,
    };
    let field = |(name, found)| {
        let name = FieldName::from_stored(name);
        Ok((name, value(found).ok_or_else(|| corrupt("value of a field", fields.len()))?))
    };
    Ok(Details {
        name,
        language: language.as_deref().map(Tongue::from_stored),
        zone: zone.as_deref().map(ZoneName::from_stored),
        owner,
        groups: groups.split(';').filter(|name| !name.is_empty()).map(Group::from_stored).collect(),
        fields: read
            .iter()
            .map(|(name, value)| field((name.as_str(), value.clone())))
            .collect::<Result<_>>()?,
    })
}

/// Rows of an import in one text. What they hold has no control characters, or is JSON.
pub(crate) fn rows_text(rows: &[Row]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(rows.len() * 96);
    for (n, Row { id, number, details, octets }) in rows.iter().enumerate() {
        if n > 0 {
            text.push(RECORD);
        }
        let _ = write!(text, "{}{FIELD}{}{FIELD}{octets}", id.key(), number.digits());
        let or_empty = |part: Option<&str>| part.unwrap_or_default().to_owned();
        for part in [
            or_empty(details.name.as_deref()),
            or_empty(details.language.as_ref().map(Tongue::as_str)),
            or_empty(details.zone.as_ref().map(ZoneName::as_str)),
            or_empty(details.owner.as_deref()),
            groups_text(details),
            fields_text(details),
        ] {
            text.push(FIELD);
            text.push_str(&part);
        }
    }
    text
}

pub(crate) fn rows(text: &str) -> Result<Vec<Row>> {
    let row = |record: &str| {
        let mut parts = record.split(FIELD);
        let mut next = || parts.next().ok_or_else(|| corrupt("row of an import", record.len()));
        let wrong = |_| corrupt("row of an import", record.len());
        let id = ContactId::from_key(next()?.parse().map_err(wrong)?);
        let number = number(next()?.parse().map_err(wrong)?)?;
        let octets = next()?.parse().map_err(wrong)?;
        let mut filled = || next().map(|part| Some(part.to_owned()).filter(|part| !part.is_empty()));
        let (name, language, zone, owner) = (filled()?, filled()?, filled()?, filled()?);
        let details = details(name, language, zone, owner, next()?, next()?)?;
        Ok(Row { id, number, details, octets })
    };
    text.split(RECORD).map(row).collect()
}

pub(crate) fn refused_text(rows: &[Refused]) -> String {
    // Whatever a file had, what sets things apart here is not in it.
    let clean = |text: &str| text.replace([FIELD, RECORD, PART, '\0'], " ");
    let row = |row: &Refused| {
        let cells: Vec<String> = row.cells.iter().map(|cell| clean(cell)).collect();
        let column = row.column.as_deref().map(|column| format!("c{}", clean(column))).unwrap_or_default();
        let cells = cells.join(&PART.to_string());
        [row.line.to_string(), row.reason.clone(), column, cells].join(&FIELD.to_string())
    };
    rows.iter().map(row).collect::<Vec<_>>().join(&RECORD.to_string())
}

pub(crate) fn refused(text: &str) -> Result<Vec<Refused>> {
    let row = |record: &str| {
        let parts: Vec<&str> = record.split(FIELD).collect();
        let [line, reason, column, cells] = parts[..] else {
            return Err(corrupt("refused row", record.len()));
        };
        Ok(Refused {
            line: line.parse().map_err(|_| corrupt("line of a refused row", line))?,
            reason: reason.to_owned(),
            column: column.strip_prefix('c').map(str::to_owned),
            cells: cells.split(PART).map(str::to_owned).collect(),
        })
    };
    text.split(RECORD).map(row).collect()
}

pub(crate) fn headings_text(headings: &[String]) -> String {
    serde_json::to_string(headings).expect("strings are JSON")
}

pub(crate) fn headings(text: &str) -> Result<Vec<String>> {
    serde_json::from_str(text).map_err(|_| corrupt("list of headings", text.len()))
}

pub(crate) fn report_text(report: &Report) -> String {
    let Report { octets, rows, good, mended, duplicates, refused, known, suppressed, .. } = report;
    let mut parts = vec![
        serde_json::json!([octets, rows, good, mended, duplicates, refused, known, suppressed]),
        serde_json::json!([report.mends, report.reasons, report.countries]),
        serde_json::json!(report.ignored),
    ];
    if let Some((Origin { template, version }, costs)) = &report.costs {
        let Costs { messages, unfilled, lacking } = costs;
        parts.push(serde_json::json!([template.key(), version, messages, unfilled, lacking]));
    }
    serde_json::Value::Array(parts).to_string()
}

pub(crate) fn report(text: &str) -> Result<Report> {
    use std::collections::BTreeMap;
    type Counts = BTreeMap<String, u64>;
    type Plain = ([u64; 8], [Counts; 3], Vec<String>);
    type Costed = ([u64; 8], [Counts; 3], Vec<String>, (i64, u32, BTreeMap<u32, u64>, u64, Counts));
    let read = match serde_json::from_str::<Costed>(text) {
        Ok((sums, counts, ignored, costs)) => Ok((sums, counts, ignored, Some(costs))),
        Err(_) => {
            serde_json::from_str::<Plain>(text).map(|(sums, counts, ignored)| (sums, counts, ignored, None))
        }
    };
    let (sums, counts, ignored, costs) = read.map_err(|_| corrupt("report of an import", text.len()))?;
    let [octets, rows, good, mended, duplicates, refused, known, suppressed] = sums;
    let costs = costs.map(|(template, version, messages, unfilled, lacking)| {
        let origin = Origin { template: TemplateId::from_key(template), version };
        (origin, Costs { messages, unfilled, lacking })
    });
    let [mends, reasons, countries] = counts;
    Ok(Report {
        octets,
        rows,
        good,
        mended,
        duplicates,
        refused,
        known,
        suppressed,
        mends,
        reasons,
        countries,
        ignored,
        costs,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_read_back_as_they_were_written() {
        let why = Failure::new(FailureClass::Filtered, false, "smpp 0x66", "no: not, this; ok?");
        let absent = Failure::new(FailureClass::UnknownError, true, "gsm-map 27", "absent");
        let absent = Failure { unreached: true, ..absent };
        let all = vec![
            Segment::Waiting,
            Segment::Submitted,
            Segment::Unanswered,
            Segment::Accepted { carrier_id: String::new() },
            Segment::Accepted { carrier_id: "00aB-9".into() },
            Segment::Refused(why.clone()),
            Segment::Reported { carrier_id: "x".into(), outcome: Outcome::Delivered },
            Segment::Reported { carrier_id: "y y".into(), outcome: Outcome::Undelivered(why.clone()) },
            Segment::Reported { carrier_id: String::new(), outcome: Outcome::Unknown(why.clone()) },
            Segment::Reported { carrier_id: "z".into(), outcome: Outcome::Expired(absent.clone()) },
            Segment::Refused(absent.clone()),
        ];
        assert_eq!(segments(&segments_text(&all)).expect("readable"), all);
        let outcomes = [Outcome::Delivered, Outcome::Rejected(why), Outcome::Undelivered(absent)];
        let receipts = std::iter::once(None).chain(outcomes.map(Some));
        for outcome in receipts {
            let one = Receipt {
                carrier_id: "A1".into(),
                id_form: IdForm::HexThenDecimal,
                our_reference: Some(9),
                parties: vec!["15550001111".into(), "ACME".into()],
                outcome,
                raw: "id:A1 stat:X".into(),
            };
            assert_eq!(receipt(&receipt_text(&one)).expect("readable"), one);
        }
    }

    #[test]
    fn a_dead_number_is_to_a_program_of_before_one_that_is_not_in_use() {
        for word in Reason::ALL {
            let (number, unreachable) = reason_numbers(word);
            assert_eq!(reason(number, unreachable).expect("readable"), word);
        }
        assert_eq!(reason_numbers(Reason::Unreachable).0, reason_numbers(Reason::InvalidNumber).0);
        assert!(reason(3, None).is_err() && reason(0, Some(1)).is_err() && reason(1, Some(2)).is_err());
    }

    #[test]
    fn a_checksum_is_the_same_for_ever_and_another_after_any_change() {
        use tidings_domain::account::Environment;
        use tidings_domain::address::PhoneNumber;
        use tidings_domain::id::{AccountId, ConnectionId};
        use tidings_domain::purpose::Purpose;
        use tidings_domain::reply::Kind;
        let number = |digits| PhoneNumber::from_digits(digits).expect("a number");
        let sender = |text| Sender::from_stored(text).expect("a sender");
        let message = Message {
            id: MessageId::from_key(1_000_001),
            account: AccountId::from_key(7),
            environment: Environment::Live,
            token: None,
            batch: None,
            purpose: Purpose::Alert,
            sender: sender("+15550001111"),
            recipient: number(15_550_100_000),
            text: Some("The water is rising.".to_owned()),
            encoding: Encoding::Gsm7(Tables::default()),
            options: Options::default(),
            segments: 1,
            connection: ConnectionId::from_key(1),
            created_at: Timestamp::from_millis(0),
            send_at: None,
            expires_at: Timestamp::from_millis(3_600_000),
            callback: None,
            reference: None,
            metadata: None,
            retry_of: None,
            reply: None,
            template: None,
            programme: None,
        };
        // Databases hold it: if this fails, every message that waits in one would be set aside.
        assert_eq!(checksum(&message), 2_175_878_835_032_538_387);
        let changes: [fn(&mut Message); 14] = [
            |m| m.id = MessageId::from_key(1_000_000),
            |m| m.account = AccountId::from_key(6),
            |m| m.environment = Environment::Test,
            |m| m.purpose = Purpose::Authentication,
            |m| m.sender = Sender::from_stored("+15550001110").expect("a sender"),
            |m| m.sender = Sender::from_stored("Water").expect("a sender"),
            |m| m.recipient = PhoneNumber::from_digits(15_550_100_001).expect("a number"),
            |m| m.text = Some("The water is rising/".to_owned()),
            |m| m.text = Some("The water is rising.\0".to_owned()),
            |m| m.encoding = Encoding::Ucs2,
            |m| m.send_at = Some(Timestamp::from_millis(0)),
            |m| m.expires_at = Timestamp::from_millis(3_600_001),
            |m| m.reply = Some(Reply { kind: Kind::OptOut, to: InboundId::from_key(0) }),
            |m| m.programme = programme::Name::parse("a"),
        ];
        for (n, change) in changes.into_iter().enumerate() {
            let mut changed = message.clone();
            change(&mut changed);
            assert_ne!(checksum(&changed), checksum(&message), "change {n}");
        }
    }

    #[test]
    fn states_read_back_as_they_were_written() {
        let until = Timestamp::from_millis(7);
        let states = [
            State::Scheduled { due_at: until },
            State::Queued { due_at: until },
            State::Sending { until },
            State::Doubtful { until },
            State::Sent { until },
            State::Unconfirmed { until },
            State::Delivered,
            State::Canceled,
        ];
        for one in states {
            assert_eq!(
                state(state_number(one), one.wakes_at().map(Timestamp::as_millis)).expect("a state"),
                one
            );
        }
    }

    #[test]
    fn forms_of_text_read_back_as_they_were_written() {
        for concatenation in
            [Concatenation::Header8, Concatenation::Header16, Concatenation::Sar, Concatenation::Payload]
        {
            for single_shift in [Languages::NONE, Languages::ALL, Languages::NONE.with(Language::Spanish)] {
                let options = Options {
                    concatenation,
                    single_shift,
                    locking_shift: Languages::NONE.with(Language::Turkish),
                };
                let tables = Tables { single: Some(Language::Portuguese), locking: None };
                for encoding in [Encoding::Ucs2, Encoding::Gsm7(Tables::DEFAULT), Encoding::Gsm7(tables)] {
                    assert_eq!(form(form_number(&options, encoding)), (options, encoding));
                }
            }
        }
    }

    #[test]
    fn rows_of_an_import_read_back_as_they_were_written() {
        let name = |text: &str| FieldName::parse(text).expect("a name");
        let value = |text: &str| Value::text(text).expect("a text");
        let details = Details {
            name: Some("Åsa \"A\" 😀".to_owned()),
            language: Tongue::parse("sv").ok(),
            zone: ZoneName::parse("Europe/Stockholm").ok(),
            owner: Some("Bo".to_owned()),
            groups: ["b", "a c"].map(|text| Group::parse(text).expect("a group")).into(),
            fields: [
                (name("note"), value("two\nlines\t\"quoted\"")),
                (name("since"), value("2024-02-29")),
                (name("money"), Value::Number(Decimal::parse("-99999999999.9999").expect("a number"))),
                (name("vip"), Value::YesNo(true)),
            ]
            .into(),
        };
        let row = |n: u64, details| Row {
            id: ContactId::from_key(n as i64),
            number: PhoneNumber::from_digits(46_700_000_000 + n).expect("a number"),
            details,
            octets: 7,
        };
        let all = [row(1, details), row(2, Details::default())];
        assert_eq!(rows(&rows_text(&all)).expect("readable"), all);
        assert_eq!(
            numbers(&numbers_text(&[all[0].number, all[1].number])).expect("readable"),
            [all[0].number, all[1].number]
        );
        let one = |column: Option<&str>, cells: &[&str]| Refused {
            line: 3,
            reason: "duplicate".to_owned(),
            column: column.map(str::to_owned),
            cells: cells.iter().map(|cell| (*cell).to_owned()).collect(),
        };
        let none = [one(None, &["", "a\nb"]), one(Some(""), &["x"])];
        assert_eq!(refused(&refused_text(&none)).expect("readable"), none);
        let found = Report {
            rows: 5,
            suppressed: 1,
            reasons: [("no_number".to_owned(), 5)].into(),
            ignored: vec!["id".to_owned()],
            ..Report::default()
        };
        assert_eq!(report(&report_text(&found)).expect("readable"), found);
        let origin = Origin { template: TemplateId::from_key(9), version: 2 };
        let costs = Costs {
            messages: [(1, 3), (12, 1)].into(),
            unfilled: 1,
            lacking: [("name".to_owned(), 1)].into(),
        };
        let found = Report { costs: Some((origin, costs)), ..found };
        assert_eq!(report(&report_text(&found)).expect("readable"), found);
    }
}
