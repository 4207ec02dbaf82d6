//! How often a person is sent to: caps on messages of some purposes in any day and any week.
//!
//! A message takes a *turn* of its recipient at its last moment, in a commit of the store, so that of two that go at the same
//! time on two nodes only as many go as the cap lets. A turn is a message's own: one that comes back to its queue and is sent
//! again has its turn moved, and is never in its own way. When a message is accepted nothing is taken yet; but what was sent
//! lately and what waits is looked at, so that it is held for when its turn will be, and its caller is told.
//!
//! Days and weeks slide: 24 hours and 7 times that, whatever the clock on the wall shows.
//!
//! A message may have several bounds: the operator's, and one of the law where its recipient's number is from, for marketing
//! (`data/frequency.csv`). Each counts the messages that it is about, and all must leave room.

use crate::purpose::Purpose;
use crate::time::Timestamp;
use std::fmt;
use std::sync::LazyLock;

/// How often the law lets somebody be sent marketing.
const LAWS: &str = include_str!("../data/frequency.csv");

/// A day: milliseconds.
pub const DAY_MS: i64 = 24 * 3_600_000;
/// A week: milliseconds. What is older counts nowhere.
pub const WEEK_MS: i64 = 7 * DAY_MS;
/// The largest cap. More is none.
pub const CAP_MAX: u32 = 100;
/// Turns and waiting messages of one person that are looked at, the earliest: more than all turns that a week of days with the
/// largest cap can have.
pub const COUNTED_MAX: usize = 1_000;

/// How many messages a person may get; 0 is no cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Caps {
    /// In any 24 hours.
    pub day: u32,
    /// In any seven days.
    pub week: u32,
}

impl Caps {
    /// None at all.
    pub const NONE: Self = Self { day: 0, week: 0 };

    /// Whether there is any.
    pub const fn is_any(self) -> bool {
        self.day > 0 || self.week > 0
    }
}

/// Another message to the same person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Other {
    /// When it went, or will go.
    pub at: Timestamp,
    /// Why it is sent.
    pub purpose: Purpose,
}

/// How often the law of a state lets somebody be sent marketing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Law {
    /// Whose law: `US-FL`.
    pub region: &'static str,
    /// How many messages in any 24 hours: 1 to [`CAP_MAX`].
    pub per_day: u32,
    /// How it is cited.
    pub name: &'static str,
}

impl Law {
    /// The law of a region, if it has one.
    pub fn of(region: &str) -> Option<&'static Self> {
        static ALL: LazyLock<Vec<Law>> = LazyLock::new(|| {
            let lines = LAWS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).skip(1);
            lines
                .map(|line| Law::read(line).unwrap_or_else(|| panic!("in data/frequency.csv: {line}")))
                .collect()
        });
        ALL.iter().find(|law| law.region == region)
    }

    fn read(line: &'static str) -> Option<Self> {
        let mut cells = line.splitn(5, ',');
        let (region, per_day, name) = (cells.next()?, cells.next()?.parse().ok()?, cells.next()?);
        let (checked, source) = (cells.next()?, cells.next()?);
        let is_date = checked.parse::<jiff::civil::Date>().is_ok();
        let is_whole = is_date && !name.is_empty() && !source.is_empty() && (1..=CAP_MAX).contains(&per_day);
        is_whole.then_some(Self { region, per_day, name })
    }
}

impl fmt::Display for Law {
    /// `the law of US-FL (Fla. Stat. 501.616(6)(b): 3 in 24 hours)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the law of {} ({}: {} in 24 hours)", self.region, self.name, self.per_day)
    }
}

/// A bound on messages of some purposes to a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// Which messages count.
    pub purposes: Vec<Purpose>,
    /// How many.
    pub caps: Caps,
    /// The law whose bound it is; `None` for the operator's.
    pub law: Option<&'static Law>,
}

impl Bound {
    /// The moments of those that count, in order.
    fn counted(&self, others: &[Other]) -> Vec<Timestamp> {
        let counted = others.iter().filter(|other| self.purposes.contains(&other.purpose));
        let mut moments: Vec<Timestamp> = counted.map(|other| other.at).collect();
        moments.sort_unstable();
        moments
    }
}

