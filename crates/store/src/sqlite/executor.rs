//! The threads that own the connections: one that writes in groups, and a few that read.

use super::Options;
use super::endpoint;
use crate::listeners::Listeners;
use crate::looked::Looked;
use crate::{Error, Result};
use rusqlite::{Connection, OpenFlags};
use std::sync::Arc;
use tidings_domain::id::Sequence;
use tidings_domain::time::Timestamp;
use tokio::sync::{mpsc, oneshot};

/// Operations that may wait for the writer. Callers wait for a place, which slows them and bounds the memory.
const WRITES_WAITING: usize = 4_096;
/// Operations in one transaction: enough that fsync does not matter, few enough that nobody waits long.
const GROUP_MAX: usize = 1_000;
/// Reads that may wait for a reader.
const READS_WAITING: usize = 1_024;
/// How long another process (the command line) may hold the write lock: ms.
const BUSY_TIMEOUT_MS: u64 = 10_000;
/// Statements kept prepared on each connection.
const STATEMENTS: usize = 256;
/// The node number of ids that the store itself makes (see `domain::id`): no running node has it.
const STORE_NODE: u16 = 1_023;

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
    if !read_only {
        // FULL: a commit is on the disk before anybody hears of it. NORMAL would lose the last ones in a power cut.
        let mode: String =
            connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(failed)?;
        if mode != "wal" {
            return Err(Error::Unavailable(format!(
                "{} cannot be used in WAL mode (a network file system?); put the data directory on a local disk",
                path.display()
            )));
        }
        connection
            .execute_batch(&format!(
                "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA wal_autocheckpoint = {};",
                options.checkpoint_pages
            ))
            .map_err(failed)?;
    }
    connection
        .execute_batch(&format!(
            "PRAGMA cache_size = -{cache_kib}; PRAGMA temp_store = MEMORY; PRAGMA mmap_size = 0;"
        ))
        .map_err(failed)?;
    Ok(connection)
}

/// What SQLite says, as the act it asks for.
pub(super) fn failed(error: rusqlite::Error) -> Error {
    use rusqlite::ErrorCode::{ConstraintViolation, DatabaseCorrupt, NotADatabase};
    match error.sqlite_error_code() {
        Some(ConstraintViolation) => Error::Conflict(error.to_string()),
        Some(DatabaseCorrupt | NotADatabase) => Error::Corrupt(error.to_string()),
        _ => match error {
            rusqlite::Error::InvalidColumnType(..) | rusqlite::Error::FromSqlConversionFailure(..) => {
                Error::Corrupt(error.to_string())
            }
            other => Error::Unavailable(other.to_string()),
        },
    }
}

/// What a write works with: the open transaction, and what the writer remembers between transactions.
pub(super) struct Tx<'c> {
    pub sql: &'c Connection,
    /// Who is known to be free of suppressions.
    pub looked: &'c Looked,
    memory: &'c mut Memory,
}

/// What the writer knows without asking the database.
struct Memory {
    /// Thrown away when a transaction fails or another process wrote.
    loaded: Option<Loaded>,
    ids: Sequence,
    /// Whether this transaction changed the suppression list.
    list_changed: bool,
}

struct Loaded {
    next_event: i64,
    listeners: Arc<Listeners>,
    parked: bool,
}

impl Tx<'_> {
    /// A place in the event log. Places are given in the order of the commits, so that a reader who follows them
    /// never skips one that commits later.
    pub fn next_event(&mut self) -> Result<i64> {
        let loaded = self.loaded()?;
        loaded.next_event += 1;
        Ok(loaded.next_event)
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
        Ok(self.loaded()?.parked)
    }

    /// To be called when a receipt was parked.
    pub fn note_parked(&mut self) -> Result<()> {
        self.loaded()?.parked = true;
        Ok(())
    }

    /// To be called when the suppression list was changed.
    pub fn note_list_changed(&mut self) {
        self.memory.list_changed = true;
    }

    /// An id for a row that the store makes by itself.
    pub fn next_id(&mut self, now: Timestamp) -> Result<i64> {
        self.loaded()?;
        Ok(self.memory.ids.next(now))
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
                next_event: one("SELECT coalesce(max(seq), 0) FROM event")?,
                listeners: Arc::new(endpoint::listeners(self.sql)?),
                parked: one("SELECT EXISTS (SELECT 1 FROM parked)")? == 1,
            });
        }
        Ok(self.memory.loaded.as_mut().expect("it was loaded just above"))
    }
}

/// One operation on its way through the writer.
trait Work: Send {
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<()>;
    fn answer(self: Box<Self>, committed: Result<()>);
}

