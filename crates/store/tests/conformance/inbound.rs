//! What people ask by text, and what follows in the same commit.

use crate::samples::*;
use crate::{for_each_backend, for_each_place};
use std::sync::Arc;
use tidings_domain::account::{Environment, Realm};
use tidings_domain::assembly::Bounds;
use tidings_domain::event::Kind;
use tidings_domain::failure::FailureClass;
use tidings_domain::id::*;
use tidings_domain::keyword::Class;
use tidings_domain::message::{Message, Status};
use tidings_domain::queue::Queue;
use tidings_domain::reply::{self, IN_WINDOW_MAX, Reply, WINDOW_MS};
use tidings_domain::review::{self, Decision};
use tidings_domain::suppression::Reason;
use tidings_domain::text::{Charset, Segment};
use tidings_domain::time::Timestamp;
use tidings_domain::webhook::{Delivery, Verdict};
use tidings_store::*;

/// Whom the tests are about.
const PERSON: u64 = 7;

/// The `n`th message of the person, which asks this.
fn asks(n: i64, class: Class, now: Timestamp) -> Arrival {
    let text = match class {
        Class::Stop => "stop".to_owned(),
        Class::Start => "start".to_owned(),
        Class::Help => "help".to_owned(),
        Class::Doubtful => format!("I think you have the wrong number {n}"),
        Class::Nothing => format!("see you {n}"),
    };
    arrival(n, &text, now)
}

async fn says(store: &Arc<dyn Backend>, n: i64, class: Class, now: Timestamp) -> Advanced {
    receive(store, vec![asks(n, class, now)], now).await
}

async fn in_force(store: &Arc<dyn Backend>, now: Timestamp) -> Option<Reason> {
    store.suppressed(vec![(HOME, number(PERSON))], now).await.expect("read")[0].account
}

