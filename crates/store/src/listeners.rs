//! Who wants to hear of events, as a writer remembers it: most events are asked for nobody, and asking the database
//! for each would be a query for each.

use crate::backend::Endpoint;
use std::collections::HashMap;
use tidings_domain::account::Realm;
use tidings_domain::event::Kind;
use tidings_domain::id::EndpointId;

/// The endpoints that are switched on.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    by_realm: HashMap<Realm, Vec<(EndpointId, u32)>>,
    on: HashMap<EndpointId, bool>,
}

impl Listeners {
    /// Of these endpoints.
    pub fn new(endpoints: &[Endpoint]) -> Self {
        let mut listeners = Self::default();
        for endpoint in endpoints {
            if endpoint.disabled.is_some() {
                continue;
            }
            listeners.on.insert(endpoint.id, endpoint.failing_since.is_some());
            if !endpoint.callback_only {
                listeners.by_realm.entry(endpoint.realm).or_default().push((endpoint.id, endpoint.kinds));
            }
        }
        listeners
    }

    /// The endpoints that an event goes to: those of its realm that want its kind, and the message's own.
    pub fn of(
        &self,
        realm: Realm,
        kind: Kind,
        callback: Option<EndpointId>,
    ) -> impl Iterator<Item = EndpointId> + '_ {
        let wanted = self.by_realm.get(&realm).into_iter().flatten();
        let wanted =
            wanted.filter(move |(_, kinds)| *kinds == 0 || kinds & kind.bit() != 0).map(|(id, _)| *id);
        wanted.chain(callback.filter(|id| self.is_on(*id)))
    }

    /// Whether it is switched on.
    pub fn is_on(&self, id: EndpointId) -> bool {
        self.on.contains_key(&id)
    }

    /// Whether its last call failed. One that is not known counts as failing: whoever asks looks closer then.
    pub fn is_failing(&self, id: EndpointId) -> bool {
        self.on.get(&id).copied().unwrap_or(true)
    }
}
