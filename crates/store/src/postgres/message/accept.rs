//! Accepting messages: the rows of one call, with what may be done beside one. What becomes of them then is in
//! `message.rs`.

use super::Commit;
use super::sheet::{Answered, Call, Needs, Slot};
use crate::backend::*;
use crate::due::due_row;
use crate::postgres::reader::Rx;
use crate::postgres::transaction::{self, Tx};
use crate::postgres::{code, consent_request, conversation, frequency, pool, quota, spend, suppression};
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::sync::Arc;
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::gate;
use tidings_domain::message::Input;
use tidings_domain::purpose::Purpose;
use tidings_domain::quota::Count;
use tidings_domain::retry::{Jitter, RetryPolicy};
use tidings_domain::time::Timestamp;

/// Whether something is in the way of one of these that was taken not to be.
pub(in crate::postgres) async fn is_crowded(
    rx: &Rx<'_>,
    premises: &[(Realm, PhoneNumber, Premise)],
    now: &Timestamp,
) -> Result<bool> {
    let bounded: Vec<_> = premises.iter().filter(|(.., premise)| !premise.bounds.is_empty()).collect();
    if !bounded.is_empty() {
        let purposes: BTreeSet<Purpose> =
            bounded.iter().flat_map(|(.., premise)| premise.purposes()).collect();
        let purposes: Vec<Purpose> = purposes.into_iter().collect();
        let people: Vec<_> = bounded.iter().map(|(realm, recipient, _)| (*realm, *recipient)).collect();
        let others = frequency::turns(rx, &people, &purposes, now).await?;
        if bounded.iter().zip(others).any(|((.., premise), others)| !premise.has_turn(others)) {
            return Ok(true);
        }
    }
    let quotas: Vec<&AskedQuota> =
        premises.iter().filter_map(|(.., premise)| premise.quota.as_ref()).collect();
    if quotas.is_empty() {
        return Ok(false);
    }
    let counts: Vec<Count> = quotas.iter().map(|quota| quota.count.clone()).collect();
    let used = quota::quotas(rx, &counts).await?;
    Ok(quotas.iter().zip(used).any(|(quota, used)| !quota.fits(used)))
}

/// What an acceptance looks at.
pub(in crate::postgres) fn accept_needs(intake: &Intake, tx: &Tx, needs: &mut transaction::Needs) {
    if let Some(idempotency) = &intake.idempotency {
        needs.messages.call(&tx.sheets.messages, idempotency.key);
    }
    for draft in &intake.drafts {
        needs.messages.message(&tx.sheets.messages, draft.message.id);
        needs.list.entry(&tx.sheets.list, draft.message.realm(), draft.message.recipient);
    }
}

pub(in crate::postgres) async fn accept(
    tx: &mut Tx,
    intake: &Intake,
    is_crowded: &bool,
    now: &Timestamp,
) -> Result<Accepted> {
    accept_unless(tx, intake, *is_crowded, Beside::Nothing, *now).await
}

/// Accepts messages; a single one may carry a code, be said in a conversation, or ask for consent.
pub(in crate::postgres) async fn accept_with(
    tx: &mut Tx,
    intake: &Intake,
    beside: Beside<'_>,
    now: Timestamp,
) -> Result<Accepted> {
    accept_unless(tx, intake, false, beside, now).await
}

