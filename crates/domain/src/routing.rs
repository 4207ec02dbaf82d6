//! Which connection a message goes out on: the first rule that fits, in the order of the configuration; and of several
//! connections to one carrier the one on which it can go now.

use crate::account::Environment;
use crate::address::PhoneNumber;
use crate::hash;
use crate::id::ConnectionId;
use crate::sender::Sender;
use std::cmp::Reverse;

/// One connection as routing sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// The connection.
    pub connection: ConnectionId,
    /// What its carrier is called, if several connections lead to it.
    pub carrier: Option<String>,
    /// Messages of the other environment never come here.
    pub environment: Environment,
    /// Beginnings of recipients' numbers, digits without `+`; empty for all.
    pub prefixes: Vec<String>,
    /// Senders that this carrier lets us use, as printed; empty for all.
    pub senders: Vec<String>,
}

impl Route {
    /// Whether both are said to lead to the same carrier.
    pub fn shares_carrier(&self, other: &Self) -> bool {
        self.environment == other.environment && self.carrier.is_some() && self.carrier == other.carrier
    }
}

/// How a connection stands at this moment for who accepts a message: the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It is here and has room.
    Open,
    /// It is here, and something waits for it already.
    Busy,
    /// It is another node's: how it stands there is not known.
    Elsewhere,
    /// It is paused, or its link is down.
    Closed,
}

/// Who knows how connections stand.
pub trait Look: Sync {
    /// How this one stands at this moment.
    fn standing(&self, connection: ConnectionId) -> Standing;
}

impl<F: Fn(ConnectionId) -> Standing + Sync> Look for F {
    fn standing(&self, connection: ConnectionId) -> Standing {
        self(connection)
    }
}

/// Nobody does.
const fn unknown(_: ConnectionId) -> Standing {
    Standing::Elsewhere
}

/// All connections, and how they stand.
#[derive(Clone, Copy)]
pub struct Routes<'a> {
    /// In the order of the configuration.
    pub all: &'a [Route],
    /// Who knows that.
    pub look: &'a dyn Look,
}

impl<'a> Routes<'a> {
    /// These, of which nobody knows how they stand.
    pub const fn of(all: &'a [Route]) -> Self {
        Self { all, look: &unknown }
    }
}

/// The connection for a message, or `None` if no rule fits.
///
/// The longest fitting prefix wins; among equals the first in the list. A connection without prefixes takes what
/// nobody asked for by prefix. Where others that fit as well lead to the same carrier as that one, the one that stands best of
/// them takes the message, and those that stand the same share the recipients.
pub fn route(
    routes: Routes<'_>,
    environment: Environment,
    sender: &Sender,
    recipient: PhoneNumber,
) -> Option<ConnectionId> {
    let fits = || {
        let fitting = routes.all.iter().filter(|route| route.environment == environment);
        fitting.filter_map(|route| Some((fit(route, sender, recipient)?, route)))
    };
    let mut best: Option<(usize, &Route)> = None;
    for (length, candidate) in fits() {
        if best.is_none_or(|(longest, _)| length > longest) {
            best = Some((length, candidate));
        }
    }
    let (longest, first) = best?;
    if first.carrier.is_none() {
        return Some(first.connection);
    }
    let equals = fits().filter(|(length, route)| *length == longest && route.shares_carrier(first));
    let order = |connection: &ConnectionId| {
        let rank = hash::rank(&connection.key().to_be_bytes(), recipient.digits());
        (routes.look.standing(*connection), Reverse(rank))
    };
    equals.map(|(_, route)| route.connection).min_by_key(order)
}

