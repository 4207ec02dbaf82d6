//! Quiet hours: when somebody must not be sent what can wait, by the clocks where they are.
//!
//! Where somebody is, their number says: the area code in North America, the country elsewhere. That is one place with
//! every time zone that it touches, and since nobody knows which of them counts, a moment is open only if it is open in
//! each. Where a zone is stated for the contact who has the number, the clock is that one's alone; the law is still the one of
//! the number's place, and a number of no place has no hours either way. The hours are data with sources: the law of the country and of the state (`data/quiet_hours.csv`), and on top of
//! them a narrower window of the operator. `data/area_codes.csv` and `data/zones.csv` say where numbers are from.
//!
//! Clocks are changed twice a year in many places. A window is read on the clock of that place: [`Hours::is_open`] looks at
//! what the clock shows, and [`Hours::opens_at`] is the first moment at which that is open again, so a time that a change
//! leaves out never comes, and one that comes twice counts twice.
//!
//! A person who moved and kept their number has another clock than the number says, if nobody states it. An operator whose people
//! do that narrows the window. Public holidays are not known here.

use crate::address::{Country, PhoneNumber};
use crate::purpose::Purpose;
use crate::time::{LocalTime, Timestamp};
use jiff::civil::{DateTime, Time};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase};
use jiff::{Timestamp as Instant, ToSpan};
use std::collections::HashMap;
use std::fmt;
use std::sync::{LazyLock, OnceLock};

/// When somebody may be sent marketing.
const HOURS: &str = include_str!("../data/quiet_hours.csv");
/// Where the area codes of North America are.
const AREA_CODES: &str = include_str!("../data/area_codes.csv");
/// The time zones of countries.
const ZONES: &str = include_str!("../data/zones.csv");
/// Days ahead in which an opening is looked for. Hours are the same in each week, so what did not open by then opens only
/// when clocks are changed, if ever.
const AHEAD_DAYS: i32 = 8;
/// Minutes of a day.
const DAY_MINUTES: u16 = 24 * 60;

// ── hours ───────────────────────────────────────────────────────────────────────────────────────────────────

/// The open part of a day on a local clock: from its first minute to the one before its last, so 21:00 is outside of
/// 08:00–21:00.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    opens: u16,
    closes: u16,
}

impl Window {
    /// The whole day.
    pub const ALL: Self = Self { opens: 0, closes: DAY_MINUTES };

    /// Reads `10:00-18:00`; the end may be 24:00. It must be later than the beginning, since a day is one window.
    pub fn parse(text: &str) -> Option<Self> {
        let (opens, closes) = text.split_once('-')?;
        let window = Self { opens: minutes(opens)?, closes: minutes(closes)? };
        (window.opens < window.closes).then_some(window)
    }

    /// Whether it is open in this minute of the day.
    pub(crate) const fn holds(self, minute: u16) -> bool {
        self.opens <= minute && minute < self.closes
    }

    /// What is in both; `None` if nothing is.
    fn and(self, other: Self) -> Option<Self> {
        let both = Self { opens: self.opens.max(other.opens), closes: self.closes.min(other.closes) };
        (both.opens < both.closes).then_some(both)
    }
}

impl fmt::Display for Window {
    /// `08:00-21:00`, as it is read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { opens, closes } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", opens / 60, opens % 60, closes / 60, closes % 60)
    }
}

/// `08:00`, two digits each, up to `24:00`.
fn minutes(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let is_plain = |digits: &str| digits.len() == 2 && digits.bytes().all(|octet| octet.is_ascii_digit());
    let two = |digits: &str| is_plain(digits).then(|| digits.parse::<u16>().ok()).flatten();
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    let sum = hours * 60 + minutes;
    (minutes < 60 && sum <= DAY_MINUTES).then_some(sum)
}

/// The windows of a week, from Monday; `None` for a day that is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Week([Option<Window>; 7]);

impl Week {
    /// Never closed.
    pub const OPEN: Self = Self([Some(Window::ALL); 7]);
    /// Never open.
    const CLOSED: Self = Self([None; 7]);

    /// The same window each day.
    pub const fn daily(window: Window) -> Self {
        Self([Some(window); 7])
    }

    /// What is open in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let mut both = Self::CLOSED;
        for (day, window) in both.0.iter_mut().enumerate() {
            *window = self.0[day].zip(other.0[day]).and_then(|(one, other)| one.and(other));
        }
        both
    }

    /// The window of the day that a local clock shows.
    fn on(&self, local: DateTime) -> Option<Window> {
        self.0[local.weekday().to_monday_zero_offset() as usize]
    }

    fn holds(&self, local: DateTime) -> bool {
        let minute = local.hour() as u16 * 60 + local.minute() as u16;
        self.on(local).is_some_and(|window| window.holds(minute))
    }
}

/// The hours of one person: the windows of a week, in each zone that they may be in.
#[derive(Debug, Clone, Copy)]
pub struct Hours<'a> {
    week: Week,
    zones: &'a [Zone],
}

/// A time zone with its name in the IANA database.
#[derive(Debug, Clone)]
pub struct Zone {
    name: &'static str,
    clock: TimeZone,
}

/// Every zone of the IANA database by its name; each is read when it is first asked for.
static CLOCKS: LazyLock<HashMap<String, OnceLock<Zone>>> = LazyLock::new(|| {
    TimeZoneDatabase::bundled().available().map(|name| (name.to_string(), OnceLock::new())).collect()
});

impl Zone {
    /// The zone of this name, written as the database has it.
    pub fn named(name: &str) -> Option<&'static Self> {
        let (name, zone) = CLOCKS.get_key_value(name)?;
        let read = || Self { name, clock: TimeZoneDatabase::bundled().get(name).expect("it is in the list") };
        Some(zone.get_or_init(read))
    }

    /// Its name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The first moment at which its clock shows this time. Where the clock is set over it, the moment at which that is done: the
    /// first one that is later by the clock. Stops at the ends of time.
    fn moment(&self, local: LocalTime) -> Timestamp {
        let shown = local.shown();
        let at = |offset: Offset| offset.to_timestamp(shown).unwrap_or(Instant::MAX);
        let moment = match self.clock.to_ambiguous_timestamp(shown).offset() {
            AmbiguousOffset::Unambiguous { offset } => at(offset),
            AmbiguousOffset::Fold { before, .. } => at(before),
            AmbiguousOffset::Gap { after, .. } => {
                let mut changes = self.clock.following(at(after)).map(|change| change.timestamp());
                changes.find(|change| self.clock.to_datetime(*change) >= shown).unwrap_or(Instant::MAX)
            }
        };
        Timestamp::from_millis(moment.as_millisecond())
    }
}

