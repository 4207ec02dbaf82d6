//! The loops. One file, one room; rooms never call each other, they meet in the store.
//!
//! [`Engine`] is what the API, the command line and the console hold: it accepts messages, answers questions about
//! what is live (connections, metrics, health), and wakes the room that has something to do. The rooms:
//!
//! - [`intake`]: requests → accepted messages; hands over to a connection with room in its window.
//! - [`dispatch`]: one loop a connection: due messages → carrier → what happened → store.
//! - [`code`]: one-time codes, where a text goes out and where one is checked.
//! - `inbound`: what people send → what they ask, with the answer that may follow.
//! - [`webhook`]: events → signed calls to customers.
//! - [`housekeeping`]: lost claims, doubts, expiry, retention, and what an earlier process left.
//! - [`disk`]: how much room is left.
//! - [`suppression`]: ends what waits for who is on the suppression list, and takes people off it.
//! - [`import`]: tables of contacts, judged as they come, taken over piece by piece; [`contact`] writes them out.
//! - [`proof`]: all that a person agreed to, and did not.
//! - [`journal`]: every change of the suppression list, in files outside of the store.
//! - `node`: which connections are this node's, where several share a store.
//!
//! [`clock`] is the only reader of time and randomness, [`telemetry`] the only keeper of metrics, and [`world`] is all
//! that comes from outside.

mod admission;
pub mod clock;
pub mod code;
pub mod contact;
pub mod disk;
pub mod dispatch;
pub mod housekeeping;
pub mod import;
mod inbound;
pub mod intake;
pub mod journal;
mod node;
pub mod proof;
mod routing;
pub mod segment;
pub mod signature;
mod supervise;
pub mod suppression;
pub mod telemetry;
pub mod webhook;
pub mod world;

use arc_swap::ArcSwap;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use supervise::supervise;
use suppression::Lift;
use tidings_carriers::{CrashKey, LinkState, codes::Codes, list};
use tidings_domain::account::{Environment, Realm};
pub use tidings_domain::admission::Refused;
use tidings_domain::consent::Channel;
use tidings_domain::consent_request::NewConsentRequest;
use tidings_domain::event::{Event, Kind};
use tidings_domain::id::*;
use tidings_domain::intake::{Limits, SendRequest};
use tidings_domain::message::{self, Answer, Input, Status};
use tidings_domain::node::Roles;
use tidings_domain::programme::Programmes;
use tidings_domain::purpose::Purpose;
use tidings_domain::queue::{Paces, Queue};
use tidings_domain::retry::RetryPolicy;
use tidings_domain::review::Decision;
use tidings_domain::routing::Route;
use tidings_domain::time::Timestamp;
use tidings_store::{
    About, Actor, Advanced, Arrival, Attempt, Backend, Connection, Endpoint, Guard, Happening, Key, Page,
    Paged, Patience, Replay, Result, Retention, Review, ReviewChoice, Saying, Statistics, Stored,
    Suppression, Ticket, Told,
};
use tokio::task::JoinSet;

pub use intake::{Accepted, Call, IdempotencyKey, Item, Preview, Sent};
pub use world::World;

/// The name of the connection that every installation has: the simulated carrier of the test environment.
pub const SIMULATOR: &str = "simulator";
/// How long an opt-out waits for submissions that were on their way when it was committed.
const BARRIER_MS: u64 = 5_000;
/// Events that one replay makes due.
const REPLAY_MAX: usize = 100_000;
/// Review items that one decision closes.
const DECIDE_MAX: usize = 500;
/// Numbers of the store are read again after so many times the time that reading them took: it grows with the backlog,
/// and whoever asks for them often must not keep the readers from the work.
const NUMBERS_REST: u64 = 20;
/// How long a write that must not be lost is tried again, when the store does not answer: every so many ms.
const STORE_PAUSE_MS: u64 = 250;
/// How long leaving the other nodes may take at a stop: ms.
const LEAVE_MS: u64 = 1_000;
/// How long the store may take to say what is paused and held, before it is asked anew.
const FOLLOW_WAIT: std::time::Duration = std::time::Duration::from_secs(5);

/// Why an installation could not be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] tidings_store::Error),
    /// The journal of opt-outs cannot be kept.
    #[error("the journal of opt-outs cannot be kept in {path}: {reason}")]
    Journal {
        /// Where.
        path: String,
        /// Why not.
        reason: std::io::Error,
    },
    /// A connection's settings make no sense.
    #[error("connection {name}: {reason}")]
    Connection {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

/// How an installation is set up.
#[derive(Clone)]
pub struct Settings {
    /// The bounds of what is accepted.
    pub limits: Limits,
    /// When to try again.
    pub retry: RetryPolicy,
    /// When a number at which nothing arrives goes on the suppression list; `None` for never.
    pub unreachable: Option<tidings_domain::reachability::Policy>,
    /// The links to carriers. The test environment's simulator is added if it is not among them.
    pub connections: Vec<ConnectionSettings>,
    /// From carriers' codes to failures.
    pub codes: Arc<Codes>,
    /// Where webhooks may go.
    pub egress: tidings_egress::Policy,
    /// How long things are kept.
    pub retention: Retention,
    /// Who this node is.
    pub node: NodeSettings,
    /// The directory of the journal of opt-outs; `None` for none.
    pub journal: Option<std::path::PathBuf>,
    /// What people are answered who ask by text; `None` for nothing. What they ask is done either way.
    pub replies: Option<tidings_domain::reply::Replies>,
    /// Where what people write goes, and what they are answered by a rule.
    pub inbound_rules: Vec<tidings_domain::inbound_rule::InboundRule>,
    /// What the operator decided about the gate.
    pub gate: tidings_domain::gate::Policy,
    /// The pools of senders, by name.
    pub pools: Vec<tidings_domain::pool::Pool>,
    /// The programmes.
    pub programmes: Arc<Programmes>,
    /// How one-time codes are made and sent.
    pub one_time_codes: code::OneTimeCodes,
    /// How long a message of a person waits for its parts, from the first one: ms.
    pub parts_wait_ms: i64,
}

impl Default for Settings {
    /// Of an engine that was told nothing: it has the simulated carrier, an open gate and nothing to say by itself, and forgets
    /// nothing.
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            retry: RetryPolicy::default(),
            unreachable: None,
            connections: Vec::new(),
            codes: Arc::default(),
            egress: tidings_egress::Policy::strict(),
            retention: Retention::FOR_EVER,
            node: NodeSettings::default(),
            journal: None,
            replies: None,
            inbound_rules: Vec::new(),
            gate: tidings_domain::gate::Policy::OPEN,
            pools: Vec::new(),
            programmes: Arc::default(),
            one_time_codes: code::OneTimeCodes::default(),
            parts_wait_ms: 180_000,
        }
    }
}

