//! History that a server keeps in parts: what is old goes with its whole part, and what must stay stays.

use crate::samples::*;
use crate::server::{options, until};
use crate::{database, open_database};
use std::process::Stdio;
use std::sync::Arc;
use tidings_cluster::Database;
use tidings_domain::failure::FailureClass;
use tidings_domain::id::*;
use tidings_domain::message::{Input, Message, Status};
use tidings_domain::time::Timestamp;
use tidings_domain::webhook::Verdict;
use tidings_store::postgres::{Options, Postgres};
use tidings_store::*;

/// Long enough that it goes in parts.
const KEEP: Retention =
    Retention { parked_ms: HOUR_MS, attempts_ms: 30 * DAY_MS, messages_ms: Some(30 * DAY_MS), ..KEPT_A_DAY };

fn day(n: i64) -> Timestamp {
    START.plus_ms(n * DAY_MS)
}

/// The schema as it was before history was cut into parts.
fn go_back(database: &Database) {
    crate::server::undo_after(database, 5);
    for (table, indexes) in [("event", &["message"][..]), ("attempt", &[])] {
        database.run(&format!(
            "ALTER TABLE {table} DETACH PARTITION {table}_old; DROP TABLE {table};
             ALTER TABLE {table}_old RENAME TO {table};
             ALTER TABLE {table} RENAME CONSTRAINT {table}_old_pkey TO {table}_pkey"
        ));
        for index in indexes {
            database.run(&format!("ALTER INDEX {table}_old_{index} RENAME TO {table}_{index}"));
        }
    }
    database.run(
        "DROP INDEX event_old_other, attempt_old_at; DELETE FROM migration WHERE number = 5;
         UPDATE setting SET value = '4' WHERE name = 'needs'",
    );
}

/// The parts of a table, but for the rest and for what was there before there were parts.
fn parts(database: &Database, table: &str) -> Vec<String> {
    let listed = database.run(&format!(
        "SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid
         WHERE inhparent = '{table}'::regclass AND relname NOT IN ('{table}_old', '{table}_rest') ORDER BY relname"
    ));
    listed.lines().map(str::to_owned).collect()
}

/// Where the rows are.
fn places(database: &Database, table: &str) -> Vec<String> {
    let listed = database.run(&format!("SELECT DISTINCT tableoid::regclass::text FROM {table} ORDER BY 1"));
    listed.lines().map(str::to_owned).collect()
}

async fn sweep(store: &Arc<dyn Backend>, now: Timestamp) {
    let mut rounds = 0;
    while store.sweep(KEEP, 100, now).await.expect("swept") {
        rounds += 1;
        assert!(rounds < 1_000, "it ends");
    }
}

/// Sweeps now and then from the first day to the last, as a server does.
async fn sweep_from(store: &Arc<dyn Backend>, days: std::ops::RangeInclusive<i64>) {
    for n in days.step_by(2) {
        sweep(store, day(n)).await;
    }
}

/// A try of what was told.
fn tried(told: &Told, now: Timestamp) -> Attempt {
    let delivery = told.delivery.expect("it is on its way");
    Attempt {
        seq: 0,
        realm: told.realm,
        event: told.id,
        message: None,
        endpoint: delivery.endpoint,
        lease: delivery.due_at,
        number: delivery.tries + 1,
        at: now,
        took_ms: 12,
        status: Some(204),
        request: String::new(),
        response: String::new(),
        verdict: Verdict::Done,
    }
}

