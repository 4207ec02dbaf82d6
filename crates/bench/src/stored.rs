//! A data directory with millions of messages in it, made in minutes: the real binary handles one message that is
//! delivered and one that is queued, and what it left of them in its tables is then multiplied with other ids, times
//! and recipients. So the rows have the form that the binary itself gives them, whatever that is.
//!
//! Those that are queued belong to a second connection, whose carrier is never there: they stand in the same tables
//! as the messages that are measured, and never move. (A paused connection would hold its own lane only.)
//!
//! It is made once for a binary and kept beside the runs, which work on a copy. It is good for two days, since what is
//! queued expires after three.

use crate::clock;
use crate::profile::Plan;
use crate::run::{self, Directory};
use crate::subject::Program;
use rusqlite::types::Value;
use rusqlite::{Connection, Statement, params_from_iter};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// How many there are of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Messages that are delivered.
    pub finished: u64,
    /// Messages that are queued.
    pub queued: u64,
}

/// Seconds after which a template is made again.
const GOOD_S: u64 = 2 * 86_400;
/// Rows of a transaction.
const AT_ONCE: u64 = 100_000;
/// Between the ids and times of two messages: a millisecond, as ids have it.
const ID_STEP: i64 = 1 << 22;
/// The first recipient of finished messages: none of those of the load.
const FIRST_FINISHED: u64 = 46_790_000_000;
/// How many different ones there are.
const FINISHED_RECIPIENTS: u64 = 10_000_000;
/// The first recipient of those that are queued.
const FIRST_QUEUED: i64 = 4_740_000_000;
/// The token, beside the data.
const TOKEN: &str = "token";
/// The database in the data directory.
const DATABASE: &str = "tidings.db";
/// Tables that are multiplied, and those that are the same for one message and for millions.
const MULTIPLIED: [&str; 4] = ["message", "event", "attempt", "due"];
const UNCHANGED: [&str; 8] =
    ["account", "audit", "client", "connection", "endpoint", "migration", "setting", "token"];

/// Puts such a data directory into `directory`, from the template, and gives the token that it knows.
///
/// # Errors
/// A sentence: it could not be made or copied.
pub fn put(plan: &Plan, stored: Stored, directory: &Path, sink: &str) -> Result<String, String> {
    let template = template(plan, stored)?;
    let copied = Command::new("cp")
        .args(["--recursive", "--reflink=auto"])
        .arg(template.join("data"))
        .arg(directory)
        .status()
        .map_err(|error| format!("cp: {error}"))?;
    if !copied.success() {
        return Err(format!("{} could not be copied", template.display()));
    }
    let database = directory.join("data").join(DATABASE);
    let sql = |error: rusqlite::Error| format!("{}: {error}", database.display());
    let connection = Connection::open(&database).map_err(sql)?;
    let url = format!("http://{sink}/webhooks");
    connection.execute("UPDATE endpoint SET url = ?1", [&url]).map_err(sql)?;
    if plan.setup.all_events {
        connection.execute("UPDATE endpoint SET kinds = 0", []).map_err(sql)?;
    }
    connection.close().map_err(|(_, error)| sql(error))?;
    // What is not on the disk yet would be written while something is measured.
    File::open(&database).and_then(|file| file.sync_all()).map_err(|error| error.to_string())?;
    fs::read_to_string(template.join(TOKEN)).map_err(|error| format!("the template has no token: {error}"))
}

/// The template, made if it is not there.
fn template(plan: &Plan, stored: Stored) -> Result<PathBuf, String> {
    let Program::Tidings(binary) = &plan.setup.program else {
        return Err("the lean program has no template".to_owned());
    };
    let metadata = fs::metadata(binary).map_err(|error| format!("{}: {error}", binary.display()))?;
    let changed = metadata.modified().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    let changed = changed.map_or(0, |since| since.as_secs());
    let name =
        format!("tidings-bench-stored-{}-{}-{}-{changed}", stored.finished, stored.queued, metadata.len());
    let path = plan.place.join(name);
    let made = fs::metadata(path.join(TOKEN)).and_then(|file| file.modified()).ok();
    let made = made.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok()).map(|since| since.as_secs());
    if made.is_some_and(|made| made + GOOD_S > clock::wall_s()) {
        return Ok(path);
    }
    if path.exists() {
        fs::remove_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let began = clock::now();
    let (directory, token) = run::two_messages(plan)?;
    multiply(&directory.file("data").join(DATABASE), stored)?;
    fs::write(directory.file(TOKEN), token).map_err(|error| error.to_string())?;
    fs::rename(directory.file(""), &path).map_err(|error| error.to_string())?;
    eprintln!(
        "made {} in {} s; delete it when it is not wanted any more",
        path.display(),
        (clock::now() - began) / clock::SECOND
    );
    drop::<Directory>(directory);
    Ok(path)
}

/// Rows of a table as they are, to be written again with changes.
struct Rows<'c> {
    insert: Statement<'c>,
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
}

impl<'c> Rows<'c> {
    /// Those for which `filter` holds.
    fn read(connection: &'c Connection, table: &str, filter: &str) -> rusqlite::Result<Self> {
        let mut select = connection.prepare(&format!("SELECT * FROM {table} WHERE {filter}"))?;
        let columns: Vec<String> = select.column_names().map(str::to_owned).collect();
        let count = columns.len();
        let rows = select
            .query_map([], |row| (0..count).map(|n| row.get(n)).collect())?
            .collect::<rusqlite::Result<_>>()?;
        let places = vec!["?"; count].join(", ");
        let insert = format!("INSERT INTO {table} ({}) VALUES ({places})", columns.join(", "));
        Ok(Self { insert: connection.prepare(&insert)?, columns, rows })
    }

