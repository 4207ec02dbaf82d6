//! Processes that share a database.

use tidings_domain::id::*;
use tidings_domain::node::Roles;
use tidings_domain::queue::Queue;
use tidings_domain::time::Timestamp;

/// The node number of ids that the store makes for who is no node (see `domain::id`): no running node has it.
pub(crate) const STORE_NODE: u16 = 1_023;

/// A process that wants to serve a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newcomer {
    /// What people call it.
    pub name: String,
    /// The machine and directory whose lock it holds, so that an earlier process there has ended for certain.
    pub place: String,
    /// What it is for.
    pub roles: Roles,
    /// The connections that it could own.
    pub connections: Vec<ConnectionId>,
}

/// What a node is and has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Tells it apart in ids. `None` if there is only one, which has the number of its configuration.
    pub number: Option<u16>,
    /// How long this holds, from before it was asked for: ms. `None` for ever.
    pub lease_ms: Option<i64>,
    /// The connections that it owns. `None` for all.
    pub owned: Option<Vec<ConnectionId>>,
    /// Those of them of which it should give one back, because somebody has fewer.
    pub spare: Vec<ConnectionId>,
    /// Whether other nodes are there.
    pub has_peers: bool,
}

impl Standing {
    /// There is no other node, and there cannot be one.
    pub const fn alone() -> Self {
        Self { number: None, lease_ms: None, owned: None, spare: Vec::new(), has_peers: false }
    }
}

/// A node as the others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its number in ids.
    pub number: u16,
    /// What people call it.
    pub name: String,
    /// Where it runs.
    pub place: String,
    /// What it is for.
    pub roles: Roles,
    /// The connections that it owns.
    pub owned: Vec<ConnectionId>,
    /// How much of its lease is left, by the database's clock: ms; negative once it is over.
    pub lease_left_ms: i64,
    /// The version of the suppression list that it has [acknowledged](Backend::acknowledge).
    pub acknowledged: i64,
    /// Whether it is the one that asks.
    pub is_this: bool,
}

/// Something that another node committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// Something was put into a connection's queue, due then.
    Queued(Queue, Timestamp),
    /// The suppression list has this version now. Whoever looks from now on sees it.
    List(i64),
    /// Webhook deliveries are due.
    Deliveries,
    /// Endpoints, pauses, a hold or tokens were changed.
    Settings,
    /// A node came or went, or gave something back: renew.
    Nodes,
    /// News may have been missed: look at everything.
    Missed,
}
