//! Conversations: what people send and what is said to them, who must answer, and what it is found by.

use crate::samples::*;
use crate::{for_each_backend, for_each_place};
use std::sync::Arc;
use tidings_domain::account::{Environment, Realm};
use tidings_domain::conversation::{Change, Conversation, Entry, Status, words};
use tidings_domain::id::*;
use tidings_domain::message::{Input, Message};
use tidings_domain::sender::Sender;
use tidings_domain::text::{Charset, Segment};
use tidings_store::*;

/// What the person with this number sends to our sender at a second.
pub fn said(n: i64, person: u64, text: &str, second: i64) -> Arrival {
    let segment = Segment::received(Charset::Latin1, text.as_bytes(), false, None);
    Arrival { from: number(person).to_string(), segment, ..arrival(n, text, at(second)) }
}

async fn hear(store: &Arc<dyn Backend>, arrivals: Vec<Arrival>, second: i64) {
    receive(store, arrivals, at(second)).await;
}

/// A message to the person from the sender that people write to here.
fn to(n: i64, person: u64, text: &str) -> Message {
    Message {
        sender: Sender::from_stored("72345").expect("a sender"),
        recipient: number(person),
        text: Some(text.to_owned()),
        ..message(n)
    }
}

fn saying(seen: Option<Entry>) -> Saying {
    Saying { seen, author: "Maya".to_owned() }
}

async fn say(store: &Arc<dyn Backend>, message: Message, seen: Option<Entry>, second: i64) -> Admission {
    let accepted = store.converse(intake([message]), saying(seen), at(second)).await.expect("asked");
    let Accepted::New(admissions, _) = accepted else { panic!("not new: {accepted:?}") };
    admissions[0].clone()
}

async fn all(store: &Arc<dyn Backend>) -> Vec<Conversation> {
    let filter = ConversationFilter::default();
    store.conversations(HOME, filter, page(MANY), at(0)).await.expect("read").items
}

/// What was said in a conversation, the first first.
async fn told(store: &Arc<dyn Backend>, id: ConversationId) -> Vec<String> {
    let lines = store.lines(HOME, id, page(MANY)).await.expect("read").expect("there is one").items;
    let text = |line: Line| match line.what {
        What::Inbound(inbound) => format!("< {}", inbound.text),
        What::Message(stored) => {
            format!("> {} ({})", stored.message.text.unwrap_or_default(), line.author.unwrap_or_default())
        }
        What::Note(_, text) => format!("# {text} ({})", line.author.unwrap_or_default()),
    };
    lines.into_iter().rev().map(text).collect()
}

async fn found(store: &Arc<dyn Backend>, query: &str) -> Vec<String> {
    let found = store.search(HOME, words(query), page(MANY)).await.expect("searched").items;
    found.into_iter().map(|one| format!("{}", one.line.place)).collect()
}

#[test]
fn what_people_send_and_what_is_said_to_them_is_one_conversation() {
    for_each_place(|place| async move {
        let store = place.open();
        hear(&store, vec![said(1, 1, "Where is my order?", 1), said(2, 2, "hello", 1)], 1).await;
        let last = Some(Entry::Inbound(InboundId::from_key(1)));
        assert_eq!(say(&store, to(10, 1, "It comes today."), last, 2).await, Admission::Admitted);
        hear(&store, vec![said(3, 1, "thanks", 3)], 3).await;
        // Another message to the same person belongs to nothing, and costs nothing.
        accept(&store, [to(11, 1, "An offer!")]).await;
        let one = all(&store).await.remove(0);
        let note = NewNote { id: NoteId::from_key(9), text: "is nice".into(), author: "Ben".into() };
        store.add_note(HOME, one.id, note, at(4)).await.expect("noted").expect("there is one");
        store.close().await.expect("closed");

        let store = place.open();
        let conversations = all(&store).await;
        let seen: Vec<_> = conversations
            .iter()
            .map(|one| (one.person, one.sender.to_string(), one.entries, one.status(at(5))))
            .collect();
        let sender = "72345".to_owned();
        let expected =
            [(number(1), sender.clone(), 4, Status::NeedsReply), (number(2), sender, 1, Status::NeedsReply)];
        assert_eq!(seen, expected);
        let first = &conversations[0];
        assert_eq!(first.last, Entry::Note(NoteId::from_key(9)));
        assert_eq!((first.created_at, first.last_at), (at(1), at(4)));
        assert_eq!(
            told(&store, first.id).await,
            ["< Where is my order?", "> It comes today. (Maya)", "< thanks", "# is nice (Ben)"]
        );
        assert_eq!(store.conversation(HOME, first.id).await.expect("read").as_ref(), Some(first));
        let page = store.lines(HOME, first.id, page(3)).await.expect("read").expect("there is one");
        assert_eq!((page.items.len(), page.next), (3, Some(2)));
        let rest = Page { before: page.next, limit: 3 };
        let rest = store.lines(HOME, first.id, rest).await.expect("read").expect("there is one");
        assert_eq!((rest.items.len(), rest.next), (1, None));
        store.close().await.expect("closed");
    });
}

