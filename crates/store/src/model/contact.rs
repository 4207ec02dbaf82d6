//! Contacts.

use super::{Tables, page_of};
use crate::backend::*;
use crate::{Error, Result};
use std::collections::BTreeMap;
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::contact::{Change, Contact, Group, ZoneName};
use tidings_domain::id::ContactId;
use tidings_domain::time::Timestamp;

/// Every contact. Who has a number and who is in a group is found by looking at all.
#[derive(Debug, Clone, Default)]
pub(super) struct Contacts {
    rows: BTreeMap<(Realm, ContactId), Contact>,
}

impl Contacts {
    fn of(&self, realm: Realm) -> impl DoubleEndedIterator<Item = &Contact> {
        self.rows.values().filter(move |contact| contact.realm == realm)
    }

    pub(super) fn holder(&self, realm: Realm, number: PhoneNumber) -> Option<&Contact> {
        self.of(realm).find(|contact| contact.numbers.contains(&number))
    }

    pub(super) fn put(&mut self, contact: Contact) {
        self.rows.insert((contact.realm, contact.id), contact);
    }

    /// Saves it, unless a number of it is another's.
    fn save(&mut self, contact: Contact) -> Saved {
        let other = |number: &PhoneNumber| {
            let whose = self.holder(contact.realm, *number)?.id;
            (whose != contact.id).then_some((*number, whose))
        };
        if let Some((number, whose)) = contact.numbers.iter().find_map(other) {
            return Saved::Taken(number, whose);
        }
        self.put(contact.clone());
        Saved::Done(Box::new(contact))
    }
}

impl Tables {
    pub(super) fn create_contact(&mut self, contact: Contact, actor: Actor) -> Result<Saved> {
        if let Err(excess) = contact.details.check() {
            return Ok(Saved::TooMuch(excess));
        }
        let (id, at) = (contact.id, contact.created_at);
        let is_known = self.contacts.rows.contains_key(&(contact.realm, id));
        let mut trial = self.contacts.clone();
        let saved = trial.save(contact);
        if let Saved::Done(_) = saved {
            if is_known {
                return Err(Error::Conflict(format!("there is a contact {id} already")));
            }
            self.contacts = trial;
            self.write_audit(&actor, "contact.create", id.to_string(), String::new(), at);
        }
        Ok(saved)
    }

    pub(super) fn change_contact(
        &mut self,
        realm: Realm,
        id: ContactId,
        change: Change,
        actor: Actor,
        now: Timestamp,
    ) -> Result<Option<Saved>> {
        let Some(before) = self.contacts.rows.get(&(realm, id)).cloned() else { return Ok(None) };
        let after = match before.changed(&change, now) {
            Ok(after) => after,
            Err(excess) => return Ok(Some(Saved::TooMuch(excess))),
        };
        let is_changed = after != before;
        let saved = self.contacts.save(after);
        if is_changed && matches!(saved, Saved::Done(_)) {
            self.write_audit(&actor, "contact.change", id.to_string(), String::new(), now);
        }
        Ok(Some(saved))
    }

    pub(super) fn delete_contact(
        &mut self,
        realm: Realm,
        id: ContactId,
        actor: Actor,
        now: Timestamp,
    ) -> Result<bool> {
        let is_gone = self.contacts.rows.remove(&(realm, id)).is_some();
        if is_gone {
            self.write_audit(&actor, "contact.delete", id.to_string(), String::new(), now);
        }
        Ok(is_gone)
    }

    pub(super) fn contact(&mut self, realm: Realm, id: ContactId) -> Result<Option<Contact>> {
        Ok(self.contacts.rows.get(&(realm, id)).cloned())
    }

    pub(super) fn contacts(
        &mut self,
        realm: Realm,
        filter: ContactFilter,
        page: Page,
    ) -> Result<Paged<Contact>> {
        let before = page.before.unwrap_or(i64::MAX);
        let fits = |contact: &&Contact| {
            contact.id.key() < before
                && filter.number.is_none_or(|number| contact.numbers.contains(&number))
                && filter.group.as_ref().is_none_or(|group| contact.details.groups.contains(group))
        };
        let found = self.contacts.of(realm).rev().filter(fits).cloned();
        Ok(page_of(found, page, |contact| contact.id.key()))
    }

    pub(super) fn groups(&mut self, realm: Realm) -> Result<Vec<(Group, u64)>> {
        let mut counts = BTreeMap::new();
        for group in self.contacts.of(realm).flat_map(|contact| &contact.details.groups) {
            *counts.entry(group.clone()).or_default() += 1;
        }
        Ok(counts.into_iter().collect())
    }

    pub(super) fn known_numbers(&mut self, realm: Realm, numbers: Vec<PhoneNumber>) -> Result<u64> {
        let known = numbers.into_iter().filter(|number| self.contacts.holder(realm, *number).is_some());
        Ok(known.count() as u64)
    }

    pub(super) fn stated_zones(
        &mut self,
        people: Vec<(Realm, PhoneNumber)>,
    ) -> Result<Vec<Option<ZoneName>>> {
        let of_one = |(realm, number)| self.contacts.holder(realm, number)?.details.zone.clone();
        Ok(people.into_iter().map(of_one).collect())
    }
}
