//! The journal of opt-outs: files outside of the store that have every change of the suppression list.
//!
//! A backup does not know who opted out after it was made, and neither does a replica that takes over without the last
//! moments. The journal does: a line of JSON for each entry that was added or lifted, in the order of the commits. Who asks
//! an engine for a change is answered when the line is on the disk; what carriers and other processes bring about is there
//! within a second. Lines are read from the store, behind the last one that was written, so a crash between commit and line
//! loses nothing, and each of several nodes has a whole journal.
//!
//! A store that does not know the last line went back in time. Then all sending is held, and nothing is written here,
//! until the journal was [replayed](replay).
//!
//! It does not delete: a journal is small, and what it is good for depends on the oldest backup.

use crate::Inner;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};
use tidings_domain::account::{Environment, Realm};
use tidings_domain::address::PhoneNumber;
use tidings_domain::id::{AccountId, AuditId, SuppressionId};
use tidings_domain::programme;
use tidings_domain::suppression::Reason;
use tidings_domain::time::Timestamp;
use tidings_store::{Actor, Backend, Page, Result, Suppression, SuppressionFilter};

/// What its files are called: this, the installation's first account, and for all but the first the line before.
const NAME: &str = "opt-outs";
const EXTENSION: &str = "ndjson";
/// A file that is longer is followed by another: octets.
const FILE_MAX: u64 = 16 << 20;
/// Changes in one look.
const STEP: usize = 500;
/// How often it is looked for what nobody waits for.
const EVERY: std::time::Duration = std::time::Duration::from_secs(1);
/// The line of the audit trail that says up to which line of a journal it was replayed.
const REPLAYED: &str = "journal.replay";
/// Who replays, and who holds.
const WHO: &str = "journal";

/// A change of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The line of the audit trail that tells of it.
    pub line: AuditId,
    /// The entry that was added or lifted, as it stood when this was written.
    pub entry: Suppression,
}

/// The same as it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    line: String,
    id: String,
    account: String,
    environment: String,
    to: String,
    /// Left out of lines about everything, which were there before there was anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    programme: Option<String>,
    reason: String,
    source: String,
    created_at: String,
    expires_at: Option<String>,
    lifted_at: Option<String>,
    lifted_reason: Option<String>,
}

impl Line {
    fn print(&self) -> Vec<u8> {
        let entry = &self.entry;
        let written = Written {
            line: self.line.to_string(),
            id: entry.id.to_string(),
            account: entry.realm.account.to_string(),
            environment: entry.realm.environment.as_str().to_owned(),
            to: entry.recipient.to_string(),
            programme: entry.programme.as_ref().map(|name| name.to_string()),
            reason: entry.reason.as_str().to_owned(),
            source: entry.source.clone(),
            created_at: entry.created_at.to_string(),
            expires_at: entry.expires_at.map(|at| at.to_string()),
            lifted_at: entry.lifted.as_ref().map(|(at, _)| at.to_string()),
            lifted_reason: entry.lifted.as_ref().map(|(_, why)| why.clone()),
        };
        let mut octets = serde_json::to_vec(&written).expect("texts are always JSON");
        octets.push(b'\n');
        octets
    }

    fn parse(octets: &[u8]) -> Option<Self> {
        let written: Written = serde_json::from_slice(octets).ok()?;
        let time = |text: &str| Timestamp::parse(text).ok();
        let lifted = match (&written.lifted_at, written.lifted_reason) {
            (Some(at), why) => Some((time(at)?, why.unwrap_or_default())),
            (None, _) => None,
        };
        let entry = Suppression {
            id: written.id.parse::<SuppressionId>().ok()?,
            realm: Realm {
                account: written.account.parse().ok()?,
                environment: Environment::parse(&written.environment)?,
            },
            recipient: PhoneNumber::from_stored(&written.to)?,
            programme: match &written.programme {
                Some(name) => Some(programme::Name::parse(name)?),
                None => None,
            },
            reason: Reason::parse(&written.reason)?,
            source: written.source,
            created_at: time(&written.created_at)?,
            expires_at: match &written.expires_at {
                Some(at) => Some(time(at)?),
                None => None,
            },
            lifted,
        };
        Some(Self { line: written.line.parse().ok()?, entry })
    }
}

// ── its files ───────────────────────────────────────────────────────────────────────────────────────────────

