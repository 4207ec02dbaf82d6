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
use tidings_domain::programme;
use tidings_domain::reachability::{Policy, Sign, Silence};
use tidings_domain::suppression::{Fate, Listing, REPLACED_BY_OPT_OUT, Reason, default_end};
use tidings_domain::time::Timestamp;

/// Whose entry, and about which programme, or about everything.
type Place = (Realm, PhoneNumber, Option<programme::Name>);

fn place_of(entry: &Suppression) -> Place {
    (entry.realm, entry.recipient, entry.programme.clone())
}

/// Every entry, and which of each place is not lifted.
#[derive(Debug, Clone, Default)]
pub(super) struct Suppressions {
    rows: BTreeMap<SuppressionId, Suppression>,
    unlifted: BTreeMap<Place, SuppressionId>,
    /// What programmes are called.
    names: programme::Names,
    /// How often it was changed.
    version: i64,
}

impl Suppressions {
    /// How often it was changed.
    pub(super) const fn version(&self) -> i64 {
        self.version
    }

    /// How this number stands on the list.
    pub(super) fn standing(&self, realm: Realm, recipient: PhoneNumber, now: Timestamp) -> Listing {
        Listing::of(self.of_one(realm, recipient), &self.names, now)
    }

    /// From here on programmes are called so.
    pub(super) fn set_names(&mut self, names: programme::Names) {
        self.names = names;
    }

    /// The entries of a number that are not lifted, in the order of their programmes: the one about everything first.
    fn of_one(&self, realm: Realm, recipient: PhoneNumber) -> impl Iterator<Item = &Suppression> {
        let from = (realm, recipient, None);
        let places = self
            .unlifted
            .range(from..)
            .take_while(move |((of, whose, _), _)| (*of, *whose) == (realm, recipient));
        places.filter_map(|(_, id)| self.rows.get(id))
    }

    /// When this person opted out.
    pub(super) fn opt_outs(&self, realm: Realm, recipient: PhoneNumber) -> Vec<OptOut> {
        let of_one = self.rows.values().filter(|entry| (entry.realm, entry.recipient) == (realm, recipient));
        of_one.filter_map(Suppression::opt_out).collect()
    }

    /// The opt-outs of this person that ended and [await](Suppression::awaits_start) the person's START.
    pub(super) fn awaiting_start(&self, realm: Realm, recipient: PhoneNumber) -> Vec<SuppressionId> {
        let of_one = self.rows.values().filter(|entry| (entry.realm, entry.recipient) == (realm, recipient));
        of_one.filter(|entry| entry.awaits_start()).map(|entry| entry.id).collect()
    }

    fn unlifted(&self, place: &Place) -> Option<&Suppression> {
        self.rows.get(self.unlifted.get(place)?)
    }

    fn end(&mut self, id: SuppressionId, at: Timestamp, why: String) {
        let Some(entry) = self.rows.get_mut(&id) else { return };
        entry.lifted = Some((at, why));
        self.unlifted.remove(&place_of(entry));
        self.version += 1;
    }
}

/// How many messages in a row did not reach a number.
#[derive(Debug, Clone, Default)]
pub(super) struct Silences {
    rows: BTreeMap<(Realm, PhoneNumber), Silence>,
}

impl Silences {
    /// Forgets those that are over. `true` if there may be more of them.
    pub(super) fn sweep(&mut self, now: Timestamp, limit: usize) -> bool {
        let old = self.rows.iter().filter(|(_, silence)| silence.until < now);
        let mut old: Vec<_> =
            old.map(|((realm, number), silence)| (silence.until, *number, *realm)).collect();
        old.sort_unstable();
        old.truncate(limit);
        for (_, number, realm) in &old {
            self.rows.remove(&(*realm, *number));
        }
        old.len() == limit
    }
}

impl Tables {
    pub(super) fn suppressed(
        &mut self,
        recipients: Vec<(Realm, PhoneNumber)>,
        now: Timestamp,
    ) -> Result<Vec<Listing>> {
        let found = recipients.into_iter();
        Ok(found.map(|(realm, recipient)| self.suppressions.standing(realm, recipient, now)).collect())
    }

