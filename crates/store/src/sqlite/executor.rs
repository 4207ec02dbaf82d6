//! The threads that own the connections: one that writes in groups, and a few that read.
//!
//! The writer also keeps house with the disk. When it is full, new work is refused and the reserve is released for
//! what became of old work. When it fails, nothing is written or read any more: SQLite could go on after a sync that
//! failed, but the system has forgotten what it did not write, so going on would promise what nobody can keep.

use super::Options;
use super::message::Hot;
use super::reserve::Reserve;
use super::{endpoint, quota, silence, spend};
use crate::backend::{Page, Paged, STORE_NODE};
use crate::column;
use crate::guard::Crashes;
use crate::listeners::Listeners;
use crate::looked::Looked;
use crate::recent::Recent;
use crate::silent::Silent;
use crate::tally::Tallies;
use crate::turn::{CALL_WAIT, Turn};
use crate::waiting::{ByPurpose, Changes, Waiting};
use crate::{Crashed, Error, Guard, Key, Result};
use rusqlite::config::DbConfig;
use rusqlite::ffi;
use rusqlite::{Connection, OpenFlags, Row, params};
use std::collections::{BTreeMap, HashMap};
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::id::{AccountId, MessageId, Sequence, next_place};
use tidings_domain::message::Message;
use tidings_domain::purpose::Purpose;
use tidings_domain::queue::Paces;
use tidings_domain::time::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};

/// Operations that may wait for the writer. Callers wait for a place, which slows them and bounds the memory.
const WRITES_WAITING: usize = 4_096;
/// Operations in one transaction: enough that fsync does not matter, few enough that nobody waits long.
const GROUP_MAX: usize = 1_000;
/// Reads that may wait for a reader.
const READS_WAITING: usize = 1_024;
/// How long another process (the command line) may hold the write lock: ms.
const BUSY_TIMEOUT_MS: u64 = 10_000;
/// How often a full disk is looked at again.
const ROOM_EVERY: Duration = Duration::from_secs(1);
/// Messages at their carriers that are remembered as they are stored, at most twice as many. Most are answered by their carrier, and
/// reported, before so many others came.
const REMEMBERED: usize = 2_048;
/// Statements kept prepared on each connection.
const STATEMENTS: usize = 256;

/// Opens one connection with the settings that the promises rest on.
pub(super) fn connect(options: &Options, cache_kib: u32, read_only: bool) -> Result<Connection> {
    let path = options.path.as_path();
    let mut flags = OpenFlags::SQLITE_OPEN_NO_MUTEX;
    flags |= if read_only {
        OpenFlags::SQLITE_OPEN_READ_ONLY
    } else {
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE
    };
    let connection = match &options.vfs {
        None => Connection::open_with_flags(path, flags),
        Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs.as_str()),
    }
    .map_err(|e| Error::Unavailable(format!("cannot open {}: {e}", path.display())))?;
    connection.busy_timeout(std::time::Duration::from_millis(BUSY_TIMEOUT_MS)).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // Plans do not look at the values bound: SQLite would else prepare a statement again for each new `LIMIT ?`, and
    // for each `= ?` on a table with a partial index.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(failed)?;
    if !read_only {
        // FULL: a commit is on the disk before anybody hears of it. NORMAL would lose the last ones in a power cut.
        if journal_mode(&connection, "wal").map_err(failed)? != "wal" {
            return Err(Error::Unavailable(format!(
                "{} cannot be used in WAL mode (a network file system?); put the data directory on a local disk",
                path.display()
            )));
        }
        // fullfsync: on systems where a sync stops at the disk's cache, go further. The log is written into the file
        // by the writer itself, since SQLite would keep a failure of that to itself.
        connection
            .execute_batch(
                "PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON;
                 PRAGMA foreign_keys = ON; PRAGMA wal_autocheckpoint = 0;",
            )
            .map_err(failed)?;
    }
    connection
        .execute_batch(&format!(
            "PRAGMA cache_size = -{cache_kib}; PRAGMA temp_store = MEMORY; PRAGMA mmap_size = 0;"
        ))
        .map_err(failed)?;
    Ok(connection)
}

/// Sets the journal mode; gives the one that is in force.
pub(super) fn journal_mode(connection: &Connection, wanted: &str) -> rusqlite::Result<String> {
    let mut statement = connection.prepare(&format!("PRAGMA journal_mode = {wanted}"))?;
    let mut rows = statement.query([])?;
    let mut mode = String::new();
    // To the end, because the mode is given before it is committed: asked for its first row alone, SQLite would keep to
    // itself that the commit failed, and go on in another mode.
    while let Some(row) = rows.next()? {
        mode = row.get(0)?;
    }
    Ok(mode)
}

