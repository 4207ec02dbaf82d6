//! Contacts. The row has everything; whose a number is and who is in a group stands beside it, to be found by, and only this
//! file writes either.

use super::operating::write_audit;
use super::reader::{Rx, get};
use super::session::failed;
use super::transaction::Tx;
use crate::backend::*;
use crate::column::{self, live};
use crate::{Error, Result};
use rusqlite::{Connection as Sql, OptionalExtension, Row, params};
use std::collections::{BTreeMap, BTreeSet};
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::contact::{Change, Contact, Group, Language, ZoneName};
use tidings_domain::id::ContactId;
use tidings_domain::time::Timestamp;

const COLUMNS: &str =
    "c.id, c.numbers, c.name, c.language, c.zone, c.owner, c.member_of, c.fields, c.created_at, c.updated_at";

// ── saving ──────────────────────────────────────────────────────────────────────────────────────────────────

pub(super) fn create_contact(tx: &mut Tx<'_>, contact: &Contact, actor: &Actor) -> Result<Saved> {
    if let Err(excess) = contact.details.check() {
        return Ok(Saved::TooMuch(excess));
    }
    if let Some((number, whose)) = taken(tx.sql, contact)? {
        return Ok(Saved::Taken(number, whose));
    }
    if find(tx.sql, contact.realm, contact.id)?.is_some() {
        return Err(Error::Conflict(format!("there is a contact {} already", contact.id)));
    }
    put(tx.sql, None, contact)?;
    write_audit(tx, actor, "contact.create", &contact.id.to_string(), "", contact.created_at)?;
    Ok(Saved::Done(Box::new(contact.clone())))
}

pub(super) fn change_contact(
    tx: &mut Tx<'_>,
    realm: &Realm,
    id: &ContactId,
    change: &Change,
    actor: &Actor,
    now: &Timestamp,
) -> Result<Option<Saved>> {
    let Some(before) = find(tx.sql, *realm, *id)? else { return Ok(None) };
    let after = match before.changed(change, *now) {
        Ok(after) => after,
        Err(excess) => return Ok(Some(Saved::TooMuch(excess))),
    };
    if let Some((number, whose)) = taken(tx.sql, &after)? {
        return Ok(Some(Saved::Taken(number, whose)));
    }
    if after != before {
        put(tx.sql, Some(&before), &after)?;
        write_audit(tx, actor, "contact.change", &id.to_string(), "", *now)?;
    }
    Ok(Some(Saved::Done(Box::new(after))))
}

pub(super) fn delete_contact(
    tx: &mut Tx<'_>,
    realm: &Realm,
    id: &ContactId,
    actor: &Actor,
    now: &Timestamp,
) -> Result<bool> {
    let Some(contact) = find(tx.sql, *realm, *id)? else { return Ok(false) };
    for number in &contact.numbers {
        free(tx.sql, *realm, *number)?;
    }
    for group in &contact.details.groups {
        leave(tx.sql, *realm, group, *id)?;
    }
    tx.sql
        .prepare_cached("DELETE FROM contact WHERE account = ?1 AND live = ?2 AND id = ?3")
        .and_then(|mut s| s.execute(params![realm.account.key(), live(realm.environment), id.key()]))
        .map_err(failed)?;
    write_audit(tx, actor, "contact.delete", &id.to_string(), "", *now)?;
    Ok(true)
}

/// A number of this contact that is another's, and whose.
fn taken(sql: &Sql, contact: &Contact) -> Result<Option<(PhoneNumber, ContactId)>> {
    for number in &contact.numbers {
        if let Some(whose) = holder(sql, contact.realm, *number)?.filter(|whose| *whose != contact.id) {
            return Ok(Some((*number, whose)));
        }
    }
    Ok(None)
}

/// Whose number it is.
pub(super) fn holder(sql: &Sql, realm: Realm, number: PhoneNumber) -> Result<Option<ContactId>> {
    sql.prepare_cached("SELECT contact FROM contact_number WHERE account = ?1 AND live = ?2 AND number = ?3")
        .and_then(|mut s| {
            let key = params![realm.account.key(), live(realm.environment), number.digits() as i64];
            s.query_row(key, |row| row.get(0)).optional()
        })
        .map(|found| found.map(ContactId::from_key))
        .map_err(failed)
}

