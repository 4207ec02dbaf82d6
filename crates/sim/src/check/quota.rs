//! The limits of senders' days: no more is submitted in a day than a limit, what is held did not fit, and what is not held by
//! a limit is not said to be.
//!
//! Which day it was when a message was asked for the last time is known to its process only. From outside it is one of those
//! that the process's clock may have shown since its wait for a socket may have begun, a second at most; a process that stood
//! still may have asked before. No world has answers to a person's own words, which go in any case.

use super::{Check, DAILY_LIMIT, LOST_MS};
use crate::fault::Fault;
use crate::ledger::{Happened, Ms, StoreFault};
use crate::seen::At;
use std::collections::BTreeSet;

/// What is counted may not be with its carrier yet, or not be given back yet, for so long where nothing is wrong.
const UNDER_WAY_MS: Ms = 6_000;

/// What went, or did not, that is counted by one limit.
#[derive(Debug, Default)]
pub(super) struct Went {
    /// For each submission when it came, and the first and the last day on which it may be counted.
    submitted: Vec<(Ms, i64, i64)>,
    /// When something certainly did not go.
    unsent: Vec<Ms>,
}

impl Check<'_> {
    /// What went, by limit of the day.
    pub(super) fn went(&self) -> Vec<Went> {
        let mut went: Vec<Went> = self.seen.plan.dailies.iter().map(|_| Went::default()).collect();
        for (n, of) in self.seen.ledger.submissions.iter().enumerate() {
            let Some(place) = self.daily_of(&of.sender) else { continue };
            let (earliest_ms, latest_ms) = self.asked_between(n);
            let zone = self.seen.plan.dailies[place].zone;
            went[place].submitted.push((of.at_ms, zone.day(earliest_ms), zone.day(latest_ms)));
        }
        for (ms, what) in &self.seen.ledger.entries {
            if let Happened::Unsent { message, .. } = what
                && let Some(timeline) = self.seen.messages.get(message)
                && let Some(place) = self.daily_of(&timeline.stored.message.sender.to_string())
            {
                went[place].unsent.push(*ms);
            }
        }
        went
    }

    /// The limit of a sender, if it has one: its place.
    pub(super) fn daily_of(&self, sender: &str) -> Option<usize> {
        self.seen.plan.senders.iter().find(|known| known.number == sender)?.daily
    }

    /// What the clock of its process may have shown when this submission was asked for the last time whether it may go.
    fn asked_between(&self, n: usize) -> (i64, i64) {
        let (process, at) = (self.seen.ledger.submissions[n].process, self.seen.submissions[n].at);
        let is_close = |end: At| end.ms <= at.ms && at.ms - end.ms <= 200 + self.slack.write_ms;
        let frozen = self.seen.frozen.iter().filter(|(end, _)| is_close(*end)).map(|(_, ms)| *ms);
        let stood = self.seen.stood.iter().filter(|(end, of, _)| *of == process && is_close(*end));
        let still_ms: Ms = frozen.chain(stood.map(|(.., ms)| *ms)).sum();
        let from_ms = at.ms.saturating_sub(self.waits_ms() + still_ms);
        let before = self.seen.clock.iter().rev().find(|(then, _)| then.ms < from_ms);
        let since = self.seen.clock.iter().filter(|(then, _)| then.ms >= from_ms && *then <= at);
        let least =
            since.map(|(_, ahead_ms)| *ahead_ms).fold(before.map_or(0, |(_, ahead)| *ahead), i64::min);
        (self.seen.plan.begin_ms + from_ms as i64 + least, self.seen.clock_at_most(process, at))
    }

    /// Looks at every limit of a day.
    pub(super) fn days(&mut self) {
        let mut found = Vec::new();
        for (went, daily) in self.went.iter().zip(&self.seen.plan.dailies) {
            let days: BTreeSet<i64> =
                went.submitted.iter().flat_map(|(_, first, last)| [*first, *last]).collect();
            for first in &days {
                for last in days.range(first..) {
                    let is_within = |(_, from, to): &&(Ms, i64, i64)| from >= first && to <= last;
                    let segments = went.submitted.iter().filter(is_within).count() as u64;
                    let most = u64::from(daily.segments) * (last - first + 1) as u64;
                    if segments > most {
                        found.push((
                            "daily limit",
                            format!("{segments} segments went by {daily:?} on the days {first} to {last}, which have {most}"),
                        ));
                    }
                }
            }
        }
        self.held(&mut found);
        self.take(found);
    }

    /// What is held by a limit has one, and did not fit.
    fn held(&self, found: &mut Vec<(&'static str, String)>) {
        for (id, timeline) in &self.seen.messages {
            let Some((wish, _)) = self.seen.wish(*id) else { continue };
            let name = format!("m{} ({id})", wish.reference);
            let place = self.daily_of(&timeline.stored.message.sender.to_string());
            for (_, event) in &timeline.events {
                if event.failure.as_ref().is_none_or(|failure| failure.code != DAILY_LIMIT) {
                    continue;
                }
                let Some(place) = place else {
                    found.push(("daily limit", format!("{name} is held by a limit that its sender has not")));
                    continue;
                };
                let (daily, at_ms) = (&self.seen.plan.dailies[place], event.at.as_millis());
                let day = daily.zone.day(at_ms);
                // The day that it was on must be known: that of a message that was wanted later may be another.
                let is_new = daily.zone.day(at_ms - UNDER_WAY_MS as i64) != day;
                let Some(ms) = self.true_ms(at_ms).filter(|_| !is_new && wish.send_in_ms.is_none()) else {
                    continue;
                };
                let used = self.used_at_most(&self.went[place], day, ms, ms);
                if let Some(used) =
                    used.filter(|used| used + wish.segments as usize <= daily.segments as usize)
                {
                    found.push((
                        "daily limit",
                        format!("{name} was held at {ms} ms, and not more than {used} segments of {daily:?} were used"),
                    ));
                }
            }
        }
    }

    /// When it was in truth, by what a process's clock said; `None` where clocks are set.
    fn true_ms(&self, clock_ms: i64) -> Option<Ms> {
        let plan = self.seen.plan;
        if plan.faults.has(Fault::WallBack) || plan.faults.has(Fault::WallForward) {
            return None;
        }
        let is_before = |(at, ahead_ms): &&(At, i64)| plan.begin_ms + at.ms as i64 + ahead_ms <= clock_ms;
        let ahead_ms = self.seen.clock.iter().rev().find(is_before).map_or(0, |(_, ahead_ms)| *ahead_ms);
        Ms::try_from(clock_ms - ahead_ms - plan.begin_ms).ok()
    }

    /// How many segments of a day can be counted at most at some moment between these two; `None` where that cannot be known,
    /// since some may be counted that were lost on their way.
    pub(super) fn used_at_most(&self, went: &Went, day: i64, from_ms: Ms, to_ms: Ms) -> Option<usize> {
        let early_ms = from_ms.saturating_sub(2 * UNDER_WAY_MS);
        let is_lost = |(at, operation, fault): &(At, &str, StoreFault)| {
            let is_counting = ["take_quotas", "return_quotas"].contains(operation);
            at.ms <= to_ms && (at.ms >= early_ms || (is_counting && !matches!(fault, StoreFault::Slow(_))))
        };
        // What was counted a moment before its process ended may not have come to its carrier.
        let until_ms = to_ms.saturating_add(UNDER_WAY_MS);
        let is_ended =
            self.seen.processes.values().any(|seen| seen.ended.is_some_and(|(at, _)| at.ms <= until_ms));
        let is_apart = self.seen.processes.keys().any(|process| {
            let times = self.seen.apart(*process, LOST_MS);
            times.iter().any(|(from, to)| *from <= to_ms && *to >= early_ms)
        });
        let is_frozen = self.seen.frozen.iter().any(|(at, _)| at.ms <= to_ms + 1_000 && at.ms >= early_ms);
        if self.seen.store_faults.iter().any(is_lost) || is_ended || is_apart || is_frozen {
            return None;
        }
        let is_of_day =
            |(at_ms, first, last): &&(Ms, i64, i64)| *at_ms <= until_ms && (*first..=*last).contains(&day);
        let submitted = went.submitted.iter().filter(is_of_day).count();
        let around = from_ms.saturating_sub(UNDER_WAY_MS)..=until_ms;
        Some(submitted + went.unsent.iter().filter(|ms| around.contains(ms)).count())
    }
}