/// What SQLite says, as the act it asks for.
pub(super) fn failed(error: rusqlite::Error) -> Error {
    use rusqlite::ErrorCode::{
        ConstraintViolation, DatabaseCorrupt, DiskFull, NotADatabase, SystemIoFailure,
    };
    let text = error.to_string();
    match error.sqlite_error_code() {
        Some(ConstraintViolation) => Error::Conflict(text),
        Some(DatabaseCorrupt | NotADatabase) => Error::Corrupt(text),
        Some(DiskFull) => Error::Full(text),
        Some(SystemIoFailure) => match error.sqlite_error().map_or(0, |error| error.extended_code) {
            // The shared memory beside the database could not grow.
            ffi::SQLITE_IOERR_SHMSIZE => Error::Full(text),
            ffi::SQLITE_IOERR_LOCK
            | ffi::SQLITE_IOERR_UNLOCK
            | ffi::SQLITE_IOERR_RDLOCK
            | ffi::SQLITE_IOERR_CHECKRESERVEDLOCK
            | ffi::SQLITE_IOERR_SHMLOCK
            | ffi::SQLITE_IOERR_BLOCKED
            | ffi::SQLITE_IOERR_ACCESS
            | ffi::SQLITE_IOERR_NOMEM => Error::Unavailable(text),
            ffi::SQLITE_IOERR_READ
            | ffi::SQLITE_IOERR_SHORT_READ
            | ffi::SQLITE_IOERR_CORRUPTFS
            | ffi::SQLITE_IOERR_DATA => Error::Corrupt(text),
            // Everything else is a write, a sync or a deletion that failed.
            _ => Error::Broken(text),
        },
        _ => match error {
            rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::Utf8Error(..)
            | rusqlite::Error::FromSqlConversionFailure(..) => Error::Corrupt(text),
            _ => Error::Unavailable(text),
        },
    }
}

/// How the disk is, as the writer found it: for the readers, and for those who watch.
#[derive(Debug, Default)]
pub(super) struct Condition {
    broken: watch::Sender<Option<Error>>,
    full: AtomicBool,
}

impl Condition {
    /// Whether there is no room for new work.
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Comes back when the disk has failed, with what it said.
    pub async fn until_broken(&self) -> Error {
        let mut broken = self.broken.subscribe();
        let why = broken.wait_for(Option::is_some).await.ok().and_then(|error| error.clone());
        match why {
            Some(error) => error,
            // The store is gone: nothing can break any more.
            None => std::future::pending().await,
        }
    }

    fn check(&self) -> Result<()> {
        self.broken.borrow().clone().map_or(Ok(()), Err)
    }

    fn breaks(&self, error: Error) {
        self.broken.send_if_modified(|broken| {
            let first = broken.is_none();
            if first {
                tracing::error!(%error, "the disk failed; nothing is written or read any more");
                *broken = Some(error);
            }
            first
        });
    }
}

/// What a write works with: the open transaction, and what the writer remembers between transactions.
pub(super) struct Tx<'c> {
    pub sql: &'c Connection,
    /// Who is known to be free of suppressions.
    pub looked: &'c Looked,
    /// The senders whose messages wait in queues of their own.
    pub paces: &'c Paces,
    guard: &'c Guard,
    memory: &'c mut Memory,
}

/// What the writer knows without asking the database.
struct Memory {
    /// Thrown away when a transaction fails or another process wrote.
    loaded: Option<Loaded>,
    ids: Sequence,
    /// Whether this transaction changed the suppression list.
    list_changed: bool,
    /// What waits to be sent, once somebody asked.
    waiting: Option<Arc<Waiting>>,
    /// How this transaction changes that.
    changes: Changes,
    crashes: Crashes,
    parked_max: usize,
    /// Thrown away when a transaction fails or another process wrote.
    tallies: Tallies,
    /// Of which numbers there may be a silence, once somebody asked; read anew when another process wrote.
    silent: Option<Silent>,
    /// Messages that were written lately, as they are stored. Thrown away when a transaction fails or another process wrote.
    messages: Recent<MessageId, Hot, REMEMBERED>,
}

impl Memory {
    /// Nothing that was remembered is certain any more.
    fn forget(&mut self) {
        self.loaded = None;
        self.tallies = Tallies::default();
        self.silent = None;
        self.messages.clear();
    }
}

