//! The disk as a test holds it: what was written down, and what is to go wrong.

use crate::image::Recording;
use crate::{Random, vfs};
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// The grain of a disk: octets that are written whole or torn.
pub(crate) const SECTOR: usize = 512;

/// A file: the same name again after a deletion is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(pub(crate) usize);

/// What was done to a file.
#[derive(Debug, Clone)]
pub enum Act {
    /// It is new under its name.
    Create,
    /// Octets were written.
    Write {
        /// Where they begin.
        offset: u64,
        /// The octets.
        octets: Box<[u8]>,
    },
    /// It was cut or extended to this size.
    Truncate {
        /// Octets.
        size: u64,
    },
    /// What was written before step `covers` is on the disk.
    Sync {
        /// The step at which the sync began.
        covers: usize,
        /// Whether the directory was synced with it.
        directory: bool,
    },
    /// A sync failed. The system believes the pages clean now: no later sync writes them.
    SyncFailed {
        /// The step at which the sync began.
        covers: usize,
    },
    /// Its name was removed.
    Delete {
        /// Whether the directory was synced.
        directory: bool,
    },
}

/// One line of the record.
#[derive(Debug, Clone)]
pub struct Step {
    /// To which file.
    pub file: FileId,
    /// What.
    pub act: Act,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// There is no room: what makes a file longer fails (`ENOSPC`), half of it written.
    Full,
    /// The disk fails (`EIO`): a write is half done, a sync leaves open what it kept.
    Broken,
    /// The same, but only a sync tells of it.
    Unsynced,
}

impl Fault {
    /// Whether a call can fail so.
    const fn concerns(self, call: Call) -> bool {
        match (self, call) {
            (Self::Broken, _) | (Self::Full, Call::Create) | (Self::Unsynced, Call::Sync) => true,
            (Self::Full, Call::Write { grows }) => grows,
            (Self::Full, Call::Truncate | Call::Sync | Call::Delete)
            | (Self::Unsynced, Call::Create | Call::Write { .. } | Call::Truncate | Call::Delete) => false,
        }
    }
}

/// How often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// One call fails.
    Once,
    /// All fail until [`Disk::heal`].
    Always,
}

/// A kind of call that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Create,
    Write { grows: bool },
    Truncate,
    Sync,
    Delete,
}

/// A registered VFS, recording. The registration and its few hundred octets stay until the process ends.
#[derive(Debug, Clone)]
pub struct Disk {
    name: Arc<str>,
    shared: Arc<Shared>,
}

/// What the VFS and the test share.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Told when syncs are let through again.
    opened: Condvar,
    /// Whether `synchronous=NORMAL` is set whatever is asked for.
    pub(crate) weak: AtomicBool,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) steps: Vec<Step>,
    pub(crate) files: Vec<Known>,
    names: HashMap<PathBuf, FileId>,
    /// What the disk held of files by these names before the record began, where that is not what they show.
    durable: HashMap<OsString, Arc<[u8]>>,
    /// Calls so far that can fail, by fault.
    calls: [u64; 3],
    plan: Option<Plan>,
    has_failed: bool,
    random: Random,
    slow: Duration,
    held: bool,
    at_sync: u64,
}

/// What is known of a file.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub path: PathBuf,
    pub size: u64,
    /// Whether the first sync of this file syncs its directory too: SQLite does that for new logs and journals.
    pub syncs_directory: bool,
    /// The content before the record began.
    pub before: Option<Arc<[u8]>>,
}

#[derive(Debug, Clone, Copy)]
struct Plan {
    fault: Fault,
    at: u64,
    times: Times,
}

impl Disk {
    /// Registers a disk of its own.
    pub fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = format!("powercut-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                steps: Vec::new(),
                files: Vec::new(),
                names: HashMap::new(),
                durable: HashMap::new(),
                calls: [0; 3],
                plan: None,
                has_failed: false,
                random: Random::new(1),
                slow: Duration::ZERO,
                held: false,
                at_sync: 0,
            }),
            opened: Condvar::new(),
            weak: AtomicBool::new(false),
        });
        vfs::register(&name, Arc::clone(&shared));
        Self { name: name.into(), shared }
    }

    /// A disk that holds what the files in `image` hold, whatever the files show that are opened through it: a process
    /// that starts again sees what the system remembers, and that need not be on the disk. See [`Disk::written_beside`].
    ///
    /// # Errors
    /// The image cannot be read.
    pub fn holding(image: &Path) -> std::io::Result<Self> {
        let disk = Self::new();
        for entry in std::fs::read_dir(image)? {
            let entry = entry?;
            disk.shared.lock().durable.insert(entry.file_name(), std::fs::read(entry.path())?.into());
        }
        Ok(disk)
    }

    /// Somebody else than SQLite wrote the whole file again and synced it: now the disk holds what the file shows.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn written_beside(&self, path: &Path) -> std::io::Result<()> {
        let octets = std::fs::read(path)?;
        let file = self.shared.opened(path, false, false);
        self.shared.truncated(file, octets.len() as u64);
        self.shared.wrote(file, 0, &octets);
        self.shared.syncing(file, || Ok::<(), ()>(())).expect("nothing fails here");
        Ok(())
    }

    /// Its name, to open a database by.
    pub fn name(&self) -> String {
        self.name.to_string()
    }

    /// How many steps are recorded.
    pub fn position(&self) -> usize {
        self.shared.lock().steps.len()
    }

    /// A copy of the record so far.
    pub fn recording(&self) -> Recording {
        let state = self.shared.lock();
        Recording::new(state.steps.clone(), state.files.clone())
    }

    /// How many calls were made that can fail so.
    pub fn calls(&self, fault: Fault) -> u64 {
        self.shared.lock().calls[fault as usize]
    }

    /// Lets the next `after` calls that can fail so pass, and then fails.
    pub fn fail(&self, fault: Fault, after: u64, times: Times) {
        let mut state = self.shared.lock();
        let at = state.calls[fault as usize] + after;
        state.plan = Some(Plan { fault, at, times });
    }

    /// Nothing fails any more.
    pub fn heal(&self) {
        self.shared.lock().plan = None;
    }

    /// Whether something has failed.
    pub fn has_failed(&self) -> bool {
        self.shared.lock().has_failed
    }

    /// From now on each sync takes so long.
    pub fn slow(&self, sync: Duration) {
        self.shared.lock().slow = sync;
    }

    /// From now on syncs do not come back, until [`Disk::let_go`].
    pub fn hold(&self) {
        self.shared.lock().held = true;
    }

    /// Held syncs go on.
    pub fn let_go(&self) {
        self.shared.lock().held = false;
        self.shared.opened.notify_all();
    }

    /// How many syncs wait in this moment.
    pub fn waiting(&self) -> u64 {
        self.shared.lock().at_sync
    }

    /// Connections that are opened from now on run with `synchronous=NORMAL`, whatever they ask for: such a database
    /// loses commits, and a test that does not see it is worth nothing.
    pub fn weaken(&self) {
        self.shared.weak.store(true, Ordering::Relaxed);
    }
}

