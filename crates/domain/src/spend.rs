//! How much an account may spend: an estimate of what its messages cost, by the operator's own table of prices, and limits for
//! a day and a month.
//!
//! A message is counted when it is accepted, in the commit that accepts it, so that calls at the same time cannot spend the
//! same money twice. What is not sent in the end stays counted, since it is an estimate in any case: what a carrier asks for is
//! in its bill. Days and months are those of UTC. Amounts have no currency here; they are millionths of one.

use crate::address::PhoneNumber;
use crate::quiet_hours::instant;
use crate::time::Timestamp;
use jiff::ToSpan;
use jiff::tz::TimeZone;
use std::collections::BTreeMap;
use std::fmt;

/// Millionths of a currency's unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Amount(u64);

/// Digits after the point.
const DECIMALS: usize = 6;
const UNIT: u64 = 1_000_000;
/// The largest amount that may be written: a thousand million. Sums of such amounts are far from what a column holds.
const UNITS_MAX: u64 = 1_000_000_000;

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// From millionths.
    pub const fn from_millionths(millionths: u64) -> Self {
        Self(millionths)
    }

    /// The millionths.
    pub const fn millionths(self) -> u64 {
        self.0
    }

    /// Reads `12`, `0.0079` or `100.50`: at most six digits after the point, at most a thousand million.
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
        if !is_number(whole) || !is_number(part) || part.len() > DECIMALS {
            return None;
        }
        let units = whole.parse::<u64>().ok().filter(|units| *units <= UNITS_MAX)?;
        let part = format!("{part:0<DECIMALS$}").parse::<u64>().ok()?;
        Some(Self(units * UNIT + part))
    }

    /// With another one. Stays at what a column holds.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        let sum = self.0.saturating_add(other.0);
        Self(if sum > i64::MAX as u64 { i64::MAX as u64 } else { sum })
    }

    /// So many times.
    #[must_use]
    pub const fn times(self, count: u32) -> Self {
        Self(self.0.saturating_mul(count as u64))
    }

    /// How much it is of another one, in whole percent.
    pub const fn percent_of(self, whole: Self) -> u64 {
        if whole.0 == 0 { 100 } else { (self.0 as u128 * 100 / whole.0 as u128) as u64 }
    }
}

impl fmt::Display for Amount {
    /// As [`Amount::parse`] reads it, with two digits after the point at least.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = format!("{:06}", self.0 % UNIT);
        let part = part.trim_end_matches('0');
        write!(f, "{}.{part:0<2}", self.0 / UNIT)
    }
}

/// For how long a limit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Period {
    /// A day.
    Day,
    /// A month.
    Month,
}

impl Period {
    /// Both; the place in this list is the number in the store.
    pub const ALL: [Self; 2] = [Self::Day, Self::Month];

    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    /// When the one began that it is at this moment, in UTC.
    pub fn begins_at(self, at: Timestamp) -> Timestamp {
        let now = instant(at).to_zoned(TimeZone::UTC);
        let first = match self {
            Self::Day => now.start_of_day(),
            Self::Month => now.first_of_month().and_then(|first| first.start_of_day()),
        };
        Timestamp::from_millis(first.unwrap_or(now).timestamp().as_millisecond())
    }

    /// When the next one begins.
    pub fn ends_at(self, at: Timestamp) -> Timestamp {
        let begins = instant(self.begins_at(at)).to_zoned(TimeZone::UTC);
        let next = match self {
            Self::Day => begins.checked_add(1.day()),
            Self::Month => begins.checked_add(1.month()),
        };
        Timestamp::from_millis(next.unwrap_or(begins).timestamp().as_millisecond())
    }
}

/// How much may be spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// In a day; `None` for no limit.
    pub day: Option<Amount>,
    /// In a month.
    pub month: Option<Amount>,
}

impl Limits {
    /// That of a period.
    pub const fn of(self, period: Period) -> Option<Amount> {
        match period {
            Period::Day => self.day,
            Period::Month => self.month,
        }
    }

    /// Which limit a message of this price would go beyond: the longer one first, since it is open again later.
    pub fn beyond(self, spent: Spent, price: Amount) -> Option<Period> {
        let is_beyond =
            |period: &Period| self.of(*period).is_some_and(|limit| spent.of(*period).plus(price) > limit);
        [Period::Month, Period::Day].into_iter().find(is_beyond)
    }
}

/// What was spent in the day and in the month that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spent {
    /// In the day.
    pub day: Amount,
    /// In the month.
    pub month: Amount,
}

impl Spent {
    /// In a period.
    pub const fn of(self, period: Period) -> Amount {
        match period {
            Period::Day => self.day,
            Period::Month => self.month,
        }
    }

    /// With what a message costs.
    #[must_use]
    pub const fn plus(self, price: Amount) -> Self {
        Self { day: self.day.plus(price), month: self.month.plus(price) }
    }
}

/// What a message costs, and what it is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Priced {
    /// What it costs.
    pub price: Amount,
    /// The limits.
    pub limits: Limits,
}

