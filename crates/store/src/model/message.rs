//! Messages: everything that happens to them on their way. How they come in is in `accept.rs`, how they wait in `queue.rs`, and
//! what is read of them in `read.rs`.
//!
//! Read [`Commit::apply`] for the heart: look at the life, let the domain decide, put what it says.

mod accept;
mod queue;
mod read;

use super::Tables;
use super::event::Subject;
use super::node::Queued;
use crate::backend::*;
use crate::carriers::Lines;
use crate::{ByPurpose, Carriers, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::conversation::is_lost;
use tidings_domain::failure::Failure;
use tidings_domain::frequency::Other;
use tidings_domain::id::*;
use tidings_domain::message::{Answer, Effect, Input, Life, Message, Rules, State, Status};
use tidings_domain::purpose::Purpose;
use tidings_domain::queue::{Paces, Queue};
use tidings_domain::reachability;
use tidings_domain::receipt::{
    self, Candidate, Receipt, expected_form, is_certain, is_reference, our_reference, reference_form,
};
use tidings_domain::retry::{Jitter, RetryPolicy};
use tidings_domain::time::Timestamp;

/// Everything about messages, with the indexes that each operation needs.
#[derive(Debug, Clone, Default)]
pub(super) struct Messages {
    rows: BTreeMap<MessageId, Row>,
    queue: Queues,
    /// How many stand in a connection's queue.
    pub waiting: BTreeMap<AccountId, ByPurpose>,
    /// Those that a connection holds and has not been answered for.
    sending: BTreeSet<MessageId>,
    /// Which connections share their receipts.
    carriers: Arc<Carriers>,
    outstanding: Outstanding,
    parked: ParkedReceipts,
    batches: BTreeMap<BatchId, Call>,
    idempotency: BTreeMap<[u8; 32], Remembered>,
    idempotency_by_age: BTreeSet<(Timestamp, [u8; 32])>,
}

#[derive(Debug, Clone)]
struct Row {
    /// Without its text.
    message: Message,
    text: Option<String>,
    life: Life,
    /// Its place in [`Messages::due`]; `None` once it waits for nothing.
    due: Option<Due>,
    failure: Option<Failure>,
    updated_at: Timestamp,
}

impl Row {
    fn message(&self) -> Message {
        Message { text: self.text.clone(), ..self.message.clone() }
    }

    fn stored(&self) -> Stored {
        Stored {
            message: self.message(),
            life: self.life.clone(),
            failure: self.failure.clone(),
            updated_at: self.updated_at,
        }
    }

    /// It is unconfirmed, and the time for a receipt that corrects that is over.
    fn is_given_up(&self) -> bool {
        self.due.is_none() && matches!(self.life.state, State::Unconfirmed { .. })
    }
}

/// In a queue, or to be looked at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    LookAgain,
    Of(Queue),
}

/// Where and when a message is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    lane: Lane,
    purpose: Purpose,
    due_at: Timestamp,
    message: MessageId,
}

impl Due {
    fn of(message: &Message, state: &State, paces: &Paces) -> Option<Self> {
        let lane = if state.is_waiting() { Lane::Of(paces.queue_of(message)) } else { Lane::LookAgain };
        let due_at = state.wakes_at()?;
        Some(Self { lane, purpose: message.purpose, due_at, message: message.id })
    }

    /// The bounds of everything of this lane and purpose that is due.
    fn until(lane: Lane, purpose: Purpose, now: Timestamp) -> std::ops::RangeInclusive<Self> {
        let first = Timestamp::from_millis(i64::MIN);
        let at = |due_at, message| Self { lane, purpose, due_at, message: MessageId::from_key(message) };
        at(first, i64::MIN)..=at(now, i64::MAX)
    }
}

/// What waits: one entry for each message that waits for anything.
#[derive(Debug, Clone, Default)]
struct Queues {
    /// The senders whose messages wait in queues of their own.
    paces: Arc<Paces>,
    /// The most urgent of a lane first.
    due: BTreeSet<Due>,
    /// Those that stand in a connection's queue, by when they expire.
    expiring: BTreeSet<(Timestamp, Due)>,
    /// What was put into connections' queues and not yet told.
    queued: Queued,
}

