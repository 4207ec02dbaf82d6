//! Messages: what is asked of them on their road, and what is read of them.

use super::{Attempt, Connection, Saying, Sending, Told};
use std::collections::BTreeMap;
use std::sync::Arc;
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::code;
use tidings_domain::consent_request::NewConsentRequest;
use tidings_domain::event::{Event, Kind};
use tidings_domain::failure::{Failure, FailureClass};
use tidings_domain::frequency::{self, Bound, COUNTED_MAX, Other};
use tidings_domain::gate::Hold;
use tidings_domain::id::*;
use tidings_domain::message::{Input, LEASE_MS, Life, Message, State, Status};
use tidings_domain::pool::{self, Picked};
use tidings_domain::purpose::Purpose;
use tidings_domain::queue::Queue;
use tidings_domain::quota::{Count, fits};
use tidings_domain::reachability;
use tidings_domain::receipt::Receipt;
use tidings_domain::retry::{Jitter, RetryPolicy};
use tidings_domain::spend::{Period, Priced, Spent};
use tidings_domain::suppression;
use tidings_domain::time::Timestamp;
use tidings_domain::webhook::Delivery;

/// A clock that is corrected by less than this does not make an early receipt look as if it came before the submission.
pub(crate) const CLOCK_SLACK_MS: i64 = 1_000;

/// Since when a receipt may be about what an input speaks of: one that came before the submission is not about it, because
/// carriers repeat receipts and use ids again. An answer to an earlier attempt than that which is under way speaks of that one,
/// and when it was submitted is not kept.
pub(crate) const fn submitted_from(message: &Message, life: &Life, answered: Option<u32>) -> Timestamp {
    let speaks_of_this = match answered {
        Some(attempt) => attempt == life.attempt,
        None => true,
    };
    match life.state {
        State::Sending { until } if speaks_of_this => until.plus_ms(-LEASE_MS - CLOCK_SLACK_MS),
        _ => message.created_at,
    }
}

/// The attempt that an answer is to, if the input is one.
pub(crate) const fn answered(input: &Input) -> Option<u32> {
    match input {
        Input::Answered { attempt, .. } => Some(*attempt),
        _ => None,
    }
}

/// Messages that one claim ends because their time is over. After an outage there may be hundreds of thousands of them
/// at the head of a queue, and a commit with all of them would keep the writer from everybody.
pub(crate) const ENDED_MAX: usize = 500;

/// A receipt may come so long after its message was accepted, at the usual lives; only older messages are looked up.
pub(crate) const OUTSTANDING_MS: i64 = 80 * 3_600_000;

/// Days of senders are counted for so long: whichever day it is anywhere, and some more for a clock that is set back.
pub(crate) const QUOTAS_MS: i64 = 7 * 24 * 3_600_000;

/// What accounts spent is known for so long: two months and some more.
pub(crate) const SPENDS_MS: i64 = 70 * 24 * 3_600_000;

/// A message that asks for its turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedTurn {
    /// Whose message it is.
    pub realm: Realm,
    /// To whom.
    pub recipient: PhoneNumber,
    /// The message.
    pub message: MessageId,
    /// Why it is sent.
    pub purpose: Purpose,
    /// What must leave room for it.
    pub bounds: Vec<Bound>,
}

/// What a person was sent and will be, the first of it: by their messages, the turns that were taken, and the moments at which those
/// come up that wait. One that waits after it had its turn counts once, when it comes up: then its turn is moved.
pub(crate) fn first_of(
    taken: impl IntoIterator<Item = (i64, Other)>,
    waiting: impl IntoIterator<Item = (i64, Other)>,
) -> Vec<Other> {
    let messages: BTreeMap<i64, Other> = taken.into_iter().chain(waiting).collect();
    first(messages.into_values().collect())
}

/// As many as are looked at.
pub(crate) fn first(mut others: Vec<Other>) -> Vec<Other> {
    others.sort_unstable();
    others.truncate(COUNTED_MAX);
    others
}

