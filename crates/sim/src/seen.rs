//! The ledger, put in order: by call, by message, by submission, by process. It only sorts; it judges nothing.

use crate::fault::Fault;
use crate::ledger::{Answer, Happened, Ledger, Ms, Reply, StoreFault};
use crate::plan::{Call, Deed, Plan, Turn, Wish};
use crate::world::{Run, View};
use std::collections::BTreeMap;
use tidings_store::Timeline;

/// A place in the ledger and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    /// The order of all things.
    pub place: usize,
    /// When.
    pub ms: Ms,
}

/// What was seen of one call.
#[derive(Debug, Default)]
pub struct CallSeen {
    /// Each time it was made.
    pub asked: Vec<At>,
    /// Each time nothing was heard.
    pub unheard: Vec<At>,
    /// What was heard in the end.
    pub replied: Option<(At, Reply)>,
}

/// What was seen of one submission.
#[derive(Debug)]
pub struct SubmissionSeen {
    /// When it came to the carrier.
    pub at: At,
    /// Every answer that was given to the process: when, which, and whether it had been given up before.
    pub answers: Vec<(At, Answer, bool)>,
}

impl SubmissionSeen {
    /// The first answer of a carrier that really answered.
    pub fn real(&self) -> Option<(At, Answer)> {
        let mut answers = self.answers.iter();
        answers.find(|(_, answer, _)| *answer != Answer::None).map(|(at, answer, _)| (*at, *answer))
    }

    /// Whether the carrier refused it, and the process was told before this.
    pub fn refused_before(&self, before: At) -> bool {
        self.real().is_some_and(|(at, answer)| answer.is_refusal() && at < before)
    }
}

/// What was seen of one process.
#[derive(Debug, Clone, Copy)]
pub struct ProcessSeen {
    /// When it began.
    pub started: At,
    /// Where.
    pub node: usize,
    /// What its wall clock said then.
    pub wall_ms: i64,
    /// When it ended, and whether in good order.
    pub ended: Option<(At, bool)>,
}

/// What was seen of one report of a carrier.
#[derive(Debug, Default)]
pub struct ReportSeen {
    /// Each time it was offered.
    pub offered: Vec<At>,
    /// When it was acknowledged.
    pub acknowledged: Option<At>,
}

/// The ledger in order.
pub struct Seen<'r> {
    /// The plan.
    pub plan: &'r Plan,
    /// The ledger.
    pub ledger: &'r Ledger,
    /// The view at the end.
    pub view: &'r View,
    /// What customers wished, by their own name for it, with its call.
    pub wishes: BTreeMap<u32, (&'r Wish, &'r Call)>,
    /// By the number of the call.
    pub calls: BTreeMap<u32, CallSeen>,
    /// Messages of the view, by id.
    pub messages: BTreeMap<i64, &'r Timeline>,
    /// In the order of the ledger's submissions.
    pub submissions: Vec<SubmissionSeen>,
    /// The submissions of a message's segment, in order.
    pub by_segment: BTreeMap<(i64, u8), Vec<u32>>,
    /// In the order of the ledger's reports.
    pub reports: Vec<ReportSeen>,
    /// The reports about a submission.
    pub about: BTreeMap<u32, Vec<u32>>,
    /// By number, from 1.
    pub processes: BTreeMap<u32, ProcessSeen>,
    /// Changes of the wall clock: when, and by how much it is ahead from then on.
    pub clock: Vec<(At, i64)>,
    /// What the store did wrong.
    pub store_faults: Vec<(At, &'static str, StoreFault)>,
    /// When everything stood still: until when, and for how long.
    pub frozen: Vec<(At, Ms)>,
    /// When a process stood still: until when, which one, and for how long.
    pub stood: Vec<(At, u32, Ms)>,
    /// Each time a process took a connection for its own: when, which connection, which process.
    pub opened: Vec<(At, usize, u32)>,
    /// Each time the store settled for a process what others had claimed.
    pub recovered: Vec<(At, u32)>,
    /// When a process was asked to stop, and which one.
    pub stopping: Vec<(At, u32)>,
    /// When healing began.
    pub healing: At,
    /// When nothing was left but what waits for another day, and that came.
    pub next_day: Option<At>,
}

