//! Segments of contacts, and what happened last with numbers.

use super::operating::write_audit;
use super::reader::{Rx, get, newest, realm};
use super::session::failed;
use super::transaction::Tx;
use crate::backend::*;
use crate::column::live;
use crate::segment::{changed_line, name_taken, query, query_text, touch};
use crate::{Error, Result};
use rusqlite::{Connection as Sql, OptionalExtension, Row, params};
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::id::{EventId, SegmentId};
use tidings_domain::segment::{Change, Past, Segment};
use tidings_domain::time::Timestamp;

const COLUMNS: &str = "id, account, live, name, description, query, created_at, updated_at";

pub(super) fn create_segment(tx: &mut Tx<'_>, segment: &Segment, actor: &Actor) -> Result<()> {
    if let Some(known) = named(tx.sql, segment.realm, &segment.name)? {
        return Err(name_taken(known, &segment.name));
    }
    let is_known = tx
        .sql
        .prepare_cached("SELECT 1 FROM segment WHERE id = ?1")
        .and_then(|mut s| s.exists([segment.id.key()]))
        .map_err(failed)?;
    if is_known {
        return Err(Error::Conflict(format!("there is a segment {} already", segment.id)));
    }
    tx.sql
        .prepare_cached(
            "INSERT INTO segment (id, account, live, name, description, query, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )
        .and_then(|mut s| {
            s.execute(params![
                segment.id.key(),
                segment.realm.account.key(),
                live(segment.realm.environment),
                segment.name,
                segment.description,
                query_text(&segment.query),
                segment.created_at.as_millis(),
                segment.updated_at.as_millis(),
            ])
        })
        .map_err(failed)?;
    write_audit(tx, actor, "segment.create", &segment.id.to_string(), &segment.name, segment.created_at)
}

pub(super) fn change_segment(
    tx: &mut Tx<'_>,
    realm: &Realm,
    id: &SegmentId,
    change: &Change,
    actor: &Actor,
    now: &Timestamp,
) -> Result<Option<Segment>> {
    let Some(before) = find(tx.sql, *realm, &WhichSegment::Id(*id))? else { return Ok(None) };
    let after = before.changed(change, *now);
    if let Some(known) = named(tx.sql, *realm, &after.name)?.filter(|known| known != id) {
        return Err(name_taken(known, &after.name));
    }
    if after != before {
        tx.sql
            .prepare_cached(
                "UPDATE segment SET name = ?2, description = ?3, query = ?4, updated_at = ?5 WHERE id = ?1",
            )
            .and_then(|mut s| {
                s.execute(params![
                    id.key(),
                    after.name,
                    after.description,
                    query_text(&after.query),
                    after.updated_at.as_millis(),
                ])
            })
            .map_err(failed)?;
        write_audit(tx, actor, "segment.change", &id.to_string(), &changed_line(change), *now)?;
    }
    Ok(Some(after))
}

pub(super) fn delete_segment(
    tx: &mut Tx<'_>,
    realm: &Realm,
    id: &SegmentId,
    actor: &Actor,
    now: &Timestamp,
) -> Result<bool> {
    let Some(segment) = find(tx.sql, *realm, &WhichSegment::Id(*id))? else { return Ok(false) };
    tx.sql
        .prepare_cached("DELETE FROM segment WHERE id = ?1")
        .and_then(|mut s| s.execute([id.key()]))
        .map_err(failed)?;
    write_audit(tx, actor, "segment.delete", &id.to_string(), &segment.name, *now)?;
    Ok(true)
}

/// Which segment has this name.
fn named(sql: &Sql, realm: Realm, name: &str) -> Result<Option<SegmentId>> {
    sql.prepare_cached("SELECT id FROM segment WHERE account = ?1 AND live = ?2 AND name = ?3")
        .and_then(|mut s| {
            let key = params![realm.account.key(), live(realm.environment), name];
            s.query_row(key, |row| row.get(0)).optional()
        })
        .map(|found| found.map(SegmentId::from_key))
        .map_err(failed)
}

pub(super) fn segment(rx: &mut Rx<'_>, realm: &Realm, which: &WhichSegment) -> Result<Option<Segment>> {
    find(rx.sql, *realm, which)
}

fn find(sql: &Sql, realm: Realm, which: &WhichSegment) -> Result<Option<Segment>> {
    let id = match which {
        WhichSegment::Id(id) => Some(*id),
        WhichSegment::Name(name) => named(sql, realm, name)?,
    };
    let Some(id) = id else { return Ok(None) };
    sql.prepare_cached(&format!("SELECT {COLUMNS} FROM segment WHERE id = ?1 AND account = ?2 AND live = ?3"))
        .and_then(|mut s| {
            let key = params![id.key(), realm.account.key(), live(realm.environment)];
            s.query_row(key, |row| Ok(read(row))).optional()
        })
        .map_err(failed)?
        .transpose()
}

pub(super) fn segments(rx: &mut Rx<'_>, realm: &Realm, page: &Page) -> Result<Paged<Segment>> {
    let query = format!(
        "SELECT {COLUMNS} FROM segment WHERE account = ?1 AND live = ?2 AND id < ?3 ORDER BY id DESC LIMIT ?4"
    );
    newest(rx, &query, *realm, page, read, |segment| segment.id.key())
}

fn read(row: &Row<'_>) -> Result<Segment> {
    Ok(Segment {
        id: SegmentId::from_key(get(row, 0)?),
        realm: realm(row, 1)?,
        name: get(row, 3)?,
        description: get(row, 4)?,
        query: query(&get::<String>(row, 5)?)?,
        created_at: Timestamp::from_millis(get(row, 6)?),
        updated_at: Timestamp::from_millis(get(row, 7)?),
    })
}

// ── what happened ───────────────────────────────────────────────────────────────────────────────────────────

pub(super) fn touches(rx: &mut Rx<'_>, realm: &Realm, numbers: &[PhoneNumber]) -> Result<Vec<Past>> {
    let mut statement = rx
        .sql
        .prepare_cached("SELECT kind, at FROM touch WHERE account = ?1 AND live = ?2 AND number = ?3")
        .map_err(failed)?;
    let mut all = Vec::with_capacity(numbers.len());
    for number in numbers {
        let mut past = Past::default();
        let key = params![realm.account.key(), live(realm.environment), number.digits() as i64];
        let mut rows = statement.query(key).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            past.add(touch(get(row, 0)?)?, Timestamp::from_millis(get(row, 1)?));
        }
        all.push(past);
    }
    Ok(all)
}

