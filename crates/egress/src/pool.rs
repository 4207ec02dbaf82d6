//! Kept connections and turns: how many requests may be under way to one receiver, and which connection the next one
//! takes.
//!
//! Every bound here is per receiver (scheme, host, port) first, so that a receiver that never answers fills its own
//! places and nobody else's. The last used connection is taken first, so that spare ones grow old and are closed.
//!
//! It opens nothing and sends nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};

use crate::client::Limits;
use crate::connection::Connection;
use crate::target::Origin;

/// A connection is not used again after this time, so that a receiver that moves to another address is followed.
const KEPT_AGE_MAX: Duration = Duration::from_secs(300);

/// However short the idle timeout is, sweeping is not what the process does.
const SWEEP_PAUSE_MIN: Duration = Duration::from_millis(100);

pub(crate) struct Pool {
    limits: Limits,
    all_turns: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    places: HashMap<Arc<Origin>, Place>,
    idle: usize,
    sweeping: bool,
}

/// One receiver.
struct Place {
    turns: Arc<Semaphore>,
    idle: Vec<Idle>,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

/// The right to have one request under way; given back when dropped.
pub(crate) struct Turn {
    _of_all: OwnedSemaphorePermit,
    _of_place: OwnedSemaphorePermit,
}

impl Pool {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        let all_turns = Arc::new(Semaphore::new(limits.requests_max.min(Semaphore::MAX_PERMITS)));
        Arc::new(Self { limits, all_turns, state: Mutex::default() })
    }

    /// Waits until a request to `origin` may be under way, first come first served.
    pub(crate) async fn turn(self: &Arc<Self>, origin: &Arc<Origin>) -> Turn {
        let turns = self.turns_of(origin);
        // The receiver's own turn first: whoever waits for a slow receiver holds no turn of everybody's.
        let of_place = turns.acquire_owned().await.expect("the pool never closes its turns");
        let of_all =
            Arc::clone(&self.all_turns).acquire_owned().await.expect("the pool never closes its turns");
        Turn { _of_all: of_all, _of_place: of_place }
    }

    /// A kept connection that looks alive, the last used one first.
    pub(crate) fn take(&self, origin: &Origin) -> Option<Connection> {
        let now = Instant::now();
        let mut state = self.lock();
        let State { places, idle, .. } = &mut *state;
        let place = places.get_mut(origin)?;
        while let Some(kept) = place.idle.pop() {
            *idle -= 1;
            if self.is_usable(&kept, now) {
                return Some(kept.connection);
            }
        }
        None
    }

    /// Keeps a connection whose last response was read to its end.
    pub(crate) fn keep(&self, origin: &Arc<Origin>, connection: Connection) {
        let kept = Idle { connection, since: Instant::now() };
        let mut state = self.lock();
        let State { places, idle, .. } = &mut *state;
        if *idle < self.limits.idle_connections_max
            && self.is_usable(&kept, kept.since)
            && let Some(place) = places.get_mut(origin)
        {
            place.idle.push(kept);
            *idle += 1;
        }
    }

    fn is_usable(&self, kept: &Idle, now: Instant) -> bool {
        !kept.connection.sender.is_closed()
            && now.duration_since(kept.since) < self.limits.idle_timeout
            && now.duration_since(kept.connection.opened_at) < KEPT_AGE_MAX
    }

    fn turns_of(self: &Arc<Self>, origin: &Arc<Origin>) -> Arc<Semaphore> {
        let mut state = self.lock();
        if let Some(place) = state.places.get(origin) {
            return Arc::clone(&place.turns);
        }
        let turns =
            Arc::new(Semaphore::new(self.limits.requests_per_receiver_max.min(Semaphore::MAX_PERMITS)));
        state.places.insert(Arc::clone(origin), Place { turns: Arc::clone(&turns), idle: Vec::new() });
        if !state.sweeping {
            state.sweeping = true;
            tokio::spawn(sweep(Arc::downgrade(self), self.limits.idle_timeout));
        }
        turns
    }

    /// Closes what has grown old and forgets receivers nobody calls. False when nothing is left to watch.
    fn close_old(&self) -> bool {
        let now = Instant::now();
        let mut state = self.lock();
        let mut idle = 0;
        state.places.retain(|_, place| {
            place.idle.retain(|kept| self.is_usable(kept, now));
            idle += place.idle.len();
            // A second owner is a request under way or one that waits.
            !place.idle.is_empty() || Arc::strong_count(&place.turns) > 1
        });
        state.idle = idle;
        state.sweeping = !state.places.is_empty();
        state.sweeping
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Counts and lists are whole after every statement, so a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs while there is a receiver to watch, and ends with the pool.
async fn sweep(pool: Weak<Pool>, idle_timeout: Duration) {
    loop {
        sleep((idle_timeout / 2).max(SWEEP_PAUSE_MIN)).await;
        let Some(pool) = pool.upgrade() else { return };
        if !pool.close_old() {
            return;
        }
    }
}