    pub(super) fn suppress(&mut self, entries: Vec<Suppression>, actor: Actor) -> Result<Vec<Suppression>> {
        let mut ids = BTreeSet::new();
        let mut standing: BTreeMap<Place, Suppression> = BTreeMap::new();
        for entry in &entries {
            let place = place_of(entry);
            let known = standing.get(&place).or_else(|| self.suppressions.unlifted(&place));
            let Fate::Added { entry, .. } = entry.clone().beside(known.cloned()) else { continue };
            if self.suppressions.rows.contains_key(&entry.id) || !ids.insert(entry.id) {
                return Err(Error::Conflict(format!("there is a suppression {} already", entry.id)));
            }
            standing.insert(place, entry);
        }
        Ok(entries.into_iter().map(|entry| self.add_suppression(entry, &actor)).collect())
    }

    /// Adds an entry, as it is [beside](Suppression::beside) the one that is there, and gives what stands then.
    pub(super) fn add_suppression(&mut self, entry: Suppression, actor: &Actor) -> Suppression {
        let known = self.suppressions.unlifted(&place_of(&entry)).cloned();
        let (entry, ended) = match entry.beside(known) {
            Fate::Taken(known) => return known,
            Fate::Added { entry, ended } => (entry, ended),
        };
        if let Some((known, at, why)) = ended {
            self.suppressions.end(known.id, at, why);
        }
        self.suppressions.unlifted.insert(place_of(&entry), entry.id);
        self.suppressions.rows.insert(entry.id, entry.clone());
        self.suppressions.version += 1;
        let detail = format!("{} {}", entry.reason.as_str(), entry.source);
        self.write_audit(actor, "suppression.add", entry.id.to_string(), detail, entry.created_at);
        if entry.reason.is_lifted_by_life() {
            let place = (entry.realm, entry.recipient);
            let known = self.silences.rows.get(&place).copied();
            let silence = Silence::of_entry(known, entry.created_at, entry.expires_at);
            self.silences.rows.insert(place, silence);
        }
        entry
    }

