//! The queues and the clock: what is claimed, what is looked at when its moment comes, and how much waits.

use super::Commit;
use super::sheet::{Needs, Slot, TEXT, columns, slot};
use crate::backend::*;
use crate::column;
use crate::due::{CLOCK_BACK_MS, Due, LOOK_AGAIN};
use crate::postgres::front::{Look, Queue};
use crate::postgres::reader::Rx;
use crate::postgres::session::{Session, Value, cell, in_order};
use crate::postgres::transaction::{self, Tx};
use crate::postgres::{node, suppression};
use crate::{ByPurpose, Error, Result, Waiting};
use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::failure::Failure;
use tidings_domain::gate;
use tidings_domain::id::*;
use tidings_domain::message::{Input, LEASE_MS, Message, State, Status, damaged};
use tidings_domain::poison;
use tidings_domain::purpose::Purpose;
use tidings_domain::queue;
use tidings_domain::receipt::{expected_form, our_reference, reference_form};
use tidings_domain::retry::{Jitter, RetryPolicy};
use tidings_domain::suppression::Listing;
use tidings_domain::time::Timestamp;
use tokio_postgres::Row;

/// Rows of a queue that one step of a claim reads.
const STEP_MAX: usize = 256;

// ── from a queue to a carrier ───────────────────────────────────────────────────────────────────────────────

/// What a claim looks at.
pub(in crate::postgres) fn claim_needs(
    (queue, limit, now): (&queue::Queue, &usize, &Timestamp),
    tx: &Tx,
    needs: &mut transaction::Needs,
) {
    if *limit > 0 {
        needs.messages.beginning(&tx.sheets.messages, *queue, || Glance::at(tx, *queue, *limit, *now));
    }
}

