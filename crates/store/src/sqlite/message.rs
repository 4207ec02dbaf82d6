//! Messages: everything that happens to them on their way. How they come in is in `accept.rs`, how they wait in
//! `queue.rs`, and what is read of them in `read.rs`.
//!
//! Read [`advance`] for the heart: load the life, let the domain decide, write what it says.

mod accept;
mod queue;
mod read;

pub(super) use accept::{accept, accept_with, enqueue};
pub(super) use queue::{
    claim, count_waiting, end_waiting_for, next_due, quarantine, queues, queues_of_senders, recover,
    stop_waiting, waiting, wake,
};
pub(super) use read::{
    Hot, all_damaged, batch, batches, find, message, messages, redact, timeline, unchanging,
};

use super::reader::get;
use super::session::failed;
use super::transaction::Tx;
use super::{conversation, event, review, silence, suppression};
use crate::Result;
use crate::backend::*;
use crate::carriers::Lines;
use crate::column;
use crate::due::{CANDIDATES_MAX, Due, FORGOTTEN_AT_ONCE, LOOK_AGAIN, due_row, queue_of};
use crate::listeners::Listeners;
use read::recall;
use rusqlite::{Connection as Sql, params};
use tidings_domain::conversation::is_lost;
use tidings_domain::event::Event;
use tidings_domain::id::*;
use tidings_domain::message::{Answer, Effect, Input, Life, Message, Rules, State, Status};
use tidings_domain::poison;
use tidings_domain::queue::Queue;
use tidings_domain::reachability;
use tidings_domain::receipt::{
    self, Candidate, Receipt, expected_form, is_certain, our_reference, reference_form,
};
use tidings_domain::retry::{Jitter, RetryPolicy};
use tidings_domain::time::Timestamp;

pub(super) fn advance(
    tx: &mut Tx<'_>,
    happenings: &[Happening],
    now: &Timestamp,
    rules: &Patience,
) -> Result<Advanced> {
    let mut commit = Commit::of(*now, rules);
    for happening in happenings {
        let status = match happening {
            Happening::To { message, input } => {
                tx.contain(*message, |tx| commit.apply(tx, *message, input.clone()))?.flatten()
            }
            Happening::Receipt { connection, receipt } => {
                let lines = tx.carriers.lines(*connection);
                let handled = tx.contain(receipt, |tx| commit.receipt(tx, lines, receipt))?;
                match handled {
                    Some(status) => status,
                    None => {
                        park_unread(tx, lines.filed, receipt, *now)?;
                        commit.out.parked += 1;
                        None
                    }
                }
            }
        };
        commit.out.statuses.push(status);
    }
    commit.out.crashed = tx.set_aside();
    Ok(commit.out)
}

/// One transaction's work on messages, with what it brings about.
struct Commit<'a> {
    now: Timestamp,
    retry: &'a RetryPolicy,
    jitter: Jitter,
    /// Where nothing comes back from a phone, there is none.
    unreachable: Option<reachability::Policy>,
    out: Advanced,
}

impl<'a> Commit<'a> {
    /// One in which nothing comes back from a phone.
    fn new(now: Timestamp, retry: &'a RetryPolicy, jitter: Jitter) -> Self {
        Self { now, retry, jitter, unreachable: None, out: Advanced::default() }
    }

    fn of(now: Timestamp, rules: &'a Patience) -> Self {
        Self { unreachable: rules.unreachable, ..Self::new(now, &rules.retry, rules.jitter) }
    }

