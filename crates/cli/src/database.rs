//! What an operator wants to know of a database file and the store's contract does not say: its integrity, its
//! schema. Opens read-only.

use anyhow::Context;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use tidings_store::sqlite::Sqlite;

fn open(file: &Path) -> anyhow::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)
        .with_context(|| format!("{} cannot be opened", file.display()))?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    Ok(connection)
}

/// The version of the library.
pub fn version() -> &'static str {
    rusqlite::version()
}

/// Whether the file is whole.
///
/// # Errors
/// What is damaged.
pub fn check(file: &Path) -> anyhow::Result<()> {
    migrations(file)?;
    Ok(Sqlite::verify(file)?)
}

/// The migrations that were applied, in their order.
///
/// # Errors
/// It is no database of ours.
pub fn migrations(file: &Path) -> anyhow::Result<Vec<String>> {
    let connection = open(file)?;
    let mut statement = connection
        .prepare("SELECT name FROM migration ORDER BY number")
        .context("this is no database of tidings")?;
    let names = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(names)
}

/// Octets for people.
pub fn size(octets: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let mut size = octets as f64;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{octets} B") } else { format!("{size:.1} {}", UNITS[unit]) }
}