/// Who a node is among those who serve the same store.
#[derive(Debug, Clone)]
pub struct NodeSettings {
    /// Tells nodes apart in ids, 0 to 1022, where the store can only have one owner and gives no numbers.
    pub number: u16,
    /// What people call it.
    pub name: String,
    /// The machine and directory whose lock it holds.
    pub place: String,
    /// What it is for.
    pub roles: Roles,
}

impl Default for NodeSettings {
    fn default() -> Self {
        Self { number: 0, name: String::new(), place: String::new(), roles: Roles::ALL }
    }
}

/// One link to a carrier.
#[derive(Clone)]
pub struct ConnectionSettings {
    /// Its name.
    pub name: String,
    /// Its environment.
    pub environment: Environment,
    /// Segments per second agreed with the carrier.
    pub pace_per_s: Option<f64>,
    /// Beginnings of recipients' numbers that go here; empty for all.
    pub prefixes: Vec<String>,
    /// Senders that may be used here; empty for all.
    pub senders: Vec<String>,
    /// Whether people who ask by text are answered by us, and not by the carrier.
    pub replies: bool,
    /// What its carrier is called, if several connections lead to it: they share messages, and hear each other's receipts.
    pub of_carrier: Option<String>,
    /// The carrier's own settings.
    pub carrier: list::Settings,
}

/// A running installation. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

/// What the rooms share.
pub(crate) struct Inner {
    pub(crate) store: Arc<dyn Backend>,
    pub(crate) clock: Arc<clock::Clock>,
    pub(crate) settings: Settings,
    pub(crate) account: AccountId,
    pub(crate) telemetry: telemetry::Telemetry,
    pub(crate) routes: Vec<Route>,
    /// The senders whose messages wait in queues of their own.
    pub(crate) paces: Arc<Paces>,
    pub(crate) text: Vec<tidings_domain::text::Options>,
    pub(crate) webhooks: webhook::Room,
    pub(crate) admission: admission::Admission,
    pub(crate) guard: Arc<Guard>,
    pub(crate) seat: Arc<node::Seat>,
    pub(crate) journal: Option<journal::Journal>,
    /// The configured connections.
    places: BTreeMap<ConnectionId, ConnectionSettings>,
    /// The lanes of those that are this node's.
    lanes: ArcSwap<node::Lanes>,
    open_link: Arc<world::OpenLink>,
    tickets_max: usize,
    connections: Mutex<HashMap<ConnectionId, Connection>>,
    /// Somebody here changed the suppression list.
    list_changed: Arc<tokio::sync::Notify>,
    /// Somebody here decided about an import.
    import_decided: Arc<tokio::sync::Notify>,
    /// Held by who takes over what the store says, so that nobody takes over what is older than what counts already.
    following: tokio::sync::Mutex<()>,
    hold: Mutex<Option<String>>,
    disk: Mutex<Option<(disk::Level, tidings_store::Room)>>,
    retry: Arc<RetryPolicy>,
    numbers: tokio::sync::Mutex<Option<Numbers>>,
    stopping: AtomicBool,
    stopped: AtomicBool,
    tasks: Mutex<JoinSet<()>>,
}

/// The store's guard, as carriers know one.
struct Guarded(Arc<Guard>);

impl tidings_carriers::Guard for Guarded {
    fn contain(&self, key: CrashKey<'_>, work: &mut dyn FnMut()) -> bool {
        let key = match key {
            CrashKey::Message(id) => Key::from(id),
            CrashKey::Octets(octets) => Key::of(octets),
        };
        self.0.contain(key, work).is_ok()
    }
}

/// What the store counted, how long that took and since when it stands.
struct Numbers {
    statistics: Statistics,
    took_ms: u64,
    since: clock::Stopwatch,
}

/// What an attempt to take a message back led to.
#[derive(Debug, Clone)]
pub enum Cancel {
    /// It will not be sent.
    Done(Box<Stored>),
    /// It is already on its way or ended.
    TooLate(Box<Stored>),
    /// There is no such message in this realm.
    NotFound,
}

