//! Programmes: what is kept of them, and what follows when a person joins one.

use crate::inbound_rule::ruled;
use crate::samples::*;
use crate::{for_each_backend, for_each_place};
use std::sync::Arc;
use tidings_domain::address::PhoneNumber;
use tidings_domain::consent::{Act, Channel, Consent, Method, Wording};
use tidings_domain::event::Kind;
use tidings_domain::id::*;
use tidings_domain::message::Message;
use tidings_domain::programme::{Join, Joining, Name, Programme, Programmes};
use tidings_domain::purpose::Purpose;
use tidings_domain::reply::{self, Reply};
use tidings_domain::sender::Sender;
use tidings_domain::suppression::{Reason, Suppression};
use tidings_domain::time::Timestamp;
use tidings_store::*;

const PERSON: u64 = 7;

/// One that people join by a word, and one that they do not.
pub fn programmes() -> Programmes {
    let programme = |name: &str, join| Programme {
        name: Name::parse(name).expect("a name"),
        seller: "Acme".to_owned(),
        senders: vec![Sender::from_stored("ACME").expect("a sender")],
        pools: Vec::new(),
        join,
    };
    let join = Join {
        words: vec!["join".to_owned()],
        purpose: Purpose::Marketing,
        act: Act::Written,
        wording: Wording { hash: [3; 32], text: "Text JOIN to ACME for offers.".to_owned() },
        welcome: "Welcome to Acme offers.".to_owned(),
    };
    Programmes { all: vec![programme("reminders", None), programme("offers", Some(join))] }
}

/// Rules stand beside the programmes, and each welcome is the sample message whose number is that of what it answers, and
/// seventy more.
fn joining(now: Timestamp) -> Hearing {
    let welcome = move |inbound: &Inbound, person: PhoneNumber, joining: &Joining| {
        Some(draft(Message {
            sender: joining.to,
            recipient: person,
            text: Some(joining.join.welcome.clone()),
            created_at: now,
            expires_at: now.plus_s(reply::VALIDITY_S),
            reply: Some(Reply { kind: reply::Kind::OptIn, to: inbound.id }),
            programme: Some(joining.name.clone()),
            ..message(inbound.id.key() + 70)
        }))
    };
    let joins = Joins { programmes: Arc::new(programmes()), welcome: Box::new(welcome) };
    Hearing { joins: Some(Arc::new(joins)), ..ruled(now) }
}

fn said(n: i64, text: &str, s: i64) -> Arrival {
    Arrival { from: number(PERSON).to_string(), to: "ACME".to_owned(), ..arrival(n, text, at(s)) }
}

async fn hear(store: &Arc<dyn Backend>, arrivals: Vec<Arrival>, s: i64) -> Advanced {
    store.receive(arrivals, joining(at(s)), at(s)).await.expect("received")
}

async fn ledger(store: &Arc<dyn Backend>) -> Vec<Consent> {
    store.consents(HOME, number(PERSON), page(MANY)).await.expect("read").items
}

async fn answers(store: &Arc<dyn Backend>) -> usize {
    let filter = MessageFilter { recipient: Some(number(PERSON)), ..MessageFilter::default() };
    store.messages(HOME, filter, page(MANY)).await.expect("read").items.len()
}

fn listed(n: i64, reason: Reason) -> Suppression {
    Suppression {
        id: SuppressionId::from_key(n),
        realm: HOME,
        recipient: number(PERSON),
        reason,
        source: "api".to_owned(),
        created_at: START,
        expires_at: None,
        lifted: None,
    }
}

async fn why_listed(store: &Arc<dyn Backend>, s: i64) -> Option<Reason> {
    store.suppressed(vec![(HOME, number(PERSON))], at(s)).await.expect("read")[0]
}