impl Queues {
    fn put(&mut self, due: Due, expires_at: Timestamp) {
        self.due.insert(due);
        if let Lane::Of(queue) = due.lane {
            self.expiring.insert((expires_at, due));
            let earliest = self.queued.entry(queue).or_insert(due.due_at);
            *earliest = due.due_at.min(*earliest);
        }
    }

    fn take(&mut self, due: Due, expires_at: Timestamp) {
        self.due.remove(&due);
        if due.lane != Lane::LookAgain {
            self.expiring.remove(&(expires_at, due));
        }
    }

    /// The queues of a connection in which anything waits.
    fn of(&self, connection: ConnectionId) -> BTreeSet<Queue> {
        let queues = self.due.iter().filter_map(|due| match due.lane {
            Lane::Of(queue) => Some(queue),
            Lane::LookAgain => None,
        });
        queues.filter(|queue| queue.connection() == connection).collect()
    }

    /// The first that is due in a queue.
    fn first(&self, queue: Queue, now: Timestamp) -> Option<MessageId> {
        let of = |purpose| self.due.range(Due::until(Lane::Of(queue), purpose, now)).next();
        Purpose::ALL.into_iter().find_map(of).map(|due| due.message)
    }

    /// Those whose moment has come.
    fn to_look_at(&self, now: Timestamp) -> impl Iterator<Item = MessageId> + '_ {
        let of = move |purpose| self.due.range(Due::until(Lane::LookAgain, purpose, now));
        Purpose::ALL.into_iter().flat_map(of).map(|due| due.message)
    }

    /// Those that expired in their queue.
    fn expired(&self, now: Timestamp) -> impl Iterator<Item = MessageId> + '_ {
        self.expiring.iter().take_while(move |(at, _)| *at <= now).map(|(_, due)| due.message)
    }
}

/// Segments for which a receipt may come, by the form of their id: with the carrier's id as it was answered.
#[derive(Debug, Clone, Default)]
struct Outstanding {
    by_line: BTreeMap<i64, BTreeMap<String, Segments>>,
}

type Segments = BTreeMap<(MessageId, u8), String>;

impl Outstanding {
    fn expect(&mut self, line: i64, form: String, segment: (MessageId, u8), carrier_id: &str) {
        let forms = self.by_line.entry(line).or_default();
        forms.entry(form).or_default().insert(segment, carrier_id.to_owned());
    }

    fn forget(&mut self, line: i64, form: &str, segment: (MessageId, u8)) {
        let Some(forms) = self.by_line.get_mut(&line) else { return };
        let Some(segments) = forms.get_mut(form) else { return };
        segments.remove(&segment);
        if segments.is_empty() {
            forms.remove(form);
        }
    }

    fn under(&self, line: i64, form: &str) -> impl Iterator<Item = (&(MessageId, u8), &String)> + use<'_> {
        self.by_line.get(&line).and_then(|forms| forms.get(form)).into_iter().flatten()
    }
}

/// Receipts that belong to nobody yet, in the order in which they came.
#[derive(Debug, Clone, Default)]
struct ParkedReceipts {
    rows: BTreeMap<u64, Parked>,
    by_form: BTreeMap<i64, BTreeMap<String, BTreeSet<u64>>>,
    ever: u64,
}

#[derive(Debug, Clone)]
struct Parked {
    lines: Lines,
    forms: Vec<String>,
    receipt: Receipt,
    at: Timestamp,
}

impl ParkedReceipts {
    fn park(&mut self, lines: Lines, receipt: Receipt, now: Timestamp) {
        let forms: Vec<String> = receipt::forms(&receipt).collect();
        if forms.is_empty() {
            // Its id has no form in which an answer could have given it.
            return;
        }
        self.ever += 1;
        let of_line = self.by_form.entry(lines.filed).or_default();
        for form in &forms {
            of_line.entry(form.clone()).or_default().insert(self.ever);
        }
        self.rows.insert(self.ever, Parked { lines, forms, receipt, at: now });
    }

