//! Several nodes over one database: the real rooms, on a clock that the test leads.

#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests too")]

mod carrier;
mod database;

use carrier::Carrier;
use database::{Database, Line, Membership};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tidings_carriers::{LinkState, list};
use tidings_domain::account::{Environment, Realm};
use tidings_domain::address::PhoneNumber;
use tidings_domain::id::{MessageId, SuppressionId};
use tidings_domain::intake::SendRequest;
use tidings_domain::message::Status;
use tidings_domain::node::{LEASE_MS, MARGIN_MS, RENEW_MS, Roles};
use tidings_domain::pool::{Choice, Name, Pool, Source, Unusable};
use tidings_domain::purpose::Purpose;
use tidings_domain::queue::Paces;
use tidings_domain::sender::Sender;
use tidings_domain::suppression::Reason;
use tidings_engine::clock::{Clock, Nature};
use tidings_engine::{Accepted, Call, ConnectionSettings, Engine, Item, NodeSettings, Sent, Settings, World};
use tidings_store::{Actor, Error, Suppression};
use tokio::time::Instant;

/// 2027-01-01T00:00:00Z.
const BEGIN_MS: i64 = 1_798_761_600_000;
/// In the test's time; nothing waits so long in truth.
const PATIENCE: Duration = Duration::from_secs(300);

/// A machine's clock. It can have slept, which the test's own time does not count.
#[derive(Debug, Clone)]
struct Machine {
    started: Instant,
    slept_ms: Arc<AtomicI64>,
}

impl Nature for Machine {
    fn wall_ms(&self) -> i64 {
        BEGIN_MS + self.boot_ms()
    }

    fn boot_ms(&self) -> i64 {
        self.started.elapsed().as_millis() as i64 + self.slept_ms.load(Ordering::SeqCst)
    }

    fn fill(&self, octets: &mut [u8]) {
        octets.fill(self.started.elapsed().as_millis() as u8);
    }
}

/// The database, the carrier, and the connections that all nodes have in their configuration.
struct Site {
    database: Arc<Database>,
    carrier: Arc<Carrier>,
    connections: Vec<ConnectionSettings>,
    pools: Vec<Pool>,
}

/// A running node.
struct Running {
    engine: Engine,
    membership: Arc<Membership>,
    machine: Machine,
    realm: Realm,
}

impl Site {
    /// With connections for the numbers that begin with +4670, +4671 …
    fn new(connections: usize) -> Self {
        let database = Arc::<Database>::default();
        let connection = |n: usize| ConnectionSettings {
            name: format!("c{n}"),
            environment: Environment::Test,
            pace_per_s: None,
            prefixes: vec![format!("467{n}")],
            senders: Vec::new(),
            replies: true,
            of_carrier: None,
            carrier: list::Settings::Simulator(Default::default()),
        };
        Self {
            carrier: Carrier::new(&database),
            connections: (0..connections).map(connection).collect(),
            pools: Vec::new(),
            database,
        }
    }

    /// With two connections of one sender each, which are a pool.
    fn of_a_pool() -> Self {
        let mut site = Self::new(2);
        let senders = ["+15550001110", "+15550001111"];
        for (connection, sender) in site.connections.iter_mut().zip(senders) {
            (connection.prefixes, connection.senders) = (Vec::new(), vec![sender.to_owned()]);
        }
        let senders = senders.map(|sender| Sender::from_stored(sender).unwrap()).to_vec();
        site.pools = vec![Pool { name: Name::parse("support").unwrap(), senders, area_match: false }];
        site
    }

    /// With connections to one carrier, which all take every number.
    fn of_one_carrier(connections: usize) -> Self {
        let mut site = Self::new(connections);
        for connection in &mut site.connections {
            (connection.prefixes, connection.of_carrier) = (Vec::new(), Some("north".to_owned()));
        }
        site
    }

    async fn start(&self, name: &'static str) -> Running {
        self.start_as(name, Roles::ALL, false).await
    }

