//! Hunts for inputs that break a target:
//! `cargo run --release -p tidings-fuzz -- TARGET|all [--seconds N] [--seed S] [--keep]`.
//!
//! Prints how many runs there were and what was found; a finding is written into the target's corpus, and the exit
//! code is 1. With `--keep`, the smallest inputs that did something new are written there too, while there is room.

use std::process::ExitCode;
use std::time::Duration;
use tidings_fuzz::hunt::{Until, hunt};
use tidings_fuzz::{TARGETS, corpus, named};

/// Inputs of one hunt that `--keep` keeps, and how long they may be: octets.
const KEEP: (usize, usize) = (40, 256);

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (mut name, mut seconds, mut seed, mut keep) = (String::new(), 60, 1, false);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|value| value.parse::<u64>().ok());
        match argument.as_str() {
            "--seconds" => seconds = number().unwrap_or(seconds),
            "--seed" => seed = number().unwrap_or(seed),
            "--keep" => keep = true,
            other => name = other.to_owned(),
        }
    }
    let targets = named(&name);
    if targets.is_empty() {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!(
            "tidings-fuzz TARGET|all [--seconds N] [--seed S] [--keep], where TARGET is one of: {}",
            names.join(", ")
        );
        return ExitCode::from(2);
    }
    let mut found = false;
    for target in targets {
        let seeds = match corpus::load(target) {
            Ok(inputs) => inputs.into_iter().map(|(_, input)| input).collect(),
            Err(error) => {
                eprintln!("{}: its corpus cannot be read: {error}", target.name);
                return ExitCode::from(2);
            }
        };
        let hunted = hunt(target, seeds, seed, Until::Time(Duration::from_secs(seconds)));
        println!(
            "{:<16} {:>12} runs {:>9} a second, {} of them new, {} findings",
            target.name,
            hunted.runs,
            hunted.runs / seconds.max(1),
            hunted.new.len(),
            hunted.findings.len()
        );
        for (input, why) in &hunted.findings {
            found = true;
            println!("  {why}\n  kept as {:?}", corpus::keep(target, "crash", input));
        }
        if keep {
            let mut new = hunted.new;
            new.retain(|input| input.len() <= KEEP.1);
            new.sort_by_key(Vec::len);
            // Spread over all lengths: the shortest alone are all alike.
            let step = (new.len() / KEEP.0).max(1);
            for input in new.iter().step_by(step) {
                if let Err(error) = corpus::keep(target, "new", input) {
                    eprintln!("{}: {error}", target.name);
                }
            }
        }
    }
    ExitCode::from(u8::from(found))
}
