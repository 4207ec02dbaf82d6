//! Rules for what people write: which acts, what becomes of the conversation, and how often somebody is answered.

use crate::conversation::said;
use crate::samples::*;
use crate::{for_each_backend, for_each_place};
use std::sync::Arc;
use tidings_domain::contact::{Contact, Details, Group};
use tidings_domain::conversation::{Conversation, Entry, Status};
use tidings_domain::event::Kind;
use tidings_domain::id::*;
use tidings_domain::inbound::Whose;
use tidings_domain::inbound_rule::{Answer, Assign, InboundRule, Then, When};
use tidings_domain::message::Message;
use tidings_domain::queue::Queue;
use tidings_domain::reply::{self, Reply};
use tidings_domain::sender::Sender;
use tidings_domain::suppression::Reason;
use tidings_domain::time::Timestamp;
use tidings_store::*;

fn answer(text: &str, every_h: i64) -> Option<Answer> {
    Some(Answer { text: text.to_owned(), every_h })
}

fn when(word: &str) -> When {
    When { keywords: vec![word.to_owned()], ..When::default() }
}

/// Those of the tests, in their order.
fn all_rules() -> Vec<InboundRule> {
    let rule = |name: &str, when, then| InboundRule { name: name.to_owned(), when, then };
    let tags = |tag: &str| vec![tag.to_owned()];
    vec![
        rule(
            "order",
            when("order"),
            Then { reply: answer("We look.", 1), tags: tags("order"), ..Then::default() },
        ),
        rule("price", when("price"), Then { reply: answer("It is 5.", 1), ..Then::default() }),
        rule("hours", when("hours"), Then { reply: answer("Nine to five.", 24), ..Then::default() }),
        rule(
            "vip",
            When { groups: vec![Group::from_stored("VIP")], ..When::default() },
            Then { assign: Some(Assign::Owner), tags: tags("vip"), ..Then::default() },
        ),
        rule(
            "rest",
            When { known: Some(false), ..When::default() },
            Then { assign: Some(Assign::To("Maya".into())), ..Then::default() },
        ),
    ]
}

/// What people write goes by these rules, and each answer is the sample message whose number is that of what it answers, and
/// fifty more.
pub fn ruled(now: Timestamp) -> Hearing {
    let answer = move |inbound: &Inbound, person, answer: &Answer| {
        Some(draft(Message {
            sender: inbound.sender()?,
            recipient: person,
            text: Some(answer.text.clone()),
            created_at: now,
            expires_at: now.plus_s(reply::VALIDITY_S),
            reply: Some(Reply { kind: reply::Kind::Rule, to: inbound.id }),
            ..message(inbound.id.key() + 50)
        }))
    };
    Hearing {
        rules: Some(Arc::new(InboundRules { all: all_rules(), answer: Box::new(answer) })),
        ..hearing()
    }
}

async fn hear(store: &Arc<dyn Backend>, arrivals: Vec<Arrival>, now: Timestamp) -> Advanced {
    store.receive(arrivals, ruled(now), now).await.expect("received")
}

/// Who has the conversation with this person, how it is tagged, and how it stands.
async fn stands(store: &Arc<dyn Backend>, person: u64) -> (Option<String>, String, Status) {
    let filter = ConversationFilter { person: Some(number(person)), ..ConversationFilter::default() };
    let one = store.conversations(HOME, filter, page(1), at(9)).await.expect("read").items.remove(0);
    let Conversation { assignee, tags, .. } = &one;
    (assignee.clone(), tags.join(" "), one.status(at(0)))
}

/// The texts of all messages to this person, the first first.
async fn answers(store: &Arc<dyn Backend>, person: u64) -> Vec<String> {
    let filter = MessageFilter { recipient: Some(number(person)), ..MessageFilter::default() };
    let found = store.messages(HOME, filter, page(MANY)).await.expect("read").items;
    found.into_iter().rev().map(|stored| stored.message.text.unwrap_or_default()).collect()
}

fn contact(n: i64, person: u64, group: &str, owner: Option<&str>) -> Contact {
    Contact {
        id: ContactId::from_key(n),
        realm: HOME,
        numbers: vec![number(person)],
        details: Details {
            owner: owner.map(str::to_owned),
            groups: [Group::from_stored(group)].into(),
            ..Details::default()
        },
        created_at: START,
        updated_at: START,
    }
}

