//! Telling customers: deliveries, attempts, endpoints, replays, and the feed.

use crate::samples::*;
use crate::{for_each_backend, for_each_place};
use std::sync::Arc;
use tidings_domain::account::{Environment, Realm};
use tidings_domain::event::Kind;
use tidings_domain::id::*;
use tidings_domain::keyword::Class;
use tidings_domain::message::{Input, Message};
use tidings_domain::time::Timestamp;
use tidings_domain::webhook::Verdict;
use tidings_store::*;

const LEASE: i64 = 30_000;
/// When the lease of a first try is over for certain.
const LATER: i64 = 3_600;

fn attempt(told: &Told, now: Timestamp, verdict: Verdict) -> Attempt {
    let delivery = told.delivery.expect("it is on its way");
    Attempt {
        seq: 0,
        realm: told.realm,
        event: told.id,
        message: match &told.about {
            About::Message(message) => Some(message.id),
            About::Inbound(_) | About::Test => None,
        },
        endpoint: delivery.endpoint,
        lease: delivery.due_at,
        number: delivery.tries + 1,
        at: now,
        took_ms: 12,
        status: Some(500),
        request: String::new(),
        response: "oh".into(),
        verdict,
    }
}

/// One endpoint, and events that it must be told: a message is accepted and canceled for each.
async fn canceled(store: &Arc<dyn Backend>, numbers: std::ops::Range<i64>, now: Timestamp) -> Vec<Told> {
    accept(store, numbers.clone().map(message)).await;
    advance(store, numbers.map(|n| to(id(n), Input::Cancel)).collect(), now).await.told
}

/// What is due at every endpoint.
async fn claimed(store: &Arc<dyn Backend>, now: Timestamp) -> Vec<Told> {
    let wanted = store.due_endpoints().await.expect("read").into_iter().map(|(id, _)| (id, MANY)).collect();
    store.claim_deliveries(wanted, LEASE, now).await.expect("claimed")
}

#[test]
fn an_event_is_handed_over_with_its_commit_and_comes_back_if_nobody_answers() {
    for_each_backend(|store| async move {
        store.create_endpoint(endpoint(1), actor()).await.expect("created");
        let told = canceled(&store, 0..1, START).await;
        assert_eq!((told.len(), told[0].event.kind), (1, Kind::Canceled));
        let About::Message(about) = &told[0].about else { panic!("{told:?}") };
        assert_eq!((about.id, &about.text), (id(0), &None));
        assert!(claimed(&store, at(1)).await.is_empty(), "it is leased");
        let again = claimed(&store, at(LATER)).await;
        assert_eq!((again.len(), again[0].id), (1, told[0].id));
        assert!(claimed(&store, at(LATER)).await.is_empty(), "it is leased again");
    });
}

/// P-23
#[test]
fn a_restart_makes_handed_over_deliveries_due_at_once() {
    for_each_place(|place| async move {
        let store = place.open();
        store.create_endpoint(endpoint(1), actor()).await.expect("created");
        canceled(&store, 0..3, START).await;
        store.close().await.expect("closed");
        let store = place.open();
        assert_eq!(store.release_deliveries(at(1)).await.expect("released"), 3);
        assert_eq!(claimed(&store, at(1)).await.len(), 3);
        store.close().await.expect("closed");
    });
}

#[test]
fn deliveries_are_claimed_by_one_only_and_only_for_endpoints_that_are_named() {
    for_each_backend(|store| async move {
        for n in 1..=2 {
            store.create_endpoint(endpoint(n), actor()).await.expect("created");
        }
        canceled(&store, 0..50, START).await;
        let wanted = vec![(EndpointId::from_key(2), 10)];
        let claims: Vec<_> = (0..8)
            .map(|_| {
                let (store, wanted) = (Arc::clone(&store), wanted.clone());
                tokio::spawn(async move {
                    store.claim_deliveries(wanted, LEASE, at(LATER)).await.expect("claimed")
                })
            })
            .collect();
        let mut seen = std::collections::HashSet::new();
        for claim in claims {
            for told in claim.await.expect("no panic") {
                assert_eq!(told.delivery.expect("leased").endpoint, EndpointId::from_key(2));
                assert!(seen.insert(told.id));
            }
        }
        assert_eq!(seen.len(), 50);
        assert_eq!(claimed(&store, at(LATER)).await.len(), 50, "those of the other");
    });
}

