//! Consent that people are asked for by text.

use crate::conversation::{remembered, said};
use crate::inbound_rule::ruled;
use crate::samples::*;
use crate::{for_each_backend, for_each_place};
use std::sync::Arc;
use tidings_domain::consent::{Act, Channel, Consent, Method, Scope};
use tidings_domain::consent_request::{ConsentRequest, LIFE_S, NewConsentRequest, State};
use tidings_domain::conversation::Status as Standing;
use tidings_domain::failure::FailureClass;
use tidings_domain::id::*;
use tidings_domain::message::{Input, Message};
use tidings_domain::purpose::Purpose;
use tidings_domain::sender::Sender;
use tidings_domain::suppression::Reason;
use tidings_domain::time::Timestamp;
use tidings_store::*;

pub fn asking() -> NewConsentRequest {
    NewConsentRequest {
        purposes: vec![Purpose::Marketing, Purpose::Alert],
        channels: vec![Channel::RecordedVoice, Channel::Text],
        act: Act::Written,
        life_s: LIFE_S,
        place: Some("https://shop.example/join".to_owned()),
        seller: Some("Acme".to_owned()),
        programme: None,
        source: "api".to_owned(),
    }
}

/// A message to the person from the sender that people write to here.
fn question(n: i64, person: u64) -> Message {
    Message {
        sender: Sender::from_stored("72345").expect("a sender"),
        recipient: number(person),
        text: Some("Offers? Reply YES to agree.".to_owned()),
        ..message(n)
    }
}

async fn ask(store: &Arc<dyn Backend>, message: Message, now: Timestamp) -> Admission {
    let accepted = store.ask_consent(intake([message]), asking(), now).await.expect("asked");
    let Accepted::New(admissions, _) = accepted else { panic!("not new: {accepted:?}") };
    admissions[0].clone()
}

/// Asks, and hands the message to the carrier.
async fn ask_and_send(store: &Arc<dyn Backend>, n: i64, person: u64) {
    assert_eq!(ask(store, question(n, person), START).await, Admission::Admitted);
    assert!(claim_at(store, START).await.iter().any(|ticket| ticket.message.id == id(n)), "claimed");
}

async fn requests(store: &Arc<dyn Backend>, person: u64, now: Timestamp) -> Vec<ConsentRequest> {
    store.consent_requests(HOME, number(person), now).await.expect("read")
}

async fn state(store: &Arc<dyn Backend>, person: u64, now: Timestamp) -> State {
    requests(store, person, now).await[0].state
}

async fn ledger(store: &Arc<dyn Backend>, person: u64) -> Vec<Consent> {
    store.consents(HOME, number(person), page(MANY)).await.expect("read").items
}

fn actor() -> Actor {
    Actor { account: HOME.account, who: "operator".to_owned() }
}

#[test]
fn a_request_that_cannot_be_read_keeps_nobody_from_being_heard() {
    for_each_place(|place| async move {
        let store = place.open();
        ask_and_send(&store, 1, 7).await;
        if place.spoil("UPDATE consent_request SET act = 99") {
            let out = receive(&store, vec![said(1, 7, "yes", 2), said(2, 8, "STOP", 2)], at(2)).await;
            assert!(out.opted_out && feed(&store, HOME, MANY).await.len() == 3, "{out:?}");
            assert_eq!(ledger(&store, 7).await, [], "nobody knows what the yes was to");
        }
        store.close().await.expect("closed");
    });
}