#[test]
fn a_reply_is_refused_if_somebody_wrote_meanwhile_and_nothing_is_kept_of_it() {
    for_each_backend(|store| async move {
        hear(&store, vec![said(1, 1, "Where is my order?", 1)], 1).await;
        let seen = Some(Entry::Inbound(InboundId::from_key(1)));
        hear(&store, vec![said(2, 1, "Ah, it is here", 2)], 2).await;
        let key = |message| Intake { idempotency: Some(remembered(1)), ..intake([message]) };
        let refused = store.converse(key(to(10, 1, "Soon")), saying(seen), at(3)).await.expect("asked");
        assert_eq!(refused, Accepted::New(vec![Admission::Overtaken], Box::default()));
        assert!(store.message(HOME, id(10)).await.expect("read").is_none());
        // Not remembered: who looks again may say it under the same key.
        let seen = Some(Entry::Inbound(InboundId::from_key(2)));
        let said_now = store.converse(key(to(10, 1, "Great")), saying(seen), at(4)).await.expect("asked");
        assert!(
            matches!(said_now, Accepted::New(ref admissions, _) if admissions[..] == [Admission::Admitted])
        );
        let again = store.converse(key(to(12, 1, "Great")), saying(seen), at(5)).await.expect("asked");
        assert!(matches!(again, Accepted::Replayed(_)), "{again:?}");
        // Of those who write at the same moment one is first.
        let seen = Some(Entry::Message(id(10)));
        let both = [20, 21].map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { say(&store, to(n, 1, "And more"), seen, 6).await })
        });
        let mut outcomes = Vec::new();
        for one in both {
            outcomes.push(one.await.expect("no panic"));
        }
        outcomes.sort_by_key(|outcome| *outcome == Admission::Overtaken);
        assert_eq!(outcomes, [Admission::Admitted, Admission::Overtaken]);
        // Where there is no conversation, nothing was seen.
        assert_eq!(say(&store, to(30, 5, "Hi"), seen, 7).await, Admission::Overtaken);
        assert_eq!(say(&store, to(30, 5, "Hi"), None, 7).await, Admission::Admitted);
    });
}

pub fn remembered(key: u8) -> Idempotency {
    Idempotency { key: [key; 32], fingerprint: [0; 32], answer: Arc::new(|_| b"answer".to_vec()) }
}

