//! Messages: accepting, claiming, and everything that happens to them.
//!
//! Read [`advance`] for the heart: load the life, let the domain decide, write what it says.

use super::consent_request;
use super::executor::{Rx, Tx, failed, get};
use super::{code, conversation, event, pool, review, spend, suppression};
use crate::backend::*;
use crate::column::{self, environment, live, number};
use crate::due::{CANDIDATES_MAX, CLOCK_BACK_MS, Due, FORGOTTEN_AT_ONCE, LOOK_AGAIN, due_row, queue_of};
use crate::listeners::Listeners;
use crate::{ByPurpose, Waiting, our_reference};
use crate::{Error, Result};
use rusqlite::{Connection as Sql, OptionalExtension, Row, params};
use std::collections::BTreeMap;
use std::sync::Arc;
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::conversation::is_lost;
use tidings_domain::event::{Event, Kind};
use tidings_domain::failure::Failure;
use tidings_domain::gate;
use tidings_domain::id::*;
use tidings_domain::message::{
    Answer, Effect, Input, LEASE_MS, Life, Message, Rules, Segment, State, Status, damaged,
};
use tidings_domain::poison;
use tidings_domain::purpose::Purpose;
use tidings_domain::receipt::{self, Candidate, Receipt};
use tidings_domain::retry::{Jitter, RetryPolicy};
use tidings_domain::sender::Sender;
use tidings_domain::suppression::Reason;
use tidings_domain::time::Timestamp;

// ── accepting ───────────────────────────────────────────────────────────────────────────────────────────────

pub(super) fn accept(tx: &mut Tx<'_>, intake: &Intake, now: &Timestamp) -> Result<Accepted> {
    accept_with(tx, intake, Beside::Nothing, *now)
}

/// Accepts messages; a single one may carry a code, be said in a conversation, or ask for consent.
pub(super) fn accept_with(
    tx: &mut Tx<'_>,
    intake: &Intake,
    beside: Beside<'_>,
    now: Timestamp,
) -> Result<Accepted> {
    if let Some(idempotency) = &intake.idempotency {
        let known = tx
            .sql
            .prepare_cached("SELECT fingerprint, answer FROM idempotency WHERE key = ?1")
            .and_then(|mut s| {
                s.query_row([&idempotency.key], |row| {
                    Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?))
                })
                .optional()
            })
            .map_err(failed)?;
        if let Some((fingerprint, answer)) = known {
            let same = fingerprint == idempotency.fingerprint;
            return Ok(if same { Accepted::Replayed(answer) } else { Accepted::KeyReused });
        }
    }
    if pool::is_moved(tx.sql, &intake.drafts)? {
        return Ok(Accepted::Moved);
    }
    let mut spending = spend::begin(tx.sql, intake, now)?;
    let mut admissions = Vec::with_capacity(intake.drafts.len());
    let mut last = 0;
    let retry = RetryPolicy::default();
    let mut commit = Commit::new(now, &retry, Jitter(0));
    for draft in &intake.drafts {
        let message = &draft.message;
        let listed = suppression::look(tx, message.realm(), message.recipient, now)?;
        if let Some(reason) = gate::refuses_listed(message, listed, now) {
            admissions.push(Admission::Suppressed(reason));
            continue;
        }
        if let (Some(spending), Some(priced)) = (&mut spending, &draft.priced)
            && let Some(period) = spending.add(priced)
        {
            admissions.push(Admission::Overspent(period));
            continue;
        }
        // What is refused now is not for the key: time cures it.
        let refused = match beside {
            Beside::Nothing => None,
            Beside::Asking(_) => consent_request::is_asked(tx.sql, message, now)?.then_some(Admission::Asked),
            Beside::Code(sending) => code::admit(tx, draft, sending, now)?.map(Admission::Refused),
            Beside::Saying(saying) => {
                let (person, sender) = (message.recipient, message.sender);
                let is_overtaken =
                    conversation::is_overtaken(tx.sql, message.realm(), person, sender, saying)?;
                is_overtaken.then_some(Admission::Overtaken)
            }
        };
        if let Some(refused) = refused {
            return Ok(Accepted::New(vec![refused], Box::default()));
        }
        insert(tx.sql, message, &draft.life, now)?;
        let saying = match beside {
            Beside::Saying(saying) => Some(saying.clone()),
            Beside::Asking(asking) => {
                consent_request::insert(tx.sql, &asking.request(message, now))?;
                None
            }
            Beside::Nothing => {
                consent_request::repeat(tx.sql, message)?;
                conversation::said_before(tx.sql, message)?
            }
            Beside::Code(_) => None,
        };
        if let Some(saying) = saying {
            conversation::add(tx, &Addition::of_message(message, &saying, now))?;
        }
        if draft.life.state.is_waiting() {
            tx.waits(message, 1);
        }
        if let Some(picked) = &draft.picked {
            pool::note(tx.sql, message.realm(), message.recipient, picked, now)?;
            commit.publish(tx, message, chosen_event(draft, picked, now))?;
        }
        if let Some(hold) = &draft.held {
            let held = Input::Held { attempt: draft.life.attempt, hold: hold.clone() };
            tx.contain(message.id, |tx| commit.apply(tx, message.id, held))?;
            commit.out.crashed = tx.set_aside();
        }
        last = last.max(message.id.key());
        admissions.push(Admission::Admitted);
    }
    if let Some(spending) = spending.filter(|spending| spending.counted() > 0) {
        spend::write(tx.sql, intake.realm.account, &spending, now)?;
    }
    if let Some((id, asked)) = intake.batch {
        tx.sql
            .prepare_cached("INSERT INTO batch (id, account, live, created_at, asked, last_message) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")
            .and_then(|mut s| {
                s.execute(params![id.key(), intake.realm.account.key(), live(intake.realm.environment), now.as_millis(), asked, last])
            })
            .map_err(failed)?;
    }
    if let Some(idempotency) = &intake.idempotency {
        tx.sql
            .prepare_cached(
                "INSERT INTO idempotency (key, fingerprint, answer, created_at) VALUES (?1, ?2, ?3, ?4)",
            )
            .and_then(|mut s| {
                s.execute(params![
                    idempotency.key,
                    idempotency.fingerprint,
                    (idempotency.answer)(&admissions),
                    now.as_millis()
                ])
            })
            .map_err(failed)?;
    }
    Ok(Accepted::New(admissions, Box::new(commit.out)))
}

