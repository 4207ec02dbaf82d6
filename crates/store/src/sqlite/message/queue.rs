//! The queues and the clock: what is claimed, what is looked at when its moment comes, and how much waits.

use super::read::{Hot, load_with_text, recall};
use super::{Commit, forget_receipt};
use crate::backend::*;
use crate::column;
use crate::due::{CLOCK_BACK_MS, Due, LOOK_AGAIN};
use crate::sqlite::reader::{Rx, get};
use crate::sqlite::session::failed;
use crate::sqlite::suppression;
use crate::sqlite::transaction::Tx;
use crate::{ByPurpose, Error, Result, Waiting};
use rusqlite::{Connection as Sql, OptionalExtension, params};
use std::collections::BTreeMap;
use std::sync::Arc;
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::failure::Failure;
use tidings_domain::gate;
use tidings_domain::id::*;
use tidings_domain::message::{Input, LEASE_MS, Message, Segment, State, Status, damaged};
use tidings_domain::poison;
use tidings_domain::purpose::Purpose;
use tidings_domain::queue::{self, Queue};
use tidings_domain::receipt::{expected_form, our_reference, reference_form};
use tidings_domain::retry::{Jitter, RetryPolicy};
use tidings_domain::suppression::Listing;
use tidings_domain::time::Timestamp;

// ── from a queue to a carrier ───────────────────────────────────────────────────────────────────────────────

