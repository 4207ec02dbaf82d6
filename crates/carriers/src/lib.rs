//! Everything that speaks to a carrier, and the simulator that pretends to be one.
//!
//! A carrier is opened by [`list::open`] and lives behind a [`Link`]: submissions go in, [`CarrierEvent`]s come
//! out, and nothing else crosses. The contract, held by `tests/conformance.rs` for every carrier in the list:
//!
//! 1. Each [`Submission`] MUST be reported exactly once as [`CarrierEvent::Answered`]; also at a stop, also when the
//!    link breaks. What was perhaps written is [`Answer::None`]; what certainly was not is [`Answer::Unsent`].
//!    A real answer that comes after `Answer::None` MAY be reported once more.
//! 2. A carrier MUST NOT send a submission again by itself.
//! 3. A receipt or an inbound message MUST NOT be acknowledged to the carrier before [`Acknowledge::stored`] is
//!    called; if it is dropped instead, the carrier keeps the message and will offer it again.
//! 4. [`Window::free`] MUST be 0 while nothing can be submitted, and MUST never promise more than the carrier takes.
//! 5. Garbage from the other side MUST cost an event ([`CarrierEvent::Malformed`]), never the process.
//! 6. A carrier MUST ask [`Surroundings::may_send`] right before it hands a submission to the outside. If the answer is
//!    no, the submission is [`Answer::Unsent`].
//! 7. Of media that people send, a carrier MUST NOT hold more than [`MEDIA_OCTETS_MAX`] octets that are not acknowledged, whatever
//!    is offered to it, nor read more of one than [`Content::TooLarge`] allows. It MUST hand over all that came with a message, or say
//!    by that how large it was; `domain::media` decides what is kept.
//! 8. After [`Link::stop`] is asked for, the carrier MUST answer everything it holds, tell its peer, and end its
//!    events within the given time.

pub mod codes;
pub mod faults;
mod later;
pub mod list;
pub mod media;
mod play;
pub mod script;
pub mod simulator;
pub mod smpp;
pub mod smsc;
mod window;

use std::sync::Arc;
use tidings_domain::address::PhoneNumber;
use tidings_domain::id::MessageId;
use tidings_domain::media::{Content, Item};
use tidings_domain::message::Answer;
use tidings_domain::purpose::Purpose;
use tidings_domain::receipt::Receipt;
use tidings_domain::registration::Dlt;
use tidings_domain::sender::Sender;
use tidings_domain::text::{Encoding, Segment};
use tokio::sync::{mpsc, watch};
pub use window::{Permit, Window};

/// Names one segment of one attempt; a carrier hands it back unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tag {
    /// The message.
    pub message: MessageId,
    /// The attempt.
    pub attempt: u32,
    /// The segment, from 0.
    pub segment: u8,
}

/// One segment to hand to a carrier.
#[derive(Debug)]
pub struct Submission {
    /// Comes back with the answer.
    pub tag: Tag,
    /// Who it is from.
    pub sender: Sender,
    /// Who it is to.
    pub recipient: PhoneNumber,
    /// How the octets are to be read.
    pub encoding: Encoding,
    /// The octets, and the concatenation header if there is one.
    pub segment: Segment,
    /// Why it is sent: some carriers take a priority.
    pub purpose: Purpose,
    /// How long it is still worth sending, counted from `since`: seconds, at least 1.
    pub validity_s: u32,
    /// How long it may wait for a session until it must be asked again whether it may go, counted from `since`: seconds,
    /// from 1 to `validity_s`. What waits for longer is given back.
    pub waits_s: u32,
    /// When it was handed over.
    pub since: tokio::time::Instant,
    /// A reference that some carriers give back on receipts.
    pub our_reference: u16,
    /// What networks in India are to be told with it.
    pub dlt: Option<Dlt>,
    /// Its place in the window, given back when it is answered.
    pub permit: Permit,
}

/// What comes from a carrier.
#[derive(Debug)]
pub enum CarrierEvent {
    /// The answer to a submission.
    Answered {
        /// The submission's tag.
        tag: Tag,
        /// The answer.
        answer: Answer,
        /// Its place in the window; `None` for an answer that comes after [`Answer::None`] was reported. Whoever takes
        /// the event gives the place back once the answer is committed: so a crash never leaves more in doubt than
        /// the window holds.
        permit: Option<Permit>,
    },
    /// A delivery receipt.
    Receipt {
        /// The receipt.
        receipt: Receipt,
        /// To be called once it is stored.
        acknowledge: Acknowledge,
    },
    /// A message (or a part of one) that a person sent.
    Inbound {
        /// The part.
        part: InboundPart,
        /// To be called once it is stored.
        acknowledge: Acknowledge,
    },
    /// Something that could not be read. For the log and the counter.
    Malformed {
        /// What was wrong with it.
        reason: String,
    },
}