/// A connection as it is now.
#[derive(Debug, Clone)]
pub struct ConnectionNow {
    /// Its id, name, environment and pause.
    pub connection: Connection,
    /// What its carrier is called, if several connections lead to it.
    pub of_carrier: Option<String>,
    /// What kind of carrier.
    pub kind: &'static str,
    /// How the link is.
    pub state: LinkState,
    /// The window's size and how much of it is taken: segments.
    pub window: (usize, usize),
    /// The pace in force: segments per second; `None` without limit.
    pub pace_per_s: Option<f64>,
    /// Waiting messages by purpose, with the moment since which the oldest is due.
    pub queues: Vec<(Purpose, u64, Option<Timestamp>)>,
}

/// How the installation is, for `/readyz`.
#[derive(Debug, Clone)]
pub struct Health {
    /// Whether requests can be served.
    pub ready: bool,
    /// One line a part: name, whether it is well, and a sentence.
    pub parts: Vec<(String, bool, String)>,
}

/// What a person's decision led to.
#[derive(Debug, Clone, Default)]
pub struct Decided {
    /// The items that were closed.
    pub closed: Vec<Review>,
    /// For `retry`: the new messages, in the order of `closed`; `None` where the old one cannot be repeated.
    pub repeated: Vec<Option<MessageId>>,
}

impl Engine {
    /// Starts every room over an open store: first what an earlier process left is settled, then links are opened.
    ///
    /// # Errors
    /// [`Error::Store`] if the store does not answer, [`Error::Connection`] if a carrier's settings make no sense.
    pub async fn start(store: Arc<dyn Backend>, settings: Settings) -> std::result::Result<Self, Error> {
        Self::start_in(World::real(&settings), store, settings).await
    }

