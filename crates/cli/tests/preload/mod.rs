//! The real binary with a few lines of C that are loaded before the C library.
//!
//! What is missing on a machine is said in one line on standard error, unless `TIDINGS_TEST_REQUIRE` names it.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What could be set up, or nothing where it cannot and need not be.
pub fn possible<T>(made: Result<T, String>, word: &str, test: &str) -> Option<T> {
    match made {
        Ok(made) => Some(made),
        Err(why) => {
            let required = std::env::var("TIDINGS_TEST_REQUIRE").unwrap_or_default();
            assert!(!required.split([',', ' ']).any(|name| name == word), "{word} is required, but {why}");
            // Not `eprintln`, which a test that passes keeps to itself.
            writeln!(std::io::stderr(), "skipped {test}: {why}").expect("standard error is open");
            None
        }
    }
}

/// A program that runs the real one after something else.
pub fn wrapper(place: &Path, text: &str) -> PathBuf {
    let path = place.join("tidings");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a script");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).expect("a program");
    path
}

/// The library of this name, or why there is none.
pub fn library(place: &Path, name: &str) -> Result<PathBuf, String> {
    let library = place.join(format!("{name}.so"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/preload").join(format!("{name}.c"));
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(source)
        .arg("-ldl")
        .output();
    match built {
        Ok(output) if output.status.success() => Ok(library),
        Ok(output) => {
            Err(format!("the library cannot be built: {}", String::from_utf8_lossy(&output.stderr)))
        }
        Err(error) => Err(format!("there is no C compiler: {error}")),
    }
}
