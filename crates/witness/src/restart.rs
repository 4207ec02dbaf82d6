//! Kills the binary while a long queue waits, and starts it again (P-01, P-14, P-33): it must send again within five
//! seconds, lose nothing, send nothing twice without a reason, and not grow with the queue.

use crate::backlog::{self, Stuff};
use crate::check::{self, Figures, Limits, Violation};
use crate::clock;
use crate::kill::{ANSWERED_GRACE_MS, HELD_MS, watch};
use crate::ledger::{Kill, Ledger, Purpose, Request};
use crate::load;
use crate::random::Random;
use crate::smsc::{Behaviour, Smsc};
use crate::subject::{Running, Setup, Subject};
use std::fmt;

/// How long a start may take until the carrier has a first message: milliseconds.
pub const SENDING_BOUND_MS: u64 = 5_000;
/// The most memory that the process may have in use at any time: KiB.
pub const MEMORY_BOUND_KIB: u64 = 256 * 1024;
/// Everything in the queue is worth sending for a day: nothing may expire.
const LIFE_S: u64 = 86_400;

/// What the run is to be.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The binary and its windows.
    pub setup: Setup,
    /// Repeats the schedule.
    pub seed: u64,
    /// Messages in the queue.
    pub queued: u64,
    /// Ends by force. The first comes before anything is sent.
    pub kills: usize,
    /// How long it sends before each further one: least and most milliseconds.
    pub up_ms: (u64, u64),
    /// How long everything may take to end: milliseconds.
    pub drain_ms: u64,
    /// Whether the directory stays if something was broken.
    pub keep: bool,
}

/// One start.
#[derive(Debug, Clone, Copy)]
pub struct Start {
    /// Until `/readyz` was answered with 200: milliseconds.
    pub ready_ms: u64,
    /// Until the carrier had a first message: milliseconds.
    pub sending_ms: u64,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// The seed that repeats it.
    pub seed: u64,
    /// How long the queue took to be made: milliseconds.
    pub filled_ms: u64,
    /// Memory in use with the whole queue waiting: KiB.
    pub memory_full_kib: u64,
    /// The most memory that any of the processes had in use: KiB.
    pub memory_most_kib: u64,
    /// Each start after a kill.
    pub starts: Vec<Start>,
    /// How long the rest of the queue took to be sent and reported: milliseconds.
    pub drain_ms: u64,
    /// What was counted.
    pub figures: Figures,
    /// What was broken.
    pub violations: Vec<Violation>,
    /// Errors in the binary's own log, some of them.
    pub complaints: Vec<String>,
}

impl Outcome {
    /// Whether nothing was lost and nothing was sent that must not be.
    pub fn is_good(&self) -> bool {
        self.violations.is_empty()
    }

    /// Whether it was also as quick and as small as is promised.
    pub fn is_quick_and_small(&self) -> bool {
        self.starts.iter().all(|start| start.sending_ms <= SENDING_BOUND_MS)
            && self.memory_most_kib <= MEMORY_BOUND_KIB
    }
}

/// Runs it.
///
/// # Errors
/// The run could not be done: the binary does not start, or ends by itself.
pub fn run(plan: &Plan) -> Result<Outcome, String> {
    let smsc = Smsc::start(Behaviour { early_receipt_one_in: 0, ..Behaviour::default() }, plan.seed)
        .map_err(|error| format!("no socket: {error}"))?;
    let mut subject = Subject::prepare(plan.setup.clone(), smsc.address())?;
    let outcome = work(plan, &subject, &smsc);
    if plan.keep && !outcome.as_ref().is_ok_and(Outcome::is_good) {
        eprintln!("left for you to look into: {}", subject.keep().display());
    }
    outcome
}

