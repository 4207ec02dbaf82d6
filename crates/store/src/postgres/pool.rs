//! Which sender of a pool a person has.
//!
//! That is on no sheet: it is looked at and noted at once, by whoever has the turn to write.

use super::reader::Rx;
use super::session::{Session, cell, live};
use super::transaction::Tx;
use crate::Result;
use crate::backend::*;
use crate::column::sender;
use std::collections::{BTreeMap, HashMap};
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::pool::{Last, Name};
use tidings_domain::sender::Sender;
use tidings_domain::time::Timestamp;

/// A person, as the columns have them.
type Person = (i64, i16, i64);
/// A person with a pool.
type Key = (Person, String);

fn person(realm: Realm, number: PhoneNumber) -> Person {
    (realm.account.key(), live(realm.environment), number.digits() as i64)
}

pub(super) async fn last_senders(
    rx: &Rx<'_>,
    pool: &Name,
    senders: &[Sender],
    people: &[(Realm, PhoneNumber)],
) -> Result<Vec<Last>> {
    let people: Vec<Person> = people.iter().map(|(realm, number)| person(*realm, *number)).collect();
    let keys: Vec<Key> = people.iter().map(|person| (*person, pool.as_str().to_owned())).collect();
    let sent = noted(rx.sql, &keys).await?;
    let (accounts, lives, digits) = columns(people.iter());
    let rows = rx
        .sql
        .rows(
            "SELECT c.account, c.live, c.person, c.sender, e.at
             FROM (SELECT DISTINCT * FROM unnest($1::bigint[], $2::smallint[], $3::bigint[]) AS u (account, live, person)) k
             JOIN conversation c ON c.account = k.account AND c.live = k.live AND c.person = k.person
             CROSS JOIN LATERAL (SELECT x.at FROM conversation_entry x WHERE x.conversation = c.id
               AND x.account = c.account AND x.kind = 0 ORDER BY x.place DESC LIMIT 1) e",
            &[&accounts, &lives, &digits],
        )
        .await?;
    let mut wrote: HashMap<Person, (Timestamp, Sender)> = HashMap::new();
    for row in &rows {
        let to = sender(cell(row, 3)?)?;
        if senders.contains(&to) {
            let found = (Timestamp::from_millis(cell(row, 4)?), to);
            let last = wrote.entry((cell(row, 0)?, cell(row, 1)?, cell(row, 2)?)).or_insert(found);
            *last = found.max(*last);
        }
    }
    let of_one = |key: &Key| Last {
        // Also one that is not in the pool any more: then they get another in its place.
        sent: sent.get(key).copied(),
        wrote: wrote.get(&key.0).map(|(at, sender)| (*sender, *at)),
    };
    Ok(keys.iter().map(of_one).collect())
}

fn columns<'p>(people: impl Iterator<Item = &'p Person>) -> (Vec<i64>, Vec<i16>, Vec<i64>) {
    let (mut accounts, mut lives, mut digits) = (Vec::new(), Vec::new(), Vec::new());
    for (account, live, number) in people {
        accounts.push(*account);
        lives.push(*live);
        digits.push(*number);
    }
    (accounts, lives, digits)
}

async fn noted(sql: &Session, keys: &[Key]) -> Result<HashMap<Key, (Sender, Timestamp)>> {
    let (accounts, lives, digits) = columns(keys.iter().map(|(person, _)| person));
    let pools: Vec<&str> = keys.iter().map(|(_, pool)| pool.as_str()).collect();
    let rows = sql
        .rows(
            "SELECT s.account, s.live, s.person, s.pool, s.sender, s.at
             FROM (SELECT DISTINCT * FROM unnest($1::bigint[], $2::smallint[], $3::bigint[], $4::text[])
               AS u (account, live, person, pool)) k
             JOIN sticky s ON s.account = k.account AND s.live = k.live AND s.person = k.person AND s.pool = k.pool",
            &[&accounts, &lives, &digits, &pools],
        )
        .await?;
    let read = |row| -> Result<_> {
        let person = (cell(row, 0)?, cell(row, 1)?, cell(row, 2)?);
        let pool: &str = cell(row, 3)?;
        Ok(((person, pool.to_owned()), (sender(cell(row, 4)?)?, Timestamp::from_millis(cell(row, 5)?))))
    };
    rows.iter().map(read).collect()
}

fn key(draft: &Draft) -> Option<Key> {
    let Draft { message, picked, .. } = draft;
    let pool = &picked.as_ref()?.pool;
    Some((person(message.realm(), message.recipient), pool.as_str().to_owned()))
}

/// Whether what was seen when senders were chosen is not so any more.
pub(super) async fn is_moved(sql: &Session, drafts: &[Draft]) -> Result<bool> {
    let keys: Vec<Key> = drafts.iter().filter_map(key).collect();
    if keys.is_empty() {
        return Ok(false);
    }
    let noted = noted(sql, &keys).await?;
    let is_moved = |draft: &Draft| {
        let seen = draft.picked.as_ref().and_then(|picked| picked.seen);
        key(draft).is_some_and(|key| noted.get(&key).map(|(sender, _)| *sender) != seen)
    };
    Ok(drafts.iter().any(is_moved))
}

/// Notes the senders that the recipients of these messages have from now on: of several to one person the last.
pub(super) async fn note(sql: &Session, drafts: &[&Draft], now: Timestamp) -> Result<()> {
    let sender = |draft: &Draft| draft.picked.as_ref().map(|picked| picked.sender.to_string());
    let new: BTreeMap<Key, String> =
        drafts.iter().filter_map(|draft| Some((key(draft)?, sender(draft)?))).collect();
    if new.is_empty() {
        return Ok(());
    }
    let (accounts, lives, digits) = columns(new.keys().map(|(person, _)| person));
    let pools: Vec<&str> = new.keys().map(|(_, pool)| pool.as_str()).collect();
    let senders: Vec<&str> = new.values().map(String::as_str).collect();
    sql.execute(
        "INSERT INTO sticky (account, live, person, pool, sender, at)
         SELECT u.*, $6 FROM unnest($1::bigint[], $2::smallint[], $3::bigint[], $4::text[], $5::text[]) AS u
         ON CONFLICT (account, live, person, pool) DO UPDATE SET sender = excluded.sender, at = excluded.at",
        &[&accounts, &lives, &digits, &pools, &senders, &now.as_millis()],
    )
    .await
    .map(drop)
}

/// Forgets what was noted before then. `true` if there may be more of it.
pub(super) async fn sweep(tx: &Tx, limit: usize, before: Timestamp) -> Result<bool> {
    let gone = tx
        .sql
        .execute(
            "DELETE FROM sticky WHERE ctid = ANY (ARRAY (SELECT ctid FROM sticky WHERE at < $1 ORDER BY at, account, live, person, pool LIMIT $2))",
            &[&before.as_millis(), &(limit as i64)],
        )
        .await?;
    Ok(gone == limit as u64)
}
