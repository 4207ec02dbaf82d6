//! Turns: whom messages were sent to lately that count against a cap.
//!
//! Turns are on no sheet: they are looked at and taken at once, by whoever has the turn to write.

use super::reader::Rx;
use super::session::{Session, cell, live};
use super::transaction::Tx;
use crate::Result;
use crate::backend::*;
use crate::column::corrupt;
use std::collections::{BTreeMap, HashMap};
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::frequency::{self, COUNTED_MAX, Other, Turn, WEEK_MS};
use tidings_domain::purpose::Purpose;
use tidings_domain::time::Timestamp;

/// A person, as the columns have them.
type Key = (i64, i16, i64);

fn key(realm: Realm, recipient: PhoneNumber) -> Key {
    (realm.account.key(), live(realm.environment), recipient.digits() as i64)
}

pub(super) async fn turns(
    rx: &Rx<'_>,
    people: &[(Realm, PhoneNumber)],
    purposes: &[Purpose],
    now: &Timestamp,
) -> Result<Vec<Vec<Other>>> {
    let keys: Vec<Key> = people.iter().map(|(realm, recipient)| key(*realm, *recipient)).collect();
    let mut taken = taken(rx.sql, &keys, *now).await?;
    let mut waiting: HashMap<Key, Vec<(i64, Other)>> = HashMap::new();
    let (accounts, lives, digits) = columns(&keys);
    let priorities: Vec<i16> = purposes.iter().map(|purpose| i16::from(purpose.priority())).collect();
    let rows = rx
        .sql
        .rows(
            "SELECT k.account, k.live, k.recipient, d.message, d.due_at, d.priority
             FROM (SELECT DISTINCT * FROM unnest($1::bigint[], $2::smallint[], $3::bigint[]) AS u (account, live, recipient)) k
             CROSS JOIN LATERAL (SELECT x.message, x.due_at, x.priority FROM due x JOIN message m ON m.id = x.message AND m.account = x.account
               WHERE x.recipient = k.recipient AND x.priority = ANY ($4) AND x.account = k.account AND m.live = k.live
               ORDER BY x.due_at LIMIT $5) d",
            &[&accounts, &lives, &digits, &priorities, &(COUNTED_MAX as i64)],
        )
        .await?;
    for row in &rows {
        let key = (cell(row, 0)?, cell(row, 1)?, cell(row, 2)?);
        waiting.entry(key).or_default().push((cell(row, 3)?, other(cell(row, 4)?, cell(row, 5)?)?));
    }
    let mut others: HashMap<Key, Vec<Other>> = HashMap::new();
    for key in &keys {
        others.entry(*key).or_insert_with(|| {
            let (taken, waiting) = (taken.remove(key), waiting.remove(key));
            first_of(taken.unwrap_or_default(), waiting.unwrap_or_default())
        });
    }
    Ok(keys.iter().map(|key| others[key].clone()).collect())
}

fn other(at: i64, purpose: i16) -> Result<Other> {
    let found = u8::try_from(purpose).ok().and_then(Purpose::from_priority);
    let purpose = found.ok_or_else(|| corrupt("purpose of a turn", i64::from(purpose)))?;
    Ok(Other { at: Timestamp::from_millis(at), purpose })
}

pub(super) async fn take_turns(tx: &mut Tx, asked: &[AskedTurn], now: &Timestamp) -> Result<Vec<Turn>> {
    let keys: Vec<Key> = asked.iter().map(|asked| key(asked.realm, asked.recipient)).collect();
    let mut people = taken(&tx.sql, &keys, *now).await?;
    let mut new: Vec<((Key, i64), i16)> = Vec::new();
    let mut answers = Vec::with_capacity(asked.len());
    for (asked, key) in asked.iter().zip(keys) {
        let turns = people.entry(key).or_default();
        let message = asked.message.key();
        let others = turns.iter().filter(|(of, _)| **of != message).map(|(_, other)| *other);
        let others = first(others.collect());
        if frequency::opens_at(&asked.bounds, &others, *now) != Some(*now) {
            answers.push(Turn::Full(others));
            continue;
        }
        turns.insert(message, Other { at: *now, purpose: asked.purpose });
        new.push(((key, message), i16::from(asked.purpose.priority())));
        answers.push(Turn::Taken);
    }
    new.sort_unstable();
    new.dedup_by_key(|(turn, _)| *turn);
    let (new, priorities): (Vec<(Key, i64)>, Vec<i16>) = new.into_iter().unzip();
    let (keys, messages): (Vec<Key>, Vec<i64>) = new.into_iter().unzip();
    let (accounts, lives, digits) = columns(&keys);
    if !messages.is_empty() {
        tx.sql
            .execute(
                "INSERT INTO turn (account, live, recipient, message, purpose, at)
                 SELECT u.*, $6 FROM unnest($1::bigint[], $2::smallint[], $3::bigint[], $4::bigint[], $5::smallint[]) AS u
                 ON CONFLICT (account, live, recipient, message) DO UPDATE SET at = excluded.at",
                &[&accounts, &lives, &digits, &messages, &priorities, &now.as_millis()],
            )
            .await?;
    }
    Ok(answers)
}

fn columns(keys: &[Key]) -> (Vec<i64>, Vec<i16>, Vec<i64>) {
    let accounts = keys.iter().map(|(account, ..)| *account).collect();
    let lives = keys.iter().map(|(_, live, _)| *live).collect();
    (accounts, lives, keys.iter().map(|(.., digits)| *digits).collect())
}

/// The turns of people that may still count, by their messages.
async fn taken(sql: &Session, keys: &[Key], now: Timestamp) -> Result<HashMap<Key, BTreeMap<i64, Other>>> {
    let (accounts, lives, digits) = columns(keys);
    let rows = sql
        .rows(
            "SELECT t.account, t.live, t.recipient, t.message, t.at, t.purpose
             FROM (SELECT DISTINCT * FROM unnest($1::bigint[], $2::smallint[], $3::bigint[]) AS u (account, live, recipient)) k
             CROSS JOIN LATERAL (SELECT x.* FROM turn x WHERE x.account = k.account AND x.live = k.live
               AND x.recipient = k.recipient AND x.at > $4) t",
            &[&accounts, &lives, &digits, &now.plus_ms(-WEEK_MS).as_millis()],
        )
        .await?;
    let mut people: HashMap<Key, BTreeMap<i64, Other>> = HashMap::new();
    for row in &rows {
        let key = (cell(row, 0)?, cell(row, 1)?, cell(row, 2)?);
        people.entry(key).or_default().insert(cell(row, 3)?, other(cell(row, 4)?, cell(row, 5)?)?);
    }
    Ok(people)
}

/// Forgets what counts nowhere any more. `true` if there may be more of it.
pub(super) async fn sweep(tx: &Tx, limit: usize, now: Timestamp) -> Result<bool> {
    let gone = tx
        .sql
        .execute(
            "DELETE FROM turn WHERE ctid = ANY (ARRAY (SELECT ctid FROM turn WHERE at <= $1 ORDER BY at LIMIT $2))",
            &[&now.plus_ms(-WEEK_MS).as_millis(), &(limit as i64)],
        )
        .await?;
    Ok(gone == limit as u64)
}
