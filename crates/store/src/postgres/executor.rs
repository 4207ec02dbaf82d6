//! The thread that writes in groups, the thread that reads, and what a transaction works with.
//!
//! A round trip for each row would cost more than all the rest, so nothing is written while operations run: they work
//! on *sheets*, one for each noun, which hold what was loaded for the whole group and what must be written. A
//! transaction is two flights of statements. The first begins it, takes the turn to write, and loads what the
//! operations name beforehand; then they run in memory, one after the other; the second flight writes the sheets and
//! commits. What an operation needs and did not name is loaded when it asks for it.
//!
//! Operations that are rare, or look for their rows by themselves, go first, and work on settled sheets: everything
//! before them is written, nothing is remembered.
//!
//! The turn to write is a lock of the database that ends with the transaction, so that events get their places in the
//! order of the commits whoever writes. Where others take it too, a group is formed when its turn has come, so that what
//! comes during the others' turns is in it. A transaction that finds that another process wrote since its last one looks
//! again at what it remembered, and one of a node that was ended by another node is refused.

use super::front::{Fronts, Queue};
use super::news::{self, Fellowship, Line};
use super::session::{Flight, Session, Value, cell, live, silent, values};
use super::{
    Options, copy, endpoint, event, message, migration, node, operating, quota, review, spend, suppression,
};
use crate::backend::{Page, Paged, STORE_NODE};
use crate::guard::Crashes;
use crate::listeners::Listeners;
use crate::looked::Looked;
use crate::tally::Tallies;
use crate::turn::{CALL_WAIT, Turn};
use crate::waiting::{Changes, Waiting};
use crate::{Crashed, Error, Guard, Key, Result};
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;
use tidings_domain::account::Realm;
use tidings_domain::id::{AccountId, MessageId, Sequence, next_place};
use tidings_domain::message::Message;
use tidings_domain::purpose::Purpose;
use tidings_domain::queue::Paces;
use tidings_domain::time::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_postgres::Row;

/// Operations that may wait for the writer. Callers wait for a place, which slows them and bounds the memory.
const WRITES_WAITING: usize = 4_096;
/// Operations in one transaction: enough that the commit does not matter, few enough that nobody waits long.
const GROUP_MAX: usize = 1_000;
/// Messages, receipts or tries in one transaction. An operation may bring some hundreds.
const WEIGHT_MAX: usize = 4_096;
/// How often operations may name more after they have seen what they named first.
const LOADS_MAX: usize = 6;
/// Reads that may wait for a session.
const READS_WAITING: usize = 1_024;
/// The longest that a group may take. The server breaks off single statements earlier.
const GROUP_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest that a read may take, for the same reason.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// The pauses between two attempts to reach a server that is gone: doubled from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(2);
/// How often a server that is written to is asked whether it still keeps what it commits: its settings can be changed while
/// it runs.
const PROMISES_EVERY: Duration = Duration::from_secs(5);
/// How long the end of a failed transaction may take before the session counts as broken.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(5);
/// How long callers wait for the server to come back, to hear whether their commit was done.
const VERDICT_TIMEOUT: Duration = Duration::from_secs(10);
/// The key of the lock that is the turn to write. Any number does that nobody else uses in this database.
pub(super) const TURN: &str = "SELECT pg_advisory_xact_lock(6216813001)";
/// The number of the transaction, who wrote last, what changed how often, and whether this node is still in the list.
const WHO: &str = "SELECT pg_current_xact_id()::text, (SELECT last_value FROM last_writer),
   (SELECT last_value FROM list_version), (SELECT last_value FROM settings_version),
   (SELECT last_value FROM parked_version), $1::text IS NULL OR EXISTS (SELECT 1 FROM node WHERE id = $1)";
/// The places that are given in the order of commits. Ids go on after those of an earlier process and of another one,
/// whose clocks may have been ahead.
const PLACES: &str = "SELECT greatest(
   (SELECT max(id) FROM review), (SELECT max(id) FROM suppression), (SELECT max(id) FROM audit),
   (SELECT max(receipt) FROM parked), 0),
   coalesce((SELECT max(seq) FROM event), 0)";
/// What changes when the server crashes.
const ERA: &str = "WITH new AS (INSERT INTO era (single, word) VALUES (true, gen_random_uuid()::text) ON CONFLICT DO NOTHING
   RETURNING word) SELECT word FROM new UNION ALL SELECT word FROM era LIMIT 1";
/// The key of the lock that serving processes hold together.
const SERVING: &str = "SELECT pg_try_advisory_lock_shared(6216813002)";
/// The same key for a process that wants the database for itself.
pub(super) const ALONE: &str = "SELECT pg_try_advisory_lock(6216813002)";
const SERVED_NO_MORE: &str = "SELECT pg_advisory_unlock_shared(6216813002)";
/// Whether somebody else holds it. The server keeps the halves of the key apart.
pub(super) const IS_SERVED: &str =
    "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid <> pg_backend_pid()
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND (classid::bigint << 32) + objid::bigint = 6216813002)";

// ── what a transaction works with ───────────────────────────────────────────────────────────────────────────

/// What a write works with: the session with its open transaction, the sheets, and what the writer remembers between
/// transactions.
pub(super) struct Tx {
    pub sql: Session,
    pub sheets: Sheets,
    /// Who is known to be free of suppressions.
    pub looked: Arc<Looked>,
    /// The senders whose messages wait in queues of their own.
    pub paces: Arc<Paces>,
    guard: Arc<Guard>,
    memory: Memory,
    /// Our number among those who write: even for nodes.
    number: i64,
    /// Tells whether the server crashed since this session was opened.
    era: String,
    fellowship: Arc<Fellowship>,
}

/// What was loaded and what must be written, by noun.
#[derive(Default)]
pub(super) struct Sheets {
    pub messages: message::Sheet,
    pub events: event::Sheet,
    pub list: suppression::Sheet,
    pub reviews: review::Sheet,
    pub trail: operating::Sheet,
}

/// What operations say beforehand that they will look at.
#[derive(Default)]
pub(super) struct Needs {
    pub messages: message::Needs,
    pub events: event::Needs,
    pub list: suppression::Needs,
}

impl Needs {
    fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.events.is_empty() && self.list.is_empty()
    }
}

/// What the writer knows without asking the database.
struct Memory {
    /// Thrown away when a transaction fails or another process wrote.
    loaded: Option<Loaded>,
    ids: Sequence,
    /// The turn to write, where it was asked for before there was a group: a transaction is open, or that failed.
    turn: Option<Result<()>>,
    /// Whether another process wrote since our last transaction.
    others_wrote: bool,
    /// What was changed how often, as it was when this was last looked at.
    versions: Versions,
    /// What this transaction changes of it.
    list_changed: bool,
    parked_changed: bool,
    /// Thrown away when a transaction fails or another process wrote.
    tallies: Tallies,
    /// What this transaction has to tell other nodes.
    line: Line,
    /// Whether this process becomes a node with this transaction, or ceases to be one.
    membership: Option<Option<(String, u16)>>,
    /// What waits to be sent, once somebody asked.
    waiting: Option<Arc<Waiting>>,
    /// It must be counted again: this session is new, and what others told meanwhile was not heard.
    recounts: bool,
    /// How this transaction changes that.
    changes: Changes,
    crashes: Crashes,
    parked_max: usize,
}

