//! Turns: whom messages were sent to lately that count against a cap.

use super::Tables;
use crate::Result;
use crate::backend::*;
use std::collections::BTreeMap;
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::frequency::{self, Other, Turn, WEEK_MS};
use tidings_domain::id::MessageId;
use tidings_domain::purpose::Purpose;
use tidings_domain::time::Timestamp;

/// Every turn, by person and message.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns {
    rows: BTreeMap<(Realm, PhoneNumber, MessageId), Other>,
}

impl Turns {
    /// Of a person, without one message's own.
    fn of(
        &self,
        realm: Realm,
        recipient: PhoneNumber,
        but: Option<MessageId>,
        now: Timestamp,
    ) -> impl Iterator<Item = (i64, Other)> {
        let all = self.rows.iter().filter(move |((of, to, message), other)| {
            (*of, *to) == (realm, recipient) && Some(*message) != but && other.at.since_ms(now) > -WEEK_MS
        });
        all.map(|((.., message), other)| (message.key(), *other))
    }

    /// Forgets what counts nowhere any more. `true` if there may be more of it.
    pub(super) fn sweep(&mut self, now: Timestamp, limit: usize) -> bool {
        let mut old: Vec<_> =
            self.rows.iter().filter(|(_, other)| other.at.since_ms(now) <= -WEEK_MS).collect();
        old.sort_by_key(|(_, other)| other.at);
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
    ) -> Result<Vec<Vec<Other>>> {
        let of_one = |(realm, recipient)| {
            let taken = self.turns.of(realm, recipient, None, now);
            first_of(taken, self.messages.waiting_for(realm, recipient, &purposes))
        };
        Ok(people.into_iter().map(of_one).collect())
    }

    pub(super) fn take_turns(&mut self, asked: Vec<AskedTurn>, now: Timestamp) -> Result<Vec<Turn>> {
        let mut take = |AskedTurn { realm, recipient, message, purpose, bounds }| {
            let taken = self.turns.of(realm, recipient, Some(message), now);
            let others = first(taken.map(|(_, other)| other).collect());
            if frequency::opens_at(&bounds, &others, now) != Some(now) {
                return Turn::Full(others);
            }
            self.turns.rows.insert((realm, recipient, message), Other { at: now, purpose });
            Turn::Taken
        };
        Ok(asked.into_iter().map(&mut take).collect())
    }
}
