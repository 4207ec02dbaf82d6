//! Several nodes: one owner at a time, and nothing of who was ended.

use super::{Check, LOST_MS};
use crate::ledger::{Happened, Ms};
use crate::seen::At;
use std::collections::BTreeMap;

impl Check<'_> {
    /// P-28 and P-29: a connection has one owner, which follows the one before in time, and who was ended writes nothing.
    pub(super) fn nodes(&mut self) {
        let mut owner: BTreeMap<usize, (u32, At)> = BTreeMap::new();
        let mut found = Vec::new();
        for (place, (ms, what)) in self.seen.ledger.entries.iter().enumerate() {
            match what {
                Happened::Opened { connection, process } => {
                    let at = At { place, ms: *ms };
                    let before = owner.insert(*connection, (*process, at));
                    let Some((before, since)) = before.filter(|(before, _)| before != process) else {
                        continue;
                    };
                    let mut settled = self.seen.recovered.iter();
                    if self.seen.has_several()
                        && !settled.any(|(then, by)| by == process && *then > since && *then < at)
                    {
                        found.push((
                            "P-28",
                            format!("{process} opened connection {connection} at {ms} ms and settled nothing before"),
                        ));
                    }
                    self.handed_over(*connection, before, *process, at, &mut found);
                }
                Happened::Submitted { submission } => {
                    let of = &self.seen.ledger.submissions[*submission as usize];
                    if let Some((owner, _)) =
                        owner.get(&of.connection).filter(|(owner, _)| *owner != of.process)
                    {
                        found.push((
                            "P-28",
                            format!(
                                "{} submitted on connection {} at {ms} ms, which {owner} had taken over",
                                of.process, of.connection
                            ),
                        ));
                    }
                }
                Happened::WroteAfterEnd { process, operation } => {
                    let what =
                        format!("{operation} was done at {ms} ms for {process}, which was ended before");
                    found.push(("P-28", what));
                }
                Happened::Crashed { process } if self.seen.has_several() => {
                    let lost = owner.iter().filter(|(_, (owner, _))| owner == process);
                    for connection in lost.map(|(connection, _)| *connection).collect::<Vec<_>>() {
                        self.taken_over(connection, *process, At { place, ms: *ms }, &mut found);
                    }
                }
                _ => {}
            }
        }
        self.take(found);
    }

    /// A node that is well gives a connection back only when nothing is on its way on it.
    fn handed_over(
        &self,
        connection: usize,
        from: u32,
        to: u32,
        at: At,
        found: &mut Vec<(&'static str, String)>,
    ) {
        let seen = &self.seen.processes[&from];
        let has_ended = seen.ended.is_some_and(|(end, _)| end < at);
        let is_apart = self.seen.apart(from, LOST_MS).iter().any(|(from, to)| *from <= at.ms && at.ms < *to);
        let was_failing = self.seen.store_faults.iter().any(|(then, ..)| at.ms.abs_diff(then.ms) < LOST_MS);
        if has_ended || is_apart || was_failing {
            return;
        }
        for (n, seen) in self.seen.submissions.iter().enumerate() {
            let of = &self.seen.ledger.submissions[n];
            let is_open = seen.at < at && seen.answers.first().is_none_or(|(then, ..)| *then > at);
            if of.process == from && of.connection == connection && is_open {
                found.push((
                    "P-28",
                    format!(
                        "connection {connection} went from {from} to {to} at {} ms while {n} was on its way",
                        at.ms
                    ),
                ));
            }
        }
    }

    /// The owner of a connection ended: another one has it soon, if all the others were well all the time.
    fn taken_over(&self, connection: usize, owner: u32, at: At, found: &mut Vec<(&'static str, String)>) {
        const WITHIN_MS: Ms = 30_000;
        // Who began, or was silent, so shortly before cannot say that others are.
        const STEADY_MS: Ms = 36_000;
        let (from_ms, to_ms) = (at.ms.saturating_sub(STEADY_MS), at.ms + WITHIN_MS);
        let mut others = self
            .seen
            .plan
            .nodes
            .iter()
            .enumerate()
            .filter(|(node, of)| of.sends && *node != self.seen.processes[&owner].node);
        let is_well = |node: usize| {
            self.seen.processes.iter().any(|(process, seen)| {
                seen.node == node
                    && seen.started.ms < from_ms
                    && seen.ended.is_none_or(|(end, _)| end.ms > to_ms)
                    && self.seen.apart(*process, 0).iter().all(|(from, to)| *to < from_ms || *from > to_ms)
            })
        };
        let store_was_well =
            self.seen.store_faults.iter().all(|(then, ..)| then.ms < from_ms || then.ms > to_ms);
        let mut others_were_well = false;
        let all_well = others.all(|(node, _)| {
            others_were_well = true;
            is_well(node)
        });
        // Its own next process may take it up, and then fare as it likes.
        let node = self.seen.processes[&owner].node;
        let is_back = self
            .seen
            .processes
            .values()
            .any(|seen| seen.node == node && seen.started > at && seen.started.ms <= to_ms);
        let is_over = self.seen.end_of_all().ms < to_ms;
        if !others_were_well || !all_well || !store_was_well || is_back || is_over {
            return;
        }
        let taken =
            self.seen.opened.iter().any(|(then, of, _)| *of == connection && *then > at && then.ms <= to_ms);
        if !taken {
            found.push((
                "P-29",
                format!(
                    "nobody has taken connection {connection} {WITHIN_MS} ms after {owner} ended at {} ms",
                    at.ms
                ),
            ));
        }
    }
}
