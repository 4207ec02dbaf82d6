//! The gate: whether a message may go to a person now, and if not, every reason why.
//!
//! One function, [`ask`], for all who want to know: intake before a message is accepted, the store in the transaction that
//! accepts it, dispatch at the last moment before the carrier is touched, a preview, and `tidings explain`. What differs is
//! what each of them can know: [`Facts`] begins with what is known of the message and takes on what was looked up. What a
//! rule does not know it does not hold against anybody, so whoever sends must give all of it.
//!
//! A new rule is a variant of [`Reason`] at its place in the order, a field of [`Facts`] or of [`Policy`] for what it needs,
//! and a line in [`ask`].

use crate::account::Environment;
use crate::address::{Country, PhoneNumber};
use crate::consent::{self, Lack};
use crate::content::{self, Act};
use crate::failure::{Failure, FailureClass};
use crate::frequency::{self, Beyond, Bound, Law, Other};
use crate::intake::SendRequest;
use crate::message::Message;
use crate::purpose::Purpose;
use crate::quiet_hours::{self, Closed, Outside, Place, Zone};
use crate::quota::Full;
use crate::range::{self, Range};
use crate::registration::{self, Capability, NotRegistered};
use crate::reply::Reply;
use crate::sender::Sender;
use crate::spend::{self, Period};
use crate::suppression;
use crate::time::Timestamp;
use std::fmt;

/// Why a message may not go, in the order in which they are told: what only the person can change comes first, what time
/// cures last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Its recipient is on the suppression list.
    Suppressed(suppression::InForce),
    /// Its recipient did not agree to messages for its purpose.
    NoConsent(Lack),
    /// The operator did not enable the country that its recipient's number is from.
    CountryNotEnabled {
        /// Its two letters; `None` for a number of no country.
        country: Option<&'static str>,
    },
    /// Its recipient's number is of a range that the operator did not enable.
    RangeNotEnabled(Range),
    /// Its sender is not registered for this use, this country or this text.
    SenderNotRegistered(NotRegistered),
    /// Its text has, or lacks, what the operator does not let go.
    Content(content::Finding),
    /// Its account would spend more in this time than it may.
    SpendLimit(Period),
    /// Its recipient got as many messages as may be.
    FrequencyCap {
        /// The moment at which there is a turn again; `None` if there is none within a week.
        opens_at: Option<Timestamp>,
        /// The law that says so; `None` where the operator's caps alone do.
        law: Option<&'static Law>,
    },
    /// As much went from its sender on this day as may.
    DailyLimit(Full),
    /// Its recipient must not be disturbed at this time.
    QuietHours(Closed),
}

impl Reason {
    /// The stable word.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Suppressed(entry) => entry.reason.as_str(),
            Self::NoConsent(lack) => lack.as_str(),
            Self::CountryNotEnabled { .. } => "country_not_enabled",
            Self::RangeNotEnabled(range) => range.as_str(),
            Self::SenderNotRegistered(why) => why.as_str(),
            Self::Content(finding) => finding.check.as_str(),
            Self::SpendLimit(Period::Day) => "day_spent",
            Self::SpendLimit(Period::Month) => "month_spent",
            Self::FrequencyCap { .. } => "frequency_cap",
            Self::DailyLimit(_) => "daily_limit",
            Self::QuietHours(_) => "quiet_hours",
        }
    }

    /// What a message that it holds or ends is recorded with.
    pub fn failure(&self) -> Failure {
        let filtered = |code| Failure::new(FailureClass::Filtered, false, code, self.to_string());
        match self {
            Self::Suppressed(entry) => entry.failure(),
            Self::NoConsent(_) => filtered(NO_CONSENT),
            Self::CountryNotEnabled { .. } => filtered(COUNTRY_NOT_ENABLED),
            Self::RangeNotEnabled(_) => filtered(RANGE_NOT_ENABLED),
            Self::SenderNotRegistered(NotRegistered::Template) => filtered(TEMPLATE_REQUIRED),
            Self::SenderNotRegistered(_) => filtered(SENDER_NOT_REGISTERED),
            Self::Content(_) => filtered(CONTENT),
            Self::SpendLimit(_) => {
                Failure::new(FailureClass::UnknownError, false, SPEND_LIMIT, self.to_string())
            }
            Self::FrequencyCap { .. } => {
                Failure::new(FailureClass::UnknownError, true, FREQUENCY_CAP, self.to_string())
            }
            Self::DailyLimit(_) => {
                Failure::new(FailureClass::UnknownError, true, DAILY_LIMIT, self.to_string())
            }
            Self::QuietHours(closed) => {
                Failure::new(FailureClass::UnknownError, true, QUIET_HOURS, format!("quiet hours: {closed}"))
            }
        }
    }
}

