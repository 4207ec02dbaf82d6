//! **The contract with a database.** One trait; every operation is a use case, takes a batch where it can, and is
//! atomic as its doc comment says: committed whole and durable when it returns `Ok`, or not at all.
//!
//! The rules live in `domain`. Where a decision needs facts that must not change meanwhile (is this number
//! suppressed *now*? what state is this message in *now*?) the operation reads them and calls the rule inside its
//! own transaction: that is the only logic here.
//!
//! Time comes with each call and may go back. Ids that the store makes by itself (events, reviews, lines of the trail,
//! suppressions that a carrier's word brings about) only grow, whatever the clock does and over restarts. An id or name
//! of the caller that is taken is [`Conflict`](crate::Error::Conflict), and then nothing of the call is done.

use crate::{Error, Guard, Result, Waiting, column};
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use tidings_domain::account::{Environment, Realm, Scopes};
use tidings_domain::address::PhoneNumber;
use tidings_domain::assembly::{self, Bounds, Said};
use tidings_domain::code::{self, Code, NewCode, Verdict as Checked};
use tidings_domain::consent::{Act, Channel, Consent, History, OptOut};
use tidings_domain::consent_request::{self, ConsentRequest};
use tidings_domain::contact::{Change, Contact, Details, Excess, Group};
use tidings_domain::conversation::{self, Change as ConversationChange, Conversation, Entry, TooManyTags};
use tidings_domain::event::{Event, Kind};
use tidings_domain::failure::{Failure, FailureClass};
use tidings_domain::frequency::{Caps, Turn};
use tidings_domain::gate::Hold;
use tidings_domain::id::*;
use tidings_domain::import::{self, Import};
use tidings_domain::inbound_rule::{self, InboundRule};
use tidings_domain::keyword::{self, Keyword};
use tidings_domain::message::{Input, Life, Message, Status};
use tidings_domain::node::Roles;
use tidings_domain::pool::{self, Last, Picked};
use tidings_domain::purpose::Purpose;
use tidings_domain::quota::Count;
use tidings_domain::receipt::Receipt;
use tidings_domain::retry::{Jitter, RetryPolicy};
use tidings_domain::review::{self, Decision};
use tidings_domain::segment::{self, Past, Touch};
use tidings_domain::sender::Sender;
use tidings_domain::spend::{Period, Priced, Spent};
use tidings_domain::suppression;
use tidings_domain::template::{Content, Template};
use tidings_domain::text::{Part, Segment};
use tidings_domain::time::Timestamp;
use tidings_domain::velocity::{self, Client as Person, Prefix, Stop};
use tidings_domain::webhook::{Delivery, Verdict};

/// Messages that one opt-out by text ends in its commit: a person has a few that wait, and a commit must not grow with a
/// queue.
pub const ENDED_BY_OPT_OUT_MAX: usize = 500;

/// A message that asks for its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AskedTurn {
    /// Whose message it is.
    pub realm: Realm,
    /// To whom.
    pub recipient: PhoneNumber,
    /// The message.
    pub message: MessageId,
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

/// Digits of a phone number that a carrier wrote without `+`, at least. A short code has eight at most.
const PERSON_DIGITS_MIN: usize = 9;

/// What an operation gives back, later.
pub type Reply<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// Why a store that is broken is so, when it is.
pub type Broken<'a> = Pin<Box<dyn Future<Output = Error> + Send + 'a>>;

