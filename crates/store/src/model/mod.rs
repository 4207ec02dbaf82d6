//! The contract without a database: ordered maps in memory, for the simulation and as the second opinion on SQLite.
//!
//! A [`Disk`] holds what is durable; a [`Model`] is one process that uses it. Every operation is applied at once and
//! whole, under one lock: it looks before it writes, and after its first write it cannot fail. Nothing here reads a
//! clock, draws a number, starts a thread or depends on the order of a hash, so the same calls give the same answers.
//!
//! [`Faults`] are asked before each operation and may delay it, refuse it, do it and lie about it, or never answer.
//! A process that was [crashed](Disk::crash) changes nothing any more and gets no answer any more.
//!
//! A [`Model`] has the disk for itself, or is a [member](Model::member) of those who serve it together: then it may join as
//! a node, and what it writes is refused once another one has ended it.
//!
//! It does not imitate how SQLite works: no writer, no group commit, no file, and no bounds that only keep a large
//! database quick. Nothing is ever forgotten here for lack of room.

mod account;
mod code;
mod consent;
mod consent_request;
mod contact;
mod conversation;
mod endpoint;
mod event;
mod frequency;
mod import;
mod inbound;
mod media;
mod message;
mod node;
mod operating;
mod pool;
mod quota;
mod review;
mod segment;
mod spend;
mod suppression;
mod template;

use crate::backend::*;
use crate::{Carriers, Error, Result, Waiting};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;
use tidings_domain::account::{Environment, Realm};
use tidings_domain::address::PhoneNumber;
use tidings_domain::code::{Code, Verdict};
use tidings_domain::consent::{Consent, History};
use tidings_domain::consent_request::{ConsentRequest, NewConsentRequest};
use tidings_domain::contact::{Change, Contact, Group, ZoneName};
use tidings_domain::conversation::{Change as ConversationChange, Conversation, TooManyTags};
use tidings_domain::failure::Failure;
use tidings_domain::frequency::{Other, Turn};
use tidings_domain::id::*;
use tidings_domain::import::{Decision as ImportDecision, Import};
use tidings_domain::pool::{Last, Name};
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
use tokio::sync::{Notify, oneshot};

/// What is durable. Cheap to clone: all clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    tables: Mutex<Tables>,
    /// Of every process that ever used it, whether it was crashed; its place is its incarnation.
    crashed: Mutex<Vec<Arc<AtomicBool>>>,
    copies: Mutex<BTreeMap<PathBuf, Tables>>,
    /// Those who hear what others commit, by incarnation.
    listeners: Mutex<BTreeMap<usize, node::Listener>>,
    /// What waits to be sent, for all members.
    waiting: Arc<Waiting>,
    /// Where the database's clock began, and by how much it was set since.
    started: OnceLock<tokio::time::Instant>,
    ahead_ms: AtomicI64,
}

impl Disk {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    fn paces(&self) -> Arc<Paces> {
        self.shared.tables.lock().expect("nothing panics while it holds this").messages.paces()
    }

    fn carriers(&self) -> Arc<Carriers> {
        self.shared.tables.lock().expect("nothing panics while it holds this").messages.carriers()
    }

    /// From here on messages from these senders wait in queues of their own, for all who use it.
    pub fn set_paces(&self, paces: Paces) {
        let mut tables = self.shared.tables.lock().expect("nothing panics while it holds this");
        tables.messages.set_paces(Arc::new(paces));
    }

    /// From here on programmes are called so, for all who use it.
    pub fn set_names(&self, names: programme::Names) {
        let mut tables = self.shared.tables.lock().expect("nothing panics while it holds this");
        tables.suppressions.set_names(names);
    }

    /// The process of this [incarnation](Model::incarnation) is gone, between two of its operations: what it had
    /// applied stays, what it had not applied never will be, and nobody in it gets an answer any more.
    pub fn crash(&self, incarnation: usize) {
        if let Some(crashed) = lock(&self.shared.crashed).get(incarnation) {
            crashed.store(true, Ordering::SeqCst);
        }
    }