    async fn start_as(&self, name: &'static str, roles: Roles, is_deaf: bool) -> Running {
        let membership = self.database.member(name);
        membership.is_deaf.store(is_deaf, Ordering::SeqCst);
        let settings = Settings {
            connections: self.connections.clone(),
            node: NodeSettings {
                name: name.to_owned(),
                place: format!("the place of {name}"),
                roles,
                ..NodeSettings::default()
            },
            pools: self.pools.clone(),
            ..Settings::default()
        };
        let machine = Machine { started: Instant::now(), slept_ms: Arc::default() };
        let carrier = Arc::clone(&self.carrier);
        let world = World {
            clock: Arc::new(Clock::of(Box::new(machine.clone()), 0)),
            open: Arc::new(move |_, surroundings| Ok(carrier.open(name, surroundings))),
            ..World::real(&settings)
        };
        let engine = Engine::start_in(world, Arc::clone(&membership) as _, settings).await.unwrap();
        let realm = Realm { account: engine.default_account(), environment: Environment::Test };
        Running { engine, membership, machine, realm }
    }

    async fn owns(&self, name: &str, count: usize) {
        until(&format!("{name} owns {count}"), async || self.database.owned(name) == count).await;
    }
}

impl Running {
    async fn send(&self, to: &str) -> MessageId {
        self.send_from(Source::Sender(Sender::from_stored("+15550001111").unwrap()), to).await.message.id
    }

    /// From which connection of the pool a message goes to somebody, and why.
    async fn picked(&self, to: &str) -> (usize, Choice) {
        let picked = self.send_from(Source::Pool(Name::parse("support").unwrap()), to).await.picked.unwrap();
        (usize::from(picked.sender.to_string() == "+15550001111"), picked.choice)
    }

    /// Some who have the sender of this connection.
    async fn people_of<const N: usize>(&self, connection: usize) -> [String; N] {
        let mut people = Vec::new();
        for n in 0.. {
            let to = format!("+46701234{n:03}");
            if self.picked(&to).await.0 == connection {
                people.push(to);
            }
            if people.len() == N {
                break;
            }
        }
        people.try_into().unwrap()
    }

