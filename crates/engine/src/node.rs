//! This node among others: which connections are its own, and until when it may submit.
//!
//! A node joins those who serve the store and renews its lease every few seconds. Each renewal says which connections it
//! owns: for these it has lanes, and for no others. A lane is opened after the claims of the earlier owner were settled,
//! and given back only when nothing is on its way on it. What other nodes commit is heard as news, which only makes things
//! quick: whatever is missed is found a little later.
//!
//! **Silent before it is replaced.** The lease is counted by a clock that goes on while the machine sleeps, from before the
//! moment at which it was asked for, and ends some seconds before the store would say so. Carriers ask [`Lease::holds`]
//! right before each submission, and when it is over the links are closed. They are opened again when a later renewal
//! succeeds, after the same settling.
//!
//! Where the store can only have one owner, that owns everything for ever, and none of the loops here runs.

use crate::clock::Clock;
use crate::dispatch::{self, Lane, LaneSettings};
use crate::supervise::supervise;
use crate::{Error, Guarded, Inner, NodeSettings, STORE_PAUSE_MS, housekeeping};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;
use tidings_carriers::{LinkState, Surroundings};
use tidings_domain::id::ConnectionId;
use tidings_domain::node::{LEASE_MS, MARGIN_MS, RENEW_MS, Roles, silent_from};
use tidings_domain::time::Timestamp;
use tidings_store::{Backend, Newcomer, News, Node, Result, Standing};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

/// A renewal that failed is tried again after this time: ms.
const RENEW_AGAIN_MS: u64 = 1_000;
/// The shortest pause between two renewals, however many news there are: ms.
const RENEW_GAP_MS: u64 = 50;
/// How often the lease is looked at, at least: ms. A timer does not count the time that the machine sleeps.
const WATCH_MS: i64 = 1_000;
/// How often the others are asked whether they have heard of an opt-out: ms.
const ASK_MS: std::ops::RangeInclusive<u64> = 10..=250;

/// Until when this node may submit.
#[derive(Debug)]
pub(crate) struct Lease {
    clock: Arc<Clock>,
    /// By the clock that counts sleep. [`Lease::FOR_EVER`] without an end, [`Lease::ENDED`] once it is over for good.
    until_ms: AtomicI64,
}

impl Lease {
    const FOR_EVER: i64 = i64::MAX;
    const ENDED: i64 = i64::MIN;

    /// Whether this node may submit at this moment.
    pub fn holds(&self) -> bool {
        match self.until_ms.load(Ordering::Acquire) {
            Self::FOR_EVER => true,
            until_ms => self.clock.boot_ms() < until_ms,
        }
    }

    /// How long it holds from now.
    fn left_ms(&self) -> i64 {
        self.until_ms.load(Ordering::Acquire).saturating_sub(self.clock.boot_ms())
    }

    /// It was granted again, to one who asked at this moment. One that ended for good stays so.
    fn renewed(&self, noted_ms: i64, lease_ms: Option<i64>) {
        let granted_ms = lease_ms.map_or(Self::FOR_EVER, |lease_ms| silent_from(noted_ms, lease_ms));
        let later = |until_ms| (until_ms != Self::ENDED).then_some(granted_ms.max(until_ms));
        // An error means that it has ended.
        let _ = self.until_ms.fetch_update(Ordering::AcqRel, Ordering::Acquire, later);
    }

    /// Ends it for good.
    pub fn end(&self) {
        self.until_ms.store(Self::ENDED, Ordering::Release);
    }
}

/// What this node is to the others.
#[derive(Debug)]
pub(crate) struct Seat {
    /// Until when it may submit.
    pub lease: Arc<Lease>,
    /// What it is for.
    pub roles: Roles,
    is_alone: bool,
    /// The connections that the last renewal called its own, without those that were given back since.
    owned: Mutex<BTreeSet<ConnectionId>>,
    /// Held while a connection is taken or given back, so that no older word of the store is taken for a newer one.
    turn: tokio::sync::Mutex<()>,
    renew: Notify,
    tend: Notify,
    settings: Notify,
    /// The newest version of the suppression list that was heard of.
    list: watch::Sender<i64>,
    /// Why this node was ended by others, once it was.
    expelled: watch::Sender<Option<String>>,
}

