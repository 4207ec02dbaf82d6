//! Moments and durations: milliseconds since 1970, UTC. Nothing here reads a clock; `now` is always an argument.

use jiff::civil::DateTime;
use jiff::fmt::temporal::Pieces;
use std::fmt;

/// The last year of the calendar.
const LAST_YEAR: i16 = 9999;
/// The last moment that is known in every zone, 9999-12-30T22:00:00Z: milliseconds since 1970.
const LAST_MS: i64 = 253_402_207_200_000;

/// A moment: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since 1970.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Later by so many milliseconds (earlier if negative); stops at the ends of time instead of wrapping.
    #[must_use]
    pub const fn plus_ms(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Later by so many seconds.
    #[must_use]
    pub const fn plus_s(self, seconds: i64) -> Self {
        self.plus_ms(seconds.saturating_mul(1000))
    }

    /// Milliseconds from `earlier` until this moment; negative if it lies before.
    pub const fn since_ms(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Reads RFC 3339 with a zone or offset (`2026-11-23T08:00:00+01:00`). A time without one is refused,
    /// because nobody can know which zone was meant. In the last year of the calendar, what lies after the last moment that is
    /// known is that moment: who writes it means for ever.
    ///
    /// # Errors
    /// It is not written so, or is no day of the calendar.
    pub fn parse(text: &str) -> Result<Self, InvalidTime> {
        let pieces = Pieces::parse(text).map_err(|_| InvalidTime)?;
        // RFC 3339 §5.6: an offset has less than a day.
        let is_offset = |offset: jiff::tz::Offset| offset.seconds().abs() < 24 * 3_600;
        if pieces.time().is_none() || !pieces.to_numeric_offset().is_some_and(is_offset) {
            return Err(InvalidTime);
        }
        let last = (pieces.date().year() == LAST_YEAR).then_some(jiff::Timestamp::MAX);
        let known = text.parse::<jiff::Timestamp>().ok().or(last);
        known.map(|t| Self(t.as_millisecond().min(LAST_MS))).ok_or(InvalidTime)
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(t) => write!(f, "{t:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

/// A text is not a date and time with a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidTime;

impl fmt::Display for InvalidTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "write the time with its offset, such as 2026-11-23T08:00:00Z or 2026-11-23T08:00:00+01:00",
        )
    }
}

impl std::error::Error for InvalidTime {}

/// What a clock on the wall shows: a day and a time of the day, wherever the clock is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LocalTime(DateTime);

impl LocalTime {
    /// Reads `2026-12-01T09:00`, with seconds or without. `None` if it is not written so, or is no day of the calendar.
    pub fn parse(text: &str) -> Option<Self> {
        let is_form = |(place, octet): (usize, u8)| match place {
            4 | 7 => octet == b'-',
            10 => octet == b'T',
            13 | 16 => octet == b':',
            _ => octet.is_ascii_digit(),
        };
        let is_form = matches!(text.len(), 16 | 19) && text.bytes().enumerate().all(is_form);
        if is_form { text.parse().ok().map(Self) } else { None }
    }

    /// What it shows.
    pub(crate) const fn shown(self) -> DateTime {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_offset_and_printed_in_utc() {
        let check = |text: &str, printed: Option<&str>| {
            assert_eq!(Timestamp::parse(text).ok().map(|t| t.to_string()).as_deref(), printed, "{text}");
        };
        check("2026-11-23T08:00:00Z", Some("2026-11-23T08:00:00.000Z"));
        check("2026-11-23T08:00:00.250+01:00", Some("2026-11-23T07:00:00.250Z"));
        let last = Some("9999-12-30T22:00:00.000Z");
        check("9999-12-30T22:00:00.999Z", last);
        check("9999-12-31T23:59:59Z", last);
        check("9999-12-31T23:59:59.999+02:00", last);
        check("9999-12-31T23:59:59", None);
        check("9999-12-32T00:00:00Z", None);
        check("2026-12-02T09:00:00+25:00", None);
        check("-009999-01-01T00:00:00Z", None);
        check("2026-11-23T08:00:00", None);
        check("2026-02-30T08:00:00Z", None);
        check("tomorrow", None);
        check("", None);
    }

    #[test]
    fn a_local_time_has_no_offset() {
        let check = |text: &str, shown: Option<&str>| {
            let read = LocalTime::parse(text).map(|local| local.shown().to_string());
            assert_eq!(read.as_deref(), shown, "{text}");
        };
        check("2026-12-01T09:00", Some("2026-12-01T09:00:00"));
        check("2026-12-01T09:00:30", Some("2026-12-01T09:00:30"));
        for wrong in [
            "2026-12-01T09:00Z",
            "2026-12-01T09:00:00Z",
            "2026-12-01T09",
            "2026-12-01 09:00",
            "2026-12-01",
            "2026-02-29T09:00",
            "2026-12-01T24:00",
            "2026-12-01T09:00:00.5",
            "20261201T090000",
            "+002026-12-01T09",
            "",
        ] {
            check(wrong, None);
        }
    }
}
