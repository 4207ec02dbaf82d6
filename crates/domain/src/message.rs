//! **The life of a message.** The first file to read.
//!
//! A message's [`Life`] is its [`State`], its segments and how often it was tried. Everything that happens to it
//! is an [`Input`]; [`Life::apply`], in `life.rs`, says what follows: the next life and the [`Effect`]s to commit with it.
//! Nothing else in the program changes a message. The table at the end of that file is the drawing in the docs.

mod life;

pub use life::{Effect, Ignored, Rules, Transition};

use crate::account::{Environment, Realm};
use crate::address::PhoneNumber;
use crate::failure::{Failure, FailureClass, Recovery};
use crate::gate::{self, Hold};
use crate::id::{AccountId, BatchId, ConnectionId, EndpointId, MessageId, TokenId};
use crate::programme;
use crate::purpose::Purpose;
use crate::reply::Reply;
use crate::sender::Sender;
use crate::template::Origin;
use crate::text::{self, Encoding};
use crate::time::Timestamp;

/// How long a receipt may come after the message's expiry before we say `unconfirmed`.
/// Carriers stop trying at the validity we give them, and report soon after.
pub const RECEIPT_GRACE_MS: i64 = 45_000;
/// How long a receipt may still correct `unconfirmed`.
pub const LATE_RECEIPT_MS: i64 = 72 * 3_600_000;
/// The longest that a carrier's answer is waited for before a claim counts as lost (the connection gives up earlier).
pub const LEASE_MS: i64 = 90_000;

/// What does not change after a message was accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// The tenant it belongs to.
    pub account: AccountId,
    /// Test or live.
    pub environment: Environment,
    /// The token that sent it.
    pub token: Option<TokenId>,
    /// The call it came with, if it was a batch.
    pub batch: Option<BatchId>,
    /// Why it is sent.
    pub purpose: Purpose,
    /// Who it is from.
    pub sender: Sender,
    /// Who it is to.
    pub recipient: PhoneNumber,
    /// The text; `None` after it was redacted.
    pub text: Option<String>,
    /// How the text travels.
    pub encoding: Encoding,
    /// How its connection takes text, fixed when it was accepted, so that its segments never change.
    pub options: text::Options,
    /// How many segments it takes, 1 to 255.
    pub segments: u8,
    /// The connection it goes out on.
    pub connection: ConnectionId,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it is to be sent, if not at once: the time its caller gave, or the later one until which the gate held it when
    /// it was accepted.
    pub send_at: Option<Timestamp>,
    /// After this moment it is not worth sending.
    pub expires_at: Timestamp,
    /// The endpoint that hears about this message besides the account's own.
    pub callback: Option<EndpointId>,
    /// The caller's own name for it.
    pub reference: Option<String>,
    /// The caller's own data: a JSON object, kept as it came.
    pub metadata: Option<String>,
    /// The message of which this is a repeat, after a person's decision.
    pub retry_of: Option<MessageId>,
    /// What it answers by itself, if nobody asked for it but the recipient.
    pub reply: Option<Reply>,
    /// The template that its text was made of, if it was.
    pub template: Option<Origin>,
    /// The programme that it is of, if it is of one.
    pub programme: Option<programme::Name>,
}

/// The public word for where a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Waits for its time: that of its caller, or the end of a hold.
    Scheduled,
    /// Waits for room on a connection, or for another try.
    Queued,
    /// Handed to a connection; the carrier has not answered for all of it.
    Sending,
    /// The carrier has it and gave its id.
    Sent,
    /// A receipt says that the phone has it.
    Delivered,
    /// A receipt says that the phone will not have it.
    Undelivered,
    /// It could not be handed to the carrier before its tries were used up.
    Failed,
    /// Blocked before a delivery was tried, by the carrier or by us.
    Rejected,
    /// Its time was over.
    Expired,
    /// Its caller took it back.
    Canceled,
    /// The carrier may or may not have it, or never said what became of it.
    Unconfirmed,
}

impl Status {
    /// All of them; the place in this list is the number in the store.
    pub const ALL: [Self; 11] = [
        Self::Scheduled,
        Self::Queued,
        Self::Sending,
        Self::Sent,
        Self::Delivered,
        Self::Undelivered,
        Self::Failed,
        Self::Rejected,
        Self::Expired,
        Self::Canceled,
        Self::Unconfirmed,
    ];

    /// The public word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Undelivered => "undelivered",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Canceled => "canceled",
            Self::Unconfirmed => "unconfirmed",
        }
    }

    /// From the public word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// Whether nothing more happens by itself.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Scheduled | Self::Queued | Self::Sending | Self::Sent)
    }
}