impl Seat {
    /// Joins those who serve the store. From here on ids are made as the node that this one became.
    pub async fn join(
        store: &dyn Backend,
        clock: &Arc<Clock>,
        settings: &NodeSettings,
        connections: Vec<ConnectionId>,
    ) -> Result<Self> {
        let connections = if settings.roles.send { connections } else { Vec::new() };
        let newcomer = Newcomer {
            name: settings.name.clone(),
            place: settings.place.clone(),
            roles: settings.roles,
            connections,
        };
        let noted_ms = clock.boot_ms();
        let standing = store.join(newcomer).await?;
        if let Some(number) = standing.number {
            clock.take_number(number);
        }
        let lease = Lease { clock: Arc::clone(clock), until_ms: AtomicI64::new(0) };
        lease.until_ms.store(
            standing.lease_ms.map_or(Lease::FOR_EVER, |lease_ms| silent_from(noted_ms, lease_ms)),
            Ordering::Release,
        );
        Ok(Self {
            lease: Arc::new(lease),
            roles: settings.roles,
            is_alone: standing.owned.is_none(),
            owned: Mutex::new(standing.owned.into_iter().flatten().collect()),
            turn: tokio::sync::Mutex::default(),
            renew: Notify::new(),
            tend: Notify::new(),
            settings: Notify::new(),
            list: watch::Sender::new(0),
            expelled: watch::Sender::new(None),
        })
    }

    /// Whether there can be no other node.
    pub const fn is_alone(&self) -> bool {
        self.is_alone
    }

    /// Waits until another node changed what operators set.
    pub async fn settings_changed(&self) {
        self.settings.notified().await;
    }

    /// Waits until this node is ended by others, and says why it was.
    pub async fn expelled(&self) -> String {
        let mut expelled = self.expelled.subscribe();
        // The sender is part of this, so it does not end before.
        let why = expelled.wait_for(Option::is_some).await.map(|why| why.clone());
        why.ok().flatten().unwrap_or_default()
    }

    fn owned(&self) -> MutexGuard<'_, BTreeSet<ConnectionId>> {
        self.owned.lock().expect("nothing panics while it holds this")
    }

    fn heard_of_list(&self, version: i64) {
        self.list.send_if_modified(|known| {
            let newer = version > *known;
            *known = version.max(*known);
            newer
        });
    }
}

/// The lanes that there are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lanes {
    /// Those that take messages.
    pub open: BTreeMap<ConnectionId, Arc<Lane>>,
    /// Those that take none any more and still wait for what is on its way.
    closing: BTreeMap<ConnectionId, (Arc<Lane>, Closing)>,
}

impl Lanes {
    /// All, also those that close.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Lane>> {
        self.open.values().chain(self.closing.values().map(|(lane, _)| lane))
    }

    /// The lane of a connection, also one that closes.
    pub fn any(&self, id: ConnectionId) -> Option<&Arc<Lane>> {
        self.open.get(&id).or_else(|| self.closing.get(&id).map(|(lane, _)| lane))
    }
}

/// How a lane closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closing {
    /// What is on its way is waited for, then the link is closed, and then the connection is given back.
    GivesBack,
    /// The link is closed at once, and what is on its way is waited for after that.
    AtOnce,
}

/// Starts the loops of a node that has others beside it.
pub(crate) fn run(engine: &Weak<Inner>, inner: &Inner, tasks: &mut JoinSet<()>) {
    if inner.seat.is_alone {
        return;
    }
    tasks.spawn(supervise("lease", engine.clone(), |weak| Box::pin(watch(weak))));
    tasks.spawn(supervise("renew", engine.clone(), |weak| Box::pin(renew(weak))));
    tasks.spawn(supervise("tend", engine.clone(), |weak| Box::pin(tend(weak))));
    if let Some(news) = inner.store.news() {
        let state = (engine.clone(), news);
        tasks.spawn(supervise("news", state, |(weak, news)| Box::pin(hear(weak, news))));
    }
    if inner.seat.roles.send {
        let state = (engine.clone(), inner.seat.list.subscribe(), i64::MIN);
        tasks.spawn(supervise("acknowledge", state, |(weak, list, said)| {
            Box::pin(acknowledge(weak, list, said))
        }));
    }
}

