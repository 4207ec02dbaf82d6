//! Numbers at which nothing arrives any more: when they go on the suppression list, and what takes them off it.

use crate::samples::*;
use crate::suppression::entry;
use crate::{for_each_backend, for_each_place};
use std::sync::Arc;
use tidings_domain::account::{Environment, Realm};
use tidings_domain::failure::{Failure, FailureClass};
use tidings_domain::id::*;
use tidings_domain::message::{Input, Life, Message, Outcome, Rules, Status};
use tidings_domain::purpose::Purpose;
use tidings_domain::reachability::Policy;
use tidings_domain::retry::{Jitter, RetryPolicy};
use tidings_domain::suppression::Reason;
use tidings_domain::time::Timestamp;
use tidings_store::*;

/// Three messages over ten days; for ninety.
const POLICY: Policy = Policy { messages: 3, over_ms: 10 * DAY_MS, for_ms: 90 * DAY_MS };
const NEIGHBOUR: Realm = Realm { account: AccountId::from_key(2), environment: Environment::Live };
const TRIAL: Realm = Realm { environment: Environment::Test, ..HOME };

/// The number of the sample person, who also writes.
const PERSON: u64 = 7;

fn day(n: i64) -> Timestamp {
    START.plus_ms(n * DAY_MS)
}

fn absent() -> Option<Outcome> {
    let failure = Failure::new(FailureClass::UnknownError, true, "gsm-map 27", "absent subscriber");
    Some(Outcome::Undelivered(Failure { unreached: true, ..failure }))
}

async fn advance_by(store: &Arc<dyn Backend>, rules: Option<Policy>, what: Vec<Happening>, now: Timestamp) {
    let rules = Patience { unreachable: rules, ..patience() };
    store.advance(what, now, rules).await.expect("advanced");
}

/// Lets the message `n` come back from a phone of its own.
pub async fn have_one(store: &Arc<dyn Backend>, n: i64, now: Timestamp) {
    let message = Message { created_at: now, expires_at: now.plus_ms(2 * HOUR_MS), ..message(n) };
    let (id, recipient) = (message.id, message.recipient);
    let rules = Rules { retry: &RetryPolicy::default(), jitter: Jitter(0) };
    let waiting = Life::queued(1, now, None);
    let claimed = waiting.apply(Input::Claimed, message.terms(), now, rules).expect("it waits").life;
    let intake = Intake { drafts: vec![Draft::new(message, claimed)], ..intake([]) };
    store.accept(intake, now).await.expect("accepted");
    let name = format!("silent-{n}");
    let what = vec![taken(id, 1, 0, &name), reported(receipt(&name, recipient, absent()))];
    advance_by(store, Some(POLICY), what, now).await;
}

/// Sends the message `n` to the person from this realm then; its carrier takes it.
async fn send_from(store: &Arc<dyn Backend>, realm: Realm, n: i64, now: Timestamp) -> MessageId {
    let message = Message {
        account: realm.account,
        environment: realm.environment,
        recipient: number(PERSON),
        created_at: now,
        expires_at: now.plus_ms(2 * HOUR_MS),
        ..message(n)
    };
    let id = message.id;
    let accepted = store.accept(Intake { realm, ..intake([message]) }, now).await.expect("accepted");
    assert_eq!(accepted, Accepted::New(vec![Admission::Admitted], Box::default()), "{n}");
    assert_eq!(claim_at(store, now).await.len(), 1);
    advance_by(store, Some(POLICY), vec![taken(id, 1, 0, &format!("c{n}"))], now).await;
    id
}

fn receipt_of(n: i64, outcome: Option<Outcome>) -> Happening {
    reported(receipt(&format!("c{n}"), number(PERSON), outcome))
}

async fn ends_from(store: &Arc<dyn Backend>, realm: Realm, n: i64, outcome: Option<Outcome>, now: Timestamp) {
    send_from(store, realm, n, now).await;
    advance_by(store, Some(POLICY), vec![receipt_of(n, outcome)], now).await;
}

