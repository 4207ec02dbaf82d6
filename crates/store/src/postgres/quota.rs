//! How many segments went in a day.
//!
//! That is on no sheet but in a tally: it is looked at once while nobody else writes, and written with the transaction.

use super::reader::Rx;
use super::session::{Flight, Session, cell, live, values};
use super::transaction::Tx;
use crate::Result;
use crate::backend::*;
use std::collections::HashMap;
use tidings_domain::quota::Count;
use tidings_domain::time::Timestamp;

/// A count, as the columns have it.
type Key = (i16, String, i64);

fn key(count: &Count) -> Key {
    (live(count.environment), count.name.clone(), count.day.as_millis())
}

pub(super) async fn quotas(rx: &Rx<'_>, counts: &[Count]) -> Result<Vec<u64>> {
    let keys: Vec<Key> = counts.iter().map(key).collect();
    let used = used(rx.sql, &keys).await?;
    Ok(keys.iter().map(|key| used.get(key).copied().unwrap_or(0)).collect())
}

pub(super) async fn take_quotas(tx: &mut Tx, asked: &[AskedQuota]) -> Result<Vec<(u64, bool)>> {
    look(tx, asked.iter().map(|asked| &asked.count)).await?;
    let quotas = &mut tx.tallies().quotas;
    let take = |asked: &AskedQuota| {
        let used = quotas.get(&asked.count).unwrap_or_default();
        let is_taken = asked.fits(used);
        if is_taken {
            quotas.set(&asked.count, used + u64::from(asked.segments));
        }
        (used, is_taken)
    };
    Ok(asked.iter().map(take).collect())
}

pub(super) async fn return_quotas(tx: &mut Tx, returned: &[(Count, u32)]) -> Result<()> {
    look(tx, returned.iter().map(|(count, _)| count)).await?;
    let quotas = &mut tx.tallies().quotas;
    for (count, segments) in returned {
        let used = quotas.get(count).unwrap_or_default();
        quotas.set(count, used.saturating_sub(u64::from(*segments)));
    }
    Ok(())
}

/// Reads what was taken of these days, where that is not known.
async fn look(tx: &mut Tx, counts: impl Iterator<Item = &Count>) -> Result<()> {
    let unknown: Vec<Count> =
        counts.filter(|count| tx.tallies().quotas.get(count).is_none()).cloned().collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let keys: Vec<Key> = unknown.iter().map(key).collect();
    let used = used(&tx.sql, &keys).await?;
    for (count, key) in unknown.into_iter().zip(keys) {
        tx.tallies().quotas.read(count, used.get(&key).copied().unwrap_or(0));
    }
    Ok(())
}

/// Writes what was taken and given back.
pub(super) fn write(flight: &mut Flight<'_>, quotas: &[(Count, u64)]) {
    if quotas.is_empty() {
        return;
    }
    let lives: Vec<i16> = quotas.iter().map(|(count, _)| live(count.environment)).collect();
    let names: Vec<String> = quotas.iter().map(|(count, _)| count.name.clone()).collect();
    let days: Vec<i64> = quotas.iter().map(|(count, _)| count.day.as_millis()).collect();
    let segments: Vec<i64> =
        quotas.iter().map(|(_, segments)| i64::try_from(*segments).unwrap_or(i64::MAX)).collect();
    flight.statement(
        "INSERT INTO quota (live, name, day, segments)
         SELECT * FROM unnest($1::smallint[], $2::text[], $3::bigint[], $4::bigint[])
         ON CONFLICT (live, name, day) DO UPDATE SET segments = excluded.segments",
        values![lives, names, days, segments],
    );
}

fn columns<'k>(keys: impl Iterator<Item = &'k Key>) -> (Vec<i16>, Vec<&'k str>, Vec<i64>) {
    let (mut lives, mut names, mut days) = (Vec::new(), Vec::new(), Vec::new());
    for (live, name, day) in keys {
        lives.push(*live);
        names.push(name.as_str());
        days.push(*day);
    }
    (lives, names, days)
}

async fn used(sql: &Session, keys: &[Key]) -> Result<HashMap<Key, u64>> {
    let (lives, names, days) = columns(keys.iter());
    let rows = sql
        .rows(
            "SELECT q.live, q.name, q.day, q.segments
             FROM (SELECT DISTINCT * FROM unnest($1::smallint[], $2::text[], $3::bigint[]) AS u (live, name, day)) k
             JOIN quota q ON q.live = k.live AND q.name = k.name AND q.day = k.day",
            &[&lives, &names, &days],
        )
        .await?;
    let read = |row| -> Result<(Key, u64)> {
        let name: &str = cell(row, 1)?;
        let segments: i64 = cell(row, 3)?;
        Ok(((cell(row, 0)?, name.to_owned(), cell(row, 2)?), segments.max(0) as u64))
    };
    rows.iter().map(read).collect()
}

/// Forgets days that began before then.
pub(super) async fn sweep(tx: &mut Tx, before: Timestamp) -> Result<()> {
    tx.tallies().quotas.forget(|count| count.day < before);
    tx.sql.execute("DELETE FROM quota WHERE day < $1", &[&before.as_millis()]).await.map(drop)
}
