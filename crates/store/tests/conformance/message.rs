//! Accepting, claiming, waking, recovering, cancelling, and reading messages.

use crate::samples::*;
use crate::{for_each_backend, for_each_place};
use std::collections::HashSet;
use std::sync::Arc;
use tidings_domain::account::{Environment, Realm};
use tidings_domain::event::Kind;
use tidings_domain::failure::{FailureClass, Recovery};
use tidings_domain::id::*;
use tidings_domain::message::{Answer, Input, LEASE_MS, Message, RECEIPT_GRACE_MS, Status, poison};
use tidings_domain::purpose::Purpose;
use tidings_domain::queue::Queue;
use tidings_store::*;

#[test]
fn what_was_accepted_is_there_after_reopening() {
    for_each_place(|place| async move {
        let store = place.open();
        let full = Message {
            send_at: Some(at(60)),
            reference: Some("order 7".into()),
            metadata: Some("{\"a\":1}".into()),
            token: Some(TokenId::from_key(9)),
            retry_of: Some(id(77)),
            segments: 3,
            ..message(1)
        };
        accept(&store, [full.clone(), message(2)]).await;
        let before = stored(&store, id(1)).await;
        store.close().await.expect("closed");
        let store = place.open();
        let after = stored(&store, id(1)).await;
        assert_eq!(after.message, full);
        assert_eq!((after.message, after.life), (before.message, before.life));
        assert_eq!(status(&store, id(2)).await, Status::Queued);
        store.close().await.expect("closed");
    });
}

#[test]
fn a_call_is_accepted_whole_or_not_at_all() {
    for_each_backend(|store| async move {
        accept(&store, [message(2)]).await;
        let twice =
            Intake { batch: Some((BatchId::from_key(id(0).key()), 2)), ..intake([message(1), message(2)]) };
        assert!(matches!(store.accept(twice, START).await, Err(Error::Conflict(_))));
        assert!(store.message(HOME, id(1)).await.expect("read").is_none());
        assert!(store.batches(HOME, page(9)).await.expect("read").items.is_empty());
    });
}

#[test]
fn an_operation_that_fails_does_not_harm_its_neighbours() {
    for_each_backend(|store| async move {
        accept(&store, [message(1_000)]).await;
        let calls = (0..60).map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let messages = if n % 3 == 0 { vec![message(n), message(1_000)] } else { vec![message(n)] };
                (n, store.accept(intake(messages), START).await)
            })
        });
        for call in calls.collect::<Vec<_>>() {
            let (n, outcome) = call.await.expect("no panic");
            match n % 3 {
                0 => assert!(matches!(outcome, Err(Error::Conflict(_))), "{n}: {outcome:?}"),
                _ => assert_eq!(
                    outcome.expect("accepted"),
                    Accepted::New(vec![Admission::Admitted], Box::default())
                ),
            }
            let there = store.message(HOME, id(n)).await.expect("read").is_some();
            assert_eq!(there, n % 3 != 0, "{n}");
        }
        assert_eq!(claim_at(&store, START).await.len(), 41);
    });
}

#[test]
fn claims_never_overlap() {
    for_each_backend(|store| async move {
        accept(&store, (0..300).map(message)).await;
        let claims: Vec<_> = (0..12)
            .map(|_| {
                let store = Arc::clone(&store);
                tokio::spawn(async move {
                    store.claim(Queue::of(LINE), 40, START).await.expect("claimed").tickets
                })
            })
            .collect();
        let mut seen = HashSet::new();
        for claim in claims {
            for ticket in claim.await.expect("no panic") {
                assert!(seen.insert(ticket.message.id), "claimed twice: {}", ticket.message.id);
                assert_eq!((ticket.attempt, ticket.segments), (1, vec![0]));
                assert!(ticket.message.text.is_some());
            }
        }
        assert_eq!(seen.len(), 300);
        assert!(claim_at(&store, at(1)).await.is_empty());
    });
}

#[test]
fn a_claim_is_of_one_connection_and_urgent_purposes_go_first() {
    for_each_backend(|store| async move {
        let purposes = [Purpose::Marketing, Purpose::Transactional, Purpose::Authentication, Purpose::Alert];
        accept(&store, (0..8).map(|n| Message { purpose: purposes[n as usize % 4], ..message(n) })).await;
        accept(&store, [Message { connection: OTHER_LINE, ..message(50) }]).await;
        let order: Vec<_> =
            claim_at(&store, START).await.into_iter().map(|ticket| ticket.message.id).collect();
        assert_eq!(order, [2, 6, 3, 7, 1, 5, 0, 4].map(id));
    });
}

