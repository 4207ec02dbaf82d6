//! How many segments may go from a sender in a day.

use crate::samples::*;
use crate::{for_each_backend, for_each_place};
use std::sync::Arc;
use tidings_domain::account::Environment;
use tidings_domain::quota::Count;
use tidings_domain::time::Timestamp;
use tidings_store::*;

pub fn count(name: &str, day: Timestamp) -> Count {
    Count { environment: Environment::Live, name: name.to_owned(), day }
}

fn asked(name: &str, segments: u32, limit: u32) -> AskedQuota {
    AskedQuota { count: count(name, START), segments, limit }
}

async fn take(store: &Arc<dyn Backend>, asked: Vec<AskedQuota>) -> Vec<(u64, bool)> {
    store.take_quotas(asked).await.expect("answered")
}

#[test]
fn of_what_wants_to_go_as_much_goes_as_is_left_of_the_day() {
    for_each_place(|place| async move {
        let store = place.open();
        // One after the other within a call: what is too long does not stop what is short enough.
        let call =
            vec![asked("A", 3, 5), asked("A", 3, 5), asked("B", 1, 1), asked("A", 2, 5), asked("A", 1, 5)];
        let expected = [(0, true), (3, false), (0, true), (3, true), (5, false)];
        assert_eq!(take(&store, call).await, expected);
        store.close().await.expect("closed");
        let store = place.open();
        assert_eq!(
            take(&store, vec![asked("A", 1, 5), asked("A", 1, u32::MAX)]).await,
            [(5, false), (5, true)]
        );
        // Another day and another environment are counted by themselves.
        let tomorrow = AskedQuota { count: count("A", START.plus_ms(DAY_MS)), ..asked("A", 4, 5) };
        let test = Count { environment: Environment::Test, ..count("A", START) };
        let pretended = AskedQuota { count: test.clone(), ..asked("A", 2, 5) };
        assert_eq!(take(&store, vec![tomorrow, pretended]).await, [(0, true), (0, true)]);
        let counts = vec![
            count("A", START),
            count("A", START.plus_ms(DAY_MS)),
            test,
            count("C", START),
            count("A", START),
        ];
        assert_eq!(store.quotas(counts).await.expect("read"), [6, 4, 2, 0, 6]);
        assert_eq!(take(&store, Vec::new()).await, []);
        assert_eq!(store.quotas(Vec::new()).await.expect("read"), [0; 0]);
    });
}

#[test]
fn what_certainly_did_not_go_is_given_back() {
    for_each_backend(|store| async move {
        take(&store, vec![asked("A", 4, 5), asked("B", 2, 5)]).await;
        let back = |name, segments| (count(name, START), segments);
        let returned = vec![back("A", 1), back("A", 2), back("B", 9), back("C", 1)];
        store.return_quotas(returned).await.expect("returned");
        let counts = ["A", "B", "C"].map(|name| count(name, START)).to_vec();
        assert_eq!(store.quotas(counts).await.expect("read"), [1, 0, 0]);
        store.return_quotas(Vec::new()).await.expect("nothing to do");
        assert_eq!(take(&store, vec![asked("A", 4, 5), asked("A", 1, 5)]).await, [(1, true), (5, false)]);
    });
}

#[test]
fn a_message_that_was_thought_to_fit_is_accepted_while_it_does() {
    for_each_backend(|store| async move {
        let offer = |n: i64, segments| {
            let quota = Some(asked("A", segments, 5));
            let premise = Premise { goes_at: START, bounds: Vec::new(), others: Vec::new(), quota };
            let drafts = vec![Draft { premise: Some(premise), ..draft(message(n)) }];
            store.accept(Intake { drafts, ..intake([]) }, START)
        };
        take(&store, vec![asked("A", 3, 5)]).await;
        assert!(matches!(offer(1, 2).await, Ok(Accepted::New(..))));
        assert_eq!(offer(2, 3).await.expect("asked"), Accepted::Crowded);
        // Nothing is taken by it.
        assert_eq!(store.quotas(vec![count("A", START)]).await.expect("read"), [3]);
        store.return_quotas(vec![(count("A", START), 1)]).await.expect("returned");
        assert!(matches!(offer(2, 3).await, Ok(Accepted::New(..))));
    });
}

#[test]
fn what_is_taken_beside_something_that_fails_is_taken_once() {
    for_each_backend(|store| async move {
        accept(&store, [message(1)]).await;
        let all = (0..20).map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                if n % 2 == 0 {
                    take(&store, vec![asked("A", 1, 100)]).await;
                } else {
                    // Its id is taken.
                    assert!(matches!(
                        store.accept(intake([message(1)]), START).await,
                        Err(Error::Conflict(_))
                    ));
                }
            })
        });
        for one in all.collect::<Vec<_>>() {
            one.await.expect("no panic");
        }
        assert_eq!(store.quotas(vec![count("A", START)]).await.expect("read"), [10]);
    });
}

#[test]
fn days_are_forgotten_when_they_are_over_everywhere() {
    for_each_backend(|store| async move {
        take(&store, vec![asked("A", 3, 5)]).await;
        let week_s = 7 * 24 * 3_600;
        store.sweep(KEPT_A_DAY, MANY, at(week_s)).await.expect("swept");
        assert_eq!(store.quotas(vec![count("A", START)]).await.expect("read"), [3]);
        store.sweep(KEPT_A_DAY, MANY, at(week_s + 1)).await.expect("swept");
        assert_eq!(store.quotas(vec![count("A", START)]).await.expect("read"), [0]);
    });
}

#[test]
fn of_many_that_ask_at_once_as_many_get_it_as_fit() {
    for_each_backend(|store| async move {
        let asking = (0..40).map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { take(&store, vec![asked("A", 2, 15)]).await })
        });
        let asking: Vec<_> = asking.collect();
        let mut taken = 0;
        for asking in asking {
            taken += usize::from(asking.await.expect("no panic")[0].1);
        }
        assert_eq!(taken, 7);
        assert_eq!(store.quotas(vec![count("A", START)]).await.expect("read"), [14]);
    });
}
