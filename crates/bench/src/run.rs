//! One run: everything is started, loaded, drained, stopped and counted.

use crate::check::{self, Account, Joined};
use crate::clock::{self, MS, SECOND};
use crate::compare::Figure;
use crate::figures::{Spread, median, per_second};
use crate::load::{self, Kind};
use crate::profile::Plan;
use crate::subject::{Running, Subject};
use crate::tool::{Arguments, Tool};
use crate::watch::{Sample, Usage, Watch, Watched};
use crate::{sink, smsc, stored};
use std::fmt;
use std::io::Read;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

/// How long everything rests after the last end was told, so that what should not come any more can come.
const REST: u64 = 300 * MS;
/// How long the load waits after everything is ready.
const BEFORE: u64 = 100 * MS;

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
    pub seconds: f64,
    /// How late requests were sent, because no connection was free or the load itself was late.
    pub late: Spread,
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
    /// From starting it until it was ready: milliseconds.
    pub start_ms: u64,
    /// From asking it to stop until it was gone: milliseconds.
    pub stop_ms: u64,
    /// Figures that only some profiles have.
    pub also: Vec<Figure>,
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
        self.ended as f64 / self.seconds.max(1e-9)
    }

    /// Processor time of the server for each message: microseconds.
    pub fn cpu_us(&self) -> f64 {
        self.server.cpu_ns() as f64 / 1e3 / self.ended.max(1) as f64
    }
}

/// The directory of a run, which goes with it.
pub(crate) struct Directory {
    path: PathBuf,
    keep: bool,
}

impl Directory {
    fn make(plan: &Plan) -> Result<Self, String> {
        let path = plan.place.join(format!("tidings-bench-{}-{}", std::process::id(), clock::now()));
        std::fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { path, keep: plan.keep })
    }

    /// A file in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
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
        Self {
            server: Usage::sum(watched.server.iter().map(|pid| Usage::of(*pid))),
            sample: watched.sample(),
        }
    }
}

/// Everything but the load, running.
struct Stage<'p> {
    plan: &'p Plan,
    /// Where the sink tells how many ends it has seen.
    progress: String,
    sink: Tool,
    carrier: Tool,
    subject: Subject,
    running: Running,
    start_ms: u64,
    /// The last field, so that it goes last.
    directory: Directory,
}

/// What was seen from outside.
struct Logs {
    asked: load::Log,
    taken: smsc::Log,
    told: sink::Log,
    stop_ms: u64,
    complaints: (usize, Vec<String>),
}

impl<'p> Stage<'p> {
    fn set(plan: &'p Plan, carrier_is_down: bool) -> Result<Self, String> {
        let directory = Directory::make(plan)?;
        let arguments = Arguments::default().with("log", directory.file("sink.log").display());
        let mut sink = Tool::start(&plan.how, sink::NAME, sink::work, arguments.list())?;
        let addresses = sink.ready()?;
        let [calls, progress] = &addresses[..] else { return Err("the sink has no addresses".to_owned()) };
        let arguments = Arguments::default()
            .with("log", directory.file("smsc.log").display())
            .with("down", u8::from(carrier_is_down));
        let arguments = [arguments.list(), &plan.carrier].concat();
        let mut carrier = Tool::start(&plan.how, smsc::NAME, smsc::work, &arguments)?;
        let addresses = carrier.ready()?;
        let [address] = &addresses[..] else { return Err("the carrier has no address".to_owned()) };
        let token = match plan.stored {
            Some(stored) => Some(stored::put(plan, stored, &directory.path, calls)?),
            None => None,
        };
        let mut setup = plan.setup.clone();
        setup.second |= plan.stored.is_some();
        let subject = Subject::prepare(setup, &directory.path, address, calls, token)?;
        let began = clock::now();
        let running = subject.start()?;
        let start_ms = (clock::now() - began) / MS;
        subject.add_webhook()?;
        Ok(Self { plan, progress: progress.clone(), sink, carrier, subject, running, start_ms, directory })
    }