#[test]
fn a_delivery_that_is_given_back_is_due_at_once_and_one_that_was_settled_is_left_alone() {
    for_each_backend(|store| async move {
        store.create_endpoint(endpoint(1), actor()).await.expect("created");
        let told = canceled(&store, 0..2, START).await;
        let leased: Vec<_> = told.iter().map(|told| told.delivery.expect("it is leased")).collect();
        store.record_attempts(vec![attempt(&told[0], at(1), Verdict::Done)], at(1)).await.expect("recorded");
        store.give_back_deliveries(leased, at(2)).await.expect("given back");
        let again = claimed(&store, at(2)).await;
        assert_eq!((again.len(), again[0].id), (1, told[1].id));
    });
}

#[test]
fn each_endpoint_with_open_deliveries_is_listed_with_its_earliest() {
    for_each_backend(|store| async move {
        for n in 1..=3 {
            store.create_endpoint(endpoint(n), actor()).await.expect("created");
        }
        let told = canceled(&store, 0..2, START).await;
        let of =
            |n: i64| told.iter().filter(move |told| told.delivery.is_some_and(|d| d.endpoint.key() == n));
        let mut attempts: Vec<_> = of(1).map(|told| attempt(told, at(1), Verdict::RetryAt(at(90)))).collect();
        attempts.extend(of(2).map(|told| attempt(told, at(1), Verdict::Done)));
        store.record_attempts(attempts, at(1)).await.expect("recorded");
        let leased_until = of(3).next().and_then(|told| told.delivery).expect("it is leased").due_at;
        let wanted = [(EndpointId::from_key(1), at(90)), (EndpointId::from_key(3), leased_until)];
        assert_eq!(store.due_endpoints().await.expect("read"), wanted);
    });
}

/// P-23
#[test]
fn each_verdict_does_what_it_says() {
    for_each_backend(|store| async move {
        store.create_endpoint(endpoint(1), actor()).await.expect("created");
        let told = canceled(&store, 0..3, START).await;
        let verdicts = [Verdict::Done, Verdict::RetryAt(at(90)), Verdict::Dead];
        let attempts: Vec<_> =
            told.iter().zip(verdicts).map(|(told, verdict)| attempt(told, at(1), verdict)).collect();
        store.record_attempts(attempts, at(1)).await.expect("recorded");
        assert_eq!(store.due_endpoints().await.expect("read"), [(EndpointId::from_key(1), at(90))]);
        assert!(claimed(&store, at(89)).await.is_empty());
        let retried = claimed(&store, at(90)).await;
        assert_eq!((retried.len(), retried[0].id), (1, told[1].id));
        assert_eq!(retried[0].delivery.expect("leased").tries, 1);
        store
            .record_attempts(vec![attempt(&retried[0], at(90), Verdict::Done)], at(90))
            .await
            .expect("recorded");
        assert!(claimed(&store, at(100 * LATER)).await.is_empty());
        let log = store.attempts(HOME, EndpointId::from_key(1), page(9)).await.expect("read").items;
        let mut told_of: Vec<_> =
            log.iter().map(|attempt| (attempt.message, attempt.number, attempt.verdict)).collect();
        told_of.sort_by_key(|(message, number, _)| (*message, *number));
        let expected = [
            (Some(id(0)), 1, Verdict::Done),
            (Some(id(1)), 1, Verdict::RetryAt(at(90))),
            (Some(id(1)), 2, Verdict::Done),
            (Some(id(2)), 1, Verdict::Dead),
        ];
        assert_eq!(told_of, expected);
        let timeline = store.timeline(HOME, id(1)).await.expect("read").expect("there");
        assert_eq!((timeline.attempts.len(), timeline.deliveries.len()), (2, 0));
    });
}

