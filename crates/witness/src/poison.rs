//! Messages that crash whoever handles them, among many that do not (P-14). The binary must be built for it, with the
//! feature `poison`: such a message panics or ends the process in a place that it names.
//!
//! After a few crashes each must be set aside, and all others go their way: none lost, none twice without a reason. A
//! process that ended is started again at once, as a service manager does.

use crate::backlog::{self, Poison, Stuff};
use crate::clock::{self, Moment};
use crate::kill::watch;
use crate::ledger::{Purpose, Request, Shown, Submission};
use crate::load;
use crate::sink::Sink;
use crate::smsc::{Behaviour, Smsc};
use crate::subject::{Running, Setup, Subject};
use std::collections::HashMap;
use std::fmt;

/// Ends of the process that one poison may cause: two that nobody watches, three with a trace, and one more where even
/// setting it aside ends the process.
const ENDS_PER_POISON: usize = 6;
/// How long messages are worth sending: seconds. A code is at most so long, and nothing may expire.
const LIFE_S: u64 = 900;

/// What the run is to be.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The binary, built with the feature `poison`, and its windows.
    pub setup: Setup,
    /// Repeats the keys.
    pub seed: u64,
    /// Messages.
    pub messages: u64,
    /// Which of them are poison.
    pub poison: Poison,
    /// Purposes in turn.
    pub purposes: Vec<Purpose>,
    /// How long everything may take to end: milliseconds.
    pub drain_ms: u64,
    /// Whether the directory stays if something was broken.
    pub keep: bool,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// Messages that are poison.
    pub poisoned: usize,
    /// How the poisons ended.
    pub ends_of_poison: Vec<(String, String)>,
    /// Times that the process ended by itself.
    pub ends: usize,
    /// From each start after that until the carrier had something new: milliseconds.
    pub restarts_ms: Vec<u64>,
    /// How the others ended.
    pub statuses: Vec<(String, usize)>,
    /// Segments of others that were submitted again.
    pub again: usize,
    /// How long all of it took, from the first message that could be sent: milliseconds.
    pub took_ms: u64,
    /// What was broken.
    pub violations: Vec<String>,
}

impl Outcome {
    /// Whether every promise was kept.
    pub fn is_good(&self) -> bool {
        self.violations.is_empty()
    }
}

/// Runs it.
///
/// # Errors
/// The run could not be done.
pub fn run(plan: &Plan) -> Result<Outcome, String> {
    let no_socket = |error: std::io::Error| format!("no socket: {error}");
    let carrier = Behaviour { early_receipt_one_in: 0, echo_one_in: 1, ..Behaviour::default() };
    let smsc = Smsc::start(carrier, plan.seed).map_err(no_socket)?;
    let sink = Sink::start().map_err(no_socket)?;
    let mut subject = Subject::prepare(plan.setup.clone(), smsc.address())?;
    let outcome = work(plan, &subject, &smsc, &sink);
    if plan.keep && !outcome.as_ref().is_ok_and(Outcome::is_good) {
        eprintln!("left for you to look into: {}", subject.keep().display());
    }
    outcome
}

fn work(plan: &Plan, subject: &Subject, smsc: &Smsc, sink: &Sink) -> Result<Outcome, String> {
    smsc.gate(true);
    let mut running = subject.start()?;
    subject.wait_until_ready(&mut running)?;
    subject.add_webhook(&sink.url())?;
    let stuff = Stuff {
        messages: plan.messages,
        first: 0,
        purposes: plan.purposes.iter().map(|purpose| (*purpose, LIFE_S)).collect(),
        seed: plan.seed,
        poison: Some(plan.poison.clone()),
        callback: None,
    };
    let requests = backlog::fill(subject, &stuff)?;
    smsc.gate(false);
    let began = clock::now();
    let mut ends =
        Ends { most: plan.poison.of(plan.messages) * ENDS_PER_POISON, at: Vec::new(), restarts: Vec::new() };
    let end = began.plus_ms(plan.drain_ms);
    let shown = loop {
        ends.keep_up(subject, smsc, &mut running)?;
        if let Ok(shown) = load::messages(&mut subject.client(), "") {
            let shown: Vec<Shown> = shown.iter().map(load::shown).collect();
            if clock::now() >= end || (shown.iter().all(Shown::is_final) && told(&shown, sink, &requests)) {
                break shown;
            }
        }
    };
    let took_ms = clock::now().ms_since(began);
    drop(running);
    Ok(compare(&requests, &shown, &smsc.submissions(), &ends, took_ms))
}