    /// The same in a given world: for simulations.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub async fn start_in(
        world: World,
        store: Arc<dyn Backend>,
        mut settings: Settings,
    ) -> std::result::Result<Self, Error> {
        let World { clock, open, web, memory } = world;
        let now = clock.now();
        let account = store.default_account(now).await?;
        let journal = match &settings.journal {
            None => None,
            Some(path) => Some(journal::Journal::open(path, account).map_err(|reason| {
                let path = path.display().to_string();
                Error::Journal { path, reason }
            })?),
        };
        let has_test = settings.connections.iter().any(|c| c.environment == Environment::Test);
        if !has_test {
            settings.connections.push(ConnectionSettings {
                name: SIMULATOR.to_owned(),
                environment: Environment::Test,
                pace_per_s: None,
                prefixes: Vec::new(),
                senders: Vec::new(),
                replies: true,
                of_carrier: None,
                carrier: list::Settings::Simulator(Default::default()),
            });
        }
        let names = settings.connections.iter().map(|c| (c.name.clone(), c.environment)).collect();
        let connections = store.register_connections(names, now).await?;
        let ids = connections.iter().map(|connection| connection.id).collect();
        let seat = Arc::new(node::Seat::join(&*store, &clock, &settings.node, ids).await?);
        let (waiting, guard) = (store.waiting().await?, store.guard());
        let (webhooks, attempts) = webhook::Room::new(settings.egress.clone(), web, memory.deliveries);
        let routes = routing::routes(&connections, &settings.connections);
        store.carriers().set(
            routes.iter().filter_map(|one| Some((one.connection, one.environment, one.carrier.as_deref()?))),
        );
        let ids = connections.iter().map(|connection| connection.id);
        let inner = Arc::new(Inner {
            telemetry: telemetry::Telemetry::new(
                connections.iter().map(|c| (c.id, c.name.clone())).collect(),
            ),
            routes,
            text: settings.connections.iter().map(|c| list::text_options(&c.carrier)).collect(),
            places: ids.clone().zip(settings.connections.iter().cloned()).collect(),
            lanes: ArcSwap::default(),
            paces: store.paces(),
            open_link: open,
            tickets_max: memory.tickets,
            seat,
            journal,
            list_changed: Arc::default(),
            import_decided: Arc::default(),
            following: tokio::sync::Mutex::default(),
            hold: Mutex::new(None),
            disk: Mutex::new(None),
            retry: Arc::new(settings.retry.clone()),
            numbers: tokio::sync::Mutex::default(),
            admission: admission::Admission::new(settings.limits.waiting, waiting),
            guard,
            stopping: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            tasks: Mutex::default(),
            store,
            clock,
            settings,
            account,
            webhooks,
            connections: Mutex::new(connections.iter().map(|c| (c.id, c.clone())).collect()),
        });
        let mut loops = Vec::new();
        if inner.seat.is_alone() {
            for id in ids {
                let (lane, of_lane) = inner.open_lane(id, now)?;
                inner.enter(&lane);
                loops.push(of_lane);
            }
        }
        housekeeping::recover(&inner).await?;
        inner.follow_store().await;
        // Before anything is sent: the store may have gone back in time.
        journal::follow(&inner).await;
        inner.webhooks.refresh(&inner).await;
        let weak = Arc::downgrade(&inner);
        {
            let mut tasks = inner.tasks.lock().expect("nothing panics while it holds this");
            for lane in loops {
                lane.start(&mut tasks);
            }
            webhook::run(&weak, attempts, &mut tasks);
            tasks.spawn(supervise("wake", weak.clone(), |weak| Box::pin(housekeeping::wake(weak))));
            tasks.spawn(supervise("follow", weak.clone(), |weak| Box::pin(housekeeping::follow(weak))));
            tasks.spawn(supervise("sweep", weak.clone(), |weak| Box::pin(housekeeping::sweep(weak))));
            tasks.spawn(supervise("list", weak.clone(), |weak| Box::pin(suppression::watch(weak))));
            tasks.spawn(supervise("imports", weak.clone(), |weak| Box::pin(import::watch(weak))));
            tasks.spawn(supervise("journal", weak.clone(), |weak| Box::pin(journal::watch(weak))));
            tasks.spawn(supervise("disk", weak.clone(), |weak| Box::pin(disk::watch(weak))));
            node::run(&weak, &inner, &mut tasks);
        }
        Ok(Self { inner })
    }

    /// The store, for reading and for what needs no loop.
    pub fn store(&self) -> &Arc<dyn Backend> {
        &self.inner.store
    }

    /// Time, ids and randomness.
    pub fn clock(&self) -> &Arc<clock::Clock> {
        &self.inner.clock
    }

    /// The account that exists from the start.
    pub fn default_account(&self) -> AccountId {
        self.inner.account
    }

    /// The bounds in force.
    pub fn limits(&self) -> &Limits {
        &self.inner.settings.limits
    }

    /// The programmes.
    pub fn programmes(&self) -> &Programmes {
        &self.inner.settings.programmes
    }

    /// Accepts the messages of one call. Durable when it returns. A caller that goes away before that changes nothing:
    /// what was begun is finished.
    pub async fn send(&self, call: Call) -> Result<Sent> {
        intake::send(Arc::clone(&self.inner), call).await
    }

    /// Accepts the one message of a call as an entry of the conversation between its recipient and its sender, unless somebody
    /// wrote there since what its writer saw. Durable when it returns.
    pub async fn converse(&self, call: Call, saying: Saying) -> Result<Sent> {
        intake::converse(Arc::clone(&self.inner), call, saying).await
    }

    /// Accepts the one message of a call, which asks its recipient for consent, unless the person is already asked from its
    /// sender. Durable when it returns.
    pub async fn ask_consent(&self, call: Call, asking: NewConsentRequest) -> Result<Sent> {
        intake::ask_consent(Arc::clone(&self.inner), call, asking).await
    }

    /// Whether nothing is accepted now, whoever asks: why not, and when to come back, in seconds. Worth knowing before
    /// a body is parsed.
    pub fn accepts_nothing(&self) -> Option<(Refused, u32)> {
        let why = self.inner.admission.closed()?;
        Some((why, why.retry_after_s(self.inner.clock.draw())))
    }

    /// What a request would become, without doing it; with what the gate would say of a message over this channel.
    pub async fn preview(&self, realm: Realm, request: &SendRequest, channel: Channel) -> Result<Preview> {
        intake::preview(&self.inner, realm, request, channel).await
    }

    /// How the connection of a message takes text, for measuring it.
    pub fn text_options(&self, connection: ConnectionId) -> tidings_domain::text::Options {
        let place = self.inner.routes.iter().position(|route| route.connection == connection);
        place.and_then(|place| self.inner.text.get(place)).copied().unwrap_or_default()
    }

    /// Takes a message back, if it is still waiting.
    pub async fn cancel(&self, realm: Realm, id: MessageId, actor: Actor) -> Result<Cancel> {
        let store = &self.inner.store;
        if store.message(realm, id).await?.is_none() {
            return Ok(Cancel::NotFound);
        }
        let happening = Happening::To { message: id, input: Input::Cancel };
        let advanced = store.advance(vec![happening], self.inner.clock.now(), self.inner.patience()).await?;
        let done = advanced.statuses == [Some(Status::Canceled)];
        self.inner.happened(advanced).await;
        if done {
            let now = self.inner.clock.now();
            store
                .record_audit(actor, "message.cancel".to_owned(), id.to_string(), String::new(), now)
                .await?;
        }
        Ok(match store.message(realm, id).await? {
            Some(stored) if done => Cancel::Done(Box::new(stored)),
            Some(stored) => Cancel::TooLate(Box::new(stored)),
            None => Cancel::NotFound,
        })
    }

    /// Puts people on the suppression list. When this returns, no submission to them starts any more: what had passed
    /// the last look before the commit has been handed to the carrier and answered by then (or five seconds are over), on
    /// every other node too (or a lease is over); and it stands in the journal.
    pub async fn suppress(&self, entries: Vec<Suppression>, actor: Actor) -> Result<Vec<Suppression>> {
        let entries = self.inner.store.suppress(entries, actor).await?;
        self.inner.list_changed.notify_one();
        self.inner.nothing_is_on_its_way().await;
        Ok(entries)
    }

    /// Takes somebody off the list: the entry for everything, or those of a programme.
    pub async fn lift(&self, lift: Lift, actor: Actor) -> Result<Option<Suppression>> {
        let names = self.programmes().names();
        let now = self.inner.clock.now();
        let lifted = suppression::lift(&*self.inner.store, &names, lift, &actor, now).await?;
        self.inner.journalled().await;
        Ok(lifted)
    }

    /// Takes an import over, or forgets it; `None` if there is none. Taking over goes on after this returns.
    pub async fn decide_import(
        &self,
        realm: Realm,
        id: ImportId,
        decision: tidings_domain::import::Decision,
        actor: Actor,
    ) -> Result<Option<tidings_domain::import::Import>> {
        let now = self.inner.clock.now();
        let decided = self.inner.store.decide_import(realm, id, decision, actor, now).await?;
        self.inner.import_decided.notify_one();
        Ok(decided)
    }

    /// Records a person's decision about failures and does what it says.
    pub async fn decide(
        &self,
        realm: Realm,
        which: ReviewChoice,
        decision: Decision,
        actor: Actor,
    ) -> Result<Decided> {
        let now = self.inner.clock.now();
        let closed = self.inner.store.decide(realm, which, decision, DECIDE_MAX, actor, now).await?;
        let mut repeated = Vec::new();
        match decision {
            Decision::Drop => {}
            Decision::Suppress => {
                self.inner.list_changed.notify_one();
                self.inner.nothing_is_on_its_way().await;
            }
            Decision::Retry => {
                for review in &closed {
                    // What a person sent cannot be sent again.
                    repeated.push(match review.about.message() {
                        Some(id) => self.repeat(realm, id).await?,
                        None => None,
                    });
                }
            }
        }
        Ok(Decided { closed, repeated })
    }

    /// Sends the content of a message again, as a new one that names it.
    async fn repeat(&self, realm: Realm, id: MessageId) -> Result<Option<MessageId>> {
        let inner = &self.inner;
        // A person decided so: there is always room for it.
        let place = inner.admission.enter_anyway(1, &inner.clock);
        let repeated = inner.planner().repeat(realm, id).await?;
        drop(place);
        let Some(intake::Repeated { message, due_at, advanced }) = repeated else { return Ok(None) };
        inner.telemetry.accepted(message.purpose.as_str(), 1);
        inner.happened(advanced).await;
        if let (Some(lane), Some(due_at)) = (inner.lane(message.connection), due_at) {
            lane.queued(inner.paces.queue_of(&message), due_at);
        }
        Ok(Some(message.id))
    }

    /// The connections of an environment as they are now.
    pub async fn connections(&self, environment: Environment) -> Result<Vec<ConnectionNow>> {
        let statistics = self.inner.statistics().await?;
        let known = self.inner.connections.lock().expect("nothing panics while it holds this").clone();
        let nodes = self.inner.nodes().await;
        let lanes = self.inner.lanes.load_full();
        let mut found: Vec<ConnectionNow> = self
            .inner
            .places
            .iter()
            .filter(|(_, place)| place.environment == environment)
            .filter_map(|(id, place)| {
                let queues = statistics.queues.iter().filter(|(of, ..)| of == id);
                let lane = lanes.any(*id);
                Some(ConnectionNow {
                    connection: known.get(id)?.clone(),
                    of_carrier: place.of_carrier.clone(),
                    kind: place.carrier.kind(),
                    state: self.inner.link_state(*id, &nodes),
                    window: lane.map_or((0, 0), |lane| (lane.window.size(), lane.window.taken())),
                    pace_per_s: lane.map_or(place.pace_per_s, |lane| lane.pace_per_s()),
                    queues: queues.map(|(_, purpose, depth, oldest)| (*purpose, *depth, *oldest)).collect(),
                })
            })
            .collect();
        found.sort_by(|a, b| a.connection.name.cmp(&b.connection.name));
        Ok(found)
    }

    /// The connections that are not configured any more though messages wait for them, and how many do. Nobody sends these:
    /// they are moved by an operator, or expire.
    pub async fn stranded(&self) -> Result<Vec<(Connection, u64)>> {
        let gone = self.inner.gone_with_messages().await?;
        if gone.is_empty() {
            return Ok(Vec::new());
        }
        let queues = self.inner.statistics().await?.queues;
        let waiting = |id| queues.iter().filter(|(of, ..)| *of == id).map(|(_, _, count, _)| count).sum();
        Ok(gone.into_iter().map(|connection| (connection.clone(), waiting(connection.id))).collect())
    }

    /// Pauses (with a reason) or resumes a connection, by name. `None` if there is none.
    pub async fn pause(
        &self,
        environment: Environment,
        name: &str,
        pause: Option<String>,
        actor: Actor,
    ) -> Result<Option<ConnectionNow>> {
        let mut places = self.inner.places.iter();
        let found = places.find(|(_, place)| place.environment == environment && place.name == name);
        let Some((&id, _)) = found else { return Ok(None) };
        self.inner.store.pause_connection(id, pause, actor, self.inner.clock.now()).await?;
        self.inner.follow_store().await;
        Ok(self.connections(environment).await?.into_iter().find(|now| now.connection.id == id))
    }

    /// Checks an address for webhooks against the rules of egress, without calling it: the sentence to show if it is refused.
    pub fn check_url(&self, url: &str) -> std::result::Result<(), String> {
        self.inner.webhooks.check_url(url)
    }

    /// To be called after endpoints were changed in the store: takes effect at once instead of within a second.
    pub fn endpoints_changed(&self) {
        self.inner.webhooks.forget();
        self.inner.webhooks.wake();
    }

    /// Calls an endpoint with a `webhook.test` event, now, and gives what came of it. The call is not logged as a
    /// delivery: there is no event behind it.
    pub async fn test_endpoint(&self, endpoint: Endpoint, actor: Actor) -> Result<Attempt> {
        let now = self.inner.clock.now();
        let event = Event {
            kind: Kind::Received,
            status: Status::Queued,
            attempt: 0,
            at: now,
            due_at: None,
            failure: None,
            raw: None,
        };
        let id = EventId::from_key(self.inner.clock.id());
        let told = Told { id, realm: endpoint.realm, event, about: About::Test, delivery: None };
        let mut attempt = self.inner.webhooks.call_once(&self.inner, &endpoint, &told).await;
        attempt.request = String::from_utf8_lossy(&webhook::render(&told)).into_owned();
        let subject = endpoint.id.to_string();
        self.inner
            .store
            .record_audit(actor, "webhook.test".to_owned(), subject, attempt.response.clone(), now)
            .await?;
        Ok(attempt)
    }

    /// A page of an endpoint's attempt log, newest first, each with the body that was sent: it is the same for every
    /// try of an event, so it is rendered again instead of being stored once more.
    pub async fn attempts(&self, realm: Realm, endpoint: EndpointId, page: Page) -> Result<Paged<Attempt>> {
        let mut found = self.inner.store.attempts(realm, endpoint, page).await?;
        for attempt in &mut found.items {
            if let Some(told) = self.inner.store.event(realm, attempt.event).await? {
                attempt.request = String::from_utf8_lossy(&webhook::render(&told)).into_owned();
            }
        }
        Ok(found)
    }

    /// Makes events due again at an endpoint. `None` if there is no such endpoint.
    pub async fn replay(
        &self,
        realm: Realm,
        endpoint: EndpointId,
        what: Replay,
        actor: Actor,
    ) -> Result<Option<u64>> {
        let replayed =
            self.inner.store.replay(realm, endpoint, what, REPLAY_MAX, actor, self.inner.clock.now()).await?;
        self.inner.webhooks.wake();
        Ok(replayed)
    }

    /// Metrics in the OpenMetrics text format.
    pub async fn metrics(&self) -> String {
        let now = self.inner.clock.now();
        let lanes = self.inner.lanes.load_full();
        for &id in self.inner.places.keys() {
            let Some(lane) = lanes.any(id) else {
                self.inner.telemetry.elsewhere(id);
                continue;
            };
            let up = lane.is_up() && !lane.is_paused();
            let window = (lane.window.size(), lane.window.taken());
            self.inner.telemetry.connection(lane.id, window, up, lane.pace_per_s());
        }
        let statistics = self.inner.statistics().await.unwrap_or_default();
        self.inner.telemetry.render(&statistics, now)
    }

    /// How the installation is.
    pub async fn health(&self) -> Health {
        let mut parts = Vec::new();
        match self.inner.store.ping().await {
            Ok(()) => parts.push(("store".to_owned(), true, "it answers and writes".to_owned())),
            Err(error) => parts.push(("store".to_owned(), false, error.to_string())),
        }
        if let Some((level, room)) = *self.inner.disk.lock().expect("nothing panics while it holds this") {
            let (well, sentence) = disk::sentence(level, room);
            parts.push(("disk".to_owned(), well, sentence));
        }
        if let Some(journal) = &self.inner.journal {
            let trouble = journal.trouble();
            let sentence = trouble.clone().unwrap_or_else(|| "it has every opt-out".to_owned());
            parts.push(("journal".to_owned(), trouble.is_none(), sentence));
        }
        if let Some(reason) = self.inner.held() {
            parts.push(("hold".to_owned(), true, format!("nothing is sent: {reason}")));
        }
        if !self.inner.seat.is_alone() {
            let holds = self.inner.seat.lease.holds();
            let sentence = if holds { "its lease holds" } else { "its lease is over: it sends nothing" };
            parts.push(("node".to_owned(), holds, sentence.to_owned()));
        }
        let nodes = self.inner.nodes().await;
        for (id, place) in &self.inner.places {
            let state = self.inner.link_state(*id, &nodes);
            let up = matches!(state, LinkState::Up { .. } | LinkState::Elsewhere { node: Some(_) });
            let sentence = match &state {
                LinkState::Elsewhere { node: Some(node) } => format!("{}: at {node}", state.as_str()),
                LinkState::Elsewhere { node: None } => "no node has it".to_owned(),
                LinkState::Connecting { reason: Some(reason) } | LinkState::Refused { reason } => {
                    format!("{}: {reason}", state.as_str())
                }
                _ => state.as_str().to_owned(),
            };
            parts.push((format!("connection {}", place.name), up, sentence));
        }
        for connection in self.inner.gone_with_messages().await.unwrap_or_default() {
            let sentence = "not configured, and messages wait for it".to_owned();
            parts.push((format!("connection {}", connection.name), false, sentence));
        }
        // A carrier that is down does not keep messages from being accepted: only the store does.
        let ready = parts.iter().all(|(name, well, _)| *well || name != "store") && !self.inner.stopping();
        Health { ready, parts }
    }

    /// Comes back when the disk has failed so that nobody can say what it kept, or when other nodes took this one for dead
    /// and ended it ([`Expelled`](tidings_store::Error::Expelled)): the process must end.
    pub async fn until_broken(&self) -> tidings_store::Error {
        let error = tokio::select! {
            biased;
            error = self.inner.store.until_broken() => error,
            why = self.inner.seat.expelled() => tidings_store::Error::Expelled(why),
        };
        if matches!(error, tidings_store::Error::Expelled(_)) {
            self.inner.seat.lease.end();
        }
        error
    }

    /// Ends at once, as the end of the process would: what was begun stays as it is. For simulations of a crash.
    pub fn kill(self) {
        self.inner.tasks.lock().expect("nothing panics while it holds this").abort_all();
    }

    /// Stops in good order: takes nothing more from the queue, waits for carriers' answers up to `within_ms`, gives the
    /// connections to other nodes, closes the store.
    pub async fn stop(&self, within_ms: u64) {
        self.inner.stopping.store(true, Ordering::Release);
        let lanes = self.inner.lanes.load_full();
        for lane in lanes.all() {
            lane.pause(true);
        }
        let drained = async {
            for lane in lanes.all() {
                // What was handed over before the pause goes out and is answered.
                lane.window.barrier().await;
                lane.stop_link();
                lane.link_stopped().await;
            }
        };
        let limit = std::time::Duration::from_millis(within_ms);
        if tokio::time::timeout(limit, drained).await.is_err() {
            tracing::warn!(
                "some carriers did not answer in time; their messages are settled at the next start"
            );
        }
        // What carriers said last may still be on its way into the store: it is ahead of this in the queue.
        tokio::task::yield_now().await;
        drop(self.inner.store.ping().await);
        self.inner.stopped.store(true, Ordering::Release);
        self.inner.tasks.lock().expect("nothing panics while it holds this").abort_all();
        if !self.inner.seat.is_alone() {
            self.leave().await;
        }
        if let Err(error) = self.inner.store.close().await {
            tracing::error!(%error, "the store could not be closed");
        }
    }
}

