//! The benchmark runs for two seconds, at a rate that every machine keeps, and only its account is looked at: speed
//! is no matter of tests. The real runs: `cargo run --release -p tidings-bench -- run --binary target/release/tidings`.

#![cfg(target_os = "linux")]

use tidings_bench::profile::Plan;
use tidings_bench::run;
use tidings_bench::subject::Program;
use tidings_bench::tool::How;

#[test]
fn a_short_benchmark_accounts_for_every_message() {
    let program = Program::Tidings(env!("CARGO_BIN_EXE_tidings").into());
    let plan = Plan::new("mixed", program, How::Threads).expect("it is a profile");
    let plan = Plan { rate: 200, warmup_s: 0, seconds: 2, connections: 4, ..plan };
    let outcome = run::run(&plan).unwrap_or_else(|why| panic!("{why}"));
    assert!(outcome.account.is_whole() && outcome.account.accepted == 400, "{outcome}");
}