/// How often things were changed by anybody, which says whether what is remembered of them is still so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Versions {
    list: i64,
    settings: i64,
    parked: i64,
}

struct Loaded {
    last_event: i64,
    listeners: Arc<Listeners>,
    /// Rows of parked receipts by connection.
    parked: HashMap<i64, usize>,
}

impl Tx {
    /// A place in the event log. Places are given in the order of the commits, so that a reader who follows them
    /// never skips one that commits later; within that they tell the time at which it happened.
    pub fn next_event(&mut self, at: Timestamp) -> i64 {
        let loaded = self.loaded();
        loaded.last_event = next_place(loaded.last_event, at);
        loaded.last_event
    }

    /// Who wants to hear of events.
    pub fn listeners(&mut self) -> Arc<Listeners> {
        Arc::clone(&self.loaded().listeners)
    }

    /// To be called when endpoints changed.
    pub async fn forget_listeners(&mut self) -> Result<()> {
        self.memory.line.settings = true;
        let listeners = Arc::new(endpoint::listeners(&self.sql).await?);
        self.loaded().listeners = listeners;
        Ok(())
    }

    /// Whether any receipt is parked: nearly always not, and then nobody needs to look.
    pub fn any_parked(&mut self) -> bool {
        !self.loaded().parked.is_empty()
    }

    /// The same before the transaction, where it may not be known yet.
    pub fn may_be_parked(&self) -> bool {
        self.memory.loaded.as_ref().is_some_and(|loaded| !loaded.parked.is_empty())
    }

    /// To be called when a receipt of this connection was parked, with its rows. Gives the number of rows by which the
    /// connection has too many now.
    pub fn note_parked(&mut self, connection: i64, rows: usize) -> usize {
        let most = self.memory.parked_max;
        if rows == 0 {
            return 0;
        }
        self.memory.parked_changed = true;
        let parked = self.loaded().parked.entry(connection).or_default();
        *parked += rows;
        parked.saturating_sub(most)
    }

    /// To be called when rows of parked receipts of this connection were deleted.
    pub fn note_unparked(&mut self, connection: i64, rows: usize) {
        self.memory.parked_changed = true;
        let all = &mut self.loaded().parked;
        if let Some(parked) = all.get_mut(&connection) {
            *parked = parked.saturating_sub(rows);
            if *parked == 0 {
                all.remove(&connection);
            }
        }
    }

    /// To be called when parked receipts of any connection were deleted.
    pub async fn recount_parked(&mut self) -> Result<()> {
        self.memory.parked_changed = true;
        self.loaded().parked = count_parked(&self.sql).await?;
        Ok(())
    }

    /// Handles one of the things that an operation is about. If that crashes, everything in this transaction is run
    /// again, and after three crashes without this thing: then `None`, and the others go on.
    pub async fn contain<T>(
        &mut self,
        key: impl Into<Key>,
        work: impl AsyncFnOnce(&mut Self) -> Result<T>,
    ) -> Result<Option<T>> {
        let key = key.into();
        if self.memory.crashes.is_set_aside(key) {
            return Ok(None);
        }
        let guard = Arc::clone(&self.guard);
        let outcome = {
            let mut doing = pin!(work(self));
            // It is handled while it is polled: not while it waits for the server.
            std::future::poll_fn(|context| match guard.once(key, || doing.as_mut().poll(context)) {
                Ok(Poll::Pending) => Poll::Pending,
                Ok(Poll::Ready(done)) => Poll::Ready(Ok(done)),
                Err(crashed) => Poll::Ready(Err(crashed)),
            })
            .await
        };
        match outcome {
            Ok(done) => done.map(Some),
            Err(Crashed) => Err(self.memory.crashes.note(key)),
        }
    }

    /// Looks at one of the things that an operation is about before it runs. A crash is passed over: the operation will
    /// meet it again.
    pub fn foresee(&self, key: impl Into<Key>, look: impl FnOnce()) {
        let key = key.into();
        if !self.memory.crashes.is_set_aside(key) {
            let _ = self.guard.once(key, look);
        }
    }

    /// The messages that this group of operations left as they are, because it crashed at them.
    pub fn set_aside(&self) -> Vec<MessageId> {
        self.memory.crashes.set_aside()
    }

    /// To be called when `by` more messages like this one wait to be sent.
    pub fn waits(&mut self, message: &Message, by: i64) {
        self.waits_of(message.account, message.purpose, by);
    }

    /// The same for a message that is not at hand.
    pub fn waits_of(&mut self, account: AccountId, purpose: Purpose, by: i64) {
        self.memory.changes.note(account, purpose, by);
    }

    /// What waits to be sent, counted now and as every commit keeps it from here on.
    pub async fn waiting(&mut self) -> Result<Arc<Waiting>> {
        let waiting = Arc::clone(self.memory.waiting.get_or_insert_default());
        *self.fellowship.waiting.lock().expect("nothing panics while it holds this") =
            Some(Arc::clone(&waiting));
        waiting.set(message::count_waiting(&self.sql).await?);
        // What this transaction changed before is counted.
        self.memory.changes.clear();
        Ok(waiting)
    }

    /// Sums that are known, and written with this transaction.
    pub const fn tallies(&mut self) -> &mut Tallies {
        &mut self.memory.tallies
    }

    /// To be called when the suppression list was changed.
    pub fn note_list_changed(&mut self) {
        self.memory.list_changed = true;
    }

    /// The version of the suppression list at the beginning of this transaction.
    pub const fn list_version(&self) -> i64 {
        self.memory.versions.list
    }

    /// What other nodes will hear of this transaction.
    pub const fn news(&mut self) -> &mut Line {
        &mut self.memory.line
    }

    /// Where the queues begin.
    pub fn fronts(&self) -> &Arc<Fronts> {
        &self.fellowship.fronts
    }

    /// Queues were changed in another way than by the sheets: nobody knows where they begin.
    pub fn forget_fronts(&mut self) {
        self.fronts().forget();
        self.memory.line.all_fronts = true;
    }

    /// Notes what the sheets put into queues.
    fn note_fronts(&mut self) {
        let mut put: Vec<(Queue, i64)> = Vec::new();
        self.sheets.messages.put(&mut put);
        self.sheets.events.put_deliveries(&mut put);
        for (queue, at) in &put {
            self.memory.line.put(*queue, *at);
        }
        self.fellowship.fronts.coming(self.memory.line.fronts());
    }