impl fmt::Display for Reason {
    /// A sentence without a full stop, and without the number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Suppressed(entry) => f.write_str(&entry.failure().detail),
            Self::NoConsent(lack) => lack.fmt(f),
            Self::CountryNotEnabled { country: Some(country) } => {
                write!(f, "the number is from {country}, which the operator did not enable")
            }
            Self::CountryNotEnabled { country: None } => {
                f.write_str("the number is from no country, and the operator enabled only some countries")
            }
            Self::RangeNotEnabled(range) => {
                write!(f, "the number is {range}, which the operator did not enable")
            }
            Self::SenderNotRegistered(why) => why.fmt(f),
            Self::Content(finding) => finding.fmt(f),
            Self::SpendLimit(period) => {
                write!(f, "the account would spend more this {} than it may", period.as_str())
            }
            Self::FrequencyCap { opens_at, law } => {
                f.write_str("the recipient got as many messages like this as may be")?;
                if let Some(law) = law {
                    write!(f, " by {law}")?;
                }
                match opens_at {
                    Some(at) => write!(f, ", and has a turn again at {at}"),
                    None => f.write_str(", and has no turn within a week"),
                }
            }
            Self::DailyLimit(Full { opens_at: Some(at) }) => {
                write!(f, "as much was sent from the sender today as may be, and its next day begins at {at}")
            }
            Self::DailyLimit(Full { opens_at: None }) => {
                f.write_str("the message has more segments than may go from the sender in a day")
            }
            Self::QuietHours(closed) => closed.fmt(f),
        }
    }
}

/// The code of a message that quiet hours hold or end.
pub const QUIET_HOURS: &str = "tidings quiet_hours";
/// The code of a message to somebody who did not agree to it.
pub const NO_CONSENT: &str = "tidings no_consent";
/// The code of a message to a country that is not enabled.
pub const COUNTRY_NOT_ENABLED: &str = "tidings country_not_enabled";
/// The code of a message to a number of a range that is not enabled.
pub const RANGE_NOT_ENABLED: &str = "tidings range_not_enabled";
/// The code of a message to somebody who got as many as may be.
pub const FREQUENCY_CAP: &str = "tidings frequency_cap";
/// The code of a message from a sender from which as much went as may in a day.
pub const DAILY_LIMIT: &str = "tidings daily_limit";
/// The code of a message beyond what its account may spend.
pub const SPEND_LIMIT: &str = "tidings spend_limit";
/// The code of a message whose sender is not registered for it.
pub const SENDER_NOT_REGISTERED: &str = "tidings sender_not_registered";
/// The code of a message whose text is no template that is registered for its sender.
pub const TEMPLATE_REQUIRED: &str = "tidings template_required";
/// The code of a message whose text the operator does not let go.
pub const CONTENT: &str = "tidings content";

/// Whether a failure is the gate's own word: then there is nothing to review, since an operator decided it.
pub fn is_own_word(failure: &Failure) -> bool {
    [
        SENDER_NOT_REGISTERED,
        TEMPLATE_REQUIRED,
        QUIET_HOURS,
        NO_CONSENT,
        COUNTRY_NOT_ENABLED,
        RANGE_NOT_ENABLED,
        CONTENT,
        FREQUENCY_CAP,
        DAILY_LIMIT,
        SPEND_LIMIT,
    ]
    .contains(&failure.code.as_str())
}

/// What an operator decides about the gate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// The countries that may be sent to; empty for all.
    pub countries: Vec<Country>,
    /// The ranges of numbers that may not be sent to.
    pub ranges: range::Policy,
    /// What senders may do.
    pub senders: registration::Policy,
    /// What texts are looked at for.
    pub content: content::Policy,
    /// Which messages need the consent of their recipient.
    pub consent: consent::Policy,
    /// How much accounts may spend.
    pub spend: spend::Policy,
    /// How often people are sent to.
    pub frequency: frequency::Policy,
    /// When people must not be disturbed.
    pub quiet_hours: quiet_hours::Policy,
}

impl Policy {
    /// Nothing but what holds everywhere.
    pub const OPEN: Self = Self {
        countries: Vec::new(),
        ranges: range::Policy::OFF,
        senders: registration::Policy::OFF,
        content: content::Policy::OFF,
        consent: consent::Policy::OFF,
        spend: spend::Policy::OFF,
        frequency: frequency::Policy::OFF,
        quiet_hours: quiet_hours::Policy::OFF,
    };

    /// How often somebody may be sent messages of a purpose, by the operator and by the law where the number is from: that law is
    /// kept where its quiet hours are. Empty where nothing says so.
    pub fn bounds(&self, purpose: Purpose, number: PhoneNumber) -> Vec<Bound> {
        let place = || self.quiet_hours.place(purpose, number);
        let law = if purpose == Purpose::Marketing {
            place().and_then(|place| Law::of(place.region))
        } else {
            None
        };
        self.frequency.bounds(purpose, law)
    }
}