#[test]
fn a_late_result_does_not_undo_what_a_later_try_holds() {
    for_each_backend(|store| async move {
        store.create_endpoint(endpoint(1), actor()).await.expect("created");
        let first = canceled(&store, 0..1, START).await;
        let second = claimed(&store, at(LATER)).await;
        store
            .record_attempts(vec![attempt(&first[0], at(LATER), Verdict::Dead)], at(LATER))
            .await
            .expect("recorded");
        let open = store.timeline(HOME, id(0)).await.expect("read").expect("there").deliveries;
        assert_eq!(
            open.iter().map(|delivery| delivery.due_at).collect::<Vec<_>>(),
            [second[0].delivery.expect("leased").due_at]
        );
    });
}

#[test]
fn an_endpoint_that_is_gone_is_switched_off() {
    for_each_backend(|store| async move {
        store.create_endpoint(endpoint(1), actor()).await.expect("created");
        let told = canceled(&store, 0..2, START).await;
        store.record_attempts(vec![attempt(&told[0], at(1), Verdict::Gone)], at(1)).await.expect("recorded");
        assert!(store.endpoints(Some(HOME)).await.expect("read")[0].disabled.is_some());
        assert!(claimed(&store, at(LATER)).await.is_empty());
        assert!(canceled(&store, 5..6, at(2)).await.is_empty(), "it hears of nothing new");
        let again = Endpoint { disabled: None, ..endpoint(1) };
        assert!(store.update_endpoint(again, actor(), at(3)).await.expect("updated"));
        assert_eq!(canceled(&store, 6..7, at(4)).await.len(), 1);
    });
}

/// P-23
#[test]
fn an_endpoint_that_fails_for_five_days_is_switched_off_unless_it_answers_once() {
    for_each_backend(|store| async move {
        for recovers in [true, false] {
            let n = i64::from(recovers) + 1;
            store.create_endpoint(endpoint(n), actor()).await.expect("created");
            let told = canceled(&store, n * 10..n * 10 + 3, START).await;
            let told: Vec<_> =
                told.iter().filter(|told| told.delivery.is_some_and(|d| d.endpoint.key() == n)).collect();
            let day = |days: i64| START.plus_ms(days * DAY_MS);
            let record =
                |told: &Told, now, verdict| store.record_attempts(vec![attempt(told, now, verdict)], now);
            record(told[0], day(0), Verdict::RetryAt(day(4))).await.expect("recorded");
            if recovers {
                record(told[1], day(3), Verdict::Done).await.expect("recorded");
            }
            record(told[2], day(6), Verdict::Dead).await.expect("recorded");
            let found = store.endpoints(Some(HOME)).await.expect("read");
            let found = found.iter().find(|found| found.id.key() == n).expect("there");
            assert_eq!(found.disabled.is_none(), recovers);
        }
    });
}

#[test]
fn an_endpoint_hears_of_its_realm_its_kinds_and_its_own_messages() {
    for_each_backend(|store| async move {
        let test = Realm { environment: Environment::Test, ..HOME };
        let all = [
            endpoint(1),
            Endpoint { kinds: Kind::Delivered.bit(), ..endpoint(2) },
            Endpoint { realm: test, ..endpoint(3) },
            Endpoint { disabled: Some("by hand".into()), ..endpoint(4) },
        ];
        for one in all {
            store.create_endpoint(one, actor()).await.expect("created");
        }
        let own = Endpoint { callback_only: true, ..endpoint(5) };
        let own = store.callback_endpoint(own).await.expect("made");
        let same = Endpoint { callback_only: true, url: endpoint(5).url, ..endpoint(6) };
        assert_eq!(store.callback_endpoint(same).await.expect("found"), own);
        let sent_id = sent(&store, Message { callback: Some(own), ..message(1) }, "a").await;
        let told = advance(&store, vec![delivered("a-0", number(1))], at(1)).await.told;
        let mut hear: Vec<_> =
            told.iter().map(|told| told.delivery.expect("leased").endpoint.key()).collect();
        hear.sort_unstable();
        assert_eq!(hear, [1, 2, 5]);
        let told = canceled(&store, 7..8, at(1)).await;
        assert_eq!(
            told.iter().map(|told| told.delivery.expect("leased").endpoint.key()).collect::<Vec<_>>(),
            [1]
        );
        assert_eq!(store.timeline(HOME, sent_id).await.expect("read").expect("there").deliveries.len(), 5);
    });
}

