//! The gate: whether a message may go to a person now, and if not, every reason why.
//!
//! One function, [`ask`], for all who want to know: intake before a message is accepted, the store in the transaction that
//! accepts it, dispatch at the last moment before the carrier is touched, a preview, and `tidings explain`. What differs is
//! what each of them can know: [`Facts`] begins with what is known of the message and takes on what was looked up. What a
//! rule does not know it does not hold against anybody, so whoever sends must give all of it.
//!
//! A new rule is a variant of [`Reason`] at its place in the order, a field of [`Facts`] or of [`Policy`] for what it needs,
//! and a line in [`ask`].

use crate::address::PhoneNumber;
use crate::failure::{Failure, FailureClass};
use crate::intake::SendRequest;
use crate::message::Message;
use crate::purpose::Purpose;
use crate::quiet_hours::{self, Closed, Outside};
use crate::reply::Reply;
use crate::suppression;
use crate::time::Timestamp;
use std::fmt;

/// Why a message may not go, in the order in which they are told: what only the person can change comes first, what time
/// cures last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Its recipient is on the suppression list.
    Suppressed(suppression::Reason),
    /// Its recipient must not be disturbed at this time.
    QuietHours(Closed),
}

impl Reason {
    /// The stable word.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Suppressed(reason) => reason.as_str(),
            Self::QuietHours(_) => "quiet_hours",
        }
    }

    /// What a message that it holds or ends is recorded with.
    pub fn failure(&self) -> Failure {
        match self {
            Self::Suppressed(reason) => reason.failure(),
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
            Self::Suppressed(reason) => f.write_str(&reason.failure().detail),
            Self::QuietHours(closed) => closed.fmt(f),
        }
    }
}

/// The code of a message that quiet hours hold or end.
pub const QUIET_HOURS: &str = "tidings quiet_hours";

/// What an operator decides about the gate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// When people must not be disturbed.
    pub quiet_hours: quiet_hours::Policy,
}

impl Policy {
    /// Nothing but what holds everywhere.
    pub const OPEN: Self = Self { quiet_hours: quiet_hours::Policy::OFF };
}

/// What is known where the gate is asked.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Why it is sent.
    pub purpose: Purpose,
    /// To whom.
    pub recipient: PhoneNumber,
    /// What it answers by itself.
    pub reply: Option<Reply>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// Why its recipient is on the suppression list; `None` too where that was not looked up.
    pub suppressed: Option<suppression::Reason>,
    /// What the operator decided.
    pub policy: &'a Policy,
}

impl<'a> Facts<'a> {
    /// What is known of a request, before anything was looked up.
    pub const fn of_request(request: &SendRequest, policy: &'a Policy, now: Timestamp) -> Self {
        Self {
            purpose: request.purpose,
            recipient: request.recipient,
            reply: None,
            created_at: now,
            suppressed: None,
            policy,
        }
    }

    /// What is known of a message, before anything was looked up.
    pub const fn of(message: &Message, policy: &'a Policy) -> Self {
        Self {
            purpose: message.purpose,
            recipient: message.recipient,
            reply: message.reply,
            created_at: message.created_at,
            suppressed: None,
            policy,
        }
    }

    /// With what the suppression list says.
    #[must_use]
    pub const fn suppressed(self, reason: Option<suppression::Reason>) -> Self {
        Self { suppressed: reason, ..self }
    }
}

/// What the gate says of a request at the moment at which it would go, and when that is in the end; `None` if it may not.
pub fn preview(
    request: &SendRequest,
    listed: Option<suppression::Reason>,
    policy: &Policy,
    now: Timestamp,
) -> (Answer, Option<Timestamp>) {
    let at = request.send_at.filter(|at| *at > now).unwrap_or(now);
    let answer = ask(&Facts::of_request(request, policy, now).suppressed(listed), at);
    let sends_at = answer.sends_at(at);
    (answer, sends_at)
}

/// Whether the list stops a message at this moment: what only a transaction that reads the list can ask.
pub fn refuses_listed(
    message: &Message,
    listed: Option<suppression::Reason>,
    at: Timestamp,
) -> Option<suppression::Reason> {
    match ask(&Facts::of(message, &Policy::OPEN).suppressed(listed), at).decision() {
        Decision::Refuse(Reason::Suppressed(reason)) => Some(reason),
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
    let stops = |reason: &suppression::Reason| reason.stops(facts.reply, facts.created_at, at);
    if let Some(reason) = facts.suppressed.filter(stops) {
        found.push(Finding { reason: Reason::Suppressed(reason), holds_until: None });
    }
    let policy = &facts.policy.quiet_hours;
    // Who asked by text a moment ago is not disturbed by the answer.
    let quiet = || Closed::at(policy, facts.purpose, facts.recipient, at);
    if let Some(closed) = if facts.reply.is_none() { quiet() } else { None } {
        let holds_until = closed.opens_at.filter(|_| policy.outside == Outside::Hold);
        found.push(Finding { reason: Reason::QuietHours(closed), holds_until });
    }
    Answer(found)
}
