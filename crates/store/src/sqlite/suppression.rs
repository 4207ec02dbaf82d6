//! The suppression list: looked at before every acceptance and every submission, so the look is one probe of one index.
//!
//! Nothing is ever overwritten: an entry that gives way is lifted with the reason, and stays as history.

use super::operating::write_audit;
use super::reader::{Rx, get, realm};
use super::session::failed;
use super::silence;
use super::transaction::Tx;
use crate::Result;
use crate::backend::*;
use crate::column::{self, live, number};
use crate::looked::Looked;
use rusqlite::types::Value;
use rusqlite::{OptionalExtension, Row, params};
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::consent::OptOut;
use tidings_domain::failure::Failure;
use tidings_domain::id::{AuditId, SuppressionId};
use tidings_domain::message::Message;
use tidings_domain::programme;
use tidings_domain::suppression::{Fate, Listing, REPLACED_BY_OPT_OUT, Reason, default_end};
use tidings_domain::time::Timestamp;

/// The same inside the writer's transaction, which remembers who was found free.
pub(super) fn look(tx: &Tx<'_>, realm: Realm, recipient: PhoneNumber, now: Timestamp) -> Result<Listing> {
    let found = standing(tx, realm, recipient, now)?;
    if found.is_free() {
        tx.looked.free(realm, recipient);
    }
    Ok(found)
}

/// How this number stands on the list.
pub(super) fn standing(tx: &Tx<'_>, realm: Realm, recipient: PhoneNumber, now: Timestamp) -> Result<Listing> {
    let values = params![realm.account.key(), live(realm.environment), recipient.digits() as i64];
    Ok(tx.looked.standing(&tx.rows(UNLIFTED, values, read)?, now))
}

pub(super) fn suppressed(
    rx: &mut Rx<'_>,
    looked: &Looked,
    recipients: &[(Realm, PhoneNumber)],
    now: Timestamp,
) -> Result<Vec<Listing>> {
    let standing = |(realm, recipient): &(Realm, PhoneNumber)| -> Result<Listing> {
        Ok(looked.standing(&unlifted(rx.sql, *realm, *recipient)?, now))
    };
    recipients.iter().map(standing).collect()
}

pub(super) fn programmes_listed(rx: &mut Rx<'_>, now: &Timestamp) -> Result<ProgrammesListed> {
    let mut statement = rx
        .sql
        .prepare_cached(
            "SELECT account, live, programme, count(*) FROM suppression
             WHERE programme IS NOT NULL AND lifted_at IS NULL AND (expires_at IS NULL OR expires_at > ?1)
             GROUP BY programme, account, live",
        )
        .map_err(failed)?;
    let mut rows = statement.query([now.as_millis()]).map_err(failed)?;
    let mut found = ProgrammesListed::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let (of, count) = (realm(row, 0)?, get::<i64>(row, 3)?.unsigned_abs());
        found.extend(column::programme(get(row, 2)?)?.map(|name| ((name, of), count)));
    }
    Ok(found)
}

pub(super) fn suppress(tx: &mut Tx<'_>, entries: &[Suppression], actor: &Actor) -> Result<Vec<Suppression>> {
    entries.iter().map(|entry| add(tx, entry, actor)).collect()
}

/// Puts the recipient on the list because a carrier said so.
pub(super) fn from_failure(
    tx: &mut Tx<'_>,
    message: &Message,
    failure: &Failure,
    now: Timestamp,
) -> Result<()> {
    let reason = Reason::of(failure.class);
    let entry = Suppression {
        id: SuppressionId::from_key(tx.next_id(now)?),
        realm: message.realm(),
        recipient: message.recipient,
        programme: None,
        reason,
        source: format!("{} {}", message.id, failure.code),
        created_at: now,
        expires_at: default_end(reason, now),
        lifted: None,
    };
    let actor = Actor { account: message.account, who: "carrier".to_owned() };
    add(tx, &entry, &actor).map(drop)
}

