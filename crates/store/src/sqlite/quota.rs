//! How many segments went in a day.

use super::reader::Rx;
use super::session::failed;
use super::transaction::Tx;
use crate::Result;
use crate::backend::*;
use crate::column::live;
use rusqlite::{Connection as Sql, OptionalExtension, params};
use tidings_domain::quota::Count;
use tidings_domain::time::Timestamp;

pub(super) fn quotas(rx: &mut Rx<'_>, counts: &[Count]) -> Result<Vec<u64>> {
    counts.iter().map(|count| used(rx.sql, count)).collect()
}

pub(super) fn take_quotas(tx: &mut Tx<'_>, asked: &[AskedQuota]) -> Result<Vec<(u64, bool)>> {
    let take = |asked: &AskedQuota| {
        let used = taken(tx, &asked.count)?;
        let is_taken = asked.fits(used);
        if is_taken {
            tx.tallies().quotas.set(&asked.count, used + u64::from(asked.segments));
        }
        Ok((used, is_taken))
    };
    asked.iter().map(take).collect()
}

pub(super) fn return_quotas(tx: &mut Tx<'_>, returned: &[(Count, u32)]) -> Result<()> {
    for (count, segments) in returned {
        let used = taken(tx, count)?;
        tx.tallies().quotas.set(count, used.saturating_sub(u64::from(*segments)));
    }
    Ok(())
}

/// How many segments were taken of a day, with what this transaction took.
pub(super) fn taken(tx: &mut Tx<'_>, count: &Count) -> Result<u64> {
    if let Some(used) = tx.tallies().quotas.get(count) {
        return Ok(used);
    }
    let used = used(tx.sql, count)?;
    tx.tallies().quotas.read(count.clone(), used);
    Ok(used)
}

/// Writes what was taken and given back.
pub(super) fn write(sql: &Sql, quotas: Vec<(Count, u64)>) -> Result<()> {
    for (count, segments) in quotas {
        sql.prepare_cached(
            "INSERT INTO quota (live, name, day, segments) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (live, name, day) DO UPDATE SET segments = excluded.segments",
        )
        .and_then(|mut s| {
            s.execute(params![
                live(count.environment),
                count.name,
                count.day.as_millis(),
                i64::try_from(segments).unwrap_or(i64::MAX)
            ])
        })
        .map_err(failed)?;
    }
    Ok(())
}

fn used(sql: &Sql, count: &Count) -> Result<u64> {
    let segments: Option<i64> = sql
        .prepare_cached("SELECT segments FROM quota WHERE live = ?1 AND name = ?2 AND day = ?3")
        .and_then(|mut s| {
            s.query_row(params![live(count.environment), count.name, count.day.as_millis()], |row| row.get(0))
                .optional()
        })
        .map_err(failed)?;
    Ok(segments.map_or(0, |segments| segments.max(0) as u64))
}

/// Forgets days that began before then.
pub(super) fn sweep(tx: &mut Tx<'_>, before: Timestamp) -> Result<()> {
    tx.tallies().quotas.forget(|count| count.day < before);
    tx.sql
        .prepare_cached("DELETE FROM quota WHERE day < ?1")
        .and_then(|mut s| s.execute([before.as_millis()]))
        .map(drop)
        .map_err(failed)
}
