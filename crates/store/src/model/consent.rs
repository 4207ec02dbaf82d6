//! The ledger of what people agreed to. Entries are only ever added.

use super::{Tables, page_of};
use crate::backend::*;
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::consent::{self, Consent, History};
use tidings_domain::id::ConsentId;
use tidings_domain::time::Timestamp;

/// Every entry.
#[derive(Debug, Clone, Default)]
pub(super) struct Consents {
    rows: BTreeMap<ConsentId, Consent>,
}

impl Tables {
    pub(super) fn record_consents(
        &mut self,
        entries: Vec<Consent>,
        actor: Actor,
        now: Timestamp,
    ) -> Result<()> {
        self.add_consents(entries, "consent.record", &actor, now)
    }

    pub(super) fn import_consents(
        &mut self,
        entries: Vec<Consent>,
        actor: Actor,
        now: Timestamp,
    ) -> Result<u64> {
        let ledger: Vec<Consent> = self.consents.rows.values().cloned().collect();
        let new = consent::new_among(&entries, &ledger);
        let added = new.len() as u64;
        self.add_consents(new, "consent.import", &actor, now)?;
        Ok(added)
    }

    fn add_consents(
        &mut self,
        entries: Vec<Consent>,
        action: &'static str,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<()> {
        let mut ids = BTreeSet::new();
        let is_known = |entry: &&Consent| self.consents.rows.contains_key(&entry.id) || !ids.insert(entry.id);
        if let Some(known) = entries.iter().find(is_known) {
            return Err(Error::Conflict(format!("there is a consent {} already", known.id)));
        }
        if let Some(first) = entries.first() {
            let detail = format!("{} entries", entries.len());
            self.write_audit(actor, action, first.id.to_string(), detail, now);
        }
        self.consents.rows.extend(entries.into_iter().map(|entry| (entry.id, entry)));
        Ok(())
    }

    pub(super) fn consents(
        &mut self,
        realm: Realm,
        recipient: PhoneNumber,
        page: Page,
    ) -> Result<Paged<Consent>> {
        let before = ConsentId::from_key(page.before.unwrap_or(i64::MAX));
        let all = self.consents.rows.range(..before).rev().map(|(_, entry)| entry);
        let found = all.filter(|entry| (entry.realm, entry.recipient) == (realm, recipient));
        Ok(page_of(found.cloned(), page, |entry| entry.id.key()))
    }

    pub(super) fn said(&mut self, recipients: Vec<(Realm, PhoneNumber)>) -> Result<Vec<History>> {
        Ok(recipients.into_iter().map(|(realm, recipient)| self.said_by(realm, recipient)).collect())
    }

    pub(super) fn said_by(&self, realm: Realm, recipient: PhoneNumber) -> History {
        let all = self.consents.rows.values().rev();
        let ledger = all.filter(|entry| (entry.realm, entry.recipient) == (realm, recipient));
        History { ledger: ledger.cloned().collect(), opt_outs: self.suppressions.opt_outs(realm, recipient) }
    }
}
