//! The real store under power cuts and bad disks: what it answered is there afterwards, and it never answers what is
//! not.
//!
//! A run is a load of several callers on a recording disk. [`load`] keeps a ledger of what was answered when,
//! [`ledger`] compares a database with it. How much is tried is set by `POWERCUT_IMAGES` (crash images, 1,000 if it is
//! not set), `POWERCUT_EVERY` (each how-manieth call fails once; 1 for all) and `POWERCUT_FLIPS` (changes of a file, 200):
//!
//! `POWERCUT_IMAGES=20000 POWERCUT_EVERY=1 POWERCUT_FLIPS=2000 cargo test --release -p tidings-powercut -- --nocapture`

mod crash;
mod damage;
mod faults;
mod ledger;
mod load;

use std::future::Future;
use std::path::Path;

/// A number from the environment.
fn size(name: &str, usual: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Runs to the end on a runtime of its own.
fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(work)
}

/// A directory for databases that are made by the thousand: in memory, where the system has such a place. What the
/// power would leave is drawn from the record, not from these files.
fn place() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a directory")
}
