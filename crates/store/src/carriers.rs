//! Which connections lead to the same carrier: a receipt that comes on one of them is looked for among the messages of all.

use std::collections::BTreeMap;
use std::sync::RwLock;
use tidings_domain::account::Environment;
use tidings_domain::hash::fnv1a;
use tidings_domain::id::ConnectionId;
use tidings_domain::receipt::{self, Receipt};

/// What the configuration says of that. Told once the connections have their ids, and before anything is advanced.
#[derive(Debug, Default)]
pub struct Carriers(RwLock<BTreeMap<ConnectionId, i64>>);

impl Carriers {
    /// From here on connections of one environment share their receipts whose carrier is called the same.
    pub fn set<'n>(&self, called: impl IntoIterator<Item = (ConnectionId, Environment, &'n str)>) {
        let lines = called.into_iter().map(|(id, environment, name)| (id, number(environment, name)));
        *self.0.write().expect("nothing panics while it holds this") = lines.collect();
    }

    /// Under which numbers the receipts of this connection are.
    pub(crate) fn lines(&self, connection: ConnectionId) -> Lines {
        let own = connection.key();
        let carriers = self.0.read().expect("nothing panics while it holds this");
        match carriers.get(&connection) {
            Some(carrier) => Lines { filed: *carrier, before: Some(own) },
            None => Lines { filed: own, before: None },
        }
    }
}

/// The number of a carrier by its name, so that it stays the same whichever connections lead there. Those of connections are
/// above 0.
fn number(environment: Environment, name: &str) -> i64 {
    -1 - (fnv1a(format!("{}/{name}", environment.as_str()).as_bytes()) >> 1) as i64
}

/// Where the receipts of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lines {
    /// Where they are filed: those that are expected, and those that came early.
    pub filed: i64,
    /// Where they were filed before its carrier had a name.
    before: Option<i64>,
}

impl Lines {
    /// The forms under which the segment of a receipt may be kept, the likeliest first.
    pub fn forms(self, receipt: &Receipt) -> impl Iterator<Item = (i64, String)> {
        receipt::forms(receipt).flat_map(move |form| {
            let before = self.before.map(|line| (line, form.clone()));
            std::iter::once((self.filed, form)).chain(before)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_carrier_never_changes() {
        // What is in a store stays there.
        let north = -7_004_672_918_146_730_690;
        assert_eq!(number(Environment::Live, "north"), north);
        assert_ne!(number(Environment::Test, "north"), north);
        assert!(["", "a", "north-2"].iter().all(|name| number(Environment::Live, name) < 0));
    }
}
