//! What is accepted: from a parsed request and the facts of the moment to a message, or a refusal with its reason.

use crate::account::Realm;
use crate::address::PhoneNumber;
use crate::admission;
use crate::code;
use crate::consent::Lack;
use crate::content::{self, Act};
use crate::frequency::Other;
use crate::gate::{self, Decision, Hold};
use crate::id::{BatchId, ConnectionId, EndpointId, MessageId, TokenId};
use crate::message::{Life, Message};
use crate::pool;
use crate::programme::{self, Programmes};
use crate::purpose::Purpose;
use crate::quiet_hours::{self, Zone};
use crate::quota::Used;
use crate::registration::Capability;
use crate::routing::{self, Routes};
use crate::sender::{Sender, SenderNotUsable};
use crate::suppression;
use crate::template::Origin;
use crate::text::{self, Measured, Replacement, Unsendable};
use crate::time::{InvalidTime, LocalTime, Timestamp};

/// When a message is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendAt {
    /// At this moment.
    Moment(Timestamp),
    /// When the clock of its recipient shows this.
    Local(LocalTime),
}

impl SendAt {
    /// Reads a moment (`2026-12-01T09:00:00+01:00`), or a local time (`2026-12-01T09:00`).
    ///
    /// # Errors
    /// It is neither.
    pub fn parse(text: &str) -> Result<Self, InvalidTime> {
        match LocalTime::parse(text) {
            Some(local) => Ok(Self::Local(local)),
            None => Timestamp::parse(text).map(Self::Moment),
        }
    }
}

/// A request to send one message, every part of it parsed.
#[derive(Debug, Clone, PartialEq)]
pub struct SendRequest {
    /// Who it is from.
    pub from: pool::Source,
    /// Who it is to.
    pub recipient: PhoneNumber,
    /// The text as the caller wrote it.
    pub text: String,
    /// Why it is sent.
    pub purpose: Purpose,
    /// When, if not at once.
    pub send_at: Option<SendAt>,
    /// How long it is worth sending, counted from when it is due: seconds.
    pub validity_s: Option<i64>,
    /// Whether costly characters may be replaced by cheap ones that look alike.
    pub transliterate: bool,
    /// The endpoint for the message's own callback address.
    pub callback: Option<EndpointId>,
    /// The caller's own name for it.
    pub reference: Option<String>,
    /// The caller's own data: a JSON object as text.
    pub metadata: Option<String>,
    /// The message of which this is a repeat.
    pub retry_of: Option<MessageId>,
    /// The template that the text was made of.
    pub template: Option<Origin>,
    /// The programme that it is to be of; without one it is that of its sender.
    pub programme: Option<programme::Name>,
}

impl SendRequest {
    /// Turns a local time into its moment, by the zone that is stated for the contact who has the recipient's number, or else by the
    /// number. Where no zone is known it stays, and [`plan`] refuses it.
    pub fn settle(&mut self, stated: Option<&'static Zone>) {
        if let Some(SendAt::Local(local)) = self.send_at
            && let Some(moment) = quiet_hours::moment_of(local, self.recipient, stated)
        {
            self.send_at = Some(SendAt::Moment(moment));
        }
    }

    /// The moment at which it is to be sent, if not at once and as far as it is known.
    pub const fn moment(&self) -> Option<Timestamp> {
        match self.send_at {
            Some(SendAt::Moment(at)) => Some(at),
            Some(SendAt::Local(_)) | None => None,
        }
    }
}

/// The bounds of what is accepted; configuration, with these defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Segments of one message.
    pub max_segments: u32,
    /// How far ahead a message may be scheduled: seconds.
    pub max_schedule_s: i64,
    /// Messages in one call.
    pub max_batch_messages: usize,
    /// Different recipients in one call by recipients × bodies.
    pub max_batch_recipients: usize,
    /// Different bodies in one call by recipients × bodies.
    pub max_batch_bodies: usize,
    /// Messages a minute and token.
    pub messages_per_minute: u32,
    /// How long a transactional or marketing message is worth sending if its caller does not say: seconds.
    pub default_validity_s: i64,
    /// How much may wait.
    pub waiting: admission::Bounds,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_segments: 10,
            max_schedule_s: 35 * 24 * 3600,
            max_batch_messages: 500,
            max_batch_recipients: 100,
            max_batch_bodies: 5,
            messages_per_minute: 300,
            default_validity_s: 2 * 3600,
            waiting: admission::Bounds::default(),
        }
    }
}