/// Sends the message `n` to the person, and it ends so.
async fn ends(store: &Arc<dyn Backend>, n: i64, outcome: Option<Outcome>, now: Timestamp) {
    ends_from(store, HOME, n, outcome, now).await;
}

async fn listed_in(store: &Arc<dyn Backend>, realm: Realm, now: Timestamp) -> Option<Reason> {
    store.suppressed(vec![(realm, number(PERSON))], now).await.expect("read")[0].account
}

async fn listed(store: &Arc<dyn Backend>, now: Timestamp) -> Option<Reason> {
    listed_in(store, HOME, now).await
}

async fn history(store: &Arc<dyn Backend>) -> Vec<Suppression> {
    store.suppressions(HOME, SuppressionFilter::all_of(number(PERSON)), page(MANY)).await.expect("read").items
}

#[test]
fn a_number_that_nothing_reached_for_long_goes_on_the_list_for_a_while() {
    for_each_backend(|store| async move {
        for (n, on) in [(1, 0), (2, 5), (3, 9)] {
            ends(&store, n, absent(), day(on)).await;
            assert_eq!(listed(&store, day(on)).await, None, "{n}");
        }
        // That of another account, and that of the test environment, are of their own.
        ends_from(&store, NEIGHBOUR, 10, absent(), day(10)).await;
        ends_from(&store, TRIAL, 11, absent(), day(10)).await;
        ends(&store, 4, absent(), day(10)).await;
        assert_eq!(listed(&store, day(10)).await, Some(Reason::Unreachable));
        assert_eq!(listed_in(&store, NEIGHBOUR, day(10)).await, None);
        assert_eq!(listed_in(&store, TRIAL, day(10)).await, None);

        let all = history(&store).await;
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].source, format!("{} 4 in a row since 2026-01-01T00:00:00.000Z", id(4)));
        assert_eq!((all[0].created_at, all[0].expires_at), (day(10), Some(day(100))));
        assert_eq!(all[0].programme, None);
        let trail = store.audit(HOME.account, page(MANY)).await.expect("the trail").items;
        assert_eq!((trail[0].action.as_str(), trail[0].who.as_str()), ("suppression.add", "reachability"));
        // What is told of the message is what its carrier said.
        let why = stored(&store, id(4)).await.failure.expect("it failed");
        assert_eq!((why.code.as_str(), why.unreached), ("gsm-map 27", false));

        let refused = store.accept(intake([Message { recipient: number(PERSON), ..message(5) }]), day(11));
        let expected = vec![Admission::Suppressed(Reason::Unreachable.into())];
        assert_eq!(refused.await.expect("refused"), Accepted::New(expected, Box::default()));
        // It is tried again: one message more that comes back is one more of those in a row.
        assert_eq!(listed(&store, day(100)).await, None);
        ends(&store, 6, absent(), day(100)).await;
        assert_eq!(listed(&store, day(100)).await, Some(Reason::Unreachable));
        let all = history(&store).await;
        assert_eq!(all[1].lifted, Some((day(100), "expired".to_owned())));
        assert_eq!(all[0].expires_at, Some(day(190)));
    });
}

#[test]
fn only_what_says_that_the_phone_could_not_be_reached_counts() {
    for_each_backend(|store| async move {
        let network = Failure::new(FailureClass::UnknownError, true, "gsm-map 34", "system failure");
        let outcomes = [
            Some(Outcome::Undelivered(network.clone())),
            Some(Outcome::Expired(network.clone())),
            Some(Outcome::Unknown(failure(FailureClass::UnknownError, false))),
            Some(Outcome::Rejected(failure(FailureClass::Filtered, false))),
        ];
        for (n, outcome) in outcomes.into_iter().enumerate() {
            ends(&store, 1 + n as i64, outcome, day(20 * n as i64)).await;
        }
        // Nobody answered, or it was taken back, or its time was over here.
        let lost = send_from(&store, HOME, 20, day(100)).await;
        wake(&store, day(130)).await;
        assert_eq!(status(&store, lost).await, Status::Unconfirmed);
        // These two and none of the others: the row began with the first of them.
        ends(&store, 30, absent(), day(200)).await;
        ends(&store, 31, absent(), day(220)).await;
        assert_eq!(listed(&store, day(220)).await, None);
        assert!(history(&store).await.is_empty());
    });
}

