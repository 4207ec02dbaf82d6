//! The thread that writes in groups. What a transaction works with is in `transaction.rs`, the thread that reads in `reader.rs`.
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

use super::news::{self, Fellowship};
use super::session::{Session, silent};
use super::transaction::{Needs, PREPARED, Tx};
use super::{Options, copy, migration};
use crate::looked::Looked;
use crate::turn::{CALL_WAIT, Turn};
use crate::waiting::Waiting;
use crate::{Error, Guard, Result};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Operations that may wait for the writer. Callers wait for a place, which slows them and bounds the memory.
const WRITES_WAITING: usize = 4_096;
/// Operations in one transaction: enough that the commit does not matter, few enough that nobody waits long.
const GROUP_MAX: usize = 1_000;
/// Messages, receipts or tries in one transaction. An operation may bring some hundreds.
const WEIGHT_MAX: usize = 4_096;
/// How often operations may name more after they have seen what they named first.
const LOADS_MAX: usize = 6;
/// The longest that a group may take. The server breaks off single statements earlier.
pub(super) const GROUP_TIMEOUT: Duration = Duration::from_secs(60);
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
pub(super) async fn guarded<T>(doing: impl Future<Output = Result<T>>) -> Result<T> {
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

pub(super) fn closing() -> Error {
    Error::Unavailable("the store is closing".to_owned())
}

/// Starts a thread with a runtime of its own, and waits until what runs in it says that it is ready, or why not.
pub(super) fn in_a_thread<F>(name: &str, work: F) -> Result<()>
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
        sql.prepare(&PREPARED).await?;
        let number = news::number(&sql, self.options.served).await?;
        self.fellowship.writer.store(number, Ordering::Release);
        let era = sql.value::<String>(ERA, &[]).await?;
        // Whatever was looked at before this session may have changed.
        self.looked.renew();
        let (looked, guard) = (Arc::clone(&self.looked), Arc::clone(&self.guard));
        let fellowship = Arc::clone(&self.fellowship);
        Ok(Tx::over(sql, number, era, &self.options, looked, guard, fellowship, self.waiting.clone()))
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
                self.waiting = tx.known_waiting();
                // Nobody wanted it any more.
                if tx.drop_turn() && !rolled_back(&tx.sql).await {
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
                    Ok(tx) if tx.era() != asked.era => return (Some(tx), false),
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
    tx.crashes().clear();
    loop {
        let result = transact_once(tx, group).await;
        let rolled_back = matches!(result, Err(Failed::Operation(..) | Failed::Some(_)));
        if !rolled_back || !tx.crashes().is_to_be_repeated() {
            return result;
        }
    }
}

async fn transact_once(tx: &mut Tx, group: &mut [Box<dyn Work>]) -> std::result::Result<(), Failed> {
    let mut committing = None;
    tx.begins_anew();
    let within = tokio::time::timeout(GROUP_TIMEOUT, attempt(tx, group, &mut committing)).await;
    let (result, answers) = match within {
        Ok(result) => (result, true),
        Err(_) => (Err(Failed::Some(too_long())), false),
    };
    // Before anybody hears of this commit.
    let Err(failed) = result else {
        tx.note_committed();
        return Ok(());
    };
    tx.note_taken_back();
    if answers && rolled_back(&tx.sql).await {
        return Err(failed);
    }
    Err(match (failed, committing) {
        // Whoever joins or leaves begins anew.
        (Failed::Operation(_, error) | Failed::Some(error), Some(transaction))
            if !tx.changes_membership() =>
        {
            Failed::Unknown(Asked { transaction, era: tx.era().to_owned() }, error)
        }
        (Failed::Operation(_, error) | Failed::Some(error), _) => Failed::Lost(error),
        (other, _) => other,
    })
}

async fn rolled_back(sql: &Session) -> bool {
    tokio::time::timeout(ROLLBACK_TIMEOUT, sql.command("ROLLBACK")).await.is_ok_and(|done| done.is_ok())
}

pub(super) fn too_long() -> Error {
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
    let transaction = guarded(tx.begin(needs)).await.map_err(Failed::Some)?;
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
    *committing = Some(transaction);
    tx.commit().await.map_err(Failed::Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Backend;
    use crate::postgres::Postgres;
    use crate::postgres::front::Queue;
    use tidings_cluster::Cluster;
    use tidings_domain::id::MessageId;

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

    /// A store in a new database.
    async fn open(address: &str) -> Postgres {
        let options = Options::at(address).expect("an address");
        Postgres::migrate(&options).await.expect("migrated");
        Postgres::open(&options).expect("it opens")
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
        let store = open(&database.address()).await;
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
        let store = open(&database.address()).await;
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
