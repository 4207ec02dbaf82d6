//! The witness's one clock: everything that it saw is ordered by it.
//!
//! The product has a clock of its own, which this does not use, so that the two can disagree.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A moment on the witness's monotonic clock: nanoseconds since it was first asked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Moment(pub u64);

/// In milliseconds, as the log of the subject has them.
impl std::fmt::Debug for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.3} ms", self.0 as f64 / 1e6)
    }
}

impl Moment {
    /// So many milliseconds after the clock began, for hand-made ledgers.
    pub const fn at_ms(ms: u64) -> Self {
        Self(ms * 1_000_000)
    }

    /// This moment and `ms` milliseconds.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0 + ms * 1_000_000)
    }

    /// Milliseconds from `earlier` to this, 0 if it is not earlier.
    pub const fn ms_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0) / 1_000_000
    }
}

/// The present moment.
#[expect(clippy::disallowed_methods, reason = "the witness has a clock of its own: this one")]
pub fn now() -> Moment {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    let origin = ORIGIN.get_or_init(Instant::now);
    Moment(u64::try_from(origin.elapsed().as_nanos()).expect("a run does not last 500 years"))
}

/// The time of day: milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the witness has a clock of its own: this one")]
pub fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    i64::try_from(since.as_millis()).expect("it is before the year 292 million")
}

/// The moment of a time of day, by what both clocks show now.
pub fn moment_of(wall_ms: i64) -> Moment {
    let (now, wall_now) = (now(), self::wall_ms());
    let ms = i64::try_from(now.0 / 1_000_000).expect("a run does not last that long") + wall_ms - wall_now;
    Moment::at_ms(u64::try_from(ms).unwrap_or(0))
}

/// Reads a time of day as the API writes it, such as `2026-11-18T13:06:40.123Z`: milliseconds since 1970.
pub fn wall_of(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let days = days_from_1970(number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let seconds = (number(11, 13)? * 60 + number(14, 16)?) * 60 + number(17, 19)?;
    let ms = if text.get(19..20) == Some(".") { number(20, 23)? } else { 0 };
    text.ends_with('Z').then_some((days * 86_400 + seconds) * 1_000 + ms)
}

/// Waits.
pub fn sleep_ms(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

/// Asks `done` every `step_ms` until it says yes or `bound_ms` have passed; whether it said yes.
pub fn wait_until(bound_ms: u64, step_ms: u64, mut done: impl FnMut() -> bool) -> bool {
    let end = now().plus_ms(bound_ms);
    loop {
        if done() {
            return true;
        }
        if now() >= end {
            return false;
        }
        sleep_ms(step_ms);
    }
}

/// Days from 1970-01-01 in the Gregorian calendar; March counts as the first month, so leap days come last.
fn days_from_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    365 * year + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (month * 306 + 5) / 10
        + day
        - 1
        - 719_468
}

/// The time of day as an SMSC writes it into receipts: `YYMMDDhhmm`, in UTC.
pub fn receipt_date(wall_ms: i64) -> String {
    let minutes = wall_ms.div_euclid(60_000);
    let (day, minute) = (minutes.div_euclid(1_440), minutes.rem_euclid(1_440));
    // Search instead of inverting the formula above: a date is found in at most 366 + 70 steps.
    let mut year = 1970 + day / 366;
    while days_from_1970(year + 1, 1, 1) <= day {
        year += 1;
    }
    let month = (1..=12).rev().find(|month| days_from_1970(year, *month, 1) <= day).unwrap_or(1);
    let of_month = day - days_from_1970(year, month, 1) + 1;
    format!("{:02}{month:02}{of_month:02}{:02}{:02}", year % 100, minute / 60, minute % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_carry_the_usual_calendar() {
        assert_eq!(receipt_date(1_709_208_000_500), "2402291200");
        assert_eq!(receipt_date(1_795_452_252_345), "2611231644");
        assert_eq!(receipt_date(0), "7001010000");
    }

    #[test]
    fn times_of_the_api_are_read() {
        assert_eq!(wall_of("2024-02-29T12:00:00.500Z"), Some(1_709_208_000_500));
        assert_eq!(wall_of("1970-01-02T00:00:01Z"), Some(86_401_000));
        assert_eq!(wall_of("soon"), None);
    }
}
