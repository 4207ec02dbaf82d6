//! Turns: whom messages were sent to lately that count against a cap.
//!
//! Turns are on no sheet: they are looked at and taken at once, by whoever has the turn to write.

use super::executor::{Rx, Tx};
use super::session::{Session, cell, live};
use crate::Result;
use crate::backend::*;
use std::collections::{BTreeMap, HashMap};
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::frequency::{COUNTED_MAX, Caps, Turn, WEEK_MS};
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
) -> Result<Vec<Vec<Timestamp>>> {
    let keys: Vec<Key> = people.iter().map(|(realm, recipient)| key(*realm, *recipient)).collect();
    let mut moments: HashMap<Key, Vec<Timestamp>> = HashMap::new();
    for (key, turns) in taken(rx.sql, &keys, *now).await? {
        moments.entry(key).or_default().extend(turns.into_values());
    }
    let (accounts, lives, digits) = columns(&keys);
    let priorities: Vec<i16> = purposes.iter().map(|purpose| i16::from(purpose.priority())).collect();
    let rows = rx
        .sql
        .rows(
            "SELECT k.account, k.live, k.recipient, d.due_at
             FROM (SELECT DISTINCT * FROM unnest($1::bigint[], $2::smallint[], $3::bigint[]) AS u (account, live, recipient)) k
             CROSS JOIN LATERAL (SELECT x.due_at FROM due x JOIN message m ON m.id = x.message AND m.account = x.account
               WHERE x.recipient = k.recipient AND x.priority = ANY ($4) AND x.account = k.account AND m.live = k.live
               ORDER BY x.due_at LIMIT $5) d",
            &[&accounts, &lives, &digits, &priorities, &(COUNTED_MAX as i64)],
        )
        .await?;
    for row in &rows {
        let key = (cell(row, 0)?, cell(row, 1)?, cell(row, 2)?);
        moments.entry(key).or_default().push(Timestamp::from_millis(cell(row, 3)?));
    }
    for moments in moments.values_mut() {
        moments.sort_unstable();
        moments.truncate(COUNTED_MAX);
    }
    Ok(keys.iter().map(|key| moments.get(key).cloned().unwrap_or_default()).collect())
}

pub(super) async fn take_turns(
    tx: &mut Tx,
    asked: &[AskedTurn],
    caps: &Caps,
    now: &Timestamp,
) -> Result<Vec<Turn>> {
    let keys: Vec<Key> = asked.iter().map(|asked| key(asked.realm, asked.recipient)).collect();
    let mut people = taken(&tx.sql, &keys, *now).await?;
    let mut new: Vec<(Key, i64)> = Vec::new();
    let mut answers = Vec::with_capacity(asked.len());
    for (asked, key) in asked.iter().zip(keys) {
        let turns = people.entry(key).or_default();
        let message = asked.message.key();
        let others = turns.iter().filter(|(of, _)| **of != message).map(|(_, at)| *at);
        let mut others: Vec<Timestamp> = others.collect();
        others.sort_unstable();
        others.truncate(COUNTED_MAX);
        if caps.opens_at(&others, *now) != Some(*now) {
            answers.push(Turn::Full(others));
            continue;
        }
        turns.insert(message, *now);
        new.push((key, message));
        answers.push(Turn::Taken);
    }
    new.sort_unstable();
    new.dedup();
    let (keys, messages): (Vec<Key>, Vec<i64>) = new.into_iter().unzip();
    let (accounts, lives, digits) = columns(&keys);
    if !messages.is_empty() {
        tx.sql
            .execute(
                "INSERT INTO turn (account, live, recipient, message, at)
                 SELECT u.*, $5 FROM unnest($1::bigint[], $2::smallint[], $3::bigint[], $4::bigint[]) AS u
                 ON CONFLICT (account, live, recipient, message) DO UPDATE SET at = excluded.at",
                &[&accounts, &lives, &digits, &messages, &now.as_millis()],
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
async fn taken(
    sql: &Session,
    keys: &[Key],
    now: Timestamp,
) -> Result<HashMap<Key, BTreeMap<i64, Timestamp>>> {
    let (accounts, lives, digits) = columns(keys);
    let rows = sql
        .rows(
            "SELECT t.account, t.live, t.recipient, t.message, t.at
             FROM (SELECT DISTINCT * FROM unnest($1::bigint[], $2::smallint[], $3::bigint[]) AS u (account, live, recipient)) k
             CROSS JOIN LATERAL (SELECT x.* FROM turn x WHERE x.account = k.account AND x.live = k.live
               AND x.recipient = k.recipient AND x.at > $4) t",
            &[&accounts, &lives, &digits, &now.plus_ms(-WEEK_MS).as_millis()],
        )
        .await?;
    let mut people: HashMap<Key, BTreeMap<i64, Timestamp>> = HashMap::new();
    for row in &rows {
        let key = (cell(row, 0)?, cell(row, 1)?, cell(row, 2)?);
        people.entry(key).or_default().insert(cell(row, 3)?, Timestamp::from_millis(cell(row, 4)?));
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
