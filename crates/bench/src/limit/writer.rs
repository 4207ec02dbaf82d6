//! The one thread that writes: takes everything that waits, commits it at once, and only then lets anybody know.

use super::{Limit, hook, link};
use crate::clock;
use rusqlite::{CachedStatement, Connection, params};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

const SCHEMA: &str = "
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA wal_autocheckpoint = 4000;
PRAGMA temp_store = MEMORY;
CREATE TABLE message (
  id INTEGER PRIMARY KEY, sender TEXT NOT NULL, recipient INTEGER NOT NULL, text TEXT NOT NULL,
  created_at INTEGER NOT NULL, state INTEGER NOT NULL, updated_at INTEGER NOT NULL) STRICT;
CREATE TABLE outstanding (carrier_id TEXT PRIMARY KEY, message INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE event (
  id INTEGER PRIMARY KEY, message INTEGER NOT NULL, kind INTEGER NOT NULL, at INTEGER NOT NULL) STRICT;
CREATE TABLE delivery (event INTEGER PRIMARY KEY) STRICT;";

const QUEUED: u8 = 0;
const SENDING: u8 = 1;
const SENT: u8 = 2;
const DELIVERED: u8 = 3;

/// A message as it was asked for.
pub struct New {
    pub sender: String,
    pub recipient: u64,
    pub text: String,
}

/// What is to be written.
pub enum Operation {
    /// New messages, of which the first few have a place in the window. The answer is the id of the first; the others
    /// follow it.
    Accept { messages: Vec<New>, claimed: usize, reply: oneshot::Sender<i64> },
    /// Messages that have a place now.
    Claim(Vec<i64>),
    /// The carrier took a message.
    Answered { message: i64, carrier_id: String },
    /// The carrier delivered a message.
    Receipt { carrier_id: String, sequence: u32 },
    /// A webhook was answered.
    Told { event: i64 },
}

/// What waits to be written.
#[derive(Default)]
pub struct Queue {
    waiting: Mutex<(Vec<Operation>, bool)>,
    more: Condvar,
}

impl Queue {
    pub fn push(&self, operation: Operation) {
        self.extend([operation]);
    }

    pub fn extend(&self, operations: impl IntoIterator<Item = Operation>) {
        let mut waiting = self.waiting.lock().expect("nobody panics with it");
        let was_empty = waiting.0.is_empty();
        waiting.0.extend(operations);
        drop(waiting);
        if was_empty {
            self.more.notify_one();
        }
    }

    pub fn close(&self) {
        self.waiting.lock().expect("nobody panics with it").1 = true;
        self.more.notify_one();
    }

    /// Everything that waits; nothing when it is closed.
    fn take(&self) -> Option<Vec<Operation>> {
        let mut waiting = self.waiting.lock().expect("nobody panics with it");
        while waiting.0.is_empty() {
            if waiting.1 {
                return None;
            }
            waiting = self.more.wait(waiting).expect("nobody panics with it");
        }
        Some(std::mem::take(&mut waiting.0))
    }
}

/// What is let known after a commit.
#[derive(Default)]
struct Outcome {
    replies: Vec<(oneshot::Sender<i64>, i64)>,
    submissions: Vec<link::Submission>,
    unclaimed: Vec<i64>,
    freed: usize,
    acknowledged: Vec<u32>,
    calls: Vec<hook::Call>,
}

/// Opens the file and starts the thread.
pub fn start(file: &Path, cache_mib: u32, limit: &Arc<Limit>) -> Result<JoinHandle<()>, String> {
    let connection = Connection::open(file).map_err(|error| error.to_string())?;
    connection.set_prepared_statement_cache_capacity(32);
    connection
        .execute_batch(&format!("{SCHEMA} PRAGMA cache_size = -{};", cache_mib * 1024))
        .map_err(|error| format!("{}: {error}", file.display()))?;
    let limit = Arc::clone(limit);
    let runtime = tokio::runtime::Handle::current();
    std::thread::Builder::new()
        .name("writer".to_owned())
        .spawn(move || {
            let mut next = Next { message: 1, event: 1 };
            while let Some(operations) = limit.queue.take() {
                let outcome = commit(&connection, operations, &mut next)
                    .expect("a lean program has no cure for its disk");
                // One wake-up of the runtime for all that was committed.
                runtime.spawn(tell(outcome, Arc::clone(&limit)));
            }
            drop(connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE);"));
        })
        .map_err(|error| error.to_string())
}

async fn tell(outcome: Outcome, limit: Arc<Limit>) {
    for (reply, id) in outcome.replies {
        // Who asked may have gone away.
        let _ = reply.send(id);
    }
    if !outcome.submissions.is_empty() {
        let _ = limit.link.send(link::Command::Submit(outcome.submissions)).await;
    }
    if !outcome.acknowledged.is_empty() {
        let _ = limit.link.send(link::Command::Acknowledge(outcome.acknowledged)).await;
    }
    if !outcome.unclaimed.is_empty() {
        limit.wait(outcome.unclaimed.into_iter());
    }
    if outcome.freed > 0 {
        limit.free_places(outcome.freed);
    }
    for call in outcome.calls {
        limit.call(call).await;
    }
}

/// The next ids.
struct Next {
    message: i64,
    event: i64,
}

fn commit(connection: &Connection, operations: Vec<Operation>, next: &mut Next) -> rusqlite::Result<Outcome> {
    let mut outcome = Outcome::default();
    let now = i64::try_from(clock::wall_ms()).expect("it is before the year 292 million");
    let statement = |sql: &str| -> rusqlite::Result<CachedStatement<'_>> { connection.prepare_cached(sql) };
    statement("BEGIN IMMEDIATE")?.execute([])?;
    for operation in operations {
        match operation {
            Operation::Accept { messages, claimed, reply } => {
                let mut insert = statement(
                    "INSERT INTO message (id, sender, recipient, text, created_at, state, updated_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?5)",
                )?;
                outcome.replies.push((reply, next.message));
                for (n, New { sender, recipient, text }) in messages.into_iter().enumerate() {
                    let id = next.message;
                    next.message += 1;
                    let state = if n < claimed { SENDING } else { QUEUED };
                    insert.execute(params![id, sender, recipient.cast_signed(), text, now, state])?;
                    if n < claimed {
                        outcome.submissions.push(link::Submission { message: id, sender, recipient, text });
                    } else {
                        outcome.unclaimed.push(id);
                    }
                }
            }
            Operation::Claim(messages) => {
                let mut update = statement(
                    "UPDATE message SET state = ?2, updated_at = ?3 WHERE id = ?1
                     RETURNING sender, recipient, text",
                )?;
                for message in messages {
                    outcome.submissions.push(update.query_row(params![message, SENDING, now], |row| {
                        Ok(link::Submission {
                            message,
                            sender: row.get(0)?,
                            recipient: row.get::<_, i64>(1)?.cast_unsigned(),
                            text: row.get(2)?,
                        })
                    })?);
                }
            }
            Operation::Answered { message, carrier_id } => {
                statement("UPDATE message SET state = ?2, updated_at = ?3 WHERE id = ?1")?
                    .execute(params![message, SENT, now])?;
                statement("INSERT INTO outstanding (carrier_id, message) VALUES (?1, ?2)")?
                    .execute(params![carrier_id, message])?;
                outcome.freed += 1;
            }
            Operation::Receipt { carrier_id, sequence } => {
                let message: i64 =
                    statement("DELETE FROM outstanding WHERE carrier_id = ?1 RETURNING message")?
                        .query_row([carrier_id], |row| row.get(0))?;
                let event = next.event;
                next.event += 1;
                let call = statement(
                    "UPDATE message SET state = ?2, updated_at = ?3 WHERE id = ?1
                     RETURNING sender, recipient, created_at",
                )?
                .query_row(params![message, DELIVERED, now], |row| {
                    Ok(hook::Call {
                        event,
                        message,
                        sender: row.get(0)?,
                        recipient: row.get::<_, i64>(1)?.cast_unsigned(),
                        created_at: row.get::<_, i64>(2)?.cast_unsigned(),
                        at: now.cast_unsigned(),
                    })
                })?;
                statement("INSERT INTO event (id, message, kind, at) VALUES (?1, ?2, ?3, ?4)")?
                    .execute(params![event, message, DELIVERED, now])?;
                statement("INSERT INTO delivery (event) VALUES (?1)")?.execute([event])?;
                outcome.acknowledged.push(sequence);
                outcome.calls.push(call);
            }
            Operation::Told { event } => {
                statement("DELETE FROM delivery WHERE event = ?1")?.execute([event])?;
            }
        }
    }
    statement("COMMIT")?.execute([])?;
    Ok(outcome)
}
