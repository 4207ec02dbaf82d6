//! Turns: whom messages were sent to lately that count against a cap.

use super::Tables;
use crate::Result;
use crate::backend::*;
use std::collections::BTreeMap;
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::frequency::{COUNTED_MAX, Caps, Turn, WEEK_MS};
use tidings_domain::id::MessageId;
use tidings_domain::purpose::Purpose;
use tidings_domain::time::Timestamp;

/// Every turn, by person and message.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns {
    rows: BTreeMap<(Realm, PhoneNumber, MessageId), Timestamp>,
}

impl Turns {
    /// Of a person, without one message's own.
    fn of(
        &self,
        realm: Realm,
        recipient: PhoneNumber,
        but: Option<MessageId>,
        now: Timestamp,
    ) -> Vec<Timestamp> {
        let all = self.rows.iter().filter(|((of, to, message), at)| {
            (*of, *to) == (realm, recipient) && Some(*message) != but && at.since_ms(now) > -WEEK_MS
        });
        let mut moments: Vec<Timestamp> = all.map(|(_, at)| *at).collect();
        moments.sort_unstable();
        moments.truncate(COUNTED_MAX);
        moments
    }

    /// Forgets what counts nowhere any more. `true` if there may be more of it.
    pub(super) fn sweep(&mut self, now: Timestamp, limit: usize) -> bool {
        let mut old: Vec<_> = self.rows.iter().filter(|(_, at)| at.since_ms(now) <= -WEEK_MS).collect();
        old.sort_by_key(|(_, at)| **at);
        let old: Vec<_> = old.into_iter().take(limit).map(|(key, _)| *key).collect();
        for key in &old {
            self.rows.remove(key);
        }
        old.len() == limit
    }
}

impl Tables {
    pub(super) fn turns(
        &mut self,
        people: Vec<(Realm, PhoneNumber)>,
        purposes: Vec<Purpose>,
        now: Timestamp,
    ) -> Result<Vec<Vec<Timestamp>>> {
        let of_one = |(realm, recipient)| {
            let mut moments = self.turns.of(realm, recipient, None, now);
            moments.extend(self.messages.waiting_for(realm, recipient, &purposes));
            moments.sort_unstable();
            moments.truncate(COUNTED_MAX);
            moments
        };
        Ok(people.into_iter().map(of_one).collect())
    }

    pub(super) fn take_turns(
        &mut self,
        asked: Vec<AskedTurn>,
        caps: Caps,
        now: Timestamp,
    ) -> Result<Vec<Turn>> {
        let mut take = |AskedTurn { realm, recipient, message }| {
            let others = self.turns.of(realm, recipient, Some(message), now);
            if caps.opens_at(&others, now) != Some(now) {
                return Turn::Full(others);
            }
            self.turns.rows.insert((realm, recipient, message), now);
            Turn::Taken
        };
        Ok(asked.into_iter().map(&mut take).collect())
    }
}
