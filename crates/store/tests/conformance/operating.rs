//! Connections, the hold, numbers, sweeping and the backup.

use crate::samples::*;
use crate::{Place, for_each_backend, for_each_directory, for_each_place};
use std::sync::Arc;
use tidings_domain::account::Environment;
use tidings_domain::failure::FailureClass;
use tidings_domain::id::*;
use tidings_domain::message::{Input, Message, RECEIPT_GRACE_MS, Status};
use tidings_domain::purpose::Purpose;
use tidings_domain::queue::Queue;
use tidings_domain::review::Decision;
use tidings_store::*;

fn names() -> Vec<(String, Environment)> {
    vec![
        ("main".to_owned(), Environment::Live),
        ("main".to_owned(), Environment::Test),
        ("spare".to_owned(), Environment::Live),
    ]
}

const KEEP: Retention = Retention { parked_ms: HOUR_MS, messages_ms: Some(30 * DAY_MS), ..KEPT_A_DAY };

/// Sweeps until nothing is left to sweep.
async fn sweep(store: &Arc<dyn Backend>, retention: Retention, now: tidings_domain::time::Timestamp) {
    let mut rounds = 0;
    while store.sweep(retention, 3, now).await.expect("swept") {
        rounds += 1;
        assert!(rounds < 1_000, "it ends");
    }
}

#[test]
fn a_connection_keeps_its_id_and_its_pause_over_restarts() {
    for_each_place(|place| async move {
        let store = place.open();
        let first = store.register_connections(names(), START).await.expect("registered");
        assert!(first.iter().all(|line| line.id.key() > 0 && line.paused.is_none()));
        assert!(
            store.pause_connection(first[2].id, Some("bills".into()), actor(), START).await.expect("paused")
        );
        let nobody = ConnectionId::from_key(99);
        assert!(!store.pause_connection(nobody, None, actor(), START).await.expect("asked"));
        store.close().await.expect("closed");
        let store = place.open();
        let mut other_order = names();
        other_order.reverse();
        let mut again = store.register_connections(other_order, at(9)).await.expect("registered");
        again.reverse();
        let paused = again[2].paused.take();
        assert_eq!((again, paused.as_deref()), (first.clone(), Some("bills")));
        assert!(store.pause_connection(first[2].id, None, actor(), at(9)).await.expect("resumed"));
        assert!(store.connections().await.expect("read").iter().all(|line| line.paused.is_none()));
        assert_eq!(audited(&store).await, ["connection.pause", "connection.resume"]);
        store.close().await.expect("closed");
    });
}

#[test]
fn the_hold_survives_a_restart_and_can_be_released() {
    for_each_place(|place| async move {
        let store = place.open();
        assert_eq!(store.hold().await.expect("read"), None);
        store.set_hold(Some("restored".into()), actor(), START).await.expect("set");
        store.close().await.expect("closed");
        let store = place.open();
        assert_eq!(store.hold().await.expect("read").as_deref(), Some("restored"));
        store.set_hold(None, actor(), at(1)).await.expect("released");
        assert_eq!(store.hold().await.expect("read"), None);
        assert_eq!(audited(&store).await, ["hold.set", "hold.release"]);
        store.close().await.expect("closed");
    });
}

