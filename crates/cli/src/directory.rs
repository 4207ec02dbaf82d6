//! The data directory: made for its owner alone, marked as ours, and served by one process at a time.

use anyhow::{Context, bail};
use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

/// Held by the process that serves the directory; holds its number.
const LOCK: &str = "tidings.lock";
/// Says that `tidings dev` made the directory, so that `--fresh` may remove it.
const MARKER: &str = "made-by-tidings-dev";

/// A data directory that this process alone serves, for as long as this lives.
#[derive(Debug)]
pub struct Served {
    /// Where it is.
    pub path: PathBuf,
    _lock: File,
}

/// Makes the directory if it is new, with access for its owner only.
///
/// # Errors
/// It cannot be made.
pub fn make(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    if path.is_dir() {
        return Ok(());
    }
    let missing: Vec<&Path> =
        path.ancestors().take_while(|part| !part.as_os_str().is_empty() && !part.is_dir()).collect();
    let cure =
        || format!("the data directory {} cannot be made: make it, or name another one", path.display());
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).with_context(cure)?;
    // A directory is on the disk when the one that it lies in is: otherwise a power cut takes all that is in it.
    for part in missing {
        let parent = part.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent).and_then(|parent| parent.sync_all()).with_context(cure)?;
    }
    Ok(())
}

/// What a directory lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSystem {
    /// A disk of this machine, as far as can be seen.
    Local,
    /// Another machine's: SQLite's locks and syncs cannot be trusted there.
    Remote(&'static str),
    /// A program on this machine, which may do as it likes.
    Program(&'static str),
}

impl FileSystem {
    /// That of this directory.
    pub fn of(path: &Path) -> Self {
        #[cfg(target_os = "linux")]
        if let Ok(about) = rustix::fs::statfs(path) {
            return Self::of_magic(about.f_type as u64 & 0xFFFF_FFFF);
        }
        let _ = path;
        Self::Local
    }

    /// That of a magic number of statfs(2).
    #[cfg(target_os = "linux")]
    fn of_magic(magic: u64) -> Self {
        match magic {
            0x6969 => Self::Remote("NFS"),
            0x517B => Self::Remote("SMB"),
            0xFF53_4D42 => Self::Remote("CIFS"),
            0xFE53_4D42 => Self::Remote("SMB2"),
            0x0102_1997 => Self::Remote("9P"),
            0x00C3_6400 => Self::Remote("Ceph"),
            0x5346_414F => Self::Remote("AFS"),
            0x6573_5546 => Self::Program("FUSE"),
            _ => Self::Local,
        }
    }
}

/// Makes the directory for `dev` and marks it, if it is new.
///
/// # Errors
/// It cannot be made.
pub fn make_for_dev(path: &Path) -> anyhow::Result<()> {
    if path.is_dir() && fs::read_dir(path)?.next().is_some() {
        return Ok(());
    }
    make(path)?;
    fs::write(path.join(MARKER), "`tidings dev --fresh` removes this directory.\n")
        .with_context(|| format!("{} cannot be written to", path.display()))
}

/// Removes what `dev` made before.
///
/// # Errors
/// The directory was not made by `dev`, or is being served.
pub fn remove_of_dev(path: &Path) -> anyhow::Result<()> {
    if !path.exists() || fs::read_dir(path)?.next().is_none() {
        return Ok(());
    }
    if !path.join(MARKER).exists() {
        bail!(
            "{} was not made by `tidings dev` (there is no {MARKER} in it): remove it yourself, or name another directory with --data",
            path.display()
        );
    }
    let served = serve(path)?;
    fs::remove_dir_all(&served.path).with_context(|| format!("{} cannot be removed", path.display()))
}

/// Takes the directory for this process.
///
/// # Errors
/// Another process serves it, or it cannot be written to.
pub fn serve(path: &Path) -> anyhow::Result<Served> {
    let name = path.join(LOCK);
    let mut file =
        File::options().read(true).write(true).create(true).truncate(false).open(&name).with_context(
            || {
                format!(
                    "{} cannot be written: give this user access to the directory, or name another one",
                    name.display()
                )
            },
        )?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            let holder = match holder.trim() {
                "" => String::new(),
                number => format!(" (process {number})"),
            };
            bail!(
                "another tidings{holder} serves {} already: stop it first, or name another directory with --data",
                path.display()
            );
        }
        Err(TryLockError::Error(error)) => {
            return Err(error)
                .with_context(|| format!("{} cannot be locked: keep it on a local disk", name.display()));
        }
    }
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())?;
    Ok(Served { path: path.to_owned(), _lock: file })
}

/// The number of the process that serves the directory, if one does.
pub fn holder(path: &Path) -> Option<String> {
    let mut file = File::open(path.join(LOCK)).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            file.read_to_string(&mut holder).ok()?;
            Some(holder.trim().to_owned())
        }
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_directory_is_served_once_and_made_for_its_owner() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a/b");
        make(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(holder(&path), None);
        let served = serve(&path).unwrap();
        let refused = serve(&path).unwrap_err().to_string();
        assert!(refused.contains(&format!("(process {})", std::process::id())), "{refused}");
        assert_eq!(holder(&path), Some(std::process::id().to_string()));
        drop(served);
        serve(&path).unwrap();
    }

    /// P-35
    #[test]
    #[cfg(target_os = "linux")]
    fn a_file_system_of_another_machine_is_known_by_its_number() {
        assert_eq!(FileSystem::of_magic(0x6969), FileSystem::Remote("NFS"));
        assert_eq!(FileSystem::of_magic(0xEF53), FileSystem::Local);
        assert_eq!(FileSystem::of_magic(0x6573_5546), FileSystem::Program("FUSE"));
        assert_eq!(FileSystem::of(&std::env::temp_dir()), FileSystem::Local);
    }

    #[test]
    fn fresh_removes_only_what_dev_made() {
        let place = tempfile::tempdir().unwrap();
        let made = place.path().join("dev");
        make_for_dev(&made).unwrap();
        fs::write(made.join("tidings.db"), "x").unwrap();
        remove_of_dev(&made).unwrap();
        assert!(!made.exists());
        remove_of_dev(&made).unwrap();

        let other = place.path().join("photos");
        fs::create_dir(&other).unwrap();
        fs::write(other.join("one.jpg"), "x").unwrap();
        make_for_dev(&other).unwrap();
        let refused = remove_of_dev(&other).unwrap_err().to_string();
        assert!(refused.contains("was not made by `tidings dev`"), "{refused}");
        assert!(other.join("one.jpg").exists());
    }
}
