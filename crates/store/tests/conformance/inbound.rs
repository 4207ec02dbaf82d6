//! What people ask by text, and what follows in the same commit.

use crate::samples::*;
use crate::{for_each_backend, for_each_place};
use std::sync::Arc;
use tidings_domain::event::Kind;
use tidings_domain::failure::FailureClass;
use tidings_domain::id::*;
use tidings_domain::keyword::Class;
use tidings_domain::message::{Message, Status};
use tidings_domain::reply::{self, IN_WINDOW_MAX, Reply, WINDOW_MS};
use tidings_domain::review::{self, Decision};
use tidings_domain::suppression::Reason;
use tidings_domain::time::Timestamp;
use tidings_store::*;

/// Whom the tests are about.
const PERSON: u64 = 7;

/// The `n`th message of the person, with the answer that waits for it: message `n`.
fn arrival(n: i64, class: Class, now: Timestamp) -> Arrival {
    let inbound = Inbound {
        id: InboundId::from_key(n),
        realm: HOME,
        connection: LINE,
        from: number(PERSON).to_string(),
        to: "72345".into(),
        text: format!("{class:?} {n}"),
        part: None,
        at: now,
        keyword: class,
    };
    let reply = reply::Kind::to(class).map(|kind| {
        draft(Message {
            recipient: number(PERSON),
            created_at: now,
            expires_at: now.plus_s(reply::VALIDITY_S),
            reply: Some(Reply { kind, to: inbound.id }),
            ..message(n)
        })
    });
    Arrival { inbound, ask: Some(Ask { person: number(PERSON), matched: "stop", reply }) }
}

async fn says(store: &Arc<dyn Backend>, n: i64, class: Class, now: Timestamp) -> Advanced {
    store.receive(vec![arrival(n, class, now)], now).await.expect("received")
}

async fn in_force(store: &Arc<dyn Backend>, now: Timestamp) -> Option<Reason> {
    store.suppressed(vec![(HOME, number(PERSON))], now).await.expect("read")[0]
}

async fn kinds(store: &Arc<dyn Backend>) -> Vec<Kind> {
    let feed = store.events(HOME, None, 99).await.expect("read");
    feed.iter().map(|told| told.event.kind).collect()
}

fn to_person(n: i64) -> Message {
    Message { recipient: number(PERSON), ..message(n) }
}

fn manual(n: i64) -> Suppression {
    Suppression {
        id: SuppressionId::from_key(n),
        realm: HOME,
        recipient: number(PERSON),
        reason: Reason::Manual,
        source: "api".to_owned(),
        created_at: START,
        expires_at: None,
        lifted: None,
    }
}

/// P-22
#[test]
fn an_opt_out_by_text_suppresses_ends_what_waits_and_is_confirmed_in_one_commit() {
    for_each_place(|place| async move {
        let store = place.open();
        let scheduled = Message { send_at: Some(at(600)), expires_at: at(9_000), ..to_person(1) };
        let elsewhere = Message { account: AccountId::from_key(2), ..to_person(4) };
        accept(&store, [scheduled, to_person(2), message(3)]).await;
        let other = Intake { realm: elsewhere.realm(), ..intake([elsewhere.clone()]) };
        store.accept(other, START).await.expect("accepted");
        store.create_endpoint(endpoint(1), actor()).await.expect("created");

        let out = says(&store, 11, Class::Stop, at(1)).await;
        assert_eq!(in_force(&store, at(1)).await, Some(Reason::OptedOut));
        assert_eq!(out.told.len(), 4, "received, opted out, and two messages ended");
        assert_eq!(out.queued, [(LINE, at(1))]);
        assert_eq!(kinds(&store).await, [Kind::Received, Kind::OptedOut, Kind::Rejected, Kind::Rejected]);
        for ended in [1, 2] {
            let stored = stored(&store, id(ended)).await;
            let failure = stored.failure.expect("it says why");
            assert_eq!(
                (stored.life.state.status(), failure.class),
                (Status::Rejected, FailureClass::OptedOut)
            );
        }
        assert_eq!(status(&store, id(3)).await, Status::Queued);
        let kept = store.message(elsewhere.realm(), id(4)).await.expect("read").expect("there");
        assert_eq!(kept.life.state.status(), Status::Queued, "it is of another account");
        let entry = store.suppressions(HOME, Some(number(PERSON)), false, page(9)).await.expect("read");
        assert_eq!(entry.items[0].source, format!("{} stop", InboundId::from_key(11)));

        store.close().await.expect("closed");
        let store = place.open();
        let confirmation = stored(&store, id(11)).await.message;
        let reply = Reply { kind: reply::Kind::OptOut, to: InboundId::from_key(11) };
        assert_eq!(confirmation.reply, Some(reply));
        let claimed = claim_at(&store, at(2)).await;
        let claimed: Vec<_> =
            claimed.iter().map(|ticket| (ticket.message.id, ticket.message.reply)).collect();
        assert!(claimed.contains(&(id(11), Some(reply))) && claimed.contains(&(id(3), None)), "{claimed:?}");
        let waiting = store.waiting().await.expect("counted");
        assert_eq!(waiting.by_purpose(HOME.account).iter().sum::<u64>(), 0);
    });
}