struct Loaded {
    last_event: i64,
    listeners: Arc<Listeners>,
    /// Rows of parked receipts by connection.
    parked: HashMap<i64, usize>,
}

impl Tx<'_> {
    /// A place in the event log. Places are given in the order of the commits, so that a reader who follows them
    /// never skips one that commits later; within that they tell the time at which it happened.
    pub fn next_event(&mut self, at: Timestamp) -> Result<i64> {
        let loaded = self.loaded()?;
        loaded.last_event = next_place(loaded.last_event, at);
        Ok(loaded.last_event)
    }

    /// Who wants to hear of events.
    pub fn listeners(&mut self) -> Result<Arc<Listeners>> {
        Ok(Arc::clone(&self.loaded()?.listeners))
    }

    /// To be called when endpoints changed.
    pub fn forget_listeners(&mut self) -> Result<()> {
        let listeners = Arc::new(endpoint::listeners(self.sql)?);
        self.loaded()?.listeners = listeners;
        Ok(())
    }

    /// Whether any receipt is parked: nearly always not, and then nobody needs to look.
    pub fn any_parked(&mut self) -> Result<bool> {
        Ok(!self.loaded()?.parked.is_empty())
    }

    /// To be called when a receipt of this connection was parked, with its rows. Gives the number of rows by which the
    /// connection has too many now.
    pub fn note_parked(&mut self, connection: i64, rows: usize) -> Result<usize> {
        let most = self.memory.parked_max;
        let parked = self.loaded()?.parked.entry(connection).or_default();
        *parked += rows;
        Ok(parked.saturating_sub(most))
    }

    /// To be called when rows of parked receipts of this connection were deleted.
    pub fn note_unparked(&mut self, connection: i64, rows: usize) -> Result<()> {
        let all = &mut self.loaded()?.parked;
        if let Some(parked) = all.get_mut(&connection) {
            *parked = parked.saturating_sub(rows);
            if *parked == 0 {
                all.remove(&connection);
            }
        }
        Ok(())
    }

    /// Whether there may be a silence of this number: of most there is none.
    pub fn may_be_silent(&mut self, number: PhoneNumber) -> Result<bool> {
        if self.memory.silent.as_ref().is_none_or(Silent::is_worn) {
            self.memory.silent = Some(Silent::of(silence::numbers(self.sql)?));
        }
        Ok(self.memory.silent.as_ref().is_some_and(|silent| silent.may_have(number)))
    }

    /// To be called when there is a silence of this number.
    pub fn note_silent(&mut self, number: PhoneNumber) {
        if let Some(silent) = &mut self.memory.silent {
            silent.add(number);
        }
    }

    /// To be called when this message is stored so, by this transaction, and is still on its way.
    pub fn remember(&mut self, hot: Hot) {
        self.memory.messages.put(hot.message.id, hot);
    }

    /// The message as it is stored, if that is remembered. It is not remembered from here on.
    pub fn recall(&mut self, id: MessageId) -> Option<Hot> {
        self.memory.messages.take(&id)
    }

    /// Sums that are known, and written with this transaction.
    pub const fn tallies(&mut self) -> &mut Tallies {
        &mut self.memory.tallies
    }

    /// To be called when the suppression list was changed.
    pub fn note_list_changed(&mut self) {
        self.memory.list_changed = true;
    }

    /// Handles one of the things that an operation is about. If that crashes, everything in this transaction is run
    /// again, and after [`CRASHES_MAX`] crashes without this thing: then `None`, and the others go on.
    pub fn contain<T>(
        &mut self,
        key: impl Into<Key>,
        work: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<Option<T>> {
        let key = key.into();
        if self.memory.crashes.is_set_aside(key) {
            return Ok(None);
        }
        let guard = self.guard;
        match guard.once(key, || work(self)) {
            Ok(done) => done.map(Some),
            Err(Crashed) => Err(self.memory.crashes.note(key)),
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

    /// What waits to be sent, as `count` finds it now and as every commit keeps it from here on.
    pub fn waiting(
        &mut self,
        count: impl FnOnce(&Connection) -> Result<BTreeMap<AccountId, ByPurpose>>,
    ) -> Result<Arc<Waiting>> {
        let waiting = Arc::clone(self.memory.waiting.get_or_insert_default());
        waiting.set(count(self.sql)?);
        // What this transaction changed before is counted.
        self.memory.changes.clear();
        Ok(waiting)
    }

    /// An id for a row that the store makes by itself.
    pub fn next_id(&mut self, now: Timestamp) -> Result<i64> {
        self.loaded()?;
        Ok(self.memory.ids.next(now))
    }

    /// To be called when parked receipts of any connection were deleted.
    pub fn recount_parked(&mut self) -> Result<()> {
        let counted = self.count_parked()?;
        self.loaded()?.parked = counted;
        Ok(())
    }

    fn count_parked(&self) -> Result<HashMap<i64, usize>> {
        let mut statement = self
            .sql
            .prepare_cached("SELECT connection, count(*) FROM parked GROUP BY connection")
            .map_err(failed)?;
        let rows = statement
            .query_map([], |row| Ok((row.get(0)?, row.get::<_, u32>(1)? as usize)))
            .map_err(failed)?;
        rows.collect::<rusqlite::Result<_>>().map_err(failed)
    }

    fn loaded(&mut self) -> Result<&mut Loaded> {
        if self.memory.loaded.is_none() {
            let one = |sql: &str| self.sql.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(failed);
            // Ids go on after those of an earlier process and of another one, whose clocks may have been ahead.
            for newest in [
                "SELECT coalesce(max(id), 0) FROM review",
                "SELECT coalesce(max(id), 0) FROM suppression",
                "SELECT coalesce(max(id), 0) FROM audit",
                "SELECT coalesce(max(receipt), 0) FROM parked",
            ] {
                self.memory.ids.pass(one(newest)?);
            }
            self.memory.loaded = Some(Loaded {
                last_event: one("SELECT coalesce(max(seq), 0) FROM event")?,
                listeners: Arc::new(endpoint::listeners(self.sql)?),
                parked: self.count_parked()?,
            });
        }
        Ok(self.memory.loaded.as_mut().expect("it was loaded just above"))
    }
}

/// What kind of operation it is: decides what happens to it when the disk is full or slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Something new, for which somebody waits: refused while the disk is full, and given up if its turn does not
    /// come soon.
    Call,
    /// Something new that the engine does by itself, or that can be had again: refused while the disk is full.
    Work,
    /// What became of work that was taken on before: it may use the reserve, and waits as long as it takes.
    Record,
}

/// One operation on its way through the writer.
trait Work: Send {
    fn kind(&self) -> Kind;
    /// Its turn has come. `false` if who asked has given up.
    fn start(&mut self) -> bool;
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<()>;
    fn answer(self: Box<Self>, committed: Result<()>);
}

struct Write<T, F> {
    kind: Kind,
    /// For calls: whether its turn has come.
    turn: Option<Arc<Turn>>,
    operation: F,
    result: Option<T>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T, F> Work for Write<T, F>
where
    T: Send,
    F: FnMut(&mut Tx<'_>) -> Result<T> + Send,
{
    fn kind(&self) -> Kind {
        self.kind
    }

    fn start(&mut self) -> bool {
        self.turn.take().is_none_or(|turn| turn.begin())
    }

    fn run(&mut self, tx: &mut Tx<'_>) -> Result<()> {
        self.result = Some((self.operation)(tx)?);
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<()>) {
        let Self { result, reply, .. } = *self;
        let result = committed
            .and_then(|()| result.ok_or_else(|| Error::Unavailable("the writer gave no result".to_owned())));
        // Who asked may have gone away; what was committed stays committed.
        drop(reply.send(result));
    }
}

/// The writing thread.
#[derive(Debug)]
pub(super) struct Writer {
    queue: mpsc::Sender<Box<dyn Work>>,
    condition: Arc<Condition>,
    closing: watch::Sender<bool>,
    closed: tokio::sync::Mutex<Option<oneshot::Receiver<Result<()>>>>,
}

impl Writer {
    pub fn start(
        mut connection: Connection,
        options: &Options,
        (looked, guard, condition): (Arc<Looked>, Arc<Guard>, Arc<Condition>),
    ) -> Result<Self> {
        let (queue, mut waiting) = mpsc::channel::<Box<dyn Work>>(WRITES_WAITING);
        let (closing, mut asked) = watch::channel(false);
        let (done, closed) = oneshot::channel();
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|_| Error::Unavailable("the store must be opened inside a runtime".to_owned()))?;
        let logged = Arc::new(AtomicI32::new(0));
        let seen = Arc::clone(&logged);
        let hook = move |_: &mut rusqlite::hooks::Wal, pages| {
            seen.store(pages, Ordering::Relaxed);
            Ok(())
        };
        connection.wal_hook(Some(hook)).map_err(failed)?;
        let reserve = Reserve::take(&options.path, options.reserve_octets);
        condition.full.store(reserve.is_lacking(), Ordering::Relaxed);
        let mut hand = Hand {
            connection: ManuallyDrop::new(connection),
            looked,
            paces: Arc::clone(&options.paces),
            guard,
            memory: Memory {
                loaded: None,
                ids: Sequence::new(STORE_NODE),
                list_changed: false,
                parked_max: options.parked_max,
                waiting: None,
                changes: Changes::default(),
                crashes: Crashes::default(),
                tallies: Tallies::default(),
                silent: None,
                messages: Recent::default(),
            },
            version: 0,
            reserve,
            condition: Arc::clone(&condition),
            logged,
            checkpoint_pages: i32::try_from(options.checkpoint_pages).unwrap_or(i32::MAX),
        };
        std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || {
                let mut looked_at = tokio::time::Instant::now();
                loop {
                    let is_full = hand.condition.is_full();
                    // Also when work comes all the time.
                    if is_full && looked_at.elapsed() >= ROOM_EVERY {
                        hand.look_for_room();
                        looked_at = tokio::time::Instant::now();
                    }
                    let next = runtime.block_on(async {
                        tokio::select! {
                            biased;
                            work = waiting.recv() => work.map_or(Next::End, Next::Group),
                            _ = asked.wait_for(|asked| *asked) => Next::End,
                            () = tokio::time::sleep_until(looked_at + ROOM_EVERY), if is_full => Next::LookForRoom,
                        }
                    });
                    let first = match next {
                        Next::Group(first) => first,
                        Next::LookForRoom => continue,
                        Next::End => break,
                    };
                    let mut group: Vec<Box<dyn Work>> = started(first).into_iter().collect();
                    while group.len() < GROUP_MAX {
                        match waiting.try_recv() {
                            Ok(work) => group.extend(started(work)),
                            Err(_) => break,
                        }
                    }
                    let answers = hand.commit(group);
                    // One wake-up of the runtime for the whole group; there the answers cost no system call.
                    runtime.spawn(async move {
                        for (work, outcome) in answers {
                            work.answer(outcome);
                        }
                    });
                    hand.write_log_into_file();
                }
                waiting.close();
                done.send(hand.close()).ok();
            })
            .map_err(|e| Error::Unavailable(format!("cannot start the writer: {e}")))?;
        Ok(Self { queue, condition, closing, closed: tokio::sync::Mutex::new(Some(closed)) })
    }

    /// Runs an operation in the next transaction and answers once that is committed.
    pub async fn run<T, F>(&self, kind: Kind, operation: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T> + Send + 'static,
    {
        self.condition.check()?;
        let (reply, mut answer) = oneshot::channel();
        let turn = (kind == Kind::Call).then(Arc::<Turn>::default);
        let work = Box::new(Write { kind, turn: turn.clone(), operation, result: None, reply });
        let answered = async {
            self.queue.send(work).await.map_err(|_| closing())?;
            (&mut answer).await.map_err(|_| closing())?
        };
        let Some(turn) = turn else { return answered.await };
        match tokio::time::timeout(CALL_WAIT, answered).await {
            Ok(answered) => answered,
            // Its turn has not come, and will not: nothing was or will be written.
            Err(_) if turn.give_up() => {
                Err(Error::Unavailable("the disk is slow, and too much waits for it".to_owned()))
            }
            // It is being written, and only the commit can say what becomes of it.
            Err(_) => answer.await.map_err(|_| closing())?,
        }
    }

    /// Finishes what waits and closes the file.
    pub async fn close(&self) -> Result<()> {
        self.closing.send_replace(true);
        match self.closed.lock().await.take() {
            Some(closed) => closed.await.unwrap_or(Ok(())),
            None => Ok(()),
        }
    }
}

fn closing() -> Error {
    Error::Unavailable("the store is closing".to_owned())
}

/// The operation, if it is still wanted.
fn started(mut work: Box<dyn Work>) -> Option<Box<dyn Work>> {
    work.start().then_some(work)
}

/// What the writer does next.
enum Next {
    Group(Box<dyn Work>),
    LookForRoom,
    End,
}

type Answers = Vec<(Box<dyn Work>, Result<()>)>;

/// What the writing thread works with.
struct Hand {
    /// Dropped by [`Hand::close`] alone, and not at all once the disk failed: closing writes and syncs.
    connection: ManuallyDrop<Connection>,
    looked: Arc<Looked>,
    paces: Arc<Paces>,
    guard: Arc<Guard>,
    memory: Memory,
    version: i64,
    reserve: Reserve,
    condition: Arc<Condition>,
    /// Pages in the log after the last commit.
    logged: Arc<AtomicI32>,
    checkpoint_pages: i32,
}

impl Hand {
    fn commit(&mut self, group: Vec<Box<dyn Work>>) -> Answers {
        let mut answers = Answers::with_capacity(group.len());
        let mut taken = Vec::with_capacity(group.len());
        for work in group {
            match self.takes(work.kind()) {
                Ok(()) => taken.push(work),
                Err(full) => answers.push((work, Err(full))),
            }
        }
        if taken.len() > 1 && self.transact(&mut taken).is_ok() {
            answers.extend(taken.into_iter().map(|work| (work, Ok(()))));
        } else {
            // One of them failed, or there is no room for all: each for itself, so that only that one fails.
            answers.extend(taken.into_iter().map(|work| self.alone(work)));
        }
        answers
    }

    /// Whether an operation of this kind is taken, as full as the disk is.
    fn takes(&self, kind: Kind) -> Result<()> {
        match kind {
            Kind::Call | Kind::Work if self.condition.is_full() => {
                Err(Error::Full("new work waits until there is".to_owned()))
            }
            Kind::Call | Kind::Work | Kind::Record => Ok(()),
        }
    }

    fn alone(&mut self, work: Box<dyn Work>) -> (Box<dyn Work>, Result<()>) {
        let mut one = [work];
        let outcome = loop {
            if let Err(full) = self.takes(one[0].kind()) {
                break Err(full);
            }
            match self.transact(&mut one) {
                Err(Error::Full(why)) if self.reserve.release() => {
                    tracing::error!(
                        why,
                        "the disk is full: new work is refused, what is under way uses the reserve"
                    );
                    self.condition.full.store(true, Ordering::Relaxed);
                }
                outcome => break outcome,
            }
        };
        let [work] = one;
        (work, outcome)
    }

    /// Runs a group, and again while it crashes at single things, until it leaves those out.
    fn transact(&mut self, group: &mut [Box<dyn Work>]) -> Result<()> {
        self.memory.crashes.clear();
        loop {
            self.condition.check()?;
            let outside = Outside {
                connection: &self.connection,
                looked: &self.looked,
                paces: &self.paces,
                guard: &self.guard,
            };
            let result = transact(outside, &mut self.memory, &mut self.version, group);
            if let Err(error @ Error::Broken(_)) = &result {
                self.condition.breaks(error.clone());
            }
            if result.is_ok() || !self.memory.crashes.is_to_be_repeated() {
                return result;
            }
        }
    }

    /// Takes on new work again if there is room.
    fn look_for_room(&mut self) {
        if self.reserve.retake() {
            tracing::warn!("there is room on the disk again: new work is taken on");
            self.condition.full.store(false, Ordering::Relaxed);
        }
    }

    /// Writes the log into the file if it has grown enough. Readers that look at an older state keep some of it.
    fn write_log_into_file(&mut self) {
        if self.logged.load(Ordering::Relaxed) >= self.checkpoint_pages && self.condition.check().is_ok() {
            self.checkpoint("PASSIVE");
        }
    }

    fn checkpoint(&mut self, how: &str) {
        let done = self.connection.query_row(&format!("PRAGMA wal_checkpoint({how})"), [], |_| Ok(()));
        match done.map_err(failed) {
            Ok(()) => {}
            Err(error @ Error::Broken(_)) => self.condition.breaks(error),
            // It stays in the log, and the next commit tries again.
            Err(error) => tracing::debug!(%error, "the log could not be written into the file"),
        }
    }

    fn close(mut self) -> Result<()> {
        if self.condition.check().is_ok() {
            // Best effort: the next start does the same. No `PRAGMA optimize`: on a large file that is not in the
            // system's cache it reads for seconds while somebody waits for the stop, and each statement here was
            // written for one plan, which statistics could only change.
            self.checkpoint("TRUNCATE");
        }
        self.condition.check()?;
        drop(ManuallyDrop::into_inner(self.connection));
        Ok(())
    }
}

/// What a transaction works with besides the writer's memory.
#[derive(Clone, Copy)]
struct Outside<'w> {
    connection: &'w Connection,
    looked: &'w Looked,
    paces: &'w Paces,
    guard: &'w Guard,
}

fn transact(
    outside: Outside<'_>,
    memory: &mut Memory,
    version: &mut i64,
    group: &mut [Box<dyn Work>],
) -> Result<()> {
    let Outside { connection, looked, paces, guard } = outside;
    let statement =
        |sql: &str| connection.prepare_cached(sql).and_then(|mut s| s.execute([])).map_err(failed);
    statement("BEGIN IMMEDIATE")?;
    memory.changes.clear();
    let result = (|| {
        // Changes whenever another process committed: then nothing that was remembered is certain.
        let seen = connection
            .prepare_cached("PRAGMA data_version")
            .and_then(|mut s| s.query_row([], |row| row.get::<_, i64>(0)))
            .map_err(failed)?;
        if seen != *version {
            *version = seen;
            memory.forget();
            looked.renew();
            if let Some(waiting) = &memory.waiting {
                waiting.set(super::message::count_waiting(connection)?);
            }
        }
        for work in group.iter_mut() {
            let mut tx = Tx { sql: connection, looked, paces, guard, memory: &mut *memory };
            // A decision that panics is a bug of ours; it fails its own operation and nobody else's.
            let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work.run(&mut tx)));
            run.unwrap_or_else(|_| Err(Error::Corrupt("an operation panicked; see the log".to_owned())))?;
        }
        quota::write(connection, memory.tallies.quotas.take_changed())?;
        spend::write(connection, memory.tallies.spends.take_changed())?;
        statement("COMMIT").map(drop)
    })();
    // Before anybody hears of this commit. After a failure, what was looked at may never have been true.
    if std::mem::take(&mut memory.list_changed) || result.is_err() {
        looked.renew();
    }
    if let (Ok(()), Some(waiting)) = (&result, &memory.waiting) {
        waiting.apply(&mut memory.changes);
    }
    if result.is_err() {
        // It may have been read when rows were there that are gone now, or gone that are back.
        memory.forget();
        if !connection.is_autocommit() {
            drop(statement("ROLLBACK"));
        }
    }
    result
}