/// Durable state. Object-safe, so that the program holds one `Arc<dyn Backend>` and no generics.
pub trait Backend: Send + Sync + 'static {
    // ── the road of a message ───────────────────────────────────────────────────────────────────────────────

    /// Accepts the messages of one call: rows, due items, batch, idempotency record, all in one commit.
    /// A draft whose recipient is suppressed is not inserted and comes back as [`Admission::Suppressed`]. To one that is
    /// held `Input::Held` is applied, with its event. One that repeats a message of a conversation is an entry there, too, by
    /// the same author. Of one whose sender was chosen from a pool, the sender is noted as the one
    /// that its recipient has, with an event; if another one is noted by then than was seen, nothing of the call is done:
    /// [`Accepted::Moved`]. What one costs is counted of its account; beyond a limit it is not inserted and comes back as
    /// [`Admission::Overspent`].
    /// If the idempotency key is known, nothing is written: see [`Accepted`].
    fn accept(&self, intake: Intake, now: Timestamp) -> Reply<'_, Accepted>;

    /// Takes up to `limit` segments' worth of due messages of one connection, urgent purposes first, then by due time
    /// and id, and records the intent to submit them (`Input::Claimed`). The first is taken however long it is. Expired
    /// ones are ended instead, some hundreds in one claim at most. Two claims never overlap.
    fn claim(&self, connection: ConnectionId, limit: usize, now: Timestamp) -> Reply<'_, Claimed>;

    /// Applies what happened, in order, by `domain::message`, each input to the state as it is then: lives, due
    /// items, carriers' ids, events, deliveries, suppressions and review items in one commit. An input for a
    /// message that has moved on is counted as ignored and changes nothing.
    ///
    /// What is expected of a segment: a receipt with the carrier's id, from each answer that accepts it, also one that is
    /// too late to change anything; and one with our own reference, where that answer gave no id or counts as lost. The
    /// reference decides only where the id does not. When the message ends, the ids on its segments are forgotten; what
    /// else was noted is forgotten by [`Backend::sweep`], and a receipt that finds only a message that ended is ignored.
    /// A message that was unconfirmed for longer than a receipt may be late is over: every input for it is ignored. One that is
    /// [lost](conversation::is_lost) answers nothing any more in its conversation, whichever operation ends it.
    ///
    /// A receipt whose segment is not known, or not certain, is parked, and looked at again when an answer gives an id, or
    /// a loss a reference, under which it was parked; not where it came before the submission (a second is allowed for a
    /// clock that was corrected), because carriers repeat receipts and use ids again.
    fn advance(&self, happenings: Vec<Happening>, now: Timestamp, rules: Patience) -> Reply<'_, Advanced>;

    /// Feeds `Input::TimeUp` to up to `limit` messages whose moment has come (lost claims, doubts, missing
    /// receipts, expiry in the queue), in one commit; where there are more, each of the two kinds gets half. Looks at
    /// the most urgent first. A message may be looked at before its moment, and is then only put back: its moment is
    /// not moved in the queue while it only grows later.
    fn wake(&self, limit: usize, now: Timestamp, rules: Patience) -> Reply<'_, Advanced>;

    /// Before anything is sent on a connection that had another owner (on every connection for `None`): feeds
    /// `Input::Orphaned` to up to `limit` messages that were claimed for it, the most urgent first. Call until it says
    /// `more: false`. For a node whose connection is not its own (any more), [`Error::Conflict`](crate::Error::Conflict): what
    /// is claimed there is in the hands of its owner.
    fn recover(
        &self,
        connection: Option<ConnectionId>,
        limit: usize,
        now: Timestamp,
        rules: Patience,
    ) -> Reply<'_, Advanced>;

    /// Which of these are suppressed, as of the newest commit: the last look before a submission.
    fn suppressed(
        &self,
        recipients: Vec<(Realm, PhoneNumber)>,
        now: Timestamp,
    ) -> Reply<'_, Vec<Option<suppression::Reason>>>;

    /// When each of these people was sent to within the last week by messages that took a turn, and when messages of these
    /// purposes come up that wait in a queue for them: in order, the first
    /// [`COUNTED_MAX`](tidings_domain::frequency::COUNTED_MAX) of them.
    fn turns(
        &self,
        people: Vec<(Realm, PhoneNumber)>,
        purposes: Vec<Purpose>,
        now: Timestamp,
    ) -> Reply<'_, Vec<Vec<Timestamp>>>;

    /// Takes the turn of each of these messages at this moment, one after the other and all in one commit, as far as the caps
    /// leave one to its recipient beside the turns that others took. A message that had one has it moved.
    fn take_turns(&self, asked: Vec<AskedTurn>, caps: Caps, now: Timestamp) -> Reply<'_, Vec<Turn>>;

    /// What each of these accounts spent in the day and the month that it is.
    fn spent(&self, accounts: Vec<AccountId>, now: Timestamp) -> Reply<'_, Vec<Spent>>;

    /// Takes segments of days, one after the other and all in one commit, as far as they fit into what is left; gives for each how
    /// many were taken before it, and whether it fits.
    fn take_quotas(&self, asked: Vec<AskedQuota>) -> Reply<'_, Vec<(u64, bool)>>;

    /// Gives segments back that were taken and certainly did not go.
    fn return_quotas(&self, returned: Vec<(Count, u32)>) -> Reply<'_, ()>;

    /// How many segments were taken of each of these days.
    fn quotas(&self, counts: Vec<Count>) -> Reply<'_, Vec<u64>>;

    /// Which of these senders each of these people had last: from which they were sent to by this pool, and to which they
    /// wrote, as far as that is an entry of a conversation.
    fn last_senders(
        &self,
        pool: pool::Name,
        senders: Vec<Sender>,
        people: Vec<(Realm, PhoneNumber)>,
    ) -> Reply<'_, Vec<Last>>;

    /// Ends messages that crash whoever handles them (`Input::Quarantined`). One that cannot be handled even for that
    /// is taken out of every queue as it is, so that nobody meets it again.
    fn quarantine(&self, messages: Vec<MessageId>, why: Failure, now: Timestamp) -> Reply<'_, Advanced>;

    /// Catches what crashes, for those who handle messages outside the store.
    fn guard(&self) -> Arc<Guard> {
        Arc::default()
    }

    /// Stores what came from people, one after the other, all in one commit. What is a message by itself, and the message
    /// of which the last part came, is told: with its event, and what it asks is done by `domain::inbound`: the entry of the
    /// suppression list or its end, with its event; the end of up to [`ENDED_BY_OPT_OUT_MAX`] messages that wait in a queue
    /// for who opted out (see [`Backend::stop_waiting`] for those beyond it); the review item of a doubtful one; and the reply, which
    /// waits in its connection's queue. Of a lifted entry that had replaced one of somebody of the account
    /// ([`suppression::Reason::Manual`]), that one counts again.
    ///
    /// A part of several is put where `domain::assembly` says, and waits. That may end other messages as they are: one whose
    /// reference is used again, and one where too many wait.
    ///
    /// The same again is counted and changes nothing, and asks nothing: a part by `assembly::judge`, a whole message by
    /// `inbound::is_repeated`.
    fn receive(&self, arrivals: Vec<Arrival>, hearing: Hearing, now: Timestamp) -> Reply<'_, Advanced>;

    /// Tells up to `limit` messages of people that have waited long enough for their parts, as they are, those that are due
    /// first, in one commit. What they ask is done as in [`Backend::receive`].
    fn give_up(&self, limit: usize, hearing: Hearing, now: Timestamp) -> Reply<'_, Advanced>;

    /// One message of a person with its parts as they came, also while it waits for others.
    fn inbound(&self, realm: Realm, id: InboundId) -> Reply<'_, Option<Received>>;

    /// The earliest moment at which something is due in a connection's queue, or else ([`Backend::wake`],
    /// [`Backend::give_up`]); never before `now`, and perhaps earlier than it would have to be.
    fn next_due(&self, connection: Option<ConnectionId>, now: Timestamp) -> Reply<'_, Option<Timestamp>>;

    /// How many messages wait to be sent. Counted now, and from here on kept right by each commit, so that asking what
    /// is given back costs nothing.
    fn waiting(&self) -> Reply<'_, Arc<Waiting>>;

    // ── reading messages ────────────────────────────────────────────────────────────────────────────────────

    /// One message with its life.
    fn message(&self, realm: Realm, id: MessageId) -> Reply<'_, Option<Stored>>;

    /// A page of messages, newest first.
    fn messages(&self, realm: Realm, filter: MessageFilter, page: Page) -> Reply<'_, Paged<Stored>>;

    /// Everything that is recorded about one message: events and webhook attempts, oldest first.
    fn timeline(&self, realm: Realm, id: MessageId) -> Reply<'_, Option<Timeline>>;

    /// Removes the text (not the message) and records that, in one commit. `None` if there is no such message.
    fn redact(&self, realm: Realm, id: MessageId, actor: Actor, now: Timestamp) -> Reply<'_, Option<Stored>>;

    /// One batch with counts by status.
    fn batch(&self, realm: Realm, id: BatchId) -> Reply<'_, Option<Batch>>;

    /// A page of batches, newest first.
    fn batches(&self, realm: Realm, page: Page) -> Reply<'_, Paged<Batch>>;

    /// Public events after `after`, oldest first: the polling feed. Never skips an event that commits later.
    fn events(&self, realm: Realm, after: Option<EventId>, limit: usize) -> Reply<'_, Vec<Told>>;

    /// One event by its id, public or not.
    fn event(&self, realm: Realm, id: EventId) -> Reply<'_, Option<Told>>;

    // ── webhooks ────────────────────────────────────────────────────────────────────────────────────────────

    /// Takes due deliveries of the named endpoints, for each at most so many, the oldest first, and leases them for
    /// `lease_ms`. Those of an endpoint that is switched off are dropped: its events can be replayed.
    fn claim_deliveries(
        &self,
        wanted: Vec<(EndpointId, usize)>,
        lease_ms: i64,
        now: Timestamp,
    ) -> Reply<'_, Vec<Told>>;

    /// Makes leased deliveries due at once that were handed over and cannot be taken now. One that is no more open under
    /// its lease is left alone.
    fn give_back_deliveries(&self, leased: Vec<Delivery>, now: Timestamp) -> Reply<'_, ()>;

    /// Records tries: attempt log, next due time or end, endpoint health, in one commit. A try settles the delivery that
    /// is open under its lease, and no later one. An endpoint that answers does not fail any more; one that is gone, or
    /// has failed without one success for longer than `DISABLE_AFTER_MS`, is switched off.
    fn record_attempts(&self, attempts: Vec<Attempt>, now: Timestamp) -> Reply<'_, ()>;

    /// Makes deliveries due at once that an earlier process had handed over in memory and not tried, at start: some
    /// thousands at most. The others' leases end by themselves.
    fn release_deliveries(&self, now: Timestamp) -> Reply<'_, u64>;

    /// Every endpoint with open deliveries, and when its earliest is due, in the order of their ids.
    fn due_endpoints(&self) -> Reply<'_, Vec<(EndpointId, Timestamp)>>;

    /// Creates an endpoint.
    fn create_endpoint(&self, endpoint: Endpoint, actor: Actor) -> Reply<'_, ()>;

    /// Finds the endpoint for a message's own callback address, creating it if new. All of a realm have one secret: that
    /// of the oldest. There are 1,000 different ones in a realm at most.
    fn callback_endpoint(&self, endpoint: Endpoint) -> Reply<'_, EndpointId>;

    /// All endpoints of a realm (of every realm for `None`).
    fn endpoints(&self, realm: Option<Realm>) -> Reply<'_, Vec<Endpoint>>;

    /// Changes an endpoint by id: url, events, secrets, state. `false` if there is none. The secrets of a callback address
    /// are those of all in its realm.
    fn update_endpoint(&self, endpoint: Endpoint, actor: Actor, now: Timestamp) -> Reply<'_, bool>;

    /// Removes an endpoint and its open deliveries.
    fn delete_endpoint(&self, realm: Realm, id: EndpointId, actor: Actor, now: Timestamp) -> Reply<'_, bool>;

    /// The attempt log of an endpoint, newest first.
    fn attempts(&self, realm: Realm, endpoint: EndpointId, page: Page) -> Reply<'_, Paged<Attempt>>;

    /// Makes events due again at an endpoint: one, or all in a time range, the oldest first; of these only the public ones
    /// that it wants to hear of. Gives their number (at most `limit`). One that is still open is not opened twice. The
    /// numbers of the tries go on.
    fn replay(
        &self,
        realm: Realm,
        endpoint: EndpointId,
        what: Replay,
        limit: usize,
        actor: Actor,
        now: Timestamp,
    ) -> Reply<'_, Option<u64>>;

    // ── one-time codes ──────────────────────────────────────────────────────────────────────────────────────

    /// Accepts the one message of a call, as [`Backend::accept`] does, with the code that it carries: a new one, whose id has
    /// the number of the message, or one that is sent again. All in one commit: whether it may be sent is decided by
    /// `domain::code` and `domain::velocity`, it is counted, and the code is stored with the message. What is refused comes
    /// back as [`Admission::Refused`] and is not counted; a refusal is not remembered for the idempotency key, because time
    /// cures it. If the prefix is to be stopped, the stop is stored, with a line in the trail.
    fn send_code(&self, intake: Intake, sending: Sending, now: Timestamp) -> Reply<'_, Accepted>;

    /// A code.
    fn code(&self, realm: Realm, id: CodeId) -> Reply<'_, Option<Code>>;

    /// A page of codes, newest first.
    fn codes(&self, realm: Realm, page: Page) -> Reply<'_, Paged<Code>>;

    /// Records a try, of which the caller says whether it was right, and gives the code as it stands then. Of tries that
    /// come together each is recorded after the other, wherever they come from. A right one is counted as verified for its
    /// prefix at the time when the code was last sent.
    fn check_code(
        &self,
        realm: Realm,
        id: CodeId,
        is_right: bool,
        now: Timestamp,
    ) -> Reply<'_, Option<(Code, Checked)>>;

    /// Takes a code back, if it waits; gives it as it stands then, and whether this call did it.
    fn cancel_code(&self, realm: Realm, id: CodeId, now: Timestamp) -> Reply<'_, Option<(Code, bool)>>;

    /// The prefixes that get no codes now, the newest stop first.
    fn stops(&self, realm: Realm, now: Timestamp) -> Reply<'_, Vec<Stop>>;

    /// Ends the stop of a prefix and forgets what was counted of the prefix, so that it is not stopped again for that. `None`
    /// if it is not stopped.
    fn lift_stop(
        &self,
        realm: Realm,
        prefix: Prefix,
        actor: Actor,
        now: Timestamp,
    ) -> Reply<'_, Option<Stop>>;

    // ── suppressions and reviews ────────────────────────────────────────────────────────────────────────────

    /// Adds entries, one after the other. An existing one for the number gives way to a stronger reason, or if it is past
    /// its end, and stays as history. Gives what stands for each then.
    fn suppress(&self, entries: Vec<Suppression>, actor: Actor) -> Reply<'_, Vec<Suppression>>;

    /// Ends up to `limit` messages that wait in a queue for these people, as far as they are on the list at `now`, but what
    /// may pass all the same. `more` if there may be others.
    fn stop_waiting(
        &self,
        people: Vec<(Realm, PhoneNumber)>,
        limit: usize,
        now: Timestamp,
    ) -> Reply<'_, Advanced>;

    /// Lifts the entry of a number, keeping it as history with the reason. `None` if there is none in force.
    fn lift(
        &self,
        realm: Realm,
        recipient: PhoneNumber,
        reason: String,
        actor: Actor,
        now: Timestamp,
    ) -> Reply<'_, Option<Suppression>>;

    /// A page of the list, newest first; with a number, only that one's entries.
    fn suppressions(
        &self,
        realm: Realm,
        recipient: Option<PhoneNumber>,
        include_lifted: bool,
        page: Page,
    ) -> Reply<'_, Paged<Suppression>>;

    /// What changed on the list after a line of the audit trail, of all accounts and in the order of the commits; at most
    /// `limit` changes. An entry comes as it stands now. One that gave way to another has no change of its own.
    fn listed(&self, after: AuditId, limit: usize) -> Reply<'_, Listed>;

    /// Adds entries to the ledger of what people agreed to, all or none. Words that were shown are kept once. One whose id is
    /// there already is a conflict.
    fn record_consents(&self, entries: Vec<Consent>, actor: Actor, now: Timestamp) -> Reply<'_, ()>;

    /// What the ledger has of a number, the last recorded first.
    fn consents(&self, realm: Realm, recipient: PhoneNumber, page: Page) -> Reply<'_, Paged<Consent>>;

    /// Accepts a message that asks its recipient for consent, and writes the request down in the same commit. If the person is
    /// already asked from this sender, and has not answered, nothing is accepted: [`Admission::Asked`].
    ///
    /// What the person answers ends the request, and writes what follows into the ledger, in the commit that
    /// [hears](Self::receive) it.
    fn ask_consent(&self, intake: Intake, asking: Asking, now: Timestamp) -> Reply<'_, Accepted>;

    /// Every request to this person, the last first, each as it stands at `now`.
    fn consent_requests(
        &self,
        realm: Realm,
        recipient: PhoneNumber,
        now: Timestamp,
    ) -> Reply<'_, Vec<ConsentRequest>>;

    /// What decides how these people's consents stand, as of the newest commit: the ledger and the opt-outs of each.
    fn said(&self, recipients: Vec<(Realm, PhoneNumber)>) -> Reply<'_, Vec<History>>;

    // ── contacts ────────────────────────────────────────────────────────────────────────────────────────────

    /// Adds a contact, unless one of its numbers is another's. With a line in the trail.
    fn create_contact(&self, contact: Contact, actor: Actor) -> Reply<'_, Saved>;

    /// Changes a contact by `domain::contact`, as it is then, unless a number that it is to have is another's. `None` if
    /// there is no such contact. With a line in the trail, if anything is changed.
    fn change_contact(
        &self,
        realm: Realm,
        id: ContactId,
        change: Change,
        actor: Actor,
        now: Timestamp,
    ) -> Reply<'_, Option<Saved>>;

    /// Deletes a contact; `false` if there is none. What is known of its numbers stays. With a line in the trail.
    fn delete_contact(&self, realm: Realm, id: ContactId, actor: Actor, now: Timestamp) -> Reply<'_, bool>;

    /// One contact.
    fn contact(&self, realm: Realm, id: ContactId) -> Reply<'_, Option<Contact>>;

    /// A page of contacts, the newest first; with a number, only who has it; with a group, only who is in it.
    fn contacts(&self, realm: Realm, filter: ContactFilter, page: Page) -> Reply<'_, Paged<Contact>>;

    /// Every group that somebody is in, by name, with how many are.
    fn groups(&self, realm: Realm) -> Reply<'_, Vec<(Group, u64)>>;

    /// How many of these different numbers are a contact's.
    fn known_numbers(&self, realm: Realm, numbers: Vec<PhoneNumber>) -> Reply<'_, u64>;

    /// Begins an import, in the state that it has.
    fn begin_import(&self, import: Import) -> Reply<'_, ()>;

    /// Adds rows to an import that is being read, with what was found so far, and moves it to the state that is given.
    /// `false`, and nothing is done, if it is not being read.
    fn stage_import(&self, realm: Realm, id: ImportId, staged: Staged, now: Timestamp) -> Reply<'_, bool>;

    /// Applies a decision to an import by `domain::import`; `None` if there is no such import, and what it is then
    /// otherwise. With a line in the trail, if it changed its state.
    fn decide_import(
        &self,
        realm: Realm,
        id: ImportId,
        decision: import::Decision,
        actor: Actor,
        now: Timestamp,
    ) -> Reply<'_, Option<Import>>;

    /// The oldest import, of any account, whose rows are to be taken over.
    fn next_import(&self) -> Reply<'_, Option<ImportId>>;

    /// Takes the next piece of rows of an import over, by `domain::import`, and deletes the piece, in one commit: however
    /// often and by how many this is called, no row is taken over twice. With the last piece the import is done. If the piece
    /// cannot be read, the import is broken, and others go on. Gives the import as it is then; one that is not to be taken
    /// over is left as it is.
    fn apply_import(&self, id: ImportId, now: Timestamp) -> Reply<'_, Option<Import>>;

    /// One import.
    fn import(&self, realm: Realm, id: ImportId) -> Reply<'_, Option<Import>>;

    /// A page of imports, the newest first.
    fn imports(&self, realm: Realm, page: Page) -> Reply<'_, Paged<Import>>;

    /// The next piece of the rows of an import that were not taken over, in the order of the file, with the place after
    /// which to go on. `None` at the end, if there is no such import, and once they are thrown away.
    fn refused_rows(
        &self,
        realm: Realm,
        id: ImportId,
        after: Option<i64>,
    ) -> Reply<'_, Option<(Vec<import::Refused>, i64)>>;

    /// Open review items grouped by like cause, the largest group first.
    fn review_groups(&self, realm: Realm, limit: usize) -> Reply<'_, Vec<ReviewGroup>>;

    /// A page of review items, newest first.
    fn reviews(
        &self,
        realm: Realm,
        cause: Option<String>,
        open_only: bool,
        page: Page,
    ) -> Reply<'_, Paged<Review>>;

    /// Closes open items (all of a cause, the newest first, or one) with a decision, in one commit; at most `limit`. Gives
    /// the items closed.
    /// `Suppress` adds the suppressions in the same commit; for `Retry` the caller accepts new messages.
    fn decide(
        &self,
        realm: Realm,
        which: ReviewChoice,
        decision: Decision,
        limit: usize,
        actor: Actor,
        now: Timestamp,
    ) -> Reply<'_, Vec<Review>>;

    // ── conversations ───────────────────────────────────────────────────────────────────────────────────────

    /// Accepts the one message of a call, as [`Backend::accept`] does, as an entry of the conversation between its recipient
    /// and its sender, which it begins if there is none. If somebody wrote since what its writer saw, nothing is done: it comes
    /// back as [`Admission::Overtaken`], and that is not remembered for the idempotency key. All in one commit.
    fn converse(&self, intake: Intake, saying: Saying, now: Timestamp) -> Reply<'_, Accepted>;

    /// A page of conversations, those with the newest entries first. It may be short, or empty, and have a next one: what
    /// fits nothing reads some thousands at most.
    fn conversations(
        &self,
        realm: Realm,
        filter: ConversationFilter,
        page: Page,
        now: Timestamp,
    ) -> Reply<'_, Paged<Conversation>>;

    /// One conversation.
    fn conversation(&self, realm: Realm, id: ConversationId) -> Reply<'_, Option<Conversation>>;

    /// A page of what was said in a conversation, the last first; what retention has taken is left out. `None` if there is no
    /// such conversation.
    fn lines(&self, realm: Realm, id: ConversationId, page: Page) -> Reply<'_, Option<Paged<Line>>>;

    /// Adds a note to a conversation, and gives the conversation.
    fn add_note(
        &self,
        realm: Realm,
        id: ConversationId,
        note: NewNote,
        now: Timestamp,
    ) -> Reply<'_, Option<Conversation>>;

    /// Assigns, tags, puts off, closes or opens a conversation, with a line in the trail, and gives it.
    fn change_conversation(
        &self,
        realm: Realm,
        id: ConversationId,
        change: ConversationChange,
        actor: Actor,
        now: Timestamp,
    ) -> Reply<'_, Option<std::result::Result<Conversation, TooManyTags>>>;

    /// A page of entries that have all of these words ([`tidings_domain::conversation::words`]; none have none), the newest
    /// first. It may be short, or empty, and have a next one.
    fn search(&self, realm: Realm, words: Vec<String>, page: Page) -> Reply<'_, Paged<Found>>;

    // ── templates ───────────────────────────────────────────────────────────────────────────────────────────

    /// Makes a template with its first version. A name that another template of the realm has is a conflict.
    fn create_template(&self, template: Template, actor: Actor) -> Reply<'_, ()>;

    /// Adds the next version of a template and gives it. Those before stay as they are. `None` if there is no such template.
    fn add_template_version(
        &self,
        realm: Realm,
        id: TemplateId,
        content: Content,
        actor: Actor,
        now: Timestamp,
    ) -> Reply<'_, Option<Template>>;

    /// A template in this version, or in its newest.
    fn template(
        &self,
        realm: Realm,
        which: WhichTemplate,
        version: Option<u32>,
    ) -> Reply<'_, Option<Template>>;

    /// A page of templates in their newest versions, the last made first; only those whose name begins so.
    fn templates(&self, realm: Realm, prefix: String, page: Page) -> Reply<'_, Paged<Template>>;

    // ── segments ────────────────────────────────────────────────────────────────────────────────────────────

    /// Makes a segment. A name that another segment of the realm has is a conflict. With a line in the trail.
    fn create_segment(&self, segment: segment::Segment, actor: Actor) -> Reply<'_, ()>;

    /// Changes a segment by `domain::segment`, as it is then, and gives it. `None` if there is no such segment. A name that
    /// another one has is a conflict. With a line in the trail, if anything is changed.
    fn change_segment(
        &self,
        realm: Realm,
        id: SegmentId,
        change: segment::Change,
        actor: Actor,
        now: Timestamp,
    ) -> Reply<'_, Option<segment::Segment>>;

    /// Deletes a segment; `false` if there is none. With a line in the trail.
    fn delete_segment(&self, realm: Realm, id: SegmentId, actor: Actor, now: Timestamp) -> Reply<'_, bool>;

    /// One segment.
    fn segment(&self, realm: Realm, which: WhichSegment) -> Reply<'_, Option<segment::Segment>>;

    /// A page of segments, the last made first.
    fn segments(&self, realm: Realm, page: Page) -> Reply<'_, Paged<segment::Segment>>;

    /// When everything happened last with each of these numbers, as far as the event log was read for it.
    fn touches(&self, realm: Realm, numbers: Vec<PhoneNumber>) -> Reply<'_, Vec<Past>>;

    /// The realms for which the event log is read for that, and how far it was.
    fn touch_places(&self) -> Reply<'_, Vec<(Realm, EventId)>>;

    /// Adds what was read in the event log of a realm, and how far it was read then, in one commit. `false`, and nothing is
    /// done, if it was not read just so far before: somebody else read on meanwhile. However many read, nothing is missed.
    fn add_touches(&self, realm: Realm, read: Touched) -> Reply<'_, bool>;

    // ── accounts, tokens, clients ───────────────────────────────────────────────────────────────────────────

    /// The account that exists from the start, made if the store is new.
    fn default_account(&self, now: Timestamp) -> Reply<'_, AccountId>;

    /// All accounts.
    fn accounts(&self) -> Reply<'_, Vec<Account>>;

    /// Adds an account.
    fn create_account(&self, account: Account, actor: Actor) -> Reply<'_, ()>;

    /// Adds a token.
    fn create_token(&self, token: Token, actor: Actor) -> Reply<'_, ()>;

    /// The token with this public part, whoever owns it.
    fn token_by_lookup(&self, lookup: String) -> Reply<'_, Option<Token>>;

    /// Tokens of a realm (of an account in both environments if `environment` is `None`), newest first.
    fn tokens(&self, account: AccountId, environment: Option<Environment>) -> Reply<'_, Vec<Token>>;

    /// Replaces a token's secrets, expiry or revocation, by id. The times of use stay what was noted for the secrets: where
    /// the secret is another, the last use becomes that of the previous one.
    fn update_token(
        &self,
        token: Token,
        action: &'static str,
        actor: Actor,
        now: Timestamp,
    ) -> Reply<'_, bool>;

    /// Records when tokens were last used (written behind, at most once a minute for each).
    fn touch_tokens(&self, uses: Vec<(TokenId, Timestamp, bool)>) -> Reply<'_, ()>;

    /// Adds an OAuth client.
    fn create_client(&self, client: Client, actor: Actor) -> Reply<'_, ()>;

    /// The client with this id.
    fn client(&self, id: ClientId) -> Reply<'_, Option<Client>>;

    /// Clients of a realm.
    fn clients(&self, realm: Realm) -> Reply<'_, Vec<Client>>;

    /// Revokes a client and every token made for it.
    fn revoke_client(&self, realm: Realm, id: ClientId, actor: Actor, now: Timestamp) -> Reply<'_, bool>;

    // ── operating ───────────────────────────────────────────────────────────────────────────────────────────

    /// Gives each configured connection its id, by name, and its pause as an operator left it.
    fn register_connections(
        &self,
        names: Vec<(String, Environment)>,
        now: Timestamp,
    ) -> Reply<'_, Vec<Connection>>;

    /// Every connection that was ever registered.
    fn connections(&self) -> Reply<'_, Vec<Connection>>;

    /// Pauses or resumes a connection. `false` if there is none of that name in that environment.
    fn pause_connection(
        &self,
        id: ConnectionId,
        pause: Option<String>,
        actor: Actor,
        now: Timestamp,
    ) -> Reply<'_, bool>;

    /// Moves waiting messages from one connection to another (of the same environment), at most `limit`, those that would
    /// be claimed first. One of which a part may be at a carrier stays.
    fn reroute(&self, from: ConnectionId, to: ConnectionId, limit: usize, now: Timestamp) -> Reply<'_, u64>;

    /// Whether sending is held since a restore, and why.
    fn hold(&self) -> Reply<'_, Option<String>>;

    /// Sets or releases the hold on all sending.
    fn set_hold(&self, reason: Option<String>, actor: Actor, now: Timestamp) -> Reply<'_, ()>;

    /// Numbers for metrics and doctor.
    fn statistics(&self, now: Timestamp) -> Reply<'_, Statistics>;

    /// The audit trail, newest first. Each change by an actor is a line of it, in the same commit, if it changed anything.
    fn audit(&self, account: AccountId, page: Page) -> Reply<'_, Paged<Audit>>;

    /// Records a change that has no row of its own (configuration loaded, backup made).
    fn record_audit(
        &self,
        actor: Actor,
        action: String,
        subject: String,
        detail: String,
        now: Timestamp,
    ) -> Reply<'_, ()>;

    /// Deletes what is older than its retention, at most `limit` rows of each kind: `true` if more may be left.
    ///
    /// A message stays, whatever its age, while it waits for anything, while a person must decide about it, while an
    /// endpoint must still be told of it, and while the newest event is its. With it go its events and its decided reviews. For
    /// a message of a person the same holds, and its parts go with it.
    /// Ids that messages of long ago left behind are forgotten, and callback addresses that no message can name any more.
    /// Codes are forgotten when [nobody asks for them any more](Code::forget_at), and what is counted of codes when it counts
    /// nothing.
    fn sweep(&self, retention: Retention, limit: usize, now: Timestamp) -> Reply<'_, bool>;

    /// A consistent copy of the whole store in a new file, made while everything runs.
    fn backup(&self, to: std::path::PathBuf) -> Reply<'_, ()>;

    // ── nodes ───────────────────────────────────────────────────────────────────────────────────────────────

    /// Joins those who serve this database, before anything else is done with it. A database that can only have one
    /// owner says so: [`Standing::alone`]. Others know a node by its name: one of the same name and place that is still
    /// in the list must have ended, and gives way at once.
    fn join(&self, _newcomer: Newcomer) -> Reply<'_, Standing> {
        Box::pin(std::future::ready(Ok(Standing::alone())))
    }

    /// Renews this node's lease, ends the nodes whose lease is over (a node that was itself silent for a while gives the
    /// others time to come back first), and takes connections that nobody owns, up to an even share. From the moment a
    /// node is ended, each of its writes is refused with [`Error::Expelled`](crate::Error::Expelled).
    fn renew(&self) -> Reply<'_, Standing> {
        Box::pin(std::future::ready(Ok(Standing::alone())))
    }

    /// Gives back a connection on which nothing is on its way any more.
    fn release(&self, _connection: ConnectionId) -> Reply<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Leaves in good order: gives everything back.
    fn leave(&self) -> Reply<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// How often the suppression list was changed, this moment. Grows with each commit that changes it.
    fn list_version(&self) -> Reply<'_, i64> {
        Box::pin(std::future::ready(Ok(0)))
    }

    /// Says to the other nodes that here nothing is on its way any more that began before the list had this version.
    fn acknowledge(&self, _version: i64) -> Reply<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// The nodes that serve this database, this one too; empty if it can only have one.
    fn nodes(&self) -> Reply<'_, Vec<Node>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    /// What other nodes commit, as it is heard; there is one listener. `None` if there are no other nodes.
    fn news(&self) -> Option<tokio::sync::mpsc::Receiver<News>> {
        None
    }

    /// Whether the store answers and takes on new work.
    fn ping(&self) -> Reply<'_, ()>;

    /// Comes back only when the disk has failed so that nobody can say what it kept. From then on every operation
    /// gets [`Error::Broken`], and the process must end: the next start looks at what is there.
    fn until_broken(&self) -> Broken<'_> {
        Box::pin(std::future::pending())
    }

    /// How much room there is on the disk, if the store lies on one of its own.
    fn room(&self) -> Reply<'_, Option<Room>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Finishes what was begun and closes.
    fn close(&self) -> Reply<'_, ()>;
}