    /// Whether there is somebody to hear it.
    pub fn set_peers(&self, has_peers: bool) {
        self.fellowship.has_peers.store(has_peers, Ordering::Release);
    }

    /// Whether this process serves the database: others do not hear what it tells by themselves.
    const fn is_node(&self) -> bool {
        self.number % 2 == 0
    }

    /// The node that this process is, if it is one.
    pub fn node(&self) -> Option<String> {
        self.fellowship.node().map(|(id, _)| id)
    }

    /// With this transaction this process becomes a node, or ceases to be one.
    pub fn become_node(&mut self, node: Option<(String, u16)>) {
        self.memory.membership = Some(node);
    }

    /// An id for a row that the store makes by itself.
    pub fn next_id(&mut self, now: Timestamp) -> i64 {
        self.memory.ids.next(now)
    }

    fn loaded(&mut self) -> &mut Loaded {
        self.memory.loaded.as_mut().expect("no operation runs before it is loaded")
    }

    /// Waits for the turn to write before there is a group, where others write too: the group is better the later it is
    /// formed. One process alone does not wait, and saves the trip.
    async fn take_turn(&mut self) {
        if !self.fellowship.has_peers.load(Ordering::Acquire) {
            return;
        }
        let taking =
            async { tokio::try_join!(biased; self.sql.command("BEGIN"), self.sql.execute(TURN, &[])) };
        let taken = tokio::time::timeout(GROUP_TIMEOUT, taking).await;
        self.memory.turn = Some(taken.map_or_else(|_| Err(too_long()), |taken| taken.map(drop)));
    }

    /// Looks at the places that are given in the order of commits.
    async fn look_at_places(&mut self) -> Result<i64> {
        let places = self.sql.one(PLACES, &[]).await?;
        self.pass_places(&places)
    }

    fn pass_places(&mut self, places: &Row) -> Result<i64> {
        self.memory.ids.pass(cell(places, 0)?);
        cell(places, 1)
    }

    async fn remember(&mut self) -> Result<()> {
        self.memory.loaded = Some(Loaded {
            last_event: self.look_at_places().await?,
            parked: count_parked(&self.sql).await?,
            listeners: Arc::new(endpoint::listeners(&self.sql).await?),
        });
        Ok(())
    }

    /// Writes what is to be written and forgets what was loaded, so that statements can be sent that look at rows or
    /// change them by themselves.
    pub async fn settle(&mut self) -> Result<()> {
        self.note_fronts();
        let sheets = std::mem::take(&mut self.sheets);
        let mut flight = Flight::default();
        sheets.write(&mut flight);
        if flight.is_empty() { Ok(()) } else { flight.run(&self.sql).await }
    }

    async fn load(&mut self, needs: Needs) -> Result<()> {
        let Self { sql, sheets, .. } = self;
        tokio::try_join!(
            biased;
            sheets.messages.load(sql, needs.messages),
            sheets.events.load(sql, needs.events),
            sheets.list.load(sql, needs.list),
        )
        .map(drop)
    }
}

async fn count_parked(sql: &Session) -> Result<HashMap<i64, usize>> {
    let rows = sql.rows("SELECT connection, count(*) FROM parked GROUP BY connection", &[]).await?;
    rows.iter().map(|row| Ok((cell(row, 0)?, cell::<i64>(row, 1)? as usize))).collect()
}

impl Sheets {
    fn write<'v>(&'v self, flight: &mut Flight<'v>) {
        self.messages.write(flight);
        self.events.write(flight);
        self.list.write(flight);
        self.reviews.write(flight);
        self.trail.write(flight);
    }
}

// ── one operation ───────────────────────────────────────────────────────────────────────────────────────────

/// What an operation gives, later.
pub(super) type Doing<'t, T> = Pin<Box<dyn Future<Output = Result<T>> + 't>>;

/// What kind of operation it is: decides what happens to it when the database is slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Something new, for which somebody waits: given up if its turn does not come soon.
    Call,
    /// Whatever waits as long as it takes.
    Work,
}

/// What an operation is made of. It is written as functions of its arguments, so that it can be run again.
pub(super) struct Operation<A, T> {
    /// Its arguments.
    pub arguments: A,
    /// What kind it is.
    pub kind: Kind,
    /// How many messages, receipts or tries it is about.
    pub weight: fn(&A) -> usize,
    /// What it will look at, as far as that is known now; `None` if it looks for its rows by itself.
    pub needs: Option<fn(&A, &Tx, &mut Needs)>,
    /// Runs it.
    pub run: for<'t> fn(&'t mut Tx, &'t A) -> Doing<'t, T>,
}

/// One operation on its way through the writer.
trait Work: Send {
    /// Its turn has come. `false` if who asked has given up.
    fn start(&mut self) -> bool;
    fn weight(&self) -> usize;
    /// `false` if it looks for its rows by itself.
    fn needs(&self, tx: &Tx, needs: &mut Needs) -> bool;
    fn run<'t>(&'t mut self, tx: &'t mut Tx) -> Doing<'t, ()>;
    fn answer(self: Box<Self>, committed: Result<()>);
}

struct Write<A, T> {
    operation: Operation<A, T>,
    /// For calls: whether its turn has come.
    turn: Option<Arc<Turn>>,
    result: Option<T>,
    reply: oneshot::Sender<Result<T>>,
}

impl<A: Send, T: Send> Work for Write<A, T> {
    fn start(&mut self) -> bool {
        self.turn.take().is_none_or(|turn| turn.begin())
    }

    fn weight(&self) -> usize {
        (self.operation.weight)(&self.operation.arguments)
    }

    fn needs(&self, tx: &Tx, needs: &mut Needs) -> bool {
        let Some(name) = self.operation.needs else { return false };
        name(&self.operation.arguments, tx, needs);
        true
    }

    fn run<'t>(&'t mut self, tx: &'t mut Tx) -> Doing<'t, ()> {
        Box::pin(async move {
            self.result = None;
            self.result = Some((self.operation.run)(tx, &self.operation.arguments).await?);
            Ok(())
        })
    }

    fn answer(self: Box<Self>, committed: Result<()>) {
        let Self { result, reply, .. } = *self;
        let result = committed
            .and_then(|()| result.ok_or_else(|| Error::Unavailable("the writer gave no result".to_owned())));
        // Who asked may have gone away; what was committed stays committed.
        drop(reply.send(result));
    }
}

/// Runs it to its end or to its panic. A decision that panics is a bug of ours; it fails its own operation and nobody
/// else's.
async fn guarded<T>(doing: impl Future<Output = Result<T>>) -> Result<T> {
    let mut doing = pin!(doing);
    std::future::poll_fn(move |context| {
        let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| doing.as_mut().poll(context)));
        polled.unwrap_or_else(|_| {
            std::task::Poll::Ready(Err(Error::Corrupt("an operation panicked; see the log".to_owned())))
        })
    })
    .await
}