impl Engine {
    /// Leaves what other nodes can take up at once. If the store does not answer, they do when the leases end.
    async fn leave(&self) {
        // Also what was not answered in time is not written any more: somebody else is to have the connections.
        self.inner.seat.lease.end();
        let left = async {
            let waiting = self.inner.webhooks.take_waiting();
            if !waiting.is_empty() {
                self.inner.store.give_back_deliveries(waiting, self.inner.clock.now()).await?;
            }
            self.inner.store.leave().await
        };
        match tokio::time::timeout(std::time::Duration::from_millis(LEAVE_MS), left).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "this node could not leave; the others wait for its lease to end")
            }
            Err(_) => tracing::warn!("the store is slow; the others wait for this node's lease to end"),
        }
    }
}

/// Warns of an error of the store, but for a full disk, of which the store speaks by itself.
pub(crate) fn warn(error: &tidings_store::Error, what: &str) {
    match error {
        tidings_store::Error::Full(_) => tracing::debug!(%error, "{what}"),
        _ => tracing::warn!(%error, "{what}"),
    }
}

impl Inner {
    pub(crate) fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Waits until the journal has what the list has. If it cannot be written, that is said elsewhere: an opt-out counts
    /// all the same.
    async fn journalled(&self) {
        if let Some(journal) = &self.journal {
            journal.catch_up(&*self.store).await;
        }
    }

