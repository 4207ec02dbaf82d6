//! Kills the binary again and again under load, and checks afterwards that it kept its word (P-01, P-05, P-07, P-08,
//! P-10, P-18; the process dies, the machine does not).

use crate::check::{self, Figures, Limits, Violation};
use crate::clock::{self, Moment};
use crate::http::Client;
use crate::ledger::{Kill, Ledger, Purpose, Request};
use crate::load::{self, Load, Pace};
use crate::random::Random;
use crate::sink::Sink;
use crate::smsc::{Behaviour, Smsc};
use crate::subject::{Running, START_BOUND_MS, Setup, Subject};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

/// How long a transactional message may be held for a receipt, with room for the restart: milliseconds.
pub const HELD_MS: u64 = 130_000;
/// An answer that was written so shortly before a kill may not have been committed: milliseconds.
pub const ANSWERED_GRACE_MS: u64 = 5_000;

/// What the run is to be.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The binary and its windows.
    pub setup: Setup,
    /// Repeats the schedule of kills and the choice of purposes.
    pub seed: u64,
    /// Ends by force.
    pub kills: usize,
    /// Messages that must have got a 202 at least.
    pub messages: u64,
    /// The load.
    pub pace: Pace,
    /// How long it runs between two kills: least and most milliseconds after the first 202.
    pub up_ms: (u64, u64),
    /// One kill in so many hits a start that has not answered yet; 0 for none.
    pub at_start_one_in: u64,
    /// How the carrier behaves.
    pub carrier: Behaviour,
    /// How long everything may take to end after the load: milliseconds.
    pub drain_ms: u64,
    /// Whether to wait until held messages have ended too (up to [`HELD_MS`] after the last kill).
    pub wait_for_held: bool,
    /// Whether the directory stays if something was broken.
    pub keep: bool,
}

impl Plan {
    /// The run for each change: some ten kills in half a minute.
    pub fn short(setup: Setup, seed: u64) -> Self {
        Self {
            setup,
            seed,
            kills: 8,
            messages: 2_000,
            pace: Pace { clients: 8, per_second: 250, long_one_in: 20 },
            up_ms: (100, 1_200),
            at_start_one_in: 5,
            carrier: Behaviour::default(),
            drain_ms: 60_000,
            wait_for_held: false,
            keep: false,
        }
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// The seed that repeats it.
    pub seed: u64,
    /// What was counted.
    pub figures: Figures,
    /// What was broken.
    pub violations: Vec<Violation>,
    /// From each start to the first 202 after it: milliseconds, in ascending order.
    pub restarts_ms: Vec<u64>,
    /// Answers that were no 202, by kind.
    pub refusals: BTreeMap<String, u64>,
    /// Errors in the binary's own log, some of them.
    pub complaints: Vec<String>,
    /// How long the load lasted, and the drain: milliseconds.
    pub load_ms: u64,
    /// How long it took until everything had ended: milliseconds.
    pub drain_ms: u64,
    /// SMPP sessions that were opened.
    pub sessions: u32,
    /// The ends by force.
    pub kills: Vec<Kill>,
    /// What the carrier knew of the messages in doubt, kill by kill.
    pub doubt: Vec<Doubt>,
}

/// What the carrier knew of the messages that one kill left in doubt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Doubt {
    /// It had none of it.
    pub unsubmitted: u32,
    /// It had not answered all that it had.
    pub unanswered: u32,
    /// It had answered all that it had.
    pub answered: u32,
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
    let outcome = Run {
        plan,
        smsc,
        sink,
        subject: &subject,
        kills: Vec::new(),
        restarts_ms: Vec::new(),
        known: HashSet::new(),
        unlisted: 0,
        doubted: Vec::new(),
    }
    .work();
    if plan.keep && outcome.as_ref().map_or(true, |outcome| !outcome.violations.is_empty()) {
        eprintln!("left for you to look into: {}", subject.keep().display());
    }
    outcome
}

struct Run<'p> {
    plan: &'p Plan,
    smsc: Smsc,
    sink: Sink,
    subject: &'p Subject,
    kills: Vec<Kill>,
    restarts_ms: Vec<u64>,
    /// Messages that were seen in doubt after an earlier kill.
    known: HashSet<String>,
    /// Kills since they were last listed: only the doubt of a single one can be held against its windows.
    unlisted: usize,
    /// The messages that single kills left in doubt.
    doubted: Vec<(Moment, Vec<String>)>,
}

