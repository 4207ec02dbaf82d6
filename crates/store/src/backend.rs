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

mod account;
mod code;
mod consent_request;
mod contact;
mod conversation;
mod endpoint;
mod event;
mod import;
mod inbound;
mod media;
mod message;
mod node;
mod operating;
mod review;
mod segment;
mod suppression;
mod template;

pub use account::*;
pub use code::*;
pub use consent_request::*;
pub use contact::*;
pub use conversation::*;
pub use endpoint::*;
pub use event::*;
pub use import::*;
pub use inbound::*;
pub use media::*;
pub use message::*;
pub use node::*;
pub use operating::*;
pub use review::*;
pub use segment::*;
pub use suppression::*;
pub use template::*;

use crate::{Carriers, Error, Guard, Result, Waiting};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use tidings_domain::account::{Environment, Realm};
use tidings_domain::address::PhoneNumber;
use tidings_domain::code::{Code, Verdict as Checked};
use tidings_domain::consent::{Consent, History};
use tidings_domain::consent_request::{ConsentRequest, NewConsentRequest};
use tidings_domain::contact::{Change, Contact, Group, ZoneName};
use tidings_domain::conversation::{Change as ConversationChange, Conversation, TooManyTags};
use tidings_domain::failure::Failure;
use tidings_domain::frequency::{Other, Turn};
use tidings_domain::id::*;
use tidings_domain::import::{Decision as ImportDecision, Import};
use tidings_domain::pool::{self, Last};
use tidings_domain::programme;
use tidings_domain::purpose::Purpose;
use tidings_domain::queue::{Paces, Queue};
use tidings_domain::quota::Count;
use tidings_domain::review::Decision;
use tidings_domain::segment::{Change as PeopleChange, Past, Segment as People};
use tidings_domain::sender::Sender;
use tidings_domain::spend::Spent;
use tidings_domain::suppression::Listing;
use tidings_domain::table::Refused;
use tidings_domain::template::{Content, Template};
use tidings_domain::time::Timestamp;
use tidings_domain::velocity::{Prefix, Stop};
use tidings_domain::webhook::Delivery;

