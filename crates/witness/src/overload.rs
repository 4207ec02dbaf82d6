//! Ten times more is asked for than the carrier takes, for minutes (P-34): what is accepted is accepted soon, the rest is
//! told early that it is too much and when to come back, what was accepted is delivered once and what was not is never
//! submitted; and once no more is asked for than goes out, it is as it was before.

use crate::backlog;
use crate::clock::{self, Moment};
use crate::http::Answer;
use crate::kill::watch;
use crate::ledger::{Purpose, Request, Shown};
use crate::load::{self, recipient, written};
use crate::smsc::{Behaviour, Smsc};
use crate::subject::{Running, Setup, Subject};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How long an accepted call may take meanwhile, of a hundred all but one: milliseconds.
pub const ACCEPT_P99_MS: u64 = 500;
/// How long after it all is as before: seconds.
pub const SETTLED_S: u64 = 30;
/// What counts as before: so many times the time that a call took then, and not less than this many milliseconds.
const NORMAL: (f64, f64) = (2.0, 20.0);
/// How long a client waits for an answer before it counts as none: milliseconds.
const PATIENCE_MS: u64 = 10_000;

/// What the run is to be.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The binary and its windows.
    pub setup: Setup,
    /// Repeats the purposes.
    pub seed: u64,
    /// Segments a second that the carrier takes.
    pub pace_per_s: u64,
    /// How many times as much is asked for.
    pub times: u64,
    /// For how long: milliseconds.
    pub overload_ms: u64,
    /// How long it is watched before and after, with half of what the carrier takes: milliseconds.
    pub calm_ms: u64,
    /// Messages that may wait.
    pub waiting_max: u64,
    /// Sending threads.
    pub clients: u64,
    /// How long everything may take to end: milliseconds.
    pub drain_ms: u64,
    /// Whether the directory stays if something was broken.
    pub keep: bool,
}

/// How calls were answered in some time.
#[derive(Debug, Default, Clone)]
pub struct Answers {
    /// How long calls took that were accepted, from the first on: milliseconds.
    accepted_ms: Vec<f64>,
    /// The same of those that were refused.
    refused_ms: Vec<f64>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Before.
    pub before: Answers,
    /// Meanwhile.
    pub meanwhile: Answers,
    /// Refusals by status and code.
    pub refusals: BTreeMap<String, u64>,
    /// The same for each purpose: accepted, refused.
    pub purposes: BTreeMap<&'static str, (u64, u64)>,
    /// Seconds after the load went back until every further second was as before; `None` if it did not become so.
    pub settled_s: Option<u64>,
    /// The seconds after the load went back that were not as before, as they were.
    pub unlike: Vec<(u64, Answers)>,
    /// Memory at most: KiB.
    pub memory_kib: u64,
    /// What was broken.
    pub violations: Vec<String>,
}

impl Outcome {
    /// Whether every promise was kept that does not depend on the machine.
    pub fn is_good(&self) -> bool {
        self.violations.is_empty()
    }

    /// Whether it was also as quick as is promised.
    pub fn is_quick(&self) -> bool {
        percentile(&self.meanwhile.accepted_ms, 99.0) <= ACCEPT_P99_MS as f64
            && self.settled_s.is_some_and(|s| s <= SETTLED_S)
    }
}

/// A call that was answered.
#[derive(Debug)]
struct Call {
    request: Request,
    asked: Moment,
    took_ms: f64,
    is_accepted: bool,
}

/// What all customers share.
struct Shared<'s> {
    subject: &'s Subject,
    seed: u64,
    next: AtomicU64,
    per_second: AtomicU64,
    stop: AtomicBool,
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
    subject.set("LIMITS__MAX_WAITING_MESSAGES", plan.waiting_max);
    let outcome = work(plan, &subject, &smsc);
    if plan.keep && !outcome.as_ref().is_ok_and(Outcome::is_good) {
        eprintln!("left for you to look into: {}", subject.keep().display());
    }
    outcome
}