/// Segments that want to go in a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedQuota {
    /// Where they are counted.
    pub count: Count,
    /// How many.
    pub segments: u32,
    /// How many may go in the day.
    pub limit: u32,
}

impl AskedQuota {
    /// Whether they fit, if so many were taken of the day.
    pub(crate) const fn fits(&self, used: u64) -> bool {
        fits(used, self.segments, self.limit)
    }
}

/// What the plan of a message took for granted, because it nearly always is so: that nothing which is counted is in the way at the
/// moment at which it would go. The commit that accepts it looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Premise {
    /// When it would go.
    pub goes_at: Timestamp,
    /// How often its recipient may be sent to.
    pub bounds: Vec<Bound>,
    /// What the same call sends to its recipient before it.
    pub others: Vec<Other>,
    /// What it takes of the day of its sender.
    pub quota: Option<AskedQuota>,
}

impl Premise {
    /// The purposes that its bounds count.
    pub(crate) fn purposes(&self) -> Vec<Purpose> {
        let is_counted = |purpose: &Purpose| self.bounds.iter().any(|bound| bound.purposes.contains(purpose));
        Purpose::ALL.into_iter().filter(is_counted).collect()
    }

    /// Whether its bounds leave room beside what its recipient was sent and will be.
    pub(crate) fn has_turn(&self, mut others: Vec<Other>) -> bool {
        others.extend(&self.others);
        frequency::opens_at(&self.bounds, &others, self.goes_at) == Some(self.goes_at)
    }
}

/// One message to accept.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The message.
    pub message: Message,
    /// Its life so far: waiting, or already claimed by the caller for a place in its connection's window.
    pub life: Life,
    /// Why it waits, if the gate holds it: `Input::Held`, in the commit that accepts it. It is due when the hold ends.
    pub held: Option<Hold>,
    /// How its sender was chosen, if it was chosen from a pool.
    pub picked: Option<Picked>,
    /// What it costs its account, if that is counted.
    pub priced: Option<Priced>,
    /// What was taken for granted of it and must be so. Only [`Backend::accept`] looks at that.
    pub premise: Option<Premise>,
}

impl Draft {
    /// A message that nothing holds.
    pub const fn new(message: Message, life: Life) -> Self {
        Self { message, life, held: None, picked: None, priced: None, premise: None }
    }
}

/// The messages of one call.
pub struct Intake {
    /// Whose call.
    pub realm: Realm,
    /// Its idempotency key, if it gave one.
    pub idempotency: Option<Idempotency>,
    /// The batch to record, if it is one: (id, how many items were asked for). Its id is smaller than those of its
    /// messages, which name it.
    pub batch: Option<(BatchId, u32)>,
    /// What to accept.
    pub drafts: Vec<Draft>,
}

/// An idempotency key and how to remember the answer.
pub struct Idempotency {
    /// SHA-256 of realm and key.
    pub key: [u8; 32],
    /// SHA-256 of the request: another request with the same key is refused.
    pub fingerprint: [u8; 32],
    /// Renders the answer that a repeat gets, from what became of the drafts. Stored in the same commit.
    pub answer: Arc<Render>,
}

