//! The gate: what it holds when a message is accepted, and at its last moment.

use crate::for_each_backend;
use crate::samples::*;
use tidings_domain::event::Kind;
use tidings_domain::failure::FailureClass;
use tidings_domain::gate::Hold;
use tidings_domain::message::{Input, Message, Status};
use tidings_domain::queue::Queue;
use tidings_domain::suppression::Reason;
use tidings_domain::time::Timestamp;
use tidings_store::*;

fn hold(until: Timestamp) -> Hold {
    let why = tidings_domain::failure::Failure {
        code: "tidings quiet_hours".into(),
        ..failure(FailureClass::UnknownError, true)
    };
    Hold { until, why }
}

fn input(attempt: u32, until: Timestamp) -> Input {
    Input::Held { attempt, hold: hold(until) }
}

/// As intake drafts a message that is held: due when the hold ends, and worth sending for two hours from then.
fn held(n: i64, until: Timestamp) -> Draft {
    let message = Message { send_at: Some(until), expires_at: until.plus_s(7_200), ..message(n) };
    Draft { held: Some(hold(until)), ..draft(message) }
}

fn drafts(drafts: Vec<Draft>) -> Intake {
    Intake { drafts, ..intake([]) }
}

#[test]
fn a_message_that_is_held_waits_and_its_timeline_says_why() {
    for_each_backend(|store| async move {
        store.create_endpoint(endpoint(1), actor()).await.expect("created");
        let intake = drafts(vec![draft(message(1)), held(2, at(3_600)), held(3, at(7_200))]);
        let accepted = store.accept(intake, START).await.expect("accepted");
        let Accepted::New(admissions, advanced) = accepted else { panic!("not new: {accepted:?}") };
        assert_eq!(admissions, [const { Admission::Admitted }; 3]);
        let told: Vec<_> = advanced.told.iter().map(|told| (told.event.kind, told.event.due_at)).collect();
        assert_eq!(told, [(Kind::Delayed, Some(at(3_600))), (Kind::Delayed, Some(at(7_200)))]);
        assert!(advanced.told.iter().all(|told| told.delivery.is_some()), "it is leased for its first call");

        let timeline = store.timeline(HOME, id(2)).await.expect("read").expect("it is there");
        assert_eq!(timeline.stored.life.state.status(), Status::Scheduled);
        assert_eq!(
            timeline.stored.failure.as_ref().map(|why| why.code.as_str()),
            Some("tidings quiet_hours")
        );
        let events: Vec<_> = timeline.events.iter().map(|(_, event)| (event.kind, event.status)).collect();
        assert_eq!(events, [(Kind::Delayed, Status::Scheduled)]);
        assert!(store.timeline(HOME, id(1)).await.expect("read").expect("it is there").events.is_empty());
        assert_eq!(waiting(&store).await, 3);

        assert_eq!(claimed(&store, at(1)).await, [id(1)]);
        assert_eq!(claimed(&store, at(3_599)).await, []);
        assert_eq!(claimed(&store, at(3_600)).await, [id(2)]);
        assert_eq!(stored(&store, id(3)).await.life.state.wakes_at(), Some(at(7_200)));
    });
}

#[test]
fn what_the_list_stops_is_not_held() {
    for_each_backend(|store| async move {
        store.suppress(vec![entry(1, 2)], actor()).await.expect("added");
        let accepted = store.accept(drafts(vec![held(2, at(60))]), START).await.expect("accepted");
        let expected = vec![Admission::Suppressed(Reason::OptedOut.into())];
        assert_eq!(accepted, Accepted::New(expected, Box::default()));
        assert!(store.message(HOME, id(2)).await.expect("read").is_none());
    });
}

#[test]
fn a_call_that_is_repeated_holds_nothing_twice() {
    for_each_backend(|store| async move {
        let call = || {
            let answer =
                std::sync::Arc::new(|admissions: &[Admission]| format!("{admissions:?}").into_bytes());
            let idempotency = Some(Idempotency { key: [1; 32], fingerprint: [1; 32], answer });
            Intake { idempotency, ..drafts(vec![held(1, at(60))]) }
        };
        store.accept(call(), START).await.expect("accepted");
        let again = store.accept(call(), at(1)).await.expect("answered");
        assert_eq!(again, Accepted::Replayed(b"[Admitted]".to_vec()));
        let timeline = store.timeline(HOME, id(1)).await.expect("read").expect("it is there");
        assert_eq!(timeline.events.len(), 1);
    });
}

#[test]
fn a_message_that_is_held_at_its_last_moment_waits_again_or_ends_with_the_reason() {
    for_each_backend(|store| async move {
        let one = sending(&store, message(1)).await;
        let two = sending(&store, message(2)).await;
        assert_eq!(waiting(&store).await, 0);
        let until = at(3_600);
        let advanced =
            advance(&store, vec![to(one, input(1, until)), to(two, input(1, at(7_200)))], at(5)).await;
        assert_eq!(advanced.statuses, [Some(Status::Queued), Some(Status::Expired)]);
        assert_eq!(advanced.queued, [(Queue::of(LINE), until)]);
        assert_eq!(waiting(&store).await, 1);

        let ended = stored(&store, two).await;
        assert_eq!(ended.failure.map(|why| why.code), Some("tidings quiet_hours".to_owned()));
        let waits = stored(&store, one).await.life;
        assert_eq!((waits.state.wakes_at(), waits.attempt, waits.tries), (Some(until), 1, 0));
        assert_eq!(claimed(&store, at(3_599)).await, []);
        assert_eq!(claimed(&store, until).await, [one]);
        let answers = vec![taken(one, 2, 0, "a")];
        assert_eq!(advance(&store, answers, until).await.statuses, [Some(Status::Sent)]);
        // A hold that comes too late means nothing.
        let late = advance(&store, vec![to(one, input(2, at(9_000)))], until).await;
        assert_eq!((late.statuses, late.ignored), (vec![None], 1));
    });
}

async fn waiting(store: &std::sync::Arc<dyn Backend>) -> u64 {
    store.waiting().await.expect("counted").of(HOME.account).0
}

async fn claimed(store: &std::sync::Arc<dyn Backend>, now: Timestamp) -> Vec<tidings_domain::id::MessageId> {
    claim_at(store, now).await.into_iter().map(|ticket| ticket.message.id).collect()
}

fn entry(n: i64, recipient: u64) -> Suppression {
    Suppression {
        id: tidings_domain::id::SuppressionId::from_key(n),
        realm: HOME,
        recipient: number(recipient),
        programme: None,
        reason: Reason::OptedOut,
        source: "api".to_owned(),
        created_at: START,
        expires_at: None,
        lifted: None,
    }
}
