//! Messages of people: stored, told, and what they ask done.

use super::Tables;
use super::event::Subject;
use crate::Result;
use crate::backend::*;
use std::collections::BTreeMap;
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::event::Kind;
use tidings_domain::id::SuppressionId;
use tidings_domain::inbound::{Decision, decide};
use tidings_domain::keyword::Class;
use tidings_domain::reply::{Count, WINDOW_MS, is_one_more_allowed};
use tidings_domain::suppression::Reason;
use tidings_domain::time::Timestamp;

/// Replies to each number, as they are counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Replies {
    counts: BTreeMap<(Realm, PhoneNumber), Count>,
}

impl Replies {
    /// Counts a reply to the person, if there were not enough.
    fn count(&mut self, realm: Realm, person: PhoneNumber, now: Timestamp) -> bool {
        let key = (realm, person);
        let count = is_one_more_allowed(self.counts.get(&key).copied(), now);
        self.counts.extend(count.map(|count| (key, count)));
        count.is_some()
    }

    /// Forgets counts that count no more. `true` if there may be more of them.
    pub(super) fn sweep(&mut self, now: Timestamp, limit: usize) -> bool {
        let mut over: Vec<_> = self
            .counts
            .iter()
            .filter(|(_, count)| count.since <= now.plus_ms(-WINDOW_MS))
            .map(|(key, count)| (count.since, *key))
            .collect();
        over.sort_unstable();
        over.truncate(limit);
        for (_, key) in &over {
            self.counts.remove(key);
        }
        over.len() == limit
    }
}

impl Tables {
    pub(super) fn receive(&mut self, arrivals: Vec<Arrival>, now: Timestamp) -> Result<Advanced> {
        let mut out = Advanced::default();
        let fresh = self.events.not_known(arrivals, now, &mut out.ignored)?;
        for Arrival { inbound, ask } in fresh {
            self.events.publish(
                &self.endpoints,
                Subject::Inbound(&inbound),
                inbound.event(Kind::Received),
                &mut out.told,
            );
            self.events.keep_inbound(inbound.clone());
            if let Some(ask) = ask {
                self.follow(&inbound, ask, now, &mut out);
            }
        }
        Ok(out)
    }

    /// Does what is asked.
    fn follow(&mut self, inbound: &Inbound, ask: Ask, now: Timestamp, out: &mut Advanced) {
        let (realm, person, actor) = (inbound.realm, ask.person, inbound.actor());
        let says = |tables: &mut Self, kind, out: &mut Advanced| {
            let subject = Subject::Inbound(inbound);
            tables.events.publish(&tables.endpoints, subject, inbound.event(kind), &mut out.told);
        };
        match decide(inbound.keyword, self.suppressions.in_force(realm, person, now)) {
            Decision::Keep => return,
            Decision::Suppress => {
                let id = SuppressionId::from_key(self.next_id(now));
                self.add_suppression(inbound.opt_out(id, &ask, now), &actor);
                says(self, Kind::OptedOut, out);
                let ended = self.end_waiting_for(realm, person, Reason::OptedOut, ENDED_BY_OPT_OUT_MAX, now);
                out.add(Advanced { more: false, ..ended });
            }
            Decision::Lift => {
                self.lift_by_person(inbound, &ask, &actor, now);
                says(self, Kind::OptedIn, out);
            }
            Decision::Review => return self.open_inbound_review(inbound, &ask, now),
            Decision::Help => {}
        }
        // Whom somebody of the account does not want to be sent to gets no confirmation that messages come again.
        let may_be_sent =
            inbound.keyword == Class::Stop || self.suppressions.in_force(realm, person, now).is_none();
        if let Some(reply) = ask.reply.filter(|_| may_be_sent)
            && self.replies.count(realm, person, now)
        {
            self.enqueue(reply, now, out);
        }
    }
}
