//! The carrier says in waves that it is too much, and that the queues of some recipients are full (P-13): both cost
//! delay, and neither loses, doubles or gives up a message; a full queue slows its own recipient only.

use crate::backlog::{self, Stuff};
use crate::clock::{self, Moment};
use crate::kill::watch;
use crate::ledger::{Purpose, Shown};
use crate::load;
use crate::smsc::{Behaviour, Smsc};
use crate::subject::{Running, Setup, Subject};
use std::collections::{BTreeMap, HashMap};
use std::fmt;

/// After the last wave the pace has grown back within this time: milliseconds.
pub const SETTLED_MS: u64 = 60_000;
/// How far the rate may then be from what is agreed: percent.
pub const RATE_PERCENT: f64 = 5.0;

/// What the run is to be.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The binary and its windows.
    pub setup: Setup,
    /// Repeats the fates.
    pub seed: u64,
    /// Messages.
    pub messages: u64,
    /// Segments a second that are agreed with the carrier.
    pub pace_per_s: u64,
    /// In turn: so many of a hundred are throttled, for so many milliseconds.
    pub waves: Vec<(u64, u64)>,
    /// The queues of so many recipients, the first ones, are full until the waves are over.
    pub full: u64,
    /// How long everything may take to end: milliseconds.
    pub drain_ms: u64,
    /// Whether the directory stays if something was broken.
    pub keep: bool,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Messages by status.
    pub statuses: BTreeMap<String, usize>,
    /// Submissions that were refused.
    pub refused: u64,
    /// The lowest pace that was in force: segments a second.
    pub pace_least: f64,
    /// The rate once the pace had time to grow back, if there was enough left to send: segments a second.
    pub rate_after: Option<f64>,
    /// What was agreed.
    pub agreed: f64,
    /// What was broken.
    pub violations: Vec<String>,
}

impl Outcome {
    /// Whether every promise was kept that does not depend on the machine.
    pub fn is_good(&self) -> bool {
        self.violations.is_empty()
    }

    /// Whether it was also as fast as agreed again, as far as could be seen.
    pub fn is_fast_again(&self) -> bool {
        let off = |rate: f64| (rate / self.agreed - 1.0).abs() * 100.0;
        self.rate_after.is_none_or(|rate| off(rate) <= RATE_PERCENT)
    }
}

/// Runs it.
///
/// # Errors
/// The run could not be done.
pub fn run(plan: &Plan) -> Result<Outcome, String> {
    let carrier = Behaviour { early_receipt_one_in: 0, ..Behaviour::default() };
    let smsc = Smsc::start(carrier, plan.seed).map_err(|error| format!("no socket: {error}"))?;
    let mut subject = Subject::prepare(plan.setup.clone(), smsc.address())?;
    subject.set("CONNECTION__WITNESS__PACE_PER_S", plan.pace_per_s);
    subject.set("RETRY__THROTTLED_DELAY_S", 1);
    let outcome = work(plan, &subject, &smsc);
    if plan.keep && !outcome.as_ref().is_ok_and(Outcome::is_good) {
        eprintln!("left for you to look into: {}", subject.keep().display());
    }
    outcome
}