impl<'r> Seen<'r> {
    /// Reads a run.
    pub fn of(run: &'r Run) -> Self {
        let (plan, ledger, view) = (&run.plan, &run.ledger, &run.view);
        let calls = plan.deeds.iter().filter_map(|(_, deed)| match deed {
            Deed::Send(call) => Some(call),
            Deed::OptOut { .. } | Deed::Lift { .. } => None,
        });
        let wishes =
            calls.flat_map(|call| call.wishes.iter().map(move |wish| (wish.reference, (wish, call))));
        let mut seen = Self {
            plan,
            ledger,
            view,
            wishes: wishes.collect(),
            calls: BTreeMap::new(),
            messages: view.messages.iter().map(|it| (it.stored.message.id.key(), it)).collect(),
            submissions: Vec::new(),
            by_segment: BTreeMap::new(),
            reports: ledger.reports.iter().map(|_| ReportSeen::default()).collect(),
            about: BTreeMap::new(),
            processes: BTreeMap::new(),
            clock: Vec::new(),
            store_faults: Vec::new(),
            frozen: Vec::new(),
            stood: Vec::new(),
            opened: Vec::new(),
            recovered: Vec::new(),
            stopping: Vec::new(),
            healing: At { place: usize::MAX, ms: Ms::MAX },
            next_day: None,
        };
        for (number, report) in (0..).zip(&ledger.reports) {
            if let Some(submission) = report.submission {
                seen.about.entry(submission).or_default().push(number);
            }
        }
        for (place, (ms, what)) in ledger.entries.iter().enumerate() {
            seen.take(At { place, ms: *ms }, what);
        }
        seen
    }

    fn take(&mut self, at: At, what: &Happened) {
        match what {
            Happened::Started { process, node, wall_ms } => {
                let seen = ProcessSeen { started: at, node: *node, wall_ms: *wall_ms, ended: None };
                self.processes.insert(*process, seen);
            }
            Happened::Crashed { process }
            | Happened::Expelled { process }
            | Happened::NotStarted { process } => self.end(*process, at, false),
            Happened::Stood { process, ms } => self.stood.push((at, *process, *ms)),
            Happened::Opened { connection, process } => self.opened.push((at, *connection, *process)),
            Happened::Recovered { process } => self.recovered.push((at, *process)),
            Happened::Stopping { process } => self.stopping.push((at, *process)),
            Happened::Stopped { process } => self.end(*process, at, true),
            Happened::Asked { call, .. } => self.calls.entry(*call).or_default().asked.push(at),
            Happened::Unheard { call } => self.calls.entry(*call).or_default().unheard.push(at),
            Happened::Replied { call, reply } => {
                self.calls.entry(*call).or_default().replied = Some((at, reply.clone()));
            }
            Happened::Submitted { submission } => {
                self.submissions.push(SubmissionSeen { at, answers: Vec::new() });
                let of = &self.ledger.submissions[*submission as usize];
                self.by_segment.entry((of.message, of.segment)).or_default().push(*submission);
            }
            Happened::Answered { submission, answer, late } => {
                self.submissions[*submission as usize].answers.push((at, *answer, *late));
            }
            Happened::Offered { report } => self.reports[*report as usize].offered.push(at),
            Happened::Acknowledged { report } => self.reports[*report as usize].acknowledged = Some(at),
            Happened::WallSet { ahead_ms } => self.clock.push((at, *ahead_ms)),
            Happened::StoreFault { operation, fault } => self.store_faults.push((at, operation, *fault)),
            Happened::Froze { ms } => self.frozen.push((at, *ms)),
            Happened::Healing => self.healing = at,
            Happened::NextDay => drop(self.next_day.get_or_insert(at)),
            Happened::Ready { .. }
            | Happened::Paused { .. }
            | Happened::OptOutAsked { .. }
            | Happened::OptOutAnswered { .. }
            | Happened::LiftAsked { .. }
            | Happened::LiftEnded { .. }
            | Happened::CancelAsked { .. }
            | Happened::CancelAnswered { .. }
            | Happened::Shown { .. }
            | Happened::LinkUp { .. }
            | Happened::LinkDown { .. }
            | Happened::Unsent { .. }
            | Happened::StoreClockSet { .. }
            | Happened::WroteAfterEnd { .. }
            | Happened::Called { .. } => {}
        }
    }

    fn end(&mut self, process: u32, at: At, in_good_order: bool) {
        if let Some(seen) = self.processes.get_mut(&process)
            && seen.ended.is_none()
        {
            seen.ended = Some((at, in_good_order));
        }
    }

    /// The wish behind a message.
    pub fn wish(&self, message: i64) -> Option<(&'r Wish, &'r Call)> {
        let reference = self.messages.get(&message)?.stored.message.reference.as_ref()?;
        self.wishes.get(&reference.parse().ok()?).copied()
    }

    /// The connection that a message must go out on.
    pub fn connection_of(&self, message: i64) -> Option<usize> {
        let (wish, _) = self.wish(message)?;
        if !wish.is_pooled && !self.plan.one_carrier {
            return Some(wish.connection);
        }
        let message = &self.messages.get(&message)?.stored.message;
        if self.plan.one_carrier {
            // They are registered in their order, and first of all.
            return usize::try_from(message.connection.key() - 1).ok();
        }
        let sender = message.sender.to_string();
        self.plan.senders.iter().find(|known| known.number == sender).map(|known| known.connection)
    }

