//! The data directory: made for its owner alone, marked as ours, and served by one process at a time.

use anyhow::{Context, bail};
use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Held by the process that serves the directory; holds its number, and on the next line where it answers.
const LOCK: &str = "tidings.lock";
/// Says that `tidings dev` made the directory, so that `--fresh` may remove it.
const MARKER: &str = "made-by-tidings-dev";

/// A data directory that this process alone serves, for as long as this lives.
#[derive(Debug)]
pub struct Served {
    /// Where it is.
    pub path: PathBuf,
    lock: File,
}

impl Served {
    /// Notes where the process answers, for commands beside it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn answers_at(&self, address: SocketAddr) -> anyhow::Result<()> {
        writeln!(&self.lock, "{address}")
            .with_context(|| format!("{} cannot be written", self.path.display()))
    }
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

/// Whether messages may be kept there: for its owner alone, and on a disk of this machine.
///
/// # Errors
/// A sentence that says why not, and what to do.
pub fn suitable(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let unreadable = || format!("{} cannot be looked at", path.display());
    let mode = fs::metadata(path).with_context(unreadable)?.permissions().mode();
    if mode & 0o007 != 0 {
        bail!(
            "everybody on this machine may open the data directory {} (mode {:o}), which holds texts and numbers: run `chmod 700 {}`",
            path.display(),
            mode & 0o777,
            path.display()
        );
    }
    let found = rustix::fs::statfs(path).with_context(unreadable)?;
    if let Some(name) = network_file_system(found.f_type as u64) {
        bail!(
            "the data directory {} lies on a network file system ({name}), whose locks and syncs cannot be relied on: use a local disk",
            path.display()
        );
    }
    Ok(())
}

/// The name of a file system whose files lie on another machine, by the number that `statfs` gives it (`statfs(2)`).
fn network_file_system(number: u64) -> Option<&'static str> {
    // As 32 bits: some machines give the number with a sign.
    Some(match number & 0xFFFF_FFFF {
        0x6969 => "NFS",
        0x517B => "SMB",
        0xFF53_4D42 => "CIFS",
        0xFE53_4D42 => "SMB 2",
        0x5346_414F | 0x6B41_4653 => "AFS",
        0x00C3_6400 => "Ceph",
        0x7375_7245 => "Coda",
        0x564C => "NCP",
        0x0BD0_0BD0 => "Lustre",
        _ => return None,
    })
}

/// Writes a secret into a new file that only its owner may open, whole or not at all.
///
/// # Errors
/// It cannot be written.
pub fn write_secret(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let cure = || format!("{} cannot be written", path.display());
    let beside = path.with_extension("new");
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .with_context(cure)?;
    writeln!(file, "{text}").and_then(|()| file.sync_all()).with_context(cure)?;
    fs::rename(&beside, path).with_context(cure)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|parent| parent.sync_all()).with_context(cure)
}

/// Whether the others of this machine may not open a file.
///
/// # Errors
/// It cannot be looked at.
pub fn is_for_its_owner_alone(path: &Path) -> std::io::Result<bool> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(fs::metadata(path)?.permissions().mode() & 0o007 == 0)
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
            let holder = match holder.lines().next().unwrap_or_default() {
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
    Ok(Served { path: path.to_owned(), lock: file })
}

/// The number of the process that serves the directory, if one does.
pub fn holder(path: &Path) -> Option<String> {
    noted(path).map(|text| text.lines().next().unwrap_or_default().to_owned())
}

/// Where the process answers that serves the directory, if one does and is there yet.
pub fn address(path: &Path) -> Option<SocketAddr> {
    noted(path)?.lines().nth(1)?.parse().ok()
}

/// What the process that serves the directory noted.
fn noted(path: &Path) -> Option<String> {
    let mut file = File::open(path.join(LOCK)).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            file.read_to_string(&mut text).ok()?;
            Some(text)
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
        assert_eq!((holder(&path), address(&path)), (Some(std::process::id().to_string()), None));
        let at: SocketAddr = "127.0.0.1:8080".parse().unwrap();
        served.answers_at(at).unwrap();
        assert_eq!((holder(&path), address(&path)), (Some(std::process::id().to_string()), Some(at)));
        drop(served);
        assert_eq!(address(&path), None);
        serve(&path).unwrap();
    }

    /// P-35
    #[test]
    fn a_directory_that_others_may_open_or_that_lies_elsewhere_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("data");
        make(&path).unwrap();
        suitable(&path).unwrap();
        for (mode, right) in
            [(0o700, true), (0o750, true), (0o770, true), (0o755, false), (0o701, false), (0o777, false)]
        {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(suitable(&path).is_ok(), right, "{mode:o}");
        }
        let refused = suitable(&path).unwrap_err().to_string();
        assert!(refused.contains("chmod 700") && refused.contains("777"), "{refused}");
        // ext4, xfs, btrfs, tmpfs, overlayfs, zfs, apfs-like numbers are local; the others are elsewhere.
        for number in [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0x794C_7630, 0x2FC1_2FC1] {
            assert_eq!(network_file_system(number), None, "{number:x}");
        }
        for number in [0x6969, 0xFF53_4D42, 0xFFFF_FFFF_FF53_4D42, 0xFE53_4D42, 0x00C3_6400] {
            assert!(network_file_system(number).is_some(), "{number:x}");
        }
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
