//! Runs seeds.
use tidings_sim::{fault::Set, plan::Plan, world};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let from: u64 = arguments.next().expect("from").parse().expect("a number");
    let to: u64 = arguments.next().expect("to").parse().expect("a number");
    for seed in from..to {
        let run = world::run(Plan::of(seed, Set::NONE), std::env::var("TRACE").is_ok());
        println!(
            "{seed}: {} entries, {} submissions, {} messages, settled {}, lasted {} s, hash {:x}, faults {}",
            run.ledger.entries.len(),
            run.ledger.submissions.len(),
            run.view.messages.len(),
            run.view.is_settled,
            run.lasted_ms / 1000,
            run.ledger.hash(),
            run.plan.faults,
        );
    }
}
