//! How many segments went in a day.
//!
//! That is on no sheet: it is looked at and taken at once, by whoever has the turn to write.

use super::executor::{Rx, Tx};
use super::session::{Session, cell, live};
use crate::Result;
use crate::backend::*;
use std::collections::{BTreeMap, HashMap};
use tidings_domain::quota::{Count, fits};
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
    let keys: Vec<Key> = asked.iter().map(|asked| key(&asked.count)).collect();
    let mut used = used(&tx.sql, &keys).await?;
    let mut new: BTreeMap<Key, i64> = BTreeMap::new();
    let mut answers = Vec::with_capacity(asked.len());
    for (AskedQuota { segments, limit, .. }, key) in asked.iter().zip(keys) {
        let used = used.entry(key.clone()).or_default();
        let is_taken = fits(*used, *segments, *limit);
        answers.push((*used, is_taken));
        if is_taken {
            *used += u64::from(*segments);
            *new.entry(key).or_default() += i64::from(*segments);
        }
    }
    if !new.is_empty() {
        let (lives, names, days) = columns(new.keys());
        let segments: Vec<i64> = new.values().copied().collect();
        tx.sql
            .execute(
                "INSERT INTO quota (live, name, day, segments)
                 SELECT * FROM unnest($1::smallint[], $2::text[], $3::bigint[], $4::bigint[])
                 ON CONFLICT (live, name, day) DO UPDATE SET segments = quota.segments + excluded.segments",
                &[&lives, &names, &days, &segments],
            )
            .await?;
    }
    Ok(answers)
}

pub(super) async fn return_quotas(tx: &mut Tx, returned: &[(Count, u32)]) -> Result<()> {
    let mut all: BTreeMap<Key, i64> = BTreeMap::new();
    for (count, segments) in returned {
        *all.entry(key(count)).or_default() += i64::from(*segments);
    }
    let (lives, names, days) = columns(all.keys());
    let segments: Vec<i64> = all.values().copied().collect();
    tx.sql
        .execute(
            "UPDATE quota SET segments = greatest(quota.segments - u.segments, 0)
             FROM unnest($1::smallint[], $2::text[], $3::bigint[], $4::bigint[]) AS u (live, name, day, segments)
             WHERE quota.live = u.live AND quota.name = u.name AND quota.day = u.day",
            &[&lives, &names, &days, &segments],
        )
        .await
        .map(drop)
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
pub(super) async fn sweep(tx: &Tx, before: Timestamp) -> Result<()> {
    tx.sql.execute("DELETE FROM quota WHERE day < $1", &[&before.as_millis()]).await.map(drop)
}
