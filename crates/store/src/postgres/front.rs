//! Where the queues begin.
//!
//! What leaves a queue is not gone from its table while anybody's transaction may still look at it: with one that stays
//! open for an hour, an hour's worth of entries that nobody sees lies before the first that counts, and each claim would
//! walk over all of it again. So it is remembered how far each queue was found empty. That is exact: whatever is put
//! before that place moves it back, also what is being committed while somebody looks, and what other nodes tell.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// A part of a table that is read from its beginning, in the order of one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Queue {
    /// Rows of `due` of this lane and priority, by the time at which they are due.
    Lane(i64, i16),
    /// Rows of `due` that expire, by that time.
    Expiry,
    /// Open deliveries of this endpoint, by the time at which they are due.
    Endpoint(i64),
}

/// The fronts of all queues.
#[derive(Debug, Default)]
pub(super) struct Fronts(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Nothing stands before these. What is not here is not known.
    fronts: HashMap<Queue, i64>,
    /// What is being committed now.
    coming: HashMap<Queue, i64>,
    /// What was put into queues since each of these began to look.
    looks: HashMap<u64, HashMap<Queue, i64>>,
    next_look: u64,
    /// Whether each endpoint with open deliveries has a front.
    all_endpoints: bool,
}

fn put(fronts: &mut HashMap<Queue, i64>, queue: Queue, at: i64) {
    let front = fronts.entry(queue).or_insert(at);
    *front = (*front).min(at);
}

impl Fronts {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics while it holds this")
    }

    /// To be called before these are committed, by the one who writes.
    pub fn coming(&self, all: impl IntoIterator<Item = (Queue, i64)>) {
        let mut state = self.state();
        for (queue, at) in all {
            put(&mut state.coming, queue, at);
            state.note(queue, at);
        }
    }

    /// The commit is done, or will never be.
    pub fn came(&self) {
        self.state().coming.clear();
    }

    /// Somebody else has committed this.
    pub fn heard(&self, queue: Queue, at: i64) {
        self.state().note(queue, at);
    }

    /// Nothing is known any more.
    pub fn forget(&self) {
        let mut state = self.state();
        state.fronts.clear();
        state.all_endpoints = false;
        // Who looks now may have begun before what nobody told us.
        state.looks.clear();
    }

    /// Begins to look at queues: before the question is sent.
    pub fn look(self: &Arc<Self>) -> Look {
        let mut state = self.state();
        let number = state.next_look;
        state.next_look += 1;
        let coming = state.coming.clone();
        state.looks.insert(number, coming);
        Look { fronts: Arc::clone(self), number }
    }

    /// The endpoints that have a front, with it, if these are all with open deliveries.
    pub fn endpoints(&self) -> Option<Vec<(i64, i64)>> {
        let state = self.state();
        let known = state.fronts.iter().filter_map(|(queue, front)| match queue {
            Queue::Endpoint(endpoint) => Some((*endpoint, *front)),
            Queue::Lane(..) | Queue::Expiry => None,
        });
        state.all_endpoints.then(|| known.collect())
    }
}

impl State {
    fn note(&mut self, queue: Queue, at: i64) {
        // A queue that is not known may hold earlier things; an endpoint is known by all of its deliveries.
        if let Some(front) = self.fronts.get_mut(&queue) {
            *front = (*front).min(at);
        } else if matches!(queue, Queue::Endpoint(_)) && self.all_endpoints {
            self.fronts.insert(queue, at);
        }
        for look in self.looks.values_mut() {
            put(look, queue, at);
        }
    }
}

/// One look at some queues.
pub(super) struct Look {
    fronts: Arc<Fronts>,
    number: u64,
}

impl Look {
    /// The place from which to look.
    pub fn front(&self, queue: Queue) -> i64 {
        self.fronts.state().fronts.get(&queue).copied().unwrap_or(i64::MIN)
    }

    /// Nothing was found before `at`; `None` if nothing was found at all.
    pub fn found(&self, queue: Queue, at: Option<i64>) {
        let mut state = self.fronts.state();
        let Some(since) = state.looks.get(&self.number) else { return };
        let at = since.get(&queue).copied().unwrap_or(i64::MAX).min(at.unwrap_or(i64::MAX));
        let front = state.fronts.entry(queue).or_insert(i64::MIN);
        *front = (*front).max(at);
    }

    /// These are all endpoints that have open deliveries, with the earliest of each.
    pub fn found_endpoints(&self, all: &[(i64, i64)]) {
        let mut state = self.fronts.state();
        let Some(since) = state.looks.get(&self.number).cloned() else { return };
        state.all_endpoints = true;
        for (queue, at) in since.into_iter().filter(|(queue, _)| matches!(queue, Queue::Endpoint(_))) {
            put(&mut state.fronts, queue, at);
        }
        drop(state);
        for (endpoint, at) in all {
            self.found(Queue::Endpoint(*endpoint), Some(*at));
        }
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        self.fronts.state().looks.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: Queue = Queue::Lane(1, 2);

    #[test]
    fn a_front_moves_on_with_what_is_found_and_back_with_what_is_put_before_it() {
        let fronts = Arc::new(Fronts::default());
        let front = || fronts.look().front(LINE);
        assert_eq!(front(), i64::MIN);
        fronts.look().found(LINE, Some(50));
        assert_eq!(front(), 50);
        fronts.coming([(LINE, 60)]);
        fronts.came();
        assert_eq!(front(), 50);
        fronts.heard(LINE, 40);
        assert_eq!(front(), 40);
        fronts.look().found(LINE, None);
        assert_eq!(front(), i64::MAX);
        fronts.coming([(LINE, 70)]);
        assert_eq!(front(), 70);
    }

    #[test]
    fn what_is_committed_while_somebody_looks_is_not_passed_over() {
        let fronts = Arc::new(Fronts::default());
        // It began before the look and is not seen by it.
        fronts.coming([(LINE, 10)]);
        let look = fronts.look();
        fronts.came();
        look.found(LINE, Some(90));
        drop(look);
        assert_eq!(fronts.look().front(LINE), 10);
        // It began after the look.
        fronts.look().found(LINE, Some(90));
        let look = fronts.look();
        fronts.coming([(LINE, 20)]);
        fronts.came();
        look.found(LINE, None);
        drop(look);
        assert_eq!(fronts.look().front(LINE), 20);
        // Nobody knows what there was.
        let look = fronts.look();
        fronts.forget();
        look.found(LINE, Some(90));
        drop(look);
        assert_eq!(fronts.look().front(LINE), i64::MIN);
    }

    #[test]
    fn endpoints_are_known_once_all_were_looked_for() {
        let fronts = Arc::new(Fronts::default());
        fronts.coming([(Queue::Endpoint(1), 5)]);
        fronts.came();
        assert_eq!(fronts.endpoints(), None);
        let look = fronts.look();
        fronts.coming([(Queue::Endpoint(2), 7)]);
        fronts.came();
        look.found_endpoints(&[(1, 5)]);
        drop(look);
        let mut known = fronts.endpoints().expect("all were looked for");
        known.sort_unstable();
        assert_eq!(known, [(1, 5), (2, 7)]);
        fronts.heard(Queue::Endpoint(3), 9);
        assert_eq!(fronts.endpoints().map(|known| known.len()), Some(3));
    }
}