pub(in crate::postgres) async fn claim(
    tx: &mut Tx,
    queue: &queue::Queue,
    limit: &usize,
    now: &Timestamp,
) -> Result<Claimed> {
    let retry = RetryPolicy::default();
    let mut commit = Commit::new(*now, &retry, Jitter(0));
    let mut claimed = Claimed::default();
    let mut room = *limit;
    let mut ended = 0;
    'steps: while room > 0 {
        if ended >= ENDED_MAX {
            claimed.more = true;
            break;
        }
        let beginning = match tx.sheets.messages.beginnings.remove(queue) {
            Some(beginning) => beginning,
            None => {
                tx.settle().await?;
                // Where messages end, the next will end too.
                let rows = if ended > 0 { STEP_MAX } else { room };
                load_beginning(&tx.sql, *queue, &Glance::at(tx, *queue, rows, *now)).await?
            }
        };
        let is_all = beginning.is_all;
        let (due, unreadable, changed) = beginning.remember(tx, *queue).await?;
        claimed.more |= changed > 0;
        ended += unreadable;
        for id in due {
            if room == 0 {
                break 'steps;
            }
            let most = if claimed.tickets.is_empty() { usize::MAX } else { room };
            match tx.contain(id, async |tx: &mut Tx| commit.claim_one(tx, id, most).await).await? {
                Some(Claim::Taken(ticket)) => {
                    room = room.saturating_sub(ticket.segments.len());
                    claimed.tickets.push(*ticket);
                }
                Some(Claim::Ended) => ended += 1,
                Some(Claim::Damaged) => {
                    // Its row is not where the message says, perhaps, and would be found again by each step.
                    take_from_lane(tx, *queue, id).await?;
                    ended += 1;
                }
                Some(Claim::TooLarge) => {
                    claimed.more = true;
                    break 'steps;
                }
                // Set aside. Its row is found again by each step.
                None => {}
            }
        }
        if is_all {
            break;
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

impl Commit<'_> {
    /// Claims a message that was found in its queue.
    async fn claim_one(&mut self, tx: &mut Tx, id: MessageId, room: usize) -> Result<Claim> {
        if tx.sheets.messages.slot(id).damaged {
            tracing::error!(message = %id, "what is stored of a message is not what was accepted; it is not sent");
            self.apply_to(tx, id, Input::Quarantined(damaged())).await?;
            return Ok(Claim::Damaged);
        }
        let slot = tx.sheets.messages.slot(id);
        let segments = slot.life.waiting();
        if segments.len() > room {
            return Ok(Claim::TooLarge);
        }
        let message = Arc::clone(&slot.message);
        poison::taste("claim", || message.reference.as_deref());
        // Going on would find the same row again and again.
        let Ok(transition) = slot.life.apply(Input::Claimed, message.terms(), self.now, self.rules()) else {
            return Err(column::corrupt("message in its queue", id));
        };
        let attempt = transition.life.attempt;
        let taken = matches!(transition.life.state, State::Sending { .. });
        self.write(tx, id, transition.life, transition.effects).await?;
        let message = Message::clone(&message);
        Ok(if taken { Claim::Taken(Box::new(Ticket { message, attempt, segments })) } else { Claim::Ended })
    }
}

/// Takes a row out of a queue when its message cannot say where it is. Reads the queue up to it.
async fn take_from_lane(tx: &Tx, queue: queue::Queue, id: MessageId) -> Result<()> {
    let sql = "DELETE FROM due WHERE lane = $1 AND priority = ANY ($2) AND message = $3";
    tx.sql.execute(sql, &[&queue.key(), &priorities(), &id.key()]).await.map(drop)
}

/// A look at the beginning of a queue, from before the question is sent.
pub(super) struct Glance {
    look: Look,
    fronts: Vec<i64>,
    now: Timestamp,
    rows_max: usize,
}

/// What stands at the beginning of a queue, with its texts.
pub(super) struct Beginning {
    due: Vec<(MessageId, Result<Slot>)>,
    /// Whether nothing more is due.
    is_all: bool,
}

impl Glance {
    /// At so many messages that are due by now, in up to [`STEP_MAX`] rows: a claim for one place must not read a thousand.
    fn at(tx: &Tx, queue: queue::Queue, messages: usize, now: Timestamp) -> Self {
        let look = tx.fronts().look();
        let fronts = fronts_of(&look, queue.key());
        Self { look, fronts, now, rows_max: messages.min(STEP_MAX) + tx.set_aside().len() }
    }
}

/// What stands at the beginnings of queues.
pub(super) async fn load_beginnings(
    sql: &Session,
    glances: &BTreeMap<queue::Queue, Glance>,
) -> Result<Vec<(queue::Queue, Beginning)>> {
    let load = async |queue: queue::Queue, glance| Ok((queue, load_beginning(sql, queue, glance).await?));
    let running = glances.iter().map(|(queue, glance)| Box::pin(load(*queue, glance)) as Pin<Box<_>>);
    in_order(running.collect()).await
}

async fn load_beginning(sql: &Session, queue: queue::Queue, glance: &Glance) -> Result<Beginning> {
    let Glance { look, fronts, now, rows_max } = glance;
    let rows = sql
        .rows(
            concat!(
                "SELECT ",
                columns!(),
                ", m.text, d.message, d.priority, d.due_at FROM (
                   SELECT w.priority, w.due_at, w.message FROM unnest($4::smallint[], $5::bigint[]) AS p (priority, front)
                   CROSS JOIN LATERAL (SELECT x.priority, x.due_at, x.message FROM due x
                     WHERE x.lane = $1 AND x.priority = p.priority AND x.due_at >= p.front AND x.due_at <= $2
                     ORDER BY x.due_at, x.message LIMIT $3) w
                   ORDER BY w.priority, w.due_at, w.message LIMIT $3) d
                 LEFT JOIN LATERAL (SELECT x.*, x.ctid FROM message x WHERE x.id = d.message LIMIT 1) m ON true
                 ORDER BY d.priority, d.due_at, d.message"
            ),
            &[&queue.key(), &now.as_millis(), &(*rows_max as i64), &priorities(), fronts],
        )
        .await?;
    found_due(look, queue.key(), &rows, (TEXT + 2, TEXT + 3), *rows_max, *now)?;
    let due = rows.iter().map(|row| {
        let id = MessageId::from_key(cell(row, TEXT + 1)?);
        Ok((id, cell(row, TEXT).and_then(|text| slot(row, text))))
    });
    Ok(Beginning { due: due.collect::<Result<_>>()?, is_all: rows.len() < *rows_max })
}