    /// Each decision of a commit gets another number, spread from the one that was drawn for it.
    fn rules(&mut self) -> Rules<'a> {
        self.jitter = self.jitter.next();
        Rules { retry: self.retry, jitter: self.jitter }
    }

    fn apply(&mut self, tx: &mut Tx<'_>, id: MessageId, input: Input) -> Result<Option<Status>> {
        let Some(hot) = recall(tx, id)? else {
            self.out.ignored += 1;
            return Ok(None);
        };
        self.apply_to(tx, hot, input)
    }

    fn apply_to(&mut self, tx: &mut Tx<'_>, hot: Hot, input: Input) -> Result<Option<Status>> {
        if hot.due.is_none() && matches!(hot.life.state, State::Unconfirmed { .. }) {
            // The time in which that could be corrected is over.
            self.out.ignored += 1;
            return Ok(None);
        }
        poison::taste("decide", || hot.message.reference.as_deref());
        if matches!(input, Input::Answered { .. }) {
            poison::taste("answer", || hot.message.reference.as_deref());
        }
        let accepted = match &input {
            Input::Answered { segment, answer: Answer::Accepted { carrier_id }, .. } => {
                Some((*segment, carrier_id.clone()))
            }
            _ => None,
        };
        if let Some((segment, carrier_id)) = &accepted {
            // Also when the answer is too late to change anything: a receipt with this id may come.
            if hot.life.state.wakes_at().is_some() {
                let form = expected_form(&hot.message, *segment, carrier_id);
                expect_receipt(tx, &hot.message, *segment, &form, carrier_id)?;
            }
        }
        let (rules, answered) = (self.rules(), answered(&input));
        let Ok(transition) = hot.life.apply(input, hot.message.terms(), self.now, rules) else {
            self.out.ignored += 1;
            return Ok(None);
        };
        let mut status = transition.life.state.status();
        let (id, lines) = (hot.message.id, tx.carriers.lines(hot.message.connection));
        let submitted_at = submitted_from(&hot.message, &hot.life, answered);
        // A receipt may have come before this: under the id that is known only now, or, where the answer is lost,
        // under our own reference.
        let mut forms: Vec<String> =
            accepted.iter().map(|(segment, id)| expected_form(&hot.message, *segment, id)).collect();
        for n in transition.life.newly_unanswered(&hot.life) {
            forms.push(reference_form(our_reference(hot.message.id, n)));
        }
        self.write(tx, hot, transition.life, transition.effects)?;
        if !forms.is_empty() && tx.any_parked()? {
            for form in forms {
                for (row, receipt) in parked(tx.sql, lines.filed, &form, submitted_at)? {
                    if let Some((whose, after)) = self.match_receipt(tx, lines, &receipt)? {
                        unpark(tx, lines.filed, row)?;
                        // It may have become certain that it is another's.
                        if whose == id {
                            status = after.unwrap_or(status);
                        }
                    }
                }
            }
        }
        Ok(Some(status))
    }

    fn write(&mut self, tx: &mut Tx<'_>, hot: Hot, life: Life, effects: Vec<Effect>) -> Result<()> {
        let Hot { message, life: before, due, .. } = hot;
        let wanted = due_row(&message, &life.state, tx.paces);
        let kept = match (due, wanted) {
            // A row that is due too early is moved when its time comes: most messages have ended by then.
            (Some(old), Some(new))
                if old.lane == new.lane && new.lane == LOOK_AGAIN && new.due_at >= old.due_at =>
            {
                Some(old)
            }
            (Some(old), Some(new)) if old == new => Some(old),
            (old, new) => {
                if let Some(old) = old {
                    old.delete(tx, &message)?;
                }
                if let Some(new) = new {
                    new.insert(tx, &message)?;
                    if new.lane != LOOK_AGAIN {
                        self.out.queued.push((Queue::from_key(new.lane), Timestamp::from_millis(new.due_at)));
                    }
                }
                new
            }
        };
        match (queue_of(due), queue_of(kept)) {
            (Some(_), None) => tx.waits(&message, -1),
            (None, Some(_)) => tx.waits(&message, 1),
            (Some(_), Some(_)) | (None, None) => {}
        }
        let failure = effects.iter().rev().find_map(|effect| match effect {
            Effect::Publish(event) => Some(event.failure.as_ref().map(column::failure_text)),
            Effect::Suppress(_) | Effect::Review(_) | Effect::PauseConnection(_) => None,
        });
        tx.execute(
            "UPDATE message SET state = ?2, until = ?3, lane = ?4, due_at = ?5, attempt = ?6, tries = ?7, resends = ?8, parts = ?9,
               failure = CASE WHEN ?10 THEN ?11 ELSE failure END, updated_at = ?12 WHERE id = ?1",
            params![
                message.id.key(),
                column::state_number(life.state),
                life.state.wakes_at().map(Timestamp::as_millis),
                kept.map(|due| due.lane),
                kept.map(|due| due.due_at),
                life.attempt,
                life.tries,
                life.resends,
                column::segments_text(&life.segments),
                failure.is_some(),
                failure.flatten(),
                self.now.as_millis(),
            ],
        )?;
        for n in life.newly_unanswered(&before) {
            // No id was given; a receipt that names our own reference may still settle it.
            let reference = reference_form(our_reference(message.id, n));
            expect_receipt(tx, &message, n, &reference, "")?;
        }
        if life.state.wakes_at().is_none() && before.state.wakes_at().is_some() {
            for (n, segment) in before.segments.iter().zip(&life.segments).enumerate() {
                if let Some(carrier_id) = segment.1.carrier_id().or(segment.0.carrier_id()) {
                    forget_receipt(tx, &message, n as u8, &expected_form(&message, n as u8, carrier_id))?;
                }
            }
        }
        if is_lost(life.state.status()) && !is_lost(before.state.status()) {
            conversation::lose(tx.sql, message.id)?;
        }
        self.effects(tx, &message, effects)?;
        if let Some(sign) = reachability::sign(before.state.status(), &life) {
            silence::note(tx, &message, sign, self.unreachable.as_ref(), self.now)?;
        }
        remember(tx, Message { text: None, ..message }, life, kept);
        Ok(())
    }

    fn effects(&mut self, tx: &mut Tx<'_>, message: &Message, effects: Vec<Effect>) -> Result<()> {
        for effect in effects {
            match effect {
                Effect::Publish(event) => self.publish(tx, message, event)?,
                Effect::Suppress(failure) => suppression::from_failure(tx, message, &failure, self.now)?,
                Effect::Review(failure) => review::open(tx, message, &failure, self.now)?,
                Effect::PauseConnection(failure) => self.out.paused.push((message.connection, failure)),
            }
        }
        Ok(())
    }

    fn publish(&mut self, tx: &mut Tx<'_>, message: &Message, event: Event) -> Result<()> {
        self.out.counted.push(Counted::of(message, &event));
        let listeners = tx.listeners()?;
        publish(tx, &listeners, message, event, &mut self.out.told)
    }

    fn receipt(&mut self, tx: &mut Tx<'_>, lines: Lines, receipt: &Receipt) -> Result<Option<Status>> {
        match self.match_receipt(tx, lines, receipt)? {
            Some((_, status)) => Ok(status),
            None => {
                self.out.forgotten += park(tx, lines.filed, receipt, self.now)? as u64;
                self.out.parked += 1;
                Ok(None)
            }
        }
    }

    /// Applies a receipt to the segment it speaks of, and gives its message with where that stands then (`None` if it
    /// was ignored). The outer `None` says that no segment is certain.
    fn match_receipt(
        &mut self,
        tx: &mut Tx<'_>,
        lines: Lines,
        receipt: &Receipt,
    ) -> Result<Option<(MessageId, Option<Status>)>> {
        // Each with its message at the same place.
        let (mut candidates, mut messages): (Vec<Candidate>, Vec<Hot>) = Default::default();
        for (line, form) in lines.forms(receipt) {
            // Our reference has sixteen bits, and another message may have the same: it is asked where the id says nothing.
            if receipt::is_reference(&form) && receipt::choose(receipt, &candidates).is_some() {
                break;
            }
            let rows = tx.rows(
                "SELECT message, segment, carrier_id FROM outstanding WHERE connection = ?1 AND canonical = ?2 LIMIT ?3",
                params![line, form, CANDIDATES_MAX as i64 + 1],
                |row| Ok((get::<i64>(row, 0)?, get::<u8>(row, 1)?, get::<String>(row, 2)?)),
            )?;
            if rows.len() > CANDIDATES_MAX {
                // Not all are looked at, so none of them is certain.
                return Ok(None);
            }
            for (message, segment, carrier_id) in rows {
                // Found by its id and by our reference: that is one segment, not two to choose from.
                let known = |c: &Candidate| (c.message.key(), c.segment) == (message, segment);
                if candidates.iter().any(known) {
                    continue;
                }
                let Some(hot) = recall(tx, MessageId::from_key(message))? else { continue };
                candidates.push(Candidate {
                    message: hot.message.id,
                    segment,
                    carrier_id,
                    recipient: hot.message.recipient,
                    sender: hot.message.sender,
                });
                messages.push(hot);
            }
            if is_certain(receipt, &candidates) {
                break;
            }
        }
        let Some(chosen) = receipt::choose(receipt, &candidates) else { return Ok(None) };
        let Some(place) = candidates.iter().position(|candidate| candidate == chosen) else {
            return Ok(None);
        };
        let (candidate, hot) = (candidates.swap_remove(place), messages.swap_remove(place));
        let input = Input::Receipt {
            segment: candidate.segment,
            carrier_id: if candidate.carrier_id.is_empty() {
                receipt.carrier_id.clone()
            } else {
                candidate.carrier_id
            },
            outcome: receipt.outcome.clone(),
            raw: receipt.raw.clone(),
        };
        Ok(Some((candidate.message, self.apply_to(tx, hot, input)?)))
    }
}

