//! How a simulated carrier misbehaves as a whole: throttling, outages, slowness, losses. Data that may be changed
//! while it runs, and a pure judge that applies it; what befalls a single recipient is in [`crate::script`].
//!
//! All percentages are of submissions or receipts, each drawn for itself from the simulator's seed, so that the same
//! seed and the same submissions give the same run. The default is a carrier without faults.

use serde::{Deserialize, Serialize};

/// What goes wrong. Every field may be left out; left out, that does not go wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Segments a second the carrier takes; more are refused as throttled (`0x58`). Not set: no limit.
    pub rate_limit_per_s: Option<u32>,
    /// Throttling that comes and goes.
    pub throttle: Option<Wave>,
    /// Times at which the carrier is not there: links break, binds fail.
    pub outages: Vec<Outage>,
    /// How long answers take.
    pub answer: Latency,
    /// How long receipts take, for recipients without a time of their own. Not set: 100 to 300 ms.
    pub receipt: Option<Latency>,
    /// Submissions that the carrier takes (their receipts come) but does not answer: percent.
    pub lost_answers_percent: f64,
    /// Receipts that never come: percent.
    pub lost_receipts_percent: f64,
    /// Receipts that come twice: percent.
    pub duplicate_receipts_percent: f64,
    /// Submissions that are refused with "system error" (`0x08`): percent.
    pub busy_percent: f64,
    /// After so many submissions the carrier closes the link, in the middle of its window. SMPP server only.
    pub disconnect_every: Option<u64>,
    /// After so many submissions the carrier sends something unreadable.
    pub garbage_every: Option<u64>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            rate_limit_per_s: None,
            throttle: None,
            outages: Vec::new(),
            answer: Latency::default(),
            receipt: None,
            lost_answers_percent: 0.0,
            lost_receipts_percent: 0.0,
            duplicate_receipts_percent: 0.0,
            busy_percent: 0.0,
            disconnect_every: None,
            garbage_every: None,
        }
    }
}

/// Throttling in waves: for `length_s` out of every `period_s`, `percent` of the submissions are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wave {
    /// Of the submissions in the wave.
    pub percent: f64,
    /// From one wave's start to the next: seconds.
    pub period_s: f64,
    /// How long each lasts: seconds. As long as the period, it never ends.
    pub length_s: f64,
}

/// A time at which the carrier is not there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outage {
    /// Seconds after the start, or after the faults were last changed.
    pub from_s: f64,
    /// For how long: seconds.
    pub for_s: f64,
    /// Again every so many seconds; not set: once.
    #[serde(default)]
    pub every_s: Option<f64>,
}

/// A distribution of times by four of its quantiles; between them it is a straight line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Latency {
    /// Half of them take at most so many milliseconds.
    pub p50_ms: u32,
    /// Nine of ten. Values below the one before it count as that one.
    pub p90_ms: u32,
    /// 99 of 100.
    pub p99_ms: u32,
    /// The longest.
    pub max_ms: u32,
}

impl Latency {
    /// The time at this place of the distribution.
    pub fn at(&self, draw: Draw) -> u32 {
        let mut from = (0.0, 0.0);
        for (share, ms) in [(0.5, self.p50_ms), (0.9, self.p90_ms), (0.99, self.p99_ms), (1.0, self.max_ms)] {
            let to = (share, f64::from(ms).max(from.1));
            if draw.share() <= share {
                let part = (draw.share() - from.0) / (to.0 - from.0);
                return (from.1 + part * (to.1 - from.1)) as u32;
            }
            from = to;
        }
        from.1 as u32
    }
}

