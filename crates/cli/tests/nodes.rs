//! Three processes serve one PostgreSQL that has a synchronous replica, and one thing after the other goes wrong under
//! load. The same in its long form: `cargo run --release -p tidings-witness -- nodes --binary target/release/tidings`.

use std::io::Write as _;
use tidings_witness::nodes::{self, Plan, fleet};

/// P-01, P-05, P-06, P-07, P-11, P-15, P-18, P-28, P-29
#[test]
fn several_nodes_keep_their_word_whatever_happens_to_them_and_to_the_database() {
    if !nodes::is_possible() {
        let required = std::env::var("TIDINGS_TEST_REQUIRE").unwrap_or_default();
        assert!(
            !required.split([',', ' ']).any(|word| word == "postgres"),
            "TIDINGS_TEST_REQUIRE asks for PostgreSQL, but there is no initdb in /usr/lib/postgresql/*/bin or in PATH"
        );
        // Not `eprintln`, which a test that passes keeps to itself.
        drop(writeln!(
            std::io::stderr(),
            "skipped: several nodes (there is no initdb in /usr/lib/postgresql/*/bin or in PATH)"
        ));
        return;
    }
    let setup = fleet::Setup {
        other: None,
        binary: env!("CARGO_BIN_EXE_tidings").into(),
        nodes: 3,
        connections: 3,
        sessions: 1,
        window: 10,
    };
    let outcome = nodes::run(&Plan::short(setup, 28)).unwrap_or_else(|why| panic!("{why}"));
    assert!(outcome.violations.is_empty(), "{outcome}");
    assert!(outcome.faults.len() == 8 && outcome.figures.acknowledged >= 1_000, "{outcome}");
}
