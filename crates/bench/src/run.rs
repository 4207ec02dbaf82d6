//! One run: everything is started, loaded, drained, stopped and counted.

use crate::check::{self, Account, Joined};
use crate::clock::{self, MS, SECOND};
use crate::figures::{Spread, median, per_second};
use crate::load::{self, Kind};
use crate::subject::{Setup, Subject};
use crate::tool::{Arguments, How, Tool};
use crate::watch::{Sample, Usage, Watch, Watched};
use crate::{sink, smsc};
use std::fmt;
use std::io::Read;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

/// How long everything rests after the last end was told, so that what should not come any more can come.
const REST: u64 = 300 * MS;
/// How long the load waits after everything is ready.
const BEFORE: u64 = 100 * MS;

/// What to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The name of the profile.
    pub profile: String,
    /// The server.
    pub setup: Setup,
    /// How the tools are run.
    pub how: How,
    /// What is sent.
    pub kind: Kind,
    /// Messages a second; 0 for as many as go.
    pub rate: u64,
    /// Seconds before anything is measured.
    pub warmup_s: u64,
    /// Seconds that are measured.
    pub seconds: u64,
    /// Connections of the load generator.
    pub connections: u64,
    /// The most messages that are accepted and have not come back; 0 for no bound.
    pub bound: u64,
    /// Whether requests carry an idempotency key.
    pub keys: bool,
    /// Options for the carrier.
    pub carrier: Vec<String>,
    /// How long everything may take to end: seconds.
    pub drain_s: u64,
    /// Where the directory of the run is made.
    pub place: PathBuf,
    /// Whether that directory stays.
    pub keep: bool,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The profile.
    pub profile: String,
    /// The account.
    pub account: Account,
    /// Messages that ended in each second that was measured.
    pub ended_per_s: Vec<u64>,
    /// Messages that were accepted in each second that was measured.
    pub accepted_per_s: Vec<u64>,
    /// Messages that ended in the time that was measured.
    pub ended: u64,
    /// That time: seconds.
    pub seconds: u64,
    /// Request to answer.
    pub accept: Spread,
    /// Request to the first submission at the carrier.
    pub carrier: Spread,
    /// Request to the webhook that tells the end.
    pub webhook: Spread,
    /// What the server used in that time.
    pub server: Usage,
    /// What the tools used in that time: processor time in nanoseconds, by name.
    pub tools_ns: Vec<(&'static str, u64)>,
    /// Processor time of the whole machine in that time: nanoseconds.
    pub machine_ns: u64,
    /// The length of that time as it was: nanoseconds.
    pub took_ns: u64,
    /// The server's memory at the end, and at the most: octets.
    pub rss: (u64, u64),
    /// The size of the database at the end, and of its log at the most: octets.
    pub stored: (u64, u64),
    /// From the last answer until the last end was told: milliseconds.
    pub drain_ms: u64,
    /// From asking it to stop until it was gone: milliseconds.
    pub stop_ms: u64,
    /// When what was used: samples over the whole run.
    pub samples: Vec<Sample>,
    /// When the load began, on the clock of the samples.
    pub began: u64,
    /// Lines of its log that are warnings or worse: how many, and the first few.
    pub complaints: (usize, Vec<String>),
}

/// The figures of a run as far as they are compared.
impl Outcome {
    /// Messages a second: the median of the seconds.
    pub fn rate_median(&self) -> f64 {
        median(&self.ended_per_s.iter().map(|count| *count as f64).collect::<Vec<_>>())
    }

    /// Messages a second: the mean.
    pub fn rate_mean(&self) -> f64 {
        self.ended as f64 / self.seconds.max(1) as f64
    }

    /// Processor time of the server for each message: microseconds.
    pub fn cpu_us(&self) -> f64 {
        self.server.cpu_ns() as f64 / 1e3 / self.ended.max(1) as f64
    }
}

/// The directory of a run, which goes with it.
struct Directory {
    path: PathBuf,
    keep: bool,
}

impl Directory {
    fn make(plan: &Plan) -> Result<Self, String> {
        let path = plan.place.join(format!("tidings-bench-{}-{}", std::process::id(), clock::now()));
        std::fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { path, keep: plan.keep })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if self.keep {
            eprintln!("kept: {}", self.path.display());
        } else {
            drop(std::fs::remove_dir_all(&self.path));
        }
    }
}

/// Everything at the beginning or at the end of what is measured.
struct Edge {
    sample: Sample,
    server: Usage,
}

impl Edge {
    fn now(watched: &Watched) -> Self {
        Self { server: Usage::of(watched.server), sample: watched.sample() }
    }
}

