//! What was put here lately, so that it need not be read again: at least the last `MOST`, and no more than twice as many.

use std::collections::HashMap;
use std::hash::Hash;

/// Things by their keys, in two generations: when the younger one is full, the older one is dropped.
#[derive(Debug)]
pub(crate) struct Recent<K, V, const MOST: usize> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K, V, const MOST: usize> Default for Recent<K, V, MOST> {
    fn default() -> Self {
        Self { young: HashMap::new(), old: HashMap::new() }
    }
}

impl<K: Eq + Hash, V, const MOST: usize> Recent<K, V, MOST> {
    /// Puts a thing here in the place of what was here under its key.
    pub fn put(&mut self, key: K, thing: V) {
        if self.young.len() >= MOST {
            // The other map is emptied and used again: it has the room already.
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        self.old.remove(&key);
        self.young.insert(key, thing);
    }

    /// Takes it away, if it is here.
    pub fn take(&mut self, key: &K) -> Option<V> {
        self.young.remove(key).or_else(|| self.old.remove(key))
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_here_and_older_ones_go() {
        let mut recent = Recent::<u32, u32, 4>::default();
        for n in 0..20 {
            recent.put(n, n * 10);
            let here = (0..=n).filter(|n| recent.young.contains_key(n) || recent.old.contains_key(n)).count();
            assert!(here >= 4.min(n as usize + 1) && here <= 8, "{here} after {n}");
        }
        assert_eq!(recent.take(&19), Some(190));
        assert_eq!(recent.take(&19), None, "it was taken");
        assert_eq!(recent.take(&0), None, "it is too long ago");
        recent.put(16, 1);
        recent.put(16, 2);
        assert_eq!((recent.take(&16), recent.take(&16)), (Some(2), None), "one thing under a key");
        recent.clear();
        assert_eq!(recent.take(&18), None);
    }
}