fn work(plan: &Plan, subject: &Subject, smsc: &Smsc) -> Result<Outcome, String> {
    let mut running = subject.start()?;
    subject.wait_until_ready(&mut running)?;
    // Half of what the carrier takes: what waits afterwards must be able to go out.
    let normal = (plan.pace_per_s / 2).max(1);
    let shared = Shared {
        subject,
        seed: plan.seed,
        next: AtomicU64::new(0),
        per_second: AtomicU64::new(normal),
        stop: AtomicBool::new(false),
    };
    let mut outcome = Outcome::default();
    let mut turns = (Moment(0), Moment(0));
    let calls = std::thread::scope(|scope| {
        let customers: Vec<_> = (0..plan.clients)
            .map(|client| {
                let shared = &shared;
                scope.spawn(move || shared.work(client, plan.clients))
            })
            .collect();
        let watched = watched(plan, &shared, normal, &mut running, &mut turns);
        shared.stop.store(true, Ordering::Relaxed);
        let mut calls = Vec::new();
        for customer in customers {
            let (answered, refusals, violations) = customer.join().expect("customers do not panic");
            calls.extend(answered);
            outcome.violations.extend(violations);
            for (kind, count) in refusals {
                *outcome.refusals.entry(kind).or_default() += count;
            }
        }
        watched.map(|()| calls)
    })?;
    outcome.memory_kib = running.memory_peak_kib();
    let (over, calm) = turns;
    outcome.before = answers(calls.iter().filter(|call| call.asked < over));
    outcome.meanwhile = answers(calls.iter().filter(|call| call.asked >= over && call.asked < calm));
    outcome.unlike = unlike(&outcome.before, &calls, calm, plan.calm_ms);
    outcome.settled_s = settled(&outcome.unlike, plan.calm_ms);
    for call in &calls {
        let of_purpose = outcome.purposes.entry(call.request.purpose.as_str()).or_default();
        if call.is_accepted {
            of_purpose.0 += 1;
        } else {
            of_purpose.1 += 1;
        }
    }
    account(plan, subject, smsc, &mut running, &calls, &mut outcome)?;
    Ok(outcome)
}

/// As before, too much, as before again: gives when each of the last two began.
fn watched(
    plan: &Plan,
    shared: &Shared<'_>,
    normal: u64,
    running: &mut Running,
    turns: &mut (Moment, Moment),
) -> Result<(), String> {
    watch(shared.subject, running, plan.calm_ms)?;
    turns.0 = clock::now();
    shared.per_second.store(plan.pace_per_s * plan.times, Ordering::Relaxed);
    watch(shared.subject, running, plan.overload_ms)?;
    turns.1 = clock::now();
    shared.per_second.store(normal, Ordering::Relaxed);
    watch(shared.subject, running, plan.calm_ms)
}

impl Shared<'_> {
    /// A customer: asks at its time, once each, and goes on. What it was answered, refusals by kind, what was broken.
    fn work(&self, client: u64, clients: u64) -> (Vec<Call>, BTreeMap<String, u64>, Vec<String>) {
        let mut http = self.subject.client().patient_for_ms(PATIENCE_MS);
        let (mut calls, mut refusals, mut violations) =
            (Vec::new(), BTreeMap::<String, u64>::new(), Vec::new());
        let mut due = clock::now().0 + 1_000_000 * client;
        while !self.stop.load(Ordering::Relaxed) {
            let now = clock::now().0;
            if due > now {
                std::thread::sleep(Duration::from_nanos((due - now).min(50_000_000)));
                continue;
            }
            let step = 1_000_000_000 * clients / self.per_second.load(Ordering::Relaxed);
            // What was missed is not made up for.
            due = (due + step).max(now.saturating_sub(step));
            let n = self.next.fetch_add(1, Ordering::Relaxed);
            let mut request = Request {
                key: format!("witness-{}-{n}", self.seed),
                recipient: recipient(n),
                purpose: Purpose::ALL[usize::try_from(n % 4).expect("it is below 4")],
                text: format!("witness {} message {n}", self.seed),
                accepted: Vec::new(),
                unanswered: 0,
                poison: None,
            };
            let (target, body) = written(&request);
            let asked = clock::now();
            let answer = http.ask("POST", target, Some(&request.key), &body);
            let took_ms = (clock::now().0 - asked.0) as f64 / 1e6;
            match answer {
                Ok(answer) => match refusal(&answer) {
                    None => {
                        let id = answer.json()["id"].as_str().unwrap_or_default().to_owned();
                        request.accepted.push((id, clock::now()));
                        calls.push(Call { request, asked, took_ms, is_accepted: true });
                    }
                    Some(Ok(kind)) => {
                        *refusals.entry(kind).or_default() += 1;
                        calls.push(Call { request, asked, took_ms, is_accepted: false });
                    }
                    Some(Err(why)) => violations.push(why),
                },
                Err(error) => {
                    violations.push(format!("a call was not answered after {took_ms:.0} ms: {error}"));
                    clock::sleep_ms(10);
                }
            }
        }
        (calls, refusals, violations)
    }
}