impl Default for Disk {
    fn default() -> Self {
        Self::new()
    }
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this")
    }

    /// Counts a call, and says whether it is to fail.
    pub(crate) fn fails(&self, call: Call) -> Option<Fault> {
        let mut state = self.lock();
        for fault in [Fault::Full, Fault::Broken, Fault::Unsynced] {
            state.calls[fault as usize] += u64::from(fault.concerns(call));
        }
        let plan = state.plan?;
        if !plan.fault.concerns(call) || state.calls[plan.fault as usize] <= plan.at {
            return None;
        }
        state.has_failed = true;
        if plan.times == Times::Once {
            state.plan = None;
        }
        Some(plan.fault)
    }

    /// How much of a write that fails is done nevertheless.
    pub(crate) fn half(&self, length: usize) -> usize {
        let mut state = self.lock();
        state.random.below(length / SECTOR + 1) * SECTOR
    }

    /// A file is opened; gives its number. `created` says that there was none of this name.
    pub(crate) fn opened(&self, path: &Path, created: bool, syncs_directory: bool) -> FileId {
        let mut state = self.lock();
        if let (false, Some(known)) = (created, state.names.get(path)) {
            return *known;
        }
        let id = FileId(state.files.len());
        let shown: Option<Arc<[u8]>> =
            if created { None } else { std::fs::read(path).ok().map(|octets| octets.into()) };
        let size = shown.as_ref().map_or(0, |octets| octets.len() as u64);
        let held = path.file_name().and_then(|name| state.durable.get(name)).cloned();
        let before = shown.map(|shown| held.unwrap_or(shown));
        state.files.push(Known {
            path: path.to_owned(),
            size,
            syncs_directory: created && syncs_directory,
            before,
        });
        state.names.insert(path.to_owned(), id);
        if created {
            state.steps.push(Step { file: id, act: Act::Create });
        }
        id
    }

    pub(crate) fn size(&self, file: FileId) -> u64 {
        self.lock().files[file.0].size
    }

    pub(crate) fn wrote(&self, file: FileId, offset: u64, octets: &[u8]) {
        if octets.is_empty() {
            return;
        }
        let mut state = self.lock();
        let end = offset + octets.len() as u64;
        let size = &mut state.files[file.0].size;
        *size = end.max(*size);
        state.steps.push(Step { file, act: Act::Write { offset, octets: octets.into() } });
    }

    pub(crate) fn truncated(&self, file: FileId, size: u64) {
        let mut state = self.lock();
        state.files[file.0].size = size;
        state.steps.push(Step { file, act: Act::Truncate { size } });
    }

    pub(crate) fn deleted(&self, path: &Path, directory: bool) {
        let mut state = self.lock();
        if let Some(file) = state.names.remove(path) {
            state.steps.push(Step { file, act: Act::Delete { directory } });
        }
    }

    /// Runs a sync: as slow as the disk is, recorded with what it covers.
    pub(crate) fn syncing<E>(&self, file: FileId, sync: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        let (covers, slow) = {
            let mut state = self.lock();
            state.at_sync += 1;
            let covers = state.steps.len();
            let state = self
                .opened
                .wait_while(state, |state| state.held)
                .expect("nothing panics while it holds this");
            (covers, state.slow)
        };
        if !slow.is_zero() {
            std::thread::sleep(slow);
        }
        let done = sync();
        let mut state = self.lock();
        state.at_sync -= 1;
        let act = match &done {
            Ok(()) => {
                let known = &mut state.files[file.0];
                Act::Sync { covers, directory: std::mem::take(&mut known.syncs_directory) }
            }
            Err(_) => Act::SyncFailed { covers },
        };
        state.steps.push(Step { file, act });
        done
    }
}
