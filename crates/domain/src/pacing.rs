//! How many segments may go now: the arithmetic of a connection's pace, and how it gives way to throttling.
//!
//! A pace is a token bucket in segments, because carriers count segments. When the carrier says it is too much,
//! the pace is cut by half and grows back by a twentieth of the agreed pace a second (AIMD), never above it.

use crate::time::Timestamp;

/// The lowest that throttling may push a pace: segments per second.
const SLOWEST: f64 = 1.0;
/// A cut counts once per this time: a window full of refusals is one sign, not fifty.
const CUT_PERIOD_MS: i64 = 1_000;

/// The state of one connection's pace.
#[derive(Debug, Clone, PartialEq)]
pub struct Pace {
    /// Segments per second agreed with the carrier; `None` for no limit.
    agreed: Option<f64>,
    now_per_s: f64,
    tokens: f64,
    filled_at: Timestamp,
    cut_at: Option<Timestamp>,
}

impl Pace {
    /// A full bucket of one tenth of a second's worth, so that a burst never exceeds the pace by more than that.
    pub fn new(agreed_per_s: Option<f64>, now: Timestamp) -> Self {
        let rate = agreed_per_s.unwrap_or(f64::INFINITY);
        let mut pace =
            Self { agreed: agreed_per_s, now_per_s: rate, tokens: 0.0, filled_at: now, cut_at: None };
        pace.tokens = pace.depth();
        pace
    }

    /// Segments that may go now.
    pub fn allowed(&mut self, now: Timestamp) -> usize {
        self.fill(now);
        if self.now_per_s.is_infinite() { usize::MAX } else { self.tokens.max(0.0) as usize }
    }

    /// Takes `segments` that were handed over. A message of several segments may go a little below zero:
    /// it is not cut in two, and the debt is waited off.
    pub fn take(&mut self, segments: usize) {
        if self.now_per_s.is_finite() {
            self.tokens -= segments as f64;
        }
    }

    /// The moment at which at least one segment may go.
    pub fn next_at(&self, now: Timestamp) -> Timestamp {
        if self.now_per_s.is_infinite() || self.tokens >= 1.0 {
            return now;
        }
        let missing_ms = (1.0 - self.tokens) / self.now_per_s * 1000.0;
        self.filled_at.plus_ms(missing_ms.ceil() as i64)
    }

    /// The carrier said it was too much.
    pub fn throttled(&mut self, now: Timestamp, observed_per_s: f64) {
        self.fill(now);
        if self.cut_at.is_some_and(|at| now.since_ms(at) < CUT_PERIOD_MS) {
            return;
        }
        self.cut_at = Some(now);
        let from = if self.now_per_s.is_finite() { self.now_per_s } else { observed_per_s };
        self.now_per_s = (from / 2.0).max(SLOWEST);
        self.tokens = self.tokens.min(self.depth()).min(0.0);
    }

    /// Segments per second in force; infinite if nothing limits it.
    pub fn per_s(&self) -> f64 {
        self.now_per_s
    }

    fn depth(&self) -> f64 {
        (self.now_per_s / 10.0).max(1.0)
    }

    fn fill(&mut self, now: Timestamp) {
        let elapsed_ms = now.since_ms(self.filled_at).max(0);
        self.filled_at = self.filled_at.max(now);
        if self.now_per_s.is_infinite() {
            return;
        }
        let seconds = elapsed_ms as f64 / 1000.0;
        self.tokens = (self.tokens + seconds * self.now_per_s).min(self.depth());
        if self.cut_at.is_some() {
            self.recover(seconds);
        }
    }

    fn recover(&mut self, seconds: f64) {
        match self.agreed {
            Some(agreed) => {
                self.now_per_s = (self.now_per_s + agreed / 20.0 * seconds).min(agreed);
                if self.now_per_s >= agreed {
                    self.cut_at = None;
                }
            }
            // Without an agreed pace the way up is by half again each second, until nothing is heard any more.
            None => self.now_per_s *= 1.0 + 0.5 * seconds,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    #[test]
    fn in_any_second_no_more_goes_than_the_pace_and_one_burst() {
        let mut pace = Pace::new(Some(100.0), at(0));
        let mut sent = Vec::new();
        for ms in 0..5_000 {
            let n = pace.allowed(at(ms));
            pace.take(n);
            sent.extend(std::iter::repeat_n(ms, n));
        }
        for start in (0..4_000).step_by(37) {
            let n = sent.iter().filter(|&&ms| ms >= start && ms < start + 1_000).count();
            assert!((90..=111).contains(&n), "{n} in the second from {start}");
        }
    }

    #[test]
    fn throttling_halves_the_pace_once_a_second_and_it_grows_back_to_what_was_agreed() {
        let mut pace = Pace::new(Some(100.0), at(0));
        pace.throttled(at(10), 100.0);
        pace.throttled(at(20), 100.0);
        assert!((pace.per_s() - 50.0).abs() < 1.0);
        pace.allowed(at(30_000));
        assert!((pace.per_s() - 100.0).abs() < f64::EPSILON);
    }

    #[test]
    fn without_a_pace_nothing_waits_until_the_carrier_says_stop() {
        let mut pace = Pace::new(None, at(0));
        assert_eq!(pace.allowed(at(0)), usize::MAX);
        pace.throttled(at(0), 400.0);
        assert!((pace.per_s() - 200.0).abs() < 1.0);
        assert!(pace.next_at(at(0)) > at(0));
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_away() {
        let mut pace = Pace::new(Some(10.0), at(10_000));
        pace.take(1);
        assert_eq!(pace.allowed(at(0)), 0);
        assert_eq!(pace.allowed(at(10_000)), 0);
        assert_eq!(pace.allowed(at(10_100)), 1);
    }
}