/// The files of an installation's journal, the oldest first. A path that is a file is that one alone.
fn files(path: &Path, installation: AccountId) -> io::Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let first = format!("{NAME}-{installation}");
    let mut found = Vec::new();
    for file in fs::read_dir(path)? {
        let file = file?.path();
        let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let is_ours = stem.strip_prefix(&first).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        if is_ours && file.extension().is_some_and(|extension| extension == EXTENSION) {
            found.push(file);
        }
    }
    // Lines grow, and so do the names that hold one; the first has none.
    found.sort_by_key(|file| file.file_stem().map(std::ffi::OsStr::to_owned));
    Ok(found)
}

/// Where the last whole line ends. What is behind it was being written when the process ended, and nobody heard of it.
fn whole(octets: &[u8]) -> usize {
    octets.iter().rposition(|octet| *octet == b'\n').map_or(0, |end| end + 1)
}

/// What a journal has, in the order in which it was written. Empty if there is none.
///
/// # Errors
/// It cannot be read, or a line is none: with the file and the number of the line.
pub fn read(path: &Path, installation: AccountId) -> io::Result<Vec<Line>> {
    let files = match files(path, installation) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut lines = Vec::new();
    for file in files {
        let octets = fs::read(&file)?;
        let whole = &octets[..whole(&octets)];
        for (n, line) in whole.split(|octet| *octet == b'\n').enumerate().filter(|(_, line)| !line.is_empty())
        {
            let line = Line::parse(line).ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("line {} of {} is damaged", n + 1, file.display()),
                )
            })?;
            lines.push(line);
        }
    }
    Ok(lines)
}

/// The file that is written.
#[derive(Debug)]
struct Files {
    directory: PathBuf,
    installation: AccountId,
    file: File,
    length: u64,
    /// The last line.
    tail: AuditId,
}

impl Files {
    fn open(directory: &Path, installation: AccountId) -> io::Result<Self> {
        let mut making = fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(making.recursive(true), 0o700);
        making.create(directory)?;
        let first = directory.join(format!("{NAME}-{installation}.{EXTENSION}"));
        let all = files(directory, installation)?;
        let path = all.last().unwrap_or(&first);
        // A file may have been begun and have no line yet.
        let tail = read(directory, installation)?.last().map_or(AuditId::from_key(0), |line| line.line);
        let file = Self::append_to(path)?;
        let octets = fs::read(path)?;
        let length = whole(&octets) as u64;
        file.set_len(length)?;
        file.sync_all()?;
        File::open(directory)?.sync_all()?;
        Ok(Self { directory: directory.to_owned(), installation, file, length, tail })
    }

    fn append_to(path: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        std::os::unix::fs::OpenOptionsExt::mode(options.create(true).append(true), 0o600).open(path)
    }

    /// Writes lines and waits until they are on the disk. After an error the file ends where it did.
    fn append(&mut self, lines: &[Line]) -> io::Result<()> {
        let Some(last) = lines.last() else { return Ok(()) };
        if self.length > FILE_MAX {
            let name = format!("{NAME}-{}.{}.{EXTENSION}", self.installation, self.tail);
            self.file = Self::append_to(&self.directory.join(name))?;
            self.length = 0;
            File::open(&self.directory)?.sync_all()?;
        }
        let octets: Vec<u8> = lines.iter().flat_map(Line::print).collect();
        let done = self.file.write_all(&octets).and_then(|()| self.file.sync_data());
        if let Err(error) = done {
            // Half a line would hide the next one.
            self.file.set_len(self.length)?;
            return Err(error);
        }
        self.length += octets.len() as u64;
        self.tail = last.line;
        Ok(())
    }
}

// ── keeping it ──────────────────────────────────────────────────────────────────────────────────────────────