/// Adds an entry, as it is [beside](Suppression::beside) the one that is there, and gives what stands then.
pub(super) fn add(tx: &mut Tx<'_>, entry: &Suppression, actor: &Actor) -> Result<Suppression> {
    let now = entry.created_at;
    let known = about(tx.sql, entry.realm, entry.recipient, entry.programme.as_ref())?;
    let (entry, ended) = match entry.clone().beside(known) {
        Fate::Taken(known) => return Ok(known),
        Fate::Added { entry, ended } => (entry, ended),
    };
    tx.note_list_changed();
    if let Some((known, at, why)) = ended {
        end(tx.sql, known.id, at, &why)?;
    }
    tx.sql
        .prepare_cached(
            "INSERT INTO suppression (id, account, live, recipient, reason, source, created_at, expires_at, programme, unreachable)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )
        .and_then(|mut s| {
            let (reason, unreachable) = column::reason_numbers(entry.reason);
            s.execute(params![
                entry.id.key(),
                entry.realm.account.key(),
                live(entry.realm.environment),
                entry.recipient.digits() as i64,
                reason,
                entry.source,
                entry.created_at.as_millis(),
                entry.expires_at.map(Timestamp::as_millis),
                entry.programme.as_ref().map(programme::Name::as_str),
                unreachable,
            ])
        })
        .map_err(failed)?;
    let detail = format!("{} {}", entry.reason.as_str(), entry.source);
    write_audit(tx, actor, "suppression.add", &entry.id.to_string(), &detail, now)?;
    if entry.reason.is_lifted_by_life() {
        silence::outlive(tx, &entry)?;
    }
    Ok(entry)
}

pub(super) fn lift(
    tx: &mut Tx<'_>,
    realm: &Realm,
    recipient: &PhoneNumber,
    programme: &Option<programme::Name>,
    reason: &str,
    actor: &Actor,
    now: &Timestamp,
) -> Result<Option<Suppression>> {
    let known = about(tx.sql, *realm, *recipient, programme.as_ref())?;
    let Some(known) = known.filter(|known| known.is_in_force(*now)) else { return Ok(None) };
    tx.note_list_changed();
    end(tx.sql, known.id, *now, reason)?;
    write_audit(tx, actor, "suppression.lift", &known.id.to_string(), reason, *now)?;
    if known.reason.is_lifted_by_life() {
        silence::forget(tx.sql, *realm, *recipient)?;
    }
    Ok(Some(Suppression { lifted: Some((*now, reason.to_owned())), ..known }))
}

/// Lifts the entries of somebody who asks for messages again. One of somebody of the account that such an entry had replaced
/// counts again.
pub(super) fn lift_by_person(
    tx: &mut Tx<'_>,
    inbound: &Inbound,
    ask: &Ask,
    actor: &Actor,
    now: Timestamp,
) -> Result<()> {
    let (realm, why) = (inbound.realm, inbound.lifting(ask));
    let mut known = unlifted(tx.sql, realm, ask.person)?;
    known.retain(|entry| ask.lifts(entry));
    known.sort_unstable_by_key(|entry| entry.id);
    for known in known {
        if let Some(lifted) = lift(tx, &realm, &ask.person, &known.programme, &why, actor, &now)? {
            restore_replaced(tx, &lifted, actor, now)?;
        }
    }
    if ask.joining.is_none() {
        for entry in awaiting_start(tx.sql, realm, ask.person)? {
            let Some((at, why)) = entry.started(&why) else { continue };
            end(tx.sql, entry.id, at, &why)?;
            write_audit(tx, actor, "suppression.start", &entry.id.to_string(), &why, now)?;
        }
    }
    Ok(())
}

/// Lifts the entries of a number that is alive.
pub(super) fn lift_of_dead_number(
    tx: &mut Tx<'_>,
    realm: Realm,
    recipient: PhoneNumber,
    why: &str,
    now: Timestamp,
) -> Result<()> {
    let mut dead = unlifted(tx.sql, realm, recipient)?;
    dead.retain(|entry| entry.reason.is_lifted_by_life());
    dead.sort_unstable_by_key(|entry| entry.id);
    for entry in dead {
        lift(tx, &realm, &recipient, &entry.programme, why, &reachability(realm), &now)?;
    }
    Ok(())
}

/// The opt-outs of this person that ended and [await](Suppression::awaits_start) the person's START.
pub(super) fn awaiting_start(
    sql: &rusqlite::Connection,
    realm: Realm,
    recipient: PhoneNumber,
) -> Result<Vec<Suppression>> {
    let mut found = history(sql, realm, recipient)?;
    found.retain(Suppression::awaits_start);
    Ok(found)
}

/// Adds the entry of somebody of the account again that an opt-out had replaced, if there was one.
fn restore_replaced(tx: &mut Tx<'_>, lifted: &Suppression, actor: &Actor, now: Timestamp) -> Result<()> {
    let realm = lifted.realm;
    let replaced = tx
        .sql
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM suppression WHERE account = ?1 AND live = ?2 AND recipient = ?3 AND id < ?4
             AND lifted_at = ?5 AND lifted_why = ?6 AND programme IS ?7 ORDER BY id DESC LIMIT 1"
        ))
        .and_then(|mut s| {
            s.query_row(
                params![
                    realm.account.key(),
                    live(realm.environment),
                    lifted.recipient.digits() as i64,
                    lifted.id.key(),
                    lifted.created_at.as_millis(),
                    REPLACED_BY_OPT_OUT,
                    lifted.programme.as_ref().map(programme::Name::as_str),
                ],
                |row| Ok(read(row)),
            )
            .optional()
        })
        .map_err(failed)?
        .transpose()?;
    if let Some(replaced) = replaced.filter(|replaced| replaced.counts_again(now)) {
        let id = SuppressionId::from_key(tx.next_id(now)?);
        add(tx, &Suppression { id, created_at: now, lifted: None, ..replaced }, actor)?;
    }
    Ok(())
}