/// Whether the receiver of webhooks has heard the end of everything of which it can.
fn told(shown: &[Shown], sink: &Sink, requests: &[Request]) -> bool {
    let silent: Vec<&str> = requests
        .iter()
        .filter(|request| request.poison.is_some())
        .filter_map(|request| request.accepted.first().map(|(id, _)| id.as_str()))
        .collect();
    let webhooks = sink.webhooks();
    let told: std::collections::HashSet<(&str, &str)> =
        webhooks.iter().map(|webhook| (webhook.message.as_str(), webhook.status.as_str())).collect();
    shown.iter().all(|shown| {
        silent.contains(&shown.id.as_str()) || told.contains(&(shown.id.as_str(), shown.status.as_str()))
    })
}

struct Ends {
    most: usize,
    at: Vec<Moment>,
    restarts: Vec<u64>,
}

impl Ends {
    /// Waits a little; if the process ended, starts it again.
    fn keep_up(&mut self, subject: &Subject, smsc: &Smsc, running: &mut Running) -> Result<(), String> {
        if watch(subject, running, 200).is_ok() {
            return Ok(());
        }
        self.at.push(clock::now());
        if self.at.len() > self.most {
            return Err(format!("it ended {} times\n{}", self.at.len(), subject.log_end(60)));
        }
        let (before, began) = (smsc.submission_count(), clock::now());
        *running = subject.start()?;
        clock::wait_until(5_000, 2, || running.ended().is_some() || smsc.submission_count() > before);
        if let Some(first) = smsc.submission_at(before) {
            self.restarts.push(first.ms_since(began));
        }
        Ok(())
    }
}

fn compare(
    requests: &[Request],
    shown: &[Shown],
    submissions: &[Submission],
    ends: &Ends,
    took_ms: u64,
) -> Outcome {
    let shown: HashMap<&str, &Shown> = shown.iter().map(|shown| (shown.id.as_str(), shown)).collect();
    let mut submitted: HashMap<&str, usize> = HashMap::new();
    for submission in submissions {
        *submitted.entry(&submission.recipient).or_default() += 1;
    }
    let (mut violations, mut ends_of_poison) = (Vec::new(), Vec::new());
    let (mut statuses, mut again) = (HashMap::<String, usize>::new(), 0);
    for request in requests {
        let times = submitted.get(request.recipient.as_str()).copied().unwrap_or(0);
        let id = request.accepted.first().map_or("", |(id, _)| id.as_str());
        let Some(shown) = shown.get(id) else {
            violations.push(format!("{id} is lost"));
            continue;
        };
        let status = shown.status.as_str();
        if times > request.purpose.submissions_max() {
            violations.push(format!("{id}, {}, was submitted {times} times", request.purpose.as_str()));
        }
        if let Some(poison) = &request.poison {
            ends_of_poison.push((poison.clone(), status.to_owned()));
            let delivers = poison.ends_with(" render");
            let good = match status {
                "failed" => !delivers && times == 0,
                "unconfirmed" => !delivers,
                // A receipt settles what crashed when its answer came.
                "delivered" => delivers || poison.ends_with("abort answer"),
                _ => false,
            };
            if !good {
                violations.push(format!("{id}, {poison}, ended as {status} after {times} submissions"));
            }
            continue;
        }
        *statuses.entry(status.to_owned()).or_default() += 1;
        again += times.saturating_sub(1);
        let in_doubt = status == "unconfirmed" && !ends.at.is_empty();
        if status != "delivered" && !in_doubt {
            violations.push(format!("{id} is innocent and ended as {status}: {:?}", shown.error));
        }
        if times > 1 && ends.at.is_empty() {
            violations.push(format!("{id} was submitted {times} times though nothing ended"));
        }
    }
    let mut statuses: Vec<(String, usize)> = statuses.into_iter().collect();
    statuses.sort();
    Outcome {
        poisoned: ends_of_poison.len(),
        ends_of_poison,
        ends: ends.at.len(),
        restarts_ms: ends.restarts.clone(),
        statuses,
        again,
        took_ms,
        violations,
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "poisoned                            {}", self.poisoned)?;
        writeln!(f, "how they ended                      {:?}", self.ends_of_poison)?;
        writeln!(f, "the process ended by itself         {} times", self.ends)?;
        writeln!(f, "start to next submission, ms        {:?}", self.restarts_ms)?;
        writeln!(f, "the others ended                    {:?}", self.statuses)?;
        writeln!(f, "of them submitted again             {}", self.again)?;
        writeln!(f, "all of it, ms                       {}", self.took_ms)?;
        writeln!(f, "violations                          {}", self.violations.len())?;
        for violation in self.violations.iter().take(40) {
            writeln!(f, "  {violation}")?;
        }
        Ok(())
    }
}
