//! Each call to the disk fails once, in turn.

use crate::ledger::{Findings, rows_of};
use crate::load::{self, HOME, Plan, World};
use crate::{place, run, size};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tidings_domain::id::MessageId;
use tidings_powercut::{Disk, Fault, Random, Recording, Times};
use tidings_store::sqlite::{FILE_NAME, Sqlite};
use tidings_store::{Backend, Error};

/// A load in which each call of one run is made to fail.
const SHORT: Plan = Plan { seed: 7, steps: 16, visitors: false };
/// What comes after.
const AFTER: Plan = Plan { seed: 8, steps: 8, visitors: false };
/// Power cuts at the end of each run.
const IMAGES: u64 = 3;

/// How many calls of a short load on a good disk could fail so.
fn calls(fault: Fault) -> u64 {
    let place = place();
    let disk = Disk::new();
    let world = World::new(disk.clone());
    run(load::story(&world, &load::options(place.path(), &disk), SHORT)).expect("a store");
    disk.calls(fault)
}

/// The calls that fail in this run: all, or one in so many.
fn chosen(fault: Fault, usual: usize) -> impl Iterator<Item = u64> {
    (0..calls(fault)).step_by(size("POWERCUT_EVERY", usual))
}

/// What is wrong with the disk if the power goes: at the end, or where an operation was just answered.
fn cut(world: &World, recording: &Recording, seed: u64, last: &Path) -> Findings {
    let answers = world.ledger.answers().into_iter().filter_map(|at| at.checked_sub(world.before));
    let mut moments: Vec<usize> = answers.collect();
    moments.push(recording.len());
    let at = *Random::new(seed).pick(&moments);
    let image = place();
    recording.image(at, seed, image.path()).expect("an image");
    let options = load::options(image.path(), &Disk::new());
    let opened = run(async {
        let store = Sqlite::open(&options)?;
        store.ping().await?;
        store.close().await
    });
    match opened {
        Ok(()) => world.ledger.check(
            &options.path,
            world.before + at,
            Some(&rows_of(last).expect("it can be read")),
            true,
        ),
        Err(error) => Findings::wrong(format!("it does not open: {error}")),
    }
}

/// P-04: the disk is full from any call on, and then it is not.
#[test]
fn a_full_disk_refuses_what_it_cannot_keep_and_goes_on_by_itself() {
    let (mut runs, mut refused) = (0, 0);
    for n in chosen(Fault::Full, 17) {
        let place = place();
        let disk = Disk::new();
        let world = World::new(disk.clone());
        let options = load::options(place.path(), &disk);
        disk.fail(Fault::Full, n, Times::Always);
        run(async {
            if let Err(error) = load::story(&world, &options, SHORT).await {
                assert!(matches!(error, Error::Full(_) | Error::Unavailable(_)), "call {n}: {error}");
                disk.heal();
                load::story(&world, &options, SHORT).await.expect("there is room");
            }
            disk.heal();
            let (answered, errors) = world.ledger.outcomes();
            for error in &errors {
                assert!(matches!(error, Error::Full(_)), "call {n}: {error}");
            }
            let store = world.ledger.store().expect("it was opened");
            load::run(&world, store, AFTER).await;
            let (more, still) = world.ledger.outcomes();
            assert!(still.len() == errors.len() && more > answered, "call {n}: nothing is refused any more");
            refused += errors.len();
        });
        let last = rows_of(&options.path).expect("it can be read");
        let findings = world.ledger.check(&options.path, world.position(), Some(&last), true);
        assert!(findings.is_good(), "call {n}: {findings:#?}");
        let recording = disk.recording();
        for seed in 0..IMAGES {
            let findings = cut(&world, &recording, n * IMAGES + seed, &options.path);
            assert!(findings.is_good(), "call {n}, image {seed}: {findings:#?}");
        }
        runs += 1;
    }
    println!("full: {runs} runs, {refused} operations refused");
    assert!(refused > runs, "{refused} operations were refused in {runs} runs");
}

/// What one failing call led to.
#[derive(Debug, Default)]
struct Figures {
    runs: usize,
    /// The store said that its disk failed.
    broken: usize,
    /// It did not open at all.
    closed: usize,
    /// Power cuts after the restart that lack something.
    losing: usize,
}