struct Write<T, F> {
    operation: F,
    result: Option<T>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T, F> Work for Write<T, F>
where
    T: Send,
    F: FnMut(&mut Tx<'_>) -> Result<T> + Send,
{
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
    closing: tokio::sync::watch::Sender<bool>,
    closed: tokio::sync::Mutex<Option<oneshot::Receiver<()>>>,
}

impl Writer {
    pub fn start(connection: Connection, looked: Arc<Looked>) -> Result<Self> {
        let (queue, mut waiting) = mpsc::channel::<Box<dyn Work>>(WRITES_WAITING);
        let (closing, mut asked) = tokio::sync::watch::channel(false);
        let (done, closed) = oneshot::channel();
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|_| Error::Unavailable("the store must be opened inside a runtime".to_owned()))?;
        std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || {
                let mut memory = Memory { loaded: None, ids: Sequence::new(STORE_NODE), list_changed: false };
                let mut version = 0;
                loop {
                    let first = runtime.block_on(async {
                        tokio::select! {
                            biased;
                            work = waiting.recv() => work,
                            _ = asked.wait_for(|asked| *asked) => None,
                        }
                    });
                    let Some(first) = first else { break };
                    let mut group = vec![first];
                    while group.len() < GROUP_MAX {
                        match waiting.try_recv() {
                            Ok(work) => group.push(work),
                            Err(_) => break,
                        }
                    }
                    let answers = commit(&connection, &looked, &mut memory, &mut version, group);
                    // One wake-up of the runtime for the whole group; there the answers cost no system call.
                    runtime.spawn(async move {
                        for (work, outcome) in answers {
                            work.answer(outcome);
                        }
                    });
                }
                waiting.close();
                // Best effort: the next start does the same. No `PRAGMA optimize`: on a large file that is not in the
                // system's cache it reads for seconds while somebody waits for the stop, and each statement here was
                // written for one plan, which statistics could only change.
                drop(connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE);"));
                drop(connection);
                done.send(()).ok();
            })
            .map_err(|e| Error::Unavailable(format!("cannot start the writer: {e}")))?;
        Ok(Self { queue, closing, closed: tokio::sync::Mutex::new(Some(closed)) })
    }

    /// Runs an operation in the next transaction and answers once that is committed.
    pub async fn run<T, F>(&self, operation: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let work = Box::new(Write { operation, result: None, reply });
        self.queue.send(work).await.map_err(|_| closing())?;
        answer.await.map_err(|_| closing())?
    }

    /// Finishes what waits and closes the file.
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

type Answers = Vec<(Box<dyn Work>, Result<()>)>;

fn commit(
    connection: &Connection,
    looked: &Looked,
    memory: &mut Memory,
    version: &mut i64,
    mut group: Vec<Box<dyn Work>>,
) -> Answers {
    match transact(connection, looked, memory, version, &mut group) {
        Ok(()) => group.into_iter().map(|work| (work, Ok(()))).collect(),
        Err(error) if group.len() == 1 => group.into_iter().map(|work| (work, Err(error.clone()))).collect(),
        Err(_) => {
            // One of them failed: each for itself, so that only that one fails.
            let alone = group.into_iter().map(|work| {
                let mut one = vec![work];
                let outcome = transact(connection, looked, memory, version, &mut one);
                (one.remove(0), outcome)
            });
            alone.collect()
        }
    }
}

fn transact(
    connection: &Connection,
    looked: &Looked,
    memory: &mut Memory,
    version: &mut i64,
    group: &mut [Box<dyn Work>],
) -> Result<()> {
    let statement =
        |sql: &str| connection.prepare_cached(sql).and_then(|mut s| s.execute([])).map_err(failed);
    statement("BEGIN IMMEDIATE")?;
    let result = (|| {
        // Changes whenever another process committed: then nothing that was remembered is certain.
        let seen = connection
            .prepare_cached("PRAGMA data_version")
            .and_then(|mut s| s.query_row([], |row| row.get::<_, i64>(0)))
            .map_err(failed)?;
        if seen != *version {
            *version = seen;
            memory.loaded = None;
            looked.renew();
        }
        for work in group.iter_mut() {
            let mut tx = Tx { sql: connection, looked, memory: &mut *memory };
            // A decision that panics is a bug of ours; it fails its own operation and nobody else's.
            let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work.run(&mut tx)));
            run.unwrap_or_else(|_| Err(Error::Corrupt("an operation panicked; see the log".to_owned())))?;
        }
        statement("COMMIT").map(drop)
    })();
    // Before anybody hears of this commit. After a failure, what was looked at may never have been true.
    if std::mem::take(&mut memory.list_changed) || result.is_err() {
        looked.renew();
    }
    if result.is_err() {
        memory.loaded = None;
        if !connection.is_autocommit() {
            drop(statement("ROLLBACK"));
        }
    }
    result
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
}

impl Readers {
    pub fn start(options: &Options) -> Result<Self> {
        let mut queues = Vec::new();
        for n in 0..options.readers.max(1) {
            let connection = connect(options, options.cache_kib / 8, true)?;
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
        Ok(Self { queues, next: std::sync::atomic::AtomicUsize::new(0) })
    }

    /// Runs a read on one of the readers, in a transaction that sees the newest commit and nothing later.
    pub async fn run<T, F>(&self, read: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Rx<'_>) -> Result<T> + Send + 'static,
    {
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