#[test]
fn a_message_in_a_conversation_is_a_message_like_others() {
    for_each_backend(|store| async move {
        let suppressed = Suppression {
            id: SuppressionId::from_key(1),
            realm: HOME,
            recipient: number(1),
            programme: None,
            reason: tidings_domain::suppression::Reason::OptedOut,
            source: "api".to_owned(),
            created_at: at(0),
            expires_at: None,
            lifted: None,
        };
        store.suppress(vec![suppressed], actor()).await.expect("added");
        let refused = say(&store, to(1, 1, "Hi"), None, 1).await;
        assert!(matches!(refused, Admission::Suppressed(_)), "{refused:?}");
        assert_eq!(all(&store).await, []);
        assert_eq!(say(&store, to(2, 2, "Hi"), None, 1).await, Admission::Admitted);
        assert_eq!(claim_at(&store, at(2)).await.len(), 1);
        let twice = store.converse(intake([to(2, 2, "Hi")]), saying(None), at(3)).await;
        assert!(matches!(twice, Err(Error::Conflict(_))), "{twice:?}");
        assert_eq!(all(&store).await[0].entries, 1);
    });
}

#[test]
fn a_message_that_repeats_one_of_a_conversation_is_said_there_too() {
    for_each_backend(|store| async move {
        hear(&store, vec![said(1, 1, "Where is my order?", 1)], 1).await;
        assert_eq!(say(&store, to(10, 1, "It comes today."), None, 2).await, Admission::Admitted);
        accept(&store, [to(11, 1, "An offer!")]).await;
        let again = |n, text, first| Message { retry_of: Some(id(first)), ..to(n, 1, text) };
        // Of those that come in one call each is looked at; what is in no conversation comes into none.
        accept(&store, [again(20, "It comes today.", 10), again(21, "An offer!", 11)]).await;
        accept(&store, [again(22, "It comes today.", 20)]).await;
        let one = all(&store).await.remove(0);
        assert_eq!(
            told(&store, one.id).await,
            [
                "< Where is my order?",
                "> It comes today. (Maya)",
                "> It comes today. (Maya)",
                "> It comes today. (Maya)"
            ]
        );
        assert_eq!((one.last, one.status(at(9))), (Entry::Message(id(22)), Status::Waiting));
        assert_eq!(found(&store, "today").await, ["4", "3", "2"]);
    });
}

#[test]
fn a_message_that_certainly_reaches_nobody_answers_nothing() {
    for_each_backend(|store| async move {
        let standing = async || {
            let one = all(&store).await.remove(0);
            assert_eq!(listed_as_unanswered(&store).await, one.is_unanswered());
            one.status(at(90))
        };
        let cancel = async |n| advance(&store, vec![crate::samples::to(id(n), Input::Cancel)], at(5)).await;
        // Nobody asked: nothing is to be done about what is lost.
        say(&store, to(10, 1, "Hello"), None, 1).await;
        cancel(10).await;
        assert_eq!(standing().await, Status::Waiting);
        hear(&store, vec![said(1, 1, "Where is my order?", 2)], 2).await;
        for n in 11..=13 {
            say(&store, to(n, 1, "It comes today."), None, 3).await;
        }
        assert_eq!(standing().await, Status::Waiting);
        // As long as one of them may go, it answers; an earlier one that is lost changes nothing.
        cancel(12).await;
        assert_eq!(standing().await, Status::Waiting);
        cancel(13).await;
        assert_eq!(standing().await, Status::Waiting);
        cancel(11).await;
        assert_eq!(standing().await, Status::NeedsReply);
        say(&store, to(14, 1, "It comes today."), None, 6).await;
        assert_eq!(standing().await, Status::Waiting);
        // Several at once.
        say(&store, to(15, 1, "Or tomorrow."), None, 6).await;
        let both = [14, 15].map(|n| crate::samples::to(id(n), Input::Cancel));
        advance(&store, both.into(), at(7)).await;
        assert_eq!(standing().await, Status::NeedsReply);
        // One whose time is over.
        let late = Message { expires_at: at(20), ..to(16, 1, "It was there.") };
        say(&store, late, None, 8).await;
        assert_eq!(standing().await, Status::Waiting);
        wake(&store, at(30)).await;
        assert_eq!(standing().await, Status::NeedsReply);
    });
}

/// Whether the only conversation is on the list of those that need a reply, which has an index of its own.
async fn listed_as_unanswered(store: &Arc<dyn Backend>) -> bool {
    let filter = ConversationFilter { status: Some(Status::NeedsReply), ..Default::default() };
    !store.conversations(HOME, filter, page(MANY), at(90)).await.expect("read").items.is_empty()
}

