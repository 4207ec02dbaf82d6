//! Runs seeds.
use std::collections::BTreeMap;
use tidings_sim::{check, fault::Set, plan::Plan, world};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let from: u64 = arguments.next().expect("from").parse().expect("a number");
    let to: u64 = arguments.next().expect("to").parse().expect("a number");
    let mut counts: BTreeMap<String, (u32, u64, String)> = BTreeMap::new();
    let mut entries = 0;
    for seed in from..to {
        let run = world::run(Plan::of(seed, Set::NONE), std::env::var("TRACE").is_ok());
        entries += run.ledger.entries.len();
        for v in check::check(&run) {
            if std::env::var("TRACE").is_ok() {
                println!("{seed} {v}");
            }
            let key = format!(
                "{} {}",
                v.promise,
                v.what.chars().filter(|c| !c.is_ascii_digit()).take(400).collect::<String>()
            );
            let key: String = key
                .split_whitespace()
                .filter(|w| !w.starts_with("(,"))
                .take(12)
                .collect::<Vec<_>>()
                .join(" ");
            let e = counts.entry(key).or_insert((0, seed, v.what.clone()));
            e.0 += 1;
        }
    }
    for (k, (n, seed, what)) in counts {
        println!("{n:>5} {k}\n        seed {seed}: {}", what.chars().take(500).collect::<String>());
    }
    println!("{entries} entries");
}
