//! The carrier is away while messages of all purposes are accepted, and comes back (P-11, P-12): what is too late by then
//! ends as expired and is never submitted, the most urgent go first, the pace is kept, and a one-time code that is
//! accepted while the rest drains does not wait behind it.

use crate::backlog::{self, Stuff};
use crate::clock::{self, Moment};
use crate::kill::watch;
use crate::ledger::{Purpose, Request, Shown, Submission};
use crate::load;
use crate::smsc::{Behaviour, Smsc};
use crate::subject::{Running, Setup, Subject};
use std::collections::HashMap;
use std::fmt;

/// How late a code may be at the carrier, of ninety-nine in a hundred: milliseconds after its 202.
pub const CODE_BOUND_MS: u64 = 2_000;
/// Messages that may be on their way to the sessions when a more urgent one comes: what one claim takes.
const CLAIMED: usize = 256;
/// The carrier is told whole seconds; so much more than what is left is its rounding and the way there.
const ROUNDING_MS: u64 = 1_000;
/// How long a code of the drain is worth sending: seconds.
const CODE_S: u64 = 300;

/// What the run is to be.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The binary and its windows.
    pub setup: Setup,
    /// Repeats the keys.
    pub seed: u64,
    /// Messages that are accepted while the carrier is away.
    pub queued: u64,
    /// How long it stays away after that: milliseconds.
    pub outage_ms: u64,
    /// Segments a second that are agreed with it.
    pub pace_per_s: u64,
    /// One-time codes that are sent while the rest drains.
    pub codes: u64,
    /// How many of them a second.
    pub codes_per_s: u64,
    /// How long everything may take to end: milliseconds.
    pub drain_ms: u64,
    /// Whether the directory stays if something was broken.
    pub keep: bool,
}

impl Plan {
    /// Purposes in turn, each with how long it is worth sending: half of all is too late when the carrier is back.
    fn purposes(&self) -> Vec<(Purpose, u64)> {
        const DAY_S: u64 = 86_400;
        let short_s = (self.outage_ms / 2_000).clamp(1, 900);
        vec![
            (Purpose::Marketing, DAY_S),
            (Purpose::Authentication, short_s),
            (Purpose::Transactional, DAY_S),
            (Purpose::Marketing, short_s),
            (Purpose::Alert, DAY_S),
            (Purpose::Transactional, short_s),
        ]
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Messages of the queue by status.
    pub statuses: Vec<(String, usize)>,
    /// From a code's 202 until the carrier had it: milliseconds, in ascending order.
    pub codes_ms: Vec<u64>,
    /// The most submissions in any second.
    pub most_in_a_second: usize,
    /// From the carrier's return to the last submission of the queue: milliseconds.
    pub drained_ms: u64,
    /// The most memory that the process had in use: KiB.
    pub memory_kib: u64,
    /// What was broken.
    pub violations: Vec<String>,
}

impl Outcome {
    /// Whether every promise was kept that does not depend on the machine.
    pub fn is_good(&self) -> bool {
        self.violations.is_empty()
    }

    /// Whether codes were also as quick as is promised.
    pub fn is_quick(&self) -> bool {
        percentile(&self.codes_ms, 99) <= CODE_BOUND_MS
    }
}

fn percentile(ascending: &[u64], percent: usize) -> u64 {
    let last = ascending.len().saturating_sub(1);
    ascending.get((ascending.len() * percent / 100).min(last)).copied().unwrap_or(0)
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
        messages: plan.queued,
        first: 0,
        purposes: plan.purposes(),
        seed: plan.seed,
        poison: None,
        callback: None,
    };
    let queue = backlog::fill(subject, &stuff)?;
    watch(subject, &mut running, plan.outage_ms)?;
    smsc.gate(false);
    let back = clock::now();
    let codes = codes(plan, subject, &mut running)?;
    let shown = drained(plan, subject, smsc, &mut running)?;
    let memory_kib = running.memory_peak_kib();
    drop(running);
    let mut outcome = compare(plan, &queue, &codes, &shown, &smsc.submissions(), back);
    outcome.memory_kib = memory_kib;
    Ok(outcome)
}

/// Sends the codes, one after the other.
fn codes(plan: &Plan, subject: &Subject, running: &mut Running) -> Result<Vec<Request>, String> {
    let mut codes = Vec::new();
    for n in 0..plan.codes {
        let stuff = Stuff {
            messages: 1,
            first: plan.queued + n,
            purposes: vec![(Purpose::Authentication, CODE_S)],
            seed: plan.seed,
            poison: None,
            callback: None,
        };
        codes.append(&mut backlog::fill(subject, &stuff)?);
        watch(subject, running, 1_000 / plan.codes_per_s.max(1))?;
    }
    Ok(codes)
}

/// Waits until everything has ended; what the API shows then.
fn drained(plan: &Plan, subject: &Subject, smsc: &Smsc, running: &mut Running) -> Result<Vec<Shown>, String> {
    let mut client = subject.client();
    let end = clock::now().plus_ms(plan.drain_ms);
    loop {
        // A long list is not read again and again.
        while clock::now() < end && !(smsc.is_settled() && backlog::is_empty(&mut client)) {
            watch(subject, running, 500)?;
        }
        let shown: Vec<Shown> = load::messages(&mut client, "")?.iter().map(load::shown).collect();
        if shown.iter().all(Shown::is_final) || clock::now() >= end {
            return Ok(shown);
        }
        watch(subject, running, 500)?;
    }
}

