//! How fast one caller may go: an allowance a minute that fills evenly (a leaky bucket by virtual time, GCRA).
//!
//! Everything that is asked for at once is taken whole or not at all. More than a whole minute's allowance is taken
//! when the allowance is full, and the excess is counted against the time after: a batch of 500 goes through at 300 a
//! minute, and then nothing for 100 seconds. Time is an argument.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Mutex;

/// Callers that are remembered; those whose allowance is full again are forgotten first.
const CALLERS_MAX: usize = 20_000;

/// Nanoseconds of a minute.
const MINUTE_NS: u64 = 60_000_000_000;

/// Allowances by caller.
#[derive(Debug)]
pub(crate) struct Pace<K> {
    /// By caller, the moment at which the allowance will be full again: nanoseconds.
    full_at: Mutex<HashMap<K, u64>>,
}

impl<K: Hash + Eq> Pace<K> {
    pub fn new() -> Self {
        Self { full_at: Mutex::new(HashMap::new()) }
    }

    /// Takes `count` of an allowance of `per_minute`, or says after how many seconds there is enough.
    ///
    /// # Errors
    /// Seconds to wait; nothing was taken.
    pub fn take(&self, caller: K, count: u32, per_minute: u32, now_ns: u64) -> Result<(), u32> {
        let interval = MINUTE_NS / u64::from(per_minute.max(1));
        let needed = u64::from(count.min(per_minute)) * interval;
        let mut callers = self.full_at.lock().expect("nothing panics while it holds this");
        if callers.len() >= CALLERS_MAX {
            callers.retain(|_, full_at| *full_at > now_ns);
            if callers.len() >= CALLERS_MAX && !callers.contains_key(&caller) {
                // Nobody can be remembered, so nobody new is let in; a minute from now there is room.
                return Err(60);
            }
        }
        let full_at = callers.get(&caller).copied().unwrap_or(0).max(now_ns);
        let free = MINUTE_NS.saturating_sub(full_at - now_ns);
        if needed > free {
            let wait_ns = (full_at - now_ns + needed).saturating_sub(MINUTE_NS);
            return Err(u32::try_from(wait_ns.div_ceil(1_000_000_000)).unwrap_or(u32::MAX).max(1));
        }
        callers.insert(caller, full_at + u64::from(count) * interval);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_minute_holds_its_allowance_and_fills_evenly() {
        let pace = Pace::new();
        for _ in 0..300 {
            assert_eq!(pace.take("a", 1, 300, SECOND), Ok(()));
        }
        assert_eq!(pace.take("a", 1, 300, SECOND), Err(1));
        assert_eq!(pace.take("b", 1, 300, SECOND), Ok(()));
        assert_eq!(pace.take("a", 1, 300, SECOND + SECOND / 5), Ok(()));
        assert_eq!(pace.take("a", 10, 300, SECOND + SECOND / 5), Err(2));
        assert_eq!(pace.take("a", 10, 300, SECOND * 4), Ok(()));
    }

    #[test]
    fn more_than_a_minutes_allowance_is_taken_once_and_paid_for_later() {
        let pace = Pace::new();
        assert_eq!(pace.take("a", 500, 300, 0), Ok(()));
        assert_eq!(pace.take("a", 1, 300, SECOND * 40), Err(1));
        assert_eq!(pace.take("a", 1, 300, SECOND * 41), Ok(()));
        let used = Pace::new();
        assert_eq!(used.take("a", 1, 300, 0), Ok(()));
        assert_eq!(used.take("a", 500, 300, 0), Err(1));
    }

    #[test]
    fn memory_is_bounded() {
        let pace = Pace::new();
        for caller in 0..CALLERS_MAX {
            assert_eq!(pace.take(caller, 1, 60, 0), Ok(()));
        }
        assert_eq!(pace.take(CALLERS_MAX, 1, 60, 0), Err(60));
        assert_eq!(pace.take(3, 1, 60, 0), Ok(()));
        assert_eq!(pace.take(CALLERS_MAX, 1, 60, SECOND * 60), Ok(()));
    }
}