async fn accept_unless(
    tx: &mut Tx,
    intake: &Intake,
    is_crowded: bool,
    beside: Beside<'_>,
    now: Timestamp,
) -> Result<Accepted> {
    if let Some(idempotency) = &intake.idempotency {
        let mut needs = Needs::default();
        needs.call(&tx.sheets.messages, idempotency.key);
        if !needs.is_empty() {
            tx.sheets.messages.load(&tx.sql, needs).await?;
        }
        if let Some(Some(Answered { fingerprint, answer })) = tx.sheets.messages.calls.get(&idempotency.key) {
            let same = fingerprint[..] == idempotency.fingerprint;
            return Ok(if same { Accepted::Replayed(answer.clone()) } else { Accepted::KeyReused });
        }
    }
    if pool::is_moved(&tx.sql, &intake.drafts).await? {
        return Ok(Accepted::Moved);
    }
    if is_crowded {
        return Ok(Accepted::Crowded);
    }
    let mut spending = spend::begin(tx, intake, now).await?;
    let mut admissions = Vec::with_capacity(intake.drafts.len());
    let mut last = 0;
    let retry = RetryPolicy::default();
    let mut commit = Commit::new(now, &retry, Jitter(0));
    for draft in &intake.drafts {
        let message = &draft.message;
        let listed = suppression::look(tx, message.realm(), message.recipient, now).await?;
        if let Some(entry) = gate::refuses_listed(message, &listed, now) {
            admissions.push(Admission::Suppressed(entry));
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
            Beside::Asking(_) => {
                consent_request::is_asked(&tx.sql, message, now).await?.then_some(Admission::Asked)
            }
            Beside::Code(sending) => code::admit(tx, draft, sending, now).await?.map(Admission::Refused),
            Beside::Saying(saying) => {
                let is_overtaken = conversation::is_overtaken(&tx.sql, message, saying).await?;
                is_overtaken.then_some(Admission::Overtaken)
            }
        };
        if let Some(refused) = refused {
            return Ok(Accepted::New(vec![refused], Box::default()));
        }
        insert(tx, draft, now).await?;
        let saying = match beside {
            Beside::Saying(saying) => Some(saying.clone()),
            Beside::Asking(asking) => {
                consent_request::insert(&tx.sql, &requested(asking, message, now)).await?;
                None
            }
            Beside::Nothing => {
                consent_request::repeat(&tx.sql, message).await?;
                conversation::said_before(&tx.sql, message).await?
            }
            Beside::Code(_) => None,
        };
        if let Some(saying) = saying {
            conversation::add(tx, vec![Addition::of_message(message, &saying, now)]).await?;
        }
        if let Some(picked) = &draft.picked {
            commit.publish(tx, message, chosen_event(draft, picked, now));
        }
        if let Some(hold) = &draft.held {
            let held = Input::Held { attempt: draft.life.attempt, hold: hold.clone() };
            let apply = async |tx: &mut Tx| commit.apply(tx, message.id, held).await;
            tx.contain(message.id, apply).await?;
            commit.out.crashed = tx.set_aside();
        }
        last = last.max(message.id.key());
        admissions.push(Admission::Admitted);
    }
    let admitted = intake.drafts.iter().zip(&admissions).filter(|(_, what)| **what == Admission::Admitted);
    pool::note(&tx.sql, &admitted.map(|(draft, _)| draft).collect::<Vec<_>>(), now).await?;
    if let Some(spending) = spending {
        spend::count(tx, intake.realm.account, &spending, now);
    }
    let sheet = &mut tx.sheets.messages;
    if let Some((id, asked)) = intake.batch {
        sheet.batches_now.push((id, intake.realm, now, asked, last));
    }
    if let Some(idempotency) = &intake.idempotency {
        let answer = (idempotency.answer)(&admissions);
        let answered = Answered { fingerprint: idempotency.fingerprint.to_vec(), answer: answer.clone() };
        sheet.calls.insert(idempotency.key, Some(answered));
        sheet.calls_now.push(Call {
            key: idempotency.key,
            account: intake.realm.account.key(),
            fingerprint: idempotency.fingerprint,
            answer,
            created_at: now.as_millis(),
        });
    }
    Ok(Accepted::New(admissions, Box::new(commit.out)))
}

/// Puts a message into its connection's queue without a look at the suppression list.
pub(in crate::postgres) async fn enqueue(
    tx: &mut Tx,
    draft: &Draft,
    now: Timestamp,
    out: &mut Advanced,
) -> Result<()> {
    insert(tx, draft, now).await?;
    out.queued.extend(draft.life.state.wakes_at().map(|at| (tx.paces.queue_of(&draft.message), at)));
    Ok(())
}

async fn insert(tx: &mut Tx, Draft { message, life, .. }: &Draft, now: Timestamp) -> Result<()> {
    if tx.find_message(message.id).await? {
        return Err(Error::Conflict(format!("there is a message {} already", message.id)));
    }
    let new = Slot {
        message: Arc::new(message.clone()),
        life: life.clone(),
        failure: None,
        updated_at: now,
        due: due_row(message, &life.state, &tx.paces),
        stored: None,
        changed: true,
        damaged: false,
    };
    tx.sheets.messages.slots.insert(message.id, Some(new));
    if life.state.is_waiting() {
        tx.waits(message, 1);
    }
    Ok(())
}
