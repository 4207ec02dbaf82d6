//! A copy into the other database holds the same, can be gone on from wherever it was broken off, and goes on living as
//! its original does.

use crate::differential::{Teller, difference, go_on, live, shown};
use crate::samples::*;
use crate::{Directory, database, open_database, run};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use tidings_cluster::Database;
use tidings_domain::frequency::{Bound, Caps};
use tidings_domain::id::EventId;
use tidings_domain::purpose::Purpose;
use tidings_domain::segment::Touch;
use tidings_store::copy::{self, Place, Progress, Report};
use tidings_store::{Arrival, AskedQuota, AskedTurn, Backend, Error, Result, Touched, postgres, sqlite};

/// Messages of which there are more than fit into one piece.
const MANY_MESSAGES: i64 = 1_000;

fn of_directory(directory: &Directory) -> Place {
    Place::File(sqlite::Options::in_directory(directory.path()))
}

fn of_database(database: &Database) -> Place {
    Place::Database(Box::new(postgres::Options::at(&database.address()).expect("an address")))
}

fn go(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Breaks a copy off after so many pieces.
fn stop_after(pieces: usize) -> impl FnMut(Progress) -> ControlFlow<()> {
    let mut left = pieces;
    move |_| {
        left -= 1;
        if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

fn unavailable<T>(result: Result<T>) -> String {
    match result {
        Err(Error::Unavailable(why)) => why,
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("it was done"),
    }
}

fn conflict(result: Result<Report>) -> String {
    match result {
        Err(Error::Conflict(why)) => why,
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("it was done"),
    }
}

/// Tells a story to a new store in a directory, and adds so many messages.
async fn lived(directory: &Directory, seed: u64, more: i64) -> Teller {
    let store = directory.open();
    let mut teller = live(&store, seed).await;
    for first in (0..more).step_by(500) {
        let messages: Vec<_> = (first..first + 500).map(|n| message(100_000 + n)).collect();
        accept(&store, messages).await;
    }
    // What PostgreSQL cannot keep in a text, and what makes the same part known when it comes again.
    receive(&store, vec![odd(&teller)], teller.now()).await;
    // A story seldom ends in the hour for which a prefix is stopped.
    crate::code::stop_a_prefix(&store, 200_000, teller.now()).await;
    // Nor in the week in which a turn counts.
    let bound = Bound { purposes: vec![Purpose::Alert], caps: Caps { day: 2, week: 0 }, law: None };
    let (message, purpose, bounds) = (id(1), Purpose::Alert, vec![bound]);
    let asked = AskedTurn { realm: HOME, recipient: number(1), message, purpose, bounds };
    store.take_turns(vec![asked], teller.now()).await.expect("answered");
    // Segments are seldom in a story.
    store.create_segment(crate::segment::segment(400_000, "kept"), actor()).await.expect("made");
    let touches = vec![(number(1), Touch::Answered, teller.now())];
    let read = Touched { after: None, upto: EventId::from_key(1), touches };
    store.add_touches(HOME, read).await.expect("answered");
    // What came back from phones is forgotten by most sweeps.
    crate::silence::have_one(&store, 210_000, teller.now()).await;
    // Nor is a message from a pool always accepted in it.
    crate::pool::have_a_sender(&store, 250_000, teller.now()).await;
    let quota = AskedQuota { count: crate::quota::count("kept", teller.now()), segments: 1, limit: 9 };
    store.take_quotas(vec![quota]).await.expect("answered");
    teller.note(300_000);
    store.close().await.expect("closed");
    teller
}

fn odd(teller: &Teller) -> Arrival {
    Arrival { from: "+15550001111".to_owned(), ..part(5, (7, 3, 1), "a\0b stop?", teller.now()) }
}

async fn same(one: &Arc<dyn Backend>, other: &Arc<dyn Backend>, teller: &Teller) {
    let (one, other) = (shown(one, teller).await, shown(other, teller).await);
    assert_eq!(one.len(), other.len());
    for ((what, one), (_, other)) in one.iter().zip(&other) {
        // A NUL in a text became a mark on the way.
        let difference = difference(other, &one.replace("\\0", "\u{FFFD}"));
        assert!(difference.is_none(), "{what}:\n{}", difference.unwrap_or_default());
    }
}

#[test]
fn a_copy_there_and_back_holds_the_same_and_lives_on_as_the_original_does() {
    if database().is_none() {
        return;
    }
    let mut empty: BTreeSet<&str> = BTreeSet::new();
    // Until each table had something in one of them.
    for seed in 0..20 {
        if seed >= 4 && empty.is_empty() {
            break;
        }
        let report = run(async {
            let (first, second) = (Directory::volatile(), Directory::volatile());
            let between = database().expect("it was there just now");
            // How many of many that expired are ended by one call is each database's own affair.
            let mut teller = lived(&first, seed, 0).await;
            let there =
                copy::copy(&of_directory(&first), &of_database(&between), &mut go).expect("copied there");
            assert!(there.agrees() && there.found == 0 && there.copied > 0, "{there:?}");
            let back =
                copy::copy(&of_database(&between), &of_directory(&second), &mut go).expect("copied back");
            assert!(back.agrees() && back.copied == there.copied, "{back:?}");
            for (there, back) in there.tables.iter().zip(&back.tables) {
                assert_eq!(there.from, back.to, "{}", there.name);
            }
            let whole = copy::verify(&of_directory(&first), &of_directory(&second), &mut go);
            assert!(whole.expect("compared").agrees());

            let stores = [first.open(), open_database(&between), second.open()];
            same(&stores[0], &stores[1], &teller).await;
            same(&stores[0], &stores[2], &teller).await;
            // The part that came before the copy is known in each of them.
            for store in &stores {
                assert_eq!(receive(store, vec![odd(&teller)], teller.now()).await.ignored, 1);
            }
            same(&stores[0], &stores[2], &teller).await;
            same(&stores[1], &stores[2], &teller).await;
            go_on(&mut teller, &stores).await;
            for store in &stores {
                store.close().await.expect("closed");
            }
            there
        });
        let bare = report.tables.iter().filter(|table| table.from.rows == 0).map(|table| table.name);
        empty = if seed == 0 { bare.collect() } else { bare.filter(|name| empty.contains(name)).collect() };
    }
    assert!(empty.is_empty(), "no story had anything in {empty:?}");
}

#[test]
fn a_copy_that_is_broken_off_anywhere_keeps_its_target_shut_and_goes_on() {
    if database().is_none() {
        return;
    }
    run(async {
        let first = Directory::volatile();
        let teller = lived(&first, 7, MANY_MESSAGES).await;
        let between = database().expect("it was there just now");
        copy::copy(&of_directory(&first), &of_database(&between), &mut go).expect("copied");
        for pieces in [1, 4] {
            let there = database().expect("it was there just now");
            break_off(&of_directory(&first), &of_database(&there), pieces, || {
                let options = postgres::Options::at(&there.address()).expect("an address");
                postgres::Postgres::open(&options).map(drop)
            });
            same(&first.open(), &open_database(&there), &teller).await;
            let back = Directory::volatile();
            break_off(&of_database(&between), &of_directory(&back), pieces, || {
                sqlite::Sqlite::open(&sqlite::Options::in_directory(back.path())).map(drop)
            });
            same(&first.open(), &back.open(), &teller).await;
        }
    });
}

/// Copies so many pieces at a time until it is done.
fn break_off(from: &Place, to: &Place, pieces: usize, open: impl Fn() -> Result<()>) {
    let mut found = 0;
    let report = loop {
        match copy::copy(from, to, &mut stop_after(pieces)) {
            Ok(report) => break report,
            Err(Error::Unavailable(why)) if why.contains("stopped") => {
                let refused = unavailable(open());
                assert!(refused.contains("give the same `tidings copy` again"), "{refused}");
            }
            Err(other) => panic!("it cannot be gone on with: {other}"),
        }
        // The comparison has as many pieces each time, and is begun only when everything is there.
        let report = copy::verify(from, to, &mut go).expect("compared");
        let there: u64 = report.tables.iter().map(|table| table.to.rows).sum();
        assert!(there > found || report.agrees(), "it does not get on");
        found = there;
        if report.agrees() {
            break copy::copy(from, to, &mut go).expect("finished");
        }
    };
    assert!(report.agrees() && report.found > 0, "{report:?}");
    open().expect("it is whole now");
}

#[test]
fn what_must_not_be_copied_or_written_over_is_refused() {
    if database().is_none() {
        return;
    }
    run(async {
        let first = Directory::volatile();
        lived(&first, 3, 0).await;
        let target = database().expect("it was there just now");
        let (from, to) = (of_directory(&first), of_database(&target));

        // Broken off, and then asked for from elsewhere, or from a source that has changed since.
        unavailable(copy::copy(&from, &to, &mut stop_after(2)));
        let other = Directory::volatile();
        lived(&other, 4, 0).await;
        let refused = conflict(copy::copy(&of_directory(&other), &to, &mut go));
        assert!(refused.contains("of another store"), "{refused}");
        let store = first.open();
        store.set_hold(Some("wait".to_owned()), actor(), at(1)).await.expect("held");
        store.close().await.expect("closed");
        let refused = conflict(copy::copy(&from, &to, &mut go));
        assert!(refused.contains("before it was served or changed again"), "{refused}");

        // A target that holds something else.
        let full = database().expect("it was there just now");
        let store = open_database(&full);
        store.default_account(START).await.expect("made");
        store.close().await.expect("closed");
        let refused = conflict(copy::copy(&from, &of_database(&full), &mut go));
        assert!(refused.contains("holds something already"), "{refused}");
        let refused = conflict(copy::copy(&of_database(&full), &from, &mut go));
        assert!(refused.contains("holds something already"), "{refused}");

        // A source that is not there, or not up to date.
        let nothing = Directory::volatile();
        unavailable(copy::copy(&of_directory(&nothing), &of_database(&full), &mut go));
        let bare = tidings_cluster::Cluster::here().expect("it was there just now").database();
        let refused = unavailable(copy::copy(&of_database(&bare), &of_directory(&nothing), &mut go));
        assert!(refused.contains("run `tidings migrate`"), "{refused}");

        // A database that somebody serves, whichever end it is.
        let mut options = postgres::Options::at(&full.address()).expect("an address");
        options.served = true;
        let served = postgres::Postgres::open(&options).expect("it opens");
        for (from, to) in [(&of_database(&full), &of_directory(&nothing)), (&from, &of_database(&full))] {
            let refused = unavailable(copy::copy(from, to, &mut go));
            assert!(refused.contains("stop it first"), "{refused}");
        }
        served.close().await.expect("closed");

        // One that is served by nobody now, as far as its server knows, and of which a node may not have heard that yet.
        full.run(
            "INSERT INTO node (id, number, name, place, roles, connections, acknowledged, joined_at, steady_since, lease_until)
             VALUES ('a', 1, 'north', 'there', 7, '{}', 1, now(), now(), now() + interval '1 hour')",
        );
        let refused = unavailable(copy::copy(&of_database(&full), &of_directory(&nothing), &mut go));
        assert!(refused.contains("the lease of the node north is not over yet"), "{refused}");

        // A copy in which something was changed afterwards.
        let whole = database().expect("it was there just now");
        assert!(copy::copy(&from, &of_database(&whole), &mut go).expect("copied").agrees());
        whole.run("UPDATE message SET text = text || '.' WHERE id = (SELECT max(id) FROM message)");
        let report = copy::verify(&from, &of_database(&whole), &mut go).expect("compared");
        let different: Vec<_> =
            report.tables.iter().filter(|table| table.from != table.to).map(|table| table.name).collect();
        assert_eq!(different, ["message"]);
    });
}