pub(in crate::sqlite) fn claim(
    tx: &mut Tx<'_>,
    queue: &Queue,
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
                params![queue.key(), purpose.priority(), now.as_millis(), step as i64],
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
                        take_from_lane(tx.sql, *queue, purpose, id)?;
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
    let segments = hot.life.waiting();
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
fn take_from_lane(sql: &Sql, queue: Queue, purpose: Purpose, id: MessageId) -> Result<()> {
    sql.prepare_cached("DELETE FROM due WHERE lane = ?1 AND priority = ?2 AND message = ?3")
        .and_then(|mut s| s.execute(params![queue.key(), purpose.priority(), id.key()]))
        .map_err(failed)?;
    Ok(())
}

fn due_messages(sql: &Sql, query: &str, params: impl rusqlite::Params) -> Result<Vec<MessageId>> {
    let mut statement = sql.prepare_cached(query).map_err(failed)?;
    let rows =
        statement.query_map(params, |row| row.get::<_, i64>(0).map(MessageId::from_key)).map_err(failed)?;
    rows.collect::<rusqlite::Result<_>>().map_err(failed)
}

// ── by the clock ────────────────────────────────────────────────────────────────────────────────────────────

pub(in crate::sqlite) fn wake(
    tx: &mut Tx<'_>,
    limit: &usize,
    now: &Timestamp,
    rules: &Patience,
) -> Result<Advanced> {
    let mut commit = Commit::of(*now, rules);
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
        let Some(hot) = recall(tx, id)? else { return Ok(()) };
        match hot.life.state.wakes_at() {
            Some(at) if at > self.now && !hot.life.state.is_waiting() => self.move_due(tx, hot, at),
            Some(_) => {
                let late = matches!(hot.life.state, State::Unconfirmed { .. });
                let message = hot.message.clone();
                let (segments, due) = (hot.life.segments.clone(), hot.due);
                let status = self.apply_to(tx, hot, Input::TimeUp)?;
                if status.is_none() && late {
                    // The time for a late receipt is over: nothing more is expected.
                    end_waiting(tx, &message, &segments, due)?;
                }
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Moves a row that was due too early to the moment the message really waits for.
    fn move_due(&mut self, tx: &mut Tx<'_>, hot: Hot, at: Timestamp) -> Result<()> {
        if let Some(old) = hot.due {
            old.delete(tx, &hot.message)?;
        }
        let new = Due { lane: LOOK_AGAIN, due_at: at.as_millis() };
        new.insert(tx, &hot.message)?;
        tx.sql
            .prepare_cached("UPDATE message SET lane = ?2, due_at = ?3 WHERE id = ?1")
            .and_then(|mut s| s.execute(params![hot.message.id.key(), new.lane, new.due_at]))
            .map(drop)
            .map_err(failed)
    }
}

fn end_waiting(tx: &Tx<'_>, message: &Message, segments: &[Segment], due: Option<Due>) -> Result<()> {
    let sql = tx.sql;
    if let Some(due) = due {
        due.delete(tx, message)?;
    }
    for (n, segment) in segments.iter().enumerate() {
        if let Some(carrier_id) = segment.carrier_id() {
            forget_receipt(tx, message, n as u8, &expected_form(message, n as u8, carrier_id))?;
        }
        forget_receipt(tx, message, n as u8, &reference_form(our_reference(message.id, n as u8)))?;
    }
    sql.prepare_cached("UPDATE message SET until = NULL, lane = NULL, due_at = NULL WHERE id = ?1")
        .and_then(|mut s| s.execute([message.id.key()]))
        .map(drop)
        .map_err(failed)
}

pub(in crate::sqlite) fn recover(
    tx: &mut Tx<'_>,
    connection: &Option<ConnectionId>,
    limit: &usize,
    now: &Timestamp,
    rules: &Patience,
) -> Result<Advanced> {
    let mut commit = Commit::of(*now, rules);
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

pub(in crate::sqlite) fn next_due(
    rx: &mut Rx<'_>,
    queue: &Option<Queue>,
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
    let lane = queue.map_or(LOOK_AGAIN, Queue::key);
    let mut earliest: Option<i64> = None;
    for purpose in Purpose::ALL {
        earliest = [earliest, first(lane, purpose.priority())?].into_iter().flatten().min();
    }
    if queue.is_none() {
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

pub(in crate::sqlite) fn queues(rx: &mut Rx<'_>, connection: &ConnectionId) -> Result<Vec<Queue>> {
    queues_of_senders(rx.sql, *connection)
}

/// There are few, so each is looked for behind the one before.
pub(in crate::sqlite) fn queues_of_senders(sql: &Sql, connection: ConnectionId) -> Result<Vec<Queue>> {
    let mut found = Vec::new();
    let mut after = queue::CONNECTIONS;
    let mut next =
        sql.prepare_cached("SELECT lane FROM due WHERE lane > ?1 ORDER BY lane LIMIT 1").map_err(failed)?;
    while let Some(lane) = next.query_row([after], |row| row.get(0)).optional().map_err(failed)? {
        after = lane;
        found.push(Queue::from_key(lane));
    }
    found.retain(|queue| queue.connection() == connection);
    Ok(found)
}

// ── out of every queue ──────────────────────────────────────────────────────────────────────────────────────

pub(in crate::sqlite) fn quarantine(
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
    drop(tx.recall(id));
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

// ── how much waits ──────────────────────────────────────────────────────────────────────────────────────────

pub(in crate::sqlite) fn waiting(tx: &mut Tx<'_>) -> Result<Arc<Waiting>> {
    tx.waiting(count_waiting)
}

/// Counts what stands in the queues. The rows do not say whose they are: where there is one account it is known, and
/// else each message is asked, which is some ten times slower.
pub(in crate::sqlite) fn count_waiting(sql: &Sql) -> Result<BTreeMap<AccountId, ByPurpose>> {
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

// ── what follows for who is on the suppression list ─────────────────────────────────────────────────────────

pub(in crate::sqlite) fn stop_waiting(
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
        let standing = suppression::standing(tx, *realm, *recipient, *now)?;
        if !standing.is_free() {
            out.add(end_waiting_for(tx, *realm, *recipient, &standing, left, *now)?);
        }
    }
    out.crashed = tx.set_aside();
    Ok(out)
}

/// Ends those of up to `limit` messages that wait in a queue for somebody which the list stops, as the person stands there. One
/// that crashes is left, and met again when it comes up.
pub(in crate::sqlite) fn end_waiting_for(
    tx: &mut Tx<'_>,
    realm: Realm,
    recipient: PhoneNumber,
    standing: &Listing,
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
            let Some(hot) = recall(tx, id)?.filter(|hot| hot.message.realm() == realm) else {
                return Ok(None);
            };
            let Some(why) = gate::refuses_listed(&hot.message, standing, now) else { return Ok(None) };
            commit.apply_to(tx, hot, Input::Stopped(why.failure()))
        };
        tx.contain(id, end)?;
    }
    // Where none of them ended, the same call would find the same.
    commit.out.more = is_full && !commit.out.counted.is_empty();
    commit.out.crashed = tx.set_aside();
    Ok(commit.out)
}

// ── rows ────────────────────────────────────────────────────────────────────────────────────────────────────

impl Due {
    pub(super) fn insert(self, tx: &Tx<'_>, message: &Message) -> Result<()> {
        let is_queued = self.lane != LOOK_AGAIN;
        tx.execute(
            "INSERT INTO due (lane, priority, due_at, message, expires_at, recipient) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                self.lane,
                message.purpose.priority(),
                self.due_at,
                message.id.key(),
                is_queued.then(|| message.expires_at.as_millis()),
                is_queued.then(|| message.recipient.digits() as i64),
            ],
        )
        .map(drop)
    }

    pub(super) fn delete(self, tx: &Tx<'_>, message: &Message) -> Result<()> {
        tx.execute(
            "DELETE FROM due WHERE lane = ?1 AND priority = ?2 AND due_at = ?3 AND message = ?4",
            params![self.lane, message.purpose.priority(), self.due_at, message.id.key()],
        )
        .map(drop)
    }
}