/// A process that wants to serve a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newcomer {
    /// What people call it.
    pub name: String,
    /// The machine and directory whose lock it holds, so that an earlier process there has ended for certain.
    pub place: String,
    /// What it is for.
    pub roles: Roles,
    /// The connections that it could own.
    pub connections: Vec<ConnectionId>,
}

/// What a node is and has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Tells it apart in ids. `None` if there is only one, which has the number of its configuration.
    pub number: Option<u16>,
    /// How long this holds, from before it was asked for: ms. `None` for ever.
    pub lease_ms: Option<i64>,
    /// The connections that it owns. `None` for all.
    pub owned: Option<Vec<ConnectionId>>,
    /// How many of them it should give back, because others have fewer.
    pub surplus: usize,
    /// Whether other nodes are there.
    pub has_peers: bool,
}

impl Standing {
    /// There is no other node, and there cannot be one.
    pub const fn alone() -> Self {
        Self { number: None, lease_ms: None, owned: None, surplus: 0, has_peers: false }
    }
}

/// A node as the others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its number in ids.
    pub number: u16,
    /// What people call it.
    pub name: String,
    /// Where it runs.
    pub place: String,
    /// What it is for.
    pub roles: Roles,
    /// The connections that it owns.
    pub owned: Vec<ConnectionId>,
    /// How much of its lease is left, by the database's clock: ms; negative once it is over.
    pub lease_left_ms: i64,
    /// The version of the suppression list that it has [acknowledged](Backend::acknowledge).
    pub acknowledged: i64,
    /// Whether it is the one that asks.
    pub is_this: bool,
}

