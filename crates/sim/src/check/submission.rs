//! What was submitted, and when again.

use super::Check;
use crate::ledger::{Answer, Happened, Ms};
use crate::plan::minute_of_people;
use crate::seen::At;
use std::collections::BTreeMap;
use tidings_domain::purpose::Purpose;

impl Check<'_> {
    /// P-07, P-11, P-27 and the content of what was submitted.
    pub(super) fn submissions(&mut self) {
        let mut found = Vec::new();
        for ((message, segment), of) in &self.seen.by_segment {
            self.again(*message, *segment, of, &mut found);
        }
        for (n, seen) in self.seen.submissions.iter().enumerate() {
            self.in_time(n, seen.at, &mut found);
            self.content(n, &mut found);
        }
        let mut canceled: BTreeMap<i64, At> = BTreeMap::new();
        for (place, (ms, what)) in self.seen.ledger.entries.iter().enumerate() {
            if let Happened::CancelAnswered { message, done: true } = what {
                canceled.entry(*message).or_insert(At { place, ms: *ms });
            }
            if let Happened::Submitted { submission } = what
                && let Some(at) = canceled.get(&self.seen.ledger.submissions[*submission as usize].message)
            {
                found.push((
                    "P-06",
                    format!("submission {submission} at {ms} ms was taken back at {} ms", at.ms),
                ));
            }
        }
        self.take(found);
    }

    fn again(&self, message: i64, segment: u8, of: &[u32], found: &mut Vec<(&'static str, String)>) {
        let Some((wish, _)) = self.seen.wish(message) else {
            found.push(("P-01", format!("{message} was submitted and is not there")));
            return;
        };
        let name = format!("m{} ({message}, {}) segment {segment}", wish.reference, wish.purpose.as_str());
        let mut in_doubt = 0;
        for pair in of.windows(2) {
            let (before, after) = (pair[0] as usize, pair[1] as usize);
            let (was, is) = (&self.seen.submissions[before], &self.seen.submissions[after]);
            if was.refused_before(is.at) {
                let process = self.seen.ledger.submissions[before].process;
                let end = self.out_of_hands(before, after);
                let heard = |at: At| end.is_none_or(|end| self.had_time(process, at, end));
                // What is claimed again, though nobody knows that it is, takes no late answer any more.
                let claimed = self.seen.unknown_between(was.at, is.at, &["claim"]);
                let for_good = matches!(
                    was.real(),
                    Some((at, Answer::RefusedForGood | Answer::RefusedOptedOut))
                        if self.had_time(process, at, is.at) && heard(at) && !claimed
                );
                if for_good {
                    found.push((
                        "P-07",
                        format!("{name}: {after} came although {before} was refused for good"),
                    ));
                }
                continue;
            }
            in_doubt += 1;
            let most = match wish.purpose {
                Purpose::Authentication => 1,
                Purpose::Alert => usize::MAX,
                Purpose::Transactional | Purpose::Marketing => 0,
            };
            if in_doubt > most {
                found.push(("P-07", format!("{name}: {after} came although {before} was not refused")));
            } else if !self.has_reason(before, after) {
                found.push(("P-07", format!("{name}: {after} came for no reason after {before}")));
            }
        }
    }

    /// Whether there was time enough between these two for this process to commit what was said at the first.
    pub(super) fn had_time(&self, process: u32, from: At, until: At) -> bool {
        let frozen = self.seen.frozen.iter().filter(|(end, _)| end.ms >= from.ms && end.ms <= until.ms);
        let frozen_ms: Ms = frozen.map(|(_, ms)| ms).sum();
        let apart_ms = self.seen.apart_ms(process, from.ms, until.ms);
        until.ms > from.ms + self.slack.commit_ms + frozen_ms + apart_ms
    }

    /// When what this submission's process had in its hands was no more its own, before a later submission of the same:
    /// it ended, or another one settled what it had claimed.
    fn out_of_hands(&self, before: usize, after: usize) -> Option<At> {
        let submissions = &self.seen.ledger.submissions;
        let (was, is) = (&submissions[before], &submissions[after]);
        let (from, to) = (self.seen.submissions[before].at, self.seen.submissions[after].at);
        let ended = self.seen.processes[&was.process].ended.map(|(at, _)| at).filter(|at| *at < to);
        let settled = self
            .seen
            .recovered
            .iter()
            .find(|(at, by)| was.process != is.process && *by == is.process && *at > from && *at < to);
        ended.into_iter().chain(settled.map(|(at, _)| *at)).min()
    }

    /// Whether an alert or a code may be sent again after this submission.
    fn has_reason(&self, before: usize, after: usize) -> bool {
        let was = &self.seen.submissions[before];
        let process = self.seen.ledger.submissions[before].process;
        let again = self.seen.submissions[after].at;
        let ended = self.out_of_hands(before, after);
        if let Some((at, Answer::Accepted)) = was.real()
            && at < again
        {
            // It was answered: only if that came too late to be heard, or was lost with the process.
            let lost = ended.is_some_and(|end| !self.had_time(process, at, end));
            let crossed = !self.had_time(process, at, again);
            return lost || crossed || self.jumped_between(was.at, again);
        }
        let given_up = was.answers.iter().any(|(at, answer, _)| *answer == Answer::None && *at < again);
        ended.is_some() || given_up || self.jumped_between(was.at, again)
    }

    /// P-11 and P-27: nothing is early, nothing is late, and the carrier is told how long it is still worth sending.
    fn in_time(&self, n: usize, at: At, found: &mut Vec<(&'static str, String)>) {
        let of = &self.seen.ledger.submissions[n];
        let Some(timeline) = self.seen.messages.get(&of.message) else { return };
        let Some((wish, call)) = self.seen.wish(of.message) else { return };
        let name =
            format!("submission {n} of m{} ({}) at {} ms", wish.reference, wish.purpose.as_str(), at.ms);
        let message = &timeline.stored.message;
        let stood = self.seen.stood.iter().map(|(end, ..)| *end);
        let mut thaws = self.seen.frozen.iter().map(|(end, _)| *end).chain(stood);
        let thawed = thaws.any(|end| end.ms.abs_diff(at.ms) <= 200 + self.slack.write_ms);
        let stepped = self
            .seen
            .clock
            .iter()
            .any(|(then, _)| then.ms <= at.ms && at.ms - then.ms <= 1_000 + self.slack.write_ms);
        let tolerance_ms = self.slack.write_ms as i64;
        let most_ms = self.waits_ms() as i64;
        if let Some(quiet) = self.seen.plan.quiet.filter(|_| wish.purpose == Purpose::Marketing)
            && !thawed
            && !stepped
        {
            let is_open = |ms: i64| (quiet.opens_min..quiet.closes_min).contains(&minute_of_people(ms));
            // A wall clock that is set back is not followed.
            let seen = &self.seen;
            let clocks =
                [of.wall_ms, seen.clock_at_most(of.process, at), seen.clock_at_least(of.process, at)];
            if !clocks.into_iter().any(|ms| is_open(ms) || is_open(ms - most_ms)) {
                found.push(("quiet hours", format!("{name} came in quiet hours: {quiet:?}")));
            }
        }
        if thawed || stepped || self.is_dated_ahead(timeline) {
            return;
        }
        let late_ms = of.wall_ms - message.expires_at.as_millis();
        if late_ms > most_ms {
            found.push(("P-11", format!("{name} is late by {late_ms} ms by the wall clock")));
        }
        let promised_ms = of.wall_ms + i64::from(of.validity_s) * 1_000 - message.expires_at.as_millis();
        if promised_ms > tolerance_ms + 1_000 {
            found.push(("P-11", format!("{name} is valid for {promised_ms} ms too long")));
        }
        if let Some(send_at) = message.send_at {
            let most_ms = self.seen.clock_at_most(of.process, at);
            if most_ms < send_at.as_millis() - 1_000 {
                let early_ms = send_at.as_millis() - most_ms;
                found.push(("P-27", format!("{name} is early by {early_ms} ms")));
            }
        } else {
            let calls = &self.seen.calls[&call.number];
            let heard = calls.replied.as_ref().map(|(at, _)| *at).or(calls.unheard.last().copied());
            if let Some(heard) = heard
                && at.ms > heard.ms + wish.validity_s * 1_000 + self.slack.write_ms
            {
                let late_ms = at.ms - heard.ms - wish.validity_s * 1_000;
                found.push(("P-27", format!("{name} is late by {late_ms} ms in truth")));
            }
        }
    }

    fn content(&self, n: usize, found: &mut Vec<(&'static str, String)>) {
        let of = &self.seen.ledger.submissions[n];
        let Some((wish, _)) = self.seen.wish(of.message) else { return };
        let right_text = match of.segment {
            0 => of.text.starts_with(&format!("m{} x", wish.reference)),
            _ => of.text.chars().all(|c| c == 'x'),
        };
        let number = crate::plan::Plan::number(wish.connection, wish.person);
        let right_place =
            of.recipient == number && Some(of.connection) == self.seen.connection_of(of.message);
        if !right_text || !right_place || u32::from(of.segment) >= wish.segments {
            found.push(("P-19", format!("submission {n} is not what was asked for: {of:?} {wish:?}")));
        }
    }
}
