//! What will happen later, in the order of its time, and of its coming where the times are the same.

use crate::ledger::Ms;
use std::collections::BTreeMap;

/// The queue.
#[derive(Debug)]
pub struct Later<T> {
    waiting: BTreeMap<(Ms, u64), T>,
    order: u64,
}

impl<T> Default for Later<T> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), order: 0 }
    }
}

impl<T> Later<T> {
    /// Puts something in.
    pub fn put(&mut self, at_ms: Ms, what: T) {
        self.order += 1;
        self.waiting.insert((at_ms, self.order), what);
    }

    /// The next whose time has come.
    pub fn due(&mut self, now_ms: Ms) -> Option<T> {
        let (&key, _) = self.waiting.first_key_value().filter(|((at_ms, _), _)| *at_ms <= now_ms)?;
        self.waiting.remove(&key)
    }

    /// When the next one is due.
    pub fn next_ms(&self) -> Option<Ms> {
        self.waiting.first_key_value().map(|((at_ms, _), _)| *at_ms)
    }

    /// Keeps those for which `wanted` says so.
    pub fn keep(&mut self, wanted: impl Fn(&T) -> bool) {
        self.waiting.retain(|_, what| wanted(what));
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
