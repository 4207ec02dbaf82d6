//! One run: a world from a seed, its hours of trouble, its healing, and the look at what is left.

use crate::customer;
use crate::house::{House, Running};
use crate::ledger::{Event, Happened, Ledger};
use crate::plan::{Plan, Turn};
use crate::random::Random;
use crate::stage::Stage;

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tidings_carriers::LinkState;
use tidings_domain::account::Realm;
use tidings_domain::id::ConnectionId;
use tidings_domain::time::Timestamp;
use tidings_store::{
    About, Attempt, Backend, Endpoint, MessageFilter, Page, Statistics, Stored, Timeline, Told,
};
use tokio::sync::mpsc;

/// How often the healing world is looked at.
const LOOK_EVERY_MS: u64 = 3_000;
/// All that began before must have ended so long after the last call: the longest worth of a message, the longest
/// wait for an answer, a doubt, a receipt, and something for the way.
const HEALED_WITHIN_MS: u64 = 300_000 + 45_000 + 120_000 + 90_000 + 60_000;
/// What waits for longer than this waits for another time of the day: no customer wants anything so late.
const FAR_MS: i64 = 5 * 60_000;
/// Another day is waited for so often: what is held until then may be held once more, until its own end.
const DAYS_MAX: u64 = 4;
/// Where another day comes, it is this long before what waits for it is due.
const BEFORE_MS: i64 = 2_000;
/// Deliveries that are due later than this are not waited for, but in a patient world.
const NEAR_MS: i64 = 20_000;
const NEAR_IF_PATIENT_MS: i64 = 400_000;

/// A world that has come to its end.
pub struct Run {
    /// What it was made from.
    pub plan: Plan,
    /// What was seen.
    pub ledger: Ledger,
    /// What is left.
    pub view: View,
    /// How long it lasted in its own time: milliseconds.
    pub lasted_ms: u64,
}

/// The API's view at the end.
pub struct View {
    /// Every message with all that is recorded about it, oldest first.
    pub messages: Vec<Timeline>,
    /// The whole feed.
    pub events: Vec<Event>,
    /// The endpoints, by place.
    pub endpoints: Vec<Endpoint>,
    /// Every call of an endpoint that is recorded, by place.
    pub attempts: Vec<Vec<Attempt>>,
    /// Numbers.
    pub statistics: Statistics,
    /// Places in the windows that are taken though nothing is on its way, by connection.
    pub places: Vec<usize>,
    /// Connections that no node has, or several.
    pub unowned: Vec<usize>,
    /// Whether everything came to an end in time.
    pub is_settled: bool,
    /// Connections on which something that was due waited, and nothing was submitted, while nothing was wrong.
    pub starved: Vec<usize>,
    /// The engine's clock.
    pub now: Timestamp,
}

/// Runs a plan; prints each thing when it happens if it is `live`.
///
/// # Panics
/// If the engine does: then a promise is broken, and the caller names the seed.
pub fn run(plan: Plan, live: bool) -> Run {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without IO needs nothing from the machine");
    runtime.block_on(direct(plan, live))
}

