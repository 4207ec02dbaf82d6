//! Operating the store: connections and their pauses, the hold, the audit trail, numbers, and taking out the old.

use super::part::{self, Part, Stays};
use super::reader::Rx;
use super::session::{Flight, Location, Session, Value, cell, clean, live, values};
use super::transaction::Tx;
use super::{event, message};
use crate::backend::*;
use crate::column::{self, environment};
use crate::due::Queues;
use crate::{Error, Result};
use std::collections::HashSet;
use tidings_domain::account::Environment;
use tidings_domain::id::{AccountId, AuditId, ConnectionId, floor_at};
use tidings_domain::message::Segment;
use tidings_domain::purpose::Purpose;
use tidings_domain::queue::Queue;
use tidings_domain::time::Timestamp;
use tokio_postgres::Row;

// ── connections ─────────────────────────────────────────────────────────────────────────────────────────────

fn read_connection(row: &Row) -> Result<Connection> {
    Ok(Connection {
        id: ConnectionId::from_key(cell(row, 0)?),
        name: cell(row, 1)?,
        environment: environment(i64::from(cell::<i16>(row, 2)?)),
        paused: cell(row, 3)?,
    })
}

pub(super) async fn register_connections(
    tx: &mut Tx,
    names: &[(String, Environment)],
    _now: &Timestamp,
) -> Result<Vec<Connection>> {
    let mut found = Vec::with_capacity(names.len());
    for (name, environment) in names {
        // Numbered from 1: the number is the lane of every waiting message, so it is kept small, and 0 is taken.
        tx.sql
            .execute(
                "INSERT INTO connection (id, name, live)
                 SELECT coalesce((SELECT max(id) FROM connection), 0) + 1, $1, $2
                 WHERE NOT EXISTS (SELECT 1 FROM connection WHERE name = $1 AND live = $2)",
                &[&clean(name), &live(*environment)],
            )
            .await?;
        let row = tx
            .sql
            .row(
                "SELECT id, name, live, paused FROM connection WHERE name = $1 AND live = $2",
                &[&clean(name), &live(*environment)],
            )
            .await?;
        let row = row.ok_or_else(|| column::corrupt("connection", name))?;
        found.push(Connection { name: name.clone(), ..read_connection(&row)? });
    }
    Ok(found)
}

pub(super) async fn connections(rx: &Rx<'_>) -> Result<Vec<Connection>> {
    let rows = rx.sql.rows("SELECT id, name, live, paused FROM connection ORDER BY id", &[]).await?;
    rows.iter().map(read_connection).collect()
}

/// The connection with this id.
pub(super) async fn connection(sql: &Session, id: ConnectionId) -> Result<Option<Connection>> {
    let row = sql.row("SELECT id, name, live, paused FROM connection WHERE id = $1", &[&id.key()]).await?;
    row.as_ref().map(read_connection).transpose()
}

pub(super) async fn pause_connection(
    tx: &mut Tx,
    id: &ConnectionId,
    pause: &Option<String>,
    actor: &Actor,
    now: &Timestamp,
) -> Result<bool> {
    let Some(known) = connection(&tx.sql, *id).await? else { return Ok(false) };
    tx.news().settings = true;
    tx.sql
        .execute(
            "UPDATE connection SET paused = $2 WHERE id = $1",
            &[&id.key(), &pause.as_deref().map(clean)],
        )
        .await?;
    let action = if pause.is_some() { "connection.pause" } else { "connection.resume" };
    let subject = format!("{} {}", known.environment.as_str(), known.name);
    write_audit(tx, actor, action, &subject, pause.as_deref().unwrap_or_default(), *now);
    Ok(true)
}

/// Rows that `reroute` reads at a time.
const REROUTE_STEP: i64 = 500;

/// Before everything in a queue: priority, due time, id.
const FIRST: (i16, i64, i64) = (-1, i64::MIN, i64::MIN);