/// The writer, for operations of one kind.
#[derive(Debug, Clone)]
pub(super) struct Desk {
    pub writer: Arc<Writer>,
    pub kind: Kind,
}

impl Desk {
    /// Runs an operation in the next transaction and answers once that is committed.
    pub async fn run<T, F>(&self, operation: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T> + Send + 'static,
    {
        self.writer.run(self.kind, operation).await
    }
}

/// What a read works with.
pub(super) struct Rx<'c> {
    pub sql: &'c Connection,
}

type Read = Box<dyn FnOnce(&Connection) + Send>;

/// The reading threads.
#[derive(Debug)]
pub(super) struct Readers {
    queues: Vec<std::sync::mpsc::SyncSender<Read>>,
    next: std::sync::atomic::AtomicUsize,
    condition: Arc<Condition>,
}

impl Readers {
    pub fn start(options: &Options, condition: Arc<Condition>) -> Result<Self> {
        let mut queues = Vec::new();
        for n in 0..options.readers.max(1) {
            let connection = connect(options, options.cache_kib / 2, true)?;
            let (queue, waiting) = std::sync::mpsc::sync_channel::<Read>(READS_WAITING);
            std::thread::Builder::new()
                .name(format!("store-reader-{n}"))
                .spawn(move || {
                    for read in waiting {
                        read(&connection);
                    }
                })
                .map_err(|e| Error::Unavailable(format!("cannot start a reader: {e}")))?;
            queues.push(queue);
        }
        Ok(Self { queues, next: std::sync::atomic::AtomicUsize::new(0), condition })
    }

