//! The threads that read, each on its own connection, and what rows say.

use super::Options;
use super::executor::{Condition, closing};
use super::session::{connect, failed};
use crate::backend::{Page, Paged};
use crate::column;
use crate::{Error, Result};
use rusqlite::{Connection, Row, params};
use std::sync::Arc;
use tidings_domain::account::Realm;
use tidings_domain::id::AccountId;
use tokio::sync::oneshot;

/// Reads that may wait for a reader.
const READS_WAITING: usize = 1_024;

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