impl Beginning {
    /// Puts on the sheet what stands in the queue and is as it was read, in its order. What cannot be read is taken out, and what was
    /// changed meanwhile is left: the numbers of both.
    async fn remember(self, tx: &mut Tx, queue: queue::Queue) -> Result<(Vec<MessageId>, usize, usize)> {
        let (mut readable, mut unreadable, mut changed) = (Vec::with_capacity(self.due.len()), Vec::new(), 0);
        for (id, found) in self.due {
            match found {
                _ if tx.sheets.messages.known(id).is_some_and(|known| known.changed) => changed += 1,
                Ok(slot) => readable.push((id, slot)),
                Err(Error::Corrupt(why)) => unreadable.push((id, why)),
                Err(error) => return Err(error),
            }
        }
        for (id, why) in &unreadable {
            tracing::error!(message = %id, why, "a message cannot be read; it is not sent");
            take_out(tx, *id).await?;
            take_from_lane(tx, queue, *id).await?;
        }
        let slots = &mut tx.sheets.messages.slots;
        let put = |(id, slot)| {
            slots.insert(id, Some(slot));
            id
        };
        Ok((readable.into_iter().map(put).collect(), unreadable.len(), changed))
    }
}

// ── by the clock ────────────────────────────────────────────────────────────────────────────────────────────

pub(in crate::postgres) async fn wake(
    tx: &mut Tx,
    limit: &usize,
    now: &Timestamp,
    rules: &Patience,
) -> Result<Advanced> {
    let mut commit = Commit::of(*now, rules);
    let (most, urgent, millis) = (*limit as i64, priorities(), now.as_millis());
    let look = tx.fronts().look();
    let (fronts, expiry) = (fronts_of(&look, LOOK_AGAIN), look.front(Queue::Expiry));
    let (of_due, of_over): ([Value<'_>; 4], [Value<'_>; 3]) =
        ([&millis, &most, &urgent, &fronts], [&millis, &most, &expiry]);
    let (due, over) = tokio::try_join!(
        tx.sql.rows(
            "SELECT w.message, w.priority, w.due_at FROM unnest($3::smallint[], $4::bigint[]) AS p (priority, front)
             CROSS JOIN LATERAL (SELECT x.priority, x.due_at, x.message FROM due x
               WHERE x.lane = 0 AND x.priority = p.priority AND x.due_at >= p.front AND x.due_at <= $1
               ORDER BY x.due_at, x.message LIMIT $2) w
             ORDER BY w.priority, w.due_at, w.message LIMIT $2",
            &of_due,
        ),
        tx.sql.rows(
            "SELECT message, expires_at FROM due WHERE expires_at IS NOT NULL AND expires_at >= $3 AND expires_at <= $1
             ORDER BY expires_at, lane, priority, due_at, message LIMIT $2",
            &of_over,
        ),
    )?;
    found_due(&look, LOOK_AGAIN, &due, (1, 2), *limit, *now)?;
    let first = over.first().map(|row| cell(row, 1)).transpose()?;
    look.found(Queue::Expiry, Some(first.unwrap_or(millis + 1)));
    drop(look);
    commit.out.more = due.len() + over.len() >= *limit;
    let ids = |rows: &[Row]| -> Result<Vec<MessageId>> {
        rows.iter().map(|row| cell(row, 0).map(MessageId::from_key)).collect()
    };
    let (mut due, over) = (ids(&due)?, ids(&over)?);
    // A long queue of the one kind leaves half of every commit to the other.
    due.truncate(limit.saturating_sub(over.len()).max(*limit / 2));
    due.extend(over.into_iter().take(*limit - due.len()));
    look_at(tx, &due).await?;
    for id in due {
        tx.contain(id, async |tx: &mut Tx| commit.look_at(tx, id).await).await?;
    }
    commit.out.crashed = tx.set_aside();
    Ok(commit.out)
}