#[test]
fn a_yes_becomes_entries_of_the_ledger_in_the_commit_that_stores_it() {
    for_each_place(|place| async move {
        let store = place.open();
        ask_and_send(&store, 1, 7).await;
        assert_eq!(state(&store, 7, at(1)).await, State::Pending);
        assert_eq!(ledger(&store, 7).await, [], "asking is no consent");
        // To another sender, and in the middle of words: no answers.
        let elsewhere = Arrival { to: "ACME".to_owned(), ..said(1, 7, "yes", 2) };
        receive(&store, vec![elsewhere, said(2, 7, "yes, but why?", 2)], at(2)).await;
        assert_eq!(state(&store, 7, at(2)).await, State::Pending);
        // Rules are not asked about what is an answer.
        let answers = vec![said(3, 7, "Yes!", 3), said(4, 7, "yes", 6)];
        store.receive(answers, ruled(at(6)), at(6)).await.expect("received");
        store.close().await.expect("closed");

        let store = place.open();
        let found = requests(&store, 7, at(9)).await;
        assert_eq!(found.len(), 1);
        let one = &found[0];
        assert_eq!(
            (one.state, one.ended_at, one.answer),
            (State::Granted, Some(at(3)), Some(InboundId::from_key(3)))
        );
        assert_eq!((one.message, one.requested_at, one.expires_at), (id(1), START, START.plus_s(LIFE_S)));
        assert_eq!(one.wording.text, "Offers? Reply YES to agree.");
        assert_eq!(
            (one.purposes.len(), &one.channels[..]),
            (2, &[Channel::Text, Channel::RecordedVoice][..])
        );
        let entries = ledger(&store, 7).await;
        assert_eq!(entries.len(), 4, "each purpose and channel, once");
        for entry in &entries {
            assert_eq!((entry.act, entry.method, entry.given_at), (Act::Written, Method::Text, at(3)));
            assert_eq!(entry.evidence.wording.as_ref(), Some(&one.wording));
            assert_eq!(entry.evidence.place.as_deref(), Some("72345"));
            assert_eq!(entry.source, format!("{} to {}", InboundId::from_key(3), one.id));
        }
        let said = store.said(vec![(HOME, number(7))]).await.expect("read");
        assert_eq!(said[0].lacks(Purpose::Marketing, Channel::Text, Scope::Any, at(9)), None);
        let rule = |n| {
            let store = Arc::clone(&store);
            async move {
                store.inbound(HOME, InboundId::from_key(n)).await.expect("read").expect("there").inbound.rule
            }
        };
        assert_eq!(
            (rule(3).await, rule(4).await.as_deref()),
            (None, Some("rest")),
            "the second answers nothing"
        );
        let audit = store.audit(HOME.account, page(MANY)).await.expect("read").items;
        assert!(audit.iter().any(|line| (&*line.action, &*line.who) == ("consent.record", "recipient")));
        store.close().await.expect("closed");
    });
}

#[test]
fn an_answer_to_a_request_needs_no_reply_of_ours() {
    for_each_backend(|store| async move {
        ask_and_send(&store, 1, 7).await;
        receive(&store, vec![said(1, 7, "no", 3)], at(3)).await;
        let one = store
            .conversations(HOME, ConversationFilter::default(), page(1), at(4))
            .await
            .expect("read")
            .items
            .remove(0);
        assert_eq!(one.status(at(4)), Standing::Waiting);
        let entries = ledger(&store, 7).await;
        assert_eq!((entries.len(), entries[0].act), (4, Act::Revoked));
        assert_eq!(state(&store, 7, at(4)).await, State::Declined);
        // Whoever was asked once may be asked again when that is over.
        assert_eq!(ask(&store, question(2, 7), at(5)).await, Admission::Admitted);
    });
}

#[test]
fn there_is_one_request_at_a_time_and_nothing_is_kept_of_a_second() {
    for_each_backend(|store| async move {
        ask_and_send(&store, 1, 7).await;
        assert_eq!(ask(&store, question(2, 7), at(1)).await, Admission::Asked);
        let key = |n| Intake { idempotency: Some(remembered(n)), ..intake([question(3, 7)]) };
        let refused = store.ask_consent(key(1), asking(), at(1)).await.expect("asked");
        assert_eq!(refused, Accepted::New(vec![Admission::Asked], Box::default()));
        assert!(store.message(HOME, id(2)).await.expect("read").is_none());
        // Another sender, and another person.
        let other = Message { sender: Sender::from_stored("ACME").expect("a sender"), ..question(4, 7) };
        assert_eq!(ask(&store, other, at(1)).await, Admission::Admitted);
        assert_eq!(ask(&store, question(5, 8), at(1)).await, Admission::Admitted);
        // Once its time is over there is room for another one, and the first is what it was.
        let late = START.plus_s(LIFE_S);
        assert_eq!(state(&store, 8, late).await, State::Pending);
        assert_eq!(ask(&store, question(6, 7), late).await, Admission::Admitted);
        let states: Vec<State> = requests(&store, 7, late).await.iter().map(|one| one.state).collect();
        assert_eq!(states, [State::Pending, State::Pending, State::Expired]);
        assert_eq!(ledger(&store, 7).await, []);
    });
}

