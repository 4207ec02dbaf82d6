//! Failures that a person must look at.

use crate::samples::*;
use crate::{for_each_backend, for_each_place};
use std::sync::Arc;
use tidings_domain::failure::{Failure, FailureClass};
use tidings_domain::message::Status;
use tidings_domain::review::{About, Decision};
use tidings_domain::suppression::Reason;
use tidings_store::*;

/// Messages that a carrier blocks with these codes, one after the other.
async fn blocked(store: &Arc<dyn Backend>, codes: &[&str]) {
    for (n, code) in codes.iter().enumerate() {
        let now = at(n as i64);
        let id = sending(store, message(n as i64)).await;
        let failure = Failure::new(FailureClass::Filtered, false, *code, "blocked");
        assert_eq!(
            advance(store, vec![refused(id, 1, failure)], now).await.statuses,
            [Some(Status::Rejected)]
        );
    }
}

#[test]
fn like_failures_stand_together_the_largest_group_first() {
    for_each_backend(|store| async move {
        blocked(&store, &["a", "b", "b", "a", "b"]).await;
        let groups = store.review_groups(HOME, 9).await.expect("read");
        let told: Vec<_> = groups.iter().map(|group| (group.failure.code.as_str(), group.open)).collect();
        assert_eq!(told, [("b", 3), ("a", 2)]);
        assert_eq!((groups[0].first_at, groups[0].last_at), (at(1), at(4)));
        assert_eq!(store.review_groups(HOME, 1).await.expect("read").len(), 1);
        let items =
            store.reviews(HOME, Some(groups[1].cause.clone()), true, page(9)).await.expect("read").items;
        assert_eq!(
            items.iter().map(|item| item.about).collect::<Vec<_>>(),
            [id(3), id(0)].map(About::Message)
        );
    });
}

#[test]
fn a_group_is_decided_in_steps_and_each_item_once() {
    for_each_backend(|store| async move {
        blocked(&store, &["a", "a", "a", "b"]).await;
        let cause = store.review_groups(HOME, 1).await.expect("read")[0].cause.clone();
        let mut closed = Vec::new();
        for expected in [2, 1, 0] {
            let which = ReviewChoice::Cause(cause.clone());
            let items = store.decide(HOME, which, Decision::Drop, 2, actor(), at(9)).await.expect("decided");
            assert_eq!(items.len(), expected);
            closed.extend(items);
        }
        assert!(closed.iter().all(|item| item.decided == Some((Decision::Drop, at(9), "tester".to_owned()))));
        assert_eq!(store.reviews(HOME, None, true, page(9)).await.expect("read").items.len(), 1);
        let all = store.reviews(HOME, None, false, page(9)).await.expect("read").items;
        assert_eq!(all.len(), 4);
        assert_eq!(all.iter().filter(|item| item.decided.is_some()).count(), 3);
        assert_eq!(store.statistics(at(9)).await.expect("numbers").reviews, 1);
        assert_eq!(audited(&store).await, ["review.decide", "review.decide"]);
    });
}

#[test]
fn one_item_is_decided_once() {
    for_each_backend(|store| async move {
        blocked(&store, &["a", "a"]).await;
        let item = store.reviews(HOME, None, true, page(1)).await.expect("read").items.remove(0);
        let decide = || store.decide(HOME, ReviewChoice::One(item.id), Decision::Retry, 9, actor(), at(9));
        assert_eq!(decide().await.expect("decided").len(), 1);
        assert_eq!(decide().await.expect("decided").len(), 0);
        let elsewhere = tidings_domain::account::Realm {
            environment: tidings_domain::account::Environment::Test,
            ..HOME
        };
        let rest = store.reviews(HOME, None, true, page(1)).await.expect("read").items.remove(0);
        let which = ReviewChoice::One(rest.id);
        assert!(
            store
                .decide(elsewhere, which, Decision::Drop, 9, actor(), at(9))
                .await
                .expect("asked")
                .is_empty()
        );
    });
}

#[test]
fn the_decision_to_suppress_stops_further_messages_in_the_same_commit() {
    for_each_backend(|store| async move {
        blocked(&store, &["a"]).await;
        let cause = store.review_groups(HOME, 1).await.expect("read")[0].cause.clone();
        let which = ReviewChoice::Cause(cause);
        store.decide(HOME, which, Decision::Suppress, 9, actor(), at(9)).await.expect("decided");
        let found = store.suppressed(vec![(HOME, number(0))], at(9)).await.expect("read");
        assert_eq!(found[0].account, Some(Reason::Manual));
        assert_eq!(audited(&store).await, ["suppression.add", "review.decide"]);
    });
}

#[test]
fn a_restart_with_a_clock_that_was_set_back_gives_no_id_twice() {
    for_each_place(|place| async move {
        let filtered = || Failure::new(FailureClass::Filtered, false, "smpp 0x66", "blocked");
        for n in 0..3 {
            let store = place.open();
            let id = sending(&store, message(n)).await;
            let out = advance(&store, vec![refused(id, 1, filtered())], START).await;
            assert_eq!(out.statuses, [Some(Status::Rejected)]);
            store
                .record_audit(actor(), "x".into(), "y".into(), format!("{n}"), START)
                .await
                .expect("recorded");
            store.close().await.expect("closed");
        }
        let store = place.open();
        let items = store.reviews(HOME, None, true, page(9)).await.expect("read").items;
        assert_eq!(
            items.iter().map(|item| item.about).collect::<Vec<_>>(),
            [2, 1, 0].map(|n| About::Message(id(n)))
        );
        let trail = store.audit(HOME.account, page(9)).await.expect("read").items;
        assert_eq!(trail.iter().map(|line| line.detail.as_str()).collect::<Vec<_>>(), ["2", "1", "0"]);
        store.close().await.expect("closed");
    });
}
