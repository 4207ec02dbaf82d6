//! Silences: how many messages in a row did not reach a number. What is delivered looks here only where there may be one.

use super::session::failed;
use super::suppression;
use super::transaction::Tx;
use crate::Result;
use crate::backend::*;
use crate::column::live;
use rusqlite::{Connection as Sql, OptionalExtension, params};
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::id::{AccountId, SuppressionId};
use tidings_domain::message::Message;
use tidings_domain::reachability::{Policy, Sign, Silence};
use tidings_domain::time::Timestamp;

/// Notes what the end of a message says of the phone. Without a policy no message is counted; what is delivered ends a row all
/// the same.
pub(super) fn note(
    tx: &mut Tx<'_>,
    message: &Message,
    sign: Sign,
    policy: Option<&Policy>,
    now: Timestamp,
) -> Result<()> {
    match (sign, policy) {
        (Sign::Reached, _) => reached(tx, message, now),
        (Sign::Unreached, Some(policy)) => unreached(tx, message, policy, now),
        (Sign::Unreached, None) => Ok(()),
    }
}

fn reached(tx: &mut Tx<'_>, message: &Message, now: Timestamp) -> Result<()> {
    let (realm, recipient) = (message.realm(), message.recipient);
    if tx.may_be_silent(recipient)? && forget(tx.sql, realm, recipient)? {
        suppression::lift_of_dead_number(tx, realm, recipient, &delivered(message), now)?;
    }
    Ok(())
}

fn unreached(tx: &mut Tx<'_>, message: &Message, policy: &Policy, now: Timestamp) -> Result<()> {
    let (realm, recipient) = (message.realm(), message.recipient);
    let silence = policy.one_more(find(tx.sql, realm, recipient)?, now);
    write(tx, realm, recipient, &silence)?;
    if policy.is_dead(&silence) {
        let id = SuppressionId::from_key(tx.next_id(now)?);
        let (entry, actor) = of_dead(id, message, &silence, policy, now);
        suppression::add(tx, &entry, &actor)?;
    }
    Ok(())
}

/// Somebody wrote from there: the number is alive, for every account.
pub(super) fn heard(tx: &mut Tx<'_>, inbound: &Inbound, now: Timestamp) -> Result<()> {
    let Some(person) = inbound.person() else { return Ok(()) };
    if !tx.may_be_silent(person)? {
        return Ok(());
    }
    let environment = inbound.realm.environment;
    let accounts: Vec<i64> = tx
        .sql
        .prepare_cached("DELETE FROM silence WHERE recipient = ?1 AND live = ?2 RETURNING account")
        .and_then(|mut s| {
            s.query_map(params![person.digits() as i64, live(environment)], |row| row.get(0))?.collect()
        })
        .map_err(failed)?;
    for account in accounts {
        let realm = Realm { account: AccountId::from_key(account), environment };
        suppression::lift_of_dead_number(tx, realm, person, &written(inbound), now)?;
    }
    Ok(())
}

// ── the rows ────────────────────────────────────────────────────────────────────────────────────────────────

/// Keeps the row of a number that came on the list as dead for as long as its entry, so that whatever reaches it finds it.
pub(super) fn outlive(tx: &mut Tx<'_>, entry: &Suppression) -> Result<()> {
    let known = find(tx.sql, entry.realm, entry.recipient)?;
    let silence = Silence::of_entry(known, entry.created_at, entry.expires_at);
    write(tx, entry.realm, entry.recipient, &silence)
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

fn write(tx: &mut Tx<'_>, realm: Realm, recipient: PhoneNumber, silence: &Silence) -> Result<()> {
    tx.sql
        .prepare_cached(
            "INSERT OR REPLACE INTO silence (recipient, live, account, messages, since, last_at, until)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )
        .and_then(|mut s| {
            s.execute(params![
                recipient.digits() as i64,
                live(realm.environment),
                realm.account.key(),
                silence.messages,
                silence.since.as_millis(),
                silence.last_at.as_millis(),
                silence.until.as_millis(),
            ])
        })
        .map_err(failed)?;
    tx.note_silent(recipient);
    Ok(())
}

fn find(sql: &Sql, realm: Realm, recipient: PhoneNumber) -> Result<Option<Silence>> {
    sql.prepare_cached(
        "SELECT messages, since, last_at, until FROM silence WHERE recipient = ?1 AND live = ?2 AND account = ?3",
    )
    .and_then(|mut s| {
        let key = params![recipient.digits() as i64, live(realm.environment), realm.account.key()];
        s.query_row(key, |row| {
            Ok(Silence {
                messages: row.get(0)?,
                since: Timestamp::from_millis(row.get(1)?),
                last_at: Timestamp::from_millis(row.get(2)?),
                until: Timestamp::from_millis(row.get(3)?),
            })
        })
        .optional()
    })
    .map_err(failed)
}

/// All numbers of which there is one, by their digits.
pub(super) fn numbers(sql: &Sql) -> Result<Vec<i64>> {
    let mut statement = sql.prepare_cached("SELECT recipient FROM silence").map_err(failed)?;
    let rows = statement.query_map([], |row| row.get(0)).map_err(failed)?;
    rows.collect::<rusqlite::Result<_>>().map_err(failed)
}

/// Forgets those that are over. `true` if there may be more of them.
pub(super) fn sweep(sql: &Sql, now: Timestamp, limit: usize) -> Result<bool> {
    let gone = sql
        .prepare_cached(
            "DELETE FROM silence WHERE (recipient, live, account) IN (
               SELECT recipient, live, account FROM silence WHERE until < ?1
               ORDER BY until, recipient, live, account LIMIT ?2)",
        )
        .and_then(|mut s| s.execute(params![now.as_millis(), limit as i64]))
        .map_err(failed)?;
    Ok(gone == limit)
}
