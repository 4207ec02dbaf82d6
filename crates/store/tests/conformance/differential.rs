//! Two stores, one story: the same calls to a database and to the model give the same answers, and leave the same behind.
//!
//! A story is drawn from its seed alone (`teller.rs`): some eighty calls (`call.rs`) over a few hours or weeks, with few
//! numbers, ids and keys, so that they collide. Calls that a database puts into one transaction are made at the same
//! moment. Every answer is compared; at the end everything that can be read is. A story that differs prints its seed and
//! its last calls. `TIDINGS_SEQUENCES` says how many stories are told, `TIDINGS_SEED` tells one.

mod call;
mod teller;

pub(crate) use teller::Teller;

use crate::samples::*;
use crate::{Directory, Place, database, run};
use call::{Call, everything, lines, make};
use std::collections::BTreeMap;
use std::sync::Arc;
use tidings_domain::account::{Environment, Realm};
use tidings_domain::id::*;
use tidings_domain::time::Timestamp;
use tidings_store::model::{Disk, Model};
use tidings_store::*;

/// Stories in an ordinary run of the tests.
const STORIES: u64 = 150;
/// Calls of a story.
const CALLS: usize = 80;
/// Calls that are made at the same moment.
const TOGETHER_MAX: usize = 8;

const TEST: Realm = Realm { environment: Environment::Test, ..HOME };
const NEIGHBOUR: Realm = Realm { account: AccountId::from_key(2), ..HOME };
const REALMS: [Realm; 3] = [HOME, TEST, NEIGHBOUR];
const TEST_LINE: ConnectionId = ConnectionId::from_key(3);
const LINES: [ConnectionId; 3] = [LINE, OTHER_LINE, TEST_LINE];

/// Few, so that they are taken.
const TEMPLATE_NAMES: [&str; 3] = ["hello", "reply.hours", "remind"];

/// Where there is a server between: each story has a database of its own.
const STORIES_OF_POSTGRES: u64 = 25;

/// P-05, P-19, P-20, P-23
#[test]
fn sqlite_and_the_model_tell_the_same_story() {
    tell_all(STORIES, || Place::Sqlite(Directory::volatile()));
}

/// P-05, P-19, P-20, P-23
#[test]
fn postgresql_and_the_model_tell_the_same_story() {
    if database().is_some() {
        tell_all(STORIES_OF_POSTGRES, || Place::Postgres(database().expect("it was there just now")));
    }
}

fn tell_all(stories: u64, place: impl Fn() -> Place) {
    let number = |name: &str| std::env::var(name).ok().map(|n| n.parse::<u64>().expect("a number"));
    let seeds = match number("TIDINGS_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TIDINGS_SEQUENCES").unwrap_or(stories),
    };
    run(async {
        for seed in seeds {
            tell(seed, place()).await;
        }
    });
}

// ── two stores ──────────────────────────────────────────────────────────────────────────────────────────────

