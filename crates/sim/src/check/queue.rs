//! In which order, how many at once, and that nothing waits where it could go.

use super::{Check, was_held};
use crate::fault::Fault;
use crate::ledger::{Happened, Ms};
use crate::seen::At;
use std::collections::{BTreeMap, BTreeSet};

impl Check<'_> {
    /// P-12: what is urgent goes first.
    pub(super) fn order(&mut self) {
        // What was on its way to the carrier before, a slow socket lets go later.
        let mut before_ms = 1_000 + self.slack.write_ms;
        if self.seen.has_several() {
            // What another node accepted is heard of, or found a little later.
            before_ms += 6_000;
        }
        let mut found = Vec::new();
        // The first submission of each message: a message that was refused waits for its own time.
        let mut first: BTreeMap<i64, At> = BTreeMap::new();
        for (of, seen) in self.seen.ledger.submissions.iter().zip(&self.seen.submissions) {
            first.entry(of.message).or_insert(seen.at);
        }
        // What a link gave back, because it had waited there for too long, stands in its queue from then on.
        let mut given_back: BTreeMap<i64, Ms> = BTreeMap::new();
        for (ms, what) in &self.seen.ledger.entries {
            if let Happened::Unsent { message, .. } = what
                && first.get(message).is_some_and(|at| *ms <= at.ms)
            {
                given_back.insert(*message, *ms);
            }
        }
        let mut waiting = Vec::new();
        for (message, at) in &first {
            let Some((wish, call)) = self.seen.wish(*message) else { continue };
            let Some((heard, _)) = &self.seen.calls[&call.number].replied else { continue };
            let due_ms = heard.ms.max(heard.ms + wish.send_in_ms.unwrap_or(0));
            let due_ms = due_ms.max(given_back.get(message).copied().unwrap_or(due_ms));
            // What was held goes when it may.
            let is_held = self.seen.messages.get(message).is_some_and(|timeline| was_held(timeline));
            waiting.push((wish, self.seen.connection_of(*message), is_held, due_ms, *at));
        }
        for (urgent, connection, _, due_ms, at) in waiting.iter().filter(|(_, _, is_held, ..)| !is_held) {
            for (other, of, _, _, earlier) in &waiting {
                let jumped = other.purpose > urgent.purpose
                    && of == connection
                    && earlier.ms > due_ms + before_ms
                    && earlier.ms + 1_000 < at.ms
                    // A fault just before counts, too: its consequence may last some seconds.
                    && !self.disturbed_between(due_ms.saturating_sub(15_000), at.ms);
                if jumped {
                    found.push((
                        "P-12",
                        format!(
                            "m{} ({}) went at {} ms, before m{} ({}), which was due at {due_ms} ms and went at {} ms",
                            other.reference, other.purpose.as_str(), earlier.ms, urgent.reference, urgent.purpose.as_str(), at.ms
                        ),
                    ));
                }
            }
        }
        self.take(found);
    }

    /// No carrier ever has more unanswered than its window, but for the rest of a message.
    pub(super) fn windows(&mut self) {
        let mut open: BTreeMap<(usize, u32), BTreeSet<u32>> = BTreeMap::new();
        let mut found = Vec::new();
        for (ms, what) in &self.seen.ledger.entries {
            match what {
                Happened::Submitted { submission } => {
                    let of = &self.seen.ledger.submissions[*submission as usize];
                    let of_link = open.entry((of.connection, of.process)).or_default();
                    of_link.insert(*submission);
                    if of_link.len() > self.seen.plan.connections[of.connection].window + 2 {
                        found.push(("P-08", format!("{} are unanswered at {ms} ms", of_link.len())));
                    }
                }
                Happened::Answered { submission, .. } => {
                    let of = &self.seen.ledger.submissions[*submission as usize];
                    if let Some(of_link) = open.get_mut(&(of.connection, of.process)) {
                        of_link.remove(submission);
                    }
                }
                _ => {}
            }
        }
        self.take(found);
    }

    /// P-13: nothing expires in the queue while its connection has nothing else to do.
    pub(super) fn idle(&mut self) {
        let excused =
            [Fault::WallBack, Fault::WallForward, Fault::Freeze, Fault::RefusedOurs, Fault::SlowPace];
        if excused.iter().any(|fault| self.seen.plan.faults.has(*fault)) {
            return;
        }
        let mut found = Vec::new();
        for (id, timeline) in &self.seen.messages {
            let Some((wish, call)) = self.seen.wish(*id) else { continue };
            let Some((heard, _)) = &self.seen.calls[&call.number].replied else { continue };
            let of = self.submissions_of(*id);
            let attempts: BTreeSet<u32> =
                of.iter().map(|n| self.seen.ledger.submissions[*n as usize].attempt).collect();
            let code = timeline.stored.failure.as_ref().map_or("", |failure| failure.code.as_str());
            if code != "tidings expired" || attempts.len() > 1 || was_held(timeline) {
                continue;
            }
            // A refusal puts it off by half a minute at most.
            let refused_ms = of
                .iter()
                .filter_map(|n| self.seen.submissions[*n as usize].answers.last())
                .map(|(at, _, _)| at.ms + 30_000)
                .max();
            let from_ms = (heard.ms + wish.send_in_ms.unwrap_or(0)).max(refused_ms.unwrap_or(0));
            // Of a call that was repeated, any may have been the one that was accepted, and its time runs from there.
            let asked_ms = self.asked(*id).map_or(heard.ms, |asked| asked.ms);
            let to_ms = asked_ms + wish.send_in_ms.unwrap_or(0) + wish.validity_s * 1_000;
            let Some(connection) = self.seen.connection_of(*id) else { continue };
            if let Some((from_ms, to_ms)) = self.idle_time(connection, from_ms, to_ms) {
                found.push((
                    "P-13",
                    format!(
                        "m{} ({id}) expired, and its connection had nothing else to do from {from_ms} to {to_ms} ms",
                        wish.reference
                    ),
                ));
            }
        }
        self.take(found);
    }

    /// A time of half a minute in which nothing was submitted on a connection and nothing was wrong.
    fn idle_time(&self, connection: usize, from_ms: Ms, to_ms: Ms) -> Option<(Ms, Ms)> {
        const LONG_MS: Ms = 30_000;
        // Times at which something was going on, or might have been.
        let mut busy: Vec<(Ms, Ms)> = Vec::new();
        let plan = self.seen.plan;
        busy.extend(
            plan.spells
                .iter()
                .filter(|spell| match spell.fault {
                    Fault::StoreAway | Fault::Failover | Fault::CutFromStore | Fault::CutFromCarriers => true,
                    Fault::HookDown => false,
                    _ => spell.place == connection,
                })
                .map(|spell| (spell.from_ms, spell.to_ms)),
        );
        let (mut down_since, mut paused_since) = (Some(0), None);
        for (ms, what) in &self.seen.ledger.entries {
            match what {
                Happened::Submitted { submission }
                    if self.seen.ledger.submissions[*submission as usize].connection == connection =>
                {
                    busy.push((*ms, *ms));
                }
                Happened::LinkUp { connection: of, .. } if *of == connection => {
                    busy.extend(down_since.take().map(|since| (since, *ms)));
                }
                Happened::LinkDown { connection: of } if *of == connection => down_since = Some(*ms),
                Happened::Crashed { .. }
                | Happened::Expelled { .. }
                | Happened::Stopped { .. }
                | Happened::NotStarted { .. } => {
                    down_since.get_or_insert(*ms);
                }
                Happened::Paused { connection: of, paused: true } if *of == connection => {
                    paused_since.get_or_insert(*ms);
                }
                Happened::Paused { connection: of, paused: false } if *of == connection => {
                    busy.extend(paused_since.take().map(|since: Ms| (since, *ms)));
                }
                // Something waits for an answer: with a small window nothing else can go.
                Happened::Answered { submission, .. }
                    if self.seen.ledger.submissions[*submission as usize].connection == connection =>
                {
                    busy.push((self.seen.ledger.submissions[*submission as usize].at_ms, *ms));
                }
                _ => {}
            }
        }
        busy.extend(down_since.map(|since| (since, Ms::MAX)));
        busy.extend(paused_since.map(|since| (since, Ms::MAX)));
        busy.sort_unstable();
        let mut free_ms = from_ms;
        for (begin_ms, end_ms) in busy {
            if begin_ms > free_ms && begin_ms.min(to_ms) >= free_ms + LONG_MS {
                return Some((free_ms, begin_ms.min(to_ms)));
            }
            free_ms = free_ms.max(end_ms);
        }
        (to_ms >= free_ms.saturating_add(LONG_MS)).then_some((free_ms, to_ms))
    }
}
