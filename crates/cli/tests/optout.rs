//! Opt-outs race sends to the same number, watched from outside. The same run in its long form:
//! `cargo run --release -p tidings-witness -- optout --binary target/release/tidings`.

use tidings_witness::optout;
use tidings_witness::subject::Setup;

/// P-15
#[test]
fn nothing_reaches_the_carrier_after_an_opt_out_was_answered() {
    let plan = optout::Plan {
        setup: Setup { binary: env!("CARGO_BIN_EXE_tidings").into(), sessions: 2, window: 4 },
        seed: 40,
        pairs: 500,
        at_once: 6,
        delay_ms: 12,
        slow_answer_ms: (20, 60),
        drain_ms: 30_000,
        keep: false,
    };
    let outcome = optout::run(&plan).unwrap_or_else(|why| panic!("{why}"));
    assert!(outcome.is_good(), "{outcome}");
    assert!(outcome.accepted > 0 && outcome.refused > 0, "there was no race: {outcome}");
}