/// Why a journal does not have what the list has.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// The store does not know what the journal knows.
    #[error(
        "the journal of opt-outs knows changes that the store does not: replay it with `tidings suppression replay`"
    )]
    Behind,
    #[error("the journal of opt-outs cannot be written: {0}")]
    Unwritten(#[from] io::Error),
    #[error(transparent)]
    Store(#[from] tidings_store::Error),
}

/// The journal of a running engine.
pub(crate) struct Journal {
    path: PathBuf,
    installation: AccountId,
    files: Arc<Mutex<Files>>,
    /// The line of the trail up to which everything is written. Whoever has it catches up; the others wait for that.
    seen: tokio::sync::Mutex<AuditId>,
    trouble: Mutex<Option<String>>,
}

impl Journal {
    /// Opens it, or makes it.
    ///
    /// # Errors
    /// It cannot be written, or is damaged.
    pub fn open(path: &Path, installation: AccountId) -> io::Result<Self> {
        let files = Files::open(path, installation)?;
        let seen = tokio::sync::Mutex::new(files.tail);
        let files = Arc::new(Mutex::new(files));
        Ok(Self { path: path.to_owned(), installation, files, seen, trouble: Mutex::default() })
    }

    /// Writes what the list has and the journal has not. When it returns, everything is there that was committed before.
    pub async fn catch_up(&self, store: &dyn Backend) {
        let caught = self.try_to_catch_up(store).await;
        let trouble = match &caught {
            Ok(()) => None,
            // Nothing could have been committed either.
            Err(Trouble::Store(_)) => return,
            Err(trouble) => Some(trouble.to_string()),
        };
        let mut known = self.trouble.lock().expect("nothing panics while it holds this");
        if *known != trouble {
            match &trouble {
                Some(trouble) => tracing::error!("{trouble}"),
                None => tracing::info!("the journal of opt-outs is whole again"),
            }
            *known = trouble;
        }
    }

    async fn try_to_catch_up(&self, store: &dyn Backend) -> std::result::Result<(), Trouble> {
        let mut seen = self.seen.lock().await;
        loop {
            let listed = store.listed(*seen, STEP).await?;
            if !listed.is_known {
                let tail = self.files.lock().expect("nothing panics while it holds this").tail;
                if *seen == tail {
                    *seen = self.resume(store).await?;
                } else {
                    *seen = tail;
                }
                continue;
            }
            let is_last = listed.changes.len() < STEP;
            let lines: Vec<Line> =
                listed.changes.into_iter().map(|(line, entry)| Line { line, entry }).collect();
            if !lines.is_empty() {
                let files = Arc::clone(&self.files);
                let write = move || files.lock().expect("nothing panics while it holds this").append(&lines);
                tokio::task::spawn_blocking(write).await.map_err(io::Error::other)??;
            }
            *seen = listed.upto;
            if is_last {
                return Ok(());
            }
        }
    }

    /// Where to go on if the store does not know the last line: behind the last one that it knows, if what it did not know
    /// was replayed.
    async fn resume(&self, store: &dyn Backend) -> std::result::Result<AuditId, Trouble> {
        let lines = read(&self.path, self.installation)?;
        if !is_replayed(store, &lines, self.installation).await? {
            return Err(Trouble::Behind);
        }
        // The store knows a beginning of it.
        let (mut low, mut high) = (0, lines.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if store.listed(lines[middle].line, 1).await?.is_known { low = middle + 1 } else { high = middle }
        }
        Ok(low.checked_sub(1).map_or(AuditId::from_key(0), |last| lines[last].line))
    }

    /// What is wrong with it.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().expect("nothing panics while it holds this").clone()
    }
}

/// Catches up, and holds everything if the store went back in time.
pub(crate) async fn follow(inner: &Inner) {
    let Some(journal) = &inner.journal else { return };
    journal.catch_up(&*inner.store).await;
    let Some(why) = journal.trouble() else { return };
    if why == Trouble::Behind.to_string() && inner.held().is_none() {
        let actor = Actor { account: inner.account, who: WHO.to_owned() };
        let held = async {
            // Another process may have done it.
            if inner.store.hold().await?.is_none() {
                inner.store.set_hold(Some(why), actor, inner.clock.now()).await?;
            }
            Ok(())
        };
        if let Err(error) = held.await {
            crate::warn(&error, "sending should be held and could not be");
        }
        inner.follow_store().await;
    }
}

/// Follows what nobody waits for.
pub(crate) async fn watch(engine: &Weak<Inner>) {
    loop {
        let Some(inner) = engine.upgrade() else { return };
        follow(&inner).await;
        drop(inner);
        tokio::time::sleep(EVERY).await;
    }
}

// ── replaying it ────────────────────────────────────────────────────────────────────────────────────────────

/// What replaying a journal did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Lines that it has.
    pub lines: usize,
    /// Entries that were added.
    pub added: usize,
    /// Entries that were lifted.
    pub lifted: usize,
}

/// Whether the store has what the journal has: it knows the last line, or was told all of them.
///
/// # Errors
/// The store does not answer.
pub async fn is_replayed(store: &dyn Backend, lines: &[Line], installation: AccountId) -> Result<bool> {
    let Some(last) = lines.last() else { return Ok(true) };
    if store.listed(last.line, 1).await?.is_known {
        return Ok(true);
    }
    let subject = last.line.to_string();
    let mut page = Page { before: None, limit: STEP };
    loop {
        let trail = store.audit(installation, page).await?;
        if trail.items.iter().any(|line| line.action == REPLAYED && line.subject == subject) {
            return Ok(true);
        }
        // It was told after the line was written.
        match trail.items.last() {
            Some(oldest) if oldest.id > last.line && trail.items.len() == STEP => {
                page.before = Some(oldest.id.key());
            }
            _ => return Ok(false),
        }
    }
}

