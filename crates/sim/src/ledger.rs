//! What an outsider saw, in the order in which it happened: by carriers, customers, receivers of webhooks and the
//! operator. It survives every crash, and it is all that the checks look at beside the API's view at the end. It is
//! also the trace: two runs of one seed must have the same.

use std::hash::{DefaultHasher, Hash, Hasher};
use tidings_domain::event::Kind;
use tidings_domain::message::Status;
use tidings_domain::sender::Sender;

/// A moment: milliseconds since the world began. Nobody's clock: the truth.
pub type Ms = u64;

/// One thing that was seen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the line above each says what its fields are")]
pub enum Happened {
    /// A process begins in this place; its wall clock says this.
    Started { process: u32, node: usize, wall_ms: i64 },
    /// It could not start.
    NotStarted { process: u32 },
    /// It is ready. So many messages were left in doubt by the one before, with so many segments on each connection.
    Ready { process: u32, in_doubt: u32, segments: Vec<usize> },
    /// It ends without warning.
    Crashed { process: u32 },
    /// It learns that another node has ended it, and ends.
    Expelled { process: u32 },
    /// It is asked to stop in good order.
    Stopping { process: u32 },
    /// It has stopped.
    Stopped { process: u32 },
    /// Everything stood still.
    Froze { ms: Ms },
    /// It stood still for so long, while others went on, and goes on now.
    Stood { process: u32, ms: Ms },
    /// The database's clock was set by so much.
    StoreClockSet { by_ms: i64 },
    /// The wall clock is now so much ahead of the truth.
    WallSet { ahead_ms: i64 },
    /// From now on no fault strikes.
    Healing,
    /// Nothing is left but what waits for another day: that comes.
    NextDay,
    /// An operator paused a connection, or let it go on.
    Paused { connection: usize, paused: bool },

    /// A customer calls.
    Asked { call: u32, process: u32 },
    /// A customer hears this.
    Replied { call: u32, reply: Reply },
    /// A customer hears nothing: the process, the caller or the answer got lost on the way.
    Unheard { call: u32 },
    /// Somebody is to be put on the suppression list.
    OptOutAsked { recipient: String },
    /// The answer to that came from this process after so long.
    OptOutAnswered { recipient: String, process: u32, took_ms: Ms },
    /// It was taken off the list, perhaps: from the asking on it may be sent to again.
    LiftAsked { recipient: String },
    /// Nothing more comes of that.
    LiftEnded { recipient: String },
    /// A message is to be taken back.
    CancelAsked { message: i64 },
    /// The answer to that.
    CancelAnswered { message: i64, done: bool },
    /// The API shows a message so.
    Shown { message: i64, status: Status },

    /// A process opens its end of a connection: it takes it for its own.
    Opened { connection: usize, process: u32 },
    /// A link came up.
    LinkUp { connection: usize, process: u32 },
    /// A link broke or ended.
    LinkDown { connection: usize },
    /// The carrier got a submission: its place in [`Ledger::submissions`].
    Submitted { submission: u32 },
    /// The carrier's answer to it was given to the process; `late` if it had been given up before.
    Answered { submission: u32, answer: Answer, late: bool },
    /// Something was handed to the link and never written.
    Unsent { message: i64, segment: u8 },
    /// A receipt or inbound message was offered: its place in [`Ledger::reports`].
    Offered { report: u32 },
    /// It was acknowledged.
    Acknowledged { report: u32 },

    /// An endpoint was called with an event, and did this.
    Called { endpoint: usize, event: i64, did: Did },
    /// The store misbehaved.
    StoreFault { operation: &'static str, fault: StoreFault },
    /// It settled what an earlier owner of a connection had claimed, for this process.
    Recovered { process: u32 },
    /// It did something for a process that was a node and is none any more.
    WroteAfterEnd { process: u32, operation: &'static str },
}

/// What a call was answered with: one for each message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reply {
    /// What became of each.
    Items(Vec<Item>),
    /// Too much waits.
    Overloaded,
    /// The key was used for another request.
    KeyReused,
}

/// What became of one message of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Item {
    /// It is this message, from this sender.
    Accepted(i64, Sender),
    /// Its recipient is on the suppression list.
    Suppressed,
    /// It breaks a rule.
    Refused,
}

