//! Room on the disk that is kept for a bad day: a file that holds nothing and takes up space.
//!
//! When the disk is full, the file is emptied, and what is free then is used for what became of messages that were
//! taken on before. When there is room again the file takes its space back, and only then is new work taken on.
//! Another program that writes to the same disk may be faster; then even that waits.

use crate::backend::Room;
use crate::{Error, Result};
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The file's name, in the data directory.
pub(super) const FILE_NAME: &str = "reserve";

/// The space of a writer.
#[derive(Debug)]
pub(super) struct Reserve {
    directory: PathBuf,
    /// How much is kept: octets. 0 for none.
    octets: u64,
    /// Whether it is there.
    is_held: bool,
}

impl Reserve {
    /// Takes so much room beside this database.
    pub fn take(database: &Path, octets: u64) -> Self {
        let directory = database.parent().unwrap_or(Path::new(".")).to_owned();
        let mut reserve = Self { directory, octets, is_held: false };
        if octets == 0 {
            return reserve;
        }
        match reserve.fill() {
            Ok(()) => reserve.is_held = true,
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => {
                tracing::error!(
                    octets,
                    "there is no room on the disk for the reserve: new work is refused until there is"
                );
            }
            Err(error) => {
                tracing::warn!(%error, "there is no reserve for a full disk: its file cannot be written");
                reserve.octets = 0;
            }
        }
        reserve
    }

    /// Whether there should be a reserve and is none.
    pub const fn is_lacking(&self) -> bool {
        self.octets > 0 && !self.is_held
    }

    /// Gives its room to the database. `false` if there was none.
    pub fn release(&mut self) -> bool {
        let was_held = std::mem::take(&mut self.is_held);
        if was_held && let Err(error) = self.file().and_then(|file| file.set_len(0)) {
            tracing::error!(%error, "the reserve could not be released");
        }
        was_held
    }

    /// Takes the room back, if there is that much and as much again. Whether it is there.
    pub fn retake(&mut self) -> bool {
        if !self.is_lacking() {
            return true;
        }
        let free = room(&self.directory, true).map_or(0, |room| room.free);
        self.is_held = free >= self.octets.saturating_mul(2) && self.fill().is_ok();
        self.is_held
    }

    fn file(&self) -> std::io::Result<File> {
        let mut options = File::options();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(self.directory.join(FILE_NAME))
    }

    /// Makes the file as large as it should be, on the disk and not only by its name.
    fn fill(&self) -> std::io::Result<()> {
        let mut file = self.file()?;
        if file.metadata()?.len() > self.octets {
            file.set_len(self.octets)?;
        }
        let filled = match fallocate(&file, FallocateFlags::empty(), 0, self.octets) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                let zeros = vec![0; 64 * 1024];
                let mut left = self.octets;
                std::iter::from_fn(|| {
                    let part = left.min(zeros.len() as u64);
                    left -= part;
                    (part > 0).then(|| file.write_all(&zeros[..part as usize]))
                })
                .collect()
            }
            done => done.map_err(std::io::Error::from),
        };
        if filled.is_err() {
            // Part of it would be kept from the database for nothing.
            drop(file.set_len(0));
        }
        filled
    }
}

/// The room on the disk of this file or directory.
///
/// # Errors
/// [`Error::Unavailable`] if the system does not say.
pub(super) fn room(path: &Path, full: bool) -> Result<Room> {
    let about =
        statvfs(path).map_err(|error| Error::Unavailable(format!("the disk says nothing: {error}")))?;
    Ok(Room {
        free: about.f_bavail.saturating_mul(about.f_frsize),
        size: about.f_blocks.saturating_mul(about.f_frsize),
        full,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn a_reserve_takes_up_room_gives_it_and_takes_it_back() {
        let place = tempfile::tempdir().unwrap();
        let database = place.path().join("tidings.db");
        let taken =
            || std::fs::metadata(place.path().join(FILE_NAME)).map_or(0, |about| about.blocks() * 512);
        let mut reserve = Reserve::take(&database, 1 << 20);
        assert!(!reserve.is_lacking() && taken() >= 1 << 20);
        assert!(reserve.release() && reserve.is_lacking() && taken() == 0);
        assert!(!reserve.release());
        assert!(reserve.retake() && taken() >= 1 << 20);
        // A smaller one the next time.
        assert!(!Reserve::take(&database, 1 << 16).is_lacking());
        assert!((1 << 16..1 << 18).contains(&taken()), "{}", taken());
    }

    #[test]
    fn without_a_reserve_nothing_is_lacking_and_nothing_is_made() {
        let place = tempfile::tempdir().unwrap();
        let mut reserve = Reserve::take(&place.path().join("tidings.db"), 0);
        assert!(!reserve.is_lacking() && !reserve.release() && reserve.retake());
        assert!(!place.path().join(FILE_NAME).exists());
    }
}