    /// The disk as a [backup](Backend::backup) under this name has kept it.
    pub fn copy_at(&self, name: &Path) -> Option<Self> {
        let tables = lock(&self.shared.copies).get(name)?.clone();
        let shared = Shared { tables: Mutex::new(tables), ..Shared::default() };
        Some(Self { shared: Arc::new(shared) })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no operation panics while it holds the lock")
}

/// An operation that is about to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// The name of the method, such as `accept`.
    pub name: &'static str,
    /// Whether it changes anything.
    pub writes: bool,
}

/// What shall become of an operation. The default: it is applied and answered at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fate {
    /// What goes wrong.
    pub fault: Fault,
    /// How long it waits before it is applied (or refused): ms of tokio's time.
    pub before_ms: u64,
    /// How long after that the answer takes: ms of tokio's time.
    pub after_ms: u64,
}

/// What may go wrong with an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// It is not applied, and the caller is told so: [`Error::Unavailable`].
    FailBefore,
    /// It is applied, and the caller is told the contrary: [`Error::Unavailable`].
    FailAfter,
    /// It is not applied, and the caller is never told anything.
    Hang,
}

/// Until a process moves again.
pub type Still = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Decides what becomes of each operation of one process.
pub trait Faults: Send + Sync + 'static {
    /// Asked once, before the operation begins.
    fn fate(&self, operation: Operation) -> Fate;

    /// Whether the process stands still, and until when: so long it asks nothing and hears no answer. What it asked
    /// before is done.
    fn still(&self) -> Option<Still> {
        None
    }

    /// Whether a member hears now what others commit. If not, it will hear later that it has [missed](News::Missed) it.
    fn hears(&self) -> bool {
        true
    }

    /// Told of each operation that was applied, whatever came of it.
    fn applied(&self, _operation: Operation) {}
}

impl<F: Fn(Operation) -> Fate + Send + Sync + 'static> Faults for F {
    fn fate(&self, operation: Operation) -> Fate {
        self(operation)
    }
}

/// One process that uses a [`Disk`].
pub struct Model {
    process: Arc<Process>,
}

struct Process {
    disk: Disk,
    incarnation: usize,
    crashed: Arc<AtomicBool>,
    faults: Option<Arc<dyn Faults>>,
    member: Option<Member>,
    closed: AtomicBool,
    waiting: Arc<Waiting>,
    /// Operations that wait for their moment.
    begun: AtomicUsize,
    finished: Notify,
}

/// What a process is among those who serve its disk.
#[derive(Debug, Default)]
struct Member {
    /// The node that it became.
    node: Mutex<Option<node::NodeKey>>,
    is_expelled: AtomicBool,
    expelled: Notify,
}

impl Member {
    fn node(&self) -> Option<node::NodeKey> {
        *lock(&self.node)
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("incarnation", &self.process.incarnation).finish_non_exhaustive()
    }
}

impl Model {
    /// A new process on this disk, for which nothing goes wrong.
    pub fn new(disk: Disk) -> Self {
        Self::start(disk, None, None)
    }

    /// A new process on this disk, for which things go wrong.
    pub fn with_faults(disk: Disk, faults: Arc<dyn Faults>) -> Self {
        Self::start(disk, Some(faults), None)
    }

    /// A new process on this disk that serves it together with others, for which things may go wrong.
    pub fn member(disk: Disk, faults: Option<Arc<dyn Faults>>) -> Self {
        Self::start(disk, faults, Some(Member::default()))
    }

    fn start(disk: Disk, faults: Option<Arc<dyn Faults>>, member: Option<Member>) -> Self {
        let crashed = Arc::new(AtomicBool::new(false));
        let incarnation = {
            let mut all = lock(&disk.shared.crashed);
            all.push(Arc::clone(&crashed));
            all.len() - 1
        };
        let waiting = member.as_ref().map_or_else(Arc::default, |_| Arc::clone(&disk.shared.waiting));
        let process = Process {
            disk,
            incarnation,
            crashed,
            faults,
            member,
            closed: AtomicBool::new(false),
            waiting,
            begun: AtomicUsize::new(0),
            finished: Notify::new(),
        };
        Self { process: Arc::new(process) }
    }