/// Something that another node committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// Something was put into a connection's queue, due then.
    Queued(ConnectionId, Timestamp),
    /// The suppression list has this version now. Whoever looks from now on sees it.
    List(i64),
    /// Webhook deliveries are due.
    Deliveries,
    /// Endpoints, pauses, a hold or tokens were changed.
    Settings,
    /// A node came or went, or gave something back: renew.
    Nodes,
    /// News may have been missed: look at everything.
    Missed,
}

/// Who makes a change: printed into the audit trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The tenant in whose trail it belongs.
    pub account: AccountId,
    /// A token's id, a client's id, `operator` at the terminal, or the room of the engine that acted.
    pub who: String,
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
}

impl Draft {
    /// A message that nothing holds.
    pub const fn new(message: Message, life: Life) -> Self {
        Self { message, life, held: None, picked: None, priced: None }
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

/// The code that a message carries.
#[derive(Debug, Clone)]
pub struct Sending {
    /// A new one, or which.
    pub which: Which,
    /// Who wants it.
    pub person: Person,
    /// How many may be sent.
    pub bounds: velocity::Bounds,
    /// How long after a text the next one may be sent: seconds.
    pub resend_after_s: i64,
}

/// A code to send.
#[derive(Debug, Clone)]
pub enum Which {
    /// A new one, made under this key.
    New(NewCode, code::Mark),
    /// This one, again.
    Again(CodeId),
}

impl Sending {
    /// The code as it is once it is sent with this message, if it may be. `known` is the one that is to be sent again.
    pub(crate) fn code(
        &self,
        message: &Message,
        known: Option<Code>,
        now: Timestamp,
    ) -> std::result::Result<Code, code::Refused> {
        match (&self.which, known) {
            (Which::New(new, mark), _) => {
                Ok(new.clone().sent(message.realm(), message.id, message.recipient, *mark, now))
            }
            // It is for one number and no other.
            (Which::Again(_), Some(code)) if code.recipient == message.recipient => {
                let life = code.resend(message.id, self.resend_after_s, now)?;
                Ok(Code { life, ..code })
            }
            (Which::Again(_), _) => Err(code::Refused::Unknown),
        }
    }
}

/// How a message is said in a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saying {
    /// The last entry that its writer saw; `None` if that is not asked.
    pub seen: Option<Entry>,
    /// Who wrote it.
    pub author: String,
}

/// What a message asks its recipient for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asking {
    /// To be contacted why: each once.
    pub purposes: Vec<Purpose>,
    /// And how: each once.
    pub channels: Vec<Channel>,
    /// What a yes is: express or written consent.
    pub act: Act,
    /// How long an answer counts: seconds.
    pub life_s: i64,
    /// Where the person asked for it before.
    pub place: Option<String>,
    /// Who may contact the person.
    pub seller: Option<String>,
    /// Which programme of the seller.
    pub programme: Option<String>,
    /// Who asks.
    pub source: String,
}