pub(super) async fn reroute(
    tx: &mut Tx,
    from: &ConnectionId,
    to: &ConnectionId,
    limit: &usize,
    now: &Timestamp,
) -> Result<u64> {
    let (Some(source), Some(target)) = (connection(&tx.sql, *from).await?, connection(&tx.sql, *to).await?)
    else {
        return Ok(0);
    };
    if source.environment != target.environment {
        return Err(Error::Conflict(format!("{} and {} are of two environments", source.name, target.name)));
    }
    if from == to {
        return Ok(0);
    }
    tx.forget_fronts();
    let mut moved = 0;
    let mut queues = message::queues_of_senders(&tx.sql, *from).await?.into_iter();
    let mut queue = Some(Queue::of(*from));
    let mut after = FIRST;
    while let Some(from) = queue
        && moved < *limit
    {
        let rows = tx
            .sql
            .rows(
                "SELECT d.priority, d.due_at, d.message, d.ctid, m.parts, m.sender, m.is_answer FROM (
                   SELECT priority, due_at, message, ctid FROM due
                   WHERE lane = $1 AND (priority, due_at, message) > ($2, $3, $4)
                   ORDER BY priority, due_at, message LIMIT $5) d
                 LEFT JOIN LATERAL (SELECT x.parts, x.sender, x.reply IS NOT NULL AS is_answer FROM message x WHERE x.id = d.message LIMIT 1) m ON true
                 ORDER BY d.priority, d.due_at, d.message",
                &[&from.key(), &after.0, &after.1, &after.2, &REROUTE_STEP],
            )
            .await?;
        let Some(last) = rows.last() else {
            (queue, after) = (queues.next(), FIRST);
            continue;
        };
        after = (cell(last, 0)?, cell(last, 1)?, cell(last, 2)?);
        let (mut messages, mut places): (Vec<i64>, Vec<Location>) = (Vec::new(), Vec::new());
        let mut lanes = Vec::new();
        for row in &rows {
            if moved == *limit {
                break;
            }
            // A message that is partly at a carrier stays: phones do not join parts that came by two roads.
            if untouched(cell(row, 4)?)? {
                messages.push(cell(row, 2)?);
                places.push(cell(row, 3)?);
                lanes.push(tx.paces.queue(*to, &column::sender(cell(row, 5)?)?, cell(row, 6)?).key());
                moved += 1;
            }
        }
        tx.sql
            .execute(
                "UPDATE due SET lane = n.lane FROM unnest($1::tid[], $2::bigint[]) AS n (place, lane) WHERE due.ctid = n.place",
                &[&places, &lanes],
            )
            .await?;
        tx.sql
            .execute(
                "UPDATE message SET connection = $4, lane = n.lane, updated_at = $3
                 FROM unnest($1::bigint[], $2::bigint[]) AS n (id, lane) WHERE message.id = n.id",
                &[&messages, &lanes, &now.as_millis(), &to.key()],
            )
            .await?;
    }
    Ok(moved as u64)
}

fn untouched(parts: Option<&str>) -> Result<bool> {
    let Some(parts) = parts else { return Ok(false) };
    Ok(column::segments(parts)?.iter().all(|segment| *segment == Segment::Waiting))
}

// ── the hold ────────────────────────────────────────────────────────────────────────────────────────────────

pub(super) async fn hold(rx: &Rx<'_>) -> Result<Option<String>> {
    setting(rx.sql, "hold").await
}

pub(super) async fn set_hold(
    tx: &mut Tx,
    reason: &Option<String>,
    actor: &Actor,
    now: &Timestamp,
) -> Result<()> {
    tx.news().settings = true;
    set(&tx.sql, "hold", reason.as_deref()).await?;
    let action = if reason.is_some() { "hold.set" } else { "hold.release" };
    write_audit(tx, actor, action, "sending", reason.as_deref().unwrap_or_default(), *now);
    Ok(())
}

