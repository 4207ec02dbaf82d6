//! Turns: whom messages were sent to lately that count against a cap.

use super::executor::{Rx, Tx, failed};
use crate::Result;
use crate::backend::*;
use crate::column::live;
use rusqlite::{Connection as Sql, params};
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::frequency::{COUNTED_MAX, Caps, Turn, WEEK_MS};
use tidings_domain::purpose::Purpose;
use tidings_domain::time::Timestamp;

pub(super) fn turns(
    rx: &mut Rx<'_>,
    people: &[(Realm, PhoneNumber)],
    purposes: &[Purpose],
    now: &Timestamp,
) -> Result<Vec<Vec<Timestamp>>> {
    let of_one = |(realm, recipient): &(Realm, PhoneNumber)| {
        let mut moments = taken(rx.sql, *realm, *recipient, None, *now)?;
        moments.extend(waiting(rx.sql, *realm, *recipient, purposes)?);
        moments.sort_unstable();
        moments.truncate(COUNTED_MAX);
        Ok(moments)
    };
    people.iter().map(of_one).collect()
}

pub(super) fn take_turns(
    tx: &mut Tx<'_>,
    asked: &[AskedTurn],
    caps: &Caps,
    now: &Timestamp,
) -> Result<Vec<Turn>> {
    asked.iter().map(|asked| take(tx.sql, asked, *caps, *now)).collect()
}

fn take(sql: &Sql, asked: &AskedTurn, caps: Caps, now: Timestamp) -> Result<Turn> {
    let AskedTurn { realm, recipient, message } = *asked;
    let others = taken(sql, realm, recipient, Some(message.key()), now)?;
    if caps.opens_at(&others, now) != Some(now) {
        return Ok(Turn::Full(others));
    }
    sql.prepare_cached(
        "INSERT INTO turn (account, live, recipient, message, at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (account, live, recipient, message) DO UPDATE SET at = excluded.at",
    )
    .and_then(|mut s| {
        s.execute(params![
            realm.account.key(),
            live(realm.environment),
            recipient.digits() as i64,
            message.key(),
            now.as_millis()
        ])
    })
    .map_err(failed)?;
    Ok(Turn::Taken)
}

/// The turns of a person that may still count, without one message's own, the earliest first.
fn taken(
    sql: &Sql,
    realm: Realm,
    recipient: PhoneNumber,
    but: Option<i64>,
    now: Timestamp,
) -> Result<Vec<Timestamp>> {
    let mut statement = sql
        .prepare_cached(
            "SELECT at FROM turn WHERE account = ?1 AND live = ?2 AND recipient = ?3 AND at > ?4 AND message IS NOT ?5
             ORDER BY at LIMIT ?6",
        )
        .map_err(failed)?;
    let rows = statement
        .query_map(
            params![
                realm.account.key(),
                live(realm.environment),
                recipient.digits() as i64,
                now.plus_ms(-WEEK_MS).as_millis(),
                but,
                COUNTED_MAX as i64
            ],
            |row| row.get(0).map(Timestamp::from_millis),
        )
        .map_err(failed)?;
    rows.collect::<rusqlite::Result<_>>().map_err(failed)
}

/// When messages of some purposes come up that wait for a person in a queue, the earliest first.
fn waiting(sql: &Sql, realm: Realm, recipient: PhoneNumber, purposes: &[Purpose]) -> Result<Vec<Timestamp>> {
    let mut moments = Vec::new();
    for purpose in purposes {
        let mut statement = sql
            .prepare_cached(
                "SELECT d.due_at FROM due d JOIN message m ON m.id = d.message
                 WHERE d.recipient = ?1 AND d.priority = ?2 AND m.account = ?3 AND m.live = ?4 ORDER BY d.due_at LIMIT ?5",
            )
            .map_err(failed)?;
        let rows = statement
            .query_map(
                params![
                    recipient.digits() as i64,
                    purpose.priority(),
                    realm.account.key(),
                    live(realm.environment),
                    COUNTED_MAX as i64
                ],
                |row| row.get(0).map(Timestamp::from_millis),
            )
            .map_err(failed)?;
        for moment in rows {
            moments.push(moment.map_err(failed)?);
        }
    }
    Ok(moments)
}

/// Forgets what counts nowhere any more. `true` if there may be more of it.
pub(super) fn sweep(tx: &Tx<'_>, limit: usize, now: Timestamp) -> Result<bool> {
    let gone = tx
        .sql
        .prepare_cached(
            "DELETE FROM turn WHERE (account, live, recipient, message) IN (
               SELECT account, live, recipient, message FROM turn WHERE at <= ?1 ORDER BY at LIMIT ?2)",
        )
        .and_then(|mut s| s.execute(params![now.plus_ms(-WEEK_MS).as_millis(), limit as i64]))
        .map_err(failed)?;
    Ok(gone == limit)
}