#[test]
fn a_claim_takes_no_more_segments_than_there_is_room_for_but_always_one_message() {
    for_each_backend(|store| async move {
        accept(&store, (0..3).map(|n| Message { segments: 3, ..message(n) })).await;
        let claimed = store.claim(Queue::of(LINE), 5, START).await.expect("claimed");
        assert_eq!(claimed.tickets.len(), 1);
        assert!(claimed.more);
        let claimed = store.claim(Queue::of(LINE), 1, START).await.expect("claimed");
        assert_eq!(claimed.tickets[0].segments, [0, 1, 2]);
        assert!(store.claim(Queue::of(LINE), 0, START).await.expect("claimed").tickets.is_empty());
        let claimed = store.claim(Queue::of(LINE), 9, START).await.expect("claimed");
        assert_eq!(claimed.tickets.len(), 1);
        assert!(!claimed.more);
    });
}

#[test]
fn a_scheduled_message_is_not_claimed_before_its_time() {
    for_each_backend(|store| async move {
        accept(&store, [Message { send_at: Some(at(60)), ..message(1) }]).await;
        assert_eq!(status(&store, id(1)).await, Status::Scheduled);
        assert!(claim_at(&store, at(59)).await.is_empty());
        assert_eq!(store.next_due(Some(Queue::of(LINE)), START).await.expect("read"), Some(at(60)));
        assert_eq!(store.next_due(Some(Queue::of(OTHER_LINE)), START).await.expect("read"), None);
        assert_eq!(claim_at(&store, at(60)).await.len(), 1);
    });
}

#[test]
fn an_expired_message_ends_instead_of_being_claimed() {
    for_each_backend(|store| async move {
        accept(&store, [Message { expires_at: at(10), ..message(1) }, message(2)]).await;
        let claimed = store.claim(Queue::of(LINE), MANY, at(10)).await.expect("claimed");
        assert_eq!(claimed.tickets.iter().map(|ticket| ticket.message.id).collect::<Vec<_>>(), [id(2)]);
        assert_eq!(claimed.advanced.counted.iter().map(|c| c.kind).collect::<Vec<_>>(), [Kind::Expired]);
        assert_eq!(status(&store, id(1)).await, Status::Expired);
    });
}

#[test]
fn a_message_that_nobody_claims_expires_in_the_queue() {
    for_each_backend(|store| async move {
        accept(&store, [Message { expires_at: at(10), ..message(1) }]).await;
        assert_eq!(store.next_due(None, START).await.expect("read"), Some(at(10)));
        assert!(wake(&store, at(9)).await.counted.is_empty());
        assert_eq!(wake(&store, at(10)).await.counted.len(), 1);
        assert_eq!(status(&store, id(1)).await, Status::Expired);
        assert!(claim_at(&store, at(11)).await.is_empty());
        assert_eq!(store.next_due(None, START).await.expect("read"), None);
    });
}

#[test]
fn an_answer_for_another_attempt_or_a_second_one_is_ignored() {
    for_each_backend(|store| async move {
        let id = sending(&store, message(1)).await;
        let passing = failure(FailureClass::UnknownError, true);
        let out = advance(&store, vec![refused(id, 2, passing.clone())], START).await;
        assert_eq!((out.ignored, out.statuses), (1, vec![None]));
        let both = vec![taken(id, 1, 0, "a"), taken(id, 1, 0, "a"), refused(id, 1, passing)];
        let out = advance(&store, both, START).await;
        assert_eq!((out.ignored, out.statuses), (2, vec![Some(Status::Sent), None, None]));
        assert_eq!(advance(&store, vec![taken(self::id(99), 1, 0, "x")], START).await.ignored, 1);
    });
}

#[test]
fn a_passing_refusal_puts_it_back_into_the_queue_for_later() {
    for_each_backend(|store| async move {
        let id = sending(&store, message(1)).await;
        let out =
            advance(&store, vec![refused(id, 1, failure(FailureClass::UnknownError, true))], START).await;
        let [(queue, due_at)] = out.queued[..] else { panic!("{:?}", out.queued) };
        assert_eq!((queue, status(&store, id).await), (Queue::of(LINE), Status::Queued));
        assert!(due_at > START);
        assert!(claim_at(&store, due_at.plus_ms(-1)).await.is_empty());
        let tickets = claim_at(&store, due_at).await;
        assert_eq!((tickets.len(), tickets[0].attempt), (1, 2));
    });
}

