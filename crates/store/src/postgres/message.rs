//! Messages: everything that happens to them on their way. How they come in is in `accept.rs`, how they wait in
//! `queue.rs`, and what is read of them in `read.rs`.
//!
//! Read [`Commit::apply_to`] for the heart: look at the life, let the domain decide, note what it says on the sheet.
//! [`Sheet`] is where the lives of a whole group are while it runs, and says how they are loaded and written.

mod accept;
mod queue;
mod read;
mod sheet;

pub(super) use accept::{accept, accept_needs, accept_with, enqueue, is_crowded};
pub(super) use queue::{
    claim, claim_needs, count_waiting, end_waiting_for, next_due, quarantine, queues, queues_of_senders,
    recover, stop_waiting, waiting, wake,
};
pub(super) use read::{batch, batches, find_all, message, messages, redact, timeline, unchanging};
pub(super) use sheet::{Needs, Sheet};

use super::transaction::{self, Tx};
use super::{review, silence, suppression};
use crate::backend::*;
use crate::carriers::Lines;
use crate::column;
use crate::due::{CANDIDATES_MAX, LOOK_AGAIN, due_row, queue_of};
use crate::listeners::Listeners;
use crate::{Key, Result};
use std::sync::Arc;
use tidings_domain::conversation::is_lost;
use tidings_domain::event::Event;
use tidings_domain::failure::{Failure, Recovery};
use tidings_domain::id::*;
use tidings_domain::message::{Answer, Effect, Input, Life, Message, Outcome, Rules, State, Status};
use tidings_domain::poison;
use tidings_domain::queue::Queue;
use tidings_domain::reachability;
use tidings_domain::receipt::{
    self, Candidate, Receipt, expected_form, is_certain, is_reference, our_reference, reference_form,
};
use tidings_domain::retry::{Jitter, RetryPolicy};
use tidings_domain::time::Timestamp;

/// What happenings look at. Whose the receipts are and where the messages stand is known only when they are loaded;
/// what follows from that is named then.
pub(super) fn advance_needs(happenings: &[Happening], tx: &Tx, needs: &mut transaction::Needs) {
    for happening in happenings {
        let key = match happening {
            Happening::To { message, .. } => Key::from(*message),
            Happening::Receipt { receipt, .. } => Key::from(receipt),
        };
        tx.foresee(key, || happening_needs(happening, tx, needs));
    }
}

fn happening_needs(happening: &Happening, tx: &Tx, needs: &mut transaction::Needs) {
    let sheet = &tx.sheets.messages;
    match happening {
        Happening::To { message, input } => {
            needs.messages.message(sheet, *message);
            let Some(slot) = sheet.known(*message) else { return };
            let line = tx.carriers.lines(slot.message.connection).filed;
            if let Input::Answered { segment, answer: Answer::Accepted { carrier_id }, .. } = input {
                let form = expected_form(&slot.message, *segment, carrier_id);
                needs.messages.comes_under((line, form));
            }
            match input {
                Input::Answered { answer: Answer::Refused(failure), .. } if suppresses(failure) => {
                    needs.list.entry(&tx.sheets.list, slot.message.realm(), slot.message.recipient);
                }
                Input::Answered { segment, answer: Answer::Accepted { carrier_id }, .. }
                    if tx.may_be_parked() =>
                {
                    let form = expected_form(&slot.message, *segment, carrier_id);
                    needs.messages.parked(sheet, (line, form));
                }
                Input::Answered { segment, answer: Answer::None, .. } if tx.may_be_parked() => {
                    let reference = reference_form(our_reference(*message, *segment));
                    needs.messages.parked(sheet, (line, reference));
                }
                _ => {}
            }
        }
        Happening::Receipt { connection, receipt } => {
            let mut candidates = Vec::new();
            for form in tx.carriers.lines(*connection).forms(receipt) {
                if is_reference(&form.1) && receipt::choose(receipt, &candidates).is_some() {
                    break;
                }
                // Nearly always the likeliest form finds the segment, and the others need not be looked for.
                if !sheet.outstanding.contains_key(&form) {
                    needs.messages.outstanding(sheet, form);
                    break;
                }
                // Its answer is in the same transaction.
                if needs.messages.is_coming(&form) {
                    break;
                }
                for (message, segment, carrier_id) in sheet.found_under(&form) {
                    let Some(slot) = sheet.known(message) else { continue };
                    let (recipient, sender) = (slot.message.recipient, slot.message.sender);
                    candidates.push(Candidate { message, segment, carrier_id, recipient, sender });
                }
                if is_certain(receipt, &candidates) {
                    break;
                }
            }
            if receipt.outcome.as_ref().and_then(Outcome::failure).is_some_and(suppresses) {
                for slot in candidates.iter().filter_map(|candidate| sheet.known(candidate.message)) {
                    needs.list.entry(&tx.sheets.list, slot.message.realm(), slot.message.recipient);
                }
            }
        }
    }
}

/// Whether a failure puts its recipient on the list.
fn suppresses(failure: &Failure) -> bool {
    failure.recovery() == Recovery::Suppress
}

