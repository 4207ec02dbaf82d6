//! Power cuts and bad disks, for tests: a SQLite file system that writes down what was written, and can fail.
//!
//! [`Disk`] is a VFS over the stock one. It passes everything on to real files, records each write, truncation, sync,
//! creation and deletion, and fails, stalls or fills up on request. A [`Recording`] of it makes *crash images*: the
//! files as a disk could show them after the power went at some moment.
//!
//! What an image holds: everything up to each file's last sync, and of what came later a random part, in pieces of
//! 512 octets, some torn, some written in another order; new files and deletions whose directory was not synced may
//! be missing or undone. What a disk that lies about syncing would leave is not here: nobody survives that.
//!
//! As SQLite does on every disk (`SQLITE_IOCAP_POWERSAFE_OVERWRITE`), it is presumed that a write that is cut off
//! damages no octet outside its own range.
//!
//! This is the only crate with `unsafe` code (`src/vfs.rs`), and only tests depend on it.

mod disk;
mod image;
mod random;
mod vfs;

pub use disk::{Act, Disk, Fault, FileId, Step, Times};
pub use image::Recording;
pub use random::Random;