/// Adds and lifts what a journal says and the list does not. Doing it again changes nothing.
///
/// # Errors
/// The store does not answer: then it can be done again.
pub async fn replay(
    store: &dyn Backend,
    lines: &[Line],
    installation: AccountId,
    now: Timestamp,
) -> Result<Replayed> {
    let mut replayed = Replayed { lines: lines.len(), ..Replayed::default() };
    for Line { entry, .. } in lines {
        let actor = Actor { account: entry.realm.account, who: WHO.to_owned() };
        let page = Page { before: None, limit: STEP };
        let known =
            store.suppressions(entry.realm, SuppressionFilter::all_of(entry.recipient), page).await?.items;
        let known = known.into_iter().find(|known| known.id == entry.id);
        let is_lifted = match known {
            Some(known) => known.lifted.is_some(),
            None => {
                let stands = store.suppress(vec![entry.clone()], actor.clone()).await?;
                let was_added = stands.first().is_some_and(|stands| stands.id == entry.id);
                replayed.added += usize::from(was_added);
                // Something stronger stands; what lifted that has a line of its own.
                !was_added
            }
        };
        if let (false, Some((at, why))) = (is_lifted, &entry.lifted) {
            let (whose, of) = (entry.recipient, entry.programme.clone());
            let lifted = store.lift(entry.realm, whose, of, why.clone(), actor, *at).await?;
            replayed.lifted += usize::from(lifted.is_some());
        }
    }
    if let Some(last) = lines.last() {
        let detail = format!("{} lines, {} added, {} lifted", lines.len(), replayed.added, replayed.lifted);
        let actor = Actor { account: installation, who: WHO.to_owned() };
        store.record_audit(actor, REPLAYED.to_owned(), last.line.to_string(), detail, now).await?;
    }
    Ok(replayed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_store::model::{Disk, Model};

    const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);
    const HOUSE: AccountId = AccountId::from_key(1);
    const REALM: Realm = Realm { account: HOUSE, environment: Environment::Live };

    fn number(n: u64) -> PhoneNumber {
        PhoneNumber::from_digits(46_700_000_000 + n).expect("a number")
    }

    fn entry(n: u64) -> Suppression {
        Suppression {
            id: SuppressionId::from_key(n as i64),
            realm: REALM,
            recipient: number(n),
            programme: None,
            reason: Reason::OptedOut,
            source: "api \"quoted\"\nand broken".to_owned(),
            created_at: NOW.plus_ms(7),
            expires_at: None,
            lifted: None,
        }
    }

    fn actor() -> Actor {
        Actor { account: HOUSE, who: "tester".to_owned() }
    }

    async fn opt_out(store: &Model, n: u64) {
        store.suppress(vec![entry(n)], actor()).await.expect("suppressed");
    }

    async fn opt_in(store: &Model, n: u64) {
        let lifted = store.lift(REALM, number(n), None, "again".to_owned(), actor(), NOW.plus_ms(9)).await;
        assert!(lifted.expect("lifted").is_some());
    }

    async fn listed(store: &Model) -> Vec<u64> {
        let page = Page { before: None, limit: 100 };
        let mut all: Vec<u64> = store
            .suppressions(REALM, SuppressionFilter::default(), page)
            .await
            .expect("read")
            .items
            .iter()
            .map(|entry| entry.recipient.digits() - 46_700_000_000)
            .collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn a_line_reads_back_as_itself() {
        let ended = Some(NOW.plus_ms(1));
        for (expires_at, lifted) in
            [(None, None), (ended, None), (ended, Some((NOW.plus_ms(3), "asked, again".to_owned())))]
        {
            for programme in [None, programme::Name::parse("offers")] {
                let entry = Suppression { expires_at, lifted: lifted.clone(), programme, ..entry(3) };
                let line = Line { line: AuditId::from_key(77), entry };
                let printed = line.print();
                assert_eq!(printed.iter().filter(|octet| **octet == b'\n').count(), 1, "one line");
                assert_eq!(Line::parse(&printed), Some(line));
            }
        }
        assert_eq!(Line::parse(b"{}"), None);
    }

    #[test]
    fn half_a_line_is_left_out_and_a_damaged_one_is_told_of() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path();
        let line = |n: i64| Line { line: AuditId::from_key(n), entry: entry(n as u64) };
        Files::open(path, HOUSE).expect("made").append(&[line(1), line(2)]).expect("written");
        let file = files(path, HOUSE).expect("listed").remove(0);
        let mut octets = fs::read(&file).expect("read");
        octets.extend_from_slice(&line(3).print()[..40]);
        fs::write(&file, &octets).expect("written");
        assert_eq!(read(path, HOUSE).expect("read"), [line(1), line(2)]);
        Files::open(path, HOUSE).expect("opened").append(&[line(3)]).expect("written");
        assert_eq!(read(path, HOUSE).expect("read"), [line(1), line(2), line(3)]);
        assert!(read(path, AccountId::from_key(2)).expect("read").is_empty(), "that of another installation");
        octets[3] = b'!';
        fs::write(&file, &octets).expect("written");
        let error = read(path, HOUSE).expect_err("damaged").to_string();
        assert!(error.contains("line 1 of"), "{error}");
    }

    #[test]
    fn a_long_file_is_followed_by_another_and_both_are_read() {
        let place = tempfile::tempdir().expect("a directory");
        let line = |n: i64| Line { line: AuditId::from_key(n), entry: entry(n as u64) };
        let mut written = Files::open(place.path(), HOUSE).expect("made");
        for n in 1..=3 {
            written.append(&[line(n)]).expect("written");
            written.length = FILE_MAX + 1;
        }
        assert_eq!(files(place.path(), HOUSE).expect("listed").len(), 3);
        assert_eq!(read(place.path(), HOUSE).expect("read"), [line(1), line(2), line(3)]);
        assert_eq!(Files::open(place.path(), HOUSE).expect("opened").tail, line(3).line);
    }

    #[tokio::test]
    async fn a_journal_has_every_change_and_brings_an_older_store_up_to_date() {
        let place = tempfile::tempdir().expect("a directory");
        let (path, copy) = (place.path().join("journal"), place.path().join("copy"));
        let disk = Disk::new();
        let store = Model::new(disk.clone());
        let journal = Journal::open(&path, HOUSE).expect("made");
        for n in 1..=3 {
            opt_out(&store, n).await;
        }
        journal.catch_up(&store).await;
        store.backup(copy.clone()).await.expect("copied");
        opt_out(&store, 4).await;
        opt_in(&store, 2).await;
        journal.catch_up(&store).await;
        // What nobody caught up with is found by the next one.
        let of_offers = Suppression { programme: programme::Name::parse("offers"), ..entry(5) };
        store.suppress(vec![of_offers], actor()).await.expect("suppressed");
        drop(journal);
        let journal = Journal::open(&path, HOUSE).expect("opened");
        journal.catch_up(&store).await;
        assert_eq!(journal.trouble(), None);
        let lines = read(&path, HOUSE).expect("read");
        assert_eq!(lines.len(), 6);
        drop(journal);

        let older = Model::new(disk.copy_at(&copy).expect("there"));
        let journal = Journal::open(&path, HOUSE).expect("opened");
        journal.catch_up(&older).await;
        assert!(journal.trouble().is_some_and(|why| why.contains("suppression replay")));
        // Later: ids tell the time, so none is given twice.
        let late = Suppression { created_at: NOW.plus_ms(3_600_000), ..entry(9) };
        older.suppress(vec![late], actor()).await.expect("suppressed");
        journal.catch_up(&older).await;
        assert_eq!(read(&path, HOUSE).expect("read"), lines, "nothing is written over what it knows");
        let now = NOW.plus_ms(3_600_000);
        let done = replay(&older, &lines, HOUSE, now).await.expect("replayed");
        assert_eq!((done.added, done.lifted), (2, 1));
        assert_eq!(listed(&older).await, [1, 3, 4, 5, 9]);
        let fifth = older.suppressed(vec![(REALM, number(5))], now).await.expect("looked").remove(0);
        assert_eq!((fifth.account, fifth.programmes.len()), (None, 1), "of one programme, as it was");
        let again = replay(&older, &lines, HOUSE, now).await.expect("replayed");
        assert_eq!((again.added, again.lifted), (0, 0));
        journal.catch_up(&older).await;
        assert_eq!(journal.trouble(), None);
        let lines = read(&path, HOUSE).expect("read");
        assert!(lines.iter().any(|line| line.entry.recipient == number(9)), "and goes on");
        assert!(is_replayed(&older, &lines, HOUSE).await.expect("asked"));
    }
}
