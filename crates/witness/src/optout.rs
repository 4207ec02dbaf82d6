//! Lets opt-outs race sends to the same number (P-15): once the opt-out was answered, nothing more reaches the
//! carrier. They come in turn by the API, by text, by a receipt with the carrier's code, and by the carrier's code in answer to
//! a submission; the answer of the second and third is the acknowledgement. An opt-out by text is followed by one confirmation,
//! and only that. An answer is acknowledged by nobody: there the entry must come to be on the list, and from an answer of the API
//! that the number is on it, on nothing may be submitted.
//!
//! Each pair has a number of its own. Right after an opt-out's answer the witness reads what has arrived at the
//! carrier; whatever is read later left the binary too late, or was on its way for longer than the witness needs
//! from reading the answer to reading the sockets (some microseconds on this machine).

use crate::clock::{self, Moment};
use crate::http::{self, Answer, Client};
use crate::kill::watch;
use crate::ledger::{Purpose, Shown, Submission};
use crate::load::{self, SENDER};
use crate::random::Random;
use crate::smsc::{Behaviour, Smsc};
use crate::subject::{Running, Setup, Subject};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Barrier, Mutex};

/// Sends to each number.
const SENDS: u64 = 4;
/// How long an opt-out by text or at the carrier may be without its acknowledgement.
const HEARD_WITHIN_MS: u64 = 60_000;
/// What the confirmation of an opt-out has in it, and nothing else.
const CONFIRMATION: &str = "unsubscribed";

/// How a person opts out. Each number has the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Way {
    /// By the API; nothing may be submitted after its answer.
    #[default]
    Api,
    /// By a text; nothing may be submitted after its acknowledgement but one confirmation.
    Text,
    /// At the carrier, whose receipt says so; nothing may be submitted after the receipt's acknowledgement.
    Carrier,
    /// At the carrier, who takes nothing more and answers so; nothing may be submitted once the list has it and says so.
    Refusal,
}

impl Way {
    const fn of(n: u64) -> Self {
        match n % 4 {
            0 => Self::Api,
            1 => Self::Text,
            2 => Self::Carrier,
            _ => Self::Refusal,
        }
    }
}

/// What the run is to be.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The binary and its windows.
    pub setup: Setup,
    /// Repeats the delays and purposes.
    pub seed: u64,
    /// Numbers, each with sends and an opt-out.
    pub pairs: u64,
    /// Pairs at the same time, each with two threads.
    pub at_once: u64,
    /// The latest moment of an opt-out after the first send: milliseconds.
    pub delay_ms: u64,
    /// Answers of the carrier in the slow half of the run, in which messages wait for the window: milliseconds.
    pub slow_answer_ms: (u64, u64),
    /// How long everything may take to end: milliseconds.
    pub drain_ms: u64,
    /// Whether the directory stays if something was broken.
    pub keep: bool,
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The seed that repeats it.
    pub seed: u64,
    /// Numbers.
    pub pairs: u64,
    /// Sends that got a 202.
    pub accepted: usize,
    /// Of those, the ones that were begun after the opt-out's answer had come.
    pub accepted_late: usize,
    /// Sends that were refused with `OPTED_OUT`.
    pub refused: usize,
    /// Answers that were neither, by kind.
    pub other_answers: BTreeMap<String, u64>,
    /// Accepted messages that ended without having been submitted, with `OPTED_OUT`.
    pub blocked: usize,
    /// Submissions that the carrier had before the opt-out's answer.
    pub submitted_before: usize,
    /// Submissions that reached the carrier after the opt-out's answer: the number, milliseconds after the answer, and
    /// whether the carrier was slow.
    pub violations: Vec<(String, f64, bool)>,
    /// Accepted messages that are neither delivered nor blocked: status and error, and how many.
    pub other_ends: BTreeMap<String, u64>,
    /// Blocked messages that the carrier has all the same.
    pub blocked_but_submitted: usize,
    /// From the request of the opt-out to its answer: milliseconds, median and most.
    pub optout_ms: (f64, f64),
    /// Numbers that opted out by text, and those of them that were not sent exactly one confirmation.
    pub texted: (usize, usize),
    /// Messages that ended with the carrier's word that the person opted out.
    pub ended_by_carrier: usize,
    /// Submissions that the carrier refused because the person had opted out there.
    pub refused_by_carrier: usize,
    /// Errors in the binary's own log, some of them.
    pub complaints: Vec<String>,
}

