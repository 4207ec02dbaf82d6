//! How often a person is sent to: caps on messages of some purposes in any day and any week.
//!
//! A message takes a *turn* of its recipient at its last moment, in a commit of the store, so that of two that go at the same
//! time on two nodes only as many go as the cap lets. A turn is a message's own: one that comes back to its queue and is sent
//! again has its turn moved, and is never in its own way. When a message is accepted nothing is taken yet; but what was sent
//! lately and what waits is looked at, so that it is held for when its turn will be, and its caller is told.
//!
//! Days and weeks slide: 24 hours and 7 times that, whatever the clock on the wall shows.

use crate::purpose::Purpose;
use crate::time::Timestamp;

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

    /// The first moment from this one on at which one more may go to a person, by the moments of the others, in any order.
    /// `None` if there is none within a week.
    pub fn opens_at(self, others: &[Timestamp], from: Timestamp) -> Option<Timestamp> {
        let mut others = others.to_vec();
        others.sort_unstable();
        let (day, week) = (Window::new(&others, self.day, DAY_MS), Window::new(&others, self.week, WEEK_MS));
        let lets = |at: &Timestamp| day.fits(*at) && week.fits(*at);
        if lets(&from) {
            return Some(from);
        }
        // It can only open where another one leaves a window.
        let ends = others.iter().flat_map(|at| [at.plus_ms(DAY_MS), at.plus_ms(WEEK_MS)]);
        let mut ends: Vec<Timestamp> = ends.filter(|at| *at > from && at.since_ms(from) <= WEEK_MS).collect();
        ends.sort_unstable();
        ends.into_iter().find(lets)
    }
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
}

/// What became of a message that asked for its turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// It has it, and may go now.
    Taken,
    /// There is none now, because of these.
    Full(Vec<Timestamp>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR_MS: i64 = 3_600_000;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + hours * HOUR_MS)
    }

    #[test]
    fn a_turn_opens_when_another_leaves_the_window() {
        let check = |day, week, others: &[i64], from, expected: Option<i64>| {
            let others: Vec<Timestamp> = others.iter().map(|hours| at(*hours)).collect();
            let opens = Caps { day, week }.opens_at(&others, at(from));
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
            prop_assert_eq!(caps.opens_at(&others, at(from)), plainly(caps, &others, from));
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
                let Some(opens) = caps.opens_at(&all, at(hours)) else { continue };
                prop_assert!(opens >= at(hours) && opens.since_ms(at(hours)) <= WEEK_MS);
                if opens > at(hours) {
                    let minute_before = opens.plus_ms(-60_000);
                    let early = caps.opens_at(&all, minute_before);
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