/// What is known where the gate is asked.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// In which environment.
    pub environment: Environment,
    /// Why it is sent.
    pub purpose: Purpose,
    /// Who it is from; `None` where that is not known.
    pub sender: Option<Sender>,
    /// To whom.
    pub recipient: PhoneNumber,
    /// What it says; `None` where that is not known.
    pub text: Option<&'a str>,
    /// What it answers by itself.
    pub reply: Option<Reply>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// What of the suppression list is against it; `None` too where that was not looked up.
    pub suppressed: Option<&'a suppression::InForce>,
    /// What is missing of its recipient's consent; `None` too where that was not looked up, which is needed only where the
    /// policy concerns its purpose.
    pub consent: Option<Lack>,
    /// The time zone that is stated for the contact who has its recipient's number; `None` too where that was not looked up, which
    /// is needed only where the policy [asks for the clock](quiet_hours::Policy::asks_clock).
    pub zone: Option<&'static Zone>,
    /// When its recipient was sent to lately, and will be, by messages that count; empty too where that was not looked up,
    /// which is needed only where the policy has [bounds](Policy::bounds) for it.
    pub others: &'a [Other],
    /// That its sender's limit of the day is used up; `None` too where that was not looked up, which is needed only where the
    /// policy has one for it.
    pub full: Option<Full>,
    /// Which of its account's limits it goes beyond; `None` too where that was not looked up: the commit that accepts it looks.
    pub overspent: Option<Period>,
    /// How long it may be held at most: seconds. `None` where its life is counted from when it goes, and of a message that was
    /// accepted, whose life ends by itself.
    pub waits_s: Option<i64>,
    /// What the operator decided.
    pub policy: &'a Policy,
}

impl<'a> Facts<'a> {
    /// What is known of a request, before anything was looked up.
    pub fn of_request(
        request: &'a SendRequest,
        environment: Environment,
        policy: &'a Policy,
        now: Timestamp,
    ) -> Self {
        Self {
            environment,
            purpose: request.purpose,
            sender: request.from.sender(),
            recipient: request.recipient,
            text: Some(&request.text),
            reply: None,
            created_at: now,
            suppressed: None,
            consent: None,
            zone: None,
            others: &[],
            full: None,
            overspent: None,
            waits_s: waits_s(request.purpose, request.validity_s),
            policy,
        }
    }

    /// What is known of a message, before anything was looked up.
    pub fn of(message: &'a Message, policy: &'a Policy) -> Self {
        Self {
            environment: message.environment,
            purpose: message.purpose,
            sender: Some(message.sender),
            recipient: message.recipient,
            text: message.text.as_deref(),
            reply: message.reply,
            created_at: message.created_at,
            suppressed: None,
            consent: None,
            zone: None,
            others: &[],
            full: None,
            overspent: None,
            waits_s: None,
            policy,
        }
    }

    /// With what the suppression list says.
    #[must_use]
    pub const fn suppressed(self, entry: Option<&'a suppression::InForce>) -> Self {
        Self { suppressed: entry, ..self }
    }

    /// With what the ledger of consents lacks.
    #[must_use]
    pub const fn consent(self, lack: Option<Lack>) -> Self {
        Self { consent: lack, ..self }
    }

    /// With the time zone that is stated for its recipient.
    #[must_use]
    pub const fn zone(self, zone: Option<&'static Zone>) -> Self {
        Self { zone, ..self }
    }

    /// With when its recipient was sent to, and will be.
    #[must_use]
    pub const fn others(self, others: &'a [Other]) -> Self {
        Self { others, ..self }
    }

    /// With what is said of its sender's limit of the day.
    #[must_use]
    pub const fn full(self, full: Option<Full>) -> Self {
        Self { full, ..self }
    }

    /// With which of its account's limits it goes beyond.
    #[must_use]
    pub const fn overspent(self, overspent: Option<Period>) -> Self {
        Self { overspent, ..self }
    }
}

/// How long a request of this purpose may be held, if it is worth so many seconds: what somebody waits for at a screen is worth
/// nothing later, and it is better said at once that it cannot go.
pub fn waits_s(purpose: Purpose, validity_s: Option<i64>) -> Option<i64> {
    (purpose == Purpose::Authentication).then(|| validity_s.unwrap_or(purpose.default_life_s()))
}

/// What the gate says at the moment at which a request would go, and when that is in the end; `None` if it may not.
pub fn preview(facts: &Facts<'_>, send_at: Option<Timestamp>, now: Timestamp) -> (Answer, Option<Timestamp>) {
    let at = send_at.filter(|at| *at > now).unwrap_or(now);
    let answer = ask(facts, at);
    let sends_at = answer.sends_at(at);
    (answer, sends_at)
}

/// Whether the list stops a message at this moment: what only a transaction that reads the list can ask.
pub fn refuses_listed(
    message: &Message,
    standing: &suppression::Listing,
    at: Timestamp,
) -> Option<suppression::InForce> {
    let listed = standing.against(message.programme.as_ref());
    match ask(&Facts::of(message, &Policy::OPEN).suppressed(listed.as_ref()), at).decision() {
        Decision::Refuse(Reason::Suppressed(entry)) => Some(entry),
        Decision::Refuse(_) | Decision::Hold(_) | Decision::Send => None,
    }
}

/// A reason with what follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The reason.
    pub reason: Reason,
    /// Until when the message waits; `None` if it is refused.
    pub holds_until: Option<Timestamp>,
}

/// Every reason why a message may not go, in the order of [`Reason`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer(Vec<Finding>);

/// What is done with the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It may go.
    Send,
    /// It waits.
    Hold(Hold),
    /// It may not go.
    Refuse(Reason),
}

/// Why a message waits, and until when. At that moment the gate is asked again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The moment.
    pub until: Timestamp,
    /// The reason, as it is recorded.
    pub why: Failure,
}