#[test]
fn what_came_too_late_or_after_an_opt_out_or_to_what_was_not_sent_grants_nothing() {
    for_each_backend(|store| async move {
        // Not sent yet.
        assert_eq!(ask(&store, question(1, 1), START).await, Admission::Admitted);
        receive(&store, vec![said(1, 1, "yes", 1)], at(1)).await;
        assert_eq!(state(&store, 1, at(1)).await, State::Pending);
        claim_at(&store, at(1)).await;
        // Opted out by text, and by a call.
        ask_and_send(&store, 2, 2).await;
        ask_and_send(&store, 3, 3).await;
        receive(&store, vec![said(102, 2, "STOP", 2), said(103, 2, "START", 3)], at(3)).await;
        let entry = Suppression {
            id: SuppressionId::from_key(3),
            realm: HOME,
            recipient: number(3),
            programme: None,
            reason: Reason::OptedOut,
            source: "api".to_owned(),
            created_at: at(2),
            expires_at: None,
            lifted: None,
        };
        store.suppress(vec![entry], actor()).await.expect("suppressed");
        receive(&store, vec![said(104, 2, "yes", 4), said(105, 3, "yes", 4)], at(4)).await;
        for person in [2, 3] {
            assert_eq!(state(&store, person, at(5)).await, State::OptedOut);
        }
        assert_eq!(ask(&store, question(4, 3), at(5)).await, Admission::Suppressed(Reason::OptedOut.into()));
        // Too late.
        ask_and_send(&store, 5, 5).await;
        let late = Arrival { at: START.plus_s(LIFE_S), ..said(106, 5, "yes", 0) };
        receive(&store, vec![late], START.plus_s(LIFE_S)).await;
        assert_eq!(state(&store, 5, START.plus_s(LIFE_S)).await, State::Expired);
        for person in [1, 2, 3, 5] {
            assert_eq!(ledger(&store, person).await, []);
        }
        // What was sent meanwhile is answered.
        receive(&store, vec![said(107, 1, "yes", 20)], at(20)).await;
        assert_eq!(ledger(&store, 1).await.len(), 4);
    });
}

#[test]
fn an_opt_out_that_came_first_counts_also_where_both_are_stored_at_once_and_starting_again_brings_nothing_back()
 {
    for_each_backend(|store| async move {
        ask_and_send(&store, 1, 1).await;
        let both = vec![said(101, 1, "STOP", 2), said(102, 1, "yes", 3), said(103, 1, "START", 4)];
        receive(&store, both, at(6)).await;
        assert_eq!(state(&store, 1, at(7)).await, State::OptedOut);
        assert_eq!(ledger(&store, 1).await.iter().filter(|entry| entry.act == Act::Written).count(), 0);
    });
}

#[test]
fn a_request_whose_message_will_not_arrive_makes_room_and_one_that_repeats_it_takes_its_place() {
    for_each_backend(|store| async move {
        for (n, person) in [(1, 1), (2, 2)] {
            ask_and_send(&store, n, person).await;
            let why = failure(FailureClass::Filtered, false);
            advance(&store, vec![to(id(n), Input::Stopped(why))], at(1)).await;
            assert_eq!(state(&store, person, at(1)).await, State::Undelivered);
            receive(&store, vec![said(100 + n, person, "yes", 2)], at(2)).await;
            assert_eq!(ledger(&store, person).await, [], "nobody read it");
        }
        // Asked again.
        assert_eq!(ask(&store, question(3, 1), at(3)).await, Admission::Admitted);
        assert_eq!(requests(&store, 1, at(3)).await.len(), 2);
        // Sent again by a person.
        accept(&store, [Message { retry_of: Some(id(2)), ..question(4, 2) }]).await;
        assert_eq!(state(&store, 2, at(3)).await, State::Pending);
        assert!(claim_at(&store, at(3)).await.iter().any(|ticket| ticket.message.id == id(4)), "claimed");
        receive(&store, vec![said(110, 2, "yes", 4)], at(4)).await;
        let found = requests(&store, 2, at(5)).await;
        assert_eq!((found.len(), found[0].state, found[0].message), (1, State::Granted, id(4)));
        assert_eq!(ledger(&store, 2).await.len(), 4);
    });
}