/// The facts of the moment.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// Whose message it would be.
    pub realm: Realm,
    /// The configured connections.
    pub routes: Routes<'a>,
    /// How each connection takes text, in the order of `routes`.
    pub text: &'a [text::Options],
    /// The configured programmes.
    pub programmes: &'a Programmes,
    /// The bounds.
    pub limits: &'a Limits,
    /// What the operator decided about the gate.
    pub gate: &'a gate::Policy,
    /// What of the suppression list is against the request, as far as it was looked up: the commit looks in any case.
    pub suppressed: Option<&'a suppression::InForce>,
    /// What is missing of the consent of the request's recipient, where the gate's policy concerns its purpose.
    pub consent: Option<Lack>,
    /// The time zone that is stated for the contact who has the recipient's number, where the gate's policy asks for the clock.
    pub zone: Option<&'static Zone>,
    /// What the request's recipient was sent lately and will be, where the gate's policy has bounds for it.
    pub others: &'a [Other],
    /// Whether an answer is waited for: then its sender must be one that people can write to.
    pub expects_answer: bool,
    /// The limit of the day of the request's sender, where the gate's policy has one for it, with what went on the day on which
    /// it would go.
    pub day: Option<&'a Used>,
}

/// What a request would become: measured, routed and dated, but not yet a message.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Who it is from.
    pub sender: Sender,
    /// The programme that it is of.
    pub programme: Option<programme::Name>,
    /// The text as it will be sent.
    pub text: String,
    /// What was replaced in it to save segments.
    pub replacements: Vec<Replacement>,
    /// Its encoding and length.
    pub measured: Measured,
    /// How its connection takes text.
    pub options: text::Options,
    /// Where it goes out.
    pub connection: ConnectionId,
    /// When it is due, if not at once.
    pub send_at: Option<Timestamp>,
    /// Why that is later than its caller wants, if the gate holds it.
    pub held: Option<Hold>,
    /// What in its text carriers may filter, though it goes.
    pub warnings: Vec<content::Finding>,
    /// After this it is not worth sending.
    pub expires_at: Timestamp,
}

/// Why a request is not accepted. The public code and page of each are in `wire`.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// The text cannot be sent.
    Text(Unsendable),
    /// This sender cannot send to this recipient.
    Sender(SenderNotUsable),
    /// The time to send at is a local one, and the recipient's time zone is not known.
    NoTimeZone,
    /// The time to send at has passed.
    InPast,
    /// The time to send at is too far ahead.
    TooFarAhead {
        /// The furthest allowed: seconds.
        allowed_s: i64,
    },
    /// The validity is too short or too long for the purpose.
    Validity {
        /// The longest allowed: seconds.
        allowed_s: i64,
    },
    /// The operator made no pool of this name.
    NoPool,
    /// It cannot be of the programme that it names.
    NotOfProgramme(programme::NotOf),
    /// No connection takes this recipient and sender.
    NoRoute,
    /// The gate does not let it pass, by what is known before the store is asked.
    Gate(gate::Reason),
}

impl SendRequest {
    /// The content of a message to the same person again, worth sending for as long as it was, from now on. `None` where its
    /// text was removed, or it carries a one-time code, which is not sent a second time so.
    pub fn again(old: &Message) -> Option<Self> {
        let text = old.text.clone().filter(|text| !code::has_blank(text))?;
        let begun_at = old.send_at.unwrap_or(old.created_at);
        let life_s = old.expires_at.since_ms(begun_at) / 1_000;
        Some(Self {
            from: pool::Source::Sender(old.sender),
            recipient: old.recipient,
            text,
            purpose: old.purpose,
            send_at: None,
            validity_s: Some(life_s.clamp(1, old.purpose.max_life_s())),
            transliterate: false,
            callback: old.callback,
            reference: old.reference.clone(),
            metadata: old.metadata.clone(),
            retry_of: Some(old.id),
            template: old.template,
            programme: old.programme.clone(),
        })
    }
}

