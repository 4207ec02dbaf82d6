//! Nodes: several processes that share one database, and which of them does what.
//!
//! Each node holds a lease, which the database's clock grants and ends. Who holds one may own connections: only the
//! owner of a connection has sessions with its carrier and submits on it. A node counts its own lease by a clock that
//! goes on while the machine sleeps, from before the moment at which it asked, and stops [`MARGIN_MS`] earlier than the
//! database would say; so it is silent before anybody takes over.

use crate::id::ConnectionId;

/// How long a lease lasts.
pub const LEASE_MS: i64 = 15_000;
/// How often it is renewed.
pub const RENEW_MS: i64 = 5_000;
/// By how much a node stops submitting before its lease ends: longer than a submission takes from the last look at the
/// lease to the wire, and than two clocks part in one lease.
pub const MARGIN_MS: i64 = 5_000;
/// The most nodes over the life of ids: numbers are 0 to 511, and each start takes the next. Those above make the ids of
/// commands.
pub const NUMBERS: u16 = 512;

/// What a node is for. A node may be for several of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// It answers programs.
    pub api: bool,
    /// It owns connections and submits on them.
    pub send: bool,
    /// It calls webhooks.
    pub webhook: bool,
}

impl Roles {
    /// All of them.
    pub const ALL: Self = Self { api: true, send: true, webhook: true };

    /// Reads `api,send,webhook` or a part of that, in any order.
    ///
    /// # Errors
    /// The word that is no role, or an empty list.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut roles = Self { api: false, send: false, webhook: false };
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match word {
                "api" => roles.api = true,
                "send" => roles.send = true,
                "webhook" => roles.webhook = true,
                other => return Err(format!("{other:?} is no role: choose from api, send, webhook")),
            }
        }
        if roles == (Self { api: false, send: false, webhook: false }) {
            return Err("a node needs a role: api, send or webhook".to_owned());
        }
        Ok(roles)
    }

    /// As bits, for storing.
    pub const fn bits(self) -> i16 {
        self.api as i16 | (self.send as i16) << 1 | (self.webhook as i16) << 2
    }

    /// From [`Roles::bits`].
    pub const fn from_bits(bits: i16) -> Self {
        Self { api: bits & 1 != 0, send: bits & 2 != 0, webhook: bits & 4 != 0 }
    }
}

impl std::fmt::Display for Roles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words = [(self.api, "api"), (self.send, "send"), (self.webhook, "webhook")];
        let mut said = false;
        for word in words.into_iter().filter(|(has, _)| *has).map(|(_, word)| word) {
            f.write_str(if said { "," } else { "" })?;
            f.write_str(word)?;
            said = true;
        }
        Ok(())
    }
}

/// Until when a node may submit, on its own clock: what it noted before it asked for the lease, and how long that is.
pub const fn silent_from(noted_ms: i64, lease_ms: i64) -> i64 {
    noted_ms.saturating_add(lease_ms - MARGIN_MS)
}

/// Another node that may send, as the database sees it, if it renewed its lease lately: see [`is_prompt`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// How many connections it owns.
    pub owned: usize,
    /// Those that it has in its configuration.
    pub able: Vec<ConnectionId>,
}

/// Whether a node whose lease lasts so much longer can be counted on to take what is left for it: it missed no more than
/// one renewal.
pub const fn is_prompt(lease_left_ms: i64) -> bool {
    lease_left_ms >= LEASE_MS - 2 * RENEW_MS
}

/// Which of the connections that nobody owns a node takes, who has `own` already: all that no other with fewer could take. So
/// whoever gave one back does not take it again before the one for whom it is.
pub fn takes(own: usize, free: impl IntoIterator<Item = ConnectionId>, peers: &[Peer]) -> Vec<ConnectionId> {
    let mut taken = Vec::new();
    for id in free {
        let has_fewer = |peer: &Peer| peer.owned < own + taken.len() && peer.able.contains(&id);
        if !peers.iter().any(has_fewer) {
            taken.push(id);
        }
    }
    taken
}