/// The moment that a local time is for whoever has a number: by the clock of the stated zone, if there is one, else of the number's
/// zone. Where that may be one of several, the last of their moments, so that it is earlier nowhere. `None` for a number of no
/// place without a stated zone.
pub fn moment_of(local: LocalTime, number: PhoneNumber, stated: Option<&'static Zone>) -> Option<Timestamp> {
    let zones = match stated {
        Some(zone) => std::slice::from_ref(zone),
        None => &Place::of(number)?.zones,
    };
    zones.iter().map(|zone| zone.moment(local)).max()
}

impl<'a> Hours<'a> {
    /// The hours of a week in every one of some zones.
    pub const fn new(week: Week, zones: &'a [Zone]) -> Self {
        Self { week, zones }
    }

    /// Whether the clock shows an open hour in each zone.
    pub fn is_open(&self, at: Timestamp) -> bool {
        self.closed(instant(at)).is_none()
    }

    /// The first moment at or after this at which it is open in each zone: to the second. `None` if there is none within
    /// eight days, which is so where zones lie too far apart for the window.
    pub fn opens_at(&self, at: Timestamp) -> Option<Timestamp> {
        let begin = instant(at);
        let end = begin.checked_add((AHEAD_DAYS * 24).hours()).ok()?;
        let mut at = begin;
        // Each step goes to the next moment at which one zone opens; nothing before it is open there.
        while let Some(zone) = self.closed(at) {
            at = next_opening(&self.week, &zone.clock, at, end)?;
        }
        Some(Timestamp::from_millis(at.as_millisecond()))
    }

    /// A zone in which it is closed.
    fn closed(&self, at: Instant) -> Option<&'a Zone> {
        self.zones.iter().find(|zone| !self.week.holds(zone.clock.to_datetime(at)))
    }
}

/// The next moment after this, and not after `end`, at which a zone's clock shows an open hour.
fn next_opening(week: &Week, clock: &TimeZone, after: Instant, end: Instant) -> Option<Instant> {
    let opens = |at: Instant| at > after && at <= end && week.holds(clock.to_datetime(at));
    // The clock may be set into the window.
    let set = clock.following(after).map(|change| change.timestamp()).take_while(|at| *at <= end);
    let set = set.into_iter().find(|at| opens(*at));
    let today = clock.to_datetime(after).date();
    let shown = (0..=AHEAD_DAYS + 1).find_map(|days| {
        let midnight = today.checked_add(days.days()).ok()?.to_datetime(Time::midnight());
        let window = week.on(midnight)?;
        let opening = midnight.checked_add(i64::from(window.opens).minutes()).ok()?;
        // An hour that comes twice opens twice; one that is left out never comes.
        let offsets = match clock.to_ambiguous_timestamp(opening).offset() {
            AmbiguousOffset::Unambiguous { offset } => [Some(offset), None],
            AmbiguousOffset::Fold { before, after } => [Some(before), Some(after)],
            AmbiguousOffset::Gap { .. } => [None, None],
        };
        let moments = offsets.into_iter().flatten().filter_map(|offset| offset.to_timestamp(opening).ok());
        moments.filter(|at| opens(*at)).min()
    });
    [set, shown].into_iter().flatten().min()
}

pub(crate) fn instant(at: Timestamp) -> Instant {
    let limits = Instant::MIN.as_millisecond()..=Instant::MAX.as_millisecond();
    Instant::from_millisecond(at.as_millis().clamp(*limits.start(), *limits.end()))
        .expect("within its limits")
}

// ── where numbers are from ──────────────────────────────────────────────────────────────────────────────────

/// Where a number is from, as far as its digits say.
#[derive(Debug)]
pub struct Place {
    /// A country, or a country and its state: `SE`, `US-FL`.
    pub region: &'static str,
    /// What the law leaves open.
    pub week: Week,
    zones: Vec<Zone>,
}

impl Place {
    /// Where a number is from. `None` for numbers of no country, such as those of satellites. Takes up to some
    /// microseconds.
    pub fn of(number: PhoneNumber) -> Option<&'static Self> {
        let places = &*PLACES;
        match number.calling_code() {
            NORTH_AMERICA => {
                let area = number.digits() / 10_u64.pow(7) % 1_000;
                places.areas.get(&(area as u16)).or(places.countries.get("US"))
            }
            code => match places.of_code.get(&code) {
                Some(country) => places.countries.get(country.as_str()),
                None => places.countries.get(number.country()?.as_str()),
            },
        }
    }

    /// The country that it is in.
    pub fn country(&self) -> &'static str {
        &self.region[..2]
    }

    /// The hours there, within a window of ours.
    pub fn hours(&self, window: Window) -> Hours<'_> {
        Hours::new(self.open(window), &self.zones)
    }

    /// What the law leaves open, within a window of ours.
    fn open(&self, window: Window) -> Week {
        self.week.and(Week::daily(window))
    }

    /// The names of its zones.
    pub fn zones(&self) -> impl Iterator<Item = &'static str> {
        self.zones.iter().map(|zone| zone.name)
    }
}

/// The calling code of the North American Numbering Plan.
const NORTH_AMERICA: u16 = 1;

/// One line of the table of hours.
#[derive(Debug, Clone, Copy)]
struct Rule {
    region: &'static str,
    week: Week,
}

struct Places {
    areas: HashMap<u16, Place>,
    countries: HashMap<&'static str, Place>,
    /// The country of a calling code that only one has.
    of_code: HashMap<u16, Country>,
}

