//! Turns: how often a person is sent to.

use crate::conversation::remembered;
use crate::samples::*;
use crate::{for_each_backend, for_each_place};
use tidings_domain::account::{Environment, Realm};
use tidings_domain::frequency::{Bound, Caps, Other, Turn, WEEK_MS};
use tidings_domain::id::AccountId;
use tidings_domain::message::{Answer, Input, Message};
use tidings_domain::purpose::Purpose;
use tidings_store::*;

const ONE_A_DAY: Caps = Caps { day: 1, week: 0 };
const DAY_S: i64 = 24 * 3600;

fn asked(message: i64, person: u64) -> AskedTurn {
    let bound = Bound { purposes: vec![Purpose::Marketing], caps: ONE_A_DAY, law: None };
    AskedTurn {
        realm: HOME,
        recipient: number(person),
        message: id(message),
        purpose: Purpose::Marketing,
        bounds: vec![bound],
    }
}

fn bounded(asked: AskedTurn, caps: Caps) -> AskedTurn {
    let bounds = asked.bounds.into_iter().map(|bound| Bound { caps, ..bound }).collect();
    AskedTurn { bounds, ..asked }
}

fn offer_at(seconds: i64) -> Other {
    Other { at: at(seconds), purpose: Purpose::Marketing }
}

#[test]
fn of_messages_to_a_person_as_many_get_a_turn_as_the_caps_leave() {
    for_each_place(|place| async move {
        let store = place.open();
        let take = async |store: &std::sync::Arc<dyn Backend>, asked: Vec<AskedTurn>, caps, seconds| {
            let asked = asked.into_iter().map(|asked| bounded(asked, caps)).collect();
            store.take_turns(asked, at(seconds)).await.expect("answered")
        };
        let full = |seconds: &[i64]| Turn::Full(seconds.iter().map(|seconds| offer_at(*seconds)).collect());
        // One after the other within a call; another person has turns of their own.
        let call = vec![asked(1, 1), asked(2, 1), asked(3, 2)];
        assert_eq!(take(&store, call, ONE_A_DAY, 10).await, [Turn::Taken, full(&[10]), Turn::Taken]);
        store.close().await.expect("closed");
        let store = place.open();
        assert_eq!(take(&store, vec![asked(2, 1)], ONE_A_DAY, 11).await, [full(&[10])]);
        // A message is never in its own way, and has one turn, which moves.
        assert_eq!(take(&store, vec![asked(1, 1)], ONE_A_DAY, 20).await, [Turn::Taken]);
        assert_eq!(take(&store, vec![asked(2, 1)], ONE_A_DAY, DAY_S + 10).await, [full(&[20])]);
        assert_eq!(take(&store, vec![asked(2, 1)], ONE_A_DAY, DAY_S + 20).await, [Turn::Taken]);
        // A week counts what a day forgot.
        let week = Caps { day: 0, week: 2 };
        assert_eq!(take(&store, vec![asked(4, 1)], week, 3 * DAY_S).await, [full(&[20, DAY_S + 20])]);
        assert_eq!(take(&store, vec![asked(4, 1)], week, 7 * DAY_S + 20).await, [Turn::Taken]);
        // A clock that went back does not open what is full.
        assert_eq!(
            take(&store, vec![asked(5, 1)], ONE_A_DAY, 7 * DAY_S).await,
            [full(&[20, DAY_S + 20, 7 * DAY_S + 20])]
        );
        assert_eq!(take(&store, Vec::new(), ONE_A_DAY, 0).await, []);
    });
}