async fn direct(plan: Plan, live: bool) -> Run {
    let stage = Stage::new(plan, live);
    let house = House::build(Arc::clone(&stage)).await;
    let mut stop = Vec::new();
    for node in 0..stage.plan.nodes.len() {
        let (stops, stopped) = mpsc::channel(1);
        tokio::spawn(Arc::clone(&house).keep(node, stopped));
        stop.push(stops);
    }
    let mut deeds = tokio::task::JoinSet::new();
    for (at_ms, deed) in stage.plan.deeds.clone() {
        deeds.spawn(customer::act(Arc::clone(&house), at_ms, deed));
    }
    let watching = tokio::spawn(customer::watch(Arc::clone(&house)));
    let reading = tokio::spawn(customer::read_feed(Arc::clone(&house)));
    let operating = tokio::spawn(customer::operate(Arc::clone(&house)));
    for (at_ms, turn) in stage.plan.turns.clone() {
        tokio::time::sleep_until(stage.moment(at_ms)).await;
        take(turn, &house, &stop).await;
    }
    tokio::time::sleep_until(stage.moment(stage.plan.active_ms)).await;
    stage.heal();
    stage.set_wall(|_| 0);
    for running in house.all_running() {
        stage.go_on(&running.life);
    }
    let mut healing =
        Healing { house: &house, looks: vec![Look::default(); house.carriers.len()], starved: Vec::new() };
    let (mut last_call_ms, mut days) = (stage.now_ms(), 0);
    let is_settled = loop {
        if !deeds.is_empty() {
            last_call_ms = stage.now_ms();
        }
        while deeds.try_join_next().is_some() {}
        match healing.look().await {
            Left::Nothing if deeds.is_empty() => break true,
            Left::AnotherDay(at) if deeds.is_empty() && days < DAYS_MAX => {
                days += 1;
                last_call_ms = stage.now_ms();
                stage.skip_to(at.as_millis() - BEFORE_MS);
            }
            Left::Nothing | Left::AnotherDay(_) | Left::Something => {}
        }
        let now = house.all_running().first().map(|running| running.engine.clock().now());
        let over_ms =
            (last_call_ms + HEALED_WITHIN_MS).min(stage.plan.active_ms + (2 + days) * HEALED_WITHIN_MS);
        if stage.now_ms() > over_ms {
            // What a clock that was ahead has dated ends by that clock, and not today.
            let realm = stage.realm().expect("it is set at the beginning");
            let mut all_over = true;
            for stored in all_messages(&house, realm).await.iter().filter(|stored| !is_over(stored)) {
                all_over &= match now {
                    Some(now) => is_dated_ahead(&house, stored, now).await,
                    None => false,
                };
            }
            break all_over;
        }
        tokio::time::sleep(Duration::from_millis(LOOK_EVERY_MS)).await;
    };
    // What was told last may still be on its way, and the reader of the feed behind. An answer that was lost keeps its
    // place in the window until it is given up, although a receipt may have settled its message long before.
    let patience_ms =
        stage.plan.connections.iter().map(|connection| connection.patience_ms).max().unwrap_or(0);
    tokio::time::sleep(Duration::from_millis(patience_ms.max(19_000) + 1_000)).await;
    watching.abort();
    reading.abort();
    operating.abort();
    let starved = healing.starved;
    let view = view(&house, is_settled, starved).await;
    drop(stop);
    let lasted_ms = stage.now_ms();
    let ledger = std::mem::take(&mut *stage.ledger());
    Run { plan: stage.plan.clone(), ledger, view, lasted_ms }
}

async fn take(turn: Turn, house: &Arc<House>, stop: &[mpsc::Sender<()>]) {
    let stage = &house.stage;
    match turn {
        Turn::Crash(node) => {
            if let Some(running) = house.running_at(node) {
                stage.crash(&running.life);
            }
        }
        // If one is stopping already, it stops once.
        Turn::Stop(node) => drop(stop[node].try_send(())),
        Turn::Still(node, ms) => {
            let Some(running) = house.running_at(node) else { return };
            let stage = Arc::clone(stage);
            stage.stand_still(&running.life);
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                stage.go_on(&running.life);
            });
        }
        Turn::StoreClock(by_ms) => {
            stage.disk.pass(by_ms);
            stage.note(Happened::StoreClockSet { by_ms });
        }
        Turn::Freeze(ms) => {
            tokio::time::advance(Duration::from_millis(ms)).await;
            stage.note(Happened::Froze { ms });
        }
        Turn::Wall(by_ms) => stage.set_wall(|ahead_ms| ahead_ms + by_ms),
        Turn::Pause(connection, for_ms) => {
            let house = Arc::clone(house);
            tokio::spawn(async move {
                customer::pause(&house, connection, true).await;
                tokio::time::sleep(Duration::from_millis(for_ms)).await;
                while !customer::pause(&house, connection, false).await {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            });
        }
    }
}