fn actor() -> Actor {
    Actor { account: HOME.account, who: "operator".to_owned() }
}

#[test]
fn a_contact_that_cannot_be_read_keeps_nobody_from_being_heard() {
    for_each_place(|place| async move {
        let store = place.open();
        store.create_contact(contact(1, 1, "VIP", Some("Ben")), actor()).await.expect("created");
        if place.spoil("UPDATE contact SET fields = 'spoiled'") {
            let out = hear(&store, vec![said(1, 1, "hello", 1), said(2, 1, "STOP", 1)], at(1)).await;
            assert!(out.opted_out, "{out:?}");
            let heard = store.inbound(HOME, InboundId::from_key(1)).await.expect("read").expect("stored");
            assert_eq!(heard.inbound.rule, None, "not one for those whom nobody knows");
            assert_eq!(stands(&store, 1).await.0, None);
        }
        store.close().await.expect("closed");
    });
}

#[test]
fn the_first_rule_that_fits_acts_in_the_commit_that_stores_the_text_and_is_named_there() {
    for_each_place(|place| async move {
        let store = place.open();
        for contact in
            [contact(1, 1, "VIP", Some("Ben")), contact(2, 2, "VIP", None), contact(3, 3, "Other", None)]
        {
            store.create_contact(contact, actor()).await.expect("created");
        }
        let arrivals = vec![
            said(1, 1, "Order 17!", 1),
            said(2, 1, "where is it", 1),
            said(3, 2, "hello", 1),
            said(4, 3, "hello", 1),
            said(5, 4, "hello", 1),
            said(6, 4, "HELP", 1),
            // Part by part, and from a name that nobody can answer.
            part(7, (9, 2, 1), "ord", at(1)),
            part(8, (9, 2, 2), "er me one", at(1)),
            Arrival { from: "ACME".to_owned(), ..said(9, 1, "order", 1) },
        ];
        let advanced = hear(&store, arrivals, at(1)).await;
        let told: Vec<Option<String>> = store
            .events(HOME, None, 99)
            .await
            .expect("read")
            .told
            .into_iter()
            .map(|told| match told.about {
                About::Inbound(inbound) => inbound.rule,
                other => panic!("not of a person: {other:?}"),
            })
            .collect();
        let named = [Some("order"), Some("vip"), Some("vip"), None, Some("rest"), None, Some("order"), None];
        assert_eq!(told.iter().map(Option::as_deref).collect::<Vec<_>>(), named);
        assert!(
            advanced.queued.iter().any(|(queue, _)| *queue == Queue::of(LINE)),
            "somebody is to be answered"
        );
        store.close().await.expect("closed");

        let store = place.open();
        let rule = store
            .inbound(HOME, InboundId::from_key(1))
            .await
            .expect("read")
            .expect("there is one")
            .inbound
            .rule;
        assert_eq!(rule.as_deref(), Some("order"));
        let named = |name: &str| Some(name.to_owned());
        assert_eq!(stands(&store, 1).await, (named("Ben"), "order vip".to_owned(), Status::NeedsReply));
        assert_eq!(stands(&store, 2).await, (None, "vip".to_owned(), Status::NeedsReply));
        assert_eq!(stands(&store, 3).await, (None, String::new(), Status::NeedsReply));
        assert_eq!(stands(&store, 4).await, (named("Maya"), String::new(), Status::NeedsReply));
        assert_eq!(answers(&store, 1).await, ["We look."]);
        assert_eq!(answers(&store, 7).await, ["We look."]);
        // Seen in the conversation, and nobody of us said it: it still needs a reply.
        let filter = ConversationFilter { person: Some(number(1)), ..ConversationFilter::default() };
        let one = store.conversations(HOME, filter, page(1), at(9)).await.expect("read").items.remove(0);
        let lines = store.lines(HOME, one.id, page(MANY)).await.expect("read").expect("there is one").items;
        let kinds: Vec<i64> = lines
            .iter()
            .rev()
            .map(|line| match &line.what {
                What::Inbound(_) => 0,
                What::Message(stored) => {
                    assert_eq!(
                        (stored.message.reply.map(|reply| reply.kind), &line.author),
                        (Some(reply::Kind::Rule), &None)
                    );
                    1
                }
                What::Note(..) => 2,
            })
            .collect();
        assert!(kinds == [0, 1, 0] || kinds == [0, 0, 1], "{kinds:?}");
        store.close().await.expect("closed");
    });
}

