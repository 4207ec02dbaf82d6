//! Imports of contacts: reading a file while it comes, and taking the rows over once that is decided.
//!
//! A file is nowhere kept: it is judged as it comes (`domain::table`), and what was judged goes into the store in windows,
//! the next of which is read while one is written. So there is nothing to go on with when reading is broken off; the file is
//! sent again. Taking over goes on after any crash and on any node, piece by piece, each in one commit.

use crate::Inner;
use crate::clock::Clock;
use std::ops::RangeInclusive;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tidings_domain::account::Realm;
use tidings_domain::id::{ContactId, ImportId};
use tidings_domain::import::{Contacts, Import, Progress, Row, State};
use tidings_domain::table::{Options, Reader, Refused, Report, Unusable, Window};
use tidings_store::{Backend, Error, Result, Staged};
use tokio::task::JoinHandle;

/// How often it is looked whether there is an import to take over that another process or node left: ms.
const EVERY_MS: u64 = 2_000;
/// Bounds of the rest between two pieces that are taken over: ms.
const REST_MS: RangeInclusive<u64> = 3..=1_000;
/// Octets that are judged at once.
const STEP: usize = 64 * 1024;
/// Octets that are held until they are judged: each time costs a change of threads.
const HELD_MAX: usize = 256 * 1024;

/// Why a file was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    /// It is no table that can be read.
    #[error("{0}")]
    Unusable(Unusable),
    /// Somebody decided against the import meanwhile, or it stood still for too long.
    #[error("the import was given up meanwhile")]
    GivenUp,
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] Error),
}

/// What only the store knows of rows.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    known: u64,
    suppressed: u64,
}

/// A file that is being read.
pub struct Upload {
    store: Arc<dyn Backend>,
    import: Import,
    reader: Option<Reader<Contacts>>,
    /// What came and is too little to be judged.
    held: Vec<u8>,
    counts: Counts,
    /// The window that is being written.
    writing: Option<JoinHandle<std::result::Result<Counts, Stopped>>>,
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload").field("import", &self.import.id).finish_non_exhaustive()
    }
}

impl Upload {
    /// Begins an import.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn begin(
        store: Arc<dyn Backend>,
        clock: &Clock,
        realm: Realm,
        (name, who): (String, String),
        (options, contacts): (Options, Contacts),
    ) -> Result<Self> {
        let now = clock.now();
        let import = Import {
            id: ImportId::from_key(clock.id()),
            realm,
            name,
            who,
            state: State::Reading,
            headings: Vec::new(),
            report: Report::default(),
            progress: Progress::default(),
            created_at: now,
            updated_at: now,
        };
        store.begin_import(import.clone()).await?;
        let reader = Some(Reader::new(options, contacts));
        Ok(Self { store, import, reader, held: Vec::new(), counts: Counts::default(), writing: None })
    }

    /// The id of the import.
    pub const fn id(&self) -> ImportId {
        self.import.id
    }

    /// Rows that were judged so far.
    pub fn rows(&self) -> u64 {
        self.reader.as_ref().map_or(0, |reader| reader.report().rows)
    }

    /// Judges the next octets, and writes what was judged when it is enough.
    ///
    /// # Errors
    /// [`Stopped`]; the import is over then.
    pub async fn feed(&mut self, clock: &Clock, octets: &[u8]) -> std::result::Result<(), Stopped> {
        self.held.extend_from_slice(octets);
        if self.held.len() < HELD_MAX {
            return Ok(());
        }
        self.judge(clock).await?;
        if self.reader.as_ref().is_some_and(Reader::is_full) {
            self.write(clock, State::Reading).await?;
        }
        Ok(())
    }

    async fn judge(&mut self, clock: &Clock) -> std::result::Result<(), Stopped> {
        let octets = std::mem::take(&mut self.held);
        let fed = self.apart(move |reader| octets.chunks(STEP).try_for_each(|part| reader.feed(part))).await;
        self.went(clock, fed).await
    }

    /// The file is whole: gives the import with its report.
    ///
    /// # Errors
    /// [`Stopped`]; the import is over then.
    pub async fn finish(mut self, clock: &Clock) -> std::result::Result<Import, Stopped> {
        self.judge(clock).await?;
        let ended = self.apart(Reader::end).await;
        self.went(clock, ended).await?;
        self.write(clock, State::Ready).await?;
        self.written().await?;
        let import = self.store.import(self.import.realm, self.import.id).await?;
        import.ok_or(Stopped::GivenUp)
    }

    /// The file broke off: its rows are thrown away.
    ///
    /// # Errors
    /// The store does not answer; the import is given up after an hour then.
    pub async fn break_off(mut self, clock: &Clock) -> std::result::Result<(), Stopped> {
        self.end(clock).await
    }

    /// Works with the reader where nobody waits for it: it costs microseconds for each row.
    async fn apart<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Reader<Contacts>) -> T + Send + 'static,
    ) -> T {
        let mut reader = self.reader.take().expect("it is there between two calls");
        let done = tokio::task::spawn_blocking(move || {
            let done = work(&mut reader);
            (reader, done)
        });
        let (reader, done) = done.await.expect("judging a row does not panic");
        self.reader = Some(reader);
        done
    }

    async fn went(
        &mut self,
        clock: &Clock,
        result: std::result::Result<(), Unusable>,
    ) -> std::result::Result<(), Stopped> {
        let Err(why) = result else { return Ok(()) };
        self.end(clock).await?;
        Err(Stopped::Unusable(why))
    }

    async fn end(&mut self, clock: &Clock) -> std::result::Result<(), Stopped> {
        drop(self.apart(Reader::take).await);
        self.write(clock, State::Broken).await?;
        self.written().await
    }

    /// Begins to write what was judged, once what was before it is written.
    async fn write(&mut self, clock: &Clock, state: State) -> std::result::Result<(), Stopped> {
        self.written().await?;
        let taken = |reader: &mut Reader<Contacts>| {
            let window = reader.take();
            (window, reader.headings().to_vec(), reader.report().clone())
        };
        let (window, headings, report) = self.apart(taken).await;
        let window = window.numbered(|| ContactId::from_key(clock.id()));
        let (store, now) = (Arc::clone(&self.store), clock.now());
        let (realm, id, before) = (self.import.realm, self.import.id, self.counts);
        self.writing = Some(tokio::spawn(async move {
            let counts = count(&*store, realm, &window, before, now).await?;
            let report = Report { known: counts.known, suppressed: counts.suppressed, ..report };
            let staged = Staged { window, headings, report, state };
            if store.stage_import(realm, id, staged, now).await? { Ok(counts) } else { Err(Stopped::GivenUp) }
        }));
        Ok(())
    }

    async fn written(&mut self) -> std::result::Result<(), Stopped> {
        if let Some(writing) = self.writing.take() {
            self.counts = writing.await.expect("writing a window does not panic")?;
        }
        Ok(())
    }
}

