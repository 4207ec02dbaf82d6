//! What will happen later, in the order of its time: one queue for everything a simulated carrier still owes, so that
//! a message in flight costs an entry and not a task.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

#[derive(Debug)]
struct Entry<T> {
    at_ms: u64,
    /// Of two at the same time, the first one put in comes out first.
    order: u64,
    what: T,
}

/// The queue.
#[derive(Debug)]
pub(crate) struct Later<T> {
    heap: BinaryHeap<Entry<T>>,
    order: u64,
}

impl<T> Later<T> {
    pub fn new() -> Self {
        Self { heap: BinaryHeap::new(), order: 0 }
    }

    pub fn put(&mut self, at_ms: u64, what: T) {
        self.order += 1;
        self.heap.push(Entry { at_ms, order: self.order, what });
    }

    /// The next whose time has come.
    pub fn due(&mut self, now_ms: u64) -> Option<T> {
        if self.heap.peek()?.at_ms > now_ms {
            return None;
        }
        self.heap.pop().map(|entry| entry.what)
    }

    /// When the next one is due.
    pub fn next_ms(&self) -> Option<u64> {
        self.heap.peek().map(|entry| entry.at_ms)
    }

    /// Takes out those for which `wanted` says so, in order, each with its time.
    pub fn take(&mut self, wanted: impl Fn(&T) -> bool) -> Vec<(u64, T)> {
        let entries = std::mem::take(&mut self.heap).into_sorted_vec();
        let mut taken = Vec::new();
        // Sorted by a reversed order: the latest comes first.
        for entry in entries.into_iter().rev() {
            if wanted(&entry.what) {
                taken.push((entry.at_ms, entry.what));
            } else {
                self.heap.push(entry);
            }
        }
        taken
    }
}

// Reversed, so that the heap's greatest is the earliest.
impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at_ms, other.order).cmp(&(self.at_ms, self.order))
    }
}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Entry<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_come_out_in_the_order_of_their_time_and_of_their_coming() {
        let mut later = Later::new();
        for (at_ms, what) in [(5, "c"), (1, "a"), (5, "d"), (3, "b")] {
            later.put(at_ms, what);
        }
        assert_eq!(later.next_ms(), Some(1));
        assert_eq!((later.due(0), later.due(1), later.due(2)), (None, Some("a"), None));
        assert_eq!(later.take(|&what| what != "c"), [(3, "b"), (5, "d")]);
        assert_eq!((later.due(9), later.due(9), later.next_ms()), (Some("c"), None, None));
    }
}
