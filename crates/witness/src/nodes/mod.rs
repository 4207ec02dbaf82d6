//! Several nodes over one PostgreSQL, under load, while nodes are killed, stand still and are cut off, and the database is
//! restarted and replaced (P-01, P-05, P-06, P-07, P-11, P-15, P-18, P-28).
//!
//! Each node has ways of its own to the two database servers ([`proxy`]) and doors of its own to the carriers
//! (`Smsc::door`), so that the witness knows which node submitted what, and can cut off each.

pub mod customers;
pub mod fault;
pub mod fleet;
pub mod judge;
pub mod pair;
pub mod proxy;

use crate::clock::{self, Moment};
use crate::ledger::Purpose;
use crate::load;
use crate::sink::Sink;
use crate::smsc::{Behaviour, Cut, Smsc};
use customers::{Customers, Pace, Sent};
use fault::{Fault, Kind, Planned, Schedule};
use fleet::{Fleet, Setup};
use judge::{Carrier, Figures, HELD_MS, Ledger, TAKEOVER_MS, Violation, judge};
use pair::Pair;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Mutex;

/// How long a receipt may be without acknowledgement before it is offered again: ms. A session that is cut off keeps some.
const OFFER_AGAIN_MS: u64 = 5_000;
/// How long the load goes on after the last fault, so that what follows from it is seen: ms.
const AFTERWARDS_MS: u64 = 25_000;
/// How long a failover waits for a replica that has everything: ms.
const SYNCHRONOUS_MS: u64 = 60_000;

/// What the run is to be.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The binary and its nodes.
    pub setup: Setup,
    /// Repeats the schedule.
    pub seed: u64,
    /// The faults.
    pub schedule: Schedule,
    /// Whether a killed node comes back only when its connections have new owners, so that the takeover is measured; the
    /// victims are then owners.
    pub until_taken: bool,
    /// The load.
    pub pace: Pace,
    /// How the carriers behave.
    pub carrier: Behaviour,
    /// How long everything may take to end after the load: ms.
    pub drain_ms: u64,
    /// Whether to wait until held messages have ended too.
    pub wait_for_held: bool,
    /// Where the logs go.
    pub keep: Option<PathBuf>,
}

impl Plan {
    /// The run for each change: one fault of each kind and one more.
    pub fn short(setup: Setup, seed: u64) -> Self {
        let nodes = setup.nodes;
        Self {
            setup,
            seed,
            schedule: Schedule {
                kinds: Kind::FAULTS.to_vec(),
                count: 8,
                nodes,
                longest_ms: 12_000,
                gap_ms: (500, 2_000),
                overlap_one_in: 4,
                failovers_max: 1,
            },
            until_taken: false,
            pace: Pace { clients: 12, per_second: 80 },
            carrier: carrier(),
            drain_ms: 60_000,
            wait_for_held: false,
            keep: None,
        }
    }
}

/// Carriers that look for something to do less often: there are several, and the processors are busy.
pub fn carrier() -> Behaviour {
    Behaviour { rest_us: 2_000, ..Behaviour::default() }
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
    /// What was done.
    pub faults: Vec<Fault>,
    /// Answers that were no 202, by kind.
    pub refusals: BTreeMap<String, u64>,
    /// The longer times in which no message was accepted: since when, and how long (ms).
    pub silences: Vec<(Moment, u64)>,
    /// Errors in the logs, some of them.
    pub complaints: Vec<String>,
    /// How long the load lasted: ms.
    pub load_ms: u64,
    /// How long it took until everything had ended: ms.
    pub drain_ms: u64,
}

/// Whether there is a PostgreSQL server to be started.
pub fn is_possible() -> bool {
    pair::programs().is_some()
}

/// Runs it.
///
/// # Errors
/// The run could not be done.
pub fn run(plan: &Plan) -> Result<Outcome, String> {
    let no_socket = |error: std::io::Error| format!("no socket: {error}");
    let carriers = (0..plan.setup.connections)
        .map(|n| Smsc::start(plan.carrier.clone(), plan.seed + n as u64).map_err(no_socket))
        .collect::<Result<Vec<_>, _>>()?;
    for carrier in &carriers {
        carrier.offer_again_after_ms(OFFER_AGAIN_MS);
    }
    let sink = Sink::start().map_err(no_socket)?;
    let pair = Pair::start()?;
    let fleet = Fleet::start(plan.setup.clone(), &pair, &carriers)?;
    let outcome =
        Run { plan, carriers: &carriers, sink: &sink, pair: &pair, fleet: &fleet, faults: Mutex::default() }
            .work();
    if let Some(place) = &plan.keep {
        fleet.keep_logs(place);
        eprintln!("the logs are in {}", place.display());
    }
    outcome
}

