//! What both databases keep of messages on their way: the row of a queue that a message has by its state, and how much of
//! the rows beside it is looked at. The model has a queue of its own: it is the second opinion.

use std::collections::BTreeMap;
use tidings_domain::id::ConnectionId;
use tidings_domain::message::{Message, State};
use tidings_domain::purpose::Purpose;
use tidings_domain::queue::{Paces, Queue};
use tidings_domain::time::Timestamp;

/// The lane of rows that are in no queue.
pub(crate) const LOOK_AGAIN: i64 = 0;

/// A clock that was set back by less than this while nothing ran does not hide what an earlier process had claimed.
pub(crate) const CLOCK_BACK_MS: i64 = 3_600_000;

/// Segments under one id that are looked at. A carrier that uses an id more often than this cannot be understood by it.
pub(crate) const CANDIDATES_MAX: usize = 50;

/// Rows of parked receipts that are forgotten at once, so that the search for the oldest pays.
pub(crate) const FORGOTTEN_AT_ONCE: usize = 1_000;

/// A row of `due`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due {
    pub lane: i64,
    pub due_at: i64,
}

/// The row of a message in this state, where these senders have a pace; none if it waits for nothing.
pub(crate) fn due_row(message: &Message, state: &State, paces: &Paces) -> Option<Due> {
    let at = state.wakes_at()?.as_millis();
    Some(Due {
        lane: if state.is_waiting() { paces.queue_of(message).key() } else { LOOK_AGAIN },
        due_at: at,
    })
}

/// The queue in which the row stands, if it stands in one.
pub(crate) fn queue_of(due: Option<Due>) -> Option<Queue> {
    due.map(|due| due.lane).filter(|lane| *lane != LOOK_AGAIN).map(Queue::from_key)
}

/// What waits for each connection, however many queues it has there.
#[derive(Debug, Default)]
pub(crate) struct Queues(BTreeMap<(ConnectionId, Purpose), (u64, Option<Timestamp>)>);

impl Queues {
    /// So much waits in this queue for this purpose, and the oldest became due then.
    pub(crate) fn add(&mut self, lane: i64, purpose: Purpose, waiting: u64, oldest: Option<Timestamp>) {
        let of = self.0.entry((Queue::from_key(lane).connection(), purpose)).or_default();
        of.0 += waiting;
        of.1 = [of.1, oldest].into_iter().flatten().min();
    }

    /// By connection and purpose.
    pub(crate) fn of_connections(self) -> Vec<(ConnectionId, Purpose, u64, Option<Timestamp>)> {
        let all = self.0.into_iter();
        all.map(|((connection, purpose), (waiting, oldest))| (connection, purpose, waiting, oldest)).collect()
    }
}
