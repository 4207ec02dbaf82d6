//! Contacts. The row has everything; whose a number is and who is in a group stands beside it, to be found by, and only this
//! file writes either.
//!
//! They are on no sheet: each operation looks at its own rows and changes them at once, many with one statement.

use super::operating::write_audit;
use super::reader::Rx;
use super::session::{Session, cell, clean, live};
use super::transaction::Tx;
use crate::backend::*;
use crate::{Error, Result, column};
use std::collections::{BTreeMap, BTreeSet};
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::contact::{Change, Contact, Group, Language, ZoneName};
use tidings_domain::id::ContactId;
use tidings_domain::time::Timestamp;
use tokio_postgres::Row;

/// What [`read`] reads.
macro_rules! columns {
    () => {
        "c.id, c.numbers, c.name, c.language, c.zone, c.owner, c.member_of, c.fields, c.created_at, c.updated_at"
    };
}

// ── saving ──────────────────────────────────────────────────────────────────────────────────────────────────

pub(super) async fn create_contact(tx: &mut Tx, contact: &Contact, actor: &Actor) -> Result<Saved> {
    if let Err(excess) = contact.details.check() {
        return Ok(Saved::TooMuch(excess));
    }
    if let Some((number, whose)) = taken(&tx.sql, contact).await? {
        return Ok(Saved::Taken(number, whose));
    }
    if find(&tx.sql, contact.realm, contact.id).await?.is_some() {
        return Err(Error::Conflict(format!("there is a contact {} already", contact.id)));
    }
    put(&tx.sql, contact.realm, &[(None, contact)]).await?;
    write_audit(tx, actor, "contact.create", &contact.id.to_string(), "", contact.created_at);
    Ok(Saved::Done(Box::new(contact.clone())))
}

pub(super) async fn change_contact(
    tx: &mut Tx,
    realm: &Realm,
    id: &ContactId,
    change: &Change,
    actor: &Actor,
    now: &Timestamp,
) -> Result<Option<Saved>> {
    let Some(before) = find(&tx.sql, *realm, *id).await? else { return Ok(None) };
    let after = match before.changed(change, *now) {
        Ok(after) => after,
        Err(excess) => return Ok(Some(Saved::TooMuch(excess))),
    };
    if let Some((number, whose)) = taken(&tx.sql, &after).await? {
        return Ok(Some(Saved::Taken(number, whose)));
    }
    if after != before {
        put(&tx.sql, *realm, &[(Some(&before), &after)]).await?;
        write_audit(tx, actor, "contact.change", &id.to_string(), "", *now);
    }
    Ok(Some(Saved::Done(Box::new(after))))
}

pub(super) async fn delete_contact(
    tx: &mut Tx,
    realm: &Realm,
    id: &ContactId,
    actor: &Actor,
    now: &Timestamp,
) -> Result<bool> {
    let Some(contact) = find(&tx.sql, *realm, *id).await? else { return Ok(false) };
    let numbers = contact.numbers.iter().map(|number| number.digits() as i64).collect();
    let groups = contact.details.groups.iter().map(|group| (group.as_str(), *id)).collect();
    unlist(&tx.sql, *realm, numbers, groups).await?;
    tx.sql
        .execute(
            "DELETE FROM contact WHERE account = $1 AND live = $2 AND id = $3",
            &[&realm.account.key(), &live(realm.environment), &id.key()],
        )
        .await?;
    write_audit(tx, actor, "contact.delete", &id.to_string(), "", *now);
    Ok(true)
}

/// A number of this contact that is another's, and whose: the first of them.
async fn taken(sql: &Session, contact: &Contact) -> Result<Option<(PhoneNumber, ContactId)>> {
    let held = held(sql, contact.realm, contact.numbers.iter().copied()).await?;
    let other = |number: &PhoneNumber| {
        let whose = held.get(number).filter(|whose| **whose != contact.id)?;
        Some((*number, *whose))
    };
    Ok(contact.numbers.iter().find_map(other))
}

