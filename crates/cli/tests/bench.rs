//! The benchmark runs for a second or two, at a rate that every machine keeps, and only its account is looked at:
//! speed is no matter of tests. The real runs:
//! `cargo run --release -p tidings-bench -- run --binary target/release/tidings`.

#![cfg(target_os = "linux")]

use tidings_bench::profile::Plan;
use tidings_bench::run::{self, Outcome};
use tidings_bench::stored::Stored;
use tidings_bench::subject::Program;
use tidings_bench::tool::How;

fn run(profile: &str, change: impl FnOnce(Plan) -> Plan) -> Outcome {
    let program = Program::Tidings(env!("CARGO_BIN_EXE_tidings").into());
    let plan = Plan::new(profile, program, How::Threads).expect("it is a profile");
    let plan = Plan { rate: 200, bound: 0, warmup_s: 0, seconds: 2, connections: 4, ..plan };
    let outcome = run::run(&change(plan)).unwrap_or_else(|why| panic!("{why}"));
    assert!(outcome.account.is_whole(), "{outcome}");
    outcome
}

#[test]
fn a_short_benchmark_accounts_for_every_message() {
    assert_eq!(run("mixed", |plan| plan).account.accepted, 400);
}

#[test]
fn what_comes_while_the_carrier_is_down_is_accounted_for() {
    let outcome = run("backlog", |plan| Plan { backlog: 300, ..plan });
    assert!(outcome.account.accepted >= 300, "{outcome}");
}

#[test]
fn stored_messages_have_the_form_that_the_binary_knows() {
    let place = tempfile::tempdir().expect("there is room for a directory");
    let stored = Stored { finished: 1_000, queued: 100 };
    let outcome = run("single", |plan| Plan {
        stored: Some(stored),
        place: place.path().to_owned(),
        seconds: 1,
        ..plan
    });
    assert_eq!(outcome.account.accepted, 200);
}
