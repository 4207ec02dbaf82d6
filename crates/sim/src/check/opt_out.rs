//! Who said stop: nobody of them is sent to.

use super::Check;
use crate::ledger::{Answer, Happened, Ms};
use crate::seen::At;
use std::collections::BTreeMap;

impl Check<'_> {
    /// P-15: after the answer to an opt-out nothing starts.
    pub(super) fn opt_outs(&mut self) {
        let mut out: BTreeMap<&str, (At, Option<u32>)> = BTreeMap::new();
        let mut lifted: BTreeMap<&str, Ms> = BTreeMap::new();
        // Lifts of which something may still come.
        let mut lifting: BTreeMap<&str, usize> = BTreeMap::new();
        let mut found = Vec::new();
        for (place, (ms, what)) in self.seen.ledger.entries.iter().enumerate() {
            match what {
                // After five seconds it no longer waits for what the carrier already has, and after a lease not for
                // other nodes either.
                Happened::OptOutAnswered { recipient, process, took_ms }
                    if *took_ms < if self.seen.has_several() { 15_000 } else { 5_000 }
                    // Of an opt-out and a lift at the same time either may be the last.
                    && lifting.get(recipient.as_str()).is_none_or(|open| *open == 0)
                    && lifted.get(recipient.as_str()).is_none_or(|then_ms| *then_ms < ms - took_ms) =>
                {
                    let others_only = (*took_ms >= 5_000).then_some(*process);
                    out.insert(recipient, (At { place, ms: *ms }, others_only));
                }
                Happened::LiftAsked { recipient } => {
                    lifted.insert(recipient, *ms);
                    *lifting.entry(recipient).or_default() += 1;
                    out.remove(recipient.as_str());
                }
                Happened::LiftEnded { recipient } => {
                    lifted.insert(recipient, *ms);
                    if let Some(open) = lifting.get_mut(recipient.as_str()) {
                        *open = open.saturating_sub(1);
                    }
                }
                Happened::Submitted { submission } => {
                    let of = &self.seen.ledger.submissions[*submission as usize];
                    if let Some((at, others_only)) = out.get(of.recipient.as_str())
                        && *others_only != Some(of.process)
                    {
                        found.push((
                            "P-15",
                            format!(
                                "submission {submission} at {ms} ms to {} began after the opt-out at {} ms",
                                of.recipient, at.ms
                            ),
                        ));
                    }
                }
                _ => {}
            }
        }
        self.opt_outs_at_carriers(&mut found);
        self.take(found);
    }

    /// A carrier's "opted out" counts for every call after it.
    fn opt_outs_at_carriers(&self, found: &mut Vec<(&'static str, String)>) {
        for (n, seen) in self.seen.submissions.iter().enumerate() {
            let of = &self.seen.ledger.submissions[n];
            let Some((wish, _)) = self.seen.wish(of.message) else { continue };
            let Some((at, Answer::RefusedOptedOut, false)) = seen.answers.first().copied() else { continue };
            let ended = self.seen.processes[&of.process].ended;
            let heard = ended.is_none_or(|(end, _)| self.had_time(of.process, at, end));
            if wish.segments > 1 || !heard {
                continue;
            }
            let lifted = self.seen.ledger.entries.iter().skip(at.place).any(
                |(_, what)| matches!(what, Happened::LiftAsked { recipient } | Happened::LiftEnded { recipient } if *recipient == of.recipient),
            );
            if lifted {
                continue;
            }
            for (later, then) in self.seen.ledger.submissions.iter().enumerate().skip(n + 1) {
                let asked = self.asked(then.message);
                let asked_after = asked.is_some_and(|asked| self.had_time(of.process, at, asked));
                if then.recipient == of.recipient && asked_after {
                    found.push((
                        "P-15",
                        format!(
                            "submission {later} to {} was asked for after the carrier said opted out ({n})",
                            of.recipient
                        ),
                    ));
                }
            }
        }
    }
}