    /// A load generator that is ready, with options of its own beside those of the plan.
    fn load(&self, first: u64, options: &Arguments) -> Result<Tool, String> {
        let plan = self.plan;
        let arguments = Arguments::default()
            .with("log", self.directory.file(&format!("load-{first}.log")).display())
            .with("address", self.subject.addresses())
            .with("token", self.subject.token())
            .with("progress", &self.progress)
            .with("kind", plan.kind)
            .with("connections", plan.connections)
            .with("keys", u8::from(plan.keys))
            .with("first", first);
        let arguments = [arguments.list(), options.list()].concat();
        let mut load = Tool::start(&plan.how, load::NAME, load::work, &arguments)?;
        load.ready()?;
        Ok(load)
    }

    fn watched(&self, load: &Tool) -> Watched {
        Watched {
            server: self.running.pids(),
            tools: [load, &self.carrier, &self.sink].into_iter().filter_map(Tool::pid).collect(),
            data: self.subject.data(),
        }
    }

    /// Stops the server, then the tools, and reads what they wrote down. The loads follow each other without a gap.
    fn end(mut self, loads: Vec<(u64, Tool)>) -> Result<Logs, String> {
        let stopped = self.running.stop();
        let mut asked = load::Log::default();
        let text = |error: std::io::Error| error.to_string();
        for (first, mut load) in loads {
            load.end()?;
            let file = self.directory.file(&format!("load-{first}.log"));
            asked.append(load::Log::read(&file, first).map_err(text)?);
        }
        self.carrier.end()?;
        self.sink.end()?;
        let stop_ms = stopped.map_err(|why| format!("{why}\n{}", self.subject.log_end(20)))?;
        Ok(Logs {
            asked,
            taken: smsc::Log::read(&self.directory.file("smsc.log")).map_err(text)?,
            told: sink::Log::read(&self.directory.file("sink.log")).map_err(text)?,
            stop_ms,
            complaints: self.subject.complaints(3),
        })
    }
}

/// Runs.
///
/// # Errors
/// A sentence: something did not start, or ended, or did not come to its end in time.
pub fn run(plan: &Plan) -> Result<Outcome, String> {
    if plan.backlog > 0 { backlog(plan) } else { steady(plan) }
}

/// A directory in which the binary has handled two messages and stopped: one was delivered, one is queued on the second
/// connection. With the token that it knows.
pub(crate) fn two_messages(plan: &Plan) -> Result<(Directory, String), String> {
    let mut plan = Plan { stored: None, keep: false, ..plan.clone() };
    plan.setup.second = true;
    let mut stage = Stage::set(&plan, false)?;
    for to in ["+46700000000", "+4740612345"] {
        let body = format!(
            r#"{{"from":"Tidings","to":"{to}","text":"Your code is 00000000. It is good for ten minutes.","expires_in_s":259200}}"#
        );
        match stage.subject.ask("POST", "/v1/messages", &body) {
            Ok((202, _)) => {}
            Ok((status, said)) => return Err(format!("POST /v1/messages: {status} {said}")),
            Err(error) => return Err(format!("POST /v1/messages: {error}")),
        }
    }
    wait_for(&stage.progress, 1, plan.drain_s)?;
    clock::sleep_ns(REST);
    stage.running.stop()?;
    stage.carrier.end()?;
    stage.sink.end()?;
    Ok((stage.directory, stage.subject.token().to_owned()))
}

/// How many messages a load generator says were accepted, when it is done.
fn accepted(load: &mut Tool) -> Result<u64, String> {
    let done = load.line()?;
    done.get(1)
        .and_then(|count| count.parse().ok())
        .ok_or_else(|| format!("the load says {}", done.join(" ")))
}

