//! Runs the handling of one thing, a message or a receipt or an event, so that a crash of it stops that thing only.
//!
//! A **panic** is caught right there: whoever handles many things goes on with the others. What panics
//! [`CRASHES_MAX`] times is set aside.
//!
//! An **abort** (a stack overflow, no memory left, a bug below us) takes the process along. If two runs in a row ended
//! without being asked to, the next one is *careful*: it writes what it is about to handle into a small file, and takes
//! it out again afterwards. Whatever a start finds there was being handled when the process ended, and what is found
//! there [`CRASHES_MAX`] times is convicted and set aside. The file goes through the system's cache and is never synced:
//! it must outlive this process, not the machine. While nothing is wrong it is not written at all.
//!
//! An operator who kills the process leaves the same trace, but of whatever is handled in that microsecond: to be
//! convicted, an innocent message must be met by three kills. A run of ten minutes, or an orderly stop, acquits all.
//!
//! It knows nothing of what is handled, and does not decide what becomes of it.

use crate::Error;
use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tidings_domain::hash::fnv1a;
use tidings_domain::id::MessageId;
use tidings_domain::message::CRASHES_MAX;
use tidings_domain::receipt::Receipt;

/// Runs in a row that ended without being asked to, after which the next one is careful.
const UNCLEAN_MAX: i64 = 2;
/// Things that may be noted at the same time. Each thread has a place of its own as long as there are no more threads.
const PLACES: usize = 256;
/// Things that are remembered from crash to crash. Each crash adds what its threads were at, a handful.
const SUSPECTS: usize = 64;
/// The first word of the file. The last digit is the version of its form.
const MAGIC: i64 = 0x7469_6469_6E67_7301;
/// The words of the file: the magic number, how many runs ended without being asked to, what is being handled, and the
/// suspects with how often they were met.
const WORDS: usize = 2 + PLACES + 2 * SUSPECTS;
const WORD: usize = 8;

/// What is handled, as the file knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(i64);

impl Key {
    /// Something that is no message, known by its octets.
    pub fn of(octets: &[u8]) -> Self {
        // Negative: the ids of messages are positive, and 0 is nothing.
        Self(-1 - (fnv1a(octets) >> 1) as i64)
    }

    /// The message, if it is one.
    pub fn message(self) -> Option<MessageId> {
        (self.0 > 0).then(|| MessageId::from_key(self.0))
    }
}

impl From<MessageId> for Key {
    fn from(id: MessageId) -> Self {
        Self(id.key())
    }
}

impl From<&Receipt> for Key {
    /// Whose a receipt is says only handling it: until then it is the carrier's id.
    fn from(receipt: &Receipt) -> Self {
        Self::of(receipt.carrier_id.as_bytes())
    }
}

/// It panicked, or was convicted before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crashed;

/// See the module. The default one only catches panics.
#[derive(Debug, Default)]
pub struct Guard {
    trail: Option<Trail>,
    careful: AtomicBool,
    suspects: Vec<Suspect>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Suspect {
    key: Key,
    crashes: u32,
}

thread_local! {
    /// This thread's place in the file, and what it handles.
    static PLACE: usize = NEXT_PLACE.fetch_add(1, Ordering::Relaxed) % PLACES;
    static HANDLED: Cell<i64> = const { Cell::new(0) };
}
static NEXT_PLACE: AtomicUsize = AtomicUsize::new(0);

impl Guard {
    /// A guard with a trail in this file. Without one, and with a word in the log, if the file cannot be used.
    pub fn open(path: &Path) -> Self {
        match Trail::open(path) {
            Ok((trail, unclean, suspects)) => {
                let careful = unclean >= UNCLEAN_MAX;
                if careful {
                    tracing::warn!(
                        runs = unclean,
                        suspects = suspects.len(),
                        "the last runs ended without being asked to; what is handled is noted until one lasts"
                    );
                }
                Self { trail: Some(trail), careful: AtomicBool::new(careful), suspects }
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "crashes of this process will not be traced");
                Self::default()
            }
        }
    }