static PLACES: LazyLock<Places> = LazyLock::new(Places::read);

/// Reads the tables. For the start of a program, so that the first message doesn't wait.
pub fn warm_up() {
    LazyLock::force(&PLACES);
}

/// The lines of a table below its heading.
fn lines(table: &'static str) -> impl Iterator<Item = &'static str> {
    table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).skip(1)
}

impl Places {
    fn read() -> Self {
        let known = TimeZoneDatabase::bundled();
        let clock = |name: &'static str| {
            let clock = known.get(name).unwrap_or_else(|_| panic!("no time zone is called {name}"));
            Zone { name, clock }
        };
        let rules: Vec<Rule> = lines(HOURS)
            .map(|line| rule(line).unwrap_or_else(|| panic!("in data/quiet_hours.csv: {line}")))
            .collect();
        let place = |region: &'static str, zones: &'static str| {
            let zones = zones.split(' ').map(clock).collect();
            Place { region, week: law(&rules, region), zones }
        };
        let areas = lines(AREA_CODES).map(|line| {
            let read = || {
                let (code, rest) = line.split_once(',')?;
                let (region, zones) = rest.split_once(',')?;
                Some((code.parse().ok()?, place(region, zones)))
            };
            read().unwrap_or_else(|| panic!("in data/area_codes.csv: {line}"))
        });
        let countries: HashMap<&'static str, Place> = lines(ZONES)
            .map(|line| {
                let (country, zones) =
                    line.split_once(',').unwrap_or_else(|| panic!("in data/zones.csv: {line}"));
                (country, place(country, zones))
            })
            .collect();
        let mut of_code: HashMap<u16, Option<Country>> = HashMap::new();
        for country in countries.keys().filter_map(|country| Country::parse(country).ok()) {
            of_code.entry(country.calling_code()).and_modify(|only| *only = None).or_insert(Some(country));
        }
        let of_code = of_code.into_iter().filter_map(|(code, only)| Some((code, only?))).collect();
        Self { areas: areas.collect(), countries, of_code }
    }
}

/// Reads one line of the table of hours.
fn rule(line: &'static str) -> Option<Rule> {
    const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let mut cells = line.splitn(6, ',');
    let (region, days) = (cells.next()?, cells.next()?);
    let window = Window { opens: minutes(cells.next()?)?, closes: minutes(cells.next()?)? };
    let (checked, source) = (cells.next()?, cells.next()?);
    let is_date = checked.parse::<jiff::civil::Date>().is_ok();
    let (first, last) = days.split_once('-').unwrap_or((days, days));
    let day = |word: &str| DAYS.iter().position(|day| *day == word);
    let (first, last) = (day(first)?, day(last)?);
    let mut week = Week::CLOSED;
    week.0.get_mut(first..=last)?.fill(Some(window));
    (is_date && !source.is_empty() && window.opens < window.closes).then_some(Rule { region, week })
}

/// What the law leaves open in a region: the hours of its state within those of its country.
fn law(rules: &[Rule], region: &str) -> Week {
    let of = |region: &str| {
        let lines = rules.iter().filter(|rule| rule.region == region);
        // Lines of one region are about different days.
        lines.map(|rule| rule.week).reduce(|week, more| {
            let mut sum = week;
            for (day, window) in sum.0.iter_mut().enumerate() {
                *window = window.or(more.0[day]);
            }
            sum
        })
    };
    let country = of(&region[..2]).unwrap_or(Week::OPEN);
    of(region).map_or(country, |own| own.and(country))
}

// ── the policy ──────────────────────────────────────────────────────────────────────────────────────────────

/// What happens to a message outside of the hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outside {
    /// It waits until they begin.
    Hold,
    /// It is refused.
    Refuse,
}

/// What an operator decides about quiet hours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Which messages have them.
    pub purposes: Vec<Purpose>,
    /// What happens outside.
    pub outside: Outside,
    /// Only within these hours, everywhere, whatever the law leaves open.
    pub window: Window,
    /// Countries in which there are none.
    pub except: Vec<Country>,
}

impl Policy {
    /// No quiet hours.
    pub const OFF: Self =
        Self { purposes: Vec::new(), outside: Outside::Hold, window: Window::ALL, except: Vec::new() };

    /// Whether messages of a purpose have quiet hours.
    pub fn concerns(&self, purpose: Purpose) -> bool {
        self.purposes.contains(&purpose)
    }

    /// Whether it matters for a message which clock its recipient has: only then it is worth being looked up.
    pub fn asks_clock(&self, purpose: Purpose, number: PhoneNumber) -> bool {
        self.place(purpose, number).is_some_and(|place| place.open(self.window) != Week::OPEN)
    }

    /// Where a number is from that has quiet hours for messages of a purpose.
    pub(crate) fn place(&self, purpose: Purpose, number: PhoneNumber) -> Option<&'static Place> {
        let place = if self.concerns(purpose) { Place::of(number)? } else { return None };
        let is_excepted = self.except.iter().any(|country| country.as_str() == place.country());
        (!is_excepted).then_some(place)
    }
}

impl Default for Policy {
    /// Marketing waits for the hours of the law.
    fn default() -> Self {
        Self { purposes: vec![Purpose::Marketing], ..Self::OFF }
    }
}

/// Why it is quiet now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// Whose hours: `SE`, `US-FL`.
    pub region: &'static str,
    /// A zone in which it is closed.
    pub zone: &'static str,
    /// Whether that zone is stated for the contact, and not one of the number's.
    pub is_stated: bool,
    /// What the clock shows there.
    shown: DateTime,
    /// The window of that day, if it has one.
    window: Option<Window>,
    /// When it opens; `None` if never, because the number may be in zones that are never open together, or the hours have
    /// nothing in common.
    pub opens_at: Option<Timestamp>,
}