    /// Which process of its disk this is, from 0, for [`Disk::crash`].
    pub fn incarnation(&self) -> usize {
        self.process.incarnation
    }

    /// An operation about nodes; one that has the disk for itself gets the answer of one that is alone.
    fn as_member<T, F>(&self, name: &'static str, alone: T, work: F) -> BoxFuture<'_, T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tables) -> Result<T> + Send + 'static,
    {
        if self.process.member.is_none() {
            return Box::pin(std::future::ready(Ok(alone)));
        }
        self.run(Operation { name, writes: true }, work)
    }

    fn run<T, F>(&self, operation: Operation, work: F) -> BoxFuture<'_, T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tables) -> Result<T> + Send + 'static,
    {
        let process = Arc::clone(&self.process);
        Box::pin(async move {
            process.stand_still().await;
            if process.closed.load(Ordering::SeqCst) {
                return process.answer(Err(Error::Unavailable("the store is closing".to_owned()))).await;
            }
            let fate = process.faults.as_ref().map_or_else(Fate::default, |faults| faults.fate(operation));
            let result = match fate.fault {
                Fault::Hang => std::future::pending().await,
                Fault::FailBefore => {
                    pass(fate.before_ms).await;
                    Err(Error::Unavailable(format!("{} was not done", operation.name)))
                }
                Fault::None | Fault::FailAfter if fate.before_ms == 0 => process.apply(operation, work).await,
                Fault::None | Fault::FailAfter => process.apply_later(operation, fate.before_ms, work).await,
            };
            pass(fate.after_ms).await;
            let result = match fate.fault {
                // Whatever came of it, nobody hears it.
                Fault::FailAfter => Err(Error::Unavailable(format!("{} may have been done", operation.name))),
                Fault::None | Fault::FailBefore | Fault::Hang => result,
            };
            process.answer(result).await
        })
    }
}

impl Process {
    /// The node that this process is.
    fn node(&self) -> Result<node::NodeKey> {
        let node = self.member.as_ref().and_then(Member::node);
        node.ok_or_else(|| Error::Unavailable("this process has not joined as a node".to_owned()))
    }

    fn set_node(&self, node: Option<node::NodeKey>) {
        if let Some(member) = &self.member {
            *lock(&member.node) = node;
        }
    }

    fn is_crashed(&self) -> bool {
        self.crashed.load(Ordering::SeqCst)
    }

    async fn stand_still(&self) {
        while let Some(still) = self.faults.as_ref().and_then(|faults| faults.still()) {
            still.await;
        }
    }

    /// Gives the answer, unless there is nobody left to give it to.
    async fn answer<T>(&self, result: Result<T>) -> Result<T> {
        self.stand_still().await;
        if self.is_crashed() {
            return std::future::pending().await;
        }
        if let (Err(Error::Expelled(_)), Some(member)) = (&result, &self.member) {
            member.is_expelled.store(true, Ordering::SeqCst);
            member.expelled.notify_waiters();
        }
        result
    }

    async fn apply<T>(&self, operation: Operation, work: impl FnOnce(&mut Tables) -> Result<T>) -> Result<T> {
        if self.is_crashed() {
            return std::future::pending().await;
        }
        let (result, news) = {
            let mut tables = lock(&self.disk.shared.tables);
            if operation.writes && self.is_ended(&tables) {
                return Err(node::expelled());
            }
            let list = tables.suppressions.version();
            let result = work(&mut tables);
            self.waiting.set(tables.messages.waiting.clone());
            (result, tables.news(operation, list))
        };
        self.disk.tell(self.incarnation, &news);
        if let Some(faults) = &self.faults {
            faults.applied(operation);
        }
        result
    }

