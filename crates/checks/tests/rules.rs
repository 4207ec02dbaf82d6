//! Rules about the program's text that no compiler holds. Clippy holds some of them too; this looks where an
//! `allow` could have hidden something.

use tidings_checks::{File, files, is_test, program_lines, report};

/// The one file that may read time and draw randomness.
const CLOCK: &str = "crates/engine/src/clock.rs";

/// The program's own text. The witness, the bench and the fuzz targets are tests, and need a clock that is not the
/// program's.
fn program() -> impl Iterator<Item = File> {
    files("crates", ".rs").into_iter().filter(|file| !is_test(&file.path)).filter(|file| {
        !["crates/bench/", "crates/checks/", "crates/fuzz/", "crates/witness/"]
            .iter()
            .any(|tests| file.path.starts_with(tests))
    })
}

#[test]
fn only_the_clock_reads_time_and_randomness() {
    // tokio's clock may be used by those who wait: a test can stop it.
    let mut complaints = Vec::new();
    for file in program().filter(|file| file.path != CLOCK) {
        let lines = program_lines(&file.text);
        let std_instant = lines
            .iter()
            .any(|(_, line)| line.trim_start().starts_with("use std::time::") && line.contains("Instant"));
        for (n, line) in lines {
            let reads = [
                "SystemTime::now",
                "std::time::Instant::now",
                "rand::rng",
                "rand::random",
                "thread_rng",
                "OsRng",
                "getrandom",
            ];
            let found = reads.iter().find(|word| line.contains(**word)).copied();
            let found = found.or((std_instant && line.contains("Instant::now()")).then_some("Instant::now"));
            if let Some(word) = found {
                complaints.push(format!("{}:{n} reads {word}; only {CLOCK} does: take the time or the random number as an argument", file.path));
            }
        }
    }
    report(complaints);
}

#[test]
fn the_rules_know_no_io_and_no_waiting() {
    let mut complaints = Vec::new();
    for file in program().filter(|file| file.path.starts_with("crates/domain/")) {
        for (n, line) in program_lines(&file.text) {
            for word in [
                "async ",
                ".await",
                "std::fs",
                "std::net",
                "std::thread",
                "std::env",
                "println!",
                "Timestamp::now",
                "Zoned::now",
            ] {
                if line.contains(word) {
                    complaints.push(format!(
                        "{}:{n}: `domain` has no `{}`; put this where the side effect belongs",
                        file.path,
                        word.trim()
                    ));
                }
            }
        }
    }
    report(complaints);
}

#[test]
fn every_queue_has_a_bound() {
    let mut complaints = Vec::new();
    for file in program() {
        let lines = program_lines(&file.text);
        let of_std = lines.iter().any(|(_, line)| line.contains("use std::sync::mpsc"));
        for (n, line) in lines {
            let unbounded = line.contains("unbounded_channel")
                || line.contains("UnboundedSender")
                || line.contains("std::sync::mpsc::channel");
            let bare = of_std && (line.contains("mpsc::channel()") || line.contains("= channel()"));
            if unbounded || bare {
                complaints.push(format!(
                    "{}:{n} opens a channel without a bound; name a bound and its reason",
                    file.path
                ));
            }
        }
    }
    report(complaints);
}

#[test]
fn no_lint_about_time_or_bounds_is_switched_off_elsewhere() {
    let mut complaints = Vec::new();
    for file in program().filter(|file| file.path != CLOCK) {
        for (n, line) in program_lines(&file.text) {
            if line.contains("clippy::disallowed_methods") {
                complaints.push(format!("{}:{n} switches off a rule that only {CLOCK} may break", file.path));
            }
        }
    }
    report(complaints);
}

#[test]
fn nothing_is_left_for_later() {
    let mut complaints = Vec::new();
    for file in program() {
        for (n, line) in file.text.lines().enumerate().map(|(n, line)| (n + 1, line)) {
            for word in ["TODO", "FIXME", "XXX", "todo!(", "unimplemented!(", "(to come)"] {
                if line.contains(word) {
                    complaints.push(format!(
                        "{}:{n} has `{word}`; what is missing is absent, and said in docs/src/limits.md",
                        file.path
                    ));
                }
            }
        }
    }
    report(complaints);
}

/// The one file that may have unsafe code: what SQLite calls in tests.
const SHIM: &str = "crates/powercut/src/vfs.rs";

#[test]
fn only_the_shim_under_sqlite_is_unsafe_and_nothing_that_is_shipped_depends_on_it() {
    let mut complaints = Vec::new();
    for manifest in
        files("crates", "/Cargo.toml").into_iter().filter(|file| !file.path.contains("/powercut/"))
    {
        if !manifest.text.contains("[lints]\nworkspace = true") {
            complaints.push(format!("{} must take the lints of the workspace", manifest.path));
        }
        let shipped = manifest.text.split("[dev-dependencies]").next().unwrap_or_default();
        if shipped.contains("powercut") {
            complaints.push(format!("{}: only tests may depend on powercut", manifest.path));
        }
    }
    let words = |line: &str| {
        line.contains("unsafe {") || line.contains("unsafe fn") || line.contains("unsafe extern")
    };
    for file in files("crates", ".rs").into_iter().filter(|file| file.path != SHIM && !is_test(&file.path)) {
        for (n, _) in program_lines(&file.text).into_iter().filter(|(_, line)| words(line)) {
            complaints.push(format!("{}:{n} is unsafe; only {SHIM} may be", file.path));
        }
    }
    report(complaints);
}
