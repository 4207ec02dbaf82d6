//! Nodes: who serves the disk, who owns which connection, and how they hear of each other's commits.
//!
//! Made from the contract, beside `postgres/node.rs` and `postgres/news.rs`. The disk has one clock for all, that of the
//! database: it grants and ends leases, and nobody's own clock counts.

use super::{Disk, Faults, Operation, Tables, lock};
use crate::backend::*;
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tidings_domain::id::ConnectionId;
use tidings_domain::node::{LEASE_MS, NUMBERS, Peer, is_prompt, spare, takes};
use tidings_domain::time::Timestamp;
use tokio::sync::mpsc;

/// News that may wait for a process. More are summed up as [`News::Missed`].
const WAITING_MAX: usize = 4_096;

/// A node for as long as it is in the list: in the order in which they joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NodeKey(u64);

/// The list of nodes.
#[derive(Debug, Clone, Default)]
pub(super) struct Nodes {
    rows: BTreeMap<NodeKey, Row>,
    owners: BTreeMap<ConnectionId, NodeKey>,
    joined: u64,
    /// Whether this operation changed anything of it that others must hear of.
    changed: bool,
}

#[derive(Debug, Clone)]
struct Row {
    incarnation: usize,
    newcomer: Newcomer,
    number: u16,
    acknowledged: i64,
    /// By the database's clock.
    lease_until_ms: i64,
    /// Since when its lease was never over.
    steady_since_ms: i64,
}

impl Nodes {
    /// Whether this one is still in the list.
    pub(super) fn has(&self, key: NodeKey) -> bool {
        self.rows.contains_key(&key)
    }

    fn owned(&self, key: NodeKey) -> Vec<ConnectionId> {
        self.owners.iter().filter(|(_, owner)| **owner == key).map(|(id, _)| *id).collect()
    }

    fn end(&mut self, gone: impl Fn(NodeKey, &Row) -> bool) {
        let before = self.rows.len();
        self.rows.retain(|key, row| !gone(*key, row));
        self.owners.retain(|_, owner| self.rows.contains_key(owner));
        self.changed |= self.rows.len() < before;
    }

    /// Takes what is free and for this node, and says what it is and has.
    fn standing(&mut self, key: NodeKey, now_ms: i64) -> Result<Standing> {
        let this = self.rows.get(&key).ok_or_else(expelled)?;
        let (number, able) = (this.number, this.newcomer.connections.clone());
        let others = self.rows.iter().filter(|(other, row)| {
            **other != key && row.newcomer.roles.send && is_prompt(row.lease_until_ms - now_ms)
        });
        let peers: Vec<Peer> = others
            .map(|(other, row)| Peer {
                owned: self.owned(*other).len(),
                able: row.newcomer.connections.clone(),
            })
            .collect();
        if this.newcomer.roles.send {
            let free: BTreeSet<ConnectionId> =
                able.into_iter().filter(|id| !self.owners.contains_key(id)).collect();
            for id in takes(self.owned(key).len(), free, &peers) {
                self.owners.insert(id, key);
                self.changed = true;
            }
        }
        let owned = self.owned(key);
        Ok(Standing {
            number: Some(number),
            lease_ms: Some(LEASE_MS),
            spare: spare(&owned, &peers),
            owned: Some(owned),
            has_peers: self.rows.len() > 1,
        })
    }
}

impl Tables {
    pub(super) fn join(
        &mut self,
        newcomer: Newcomer,
        incarnation: usize,
        now_ms: i64,
    ) -> Result<(NodeKey, Standing)> {
        let Newcomer { name, place, .. } = &newcomer;
        let namesake = self.nodes.rows.values().find(|row| {
            row.newcomer.name == *name && row.newcomer.place != *place && row.lease_until_ms > now_ms
        });
        if let Some(row) = namesake {
            let place = &row.newcomer.place;
            return Err(Error::Conflict(format!("a node of the name {name} runs already, in {place}")));
        }
        // Whoever had this place has ended: its lock is ours.
        self.nodes.end(|_, row| row.newcomer.name == *name && row.newcomer.place == *place);
        let key = NodeKey(self.nodes.joined);
        self.nodes.joined += 1;
        let number = (key.0 % u64::from(NUMBERS / 2)) as u16;
        let row = Row {
            incarnation,
            newcomer,
            number,
            acknowledged: self.suppressions.version(),
            lease_until_ms: now_ms + LEASE_MS,
            steady_since_ms: now_ms,
        };
        self.nodes.rows.insert(key, row);
        self.nodes.changed = true;
        Ok((key, self.nodes.standing(key, now_ms)?))
    }

    pub(super) fn renew(&mut self, key: NodeKey, now_ms: i64) -> Result<Standing> {
        let row = self.nodes.rows.get_mut(&key).ok_or_else(expelled)?;
        if row.lease_until_ms < now_ms {
            row.steady_since_ms = now_ms;
        }
        row.lease_until_ms = now_ms + LEASE_MS;
        // Who was itself silent a moment ago cannot say that the others are: perhaps the disk was away for all.
        if row.steady_since_ms <= now_ms - LEASE_MS {
            self.nodes.end(|_, row| row.lease_until_ms < now_ms);
        }
        self.nodes.standing(key, now_ms)
    }

    /// Whether the connection is this node's.
    pub(super) fn check_owner(&self, key: NodeKey, connection: ConnectionId) -> Result<()> {
        if self.nodes.owners.get(&connection) == Some(&key) { Ok(()) } else { Err(of_another()) }
    }

