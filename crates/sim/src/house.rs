//! The processes on one disk, in each place one after the other: each is a real engine. What ends them comes from outside.

use crate::carrier::{self, Carrier};
use crate::fault::Fault;
use crate::ledger::Happened;
use crate::plan::{DAY_MS, POOL, Plan};
use crate::random::Random;
use crate::receiver::Receivers;
use crate::stage::{Life, Simulated, Stage};
use crate::unreliable::Unreliable;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidings_carriers::list;
use tidings_domain::gate;
use tidings_domain::id::EndpointId;
use tidings_domain::message::{Segment, State};
use tidings_domain::node::Roles;
use tidings_domain::pool::{Name, Pool};
use tidings_domain::quiet_hours::{self, Outside, Window};
use tidings_domain::quota::Daily;
use tidings_domain::registration::{self, Evidence, Kind, Listed};
use tidings_domain::retry::RetryPolicy;
use tidings_domain::sender::Sender;
use tidings_domain::spend::{self, Amount, Limits};
use tidings_domain::time::Timestamp;
use tidings_engine::clock::Clock;
use tidings_engine::world::Memory;
use tidings_engine::{ConnectionSettings, Engine, NodeSettings, Settings, World};
use tidings_store::model::Model;
use tidings_store::{Actor, Backend, Endpoint, MessageFilter, Page, Retention};
use tokio::sync::{Notify, mpsc};

/// At a stop, open calls are waited for so long, and carriers too: milliseconds.
pub const STOP_WITHIN_MS: u64 = 15_000;

/// A process that is ready.
pub struct Running {
    /// Its engine.
    pub engine: Engine,
    /// Its life.
    pub life: Arc<Life>,
    /// Calls that are open.
    pub calls: AtomicUsize,
}

/// Keeps a process running in each place.
pub struct House {
    /// The world.
    pub stage: Arc<Stage>,
    /// The carriers, by connection.
    pub carriers: Vec<Arc<Carrier>>,
    /// The store as it is, for those who look at it from outside. Nothing goes wrong with it.
    pub observer: Model,
    /// The endpoints, by place.
    pub endpoints: Vec<EndpointId>,
    /// The process that is ready, by node.
    current: Mutex<Vec<Option<Arc<Running>>>>,
    bell: Notify,
    processes: AtomicU32,
    chosen: AtomicU64,
}

impl House {
    /// Builds the world's things. No process runs yet.
    pub async fn build(stage: Arc<Stage>) -> Arc<Self> {
        let observer = Model::new(stage.disk.clone());
        let now = Timestamp::from_millis(stage.plan.begin_ms);
        let account = observer.default_account(now).await.expect("nothing goes wrong with it");
        stage.set_account(account);
        let mut endpoints = Vec::new();
        for (place, plan) in stage.plan.endpoints.iter().enumerate() {
            let id = EndpointId::from_key(1 + place as i64);
            let endpoint = Endpoint {
                id,
                realm: stage.realm().expect("it was just set"),
                url: Receivers::url(place),
                description: String::new(),
                kinds: plan.kinds,
                callback_only: plan.callback,
                secret: vec![7; 32],
                previous: None,
                disabled: None,
                failing_since: None,
                created_at: now,
            };
            if plan.callback {
                observer.callback_endpoint(endpoint).await.expect("nothing goes wrong with it");
            } else {
                let actor = Actor { account, who: "operator".to_owned() };
                observer.create_endpoint(endpoint, actor).await.expect("nothing goes wrong with it");
            }
            endpoints.push(id);
        }
        let carriers = Carrier::all(&stage);
        let current = Mutex::new(vec![None; stage.plan.nodes.len()]);
        Arc::new(Self {
            stage,
            carriers,
            observer,
            endpoints,
            current,
            bell: Notify::new(),
            processes: AtomicU32::new(0),
            chosen: AtomicU64::new(0),
        })
    }

    /// A process that is ready, as soon as there is one: each time another one.
    pub async fn running(&self) -> Arc<Running> {
        loop {
            let bell = self.bell.notified();
            match &self.all_running()[..] {
                [] => {}
                [only] => return Arc::clone(only),
                several => {
                    let chance = self.chosen.fetch_add(1, Ordering::Relaxed);
                    let mut random = Random::of(self.stage.plan.seed, &[602, chance]);
                    return Arc::clone(random.pick(several));
                }
            }
            bell.await;
        }
    }

    /// The processes that are ready.
    pub fn all_running(&self) -> Vec<Arc<Running>> {
        let current = self.current.lock().expect("nothing panics while it holds this");
        current.iter().flatten().cloned().collect()
    }

    /// The process of a node, if it is ready.
    pub fn running_at(&self, node: usize) -> Option<Arc<Running>> {
        self.current.lock().expect("nothing panics while it holds this")[node].clone()
    }