fn work(plan: &Plan, subject: &Subject, smsc: &Smsc) -> Result<Outcome, String> {
    // While nothing is bound, everything waits.
    smsc.gate(true);
    let mut running = subject.start()?;
    subject.wait_until_ready(&mut running)?;
    let began = clock::now();
    let stuff = Stuff {
        messages: plan.queued,
        first: 0,
        purposes: [Purpose::Marketing, Purpose::Marketing, Purpose::Transactional, Purpose::Alert]
            .map(|purpose| (purpose, LIFE_S))
            .to_vec(),
        seed: plan.seed,
        poison: None,
        callback: None,
    };
    let requests = backlog::fill(subject, &stuff)?;
    let filled_ms = clock::now().ms_since(began);
    let memory_full_kib = running.memory_kib();
    let mut memory_most_kib = running.memory_peak_kib();
    let mut random = Random::part(plan.seed, 1);
    let (mut kills, mut starts) = (Vec::new(), Vec::new());
    for n in 0..plan.kills {
        if n > 0 {
            watch(subject, &mut running, random.between(plan.up_ms.0, plan.up_ms.1))?;
        }
        memory_most_kib = memory_most_kib.max(running.memory_peak_kib());
        kills.push(Kill { at: clock::now(), in_doubt: None });
        running.kill();
        smsc.gate(false);
        let start;
        (running, start) = start_again(subject, smsc)?;
        starts.push(start);
    }
    let drain = clock::now();
    let (figures, violations) = drained(plan, subject, smsc, &mut running, &requests, &kills)?;
    memory_most_kib = memory_most_kib.max(running.memory_peak_kib());
    Ok(Outcome {
        seed: plan.seed,
        filled_ms,
        memory_full_kib,
        memory_most_kib,
        starts,
        drain_ms: clock::now().ms_since(drain),
        figures,
        violations,
        complaints: subject.complaints(5),
    })
}

/// Starts it, and waits until it is ready and the carrier has a first message from it.
fn start_again(subject: &Subject, smsc: &Smsc) -> Result<(Running, Start), String> {
    let (before, began) = (smsc.submission_count(), clock::now());
    let mut running = subject.start()?;
    subject.wait_until_ready(&mut running)?;
    let ready_ms = clock::now().ms_since(began);
    let sends = clock::wait_until(crate::subject::START_BOUND_MS, 1, || smsc.submission_count() > before);
    if !sends {
        return Err(format!("nothing is sent after a start\n{}", subject.log_end(30)));
    }
    let first = smsc.submission_at(before).unwrap_or(began);
    Ok((running, Start { ready_ms, sending_ms: first.ms_since(began) }))
}

/// Waits until everything has ended, and compares.
fn drained(
    plan: &Plan,
    subject: &Subject,
    smsc: &Smsc,
    running: &mut Running,
    requests: &[Request],
    kills: &[Kill],
) -> Result<(Figures, Vec<Violation>), String> {
    let mut client = subject.client();
    let end = clock::now().plus_ms(plan.drain_ms);
    let limits = Limits {
        window: plan.setup.window,
        sessions: plan.setup.sessions,
        held_ms: HELD_MS,
        answered_grace_ms: ANSWERED_GRACE_MS,
        webhooks: false,
    };
    while clock::now() < end && !(smsc.is_settled() && backlog::is_empty(&mut client)) {
        watch(subject, running, 1_000)?;
    }
    loop {
        let ledger = Ledger {
            requests: requests.to_vec(),
            shown: load::messages(&mut client, "")?.iter().map(load::shown).collect(),
            submissions: smsc.submissions(),
            receipts: smsc.receipts(),
            webhooks: Vec::new(),
            kills: kills.to_vec(),
            shown_at: clock::now(),
            most_open: smsc.most_open(),
        };
        let (figures, violations) = check::check(&ledger, &limits);
        let waits = violations
            .iter()
            .any(|violation| matches!(violation, Violation::NotFinal { .. } | Violation::ReceiptLost { .. }));
        if !waits || clock::now() >= end {
            return Ok((figures, violations));
        }
        watch(subject, running, 1_000)?;
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, value: String| writeln!(f, "{name:<36}{value}");
        let figures = &self.figures;
        row("seed", self.seed.to_string())?;
        row("queued", figures.acknowledged.to_string())?;
        row("accepting them, ms", self.filled_ms.to_string())?;
        row("memory with all queued, MiB", (self.memory_full_kib / 1024).to_string())?;
        row("memory, at most, MiB", (self.memory_most_kib / 1024).to_string())?;
        row("kills", figures.kills.to_string())?;
        let times = |of: fn(&Start) -> u64| self.starts.iter().map(of).collect::<Vec<_>>();
        row("start to ready, ms", format!("{:?}", times(|start| start.ready_ms)))?;
        row("start to first submission, ms", format!("{:?}", times(|start| start.sending_ms)))?;
        row("lost", figures.lost.to_string())?;
        row("submissions", figures.submissions.to_string())?;
        row("submitted again", format!("{:?}", figures.duplicates))?;
        row("unconfirmed", format!("{:?}", figures.unconfirmed))?;
        row("statuses", format!("{:?}", figures.statuses))?;
        row("drain, ms", self.drain_ms.to_string())?;
        for complaint in &self.complaints {
            row("in its log", complaint.clone())?;
        }
        row("violations", self.violations.len().to_string())?;
        for violation in self.violations.iter().take(40) {
            writeln!(f, "  {violation}")?;
        }
        Ok(())
    }
}