#[test]
fn a_word_of_a_programme_becomes_a_consent_and_is_answered_once_in_the_commit_that_stores_it() {
    for_each_place(|place| async move {
        let store = place.open();
        // Twice in one commit, and once more later.
        hear(&store, vec![said(1, "Join!", 1), said(2, "join", 4)], 4).await;
        hear(&store, vec![said(3, "JOIN", 9), said(4, "join?", 12), said(5, "please join", 15)], 15).await;
        store.close().await.expect("closed");
        let store = place.open();
        let entries = ledger(&store).await;
        let [entry] = &entries[..] else { panic!("{entries:?}") };
        assert_eq!(
            (entry.act, entry.method, entry.purpose),
            (Act::Written, Method::Text, Purpose::Marketing)
        );
        assert_eq!((entry.given_at, entry.channel), (at(1), Channel::Text));
        assert_eq!(entry.source, format!("{} join", InboundId::from_key(1)));
        let evidence = &entry.evidence;
        assert_eq!(evidence.place.as_deref(), Some("ACME"));
        assert_eq!(
            (evidence.seller.as_deref(), evidence.programme.as_deref()),
            (Some("Acme"), Some("offers"))
        );
        assert_eq!(evidence.wording.as_ref().map(|one| one.hash), Some([3; 32]));
        let welcome = stored(&store, id(71)).await.message;
        assert_eq!(welcome.reply, Some(Reply { kind: reply::Kind::OptIn, to: InboundId::from_key(1) }));
        assert_eq!(welcome.programme, Name::parse("offers"));
        let rule = |n| {
            let store = Arc::clone(&store);
            async move {
                store.inbound(HOME, InboundId::from_key(n)).await.expect("read").expect("there").inbound.rule
            }
        };
        // No rule looks at what joins; the others went by one.
        assert_eq!((rule(1).await, rule(3).await), (None, None));
        assert_eq!(rule(4).await.as_deref(), Some("rest"));
        assert_eq!(answers(&store).await, 1);
        store.close().await.expect("closed");
    });
}

#[test]
fn a_word_of_a_programme_lifts_what_a_start_lifts_and_nothing_else() {
    for_each_backend(|store| async move {
        hear(&store, vec![said(1, "STOP", 1)], 1).await;
        assert_eq!(why_listed(&store, 2).await, Some(Reason::OptedOut));
        let out = hear(&store, vec![said(2, "join", 10)], 10).await;
        assert!(!out.opted_out);
        assert_eq!((why_listed(&store, 11).await, ledger(&store).await.len()), (None, 1));
        let kinds: Vec<Kind> = feed(&store, HOME, MANY).await.iter().map(|told| told.event.kind).collect();
        assert_eq!(kinds.iter().filter(|kind| **kind == Kind::OptedIn).count(), 1);
        assert_eq!(stored(&store, id(72)).await.message.recipient, number(PERSON));
        // Out and in again: the consent from before does not count any more.
        hear(&store, vec![said(3, "STOP", 20), said(4, "join", 30)], 30).await;
        assert_eq!((why_listed(&store, 31).await, ledger(&store).await.len()), (None, 2));
    });
}

#[test]
fn who_somebody_of_the_account_put_on_the_list_joins_and_is_not_sent_to() {
    for_each_backend(|store| async move {
        let by = Actor { account: HOME.account, who: "operator".to_owned() };
        store.suppress(vec![listed(50, Reason::Manual)], by).await.expect("listed");
        hear(&store, vec![said(1, "join", 10), said(2, "join", 15)], 15).await;
        assert_eq!(why_listed(&store, 16).await, Some(Reason::Manual));
        assert_eq!((ledger(&store).await.len(), answers(&store).await), (1, 0));
    });
}

#[test]
fn a_message_says_of_which_programme_it_is() {
    for_each_place(|place| async move {
        let store = place.open();
        let made = Message { programme: Name::parse("offers"), ..message(1) };
        accept(&store, [made.clone(), message(2)]).await;
        assert_eq!(claim_at(&store, START).await[0].message.programme, made.programme);
        store.close().await.expect("closed");
        let store = place.open();
        assert_eq!(stored(&store, id(1)).await.message, made);
        assert_eq!(stored(&store, id(2)).await.message.programme, None);
        store.close().await.expect("closed");
    });
}