/// A load that stays the same.
fn steady(plan: &Plan) -> Result<Outcome, String> {
    let stage = Stage::set(plan, false)?;
    let options = Arguments::default()
        .with("rate", plan.rate)
        .with("seconds", plan.warmup_s + plan.seconds)
        .with("bound", plan.bound);
    let mut load = stage.load(0, &options)?;
    let watched = stage.watched(&load);
    let watch = Watch::start(watched.clone());
    let began = clock::now() + BEFORE;
    load.tell(&format!("go {began}"))?;
    let from = began + plan.warmup_s * SECOND;
    clock::sleep_until(from);
    let first = Edge::now(&watched);
    clock::sleep_until(from + plan.seconds * SECOND);
    let last = Edge::now(&watched);
    let accepted = accepted(&mut load)?;
    let answered = clock::now();
    wait_for(&stage.progress, accepted, plan.drain_s)?;
    let drain_ms = (clock::now() - answered) / MS;
    clock::sleep_ns(REST);
    let mut outcome = Outcome { drain_ms, began, start_ms: stage.start_ms, ..Outcome::default() };
    outcome.at_the_end(&Edge::now(&watched), watch.end());
    let logs = stage.end(vec![(0, load)])?;
    let joined = outcome.account_for(plan, &logs);
    outcome.measure(plan, &logs.asked, &joined, from, from + plan.seconds * SECOND);
    outcome.use_of(&first, &last);
    Ok(outcome)
}

/// The carrier is down while messages are queued, then it comes back. What is measured is the time from there until
/// the queue is empty, with a small load meanwhile.
fn backlog(plan: &Plan) -> Result<Outcome, String> {
    let mut stage = Stage::set(plan, true)?;
    let mut filling = stage.load(0, &Arguments::default().with("messages", plan.backlog))?;
    let watch = Watch::start(stage.watched(&filling));
    let began = clock::now() + BEFORE;
    filling.tell(&format!("go {began}"))?;
    let queued = accepted(&mut filling)?;
    let filled = clock::now();
    let mut samples = watch.end();

    let mut load = stage.load(plan.backlog, &Arguments::default().with("rate", plan.rate))?;
    let watched = stage.watched(&load);
    let watch = Watch::start(watched.clone());
    let full = Edge::now(&watched);
    stage.carrier.tell("up")?;
    let up = clock::now();
    load.tell(&format!("go {up}"))?;
    // It comes back when it tries again; what is measured begins when it is back.
    wait_for(&stage.progress, 1, plan.drain_s)?;
    let first = Edge::now(&watched);
    wait_for(&stage.progress, queued, plan.drain_s)?;
    let (empty, last) = (clock::now(), Edge::now(&watched));
    load.tell("stop")?;
    let accepted = accepted(&mut load)?;
    wait_for(&stage.progress, queued + accepted, plan.drain_s)?;
    let drain_ms = (clock::now() - up) / MS;
    clock::sleep_ns(REST);
    let mut outcome = Outcome { drain_ms, began, start_ms: stage.start_ms, ..Outcome::default() };
    samples.extend(watch.end());
    outcome.at_the_end(&Edge::now(&watched), samples);
    let logs = stage.end(vec![(0, filling), (plan.backlog, load)])?;
    let joined = outcome.account_for(plan, &logs);
    let first_sent = joined.submitted.iter().copied().filter(|at| *at > 0).min().unwrap_or(up);
    outcome.measure(plan, &logs.asked, &joined, first_sent, empty.max(first_sent));
    outcome.use_of(&first, &last);

    let asked = logs.asked.scheduled.iter().zip(&logs.asked.answered);
    let filling = Spread::of(
        asked.filter(|(at, _)| **at < up).map(|(at, answered)| answered.saturating_sub(*at)).collect(),
    );
    let figure = |name, value| Figure { name, value };
    outcome.also = vec![
        figure("messages queued", queued as f64),
        figure("accepted/s while carrier is down", queued as f64 * 1e9 / (filled - began) as f64),
        figure("accept p50 while it is down, ms", filling.p50 as f64 / 1e6),
        figure("accept p99 while it is down, ms", filling.p99 as f64 / 1e6),
        figure("memory with the queue, MiB", full.server.rss as f64 / 1_048_576.0),
        figure("from up to first submission, ms", first_sent.saturating_sub(up) as f64 / 1e6),
        figure("drained/s", queued as f64 * 1e9 / empty.saturating_sub(first_sent).max(1) as f64),
    ];
    Ok(outcome)
}

