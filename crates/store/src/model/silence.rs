//! Silences: how many messages in a row did not reach a number.

use super::Tables;
use crate::backend::*;
use std::collections::BTreeMap;
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::id::SuppressionId;
use tidings_domain::message::Message;
use tidings_domain::reachability::{Policy, Sign, Silence};
use tidings_domain::time::Timestamp;

/// All of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Silences {
    rows: BTreeMap<(Realm, PhoneNumber), Silence>,
}

impl Silences {
    /// Forgets those in which nothing came back since. `true` if there may be more of them.
    pub(super) fn sweep(&mut self, before: Timestamp, limit: usize) -> bool {
        let old = self.rows.iter().filter(|(_, silence)| silence.last_at < before);
        let mut old: Vec<_> =
            old.map(|((realm, number), silence)| (silence.last_at, *number, *realm)).collect();
        old.sort_unstable();
        old.truncate(limit);
        for (_, number, realm) in &old {
            self.rows.remove(&(*realm, *number));
        }
        old.len() == limit
    }
}

impl Tables {
    /// Notes what the end of a message says of the phone.
    pub(super) fn note_sign(&mut self, message: &Message, sign: Sign, policy: &Policy, now: Timestamp) {
        let (realm, recipient) = (message.realm(), message.recipient);
        match sign {
            Sign::Reached => {
                if self.silences.rows.remove(&(realm, recipient)).is_some() {
                    self.lift_dead(|entry| entry.realm == realm, recipient, &delivered(message), now);
                }
            }
            Sign::Unreached => {
                let known = self.silences.rows.get(&(realm, recipient)).copied();
                let silence = Silence::with_one_more(known, now);
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