/// Where a message is, with what it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Waits for its time: that of its caller, or the end of a hold.
    Scheduled {
        /// That time.
        due_at: Timestamp,
    },
    /// Waits for room on a connection, or for another try.
    Queued {
        /// Not before this.
        due_at: Timestamp,
    },
    /// A connection holds it and may have written it to the carrier.
    Sending {
        /// When the claim counts as lost.
        until: Timestamp,
    },
    /// The answer for a segment never came; a late answer or a receipt may settle it. Publicly still `sending`.
    Doubtful {
        /// When the purpose's rule decides.
        until: Timestamp,
    },
    /// The carrier accepted every segment.
    Sent {
        /// Until when a receipt is expected.
        until: Timestamp,
    },
    /// Nobody knows, and nothing more is tried.
    Unconfirmed {
        /// Until when a receipt may still correct it.
        until: Timestamp,
    },
    /// Final: the phone has it.
    Delivered,
    /// Final: the phone will not have it.
    Undelivered,
    /// Final: it could not be handed over.
    Failed,
    /// Final: blocked.
    Rejected,
    /// Final: too late.
    Expired,
    /// Final: taken back.
    Canceled,
}

impl State {
    /// The public word.
    pub const fn status(self) -> Status {
        match self {
            Self::Scheduled { .. } => Status::Scheduled,
            Self::Queued { .. } => Status::Queued,
            Self::Sending { .. } | Self::Doubtful { .. } => Status::Sending,
            Self::Sent { .. } => Status::Sent,
            Self::Unconfirmed { .. } => Status::Unconfirmed,
            Self::Delivered => Status::Delivered,
            Self::Undelivered => Status::Undelivered,
            Self::Failed => Status::Failed,
            Self::Rejected => Status::Rejected,
            Self::Expired => Status::Expired,
            Self::Canceled => Status::Canceled,
        }
    }

    /// The moment at which the message needs a look again, if any.
    pub const fn wakes_at(self) -> Option<Timestamp> {
        match self {
            Self::Scheduled { due_at } | Self::Queued { due_at } => Some(due_at),
            Self::Sending { until }
            | Self::Doubtful { until }
            | Self::Sent { until }
            | Self::Unconfirmed { until } => Some(until),
            Self::Delivered
            | Self::Undelivered
            | Self::Failed
            | Self::Rejected
            | Self::Expired
            | Self::Canceled => None,
        }
    }

    /// Whether it stands in its connection's queue.
    pub const fn is_waiting(self) -> bool {
        matches!(self, Self::Scheduled { .. } | Self::Queued { .. })
    }
}

/// What is known of one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// To be submitted.
    Waiting,
    /// Handed to the connection; no answer yet.
    Submitted,
    /// The answer never came.
    Unanswered,
    /// The carrier took it.
    Accepted {
        /// The carrier's id for it, exactly as answered; may be empty where a carrier gives none.
        carrier_id: String,
    },
    /// The carrier refused it.
    Refused(Failure),
    /// The carrier reported its end.
    Reported {
        /// The carrier's id for it.
        carrier_id: String,
        /// What became of it.
        outcome: Outcome,
    },
}

impl Segment {
    /// The carrier's id, once there is one.
    pub fn carrier_id(&self) -> Option<&str> {
        match self {
            Self::Accepted { carrier_id } | Self::Reported { carrier_id, .. } => Some(carrier_id),
            Self::Waiting | Self::Submitted | Self::Unanswered | Self::Refused(_) => None,
        }
    }
}

/// The end of a segment, as a receipt tells it. In order from best to worst, for folding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The phone has it.
    Delivered,
    /// The carrier does not know.
    Unknown(Failure),
    /// Its time was over.
    Expired(Failure),
    /// The phone will not have it.
    Undelivered(Failure),
    /// Blocked before a delivery was tried.
    Rejected(Failure),
}

impl Outcome {
    /// What went wrong, if anything did.
    pub const fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Delivered => None,
            Self::Unknown(failure)
            | Self::Expired(failure)
            | Self::Undelivered(failure)
            | Self::Rejected(failure) => Some(failure),
        }
    }

    const fn badness(&self) -> u8 {
        match self {
            Self::Delivered => 0,
            Self::Unknown(_) => 1,
            Self::Expired(_) => 2,
            Self::Undelivered(_) => 3,
            Self::Rejected(_) => 4,
        }
    }
}

