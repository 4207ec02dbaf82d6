//! The carrier is away, or says that it is too much, or more is asked for than it takes. The same runs in their long form:
//! `cargo run --release -p tidings-witness -- outage --binary target/release/tidings`, `throttle`, and `overload`.

use tidings_witness::subject::Setup;
use tidings_witness::{outage, overload, throttle};

fn setup() -> Setup {
    Setup { binary: env!("CARGO_BIN_EXE_tidings").into(), sessions: 2, window: 20 }
}

/// P-11, P-12: how quick codes are is measured by the long run, and not judged here.
#[test]
fn after_an_outage_the_urgent_go_first_and_what_is_too_late_is_never_submitted() {
    let plan = outage::Plan {
        setup: setup(),
        seed: 60,
        queued: 3_000,
        outage_ms: 4_000,
        pace_per_s: 400,
        codes: 20,
        codes_per_s: 10,
        drain_ms: 60_000,
        keep: false,
    };
    let outcome = outage::run(&plan).unwrap_or_else(|why| panic!("{why}"));
    assert!(outcome.is_good(), "{outcome}");
    assert_eq!(
        outcome.statuses,
        [("delivered".to_owned(), 1_500), ("expired".to_owned(), 1_500)],
        "{outcome}"
    );
    assert_eq!(outcome.codes_ms.len(), 20, "{outcome}");
}

fn throttled(waves: &[(u64, u64)], full: u64) -> throttle::Outcome {
    let plan = throttle::Plan {
        setup: setup(),
        seed: 61,
        messages: 1_500,
        pace_per_s: 300,
        waves: waves.to_vec(),
        full,
        drain_ms: 120_000,
        keep: false,
    };
    let outcome = throttle::run(&plan).unwrap_or_else(|why| panic!("{why}"));
    assert!(outcome.is_good() && outcome.refused > 0, "{outcome}");
    outcome
}

/// P-13
#[test]
fn throttling_in_waves_costs_delay_and_nothing_else() {
    let outcome = throttled(&[(100, 1_500), (0, 1_000), (50, 1_500), (10, 1_000)], 0);
    assert!(outcome.pace_least < 300.0, "{outcome}");
}

/// P-13
#[test]
fn a_full_queue_of_one_recipient_slows_that_recipient_only() {
    throttled(&[(0, 3_000)], 20);
}

/// P-34: how soon calls are answered is measured by the long run, and not judged here.
#[test]
fn ten_times_too_much_is_refused_early_and_costs_nothing_that_was_accepted() {
    let plan = overload::Plan {
        setup: setup(),
        seed: 62,
        pace_per_s: 100,
        times: 10,
        overload_ms: 8_000,
        calm_ms: 2_000,
        waiting_max: 1_000,
        // So many that the slowest machine brings too much.
        clients: 32,
        drain_ms: 120_000,
        keep: false,
    };
    let outcome = overload::run(&plan).unwrap_or_else(|why| panic!("{why}"));
    assert!(outcome.is_good() && !outcome.refusals.is_empty(), "{outcome}");
}