/// What a carrier answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    /// It has it.
    Accepted,
    /// Refused, for now.
    RefusedForNow,
    /// Refused, for good.
    RefusedForGood,
    /// Refused, since the recipient opted out.
    RefusedOptedOut,
    /// Refused, since our credentials are not good.
    RefusedOurs,
    /// Too much at once.
    Throttled,
    /// The queue of that phone is full.
    QueueFull,
    /// Nothing, and the link has given it up.
    None,
}

impl Answer {
    /// Whether the carrier said no.
    pub const fn is_refusal(self) -> bool {
        !matches!(self, Self::Accepted | Self::None)
    }
}

/// What an endpoint did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Did {
    /// Took the event, and said so.
    Took,
    /// Took the event, and its answer got lost.
    TookSilently,
    /// Answered with this status.
    Answered(u16),
    /// Said nothing until the time was over.
    Stalled,
    /// Did not accept the connection.
    Refused,
}

/// What the store did wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StoreFault {
    /// It did not do it, and said so.
    Failed,
    /// It did it, and said that it did not.
    Unknown,
    /// It took so long.
    Slow(Ms),
}

/// A submission as its carrier knows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Submission {
    pub at_ms: Ms,
    pub connection: usize,
    pub process: u32,
    pub message: i64,
    pub attempt: u32,
    pub segment: u8,
    pub sender: String,
    pub recipient: String,
    pub text: String,
    pub validity_s: u32,
    /// Whether the carrier has it: it will be on a phone or not, but it is the carrier's now.
    pub taken: bool,
    /// What the process's wall clock said.
    pub wall_ms: i64,
}

/// A receipt or an inbound message as its carrier knows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Report {
    /// The submission it is about, if it is about one of ours.
    pub submission: Option<u32>,
    /// What it says.
    pub says: Says,
    /// The two numbers that it gives: of a person who wrote, theirs and to whom.
    pub parties: Vec<String>,
    /// The id that it gives.
    pub id: String,
    /// Whether it can be found by the id in the answer.
    pub by_id: bool,
    /// Whether it can be found by our reference.
    pub by_reference: bool,
    /// The words that the timeline must show.
    pub raw: String,
}

/// What a report says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Says {
    /// On its way.
    Progress,
    /// The phone has it.
    Delivered,
    /// The carrier does not know.
    Unknown,
    /// Its time was over.
    Expired,
    /// The phone will not have it.
    Undelivered,
    /// The phone will not have it: its owner opted out.
    OptedOut,
    /// Blocked.
    Rejected,
    /// It is no receipt: a person wrote.
    Inbound,
}

/// An event as the feed shows it at the end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Event {
    /// Its id.
    pub id: i64,
    /// What happened.
    pub kind: Kind,
    /// To which message.
    pub message: Option<i64>,
    /// The text, for an inbound message.
    pub text: Option<String>,
    /// When, by the process's clock.
    pub at_ms: i64,
}

/// Everything that was seen.
#[derive(Debug, Default)]
pub struct Ledger {
    /// In order.
    pub entries: Vec<(Ms, Happened)>,
    /// What carriers got.
    pub submissions: Vec<Submission>,
    /// What carriers reported.
    pub reports: Vec<Report>,
    /// What a customer read from the feed, page after page.
    pub feed: Vec<i64>,
    /// For each endpoint and event the octets that were sent, as a hash.
    pub bodies: Vec<(usize, i64, u64)>,
}

impl Ledger {
    /// A number that stands for all that happened.
    pub fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.entries.hash(&mut hasher);
        self.submissions.hash(&mut hasher);
        self.reports.hash(&mut hasher);
        self.feed.hash(&mut hasher);
        self.bodies.hash(&mut hasher);
        hasher.finish()
    }

    /// One line for each of the last entries; all of them for `None`.
    pub fn trace(&self, last: Option<usize>) -> Vec<String> {
        let from = last.map_or(0, |last| self.entries.len().saturating_sub(last));
        self.entries[from..].iter().map(|entry| self.line(entry)).collect()
    }

    fn line(&self, (at_ms, what): &(Ms, Happened)) -> String {
        let more = match what {
            Happened::Submitted { submission } => format!(" {:?}", self.submissions[*submission as usize]),
            Happened::Offered { report } => format!(" {:?}", self.reports[*report as usize]),
            _ => String::new(),
        };
        format!("{:>9.3} s  {what:?}{more}", *at_ms as f64 / 1_000.0)
    }
}