/// Lets each of the chosen calls fail once, looks what is left, starts again and looks once more. `renewed` says
/// whether the log that is written again at the start reaches the disk.
fn break_calls(
    chosen: impl Iterator<Item = u64>,
    fault: Fault,
    renewed: bool,
    check: impl Fn(u64, &Findings),
) -> Figures {
    let mut figures = Figures::default();
    for n in chosen {
        let place = place();
        let disk = Disk::new();
        let world = World::new(disk.clone());
        let options = load::options(place.path(), &disk);
        disk.fail(fault, n, Times::Once);
        let opened = run(async {
            let opened = load::story(&world, &options, SHORT).await;
            if opened.is_ok() && disk.has_failed() {
                says_that_it_is_broken(&world, n, &mut figures).await;
            }
            opened
        });
        if !disk.has_failed() {
            // Callers that came together shared their commits, and the load made fewer calls than it was counted for.
            continue;
        }
        disk.heal();
        figures.runs += 1;
        // Nobody closes anything: the process ends.
        let recording = disk.recording();
        if opened.is_err() {
            // Nothing was answered, so nothing can be missing; it must open when the disk is well again.
            figures.closed += 1;
        } else {
            let copy = shown(place.path());
            for seed in 0..IMAGES {
                check(n, &cut(&world, &recording, n * IMAGES + seed, &copy.path().join(FILE_NAME)));
            }
        }
        // It starts again, and sees what the system remembers. Then the power goes after all.
        let image = crate::place();
        recording.image(recording.len(), n, image.path()).expect("an image");
        let again = shown(place.path());
        let disk = Disk::holding(image.path()).expect("a disk");
        let world = world.restarted(disk.clone());
        let options = load::options(again.path(), &disk);
        let wal = PathBuf::from(format!("{}-wal", options.path.display()));
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        let has_log = std::fs::metadata(&wal).is_ok_and(|about| about.len() > 32);
        if has_log {
            let file = std::fs::File::options().write(true).open(&wal).expect("the log");
            file.set_modified(old).expect("its time");
        }
        run(async {
            let store = Sqlite::open(&options).expect("it opens again");
            if has_log {
                let changed = std::fs::metadata(&wal).and_then(|about| about.modified()).expect("its time");
                assert_ne!(changed, old, "the log is written again before anything else");
                if renewed {
                    disk.written_beside(&wal).expect("the log");
                }
            }
            load::run(&world, Arc::new(store), AFTER).await;
        });
        let (_, errors) = world.ledger.outcomes();
        assert!(errors.iter().all(|error| matches!(error, Error::Broken(_))), "call {n}: {errors:?}");
        let recording = disk.recording();
        for seed in 0..IMAGES {
            let findings = cut(&world, &recording, n * IMAGES + seed, &options.path);
            figures.losing += usize::from(!findings.is_good());
            check(n, &findings);
        }
    }
    figures
}

/// After the first answer that the disk failed there is no other, and who watches is told.
async fn says_that_it_is_broken(world: &World, n: u64, figures: &mut Figures) {
    let (_, errors) = world.ledger.outcomes();
    for error in &errors {
        assert!(matches!(error, Error::Broken(_)), "call {n}: {error}");
    }
    let store = world.ledger.store().expect("it was opened");
    if store.ping().await.is_ok() {
        // What failed was no write: the removal of a file that is not needed any more, or a directory's entry.
        assert!(errors.is_empty(), "call {n}: it answers again after {errors:?}");
        return;
    }
    figures.broken += 1;
    assert!(matches!(store.until_broken().await, Error::Broken(_)));
    assert!(matches!(store.message(HOME, MessageId::from_key(1)).await, Err(Error::Broken(_))));
    assert!(matches!(store.close().await, Err(Error::Broken(_))), "nothing is synced again at the end");
}

/// A copy of the files as a process sees them.
fn shown(directory: &Path) -> tempfile::TempDir {
    let copy = place();
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let entry = entry.expect("an entry");
        // What is shared between processes is made anew when none is left.
        if !entry.file_name().to_string_lossy().ends_with("-shm") {
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).expect("a copy");
        }
    }
    copy
}

/// P-04: the disk fails at any call.
#[test]
fn after_a_call_that_failed_nothing_is_answered_and_a_restart_loses_nothing() {
    raise_file_limit();
    for (fault, usual) in [(Fault::Broken, 23), (Fault::Unsynced, 2)] {
        let figures = break_calls(chosen(fault, usual), fault, true, |n, findings| {
            assert!(findings.is_good(), "{fault:?}, call {n}: {findings:#?}");
        });
        println!("{fault:?}: {figures:?}");
        assert!(figures.broken > (figures.runs - figures.closed) / 2, "{figures:?}");
    }
}

/// P-04, the negative control: if the log is not written again, a restart answers what the next power cut takes.
#[test]
fn a_start_that_does_not_write_the_log_again_is_found_out() {
    raise_file_limit();
    let figures = break_calls(chosen(Fault::Unsynced, 2), Fault::Unsynced, false, |_, _| {});
    println!("{figures:?}");
    assert!(figures.losing > 0, "{figures:?}");
}

/// A store that broke keeps its files open until the process ends, and here that is after all runs.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("up to the hard limit");
}