pub(super) fn suppressions(
    rx: &mut Rx<'_>,
    realm: &Realm,
    filter: &SuppressionFilter,
    page: &Page,
) -> Result<Paged<Suppression>> {
    let SuppressionFilter { recipient, programme, include_lifted } = filter;
    let mut query = format!("SELECT {COLUMNS} FROM suppression WHERE account = ?1 AND live = ?2 AND id < ?3");
    if recipient.is_some() {
        query.push_str(" AND recipient = ?5");
    }
    if programme.is_some() {
        query.push_str(if recipient.is_some() { " AND programme = ?6" } else { " AND programme = ?5" });
    }
    if !include_lifted {
        query.push_str(" AND lifted_at IS NULL");
    }
    query.push_str(" ORDER BY id DESC LIMIT ?4");
    let mut statement = rx.sql.prepare_cached(&query).map_err(failed)?;
    let mut values: Vec<Value> = vec![
        realm.account.key().into(),
        live(realm.environment).into(),
        page.before.unwrap_or(i64::MAX).into(),
        (page.limit as i64 + 1).into(),
    ];
    values.extend(recipient.map(|recipient| Value::from(recipient.digits() as i64)));
    values.extend(programme.as_ref().map(|name| Value::from(name.to_string())));
    let mut rows = statement.query(rusqlite::params_from_iter(values)).map_err(failed)?;
    let mut items = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        items.push(read(row)?);
    }
    Ok(Paged::of(items, page, |entry| entry.id.key()))
}

/// When this person opted out.
pub(super) fn opt_outs(
    sql: &rusqlite::Connection,
    realm: Realm,
    recipient: PhoneNumber,
) -> Result<Vec<OptOut>> {
    Ok(history(sql, realm, recipient)?.iter().filter_map(Suppression::opt_out).collect())
}

/// Every entry of this person, also those that were lifted, the first first.
fn history(sql: &rusqlite::Connection, realm: Realm, recipient: PhoneNumber) -> Result<Vec<Suppression>> {
    let mut statement = sql
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM suppression WHERE account = ?1 AND live = ?2 AND recipient = ?3 AND id > 0 ORDER BY id"
        ))
        .map_err(failed)?;
    let mut rows = statement
        .query(params![realm.account.key(), live(realm.environment), recipient.digits() as i64])
        .map_err(failed)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        found.push(read(row)?);
    }
    Ok(found)
}

