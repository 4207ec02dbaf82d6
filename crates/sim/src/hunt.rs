//! Many seeds on several threads, each seed on one.

use crate::plan::Plan;
use crate::trial::{self, Figures, Outcome};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What came of many seeds.
#[derive(Debug, Default)]
pub struct Hunt {
    /// Seeds that were run.
    pub seeds: u64,
    /// Things that happened in all of them.
    pub happenings: u64,
    /// How long they lasted in their own time: seconds.
    pub simulated_s: u64,
    /// What was counted.
    pub figures: Figures,
    /// Seeds that break a promise, each with what it breaks.
    pub failed: Vec<(u64, Vec<String>)>,
}

/// Runs the plan of each of these seeds. `seen` is told of each, from any thread; with `until_first` it ends soon after the
/// first that breaks a promise.
pub fn run(
    seeds: Range<u64>,
    plan: &(dyn Fn(u64) -> Plan + Sync),
    workers: usize,
    until_first: bool,
    seen: &(dyn Fn(&Outcome) + Sync),
) -> Hunt {
    let next = AtomicU64::new(seeds.start);
    let enough = AtomicBool::new(false);
    let hunt = Mutex::new(Hunt::default());
    std::thread::scope(|scope| {
        for _ in 0..workers.max(1) {
            scope.spawn(|| {
                while !enough.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let outcome = trial::of_plan(&plan(seed));
                    seen(&outcome);
                    let mut hunt = hunt.lock().expect("nothing panics while it holds this");
                    hunt.seeds += 1;
                    hunt.happenings += outcome.happenings as u64;
                    hunt.simulated_s += outcome.lasted_ms / 1_000;
                    hunt.figures.add(&outcome.figures);
                    if !outcome.violations.is_empty() {
                        let what = outcome.violations.iter().map(ToString::to_string);
                        hunt.failed.push((seed, what.collect()));
                        enough.fetch_or(until_first, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let mut hunt = hunt.into_inner().expect("nothing panics while it holds this");
    hunt.failed.sort();
    hunt
}
