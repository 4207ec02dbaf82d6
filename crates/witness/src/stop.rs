//! Asks the binary to stop under load, again and again (P-30): it ends with code 0 in time, leaves nothing in doubt,
//! and the next start goes on where it stopped.

use crate::check::{self, Figures, Limits, Violation};
use crate::clock;
use crate::kill::watch;
use crate::ledger::Ledger;
use crate::load::{self, Load, Pace};
use crate::random::Random;
use crate::sink::Sink;
use crate::smsc::{Behaviour, Smsc};
use crate::subject::{START_BOUND_MS, Setup, Subject};
use std::collections::BTreeMap;
use std::fmt;

/// How long a stop may take: milliseconds.
pub const STOP_BOUND_MS: u64 = 15_000;

/// What the run is to be.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The binary and its windows.
    pub setup: Setup,
    /// Repeats the schedule.
    pub seed: u64,
    /// Stops.
    pub stops: usize,
    /// The load.
    pub pace: Pace,
    /// How long it runs before each stop: least and most milliseconds.
    pub up_ms: (u64, u64),
    /// How the carrier behaves.
    pub carrier: Behaviour,
    /// How long everything may take to end after the load: milliseconds.
    pub drain_ms: u64,
    /// Whether the directory stays if something was broken.
    pub keep: bool,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// The seed that repeats it.
    pub seed: u64,
    /// Each stop: its exit code, if it ended in time, and how long it took in milliseconds.
    pub stops: Vec<(Option<i32>, u64)>,
    /// Messages that a start found in `sending`, by stop: each was left in doubt.
    pub left_in_doubt: Vec<usize>,
    /// What was counted.
    pub figures: Figures,
    /// What was broken.
    pub violations: Vec<Violation>,
    /// Answers that were no 202, by kind.
    pub refusals: BTreeMap<String, u64>,
    /// Errors in the binary's own log, some of them.
    pub complaints: Vec<String>,
}

impl Outcome {
    /// Whether every promise was kept.
    pub fn is_good(&self) -> bool {
        self.violations.is_empty()
            && self.stops.iter().all(|(code, _)| *code == Some(0))
            && self.left_in_doubt.iter().all(|count| *count == 0)
    }
}

/// Runs it.
///
/// # Errors
/// The run could not be done: the binary does not start, or ends by itself.
pub fn run(plan: &Plan) -> Result<Outcome, String> {
    let no_socket = |error: std::io::Error| format!("no socket: {error}");
    let smsc = Smsc::start(plan.carrier.clone(), plan.seed).map_err(no_socket)?;
    let sink = Sink::start().map_err(no_socket)?;
    let mut subject = Subject::prepare(plan.setup.clone(), smsc.address())?;
    let outcome = work(plan, &subject, &smsc, &sink);
    if plan.keep && !outcome.as_ref().is_ok_and(Outcome::is_good) {
        eprintln!("left for you to look into: {}", subject.keep().display());
    }
    outcome
}

fn work(plan: &Plan, subject: &Subject, smsc: &Smsc, sink: &Sink) -> Result<Outcome, String> {
    let mut running = subject.start()?;
    subject.wait_until_ready(&mut running)?;
    subject.add_webhook(&sink.url())?;
    let load = Load::start(subject, plan.pace, plan.seed);
    let mut random = Random::part(plan.seed, 1);
    let (mut stops, mut left_in_doubt) = (Vec::new(), Vec::new());
    for _ in 0..plan.stops {
        watch(subject, &mut running, random.between(plan.up_ms.0, plan.up_ms.1))?;
        let asked = clock::now();
        let code = running.terminate(STOP_BOUND_MS);
        stops.push((code, clock::now().ms_since(asked)));
        // Before it starts: nothing new may be among what is in doubt.
        smsc.gate(true);
        running = subject.start()?;
        let started = clock::now();
        let listed = subject
            .wait_until_ready(&mut running)
            .and_then(|()| load::messages(&mut subject.client(), "status=sending"));
        smsc.gate(false);
        left_in_doubt.push(listed?.len());
        if !clock::wait_until(START_BOUND_MS, 1, || load.last_acknowledged() > started) {
            return Err(format!("no 202 within {START_BOUND_MS} ms of a start\n{}", subject.log_end(30)));
        }
    }
    let (requests, refusals) = load.stop();
    let mut client = subject.client();
    let limits = Limits {
        window: plan.setup.window,
        sessions: plan.setup.sessions,
        held_ms: 0,
        answered_grace_ms: 0,
        webhooks: true,
    };
    let end = clock::now().plus_ms(plan.drain_ms);
    let (figures, violations) = loop {
        watch(subject, &mut running, 200)?;
        let ledger = Ledger {
            requests: requests.clone(),
            shown: load::messages(&mut client, "")?.iter().map(load::shown).collect(),
            submissions: smsc.submissions(),
            receipts: smsc.receipts(),
            webhooks: sink.webhooks(),
            most_open: smsc.most_open(),
            shown_at: clock::now(),
            // None by force: so nothing may be submitted again, and nothing may be unconfirmed.
            kills: Vec::new(),
        };
        let checked = check::check(&ledger, &limits);
        if checked.1.is_empty() || clock::now() >= end {
            break checked;
        }
    };
    Ok(Outcome {
        seed: plan.seed,
        stops,
        left_in_doubt,
        figures,
        violations,
        refusals,
        complaints: subject.complaints(5),
    })
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed                              {}", self.seed)?;
        writeln!(f, "stops (exit code, ms)             {:?}", self.stops)?;
        writeln!(f, "left in doubt by each stop        {:?}", self.left_in_doubt)?;
        writeln!(
            f,
            "acknowledged, lost                {}, {}",
            self.figures.acknowledged, self.figures.lost
        )?;
        writeln!(f, "repeated after no answer          {}", self.figures.repeated)?;
        writeln!(f, "submissions                       {}", self.figures.submissions)?;
        writeln!(f, "statuses                          {:?}", self.figures.statuses)?;
        writeln!(
            f,
            "webhooks (come again)             {} ({})",
            self.figures.webhooks, self.figures.webhooks_again
        )?;
        writeln!(f, "answers that were no 202          {:?}", self.refusals)?;
        for complaint in &self.complaints {
            writeln!(f, "in its log                        {complaint}")?;
        }
        writeln!(f, "violations                        {}", self.violations.len())?;
        for violation in self.violations.iter().take(40) {
            writeln!(f, "  {violation}")?;
        }
        Ok(())
    }
}