/// Waits until the sink has seen so many ends, and says so if that takes too long: the account will show what is
/// missing.
fn wait_for(progress: &str, wanted: u64, seconds: u64) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(progress).map_err(text)?;
    stream.set_read_timeout(Some(Duration::from_millis(500))).map_err(text)?;
    let mut octets = Vec::new();
    let mut buffer = [0; 4096];
    let end = clock::now() + seconds * SECOND;
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
            return Ok(());
        }
        octets.drain(..whole);
    }
    eprintln!("not everything has come back after {seconds} s");
    Ok(())
}

impl Outcome {
    /// What is known when everything has come to its end.
    fn at_the_end(&mut self, end: &Edge, samples: Vec<Sample>) {
        self.rss = (end.server.rss, end.server.peak);
        self.stored = (end.sample.database, samples.iter().map(|sample| sample.wal).max().unwrap_or(0));
        self.samples = samples;
    }

    fn account_for(&mut self, plan: &Plan, logs: &Logs) -> Joined {
        let (account, joined) = check::check(&logs.asked, &logs.taken, &logs.told);
        self.profile.clone_from(&plan.profile);
        self.account = account;
        self.stop_ms = logs.stop_ms;
        self.complaints.clone_from(&logs.complaints);
        joined
    }

    /// Rates and latencies between two moments.
    fn measure(&mut self, plan: &Plan, asked: &load::Log, joined: &Joined, from: u64, to: u64) {
        let within = |at: &u64| (from..to).contains(at);
        self.seconds = (to - from) as f64 / SECOND as f64;
        // Seconds that are not whole at the end are left out of the series.
        let whole = usize::try_from((to - from) / SECOND).expect("64 bits");
        let series = |moments: &[u64]| {
            let mut counts = per_second(moments.iter().copied().filter(within), from);
            counts.resize(whole, 0);
            counts
        };
        self.ended_per_s = series(&joined.ended);
        self.accepted_per_s = series(&asked.answered);
        self.ended = joined.ended.iter().filter(|at| within(at)).count() as u64;
        let times = |moments: &[u64], step: usize| {
            let pairs = asked.scheduled.iter().zip(moments).step_by(step);
            let pairs = pairs.filter(|(scheduled, at)| within(scheduled) && **at != 0);
            Spread::of(pairs.map(|(scheduled, at)| at.saturating_sub(*scheduled)).collect())
        };
        // The messages of a batch have one answer.
        let step = if plan.kind == Kind::Batch { load::BATCH } else { 1 };
        self.late = times(&asked.sent, step);
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
    pub(crate) fn cores(&self, ns: u64) -> f64 {
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
            "messages/s            median {:.0}, mean {:.0} (ends told in {:.1} s)",
            self.rate_median(),
            self.rate_mean(),
            self.seconds
        )?;
        let counts: Vec<String> = self.ended_per_s.iter().map(u64::to_string).collect();
        writeln!(f, "  second by second    {}", counts.join(" "))?;
        writeln!(f, "latency, ms                p50      p90      p99    p99.9      max")?;
        writeln!(f, "  sent too late       {}", self.late.line())?;
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
        for Figure { name, value } in &self.also {
            writeln!(f, "{name:<38}{value:.2}")?;
        }
        write!(f, "start, drain, stop    {} ms, {} ms, {} ms", self.start_ms, self.drain_ms, self.stop_ms)?;
        if self.complaints.0 > 0 {
            write!(f, "\nits log               {} warnings or worse", self.complaints.0)?;
            for line in &self.complaints.1 {
                write!(f, "\n  {line}")?;
            }
        }
        Ok(())
    }
}
