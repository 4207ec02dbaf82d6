//! Operating the store: connections and their pauses, the hold, the audit trail, numbers, and taking out the old.

use super::reader::Rx;
use super::session::failed;
use super::transaction::Tx;
use super::{event, message};
use crate::backend::*;
use crate::column::{self, environment, live};
use crate::due::Queues;
use crate::{Error, Result};
use rusqlite::{Connection as Sql, OptionalExtension, params};
use std::collections::HashSet;
use tidings_domain::account::Environment;
use tidings_domain::id::{AccountId, AuditId, ConnectionId, floor_at};
use tidings_domain::message::Segment;
use tidings_domain::purpose::Purpose;
use tidings_domain::queue::Queue;
use tidings_domain::sender::Sender;
use tidings_domain::time::Timestamp;

// ── connections ─────────────────────────────────────────────────────────────────────────────────────────────

pub(super) fn register_connections(
    tx: &mut Tx<'_>,
    names: &[(String, Environment)],
    _now: &Timestamp,
) -> Result<Vec<Connection>> {
    let mut found = Vec::with_capacity(names.len());
    for (name, environment) in names {
        // Numbered from 1: the number is the lane of every waiting message, so it is kept small, and 0 is taken.
        tx.sql
            .prepare_cached("INSERT OR IGNORE INTO connection (name, live) VALUES (?1, ?2)")
            .and_then(|mut s| s.execute(params![name, live(*environment)]))
            .map_err(failed)?;
        let (id, paused) = tx
            .sql
            .prepare_cached("SELECT id, paused FROM connection WHERE name = ?1 AND live = ?2")
            .and_then(|mut s| {
                s.query_row(params![name, live(*environment)], |row| Ok((row.get(0)?, row.get(1)?)))
            })
            .map_err(failed)?;
        let id = ConnectionId::from_key(id);
        found.push(Connection { id, name: name.clone(), environment: *environment, paused });
    }
    Ok(found)
}

pub(super) fn connections(rx: &mut Rx<'_>) -> Result<Vec<Connection>> {
    let mut statement =
        rx.sql.prepare_cached("SELECT id, name, live, paused FROM connection ORDER BY id").map_err(failed)?;
    let rows = statement
        .query_map([], |row| {
            Ok(Connection {
                id: ConnectionId::from_key(row.get(0)?),
                name: row.get(1)?,
                environment: environment(row.get(2)?),
                paused: row.get(3)?,
            })
        })
        .map_err(failed)?;
    rows.collect::<rusqlite::Result<_>>().map_err(failed)
}

/// The connection with this id.
pub(super) fn connection(sql: &Sql, id: ConnectionId) -> Result<Option<Connection>> {
    sql.prepare_cached("SELECT name, live, paused FROM connection WHERE id = ?1")
        .and_then(|mut s| {
            s.query_row([id.key()], |row| {
                Ok(Connection {
                    id,
                    name: row.get(0)?,
                    environment: environment(row.get(1)?),
                    paused: row.get(2)?,
                })
            })
            .optional()
        })
        .map_err(failed)
}

pub(super) fn pause_connection(
    tx: &mut Tx<'_>,
    id: &ConnectionId,
    pause: &Option<String>,
    actor: &Actor,
    now: &Timestamp,
) -> Result<bool> {
    let Some(known) = connection(tx.sql, *id)? else { return Ok(false) };
    tx.sql
        .prepare_cached("UPDATE connection SET paused = ?2 WHERE id = ?1")
        .and_then(|mut s| s.execute(params![id.key(), pause]))
        .map_err(failed)?;
    let action = if pause.is_some() { "connection.pause" } else { "connection.resume" };
    let subject = format!("{} {}", known.environment.as_str(), known.name);
    write_audit(tx, actor, action, &subject, pause.as_deref().unwrap_or_default(), *now)?;
    Ok(true)
}

/// Rows that `reroute` reads at a time.
const REROUTE_STEP: i64 = 500;