#[test]
fn a_refused_connection_is_reported_and_its_message_waits() {
    for_each_backend(|store| async move {
        let id = sending(&store, message(1)).await;
        let out =
            advance(&store, vec![refused(id, 1, failure(FailureClass::AuthFailed, false))], START).await;
        assert_eq!(out.paused.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [LINE]);
        assert_eq!(status(&store, id).await, Status::Queued);
    });
}

#[test]
fn only_one_of_a_claim_and_a_cancellation_wins() {
    for_each_backend(|store| async move {
        accept(&store, (0..100).map(message)).await;
        let claiming = {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut claimed = HashSet::new();
                for _ in 0..20 {
                    let tickets = store.claim(Queue::of(LINE), 5, START).await.expect("claimed").tickets;
                    claimed.extend(tickets.into_iter().map(|ticket| ticket.message.id));
                }
                claimed
            })
        };
        let mut canceled = HashSet::new();
        for n in (0..100).rev() {
            let out = advance(&store, vec![to(id(n), Input::Cancel)], START).await;
            if out.statuses == [Some(Status::Canceled)] {
                canceled.insert(id(n));
            }
        }
        let claimed = claiming.await.expect("no panic");
        assert!(claimed.is_disjoint(&canceled));
        assert_eq!(claimed.len() + canceled.len(), 100);
        for n in 0..100 {
            let expected = if canceled.contains(&id(n)) { Status::Canceled } else { Status::Sending };
            assert_eq!(status(&store, id(n)).await, expected);
        }
    });
}

#[test]
fn a_restart_leaves_no_claim_behind_and_the_purpose_decides() {
    for_each_place(|place| async move {
        let store = place.open();
        let purposes = Purpose::ALL;
        accept(&store, (0..4).map(|n| Message { purpose: purposes[n as usize], ..message(n) })).await;
        accept(&store, [message(9)]).await;
        assert_eq!(claim_at(&store, START).await.len(), 5);
        advance(&store, vec![taken(id(9), 1, 0, "nine")], START).await;
        drop(store);
        let store = place.open();
        let mut found = 0;
        loop {
            let out = store.recover(None, 2, at(1), patience()).await.expect("recovered");
            found += out.statuses.len();
            if !out.more {
                break;
            }
        }
        assert_eq!(found, 4);
        assert_eq!(status(&store, id(9)).await, Status::Sent);
        // A code, an alert and an order wait for a late answer; an offer is not worth the wait.
        for n in 0..3 {
            assert_eq!(status(&store, id(n)).await, Status::Sending);
        }
        assert_eq!(status(&store, id(3)).await, Status::Unconfirmed);
        wake(&store, at(1 + 5)).await;
        assert_eq!(status(&store, id(0)).await, Status::Queued);
        assert_eq!(status(&store, id(1)).await, Status::Queued);
        assert_eq!(status(&store, id(2)).await, Status::Sending);
        wake(&store, at(1 + 120)).await;
        assert_eq!(status(&store, id(2)).await, Status::Unconfirmed);
        assert_eq!(store.review_groups(HOME, 9).await.expect("read").len(), 1);
        assert!(!store.recover(None, 9, at(200), patience()).await.expect("recovered").more);
        store.close().await.expect("closed");
    });
}

#[test]
fn a_claim_that_nobody_answers_is_lost_after_its_lease() {
    for_each_backend(|store| async move {
        let id = sending(&store, Message { purpose: Purpose::Marketing, ..message(1) }).await;
        assert!(wake(&store, START.plus_ms(LEASE_MS - 1)).await.counted.is_empty());
        wake(&store, START.plus_ms(LEASE_MS)).await;
        assert_eq!(status(&store, id).await, Status::Unconfirmed);
    });
}

#[test]
fn a_late_answer_settles_a_doubt() {
    for_each_backend(|store| async move {
        let id = sending(&store, message(1)).await;
        let out = advance(&store, vec![answered(id, 1, 0, Answer::None)], START).await;
        assert_eq!(out.statuses, [Some(Status::Sending)]);
        assert_eq!(
            advance(&store, vec![taken(id, 1, 0, "late")], at(60)).await.statuses,
            [Some(Status::Sent)]
        );
        wake(&store, at(121)).await;
        assert_eq!(status(&store, id).await, Status::Sent);
    });
}