async fn attempts(store: &Arc<dyn Backend>) -> Vec<EventId> {
    let page = store.attempts(HOME, EndpointId::from_key(1), page(MANY)).await.expect("read");
    page.items.into_iter().map(|attempt| attempt.event).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn history_past_its_retention_is_dropped_in_parts_and_what_must_stay_stays() {
    let Some(database) = database() else { return };
    let store = open_database(&database);
    store.create_endpoint(endpoint(1), actor()).await.expect("created");
    sweep(&store, START).await;
    let first = (parts(&database, "event"), parts(&database, "attempt"));
    assert!(first.0.len() >= 2 && first.1.len() >= 2, "made ahead: {first:?}");

    // A message that a person must decide about, two of people, of which a person must decide about one, and many that are
    // over; all were told, and one is told again much later.
    let review = sending(&store, message(900)).await;
    let filtered = refused(review, 1, failure(FailureClass::Filtered, false));
    let mut told = advance(&store, vec![filtered], at(60)).await.told;
    accept(&store, (0..50).map(message)).await;
    told.extend(advance(&store, (0..50).map(|n| to(id(n), Input::Cancel)).collect(), at(60)).await.told);
    let people = vec![arrival(5, "hello", at(60)), arrival(6, "wrong number", at(60))];
    told.extend(receive(&store, people, at(60)).await.told);
    let done: Vec<Attempt> = told.iter().map(|told| tried(told, at(61))).collect();
    store.record_attempts(done, at(61)).await.expect("recorded");
    assert_eq!(attempts(&store).await.len(), told.len());
    assert_eq!(
        (places(&database, "event"), places(&database, "attempt")),
        (vec![first.0[0].clone()], vec![first.1[0].clone()])
    );
    let again = told[0].id;
    sweep_from(&store, 2..=28).await;
    assert_eq!(attempts(&store).await.len(), told.len(), "nothing is old yet");
    assert_eq!(parts(&database, "event")[0], first.0[0]);
    store
        .replay(HOME, EndpointId::from_key(1), Replay::One(again), 1, actor(), day(28))
        .await
        .expect("replayed");
    let wanted = vec![(EndpointId::from_key(1), MANY)];
    let told_again = store.claim_deliveries(wanted, 30_000, day(28)).await.expect("claimed");
    store.record_attempts(vec![tried(&told_again[0], day(28))], day(28)).await.expect("recorded");
    // Somebody young, so that the newest event is not of the old.
    let young = Message {
        id: MessageId::from_key(floor_at(day(28))),
        created_at: day(28),
        expires_at: day(28).plus_s(60),
        ..message(901)
    };
    accept(&store, [young.clone()]).await;
    let told_young = advance(&store, vec![to(young.id, Input::Cancel)], day(28)).await.told;
    let of_young = told_young.iter().map(|told| tried(told, day(28))).collect();
    store.record_attempts(of_young, day(28)).await.expect("recorded");

    sweep_from(&store, 30..=40).await;
    for (table, first) in [("event", &first.0), ("attempt", &first.1)] {
        let left = parts(&database, table);
        assert!(!left.contains(&first[0]), "{table}: the first part is gone: {left:?}");
        assert!(left.len() <= 14, "{table}: parts do not pile up: {left:?}");
        assert!(places(&database, table).contains(&format!("{table}_rest")), "{table}: what stays is moved");
    }
    for n in 0..50 {
        assert!(store.message(HOME, id(n)).await.expect("read").is_none(), "{n}");
    }
    assert_eq!(status(&store, review).await, Status::Rejected);
    let timeline = store.timeline(HOME, review).await.expect("read").expect("it stays");
    assert!(!timeline.events.is_empty(), "with its story");
    assert_eq!(status(&store, young.id).await, Status::Canceled);
    let first = store.events(HOME, None, 2).await.expect("read");
    assert!(!first.is_end, "what is about messages that are gone is no end: {first:?}");
    assert_eq!(feed(&store, HOME, MANY).await, feed(&store, HOME, 2).await);
    let feed = feed(&store, HOME, MANY).await;
    let inbounds = feed.iter().filter(|told| matches!(told.about, About::Inbound(_))).count();
    assert_eq!((feed.len(), inbounds), (3, 1), "{feed:?}");
    let kept = attempts(&store).await;
    assert_eq!(kept, [told_young[0].id, again], "the try of the old event is young");

    // Once it may go, it goes, and its attempts before it.
    for item in store.reviews(HOME, None, true, page(9)).await.expect("read").items {
        let drop_it = tidings_domain::review::Decision::Drop;
        let one = ReviewChoice::One(item.id);
        store.decide(HOME, one, drop_it, 1, actor(), day(40)).await.expect("decided");
    }
    sweep_from(&store, 60..=80).await;
    assert!(store.message(HOME, review).await.expect("read").is_none());
    assert!(store.inbound(HOME, InboundId::from_key(6)).await.expect("read").is_none());
    assert!(attempts(&store).await.is_empty());
    assert_eq!(database.run("SELECT count(*) FROM attempt").trim(), "0");
    store.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_somebody_reads_waits_and_nobody_waits_for_it() {
    let Some(database) = database() else { return };
    let store = open_database(&database);
    store.create_endpoint(endpoint(1), actor()).await.expect("created");
    sweep(&store, START).await;
    accept(&store, (0..5).map(message)).await;
    let told = advance(&store, (0..5).map(|n| to(id(n), Input::Cancel)).collect(), at(60)).await.told;
    let done = told.iter().map(|told| tried(told, at(61))).collect();
    store.record_attempts(done, at(61)).await.expect("recorded");
    let first = parts(&database, "attempt")[0].clone();
    let mut reader = database.psql("BEGIN; SELECT count(*) FROM attempt; SELECT pg_sleep(600)");
    let mut reader = reader.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("it starts");
    until(async || {
        let locks = "SELECT count(*) > 0 FROM pg_locks WHERE relation = 'attempt'::regclass AND granted
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        database.run(locks).trim() == "t"
    })
    .await;
    sweep(&store, day(60)).await;
    accept(&store, [message(90)]).await;
    assert!(parts(&database, "attempt").contains(&first), "it is read");
    reader.kill().expect("it ends");
    reader.wait().expect("it ended");
    database.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)' AND pid <> pg_backend_pid()");
    until(async || {
        sweep(&store, day(60)).await;
        !parts(&database, "attempt").contains(&first)
    })
    .await;
    store.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn history_of_before_becomes_the_first_part_and_places_go_on_behind_it() {
    let Some(database) = database() else { return };
    go_back(&database);
    // Places were counted then.
    database.run(
        "INSERT INTO event (seq, account, message, at, attempt, live, kind, status)
           SELECT n, 1, NULL, 1767225600000, 1, 1, 1, 1 FROM generate_series(1, 1000) n;
         INSERT INTO attempt (endpoint, event, account, at, number, took_ms, verdict, request, response)
           SELECT 1, n, 1, 1767225600000, 1, 1, 0, '', '' FROM generate_series(1, 1000) n",
    );
    let file = database.run("SELECT pg_relation_filenode('event')");
    let served = Options { served: true, ..options(&database) };
    let applied = Postgres::migrate(&served).await.expect("migrated");
    assert_eq!(applied.first().map(String::as_str), Some("0005_parts_of_history"));
    for table in ["event", "attempt"] {
        assert_eq!(places(&database, table), [format!("{table}_old")]);
    }
    assert_eq!(database.run("SELECT pg_relation_filenode('event_old')"), file, "it was not written anew");
    let store = open_database(&database);
    accept(&store, [message(1)]).await;
    advance(&store, vec![to(id(1), Input::Cancel)], START).await;
    let feed = store.events(HOME, Some(EventId::from_key(1_000)), MANY).await.expect("read");
    assert_eq!(feed.told.iter().map(|told| told.id.key()).collect::<Vec<_>>(), [place_at(START)]);
    // It goes like any other part once everything in it is old; what is young of little is moved.
    let tries = || database.run("SELECT count(*) FROM attempt").trim().to_owned();
    sweep(&store, day(2)).await;
    assert_eq!(tries(), "1000");
    sweep(&store, day(60)).await;
    assert_eq!(tries(), "0");
    assert_eq!(database.run("SELECT to_regclass('attempt_old') IS NULL").trim(), "t");
    store.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_does_not_change_under_nodes_that_cannot_go_on_with_it() {
    let Some(database) = database() else { return };
    let served = Options { served: true, ..options(&database) };
    let store = Postgres::open(&served).expect("it opens");
    go_back(&database);
    let refused = Postgres::migrate(&served).await.expect_err("refused").to_string();
    assert!(refused.contains("stop all of them first"), "{refused}");
    store.close().await.expect("closed");
    assert!(!Postgres::migrate(&served).await.expect("migrated").is_empty());
}