pub(super) fn reroute(
    tx: &mut Tx<'_>,
    from: &ConnectionId,
    to: &ConnectionId,
    limit: &usize,
    now: &Timestamp,
) -> Result<u64> {
    let (Some(source), Some(target)) = (connection(tx.sql, *from)?, connection(tx.sql, *to)?) else {
        return Ok(0);
    };
    if source.environment != target.environment {
        return Err(Error::Conflict(format!("{} and {} are of two environments", source.name, target.name)));
    }
    if from == to {
        return Ok(0);
    }
    let mut moved = 0;
    let beside = message::queues_of_senders(tx.sql, *from)?;
    for queue in [Queue::of(*from)].into_iter().chain(beside) {
        let mut after = (-1, i64::MIN, i64::MIN);
        while moved < *limit {
            let step = waiting(tx.sql, queue, after)?;
            let Some(last) = step.last() else { break };
            after = (last.priority, last.due_at, last.message);
            for row in step {
                if moved == *limit {
                    break;
                }
                // A message that is partly at a carrier stays: phones do not join parts that came by two roads.
                if let Some((sender, is_answer)) = untouched(tx.sql, row.message)? {
                    row.move_to(tx.sql, queue, tx.paces.queue(*to, &sender, is_answer), *now)?;
                    moved += 1;
                }
            }
        }
    }
    Ok(moved as u64)
}

/// A row of `due` in a connection's queue.
struct Waiting {
    priority: i64,
    due_at: i64,
    message: i64,
    expires_at: Option<i64>,
    recipient: Option<i64>,
}

fn waiting(sql: &Sql, queue: Queue, after: (i64, i64, i64)) -> Result<Vec<Waiting>> {
    let mut statement = sql
        .prepare_cached(
            "SELECT priority, due_at, message, expires_at, recipient FROM due WHERE lane = ?1 AND (priority, due_at, message) > (?2, ?3, ?4)
             ORDER BY priority, due_at, message LIMIT ?5",
        )
        .map_err(failed)?;
    let rows = statement
        .query_map(params![queue.key(), after.0, after.1, after.2, REROUTE_STEP], |row| {
            Ok(Waiting {
                priority: row.get(0)?,
                due_at: row.get(1)?,
                message: row.get(2)?,
                expires_at: row.get(3)?,
                recipient: row.get(4)?,
            })
        })
        .map_err(failed)?;
    rows.collect::<rusqlite::Result<_>>().map_err(failed)
}

/// The sender of a message of which nothing is at a carrier, and whether it is an answer.
fn untouched(sql: &Sql, message: i64) -> Result<Option<(Sender, bool)>> {
    let found: Option<(String, String, bool)> = sql
        .prepare_cached("SELECT parts, sender, reply IS NOT NULL FROM message WHERE id = ?1")
        .and_then(|mut s| {
            s.query_row([message], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()
        })
        .map_err(failed)?;
    let Some((parts, sender, is_answer)) = found else { return Ok(None) };
    let waits = column::segments(&parts)?.iter().all(|segment| *segment == Segment::Waiting);
    waits.then(|| Ok((column::sender(&sender)?, is_answer))).transpose()
}

impl Waiting {
    fn move_to(&self, sql: &Sql, from: Queue, to: Queue, now: Timestamp) -> Result<()> {
        sql.prepare_cached(
            "DELETE FROM due WHERE lane = ?1 AND priority = ?2 AND due_at = ?3 AND message = ?4",
        )
        .and_then(|mut s| s.execute(params![from.key(), self.priority, self.due_at, self.message]))
        .map_err(failed)?;
        sql.prepare_cached(
            "INSERT INTO due (lane, priority, due_at, message, expires_at, recipient) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .and_then(|mut s| {
            let Self { priority, due_at, message, expires_at, recipient } = self;
            s.execute(params![to.key(), priority, due_at, message, expires_at, recipient])
        })
        .map_err(failed)?;
        sql.prepare_cached("UPDATE message SET connection = ?2, lane = ?3, updated_at = ?4 WHERE id = ?1")
            .and_then(|mut s| {
                s.execute(params![self.message, to.connection().key(), to.key(), now.as_millis()])
            })
            .map(drop)
            .map_err(failed)
    }
}

// ── the hold ────────────────────────────────────────────────────────────────────────────────────────────────

pub(super) fn hold(rx: &mut Rx<'_>) -> Result<Option<String>> {
    setting(rx.sql, "hold")
}

pub(super) fn set_hold(
    tx: &mut Tx<'_>,
    reason: &Option<String>,
    actor: &Actor,
    now: &Timestamp,
) -> Result<()> {
    set(tx.sql, "hold", reason.as_deref())?;
    let action = if reason.is_some() { "hold.set" } else { "hold.release" };
    write_audit(tx, actor, action, "sending", reason.as_deref().unwrap_or_default(), *now)
}

