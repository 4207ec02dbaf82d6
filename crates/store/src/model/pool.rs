//! Which sender of a pool a person has.

use super::Tables;
use crate::Result;
use crate::backend::*;
use std::collections::BTreeMap;
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::pool::{Last, Name, Picked};
use tidings_domain::sender::Sender;
use tidings_domain::time::Timestamp;

/// The senders that people have, and since when.
#[derive(Debug, Clone, Default)]
pub(super) struct Sticky {
    rows: BTreeMap<(Realm, Name, PhoneNumber), (Sender, Timestamp)>,
}

impl Sticky {
    /// Whether what was seen when senders were chosen is not so any more.
    pub(super) fn is_moved(&self, drafts: &[Draft]) -> bool {
        drafts.iter().any(|Draft { message, picked, .. }| {
            picked.as_ref().is_some_and(|picked| {
                let key = (message.realm(), picked.pool.clone(), message.recipient);
                self.rows.get(&key).map(|(sender, _)| *sender) != picked.seen
            })
        })
    }

    /// Notes the sender that somebody has from now on.
    pub(super) fn note(&mut self, realm: Realm, person: PhoneNumber, picked: &Picked, now: Timestamp) {
        self.rows.insert((realm, picked.pool.clone(), person), (picked.sender, now));
    }

    /// Forgets what was noted before then. `true` if there may be more of it.
    pub(super) fn sweep(&mut self, before: Timestamp, limit: usize) -> bool {
        let mut old: Vec<_> = self.rows.iter().filter(|(_, (_, at))| *at < before).collect();
        old.sort_by_key(|(_, (_, at))| *at);
        let old: Vec<_> = old.into_iter().take(limit).map(|(key, _)| key.clone()).collect();
        for key in &old {
            self.rows.remove(key);
        }
        old.len() == limit
    }
}

impl Tables {
    pub(super) fn last_senders(
        &mut self,
        pool: Name,
        senders: Vec<Sender>,
        people: Vec<(Realm, PhoneNumber)>,
    ) -> Result<Vec<Last>> {
        let of_one = |(realm, person)| Last {
            sent: self.sticky.rows.get(&(realm, pool.clone(), person)).copied(),
            wrote: self.conversations.wrote_last(realm, person, &senders),
        };
        Ok(people.into_iter().map(of_one).collect())
    }
}