#[test]
fn whoever_was_reached_or_heard_starts_anew() {
    for_each_backend(|store| async move {
        ends(&store, 1, absent(), day(0)).await;
        ends(&store, 2, absent(), day(20)).await;
        ends(&store, 3, Some(Outcome::Delivered), day(21)).await;
        ends(&store, 4, absent(), day(40)).await;
        ends(&store, 5, absent(), day(60)).await;
        assert_eq!(listed(&store, day(60)).await, None, "two since something was delivered");
        receive(&store, vec![arrival(900, "hello", day(61))], day(61)).await;
        ends(&store, 6, absent(), day(80)).await;
        ends(&store, 7, absent(), day(81)).await;
        assert_eq!(listed(&store, day(81)).await, None, "two since the person wrote");
        // What the person sends in parts counts once it is told.
        receive(&store, vec![part(910, (1, 2, 1), "half", day(82))], day(82)).await;
        give_up(&store, day(83)).await;
        ends(&store, 8, absent(), day(95)).await;
        assert_eq!(listed(&store, day(95)).await, None);
        ends(&store, 9, absent(), day(96)).await;
        ends(&store, 10, absent(), day(106)).await;
        assert_eq!(listed(&store, day(106)).await, Some(Reason::Unreachable));
    });
}

#[test]
fn a_receipt_that_comes_late_takes_a_number_off_the_list() {
    for_each_backend(|store| async move {
        send_from(&store, HOME, 1, day(0)).await;
        for (n, on) in [(2, 0), (3, 5), (4, 10)] {
            ends(&store, n, absent(), day(on)).await;
        }
        assert_eq!(listed(&store, day(10)).await, Some(Reason::Unreachable));
        advance_by(&store, Some(POLICY), vec![receipt_of(1, Some(Outcome::Delivered))], day(10)).await;
        assert_eq!(listed(&store, day(10)).await, None);
        let lifted = history(&store).await[0].lifted.clone();
        assert_eq!(lifted, Some((day(10), format!("{} was delivered", id(1)))));
        ends(&store, 5, absent(), day(30)).await;
        assert_eq!(listed(&store, day(30)).await, None, "it starts anew");
    });
}

#[test]
fn a_code_that_arrives_takes_a_number_off_the_list() {
    for_each_backend(|store| async move {
        for (n, on) in [(1, 0), (2, 5), (3, 10)] {
            ends(&store, n, absent(), day(on)).await;
        }
        let code = Message {
            purpose: Purpose::Authentication,
            recipient: number(PERSON),
            created_at: day(20),
            expires_at: day(21),
            ..message(4)
        };
        let accepted = store.accept(intake([code]), day(20)).await.expect("accepted");
        assert_eq!(accepted, Accepted::New(vec![Admission::Admitted], Box::default()));
        // What waits for the number is not ended either.
        let ended = store.stop_waiting(vec![(HOME, number(PERSON))], MANY, day(20)).await.expect("looked");
        assert!(ended.counted.is_empty());
        assert_eq!(claim_at(&store, day(20)).await.len(), 1);
        assert_eq!(listed(&store, day(20)).await, Some(Reason::Unreachable));
        let receipts = vec![taken(id(4), 1, 0, "c4"), receipt_of(4, Some(Outcome::Delivered))];
        advance_by(&store, Some(POLICY), receipts, day(20)).await;
        assert_eq!(listed(&store, day(20)).await, None);
    });
}

