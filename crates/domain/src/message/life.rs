//! How a life goes on: what follows from each input, arm by arm in the order in which a message meets them.
//!
//! Three rules explain most arms:
//! 1. The intent to submit is committed before the carrier is touched, so a submission without an answer is
//!    *doubtful*, never unknown to us; its [purpose](crate::purpose::Purpose::doubt) decides what happens next.
//! 2. A receipt is the truth, and a final state never changes, but `unconfirmed`, which a late receipt corrects once.
//! 3. A message is as good as its worst segment.

use super::{
    Answer, Input, LATE_RECEIPT_MS, LEASE_MS, Life, NO_ANSWER, Outcome, POISON, RECEIPT_GRACE_MS, Segment,
    State, Status, Terms,
};
use crate::event::{Event, Kind};
use crate::failure::{Failure, FailureClass, Recovery};
use crate::gate::Hold;
use crate::retry::{Jitter, RetryPolicy};
use crate::time::Timestamp;

/// What follows from an input, to be committed with the new life.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// A fact for the timeline, and for webhooks if its kind is public.
    Publish(Event),
    /// The recipient gets nothing more until somebody lifts this.
    Suppress(Failure),
    /// A person must look at this.
    Review(Failure),
    /// The connection itself is refused by its carrier: stop it before it burns the queue.
    PauseConnection(Failure),
}

/// The next life and what to commit with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// The life afterwards.
    pub life: Life,
    /// In order.
    pub effects: Vec<Effect>,
}

/// The input has no meaning in this state: a duplicate, something late, or something for another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ignored;

/// Where randomness and patience come from.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// When to try again, and how often.
    pub retry: &'a RetryPolicy,
    /// A random number for this decision, given by the caller.
    pub jitter: Jitter,
}

impl Life {
    /// A message that waits for its turn.
    pub fn queued(segments: u8, now: Timestamp, send_at: Option<Timestamp>) -> Self {
        let state = match send_at {
            Some(due_at) if due_at > now => State::Scheduled { due_at },
            _ => State::Queued { due_at: now },
        };
        Self {
            state,
            attempt: 0,
            tries: 0,
            resends: 0,
            segments: vec![Segment::Waiting; usize::from(segments)],
        }
    }

    /// The segments that a claim submits, by their places.
    pub fn waiting(&self) -> Vec<u8> {
        let all = self.segments.iter().zip(0..);
        all.filter(|(segment, _)| **segment == Segment::Waiting).map(|(_, n)| n).collect()
    }

    /// The segments whose answer counts as lost now and did not before, by their places.
    pub fn newly_unanswered(&self, before: &Self) -> impl Iterator<Item = u8> {
        let both = before.segments.iter().zip(&self.segments).zip(0..);
        let lost = both.filter(|((was, is), _)| **is == Segment::Unanswered && **was != Segment::Unanswered);
        lost.map(|(_, n)| n)
    }

    /// Says what follows from `input`, or that nothing does.
    ///
    /// # Errors
    /// [`Ignored`] if the input has no meaning here; the caller counts it and changes nothing.
    pub fn apply(
        &self,
        input: Input,
        terms: Terms,
        now: Timestamp,
        rules: Rules<'_>,
    ) -> Result<Transition, Ignored> {
        let mut next = Next { life: self.clone(), effects: Vec::new(), terms, now, rules };
        match (self.state, input) {
            (State::Scheduled { .. } | State::Queued { .. }, Input::Claimed) => next.claim(),
            (State::Scheduled { .. } | State::Queued { .. }, Input::Cancel) => {
                next.end_unsent(State::Canceled, None);
            }
            (State::Scheduled { .. } | State::Queued { .. }, Input::TimeUp) => next.expire_if_over()?,
            (
                State::Scheduled { .. } | State::Queued { .. } | State::Sending { .. },
                Input::Stopped(failure),
            ) => next.stop(failure)?,
            (
                State::Scheduled { .. } | State::Queued { .. } | State::Sending { .. },
                Input::Held { attempt, hold },
            ) if attempt == self.attempt => next.hold(hold)?,

            (
                State::Sending { .. } | State::Doubtful { .. },
                Input::Answered { attempt, segment, answer },
            ) if attempt == self.attempt => {
                next.answered(segment, answer)?;
            }
            // A late answer of an attempt that was given up, or of an earlier one: its id is worth having,
            // because the receipt for it may come. It never undoes what was decided since.
            (_, Input::Answered { segment, answer: Answer::Accepted { carrier_id }, .. }) => {
                next.answered_too_late(segment, carrier_id)?;
            }
            // A late no: what is about to be sent again because nothing was heard was refused after all, or the person
            // said stop to one of two tries. That counts, whatever became of the other.
            (_, Input::Answered { segment, answer: Answer::Refused(failure), .. })
                if is_for_good(&failure) =>
            {
                next.refused_too_late(segment, failure)?;
            }
            (State::Sending { .. }, Input::TimeUp | Input::Orphaned) => next.unanswered(),
            (State::Doubtful { .. }, Input::TimeUp) => next.settle_doubt(),
            (State::Sent { .. }, Input::TimeUp) => next.receipt_missing(),

            (
                State::Queued { .. }
                | State::Sending { .. }
                | State::Doubtful { .. }
                | State::Sent { .. }
                | State::Unconfirmed { .. },
                Input::Receipt { segment, carrier_id, outcome, raw },
            ) => next.receipt(segment, carrier_id, outcome, raw)?,
            (
                State::Scheduled { .. }
                | State::Queued { .. }
                | State::Sending { .. }
                | State::Doubtful { .. }
                | State::Sent { .. },
                Input::Quarantined(failure),
            ) => next.quarantine(failure),
            _ => return Err(Ignored),
        }
        Ok(Transition { life: next.life, effects: next.effects })
    }
}