/// Whose numbers these are.
pub(super) async fn held(
    sql: &Session,
    realm: Realm,
    numbers: impl Iterator<Item = PhoneNumber>,
) -> Result<BTreeMap<PhoneNumber, ContactId>> {
    let numbers: Vec<i64> = numbers.map(|number| number.digits() as i64).collect();
    let rows = sql
        .rows(
            "SELECT number, contact FROM contact_number WHERE account = $1 AND live = $2 AND number = ANY ($3)",
            &[&realm.account.key(), &live(realm.environment), &numbers],
        )
        .await?;
    let read = |row: &Row| Ok((column::number(cell(row, 0)?)?, ContactId::from_key(cell(row, 1)?)));
    rows.iter().map(read).collect()
}

/// Writes contacts of one realm, each given what it was before.
pub(super) async fn put(
    sql: &Session,
    realm: Realm,
    contacts: &[(Option<&Contact>, &Contact)],
) -> Result<()> {
    if contacts.is_empty() {
        return Ok(());
    }
    let (account, is_live) = (realm.account.key(), live(realm.environment));
    let none = BTreeSet::new();
    let (mut freed, mut left, mut held, mut joined) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (before, contact) in contacts {
        let had = before.map_or(&[][..], |before| &before.numbers);
        let is_gone = |number: &&PhoneNumber| !contact.numbers.contains(number);
        freed.extend(had.iter().filter(is_gone).map(|number| number.digits() as i64));
        let is_new = |number: &&PhoneNumber| !had.contains(number);
        let new = contact.numbers.iter().filter(is_new);
        held.extend(new.map(|number| (number.digits() as i64, contact.id.key())));
        let was_in = before.map_or(&none, |before| &before.details.groups);
        left.extend(was_in.difference(&contact.details.groups).map(|group| (group.as_str(), contact.id)));
        let joins = contact.details.groups.difference(was_in);
        joined.extend(joins.map(|group| (clean(group.as_str()).into_owned(), contact.id.key())));
    }
    unlist(sql, realm, freed, left).await?;
    let all = || contacts.iter().map(|(_, contact)| *contact);
    let texts = |of: fn(&Contact) -> Option<&str>| -> Vec<Option<String>> {
        all().map(|contact| of(contact).map(|text| clean(text).into_owned())).collect()
    };
    sql.execute(
        "INSERT INTO contact (account, live, id, numbers, name, language, zone, owner, member_of, fields, created_at,
           updated_at)
         SELECT $1, $2, * FROM unnest($3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
           $10::text[], $11::bigint[], $12::bigint[])
         ON CONFLICT (account, live, id) DO UPDATE SET numbers = excluded.numbers, name = excluded.name,
           language = excluded.language, zone = excluded.zone, owner = excluded.owner, member_of = excluded.member_of,
           fields = excluded.fields, updated_at = excluded.updated_at",
        &[
            &account,
            &is_live,
            &all().map(|contact| contact.id.key()).collect::<Vec<_>>(),
            &all().map(|contact| column::numbers_text(&contact.numbers)).collect::<Vec<_>>(),
            &texts(|contact| contact.details.name.as_deref()),
            &texts(|contact| contact.details.language.as_ref().map(Language::as_str)),
            &texts(|contact| contact.details.zone.as_ref().map(ZoneName::as_str)),
            &texts(|contact| contact.details.owner.as_deref()),
            &all()
                .map(|contact| clean(&column::groups_text(&contact.details)).into_owned())
                .collect::<Vec<_>>(),
            &all()
                .map(|contact| clean(&column::fields_text(&contact.details)).into_owned())
                .collect::<Vec<_>>(),
            &all().map(|contact| contact.created_at.as_millis()).collect::<Vec<_>>(),
            &all().map(|contact| contact.updated_at.as_millis()).collect::<Vec<_>>(),
        ],
    )
    .await?;
    let (numbers, whose): (Vec<i64>, Vec<i64>) = held.into_iter().unzip();
    if !numbers.is_empty() {
        sql.execute(
            "INSERT INTO contact_number (account, live, number, contact)
             SELECT $1, $2, * FROM unnest($3::bigint[], $4::bigint[])",
            &[&account, &is_live, &numbers, &whose],
        )
        .await?;
    }
    let (groups, members): (Vec<String>, Vec<i64>) = joined.into_iter().unzip();
    if !groups.is_empty() {
        sql.execute(
            "INSERT INTO contact_group (account, live, name, contact)
             SELECT $1, $2, * FROM unnest($3::text[], $4::bigint[])",
            &[&account, &is_live, &groups, &members],
        )
        .await?;
    }
    Ok(())
}

