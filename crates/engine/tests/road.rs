//! The road of a message through the real rooms, over SQLite and the simulated carrier.

use std::sync::Arc;
use tidings_domain::account::{Environment, Realm};
use tidings_domain::address::PhoneNumber;
use tidings_domain::id::MessageId;
use tidings_domain::intake::SendRequest;
use tidings_domain::message::Status;
use tidings_domain::pool::Source;
use tidings_domain::purpose::Purpose;
use tidings_domain::sender::Sender;
use tidings_engine::segment::read_history;
use tidings_engine::{Call, Engine, Item, Sent, Settings};
use tidings_store::Stored;
use tidings_store::sqlite::{Options, Sqlite};

struct House {
    engine: Engine,
    realm: Realm,
    directory: tempfile::TempDir,
}

async fn open(directory: tempfile::TempDir) -> House {
    let store = Arc::new(Sqlite::open(&Options::in_directory(directory.path())).expect("a store"));
    let engine = Engine::start(store, Settings::default()).await.expect("an engine");
    let realm = Realm { account: engine.default_account(), environment: Environment::Test };
    House { engine, realm, directory }
}

impl House {
    async fn send(&self, to: &str, text: &str) -> MessageId {
        let request = SendRequest {
            from: Source::Sender(Sender::from_stored("+15550001111").expect("a sender")),
            recipient: PhoneNumber::from_stored(to).expect("a number"),
            text: text.to_owned(),
            purpose: Purpose::Transactional,
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
        let call =
            Call { realm: self.realm, token: None, requests: vec![request], batch: None, idempotency: None };
        match self.engine.send(call).await.expect("an answer") {
            Sent::New(_, items) => match &items[..] {
                [Item::Accepted(accepted)] => accepted.message.id,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    async fn end_of(&self, id: MessageId) -> Stored {
        let ended = async {
            loop {
                let stored =
                    self.engine.store().message(self.realm, id).await.expect("a store").expect("the message");
                if stored.life.state.status().is_final() {
                    return stored;
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        match tokio::time::timeout(std::time::Duration::from_secs(20), ended).await {
            Ok(stored) => stored,
            Err(_) => {
                let now = self.engine.store().message(self.realm, id).await;
                let connections = self.engine.connections(self.realm.environment).await;
                panic!("no end within 20 s: {now:#?} {connections:#?}")
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_delivered() {
    let house = open(tempfile::tempdir().expect("a directory")).await;
    let id = house.send("+15550002222", "Hello from our app").await;
    let stored = house.end_of(id).await;
    assert_eq!(stored.life.state.status(), Status::Delivered);
    assert!(stored.life.segments[0].carrier_id().is_some_and(|id| !id.is_empty()));
    let timeline =
        house.engine.store().timeline(house.realm, id).await.expect("a store").expect("a timeline");
    let kinds: Vec<&str> = timeline.events.iter().map(|(_, event)| event.kind.as_str()).collect();
    assert_eq!(kinds, ["message.sent", "message.delivered"]);
    house.engine.stop(5_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_did_is_looked_through_once_for_the_history_of_a_quiet_realm() {
    let house = open(tempfile::tempdir().expect("a directory")).await;
    let id = house.send("+15550002222", "Hello from our app").await;
    house.end_of(id).await;
    let quiet = Realm { environment: Environment::Live, ..house.realm };
    let (store, clock) = (&**house.engine.store(), house.engine.clock());
    let last = store.events(house.realm, None, 100).await.expect("a store").upto.expect("events");
    for _ in 0..2 {
        assert!(read_history(store, clock, quiet, 1_000).await.expect("a store"), "there is no more");
        assert_eq!(store.touch_places().await.expect("a store"), [(quiet, last)]);
    }
    house.engine.stop(5_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_larger_than_the_window_is_delivered_whole() {
    let house = open(tempfile::tempdir().expect("a directory")).await;
    let mut ids = Vec::new();
    for n in 0..3_000 {
        ids.push(house.send(&format!("+1555000{n:04}"), "one of many").await);
    }
    for id in ids {
        assert_eq!(house.end_of(id).await.life.state.status(), Status::Delivered);
    }
    house.engine.stop(5_000).await;
}

/// P-30
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orderly_stop_leaves_nothing_in_doubt() {
    let house = open(tempfile::tempdir().expect("a directory")).await;
    let mut ids = Vec::new();
    for n in 0..500 {
        ids.push(house.send(&format!("+1555000{n:04}"), "one of many").await);
    }
    house.engine.stop(5_000).await;
    let house = open(house.directory).await;
    for id in ids {
        // The carrier has it (its receipt may be lost with the simulated carrier, which lives in this process) or it
        // never left and is sent now. What must not be is a submission that nobody knows the answer of.
        let stored =
            house.engine.store().message(house.realm, id).await.expect("a store").expect("the message");
        assert_ne!(stored.life.state.status(), Status::Unconfirmed, "{stored:?}");
        if stored.life.state.status() != Status::Sent {
            assert_eq!(house.end_of(id).await.life.state.status(), Status::Delivered);
        }
    }
    house.engine.stop(5_000).await;
}
