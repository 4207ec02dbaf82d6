//! Senders from pools and limits of their days, through the real rooms, on a clock that begins when a test wants it.

use std::collections::BTreeSet;
use std::sync::Arc;
use tidings_domain::account::{Environment, Realm};
use tidings_domain::address::PhoneNumber;
use tidings_domain::code::{NewCode, Template};
use tidings_domain::consent::{Act, Channel};
use tidings_domain::consent_request::NewConsentRequest;
use tidings_domain::gate::{self, Reason};
use tidings_domain::intake::{Refusal, SendRequest};
use tidings_domain::message::Status;
use tidings_domain::pool::{Name, Pool, Source};
use tidings_domain::purpose::Purpose;
use tidings_domain::quota::{Count, Daily, Full};
use tidings_domain::registration::{Capability, Kind, Listed, NotRegistered, Policy, State};
use tidings_domain::sender::{Sender, SenderNotUsable};
use tidings_domain::time::Timestamp;
use tidings_domain::velocity::Client;
use tidings_engine::clock::{Clock, Nature};
use tidings_engine::code::{CodeSent, Key, OneTimeCodes, Wanted};
use tidings_engine::{Accepted, Call, Engine, Item, Sent, Settings, World};
use tidings_store::sqlite::{Options, Sqlite};
use tidings_store::{AskedQuota, ConversationFilter, MessageFilter, Page, Saying};
use tokio::time::Instant;

/// 2027-01-01T12:00:00Z.
const NOON: Timestamp = Timestamp::from_millis(1_798_804_800_000);
/// Segments that may go in a day from the sender that has a limit.
const LIMIT: u32 = 3;
const LIMITED: &str = "+15550001111";
const FREE: &str = "+15550001112";

/// A clock that begins at a moment.
#[derive(Debug)]
struct Begun {
    at: Timestamp,
    started: Instant,
}

impl Nature for Begun {
    fn wall_ms(&self) -> i64 {
        self.at.as_millis() + self.boot_ms()
    }

    fn boot_ms(&self) -> i64 {
        self.started.elapsed().as_millis() as i64
    }

    fn fill(&self, octets: &mut [u8]) {
        octets.fill(self.started.elapsed().subsec_nanos() as u8);
    }
}

struct House {
    engine: Engine,
    realm: Realm,
    _directory: tempfile::TempDir,
}

fn sender(text: &str) -> Sender {
    Sender::from_stored(text).expect("a sender")
}

fn pool() -> Name {
    Name::parse("support").expect("a name")
}

fn daily() -> Daily {
    Daily::of_sender(LIMITED, LIMIT)
}

/// Where one sender has a limit of the day, and a pool has that one and another.
async fn open(begins_at: Timestamp) -> House {
    open_where(begins_at, None).await
}

/// The same, where that one can carry this.
async fn open_where(begins_at: Timestamp, can: Option<BTreeSet<Capability>>) -> House {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Arc::new(Sqlite::open(&Options::in_directory(directory.path())).expect("a store"));
    let limited = Listed {
        kind: Kind::of(&sender(LIMITED)),
        can,
        countries: Vec::new(),
        purposes: Vec::new(),
        state: State::Registered,
        evidence: Default::default(),
        templates: Vec::new(),
        daily: Some(daily()),
    };
    let senders = Policy { listed: [(sender(LIMITED), limited)].into(), only_listed: false };
    let settings = Settings {
        gate: gate::Policy { senders, ..gate::Policy::OPEN },
        pools: vec![Pool { name: pool(), senders: vec![sender(LIMITED), sender(FREE)], area_match: false }],
        one_time_codes: OneTimeCodes { key: Some(Key::new([1; 32])), ..OneTimeCodes::default() },
        ..Settings::default()
    };
    let nature = Begun { at: begins_at, started: Instant::now() };
    let world = World { clock: Arc::new(Clock::of(Box::new(nature), 0)), ..World::real(&settings) };
    let engine = Engine::start_in(world, store, settings).await.expect("an engine");
    let realm = Realm { account: engine.default_account(), environment: Environment::Test };
    House { engine, realm, _directory: directory }
}

