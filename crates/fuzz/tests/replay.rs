//! Every target meets its corpus again, and some thousands of mutations of it: P-36 in its short form. The long one:
//! `cargo run --release -p tidings-fuzz -- all --seconds 3600`.

use tidings_fuzz::hunt::{Until, attempt, hunt};
use tidings_fuzz::{TARGETS, corpus};

/// Mutations of each target. `TIDINGS_FUZZ_RUNS` sets another number.
const RUNS: u64 = 3_000;

/// P-36
#[test]
fn no_input_breaks_a_target() {
    let runs = std::env::var("TIDINGS_FUZZ_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(RUNS);
    let mut broken = Vec::new();
    for target in TARGETS {
        let inputs = corpus::load(target).unwrap();
        assert!(!inputs.is_empty(), "{} has no corpus", target.name);
        for (name, input) in &inputs {
            if let Err(why) = attempt(target, input) {
                broken.push(format!("{}/{name}: {why}", target.name));
            }
        }
        let seeds = inputs.into_iter().map(|(_, input)| input).collect();
        let hunted = hunt(target, seeds, 36, Until::Runs(runs));
        for (input, why) in hunted.findings {
            broken.push(format!("{}: {why}: {:?}", target.name, String::from_utf8_lossy(&input)));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_corpora_are_small() {
    let octets: u64 = TARGETS
        .iter()
        .flat_map(|target| corpus::load(target).unwrap())
        .map(|(_, input)| input.len() as u64)
        .sum();
    assert!(octets < corpus::OCTETS_MAX, "{octets} octets");
}

#[test]
fn a_broken_target_is_found_and_its_input_made_small() {
    fn breaks(input: &[u8]) -> u64 {
        assert!(!input.windows(3).any(|three| three == b"bug"), "it has a bug at {}", input.len());
        input.len() as u64
    }
    static TARGET: tidings_fuzz::Target =
        tidings_fuzz::Target { name: "broken", run: breaks, octets_max: 200, words: &[b"bug"] };
    let hunted = hunt(&TARGET, vec![b"a good beginning, nothing more".to_vec()], 1, Until::Runs(10_000));
    let [(input, why)] = &hunted.findings[..] else { panic!("{hunted:?}") };
    assert_eq!((input.as_slice(), why.said.as_str()), (&b"bug"[..], "it has a bug at 3"));
}