fn setting(sql: &Sql, name: &str) -> Result<Option<String>> {
    sql.prepare_cached("SELECT value FROM setting WHERE name = ?1")
        .and_then(|mut s| s.query_row([name], |row| row.get(0)).optional())
        .map_err(failed)
}

fn set(sql: &Sql, name: &str, value: Option<&str>) -> Result<()> {
    match value {
        Some(value) => sql
            .prepare_cached("INSERT INTO setting (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2")
            .and_then(|mut s| s.execute([name, value])),
        None => sql.prepare_cached("DELETE FROM setting WHERE name = ?1").and_then(|mut s| s.execute([name])),
    }
    .map(drop)
    .map_err(failed)
}

pub(super) fn ping(tx: &mut Tx<'_>) -> Result<()> {
    // A disk that is full or read-only refuses this, and nothing less.
    set(tx.sql, "ping", Some(""))
}

// ── the audit trail ─────────────────────────────────────────────────────────────────────────────────────────

/// Adds a line to the trail, in the transaction of the change that it tells of.
pub(super) fn write_audit(
    tx: &mut Tx<'_>,
    actor: &Actor,
    action: &str,
    subject: &str,
    detail: &str,
    now: Timestamp,
) -> Result<()> {
    let id = tx.next_id(now)?;
    tx.sql
        .prepare_cached(
            "INSERT INTO audit (id, account, at, who, action, subject, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )
        .and_then(|mut s| {
            s.execute(params![id, actor.account.key(), now.as_millis(), actor.who, action, subject, detail])
        })
        .map(drop)
        .map_err(failed)
}

pub(super) fn record_audit(
    tx: &mut Tx<'_>,
    actor: &Actor,
    action: &str,
    subject: &str,
    detail: &str,
    now: &Timestamp,
) -> Result<()> {
    write_audit(tx, actor, action, subject, detail, *now)
}

pub(super) fn audit(rx: &mut Rx<'_>, account: &AccountId, page: &Page) -> Result<Paged<Audit>> {
    let mut statement = rx
        .sql
        .prepare_cached(
            "SELECT id, at, who, action, subject, detail FROM audit WHERE account = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3",
        )
        .map_err(failed)?;
    let items = statement
        .query_map(params![account.key(), page.before.unwrap_or(i64::MAX), page.limit as i64 + 1], |row| {
            Ok(Audit {
                id: AuditId::from_key(row.get(0)?),
                at: Timestamp::from_millis(row.get(1)?),
                who: row.get(2)?,
                action: row.get(3)?,
                subject: row.get(4)?,
                detail: row.get(5)?,
            })
        })
        .map_err(failed)?
        .collect::<rusqlite::Result<Vec<_>>>()
        .map_err(failed)?;
    Ok(Paged::of(items, page, |line| line.id.key()))
}

// ── numbers ─────────────────────────────────────────────────────────────────────────────────────────────────

/// Queues up to this length are counted row by row. The whole table is counted by its pages, which is some ten
/// times cheaper, so that the longest queue is what the others leave over.
const COUNTED_BY_ROW: i64 = 20_000;

pub(super) fn statistics(rx: &mut Rx<'_>, now: &Timestamp) -> Result<Statistics> {
    let one = |query: &str| {
        rx.sql
            .prepare_cached(query)
            .and_then(|mut s| s.query_row([], |row| row.get::<_, i64>(0)))
            .map_err(failed)
    };
    let became_due = |at: i64| (at <= now.as_millis()).then(|| Timestamp::from_millis(at));
    let mut in_flight = 0;
    let mut queues = Queues::default();
    for queue in counted(rx.sql)? {
        // Lane 0: whatever is not in a queue and not over.
        if queue.lane == 0 {
            in_flight += queue.rows as u64;
            continue;
        }
        let purpose = u8::try_from(queue.priority)
            .ok()
            .and_then(Purpose::from_priority)
            .ok_or_else(|| column::corrupt("purpose", queue.priority))?;
        // What is scheduled for later does not wait yet.
        let later: i64 = rx
            .sql
            .prepare_cached("SELECT count(*) FROM due WHERE lane = ?1 AND priority = ?2 AND due_at > ?3")
            .and_then(|mut s| {
                s.query_row(params![queue.lane, queue.priority, now.as_millis()], |row| row.get(0))
            })
            .map_err(failed)?;
        let waiting = u64::try_from(queue.rows - later).unwrap_or(0);
        queues.add(queue.lane, purpose, waiting, became_due(queue.oldest));
    }
    let oldest_delivery = event::earliest(rx.sql)?.into_iter().map(|(_, due_at)| due_at.as_millis()).min();
    Ok(Statistics {
        queues: queues.of_connections(),
        in_flight,
        deliveries: (one("SELECT count(*) FROM delivery")? as u64, oldest_delivery.and_then(became_due)),
        parked: one("SELECT count(DISTINCT receipt) FROM parked")? as u64,
        reviews: one("SELECT count(*) FROM review WHERE decision IS NULL")? as u64,
        size: (one("PRAGMA page_count")? * one("PRAGMA page_size")?) as u64,
    })
}

/// One lane and priority of `due`.
struct Rows {
    lane: i64,
    priority: i64,
    oldest: i64,
    rows: i64,
}

fn counted(sql: &Sql) -> Result<Vec<Rows>> {
    let mut queues: Vec<Rows> = Vec::new();
    let mut long = Vec::new();
    let mut after = (i64::MIN, i64::MIN);
    while let Some((lane, priority, oldest)) = next_queue(sql, after)? {
        after = (lane, priority);
        let rows = count(sql, lane, priority, COUNTED_BY_ROW)?;
        if rows == COUNTED_BY_ROW {
            long.push(queues.len());
        }
        queues.push(Rows { lane, priority, oldest, rows });
    }
    // All long ones but the last are counted to their end, and the last is the remainder.
    if let Some(remainder) = long.pop() {
        for n in long {
            queues[n].rows = count(sql, queues[n].lane, queues[n].priority, i64::MAX)?;
        }
        let all: i64 = sql
            .prepare_cached("SELECT count(*) FROM due")
            .and_then(|mut s| s.query_row([], |row| row.get(0)))
            .map_err(failed)?;
        let others: i64 =
            queues.iter().enumerate().filter(|(n, _)| *n != remainder).map(|(_, queue)| queue.rows).sum();
        queues[remainder].rows = all - others;
    }
    Ok(queues)
}

/// The lane and priority that follow, with the first due time in it, without reading what lies between. (One
/// comparison of both columns would read it: SQLite looks at every row of the lane and priority it starts from.)
fn next_queue(sql: &Sql, (lane, priority): (i64, i64)) -> Result<Option<(i64, i64, i64)>> {
    let first = |query: &str, values: &[i64]| {
        sql.prepare_cached(query)
            .and_then(|mut s| {
                let values = rusqlite::params_from_iter(values);
                s.query_row(values, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()
            })
            .map_err(failed)
    };
    let in_lane = first(
        "SELECT lane, priority, due_at FROM due WHERE lane = ?1 AND priority > ?2 ORDER BY priority, due_at LIMIT 1",
        &[lane, priority],
    )?;
    match in_lane {
        Some(found) => Ok(Some(found)),
        None => first(
            "SELECT lane, priority, due_at FROM due WHERE lane > ?1 ORDER BY lane, priority, due_at LIMIT 1",
            &[lane],
        ),
    }
}

fn count(sql: &Sql, lane: i64, priority: i64, limit: i64) -> Result<i64> {
    sql.prepare_cached("SELECT count(*) FROM (SELECT 1 FROM due WHERE lane = ?1 AND priority = ?2 LIMIT ?3)")
        .and_then(|mut s| s.query_row([lane, priority, limit], |row| row.get(0)))
        .map_err(failed)
}

// ── taking out the old ──────────────────────────────────────────────────────────────────────────────────────

/// Rows of `outstanding` that are looked at for each one that may be deleted: they are in the order of the
/// carriers' ids, so the old lie among the new.
const LOOKED_AT: usize = 10;
/// Where the last look at `outstanding` ended.
const OUTSTANDING_CURSOR: &str = "sweep.outstanding";

pub(super) fn sweep(tx: &mut Tx<'_>, retention: &Retention, limit: &usize, now: &Timestamp) -> Result<bool> {
    let before = |age_ms: i64| now.plus_ms(age_ms.saturating_neg());
    let mut more = sweep_idempotency(tx.sql, before(retention.idempotency_ms), *limit)?;
    more |= sweep_parked(tx, before(retention.parked_ms), *limit)?;
    // An attempt tells nothing without its event, which goes with its message.
    let attempts_ms = retention.messages_ms.map_or(retention.attempts_ms, |ms| ms.min(retention.attempts_ms));
    more |= sweep_attempts(tx.sql, before(attempts_ms), *limit)?;
    more |= sweep_outstanding(tx.sql, before(OUTSTANDING_MS), *limit)?;
    more |= super::inbound::sweep_replies(tx, *now, *limit)?;
    more |= super::code::sweep(tx, *limit, *now)?;
    more |= super::import::sweep(tx.sql, *limit, *now)?;
    more |= super::frequency::sweep(tx, *limit, *now)?;
    more |= super::silence::sweep(tx.sql, *now, *limit)?;
    super::spend::sweep(tx, before(SPENDS_MS))?;
    super::quota::sweep(tx, before(QUOTAS_MS))?;
    super::endpoint::sweep_callbacks(tx, before(CALLBACKS_MS))?;
    if let Some(messages_ms) = retention.messages_ms {
        more |= sweep_messages(tx.sql, before(messages_ms), *limit)?;
        more |= super::inbound::sweep(tx.sql, before(messages_ms), *limit)?;
        more |= super::pool::sweep(tx, *limit, before(messages_ms))?;
        more |= super::conversation::sweep(tx.sql, before(messages_ms), *limit)?;
        more |= super::segment::sweep(tx.sql, before(messages_ms), *limit)?;
    }
    Ok(more)
}

fn sweep_idempotency(sql: &Sql, before: Timestamp, limit: usize) -> Result<bool> {
    let gone = sql
        .prepare_cached(
            "DELETE FROM idempotency WHERE key IN (SELECT key FROM idempotency WHERE created_at < ?1 ORDER BY created_at LIMIT ?2)",
        )
        .and_then(|mut s| s.execute(params![before.as_millis(), limit as i64]))
        .map_err(failed)?;
    Ok(gone == limit)
}

fn sweep_parked(tx: &mut Tx<'_>, before: Timestamp, limit: usize) -> Result<bool> {
    // Those that came first. Their numbers grow also while the clock is behind an earlier one, so their time is asked.
    let gone = tx
        .sql
        .prepare_cached(
            "DELETE FROM parked WHERE id IN (
               SELECT id FROM (SELECT id, parked_at FROM parked ORDER BY receipt LIMIT ?2) WHERE parked_at < ?1)",
        )
        .and_then(|mut s| s.execute(params![before.as_millis(), limit as i64]))
        .map_err(failed)?;
    if gone > 0 {
        tx.recount_parked()?;
    }
    Ok(gone == limit)
}

fn sweep_attempts(sql: &Sql, before: Timestamp, limit: usize) -> Result<bool> {
    let oldest_kept = event::first_at(sql, before)?;
    let mut room = limit;
    let mut endpoint = i64::MIN;
    // Also those of endpoints that were deleted.
    while let Some(next) = sql
        .prepare_cached("SELECT min(endpoint) FROM attempt WHERE endpoint > ?1")
        .and_then(|mut s| s.query_row([endpoint], |row| row.get::<_, Option<i64>>(0)))
        .map_err(failed)?
    {
        if room == 0 {
            return Ok(true);
        }
        endpoint = next;
        // An old event may have been told again just now: that attempt is young.
        let gone = sql
            .prepare_cached(
                "DELETE FROM attempt WHERE (endpoint, event, number) IN (
                   SELECT endpoint, event, number FROM attempt WHERE endpoint = ?1 AND event < ?2 AND at < ?3
                   ORDER BY event, number LIMIT ?4)",
            )
            .and_then(|mut s| s.execute(params![endpoint, oldest_kept, before.as_millis(), room as i64]))
            .map_err(failed)?;
        room -= gone;
    }
    Ok(room == 0)
}

