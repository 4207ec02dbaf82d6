//! Turns: whom messages were sent to lately that count against a cap.

use super::reader::{Rx, get};
use super::session::failed;
use super::transaction::Tx;
use crate::Result;
use crate::backend::*;
use crate::column::{corrupt, live};
use rusqlite::{Connection as Sql, params};
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::frequency::{self, COUNTED_MAX, Other, Turn, WEEK_MS};
use tidings_domain::purpose::Purpose;
use tidings_domain::time::Timestamp;

pub(super) fn turns(
    rx: &mut Rx<'_>,
    people: &[(Realm, PhoneNumber)],
    purposes: &[Purpose],
    now: &Timestamp,
) -> Result<Vec<Vec<Other>>> {
    people.iter().map(|(realm, recipient)| of(rx.sql, *realm, *recipient, purposes, *now)).collect()
}

/// What one person was sent and will be.
pub(super) fn of(
    sql: &Sql,
    realm: Realm,
    recipient: PhoneNumber,
    purposes: &[Purpose],
    now: Timestamp,
) -> Result<Vec<Other>> {
    let taken = taken(sql, realm, recipient, None, now)?;
    Ok(first_of(taken, waiting(sql, realm, recipient, purposes)?))
}

pub(super) fn take_turns(tx: &mut Tx<'_>, asked: &[AskedTurn], now: &Timestamp) -> Result<Vec<Turn>> {
    asked.iter().map(|asked| take(tx.sql, asked, *now)).collect()
}

fn take(sql: &Sql, asked: &AskedTurn, now: Timestamp) -> Result<Turn> {
    let AskedTurn { realm, recipient, message, purpose, ref bounds } = *asked;
    let others = taken(sql, realm, recipient, Some(message.key()), now)?;
    let others: Vec<Other> = others.into_iter().map(|(_, other)| other).collect();
    if frequency::opens_at(bounds, &others, now) != Some(now) {
        return Ok(Turn::Full(others));
    }
    sql.prepare_cached(
        "INSERT INTO turn (account, live, recipient, message, at, purpose) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (account, live, recipient, message) DO UPDATE SET at = excluded.at",
    )
    .and_then(|mut s| {
        s.execute(params![
            realm.account.key(),
            live(realm.environment),
            recipient.digits() as i64,
            message.key(),
            now.as_millis(),
            purpose.priority()
        ])
    })
    .map_err(failed)?;
    Ok(Turn::Taken)
}

/// The turns of a person that may still count, by their messages, without one message's own, the earliest first.
fn taken(
    sql: &Sql,
    realm: Realm,
    recipient: PhoneNumber,
    but: Option<i64>,
    now: Timestamp,
) -> Result<Vec<(i64, Other)>> {
    let mut statement = sql
        .prepare_cached(
            "SELECT message, at, purpose FROM turn WHERE account = ?1 AND live = ?2 AND recipient = ?3 AND at > ?4 AND message IS NOT ?5
             ORDER BY at LIMIT ?6",
        )
        .map_err(failed)?;
    let mut rows = statement
        .query(params![
            realm.account.key(),
            live(realm.environment),
            recipient.digits() as i64,
            now.plus_ms(-WEEK_MS).as_millis(),
            but,
            COUNTED_MAX as i64
        ])
        .map_err(failed)?;
    others(&mut rows)
}

/// When messages of some purposes come up that wait for a person in a queue, the earliest first.
fn waiting(
    sql: &Sql,
    realm: Realm,
    recipient: PhoneNumber,
    purposes: &[Purpose],
) -> Result<Vec<(i64, Other)>> {
    // One statement for all: a bit for each.
    let wanted = purposes.iter().fold(0_i64, |bits, purpose| bits | 1 << purpose.priority());
    let mut statement = sql
        .prepare_cached(
            "SELECT d.message, d.due_at, d.priority FROM due d JOIN message m ON m.id = d.message
             WHERE d.recipient = ?1 AND (?2 >> d.priority) & 1 AND m.account = ?3 AND m.live = ?4 ORDER BY d.due_at LIMIT ?5",
        )
        .map_err(failed)?;
    let mut rows = statement
        .query(params![
            recipient.digits() as i64,
            wanted,
            realm.account.key(),
            live(realm.environment),
            COUNTED_MAX as i64
        ])
        .map_err(failed)?;
    others(&mut rows)
}

/// Reads messages with their moments and purposes.
fn others(rows: &mut rusqlite::Rows<'_>) -> Result<Vec<(i64, Other)>> {
    let mut others = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let purpose: u8 = get(row, 2)?;
        let purpose = Purpose::from_priority(purpose)
            .ok_or_else(|| corrupt("purpose of a turn", i64::from(purpose)))?;
        others.push((get(row, 0)?, Other { at: Timestamp::from_millis(get(row, 1)?), purpose }));
    }
    Ok(others)
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
