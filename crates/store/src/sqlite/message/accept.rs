//! Accepting messages: the rows of one call, with what may be done beside one. What becomes of them then is in
//! `message.rs`.

use super::{Commit, remember};
use crate::Result;
use crate::backend::*;
use crate::column::{self, live};
use crate::due::due_row;
use crate::sqlite::session::failed;
use crate::sqlite::transaction::Tx;
use crate::sqlite::{code, consent_request, conversation, frequency, pool, quota, spend, suppression};
use rusqlite::{OptionalExtension, params};
use tidings_domain::gate;
use tidings_domain::id::*;
use tidings_domain::message::{Input, Life, Message};
use tidings_domain::programme;
use tidings_domain::retry::{Jitter, RetryPolicy};
use tidings_domain::time::Timestamp;

pub(in crate::sqlite) fn accept(tx: &mut Tx<'_>, intake: &Intake, now: &Timestamp) -> Result<Accepted> {
    accept_with(tx, intake, Beside::Nothing, *now)
}

/// Whether something is in the way of one of these that was taken not to be.
fn is_crowded(tx: &mut Tx<'_>, drafts: &[Draft], now: Timestamp) -> Result<bool> {
    for Draft { message, premise, .. } in drafts {
        let Some(premise) = premise else { continue };
        if !premise.bounds.is_empty() {
            let purposes = premise.purposes();
            let others = frequency::of(tx.sql, message.realm(), message.recipient, &purposes, now)?;
            if !premise.has_turn(others) {
                return Ok(true);
            }
        }
        if let Some(quota) = &premise.quota
            && !quota.fits(quota::taken(tx, &quota.count)?)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Accepts messages; a single one may carry a code, be said in a conversation, or ask for consent.
pub(in crate::sqlite) fn accept_with(
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
    if matches!(beside, Beside::Nothing) && is_crowded(tx, &intake.drafts, now)? {
        return Ok(Accepted::Crowded);
    }
    let mut spending = spend::begin(tx, intake, now)?;
    let mut admissions = Vec::with_capacity(intake.drafts.len());
    let mut last = 0;
    let retry = RetryPolicy::default();
    let mut commit = Commit::new(now, &retry, Jitter(0));
    for draft in &intake.drafts {
        let message = &draft.message;
        let listed = suppression::look(tx, message.realm(), message.recipient, now)?;
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
        insert(tx, message, &draft.life, now)?;
        let saying = match beside {
            Beside::Saying(saying) => Some(saying.clone()),
            Beside::Asking(asking) => {
                consent_request::insert(tx.sql, &requested(asking, message, now))?;
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
    if let Some(spending) = spending {
        spend::count(tx, intake.realm.account, &spending, now);
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

/// Puts a message into its connection's queue without a look at the suppression list.
pub(in crate::sqlite) fn enqueue(
    tx: &mut Tx<'_>,
    draft: &Draft,
    now: Timestamp,
    out: &mut Advanced,
) -> Result<()> {
    let Draft { message, life, .. } = draft;
    insert(tx, message, life, now)?;
    if life.state.is_waiting() {
        tx.waits(message, 1);
    }
    out.queued.extend(life.state.wakes_at().map(|at| (tx.paces.queue_of(message), at)));
    Ok(())
}

fn insert(tx: &mut Tx<'_>, message: &Message, life: &Life, now: Timestamp) -> Result<()> {
    let due = due_row(message, &life.state, tx.paces);
    tx.execute(
        "INSERT INTO message (id, account, live, token, batch, purpose, sender, recipient, text, form, segments, connection,
           created_at, send_at, expires_at, callback, reference, metadata, retry_of,
           state, until, lane, due_at, attempt, tries, resends, parts, failure, updated_at, checksum, reply, reply_to,
           template, template_version, programme)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19,
           ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, NULL, ?28, ?29, ?30, ?31, ?32, ?33, ?34)",
        params![
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
            message.programme.as_ref().map(programme::Name::as_str),
        ],
    )?;
    if let Some(due) = due {
        due.insert(tx, message)?;
    }
    remember(tx, message.without_text(), life.clone(), due);
    Ok(())
}