impl Asking {
    /// The request that the message makes: it has the number of the message.
    pub fn request(&self, message: &Message, now: Timestamp) -> ConsentRequest {
        ConsentRequest {
            id: ConsentRequestId::from_key(message.id.key()),
            realm: message.realm(),
            recipient: message.recipient,
            sender: message.sender,
            message: message.id,
            purposes: column::purposes_of(column::purposes_bits(&self.purposes)),
            channels: column::channels_of(column::channels_bits(&self.channels)),
            act: self.act,
            wording: column::wording(message.text.as_deref().unwrap_or_default()),
            place: self.place.clone(),
            seller: self.seller.clone(),
            programme: self.programme.clone(),
            source: self.source.clone(),
            requested_at: now,
            expires_at: now.plus_s(self.life_s),
            state: consent_request::State::Pending,
            ended_at: None,
            answer: None,
        }
    }
}

/// What else is done in the commit that accepts a message.
#[derive(Clone, Copy)]
pub(crate) enum Beside<'a> {
    Nothing,
    Asking(&'a Asking),
    Code(&'a Sending),
    Saying(&'a Saying),
}

/// A note to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNote {
    /// Its id.
    pub id: NoteId,
    /// What it says.
    pub text: String,
    /// Who wrote it.
    pub author: String,
}

/// What a list of conversations is narrowed to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConversationFilter {
    /// Only those that stand so.
    pub status: Option<conversation::Status>,
    /// Only those of this one of us; the inner `None` for those of nobody.
    pub assignee: Option<Option<String>>,
    /// Only those with this tag.
    pub tag: Option<String>,
    /// Only those with this person.
    pub person: Option<PhoneNumber>,
}

impl ConversationFilter {
    /// Whether a conversation is one of these.
    pub(crate) fn fits(&self, one: &Conversation, now: Timestamp) -> bool {
        self.status.is_none_or(|status| one.status(now) == status)
            && self.assignee.as_ref().is_none_or(|assignee| one.assignee == *assignee)
            && self.tag.as_ref().is_none_or(|tag| one.tags.contains(tag))
            && self.person.is_none_or(|person| one.person == person)
    }

    /// Whether it is one of those that nobody answered, which have an index.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.status == Some(conversation::Status::NeedsReply)
    }
}

/// Conversations, or entries, that one page may look at: what fits nothing must not read everything at once.
pub(crate) const LOOKED_AT_MAX: usize = 5_000;

/// A page of a list that is looked through for what fits.
pub(crate) struct Through<T> {
    items: Vec<T>,
    limit: usize,
    looked_at: usize,
    last: Option<i64>,
    more: bool,
}

impl<T> Through<T> {
    pub(crate) fn new(page: &Page) -> Self {
        Self { items: Vec::new(), limit: page.limit, looked_at: 0, last: None, more: false }
    }

    /// Takes the next one, if it fits, whose key is this. Breaks where the page ends.
    pub(crate) fn take(&mut self, item: Option<T>, key: i64) -> ControlFlow<()> {
        if self.items.len() == self.limit || self.looked_at == LOOKED_AT_MAX {
            self.more = true;
            return ControlFlow::Break(());
        }
        self.items.extend(item);
        self.looked_at += 1;
        self.last = Some(key);
        ControlFlow::Continue(())
    }

    pub(crate) fn page(self) -> Paged<T> {
        Paged { items: self.items, next: self.last.filter(|_| self.more) }
    }
}

/// How many entries that have these words, as their column has them, are forgotten in one sweep. Each word is a row of what
/// entries are found by, and these are bounded, too; one entry goes however many it has.
pub(crate) fn swept_at_once<'w>(words: impl Iterator<Item = &'w str>, limit: usize) -> usize {
    let mut rows = 0;
    let fits = |words: &&str| {
        rows += words.split_ascii_whitespace().count();
        rows <= limit
    };
    words.take_while(fits).count().max(1)
}