/// One look at one connection.
#[derive(Debug, Clone, Copy, Default)]
struct Look {
    submissions: usize,
    waiting: u64,
    idle_looks: u32,
}

/// What is left to be done.
enum Left {
    Nothing,
    /// Only what waits until then, which is on another day.
    AnotherDay(Timestamp),
    Something,
}

struct Healing<'h> {
    house: &'h Arc<House>,
    looks: Vec<Look>,
    starved: Vec<usize>,
}

impl Healing<'_> {
    /// What is left to be done.
    async fn look(&mut self) -> Left {
        let all = self.house.all_running();
        if all.len() < self.house.stage.plan.nodes.len() {
            return Left::Something;
        }
        tokio::select! {
            biased;
            () = any_ended(&all) => Left::Something,
            left = self.look_at(&all) => left,
        }
    }

    async fn look_at(&mut self, all: &[Arc<Running>]) -> Left {
        let house = self.house;
        let now = all[0].engine.clock().now();
        let connections = connections(house, all).await;
        let all_owned = connections.iter().all(|now| now.owners == 1);
        // The engine's own numbers may be some time old.
        let numbers = house.observer.statistics(now).await.expect("nothing goes wrong with it");
        for ConnectionSeen { place, id, is_paused, taken, .. } in connections {
            if is_paused {
                customer::pause(house, place, false).await;
                continue;
            }
            let of_it = |(_, connection): &&(usize, usize)| *connection == place;
            let submissions = {
                let ledger = house.stage.ledger();
                let all = ledger.submissions.iter().map(|submission| submission.connection).enumerate();
                all.collect::<Vec<_>>().iter().filter(of_it).count()
            };
            let waits = numbers.queues.iter().any(|(of, _, _, oldest)| {
                *of == id && oldest.is_some_and(|oldest| now.since_ms(oldest) > 15_000)
            });
            let of_it = numbers.queues.iter().filter(|(of, ..)| *of == id);
            let waiting: u64 = of_it.map(|(_, _, depth, _)| depth).sum();
            let look = &mut self.looks[place];
            let same = (look.submissions, look.waiting) == (submissions, waiting);
            let idle = waits && same && taken == 0;
            *look = Look { submissions, waiting, idle_looks: if idle { look.idle_looks + 1 } else { 0 } };
            if look.idle_looks == 4 {
                self.starved.push(place);
            }
        }
        let realm = house.stage.realm().expect("it is set at the beginning");
        let all = all_messages(house, realm).await;
        let due = house.observer.due_endpoints().await.expect("nothing goes wrong with it");
        let next = due.iter().map(|(_, at)| *at).min();
        let patient = Random::of(house.stage.plan.seed, &[700]).hits(125);
        let near_ms = if patient { NEAR_IF_PATIENT_MS } else { NEAR_MS };
        let is_calm = all_owned
            && house.carriers.iter().all(|carrier| carrier.is_settled())
            && next.is_none_or(|next| next.since_ms(now) > near_ms);
        let open = all.iter().filter(|stored| !is_over(stored));
        let wakes_at = open.filter_map(|stored| stored.life.state.wakes_at()).min();
        let counts_days = !house.stage.plan.dailies.is_empty();
        match wakes_at {
            None if is_calm => Left::Nothing,
            Some(at) if is_calm && counts_days && at.since_ms(now) > FAR_MS => Left::AnotherDay(at),
            _ => Left::Something,
        }
    }
}

/// What the nodes together say of a connection.
struct ConnectionSeen {
    place: usize,
    id: ConnectionId,
    is_paused: bool,
    /// Nodes that have a lane for it.
    owners: usize,
    /// Places in its windows that are taken.
    taken: usize,
}