impl Faults {
    /// Why these faults make no sense, if they don't: a percentage beyond 100, a wave without a period.
    pub fn problem(&self) -> Option<String> {
        let percents = [
            ("lost_answers_percent", self.lost_answers_percent),
            ("lost_receipts_percent", self.lost_receipts_percent),
            ("duplicate_receipts_percent", self.duplicate_receipts_percent),
            ("busy_percent", self.busy_percent),
            ("throttle.percent", self.throttle.as_ref().map_or(0.0, |wave| wave.percent)),
        ];
        if let Some((name, value)) = percents.into_iter().find(|(_, value)| !(0.0..=100.0).contains(value)) {
            return Some(format!("{name} is {value}, but must be between 0 and 100"));
        }
        if let Some(wave) = &self.throttle
            && !(wave.period_s > 0.0 && wave.length_s >= 0.0)
        {
            return Some("throttle.period_s must be above 0, and length_s not below".to_owned());
        }
        let senseless = |outage: &Outage| {
            !(outage.from_s >= 0.0
                && outage.for_s >= 0.0
                && outage.every_s.is_none_or(|every_s| every_s > outage.for_s))
        };
        if self.outages.iter().any(senseless) {
            return Some(
                "an outage's times must not be negative, and every_s must be above for_s".to_owned(),
            );
        }
        let zero = [self.disconnect_every, self.garbage_every].contains(&Some(0))
            || self.rate_limit_per_s == Some(0);
        zero.then(|| "rate_limit_per_s, disconnect_every and garbage_every must be above 0".to_owned())
    }
}

/// A random number, from which as many more as are needed follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw(u64);

impl Draw {
    /// The draw number `nth` of a seed.
    pub fn of(seed: u64, nth: u64) -> Self {
        Self(mixed(seed ^ mixed(nth)))
    }

    /// Another number, independent of this one; another for each `which`.
    #[must_use]
    pub fn another(self, which: u64) -> Self {
        Self(mixed(self.0 ^ mixed(which.wrapping_add(0x5EED))))
    }

    /// Between 0 and 1.
    pub fn share(self) -> f64 {
        // 53 bits are what an f64 holds exactly.
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Between these two, both included.
    pub fn between(self, least: u32, most: u32) -> u32 {
        least + (self.0 % (u64::from(most.saturating_sub(least)) + 1)) as u32
    }

    /// Whether it hits, so many times in a hundred.
    pub fn hits(self, percent: f64) -> bool {
        self.share() * 100.0 < percent
    }

    /// All 64 bits.
    pub const fn bits(self) -> u64 {
        self.0
    }
}

/// The finaliser of SplitMix64: every bit of the result depends on every bit of the input.
const fn mixed(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// What the faults do to one submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Refuse it with this status instead of following the script.
    pub refuse: Option<u32>,
    /// Do not answer it.
    pub answer_lost: bool,
    /// Milliseconds to add to its answer.
    pub answer_after_ms: u32,
    /// How many times its receipts come, usually once.
    pub receipt_times: u8,
    /// Milliseconds until its receipt, where the script leaves that open.
    pub receipt_after_ms: u32,
    /// Close the link now.
    pub disconnect: bool,
    /// Send something unreadable.
    pub garbage: bool,
}

/// Applies [`Faults`] to one submission after the other.
#[derive(Debug)]
pub struct Judge {
    faults: Faults,
    since_ms: u64,
    submissions: u64,
    /// Thousandths of a segment that the rate limit leaves.
    tokens: u64,
    filled_ms: u64,
}

impl Judge {
    /// Begins with these faults at this time of the simulation.
    pub fn new(faults: Faults, now_ms: u64) -> Self {
        let tokens = u64::from(faults.rate_limit_per_s.unwrap_or(0)) * 100;
        Self { faults, since_ms: now_ms, submissions: 0, tokens, filled_ms: now_ms }
    }

    /// Other faults from now on; their times count from now.
    pub fn change(&mut self, faults: Faults, now_ms: u64) {
        let submissions = self.submissions;
        *self = Self { submissions, ..Self::new(faults, now_ms) };
    }