    pub(crate) fn patience(&self) -> Patience {
        Patience {
            retry: Arc::clone(&self.retry),
            unreachable: self.settings.unreachable,
            jitter: self.clock.jitter(),
        }
    }

    /// What the store counts, as it was at most [`NUMBERS_REST`] times the time of counting ago.
    async fn statistics(&self) -> Result<Statistics> {
        let mut numbers = self.numbers.lock().await;
        if let Some(known) = &*numbers
            && known.since.elapsed_ms() < known.took_ms * NUMBERS_REST
        {
            return Ok(known.statistics.clone());
        }
        let took = self.clock.stopwatch();
        let statistics = self.store.statistics(self.clock.now()).await?;
        let took_ms = took.elapsed_ms();
        *numbers = Some(Numbers { statistics: statistics.clone(), took_ms, since: self.clock.stopwatch() });
        Ok(statistics)
    }

    /// The connections that nobody is configured for though messages wait for them.
    async fn gone_with_messages(&self) -> Result<Vec<Connection>> {
        let nodes = self.nodes().await;
        let is_elsewhere = |id| nodes.iter().any(|node| node.lease_left_ms > 0 && node.owned.contains(&id));
        let mut gone = Vec::new();
        for connection in self.store.connections().await? {
            if self.places.contains_key(&connection.id) || is_elsewhere(connection.id) {
                continue;
            }
            let own = self.store.next_due(Some(Queue::of(connection.id)), self.clock.now()).await?;
            if own.is_some() || !self.store.queues(connection.id).await?.is_empty() {
                gone.push(connection);
            }
        }
        Ok(gone)
    }

