//! A disk that changes what it holds: bits turn, and the end of a file is cut off.

use crate::ledger::{Ledger, Rows, rows_of};
use crate::load::{self, Plan, World};
use crate::{place, run, size};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tidings_domain::id::ConnectionId;
use tidings_domain::message::Status;
use tidings_domain::queue::Queue;
use tidings_domain::review::Decision;
use tidings_powercut::{Disk, Random};
use tidings_store::sqlite::{FILE_NAME, Options, Sqlite};
use tidings_store::{Backend, Error, Page, ReviewChoice};

/// When what a load left is claimed.
const LATER_MS: i64 = 60_000;

/// What became of one change.
#[derive(Debug, Default)]
struct Figures {
    changes: usize,
    /// The database did not open, and said why.
    refused: usize,
    /// A verification said so.
    verified: usize,
    /// A message was set aside instead of being sent.
    set_aside: usize,
    /// An operation failed and said so.
    failed: usize,
    /// Nothing that is compared has changed.
    harmless: usize,
    /// The newest commits of the log are missing: its end was cut off, or the last of them or its header was hit.
    newest_lost: usize,
    /// Something else than a message's content has changed, and nothing said so.
    unnoticed: usize,
}

/// A database that a load has left: closed, or as it lies on the disk while it is used.
struct Left {
    place: tempfile::TempDir,
    closed: bool,
    ledger: Arc<Ledger>,
    rows: Rows,
}

fn left(closed: bool) -> Left {
    let place = place();
    let disk = Disk::new();
    let world = World::new(disk.clone());
    // No log is written into the file before the end, so that an open one holds many commits.
    let options = Options { checkpoint_pages: 10_000, ..load::options(place.path(), &disk) };
    let plan = Plan { seed: 5, steps: 60, visitors: false };
    run(async {
        load::story(&world, &options, plan).await.expect("a store");
        if closed {
            world.ledger.store().expect("it is open").close().await.expect("it closes");
        }
        let rows = rows_of(&options.path).expect("it can be read");
        let copy = crate::place();
        for name in [FILE_NAME.to_owned(), format!("{FILE_NAME}-wal")] {
            if place.path().join(&name).exists() {
                std::fs::copy(place.path().join(&name), copy.path().join(&name)).expect("a copy");
            }
        }
        Left { place: copy, closed, ledger: Arc::clone(&world.ledger), rows }
    })
}

/// Changes a file in one place; says what was done.
fn change(file: &Path, random: &mut Random) -> String {
    let mut octets = std::fs::read(file).expect("it is there");
    if random.chance(1, 5) {
        let length = random.below(octets.len());
        octets.truncate(length);
        std::fs::write(file, octets).expect("it is ours");
        return format!("cut to {length}");
    }
    let (at, bit) = (random.below(octets.len()), random.below(8));
    octets[at] ^= 1 << bit;
    std::fs::write(file, octets).expect("it is ours");
    format!("bit {bit} of octet {at} turned")
}

/// Makes as many changes, each in a copy of its own, and opens and uses what came of it.
fn changes(left: &Left, name: &str, count: usize, seed: u64) -> Figures {
    let mut figures = Figures::default();
    let mut random = Random::new(seed);
    for _ in 0..count {
        let copy = place();
        for entry in std::fs::read_dir(left.place.path()).expect("a directory") {
            let entry = entry.expect("an entry");
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).expect("a copy");
        }
        let what = change(&copy.path().join(name), &mut random);
        figures.changes += 1;
        run(use_it(left, copy.path(), &what, &mut figures));
    }
    figures
}

async fn use_it(left: &Left, directory: &Path, what: &str, figures: &mut Figures) {
    let options = Options { cache_kib: 256, readers: 1, ..Options::in_directory(directory) };
    let file: PathBuf = options.path.clone();
    let store = match Sqlite::open(&options) {
        Ok(store) => store,
        Err(error) => {
            // What is no database must not be taken for a new one.
            assert!(!matches!(error, Error::Full(_) | Error::Broken(_)), "{what}: {error}");
            figures.refused += 1;
            return;
        }
    };
    let verified = Sqlite::verify(&file).is_err();
    let after = rows_of(&file).ok();
    let mut failed = false;
    let mut set_aside = 0;
    let now = load::START.plus_ms(LATER_MS);
    for line in 1..=3 {
        match store.claim(Queue::of(ConnectionId::from_key(line)), 1_000, now).await {
            Ok(claimed) => {
                for ticket in &claimed.tickets {
                    // The promise: whatever the disk did, nothing else goes out than what was accepted.
                    left.ledger.submitted(&ticket.message);
                }
                let damaged =
                    |kind: &&tidings_store::Counted| kind.kind == tidings_domain::event::Kind::Failed;
                set_aside += claimed.advanced.counted.iter().filter(damaged).count();
            }
            Err(_) => failed = true,
        }
    }
    failed |= store.close().await.is_err();
    let lost = after.as_ref().is_some_and(|after| {
        left.rows.iter().any(|(table, rows)| rows.keys().any(|key| !after[table].contains_key(key)))
    });
    match after {
        _ if verified => figures.verified += 1,
        _ if set_aside > 0 => figures.set_aside += 1,
        None => figures.failed += 1,
        _ if failed => figures.failed += 1,
        Some(after) if after == left.rows => figures.harmless += 1,
        Some(_) if lost && !left.closed => figures.newest_lost += 1,
        Some(_) => figures.unnoticed += 1,
    }
}