    pub(super) fn release(&mut self, key: NodeKey, connection: ConnectionId) -> Result<()> {
        if self.nodes.owners.get(&connection) == Some(&key) {
            self.nodes.owners.remove(&connection);
        }
        self.nodes.changed = true;
        Ok(())
    }

    pub(super) fn leave(&mut self, key: NodeKey) -> Result<()> {
        self.nodes.end(|other, _| other == key);
        self.nodes.changed = true;
        Ok(())
    }

    pub(super) fn acknowledge(&mut self, key: NodeKey, version: i64) -> Result<()> {
        if let Some(row) = self.nodes.rows.get_mut(&key) {
            row.acknowledged = row.acknowledged.max(version);
        }
        Ok(())
    }

    /// The nodes with the process that each is, in the order in which they joined.
    pub(super) fn nodes(&self, this: Option<NodeKey>, now_ms: i64) -> Vec<(usize, Node)> {
        let shown = |(key, row): (&NodeKey, &Row)| {
            let node = Node {
                number: row.number,
                name: row.newcomer.name.clone(),
                place: row.newcomer.place.clone(),
                roles: row.newcomer.roles,
                owned: self.nodes.owned(*key),
                lease_left_ms: row.lease_until_ms - now_ms,
                acknowledged: row.acknowledged,
                is_this: this == Some(*key),
            };
            (row.incarnation, node)
        };
        self.nodes.rows.iter().map(shown).collect()
    }

    /// What this operation has to tell other processes; it is told once.
    pub(super) fn news(&mut self, operation: Operation, list_before: i64) -> Vec<News> {
        let mut news: Vec<News> = Vec::new();
        for (queue, due_at) in self.messages.take_queued() {
            news.push(News::Queued(queue, due_at));
        }
        if self.suppressions.version() > list_before {
            news.push(News::List(self.suppressions.version()));
        }
        if matches!(operation.name, "give_back_deliveries" | "replay") {
            news.push(News::Deliveries);
        }
        if changes_settings(operation.name) {
            news.push(News::Settings);
        }
        if std::mem::take(&mut self.nodes.changed) {
            news.push(News::Nodes);
        }
        news
    }
}

fn changes_settings(operation: &str) -> bool {
    matches!(
        operation,
        "create_endpoint"
            | "callback_endpoint"
            | "update_endpoint"
            | "delete_endpoint"
            | "pause_connection"
            | "set_hold"
            | "create_account"
            | "update_token"
            | "revoke_client"
    )
}

/// What a node hears that was ended.
fn of_another() -> Error {
    Error::Conflict("the connection is not this node's".to_owned())
}

pub(super) fn expelled() -> Error {
    Error::Expelled("it was silent for longer than its lease, and another node ended it".to_owned())
}

/// A process that listens to what others commit.
pub(super) struct Listener {
    tell: mpsc::Sender<News>,
    faults: Option<Arc<dyn Faults>>,
    has_missed: bool,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("has_missed", &self.has_missed).finish_non_exhaustive()
    }
}

impl Listener {
    fn hear(&mut self, news: &[News]) {
        if self.faults.as_ref().is_some_and(|faults| !faults.hears()) {
            self.has_missed = true;
            return;
        }
        let missed = std::mem::take(&mut self.has_missed).then_some(News::Missed);
        for one in missed.into_iter().chain(news.iter().cloned()) {
            self.has_missed |= self.tell.try_send(one).is_err();
        }
    }
}

impl Disk {
    /// What the database's clock shows: ms. It goes on with tokio's, and as tests [set](Disk::pass) it.
    pub(super) fn now_ms(&self) -> i64 {
        let started = self.shared.started.get_or_init(tokio::time::Instant::now);
        started.elapsed().as_millis() as i64 + self.shared.ahead_ms.load(Ordering::SeqCst)
    }

    /// The database's clock goes on by so much more, or back: ms. Another server that takes over has another clock.
    pub fn pass(&self, ms: i64) {
        self.shared.ahead_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// The nodes that serve this disk, each with the [incarnation](super::Model::incarnation) of its process.
    pub fn nodes(&self) -> Vec<(usize, Node)> {
        lock(&self.shared.tables).nodes(None, self.now_ms())
    }

    /// Whether the process of this incarnation is a node.
    pub fn serves(&self, incarnation: usize) -> bool {
        lock(&self.shared.tables).nodes.rows.values().any(|row| row.incarnation == incarnation)
    }

    /// From here on a process hears what others commit.
    pub(super) fn listen(&self, incarnation: usize, faults: Option<Arc<dyn Faults>>) -> mpsc::Receiver<News> {
        let (tell, heard) = mpsc::channel(WAITING_MAX);
        lock(&self.shared.listeners).insert(incarnation, Listener { tell, faults, has_missed: false });
        heard
    }

    /// Tells everybody but the process that committed.
    pub(super) fn tell(&self, incarnation: usize, news: &[News]) {
        if news.is_empty() {
            return;
        }
        let mut listeners = lock(&self.shared.listeners);
        listeners.retain(|_, listener| !listener.tell.is_closed());
        for (_, listener) in listeners.iter_mut().filter(|(of, _)| **of != incarnation) {
            listener.hear(news);
        }
    }
}

/// The earliest of what was put into each queue.
pub(super) type Queued = BTreeMap<tidings_domain::queue::Queue, Timestamp>;