    /// Runs a read on one of the readers, in a transaction that sees the newest commit and nothing later.
    pub async fn run<T, F>(&self, read: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Rx<'_>) -> Result<T> + Send + 'static,
    {
        self.condition.check()?;
        let (reply, answer) = oneshot::channel();
        let job: Read = Box::new(move |connection| {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let step = |sql: &str| {
                    connection.prepare_cached(sql).and_then(|mut s| s.execute([])).map_err(failed)
                };
                step("BEGIN")?;
                let result = read(&mut Rx { sql: connection });
                step("COMMIT")?;
                result
            }));
            let result =
                result.unwrap_or_else(|_| Err(Error::Corrupt("a read panicked; see the log".to_owned())));
            if !connection.is_autocommit() {
                drop(connection.execute_batch("ROLLBACK"));
            }
            drop(reply.send(result));
        });
        let n = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % self.queues.len();
        self.queues[n].try_send(job).map_err(|_| Error::Unavailable("too many reads wait".to_owned()))?;
        answer.await.map_err(|_| closing())?
    }

    /// Runs something long on a thread of its own.
    pub async fn apart<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T> + Send + 'static,
    {
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| Error::Unavailable("the work was broken off".to_owned()))?
    }
}

// ── what rows say ───────────────────────────────────────────────────────────────────────────────────────────

