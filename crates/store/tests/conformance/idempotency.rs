//! One key, one call: the repeat gets the first answer, and nothing is sent twice.

use crate::samples::*;
use crate::{for_each_backend, for_each_place};
use std::sync::Arc;
use tidings_domain::id::SuppressionId;
use tidings_domain::message::Message;
use tidings_domain::suppression::Reason;
use tidings_store::*;

fn call(body: u8, messages: Vec<Message>) -> Intake {
    let answer = |admissions: &[Admission]| format!("{admissions:?}").into_bytes();
    let idempotency = Idempotency { key: [1; 32], fingerprint: [body; 32], answer: Arc::new(answer) };
    Intake { idempotency: Some(idempotency), ..intake(messages) }
}

#[test]
fn a_repeated_call_gets_the_first_answer_and_sends_nothing() {
    for_each_place(|place| async move {
        let store = place.open();
        let first = store.accept(call(1, vec![message(1)]), START).await.expect("accepted");
        assert_eq!(first, Accepted::New(vec![Admission::Admitted], Box::default()));
        store.close().await.expect("closed");
        let store = place.open();
        let again = store.accept(call(1, vec![message(2)]), at(60)).await.expect("accepted");
        assert_eq!(again, Accepted::Replayed(b"[Admitted]".to_vec()));
        assert!(store.message(HOME, id(2)).await.expect("read").is_none());
        store.close().await.expect("closed");
    });
}

#[test]
fn another_call_with_the_same_key_is_refused() {
    for_each_backend(|store| async move {
        store.accept(call(1, vec![message(1)]), START).await.expect("accepted");
        assert_eq!(store.accept(call(2, vec![message(2)]), START).await.expect("asked"), Accepted::KeyReused);
        assert!(store.message(HOME, id(2)).await.expect("read").is_none());
    });
}

#[test]
fn of_many_equal_calls_at_once_exactly_one_is_accepted() {
    for_each_backend(|store| async move {
        let calls: Vec<_> = (0..20)
            .map(|n| {
                let store = Arc::clone(&store);
                tokio::spawn(
                    async move { store.accept(call(1, vec![message(n)]), START).await.expect("asked") },
                )
            })
            .collect();
        let mut new = 0;
        for one in calls {
            match one.await.expect("no panic") {
                Accepted::New(..) => new += 1,
                other => assert_eq!(other, Accepted::Replayed(b"[Admitted]".to_vec())),
            }
        }
        assert_eq!((new, claim_at(&store, START).await.len()), (1, 1));
    });
}

#[test]
fn the_remembered_answer_tells_which_drafts_were_suppressed() {
    for_each_backend(|store| async move {
        let entry = Suppression {
            id: SuppressionId::from_key(1),
            realm: HOME,
            recipient: number(2),
            programme: None,
            reason: Reason::OptedOut,
            source: "api".into(),
            created_at: START,
            expires_at: None,
            lifted: None,
        };
        store.suppress(vec![entry], actor()).await.expect("added");
        store.accept(call(1, vec![message(1), message(2)]), START).await.expect("accepted");
        store.lift(HOME, number(2), None, "x".into(), actor(), at(1)).await.expect("lifted");
        let again = store.accept(call(1, vec![message(3), message(4)]), at(2)).await.expect("accepted");
        assert_eq!(
            again,
            Accepted::Replayed(
                b"[Admitted, Suppressed(InForce { reason: OptedOut, programme: None })]".to_vec()
            )
        );
    });
}

#[test]
fn a_call_that_failed_leaves_its_key_free() {
    for_each_backend(|store| async move {
        accept(&store, [message(1)]).await;
        assert!(matches!(store.accept(call(1, vec![message(1)]), START).await, Err(Error::Conflict(_))));
        let again = store.accept(call(1, vec![message(2)]), START).await.expect("accepted");
        assert_eq!(again, Accepted::New(vec![Admission::Admitted], Box::default()));
    });
}

#[test]
fn a_key_is_forgotten_after_its_time_and_not_before() {
    for_each_backend(|store| async move {
        store.accept(call(1, vec![message(1)]), START).await.expect("accepted");
        let retention = Retention { idempotency_ms: 1_000, ..KEPT_A_DAY };
        store.sweep(retention, 10, at(1)).await.expect("swept");
        let again = store.accept(call(1, vec![message(2)]), at(1)).await.expect("asked");
        assert!(matches!(again, Accepted::Replayed(_)));
        store.sweep(retention, 10, at(2)).await.expect("swept");
        let again = store.accept(call(1, vec![message(2)]), at(2)).await.expect("asked");
        assert!(matches!(again, Accepted::New(..)));
    });
}