impl Run<'_> {
    fn work(mut self) -> Result<Outcome, String> {
        let (subject, plan) = (self.subject, self.plan);
        let mut running = subject.start()?;
        subject.wait_until_ready(&mut running)?;
        subject.add_webhook(&self.sink.url())?;
        let began = clock::now();
        let load = Load::start(subject, plan.pace, plan.seed);
        let mut random = Random::part(plan.seed, 1);
        while self.kills.len() < plan.kills {
            watch(subject, &mut running, random.between(plan.up_ms.0, plan.up_ms.1))?;
            self.kill(running);
            if random.one_in(plan.at_start_one_in) && self.kills.len() < plan.kills {
                let starting = subject.start()?;
                clock::sleep_ms(random.between(0, 250));
                self.kill(starting);
            }
            // Before it starts: nothing new may be among what is in doubt.
            self.smsc.gate(true);
            running = subject.start()?;
            self.resume(&load, &mut running)?;
        }
        while load.acknowledged() < plan.messages {
            watch(subject, &mut running, 20)?;
        }
        let (requests, refusals) = load.stop();
        let load_ms = clock::now().ms_since(began);
        let stopped = clock::now();
        let (figures, violations) = self.drain(&mut running, &requests)?;
        self.restarts_ms.sort_unstable();
        let doubt = self.doubt(&requests);
        Ok(Outcome {
            seed: plan.seed,
            figures,
            violations,
            restarts_ms: self.restarts_ms,
            refusals,
            complaints: subject.complaints(5),
            load_ms,
            drain_ms: clock::now().ms_since(stopped),
            sessions: self.smsc.sessions_opened(),
            doubt,
            kills: self.kills,
        })
    }

    /// What the carrier knew of the messages in doubt when the kill came.
    fn doubt(&self, requests: &[Request]) -> Vec<Doubt> {
        let recipients: HashMap<&str, &str> = requests
            .iter()
            .flat_map(|r| r.accepted.iter().map(|(id, _)| (id.as_str(), r.recipient.as_str())))
            .collect();
        let submissions = self.smsc.submissions();
        let of_kill = |(at, ids): &(Moment, Vec<String>)| {
            let mut doubt = Doubt::default();
            for id in ids {
                // What was written is read shortly after the end of the process, and before the next bind.
                let mut of_message = submissions
                    .iter()
                    .filter(|s| {
                        recipients.get(id.as_str()) == Some(&s.recipient.as_str()) && s.at <= at.plus_ms(50)
                    })
                    .peekable();
                if of_message.peek().is_none() {
                    doubt.unsubmitted += 1;
                } else if of_message.all(|s| s.answered_at.is_some_and(|answered| answered <= *at)) {
                    doubt.answered += 1;
                } else {
                    doubt.unanswered += 1;
                }
            }
            doubt
        };
        self.doubted.iter().map(of_kill).collect()
    }

    fn kill(&mut self, running: Running) {
        self.kills.push(Kill { at: clock::now(), in_doubt: None });
        self.unlisted += 1;
        running.kill();
    }

    /// After a start: lists what is in doubt while the carrier takes no bind, so that nothing new is among it; then lets it
    /// bind, and waits for the first 202.
    fn resume(&mut self, load: &Load, running: &mut Running) -> Result<(), String> {
        let started = clock::now();
        let listed = self.subject.wait_until_ready(running).and_then(|()| {
            let mut client = self.subject.client();
            // What is not sent again at all is shown as unconfirmed at once.
            let mut listed = load::messages(&mut client, "status=sending")?;
            listed.append(&mut load::messages(&mut client, "status=unconfirmed")?);
            Ok(listed)
        });
        self.smsc.gate(false);
        let listed: HashSet<String> = listed?.iter().map(|message| load::shown(message).id).collect();
        let new: Vec<String> = listed.difference(&self.known).cloned().collect();
        let last = self.kills.last_mut().expect("there was one before");
        if self.unlisted == 1 {
            last.in_doubt = u32::try_from(new.len()).ok();
            self.doubted.push((last.at, new));
        }
        self.unlisted = 0;
        self.known.extend(listed);
        let first = || Some(load.last_acknowledged()).filter(|at| *at > started);
        if !clock::wait_until(START_BOUND_MS, 1, || first().is_some()) {
            return Err(format!(
                "no 202 within {START_BOUND_MS} ms of a start\n{}",
                self.subject.log_end(30)
            ));
        }
        self.restarts_ms.push(first().unwrap_or(started).ms_since(started));
        Ok(())
    }

    fn drain(
        &self,
        running: &mut Running,
        requests: &[Request],
    ) -> Result<(Figures, Vec<Violation>), String> {
        let mut client = self.subject.client();
        let last_kill = self.kills.last().map_or(Moment::default(), |kill| kill.at);
        let held_until = last_kill.plus_ms(HELD_MS);
        let wait_for_held = if self.plan.wait_for_held { held_until.ms_since(clock::now()) } else { 0 };
        let end = clock::now().plus_ms(self.plan.drain_ms + wait_for_held);
        while clock::now() < end {
            watch(self.subject, running, 100)?;
            if self.smsc.is_settled() && self.is_idle(&mut client) {
                break;
            }
        }
        // What was settled last may still be on its way to the webhook receiver.
        loop {
            let ledger = self.ledger(&mut client, requests)?;
            let limits = Limits {
                window: self.plan.setup.window,
                sessions: self.plan.setup.sessions,
                held_ms: HELD_MS,
                answered_grace_ms: ANSWERED_GRACE_MS,
                webhooks: true,
            };
            let (figures, violations) = check::check(&ledger, &limits);
            let waits = violations.iter().any(|violation| {
                matches!(
                    violation,
                    Violation::WebhookMissing { .. }
                        | Violation::ReceiptLost { .. }
                        | Violation::NotFinal { .. }
                )
            });
            if !waits || clock::now() >= end {
                return Ok((figures, violations));
            }
            watch(self.subject, running, 500)?;
        }
    }

    /// Whether nothing waits any more, but what may be held.
    fn is_idle(&self, client: &mut Client) -> bool {
        let none = |client: &mut Client, status: &str| {
            let answer = client.ask("GET", &format!("/v1/messages?limit=1&status={status}"), None, "");
            answer.is_ok_and(|answer| {
                let json = answer.json();
                json["data"].as_array().is_some_and(Vec::is_empty) && json["next_cursor"].is_null()
            })
        };
        if !["queued", "scheduled", "sent"].into_iter().all(|status| none(client, status)) {
            return false;
        }
        match load::messages(client, "status=sending") {
            Ok(sending) if self.plan.wait_for_held => sending.is_empty(),
            Ok(sending) => {
                sending.iter().all(|message| message["purpose"] == Purpose::Transactional.as_str())
            }
            Err(_) => false,
        }
    }

    fn ledger(&self, client: &mut Client, requests: &[Request]) -> Result<Ledger, String> {
        // The API first: what it shows as final has been told and submitted before.
        let shown = load::messages(client, "")?.iter().map(load::shown).collect();
        let shown_at = clock::now();
        let receipts = self.smsc.receipts();
        Ok(Ledger {
            requests: requests.to_vec(),
            submissions: self.smsc.submissions(),
            receipts,
            webhooks: self.sink.webhooks(),
            shown,
            kills: self.kills.clone(),
            shown_at,
            most_open: self.smsc.most_open(),
        })
    }
}