impl Closed {
    /// Asks whether it is quiet for a number at this moment, by the zone that is stated for its contact, if one is.
    pub fn at(
        policy: &Policy,
        purpose: Purpose,
        number: PhoneNumber,
        stated: Option<&'static Zone>,
        at: Timestamp,
    ) -> Option<Self> {
        let place = policy.place(purpose, number)?;
        let hours = match stated {
            Some(zone) => Hours::new(place.open(policy.window), std::slice::from_ref(zone)),
            None => place.hours(policy.window),
        };
        let zone = hours.closed(instant(at))?;
        let shown = zone.clock.to_datetime(instant(at));
        let opens_at = hours.opens_at(at);
        let (region, is_stated) = (place.region, stated.is_some());
        Some(Self { region, zone: zone.name, is_stated, shown, window: hours.week.on(shown), opens_at })
    }
}

impl fmt::Display for Closed {
    /// A sentence without a full stop, and without the number: `it is Sat 22:10 by the clock of America/New_York, and in
    /// US-FL messages like this go 08:00-20:00 on that day`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (zone, region, shown) = (self.zone, self.region, self.shown.strftime("%a %H:%M"));
        let whose = if self.is_stated { ", the contact's stated time zone" } else { "" };
        write!(f, "it is {shown} by the clock of {zone}{whose}, and in {region} messages like this ")?;
        match self.window {
            Some(window) => write!(f, "go {window} on that day")?,
            None => f.write_str("do not go on that day")?,
        }
        match self.opens_at {
            Some(_) => Ok(()),
            None if self.is_stated => f.write_str("; there is no such hour within eight days"),
            None => f.write_str("; the time zones that the number may be in are never open together"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    fn zone(name: &'static str) -> Zone {
        Zone { name, clock: TimeZoneDatabase::bundled().get(name).expect(name) }
    }

    fn number(digits: &str) -> PhoneNumber {
        PhoneNumber::from_stored(digits).expect(digits)
    }

    fn place(digits: &str) -> &'static Place {
        Place::of(number(digits)).expect(digits)
    }

    fn week(window: &str) -> Week {
        Week::daily(Window::parse(window).expect(window))
    }

    fn every_zone() -> Vec<Zone> {
        let known = TimeZoneDatabase::bundled();
        let names = known.available().map(|name| &*name.to_string().leak());
        names.map(|name| Zone { name, clock: known.get(name).expect(name) }).collect()
    }

    /// The weeks of every region, and windows of operators that begin and end where clocks are changed.
    fn every_week() -> Vec<Week> {
        let places = &*PLACES;
        let places = places.areas.values().chain(places.countries.values());
        let mut weeks: Vec<Week> = Vec::new();
        let own = ["10:00-18:00", "00:00-00:30", "01:30-02:30", "02:15-02:45", "03:00-03:01", "23:30-24:00"];
        for found in places.map(|place| place.week).chain(own.map(week)) {
            if !weeks.contains(&found) {
                weeks.push(found);
            }
        }
        weeks
    }

    /// What the clock shows and whether that is open, computed another way than the code does it.
    fn is_open(week: &Week, zone: &Zone, at: Timestamp) -> bool {
        let local_s =
            at.as_millis().div_euclid(1_000) + i64::from(zone.clock.to_offset(instant(at)).seconds());
        // The first of January 1970 was a Thursday.
        let weekday = (local_s.div_euclid(86_400) + 3).rem_euclid(7);
        let minute = local_s.rem_euclid(86_400) / 60;
        let window = week.0[weekday as usize];
        window.is_some_and(|window| (i64::from(window.opens)..i64::from(window.closes)).contains(&minute))
    }

    /// Holds the moment of opening to what is promised of it: open everywhere, and nothing before it was.
    fn check(week: &Week, zones: &[Zone], from: Timestamp) {
        const STEP_MS: i64 = 15 * 60_000;
        let hours = Hours::new(*week, zones);
        let all_open = |at: Timestamp| zones.iter().all(|zone| is_open(week, zone, at));
        let told =
            || format!("{:?} from {from}: {week:?}", zones.iter().map(|zone| zone.name).collect::<Vec<_>>());
        assert_eq!(hours.is_open(from), all_open(from), "{}", told());
        let until = match hours.opens_at(from) {
            Some(opens_at) => {
                assert!(opens_at >= from && all_open(opens_at), "{} opens at {opens_at}", told());
                assert!(
                    opens_at == from || !all_open(opens_at.plus_ms(-1)),
                    "{} opens at {opens_at}",
                    told()
                );
                opens_at
            }
            None => from.plus_s(8 * 86_400),
        };
        let mut before = from;
        while before < until {
            assert!(!all_open(before), "{} was open at {before}, before {until}", told());
            before = before.plus_ms(STEP_MS);
        }
    }

    #[test]
    fn around_each_change_of_clocks_until_2030_nothing_opens_early_late_or_when_the_clock_does_not_show_it() {
        let (first, last) = (instant(at("2024-01-01T00:00:00Z")), instant(at("2031-01-01T00:00:00Z")));
        let weeks = every_week();
        let (zones, mut changes) = (every_zone(), 0);
        assert!(zones.len() > 400, "{}", zones.len());
        for zone in &zones {
            let set =
                zone.clock.following(first).map(|change| change.timestamp()).take_while(|at| *at < last);
            for change in set.collect::<Vec<_>>() {
                let change = Timestamp::from_millis(change.as_millisecond());
                for (n, minutes) in
                    [-36 * 60, -9 * 60, -150, -61, -20, 0, 10, 59, 125].into_iter().enumerate()
                {
                    // Each week meets each distance somewhere.
                    for week in weeks.iter().skip((n + changes) % 2).step_by(2) {
                        check(week, std::slice::from_ref(zone), change.plus_s(minutes * 60));
                    }
                }
                changes += 1;
            }
        }
        assert!(changes > 2_000, "{changes}");
    }

    fn moment() -> impl Strategy<Value = Timestamp> {
        let (first, last) = (at("2024-01-01T00:00:00Z"), at("2031-01-01T00:00:00Z"));
        (first.as_millis()..last.as_millis()).prop_map(Timestamp::from_millis)
    }

    proptest! {
        #[test]
        fn at_any_moment_until_2030_the_opening_is_the_first_in_every_zone(from in moment(), n in any::<prop::sample::Index>()) {
            static ZONES: LazyLock<Vec<Zone>> = LazyLock::new(every_zone);
            static WEEKS: LazyLock<Vec<Week>> = LazyLock::new(every_week);
            let zone = &ZONES[n.index(ZONES.len())];
            for week in WEEKS.iter() {
                check(week, std::slice::from_ref(zone), from);
            }
        }

        /// Whatever zone is stated, by whatever law: what is said is open by its clock, and nothing before it was; and without hours
        /// the clock is not asked for.
        #[test]
        fn by_a_stated_zone_it_opens_at_the_first_moment_that_its_clock_and_the_law_of_the_number_leave_open(
            from in moment(), zone in any::<prop::sample::Index>(), area in 201_u64..990, narrow in any::<bool>()
        ) {
            static STATED: LazyLock<Vec<&'static Zone>> = LazyLock::new(|| {
                every_zone().iter().filter_map(|zone| Zone::named(zone.name)).collect()
            });
            let zone = STATED[zone.index(STATED.len())];
            let number = PhoneNumber::from_digits(10_005_550_100 + area * 10_000_000).unwrap();
            let window = if narrow { Window::parse("11:30-14:00").unwrap() } else { Window::ALL };
            let policy = Policy { window, ..Policy::default() };
            let week = Place::of(number).unwrap().week.and(Week::daily(window));
            check(&week, std::slice::from_ref(zone), from);
            let closed = Closed::at(&policy, Purpose::Marketing, number, Some(zone), from);
            prop_assert_eq!(closed.is_none(), is_open(&week, zone, from));
            if let Some(closed) = closed {
                prop_assert!(policy.asks_clock(Purpose::Marketing, number));
                prop_assert_eq!(closed.opens_at, Hours::new(week, std::slice::from_ref(zone)).opens_at(from));
            }
        }