/// Runs.
///
/// # Errors
/// A sentence: something did not start, or ended, or did not come to its end in time.
pub fn run(plan: &Plan) -> Result<Outcome, String> {
    let directory = Directory::make(plan)?;
    let log = |name: &str| directory.file(&format!("{name}.log"));

    let arguments = Arguments::default().with("log", log(sink::NAME).display());
    let mut sink = Tool::start(&plan.how, sink::NAME, sink::work, arguments.list())?;
    let addresses = sink.ready()?;
    let [calls, progress] = &addresses[..] else { return Err("the sink has no addresses".to_owned()) };
    let arguments = Arguments::default().with("log", log(smsc::NAME).display());
    let arguments = [arguments.list(), &plan.carrier].concat();
    let mut carrier = Tool::start(&plan.how, smsc::NAME, smsc::work, &arguments)?;
    let addresses = carrier.ready()?;
    let [address] = &addresses[..] else { return Err("the carrier has no address".to_owned()) };

    let subject = Subject::prepare(plan.setup.clone(), &directory.path, address)?;
    let running = subject.start()?;
    subject.add_webhook(calls)?;
    let arguments = Arguments::default()
        .with("log", log(load::NAME).display())
        .with("address", subject.address())
        .with("token", subject.token())
        .with("progress", progress)
        .with("kind", plan.kind)
        .with("rate", plan.rate)
        .with("seconds", plan.warmup_s + plan.seconds)
        .with("connections", plan.connections)
        .with("bound", plan.bound)
        .with("keys", u8::from(plan.keys));
    let mut load = Tool::start(&plan.how, load::NAME, load::work, arguments.list())?;
    load.ready()?;

    let watched = Watched {
        server: running.pid(),
        tools: [&load, &carrier, &sink].into_iter().filter_map(Tool::pid).collect(),
        data: subject.data(),
    };
    let watch = Watch::start(watched.clone());
    let began = clock::now() + BEFORE;
    load.tell(&format!("go {began}"))?;
    let from = began + plan.warmup_s * SECOND;
    clock::sleep_until(from);
    let first = Edge::now(&watched);
    clock::sleep_until(from + plan.seconds * SECOND);
    let last = Edge::now(&watched);
    let done = load.line()?;
    let answered = clock::now();
    let accepted: u64 = done.get(1).and_then(|count| count.parse().ok()).unwrap_or(0);
    let drained = wait_for(progress, accepted, plan.drain_s)?;
    if !drained {
        eprintln!("not everything has come back after {} s", plan.drain_s);
    }
    let drain_ms = (clock::now() - answered) / MS;
    clock::sleep_ns(REST);
    let end = Edge::now(&watched);
    let samples = watch.end();
    let stopped = running.stop();
    for tool in [&mut load, &mut carrier, &mut sink] {
        tool.end()?;
    }
    let stop_ms = stopped.map_err(|why| format!("{why}\n{}", subject.log_end(20)))?;

    let text = |error: std::io::Error| error.to_string();
    let asked = load::Log::read(&log(load::NAME), 0).map_err(text)?;
    let taken = smsc::Log::read(&log(smsc::NAME)).map_err(text)?;
    let told = sink::Log::read(&log(sink::NAME)).map_err(text)?;
    let (account, joined) = check::check(&asked, &taken, &told);
    let mut outcome = Outcome {
        profile: plan.profile.clone(),
        account,
        seconds: plan.seconds,
        drain_ms,
        stop_ms,
        began,
        rss: (end.server.rss, end.server.peak),
        stored: (end.sample.database, samples.iter().map(|sample| sample.wal).max().unwrap_or(0)),
        complaints: subject.complaints(3),
        ..Outcome::default()
    };
    outcome.samples = samples;
    outcome.measure(plan, &asked, &joined, from);
    outcome.use_of(&first, &last);
    Ok(outcome)
}

/// Waits until the sink has seen so many ends. Whether it did.
fn wait_for(progress: &str, wanted: u64, seconds: u64) -> Result<bool, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(progress).map_err(text)?;
    stream.set_read_timeout(Some(Duration::from_millis(500))).map_err(text)?;
    let (end, mut octets) = (clock::now() + seconds * SECOND, Vec::new());
    let mut buffer = [0; 4096];
    while clock::now() < end {
        match stream.read(&mut buffer) {
            Ok(0) => return Err("the sink is gone".to_owned()),
            Ok(length) => octets.extend_from_slice(&buffer[..length]),
            Err(error)
                if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(error.to_string()),
        }
        let whole = octets.len() / 8 * 8;
        if let Some(last) = octets[..whole].last_chunk::<8>()
            && u64::from_le_bytes(*last) >= wanted
        {
            return Ok(true);
        }
        octets.drain(..whole);
    }
    Ok(false)
}

