//! One seed, judged: its violations, also a panic, and, for some seeds, whether a second run was the same. And what a
//! person needs to find the reason of one: the smallest set of faults that still shows it.

use crate::check::{Violation, check};
use crate::fault::Set;
use crate::ledger::{Answer, Happened, Item, Reply};
use crate::plan::Plan;
use crate::world::{self, Run};
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// Of so many seeds one is run twice.
const TWICE_EVERY: u64 = 100;
/// Lines of the trace that a report shows.
const LINES: usize = 60;

/// What came of a seed.
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The faults that it knew.
    pub faults: Set,
    /// What is wrong.
    pub violations: Vec<Violation>,
    /// Things that happened.
    pub happenings: usize,
    /// How long it lasted in its own time: milliseconds.
    pub lasted_ms: u64,
    /// What was counted.
    pub figures: Figures,
    /// The end of its trace.
    pub trace: Vec<String>,
    /// Each message with its life and its events.
    pub lives: Vec<String>,
}

/// What was counted in one world, or in many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Messages that were accepted.
    pub messages: usize,
    /// Submissions that a carrier got.
    pub submissions: usize,
    /// Ends of a process without warning.
    pub crashes: usize,
    /// Calls of webhooks.
    pub webhooks: usize,
    /// Receipts and inbound messages that were acknowledged.
    pub reports: usize,
    /// Calls that were made again because nothing had been heard.
    pub repeats: usize,
    /// Submissions that were given up.
    pub unanswered: usize,
    /// Messages that a process found in doubt when it began.
    pub in_doubt: usize,
    /// Messages that quiet hours held or ended.
    pub quiet: usize,
    /// Messages that the limit of a day held or ended.
    pub full: usize,
    /// Messages whose recipients had another sender of the pool, which could not be used.
    pub replaced: usize,
    /// Messages that were refused since they would have been too dear, or for another rule.
    pub refused: usize,
    /// Opt-outs that were answered.
    pub opt_outs: usize,
    /// Times that the wall clock was set.
    pub steps: usize,
    /// Stops in good order.
    pub stops: usize,
    /// Worlds with several nodes.
    pub several: usize,
    /// Times that a connection went from one process to another beside it.
    pub moves: usize,
    /// Processes that were ended by another node.
    pub expelled: usize,
    /// Times that a node stood still while others went on.
    pub stood: usize,
}

impl Figures {
    fn of(run: &Run) -> Self {
        let mut figures = Self {
            messages: run.view.messages.len(),
            submissions: run.ledger.submissions.len(),
            several: usize::from(run.plan.nodes.len() > 1),
            quiet: run.view.messages.iter().filter(|timeline| crate::check::was_quiet(timeline)).count(),
            full: run.view.messages.iter().filter(|timeline| crate::check::was_full(timeline)).count(),
            replaced: run
                .view
                .messages
                .iter()
                .filter(|timeline| crate::check::was_replaced(timeline))
                .count(),
            ..Self::default()
        };
        let mut owners = std::collections::BTreeMap::new();
        for (_, what) in &run.ledger.entries {
            match what {
                Happened::Crashed { .. } => figures.crashes += 1,
                Happened::Called { .. } => figures.webhooks += 1,
                Happened::Acknowledged { .. } => figures.reports += 1,
                Happened::Unheard { .. } => figures.repeats += 1,
                Happened::Replied { reply: Reply::Items(items), .. } => {
                    figures.refused += items.iter().filter(|item| **item == Item::Refused).count();
                }
                Happened::Answered { answer: Answer::None, .. } => figures.unanswered += 1,
                Happened::Ready { in_doubt, .. } => figures.in_doubt += *in_doubt as usize,
                Happened::OptOutAnswered { .. } => figures.opt_outs += 1,
                Happened::WallSet { .. } => figures.steps += 1,
                Happened::Stopped { .. } => figures.stops += 1,
                Happened::Expelled { .. } => figures.expelled += 1,
                Happened::Stood { .. } => figures.stood += 1,
                Happened::Opened { connection, process } if figures.several > 0 => {
                    let before = owners.insert(*connection, *process);
                    figures.moves += usize::from(before.is_some_and(|before| before != *process));
                }
                _ => {}
            }
        }
        figures
    }

    /// Adds those of another world.
    pub const fn add(&mut self, other: &Self) {
        self.messages += other.messages;
        self.submissions += other.submissions;
        self.crashes += other.crashes;
        self.webhooks += other.webhooks;
        self.reports += other.reports;
        self.repeats += other.repeats;
        self.unanswered += other.unanswered;
        self.in_doubt += other.in_doubt;
        self.quiet += other.quiet;
        self.full += other.full;
        self.replaced += other.replaced;
        self.refused += other.refused;
        self.opt_outs += other.opt_outs;
        self.steps += other.steps;
        self.stops += other.stops;
        self.several += other.several;
        self.moves += other.moves;
        self.expelled += other.expelled;
        self.stood += other.stood;
    }
}