    fn held(&self) -> Option<String> {
        self.hold.lock().expect("nothing panics while it holds this").clone()
    }

    /// Commits what happened to messages, and acts on what that brought about. Tries until the store takes it: what a
    /// carrier said once it does not say again. What the store can never take is halved until it is alone, so that it
    /// takes nothing else along. `false` if there was such a thing, or a receipt for which there is no room.
    pub(crate) async fn advance(self: &Arc<Self>, happenings: Vec<Happening>) -> bool {
        let mut all_taken = true;
        let mut parts = vec![happenings];
        while let Some(mut part) = parts.pop().filter(|part| !part.is_empty()) {
            let now = self.clock.now();
            match self.store.advance(part.clone(), now, self.patience()).await {
                Ok(advanced) => self.happened(advanced).await,
                Err(error @ tidings_store::Error::Unavailable(_))
                    if !self.stopped.load(Ordering::Acquire) =>
                {
                    tracing::warn!(%error, "what happened to messages could not be recorded; trying again");
                    tokio::time::sleep(std::time::Duration::from_millis(STORE_PAUSE_MS)).await;
                    parts.push(part);
                }
                Err(tidings_store::Error::Full(_)) if !self.stopped.load(Ordering::Acquire) => {
                    // The reserve is for answers, which are given once. Receipts are left to their carrier.
                    let count = part.len();
                    part.retain(|happening| matches!(happening, Happening::To { .. }));
                    let has_receipts = part.len() < count;
                    all_taken &= !has_receipts;
                    if part.is_empty() || !has_receipts {
                        tokio::time::sleep(std::time::Duration::from_millis(STORE_PAUSE_MS)).await;
                    }
                    parts.extend(Some(part).filter(|part| !part.is_empty()));
                }
                Err(tidings_store::Error::Corrupt(_) | tidings_store::Error::Conflict(_))
                    if part.len() > 1 =>
                {
                    let rest = part.split_off(part.len() / 2);
                    parts.extend([rest, part]);
                }
                Err(error) => {
                    tracing::error!(%error, "what happened to messages could not be recorded");
                    all_taken = false;
                }
            }
        }
        all_taken
    }

