//! `tidings-sim --seeds 0..100000 --workers 2` runs seeds; `tidings-sim 42` shows one with its whole trace, and
//! `tidings-sim 42 Crash,OptOut` with these faults only; `--nodes 3` has three nodes in every seed; `tidings-sim bugs` looks whether bugs are found that were put
//! in on purpose.

use std::ops::Range;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicU64, Ordering};
use tidings_sim::fault::{Fault, Set};
use tidings_sim::plan::Plan;
use tidings_sim::{bug, hunt, trial};

const USAGE: &str = "tidings-sim SEED [FAULT,FAULT…]           one seed with its trace
tidings-sim SEED --nodes N                the same, served by so many nodes
tidings-sim --seeds A..B [--workers N] [--nodes N]   many seeds
tidings-sim --seeds A..B --until-first    until one breaks a promise; prints how many it took
tidings-sim bugs [NAME…] [--seeds A..B] [--workers N]   bugs that were put in on purpose";

/// How many seeds a bug gets to be found in.
const BUG_SEEDS: Range<u64> = 0..10_000;
/// How many nodes may be asked for.
const MOST_NODES: u64 = 8;
/// A line after so many seeds.
const PROGRESS_EVERY: u64 = 5_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match read(&arguments) {
        Some(Wanted::One(plan)) => one(plan),
        Some(Wanted::Many { seeds, nodes, workers, until_first }) => many(seeds, nodes, workers, until_first),
        Some(Wanted::Bugs { names, seeds, workers }) => bug::hunt(&names, seeds, workers),
        None => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

enum Wanted {
    One(Box<Plan>),
    Many { seeds: Range<u64>, nodes: Option<u64>, workers: usize, until_first: bool },
    Bugs { names: Vec<String>, seeds: Range<u64>, workers: usize },
}

fn read(arguments: &[String]) -> Option<Wanted> {
    let (mut seeds, mut nodes, mut workers, mut until_first) = (None, None, 2, false);
    let mut words = Vec::new();
    let mut rest = arguments.iter();
    while let Some(word) = rest.next() {
        match word.as_str() {
            "--seeds" => {
                let (from, to) = rest.next()?.split_once("..")?;
                seeds = Some(from.parse().ok()?..to.parse().ok()?);
            }
            "--workers" => workers = rest.next()?.parse().ok()?,
            "--nodes" => {
                nodes = Some(rest.next()?.parse().ok().filter(|nodes| (1..=MOST_NODES).contains(nodes))?)
            }
            "--until-first" => until_first = true,
            word if word.starts_with('-') => return None,
            word => words.push(word.to_owned()),
        }
    }
    match (words.first().map(String::as_str), seeds) {
        (Some("bugs"), seeds) => {
            Some(Wanted::Bugs { names: words.split_off(1), seeds: seeds.unwrap_or(BUG_SEEDS), workers })
        }
        (None, Some(seeds)) => Some(Wanted::Many { seeds, nodes, workers, until_first }),
        (Some(seed), None) => {
            let seed = seed.parse().ok()?;
            let plan = match words.get(1) {
                Some(names) => Plan::with(seed, set(names)?),
                None => plan(seed, nodes),
            };
            Some(Wanted::One(Box::new(plan)))
        }
        _ => None,
    }
}

fn set(names: &str) -> Option<Set> {
    names.split(',').filter(|name| !name.is_empty()).try_fold(Set::NONE, |set, name| {
        let found = Fault::ALL.iter().find(|fault| fault.to_string() == name)?;
        Some(set.with(*found))
    })
}

fn plan(seed: u64, nodes: Option<u64>) -> Plan {
    nodes.map_or_else(|| Plan::of(seed, Set::NONE), |nodes| Plan::of_nodes(seed, nodes))
}

fn one(plan: Box<Plan>) -> ExitCode {
    println!("faults: {}", plan.faults);
    println!("{plan:#?}");
    let outcome = trial::judge(*plan, true);
    for line in &outcome.lives {
        println!("{line}");
    }
    for violation in &outcome.violations {
        println!("{violation}");
    }
    println!("{} things happened in {} s of its time", outcome.happenings, outcome.lasted_ms / 1_000);
    if outcome.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn many(seeds: Range<u64>, nodes: Option<u64>, workers: usize, until_first: bool) -> ExitCode {
    let commit = commit();
    let done = AtomicU64::new(0);
    let hunt = hunt::run(seeds, &|seed| plan(seed, nodes), workers, until_first, &|outcome| {
        if !outcome.violations.is_empty() && !until_first {
            println!("{}", trial::report(outcome, &commit));
        }
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        if done.is_multiple_of(PROGRESS_EVERY) {
            println!("{done} seeds");
        }
    });
    let figures = hunt.figures;
    println!(
        "{} seeds, {} things happened in {} simulated hours; {} messages, {} submissions, {} receipts and inbound, {} webhook calls, {} crashes; {} with several nodes: {} connections moved, {} nodes were taken for dead, {} stood still; {} seeds break a promise",
        hunt.seeds,
        hunt.happenings,
        hunt.simulated_s / 3_600,
        figures.messages,
        figures.submissions,
        figures.reports,
        figures.webhooks,
        figures.crashes,
        figures.several,
        figures.moves,
        figures.expelled,
        figures.stood,
        hunt.failed.len()
    );
    for (seed, what) in &hunt.failed {
        println!("seed {seed}: {}", what.first().map_or("", String::as_str));
    }
    if hunt.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The commit that is tested, as far as git says it.
fn commit() -> String {
    let described = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    let text = described.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.ok().filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}