#[test]
fn waiting_messages_move_to_another_connection_and_others_stay() {
    for_each_backend(|store| async move {
        let lines = store.register_connections(names(), START).await.expect("registered");
        let (main, test, spare) = (lines[0].id, lines[1].id, lines[2].id);
        accept(&store, (0..5).map(|n| Message { connection: main, ..message(n) })).await;
        accept(&store, [Message { connection: main, send_at: Some(at(60)), ..message(9) }]).await;
        let claimed = store.claim(Queue::of(main), 1, START).await.expect("claimed").tickets;
        assert!(matches!(store.reroute(main, test, 9, START).await, Err(Error::Conflict(_))));
        assert_eq!(store.reroute(main, spare, 3, START).await.expect("moved"), 3);
        assert_eq!(store.reroute(main, spare, 9, START).await.expect("moved"), 2);
        assert_eq!(store.reroute(main, spare, 9, START).await.expect("moved"), 0);
        assert!(store.claim(Queue::of(main), 9, at(60)).await.expect("claimed").tickets.is_empty());
        let moved = store.claim(Queue::of(spare), 9, START).await.expect("claimed").tickets;
        assert_eq!(moved.iter().map(|ticket| ticket.message.id).collect::<Vec<_>>(), [1, 2, 3, 4].map(id));
        assert!(moved.iter().all(|ticket| ticket.message.connection == spare));
        assert_eq!(store.claim(Queue::of(spare), 9, at(60)).await.expect("claimed").tickets.len(), 1);
        assert_eq!(stored(&store, claimed[0].message.id).await.message.connection, main);
    });
}

#[test]
fn a_message_that_is_partly_at_a_carrier_is_not_moved() {
    for_each_backend(|store| async move {
        let lines = store.register_connections(names(), START).await.expect("registered");
        let (main, spare) = (lines[0].id, lines[2].id);
        let id = sending(&store, Message { connection: main, segments: 2, ..message(1) }).await;
        let throttled = failure(FailureClass::RateLimited, true);
        let second = Input::Answered {
            attempt: 1,
            segment: 1,
            answer: tidings_domain::message::Answer::Refused(throttled),
        };
        advance(&store, vec![taken(id, 1, 0, "a"), to(id, second)], START).await;
        assert_eq!(status(&store, id).await, Status::Queued);
        assert_eq!(store.reroute(main, spare, 9, START).await.expect("moved"), 0);
    });
}

#[test]
fn the_numbers_are_right() {
    for_each_backend(|store| async move {
        accept(&store, (0..3).map(message)).await;
        accept(&store, [Message { purpose: Purpose::Alert, send_at: Some(at(60)), ..message(5) }]).await;
        accept(&store, [Message { connection: OTHER_LINE, ..message(6) }]).await;
        store.claim(Queue::of(LINE), 1, START).await.expect("claimed");
        advance(&store, vec![delivered("nobody", number(5))], START).await;
        let now = store.statistics(at(1)).await.expect("numbers");
        let expected = vec![
            // Scheduled for later: it does not wait yet.
            (LINE, Purpose::Alert, 0, None),
            (LINE, Purpose::Transactional, 2, Some(START)),
            (OTHER_LINE, Purpose::Transactional, 1, Some(START)),
        ];
        let mut queues = now.queues.clone();
        queues.sort();
        assert_eq!(queues, expected);
        assert_eq!((now.in_flight, now.deliveries, now.parked, now.reviews), (1, (0, None), 1, 0));
        assert!(now.size > 0);
    });
}

#[test]
fn the_trail_is_paged_newest_first() {
    for_each_backend(|store| async move {
        for n in 0..5 {
            let (action, detail) = ("config.load".to_owned(), format!("{n}"));
            // A clock that stands still or goes back keeps the order.
            store.record_audit(actor(), action, "file".into(), detail, at(-n)).await.expect("recorded");
        }
        let first = store.audit(HOME.account, page(3)).await.expect("read");
        let details =
            |found: &Paged<Audit>| found.items.iter().map(|line| line.detail.clone()).collect::<Vec<_>>();
        assert_eq!(details(&first), ["4", "3", "2"]);
        let rest = store.audit(HOME.account, Page { before: first.next, limit: 3 }).await.expect("read");
        assert_eq!(details(&rest), ["1", "0"]);
        assert!(store.audit(AccountId::from_key(2), page(9)).await.expect("read").items.is_empty());
    });
}