/// An entry of a conversation.
#[derive(Debug, Clone)]
pub struct Line {
    /// Its place in the conversation, from 1.
    pub place: u32,
    /// When it came.
    pub at: Timestamp,
    /// Who of us wrote it.
    pub author: Option<String>,
    /// What it is.
    pub what: What,
}

/// What an entry is.
#[derive(Debug, Clone)]
pub enum What {
    /// Something that the person sent.
    Inbound(Box<Inbound>),
    /// Something that was sent to the person.
    Message(Box<Stored>),
    /// Something that only we see.
    Note(NoteId, String),
}

/// An entry that was searched for.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its conversation.
    pub conversation: ConversationId,
    /// The entry.
    pub line: Line,
}

/// An entry on its way into a conversation.
#[derive(Debug, Clone)]
pub(crate) struct Addition {
    pub realm: Realm,
    pub person: PhoneNumber,
    pub sender: Sender,
    pub entry: Entry,
    pub asks: bool,
    pub author: Option<String>,
    /// The text, if it is kept nowhere else.
    pub text: Option<String>,
    pub words: Vec<String>,
    pub at: Timestamp,
    /// What a rule does with its conversation.
    pub routed: conversation::Routed,
}

impl Addition {
    /// What a person sent, once it is told, and where a rule puts it. `None` where nobody can be answered.
    pub(crate) fn of_inbound(inbound: &Inbound, handled: &Handled) -> Option<Self> {
        Some(Self {
            realm: inbound.realm,
            person: inbound.person()?,
            sender: inbound.sender()?,
            entry: Entry::Inbound(inbound.id),
            asks: conversation::asks(inbound.keyword) && !matches!(handled, Handled::Consent),
            author: None,
            text: None,
            words: conversation::words(&inbound.text),
            at: inbound.at,
            routed: match handled {
                Handled::Rule(ruled) => ruled.routed.clone(),
                Handled::Nothing | Handled::Consent => conversation::Routed::default(),
            },
        })
    }

    /// What a rule answers: nobody of us did.
    pub(crate) fn of_answer(message: &Message, now: Timestamp) -> Self {
        Self {
            realm: message.realm(),
            person: message.recipient,
            sender: message.sender,
            entry: Entry::Message(message.id),
            asks: true,
            author: None,
            text: None,
            words: conversation::words(message.text.as_deref().unwrap_or_default()),
            at: now,
            routed: conversation::Routed::default(),
        }
    }

    /// A message that is said.
    pub(crate) fn of_message(message: &Message, saying: &Saying, now: Timestamp) -> Self {
        Self {
            realm: message.realm(),
            person: message.recipient,
            sender: message.sender,
            entry: Entry::Message(message.id),
            asks: false,
            author: Some(saying.author.clone()),
            text: None,
            words: conversation::words(message.text.as_deref().unwrap_or_default()),
            at: now,
            routed: conversation::Routed::default(),
        }
    }

    /// A note in a conversation.
    pub(crate) fn of_note(to: &Conversation, note: &NewNote, now: Timestamp) -> Self {
        Self {
            realm: to.realm,
            person: to.person,
            sender: to.sender,
            entry: Entry::Note(note.id),
            asks: false,
            author: Some(note.author.clone()),
            text: Some(note.text.clone()),
            words: conversation::words(&note.text),
            at: now,
            routed: conversation::Routed::default(),
        }
    }
}

/// What the trail says of a prefix that is stopped, and who wrote it.
pub(crate) fn stop_line(realm: Realm, stop: &Stop) -> (Actor, String) {
    let actor = Actor { account: realm.account, who: "velocity".to_owned() };
    let detail = format!(
        "{} until {}: {} sent, {} verified",
        realm.environment.as_str(),
        stop.until,
        stop.count.sends,
        stop.count.verified
    );
    (actor, detail)
}

/// Renders the answer to a call from what became of its drafts.
pub type Render = dyn Fn(&[Admission]) -> Vec<u8> + Send + Sync;

/// What became of one draft.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is stored.
    Admitted,
    /// Its recipient is on the suppression list; nothing was stored.
    Suppressed(suppression::Reason),
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
}

/// What is spent by the messages of one call, one after the other.
pub(crate) struct Spending {
    spent: Spent,
    new: Spent,
}

impl Spending {
    pub(crate) fn new(spent: Spent) -> Self {
        Self { spent, new: Spent::default() }
    }

    /// Counts a message, unless it goes beyond a limit: then that.
    pub(crate) fn add(&mut self, priced: &Priced) -> Option<Period> {
        let beyond = priced.limits.beyond(self.spent, priced.price);
        if beyond.is_none() {
            self.spent = self.spent.plus(priced.price);
            self.new = self.new.plus(priced.price);
        }
        beyond
    }

    /// What was counted: the same in each period.
    pub(crate) fn counted(&self) -> i64 {
        i64::try_from(self.new.day.millionths()).unwrap_or(i64::MAX)
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
    /// A receipt came on a connection; whose it is must be found.
    Receipt {
        /// The connection it came on.
        connection: ConnectionId,
        /// The receipt.
        receipt: Receipt,
    },
}

/// The retry rules and one random number for a whole commit.
#[derive(Debug, Clone)]
pub struct Patience {
    /// When to try again.
    pub retry: Arc<RetryPolicy>,
    /// Spread over the decisions of this commit: each input to a message that is not over gets the
    /// [next](Jitter::next).
    pub jitter: Jitter,
}

/// What a commit brought about, for those who act on it.
#[derive(Debug, Default, PartialEq)]
pub struct Advanced {
    /// Deliveries for webhooks, leased for their first try.
    pub told: Vec<Told>,
    /// Connections whose queue got something, and when it is due.
    pub queued: Vec<(ConnectionId, Timestamp)>,
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

/// Which page.
#[derive(Debug, Clone, Copy, Default)]
pub struct Page {
    /// Only items whose id is smaller (lists are newest first).
    pub before: Option<i64>,
    /// How many, at most.
    pub limit: usize,
}

/// A page of a list.
#[derive(Debug, Clone)]
pub struct Paged<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page begins, if there may be one. A page may be empty and still have a next one.
    pub next: Option<i64>,
}

impl<T> Paged<T> {
    /// Makes a page of what was read with one row more than asked for.
    pub(crate) fn of(mut items: Vec<T>, page: &Page, key: impl Fn(&T) -> i64) -> Self {
        let more = items.len() > page.limit;
        items.truncate(page.limit);
        let next = if more { items.last().map(key) } else { None };
        Self { items, next }
    }
}

/// An event with what is needed to tell it, and the delivery it is told by (if any).
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// Its id and place in the feed.
    pub id: EventId,
    /// Whose.
    pub realm: Realm,
    /// The fact.
    pub event: Event,
    /// About which message.
    pub about: About,
    /// The delivery, when it is on its way to an endpoint.
    pub delivery: Option<Delivery>,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq)]
pub enum About {
    /// An outbound message: its unchanging facts, without the text.
    Message(Box<Message>),
    /// An inbound message.
    Inbound(Box<Inbound>),
    /// A test call that somebody asked for.
    Test,
}

/// A message that a person sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbound {
    /// Its id.
    pub id: InboundId,
    /// Whose.
    pub realm: Realm,
    /// Where it came in.
    pub connection: ConnectionId,
    /// Who sent it, as the carrier wrote it.
    pub from: String,
    /// To which of our senders.
    pub to: String,
    /// Its text; empty while it waits for parts.
    pub text: String,
    /// Of how many parts it was put together, if there are several.
    pub parts: Option<Parts>,
    /// When it was told, or its first part came.
    pub at: Timestamp,
    /// What it asks.
    pub keyword: keyword::Class,
    /// The name of the rule that acted on it, if one did.
    pub rule: Option<String>,
}

/// The parts of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// The reference that ties them together.
    pub reference: u16,
    /// How many there are, from 2.
    pub total: u8,
    /// The numbers of those that did not come, once it was told.
    pub missing: Vec<u8>,
}

/// A message that a person sent, with what came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The message.
    pub inbound: Inbound,
    /// Its parts as they came, by number. None of what was stored by an earlier version.
    pub parts: Vec<(u8, Segment)>,
    /// Until when it waits for others.
    pub waits_until: Option<Timestamp>,
}

/// A part of a message of a person on its way into the store. Most messages have one.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// The id of the message, if it begins one.
    pub id: InboundId,
    /// Whose.
    pub realm: Realm,
    /// Where it came in.
    pub connection: ConnectionId,
    /// Who sent it, as the carrier wrote it.
    pub from: String,
    /// To which of our senders.
    pub to: String,
    /// What came.
    pub segment: Segment,
    /// What else the carrier says that may tell it from another one with the same text.
    pub beside: Vec<u8>,
    /// Since when the session was open that it came on; `None` if its carrier offers nothing again.
    pub opened: Option<Timestamp>,
    /// When it came.
    pub at: Timestamp,
}