fn compare(
    plan: &Plan,
    queue: &[Request],
    codes: &[Request],
    shown: &[Shown],
    submissions: &[Submission],
    back: Moment,
) -> Outcome {
    let mut outcome = Outcome::default();
    let shown: HashMap<&str, &Shown> = shown.iter().map(|shown| (shown.id.as_str(), shown)).collect();
    let mut submitted: HashMap<&str, Vec<&Submission>> = HashMap::new();
    for submission in submissions {
        submitted.entry(&submission.recipient).or_default().push(submission);
    }
    let lives = plan.purposes();
    let mut statuses: HashMap<String, usize> = HashMap::new();
    let mut of_purpose: HashMap<Purpose, Vec<Moment>> = HashMap::new();
    for (n, request) in queue.iter().chain(codes).enumerate() {
        let is_code = n >= queue.len();
        let (id, accepted) = request.accepted.first().cloned().unwrap_or_default();
        let life_s = if is_code { CODE_S } else { life_s(&lives, request) };
        let expires = accepted.plus_ms(life_s * 1_000);
        let status = shown.get(id.as_str()).map_or("lost", |shown| shown.status.as_str());
        let of_message = submitted.get(request.recipient.as_str()).map_or(&[][..], Vec::as_slice);
        let mut complain = |what: String| outcome.violations.push(format!("{id}: {what}"));
        for submission in of_message {
            if submission.at > expires {
                complain(format!("submitted {} ms after its end", submission.at.ms_since(expires)));
            }
            let told = submission.validity_s.map(|s| submission.at.plus_ms(s * 1_000));
            if told.is_none_or(|told| told > expires.plus_ms(ROUNDING_MS)) {
                complain(format!("the carrier was told {:?} s", submission.validity_s));
            }
        }
        let lasts = expires > back;
        match (status, of_message.len()) {
            ("delivered", 1) if lasts => {}
            ("expired", 0) if !lasts => {}
            _ => complain(format!("ended as {status} after {} submissions", of_message.len())),
        }
        if is_code {
            outcome.codes_ms.extend(of_message.first().map(|first| first.at.ms_since(accepted)));
        } else {
            *statuses.entry(status.to_owned()).or_default() += 1;
            of_purpose.entry(request.purpose).or_default().extend(of_message.iter().map(|s| s.at));
        }
    }
    outcome.codes_ms.sort_unstable();
    outcome.statuses = statuses.into_iter().collect();
    outcome.statuses.sort();
    order(plan, &mut outcome, &of_purpose);
    pace(plan, &mut outcome, submissions);
    let last = of_purpose.values().flatten().max().copied().unwrap_or(back);
    outcome.drained_ms = last.ms_since(back);
    outcome
}

/// The life of a message of the queue. It can be told from its number.
fn life_s(lives: &[(Purpose, u64)], request: &Request) -> u64 {
    let n: usize = request.key.rsplit('-').next().and_then(|n| n.parse().ok()).unwrap_or(0);
    lives[n % lives.len()].1
}

/// What is less urgent must not have gone before what is more urgent, but for what was claimed already.
fn order(plan: &Plan, outcome: &mut Outcome, of_purpose: &HashMap<Purpose, Vec<Moment>>) {
    let most = CLAIMED + plan.setup.sessions as usize * plan.setup.window as usize;
    for (n, urgent) in Purpose::ALL.iter().enumerate() {
        let Some(last) = of_purpose.get(urgent).and_then(|times| times.iter().max()) else { continue };
        for other in &Purpose::ALL[n + 1..] {
            let times = of_purpose.get(other).map_or(&[][..], Vec::as_slice);
            let before = times.iter().filter(|at| *at < last).count();
            if before > most {
                let (other, urgent) = (other.as_str(), urgent.as_str());
                outcome.violations.push(format!("{before} of {other} went before the last of {urgent}"));
            }
        }
    }
}

/// No second may have more than was agreed, but for one burst of a tenth, and what was read late.
fn pace(plan: &Plan, outcome: &mut Outcome, submissions: &[Submission]) {
    let mut times: Vec<Moment> = submissions.iter().map(|submission| submission.at).collect();
    times.sort_unstable();
    let mut first = 0;
    for (n, at) in times.iter().enumerate() {
        while at.ms_since(times[first]) >= 1_000 {
            first += 1;
        }
        outcome.most_in_a_second = outcome.most_in_a_second.max(n + 1 - first);
    }
    let most = plan.pace_per_s + plan.pace_per_s / 4 + 20;
    if outcome.most_in_a_second as u64 > most {
        outcome.violations.push(format!("{} in one second", outcome.most_in_a_second));
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "statuses                            {:?}", self.statuses)?;
        let codes = &self.codes_ms;
        writeln!(
            f,
            "codes, 202 to carrier, ms           {}: p50 {}, p99 {}, max {}",
            codes.len(),
            percentile(codes, 50),
            percentile(codes, 99),
            codes.last().copied().unwrap_or(0)
        )?;
        writeln!(f, "most submissions in a second        {}", self.most_in_a_second)?;
        writeln!(f, "drained in, ms                      {}", self.drained_ms)?;
        writeln!(f, "memory, at most, MiB                {}", self.memory_kib / 1024)?;
        writeln!(f, "violations                          {}", self.violations.len())?;
        for violation in self.violations.iter().take(40) {
            writeln!(f, "  {violation}")?;
        }
        Ok(())
    }
}
