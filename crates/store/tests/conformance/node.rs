//! Several processes that serve one place: who owns what, who is ended, and what others hear. SQLite has one owner and is
//! not among them.

use crate::samples::*;
use crate::{database, run};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tidings_cluster::Database;
use tidings_domain::account::Environment;
use tidings_domain::address::PhoneNumber;
use tidings_domain::id::*;
use tidings_domain::message::{Answer, Input};
use tidings_domain::node::{LEASE_MS, RENEW_MS, Roles};
use tidings_domain::queue::Queue;
use tidings_domain::suppression::Reason;
use tidings_store::model::{Disk, Model};
use tidings_store::postgres::{Options, Postgres};
use tidings_store::*;

/// A place that several serve.
enum Shared {
    Postgres(Database),
    Model(Disk),
}

impl Shared {
    fn all() -> impl Iterator<Item = Self> {
        [database().map(Self::Postgres), Some(Self::Model(Disk::new()))].into_iter().flatten()
    }

    /// Another process.
    fn open(&self) -> Arc<dyn Backend> {
        match self {
            Self::Postgres(database) => {
                let options = Options::at(&database.address()).expect("an address");
                Arc::new(Postgres::open(&Options { served: true, ..options }).expect("it opens"))
            }
            Self::Model(disk) => Arc::new(Model::member(disk.clone(), None)),
        }
    }

    /// A node of this name, with a place of its own.
    async fn node(&self, name: &str, roles: Roles) -> (Arc<dyn Backend>, Result<Standing>) {
        let store = self.open();
        let names = vec![("line".to_owned(), Environment::Live), ("other".to_owned(), Environment::Live)];
        let known = store.register_connections(names, START).await.expect("registered");
        let connections = known.into_iter().map(|connection| connection.id).collect();
        let newcomer = Newcomer { name: name.into(), place: format!("{name}:/var/lib"), roles, connections };
        let standing = store.join(newcomer).await;
        (store, standing)
    }

    /// Lets time pass by the clock that grants leases.
    fn pass(&self, ms: i64) {
        match self {
            Self::Postgres(database) => {
                database.run(&format!(
                    "UPDATE node SET lease_until = lease_until - {ms} * interval '1 ms',
                       steady_since = steady_since - {ms} * interval '1 ms'"
                ));
            }
            Self::Model(disk) => disk.pass(ms),
        }
    }
}

fn for_each_shared<Done: Future<Output = ()>>(test: impl Fn(Shared) -> Done) {
    for place in Shared::all() {
        run(async { test(place).await });
    }
}

async fn owned(store: &Arc<dyn Backend>) -> Vec<ConnectionId> {
    store.renew().await.expect("renewed").owned.expect("a node owns some")
}

