//! Silences: how many messages in a row did not reach a number. What is delivered looks here only where there may be one.

use super::executor::{Tx, failed};
use super::suppression;
use crate::Result;
use crate::backend::*;
use crate::column::live;
use rusqlite::{Connection as Sql, OptionalExtension, params};
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::id::SuppressionId;
use tidings_domain::message::Message;
use tidings_domain::reachability::{Policy, Sign, Silence};
use tidings_domain::time::Timestamp;

/// Notes what the end of a message says of the phone.
pub(super) fn note(
    tx: &mut Tx<'_>,
    message: &Message,
    sign: Sign,
    policy: &Policy,
    now: Timestamp,
) -> Result<()> {
    match sign {
        Sign::Reached => reached(tx, message, now),
        Sign::Unreached => unreached(tx, message, policy, now),
    }
}

fn reached(tx: &mut Tx<'_>, message: &Message, now: Timestamp) -> Result<()> {
    let (realm, recipient) = (message.realm(), message.recipient);
    if !tx.may_be_silent(recipient)? {
        return Ok(());
    }
    if !forget(tx.sql, realm, recipient)? {
        return Ok(());
    }
    let of_dead = suppression::of_dead_number(tx.sql, realm.environment, recipient)?;
    for entry in of_dead.into_iter().filter(|entry| entry.realm == realm) {
        suppression::lift_from_life(tx, &entry, &delivered(message), now)?;
    }
    Ok(())
}

/// Begins the row of a number that comes on the list as dead, if there is none, so that what is delivered there finds it.
pub(super) fn begin(tx: &mut Tx<'_>, realm: Realm, recipient: PhoneNumber, now: Timestamp) -> Result<()> {
    if find(tx.sql, realm, recipient)?.is_none() {
        write(tx, realm, recipient, &Silence::beginning(now))?;
    }
    Ok(())
}

/// Ends the row of a number. `false` if there is none.
pub(super) fn forget(sql: &Sql, realm: Realm, recipient: PhoneNumber) -> Result<bool> {
    let gone = sql
        .prepare_cached("DELETE FROM silence WHERE recipient = ?1 AND live = ?2 AND account = ?3")
        .and_then(|mut s| {
            s.execute(params![recipient.digits() as i64, live(realm.environment), realm.account.key()])
        })
        .map_err(failed)?;
    Ok(gone > 0)
}

fn unreached(tx: &mut Tx<'_>, message: &Message, policy: &Policy, now: Timestamp) -> Result<()> {
    let (realm, recipient) = (message.realm(), message.recipient);
    let silence = Silence::with_one_more(find(tx.sql, realm, recipient)?, now);
    write(tx, realm, recipient, &silence)?;
    if policy.is_dead(&silence) {
        let id = SuppressionId::from_key(tx.next_id(now)?);
        let (entry, actor) = of_dead(id, message, &silence, policy, now);
        suppression::add(tx, &entry, &actor)?;
    }
    Ok(())
}

fn write(tx: &mut Tx<'_>, realm: Realm, recipient: PhoneNumber, silence: &Silence) -> Result<()> {
    tx.sql
        .prepare_cached(
            "INSERT OR REPLACE INTO silence (recipient, live, account, messages, since, last_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .and_then(|mut s| {
            s.execute(params![
                recipient.digits() as i64,
                live(realm.environment),
                realm.account.key(),
                silence.messages,
                silence.since.as_millis(),
                silence.last_at.as_millis(),
            ])
        })
        .map_err(failed)?;
    tx.note_silent(recipient);
    Ok(())
}

fn find(sql: &Sql, realm: Realm, recipient: PhoneNumber) -> Result<Option<Silence>> {
    sql.prepare_cached(
        "SELECT messages, since, last_at FROM silence WHERE recipient = ?1 AND live = ?2 AND account = ?3",
    )
    .and_then(|mut s| {
        let key = params![recipient.digits() as i64, live(realm.environment), realm.account.key()];
        s.query_row(key, |row| {
            Ok(Silence {
                messages: row.get(0)?,
                since: Timestamp::from_millis(row.get(1)?),
                last_at: Timestamp::from_millis(row.get(2)?),
            })
        })
        .optional()
    })
    .map_err(failed)
}

/// Somebody wrote from there: the number is alive, for every account.
pub(super) fn heard(tx: &mut Tx<'_>, inbound: &Inbound, now: Timestamp) -> Result<()> {
    let Some(person) = inbound.person() else { return Ok(()) };
    let environment = inbound.realm.environment;
    tx.sql
        .prepare_cached("DELETE FROM silence WHERE recipient = ?1 AND live = ?2")
        .and_then(|mut s| s.execute(params![person.digits() as i64, live(environment)]))
        .map_err(failed)?;
    for entry in suppression::of_dead_number(tx.sql, environment, person)? {
        suppression::lift_from_life(tx, &entry, &written(inbound), now)?;
    }
    Ok(())
}

/// All numbers of which there is one, by their digits.
pub(super) fn numbers(sql: &Sql) -> Result<Vec<i64>> {
    let mut statement = sql.prepare_cached("SELECT recipient FROM silence").map_err(failed)?;
    let rows = statement.query_map([], |row| row.get(0)).map_err(failed)?;
    rows.collect::<rusqlite::Result<_>>().map_err(failed)
}

/// Forgets those in which nothing came back since. `true` if there may be more of them.
pub(super) fn sweep(sql: &Sql, before: Timestamp, limit: usize) -> Result<bool> {
    let gone = sql
        .prepare_cached(
            "DELETE FROM silence WHERE (recipient, live, account) IN (
               SELECT recipient, live, account FROM silence WHERE last_at < ?1
               ORDER BY last_at, recipient, live, account LIMIT ?2)",
        )
        .and_then(|mut s| s.execute(params![before.as_millis(), limit as i64]))
        .map_err(failed)?;
    Ok(gone == limit)
}
