//! Parts of history: the event log and the log of tries are tables in parts, each a range of places in the log, which
//! tell the time. Parts are made ahead of time; one in which everything is old is dropped, where its rows would have
//! to be deleted and their room be cleaned.
//!
//! A part is made or dropped only if nobody has to wait for that: a lock that is not to be had within moments is left for
//! the next time. What a part must not take along goes into the *rest*, the table of what belongs to no part; a part of
//! which much must stay waits, and what is old in it is deleted like anything in the rest.

use super::session::{Session, Value, cell, single};
use crate::{Error, Result};
use tidings_domain::id::{place_at, place_time};
use tidings_domain::time::Timestamp;

const DAY_MS: i64 = 24 * 3_600_000;
/// What is kept shorter than this is deleted row by row: exactly when it is old, and there is little of it.
const WHOLE_MS: i64 = 7 * DAY_MS;
/// So many parts hold what is kept. Every statement that does not name a place looks into all of them, so they are few; what
/// is old goes when its whole part is, so they are not too few.
const PARTS: i64 = 8;
/// Bounds of the length of a part; the longest is for what is kept for ever.
const SPAN_MS: std::ops::RangeInclusive<i64> = DAY_MS..=182 * DAY_MS;
/// Clocks of nodes differ, and a message is made before its first event: so far apart may be what belongs together.
pub(super) const SKEW_MS: i64 = 3_600_000;
/// Rows that are taken out of a part before it is dropped, at most. They are written while everybody waits.
pub(super) const STAY_MAX: i64 = 10_000;
/// How long a change of parts may wait for those who read: nobody writes meanwhile. What must stay is found by bitmaps: the
/// index of the times of tries makes nothing else.
const PATIENCE: &str = "SAVEPOINT part; SET LOCAL lock_timeout = '100ms';
    SET LOCAL enable_bitmapscan = on; SET LOCAL enable_indexscan = off";
const PATIENCE_ENDS: &str = "RELEASE SAVEPOINT part; SET LOCAL lock_timeout = '10s';
    SET LOCAL enable_bitmapscan = off; SET LOCAL enable_indexscan = on";
const GIVEN_UP: &str = "ROLLBACK TO SAVEPOINT part; RELEASE SAVEPOINT part";

/// A table in parts.
#[derive(Debug, Clone, Copy)]
pub(super) struct History {
    pub table: &'static str,
    /// The column with the place in the log.
    pub place: &'static str,
}

pub(super) const EVENTS: History = History { table: "event", place: "seq" };
pub(super) const ATTEMPTS: History = History { table: "attempt", place: "event" };

/// A part, or the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub name: String,
    /// Its first place, and the first one behind it. `None` for the rest.
    range: Option<(i64, i64)>,
}

/// A part of which much must stay waits so long before it is deleted from row by row. Most of what stays is young: tries to
/// reach an endpoint that was down, which go on for three days.
const WAIT_MS: i64 = 4 * DAY_MS;

/// What must not be dropped: a condition on the rows `x` of a part, with its values.
pub(super) type Stays<'v> = (&'static str, &'v [Value<'v>]);

impl Part {
    /// Whether what is old in it stays until all of it is, if it is kept so long. Not in the rest, and not in a part that is
    /// longer than it would be made today: what was carried over or copied, or made when more was kept.
    pub fn is_whole(&self, keep_ms: i64) -> bool {
        self.range.is_some_and(|(first, end)| {
            let length_ms = place_time(end).since_ms(place_time(first.max(0)));
            first > i64::MIN && keep_ms >= WHOLE_MS && length_ms <= keep_ms / PARTS * 2
        })
    }

    /// Whether it is old for so long that it should have been dropped.
    pub fn waits(&self, before: Timestamp) -> bool {
        self.is_before(before.plus_ms(-WAIT_MS))
    }

    /// Whether everything in it happened before.
    pub fn is_before(&self, moment: Timestamp) -> bool {
        self.range.is_some_and(|(_, end)| end <= place_at(moment))
    }
}

/// The moment up to which whole parts are old, if everything before `moment` is.
pub(super) fn floor(parts: &[Part], keep_ms: i64, moment: Timestamp) -> Timestamp {
    let place = place_at(moment.plus_ms(-SKEW_MS));
    let ranges = parts.iter().filter(|part| part.is_whole(keep_ms)).filter_map(|part| part.range);
    let around = ranges.into_iter().find(|(first, end)| (*first..*end).contains(&place));
    around.map_or(moment, |(first, _)| place_time(first).plus_ms(SKEW_MS))
}

/// The parts of a table in their order, and then the rest.
pub(super) async fn parts(sql: &Session, history: History) -> Result<Vec<Part>> {
    let rows = sql
        .rows(
            "SELECT c.relname::text, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i
             JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = $1::text::regclass",
            &[&history.table],
        )
        .await?;
    let mut parts = Vec::with_capacity(rows.len());
    for row in &rows {
        let (name, bounds): (String, &str) = (cell(row, 0)?, cell(row, 1)?);
        let range = range(bounds).ok_or_else(|| Error::Corrupt(format!("the part {name} has odd bounds")))?;
        parts.push(Part { name, range });
    }
    parts.sort_by_key(|part| part.range.map_or(i64::MAX, |(first, _)| first));
    Ok(parts)
}

/// Reads what the server says of a part: `FOR VALUES FROM ('1') TO ('2')` or `DEFAULT`.
fn range(bounds: &str) -> Option<Option<(i64, i64)>> {
    if bounds == "DEFAULT" {
        return Some(None);
    }
    let (first, end) = bounds.strip_prefix("FOR VALUES FROM (")?.strip_suffix(')')?.split_once(") TO (")?;
    let bound = |text: &str, open: &str, value| match text {
        text if text == open => Some(value),
        text => text.trim_matches('\'').parse().ok(),
    };
    Some(Some((bound(first, "MINVALUE", i64::MIN)?, bound(end, "MAXVALUE", i64::MAX)?)))
}

