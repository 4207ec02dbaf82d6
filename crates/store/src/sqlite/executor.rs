//! The thread that writes in groups. What a transaction works with is in `transaction.rs`, the threads that read in `reader.rs`.
//!
//! The writer also keeps house with the disk. When it is full, new work is refused and the reserve is released for
//! what became of old work. When it fails, nothing is written or read any more: SQLite could go on after a sync that
//! failed, but the system has forgotten what it did not write, so going on would promise what nobody can keep.

use super::Options;
use super::reserve::Reserve;
use super::session::failed;
use super::transaction::{Memory, Outside, Tx, transact};
use crate::carriers::Carriers;
use crate::looked::Looked;
use crate::turn::{CALL_WAIT, Turn};
use crate::{Error, Guard, Result};
use rusqlite::Connection;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;
use tidings_domain::queue::Paces;
use tokio::sync::{mpsc, oneshot, watch};

/// Operations that may wait for the writer. Callers wait for a place, which slows them and bounds the memory.
const WRITES_WAITING: usize = 4_096;
/// Operations in one transaction: enough that fsync does not matter, few enough that nobody waits long.
const GROUP_MAX: usize = 1_000;
/// How often a full disk is looked at again.
const ROOM_EVERY: Duration = Duration::from_secs(1);

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

    /// Whether anything may still be written or read.
    pub fn check(&self) -> Result<()> {
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
            carriers: Arc::clone(&options.carriers),
            guard,
            memory: Memory::new(options),
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

pub(super) fn closing() -> Error {
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
    carriers: Arc<Carriers>,
    guard: Arc<Guard>,
    memory: Memory,
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
        self.memory.crashes().clear();
        loop {
            self.condition.check()?;
            let outside = Outside {
                connection: &self.connection,
                looked: &self.looked,
                paces: &self.paces,
                carriers: &self.carriers,
                guard: &self.guard,
            };
            let result = transact(outside, &mut self.memory, |tx| {
                for work in group.iter_mut() {
                    // A decision that panics is a bug of ours; it fails its own operation and nobody else's.
                    let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work.run(tx)));
                    run.unwrap_or_else(|_| {
                        Err(Error::Corrupt("an operation panicked; see the log".to_owned()))
                    })?;
                }
                Ok(())
            });
            if let Err(error @ Error::Broken(_)) = &result {
                self.condition.breaks(error.clone());
            }
            if result.is_ok() || !self.memory.crashes().is_to_be_repeated() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Backend;
    use crate::sqlite::Sqlite;
    use crate::sqlite::reader::Rx;
    use rusqlite::params;
    use tidings_domain::id::MessageId;

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