/// The first moment from this one on at which one more may go to a person, by the others, in any order. `None` if there is none
/// within a week.
pub fn opens_at(bounds: &[Bound], others: &[Other], from: Timestamp) -> Option<Timestamp> {
    let counted: Vec<_> = bounds.iter().map(|bound| (bound.caps, bound.counted(others))).collect();
    let windows = counted.iter().flat_map(|(caps, moments)| {
        [Window::new(moments, caps.day, DAY_MS), Window::new(moments, caps.week, WEEK_MS)]
    });
    let windows: Vec<Window<'_>> = windows.collect();
    let lets = |at: &Timestamp| windows.iter().all(|window| window.fits(*at));
    if lets(&from) {
        return Some(from);
    }
    // It can only open where another one leaves a window.
    let ends = others.iter().flat_map(|other| [other.at.plus_ms(DAY_MS), other.at.plus_ms(WEEK_MS)]);
    let mut ends: Vec<Timestamp> = ends.filter(|at| *at > from && at.since_ms(from) <= WEEK_MS).collect();
    ends.sort_unstable();
    ends.into_iter().find(lets)
}

/// The law that leaves no room at this moment, if one of these bounds is one.
pub fn law_against(bounds: &[Bound], others: &[Other], at: Timestamp) -> Option<&'static Law> {
    let of_law = bounds.iter().filter(|bound| bound.law.is_some());
    let mut against = of_law.filter(|bound| opens_at(std::slice::from_ref(bound), others, at) != Some(at));
    against.next()?.law
}

/// A window that slides over moments in order, prepared so that each question costs a search and not a pass.
struct Window<'o> {
    others: &'o [Timestamp],
    /// More than 0, or nothing is asked.
    cap: usize,
    ms: i64,
    /// For each moment, and behind the last: how many of those before it begin a run of `cap` within less than a window.
    full: Vec<usize>,
}

impl<'o> Window<'o> {
    fn new(others: &'o [Timestamp], cap: u32, ms: i64) -> Self {
        let cap = usize::try_from(cap).unwrap_or(usize::MAX);
        let mut full = vec![0];
        if cap > 0 {
            full.extend(others.windows(cap).scan(0, |count, run| {
                *count += usize::from(run[cap - 1].since_ms(run[0]) < ms);
                Some(*count)
            }));
        }
        Self { others, cap, ms, full }
    }

    /// Whether one more at this moment leaves every window that it is in with at most `cap` of them.
    fn fits(&self, at: Timestamp) -> bool {
        let Self { others, cap, ms, ref full } = *self;
        if cap == 0 {
            return true;
        }
        // One too many is `cap` of the others and this one within less than a window: this one behind them, before them, or
        // between the first and the last of them.
        let before = others.partition_point(|other| *other <= at);
        let is_behind = before >= cap && at.since_ms(others[before - cap]) < ms;
        let is_ahead = others.get(before + cap - 1).is_some_and(|last| last.since_ms(at) < ms);
        let runs = |begin: usize| full[begin.min(full.len() - 1)];
        let is_between = runs(before) > runs((before + 1).saturating_sub(cap));
        !(is_behind || is_ahead || is_between)
    }
}

/// What happens to a message for which there is no turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Beyond {
    /// It waits for its turn, at most a week.
    #[default]
    Hold,
    /// It is refused.
    Refuse,
}

/// What an operator decides about how often people are sent to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// The purposes whose messages count, and are held.
    pub purposes: Vec<Purpose>,
    /// How many.
    pub caps: Caps,
    /// What happens to one too many.
    pub beyond: Beyond,
}

impl Policy {
    /// No caps.
    pub const OFF: Self = Self { purposes: Vec::new(), caps: Caps::NONE, beyond: Beyond::Hold };

    /// Whether messages of a purpose count.
    pub fn concerns(&self, purpose: Purpose) -> bool {
        self.caps.is_any() && self.purposes.contains(&purpose)
    }

    /// What bounds messages of a purpose: the operator's caps, and a law that holds for the number.
    pub fn bounds(&self, purpose: Purpose, law: Option<&'static Law>) -> Vec<Bound> {
        let own = self.concerns(purpose).then(|| Bound {
            purposes: self.purposes.clone(),
            caps: self.caps,
            law: None,
        });
        let law = law.map(|law| Bound {
            purposes: vec![Purpose::Marketing],
            caps: Caps { day: law.per_day, week: 0 },
            law: Some(law),
        });
        own.into_iter().chain(law).collect()
    }