#[test]
fn each_bound_counts_the_purposes_that_it_is_about_and_all_must_leave_room() {
    for_each_place(|place| async move {
        let store = place.open();
        let of = |purposes: &[Purpose], day| Bound {
            purposes: purposes.to_vec(),
            caps: Caps { day, week: 0 },
            law: None,
        };
        let ask = |message, purpose, bounds| AskedTurn { purpose, bounds, ..asked(message, 1) };
        let (offer, alert) = (Purpose::Marketing, Purpose::Alert);
        let both = || vec![of(&[offer], 1), of(&[offer, alert], 2)];
        let alone = || vec![of(&[alert], 1)];
        let take = async |store: &std::sync::Arc<dyn Backend>, asked, seconds| {
            store.take_turns(vec![asked], at(seconds)).await.expect("answered").remove(0)
        };
        assert_eq!(take(&store, ask(1, alert, alone()), 1).await, Turn::Taken);
        // The alert is none of the offers.
        assert_eq!(take(&store, ask(2, offer, both()), 2).await, Turn::Taken);
        store.close().await.expect("closed");
        let store = place.open();
        let full = Turn::Full(vec![Other { at: at(1), purpose: alert }, offer_at(2)]);
        assert_eq!(take(&store, ask(3, offer, both()), 3).await, full);
        assert_eq!(take(&store, ask(4, alert, alone()), 4).await, full);
        // The day of the alert is over, and that of the offer is not.
        assert_eq!(take(&store, ask(4, alert, alone()), DAY_S + 1).await, Turn::Taken);
        assert!(matches!(take(&store, ask(3, offer, both()), DAY_S + 1).await, Turn::Full(_)));
        assert_eq!(take(&store, ask(3, offer, both()), DAY_S + 2).await, Turn::Taken);
    });
}

#[test]
fn turns_belong_to_a_realm() {
    for_each_backend(|store| async move {
        let other = Realm { account: AccountId::from_key(2), ..HOME };
        let test = Realm { environment: Environment::Test, ..HOME };
        let of = |realm, message| AskedTurn { realm, ..asked(message, 1) };
        let call = vec![of(HOME, 1), of(other, 2), of(test, 3), of(HOME, 4)];
        let turns = store.take_turns(call, at(5)).await.expect("answered");
        assert_eq!(turns, [Turn::Taken, Turn::Taken, Turn::Taken, Turn::Full(vec![offer_at(5)])]);
        let people = vec![(HOME, number(1)), (other, number(1)), (test, number(1)), (test, number(2))];
        let moments = store.turns(people, Vec::new(), at(6)).await.expect("read");
        assert_eq!(moments, [vec![offer_at(5)], vec![offer_at(5)], vec![offer_at(5)], vec![]]);
    });
}

#[test]
fn what_was_sent_and_what_waits_is_read_together_and_what_is_old_is_forgotten() {
    for_each_backend(|store| async move {
        let offer = |n: i64, person: u64, due: i64| Message {
            purpose: Purpose::Marketing,
            recipient: number(person),
            send_at: Some(at(due)),
            expires_at: at(due + 7_200),
            ..message(n)
        };
        let alert = Message { purpose: Purpose::Alert, ..offer(3, 1, 70) };
        let strange = Message { environment: Environment::Test, ..offer(4, 1, 80) };
        accept(&store, [offer(1, 1, 100), offer(2, 1, 50), alert, offer(5, 2, 60)]).await;
        let intake = Intake { realm: Realm { environment: Environment::Test, ..HOME }, ..intake([strange]) };
        store.accept(intake, START).await.expect("accepted");
        store.take_turns(vec![asked(9, 1)], at(20)).await.expect("answered");
        let read = async |purposes: Vec<Purpose>, seconds| {
            let people = vec![(HOME, number(1)), (HOME, number(3)), (HOME, number(1))];
            store.turns(people, purposes, at(seconds)).await.expect("read")
        };
        let one = vec![offer_at(20), offer_at(50), offer_at(100)];
        assert_eq!(read(vec![Purpose::Marketing], 30).await, [one.clone(), vec![], one]);
        let alert = Other { at: at(70), purpose: Purpose::Alert };
        let both = vec![offer_at(20), offer_at(50), alert, offer_at(100)];
        assert_eq!(read(vec![Purpose::Marketing, Purpose::Alert], 30).await[0], both);
        assert_eq!(read(Vec::new(), 30).await[0], [offer_at(20)]);
        // What is on its way waits for nothing; it has its turn.
        let claimed = claim_at(&store, at(60)).await;
        assert!(claimed.iter().any(|ticket| ticket.message.id == id(2)));
        assert_eq!(read(vec![Purpose::Marketing], 60).await[0], [offer_at(20), offer_at(100)]);
        let why = failure(tidings_domain::failure::FailureClass::Filtered, false);
        advance(&store, vec![to(id(2), Input::Stopped(why))], at(60)).await;

        let week_s = WEEK_MS / 1_000;
        store.sweep(KEPT_A_DAY, MANY, at(week_s + 19)).await.expect("swept");
        assert_eq!(read(Vec::new(), week_s + 19).await[0], [offer_at(20)]);
        store.sweep(KEPT_A_DAY, MANY, at(week_s + 20)).await.expect("swept");
        assert_eq!(read(Vec::new(), 30).await[0], []);
    });
}

