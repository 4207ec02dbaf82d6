//! What is done to the nodes and to the database, drawn from a seed.

use crate::clock::Moment;
use crate::random::Random;
use crate::smsc::Cut;
use std::fmt;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A node is ended by force.
    Kill,
    /// A node stands still, and goes on where it stood.
    Pause,
    /// Nothing passes between a node and the database, or in one direction nothing.
    Database,
    /// Nothing passes between a node and the carriers, or in one direction nothing.
    Carrier,
    /// The database is stopped in good order and started again.
    Restart,
    /// The database is stopped as by a crash and started again.
    Crash,
    /// The database is gone, and its replica takes its place.
    Failover,
    /// A node is stopped in good order, and started as the other release. It is no fault: it must leave nothing in doubt.
    Exchange,
}

impl Kind {
    /// All that go wrong by themselves.
    pub const FAULTS: [Self; 7] =
        [Self::Kill, Self::Pause, Self::Database, Self::Carrier, Self::Restart, Self::Crash, Self::Failover];
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Kill,
        Self::Pause,
        Self::Database,
        Self::Carrier,
        Self::Restart,
        Self::Crash,
        Self::Failover,
        Self::Exchange,
    ];

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Database => "database",
            Self::Carrier => "carrier",
            Self::Restart => "restart",
            Self::Crash => "crash",
            Self::Failover => "failover",
            Self::Exchange => "exchange",
        }
    }

    /// The kind of that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// Whether it is done to the database, and so to all nodes.
    pub const fn is_of_all(self) -> bool {
        matches!(self, Self::Restart | Self::Crash | Self::Failover)
    }
}

/// A fault that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// What was done.
    pub kind: Kind,
    /// To which node; `None` if it was done to the database.
    pub node: Option<usize>,
    /// When it began.
    pub from: Moment,
    /// When it was over.
    pub to: Moment,
}

/// A fault that is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// What is done.
    pub kind: Kind,
    /// To which node, if it is not done to the database.
    pub node: usize,
    /// How long: ms. A kill lasts no time; this is how long the node stays down.
    pub for_ms: u64,
    /// What does not pass, for the kinds that cut. After a failover: whether the old primary is silent (both) or its port
    /// closed.
    pub cut: Cut,
    /// Whether the next one begins before this one is over.
    pub overlaps: bool,
    /// How long nothing happens before it: ms.
    pub after_ms: u64,
}

impl Planned {
    /// Whether both are done to the same thing, so that one must be over before the other begins.
    pub fn meets(&self, other: &Self) -> bool {
        match (self.kind.is_of_all(), other.kind.is_of_all()) {
            (true, true) => true,
            (false, false) => self.node == other.node,
            _ => false,
        }
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, node, for_ms, cut, .. } = self;
        write!(f, "{}", kind.as_str())?;
        if !kind.is_of_all() {
            write!(f, " of node {node}")?;
        }
        if *kind == Kind::Failover && cut.from_them && cut.to_them {
            write!(f, ", the old primary is silent")?;
        }
        if matches!(kind, Kind::Database | Kind::Carrier) {
            match (cut.from_them, cut.to_them) {
                (true, true) => write!(f, ", both ways")?,
                (true, false) => write!(f, ", what it sends")?,
                (false, _) => write!(f, ", what it is sent")?,
            }
        }
        write!(f, ", {for_ms} ms")
    }
}

/// What is drawn.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Which kinds. One after the other in the order of the list, then at random.
    pub kinds: Vec<Kind>,
    /// How many.
    pub count: usize,
    /// Nodes.
    pub nodes: usize,
    /// The longest time that a node stands still or is cut off: ms.
    pub longest_ms: u64,
    /// Between two that do not overlap: least and most ms.
    pub gap_ms: (u64, u64),
    /// One in so many overlaps with the next; 0 for none.
    pub overlap_one_in: u64,
    /// The most failovers, since each takes a copy of the database.
    pub failovers_max: usize,
}

/// Draws a schedule.
pub fn draw(schedule: &Schedule, seed: u64) -> Vec<Planned> {
    let mut random = Random::part(seed, 7);
    let mut failovers = 0;
    let mut planned = Vec::new();
    while planned.len() < schedule.count {
        let kind = match schedule.kinds.get(planned.len()) {
            // So that a short run has one of each.
            Some(kind) => *kind,
            None => schedule.kinds[index(&mut random, schedule.kinds.len())],
        };
        if kind == Kind::Failover {
            if failovers == schedule.failovers_max && schedule.kinds.len() > 1 {
                // Another kind instead.
                let others: Vec<Kind> =
                    schedule.kinds.iter().copied().filter(|kind| *kind != Kind::Failover).collect();
                let kind = others[index(&mut random, others.len())];
                planned.push(one(schedule, kind, &mut random));
                continue;
            }
            failovers += 1;
        }
        planned.push(one(schedule, kind, &mut random));
    }
    planned
}

fn one(schedule: &Schedule, kind: Kind, random: &mut Random) -> Planned {
    let longest = match kind {
        Kind::Kill => schedule.longest_ms.min(25_000),
        Kind::Restart | Kind::Crash => schedule.longest_ms.min(10_000),
        Kind::Failover => 3_000,
        Kind::Exchange => 1_000,
        _ => schedule.longest_ms,
    };
    // Short ones as often as long ones: from 1 s to the longest, even on a scale of orders.
    let part = random.between(0, 1_000) as f64 / 1_000.0;
    let for_ms = (1_000.0 * (longest as f64 / 1_000.0).powf(part)) as u64;
    let cut = [(true, true), (true, false), (false, true)][index(random, 3)];
    Planned {
        kind,
        node: index(random, schedule.nodes),
        for_ms,
        cut: Cut { from_them: cut.0, to_them: cut.1 },
        overlaps: random.one_in(schedule.overlap_one_in),
        after_ms: random.between(schedule.gap_ms.0, schedule.gap_ms.1),
    }
}

fn index(random: &mut Random, count: usize) -> usize {
    usize::try_from(random.between(0, count as u64 - 1)).expect("it is small")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_repeats_with_its_seed_and_has_each_kind() {
        let schedule = Schedule {
            kinds: Kind::ALL.to_vec(),
            count: 200,
            nodes: 3,
            longest_ms: 60_000,
            gap_ms: (1_000, 5_000),
            overlap_one_in: 4,
            failovers_max: 5,
        };
        let planned = draw(&schedule, 9);
        assert_eq!(planned, draw(&schedule, 9));
        assert_eq!(planned.len(), 200);
        let first: Vec<Kind> = planned.iter().take(Kind::ALL.len()).map(|planned| planned.kind).collect();
        assert_eq!(first, Kind::ALL);
        let count = |kind| planned.iter().filter(|planned| planned.kind == kind).count();
        assert_eq!(count(Kind::Failover), 5);
        assert!(Kind::ALL.into_iter().all(|kind| count(kind) >= 5));
        assert!(planned.iter().all(|planned| (1_000..=60_000).contains(&planned.for_ms) && planned.node < 3));
    }
}