/// What else is done in the commit that accepts a message.
#[derive(Clone, Copy)]
pub(crate) enum Beside<'a> {
    Nothing,
    Asking(&'a NewConsentRequest),
    Code(&'a Sending),
    Saying(&'a Saying),
}

/// Renders the answer to a call from what became of its drafts.
pub type Render = dyn Fn(&[Admission]) -> Vec<u8> + Send + Sync;

/// What became of one draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It is stored.
    Admitted,
    /// Its recipient is on the suppression list; nothing was stored.
    Suppressed(suppression::InForce),
    /// Its account would spend more than it may; nothing was stored.
    Overspent(Period),
    /// The code that it carries may not be sent now; nothing was stored. Only [`Backend::send_code`] says so.
    Refused(code::Refused),
    /// Somebody wrote in the conversation meanwhile; nothing was stored. Only [`Backend::converse`] says so.
    Overtaken,
    /// The person is already asked for consent from this sender.
    Asked,
}

/// What became of a call.
#[derive(Debug, PartialEq)]
pub enum Accepted {
    /// New: one admission for each draft, and what the commit brought about for those that are held.
    New(Vec<Admission>, Box<Advanced>),
    /// The same call was accepted before: its answer.
    Replayed(Vec<u8>),
    /// The key was used for another request.
    KeyReused,
    /// Somebody has another sender of a pool than was seen when it was chosen. Nothing was stored; choose anew.
    Moved,
    /// Something is in the way that its plan took not to be: a [`Premise`] does not hold. Nothing was stored; look, and plan anew.
    Crowded,
}

/// What is spent by the messages of one call, one after the other.
pub(crate) struct Spending {
    spent: Spent,
}

impl Spending {
    pub(crate) fn new(spent: Spent) -> Self {
        Self { spent }
    }

    /// Counts a message, unless it goes beyond a limit: then that.
    pub(crate) fn add(&mut self, priced: &Priced) -> Option<Period> {
        let beyond = priced.limits.beyond(self.spent, priced.price);
        if beyond.is_none() {
            self.spent = self.spent.plus(priced.price);
        }
        beyond
    }

    /// What is spent with it.
    pub(crate) const fn spent(&self) -> Spent {
        self.spent
    }
}

/// What the event says by which the sender of a message was chosen from a pool.
pub(crate) fn chosen_event(draft: &Draft, picked: &Picked, now: Timestamp) -> Event {
    Event {
        kind: Kind::SenderChosen,
        status: draft.life.state.status(),
        attempt: draft.life.attempt,
        at: now,
        due_at: None,
        failure: None,
        raw: Some(pool::noted(picked)),
    }
}

/// A message to submit, as it is now.
#[derive(Debug, Clone)]
pub struct Ticket {
    /// The message.
    pub message: Message,
    /// The attempt that was recorded for it.
    pub attempt: u32,
    /// The segments to submit, from 0.
    pub segments: Vec<u8>,
}

/// What a claim gives.
#[derive(Debug, Default)]
pub struct Claimed {
    /// To submit.
    pub tickets: Vec<Ticket>,
    /// Deliveries made because messages expired at the claim.
    pub advanced: Advanced,
    /// Whether more is due now.
    pub more: bool,
}

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Happening {
    /// To a message we know.
    To {
        /// The message.
        message: MessageId,
        /// What.
        input: Input,
    },
    /// A receipt came on a connection; whose it is must be found, among the messages of that one and of others that lead to the
    /// same carrier ([`Carriers`](crate::Carriers)).
    Receipt {
        /// The connection it came on.
        connection: ConnectionId,
        /// The receipt.
        receipt: Receipt,
    },
}

/// The retry rules and one random number for a whole commit, and when a number is dead.
#[derive(Debug, Clone)]
pub struct Patience {
    /// When to try again.
    pub retry: Arc<RetryPolicy>,
    /// When a number at which nothing arrives goes on the suppression list; `None` for never, and then nothing is counted.
    pub unreachable: Option<reachability::Policy>,
    /// Spread over the decisions of this commit: each input to a message that is not over gets the
    /// [next](Jitter::next).
    pub jitter: Jitter,
}

/// What a commit brought about, for those who act on it.
#[derive(Debug, Default, PartialEq)]
pub struct Advanced {
    /// Deliveries for webhooks, leased for their first try.
    pub told: Vec<Told>,
    /// Queues that got something, and when it is due.
    pub queued: Vec<(Queue, Timestamp)>,
    /// Connections that their carrier refuses.
    pub paused: Vec<(ConnectionId, Failure)>,
    /// Inputs without meaning (duplicates, late ones).
    pub ignored: u64,
    /// Receipts that wait for their segment. (One whose id has no form in which an answer could give it is counted, but
    /// not kept.)
    pub parked: u64,
    /// Rows of parked receipts that were forgotten because their connection had too many.
    pub forgotten: u64,
    /// Every event of the commit, for the counters: (kind, purpose, connection, class, ms since acceptance).
    pub counted: Vec<Counted>,
    /// For each happening, in order, where its message now stands; `None` if it was ignored or parked.
    pub statuses: Vec<Option<Status>>,
    /// Whether the same call would find more.
    pub more: bool,
    /// Messages that were left as they were, because handling them crashed again and again.
    pub crashed: Vec<MessageId>,
    /// Whether somebody opted out by text.
    pub opted_out: bool,
}

impl Advanced {
    /// Adds what another part of the same commit brought about.
    pub(crate) fn add(&mut self, other: Self) {
        self.told.extend(other.told);
        self.queued.extend(other.queued);
        self.paused.extend(other.paused);
        self.ignored += other.ignored;
        self.parked += other.parked;
        self.forgotten += other.forgotten;
        self.counted.extend(other.counted);
        self.statuses.extend(other.statuses);
        self.more |= other.more;
        self.crashed.extend(other.crashed);
        self.opted_out |= other.opted_out;
    }
}

/// One event as metrics see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// What happened.
    pub kind: Kind,
    /// Why the message was sent.
    pub purpose: Purpose,
    /// Where.
    pub connection: ConnectionId,
    /// The failure's class.
    pub class: Option<FailureClass>,
    /// Milliseconds since the message was accepted (or due, if it was scheduled).
    pub age_ms: i64,
}

