//! The write-ahead log as an earlier process left it.
//!
//! SQLite reads a log up to the first frame that does not fit its checksum and takes what follows for a commit that
//! was cut off. That is right after a power cut, and two things it cannot know:
//!
//! - **Damage in the middle.** With `synchronous=FULL` a commit is on the disk before the next one is written. So where
//!   the ends of two commits follow the first bad frame, the first of them was there once: what was answered is lost,
//!   and nobody should go on as if nothing had happened. Damage in the last commit of all cannot be told from one that was
//!   cut off, nor can damage in the log's own header.
//! - **What the system only believes to be written.** After a failed sync it keeps pages in memory, calls them clean and
//!   never writes them. A process that starts then reads them, and would add commits behind a hole that the next power
//!   cut shows. Writing the same octets once more makes the disk hold what we read.
//!
//! What follows the last good frame is cut off, so that no end of a commit is left there from before.
//!
//! Format of the log: <https://www.sqlite.org/fileformat2.html#walformat>.

use super::session::failed;
use crate::{Error, Result};
use rusqlite::Connection;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// The log's header and that of each frame: octets.
const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// The header's first word; its lowest bit says how words are read for checksums.
const MAGIC: u32 = 0x377f_0682;
/// How much is read and written at once, at least: octets.
const PIECE: usize = 1 << 20;

/// Looks at the log of a database that no other process uses, and makes the disk hold what it shows.
///
/// # Errors
/// [`Error::Corrupt`] if commits are missing from it, [`Error::Broken`] if it cannot be written again.
pub(super) fn settle(connection: &Connection, database: &Path) -> Result<()> {
    let mut name = database.as_os_str().to_owned();
    name.push("-wal");
    // The writer's lock: now nobody writes into the log, and nobody begins it anew.
    connection.execute_batch("BEGIN IMMEDIATE").map_err(failed)?;
    let settled = renew(Path::new(&name));
    connection.execute_batch("ROLLBACK").map_err(failed)?;
    match settled {
        Ok(Some(damage)) => Err(Error::Corrupt(format!(
            "the write-ahead log is damaged at octet {}: at least {} commits after it cannot be read",
            damage.at, damage.commits
        ))),
        Ok(None) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::Broken(format!("the write-ahead log cannot be written again: {error}"))),
    }
}

/// Reads the log, writes the same octets into the same places, and syncs.
fn renew(path: &Path) -> io::Result<Option<Damage>> {
    let file = File::options().read(true).write(true).open(path)?;
    let mut scan = match header(&file)? {
        Some(header) => Scan::new(header),
        // Nothing in it is ever read.
        None => return Ok(None),
    };
    let frame = FRAME_HEADER + scan.page;
    let mut piece = vec![0; (PIECE / frame).max(1) * frame];
    let mut at = HEADER as u64;
    loop {
        let length = read_up_to(&file, &mut piece, at)?;
        for (n, frame) in piece[..length].chunks_exact(frame).enumerate() {
            scan.next(at + (n * frame.len()) as u64, frame);
        }
        file.write_all_at(&piece[..length], at)?;
        at += length as u64;
        if length < piece.len() {
            break;
        }
    }
    let mut head = [0; HEADER];
    file.read_exact_at(&mut head, 0)?;
    file.write_all_at(&head, 0)?;
    let damage = scan.damage();
    if damage.is_none() {
        file.set_len(scan.end)?;
    }
    file.sync_all()?;
    Ok(damage)
}

/// Fills the buffer as far as the file reaches.
fn read_up_to(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read_at(&mut buffer[length..], at + length as u64) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

fn word(octets: &[u8], n: usize) -> u32 {
    u32::from_be_bytes([octets[n * 4], octets[n * 4 + 1], octets[n * 4 + 2], octets[n * 4 + 3]])
}

/// The header, if it is whole.
fn header(file: &File) -> io::Result<Option<Header>> {
    let mut head = [0; HEADER];
    if read_up_to(file, &mut head, 0)? < HEADER || word(&head, 0) & !1 != MAGIC {
        return Ok(None);
    }
    let sums = Sums { big_endian: word(&head, 0) & 1 == 1, sums: (0, 0) }.over(&head[..24]);
    let page = match word(&head, 2) as usize {
        page if page.is_power_of_two() && (512..=65_536).contains(&page) => page,
        _ => return Ok(None),
    };
    let is_whole = sums.sums == (word(&head, 6), word(&head, 7));
    Ok(is_whole.then_some(Header { page, salts: (word(&head, 4), word(&head, 5)), sums }))
}

struct Header {
    page: usize,
    salts: (u32, u32),
    sums: Sums,
}

/// The log's checksum, which goes on from frame to frame.
#[derive(Clone, Copy)]
struct Sums {
    big_endian: bool,
    sums: (u32, u32),
}

impl Sums {
    fn over(mut self, octets: &[u8]) -> Self {
        for pair in octets.chunks_exact(8) {
            let read = |n: usize| {
                let octets = [pair[n], pair[n + 1], pair[n + 2], pair[n + 3]];
                if self.big_endian { u32::from_be_bytes(octets) } else { u32::from_le_bytes(octets) }
            };
            self.sums.0 = self.sums.0.wrapping_add(read(0)).wrapping_add(self.sums.1);
            self.sums.1 = self.sums.1.wrapping_add(read(4)).wrapping_add(self.sums.0);
        }
        self
    }
}

/// Where commits are missing.
#[derive(Debug, PartialEq, Eq)]
struct Damage {
    /// The first octet of the frame that does not fit.
    at: u64,
    /// Commits that follow it and were synced.
    commits: u64,
}

/// A walk over the frames of a log.
struct Scan {
    page: usize,
    salts: (u32, u32),
    /// The checksum as the frame before has it: each goes on from there, so a frame behind a bad one can be checked
    /// by its neighbour.
    sums: Sums,
    /// Where the good frames end.
    end: u64,
    /// The first frame that does not fit.
    bad: Option<u64>,
    /// Ends of commits at or after it, in frames that are whole.
    ends: u64,
}

impl Scan {
    fn new(header: Header) -> Self {
        Self {
            page: header.page,
            salts: header.salts,
            sums: header.sums,
            end: HEADER as u64,
            bad: None,
            ends: 0,
        }
    }

    fn next(&mut self, at: u64, frame: &[u8]) {
        let (is_page, is_end) = (word(frame, 0) != 0, word(frame, 1) != 0);
        let (salts, sums) = ((word(frame, 2), word(frame, 3)), (word(frame, 4), word(frame, 5)));
        // What an earlier use of the file left behind has other salts.
        let is_of_this = is_page && salts == self.salts;
        let is_whole = is_of_this && self.sums.over(&frame[..8]).over(&frame[FRAME_HEADER..]).sums == sums;
        self.sums.sums = sums;
        if !is_whole {
            self.bad.get_or_insert(at);
        } else if self.bad.is_none() {
            self.end = at + frame.len() as u64;
        } else {
            self.ends += u64::from(is_end);
        }
    }

    fn damage(&self) -> Option<Damage> {
        // The last one may itself have been cut off.
        let commits = self.ends.saturating_sub(1);
        self.bad.filter(|_| commits > 0).map(|at| Damage { at, commits })
    }
}