    /// The purposes that any bound counts.
    pub fn counted(&self) -> Vec<Purpose> {
        let own = if self.caps.is_any() { self.purposes.as_slice() } else { &[] };
        let is_own = |purpose: &Purpose| own.contains(purpose) || *purpose == Purpose::Marketing;
        Purpose::ALL.into_iter().filter(is_own).collect()
    }
}

/// What became of a message that asked for its turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// It has it, and may go now.
    Taken,
    /// There is none now, because of these.
    Full(Vec<Other>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR_MS: i64 = 3_600_000;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + hours * HOUR_MS)
    }

    fn offers(moments: &[Timestamp]) -> Vec<Other> {
        moments.iter().map(|at| Other { at: *at, purpose: Purpose::Marketing }).collect()
    }

    fn opens_by(caps: Caps, others: &[Timestamp], from: Timestamp) -> Option<Timestamp> {
        let bound = Bound { purposes: vec![Purpose::Marketing], caps, law: None };
        opens_at(&[bound], &offers(others), from)
    }

    #[test]
    fn each_state_has_its_law() {
        const TABLE: &[(&str, u32, &str)] = &[
            ("US-FL", 3, "the law of US-FL (Fla. Stat. 501.616(6)(b): 3 in 24 hours)"),
            ("US-MD", 3, "the law of US-MD (Md. Code Com. Law 14-4502: 3 in 24 hours)"),
            ("US-OK", 3, "the law of US-OK (15 O.S. 775C.4: 3 in 24 hours)"),
        ];
        for (region, per_day, told) in TABLE {
            let law = Law::of(region).expect(region);
            assert_eq!((law.per_day, law.to_string().as_str()), (*per_day, *told));
            let bounds = Policy::OFF.bounds(Purpose::Marketing, Some(law));
            let went: Vec<Timestamp> = (0..i64::from(*per_day)).map(at).collect();
            let one_less = &offers(&went)[1..];
            assert_eq!(opens_at(&bounds, one_less, at(5)), Some(at(5)), "{region}");
            assert_eq!(opens_at(&bounds, &offers(&went), at(5)), Some(at(24)), "{region}");
            assert_eq!(law_against(&bounds, &offers(&went), at(5)), Some(law));
            assert_eq!(law_against(&bounds, &offers(&went), at(24)), None);
        }
        let lines = LAWS.lines().filter(|line| line.starts_with("US-"));
        for region in lines.filter_map(|line| line.split(',').next()) {
            assert!(TABLE.iter().any(|(tested, ..)| *tested == region), "{region} has no test");
        }
        assert_eq!(Law::of("US-CA"), None);
    }

    #[test]
    fn the_stricter_of_two_bounds_decides_and_each_counts_its_own() {
        let policy = |purposes: &[Purpose], day| Policy {
            purposes: purposes.to_vec(),
            caps: Caps { day, week: 0 },
            ..Policy::OFF
        };
        let law = Law::of("US-FL");
        let check = |policy: &Policy, purpose, others: &[(i64, Purpose)], opens: i64, by_law: bool| {
            let others: Vec<Other> =
                others.iter().map(|(hours, purpose)| Other { at: at(*hours), purpose: *purpose }).collect();
            let bounds = policy.bounds(purpose, law.filter(|_| purpose == Purpose::Marketing));
            assert_eq!(opens_at(&bounds, &others, at(9)), Some(at(opens)), "{policy:?} {others:?}");
            assert_eq!(law_against(&bounds, &others, at(9)).is_some(), by_law, "{policy:?} {others:?}");
        };
        let (offer, alert) = (Purpose::Marketing, Purpose::Alert);
        let three = [(0, offer), (1, offer), (2, offer)];
        check(&policy(&[offer], 1), offer, &three[..1], 24, false);
        check(&policy(&[offer], 5), offer, &three, 24, true);
        check(&policy(&[offer], 1), offer, &three, 26, true);
        // What the law does not count the operator may, and the other way round.
        check(&policy(&[offer, alert], 3), offer, &[(0, offer), (1, alert), (2, alert)], 24, false);
        check(&policy(&[alert], 2), offer, &[(0, offer), (1, alert), (2, alert)], 9, false);
        check(&policy(&[alert], 2), alert, &three, 9, false);
        check(&policy(&[alert], 2), alert, &[(0, offer), (1, alert), (2, alert)], 25, false);
        assert_eq!(policy(&[alert], 2).counted(), [alert, offer]);
        assert_eq!(policy(&[alert], 0).counted(), [offer]);
    }

    #[test]
    fn a_turn_opens_when_another_leaves_the_window() {
        let check = |day, week, others: &[i64], from, expected: Option<i64>| {
            let others: Vec<Timestamp> = others.iter().map(|hours| at(*hours)).collect();
            let opens = opens_by(Caps { day, week }, &others, at(from));
            assert_eq!(opens, expected.map(at), "{day} {week} {others:?} {from}");
        };
        check(0, 0, &[0, 0, 0], 0, Some(0));
        check(1, 0, &[], 0, Some(0));
        check(1, 0, &[0], 0, Some(24));
        check(1, 0, &[0], 23, Some(24));
        check(1, 0, &[0], 24, Some(24));
        check(2, 0, &[0], 1, Some(1));
        check(2, 0, &[0, 10], 11, Some(24));
        check(2, 0, &[0, 10, 24], 25, Some(34));
        check(0, 2, &[0, 10], 100, Some(168));
        check(1, 2, &[0, 10], 100, Some(168));
        check(1, 3, &[0, 30], 31, Some(54));
        // What waits for later counts in the windows that it is in.
        check(1, 0, &[12], 0, Some(36));
        check(1, 0, &[24], 0, Some(0));
        check(2, 0, &[12, 20], 0, Some(36));
        check(2, 0, &[12, 30], 0, Some(0));
        // Not within a week.
        check(1, 0, &[0, 24, 48, 72, 96, 120, 144, 168], 0, None);
        check(0, 1, &[24], 0, None);
    }

    /// By the words alone: looks at every hour, and at every window that one more would be in then.
    fn plainly(caps: Caps, others: &[Timestamp], from: i64) -> Option<Timestamp> {
        let fits = |at: Timestamp, cap: u32, window_ms: i64| {
            let mut all = others.to_vec();
            all.push(at);
            let is_in = |begin: Timestamp, one: &&Timestamp| (0..window_ms).contains(&one.since_ms(begin));
            let begins = all.iter().filter(|begin| is_in(**begin, &&at));
            cap == 0
                || begins
                    .map(|begin| all.iter().filter(|one| is_in(*begin, one)).count())
                    .all(|count| count <= cap as usize)
        };
        (from..=from + 168).map(at).find(|at| fits(*at, caps.day, DAY_MS) && fits(*at, caps.week, WEEK_MS))
    }

    proptest! {
        /// Also where there are too many already.
        #[test]
        fn a_turn_opens_when_the_plain_definition_says(
            others in prop::collection::vec(0_i64..400, 0..40), from in 0_i64..400, day in 0_u32..6, week in 0_u32..12
        ) {
            let (caps, others) = (Caps { day, week }, others.into_iter().map(at).collect::<Vec<_>>());
            prop_assert_eq!(opens_by(caps, &others, at(from)), plainly(caps, &others, from));
        }

        /// Whatever was there: with one more at the moment that is said no window has more than the cap, unless it had before;
        /// and no earlier moment would have done.
        #[test]
        fn no_window_ever_has_more_than_the_cap(
            asked in prop::collection::vec(0_i64..400, 1..30), day in 0_u32..4, week in 0_u32..8
        ) {
            let caps = Caps { day, week };
            let mut all: Vec<Timestamp> = Vec::new();
            for hours in asked {
                let Some(opens) = opens_by(caps, &all, at(hours)) else { continue };
                prop_assert!(opens >= at(hours) && opens.since_ms(at(hours)) <= WEEK_MS);
                if opens > at(hours) {
                    let minute_before = opens.plus_ms(-60_000);
                    let early = opens_by(caps, &all, minute_before);
                    prop_assert!(minute_before < at(hours) || early == Some(opens), "{early:?} {opens:?}");
                }
                all.push(opens);
                for end in &all {
                    let within = |window_ms| {
                        all.iter().filter(|other| (0..window_ms).contains(&end.since_ms(**other))).count()
                    };
                    prop_assert!(day == 0 || within(DAY_MS) <= day as usize);
                    prop_assert!(week == 0 || within(WEEK_MS) <= week as usize);
                }
            }
        }
    }
}