/// Octets of its caller's own data up to which a message is remembered, so that all together take some megabytes.
const METADATA_REMEMBERED: usize = 1_024;

/// Remembers a message, without its text, that is stored so by this transaction, if it is at its carrier: what waits in a queue is read with its text.
fn remember(tx: &mut Tx<'_>, message: Message, life: Life, due: Option<Due>) {
    let is_light = message.metadata.as_ref().is_none_or(|data| data.len() <= METADATA_REMEMBERED);
    if is_light && due.is_some_and(|due| due.lane == LOOK_AGAIN) {
        tx.remember(Hot { message, life, due, damaged: false });
    }
}

/// Writes the event, and a delivery for everybody who wants to hear of it.
pub(super) fn publish(
    tx: &mut Tx<'_>,
    listeners: &Listeners,
    message: &Message,
    event: Event,
    told: &mut Vec<Told>,
) -> Result<()> {
    let id = EventId::from_key(tx.next_event(event.at)?);
    let realm = message.realm();
    event::insert(tx, id, realm, Some(message.id), None, &event)?;
    if !event.kind.is_public() {
        return Ok(());
    }
    for endpoint in listeners.of(realm, event.kind, message.callback) {
        let delivery = event::lease_first(tx, id, endpoint, event.at)?;
        let about = About::Message(Box::new(message.without_text()));
        told.push(Told { id, realm, event: event.clone(), about, delivery: Some(delivery) });
    }
    Ok(())
}