    fn set_running(&self, node: usize, running: Option<Arc<Running>>) {
        self.current.lock().expect("nothing panics while it holds this")[node] = running;
        self.bell.notify_waiters();
    }

    /// Whether several nodes serve the store.
    fn has_several(&self) -> bool {
        self.stage.plan.nodes.len() > 1
    }

    /// Starts processes at a node one after the other, until the world ends. A word on `stop` stops one in good order.
    pub async fn keep(self: Arc<Self>, node: usize, mut stop: mpsc::Receiver<()>) {
        loop {
            let Some(running) = self.start(node).await else {
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            };
            self.set_running(node, Some(Arc::clone(&running)));
            let expelled = async {
                drop(running.engine.until_broken().await);
                running.life.moves().await;
            };
            tokio::select! {
                biased;
                () = running.life.ended() => {}
                () = expelled => self.stage.expel(&running.life),
                word = stop.recv() => {
                    self.set_running(node, None);
                    match word {
                        Some(()) => self.stop(&running).await,
                        None => return,
                    }
                }
            }
            self.set_running(node, None);
            running.engine.clone().kill();
            running.life.end();
            let mut random = self.stage.random(Fault::Crash, &[u64::from(running.life.number)]);
            // With others beside it, it is away for longer than its lease more often.
            let longest_ms = if self.has_several() { 20_000 } else { 500 };
            let down_ms = *random.pick(&[0, 10, longest_ms, 5_000, 30_000]);
            let down_ms = if self.stage.is_healing() { 10 } else { down_ms };
            tokio::time::sleep(Duration::from_millis(down_ms)).await;
        }
    }

    async fn start(&self, node: usize) -> Option<Arc<Running>> {
        let stage = &self.stage;
        let number = self.processes.fetch_add(1, Ordering::Relaxed) + 1;
        let (in_doubt, segments) = self.claimed().await;
        let unreliable = Unreliable::new(stage);
        let store = if self.has_several() {
            Model::member(stage.disk.clone(), Some(Arc::clone(&unreliable) as _))
        } else {
            Model::with_faults(stage.disk.clone(), Arc::clone(&unreliable) as _)
        };
        let life = Life::begin(number, node, store.incarnation());
        unreliable.lives(&life);
        stage.note(Happened::Started { process: number, node, wall_ms: stage.wall_ms() });
        let carriers = self.carriers.clone();
        let owner = Arc::clone(&life);
        let world = World {
            clock: Arc::new(Clock::of(Box::new(Simulated::new(stage, &life)), 1)),
            open: Arc::new(move |connection, surroundings| {
                let place = connection.name.parse::<usize>();
                // The program has a connection of its own for tests, where there is none.
                let Ok(place) = place else { return Ok(carrier::nobody()) };
                Ok(carriers[place].open(&owner, Arc::clone(&surroundings.may_send)))
            }),
            web: Arc::new(Receivers::new(stage, &life)),
            memory: if stage.plan.faults.has(Fault::SmallRooms) {
                Memory { tickets: 1, deliveries: 1 }
            } else {
                Memory::default()
            },
        };
        let starting = Engine::start_in(world, Arc::new(store), settings(&stage.plan, node));
        let started = tokio::select! {
            biased;
            () = life.ended() => None,
            started = starting => started.ok(),
        };
        let Some(engine) = started.filter(|_| !life.is_over()) else {
            if life.end() {
                stage.disk.crash(life.incarnation);
                stage.note(Happened::NotStarted { process: number });
            }
            return None;
        };
        stage.note(Happened::Ready { process: number, in_doubt, segments });
        Some(Arc::new(Running { engine, life, calls: AtomicUsize::new(0) }))
    }

    /// Messages that the store says are with a carrier, and the segments of them that nobody has answered, by connection.
    async fn claimed(&self) -> (u32, Vec<usize>) {
        let realm = self.stage.realm().expect("it is set at the beginning");
        let page = Page { before: None, limit: 10_000 };
        let all = self.observer.messages(realm, MessageFilter::default(), page).await;
        let all = all.expect("nothing goes wrong with it").items;
        let known = self.observer.connections().await.expect("nothing goes wrong with it");
        let mut segments = vec![0; self.carriers.len()];
        let mut messages = 0;
        for stored in all.iter().filter(|stored| matches!(stored.life.state, State::Sending { .. })) {
            messages += 1;
            let place = known.iter().find(|connection| connection.id == stored.message.connection);
            let place = place.and_then(|connection| connection.name.parse::<usize>().ok());
            let place = place.expect("connections are named by their place");
            let open = |segment: &&Segment| matches!(segment, Segment::Submitted);
            segments[place] += stored.life.segments.iter().filter(open).count();
        }
        (messages, segments)
    }

