//! Messages that crash whoever handles them stop themselves and nothing else. Only built with the feature `poison`:
//! `cargo test -p tidings-cli --features poison --test poison`.

use tidings_witness::backlog::Poison;
use tidings_witness::ledger::Purpose;
use tidings_witness::poison::{self, Outcome, Plan};
use tidings_witness::subject::Setup;

fn run(how: &str, places: &[&str], messages: u64, purposes: &[Purpose]) -> Outcome {
    let plan = Plan {
        setup: Setup { binary: env!("CARGO_BIN_EXE_tidings").into(), sessions: 2, window: 10 },
        seed: 50,
        messages,
        poison: Poison {
            one_in: messages / places.len() as u64,
            how: how.to_owned(),
            places: places.iter().map(|place| (*place).to_owned()).collect(),
        },
        purposes: purposes.to_vec(),
        drain_ms: 120_000,
        keep: false,
    };
    let outcome = poison::run(&plan).unwrap_or_else(|why| panic!("{why}"));
    assert!(outcome.is_good() && outcome.poisoned == places.len(), "{outcome}");
    outcome
}

/// P-14
#[test]
fn a_message_that_panics_anywhere_on_its_road_is_set_aside_and_the_others_are_delivered() {
    let places = ["claim", "split", "encode", "answer", "decide", "render"];
    let outcome = run("panic", &places, 1_200, &Purpose::ALL);
    assert_eq!(outcome.ends, 0, "{outcome}");
}

/// P-14
#[test]
fn a_message_that_ends_the_process_is_set_aside_after_a_few_starts_and_the_others_are_delivered() {
    let outcome = run("abort", &["claim", "decide", "split"], 300, &[Purpose::Alert]);
    assert!((3..=18).contains(&outcome.ends), "{outcome}");
}
