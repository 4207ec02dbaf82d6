//! What was answered and when, and whether a database holds it.

use rusqlite::{Connection, OpenFlags, types::Value};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use tidings_domain::address::PhoneNumber;
use tidings_domain::id::{ConnectionId, MessageId};
use tidings_domain::message::{Message, Status};
use tidings_domain::time::Timestamp;
use tidings_powercut::Random;
use tidings_store::{Backend, Error};

/// How an operation ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It was done; the record of the disk was so long when that was heard.
    Answered { at: usize },
    /// It was not done.
    Refused(Error),
}

/// Everything that a load was told.
#[derive(Default)]
pub struct Ledger(Mutex<Book>);

#[derive(Default)]
struct Book {
    /// How operations ended, by their moments.
    ended: BTreeMap<i64, Outcome>,
    /// Where each message stood after which operation; `None` where nobody was told.
    lives: HashMap<i64, Vec<(i64, Option<Status>)>>,
    offered: HashMap<i64, Message>,
    accepted: HashSet<i64>,
    /// Refused for good: no such message may be there.
    never: HashSet<i64>,
    keys: Vec<(i64, [u8; 32], Vec<u8>)>,
    kept: Option<Arc<dyn Backend>>,
}

/// What is wrong with a database.
#[derive(Debug, Default)]
pub struct Findings {
    /// What was answered and is not there.
    pub missing: Vec<String>,
    /// What should not be there, or cannot be true.
    pub wrong: Vec<String>,
}

impl Findings {
    pub fn missing(what: String) -> Self {
        Self { missing: vec![what], wrong: Vec::new() }
    }

    pub fn wrong(what: String) -> Self {
        Self { missing: Vec::new(), wrong: vec![what] }
    }

    pub fn is_good(&self) -> bool {
        self.missing.is_empty() && self.wrong.is_empty()
    }
}

/// The rows of tables that only grow, as the database held them in the end: by table and key, the row and its moment.
pub type Rows = BTreeMap<&'static str, BTreeMap<String, (String, i64)>>;

/// A message as it stands: its id, its state, and when it came there.
type Life = (i64, i64, i64);

/// Tables whose rows do not change: their columns, how many of the first ones are the key, and the column of the time.
const TABLES: [(&str, &str, usize, &str); 9] = [
    (
        "event",
        "seq, account, live, kind, message, inbound, status, attempt, at, due_at, failure, raw",
        1,
        "at",
    ),
    ("idempotency", "key, fingerprint, answer, created_at", 1, "created_at"),
    ("suppression", "id, account, live, recipient, reason, source, created_at, expires_at", 1, "created_at"),
    (
        "attempt",
        "endpoint, event, number, at, took_ms, status, request, response, verdict, retry_at",
        3,
        "at",
    ),
    ("inbound", "id, account, live, connection, sender, recipient, text, part, at", 1, "at"),
    ("inbound_part", "inbound, number, charset, has_header, octets, at", 2, "at"),
    ("batch", "id, account, live, created_at, asked, last_message", 1, "created_at"),
    ("audit", "id, account, at, who, action, subject, detail", 1, "at"),
    (
        "message",
        "id, account, live, batch, purpose, sender, recipient, text, form, segments, connection, created_at, \
         expires_at, reference, metadata",
        1,
        "created_at",
    ),
];

