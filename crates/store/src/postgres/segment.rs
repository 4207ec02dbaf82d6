//! Segments of contacts, and what happened last with numbers.
//!
//! They are on no sheet: each operation looks at its own rows and changes them at once, many with one statement.

use super::operating::write_audit;
use super::reader::{Rx, newest};
use super::session::{Session, cell, clean, live, realm};
use super::transaction::Tx;
use crate::backend::*;
use crate::segment::{changed_line, name_taken, query, query_text, touch};
use crate::{Error, Result};
use std::collections::{BTreeMap, HashMap};
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::id::{EventId, SegmentId};
use tidings_domain::segment::{Change, Past, Segment};
use tidings_domain::time::Timestamp;
use tokio_postgres::Row;

pub(super) async fn create_segment(tx: &mut Tx, segment: &Segment, actor: &Actor) -> Result<()> {
    if let Some(known) = named(&tx.sql, segment.realm, &segment.name).await? {
        return Err(name_taken(known, &segment.name));
    }
    if tx.sql.row("SELECT id FROM segment WHERE id = $1", &[&segment.id.key()]).await?.is_some() {
        return Err(Error::Conflict(format!("there is a segment {} already", segment.id)));
    }
    tx.sql
        .execute(
            "INSERT INTO segment (id, account, live, name, description, query, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            &[
                &segment.id.key(),
                &segment.realm.account.key(),
                &live(segment.realm.environment),
                &segment.name,
                &segment.description,
                &clean(&query_text(&segment.query)),
                &segment.created_at.as_millis(),
                &segment.updated_at.as_millis(),
            ],
        )
        .await?;
    write_audit(tx, actor, "segment.create", &segment.id.to_string(), &segment.name, segment.created_at);
    Ok(())
}

pub(super) async fn change_segment(
    tx: &mut Tx,
    realm: &Realm,
    id: &SegmentId,
    change: &Change,
    actor: &Actor,
    now: &Timestamp,
) -> Result<Option<Segment>> {
    let Some(before) = find(&tx.sql, *realm, &WhichSegment::Id(*id)).await? else { return Ok(None) };
    let after = before.changed(change, *now);
    if let Some(known) = named(&tx.sql, *realm, &after.name).await?.filter(|known| known != id) {
        return Err(name_taken(known, &after.name));
    }
    if after != before {
        tx.sql
            .execute(
                "UPDATE segment SET name = $3, description = $4, query = $5, updated_at = $6
                 WHERE id = $1 AND account = $2",
                &[
                    &id.key(),
                    &realm.account.key(),
                    &after.name,
                    &after.description,
                    &clean(&query_text(&after.query)),
                    &after.updated_at.as_millis(),
                ],
            )
            .await?;
        write_audit(tx, actor, "segment.change", &id.to_string(), &changed_line(change), *now);
    }
    Ok(Some(after))
}

pub(super) async fn delete_segment(
    tx: &mut Tx,
    realm: &Realm,
    id: &SegmentId,
    actor: &Actor,
    now: &Timestamp,
) -> Result<bool> {
    let Some(segment) = find(&tx.sql, *realm, &WhichSegment::Id(*id)).await? else { return Ok(false) };
    let delete = "DELETE FROM segment WHERE id = $1 AND account = $2";
    tx.sql.execute(delete, &[&id.key(), &realm.account.key()]).await?;
    write_audit(tx, actor, "segment.delete", &id.to_string(), &segment.name, *now);
    Ok(true)
}

/// Which segment has this name.
async fn named(sql: &Session, realm: Realm, name: &str) -> Result<Option<SegmentId>> {
    let row = sql
        .row(
            "SELECT id FROM segment WHERE account = $1 AND live = $2 AND name = $3",
            &[&realm.account.key(), &live(realm.environment), &name],
        )
        .await?;
    row.map(|row| Ok(SegmentId::from_key(cell(&row, 0)?))).transpose()
}

pub(super) async fn segment(rx: &Rx<'_>, realm: &Realm, which: &WhichSegment) -> Result<Option<Segment>> {
    find(rx.sql, *realm, which).await
}

async fn find(sql: &Session, realm: Realm, which: &WhichSegment) -> Result<Option<Segment>> {
    let id = match which {
        WhichSegment::Id(id) => Some(*id),
        WhichSegment::Name(name) => named(sql, realm, name).await?,
    };
    let Some(id) = id else { return Ok(None) };
    let row = sql
        .row(
            "SELECT id, account, live, name, description, query, created_at, updated_at FROM segment
             WHERE id = $1 AND account = $2 AND live = $3",
            &[&id.key(), &realm.account.key(), &live(realm.environment)],
        )
        .await?;
    row.as_ref().map(read).transpose()
}