#[test]
fn a_sweep_takes_old_ended_messages_with_their_events_and_nothing_else() {
    for_each_backend(|store| async move {
        accept(&store, (0..10).map(message)).await;
        accept(&store, [Message { send_at: Some(START.plus_ms(60 * DAY_MS)), ..message(20) }]).await;
        let ends = (0..10).map(|n| to(id(n), Input::Cancel)).collect();
        advance(&store, ends, START).await;
        let now = START.plus_ms(31 * DAY_MS);
        let young = Message {
            id: MessageId::from_key(floor_at(now)),
            created_at: now,
            expires_at: now.plus_s(60),
            ..message(30)
        };
        accept(&store, [young.clone()]).await;
        advance(&store, vec![to(young.id, Input::Cancel)], now).await;
        sweep(&store, Retention { messages_ms: None, ..KEEP }, now).await;
        assert_eq!(status(&store, id(1)).await, Status::Canceled);
        sweep(&store, KEEP, now).await;
        for n in 0..10 {
            assert!(store.message(HOME, id(n)).await.expect("read").is_none(), "{n}");
        }
        assert_eq!(status(&store, id(20)).await, Status::Scheduled);
        assert_eq!(status(&store, young.id).await, Status::Canceled);
        assert_eq!(feed(&store, HOME, MANY).await.len(), 1);
        assert_eq!(
            store
                .claim(Queue::of(LINE), 9, START.plus_ms(60 * DAY_MS))
                .await
                .expect("claimed")
                .advanced
                .counted
                .len(),
            1
        );
    });
}

#[test]
fn a_sweep_never_lets_a_place_in_the_feed_be_given_twice() {
    for_each_place(|place| async move {
        let store = place.open();
        accept(&store, (0..5).map(message)).await;
        advance(&store, (0..5).map(|n| to(id(n), Input::Cancel)).collect(), START).await;
        let last = feed(&store, HOME, MANY).await.pop().expect("there").id;
        sweep(&store, KEEP, START.plus_ms(90 * DAY_MS)).await;
        store.close().await.expect("closed");
        let store = place.open();
        accept(&store, [message(9)]).await;
        advance(&store, vec![to(id(9), Input::Cancel)], START.plus_ms(90 * DAY_MS)).await;
        let after = store.events(HOME, Some(last), MANY).await.expect("read");
        assert_eq!(after.told.len(), 1, "who followed the feed hears of it");
        store.close().await.expect("closed");
    });
}

#[test]
fn a_sweep_keeps_a_message_that_a_person_must_still_decide() {
    for_each_backend(|store| async move {
        let id = sending(&store, message(1)).await;
        advance(&store, vec![refused(id, 1, failure(FailureClass::Filtered, false))], START).await;
        accept(&store, [message(2)]).await;
        advance(&store, vec![to(self::id(2), Input::Cancel)], START).await;
        let now = START.plus_ms(90 * DAY_MS);
        sweep(&store, KEEP, now).await;
        assert_eq!(status(&store, id).await, Status::Rejected);
        let item = store.reviews(HOME, None, true, page(1)).await.expect("read").items.remove(0);
        store
            .decide(HOME, ReviewChoice::One(item.id), Decision::Drop, 1, actor(), now)
            .await
            .expect("decided");
        sweep(&store, KEEP, now).await;
        assert!(store.message(HOME, id).await.expect("read").is_none());
    });
}

#[test]
fn a_sweep_takes_old_parked_receipts_and_keeps_young_ones() {
    for_each_backend(|store| async move {
        let late = START.plus_ms(2 * HOUR_MS);
        let first: Vec<_> = (0..10).map(|n| delivered(&format!("{n}"), number(1))).collect();
        advance(&store, first, START).await;
        advance(&store, vec![delivered("young", number(1))], late).await;
        sweep(&store, KEEP, late).await;
        assert_eq!(store.statistics(late).await.expect("numbers").parked, 1);
    });
}