#[test]
fn without_a_receipt_it_ends_unconfirmed_when_the_receipt_would_have_come() {
    for_each_backend(|store| async move {
        let id = sent(&store, message(1), "a").await;
        let end = message(1).expires_at.plus_ms(RECEIPT_GRACE_MS);
        assert_eq!(wake(&store, end.plus_ms(-1)).await.counted.len(), 0);
        assert_eq!(status(&store, id).await, Status::Sent);
        assert_eq!(wake(&store, end).await.counted.len(), 1);
        assert_eq!(status(&store, id).await, Status::Unconfirmed);
    });
}

#[test]
fn waking_goes_on_until_nothing_is_left() {
    for_each_backend(|store| async move {
        accept(&store, (0..25).map(|n| Message { expires_at: at(n % 5), ..message(n) })).await;
        let mut rounds = 0;
        while store.wake(10, at(5), patience()).await.expect("woken").more {
            rounds += 1;
            assert!(rounds < 10, "it ends");
        }
        let expired = MessageFilter { status: Some(Status::Expired), ..MessageFilter::default() };
        assert_eq!(store.messages(HOME, expired, page(MANY)).await.expect("read").items.len(), 25);
    });
}

#[test]
fn nobody_sees_another_realms_messages() {
    for_each_backend(|store| async move {
        accept(&store, [message(1)]).await;
        let test = Realm { environment: Environment::Test, ..HOME };
        let other = Realm { account: AccountId::from_key(2), ..HOME };
        for realm in [test, other] {
            assert!(store.message(realm, id(1)).await.expect("read").is_none());
            assert!(store.timeline(realm, id(1)).await.expect("read").is_none());
            assert!(store.redact(realm, id(1), actor(), START).await.expect("read").is_none());
            assert!(
                store
                    .messages(realm, MessageFilter::default(), page(9))
                    .await
                    .expect("read")
                    .items
                    .is_empty()
            );
        }
        assert!(stored(&store, id(1)).await.message.text.is_some());
    });
}

#[test]
fn pages_are_newest_first_and_meet_without_gap_or_overlap() {
    for_each_backend(|store| async move {
        accept(&store, (1..=25).map(message)).await;
        let mut seen = Vec::new();
        let mut next = Page { before: None, limit: 10 };
        loop {
            let found = store.messages(HOME, MessageFilter::default(), next).await.expect("read");
            seen.extend(found.items.iter().map(|stored| stored.message.id));
            let Some(before) = found.next else { break };
            // What is accepted meanwhile is newer and does not push anything onto the next page.
            accept(&store, [message(1_000 + seen.len() as i64)]).await;
            next = Page { before: Some(before), limit: 10 };
        }
        assert_eq!(seen, (1..=25).rev().map(id).collect::<Vec<_>>());
    });
}

#[test]
fn a_list_is_narrowed_by_each_filter() {
    for_each_backend(|store| async move {
        let batch = BatchId::from_key(id(9).key());
        let later = Message { id: MessageId::from_key(floor_at(at(60))), created_at: at(60), ..message(30) };
        let special = Message { reference: Some("r".into()), ..message(1) };
        accept(&store, [special, message(2), later.clone()]).await;
        let in_batch = Message { batch: Some(batch), ..message(10) };
        let call = Intake { batch: Some((batch, 1)), ..intake([in_batch]) };
        store.accept(call, START).await.expect("accepted");
        claim_at(&store, START).await;
        advance(&store, vec![taken(id(2), 1, 0, "00AB")], START).await;
        let ids = |filter: MessageFilter| {
            let store = Arc::clone(&store);
            async move {
                let found = store.messages(HOME, filter, page(9)).await.expect("read").items;
                found.into_iter().map(|stored| stored.message.id).collect::<Vec<_>>()
            }
        };
        let all = MessageFilter::default;
        assert_eq!(ids(MessageFilter { status: Some(Status::Sent), ..all() }).await, [id(2)]);
        assert_eq!(ids(MessageFilter { recipient: Some(number(10)), ..all() }).await, [id(10)]);
        assert_eq!(ids(MessageFilter { sender: Some("ACME".into()), ..all() }).await.len(), 4);
        assert_eq!(ids(MessageFilter { sender: Some("OTHER".into()), ..all() }).await, []);
        assert_eq!(ids(MessageFilter { reference: Some("r".into()), ..all() }).await, [id(1)]);
        assert_eq!(ids(MessageFilter { carrier_id: Some("ab".into()), ..all() }).await, [id(2)]);
        assert_eq!(ids(MessageFilter { batch: Some(batch), ..all() }).await, [id(10)]);
        assert_eq!(ids(MessageFilter { since: Some(at(60)), ..all() }).await, [later.id]);
        assert_eq!(ids(MessageFilter { until: Some(at(60)), ..all() }).await, [id(10), id(2), id(1)]);
    });
}