/// A life being changed: the arms of [`Life::apply`] in the order in which a message meets them.
struct Next<'a> {
    life: Life,
    effects: Vec<Effect>,
    terms: Terms,
    now: Timestamp,
    rules: Rules<'a>,
}

impl Next<'_> {
    fn claim(&mut self) {
        if self.now >= self.terms.expires_at {
            return self.expire();
        }
        for segment in &mut self.life.segments {
            if matches!(segment, Segment::Waiting) {
                *segment = Segment::Submitted;
            }
        }
        self.life.attempt += 1;
        self.life.tries += 1;
        self.life.state = State::Sending { until: self.now.plus_ms(LEASE_MS) };
    }

    fn answered(&mut self, segment: u8, answer: Answer) -> Result<(), Ignored> {
        let place = self.life.segments.get_mut(usize::from(segment)).ok_or(Ignored)?;
        *place = match (&*place, answer) {
            (Segment::Submitted | Segment::Unanswered, Answer::Accepted { carrier_id }) => {
                Segment::Accepted { carrier_id }
            }
            (Segment::Submitted | Segment::Unanswered, Answer::Refused(failure)) => Segment::Refused(failure),
            (Segment::Submitted, Answer::None) => Segment::Unanswered,
            (Segment::Submitted, Answer::Unsent) => Segment::Waiting,
            _ => return Err(Ignored),
        };
        self.conclude();
        Ok(())
    }

    /// Decides once every segment has some answer.
    fn conclude(&mut self) {
        let segments = &self.life.segments;
        if segments.iter().any(|s| matches!(s, Segment::Submitted)) {
            return;
        }
        let refusal = worst_refusal(segments);
        let in_doubt = segments.iter().any(|s| matches!(s, Segment::Unanswered));
        // One segment is refused for good: whatever became of the others, nothing more of it is sent.
        let is_over = refusal.as_ref().is_some_and(is_for_good);
        if in_doubt && !is_over {
            return self.doubt();
        }
        if let Some(failure) = refusal {
            return self.refused(failure);
        }
        if segments.iter().any(|s| matches!(s, Segment::Waiting)) {
            // Some of it never left: that costs no try.
            self.life.tries = self.life.tries.saturating_sub(1);
            self.life.state = State::Queued { due_at: self.now };
            return;
        }
        if self.life.state.status() != Status::Sent {
            self.life.state = State::Sent { until: self.receipts_until() };
            self.publish(Kind::Sent, None, None);
        }
        self.fold(None);
    }

    fn refused(&mut self, failure: Failure) {
        if failure.class == FailureClass::AuthFailed {
            // One wrong password must not burn the queue: the message waits, the connection stops.
            self.effects.push(Effect::PauseConnection(failure.clone()));
            return self.try_again(self.now.plus_s(60), failure, false);
        }
        match failure.recovery() {
            Recovery::Retry if failure.class == FailureClass::RateLimited => self.throttled(failure),
            Recovery::Retry => {
                match self.rules.retry.next_try(self.life.tries, self.now, self.rules.jitter) {
                    Some(due_at) if due_at < self.terms.expires_at => self.try_again(due_at, failure, true),
                    Some(_) => self.end_unsent(State::Expired, Some(failure)),
                    None => self.end_unsent(State::Failed, Some(failure)),
                }
            }
            Recovery::Suppress => {
                self.effects.push(Effect::Suppress(failure.clone()));
                self.end_unsent(State::Rejected, Some(failure));
            }
            Recovery::Review => {
                self.effects.push(Effect::Review(failure.clone()));
                // It was not the carrier that said no.
                let state = if failure.code == POISON { State::Failed } else { State::Rejected };
                self.end_unsent(state, Some(failure));
            }
        }
    }

    /// Too much at once: that costs delay, never a try.
    fn throttled(&mut self, failure: Failure) {
        // Attempts that did not count were throttled (or, rarely, sent again after a doubt).
        let throttlings = (self.life.attempt + 1).saturating_sub(self.life.tries);
        let due_at = self.rules.retry.after_throttling(throttlings, self.now, self.rules.jitter);
        if due_at >= self.terms.expires_at {
            return self.end_unsent(State::Expired, Some(failure));
        }
        self.wait(due_at, false);
        // The timeline and the webhooks hear of the first, and then each time the number has doubled.
        if throttlings.is_power_of_two() {
            self.publish(Kind::Delayed, Some(failure), None);
        }
    }

    fn try_again(&mut self, due_at: Timestamp, failure: Failure, counts: bool) {
        self.wait(due_at, counts);
        self.publish(Kind::Delayed, Some(failure), None);
    }

    fn wait(&mut self, due_at: Timestamp, counts: bool) {
        for segment in &mut self.life.segments {
            if matches!(segment, Segment::Refused(_) | Segment::Unanswered) {
                *segment = Segment::Waiting;
            }
        }
        if !counts {
            self.life.tries = self.life.tries.saturating_sub(1);
        }
        self.life.state = State::Queued { due_at };
    }

    fn unanswered(&mut self) {
        for segment in &mut self.life.segments {
            if matches!(segment, Segment::Submitted) {
                *segment = Segment::Unanswered;
            }
        }
        self.conclude();
    }

    fn doubt(&mut self) {
        let wait_ms = self.terms.purpose.doubt().wait_ms;
        if wait_ms == 0 {
            return self.settle_doubt();
        }
        if !matches!(self.life.state, State::Doubtful { .. }) {
            self.life.state = State::Doubtful { until: self.now.plus_ms(wait_ms) };
            self.publish(Kind::Unanswered, Some(no_answer()), None);
        }
    }

    // query_sm, cancel_sm and replace_sm need the carrier's id, which is what was lost:
    // so only the purpose can decide whether twice is better than perhaps never.
    fn settle_doubt(&mut self) {
        let doubt = self.terms.purpose.doubt();
        let worth_ms = self.terms.expires_at.since_ms(self.now);
        if self.life.resends < doubt.resends && worth_ms > 0 && worth_ms >= doubt.min_life_ms {
            self.life.resends += 1;
            return self.try_again(self.now, no_answer(), false);
        }
        if doubt.review {
            self.effects.push(Effect::Review(no_answer()));
        }
        self.unconfirmed(no_answer(), None);
    }

    fn answered_too_late(&mut self, segment: u8, carrier_id: String) -> Result<(), Ignored> {
        let place = self.life.segments.get_mut(usize::from(segment)).ok_or(Ignored)?;
        match (&*place, self.life.state) {
            // Whichever try it answers: the carrier has the segment, and it need not be sent again.
            (Segment::Submitted | Segment::Unanswered, State::Sending { .. } | State::Doubtful { .. })
            | (Segment::Waiting, State::Queued { .. })
            | (Segment::Unanswered, _) => *place = Segment::Accepted { carrier_id },
            _ => return Err(Ignored),
        }
        self.carrier_has_it();
        Ok(())
    }

    /// A second try would be refused like the first, so it ends here; what else was handed over and not answered stays in
    /// doubt. A refusal that says something of the recipient is kept in any state.
    fn refused_too_late(&mut self, segment: u8, failure: Failure) -> Result<(), Ignored> {
        let place = self.life.segments.get(usize::from(segment)).ok_or(Ignored)?;
        match (place, self.life.state) {
            (Segment::Waiting, State::Queued { .. }) if self.life.resends > 0 => self.refused(failure),
            (Segment::Waiting | Segment::Refused(_), _) => return Err(Ignored),
            _ if failure.recovery() == Recovery::Suppress => self.effects.push(Effect::Suppress(failure)),
            _ => return Err(Ignored),
        }
        Ok(())
    }

    /// The carrier proved to have a segment. If that was the last one that was open, nothing is left to send.
    fn carrier_has_it(&mut self) {
        let nothing_waits = !self.life.segments.iter().any(|s| matches!(s, Segment::Waiting));
        match self.life.state {
            State::Sending { .. } | State::Doubtful { .. } => self.conclude(),
            State::Queued { .. } if nothing_waits => self.conclude(),
            _ => {}
        }
    }

    fn receipts_until(&self) -> Timestamp {
        self.terms.expires_at.max(self.now).plus_ms(RECEIPT_GRACE_MS)
    }

    fn receipt(
        &mut self,
        segment: u8,
        carrier_id: String,
        outcome: Option<Outcome>,
        raw: String,
    ) -> Result<(), Ignored> {
        let place = self.life.segments.get_mut(usize::from(segment)).ok_or(Ignored)?;
        if matches!(place, Segment::Reported { .. }) {
            return Err(Ignored);
        }
        let Some(outcome) = outcome else {
            self.publish(Kind::Progress, None, Some(raw));
            return Ok(());
        };
        *place = Segment::Reported { carrier_id, outcome };
        let all_in = self.life.segments.iter().all(|s| matches!(s, Segment::Reported { .. }));
        if all_in {
            self.fold(Some(raw));
        } else {
            self.publish(Kind::Progress, None, Some(raw));
            // Whether or not its answer reached us.
            self.carrier_has_it();
        }
        Ok(())
    }

    /// The end of the message once every segment has its receipt: as good as the worst of them.
    fn fold(&mut self, raw: Option<String>) {
        let mut worst: Option<&Outcome> = None;
        for segment in &self.life.segments {
            let Segment::Reported { outcome, .. } = segment else { return };
            if worst.is_none_or(|w| outcome.badness() > w.badness()) {
                worst = Some(outcome);
            }
        }
        let Some(worst) = worst.cloned() else { return };
        self.reported(worst, raw);
    }

    fn reported(&mut self, outcome: Outcome, raw: Option<String>) {
        match outcome {
            Outcome::Delivered => self.end(State::Delivered, None, raw),
            Outcome::Expired(failure) => self.end(State::Expired, Some(failure), raw),
            Outcome::Undelivered(failure) => {
                self.recover_from(&failure);
                self.end(State::Undelivered, Some(failure), raw);
            }
            Outcome::Rejected(failure) => {
                self.recover_from(&failure);
                self.end(State::Rejected, Some(failure), raw);
            }
            // "Unknown" is a third answer: neither delivered nor failed.
            Outcome::Unknown(failure) => {
                self.effects.push(Effect::Review(failure.clone()));
                self.unconfirmed(failure, raw);
            }
        }
    }

    fn recover_from(&mut self, failure: &Failure) {
        match failure.recovery() {
            // The carrier tried for as long as the message was valid; another try is the caller's decision.
            Recovery::Retry => {}
            Recovery::Suppress => self.effects.push(Effect::Suppress(failure.clone())),
            Recovery::Review => self.effects.push(Effect::Review(failure.clone())),
        }
    }

    fn receipt_missing(&mut self) {
        let reported = self.life.segments.iter().filter_map(|s| match s {
            Segment::Reported { outcome, .. } if outcome.badness() > 1 => Some(outcome),
            _ => None,
        });
        match reported.max_by_key(|outcome| outcome.badness()).cloned() {
            // One segment is known not to have arrived: the rest cannot mend that.
            Some(outcome) => self.reported(outcome, None),
            None => self.unconfirmed(
                Failure::new(
                    FailureClass::UnknownError,
                    true,
                    "tidings no_receipt",
                    "the carrier never said what became of it",
                ),
                None,
            ),
        }
    }

    fn unconfirmed(&mut self, failure: Failure, raw: Option<String>) {
        if matches!(self.life.state, State::Unconfirmed { .. }) {
            return;
        }
        self.end(State::Unconfirmed { until: self.now.plus_ms(LATE_RECEIPT_MS) }, Some(failure), raw);
    }

    fn stop(&mut self, failure: Failure) -> Result<(), Ignored> {
        // What an earlier attempt brought to the carrier is there, and the rest will not follow.
        self.before_it_leaves()?;
        self.end_unsent(State::Rejected, Some(failure));
        Ok(())
    }

    /// A rule of ours speaks at the last moment: none of the segments that waited has gone out.
    fn before_it_leaves(&self) -> Result<(), Ignored> {
        let answered =
            self.life.segments.iter().any(|s| matches!(s, Segment::Refused(_) | Segment::Unanswered));
        if answered && !self.life.state.is_waiting() { Err(Ignored) } else { Ok(()) }
    }

    fn hold(&mut self, hold: Hold) -> Result<(), Ignored> {
        self.before_it_leaves()?;
        if hold.until >= self.terms.expires_at {
            self.end_unsent(State::Expired, Some(hold.why));
            return Ok(());
        }
        if !self.life.state.is_waiting() {
            // The claim led to nothing: that costs no try.
            self.life.tries = self.life.tries.saturating_sub(1);
            for segment in &mut self.life.segments {
                if matches!(segment, Segment::Submitted) {
                    *segment = Segment::Waiting;
                }
            }
        }
        self.life.state = match self.life.state {
            State::Scheduled { .. } => State::Scheduled { due_at: hold.until },
            _ => State::Queued { due_at: hold.until },
        };
        self.publish(Kind::Delayed, Some(hold.why), None);
        Ok(())
    }

    /// Nothing more is tried with it. What was handed over may be at the carrier, so only what waits is known not to be.
    fn quarantine(&mut self, failure: Failure) {
        self.effects.push(Effect::Review(failure.clone()));
        if self.life.state.is_waiting() {
            self.end_unsent(State::Failed, Some(failure));
        } else {
            self.unconfirmed(failure, None);
        }
    }

    fn expire_if_over(&mut self) -> Result<(), Ignored> {
        if self.now < self.terms.expires_at {
            return Err(Ignored);
        }
        self.expire();
        Ok(())
    }

    fn expire(&mut self) {
        let failure = match self.life.resends {
            0 => Failure::new(
                FailureClass::UnknownError,
                true,
                "tidings expired",
                "it could not be sent in its time",
            ),
            _ => no_answer(),
        };
        self.end_unsent(State::Expired, Some(failure));
    }

    /// The end of a message that was not sent, as far as we know. If an earlier submission was never answered, we do
    /// not know: then the carrier may have it, and only a receipt could say more.
    fn end_unsent(&mut self, state: State, failure: Option<Failure>) {
        if self.life.resends > 0 {
            return self.unconfirmed(failure.unwrap_or_else(no_answer), None);
        }
        self.end(state, failure, None);
    }

    fn end(&mut self, state: State, failure: Option<Failure>, raw: Option<String>) {
        self.life.state = state;
        self.publish(Kind::of(state.status()), failure, raw);
    }

    fn publish(&mut self, kind: Kind, failure: Option<Failure>, raw: Option<String>) {
        let due_at = if self.life.state.is_waiting() { self.life.state.wakes_at() } else { None };
        self.effects.push(Effect::Publish(Event {
            kind,
            status: self.life.state.status(),
            attempt: self.life.attempt,
            at: self.now,
            due_at,
            failure: failure.map(|failure| Failure { unreached: false, ..failure }),
            raw,
        }));
    }
}

