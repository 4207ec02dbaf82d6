//! Nodes: several processes that share one database, and which of them does what.
//!
//! Each node holds a lease, which the database's clock grants and ends. Who holds one may own connections: only the
//! owner of a connection has sessions with its carrier and submits on it. A node counts its own lease by a clock that
//! goes on while the machine sleeps, from before the moment at which it asked, and stops [`MARGIN_MS`] earlier than the
//! database would say; so it is silent before anybody takes over.

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

/// How many connections a node takes while others have none: the ceiling of an even spread.
pub const fn share(connections: usize, senders: usize) -> usize {
    if senders == 0 { 0 } else { connections.div_ceil(senders) }
}

/// How many of its `own` connections a node gives back, so that one that has fewer can have them: one at a time, and
/// only if that makes them more even.
pub fn surplus(own: usize, others: impl IntoIterator<Item = usize>) -> usize {
    usize::from(others.into_iter().min().is_some_and(|least| own > least + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn connections_are_spread_evenly_and_moved_only_if_that_helps() {
        // (connections, senders, share)
        for (connections, senders, expected) in [(5, 2, 3), (4, 2, 2), (1, 3, 1), (0, 3, 0), (3, 0, 0)] {
            assert_eq!(share(connections, senders), expected, "{connections} over {senders}");
        }
        // (own, others, surplus)
        for (own, others, expected) in
            [(3, vec![0], 1), (2, vec![1], 0), (1, vec![0], 0), (2, vec![2, 0], 1), (4, vec![], 0)]
        {
            assert_eq!(surplus(own, others.clone()), expected, "{own} beside {others:?}");
        }
    }
}
