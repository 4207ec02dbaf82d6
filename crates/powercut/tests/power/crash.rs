//! The power goes at any moment of a load.

use crate::ledger::{Findings, Rows, rows_of};
use crate::load::{self, HOME, Plan, World};
use crate::{place, run, size};
use std::path::Path;
use std::sync::Arc;
use tidings_domain::address::PhoneNumber;
use tidings_powercut::{Disk, Random, Recording};
use tidings_store::sqlite::{FILE_NAME, Options, Sqlite};
use tidings_store::{Accepted, Backend, Error, Idempotency, Intake};

/// Images of one load: after so many another load has more to say than another image of the same.
const IMAGES_OF_ONE: usize = 250;

/// What a run over many images came to.
#[derive(Debug, Default)]
struct Figures {
    loads: usize,
    images: usize,
    answered: usize,
    /// Images that lack something that was answered.
    losing: usize,
    missing: usize,
    /// Images without a database: the power went before it was made.
    empty: usize,
}

/// Runs loads and makes images of them until there are so many.
fn crash(
    images: usize,
    seed: u64,
    prepare: impl Fn(&Disk),
    tamper: impl Fn(Recording) -> Recording,
    check: impl Fn(&Crash, &Findings),
) -> Figures {
    let mut figures = Figures::default();
    let place = place();
    while figures.images < images {
        let plan = Plan { seed: seed + figures.loads as u64, steps: 120, visitors: true };
        let directory = place.path().join(format!("load-{}", figures.loads));
        std::fs::create_dir(&directory).expect("a directory");
        let disk = Disk::new();
        prepare(&disk);
        let world = World::new(disk.clone());
        let wanted = IMAGES_OF_ONE.min(images - figures.images);
        run(async {
            load::story(&world, &load::options(&directory, &disk), plan).await.expect("a store");
            let (answered, refused) = world.ledger.outcomes();
            assert!(refused.is_empty(), "nothing goes wrong on a good disk: {refused:?}");
            let last = rows_of(&directory.join(FILE_NAME)).expect("it can be read");
            let whole = world.ledger.check(&directory.join(FILE_NAME), usize::MAX, Some(&last), true);
            assert!(whole.is_good(), "the load agrees with its own database: {whole:?}");
            let recording = disk.recording();
            for (path, content) in recording.whole() {
                let real = std::fs::read(&path).expect("it is there");
                assert!(content == real, "the record of {} is not what the file holds", path.display());
            }
            let recording = tamper(recording);
            let moments = moments(&recording, &world.ledger.answers(), wanted, plan.seed);
            for (n, at) in moments.into_iter().enumerate() {
                let crash = Crash { seed: plan.seed.wrapping_mul(1_000_003) + n as u64, at };
                let image = place.path().join("image");
                std::fs::create_dir(&image).expect("a directory");
                let names = recording.image(at, crash.seed, &image).expect("an image");
                figures.images += 1;
                figures.empty += usize::from(names.is_empty());
                let findings = crash.look(&world, &image, &last, n % 8 == 0).await;
                figures.losing += usize::from(!findings.missing.is_empty());
                figures.missing += findings.missing.len();
                check(&crash, &findings);
                std::fs::remove_dir_all(&image).expect("it is ours");
            }
            figures.answered += answered;
        });
        figures.loads += 1;
        std::fs::remove_dir_all(&directory).expect("it is ours");
    }
    figures
}

/// When the power goes: around each sync if there are so many, where an operation was just answered, and anywhere.
fn moments(recording: &Recording, answers: &[usize], wanted: usize, seed: u64) -> Vec<usize> {
    let mut random = Random::new(seed);
    let around = recording.around_syncs();
    (0..wanted)
        .map(|_| match random.below(3) {
            0 => *random.pick(&around),
            1 => *random.pick(answers),
            _ => random.below(recording.len() + 1),
        })
        .collect()
}

/// One power cut.
#[derive(Debug)]
struct Crash {
    seed: u64,
    at: usize,
}

impl Crash {
    /// Opens the image as a server would, uses it, and compares it with what was answered.
    async fn look(&self, world: &Arc<World>, image: &Path, last: &Rows, deep: bool) -> Findings {
        let options = Options { cache_kib: 256, readers: 1, ..Options::in_directory(image) };
        let store = match Sqlite::open(&options) {
            Ok(store) => store,
            // It says by itself that commits are missing.
            Err(error @ Error::Corrupt(_)) => return Findings::missing(error.to_string()),
            Err(error) => return Findings::wrong(format!("it does not open: {error}")),
        };
        if deep {
            // A repeated call gets the answer that the first one got. It writes nothing.
            for (key, answer) in world.ledger.keys(self.at, 3) {
                let idempotency = Idempotency { key, fingerprint: key, answer: Arc::new(|_| Vec::new()) };
                let intake =
                    Intake { realm: HOME, idempotency: Some(idempotency), batch: None, drafts: Vec::new() };
                let repeated = store.accept(intake, load::START).await;
                let known = matches!(&repeated, Ok(Accepted::Replayed(given)) if *given == answer);
                if !known {
                    store.close().await.expect("it closes");
                    return Findings::missing(format!("a repeat gets {repeated:?}"));
                }
            }
            let number = PhoneNumber::from_digits(46_700_000_001).expect("a phone number");
            store.suppressed(vec![(HOME, number)], load::START).await.expect("the list can be read");
        }
        let used = store.ping().await;
        if let Err(error) = used.and(store.close().await) {
            return Findings::wrong(format!("it cannot be used: {error}"));
        }
        world.ledger.check(&options.path, self.at, Some(last), deep)
    }
}

/// P-02
#[test]
fn what_was_answered_survives_a_power_cut() {
    let images = size("POWERCUT_IMAGES", 1_000);
    let seed = size("POWERCUT_SEED", 1) as u64;
    let figures = crash(
        images,
        seed,
        |_| {},
        |recording| recording,
        |crash, findings| {
            assert!(findings.is_good(), "{crash:?}: {findings:#?}");
        },
    );
    println!("{figures:?}");
    assert!(figures.images == images && figures.empty < images / 4, "{figures:?}");
}

/// P-02, the negative control: a database that does not sync each commit loses some, and this is seen.
#[test]
fn a_store_that_does_not_sync_each_commit_is_found_out() {
    let figures = crash(
        100,
        1_000,
        |disk| disk.weaken(),
        |recording| recording,
        |crash, findings| {
            // Even so nothing is torn: SQLite promises that with `synchronous=NORMAL` too.
            assert!(findings.wrong.is_empty(), "{crash:?}: {findings:#?}");
        },
    );
    println!("{figures:?}");
    assert!(figures.losing > 10, "{figures:?}");
}

/// P-02, another control: a disk that lies about syncing the database, so that the log is used again too early. That
/// is seen too, so the images do show what happens while the log is written into the file.
#[test]
fn a_disk_that_lies_about_the_database_file_is_found_out() {
    let bad = std::cell::Cell::new(0);
    let figures = crash(
        100,
        2_000,
        |_| {},
        |recording| recording.without_syncs_of(FILE_NAME),
        |_, findings| bad.set(bad.get() + usize::from(!findings.is_good())),
    );
    println!("{figures:?}, bad: {}", bad.get());
    assert!(bad.get() > 10, "{figures:?}");
}
