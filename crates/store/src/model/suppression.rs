//! The suppression list. Nothing is ever overwritten: an entry that gives way is lifted with the reason, and stays as
//! history.

use super::{Tables, page_of};
use crate::backend::*;
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::consent::OptOut;
use tidings_domain::failure::Failure;
use tidings_domain::id::{AuditId, SuppressionId};
use tidings_domain::message::Message;
use tidings_domain::suppression::{REPLACED_BY_OPT_OUT, Reason, default_end};
use tidings_domain::time::Timestamp;

/// Every entry, and which of each number's is not lifted.
#[derive(Debug, Clone, Default)]
pub(super) struct Suppressions {
    rows: BTreeMap<SuppressionId, Suppression>,
    standing: BTreeMap<(Realm, PhoneNumber), SuppressionId>,
    /// How often it was changed.
    version: i64,
}

impl Suppressions {
    /// How often it was changed.
    pub(super) const fn version(&self) -> i64 {
        self.version
    }

    /// Why this number is not sent to, if it is not. An entry past its end is not in force.
    pub(super) fn in_force(&self, realm: Realm, recipient: PhoneNumber, now: Timestamp) -> Option<Reason> {
        let entry = self.standing(realm, recipient)?;
        entry.expires_at.is_none_or(|end| end > now).then_some(entry.reason)
    }

    /// When this person opted out.
    pub(super) fn opt_outs(&self, realm: Realm, recipient: PhoneNumber) -> Vec<OptOut> {
        let of_one = self.rows.values().filter(|entry| (entry.realm, entry.recipient) == (realm, recipient));
        of_one.filter_map(Suppression::opt_out).collect()
    }

    fn standing(&self, realm: Realm, recipient: PhoneNumber) -> Option<&Suppression> {
        self.rows.get(self.standing.get(&(realm, recipient))?)
    }

    fn end(&mut self, id: SuppressionId, at: Timestamp, why: String) {
        let Some(entry) = self.rows.get_mut(&id) else { return };
        entry.lifted = Some((at, why));
        self.standing.remove(&(entry.realm, entry.recipient));
        self.version += 1;
    }
}

/// What becomes of an entry, when another stands for the number.
enum Place {
    /// It is not needed.
    Taken,
    /// It is added.
    Free,
    /// It is added, and the other ends then, for this reason.
    Instead(Timestamp, String),
}

fn place(standing: Option<&Suppression>, entry: &Suppression) -> Place {
    let Some(known) = standing else { return Place::Free };
    let now = entry.created_at;
    match known.expires_at.filter(|end| *end <= now) {
        Some(end) => Place::Instead(end, "expired".to_owned()),
        None if known.reason.strength() >= entry.reason.strength() => Place::Taken,
        None => Place::Instead(now, format!("replaced by {}", entry.reason.as_str())),
    }
}

impl Tables {
    pub(super) fn suppressed(
        &mut self,
        recipients: Vec<(Realm, PhoneNumber)>,
        now: Timestamp,
    ) -> Result<Vec<Option<Reason>>> {
        let found = recipients.into_iter();
        Ok(found.map(|(realm, recipient)| self.suppressions.in_force(realm, recipient, now)).collect())
    }

    pub(super) fn suppress(&mut self, entries: Vec<Suppression>, actor: Actor) -> Result<Vec<Suppression>> {
        let mut ids = BTreeSet::new();
        let mut standing: BTreeMap<(Realm, PhoneNumber), &Suppression> = BTreeMap::new();
        for entry in &entries {
            let key = (entry.realm, entry.recipient);
            let known = standing
                .get(&key)
                .copied()
                .or_else(|| self.suppressions.standing(entry.realm, entry.recipient));
            if matches!(place(known, entry), Place::Taken) {
                continue;
            }
            if self.suppressions.rows.contains_key(&entry.id) || !ids.insert(entry.id) {
                return Err(Error::Conflict(format!("there is a suppression {} already", entry.id)));
            }
            standing.insert(key, entry);
        }
        Ok(entries.into_iter().map(|entry| self.add_suppression(entry, &actor)).collect())
    }