/// Which of its `own` connections a node should give back one of: those that another could take and that make the two more
/// even.
pub fn spare(own: &[ConnectionId], peers: &[Peer]) -> Vec<ConnectionId> {
    let helps =
        |id: &ConnectionId| peers.iter().any(|peer| peer.owned + 1 < own.len() && peer.able.contains(id));
    own.iter().copied().filter(helps).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn roles_are_read_written_and_stored() {
        for text in ["api,send,webhook", "api", "send,webhook", "webhook"] {
            let roles = Roles::parse(text).expect("these are roles");
            assert_eq!(roles.to_string(), text);
            assert_eq!(Roles::from_bits(roles.bits()), roles);
        }
        assert_eq!(Roles::parse(" send , api ").expect("order does not matter").to_string(), "api,send");
        assert!(Roles::parse("").is_err() && Roles::parse("api,web").is_err());
    }

    #[test]
    fn a_node_is_silent_before_its_lease_ends() {
        // (noted, lease, silent from)
        for (noted, lease, expected) in
            [(0, LEASE_MS, LEASE_MS - MARGIN_MS), (7_000, 15_000, 17_000), (i64::MAX, 15_000, i64::MAX)]
        {
            assert_eq!(silent_from(noted, lease), expected, "{noted} and {lease}");
        }
    }

    fn peer(owned: usize, able: impl IntoIterator<Item = i64>) -> Peer {
        Peer { owned, able: ids(able) }
    }

    fn ids(keys: impl IntoIterator<Item = i64>) -> Vec<ConnectionId> {
        keys.into_iter().map(ConnectionId::from_key).collect()
    }

    #[test]
    fn what_is_free_is_left_to_who_has_fewer() {
        let all = || 1..=9;
        for (own, free, peers, expected) in [
            (0, vec![1, 2, 3], vec![], vec![1, 2, 3]),
            (0, vec![1, 2, 3], vec![peer(0, all())], vec![1]),
            (1, vec![3], vec![peer(0, all()), peer(2, all())], vec![]),
            (1, vec![3], vec![peer(1, all())], vec![3]),
            // Who does not know it cannot take it.
            (1, vec![3, 4], vec![peer(0, [4])], vec![3]),
        ] {
            assert_eq!(takes(own, ids(free.clone()), &peers), ids(expected), "{own} {free:?} {peers:?}");
        }
    }

    #[test]
    fn what_another_could_take_is_given_back_if_that_makes_them_more_even() {
        for (own, peers, expected) in [
            (vec![1, 2, 3], vec![peer(0, 1..=9)], vec![1, 2, 3]),
            (vec![1, 2], vec![peer(1, 1..=9)], vec![]),
            (vec![1, 2], vec![peer(2, 1..=9), peer(0, [2])], vec![2]),
            (vec![1], vec![peer(0, 1..=9)], vec![]),
            (vec![1, 2, 3], vec![], vec![]),
        ] {
            assert_eq!(spare(&ids(own.clone()), &peers), ids(expected), "{own:?} {peers:?}");
        }
    }

    proptest! {
        /// In whatever order nodes come to it, they come to rest: everything that anybody can take is taken, and nobody has two
        /// more than another who could have one of them.
        #[test]
        fn nodes_come_to_rest(
            ables in proptest::collection::vec(proptest::collection::btree_set(0_i64..6, 0..=6), 1..5),
            turns in proptest::collection::vec(0_usize..5, 40..41),
        ) {
            let mut owned: Vec<Vec<ConnectionId>> = vec![Vec::new(); ables.len()];
            let turn = |owned: &mut Vec<Vec<ConnectionId>>, n: usize| {
                let peers: Vec<Peer> = (0..ables.len())
                    .filter(|other| *other != n)
                    .map(|other| peer(owned[other].len(), ables[other].iter().copied()))
                    .collect();
                let free = ids(ables[n].iter().copied().filter(|id| {
                    !owned.iter().flatten().any(|taken| taken.key() == *id)
                }));
                let taken = takes(owned[n].len(), free, &peers);
                let given = spare(&owned[n], &peers).first().copied();
                owned[n].retain(|id| Some(*id) != given);
                owned[n].extend(&taken);
                !taken.is_empty() || given.is_some()
            };
            for n in turns {
                turn(&mut owned, n % ables.len());
            }
            let mut rounds = 0;
            while (0..ables.len()).map(|n| turn(&mut owned, n)).filter(|moved| *moved).count() > 0 {
                rounds += 1;
                prop_assert!(rounds < 40, "{owned:?} of {ables:?}");
            }
            for id in ables.iter().flatten() {
                prop_assert!(owned.iter().flatten().any(|taken| taken.key() == *id), "{id} is nobody's: {owned:?}");
            }
        }
    }
}