#[test]
fn what_was_taken_for_granted_of_a_message_is_looked_at_where_it_is_accepted() {
    for_each_backend(|store| async move {
        let offer = |n: i64, goes_at: i64| {
            let message = Message { purpose: Purpose::Marketing, recipient: number(1), ..message(n) };
            let bounds = asked(n, 1).bounds;
            let premise = Premise { goes_at: at(goes_at), bounds, others: Vec::new(), quota: None };
            Draft { premise: Some(premise), ..draft(message) }
        };
        let with = |drafts: Vec<Draft>| Intake { drafts, ..intake([]) };
        let keyed = |draft: Draft| Intake { idempotency: Some(remembered(1)), ..with(vec![draft]) };
        assert!(matches!(store.accept(keyed(offer(1, 0)), START).await, Ok(Accepted::New(..))));
        // The first waits, so there is no room beside it for a day; and nothing of the call is done.
        let accepted = store.accept(with(vec![draft(message(2)), offer(3, 5)]), at(5)).await;
        assert_eq!(accepted.expect("asked"), Accepted::Crowded);
        assert!(store.message(HOME, id(2)).await.expect("read").is_none());
        // A repeat under its key is answered by its key.
        assert!(matches!(store.accept(keyed(offer(4, 5)), at(5)).await, Ok(Accepted::Replayed(_))));
        let accepted = store.accept(with(vec![offer(5, DAY_S)]), at(6)).await;
        assert!(matches!(accepted, Ok(Accepted::New(..))), "{accepted:?}");
        // What the same call sends counts.
        let mut second = offer(6, 3 * DAY_S);
        second.premise.as_mut().expect("it has one").others.push(offer_at(3 * DAY_S - 1));
        assert_eq!(store.accept(with(vec![second]), at(7)).await.expect("asked"), Accepted::Crowded);
        // The purposes that no bound counts do not.
        let alert = Message { purpose: Purpose::Alert, recipient: number(2), ..message(7) };
        accept(&store, [alert]).await;
        let mut other = offer(8, 8);
        other.message.recipient = number(2);
        let accepted = store.accept(with(vec![other]), at(8)).await;
        assert!(matches!(accepted, Ok(Accepted::New(..))), "{accepted:?}");
    });
}

/// It was not sent, and will be.
#[test]
fn a_message_that_comes_back_to_its_queue_counts_once() {
    for_each_backend(|store| async move {
        let offer = Message { purpose: Purpose::Marketing, recipient: number(1), ..message(1) };
        accept(&store, [offer]).await;
        let ticket = claim_at(&store, at(5)).await.remove(0);
        store.take_turns(vec![asked(1, 1)], at(5)).await.expect("answered");
        let throttled = failure(tidings_domain::failure::FailureClass::RateLimited, true);
        let answer = Answer::Refused(throttled);
        let input = Input::Answered { attempt: ticket.attempt, segment: 0, answer };
        let advanced = advance(&store, vec![to(id(1), input)], at(6)).await;
        let [(_, comes_up)] = advanced.queued[..] else { panic!("not in its queue: {advanced:?}") };
        let read = async |purposes: Vec<Purpose>| {
            store.turns(vec![(HOME, number(1))], purposes, at(7)).await.expect("read").remove(0)
        };
        let other = Other { at: comes_up, purpose: Purpose::Marketing };
        assert_eq!(read(vec![Purpose::Marketing]).await, [other]);
        assert_eq!(read(Vec::new()).await, [offer_at(5)], "nobody asked for what waits");
    });
}

#[test]
fn of_many_that_ask_at_once_one_has_the_turn() {
    for_each_backend(|store| async move {
        let asking = (0..40).map(|n| {
            let store = std::sync::Arc::clone(&store);
            tokio::spawn(async move { store.take_turns(vec![asked(n, 1)], at(n)).await })
        });
        let asking: Vec<_> = asking.collect();
        let mut taken = 0;
        for asking in asking {
            let turns = asking.await.expect("no panic").expect("answered");
            taken += usize::from(turns == [Turn::Taken]);
        }
        assert_eq!(taken, 1);
    });
}