    fn unpark(&mut self, number: u64) {
        let Some(parked) = self.rows.remove(&number) else { return };
        let Some(of_line) = self.by_form.get_mut(&parked.lines.filed) else { return };
        for form in &parked.forms {
            let Some(numbers) = of_line.get_mut(form) else { continue };
            numbers.remove(&number);
            if numbers.is_empty() {
                of_line.remove(form);
            }
        }
    }

    /// Those that were parked under this form since then.
    fn under(&self, line: i64, form: &str, since: Timestamp) -> Vec<u64> {
        let numbers = self.by_form.get(&line).and_then(|of_line| of_line.get(form));
        let numbers = numbers.into_iter().flatten().copied();
        numbers.filter(|number| self.rows.get(number).is_some_and(|parked| parked.at >= since)).collect()
    }
}

#[derive(Debug, Clone)]
struct Call {
    realm: Realm,
    created_at: Timestamp,
    asked: u32,
    members: Vec<MessageId>,
}

#[derive(Debug, Clone)]
struct Remembered {
    fingerprint: [u8; 32],
    answer: Vec<u8>,
    at: Timestamp,
}

impl Messages {
    /// When messages of some purposes come up that wait for a person in a queue.
    pub(super) fn waiting_for(
        &self,
        realm: Realm,
        recipient: PhoneNumber,
        purposes: &[Purpose],
    ) -> impl Iterator<Item = (i64, Other)> {
        let of_person = move |row: &&Row| {
            let message = &row.message;
            row.life.state.is_waiting()
                && (message.realm(), message.recipient) == (realm, recipient)
                && purposes.contains(&message.purpose)
        };
        self.rows.values().filter(of_person).filter_map(|row| {
            let Message { id, purpose, .. } = row.message;
            Some((id.key(), Other { at: row.due.as_ref()?.due_at, purpose }))
        })
    }

    /// What does not change about a message, without the text.
    pub(super) fn unchanging(&self, id: MessageId) -> Option<&Message> {
        self.rows.get(&id).map(|row| &row.message)
    }

    /// What was put into connections' queues since this was last asked, the earliest of each.
    pub(super) fn take_queued(&mut self) -> Queued {
        std::mem::take(&mut self.queue.queued)
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.queue.due.iter().take_while(|due| due.lane == Lane::LookAgain).count() as u64
    }

    pub(super) fn parked(&self) -> u64 {
        self.parked.rows.len() as u64
    }

    /// For each connection and purpose with anything in its queues: how many are due, and the first due time.
    pub(super) fn queues(&self, now: Timestamp) -> Vec<(ConnectionId, Purpose, u64, Option<Timestamp>)> {
        let mut queues: BTreeMap<(ConnectionId, Purpose), (u64, Option<Timestamp>)> = BTreeMap::new();
        for due in &self.queue.due {
            let Lane::Of(queue) = due.lane else { continue };
            let (waiting, oldest) = queues.entry((queue.connection(), due.purpose)).or_default();
            if due.due_at <= now {
                *waiting += 1;
                *oldest = [*oldest, Some(due.due_at)].into_iter().flatten().min();
            }
        }
        let all = queues.into_iter();
        all.map(|((connection, purpose), (waiting, oldest))| (connection, purpose, waiting, oldest)).collect()
    }
}

fn of_purpose<'w>(waiting: &'w mut BTreeMap<AccountId, ByPurpose>, message: &Message) -> &'w mut u64 {
    &mut waiting.entry(message.account).or_default()[usize::from(message.purpose.priority())]
}

// ── what happens ────────────────────────────────────────────────────────────────────────────────────────────

