//! The comparison: what was promised against what was seen. It knows the promises, the purposes' rules as the documents
//! state them, and what an outsider can know; no code of the engine, of the store or of the rules is used to judge.
//!
//! Where a fault makes it impossible to know (was an answer that came just before a crash committed?), it allows for
//! [`Slack`] and no longer.

mod node;
mod opt_out;
mod pool;
mod queue;
mod quota;
mod receipt;
mod spend;
mod submission;
mod webhook;

use crate::fault::Fault;
use crate::house::STOP_WITHIN_MS;
use crate::ledger::{Answer, Happened, Item, Ms, Reply, Says, StoreFault};
use crate::seen::{At, Seen};
use crate::world::Run;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use tidings_domain::event::Kind;
use tidings_domain::message::Status;
use tidings_domain::purpose::Purpose;
use tidings_store::Timeline;

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The promise, such as `P-07`.
    pub promise: &'static str,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.what)
    }
}

/// How much later than at once something may happen, given the faults of a seed.
#[derive(Debug, Clone, Copy)]
struct Slack {
    /// From an answer that is given to the process to its commit.
    commit_ms: Ms,
    /// From the last look to the carrier.
    write_ms: Ms,
}

impl Slack {
    fn of(seen: &Seen<'_>) -> Self {
        let (mut commit_ms, mut write_ms) = (300, 150);
        let mut allow = |fault, commit, write| {
            if seen.plan.faults.has(fault) {
                commit_ms += commit;
                write_ms += write;
            }
        };
        allow(Fault::StoreSlow, 8_000, 50);
        allow(Fault::StoreAway, 12_000, 12_000);
        // Each failure costs a quarter of a second, and several may follow one another.
        allow(Fault::CommitFails, 3_000, 3_000);
        allow(Fault::CommitUnknown, 3_000, 3_000);
        allow(Fault::ReadFails, 3_000, 500);
        allow(Fault::SlowSocket, 4_500, 4_500);
        Self { commit_ms, write_ms }
    }
}

/// What is recorded with a message that quiet hours hold or end.
const QUIET_HOURS: &str = "tidings quiet_hours";
/// The same for the limit of a sender's day.
const DAILY_LIMIT: &str = "tidings daily_limit";

/// For as long as a lease lasts, and as long as it takes to see that it is over.
const LOST_MS: Ms = 40_000;
/// So long keys are remembered, and a receipt may correct `unconfirmed`.
const THREE_DAYS_MS: i64 = 72 * 3_600_000;

/// Compares.
pub fn check(run: &Run) -> Vec<Violation> {
    let seen = Seen::of(run);
    let slack = Slack::of(&seen);
    let mut check = Check { seen, slack, went: Vec::new(), found: Vec::new() };
    check.went = check.went();
    check.all();
    check.found
}

struct Check<'r> {
    seen: Seen<'r>,
    slack: Slack,
    /// What went by each limit of a day.
    went: Vec<quota::Went>,
    found: Vec<Violation>,
}

/// The kinds of event that tell of an end.
const ENDS: [Kind; 7] = [
    Kind::Delivered,
    Kind::Undelivered,
    Kind::Failed,
    Kind::Rejected,
    Kind::Expired,
    Kind::Canceled,
    Kind::Unconfirmed,
];

const fn ended_as(kind: Kind) -> Option<Status> {
    Some(match kind {
        Kind::Delivered => Status::Delivered,
        Kind::Undelivered => Status::Undelivered,
        Kind::Failed => Status::Failed,
        Kind::Rejected => Status::Rejected,
        Kind::Expired => Status::Expired,
        Kind::Canceled => Status::Canceled,
        Kind::Unconfirmed => Status::Unconfirmed,
        _ => return None,
    })
}

const fn is_end(status: Status) -> bool {
    !matches!(status, Status::Scheduled | Status::Queued | Status::Sending | Status::Sent)
}

/// Whether a receipt may turn `unconfirmed` into this.
const fn corrects(status: Status) -> bool {
    matches!(status, Status::Delivered | Status::Undelivered | Status::Expired | Status::Rejected)
}

