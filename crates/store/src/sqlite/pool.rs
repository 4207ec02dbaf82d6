//! Which sender of a pool a person has.

use super::reader::Rx;
use super::session::failed;
use super::transaction::Tx;
use crate::Result;
use crate::backend::*;
use crate::column::{self, live};
use rusqlite::{Connection as Sql, OptionalExtension, params};
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::pool::{Last, Name, Picked};
use tidings_domain::sender::Sender;
use tidings_domain::time::Timestamp;

pub(super) fn last_senders(
    rx: &mut Rx<'_>,
    pool: &Name,
    senders: &[Sender],
    people: &[(Realm, PhoneNumber)],
) -> Result<Vec<Last>> {
    let of_one = |(realm, person): &(Realm, PhoneNumber)| {
        Ok(Last {
            // Also one that is not in the pool any more: then they get another in its place.
            sent: noted(rx.sql, *realm, pool, *person)?,
            wrote: wrote(rx.sql, *realm, senders, *person)?,
        })
    };
    people.iter().map(of_one).collect()
}

fn noted(sql: &Sql, realm: Realm, pool: &Name, person: PhoneNumber) -> Result<Option<(Sender, Timestamp)>> {
    let row: Option<(String, i64)> = sql
        .prepare_cached(
            "SELECT sender, at FROM sticky WHERE account = ?1 AND live = ?2 AND pool = ?3 AND person = ?4",
        )
        .and_then(|mut s| {
            let (account, live) = (realm.account.key(), live(realm.environment));
            s.query_row(params![account, live, pool.as_str(), person.digits() as i64], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()
        })
        .map_err(failed)?;
    row.map(read).transpose()
}

/// To which of these senders somebody wrote last.
fn wrote(
    sql: &Sql,
    realm: Realm,
    senders: &[Sender],
    person: PhoneNumber,
) -> Result<Option<(Sender, Timestamp)>> {
    let mut statement = sql
        .prepare_cached(
            "SELECT c.sender, (SELECT e.at FROM conversation_entry e WHERE e.conversation = c.id AND e.kind = 0
               ORDER BY e.place DESC LIMIT 1) AS wrote
             FROM conversation c WHERE c.account = ?1 AND c.live = ?2 AND c.person = ?3",
        )
        .map_err(failed)?;
    let rows = statement
        .query_map(params![realm.account.key(), live(realm.environment), person.digits() as i64], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Option<i64>>(1)?))
        })
        .map_err(failed)?;
    let mut last: Option<(Sender, Timestamp)> = None;
    for row in rows {
        let (sender, Some(at)) = row.map_err(failed)? else { continue };
        let (sender, at) = read((sender, at))?;
        let is_later = last.is_none_or(|(other, before)| (at, sender) > (before, other));
        if senders.contains(&sender) && is_later {
            last = Some((sender, at));
        }
    }
    Ok(last)
}

fn read((sender, at): (String, i64)) -> Result<(Sender, Timestamp)> {
    Ok((column::sender(&sender)?, Timestamp::from_millis(at)))
}

/// Whether what was seen when senders were chosen is not so any more.
pub(super) fn is_moved(sql: &Sql, drafts: &[Draft]) -> Result<bool> {
    for Draft { message, picked, .. } in drafts {
        if let Some(picked) = picked {
            let noted = noted(sql, message.realm(), &picked.pool, message.recipient)?;
            if noted.map(|(sender, _)| sender) != picked.seen {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Notes the sender that the recipient of a message has from now on.
pub(super) fn note(
    sql: &Sql,
    realm: Realm,
    person: PhoneNumber,
    picked: &Picked,
    now: Timestamp,
) -> Result<()> {
    sql.prepare_cached(
        "INSERT INTO sticky (account, live, pool, person, sender, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (account, live, person, pool) DO UPDATE SET sender = excluded.sender, at = excluded.at",
    )
    .and_then(|mut s| {
        s.execute(params![
            realm.account.key(),
            live(realm.environment),
            picked.pool.as_str(),
            person.digits() as i64,
            picked.sender.to_string(),
            now.as_millis()
        ])
    })
    .map(drop)
    .map_err(failed)
}

/// Forgets what was noted before then. `true` if there may be more of it.
pub(super) fn sweep(tx: &Tx<'_>, limit: usize, before: Timestamp) -> Result<bool> {
    let gone = tx
        .sql
        .prepare_cached(
            "DELETE FROM sticky WHERE (account, live, person, pool) IN (
               SELECT account, live, person, pool FROM sticky WHERE at < ?1 ORDER BY at, account, live, person, pool LIMIT ?2)",
        )
        .and_then(|mut s| s.execute(params![before.as_millis(), limit as i64]))
        .map_err(failed)?;
    Ok(gone == limit)
}