pub(super) fn touch_places(rx: &mut Rx<'_>) -> Result<Vec<(Realm, EventId)>> {
    let mut statement = rx
        .sql
        .prepare_cached("SELECT account, live, upto FROM touch_place ORDER BY account, live")
        .map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    let mut places = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        places.push((realm(row, 0)?, EventId::from_key(get(row, 2)?)));
    }
    Ok(places)
}

pub(super) fn add_touches(tx: &mut Tx<'_>, realm: &Realm, read: &Touched) -> Result<bool> {
    let (account, is_live) = (realm.account.key(), live(realm.environment));
    let (query, after) = match read.after {
        Some(after) => {
            ("UPDATE touch_place SET upto = ?3 WHERE account = ?1 AND live = ?2 AND upto = ?4", after.key())
        }
        None => ("INSERT OR IGNORE INTO touch_place (account, live, upto) SELECT ?1, ?2, ?3 WHERE ?4 = 0", 0),
    };
    let is_next = tx
        .sql
        .prepare_cached(query)
        .and_then(|mut s| s.execute(params![account, is_live, read.upto.key(), after]))
        .map_err(failed)?;
    if is_next == 0 {
        return Ok(false);
    }
    let mut statement = tx
        .sql
        .prepare_cached(
            "INSERT INTO touch (account, live, number, kind, at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET at = excluded.at WHERE excluded.at > at",
        )
        .map_err(failed)?;
    for (number, touch, at) in &read.touches {
        statement
            .execute(params![account, is_live, number.digits() as i64, touch.number(), at.as_millis()])
            .map_err(failed)?;
    }
    Ok(true)
}

/// Forgets what is older than the messages that are kept. `true` if there may be more of it.
pub(super) fn sweep(sql: &Sql, before: Timestamp, limit: usize) -> Result<bool> {
    let gone = sql
        .prepare_cached(
            "DELETE FROM touch WHERE (account, live, number, kind) IN (
               SELECT account, live, number, kind FROM touch WHERE at < ?1
               ORDER BY at, account, live, number, kind LIMIT ?2)",
        )
        .and_then(|mut s| s.execute(params![before.as_millis(), limit as i64]))
        .map_err(failed)?;
    Ok(gone == limit)
}