/// What an operation gives back, later.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

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
    /// [`Accepted::Moved`]; nor if something is in the way that was taken not to be: [`Accepted::Crowded`]. What one costs is
    /// counted of its account; beyond a limit it is not inserted and comes back as [`Admission::Overspent`].
    /// If the idempotency key is known, nothing is written: see [`Accepted`].
    fn accept(&self, intake: Intake, now: Timestamp) -> BoxFuture<'_, Accepted>;

    /// Takes up to `limit` segments' worth of due messages of one queue, urgent purposes first, then by due time
    /// and id, and records the intent to submit them (`Input::Claimed`). The first is taken however long it is. Expired
    /// ones are ended instead, some hundreds in one claim at most. Two claims never overlap.
    fn claim(&self, queue: Queue, limit: usize, now: Timestamp) -> BoxFuture<'_, Claimed>;

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
    /// What the end of a message says of the phone (`reachability::sign`) is counted for the recipient in the same commit, where the
    /// rules ask for it: a message that could not reach it makes the silence longer, and puts the number on the list when it is dead;
    /// one that did ends it, and lifts an entry that was made of it.
    ///
    /// A receipt whose segment is not known, or not certain, is parked, and looked at again when an answer gives an id, or
    /// a loss a reference, under which it was parked; not where it came before the submission (a second is allowed for a
    /// clock that was corrected), because carriers repeat receipts and use ids again.
    fn advance(&self, happenings: Vec<Happening>, now: Timestamp, rules: Patience)
    -> BoxFuture<'_, Advanced>;

    /// Feeds `Input::TimeUp` to up to `limit` messages whose moment has come (lost claims, doubts, missing
    /// receipts, expiry in the queue), in one commit; where there are more, each of the two kinds gets half. Looks at
    /// the most urgent first. A message may be looked at before its moment, and is then only put back: its moment is
    /// not moved in the queue while it only grows later.
    fn wake(&self, limit: usize, now: Timestamp, rules: Patience) -> BoxFuture<'_, Advanced>;

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
    ) -> BoxFuture<'_, Advanced>;

    /// How each of these people stands on the suppression list, as of the newest commit: the last look before a submission.
    /// Which programme an entry is about is told by the names that the store was opened with, as everywhere.
    fn suppressed(
        &self,
        recipients: Vec<(Realm, PhoneNumber)>,
        now: Timestamp,
    ) -> BoxFuture<'_, Vec<Listing>>;

    /// What each of these people was sent within the last week by messages that took a turn, and which messages of these
    /// purposes come up that wait in a queue for them, of which each counts once: in the order of their moments, the first
    /// [`COUNTED_MAX`](tidings_domain::frequency::COUNTED_MAX) of them.
    fn turns(
        &self,
        people: Vec<(Realm, PhoneNumber)>,
        purposes: Vec<Purpose>,
        now: Timestamp,
    ) -> BoxFuture<'_, Vec<Vec<Other>>>;

    /// Takes the turn of each of these messages at this moment, one after the other and all in one commit, as far as its bounds
    /// leave one to its recipient beside the turns that others took. A message that had one has it moved.
    fn take_turns(&self, asked: Vec<AskedTurn>, now: Timestamp) -> BoxFuture<'_, Vec<Turn>>;

    /// What each of these accounts spent in the day and the month that it is.
    fn spent(&self, accounts: Vec<AccountId>, now: Timestamp) -> BoxFuture<'_, Vec<Spent>>;

    /// Takes segments of days, one after the other and all in one commit, as far as they fit into what is left; gives for each how
    /// many were taken before it, and whether it fits.
    fn take_quotas(&self, asked: Vec<AskedQuota>) -> BoxFuture<'_, Vec<(u64, bool)>>;

    /// Gives segments back that were taken and certainly did not go.
    fn return_quotas(&self, returned: Vec<(Count, u32)>) -> BoxFuture<'_, ()>;

    /// How many segments were taken of each of these days.
    fn quotas(&self, counts: Vec<Count>) -> BoxFuture<'_, Vec<u64>>;

    /// Which of these senders each of these people had last: from which they were sent to by this pool, and to which they
    /// wrote, as far as that is an entry of a conversation.
    fn last_senders(
        &self,
        pool: pool::Name,
        senders: Vec<Sender>,
        people: Vec<(Realm, PhoneNumber)>,
    ) -> BoxFuture<'_, Vec<Last>>;

    /// Ends messages that crash whoever handles them (`Input::Quarantined`). One that cannot be handled even for that
    /// is taken out of every queue as it is, so that nobody meets it again.
    fn quarantine(&self, messages: Vec<MessageId>, why: Failure, now: Timestamp) -> BoxFuture<'_, Advanced>;

    /// Catches what crashes, for those who handle messages outside the store.
    fn guard(&self) -> Arc<Guard> {
        Arc::default()
    }

    /// Stores what came from people, one after the other, all in one commit. What is a message by itself, and the message
    /// of which the last part came, is told: with its event, and what it asks is done by `domain::inbound`: the entry of the
    /// suppression list or its end, with its event; the end of up to [`ENDED_BY_OPT_OUT_MAX`] messages that wait in a queue
    /// for who opted out (see [`Backend::stop_waiting`] for those beyond it); the review item of a doubtful one; and the reply, which
    /// waits in its connection's queue. STOP is about everything, or about the programme that `Programmes::stopped_at` says; START is
    /// about every entry that was the person's own word. Of a lifted entry that had replaced one of somebody of the account
    /// ([`suppression::Reason::Manual`]), that one counts again. What joins a programme is done by `domain::inbound::decide_join`: an entry
    /// of the ledger with its line in the audit trail, the end of an opt-out, and the welcome in the place of the reply.
    ///
    /// Whoever is told to have written is alive, for every account: silences of the number end, and entries that were made of one are
    /// lifted, before anything else is done about it.
    ///
    /// A part of several is put where `domain::assembly` says, and waits. That may end other messages as they are: one whose
    /// reference is used again, and one where too many wait.
    ///
    /// The same again is counted and changes nothing, and asks nothing: a part by `assembly::judge`, a whole message by
    /// `inbound::is_repeated`. What came with a message tells it from another one as its text does, and is kept in the same
    /// commit.
    fn receive(&self, arrivals: Vec<Arrival>, hearing: Hearing, now: Timestamp) -> BoxFuture<'_, Advanced>;

    /// Tells up to `limit` messages of people that have waited long enough for their parts, as they are, those that are due
    /// first, in one commit. What they ask is done as in [`Backend::receive`].
    fn give_up(&self, limit: usize, hearing: Hearing, now: Timestamp) -> BoxFuture<'_, Advanced>;

    /// One message of a person with its parts as they came, also while it waits for others.
    fn inbound(&self, realm: Realm, id: InboundId) -> BoxFuture<'_, Option<Received>>;

    /// What came with a message at this place, from 1. `None` if there is no such thing, or it was left out; [`Error::Corrupt`] if
    /// its octets are not those that came.
    fn media(&self, realm: Realm, id: InboundId, place: u8) -> BoxFuture<'_, Option<KeptMedium>>;

    /// The earliest moment at which something is due in a queue, or else ([`Backend::wake`],
    /// [`Backend::give_up`]); never before `now`, and perhaps earlier than it would have to be.
    fn next_due(&self, queue: Option<Queue>, now: Timestamp) -> BoxFuture<'_, Option<Timestamp>>;

    /// The senders whose messages wait in queues of their own, as this process has them.
    fn paces(&self) -> Arc<Paces>;

    /// Which connections share their receipts, as this process has been told.
    fn carriers(&self) -> Arc<Carriers>;

    /// The queues of senders in which anything waits for this connection, in the order of their numbers. Its own is not among
    /// them: it is always there, and where much went through it that somebody's open transaction keeps, a look costs.
    fn queues(&self, connection: ConnectionId) -> BoxFuture<'_, Vec<Queue>>;

    /// How many messages wait to be sent. Counted now, and from here on kept right by each commit, so that asking what
    /// is given back costs nothing.
    fn waiting(&self) -> BoxFuture<'_, Arc<Waiting>>;

    // ── reading messages ────────────────────────────────────────────────────────────────────────────────────

    /// One message with its life.
    fn message(&self, realm: Realm, id: MessageId) -> BoxFuture<'_, Option<Stored>>;

    /// A page of messages, newest first.
    fn messages(&self, realm: Realm, filter: MessageFilter, page: Page) -> BoxFuture<'_, Paged<Stored>>;

    /// Everything that is recorded about one message: events and webhook attempts, oldest first.
    fn timeline(&self, realm: Realm, id: MessageId) -> BoxFuture<'_, Option<Timeline>>;

    /// Removes the text (not the message) and records that, in one commit. `None` if there is no such message.
    fn redact(
        &self,
        realm: Realm,
        id: MessageId,
        actor: Actor,
        now: Timestamp,
    ) -> BoxFuture<'_, Option<Stored>>;

    /// One batch with counts by status.
    fn batch(&self, realm: Realm, id: BatchId) -> BoxFuture<'_, Option<Batch>>;

    /// A page of batches, newest first.
    fn batches(&self, realm: Realm, page: Page) -> BoxFuture<'_, Paged<Batch>>;

    /// The next stretch of the event log after a place: the polling feed. It ends with the `limit`-th public event of the realm,
    /// or behind [`EVENTS_LOOKED_AT_MAX`] events of anybody, if the log does not end before. Who goes on from where it ends skips no
    /// event that commits later.
    fn events(&self, realm: Realm, after: Option<EventId>, limit: usize) -> BoxFuture<'_, Stretch>;

    /// One event by its id, public or not.
    fn event(&self, realm: Realm, id: EventId) -> BoxFuture<'_, Option<Told>>;

    // ── webhooks ────────────────────────────────────────────────────────────────────────────────────────────

    /// Takes due deliveries of the named endpoints, for each at most so many, the oldest first, and leases them for
    /// `lease_ms`. Those of an endpoint that is switched off are dropped: its events can be replayed.
    fn claim_deliveries(
        &self,
        wanted: Vec<(EndpointId, usize)>,
        lease_ms: i64,
        now: Timestamp,
    ) -> BoxFuture<'_, Vec<Told>>;

    /// Makes leased deliveries due at once that were handed over and cannot be taken now. One that is no more open under
    /// its lease is left alone.
    fn give_back_deliveries(&self, leased: Vec<Delivery>, now: Timestamp) -> BoxFuture<'_, ()>;

    /// Records tries: attempt log, next due time or end, endpoint health, in one commit. A try settles the delivery that
    /// is open under its lease, and no later one. An endpoint that answers does not fail any more; one that is gone, or
    /// has failed without one success for longer than `DISABLE_AFTER_MS`, is switched off.
    fn record_attempts(&self, attempts: Vec<Attempt>, now: Timestamp) -> BoxFuture<'_, ()>;

    /// Makes deliveries due at once that an earlier process had handed over in memory and not tried, at start: some
    /// thousands at most. The others' leases end by themselves.
    fn release_deliveries(&self, now: Timestamp) -> BoxFuture<'_, u64>;

    /// Every endpoint with open deliveries, and when its earliest is due, in the order of their ids.
    fn due_endpoints(&self) -> BoxFuture<'_, Vec<(EndpointId, Timestamp)>>;

    /// Creates an endpoint.
    fn create_endpoint(&self, endpoint: Endpoint, actor: Actor) -> BoxFuture<'_, ()>;

    /// Finds the endpoint for a message's own callback address, creating it if new. All of a realm have one secret: that
    /// of the oldest. There are 1,000 different ones in a realm at most.
    fn callback_endpoint(&self, endpoint: Endpoint) -> BoxFuture<'_, EndpointId>;

    /// All endpoints of a realm (of every realm for `None`).
    fn endpoints(&self, realm: Option<Realm>) -> BoxFuture<'_, Vec<Endpoint>>;

    /// Changes an endpoint by id: url, events, secrets, state. `false` if there is none. The secrets of a callback address
    /// are those of all in its realm.
    fn update_endpoint(&self, endpoint: Endpoint, actor: Actor, now: Timestamp) -> BoxFuture<'_, bool>;

    /// Removes an endpoint and its open deliveries.
    fn delete_endpoint(
        &self,
        realm: Realm,
        id: EndpointId,
        actor: Actor,
        now: Timestamp,
    ) -> BoxFuture<'_, bool>;

    /// The attempt log of an endpoint, newest first.
    fn attempts(&self, realm: Realm, endpoint: EndpointId, page: Page) -> BoxFuture<'_, Paged<Attempt>>;

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
    ) -> BoxFuture<'_, Option<u64>>;

    // ── one-time codes ──────────────────────────────────────────────────────────────────────────────────────

    /// Accepts the one message of a call, as [`Backend::accept`] does, with the code that it carries: a new one, whose id has
    /// the number of the message, or one that is sent again. All in one commit: whether it may be sent is decided by
    /// `domain::code` and `domain::velocity`, it is counted, and the code is stored with the message. What is refused comes
    /// back as [`Admission::Refused`] and is not counted; a refusal is not remembered for the idempotency key, because time
    /// cures it. If the prefix is to be stopped, the stop is stored, with a line in the trail.
    fn send_code(&self, intake: Intake, sending: Sending, now: Timestamp) -> BoxFuture<'_, Accepted>;

    /// A code.
    fn code(&self, realm: Realm, id: CodeId) -> BoxFuture<'_, Option<Code>>;

    /// A page of codes, newest first.
    fn codes(&self, realm: Realm, page: Page) -> BoxFuture<'_, Paged<Code>>;

    /// Records a try, of which the caller says whether it was right, and gives the code as it stands then. Of tries that
    /// come together each is recorded after the other, wherever they come from. A right one is counted as verified for its
    /// prefix at the time when the code was last sent.
    fn check_code(
        &self,
        realm: Realm,
        id: CodeId,
        is_right: bool,
        now: Timestamp,
    ) -> BoxFuture<'_, Option<(Code, Checked)>>;

    /// Takes a code back, if it waits; gives it as it stands then, and whether this call did it.
    fn cancel_code(&self, realm: Realm, id: CodeId, now: Timestamp) -> BoxFuture<'_, Option<(Code, bool)>>;

    /// The prefixes that get no codes now, the newest stop first.
    fn stops(&self, realm: Realm, now: Timestamp) -> BoxFuture<'_, Vec<Stop>>;

    /// Ends the stop of a prefix and forgets what was counted of the prefix, so that it is not stopped again for that. `None`
    /// if it is not stopped.
    fn lift_stop(
        &self,
        realm: Realm,
        prefix: Prefix,
        actor: Actor,
        now: Timestamp,
    ) -> BoxFuture<'_, Option<Stop>>;

    // ── suppressions and reviews ────────────────────────────────────────────────────────────────────────────

    /// Adds entries, one after the other. What becomes of one beside an existing one for the number and the same programme (or none)
    /// is said by [`Suppression::beside`]; what gives way stays as history. Gives what stands for each then.
    fn suppress(&self, entries: Vec<Suppression>, actor: Actor) -> BoxFuture<'_, Vec<Suppression>>;

    /// Ends up to `limit` messages that wait in a queue for these people, as far as an entry of the list is about them at `now`,
    /// but what may pass all the same. `more` if there may be others.
    fn stop_waiting(
        &self,
        people: Vec<(Realm, PhoneNumber)>,
        limit: usize,
        now: Timestamp,
    ) -> BoxFuture<'_, Advanced>;

    /// Lifts the entry of a number that is about this programme, or about everything, keeping it as history with the reason.
    /// `None` if there is none in force.
    fn lift(
        &self,
        realm: Realm,
        recipient: PhoneNumber,
        programme: Option<programme::Name>,
        reason: String,
        actor: Actor,
        now: Timestamp,
    ) -> BoxFuture<'_, Option<Suppression>>;

    /// How many entries count now that are about one programme, of all accounts. Reads the whole list.
    fn programmes_listed(&self, now: Timestamp) -> BoxFuture<'_, ProgrammesListed>;

    /// A page of the list, newest first. Whoever asks for a programme alone may go through the whole list.
    fn suppressions(
        &self,
        realm: Realm,
        filter: SuppressionFilter,
        page: Page,
    ) -> BoxFuture<'_, Paged<Suppression>>;

    /// What changed on the list after a line of the audit trail, of all accounts and in the order of the commits; at most
    /// `limit` changes. An entry comes as it stands now. One that gave way to another has no change of its own.
    fn listed(&self, after: AuditId, limit: usize) -> BoxFuture<'_, Listed>;

    /// Adds entries to the ledger of what people agreed to, all or none. Words that were shown are kept once. One whose id is
    /// there already is a conflict.
    fn record_consents(&self, entries: Vec<Consent>, actor: Actor, now: Timestamp) -> BoxFuture<'_, ()>;

    /// Adds those of these entries to the ledger that say what it does not say yet ([`domain::consent::new_among`]), all or none, and
    /// gives how many that were: whoever was interrupted brings them once more. One whose id is there already is a conflict.
    ///
    /// [`domain::consent::new_among`]: tidings_domain::consent::new_among
    fn import_consents(&self, entries: Vec<Consent>, actor: Actor, now: Timestamp) -> BoxFuture<'_, u64>;

    /// What the ledger has of a number, the last recorded first.
    fn consents(&self, realm: Realm, recipient: PhoneNumber, page: Page) -> BoxFuture<'_, Paged<Consent>>;

    /// Accepts a message that asks its recipient for consent, and writes the request down in the same commit. If the person is
    /// already asked from this sender, and has not answered, nothing is accepted: [`Admission::Asked`].
    ///
    /// What the person answers ends the request, and writes what follows into the ledger, in the commit that
    /// [hears](Self::receive) it.
    fn ask_consent(
        &self,
        intake: Intake,
        asking: NewConsentRequest,
        now: Timestamp,
    ) -> BoxFuture<'_, Accepted>;

    /// Every request to this person, the last first, each as it stands at `now`.
    fn consent_requests(
        &self,
        realm: Realm,
        recipient: PhoneNumber,
        now: Timestamp,
    ) -> BoxFuture<'_, Vec<ConsentRequest>>;

    /// What decides how these people's consents stand, as of the newest commit: the ledger and the opt-outs of each.
    fn said(&self, recipients: Vec<(Realm, PhoneNumber)>) -> BoxFuture<'_, Vec<History>>;

    // ── contacts ────────────────────────────────────────────────────────────────────────────────────────────

    /// Adds a contact, unless one of its numbers is another's. With a line in the trail.
    fn create_contact(&self, contact: Contact, actor: Actor) -> BoxFuture<'_, Saved>;

    /// Changes a contact by `domain::contact`, as it is then, unless a number that it is to have is another's. `None` if
    /// there is no such contact. With a line in the trail, if anything is changed.
    fn change_contact(
        &self,
        realm: Realm,
        id: ContactId,
        change: Change,
        actor: Actor,
        now: Timestamp,
    ) -> BoxFuture<'_, Option<Saved>>;

    /// Deletes a contact; `false` if there is none. What is known of its numbers stays. With a line in the trail.
    fn delete_contact(
        &self,
        realm: Realm,
        id: ContactId,
        actor: Actor,
        now: Timestamp,
    ) -> BoxFuture<'_, bool>;

    /// One contact.
    fn contact(&self, realm: Realm, id: ContactId) -> BoxFuture<'_, Option<Contact>>;

    /// A page of contacts, the newest first; with a number, only who has it; with a group, only who is in it.
    fn contacts(&self, realm: Realm, filter: ContactFilter, page: Page) -> BoxFuture<'_, Paged<Contact>>;

    /// Every group that somebody is in, by name, with how many are.
    fn groups(&self, realm: Realm) -> BoxFuture<'_, Vec<(Group, u64)>>;

    /// How many of these different numbers are a contact's.
    fn known_numbers(&self, realm: Realm, numbers: Vec<PhoneNumber>) -> BoxFuture<'_, u64>;

    /// The time zone that is stated for the contact who has each of these numbers, as of the newest commit; `None` where none
    /// is, or nobody has it.
    fn stated_zones(&self, people: Vec<(Realm, PhoneNumber)>) -> BoxFuture<'_, Vec<Option<ZoneName>>>;

    /// Begins an import, in the state that it has.
    fn begin_import(&self, import: Import) -> BoxFuture<'_, ()>;

    /// Adds rows to an import that is being read, with what was found so far, and moves it to the state that is given.
    /// `false`, and nothing is done, if it is not being read.
    fn stage_import(&self, realm: Realm, id: ImportId, staged: Staged, now: Timestamp)
    -> BoxFuture<'_, bool>;

    /// Applies a decision to an import by `domain::import`; `None` if there is no such import, and what it is then
    /// otherwise. With a line in the trail, if it changed its state.
    fn decide_import(
        &self,
        realm: Realm,
        id: ImportId,
        decision: ImportDecision,
        actor: Actor,
        now: Timestamp,
    ) -> BoxFuture<'_, Option<Import>>;

    /// The oldest import, of any account, whose rows are to be taken over.
    fn next_import(&self) -> BoxFuture<'_, Option<ImportId>>;

    /// Takes the next piece of rows of an import over, by `domain::import`, and deletes the piece, in one commit: however
    /// often and by how many this is called, no row is taken over twice. With the last piece the import is done. If the piece
    /// cannot be read, the import is broken, and others go on. Gives the import as it is then; one that is not to be taken
    /// over is left as it is.
    fn apply_import(&self, id: ImportId, now: Timestamp) -> BoxFuture<'_, Option<Import>>;

    /// One import.
    fn import(&self, realm: Realm, id: ImportId) -> BoxFuture<'_, Option<Import>>;

    /// A page of imports, the newest first.
    fn imports(&self, realm: Realm, page: Page) -> BoxFuture<'_, Paged<Import>>;

    /// The next piece of the rows of an import that were not taken over, in the order of the file, with the place after
    /// which to go on. `None` at the end, if there is no such import, and once they are thrown away.
    fn refused_rows(
        &self,
        realm: Realm,
        id: ImportId,
        after: Option<i64>,
    ) -> BoxFuture<'_, Option<(Vec<Refused>, i64)>>;

    /// Open review items grouped by like cause, the largest group first.
    fn review_groups(&self, realm: Realm, limit: usize) -> BoxFuture<'_, Vec<ReviewGroup>>;

    /// A page of review items, newest first.
    fn reviews(
        &self,
        realm: Realm,
        cause: Option<String>,
        open_only: bool,
        page: Page,
    ) -> BoxFuture<'_, Paged<Review>>;

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
    ) -> BoxFuture<'_, Vec<Review>>;

    // ── conversations ───────────────────────────────────────────────────────────────────────────────────────

    /// Accepts the one message of a call, as [`Backend::accept`] does, as an entry of the conversation between its recipient
    /// and its sender, which it begins if there is none. If somebody wrote since what its writer saw, nothing is done: it comes
    /// back as [`Admission::Overtaken`], and that is not remembered for the idempotency key. All in one commit.
    fn converse(&self, intake: Intake, saying: Saying, now: Timestamp) -> BoxFuture<'_, Accepted>;

    /// A page of conversations, those with the newest entries first. It may be short, or empty, and have a next one: what
    /// fits nothing reads some thousands at most.
    fn conversations(
        &self,
        realm: Realm,
        filter: ConversationFilter,
        page: Page,
        now: Timestamp,
    ) -> BoxFuture<'_, Paged<Conversation>>;

    /// One conversation.
    fn conversation(&self, realm: Realm, id: ConversationId) -> BoxFuture<'_, Option<Conversation>>;

    /// A page of what was said in a conversation, the last first; what retention has taken is left out. `None` if there is no
    /// such conversation.
    fn lines(&self, realm: Realm, id: ConversationId, page: Page) -> BoxFuture<'_, Option<Paged<Line>>>;

    /// Adds a note to a conversation, and gives the conversation.
    fn add_note(
        &self,
        realm: Realm,
        id: ConversationId,
        note: NewNote,
        now: Timestamp,
    ) -> BoxFuture<'_, Option<Conversation>>;

    /// Assigns, tags, puts off, closes or opens a conversation, with a line in the trail, and gives it.
    fn change_conversation(
        &self,
        realm: Realm,
        id: ConversationId,
        change: ConversationChange,
        actor: Actor,
        now: Timestamp,
    ) -> BoxFuture<'_, Option<std::result::Result<Conversation, TooManyTags>>>;

    /// A page of entries that have all of these words ([`tidings_domain::conversation::words`]; none have none), the newest
    /// first. It may be short, or empty, and have a next one.
    fn search(&self, realm: Realm, words: Vec<String>, page: Page) -> BoxFuture<'_, Paged<Found>>;

    // ── templates ───────────────────────────────────────────────────────────────────────────────────────────

    /// Makes a template with its first version. A name that another template of the realm has is a conflict.
    fn create_template(&self, template: Template, actor: Actor) -> BoxFuture<'_, ()>;

    /// Adds the next version of a template and gives it. Those before stay as they are. `None` if there is no such template.
    fn add_template_version(
        &self,
        realm: Realm,
        id: TemplateId,
        content: Content,
        actor: Actor,
        now: Timestamp,
    ) -> BoxFuture<'_, Option<Template>>;

    /// A template in this version, or in its newest.
    fn template(
        &self,
        realm: Realm,
        which: WhichTemplate,
        version: Option<u32>,
    ) -> BoxFuture<'_, Option<Template>>;

    /// A page of templates in their newest versions, the last made first; only those whose name begins so.
    fn templates(&self, realm: Realm, prefix: String, page: Page) -> BoxFuture<'_, Paged<Template>>;

    // ── segments ────────────────────────────────────────────────────────────────────────────────────────────

    /// Makes a segment. A name that another segment of the realm has is a conflict. With a line in the trail.
    fn create_segment(&self, segment: People, actor: Actor) -> BoxFuture<'_, ()>;

    /// Changes a segment by `domain::segment`, as it is then, and gives it. `None` if there is no such segment. A name that
    /// another one has is a conflict. With a line in the trail, if anything is changed.
    fn change_segment(
        &self,
        realm: Realm,
        id: SegmentId,
        change: PeopleChange,
        actor: Actor,
        now: Timestamp,
    ) -> BoxFuture<'_, Option<People>>;

    /// Deletes a segment; `false` if there is none. With a line in the trail.
    fn delete_segment(
        &self,
        realm: Realm,
        id: SegmentId,
        actor: Actor,
        now: Timestamp,
    ) -> BoxFuture<'_, bool>;

    /// One segment.
    fn segment(&self, realm: Realm, which: WhichSegment) -> BoxFuture<'_, Option<People>>;

    /// A page of segments, the last made first.
    fn segments(&self, realm: Realm, page: Page) -> BoxFuture<'_, Paged<People>>;

    /// When everything happened last with each of these numbers, as far as the event log was read for it.
    fn touches(&self, realm: Realm, numbers: Vec<PhoneNumber>) -> BoxFuture<'_, Vec<Past>>;

    /// The realms for which the event log is read for that, and how far it was.
    fn touch_places(&self) -> BoxFuture<'_, Vec<(Realm, EventId)>>;

    /// Adds what was read in the event log of a realm, and how far it was read then, in one commit. `false`, and nothing is
    /// done, if it was not read just so far before: somebody else read on meanwhile. However many read, nothing is missed.
    fn add_touches(&self, realm: Realm, read: Touched) -> BoxFuture<'_, bool>;

    // ── accounts, tokens, clients ───────────────────────────────────────────────────────────────────────────

    /// The account that exists from the start, made if the store is new.
    fn default_account(&self, now: Timestamp) -> BoxFuture<'_, AccountId>;

    /// All accounts.
    fn accounts(&self) -> BoxFuture<'_, Vec<Account>>;

    /// Adds an account.
    fn create_account(&self, account: Account, actor: Actor) -> BoxFuture<'_, ()>;

    /// Adds a token.
    fn create_token(&self, token: Token, actor: Actor) -> BoxFuture<'_, ()>;

    /// The token with this public part, whoever owns it.
    fn token_by_lookup(&self, lookup: String) -> BoxFuture<'_, Option<Token>>;

    /// Tokens of a realm (of an account in both environments if `environment` is `None`), newest first.
    fn tokens(&self, account: AccountId, environment: Option<Environment>) -> BoxFuture<'_, Vec<Token>>;

    /// Replaces a token's secrets, expiry or revocation, by id. The times of use stay what was noted for the secrets: where
    /// the secret is another, the last use becomes that of the previous one.
    fn update_token(
        &self,
        token: Token,
        action: &'static str,
        actor: Actor,
        now: Timestamp,
    ) -> BoxFuture<'_, bool>;

    /// Records when tokens were last used (written behind, at most once a minute for each).
    fn touch_tokens(&self, uses: Vec<(TokenId, Timestamp, bool)>) -> BoxFuture<'_, ()>;

    /// Adds an OAuth client.
    fn create_client(&self, client: Client, actor: Actor) -> BoxFuture<'_, ()>;

    /// The client with this id.
    fn client(&self, id: ClientId) -> BoxFuture<'_, Option<Client>>;

    /// Clients of a realm.
    fn clients(&self, realm: Realm) -> BoxFuture<'_, Vec<Client>>;

    /// Revokes a client and every token made for it.
    fn revoke_client(&self, realm: Realm, id: ClientId, actor: Actor, now: Timestamp) -> BoxFuture<'_, bool>;

    // ── operating ───────────────────────────────────────────────────────────────────────────────────────────

    /// Gives each configured connection its id, by name, and its pause as an operator left it.
    fn register_connections(
        &self,
        names: Vec<(String, Environment)>,
        now: Timestamp,
    ) -> BoxFuture<'_, Vec<Connection>>;

    /// Every connection that was ever registered.
    fn connections(&self) -> BoxFuture<'_, Vec<Connection>>;

    /// Pauses or resumes a connection. `false` if there is none of that name in that environment.
    fn pause_connection(
        &self,
        id: ConnectionId,
        pause: Option<String>,
        actor: Actor,
        now: Timestamp,
    ) -> BoxFuture<'_, bool>;

    /// Moves waiting messages from one connection to another (of the same environment), at most `limit`, those that would
    /// be claimed first. One of which a part may be at a carrier stays.
    fn reroute(
        &self,
        from: ConnectionId,
        to: ConnectionId,
        limit: usize,
        now: Timestamp,
    ) -> BoxFuture<'_, u64>;

    /// Whether sending is held since a restore, and why.
    fn hold(&self) -> BoxFuture<'_, Option<String>>;

    /// Sets or releases the hold on all sending.
    fn set_hold(&self, reason: Option<String>, actor: Actor, now: Timestamp) -> BoxFuture<'_, ()>;

    /// Numbers for metrics and doctor.
    fn statistics(&self, now: Timestamp) -> BoxFuture<'_, Statistics>;

    /// The audit trail, newest first. Each change by an actor is a line of it, in the same commit, if it changed anything.
    fn audit(&self, account: AccountId, page: Page) -> BoxFuture<'_, Paged<Audit>>;

    /// Records a change that has no row of its own (configuration loaded, backup made).
    fn record_audit(
        &self,
        actor: Actor,
        action: String,
        subject: String,
        detail: String,
        now: Timestamp,
    ) -> BoxFuture<'_, ()>;

    /// Deletes what is older than its retention, at most `limit` rows of each kind: `true` if more may be left.
    ///
    /// A message stays, whatever its age, while it waits for anything, while a person must decide about it, while an
    /// endpoint must still be told of it, and while the newest event is its. With it go its events and its decided reviews. For
    /// a message of a person the same holds, and its parts go with it.
    /// Ids that messages of long ago left behind are forgotten, and callback addresses that no message can name any more.
    /// Codes are forgotten when [nobody asks for them any more](Code::forget_at), and what is counted of codes when it counts
    /// nothing.
    fn sweep(&self, retention: Retention, limit: usize, now: Timestamp) -> BoxFuture<'_, bool>;

    /// A consistent copy of the whole store in a new file, made while everything runs.
    fn backup(&self, to: std::path::PathBuf) -> BoxFuture<'_, ()>;

    // ── nodes ───────────────────────────────────────────────────────────────────────────────────────────────

    /// Joins those who serve this database, before anything else is done with it. A database that can only have one
    /// owner says so: [`Standing::alone`]. Others know a node by its name: one of the same name and place that is still
    /// in the list must have ended, and gives way at once.
    fn join(&self, _newcomer: Newcomer) -> BoxFuture<'_, Standing> {
        Box::pin(std::future::ready(Ok(Standing::alone())))
    }

    /// Renews this node's lease, ends the nodes whose lease is over (a node that was itself silent for a while gives the
    /// others time to come back first), and takes connections that nobody owns, up to an even share. From the moment a
    /// node is ended, each of its writes is refused with [`Error::Expelled`](crate::Error::Expelled).
    fn renew(&self) -> BoxFuture<'_, Standing> {
        Box::pin(std::future::ready(Ok(Standing::alone())))
    }

    /// Gives back a connection on which nothing is on its way any more.
    fn release(&self, _connection: ConnectionId) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Leaves in good order: gives everything back.
    fn leave(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// How often the suppression list was changed, this moment. Grows with each commit that changes it.
    fn list_version(&self) -> BoxFuture<'_, i64> {
        Box::pin(std::future::ready(Ok(0)))
    }

    /// Says to the other nodes that here nothing is on its way any more that began before the list had this version.
    fn acknowledge(&self, _version: i64) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// The nodes that serve this database, this one too; empty if it can only have one.
    fn nodes(&self) -> BoxFuture<'_, Vec<Node>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    /// What other nodes commit, as it is heard; there is one listener. `None` if there are no other nodes.
    fn news(&self) -> Option<tokio::sync::mpsc::Receiver<News>> {
        None
    }

    /// Whether the store answers and takes on new work.
    fn ping(&self) -> BoxFuture<'_, ()>;

    /// Comes back only when the disk has failed so that nobody can say what it kept. From then on every operation
    /// gets [`Error::Broken`], and the process must end: the next start looks at what is there.
    fn until_broken(&self) -> Broken<'_> {
        Box::pin(std::future::pending())
    }

    /// How much room there is on the disk, if the store lies on one of its own.
    fn room(&self) -> BoxFuture<'_, Option<Room>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Finishes what was begun and closes.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// Who makes a change: printed into the audit trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The tenant in whose trail it belongs.
    pub account: AccountId,
    /// A token's id, a client's id, `operator` at the terminal, or the room of the engine that acted.
    pub who: String,
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
