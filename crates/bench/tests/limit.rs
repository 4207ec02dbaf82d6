//! The lean program loses and doubles nothing, one message a request and hundred; and the tools work as processes of
//! their own. Speed is no matter of tests.

#![cfg(target_os = "linux")]

use tidings_bench::profile::Plan;
use tidings_bench::run;
use tidings_bench::subject::Program;
use tidings_bench::tool::How;

fn accepted(profile: &str, rate: u64) -> u64 {
    let program = env!("CARGO_BIN_EXE_tidings-bench");
    let plan = Plan::new(profile, Program::Limit(program.into()), How::Processes(program.into()));
    let plan = plan.expect("it is a profile");
    // A window that is smaller than a batch: most of its messages must wait for a place.
    let mut plan = Plan { rate, bound: 0, warmup_s: 0, seconds: 1, connections: 2, ..plan };
    plan.setup.window = 30;
    let outcome = run::run(&plan).unwrap_or_else(|why| panic!("{why}"));
    assert!(outcome.account.is_whole(), "{outcome}");
    outcome.account.accepted
}

#[test]
fn the_lean_program_accounts_for_every_message() {
    assert_eq!(accepted("single", 200), 200);
    assert_eq!(accepted("batch", 500), 500);
}