#[test]
fn a_deleted_endpoint_takes_its_open_deliveries_along() {
    for_each_backend(|store| async move {
        store.create_endpoint(endpoint(1), actor()).await.expect("created");
        canceled(&store, 0..3, START).await;
        let id = EndpointId::from_key(1);
        let test = Realm { environment: Environment::Test, ..HOME };
        assert!(!store.delete_endpoint(test, id, actor(), at(1)).await.expect("asked"));
        assert!(store.delete_endpoint(HOME, id, actor(), at(1)).await.expect("deleted"));
        assert!(!store.delete_endpoint(HOME, id, actor(), at(1)).await.expect("asked"));
        assert_eq!(store.due_endpoints().await.expect("read"), []);
        assert_eq!(audited(&store).await, ["webhook.create", "webhook.delete"]);
    });
}

/// P-23
#[test]
fn events_are_told_again_one_or_by_time() {
    for_each_backend(|store| async move {
        store.create_endpoint(endpoint(1), actor()).await.expect("created");
        let whom = EndpointId::from_key(1);
        let mut events = Vec::new();
        for n in 0..5 {
            let told = canceled(&store, n..n + 1, at(n)).await;
            store
                .record_attempts(vec![attempt(&told[0], at(n), Verdict::Dead)], at(n))
                .await
                .expect("recorded");
            events.push(told[0].id);
        }
        let replay = |what, limit| store.replay(HOME, whom, what, limit, actor(), at(100));
        assert_eq!(replay(Replay::One(events[3]), MANY).await.expect("replayed"), Some(1));
        let told = claimed(&store, at(100)).await;
        assert_eq!(told.iter().map(|told| told.id).collect::<Vec<_>>(), [events[3]]);
        assert_eq!(told[0].delivery.expect("leased").tries, 1, "tries go on from the log");
        assert_eq!(replay(Replay::Range(at(1), at(4)), MANY).await.expect("replayed"), Some(3));
        let told = claimed(&store, at(100)).await;
        assert_eq!(told.iter().map(|told| told.id).collect::<Vec<_>>(), events[1..4]);
        assert_eq!(replay(Replay::Range(at(0), at(9)), 2).await.expect("replayed"), Some(2));
        assert_eq!(replay(Replay::One(EventId::from_key(999)), MANY).await.expect("asked"), Some(0));
        let nobody = EndpointId::from_key(9);
        assert_eq!(
            store.replay(HOME, nobody, Replay::One(events[0]), 9, actor(), at(1)).await.expect("asked"),
            None
        );
    });
}

#[test]
fn an_event_that_is_still_to_be_told_is_not_told_twice_by_a_replay() {
    for_each_backend(|store| async move {
        store.create_endpoint(endpoint(1), actor()).await.expect("created");
        canceled(&store, 0..20, START).await;
        let whom = EndpointId::from_key(1);
        let what = Replay::Range(START, at(1));
        assert_eq!(store.replay(HOME, whom, what, MANY, actor(), at(1)).await.expect("replayed"), Some(20));
        assert_eq!(claimed(&store, at(LATER)).await.len(), 20);
    });
}

#[test]
fn attempts_are_paged_newest_first() {
    for_each_backend(|store| async move {
        store.create_endpoint(endpoint(1), actor()).await.expect("created");
        let told = canceled(&store, 0..5, START).await;
        let attempts = told.iter().map(|told| attempt(told, at(1), Verdict::Dead)).collect();
        store.record_attempts(attempts, at(1)).await.expect("recorded");
        let mut seen = Vec::new();
        let mut next = page(2);
        loop {
            let found = store.attempts(HOME, EndpointId::from_key(1), next).await.expect("read");
            seen.extend(found.items.iter().map(|attempt| attempt.event));
            let Some(before) = found.next else { break };
            next = Page { before: Some(before), limit: 2 };
        }
        assert_eq!(seen, told.iter().rev().map(|told| told.id).collect::<Vec<_>>());
    });
}