#[test]
fn how_a_conversation_stands_follows_from_what_was_said_and_done() {
    for_each_backend(|store| async move {
        hear(&store, vec![said(1, 1, "one", 1), said(2, 2, "two", 1), said(3, 3, "STOP", 1)], 1).await;
        let now = at(10);
        let standing = async || -> Vec<(u64, &str)> {
            let all = all(&store).await;
            let one = |one: &Conversation| (one.person.digits() - 46_700_000_000, one.status(now).as_str());
            let mut all: Vec<_> = all.iter().map(one).collect();
            all.sort_unstable();
            all
        };
        assert_eq!(standing().await, [(1, "needs_reply"), (2, "needs_reply"), (3, "waiting")]);
        let of = async |person: u64| {
            let filter = ConversationFilter { person: Some(number(person)), ..Default::default() };
            store.conversations(HOME, filter, page(1), now).await.expect("read").items.remove(0).id
        };
        let change = async |person, change| {
            let changed = store.change_conversation(HOME, of(person).await, change, actor(), now).await;
            changed.expect("asked").expect("there is one").expect("done")
        };
        change(1, Change::Close).await;
        change(2, Change::Snooze(at(60))).await;
        assert_eq!(standing().await, [(1, "closed"), (2, "snoozed"), (3, "waiting")]);
        hear(&store, vec![said(4, 1, "still there?", 5)], 5).await;
        assert_eq!(standing().await, [(1, "needs_reply"), (2, "snoozed"), (3, "waiting")]);
        assert_eq!(
            audited(&store).await.iter().filter(|line| line.starts_with("conversation.")).count(),
            2,
            "each change has a line"
        );
    });
}

#[test]
fn conversations_are_listed_by_how_they_stand_by_whom_and_by_tag() {
    for_each_backend(|store| async move {
        let people = (1..=5).map(|n| said(n, n as u64, "hi", n)).collect();
        hear(&store, people, 5).await;
        let ids: Vec<ConversationId> = all(&store).await.iter().rev().map(|one| one.id).collect();
        let change = async |n: usize, change| {
            let changed = store.change_conversation(HOME, ids[n - 1], change, actor(), at(6)).await;
            changed.expect("asked").expect("there is one").expect("done");
        };
        let tag = |tag: &str| Change::Tag { add: vec![tag.to_owned()], remove: Vec::new() };
        change(1, Change::Assign(Some("Maya".into()))).await;
        change(2, Change::Assign(Some("Ben".into()))).await;
        change(2, tag("vip")).await;
        change(3, tag("vip")).await;
        change(4, Change::Close).await;
        change(5, Change::Snooze(at(60))).await;
        let listed = async |filter: ConversationFilter, now| {
            let found = store.conversations(HOME, filter, page(MANY), now).await.expect("read").items;
            let place = |one: &Conversation| ids.iter().position(|id| *id == one.id).expect("known") + 1;
            found.iter().map(place).collect::<Vec<_>>()
        };
        let base = ConversationFilter::default;
        let (soon, later) = (at(10), at(100));
        assert_eq!(listed(base(), soon).await, [5, 4, 3, 2, 1]);
        let needs = ConversationFilter { status: Some(Status::NeedsReply), ..base() };
        assert_eq!(listed(needs.clone(), soon).await, [3, 2, 1]);
        assert_eq!(listed(needs.clone(), later).await, [5, 3, 2, 1]);
        let of = |assignee: Option<&str>| ConversationFilter {
            assignee: Some(assignee.map(str::to_owned)),
            ..base()
        };
        assert_eq!(listed(of(Some("Maya")), soon).await, [1]);
        assert_eq!(listed(of(None), soon).await, [5, 4, 3]);
        assert_eq!(listed(ConversationFilter { tag: Some("vip".into()), ..base() }, soon).await, [3, 2]);
        assert_eq!(listed(ConversationFilter { person: Some(number(2)), ..base() }, soon).await, [2]);
        assert_eq!(listed(ConversationFilter { status: Some(Status::Closed), ..base() }, soon).await, [4]);
        let first = store.conversations(HOME, needs.clone(), page(2), soon).await.expect("read");
        let rest = Page { before: first.next, limit: 2 };
        let rest = store.conversations(HOME, needs, rest, soon).await.expect("read");
        assert_eq!((first.items.len(), rest.items.len(), rest.next), (2, 1, None));
    });
}

