//! Who is let in while much waits. What is refused is refused at once, with a word when to come back, rather than
//! accepted and sent too late: a queue that nobody bounds is one that nobody gets through.
//!
//! Two things are watched. The **backlog**, messages that wait to be sent, grows over hours when a carrier is down; it
//! has a bound, of which the less urgent purposes may fill only a part, so that there is always room for a one-time
//! code. The **line**, messages that wait for their commit, grows within a second when more is asked for than this
//! machine can do. While a commit takes all that waits, however long it takes, the line does no harm; it is too long
//! when more stands in it than one commit takes *and* its head has stood there for longer than a purpose can bear. So
//! a slow disk at a quiet hour refuses nobody, and a flood of offers does not delay a code.

use crate::purpose::Purpose;

/// How much may wait: configuration, with these defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Messages that may wait to be sent, the scheduled ones included.
    pub waiting_max: u64,
    /// What one account may have of them where there are several: percent.
    pub account_percent: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { waiting_max: 2_000_000, account_percent: 50 }
    }
}

/// How it stands when a call comes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Messages that wait to be sent.
    pub waiting: u64,
    /// Those of the account that calls.
    pub of_account: u64,
    /// Whether there are other accounts.
    pub others: bool,
    /// Messages that wait for their commit.
    pub in_line: u64,
    /// For how long the oldest of them has: ms.
    pub oldest_ms: u64,
}

/// Why a call is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The backlog is full, or as full as this purpose may make it.
    Full,
    /// The account has its share of the backlog.
    AccountFull,
    /// The line is too long.
    Behind,
}

impl Refused {
    /// The word in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::AccountFull => "account_full",
            Self::Behind => "behind",
        }
    }

    /// When to come back: seconds, `spread` by a random number so that not everybody comes at once. A line is gone in
    /// a moment; a backlog is sent at the carriers' pace.
    pub const fn retry_after_s(self, spread: u32) -> u32 {
        match self {
            Self::Behind => 1 + spread % 3,
            Self::Full | Self::AccountFull => 30 + spread % 31,
        }
    }
}

/// A line that is no longer than this is taken by the next commit as a whole.
pub const LINE_TAKEN: u64 = 500;
/// The longest line of all, whatever its age: it bounds the memory.
pub const LINE_MAX: u64 = 20_000;

/// How long the head of a line may have stood there before messages of a purpose are refused: ms. The most urgent are
/// refused last.
const fn patience_ms(purpose: Purpose) -> u64 {
    match purpose {
        Purpose::Authentication => 300,
        Purpose::Alert => 250,
        Purpose::Transactional => 200,
        Purpose::Marketing => 100,
    }
}

/// What a purpose may fill of the backlog: percent.
const fn ceiling_percent(purpose: Purpose) -> u64 {
    match purpose {
        Purpose::Authentication => 100,
        Purpose::Alert => 95,
        Purpose::Transactional => 85,
        Purpose::Marketing => 70,
    }
}

/// Whether `messages` are let in, of which the least urgent is of this purpose.
///
/// # Errors
/// Why not.
pub fn admit(load: Load, bounds: Bounds, purpose: Purpose, messages: u64) -> Result<(), Refused> {
    let part = |percent: u64| bounds.waiting_max.saturating_mul(percent) / 100;
    if load.waiting.saturating_add(messages) > part(ceiling_percent(purpose)) {
        return Err(Refused::Full);
    }
    let share = part(bounds.account_percent.saturating_mul(ceiling_percent(purpose)) / 100);
    if load.others && load.of_account.saturating_add(messages) > share {
        return Err(Refused::AccountFull);
    }
    // One call alone is always taken, however many messages it has.
    let too_long = load.in_line > 0 && load.in_line.saturating_add(messages) > LINE_MAX;
    let too_old = load.in_line > LINE_TAKEN && load.oldest_ms > patience_ms(purpose);
    if too_long || too_old { Err(Refused::Behind) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Purpose::{Alert, Authentication, Marketing, Transactional};

    const BOUNDS: Bounds = Bounds { waiting_max: 1_000, account_percent: 50 };

    fn check(load: Load, messages: u64, wanted: [(Purpose, Result<(), Refused>); 4]) {
        for (purpose, wanted) in wanted {
            assert_eq!(admit(load, BOUNDS, purpose, messages), wanted, "{purpose:?} {messages} {load:?}");
        }
    }

    fn all(wanted: Result<(), Refused>) -> [(Purpose, Result<(), Refused>); 4] {
        Purpose::ALL.map(|purpose| (purpose, wanted))
    }

    #[test]
    fn the_less_urgent_leave_room_in_the_backlog_for_the_more_urgent() {
        let waiting = |waiting| Load { waiting, ..Load::default() };
        let full = Err(Refused::Full);
        check(waiting(0), 1, all(Ok(())));
        check(waiting(699), 1, all(Ok(())));
        check(
            waiting(700),
            1,
            [(Authentication, Ok(())), (Alert, Ok(())), (Transactional, Ok(())), (Marketing, full)],
        );
        check(
            waiting(850),
            1,
            [(Authentication, Ok(())), (Alert, Ok(())), (Transactional, full), (Marketing, full)],
        );
        check(
            waiting(950),
            1,
            [(Authentication, Ok(())), (Alert, full), (Transactional, full), (Marketing, full)],
        );
        check(waiting(1_000), 1, all(full));
        check(waiting(0), 1_001, all(full));
        check(waiting(u64::MAX), u64::MAX, all(full));
    }

    #[test]
    fn an_account_has_its_share_where_there_are_others_and_all_where_there_are_none() {
        let of = |of_account, others| Load { waiting: of_account, of_account, others, ..Load::default() };
        let full = Err(Refused::AccountFull);
        check(of(600, false), 1, all(Ok(())));
        check(of(349, true), 1, all(Ok(())));
        check(
            of(350, true),
            1,
            [(Authentication, Ok(())), (Alert, Ok(())), (Transactional, Ok(())), (Marketing, full)],
        );
        check(of(500, true), 1, all(full));
    }

    #[test]
    fn a_long_line_refuses_the_least_urgent_first() {
        let line = |in_line, oldest_ms| Load { in_line, oldest_ms, ..Load::default() };
        let behind = Err(Refused::Behind);
        check(line(0, 0), 1, all(Ok(())));
        // However slow the disk is: the next commit takes them all.
        check(line(500, 10_000), 1, all(Ok(())));
        // However many there are: they do not stand for long.
        check(line(9_000, 100), 1, all(Ok(())));
        check(
            line(501, 101),
            1,
            [(Authentication, Ok(())), (Alert, Ok(())), (Transactional, Ok(())), (Marketing, behind)],
        );
        check(
            line(501, 201),
            1,
            [(Authentication, Ok(())), (Alert, Ok(())), (Transactional, behind), (Marketing, behind)],
        );
        check(
            line(501, 251),
            1,
            [(Authentication, Ok(())), (Alert, behind), (Transactional, behind), (Marketing, behind)],
        );
        check(line(501, 301), 1, all(behind));
        check(line(20_000, 0), 1, all(behind));
        check(line(19_500, 0), 501, all(behind));
    }

    #[test]
    fn nobody_is_sent_away_for_longer_than_it_takes() {
        for spread in [0, 1, 2, 29, 30, 31, u32::MAX] {
            assert!((1..=3).contains(&Refused::Behind.retry_after_s(spread)));
            assert!((30..=60).contains(&Refused::Full.retry_after_s(spread)));
        }
    }
}