impl House {
    fn call(&self, from: Source, to: u64, text: &str) -> Call {
        let request = SendRequest {
            from,
            recipient: PhoneNumber::from_digits(46_700_000_000 + to).expect("a number"),
            text: text.to_owned(),
            purpose: Purpose::Transactional,
            send_at: None,
            validity_s: Some(600),
            transliterate: false,
            callback: None,
            reference: None,
            metadata: None,
            retry_of: None,
            template: None,
            programme: None,
        };
        Call { realm: self.realm, token: None, requests: vec![request], batch: None, idempotency: None }
    }

    async fn send(&self, from: Source, to: u64, text: &str) -> Item {
        one(self.engine.send(self.call(from, to, text)).await.expect("an answer"))
    }

    /// So much went today from the sender that has a limit.
    async fn went(&self, segments: u32) {
        let count = Count::of(&daily(), Environment::Test, self.engine.clock().now());
        let asked = vec![AskedQuota { count, segments, limit: LIMIT }];
        self.engine.store().take_quotas(asked).await.expect("taken");
    }
}

fn one(sent: Sent) -> Item {
    let Sent::New(_, mut items) = sent else { panic!("{sent:?}") };
    assert_eq!(items.len(), 1);
    items.remove(0)
}

fn accepted(item: Item) -> Accepted {
    let Item::Accepted(accepted) = item else { panic!("{item:?}") };
    *accepted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_and_what_is_asked_from_a_pool_is_kept_with_its_message() {
    let house = open(NOON).await;
    let store = house.engine.store();
    let saying = Saying { seen: None, author: "Maya".to_owned() };
    let call = house.call(Source::Pool(pool()), 1, "We have it in blue.");
    let said = accepted(one(house.engine.converse(call, saying).await.expect("an answer")));
    assert!(said.picked.is_some(), "{said:?}");
    let now = house.engine.clock().now();
    let page = Page { before: None, limit: 9 };
    let all = store.conversations(house.realm, ConversationFilter::default(), page, now).await;
    let all: Vec<_> = all.expect("read").items.iter().map(|one| (one.person, one.sender)).collect();
    assert_eq!(all, [(said.message.recipient, said.message.sender)]);

    let asking = asking();
    let call = house.call(Source::Pool(pool()), 2, "Offers? Reply YES to agree.");
    let asked = accepted(one(house.engine.ask_consent(call, asking).await.expect("an answer")));
    let requests = store.consent_requests(house.realm, asked.message.recipient, now).await.expect("read");
    let requests: Vec<_> = requests.iter().map(|one| (one.message, one.sender)).collect();
    assert_eq!(requests, [(asked.message.id, asked.message.sender)]);
    house.engine.stop(5_000).await;
}

fn asking() -> NewConsentRequest {
    NewConsentRequest {
        purposes: vec![Purpose::Marketing],
        channels: vec![Channel::Text],
        act: Act::Express,
        life_s: 3_600,
        place: None,
        seller: None,
        programme: None,
        source: "api".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_is_waited_for_at_a_sender_that_cannot_receive() {
    let house = open_where(NOON, Some([Capability::TextOut].into())).await;
    let saying = || Saying { seen: None, author: "Maya".to_owned() };
    let cannot = |item: Item| {
        let why = Refusal::Sender(SenderNotUsable::CannotReceive);
        assert!(matches!(&item, Item::Refused(refusal) if *refusal == why), "{item:?}");
    };
    let name = Sender::parse("Acme", None, Environment::Test).expect("a name");
    for from in [sender(LIMITED), name] {
        let call = || house.call(Source::Sender(from), 1, "Reply YES to agree.");
        cannot(one(house.engine.converse(call(), saying()).await.expect("an answer")));
        cannot(one(house.engine.ask_consent(call(), asking()).await.expect("an answer")));
        assert_eq!(accepted(one(house.engine.send(call()).await.expect("an answer"))).message.sender, from);
    }
    // A pool has another one for that, whoever it is for.
    for to in 2..12 {
        let call = || house.call(Source::Pool(pool()), to, "Reply YES to agree.");
        let said = accepted(one(house.engine.converse(call(), saying()).await.expect("an answer")));
        let asked = accepted(one(house.engine.ask_consent(call(), asking()).await.expect("an answer")));
        assert_eq!([said.message.sender, asked.message.sender], [sender(FREE); 2], "{to}");
    }
    house.engine.stop(5_000).await;

    let house = open_where(NOON, Some([Capability::TextIn].into())).await;
    let refused = house.send(Source::Sender(sender(LIMITED)), 1, "Hello").await;
    let why = Refusal::Gate(Reason::SenderNotRegistered(NotRegistered::CannotSend));
    assert!(matches!(&refused, Item::Refused(refusal) if *refusal == why), "{refused:?}");
    for to in 2..12 {
        let sent = accepted(house.send(Source::Pool(pool()), to, "Hello").await);
        assert_eq!(sent.message.sender, sender(FREE), "{to}");
    }
    house.engine.stop(5_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_longer_than_the_rest_of_the_day_waits_for_the_next_one_with_a_new_life() {
    let house = open(NOON).await;
    house.went(2).await;
    let midnight = daily().day(NOON).ends_at;
    let from = || Source::Sender(sender(LIMITED));
    let two_segments = "a".repeat(200);
    let held = accepted(house.send(from(), 1, &two_segments).await);
    assert_eq!((held.status, held.message.segments), (Status::Scheduled, 2));
    assert_eq!((held.message.send_at, held.message.expires_at), (Some(midnight), midnight.plus_s(600)));
    assert_eq!(held.held.map(|hold| hold.why.code), Some(gate::DAILY_LIMIT.to_owned()));
    // A pool goes around it, whoever the message is to.
    for to in 1..20 {
        let sent = accepted(house.send(Source::Pool(pool()), to, &two_segments).await);
        assert_eq!((sent.message.sender, sent.status), (sender(FREE), Status::Queued), "{to}");
    }
    // What fits into no day is refused.
    let refused = house.send(from(), 1, &"a".repeat(600)).await;
    let never = Reason::DailyLimit(Full { opens_at: None });
    assert!(matches!(&refused, Item::Refused(Refusal::Gate(reason)) if *reason == never), "{refused:?}");
    assert_eq!(accepted(house.send(from(), 1, "short").await).status, Status::Queued);
    house.engine.stop(5_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_that_would_be_over_when_the_next_day_of_its_sender_begins_is_refused() {
    for (begins_at, is_sent) in [(NOON, false), (daily().day(NOON).ends_at.plus_s(-120), true)] {
        let house = open(begins_at).await;
        house.went(LIMIT).await;
        let wanted = Wanted {
            realm: house.realm,
            client: Client::default(),
            sender: sender(LIMITED),
            recipient: PhoneNumber::from_digits(46_700_000_001).expect("a number"),
            template: Template::parse("{code} is your code", None).expect("a template"),
            code: NewCode { digits: 6, life_s: 300, reference: None },
            idempotency: None,
        };
        let CodeSent::Sent(sent) = house.engine.send_code(wanted).await.expect("an answer") else {
            panic!("it has a key")
        };
        let item = one(sent);
        if is_sent {
            assert_eq!(accepted(item).status, Status::Scheduled);
        } else {
            let why = Full { opens_at: Some(daily().day(NOON).ends_at) };
            let why = Reason::DailyLimit(why);
            assert!(matches!(&item, Item::Refused(Refusal::Gate(reason)) if *reason == why), "{item:?}");
        }
        let page = Page { before: None, limit: 9 };
        let kept = house.engine.store().codes(house.realm, page).await.expect("read").items.len();
        let messages = house.engine.store().messages(house.realm, MessageFilter::default(), page).await;
        let messages = messages.expect("read").items.len();
        assert_eq!((kept, messages), (usize::from(is_sent), usize::from(is_sent)));
        house.engine.stop(5_000).await;
    }
}
