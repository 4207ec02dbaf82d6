//! Which connections lead to the same carrier: a receipt that comes on one of them is looked for among the messages of all.

use std::collections::BTreeMap;
use std::sync::RwLock;
use tidings_domain::id::ConnectionId;

/// What the configuration says of that. Told once the connections have their ids, and before anything is advanced.
#[derive(Debug, Default)]
pub struct Carriers(RwLock<BTreeMap<ConnectionId, ConnectionId>>);

impl Carriers {
    /// From here on these connections, each with the first one that leads to the same carrier, share their receipts.
    pub fn set(&self, first: impl IntoIterator<Item = (ConnectionId, ConnectionId)>) {
        let shared = first.into_iter().filter(|(connection, first)| connection != first).collect();
        *self.0.write().expect("nothing panics while it holds this") = shared;
    }

    /// The connection under which the receipts of this one are filed: the first of its carrier, mostly itself. It stays the
    /// same when others are added behind it, and what was filed before is found.
    pub(crate) fn first(&self, connection: ConnectionId) -> ConnectionId {
        let shared = self.0.read().expect("nothing panics while it holds this");
        shared.get(&connection).copied().unwrap_or(connection)
    }
}