/// One commit's work on messages, with what it brings about.
struct Commit<'a> {
    tables: &'a mut Tables,
    now: Timestamp,
    retry: &'a RetryPolicy,
    jitter: Jitter,
    /// Where nothing comes back from a phone, there is none.
    unreachable: Option<reachability::Policy>,
    out: Advanced,
}

impl Tables {
    pub(super) fn advance(
        &mut self,
        happenings: Vec<Happening>,
        now: Timestamp,
        rules: Patience,
    ) -> Result<Advanced> {
        let mut commit = Commit::of(self, now, &rules);
        for happening in happenings {
            let status = match happening {
                Happening::To { message, input } => commit.apply(message, input),
                Happening::Receipt { connection, receipt } => {
                    let lines = commit.tables.messages.carriers.lines(connection);
                    match commit.find(lines, &receipt) {
                        Some((message, input)) => commit.apply(message, input),
                        None => {
                            commit.tables.messages.parked.park(lines, receipt, now);
                            commit.out.parked += 1;
                            None
                        }
                    }
                }
            };
            commit.out.statuses.push(status);
        }
        Ok(commit.out)
    }
}

impl<'a> Commit<'a> {
    /// One in which nothing comes back from a phone.
    fn new(tables: &'a mut Tables, now: Timestamp, retry: &'a RetryPolicy, jitter: Jitter) -> Self {
        Self { tables, now, retry, jitter, unreachable: None, out: Advanced::default() }
    }

    fn of(tables: &'a mut Tables, now: Timestamp, rules: &'a Patience) -> Self {
        Self { unreachable: rules.unreachable, ..Self::new(tables, now, &rules.retry, rules.jitter) }
    }

    /// Applies the input to the message as it is now, and whatever waited for that.
    fn apply(&mut self, id: MessageId, input: Input) -> Option<Status> {
        let messages = &mut self.tables.messages;
        let Some(row) = messages.rows.get(&id).filter(|row| !row.is_given_up()) else {
            self.out.ignored += 1;
            return None;
        };
        let line = messages.carriers.lines(row.message.connection).filed;
        let mut forms = Vec::new();
        if let Input::Answered { segment, answer: Answer::Accepted { carrier_id }, .. } = &input {
            let form = expected_form(&row.message, *segment, carrier_id);
            if row.due.is_some() {
                // Also when the answer is too late to change anything: a receipt with this id may come.
                messages.outstanding.expect(line, form.clone(), (id, *segment), carrier_id);
            }
            forms.push(form);
        }
        // Each decision of a commit gets another number, spread from the one that was drawn for it.
        self.jitter = self.jitter.next();
        let rules = Rules { retry: self.retry, jitter: self.jitter };
        let answered = answered(&input);
        let Ok(transition) = row.life.apply(input, row.message.terms(), self.now, rules) else {
            self.out.ignored += 1;
            return None;
        };
        let submitted_at = submitted_from(&row.message, &row.life, answered);
        let unanswered = transition.life.newly_unanswered(&row.life);
        forms.extend(unanswered.map(|n| reference_form(our_reference(id, n))));
        let status = transition.life.state.status();
        self.put(id, transition.life, transition.effects);
        for form in &forms {
            for number in self.tables.messages.parked.under(line, form, submitted_at) {
                self.look_at_parked(number);
            }
        }
        match forms.is_empty() {
            true => Some(status),
            false => self.tables.messages.rows.get(&id).map(|row| row.life.state.status()),
        }
    }

    /// A receipt that was parked may have found its segment now.
    fn look_at_parked(&mut self, number: u64) {
        let Some(parked) = self.tables.messages.parked.rows.get(&number) else { return };
        if let Some((message, input)) = self.find(parked.lines, &parked.receipt) {
            self.tables.messages.parked.unpark(number);
            self.apply(message, input);
        }
    }