/// Where a lane begins, by the priorities.
fn fronts_of(look: &Look, lane: i64) -> Vec<i64> {
    priorities().into_iter().map(|priority| look.front(Queue::Lane(lane, priority))).collect()
}

/// Notes where a lane begins after a look at what is due in it, the most urgent first. The rows have their priorities
/// and due times in these columns. Where the limit cut off, nothing is known of what is less urgent.
fn found_due(
    look: &Look,
    lane: i64,
    rows: &[Row],
    (of_priority, of_due): (usize, usize),
    limit: usize,
    now: Timestamp,
) -> Result<()> {
    let mut first: BTreeMap<i16, i64> = BTreeMap::new();
    let mut last = i16::MAX;
    for row in rows {
        last = cell(row, of_priority)?;
        first.entry(last).or_insert(cell(row, of_due)?);
    }
    let seen = if rows.len() < limit { i16::MAX } else { last };
    for priority in priorities().into_iter().filter(|priority| *priority <= seen) {
        let at = first.get(&priority).copied().unwrap_or(now.as_millis() + 1);
        look.found(Queue::Lane(lane, priority), Some(at));
    }
    Ok(())
}

/// The numbers of the purposes, the most urgent first.
fn priorities() -> Vec<i16> {
    Purpose::ALL.into_iter().map(|purpose| i16::from(purpose.priority())).collect()
}

/// Loads messages that somebody found by a query.
async fn look_at(tx: &mut Tx, ids: &[MessageId]) -> Result<()> {
    let mut needs = Needs::default();
    for id in ids {
        needs.message(&tx.sheets.messages, *id);
    }
    tx.sheets.messages.load(&tx.sql, needs).await
}

impl Commit<'_> {
    /// The moment of a message may have come.
    async fn look_at(&mut self, tx: &mut Tx, id: MessageId) -> Result<()> {
        let Some(slot) = tx.sheets.messages.known(id) else { return Ok(()) };
        match slot.life.state.wakes_at() {
            Some(at) if at > self.now && !slot.life.state.is_waiting() => self.move_due(tx, id, at),
            Some(_) => {
                let late = matches!(slot.life.state, State::Unconfirmed { .. });
                let status = self.apply_to(tx, id, Input::TimeUp).await?;
                if status.is_none() && late {
                    // The time for a late receipt is over: nothing more is expected.
                    end_waiting(tx, id);
                }
            }
            None => {}
        }
        Ok(())
    }

    /// Moves a row that was due too early to the moment the message really waits for.
    fn move_due(&mut self, tx: &mut Tx, id: MessageId, at: Timestamp) {
        let slot = tx.sheets.messages.slot(id);
        slot.due = Some(Due { lane: LOOK_AGAIN, due_at: at.as_millis() });
        slot.changed = true;
    }
}

fn end_waiting(tx: &mut Tx, id: MessageId) {
    let sheet = &mut tx.sheets.messages;
    let slot = sheet.slot(id);
    let message = Arc::clone(&slot.message);
    let line = tx.carriers.lines(message.connection).filed;
    let segments = slot.life.segments.clone();
    slot.due = None;
    slot.life.state = State::Unconfirmed { until: Timestamp::from_millis(0) };
    slot.changed = true;
    for (n, segment) in segments.iter().enumerate() {
        let n = n as u8;
        if let Some(carrier_id) = segment.carrier_id() {
            sheet.forget_receipt(line, &message, n, expected_form(&message, n, carrier_id));
        }
        sheet.forget_receipt(line, &message, n, reference_form(our_reference(id, n)));
    }
}