// ── receipts that are expected, and those that are early ────────────────────────────────────────────────────

fn expect_receipt(
    tx: &Tx<'_>,
    message: &Message,
    segment: u8,
    canonical: &str,
    carrier_id: &str,
) -> Result<()> {
    let line = tx.carriers.lines(message.connection).filed;
    tx.execute(
        "INSERT OR REPLACE INTO outstanding (connection, canonical, message, segment, carrier_id) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![line, canonical, message.id.key(), segment, carrier_id],
    )
    .map(drop)
}

fn forget_receipt(tx: &Tx<'_>, message: &Message, segment: u8, canonical: &str) -> Result<()> {
    let line = tx.carriers.lines(message.connection).filed;
    tx.execute(
        "DELETE FROM outstanding WHERE connection = ?1 AND canonical = ?2 AND message = ?3 AND segment = ?4",
        params![line, canonical, message.id.key(), segment],
    )
    .map(drop)
}

/// Keeps a receipt whose segment is not known, and forgets the oldest of its connection when that has too many. Gives
/// the number of rows that were forgotten.
fn park(tx: &mut Tx<'_>, line: i64, receipt: &Receipt, now: Timestamp) -> Result<usize> {
    let number = tx.next_id(now)?;
    let body = column::receipt_text(receipt);
    let mut rows = 0;
    for canonical in receipt::forms(receipt) {
        tx.sql
            .prepare_cached("INSERT INTO parked (receipt, connection, canonical, body, parked_at) VALUES (?1, ?2, ?3, ?4, ?5)")
            .and_then(|mut s| s.execute(params![number, line, canonical, body, now.as_millis()]))
            .map_err(failed)?;
        rows += 1;
    }
    let excess = tx.note_parked(line, rows)?;
    if excess == 0 {
        return Ok(0);
    }
    // The plus sign keeps the order of the receipts as the way to find them: nothing has to be sorted.
    let forgotten = tx
        .sql
        .prepare_cached("DELETE FROM parked WHERE id IN (SELECT id FROM parked WHERE +connection = ?1 ORDER BY receipt LIMIT ?2)")
        .and_then(|mut s| s.execute(params![line, excess.max(FORGOTTEN_AT_ONCE) as i64]))
        .map_err(failed)?;
    tx.note_unparked(line, forgotten)?;
    Ok(forgotten)
}

fn parked(sql: &Sql, line: i64, canonical: &str, since: Timestamp) -> Result<Vec<(i64, Receipt)>> {
    let mut statement = sql
        .prepare_cached("SELECT receipt, body FROM parked WHERE connection = ?1 AND canonical = ?2 AND parked_at >= ?3 ORDER BY receipt LIMIT 20")
        .map_err(failed)?;
    let rows = statement
        .query_map(params![line, canonical, since.as_millis()], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
        })
        .map_err(failed)?
        .collect::<rusqlite::Result<Vec<_>>>()
        .map_err(failed)?;
    rows.into_iter().map(|(number, body)| Ok((number, column::receipt(&body)?))).collect()
}

/// Keeps a receipt that crashes whoever matches it: under a form that no carrier's id has, until its retention is over.
fn park_unread(tx: &mut Tx<'_>, line: i64, receipt: &Receipt, now: Timestamp) -> Result<()> {
    let number = tx.next_id(now)?;
    tx.sql
        .prepare_cached("INSERT INTO parked (receipt, connection, canonical, body, parked_at) VALUES (?1, ?2, '!', ?3, ?4)")
        .and_then(|mut s| s.execute(params![number, line, receipt.raw, now.as_millis()]))
        .map_err(failed)?;
    tx.note_parked(line, 1).map(drop)
}

fn unpark(tx: &mut Tx<'_>, line: i64, number: i64) -> Result<()> {
    let rows = tx
        .sql
        .prepare_cached("DELETE FROM parked WHERE receipt = ?1")
        .and_then(|mut s| s.execute([number]))
        .map_err(failed)?;
    tx.note_unparked(line, rows)
}
