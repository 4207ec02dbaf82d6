//! Where messages wait to be sent: in the queue of their connection or, where their sender has a pace of its own, in one
//! beside it. So what waits for a slow sender is in nobody's way, and keeps its order.

use crate::hash::fnv1a;
use crate::id::ConnectionId;
use crate::message::Message;
use crate::sender::Sender;
use std::collections::BTreeMap;

/// Numbers of connections are below this; what is above them in the number of a queue is that of a sender.
pub const CONNECTIONS: i64 = 1 << 32;

/// A queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Queue(i64);

impl Queue {
    /// That of a connection.
    pub const fn of(connection: ConnectionId) -> Self {
        Self(connection.key())
    }

    /// That of a sender beside it. Two senders of one connection share a queue once in two thousand million pairs, and then
    /// share the slower of their paces.
    pub fn of_sender(connection: ConnectionId, sender: &Sender) -> Self {
        let number = ((fnv1a(sender.to_string().as_bytes()) >> 33) as i64).max(1);
        Self(number * CONNECTIONS + connection.key())
    }

    /// The connection on which its messages go out.
    pub const fn connection(self) -> ConnectionId {
        ConnectionId::from_key(self.0 % CONNECTIONS)
    }

    /// Its number in the store: never 0.
    pub const fn key(self) -> i64 {
        self.0
    }

    /// From its number in the store.
    pub const fn from_key(key: i64) -> Self {
        Self(key)
    }
}

/// The senders that have a pace of their own.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Paces(BTreeMap<Sender, f64>);

impl Paces {
    /// These, with their segments per second on each connection.
    pub fn new(paces: impl IntoIterator<Item = (Sender, f64)>) -> Self {
        Self(paces.into_iter().collect())
    }

    /// The queue in which a message from this sender waits for this connection. An answer to what somebody wrote waits in that of
    /// the connection: behind all that waits for its sender it would be too late, and it is one message for each that came.
    pub fn queue(&self, connection: ConnectionId, sender: &Sender, is_answer: bool) -> Queue {
        match self.0.contains_key(sender) && !is_answer {
            true => Queue::of_sender(connection, sender),
            false => Queue::of(connection),
        }
    }

    /// The queue in which this message waits.
    pub fn queue_of(&self, message: &Message) -> Queue {
        self.queue(message.connection, &message.sender, message.reply.is_some())
    }

    /// What these make of the queues of a connection: each with the segments per second that may go from it.
    pub fn of(&self, connection: ConnectionId) -> BTreeMap<Queue, f64> {
        let mut queues = BTreeMap::new();
        for (sender, per_s) in &self.0 {
            let slowest = queues.entry(Queue::of_sender(connection, sender)).or_insert(*per_s);
            *slowest = per_s.min(*slowest);
        }
        queues
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sender(text: &str) -> Sender {
        Sender::parse(text, None, crate::account::Environment::Test).expect("a sender")
    }

    #[test]
    fn who_has_a_pace_has_a_queue_beside_that_of_the_connection() {
        let connection = ConnectionId::from_key(3);
        let paces = Paces::new([(sender("Slow"), 1.0), (sender("+12125551234"), 0.5)]);
        assert_eq!(paces.queue(connection, &sender("Fast"), false), Queue::of(connection));
        let slow = paces.queue(connection, &sender("Slow"), false);
        assert_ne!(slow, Queue::of(connection));
        assert_ne!(slow, paces.queue(connection, &sender("+12125551234"), false));
        assert_ne!(slow, paces.queue(ConnectionId::from_key(4), &sender("Slow"), false));
        assert_eq!(paces.queue(connection, &sender("Slow"), true), Queue::of(connection));
        assert_eq!(paces.of(connection).get(&slow), Some(&1.0));
        // What is in a store stays there: the number must never change.
        assert_eq!(slow.key(), 5_246_423_163_335_606_275);
    }

    proptest! {
        #[test]
        fn a_queue_knows_its_connection(key in 1_i64..i64::from(u32::MAX), name in "[A-Za-z]{1,11}") {
            let connection = ConnectionId::from_key(key);
            let queue = Queue::of_sender(connection, &sender(&name));
            prop_assert_eq!((queue.connection(), Queue::of(connection).connection()), (connection, connection));
            prop_assert!(queue.key() > 0 && queue != Queue::of(connection));
            prop_assert_eq!(Queue::from_key(queue.key()), queue);
        }
    }
}
