//! How many segments may go from a sender in a day: what an operator writes for it, or what networks take from its brand.
//!
//! A message takes its segments of the day at its last moment, in a commit of the store, so that of those that go at the same
//! time on several nodes only as many go as fit. What does not fit waits for the next day. A day begins at midnight: in UTC,
//! or where the network counts that takes so much and no more (`data/throughput.csv`). Each submission counts whole, also one
//! that is tried again, because that is how networks count.

use crate::account::Environment;
use crate::address::{Country, PhoneNumber};
use crate::quiet_hours::{Place, instant};
use crate::time::Timestamp;
use jiff::ToSpan;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use std::sync::LazyLock;

/// How much networks take.
const TABLE: &str = include_str!("../data/throughput.csv");
/// A day of UTC: ms.
const DAY_MS: i64 = 24 * 3_600_000;
/// The zone of the days of a limit that an operator wrote.
const UTC: &str = "UTC";
/// The largest trust score.
pub const SCORE_MAX: u8 = 100;

/// How much may go in a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Daily {
    /// What it is counted by: a sender, or a brand with all its senders.
    pub name: String,
    /// Segments.
    pub segments: u32,
    /// Where the day begins at midnight.
    pub zone: &'static str,
    /// The country whose numbers count; `None` for all.
    pub country: Option<Country>,
}

impl Daily {
    /// What an operator wrote for one sender, as printed.
    pub fn of_sender(sender: &str, segments: u32) -> Self {
        Self { name: sender.to_owned(), segments, zone: UTC, country: None }
    }

    /// What networks take from all senders of a brand with this trust score, 0 to [`SCORE_MAX`].
    pub fn of_brand(brand: &str, score: u8) -> Self {
        let tier = TIERS.iter().find(|tier| tier.score_min <= score).expect("the last tier is for 0");
        let Tier { segments, zone, country, .. } = *tier;
        Self { name: format!("brand {brand}"), segments, zone, country: Some(country) }
    }

    /// Whether a message to this number counts.
    pub fn concerns(&self, recipient: PhoneNumber) -> bool {
        let country = || Place::of(recipient).map(Place::country);
        self.country.is_none_or(|of| country() == Some(of.as_str()))
    }

    /// The day that it is at this moment.
    pub fn day(&self, at: Timestamp) -> Day {
        if self.zone == UTC {
            let begins_at = Timestamp::from_millis(at.as_millis().div_euclid(DAY_MS) * DAY_MS);
            return Day { begins_at, ends_at: begins_at.plus_ms(DAY_MS) };
        }
        let zone = TimeZoneDatabase::bundled().get(self.zone).unwrap_or(TimeZone::UTC);
        let now = instant(at).to_zoned(zone);
        let begins = now.start_of_day().unwrap_or_else(|_| now.clone());
        let next = begins.checked_add(1.day()).and_then(|next| next.start_of_day()).unwrap_or(now);
        let moment = |zoned: jiff::Zoned| Timestamp::from_millis(zoned.timestamp().as_millisecond());
        Day { begins_at: moment(begins), ends_at: moment(next) }
    }
}

/// A day of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day {
    /// Its midnight.
    pub begins_at: Timestamp,
    /// The next one.
    pub ends_at: Timestamp,
}

/// Where it is counted what went: one number of segments.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Count {
    /// In which environment.
    pub environment: Environment,
    /// By what: [`Daily::name`].
    pub name: String,
    /// The day's beginning.
    pub day: Timestamp,
}

impl Count {
    /// Where it is counted what goes at this moment.
    pub fn of(daily: &Daily, environment: Environment, at: Timestamp) -> Self {
        Self { environment, name: daily.name.clone(), day: daily.day(at).begins_at }
    }
}

/// A limit, and how much went of it on the day at which somebody looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// The limit.
    pub daily: Daily,
    /// Segments.
    pub segments: u64,
}

impl Used {
    /// What is in the way of so many segments more at a moment of that day.
    pub fn full(&self, segments: u32, at: Timestamp) -> Option<Full> {
        Full::of(&self.daily, self.segments, segments, at)
    }
}

/// A limit that a message does not fit into any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full {
    /// When the next day begins; `None` where the message is longer than what may go in a whole day.
    pub opens_at: Option<Timestamp>,
}

impl Full {
    /// What is in the way of so many segments at this moment, if so many went on its day.
    pub fn of(daily: &Daily, used: u64, segments: u32, at: Timestamp) -> Option<Self> {
        let opens_at = || (segments <= daily.segments).then(|| daily.day(at).ends_at);
        (!fits(used, segments, daily.segments)).then(|| Self { opens_at: opens_at() })
    }
}

