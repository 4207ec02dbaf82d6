//! Backups are PostgreSQL's own affair: its tools copy the whole database while everything runs, and keep the log that
//! brings a copy up to the last moment. Nothing here could do that better.

use crate::Error;

/// What whoever asks for a copy is told.
pub(super) fn refusal() -> Error {
    Error::Unavailable(
        "PostgreSQL makes its own backups: use pg_basebackup with an archive of the log, or pg_dump"
            .to_owned(),
    )
}