#[test]
fn a_rule_takes_a_conversation_from_nobody() {
    for_each_backend(|store| async move {
        hear(&store, vec![said(1, 4, "hello", 1)], at(1)).await;
        let filter = ConversationFilter::default();
        let one = store.conversations(HOME, filter, page(1), at(9)).await.expect("read").items.remove(0);
        let change = tidings_domain::conversation::Change::Assign(Some("Eve".to_owned()));
        store
            .change_conversation(HOME, one.id, change, actor(), at(2))
            .await
            .expect("asked")
            .expect("there")
            .expect("done");
        hear(&store, vec![said(2, 4, "hello again", 3)], at(3)).await;
        assert_eq!(stands(&store, 4).await.0.as_deref(), Some("Eve"));
    });
}

#[test]
fn two_machines_that_answer_each_other_end_and_a_keyword_is_answered_all_the_same() {
    for_each_backend(|store| async move {
        let hour = |hours: i64| START.plus_ms(hours * HOUR_MS);
        // The other machine sends back what it gets, for half a day.
        for n in 0..12 {
            for (m, text) in ["order", "price", "hours"].into_iter().enumerate() {
                let arrival = Arrival { at: hour(n), ..said(10 * n + m as i64, 5, text, 0) };
                hear(&store, vec![arrival], hour(n)).await;
            }
        }
        assert_eq!(answers(&store, 5).await, ["We look.", "It is 5.", "Nine to five."], "three in a day");
        let help = Arrival { at: hour(13), ..said(200, 5, "help", 0) };
        hear(&store, vec![help], hour(13)).await;
        assert_eq!(answers(&store, 5).await.len(), 4);
        // A day later there is room, and each rule waits for its own turn.
        for (n, text) in [(300, "hours"), (301, "order"), (302, "order")] {
            let arrival = Arrival { at: hour(24), ..said(n, 5, text, 0) };
            hear(&store, vec![arrival], hour(24)).await;
        }
        let last = answers(&store, 5).await.split_off(4);
        assert_eq!(last, ["Nine to five.", "We look."]);
        while store.sweep(Retention::FOR_EVER, 1, hour(24 + 31 * 24)).await.expect("swept") {}
        let arrival = Arrival { at: hour(24 + 31 * 24), ..said(400, 5, "order", 0) };
        hear(&store, vec![arrival], hour(24 + 31 * 24)).await;
        assert_eq!(answers(&store, 5).await.len(), 7);
    });
}

#[test]
fn nobody_is_answered_by_a_rule_who_is_on_the_list_or_perhaps_asks_for_no_more() {
    for_each_backend(|store| async move {
        for (n, reason) in [(1, Reason::OptedOut), (2, Reason::Manual), (3, Reason::InvalidNumber)] {
            let entry = Suppression {
                id: SuppressionId::from_key(n),
                realm: HOME,
                recipient: number(n as u64),
                programme: None,
                reason,
                source: "api".to_owned(),
                created_at: START,
                expires_at: None,
                lifted: None,
            };
            store.suppress(vec![entry], actor()).await.expect("suppressed");
        }
        let texts =
            |from: i64| (1..=3).map(move |n| said(from + n, n as u64, "order", 2)).collect::<Vec<_>>();
        hear(&store, texts(10), at(2)).await;
        for person in 1..=3 {
            assert_eq!(answers(&store, person).await, [""; 0]);
            assert_eq!(stands(&store, person).await.1, "order", "it is routed all the same");
        }
        let doubtful = "order: how do I unsubscribe?";
        hear(&store, vec![said(20, 4, doubtful, 3)], at(3)).await;
        assert_eq!((stands(&store, 4).await.1.as_str(), answers(&store, 4).await.len()), ("order", 0));
        // Who comes off the list has their turn: nothing was counted.
        store.lift(HOME, number(2), None, "asked".to_owned(), actor(), at(4)).await.expect("lifted");
        hear(&store, vec![said(30, 2, "order", 5)], at(5)).await;
        assert_eq!(answers(&store, 2).await, ["We look."]);
    });
}

/// Written to where other tests have their sender.
#[test]
fn the_sender_is_the_one_that_was_written_to() {
    for_each_backend(|store| async move {
        hear(&store, vec![said(1, 1, "order", 1)], at(1)).await;
        let stored = store.message(HOME, id(51)).await.expect("read").expect("there is one");
        assert_eq!(stored.message.sender, Sender::from_stored("72345").expect("a sender"));
    });
}