/// What an operator decides about money.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// What a segment costs, by the beginnings of numbers: digits without `+`.
    pub prices: BTreeMap<String, Amount>,
    /// What it costs to numbers that none of them fits.
    pub other: Amount,
    /// How much each account may spend.
    pub limits: Limits,
}

impl Policy {
    /// Nothing is counted.
    pub const OFF: Self =
        Self { prices: BTreeMap::new(), other: Amount::ZERO, limits: Limits { day: None, month: None } };

    /// Whether there is any limit.
    pub const fn is_any(&self) -> bool {
        self.limits.day.is_some() || self.limits.month.is_some()
    }

    /// What so many segments to a number cost, by the longest beginning that fits.
    pub fn price(&self, recipient: PhoneNumber, segments: u32) -> Amount {
        let digits = recipient.digits().to_string();
        let fitting = (1..=digits.len()).rev().find_map(|length| self.prices.get(&digits[..length]));
        fitting.copied().unwrap_or(self.other).times(segments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn amount(text: &str) -> Amount {
        Amount::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    fn time(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    #[test]
    fn amounts_are_exact() {
        for (text, millionths, printed) in [
            ("0", 0, "0.00"),
            ("12", 12_000_000, "12.00"),
            ("0.0079", 7_900, "0.0079"),
            ("100.5", 100_500_000, "100.50"),
            ("0.000001", 1, "0.000001"),
            ("1000000000", 1_000_000_000_000_000, "1000000000.00"),
        ] {
            assert_eq!((amount(text).millionths(), amount(text).to_string().as_str()), (millionths, printed));
            assert_eq!(amount(printed), amount(text));
        }
        for text in
            ["", ".", "1.", ".5", "-1", "1e3", "0.0000001", "1000000001", "1,5", " 1", "99999999999999999999"]
        {
            assert_eq!(Amount::parse(text), None, "{text:?}");
        }
        assert_eq!(
            (amount("8.09").percent_of(amount("10")), amount("1").percent_of(Amount::ZERO)),
            (80, 100)
        );
    }

    #[test]
    fn a_segment_costs_what_the_longest_beginning_says() {
        let prices = [("1", "0.01"), ("1787", "0.02"), ("46", "0.05")];
        let prices = prices.map(|(prefix, text)| (prefix.to_owned(), amount(text)));
        let policy = Policy { prices: prices.into(), other: amount("0.10"), limits: Limits::default() };
        for (to, segments, expected) in [
            ("+13055550100", 1, "0.01"),
            ("+17875550100", 3, "0.06"),
            ("+46701234567", 2, "0.10"),
            ("+47912345678", 1, "0.10"),
        ] {
            let to = PhoneNumber::from_stored(to).unwrap();
            assert_eq!(policy.price(to, segments), amount(expected), "{to} {segments}");
        }
    }

    #[test]
    fn what_goes_beyond_a_limit_is_beyond_the_longer_one_first() {
        let check = |day: &str, month: &str, spent: (&str, &str), price: &str, expected: Option<Period>| {
            let limit = |text: &str| Amount::parse(text);
            let limits = Limits { day: limit(day), month: limit(month) };
            let spent = Spent { day: amount(spent.0), month: amount(spent.1) };
            assert_eq!(limits.beyond(spent, amount(price)), expected, "{day} {month} {spent:?} {price}");
        };
        check("", "", ("9999", "9999"), "1", None);
        check("10", "", ("9", "9999"), "1", None);
        check("10", "", ("9", "9999"), "1.000001", Some(Period::Day));
        check("10", "100", ("9", "99.5"), "2", Some(Period::Month));
        check("10", "100", ("10", "99"), "1", Some(Period::Day));
        check("10", "100", ("10", "100"), "0", None);
        check("0", "", ("0", "0"), "0.01", Some(Period::Day));
    }

    #[test]
    fn days_and_months_are_those_of_utc() {
        let at = time("2026-12-31T23:59:59.999Z");
        assert_eq!(Period::Day.begins_at(at), time("2026-12-31T00:00:00Z"));
        assert_eq!(Period::Month.begins_at(at), time("2026-12-01T00:00:00Z"));
        assert_eq!(Period::Day.ends_at(at), time("2027-01-01T00:00:00Z"));
        assert_eq!(Period::Month.ends_at(at), time("2027-01-01T00:00:00Z"));
        assert_eq!(Period::Month.ends_at(time("2028-02-29T12:00:00Z")), time("2028-03-01T00:00:00Z"));
    }

    proptest! {
        /// One after the other, whatever they cost: never more than a limit is spent, and what is refused would have been.
        #[test]
        fn no_more_is_spent_than_a_limit(prices in prop::collection::vec(0_u64..400, 0..60), day in 0_u64..2_000, month in 0_u64..4_000) {
            let limits = Limits { day: Some(Amount(day)), month: Some(Amount(month)) };
            let mut spent = Spent::default();
            for price in prices.into_iter().map(Amount) {
                let more = spent.plus(price);
                match limits.beyond(spent, price) {
                    None => spent = more,
                    Some(period) => prop_assert!(more.of(period) > limits.of(period).unwrap()),
                }
                prop_assert!(spent.day.millionths() <= day && spent.month.millionths() <= month);
            }
        }
    }
}