/// Waits, and complains if it ends meanwhile.
pub(crate) fn watch(subject: &Subject, running: &mut Running, ms: u64) -> Result<(), String> {
    let mut ended = None;
    clock::wait_until(ms, 10, || {
        ended = running.ended();
        ended.is_some()
    });
    match ended {
        None => Ok(()),
        Some(how) => Err(format!("it ended by itself: {how}\n{}", subject.log_end(30))),
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = &self.figures;
        let by_purpose = |counts: &BTreeMap<Purpose, usize>| {
            let counts =
                Purpose::ALL.map(|p| format!("{} {}", p.as_str(), counts.get(&p).copied().unwrap_or(0)));
            counts.join(", ")
        };
        let mut row = |name: &str, value: String| writeln!(f, "{name:<36}{value}");
        row("seed", self.seed.to_string())?;
        row("kills", figures.kills.to_string())?;
        row("acknowledged", figures.acknowledged.to_string())?;
        row("acknowledged and lost", figures.lost.to_string())?;
        row("repeated after no answer", figures.repeated.to_string())?;
        row("submissions", figures.submissions.to_string())?;
        row("submitted again", by_purpose(&figures.duplicates))?;
        row("unconfirmed", by_purpose(&figures.unconfirmed))?;
        row("unconfirmed, but the carrier had it", figures.unconfirmed_but_taken.to_string())?;
        row("held for a receipt at the end", figures.held.to_string())?;
        row("in doubt after one kill, at most", figures.most_in_doubt.to_string())?;
        row("receipts (offered again)", format!("{} ({})", figures.receipts, figures.receipts_again))?;
        row("webhooks (come again)", format!("{} ({})", figures.webhooks, figures.webhooks_again))?;
        row("statuses", words(&figures.statuses))?;
        row("answers that were no 202", words(&self.refusals))?;
        row("SMPP sessions", self.sessions.to_string())?;
        let restarts = &self.restarts_ms;
        let median = restarts.get(restarts.len() / 2).copied().unwrap_or(0);
        row(
            "restart to first 202, ms",
            format!("p50 {median}, max {}", restarts.last().copied().unwrap_or(0)),
        )?;
        row("load and drain, ms", format!("{}, {}", self.load_ms, self.drain_ms))?;
        for complaint in &self.complaints {
            row("in its log", complaint.clone())?;
        }
        row("violations", self.violations.len().to_string())?;
        if !self.violations.is_empty() {
            let at: Vec<Moment> = self.kills.iter().map(|kill| kill.at).collect();
            writeln!(f, "killed at {at:?}")?;
            writeln!(
                f,
                "in doubt (unsubmitted, unanswered, answered) {:?}",
                self.doubt.iter().map(|d| (d.unsubmitted, d.unanswered, d.answered)).collect::<Vec<_>>()
            )?;
        }
        // Enough to see a pattern.
        for violation in self.violations.iter().take(40) {
            writeln!(f, "  {violation}")?;
        }
        Ok(())
    }
}

fn words<V: fmt::Display>(counts: &BTreeMap<String, V>) -> String {
    let words: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}