// ── the writer ──────────────────────────────────────────────────────────────────────────────────────────────

/// Whether this process may still write.
#[derive(Debug, Default)]
struct Condition {
    broken: watch::Sender<Option<Error>>,
}

impl Condition {
    fn check(&self) -> Result<()> {
        self.broken.borrow().clone().map_or(Ok(()), Err)
    }

    fn breaks(&self, error: &Error) {
        tracing::error!(%error, "nothing is written any more");
        self.broken.send_replace(Some(error.clone()));
    }

    async fn until_broken(&self) -> Error {
        let mut broken = self.broken.subscribe();
        let why = broken.wait_for(Option::is_some).await.ok().and_then(|error| error.clone());
        match why {
            Some(error) => error,
            // The store is gone: nothing can break any more.
            None => std::future::pending().await,
        }
    }
}

/// The writing thread.
#[derive(Debug)]
pub(super) struct Writer {
    queue: mpsc::Sender<Box<dyn Work>>,
    condition: Arc<Condition>,
    closing: watch::Sender<bool>,
    closed: tokio::sync::Mutex<Option<oneshot::Receiver<()>>>,
}

impl Writer {
    /// Opens the session and prepares it with `first`, which runs before anything is written.
    pub fn start(
        options: &Options,
        looked: Arc<Looked>,
        guard: Arc<Guard>,
        fellowship: Arc<Fellowship>,
    ) -> Result<Self> {
        let (queue, waiting) = mpsc::channel::<Box<dyn Work>>(WRITES_WAITING);
        let (closing, asked) = watch::channel(false);
        let (done, closed) = oneshot::channel();
        let callers = tokio::runtime::Handle::try_current()
            .map_err(|_| Error::Unavailable("the store must be opened inside a runtime".to_owned()))?;
        let options = options.clone();
        let condition = Arc::<Condition>::default();
        let watched = Arc::clone(&condition);
        in_a_thread("store-writer", async move |opened| {
            let mut writer =
                Writing { options, looked, guard, fellowship, callers, condition, waiting: None };
            match writer.open().await {
                Err(error) => opened(Err(error)),
                Ok(tx) => {
                    opened(Ok(()));
                    writer.run(tx, waiting, asked).await;
                }
            }
            done.send(()).ok();
        })?;
        Ok(Self { queue, condition: watched, closing, closed: tokio::sync::Mutex::new(Some(closed)) })
    }

    /// Runs an operation in the next transaction and answers once that is committed.
    pub async fn run<A, T>(&self, operation: Operation<A, T>) -> Result<T>
    where
        A: Send + 'static,
        T: Send + 'static,
    {
        self.condition.check()?;
        let (reply, mut answer) = oneshot::channel();
        let turn = (operation.kind == Kind::Call).then(Arc::<Turn>::default);
        let work = Box::new(Write { operation, turn: turn.clone(), result: None, reply });
        let answered = async {
            self.queue.send(work).await.map_err(|_| closing())?;
            (&mut answer).await.map_err(|_| closing())?
        };
        let Some(turn) = turn else { return answered.await };
        match tokio::time::timeout(CALL_WAIT, answered).await {
            Ok(answered) => answered,
            // Its turn has not come, and will not: nothing was or will be written.
            Err(_) if turn.give_up() => {
                Err(Error::Unavailable("the database is slow, and too much waits for it".to_owned()))
            }
            // It is being written, and only the commit can say what becomes of it.
            Err(_) => answer.await.map_err(|_| closing())?,
        }
    }

    /// Comes back when this process may not write any more, with the reason.
    pub async fn until_broken(&self) -> Error {
        self.condition.until_broken().await
    }

    /// Finishes what waits and ends the session.
    pub async fn close(&self) -> Result<()> {
        self.closing.send_replace(true);
        if let Some(closed) = self.closed.lock().await.take() {
            drop(closed.await);
        }
        Ok(())
    }
}

fn closing() -> Error {
    Error::Unavailable("the store is closing".to_owned())
}

/// Starts a thread with a runtime of its own, and waits until what runs in it says that it is ready, or why not.
fn in_a_thread<F>(name: &str, work: F) -> Result<()>
where
    F: AsyncFnOnce(Box<dyn FnOnce(Result<()>)>) + Send + 'static,
{
    let (opened, ready) = std::sync::mpsc::sync_channel(1);
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Err(error) => drop(opened.send(Err(Error::Unavailable(format!("no runtime: {error}"))))),
                Ok(runtime) => {
                    let local = tokio::task::LocalSet::new();
                    let opened = Box::new(move |result| drop(opened.send(result)));
                    local.block_on(&runtime, work(opened));
                }
            }
        })
        .map_err(|error| Error::Unavailable(format!("the thread {name} cannot be started: {error}")))?;
    ready.recv().unwrap_or_else(|_| Err(Error::Unavailable(format!("the thread {name} ended"))))
}

/// The operation, if it is still wanted.
fn started(mut work: Box<dyn Work>) -> Option<Box<dyn Work>> {
    work.start().then_some(work)
}

type Group = Vec<Box<dyn Work>>;
type Answers = Vec<(Box<dyn Work>, Result<()>)>;

/// A transaction whose commit was asked for.
struct Asked {
    transaction: String,
    era: String,
}

/// Why a group was not committed.
enum Failed {
    /// This operation of it could not be done.
    Operation(usize, Error),
    /// Some operation of it cannot be written, and nobody knows which.
    Some(Error),
    /// The session broke before the commit was asked for: nothing was done.
    Lost(Error),
    /// The session broke while the commit was asked for: this transaction may have been committed.
    Unknown(Asked, Error),
}

/// The writer in its thread.
struct Writing {
    options: Options,
    looked: Arc<Looked>,
    guard: Arc<Guard>,
    fellowship: Arc<Fellowship>,
    /// Where answers are given: one task for a whole group costs less than a wake-up for each.
    callers: tokio::runtime::Handle,
    condition: Arc<Condition>,
    /// What waits to be sent, once somebody asked: kept from one session to the next.
    waiting: Option<Arc<Waiting>>,
}