#[test]
fn what_is_delivered_takes_off_the_list_whoever_put_the_number_there() {
    for_each_backend(|store| async move {
        send_from(&store, HOME, 1, day(0)).await;
        let by_hand = Suppression { created_at: day(1), ..entry(1, PERSON, Reason::Unreachable) };
        store.suppress(vec![by_hand], actor()).await.expect("added");
        assert_eq!(listed(&store, day(1)).await, Some(Reason::Unreachable));
        advance_by(&store, Some(POLICY), vec![receipt_of(1, Some(Outcome::Delivered))], day(2)).await;
        assert_eq!(listed(&store, day(2)).await, None);
    });
}

#[test]
fn whoever_lifts_the_entry_begins_the_row_anew() {
    for_each_backend(|store| async move {
        for (n, on) in [(1, 0), (2, 5), (3, 10)] {
            ends(&store, n, absent(), day(on)).await;
        }
        assert_eq!(listed(&store, day(10)).await, Some(Reason::Unreachable));
        let lifted = store.lift(HOME, number(PERSON), None, "asked".into(), actor(), day(11)).await;
        assert!(lifted.expect("lifted").is_some());
        ends(&store, 4, absent(), day(30)).await;
        ends(&store, 5, absent(), day(45)).await;
        assert_eq!(listed(&store, day(45)).await, None, "two since");
        ends(&store, 6, absent(), day(46)).await;
        assert_eq!(listed(&store, day(46)).await, Some(Reason::Unreachable));
    });
}

#[test]
fn who_writes_is_not_dead_for_any_account_and_takes_nothing_else_back() {
    for_each_backend(|store| async move {
        let in_realm = |n, realm, reason| Suppression { realm, ..entry(n, PERSON, reason) };
        let entries = vec![
            in_realm(1, HOME, Reason::Unreachable),
            in_realm(2, NEIGHBOUR, Reason::Unreachable),
            in_realm(3, TRIAL, Reason::Unreachable),
            Suppression {
                programme: tidings_domain::programme::Name::parse("news"),
                ..in_realm(4, HOME, Reason::OptedOut)
            },
            in_realm(5, Realm { account: AccountId::from_key(3), ..HOME }, Reason::Manual),
            in_realm(6, Realm { account: AccountId::from_key(4), ..HOME }, Reason::InvalidNumber),
            in_realm(7, Realm { account: AccountId::from_key(5), ..HOME }, Reason::OptedOut),
        ];
        store.suppress(entries, actor()).await.expect("added");
        receive(&store, vec![arrival(900, "hello", at(1))], at(1)).await;
        assert_eq!(listed(&store, at(1)).await, None);
        assert_eq!(listed_in(&store, NEIGHBOUR, at(1)).await, None);
        assert_eq!(listed_in(&store, TRIAL, at(1)).await, Some(Reason::Unreachable));
        for (account, reason) in [(3, Reason::Manual), (4, Reason::InvalidNumber), (5, Reason::OptedOut)] {
            let realm = Realm { account: AccountId::from_key(account), ..HOME };
            assert_eq!(listed_in(&store, realm, at(1)).await, Some(reason));
        }
        let standing = store.suppressed(vec![(HOME, number(PERSON))], at(1)).await.expect("read");
        assert_eq!(standing[0].strongest(), Some(Reason::OptedOut), "that of the programme stays");
        let lifted =
            history(&store).await.into_iter().find(|entry| entry.id.key() == 1).expect("kept").lifted;
        assert_eq!(lifted, Some((at(1), format!("{} was received", InboundId::from_key(900)))));
        // Both in the trail, each in that of its account.
        let line = &store.audit(NEIGHBOUR.account, page(1)).await.expect("the trail").items[0];
        assert_eq!((line.action.as_str(), line.who.as_str()), ("suppression.lift", "reachability"));
    });
}

#[test]
fn who_says_stop_from_a_dead_number_is_out_and_stays_out() {
    for_each_backend(|store| async move {
        for (n, on) in [(1, 0), (2, 5), (3, 10)] {
            ends(&store, n, absent(), day(on)).await;
        }
        assert_eq!(listed(&store, day(10)).await, Some(Reason::Unreachable));
        // One that is on its way comes back later.
        receive(&store, vec![arrival(900, "STOP", day(11))], day(11)).await;
        assert_eq!(listed(&store, day(11)).await, Some(Reason::OptedOut));
        receive(&store, vec![arrival(901, "hello again", day(12))], day(12)).await;
        assert_eq!(listed(&store, day(900)).await, Some(Reason::OptedOut));
    });
}