    /// Adds an entry unless one in force is as strong, and gives what stands then.
    pub(super) fn add_suppression(&mut self, entry: Suppression, actor: &Actor) -> Suppression {
        let entry = Suppression { lifted: None, ..entry };
        if let Some(known) = self.suppressions.standing(entry.realm, entry.recipient) {
            let id = known.id;
            match place(Some(known), &entry) {
                Place::Taken => return known.clone(),
                Place::Free => {}
                Place::Instead(at, why) => self.suppressions.end(id, at, why),
            }
        }
        self.suppressions.standing.insert((entry.realm, entry.recipient), entry.id);
        self.suppressions.rows.insert(entry.id, entry.clone());
        self.suppressions.version += 1;
        let detail = format!("{} {}", entry.reason.as_str(), entry.source);
        self.write_audit(actor, "suppression.add", entry.id.to_string(), detail, entry.created_at);
        entry
    }

    /// Puts the recipient on the list because a carrier said so.
    pub(super) fn suppress_for(&mut self, message: &Message, failure: &Failure, now: Timestamp) {
        let reason = Reason::of(failure.class);
        let entry = Suppression {
            id: SuppressionId::from_key(self.next_id(now)),
            realm: message.realm(),
            recipient: message.recipient,
            reason,
            source: format!("{} {}", message.id, failure.code),
            created_at: now,
            expires_at: default_end(reason, now),
            lifted: None,
        };
        let actor = Actor { account: message.account, who: "carrier".to_owned() };
        self.add_suppression(entry, &actor);
    }

    pub(super) fn lift(
        &mut self,
        realm: Realm,
        recipient: PhoneNumber,
        reason: String,
        actor: Actor,
        now: Timestamp,
    ) -> Result<Option<Suppression>> {
        if self.suppressions.in_force(realm, recipient, now).is_none() {
            return Ok(None);
        }
        let Some(known) = self.suppressions.standing(realm, recipient) else { return Ok(None) };
        let id = known.id;
        self.suppressions.end(id, now, reason.clone());
        self.write_audit(&actor, "suppression.lift", id.to_string(), reason, now);
        Ok(self.suppressions.rows.get(&id).cloned())
    }

    pub(super) fn listed(&mut self, after: AuditId, limit: usize) -> Result<Listed> {
        let lines = self.audit_after(after);
        let changes = lines.filter_map(|(id, line)| {
            let is_change = matches!(&*line.action, "suppression.add" | "suppression.lift");
            let entry = self.suppressions.rows.get(&line.subject.parse().ok()?)?;
            is_change.then(|| (id, entry.clone()))
        });
        let changes: Vec<_> = changes.take(limit).collect();
        let newest = self.audit_after(after).last().map_or(after, |(id, _)| id);
        let upto = changes.last().filter(|_| changes.len() == limit).map_or(newest, |(id, _)| *id);
        Ok(Listed { is_known: after.key() == 0 || self.is_audited(after), changes, upto })
    }

    /// Lifts the entry of somebody who asks for messages again. One of somebody of the account that it had replaced
    /// counts again.
    pub(super) fn lift_by_person(&mut self, inbound: &Inbound, ask: &Ask, actor: &Actor, now: Timestamp) {
        let Some(known) = self.suppressions.standing(inbound.realm, ask.person).cloned() else { return };
        let why = inbound.lifting(ask);
        self.suppressions.end(known.id, now, why.clone());
        self.write_audit(actor, "suppression.lift", known.id.to_string(), why, now);
        let is_replaced = |entry: &&Suppression| {
            let lifted = entry.lifted.as_ref();
            (entry.realm, entry.recipient) == (inbound.realm, ask.person)
                && lifted.is_some_and(|(at, why)| *at == known.created_at && why == REPLACED_BY_OPT_OUT)
        };
        let replaced =
            self.suppressions.rows.range(..known.id).rev().map(|(_, entry)| entry).find(is_replaced);
        if let Some(replaced) = replaced.filter(|replaced| replaced.counts_again(now)).cloned() {
            let id = SuppressionId::from_key(self.next_id(now));
            self.add_suppression(Suppression { id, created_at: now, lifted: None, ..replaced }, actor);
        }
    }

    pub(super) fn suppressions(
        &mut self,
        realm: Realm,
        recipient: Option<PhoneNumber>,
        include_lifted: bool,
        page: Page,
    ) -> Result<Paged<Suppression>> {
        let before = SuppressionId::from_key(page.before.unwrap_or(i64::MAX));
        let all = self.suppressions.rows.range(..before).rev().map(|(_, entry)| entry);
        let found = all.filter(|entry| {
            entry.realm == realm
                && recipient.is_none_or(|recipient| entry.recipient == recipient)
                && (include_lifted || entry.lifted.is_none())
        });
        Ok(page_of(found.cloned(), page, |entry| entry.id.key()))
    }
}