    /// Whether this process is a node that another one has ended: then it writes nothing any more.
    fn is_ended(&self, tables: &Tables) -> bool {
        self.member.as_ref().and_then(Member::node).is_some_and(|node| !tables.nodes.has(node))
    }

    /// Applies the work after a time. As with a database, it happens also if whoever asked for it has gone away.
    async fn apply_later<T, F>(self: &Arc<Self>, operation: Operation, wait_ms: u64, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tables) -> Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let process = Arc::clone(self);
        process.begun.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(async move {
            pass(wait_ms).await;
            if !process.is_crashed() {
                // Who asked may have gone away; what was applied stays applied.
                drop(reply.send(process.apply(operation, work).await));
            }
            process.begun.fetch_sub(1, Ordering::SeqCst);
            process.finished.notify_waiters();
        });
        match answer.await {
            Ok(result) => result,
            // It was crashed.
            Err(_) => std::future::pending().await,
        }
    }

    async fn close(&self) -> Result<()> {
        self.closed.store(true, Ordering::SeqCst);
        loop {
            let finished = self.finished.notified();
            if self.begun.load(Ordering::SeqCst) == 0 {
                return self.answer(Ok(())).await;
            }
            finished.await;
        }
    }
}

async fn pass(ms: u64) {
    if ms > 0 {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}

/// Everything that is stored.
#[derive(Debug, Clone)]
struct Tables {
    messages: message::Messages,
    events: event::Events,
    endpoints: endpoint::Endpoints,
    suppressions: suppression::Suppressions,
    consents: consent::Consents,
    consent_requests: consent_request::ConsentRequests,
    contacts: contact::Contacts,
    imports: import::Imports,
    reviews: review::Reviews,
    inbounds: inbound::Inbounds,
    replies: inbound::Replies,
    codes: code::Codes,
    turns: frequency::Turns,
    sticky: pool::Sticky,
    quotas: quota::Quotas,
    silences: suppression::Silences,
    spends: spend::Spends,
    conversations: conversation::Conversations,
    templates: template::Templates,
    segments: segment::Segments,
    accounts: account::Accounts,
    operating: operating::Operating,
    nodes: node::Nodes,
    ids: Ids,
}

impl Default for Tables {
    fn default() -> Self {
        Self {
            messages: message::Messages::default(),
            events: event::Events::default(),
            endpoints: endpoint::Endpoints::default(),
            suppressions: suppression::Suppressions::default(),
            consents: consent::Consents::default(),
            consent_requests: consent_request::ConsentRequests::default(),
            contacts: contact::Contacts::default(),
            imports: import::Imports::default(),
            reviews: review::Reviews::default(),
            inbounds: inbound::Inbounds::default(),
            replies: inbound::Replies::default(),
            codes: code::Codes::default(),
            turns: frequency::Turns::default(),
            sticky: pool::Sticky::default(),
            quotas: quota::Quotas::default(),
            silences: suppression::Silences::default(),
            spends: spend::Spends::default(),
            conversations: conversation::Conversations::default(),
            templates: template::Templates::default(),
            segments: segment::Segments::default(),
            accounts: account::Accounts::default(),
            operating: operating::Operating::default(),
            nodes: node::Nodes::default(),
            ids: Ids { sequence: Sequence::new(STORE_NODE), last: 0 },
        }
    }
}

impl Tables {
    /// An id for a row that the store makes by itself.
    fn next_id(&mut self, now: Timestamp) -> i64 {
        self.ids.last = self.ids.sequence.next(now);
        self.ids.last
    }
}

/// The ids that the store makes. They grow whatever the clock does, also over restarts.
#[derive(Debug)]
struct Ids {
    sequence: Sequence,
    last: i64,
}

impl Clone for Ids {
    fn clone(&self) -> Self {
        let mut sequence = Sequence::new(STORE_NODE);
        sequence.pass(self.last);
        Self { sequence, last: self.last }
    }
}

/// Makes a page of what comes newest first.
fn page_of<T>(items: impl Iterator<Item = T>, page: Page, key: impl Fn(&T) -> i64) -> Paged<T> {
    let mut items: Vec<T> = items.take(page.limit.saturating_add(1)).collect();
    let more = items.len() > page.limit;
    items.truncate(page.limit);
    let next = if more { items.last().map(key) } else { None };
    Paged { items, next }
}

/// Forwards each operation; the work is in the file of its noun.
macro_rules! forward {
    ($($kind:ident $name:ident($($argument:ident: $type:ty),*) -> $reply:ty;)*) => {$(
        fn $name(&self, $($argument: $type),*) -> BoxFuture<'_, $reply> {
            let operation = Operation { name: stringify!($name), writes: forward!(@ $kind) };
            self.run(operation, move |tables| tables.$name($($argument),*))
        }
    )*};
    (@ write) => { true };
    (@ read) => { false };
}