    /// The highest that the clock of this process can stand at that moment: it goes on, and never goes back.
    pub fn clock_at_most(&self, process: u32, at: At) -> i64 {
        self.clock_that_saw(process, at, 0)
    }

    /// The same if it saw nothing of what the wall clock stood at for no time at all.
    pub fn clock_at_least(&self, process: u32, at: At) -> i64 {
        self.clock_that_saw(process, at, 1)
    }

    fn clock_that_saw(&self, process: u32, at: At, lasting_ms: Ms) -> i64 {
        let started = self.processes.get(&process).map_or(At { place: 0, ms: 0 }, |seen| seen.started);
        let ends = self.clock.iter().skip(1).map(|(then, _)| then.ms).chain([Ms::MAX]);
        let seen = self.clock.iter().zip(ends).filter(|((then, _), end)| end - then.ms >= lasting_ms);
        let seen: Vec<(At, i64)> = seen.map(|(set, _)| *set).collect();
        let before = seen.iter().rev().find(|(then, _)| *then < started).map_or(0, |(_, ahead)| *ahead);
        let since = seen.iter().filter(|(then, _)| *then > started && *then <= at);
        let ahead = since.map(|(_, ahead)| *ahead).fold(before, i64::max);
        self.plan.begin_ms + at.ms as i64 + ahead
    }

    /// Whether a process ended without warning between these two.
    pub fn crashed_between(&self, from: At, to: At) -> bool {
        self.processes
            .values()
            .any(|seen| seen.ended.is_some_and(|(at, in_good_order)| !in_good_order && at > from && at < to))
    }

    /// Whether the store did something and said that it had not, between these two.
    pub fn unknown_between(&self, from: At, to: At, operations: &[&str]) -> bool {
        self.store_faults.iter().any(|(at, operation, fault)| {
            *fault == StoreFault::Unknown && *at > from && *at < to && operations.contains(operation)
        })
    }

    /// Whether several nodes served the store.
    pub fn has_several(&self) -> bool {
        self.plan.nodes.len() > 1
    }

    /// The times in which a process of several could commit nothing and heard nothing, and what was under way then and
    /// later: so long after it that came to its end.
    pub fn apart(&self, process: u32, after_ms: Ms) -> Vec<(Ms, Ms)> {
        if !self.has_several() {
            return Vec::new();
        }
        let node = self.processes.get(&process).map(|seen| seen.node);
        let spells = self.plan.spells.iter().filter(|spell| match spell.fault {
            Fault::StoreAway | Fault::Failover => true,
            Fault::CutFromStore => Some(spell.place) == node,
            _ => false,
        });
        let spells = spells.map(|spell| (spell.from_ms, spell.to_ms));
        let stood = self.stood.iter().filter(|(_, of, _)| *of == process);
        let stood = stood.map(|(at, _, ms)| (at.ms.saturating_sub(*ms), at.ms));
        // One that ends while it stands still never goes on.
        let planned = self.plan.turns.iter().filter_map(|(from, turn)| match turn {
            Turn::Still(of, ms) if Some(*of) == node => Some((*from, from + ms)),
            _ => None,
        });
        let mut all: Vec<(Ms, Ms)> =
            spells.chain(stood).chain(planned).map(|(from, to)| (from, to + after_ms)).collect();
        all.sort_unstable();
        all
    }

    /// For how long of this time a process was apart: milliseconds.
    pub fn apart_ms(&self, process: u32, from_ms: Ms, to_ms: Ms) -> Ms {
        // An operation that is not answered is given up after some seconds, and tried again.
        const UNDER_WAY_MS: Ms = 12_000;
        let (mut apart_ms, mut until_ms) = (0, from_ms);
        for (from, to) in self.apart(process, UNDER_WAY_MS) {
            let from = from.max(until_ms);
            let to = to.min(to_ms);
            if to > from {
                apart_ms += to - from;
                until_ms = to;
            }
        }
        apart_ms
    }

    /// Whether the store did anything wrong at all.
    pub fn store_was_well(&self) -> bool {
        self.store_faults.is_empty()
    }

    /// The first thing that happened in so many milliseconds before this.
    pub fn before(&self, at: At, ms: Ms) -> At {
        let from_ms = at.ms.saturating_sub(ms);
        let place = self.ledger.entries.partition_point(|(then_ms, _)| *then_ms < from_ms);
        At { place, ms: from_ms }
    }

    /// The end of the ledger.
    pub fn end_of_all(&self) -> At {
        let ms = self.ledger.entries.last().map_or(0, |(ms, _)| *ms);
        At { place: self.ledger.entries.len(), ms }
    }
}
