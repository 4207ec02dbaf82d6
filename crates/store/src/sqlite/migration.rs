//! Brings the schema up to date: numbered files, each applied once, in one transaction with its record.

use super::session::failed;
use crate::{Error, Result};
use rusqlite::{Connection, OpenFlags};
use std::error::Error as _;
use std::path::Path;
use tidings_domain::hash::fnv1a;

/// Every migration, in order. A released one is never edited: its checksum is recorded where it ran.
const MIGRATIONS: &[(&str, &str)] = &[
    ("0001_the_road_of_a_message", include_str!("../../migrations/sqlite/0001_the_road_of_a_message.sql")),
    ("0002_deliveries_by_endpoint", include_str!("../../migrations/sqlite/0002_deliveries_by_endpoint.sql")),
    ("0003_checksum_of_a_message", include_str!("../../migrations/sqlite/0003_checksum_of_a_message.sql")),
    ("0004_nodes", include_str!("../../migrations/sqlite/0004_nodes.sql")),
    ("0005_parts_of_history", include_str!("../../migrations/sqlite/0005_parts_of_history.sql")),
    ("0006_opt_out_by_text", include_str!("../../migrations/sqlite/0006_opt_out_by_text.sql")),
    ("0007_consent", include_str!("../../migrations/sqlite/0007_consent.sql")),
    ("0008_one_time_codes", include_str!("../../migrations/sqlite/0008_one_time_codes.sql")),
    ("0009_parts_put_together", include_str!("../../migrations/sqlite/0009_parts_put_together.sql")),
    ("0010_contacts", include_str!("../../migrations/sqlite/0010_contacts.sql")),
    ("0011_turns", include_str!("../../migrations/sqlite/0011_turns.sql")),
    ("0012_templates", include_str!("../../migrations/sqlite/0012_templates.sql")),
    ("0013_conversations", include_str!("../../migrations/sqlite/0013_conversations.sql")),
    ("0014_segments", include_str!("../../migrations/sqlite/0014_segments.sql")),
    ("0015_senders", include_str!("../../migrations/sqlite/0015_senders.sql")),
    ("0016_rules_and_requests", include_str!("../../migrations/sqlite/0016_rules_and_requests.sql")),
    ("0017_account_in_keys", include_str!("../../migrations/sqlite/0017_account_in_keys.sql")),
    ("0018_programmes", include_str!("../../migrations/sqlite/0018_programmes.sql")),
    ("0019_purpose_of_a_turn", include_str!("../../migrations/sqlite/0019_purpose_of_a_turn.sql")),
    ("0020_opt_out_of_a_programme", include_str!("../../migrations/sqlite/0020_opt_out_of_a_programme.sql")),
    ("0021_dead_numbers", include_str!("../../migrations/sqlite/0021_dead_numbers.sql")),
    ("0022_media", include_str!("../../migrations/sqlite/0022_media.sql")),
];

/// How many were applied. The database must have the table that says so.
///
/// # Errors
/// [`Error::Unavailable`] if the database is newer than this program or a migration was changed after it ran.
fn applied(connection: &Connection) -> Result<usize> {
    let applied: Vec<(i64, String, i64)> = {
        let mut rows = connection
            .prepare("SELECT number, name, checksum FROM migration ORDER BY number")
            .map_err(failed)?;
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).map_err(failed)?;
        rows.collect::<rusqlite::Result<_>>().map_err(failed)?
    };
    if applied.len() > MIGRATIONS.len() {
        return Err(Error::Unavailable(
            "this database was written by a newer version of tidings; start that version".to_owned(),
        ));
    }
    for ((number, applied_name, sum), (name, sql)) in applied.iter().zip(MIGRATIONS) {
        if applied_name != name || *sum != fnv1a(sql.as_bytes()) as i64 {
            return Err(Error::Unavailable(format!(
                "migration {number} ({applied_name}) is not the one that this version of tidings knows; \
                 start the version that wrote this database"
            )));
        }
    }
    Ok(applied.len())
}

/// Whether the schema is the one that this program works with.
///
/// # Errors
/// [`Error::Unavailable`] if it is older or newer.
pub(super) fn check(connection: &Connection) -> Result<()> {
    let exists = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'migration')";
    let exists = connection.query_row(exists, [], |row| row.get(0)).map_err(failed)?;
    match if exists { applied(connection)? } else { 0 } {
        0 => Err(Error::Unavailable("this is no database of tidings".to_owned())),
        n if n < MIGRATIONS.len() => Err(Error::Unavailable(
            "the database was written by an older version of tidings: run `tidings migrate`".to_owned(),
        )),
        _ => Ok(()),
    }
}

/// The names of those that were applied to a database, whichever version of this program did so.
///
/// # Errors
/// A sentence, if the file cannot be opened or is no database of ours.
pub(super) fn names(file: &Path) -> std::result::Result<Vec<String>, String> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)
        .map_err(|error| format!("{} cannot be opened: {}", file.display(), said(&error)))?;
    let mut statement = connection
        .prepare("SELECT name FROM migration ORDER BY number")
        .map_err(|error| format!("this is no database of tidings: {}", said(&error)))?;
    let names: rusqlite::Result<_> = statement.query_map([], |row| row.get(0)).and_then(Iterator::collect);
    names.map_err(|error| said(&error))
}

/// What SQLite says, with its code for who looks it up.
fn said(error: &rusqlite::Error) -> String {
    match error.source() {
        Some(code) => format!("{error}: {code}"),
        None => error.to_string(),
    }
}

/// Applies what is missing.
///
/// # Errors
/// [`Error::Unavailable`] if the database is newer than this program or a migration was changed after it ran.
pub(super) fn migrate(connection: &mut Connection) -> Result<()> {
    let tx =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(failed)?;
    tx.execute_batch(
        "CREATE TABLE IF NOT EXISTS migration (number INTEGER PRIMARY KEY, name TEXT NOT NULL, length INTEGER NOT NULL, checksum INTEGER NOT NULL) STRICT",
    )
    .map_err(failed)?;
    let applied = applied(&tx)?;
    for (n, (name, sql)) in MIGRATIONS.iter().enumerate().skip(applied) {
        tx.execute_batch(sql).map_err(failed)?;
        tx.execute(
            "INSERT INTO migration (number, name, length, checksum) VALUES (?1, ?2, ?3, ?4)",
            (n as i64 + 1, name, sql.len() as i64, fnv1a(sql.as_bytes()) as i64),
        )
        .map_err(failed)?;
    }
    tx.commit().map_err(failed)?;
    if applied < MIGRATIONS.len() {
        // Into the file itself: of a new one, the first page may be only where the system remembers it.
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(failed)?;
    }
    Ok(())
}