    /// Whether the carrier is there, and when that changes next.
    pub fn outage(&self, now_ms: u64) -> (bool, Option<u64>) {
        let t_s = now_ms.saturating_sub(self.since_ms) as f64 / 1000.0;
        let mut next_s = f64::INFINITY;
        let mut down = false;
        for outage in &self.faults.outages {
            let mut from_s = outage.from_s;
            if let Some(every_s) = outage.every_s
                && t_s >= from_s
            {
                from_s += ((t_s - from_s) / every_s).floor() * every_s;
            }
            let to_s = from_s + outage.for_s;
            if t_s < from_s {
                next_s = next_s.min(from_s);
            } else if t_s < to_s {
                down = true;
                next_s = next_s.min(to_s);
            } else if let Some(every_s) = outage.every_s {
                next_s = next_s.min(from_s + every_s);
            }
        }
        // A millisecond late rather than early, so that waking up then finds it changed.
        let next = next_s.is_finite().then(|| self.since_ms + (next_s * 1000.0) as u64 + 1);
        (down, next)
    }

    /// What befalls the next submission.
    pub fn judge(&mut self, now_ms: u64, draw: Draw) -> Verdict {
        use tidings_smpp::status;
        self.submissions += 1;
        let every = |n: Option<u64>| n.is_some_and(|n| self.submissions.is_multiple_of(n));
        let (disconnect, garbage) = (every(self.faults.disconnect_every), every(self.faults.garbage_every));
        let throttled = self.over_the_rate(now_ms) || self.in_a_wave(now_ms, draw.another(1));
        let busy = draw.another(2).hits(self.faults.busy_percent);
        let lost = draw.another(3).hits(self.faults.lost_receipts_percent);
        let duplicate = draw.another(4).hits(self.faults.duplicate_receipts_percent);
        let refuse = if throttled {
            Some(status::ESME_RTHROTTLED)
        } else if busy {
            Some(status::ESME_RSYSERR)
        } else {
            None
        };
        let receipt_after_ms = match &self.faults.receipt {
            Some(latency) => latency.at(draw.another(5)),
            None => draw.another(5).between(100, 300),
        };
        Verdict {
            refuse,
            answer_lost: draw.another(6).hits(self.faults.lost_answers_percent),
            answer_after_ms: self.faults.answer.at(draw.another(7)),
            receipt_times: if lost { 0 } else { 1 + u8::from(duplicate) },
            receipt_after_ms,
            disconnect,
            garbage,
        }
    }

    fn over_the_rate(&mut self, now_ms: u64) -> bool {
        let Some(per_s) = self.faults.rate_limit_per_s else { return false };
        let per_s = u64::from(per_s);
        let passed_ms = now_ms.saturating_sub(self.filled_ms);
        self.filled_ms = self.filled_ms.max(now_ms);
        // One tenth of a second's worth may come at once, but at least one segment.
        let deepest = (per_s * 100).max(1000);
        self.tokens = self.tokens.saturating_add(passed_ms.saturating_mul(per_s)).min(deepest);
        if self.tokens < 1000 {
            return true;
        }
        self.tokens -= 1000;
        false
    }