impl Outcome {
    /// Whether every promise was kept.
    pub fn is_good(&self) -> bool {
        self.violations.is_empty()
            && self.other_ends.is_empty()
            && self.other_answers.is_empty()
            && self.accepted_late == 0
            && self.blocked_but_submitted == 0
            && self.texted.1 == 0
    }
}

/// What happened to one number.
#[derive(Debug, Default)]
struct Pair {
    sends: Vec<Send>,
    /// When the opt-out was asked for, and the moment after whose reading nothing may arrive.
    opted_out: Option<(Moment, Moment, Moment)>,
    slow: bool,
    way: Way,
}

#[derive(Debug)]
struct Send {
    asked_at: Moment,
    answer: Result<String, String>,
}

/// Runs it.
///
/// # Errors
/// The run could not be done: the binary does not start, or ends by itself.
pub fn run(plan: &Plan) -> Result<Outcome, String> {
    let behaviour =
        Behaviour { answer_ms: (0, 1), receipt_ms: (1, 20), rest_us: 300, ..Behaviour::default() };
    let smsc = Smsc::start(behaviour, plan.seed).map_err(|error| format!("no socket: {error}"))?;
    let mut subject = Subject::prepare(plan.setup.clone(), smsc.address())?;
    let outcome = work(plan, &subject, &smsc);
    if plan.keep && !outcome.as_ref().is_ok_and(Outcome::is_good) {
        eprintln!("left for you to look into: {}", subject.keep().display());
    }
    outcome
}

fn work(plan: &Plan, subject: &Subject, smsc: &Smsc) -> Result<Outcome, String> {
    let mut running = subject.start()?;
    subject.wait_until_ready(&mut running)?;
    let (next, done) = (AtomicU64::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..plan.at_once {
            scope.spawn(|| {
                let (mut sender, mut other) = (subject.client(), subject.client());
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= plan.pairs {
                        return;
                    }
                    if n == plan.pairs / 2 {
                        smsc.answer_within_ms(plan.slow_answer_ms.0, plan.slow_answer_ms.1);
                    }
                    let pair = race(plan, smsc, n, &mut sender, &mut other);
                    done.lock().expect("no thread panics with it").insert(load::recipient(n), pair);
                }
            });
        }
    });
    smsc.answer_within_ms(0, 1);
    let pairs = done.into_inner().expect("no thread panics with it");
    let shown = drain(plan, subject, smsc, &mut running)?;
    let mut outcome = judge(&pairs, &smsc.submissions(), &smsc.refused_opted_out(), &shown);
    outcome.seed = plan.seed;
    outcome.complaints = subject.complaints(5);
    Ok(outcome)
}

/// Sends to a number while it opts out.
fn race(plan: &Plan, smsc: &Smsc, n: u64, sender: &mut Client, other: &mut Client) -> Pair {
    let mut random = Random::part(plan.seed, 10_000 + n);
    let delay_us = random.between(0, plan.delay_ms * 1_000);
    let purposes: Vec<Purpose> = (0..SENDS)
        .map(|_| Purpose::ALL[usize::try_from(random.between(0, 3)).expect("it is below 4")])
        .collect();
    let (to, way) = (load::recipient(n), Way::of(n));
    let begin = Barrier::new(2);
    let mut pair = Pair { slow: n >= plan.pairs / 2, way, ..Pair::default() };
    std::thread::scope(|scope| {
        let optout = scope.spawn(|| {
            begin.wait();
            std::thread::sleep(std::time::Duration::from_micros(delay_us));
            let asked = clock::now();
            let (answered, more) = opt_out(way, smsc, &to, other);
            (answered.map(|answered| (asked, answered, smsc.barrier())), more)
        });
        begin.wait();
        for (place, purpose) in purposes.iter().enumerate() {
            pair.sends.push(send(sender, &to, *purpose, place));
        }
        let (opted_out, more) = optout.join().expect("it does not panic");
        pair.opted_out = opted_out;
        pair.sends.extend(more);
    });
    // Once more, when it is certain that the opt-out was answered.
    pair.sends.push(send(sender, &to, Purpose::Transactional, purposes.len()));
    pair
}

