//! Pools: who messages are from, and that people keep the sender that they had while it can be used.
//!
//! In which order messages were accepted is known from outside where one was asked for when another was answered. Of those at
//! the same time any may have been first.

use super::{Check, LOST_MS};
use crate::fault::Fault;
use crate::ledger::{Answer, Happened, Item, Ms, Reply, Says};
use std::collections::{BTreeMap, BTreeSet};

/// A link that is down for so long may be gone around: after 30 s, of which what nobody saw from outside is taken off.
const NEARLY_DOWN_MS: Ms = 25_000;

/// Whether a link that went down then, if it did, is down for long at this moment.
fn is_long(down_from_ms: Option<Ms>, now_ms: Ms) -> bool {
    down_from_ms.is_some_and(|from_ms| now_ms >= from_ms + NEARLY_DOWN_MS)
}

/// A message from the pool.
struct Chosen {
    message: i64,
    sender: String,
    segments: usize,
    call: u32,
    /// Between these it was accepted.
    from_ms: Ms,
    until_ms: Ms,
}

impl Check<'_> {
    /// Looks at who everything is from.
    pub(super) fn senders(&mut self) {
        let mut found = Vec::new();
        for (n, of) in self.seen.ledger.submissions.iter().enumerate() {
            let Some((wish, _)) = self.seen.wish(of.message) else { continue };
            let is_right = match self.seen.plan.sender_of(wish) {
                Some(sender) => of.sender == sender.number,
                None => {
                    self.seen.plan.senders.iter().any(|known| known.is_pooled && known.number == of.sender)
                }
            };
            if !is_right {
                found.push((
                    "pool",
                    format!("submission {n} is from {}, and that was not asked for: {wish:?}", of.sender),
                ));
            }
            let shown = self.seen.messages.get(&of.message).map(|it| it.stored.message.sender.to_string());
            if shown.as_ref().is_some_and(|shown| *shown != of.sender) {
                found.push((
                    "pool",
                    format!("submission {n} is from {}, and is said to be from {shown:?}", of.sender),
                ));
            }
        }
        for (call, seen) in &self.seen.calls {
            let Some((_, Reply::Items(items))) = &seen.replied else { continue };
            for item in items {
                if let Item::Accepted(message, sender) = item
                    && self.seen.messages.get(message).is_some_and(|it| it.stored.message.sender != *sender)
                {
                    found.push((
                        "pool",
                        format!(
                            "call {call} was answered with {sender} for {message}, which is from another"
                        ),
                    ));
                }
            }
        }
        for (person, chosen) in self.chosen() {
            for one in &chosen {
                self.kept(&person, one, &chosen, &mut found);
            }
        }
        self.take(found);
    }

    /// The messages from the pool, by recipient.
    fn chosen(&self) -> BTreeMap<String, Vec<Chosen>> {
        let mut people: BTreeMap<String, Vec<Chosen>> = BTreeMap::new();
        for (id, timeline) in &self.seen.messages {
            let Some((wish, call)) = self.seen.wish(*id).filter(|(wish, _)| wish.is_pooled) else { continue };
            let Some(seen) = self.seen.calls.get(&call.number) else { continue };
            let submitted = self.seen.by_segment.get(&(*id, 0)).and_then(|of| of.first());
            let submitted = submitted.map(|n| self.seen.submissions[*n as usize].at.ms);
            let replied = seen.replied.as_ref().map(|(at, _)| at.ms);
            people.entry(crate::plan::Plan::number(wish.connection, wish.person)).or_default().push(Chosen {
                message: *id,
                sender: timeline.stored.message.sender.to_string(),
                segments: wish.segments as usize,
                call: call.number,
                from_ms: seen.asked.first().map_or(0, |at| at.ms),
                until_ms: submitted.into_iter().chain(replied).min().unwrap_or(self.seen.end_of_all().ms),
            });
        }
        people
    }

    /// Who had a sender keeps it.
    fn kept(&self, person: &str, one: &Chosen, all: &[Chosen], found: &mut Vec<(&'static str, String)>) {
        let is_before = |other: &Chosen| other.call != one.call && other.until_ms < one.from_ms;
        if !all.iter().any(is_before) {
            return;
        }
        // Those that may have been the last one before it.
        let may_be_last = |other: &&Chosen| {
            let is_between = |third: &Chosen| is_before(third) && other.until_ms < third.from_ms;
            other.message != one.message && one.until_ms >= other.from_ms && !all.iter().any(is_between)
        };
        let mut had: BTreeSet<&str> =
            all.iter().filter(may_be_last).map(|other| other.sender.as_str()).collect();
        // Who writes to a sender has that one.
        for (report, seen) in self.seen.ledger.reports.iter().zip(&self.seen.reports) {
            if report.says == Says::Inbound
                && report.parties[0] == person[1..]
                && seen.offered.first().is_some_and(|at| at.ms <= one.until_ms)
            {
                had.insert(&report.parties[1]);
            }
        }
        let is_sure = had.iter().all(|sender| self.is_usable(sender, one));
        if is_sure && !had.contains(one.sender.as_str()) {
            found.push((
                "pool",
                format!(
                    "{} to {person}, accepted from {} to {} ms, is from {}, and they had {had:?}",
                    one.message, one.from_ms, one.until_ms, one.sender
                ),
            ));
        }
    }

    /// Whether a sender can certainly be used for a message all the time in which it may have been accepted: its connection is
    /// not paused, its link not down for long, and its day has room for all of it.
    fn is_usable(&self, sender: &str, one: &Chosen) -> bool {
        let (from_ms, to_ms) = (one.from_ms, one.until_ms);
        let Some(known) =
            self.seen.plan.senders.iter().find(|known| known.is_pooled && known.number == sender)
        else {
            return true;
        };
        // What one node does to a connection the others hear of later.
        let late_ms = if self.seen.has_several() || !self.seen.store_was_well() { LOST_MS } else { 1_000 };
        let mut is_paused = false;
        let mut down_from_ms = Some(0);
        for (ms, what) in self.seen.ledger.entries.iter().take_while(|(ms, _)| *ms <= to_ms) {
            match what {
                Happened::Paused { connection, paused } if *connection == known.connection => {
                    is_paused = *paused || ms + late_ms >= from_ms;
                }
                // Who takes a connection over has no link yet.
                Happened::LinkDown { connection } | Happened::Opened { connection, .. }
                    if *connection == known.connection =>
                {
                    down_from_ms.get_or_insert(*ms);
                }
                Happened::LinkUp { connection, .. } if *connection == known.connection => {
                    let was_long = is_long(down_from_ms.take(), *ms);
                    if was_long && ms + late_ms >= from_ms {
                        return false;
                    }
                }
                // The carrier does not want us, until an operator says so.
                Happened::Answered { submission, answer: Answer::RefusedOurs, .. }
                    if self.seen.ledger.submissions[*submission as usize].connection == known.connection =>
                {
                    return false;
                }
                _ => {}
            }
        }
        if is_long(down_from_ms, to_ms) {
            return false;
        }
        let Some(place) = known.daily else { return !is_paused };
        let (daily, plan) = (&self.seen.plan.dailies[place], self.seen.plan);
        if plan.faults.has(Fault::WallBack) || plan.faults.has(Fault::WallForward) {
            return false;
        }
        let day = |ms: Ms| daily.zone.day(plan.begin_ms + ms as i64);
        let is_full = (day(from_ms)..=day(to_ms)).any(|day| {
            let used = self.used_at_most(&self.went[place], day, from_ms, to_ms);
            used.is_none_or(|used| used + one.segments > daily.segments as usize)
        });
        !is_paused && !is_full
    }
}