    /// Commits what people sent, and says of each in its order whether somebody opted out by what was committed with it. `None`
    /// for what is not stored: it is not acknowledged then, and the carrier offers it again. What the store can never take is
    /// halved until it is alone, so that nobody else waits for it.
    pub(crate) async fn receive(self: &Arc<Self>, arrivals: Vec<Arrival>) -> Vec<Option<bool>> {
        let mut stored = Vec::with_capacity(arrivals.len());
        let mut parts = vec![arrivals];
        while let Some(mut part) = parts.pop().filter(|part| !part.is_empty()) {
            match self.store.receive(part.clone(), inbound::hearing(self), self.clock.now()).await {
                Ok(advanced) => {
                    let opted_out = self.heard(advanced).await;
                    stored.resize(stored.len() + part.len(), Some(opted_out));
                }
                Err(tidings_store::Error::Corrupt(_) | tidings_store::Error::Conflict(_))
                    if part.len() > 1 =>
                {
                    let rest = part.split_off(part.len() / 2);
                    parts.extend([rest, part]);
                }
                Err(error) => {
                    warn(&error, "inbound messages could not be stored");
                    stored.resize(stored.len() + part.len(), None);
                }
            }
        }
        stored
    }

    /// Acts on a commit of what people sent. Says whether somebody opted out.
    pub(crate) async fn heard(self: &Arc<Self>, advanced: Advanced) -> bool {
        // What it puts into queues are replies.
        for _ in &advanced.queued {
            self.telemetry.accepted(Purpose::Transactional.as_str(), 1);
        }
        let opted_out = advanced.opted_out;
        self.happened(advanced).await;
        opted_out
    }

    /// Acts on a commit: counts, tells, wakes, stops.
    pub(crate) async fn happened(self: &Arc<Self>, advanced: Advanced) {
        self.telemetry.advanced(&advanced);
        for (queue, due_at) in &advanced.queued {
            if let Some(lane) = self.lane(queue.connection()) {
                lane.queued(*queue, *due_at);
            }
        }
        for (connection, failure) in &advanced.paused {
            let actor = Actor { account: self.account, who: "engine/dispatch".to_owned() };
            let reason = format!("the carrier refused our credentials or rights: {failure}");
            tracing::error!(connection = %connection, %failure, "the carrier refuses us; the connection is paused");
            if let Err(error) =
                self.store.pause_connection(*connection, Some(reason), actor, self.clock.now()).await
            {
                tracing::error!(%error, "the connection could not be paused");
            }
            self.follow_store().await;
        }
        if !advanced.told.is_empty() {
            self.webhooks.tell(self, advanced.told);
        }
        if !advanced.crashed.is_empty() {
            self.quarantine(advanced.crashed, "handling").await;
        }
    }

    /// Sets messages aside that crash whoever handles them.
    pub(crate) async fn quarantine(self: &Arc<Self>, messages: Vec<MessageId>, doing: &str) {
        if messages.is_empty() {
            return;
        }
        self.telemetry.quarantined(messages.len() as u64);
        let why = message::poison(doing);
        match self.store.quarantine(messages, why, self.clock.now()).await {
            // Nothing of that is crashed again: what is, is taken out as it is.
            Ok(advanced) => Box::pin(self.happened(Advanced { crashed: Vec::new(), ..advanced })).await,
            // They crash again when they are met again, and come back here.
            Err(error) => tracing::error!(%error, "messages that crash the program could not be set aside"),
        }
    }

    /// Puts a claimed message back that its lane does not take any more.
    pub(crate) async fn put_back(self: &Arc<Self>, ticket: &Ticket) {
        let back = ticket.segments.iter().map(|&segment| Happening::To {
            message: ticket.message.id,
            input: Input::Answered { attempt: ticket.attempt, segment, answer: Answer::Unsent },
        });
        self.advance(back.collect()).await;
    }

    /// Waits until nothing is on its way, here or on another node, that began before the suppression list was as it is
    /// now, up to limits; and until the journal has the list as it is now.
    pub(crate) async fn nothing_is_on_its_way(&self) {
        tokio::join!(self.barrier(), self.others_heard(), self.journalled());
    }

    /// Waits until what was on its way to any carrier has been answered, up to a limit.
    async fn barrier(&self) {
        let barriers = self.barriers();
        let all = async {
            for barrier in barriers {
                barrier.await;
            }
        };
        let limit = std::time::Duration::from_millis(BARRIER_MS);
        if tokio::time::timeout(limit, all).await.is_err() {
            tracing::warn!("a carrier is slow to answer: an opt-out did not wait for what it already had");
        }
    }

    /// Takes over pauses and the hold as the store has them: another process may have changed them.
    pub(crate) async fn follow_store(&self) {
        let _turn = self.following.lock().await;
        // Whoever has the turn and is not answered must not keep the others from hearing of a pause.
        let read =
            async { tokio::try_join!(self.store.connections(), self.store.hold(), self.store.accounts()) };
        let Ok(Ok((connections, hold, accounts))) = tokio::time::timeout(FOLLOW_WAIT, read).await else {
            return;
        };
        self.admission.set_others(accounts.len() > 1);
        let held = hold.is_some();
        *self.hold.lock().expect("nothing panics while it holds this") = hold;
        for connection in connections {
            if !self.places.contains_key(&connection.id) {
                continue;
            }
            let paused = connection.paused.is_some() || held || self.stopping();
            if let Some(lane) = self.lane(connection.id).filter(|lane| lane.is_paused() != paused) {
                lane.pause(paused);
            }
            self.connections
                .lock()
                .expect("nothing panics while it holds this")
                .insert(connection.id, connection);
        }
    }
}
