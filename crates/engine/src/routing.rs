//! The connections as routing sees them from here: which there are, and how each stands at this moment.

use crate::{ConnectionSettings, Inner};
use tidings_domain::id::ConnectionId;
use tidings_domain::routing::{Look, Route, Routes, Standing};
use tidings_store::Connection;

/// All configured connections, in their order.
pub(crate) fn routes(connections: &[Connection], settings: &[ConnectionSettings]) -> Vec<Route> {
    let route = |(connection, configured): (&Connection, &ConnectionSettings)| Route {
        connection: connection.id,
        carrier: configured.of_carrier.clone(),
        environment: configured.environment,
        prefixes: configured.prefixes.clone(),
        senders: configured.senders.clone(),
    };
    connections.iter().zip(settings).map(route).collect()
}

impl Inner {
    /// The connections, and how they stand here.
    pub(crate) fn routes(&self) -> Routes<'_> {
        Routes { all: &self.routes, look: self }
    }

    /// The first connection that leads to the same carrier: itself where it is the only one.
    pub(crate) fn first_of_carrier(&self, connection: ConnectionId) -> ConnectionId {
        let own = self.routes.iter().find(|route| route.connection == connection);
        let first = own.and_then(|own| self.routes.iter().find(|route| route.shares_carrier(own)));
        first.map_or(connection, |first| first.connection)
    }
}

impl Look for Inner {
    fn standing(&self, connection: ConnectionId) -> Standing {
        let is_paused = || {
            let connections = self.connections.lock().expect("nothing panics while it holds this");
            connections.get(&connection).is_some_and(|one| one.paused.is_some())
        };
        match self.lane(connection) {
            Some(lane) => lane.standing(self.clock.now()),
            None if is_paused() => Standing::Closed,
            None => Standing::Elsewhere,
        }
    }
}