async fn setting(sql: &Session, name: &str) -> Result<Option<String>> {
    let row = sql.row("SELECT value FROM setting WHERE name = $1", &[&name]).await?;
    row.map(|row| cell(&row, 0)).transpose()
}

async fn set(sql: &Session, name: &str, value: Option<&str>) -> Result<()> {
    match value {
        Some(value) => {
            sql.execute(
                "INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = $2",
                &[&name, &clean(value)],
            )
            .await
        }
        None => sql.execute("DELETE FROM setting WHERE name = $1", &[&name]).await,
    }
    .map(drop)
}

pub(super) async fn ping(tx: &mut Tx) -> Result<()> {
    // A disk that is full or read-only refuses this, and nothing less.
    set(&tx.sql, "ping", Some("")).await
}

// ── the audit trail ─────────────────────────────────────────────────────────────────────────────────────────

/// The lines that a transaction adds.
#[derive(Default)]
pub(super) struct Sheet {
    lines: Vec<(AccountId, Audit)>,
}

impl Sheet {
    /// Adds what has to be written.
    pub fn write<'v>(&'v self, flight: &mut Flight<'v>) {
        if self.lines.is_empty() {
            return;
        }
        let all = &self.lines;
        flight.statement(
            "INSERT INTO audit (id, account, at, who, action, subject, detail)
             SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[])",
            values![
                all.iter().map(|(_, line)| line.id.key()).collect::<Vec<_>>(),
                all.iter().map(|(account, _)| account.key()).collect::<Vec<_>>(),
                all.iter().map(|(_, line)| line.at.as_millis()).collect::<Vec<_>>(),
                all.iter().map(|(_, line)| clean(&line.who)).collect::<Vec<_>>(),
                all.iter().map(|(_, line)| clean(&line.action)).collect::<Vec<_>>(),
                all.iter().map(|(_, line)| clean(&line.subject)).collect::<Vec<_>>(),
                all.iter().map(|(_, line)| clean(&line.detail)).collect::<Vec<_>>(),
            ],
        );
    }
}

/// Adds a line to the trail, in the transaction of the change that it tells of.
pub(super) fn write_audit(
    tx: &mut Tx,
    actor: &Actor,
    action: &str,
    subject: &str,
    detail: &str,
    now: Timestamp,
) {
    let line = Audit {
        id: AuditId::from_key(tx.next_id(now)),
        at: now,
        who: actor.who.clone(),
        action: action.to_owned(),
        subject: subject.to_owned(),
        detail: detail.to_owned(),
    };
    tx.sheets.trail.lines.push((actor.account, line));
}

pub(super) async fn record_audit(
    tx: &mut Tx,
    actor: &Actor,
    action: &str,
    subject: &str,
    detail: &str,
    now: &Timestamp,
) -> Result<()> {
    write_audit(tx, actor, action, subject, detail, *now);
    Ok(())
}

pub(super) async fn audit(rx: &Rx<'_>, account: &AccountId, page: &Page) -> Result<Paged<Audit>> {
    let rows = rx
        .sql
        .rows(
            "SELECT id, at, who, action, subject, detail FROM audit WHERE account = $1 AND id < $2 ORDER BY id DESC LIMIT $3",
            &[&account.key(), &page.before.unwrap_or(i64::MAX), &(page.limit as i64 + 1)],
        )
        .await?;
    let read = |row: &Row| {
        Ok(Audit {
            id: AuditId::from_key(cell(row, 0)?),
            at: Timestamp::from_millis(cell(row, 1)?),
            who: cell(row, 2)?,
            action: cell(row, 3)?,
            subject: cell(row, 4)?,
            detail: cell(row, 5)?,
        })
    };
    let items = rows.iter().map(read).collect::<Result<Vec<_>>>()?;
    Ok(Paged::of(items, page, |line| line.id.key()))
}

// ── numbers ─────────────────────────────────────────────────────────────────────────────────────────────────