impl Writing {
    async fn open(&mut self) -> Result<Tx> {
        let sql = Session::open(&self.options.server.0).await?;
        sql.check_promises().await?;
        migration::check(&sql).await?;
        copy::check(&sql).await?;
        if self.options.served && !sql.value::<bool>(SERVING, &[]).await? {
            return Err(Error::Unavailable(
                "this database is being copied or changed as a whole: wait for that to end".to_owned(),
            ));
        }
        sql.prepare(&[TURN, WHO, PLACES]).await?;
        let number = news::number(&sql, self.options.served).await?;
        self.fellowship.writer.store(number, Ordering::Release);
        let era = sql.value::<String>(ERA, &[]).await?;
        let ids = self.fellowship.node().map_or(STORE_NODE, |(_, number)| node::STORE_NUMBERS + number);
        let memory = Memory {
            loaded: None,
            ids: Sequence::new(ids),
            turn: None,
            others_wrote: false,
            versions: Versions::default(),
            list_changed: false,
            parked_changed: false,
            tallies: Tallies::default(),
            line: Line::default(),
            membership: None,
            waiting: self.waiting.clone(),
            recounts: self.waiting.is_some(),
            changes: Changes::default(),
            crashes: Crashes::default(),
            parked_max: self.options.parked_max,
        };
        // Whatever was looked at before this session may have changed.
        self.looked.renew();
        let (looked, guard) = (Arc::clone(&self.looked), Arc::clone(&self.guard));
        let fellowship = Arc::clone(&self.fellowship);
        let paces = Arc::clone(&self.options.paces);
        Ok(Tx { sql, sheets: Sheets::default(), looked, paces, guard, memory, number, era, fellowship })
    }

    async fn run(
        mut self,
        tx: Tx,
        mut waiting: mpsc::Receiver<Box<dyn Work>>,
        mut asked: watch::Receiver<bool>,
    ) {
        let mut open = Some(tx);
        let mut promised_at = tokio::time::Instant::now();
        loop {
            let first = tokio::select! {
                biased;
                work = waiting.recv() => work,
                _ = asked.wait_for(|asked| *asked) => None,
            };
            let Some(first) = first else { break };
            if let Some(tx) = open.as_mut().filter(|_| promised_at.elapsed() > PROMISES_EVERY) {
                promised_at = tokio::time::Instant::now();
                let looked = tokio::time::timeout(ROLLBACK_TIMEOUT, tx.sql.check_promises()).await;
                if let Err(error) = looked.unwrap_or_else(|_| Err(silent())) {
                    tracing::error!(%error, "the PostgreSQL server may not be written to any more");
                    first.answer(Err(error));
                    give_up(&mut open);
                    open = self.reopen(&mut waiting, &mut asked).await;
                    match open {
                        Some(_) => continue,
                        None => break,
                    }
                }
            }
            if let Some(tx) = open.as_mut() {
                tx.take_turn().await;
            }
            let mut weight = first.weight();
            let mut group: Group = started(first).into_iter().collect();
            while group.len() < GROUP_MAX && weight < WEIGHT_MAX {
                match waiting.try_recv() {
                    Ok(work) => {
                        weight += work.weight();
                        group.extend(started(work));
                    }
                    Err(_) => break,
                }
            }
            if !group.is_empty() {
                let answers = self.commit(&mut open, group).await;
                self.callers.spawn(async move {
                    for (work, outcome) in answers {
                        work.answer(outcome);
                    }
                });
            }
            if let Some(tx) = open.as_mut() {
                self.waiting.clone_from(&tx.memory.waiting);
                // Nobody wanted it any more.
                if tx.memory.turn.take().is_some() && !rolled_back(&tx.sql).await {
                    give_up(&mut open);
                }
            }
            if open.is_none() {
                open = self.reopen(&mut waiting, &mut asked).await;
                if open.is_none() {
                    break;
                }
            }
        }
        waiting.close();
        if let Some(tx) = open {
            if self.options.served {
                // The server may take a moment to see that the session ends; the next process need not wait for that.
                drop(tx.sql.value::<bool>(SERVED_NO_MORE, &[]).await);
            }
            tx.sql.close().await;
        }
    }

    /// Tries to reach the server until it can be, and answers meanwhile that it cannot. `None` once the store closes.
    async fn reopen(
        &mut self,
        waiting: &mut mpsc::Receiver<Box<dyn Work>>,
        asked: &mut watch::Receiver<bool>,
    ) -> Option<Tx> {
        let mut pause = Duration::ZERO;
        let mut last = Error::Unavailable("the PostgreSQL server is gone".to_owned());
        loop {
            let this = &mut *self;
            let mut attempt = Box::pin(async move {
                tokio::time::sleep(pause).await;
                this.open().await
            });
            let opened = loop {
                tokio::select! {
                    opened = &mut attempt => break opened,
                    work = waiting.recv() => match work {
                        Some(work) => work.answer(Err(last.clone())),
                        None => return None,
                    },
                    _ = asked.wait_for(|asked| *asked) => return None,
                }
            };
            match opened {
                Ok(tx) => {
                    tracing::info!("the PostgreSQL server answers again");
                    return Some(tx);
                }
                Err(error) => {
                    if pause.is_zero() {
                        tracing::warn!(%error, "the PostgreSQL server cannot be used; trying again");
                    }
                    last = error;
                    pause = (pause * 2).clamp(FIRST_PAUSE, LAST_PAUSE);
                }
            }
        }
    }

    /// Commits a group, as a whole if that can be done. What fails is done alone, between what came before and after
    /// it, so that nothing else fails with it.
    async fn commit(&mut self, open: &mut Option<Tx>, group: Group) -> Answers {
        let mut answers = Answers::new();
        let mut groups = VecDeque::from([group]);
        while let Some(mut group) = groups.pop_front() {
            if let Err(broken) = self.condition.check() {
                answers.extend(group.into_iter().map(|work| (work, Err(broken.clone()))));
                continue;
            }
            let Some(tx) = open.as_mut() else {
                let gone = Error::Unavailable("the connection to the PostgreSQL server is lost".to_owned());
                answers.extend(group.into_iter().map(|work| (work, Err(gone.clone()))));
                continue;
            };
            let outcome = match transact(tx, &mut group).await {
                Ok(()) => Ok(()),
                Err(Failed::Some(error @ Error::Expelled(_))) => {
                    self.condition.breaks(&error);
                    Err(error)
                }
                Err(Failed::Operation(_, error) | Failed::Some(error)) if group.len() == 1 => Err(error),
                Err(Failed::Operation(n, _)) => {
                    let after = group.split_off(n + 1);
                    let alone = group.split_off(n);
                    let parts = [after, alone, group].into_iter().filter(|part| !part.is_empty());
                    parts.for_each(|part| groups.push_front(part));
                    continue;
                }
                Err(Failed::Some(_)) => {
                    group.into_iter().rev().for_each(|work| groups.push_front(vec![work]));
                    continue;
                }
                Err(Failed::Lost(error)) => {
                    give_up(open);
                    Err(error)
                }
                Err(Failed::Unknown(asked, error)) => {
                    give_up(open);
                    if self.verdict(open, &asked).await { Ok(()) } else { Err(error) }
                }
            };
            answers.extend(group.into_iter().map(|work| (work, outcome.clone())));
        }
        answers
    }

