//! What the witness wrote down: plain lists, so that a test can write one by hand.

use crate::clock::Moment;

/// Why a message is sent, as the API names it, with the rule for a submission without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Sent again once, if it is still worth a minute.
    Authentication,
    /// Sent again until it is answered.
    Alert,
    /// Held for a receipt, then shown as unconfirmed.
    Transactional,
    /// Shown as unconfirmed, never sent again.
    Marketing,
}

impl Purpose {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Authentication, Self::Alert, Self::Transactional, Self::Marketing];

    /// The public word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Authentication => "authentication",
            Self::Alert => "alert",
            Self::Transactional => "transactional",
            Self::Marketing => "marketing",
        }
    }

    /// The most submissions of one segment that the purpose's rule allows, whatever happens.
    pub const fn submissions_max(self) -> usize {
        match self {
            Self::Authentication => 2,
            Self::Alert => usize::MAX,
            Self::Transactional | Self::Marketing => 1,
        }
    }
}

/// A request of ours. Its recipient is its alone, so that a submission tells which request it came from.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its idempotency key.
    pub key: String,
    /// To whom, in E.164.
    pub recipient: String,
    /// Why.
    pub purpose: Purpose,
    /// Its text.
    pub text: String,
    /// Each 202 it got, in any order: the message's id and when. Repeats with the same key are in it.
    pub accepted: Vec<(String, Moment)>,
    /// How often it got no answer at all.
    pub unanswered: u32,
    /// The words that make it crash a binary that is built for it.
    pub poison: Option<String>,
}

/// A `submit_sm` that the carrier read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// When it was read.
    pub at: Moment,
    /// On which session, counted from 0 over the whole run.
    pub session: u32,
    /// From whom.
    pub source: String,
    /// To whom, in E.164.
    pub recipient: String,
    /// Its text, without a user data header.
    pub text: String,
    /// Total and number, if it is one of several parts.
    pub part: Option<(u8, u8)>,
    /// The sender's own reference.
    pub reference: Option<u16>,
    /// The id that the carrier gave it.
    pub carrier_id: String,
    /// Whether a receipt was asked for.
    pub receipt_wanted: bool,
    /// How long the carrier is told to try, if it is told as a span: seconds.
    pub validity_s: Option<u64>,
    /// When its answer was written, if it was.
    pub answered_at: Option<Moment>,
}

/// A receipt that the carrier has for the sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The id it names.
    pub carrier_id: String,
    /// The recipient it is about.
    pub recipient: String,
    /// The submission it is about, by its place.
    pub submission: usize,
    /// Whether it carries the sender's own reference back.
    pub echoed: bool,
    /// How often it was offered.
    pub offers: u32,
    /// How often it was answered with an error.
    pub refusals: u32,
    /// When it was first offered.
    pub first_offered_at: Option<Moment>,
    /// When it was acknowledged.
    pub acknowledged_at: Option<Moment>,
}

/// A call that the webhook receiver answered with 200.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// `webhook-id`, the same in every repeat.
    pub id: String,
    /// What happened.
    pub kind: String,
    /// The message it is about.
    pub message: String,
    /// Where the message stood after it.
    pub status: String,
    /// When it came.
    pub at: Moment,
}

/// A message as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its id.
    pub id: String,
    /// To whom.
    pub recipient: String,
    /// The public word.
    pub status: String,
    /// The code of what went wrong last, if anything did.
    pub error: Option<String>,
}

impl Shown {
    /// Whether nothing more is to happen to it, but that a late receipt may correct `unconfirmed`.
    pub fn is_final(&self) -> bool {
        !matches!(self.status.as_str(), "scheduled" | "queued" | "sending" | "sent")
    }
}

/// One end by force.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kill {
    /// Just before the signal was sent.
    pub at: Moment,
    /// Messages that the API showed as `sending` or `unconfirmed` after the restart and had not shown so before;
    /// nothing if there was another kill before it could be asked.
    pub in_doubt: Option<u32>,
}

/// Everything that was seen.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// What we asked for.
    pub requests: Vec<Request>,
    /// What reached the carrier.
    pub submissions: Vec<Submission>,
    /// What the carrier said about it.
    pub receipts: Vec<Receipt>,
    /// What we were told.
    pub webhooks: Vec<Webhook>,
    /// What the API shows at the end.
    pub shown: Vec<Shown>,
    /// The ends by force.
    pub kills: Vec<Kill>,
    /// When `shown` was read.
    pub shown_at: Moment,
    /// The most submissions that were unanswered on one session.
    pub most_open: u32,
}
