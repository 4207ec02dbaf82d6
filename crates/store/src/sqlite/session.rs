//! One connection to the file: how it is opened, and what SQLite says, as the act it asks for.

use super::Options;
use crate::{Error, Result};
use rusqlite::config::DbConfig;
use rusqlite::ffi;
use rusqlite::{Connection, OpenFlags};

/// How long another process (the command line) may hold the write lock: ms.
const BUSY_TIMEOUT_MS: u64 = 10_000;
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