async fn kinds(store: &Arc<dyn Backend>) -> Vec<Kind> {
    let feed = feed(store, HOME, MANY).await;
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
        programme: None,
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
        assert_eq!((out.queued.as_slice(), out.opted_out), ([(Queue::of(LINE), at(1))].as_slice(), true));
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
        assert_eq!(kept.life.state.status(), Status::Queued, "nobody made that account");
        let entry = store
            .suppressions(
                HOME,
                SuppressionFilter { recipient: Some(number(PERSON)), ..SuppressionFilter::default() },
                page(9),
            )
            .await
            .expect("read");
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

/// P-22: a number of ours may be that of several accounts, and the person knows nothing of accounts.
#[test]
fn stop_and_start_are_said_to_every_account_and_answered_by_one() {
    for_each_backend(|store| async move {
        let second = Realm { account: AccountId::from_key(2), ..HOME };
        let test = Realm { environment: Environment::Test, ..second };
        for account in [HOME.account, second.account] {
            let account = Account { id: account, name: "x".into(), created_at: START };
            store.create_account(account, actor()).await.expect("created");
        }
        for (n, realm) in [(1, HOME), (2, second), (3, test)] {
            let message = Message { account: realm.account, environment: realm.environment, ..to_person(n) };
            store.accept(Intake { realm, ..intake([message]) }, START).await.expect("accepted");
        }
        let stands = async |now: Timestamp| {
            let people = [HOME, second, test].map(|realm| (realm, number(PERSON)));
            let listed = store.suppressed(people.to_vec(), now).await.expect("read");
            listed.iter().map(|one| one.account.is_some()).collect::<Vec<_>>()
        };
        let statuses = async || {
            let mut all = Vec::new();
            for (n, realm) in [(1, HOME), (2, second), (3, test)] {
                let stored = store.message(realm, id(n)).await.expect("read").expect("there");
                all.push(stored.life.state.status());
            }
            all
        };
        let out = says(&store, 11, Class::Stop, at(1)).await;
        assert_eq!(stands(at(1)).await, [true, true, false], "the other environment is another world");
        assert_eq!(statuses().await, [Status::Rejected, Status::Rejected, Status::Queued]);
        assert_eq!(out.queued.len(), 1, "one confirmation");
        // Whom one account put there by itself stays for that one.
        let own = Suppression { realm: second, ..manual(77) };
        says(&store, 12, Class::Start, at(20)).await;
        assert_eq!(stands(at(20)).await, [false; 3]);
        store.suppress(vec![own], actor()).await.expect("added");
        says(&store, 13, Class::Stop, at(40)).await;
        says(&store, 14, Class::Start, at(60)).await;
        assert_eq!(stands(at(60)).await, [false, true, false]);
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
        store.lift(HOME, number(PERSON), None, "asked".into(), actor(), at(40)).await.expect("lifted");

        let by_account = Suppression { reason: Reason::OptedOut, ..manual(2) };
        store.suppress(vec![by_account], actor()).await.expect("added");
        says(&store, 4, Class::Start, at(50)).await;
        assert_eq!(in_force(&store, at(50)).await, None);
        let all = store
            .suppressions(HOME, SuppressionFilter::all_of(number(PERSON)), page(9))
            .await
            .expect("read")
            .items;
        assert_eq!(all.len(), 4, "nothing is overwritten: {all:?}");
        // Both in one call.
        let both = vec![asks(5, Class::Stop, at(60)), asks(6, Class::Start, at(60))];
        receive(&store, both, at(60)).await;
        assert_eq!(in_force(&store, at(60)).await, None);
    });
}

/// P-22: who is out until some day and says STOP is out for good, is told so, and nobody makes that shorter.
#[test]
fn a_stop_of_somebody_who_is_out_for_a_time_counts_for_good() {
    for_each_backend(|store| async move {
        store.create_endpoint(endpoint(1), actor()).await.expect("created");
        let until = |n, s| Suppression {
            reason: Reason::OptedOut,
            created_at: at(n),
            expires_at: Some(at(s)),
            ..manual(n)
        };
        store.suppress(vec![until(1, 100)], actor()).await.expect("added");
        let out = says(&store, 2, Class::Stop, at(10)).await;
        assert!(out.opted_out && out.told.len() == 2, "{out:?}");
        assert_eq!(kinds(&store).await, [Kind::Received, Kind::OptedOut]);
        assert!(store.message(HOME, id(2)).await.expect("read").is_some(), "it is confirmed");
        assert_eq!(in_force(&store, at(200)).await, Some(Reason::OptedOut));
        // Once.
        says(&store, 3, Class::Stop, at(20)).await;
        assert!(store.message(HOME, id(3)).await.expect("read").is_none());
        store.suppress(vec![until(30, 40)], actor()).await.expect("asked");
        assert_eq!(in_force(&store, at(200)).await, Some(Reason::OptedOut));
        let filter = SuppressionFilter::all_of(number(PERSON));
        let all = store.suppressions(HOME, filter, page(9)).await.expect("read").items;
        let why = all[1].lifted.clone().expect("it is lifted");
        assert_eq!((all.len(), why), (2, (at(10), "replaced by opted_out".to_owned())));
        says(&store, 5, Class::Start, at(50)).await;
        assert_eq!(in_force(&store, at(51)).await, None, "and START ends it");
    });
}

/// Somebody of the account took it back, and then the person says so, too.
#[test]
fn start_after_somebody_else_lifted_the_opt_out_is_answered_once_and_is_the_persons_own_word() {
    for_each_place(|place| async move {
        let store = place.open();
        let is_answered = |store: &Arc<dyn Backend>, n| {
            let store = Arc::clone(store);
            async move { store.message(HOME, id(n)).await.expect("read").is_some() }
        };
        let started = |store: &Arc<dyn Backend>| {
            let store = Arc::clone(store);
            async move {
                let said = store.said(vec![(HOME, number(PERSON))]).await.expect("read").remove(0);
                said.opt_outs.iter().map(|out| out.started_at.is_some()).collect::<Vec<_>>()
            }
        };
        says(&store, 1, Class::Start, at(1)).await;
        assert!(!is_answered(&store, 1).await, "who never opted out takes nothing back");
        says(&store, 2, Class::Stop, at(10)).await;
        store.lift(HOME, number(PERSON), None, "by phone".into(), actor(), at(20)).await.expect("lifted");
        assert_eq!(started(&store).await, [false]);
        store.close().await.expect("closed");

        let store = place.open();
        // Twice in one commit, and once more later.
        let both = vec![asks(3, Class::Start, at(30)), asks(4, Class::Start, at(40))];
        receive(&store, both, at(40)).await;
        says(&store, 5, Class::Start, at(50)).await;
        for (n, expected) in [(3, true), (4, false), (5, false)] {
            assert_eq!(is_answered(&store, n).await, expected, "{n}");
        }
        assert_eq!(started(&store).await, [true], "what was agreed to before counts again");
        let opted_in = kinds(&store).await.into_iter().filter(|kind| *kind == Kind::OptedIn).count();
        assert_eq!(opted_in, 1);
        let filter = SuppressionFilter::all_of(number(PERSON));
        let all = store.suppressions(HOME, filter, page(9)).await.expect("read").items;
        let why = all[0].lifted.clone().expect("it is lifted");
        let by_start = format!("{} start, after: by phone", InboundId::from_key(3));
        assert_eq!(why, (at(20), by_start), "who lifted it, and when, stays");
        // Who is on the list for another reason hears nothing, as ever.
        says(&store, 6, Class::Stop, at(60)).await;
        store.lift(HOME, number(PERSON), None, "by phone".into(), actor(), at(70)).await.expect("lifted");
        store.suppress(vec![manual(50)], actor()).await.expect("listed");
        says(&store, 7, Class::Start, at(80)).await;
        assert!(!is_answered(&store, 7).await);
        assert_eq!(started(&store).await, [true, false]);
        store.close().await.expect("closed");
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
        assert!(!store.sweep(Retention::FOR_EVER, 99, next_day).await.expect("swept"));
        says(&store, 20, Class::Help, next_day).await;
        assert!(store.message(HOME, id(20)).await.expect("read").is_some());
        says(&store, 21, Class::Stop, next_day.plus_s(10)).await;
        assert_eq!(status(&store, id(20)).await, Status::Rejected);
        says(&store, 22, Class::Help, next_day.plus_s(20)).await;
        assert!(store.message(HOME, id(22)).await.expect("read").is_none());
    });
}

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
        let shop = Arrival { from: "ACME".to_owned(), ..asks(1, Class::Stop, at(1)) };
        let out = receive(&store, vec![shop], at(1)).await;
        assert!(out.queued.is_empty() && !out.opted_out);
        assert_eq!(kinds(&store).await, [Kind::Received]);
        let feed = feed(&store, HOME, MANY).await;
        let About::Inbound(inbound) = &feed[0].about else { panic!("{feed:?}") };
        let from = |text: &str| Inbound { from: text.to_owned(), ..Inbound::clone(inbound) };
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

// ── parts ───────────────────────────────────────────────────────────────────────────────────────────────────

/// What was told of messages of people: text, missing parts.
async fn told(store: &Arc<dyn Backend>) -> Vec<(String, Vec<u8>)> {
    let feed = feed(store, HOME, MANY).await;
    let received = feed.iter().filter(|told| told.event.kind == Kind::Received);
    let said = received.map(|told| {
        let About::Inbound(inbound) = &told.about else { panic!("{told:?}") };
        let missing = inbound.parts.as_ref().map_or_else(Vec::new, |parts| parts.missing.clone());
        (inbound.text.clone(), missing)
    });
    said.collect()
}

fn whole(text: &str) -> (String, Vec<u8>) {
    (text.to_owned(), Vec::new())
}

/// P-21
#[test]
fn parts_are_put_together_in_any_order_and_told_once_over_restarts() {
    for_each_place(|place| async move {
        let store = place.open();
        store.create_endpoint(endpoint(1), actor()).await.expect("created");
        let of = |n: i64, number: u8, now| {
            part(n, (7, 5, number), ["one ", "two ", "three ", "four ", "five"][usize::from(number) - 1], now)
        };
        let out = receive(&store, vec![of(1, 4, at(1)), of(2, 2, at(1)), of(3, 4, at(1))], at(1)).await;
        assert_eq!((out.told.len(), out.ignored), (0, 1));
        assert_eq!(store.next_due(None, at(2)).await.expect("read"), Some(at(181)));
        let waits = store.inbound(HOME, InboundId::from_key(1)).await.expect("read").expect("there");
        assert_eq!((waits.parts.len(), waits.waits_until), (2, Some(at(181))));
        assert_eq!(give_up(&store, at(180)).await.told.len(), 0);

        store.close().await.expect("closed");
        let store = place.open();
        receive(&store, vec![of(4, 5, at(10)), of(5, 1, at(10))], at(10)).await;
        let out = receive(&store, vec![of(6, 3, at(20))], at(20)).await;
        assert_eq!(out.told.len(), 1);
        assert_eq!(told(&store).await, [whole("one two three four five")]);
        // Each part again, after the message was told, and nothing is due any more.
        let again = (1..=5).map(|number| of(10 + i64::from(number), number, at(600))).collect();
        assert_eq!(receive(&store, again, at(600)).await.ignored, 5);
        assert_eq!(store.next_due(None, at(600)).await.expect("read"), None);
        assert_eq!(give_up(&store, at(900)).await.told.len(), 0);
        let kept = store.inbound(HOME, InboundId::from_key(1)).await.expect("read").expect("there");
        assert_eq!((kept.inbound.at, kept.waits_until), (at(20), None));
        let parts = Parts { reference: 7, total: 5, missing: vec![] };
        assert_eq!(kept.inbound.parts, Some(parts));
        let came: Vec<u8> = kept.parts.iter().flat_map(|(_, segment)| segment.octets.clone()).collect();
        assert_eq!(came, b"one two three four five");
        let elsewhere = Realm { environment: Environment::Test, ..HOME };
        assert_eq!(store.inbound(elsewhere, InboundId::from_key(1)).await.expect("read"), None);
    });
}

/// P-21
#[test]
fn a_missing_part_hides_nothing_and_comes_late_by_itself() {
    for_each_backend(|store| async move {
        let of = |n, number, text, now| part(n, (7, 3, number), text, now);
        receive(&store, vec![of(1, 1, "one ", at(1)), of(2, 3, "three", at(5))], at(5)).await;
        assert_eq!(told(&store).await, []);
        let out = give_up(&store, at(185)).await;
        assert!(!out.more);
        assert_eq!(told(&store).await, [("one […]three".to_owned(), vec![2])]);
        // It comes late; what came before comes again, and is known.
        let late = vec![of(3, 2, "two ", at(200)), of(4, 1, "one ", at(200)), of(5, 3, "three", at(200))];
        assert_eq!(receive(&store, late, at(200)).await.ignored, 2);
        give_up(&store, at(380)).await;
        assert_eq!(told(&store).await[1], ("[…]two […]".to_owned(), vec![1, 3]));
        assert_eq!(give_up(&store, at(9_999)).await.told.len(), 0);
    });
}

#[test]
fn a_reference_that_is_used_again_mixes_nothing() {
    for_each_backend(|store| async move {
        let of = |n, number, text, now| part(n, (7, 2, number), text, now);
        receive(&store, vec![of(1, 1, "old ", at(1))], at(1)).await;
        // Another text under a number that is taken: the phone has begun another message.
        receive(&store, vec![of(2, 1, "new ", at(9)), of(3, 2, "one", at(9))], at(9)).await;
        let expected = [("old […]".to_owned(), vec![2]), whole("new one")];
        assert_eq!(told(&store).await, expected);
        // After the message was told, in one call and over several.
        receive(&store, vec![of(4, 2, "third", at(20)), of(5, 1, "the ", at(20))], at(20)).await;
        assert_eq!(told(&store).await[2..], [whole("the third")]);
        // The same parts again, when nobody can offer them any more.
        let later = at(20 + 16 * 60);
        receive(&store, vec![of(6, 2, "third", later), of(7, 1, "the ", later)], later).await;
        assert_eq!(told(&store).await[3..], [whole("the third")]);
        // Other people, senders, connections and totals have references of their own.
        let others = vec![
            of(11, 1, "a", later),
            Arrival { from: "+46700000099".to_owned(), ..of(12, 2, "b", later) },
            Arrival { to: "ACME".to_owned(), ..of(13, 2, "c", later) },
            Arrival { connection: OTHER_LINE, ..of(14, 2, "d", later) },
            part(15, (7, 3, 2), "e", later),
            part(16, (8, 2, 2), "f", later),
        ];
        assert_eq!(receive(&store, others, later).await.told.len(), 0);
        assert_eq!(told(&store).await.len(), 4);
    });
}

/// P-21: what waits is bounded for each sender, each connection and altogether, and what is over a bound is told at once.
#[test]
fn over_a_bound_the_oldest_is_told_at_once_and_nothing_is_dropped() {
    for_each_backend(|store| async move {
        let bounds = Bounds { sender: 2, connection: 4, all: 6 };
        let first = |n: i64, connection: ConnectionId, from: u64| Arrival {
            connection,
            from: number(from).to_string(),
            ..part(n, (n as u16, 2, 1), &format!("{n}"), at(n))
        };
        let mut flood = Vec::new();
        flood.extend((1..=4).map(|n| first(n, LINE, 1)));
        flood.extend((5..=8).map(|n| first(n, LINE, n as u64)));
        flood.extend((9..=12).map(|n| first(n, OTHER_LINE, n as u64)));
        for one in flood {
            let now = one.at;
            let hearing = Hearing { bounds, ..hearing() };
            store.receive(vec![one], hearing, now).await.expect("received");
        }
        // 3 and 4 push 1 and 2 out, 7 and 8 push 3 and 4 out, 11 and 12 push 5 and 6 out.
        let texts: Vec<String> = told(&store).await.into_iter().map(|(text, _)| text).collect();
        assert_eq!(texts, ["1[…]", "2[…]", "3[…]", "4[…]", "5[…]", "6[…]"]);
        give_up(&store, at(9_000)).await;
        assert_eq!(told(&store).await.len(), 12);
    });
}

/// P-22
#[test]
fn an_opt_out_in_several_parts_is_heard_when_it_is_whole_and_soon_if_it_never_is() {
    for_each_backend(|store| async move {
        let of = |n, number, text, now| part(n, (7, 2, number), text, now);
        let out =
            receive(&store, vec![of(1, 2, "text me", at(1)), of(2, 1, "please do not ", at(1))], at(1)).await;
        assert!(out.opted_out);
        assert_eq!(in_force(&store, at(1)).await, Some(Reason::OptedOut));
        assert_eq!(kinds(&store).await, [Kind::Received, Kind::OptedOut]);
        let confirmation = stored(&store, id(1)).await.message;
        assert_eq!(confirmation.reply.map(|reply| reply.to), Some(InboundId::from_key(1)));
        store.lift(HOME, number(PERSON), None, "asked".into(), actor(), at(2)).await.expect("lifted");

        receive(&store, vec![of(3, 1, "please do not text me, ", at(20))], at(20)).await;
        assert_eq!(store.next_due(None, at(20)).await.expect("read"), Some(at(30)));
        assert!(!give_up(&store, at(29)).await.opted_out);
        assert!(give_up(&store, at(30)).await.opted_out);
        assert_eq!(in_force(&store, at(30)).await, Some(Reason::OptedOut));
        assert_eq!(told(&store).await[1], ("please do not text me, […]".to_owned(), vec![2]));
        store.lift(HOME, number(PERSON), None, "asked".into(), actor(), at(31)).await.expect("lifted");

        // A word by itself may be the end of another one: somebody must look.
        receive(&store, vec![part(4, (9, 2, 2), "stop", at(40))], at(40)).await;
        give_up(&store, at(50)).await;
        assert_eq!(in_force(&store, at(50)).await, None);
        assert_eq!(store.reviews(HOME, None, true, page(9)).await.expect("read").items.len(), 1);
    });
}

/// P-20
/// Between two of the same a person may have said something else. Whoever says stop, however often and how soon, is not sent to.
#[test]
fn an_opt_out_that_comes_again_counts_if_it_was_taken_back_in_between() {
    for_each_backend(|store| async move {
        let mut n = 0;
        let mut says = async |text: &str| {
            n += 1;
            receive(&store, vec![arrival(n, text, at(10))], at(10)).await.ignored
        };
        let listed = async || in_force(&store, at(10)).await;
        assert_eq!((says("STOP").await, listed().await), (0, Some(Reason::OptedOut)));
        assert_eq!((says("STOP").await, listed().await), (1, Some(Reason::OptedOut)), "it is offered again");
        assert_eq!((says("START").await, listed().await), (0, None));
        assert_eq!((says("START").await, listed().await), (1, None), "it is offered again");
        assert_eq!((says("STOP").await, listed().await), (0, Some(Reason::OptedOut)), "it is said again");
        // Perhaps it is the first one, offered again: then it must not open anything.
        assert_eq!((says("START").await, listed().await), (1, Some(Reason::OptedOut)));
    });
}

#[test]
fn what_the_carrier_offers_again_is_one_message_where_that_can_be_known() {
    for_each_backend(|store| async move {
        let yes = |n: i64, now| arrival(n, "yes", now);
        let count = async |arrival: Arrival| {
            let now = arrival.at;
            receive(&store, vec![arrival], now).await.told.len() + told(&store).await.len()
        };
        store.create_endpoint(endpoint(1), actor()).await.expect("created");
        assert_eq!(count(yes(1, at(0))).await, 1 + 1);
        assert_eq!(count(yes(2, at(1))).await, 1, "asked again while we were slow");
        assert_eq!(count(yes(3, at(30))).await, 1 + 2, "a person says it again");
        let new_session = Arrival { opened: Some(at(50)), ..yes(4, at(60)) };
        assert_eq!(count(new_session.clone()).await, 2, "it may not know that it is stored");
        let later = Arrival { id: InboundId::from_key(5), opened: Some(at(20)), ..new_session };
        assert_eq!(count(later).await, 1 + 3, "it knows");
        // What differs in anything is another one.
        let marked = Arrival { beside: vec![1], ..yes(8, at(60)) };
        assert_eq!(count(marked.clone()).await, 1 + 4);
        assert_eq!(count(Arrival { id: InboundId::from_key(9), beside: vec![2], ..marked }).await, 1 + 5);
    });
}

/// P-36
#[test]
fn what_cannot_be_read_is_marked_and_kept_as_it_came() {
    for_each_backend(|store| async move {
        let segment = |charset, octets: &[u8]| Segment::received(charset, octets, false, None);
        let hostile = "<script>\u{1B}[2J\u{202E}\u{200B}\0";
        let utf16: Vec<u8> = hostile.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let odd = [
            (segment(Charset::Ucs2, &[0, 0x41, 0xD8, 0x3D, 0, 0x42, 7]), "A\u{FFFD}B\u{FFFD}".to_owned()),
            (segment(Charset::Ucs2, &utf16), hostile.replace('\0', "\u{FFFD}")),
            (segment(Charset::Latin1, b"a\0b"), "a\u{FFFD}b".to_owned()),
            (segment(Charset::Unknown, &[0, 1, 0xFF]), String::new()),
            (Segment::received(Charset::Gsm7, b"\x03\x25\x01\x01\x0C", true, None), "ğ".to_owned()),
        ];
        for (n, (segment, text)) in (1..).zip(odd) {
            let came = Arrival { segment: segment.clone(), ..arrival(n, "", at(n)) };
            receive(&store, vec![came], at(n)).await;
            let kept = store.inbound(HOME, InboundId::from_key(n)).await.expect("read").expect("there");
            assert_eq!(
                (kept.inbound.text.as_str(), kept.parts.as_slice()),
                (text.as_str(), [(1, segment)].as_slice())
            );
        }
    });
}

#[test]
fn messages_of_people_go_when_they_are_old_unless_somebody_needs_them() {
    for_each_backend(|store| async move {
        store.create_endpoint(endpoint(1), actor()).await.expect("created");
        let keep = Retention { messages_ms: Some(DAY_MS), ..Retention::FOR_EVER };
        let key = |n: i64| floor_at(START) + n;
        let text = |n: i64, text: &str| arrival(key(n), text, at(n));
        let settled = |told: &Told| {
            let delivery = told.delivery.expect("it is on its way");
            tried(told, delivery, at(9))
        };
        let mut told_to: Vec<Told> = Vec::new();
        told_to.extend(receive(&store, vec![text(1, "gone"), text(2, "the wrong number")], at(2)).await.told);
        told_to.extend(
            receive(
                &store,
                vec![part(key(3), (7, 2, 1), "a", at(3)), part(key(4), (7, 2, 2), "b", at(3))],
                at(3),
            )
            .await
            .told,
        );
        store.record_attempts(told_to.iter().map(settled).collect(), at(9)).await.expect("recorded");
        // One that is still to be told, one that waits, and the newest of all.
        receive(&store, vec![text(5, "to be told")], at(10)).await;
        receive(&store, vec![part(key(6), (8, 2, 1), "waits", at(10))], at(10)).await;
        let newest = receive(&store, vec![text(7, "newest")], at(11)).await.told;
        store.record_attempts(newest.iter().map(settled).collect(), at(11)).await.expect("recorded");
        let later = at(20).plus_ms(DAY_MS);
        while store.sweep(keep, MANY, later).await.expect("swept") {}
        let is_there =
            async |n: i64| store.inbound(HOME, InboundId::from_key(key(n))).await.expect("read").is_some();
        for (n, expected) in [(1, false), (2, true), (3, false), (5, true), (6, true), (7, true)] {
            assert_eq!(is_there(n).await, expected, "{n}");
        }
        assert_eq!(told(&store).await.len(), 3, "with their events");
        let item = store.reviews(HOME, None, true, page(1)).await.expect("read").items.remove(0);
        let one = ReviewChoice::One(item.id);
        store.decide(HOME, one, Decision::Drop, 1, actor(), later).await.expect("decided");
        while store.sweep(keep, MANY, later).await.expect("swept") {}
        assert!(!is_there(2).await);
        assert_eq!(store.reviews(HOME, None, false, page(9)).await.expect("read").items.len(), 0);
    });
}

fn tried(told: &Told, delivery: Delivery, now: Timestamp) -> Attempt {
    Attempt {
        seq: 0,
        realm: told.realm,
        event: told.id,
        message: None,
        endpoint: delivery.endpoint,
        lease: delivery.due_at,
        number: 1,
        at: now,
        took_ms: 1,
        status: Some(204),
        request: String::new(),
        response: String::new(),
        verdict: Verdict::Done,
    }
}