pub(in crate::postgres) async fn recover(
    tx: &mut Tx,
    connection: &Option<ConnectionId>,
    limit: &usize,
    now: &Timestamp,
    rules: &Patience,
) -> Result<Advanced> {
    if let Some(connection) = connection {
        node::check_owner(tx, *connection).await?;
    }
    let mut commit = Commit::of(*now, rules);
    // A claim's row in `due` stands at the end of its lease from the claim to the answer. So the claims of an earlier
    // process lie below this moment, and what waits for receipts, which may be millions, lies mostly above it.
    let leases_end = now.plus_ms(LEASE_MS + CLOCK_BACK_MS).as_millis();
    let sending = column::status_number(Status::Sending) as i16;
    let rows = tx
        .sql
        .rows(
            "SELECT w.message FROM unnest($4::smallint[]) AS p (priority)
             CROSS JOIN LATERAL (SELECT d.priority, d.due_at, d.message FROM due d
               CROSS JOIN LATERAL (SELECT 1 FROM message m WHERE m.id = d.message AND m.state = $2
                 AND ($5::bigint IS NULL OR m.connection = $5) LIMIT 1) claimed
               WHERE d.lane = 0 AND d.priority = p.priority AND d.due_at <= $1 ORDER BY d.due_at, d.message LIMIT $3) w
             ORDER BY w.priority, w.due_at, w.message LIMIT $3",
            &[&leases_end, &sending, &(*limit as i64), &priorities(), &connection.map(ConnectionId::key)],
        )
        .await?;
    let claimed: Vec<MessageId> =
        rows.iter().map(|row| cell(row, 0).map(MessageId::from_key)).collect::<Result<_>>()?;
    commit.out.more = claimed.len() >= *limit;
    look_at(tx, &claimed).await?;
    for id in claimed {
        let apply = async |tx: &mut Tx| commit.apply(tx, id, Input::Orphaned).await;
        let status = tx.contain(id, apply).await?.flatten();
        commit.out.statuses.push(status);
    }
    commit.out.crashed = tx.set_aside();
    Ok(commit.out)
}

pub(in crate::postgres) async fn next_due(
    rx: &Rx<'_>,
    queue: &Option<queue::Queue>,
    now: &Timestamp,
) -> Result<Option<Timestamp>> {
    let lane = queue.map_or(LOOK_AGAIN, queue::Queue::key);
    let look = rx.fronts.look();
    let (urgent, fronts) = (priorities(), fronts_of(&look, lane));
    let expiry = queue.is_none().then(|| look.front(Queue::Expiry));
    let rows = rx
        .sql
        .rows(
            "SELECT p.priority::integer, (SELECT x.due_at FROM due x WHERE x.lane = $1 AND x.priority = p.priority
               AND x.due_at >= p.front ORDER BY x.due_at LIMIT 1) FROM unnest($2::smallint[], $3::bigint[]) AS p (priority, front)
             UNION ALL SELECT -1, (SELECT expires_at FROM due WHERE expires_at IS NOT NULL AND expires_at >= $4
               ORDER BY expires_at LIMIT 1) WHERE $4::bigint IS NOT NULL
             UNION ALL SELECT -2, (SELECT due_at FROM inbound WHERE due_at IS NOT NULL ORDER BY due_at LIMIT 1)
               WHERE $4::bigint IS NOT NULL",
            &[&lane, &urgent, &fronts, &expiry],
        )
        .await?;
    let mut earliest: Option<i64> = None;
    for row in &rows {
        let (priority, at): (i32, Option<i64>) = (cell(row, 0)?, cell(row, 1)?);
        match priority {
            // Messages of people that wait for parts: few, and in no queue.
            -2 => {}
            -1 => look.found(Queue::Expiry, at),
            _ => look.found(Queue::Lane(lane, priority as i16), at),
        }
        earliest = [earliest, at].into_iter().flatten().min();
    }
    Ok(earliest.map(|at| Timestamp::from_millis(at).max(*now)))
}

pub(in crate::postgres) async fn queues(rx: &Rx<'_>, connection: &ConnectionId) -> Result<Vec<queue::Queue>> {
    queues_of_senders(rx.sql, *connection).await
}