    /// The whole number in this column of the first row.
    fn number(&self, column: &str) -> Result<i64, String> {
        let place = self.columns.iter().position(|name| name == column);
        match place.and_then(|place| self.rows.first()?.get(place)) {
            Some(Value::Integer(number)) => Ok(*number),
            _ => Err(format!("the stored form has changed: there is no {column}")),
        }
    }

    /// Writes row `n` with changes: for each column, what it is to be instead, if anything.
    fn write(&mut self, n: usize, change: impl Fn(&str, i64) -> Option<i64>) -> rusqlite::Result<()> {
        let columns = self.columns.iter();
        let values = columns.zip(&self.rows[n]).map(|(name, value)| match value {
            Value::Integer(number) => Value::Integer(change(name, *number).unwrap_or(*number)),
            other => other.clone(),
        });
        self.insert.execute(params_from_iter(values)).map(drop)
    }
}

/// Whether this column holds a moment.
fn is_moment(column: &str) -> bool {
    column.ends_with("_at") || column == "at" || column == "until"
}

fn multiply(file: &Path, stored: Stored) -> Result<(), String> {
    let sql = |error: rusqlite::Error| format!("{}: {error}", file.display());
    let connection = Connection::open(file).map_err(sql)?;
    for pragma in
        ["journal_mode = DELETE", "journal_mode = OFF", "synchronous = OFF", "cache_size = -1000000"]
    {
        let mut statement = connection.prepare(&format!("PRAGMA {pragma}")).map_err(sql)?;
        statement.query([]).and_then(|mut rows| rows.next().map(|_| ())).map_err(sql)?;
    }
    let tables: Vec<String> = connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
        .map_err(sql)?;
    for table in tables {
        let rows: i64 = connection
            .query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))
            .map_err(sql)?;
        if rows > 0 && !MULTIPLIED.contains(&&*table) && !UNCHANGED.contains(&&*table) {
            return Err(format!("the stored form has changed: it is not known how to multiply {table}"));
        }
    }

    // The message that was delivered came first.
    let (first, second): (i64, i64) = connection
        .query_row("SELECT min(id), max(id) FROM message", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .map_err(sql)?;
    let read = |table: &str, filter: String| Rows::read(&connection, table, &filter).map_err(sql);
    let mut message = read("message", format!("id = {first}"))?;
    let mut events = read("event", format!("message = {first} ORDER BY seq"))?;
    let mut attempts =
        read("attempt", format!("event IN (SELECT seq FROM event WHERE message = {first}) ORDER BY event"))?;
    let mut queued = read("message", format!("id = {second}"))?;
    let mut due = read("due", format!("message = {second}"))?;
    let due_rows = due.rows.len();
    if message.rows.len() != 1 || queued.rows.len() != 1 || events.rows.is_empty() || due_rows != 1 {
        return Err("the stored form has changed: two messages did not leave what was expected".to_owned());
    }
    let first_event = events.number("seq")?;
    let recipient = |n: u64| (FIRST_FINISHED + n % FINISHED_RECIPIENTS).cast_signed();
    connection
        .execute_batch("DELETE FROM message; DELETE FROM event; DELETE FROM attempt; DELETE FROM due; BEGIN;")
        .map_err(sql)?;
    let again = |n: u64| -> Result<(), String> {
        if n % AT_ONCE == AT_ONCE - 1 {
            connection.execute_batch("COMMIT; BEGIN;").map_err(sql)
        } else {
            Ok(())
        }
    };
    let all = stored.finished + stored.queued;
    let mut next_event = 1;
    // In the order of their ids, so that every tree grows at its edge and is as dense as one that grew by itself.
    for n in 0..stored.finished {
        let before = i64::try_from(all - n).expect("it is small");
        let id = first - before * ID_STEP;
        let moved = |column: &str, was: i64| is_moment(column).then_some(was - before);
        message
            .write(0, |column, was| match column {
                "id" => Some(id),
                "recipient" => Some(recipient(n)),
                _ => moved(column, was),
            })
            .map_err(sql)?;
        let event_of = |was: i64| next_event + was - first_event;
        for row in 0..events.rows.len() {
            events
                .write(row, |column, was| match column {
                    "seq" => Some(event_of(was)),
                    "message" => Some(id),
                    _ => moved(column, was),
                })
                .map_err(sql)?;
        }
        for row in 0..attempts.rows.len() {
            attempts
                .write(row, |column, was| match column {
                    "event" => Some(event_of(was)),
                    _ => moved(column, was),
                })
                .map_err(sql)?;
        }
        next_event += i64::try_from(events.rows.len()).expect("it is small");
        again(n)?;
    }
    for n in 0..stored.queued {
        let before = i64::try_from(stored.queued - n).expect("it is small");
        let id = first - before * ID_STEP;
        // The end of its validity stays, so that all of them are still worth sending tomorrow.
        let moved =
            |column: &str, was: i64| (is_moment(column) && column != "expires_at").then_some(was - before);
        let recipient = FIRST_QUEUED + i64::try_from(n).expect("it is small");
        queued
            .write(0, |column, was| match column {
                "id" => Some(id),
                "recipient" => Some(recipient),
                _ => moved(column, was),
            })
            .map_err(sql)?;
        due.write(0, |column, was| if column == "message" { Some(id) } else { moved(column, was) })
            .map_err(sql)?;
        again(n)?;
    }
    drop((message, events, attempts, queued, due));
    connection.execute_batch("COMMIT;").map_err(sql)?;
    connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0)).map_err(sql)?;
    connection.close().map_err(|(_, error)| sql(error))?;
    File::open(file).and_then(|file| file.sync_all()).map_err(|error| error.to_string())
}