/// Waits until something is so that is bound to be so in the end.
async fn until(so: impl AsyncFn() -> bool) {
    for _ in 0..600 {
        if so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it is never so");
}

/// P-28
#[test]
fn connections_are_shared_among_nodes_and_move_when_one_goes() {
    for_each_shared(async |place| {
        let (first, standing) = place.node("a", Roles::ALL).await;
        let alone = standing.expect("joined");
        assert_eq!(
            (alone.owned, alone.spare, alone.has_peers),
            (Some(vec![LINE, OTHER_LINE]), vec![], false)
        );
        let (second, standing) = place.node("b", Roles::ALL).await;
        let late = standing.expect("joined");
        assert_eq!((late.owned, late.has_peers), (Some(vec![]), true));
        assert_ne!(late.number, alone.number);
        // One who only answers programs owns nothing.
        let (api, standing) = place.node("c", Roles { api: true, send: false, webhook: false }).await;
        assert_eq!(standing.expect("joined").owned, Some(vec![]));

        let asked = first.renew().await.expect("renewed");
        assert_eq!(asked.spare, [LINE, OTHER_LINE], "b has none");
        first.release(LINE).await.expect("released");
        assert_eq!(owned(&api).await, []);
        assert_eq!(owned(&first).await, [OTHER_LINE], "it is for b");
        assert_eq!(owned(&second).await, [LINE]);
        assert_eq!(first.renew().await.expect("renewed").spare, []);
        let seen = first.nodes().await.expect("read");
        let seen: Vec<_> =
            seen.iter().map(|node| (node.name.as_str(), &node.owned[..], node.is_this)).collect();
        assert_eq!(seen, [("a", &[OTHER_LINE][..], true), ("b", &[LINE][..], false), ("c", &[][..], false)]);

        // What is not its own it cannot give back.
        second.release(OTHER_LINE).await.expect("nothing is done");
        assert_eq!(owned(&first).await, [OTHER_LINE]);
        second.leave().await.expect("left");
        assert_eq!(owned(&first).await, [LINE, OTHER_LINE]);
        for store in [first, second, api] {
            store.close().await.expect("closed");
        }
    });
}

/// P-28
#[test]
fn a_node_that_was_ended_is_refused_whatever_it_writes() {
    for_each_shared(async |place| {
        let (first, standing) = place.node("a", Roles::ALL).await;
        standing.expect("joined");
        let (second, standing) = place.node("b", Roles::ALL).await;
        standing.expect("joined");
        accept(&first, [message(1)]).await;
        let ticket = claim_at(&first, START).await.remove(0);
        place.pass(LEASE_MS + 1_000);
        // Who was silent itself cannot say that others are.
        assert_eq!(owned(&second).await, []);
        // Nobody ended it, so it goes on.
        assert_eq!(owned(&first).await, [LINE, OTHER_LINE]);
        // What is in the hands of the owner is nobody else's to settle.
        let early = second.recover(Some(LINE), MANY, START, patience()).await;
        assert!(matches!(early, Err(Error::Conflict(_))), "{early:?}");
        let mut taken = Vec::new();
        for _ in 0..LEASE_MS / RENEW_MS {
            assert_eq!(taken, [], "it is not over yet");
            place.pass(RENEW_MS + 500);
            taken = owned(&second).await;
        }
        assert_eq!(taken, [LINE, OTHER_LINE]);

        let answer =
            answered(ticket.message.id, ticket.attempt, 0, Answer::Accepted { carrier_id: "x".into() });
        let late = first.advance(vec![answer], START, patience()).await;
        assert!(matches!(late, Err(Error::Expelled(_))), "{late:?}");
        let why =
            tokio::time::timeout(Duration::from_secs(30), first.until_broken()).await.expect("it says so");
        assert!(matches!(why, Error::Expelled(_)), "{why}");
        assert!(matches!(first.accept(intake([message(2)]), START).await, Err(Error::Expelled(_))));
        assert!(matches!(first.renew().await, Err(Error::Expelled(_))));

        // The new owner settles what the old one had in its hands, of this connection alone.
        let none = second.recover(Some(OTHER_LINE), MANY, START, patience()).await.expect("recovered");
        assert!(none.statuses.is_empty());
        let one = second.recover(Some(LINE), MANY, START, patience()).await.expect("recovered");
        assert_eq!(one.statuses.len(), 1);
        let again = second.recover(Some(LINE), MANY, START, patience()).await.expect("recovered");
        assert!(again.statuses.is_empty());
        second.close().await.expect("closed");
        first.close().await.expect("closed");
    });
}

#[test]
fn a_name_belongs_to_one_node_at_a_time() {
    for_each_shared(async |place| {
        let (first, standing) = place.node("a", Roles::ALL).await;
        standing.expect("joined");
        // The lock of its place is ours, so it has ended.
        let (again, standing) = place.node("a", Roles::ALL).await;
        assert_eq!(standing.expect("joined").owned, Some(vec![LINE, OTHER_LINE]));
        assert!(matches!(first.renew().await, Err(Error::Expelled(_))));
        let elsewhere = place.open();
        let newcomer =
            Newcomer { name: "a".into(), place: "other:/".into(), roles: Roles::ALL, connections: vec![] };
        let refused = elsewhere.join(newcomer).await;
        assert!(matches!(refused, Err(Error::Conflict(why)) if why.contains("a:/var/lib")));
        for store in [first, again, elsewhere] {
            store.close().await.expect("closed");
        }
    });
}

fn suppression(recipient: PhoneNumber) -> Suppression {
    Suppression {
        id: SuppressionId::from_key(1),
        realm: HOME,
        recipient,
        programme: None,
        reason: Reason::OptedOut,
        source: "api".into(),
        created_at: START,
        expires_at: None,
        lifted: None,
    }
}

/// P-15
#[test]
fn nodes_hear_of_each_others_commits() {
    for_each_shared(async |place| {
        let (first, standing) = place.node("a", Roles::ALL).await;
        standing.expect("joined");
        let mut news = first.news().expect("a node hears");
        let (second, standing) = place.node("b", Roles::ALL).await;
        standing.expect("joined");
        let heard = async |news: &mut tokio::sync::mpsc::Receiver<News>, wanted: fn(&News) -> bool| {
            let listening = async {
                while let Some(one) = news.recv().await {
                    if wanted(&one) {
                        return one;
                    }
                }
                panic!("nobody tells anything any more");
            };
            tokio::time::timeout(Duration::from_secs(30), listening).await.expect("it is heard")
        };
        // What was said before somebody listened is not heard: so it is said again.
        let known = Arc::new(AtomicBool::new(false));
        let (more, teller) = (Arc::clone(&known), Arc::clone(&second));
        let telling = tokio::spawn(async move {
            for n in 1.. {
                accept(&teller, [message(n)]).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
                if more.load(Ordering::Acquire) {
                    break;
                }
            }
        });
        let one = heard(&mut news, |news| matches!(news, News::Queued(..))).await;
        known.store(true, Ordering::Release);
        telling.await.expect("told");
        assert!(matches!(one, News::Queued(queue, _) if queue == Queue::of(LINE)), "{one:?}");
        // The counts of what waits follow.
        let waiting = first.waiting().await.expect("counted");
        let (before, _) = waiting.of(HOME.account);
        accept(&second, [message(1_001), message(1_002)]).await;
        until(async || waiting.of(HOME.account).0 == before + 2).await;

        // An opt-out has a version, and whoever looks from then on sees it.
        let gone = number(5);
        second.suppress(vec![suppression(gone)], actor()).await.expect("added");
        let version = second.list_version().await.expect("read");
        let News::List(told) = heard(&mut news, |news| matches!(news, News::List(_))).await else {
            unreachable!()
        };
        assert!(told <= version, "{told} is told of {version}");
        let seen = first.suppressed(vec![(HOME, gone)], START).await.expect("read");
        assert!(!seen[0].is_free());
        first.acknowledge(version).await.expect("acknowledged");
        let nodes = second.nodes().await.expect("read");
        assert_eq!(nodes[0].acknowledged, version);

        second.create_endpoint(endpoint(1), actor()).await.expect("created");
        heard(&mut news, |news| *news == News::Settings).await;
        // It counts for the very next commit of the other.
        let out = advance(&first, vec![to(id(1), Input::Cancel)], START).await;
        assert_eq!(out.told.len(), 1);
        second.leave().await.expect("left");
        heard(&mut news, |news| *news == News::Nodes).await;
        for store in [first, second] {
            store.close().await.expect("closed");
        }
    });
}