pub(super) async fn advance(
    tx: &mut Tx,
    happenings: &[Happening],
    now: &Timestamp,
    rules: &Patience,
) -> Result<Advanced> {
    let mut commit = Commit::of(*now, rules);
    for happening in happenings {
        let status = match happening {
            Happening::To { message, input } => {
                let apply = async |tx: &mut Tx| commit.apply(tx, *message, input.clone()).await;
                tx.contain(*message, apply).await?.flatten()
            }
            Happening::Receipt { connection, receipt } => {
                let lines = tx.carriers.lines(*connection);
                let handle = async |tx: &mut Tx| commit.receipt(tx, lines, receipt).await;
                match tx.contain(receipt, handle).await? {
                    Some(status) => status,
                    None => {
                        tx.park_unread(lines.filed, receipt, *now);
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

/// One operation's work on messages, with what it brings about.
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

    async fn apply(&mut self, tx: &mut Tx, id: MessageId, input: Input) -> Result<Option<Status>> {
        if !tx.find_message(id).await? {
            self.out.ignored += 1;
            return Ok(None);
        }
        self.apply_to(tx, id, input).await
    }

    /// To a message that was found.
    async fn apply_to(&mut self, tx: &mut Tx, id: MessageId, input: Input) -> Result<Option<Status>> {
        let sheet = &mut tx.sheets.messages;
        let slot = sheet.slot(id);
        if slot.due.is_none() && matches!(slot.life.state, State::Unconfirmed { .. }) {
            // The time in which that could be corrected is over.
            self.out.ignored += 1;
            return Ok(None);
        }
        let message = Arc::clone(&slot.message);
        poison::taste("decide", || message.reference.as_deref());
        if matches!(input, Input::Answered { .. }) {
            poison::taste("answer", || message.reference.as_deref());
        }
        let accepted = match &input {
            Input::Answered { segment, answer: Answer::Accepted { carrier_id }, .. } => {
                Some((*segment, expected_form(&message, *segment, carrier_id), carrier_id.clone()))
            }
            _ => None,
        };
        let lines = tx.carriers.lines(message.connection);
        let is_open = slot.life.state.wakes_at().is_some();
        let (rules, answered) = (self.rules(), answered(&input));
        let transition = slot.life.apply(input, message.terms(), self.now, rules);
        if let Some((segment, form, carrier_id)) = &accepted {
            // Also when the answer is too late to change anything: a receipt with this id may come.
            if is_open {
                sheet.expect_receipt(lines.filed, &message, *segment, form.clone(), carrier_id.clone());
            }
        }
        let Ok(transition) = transition else {
            self.out.ignored += 1;
            return Ok(None);
        };
        let mut status = transition.life.state.status();
        let mut forms = Vec::new();
        let mut submitted_at = message.created_at;
        if tx.any_parked() {
            let before = &tx.sheets.messages.slot(id).life;
            submitted_at = submitted_from(&message, before, answered);
            // A receipt may have come before this: under the id that is known only now, or, where the answer is lost,
            // under our own reference.
            forms.extend(accepted.map(|(_, form, _)| form));
            for n in transition.life.newly_unanswered(before) {
                forms.push(reference_form(our_reference(id, n)));
            }
        }
        self.write(tx, id, transition.life, transition.effects).await?;
        for form in forms {
            for (number, receipt) in tx.find_parked(&(lines.filed, form), submitted_at).await? {
                if let Some((whose, after)) = Box::pin(self.match_receipt(tx, lines, &receipt)).await? {
                    tx.unpark(lines.filed, number, &receipt);
                    // It may have become certain that it is another's.
                    if whose == id {
                        status = after.unwrap_or(status);
                    }
                }
            }
        }
        Ok(Some(status))
    }

    async fn write(&mut self, tx: &mut Tx, id: MessageId, life: Life, effects: Vec<Effect>) -> Result<()> {
        let now = self.now;
        let sheet = &mut tx.sheets.messages;
        let slot = sheet.slot(id);
        let message = Arc::clone(&slot.message);
        let wanted = due_row(&message, &life.state, &tx.paces);
        let line = tx.carriers.lines(message.connection).filed;
        let stood = queue_of(slot.due);
        match (slot.due, wanted) {
            // A row that is due too early is moved when its time comes: most messages have ended by then.
            (Some(old), Some(new))
                if old.lane == new.lane && new.lane == LOOK_AGAIN && new.due_at >= old.due_at => {}
            (Some(old), Some(new)) if old == new => {}
            (_, new) => {
                slot.due = new;
                if let Some(new) = new.filter(|new| new.lane != LOOK_AGAIN) {
                    self.out.queued.push((Queue::from_key(new.lane), Timestamp::from_millis(new.due_at)));
                }
            }
        }
        let failure = effects.iter().rev().find_map(|effect| match effect {
            Effect::Publish(event) => Some(event.failure.as_ref().map(column::failure_text)),
            Effect::Suppress(_) | Effect::Review(_) | Effect::PauseConnection(_) => None,
        });
        if let Some(failure) = failure {
            slot.failure = failure;
        }
        slot.updated_at = now;
        slot.changed = true;
        let before = std::mem::replace(&mut slot.life, life.clone());
        let change = match (stood, queue_of(slot.due)) {
            (Some(_), None) => -1,
            (None, Some(_)) => 1,
            (Some(_), Some(_)) | (None, None) => 0,
        };
        for n in life.newly_unanswered(&before) {
            // No id was given; a receipt that names our own reference may still settle it.
            sheet.expect_receipt(line, &message, n, reference_form(our_reference(id, n)), String::new());
        }
        if life.state.wakes_at().is_none() && before.state.wakes_at().is_some() {
            for (n, segment) in before.segments.iter().zip(&life.segments).enumerate() {
                if let Some(carrier_id) = segment.1.carrier_id().or(segment.0.carrier_id()) {
                    sheet.forget_receipt(
                        line,
                        &message,
                        n as u8,
                        expected_form(&message, n as u8, carrier_id),
                    );
                }
            }
        }
        if is_lost(life.state.status()) && !is_lost(before.state.status()) {
            sheet.lost.push(id.key());
        }
        if change != 0 {
            tx.waits(&message, change);
        }
        for effect in effects {
            match effect {
                Effect::Publish(event) => self.publish(tx, &message, event),
                Effect::Suppress(failure) => suppression::from_failure(tx, &message, &failure, now).await?,
                Effect::Review(failure) => review::open(tx, &message, &failure, now),
                Effect::PauseConnection(failure) => self.out.paused.push((message.connection, failure)),
            }
        }
        match reachability::sign(before.state.status(), &life) {
            Some(sign) => silence::note(tx, &message, sign, self.unreachable.as_ref(), now).await,
            None => Ok(()),
        }
    }

    fn publish(&mut self, tx: &mut Tx, message: &Message, event: Event) {
        self.out.counted.push(Counted::of(message, &event));
        let listeners = tx.listeners();
        publish(tx, &listeners, message, event, &mut self.out.told);
    }

    async fn receipt(&mut self, tx: &mut Tx, lines: Lines, receipt: &Receipt) -> Result<Option<Status>> {
        match self.match_receipt(tx, lines, receipt).await? {
            Some((_, status)) => Ok(status),
            None => {
                self.out.forgotten += tx.park(lines.filed, receipt, self.now).await?;
                self.out.parked += 1;
                Ok(None)
            }
        }
    }

    /// Applies a receipt to the segment it speaks of, and gives its message with where that stands then (`None` if it
    /// was ignored). The outer `None` says that no segment is certain.
    async fn match_receipt(
        &mut self,
        tx: &mut Tx,
        lines: Lines,
        receipt: &Receipt,
    ) -> Result<Option<(MessageId, Option<Status>)>> {
        let mut candidates: Vec<Candidate> = Vec::new();
        for form in lines.forms(receipt) {
            // Our reference has sixteen bits, and another message may have the same: it is asked where the id says nothing.
            if is_reference(&form.1) && receipt::choose(receipt, &candidates).is_some() {
                break;
            }
            let found = tx.find_outstanding(&form).await?;
            if found.len() > CANDIDATES_MAX {
                // Not all are looked at, so none of them is certain.
                return Ok(None);
            }
            for (message, segment, carrier_id) in found {
                // Found by its id and by our reference: that is one segment, not two to choose from.
                if candidates.iter().any(|known| (known.message, known.segment) == (message, segment)) {
                    continue;
                }
                if !tx.find_message(message).await? {
                    continue;
                }
                let message_of = &tx.sheets.messages.slot(message).message;
                let (recipient, sender) = (message_of.recipient, message_of.sender);
                candidates.push(Candidate { message, segment, carrier_id, recipient, sender });
            }
            if is_certain(receipt, &candidates) {
                break;
            }
        }
        let Some(chosen) = receipt::choose(receipt, &candidates).cloned() else { return Ok(None) };
        let input = Input::Receipt {
            segment: chosen.segment,
            carrier_id: if chosen.carrier_id.is_empty() {
                receipt.carrier_id.clone()
            } else {
                chosen.carrier_id
            },
            outcome: receipt.outcome.clone(),
            raw: receipt.raw.clone(),
        };
        Ok(Some((chosen.message, self.apply_to(tx, chosen.message, input).await?)))
    }
}

/// Notes the event, and a delivery for everybody who wants to hear of it.
pub(super) fn publish(
    tx: &mut Tx,
    listeners: &Listeners,
    message: &Message,
    event: Event,
    told: &mut Vec<Told>,
) {
    let id = EventId::from_key(tx.next_event(event.at));
    let realm = message.realm();
    if event.kind.is_public() {
        for endpoint in listeners.of(realm, event.kind, message.callback) {
            let delivery = tx.sheets.events.lease_first(id, endpoint, realm, event.at);
            let about = About::Message(Box::new(message.without_text()));
            told.push(Told { id, realm, event: event.clone(), about, delivery: Some(delivery) });
        }
    }
    tx.sheets.events.log(id, realm, Some(message.id), None, event);
}
