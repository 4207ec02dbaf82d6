//! How many segments went in a day.

use super::executor::{Rx, Tx, failed};
use crate::Result;
use crate::backend::*;
use crate::column::live;
use rusqlite::{Connection as Sql, OptionalExtension, params};
use tidings_domain::quota::{Count, fits};
use tidings_domain::time::Timestamp;

pub(super) fn quotas(rx: &mut Rx<'_>, counts: &[Count]) -> Result<Vec<u64>> {
    counts.iter().map(|count| used(rx.sql, count)).collect()
}

pub(super) fn take_quotas(tx: &mut Tx<'_>, asked: &[AskedQuota]) -> Result<Vec<(u64, bool)>> {
    let take = |AskedQuota { count, segments, limit }: &AskedQuota| {
        let used = used(tx.sql, count)?;
        let is_taken = fits(used, *segments, *limit);
        if is_taken {
            tx.sql
                .prepare_cached(
                    "INSERT INTO quota (live, name, day, segments) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (live, name, day) DO UPDATE SET segments = segments + excluded.segments",
                )
                .and_then(|mut s| {
                    s.execute(params![live(count.environment), count.name, count.day.as_millis(), segments])
                })
                .map_err(failed)?;
        }
        Ok((used, is_taken))
    };
    asked.iter().map(take).collect()
}

pub(super) fn return_quotas(tx: &mut Tx<'_>, returned: &[(Count, u32)]) -> Result<()> {
    for (count, segments) in returned {
        tx.sql
            .prepare_cached(
                "UPDATE quota SET segments = max(segments - ?4, 0) WHERE live = ?1 AND name = ?2 AND day = ?3",
            )
            .and_then(|mut s| {
                s.execute(params![live(count.environment), count.name, count.day.as_millis(), segments])
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
pub(super) fn sweep(tx: &Tx<'_>, before: Timestamp) -> Result<()> {
    tx.sql
        .prepare_cached("DELETE FROM quota WHERE day < ?1")
        .and_then(|mut s| s.execute([before.as_millis()]))
        .map(drop)
        .map_err(failed)
}