impl Counted {
    /// This event of this message.
    pub(crate) fn of(message: &Message, event: &Event) -> Self {
        let since = message.send_at.unwrap_or(message.created_at);
        Self {
            kind: event.kind,
            purpose: message.purpose,
            connection: message.connection,
            class: event.failure.as_ref().map(|failure| failure.class),
            age_ms: event.at.since_ms(since),
        }
    }
}

/// A message with its life and what it last suffered.
#[derive(Debug, Clone)]
pub struct Stored {
    /// What does not change.
    pub message: Message,
    /// What does. Of an unconfirmed message that is over the moment is not kept: it is the beginning of time.
    pub life: Life,
    /// The failure that its last event carried, if any.
    pub failure: Option<Failure>,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// What a list of messages is narrowed to.
#[derive(Debug, Clone, Default)]
pub struct MessageFilter {
    /// Only in this status.
    pub status: Option<Status>,
    /// Only to this number.
    pub recipient: Option<PhoneNumber>,
    /// Only from this sender, as printed.
    pub sender: Option<String>,
    /// Only with this reference of the caller.
    pub reference: Option<String>,
    /// Only the one with this carrier's id.
    pub carrier_id: Option<String>,
    /// Only of this batch.
    pub batch: Option<BatchId>,
    /// Only accepted at or after this.
    pub since: Option<Timestamp>,
    /// Only accepted before this.
    pub until: Option<Timestamp>,
}

/// The recorded life of one message.
#[derive(Debug, Clone)]
pub struct Timeline {
    /// The message.
    pub stored: Stored,
    /// Every event, oldest first.
    pub events: Vec<(EventId, Event)>,
    /// Every webhook attempt about it, oldest first.
    pub attempts: Vec<Attempt>,
    /// Open deliveries about it.
    pub deliveries: Vec<Delivery>,
    /// The connection that it goes over, as it is now; `None` if the store does not know it.
    pub connection: Option<Connection>,
}

/// A batch with its counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Its id.
    pub id: BatchId,
    /// When.
    pub created_at: Timestamp,
    /// Items asked for.
    pub asked: u32,
    /// Messages by status, in the order of [`Status::ALL`]; no status stands there twice.
    pub counts: Vec<(Status, u64)>,
}