impl Answer {
    /// All of them.
    pub fn findings(&self) -> &[Finding] {
        &self.0
    }

    /// The first.
    pub fn first(&self) -> Option<&Finding> {
        self.0.first()
    }

    /// What is done: the first reason that refuses decides, else the one that holds longest.
    pub fn decision(&self) -> Decision {
        if let Some(refused) = self.0.iter().find(|finding| finding.holds_until.is_none()) {
            return Decision::Refuse(refused.reason.clone());
        }
        let held = self.0.iter().filter_map(|finding| Some((finding.holds_until?, &finding.reason)));
        match held.max_by_key(|(until, _)| *until) {
            Some((until, reason)) => Decision::Hold(Hold { until, why: reason.failure() }),
            None => Decision::Send,
        }
    }

    /// When a message would go about which this was asked for that moment; `None` if it may not.
    pub fn sends_at(&self, asked: Timestamp) -> Option<Timestamp> {
        match self.decision() {
            Decision::Send => Some(asked),
            Decision::Hold(hold) => Some(hold.until),
            Decision::Refuse(_) => None,
        }
    }
}

/// Asks whether a message may go at this moment. Costs nothing worth naming where no rule concerns it.
pub fn ask(facts: &Facts<'_>, at: Timestamp) -> Answer {
    let mut found = Vec::new();
    let stops = |entry: &&suppression::InForce| entry.stops(facts.purpose, facts.reply, facts.created_at, at);
    if let Some(entry) = facts.suppressed.filter(stops) {
        found.push(Finding { reason: Reason::Suppressed(entry.clone()), holds_until: None });
    }
    if facts.reply.is_some() {
        // Who asked by text a moment ago may have the answer, wherever and whenever that is.
        return Answer(found);
    }
    let Policy { countries, ranges, senders, content, consent, spend: _, frequency, quiet_hours } =
        facts.policy;
    let mut refuse = |reason| found.push(Finding { reason, holds_until: None });
    if let Some(lack) = facts.consent.filter(|_| consent.concerns(facts.purpose)) {
        refuse(Reason::NoConsent(lack));
    }
    if !countries.is_empty() {
        let country = Place::of(facts.recipient).map(Place::country);
        if !countries.iter().any(|enabled| Some(enabled.as_str()) == country) {
            refuse(Reason::CountryNotEnabled { country });
        }
    }
    if let Some(range) = ranges.refuses(facts.recipient, facts.environment) {
        refuse(Reason::RangeNotEnabled(range));
    }
    if let Some(sender) = facts.sender {
        let refused = senders.refuses(&sender, facts.recipient, facts.purpose, facts.text);
        refused.into_iter().for_each(|why| refuse(Reason::SenderNotRegistered(why)));
    }
    if let Some(text) = facts.text {
        let can_reply = facts.sender.is_none_or(|sender| senders.can(&sender, Capability::TextIn));
        let stopped = content::look(content, facts.purpose, Act::Stop, text, can_reply);
        stopped.into_iter().for_each(|finding| refuse(Reason::Content(finding)));
    }
    if let Some(period) = facts.overspent {
        refuse(Reason::SpendLimit(period));
    }
    let bounds = match facts.others {
        [] => Vec::new(),
        _ => facts.policy.bounds(facts.purpose, facts.recipient),
    };
    let time = Time { facts, bounds, at };
    let (turn, closed) = (time.turn(at), time.closed(at));
    let is_in_time = |until: &Timestamp| facts.waits_s.is_none_or(|waits_s| *until < at.plus_s(waits_s));
    let opens_at = || time.opens_at().filter(is_in_time);
    if turn != Some(at) {
        let holds_until = opens_at().filter(|_| frequency.beyond == Beyond::Hold);
        let law = frequency::law_against(&time.bounds, facts.others, at);
        found.push(Finding { reason: Reason::FrequencyCap { opens_at: turn, law }, holds_until });
    }
    if let Some(full) = facts.full {
        let holds_until = full.opens_at.and_then(|_| opens_at());
        found.push(Finding { reason: Reason::DailyLimit(full), holds_until });
    }
    if let Some(closed) = closed {
        let holds_until = opens_at().filter(|_| quiet_hours.outside == Outside::Hold);
        found.push(Finding { reason: Reason::QuietHours(closed), holds_until });
    }
    Answer(found)
}

/// The rules that time cures. What is held for one of them must be open for the others when it comes up.
struct Time<'a> {
    facts: &'a Facts<'a>,
    bounds: Vec<Bound>,
    at: Timestamp,
}