async fn connections(house: &House, all: &[Arc<Running>]) -> Vec<ConnectionSeen> {
    let environment = house.stage.plan.environment();
    let mut seen: Vec<ConnectionSeen> = Vec::new();
    for running in all {
        for now in running.engine.connections(environment).await.unwrap_or_default() {
            let place = now.connection.name.parse().expect("connections are named by their place");
            let is_owner = !matches!(now.state, LinkState::Elsewhere { .. });
            let (owners, taken) = (usize::from(is_owner), now.window.1);
            match seen.iter_mut().find(|seen| seen.place == place) {
                Some(seen) => {
                    seen.owners += owners;
                    seen.taken += taken;
                }
                None => {
                    let (id, is_paused) = (now.connection.id, now.connection.paused.is_some());
                    seen.push(ConnectionSeen { place, id, is_paused, owners, taken });
                }
            }
        }
    }
    seen.sort_by_key(|seen| seen.place);
    seen
}

/// Waits until one of these has ended.
async fn any_ended(all: &[Arc<Running>]) {
    let mut ends: Vec<_> = all.iter().map(|running| Box::pin(running.life.ended())).collect();
    std::future::poll_fn(|context| match ends.iter_mut().any(|end| end.as_mut().poll(context).is_ready()) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    })
    .await
}

/// Whether nothing more happens to it but a late receipt.
fn is_over(stored: &Stored) -> bool {
    stored.life.state.status().is_final()
}

/// Whether it was touched under a clock that was ahead, and which no longer counts: it ends by that clock.
async fn is_dated_ahead(house: &House, stored: &Stored, now: Timestamp) -> bool {
    let timeline = house.observer.timeline(stored.message.realm(), stored.message.id).await;
    let timeline = timeline.expect("nothing goes wrong with it").expect("it was just listed");
    // A receipt may have come since, under the right clock.
    let is_told_ahead = timeline.events.iter().any(|(_, event)| event.at > now);
    stored.message.created_at > now || stored.updated_at > now || is_told_ahead
}

async fn all_messages(house: &House, realm: Realm) -> Vec<Stored> {
    let page = Page { before: None, limit: 10_000 };
    let found = house.observer.messages(realm, MessageFilter::default(), page).await;
    let mut all = found.expect("nothing goes wrong with it").items;
    all.reverse();
    all
}

async fn view(house: &Arc<House>, is_settled: bool, starved: Vec<usize>) -> View {
    let observer = &house.observer;
    let realm = house.stage.realm().expect("it is set at the beginning");
    let running = house.all_running();
    let now = running.first().map_or(Timestamp::default(), |running| running.engine.clock().now());
    let connections = connections(house, &running).await;
    let places = connections.iter().map(|connection| connection.taken).collect();
    let unowned = connections.iter().filter(|now| now.owners != 1).map(|now| now.place).collect();
    let mut messages = Vec::new();
    for stored in all_messages(house, realm).await {
        let timeline = observer.timeline(realm, stored.message.id).await;
        messages.push(timeline.expect("nothing goes wrong with it").expect("it was just listed"));
    }
    let (mut events, mut after) = (Vec::new(), None);
    loop {
        let stretch = observer.events(realm, after, 100_000).await.expect("nothing goes wrong with it");
        events.extend(stretch.told.iter().map(event));
        if stretch.is_end {
            break;
        }
        after = stretch.upto;
    }
    let endpoints = observer.endpoints(None).await.expect("nothing goes wrong with it");
    let mut attempts = Vec::new();
    for id in &house.endpoints {
        let page = Page { before: None, limit: 100_000 };
        let found = observer.attempts(realm, *id, page).await.expect("nothing goes wrong with it");
        attempts.push(found.items);
    }
    View {
        messages,
        events,
        endpoints,
        attempts,
        statistics: observer.statistics(now).await.expect("nothing goes wrong with it"),
        places,
        unowned,
        is_settled,
        starved,
        now,
    }
}

fn event(told: &Told) -> Event {
    let (message, text) = match &told.about {
        About::Message(message) => (Some(message.id.key()), None),
        About::Inbound(inbound) => (None, Some(inbound.text.clone())),
        About::Test => (None, None),
    };
    Event { id: told.id.key(), kind: told.event.kind, message, text, at_ms: told.event.at.as_millis() }
}