    /// Runs the work, and again if it panics.
    ///
    /// # Errors
    /// It panicked too often, or is convicted.
    pub fn contain<T>(&self, key: Key, mut work: impl FnMut() -> T) -> Result<T, Crashed> {
        for _ in 1..CRASHES_MAX {
            if let Ok(done) = self.once(key, &mut work) {
                return Ok(done);
            }
        }
        self.once(key, work)
    }

    /// Runs the work once.
    ///
    /// # Errors
    /// It panicked, or is convicted.
    pub fn once<T>(&self, key: Key, work: impl FnOnce() -> T) -> Result<T, Crashed> {
        if self.shuns(key) {
            return Err(Crashed);
        }
        let noted = self.trail.as_ref().filter(|_| self.careful.load(Ordering::Relaxed));
        let before = noted.map(|trail| trail.note(key.0));
        let done = catch_unwind(AssertUnwindSafe(work));
        if let (Some(trail), Some(before)) = (noted, before) {
            trail.note(before);
        }
        done.map_err(|_| Crashed)
    }

    /// Whether this must not be handled at all. A message is shunned only once setting it aside, too, ended the process.
    fn shuns(&self, key: Key) -> bool {
        // Nearly always there is none.
        let most = if key.message().is_some() { CRASHES_MAX } else { CRASHES_MAX - 1 };
        self.suspects.iter().any(|suspect| suspect.key == key && suspect.crashes > most)
    }

    /// The messages that ended the process often enough to be set aside.
    pub fn convicted(&self) -> impl Iterator<Item = MessageId> {
        self.suspects
            .iter()
            .filter(|suspect| suspect.crashes >= CRASHES_MAX)
            .filter_map(|suspect| suspect.key.message())
    }

    /// This run has lasted: whatever ended the ones before is gone.
    pub fn calm(&self) {
        self.careful.store(false, Ordering::Relaxed);
        if let Some(trail) = &self.trail {
            trail.write(0, &[]);
        }
    }

    /// This run does not begin: there is nothing that it could have crashed at, and the file is as it was.
    pub fn withdraw(&self) {
        if let Some(trail) = &self.trail {
            let back = match &trail.before {
                Some(octets) => trail.file.write_all_at(octets, 0),
                None => std::fs::remove_file(&trail.path),
            };
            // If it stays, the next run believes that this one crashed: that costs little.
            drop(back);
        }
    }

    /// The process ends because it was asked to.
    pub fn end(&self) {
        self.careful.store(false, Ordering::Relaxed);
        if let Some(trail) = &self.trail {
            // If it stays, the next run believes that this one crashed: that costs little.
            drop(std::fs::remove_file(&trail.path));
        }
    }
}

/// Things that one operation may crash at and go on without. With more, it is not single things that are wrong.
const SET_ASIDE_MAX: usize = 16;

/// What a writer's group of operations crashed at. The group is rolled back and run again after each crash, and after
/// [`CRASHES_MAX`] crashes at the same thing without that thing.
#[derive(Debug, Default)]
pub(crate) struct Crashes {
    known: Vec<(Key, u32)>,
    /// What the transaction crashed at.
    last: Option<Key>,
}

impl Crashes {
    /// A new group begins.
    pub fn clear(&mut self) {
        self.known.clear();
        self.last = None;
    }

    /// The transaction crashed at this, and fails.
    pub fn note(&mut self, key: Key) -> Error {
        self.last = Some(key);
        Error::Corrupt("handling one of several things crashed; see the log".to_owned())
    }

    /// After a transaction that failed: whether it is worth while to run it again. Not if it failed for another reason,
    /// or crashed at so many things that they are not at fault.
    pub fn is_to_be_repeated(&mut self) -> bool {
        let Some(key) = self.last.take() else { return false };
        match self.known.iter_mut().find(|(known, _)| *known == key) {
            Some((_, times)) => *times += 1,
            None => self.known.push((key, 1)),
        }
        if self.is_set_aside(key) {
            tracing::error!(
                message = key.message().map(tracing::field::display),
                "it crashed the writer again and again, and was left out"
            );
        }
        self.known.len() <= SET_ASIDE_MAX
    }