    fn in_a_wave(&self, now_ms: u64, draw: Draw) -> bool {
        let Some(wave) = &self.faults.throttle else { return false };
        let t_s = now_ms.saturating_sub(self.since_ms) as f64 / 1000.0;
        t_s % wave.period_s < wave.length_s && draw.hits(wave.percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_carrier_without_faults_does_nothing_wrong() {
        let mut judge = Judge::new(Faults::default(), 0);
        for nth in 0..1000 {
            let is = judge.judge(nth, Draw::of(1, nth));
            assert_eq!(
                (is.refuse, is.answer_lost, is.answer_after_ms, is.receipt_times),
                (None, false, 0, 1)
            );
            assert!((100..=300).contains(&is.receipt_after_ms) && !is.disconnect && !is.garbage);
        }
        assert_eq!(judge.outage(10_000_000), (false, None));
    }

    #[test]
    fn a_rate_limit_lets_through_its_rate() {
        let faults = Faults { rate_limit_per_s: Some(50), ..Faults::default() };
        let mut judge = Judge::new(faults, 0);
        let taken = (0..10_000).filter(|&ms| judge.judge(ms, Draw::of(1, ms)).refuse.is_none()).count();
        assert!((495..=510).contains(&taken), "{taken}");
    }

    #[test]
    fn percentages_come_about() {
        let faults = Faults { lost_answers_percent: 5.0, busy_percent: 20.0, ..Faults::default() };
        let mut judge = Judge::new(faults, 0);
        let verdicts: Vec<_> = (0..20_000).map(|nth| judge.judge(0, Draw::of(7, nth))).collect();
        let lost = verdicts.iter().filter(|verdict| verdict.answer_lost).count();
        let busy = verdicts.iter().filter(|verdict| verdict.refuse.is_some()).count();
        assert!((900..=1100).contains(&lost), "{lost}");
        assert!((3800..=4200).contains(&busy), "{busy}");
    }

    #[test]
    fn outages_begin_end_and_come_again() {
        let outage = |from_s, for_s, every_s| Outage { from_s, for_s, every_s };
        let faults = Faults {
            outages: vec![outage(10.0, 5.0, None), outage(60.0, 1.0, Some(30.0))],
            ..Faults::default()
        };
        let judge = Judge::new(faults, 1_000);
        let check = |at_ms: u64, down: bool, next_ms: Option<u64>| {
            assert_eq!(judge.outage(at_ms), (down, next_ms), "{at_ms}");
        };
        check(1_000, false, Some(11_001));
        check(11_001, true, Some(16_001));
        check(16_001, false, Some(61_001));
        check(61_500, true, Some(62_001));
        check(62_001, false, Some(91_001));
        check(91_001, true, Some(92_001));
    }

    #[test]
    fn a_wave_throttles_for_its_length() {
        let wave = Wave { percent: 100.0, period_s: 10.0, length_s: 2.0 };
        let mut judge = Judge::new(Faults { throttle: Some(wave), ..Faults::default() }, 0);
        let mut throttled = |ms| judge.judge(ms, Draw::of(1, ms)).refuse.is_some();
        assert!(
            throttled(0) && throttled(1_999) && !throttled(2_000) && !throttled(9_999) && throttled(10_000)
        );
    }

    #[test]
    fn a_distribution_has_its_quantiles() {
        let latency = Latency { p50_ms: 100, p90_ms: 300, p99_ms: 1_000, max_ms: 5_000 };
        let mut times: Vec<u32> = (0..10_000).map(|nth| latency.at(Draw::of(3, nth))).collect();
        times.sort_unstable();
        assert!((90..=110).contains(&times[5_000]), "{}", times[5_000]);
        assert!((280..=320).contains(&times[9_000]), "{}", times[9_000]);
        assert!(*times.last().unwrap() <= 5_000);
        assert_eq!(Latency::default().at(Draw::of(1, 1)), 0);
    }

    #[test]
    fn senseless_faults_are_named() {
        let problem = |faults: Faults| faults.problem().unwrap_or_default();
        assert_eq!(Faults::default().problem(), None);
        assert!(problem(Faults { busy_percent: 101.0, ..Faults::default() }).contains("busy_percent"));
        assert!(problem(Faults { busy_percent: f64::NAN, ..Faults::default() }).contains("busy_percent"));
        let wave = Wave { percent: 1.0, period_s: 0.0, length_s: 0.0 };
        assert!(problem(Faults { throttle: Some(wave), ..Faults::default() }).contains("period_s"));
        assert!(problem(Faults { disconnect_every: Some(0), ..Faults::default() }).contains("above 0"));
        let outage = Outage { from_s: 0.0, for_s: 5.0, every_s: Some(5.0) };
        assert!(problem(Faults { outages: vec![outage], ..Faults::default() }).contains("outage"));
    }
}