pub(super) async fn statistics(rx: &Rx<'_>, now: &Timestamp) -> Result<Statistics> {
    // Whole tables are counted here, and here alone.
    rx.sql.command("SET LOCAL enable_seqscan = on").await?;
    let became_due = |at: i64| (at <= now.as_millis()).then(|| Timestamp::from_millis(at));
    let rows = rx
        .sql
        .rows(
            "SELECT lane, priority, count(*), count(*) FILTER (WHERE due_at <= $1), min(due_at) FROM due
             GROUP BY lane, priority ORDER BY lane, priority",
            &[&now.as_millis()],
        )
        .await?;
    let mut in_flight = 0;
    let mut queues = Queues::default();
    for row in &rows {
        let (lane, priority): (i64, i16) = (cell(row, 0)?, cell(row, 1)?);
        // Lane 0: whatever is not in a queue and not over.
        if lane == 0 {
            in_flight += cell::<i64>(row, 2)? as u64;
            continue;
        }
        let purpose = u8::try_from(priority)
            .ok()
            .and_then(Purpose::from_priority)
            .ok_or_else(|| column::corrupt("purpose", priority))?;
        // What is scheduled for later does not wait yet.
        let waiting = cell::<i64>(row, 3)? as u64;
        queues.add(lane, purpose, waiting, became_due(cell(row, 4)?));
    }
    let row = rx
        .sql
        .one(
            "SELECT (SELECT count(*) FROM delivery), (SELECT count(DISTINCT receipt) FROM parked),
               (SELECT count(*) FROM review WHERE decision IS NULL), pg_database_size(current_database())",
            &[],
        )
        .await?;
    let count = |n: usize| cell::<i64>(&row, n).map(|count| count as u64);
    let oldest = event::earliest(rx.sql).await?.into_iter().map(|(_, due_at)| due_at.as_millis()).min();
    Ok(Statistics {
        queues: queues.of_connections(),
        in_flight,
        deliveries: (count(0)?, oldest.and_then(became_due)),
        parked: count(1)?,
        reviews: count(2)?,
        size: count(3)?,
    })
}

// ── taking out the old ──────────────────────────────────────────────────────────────────────────────────────

/// Rows of `outstanding` that are looked at for each one that may be deleted: they are in the order of the
/// carriers' ids, so the old lie among the new.
const LOOKED_AT: usize = 10;
/// Where the last look at `outstanding` ended.
const OUTSTANDING_CURSOR: &str = "sweep.outstanding";

pub(super) async fn sweep(
    tx: &mut Tx,
    retention: &Retention,
    limit: &usize,
    now: &Timestamp,
) -> Result<bool> {
    let before = |age_ms: i64| now.plus_ms(age_ms.saturating_neg());
    let mut more = sweep_idempotency(&tx.sql, before(retention.idempotency_ms), *limit).await?;
    more |= sweep_parked(tx, before(retention.parked_ms), *limit).await?;
    // An attempt tells nothing without its event, which goes with its message.
    let attempts_ms = retention.messages_ms.map_or(retention.attempts_ms, |ms| ms.min(retention.attempts_ms));
    more |= sweep_attempts(&tx.sql, attempts_ms, *limit, *now).await?;
    more |= sweep_outstanding(&tx.sql, before(OUTSTANDING_MS), *limit).await?;
    more |= super::inbound::sweep_replies(tx, *now, *limit).await?;
    more |= super::code::sweep(tx, *limit, *now).await?;
    more |= super::import::sweep(&tx.sql, *limit, *now).await?;
    more |= super::frequency::sweep(tx, *limit, *now).await?;
    more |= super::silence::sweep(&tx.sql, *now, *limit).await?;
    super::spend::sweep(tx, before(SPENDS_MS)).await?;
    super::quota::sweep(tx, before(QUOTAS_MS)).await?;
    super::endpoint::sweep_callbacks(tx, before(CALLBACKS_MS)).await?;
    let parts = part::make_ahead(&tx.sql, part::EVENTS, retention.messages_ms, *now).await?;
    if let Some(messages_ms) = retention.messages_ms {
        more |= super::pool::sweep(tx, *limit, before(messages_ms)).await?;
        more |= super::conversation::sweep(&tx.sql, before(messages_ms), *limit).await?;
        more |= super::segment::sweep(&tx.sql, before(messages_ms), *limit).await?;
        let before = part::floor(&parts, messages_ms, before(messages_ms));
        let (whole, others): (Vec<Part>, Vec<Part>) =
            parts.into_iter().partition(|part| part.is_whole(messages_ms));
        let mut left = sweep_messages(&tx.sql, &others, before, *limit).await?;
        left |= super::inbound::sweep(&tx.sql, &others, before, *limit).await?;
        more |= left;
        if !left {
            for part in whole.iter().chain(&others) {
                more |= sweep_events(&tx.sql, part, before, *limit).await?;
            }
        }
    }
    Ok(more)
}

