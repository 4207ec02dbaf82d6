//! Batches: the messages of one call, and how many stand where.

use crate::for_each_backend;
use crate::samples::*;
use tidings_domain::account::{Environment, Realm};
use tidings_domain::id::*;
use tidings_domain::message::{Answer, Input, Message, Status};
use tidings_domain::queue::Queue;
use tidings_domain::suppression::Reason;
use tidings_store::*;

fn batch(n: i64) -> BatchId {
    BatchId::from_key(id(n).key())
}

fn call(first: i64, size: i64) -> Intake {
    let messages = (first + 1..=first + size).map(|n| Message { batch: Some(batch(first)), ..message(n) });
    Intake { batch: Some((batch(first), size as u32 + 1)), ..intake(messages) }
}

#[test]
fn a_batch_counts_its_messages_by_where_they_stand() {
    for_each_backend(|store| async move {
        accept(&store, [message(1), message(50)]).await;
        let entry = Suppression {
            id: SuppressionId::from_key(1),
            realm: HOME,
            recipient: number(13),
            programme: None,
            reason: Reason::Manual,
            source: "api".into(),
            created_at: START,
            expires_at: None,
            lifted: None,
        };
        store.suppress(vec![entry], actor()).await.expect("added");
        store.accept(call(10, 4), START).await.expect("accepted");
        advance(&store, vec![to(id(11), Input::Cancel)], START).await;
        let found = store.batch(HOME, batch(10)).await.expect("read").expect("there");
        let mut counts = found.counts.clone();
        counts.sort();
        assert_eq!((found.asked, counts), (5, vec![(Status::Queued, 2), (Status::Canceled, 1)]));
        let test = Realm { environment: Environment::Test, ..HOME };
        assert!(store.batch(test, batch(10)).await.expect("read").is_none());
        assert!(store.batch(HOME, batch(11)).await.expect("read").is_none());
    });
}

#[test]
fn a_batch_of_which_nothing_was_admitted_is_still_there() {
    for_each_backend(|store| async move {
        store.accept(call(10, 0), START).await.expect("accepted");
        let found = store.batch(HOME, batch(10)).await.expect("read").expect("there");
        assert_eq!((found.asked, found.counts.len()), (1, 0));
        let filter = MessageFilter { batch: Some(batch(10)), ..MessageFilter::default() };
        assert!(store.messages(HOME, filter, page(9)).await.expect("read").items.is_empty());
    });
}

#[test]
fn batches_are_paged_newest_first() {
    for_each_backend(|store| async move {
        for n in 1..=5 {
            store.accept(call(n * 10, 2), START).await.expect("accepted");
        }
        let first = store.batches(HOME, page(3)).await.expect("read");
        assert_eq!(first.items.iter().map(|found| found.id).collect::<Vec<_>>(), [50, 40, 30].map(batch));
        let rest = store.batches(HOME, Page { before: first.next, limit: 3 }).await.expect("read");
        assert_eq!(rest.items.iter().map(|found| found.id).collect::<Vec<_>>(), [20, 10].map(batch));
        assert_eq!(rest.next, None);
    });
}

#[test]
fn a_batch_names_each_status_once_and_in_order() {
    for_each_backend(|store| async move {
        store.accept(call(10, 4), START).await.expect("accepted");
        assert_eq!(store.claim(Queue::of(LINE), 3, START).await.expect("claimed").tickets.len(), 3);
        // In doubt counts as sending, like the one whose answer may still come.
        let counts = async || store.batch(HOME, batch(10)).await.expect("read").expect("there").counts;
        advance(&store, vec![answered(id(11), 1, 0, Answer::None), taken(id(13), 1, 0, "a")], START).await;
        assert_eq!(counts().await, [(Status::Queued, 1), (Status::Sending, 2), (Status::Sent, 1)]);
        advance(&store, vec![taken(id(12), 1, 0, "b")], START).await;
        assert_eq!(counts().await, [(Status::Queued, 1), (Status::Sending, 1), (Status::Sent, 2)]);
    });
}