/// A value of a row.
pub(super) fn get<T: rusqlite::types::FromSql>(row: &Row<'_>, n: usize) -> Result<T> {
    row.get(n).map_err(failed)
}

/// Whose a row is, by the account in this column and the environment in the next.
pub(super) fn realm(row: &Row<'_>, first: usize) -> Result<Realm> {
    Ok(Realm {
        account: AccountId::from_key(get(row, first)?),
        environment: column::environment(get(row, first + 1)?),
    })
}

/// A page of rows that have ids, the last made first. The query names `?1` the account, `?2` the environment, `?3` the id before
/// which, and `?4` how many.
pub(super) fn newest<T>(
    rx: &Rx<'_>,
    query: &str,
    realm: Realm,
    page: &Page,
    read: impl Fn(&Row<'_>) -> Result<T>,
    key: impl Fn(&T) -> i64,
) -> Result<Paged<T>> {
    let mut statement = rx.sql.prepare_cached(query).map_err(failed)?;
    let before = page.before.unwrap_or(i64::MAX);
    let mut rows = statement
        .query(params![realm.account.key(), column::live(realm.environment), before, page.limit as i64 + 1])
        .map_err(failed)?;
    let mut items = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        items.push(read(row)?);
    }
    Ok(Paged::of(items, page, key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Backend;
    use crate::sqlite::Sqlite;

    /// Writes a line for each of these things and crashes at some; gives those that were written and those left out.
    async fn write(
        store: &Sqlite,
        things: std::ops::RangeInclusive<i64>,
        bad: &'static [i64],
    ) -> Result<(Vec<i64>, Vec<i64>)> {
        let work = move |tx: &mut Tx<'_>| {
            let mut written = Vec::new();
            for n in things.clone() {
                let handled = tx.contain(MessageId::from_key(n), |tx| {
                    tx.sql
                        .execute("INSERT INTO setting (name, value) VALUES (?1, '')", params![n.to_string()])
                        .map_err(failed)?;
                    assert!(!bad.contains(&n), "as planned");
                    Ok(n)
                })?;
                written.extend(handled);
            }
            Ok((written, tx.set_aside().into_iter().map(MessageId::key).collect()))
        };
        store.writer.run(work).await
    }

    /// P-14
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_crashes_is_left_out_and_everything_else_is_committed() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Sqlite::open(&Options::in_directory(directory.path())).expect("it opens");
        let all = futures_of([
            write(&store, 1..=5, &[2, 4]),
            write(&store, 11..=15, &[]),
            write(&store, 21..=25, &[21]),
        ]);
        let [first, second, third] = all.await.map(|done| done.expect("committed").0);
        assert_eq!((first, second, third), (vec![1, 3, 5], vec![11, 12, 13, 14, 15], vec![22, 23, 24, 25]));
        let (_, left_out) = write(&store, 31..=33, &[32]).await.expect("committed");
        assert_eq!(left_out, [32]);
        // Where everything crashes it is no single thing's fault, and nothing is set aside for it.
        let all_bad: &[i64] = &[41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57];
        assert!(write(&store, 41..=57, all_bad).await.is_err());
        let rows = |rx: &mut Rx<'_>| {
            let mut statement = rx.sql.prepare("SELECT count(*) FROM setting").map_err(failed)?;
            statement.query_row([], |row| row.get::<_, i64>(0)).map_err(failed)
        };
        assert_eq!(store.readers.run(rows).await.expect("read"), 3 + 5 + 4 + 2);
        store.close().await.expect("closed");
    }

    /// Begins them all before any is waited for, so that they may share a commit.
    async fn futures_of<F: Future + Send, const N: usize>(all: [F; N]) -> [F::Output; N]
    where
        F::Output: Send,
    {
        let mut all = all.map(Box::pin);
        let mut done: [Option<F::Output>; N] = [const { None }; N];
        std::future::poll_fn(|context| {
            for (future, done) in all.iter_mut().zip(&mut done) {
                if done.is_none()
                    && let std::task::Poll::Ready(output) = future.as_mut().poll(context)
                {
                    *done = Some(output);
                }
            }
            if done.iter().all(Option::is_some) {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
        done.map(|output| output.expect("all are done"))
    }
}