fn work(plan: &Plan, subject: &Subject, smsc: &Smsc) -> Result<Outcome, String> {
    smsc.gate(true);
    let mut running = subject.start()?;
    subject.wait_until_ready(&mut running)?;
    let stuff = Stuff {
        messages: plan.messages,
        first: 0,
        purposes: vec![(Purpose::Marketing, 86_400), (Purpose::Transactional, 86_400)],
        seed: plan.seed,
        poison: None,
        callback: None,
    };
    let requests = backlog::fill(subject, &stuff)?;
    smsc.fill_queues((0..plan.full).map(load::recipient));
    smsc.gate(false);
    let mut watcher = Watcher { subject, least: f64::INFINITY };
    for (percent, ms) in &plan.waves {
        smsc.throttle(*percent);
        watcher.watch(&mut running, *ms)?;
    }
    smsc.throttle(0);
    smsc.fill_queues(Vec::new());
    let calm = clock::now();
    let shown = watcher.drained(plan, smsc, &mut running)?;
    let submissions = smsc.submissions();
    let mut submitted: HashMap<&str, usize> = HashMap::new();
    for submission in &submissions {
        *submitted.entry(&submission.recipient).or_default() += 1;
    }
    let mut outcome = Outcome {
        refused: smsc.refused(),
        pace_least: watcher.least,
        agreed: plan.pace_per_s as f64,
        rate_after: rate_after(submissions.iter().map(|submission| submission.at), calm),
        ..Outcome::default()
    };
    let shown: HashMap<&str, &Shown> = shown.iter().map(|shown| (shown.id.as_str(), shown)).collect();
    for request in &requests {
        let id = request.accepted.first().map_or("", |(id, _)| id.as_str());
        let status = shown.get(id).map_or("lost", |shown| shown.status.as_str());
        *outcome.statuses.entry(status.to_owned()).or_default() += 1;
        let times = submitted.get(request.recipient.as_str()).copied().unwrap_or(0);
        if (status, times) != ("delivered", 1) {
            outcome.violations.push(format!("{id}: {status} after {times} submissions that were taken"));
        }
    }
    if plan.waves.iter().all(|(percent, _)| *percent == 0) && outcome.pace_least < outcome.agreed {
        let slowest = outcome.pace_least;
        outcome.violations.push(format!("the full queues of some slowed everybody to {slowest} a second"));
    }
    Ok(outcome)
}

struct Watcher<'s> {
    subject: &'s Subject,
    least: f64,
}

impl Watcher<'_> {
    fn watch(&mut self, running: &mut Running, ms: u64) -> Result<(), String> {
        let end = clock::now().plus_ms(ms);
        let mut client = self.subject.client();
        while clock::now() < end {
            watch(self.subject, running, 50)?;
            if let Ok(answer) = client.ask("GET", "/v1/connections", None, "") {
                let pace = answer.json()["data"][0]["pace_per_s"].as_f64();
                self.least = self.least.min(pace.unwrap_or(f64::INFINITY));
            }
        }
        Ok(())
    }

    fn drained(&mut self, plan: &Plan, smsc: &Smsc, running: &mut Running) -> Result<Vec<Shown>, String> {
        let mut client = self.subject.client();
        let end = clock::now().plus_ms(plan.drain_ms);
        loop {
            self.watch(running, 500)?;
            let over = smsc.is_settled() && backlog::is_empty(&mut client);
            if !over && clock::now() < end {
                continue;
            }
            let shown: Vec<Shown> = load::messages(&mut client, "")?.iter().map(load::shown).collect();
            if shown.iter().all(Shown::is_final) || clock::now() >= end {
                return Ok(shown);
            }
        }
    }
}

/// The rate from a minute after the waves to ten seconds before the last submission, if that is half a minute.
fn rate_after(times: impl Iterator<Item = Moment>, calm: Moment) -> Option<f64> {
    let mut times: Vec<Moment> = times.collect();
    times.sort_unstable();
    let from = calm.plus_ms(SETTLED_MS);
    let to = Moment(times.last()?.0.saturating_sub(10_000_000_000));
    let ms = to.ms_since(from);
    let count = times.iter().filter(|at| **at >= from && **at < to).count();
    (ms >= 30_000).then(|| count as f64 * 1_000.0 / ms as f64)
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "statuses                            {:?}", self.statuses)?;
        writeln!(f, "refused submissions                 {}", self.refused)?;
        writeln!(f, "lowest pace in force (agreed)       {:.1} ({:.0})", self.pace_least, self.agreed)?;
        writeln!(f, "rate a minute after the waves       {:?}", self.rate_after)?;
        writeln!(f, "violations                          {}", self.violations.len())?;
        for violation in self.violations.iter().take(40) {
            writeln!(f, "  {violation}")?;
        }
        Ok(())
    }
}
