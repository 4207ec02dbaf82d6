//! What the system says about processes: processor time, memory, files. Read from `/proc`.

use crate::clock::{self, MS};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Clock ticks a second in `/proc`: the same on every Linux of today.
const TICKS: u64 = 100;
/// Between two samples.
const STEP: u64 = 200 * MS;

/// What one process has used so far.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// Processor time in the program: nanoseconds.
    pub user_ns: u64,
    /// Processor time in the system: nanoseconds.
    pub system_ns: u64,
    /// Memory now: octets.
    pub rss: u64,
    /// The most memory so far: octets.
    pub peak: u64,
    /// Octets that were handed to the disk.
    pub written: u64,
    /// How often a thread waited, and how often it was made to.
    pub switches: u64,
    /// Processor time of each thread, by name without digits at its end: nanoseconds.
    pub threads: BTreeMap<String, u64>,
}

impl Usage {
    /// Of this process; nothing if it is gone.
    pub fn of(pid: u32) -> Self {
        let mut usage = Self::brief(pid);
        for line in text(format!("/proc/{pid}/io")).lines() {
            if let Some(octets) = line.strip_prefix("write_bytes: ") {
                usage.written = octets.trim().parse().unwrap_or(0);
            }
        }
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().filter_map(Result::ok) {
            let name = text(task.path().join("comm"));
            let name = name.trim().trim_end_matches(|c: char| c.is_ascii_digit() || c == '-').to_owned();
            let ran = text(task.path().join("schedstat"));
            let ran: u64 = ran.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0);
            *usage.threads.entry(name).or_default() += ran;
            for line in text(task.path().join("status")).lines().filter(|line| line.contains("ctxt_switches"))
            {
                usage.switches += line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
            }
        }
        usage
    }

    /// Of several processes together.
    pub fn sum(usages: impl IntoIterator<Item = Self>) -> Self {
        let mut usages = usages.into_iter();
        let first = usages.next().unwrap_or_default();
        usages.fold(first, |mut sum, one| {
            sum.user_ns += one.user_ns;
            sum.system_ns += one.system_ns;
            sum.rss += one.rss;
            sum.peak += one.peak;
            sum.written += one.written;
            sum.switches += one.switches;
            for (name, ns) in one.threads {
                *sum.threads.entry(name).or_default() += ns;
            }
            sum
        })
    }

    /// Processor time and memory only.
    fn brief(pid: u32) -> Self {
        let stat = text(format!("/proc/{pid}/stat"));
        // The name of the program may have spaces; it ends with the last parenthesis. State is the third field.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |n: usize| fields.get(n - 3).and_then(|t| t.parse::<u64>().ok()).unwrap_or(0);
        let status = text(format!("/proc/{pid}/status"));
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.trim_end_matches("kB").trim().parse::<u64>().unwrap_or(0) * 1024
        };
        Self {
            user_ns: ticks(14) * (clock::SECOND / TICKS),
            system_ns: ticks(15) * (clock::SECOND / TICKS),
            rss: kib("VmRSS:"),
            peak: kib("VmHWM:"),
            ..Self::default()
        }
    }

    /// Processor time, both kinds.
    pub const fn cpu_ns(&self) -> u64 {
        self.user_ns + self.system_ns
    }
}

/// Processor time that all of the machine has used: nanoseconds.
pub fn machine_ns() -> u64 {
    let stat = text("/proc/stat");
    let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<u64> = fields.map(|field| field.parse().unwrap_or(0)).collect();
    // All but idle and waiting for the disk; guests are part of the first two.
    let busy = ticks.iter().take(8).enumerate().filter(|(n, _)| *n != 3 && *n != 4).map(|(_, ticks)| ticks);
    busy.sum::<u64>() * (clock::SECOND / TICKS)
}

/// Octets of the files in a directory whose name ends so.
pub fn size(directory: &Path, ending: &str) -> u64 {
    let files = fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    files
        .filter(|file| file.file_name().to_string_lossy().ends_with(ending))
        .filter_map(|file| file.metadata().ok())
        .map(|metadata| metadata.len())
        .sum()
}

fn text(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// A moment of everything.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// When.
    pub at: u64,
    /// Processor time of the server: nanoseconds.
    pub server_ns: u64,
    /// Processor time of each tool, in the order of [`Watched::tools`]: nanoseconds.
    pub tools_ns: Vec<u64>,
    /// Processor time of the whole machine: nanoseconds.
    pub machine_ns: u64,
    /// Memory of the server: octets.
    pub rss: u64,
    /// The database: octets.
    pub database: u64,
    /// Its log: octets.
    pub wal: u64,
}

/// Who is looked at.
#[derive(Debug, Clone)]
pub struct Watched {
    /// The server: each of its nodes.
    pub server: Vec<u32>,
    /// The tools.
    pub tools: Vec<u32>,
    /// Where the database is.
    pub data: PathBuf,
}

impl Watched {
    /// Everything, now.
    pub fn sample(&self) -> Sample {
        let server = Usage::sum(self.server.iter().map(|pid| Usage::brief(*pid)));
        Sample {
            at: clock::now(),
            server_ns: server.cpu_ns(),
            tools_ns: self.tools.iter().map(|pid| Usage::brief(*pid).cpu_ns()).collect(),
            machine_ns: machine_ns(),
            rss: server.rss,
            database: size(&self.data, ".db"),
            wal: size(&self.data, "-wal"),
        }
    }
}

/// A thread that takes samples until it is ended.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Sample>>,
}

impl Watch {
    /// Begins.
    pub fn start(watched: Watched) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut samples = Vec::new();
            while !until.load(Ordering::Relaxed) {
                samples.push(watched.sample());
                clock::sleep_ns(STEP);
            }
            samples
        });
        Self { stop, thread }
    }

    /// Ends, with what was seen.
    pub fn end(self) -> Vec<Sample> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

/// What machine this is, for people.
pub fn machine() -> serde_json::Value {
    let information = text("/proc/cpuinfo");
    let model = information.lines().find_map(|line| line.strip_prefix("model name"));
    let memory = text("/proc/meminfo");
    let memory_kib: u64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse().ok())
        .unwrap_or(0);
    serde_json::json!({
        "cores": std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        "processor": model.map(|rest| rest.trim_start_matches([' ', '\t', ':'])).unwrap_or_default(),
        "kernel": text("/proc/sys/kernel/osrelease").trim(),
        "memory_mib": memory_kib / 1024,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_can_be_looked_at() {
        let usage = Usage::of(std::process::id());
        assert!(usage.peak >= usage.rss && usage.rss > 100_000, "{usage:?}");
        assert!(!usage.threads.is_empty());
        assert!(machine_ns() > 0);
        assert_eq!(Usage::of(u32::MAX).cpu_ns(), 0);
    }
}