/// Looks at the lease, and closes all links when it is over.
async fn watch(engine: &Weak<Inner>) {
    loop {
        let Some(inner) = engine.upgrade() else { return };
        let left_ms = inner.seat.lease.left_ms();
        if left_ms <= 0 {
            inner.close_all();
        }
        drop(inner);
        tokio::time::sleep(Duration::from_millis(left_ms.clamp(50, WATCH_MS) as u64)).await;
    }
}

/// Renews the lease.
async fn renew(engine: &Weak<Inner>) {
    loop {
        let Some(inner) = engine.upgrade() else { return };
        let seat = Arc::clone(&inner.seat);
        let wait_ms = match inner.renew().await {
            Ok(()) => RENEW_MS as u64,
            Err(tidings_store::Error::Expelled(why)) => {
                inner.expelled(why);
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "this node's lease could not be renewed; trying again");
                RENEW_AGAIN_MS
            }
        };
        drop(inner);
        tokio::time::sleep(Duration::from_millis(RENEW_GAP_MS)).await;
        tokio::select! {
            biased;
            () = seat.renew.notified() => {}
            () = tokio::time::sleep(Duration::from_millis(wait_ms - RENEW_GAP_MS)) => {}
        }
    }
}

/// Opens the lanes of the connections that became this node's.
async fn tend(engine: &Weak<Inner>) {
    loop {
        let Some(inner) = engine.upgrade() else { return };
        let seat = Arc::clone(&inner.seat);
        let wait_ms = if inner.tend().await { RENEW_MS as u64 } else { STORE_PAUSE_MS };
        drop(inner);
        tokio::select! {
            biased;
            () = seat.tend.notified() => {}
            () = tokio::time::sleep(Duration::from_millis(wait_ms)) => {}
        }
    }
}

/// Hears what other nodes committed.
async fn hear(engine: &Weak<Inner>, news: &mut mpsc::Receiver<News>) {
    while let Some(one) = news.recv().await {
        let Some(inner) = engine.upgrade() else { return };
        match one {
            News::Queued(queue, due_at) => {
                if let Some(lane) = inner.lane(queue.connection()) {
                    lane.heard(queue, due_at);
                }
            }
            News::List(version) => inner.seat.heard_of_list(version),
            News::Deliveries => inner.webhooks.wake(),
            News::Settings => inner.settings_changed(),
            News::Nodes => inner.seat.renew.notify_one(),
            News::Missed => {
                for lane in inner.lanes.load().open.values() {
                    lane.look_again();
                }
                inner.webhooks.wake();
                inner.settings_changed();
                inner.seat.renew.notify_one();
                if let Ok(version) = inner.store.list_version().await {
                    inner.seat.heard_of_list(version);
                }
            }
        }
    }
}

/// Tells the others up to which version of the suppression list nothing is on its way here any more that began before it.
async fn acknowledge(engine: &Weak<Inner>, list: &mut watch::Receiver<i64>, said: &mut i64) {
    let mut looks = true;
    loop {
        let Some(inner) = engine.upgrade() else { return };
        let mut version = *list.borrow_and_update();
        if looks && let Ok(now) = inner.store.list_version().await {
            version = version.max(now);
        }
        let barriers = if version > *said { inner.barriers() } else { Vec::new() };
        drop(inner);
        for barrier in barriers {
            barrier.await;
        }
        let mut wait_ms = RENEW_MS as u64;
        if version > *said {
            let Some(inner) = engine.upgrade() else { return };
            match inner.store.acknowledge(version).await {
                Ok(()) => *said = version,
                Err(error) => {
                    tracing::debug!(%error, "the others could not be told that an opt-out was heard");
                    wait_ms = STORE_PAUSE_MS;
                }
            }
        }
        looks = tokio::select! {
            biased;
            changed = list.changed() => if changed.is_ok() { false } else { return },
            () = tokio::time::sleep(Duration::from_millis(wait_ms)) => true,
        };
    }
}

/// Whether a node can have nothing on its way any more that began before the list had this version.
fn has_heard(node: &Node, version: i64) -> bool {
    node.is_this || !node.roles.send || node.lease_left_ms <= 0 || node.acknowledged >= version
}

impl Inner {
    /// The lane of a connection, if it is this node's.
    pub(crate) fn lane(&self, id: ConnectionId) -> Option<Arc<Lane>> {
        self.lanes.load().open.get(&id).cloned()
    }

