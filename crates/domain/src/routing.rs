//! Which connection a message goes out on: the first rule that fits, in the order of the configuration.

use crate::account::Environment;
use crate::address::PhoneNumber;
use crate::id::ConnectionId;
use crate::sender::Sender;

/// One connection as routing sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// The connection.
    pub connection: ConnectionId,
    /// Messages of the other environment never come here.
    pub environment: Environment,
    /// Beginnings of recipients' numbers, digits without `+`; empty for all.
    pub prefixes: Vec<String>,
    /// Senders that this carrier lets us use, as printed; empty for all.
    pub senders: Vec<String>,
}

/// The connection for a message, or `None` if no rule fits.
///
/// The longest fitting prefix wins; among equals the first in the list. A connection without prefixes takes what
/// nobody asked for by prefix.
pub fn route(
    routes: &[Route],
    environment: Environment,
    sender: &Sender,
    recipient: PhoneNumber,
) -> Option<ConnectionId> {
    let mut best: Option<(usize, ConnectionId)> = None;
    for candidate in routes.iter().filter(|r| r.environment == environment) {
        if !candidate.senders.is_empty() {
            let from = sender.to_string();
            if !candidate.senders.contains(&from) {
                continue;
            }
        }
        let Some(length) = fit(candidate, recipient) else { continue };
        if best.is_none_or(|(longest, _)| length > longest) {
            best = Some((length, candidate.connection));
        }
    }
    best.map(|(_, connection)| connection)
}

/// Length of the longest fitting prefix; 0 where all recipients fit.
fn fit(route: &Route, recipient: PhoneNumber) -> Option<usize> {
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
            assert_eq!(route(&routes, environment, &sender, to).map(ConnectionId::key), expected, "{to}");
        };
        check(Environment::Test, "+46701234567", Some(1));
        check(Environment::Live, "+46701234567", Some(3));
        check(Environment::Live, "+46711234567", Some(4));
        check(Environment::Live, "+46811234567", Some(3));
        check(Environment::Live, "+15550002222", Some(2));
        check(Environment::Live, "+4915112345678", Some(5));
        assert_eq!(
            route(
                &routes[..4],
                Environment::Live,
                &sender,
                PhoneNumber::from_stored("+4915112345678").expect("a number")
            ),
            None
        );
    }
}