fn sweep_outstanding(sql: &Sql, before: Timestamp, limit: usize) -> Result<bool> {
    let cursor = setting(sql, OUTSTANDING_CURSOR)?.unwrap_or_default();
    let (connection, canonical) = match cursor.split_once(' ') {
        Some((connection, canonical)) => (connection.parse().unwrap_or(i64::MIN), canonical),
        None => (i64::MIN, ""),
    };
    let looked_at = limit.saturating_mul(LOOKED_AT);
    let rows = {
        let mut statement = sql
            .prepare_cached(
                "SELECT connection, canonical, message, segment FROM outstanding WHERE (connection, canonical) >= (?1, ?2)
                 ORDER BY connection, canonical, message, segment LIMIT ?3",
            )
            .map_err(failed)?;
        let rows = statement
            .query_map(params![connection, canonical, looked_at as i64], |row| {
                Ok((
                    row.get::<_, i64>(0)?,
                    row.get::<_, String>(1)?,
                    row.get::<_, i64>(2)?,
                    row.get::<_, i64>(3)?,
                ))
            })
            .map_err(failed)?;
        rows.collect::<rusqlite::Result<Vec<_>>>().map_err(failed)?
    };
    let mut deleted = 0;
    for (connection, canonical, message, segment) in rows.iter().filter(|row| row.2 < floor_at(before)) {
        if deleted == limit {
            break;
        }
        // A message may live longer than is usual, or have waited for its time: it is asked.
        if !is_over(sql, *message)? {
            continue;
        }
        sql.prepare_cached("DELETE FROM outstanding WHERE connection = ?1 AND canonical = ?2 AND message = ?3 AND segment = ?4")
            .and_then(|mut s| s.execute(params![connection, canonical, message, segment]))
            .map_err(failed)?;
        deleted += 1;
    }
    let more = deleted == limit;
    if !more {
        let at_its_end = rows.len() < looked_at;
        let next = rows
            .last()
            .filter(|_| !at_its_end)
            .map(|(connection, canonical, ..)| format!("{connection} {canonical}"));
        if next.is_some() || !cursor.is_empty() {
            set(sql, OUTSTANDING_CURSOR, next.as_deref())?;
        }
    }
    Ok(more)
}