/// Whether a refusal ends the message. One of our credentials says nothing about it.
fn is_for_good(failure: &Failure) -> bool {
    failure.recovery() != Recovery::Retry && failure.class != FailureClass::AuthFailed
}

/// The refusal that decides: a lasting one before one of our credentials, and that before a passing one.
fn worst_refusal(segments: &[Segment]) -> Option<Failure> {
    let refusals = segments.iter().filter_map(|s| match s {
        Segment::Refused(failure) => Some(failure),
        _ => None,
    });
    refusals.max_by_key(|failure| (is_for_good(failure), failure.recovery() != Recovery::Retry)).cloned()
}

fn no_answer() -> Failure {
    Failure::new(
        FailureClass::UnknownError,
        true,
        NO_ANSWER,
        "the carrier did not answer, so it may or may not have the message",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::poison;
    use crate::purpose::Purpose;

    /// One line a story: purpose and number of segments; inputs with the second at which they come; the state at
    /// the end, then what was committed beside it.
    fn check(stories: &str) {
        for line in stories.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (start, rest) = line.split_once(':').expect("purpose segments: …");
            let (inputs, expected) = rest.split_once("->").expect("inputs -> end");
            let expected = expected.split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(tell(start.trim(), inputs.trim()), expected, "{line}");
        }
    }

    fn tell(start: &str, inputs: &str) -> String {
        let (purpose, segments) = start.split_once(' ').expect("purpose segments");
        let purpose = Purpose::parse(purpose).expect("a purpose");
        let (segments, send_at) = match segments.split_once('@') {
            Some((segments, at)) => {
                (segments, Some(Timestamp::from_millis(0).plus_s(at.parse().expect("seconds"))))
            }
            None => (segments, None),
        };
        let terms = Terms { purpose, expires_at: Timestamp::from_millis(0).plus_s(purpose.default_life_s()) };
        let policy = RetryPolicy { max_tries: 3, ..RetryPolicy::default() };
        let rules = Rules { retry: &policy, jitter: Jitter(u32::MAX) };
        let mut life = Life::queued(segments.parse().expect("a number"), Timestamp::from_millis(0), send_at);
        let mut effects = Vec::new();
        for word in inputs.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let (word, second) = word.split_once('@').unwrap_or((word, "0"));
            let now = Timestamp::from_millis(0).plus_s(second.trim().parse().expect("a second"));
            match life.apply(input(word.trim(), &life), terms, now, rules) {
                Ok(transition) => {
                    life = transition.life;
                    effects.extend(transition.effects.iter().map(effect));
                }
                Err(Ignored) => effects.push("ignored".to_owned()),
            }
        }
        let second = |at: Timestamp| at.as_millis() / 1000;
        let state = match life.state {
            State::Scheduled { due_at } => format!("scheduled@{}", second(due_at)),
            State::Queued { due_at } => format!("queued@{}", second(due_at)),
            State::Sending { .. } => format!("sending#{}", life.attempt),
            State::Doubtful { until } => format!("doubtful@{}", second(until)),
            State::Sent { until } => format!("sent@{}", second(until)),
            other => other.status().as_str().to_owned(),
        };
        [vec![state], effects].concat().join(" ")
    }

    fn input(word: &str, life: &Life) -> Input {
        let mut words = word.split(' ');
        let verb = words.next().expect("a verb");
        let segment: u8 = words.next().map_or(0, |n| n.parse().expect("a segment"));
        let carrier_id = format!("id{segment}");
        let failure = |class, transient| Failure::new(class, transient, "c", "d");
        let answer = |answer| Input::Answered { attempt: life.attempt, segment, answer };
        let receipt = |outcome| Input::Receipt {
            segment,
            carrier_id: format!("id{segment}"),
            outcome,
            raw: "r".into(),
        };
        match verb {
            "claim" => Input::Claimed,
            "accepted" => answer(Answer::Accepted { carrier_id }),
            "filtered-old" => Input::Answered {
                attempt: life.attempt - 1,
                segment,
                answer: Answer::Refused(failure(FailureClass::Filtered, false)),
            },
            "accepted-old" => Input::Answered {
                attempt: life.attempt - 1,
                segment,
                answer: Answer::Accepted { carrier_id },
            },
            "throttled" => answer(Answer::Refused(failure(FailureClass::RateLimited, true))),
            "busy" => answer(Answer::Refused(failure(FailureClass::UnknownError, true))),
            "bad-number" => answer(Answer::Refused(failure(FailureClass::InvalidNumber, false))),
            "opted-out" => answer(Answer::Refused(failure(FailureClass::OptedOut, false))),
            "filtered" => answer(Answer::Refused(failure(FailureClass::Filtered, false))),
            "denied" => answer(Answer::Refused(failure(FailureClass::AuthFailed, false))),
            "no-answer" => answer(Answer::None),
            "unsent" => answer(Answer::Unsent),
            "delivered" => receipt(Some(Outcome::Delivered)),
            "on-its-way" => receipt(None),
            "absent" => receipt(Some(Outcome::Undelivered(failure(FailureClass::UnknownError, true)))),
            "no-such" => receipt(Some(Outcome::Undelivered(failure(FailureClass::InvalidNumber, false)))),
            "blocked" => receipt(Some(Outcome::Rejected(failure(FailureClass::Filtered, false)))),
            "too-late" => receipt(Some(Outcome::Expired(failure(FailureClass::UnknownError, true)))),
            "who-knows" => receipt(Some(Outcome::Unknown(failure(FailureClass::UnknownError, false)))),
            "time" => Input::TimeUp,
            "orphan" => Input::Orphaned,
            "cancel" => Input::Cancel,
            "stop" => Input::Stopped(failure(FailureClass::OptedOut, false)),
            "hold" | "hold-old" => Input::Held {
                attempt: life.attempt - u32::from(verb == "hold-old"),
                hold: Hold {
                    until: Timestamp::from_millis(0).plus_s(i64::from(segment) * 100),
                    why: failure(FailureClass::UnknownError, true),
                },
            },
            "quarantine" => Input::Quarantined(poison("handling")),
            "uncodable" => answer(Answer::Refused(poison("encoding"))),
            other => panic!("no such input: {other}"),
        }
    }

    fn effect(effect: &Effect) -> String {
        match effect {
            Effect::Publish(event) => format!("+{}", &event.kind.as_str()["message.".len()..]),
            Effect::Suppress(_) => "suppress".to_owned(),
            Effect::Review(_) => "review".to_owned(),
            Effect::PauseConnection(_) => "pause".to_owned(),
        }
    }

    #[test]
    fn the_good_day() {
        check(
            "
            transactional 1: claim                                    -> sending#1
            transactional 1: claim, accepted                          -> sent@7245 +sent
            transactional 1: claim, accepted, on-its-way, delivered   -> delivered +sent +progress +delivered
            transactional 1@60:                                       -> scheduled@60
            transactional 1@60: claim@60, accepted@60                 -> sent@7245 +sent
            transactional 2: claim, accepted 0                        -> sending#1
            transactional 2: claim, accepted 0, accepted 1, delivered 1, delivered 0 -> delivered +sent +progress +delivered
            ",
        );
    }

    #[test]
    fn refusals_go_one_of_three_ways() {
        check(
            "
            transactional 1: claim, throttled                         -> queued@2 +delayed
            transactional 1: claim, throttled, claim@2, throttled@2, claim@6, throttled@6, claim@14, throttled@14 -> queued@30 +delayed +delayed +delayed
            transactional 1: claim, busy                              -> queued@15 +delayed
            transactional 1: claim, busy, claim@15, busy@15           -> queued@45 +delayed +delayed
            transactional 1: claim, busy, claim@15, busy@15, claim@45, busy@45 -> failed +delayed +delayed +failed
            authentication 1: claim@299, busy@299                     -> expired +expired
            transactional 1: claim, bad-number                        -> rejected suppress +rejected
            transactional 1: claim, opted-out                         -> rejected suppress +rejected
            transactional 1: claim, filtered                          -> rejected review +rejected
            transactional 1: claim, denied                            -> queued@60 pause +delayed
            transactional 1: claim, unsent                            -> queued@0
            transactional 2: claim, accepted 0, busy 1, claim@15      -> sending#2 +delayed
            transactional 2: claim, accepted 0, busy 1, claim@15, accepted 1@15 -> sent@7245 +delayed +sent
            transactional 2: claim, accepted 0, filtered 1            -> rejected review +rejected
            transactional 2: claim, filtered 0, denied 1              -> rejected review +rejected
            marketing 2: claim, opted-out 0, denied 1                 -> rejected suppress +rejected
            marketing 2: claim, busy 0, denied 1                      -> queued@60 pause +delayed
            alert 2: claim, no-answer 0, opted-out 1                  -> rejected suppress +rejected
            marketing 2: claim, no-answer 0, filtered 1               -> rejected review +rejected
            marketing 2: claim, no-answer 0, denied 1                 -> unconfirmed +unconfirmed
            alert 2: claim, no-answer 0, busy 1, time@5               -> queued@5 +unanswered +delayed
            ",
        );
    }

    #[test]
    fn an_answer_that_never_came_is_settled_by_the_purpose() {
        check(
            "
            marketing 1: claim, no-answer                             -> unconfirmed +unconfirmed
            marketing 1: claim, no-answer, delivered                  -> delivered +unconfirmed +delivered
            marketing 1: claim, orphan                                -> unconfirmed +unconfirmed
            transactional 1: claim, no-answer                         -> doubtful@120 +unanswered
            transactional 1: claim, no-answer, accepted@9             -> sent@7245 +unanswered +sent
            transactional 1: claim, no-answer, time@120               -> unconfirmed +unanswered review +unconfirmed
            transactional 1: claim, no-answer, time@120, accepted@130, delivered@140 -> delivered +unanswered review +unconfirmed +delivered
            authentication 1: claim, no-answer, time@5                -> queued@5 +unanswered +delayed
            authentication 1: claim, no-answer, time@5, accepted@6    -> sent@345 +unanswered +delayed +sent
            authentication 1: claim, no-answer, time@5, claim@5, accepted-old@6 -> sent@345 +unanswered +delayed +sent
            authentication 1: claim, no-answer, time@5, claim@5, accepted-old@6, no-answer@9 -> sent@345 +unanswered +delayed +sent ignored
            alert 1: claim, no-answer, time@5, claim@5, no-answer@6, accepted-old@7 -> sent@3645 +unanswered +delayed +unanswered +sent
            alert 2: claim, no-answer 0, no-answer 1, time@5, accepted 0@6 -> queued@5 +unanswered +delayed
            authentication 1: claim, no-answer, time@5, claim@5, no-answer@5, time@10 -> unconfirmed +unanswered +delayed +unanswered +unconfirmed
            authentication 1: claim@250, no-answer@250, time@255      -> unconfirmed +unanswered +unconfirmed
            alert 1: claim, no-answer, time@5, claim@5, no-answer@5, time@10 -> queued@10 +unanswered +delayed +unanswered +delayed
            alert 1: claim@3599, no-answer@3599, time@3604            -> unconfirmed +unanswered +unconfirmed
            alert 1: claim, no-answer, time@5, time@3600              -> unconfirmed +unanswered +delayed +unconfirmed
            alert 1: claim, no-answer, time@5, cancel@6               -> unconfirmed +unanswered +delayed +unconfirmed
            alert 1: claim, no-answer, time@5, filtered@6             -> unconfirmed +unanswered +delayed review +unconfirmed
            alert 1: claim, no-answer, time@5, opted-out@6            -> unconfirmed +unanswered +delayed suppress +unconfirmed
            alert 1: claim, no-answer, time@5, busy@6, denied@6       -> queued@5 +unanswered +delayed ignored ignored
            alert 1: claim, no-answer, time@5, claim@6, filtered-old@6, accepted@7 -> sent@3645 +unanswered +delayed ignored +sent
            alert 2: claim, no-answer 0, accepted 1, time@5, filtered 1@6 -> queued@5 +unanswered +delayed ignored
            alert 1: claim, busy, filtered@6                          -> queued@15 +delayed ignored
            alert 1: claim, no-answer, time@5, claim@5, delivered@5, opted-out@6 -> delivered +unanswered +delayed +delivered suppress
            alert 1: claim, no-answer, time@5, claim@5, delivered@5, filtered@6 -> delivered +unanswered +delayed +delivered ignored
            marketing 1: claim, no-answer, opted-out@6                -> unconfirmed +unconfirmed suppress
            marketing 1: claim, opted-out, opted-out                  -> rejected suppress +rejected ignored
            alert 1: claim, no-answer, time@5, claim@6, filtered@6    -> unconfirmed +unanswered +delayed review +unconfirmed
            alert 1: claim, no-answer, time@5, claim@6, stop@6        -> unconfirmed +unanswered +delayed +unconfirmed
            alert 1: claim, no-answer, time@5, cancel@6, delivered@7  -> delivered +unanswered +delayed +unconfirmed +delivered
            transactional 2: claim, accepted 0, no-answer 1, delivered 1 -> sent@7245 +unanswered +progress +sent
            alert 2: claim, no-answer 0, accepted 1, time@5, delivered 0@6 -> sent@3645 +unanswered +delayed +progress +sent
            alert 2: claim, no-answer 0, no-answer 1, time@5, delivered 0@6 -> queued@5 +unanswered +delayed +progress
            ",
        );
    }

    #[test]
    fn receipts_are_the_truth_and_nothing_goes_backwards() {
        check(
            "
            transactional 1: claim, accepted, delivered, absent       -> delivered +sent +delivered ignored
            transactional 1: claim, accepted, delivered, delivered    -> delivered +sent +delivered ignored
            transactional 1: claim, accepted, absent                  -> undelivered +sent +undelivered
            transactional 1: claim, accepted, no-such                 -> undelivered +sent suppress +undelivered
            transactional 1: claim, accepted, blocked                 -> rejected +sent review +rejected
            transactional 1: claim, accepted, too-late                -> expired +sent +expired
            transactional 1: claim, accepted, who-knows               -> unconfirmed +sent review +unconfirmed
            transactional 1: claim, accepted, time@7245               -> unconfirmed +sent +unconfirmed
            transactional 1: claim, accepted, time@7245, delivered@8000 -> delivered +sent +unconfirmed +delivered
            transactional 2: claim, accepted 0, accepted 1, delivered 0, absent 1 -> undelivered +sent +progress +undelivered
            transactional 2: claim, accepted 0, accepted 1, absent 1, delivered 0 -> undelivered +sent +progress +undelivered
            transactional 2: claim, accepted 0, accepted 1, absent 1, time@7245   -> undelivered +sent +progress +undelivered
            transactional 2: claim, accepted 0, accepted 1, delivered 1, time@7245 -> unconfirmed +sent +progress +unconfirmed
            ",
        );
    }

    /// P-14
    #[test]
    fn a_poison_ends_as_failed_where_it_never_left_and_as_unconfirmed_where_it_may_have() {
        check(
            "
            transactional 1: quarantine                               -> failed review +failed
            transactional 1@60: quarantine                            -> failed review +failed
            transactional 1: claim, unsent, quarantine                -> failed review +failed
            marketing 1: claim, quarantine                            -> unconfirmed review +unconfirmed
            alert 1: claim, no-answer, quarantine                     -> unconfirmed +unanswered review +unconfirmed
            alert 1: claim, no-answer, time@5, quarantine@5           -> unconfirmed +unanswered +delayed review +unconfirmed
            alert 1: claim, accepted, quarantine, delivered           -> delivered +sent review +unconfirmed +delivered
            alert 1: claim, uncodable                                 -> failed review +failed
            alert 2: claim, accepted 0, uncodable 1                   -> failed review +failed
            alert 1: cancel, quarantine                               -> canceled +canceled ignored
            ",
        );
    }

    #[test]
    fn people_and_clocks_may_stop_what_was_not_sent() {
        check(
            "
            transactional 1: cancel                                   -> canceled +canceled
            transactional 1@60: cancel                                -> canceled +canceled
            transactional 1: claim, cancel                            -> sending#1 ignored
            transactional 1: time@7200                                -> expired +expired
            transactional 1: time@7199                                -> queued@0 ignored
            transactional 1: claim@7200                               -> expired +expired
            transactional 1: stop                                     -> rejected +rejected
            transactional 1: claim, stop                              -> rejected +rejected
            transactional 1: claim, accepted, stop                    -> sent@7245 +sent ignored
            transactional 2: claim, accepted 0, busy 1, claim@15, stop@15 -> rejected +delayed +rejected
            ",
        );
    }

    /// The number is the moment until which it is held, in hundreds of seconds.
    #[test]
    fn a_rule_may_hold_what_was_not_sent_and_that_costs_no_try() {
        check(
            "
            transactional 1@60: hold 3                                -> scheduled@300 +delayed
            transactional 1@60: hold 3, claim@300, accepted@300       -> sent@7245 +delayed +sent
            transactional 1: claim, hold 3                            -> queued@300 +delayed
            transactional 1: claim, hold 3, claim@300, accepted@300   -> sent@7245 +delayed +sent
            transactional 1: claim, hold 1, claim@100, hold 2, claim@200, busy@200, claim@215, busy@215 -> queued@245 +delayed +delayed +delayed +delayed
            transactional 1: claim, hold 72                           -> expired +expired
            transactional 1: claim, hold 71                           -> queued@7100 +delayed
            transactional 1@60: hold 72                               -> expired +expired
            transactional 2: claim, accepted 0, busy 1, claim@15, hold 3 -> queued@300 +delayed +delayed
            transactional 2: claim, accepted 0, busy 1, claim@15, hold 3, claim@300 -> sending#3 +delayed +delayed
            transactional 1: claim, hold 3, cancel                    -> canceled +delayed +canceled
            transactional 1: claim, hold 3, stop                      -> rejected +delayed +rejected
            transactional 1: claim, accepted, hold 3                  -> sent@7245 +sent ignored
            transactional 2: claim, no-answer 0, hold 3               -> sending#1 ignored
            alert 1: claim, no-answer, time@5, claim@5, hold 3@5      -> queued@300 +unanswered +delayed +delayed
            alert 1: claim, no-answer, time@5, claim@5, hold 3@5, accepted-old@6 -> sent@3645 +unanswered +delayed +delayed +sent
            alert 1: claim, no-answer, time@5, claim@5, hold 72@5     -> unconfirmed +unanswered +delayed +unconfirmed
            alert 1: claim, no-answer, time@5, claim@5, hold-old 3@5  -> sending#2 +unanswered +delayed ignored
            ",
        );
    }
}
