//! Programmes: what is kept of them, and what follows when a person joins one.

use crate::inbound_rule::ruled;
use crate::samples::*;
use crate::{for_each_backend, for_each_place};
use std::sync::Arc;
use tidings_domain::address::PhoneNumber;
use tidings_domain::consent::{Act, Channel, Consent, Method, Wording};
use tidings_domain::event::Kind;
use tidings_domain::id::*;
use tidings_domain::inbound::Whose;
use tidings_domain::message::{Message, Status};
use tidings_domain::programme::{Join, Joining, Name, Programme, Programmes, Stop};
use tidings_domain::purpose::Purpose;
use tidings_domain::reply::{self, Reply};
use tidings_domain::sender::Sender;
use tidings_domain::suppression::{InForce, Listing, Reason, Suppression};
use tidings_domain::time::Timestamp;
use tidings_store::*;

const PERSON: u64 = 7;

/// One that people join by a word, one that they do not, and one that they join and leave at a sender of its own.
pub fn programmes() -> Programmes {
    let programme = |name: &str, sender: &str, join, stop| Programme {
        name: Name::parse(name).expect("a name"),
        formerly: Vec::new(),
        seller: "Acme".to_owned(),
        senders: vec![Sender::from_stored(sender).expect("a sender")],
        pools: Vec::new(),
        join,
        stop,
    };
    let join = |word: &str| Join {
        words: vec![word.to_owned()],
        purpose: Purpose::Marketing,
        act: Act::Written,
        wording: Wording { hash: [3; 32], text: "Text JOIN to ACME for offers.".to_owned() },
        welcome: "Welcome to Acme offers.".to_owned(),
    };
    Programmes {
        all: vec![
            programme("reminders", "ACME", None, Stop::Account),
            programme("offers", "ACME", Some(join("join")), Stop::Account),
            programme("news", "NEWS", Some(join("news")), Stop::Programme),
        ],
    }
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
    let by_word = ByWord { programmes: Arc::new(programmes()), welcome: Box::new(welcome) };
    Hearing { by_word: Some(Arc::new(by_word)), ..ruled(now) }
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
        programme: None,
        reason,
        source: "api".to_owned(),
        created_at: START,
        expires_at: None,
        lifted: None,
    }
}

fn listed_of(n: i64) -> Suppression {
    listed(n, Reason::OptedOut)
}

async fn why_listed(store: &Arc<dyn Backend>, s: i64) -> Option<Reason> {
    standing(store, s).await.account
}

