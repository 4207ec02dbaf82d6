//! What both databases keep of messages on their way: the row of a queue that a message has by its state, and how much of
//! the rows beside it is looked at. The model has a queue of its own: it is the second opinion.

use tidings_domain::message::{Message, State};

/// The lane of rows that are not in a connection's queue.
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

/// The row of a message in this state; none if it waits for nothing.
pub(crate) fn due_row(message: &Message, state: &State) -> Option<Due> {
    let at = state.wakes_at()?.as_millis();
    Some(Due { lane: if state.is_waiting() { message.connection.key() } else { LOOK_AGAIN }, due_at: at })
}

/// The connection in whose queue the row stands, if it stands in one.
pub(crate) fn queue_of(due: Option<Due>) -> Option<i64> {
    due.map(|due| due.lane).filter(|lane| *lane != LOOK_AGAIN)
}