#[test]
fn an_opt_out_is_confirmed_once_until_the_person_starts_again() {
    for_each_backend(|store| async move {
        for n in 1..=5 {
            says(&store, n, Class::Stop, at(10 * n)).await;
        }
        let confirmed = |store: Arc<dyn Backend>, n| async move {
            store.message(HOME, id(n)).await.expect("read").is_some()
        };
        assert!(confirmed(Arc::clone(&store), 1).await);
        for n in 2..=5 {
            assert!(!confirmed(Arc::clone(&store), n).await);
        }
        says(&store, 6, Class::Start, at(60)).await;
        assert_eq!(in_force(&store, at(60)).await, None);
        assert!(confirmed(Arc::clone(&store), 6).await, "and that messages come again");
        says(&store, 7, Class::Start, at(70)).await;
        assert!(!confirmed(Arc::clone(&store), 7).await, "nothing changed");
        says(&store, 8, Class::Stop, at(80)).await;
        assert!(confirmed(Arc::clone(&store), 8).await);
        assert_eq!(in_force(&store, at(80)).await, Some(Reason::OptedOut));
        // What was to say that messages come again has become untrue.
        assert_eq!(status(&store, id(6)).await, Status::Rejected);
        let told = [Kind::OptedOut, Kind::OptedIn, Kind::OptedOut];
        let kinds = kinds(&store).await;
        let changes = kinds.into_iter().filter(|kind| matches!(kind, Kind::OptedOut | Kind::OptedIn));
        assert_eq!(changes.collect::<Vec<_>>(), told);
    });
}

#[test]
fn only_what_was_the_persons_word_is_lifted_by_the_persons_word() {
    for_each_backend(|store| async move {
        store.suppress(vec![manual(1)], actor()).await.expect("added");
        says(&store, 1, Class::Start, at(10)).await;
        assert_eq!(in_force(&store, at(10)).await, Some(Reason::Manual));
        says(&store, 2, Class::Stop, at(20)).await;
        assert_eq!(in_force(&store, at(20)).await, Some(Reason::OptedOut));
        says(&store, 3, Class::Start, at(30)).await;
        assert_eq!(in_force(&store, at(30)).await, Some(Reason::Manual), "it counts again");
        assert!(store.message(HOME, id(3)).await.expect("read").is_none(), "so no messages come");
        store.lift(HOME, number(PERSON), "asked".into(), actor(), at(40)).await.expect("lifted");

        let by_account = Suppression { reason: Reason::OptedOut, ..manual(2) };
        store.suppress(vec![by_account], actor()).await.expect("added");
        says(&store, 4, Class::Start, at(50)).await;
        assert_eq!(in_force(&store, at(50)).await, None);
        let all = store.suppressions(HOME, Some(number(PERSON)), true, page(9)).await.expect("read").items;
        assert_eq!(all.len(), 4, "nothing is overwritten: {all:?}");
        // Both in one call.
        let both = vec![arrival(5, Class::Stop, at(60)), arrival(6, Class::Start, at(60))];
        store.receive(both, at(60)).await.expect("received");
        assert_eq!(in_force(&store, at(60)).await, None);
    });
}