/// There are few, so each is looked for behind the one before.
pub(in crate::postgres) async fn queues_of_senders(
    sql: &Session,
    connection: ConnectionId,
) -> Result<Vec<queue::Queue>> {
    let rows = sql
        .rows(
            "WITH RECURSIVE found (lane) AS (
               (SELECT lane FROM due WHERE lane > $1 ORDER BY lane LIMIT 1)
               UNION ALL SELECT (SELECT x.lane FROM due x WHERE x.lane > f.lane ORDER BY x.lane LIMIT 1) FROM found f
               WHERE f.lane IS NOT NULL)
             SELECT lane FROM found WHERE lane IS NOT NULL",
            &[&queue::CONNECTIONS],
        )
        .await?;
    let all = rows.iter().map(|row| cell(row, 0).map(queue::Queue::from_key)).collect::<Result<Vec<_>>>()?;
    Ok(all.into_iter().filter(|queue| queue.connection() == connection).collect())
}

// ── out of every queue ──────────────────────────────────────────────────────────────────────────────────────

pub(in crate::postgres) async fn quarantine(
    tx: &mut Tx,
    messages: &[MessageId],
    why: &Failure,
    now: &Timestamp,
) -> Result<Advanced> {
    let retry = RetryPolicy::default();
    let mut commit = Commit::new(*now, &retry, Jitter(0));
    for &id in messages {
        let apply = async |tx: &mut Tx| commit.apply(tx, id, Input::Quarantined(why.clone())).await;
        let status = tx.contain(id, apply).await?.flatten();
        if status.is_none() {
            take_out(tx, id).await?;
        }
        commit.out.statuses.push(status);
    }
    Ok(commit.out)
}

/// Takes a message out of every queue without a look at anything else of it: there is no event, and nobody is told.
async fn take_out(tx: &mut Tx, id: MessageId) -> Result<()> {
    tx.settle().await?;
    let found = tx
        .sql
        .row(
            "SELECT lane, purpose, due_at, account FROM message WHERE id = $1 AND lane IS NOT NULL",
            &[&id.key()],
        )
        .await?;
    let Some(row) = found else { return Ok(()) };
    let (lane, priority): (i64, i16) = (cell(&row, 0)?, cell(&row, 1)?);
    let (due_at, account): (i64, i64) = (cell(&row, 2)?, cell(&row, 3)?);
    tx.sql
        .execute(
            "DELETE FROM due WHERE lane = $1 AND priority = $2 AND due_at = $3 AND message = $4",
            &[&lane, &priority, &due_at, &id.key()],
        )
        .await?;
    // What was told as final stays; what was handed over may be at the carrier.
    let number = |status| column::status_number(status) as i16;
    let at_home = vec![number(Status::Scheduled), number(Status::Queued)];
    let away = vec![number(Status::Sending), number(Status::Sent), column::DOUBTFUL as i16];
    tx.sql
        .execute(
            "UPDATE message SET state = CASE WHEN state = ANY ($2) THEN $3 WHEN state = ANY ($4) THEN $5 ELSE state END,
               until = NULL, lane = NULL, due_at = NULL WHERE id = $1",
            &[&id.key(), &at_home, &number(Status::Failed), &away, &number(Status::Unconfirmed)],
        )
        .await?;
    let purpose = u8::try_from(priority).ok().and_then(Purpose::from_priority);
    if let Some(purpose) = purpose.filter(|_| lane != LOOK_AGAIN) {
        tx.waits_of(AccountId::from_key(account), purpose, -1);
    }
    tracing::error!(message = %id, "it could not even be set aside, and was taken out of its queue as it is");
    Ok(())
}

// ── how much waits ──────────────────────────────────────────────────────────────────────────────────────────

pub(in crate::postgres) async fn waiting(tx: &mut Tx) -> Result<Arc<Waiting>> {
    tx.waiting().await
}