/// Whether nothing can happen to the message any more: it ended and waits for nothing, or it is not there.
fn is_over(sql: &Sql, message: i64) -> Result<bool> {
    sql.prepare_cached("SELECT 1 FROM message WHERE id = ?1 AND lane IS NOT NULL")
        .and_then(|mut s| s.exists([message]))
        .map(|waits| !waits)
        .map_err(failed)
}

fn sweep_messages(sql: &Sql, before: Timestamp, limit: usize) -> Result<bool> {
    // Kept whatever their age: what waits for anything (it has a lane), what a person must still decide, what an
    // endpoint must still be told, and the newest event's message, because the places of events must only grow.
    let to_tell = messages_to_tell(sql, before)?;
    let mut over = Vec::new();
    {
        let mut statement = sql
            .prepare_cached(
                "SELECT m.id FROM message m WHERE m.id < ?1 AND m.lane IS NULL AND m.updated_at < ?2
                   AND m.id IS NOT (SELECT message FROM event ORDER BY seq DESC LIMIT 1)
                   AND NOT EXISTS (SELECT 1 FROM review r WHERE r.message = m.id AND r.decision IS NULL)
                 ORDER BY m.id",
            )
            .map_err(failed)?;
        let mut rows = statement.query(params![floor_at(before), before.as_millis()]).map_err(failed)?;
        while over.len() < limit
            && let Some(row) = rows.next().map_err(failed)?
        {
            let message: i64 = row.get(0).map_err(failed)?;
            if !to_tell.contains(&message) {
                over.push(message);
            }
        }
    }
    for message in &over {
        for statement in [
            "DELETE FROM event WHERE message = ?1",
            "DELETE FROM review WHERE message = ?1",
            "DELETE FROM message WHERE id = ?1",
        ] {
            sql.prepare_cached(statement).and_then(|mut s| s.execute([message])).map_err(failed)?;
        }
    }
    // A batch goes once every message of its time is gone.
    sql.prepare_cached(
        "DELETE FROM batch WHERE id < ?1 AND last_message < (SELECT coalesce(min(id), ?1) FROM message) AND id IN (
           SELECT id FROM batch ORDER BY id LIMIT ?2)",
    )
    .and_then(|mut s| s.execute(params![floor_at(before), limit as i64]))
    .map_err(failed)?;
    Ok(over.len() == limit)
}

/// The messages that open deliveries of old events are about.
fn messages_to_tell(sql: &Sql, before: Timestamp) -> Result<HashSet<i64>> {
    let mut statement = sql
        .prepare_cached(
            "SELECT e.message FROM delivery d CROSS JOIN event e ON e.seq = d.event WHERE d.event < ?1 AND e.message IS NOT NULL",
        )
        .map_err(failed)?;
    let rows =
        statement.query_map([event::first_at(sql, before)?], |row| row.get::<_, i64>(0)).map_err(failed)?;
    rows.collect::<rusqlite::Result<_>>().map_err(failed)
}
