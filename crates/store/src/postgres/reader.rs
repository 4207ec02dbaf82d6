//! The thread that reads: each read has a session of its own, at most so many at a time.

use super::Options;
use super::executor::{Doing, closing, guarded, in_a_thread, too_long};
use super::front::Fronts;
use super::news::Fellowship;
use super::session::{Session, live};
use crate::backend::{Page, Paged};
use crate::{Error, Result};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tidings_domain::account::Realm;
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::Row;

/// Reads that may wait for a session.
const READS_WAITING: usize = 1_024;
/// The longest that a read may take. The server breaks off single statements earlier.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

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
    pub(super) fellowship: Arc<Fellowship>,
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