    /// Whether a transaction was committed whose commit was never answered. Waits for the server to come back; after
    /// that the answer is not worth waiting for, and callers hear of an error though it may have been done. So they do
    /// after a crash of the server, since the number of a transaction that left no trace is given to another one then.
    async fn verdict(&mut self, open: &mut Option<Tx>, asked: &Asked) -> bool {
        let asking = async {
            let mut pause = FIRST_PAUSE;
            loop {
                match self.open().await {
                    Ok(tx) if tx.era != asked.era => return (Some(tx), false),
                    Ok(tx) => {
                        let status = tx
                            .sql
                            .value::<Option<String>>(
                                "SELECT pg_xact_status($1::text::xid8)",
                                &[&asked.transaction],
                            )
                            .await;
                        match status.as_ref().map(Option::as_deref) {
                            // The server has not noticed yet that we went away.
                            Ok(Some("in progress")) => tx.sql.close().await,
                            Ok(Some("committed")) => return (Some(tx), true),
                            Ok(_) => return (Some(tx), false),
                            Err(_) => tx.sql.abandon(),
                        }
                    }
                    Err(error) => tracing::debug!(%error, "the PostgreSQL server does not answer yet"),
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LAST_PAUSE);
            }
        };
        match tokio::time::timeout(VERDICT_TIMEOUT, asking).await {
            Ok((tx, done)) => {
                *open = tx;
                done
            }
            Err(_) => false,
        }
    }
}

fn give_up(open: &mut Option<Tx>) {
    if let Some(tx) = open.take() {
        tx.looked.renew();
        tx.sql.abandon();
    }
}

/// Runs a group, and again while it crashes at single things, until it leaves those out.
async fn transact(tx: &mut Tx, group: &mut [Box<dyn Work>]) -> std::result::Result<(), Failed> {
    tx.memory.crashes.clear();
    loop {
        let result = transact_once(tx, group).await;
        let rolled_back = matches!(result, Err(Failed::Operation(..) | Failed::Some(_)));
        if !rolled_back || !tx.memory.crashes.is_to_be_repeated() {
            return result;
        }
    }
}

async fn transact_once(tx: &mut Tx, group: &mut [Box<dyn Work>]) -> std::result::Result<(), Failed> {
    let mut committing = None;
    tx.memory.changes.clear();
    tx.memory.line = Line::default();
    tx.memory.parked_changed = false;
    tx.memory.membership = None;
    let within = tokio::time::timeout(GROUP_TIMEOUT, attempt(tx, group, &mut committing)).await;
    tx.fronts().came();
    let (result, answers) = match within {
        Ok(result) => (result, true),
        Err(_) => (Err(Failed::Some(too_long())), false),
    };
    // Before anybody hears of this commit. After a failure, what was looked at may never have been true.
    if std::mem::take(&mut tx.memory.list_changed) || result.is_err() {
        tx.looked.renew();
    }
    let Err(failed) = result else {
        if let Some(node) = tx.memory.membership.take() {
            if let Some((_, number)) = &node {
                tx.memory.ids = Sequence::new(node::STORE_NUMBERS + number);
                // Ids go on after those that others made.
                tx.memory.loaded = None;
            }
            *tx.fellowship.node.lock().expect("nothing panics while it holds this") = node;
        }
        if let Some(waiting) = &tx.memory.waiting {
            waiting.apply(&mut tx.memory.changes);
        }
        if tx.memory.line.all_fronts {
            // Who looked meanwhile did not see what was moved.
            tx.fronts().forget();
        }
        return Ok(());
    };
    // What was seen to be gone may be back.
    tx.fronts().forget();
    tx.memory.loaded = None;
    tx.memory.tallies = Tallies::default();
    tx.sheets = Sheets::default();
    if answers && rolled_back(&tx.sql).await {
        return Err(failed);
    }
    Err(match (failed, committing) {
        // Whoever joins or leaves begins anew.
        (Failed::Operation(_, error) | Failed::Some(error), Some(transaction))
            if tx.memory.membership.is_none() =>
        {
            Failed::Unknown(Asked { transaction, era: tx.era.clone() }, error)
        }
        (Failed::Operation(_, error) | Failed::Some(error), _) => Failed::Lost(error),
        (other, _) => other,
    })
}

async fn rolled_back(sql: &Session) -> bool {
    tokio::time::timeout(ROLLBACK_TIMEOUT, sql.command("ROLLBACK")).await.is_ok_and(|done| done.is_ok())
}

fn too_long() -> Error {
    Error::Unavailable("the PostgreSQL server takes too long".to_owned())
}

/// Runs the group in one transaction. `committing` gets the transaction's number once its commit is asked for.
async fn attempt(
    tx: &mut Tx,
    group: &mut [Box<dyn Work>],
    committing: &mut Option<String>,
) -> std::result::Result<(), Failed> {
    // Who looks for rows alone comes first, on empty sheets.
    let mut needs = Needs::default();
    let mut by_themselves = Vec::new();
    let mut together = Vec::new();
    for (n, work) in group.iter().enumerate() {
        if work.needs(tx, &mut needs) { together.push(n) } else { by_themselves.push(n) }
    }
    let needs = if by_themselves.is_empty() { needs } else { Needs::default() };
    let transaction = guarded(begin(tx, needs)).await.map_err(Failed::Some)?;
    for n in &by_themselves {
        tx.settle().await.map_err(Failed::Some)?;
        guarded(group[*n].run(tx)).await.map_err(|error| Failed::Operation(*n, error))?;
    }
    for _ in 0..LOADS_MAX {
        let mut needs = Needs::default();
        for n in &together {
            group[*n].needs(tx, &mut needs);
        }
        if needs.is_empty() {
            break;
        }
        guarded(tx.load(needs)).await.map_err(Failed::Some)?;
    }
    for n in &together {
        guarded(group[*n].run(tx)).await.map_err(|error| Failed::Operation(*n, error))?;
    }
    tx.note_fronts();
    let sheets = std::mem::take(&mut tx.sheets);
    let mut flight = Flight::default();
    if tx.memory.others_wrote {
        flight.statement("SELECT setval('last_writer', $1)", values![tx.number]);
    }
    sheets.write(&mut flight);
    quota::write(&mut flight, &tx.memory.tallies.quotas.take_changed());
    spend::write(&mut flight, &tx.memory.tallies.spends.take_changed());
    let told = tell(tx, &mut flight);
    flight.command("COMMIT");
    *committing = Some(transaction);
    flight.run(&tx.sql).await.map_err(Failed::Some)?;
    tx.memory.versions = told;
    Ok(())
}