/// Writes a contact, given what it was before.
pub(super) fn put(sql: &Sql, before: Option<&Contact>, contact: &Contact) -> Result<()> {
    let Contact { id, realm, numbers, details, created_at, updated_at } = contact;
    let (account, is_live) = (realm.account.key(), live(realm.environment));
    sql.prepare_cached(
        "INSERT INTO contact (account, live, id, numbers, name, language, zone, owner, member_of, fields, created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
         ON CONFLICT DO UPDATE SET numbers = excluded.numbers, name = excluded.name, language = excluded.language,
           zone = excluded.zone, owner = excluded.owner, member_of = excluded.member_of, fields = excluded.fields,
           updated_at = excluded.updated_at",
    )
    .and_then(|mut s| {
        s.execute(params![
            account,
            is_live,
            id.key(),
            column::numbers_text(numbers),
            details.name,
            details.language.as_ref().map(Language::as_str),
            details.zone.as_ref().map(ZoneName::as_str),
            details.owner,
            column::groups_text(details),
            column::fields_text(details),
            created_at.as_millis(),
            updated_at.as_millis(),
        ])
    })
    .map_err(failed)?;
    let had = before.map_or(&[][..], |before| &before.numbers);
    for number in had.iter().filter(|number| !numbers.contains(number)) {
        free(sql, *realm, *number)?;
    }
    for number in numbers.iter().filter(|number| !had.contains(number)) {
        sql.prepare_cached(
            "INSERT INTO contact_number (account, live, number, contact) VALUES (?1, ?2, ?3, ?4)",
        )
        .and_then(|mut s| s.execute(params![account, is_live, number.digits() as i64, id.key()]))
        .map_err(failed)?;
    }
    let none = BTreeSet::new();
    let was_in = before.map_or(&none, |before| &before.details.groups);
    for group in was_in.difference(&details.groups) {
        leave(sql, *realm, group, *id)?;
    }
    for group in details.groups.difference(was_in) {
        sql.prepare_cached(
            "INSERT INTO contact_group (account, live, name, contact) VALUES (?1, ?2, ?3, ?4)",
        )
        .and_then(|mut s| s.execute(params![account, is_live, group.as_str(), id.key()]))
        .map_err(failed)?;
    }
    Ok(())
}

fn free(sql: &Sql, realm: Realm, number: PhoneNumber) -> Result<()> {
    sql.prepare_cached("DELETE FROM contact_number WHERE account = ?1 AND live = ?2 AND number = ?3")
        .and_then(|mut s| {
            s.execute(params![realm.account.key(), live(realm.environment), number.digits() as i64])
        })
        .map(drop)
        .map_err(failed)
}

fn leave(sql: &Sql, realm: Realm, group: &Group, id: ContactId) -> Result<()> {
    sql.prepare_cached(
        "DELETE FROM contact_group WHERE account = ?1 AND live = ?2 AND name = ?3 AND contact = ?4",
    )
    .and_then(|mut s| {
        s.execute(params![realm.account.key(), live(realm.environment), group.as_str(), id.key()])
    })
    .map(drop)
    .map_err(failed)
}

// ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────

pub(super) fn find(sql: &Sql, realm: Realm, id: ContactId) -> Result<Option<Contact>> {
    sql.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM contact c WHERE c.account = ?1 AND c.live = ?2 AND c.id = ?3"
    ))
    .and_then(|mut s| {
        let key = params![realm.account.key(), live(realm.environment), id.key()];
        s.query_row(key, |row| Ok(read(realm, row))).optional()
    })
    .map_err(failed)?
    .transpose()
}

/// The contacts that have these numbers, each once.
pub(super) fn holders(
    sql: &Sql,
    realm: Realm,
    numbers: impl Iterator<Item = PhoneNumber>,
) -> Result<Vec<Contact>> {
    let mut found = BTreeMap::new();
    for number in numbers {
        if let Some(id) = holder(sql, realm, number)?
            && !found.contains_key(&id)
            && let Some(contact) = find(sql, realm, id)?
        {
            found.insert(id, contact);
        }
    }
    Ok(found.into_values().collect())
}

pub(super) fn contact(rx: &mut Rx<'_>, realm: &Realm, id: &ContactId) -> Result<Option<Contact>> {
    find(rx.sql, *realm, *id)
}

