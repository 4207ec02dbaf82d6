//! Reading messages: one, several, a page, a timeline, a batch. Nothing here decides anything.

use super::publish;
use super::sheet::{Slot, TEXT, columns, slot};
use crate::Result;
use crate::backend::*;
use crate::column;
use crate::postgres::reader::Rx;
use crate::postgres::session::{self, Session, cell, clean, live};
use crate::postgres::transaction::Tx;
use crate::postgres::{conversation, endpoint, event, operating};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use tidings_domain::account::Realm;
use tidings_domain::event::{Event, Kind};
use tidings_domain::id::*;
use tidings_domain::message::{Message, Segment, Status};
use tidings_domain::receipt;
use tidings_domain::time::Timestamp;
use tokio_postgres::Row;

pub(in crate::postgres) async fn message(
    rx: &Rx<'_>,
    realm: &Realm,
    id: &MessageId,
) -> Result<Option<Stored>> {
    find(rx.sql, *realm, *id).await
}

async fn find(sql: &Session, realm: Realm, id: MessageId) -> Result<Option<Stored>> {
    let row = sql
        .row(concat!("SELECT ", columns!(), ", m.text FROM message m WHERE m.id = $1"), &[&id.key()])
        .await?;
    let Some(row) = row else { return Ok(None) };
    let stored = stored(&row)?;
    let owner = stored.message.realm();
    Ok((owner == realm).then_some(stored))
}

/// Messages by their ids.
pub(in crate::postgres) async fn find_all(
    sql: &Session,
    realm: Realm,
    ids: &[i64],
) -> Result<HashMap<MessageId, Stored>> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sql
        .rows(concat!("SELECT ", columns!(), ", m.text FROM message m WHERE m.id = ANY ($1)"), &[&ids])
        .await?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in &rows {
        let stored = stored(row)?;
        if stored.message.realm() == realm {
            found.insert(stored.message.id, stored);
        }
    }
    Ok(found)
}

/// Rows that one page may look at: a filter that fits nothing must not read the whole history at once.
const SCAN_MAX: i64 = 50_000;

