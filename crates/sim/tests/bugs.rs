//! The bugs that are put in on purpose still fit the sources. Whether they are found is seen by
//! `cargo run --release -p tidings-sim -- bugs`, which builds the simulation once for each.

use std::process::Command;
use tidings_sim::bug;

/// P-40
#[test]
fn every_bug_still_fits_the_sources() {
    let git = |arguments: &[&str]| Command::new("git").args(arguments).current_dir(bug::root()).output();
    if !git(&["rev-parse", "--is-inside-work-tree"]).is_ok_and(|output| output.status.success()) {
        println!("skipped: git is not there, or these sources are not under it");
        return;
    }
    let patches = bug::patches();
    assert!(patches.len() >= 20, "there are {} bugs", patches.len());
    for (name, patch) in patches {
        let file = patch.to_string_lossy().into_owned();
        let output = git(&["apply", "--check", &file]).expect("it was just run");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name} does not fit any more; make it anew by hand: {said}");
    }
}
