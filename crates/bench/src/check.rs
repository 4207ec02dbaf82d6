//! The account: what the load generator was promised against what the carrier had and what came back. A pure function
//! of the three logs, so that hand-made ones can show that it sees each fault.

use crate::{load, sink, smsc};
use std::collections::BTreeMap;
use std::fmt;

/// When things happened to each message, by its number less the first; 0 for never.
#[derive(Debug, Default)]
pub struct Joined {
    /// Its first submission.
    pub submitted: Vec<u64>,
    /// The first webhook that told its end.
    pub ended: Vec<u64>,
}

/// What was counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// Messages that were asked for.
    pub asked: u64,
    /// Messages with an answer of 202.
    pub accepted: u64,
    /// Other answers, by their status; 0 is no answer at all.
    pub refused: BTreeMap<u16, u64>,
    /// Submissions that the carrier took.
    pub submissions: u64,
    /// Calls that the sink answered.
    pub calls: u64,
    /// Calls that told again what was told before (the same `webhook-id`). They are allowed.
    pub repeated: u64,
    /// What must be 0, with what it means.
    pub faults: Vec<(&'static str, u64)>,
}

impl Account {
    /// Whether nothing was lost and nothing doubled.
    pub fn is_whole(&self) -> bool {
        self.faults.iter().all(|(_, count)| *count == 0)
    }
}