#[test]
fn who_saw_what_a_rule_answered_saw_all_and_a_rules_answer_that_is_repeated_is_still_nobodys() {
    for_each_backend(|store| async move {
        hear(&store, vec![said(1, 1, "order 17", 1)], at(1)).await;
        assert_eq!(answers(&store, 1).await, ["We look."]);
        // A person sends the answer of the rule again: still nobody of us wrote.
        let again = Message {
            retry_of: Some(id(51)),
            reply: None,
            ..store.message(HOME, id(51)).await.expect("read").expect("there").message
        };
        accept(&store, [Message { id: id(60), ..again.clone() }]).await;
        assert_eq!(stands(&store, 1).await.2, Status::NeedsReply);
        // Who saw what the person wrote is not overtaken by the answer of the rule.
        let reply = |n, seen| {
            let saying =
                Saying { seen: Some(Entry::Inbound(InboundId::from_key(seen))), author: "Maya".into() };
            let message = Message { id: id(n), reply: None, retry_of: None, ..again.clone() };
            let store = Arc::clone(&store);
            async move {
                let Accepted::New(admissions, _) =
                    store.converse(intake([message]), saying, at(3)).await.expect("answered")
                else {
                    panic!("new")
                };
                admissions[0].clone()
            }
        };
        assert_eq!(reply(70, 2).await, Admission::Overtaken, "that is another text");
        assert_eq!(reply(71, 1).await, Admission::Admitted);
        assert_eq!(reply(72, 1).await, Admission::Overtaken, "a person of ours wrote");
    });
}

#[test]
fn what_is_told_names_the_contact_and_the_conversation_as_they_were() {
    for_each_place(|place| async move {
        let store = place.open();
        store.create_contact(contact(1, 1, "VIP", None), actor()).await.expect("created");
        let arrivals = vec![
            said(1, 1, "hello", 1),
            said(2, 1, "STOP", 1),
            said(3, 2, "hello", 1),
            part(4, (9, 2, 1), "in ", at(1)),
            part(5, (9, 2, 2), "parts", at(1)),
            Arrival { from: "ACME".to_owned(), ..said(6, 1, "hello", 1) },
            said(7, 2, "again", 1),
        ];
        hear(&store, arrivals, at(1)).await;
        let told = async || {
            let told = store.events(HOME, None, 99).await.expect("read").told;
            let of = |told: Told| match told.about {
                About::Inbound(inbound) => {
                    (inbound.id.key(), told.event.kind, Whose::read_noted(told.event.raw.as_deref()))
                }
                other => panic!("not of a person: {other:?}"),
            };
            told.into_iter().map(of).collect::<Vec<_>>()
        };
        let before = told().await;
        let all = store.conversations(HOME, ConversationFilter::default(), page(MANY), at(9)).await;
        let all = all.expect("read").items;
        let talk = |person| all.iter().find(|one| one.person == number(person)).map(|one| one.id);
        let ours = Some(ContactId::from_key(1));
        let known = || Whose { contact: ours, conversation: talk(1), programme: None };
        let stranger = || Whose { contact: None, conversation: talk(2), programme: None };
        let of_parts = before.iter().find(|(id, ..)| *id == 4).expect("it is told").2.clone();
        assert!(of_parts.conversation.is_some(), "{before:?}");
        let expected = [
            (1, Kind::Received, known()),
            (2, Kind::Received, known()),
            (2, Kind::OptedOut, known()),
            (3, Kind::Received, stranger()),
            (4, Kind::Received, of_parts),
            (6, Kind::Received, Whose::default()),
            (7, Kind::Received, stranger()),
        ];
        assert_eq!(before, expected);

        // The event stays as it was; who reads the message by its id sees how it is now.
        assert!(store.delete_contact(HOME, ContactId::from_key(1), actor(), at(2)).await.expect("deleted"));
        store.create_contact(contact(2, 2, "VIP", None), actor()).await.expect("created");
        assert_eq!(told().await, before);
        let read =
            async |id| store.inbound(HOME, InboundId::from_key(id)).await.expect("read").expect("kept").whose;
        assert_eq!(read(1).await, Whose { contact: None, ..known() });
        assert_eq!(read(3).await, Whose { contact: Some(ContactId::from_key(2)), ..stranger() });
        assert_eq!(read(6).await, Whose::default());
        store.close().await.expect("closed");
    });
}