async fn sweep_idempotency(sql: &Session, before: Timestamp, limit: usize) -> Result<bool> {
    let gone = sql
        .execute(
            "DELETE FROM idempotency WHERE ctid = ANY (ARRAY (
               SELECT ctid FROM idempotency WHERE created_at < $1 ORDER BY created_at LIMIT $2))",
            &[&before.as_millis(), &(limit as i64)],
        )
        .await?;
    Ok(gone == limit as u64)
}

async fn sweep_parked(tx: &mut Tx, before: Timestamp, limit: usize) -> Result<bool> {
    // Those that came first. Their numbers grow also while the clock is behind an earlier one, so their time is asked.
    let gone = tx
        .sql
        .execute(
            "DELETE FROM parked WHERE ctid = ANY (ARRAY (
               SELECT p.place FROM (SELECT ctid AS place, parked_at FROM parked ORDER BY receipt LIMIT $2) p
               WHERE p.parked_at < $1))",
            &[&before.as_millis(), &(limit as i64)],
        )
        .await?;
    if gone > 0 {
        tx.recount_parked().await?;
    }
    Ok(gone == limit as u64)
}

/// Drops the parts in which every try is old, and deletes what is old elsewhere.
async fn sweep_attempts(sql: &Session, keep_ms: i64, limit: usize, now: Timestamp) -> Result<bool> {
    let before = now.plus_ms(keep_ms.saturating_neg());
    let oldest_kept = event::first_at(sql, before).await?;
    // An old event may have been told again just now: that attempt is young.
    let young: [Value<'_>; 1] = [&before.as_millis()];
    let mut room = limit as u64;
    for part in part::make_ahead(sql, part::ATTEMPTS, Some(keep_ms), now).await? {
        if part.is_before(before)
            && part::drop_part(sql, part::ATTEMPTS, &part, &[("x.at >= $1", &young)]).await?
        {
            continue;
        }
        if part.is_whole(keep_ms) && !part.waits(before) {
            continue;
        }
        room -= sweep_attempts_of(sql, &part, oldest_kept, before, room).await?;
        if room == 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Deletes what is old in a part; says how many rows.
async fn sweep_attempts_of(
    sql: &Session,
    part: &Part,
    oldest_kept: i64,
    before: Timestamp,
    limit: u64,
) -> Result<u64> {
    let name = &part.name;
    let next = format!("SELECT endpoint FROM {name} WHERE endpoint > $1 ORDER BY endpoint LIMIT 1");
    let delete = format!(
        "DELETE FROM {name} WHERE ctid = ANY (ARRAY (
           SELECT ctid FROM {name} WHERE endpoint = $1 AND event < $2 AND at < $3 ORDER BY event, number LIMIT $4))"
    );
    let mut gone = 0;
    let mut endpoint = i64::MIN;
    // Also those of endpoints that were deleted.
    while gone < limit
        && let Some(row) = sql.page(&next, &[&endpoint]).await?.first()
    {
        endpoint = cell(row, 0)?;
        let room = (limit - gone) as i64;
        gone += sql.change(&delete, &[&endpoint, &oldest_kept, &before.as_millis(), &room]).await?;
    }
    Ok(gone)
}

async fn sweep_outstanding(sql: &Session, before: Timestamp, limit: usize) -> Result<bool> {
    let cursor = setting(sql, OUTSTANDING_CURSOR).await?.unwrap_or_default();
    let (connection, canonical) = match cursor.split_once(' ') {
        Some((connection, canonical)) => (connection.parse().unwrap_or(i64::MIN), canonical),
        None => (i64::MIN, ""),
    };
    let looked_at = limit.saturating_mul(LOOKED_AT);
    // A message may live longer than is usual, or have waited for its time: it is asked. One that waits for anything
    // has a lane.
    let rows = sql
        .rows(
            "SELECT o.connection, o.canonical, o.message < $4 AND m.lane IS NULL, o.ctid FROM (
               SELECT connection, canonical, message, segment, ctid FROM outstanding
               WHERE (connection, canonical) >= ($1, $2 COLLATE \"C\")
               ORDER BY connection, canonical, message, segment LIMIT $3) o
             LEFT JOIN LATERAL (SELECT x.lane FROM message x WHERE x.id = o.message LIMIT 1) m ON true
             ORDER BY o.connection, o.canonical, o.message, o.segment",
            &[&connection, &canonical, &(looked_at as i64), &floor_at(before)],
        )
        .await?;
    let mut over: Vec<Location> = Vec::new();
    for row in &rows {
        if over.len() < limit && cell::<bool>(row, 2)? {
            over.push(cell(row, 3)?);
        }
    }
    sql.execute("DELETE FROM outstanding WHERE ctid = ANY ($1)", &[&over]).await?;
    let more = over.len() == limit;
    if !more {
        let at_its_end = rows.len() < looked_at;
        let next = match rows.last().filter(|_| !at_its_end) {
            Some(row) => Some(format!("{} {}", cell::<i64>(row, 0)?, cell::<&str>(row, 1)?)),
            None => None,
        };
        if next.is_some() || !cursor.is_empty() {
            set(sql, OUTSTANDING_CURSOR, next.as_deref()).await?;
        }
    }
    Ok(more)
}

/// Deletes old messages with what belongs to them; of events those in these parts, for others go as a whole.
async fn sweep_messages(sql: &Session, parts: &[Part], before: Timestamp, limit: usize) -> Result<bool> {
    // Kept whatever their age: what waits for anything (it has a lane), what a person must still decide, what an
    // endpoint must still be told, and the newest event's message, because the places of events must only grow.
    let to_tell = messages_to_tell(sql, before).await?;
    let mut over: Vec<i64> = Vec::new();
    let mut after = i64::MIN;
    while over.len() < limit {
        let rows = sql
            .rows(
                "SELECT m.id FROM message m WHERE m.id > $1 AND m.id < $2 AND m.lane IS NULL AND m.updated_at < $3
                   AND m.id IS DISTINCT FROM (SELECT e.message FROM event e ORDER BY e.seq DESC LIMIT 1)
                   AND NOT EXISTS (SELECT 1 FROM review r WHERE r.message = m.id AND r.decision IS NULL LIMIT 1)
                 ORDER BY m.id LIMIT $4",
                &[&after, &floor_at(before), &before.as_millis(), &(limit as i64)],
            )
            .await?;
        let Some(last) = rows.last() else { break };
        after = cell(last, 0)?;
        for row in &rows {
            let message: i64 = cell(row, 0)?;
            if over.len() < limit && !to_tell.contains(&message) {
                over.push(message);
            }
        }
    }
    for part in parts.iter().filter(|_| !over.is_empty()) {
        sql.change(&format!("DELETE FROM {} WHERE message = ANY ($1)", part.name), &[&over]).await?;
    }
    sql.execute("DELETE FROM review WHERE message = ANY ($1)", &[&over]).await?;
    sql.execute("DELETE FROM message WHERE id = ANY ($1)", &[&over]).await?;
    // A batch goes once every message of its time is gone.
    sql.execute(
        "DELETE FROM batch WHERE id = ANY (ARRAY (SELECT id FROM batch ORDER BY id LIMIT $2)) AND id < $1
           AND last_message < coalesce((SELECT id FROM message ORDER BY id LIMIT 1), $1)",
        &[&floor_at(before), &(limit as i64)],
    )
    .await?;
    Ok(over.len() == limit)
}

/// Drops a part of the log whose messages are gone, but for the events of those that stay, and of what is about none. One of
/// which much must stay waits, and then loses the events of what is gone one by one.
async fn sweep_events(sql: &Session, part: &Part, before: Timestamp, limit: usize) -> Result<bool> {
    if !part.is_before(before.plus_ms(-part::SKEW_MS)) {
        return Ok(false);
    }
    let name = &part.name;
    // Where it ends: the bounds of what was carried over do not tell that.
    let newest = sql.page(&format!("SELECT seq, at FROM {name} ORDER BY seq DESC LIMIT 1"), &[]).await?;
    let (newest, ended_at) = match newest.first() {
        Some(row) => (cell::<i64>(row, 0)?, Timestamp::from_millis(cell(row, 1)?)),
        None => (0, Timestamp::default()),
    };
    let last = sql.value::<i64>("SELECT coalesce(max(seq), 0) FROM event", &[]).await?;
    let behind = ended_at.plus_ms(part::SKEW_MS);
    // Places only grow, so the newest event stays.
    if behind > before || (newest == last && last > 0) {
        return Ok(false);
    }
    let staying = sql
        .rows(
            "SELECT id FROM message WHERE id < $1 ORDER BY id LIMIT $2",
            &[&floor_at(behind), &(part::STAY_MAX + 1)],
        )
        .await?;
    let staying: Vec<i64> = staying.iter().map(|row| cell(row, 0)).collect::<Result<_>>()?;
    let of_messages: [Value<'_>; 1] = [&staying];
    // Of people's messages those stay that are there, and so does what is about nothing.
    let of_others = "x.message IS NULL AND (x.inbound IS NULL
        OR EXISTS (SELECT 1 FROM inbound i WHERE i.id = x.inbound LIMIT 1))";
    let stays: [Stays<'_>; 2] = [(of_others, &[]), ("x.message = ANY ($1)", &of_messages)];
    let are_few = staying.len() as i64 <= part::STAY_MAX;
    let is_gone = are_few && part::drop_part(sql, part::EVENTS, part, &stays).await?;
    if is_gone || !part.waits(before) {
        return Ok(false);
    }
    let delete = format!(
        "DELETE FROM {name} WHERE ctid = ANY (ARRAY (
           SELECT x.ctid FROM {name} x WHERE
             (x.message IS NOT NULL AND NOT EXISTS (SELECT 1 FROM message m WHERE m.id = x.message LIMIT 1))
             OR (x.inbound IS NOT NULL AND NOT EXISTS (SELECT 1 FROM inbound i WHERE i.id = x.inbound LIMIT 1))
           ORDER BY x.seq LIMIT $1))"
    );
    Ok(sql.change(&delete, &[&(limit as i64)]).await? == limit as u64)
}

/// The messages that open deliveries of old events are about.
async fn messages_to_tell(sql: &Session, before: Timestamp) -> Result<HashSet<i64>> {
    let rows = sql
        .rows(
            "SELECT e.message FROM delivery d
             CROSS JOIN LATERAL (SELECT x.message FROM event x WHERE x.seq = d.event LIMIT 1) e
             WHERE d.event < $1 AND e.message IS NOT NULL",
            &[&event::first_at(sql, before).await?],
        )
        .await?;
    rows.iter().map(|row| cell(row, 0)).collect()
}