    async fn stop(&self, running: &Running) {
        running.life.moves().await;
        self.stage.note(Happened::Stopping { process: running.life.number });
        let until_ms = self.stage.now_ms() + STOP_WITHIN_MS;
        let stopping = async {
            while running.calls.load(Ordering::Relaxed) > 0 && self.stage.now_ms() < until_ms {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            running.engine.stop(STOP_WITHIN_MS).await;
        };
        tokio::select! {
            biased;
            () = running.life.ended() => {}
            () = stopping => self.stage.note(Happened::Stopped { process: running.life.number }),
        }
    }
}

/// How every process at a node is set up.
fn settings(plan: &Plan, node: usize) -> Settings {
    let has_pool = plan.has_pool();
    let by_prefix = plan.connections.len() > 1 && !has_pool && !plan.one_carrier;
    let connections = plan.connections.iter().enumerate().map(|(place, connection)| ConnectionSettings {
        name: place.to_string(),
        environment: plan.environment(),
        pace_per_s: connection.pace_per_s,
        prefixes: if by_prefix { vec![Plan::prefix(place)] } else { Vec::new() },
        senders: if has_pool { senders_of(plan, place) } else { Vec::new() },
        replies: false,
        of_carrier: plan.one_carrier.then(|| "north".to_owned()),
        carrier: list::Settings::Simulator(Default::default()),
    });
    Settings {
        retry: RetryPolicy { max_tries: plan.max_tries, first_delay_ms: 3_000, ..RetryPolicy::default() },
        connections: connections.collect(),
        egress: tidings_egress::Policy::development(),
        retention: Retention {
            idempotency_ms: 3 * DAY_MS,
            parked_ms: 3 * DAY_MS,
            attempts_ms: 30 * DAY_MS,
            messages_ms: None,
        },
        node: NodeSettings {
            number: 1,
            name: format!("node{node}"),
            place: format!("machine{node}:/var/lib/tidings"),
            roles: Roles { send: plan.nodes[node].sends, ..Roles::ALL },
        },
        gate: gate(plan),
        pools: if has_pool { vec![pool(plan)] } else { Vec::new() },
        ..Settings::default()
    }
}

/// The senders that a connection takes, where there is a pool.
fn senders_of(plan: &Plan, place: usize) -> Vec<String> {
    let of_it = plan.senders.iter().filter(|sender| sender.connection == place);
    of_it.map(|sender| sender.number.clone()).collect()
}

fn pool(plan: &Plan) -> Pool {
    let pooled = plan.senders.iter().filter(|sender| sender.is_pooled);
    let senders = pooled.map(|sender| Sender::from_stored(&sender.number).expect("a sender")).collect();
    Pool { name: Name::parse(POOL).expect("a name"), senders, area_match: false }
}

/// What senders may do: all but send without an end.
fn registration(plan: &Plan) -> registration::Policy {
    let listed = plan.senders.iter().filter_map(|sender| {
        let daily = &plan.dailies[sender.daily?];
        let daily = Daily {
            name: daily.name.clone(),
            segments: daily.segments,
            zone: daily.zone.name(),
            country: None,
        };
        let listed = Listed {
            kind: Kind::LongCode,
            can: None,
            countries: Vec::new(),
            purposes: Vec::new(),
            state: registration::State::Registered,
            evidence: Evidence::default(),
            templates: Vec::new(),
            daily: Some(daily),
        };
        Some((Sender::from_stored(&sender.number).expect("a sender"), listed))
    });
    registration::Policy { listed: listed.collect(), only_listed: false }
}

fn spend(plan: &Plan) -> spend::Policy {
    let Some(spending) = &plan.spend else { return spend::Policy::OFF };
    let prices = spending.prices.iter().enumerate();
    let prices = prices.map(|(place, price)| (Plan::prefix(place), Amount::from_millionths(*price)));
    let limit = |millionths: Option<u64>| millionths.map(Amount::from_millionths);
    let limits = Limits { day: limit(spending.per_day), month: limit(spending.per_month) };
    spend::Policy { prices: prices.collect(), other: Amount::ZERO, limits }
}

fn gate(plan: &Plan) -> gate::Policy {
    let quiet_hours = plan.quiet.map_or(quiet_hours::Policy::OFF, |quiet| {
        let time = |minute: u64| format!("{:02}:{:02}", minute / 60, minute % 60);
        let window = format!("{}-{}", time(quiet.opens_min), time(quiet.closes_min));
        quiet_hours::Policy {
            window: Window::parse(&window).expect("it is one"),
            outside: if quiet.refuses { Outside::Refuse } else { Outside::Hold },
            ..quiet_hours::Policy::default()
        }
    });
    gate::Policy { senders: registration(plan), spend: spend(plan), quiet_hours, ..gate::Policy::OPEN }
}