/// Makes the parts that will be needed next, and gives all. `keep_ms` says how long what they hold is kept, `None` for ever.
pub(super) async fn make_ahead(
    sql: &Session,
    history: History,
    keep_ms: Option<i64>,
    now: Timestamp,
) -> Result<Vec<Part>> {
    let span_ms = keep_ms.map_or(*SPAN_MS.end(), |ms| (ms / PARTS).clamp(*SPAN_MS.start(), *SPAN_MS.end()));
    let mut parts = parts(sql, history).await?;
    loop {
        let end = parts.iter().filter_map(|part| Some(part.range?.1)).max().unwrap_or(0);
        if end > place_at(now.plus_ms(span_ms)) {
            return Ok(parts);
        }
        // What came before there was a part for it is in the rest, and stays there.
        let last = sql.value::<i64>("SELECT coalesce(max(seq), 0) FROM event", &[]).await?;
        let first = end.max(place_at(now)).max(last + 1);
        let end = place_at(place_time(first).plus_ms(span_ms));
        let made = Part { name: format!("{}_{first}", history.table), range: Some((first, end)) };
        let making = format!(
            "CREATE TABLE {} PARTITION OF {} FOR VALUES FROM ({first}) TO ({end})
             WITH (autovacuum_vacuum_insert_scale_factor = 0.1)",
            made.name, history.table
        );
        if end <= first || within_moments(sql, sql.command(&making)).await?.is_none() {
            return Ok(parts);
        }
        // Before the rest, which is the last.
        parts.insert(parts.len() - 1, made);
    }
}

/// Drops a part, but for what stays of it. `false` if that is too much, or somebody reads; then it is still there.
pub(super) async fn drop_part(
    sql: &Session,
    history: History,
    part: &Part,
    stays: &[Stays<'_>],
) -> Result<bool> {
    let (table, name) = (history.table, &part.name);
    let dropping = async {
        let mut stay = 0;
        for (condition, values) in stays {
            let counting = format!(
                "SELECT count(*) FROM (SELECT 1 FROM {name} x WHERE {condition} LIMIT {}) s",
                STAY_MAX + 1
            );
            stay += cell::<i64>(&single(sql.page(&counting, values).await?)?, 0)?;
        }
        if stay > STAY_MAX {
            return Ok(false);
        }
        sql.command(&format!("ALTER TABLE {table} DETACH PARTITION {name}")).await?;
        if stay > 0 {
            for (condition, values) in stays {
                sql.change(
                    &format!("INSERT INTO {table} SELECT x.* FROM {name} x WHERE {condition}"),
                    values,
                )
                .await?;
            }
        }
        sql.command(&format!("DROP TABLE {name}")).await?;
        Ok(true)
    };
    let dropped = within_moments(sql, dropping).await?.unwrap_or(false);
    if dropped {
        tracing::info!(part = %part.name, "a part of history in which everything was old is gone");
    }
    Ok(dropped)
}

/// Makes the rest of a table a part, which ends behind the last place in the log. For a table that nobody uses: it is
/// read once.
pub(super) async fn seal(sql: &Session, history: History) -> Result<()> {
    let History { table, place } = history;
    let rest = format!("{table}_rest");
    if sql.page(&format!("SELECT 1 FROM {rest} LIMIT 1"), &[]).await?.is_empty() {
        return Ok(());
    }
    let parts = parts(sql, history).await?;
    let first = parts.iter().filter_map(|part| Some(part.range?.1)).max().unwrap_or(i64::MIN);
    let end = sql.page(&format!("SELECT max({place}) + 1 FROM {rest}"), &[]).await?;
    let end: i64 = cell(&single(end)?, 0)?;
    sql.command(&format!(
        "BEGIN;
         ALTER TABLE {table} DETACH PARTITION {rest};
         ALTER TABLE {rest} RENAME TO {table}_{first};
         ALTER TABLE {table} ATTACH PARTITION {table}_{first} FOR VALUES FROM ({first}) TO ({end});
         CREATE TABLE {rest} PARTITION OF {table} DEFAULT WITH (autovacuum_vacuum_insert_scale_factor = 0.1);
         COMMIT"
    ))
    .await
}

/// Does it as far as nobody has to wait; `None` if it could not be done, and then nothing was.
async fn within_moments<T>(sql: &Session, work: impl Future<Output = Result<T>>) -> Result<Option<T>> {
    sql.command(PATIENCE).await?;
    match work.await {
        Ok(done) => sql.command(PATIENCE_ENDS).await.map(|()| Some(done)),
        Err(error) => {
            sql.command(GIVEN_UP).await?;
            tracing::info!(%error, "the parts of history are left as they are for now");
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_read_as_the_server_writes_them() {
        for (text, bounds) in [
            ("DEFAULT", Some(None)),
            ("FOR VALUES FROM ('7') TO ('1099511627776')", Some(Some((7, 1 << 40)))),
            ("FOR VALUES FROM (MINVALUE) TO ('1099511627776')", Some(Some((i64::MIN, 1 << 40)))),
            ("FOR VALUES FROM ('-3') TO (MAXVALUE)", Some(Some((-3, i64::MAX)))),
            ("FOR VALUES IN ('7')", None),
            ("FOR VALUES FROM ('x') TO ('9')", None),
        ] {
            assert_eq!(range(text), bounds, "{text}");
        }
    }
}
