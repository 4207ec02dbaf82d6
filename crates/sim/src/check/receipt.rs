//! What carriers reported, and what people wrote.

use super::{Check, ENDS, THREE_DAYS_MS, read_raw};
use crate::ledger::{Answer, Says};
use crate::seen::At;
use std::collections::{BTreeMap, BTreeSet};
use tidings_domain::event::Kind;
use tidings_domain::message::Status;
use tidings_store::Timeline;

impl Check<'_> {
    /// P-18, P-19, P-20: every receipt counts, once, for its own message and no other.
    pub(super) fn reports(&mut self) {
        let mut found = Vec::new();
        for (id, timeline) in &self.seen.messages {
            let Some((wish, _)) = self.seen.wish(*id) else { continue };
            let name = format!("m{} ({id})", wish.reference);
            let mut counted: BTreeMap<u8, usize> = BTreeMap::new();
            for (_, event) in &timeline.events {
                let Some(raw) = event.raw.as_ref().filter(|_| event.kind != Kind::SenderChosen) else {
                    continue;
                };
                let Some((submission, says)) = read_raw(raw) else {
                    found.push(("P-19", format!("{name} was credited with \"{raw}\"")));
                    continue;
                };
                let of = &self.seen.ledger.submissions[submission];
                if of.message != *id {
                    found.push(("P-19", format!("{name} was credited with \"{raw}\" of {}", of.message)));
                }
                if says != "Progress" {
                    *counted.entry(of.segment).or_default() += 1;
                }
            }
            for (segment, times) in counted.into_iter().filter(|(_, times)| *times > 1) {
                found.push(("P-20", format!("{name} segment {segment} was reported {times} times")));
            }
            self.receipts_of(*id, &name, timeline, wish.segments as u8, &mut found);
        }
        self.inbound(&mut found);
        self.take(found);
    }

    fn receipts_of(
        &self,
        id: i64,
        name: &str,
        timeline: &Timeline,
        segments: u8,
        found: &mut Vec<(&'static str, String)>,
    ) {
        let status = timeline.stored.life.state.status();
        let mut worst = Some(Says::Delivered);
        let mut certain = true;
        let mut single = true;
        let mut offered_delivered = true;
        let mut says: BTreeSet<Says> = BTreeSet::new();
        for segment in 0..segments {
            let of = self.seen.by_segment.get(&(id, segment)).map_or(&[][..], Vec::as_slice);
            let reports = || {
                let numbers = of.iter().flat_map(|n| self.seen.about.get(n).into_iter().flatten());
                numbers.map(|n| (&self.seen.ledger.reports[*n as usize], &self.seen.reports[*n as usize]))
            };
            let said: BTreeSet<Says> = reports()
                .filter(|(report, seen)| report.says != Says::Progress && !seen.offered.is_empty())
                .map(|(report, _)| report.says)
                .collect();
            offered_delivered &= said.contains(&Says::Delivered);
            single &= said.len() == 1;
            worst = worst.max(said.last().copied());
            says.extend(said);
            certain &= of.iter().any(|n| self.certainly_settled(*n));
        }
        if status == Status::Delivered && !offered_delivered {
            found.push(("P-19", format!("{name} is delivered, and no carrier said so of each segment")));
        }
        if !certain {
            return;
        }
        // It may have ended otherwise before, and an end stays.
        let ended_otherwise = timeline.events.iter().any(|(_, event)| {
            ENDS.contains(&event.kind) && event.kind != Kind::Unconfirmed && event.raw.is_none()
        });
        if ended_otherwise {
            return;
        }
        // After three days by the clock, "unconfirmed" stays.
        let passed_ms = self.asked(id).map_or(0, |asked| self.passed_between(asked, self.seen.end_of_all()));
        if status == Status::Unconfirmed && passed_ms >= THREE_DAYS_MS {
            return;
        }
        let expected = match worst {
            Some(Says::Delivered) => Status::Delivered,
            Some(Says::Unknown) => Status::Unconfirmed,
            Some(Says::Expired) => Status::Expired,
            Some(Says::Undelivered | Says::OptedOut) => Status::Undelivered,
            Some(Says::Rejected) => Status::Rejected,
            _ => return,
        };
        let settled =
            matches!(status, Status::Delivered | Status::Undelivered | Status::Expired | Status::Rejected);
        let unknown = says.contains(&Says::Unknown) && status == Status::Unconfirmed;
        let right = if single { status == expected } else { settled || unknown || status == expected };
        if !right {
            found.push((
                "P-18",
                format!(
                    "{name} is {status:?}, but what was acknowledged says {expected:?}: {:?}",
                    timeline.stored.life
                ),
            ));
        }
    }

    /// Whether a receipt about this submission was acknowledged that can only be its own, and could be found.
    fn certainly_settled(&self, n: u32) -> bool {
        let of = &self.seen.ledger.submissions[n as usize];
        let seen = &self.seen.submissions[n as usize];
        let ended = self.seen.processes[&of.process].ended;
        let heard = |at: At| ended.is_none_or(|(end, _)| self.had_time(of.process, at, end));
        // The id is known if the answer came in time, the process lived to commit it, and no later attempt hid it.
        let id_known = match seen.answers.first() {
            Some((at, Answer::Accepted, false)) => heard(*at),
            _ => false,
        };
        let numbers = self.seen.about.get(&n).into_iter().flatten();
        let mut acknowledged = numbers
            .map(|n| (&self.seen.ledger.reports[*n as usize], &self.seen.reports[*n as usize]))
            .filter(|(report, seen)| report.says != Says::Progress && seen.acknowledged.is_some());
        acknowledged.any(|(report, _)| report.by_id && id_known)
    }

    /// Every inbound message that was acknowledged is told, once if it was offered once.
    fn inbound(&self, found: &mut Vec<(&'static str, String)>) {
        let mut told: BTreeMap<&str, usize> = BTreeMap::new();
        for event in &self.seen.view.events {
            if let Some(text) = &event.text {
                *told.entry(text).or_default() += 1;
            }
        }
        for (report, seen) in self.seen.ledger.reports.iter().zip(&self.seen.reports) {
            if report.says != Says::Inbound {
                continue;
            }
            let times = told.get(report.raw.as_str()).copied().unwrap_or(0);
            if seen.acknowledged.is_some() && times == 0 {
                found.push(("P-18", format!("\"{}\" was acknowledged and is not there", report.raw)));
            }
            if seen.offered.len() <= 1 && times > 1 {
                found.push(("P-20", format!("\"{}\" is there {times} times", report.raw)));
            }
        }
    }
}