    /// Opens the link of a connection and makes its lane. Its loops are to be started once it is [entered](Inner::enter).
    pub(crate) fn open_lane(
        self: &Arc<Self>,
        id: ConnectionId,
        now: Timestamp,
    ) -> std::result::Result<(Arc<Lane>, dispatch::Loops), Error> {
        let configured = &self.places[&id];
        let (dice, lease) = (Arc::clone(&self.clock), Arc::clone(&self.seat.lease));
        let surroundings = Surroundings {
            name: configured.name.clone(),
            draw: Arc::new(move || dice.draw()),
            codes: Arc::clone(&self.settings.codes),
            guard: Arc::new(Guarded(Arc::clone(&self.guard))),
            may_send: Arc::new(move || lease.holds()),
        };
        let link = (self.open_link)(configured, &surroundings).map_err(|error| Error::Connection {
            name: configured.name.clone(),
            reason: error.to_string(),
        })?;
        let settings = LaneSettings {
            id,
            carrier: self.first_of_carrier(id),
            name: configured.name.clone(),
            environment: configured.environment,
            kind: configured.carrier.kind(),
            pace_per_s: configured.pace_per_s,
            paces: self.paces.of(id),
            handed_over_max: self.tickets_max,
        };
        Ok(dispatch::open(&Arc::downgrade(self), settings, link, now))
    }

    /// From here on messages may go to this lane.
    pub(crate) fn enter(&self, lane: &Arc<Lane>) {
        self.lanes.rcu(|lanes| {
            let mut lanes = Lanes::clone(lanes);
            lanes.open.insert(lane.id, Arc::clone(lane));
            lanes
        });
    }

    /// What must be waited for until nothing that is on its way to a carrier now is so any more.
    pub(crate) fn barriers(&self) -> Vec<impl Future<Output = ()> + Send + use<>> {
        self.lanes.load().all().map(|lane| lane.window.barrier()).collect()
    }

    /// Waits until no other node has anything on its way that began before the suppression list was as it is now: until
    /// each has said so, is gone, or has a lease that is over. Not longer than a lease lasts.
    pub(crate) async fn others_heard(&self) {
        if self.seat.is_alone {
            return;
        }
        let heard = async {
            let mut version = None;
            let mut pause_ms = *ASK_MS.start();
            loop {
                if version.is_none() {
                    version = self.store.list_version().await.ok();
                }
                if let Some(version) = version
                    && let Ok(nodes) = self.store.nodes().await
                    && nodes.iter().all(|node| has_heard(node, version))
                {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(pause_ms)).await;
                pause_ms = (pause_ms * 2).min(*ASK_MS.end());
            }
        };
        let limit = Duration::from_millis(LEASE_MS as u64);
        if tokio::time::timeout(limit, heard).await.is_err() {
            tracing::warn!("another node is slow: an opt-out did not wait for what that already had");
        }
    }

    /// How the link of a connection is, with what is known of the others.
    pub(crate) fn link_state(&self, id: ConnectionId, nodes: &[Node]) -> LinkState {
        if let Some(lane) = self.lanes.load().any(id) {
            return lane.state.borrow().clone();
        }
        let owner = nodes.iter().find(|node| node.owned.contains(&id));
        match owner {
            Some(node) if node.is_this => LinkState::Connecting {
                reason: Some("what its earlier owner left is being settled".to_owned()),
            },
            owner => LinkState::Elsewhere { node: owner.map(|node| node.name.clone()) },
        }
    }

    /// The nodes, as far as the store says.
    pub(crate) async fn nodes(&self) -> Vec<Node> {
        if self.seat.is_alone { Vec::new() } else { self.store.nodes().await.unwrap_or_default() }
    }

    fn settings_changed(&self) {
        self.webhooks.forget();
        self.seat.settings.notify_one();
    }

