//! One-time codes.

use crate::samples::*;
use crate::{for_each_backend, for_each_place};
use std::sync::Arc;
use tidings_domain::account::{Environment, Realm};
use tidings_domain::code::{self, Code, Mark, NewCode, Refused, Status, Verdict};
use tidings_domain::id::*;
use tidings_domain::message::Message;
use tidings_domain::purpose::Purpose;
use tidings_domain::suppression::Reason as Suppressed;
use tidings_domain::time::Timestamp;
use tidings_domain::velocity::{Bounds, Client as Person, Prefix, Reason};
use tidings_store::*;

const MARK: Mark = Mark::new(7);

fn sending(which: Which) -> Sending {
    let person = Person { token: Some(TokenId::from_key(1)), ..Person::default() };
    Sending { which, person, bounds: Bounds::default(), resend_after_s: code::RESEND_AFTER_S }
}

fn new() -> Which {
    let reference = Some("sign-in".to_owned());
    Which::New(NewCode { digits: code::DIGITS, life_s: code::LIFE_S, reference }, MARK)
}

/// The sample message with this number, to the recipient with that one.
fn text(n: i64, recipient: u64) -> Message {
    Message { purpose: Purpose::Authentication, recipient: number(recipient), ..message(n) }
}

/// Sends the code with this number to the recipient with that one.
async fn send(store: &Arc<dyn Backend>, n: i64, recipient: u64, now: Timestamp) -> Admission {
    admitted(store.send_code(intake([text(n, recipient)]), sending(new()), now).await)
}

async fn again(store: &Arc<dyn Backend>, code: i64, n: i64, recipient: u64, now: Timestamp) -> Admission {
    let which = Which::Again(code_id(code));
    admitted(store.send_code(intake([text(n, recipient)]), sending(which), now).await)
}

fn admitted(accepted: Result<Accepted>) -> Admission {
    match accepted.expect("asked") {
        Accepted::New(admissions, _) => admissions[0].clone(),
        other => panic!("not new: {other:?}"),
    }
}

fn code_id(n: i64) -> CodeId {
    CodeId::from_key(id(n).key())
}

async fn code_of(store: &Arc<dyn Backend>, n: i64) -> Code {
    store.code(HOME, code_id(n)).await.expect("read").expect("there is such a code")
}

async fn check(store: &Arc<dyn Backend>, n: i64, right: bool, now: Timestamp) -> Verdict {
    store.check_code(HOME, code_id(n), right, now).await.expect("asked").expect("there is such a code").1
}

/// Sends codes to a prefix, with messages from this number on, until it is stopped.
pub async fn stop_a_prefix(store: &Arc<dyn Backend>, from: i64, now: Timestamp) {
    for n in 0..100 {
        let message = Message { expires_at: now.plus_s(600), ..text(from + n, 50_000 + n as u64) };
        let sent = store.send_code(intake([message]), sending(new()), now).await;
        if too_fast(admitted(sent)) == Some(Reason::Stopped) {
            return;
        }
    }
    panic!("a hundred codes were sent, and none was typed in");
}

fn too_fast(admission: Admission) -> Option<Reason> {
    match admission {
        Admission::Refused(Refused::TooFast(why)) => Some(why.reason),
        _ => None,
    }
}

#[test]
fn a_code_and_its_message_are_one() {
    for_each_backend(|store| async move {
        assert_eq!(send(&store, 1, 1, START).await, Admission::Admitted);
        let code = code_of(&store, 1).await;
        assert_eq!((code.life.message, code.life.sends, code.status(START)), (id(1), 1, Status::Pending));
        assert_eq!((code.recipient, code.mark, code.digits), (number(1), MARK, code::DIGITS));
        assert_eq!((code.reference.as_deref(), code.expires_at), (Some("sign-in"), at(code::LIFE_S)));
        assert_eq!(claim_at(&store, START).await.len(), 1);

        store
            .suppress(
                vec![Suppression {
                    id: SuppressionId::from_key(1),
                    realm: HOME,
                    recipient: number(2),
                    programme: None,
                    reason: Suppressed::OptedOut,
                    source: "api".to_owned(),
                    created_at: START,
                    expires_at: None,
                    lifted: None,
                }],
                actor(),
            )
            .await
            .expect("added");
        assert_eq!(send(&store, 2, 2, START).await, Admission::Suppressed(Suppressed::OptedOut.into()));
        assert!(store.code(HOME, code_id(2)).await.expect("read").is_none());

        // An id that is taken, and then nothing is done.
        let taken = store.send_code(intake([text(1, 3)]), sending(new()), START).await;
        assert!(matches!(taken, Err(Error::Conflict(_))), "{taken:?}");
        assert_eq!(code_of(&store, 1).await.recipient, number(1));
        assert_eq!(store.codes(HOME, page(9)).await.expect("read").items, [code_of(&store, 1).await]);
    });
}

