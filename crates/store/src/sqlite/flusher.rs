//! The thread that waits for the disk.
//!
//! The writer writes its commits into the log, and nobody hears of one before the log was synced after it. That is done
//! here, so that the writer works on the next group meanwhile. It gets one group ahead and no further: at most
//! [`UNSYNCED`] commits are in the log and perhaps not on the disk. Readers see them there, so they too wait before they
//! tell of them.

use super::executor::Condition;
use super::{Options, wal};
use crate::turn::CALL_WAIT;
use crate::{Error, Result};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// Commits that a power cut may take: one that is being synced, and one that was written meanwhile.
pub(super) const UNSYNCED: u64 = 2;

/// What is done once it is known whether a commit is on the disk. It is run inside the runtime.
type Then = Box<dyn FnOnce(Result<()>) + Send>;

/// A commit that was written.
struct Written {
    number: u64,
    then: Then,
}

/// How far commits were written, and how far they are on the disk.
#[derive(Debug, Default)]
pub(super) struct Progress {
    written: AtomicU64,
    flushed: watch::Sender<u64>,
}

impl Progress {
    /// To be called before each commit, which readers may see from then on.
    pub fn writes(&self) {
        self.written.fetch_add(1, Ordering::SeqCst);
    }

    /// The newest commit that anybody can have seen.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::SeqCst)
    }

    /// Waits until this commit and all before it are on the disk.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the disk takes too long.
    pub async fn flushed(&self, number: u64) -> Result<()> {
        // Nearly always.
        if *self.flushed.borrow() >= number {
            return Ok(());
        }
        let mut flushed = self.flushed.subscribe();
        let reached = flushed.wait_for(|flushed| *flushed >= number);
        match tokio::time::timeout(CALL_WAIT, reached).await {
            Ok(_) => Ok(()),
            Err(_) => {
                Err(Error::Unavailable("the disk is slow, and what was read is not on it yet".to_owned()))
            }
        }
    }
}

/// The flushing thread.
#[derive(Debug)]
pub(super) struct Flusher {
    queue: SyncSender<Written>,
    thread: JoinHandle<()>,
    progress: Arc<Progress>,
}

impl Flusher {
    /// Starts it for a log that is there.
    pub fn start(
        options: &Options,
        progress: Arc<Progress>,
        condition: Arc<Condition>,
        runtime: Handle,
    ) -> Result<Self> {
        let log = Log::open(options)?;
        // Nothing waits in between: who hands something over waits until what was handed over before is done.
        let (queue, written) = sync_channel(0);
        let hand = Hand { log, progress: Arc::clone(&progress), condition };
        let thread = std::thread::Builder::new()
            .name("store-flusher".to_owned())
            .spawn(move || hand.run(&written, &runtime))
            .map_err(|e| Error::Unavailable(format!("cannot start the flusher: {e}")))?;
        Ok(Self { queue, thread, progress })
    }

    /// Has the commit that was just written brought to the disk, and then this done. Waits only for the one before it.
    pub fn flush(&self, then: impl FnOnce(Result<()>) + Send + 'static) {
        let written = Written { number: self.progress.written(), then: Box::new(then) };
        if let Err(refused) = self.queue.send(written) {
            (refused.0.then)(Err(Error::Broken("nobody syncs the log any more".to_owned())));
        }
    }

    /// Finishes what was handed over.
    pub fn end(self) {
        drop(self.queue);
        // A panic there was told where it happened; what it had in hand was never answered.
        drop(self.thread.join());
    }
}

/// What the flushing thread works with.
struct Hand {
    log: Log,
    progress: Arc<Progress>,
    condition: Arc<Condition>,
}

impl Hand {
    fn run(mut self, written: &Receiver<Written>, runtime: &Handle) {
        for Written { number, then } in written {
            let synced = self.sync();
            // Also if it failed: who waits is told so.
            self.progress.flushed.send_replace(number);
            // One wake-up of the runtime for the whole group; there the answers cost no system call.
            runtime.spawn(async move { then(synced) });
        }
    }

    fn sync(&mut self) -> Result<()> {
        self.condition.check()?;
        self.log.sync().map_err(|error| {
            let error = Error::Broken(format!("the write-ahead log cannot be synced: {error}"));
            self.condition.breaks(error.clone());
            error
        })
    }
}

/// The log, as the flusher has it open. It is the same file as long as any connection is open.
enum Log {
    Usual(File),
    Watched(PathBuf, super::Disk),
}

impl Log {
    fn open(options: &Options) -> Result<Self> {
        let path = wal::path(&options.path);
        match &options.disk {
            Some(disk) => Ok(Self::Watched(path, disk.clone())),
            None => match File::options().read(true).write(true).open(&path) {
                Ok(file) => Ok(Self::Usual(file)),
                Err(error) => Err(Error::Unavailable(format!("cannot open {}: {error}", path.display()))),
            },
        }
    }

    fn sync(&self) -> io::Result<()> {
        match self {
            // As SQLite itself does: the octets and the length, and where a sync stops at the disk's cache, further.
            Self::Usual(file) => file.sync_data(),
            Self::Watched(path, disk) => (disk.sync)(path),
        }
    }
}