    async fn send_from(&self, from: Source, to: &str) -> Accepted {
        let request = SendRequest {
            from,
            recipient: PhoneNumber::from_stored(to).unwrap(),
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
            Call { realm: self.realm, token: None, requests: vec![request], batch: None, idempotency: None };
        match self.engine.send(call).await.unwrap() {
            Sent::New(_, items) => match items.into_iter().next() {
                Some(Item::Accepted(accepted)) => *accepted,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    async fn status(&self, id: MessageId) -> Status {
        self.engine.store().message(self.realm, id).await.unwrap().unwrap().life.state.status()
    }

    async fn becomes(&self, id: MessageId, status: Status) {
        until(&format!("{id} is {status:?}"), async || self.status(id).await == status).await;
    }

    /// How the links are, in the order of the connections.
    async fn links(&self) -> Vec<&'static str> {
        let all = self.engine.connections(Environment::Test).await.unwrap();
        all.iter().map(|connection| connection.state.as_str()).collect()
    }

    async fn has_open(&self, count: usize) {
        let up = async || self.links().await.iter().filter(|state| **state == "up").count() == count;
        until(&format!("{count} links are up"), up).await;
    }

    fn opt_out(&self, number: i64, recipient: &str) -> impl Future<Output = ()> + Send + use<> {
        let entry = Suppression {
            id: SuppressionId::from_key(number),
            realm: self.realm,
            recipient: PhoneNumber::from_stored(recipient).unwrap(),
            programme: None,
            reason: Reason::Manual,
            source: "test".to_owned(),
            created_at: self.engine.clock().now(),
            expires_at: None,
            lifted: None,
        };
        let actor = Actor { account: self.realm.account, who: "test".to_owned() };
        let engine = self.engine.clone();
        async move { drop(engine.suppress(vec![entry], actor).await.unwrap()) }
    }

    /// As a kill would end it. Its line is left as it is: nobody uses it any more.
    fn kill(&self) {
        self.membership.set_line(Line::Silent);
        self.engine.clone().kill();
    }
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let held = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, held).await.unwrap_or_else(|_| panic!("never: {what}"));
}

async fn pass(ms: i64) {
    tokio::time::sleep(Duration::from_millis(ms as u64)).await;
}

/// P-29
#[tokio::test(start_paused = true)]
async fn a_connection_moves_within_30_s_of_its_owners_death_and_its_claims_are_settled_first() {
    let site = Site::new(1);
    let a = site.start("a").await;
    a.has_open(1).await;
    site.carrier.answers(false);
    let doubtful = a.send("+46700000001").await;
    until("it is with the carrier", async || site.carrier.submissions() == 1).await;
    let b = site.start("b").await;
    assert_eq!(b.links().await, ["elsewhere"]);
    a.kill();
    let killed = Instant::now();
    // It is accepted all the same, and waits for an owner.
    let waiting = b.send("+46700000002").await;
    assert_eq!(b.status(waiting).await, Status::Queued);
    site.carrier.answers(true);
    b.has_open(1).await;
    assert!(killed.elapsed() <= Duration::from_secs(30), "{:?}", killed.elapsed());
    assert!(site.database.came_before("b: recover", "b: open c0"));
    b.becomes(waiting, Status::Sent).await;
    // What is in doubt is not sent again before its time, and no claim is left.
    assert_eq!(b.status(doubtful).await, Status::Sending);
    let by_whom: Vec<_> = site.carrier.submitted.lock().unwrap().clone();
    assert_eq!(
        by_whom.iter().map(|(node, tag)| (*node, tag.message)).collect::<Vec<_>>(),
        [("a", doubtful), ("b", waiting)]
    );
    b.becomes(doubtful, Status::Unconfirmed).await;
    b.engine.stop(5_000).await;
}

/// P-28
#[tokio::test(start_paused = true)]
async fn nothing_is_submitted_once_the_lease_is_over_though_the_store_does_not_answer() {
    let site = Site::new(1);
    let a = site.start("a").await;
    a.has_open(1).await;
    // They are handed over to the link, which is busy.
    site.carrier.takes(false);
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(a.send(&format!("+4670000000{n}")).await);
    }
    pass(100).await;
    a.membership.set_line(Line::Silent);
    // The machine sleeps. No timer has run when it goes on, and the link has room at once.
    a.machine.slept_ms.fetch_add(LEASE_MS - MARGIN_MS, Ordering::SeqCst);
    site.carrier.takes(true);
    pass(20_000).await;
    assert_eq!(site.carrier.submissions(), 0);
    let log = site.database.log.lock().unwrap().clone();
    assert!(log.contains(&"a: closed c0".to_owned()), "{log:#?}");
    // Nobody was there to end it: it goes on when the database does.
    a.membership.set_line(Line::Well);
    for id in ids {
        a.becomes(id, Status::Sent).await;
    }
    assert_eq!(site.carrier.submissions(), 5);
    a.engine.stop(5_000).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_on_its_way_when_the_lease_ended_is_settled_before_the_link_opens_again() {
    let site = Site::new(1);
    let a = site.start("a").await;
    a.has_open(1).await;
    site.carrier.answers(false);
    let id = a.send("+46700000001").await;
    until("it is with the carrier", async || site.carrier.submissions() == 1).await;
    a.membership.set_line(Line::Cut);
    pass(LEASE_MS + 10_000).await;
    assert!(site.database.came_before("a: open c0", "a: closed c0"));
    site.database.log.lock().unwrap().clear();
    a.membership.set_line(Line::Well);
    a.has_open(1).await;
    // That no answer came is in the store before anything else is sent on it.
    assert!(site.database.came_before("a: advance", "a: open c0"));
    assert_eq!(a.status(id).await, Status::Sending);
    assert_eq!(site.carrier.submissions(), 1);
    a.engine.stop(5_000).await;
}

/// P-15
#[tokio::test(start_paused = true)]
async fn an_opt_out_waits_for_what_other_nodes_have_on_their_way() {
    for is_deaf in [false, true] {
        let site = Site::new(2);
        let a = site.start("a").await;
        let b = site.start_as("b", Roles::ALL, is_deaf).await;
        a.has_open(1).await;
        b.has_open(1).await;
        site.carrier.answers(false);
        let of_b = b.links().await.iter().position(|state| *state == "up").unwrap();
        let recipient = format!("+467{of_b}0000001");
        let id = a.send(&recipient).await;
        until("it is on its way", async || site.carrier.submissions() == 1).await;
        assert_eq!(site.carrier.submitted.lock().unwrap()[0].0, "b");
        let opt_out = tokio::spawn(a.opt_out(1, &recipient));
        pass(8_000).await;
        assert!(!opt_out.is_finished(), "b has not been answered yet");
        site.carrier.answers(true);
        let asked = Instant::now();
        opt_out.await.unwrap();
        // Without news it is found at the next renewal.
        let limit_ms = if is_deaf { RENEW_MS + 500 } else { 500 };
        assert!(asked.elapsed() <= Duration::from_millis(limit_ms as u64), "{:?}", asked.elapsed());
        a.becomes(id, Status::Sent).await;
        a.engine.stop(5_000).await;
        b.engine.stop(5_000).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_opt_out_does_not_wait_longer_than_the_lease_of_a_node_that_died() {
    let site = Site::new(2);
    let a = site.start("a").await;
    let b = site.start("b").await;
    a.has_open(1).await;
    b.has_open(1).await;
    b.kill();
    let asked = Instant::now();
    a.opt_out(1, "+46710000001").await;
    let took = asked.elapsed();
    assert!(took > Duration::from_secs(5) && took <= Duration::from_millis(LEASE_MS as u64), "{took:?}");
    a.engine.stop(5_000).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_given_back_only_when_nothing_is_on_its_way_on_it() {
    let site = Site::new(2);
    let a = site.start("a").await;
    a.has_open(2).await;
    site.carrier.answers(false);
    let ids = [a.send("+46700000001").await, a.send("+46710000001").await];
    until("both are with the carrier", async || site.carrier.submissions() == 2).await;
    let b = site.start("b").await;
    pass(8_000).await;
    assert_eq!((site.database.owned("a"), site.database.owned("b")), (2, 0), "an answer is waited for");
    site.carrier.answers(true);
    b.has_open(1).await;
    a.has_open(1).await;
    assert!(site.database.came_before("a: advance", "a: release"));
    let (log, closed) = (site.database.log.lock().unwrap().clone(), "a: closed c");
    let place = |wanted: &str| log.iter().position(|line| line.starts_with(wanted)).unwrap();
    assert!(place(closed) < place("a: release") && place("a: release") < place("b: open"), "{log:#?}");
    for id in ids {
        a.becomes(id, Status::Sent).await;
    }
    assert_eq!(site.carrier.submissions(), 2, "neither was sent twice");
    // Whoever takes a message, its connection's owner sends it.
    let (one, two) = (a.send("+46710000002").await, a.send("+46700000002").await);
    for id in [one, two] {
        b.becomes(id, Status::Sent).await;
    }
    a.engine.stop(5_000).await;
    b.engine.stop(5_000).await;
}

/// P-28
#[tokio::test(start_paused = true)]
async fn a_node_that_was_taken_for_dead_sends_and_writes_nothing_more_and_ends() {
    let site = Site::new(2);
    let a = site.start("a").await;
    let b = site.start("b").await;
    a.has_open(1).await;
    b.has_open(1).await;
    let broken = tokio::spawn({
        let engine = a.engine.clone();
        async move { engine.until_broken().await }
    });
    site.database.log.lock().unwrap().clear();
    a.membership.set_line(Line::Cut);
    b.has_open(2).await;
    site.carrier.submitted.lock().unwrap().clear();
    // It was silent before the other one opened its connection.
    let log = site.database.log.lock().unwrap().clone();
    let place = |wanted: &str| log.iter().position(|line| line.starts_with(wanted)).unwrap();
    assert!(place("a: closed c") < place("b: open c"), "{log:#?}");
    a.membership.set_line(Line::Well);
    let error = broken.await.unwrap();
    assert!(matches!(error, Error::Expelled(_)), "{error}");
    let entry = a.engine.store().ping().await;
    assert!(matches!(entry, Err(Error::Expelled(_))), "{entry:?}");
    let all = [b.send("+46700000001").await, b.send("+46710000001").await];
    for id in all {
        b.becomes(id, Status::Sent).await;
    }
    assert!(site.carrier.submitted.lock().unwrap().iter().all(|(node, _)| *node == "b"));
    b.engine.stop(5_000).await;
}

/// P-30
#[tokio::test(start_paused = true)]
async fn a_stop_hands_its_connections_to_the_others_at_once_and_leaves_nothing_in_doubt() {
    let site = Site::new(2);
    let a = site.start("a").await;
    let b = site.start("b").await;
    a.has_open(1).await;
    b.has_open(1).await;
    let mut ids = Vec::new();
    for n in 0..50 {
        ids.push(a.send(&format!("+467{}00000{n:02}", n % 2)).await);
    }
    a.engine.stop(5_000).await;
    let stopped = Instant::now();
    b.has_open(2).await;
    assert!(stopped.elapsed() < Duration::from_secs(1), "{:?}", stopped.elapsed());
    for id in ids {
        b.becomes(id, Status::Sent).await;
    }
    assert_eq!(site.carrier.submissions(), 50);
    b.engine.stop(5_000).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_without_the_role_send_owns_nothing_and_shows_who_does() {
    let site = Site::new(1);
    let a = site.start_as("a", Roles { send: false, ..Roles::ALL }, false).await;
    let id = a.send("+46700000001").await;
    pass(20_000).await;
    assert_eq!((a.links().await, a.status(id).await), (vec!["elsewhere"], Status::Queued));
    let b = site.start("b").await;
    site.owns("b", 1).await;
    b.becomes(id, Status::Sent).await;
    let shown = a.engine.connections(Environment::Test).await.unwrap();
    assert_eq!(shown[0].state, LinkState::Elsewhere { node: Some("b".to_owned()) });
    let health = a.engine.health().await;
    let part = health.parts.iter().find(|(name, ..)| name == "connection c0").unwrap();
    assert_eq!((part.1, part.2.as_str()), (true, "elsewhere: at b"));
    // Pauses reach the owner, whoever is told.
    let actor = Actor { account: a.realm.account, who: "test".to_owned() };
    let paused = a.engine.pause(Environment::Test, "c0", Some("why".to_owned()), actor).await.unwrap();
    assert_eq!(paused.unwrap().connection.paused.as_deref(), Some("why"));
    pass(2_000).await;
    let waiting = a.send("+46700000002").await;
    pass(10_000).await;
    assert_eq!(a.status(waiting).await, Status::Queued);
    // Ids of the two never meet.
    assert_ne!(a.engine.clock().id() >> 12 & 0x3FF, b.engine.clock().id() >> 12 & 0x3FF);
    a.engine.stop(5_000).await;
    b.engine.stop(5_000).await;
}

/// From the moment at which a link is down: ms. Links are looked at every second.
const NOT_YET_DOWN_MS: i64 = 29_000;
const DOWN_MS: i64 = 32_000;

#[tokio::test(start_paused = true)]
async fn a_pool_goes_around_a_link_that_is_down_for_30_s_unless_all_are() {
    let site = Site::of_a_pool();
    let a = site.start("a").await;
    a.has_open(2).await;
    let [first, second, third] = a.people_of(0).await;
    site.carrier.is_reached("c0", false);
    pass(NOT_YET_DOWN_MS).await;
    assert_eq!(a.picked(&first).await, (0, Choice::Sent), "it may be up again soon");
    pass(DOWN_MS - NOT_YET_DOWN_MS).await;
    assert_eq!(a.picked(&first).await, (1, Choice::Failover(Unusable::Down)));
    assert_eq!(a.picked(&first).await, (1, Choice::Sent), "it is theirs from now on");
    site.carrier.is_reached("c0", true);
    pass(1).await;
    assert_eq!(a.picked(&second).await, (0, Choice::Sent));
    // Where nothing is up, nobody moves.
    site.carrier.is_reached("c0", false);
    site.carrier.is_reached("c1", false);
    pass(DOWN_MS).await;
    assert_eq!(a.picked(&third).await, (0, Choice::Sent));
    assert_eq!(a.picked(&first).await, (1, Choice::Sent));
    a.engine.stop(5_000).await;
}

#[tokio::test(start_paused = true)]
async fn each_node_sends_what_it_accepted_on_its_own_connection_to_a_carrier() {
    let site = Site::of_one_carrier(2);
    let (a, b) = (site.start("a").await, site.start("b").await);
    for node in [&a, &b] {
        node.has_open(1).await;
    }
    let accepted = async |by: &[(&'static str, &Running)], first: u32| {
        let mut sent = Vec::new();
        for n in first..first + 20 {
            for (name, node) in by {
                sent.push((*name, node.send(&format!("+467012345{n:02}")).await));
            }
        }
        for (_, id) in &sent {
            by[0].1.becomes(*id, Status::Sent).await;
        }
        sent
    };
    let mut expected = accepted(&[("a", &a), ("b", &b)], 0).await;
    // Who is left has both, and sends what it accepts on either.
    a.kill();
    b.has_open(2).await;
    expected.extend(accepted(&[("b", &b)], 20).await);
    let mut submitted: Vec<_> =
        site.carrier.submitted.lock().unwrap().iter().map(|(node, tag)| (*node, tag.message)).collect();
    expected.sort();
    submitted.sort();
    assert_eq!(submitted, expected);
    let lanes = async || {
        let mut places = Vec::new();
        for (_, id) in expected.iter().filter(|(name, _)| *name == "b").skip(20) {
            let stored = b.engine.store().message(b.realm, *id).await.unwrap().unwrap();
            places.push(stored.message.connection);
        }
        places.sort();
        places.dedup();
        places.len()
    };
    assert_eq!(lanes().await, 2);
    b.engine.stop(5_000).await;
}

#[tokio::test(start_paused = true)]
async fn of_connections_to_one_carrier_those_that_cannot_send_get_nothing() {
    let site = Site::of_one_carrier(2);
    let a = site.start("a").await;
    a.has_open(2).await;
    let all = a.engine.connections(Environment::Test).await.unwrap();
    let pause = async |name: &str, pause: Option<&str>| {
        let actor = Actor { account: a.realm.account, who: "test".to_owned() };
        let pause = pause.map(str::to_owned);
        a.engine.pause(Environment::Test, name, pause, actor).await.unwrap().unwrap();
    };
    let all_go_on = async |other: usize| {
        for n in 0..20 {
            let id = a.send(&format!("+467012345{n:02}")).await;
            let stored = a.engine.store().message(a.realm, id).await.unwrap().unwrap();
            assert_eq!(stored.message.connection, all[other].connection.id);
            a.becomes(id, Status::Sent).await;
        }
    };
    for (stopped, other) in [("c0", 1), ("c1", 0)] {
        pause(stopped, Some("test")).await;
        all_go_on(other).await;
        pause(stopped, None).await;
        site.carrier.is_reached(stopped, false);
        a.has_open(1).await;
        all_go_on(other).await;
        site.carrier.is_reached(stopped, true);
        a.has_open(2).await;
    }
    a.engine.stop(5_000).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_knows_nothing_of_links_of_others() {
    let site = Site::of_a_pool();
    let a = site.start("a").await;
    let b = site.start("b").await;
    a.has_open(1).await;
    b.has_open(1).await;
    let of_a = a.links().await.iter().position(|state| *state == "up").unwrap();
    let [first, second] = a.people_of(of_a).await;
    site.carrier.is_reached(&format!("c{of_a}"), false);
    pass(DOWN_MS).await;
    assert_eq!(b.picked(&first).await, (of_a, Choice::Sent));
    assert_eq!(a.picked(&second).await, (1 - of_a, Choice::Failover(Unusable::Down)));
    a.engine.stop(5_000).await;
    b.engine.stop(5_000).await;
}

#[tokio::test(start_paused = true)]
async fn what_can_never_be_stored_keeps_nobody_else_from_being_heard() {
    let site = Site::new(1);
    let a = site.start("a").await;
    a.has_open(1).await;
    *site.database.spoiled.lock().unwrap() = Some("+46700000009");
    site.carrier.passes_on(&[
        ("+46700000001", "hello"),
        ("+46700000009", "one that cannot be stored"),
        ("+46700000002", "STOP"),
        ("+46700000003", "hello"),
    ]);
    let acknowledged = || {
        let mut all = site.carrier.acknowledged.lock().unwrap().clone();
        all.sort_unstable();
        all
    };
    let others = ["+46700000001", "+46700000002", "+46700000003"];
    until("the others are acknowledged", async || acknowledged() == others).await;
    let person = PhoneNumber::from_stored("+46700000002").unwrap();
    let listed = a.engine.store().suppressed(vec![(a.realm, person)], a.engine.clock().now()).await.unwrap();
    assert_eq!(listed[0].account, Some(Reason::OptedOut));
    // It is offered again, and waits for a mend alone.
    site.carrier.passes_on(&[("+46700000009", "one that cannot be stored")]);
    pass(1_000).await;
    assert_eq!(acknowledged(), others);
    a.engine.stop(5_000).await;
}

/// The sender that has a pace, of two segments a second.
const SLOW: &str = "+15550001119";

fn slow() -> Sender {
    Sender::from_stored(SLOW).unwrap()
}

impl Site {
    fn give_pace(&self) {
        self.database.set_paces(Paces::new([(slow(), 2.0)]));
    }

    /// How many of these were submitted.
    fn gone(&self, ids: &[MessageId]) -> usize {
        let submitted = self.carrier.submitted.lock().unwrap();
        submitted.iter().filter(|(_, tag)| ids.contains(&tag.message)).count()
    }
}

impl Running {
    async fn send_slowly(&self, count: usize) -> Vec<MessageId> {
        let mut ids = Vec::new();
        for n in 0..count {
            let to = format!("+46701234{n:03}");
            ids.push(self.send_from(Source::Sender(slow()), &to).await.message.id);
        }
        ids
    }
}

#[tokio::test(start_paused = true)]
async fn a_senders_pace_holds_nobody_else_up_and_is_kept_by_the_next_owner() {
    let site = Site::new(1);
    site.give_pace();
    let first = site.start("first").await;
    let slow = first.send_slowly(20).await;
    let mut fast = Vec::new();
    for n in 0..20 {
        fast.push(first.send(&format!("+46701235{n:03}")).await);
    }
    pass(900).await;
    assert_eq!(site.gone(&fast), 20, "nobody waits for the slow one");
    assert!((1..=3).contains(&site.gone(&slow)), "{}", site.gone(&slow));
    pass(2_000).await;
    assert!((4..=7).contains(&site.gone(&slow)), "{}", site.gone(&slow));
    // In order: it is a queue.
    let submitted: Vec<MessageId> =
        site.carrier.submitted.lock().unwrap().iter().map(|(_, tag)| tag.message).collect();
    let in_order: Vec<MessageId> = submitted.into_iter().filter(|id| slow.contains(id)).collect();
    assert_eq!(in_order, slow[..in_order.len()]);
    let second = site.start("second").await;
    let before = site.gone(&slow);
    first.kill();
    until("the second has the connection", async || site.database.owned("second") == 1).await;
    pass(3_000).await;
    assert!((before + 3..=before + 9).contains(&site.gone(&slow)), "{before} {}", site.gone(&slow));
    until("all have gone", async || site.gone(&slow) >= 20).await;
    for id in slow {
        second.becomes(id, Status::Sent).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_waited_when_its_sender_got_a_pace_keeps_it_too() {
    let site = Site::new(1);
    site.carrier.takes(false);
    let before = site.start("before").await;
    // Ten fill the window.
    let slow = before.send_slowly(40).await;
    before.engine.stop(1_000).await;
    site.give_pace();
    site.carrier.takes(true);
    let after = site.start("after").await;
    until("it began", async || site.gone(&slow) > 0).await;
    let begun = site.gone(&slow);
    pass(5_000).await;
    let later = site.gone(&slow);
    assert!((begun + 8..=begun + 13).contains(&later), "{begun} {later}");
    for id in slow {
        after.becomes(id, Status::Sent).await;
    }
}

/// Nothing is left behind in the queue of a sender whose pace was taken away.
#[tokio::test(start_paused = true)]
async fn what_waited_for_a_pace_that_is_gone_goes_at_once() {
    let site = Site::new(1);
    site.give_pace();
    let before = site.start("before").await;
    let slow = before.send_slowly(40).await;
    before.engine.stop(1_000).await;
    assert!(site.gone(&slow) < 10);
    site.database.set_paces(Paces::default());
    let after = site.start("after").await;
    pass(6_000).await;
    assert_eq!(site.gone(&slow), 40);
    drop(after);
}