/// Whether so many segments more fit into a limit of which so many are used.
pub const fn fits(used: u64, segments: u32, limit: u32) -> bool {
    used.saturating_add(segments as u64) <= limit as u64
}

struct Tier {
    country: Country,
    score_min: u8,
    segments: u32,
    zone: &'static str,
}

/// The best first.
static TIERS: LazyLock<Vec<Tier>> = LazyLock::new(|| {
    let lines = TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).skip(1);
    lines.map(|text| tier(text).unwrap_or_else(|| panic!("in data/throughput.csv: {text}"))).collect()
});

fn tier(text: &'static str) -> Option<Tier> {
    let mut cells = text.splitn(6, ',');
    cells.next().filter(|scheme| *scheme == "10dlc")?;
    let country = Country::parse(cells.next()?).ok()?;
    let (score_min, segments) = (cells.next()?.parse().ok()?, cells.next()?.parse().ok()?);
    let zone = cells.next()?;
    cells.next().filter(|source| !source.is_empty())?;
    TimeZoneDatabase::bundled().get(zone).ok()?;
    Some(Tier { country, score_min, segments, zone })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn time(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    #[test]
    fn a_day_begins_at_midnight_where_the_network_counts() {
        let check = |daily: &Daily, at: &str, begins: &str, ends: &str| {
            let expected = Day { begins_at: time(begins), ends_at: time(ends) };
            assert_eq!(daily.day(time(at)), expected, "{} {at}", daily.zone);
        };
        let own = Daily::of_sender("Acme", 10);
        check(&own, "2026-11-29T23:59:59Z", "2026-11-29T00:00:00Z", "2026-11-30T00:00:00Z");
        check(&own, "2026-11-30T00:00:00Z", "2026-11-30T00:00:00Z", "2026-12-01T00:00:00Z");
        let brand = Daily::of_brand("B1", 10);
        check(&brand, "2026-11-29T07:59:59Z", "2026-11-28T08:00:00Z", "2026-11-29T08:00:00Z");
        check(&brand, "2026-11-29T08:00:00Z", "2026-11-29T08:00:00Z", "2026-11-30T08:00:00Z");
        // Days of 25 and of 23 hours.
        check(&brand, "2026-11-01T12:00:00Z", "2026-11-01T07:00:00Z", "2026-11-02T08:00:00Z");
        check(&brand, "2026-03-08T12:00:00Z", "2026-03-08T08:00:00Z", "2026-03-09T07:00:00Z");
    }

    #[test]
    fn a_brand_has_the_limit_of_its_score_to_numbers_of_the_country() {
        for (score, segments) in
            [(0, 2_000), (24, 2_000), (25, 10_000), (49, 10_000), (50, 40_000), (75, 200_000), (100, 200_000)]
        {
            assert_eq!(Daily::of_brand("B1", score).segments, segments, "{score}");
        }
        let brand = Daily::of_brand("B1", 60);
        for (to, counts) in [("+13055550100", true), ("+14165550100", false), ("+46701234567", false)] {
            let to = PhoneNumber::from_stored(to).unwrap();
            assert_eq!(
                (brand.concerns(to), Daily::of_sender("Acme", 1).concerns(to)),
                (counts, true),
                "{to}"
            );
        }
        assert_ne!(brand.name, Daily::of_sender("B1", 1).name);
    }

    #[test]
    fn what_fits_is_as_much_as_is_left() {
        assert!(fits(0, 3, 3) && fits(2, 1, 3) && !fits(2, 2, 3) && !fits(3, 1, 3) && !fits(u64::MAX, 1, 3));
    }

    proptest! {
        #[test]
        fn every_moment_is_in_its_day_and_days_follow_each_other(at_s in 1_600_000_000_i64..2_000_000_000, score in 0_u8..=100) {
            let brand = Daily::of_brand("B1", score);
            let at = Timestamp::from_millis(at_s * 1_000);
            let day = brand.day(at);
            prop_assert!(day.begins_at <= at && at < day.ends_at);
            prop_assert_eq!(brand.day(day.ends_at).begins_at, day.ends_at);
            prop_assert_eq!(brand.day(day.ends_at.plus_ms(-1)), day);
        }

        #[test]
        fn days_of_utc_are_those_of_the_calendar(at_s in -2_000_000_000_i64..4_000_000_000) {
            let at = Timestamp::from_millis(at_s * 1_000);
            let begins = instant(at).to_zoned(TimeZone::UTC).start_of_day().expect("it has one");
            let day = Daily::of_sender("Acme", 1).day(at);
            prop_assert_eq!(day.begins_at.as_millis(), begins.timestamp().as_millisecond());
            prop_assert_eq!(day.ends_at.since_ms(day.begins_at), DAY_MS);
        }
    }
}