impl Time<'_> {
    /// How often one rule sends to the other before it is given up: each step goes to a later opening within a week.
    const STEPS_MAX: usize = 64;

    /// The first moment from this one on at which its recipient has a turn.
    fn turn(&self, from: Timestamp) -> Option<Timestamp> {
        frequency::opens_at(&self.bounds, self.facts.others, from)
    }

    fn closed(&self, at: Timestamp) -> Option<Closed> {
        let Facts { policy, purpose, recipient, zone, .. } = *self.facts;
        Closed::at(&policy.quiet_hours, purpose, recipient, zone, at)
    }

    /// The first moment at which none of them is against it, as far as is known: what goes tomorrow is counted then.
    fn opens_at(&self) -> Option<Timestamp> {
        let next_day = self.facts.full.and_then(|full| full.opens_at);
        let mut at = next_day.map_or(self.at, |next_day| next_day.max(self.at));
        for _ in 0..Self::STEPS_MAX {
            at = self.turn(at)?;
            match self.closed(at) {
                None => return Some(at),
                Some(closed) => at = closed.opens_at?,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Environment;
    use crate::id::InboundId;
    use crate::quiet_hours::{Hours, Week, Window};
    use crate::reply;
    use proptest::prelude::*;

    fn time(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    fn number(text: &str) -> PhoneNumber {
        PhoneNumber::parse(text, None, Environment::Test).unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    fn facts<'a>(purpose: Purpose, to: &str, policy: &'a Policy) -> Facts<'a> {
        let created_at = time("2026-07-06T03:00:00Z");
        Facts {
            environment: Environment::Live,
            purpose,
            sender: None,
            recipient: number(to),
            text: None,
            reply: None,
            created_at,
            suppressed: None,
            consent: None,
            zone: None,
            others: &[],
            full: None,
            overspent: None,
            waits_s: None,
            policy,
        }
    }

    fn policy(outside: Outside) -> Policy {
        Policy { quiet_hours: quiet_hours::Policy { outside, ..Default::default() }, ..Policy::OPEN }
    }

    fn told(decision: Decision) -> String {
        match decision {
            Decision::Send => "send".to_owned(),
            Decision::Hold(hold) => format!("hold until {} for {}", hold.until, hold.why.code),
            Decision::Refuse(reason) => format!("refuse for {}", reason.code()),
        }
    }

    /// It is Sunday, 23:00 in Miami.
    #[test]
    fn every_reason_is_told_and_the_first_that_refuses_decides() {
        let (hold, refuse) = (policy(Outside::Hold), policy(Outside::Refuse));
        let listed = suppression::InForce::from(suppression::Reason::OptedOut);
        let listed = Some(&listed);
        let check = |facts: Facts<'_>, reasons: &[&str], decision: &str| {
            let answer = ask(&facts, facts.created_at);
            let found: Vec<&str> = answer.findings().iter().map(|finding| finding.reason.code()).collect();
            assert_eq!(
                (found.as_slice(), told(answer.decision()).as_str()),
                (reasons, decision),
                "{facts:?}"
            );
            assert_eq!(answer.first().map(|finding| finding.reason.code()), reasons.first().copied());
        };
        let offer = facts(Purpose::Marketing, "+13055550100", &hold);
        check(offer, &["quiet_hours"], "hold until 2026-07-06T12:00:00.000Z for tidings quiet_hours");
        check(offer.suppressed(listed), &["opted_out", "quiet_hours"], "refuse for opted_out");
        check(Facts { policy: &refuse, ..offer }, &["quiet_hours"], "refuse for quiet_hours");
        check(Facts { policy: &Policy::OPEN, ..offer }, &[], "send");
        check(
            Facts { policy: &Policy::OPEN, ..offer }.suppressed(listed),
            &["opted_out"],
            "refuse for opted_out",
        );
        let strict = Policy {
            consent: consent::Policy { purposes: vec![Purpose::Marketing] },
            ..policy(Outside::Hold)
        };
        let strictly = facts(Purpose::Marketing, "+13055550100", &strict);
        let lack = Some(Lack::NeverGiven);
        check(strictly.consent(lack), &["never_given", "quiet_hours"], "refuse for never_given");
        check(
            strictly.suppressed(listed).consent(lack),
            &["opted_out", "never_given", "quiet_hours"],
            "refuse for opted_out",
        );
        check(
            offer.consent(lack),
            &["quiet_hours"],
            "hold until 2026-07-06T12:00:00.000Z for tidings quiet_hours",
        );
        check(Facts { purpose: Purpose::Alert, ..strictly }.consent(lack), &[], "send");
        for purpose in [Purpose::Authentication, Purpose::Alert, Purpose::Transactional] {
            check(facts(purpose, "+13055550100", &hold), &[], "send");
            check(
                facts(purpose, "+13055550100", &hold).suppressed(listed),
                &["opted_out"],
                "refuse for opted_out",
            );
        }
        let abroad =
            Policy { countries: vec![Country::CA, Country::parse("SE").unwrap()], ..policy(Outside::Hold) };
        let all = ["opted_out", "country_not_enabled", "quiet_hours"];
        check(Facts { policy: &abroad, ..offer }.suppressed(listed), &all, "refuse for opted_out");
        check(Facts { policy: &abroad, ..offer }, &all[1..], "refuse for country_not_enabled");
        check(facts(Purpose::Alert, "+46701234567", &abroad), &[], "send");
        check(facts(Purpose::Alert, "+14165550100", &abroad), &[], "send");
        check(facts(Purpose::Alert, "+18765550100", &abroad), &all[1..2], "refuse for country_not_enabled");
        let content = content::Policy {
            purposes: vec![Purpose::Marketing],
            capitals: Act::Stop,
            ..content::Policy::OFF
        };
        let careful = Policy { ranges: range::Policy::default(), content, ..abroad };
        let shouted = Facts { policy: &careful, text: Some("ALL CHECK-UPS ARE 20 % OFF NOW"), ..offer };
        let all = ["opted_out", "country_not_enabled", "fictitious", "all_capitals", "quiet_hours"];
        check(shouted.suppressed(listed), &all, "refuse for opted_out");
        check(Facts { recipient: number("+14162345678"), ..shouted }, &all[3..4], "refuse for all_capitals");
        check(Facts { purpose: Purpose::Alert, ..shouted }, &all[1..3], "refuse for country_not_enabled");
        let pretended =
            Facts { environment: Environment::Test, recipient: number("+14165550100"), ..shouted };
        check(Facts { text: None, purpose: Purpose::Alert, ..pretended }, &[], "send");
    }

    #[test]
    fn an_answer_to_somebody_who_wrote_has_no_quiet_hours_and_may_pass_the_list_if_it_confirms() {
        let all = Policy {
            countries: vec![Country::CA],
            ranges: range::Policy::default(),
            quiet_hours: quiet_hours::Policy { purposes: Purpose::ALL.to_vec(), ..Default::default() },
            ..Policy::OPEN
        };
        let check = |kind, listed: Option<suppression::Reason>, after_s, decision: &str| {
            let reply = Some(Reply { kind, to: InboundId::from_key(1) });
            let entry = listed.map(suppression::InForce::from);
            let facts = Facts { reply, ..facts(Purpose::Transactional, "+13055550100", &all) };
            let facts = facts.suppressed(entry.as_ref());
            let at = facts.created_at.plus_s(after_s);
            assert_eq!(told(ask(&facts, at).decision()), decision, "{kind:?} {listed:?} {after_s}");
        };
        let (opted_out, manual) = (Some(suppression::Reason::OptedOut), Some(suppression::Reason::Manual));
        check(reply::Kind::Help, None, 1, "send");
        check(reply::Kind::Help, opted_out, 1, "refuse for opted_out");
        check(reply::Kind::OptOut, opted_out, 1, "send");
        check(reply::Kind::ProgrammeOptOut, opted_out, 1, "send");
        check(reply::Kind::OptOut, opted_out, 300, "refuse for opted_out");
        check(reply::Kind::OptOut, manual, 1, "refuse for manual");
        check(reply::Kind::Help, Some(suppression::Reason::Unreachable), 1, "refuse for unreachable");
    }

    #[test]
    fn a_code_goes_to_a_number_that_is_taken_for_dead_since_somebody_waits_for_it() {
        let check = |purpose, listed: suppression::Reason, decision: &str| {
            let entry = suppression::InForce::from(listed);
            let open = Policy::OPEN;
            let facts = facts(purpose, "+13055550100", &open).suppressed(Some(&entry));
            assert_eq!(told(ask(&facts, facts.created_at).decision()), decision, "{purpose:?} {listed:?}");
        };
        use suppression::Reason::{InvalidNumber, Manual, OptedOut, Unreachable};
        check(Purpose::Authentication, Unreachable, "send");
        for purpose in [Purpose::Alert, Purpose::Transactional, Purpose::Marketing] {
            check(purpose, Unreachable, "refuse for unreachable");
        }
        check(Purpose::Authentication, OptedOut, "refuse for opted_out");
        check(Purpose::Authentication, InvalidNumber, "refuse for invalid_number");
        check(Purpose::Authentication, Manual, "refuse for manual");
    }

    fn offers(moments: &[&str]) -> Vec<Other> {
        moments.iter().map(|at| Other { at: time(at), purpose: Purpose::Marketing }).collect()
    }

    /// In Florida it is noon.
    #[test]
    fn the_law_of_a_state_counts_marketing_and_is_named() {
        let noon = "2026-07-06T16:00:00Z";
        let three = offers(&["2026-07-06T13:00:00Z", "2026-07-06T14:00:00Z", "2026-07-06T15:00:00Z"]);
        let law = policy(Outside::Hold);
        let check = |policy: &Policy, purpose, to: &str, others: &[Other], decision: &str| {
            let answer = ask(&facts(purpose, to, policy).others(others), time(noon));
            assert_eq!(told(answer.decision()), decision, "{purpose:?} {to} {others:?}");
            answer
        };
        let (miami, paris) = ("+13055550100", "+33612345678");
        let next_day = "hold until 2026-07-07T13:00:00.000Z for tidings frequency_cap";
        let answer = check(&law, Purpose::Marketing, miami, &three, next_day);
        assert_eq!(
            answer.findings()[0].reason.to_string(),
            "the recipient got as many messages like this as may be by the law of US-FL (Fla. Stat. 501.616(6)(b): 3 in 24 hours), and has a turn again at 2026-07-07T13:00:00.000Z"
        );
        check(&law, Purpose::Marketing, miami, &three[1..], "send");
        check(&law, Purpose::Alert, miami, &three, "send");
        check(&law, Purpose::Marketing, "+12125550100", &three, "send");
        check(&law, Purpose::Marketing, paris, &three, "send");
        // It is kept where the hours of the law are.
        check(&Policy::OPEN, Purpose::Marketing, miami, &three, "send");
        let except = quiet_hours::Policy { except: vec![Country::US], ..Default::default() };
        let except = Policy { quiet_hours: except, ..Policy::OPEN };
        check(&except, Purpose::Marketing, miami, &three, "send");
        // An operator who counts less decides, without the law's name.
        let caps = frequency::Caps { day: 1, week: 0 };
        let own = frequency::Policy { purposes: vec![Purpose::Marketing], caps, beyond: Beyond::Hold };
        let stricter = Policy { frequency: own, ..policy(Outside::Hold) };
        let last = "hold until 2026-07-07T15:00:00.000Z for tidings frequency_cap";
        let answer = check(&stricter, Purpose::Marketing, miami, &three[2..], last);
        assert!(!answer.findings()[0].reason.to_string().contains("law"));
        check(&stricter, Purpose::Marketing, paris, &three[2..], last);
    }

    /// Sunday, 23:00 in Miami; the hours are 08:00 to 20:00, which is 12:00 to 00:00 in UTC.
    #[test]
    fn one_too_many_waits_for_its_turn_and_the_turn_for_the_morning() {
        let capped = |day, week, beyond| Policy {
            frequency: frequency::Policy {
                purposes: vec![Purpose::Marketing],
                caps: frequency::Caps { day, week },
                beyond,
            },
            ..policy(Outside::Hold)
        };
        let check = |policy: &Policy, others: &[&str], at: &str, reasons: &[&str], decision: &str| {
            let others = offers(others);
            let answer = ask(&facts(Purpose::Marketing, "+13055550100", policy).others(&others), time(at));
            let found: Vec<&str> = answer.findings().iter().map(|finding| finding.reason.code()).collect();
            assert_eq!(
                (found.as_slice(), told(answer.decision()).as_str()),
                (reasons, decision),
                "{others:?} {at}"
            );
        };
        let (hold, refuse) = (capped(1, 3, Beyond::Hold), capped(1, 3, Beyond::Refuse));
        let noon = "2026-07-06T16:00:00Z";
        check(&hold, &[], noon, &[], "send");
        check(&hold, &["2026-07-05T16:00:00Z"], noon, &[], "send");
        let cap = &["frequency_cap"];
        let until = |at: &str, why: &str| format!("hold until {at} for tidings {why}");
        let morning = until("2026-07-07T15:00:00.000Z", "frequency_cap");
        check(&hold, &["2026-07-06T15:00:00Z"], noon, cap, &morning);
        check(&refuse, &["2026-07-06T15:00:00Z"], noon, cap, "refuse for frequency_cap");
        // The turn would come at night.
        let night = &["2026-07-06T02:00:00Z"];
        check(&hold, night, noon, cap, &until("2026-07-07T12:00:00.000Z", "frequency_cap"));
        // The morning is open, but there is no turn yet; both are told.
        let both = &["frequency_cap", "quiet_hours"];
        let later = until("2026-07-06T15:00:00.000Z", "quiet_hours");
        check(&hold, &["2026-07-05T15:00:00Z"], "2026-07-06T03:00:00Z", both, &later);
        // What waits for the morning has the turn of then.
        let waits = &["2026-07-06T12:00:00Z"];
        let next = until("2026-07-07T12:00:00.000Z", "quiet_hours");
        check(&hold, waits, "2026-07-06T03:00:00Z", both, &next);
        check(&capped(0, 1, Beyond::Hold), &["2026-07-08T12:00:00Z"], noon, cap, "refuse for frequency_cap");
        let others = offers(&["2026-07-06T15:00:00Z"]);
        let alert = facts(Purpose::Alert, "+13055550100", &hold).others(&others);
        assert_eq!(told(ask(&alert, time(noon)).decision()), "send");
    }

    /// Sunday, 23:00 in Miami; the hours are 08:00 to 20:00, which is 12:00 to 00:00 in UTC.
    #[test]
    fn what_is_beyond_the_day_of_a_sender_waits_for_the_next_one_and_that_for_the_morning() {
        let hold = policy(Outside::Hold);
        let check = |purpose, opens_at: Option<&str>, at: &str, reasons: &[&str], decision: &str| {
            let full = Full { opens_at: opens_at.map(time) };
            let answer = ask(&facts(purpose, "+13055550100", &hold).full(Some(full)), time(at));
            let found: Vec<&str> = answer.findings().iter().map(|finding| finding.reason.code()).collect();
            assert_eq!((found.as_slice(), told(answer.decision()).as_str()), (reasons, decision), "{at}");
        };
        let until = |at: &str, why: &str| format!("hold until {at} for tidings {why}");
        let (day, both) = (&["daily_limit"][..], &["daily_limit", "quiet_hours"][..]);
        let midnight = until("2026-07-07T00:00:00.000Z", "daily_limit");
        check(Purpose::Alert, Some("2026-07-07T00:00:00Z"), "2026-07-06T16:00:00Z", day, &midnight);
        let morning = until("2026-07-07T12:00:00.000Z", "daily_limit");
        check(Purpose::Marketing, Some("2026-07-07T00:00:00Z"), "2026-07-06T16:00:00Z", day, &morning);
        let first = until("2026-07-07T12:00:00.000Z", "quiet_hours");
        check(Purpose::Marketing, Some("2026-07-07T00:00:00Z"), "2026-07-06T03:00:00Z", both, &first);
        check(Purpose::Alert, None, "2026-07-06T16:00:00Z", day, "refuse for daily_limit");
        let reply = Some(Reply { kind: reply::Kind::Help, to: InboundId::from_key(1) });
        let answer = Facts { reply, ..facts(Purpose::Alert, "+13055550100", &hold) };
        let full = Full { opens_at: None };
        assert_eq!(told(ask(&answer.full(Some(full)), answer.created_at).decision()), "send");
    }

    /// It is 03:00 in UTC.
    #[test]
    fn what_is_worth_nothing_when_the_hold_ends_is_refused_and_not_held() {
        let open = Policy::OPEN;
        let check = |purpose, validity_s, opens_at: &str, decision: &str| {
            let full = Full { opens_at: Some(time(opens_at)) };
            let facts = Facts {
                waits_s: waits_s(purpose, validity_s),
                ..facts(purpose, "+13055550100", &open).full(Some(full))
            };
            assert_eq!(told(ask(&facts, facts.created_at).decision()), decision, "{purpose:?} {opens_at}");
        };
        let until = |at: &str| format!("hold until 2026-07-06T{at}.000Z for tidings daily_limit");
        let code = Purpose::Authentication;
        check(code, None, "2026-07-06T03:04:59Z", &until("03:04:59"));
        check(code, None, "2026-07-06T03:05:00Z", "refuse for daily_limit");
        check(code, Some(600), "2026-07-06T03:05:00Z", &until("03:05:00"));
        check(code, Some(60), "2026-07-06T03:01:00Z", "refuse for daily_limit");
        for other in [Purpose::Alert, Purpose::Transactional, Purpose::Marketing] {
            check(other, Some(60), "2026-07-06T23:00:00Z", &until("23:00:00"));
        }
        let quiet_hours = quiet_hours::Policy { purposes: vec![code], ..Default::default() };
        let night = Policy { quiet_hours, ..Policy::OPEN };
        let at_night = Facts { waits_s: Some(300), ..facts(code, "+13055550100", &night) };
        assert_eq!(told(ask(&at_night, at_night.created_at).decision()), "refuse for quiet_hours");
    }

    #[test]
    fn what_goes_beyond_what_may_be_spent_is_refused() {
        let open = Policy::OPEN;
        let beyond = facts(Purpose::Alert, "+13055550100", &open).overspent(Some(Period::Month));
        let answer = ask(&beyond, beyond.created_at);
        assert_eq!(told(answer.decision()), "refuse for month_spent");
        let told = answer.findings()[0].reason.to_string();
        assert_eq!(told, "the account would spend more this month than it may");
    }

    #[test]
    fn what_is_never_open_is_refused() {
        let window = Window::parse("10:00-18:00").unwrap();
        let quiet_hours = quiet_hours::Policy { window, ..Default::default() };
        let narrow = Policy { quiet_hours, ..Policy::OPEN };
        let facts = facts(Purpose::Marketing, "+79161234567", &narrow);
        assert_eq!(told(ask(&facts, facts.created_at).decision()), "refuse for quiet_hours");
    }

    proptest! {
        /// What dispatch relies on: what the gate lets go is open by every clock of its place, and what it holds may go then.
        #[test]
        fn a_message_that_is_held_may_go_when_the_hold_ends_and_not_before(
            area in 201_u64..990, later_s in 0..220_000_000_i64, narrow in any::<bool>(),
            stated in prop::option::of(prop::sample::select(vec!["Pacific/Kiritimati", "Europe/London", "Africa/Cairo", "Pacific/Niue"]))
        ) {
            let window = if narrow { Window::parse("11:30-14:00").unwrap() } else { Window::ALL };
            let quiet_hours = quiet_hours::Policy { window, ..Default::default() };
            let policy = Policy { quiet_hours, ..Policy::OPEN };
            let recipient = PhoneNumber::from_digits(10_005_550_100 + area * 10_000_000).unwrap();
            let stated = stated.and_then(Zone::named);
            let facts = Facts { recipient, ..facts(Purpose::Marketing, "+13055550100", &policy) }.zone(stated);
            let at = time("2024-01-01T00:00:00Z").plus_s(later_s);
            let place = Place::of(recipient).unwrap();
            let hours = match stated {
                Some(zone) => Hours::new(place.week.and(Week::daily(window)), std::slice::from_ref(zone)),
                None => place.hours(window),
            };
            match ask(&facts, at).decision() {
                Decision::Send => prop_assert!(hours.is_open(at)),
                Decision::Hold(hold) => {
                    prop_assert!(hold.until > at && !hours.is_open(at) && hours.is_open(hold.until));
                    prop_assert_eq!(ask(&facts, hold.until).decision(), Decision::Send);
                    prop_assert!(ask(&facts, hold.until.plus_ms(-1)).decision() != Decision::Send);
                }
                // From New York to Honolulu there is no such hour.
                Decision::Refuse(_) => prop_assert!(narrow && hours.opens_at(at).is_none()),
            }
        }
    }
}