/// P-03: what is changed in a closed database is found, or is no message's content, or is never sent.
#[test]
fn no_message_goes_out_that_the_disk_has_changed() {
    let left = left(true);
    let figures = changes(&left, FILE_NAME, size("POWERCUT_FLIPS", 200), 1);
    println!("{figures:?}");
    assert!(figures.refused + figures.verified + figures.set_aside > figures.changes / 10, "{figures:?}");
}

/// P-03: the same while the database is used, in its log.
#[test]
fn damage_in_the_log_is_said_and_no_changed_message_goes_out() {
    let left = left(false);
    let figures = changes(&left, &format!("{FILE_NAME}-wal"), size("POWERCUT_FLIPS", 200), 2);
    println!("{figures:?}");
    // Every octet before the last commit but the header's is covered; that the end was cut off cannot be known.
    assert!(figures.refused > figures.changes / 2, "{figures:?}");
    assert_eq!(figures.unnoticed, 0, "{figures:?}");
}

/// P-03: a message that was changed is shown without its text, set aside for a person, and cannot be sent again from here.
#[test]
fn a_message_that_does_not_fit_its_checksum_is_set_aside() {
    let left = left(true);
    let file = left.place.path().join(FILE_NAME);
    let sql = rusqlite::Connection::open(&file).expect("it opens");
    let queued = Status::Queued as i64;
    let changed: i64 = sql
        .query_row("SELECT id FROM message WHERE state = ?1 AND connection = 1 LIMIT 1", [queued], |row| {
            row.get(0)
        })
        .expect("one waits");
    sql.execute("UPDATE message SET recipient = recipient + 1 WHERE id = ?1", [changed]).expect("changed");
    drop(sql);
    assert!(matches!(Sqlite::verify(&file), Err(Error::Corrupt(_))));
    run(async {
        let options = Options { readers: 1, ..Options::in_directory(left.place.path()) };
        let store = Sqlite::open(&options).expect("it opens");
        let now = load::START.plus_ms(LATER_MS);
        let claimed = store.claim(Queue::of(ConnectionId::from_key(1)), 1_000, now).await.expect("claimed");
        assert!(!claimed.tickets.is_empty());
        assert!(claimed.tickets.iter().all(|ticket| ticket.message.id.key() != changed));
        let id = tidings_domain::id::MessageId::from_key(changed);
        let shown = store.message(load::HOME, id).await.expect("read").expect("it is there");
        assert_eq!((shown.life.state.status(), shown.message.text), (Status::Failed, None));
        assert_eq!(shown.failure.expect("a reason").code, "tidings damaged");
        let open =
            store.reviews(load::HOME, None, true, Page { before: None, limit: 1_000 }).await.expect("read");
        let review =
            open.items.iter().find(|review| review.about.message() == Some(id)).expect("a person must look");
        let actor = tidings_store::Actor { account: load::HOME.account, who: "tester".to_owned() };
        let which = ReviewChoice::One(review.id);
        let closed = store.decide(load::HOME, which, Decision::Drop, 1, actor, now).await.expect("decided");
        assert_eq!(closed.len(), 1);
        store.close().await.expect("it closes");
    });
}

/// P-03: neither a message that cannot be read, nor one that is not in the queue that it names, nor a place in the queue
/// without a message keeps the others from being sent.
#[test]
fn a_message_that_cannot_be_read_keeps_no_other_from_being_sent() {
    let left = left(true);
    let file = left.place.path().join(FILE_NAME);
    let sql = rusqlite::Connection::open(&file).expect("it opens");
    let waiting: Vec<i64> = sql
        .prepare("SELECT message FROM due WHERE lane = 1 ORDER BY priority, due_at, message")
        .and_then(|mut s| s.query_map([], |row| row.get(0))?.collect())
        .expect("read");
    let [unreadable, elsewhere, ref others @ ..] = waiting[..] else { panic!("{waiting:?}") };
    assert!(!others.is_empty());
    for (change, message) in [
        ("UPDATE message SET sender = CAST(x'ff' AS TEXT) WHERE id = ?1", unreadable),
        ("UPDATE message SET purpose = (purpose + 1) % 4, due_at = due_at + 1 WHERE id = ?1", elsewhere),
        ("INSERT INTO due (lane, priority, due_at, message) VALUES (1, 0, 0, ?1)", 1),
        // As a version without checksums left it.
        ("UPDATE message SET checksum = NULL WHERE id = ?1", others[0]),
    ] {
        assert_eq!(sql.execute(change, [message]).expect("changed"), 1, "{change}");
    }
    drop(sql);
    run(async {
        let options = Options { readers: 1, ..Options::in_directory(left.place.path()) };
        let store = Sqlite::open(&options).expect("it opens");
        let now = load::START.plus_ms(LATER_MS);
        let claimed = store.claim(Queue::of(ConnectionId::from_key(1)), 1_000, now).await.expect("claimed");
        assert!(!claimed.more, "nothing is found again and again");
        let mut sent: Vec<i64> = claimed.tickets.iter().map(|ticket| ticket.message.id.key()).collect();
        let mut others = others.to_vec();
        sent.sort_unstable();
        others.sort_unstable();
        assert_eq!(sent, others);
        store.close().await.expect("it closes");
    });
    let sql = rusqlite::Connection::open(&file).expect("it opens");
    let left: i64 =
        sql.query_row("SELECT count(*) FROM due WHERE lane = 1", [], |row| row.get(0)).expect("counted");
    assert_eq!(left, 0);
}