#[test]
fn a_sweep_does_not_forget_the_carriers_ids_of_a_message_that_waits_for_its_receipt() {
    for_each_backend(|store| async move {
        // Accepted weeks before it was sent, so that its id is old.
        let due = START.plus_ms(20 * DAY_MS);
        let scheduled = Message { send_at: Some(due), expires_at: due.plus_ms(HOUR_MS), ..message(1) };
        accept(&store, [scheduled]).await;
        assert_eq!(claim_at(&store, due).await.len(), 1);
        advance(&store, vec![taken(id(1), 1, 0, "a")], due).await;
        sweep(&store, KEEP, due.plus_s(1)).await;
        let out = advance(&store, vec![delivered("a", number(1))], due.plus_s(2)).await;
        assert_eq!(out.statuses, [Some(Status::Delivered)]);
        let late = sent(&store, message(2), "b").await;
        let end = message(2).expires_at.plus_ms(RECEIPT_GRACE_MS);
        wake(&store, end).await;
        sweep(&store, KEEP, end).await;
        assert_eq!(status(&store, late).await, Status::Unconfirmed);
        assert_eq!(
            advance(&store, vec![delivered("b-0", number(2))], end).await.statuses,
            [Some(Status::Delivered)]
        );
    });
}

#[test]
fn a_backup_opens_and_holds_what_was_there() {
    for_each_place(|place| async move {
        let store = place.open();
        if let Place::Postgres(_) = place {
            let refused = store.backup("copy".into()).await.expect_err("it has its own").to_string();
            assert!(refused.contains("pg_basebackup") && refused.contains("pg_dump"), "{refused}");
            return store.close().await.expect("closed");
        }
        accept(&store, (0..500).map(message)).await;
        sent(&store, message(900), "a").await;
        let elsewhere = tempfile::tempdir().expect("a directory");
        let copy = elsewhere.path().join("copy.db");
        let writing = {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for n in 1_000..1_100 {
                    accept(&store, [message(n)]).await;
                }
            })
        };
        store.backup(copy.clone()).await.expect("copied");
        writing.await.expect("no panic");
        assert!(
            matches!(store.backup(copy.clone()).await, Err(Error::Conflict(_))),
            "nothing is overwritten"
        );
        let other = place.with_copy(&copy).open();
        for n in (0..500).chain([900]) {
            let (left, right) = (stored(&store, id(n)).await, stored(&other, id(n)).await);
            assert_eq!(
                (left.message, left.life, left.updated_at),
                (right.message, right.life, right.updated_at)
            );
        }
        other.ping().await.expect("it writes");
        other.close().await.expect("closed");
        store.ping().await.expect("it writes");
        store.close().await.expect("closed");
    });
}

#[test]
fn a_backup_is_one_file_and_nothing_beside_it() {
    for_each_directory(|directory| async move {
        let store = directory.open();
        accept(&store, [message(1)]).await;
        let elsewhere = tempfile::tempdir().expect("a directory");
        store.backup(elsewhere.path().join("copy.db")).await.expect("copied");
        let files = std::fs::read_dir(elsewhere.path()).expect("read");
        assert_eq!(files.map(|file| file.expect("one").file_name()).collect::<Vec<_>>(), ["copy.db"]);
    });
}

#[test]
fn a_backup_that_cannot_be_written_says_so_and_leaves_nothing() {
    for_each_directory(|directory| async move {
        let store = directory.open();
        let nowhere = tempfile::tempdir().expect("a directory").path().join("gone").join("copy.db");
        assert!(matches!(store.backup(nowhere).await, Err(Error::Unavailable(_))));
    });
}

#[test]
fn a_closed_store_refuses_instead_of_hanging() {
    for_each_place(|place| async move {
        let store = place.open();
        accept(&store, [message(1)]).await;
        store.close().await.expect("closed");
        assert!(matches!(store.accept(intake([message(2)]), START).await, Err(Error::Unavailable(_))));
        store.close().await.expect("closed again");
    });
}