        /// No message is scheduled into a local time that its recipient's clock does not show.
        #[test]
        fn at_the_moment_of_a_local_time_the_clock_shows_it_or_the_first_that_there_is(
            at in moment(), n in any::<prop::sample::Index>(), area in 201_u64..990, is_stated in any::<bool>()
        ) {
            static STATED: LazyLock<Vec<Zone>> = LazyLock::new(every_zone);
            let zone = &STATED[n.index(STATED.len())];
            let local = zone.clock.to_datetime(instant(Timestamp::from_millis(at.as_millis() / 1_000 * 1_000)));
            let local = LocalTime::parse(&local.to_string()).expect("to the second");
            let number = PhoneNumber::from_digits(10_005_550_100 + area * 10_000_000).unwrap();
            let stated = if is_stated { Zone::named(zone.name) } else { None };
            let found = moment_of(local, number, stated).expect("it has a place");
            match stated {
                Some(zone) => check_moment(std::slice::from_ref(zone), local, found),
                None => check_moment(&Place::of(number).unwrap().zones, local, found),
            }
        }

        #[test]
        fn a_number_that_may_be_in_several_zones_is_sent_to_only_when_it_is_open_in_all(from in moment(), n in any::<prop::sample::Index>()) {
            let places: Vec<&Place> = PLACES.areas.values().chain(PLACES.countries.values()).collect();
            let place = places[n.index(places.len())];
            for window in [Window::ALL, Window::parse("10:00-18:00").unwrap(), Window::parse("06:30-23:00").unwrap()] {
                check(&place.week.and(Week::daily(window)), &place.zones, from);
            }
        }
    }

    #[test]
    fn a_window_is_read_and_printed() {
        for text in ["10:00-18:00", "00:00-24:00", "08:05-08:06"] {
            assert_eq!(Window::parse(text).map(|window| window.to_string()).as_deref(), Some(text));
        }
        for text in [
            "",
            "10-18",
            "18:00-10:00",
            "10:00-10:00",
            "10:60-18:00",
            "10:00-24:01",
            "1:00-2:00",
            "+1:00-02:00",
        ] {
            assert_eq!(Window::parse(text), None, "{text}");
        }
    }

    #[test]
    fn clocks_that_are_changed_open_when_they_show_it() {
        let check = |name: &'static str, window: &str, from: &str, opens_at: &str| {
            let zones = [zone(name)];
            let found = Hours::new(week(window), &zones).opens_at(at(from));
            assert_eq!(found, Some(at(opens_at)), "{name} {window} from {from}: {found:?}");
        };
        // 02:00 is set to 03:00: half past two does not come that day.
        check("Europe/Stockholm", "02:15-02:45", "2026-03-29T00:00:00Z", "2026-03-30T00:15:00Z");
        check("Europe/Stockholm", "02:30-08:00", "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z");
        // 03:00 is set to 02:00: a quarter past two comes twice, and the clock may go back into an hour that was over.
        check("Europe/Stockholm", "02:15-02:45", "2026-10-25T00:00:00Z", "2026-10-25T00:15:00Z");
        check("Europe/Stockholm", "02:15-02:45", "2026-10-25T00:50:00Z", "2026-10-25T01:15:00Z");
        check("Europe/Stockholm", "01:00-02:30", "2026-10-25T00:45:00Z", "2026-10-25T01:00:00Z");
        // Midnight does not come.
        check("Africa/Cairo", "00:00-00:30", "2026-04-23T12:00:00Z", "2026-04-24T21:00:00Z");
        check("America/New_York", "08:00-21:00", "2026-03-08T02:00:00Z", "2026-03-08T12:00:00Z");
        check("America/New_York", "08:00-21:00", "2026-11-01T01:00:00Z", "2026-11-01T13:00:00Z");
    }

    #[test]
    fn each_region_has_its_hours_by_the_law() {
        const FEDERAL: &str = "08:00-21:00";
        const TABLE: &[(&str, &str, [&str; 3])] = &[
            // region, a number there, Monday to Friday, Saturday, Sunday
            ("US-AL", "+12055550100", ["08:00-20:00", "08:00-20:00", "closed"]),
            ("US-CT", "+12035550100", ["09:00-20:00", "09:00-20:00", "09:00-20:00"]),
            ("US-FL", "+13055550100", ["08:00-20:00", "08:00-20:00", "08:00-20:00"]),
            ("US-KY", "+15025550100", ["10:00-21:00", "10:00-21:00", "10:00-21:00"]),
            ("US-LA", "+15045550100", ["08:00-20:00", "08:00-20:00", "closed"]),
            ("US-MA", "+16175550100", ["08:00-20:00", "08:00-20:00", "08:00-20:00"]),
            ("US-MD", "+13015550100", ["08:00-20:00", "08:00-20:00", "08:00-20:00"]),
            ("US-MI", "+13135550100", ["09:00-21:00", "09:00-21:00", "09:00-21:00"]),
            ("US-MN", "+16125550100", ["09:00-21:00", "09:00-21:00", "09:00-21:00"]),
            ("US-MS", "+16015550100", ["08:00-20:00", "08:00-20:00", "closed"]),
            ("US-NJ", "+12015550100", [FEDERAL, FEDERAL, FEDERAL]),
            ("US-NM", "+15055550100", ["09:00-21:00", "09:00-21:00", "09:00-21:00"]),
            ("US-NV", "+17025550100", ["09:00-20:00", "09:00-20:00", "09:00-20:00"]),
            ("US-OK", "+14055550100", ["08:00-20:00", "08:00-20:00", "08:00-20:00"]),
            ("US-RI", "+14015550100", ["09:00-18:00", "10:00-17:00", "closed"]),
            ("US-TX", "+15125550100", ["09:00-21:00", "09:00-21:00", "12:00-21:00"]),
            ("US-WA", "+12065550100", ["08:00-20:00", "08:00-20:00", "08:00-20:00"]),
            ("US-CA", "+12135550100", [FEDERAL, FEDERAL, FEDERAL]),
            ("US-NY", "+12125550100", [FEDERAL, FEDERAL, FEDERAL]),
            ("US", "+15550002222", [FEDERAL, FEDERAL, FEDERAL]),
            ("PR", "+17875550100", [FEDERAL, FEDERAL, FEDERAL]),
            ("VI", "+13405550100", [FEDERAL, FEDERAL, FEDERAL]),
            ("GU", "+16715550100", [FEDERAL, FEDERAL, FEDERAL]),
            ("MP", "+16705550100", [FEDERAL, FEDERAL, FEDERAL]),
            ("AS", "+16845550100", [FEDERAL, FEDERAL, FEDERAL]),
            ("FR", "+33612345678", ["08:00-20:00", "08:00-20:00", "closed"]),
            ("IN", "+919812345678", ["10:00-21:00", "10:00-21:00", "10:00-21:00"]),
            ("CA", "+14165550100", ["00:00-24:00", "00:00-24:00", "00:00-24:00"]),
            ("SE", "+46701234567", ["00:00-24:00", "00:00-24:00", "00:00-24:00"]),
        ];
        // From Monday to Sunday, in the summer of both halves.
        const DAYS: [&str; 7] = [
            "2026-07-06",
            "2026-07-07",
            "2026-07-08",
            "2026-07-09",
            "2026-07-10",
            "2026-07-11",
            "2026-07-12",
        ];
        for (region, digits, windows) in TABLE {
            let place = place(digits);
            assert_eq!(place.region, *region, "{digits}");
            // The hours of one zone alone: several are another test.
            let zones = &place.zones[..1];
            let hours = Hours::new(place.week, zones);
            for (day, date) in DAYS.iter().enumerate() {
                let shown = windows[day.saturating_sub(4)];
                let window = Window::parse(shown);
                let minute = |minute: u16| {
                    let date: jiff::civil::Date = date.parse().unwrap();
                    let local = date.at((minute / 60) as i8, (minute % 60) as i8, 0, 0);
                    let at = local.to_zoned(zones[0].clock.clone()).unwrap().timestamp();
                    Timestamp::from_millis(at.as_millisecond())
                };
                for n in 0..DAY_MINUTES {
                    let expected = window.is_some_and(|window| window.opens <= n && n < window.closes);
                    assert_eq!(hours.is_open(minute(n)), expected, "{region} {date} {shown} minute {n}");
                }
            }
        }
        let tested: BTreeSet<&str> = TABLE.iter().map(|(region, ..)| *region).collect();
        for region in lines(HOURS).filter_map(|line| line.split(',').next()) {
            assert!(tested.contains(region), "the line of {region} in data/quiet_hours.csv has no test");
        }
    }

    #[test]
    fn a_number_is_where_its_digits_say() {
        let check = |digits: &str, region: &str, zones: &[&str]| {
            let place = place(digits);
            assert_eq!(
                (place.region, place.zones().collect::<Vec<_>>()),
                (region, zones.to_vec()),
                "{digits}"
            );
        };
        check("+18505550100", "US-FL", &["America/New_York", "America/Chicago"]);
        check("+14485550100", "US-FL", &["America/New_York", "America/Chicago"]);
        check("+19155550100", "US-TX", &["America/Denver"]);
        check("+12085550100", "US-ID", &["America/Boise", "America/Los_Angeles"]);
        check("+14165550100", "CA", &["America/Toronto"]);
        check("+18765550100", "JM", &["America/Jamaica"]);
        check("+442079460000", "GB", &["Europe/London"]);
        check("+46701234567", "SE", &["Europe/Stockholm"]);
        check("+390612345678", "IT", &["Europe/Rome"]);
        check("+77012345678", "KZ", &["Asia/Almaty", "Asia/Qyzylorda"]);
        assert_eq!(place("+15550002222").zones().count(), 8);
        assert!(Place::of(number("+881612345678")).is_none());
    }

    #[test]
    fn every_line_of_the_tables_is_right() {
        let places = &*PLACES;
        assert!(places.areas.len() > 400 && places.countries.len() > 200);
        for (code, place) in &places.areas {
            assert!((200..1_000).contains(code) && !place.zones.is_empty(), "{code}");
            assert!(Country::parse(place.country()).is_ok(), "{code}: {}", place.region);
        }
        let regions: BTreeSet<&str> =
            places.areas.values().chain(places.countries.values()).map(|place| place.region).collect();
        for line in lines(HOURS) {
            let region = line.split(',').next().expect("a region");
            assert!(regions.contains(region), "nobody is in {region}: {line}");
        }
        // Each state, and the District of Columbia.
        assert_eq!(regions.iter().filter(|region| region.starts_with("US-")).count(), 51);
    }

    #[test]
    fn the_policy_says_who_has_quiet_hours() {
        let night = at("2026-07-06T03:00:00Z");
        let ask = |policy: &Policy, purpose, digits| Closed::at(policy, purpose, number(digits), None, night);
        let law = Policy::default();
        let closed = ask(&law, Purpose::Marketing, "+13055550100").expect("it is 23:00 in Miami");
        assert_eq!(
            closed.to_string(),
            "it is Sun 23:00 by the clock of America/New_York, and in US-FL messages like this go 08:00-20:00 on that day"
        );
        assert_eq!(closed.opens_at, Some(at("2026-07-06T12:00:00Z")));
        for purpose in [Purpose::Authentication, Purpose::Alert, Purpose::Transactional] {
            assert_eq!(ask(&law, purpose, "+13055550100"), None);
        }
        assert_eq!(ask(&law, Purpose::Marketing, "+46701234567"), None);
        assert_eq!(ask(&Policy::OFF, Purpose::Marketing, "+13055550100"), None);
        let except = Policy { except: vec![Country::US], ..Policy::default() };
        assert_eq!(ask(&except, Purpose::Marketing, "+13055550100"), None);
        assert!(ask(&except, Purpose::Marketing, "+33612345678").is_some(), "it is Monday 05:00 in Paris");
        let narrow = Policy { window: Window::parse("10:00-18:00").unwrap(), ..Policy::default() };
        assert_eq!(
            ask(&narrow, Purpose::Marketing, "+46701234567").and_then(|closed| closed.opens_at),
            Some(at("2026-07-06T08:00:00Z"))
        );
        // From Kaliningrad to Kamchatka there is no such hour.
        let never = ask(&narrow, Purpose::Marketing, "+79161234567").expect("it is never open everywhere");
        assert_eq!(never.opens_at, None);
        assert!(never.to_string().ends_with("are never open together"), "{never}");
    }

    #[test]
    fn a_stated_zone_is_the_clock_and_the_law_stays_that_of_the_number() {
        let check = |policy: &Policy, digits, stated: &str, from: &str, opens_at: Option<&str>| {
            let zone = Zone::named(stated).unwrap_or_else(|| panic!("no zone is called {stated}"));
            let closed = Closed::at(policy, Purpose::Marketing, number(digits), Some(zone), at(from));
            let found = closed.as_ref().map(|closed| closed.opens_at.expect("it opens"));
            assert_eq!(found, opens_at.map(at), "{digits} {stated} {from}: {closed:?}");
            if let Some(closed) = closed {
                assert_eq!((closed.zone, closed.is_stated), (stated, true));
            }
        };
        let law = Policy::default();
        // A number of Florida, in London: 08:00 to 20:00 there, and not in Miami.
        check(&law, "+13055550100", "Europe/London", "2026-07-06T06:59:59Z", Some("2026-07-06T07:00:00Z"));
        check(&law, "+13055550100", "Europe/London", "2026-07-06T07:00:00Z", None);
        check(&law, "+13055550100", "Europe/London", "2026-07-06T19:00:00Z", Some("2026-07-07T07:00:00Z"));
        // Central Florida has two zones; the one that is stated is enough.
        check(&law, "+18505550100", "America/New_York", "2026-07-06T12:30:00Z", None);
        // Texas closes until noon on Sundays, wherever its clock is.
        check(&law, "+15125550100", "Asia/Tokyo", "2026-07-05T02:00:00Z", Some("2026-07-05T03:00:00Z"));
        // What no law closes stays open, and so does what has no place.
        check(&law, "+46701234567", "Asia/Tokyo", "2026-07-06T18:00:00Z", None);
        check(&law, "+881612345678", "Asia/Tokyo", "2026-07-06T18:00:00Z", None);
        let narrow = Policy { window: Window::parse("10:00-18:00").unwrap(), ..Policy::default() };
        check(&narrow, "+46701234567", "Asia/Tokyo", "2026-07-06T09:00:00Z", Some("2026-07-07T01:00:00Z"));
        // A number that may be anywhere between Kaliningrad and Kamchatka has hours once it is known where.
        check(&narrow, "+79161234567", "Europe/Moscow", "2026-07-06T03:00:00Z", Some("2026-07-06T07:00:00Z"));
        let except = Policy { except: vec![Country::US], ..Policy::default() };
        check(&except, "+13055550100", "Europe/Paris", "2026-07-06T02:00:00Z", None);

        let london = Zone::named("Europe/London");
        let ask =
            |purpose| Closed::at(&law, purpose, number("+13055550100"), london, at("2026-07-06T03:00:00Z"));
        assert_eq!(ask(Purpose::Transactional), None);
        assert_eq!(
            ask(Purpose::Marketing).map(|closed| closed.to_string()).as_deref(),
            Some(
                "it is Mon 04:00 by the clock of Europe/London, the contact's stated time zone, and in US-FL messages like this go 08:00-20:00 on that day"
            )
        );
    }

    #[test]
    fn a_local_time_is_the_moment_at_which_the_last_clock_shows_it() {
        let check = |digits: &str, stated: Option<&str>, local: &str, expected: Option<&str>| {
            let stated = stated.map(|name| Zone::named(name).expect(name));
            let local = LocalTime::parse(local).expect(local);
            assert_eq!(
                moment_of(local, number(digits), stated),
                expected.map(at),
                "{digits} {stated:?} {local:?}"
            );
        };
        check("+46701234567", None, "2026-12-01T09:00", Some("2026-12-01T08:00:00Z"));
        check("+46701234567", None, "2026-07-01T09:00:30", Some("2026-07-01T07:00:30Z"));
        check("+46701234567", Some("Asia/Tokyo"), "2026-12-01T09:00", Some("2026-12-01T00:00:00Z"));
        // New York and Chicago: when it is 9:00 in Chicago it is 10:00 in New York.
        check("+18505550100", None, "2026-12-01T09:00", Some("2026-12-01T15:00:00Z"));
        check("+18505550100", Some("America/New_York"), "2026-12-01T09:00", Some("2026-12-01T14:00:00Z"));
        check("+881612345678", None, "2026-12-01T09:00", None);
        check("+881612345678", Some("Europe/London"), "2026-12-01T09:00", Some("2026-12-01T09:00:00Z"));
        // 02:00 is set to 03:00, and in the autumn 03:00 to 02:00.
        check("+46701234567", None, "2027-03-28T01:59:59", Some("2027-03-28T00:59:59Z"));
        check("+46701234567", None, "2027-03-28T02:00", Some("2027-03-28T01:00:00Z"));
        check("+46701234567", None, "2027-03-28T02:30", Some("2027-03-28T01:00:00Z"));
        check("+46701234567", None, "2027-03-28T03:00", Some("2027-03-28T01:00:00Z"));
        check("+46701234567", None, "2026-10-25T02:30", Some("2026-10-25T00:30:00Z"));
        // Half an hour, midnight, and a whole day that was left out.
        check("+46701234567", Some("Australia/Lord_Howe"), "2026-10-04T02:15", Some("2026-10-03T15:30:00Z"));
        check("+46701234567", Some("Africa/Cairo"), "2026-04-24T00:00", Some("2026-04-23T22:00:00Z"));
        check("+46701234567", Some("Pacific/Apia"), "2011-12-30T12:00", Some("2011-12-30T10:00:00Z"));
        // What cannot be counted is the end of time.
        let last = moment_of(LocalTime::parse("9999-12-31T23:59").unwrap(), number("+13055550100"), None);
        assert_eq!(last, Some(Timestamp::from_millis(Instant::MAX.as_millisecond())));
    }

    /// What the clock of a zone shows: seconds since 1970, as if it was in UTC.
    fn shown_s(zone: &Zone, at: Timestamp) -> i64 {
        at.as_millis().div_euclid(1_000) + i64::from(zone.clock.to_offset(instant(at)).seconds())
    }

    /// Holds the moment of a local time to what is promised of it: the clock shows it, or if it never does the first later one, and
    /// before it the clock had not come so far; of several clocks it is the last one's.
    fn check_moment(zones: &[Zone], local: LocalTime, found: Timestamp) {
        let wanted_s = local.shown().to_zoned(TimeZone::UTC).unwrap().timestamp().as_second();
        let told =
            || format!("{:?} {local:?}: {found}", zones.iter().map(|zone| zone.name).collect::<Vec<_>>());
        assert_eq!(found.as_millis() % 1_000, 0, "{}", told());
        let is_reached = |at: Timestamp| zones.iter().all(|zone| shown_s(zone, at) >= wanted_s);
        if let [zone] = zones {
            assert!(is_reached(found), "{}", told());
            for quarters in 0..=12 {
                let before = found.plus_s(-1 - quarters * 15 * 60);
                assert!(!is_reached(before), "{} {before}", told());
            }
            let exists = zone.clock.to_datetime(instant(found)) == local.shown();
            let is_left_out = matches!(
                zone.clock.to_ambiguous_timestamp(local.shown()).offset(),
                AmbiguousOffset::Gap { .. }
            );
            assert!(exists != is_left_out, "{}", told());
        } else {
            let each = zones.iter().map(|zone| zone.moment(local));
            assert_eq!(each.max(), Some(found), "{}", told());
        }
    }

    #[test]
    fn around_each_change_of_clocks_until_2030_no_local_time_is_a_moment_at_which_the_clock_shows_another() {
        let (first, last) = (instant(at("2024-01-01T00:00:00Z")), instant(at("2031-01-01T00:00:00Z")));
        let mut left_out = 0;
        for zone in &every_zone() {
            let changes = zone.clock.following(first).map(|change| change.timestamp());
            for change in changes.take_while(|at| *at < last).collect::<Vec<_>>() {
                let before = zone.clock.to_datetime(change.checked_sub(1.second()).unwrap());
                for minutes in [-90, -60, -31, -1, 0, 1, 14, 29, 30, 59, 60, 61, 120] {
                    let local = before.checked_add((minutes * 60 + 1).seconds()).unwrap();
                    let local = LocalTime::parse(&local.to_string()).expect("to the second");
                    let found = zone.moment(local);
                    left_out += i32::from(zone.clock.to_datetime(instant(found)) != local.shown());
                    check_moment(std::slice::from_ref(zone), local, found);
                }
            }
        }
        assert!(left_out > 1_000, "{left_out}");
    }

    #[test]
    fn a_clock_is_asked_for_only_where_it_decides() {
        let law = Policy::default();
        let check = |policy: &Policy, purpose, digits, expected| {
            assert_eq!(
                policy.asks_clock(purpose, number(digits)),
                expected,
                "{policy:?} {purpose:?} {digits}"
            );
        };
        check(&law, Purpose::Marketing, "+13055550100", true);
        check(&law, Purpose::Transactional, "+13055550100", false);
        check(&law, Purpose::Marketing, "+46701234567", false);
        check(&law, Purpose::Marketing, "+881612345678", false);
        check(&Policy::OFF, Purpose::Marketing, "+13055550100", false);
        let except = Policy { except: vec![Country::US], ..Policy::default() };
        check(&except, Purpose::Marketing, "+13055550100", false);
        let narrow = Policy { window: Window::parse("10:00-18:00").unwrap(), ..Policy::default() };
        check(&narrow, Purpose::Marketing, "+46701234567", true);
    }

    /// A name that a contact may have is one of which the clock is known.
    #[test]
    fn every_zone_that_may_be_stated_has_a_clock() {
        for zone in every_zone() {
            let name = crate::contact::ZoneName::parse(&zone.name.to_lowercase()).expect(zone.name);
            assert_eq!(Zone::named(name.as_str()).map(Zone::name), Some(zone.name));
        }
        assert!(Zone::named("Mars/Base").is_none());
    }
}