impl Backend for Model {
    forward! {
        write accept(intake: Intake, now: Timestamp) -> Accepted;
        write claim(queue: Queue, limit: usize, now: Timestamp) -> Claimed;
        write advance(happenings: Vec<Happening>, now: Timestamp, rules: Patience) -> Advanced;
        write wake(limit: usize, now: Timestamp, rules: Patience) -> Advanced;
        write quarantine(messages: Vec<MessageId>, why: Failure, now: Timestamp) -> Advanced;
        write receive(arrivals: Vec<Arrival>, hearing: Hearing, now: Timestamp) -> Advanced;
        write give_up(limit: usize, hearing: Hearing, now: Timestamp) -> Advanced;
        read inbound(realm: Realm, id: InboundId) -> Option<Received>;
        read media(realm: Realm, id: InboundId, place: u8) -> Option<KeptMedium>;
        write redact(realm: Realm, id: MessageId, actor: Actor, now: Timestamp) -> Option<Stored>;
        read next_due(queue: Option<Queue>, now: Timestamp) -> Option<Timestamp>;
        read queues(connection: ConnectionId) -> Vec<Queue>;
        read message(realm: Realm, id: MessageId) -> Option<Stored>;
        read messages(realm: Realm, filter: MessageFilter, page: Page) -> Paged<Stored>;
        read timeline(realm: Realm, id: MessageId) -> Option<Timeline>;
        read batch(realm: Realm, id: BatchId) -> Option<Batch>;
        read batches(realm: Realm, page: Page) -> Paged<Batch>;

        read events(realm: Realm, after: Option<EventId>, limit: usize) -> Stretch;
        read event(realm: Realm, id: EventId) -> Option<Told>;
        write claim_deliveries(wanted: Vec<(EndpointId, usize)>, lease_ms: i64, now: Timestamp) -> Vec<Told>;
        write give_back_deliveries(leased: Vec<Delivery>, now: Timestamp) -> ();
        write record_attempts(attempts: Vec<Attempt>, now: Timestamp) -> ();
        write release_deliveries(now: Timestamp) -> u64;
        read due_endpoints() -> Vec<(EndpointId, Timestamp)>;
        read attempts(realm: Realm, endpoint: EndpointId, page: Page) -> Paged<Attempt>;
        write replay(realm: Realm, endpoint: EndpointId, what: Replay, limit: usize, actor: Actor, now: Timestamp) -> Option<u64>;

        write create_endpoint(endpoint: Endpoint, actor: Actor) -> ();
        write callback_endpoint(endpoint: Endpoint) -> EndpointId;
        read endpoints(realm: Option<Realm>) -> Vec<Endpoint>;
        write update_endpoint(endpoint: Endpoint, actor: Actor, now: Timestamp) -> bool;
        write delete_endpoint(realm: Realm, id: EndpointId, actor: Actor, now: Timestamp) -> bool;

        read suppressed(recipients: Vec<(Realm, PhoneNumber)>, now: Timestamp) -> Vec<Listing>;
        write suppress(entries: Vec<Suppression>, actor: Actor) -> Vec<Suppression>;
        write stop_waiting(people: Vec<(Realm, PhoneNumber)>, limit: usize, now: Timestamp) -> Advanced;
        write lift(realm: Realm, recipient: PhoneNumber, programme: Option<programme::Name>, reason: String, actor: Actor, now: Timestamp) -> Option<Suppression>;
        read programmes_listed(now: Timestamp) -> ProgrammesListed;
        read suppressions(realm: Realm, filter: SuppressionFilter, page: Page) -> Paged<Suppression>;
        read listed(after: AuditId, limit: usize) -> Listed;

        read turns(people: Vec<(Realm, PhoneNumber)>, purposes: Vec<Purpose>, now: Timestamp) -> Vec<Vec<Other>>;
        read spent(accounts: Vec<AccountId>, now: Timestamp) -> Vec<Spent>;
        read quotas(counts: Vec<Count>) -> Vec<u64>;
        write return_quotas(returned: Vec<(Count, u32)>) -> ();
        write take_quotas(asked: Vec<AskedQuota>) -> Vec<(u64, bool)>;
        read last_senders(pool: Name, senders: Vec<Sender>, people: Vec<(Realm, PhoneNumber)>) -> Vec<Last>;
        write take_turns(asked: Vec<AskedTurn>, now: Timestamp) -> Vec<Turn>;

        write record_consents(entries: Vec<Consent>, actor: Actor, now: Timestamp) -> ();
        write import_consents(entries: Vec<Consent>, actor: Actor, now: Timestamp) -> u64;
        read consents(realm: Realm, recipient: PhoneNumber, page: Page) -> Paged<Consent>;
        write ask_consent(intake: Intake, asking: NewConsentRequest, now: Timestamp) -> Accepted;
        read consent_requests(realm: Realm, recipient: PhoneNumber, now: Timestamp) -> Vec<ConsentRequest>;
        read said(recipients: Vec<(Realm, PhoneNumber)>) -> Vec<History>;

        write create_contact(contact: Contact, actor: Actor) -> Saved;
        write change_contact(realm: Realm, id: ContactId, change: Change, actor: Actor, now: Timestamp) -> Option<Saved>;
        write delete_contact(realm: Realm, id: ContactId, actor: Actor, now: Timestamp) -> bool;
        read contact(realm: Realm, id: ContactId) -> Option<Contact>;
        read contacts(realm: Realm, filter: ContactFilter, page: Page) -> Paged<Contact>;
        read groups(realm: Realm) -> Vec<(Group, u64)>;
        read known_numbers(realm: Realm, numbers: Vec<PhoneNumber>) -> u64;
        read stated_zones(people: Vec<(Realm, PhoneNumber)>) -> Vec<Option<ZoneName>>;
        write begin_import(import: Import) -> ();
        write stage_import(realm: Realm, id: ImportId, staged: Staged, now: Timestamp) -> bool;
        write decide_import(realm: Realm, id: ImportId, decision: ImportDecision, actor: Actor, now: Timestamp) -> Option<Import>;
        read next_import() -> Option<ImportId>;
        write apply_import(id: ImportId, now: Timestamp) -> Option<Import>;
        read import(realm: Realm, id: ImportId) -> Option<Import>;
        read imports(realm: Realm, page: Page) -> Paged<Import>;
        read refused_rows(realm: Realm, id: ImportId, after: Option<i64>) -> Option<(Vec<Refused>, i64)>;

        read review_groups(realm: Realm, limit: usize) -> Vec<ReviewGroup>;
        read reviews(realm: Realm, cause: Option<String>, open_only: bool, page: Page) -> Paged<Review>;
        write decide(realm: Realm, which: ReviewChoice, decision: Decision, limit: usize, actor: Actor, now: Timestamp) -> Vec<Review>;

        write send_code(intake: Intake, sending: Sending, now: Timestamp) -> Accepted;
        read code(realm: Realm, id: CodeId) -> Option<Code>;
        read codes(realm: Realm, page: Page) -> Paged<Code>;
        write check_code(realm: Realm, id: CodeId, is_right: bool, now: Timestamp) -> Option<(Code, Verdict)>;
        write cancel_code(realm: Realm, id: CodeId, now: Timestamp) -> Option<(Code, bool)>;
        read stops(realm: Realm, now: Timestamp) -> Vec<Stop>;
        write lift_stop(realm: Realm, prefix: Prefix, actor: Actor, now: Timestamp) -> Option<Stop>;

        write converse(intake: Intake, saying: Saying, now: Timestamp) -> Accepted;
        read conversations(realm: Realm, filter: ConversationFilter, page: Page, now: Timestamp) -> Paged<Conversation>;
        read conversation(realm: Realm, id: ConversationId) -> Option<Conversation>;
        read lines(realm: Realm, id: ConversationId, page: Page) -> Option<Paged<Line>>;
        write add_note(realm: Realm, id: ConversationId, note: NewNote, now: Timestamp) -> Option<Conversation>;
        write change_conversation(realm: Realm, id: ConversationId, change: ConversationChange, actor: Actor, now: Timestamp) -> Option<std::result::Result<Conversation, TooManyTags>>;
        read search(realm: Realm, words: Vec<String>, page: Page) -> Paged<Found>;

        write create_template(template: Template, actor: Actor) -> ();
        write add_template_version(realm: Realm, id: TemplateId, content: Content, actor: Actor, now: Timestamp) -> Option<Template>;
        read template(realm: Realm, which: WhichTemplate, version: Option<u32>) -> Option<Template>;
        read templates(realm: Realm, prefix: String, page: Page) -> Paged<Template>;
        write create_segment(segment: People, actor: Actor) -> ();
        write change_segment(realm: Realm, id: SegmentId, change: PeopleChange, actor: Actor, now: Timestamp) -> Option<People>;
        write delete_segment(realm: Realm, id: SegmentId, actor: Actor, now: Timestamp) -> bool;
        read segment(realm: Realm, which: WhichSegment) -> Option<People>;
        read segments(realm: Realm, page: Page) -> Paged<People>;
        read touches(realm: Realm, numbers: Vec<PhoneNumber>) -> Vec<Past>;
        read touch_places() -> Vec<(Realm, EventId)>;
        write add_touches(realm: Realm, read: Touched) -> bool;

        write default_account(now: Timestamp) -> AccountId;
        read accounts() -> Vec<Account>;
        write create_account(account: Account, actor: Actor) -> ();
        write create_token(token: Token, actor: Actor) -> ();
        read token_by_lookup(lookup: String) -> Option<Token>;
        read tokens(account: AccountId, environment: Option<Environment>) -> Vec<Token>;
        write update_token(token: Token, action: &'static str, actor: Actor, now: Timestamp) -> bool;
        write touch_tokens(uses: Vec<(TokenId, Timestamp, bool)>) -> ();
        write create_client(client: Client, actor: Actor) -> ();
        read client(id: ClientId) -> Option<Client>;
        read clients(realm: Realm) -> Vec<Client>;
        write revoke_client(realm: Realm, id: ClientId, actor: Actor, now: Timestamp) -> bool;

        write register_connections(names: Vec<(String, Environment)>, now: Timestamp) -> Vec<Connection>;
        read connections() -> Vec<Connection>;
        write pause_connection(id: ConnectionId, pause: Option<String>, actor: Actor, now: Timestamp) -> bool;
        write reroute(from: ConnectionId, to: ConnectionId, limit: usize, now: Timestamp) -> u64;
        read hold() -> Option<String>;
        write set_hold(reason: Option<String>, actor: Actor, now: Timestamp) -> ();
        read statistics(now: Timestamp) -> Statistics;
        read audit(account: AccountId, page: Page) -> Paged<Audit>;
        write record_audit(actor: Actor, action: String, subject: String, detail: String, now: Timestamp) -> ();
        write sweep(retention: Retention, limit: usize, now: Timestamp) -> bool;
        write ping() -> ();
    }

    fn recover(
        &self,
        connection: Option<ConnectionId>,
        limit: usize,
        now: Timestamp,
        rules: Patience,
    ) -> BoxFuture<'_, Advanced> {
        let process = Arc::clone(&self.process);
        self.run(Operation { name: "recover", writes: true }, move |tables| {
            if let (Some(id), Ok(node)) = (connection, process.node()) {
                tables.check_owner(node, id)?;
            }
            tables.recover(connection, limit, now, rules)
        })
    }