struct Run<'p> {
    plan: &'p Plan,
    carriers: &'p [Smsc],
    sink: &'p Sink,
    pair: &'p Pair,
    fleet: &'p Fleet,
    faults: Mutex<Vec<Fault>>,
}

impl Run<'_> {
    fn work(&self) -> Result<Outcome, String> {
        let plan = self.plan;
        self.add_webhook()?;
        let customers = Customers::new(plan.seed, plan.pace, plan.setup.connections);
        let began = clock::now();
        let done = std::thread::scope(|scope| {
            let sending = scope.spawn(|| customers.work(self.fleet, self.carriers));
            let done = self.faults().map(|()| clock::sleep_ms(AFTERWARDS_MS));
            customers.stop();
            drop(sending.join());
            done
        });
        done?;
        let stopped = clock::now();
        let silences = customers.silences();
        let (sent, refusals) = customers.results();
        let (figures, violations) = self.drain(&sent)?;
        Ok(Outcome {
            seed: plan.seed,
            figures,
            violations,
            faults: self.happened(),
            refusals,
            silences,
            complaints: self.fleet.complaints(5),
            load_ms: stopped.ms_since(began),
            drain_ms: clock::now().ms_since(stopped),
        })
    }

    fn add_webhook(&self) -> Result<(), String> {
        let body = serde_json::json!({ "url": self.sink.url(), "description": "the witness" }).to_string();
        match self.fleet.client(0).ask("POST", "/v1/webhooks", None, &body) {
            Ok(answer) if answer.status == 201 => Ok(()),
            Ok(answer) => {
                Err(format!("POST /v1/webhooks: {} {}", answer.status, String::from_utf8_lossy(&answer.body)))
            }
            Err(error) => Err(format!("POST /v1/webhooks: {error}")),
        }
    }

    /// Does one fault after the other; some begin before the one before is over.
    fn faults(&self) -> Result<(), String> {
        let planned = fault::draw(&self.plan.schedule, self.plan.seed);
        std::thread::scope(|scope| {
            let mut going: Vec<Going<'_>> = Vec::new();
            for (n, mut next) in planned.into_iter().enumerate() {
                if going.iter().any(|(before, _)| !before.overlaps) {
                    finish(&mut going)?;
                }
                clock::sleep_ms(next.after_ms);
                if self.plan.until_taken
                    && let Some(owner) = self.owner_of(n % self.carriers.len())
                {
                    next.node = owner;
                }
                if going.iter().any(|(before, _)| before.meets(&next)) {
                    finish(&mut going)?;
                }
                eprintln!("{:9} ms  {:3}. {next}", clock::now().0 / 1_000_000, n + 1);
                going.push((next, scope.spawn(move || self.act(next))));
            }
            finish(&mut going)
        })
    }

    /// Which node submitted last on a connection.
    fn owner_of(&self, connection: usize) -> Option<usize> {
        let carrier = &self.carriers[connection];
        let session = carrier.last_submission()?.session;
        let bind = carrier.binds().into_iter().rev().find(|bind| bind.session == session)?;
        self.fleet.node_behind(connection, bind.door)
    }

    fn act(&self, planned: Planned) -> Result<(), String> {
        let Planned { kind, node, for_ms, cut, .. } = planned;
        if kind == Kind::Failover && !clock::wait_until(SYNCHRONOUS_MS, 200, || self.pair.is_synchronous()) {
            return Err("the replica did not follow the primary again".to_owned());
        }
        let from = clock::now();
        match kind {
            Kind::Kill => self.fleet.kill(node, if self.plan.until_taken { 3_600_000 } else { for_ms }),
            Kind::Pause => {
                self.fleet.pause(node, true);
                clock::sleep_ms(for_ms);
                self.fleet.pause(node, false);
            }
            Kind::Database => {
                self.fleet.cut_from_database(node, cut);
                clock::sleep_ms(for_ms);
                self.fleet.cut_from_database(node, Cut::default());
            }
            Kind::Carrier => {
                self.cut_from_carriers(node, cut);
                clock::sleep_ms(for_ms);
                self.cut_from_carriers(node, Cut::default());
            }
            Kind::Restart => self.pair.restart(true, for_ms)?,
            Kind::Crash => self.pair.restart(false, for_ms)?,
            Kind::Failover => {
                // Its port says that nobody listens; or its machine is a hole in the network, until it is the replica.
                if cut.from_them && cut.to_them {
                    self.cut_from_server(self.pair.primary(), cut);
                }
                self.pair.fail_over(for_ms)?;
            }
            Kind::Exchange => self.fleet.exchange(node)?,
        }
        let to = clock::now();
        let node = Some(planned.node).filter(|_| !kind.is_of_all());
        self.faults.lock().expect("no thread panics with it").push(Fault { kind, node, from, to });
        match kind {
            Kind::Kill if self.plan.until_taken => {
                self.wait_until_taken(planned.node, from);
                self.fleet.kill(planned.node, 0);
                self.fleet.wait_until_ready(planned.node);
            }
            // The node is down for so long.
            Kind::Kill => clock::sleep_ms(for_ms),
            // As one who upgrades: the next node only when this one is ready.
            Kind::Exchange if !self.fleet.wait_until_ready(planned.node) => {
                return Err(format!("node {} is not ready as the other release", planned.node));
            }
            Kind::Failover => {
                self.pair.replicate()?;
                self.cut_from_server(1 - self.pair.primary(), Cut::default());
            }
            _ => {}
        }
        Ok(())
    }

    fn cut_from_server(&self, server: usize, cut: Cut) {
        for node in 0..self.fleet.count() {
            self.fleet.cut_from_server(node, server, cut);
        }
    }

    fn cut_from_carriers(&self, node: usize, cut: Cut) {
        for (n, carrier) in self.carriers.iter().enumerate() {
            carrier.cut(self.fleet.door(node, n), cut);
        }
    }

    /// Waits until no connection was last used by that node.
    fn wait_until_taken(&self, node: usize, since: Moment) {
        let waiting = || (0..self.carriers.len()).any(|n| self.owner_of(n) == Some(node));
        clock::wait_until(TAKEOVER_MS + 10_000, 50, || clock::now().ms_since(since) > 500 && !waiting());
    }

    fn happened(&self) -> Vec<Fault> {
        let mut faults = self.faults.lock().expect("no thread panics with it").clone();
        faults.sort_by_key(|fault| fault.from);
        faults
    }

    fn drain(&self, sent: &[Sent]) -> Result<(Figures, Vec<Violation>), String> {
        let last = self.happened().iter().map(|fault| fault.to).max().unwrap_or_default();
        let wait_for_held =
            if self.plan.wait_for_held { last.plus_ms(HELD_MS).ms_since(clock::now()) } else { 0 };
        let end = clock::now().plus_ms(self.plan.drain_ms + wait_for_held);
        let mut waits = 0;
        while clock::now() < end {
            clock::sleep_ms(500);
            let settled = self.carriers.iter().all(Smsc::is_settled);
            if settled && self.is_idle() {
                break;
            }
            waits += 1;
            if waits % 20 == 0 {
                eprintln!("{:9} ms  not drained; receipts settled: {settled}", clock::now().0 / 1_000_000);
            }
        }
        // What was settled last may still be on its way to the webhook receiver.
        loop {
            let ledger = self.ledger(sent, end)?;
            let (figures, violations) = judge(&ledger, self.plan.setup.window);
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
            clock::sleep_ms(2_000);
        }
    }

    /// Whether nothing waits any more, but what may be held.
    fn is_idle(&self) -> bool {
        let mut client = self.fleet.patient_client(0);
        // A page may be empty and have a next one.
        let mut all = |filter: &str, may: &dyn Fn(&Value) -> bool| {
            load::messages(&mut client, filter).is_ok_and(|waiting| waiting.iter().all(may))
        };
        if !["status=queued", "status=scheduled"].into_iter().all(|filter| all(filter, &|_| false)) {
            return false;
        }
        let held = |message: &Value| {
            !self.plan.wait_for_held && message["purpose"] == Purpose::Transactional.as_str()
        };
        // Of a message of several parts, some may have been answered.
        ["status=sending", "status=sent"].into_iter().all(|filter| all(filter, &held))
    }

    fn ledger(&self, sent: &[Sent], end: Moment) -> Result<Ledger, String> {
        // The API first: what it shows as final has been told and submitted before.
        let mut listed = Err("no node was asked".to_owned());
        clock::wait_until(end.ms_since(clock::now()).max(60_000), 1_000, || {
            let node = (0..self.fleet.count()).find(|n| !self.fleet.is_shunned(*n)).unwrap_or(0);
            listed = load::messages(&mut self.fleet.patient_client(node), "");
            if listed.is_err() {
                self.fleet.shun(node, 5_000);
            }
            listed.is_ok()
        });
        let shown = listed?.iter().map(|message| (load::shown(message), expires(message))).collect();
        let shown_at = clock::now();
        let carriers = self.carriers.iter().enumerate().map(|(n, carrier)| {
            let receipts = carrier.receipts();
            let binds = carrier.binds().into_iter();
            Carrier {
                submissions: carrier.submissions(),
                receipts,
                binds: binds.filter_map(|bind| Some((self.fleet.node_behind(n, bind.door)?, bind))).collect(),
                most_open: carrier.most_open(),
            }
        });
        Ok(Ledger {
            sent: sent.to_vec(),
            carriers: carriers.collect(),
            webhooks: self.sink.webhooks(),
            shown,
            shown_at,
            faults: self.happened(),
            exits: self.fleet.exits(),
        })
    }
}