#[test]
fn the_same_call_is_one_code_and_a_refusal_is_not_remembered() {
    fn keyed(n: i64, recipient: u64) -> Intake {
        let answer: Arc<Render> = Arc::new(|_: &[Admission]| b"the answer".to_vec());
        let idempotency = Some(Idempotency { key: [7; 32], fingerprint: [recipient as u8; 32], answer });
        Intake { idempotency, ..intake([text(n, recipient)]) }
    }
    for_each_backend(|store| async move {
        for n in 0..5 {
            assert_eq!(send(&store, n, 1, START).await, Admission::Admitted);
        }
        let call = |n, now| store.send_code(keyed(n, 1), sending(new()), now);
        assert_eq!(too_fast(admitted(call(10, START).await)), Some(Reason::Number));
        assert_eq!(too_fast(admitted(call(11, at(1)).await)), Some(Reason::Number));
        assert_eq!(admitted(call(12, at(1_000)).await), Admission::Admitted);
        let replayed = call(13, at(1_001)).await.expect("asked");
        assert_eq!(replayed, Accepted::Replayed(b"the answer".to_vec()));
        let reused = store.send_code(keyed(14, 2), sending(new()), at(1_001)).await.expect("asked");
        assert_eq!(reused, Accepted::KeyReused);
        for n in [10, 11, 13, 14] {
            assert!(store.code(HOME, code_id(n)).await.expect("read").is_none(), "{n}");
            assert!(store.message(HOME, id(n)).await.expect("read").is_none(), "{n}");
        }
    });
}

/// Guesses that come at the same moment, over two connections to the same place.
#[test]
fn parallel_guesses_get_five_tries_and_one_right_one_is_enough() {
    for_each_place(|place| async move {
        let (store, other) = (place.open(), place.open());
        send(&store, 1, 1, START).await;
        send(&store, 2, 2, START).await;
        let guess = |n: i64, right: bool, count: usize| {
            let mut all = tokio::task::JoinSet::new();
            for guess in 0..count {
                let store = Arc::clone(if guess % 2 == 0 { &store } else { &other });
                all.spawn(async move { check(&store, n, right, at(1)).await });
            }
            all.join_all()
        };
        let wrong = guess(1, false, 60).await;
        assert_eq!(wrong.iter().filter(|verdict| **verdict == Verdict::Wrong).count(), 5);
        assert_eq!(wrong.iter().filter(|verdict| **verdict == Verdict::Over(Status::Spent)).count(), 55);
        assert_eq!(check(&store, 1, true, at(1)).await, Verdict::Over(Status::Spent));

        let right = guess(2, true, 20).await;
        assert_eq!(right.iter().filter(|verdict| **verdict == Verdict::Right).count(), 1);
        assert_eq!(right.iter().filter(|verdict| **verdict == Verdict::Over(Status::Approved)).count(), 19);
        other.close().await.expect("closed");
        store.close().await.expect("closed");
    });
}

#[test]
fn what_was_tried_and_counted_outlives_the_process() {
    for_each_place(|place| async move {
        let store = place.open();
        for n in 0..5 {
            assert_eq!(send(&store, n, 1, START).await, Admission::Admitted);
        }
        for _ in 0..4 {
            assert_eq!(check(&store, 1, false, START).await, Verdict::Wrong);
        }
        store.close().await.expect("closed");
        let store = place.open();
        let refused = send(&store, 9, 1, at(1)).await;
        assert_eq!(too_fast(refused), Some(Reason::Number));
        assert_eq!(check(&store, 1, false, at(1)).await, Verdict::Wrong);
        assert_eq!(check(&store, 1, true, at(1)).await, Verdict::Over(Status::Spent));
        assert_eq!(check(&store, 2, true, at(1)).await, Verdict::Right);
        store.close().await.expect("closed");
    });
}

#[test]
fn a_code_is_sent_again_to_its_number_when_it_is_time() {
    for_each_backend(|store| async move {
        send(&store, 1, 1, START).await;
        let early = Admission::Refused(Refused::TooEarly(at(30)));
        assert_eq!(again(&store, 1, 2, 1, at(29)).await, early);
        assert_eq!(again(&store, 1, 3, 2, at(30)).await, Admission::Refused(Refused::Unknown));
        assert_eq!(again(&store, 1, 4, 1, at(30)).await, Admission::Admitted);
        let code = code_of(&store, 1).await;
        assert_eq!((code.life.message, code.life.sends, code.life.sent_at), (id(4), 2, at(30)));
        assert_eq!(code.expires_at, at(code::LIFE_S), "it lives no longer for that");
        assert!(store.message(HOME, id(4)).await.expect("read").is_some());
        assert_eq!(check(&store, 1, true, at(31)).await, Verdict::Right);
        let over = Admission::Refused(Refused::Over(Status::Approved));
        assert_eq!(again(&store, 1, 5, 1, at(90)).await, over);
        assert!(store.message(HOME, id(5)).await.expect("read").is_none());
    });
}

