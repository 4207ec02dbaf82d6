//! The binary is killed and stopped under load while an outside witness writes down what passed. The same runs in
//! their long form: `cargo run --release -p tidings-witness -- kill --binary target/release/tidings`.

use tidings_witness::load::Pace;
use tidings_witness::smsc::Behaviour;
use tidings_witness::subject::Setup;
use tidings_witness::{kill, restart, stop};

fn setup() -> Setup {
    Setup { binary: env!("CARGO_BIN_EXE_tidings").into(), sessions: 2, window: 10 }
}

/// P-01, P-05, P-07, P-08, P-10, P-18
#[test]
fn what_was_accepted_survives_being_killed_and_is_never_sent_twice_without_a_reason() {
    let outcome = kill::run(&kill::Plan::short(setup(), 20)).unwrap_or_else(|why| panic!("{why}"));
    assert!(outcome.violations.is_empty(), "{outcome}");
    assert!(outcome.figures.kills == 8 && outcome.figures.acknowledged >= 2_000, "{outcome}");
}

/// P-30
#[test]
fn a_stop_that_was_asked_for_is_clean_and_leaves_nothing_in_doubt() {
    let plan = stop::Plan {
        setup: setup(),
        seed: 30,
        stops: 3,
        pace: Pace { clients: 8, per_second: 150, long_one_in: 20 },
        up_ms: (200, 1_000),
        carrier: Behaviour::default(),
        drain_ms: 60_000,
        keep: false,
    };
    let outcome = stop::run(&plan).unwrap_or_else(|why| panic!("{why}"));
    assert!(outcome.is_good(), "{outcome}");
}

/// P-01, P-14: how long the starts take is measured by the long run, and not judged here.
#[test]
fn a_long_queue_survives_being_killed_and_is_sent_whole() {
    let plan = restart::Plan {
        setup: setup(),
        seed: 40,
        queued: 5_000,
        kills: 3,
        up_ms: (300, 900),
        drain_ms: 60_000,
        keep: false,
    };
    let outcome = restart::run(&plan).unwrap_or_else(|why| panic!("{why}"));
    assert!(outcome.is_good(), "{outcome}");
    assert!(outcome.figures.acknowledged == 5_000 && outcome.starts.len() == 3, "{outcome}");
}