fn insert(sql: &Sql, message: &Message, life: &Life, now: Timestamp) -> Result<()> {
    let due = due_row(message, &life.state);
    sql.prepare_cached(
        "INSERT INTO message (id, account, live, token, batch, purpose, sender, recipient, text, form, segments, connection,
           created_at, send_at, expires_at, callback, reference, metadata, retry_of,
           state, until, lane, due_at, attempt, tries, resends, parts, failure, updated_at, checksum, reply, reply_to,
           template, template_version)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19,
           ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, NULL, ?28, ?29, ?30, ?31, ?32, ?33)",
    )
    .and_then(|mut s| {
        s.execute(params![
            message.id.key(),
            message.account.key(),
            live(message.environment),
            message.token.map(TokenId::key),
            message.batch.map(BatchId::key),
            message.purpose.priority(),
            message.sender.to_string(),
            message.recipient.digits() as i64,
            message.text,
            column::form_number(&message.options, message.encoding),
            message.segments,
            message.connection.key(),
            message.created_at.as_millis(),
            message.send_at.map(Timestamp::as_millis),
            message.expires_at.as_millis(),
            message.callback.map(EndpointId::key),
            message.reference,
            message.metadata,
            message.retry_of.map(MessageId::key),
            column::state_number(life.state),
            life.state.wakes_at().map(Timestamp::as_millis),
            due.as_ref().map(|due| due.lane),
            due.as_ref().map(|due| due.due_at),
            life.attempt,
            life.tries,
            life.resends,
            column::segments_text(&life.segments),
            now.as_millis(),
            column::checksum(message),
            message.reply.map(|reply| reply.kind as i64),
            message.reply.map(|reply| reply.to.key()),
            message.template.map(|origin| origin.template.key()),
            message.template.map(|origin| origin.version),
        ])
    })
    .map_err(failed)?;
    if let Some(due) = due {
        due.insert(sql, message)?;
    }
    Ok(())
}

impl Due {
    fn insert(self, sql: &Sql, message: &Message) -> Result<()> {
        let is_queued = self.lane != LOOK_AGAIN;
        sql.prepare_cached(
            "INSERT INTO due (lane, priority, due_at, message, expires_at, recipient) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .and_then(|mut s| {
            s.execute(params![
                self.lane,
                message.purpose.priority(),
                self.due_at,
                message.id.key(),
                is_queued.then(|| message.expires_at.as_millis()),
                is_queued.then(|| message.recipient.digits() as i64),
            ])
        })
        .map(drop)
        .map_err(failed)
    }

    fn delete(self, sql: &Sql, message: &Message) -> Result<()> {
        sql.prepare_cached(
            "DELETE FROM due WHERE lane = ?1 AND priority = ?2 AND due_at = ?3 AND message = ?4",
        )
        .and_then(|mut s| {
            s.execute(params![self.lane, message.purpose.priority(), self.due_at, message.id.key()])
        })
        .map(drop)
        .map_err(failed)
    }
}

// ── what happens ────────────────────────────────────────────────────────────────────────────────────────────

