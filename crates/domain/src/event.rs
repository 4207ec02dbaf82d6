//! The closed list of facts about messages and the people who answer: what a timeline shows, and what webhooks and the feed
//! carry.

use crate::failure::Failure;
use crate::message::Status;
use crate::time::Timestamp;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The carrier accepted every segment.
    Sent,
    /// A receipt says that the phone has it.
    Delivered,
    /// A receipt says that the phone will not have it.
    Undelivered,
    /// Its tries are used up.
    Failed,
    /// It was blocked.
    Rejected,
    /// Its time was over.
    Expired,
    /// Its caller took it back.
    Canceled,
    /// Nobody knows what became of it.
    Unconfirmed,
    /// It will be tried again later.
    Delayed,
    /// Timeline only: the carrier did not answer, and the purpose's waiting time runs.
    Unanswered,
    /// Timeline only: a receipt that is not the end (on its way, or one of several segments).
    Progress,
    /// Timeline only: its text was removed.
    Redacted,
    /// A person sent a message to us.
    Received,
    /// A person asked by text for no more messages, and is on the suppression list now.
    OptedOut,
    /// A person asked by text for messages again, and is off the suppression list now.
    OptedIn,
    /// Timeline only: its sender was chosen from a pool.
    SenderChosen,
}

impl Kind {
    /// All of them; the place in this list is the number in the store.
    pub const ALL: [Self; 16] = [
        Self::Sent,
        Self::Delivered,
        Self::Undelivered,
        Self::Failed,
        Self::Rejected,
        Self::Expired,
        Self::Canceled,
        Self::Unconfirmed,
        Self::Delayed,
        Self::Unanswered,
        Self::Progress,
        Self::Redacted,
        Self::Received,
        Self::OptedOut,
        Self::OptedIn,
        Self::SenderChosen,
    ];

    /// The public name, such as `message.delivered`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "message.sent",
            Self::Delivered => "message.delivered",
            Self::Undelivered => "message.undelivered",
            Self::Failed => "message.failed",
            Self::Rejected => "message.rejected",
            Self::Expired => "message.expired",
            Self::Canceled => "message.canceled",
            Self::Unconfirmed => "message.unconfirmed",
            Self::Delayed => "message.delayed",
            Self::Unanswered => "message.unanswered",
            Self::Progress => "message.progress",
            Self::Redacted => "message.redacted",
            Self::Received => "message.received",
            Self::OptedOut => "contact.opted_out",
            Self::OptedIn => "contact.opted_in",
            Self::SenderChosen => "message.sender_chosen",
        }
    }

    /// From the public name.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// Whether webhooks and the feed carry it; the others are for the timeline.
    pub const fn is_public(self) -> bool {
        !matches!(self, Self::Unanswered | Self::Progress | Self::Redacted | Self::SenderChosen)
    }

    /// One bit for each, for an endpoint's filter.
    pub const fn bit(self) -> u32 {
        1 << self as u32
    }

    /// The fact that a message reached this status by ending or by being sent.
    pub(crate) const fn of(status: Status) -> Self {
        match status {
            Status::Sent => Self::Sent,
            Status::Delivered => Self::Delivered,
            Status::Undelivered => Self::Undelivered,
            Status::Failed => Self::Failed,
            Status::Rejected => Self::Rejected,
            Status::Expired => Self::Expired,
            Status::Canceled => Self::Canceled,
            Status::Unconfirmed => Self::Unconfirmed,
            Status::Scheduled | Status::Queued | Status::Sending => Self::Delayed,
        }
    }
}

/// One fact about one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: Kind,
    /// Where the message stands afterwards.
    pub status: Status,
    /// The submission it belongs to.
    pub attempt: u32,
    /// When.
    pub at: Timestamp,
    /// When it will be tried again, if it will.
    pub due_at: Option<Timestamp>,
    /// Why, if something went wrong.
    pub failure: Option<Failure>,
    /// The carrier's own words, as they came; for a sender that was chosen, why and from which pool
    /// ([`crate::pool::noted`]); for what a person sent, whose it is ([`crate::inbound::Whose::noted`]).
    pub raw: Option<String>,
}