/// Counts what this transaction changes, and tells other nodes. Gives the versions as they are with its commit: nobody
/// else changes them while we have the turn.
fn tell(tx: &Tx, flight: &mut Flight<'_>) -> Versions {
    let memory = &tx.memory;
    let mut versions = memory.versions;
    let has_peers = !tx.is_node() || tx.fellowship.has_peers.load(Ordering::Acquire) || memory.line.nodes;
    let line = memory.line.write(tx.number, &memory.changes, memory.list_changed).filter(|_| has_peers);
    if memory.line.settings {
        flight.command("SELECT nextval('settings_version')");
        versions.settings += 1;
    }
    if memory.parked_changed {
        flight.command("SELECT nextval('parked_version')");
        versions.parked += 1;
    }
    if memory.list_changed {
        versions.list += 1;
        match line {
            Some(line) => flight.statement(news::TELL_LIST, values![line]),
            None => flight.command("SELECT nextval('list_version')"),
        }
    } else if let Some(line) = line {
        flight.statement(news::TELL, values![line]);
    }
    versions
}

/// Begins a transaction, waits for the turn to write unless we have it, and loads what was named. Gives the transaction's
/// number.
///
/// Everything is sent at once and done in this order: what is loaded is loaded after the turn was taken. That holds
/// because the first statements were prepared when the session was opened, and nothing is asked for before what stands
/// before it (`biased`); so it is also the first failure that is told, and not that nothing was done after it.
async fn begin(tx: &mut Tx, needs: Needs) -> Result<String> {
    let node = tx.node();
    let turn = tx.memory.turn.take().transpose()?;
    let Tx { sql, sheets, .. } = &mut *tx;
    let who: [Value<'_>; 1] = [&node];
    let loading = async {
        tokio::try_join!(
            biased;
            sheets.messages.load(sql, needs.messages),
            sheets.events.load(sql, needs.events),
            sheets.list.load(sql, needs.list),
        )
    };
    let (row, places) = if turn.is_some() {
        // Others write too, so the places are looked at with the rest.
        let (row, places, _) = tokio::try_join!(biased; sql.one(WHO, &who), sql.one(PLACES, &[]), loading)?;
        (row, Some(places))
    } else {
        let taking = sql.execute(TURN, &[]);
        let begin = sql.command("BEGIN");
        let ((), _, row, _) = tokio::try_join!(biased; begin, taking, sql.one(WHO, &who), loading)?;
        (row, None)
    };
    if !cell::<bool>(&row, 5)? {
        return Err(node::expelled());
    }
    let last_writer: i64 = cell(&row, 1)?;
    let now = Versions { list: cell(&row, 2)?, settings: cell(&row, 3)?, parked: cell(&row, 4)? };
    let before = std::mem::replace(&mut tx.memory.versions, now);
    if now.list != before.list {
        tx.looked.renew();
    }
    tx.memory.others_wrote = last_writer != tx.number;
    if tx.memory.others_wrote {
        others_wrote(tx, last_writer, before, places).await?;
    }
    if tx.memory.loaded.is_none() {
        tx.remember().await?;
    }
    if std::mem::take(&mut tx.memory.recounts)
        && let Some(waiting) = &tx.memory.waiting
    {
        waiting.set(message::count_waiting(&tx.sql).await?);
    }
    cell(&row, 0)
}

/// Somebody else wrote since: what was remembered is looked at again.
async fn others_wrote(tx: &mut Tx, last_writer: i64, before: Versions, places: Option<Row>) -> Result<()> {
    tx.memory.tallies = Tallies::default();
    let is_node = last_writer % 2 == 0;
    let now = tx.memory.versions;
    if tx.memory.loaded.is_some() {
        let last_event = match places {
            Some(places) => tx.pass_places(&places)?,
            None => tx.look_at_places().await?,
        };
        tx.loaded().last_event = last_event;
        if now.settings != before.settings {
            let listeners = Arc::new(endpoint::listeners(&tx.sql).await?);
            tx.loaded().listeners = listeners;
        }
        if now.parked != before.parked {
            tx.loaded().parked = count_parked(&tx.sql).await?;
        }
    }
    if !is_node {
        tx.fronts().forget();
    }
    // What nodes changed of this they tell. Others may have begun before there was anybody to tell it to.
    tx.memory.recounts |= !is_node;
    Ok(())
}

// ── the readers ─────────────────────────────────────────────────────────────────────────────────────────────

/// What a read works with.
pub(super) struct Rx<'s> {
    pub sql: &'s Session,
    /// Where the queues begin.
    pub fronts: &'s Arc<Fronts>,
}

/// What a read is made of.
pub(super) struct Reading<A, T> {
    /// Its arguments.
    pub arguments: A,
    /// Whether it is one statement only: several must see the same moment.
    pub single: bool,
    /// Runs it.
    pub run: for<'r> fn(&'r Rx<'r>, &'r A) -> Doing<'r, T>,
}

/// One read on its way.
trait Read: Send {
    /// Reads and remembers the answer. `false` if the session cannot be used again.
    fn run<'r>(&'r mut self, sql: &'r Session) -> Pin<Box<dyn Future<Output = bool> + 'r>>;
    fn refuse(&mut self, error: Error);
    fn answer(self: Box<Self>);
}

struct Question<A, T> {
    reading: Reading<A, T>,
    fellowship: Arc<Fellowship>,
    result: Result<T>,
    reply: oneshot::Sender<Result<T>>,
}

impl<A: Send, T: Send> Read for Question<A, T> {
    fn run<'r>(&'r mut self, sql: &'r Session) -> Pin<Box<dyn Future<Output = bool> + 'r>> {
        Box::pin(async move {
            let Reading { arguments, single, run } = &self.reading;
            let rx = Rx { sql, fronts: &self.fellowship.fronts };
            let reading = async {
                if *single {
                    return (guarded(run(&rx, arguments)).await, true);
                }
                let begin = sql.command("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
                let found =
                    tokio::try_join!(biased; begin, guarded(run(&rx, arguments))).map(|((), found)| found);
                let ended = sql.command(if found.is_ok() { "COMMIT" } else { "ROLLBACK" }).await;
                (found, ended.is_ok())
            };
            let usable;
            (self.result, usable) = tokio::time::timeout(READ_TIMEOUT, reading)
                .await
                .unwrap_or_else(|_| (Err(too_long()), false));
            usable && !sql.is_closed()
        })
    }

    fn refuse(&mut self, error: Error) {
        self.result = Err(error);
    }

    fn answer(self: Box<Self>) {
        drop(self.reply.send(self.result));
    }
}

/// The reading thread.
#[derive(Debug)]
pub(super) struct Readers {
    queue: mpsc::Sender<Box<dyn Read>>,
    fellowship: Arc<Fellowship>,
}

impl Readers {
    pub fn start(options: &Options, fellowship: Arc<Fellowship>) -> Result<Self> {
        let (queue, waiting) = mpsc::channel::<Box<dyn Read>>(READS_WAITING);
        let (server, sessions) = (options.server.0.clone(), options.readers.max(1));
        in_a_thread("store-reader", async move |opened| {
            opened(Ok(()));
            read(server, sessions, waiting).await;
        })?;
        Ok(Self { queue, fellowship })
    }