impl Outcome {
    fn measure(&mut self, plan: &Plan, asked: &load::Log, joined: &Joined, from: u64) {
        let to = from + plan.seconds * SECOND;
        let within = |at: &u64| (from..to).contains(at);
        let full = |mut counts: Vec<u64>| {
            counts.resize(usize::try_from(plan.seconds).expect("64 bits"), 0);
            counts
        };
        self.ended_per_s = full(per_second(joined.ended.iter().copied().filter(within), from));
        self.accepted_per_s = full(per_second(asked.answered.iter().copied().filter(within), from));
        self.ended = self.ended_per_s.iter().sum();
        let times = |moments: &[u64], step: usize| {
            let pairs = asked.scheduled.iter().zip(moments).step_by(step);
            let pairs = pairs.filter(|(scheduled, at)| within(scheduled) && **at != 0);
            Spread::of(pairs.map(|(scheduled, at)| at.saturating_sub(*scheduled)).collect())
        };
        // The messages of a batch have one answer.
        let step = if plan.kind == Kind::Batch { load::BATCH } else { 1 };
        self.accept = times(&asked.answered, step);
        self.carrier = times(&joined.submitted, 1);
        self.webhook = times(&joined.ended, 1);
    }

    fn use_of(&mut self, first: &Edge, last: &Edge) {
        let (before, after) = (&first.server, &last.server);
        self.server = Usage {
            user_ns: after.user_ns - before.user_ns,
            system_ns: after.system_ns - before.system_ns,
            written: after.written - before.written,
            switches: after.switches - before.switches,
            threads: after
                .threads
                .iter()
                .map(|(name, ns)| {
                    (name.clone(), ns.saturating_sub(before.threads.get(name).copied().unwrap_or(0)))
                })
                .collect(),
            ..after.clone()
        };
        let used =
            first.sample.tools_ns.iter().zip(&last.sample.tools_ns).map(|(before, after)| after - before);
        self.tools_ns = [load::NAME, smsc::NAME, sink::NAME].into_iter().zip(used).collect();
        self.machine_ns = last.sample.machine_ns - first.sample.machine_ns;
        self.took_ns = last.sample.at - first.sample.at;
    }

    /// Nanoseconds of a processor as a part of one core, in the time that was measured.
    fn cores(&self, ns: u64) -> f64 {
        ns as f64 / self.took_ns.max(1) as f64
    }

    /// What ran on the machine and was neither the server nor a tool: cores.
    pub fn others(&self) -> f64 {
        let ours = self.server.cpu_ns() + self.tools_ns.iter().map(|(_, ns)| ns).sum::<u64>();
        self.cores(self.machine_ns.saturating_sub(ours))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |octets: u64| octets as f64 / 1_048_576.0;
        let each = |ns: u64| ns as f64 / 1e3 / self.ended.max(1) as f64;
        writeln!(f, "profile               {}", self.profile)?;
        writeln!(f, "{}", self.account)?;
        writeln!(
            f,
            "messages/s            median {:.0}, mean {:.0} (ends told in {} s)",
            self.rate_median(),
            self.rate_mean(),
            self.seconds
        )?;
        let counts: Vec<String> = self.ended_per_s.iter().map(u64::to_string).collect();
        writeln!(f, "  second by second    {}", counts.join(" "))?;
        writeln!(f, "latency, ms                p50      p90      p99    p99.9      max")?;
        writeln!(f, "  request -> answer   {}", self.accept.line())?;
        writeln!(f, "  request -> carrier  {}", self.carrier.line())?;
        writeln!(f, "  request -> webhook  {}", self.webhook.line())?;
        writeln!(
            f,
            "server, CPU/message   {:.1} us (user {:.1}, system {:.1}); {:.2} cores",
            self.cpu_us(),
            each(self.server.user_ns),
            each(self.server.system_ns),
            self.cores(self.server.cpu_ns())
        )?;
        let threads: Vec<String> = self
            .server
            .threads
            .iter()
            .filter(|(_, ns)| self.cores(**ns) >= 0.005)
            .map(|(name, ns)| format!("{name} {:.1}", each(*ns)))
            .collect();
        writeln!(f, "  by thread, us       {}", threads.join(", "))?;
        writeln!(
            f,
            "  per message         {:.2} switches, {:.0} octets to the disk",
            self.server.switches as f64 / self.ended.max(1) as f64,
            self.server.written as f64 / self.ended.max(1) as f64
        )?;
        let tools: Vec<String> =
            self.tools_ns.iter().map(|(name, ns)| format!("{name} {:.2}", self.cores(*ns))).collect();
        writeln!(f, "tools, cores          {}; other programs {:.2}", tools.join(", "), self.others())?;
        writeln!(
            f,
            "memory, MiB           {:.0} at the end, {:.0} at the most",
            mib(self.rss.0),
            mib(self.rss.1)
        )?;
        writeln!(
            f,
            "files, MiB            database {:.0} at the end, log {:.0} at the most",
            mib(self.stored.0),
            mib(self.stored.1)
        )?;
        write!(f, "drain, stop           {} ms, {} ms", self.drain_ms, self.stop_ms)?;
        if self.complaints.0 > 0 {
            write!(f, "\nits log               {} warnings or worse", self.complaints.0)?;
            for line in &self.complaints.1 {
                write!(f, "\n  {line}")?;
            }
        }
        Ok(())
    }
}