/// P-23
#[test]
fn who_follows_the_feed_meets_every_public_event_once_in_order() {
    for_each_backend(|store| async move {
        accept(&store, (0..200).map(message)).await;
        let writers: Vec<_> = (0..4)
            .map(|w| {
                let store = Arc::clone(&store);
                tokio::spawn(async move {
                    for n in (0..200).filter(|n| n % 4 == w) {
                        advance(&store, vec![to(id(n), Input::Cancel)], at(n)).await;
                    }
                })
            })
            .collect();
        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let over = writers.iter().all(tokio::task::JoinHandle::is_finished);
            let found = store.events(HOME, after, 7).await.expect("read");
            if found.is_end && over {
                seen.extend(found.told);
                break;
            }
            after = found.upto;
            seen.extend(found.told);
            tokio::task::yield_now().await;
        }
        assert!(seen.windows(2).all(|two| two[0].id < two[1].id));
        let mut about: Vec<_> = seen
            .iter()
            .map(|told| match &told.about {
                About::Message(message) => message.id,
                other => panic!("{other:?}"),
            })
            .collect();
        about.sort();
        assert_eq!(about, (0..200).map(id).collect::<Vec<_>>());
        let test = Realm { environment: Environment::Test, ..HOME };
        assert!(feed(&store, test, MANY).await.is_empty());
    });
}

#[test]
fn who_follows_the_feed_of_a_quiet_realm_gets_on_with_what_others_do() {
    for_each_backend(|store| async move {
        let quiet = Realm { environment: Environment::Test, ..HOME };
        let nothing = |upto| Stretch { told: Vec::new(), upto, is_end: true };
        assert_eq!(store.events(quiet, None, 5).await.expect("read"), nothing(None));
        accept(&store, (0..6).map(message)).await;
        advance(&store, (0..6).map(|n| to(id(n), Input::Cancel)).collect(), at(1)).await;
        let stretch = store.events(HOME, None, 5).await.expect("read");
        let fifth = stretch.told.last().map(|told| told.id);
        assert_eq!((stretch.told.len(), stretch.upto, stretch.is_end), (5, fifth, false));
        let rest = store.events(HOME, fifth, 5).await.expect("read");
        let last = rest.told.last().map(|told| told.id);
        assert_eq!((rest.told.len(), rest.upto, rest.is_end), (1, last, true));
        for after in [None, fifth, last] {
            assert_eq!(store.events(quiet, after, 5).await.expect("read"), nothing(last), "{after:?}");
        }
        assert_eq!(store.events(HOME, last, 5).await.expect("read"), nothing(last));
    });
}

#[test]
fn one_look_into_the_feed_passes_only_so_many_events_of_others() {
    for_each_backend(|store| async move {
        // Each is an event of the timeline.
        let mut first = 1;
        let last = EVENTS_LOOKED_AT_MAX as i64 + 1;
        while first <= last {
            let drafts: Vec<Draft> = (first..=last.min(first + 499))
                .map(|n| crate::pool::picked(n, n as u64, "p", "A", None))
                .collect();
            first += drafts.len() as i64;
            store.accept(Intake { drafts, ..intake([]) }, START).await.expect("accepted");
        }
        let quiet = Realm { environment: Environment::Test, ..HOME };
        let one = Message { environment: Environment::Test, ..message(last + 1) };
        store.accept(Intake { realm: quiet, ..intake([one]) }, START).await.expect("accepted");
        advance(&store, vec![to(id(last + 1), Input::Cancel)], at(1)).await;
        let stretch = store.events(quiet, None, 5).await.expect("read");
        assert!(stretch.told.is_empty() && stretch.upto.is_some() && !stretch.is_end, "{stretch:?}");
        let rest = store.events(quiet, stretch.upto, 5).await.expect("read");
        assert_eq!((rest.told.len(), rest.is_end), (1, true));
        assert_eq!(feed(&store, quiet, 5).await, rest.told);
    });
}