/// Takes numbers and members of groups out of what contacts are found by.
async fn unlist(
    sql: &Session,
    realm: Realm,
    numbers: Vec<i64>,
    groups: Vec<(&str, ContactId)>,
) -> Result<()> {
    let (account, is_live) = (realm.account.key(), live(realm.environment));
    if !numbers.is_empty() {
        sql.execute(
            "DELETE FROM contact_number WHERE account = $1 AND live = $2 AND number = ANY ($3)",
            &[&account, &is_live, &numbers],
        )
        .await?;
    }
    if !groups.is_empty() {
        let (names, members): (Vec<_>, Vec<i64>) =
            groups.into_iter().map(|(group, id)| (clean(group), id.key())).unzip();
        sql.execute(
            "DELETE FROM contact_group WHERE ctid = ANY (ARRAY (
               SELECT g.place FROM unnest($3::text[], $4::bigint[]) AS k (name, contact)
               CROSS JOIN LATERAL (SELECT x.ctid AS place FROM contact_group x WHERE x.account = $1 AND x.live = $2
                 AND x.name = k.name AND x.contact = k.contact LIMIT 1) g))",
            &[&account, &is_live, &names, &members],
        )
        .await?;
    }
    Ok(())
}

// ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────

pub(super) async fn find(sql: &Session, realm: Realm, id: ContactId) -> Result<Option<Contact>> {
    Ok(find_all(sql, realm, vec![id.key()]).await?.pop())
}

async fn find_all(sql: &Session, realm: Realm, ids: Vec<i64>) -> Result<Vec<Contact>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sql
        .rows(
            concat!(
                "SELECT ",
                columns!(),
                " FROM contact c WHERE c.account = $1 AND c.live = $2 AND c.id = ANY ($3) ORDER BY c.id"
            ),
            &[&realm.account.key(), &live(realm.environment), &ids],
        )
        .await?;
    rows.iter().map(|row| read(realm, row)).collect()
}

/// The contacts that have these numbers, each once.
pub(super) async fn holders(
    sql: &Session,
    realm: Realm,
    numbers: impl Iterator<Item = PhoneNumber>,
) -> Result<Vec<Contact>> {
    let ids: BTreeSet<i64> = held(sql, realm, numbers).await?.into_values().map(ContactId::key).collect();
    find_all(sql, realm, ids.into_iter().collect()).await
}

pub(super) async fn contact(rx: &Rx<'_>, realm: &Realm, id: &ContactId) -> Result<Option<Contact>> {
    find(rx.sql, *realm, *id).await
}

pub(super) async fn contacts(
    rx: &Rx<'_>,
    realm: &Realm,
    filter: &ContactFilter,
    page: &Page,
) -> Result<Paged<Contact>> {
    let before = page.before.unwrap_or(i64::MAX);
    let (account, is_live, limit) = (realm.account.key(), live(realm.environment), page.limit as i64 + 1);
    if let Some(number) = filter.number {
        let found = holders(rx.sql, *realm, std::iter::once(number)).await?;
        let fits = |contact: &Contact| {
            contact.id.key() < before
                && filter.group.as_ref().is_none_or(|group| contact.details.groups.contains(group))
        };
        return Ok(Paged::of(found.into_iter().filter(fits).collect(), page, |contact| contact.id.key()));
    }
    let rows = match &filter.group {
        None => {
            rx.sql
                .rows(
                    concat!(
                        "SELECT ",
                        columns!(),
                        " FROM contact c WHERE c.account = $1 AND c.live = $2 AND c.id < $3 ORDER BY c.id DESC LIMIT $4"
                    ),
                    &[&account, &is_live, &before, &limit],
                )
                .await?
        }
        Some(group) => {
            rx.sql
                .rows(
                    concat!(
                        "SELECT ",
                        columns!(),
                        " FROM (SELECT x.contact FROM contact_group x WHERE x.account = $1 AND x.live = $2 AND x.name = $5
                            AND x.contact < $3 ORDER BY x.contact DESC LIMIT $4) g
                          CROSS JOIN LATERAL (SELECT y.* FROM contact y WHERE y.account = $1 AND y.live = $2
                            AND y.id = g.contact LIMIT 1) c
                          ORDER BY c.id DESC"
                    ),
                    &[&account, &is_live, &before, &limit, &group.as_str()],
                )
                .await?
        }
    };
    let items = rows.iter().map(|row| read(*realm, row)).collect::<Result<Vec<_>>>()?;
    Ok(Paged::of(items, page, |contact| contact.id.key()))
}