/// A fault that is going on.
type Going<'s> = (Planned, std::thread::ScopedJoinHandle<'s, Result<(), String>>);

/// Waits until all of them are over.
fn finish(going: &mut Vec<Going<'_>>) -> Result<(), String> {
    going.drain(..).try_for_each(|(_, thread)| thread.join().expect("it does not panic"))
}

/// When a message is worth nothing any more. Never, if the API does not say.
fn expires(message: &Value) -> Moment {
    let wall = message["expires_at"].as_str().and_then(clock::wall_of);
    wall.map_or(Moment(u64::MAX / 2), clock::moment_of)
}

impl Outcome {
    /// Takeovers without another fault at the same time: ms, in ascending order.
    pub fn takeovers_ms(&self) -> Vec<u64> {
        let calm = self.figures.takeovers.iter().filter(|takeover| !takeover.is_disturbed);
        let mut took: Vec<u64> = calm.map(|takeover| takeover.took_ms).collect();
        took.sort_unstable();
        took
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = &self.figures;
        let mut row = |name: &str, value: String| writeln!(f, "{name:36}{value}");
        let by_purpose = |counts: &BTreeMap<Purpose, usize>| {
            let of = |purpose: Purpose| counts.get(&purpose).copied().unwrap_or(0);
            Purpose::ALL.map(|purpose| format!("{} {}", purpose.as_str(), of(purpose))).join(", ")
        };
        row("seed", self.seed.to_string())?;
        let kinds = Kind::ALL.map(|kind| {
            let count = self.faults.iter().filter(|fault| fault.kind == kind).count();
            format!("{} {count}", kind.as_str())
        });
        row("faults", format!("{}: {}", self.faults.len(), kinds.join(", ")))?;
        row("acknowledged (202)", figures.acknowledged.to_string())?;
        row("refused after an opt-out", figures.refused.to_string())?;
        row("repeated without an answer", figures.repeated.to_string())?;
        row("other answers", words(&self.refusals))?;
        let mut silences = self.silences.clone();
        silences.sort_by_key(|(_, ms)| std::cmp::Reverse(*ms));
        row("longest times without a 202, ms", format!("{:?}", &silences[..silences.len().min(8)]))?;
        row("submissions", figures.submissions.to_string())?;
        row("submitted again", by_purpose(&figures.duplicates))?;
        row("unconfirmed", by_purpose(&figures.unconfirmed))?;
        row("unconfirmed that the carrier has", figures.unconfirmed_but_taken.to_string())?;
        row("held for a receipt", figures.held.to_string())?;
        row("statuses", words(&figures.statuses))?;
        row("receipts acknowledged", figures.receipts.to_string())?;
        row("webhooks, and again", format!("{}, {}", figures.webhooks, figures.webhooks_again))?;
        let (opt_outs, before) = figures.opt_outs;
        row("opt-outs, submitted before", format!("{opt_outs}, {before}"))?;
        row("opt-outs, ms", quantiles(&figures.opt_outs_ms))?;
        let exits: Vec<String> =
            figures.exits.iter().map(|(code, count)| format!("{code}: {count}")).collect();
        row("processes that ended, by exit code", exits.join(", "))?;
        row("moves of a connection", figures.moves.to_string())?;
        row("takeovers after a kill, ms", quantiles(&self.takeovers_ms()))?;
        let disturbed = figures.takeovers.iter().filter(|takeover| takeover.is_disturbed);
        let mut disturbed: Vec<u64> = disturbed.map(|takeover| takeover.took_ms).collect();
        disturbed.sort_unstable();
        row("  with another fault meanwhile, ms", quantiles(&disturbed))?;
        row("load and drain, ms", format!("{}, {}", self.load_ms, self.drain_ms))?;
        for complaint in &self.complaints {
            row("in a log", complaint.clone())?;
        }
        row("violations", self.violations.len().to_string())?;
        if !self.violations.is_empty() {
            for fault in &self.faults {
                writeln!(f, "  {fault:?}")?;
            }
            for takeover in &figures.takeovers {
                writeln!(f, "  {takeover:?}")?;
            }
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

fn quantiles(sorted: &[u64]) -> String {
    let at =
        |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).max(1) - 1).copied().unwrap_or(0);
    format!("{}: p50 {}, p99 {}, max {}", sorted.len(), at(50), at(99), at(100))
}