/// Adds what the store knows of the rows of a window.
async fn count(
    store: &dyn Backend,
    realm: Realm,
    window: &Window<Row>,
    before: Counts,
    now: tidings_domain::time::Timestamp,
) -> Result<Counts> {
    let numbers: Vec<_> = window.rows.iter().map(|row| row.number).collect();
    if numbers.is_empty() {
        return Ok(before);
    }
    let people = numbers.iter().map(|number| (realm, *number)).collect();
    let suppressed = store.suppressed(people, now).await?;
    let known = store.known_numbers(realm, numbers).await?;
    Ok(Counts {
        known: before.known + known,
        suppressed: before.suppressed
            + suppressed.iter().filter(|standing| standing.against_all().is_some()).count() as u64,
    })
}

/// The rows that were not taken over, as a table: line, why and which column, and then the columns of the file, so that it can
/// be mended and imported.
#[derive(Debug)]
pub struct Refusals {
    realm: Realm,
    id: ImportId,
    heading: Option<String>,
    place: Option<i64>,
}

impl Refusals {
    /// Before the first row.
    pub fn of(import: &Import) -> Self {
        let mut heading = String::new();
        Refused::write_headings(&mut heading, &import.headings);
        Self { realm: import.realm, id: import.id, heading: Some(heading), place: None }
    }

    /// The next part of the table; `None` behind its end.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn next(&mut self, store: &dyn Backend) -> Result<Option<String>> {
        if let Some(heading) = self.heading.take() {
            return Ok(Some(heading));
        }
        let Some((rows, place)) = store.refused_rows(self.realm, self.id, self.place).await? else {
            return Ok(None);
        };
        self.place = Some(place);
        let mut text = String::new();
        rows.iter().for_each(|row| row.write(&mut text));
        Ok(Some(text))
    }
}

/// How long to rest after a piece whose commit took so long: as long. Without that, whoever else writes (to the same file: a
/// command beside a server) would hardly ever have the turn.
pub fn rest(took_ms: u64) -> Duration {
    Duration::from_millis(took_ms.clamp(*REST_MS.start(), *REST_MS.end()))
}

/// Takes over what is to be taken over.
pub(crate) async fn watch(engine: &Weak<Inner>) {
    loop {
        let Some(inner) = engine.upgrade() else { return };
        if let Err(error) = take_over(&inner).await {
            crate::warn(&error, "an import could not be taken over");
        }
        let decided = Arc::clone(&inner.import_decided);
        drop(inner);
        tokio::select! {
            biased;
            () = decided.notified() => {}
            () = tokio::time::sleep(Duration::from_millis(EVERY_MS)) => {}
        }
    }
}

async fn take_over(inner: &Inner) -> Result<()> {
    while let Some(id) = inner.store.next_import().await? {
        while !inner.stopping() {
            let took = inner.clock.stopwatch();
            let import = inner.store.apply_import(id, inner.clock.now()).await?;
            if import.is_none_or(|import| import.state != State::Committing) {
                break;
            }
            tokio::time::sleep(rest(took.elapsed_ms())).await;
        }
        if inner.stopping() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_over_rests_as_long_as_it_worked() {
        for (took_ms, rest_ms) in [(0, 3), (3, 3), (40, 40), (1_000, 1_000), (30_000, 1_000)] {
            assert_eq!(rest(took_ms), Duration::from_millis(rest_ms), "{took_ms}");
        }
    }
}