pub(super) fn advance(
    tx: &mut Tx<'_>,
    happenings: &[Happening],
    now: &Timestamp,
    rules: &Patience,
) -> Result<Advanced> {
    let mut commit = Commit::new(*now, &rules.retry, rules.jitter);
    for happening in happenings {
        let status = match happening {
            Happening::To { message, input } => {
                tx.contain(*message, |tx| commit.apply(tx, *message, input.clone()))?.flatten()
            }
            Happening::Receipt { connection, receipt } => {
                let handled = tx.contain(receipt, |tx| commit.receipt(tx, *connection, receipt))?;
                match handled {
                    Some(status) => status,
                    None => {
                        park_unread(tx, *connection, receipt, *now)?;
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
    out: Advanced,
}

impl<'a> Commit<'a> {
    fn new(now: Timestamp, retry: &'a RetryPolicy, jitter: Jitter) -> Self {
        Self { now, retry, jitter, out: Advanced::default() }
    }

    /// Each decision of a commit gets another number, spread from the one that was drawn for it.
    fn rules(&mut self) -> Rules<'a> {
        self.jitter = self.jitter.next();
        Rules { retry: self.retry, jitter: self.jitter }
    }

    fn apply(&mut self, tx: &mut Tx<'_>, id: MessageId, input: Input) -> Result<Option<Status>> {
        let Some(hot) = load(tx.sql, id)? else {
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
                expect_receipt(tx.sql, &hot.message, *segment, &form, carrier_id)?;
            }
        }
        let rules = self.rules();
        let Ok(transition) = hot.life.apply(input, hot.message.terms(), self.now, rules) else {
            self.out.ignored += 1;
            return Ok(None);
        };
        let mut status = transition.life.state.status();
        let (id, connection) = (hot.message.id, hot.message.connection);
        // A receipt that came before the submission is not about it: carriers repeat receipts and use ids again.
        let submitted_at = match hot.life.state {
            State::Sending { until } => until.plus_ms(-LEASE_MS - CLOCK_SLACK_MS),
            _ => hot.message.created_at,
        };
        // A receipt may have come before this: under the id that is known only now, or, where the answer is lost,
        // under our own reference.
        let mut forms: Vec<String> =
            accepted.iter().map(|(segment, id)| expected_form(&hot.message, *segment, id)).collect();
        for (n, (before, after)) in hot.life.segments.iter().zip(&transition.life.segments).enumerate() {
            if *after == Segment::Unanswered && *before != Segment::Unanswered {
                forms.push(reference_form(our_reference(hot.message.id, n as u8)));
            }
        }
        self.write(tx, hot, transition.life, transition.effects)?;
        if !forms.is_empty() && tx.any_parked()? {
            for form in forms {
                for (row, receipt) in parked(tx.sql, connection, &form, submitted_at)? {
                    if let Some((whose, after)) = self.match_receipt(tx, connection, &receipt)? {
                        unpark(tx, connection, row)?;
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
        let wanted = due_row(&message, &life.state);
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
                    old.delete(tx.sql, &message)?;
                }
                if let Some(new) = new {
                    new.insert(tx.sql, &message)?;
                    if new.lane != LOOK_AGAIN {
                        self.out.queued.push((message.connection, Timestamp::from_millis(new.due_at)));
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
        tx.sql
            .prepare_cached(
                "UPDATE message SET state = ?2, until = ?3, lane = ?4, due_at = ?5, attempt = ?6, tries = ?7, resends = ?8, parts = ?9,
                   failure = CASE WHEN ?10 THEN ?11 ELSE failure END, updated_at = ?12 WHERE id = ?1",
            )
            .and_then(|mut s| {
                s.execute(params![
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
                ])
            })
            .map_err(failed)?;
        for (n, (segment, after)) in before.segments.iter().zip(&life.segments).enumerate() {
            if *after == Segment::Unanswered && *segment != Segment::Unanswered {
                // No id was given; a receipt that names our own reference may still settle it.
                let reference = reference_form(our_reference(message.id, n as u8));
                expect_receipt(tx.sql, &message, n as u8, &reference, "")?;
            }
        }
        if life.state.wakes_at().is_none() && before.state.wakes_at().is_some() {
            for (n, segment) in before.segments.iter().zip(&life.segments).enumerate() {
                if let Some(carrier_id) = segment.1.carrier_id().or(segment.0.carrier_id()) {
                    forget_receipt(tx.sql, &message, n as u8, &expected_form(&message, n as u8, carrier_id))?;
                }
            }
        }
        if is_lost(life.state.status()) && !is_lost(before.state.status()) {
            conversation::lose(tx.sql, message.id)?;
        }
        self.effects(tx, &message, effects)
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

    fn receipt(
        &mut self,
        tx: &mut Tx<'_>,
        connection: ConnectionId,
        receipt: &Receipt,
    ) -> Result<Option<Status>> {
        match self.match_receipt(tx, connection, receipt)? {
            Some((_, status)) => Ok(status),
            None => {
                self.out.forgotten += park(tx, connection, receipt, self.now)? as u64;
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
        connection: ConnectionId,
        receipt: &Receipt,
    ) -> Result<Option<(MessageId, Option<Status>)>> {
        let mut candidates: Vec<(Candidate, Hot)> = Vec::new();
        let by_id = receipt::lookups(receipt).into_iter().map(|form| (form, false));
        let by_reference = receipt.our_reference.map(|reference| (reference_form(reference), true));
        for (form, is_reference) in by_id.chain(by_reference) {
            // Our reference has sixteen bits, and another message may have the same: it is asked where the id says nothing.
            if is_reference {
                let known: Vec<Candidate> =
                    candidates.iter().map(|(candidate, _)| candidate.clone()).collect();
                if receipt::choose(receipt, &known).is_some() {
                    break;
                }
            }
            let rows = {
                let mut statement = tx
                    .sql
                    .prepare_cached("SELECT message, segment, carrier_id FROM outstanding WHERE connection = ?1 AND canonical = ?2 LIMIT ?3")
                    .map_err(failed)?;
                let rows = statement
                    .query_map(params![connection.key(), form, CANDIDATES_MAX as i64 + 1], |row| {
                        Ok((row.get::<_, i64>(0)?, row.get::<_, u8>(1)?, row.get::<_, String>(2)?))
                    })
                    .map_err(failed)?;
                rows.collect::<rusqlite::Result<Vec<_>>>().map_err(failed)?
            };
            if rows.len() > CANDIDATES_MAX {
                // Not all are looked at, so none of them is certain.
                return Ok(None);
            }
            for (message, segment, carrier_id) in rows {
                // Found by its id and by our reference: that is one segment, not two to choose from.
                let known = |(c, _): &(Candidate, Hot)| (c.message.key(), c.segment) == (message, segment);
                if candidates.iter().any(known) {
                    continue;
                }
                let Some(hot) = load(tx.sql, MessageId::from_key(message))? else { continue };
                let candidate = Candidate {
                    message: hot.message.id,
                    segment,
                    carrier_id,
                    recipient: hot.message.recipient,
                };
                candidates.push((candidate, hot));
            }
            // The same text, and to the right recipient: no other form can fit better.
            let known: Vec<Candidate> = candidates.iter().map(|(candidate, _)| candidate.clone()).collect();
            if receipt::choose(receipt, &known).is_some_and(|chosen| chosen.carrier_id == receipt.carrier_id)
            {
                break;
            }
        }
        let only: Vec<Candidate> = candidates.iter().map(|(candidate, _)| candidate.clone()).collect();
        let Some(chosen) = receipt::choose(receipt, &only).cloned() else { return Ok(None) };
        let Some((candidate, hot)) = candidates.into_iter().find(|(candidate, _)| *candidate == chosen)
        else {
            return Ok(None);
        };
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
    event::insert(tx.sql, id, realm, Some(message.id), None, &event)?;
    if !event.kind.is_public() {
        return Ok(());
    }
    for endpoint in listeners.of(realm, event.kind, message.callback) {
        let delivery = event::lease_first(tx.sql, id, endpoint, event.at)?;
        let about = About::Message(Box::new(Message { text: None, ..message.clone() }));
        told.push(Told { id, realm, event: event.clone(), about, delivery: Some(delivery) });
    }
    Ok(())
}

/// The form under which a receipt of a segment is expected: the carrier's id, or our own reference if it gave none.
fn expected_form(message: &Message, segment: u8, carrier_id: &str) -> String {
    match receipt::canonical(carrier_id) {
        form if form.is_empty() => reference_form(our_reference(message.id, segment)),
        form => form,
    }
}

fn reference_form(reference: u16) -> String {
    format!("~{reference}")
}

fn expect_receipt(
    sql: &Sql,
    message: &Message,
    segment: u8,
    canonical: &str,
    carrier_id: &str,
) -> Result<()> {
    sql.prepare_cached(
        "INSERT OR REPLACE INTO outstanding (connection, canonical, message, segment, carrier_id) VALUES (?1, ?2, ?3, ?4, ?5)",
    )
    .and_then(|mut s| s.execute(params![message.connection.key(), canonical, message.id.key(), segment, carrier_id]))
    .map(drop)
    .map_err(failed)
}

fn forget_receipt(sql: &Sql, message: &Message, segment: u8, canonical: &str) -> Result<()> {
    sql.prepare_cached(
        "DELETE FROM outstanding WHERE connection = ?1 AND canonical = ?2 AND message = ?3 AND segment = ?4",
    )
    .and_then(|mut s| s.execute(params![message.connection.key(), canonical, message.id.key(), segment]))
    .map(drop)
    .map_err(failed)
}

/// Keeps a receipt whose segment is not known, and forgets the oldest of its connection when that has too many. Gives
/// the number of rows that were forgotten.
fn park(tx: &mut Tx<'_>, connection: ConnectionId, receipt: &Receipt, now: Timestamp) -> Result<usize> {
    let number = tx.next_id(now)?;
    let body = column::receipt_text(receipt);
    let by_reference = receipt.our_reference.map(reference_form);
    let mut rows = 0;
    for canonical in receipt::lookups(receipt).into_iter().chain(by_reference) {
        tx.sql
            .prepare_cached("INSERT INTO parked (receipt, connection, canonical, body, parked_at) VALUES (?1, ?2, ?3, ?4, ?5)")
            .and_then(|mut s| s.execute(params![number, connection.key(), canonical, body, now.as_millis()]))
            .map_err(failed)?;
        rows += 1;
    }
    let excess = tx.note_parked(connection.key(), rows)?;
    if excess == 0 {
        return Ok(0);
    }
    // The plus sign keeps the order of the receipts as the way to find them: nothing has to be sorted.
    let forgotten = tx
        .sql
        .prepare_cached("DELETE FROM parked WHERE id IN (SELECT id FROM parked WHERE +connection = ?1 ORDER BY receipt LIMIT ?2)")
        .and_then(|mut s| s.execute(params![connection.key(), excess.max(FORGOTTEN_AT_ONCE) as i64]))
        .map_err(failed)?;
    tx.note_unparked(connection.key(), forgotten)?;
    Ok(forgotten)
}

fn parked(
    sql: &Sql,
    connection: ConnectionId,
    canonical: &str,
    since: Timestamp,
) -> Result<Vec<(i64, Receipt)>> {
    let mut statement = sql
        .prepare_cached("SELECT receipt, body FROM parked WHERE connection = ?1 AND canonical = ?2 AND parked_at >= ?3 ORDER BY receipt LIMIT 20")
        .map_err(failed)?;
    let rows = statement
        .query_map(params![connection.key(), canonical, since.as_millis()], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
        })
        .map_err(failed)?
        .collect::<rusqlite::Result<Vec<_>>>()
        .map_err(failed)?;
    rows.into_iter().map(|(number, body)| Ok((number, column::receipt(&body)?))).collect()
}

/// Keeps a receipt that crashes whoever matches it: under a form that no carrier's id has, until its retention is over.
fn park_unread(tx: &mut Tx<'_>, connection: ConnectionId, receipt: &Receipt, now: Timestamp) -> Result<()> {
    let number = tx.next_id(now)?;
    tx.sql
        .prepare_cached("INSERT INTO parked (receipt, connection, canonical, body, parked_at) VALUES (?1, ?2, '!', ?3, ?4)")
        .and_then(|mut s| s.execute(params![number, connection.key(), receipt.raw, now.as_millis()]))
        .map_err(failed)?;
    tx.note_parked(connection.key(), 1).map(drop)
}

fn unpark(tx: &mut Tx<'_>, connection: ConnectionId, number: i64) -> Result<()> {
    let rows = tx
        .sql
        .prepare_cached("DELETE FROM parked WHERE receipt = ?1")
        .and_then(|mut s| s.execute([number]))
        .map_err(failed)?;
    tx.note_unparked(connection.key(), rows)
}

// ── the queue and the clock ─────────────────────────────────────────────────────────────────────────────────

pub(super) fn claim(
    tx: &mut Tx<'_>,
    connection: &ConnectionId,
    limit: &usize,
    now: &Timestamp,
) -> Result<Claimed> {
    let retry = RetryPolicy::default();
    let mut commit = Commit::new(*now, &retry, Jitter(0));
    let mut claimed = Claimed::default();
    let mut room = *limit;
    let mut ended = 0;
    'purposes: for purpose in Purpose::ALL {
        // Read in small steps: a claim for one place must not read a thousand rows.
        loop {
            if room == 0 {
                break 'purposes;
            }
            if ended >= ENDED_MAX {
                claimed.more = true;
                break 'purposes;
            }
            let step = room.min(256) + tx.set_aside().len();
            let due = due_messages(
                tx.sql,
                "SELECT message FROM due WHERE lane = ?1 AND priority = ?2 AND due_at <= ?3 ORDER BY due_at, message LIMIT ?4",
                params![connection.key(), purpose.priority(), now.as_millis(), step as i64],
            )?;
            let found = due.len();
            for id in due {
                if room == 0 {
                    break 'purposes;
                }
                let most = if claimed.tickets.is_empty() { usize::MAX } else { room };
                match tx.contain(id, |tx| claim_one(tx, &mut commit, id, most))? {
                    Some(Claim::Taken(ticket)) => {
                        room = room.saturating_sub(ticket.segments.len());
                        claimed.tickets.push(*ticket);
                    }
                    Some(Claim::Ended) => ended += 1,
                    Some(Claim::Damaged) => {
                        // Its row is not where the message says, perhaps, and would be found again by each step.
                        take_from_lane(tx.sql, *connection, purpose, id)?;
                        ended += 1;
                    }
                    Some(Claim::TooLarge) => {
                        claimed.more = true;
                        break 'purposes;
                    }
                    // Set aside. Its row is found again by each step.
                    None => {}
                }
            }
            if found < step {
                break;
            }
        }
    }
    claimed.more |= room == 0;
    commit.out.crashed = tx.set_aside();
    claimed.advanced = commit.out;
    Ok(claimed)
}

/// What became of a message in the queue.
enum Claim {
    Taken(Box<Ticket>),
    /// Its time was over.
    Ended,
    /// What is stored of it cannot be trusted.
    Damaged,
    /// It has more segments than there is room for.
    TooLarge,
}

fn claim_one(tx: &mut Tx<'_>, commit: &mut Commit<'_>, id: MessageId, room: usize) -> Result<Claim> {
    let hot = match load_with_text(tx.sql, id) {
        Ok(Some(hot)) => hot,
        Ok(None) => {
            tracing::error!(message = %id, "a message in its queue is not stored");
            return Ok(Claim::Damaged);
        }
        Err(Error::Corrupt(why)) => {
            tracing::error!(message = %id, why, "what is stored of a message cannot be read; it is not sent");
            take_out(tx, id)?;
            return Ok(Claim::Damaged);
        }
        Err(error) => return Err(error),
    };
    if hot.damaged {
        tracing::error!(message = %id, "what is stored of a message is not what was accepted; it is not sent");
        commit.apply_to(tx, hot, Input::Quarantined(damaged()))?;
        return Ok(Claim::Damaged);
    }
    let segments = waiting_segments(&hot.life);
    if segments.len() > room {
        return Ok(Claim::TooLarge);
    }
    let message = hot.message.clone();
    poison::taste("claim", || message.reference.as_deref());
    // Going on would find the same row again and again.
    let Ok(transition) = hot.life.apply(Input::Claimed, message.terms(), commit.now, commit.rules()) else {
        return Err(column::corrupt("message in its queue", id));
    };
    let attempt = transition.life.attempt;
    let taken = matches!(transition.life.state, State::Sending { .. });
    commit.write(tx, hot, transition.life, transition.effects)?;
    Ok(if taken { Claim::Taken(Box::new(Ticket { message, attempt, segments })) } else { Claim::Ended })
}

/// Takes a row out of a queue when its message cannot say where it is. Reads the queue up to it.
fn take_from_lane(sql: &Sql, lane: ConnectionId, purpose: Purpose, id: MessageId) -> Result<()> {
    sql.prepare_cached("DELETE FROM due WHERE lane = ?1 AND priority = ?2 AND message = ?3")
        .and_then(|mut s| s.execute(params![lane.key(), purpose.priority(), id.key()]))
        .map_err(failed)?;
    Ok(())
}

/// The segments that a claim submits.
fn waiting_segments(life: &Life) -> Vec<u8> {
    (0..life.segments.len()).filter(|&n| life.segments[n] == Segment::Waiting).map(|n| n as u8).collect()
}

fn due_messages(sql: &Sql, query: &str, params: impl rusqlite::Params) -> Result<Vec<MessageId>> {
    let mut statement = sql.prepare_cached(query).map_err(failed)?;
    let rows =
        statement.query_map(params, |row| row.get::<_, i64>(0).map(MessageId::from_key)).map_err(failed)?;
    rows.collect::<rusqlite::Result<_>>().map_err(failed)
}

pub(super) fn wake(tx: &mut Tx<'_>, limit: &usize, now: &Timestamp, rules: &Patience) -> Result<Advanced> {
    let mut commit = Commit::new(*now, &rules.retry, rules.jitter);
    let mut due = Vec::new();
    for purpose in Purpose::ALL {
        due.extend(due_messages(
            tx.sql,
            "SELECT message FROM due WHERE lane = 0 AND priority = ?1 AND due_at <= ?2 ORDER BY due_at, message LIMIT ?3",
            params![purpose.priority(), now.as_millis(), *limit as i64],
        )?);
    }
    let over = due_messages(
        tx.sql,
        "SELECT message FROM due WHERE expires_at IS NOT NULL AND expires_at <= ?1 ORDER BY expires_at LIMIT ?2",
        params![now.as_millis(), *limit as i64],
    )?;
    commit.out.more = due.len() + over.len() >= *limit;
    // A long queue of the one kind leaves half of every commit to the other.
    due.truncate(limit.saturating_sub(over.len()).max(*limit / 2));
    due.extend(over.into_iter().take(*limit - due.len()));
    for id in due {
        tx.contain(id, |tx| commit.look_at(tx, id))?;
    }
    commit.out.crashed = tx.set_aside();
    Ok(commit.out)
}

impl Commit<'_> {
    /// The moment of a message may have come.
    fn look_at(&mut self, tx: &mut Tx<'_>, id: MessageId) -> Result<()> {
        let Some(hot) = load(tx.sql, id)? else { return Ok(()) };
        match hot.life.state.wakes_at() {
            Some(at) if at > self.now && !hot.life.state.is_waiting() => self.move_due(tx, hot, at),
            Some(_) => {
                let late = matches!(hot.life.state, State::Unconfirmed { .. });
                let message = hot.message.clone();
                let (segments, due) = (hot.life.segments.clone(), hot.due);
                let status = self.apply_to(tx, hot, Input::TimeUp)?;
                if status.is_none() && late {
                    // The time for a late receipt is over: nothing more is expected.
                    end_waiting(tx.sql, &message, &segments, due)?;
                }
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Moves a row that was due too early to the moment the message really waits for.
    fn move_due(&mut self, tx: &mut Tx<'_>, hot: Hot, at: Timestamp) -> Result<()> {
        if let Some(old) = hot.due {
            old.delete(tx.sql, &hot.message)?;
        }
        let new = Due { lane: LOOK_AGAIN, due_at: at.as_millis() };
        new.insert(tx.sql, &hot.message)?;
        tx.sql
            .prepare_cached("UPDATE message SET lane = ?2, due_at = ?3 WHERE id = ?1")
            .and_then(|mut s| s.execute(params![hot.message.id.key(), new.lane, new.due_at]))
            .map(drop)
            .map_err(failed)
    }
}

fn end_waiting(sql: &Sql, message: &Message, segments: &[Segment], due: Option<Due>) -> Result<()> {
    if let Some(due) = due {
        due.delete(sql, message)?;
    }
    for (n, segment) in segments.iter().enumerate() {
        if let Some(carrier_id) = segment.carrier_id() {
            forget_receipt(sql, message, n as u8, &receipt::canonical(carrier_id))?;
        }
        forget_receipt(sql, message, n as u8, &reference_form(our_reference(message.id, n as u8)))?;
    }
    sql.prepare_cached("UPDATE message SET until = NULL, lane = NULL, due_at = NULL WHERE id = ?1")
        .and_then(|mut s| s.execute([message.id.key()]))
        .map(drop)
        .map_err(failed)
}

pub(super) fn recover(
    tx: &mut Tx<'_>,
    connection: &Option<ConnectionId>,
    limit: &usize,
    now: &Timestamp,
    rules: &Patience,
) -> Result<Advanced> {
    let mut commit = Commit::new(*now, &rules.retry, rules.jitter);
    // A claim's row in `due` stands at the end of its lease from the claim to the answer. So the claims of an earlier
    // process lie below this moment, and what waits for receipts, which may be millions, lies mostly above it.
    let leases_end = now.plus_ms(LEASE_MS + CLOCK_BACK_MS);
    let mut claimed = Vec::new();
    for purpose in Purpose::ALL {
        claimed.extend(due_messages(
            tx.sql,
            "SELECT d.message FROM due d CROSS JOIN message m ON m.id = d.message
             WHERE d.lane = 0 AND d.priority = ?1 AND d.due_at <= ?2 AND m.state = ?3
               AND (?5 IS NULL OR m.connection = ?5) LIMIT ?4",
            params![
                purpose.priority(),
                leases_end.as_millis(),
                column::status_number(Status::Sending),
                (*limit - claimed.len()) as i64,
                connection.map(ConnectionId::key)
            ],
        )?);
    }
    commit.out.more = claimed.len() >= *limit;
    for id in claimed {
        let status = tx.contain(id, |tx| commit.apply(tx, id, Input::Orphaned))?.flatten();
        commit.out.statuses.push(status);
    }
    commit.out.crashed = tx.set_aside();
    Ok(commit.out)
}

pub(super) fn quarantine(
    tx: &mut Tx<'_>,
    messages: &[MessageId],
    why: &Failure,
    now: &Timestamp,
) -> Result<Advanced> {
    let retry = RetryPolicy::default();
    let mut commit = Commit::new(*now, &retry, Jitter(0));
    for &id in messages {
        let status = tx.contain(id, |tx| commit.apply(tx, id, Input::Quarantined(why.clone())))?.flatten();
        if status.is_none() {
            take_out(tx, id)?;
        }
        commit.out.statuses.push(status);
    }
    Ok(commit.out)
}

/// Takes a message out of every queue without a look at anything else of it: there is no event, and nobody is told.
fn take_out(tx: &mut Tx<'_>, id: MessageId) -> Result<()> {
    let found = tx
        .sql
        .prepare_cached(
            "SELECT lane, purpose, due_at, account FROM message WHERE id = ?1 AND lane IS NOT NULL",
        )
        .and_then(|mut s| {
            s.query_row([id.key()], |row| {
                Ok((
                    row.get::<_, i64>(0)?,
                    row.get::<_, i64>(1)?,
                    row.get::<_, i64>(2)?,
                    row.get::<_, i64>(3)?,
                ))
            })
            .optional()
        })
        .map_err(failed)?;
    let Some((lane, priority, due_at, account)) = found else { return Ok(()) };
    tx.sql
        .prepare_cached("DELETE FROM due WHERE lane = ?1 AND priority = ?2 AND due_at = ?3 AND message = ?4")
        .and_then(|mut s| s.execute(params![lane, priority, due_at, id.key()]))
        .map_err(failed)?;
    // What was told as final stays; what was handed over may be at the carrier.
    tx.sql
        .prepare_cached(
            "UPDATE message SET state = CASE WHEN state IN (?2, ?3) THEN ?7 WHEN state IN (?4, ?5, ?6) THEN ?8 ELSE state END,
               until = NULL, lane = NULL, due_at = NULL WHERE id = ?1",
        )
        .and_then(|mut s| {
            s.execute(params![
                id.key(),
                column::status_number(Status::Scheduled),
                column::status_number(Status::Queued),
                column::status_number(Status::Sending),
                column::status_number(Status::Sent),
                column::DOUBTFUL,
                column::status_number(Status::Failed),
                column::status_number(Status::Unconfirmed),
            ])
        })
        .map_err(failed)?;
    let purpose = u8::try_from(priority).ok().and_then(Purpose::from_priority);
    if let Some(purpose) = purpose.filter(|_| lane != LOOK_AGAIN) {
        tx.waits_of(AccountId::from_key(account), purpose, -1);
    }
    tracing::error!(message = %id, "it could not even be set aside, and was taken out of its queue as it is");
    Ok(())
}

pub(super) fn waiting(tx: &mut Tx<'_>) -> Result<Arc<Waiting>> {
    tx.waiting(count_waiting)
}

/// Counts what stands in the queues. The rows do not say whose they are: where there is one account it is known, and
/// else each message is asked, which is some ten times slower.
pub(super) fn count_waiting(sql: &Sql) -> Result<BTreeMap<AccountId, ByPurpose>> {
    let accounts: i64 = sql
        .prepare_cached("SELECT count(*) FROM account")
        .and_then(|mut s| s.query_row([], |row| row.get(0)))
        .map_err(failed)?;
    let mut statement = sql
        .prepare_cached(if accounts == 1 {
            "SELECT (SELECT id FROM account), priority, count(*) FROM due WHERE lane > 0 GROUP BY lane, priority"
        } else {
            "SELECT m.account, d.priority, count(*) FROM due d CROSS JOIN message m ON m.id = d.message WHERE d.lane > 0
             GROUP BY m.account, d.priority"
        })
        .map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    let mut counts: BTreeMap<AccountId, ByPurpose> = BTreeMap::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let priority: u8 = get(row, 1)?;
        let purpose = Purpose::from_priority(priority).ok_or_else(|| column::corrupt("purpose", priority))?;
        let of_account = counts.entry(AccountId::from_key(get(row, 0)?)).or_default();
        of_account[usize::from(purpose.priority())] += get::<i64>(row, 2)? as u64;
    }
    Ok(counts)
}

pub(super) fn next_due(
    rx: &mut Rx<'_>,
    connection: &Option<ConnectionId>,
    now: &Timestamp,
) -> Result<Option<Timestamp>> {
    let first = |lane: i64, priority: u8| {
        rx.sql
            .prepare_cached(
                "SELECT due_at FROM due WHERE lane = ?1 AND priority = ?2 ORDER BY due_at LIMIT 1",
            )
            .and_then(|mut s| s.query_row(params![lane, priority], |row| row.get::<_, i64>(0)).optional())
            .map_err(failed)
    };
    let lane = connection.map_or(LOOK_AGAIN, ConnectionId::key);
    let mut earliest: Option<i64> = None;
    for purpose in Purpose::ALL {
        earliest = [earliest, first(lane, purpose.priority())?].into_iter().flatten().min();
    }
    if connection.is_none() {
        let expiry = rx
            .sql
            .prepare_cached("SELECT min(expires_at) FROM due WHERE expires_at IS NOT NULL")
            .and_then(|mut s| s.query_row([], |row| row.get::<_, Option<i64>>(0)))
            .map_err(failed)?;
        let parts = rx
            .sql
            .prepare_cached("SELECT min(due_at) FROM inbound WHERE due_at IS NOT NULL")
            .and_then(|mut s| s.query_row([], |row| row.get::<_, Option<i64>>(0)))
            .map_err(failed)?;
        earliest = [earliest, expiry, parts].into_iter().flatten().min();
    }
    Ok(earliest.map(|at| Timestamp::from_millis(at).max(*now)))
}

// ── what follows for who is on the suppression list ─────────────────────────────────────────────────────────

pub(super) fn stop_waiting(
    tx: &mut Tx<'_>,
    people: &[(Realm, PhoneNumber)],
    limit: &usize,
    now: &Timestamp,
) -> Result<Advanced> {
    let mut out = Advanced::default();
    for (realm, recipient) in people {
        let query = "SELECT message FROM due WHERE recipient = ?1 LIMIT 1";
        if due_messages(tx.sql, query, [recipient.digits() as i64])?.is_empty() {
            continue;
        }
        let left = limit.saturating_sub(out.counted.len());
        if left == 0 {
            out.more = true;
            break;
        }
        if let Some(why) = suppression::in_force(tx.sql, *realm, *recipient, *now)? {
            out.add(end_waiting_for(tx, *realm, *recipient, why, left, *now)?);
        }
    }
    out.crashed = tx.set_aside();
    Ok(out)
}

/// Ends up to `limit` messages that wait in a queue for somebody who is on the list, but what may pass all the same. One
/// that crashes is left, and met again when it comes up.
pub(super) fn end_waiting_for(
    tx: &mut Tx<'_>,
    realm: Realm,
    recipient: PhoneNumber,
    why: Reason,
    limit: usize,
    now: Timestamp,
) -> Result<Advanced> {
    let retry = RetryPolicy::default();
    let mut commit = Commit::new(now, &retry, Jitter(0));
    let waiting = due_messages(
        tx.sql,
        "SELECT message FROM due WHERE recipient = ?1 ORDER BY message LIMIT ?2",
        params![recipient.digits() as i64, limit as i64],
    )?;
    let is_full = waiting.len() == limit;
    for id in waiting {
        let end = |tx: &mut Tx<'_>| {
            let Some(hot) = load(tx.sql, id)? else { return Ok(None) };
            if hot.message.realm() != realm || !why.stops(hot.message.reply, hot.message.created_at, now) {
                return Ok(None);
            }
            commit.apply_to(tx, hot, Input::Stopped(why.failure()))
        };
        tx.contain(id, end)?;
    }
    // Where none of them ended, the same call would find the same.
    commit.out.more = is_full && !commit.out.counted.is_empty();
    commit.out.crashed = tx.set_aside();
    Ok(commit.out)
}

/// Puts a message into its connection's queue without a look at the suppression list.
pub(super) fn enqueue(tx: &mut Tx<'_>, draft: &Draft, now: Timestamp, out: &mut Advanced) -> Result<()> {
    let Draft { message, life, .. } = draft;
    insert(tx.sql, message, life, now)?;
    if life.state.is_waiting() {
        tx.waits(message, 1);
    }
    out.queued.extend(life.state.wakes_at().map(|at| (message.connection, at)));
    Ok(())
}

/// How many messages do not fit their checksums or cannot be read at all, and the first of them.
pub(super) fn all_damaged(sql: &Sql) -> Result<Option<(MessageId, u64)>> {
    // A copy that an older version made has no checksums yet.
    let has_any = "SELECT EXISTS (SELECT 1 FROM pragma_table_info('message') WHERE name = 'checksum')";
    if !sql.query_row(has_any, [], |row| row.get::<_, bool>(0)).map_err(failed)? {
        return Ok(None);
    }
    let mut statement = sql
        .prepare(&format!(
            "SELECT {COLUMNS}, text, checksum, reply, reply_to, template, template_version FROM message"
        ))
        .map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    let mut found = None;
    while let Some(row) = rows.next().map_err(failed)? {
        if !hot(row).is_ok_and(|hot| !hot.damaged) {
            let id = MessageId::from_key(get(row, 0)?);
            found.get_or_insert((id, 0)).1 += 1;
        }
    }
    Ok(found)
}

// ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────

/// A message as decisions need it, with the place of its `due` row.
struct Hot {
    message: Message,
    life: Life,
    due: Option<Due>,
    /// It was read with its text and does not fit its checksum. Its text is left out.
    damaged: bool,
}

const COLUMNS: &str = "id, account, live, token, batch, purpose, sender, recipient, form, segments, connection, created_at, \
    send_at, expires_at, callback, reference, metadata, retry_of, state, until, lane, due_at, attempt, tries, resends, parts, \
    failure, updated_at";

fn load(sql: &Sql, id: MessageId) -> Result<Option<Hot>> {
    one(sql, query_of_one(false), id)
}

/// What never changes of a message, for telling an event about it.
pub(super) fn unchanging(sql: &Sql, id: MessageId) -> Result<Option<Message>> {
    Ok(load(sql, id)?.map(|hot| hot.message))
}

fn load_with_text(sql: &Sql, id: MessageId) -> Result<Option<Hot>> {
    one(sql, query_of_one(true), id)
}

/// The two statements, spelled out because a constant cannot be put together from [`COLUMNS`].
const fn query_of_one(with_text: bool) -> &'static str {
    if with_text {
        "SELECT id, account, live, token, batch, purpose, sender, recipient, form, segments, connection, created_at, \
         send_at, expires_at, callback, reference, metadata, retry_of, state, until, lane, due_at, attempt, tries, resends, parts, \
         failure, updated_at, text, checksum, reply, reply_to, template, template_version FROM message WHERE id = ?1"
    } else {
        "SELECT id, account, live, token, batch, purpose, sender, recipient, form, segments, connection, created_at, \
         send_at, expires_at, callback, reference, metadata, retry_of, state, until, lane, due_at, attempt, tries, resends, parts, \
         failure, updated_at, NULL, NULL, reply, reply_to, template, template_version FROM message WHERE id = ?1"
    }
}

fn one(sql: &Sql, query: &str, id: MessageId) -> Result<Option<Hot>> {
    let mut statement = sql.prepare_cached(query).map_err(failed)?;
    let mut rows = statement.query([id.key()]).map_err(failed)?;
    match rows.next().map_err(failed)? {
        Some(row) => hot(row).map(Some),
        None => Ok(None),
    }
}

fn hot(row: &Row<'_>) -> Result<Hot> {
    let form: i64 = get(row, 8)?;
    let (options, encoding) = column::form(form);
    let sender: String = get(row, 6)?;
    let recipient: i64 = get(row, 7)?;
    let time = |n: usize| get::<i64>(row, n).map(Timestamp::from_millis);
    let maybe = |n: usize| get::<Option<i64>>(row, n);
    let priority: u8 = get(row, 5)?;
    let mut message = Message {
        id: MessageId::from_key(get(row, 0)?),
        account: AccountId::from_key(get(row, 1)?),
        environment: environment(get(row, 2)?),
        token: maybe(3)?.map(TokenId::from_key),
        batch: maybe(4)?.map(BatchId::from_key),
        purpose: Purpose::from_priority(priority).ok_or_else(|| column::corrupt("purpose", priority))?,
        sender: Sender::from_stored(&sender).ok_or_else(|| column::corrupt("sender", &sender))?,
        recipient: number(recipient)?,
        text: get(row, 28)?,
        encoding,
        options,
        segments: get(row, 9)?,
        connection: ConnectionId::from_key(get(row, 10)?),
        created_at: time(11)?,
        send_at: maybe(12)?.map(Timestamp::from_millis),
        expires_at: time(13)?,
        callback: maybe(14)?.map(EndpointId::from_key),
        reference: get(row, 15)?,
        metadata: get(row, 16)?,
        retry_of: maybe(17)?.map(MessageId::from_key),
        reply: column::reply(maybe(30)?, maybe(31)?)?,
        template: column::origin(maybe(32)?, maybe(33)?)?,
    };
    let parts: String = get(row, 25)?;
    let life = Life {
        state: column::state(get(row, 18)?, maybe(19)?)?,
        attempt: get(row, 22)?,
        tries: get(row, 23)?,
        resends: get(row, 24)?,
        segments: column::segments(&parts)?,
    };
    let due = match (maybe(20)?, maybe(21)?) {
        (Some(lane), Some(due_at)) => Some(Due { lane, due_at }),
        _ => None,
    };
    // Nobody is shown, and nobody sent, a text that may not be what was accepted.
    let damaged = message.text.is_some() && maybe(29)?.is_some_and(|sum| sum != column::checksum(&message));
    if damaged {
        message.text = None;
    }
    Ok(Hot { message, life, due, damaged })
}

fn stored(row: &Row<'_>) -> Result<Stored> {
    let Hot { message, life, .. } = hot(row)?;
    let failure: Option<String> = get(row, 26)?;
    Ok(Stored {
        message,
        life,
        failure: failure.as_deref().map(column::failure).transpose()?,
        updated_at: Timestamp::from_millis(get(row, 27)?),
    })
}

pub(super) fn message(rx: &mut Rx<'_>, realm: &Realm, id: &MessageId) -> Result<Option<Stored>> {
    find(rx.sql, *realm, *id)
}

pub(super) fn find(sql: &Sql, realm: Realm, id: MessageId) -> Result<Option<Stored>> {
    let mut statement = sql.prepare_cached(query_of_one(true)).map_err(failed)?;
    let mut rows = statement.query([id.key()]).map_err(failed)?;
    let Some(row) = rows.next().map_err(failed)? else { return Ok(None) };
    let stored = stored(row)?;
    let owner = stored.message.realm();
    Ok((owner == realm).then_some(stored))
}

/// Rows that one page may look at: a filter that fits nothing must not read the whole history at once.
const SCAN_MAX: usize = 50_000;

pub(super) fn messages(
    rx: &mut Rx<'_>,
    realm: &Realm,
    filter: &MessageFilter,
    page: &Page,
) -> Result<Paged<Stored>> {
    let mut ceiling = page.before.unwrap_or(i64::MAX);
    let mut floor = 0;
    if let Some(since) = filter.since {
        floor = tidings_domain::id::floor_at(since);
    }
    if let Some(until) = filter.until {
        ceiling = ceiling.min(tidings_domain::id::floor_at(until));
    }
    if let Some(batch) = filter.batch {
        let last = rx
            .sql
            .prepare_cached("SELECT last_message FROM batch WHERE id = ?1")
            .and_then(|mut s| s.query_row([batch.key()], |row| row.get::<_, i64>(0)).optional())
            .map_err(failed)?;
        floor = floor.max(batch.key());
        ceiling = ceiling.min(last.map_or(0, |last| last + 1));
    }
    let query = format!(
        "SELECT {COLUMNS}, text, checksum, reply, reply_to, template, template_version FROM message WHERE id < ?1 AND id >= ?2 ORDER BY id DESC LIMIT {SCAN_MAX}"
    );
    let mut statement = rx.sql.prepare_cached(&query).map_err(failed)?;
    let mut rows = statement.query(params![ceiling, floor]).map_err(failed)?;
    let mut items = Vec::new();
    let mut looked_at = 0;
    let mut last = None;
    while let Some(row) = rows.next().map_err(failed)? {
        looked_at += 1;
        let id: i64 = get(row, 0)?;
        if fits(row, *realm, filter)? {
            if items.len() == page.limit {
                return Ok(Paged { items, next: last });
            }
            items.push(stored(row)?);
        }
        last = Some(id);
    }
    Ok(Paged { items, next: if looked_at == SCAN_MAX { last } else { None } })
}

fn fits(row: &Row<'_>, realm: Realm, filter: &MessageFilter) -> Result<bool> {
    let same_text = |n: usize, wanted: &Option<String>| -> Result<bool> {
        let Some(wanted) = wanted else { return Ok(true) };
        let value = row.get_ref(n).map_err(failed)?;
        Ok(value.as_str().is_ok_and(|value| value == wanted))
    };
    if get::<i64>(row, 1)? != realm.account.key() || get::<i64>(row, 2)? != live(realm.environment) {
        return Ok(false);
    }
    if let Some(recipient) = filter.recipient
        && get::<i64>(row, 7)? != recipient.digits() as i64
    {
        return Ok(false);
    }
    if let Some(batch) = filter.batch
        && get::<Option<i64>>(row, 4)? != Some(batch.key())
    {
        return Ok(false);
    }
    if let Some(status) = filter.status
        && column::status(get(row, 18)?)? != status
    {
        return Ok(false);
    }
    if let Some(carrier_id) = &filter.carrier_id {
        let parts: String = get(row, 25)?;
        let wanted = receipt::canonical(carrier_id);
        let has = column::segments(&parts)?
            .iter()
            .any(|segment| segment.carrier_id().is_some_and(|id| receipt::canonical(id) == wanted));
        if !has {
            return Ok(false);
        }
    }
    Ok(same_text(6, &filter.sender)? && same_text(15, &filter.reference)?)
}

pub(super) fn timeline(rx: &mut Rx<'_>, realm: &Realm, id: &MessageId) -> Result<Option<Timeline>> {
    let Some(stored) = find(rx.sql, *realm, *id)? else { return Ok(None) };
    let events = event::of_message(rx.sql, *id)?;
    let ids: Vec<EventId> = events.iter().map(|(id, _)| *id).collect();
    let endpoints = super::endpoint::of_realm(rx.sql, Some(*realm))?;
    let attempts = event::attempts_about(rx.sql, &endpoints, &ids)?;
    let deliveries = event::open_about(rx.sql, &ids)?;
    let connection = super::operating::connection(rx.sql, stored.message.connection)?;
    Ok(Some(Timeline { stored, events, attempts, deliveries, connection }))
}

pub(super) fn redact(
    tx: &mut Tx<'_>,
    realm: &Realm,
    id: &MessageId,
    actor: &Actor,
    now: &Timestamp,
) -> Result<Option<Stored>> {
    let Some(stored) = find(tx.sql, *realm, *id)? else { return Ok(None) };
    if stored.message.text.is_some() {
        tx.sql
            .prepare_cached("UPDATE message SET text = NULL, updated_at = ?2 WHERE id = ?1")
            .and_then(|mut s| s.execute(params![id.key(), now.as_millis()]))
            .map_err(failed)?;
        let event = Event {
            kind: Kind::Redacted,
            status: stored.life.state.status(),
            attempt: stored.life.attempt,
            at: *now,
            due_at: None,
            failure: None,
            raw: None,
        };
        let listeners = tx.listeners()?;
        publish(tx, &listeners, &stored.message, event, &mut Vec::new())?;
        super::operating::write_audit(tx, actor, "message.redact", &id.to_string(), "", *now)?;
        conversation::forget_words(tx.sql, *realm, *id)?;
    }
    find(tx.sql, *realm, *id)
}

pub(super) fn batch(rx: &mut Rx<'_>, realm: &Realm, id: &BatchId) -> Result<Option<Batch>> {
    let found = rx
        .sql
        .prepare_cached("SELECT account, live, created_at, asked, last_message FROM batch WHERE id = ?1")
        .and_then(|mut s| {
            s.query_row([id.key()], |row| {
                Ok((
                    row.get::<_, i64>(0)?,
                    row.get::<_, i64>(1)?,
                    row.get::<_, i64>(2)?,
                    row.get::<_, u32>(3)?,
                    row.get::<_, i64>(4)?,
                ))
            })
            .optional()
        })
        .map_err(failed)?;
    let Some((account, is_live, created_at, asked, last)) = found else { return Ok(None) };
    if account != realm.account.key() || is_live != live(realm.environment) {
        return Ok(None);
    }
    let mut statement = rx
        .sql
        .prepare_cached(
            "SELECT state, count(*) FROM message WHERE id > ?1 AND id <= ?2 AND batch = ?1 GROUP BY state",
        )
        .map_err(failed)?;
    let rows = statement
        .query_map(params![id.key(), last], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
        .map_err(failed)?
        .collect::<rusqlite::Result<Vec<_>>>()
        .map_err(failed)?;
    let mut counts: Vec<(Status, u64)> = Vec::new();
    for (state, count) in rows {
        let status = column::status(state)?;
        match counts.iter_mut().find(|(known, _)| *known == status) {
            Some((_, sum)) => *sum += count as u64,
            None => counts.push((status, count as u64)),
        }
    }
    // In doubt is a number of its own, but shown as sending.
    counts.sort_unstable();
    Ok(Some(Batch { id: *id, created_at: Timestamp::from_millis(created_at), asked, counts }))
}

pub(super) fn batches(rx: &mut Rx<'_>, realm: &Realm, page: &Page) -> Result<Paged<Batch>> {
    let mut statement = rx
        .sql
        .prepare_cached(
            "SELECT id FROM batch WHERE id < ?1 AND account = ?2 AND live = ?3 ORDER BY id DESC LIMIT ?4",
        )
        .map_err(failed)?;
    let ids = statement
        .query_map(
            params![
                page.before.unwrap_or(i64::MAX),
                realm.account.key(),
                live(realm.environment),
                page.limit as i64 + 1
            ],
            |row| row.get::<_, i64>(0),
        )
        .map_err(failed)?
        .collect::<rusqlite::Result<Vec<_>>>()
        .map_err(failed)?;
    let more = ids.len() > page.limit;
    let mut items = Vec::new();
    for id in ids.into_iter().take(page.limit) {
        items.extend(batch(rx, realm, &BatchId::from_key(id))?);
    }
    let next = if more { items.last().map(|batch| batch.id.key()) } else { None };
    Ok(Paged { items, next })
}
