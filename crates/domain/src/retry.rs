//! When to try again. Delays are computed here and stored as due times on rows; nothing ever sleeps for a retry.

use crate::time::Timestamp;

/// A random number for one decision, evenly spread over `u32`. The caller draws it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jitter(pub u32);

impl Jitter {
    /// A duration between 50 % and 100 % of `ms`, so that what failed together does not come back together.
    pub const fn spread(self, ms: i64) -> i64 {
        ms / 2 + (ms / 2 * self.0 as i64) / u32::MAX as i64
    }

    /// Another number, for the next decision where one draw must do for several.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223))
    }
}

/// How often and how soon a message is tried again after a refusal that time may cure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries in all, the first included.
    pub max_tries: u32,
    /// Before the second try; doubles for each further one.
    pub first_delay_ms: i64,
    /// The longest delay between two tries.
    pub max_delay_ms: i64,
    /// After the first throttling, which costs no try; doubles for each further one.
    pub throttled_delay_ms: i64,
    /// The longest delay after throttling.
    pub max_throttled_delay_ms: i64,
}

impl Default for RetryPolicy {
    /// 8 tries: after 15 s, 30 s, 1 min, 2 min … at most 15 min apart.
    fn default() -> Self {
        Self {
            max_tries: 8,
            first_delay_ms: 15_000,
            max_delay_ms: 900_000,
            throttled_delay_ms: 2_000,
            max_throttled_delay_ms: 30_000,
        }
    }
}

impl RetryPolicy {
    /// The moment of the next try after `tries` tries, or `None` if they are used up.
    pub fn next_try(&self, tries: u32, now: Timestamp, jitter: Jitter) -> Option<Timestamp> {
        if tries >= self.max_tries {
            return None;
        }
        let delay = doubled(self.first_delay_ms, tries.saturating_sub(1), self.max_delay_ms);
        Some(now.plus_ms(jitter.spread(delay)))
    }

    /// The moment of the next try after the carrier said `throttlings` times that it was too much. That costs no try:
    /// it goes on until the message expires.
    pub fn after_throttling(&self, throttlings: u32, now: Timestamp, jitter: Jitter) -> Timestamp {
        let delay =
            doubled(self.throttled_delay_ms, throttlings.saturating_sub(1), self.max_throttled_delay_ms);
        now.plus_ms(jitter.spread(delay))
    }
}

/// `first_ms`, doubled so many times, up to a limit.
fn doubled(first_ms: i64, doublings: u32, most_ms: i64) -> i64 {
    first_ms.saturating_mul(1 << doublings.min(30)).min(most_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_a_limit_and_end() {
        let policy = RetryPolicy::default();
        let at = |tries| {
            policy.next_try(tries, Timestamp::from_millis(0), Jitter(u32::MAX)).map(|t| t.as_millis() / 1000)
        };
        assert_eq!(at(1), Some(15));
        assert_eq!(at(2), Some(30));
        assert_eq!(at(3), Some(60));
        assert_eq!(at(7), Some(900));
        assert_eq!(at(8), None);
    }

    /// P-13
    #[test]
    fn throttling_waits_longer_each_time_and_never_ends() {
        let policy = RetryPolicy::default();
        let at = |throttlings| {
            policy.after_throttling(throttlings, Timestamp::from_millis(0), Jitter(u32::MAX)).as_millis()
                / 1000
        };
        assert_eq!([at(1), at(2), at(3), at(4), at(5), at(500)], [2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn jitter_stays_between_half_and_whole() {
        for draw in [0, 1, u32::MAX / 2, u32::MAX] {
            let ms = Jitter(draw).spread(10_000);
            assert!((5_000..=10_000).contains(&ms), "{ms}");
        }
    }
}