    async fn renew(self: &Arc<Self>) -> Result<()> {
        let turn = self.seat.turn.lock().await;
        let noted_ms = self.clock.boot_ms();
        // What comes later than this is no use.
        let limit = Duration::from_millis((LEASE_MS - MARGIN_MS) as u64);
        let Ok(renewed) = tokio::time::timeout(limit, self.store.renew()).await else {
            return Err(tidings_store::Error::Unavailable("there is no answer".to_owned()));
        };
        let standing = renewed?;
        let held = self.seat.lease.holds();
        self.seat.lease.renewed(noted_ms, standing.lease_ms);
        let Standing { owned: Some(owned), spare, .. } = standing else { return Ok(()) };
        let owned: BTreeSet<ConnectionId> = owned.into_iter().collect();
        self.seat.owned().clone_from(&owned);
        drop(turn);
        let lanes = self.lanes.load_full();
        if !held {
            tracing::warn!("this node's lease holds again");
            for lane in lanes.open.values() {
                lane.look_again();
            }
        }
        if self.stopping() {
            return Ok(());
        }
        for id in lanes.open.keys().filter(|id| !owned.contains(id)) {
            self.close(*id, Closing::AtOnce);
        }
        let given_back = lanes.closing.values().filter(|(_, how)| *how == Closing::GivesBack).count();
        // One at a time; that with the least on its way is ready the soonest.
        let movable = lanes.open.values().filter(|lane| spare.contains(&lane.id) && given_back == 0);
        if let Some(lane) = movable.min_by_key(|lane| lane.window.taken()) {
            tracing::info!(connection = lane.name, "giving it to a node that has fewer connections");
            self.close(lane.id, Closing::GivesBack);
        }
        self.seat.tend.notify_one();
        Ok(())
    }

    /// Opens what is this node's and is not open: after the claims of the owner before were settled. `false` if something
    /// is left to do.
    pub(crate) async fn tend(self: &Arc<Self>) -> bool {
        let mut all_open = true;
        let owned: Vec<ConnectionId> = self.seat.owned().iter().copied().collect();
        for id in owned {
            if self.stopping() || !self.seat.lease.holds() {
                return all_open;
            }
            if !self.places.contains_key(&id) || self.lanes.load().any(id).is_some() {
                continue;
            }
            let name = &self.places[&id].name;
            match housekeeping::recover_claims(self, Some(id)).await {
                Ok(0) => {}
                Ok(orphans) => {
                    tracing::warn!(
                        connection = name,
                        messages = orphans,
                        "its earlier owner ended in the middle of its work; it was taken up"
                    );
                }
                Err(error) => {
                    tracing::warn!(connection = name, %error, "what its earlier owner left cannot be settled; trying again");
                    all_open = false;
                    continue;
                }
            }
            // That may have taken a while.
            if self.stopping() || !self.seat.lease.holds() || !self.seat.owned().contains(&id) {
                continue;
            }
            match self.open_lane(id, self.clock.now()) {
                Ok((lane, loops)) => {
                    tracing::info!(connection = name, "it is this node's now");
                    self.enter(&lane);
                    let mut tasks = self.tasks.lock().expect("nothing panics while it holds this");
                    // Those of lanes that were closed.
                    while tasks.try_join_next().is_some() {}
                    loops.start(&mut tasks);
                }
                Err(error) => tracing::error!(%error, "a connection that is this node's cannot be opened"),
            }
            self.follow_store().await;
        }
        all_open
    }

    /// Closes every link: the lease is over.
    fn close_all(self: &Arc<Self>) {
        let lanes = self.lanes.load_full();
        if !lanes.open.is_empty() {
            tracing::error!("this node's lease is over and could not be renewed: its links are closed");
        }
        for id in lanes.open.keys() {
            self.close(*id, Closing::AtOnce);
        }
        for (lane, _) in lanes.closing.values() {
            lane.stop_link();
        }
    }

    /// This node was ended by another one.
    fn expelled(self: &Arc<Self>, why: String) {
        self.seat.lease.end();
        self.close_all();
        self.seat.expelled.send_replace(Some(why));
    }

    /// Begins to close a lane: no more messages go to it.
    fn close(self: &Arc<Self>, id: ConnectionId, how: Closing) {
        let mut closed = None;
        self.lanes.rcu(|lanes| {
            let mut lanes = Lanes::clone(lanes);
            closed = lanes.open.remove(&id);
            if let Some(lane) = &closed {
                lanes.closing.insert(id, (Arc::clone(lane), how));
            }
            lanes
        });
        let Some(lane) = closed else { return };
        lane.set_closing();
        let task = finish(Arc::downgrade(self), lane, how);
        self.tasks.lock().expect("nothing panics while it holds this").spawn(task);
    }
}

