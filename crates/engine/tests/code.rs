//! One-time codes under another key than the one that they were made with.

use std::sync::Arc;
use tidings_domain::account::{Environment, Realm};
use tidings_domain::address::PhoneNumber;
use tidings_domain::code::{NewCode, Template, Verdict};
use tidings_domain::id::{CodeId, MessageId};
use tidings_domain::message::Status;
use tidings_domain::sender::Sender;
use tidings_domain::velocity::Client;
use tidings_engine::code::{Checked, CodeSent, Key, OneTimeCodes, Wanted};
use tidings_engine::{Engine, Item, SIMULATOR, Sent, Settings};
use tidings_store::sqlite::{Options, Sqlite};
use tidings_store::{Actor, Stored};

const MADE_UNDER: [u8; 32] = [1; 32];

async fn open(directory: &std::path::Path, key: Option<[u8; 32]>) -> (Engine, Realm) {
    let store = Arc::new(Sqlite::open(&Options::in_directory(directory)).expect("a store"));
    let settings = Settings {
        one_time_codes: OneTimeCodes { key: key.map(Key::new), ..OneTimeCodes::default() },
        ..Settings::default()
    };
    let engine = Engine::start(store, settings).await.expect("an engine");
    let realm = Realm { account: engine.default_account(), environment: Environment::Test };
    (engine, realm)
}

async fn pause(engine: &Engine, realm: Realm, reason: Option<&str>) {
    let actor = Actor { account: realm.account, who: "tester".to_owned() };
    let paused = engine.pause(Environment::Test, SIMULATOR, reason.map(str::to_owned), actor).await;
    assert!(paused.expect("a store").is_some());
}

fn wanted(realm: Realm) -> Wanted {
    Wanted {
        realm,
        client: Client::default(),
        sender: Sender::from_stored("+15550001111").expect("a sender"),
        recipient: PhoneNumber::from_stored("+15550002222").expect("a number"),
        template: Template::parse("{code} is your code", None).expect("a template"),
        code: NewCode { digits: 6, life_s: 300, reference: None },
        idempotency: None,
    }
}

async fn end_of(engine: &Engine, realm: Realm, id: MessageId) -> Stored {
    let ended = async {
        loop {
            let stored = engine.store().message(realm, id).await.expect("a store").expect("the message");
            if stored.life.state.status().is_final() {
                return stored;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), ended).await.expect("it ends")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_of_another_key_is_neither_sent_nor_judged() {
    let directory = tempfile::tempdir().expect("a directory");
    let (engine, realm) = open(directory.path(), Some(MADE_UNDER)).await;
    pause(&engine, realm, Some("for a while")).await;
    let CodeSent::Sent(Sent::New(_, items)) = engine.send_code(wanted(realm)).await.expect("a store") else {
        panic!("it is sent")
    };
    let [Item::Accepted(accepted)] = &items[..] else { panic!("{items:?}") };
    let message = &accepted.message;
    let (message, id) = (message.id, CodeId::from_key(message.id.key()));
    let mut on_the_phone =
        engine.store().message(realm, message).await.expect("a store").expect("it").message;
    engine.as_on_the_phone(&mut on_the_phone);
    let code = on_the_phone.text.expect("a text")[..6].to_owned();
    engine.stop(5_000).await;

    for key in [None, Some([2; 32])] {
        let (engine, _) = open(directory.path(), key).await;
        let checked = engine.check_code(realm, id, &code).await.expect("a store");
        assert!(matches!(checked, Checked::NoKey), "{checked:?}");
        let sent = engine.resend_code(realm, id, Client::default()).await.expect("a store");
        assert!(matches!(sent, CodeSent::NoKey), "{sent:?}");
        engine.stop(5_000).await;
    }

    let (engine, _) = open(directory.path(), Some([2; 32])).await;
    pause(&engine, realm, None).await;
    let stored = end_of(&engine, realm, message).await;
    assert_eq!(stored.life.state.status(), Status::Rejected);
    assert_eq!(stored.failure.expect("a failure").code, "tidings code_key");
    engine.stop(5_000).await;

    // Its own key finds it as it was.
    let (engine, _) = open(directory.path(), Some(MADE_UNDER)).await;
    let checked = engine.check_code(realm, id, &code).await.expect("a store");
    assert!(matches!(checked, Checked::Done(_, Verdict::Right)), "{checked:?}");
    engine.stop(5_000).await;
}
