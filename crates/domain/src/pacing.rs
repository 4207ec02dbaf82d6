//! How many segments may go now: the arithmetic of a connection's pace, and how it gives way to throttling.
//!
//! A pace is a token bucket in segments, because carriers count segments. When the carrier says it is too much,
//! the pace is cut by half and grows back by a twentieth of the agreed pace a second (AIMD), never above it.

use crate::time::Timestamp;

/// The lowest that throttling may push a pace: segments per second.
const SLOWEST: f64 = 1.0;
/// Answers are judged over this time, and a cut counts once in it: a window full of refusals is one sign, not fifty.
const CUT_PERIOD_MS: i64 = 1_000;
/// Fewer refusals than this in a period speak of single messages, not of the pace.
const REFUSALS_MIN: u32 = 3;
/// So many answers for one refusal, or more, and the pace is not what is wrong.
const ANSWERS_PER_REFUSAL: u32 = 10;
/// So many answers tell as much as a whole period.
const ANSWERS_ENOUGH: u32 = 20;

/// The state of one connection's pace.
#[derive(Debug, Clone, PartialEq)]
pub struct Pace {
    /// Segments per second agreed with the carrier; `None` for no limit.
    agreed: Option<f64>,
    now_per_s: f64,
    tokens: f64,
    filled_at: Timestamp,
    cut_at: Option<Timestamp>,
    /// Since when answers are counted, how many there were, and how many said that it was too much.
    period: (Timestamp, u32, u32),
}

impl Pace {
    /// A full bucket of one tenth of a second's worth, so that a burst never exceeds the pace by more than that.
    pub fn new(agreed_per_s: Option<f64>, now: Timestamp) -> Self {
        let rate = agreed_per_s.unwrap_or(f64::INFINITY);
        let mut pace = Self {
            agreed: agreed_per_s,
            now_per_s: rate,
            tokens: 0.0,
            filled_at: now,
            cut_at: None,
            period: (now, 0, 0),
        };
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

    /// The carrier answered; `throttled` if it said that it was too much. `observed_per_s` is the rate at which it
    /// went out, for a connection without an agreed pace.
    pub fn answered(&mut self, now: Timestamp, throttled: bool, observed_per_s: f64) {
        let (since, answers, refusals) = self.period;
        let is_too_much =
            |answers, refusals| refusals >= REFUSALS_MIN && refusals * ANSWERS_PER_REFUSAL >= answers;
        if now.since_ms(since) >= CUT_PERIOD_MS {
            self.period = (now, 1, u32::from(throttled));
            if is_too_much(answers, refusals) {
                self.cut(now, observed_per_s);
            }
            return;
        }
        let (answers, refusals) = (answers + 1, refusals + u32::from(throttled));
        self.period = (since, answers, refusals);
        // With enough answers there is no need to wait for the end of the period.
        if throttled && answers >= ANSWERS_ENOUGH && is_too_much(answers, refusals) {
            self.cut(now, observed_per_s);
        }
    }

    fn cut(&mut self, now: Timestamp, observed_per_s: f64) {
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
        for ms in 10..50 {
            pace.answered(at(ms), true, 100.0);
        }
        assert!((pace.per_s() - 50.0).abs() < 1.0);
        pace.allowed(at(30_000));
        assert!((pace.per_s() - 100.0).abs() < f64::EPSILON);
    }

    #[test]
    fn without_a_pace_nothing_waits_until_the_carrier_says_stop() {
        let mut pace = Pace::new(None, at(0));
        assert_eq!(pace.allowed(at(0)), usize::MAX);
        for _ in 0..20 {
            pace.answered(at(0), true, 400.0);
        }
        assert!((pace.per_s() - 200.0).abs() < 1.0);
        assert!(pace.next_at(at(0)) > at(0));
    }

    #[test]
    fn single_messages_that_are_refused_again_and_again_do_not_slow_the_others() {
        let mut pace = Pace::new(Some(100.0), at(0));
        for second in 0..60 {
            for n in 0..50 {
                pace.answered(at(second * 1_000 + n), n < 4, 100.0);
            }
        }
        assert!((pace.per_s() - 100.0).abs() < f64::EPSILON);
        pace.answered(at(70_000), true, 100.0);
        pace.answered(at(75_000), true, 100.0);
        assert!((pace.per_s() - 100.0).abs() < f64::EPSILON);
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