thread_local! {
    static SIMULATING: Cell<bool> = const { Cell::new(false) };
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// A task that panics ends alone, and silently: so each panic is written down where it happens.
fn note_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if SIMULATING.get() {
                PANICS.with_borrow_mut(|panics| panics.push(panic.to_string()));
            } else {
                usual(panic);
            }
        }));
    });
}

/// Runs a plan and judges it.
pub fn judge(plan: Plan, live: bool) -> Outcome {
    note_panics();
    let (seed, faults) = (plan.seed, plan.faults);
    SIMULATING.set(true);
    let done = catch_unwind(AssertUnwindSafe(|| {
        let run = world::run(plan, live);
        let violations = check(&run);
        (run, violations)
    }));
    SIMULATING.set(false);
    let panics = PANICS.with_borrow_mut(std::mem::take);
    let panicked = panics.into_iter().map(|what| Violation { promise: "P-36", what });
    let Ok((run, violations)) = done else {
        return Outcome {
            seed,
            faults,
            violations: panicked.collect(),
            happenings: 0,
            lasted_ms: 0,
            figures: Figures::default(),
            trace: Vec::new(),
            lives: Vec::new(),
        };
    };
    let violations: Vec<Violation> = panicked.chain(violations).collect();
    let trace = if violations.is_empty() { Vec::new() } else { run.ledger.trace(Some(LINES)) };
    Outcome {
        seed,
        faults,
        violations,
        happenings: run.ledger.entries.len(),
        lasted_ms: run.lasted_ms,
        figures: Figures::of(&run),
        trace,
        lives: if live { lives(&run) } else { Vec::new() },
    }
}

fn lives(run: &Run) -> Vec<String> {
    let mut lines = Vec::new();
    for timeline in &run.view.messages {
        let message = &timeline.stored.message;
        let name = message.reference.as_deref().unwrap_or("?");
        lines.push(format!("m{name} {} {:?}", message.id.key(), timeline.stored.life));
        lines.extend(timeline.events.iter().map(|(id, event)| format!("    event {} {event:?}", id.key())));
    }
    lines
}

/// Runs the plan that a seed draws and judges it.
pub fn of_seed(seed: u64) -> Outcome {
    of_plan(&Plan::of(seed, Set::NONE))
}

/// Runs a plan and judges it; those of some seeds three times, to see that each run is the same.
pub fn of_plan(plan: &Plan) -> Outcome {
    let mut outcome = judge(plan.clone(), false);
    if plan.seed.is_multiple_of(TWICE_EVERY) && outcome.violations.is_empty() {
        let hash = |run: Run| run.ledger.hash();
        let first = hash(world::run(plan.clone(), false));
        let second = hash(world::run(plan.clone(), false));
        if first != second {
            let what = "two runs of it were not the same".to_owned();
            outcome.violations.push(Violation { promise: "determinism", what });
        }
    }
    outcome
}

/// The smallest set of faults with which the seed still breaks the same promise: each is switched off in turn.
pub fn shrink(seed: u64, faults: Set, promise: &str) -> Set {
    let breaks = |faults| {
        let outcome = judge(Plan::with(seed, faults), false);
        outcome.violations.iter().any(|violation| violation.promise == promise)
    };
    let mut least = faults;
    loop {
        let before = least;
        for fault in before.iter() {
            if breaks(least.without(fault)) {
                least = least.without(fault);
            }
        }
        if least == before {
            return least;
        }
    }
}

/// What a person needs to know of a seed that breaks a promise.
pub fn report(outcome: &Outcome, commit: &str) -> String {
    let mut lines = vec![format!("seed {} breaks (at commit {commit}):", outcome.seed)];
    lines.extend(outcome.violations.iter().take(10).map(|violation| format!("  {violation}")));
    if let Some(first) = outcome.violations.first() {
        let least = shrink(outcome.seed, outcome.faults, first.promise);
        lines.push(format!("  faults that it takes: {least}"));
        let names: Vec<String> = least.iter().map(|fault| fault.to_string()).collect();
        lines.push(format!("  see it: just sim {} {}", outcome.seed, names.join(",")));
    }
    lines.push(format!("  the last {} things that were seen:", outcome.trace.len()));
    lines.extend(outcome.trace.iter().map(|line| format!("    {}", shortened(line))));
    lines.join("\n")
}

fn shortened(line: &str) -> String {
    const LONGEST: usize = 220;
    if line.chars().count() <= LONGEST {
        return line.to_owned();
    }
    line.chars().take(LONGEST).chain("…".chars()).collect()
}