/// Opts out, and gives when that was answered, if it was; with what was sent for that.
fn opt_out(way: Way, smsc: &Smsc, to: &str, client: &mut Client) -> (Option<Moment>, Option<Send>) {
    let heard = |when: &dyn Fn() -> Option<Moment>| {
        clock::wait_until(HEARD_WITHIN_MS, 1, || when().is_some());
        when()
    };
    let listed = |client: &mut Client| {
        let body = serde_json::json!({ "to": to, "reason": "opted_out" }).to_string();
        let (_, answer) = ask(client, "/v1/suppressions", &body);
        let answered = clock::now();
        answer.is_ok_and(|answer| (200..300).contains(&answer.status)).then_some(answered)
    };
    match way {
        Way::Api => (listed(client), None),
        Way::Text => {
            let place = smsc.say(to, SENDER, "Stop!");
            (heard(&|| smsc.heard(place)), None)
        }
        Way::Carrier => {
            smsc.opt_out(to);
            // There must be something that the carrier can say it of.
            let more = send(client, to, Purpose::Transactional, 90);
            (heard(&|| smsc.opt_out_heard(to)), Some(more))
        }
        Way::Refusal => {
            smsc.refuse(to);
            let more = send(client, to, Purpose::Transactional, 91);
            let target = format!("/v1/suppressions?to=%2B{}", to.trim_start_matches('+'));
            let mut is_listed = false;
            clock::wait_until(HEARD_WITHIN_MS, 1, || {
                let answer = client.ask("GET", &target, None, "");
                is_listed = answer.is_ok_and(|answer| !answer.json()["data"][0].is_null());
                is_listed
            });
            // The carrier's word put it there; that it is there is said once nothing is on its way any more.
            (if is_listed { listed(client) } else { None }, Some(more))
        }
    }
}

fn send(client: &mut Client, to: &str, purpose: Purpose, place: usize) -> Send {
    let text = format!("race {place}");
    // The short form is for transactional messages; both forms must keep the promise.
    let (target, body) = match purpose {
        Purpose::Transactional => {
            ("/v1/sms", serde_json::json!({ "from": SENDER, "to": to, "message": text }))
        }
        purpose => (
            "/v1/messages",
            serde_json::json!({ "from": SENDER, "to": to, "text": text, "purpose": purpose.as_str() }),
        ),
    };
    let (asked_at, answer) = ask(client, target, &body.to_string());
    Send { asked_at, answer: answer.map_err(|error| error.to_string()).and_then(|answer| accepted(&answer)) }
}

/// Asks as clients do, and gives when it was asked last.
fn ask(client: &mut Client, target: &str, body: &str) -> (Moment, std::io::Result<Answer>) {
    let mut asked_at = clock::now();
    let answer = http::again(|| {
        asked_at = clock::now();
        client.ask("POST", target, None, body)
    });
    (asked_at, answer)
}

fn accepted(answer: &Answer) -> Result<String, String> {
    let json = answer.json();
    match (answer.status, json["id"].as_str()) {
        (202, Some(id)) => Ok(id.to_owned()),
        (status, _) => Err(format!("{status} {}", json["code"].as_str().unwrap_or("without a code"))),
    }
}

fn drain(plan: &Plan, subject: &Subject, smsc: &Smsc, running: &mut Running) -> Result<Vec<Shown>, String> {
    let end = clock::now().plus_ms(plan.drain_ms);
    let mut client = subject.client();
    loop {
        watch(subject, running, 200)?;
        if !smsc.is_settled() && clock::now() < end {
            continue;
        }
        let shown: Vec<Shown> = load::messages(&mut client, "")?.iter().map(load::shown).collect();
        if shown.iter().all(Shown::is_final) || clock::now() >= end {
            return Ok(shown);
        }
    }
}