async fn standing(store: &Arc<dyn Backend>, s: i64) -> Listing {
    store.suppressed(vec![(HOME, number(PERSON))], at(s)).await.expect("read").remove(0)
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

// ── opt-outs of one programme ───────────────────────────────────────────────────────────────────────────────

fn news() -> Name {
    Name::parse("news").expect("a name")
}

/// What the person says to the sender of the news.
fn to_news(n: i64, text: &str, s: i64) -> Arrival {
    Arrival { to: "NEWS".to_owned(), ..said(n, text, s) }
}

fn of_news(n: i64) -> Message {
    Message { recipient: number(PERSON), programme: Some(news()), ..message(n) }
}

/// The person is out of the news for this reason, and of nothing else.
fn out_of_news(reason: Reason) -> Listing {
    Listing { programmes: [(news(), reason)].into(), ..Listing::default() }
}

#[test]
fn a_word_to_a_sender_of_one_programme_ends_that_one_alone() {
    for_each_place(|place| async move {
        let store = place.open();
        let later = |n| Message { send_at: Some(at(600)), expires_at: at(9_000), ..of_news(n) };
        let other = Message { programme: Name::parse("offers"), ..later(2) };
        let of_none = Message { programme: None, ..later(3) };
        let of_another_person = Message { recipient: number(8), ..later(5) };
        accept(&store, [later(1), other, of_none, of_news(4), of_another_person]).await;

        let out = hear(&store, vec![to_news(11, "STOP", 1)], 1).await;
        assert!(out.opted_out);
        store.close().await.expect("closed");
        let store = place.open();
        assert_eq!(standing(&store, 2).await, out_of_news(Reason::OptedOut));
        for ended in [1, 4] {
            let stored = stored(&store, id(ended)).await;
            let failure = stored.failure.expect("it says why");
            assert_eq!(stored.life.state.status(), Status::Rejected);
            assert_eq!(failure, InForce { reason: Reason::OptedOut, programme: Some(news()) }.failure());
        }
        for kept in [2, 3, 5] {
            assert!(!status(&store, id(kept)).await.is_final(), "{kept}");
        }
        let entries = store
            .suppressions(
                HOME,
                SuppressionFilter { recipient: Some(number(PERSON)), ..SuppressionFilter::default() },
                page(MANY),
            )
            .await
            .expect("read");
        let [entry] = &entries.items[..] else { panic!("{entries:?}") };
        assert_eq!((entry.programme.clone(), entry.reason), (Some(news()), Reason::OptedOut));
        let reply = stored(&store, id(11)).await.message.reply.map(|reply| reply.kind);
        assert_eq!(reply, Some(reply::Kind::ProgrammeOptOut));
        let told = feed(&store, HOME, MANY).await;
        let told = told.iter().find(|told| told.event.kind == Kind::OptedOut).expect("it is told");
        assert_eq!(Whose::read_noted(told.event.raw.as_deref()).programme, Some(news()));

        // What comes now: of the news nothing, of all else everything.
        let other = Message { programme: Name::parse("offers"), ..of_news(22) };
        let of_none = Message { programme: None, ..of_news(23) };
        let accepted = store.accept(intake([of_news(21), other, of_none]), at(3)).await.expect("accepted");
        let stopped = InForce { reason: Reason::OptedOut, programme: Some(news()) };
        let expected = vec![Admission::Suppressed(stopped), Admission::Admitted, Admission::Admitted];
        assert_eq!(accepted, Accepted::New(expected, Box::default()));
        let said = store.said(vec![(HOME, number(PERSON))]).await.expect("read").remove(0);
        assert_eq!(said.opt_outs.iter().map(|out| out.programme.clone()).collect::<Vec<_>>(), [Some(news())]);
        store.close().await.expect("closed");
    });
}

#[test]
fn an_opt_out_of_a_programme_is_confirmed_once_and_stop_all_ends_everything() {
    for_each_backend(|store| async move {
        let is_answered = |n| {
            let store = Arc::clone(&store);
            async move {
                let found = store.message(HOME, id(n)).await.expect("read");
                found.and_then(|one| one.message.reply).map(|reply| reply.kind)
            }
        };
        hear(&store, vec![to_news(1, "STOP", 1), to_news(2, "stop!", 10), to_news(3, "HELP", 20)], 20).await;
        assert_eq!(is_answered(1).await, Some(reply::Kind::ProgrammeOptOut));
        assert_eq!((is_answered(2).await, standing(&store, 21).await), (None, out_of_news(Reason::OptedOut)));
        hear(&store, vec![to_news(4, "STOP ALL", 30)], 30).await;
        assert_eq!(is_answered(4).await, Some(reply::Kind::OptOut));
        assert_eq!(why_listed(&store, 31).await, Some(Reason::OptedOut));
        // Who is out of everything is out of the news, too.
        hear(&store, vec![to_news(5, "STOP", 40)], 40).await;
        assert_eq!(is_answered(5).await, None, "that it ended was said");
        // START takes all of it back.
        hear(&store, vec![said(6, "START", 50)], 50).await;
        assert!(standing(&store, 51).await.is_free());
        assert_eq!(is_answered(6).await, Some(reply::Kind::OptIn));
        // A sentence says more than a word, and so does a word where two programmes are sent from.
        hear(&store, vec![to_news(7, "do not text me again", 60)], 60).await;
        assert_eq!(
            standing(&store, 61).await,
            Listing { account: Some(Reason::OptedOut), ..Listing::default() }
        );
        hear(&store, vec![said(8, "START", 70), said(9, "STOP", 80)], 80).await;
        assert_eq!(
            standing(&store, 81).await,
            Listing { account: Some(Reason::OptedOut), ..Listing::default() }
        );
    });
}

#[test]
fn a_word_to_join_opens_what_it_names_and_no_other_programme_that_the_person_left() {
    // In whichever order the person left the one and all.
    for texts in [["STOP", "STOP ALL"], ["STOP ALL", "STOP"]] {
        for_each_backend(|store| async move {
            hear(&store, vec![to_news(1, texts[0], 1), to_news(2, texts[1], 10)], 10).await;
            let both = Listing { account: Some(Reason::OptedOut), ..out_of_news(Reason::OptedOut) };
            assert_eq!(standing(&store, 11).await, both, "{texts:?}");
            // The same again changes nothing, and is not told.
            hear(&store, vec![to_news(3, "STOP", 20)], 20).await;
            let told = feed(&store, HOME, MANY).await;
            let told: Vec<_> = told
                .iter()
                .filter(|told| told.event.kind == Kind::OptedOut)
                .map(|told| Whose::read_noted(told.event.raw.as_deref()).programme)
                .collect();
            let expected = texts.map(|text| (text == "STOP").then(news));
            assert_eq!(told, expected, "{texts:?}");
            hear(&store, vec![said(4, "join", 30)], 30).await;
            assert_eq!(standing(&store, 31).await, out_of_news(Reason::OptedOut), "{texts:?}");
            let accepted = store.accept(intake([of_news(21)]), at(32)).await.expect("accepted");
            let stopped = InForce { reason: Reason::OptedOut, programme: Some(news()) };
            assert_eq!(accepted, Accepted::New(vec![Admission::Suppressed(stopped)], Box::default()));
            // Its own word opens it, too. Each says which programme it is about, and START is about all.
            hear(&store, vec![to_news(5, "news", 40)], 40).await;
            assert!(standing(&store, 41).await.is_free(), "{texts:?}");
            hear(&store, vec![to_news(6, "STOP", 50), to_news(7, "START", 60)], 60).await;
            let told = feed(&store, HOME, MANY).await;
            let back = told.iter().filter(|told| told.event.kind == Kind::OptedIn);
            let back: Vec<_> =
                back.map(|told| Whose::read_noted(told.event.raw.as_deref()).programme).collect();
            assert_eq!(back, [Name::parse("offers"), Some(news()), None], "{texts:?}");
        });
    }
}

#[test]
fn only_the_person_or_somebody_who_says_why_lifts_an_opt_out_of_a_programme() {
    for_each_backend(|store| async move {
        hear(&store, vec![to_news(1, "STOP", 1)], 1).await;
        let sender = Sender::from_stored("NEWS").expect("a sender");
        let joining = programmes().joined_by(sender, "news").expect("it is its word");
        let by = (InboundId::from_key(9), at(5));
        let consent = joining.entry(ConsentId::from_key(500), HOME, number(PERSON), by, at(5));
        store.record_consents(vec![consent], actor(), at(5)).await.expect("recorded");
        assert_eq!(
            standing(&store, 6).await,
            out_of_news(Reason::OptedOut),
            "what others say changes nothing"
        );
        let lift = |programme, s| store.lift(HOME, number(PERSON), programme, "asked".into(), actor(), at(s));
        assert!(lift(None, 7).await.expect("asked").is_none(), "there is no entry about everything");
        assert!(lift(Name::parse("offers"), 7).await.expect("asked").is_none());
        let lifted = lift(Some(news()), 7).await.expect("asked").expect("it was in force");
        assert_eq!(lifted.programme, Some(news()));
        assert!(standing(&store, 8).await.is_free());

        // The word of another programme lifts nothing of this one, and its own does.
        hear(&store, vec![to_news(2, "STOP", 10), said(3, "join", 15)], 15).await;
        assert_eq!(standing(&store, 16).await, out_of_news(Reason::OptedOut));
        hear(&store, vec![to_news(4, "news", 20)], 20).await;
        assert!(standing(&store, 21).await.is_free());
        assert_eq!(stored(&store, id(74)).await.message.programme, Some(news()));
    });
}

#[test]
fn entries_about_everything_and_about_a_programme_know_nothing_of_each_other() {
    for_each_backend(|store| async move {
        let of_news = |n, reason| Suppression { programme: Some(news()), ..listed(n, reason) };
        let entries =
            vec![listed(50, Reason::OptedOut), of_news(51, Reason::Manual), listed(52, Reason::Manual)];
        let stand = store.suppress(entries, actor()).await.expect("listed");
        assert_eq!(stand.iter().map(|one| one.id.key()).collect::<Vec<_>>(), [50, 51, 50]);
        let both = Listing { account: Some(Reason::OptedOut), ..out_of_news(Reason::Manual) };
        assert_eq!(standing(&store, 1).await, both);
        // The person's word replaces what somebody of the account said of the news, and START brings that back.
        store.lift(HOME, number(PERSON), None, "asked".into(), actor(), at(2)).await.expect("lifted");
        hear(&store, vec![to_news(1, "STOP", 10)], 10).await;
        assert_eq!(standing(&store, 11).await, out_of_news(Reason::OptedOut));
        hear(&store, vec![to_news(2, "START", 20)], 20).await;
        assert_eq!(standing(&store, 21).await, out_of_news(Reason::Manual));
        let page = store
            .suppressions(HOME, SuppressionFilter::all_of(number(PERSON)), page(MANY))
            .await
            .expect("read");
        assert_eq!(page.items.len(), 4, "{page:?}");
    });
}

#[test]
fn a_programme_that_is_renamed_keeps_its_opt_outs_and_those_of_one_that_is_gone_are_of_everything() {
    for_each_place(|place| async move {
        let renamed = || {
            let mut all = programmes();
            let news = all.all.pop().expect("it is the last");
            let name = Name::parse("letters").expect("a name");
            all.all.push(Programme { name, formerly: vec![news.name.clone()], ..news });
            all
        };
        let gone = || Programmes { all: programmes().all.into_iter().take(2).collect() };
        let admitted = |store: &Arc<dyn Backend>, n: i64, programme: Option<&str>| {
            let store = Arc::clone(store);
            let message = Message { programme: programme.and_then(Name::parse), ..of_news(n) };
            async move {
                match store.accept(intake([message]), at(3)).await.expect("accepted") {
                    Accepted::New(mut admissions, _) => admissions.pop(),
                    other => panic!("{other:?}"),
                }
            }
        };
        let stopped = |name: &str| {
            let of = InForce { reason: Reason::OptedOut, programme: Name::parse(name) };
            Some(Admission::Suppressed(of))
        };
        let store = place.open_calling(programmes().names());
        let waits = |n| Message { send_at: Some(at(60)), expires_at: at(9_000), ..of_news(n) };
        accept(&store, [Message { recipient: number(8), ..waits(1) }]).await;
        hear(&store, vec![to_news(11, "STOP", 1)], 1).await;
        let listed = store.programmes_listed(at(2)).await.expect("read");
        assert_eq!(listed.into_iter().collect::<Vec<_>>(), [((news(), HOME), 1)]);
        assert_eq!(admitted(&store, 20, Some("offers")).await, Some(Admission::Admitted));
        assert_eq!(admitted(&store, 21, None).await, Some(Admission::Admitted));
        assert_eq!(admitted(&store, 22, Some("news")).await, stopped("news"));
        let entry = Suppression { programme: Some(news()), recipient: number(8), ..listed_of(51) };
        store.suppress(vec![entry], actor()).await.expect("listed");
        store.close().await.expect("closed");

        // It has another name: its opt-outs are against it, and against nothing else.
        let store = place.open_calling(renamed().names());
        assert_eq!(admitted(&store, 30, Some("letters")).await, stopped("letters"));
        assert_eq!(admitted(&store, 31, Some("offers")).await, Some(Admission::Admitted));
        store.close().await.expect("closed");

        // Nobody knows it: they are against everything, also against what waits.
        let store = place.open_calling(gone().names());
        for programme in [None, Some("offers"), Some("news")] {
            assert_eq!(admitted(&store, 40, programme).await, stopped("news"), "{programme:?}");
        }
        let ended = store.stop_waiting(vec![(HOME, number(8))], MANY, at(4)).await.expect("ended");
        assert_eq!((ended.counted.len(), status(&store, id(1)).await), (1, Status::Rejected));
        // A word to join another programme opens nothing of it, and so nothing is said; START opens all.
        hear(&store, vec![said(12, "join", 10)], 10).await;
        assert_eq!(
            (ledger(&store).await.len(), standing(&store, 11).await.against_all()),
            (1, Some(Reason::OptedOut))
        );
        assert!(store.message(HOME, id(82)).await.expect("read").is_none(), "no welcome");
        hear(&store, vec![said(13, "START", 20)], 20).await;
        assert!(standing(&store, 21).await.is_free());
        assert_eq!(stored(&store, id(13)).await.message.reply.map(|one| one.kind), Some(reply::Kind::OptIn));
        store.close().await.expect("closed");

        // It is back: what it says counts as it did.
        let store = place.open_calling(programmes().names());
        let other = store.suppressed(vec![(HOME, number(8))], at(30)).await.expect("read").remove(0);
        assert_eq!(other, out_of_news(Reason::OptedOut));
        store.close().await.expect("closed");
    });
}

#[test]
fn the_word_of_a_programme_takes_back_an_opt_out_under_the_name_that_it_had() {
    for_each_place(|place| async move {
        let store = place.open_calling(renamed_offers().names());
        let entry = Suppression { programme: Name::parse("deals"), ..listed(50, Reason::OptedOut) };
        store.suppress(vec![entry], actor()).await.expect("listed");
        let by_word = ByWord { programmes: Arc::new(renamed_offers()), welcome: Box::new(|_, _, _| None) };
        let hearing = Hearing { by_word: Some(Arc::new(by_word)), ..joining(at(10)) };
        store.receive(vec![said(1, "join", 10)], hearing, at(10)).await.expect("received");
        assert!(standing(&store, 11).await.is_free());
        store.close().await.expect("closed");
    });
}

fn renamed_offers() -> Programmes {
    let mut all = programmes();
    all.all[1].formerly = Name::parse("deals").into_iter().collect();
    all
}

#[test]
fn a_list_is_narrowed_to_one_programme() {
    for_each_backend(|store| async move {
        let about = |n: i64, person, name| Suppression {
            recipient: number(person),
            programme: Name::parse(name),
            ..listed(n, Reason::OptedOut)
        };
        let entries = vec![
            about(50, 1, "news"),
            about(51, 2, "offers"),
            about(52, 2, "news"),
            Suppression { recipient: number(2), ..listed(53, Reason::OptedOut) },
            about(54, 3, "news"),
        ];
        store.suppress(entries, actor()).await.expect("listed");
        store.lift(HOME, number(3), Some(news()), "asked".into(), actor(), at(2)).await.expect("lifted");
        let check = |recipient: Option<u64>, programme: &str, include_lifted, expected: &'static [i64]| {
            let store = Arc::clone(&store);
            let recipient = recipient.map(number);
            let filter = SuppressionFilter { recipient, programme: Name::parse(programme), include_lifted };
            async move {
                let found = store.suppressions(HOME, filter.clone(), page(MANY)).await.expect("read").items;
                let found: Vec<i64> = found.iter().map(|entry| entry.id.key()).collect();
                assert_eq!(found, expected, "{filter:?}");
            }
        };
        check(None, "news", false, &[52, 50]).await;
        check(None, "news", true, &[54, 52, 50]).await;
        check(Some(2), "news", false, &[52]).await;
        check(Some(2), "offers", true, &[51]).await;
        check(Some(3), "news", false, &[]).await;
        check(None, "gone", true, &[]).await;
        check(Some(2), "", true, &[53, 52, 51]).await;
        let filter = SuppressionFilter { programme: Some(news()), ..SuppressionFilter::default() };
        let first = store.suppressions(HOME, filter.clone(), page(1)).await.expect("read");
        let rest = Page { before: first.next, limit: 9 };
        let rest = store.suppressions(HOME, filter, rest).await.expect("read").items;
        assert_eq!(rest.iter().map(|entry| entry.id.key()).collect::<Vec<_>>(), [50]);
    });
}

#[test]
fn what_waits_of_a_programme_ends_whoever_made_the_entry() {
    for_each_backend(|store| async move {
        accept(&store, [of_news(1), Message { programme: None, ..of_news(2) }]).await;
        let entry = Suppression { programme: Some(news()), ..listed(50, Reason::OptedOut) };
        store.suppress(vec![entry], actor()).await.expect("listed");
        let ended = store.stop_waiting(vec![(HOME, number(PERSON))], MANY, at(1)).await.expect("ended");
        assert_eq!(ended.counted.len(), 1);
        assert_eq!(
            (status(&store, id(1)).await, status(&store, id(2)).await),
            (Status::Rejected, Status::Queued)
        );
    });
}