pub(in crate::postgres) async fn messages(
    rx: &Rx<'_>,
    realm: &Realm,
    filter: &MessageFilter,
    page: &Page,
) -> Result<Paged<Stored>> {
    let mut ceiling = page.before.unwrap_or(i64::MAX);
    let mut floor = 0;
    if let Some(since) = filter.since {
        floor = floor_at(since);
    }
    if let Some(until) = filter.until {
        ceiling = ceiling.min(floor_at(until));
    }
    if let Some(batch) = filter.batch {
        let row = rx.sql.row("SELECT last_message FROM batch WHERE id = $1", &[&batch.key()]).await?;
        let last = row.map(|row| cell::<i64>(&row, 0)).transpose()?;
        floor = floor.max(batch.key());
        ceiling = ceiling.min(last.map_or(0, |last| last + 1));
    }
    let (account, is_live) = (realm.account.key(), live(realm.environment));
    // A status may be written as several states.
    let states: Option<Vec<i16>> = filter.status.map(column::state_numbers);
    let recipient = filter.recipient.map(|recipient| recipient.digits() as i64);
    let batch = filter.batch.map(BatchId::key);
    let sender = filter.sender.as_deref().map(clean);
    let reference = filter.reference.as_deref().map(clean);
    let wanted = filter.carrier_id.as_deref().map(receipt::canonical);
    let form = wanted.as_deref().map(clean);
    let mut items: Vec<Stored> = Vec::new();
    loop {
        let begin = ceiling;
        // The database looks at no more rows than a page may, and gives those that may fit; whether a carrier's id is
        // one of the message's own is decided here.
        let rows = rx
            .sql
            .rows(
                concat!(
                    "SELECT ",
                    columns!(),
                    ", m.text FROM (SELECT x.*, x.ctid FROM message x WHERE x.id < $1 AND x.id >= $2
                         ORDER BY x.id DESC LIMIT $12) m
                     WHERE m.account = $3 AND m.live = $4
                       AND ($5::smallint[] IS NULL OR m.state = ANY ($5)) AND ($6::bigint IS NULL OR m.recipient = $6)
                       AND ($7::bigint IS NULL OR m.batch = $7) AND ($8::text IS NULL OR m.sender = $8)
                       AND ($9::text IS NULL OR m.reference = $9)
                       AND ($10::text IS NULL OR strpos(lower(m.parts COLLATE \"C\"), $10) > 0)
                     ORDER BY m.id DESC LIMIT $11"
                ),
                &[
                    &begin,
                    &floor,
                    &account,
                    &is_live,
                    &states,
                    &recipient,
                    &batch,
                    &sender,
                    &reference,
                    &form,
                    &(page.limit as i64 + 1),
                    &SCAN_MAX,
                ],
            )
            .await?;
        let is_last = rows.len() <= page.limit;
        for row in rows {
            ceiling = cell(&row, 0)?;
            let found = stored(&row)?;
            let fits = wanted.as_ref().is_none_or(|wanted| {
                let mut ids = found.life.segments.iter().filter_map(Segment::carrier_id);
                ids.any(|id| receipt::canonical(id) == *wanted)
            });
            if fits {
                items.push(found);
            }
        }
        if items.len() > page.limit {
            items.truncate(page.limit);
            let next = items.last().map(|stored| stored.message.id.key());
            return Ok(Paged { items, next });
        }
        if is_last {
            let last_looked_at = rx
                .sql
                .row(
                    "SELECT id FROM message WHERE id < $1 AND id >= $2 ORDER BY id DESC OFFSET $3 LIMIT 1",
                    &[&begin, &floor, &(SCAN_MAX - 1)],
                )
                .await?;
            let next = last_looked_at.map(|row| cell(&row, 0)).transpose()?;
            return Ok(Paged { items, next });
        }
    }
}

pub(in crate::postgres) async fn timeline(
    rx: &Rx<'_>,
    realm: &Realm,
    id: &MessageId,
) -> Result<Option<Timeline>> {
    let Some(stored) = find(rx.sql, *realm, *id).await? else { return Ok(None) };
    let events = event::of_message(rx.sql, *id).await?;
    let ids: Vec<i64> = events.iter().map(|(id, _)| id.key()).collect();
    let endpoints = endpoint::of_realm(rx.sql, Some(*realm)).await?;
    let endpoints: Vec<i64> = endpoints.iter().map(|endpoint| endpoint.id.key()).collect();
    let attempts = event::attempts_about(rx.sql, &endpoints, &ids).await?;
    let deliveries = event::open_about(rx.sql, &ids).await?;
    let connection = operating::connection(rx.sql, stored.message.connection).await?;
    Ok(Some(Timeline { stored, events, attempts, deliveries, connection }))
}

pub(in crate::postgres) async fn redact(
    tx: &mut Tx,
    realm: &Realm,
    id: &MessageId,
    actor: &Actor,
    now: &Timestamp,
) -> Result<Option<Stored>> {
    let Some(mut stored) = find(&tx.sql, *realm, *id).await? else { return Ok(None) };
    if stored.message.text.is_some() {
        tx.sql
            .execute(
                "UPDATE message SET text = NULL, updated_at = $2 WHERE id = $1",
                &[&id.key(), &now.as_millis()],
            )
            .await?;
        let event = Event {
            kind: Kind::Redacted,
            status: stored.life.state.status(),
            attempt: stored.life.attempt,
            at: *now,
            due_at: None,
            failure: None,
            raw: None,
        };
        let listeners = tx.listeners();
        publish(tx, &listeners, &stored.message, event, &mut Vec::new());
        operating::write_audit(tx, actor, "message.redact", &id.to_string(), "", *now);
        conversation::forget_words(&tx.sql, *realm, *id).await?;
        stored.message.text = None;
        stored.updated_at = *now;
    }
    Ok(Some(stored))
}

const BATCH: &str = "SELECT account, live, created_at, asked, last_message FROM batch WHERE id = $1";

pub(in crate::postgres) async fn batch(rx: &Rx<'_>, realm: &Realm, id: &BatchId) -> Result<Option<Batch>> {
    let Some(row) = rx.sql.row(BATCH, &[&id.key()]).await? else { return Ok(None) };
    if session::realm(&row, 0)? != *realm {
        return Ok(None);
    }
    let (created_at, asked, last): (i64, i64, i64) = (cell(&row, 2)?, cell(&row, 3)?, cell(&row, 4)?);
    let rows = rx
        .sql
        .rows(
            "SELECT state, count(*) FROM message WHERE id > $1 AND id <= $2 AND batch = $1 GROUP BY state",
            &[&id.key(), &last],
        )
        .await?;
    let mut counts: Vec<(Status, u64)> = Vec::new();
    for row in rows {
        let status = column::status(i64::from(cell::<i16>(&row, 0)?))?;
        let count = cell::<i64>(&row, 1)? as u64;
        match counts.iter_mut().find(|(known, _)| *known == status) {
            Some((_, sum)) => *sum += count,
            None => counts.push((status, count)),
        }
    }
    counts.sort();
    Ok(Some(Batch { id: *id, created_at: Timestamp::from_millis(created_at), asked: asked as u32, counts }))
}

pub(in crate::postgres) async fn batches(rx: &Rx<'_>, realm: &Realm, page: &Page) -> Result<Paged<Batch>> {
    let rows = rx
        .sql
        .rows(
            "SELECT id FROM batch WHERE id < $1 AND account = $2 AND live = $3 ORDER BY id DESC LIMIT $4",
            &[
                &page.before.unwrap_or(i64::MAX),
                &realm.account.key(),
                &live(realm.environment),
                &(page.limit as i64 + 1),
            ],
        )
        .await?;
    let more = rows.len() > page.limit;
    let mut items = Vec::new();
    for row in rows.iter().take(page.limit) {
        items.extend(batch(rx, realm, &BatchId::from_key(cell(row, 0)?)).await?);
    }
    let next = if more { items.last().map(|batch| batch.id.key()) } else { None };
    Ok(Paged { items, next })
}

// ── rows ────────────────────────────────────────────────────────────────────────────────────────────────────

/// What never changes of messages, for telling events about them.
pub(in crate::postgres) async fn unchanging(
    sql: &Session,
    ids: &BTreeSet<i64>,
) -> Result<HashMap<MessageId, Arc<Message>>> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let ids: Vec<i64> = ids.iter().copied().collect();
    let rows =
        sql.rows(concat!("SELECT ", columns!(), " FROM message m WHERE m.id = ANY ($1)"), &[&ids]).await?;
    rows.iter().map(|row| slot(row, None).map(|slot| (slot.message.id, slot.message))).collect()
}

fn stored(row: &Row) -> Result<Stored> {
    let Slot { message, life, failure, updated_at, .. } = slot(row, cell(row, TEXT)?)?;
    Ok(Stored {
        message: Arc::unwrap_or_clone(message),
        life,
        failure: failure.as_deref().map(column::failure).transpose()?,
        updated_at,
    })
}
