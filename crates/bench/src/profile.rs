//! What a run does, and the profiles: named sets of it.

use crate::load::Kind;
use crate::stored::Stored;
use crate::subject::{Program, Setup};
use crate::tool::How;
use std::path::PathBuf;

/// The profiles, each with what it is for.
pub const PROFILES: [(&str, &str); 7] = [
    ("single", "one message a request, as many as go"),
    ("batch", "hundred messages a request on 4 connections, a window of 2,000, as many as go"),
    ("rate", "1,000 messages a second, for latencies"),
    ("rate5k", "5,000 messages a second"),
    ("mixed", "as single, with four purposes, two-segment messages and UCS-2"),
    ("stored", "as single, with 10,000,000 messages stored and 1,000,000 queued at another connection"),
    ("backlog", "200,000 messages come while the carrier is down; then the queue drains, under 200 a second"),
];

/// What to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The name of the profile.
    pub profile: String,
    /// The server.
    pub setup: Setup,
    /// How the tools are run.
    pub how: How,
    /// What is sent.
    pub kind: Kind,
    /// Messages a second; 0 for as many as go.
    pub rate: u64,
    /// Seconds before anything is measured.
    pub warmup_s: u64,
    /// Seconds that are measured.
    pub seconds: u64,
    /// Messages that are queued before anything is measured, while the carrier is down; 0 for none. Then what is
    /// measured lasts until they have ended.
    pub backlog: u64,
    /// Messages that the data directory has already.
    pub stored: Option<Stored>,
    /// Connections of the load generator.
    pub connections: u64,
    /// The most messages that are accepted and have not come back; 0 for no bound.
    pub bound: u64,
    /// Whether requests carry an idempotency key.
    pub keys: bool,
    /// Options for the carrier.
    pub carrier: Vec<String>,
    /// How long everything may take to end: seconds.
    pub drain_s: u64,
    /// Where the directory of the run is made.
    pub place: PathBuf,
    /// Whether that directory stays.
    pub keep: bool,
}

impl Plan {
    /// The plan of a profile; none if there is no such profile.
    pub fn new(profile: &str, program: Program, how: How) -> Option<Self> {
        let single = Self {
            profile: profile.to_owned(),
            setup: Setup {
                program,
                nodes: 1,
                binds: 1,
                window: 500,
                all_events: false,
                second: false,
                gated: false,
            },
            how,
            kind: Kind::Single,
            rate: 0,
            warmup_s: 3,
            seconds: 20,
            backlog: 0,
            stored: None,
            connections: 64,
            bound: 5_000,
            keys: false,
            carrier: Vec::new(),
            drain_s: 120,
            place: std::env::temp_dir(),
            keep: false,
        };
        Some(match profile {
            "single" => single,
            // Over 500 places no carrier takes what this is to bring: they turn around in 20 ms when nearly all of them are taken.
            "batch" => Self {
                kind: Kind::Batch,
                connections: 4,
                setup: Setup { window: 2_000, ..single.setup.clone() },
                ..single
            },
            "rate" => Self { rate: 1_000, bound: 0, ..single },
            "rate5k" => Self { rate: 5_000, bound: 0, ..single },
            "mixed" => Self { kind: Kind::Mixed, ..single },
            "stored" => Self { stored: Some(Stored { finished: 10_000_000, queued: 1_000_000 }), ..single },
            "backlog" => Self { backlog: 200_000, rate: 200, bound: 0, drain_s: 600, ..single },
            _ => return None,
        })
    }
}

impl Plan {
    /// Whether the program can do this: the lean one knows one kind of text, one carrier that is there, and no past.
    pub fn is_possible(&self) -> bool {
        matches!(self.setup.program, Program::Tidings(_))
            || (self.kind != Kind::Mixed
                && self.backlog == 0
                && self.stored.is_none()
                && self.setup.nodes == 1
                && self.setup.binds == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_that_is_listed_is_there() {
        for (name, _) in PROFILES {
            assert!(Plan::new(name, Program::Tidings(PathBuf::new()), How::Threads).is_some(), "{name}");
        }
        assert!(Plan::new("", Program::Tidings(PathBuf::new()), How::Threads).is_none());
    }
}