    fn join(&self, newcomer: Newcomer) -> BoxFuture<'_, Standing> {
        let process = Arc::clone(&self.process);
        self.as_member("join", Standing::alone(), move |tables| {
            let (node, standing) = tables.join(newcomer, process.incarnation, process.disk.now_ms())?;
            process.set_node(Some(node));
            Ok(standing)
        })
    }

    fn renew(&self) -> BoxFuture<'_, Standing> {
        let process = Arc::clone(&self.process);
        self.as_member("renew", Standing::alone(), move |tables| {
            tables.renew(process.node()?, process.disk.now_ms())
        })
    }

    fn release(&self, connection: ConnectionId) -> BoxFuture<'_, ()> {
        let process = Arc::clone(&self.process);
        self.as_member("release", (), move |tables| tables.release(process.node()?, connection))
    }

    fn leave(&self) -> BoxFuture<'_, ()> {
        let process = Arc::clone(&self.process);
        self.as_member("leave", (), move |tables| {
            let Ok(node) = process.node() else { return Ok(()) };
            tables.leave(node)?;
            process.set_node(None);
            Ok(())
        })
    }

    fn list_version(&self) -> BoxFuture<'_, i64> {
        self.as_member("list_version", 0, |tables| Ok(tables.suppressions.version()))
    }

    fn acknowledge(&self, version: i64) -> BoxFuture<'_, ()> {
        let process = Arc::clone(&self.process);
        self.as_member("acknowledge", (), move |tables| tables.acknowledge(process.node()?, version))
    }

    fn nodes(&self) -> BoxFuture<'_, Vec<Node>> {
        let process = Arc::clone(&self.process);
        self.run(Operation { name: "nodes", writes: false }, move |tables| {
            if process.member.is_none() {
                return Ok(Vec::new());
            }
            let all = tables.nodes(process.node().ok(), process.disk.now_ms());
            Ok(all.into_iter().map(|(_, node)| node).collect())
        })
    }

    fn news(&self) -> Option<tokio::sync::mpsc::Receiver<News>> {
        self.process.node().ok()?;
        Some(self.process.disk.listen(self.process.incarnation, self.process.faults.clone()))
    }

    fn until_broken(&self) -> Broken<'_> {
        Box::pin(async {
            let Some(member) = &self.process.member else { return std::future::pending().await };
            loop {
                let expelled = member.expelled.notified();
                if member.is_expelled.load(Ordering::SeqCst) {
                    return node::expelled();
                }
                expelled.await;
            }
        })
    }

    fn waiting(&self) -> BoxFuture<'_, Arc<Waiting>> {
        let waiting = Arc::clone(&self.process.waiting);
        self.run(Operation { name: "waiting", writes: false }, move |_| Ok(waiting))
    }

    fn backup(&self, to: PathBuf) -> BoxFuture<'_, ()> {
        let disk = self.process.disk.clone();
        self.run(Operation { name: "backup", writes: false }, move |tables| {
            let mut copies = lock(&disk.shared.copies);
            if copies.contains_key(&to) {
                return Err(Error::Conflict(format!("{} exists already", to.display())));
            }
            copies.insert(to, tables.clone());
            Ok(())
        })
    }

    fn paces(&self) -> Arc<Paces> {
        self.process.disk.paces()
    }

    fn carriers(&self) -> Arc<Carriers> {
        self.process.disk.carriers()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.process.close())
    }
}