pub(super) fn listed(rx: &mut Rx<'_>, after: &AuditId, limit: &usize) -> Result<Listed> {
    let mut lines = rx
        .sql
        .prepare_cached(
            "SELECT id, subject FROM audit WHERE id > ?1 AND action IN ('suppression.add', 'suppression.lift')
             ORDER BY id LIMIT ?2",
        )
        .map_err(failed)?;
    let mut rows = lines.query(params![after.key(), *limit as i64]).map_err(failed)?;
    let mut changes = Vec::new();
    let mut last = None;
    let mut found = 0;
    while let Some(row) = rows.next().map_err(failed)? {
        found += 1;
        let line = AuditId::from_key(get(row, 0)?);
        last = Some(line);
        let Ok(id) = get::<String>(row, 1)?.parse::<SuppressionId>() else { continue };
        let mut entry = rx
            .sql
            .prepare_cached(&format!("SELECT {COLUMNS} FROM suppression WHERE id = ?1"))
            .map_err(failed)?;
        let mut entry = entry.query([id.key()]).map_err(failed)?;
        if let Some(row) = entry.next().map_err(failed)? {
            changes.push((line, read(row)?));
        }
    }
    let (is_known, newest): (bool, Option<i64>) = rx
        .sql
        .prepare_cached(
            "SELECT ?1 = 0 OR EXISTS (SELECT 1 FROM audit WHERE id = ?1), (SELECT max(id) FROM audit)",
        )
        .and_then(|mut s| s.query_row([after.key()], |row| Ok((row.get(0)?, row.get(1)?))))
        .map_err(failed)?;
    let newest = newest.map_or(*after, |id| AuditId::from_key(id).max(*after));
    Ok(Listed { is_known, changes, upto: last.filter(|_| found == *limit).unwrap_or(newest) })
}

macro_rules! columns {
    () => {
        "id, account, live, recipient, reason, source, created_at, expires_at, lifted_at, lifted_why, programme, unreachable"
    };
}

const COLUMNS: &str = columns!();

/// The entries of a number that were not lifted. They may be over.
const UNLIFTED: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM suppression WHERE account = ?1 AND live = ?2 AND recipient = ?3 AND lifted_at IS NULL"
);

/// The entry about this programme, or about everything, that was not lifted. It may be over.
fn about(
    sql: &rusqlite::Connection,
    realm: Realm,
    recipient: PhoneNumber,
    programme: Option<&programme::Name>,
) -> Result<Option<Suppression>> {
    let known = unlifted(sql, realm, recipient)?;
    Ok(known.into_iter().find(|entry| entry.programme.as_ref() == programme))
}

fn unlifted(sql: &rusqlite::Connection, realm: Realm, recipient: PhoneNumber) -> Result<Vec<Suppression>> {
    let mut statement = sql.prepare_cached(UNLIFTED).map_err(failed)?;
    let mut rows = statement
        .query(params![realm.account.key(), live(realm.environment), recipient.digits() as i64])
        .map_err(failed)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        found.push(read(row)?);
    }
    Ok(found)
}

fn end(sql: &rusqlite::Connection, id: SuppressionId, at: Timestamp, why: &str) -> Result<()> {
    sql.prepare_cached("UPDATE suppression SET lifted_at = ?2, lifted_why = ?3 WHERE id = ?1")
        .and_then(|mut s| s.execute(params![id.key(), at.as_millis(), why]))
        .map(drop)
        .map_err(failed)
}

fn read(row: &Row<'_>) -> Result<Suppression> {
    let lifted = match (get::<Option<i64>>(row, 8)?, get::<Option<String>>(row, 9)?) {
        (Some(at), why) => Some((Timestamp::from_millis(at), why.unwrap_or_default())),
        (None, _) => None,
    };
    Ok(Suppression {
        id: SuppressionId::from_key(get(row, 0)?),
        realm: realm(row, 1)?,
        recipient: number(get(row, 3)?)?,
        programme: column::programme(get(row, 10)?)?,
        reason: column::reason(get(row, 4)?, get(row, 11)?)?,
        source: get(row, 5)?,
        created_at: Timestamp::from_millis(get(row, 6)?),
        expires_at: get::<Option<i64>>(row, 7)?.map(Timestamp::from_millis),
        lifted,
    })
}