/// Length of the longest fitting prefix; 0 where all recipients fit, `None` where the sender or the recipient does not.
fn fit(route: &Route, sender: &Sender, recipient: PhoneNumber) -> Option<usize> {
    if !route.senders.is_empty() && !route.senders.contains(&sender.to_string()) {
        return None;
    }
    if route.prefixes.is_empty() {
        return Some(0);
    }
    let printed = recipient.to_string();
    let digits = printed.trim_start_matches('+');
    route.prefixes.iter().filter(|prefix| digits.starts_with(prefix.as_str())).map(String::len).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_wins_and_environments_never_mix() {
        let route_to = |n, environment, prefixes: &[&str], senders: &[&str]| Route {
            connection: ConnectionId::from_key(n),
            carrier: None,
            environment,
            prefixes: prefixes.iter().map(|&p| p.to_owned()).collect(),
            senders: senders.iter().map(|&s| s.to_owned()).collect(),
        };
        let routes = [
            route_to(1, Environment::Test, &[], &[]),
            route_to(2, Environment::Live, &["1"], &["+15550001111"]),
            route_to(3, Environment::Live, &["46", "4670"], &[]),
            route_to(4, Environment::Live, &["467"], &[]),
            route_to(5, Environment::Live, &[], &[]),
        ];
        let sender = Sender::from_stored("+15550001111").expect("a sender");
        let check = |environment, to: &str, expected: Option<i64>| {
            let to = PhoneNumber::from_stored(to).expect("a number");
            assert_eq!(
                route(Routes::of(&routes), environment, &sender, to).map(ConnectionId::key),
                expected,
                "{to}"
            );
        };
        check(Environment::Test, "+46701234567", Some(1));
        check(Environment::Live, "+46701234567", Some(3));
        check(Environment::Live, "+46711234567", Some(4));
        check(Environment::Live, "+46811234567", Some(3));
        check(Environment::Live, "+15550002222", Some(2));
        check(Environment::Live, "+4915112345678", Some(5));
        assert_eq!(
            route(
                Routes::of(&routes[..4]),
                Environment::Live,
                &sender,
                PhoneNumber::from_stored("+4915112345678").expect("a number")
            ),
            None
        );
    }

    /// The connection for each of a thousand numbers, of routes with these prefixes and carriers.
    fn chosen(routes: &[(&[&str], &str)], standing: &[Standing]) -> Vec<usize> {
        let route = |(n, (prefixes, carrier)): (usize, &(&[&str], &str))| Route {
            connection: ConnectionId::from_key(n as i64 + 1),
            carrier: Some((*carrier).to_owned()).filter(|name| !name.is_empty()),
            environment: Environment::Live,
            prefixes: prefixes.iter().map(|&prefix| prefix.to_owned()).collect(),
            senders: Vec::new(),
        };
        let all: Vec<Route> = routes.iter().enumerate().map(route).collect();
        let sender = Sender::from_stored("+15550001111").expect("a sender");
        let look = |connection: ConnectionId| standing[connection.key() as usize - 1];
        let routes = Routes { all: &all, look: &look };
        let mut times = vec![0; all.len()];
        for n in 0..1_000 {
            let to = PhoneNumber::from_digits(46_701_000_000 + n).expect("a number");
            let chosen = route_of(routes, &sender, to);
            assert_eq!(chosen, route_of(routes, &sender, to), "it is the same each time");
            times[chosen.key() as usize - 1] += 1;
        }
        times
    }

    fn route_of(routes: Routes<'_>, sender: &Sender, to: PhoneNumber) -> ConnectionId {
        super::route(routes, Environment::Live, sender, to).expect("one fits")
    }

    #[test]
    fn connections_to_one_carrier_share_what_fits_them_equally() {
        use Standing::{Busy, Closed, Elsewhere, Open};
        const ALL: &[&str] = &[];
        for (routes, standing, expected) in [
            // Nobody said that they lead to one carrier: the first takes everything, however it stands.
            (vec![(ALL, ""), (ALL, "")], vec![Closed, Open], [true, false, false]),
            // The one that is here, and of two that are here the one that has room.
            (vec![(ALL, "north"), (ALL, "north")], vec![Elsewhere, Open], [false, true, false]),
            (vec![(ALL, "north"), (ALL, "north")], vec![Busy, Elsewhere], [true, false, false]),
            (
                vec![(ALL, "north"), (ALL, "north"), (ALL, "north")],
                vec![Busy, Closed, Open],
                [false, false, true],
            ),
            // What stands the same shares, also where nothing can go now.
            (
                vec![(ALL, "north"), (ALL, "north"), (ALL, "north")],
                vec![Open, Open, Busy],
                [true, true, false],
            ),
            (
                vec![(ALL, "north"), (ALL, "north"), (ALL, "north")],
                vec![Closed, Closed, Closed],
                [true, true, true],
            ),
            (vec![(ALL, "north"), (ALL, "north")], vec![Elsewhere, Elsewhere], [true, true, false]),
            // A longer prefix goes before, and a connection to another carrier does not help out.
            (vec![(ALL, "north"), (&["46"], "north")], vec![Open, Closed], [false, true, false]),
            (
                vec![(ALL, "north"), (ALL, "south"), (ALL, "north")],
                vec![Busy, Open, Elsewhere],
                [true, false, false],
            ),
            (
                vec![(&["46"], "north"), (&["4670"], "south"), (&["4670"], "south")],
                vec![Open, Closed, Busy],
                [false, false, true],
            ),
        ] {
            let times = chosen(&routes, &standing);
            let sharing = expected.iter().filter(|is_one| **is_one).count();
            for (n, times) in times.iter().enumerate() {
                let fair = if expected[n] { 1_000 / sharing } else { 0 };
                assert!(times.abs_diff(fair) <= 60, "{routes:?} {standing:?}: {times} of connection {n}");
            }
        }
    }
}
