//! The comparison: what was promised against what was seen. It knows the promises, the purposes' rules as the documents
//! state them, and what an outsider can know; no code of the engine, of the store or of the rules is used to judge.
//!
//! Where a fault makes it impossible to know (was an answer that came just before a crash committed?), it allows for
//! [`Slack`] and no longer.

mod pool;
mod quota;
mod spend;

use crate::fault::Fault;
use crate::house::STOP_WITHIN_MS;
use crate::ledger::{Answer, Did, Happened, Item, Ms, Reply, Says, StoreFault};
use crate::plan::minute_of_people;
use crate::seen::{At, Seen};
use crate::world::Run;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use tidings_domain::event::Kind;
use tidings_domain::message::Status;
use tidings_domain::purpose::Purpose;
use tidings_domain::webhook::Verdict;
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

    /// P-07, P-11, P-27 and the content of what was submitted.
    fn submissions(&mut self) {
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
    fn had_time(&self, process: u32, from: At, until: At) -> bool {
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

    /// How long a submission may be on its way to its carrier after it was asked for the last time whether it may go. The time is
    /// read after the list, however slow that is: only a socket comes in between, and what waits for one counts in whole
    /// seconds.
    fn waits_ms(&self) -> Ms {
        if self.seen.plan.faults.has(Fault::SlowSocket) { 1_050 } else { 20 }
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

    /// P-15: after the answer to an opt-out nothing starts.
    fn opt_outs(&mut self) {
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

    /// P-18, P-19, P-20: every receipt counts, once, for its own message and no other.
    fn reports(&mut self) {
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

    /// P-23: the log of events has no gap, no double and no going back, and its reader skips nothing.
    fn events(&mut self) {
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
    fn webhooks(&mut self) {
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
    fn disturbed_between(&self, from_ms: Ms, to_ms: Ms) -> bool {
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

    /// P-12: what is urgent goes first.
    fn order(&mut self) {
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
    fn windows(&mut self) {
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
    fn idle(&mut self) {
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

    /// P-28 and P-29: a connection has one owner, which follows the one before in time, and who was ended writes nothing.
    fn nodes(&mut self) {
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