/// Names the ids that a store chose by itself in the order in which they are met, so that they compare.
#[derive(Default)]
struct Names(BTreeMap<(&'static str, i64), usize>);

impl Names {
    fn rename(&mut self, text: &str) -> String {
        /// How the ids stand in a text: as `Debug` writes them, and printed.
        const KINDS: [(&str, &str); 5] = [
            ("ReviewId(", "rev_"),
            ("SuppressionId(", "sup_"),
            ("AuditId(", "aud_"),
            ("ConversationId(", "cnv_"),
            ("ConsentId(", "con_"),
        ];
        let mut renamed = String::with_capacity(text.len());
        let mut rest = text;
        loop {
            let first = |(written, printed)| {
                let at = [rest.find(written), rest.find(printed)].into_iter().flatten().min();
                at.map(|at| (at, written, printed))
            };
            let Some((at, written, printed)) = KINDS.into_iter().filter_map(first).min() else {
                renamed.push_str(rest);
                return renamed;
            };
            renamed.push_str(&rest[..at]);
            rest = &rest[at..];
            let found: Option<(i64, &str)> = match rest.strip_prefix(written) {
                Some(after) => {
                    after.split_once(')').and_then(|(key, after)| Some((key.parse().ok()?, after)))
                }
                None => rest[printed.len()..].split_at_checked(PRINTED_LEN).and_then(|(digits, after)| {
                    Some((format!("msg_{digits}").parse::<MessageId>().ok()?.key(), after))
                }),
            };
            let (key, after) = found.unwrap_or_else(|| panic!("no id: {rest}"));
            let next = self.0.len();
            let name = *self.0.entry((printed, key)).or_insert(next);
            renamed.push_str(&format!("{printed}#{name}"));
            rest = after;
        }
    }
}

/// What is told of the connections before anything happens.
fn carriers(share: bool) -> Vec<(ConnectionId, Environment, &'static str)> {
    let both = [LINE, OTHER_LINE].map(|line| (line, Environment::Live, "north"));
    both.into_iter().filter(|_| share).collect()
}

fn open(place: &Place, share: bool) -> Arc<dyn Backend> {
    let store = place.open();
    store.carriers().set(carriers(share));
    store
}

fn open_model(disk: &Disk, share: bool) -> Model {
    let model = Model::new(disk.clone());
    model.carriers().set(carriers(share));
    model
}

/// What the model is compared with.
struct Stores {
    place: Place,
    disk: Disk,
    real: Option<Arc<dyn Backend>>,
    model: Arc<dyn Backend>,
    incarnation: usize,
    names: [Names; 2],
    /// Whether the first two connections lead to one carrier.
    share: bool,
}

impl Stores {
    fn new(place: Place, share: bool) -> Self {
        let disk = disk();
        let (real, model) = (Some(open(&place, share)), open_model(&disk, share));
        let incarnation = model.incarnation();
        let names = [Names::default(), Names::default()];
        Self { place, disk, real, model: Arc::new(model), incarnation, names, share }
    }

    fn real(&self) -> &Arc<dyn Backend> {
        self.real.as_ref().expect("it is open")
    }

    async fn reopen(&mut self, crash: bool) {
        if crash {
            self.disk.crash(self.incarnation);
        } else {
            self.real().close().await.expect("closed");
            self.model.close().await.expect("closed");
        }
        drop(self.real.take());
        self.real = Some(open(&self.place, self.share));
        let model = open_model(&self.disk, self.share);
        self.incarnation = model.incarnation();
        self.model = Arc::new(model);
    }

    /// Makes calls on the database as if several callers made them at the same moment, each with the model's answer.
    async fn make_together(&self, calls: Vec<(Timestamp, Call, String)>) -> Vec<(String, String)> {
        let mut making: Vec<_> =
            calls.iter().map(|(now, call, _)| Box::pin(make(self.real(), call, *now))).collect();
        let mut answers: Vec<Option<String>> = vec![None; calls.len()];
        std::future::poll_fn(|context| {
            for (making, answer) in making.iter_mut().zip(&mut answers).filter(|(_, answer)| answer.is_none())
            {
                if let std::task::Poll::Ready((text, _)) = making.as_mut().poll(context) {
                    *answer = Some(text);
                }
            }
            if answers.iter().all(Option::is_some) {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
        drop(making);
        let ours = calls.into_iter().map(|(.., ours)| ours);
        answers.into_iter().flatten().zip(ours).collect()
    }

    fn compare(&mut self, real: &str, model: &str) -> std::result::Result<(), String> {
        let (real, model) = (self.names[0].rename(real), self.names[1].rename(model));
        difference(&real, &model).map_or(Ok(()), Err)
    }
}

/// Where two answers begin to differ.
pub(crate) fn difference(one: &str, other: &str) -> Option<String> {
    if one == other {
        return None;
    }
    let same = one.chars().zip(other.chars()).take_while(|(left, right)| left == right).count();
    let near = |text: &str| text.chars().skip(same.saturating_sub(300)).take(700).collect::<String>();
    Some(format!("--- this\n…{}\n--- the other\n…{}\n--- this, whole\n{one}", near(one), near(other)))
}

async fn tell(seed: u64, place: Place) {
    let mut stores = Stores::new(place, seed % 2 == 1);
    let mut teller = Teller::new(seed);
    for store in [Arc::clone(stores.real()), Arc::clone(&stores.model)] {
        store.default_account(START).await.expect("made");
        let names = [("main", Environment::Live), ("spare", Environment::Live), ("main", Environment::Test)];
        let names = names.map(|(name, environment)| (name.to_owned(), environment)).to_vec();
        let lines = store.register_connections(names, START).await.expect("registered");
        assert_eq!(lines.iter().map(|line| line.id).collect::<Vec<_>>(), LINES);
    }
    let mut story: Vec<(Timestamp, Call)> = Vec::new();
    let mut waiting: Vec<(Timestamp, Call, String)> = Vec::new();
    let fail = |story: &[(Timestamp, Call)], difference: String| -> ! {
        let all =
            story.iter().enumerate().map(|(n, (now, call))| format!("{n} {} {call:?}", now.as_millis()));
        let last = lines(all.skip(story.len().saturating_sub(30)));
        panic!("the stores differ: TIDINGS_SEED={seed} tells it again\n  {last}\n{difference}")
    };
    for _ in 0..CALLS {
        let now = teller.later();
        let call = teller.call();
        story.push((now, call.clone()));
        // Calls that a database may put into one transaction are made there together, in their order, before the next
        // one of another kind. The model makes each at once.
        if !call.goes_with_others() || waiting.len() == TOGETHER_MAX {
            for (theirs, ours) in stores.make_together(std::mem::take(&mut waiting)).await {
                if let Err(difference) = stores.compare(&theirs, &ours) {
                    fail(&story, difference);
                }
            }
        }
        if matches!(call, Call::Reopen | Call::Crash) {
            stores.reopen(matches!(call, Call::Crash)).await;
        }
        let (ours, learned) = make(&stores.model, &call, now).await;
        teller.learn(&call, learned);
        if call.goes_with_others() {
            waiting.push((now, call, ours));
            continue;
        }
        let (theirs, _) = make(stores.real(), &call, now).await;
        if let Err(difference) = stores.compare(&theirs, &ours) {
            fail(&story, difference);
        }
    }
    for (theirs, ours) in stores.make_together(waiting).await {
        if let Err(difference) = stores.compare(&theirs, &ours) {
            fail(&story, difference);
        }
    }
    let theirs = everything(stores.real(), &teller, teller.now).await;
    let ours = everything(&stores.model, &teller, teller.now).await;
    for ((what, theirs), (_, ours)) in theirs.iter().zip(&ours) {
        if let Err(difference) = stores.compare(theirs, ours) {
            fail(&story, format!("{what}:\n{difference}"));
        }
    }
    stores.real().close().await.expect("closed");
}

// ── one story for a copy and its original ───────────────────────────────────────────────────────────────────

/// Calls after which a store has something of everything.
const CALLS_OF_A_LIFE: usize = 400;

/// Tells a new store a story of some length, and gives who told it.
pub(crate) async fn live(store: &Arc<dyn Backend>, seed: u64) -> Teller {
    let mut teller = Teller::new(seed);
    store.default_account(START).await.expect("made");
    let names = [("main", Environment::Live), ("spare", Environment::Live), ("main", Environment::Test)];
    let names = names.map(|(name, environment)| (name.to_owned(), environment)).to_vec();
    store.register_connections(names, START).await.expect("registered");
    for _ in 0..CALLS_OF_A_LIFE {
        let (now, call) = (teller.later(), teller.call());
        let (_, learned) = make(store, &call, now).await;
        teller.learn(&call, learned);
    }
    teller
}

/// Everything that can be read of a store.
pub(crate) async fn shown(store: &Arc<dyn Backend>, teller: &Teller) -> Vec<(String, String)> {
    everything(store, teller, teller.now).await
}

/// Goes on with a story in several stores that hold the same, which must give the same answers.
pub(crate) async fn go_on(teller: &mut Teller, stores: &[Arc<dyn Backend>]) {
    let mut names: Vec<Names> = stores.iter().map(|_| Names::default()).collect();
    for n in 0..CALLS_OF_A_LIFE {
        let (now, call) = (teller.later(), teller.call());
        let mut answers = Vec::new();
        for (store, names) in stores.iter().zip(&mut names) {
            let (text, learned) = make(store, &call, now).await;
            if answers.is_empty() {
                teller.learn(&call, learned);
            }
            // A NUL in a text became a mark in some.
            answers.push(names.rename(&text.replace("\\0", "\u{FFFD}")));
        }
        for (store, answer) in answers.iter().enumerate() {
            if let Some(difference) = difference(answer, &answers[0]) {
                panic!("store {store} differs in call {n}, {call:?}\n{difference}");
            }
        }
    }
}
