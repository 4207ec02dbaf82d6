//! Pools: which sender a person has.

use crate::consent_request::asking;
use crate::conversation::{remembered, said};
use crate::samples::*;
use crate::suppression::entry;
use crate::{for_each_backend, for_each_place};
use std::sync::Arc;
use tidings_domain::account::{Environment, Realm};
use tidings_domain::event::Kind;
use tidings_domain::id::AccountId;
use tidings_domain::message::Message;
use tidings_domain::pool::{Choice, Last, Name, Picked};
use tidings_domain::sender::Sender;
use tidings_domain::suppression::Reason;
use tidings_domain::time::Timestamp;
use tidings_store::*;

pub fn sender(text: &str) -> Sender {
    Sender::from_stored(text).expect("a sender")
}

fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

/// A message to a person, whose sender was chosen from a pool when another one was seen.
pub fn picked(n: i64, person: u64, pool: &str, from: &str, seen: Option<&str>) -> Draft {
    let message = Message { sender: sender(from), recipient: number(person), ..message(n) };
    let choice = if seen.is_some() { Choice::Sent } else { Choice::Spread };
    let picked = Picked { pool: name(pool), sender: sender(from), choice, seen: seen.map(sender) };
    Draft { picked: Some(picked), ..draft(message) }
}

async fn offer(store: &Arc<dyn Backend>, drafts: Vec<Draft>, second: i64) -> Accepted {
    store.accept(Intake { drafts, ..intake([]) }, at(second)).await.expect("asked")
}

async fn taken(store: &Arc<dyn Backend>, drafts: Vec<Draft>, second: i64) -> bool {
    match offer(store, drafts, second).await {
        Accepted::New(..) => true,
        Accepted::Moved => false,
        other => panic!("neither: {other:?}"),
    }
}

/// Somebody is sent to from a pool, by the message `n`.
pub async fn have_a_sender(store: &Arc<dyn Backend>, n: i64, now: Timestamp) {
    let draft = picked(n, 1, "kept", "A", None);
    let accepted = store.accept(Intake { drafts: vec![draft], ..intake([]) }, now).await.expect("asked");
    assert!(matches!(accepted, Accepted::New(..)), "{accepted:?}");
}

async fn last(store: &Arc<dyn Backend>, pool: &str, people: &[u64]) -> Vec<Last> {
    let senders = ["A", "B", "72345"].map(sender).to_vec();
    let people = people.iter().map(|person| (HOME, number(*person))).collect();
    store.last_senders(name(pool), senders, people).await.expect("read")
}

fn sent(from: &str, second: i64) -> Last {
    Last { sent: Some((sender(from), at(second))), wrote: None }
}

#[test]
fn who_was_sent_to_from_a_pool_has_that_sender_and_who_saw_another_chooses_anew() {
    for_each_place(|place| async move {
        let store = place.open();
        let none = Last::default();
        assert_eq!(last(&store, "p", &[1]).await, [none]);
        // Two of one call to one person saw the same, and the second one is what is noted.
        let call =
            vec![picked(1, 1, "p", "A", None), picked(2, 1, "p", "B", None), picked(3, 2, "p", "A", None)];
        assert!(taken(&store, call, 1).await);
        store.close().await.expect("closed");
        let store = place.open();
        assert_eq!(last(&store, "p", &[1, 2, 3, 1]).await, [sent("B", 1), sent("A", 1), none, sent("B", 1)]);
        assert_eq!(last(&store, "other", &[1]).await, [none]);
        // One of a call that saw another one is enough: nothing of it is done.
        let call = vec![picked(4, 3, "p", "A", None), picked(5, 1, "p", "A", Some("A"))];
        assert!(!taken(&store, call, 2).await);
        assert!(store.message(HOME, id(4)).await.expect("read").is_none());
        assert!(!taken(&store, vec![picked(5, 1, "p", "A", None)], 2).await);
        assert!(!taken(&store, vec![picked(5, 3, "p", "A", Some("A"))], 2).await);
        assert_eq!(last(&store, "p", &[1, 3]).await, [sent("B", 1), none]);
        assert!(
            taken(&store, vec![picked(5, 1, "p", "A", Some("B")), picked(6, 3, "other", "B", None)], 3).await
        );
        assert_eq!(last(&store, "p", &[1, 3]).await, [sent("A", 3), none]);
        assert_eq!(last(&store, "other", &[1, 3]).await, [none, sent("B", 3)]);
        let timeline = store.timeline(HOME, id(5)).await.expect("read").expect("there is one");
        let events: Vec<_> =
            timeline.events.iter().map(|(_, event)| (event.kind, event.raw.as_deref())).collect();
        assert_eq!(events, [(Kind::SenderChosen, Some("sticky_sent p"))]);
        assert!(feed(&store, HOME, MANY).await.is_empty(), "it is for the timeline only");
    });
}

#[test]
fn what_is_said_and_what_is_asked_may_be_from_a_pool() {
    for_each_backend(|store| async move {
        let with = |draft: Draft| Intake { drafts: vec![draft], ..intake([]) };
        let saying = || Saying { seen: None, author: "Maya".to_owned() };
        let said = store.converse(with(picked(1, 1, "p", "A", None)), saying(), at(1)).await.expect("asked");
        assert!(matches!(said, Accepted::New(..)), "{said:?}");
        let all = store.conversations(HOME, ConversationFilter::default(), page(9), at(1)).await;
        let all: Vec<_> = all.expect("read").items.iter().map(|one| (one.person, one.sender)).collect();
        assert_eq!(all, [(number(1), sender("A"))]);
        let moved = store.converse(with(picked(2, 1, "p", "B", None)), saying(), at(2)).await;
        assert_eq!(moved.expect("asked"), Accepted::Moved);

        let asked = store.ask_consent(with(picked(3, 2, "p", "B", None)), asking(), at(3)).await;
        assert!(matches!(asked, Ok(Accepted::New(..))), "{asked:?}");
        let moved = store.ask_consent(with(picked(4, 2, "p", "A", None)), asking(), at(4)).await;
        assert_eq!(moved.expect("asked"), Accepted::Moved);
        let requests = store.consent_requests(HOME, number(2), at(5)).await.expect("read");
        assert_eq!(requests.iter().map(|one| one.sender).collect::<Vec<_>>(), [sender("B")]);
        assert_eq!(last(&store, "p", &[1, 2]).await, [sent("A", 1), sent("B", 3)]);
    });
}

