//! The clock of all the tools: nanoseconds of `CLOCK_MONOTONIC`, which is the same in every process of a machine, so
//! that moments from different logs can be compared.

use rustix::time::{ClockId, clock_gettime};
use std::num::NonZeroU64;
use std::time::Duration;

/// A second.
pub const SECOND: u64 = 1_000_000_000;
/// A millisecond.
pub const MS: u64 = 1_000_000;

/// Nanoseconds since the machine was started.
pub fn now() -> u64 {
    nanoseconds(ClockId::Monotonic)
}

/// Seconds since 1970.
pub fn wall_s() -> u64 {
    nanoseconds(ClockId::Realtime) / SECOND
}

/// Milliseconds since 1970.
pub fn wall_ms() -> u64 {
    nanoseconds(ClockId::Realtime) / MS
}

fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).expect("no clock of these is negative");
    seconds * SECOND + u64::try_from(time.tv_nsec).expect("it is below a second")
}

/// Waits.
pub fn sleep_ns(ns: u64) {
    std::thread::sleep(Duration::from_nanos(ns));
}

/// Waits until this moment.
pub fn sleep_until(at: u64) {
    sleep_ns(at.saturating_sub(now()));
}

/// Lets this thread be woken on time, and not up to 50 µs later as is usual: an open loop counts its own lateness as
/// latency. Costs nothing but the wake-ups themselves.
pub fn be_punctual() {
    // If the system refuses, the figures are a little worse, and never better.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
}

/// Asks `done` every `step_ms` until it says yes or `bound_ms` have passed; whether it said yes.
pub fn wait_until(bound_ms: u64, step_ms: u64, mut done: impl FnMut() -> bool) -> bool {
    let end = now() + bound_ms * MS;
    loop {
        if done() {
            return true;
        }
        if now() >= end {
            return false;
        }
        sleep_ns(step_ms * MS);
    }
}

/// Year, month, day, hour and minute of a moment, in UTC (the usual count of days in eras of 400 years).
pub fn calendar(wall_s: u64) -> [u64; 5] {
    let (days, second) = (wall_s / 86_400 + 719_468, wall_s % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    // Months counted from March.
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    [year + era * 400 + carry, month, of_month, second / 3_600, second / 60 % 60]
}

/// The time of day as an SMSC writes it into receipts: `YYMMDDhhmm`.
pub fn receipt_date(wall_s: u64) -> String {
    let [year, month, day, hour, minute] = calendar(wall_s);
    format!("{:02}{month:02}{day:02}{hour:02}{minute:02}", year % 100)
}

/// A moment of the day as JSON bodies have it: `2026-11-18T11:06:40.123Z`.
pub fn rfc3339(wall_ms: u64) -> String {
    let (wall_s, ms) = (wall_ms / 1_000, wall_ms % 1_000);
    let [year, month, day, hour, minute] = calendar(wall_s);
    format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}.{ms:03}Z", wall_s % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_carry_the_usual_calendar() {
        assert_eq!(receipt_date(1_709_208_000), "2402291200");
        assert_eq!(receipt_date(1_795_452_252), "2611231644");
        assert_eq!(receipt_date(0), "7001010000");
        assert_eq!(rfc3339(1_795_000_000_123), "2026-11-18T11:06:40.123Z");
    }
}