#[test]
fn a_removed_text_is_gone_and_the_removal_is_recorded() {
    for_each_backend(|store| async move {
        let id = sent(&store, message(1), "a").await;
        let after = store.redact(HOME, id, actor(), at(5)).await.expect("redacted").expect("it is there");
        assert_eq!(after.message.text, None);
        assert_eq!(after.life.state.status(), Status::Sent);
        store.redact(HOME, id, actor(), at(6)).await.expect("redacted again");
        let told = store.timeline(HOME, id).await.expect("read").expect("it is there").events;
        assert_eq!(
            told.iter().map(|(_, event)| event.kind).collect::<Vec<_>>(),
            [Kind::Sent, Kind::Redacted]
        );
        assert_eq!(audited(&store).await, ["message.redact"]);
        assert_eq!(
            advance(&store, vec![delivered("a-0", number(1))], at(7)).await.statuses,
            [Some(Status::Delivered)]
        );
    });
}

#[test]
fn the_timeline_tells_the_whole_life_in_order() {
    for_each_backend(|store| async move {
        let lines =
            store.register_connections(vec![("main".into(), Environment::Live)], START).await.expect("lines");
        let id = sending(&store, Message { connection: lines[0].id, ..message(1) }).await;
        let passing = failure(FailureClass::RateLimited, true);
        advance(&store, vec![refused(id, 1, passing.clone())], START).await;
        claim_at(&store, at(60)).await;
        advance(&store, vec![taken(id, 2, 0, "x")], at(60)).await;
        advance(&store, vec![delivered("x", number(1))], at(61)).await;
        let timeline = store.timeline(HOME, id).await.expect("read").expect("it is there");
        let kinds: Vec<_> = timeline.events.iter().map(|(_, event)| event.kind).collect();
        assert_eq!(kinds, [Kind::Delayed, Kind::Sent, Kind::Delivered]);
        assert_eq!(timeline.events[0].1.failure, Some(passing));
        assert_eq!(timeline.events[2].1.raw.as_deref(), Some("id:x"));
        assert_eq!(timeline.connection.map(|line| line.name).as_deref(), Some("main"));
        assert_eq!(timeline.stored.failure, None);
    });
}

/// P-14
#[test]
fn a_message_that_crashes_the_program_ends_and_waits_for_a_person() {
    for_each_backend(|store| async move {
        accept(&store, [message(1)]).await;
        let held = sending(&store, Message { purpose: Purpose::Marketing, ..message(2) }).await;
        claim_at(&store, START).await;
        advance(&store, vec![answered(id(1), 1, 0, Answer::Unsent)], START).await;
        let waiting = store.waiting().await.expect("counted");
        assert_eq!(waiting.of(HOME.account), (1, 1));
        let done = store.quarantine(vec![id(1), held], poison("handling"), at(1)).await.expect("done");
        assert_eq!(done.statuses, [Some(Status::Failed), Some(Status::Unconfirmed)]);
        assert_eq!(waiting.of(HOME.account), (0, 0));
        let failed = stored(&store, id(1)).await.failure.expect("a failure");
        assert_eq!((failed.code.as_str(), failed.recovery()), ("tidings poison", Recovery::Review));
        let open = store.reviews(HOME, None, true, page(MANY)).await.expect("read").items;
        assert_eq!(open.len(), 2);
        // Once more, because even that moment crashes: nothing waits for it any more.
        let done = store.quarantine(vec![held, id(1)], poison("handling"), at(2)).await.expect("done");
        assert_eq!(done.statuses, [None, None]);
        assert_eq!(store.next_due(None, at(2)).await.expect("read"), None);
        assert_eq!(status(&store, held).await, Status::Unconfirmed);
    });
}