    /// Puts a life in the place of the one before, with everything that follows from it.
    fn put(&mut self, id: MessageId, life: Life, effects: Vec<Effect>) {
        let Messages { rows, queue, sending, outstanding, waiting, carriers, .. } = &mut self.tables.messages;
        let row = rows.get_mut(&id).expect("its life was just read");
        let before = std::mem::replace(&mut row.life, life);
        let (message, life) = (&row.message, &row.life);
        let sign = reachability::sign(before.state.status(), life);
        let line = carriers.lines(message.connection).filed;
        row.updated_at = self.now;
        let publishes = effects.iter().rev().find_map(|effect| match effect {
            Effect::Publish(event) => Some(event),
            Effect::Suppress(_) | Effect::Review(_) | Effect::PauseConnection(_) => None,
        });
        if let Some(event) = publishes {
            row.failure.clone_from(&event.failure);
        }
        let wanted = Due::of(message, &life.state, &queue.paces);
        let kept = match (row.due, wanted) {
            // One that is looked at too early is moved when its time comes: most messages have ended by then.
            (Some(old), Some(new)) if old.lane == Lane::LookAgain && new.lane == Lane::LookAgain => {
                new.due_at >= old.due_at
            }
            (old, new) => old == new,
        };
        if !kept {
            if let Some(old) = row.due {
                queue.take(old, message.expires_at);
            }
            if let Some(new) = wanted {
                queue.put(new, message.expires_at);
                if let Lane::Of(queue) = new.lane {
                    self.out.queued.push((queue, new.due_at));
                }
            }
            row.due = wanted;
        }
        if matches!(life.state, State::Sending { .. }) {
            sending.insert(id);
        } else {
            sending.remove(&id);
        }
        match (before.state.is_waiting(), life.state.is_waiting()) {
            (true, false) => *of_purpose(waiting, message) -= 1,
            (false, true) => *of_purpose(waiting, message) += 1,
            (true, true) | (false, false) => {}
        }
        for n in life.newly_unanswered(&before) {
            // No id was given; a receipt that names our own reference may still settle it.
            outstanding.expect(line, reference_form(our_reference(id, n)), (id, n), "");
        }
        if life.state.wakes_at().is_none() && before.state.wakes_at().is_some() {
            for (n, (was, is)) in before.segments.iter().zip(&life.segments).enumerate() {
                if let Some(carrier_id) = is.carrier_id().or(was.carrier_id()) {
                    outstanding.forget(line, &expected_form(message, n as u8, carrier_id), (id, n as u8));
                }
            }
        }
        if is_lost(life.state.status()) && !is_lost(before.state.status()) {
            let is_lost = |other| rows.get(&other).is_some_and(|row| is_lost(row.life.state.status()));
            self.tables.conversations.lose(id, is_lost);
        }
        for effect in effects {
            self.follow(id, effect);
        }
        if let Some(sign) = sign {
            let message = self.tables.messages.unchanging(id).expect("its life was just put").clone();
            self.tables.note_sign(&message, sign, self.unreachable.as_ref(), self.now);
        }
    }

    fn follow(&mut self, id: MessageId, effect: Effect) {
        let Tables { messages, events, endpoints, .. } = &mut *self.tables;
        let message = messages.unchanging(id).expect("its life was just put");
        match effect {
            Effect::Publish(event) => {
                self.out.counted.push(Counted::of(message, &event));
                events.publish(endpoints, Subject::Message(message), event, &mut self.out.told);
            }
            Effect::PauseConnection(failure) => self.out.paused.push((message.connection, failure)),
            Effect::Suppress(failure) => {
                let message = message.clone();
                self.tables.suppress_for(&message, &failure, self.now);
            }
            Effect::Review(failure) => {
                let message = message.clone();
                self.tables.open_review(&message, failure, self.now);
            }
        }
    }