pub(super) async fn segments(rx: &Rx<'_>, realm: &Realm, page: &Page) -> Result<Paged<Segment>> {
    let query = "SELECT id, account, live, name, description, query, created_at, updated_at FROM segment
                 WHERE account = $1 AND live = $2 AND id < $3 ORDER BY id DESC LIMIT $4";
    newest(rx, query, *realm, page, read, |segment| segment.id.key()).await
}

fn read(row: &Row) -> Result<Segment> {
    Ok(Segment {
        id: SegmentId::from_key(cell(row, 0)?),
        realm: realm(row, 1)?,
        name: cell(row, 3)?,
        description: cell(row, 4)?,
        query: query(cell(row, 5)?)?,
        created_at: Timestamp::from_millis(cell(row, 6)?),
        updated_at: Timestamp::from_millis(cell(row, 7)?),
    })
}

// ── what happened ───────────────────────────────────────────────────────────────────────────────────────────

pub(super) async fn touches(rx: &Rx<'_>, realm: &Realm, numbers: &[PhoneNumber]) -> Result<Vec<Past>> {
    let digits: Vec<i64> = numbers.iter().map(|number| number.digits() as i64).collect();
    let rows = rx
        .sql
        .rows(
            "SELECT number, kind, at FROM touch WHERE account = $1 AND live = $2 AND number = ANY ($3)",
            &[&realm.account.key(), &live(realm.environment), &digits],
        )
        .await?;
    let mut found: HashMap<i64, Past> = HashMap::new();
    for row in &rows {
        let past = found.entry(cell(row, 0)?).or_default();
        past.add(touch(i64::from(cell::<i16>(row, 1)?))?, Timestamp::from_millis(cell(row, 2)?));
    }
    Ok(digits.iter().map(|digits| found.get(digits).copied().unwrap_or_default()).collect())
}

pub(super) async fn touch_places(rx: &Rx<'_>) -> Result<Vec<(Realm, EventId)>> {
    let rows = rx.sql.rows("SELECT account, live, upto FROM touch_place ORDER BY account, live", &[]).await?;
    rows.iter().map(|row| Ok((realm(row, 0)?, EventId::from_key(cell(row, 2)?)))).collect()
}

pub(super) async fn add_touches(tx: &mut Tx, realm: &Realm, read: &Touched) -> Result<bool> {
    let (account, is_live) = (realm.account.key(), live(realm.environment));
    // Two nodes may have read the same; the second finds another place, and has to look again.
    let is_next = match read.after {
        Some(after) => {
            tx.sql
                .execute(
                    "UPDATE touch_place SET upto = $3 WHERE account = $1 AND live = $2 AND upto = $4",
                    &[&account, &is_live, &read.upto.key(), &after.key()],
                )
                .await?
        }
        None => {
            tx.sql
                .execute(
                    "INSERT INTO touch_place (account, live, upto) VALUES ($1, $2, $3)
                     ON CONFLICT (account, live) DO NOTHING",
                    &[&account, &is_live, &read.upto.key()],
                )
                .await?
        }
    };
    if is_next == 0 {
        return Ok(false);
    }
    // A statement may change a row once.
    let mut last: BTreeMap<(i64, i16), i64> = BTreeMap::new();
    for (number, touch, at) in &read.touches {
        let at = at.as_millis();
        let last = last.entry((number.digits() as i64, i16::from(touch.number()))).or_insert(at);
        *last = (*last).max(at);
    }
    let numbers: Vec<i64> = last.keys().map(|(number, _)| *number).collect();
    let kinds: Vec<i16> = last.keys().map(|(_, kind)| *kind).collect();
    let moments: Vec<i64> = last.values().copied().collect();
    if !numbers.is_empty() {
        tx.sql
            .execute(
                "INSERT INTO touch AS t (account, live, number, kind, at)
                 SELECT $1, $2, * FROM unnest($3::bigint[], $4::smallint[], $5::bigint[])
                 ON CONFLICT (account, live, number, kind) DO UPDATE SET at = excluded.at WHERE excluded.at > t.at",
                &[&account, &is_live, &numbers, &kinds, &moments],
            )
            .await?;
    }
    Ok(true)
}

/// Forgets what is older than the messages that are kept. `true` if there may be more of it.
pub(super) async fn sweep(sql: &Session, before: Timestamp, limit: usize) -> Result<bool> {
    let gone = sql
        .execute(
            "DELETE FROM touch WHERE ctid = ANY (ARRAY (SELECT ctid FROM touch WHERE at < $1
               ORDER BY at, account, live, number, kind LIMIT $2))",
            &[&before.as_millis(), &(limit as i64)],
        )
        .await?;
    Ok(gone == limit as u64)
}