impl Ledger {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().expect("nothing panics while it holds this")
    }

    pub fn end(&self, now: Timestamp, outcome: Outcome) {
        self.book().ended.insert(now.as_millis(), outcome);
    }

    /// This message is about to be accepted, perhaps.
    pub fn offered(&self, message: &Message) {
        self.book().offered.insert(message.id.key(), message.clone());
    }

    pub fn begin(&self, message: MessageId, now: Timestamp) {
        let mut book = self.book();
        let life = book.lives.entry(message.key()).or_default();
        if life.last().is_none_or(|(last, _)| *last != now.as_millis()) {
            life.push((now.as_millis(), None));
        }
    }

    pub fn stands(&self, message: MessageId, now: Timestamp, status: Status) {
        let mut book = self.book();
        let life = book.lives.entry(message.key()).or_default();
        if let Some(step) = life.iter_mut().rev().find(|(at, _)| *at == now.as_millis()) {
            step.1 = Some(status);
        }
    }

    pub fn accepted(&self, message: MessageId) {
        self.book().accepted.insert(message.key());
    }

    pub fn never(&self, message: MessageId) {
        let mut book = self.book();
        book.lives.remove(&message.key());
        book.never.insert(message.key());
    }

    pub fn keyed(&self, now: Timestamp, key: [u8; 32], answer: Vec<u8>) {
        self.book().keys.push((now.as_millis(), key, answer));
    }

    /// What is handed out for sending must be what was accepted.
    pub fn submitted(&self, message: &Message) {
        let book = self.book();
        let offered = &book.offered[&message.id.key()];
        assert_eq!((&offered.text, offered.recipient), (&message.text, message.recipient));
    }

    pub fn recipient(&self, message: MessageId) -> Option<PhoneNumber> {
        self.book().offered.get(&message.key()).map(|message| message.recipient)
    }

    pub fn some_message(&self, line: ConnectionId, random: &mut Random) -> Option<MessageId> {
        let book = self.book();
        let mine = |id: &&i64| book.offered[*id].connection == line;
        let mut ids: Vec<i64> = book.accepted.iter().filter(mine).copied().collect();
        ids.sort_unstable();
        (!ids.is_empty()).then(|| MessageId::from_key(*random.pick(&ids)))
    }

    /// Keeps the store open as long as this is there.
    pub fn keep(&self, store: Arc<dyn Backend>) {
        self.book().kept = Some(store);
    }

    /// The store that was kept open.
    pub fn store(&self) -> Option<Arc<dyn Backend>> {
        self.book().kept.clone()
    }

    /// How many operations were answered, and the errors of those that were not.
    pub fn outcomes(&self) -> (usize, Vec<Error>) {
        let book = self.book();
        let errors = book.ended.values().filter_map(|outcome| match outcome {
            Outcome::Answered { .. } => None,
            Outcome::Refused(error) => Some(error.clone()),
        });
        let errors: Vec<Error> = errors.collect();
        (book.ended.len() - errors.len(), errors)
    }

    /// The positions at which operations were answered.
    pub fn answers(&self) -> Vec<usize> {
        let book = self.book();
        let at = book.ended.values().filter_map(|outcome| match outcome {
            Outcome::Answered { at } => Some(*at),
            Outcome::Refused(_) => None,
        });
        at.collect()
    }

    /// Some idempotency keys whose calls were answered by `at`, with the answers.
    pub fn keys(&self, at: usize, count: usize) -> Vec<([u8; 32], Vec<u8>)> {
        let book = self.book();
        let known = book.keys.iter().filter(|(now, ..)| book.was_answered(*now, at));
        known.rev().take(count).map(|(_, key, answer)| (*key, answer.clone())).collect()
    }

    /// Compares a database with what was answered before the disk's record was `at` long, and with the rows that the
    /// load left in the end, if it came to an end.
    pub fn check(&self, file: &Path, at: usize, last: Option<&Rows>, deep: bool) -> Findings {
        let mut findings = Findings::default();
        let check = if deep { "PRAGMA integrity_check" } else { "PRAGMA quick_check" };
        let read: rusqlite::Result<(Rows, Vec<Life>)> = (|| {
            let sql = open(file)?;
            let verdict: String = sql.query_row(check, [], |row| row.get(0))?;
            if verdict != "ok" {
                findings.wrong.push(format!("{check}: {verdict}"));
            }
            for (what, query) in [
                (
                    "message that waits without its place in the queue",
                    "SELECT id FROM message m WHERE until IS NOT NULL AND NOT EXISTS (SELECT 1 FROM due WHERE lane = m.lane
                       AND due_at = m.due_at AND message = m.id AND priority = m.purpose)",
                ),
                (
                    "place in the queue without its message",
                    "SELECT message FROM due d WHERE NOT EXISTS (SELECT 1 FROM message WHERE id = d.message AND lane = d.lane
                       AND due_at = d.due_at)",
                ),
                (
                    "delivery without its event",
                    "SELECT event FROM delivery d WHERE NOT EXISTS (SELECT 1 FROM event WHERE seq = d.event)",
                ),
                (
                    // Places are counted within a second, whose first one ends with 17 zeros.
                    "gap in the events before",
                    "SELECT seq FROM event e WHERE seq & 131071 <> 0 AND NOT EXISTS (SELECT 1 FROM event WHERE seq = e.seq - 1)",
                ),
            ] {
                let mut statement = sql.prepare(query)?;
                for id in statement.query_map([], |row| row.get::<_, i64>(0))? {
                    findings.wrong.push(format!("{what}: {}", id?));
                }
            }
            let mut statement = sql.prepare("SELECT id, state, updated_at FROM message")?;
            let lives = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            Ok((rows(&sql)?, lives.collect::<rusqlite::Result<_>>()?))
        })();
        let (rows, lives) = match read {
            Ok(read) => read,
            Err(error) => {
                findings.wrong.push(format!("it cannot be read: {error}"));
                return findings;
            }
        };
        let book = self.book();
        book.compare_rows(&rows, last, at, &mut findings);
        book.compare_lives(&lives, at, &mut findings);
        findings
    }
}

impl Book {
    fn was_answered(&self, now: i64, at: usize) -> bool {
        matches!(self.ended.get(&now), Some(Outcome::Answered { at: heard }) if *heard <= at)
    }