#[test]
fn the_feed_leaves_out_what_is_for_the_timeline_only() {
    for_each_backend(|store| async move {
        let id = sent(&store, message(1), "a").await;
        advance(&store, vec![reported(receipt("a-0", number(1), None))], at(1)).await;
        store.redact(HOME, id, actor(), at(2)).await.expect("redacted");
        advance(&store, vec![delivered("a-0", number(1))], at(3)).await;
        let feed = feed(&store, HOME, MANY).await;
        assert_eq!(
            feed.iter().map(|told| told.event.kind).collect::<Vec<_>>(),
            [Kind::Sent, Kind::Delivered]
        );
    });
}

/// P-18
#[test]
fn an_inbound_message_is_stored_once_and_told() {
    for_each_backend(|store| async move {
        store.create_endpoint(endpoint(1), actor()).await.expect("created");
        let out = receive(&store, vec![arrival(1, "hello", START)], START).await;
        assert_eq!((out.told.len(), out.ignored), (1, 0));
        let out = receive(&store, vec![arrival(2, "hello", at(1))], at(1)).await;
        assert_eq!((out.told.len(), out.ignored), (0, 1));
        assert_eq!(receive(&store, vec![arrival(3, "hello!", at(1))], at(1)).await.told.len(), 1);
        let feed = feed(&store, HOME, MANY).await;
        assert_eq!(feed.len(), 2);
        let About::Inbound(about) = &feed[0].about else { panic!("{feed:?}") };
        let expected = Inbound {
            id: InboundId::from_key(1),
            realm: HOME,
            connection: LINE,
            from: number(7).to_string(),
            to: "72345".to_owned(),
            text: "hello".to_owned(),
            parts: None,
            at: START,
            keyword: Class::Nothing,
            rule: None,
            media: Vec::new(),
        };
        assert_eq!(**about, expected);
    });
}

/// P-24
#[test]
fn an_endpoint_whose_last_call_succeeded_does_not_fail() {
    for_each_backend(|store| async move {
        store.create_endpoint(endpoint(1), actor()).await.expect("created");
        let told = canceled(&store, 0..3, START).await;
        let verdicts = [Verdict::RetryAt(at(90)), Verdict::Done];
        let both: Vec<_> =
            told.iter().zip(verdicts).map(|(told, verdict)| attempt(told, at(1), verdict)).collect();
        store.record_attempts(both, at(1)).await.expect("recorded");
        assert_eq!(store.endpoints(Some(HOME)).await.expect("read")[0].failing_since, None);
        // So one failure after a week of silence does not switch it off.
        let later = START.plus_ms(7 * DAY_MS);
        store.record_attempts(vec![attempt(&told[2], later, Verdict::Dead)], later).await.expect("recorded");
        assert_eq!(store.endpoints(Some(HOME)).await.expect("read")[0].disabled, None);
    });
}

/// P-23
#[test]
fn a_replay_is_not_cut_short_by_events_that_the_endpoint_does_not_hear() {
    for_each_backend(|store| async move {
        let only = Endpoint { kinds: Kind::Delivered.bit(), ..endpoint(1) };
        store.create_endpoint(only, actor()).await.expect("created");
        for n in 0..3 {
            sent(&store, message(n), &format!("m{n}")).await;
            let recipient = number(n as u64);
            let on_its_way = reported(receipt(&format!("m{n}-0"), recipient, None));
            advance(&store, vec![on_its_way, delivered(&format!("m{n}-0"), recipient)], at(n)).await;
        }
        let whom = EndpointId::from_key(1);
        let replay = |what, limit| store.replay(HOME, whom, what, limit, actor(), at(100));
        assert_eq!(replay(Replay::Range(START, at(50)), 3).await.expect("replayed"), Some(3));
        let sent = store.events(HOME, None, 1).await.expect("read").told[0].id;
        assert_eq!(replay(Replay::One(sent), 3).await.expect("replayed"), Some(0));
        let told = claimed(&store, at(100)).await;
        assert_eq!(told.iter().map(|told| told.event.kind).collect::<Vec<_>>(), [Kind::Delivered; 3]);
    });
}
