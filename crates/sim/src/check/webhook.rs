//! What customers were told.

use super::Check;
use crate::ledger::{Did, Happened, Ms};
use crate::seen::At;
use std::collections::{BTreeMap, BTreeSet};
use tidings_domain::webhook::Verdict;

impl Check<'_> {
    /// P-23: the log of events has no gap, no double and no going back, and its reader skips nothing.
    pub(super) fn events(&mut self) {
        let mut found = Vec::new();
        let all: Vec<i64> = self.seen.view.events.iter().map(|event| event.id).collect();
        if all.windows(2).any(|pair| pair[0] >= pair[1]) {
            found.push(("P-23", "the feed is not in order".to_owned()));
        }
        let read = &self.seen.ledger.feed;
        if !all.starts_with(read) {
            found.push(("P-23", format!("a reader of the feed saw {} events, and not these", read.len())));
        }
        if self.seen.view.is_settled && read.is_empty() && all.len() > 20 {
            found.push(("P-23", "a reader of the feed saw nothing".to_owned()));
        }
        self.take(found);
    }

    /// P-23: each event is told to each endpoint that wants it, or listed as dead, or still to be told.
    pub(super) fn webhooks(&mut self) {
        let mut found = Vec::new();
        let mut took: BTreeMap<(usize, i64), Vec<At>> = BTreeMap::new();
        let mut gone = BTreeSet::new();
        let known: BTreeSet<i64> = self.seen.view.events.iter().map(|event| event.id).collect();
        for (place, (ms, what)) in self.seen.ledger.entries.iter().enumerate() {
            let Happened::Called { endpoint, event, did } = what else { continue };
            if !known.contains(event) {
                found.push(("P-23", format!("event {event} was told at {ms} ms and does not exist")));
            }
            match did {
                Did::Took | Did::TookSilently => {
                    took.entry((*endpoint, *event)).or_default().push(At { place, ms: *ms });
                }
                Did::Answered(410) => drop(gone.insert(*endpoint)),
                Did::Answered(_) | Did::Stalled | Did::Refused => {}
            }
        }
        let open: BTreeSet<(i64, i64)> = self
            .seen
            .view
            .messages
            .iter()
            .flat_map(|timeline| &timeline.deliveries)
            .map(|delivery| (delivery.event.key(), delivery.endpoint.key()))
            .collect();
        for (place, endpoint) in self.seen.plan.endpoints.iter().enumerate() {
            let id = self.seen.view.endpoints.iter().find(|known| known.url.ends_with(&format!("/{place}")));
            let Some(id) = id.map(|known| known.id.key()) else {
                found.push(("P-23", format!("endpoint {place} is no more")));
                continue;
            };
            for event in &self.seen.view.events {
                let wants = if endpoint.callback {
                    let wish = event.message.and_then(|message| self.seen.wish(message));
                    wish.is_some_and(|(wish, _)| wish.callback == Some(place))
                } else {
                    endpoint.kinds == 0 || endpoint.kinds & event.kind.bit() != 0
                };
                let told = took.contains_key(&(place, event.id));
                let is_open = open.contains(&(event.id, id))
                    || (event.message.is_none() && self.seen.view.statistics.deliveries.0 > 0);
                let is_dead = self.seen.view.attempts[place]
                    .iter()
                    .any(|attempt| attempt.event.key() == event.id && attempt.verdict == Verdict::Dead);
                if wants && !told && !is_open && !is_dead && !gone.contains(&place) {
                    found.push(("P-23", format!("event {} was never told to endpoint {place}", event.id)));
                }
                if told && !wants {
                    found.push(("P-23", format!("event {} was told to endpoint {place} unasked", event.id)));
                }
            }
        }
        let restarted = self.seen.processes.len() > 1;
        for ((place, event), times) in took.iter().filter(|(_, times)| times.len() > 1) {
            let silently = self.seen.ledger.entries.iter().any(|(_, what)| {
                matches!(what, Happened::Called { endpoint, event: of, did: Did::TookSilently } if endpoint == place && of == event)
            });
            let begun = self.seen.before(times[0], 60_000);
            // The lease of a call that is under way ends when the clock jumps.
            let jumped = self.jumped_between(begun, times[times.len() - 1]);
            if !restarted && !jumped && self.seen.store_was_well() && self.seen.frozen.is_empty() && !silently
            {
                found.push((
                    "P-23",
                    format!("event {event} was told to endpoint {place} {} times", times.len()),
                ));
            }
        }
        let mut bodies: BTreeMap<(usize, i64), u64> = BTreeMap::new();
        for (place, event, hash) in &self.seen.ledger.bodies {
            if *bodies.entry((*place, *event)).or_insert(*hash) != *hash {
                found.push(("P-23", format!("event {event} was told to endpoint {place} in other words")));
            }
        }
        self.take(found);
    }

    /// Whether anything happened between these two that a queue's order cannot be read through: work that is taken and
    /// neither out nor back, another process, another time.
    pub(super) fn disturbed_between(&self, from_ms: Ms, to_ms: Ms) -> bool {
        let within = |ms: Ms| from_ms <= ms && ms <= to_ms;
        let process = self.seen.processes.values();
        let mut turns = process.flat_map(|seen| [Some(seen.started), seen.ended.map(|(at, _)| at)]).flatten();
        turns.any(|at| within(at.ms))
            || self.seen.store_faults.iter().any(|(at, ..)| within(at.ms))
            // A clock that was ahead puts off what is scheduled, also for the processes after it.
            || self.seen.clock.iter().any(|(at, ahead_ms)| *ahead_ms != 0 && at.ms <= to_ms)
            || self.seen.frozen.iter().any(|(at, ms)| within(at.ms) || within(at.ms.saturating_sub(*ms)))
            || self.seen.stood.iter().any(|(at, _, ms)| within(at.ms) || within(at.ms.saturating_sub(*ms)))
    }
}