#[test]
fn help_is_for_who_is_not_on_the_list_and_replies_are_bounded() {
    for_each_backend(|store| async move {
        let most = i64::from(IN_WINDOW_MAX);
        for n in 1..=most + 2 {
            says(&store, n, Class::Help, at(10 * n)).await;
            let answered = store.message(HOME, id(n)).await.expect("read").is_some();
            assert_eq!(answered, n <= most, "{n}");
        }
        let next_day = at(10).plus_ms(WINDOW_MS);
        assert!(!store.sweep(KEEP_ALL, 99, next_day).await.expect("swept"));
        says(&store, 20, Class::Help, next_day).await;
        assert!(store.message(HOME, id(20)).await.expect("read").is_some());
        says(&store, 21, Class::Stop, next_day.plus_s(10)).await;
        assert_eq!(status(&store, id(20)).await, Status::Rejected);
        says(&store, 22, Class::Help, next_day.plus_s(20)).await;
        assert!(store.message(HOME, id(22)).await.expect("read").is_none());
    });
}

/// How long things are kept where nothing is to go.
const KEEP_ALL: Retention =
    Retention { idempotency_ms: i64::MAX, parked_ms: i64::MAX, attempts_ms: i64::MAX, messages_ms: None };

#[test]
fn a_doubtful_message_waits_for_a_person_who_may_suppress() {
    for_each_backend(|store| async move {
        says(&store, 1, Class::Doubtful, at(1)).await;
        says(&store, 2, Class::Doubtful, at(2)).await;
        assert_eq!(in_force(&store, at(2)).await, None);
        let groups = store.review_groups(HOME, 9).await.expect("read");
        assert_eq!((groups.len(), groups[0].open), (1, 2));
        assert_eq!(groups[0].example, review::About::Inbound(InboundId::from_key(2)));
        let items = store.reviews(HOME, None, true, page(9)).await.expect("read").items;
        let one = ReviewChoice::One(items[1].id);
        store.decide(HOME, one, Decision::Drop, 9, actor(), at(3)).await.expect("decided");
        assert_eq!(in_force(&store, at(3)).await, None);
        let rest = ReviewChoice::Cause(groups[0].cause.clone());
        let closed = store.decide(HOME, rest, Decision::Suppress, 9, actor(), at(4)).await.expect("decided");
        assert_eq!(closed.len(), 1);
        assert_eq!(in_force(&store, at(4)).await, Some(Reason::OptedOut));
        says(&store, 3, Class::Doubtful, at(5)).await;
        assert_eq!(store.reviews(HOME, None, true, page(9)).await.expect("read").items.len(), 0);
    });
}

#[test]
fn who_cannot_be_sent_to_asks_nothing() {
    for_each_backend(|store| async move {
        let alone = Arrival { ask: None, ..arrival(1, Class::Stop, at(1)) };
        let out = store.receive(vec![alone], at(1)).await.expect("received");
        assert!(out.queued.is_empty());
        assert_eq!(kinds(&store).await, [Kind::Received]);
        let from = |text: &str| Inbound { from: text.to_owned(), ..arrival(1, Class::Stop, START).inbound };
        for (text, digits) in [
            ("+46700000007", Some(46_700_000_007)),
            ("46700000007", Some(46_700_000_007)),
            ("+46700007", Some(46_700_007)),
            ("46700007", None),
            ("72345", None),
            ("0700000007", None),
            ("ACME", None),
            ("+46 70", None),
            ("", None),
        ] {
            assert_eq!(from(text).person().map(|number| number.digits()), digits, "{text}");
        }
    });
}