#[test]
fn a_page_is_full_wherever_in_the_list_stands_what_fits() {
    for_each_backend(|store| async move {
        const PEOPLE: i64 = 520;
        hear(&store, (1..=PEOPLE).map(|n| said(n, n as u64, "hi there", 1)).collect(), 1).await;
        let ids: Vec<ConversationId> = all(&store).await.iter().rev().map(|one| one.id).collect();
        let vip = [1, 2, 260, 519, 520];
        for n in vip {
            let tag = Change::Tag { add: vec!["vip".to_owned()], remove: Vec::new() };
            let changed = store.change_conversation(HOME, ids[n - 1], tag, actor(), at(2)).await;
            changed.expect("asked").expect("there is one").expect("done");
        }
        let pages = async |filter: ConversationFilter, limit| {
            let (mut pages, mut before) = (Vec::new(), None);
            loop {
                let page = Page { before, limit };
                let page = store.conversations(HOME, filter.clone(), page, at(3)).await.expect("read");
                let place = |one: &Conversation| ids.iter().position(|id| *id == one.id).expect("known") + 1;
                pages.push(page.items.iter().map(place).collect::<Vec<_>>());
                before = page.next;
                if before.is_none() {
                    return pages;
                }
            }
        };
        let tagged = ConversationFilter { tag: Some("vip".into()), ..Default::default() };
        assert_eq!(pages(tagged.clone(), 2).await, [vec![520, 519], vec![260, 2], vec![1]]);
        assert_eq!(pages(tagged, 5).await.concat(), [520, 519, 260, 2, 1]);
        for limit in [1, 499, 500, 501, 520, 600] {
            let whole: Vec<usize> = (1..=PEOPLE as usize).rev().collect();
            let found = pages(ConversationFilter::default(), limit).await;
            let expected: Vec<&[usize]> = whole.chunks(limit).collect();
            assert_eq!(found, expected, "{limit} at once");
            let (mut places, mut before) = (0, None);
            while let Some(page) =
                Some(store.search(HOME, words("hi"), Page { before, limit }).await.expect("searched"))
            {
                places += page.items.len();
                assert!(page.items.len() == limit || page.next.is_none(), "{limit} at once");
                before = page.next;
                if before.is_none() {
                    break;
                }
            }
            assert_eq!(places, PEOPLE as usize, "{limit} at once");
        }
    });
}

#[test]
fn a_sweep_forgets_no_more_words_at_once_than_it_may_delete_rows() {
    for_each_backend(|store| async move {
        // Three entries of 60 words, and one of more than a sweep of so many may delete.
        let text = |from: i64, count: i64| (from..from + count).map(|n| format!("w{n} ")).collect::<String>();
        let texts = [text(0, 60), text(0, 60), text(0, 60), text(0, 300)];
        for (n, text) in (1..).zip(texts) {
            let note = Arrival {
                segment: Segment::received(Charset::Latin1, text.as_bytes(), false, None),
                ..said(n, 1, "", n)
            };
            hear(&store, vec![note], n).await;
        }
        let retention = Retention { messages_ms: Some(DAY_MS), ..KEPT_A_DAY };
        let mut sweeps = 0;
        while store.sweep(retention, 130, at(100).plus_ms(DAY_MS)).await.expect("swept") {
            sweeps += 1;
            assert!(sweeps < 10, "it ends");
        }
        assert_eq!(all(&store).await, []);
        assert_eq!(found(&store, "w1").await, [""; 0]);
    });
}

