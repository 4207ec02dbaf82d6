//! A consistent copy of the database while everything runs.
//!
//! SQLite's online backup, read from one snapshot: writers go on, and nothing they commit meanwhile is in the copy.
//! The copy appears under its name only when it is complete, checked and on the disk.

use super::Options;
use super::session::{connect, failed, journal_mode};
use crate::{Error, Result};
use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

/// Pages of one step: 4 MiB, after which other work of the disk may come between.
const PAGES_PER_STEP: i32 = 1_024;
/// The page cache of the reading connection: KiB. Every page is read once, so it needs next to none.
const CACHE_KIB: u32 = 1_024;

/// Copies the database that is opened so into a new file `to`.
///
/// # Errors
/// [`Error::Conflict`] if `to` exists or another backup to it is under way; [`Error::Unavailable`] if the copy
/// cannot be written; [`Error::Corrupt`] if the copy does not pass its check, which tells of damage in the original.
pub(super) fn copy(from: &Options, to: &Path) -> Result<()> {
    if to.symlink_metadata().is_ok() {
        return Err(Error::Conflict(format!("{} exists already", to.display())));
    }
    let Some(name) = to.file_name() else {
        return Err(Error::Unavailable(format!("{} is not the name of a file", to.display())));
    };
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".part");
    let temporary = to.with_file_name(hidden);
    create(&temporary)?;
    let result = fill(from, &temporary).and_then(|()| publish(&temporary, to));
    if result.is_err() {
        // The copy is worth nothing, and the first error is the one to tell of.
        drop(std::fs::remove_file(&temporary));
    }
    result
}

/// Makes the empty file, for its owner's eyes only: it will hold everything.
fn create(path: &Path) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Err(Error::Conflict(format!(
            "{} exists: another backup is under way, or one was broken off; then delete that file",
            path.display()
        ))),
        Err(e) => Err(cannot_write(path, &e)),
    }
}

fn fill(from: &Options, to: &Path) -> Result<()> {
    let source = connect(from, CACHE_KIB, true)?;
    // Holding one snapshot keeps the backup from starting over whenever somebody commits.
    source.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema;").map_err(failed)?;
    let mut target = Connection::open(to).map_err(failed)?;
    {
        let backup = Backup::new(&source, &mut target).map_err(failed)?;
        while !matches!(backup.step(PAGES_PER_STEP).map_err(failed)?, StepResult::Done) {
            std::thread::yield_now();
        }
    }
    // One file, without companions, so that it can be carried anywhere.
    journal_mode(&target, "delete").map_err(failed)?;
    super::verify(&target).map_err(|error| match error {
        Error::Corrupt(what) => Error::Corrupt(format!("the copy does not pass its check: {what}")),
        other => other,
    })?;
    target.close().map_err(|(_, e)| failed(e))
}

fn publish(temporary: &Path, to: &Path) -> Result<()> {
    File::open(temporary).and_then(|file| file.sync_all()).map_err(|e| cannot_write(temporary, &e))?;
    // A link is never made over an existing file, as a renaming would be.
    match std::fs::hard_link(temporary, to) {
        Ok(()) => std::fs::remove_file(temporary).map_err(|e| cannot_write(temporary, &e))?,
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(Error::Conflict(format!("{} exists already", to.display())));
        }
        // Some file systems have no links.
        Err(_) => std::fs::rename(temporary, to).map_err(|e| cannot_write(to, &e))?,
    }
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = parent.map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    File::open(&directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|e| cannot_write(&directory, &e))
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Error {
    Error::Unavailable(format!("cannot write {}: {error}", path.display()))
}