    /// Whether somebody was told that nothing of this was done. When the disk failed, nobody could say.
    fn was_refused(&self, now: i64) -> Option<&Error> {
        match self.ended.get(&now) {
            Some(Outcome::Refused(Error::Broken(_))) | Some(Outcome::Answered { .. }) | None => None,
            Some(Outcome::Refused(error)) => Some(error),
        }
    }

    fn compare_rows(&self, rows: &Rows, last: Option<&Rows>, at: usize, findings: &mut Findings) {
        for (table, found) in rows {
            for (key, (row, now)) in found {
                if let Some(error) = self.was_refused(*now) {
                    findings.wrong.push(format!("{table} {key} is there, but its caller was told: {error}"));
                }
                if let Some(last) = last
                    && last[table].get(key).map(|(row, _)| row) != Some(row)
                {
                    findings.wrong.push(format!("{table} {key} is not what was written: {row}"));
                }
            }
            let Some(last) = last else { continue };
            for (key, (_, now)) in &last[table] {
                if self.was_answered(*now, at) && !found.contains_key(key) {
                    findings.missing.push(format!("{table} {key}, answered by {at}"));
                }
            }
        }
        for (now, key, answer) in &self.keys {
            let wanted = format!("{:?}", Value::Blob(answer.clone()));
            let stored = rows["idempotency"].get(&format!("{:?}", Value::Blob(key.to_vec())));
            match stored {
                Some((row, _)) if row.contains(&wanted) => {}
                Some((row, _)) => findings.wrong.push(format!("another answer than was given: {row}")),
                None if self.was_answered(*now, at) => {
                    findings.missing.push(format!("the answer to a call at {now}, answered by {at}"));
                }
                None => {}
            }
        }
    }

    fn compare_lives(&self, found: &[Life], at: usize, findings: &mut Findings) {
        let there: HashMap<i64, (i64, i64)> =
            found.iter().map(|(id, state, now)| (*id, (*state, *now))).collect();
        for (id, life) in &self.lives {
            // The last step that somebody was told of.
            let told =
                life.iter().rev().find(|(now, status)| status.is_some() && self.was_answered(*now, at));
            match (there.get(id), told) {
                (None, Some((now, status))) => {
                    findings.missing.push(format!("message {id}, {status:?} at {now}, answered by {at}"));
                }
                (None, None) => {}
                (Some((state, now)), told) => {
                    if let Some((told, status)) = told
                        && now < told
                    {
                        findings
                            .missing
                            .push(format!("{status:?} of message {id} at {told}, answered by {at}"));
                    }
                    match life.iter().find(|(step, _)| step == now) {
                        // A claim that nobody was told of may be there.
                        None if matches!(self.ended.get(now), Some(Outcome::Refused(Error::Broken(_)))) => {}
                        None => {
                            findings.wrong.push(format!("message {id} changed at {now}, which nobody did"))
                        }
                        Some((_, Some(status))) if !shows_as(*state, *status) => {
                            findings
                                .wrong
                                .push(format!("message {id} at {now} is in state {state}, not {status:?}"));
                        }
                        Some(_) => {}
                    }
                    if let Some(error) = self.was_refused(*now) {
                        findings
                            .wrong
                            .push(format!("message {id} changed at {now}, but its caller was told: {error}"));
                    }
                }
            }
        }
        for id in &self.never {
            if there.contains_key(id) {
                findings.wrong.push(format!("message {id} is there, but its recipient was suppressed"));
            }
        }
    }
}

/// Whether a state's number in the database shows as this status: a doubtful message is one that is being sent.
fn shows_as(state: i64, status: Status) -> bool {
    const DOUBTFUL: i64 = 100;
    state == status as i64 || (status == Status::Sending && state == DOUBTFUL)
}

fn open(file: &Path) -> rusqlite::Result<Connection> {
    Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
}

/// The rows of a database that is at rest or in use.
pub fn rows_of(file: &Path) -> rusqlite::Result<Rows> {
    rows(&open(file)?)
}

fn rows(sql: &Connection) -> rusqlite::Result<Rows> {
    let mut found = Rows::new();
    for (table, columns, keys, time) in TABLES {
        let mut statement = sql.prepare(&format!("SELECT {time}, {columns} FROM {table}"))?;
        let count = statement.column_count();
        let read = statement.query_map([], |row| {
            let values: Vec<Value> = (1..count).map(|n| row.get(n)).collect::<rusqlite::Result<_>>()?;
            let text = |values: &[Value]| {
                values.iter().map(|value| format!("{value:?}")).collect::<Vec<_>>().join(" ")
            };
            Ok((text(&values[..keys]), (text(&values), row.get::<_, i64>(0)?)))
        })?;
        found.insert(table, read.collect::<rusqlite::Result<_>>()?);
    }
    Ok(found)
}