#[test]
fn codes_of_one_realm_are_nothing_in_another() {
    for_each_backend(|store| async move {
        send(&store, 1, 1, START).await;
        let test = Realm { environment: Environment::Test, ..HOME };
        let other = Realm { account: AccountId::from_key(2), ..HOME };
        for realm in [test, other] {
            assert!(store.code(realm, code_id(1)).await.expect("read").is_none());
            assert!(store.check_code(realm, code_id(1), true, START).await.expect("asked").is_none());
            assert!(store.cancel_code(realm, code_id(1), START).await.expect("asked").is_none());
            assert!(store.codes(realm, page(9)).await.expect("read").items.is_empty());
        }
        assert_eq!(check(&store, 1, true, START).await, Verdict::Right);
    });
}

#[test]
fn a_code_is_taken_back_while_it_waits() {
    for_each_backend(|store| async move {
        send(&store, 1, 1, START).await;
        let cancel = async |now| {
            let done = store.cancel_code(HOME, code_id(1), now).await.expect("asked").expect("it is there");
            (done.0.status(now), done.1)
        };
        assert_eq!(cancel(START).await, (Status::Canceled, true));
        assert_eq!(cancel(START).await, (Status::Canceled, false));
        assert_eq!(check(&store, 1, true, START).await, Verdict::Over(Status::Canceled));
        assert_eq!(code_of(&store, 1).await.life.wrong, 0);
    });
}

/// Issue of the promise: 200 numbers of one prefix are stopped before 60 codes.
#[test]
fn a_sweep_stops_its_prefix_until_somebody_lifts_that() {
    for_each_place(|place| async move {
        let (one, other) = (place.open(), place.open());
        let mut sent = 0;
        for n in 0..200 {
            let store = if n % 2 == 0 { &one } else { &other };
            match send(store, n, n as u64, at(n)).await {
                Admission::Admitted => sent += 1,
                refused => assert_eq!(too_fast(refused), Some(Reason::Stopped), "{n}"),
            }
        }
        assert!(sent < 60, "{sent} codes");
        let prefix = Prefix::of(number(0));
        let stops = one.stops(HOME, at(200)).await.expect("read");
        assert_eq!((stops.len(), stops[0].prefix, stops[0].count.sends), (1, prefix, sent), "{stops:?}");
        assert_eq!(audited(&one).await.iter().filter(|action| *action == "code.stop").count(), 1);
        // Another prefix of the same country is free.
        assert_eq!(send(&one, 900, 50_000, at(200)).await, Admission::Admitted);

        let lift = one.lift_stop(HOME, prefix, actor(), at(200)).await.expect("asked");
        assert_eq!(lift, Some(stops[0]));
        assert_eq!(one.lift_stop(HOME, prefix, actor(), at(200)).await.expect("asked"), None);
        assert!(other.stops(HOME, at(200)).await.expect("read").is_empty());
        assert_eq!(
            send(&other, 901, 300, at(200)).await,
            Admission::Admitted,
            "and counts from the beginning"
        );
        assert_eq!(audited(&one).await.last().map(String::as_str), Some("code.lift_stop"));
        other.close().await.expect("closed");
        one.close().await.expect("closed");
    });
}

#[test]
fn a_prefix_whose_codes_are_verified_is_not_stopped() {
    for_each_backend(|store| async move {
        for n in 0..150 {
            assert_eq!(send(&store, n, n as u64, at(n)).await, Admission::Admitted, "{n}");
            if n % 4 == 0 {
                assert_eq!(check(&store, n, true, at(n + 1)).await, Verdict::Right);
            }
        }
        assert!(store.stops(HOME, at(150)).await.expect("read").is_empty());
    });
}

#[test]
fn what_is_over_is_forgotten() {
    for_each_backend(|store| async move {
        for n in 0..5 {
            send(&store, n, 1, START).await;
        }
        let sweep = async |now| {
            while store.sweep(KEPT_A_DAY, 2, now).await.expect("swept") {}
        };
        sweep(at(300)).await;
        assert_eq!(too_fast(send(&store, 9, 1, at(300)).await), Some(Reason::Number), "what counts is kept");
        let kept_until = at(code::LIFE_S).plus_ms(code::KEPT_MS);
        sweep(kept_until.plus_ms(-1)).await;
        assert_eq!(code_of(&store, 1).await.status(kept_until), Status::Expired);
        sweep(kept_until).await;
        assert!(store.code(HOME, code_id(1)).await.expect("read").is_none());
    });
}