    /// Puts the recipient on the list because a carrier said so.
    pub(super) fn suppress_for(&mut self, message: &Message, failure: &Failure, now: Timestamp) {
        let reason = Reason::of(failure.class);
        let entry = Suppression {
            id: SuppressionId::from_key(self.next_id(now)),
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
        self.add_suppression(entry, &actor);
    }

    pub(super) fn lift(
        &mut self,
        realm: Realm,
        recipient: PhoneNumber,
        programme: Option<programme::Name>,
        reason: String,
        actor: Actor,
        now: Timestamp,
    ) -> Result<Option<Suppression>> {
        let known = self.suppressions.unlifted(&(realm, recipient, programme));
        let Some(known) = known.filter(|known| known.is_in_force(now)) else { return Ok(None) };
        let id = known.id;
        self.suppressions.end(id, now, reason.clone());
        self.write_audit(&actor, "suppression.lift", id.to_string(), reason, now);
        if self.suppressions.rows.get(&id).is_some_and(|entry| entry.reason.is_lifted_by_life()) {
            self.silences.rows.remove(&(realm, recipient));
        }
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

    /// Lifts the entries of somebody who asks for messages again. One of somebody of the account that such an entry had
    /// replaced counts again.
    pub(super) fn lift_by_person(&mut self, inbound: &Inbound, ask: &Ask, actor: &Actor, now: Timestamp) {
        let known = self.suppressions.of_one(inbound.realm, ask.person);
        let lifts = known.filter(|entry| entry.is_in_force(now) && ask.lifts(entry));
        let mut known: Vec<Suppression> = lifts.cloned().collect();
        known.sort_unstable_by_key(|entry| entry.id);
        for known in known {
            self.lift_one_by_person(&known, inbound.lifting(ask), actor, now);
        }
        if ask.joining.is_some() {
            return;
        }
        for id in self.suppressions.awaiting_start(inbound.realm, ask.person) {
            let Some(entry) = self.suppressions.rows.get_mut(&id) else { continue };
            let Some((at, why)) = entry.started(&inbound.lifting(ask)) else { continue };
            entry.lifted = Some((at, why.clone()));
            self.write_audit(actor, "suppression.start", id.to_string(), why, now);
        }
    }

    /// Lifts the entries of a number that is alive.
    pub(super) fn lift_dead(
        &mut self,
        concerns: impl Fn(&Suppression) -> bool,
        recipient: PhoneNumber,
        why: &str,
        now: Timestamp,
    ) {
        let all = self.suppressions.rows.values().filter(|entry| {
            entry.recipient == recipient
                && entry.reason.is_lifted_by_life()
                && entry.is_in_force(now)
                && concerns(entry)
        });
        let found: Vec<(SuppressionId, Realm)> = all.map(|entry| (entry.id, entry.realm)).collect();
        for (id, realm) in found {
            self.suppressions.end(id, now, why.to_owned());
            self.write_audit(&reachability(realm), "suppression.lift", id.to_string(), why.to_owned(), now);
        }
    }

    fn lift_one_by_person(&mut self, known: &Suppression, why: String, actor: &Actor, now: Timestamp) {
        self.suppressions.end(known.id, now, why.clone());
        self.write_audit(actor, "suppression.lift", known.id.to_string(), why, now);
        let is_replaced = |entry: &&Suppression| {
            let lifted = entry.lifted.as_ref();
            place_of(entry) == place_of(known)
                && lifted.is_some_and(|(at, why)| *at == known.created_at && why == REPLACED_BY_OPT_OUT)
        };
        let replaced =
            self.suppressions.rows.range(..known.id).rev().map(|(_, entry)| entry).find(is_replaced);
        if let Some(replaced) = replaced.filter(|replaced| replaced.counts_again(now)).cloned() {
            let id = SuppressionId::from_key(self.next_id(now));
            self.add_suppression(Suppression { id, created_at: now, lifted: None, ..replaced }, actor);
        }
    }

    pub(super) fn programmes_listed(&mut self, now: Timestamp) -> Result<ProgrammesListed> {
        let mut found = ProgrammesListed::new();
        for entry in self.suppressions.rows.values().filter(|entry| entry.is_in_force(now)) {
            if let Some(name) = &entry.programme {
                *found.entry((name.clone(), entry.realm)).or_default() += 1;
            }
        }
        Ok(found)
    }

    pub(super) fn suppressions(
        &mut self,
        realm: Realm,
        filter: SuppressionFilter,
        page: Page,
    ) -> Result<Paged<Suppression>> {
        let SuppressionFilter { recipient, programme, include_lifted } = filter;
        let before = SuppressionId::from_key(page.before.unwrap_or(i64::MAX));
        let all = self.suppressions.rows.range(..before).rev().map(|(_, entry)| entry);
        let found = all.filter(|entry| {
            entry.realm == realm
                && recipient.is_none_or(|recipient| entry.recipient == recipient)
                && (programme.is_none() || entry.programme == programme)
                && (include_lifted || entry.lifted.is_none())
        });
        Ok(page_of(found.cloned(), page, |entry| entry.id.key()))
    }

    /// Notes what the end of a message says of the phone.
    pub(super) fn note_sign(
        &mut self,
        message: &Message,
        sign: Sign,
        policy: Option<&Policy>,
        now: Timestamp,
    ) {
        let (realm, recipient) = (message.realm(), message.recipient);
        match sign {
            Sign::Reached => {
                if self.silences.rows.remove(&(realm, recipient)).is_some() {
                    self.lift_dead(|entry| entry.realm == realm, recipient, &delivered(message), now);
                }
            }
            Sign::Unreached => {
                let Some(policy) = policy else { return };
                let known = self.silences.rows.get(&(realm, recipient)).copied();
                let silence = policy.one_more(known, now);
                self.silences.rows.insert((realm, recipient), silence);
                if policy.is_dead(&silence) {
                    let id = SuppressionId::from_key(self.next_id(now));
                    let (entry, actor) = of_dead(id, message, &silence, policy, now);
                    self.add_suppression(entry, &actor);
                }
            }
        }
    }

    /// Somebody wrote from there: the number is alive, for every account.
    pub(super) fn heard(&mut self, inbound: &Inbound, now: Timestamp) {
        let Some(person) = inbound.person() else { return };
        let environment = inbound.realm.environment;
        self.silences.rows.retain(|(realm, number), _| (realm.environment, *number) != (environment, person));
        self.lift_dead(|entry| entry.realm.environment == environment, person, &written(inbound), now);
    }
}
