//! A disk that takes its time: who calls is told soon, and what a carrier says is kept, if late.

use std::sync::Arc;
use std::time::Duration;
use tidings_domain::account::{Environment, Realm};
use tidings_domain::address::PhoneNumber;
use tidings_domain::id::MessageId;
use tidings_domain::intake::SendRequest;
use tidings_domain::message::Status;
use tidings_domain::pool::Source;
use tidings_domain::purpose::Purpose;
use tidings_domain::sender::Sender;
use tidings_engine::{Call, Engine, Item, Sent, Settings};
use tidings_powercut::Disk;
use tidings_store::Error;
use tidings_store::sqlite::{Options, Sqlite};

/// No test waits longer than this for anything.
const PATIENCE: Duration = Duration::from_secs(30);

async fn engine(directory: &tempfile::TempDir, disk: &Disk) -> Engine {
    let options = Options { vfs: Some(disk.name()), ..Options::in_directory(directory.path()) };
    Engine::start(Arc::new(Sqlite::open(&options).expect("a store")), Settings::default())
        .await
        .expect("an engine")
}

fn realm(engine: &Engine) -> Realm {
    Realm { account: engine.default_account(), environment: Environment::Test }
}

/// A call with one message; its id, or why there is none.
async fn send(engine: Engine, n: u64) -> Result<MessageId, String> {
    let request = SendRequest {
        from: Source::Sender(Sender::from_stored("+15550001111").expect("a sender")),
        recipient: PhoneNumber::from_digits(15_550_100_000 + n).expect("a number"),
        text: "one of many".to_owned(),
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
        Call { realm: realm(&engine), token: None, requests: vec![request], batch: None, idempotency: None };
    match engine.send(call).await {
        Ok(Sent::New(_, items)) => match &items[..] {
            [Item::Accepted(accepted)] => Ok(accepted.message.id),
            other => panic!("{other:?}"),
        },
        Ok(Sent::Overloaded { why, .. }) => Err(format!("{why:?}")),
        Err(Error::Unavailable(why)) => Err(why),
        other => panic!("{other:?}"),
    }
}

/// Waits until it holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let held = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, held).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// P-34, and the line "Store slow": nobody who is only waiting waits for a disk that does not come back, and who was told
/// no has nothing in the store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_wait_for_a_stuck_disk_are_refused_and_leave_nothing_behind() {
    let directory = tempfile::tempdir().expect("a directory");
    let disk = Disk::new();
    let engine = engine(&directory, &disk).await;
    disk.hold();
    // One commit is begun and does not come back.
    let first = tokio::spawn(send(engine.clone(), 0));
    until("a commit waits for the disk", async || disk.waiting() > 0).await;
    let others: Vec<_> = (1..=200).map(|n| tokio::spawn(send(engine.clone(), n))).collect();
    // They all come back while the disk still does not.
    let mut refused = Vec::new();
    for other in others {
        let answer = tokio::time::timeout(PATIENCE, other).await.expect("it is answered").expect("no panic");
        refused.push(answer.expect_err("nobody can be accepted now"));
    }
    assert!(refused.iter().all(|why| why.contains("slow") || why == "Behind"), "{refused:?}");
    assert!(!first.is_finished(), "only its commit can say what becomes of it");
    disk.let_go();
    let id = first.await.expect("no panic").expect("it was committed");
    let store = engine.store();
    assert!(store.message(realm(&engine), id).await.expect("a store").is_some());
    let page = tidings_store::Page { before: None, limit: 1_000 };
    let all = store.messages(realm(&engine), Default::default(), page).await.expect("a store");
    assert_eq!(all.items.len(), 1, "who was refused left nothing");
    // And it goes on.
    until("a call is accepted again", async || send(engine.clone(), 300).await.is_ok()).await;
    engine.stop(5_000).await;
}

/// The line "Store slow": receipts are acknowledged late and not lost. Each sync takes a fifth of a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_slow_disk_every_message_gets_its_receipt() {
    let directory = tempfile::tempdir().expect("a directory");
    let disk = Disk::new();
    let engine = engine(&directory, &disk).await;
    disk.slow(Duration::from_millis(200));
    let calls: Vec<_> = (0..100).map(|n| tokio::spawn(send(engine.clone(), n))).collect();
    let mut ids = Vec::new();
    for call in calls {
        ids.push(call.await.expect("no panic").expect("a fifth of a second is not too long to wait"));
    }
    until("all are delivered", async || {
        for id in &ids {
            let stored = engine.store().message(realm(&engine), *id).await.expect("a store").expect("it");
            if stored.life.state.status() != Status::Delivered {
                return false;
            }
        }
        true
    })
    .await;
    disk.slow(Duration::ZERO);
    engine.stop(5_000).await;
}