#[test]
fn what_was_said_and_noted_is_found_by_its_words_until_it_is_gone() {
    for_each_backend(|store| async move {
        hear(&store, vec![said(1, 1, "Where is my REFUND?", 1)], 1).await;
        say(&store, to(2, 1, "Your refund is on its way"), None, 2).await;
        let id = all(&store).await[0].id;
        let note = NewNote { id: NoteId::from_key(9), text: "refund promised".into(), author: "Ben".into() };
        store.add_note(HOME, id, note, at(3)).await.expect("noted");
        accept(&store, [to(3, 1, "A refund that belongs to nothing")]).await;
        assert_eq!(found(&store, "refund").await, ["3", "2", "1"]);
        assert_eq!(found(&store, "Refund, where").await, ["1"]);
        assert_eq!(found(&store, "fund").await, [""; 0]);
        assert_eq!(found(&store, "").await, [""; 0]);
        let first = store.search(HOME, words("refund"), page(2)).await.expect("searched");
        let rest = Page { before: first.next, limit: 2 };
        let rest = store.search(HOME, words("refund"), rest).await.expect("searched");
        assert_eq!((first.items.len(), rest.items.len(), rest.next), (2, 1, None));
        let other = Realm { environment: Environment::Test, ..HOME };
        assert!(store.search(other, words("refund"), page(9)).await.expect("searched").items.is_empty());

        let message = MessageId::from_key(crate::samples::id(2).key());
        store.redact(HOME, message, actor(), at(4)).await.expect("removed");
        assert_eq!(found(&store, "refund").await, ["3", "1"]);

        let retention = Retention { messages_ms: Some(DAY_MS), ..KEPT_A_DAY };
        let sweep = async |now| while store.sweep(retention, MANY, now).await.expect("swept") {};
        sweep(at(2).plus_ms(DAY_MS)).await;
        assert_eq!(found(&store, "refund").await, ["3"]);
        assert_eq!(all(&store).await.len(), 1);
        sweep(at(10).plus_ms(DAY_MS)).await;
        assert_eq!(found(&store, "refund").await, [""; 0]);
        assert_eq!(all(&store).await, []);
    });
}

#[test]
fn conversations_of_others_are_not_there() {
    for_each_backend(|store| async move {
        hear(&store, vec![said(1, 1, "hello", 1)], 1).await;
        let id = all(&store).await[0].id;
        let other = Realm { account: AccountId::from_key(2), ..HOME };
        assert_eq!(store.conversation(other, id).await.expect("read"), None);
        assert!(store.lines(other, id, page(9)).await.expect("read").is_none());
        let note = NewNote { id: NoteId::from_key(9), text: "x".into(), author: "Ben".into() };
        assert_eq!(store.add_note(other, id, note, at(3)).await.expect("asked"), None);
        let closed = store.change_conversation(other, id, Change::Close, actor(), at(3)).await;
        assert_eq!(closed.expect("asked"), None);
        let filter = ConversationFilter::default();
        assert!(store.conversations(other, filter, page(9), at(3)).await.expect("read").items.is_empty());
        assert_eq!(all(&store).await[0].status(at(5)), Status::NeedsReply);
    });
}

#[test]
fn the_sender_is_what_was_written_to_however_the_carrier_writes_it() {
    let check = |to: &str, expected: Option<&str>| {
        let inbound = Inbound {
            id: InboundId::from_key(1),
            realm: HOME,
            connection: LINE,
            from: "+46701234567".to_owned(),
            to: to.to_owned(),
            text: String::new(),
            parts: None,
            at: START,
            keyword: tidings_domain::keyword::Class::Nothing,
            rule: None,
            media: Vec::new(),
        };
        assert_eq!(inbound.sender().map(|sender| sender.to_string()).as_deref(), expected, "{to}");
    };
    check("+46701234567", Some("+46701234567"));
    check("46701234567", Some("+46701234567"));
    check("72345", Some("72345"));
    check("Tidings", Some("Tidings"));
    check("", None);
    check("0701234567", None);
}