#[test]
fn what_is_not_accepted_moves_nobody() {
    for_each_backend(|store| async move {
        store.suppress(vec![entry(900, 1, Reason::OptedOut)], actor()).await.expect("suppressed");
        let Accepted::New(admissions, _) =
            offer(&store, vec![picked(1, 1, "p", "A", None), picked(2, 2, "p", "A", None)], 1).await
        else {
            panic!("not new")
        };
        assert!(matches!(admissions[..], [Admission::Suppressed(_), Admission::Admitted]), "{admissions:?}");
        assert_eq!(last(&store, "p", &[1, 2]).await, [Last::default(), sent("A", 1)]);
        // A repeat under a key is answered by its key, whoever has which sender by now.
        let keyed = |n| Intake {
            idempotency: Some(remembered(1)),
            drafts: vec![picked(n, 3, "p", "A", None)],
            ..intake([])
        };
        assert!(matches!(store.accept(keyed(3), at(2)).await, Ok(Accepted::New(..))));
        assert!(matches!(store.accept(keyed(4), at(3)).await, Ok(Accepted::Replayed(_))));
        // What was moved is not remembered for its key.
        let moved = Intake {
            idempotency: Some(remembered(2)),
            drafts: vec![picked(5, 3, "p", "A", None)],
            ..intake([])
        };
        assert_eq!(store.accept(moved, at(4)).await.expect("asked"), Accepted::Moved);
        let anew = Intake {
            idempotency: Some(remembered(2)),
            drafts: vec![picked(5, 3, "p", "A", Some("A"))],
            ..intake([])
        };
        assert!(matches!(store.accept(anew, at(5)).await, Ok(Accepted::New(..))));
    });
}

#[test]
fn to_whom_somebody_wrote_last_is_known_of_the_senders_that_are_asked_for() {
    for_each_backend(|store| async move {
        receive(&store, vec![said(1, 1, "hello", 5), said(2, 2, "hi", 6)], at(6)).await;
        let to_b = Arrival { to: "B".to_owned(), ..said(3, 1, "and you", 7) };
        let elsewhere = Arrival { to: "99999".to_owned(), ..said(4, 1, "and they", 8) };
        receive(&store, vec![elsewhere], at(8)).await;
        let wrote = |to: &str, second| Last { sent: None, wrote: Some((sender(to), at(second))) };
        assert_eq!(
            last(&store, "p", &[1, 2, 3]).await,
            [wrote("72345", 5), wrote("72345", 6), Last::default()]
        );
        // An entry of ours is not something that they wrote.
        let reply = Message { sender: sender("72345"), recipient: number(1), ..message(10) };
        let saying = Saying { seen: None, author: "Maya".to_owned() };
        store.converse(intake([reply]), saying, at(9)).await.expect("said");
        assert_eq!(last(&store, "p", &[1]).await, [wrote("72345", 5)]);
        // Nobody writes to a name; a conversation with one has nothing that was written.
        receive(&store, vec![to_b], at(10)).await;
        let both = last(&store, "p", &[1]).await[0];
        assert!(both.wrote.is_some(), "{both:?}");
    });
}

#[test]
fn a_sender_that_somebody_has_belongs_to_a_realm_and_is_forgotten_with_the_messages() {
    for_each_backend(|store| async move {
        assert!(taken(&store, vec![picked(1, 1, "p", "A", None)], 1).await);
        assert!(taken(&store, vec![picked(2, 2, "p", "B", None)], 100).await);
        let other = Realm { account: AccountId::from_key(2), ..HOME };
        let test = Realm { environment: Environment::Test, ..HOME };
        let people = vec![(other, number(1)), (test, number(1))];
        let all = store.last_senders(name("p"), vec![sender("A")], people).await.expect("read");
        assert_eq!(all, [Last::default(); 2]);
        let retention = |messages_ms| Retention { messages_ms, ..KEPT_A_DAY };
        store.sweep(retention(None), MANY, at(1_000_000)).await.expect("swept");
        assert_eq!(last(&store, "p", &[1, 2]).await, [sent("A", 1), sent("B", 100)]);
        store.sweep(retention(Some(50_000)), MANY, at(150)).await.expect("swept");
        assert_eq!(last(&store, "p", &[1, 2]).await, [Last::default(), sent("B", 100)]);
    });
}

#[test]
fn of_many_that_choose_at_once_from_what_they_saw_one_decides() {
    for_each_backend(|store| async move {
        let asking = (0..30).map(|n| {
            let store = Arc::clone(&store);
            let from = if n % 2 == 0 { "A" } else { "B" };
            tokio::spawn(async move { taken(&store, vec![picked(n + 1, 1, "p", from, None)], 1).await })
        });
        let asking: Vec<_> = asking.collect();
        let mut done = 0;
        for asking in asking {
            done += usize::from(asking.await.expect("no panic"));
        }
        assert_eq!(done, 1);
    });
}