impl Arrival {
    /// The message that it begins, before anything is read.
    pub(crate) fn inbound(&self) -> Inbound {
        Inbound {
            id: self.id,
            realm: self.realm,
            connection: self.connection,
            from: self.from.clone(),
            to: self.to.clone(),
            text: String::new(),
            parts: assembly::place(&self.segment).map(|part| Parts {
                reference: part.reference,
                total: part.total,
                missing: Vec::new(),
            }),
            at: self.at,
            keyword: keyword::Class::Nothing,
            rule: None,
        }
    }
}

/// How messages of people are heard.
#[derive(Clone)]
pub struct Hearing {
    /// How long one waits for its parts: ms.
    pub wait_ms: i64,
    /// How many may wait.
    pub bounds: Bounds,
    /// Writes the answer to somebody who asks by a keyword, to be given if something follows: a message that waits, and says
    /// what it answers. `None` if there is none.
    pub reply: Arc<Answering>,
    /// The rules that what people write goes by, if there are any.
    pub rules: Option<Arc<InboundRules>>,
}

/// The rules that what people write goes by.
pub struct InboundRules {
    /// In their order.
    pub all: Vec<InboundRule>,
    /// Writes the answer that a rule gives: a message that waits, and says what it answers. `None` if none can be sent.
    pub answer: Box<AnsweringByRule>,
}

/// Writes the answer of a rule to a message of a person.
pub type AnsweringByRule =
    dyn Fn(&Inbound, PhoneNumber, &inbound_rule::Answer) -> Option<Draft> + Send + Sync;

impl Hearing {
    /// The rules, with who wrote to whom, if they are to look at this message.
    pub(crate) fn rules_for(&self, inbound: &Inbound) -> Option<(&InboundRules, PhoneNumber, Sender)> {
        let rules = self.rules.as_deref().filter(|_| inbound_rule::concerns(inbound.keyword))?;
        Some((rules, inbound.person()?, inbound.sender()?))
    }
}

impl InboundRules {
    /// Whether it must be known who the person is.
    pub(crate) fn need_contact(&self) -> bool {
        self.all.iter().any(InboundRule::needs_contact)
    }

    /// What the first rule that fits does, whose name the message gets.
    pub(crate) fn route(
        &self,
        inbound: &mut Inbound,
        person: PhoneNumber,
        to: Sender,
        contact: Option<&Details>,
    ) -> Option<Box<Ruled>> {
        let facts = inbound_rule::Facts { to, text: &inbound.text, at: inbound.at, contact };
        let rule = inbound_rule::choose(&self.all, &facts)?;
        inbound.rule = Some(rule.name.clone());
        let answer = rule.then.reply.as_ref().filter(|_| inbound_rule::may_answer(inbound.keyword));
        Some(Box::new(Ruled {
            person,
            routed: conversation::Routed { assignee: rule.assignee(contact), tags: rule.then.tags.clone() },
            answer: answer.and_then(|answer| Some(((self.answer)(inbound, person, answer)?, answer.every_h))),
        }))
    }
}

/// What was done about a message of a person that asks nothing by a keyword.
#[derive(Debug)]
pub(crate) enum Handled {
    /// Nothing.
    Nothing,
    /// It answered a request for consent, which is done.
    Consent,
    /// A rule acts.
    Rule(Box<Ruled>),
}

/// What a rule does about a message of a person.
#[derive(Debug)]
pub(crate) struct Ruled {
    /// Who wrote it.
    pub person: PhoneNumber,
    /// What becomes of the conversation.
    pub routed: conversation::Routed,
    /// The answer, if it has its turn, and how long the rule is silent then: hours.
    pub answer: Option<(Draft, i64)>,
}

/// Writes the answer to a message of a person that asks something.
pub type Answering = dyn Fn(&Inbound, PhoneNumber, Keyword) -> Option<Draft> + Send + Sync;

/// What somebody asks by a keyword.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    /// Who.
    pub person: PhoneNumber,
    /// The keyword, as the table has it.
    pub matched: &'static str,
    /// The answer, if one is to be given when something follows: a message that waits, and says what it answers.
    pub reply: Option<Draft>,
}

impl Inbound {
    /// The message as it is told, with what it asks. `None` for that if nothing can follow, because it has no keyword, or
    /// because where it came from nobody can be sent to.
    pub(crate) fn told(self, said: Said, at: Timestamp, hearing: &Hearing) -> (Self, Option<Ask>) {
        let Said { text, missing, keyword: found } = said;
        let parts = self.parts.map(|parts| Parts { missing, ..parts });
        let told = Self { text, parts, at, keyword: found.class, ..self };
        let person = told.person().filter(|_| found.class != keyword::Class::Nothing);
        let ask = person.map(|person| Ask {
            person,
            matched: found.matched,
            reply: (hearing.reply)(&told, person, found),
        });
        (told, ask)
    }

    /// A fact about it.
    pub(crate) const fn event(&self, kind: Kind) -> Event {
        Event {
            kind,
            status: Status::Delivered,
            attempt: 0,
            at: self.at,
            due_at: None,
            failure: None,
            raw: None,
        }
    }

    /// The entry that an opt-out by it makes.
    pub(crate) fn opt_out(&self, id: SuppressionId, ask: &Ask, now: Timestamp) -> Suppression {
        Suppression {
            id,
            realm: self.realm,
            recipient: ask.person,
            reason: suppression::Reason::OptedOut,
            source: format!("{} {}", self.id, ask.matched),
            created_at: now,
            expires_at: None,
            lifted: None,
        }
    }

    /// Who sent it, if somebody can be sent to where it came from: a phone number, and no short code or name. Carriers
    /// write an international number with or without `+`.
    pub fn person(&self) -> Option<PhoneNumber> {
        // Only the form is looked at: whom a table of numbers does not know may opt out all the same.
        match self.from.strip_prefix('+') {
            Some(_) => PhoneNumber::from_stored(&self.from),
            None if self.from.len() < PERSON_DIGITS_MIN => None,
            None => PhoneNumber::from_stored(&format!("+{}", self.from)),
        }
    }

    /// To which of our senders it was, if something can be sent from there. Carriers write an international number with or
    /// without `+`.
    pub fn sender(&self) -> Option<Sender> {
        let is_long =
            self.to.len() >= PERSON_DIGITS_MIN && self.to.bytes().all(|octet| octet.is_ascii_digit());
        if is_long { Sender::from_stored(&format!("+{}", self.to)) } else { Sender::from_stored(&self.to) }
    }

    /// The place of its part with this number.
    pub(crate) fn place(&self, number: u8) -> Option<Part> {
        let parts = self.parts.as_ref()?;
        Some(Part { reference: parts.reference, total: parts.total, number })
    }

    /// What it answers if a request for consent waits for that, who, and to which of our senders. Few texts answer anything.
    pub(crate) fn answer(&self) -> Option<(consent_request::Answer, PhoneNumber, Sender)> {
        let is_whole = self.parts.as_ref().is_none_or(|parts| parts.missing.is_empty());
        if self.keyword != keyword::Class::Nothing || !is_whole {
            return None;
        }
        Some((consent_request::answer(&self.text)?, self.person()?, self.sender()?))
    }

    /// Who changes the list by it.
    pub(crate) fn actor(&self) -> Actor {
        Actor { account: self.realm.account, who: "recipient".to_owned() }
    }
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
    /// How many messages of its connection go before it, while it waits.
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

/// Where a customer is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// Whose.
    pub realm: Realm,
    /// The address.
    pub url: String,
    /// What it is for, in the owner's words.
    pub description: String,
    /// The kinds it wants, as [`Kind::bit`]s; 0 for all.
    pub kinds: u32,
    /// Made for one message's callback address: it hears only of messages that name it.
    pub callback_only: bool,
    /// The secret that signs.
    pub secret: Vec<u8>,
    /// The secret before, and until when it signs too.
    pub previous: Option<(Vec<u8>, Timestamp)>,
    /// Why it is switched off, if it is.
    pub disabled: Option<String>,
    /// Since when every try failed.
    pub failing_since: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// One try to tell one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Its place in the log; 0 before it is recorded.
    pub seq: i64,
    /// Whose endpoint.
    pub realm: Realm,
    /// What was told.
    pub event: EventId,
    /// About which message.
    pub message: Option<MessageId>,
    /// To whom.
    pub endpoint: EndpointId,
    /// The due time of the lease that the try held; says which open delivery it settles.
    pub lease: Timestamp,
    /// Which try, from 1.
    pub number: u32,
    /// When it began.
    pub at: Timestamp,
    /// How long it took: ms.
    pub took_ms: u32,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// The request's body. Empty where it can be rendered again from the event.
    pub request: String,
    /// The beginning of the answer's body, or why there was none.
    pub response: String,
    /// What becomes of the delivery.
    pub verdict: Verdict,
}

/// What to tell again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// This event.
    One(EventId),
    /// All public events from (inclusive) to (exclusive).
    Range(Timestamp, Timestamp),
}

