//! Everything that could fill the memory at once (P-33): clients that connect and say nothing, a long queue, endpoints that
//! take calls and never answer, and receipts that belong to nobody. How much the process has in use is written down
//! after each.

use crate::backlog::{self, Stuff};
use crate::clock;
use crate::kill::watch;
use crate::ledger::Purpose;
use crate::restart::MEMORY_BOUND_KIB;
use crate::smsc::{Behaviour, Smsc};
use crate::subject::{Running, Setup, Subject};
use std::fmt;
use std::net::{TcpListener, TcpStream};

/// Everything in the queue is worth sending for a day.
const LIFE_S: u64 = 86_400;

/// What the run is to be.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The binary and its windows.
    pub setup: Setup,
    /// Repeats the keys.
    pub seed: u64,
    /// Connections that say nothing.
    pub idle: usize,
    /// Messages in the queue.
    pub queued: u64,
    /// Endpoints that never answer.
    pub stalled: usize,
    /// Messages for each of them, each with several events.
    pub calls: u64,
    /// Receipts that belong to nobody.
    pub strange: usize,
    /// How long it goes on after that: milliseconds.
    pub last_ms: u64,
}

/// What came of it: the memory in use after each part, and the most of all, in KiB.
#[derive(Debug, Default)]
pub struct Outcome {
    /// By part.
    pub in_use_kib: Vec<(&'static str, u64)>,
    /// At most.
    pub most_kib: u64,
    /// Connections of the idle ones that were still open at the end.
    pub idle_open: usize,
    /// Messages that waited at the end.
    pub sent_all: bool,
}

impl Outcome {
    /// Whether it stayed as small as is promised.
    pub fn is_small(&self) -> bool {
        self.most_kib <= MEMORY_BOUND_KIB
    }
}

/// Runs it.
///
/// # Errors
/// The run could not be done.
pub fn run(plan: &Plan) -> Result<Outcome, String> {
    let carrier = Behaviour { early_receipt_one_in: 0, ..Behaviour::default() };
    let smsc = Smsc::start(carrier, plan.seed).map_err(|error| format!("no socket: {error}"))?;
    let subject = Subject::prepare(plan.setup.clone(), smsc.address())?;
    smsc.gate(true);
    let mut running = subject.start()?;
    subject.wait_until_ready(&mut running)?;
    let mut outcome = Outcome::default();
    let mut note = |part, running: &Running| {
        outcome.in_use_kib.push((part, running.memory_kib()));
        outcome.most_kib = running.memory_peak_kib();
    };
    note("started", &running);

    let idle = connect(&subject, plan.idle);
    note("idle clients", &running);

    let queue = |messages, first, callback| Stuff {
        messages,
        first,
        purposes: vec![(Purpose::Marketing, LIFE_S), (Purpose::Alert, LIFE_S)],
        seed: plan.seed,
        poison: None,
        callback,
    };
    backlog::fill(&subject, &queue(plan.queued, 0, None))?;
    note("a long queue", &running);

    // Accepted by the system, and never by anybody else.
    let silent: Vec<TcpListener> = (0..plan.stalled)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()
        .map_err(|error| format!("no socket: {error}"))?;
    for (n, listener) in (0..).zip(&silent) {
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let callback = Some(format!("http://{address}/never"));
        backlog::fill(&subject, &queue(plan.calls, plan.queued + n * plan.calls, callback))?;
    }
    smsc.gate(false);
    watch(&subject, &mut running, plan.last_ms)?;
    note("endpoints that never answer", &running);

    smsc.strange_receipts(plan.strange);
    watch(&subject, &mut running, plan.last_ms)?;
    note("receipts that belong to nobody", &running);

    let mut client = subject.client();
    let sent_all =
        clock::wait_until(3_600_000, 1_000, || running.ended().is_some() || backlog::is_empty(&mut client));
    note("the queue was sent", &running);
    watch(&subject, &mut running, 10)?;
    outcome.sent_all = sent_all;
    outcome.idle_open = idle.iter().filter(|stream| is_open(stream)).count();
    Ok(outcome)
}

/// As many connections as the system gives.
fn connect(subject: &Subject, count: usize) -> Vec<TcpStream> {
    (0..count).map_while(|_| TcpStream::connect(subject.address()).ok()).collect()
}

fn is_open(stream: &TcpStream) -> bool {
    let quiet = stream.set_nonblocking(true).is_ok();
    quiet && stream.peek(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (part, kib) in &self.in_use_kib {
            writeln!(f, "in use after {part:<34}{:>5} MiB", kib / 1024)?;
        }
        writeln!(f, "at most                                        {:>5} MiB", self.most_kib / 1024)?;
        writeln!(f, "idle connections that are still open           {:>5}", self.idle_open)?;
        writeln!(f, "the queue was sent                             {:>5}", self.sent_all)
    }
}