    /// The segment that a receipt speaks of, as an input to its message; `None` where that is not certain.
    fn find(&self, lines: Lines, receipt: &Receipt) -> Option<(MessageId, Input)> {
        let messages = &self.tables.messages;
        let mut candidates: Vec<Candidate> = Vec::new();
        for (line, form) in lines.forms(receipt) {
            // Our reference comes last, and is asked only where the id says nothing: others may have the same.
            if is_reference(&form) && receipt::choose(receipt, &candidates).is_some() {
                break;
            }
            for ((message, segment), carrier_id) in messages.outstanding.under(line, &form) {
                // Found by its id and by our reference: that is one segment, not two to choose from.
                if candidates.iter().any(|c| (c.message, c.segment) == (*message, *segment)) {
                    continue;
                }
                let Some(of) = messages.unchanging(*message) else { continue };
                let (recipient, sender, carrier_id) = (of.recipient, of.sender, carrier_id.clone());
                candidates.push(Candidate {
                    message: *message,
                    segment: *segment,
                    carrier_id,
                    recipient,
                    sender,
                });
            }
            if is_certain(receipt, &candidates) {
                break;
            }
        }
        let chosen = receipt::choose(receipt, &candidates)?;
        let given = if chosen.carrier_id.is_empty() { &receipt.carrier_id } else { &chosen.carrier_id };
        let input = Input::Receipt {
            segment: chosen.segment,
            carrier_id: given.clone(),
            outcome: receipt.outcome.clone(),
            raw: receipt.raw.clone(),
        };
        Some((chosen.message, input))
    }
}

// ── taking out the old ──────────────────────────────────────────────────────────────────────────────────────

impl Messages {
    pub(super) fn sweep_idempotency(&mut self, before: Timestamp, limit: usize) -> bool {
        let old = self.idempotency_by_age.iter().take_while(|(at, _)| *at < before);
        let old: Vec<_> = old.take(limit).copied().collect();
        for (at, key) in &old {
            self.idempotency_by_age.remove(&(*at, *key));
            if self.idempotency.get(key).is_some_and(|known| known.at == *at) {
                self.idempotency.remove(key);
            }
        }
        old.len() == limit
    }

    pub(super) fn sweep_parked(&mut self, before: Timestamp, limit: usize) -> bool {
        let old = self.parked.rows.iter().filter(|(_, parked)| parked.at < before);
        let old: Vec<u64> = old.map(|(number, _)| *number).take(limit).collect();
        for number in &old {
            self.parked.unpark(*number);
        }
        old.len() == limit
    }

    /// Forgets the carriers' ids of messages from before then to which nothing can happen any more.
    pub(super) fn sweep_outstanding(&mut self, before: Timestamp, limit: usize) -> bool {
        let floor = MessageId::from_key(floor_at(before));
        let is_over = |id: MessageId| self.rows.get(&id).is_none_or(|row| row.due.is_none());
        let mut old = Vec::new();
        for (line, forms) in &self.outstanding.by_line {
            for (form, segments) in forms {
                let of_old = segments.keys().filter(|(id, _)| *id < floor && is_over(*id));
                old.extend(of_old.map(|(id, n)| (*line, form.clone(), *id, *n)));
            }
        }
        old.truncate(limit);
        for (line, form, id, n) in &old {
            self.outstanding.forget(*line, form, (*id, *n));
        }
        old.len() == limit
    }

    /// Messages from before then that wait for nothing and that nothing happened to since, the oldest first.
    pub(super) fn over(&self, before: Timestamp) -> impl Iterator<Item = MessageId> + '_ {
        let old = self.rows.range(..MessageId::from_key(floor_at(before)));
        old.filter(move |(_, row)| row.due.is_none() && row.updated_at < before).map(|(id, _)| *id)
    }

    pub(super) fn remove(&mut self, id: MessageId) {
        self.rows.remove(&id);
    }

    /// A batch goes once every message of its time is gone.
    pub(super) fn sweep_batches(&mut self, before: Timestamp, limit: usize) {
        let floor = floor_at(before);
        let oldest = self.rows.keys().next().map_or(floor, |id| id.key());
        let old = self.batches.iter().take(limit).filter(|(id, call)| {
            id.key() < floor && call.members.last().is_none_or(|last| last.key() < oldest)
        });
        for id in old.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.batches.remove(&id);
        }
    }
}