#[test]
fn an_opt_out_gives_way_to_no_silence() {
    for_each_backend(|store| async move {
        for n in 1..=3 {
            send_from(&store, HOME, n, day(0)).await;
        }
        store.suppress(vec![entry(1, PERSON, Reason::OptedOut)], actor()).await.expect("added");
        for n in 1..=3 {
            advance_by(&store, Some(POLICY), vec![receipt_of(n, absent())], day(20 * n)).await;
        }
        assert_eq!(listed(&store, day(60)).await, Some(Reason::OptedOut));
        assert_eq!(history(&store).await.len(), 1);
    });
}

#[test]
fn what_is_not_asked_for_is_not_counted_and_what_is_old_is_forgotten() {
    for_each_backend(|store| async move {
        let sweep = async |now| store.sweep(Retention::FOR_EVER, 1, now).await.expect("swept");
        for n in 1..=2 {
            send_from(&store, HOME, n, day(0)).await;
            advance_by(&store, None, vec![receipt_of(n, absent())], day(0)).await;
        }
        ends(&store, 3, absent(), day(20)).await;
        assert_eq!(listed(&store, day(20)).await, None, "the first two did not count");
        // What still counts is kept: ten days and ninety after its last message.
        assert!(!sweep(day(120)).await);
        ends(&store, 4, absent(), day(119)).await;
        ends(&store, 5, absent(), day(120)).await;
        assert_eq!(listed(&store, day(120)).await, Some(Reason::Unreachable));

        assert!(sweep(day(221)).await, "there may be more");
        assert!(!sweep(day(221)).await);
        ends(&store, 6, absent(), day(221)).await;
        assert_eq!(listed(&store, day(221)).await, None, "it starts anew");
        // What is over and was not forgotten yet counts for nothing either.
        ends(&store, 7, absent(), day(400)).await;
        ends(&store, 8, absent(), day(409)).await;
        assert_eq!(listed(&store, day(409)).await, None);
    });
}

#[test]
fn what_is_delivered_takes_off_the_list_also_where_nothing_is_counted_any_more() {
    for_each_backend(|store| async move {
        for n in 1..=2 {
            send_from(&store, HOME, n, day(0)).await;
        }
        // One that ends by itself, and one that never does, longer than any row of messages counts.
        for (n, ends) in [(1, Some(day(500))), (2, None)] {
            let by_hand =
                Suppression { created_at: day(1), expires_at: ends, ..entry(n, PERSON, Reason::Unreachable) };
            store.suppress(vec![by_hand], actor()).await.expect("added");
            assert!(!store.sweep(Retention::FOR_EVER, 9, day(400)).await.expect("swept"));
            assert_eq!(listed(&store, day(400)).await, Some(Reason::Unreachable));
            advance_by(&store, None, vec![receipt_of(n, Some(Outcome::Delivered))], day(400)).await;
            assert_eq!(listed(&store, day(400)).await, None, "{n}");
        }
    });
}

#[test]
fn a_silence_is_known_to_whoever_opens_the_store() {
    for_each_place(|place| async move {
        let store = place.open();
        // It has looked, and found none.
        ends(&store, 1, Some(Outcome::Delivered), day(0)).await;
        let other = place.open();
        ends(&other, 2, absent(), day(1)).await;
        ends(&other, 3, absent(), day(2)).await;
        ends(&store, 4, Some(Outcome::Delivered), day(3)).await;
        ends(&other, 5, absent(), day(20)).await;
        assert_eq!(listed(&store, day(20)).await, None, "something was delivered in between");
        ends(&store, 6, absent(), day(21)).await;
        drop((store, other));

        let store = place.open();
        ends(&store, 7, absent(), day(30)).await;
        assert_eq!(listed(&store, day(30)).await, Some(Reason::Unreachable));
    });
}