    /// Whether the group goes on without this.
    pub fn is_set_aside(&self, key: Key) -> bool {
        self.known.iter().any(|(known, times)| *known == key && *times >= CRASHES_MAX)
    }

    /// The messages that the group goes on without.
    pub fn set_aside(&self) -> Vec<MessageId> {
        let all = self.known.iter().map(|(key, _)| *key);
        all.filter(|key| self.is_set_aside(*key)).filter_map(Key::message).collect()
    }
}

/// The file.
#[derive(Debug)]
struct Trail {
    file: File,
    path: PathBuf,
    /// What the file held before this run, if there was one.
    before: Option<Vec<u8>>,
}

impl Trail {
    /// Opens the file for a new run: with the runs that ended without being asked to, and who is suspected of it.
    fn open(path: &Path) -> io::Result<(Self, i64, Vec<Suspect>)> {
        let before = match std::fs::read(path) {
            Ok(octets) => Some(octets),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let (unclean, suspects) = match &before {
            Some(octets) => (unclean(octets) + 1, suspects(octets)),
            None => (0, Vec::new()),
        };
        let file = File::options().write(true).create(true).truncate(false).open(path)?;
        let trail = Self { file, path: path.to_owned(), before };
        trail.file.write_all_at(&octets_of(unclean, &suspects), 0)?;
        Ok((trail, unclean, suspects))
    }

    /// Notes what this thread handles from now on; gives what it handled before.
    fn note(&self, key: i64) -> i64 {
        let place = PLACE.with(|place| *place);
        let at = (2 + place) * WORD;
        // A note that cannot be written is a note that is missing: nothing is worse than before.
        drop(self.file.write_all_at(&key.to_le_bytes(), at as u64));
        HANDLED.replace(key)
    }

    fn write(&self, unclean: i64, suspects: &[Suspect]) {
        drop(self.file.write_all_at(&octets_of(unclean, suspects), 0));
    }
}

fn octets_of(unclean: i64, suspects: &[Suspect]) -> Vec<u8> {
    let mut words = vec![0_i64; WORDS];
    (words[0], words[1]) = (MAGIC, unclean);
    for (place, suspect) in suspects.iter().take(SUSPECTS).enumerate() {
        let at = 2 + PLACES + 2 * place;
        (words[at], words[at + 1]) = (suspect.key.0, i64::from(suspect.crashes));
    }
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn words(octets: &[u8]) -> Option<Vec<i64>> {
    let words: Vec<i64> = octets
        .chunks_exact(WORD)
        .map(|word| i64::from_le_bytes(word.try_into().expect("the chunks have this size")))
        .collect();
    (words.len() == WORDS && words[0] == MAGIC).then_some(words)
}

fn unclean(octets: &[u8]) -> i64 {
    words(octets).map_or(0, |words| words[1])
}

/// The suspects of the file, with what was being handled when the run ended; the worst first.
fn suspects(octets: &[u8]) -> Vec<Suspect> {
    let Some(words) = words(octets) else { return Vec::new() };
    let (handled, known) = words[2..].split_at(PLACES);
    let mut suspects: Vec<Suspect> = known
        .chunks_exact(2)
        .filter(|pair| pair[0] != 0)
        .map(|pair| Suspect { key: Key(pair[0]), crashes: u32::try_from(pair[1]).unwrap_or(0) })
        .collect();
    for key in handled.iter().filter(|key| **key != 0).map(|key| Key(*key)) {
        match suspects.iter_mut().find(|suspect| suspect.key == key) {
            Some(suspect) => suspect.crashes += 1,
            None => suspects.push(Suspect { key, crashes: 1 }),
        }
    }
    suspects.sort_by_key(|suspect| std::cmp::Reverse(suspect.crashes));
    suspects.truncate(SUSPECTS);
    suspects
}

#[cfg(test)]
mod tests {
    use super::*;

    const POISON: MessageId = MessageId::from_key(7);

    fn file() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("trail");
        (directory, path)
    }

    /// The run ends in the middle of handling this.
    fn dies_at(guard: Guard, key: impl Into<Key>) {
        assert!(guard.careful.load(Ordering::Relaxed));
        guard.trail.as_ref().expect("a file").note(key.into().0);
        HANDLED.set(0);
    }

    #[test]
    fn what_panics_is_tried_three_times() {
        let guard = Guard::default();
        let mut calls = 0;
        let outcome = guard.contain(POISON.into(), || {
            calls += 1;
            assert!(calls > 2, "not yet");
            calls
        });
        assert_eq!(outcome, Ok(3));
        let mut calls = 0;
        let outcome = guard.contain(POISON.into(), || {
            calls += 1;
            panic!("never");
        });
        assert_eq!((outcome, calls), (Err::<(), _>(Crashed), 3));
    }

    /// P-14
    #[test]
    fn what_ends_the_process_again_and_again_is_convicted_and_nobody_else() {
        let (_directory, path) = file();
        // Two ends leave no trace: nothing was noted.
        for _ in 0..2 {
            assert!(!Guard::open(&path).careful.load(Ordering::Relaxed));
        }
        let innocent = MessageId::from_key(8);
        for key in [POISON, innocent, POISON, POISON] {
            let guard = Guard::open(&path);
            assert_eq!(guard.convicted().count(), 0);
            dies_at(guard, key);
        }
        let guard = Guard::open(&path);
        assert_eq!(guard.convicted().collect::<Vec<_>>(), [POISON]);
        assert_eq!(guard.once(POISON.into(), || 1), Ok(1), "it may be handled, to set it aside");
        guard.end();
        assert_eq!(Guard::open(&path).convicted().count(), 0);
    }

    #[test]
    fn a_run_that_does_not_begin_is_no_crash() {
        let (_directory, path) = file();
        for _ in 0..5 {
            Guard::open(&path).withdraw();
        }
        assert!(!path.exists());
        for _ in 0..2 {
            drop(Guard::open(&path));
        }
        for _ in 0..5 {
            Guard::open(&path).withdraw();
        }
        assert!(Guard::open(&path).careful.load(Ordering::Relaxed), "the two before still count");
    }

    #[test]
    fn a_message_that_cannot_even_be_set_aside_is_not_touched_and_nothing_else_that_was_convicted() {
        let (_directory, path) = file();
        let receipt = Key::of(b"a receipt");
        let known = [
            Suspect { key: POISON.into(), crashes: CRASHES_MAX + 1 },
            Suspect { key: receipt, crashes: CRASHES_MAX },
        ];
        std::fs::write(&path, octets_of(5, &known)).expect("written");
        let guard = Guard::open(&path);
        assert_eq!(guard.once(POISON.into(), || ()), Err(Crashed));
        assert_eq!(guard.once(receipt, || ()), Err(Crashed));
        assert_eq!(guard.once(Key::of(b"another"), || ()), Ok(()));
        assert_eq!(receipt.message(), None);
    }

    #[test]
    fn a_run_that_lasts_acquits_all_and_a_damaged_file_accuses_nobody() {
        let (_directory, path) = file();
        std::fs::write(&path, octets_of(5, &[Suspect { key: POISON.into(), crashes: 3 }])).expect("written");
        Guard::open(&path).calm();
        let guard = Guard::open(&path);
        assert_eq!((guard.convicted().count(), guard.careful.load(Ordering::Relaxed)), (0, false));
        std::fs::write(&path, b"something else").expect("written");
        assert_eq!(Guard::open(&path).convicted().count(), 0);
    }

    #[test]
    fn what_is_handled_inside_something_else_gives_its_place_back_to_it() {
        let (_directory, path) = file();
        std::fs::write(&path, octets_of(5, &[])).expect("written");
        let guard = Guard::open(&path);
        let noted = || {
            let words = words(&std::fs::read(&path).expect("a file")).expect("a trail");
            words[2..2 + PLACES].iter().copied().filter(|key| *key != 0).collect::<Vec<_>>()
        };
        let outcome = guard.once(Key(-9), || {
            let inside = guard.once(POISON.into(), noted);
            (inside, noted())
        });
        assert_eq!(outcome, Ok((Ok(vec![7]), vec![-9])));
        assert!(noted().is_empty());
    }
}