/// What an answer refuses, if it does not accept; it is broken if it is none that is promised.
fn refusal(answer: &Answer) -> Option<Result<String, String>> {
    if answer.status == 202 {
        return None;
    }
    let kind = format!("{} {}", answer.status, answer.json()["code"].as_str().unwrap_or("without a code"));
    let is_promised = matches!(answer.status, 429 | 503) && answer.retry_after_s.is_some();
    Some(if is_promised { Ok(kind) } else { Err(format!("{kind}, and not when to come back")) })
}

fn answers<'c>(calls: impl Iterator<Item = &'c Call>) -> Answers {
    let mut answers = Answers::default();
    for call in calls {
        if call.is_accepted { &mut answers.accepted_ms } else { &mut answers.refused_ms }.push(call.took_ms);
    }
    answers.accepted_ms.sort_unstable_by(f64::total_cmp);
    answers.refused_ms.sort_unstable_by(f64::total_cmp);
    answers
}

/// The seconds after `calm` that were not as before, and how calls were answered in them.
fn unlike(before: &Answers, calls: &[Call], calm: Moment, ms: u64) -> Vec<(u64, Answers)> {
    let limit = (percentile(&before.accepted_ms, 99.0) * NORMAL.0).max(NORMAL.1);
    let seconds = (0..ms / 1_000).map(|second| {
        let (from, to) = (calm.plus_ms(second * 1_000), calm.plus_ms((second + 1) * 1_000));
        (second, answers(calls.iter().filter(|call| call.asked >= from && call.asked < to)))
    });
    let is_unlike = |(_, of_it): &(u64, Answers)| {
        !of_it.refused_ms.is_empty() || percentile(&of_it.accepted_ms, 99.0) > limit
    };
    seconds.filter(is_unlike).collect()
}

/// In which second everything was as before, and stayed so.
fn settled(unlike: &[(u64, Answers)], ms: u64) -> Option<u64> {
    let unlike: Vec<u64> = unlike.iter().map(|(second, _)| *second).collect();
    // One second is allowed to be another program's: a pause of the machine is none of ours.
    (0..ms / 1_000)
        .find(|first| unlike.iter().filter(|second| *second >= first).count() <= 1 && !unlike.contains(first))
}

