//! Sums to which many operations add, in one row each: what went of the day of a sender, what an account spent. A row is read
//! once and known from then on, while nobody else writes; what was added is written once a transaction.

use std::collections::{BTreeMap, BTreeSet};
use tidings_domain::id::AccountId;
use tidings_domain::quota::Count;
use tidings_domain::spend::Period;
use tidings_domain::time::Timestamp;

/// Sums that are known at most: far more than senders and accounts have days.
const KNOWN_MAX: usize = 10_000;

/// Sums of one kind, by what they are sums of.
#[derive(Debug)]
pub(crate) struct Tally<K> {
    known: BTreeMap<K, u64>,
    /// Which of them are to be written.
    changed: BTreeSet<K>,
}

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self { known: BTreeMap::new(), changed: BTreeSet::new() }
    }
}

impl<K: Ord + Clone> Tally<K> {
    /// A sum, with what this transaction added; `None` if it is not known.
    pub fn get(&self, key: &K) -> Option<u64> {
        self.known.get(key).copied()
    }

    /// So it is stored. What is known already may have more, and stays.
    pub fn read(&mut self, key: K, sum: u64) {
        self.known.entry(key).or_insert(sum);
    }

    /// So it is from here on.
    pub fn set(&mut self, key: &K, sum: u64) {
        if self.known.insert(key.clone(), sum) != Some(sum) {
            self.changed.insert(key.clone());
        }
    }

    /// What is to be written, once.
    pub fn take_changed(&mut self) -> Vec<(K, u64)> {
        let changed = std::mem::take(&mut self.changed);
        let sums = changed.into_iter().filter_map(|key| self.get(&key).map(|sum| (key, sum))).collect();
        if self.known.len() > KNOWN_MAX {
            self.known.clear();
        }
        sums
    }

    /// The rows of these are gone.
    pub fn forget(&mut self, is_gone: impl Fn(&K) -> bool) {
        self.known.retain(|key, _| !is_gone(key));
        self.changed.retain(|key| !is_gone(key));
    }
}

/// Of what an account spent: whose, for how long, since when.
pub(crate) type Spell = (AccountId, Period, Timestamp);

/// What a writer knows of all of them. Thrown away when a transaction fails or another process wrote.
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    /// Segments.
    pub quotas: Tally<Count>,
    /// Millionths.
    pub spends: Tally<Spell>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_written_once() {
        let mut tally = Tally::default();
        assert_eq!(tally.get(&1), None);
        tally.read(1, 5);
        tally.read(2, 7);
        assert!(tally.take_changed().is_empty(), "what was read is stored");
        tally.set(&1, 6);
        tally.set(&1, 8);
        tally.read(1, 5);
        tally.set(&2, 7);
        assert_eq!(tally.get(&1), Some(8));
        assert_eq!(tally.take_changed(), [(1, 8)], "what stays as it is needs no writing");
        assert!(tally.take_changed().is_empty());
        tally.set(&1, 9);
        tally.forget(|key| *key == 1);
        assert_eq!((tally.get(&1), tally.get(&2)), (None, Some(7)));
        assert!(tally.take_changed().is_empty(), "its row is gone");
    }

    #[test]
    fn what_is_known_is_bounded_and_what_is_changed_is_written() {
        let mut tally = Tally::default();
        for key in 0..=KNOWN_MAX {
            tally.read(key, 1);
        }
        tally.set(&0, 2);
        assert_eq!(tally.take_changed(), [(0, 2)]);
        assert_eq!(tally.get(&0), None);
    }
}