pub(super) async fn groups(rx: &Rx<'_>, realm: &Realm) -> Result<Vec<(Group, u64)>> {
    let rows = rx
        .sql
        .rows(
            "SELECT name, count(*) FROM contact_group WHERE account = $1 AND live = $2 GROUP BY name ORDER BY name",
            &[&realm.account.key(), &live(realm.environment)],
        )
        .await?;
    let read = |row: &Row| Ok((Group::from_stored(cell(row, 0)?), cell::<i64>(row, 1)? as u64));
    rows.iter().map(read).collect()
}

pub(super) async fn known_numbers(rx: &Rx<'_>, realm: &Realm, numbers: &[PhoneNumber]) -> Result<u64> {
    let numbers: Vec<i64> = numbers.iter().map(|number| number.digits() as i64).collect();
    let known: i64 = rx
        .sql
        .value(
            "SELECT count(*) FROM contact_number WHERE account = $1 AND live = $2 AND number = ANY ($3)",
            &[&realm.account.key(), &live(realm.environment), &numbers],
        )
        .await?;
    Ok(known as u64)
}

pub(super) async fn stated_zones(
    rx: &Rx<'_>,
    people: &[(Realm, PhoneNumber)],
) -> Result<Vec<Option<ZoneName>>> {
    let accounts: Vec<i64> = people.iter().map(|(realm, _)| realm.account.key()).collect();
    let lives: Vec<i16> = people.iter().map(|(realm, _)| live(realm.environment)).collect();
    let numbers: Vec<i64> = people.iter().map(|(_, number)| number.digits() as i64).collect();
    let rows = rx
        .sql
        .rows(
            "SELECT k.place, c.zone
             FROM unnest($1::bigint[], $2::smallint[], $3::bigint[]) WITH ORDINALITY AS k (account, live, number, place)
             CROSS JOIN LATERAL (SELECT x.contact FROM contact_number x WHERE x.account = k.account AND x.live = k.live
               AND x.number = k.number) n
             CROSS JOIN LATERAL (SELECT x.zone FROM contact x WHERE x.account = k.account AND x.live = k.live
               AND x.id = n.contact AND x.zone IS NOT NULL) c",
            &[&accounts, &lives, &numbers],
        )
        .await?;
    let mut zones = vec![None; people.len()];
    for row in &rows {
        let place: i64 = cell(row, 0)?;
        zones[place as usize - 1] = Some(ZoneName::from_stored(cell(row, 1)?));
    }
    Ok(zones)
}

fn read(realm: Realm, row: &Row) -> Result<Contact> {
    let details = column::details(
        cell(row, 2)?,
        cell(row, 3)?,
        cell(row, 4)?,
        cell(row, 5)?,
        cell(row, 6)?,
        cell(row, 7)?,
    )?;
    Ok(Contact {
        id: ContactId::from_key(cell(row, 0)?),
        realm,
        numbers: column::numbers(cell(row, 1)?)?,
        details,
        created_at: Timestamp::from_millis(cell(row, 8)?),
        updated_at: Timestamp::from_millis(cell(row, 9)?),
    })
}