/// Counts what stands in the queues.
pub(in crate::postgres) async fn count_waiting(sql: &Session) -> Result<BTreeMap<AccountId, ByPurpose>> {
    let rows = sql
        .rows("SELECT account, priority, count(*) FROM due WHERE lane > 0 GROUP BY account, priority", &[])
        .await?;
    let mut counts: BTreeMap<AccountId, ByPurpose> = BTreeMap::new();
    for row in &rows {
        let priority: i16 = cell(row, 1)?;
        let purpose = u8::try_from(priority).ok().and_then(Purpose::from_priority);
        let purpose = purpose.ok_or_else(|| column::corrupt("purpose", priority))?;
        let of_account = counts.entry(AccountId::from_key(cell(row, 0)?)).or_default();
        of_account[usize::from(purpose.priority())] += cell::<i64>(row, 2)? as u64;
    }
    Ok(counts)
}

// ── what follows for who is on the suppression list ─────────────────────────────────────────────────────────

pub(in crate::postgres) async fn stop_waiting(
    tx: &mut Tx,
    people: &[(Realm, PhoneNumber)],
    limit: &usize,
    now: &Timestamp,
) -> Result<Advanced> {
    // For most people nothing waits: one question finds out for whom something does.
    let digits: Vec<i64> = people.iter().map(|(_, recipient)| recipient.digits() as i64).collect();
    let rows = tx
        .sql
        .rows(
            "SELECT p.recipient FROM unnest($1::bigint[]) AS p (recipient)
             WHERE EXISTS (SELECT 1 FROM due d WHERE d.recipient = p.recipient)",
            &[&digits],
        )
        .await?;
    let waited_for = rows.iter().map(|row| cell::<i64>(row, 0)).collect::<Result<BTreeSet<_>>>()?;
    let mut out = Advanced::default();
    for (realm, recipient) in people {
        if !waited_for.contains(&(recipient.digits() as i64)) {
            continue;
        }
        let left = limit.saturating_sub(out.counted.len());
        if left == 0 {
            out.more = true;
            break;
        }
        let standing = suppression::standing(tx, *realm, *recipient, *now).await?;
        if !standing.is_free() {
            // What the people before brought about must be found where it is looked for.
            tx.settle().await?;
            out.add(end_waiting_for(tx, *realm, *recipient, &standing, left, *now).await?);
        }
    }
    out.crashed = tx.set_aside();
    Ok(out)
}

/// Ends those of up to `limit` messages that wait in a queue for somebody which the list stops, as the person stands there. One
/// that crashes is left, and met again when it comes up. The sheets must be settled.
pub(in crate::postgres) async fn end_waiting_for(
    tx: &mut Tx,
    realm: Realm,
    recipient: PhoneNumber,
    standing: &Listing,
    limit: usize,
    now: Timestamp,
) -> Result<Advanced> {
    let retry = RetryPolicy::default();
    let mut commit = Commit::new(now, &retry, Jitter(0));
    let rows = tx
        .sql
        .rows(
            "SELECT message FROM due WHERE recipient = $1 ORDER BY message LIMIT $2",
            &[&(recipient.digits() as i64), &(limit as i64)],
        )
        .await?;
    let mut needs = Needs::default();
    let mut waiting = Vec::with_capacity(rows.len());
    for row in &rows {
        let id = MessageId::from_key(cell(row, 0)?);
        needs.message(&tx.sheets.messages, id);
        waiting.push(id);
    }
    tx.sheets.messages.load(&tx.sql, needs).await?;
    for id in waiting {
        let Some(slot) = tx.sheets.messages.known(id) else { continue };
        if slot.message.realm() == realm
            && let Some(why) = gate::refuses_listed(&slot.message, standing, now)
        {
            let end = async |tx: &mut Tx| commit.apply(tx, id, Input::Stopped(why.failure())).await;
            tx.contain(id, end).await?;
        }
    }
    // Where none of them ended, the same call would find the same.
    commit.out.more = rows.len() == limit && !commit.out.counted.is_empty();
    commit.out.crashed = tx.set_aside();
    Ok(commit.out)
}