/// Compares.
pub fn check(load: &load::Log, carrier: &smsc::Log, sink: &sink::Log) -> (Account, Joined) {
    let count = load.status.len();
    let mut joined = Joined { submitted: vec![0; count], ended: vec![0; count] };
    let place = |number: u64| {
        let place = usize::try_from(number.checked_sub(load.first)?).ok()?;
        (place < count).then_some(place)
    };
    let mut account = Account { asked: count as u64, ..Account::default() };
    for status in &load.status {
        if *status == 202 {
            account.accepted += 1;
        } else {
            *account.refused.entry(*status).or_default() += 1;
        }
    }

    // Which segments of each message were taken, as bits, and how many were.
    let (mut parts, mut taken, mut receipted) = (vec![0_u64; count], vec![0_u32; count], vec![0_u32; count]);
    let mut strange = 0;
    for (row, what) in carrier.what.iter().enumerate() {
        account.submissions += 1;
        let Some(place) = place(what & 0xFFFF_FFFF) else {
            strange += 1;
            continue;
        };
        taken[place] += 1;
        receipted[place] += u32::from(carrier.acknowledged[row] != 0);
        parts[place] |= 1 << (what >> 32 & 0x3F);
        if joined.submitted[place] == 0 {
            joined.submitted[place] = carrier.at[row];
        }
    }

    let mut ends: Vec<(u32, u64)> = Vec::new();
    let mut ids: Vec<u64> = Vec::with_capacity(sink.id.len());
    let (mut unreadable, mut bad_end) = (0, 0);
    for (row, what) in sink.what.iter().enumerate() {
        account.calls += 1;
        ids.push(sink.id[row]);
        let kind = what >> 32;
        let Some(place) = place(what & 0xFFFF_FFFF) else {
            unreadable += 1;
            continue;
        };
        if sink::FINAL.contains(&kind) {
            ends.push((u32::try_from(place).expect("fewer than 2^32 messages"), sink.id[row]));
            bad_end += u64::from(kind != 1);
            if joined.ended[place] == 0 {
                joined.ended[place] = sink.at[row];
            }
        }
    }
    ids.sort_unstable();
    account.repeated = ids.windows(2).filter(|pair| pair[0] == pair[1]).count() as u64;
    ends.sort_unstable();
    ends.dedup();
    let two_ends = ends.windows(2).filter(|pair| pair[0].0 == pair[1].0).count() as u64;

    let mut faults = [0_u64; 5];
    for place in 0..count {
        let segments = u32::from(load.segments[place]);
        if load.status[place] != 202 {
            // A message without an answer may have been taken; one that was refused may not.
            faults[4] += u64::from(load.status[place] != 0 && taken[place] > 0);
            continue;
        }
        faults[0] += u64::from(parts[place].count_ones() < segments);
        faults[1] += u64::from(taken[place] > segments);
        faults[2] += u64::from(receipted[place] < taken[place].max(segments));
        faults[3] += u64::from(joined.ended[place] == 0);
    }
    account.faults = vec![
        ("answers that were no 202", account.refused.values().sum()),
        ("lost: accepted, but not every segment came to the carrier", faults[0]),
        ("doubled: more submissions than segments", faults[1]),
        ("receipts missing or not acknowledged", faults[2]),
        ("no webhook told the end", faults[3]),
        ("ended otherwise than delivered", bad_end),
        ("told two ends", two_ends),
        ("refused, but came to the carrier", faults[4]),
        ("submissions that nobody asked for", strange),
        ("calls about no message of ours", unreadable),
    ];
    (account, joined)
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "account               {} asked, {} accepted, {} submissions, {} calls ({} told again)",
            self.asked, self.accepted, self.submissions, self.calls, self.repeated
        )?;
        for (what, count) in self.faults.iter().filter(|(_, count)| *count > 0) {
            writeln!(f, "  FAULT {count:>9}     {what}")?;
        }
        for (status, count) in &self.refused {
            writeln!(f, "  status {status:>4} {count:>9}")?;
        }
        let verdict = if self.is_whole() { "whole: nothing lost, nothing doubled" } else { "NOT WHOLE" };
        write!(f, "                      {verdict}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two messages from number 10 on, the second of two segments, all in order.
    fn good() -> (load::Log, smsc::Log, sink::Log) {
        let load = load::Log {
            first: 10,
            scheduled: vec![1, 2],
            sent: vec![1, 2],
            answered: vec![3, 4],
            status: vec![202, 202],
            segments: vec![1, 2],
        };
        let part = |message: u64, part: u64, total: u64| message | part << 32 | total << 40;
        let carrier = smsc::Log {
            what: vec![part(10, 1, 1), part(11, 2, 2), part(11, 1, 2)],
            at: vec![5, 6, 7],
            offered: vec![8, 8, 8],
            acknowledged: vec![9, 9, 9],
        };
        let sink =
            sink::Log { what: vec![1 << 32 | 10, 1 << 32 | 11, 11], at: vec![10, 11, 12], id: vec![1, 2, 3] };
        (load, carrier, sink)
    }

    fn faults(change: impl Fn(&mut load::Log, &mut smsc::Log, &mut sink::Log)) -> Vec<&'static str> {
        let (mut load, mut carrier, mut sink) = good();
        change(&mut load, &mut carrier, &mut sink);
        let (account, _) = check(&load, &carrier, &sink);
        account.faults.into_iter().filter(|(_, count)| *count > 0).map(|(what, _)| what).collect()
    }

    #[test]
    fn a_whole_account_has_no_fault_and_its_moments() {
        let (load, carrier, sink) = good();
        let (account, joined) = check(&load, &carrier, &sink);
        assert!(account.is_whole(), "{account}");
        assert_eq!((joined.submitted, joined.ended), (vec![5, 6], vec![10, 11]));
    }

    #[test]
    fn each_fault_is_seen() {
        let one = |fault: &str, found: Vec<&str>| {
            assert!(found.iter().any(|found| found.starts_with(fault)), "{fault}: {found:?}");
        };
        one("lost", faults(|_, carrier, _| carrier.what[1] = carrier.what[2]));
        one("doubled", faults(|_, carrier, _| carrier.what[1] = carrier.what[0]));
        one("receipts", faults(|_, carrier, _| carrier.acknowledged[0] = 0));
        one("no webhook", faults(|_, _, sink| sink.what[0] = 10));
        one("ended otherwise", faults(|_, _, sink| sink.what[0] = 3 << 32 | 10));
        one("told two ends", faults(|_, _, sink| sink.what[0] = 1 << 32 | 11));
        one("answers", faults(|load, _, _| load.status[0] = 429));
        one("refused", faults(|load, _, _| load.status[0] = 429));
        one("submissions that nobody", faults(|_, carrier, _| carrier.what[0] = smsc::NO_MESSAGE));
        one("calls about no", faults(|_, _, sink| sink.what[0] = sink::NO_MESSAGE));
    }

    #[test]
    fn a_call_that_comes_again_is_allowed() {
        let found = faults(|_, _, sink| {
            sink.what.push(sink.what[0]);
            sink.at.push(20);
            sink.id.push(sink.id[0]);
        });
        assert!(found.is_empty(), "{found:?}");
    }
}