/// A clock a little ahead of ours is no mistake of the caller: ms.
const CLOCK_TOLERANCE_MS: i64 = 5_000;

/// Says what the request would become.
///
/// # Errors
/// The first reason against it, in the order in which its fields are read.
pub fn plan(request: &SendRequest, facts: Facts<'_>, now: Timestamp) -> Result<Plan, Refusal> {
    let sender = request.from.sender().ok_or(Refusal::NoPool)?;
    sender.check_for(request.recipient).map_err(Refusal::Sender)?;
    if facts.expects_answer && !facts.gate.senders.can(&sender, Capability::TextIn) {
        return Err(Refusal::Sender(SenderNotUsable::CannotReceive));
    }
    let programme =
        facts.programmes.of(request.programme.as_ref(), &request.from).map_err(Refusal::NotOfProgramme)?;
    let programme = programme.map(|programme| programme.name.clone());
    let connection = routing::route(facts.routes, facts.realm.environment, &sender, request.recipient)
        .ok_or(Refusal::NoRoute)?;
    let place = facts.routes.all.iter().position(|route| route.connection == connection);
    let options = place.and_then(|place| facts.text.get(place)).copied().unwrap_or_default();
    let (text, replacements) = if request.transliterate {
        let done = text::transliterate(&request.text, &options);
        (done.text.into_owned(), done.replacements)
    } else {
        (request.text.clone(), Vec::new())
    };
    let measured = text::check(&text, &options, facts.limits.max_segments).map_err(Refusal::Text)?;
    if let Some(SendAt::Local(_)) = request.send_at {
        return Err(Refusal::NoTimeZone);
    }
    if let Some(send_at) = request.moment() {
        if send_at < now.plus_ms(-CLOCK_TOLERANCE_MS) {
            return Err(Refusal::InPast);
        }
        if send_at > now.plus_s(facts.limits.max_schedule_s) {
            return Err(Refusal::TooFarAhead { allowed_s: facts.limits.max_schedule_s });
        }
    }
    let allowed_s = request.purpose.max_life_s();
    let validity_s = match request.validity_s {
        Some(seconds) if seconds < 1 || seconds > allowed_s => return Err(Refusal::Validity { allowed_s }),
        Some(seconds) => seconds,
        None => default_validity_s(request.purpose, facts.limits),
    };
    let mut send_at = request.moment().filter(|at| *at > now);
    let goes_at = send_at.unwrap_or(now);
    let held = match gate::ask(
        &gate::Facts::of_request(request, facts.realm.environment, facts.gate, now)
            .suppressed(facts.suppressed)
            .consent(facts.consent)
            .zone(facts.zone)
            .others(facts.others)
            .full(facts.day.and_then(|day| day.full(measured.segments, goes_at))),
        goes_at,
    )
    .decision()
    {
        Decision::Send => None,
        Decision::Refuse(reason) => return Err(Refusal::Gate(reason)),
        Decision::Hold(hold) => {
            send_at = Some(hold.until);
            Some(hold)
        }
    };
    let can_reply = facts.gate.senders.can(&sender, Capability::TextIn);
    let warnings = content::look(&facts.gate.content, request.purpose, Act::Warn, &request.text, can_reply);
    Ok(Plan {
        sender,
        programme,
        text,
        replacements,
        measured,
        options,
        connection,
        send_at,
        held,
        warnings,
        // What is held is worth sending for as long from when it may go.
        expires_at: send_at.unwrap_or(now).plus_s(validity_s),
    })
}

fn default_validity_s(purpose: Purpose, limits: &Limits) -> i64 {
    match purpose {
        Purpose::Authentication | Purpose::Alert => purpose.default_life_s(),
        Purpose::Transactional | Purpose::Marketing => {
            limits.default_validity_s.clamp(1, purpose.max_life_s())
        }
    }
}