pub(super) fn contacts(
    rx: &mut Rx<'_>,
    realm: &Realm,
    filter: &ContactFilter,
    page: &Page,
) -> Result<Paged<Contact>> {
    let before = page.before.unwrap_or(i64::MAX);
    let (account, is_live) = (realm.account.key(), live(realm.environment));
    if let Some(number) = filter.number {
        let found = holders(rx.sql, *realm, std::iter::once(number))?;
        let fits = |contact: &Contact| {
            contact.id.key() < before
                && filter.group.as_ref().is_none_or(|group| contact.details.groups.contains(group))
        };
        return Ok(Paged::of(found.into_iter().filter(fits).collect(), page, |contact| contact.id.key()));
    }
    let query = match filter.group {
        None => format!(
            "SELECT {COLUMNS} FROM contact c WHERE c.account = ?1 AND c.live = ?2 AND c.id < ?3 ORDER BY c.id DESC LIMIT ?4"
        ),
        Some(_) => format!(
            "SELECT {COLUMNS} FROM contact_group g CROSS JOIN contact c ON c.account = ?1 AND c.live = ?2 AND c.id = g.contact
             WHERE g.account = ?1 AND g.live = ?2 AND g.name = ?5 AND g.contact < ?3 ORDER BY g.contact DESC LIMIT ?4"
        ),
    };
    let mut statement = rx.sql.prepare_cached(&query).map_err(failed)?;
    let limit = page.limit as i64 + 1;
    let mut rows = match &filter.group {
        None => statement.query(params![account, is_live, before, limit]),
        Some(group) => statement.query(params![account, is_live, before, limit, group.as_str()]),
    }
    .map_err(failed)?;
    let mut items = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        items.push(read(*realm, row)?);
    }
    Ok(Paged::of(items, page, |contact| contact.id.key()))
}

pub(super) fn groups(rx: &mut Rx<'_>, realm: &Realm) -> Result<Vec<(Group, u64)>> {
    let mut statement = rx
        .sql
        .prepare_cached(
            "SELECT name, count(*) FROM contact_group WHERE account = ?1 AND live = ?2 GROUP BY name ORDER BY name",
        )
        .map_err(failed)?;
    let rows = statement
        .query_map(params![realm.account.key(), live(realm.environment)], |row| {
            Ok((Group::from_stored(&row.get::<_, String>(0)?), row.get::<_, i64>(1)? as u64))
        })
        .map_err(failed)?;
    rows.collect::<rusqlite::Result<_>>().map_err(failed)
}

pub(super) fn known_numbers(rx: &mut Rx<'_>, realm: &Realm, numbers: &[PhoneNumber]) -> Result<u64> {
    let mut known = 0;
    for number in numbers {
        known += u64::from(holder(rx.sql, *realm, *number)?.is_some());
    }
    Ok(known)
}

pub(super) fn stated_zones(
    rx: &mut Rx<'_>,
    people: &[(Realm, PhoneNumber)],
) -> Result<Vec<Option<ZoneName>>> {
    let of_one = |(realm, number): &(Realm, PhoneNumber)| {
        rx.sql
            .prepare_cached(
                "SELECT c.zone FROM contact_number n
                 JOIN contact c ON c.account = n.account AND c.live = n.live AND c.id = n.contact
                 WHERE n.account = ?1 AND n.live = ?2 AND n.number = ?3 AND c.zone IS NOT NULL",
            )
            .and_then(|mut s| {
                let key = params![realm.account.key(), live(realm.environment), number.digits() as i64];
                s.query_row(key, |row| row.get::<_, String>(0)).optional()
            })
            .map(|found| found.as_deref().map(ZoneName::from_stored))
            .map_err(failed)
    };
    people.iter().map(of_one).collect()
}

fn read(realm: Realm, row: &Row<'_>) -> Result<Contact> {
    let (groups, fields): (String, String) = (get(row, 6)?, get(row, 7)?);
    Ok(Contact {
        id: ContactId::from_key(get(row, 0)?),
        realm,
        numbers: column::numbers(&get::<String>(row, 1)?)?,
        details: column::details(get(row, 2)?, get(row, 3)?, get(row, 4)?, get(row, 5)?, &groups, &fields)?,
        created_at: Timestamp::from_millis(get(row, 8)?),
        updated_at: Timestamp::from_millis(get(row, 9)?),
    })
}