/// Looks at every message when all is sent.
fn account(
    plan: &Plan,
    subject: &Subject,
    smsc: &Smsc,
    running: &mut Running,
    calls: &[Call],
    outcome: &mut Outcome,
) -> Result<(), String> {
    let mut client = subject.client();
    let end = clock::now().plus_ms(plan.drain_ms);
    let shown = loop {
        watch(subject, running, 500)?;
        if !(smsc.is_settled() && backlog::is_empty(&mut client)) && clock::now() < end {
            continue;
        }
        let shown: Vec<Shown> = load::messages(&mut client, "")?.iter().map(load::shown).collect();
        if shown.iter().all(Shown::is_final) || clock::now() >= end {
            break shown;
        }
    };
    let shown: HashMap<&str, &Shown> = shown.iter().map(|shown| (shown.id.as_str(), shown)).collect();
    let submissions = smsc.submissions();
    let mut submitted: HashMap<&str, usize> = HashMap::new();
    for submission in &submissions {
        *submitted.entry(&submission.recipient).or_default() += 1;
    }
    let mut ids = HashSet::new();
    for call in calls {
        let times = submitted.get(call.request.recipient.as_str()).copied().unwrap_or(0);
        let id = call.request.accepted.first().map_or("", |(id, _)| id.as_str());
        let status = shown.get(id).map_or("lost", |shown| shown.status.as_str());
        if call.is_accepted && (status, times) != ("delivered", 1) {
            outcome.violations.push(format!("{id}: {status} after {times} submissions that were taken"));
        }
        if call.is_accepted && !ids.insert(id) {
            outcome.violations.push(format!("{id}: the answer to two messages"));
        }
        if !call.is_accepted && times > 0 {
            outcome.violations.push(format!("{}: refused, and submitted", call.request.key));
        }
    }
    Ok(())
}

/// Of sorted values; 0 of none.
fn percentile(sorted: &[f64], percent: f64) -> f64 {
    let place = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied().unwrap_or(0.0)
}

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (word, times) in [("accepted", &self.accepted_ms), ("refused", &self.refused_ms)] {
            let [half, most, longest] = [50.0, 99.0, 100.0].map(|percent| percentile(times, percent));
            write!(f, "{} {word} in {half:.1} / {most:.1} / {longest:.0} ms; ", times.len())?;
        }
        Ok(())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "before (p50 / p99 / longest)        {}", self.before)?;
        writeln!(f, "meanwhile                           {}", self.meanwhile)?;
        writeln!(f, "refusals                            {:?}", self.refusals)?;
        writeln!(f, "accepted, refused by purpose        {:?}", self.purposes)?;
        writeln!(f, "as before after, s                  {:?}", self.settled_s)?;
        for (second, answers) in &self.unlike {
            writeln!(f, "  second {second:>3}                        {answers}")?;
        }
        writeln!(f, "memory at most, MiB                 {}", self.memory_kib / 1024)?;
        writeln!(f, "violations                          {}", self.violations.len())?;
        for violation in self.violations.iter().take(40) {
            writeln!(f, "  {violation}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(asked_s: u64, took_ms: f64, is_accepted: bool) -> Call {
        let request = Request {
            key: String::new(),
            recipient: String::new(),
            purpose: Purpose::Alert,
            text: String::new(),
            accepted: Vec::new(),
            unanswered: 0,
            poison: None,
        };
        Call { request, asked: Moment(asked_s * 1_000_000_000), took_ms, is_accepted }
    }

    #[test]
    fn it_is_as_before_from_the_second_on_after_which_nothing_is_slow_or_refused() {
        let before = answers([call(0, 4.0, true), call(0, 5.0, true)].iter());
        let of = |slow: &[u64], refused: &[u64]| {
            let calls: Vec<Call> = (10..20)
                .map(|s| call(s, if slow.contains(&s) { 900.0 } else { 6.0 }, !refused.contains(&s)))
                .collect();
            settled(&unlike(&before, &calls, Moment(10_000_000_000), 10_000), 10_000)
        };
        assert_eq!(of(&[], &[]), Some(0));
        assert_eq!(of(&[10, 11], &[12]), Some(3));
        assert_eq!(of(&[17], &[]), Some(0), "one second is another program's");
        assert_eq!(of(&[13, 17], &[]), Some(4));
        assert_eq!(of(&(10..20).collect::<Vec<_>>(), &[]), None);
    }

    #[test]
    fn percentiles_are_of_what_was_measured() {
        assert_eq!(percentile(&[], 99.0), 0.0);
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!([50.0, 99.0, 100.0].map(|p| percentile(&hundred, p)), [50.0, 99.0, 100.0]);
    }
}