/// Who is asking, for the message's row.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// Whose message it is.
    pub realm: Realm,
    /// The token that asked.
    pub token: Option<TokenId>,
    /// The batch it came with.
    pub batch: Option<BatchId>,
}

/// Makes the message and its life out of a request and its plan.
pub fn accept(
    id: MessageId,
    request: SendRequest,
    plan: Plan,
    asked: Asked,
    now: Timestamp,
) -> (Message, Life) {
    let segments = u8::try_from(plan.measured.segments).unwrap_or(u8::MAX);
    // With `message_payload` the carrier cuts the text: it counts as several segments but travels as one piece.
    let pieces = u8::try_from(plan.measured.pieces).unwrap_or(u8::MAX);
    let life = Life::queued(pieces, now, plan.send_at);
    let message = Message {
        id,
        account: asked.realm.account,
        environment: asked.realm.environment,
        token: asked.token,
        batch: asked.batch,
        purpose: request.purpose,
        sender: plan.sender,
        recipient: request.recipient,
        text: Some(plan.text),
        encoding: plan.measured.encoding,
        options: plan.options,
        segments,
        connection: plan.connection,
        created_at: now,
        send_at: plan.send_at,
        expires_at: plan.expires_at,
        callback: request.callback,
        reference: request.reference,
        metadata: request.metadata,
        retry_of: request.retry_of,
        reply: None,
        template: request.template,
        programme: plan.programme,
    };
    (message, life)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Environment;
    use crate::id::AccountId;
    use crate::quota::Daily;
    use crate::routing::Route;

    /// It is noon, and the limit of the day is three segments.
    #[test]
    fn what_is_longer_than_the_rest_of_the_day_waits_for_the_next_with_a_new_life() {
        let now = Timestamp::parse("2027-01-01T12:00:00Z").unwrap();
        let midnight = now.plus_s(12 * 3_600);
        let check = |characters: usize, went: u64, transliterate: bool, expected: &str| {
            let request = SendRequest {
                from: pool::Source::Sender(Sender::from_stored("Acme").unwrap()),
                recipient: PhoneNumber::from_stored("+46701234567").unwrap(),
                // One of its characters is dear, and may be replaced.
                text: format!("“{}", "a".repeat(characters - 1)),
                purpose: Purpose::Transactional,
                send_at: None,
                validity_s: Some(600),
                transliterate,
                callback: None,
                reference: None,
                metadata: None,
                retry_of: None,
                template: None,
                programme: None,
            };
            let used = Used { daily: Daily::of_sender("Acme", 3), segments: went };
            let routes = [Route {
                connection: ConnectionId::from_key(1),
                carrier: None,
                environment: Environment::Test,
                prefixes: Vec::new(),
                senders: Vec::new(),
            }];
            let facts = Facts {
                realm: Realm { account: AccountId::from_key(1), environment: Environment::Test },
                routes: Routes::of(&routes),
                text: &[],
                programmes: &Programmes::NONE,
                limits: &Limits::default(),
                gate: &gate::Policy::OPEN,
                suppressed: None,
                consent: None,
                zone: None,
                others: &[],
                expects_answer: false,
                day: Some(&used),
            };
            let told = match plan(&request, facts, now) {
                Ok(Plan { send_at: None, expires_at, .. }) if expires_at == now.plus_s(600) => "goes",
                Ok(plan) if (plan.send_at, plan.expires_at) == (Some(midnight), midnight.plus_s(600)) => {
                    "waits"
                }
                Err(Refusal::Gate(gate::Reason::DailyLimit(_))) => "is refused",
                other => panic!("{other:?}"),
            };
            assert_eq!(told, expected, "{characters} {went} {transliterate}");
        };
        check(70, 2, false, "goes");
        check(71, 2, false, "waits");
        check(71, 2, true, "goes");
        check(71, 1, false, "goes");
        check(70, 3, false, "waits");
        check(300, 0, false, "is refused");
        check(300, 0, true, "goes");
        check(300, 2, true, "waits");
    }
}