/// An entry of the suppression list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    /// Its id.
    pub id: SuppressionId,
    /// Whose.
    pub realm: Realm,
    /// Who is not sent to.
    pub recipient: PhoneNumber,
    /// Why.
    pub reason: suppression::Reason,
    /// Where it came from: `api`, `review`, a message's id with the carrier's code …
    pub source: String,
    /// Since when.
    pub created_at: Timestamp,
    /// Until when, if it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When and why it was lifted.
    pub lifted: Option<(Timestamp, String)>,
}

/// Why an entry was lifted for which an opt-out stands now.
pub(crate) const REPLACED_BY_OPT_OUT: &str = "replaced by opted_out";

impl Suppression {
    /// The opt-out that the entry is for the ledger of consents, if it is one: the person's own word, from which only the
    /// person's own START frees.
    pub fn opt_out(&self) -> Option<OptOut> {
        let started = self
            .lifted
            .as_ref()
            .filter(|(_, why)| why.split(' ').next().is_some_and(|word| word.parse::<InboundId>().is_ok()));
        (self.reason == suppression::Reason::OptedOut)
            .then(|| OptOut { at: self.created_at, started_at: started.map(|(at, _)| *at) })
    }

    /// Whether it counts again when the opt-out that replaced it is lifted by the person: what an account decided is not
    /// the person's to undo. A carrier's word that the number is not in use is: the person wrote from it.
    pub(crate) fn counts_again(&self, now: Timestamp) -> bool {
        self.reason == suppression::Reason::Manual && self.expires_at.is_none_or(|end| end > now)
    }
}

/// What became of a contact that was to be saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Saved {
    /// It is so now.
    Done(Box<Contact>),
    /// This number is another contact's; nothing was done.
    Taken(PhoneNumber, ContactId),
    /// It would have too much; nothing was done.
    TooMuch(Excess),
}

/// Which contacts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContactFilter {
    /// Who has this number.
    pub number: Option<PhoneNumber>,
    /// Who is in this group.
    pub group: Option<Group>,
}

/// Rows of an import that were judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    /// Those that can be taken over and those that cannot.
    pub window: import::Window,
    /// The headings of the table.
    pub headings: Vec<String>,
    /// What was found so far.
    pub report: import::Report,
    /// How far the import is then.
    pub state: import::State,
}

/// What the rows of a piece of an import are. The number is the one in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PieceOf {
    /// Those that can be taken over.
    Good = 0,
    /// Those that cannot.
    Refused = 1,
}

/// Rows of an import in one piece, and so in one commit: some 20 ms of the writer's time.
const PIECE_ROWS: usize = 2_000;
/// Octets of a file in one piece.
const PIECE_OCTETS: usize = 512 * 1024;
/// Pieces that one sweep throws away.
pub(crate) const PIECES_SWEPT: usize = 20;

/// Cuts rows into pieces.
pub(crate) fn pieces<T>(rows: &[T], octets: impl Fn(&T) -> usize) -> Vec<&[T]> {
    let (mut pieces, mut begin, mut sum) = (Vec::new(), 0, 0);
    for (n, row) in rows.iter().enumerate() {
        sum += octets(row);
        if n + 1 - begin == PIECE_ROWS || sum >= PIECE_OCTETS {
            pieces.push(&rows[begin..=n]);
            (begin, sum) = (n + 1, 0);
        }
    }
    if begin < rows.len() {
        pieces.push(&rows[begin..]);
    }
    pieces
}

/// The line of the trail about a decision that changed an import.
pub(crate) fn decided_line(import: &Import) -> (&'static str, String) {
    match import.state {
        import::State::Committing => {
            ("import.commit", format!("{}: {} rows", import.name, import.report.accepted()))
        }
        _ => ("import.discard", import.name.clone()),
    }
}

/// The line of the log about an import that ends because what is stored of it, or of a contact that it concerns, cannot be read.
pub(crate) fn damaged_line(id: ImportId, why: &str) {
    tracing::error!(import = %id, why, "an import cannot be read; it is broken, and what was taken over before stays");
}

/// What a refused row takes: octets.
pub(crate) fn refused_octets(row: &import::Refused) -> usize {
    row.cells.iter().map(String::len).sum::<usize>() + row.cells.len()
}

/// A failure that a person must look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// Its id.
    pub id: ReviewId,
    /// Its group.
    pub cause: String,
    /// What it is about.
    pub about: review::About,
    /// The failure.
    pub failure: Failure,
    /// When.
    pub opened_at: Timestamp,
    /// What was decided, when, by whom.
    pub decided: Option<(Decision, Timestamp, String)>,
}

/// Like failures together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReviewGroup {
    /// What they have in common.
    pub cause: String,
    /// One of the failures.
    pub failure: Failure,
    /// How many are open.
    pub open: u64,
    /// The first and the last.
    pub first_at: Timestamp,
    /// The last.
    pub last_at: Timestamp,
    /// What the last is about.
    pub example: review::About,
}

/// Which items are decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReviewChoice {
    /// All open ones of this cause.
    Cause(String),
    /// This one.
    One(ReviewId),
}

/// How a template is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhichTemplate {
    /// By its id.
    Id(TemplateId),
    /// By its name.
    Name(String),
}

/// How a segment is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhichSegment {
    /// By its id.
    Id(SegmentId),
    /// By its name.
    Name(String),
}

impl WhichSegment {
    /// By its id, if the text is one, and by its name otherwise: no name looks like an id.
    pub fn of(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Name(text.to_owned()), Self::Id)
    }
}

/// What was read in the event log of a realm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// The last event that was read before; `None` if none was.
    pub after: Option<EventId>,
    /// The last one that was read now.
    pub upto: EventId,
    /// What happened between them.
    pub touches: Vec<(PhoneNumber, Touch, Timestamp)>,
}

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// Its name.
    pub name: String,
    /// Since when.
    pub created_at: Timestamp,
}

/// A bearer token's record. The secret itself is never stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its id.
    pub id: TokenId,
    /// The public part that it is found by.
    pub lookup: String,
    /// SHA-256 of the secret part.
    pub hash: [u8; 32],
    /// The hash before a rotation, and until when it is still good.
    pub previous: Option<([u8; 32], Timestamp)>,
    /// Where it may look.
    pub realm: Realm,
    /// What it may do.
    pub scopes: Scopes,
    /// What it is for.
    pub name: String,
    /// The client it was made for.
    pub client: Option<ClientId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When its present secret was last used.
    pub last_used_at: Option<Timestamp>,
    /// When its previous secret was last used.
    pub previous_used_at: Option<Timestamp>,
    /// Requests a minute that it may make, if not the default.
    pub rate_per_minute: Option<u32>,
}

/// An OAuth 2 client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its id.
    pub id: ClientId,
    /// Where it may look.
    pub realm: Realm,
    /// SHA-256 of its secret.
    pub hash: [u8; 32],
    /// The most that it may ask for.
    pub scopes: Scopes,
    /// What it is for.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// A configured connection as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Its id.
    pub id: ConnectionId,
    /// Its name in the configuration.
    pub name: String,
    /// Its environment.
    pub environment: Environment,
    /// Why it is paused, if it is.
    pub paused: Option<String>,
}

/// A line of the audit trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// Its id.
    pub id: AuditId,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub who: String,
    /// What, such as `token.create`.
    pub action: String,
    /// To what: an id or a name.
    pub subject: String,
    /// More, as text.
    pub detail: String,
}

/// Changes of the suppression list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Whether the line after which was asked is in the trail, or is none (0). If not, the store went back in time: a backup
    /// was restored, or a replica took over that had not got everything.
    pub is_known: bool,
    /// The entries that were added or lifted, each with the line that tells of it.
    pub changes: Vec<(AuditId, Suppression)>,
    /// The last line that was looked at: nothing up to it is left out.
    pub upto: AuditId,
}

/// How long things are kept: milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Idempotency keys.
    pub idempotency_ms: i64,
    /// Parked receipts.
    pub parked_ms: i64,
    /// Webhook attempts.
    pub attempts_ms: i64,
    /// Finished messages, and those of people, with their events; `None` for ever.
    pub messages_ms: Option<i64>,
}

/// The room on the disk of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// What the store may still use: octets.
    pub free: u64,
    /// The whole disk: octets.
    pub size: u64,
    /// Whether it was found full: new work is refused until there is room.
    pub full: bool,
}

/// Numbers for metrics and doctor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Waiting messages by connection and purpose: how many, and when the oldest became due.
    pub queues: Vec<(ConnectionId, Purpose, u64, Option<Timestamp>)>,
    /// Messages at a carrier, in doubt, or unconfirmed while a late receipt may still correct that.
    pub in_flight: u64,
    /// Open webhook deliveries, and when the oldest became due.
    pub deliveries: (u64, Option<Timestamp>),
    /// Receipts that wait for their segment.
    pub parked: u64,
    /// Open review items.
    pub reviews: u64,
    /// Size of the database: octets.
    pub size: u64,
}