/// Waits until nothing is on its way on a lane any more and its link is closed; gives the connection back if it shall be.
async fn finish(engine: Weak<Inner>, lane: Arc<Lane>, how: Closing) {
    match how {
        Closing::GivesBack => {
            lane.window.barrier().await;
            lane.stop_link();
            lane.link_stopped().await;
            lane.end();
        }
        Closing::AtOnce => {
            lane.stop_link();
            lane.link_stopped().await;
            lane.end();
            lane.window.barrier().await;
        }
    }
    if how == Closing::GivesBack && !give_back(&engine, &lane).await {
        return;
    }
    let Some(inner) = engine.upgrade() else { return };
    inner.lanes.rcu(|lanes| {
        let mut lanes = Lanes::clone(lanes);
        lanes.closing.remove(&lane.id);
        lanes
    });
    inner.seat.tend.notify_one();
    if how == Closing::GivesBack {
        inner.seat.renew.notify_one();
    }
}

/// Gives back the connection of a lane. As long as the store does not say that this is done, nobody knows whose it is: so
/// it is not opened again here meanwhile. `false` if this node has come to its end.
async fn give_back(engine: &Weak<Inner>, lane: &Lane) -> bool {
    loop {
        let Some(inner) = engine.upgrade() else { return false };
        let turn = inner.seat.turn.lock().await;
        match inner.store.release(lane.id).await {
            Ok(()) => {
                inner.seat.owned().remove(&lane.id);
                return true;
            }
            Err(tidings_store::Error::Expelled(_)) => return false,
            Err(error) => {
                tracing::warn!(connection = lane.name, %error, "it cannot be given back; trying again");
            }
        }
        drop(turn);
        drop(inner);
        tokio::time::sleep(Duration::from_millis(STORE_PAUSE_MS)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Nature;

    /// A boot clock that a test sets.
    #[derive(Debug, Clone, Default)]
    struct Boot(Arc<AtomicI64>);

    impl Nature for Boot {
        fn wall_ms(&self) -> i64 {
            0
        }

        fn boot_ms(&self) -> i64 {
            self.0.load(Ordering::SeqCst)
        }

        fn fill(&self, octets: &mut [u8]) {
            octets.fill(0);
        }
    }

    #[tokio::test]
    async fn a_lease_holds_from_before_it_was_asked_for_and_ends_early() {
        let boot = Boot::default();
        let lease = Lease {
            clock: Arc::new(Clock::of(Box::new(boot.clone()), 0)),
            until_ms: AtomicI64::new(silent_from(0, LEASE_MS)),
        };
        let at = |ms| boot.0.store(ms, Ordering::SeqCst);
        // (asked at, granted for, asked whether it holds at, does it)
        for (renewal, now_ms, expected) in [
            (None, 0, true),
            (None, LEASE_MS - MARGIN_MS - 1, true),
            (None, LEASE_MS - MARGIN_MS, false),
            (Some(4_000), 4_000 + LEASE_MS - MARGIN_MS - 1, true),
            // An answer that comes late is worth what is left of it, and an older one takes nothing away.
            (Some(3_000), 4_000 + LEASE_MS - MARGIN_MS - 1, true),
            (Some(3_000), 4_000 + LEASE_MS - MARGIN_MS, false),
            (Some(90_000), 90_000, true),
        ] {
            if let Some(noted_ms) = renewal {
                lease.renewed(noted_ms, Some(LEASE_MS));
            }
            at(now_ms);
            assert_eq!(lease.holds(), expected, "{renewal:?} at {now_ms}");
        }
        lease.end();
        lease.renewed(90_000, Some(LEASE_MS));
        assert!(!lease.holds(), "one that ended for good is not granted again");
    }

    #[test]
    fn an_opt_out_waits_for_those_who_may_have_something_on_its_way() {
        let node = Node {
            number: 1,
            name: String::new(),
            place: String::new(),
            roles: Roles::ALL,
            owned: Vec::new(),
            lease_left_ms: 1,
            acknowledged: 6,
            is_this: false,
        };
        let idle = Roles { send: false, ..Roles::ALL };
        assert!(!has_heard(&node, 7));
        for (heard, why) in [
            (Node { acknowledged: 7, ..node.clone() }, "it said so"),
            (Node { acknowledged: 8, ..node.clone() }, "it said more"),
            (Node { lease_left_ms: 0, ..node.clone() }, "its lease is over"),
            (Node { roles: idle, ..node.clone() }, "it never submits"),
            (Node { is_this: true, ..node }, "its own windows are waited for directly"),
        ] {
            assert!(has_heard(&heard, 7), "{why}");
        }
    }
}
