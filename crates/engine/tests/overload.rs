//! What waits has a bound, and reaching it is said at once.

use std::sync::Arc;
use tidings_domain::account::{Environment, Realm};
use tidings_domain::address::PhoneNumber;
use tidings_domain::admission::Bounds;
use tidings_domain::intake::{Limits, SendRequest};
use tidings_domain::pool::Source;
use tidings_domain::purpose::Purpose;
use tidings_domain::sender::Sender;
use tidings_engine::{Call, Engine, Item, Refused, SIMULATOR, Sent, Settings};
use tidings_store::sqlite::{Options, Sqlite};
use tidings_store::{Account, Actor, Backend};

async fn engine(store: Arc<dyn Backend>) -> Engine {
    let waiting = Bounds { waiting_max: 100, account_percent: 50 };
    let settings = Settings { limits: Limits { waiting, ..Limits::default() }, ..Settings::default() };
    Engine::start(store, settings).await.expect("an engine")
}

fn store(directory: &tempfile::TempDir) -> Arc<Sqlite> {
    Arc::new(Sqlite::open(&Options::in_directory(directory.path())).expect("a store"))
}

fn actor(engine: &Engine) -> Actor {
    Actor { account: engine.default_account(), who: "tester".to_owned() }
}

/// Nothing is sent: the only connection is paused.
async fn pause(engine: &Engine, pause: Option<&str>) {
    let pause = pause.map(str::to_owned);
    engine
        .pause(Environment::Test, SIMULATOR, pause, actor(engine))
        .await
        .expect("a store")
        .expect("the simulator");
}

/// How many of so many messages, each in a call of its own, are accepted; and why the first that was not was refused.
async fn send(engine: &Engine, realm: Realm, purpose: Purpose, count: u64) -> (u64, Option<Refused>) {
    for n in 0..count {
        let request = SendRequest {
            from: Source::Sender(Sender::from_stored("+15550001111").expect("a sender")),
            recipient: PhoneNumber::from_digits(15_550_002_222 + n).expect("a number"),
            text: "one of many".to_owned(),
            purpose,
            send_at: None,
            validity_s: None,
            transliterate: false,
            callback: None,
            reference: None,
            metadata: None,
            retry_of: None,
            template: None,
            programme: None,
        };
        let call = Call { realm, token: None, requests: vec![request], batch: None, idempotency: None };
        match engine.send(call).await.expect("a store") {
            Sent::New(_, items) => assert!(matches!(items[..], [Item::Accepted(..)]), "{items:?}"),
            Sent::Overloaded { why, retry_after_s } => {
                assert!(retry_after_s > 0);
                return (n, Some(why));
            }
            other => panic!("{other:?}"),
        }
    }
    (count, None)
}

/// P-33, P-34
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offers_cannot_fill_the_backlog_for_codes_and_what_was_sent_makes_room() {
    let directory = tempfile::tempdir().expect("a directory");
    let house = engine(store(&directory)).await;
    let realm = Realm { account: house.default_account(), environment: Environment::Test };
    pause(&house, Some("a test")).await;
    assert_eq!(send(&house, realm, Purpose::Marketing, 200).await, (70, Some(Refused::Full)));
    assert_eq!(send(&house, realm, Purpose::Transactional, 200).await, (15, Some(Refused::Full)));
    assert_eq!(house.accepts_nothing(), None);
    // What waited before a restart counts.
    house.stop(1_000).await;
    let house = engine(store(&directory)).await;
    assert_eq!(send(&house, realm, Purpose::Alert, 200).await, (10, Some(Refused::Full)));
    assert_eq!(send(&house, realm, Purpose::Authentication, 200).await, (5, Some(Refused::Full)));
    assert!(matches!(house.accepts_nothing(), Some((Refused::Full, 30..=60))));
    pause(&house, None).await;
    let emptied = async {
        while house.accepts_nothing().is_some()
            || send(&house, realm, Purpose::Marketing, 1).await.1.is_some()
        {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), emptied).await.expect("what waited was sent");
    house.stop(5_000).await;
}

/// P-33
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_account_of_several_cannot_fill_the_backlog_for_the_others() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(&directory);
    let house = engine(Arc::clone(&store) as Arc<dyn Backend>).await;
    let first = Realm { account: house.default_account(), environment: Environment::Test };
    let now = house.clock().now();
    let id = tidings_domain::id::AccountId::from_key(first.account.key() + 1);
    let account = Account { id, name: "second".to_owned(), created_at: now };
    store.create_account(account, actor(&house)).await.expect("created");
    // What another process or this one changed is followed with the pause.
    pause(&house, Some("a test")).await;
    assert_eq!(send(&house, first, Purpose::Authentication, 200).await, (50, Some(Refused::AccountFull)));
    let second = Realm { account: id, ..first };
    assert_eq!(send(&house, second, Purpose::Marketing, 200).await, (20, Some(Refused::Full)));
    house.stop(1_000).await;
}