fn judge(
    pairs: &BTreeMap<String, Pair>,
    submissions: &[Submission],
    refused: &[(String, Moment)],
    shown: &[Shown],
) -> Outcome {
    let shown: HashMap<&str, &Shown> = shown.iter().map(|shown| (shown.id.as_str(), shown)).collect();
    let mut outcome = Outcome { pairs: pairs.len() as u64, ..Outcome::default() };
    let mut submitted: HashMap<&str, usize> = HashMap::new();
    let mut confirmed: HashMap<&str, usize> = HashMap::new();
    for submission in submissions {
        let way = pairs.get(&submission.recipient).map(|pair| pair.way);
        if way == Some(Way::Text) && submission.text.contains(CONFIRMATION) {
            *confirmed.entry(&submission.recipient).or_default() += 1;
            continue;
        }
        *submitted.entry(&submission.recipient).or_default() += 1;
        match pairs.get(&submission.recipient).and_then(|pair| Some((pair.opted_out?, pair.slow))) {
            Some(((_, answered, fence), slow)) if submission.at > fence => {
                let late = (submission.at.0 - answered.0) as f64 / 1e6;
                outcome.violations.push((submission.recipient.clone(), late, slow));
            }
            _ => outcome.submitted_before += 1,
        }
    }
    for (recipient, at) in refused {
        outcome.refused_by_carrier += 1;
        if let Some(Pair { opted_out: Some((_, answered, fence)), slow, .. }) = pairs.get(recipient)
            && at > fence
        {
            outcome.violations.push((recipient.clone(), (at.0 - answered.0) as f64 / 1e6, *slow));
        }
    }
    let mut took: Vec<f64> = Vec::new();
    for (to, pair) in pairs {
        let mut delivered = 0;
        if pair.way == Way::Text {
            outcome.texted.0 += 1;
            outcome.texted.1 += usize::from(confirmed.get(to.as_str()) != Some(&1));
        }
        match pair.opted_out {
            Some((asked, answered, _)) => took.push((answered.0 - asked.0) as f64 / 1e6),
            None => *outcome.other_answers.entry("opt-out not taken".to_owned()).or_default() += 1,
        }
        for send in &pair.sends {
            let id = match &send.answer {
                Ok(id) => id,
                Err(kind) if kind == "422 OPTED_OUT" => {
                    outcome.refused += 1;
                    continue;
                }
                Err(kind) => {
                    *outcome.other_answers.entry(kind.clone()).or_default() += 1;
                    continue;
                }
            };
            outcome.accepted += 1;
            outcome.accepted_late +=
                usize::from(pair.opted_out.is_some_and(|(_, _, fence)| send.asked_at > fence));
            let end = shown
                .get(id.as_str())
                .map_or(("lost", None), |shown| (shown.status.as_str(), shown.error.as_deref()));
            match end {
                ("delivered", _) => delivered += 1,
                // The carrier had it, and said that the person had opted out there.
                (_, Some("OPTED_OUT simulator 903")) if pair.way == Way::Carrier => {
                    delivered += 1;
                    outcome.ended_by_carrier += 1;
                }
                ("rejected" | "failed" | "canceled", Some(error)) if error.starts_with("OPTED_OUT") => {
                    outcome.blocked += 1
                }
                (status, error) => {
                    let kind = format!("{status} {}", error.unwrap_or("without an error"));
                    *outcome.other_ends.entry(kind).or_default() += 1;
                }
            }
        }
        let submitted = submitted.get(to.as_str()).copied().unwrap_or(0);
        outcome.blocked_but_submitted += submitted.saturating_sub(delivered);
    }
    took.sort_by(f64::total_cmp);
    outcome.optout_ms =
        (took.get(took.len() / 2).copied().unwrap_or_default(), took.last().copied().unwrap_or_default());
    outcome
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed                              {}", self.seed)?;
        writeln!(f, "pairs                             {}", self.pairs)?;
        writeln!(f, "sends accepted                    {}", self.accepted)?;
        writeln!(f, "accepted, begun after the answer  {}", self.accepted_late)?;
        writeln!(f, "refused OPTED_OUT at intake       {}", self.refused)?;
        writeln!(f, "blocked at the last moment        {}", self.blocked)?;
        writeln!(f, "blocked, but submitted            {}", self.blocked_but_submitted)?;
        writeln!(f, "submitted before the opt-out      {}", self.submitted_before)?;
        writeln!(f, "ended by the carrier's opt-out    {}", self.ended_by_carrier)?;
        writeln!(f, "refused by the carrier            {}", self.refused_by_carrier)?;
        writeln!(f, "opted out by text                 {}", self.texted.0)?;
        writeln!(f, "of those not confirmed once       {}", self.texted.1)?;
        writeln!(
            f,
            "opt-out, ms                       p50 {:.1}, max {:.1}",
            self.optout_ms.0, self.optout_ms.1
        )?;
        writeln!(f, "other answers                     {:?}", self.other_answers)?;
        writeln!(f, "other ends                        {:?}", self.other_ends)?;
        for complaint in &self.complaints {
            writeln!(f, "in its log                        {complaint}")?;
        }
        writeln!(f, "violations                        {}", self.violations.len())?;
        for (to, late_ms, slow) in self.violations.iter().take(40) {
            writeln!(f, "  {to} was submitted {late_ms:.3} ms after the answer (carrier slow: {slow})")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(answer: Result<String, String>) -> BTreeMap<String, Pair> {
        let at = Moment::at_ms;
        let sends = vec![Send { asked_at: at(10), answer }];
        BTreeMap::from([(
            load::recipient(0),
            Pair { sends, opted_out: Some((at(15), at(20), at(20))), slow: false, way: Way::Api },
        )])
    }

    fn submission(at: Moment) -> Submission {
        Submission {
            at,
            session: 0,
            source: SENDER.to_owned(),
            recipient: load::recipient(0),
            text: "race 0".to_owned(),
            part: None,
            reference: None,
            carrier_id: "w".to_owned(),
            receipt_wanted: true,
            validity_s: None,
            answered_at: None,
        }
    }

    fn shown(status: &str, error: Option<&str>) -> Vec<Shown> {
        let error = error.map(str::to_owned);
        vec![Shown {
            id: "msg_1".to_owned(),
            recipient: load::recipient(0),
            status: status.to_owned(),
            error,
        }]
    }

    #[test]
    fn a_submission_after_the_opt_out_is_seen() {
        let pairs = pair(Ok("msg_1".to_owned()));
        let late = judge(&pairs, &[submission(Moment::at_ms(21))], &[], &shown("delivered", None));
        assert_eq!((late.violations.len(), late.is_good()), (1, false));
        let before = judge(&pairs, &[submission(Moment::at_ms(20))], &[], &shown("delivered", None));
        assert_eq!((before.submitted_before, before.is_good()), (1, true));
    }

    #[test]
    fn what_the_carrier_refuses_after_the_opt_out_came_too_late_as_well() {
        let pairs = pair(Ok("msg_1".to_owned()));
        let check = |ms, good| {
            let refused = [(load::recipient(0), Moment::at_ms(ms))];
            let outcome =
                judge(&pairs, &[], &refused, &shown("rejected", Some("OPTED_OUT simulator 0x000004F3")));
            assert_eq!((outcome.refused_by_carrier, outcome.is_good()), (1, good), "{ms}");
        };
        check(20, true);
        check(21, false);
    }

    #[test]
    fn a_blocked_message_is_good_unless_the_carrier_has_it() {
        let pairs = pair(Ok("msg_1".to_owned()));
        let blocked = judge(&pairs, &[], &[], &shown("rejected", Some("OPTED_OUT suppressed")));
        assert_eq!((blocked.blocked, blocked.is_good()), (1, true));
        let lied = judge(
            &pairs,
            &[submission(Moment::at_ms(19))],
            &[],
            &shown("rejected", Some("OPTED_OUT suppressed")),
        );
        assert_eq!((lied.blocked_but_submitted, lied.is_good()), (1, false));
    }

    #[test]
    fn a_refused_send_is_counted_and_other_refusals_are_not_overlooked() {
        let refused = judge(&pair(Err("422 OPTED_OUT".to_owned())), &[], &[], &[]);
        assert_eq!((refused.refused, refused.is_good()), (1, true));
        assert!(!judge(&pair(Err("500 UNKNOWN_ERROR".to_owned())), &[], &[], &[]).is_good());
        assert!(!judge(&pair(Ok("msg_1".to_owned())), &[], &[], &[]).is_good(), "a lost message");
    }
}
