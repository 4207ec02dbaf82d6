//! Figures from moments: percentiles, medians, counts for each second.

use crate::clock::SECOND;
use crate::watch::Sample;

/// The percentiles that are told, in hundredths of a percent.
const TOLD: [u64; 4] = [5_000, 9_000, 9_900, 9_990];

/// How a time was distributed: nanoseconds.
#[derive(Debug, Clone, Default)]
pub struct Spread {
    /// How many there are.
    pub count: u64,
    /// Half of them were shorter.
    pub p50: u64,
    /// Nine of ten were shorter.
    pub p90: u64,
    /// All but one of a hundred were shorter.
    pub p99: u64,
    /// All but one of a thousand were shorter.
    pub p999: u64,
    /// The longest.
    pub max: u64,
    /// How many fell into each bucket of [`bucket`], without the empty ones at the end.
    pub buckets: Vec<u64>,
}

/// Buckets for each doubling.
pub const BUCKETS_PER_DOUBLING: f64 = 4.0;
/// Where the first bucket begins: 50 µs. What is shorter is in it too.
pub const FIRST_BUCKET_NS: f64 = 50_000.0;

/// The bucket of a time: four to each doubling.
pub fn bucket(ns: u64) -> usize {
    let place = (ns.max(1) as f64 / FIRST_BUCKET_NS).log2() * BUCKETS_PER_DOUBLING;
    if place > 0.0 { place as usize } else { 0 }
}

impl Spread {
    /// Of these times, in any order.
    pub fn of(mut times: Vec<u64>) -> Self {
        times.sort_unstable();
        let Some(max) = times.last().copied() else { return Self::default() };
        let at = |part: u64| {
            // The nearest rank: the smallest time that is not exceeded by this part of all.
            let rank = (part * times.len() as u64).div_ceil(10_000).max(1);
            times[usize::try_from(rank - 1).expect("64 bits")]
        };
        let [p50, p90, p99, p999] = TOLD.map(at);
        let mut buckets = vec![0; bucket(max) + 1];
        for time in &times {
            buckets[bucket(*time)] += 1;
        }
        Self { count: times.len() as u64, p50, p90, p99, p999, max, buckets }
    }

    /// A line for people, in milliseconds.
    pub fn line(&self) -> String {
        let ms = |ns: u64| format!("{:>9.2}", ns as f64 / 1e6);
        format!("{}{}{}{}{}", ms(self.p50), ms(self.p90), ms(self.p99), ms(self.p999), ms(self.max))
    }
}

/// How many of the moments fall into each second from `start` on.
pub fn per_second(moments: impl Iterator<Item = u64>, start: u64) -> Vec<u64> {
    let mut counts = Vec::new();
    for at in moments.filter(|at| *at >= start) {
        let second = usize::try_from((at - start) / SECOND).expect("a run is short");
        if counts.len() <= second {
            counts.resize(second + 1, 0);
        }
        counts[second] += 1;
    }
    counts
}

/// A value of the samples at each whole second from `start` on, as long as there are samples.
pub fn interpolated(samples: &[Sample], start: u64, of: impl Fn(&Sample) -> f64) -> Vec<f64> {
    let mut values = Vec::new();
    let mut at = start;
    for pair in samples.windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        // The first sample may be late.
        while at < before.at {
            values.push(of(before));
            at += SECOND;
        }
        while (before.at..after.at).contains(&at) {
            let part = (at - before.at) as f64 / (after.at - before.at) as f64;
            values.push(of(before) + (of(after) - of(before)) * part);
            at += SECOND;
        }
    }
    values
}

/// The middle one.
pub fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => sorted[odd / 2],
        even => f64::midpoint(sorted[even / 2 - 1], sorted[even / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let spread = Spread::of((1..=1_000).rev().collect());
        assert_eq!(
            (spread.p50, spread.p90, spread.p99, spread.p999, spread.max),
            (500, 900, 990, 999, 1_000)
        );
        assert_eq!(Spread::of(vec![7]).p999, 7);
        assert_eq!(Spread::of(Vec::new()).count, 0);
    }

    #[test]
    fn buckets_double_every_fourth() {
        assert_eq!((bucket(0), bucket(50_000), bucket(100_000), bucket(200_001)), (0, 0, 4, 8));
    }

    #[test]
    fn samples_are_read_between() {
        let sample = |tenths: u64| Sample { at: tenths * SECOND / 10, rss: tenths, ..Sample::default() };
        let samples: Vec<Sample> = [0, 4, 14, 26].map(sample).into();
        assert_eq!(interpolated(&samples, 0, |sample| sample.rss as f64), [0.0, 10.0, 20.0]);
    }

    #[test]
    fn moments_are_counted_by_second() {
        assert_eq!(per_second([5, SECOND + 6, SECOND + 7, 2].into_iter(), 5), [1, 2]);
        assert!((median(&[3.0, 1.0, 2.0, 4.0]) - 2.5).abs() < 1e-9);
    }
}