    /// Runs a read that sees the newest commit and nothing later.
    pub async fn run<A, T>(&self, reading: Reading<A, T>) -> Result<T>
    where
        A: Send + 'static,
        T: Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let result = Err(Error::Unavailable("the read was not done".to_owned()));
        let question =
            Box::new(Question { reading, fellowship: Arc::clone(&self.fellowship), result, reply });
        self.queue.try_send(question).map_err(|_| Error::Unavailable("too many reads wait".to_owned()))?;
        answer.await.map_err(|_| closing())?
    }
}

/// Gives each read a session of its own, at most so many at a time.
async fn read(server: tokio_postgres::Config, sessions: usize, mut waiting: mpsc::Receiver<Box<dyn Read>>) {
    let server = std::rc::Rc::new(server);
    let idle = std::rc::Rc::new(std::cell::RefCell::new(Vec::<Session>::new()));
    let places = Arc::new(tokio::sync::Semaphore::new(sessions));
    while let Some(mut question) = waiting.recv().await {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
        let (server, idle) = (std::rc::Rc::clone(&server), std::rc::Rc::clone(&idle));
        tokio::task::spawn_local(async move {
            let kept = idle.borrow_mut().pop();
            if let Some(session) = answer_with(kept, &server, &mut question).await {
                idle.borrow_mut().push(session);
            }
            drop(place);
            question.answer();
        });
    }
    let kept: Vec<Session> = idle.borrow_mut().drain(..).collect();
    for session in kept {
        session.close().await;
    }
}

/// Asks on the session that was kept, and once more on a new one if that had broken meanwhile. Gives the session back
/// if it can be used again.
async fn answer_with(
    kept: Option<Session>,
    server: &tokio_postgres::Config,
    question: &mut Box<dyn Read>,
) -> Option<Session> {
    if let Some(session) = kept {
        if question.run(&session).await {
            return Some(session);
        }
        let is_gone = session.is_closed();
        session.abandon();
        if !is_gone {
            return None;
        }
    }
    match Session::open(server).await {
        Err(error) => {
            question.refuse(error);
            None
        }
        Ok(session) if question.run(&session).await => Some(session),
        Ok(session) => {
            session.abandon();
            None
        }
    }
}

/// A page of rows that have ids, the last made first. The query names `$1` the account, `$2` the environment, `$3` the id
/// before which, and `$4` how many.
pub(super) async fn newest<T>(
    rx: &Rx<'_>,
    sql: &'static str,
    realm: Realm,
    page: &Page,
    read: impl Fn(&Row) -> Result<T>,
    key: impl Fn(&T) -> i64,
) -> Result<Paged<T>> {
    let (account, is_live) = (realm.account.key(), live(realm.environment));
    let before = page.before.unwrap_or(i64::MAX);
    let rows = rx.sql.rows(sql, &[&account, &is_live, &before, &(page.limit as i64 + 1)]).await?;
    let items = rows.iter().map(read).collect::<Result<Vec<_>>>()?;
    Ok(Paged::of(items, page, key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Backend;
    use crate::postgres::Postgres;
    use tidings_cluster::Cluster;

    type Things = (Vec<i64>, &'static [i64]);

    /// Writes a line for each of these things and crashes at some; gives those that were written and those left out.
    fn write<'t>(tx: &'t mut Tx, (things, bad): &'t Things) -> Doing<'t, (Vec<i64>, Vec<i64>)> {
        Box::pin(async move {
            let mut written = Vec::new();
            for &n in things {
                let handle = async |tx: &mut Tx| {
                    let sql = "INSERT INTO setting (name, value) VALUES ($1, '')";
                    tx.sql.execute(sql, &[&n.to_string()]).await?;
                    assert!(!bad.contains(&n), "as planned");
                    Ok(n)
                };
                written.extend(tx.contain(MessageId::from_key(n), handle).await?);
            }
            Ok((written, tx.set_aside().into_iter().map(MessageId::key).collect()))
        })
    }

    async fn run(
        store: &Postgres,
        things: std::ops::RangeInclusive<i64>,
        bad: &'static [i64],
    ) -> Result<(Vec<i64>, Vec<i64>)> {
        let arguments = (things.collect(), bad);
        store
            .writer
            .run(Operation { arguments, kind: Kind::Work, weight: |_| 1, needs: None, run: write })
            .await
    }

    /// Sees that a queue is empty before this place, and fails.
    fn look_and_fail<'t>(tx: &'t mut Tx, place: &'t i64) -> Doing<'t, ()> {
        Box::pin(async move {
            tx.fronts().look().found(Queue::Expiry, Some(*place));
            Err(Error::Unavailable("as planned".to_owned()))
        })
    }

    /// P-06
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_a_transaction_saw_that_was_taken_back_moves_no_front() {
        let Some(cluster) = Cluster::here() else { return };
        let database = cluster.database();
        let options = Options::at(&database.address()).expect("an address");
        Postgres::migrate(&options).await.expect("migrated");
        let store = Postgres::open(&options).expect("it opens");
        let operation =
            Operation { arguments: 50, kind: Kind::Work, weight: |_| 1, needs: None, run: look_and_fail };
        assert!(store.writer.run(operation).await.is_err());
        assert_eq!(store.readers.fellowship.fronts.look().front(Queue::Expiry), i64::MIN);
        store.close().await.expect("closed");
    }

    /// P-14
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_crashes_is_left_out_and_everything_else_is_committed() {
        let Some(cluster) = Cluster::here() else { return };
        let database = cluster.database();
        let options = Options::at(&database.address()).expect("an address");
        Postgres::migrate(&options).await.expect("migrated");
        let store = Postgres::open(&options).expect("it opens");
        let (first, second, third) =
            tokio::join!(run(&store, 1..=5, &[2, 4]), run(&store, 11..=15, &[]), run(&store, 21..=25, &[21]));
        assert_eq!(first.expect("committed").0, [1, 3, 5]);
        assert_eq!(second.expect("committed").0, [11, 12, 13, 14, 15]);
        assert_eq!(third.expect("committed").0, [22, 23, 24, 25]);
        let (_, left_out) = run(&store, 31..=33, &[32]).await.expect("committed");
        assert_eq!(left_out, [32]);
        // Where everything crashes it is no single thing's fault, and nothing is set aside for it.
        let all_bad: &[i64] = &[41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57];
        assert!(run(&store, 41..=57, all_bad).await.is_err());
        let rows = database.run("SELECT count(*) FROM setting WHERE name ~ '^[0-9]+$'");
        assert_eq!(rows.trim(), (3 + 5 + 4 + 2).to_string());
        store.close().await.expect("closed");
    }
}