/// The carrier's answer to one submitted segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It took the segment and gave this id.
    Accepted {
        /// Its id, exactly as answered.
        carrier_id: String,
    },
    /// It refused.
    Refused(Failure),
    /// No answer came in time, or the link broke after the segment was written: the carrier may have it.
    None,
    /// The segment never left: the carrier cannot have it.
    Unsent,
}

/// Everything that can happen to a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A connection took it from the queue. The waiting segments are about to be submitted.
    Claimed,
    /// The carrier answered for one segment of the submission `attempt`.
    Answered {
        /// The submission it belongs to.
        attempt: u32,
        /// Which segment, from 0.
        segment: u8,
        /// The answer.
        answer: Answer,
    },
    /// A receipt for one segment.
    Receipt {
        /// Which segment, from 0.
        segment: u8,
        /// The carrier's id for it.
        carrier_id: String,
        /// What it says; `None` for "on its way".
        outcome: Option<Outcome>,
        /// The receipt as it came.
        raw: String,
    },
    /// The moment in [`State::wakes_at`] has come (never used for the queue: that is `Claimed`).
    TimeUp,
    /// The process that held the claim is gone; nobody will answer.
    Orphaned,
    /// The caller takes it back.
    Cancel,
    /// Stopped by a rule of ours at the last moment.
    Stopped(Failure),
    /// Held by a rule of ours, when it was accepted or at the last moment of the submission `attempt`.
    Held {
        /// The submission that it belongs to; 0 before the first.
        attempt: u32,
        /// Until when, and why.
        hold: Hold,
    },
    /// Handling it crashes the program: see [`poison`].
    Quarantined(Failure),
}

/// What does change: where the message is, its segments, and how often it was tried.
#[derive(Debug, Clone, PartialEq)]
pub struct Life {
    /// Where it is.
    pub state: State,
    /// Numbers the submissions; an answer must name the one it belongs to.
    pub attempt: u32,
    /// Tries that count against the policy (throttling does not).
    pub tries: u32,
    /// How often it was sent again after a doubt.
    pub resends: u32,
    /// One for each segment.
    pub segments: Vec<Segment>,
}

/// The unchanging facts that a decision about a life needs.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// Why it is sent.
    pub purpose: Purpose,
    /// After this moment it is not worth sending.
    pub expires_at: Timestamp,
}

/// What is done about the failure of a message that stands so: `retry` only while it will be tried again.
pub fn done_about(failure: &Failure, status: Status, purpose: Purpose) -> &'static str {
    let asks_a_person = status == Status::Unconfirmed && purpose.doubt().review && failure.code == NO_ANSWER;
    match failure.recovery() {
        Recovery::Retry if asks_a_person => Recovery::Review.as_str(),
        Recovery::Retry if status.is_final() => "none",
        Recovery::Review if gate::is_own_word(failure) => "none",
        recovery => recovery.as_str(),
    }
}

impl Message {
    /// Where it belongs.
    pub const fn realm(&self) -> Realm {
        Realm { account: self.account, environment: self.environment }
    }

    /// The facts that decisions about its life need.
    pub const fn terms(&self) -> Terms {
        Terms { purpose: self.purpose, expires_at: self.expires_at }
    }

    /// Everything but its text, as those need it who tell what becomes of it.
    pub fn without_text(&self) -> Self {
        Self {
            text: None,
            reference: self.reference.clone(),
            metadata: self.metadata.clone(),
            programme: self.programme.clone(),
            ..*self
        }
    }
}

/// The code of a message that crashes whoever handles it.
const POISON: &str = "tidings poison";

/// Why a message is set aside: handling it crashed the program again and again. A person must look, and may have it sent
/// again by a version that can.
pub fn poison(doing: &str) -> Failure {
    let detail = format!("{doing} it crashed the program {CRASHES_MAX} times; it was set aside");
    Failure::new(FailureClass::UnknownError, false, POISON, detail)
}

/// The code of a message that is not any more what was accepted.
const DAMAGED: &str = "tidings damaged";

/// Why a message is set aside: what is stored of it does not fit its checksum. A person must look, and have it sent
/// again by whoever asked for it: its text is not known any more.
pub fn damaged() -> Failure {
    let detail = "what is stored of it is not what was accepted: the disk changed it, and it was not sent";
    Failure::new(FailureClass::UnknownError, false, DAMAGED, detail)
}

/// After so many crashes that are certainly its own a message is set aside.
pub const CRASHES_MAX: u32 = 3;

/// The code of a submission without an answer.
const NO_ANSWER: &str = "tidings no_answer";