impl Check<'_> {
    fn all(&mut self) {
        self.calls();
        self.messages();
        self.shown();
        self.submissions();
        self.processes();
        self.opt_outs();
        self.reports();
        self.events();
        self.webhooks();
        self.order();
        self.windows();
        self.idle();
        self.days();
        self.senders();
        self.spending();
        self.nodes();
        self.healing();
    }

    fn broken(&mut self, promise: &'static str, what: String) {
        self.found.push(Violation { promise, what });
    }

    /// P-01 and P-05: what was answered is there, once.
    fn calls(&mut self) {
        let mut by_reference: BTreeMap<u32, Vec<i64>> = BTreeMap::new();
        let mut found = Vec::new();
        for (id, timeline) in &self.seen.messages {
            let reference = timeline.stored.message.reference.as_deref();
            match reference.and_then(|reference| reference.parse().ok()) {
                Some(reference) if self.seen.wishes.contains_key(&reference) => {
                    by_reference.entry(reference).or_default().push(*id);
                }
                _ => found.push(("P-05", format!("message {id} was never asked for"))),
            }
        }
        for (reference, ids) in by_reference.iter().filter(|(_, ids)| ids.len() > 1) {
            // A wall clock that is set forward by days ends the time of a key between two tries.
            let (_, call) = self.seen.wishes[reference];
            let asked = &self.seen.calls[&call.number].asked;
            let forgotten =
                matches!(asked[..], [first, .., last] if self.passed_between(first, last) >= THREE_DAYS_MS);
            if !forgotten {
                found.push(("P-05", format!("m{reference} is several messages: {ids:?}")));
            }
        }
        for (reference, (_, call)) in &self.seen.wishes {
            let Some(place) = call.wishes.iter().position(|wish| wish.reference == *reference) else {
                continue;
            };
            let reply = self.seen.calls.get(&call.number).and_then(|seen| seen.replied.as_ref());
            let all = by_reference.get(reference).map_or(&[][..], Vec::as_slice);
            let there = all.first().copied();
            match reply {
                Some((at, Reply::Items(items))) => match items.get(place) {
                    Some(Item::Accepted(id, _)) if !all.contains(id) => found.push((
                        "P-01",
                        format!("m{reference} was answered with {id} at {} ms and is {there:?}", at.ms),
                    )),
                    Some(Item::Suppressed | Item::Refused) if there.is_some() => found.push((
                        "P-01",
                        format!("m{reference} was not accepted at {} ms and is {there:?}", at.ms),
                    )),
                    None => {
                        found.push(("P-01", format!("m{reference} is missing in the answer to its call")))
                    }
                    Some(_) => {}
                },
                Some((_, Reply::KeyReused)) => {
                    found.push(("P-05", format!("the key of call {} is taken for another's", call.number)));
                }
                Some((_, Reply::Overloaded)) | None => {
                    if call.keyed && self.seen.view.is_settled {
                        found.push(("P-05", format!("call {} is repeated and never answered", call.number)));
                    }
                }
            }
        }
        self.take(found);
    }

    fn take(&mut self, found: Vec<(&'static str, String)>) {
        for (promise, what) in found {
            self.broken(promise, what);
        }
    }

    /// P-06, P-10, P-13: how each message ended.
    fn messages(&mut self) {
        let mut found = Vec::new();
        for (id, timeline) in &self.seen.messages {
            self.end_of(*id, timeline, &mut found);
        }
        self.take(found);
    }

    fn end_of(&self, id: i64, timeline: &Timeline, found: &mut Vec<(&'static str, String)>) {
        let status = timeline.stored.life.state.status();
        let Some((wish, _)) = self.seen.wish(id) else { return };
        let name = format!("m{} ({id}, {}, {})", wish.reference, wish.purpose.as_str(), status.as_str());
        let ends: Vec<_> =
            timeline.events.iter().filter(|(_, event)| ENDS.contains(&event.kind)).map(|(_, e)| e).collect();
        let dated_ahead = self.is_dated_ahead(timeline);
        if !is_end(status) && !dated_ahead {
            found.push(("P-06", format!("{name} has not ended")));
        }
        if is_end(status) == ends.is_empty() {
            found.push(("P-06", format!("{name} and its events do not agree: {ends:?}")));
        }
        if let Some(last) = ends.last()
            && ended_as(last.kind) != Some(status)
        {
            found.push(("P-06", format!("{name}, but its last event is {last:?}")));
        }
        let corrected = ends.len() == 2
            && ends[0].kind == Kind::Unconfirmed
            && ended_as(ends[1].kind).is_some_and(corrects)
            && ends[1].raw.is_some();
        if ends.len() > 1 && !corrected {
            found.push(("P-06", format!("{name} ended several times: {ends:?}")));
        }
        for end in &ends {
            let needs_reason = !matches!(end.kind, Kind::Delivered | Kind::Canceled);
            if needs_reason && end.failure.is_none() {
                found.push(("P-06", format!("{name} ended without a reason: {end:?}")));
            }
        }
        let sent = timeline.events.iter().filter(|(_, event)| event.kind == Kind::Sent).count();
        if sent > 1 {
            found.push(("P-20", format!("{name} was told as sent {sent} times")));
        }
        let times: Vec<i64> = timeline.events.iter().map(|(_, event)| event.at.as_millis()).collect();
        // What a node that stood still had asked for was done when it went on.
        let reordered = self.seen.plan.faults.has(Fault::StoreSlow) || self.seen.has_several();
        if times.windows(2).any(|pair| pair[0] > pair[1]) && !reordered && !self.clock_went_back() {
            found.push(("P-20", format!("{name} has events whose time goes back: {times:?}")));
        }
        if let Some(first) = ends.first() {
            self.end_in_time(&name, timeline, first.at.as_millis(), found);
            self.reason(id, &name, timeline, first.kind, found);
        }
    }

    /// Whether processes began under a wall clock behind that of the one before.
    fn clock_went_back(&self) -> bool {
        self.seen.processes.values().any(|process| {
            let before = self.seen.processes.values().filter(|other| other.started < process.started);
            before.into_iter().any(|other| {
                let end = other.ended.map_or(process.started, |(at, _)| at);
                let highest = self
                    .seen
                    .processes
                    .iter()
                    .find(|(_, seen)| seen.started == other.started)
                    .map_or(0, |(number, _)| self.seen.clock_at_most(*number, end));
                highest > process.wall_ms
            })
        })
    }

    /// Whether a process had a clock that was ahead, while or before the message lived, and a later one had one that was
    /// less so: nobody can know then how much time has passed.
    fn is_dated_ahead(&self, timeline: &Timeline) -> bool {
        let Some(asked) = self.asked(timeline.stored.message.id.key()) else { return false };
        let ahead = |ms: i64, at: At| ms - (self.seen.plan.begin_ms + at.ms as i64);
        let later = self.seen.processes.values().filter(|process| process.started > asked);
        later.into_iter().any(|process| {
            let before = self.seen.processes.iter().filter(|(_, other)| other.started < process.started);
            let most = before.map(|(number, other)| {
                let end = other.ended.map_or(process.started, |(at, _)| at);
                ahead(self.seen.clock_at_most(*number, end), end)
            });
            most.max().is_some_and(|most| most > ahead(process.wall_ms, process.started) + 50)
        })
    }

    /// P-06: no later than its end of worth and a minute, but for what a doubt and a fault of ours need.
    fn end_in_time(
        &self,
        name: &str,
        timeline: &Timeline,
        ended_ms: i64,
        found: &mut Vec<(&'static str, String)>,
    ) {
        let plan = self.seen.plan;
        let excused = [
            Fault::WallForward,
            Fault::WallBack,
            Fault::Freeze,
            Fault::StoreAway,
            Fault::StoreSlow,
            Fault::CommitFails,
            Fault::CommitUnknown,
            Fault::ReadFails,
            Fault::Crash,
            Fault::CrashAtCommit,
            Fault::CrashAtSubmission,
            Fault::Stop,
            Fault::CutFromStore,
            Fault::CutFromCarriers,
            Fault::Failover,
        ];
        if excused.iter().any(|fault| plan.faults.has(*fault)) {
            return;
        }
        let purpose = timeline.stored.message.purpose;
        let in_doubt_ms = if purpose == Purpose::Transactional { 120_000 } else { 5_000 };
        let patience_ms = plan.connections.iter().map(|c| c.patience_ms).max().unwrap_or(0) as i64;
        let latest_ms = timeline.stored.message.expires_at.as_millis() + 60_000 + in_doubt_ms + patience_ms;
        if ended_ms > latest_ms {
            found.push(("P-06", format!("{name} ended {} ms too late", ended_ms - latest_ms)));
        }
    }

    /// P-10 and P-13: the end is one that what was done explains.
    fn reason(
        &self,
        id: i64,
        name: &str,
        timeline: &Timeline,
        kind: Kind,
        found: &mut Vec<(&'static str, String)>,
    ) {
        let submitted: Vec<u32> = self.submissions_of(id);
        let code = timeline
            .events
            .iter()
            .find(|(_, event)| event.kind == kind)
            .and_then(|(_, event)| event.failure.as_ref())
            .map_or("", |failure| failure.code.as_str());
        match kind {
            Kind::Failed => {
                // Only a refusal that time may cure, and that is not about pace, costs a try.
                let costly: BTreeSet<u32> = submitted
                    .iter()
                    .filter(|n| {
                        let seen = &self.seen.submissions[**n as usize];
                        seen.answers.iter().any(|(_, answer, _)| *answer == Answer::RefusedForNow)
                    })
                    .map(|n| self.seen.ledger.submissions[*n as usize].attempt)
                    .collect();
                if (costly.len() as u32) < self.seen.plan.max_tries {
                    found.push((
                        "P-13",
                        format!("{name} failed after {} of {} tries", costly.len(), self.seen.plan.max_tries),
                    ));
                }
            }
            Kind::Delivered | Kind::Undelivered if submitted.is_empty() => {
                found.push(("P-20", format!("{name} was never submitted")));
            }
            Kind::Expired | Kind::Rejected | Kind::Canceled
                if code.starts_with("tidings") || code.is_empty() =>
            {
                // We say that it was not sent. Then nothing of it may be in doubt.
                for n in &submitted {
                    let of = &self.seen.ledger.submissions[*n as usize];
                    let real = self.seen.submissions[*n as usize].real();
                    let reported = self.seen.about.get(n).into_iter().flatten().any(|report| {
                        self.seen.ledger.reports[*report as usize].says != Says::Progress
                            && self.seen.reports[*report as usize].acknowledged.is_some()
                    });
                    if of.taken && real.is_none() && !reported {
                        found.push(("P-10", format!("{name} hides that submission {n} is in doubt")));
                    }
                }
            }
            Kind::Unconfirmed if code == "tidings no_answer" => {
                self.doubt(id, name, timeline, &submitted, found)
            }
            _ => {}
        }
    }

    /// P-09 and P-10: a doubt has a reason.
    fn doubt(
        &self,
        id: i64,
        name: &str,
        timeline: &Timeline,
        submitted: &[u32],
        found: &mut Vec<(&'static str, String)>,
    ) {
        let unanswered = submitted.iter().any(|n| {
            let seen = &self.seen.submissions[*n as usize];
            seen.answers.first().is_none_or(|(_, answer, _)| *answer == Answer::None)
        });
        let Some(asked) = self.asked(id) else { return };
        // For another day only what is held is waited for: what is not has ended before.
        let end = self.seen.next_day.filter(|_| !was_held(timeline)).unwrap_or(self.seen.end_of_all());
        let crashed = self.seen.crashed_between(asked, end);
        let unknown = self.seen.unknown_between(asked, end, &["accept", "claim", "advance"]);
        // A node whose lease was over settles all that it had claimed before it goes on, as another one would.
        let is_apart = |process: &u32| {
            let times = self.seen.apart(*process, LOST_MS);
            times.iter().any(|(from, to)| *from < end.ms && asked.ms < *to)
        };
        let lapsed = self.seen.processes.keys().any(is_apart);
        let jumped = self.jumped_between(asked, end) || self.stopped_too_late_between(asked, end);
        if !unanswered && !crashed && !unknown && !lapsed && !jumped {
            found.push(("P-09", format!("{name} is in doubt without a reason: {:?}", timeline.stored.life)));
        }
    }

    /// Whether the process's time jumped so far between these two that it ended a wait: the wall clock was set forward, or
    /// everything stood still for as long as a claim counts.
    fn jumped_between(&self, from: At, to: At) -> bool {
        let mut before = 0;
        let forward = self.seen.clock.iter().any(|(at, ahead_ms)| {
            let step_ms = *ahead_ms - std::mem::replace(&mut before, *ahead_ms);
            step_ms > 1_000 && *at > from && *at < to
        });
        let frozen = self.seen.frozen.iter().filter(|(at, _)| *at > from && *at < to);
        forward || frozen.map(|(_, ms)| ms).sum::<Ms>() > 80_000
    }

    /// Whether a process that was asked to stop had no time left for its carriers' answers between these two, since everything
    /// stood still meanwhile.
    fn stopped_too_late_between(&self, from: At, to: At) -> bool {
        self.seen.stopping.iter().any(|(asked, process)| {
            let ended = self.seen.processes.get(process).and_then(|process| process.ended);
            let (ended, _) = ended.unwrap_or((to, true));
            let lasted_ms = ended.ms.saturating_sub(asked.ms);
            let mut frozen = self.seen.frozen.iter();
            *asked < to
                && ended > from
                && lasted_ms >= STOP_WITHIN_MS
                && frozen.any(|(at, _)| *at > *asked && *at < ended)
        })
    }

    /// The most time that can have passed between these two for one process after another: milliseconds by their clocks.
    fn passed_between(&self, from: At, to: At) -> i64 {
        let (mut before, mut passed_ms) = (0, to.ms.saturating_sub(from.ms) as i64);
        for (at, ahead_ms) in &self.seen.clock {
            let step_ms = *ahead_ms - std::mem::replace(&mut before, *ahead_ms);
            if *at > from && *at < to {
                passed_ms += step_ms.max(0);
            }
        }
        passed_ms
    }

    fn asked(&self, message: i64) -> Option<At> {
        let (_, call) = self.seen.wish(message)?;
        self.seen.calls.get(&call.number)?.asked.first().copied()
    }

    fn submissions_of(&self, message: i64) -> Vec<u32> {
        let all = self.seen.by_segment.range((message, 0)..=(message, u8::MAX));
        let mut all: Vec<u32> = all.flat_map(|(_, of)| of.iter().copied()).collect();
        all.sort_unstable();
        all
    }

    /// P-20 and P-06: what is shown never goes back, and an end never changes but `unconfirmed`.
    fn shown(&mut self) {
        let mut last: BTreeMap<i64, (Ms, Status)> = BTreeMap::new();
        let mut found = Vec::new();
        let mut see = |message: i64, ms: Ms, status: Status| {
            if let Some((then_ms, before)) = last.insert(message, (ms, status))
                && before != status
            {
                let allowed = match before {
                    Status::Scheduled | Status::Queued | Status::Sending => status != Status::Scheduled,
                    Status::Sent => is_end(status),
                    Status::Unconfirmed => corrects(status),
                    _ => false,
                };
                if !allowed {
                    found.push((
                        "P-20",
                        format!("{message} was {before:?} at {then_ms} ms and {status:?} at {ms} ms"),
                    ));
                }
            }
        };
        for (ms, what) in &self.seen.ledger.entries {
            if let Happened::Shown { message, status } = what {
                see(*message, *ms, *status);
            }
            if let Happened::CancelAnswered { message, done: true } = what {
                see(*message, *ms, Status::Canceled);
            }
        }
        let end = self.seen.end_of_all();
        for (id, timeline) in &self.seen.messages {
            see(*id, end.ms, timeline.stored.life.state.status());
        }
        self.take(found);
    }

    /// P-08 and P-30: what the end of a process leaves in doubt.
    fn processes(&mut self) {
        // Where others are, what one finds at its start may be in their hands.
        if self.seen.has_several() {
            return;
        }
        let mut found = Vec::new();
        for (place, (ms, what)) in self.seen.ledger.entries.iter().enumerate() {
            let Happened::Ready { process, in_doubt, segments } = what else { continue };
            if *in_doubt == 0 {
                continue;
            }
            let at = At { place, ms: *ms };
            let before =
                self.seen.processes.values().filter(|seen| seen.ended.is_some_and(|(end, _)| end < at));
            let started = before.clone().map(|seen| seen.started).max().unwrap_or(at);
            // What the store did and denied, nobody waits for.
            let unknown = self
                .seen
                .store_faults
                .iter()
                .filter(|(then, operation, fault)| {
                    *fault == StoreFault::Unknown && *then < at && ["accept", "claim"].contains(operation)
                })
                .count();
            for (connection, segments) in self.seen.plan.connections.iter().zip(segments) {
                // A message of three may go where one fits: otherwise it never could.
                let rest = if self.seen.plan.faults.has(Fault::Long) { 2 } else { 0 };
                let window = connection.window + rest;
                // A call brings eight messages at most, of three segments.
                if *segments > window + unknown * window.max(8 * (1 + rest)) {
                    found.push((
                        "P-08",
                        format!("{segments} segments are in doubt at the start of {process}, with a window of {window}"),
                    ));
                }
            }
            let stopped = self.seen.processes.values().any(|seen| {
                seen.started == started && seen.ended.is_some_and(|(_, in_good_order)| in_good_order)
            });
            if stopped && self.seen.store_was_well() {
                let unanswered = self.seen.submissions.iter().filter(|submission| {
                    submission.at > started && submission.at < at && submission.answers.is_empty()
                });
                if unanswered.count() == 0 {
                    found.push((
                        "P-30",
                        format!("a stop left {in_doubt} in doubt, at the start of {process}"),
                    ));
                }
            }
        }
        self.take(found);
    }

    /// Everything comes to its end once nothing goes wrong any more.
    fn healing(&mut self) {
        let mut found = Vec::new();
        let view = self.seen.view;
        if !view.is_settled {
            found.push(("healing", format!("something has not ended: {:?}", view.statistics)));
        }
        for place in &view.starved {
            found.push(("healing", format!("on connection {place} something is due, and nothing goes")));
        }
        for place in &view.unowned {
            found.push(("healing", format!("connection {place} has not one owner")));
        }
        for (place, taken) in view.places.iter().enumerate().filter(|(_, taken)| **taken > 0) {
            found.push(("healing", format!("{taken} places in the window of connection {place} are lost")));
        }
        self.take(found);
    }

    /// How long a submission may be on its way to its carrier after it was asked for the last time whether it may go. The time is
    /// read after the list, however slow that is: only a socket comes in between, and what waits for one counts in whole
    /// seconds.
    fn waits_ms(&self) -> Ms {
        if self.seen.plan.faults.has(Fault::SlowSocket) { 1_050 } else { 20 }
    }
}

/// Whether quiet hours held or ended it.
pub(crate) fn was_quiet(timeline: &Timeline) -> bool {
    has_code(timeline, QUIET_HOURS)
}

/// Whether the limit of a day held or ended it.
pub(crate) fn was_full(timeline: &Timeline) -> bool {
    has_code(timeline, DAILY_LIMIT)
}

/// Whether its recipient had another sender of the pool before.
pub(crate) fn was_replaced(timeline: &Timeline) -> bool {
    let mut chosen = timeline.events.iter().filter(|(_, event)| event.kind == Kind::SenderChosen);
    chosen.any(|(_, event)| event.raw.as_ref().is_some_and(|raw| raw.starts_with("failover")))
}

/// Whether it waited, or ended, for a reason that is ours.
fn was_held(timeline: &Timeline) -> bool {
    was_quiet(timeline) || was_full(timeline)
}

fn has_code(timeline: &Timeline, code: &str) -> bool {
    let mut failures = timeline.events.iter().filter_map(|(_, event)| event.failure.as_ref());
    failures.any(|failure| failure.code == code)
}

/// The submission and the word of a receipt, as the carrier wrote them.
fn read_raw(raw: &str) -> Option<(usize, &str)> {
    let mut words = raw.split(' ');
    let submission = words.next()?.strip_prefix("sub:")?.parse().ok()?;
    Some((submission, words.next()?.strip_prefix("says:")?))
}