/// A part of a message that a person sent to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboundPart {
    /// Who sent it: with `+` where the carrier says that it is an international number, otherwise as it wrote it.
    pub from: String,
    /// To which of our senders, written likewise.
    pub to: String,
    /// Its octets as they came, and how they are to be read. Empty for media without a text.
    pub segment: Segment,
    /// What came with it, in its order; up to `domain::media::LISTED_MAX`. What has any is a message by itself.
    pub media: Vec<Item>,
    /// What else the carrier says that may tell it from another one with the same text. Empty for nothing.
    pub beside: Vec<u8>,
    /// Since when the session was open that it came on. What came before may be offered again: the carrier may not have
    /// heard that it is stored. `None` for carriers that offer nothing again.
    pub opened: Option<tokio::time::Instant>,
}

/// Octets of media that a carrier may hold in memory until they are stored: 64 MiB.
pub const MEDIA_OCTETS_MAX: usize = 64 << 20;

impl InboundPart {
    /// The octets of its media that are in memory.
    pub fn media_octets(&self) -> usize {
        let octets = |item: &Item| match &item.content {
            Content::Octets(octets) => octets.len(),
            Content::TooLarge(_) => 0,
        };
        self.media.iter().map(octets).sum()
    }
}

/// The right to tell a carrier that its receipt or message is safe. Dropping it tells nothing.
pub struct Acknowledge(Option<Box<dyn FnOnce() + Send>>);

impl Acknowledge {
    /// Calls `then` when the event is stored.
    pub fn new(then: impl FnOnce() + Send + 'static) -> Self {
        Self(Some(Box::new(then)))
    }

    /// For carriers that want no acknowledgement.
    pub const fn none() -> Self {
        Self(None)
    }

    /// The event is committed.
    pub fn stored(self) {
        if let Some(then) = self.0 {
            then();
        }
    }
}

impl std::fmt::Debug for Acknowledge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Acknowledge")
    }
}

/// How a link is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    /// Trying to reach the carrier.
    Connecting {
        /// Why it is not up yet, if something went wrong before.
        reason: Option<String>,
    },
    /// Bound and usable.
    Up {
        /// Sessions that are bound.
        sessions: usize,
    },
    /// The carrier refuses us (credentials, rights); tried again, slowly.
    Refused {
        /// The carrier's words.
        reason: String,
    },
    /// Stopped by us.
    Stopped,
    /// Another node holds the link, if any does.
    Elsewhere {
        /// Its name.
        node: Option<String>,
    },
}

impl LinkState {
    /// The public word.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Connecting { .. } => "connecting",
            Self::Up { .. } => "up",
            Self::Refused { .. } => "refused",
            Self::Stopped => "stopped",
            Self::Elsewhere { .. } => "elsewhere",
        }
    }
}

/// An open carrier.
#[derive(Debug)]
pub struct Link {
    /// Where submissions go in. Bounded; each holds a permit of the window, so it never blocks for long.
    pub submissions: mpsc::Sender<Submission>,
    /// What comes out. Bounded: a slow reader slows the carrier, never the memory.
    pub events: mpsc::Receiver<CarrierEvent>,
    /// How much may be submitted now, in segments.
    pub window: Arc<Window>,
    /// How the link is.
    pub state: watch::Receiver<LinkState>,
    /// Set to `true` to stop in good order. Dropped, it means the same.
    pub stop: watch::Sender<bool>,
    /// How a simulated carrier misbehaves, to be changed while it runs; `None` for real ones.
    pub faults: Option<watch::Sender<faults::Faults>>,
}

/// Settings with which a carrier cannot be opened: what is wrong with them, in words for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

/// Reads a file that the configuration names: certificates, which are read once at the start.
fn read_file(path: &std::path::Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|error| Error(format!("cannot read {}: {error}", path.display())))
}

/// What every carrier gets from the outside.
#[derive(Clone)]
pub struct Surroundings {
    /// The connection's name, for logs.
    pub name: String,
    /// Draws a random number: reconnect delays must not be the same everywhere.
    pub draw: Arc<dyn Fn() -> u32 + Send + Sync>,
    /// The operator's table from carriers' codes to failures.
    pub codes: Arc<codes::Codes>,
    /// Catches what crashes over one submission, or over one thing that the carrier sent.
    pub guard: Arc<dyn Guard>,
    /// Whether this process may submit at this moment.
    pub may_send: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// What is handled, to be known again if it crashes.
#[derive(Debug, Clone, Copy)]
pub enum CrashKey<'a> {
    /// A message.
    Message(MessageId),
    /// Something that came, as its octets.
    Octets(&'a [u8]),
}

/// Runs the handling of one thing so that a crash of it stops that thing only.
pub trait Guard: Send + Sync {
    /// Runs the work, and again if it panics; `false` if it never came to its end.
    fn contain(&self, key: CrashKey<'_>, work: &mut dyn FnMut()) -> bool;
}

/// Catches nothing: for tests, and for those who only look at settings.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unguarded;

impl Guard for Unguarded {
    fn contain(&self, _key: CrashKey<'_>, work: &mut dyn FnMut()) -> bool {
        work();
        true
    }
}
