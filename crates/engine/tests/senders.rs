//! Senders from pools, through the real rooms.

use std::sync::Arc;
use tidings_domain::account::{Environment, Realm};
use tidings_domain::address::PhoneNumber;
use tidings_domain::consent::{Act, Channel};
use tidings_domain::intake::SendRequest;
use tidings_domain::pool::{Name, Pool, Source};
use tidings_domain::purpose::Purpose;
use tidings_domain::sender::Sender;
use tidings_engine::{Accepted, Call, Engine, Item, Sent, Settings};
use tidings_store::sqlite::{Options, Sqlite};
use tidings_store::{Asking, ConversationFilter, Page, Retention, Saying};

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

async fn open() -> House {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Arc::new(Sqlite::open(&Options::in_directory(directory.path())).expect("a store"));
    let settings = Settings {
        limits: Default::default(),
        retry: Default::default(),
        connections: Vec::new(),
        codes: Default::default(),
        egress: tidings_egress::Policy::development(),
        retention: Retention { idempotency_ms: 1, parked_ms: 1, attempts_ms: 1, messages_ms: None },
        node: Default::default(),
        journal: None,
        replies: None,
        inbound_rules: Vec::new(),
        gate: tidings_domain::gate::Policy::OPEN,
        pools: vec![Pool {
            name: pool(),
            senders: vec![sender("+15550001111"), sender("+15550001112")],
            area_match: false,
        }],
        one_time_codes: Default::default(),
        parts_wait_ms: 180_000,
    };
    let engine = Engine::start(store, settings).await.expect("an engine");
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
        };
        Call { realm: self.realm, token: None, requests: vec![request], batch: None, idempotency: None }
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
    let house = open().await;
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

    let asking = Asking {
        purposes: vec![Purpose::Marketing],
        channels: vec![Channel::Text],
        act: Act::Express,
        life_s: 3_600,
        place: None,
        seller: None,
        programme: None,
        source: "api".to_owned(),
    };
    let call = house.call(Source::Pool(pool()), 2, "Offers? Reply YES to agree.");
    let asked = accepted(one(house.engine.ask_consent(call, asking).await.expect("an answer")));
    let requests = store.consent_requests(house.realm, asked.message.recipient, now).await.expect("read");
    let requests: Vec<_> = requests.iter().map(|one| (one.message, one.sender)).collect();
    assert_eq!(requests, [(asked.message.id, asked.message.sender)]);
    house.engine.stop(5_000).await;
}
