//! What a transaction works with: the connection, and what the writer remembers between transactions.

use super::message::Hot;
use super::session::failed;
use super::statement::{Prepared, Statements};
use super::{Options, endpoint, message, quota, silence, spend};
use crate::backend::STORE_NODE;
use crate::carriers::Carriers;
use crate::guard::Crashes;
use crate::listeners::Listeners;
use crate::looked::Looked;
use crate::recent::Recent;
use crate::silent::Silent;
use crate::tally::Tallies;
use crate::waiting::{ByPurpose, Changes, Waiting};
use crate::{Crashed, Guard, Key, Result};
use rusqlite::{Connection, Row, ToSql};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tidings_domain::address::PhoneNumber;
use tidings_domain::id::{AccountId, MessageId, Sequence, next_place};
use tidings_domain::message::Message;
use tidings_domain::purpose::Purpose;
use tidings_domain::queue::Paces;
use tidings_domain::time::Timestamp;

/// Messages at their carriers that are remembered as they are stored, at most twice as many. Most are answered by their carrier, and
/// reported, before so many others came.
const REMEMBERED: usize = 2_048;

/// What a write works with: the open transaction, and what the writer remembers between transactions.
pub(super) struct Tx<'c> {
    pub sql: &'c Connection,
    statements: &'c dyn Statements,
    /// Who is known to be free of suppressions.
    pub looked: &'c Looked,
    /// The senders whose messages wait in queues of their own.
    pub paces: &'c Paces,
    /// Which connections share their receipts.
    pub carriers: &'c Carriers,
    guard: &'c Guard,
    memory: &'c mut Memory,
}

/// What the writer knows without asking the database.
pub(super) struct Memory {
    /// What the file's `data_version` was: another one says that another process wrote.
    version: i64,
    /// Thrown away when a transaction fails or another process wrote.
    loaded: Option<Loaded>,
    ids: Sequence,
    /// Whether this transaction changed the suppression list.
    list_changed: bool,
    /// What waits to be sent, once somebody asked.
    waiting: Option<Arc<Waiting>>,
    /// How this transaction changes that.
    changes: Changes,
    crashes: Crashes,
    parked_max: usize,
    /// Thrown away when a transaction fails or another process wrote.
    tallies: Tallies,
    /// Of which numbers there may be a silence, once somebody asked; read anew when another process wrote.
    silent: Option<Silent>,
    /// Messages that were written lately, as they are stored. Thrown away when a transaction fails or another process wrote.
    messages: Recent<MessageId, Hot, REMEMBERED>,
}

impl Memory {
    pub fn new(options: &Options) -> Self {
        Self {
            version: 0,
            loaded: None,
            ids: Sequence::new(STORE_NODE),
            list_changed: false,
            waiting: None,
            changes: Changes::default(),
            crashes: Crashes::default(),
            parked_max: options.parked_max,
            tallies: Tallies::default(),
            silent: None,
            messages: Recent::default(),
        }
    }

    /// What crashed in this group.
    pub const fn crashes(&mut self) -> &mut Crashes {
        &mut self.crashes
    }

    /// Nothing that was remembered is certain any more.
    fn forget(&mut self) {
        self.loaded = None;
        self.tallies = Tallies::default();
        self.silent = None;
        self.messages.clear();
    }
}

struct Loaded {
    last_event: i64,
    listeners: Arc<Listeners>,
    /// Rows of parked receipts by connection.
    parked: HashMap<i64, usize>,
}

impl Tx<'_> {
    /// Runs a statement that runs for each message: it is prepared once. Gives the number of rows that it changed.
    pub fn execute(&self, text: &'static str, values: &[&dyn ToSql]) -> Result<usize> {
        self.statements.execute(text, values)
    }

    /// Reads rows by a statement that runs for each message: it is prepared once. `read` must not run any itself.
    pub fn rows<T>(
        &self,
        text: &'static str,
        values: &[&dyn ToSql],
        read: impl Fn(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut found = Vec::new();
        self.statements.each(text, values, &mut |row| {
            found.push(read(row)?);
            Ok(())
        })?;
        Ok(found)
    }

    /// A place in the event log. Places are given in the order of the commits, so that a reader who follows them
    /// never skips one that commits later; within that they tell the time at which it happened.
    pub fn next_event(&mut self, at: Timestamp) -> Result<i64> {
        let loaded = self.loaded()?;
        loaded.last_event = next_place(loaded.last_event, at);
        Ok(loaded.last_event)
    }

    /// Who wants to hear of events.
    pub fn listeners(&mut self) -> Result<Arc<Listeners>> {
        Ok(Arc::clone(&self.loaded()?.listeners))
    }

    /// To be called when endpoints changed.
    pub fn forget_listeners(&mut self) -> Result<()> {
        let listeners = Arc::new(endpoint::listeners(self.sql)?);
        self.loaded()?.listeners = listeners;
        Ok(())
    }

    /// Whether any receipt is parked: nearly always not, and then nobody needs to look.
    pub fn any_parked(&mut self) -> Result<bool> {
        Ok(!self.loaded()?.parked.is_empty())
    }

    /// To be called when a receipt of this connection was parked, with its rows. Gives the number of rows by which the
    /// connection has too many now.
    pub fn note_parked(&mut self, connection: i64, rows: usize) -> Result<usize> {
        let most = self.memory.parked_max;
        let parked = self.loaded()?.parked.entry(connection).or_default();
        *parked += rows;
        Ok(parked.saturating_sub(most))
    }

    /// To be called when rows of parked receipts of this connection were deleted.
    pub fn note_unparked(&mut self, connection: i64, rows: usize) -> Result<()> {
        let all = &mut self.loaded()?.parked;
        if let Some(parked) = all.get_mut(&connection) {
            *parked = parked.saturating_sub(rows);
            if *parked == 0 {
                all.remove(&connection);
            }
        }
        Ok(())
    }

    /// Whether there may be a silence of this number: of most there is none.
    pub fn may_be_silent(&mut self, number: PhoneNumber) -> Result<bool> {
        if self.memory.silent.as_ref().is_none_or(Silent::is_worn) {
            self.memory.silent = Some(Silent::of(silence::numbers(self.sql)?));
        }
        Ok(self.memory.silent.as_ref().is_some_and(|silent| silent.may_have(number)))
    }

    /// To be called when there is a silence of this number.
    pub fn note_silent(&mut self, number: PhoneNumber) {
        if let Some(silent) = &mut self.memory.silent {
            silent.add(number);
        }
    }

    /// To be called when this message is stored so, by this transaction, and is still on its way.
    pub fn remember(&mut self, hot: Hot) {
        self.memory.messages.put(hot.message.id, hot);
    }

    /// The message as it is stored, if that is remembered. It is not remembered from here on.
    pub fn recall(&mut self, id: MessageId) -> Option<Hot> {
        self.memory.messages.take(&id)
    }

    /// Sums that are known, and written with this transaction.
    pub const fn tallies(&mut self) -> &mut Tallies {
        &mut self.memory.tallies
    }

    /// To be called when the suppression list was changed.
    pub fn note_list_changed(&mut self) {
        self.memory.list_changed = true;
    }

    /// Handles one of the things that an operation is about. If that crashes, everything in this transaction is run
    /// again, and after [`CRASHES_MAX`] crashes without this thing: then `None`, and the others go on.
    pub fn contain<T>(
        &mut self,
        key: impl Into<Key>,
        work: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<Option<T>> {
        let key = key.into();
        if self.memory.crashes.is_set_aside(key) {
            return Ok(None);
        }
        let guard = self.guard;
        match guard.once(key, || work(self)) {
            Ok(done) => done.map(Some),
            Err(Crashed) => Err(self.memory.crashes.note(key)),
        }
    }

    /// The messages that this group of operations left as they are, because it crashed at them.
    pub fn set_aside(&self) -> Vec<MessageId> {
        self.memory.crashes.set_aside()
    }

    /// To be called when `by` more messages like this one wait to be sent.
    pub fn waits(&mut self, message: &Message, by: i64) {
        self.waits_of(message.account, message.purpose, by);
    }

    /// The same for a message that is not at hand.
    pub fn waits_of(&mut self, account: AccountId, purpose: Purpose, by: i64) {
        self.memory.changes.note(account, purpose, by);
    }

    /// What waits to be sent, as `count` finds it now and as every commit keeps it from here on.
    pub fn waiting(
        &mut self,
        count: impl FnOnce(&Connection) -> Result<BTreeMap<AccountId, ByPurpose>>,
    ) -> Result<Arc<Waiting>> {
        let waiting = Arc::clone(self.memory.waiting.get_or_insert_default());
        waiting.set(count(self.sql)?);
        // What this transaction changed before is counted.
        self.memory.changes.clear();
        Ok(waiting)
    }

    /// An id for a row that the store makes by itself.
    pub fn next_id(&mut self, now: Timestamp) -> Result<i64> {
        self.loaded()?;
        Ok(self.memory.ids.next(now))
    }

    /// To be called when parked receipts of any connection were deleted.
    pub fn recount_parked(&mut self) -> Result<()> {
        let counted = self.count_parked()?;
        self.loaded()?.parked = counted;
        Ok(())
    }

    fn count_parked(&self) -> Result<HashMap<i64, usize>> {
        let mut statement = self
            .sql
            .prepare_cached("SELECT connection, count(*) FROM parked GROUP BY connection")
            .map_err(failed)?;
        let rows = statement
            .query_map([], |row| Ok((row.get(0)?, row.get::<_, u32>(1)? as usize)))
            .map_err(failed)?;
        rows.collect::<rusqlite::Result<_>>().map_err(failed)
    }

    fn loaded(&mut self) -> Result<&mut Loaded> {
        if self.memory.loaded.is_none() {
            let one = |sql: &str| self.sql.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(failed);
            // Ids go on after those of an earlier process and of another one, whose clocks may have been ahead.
            for newest in [
                "SELECT coalesce(max(id), 0) FROM review",
                "SELECT coalesce(max(id), 0) FROM suppression",
                "SELECT coalesce(max(id), 0) FROM audit",
                "SELECT coalesce(max(receipt), 0) FROM parked",
            ] {
                self.memory.ids.pass(one(newest)?);
            }
            self.memory.loaded = Some(Loaded {
                last_event: one("SELECT coalesce(max(seq), 0) FROM event")?,
                listeners: Arc::new(endpoint::listeners(self.sql)?),
                parked: self.count_parked()?,
            });
        }
        Ok(self.memory.loaded.as_mut().expect("it was loaded just above"))
    }
}

/// What a transaction works with besides the writer's memory.
#[derive(Clone, Copy)]
pub(super) struct Outside<'w> {
    pub connection: &'w Connection,
    pub looked: &'w Looked,
    pub paces: &'w Paces,
    pub carriers: &'w Carriers,
    pub guard: &'w Guard,
}

/// Does this in one transaction, and commits.
///
/// # Errors
/// What could not be done: then nothing was.
pub(super) fn transact(
    outside: Outside<'_>,
    memory: &mut Memory,
    work: impl FnOnce(&mut Tx<'_>) -> Result<()>,
) -> Result<()> {
    let Outside { connection, looked, paces, carriers, guard } = outside;
    let statement =
        |sql: &str| connection.prepare_cached(sql).and_then(|mut s| s.execute([])).map_err(failed);
    statement("BEGIN IMMEDIATE")?;
    memory.changes.clear();
    let result = (|| {
        // Changes whenever another process committed: then nothing that was remembered is certain.
        let seen = connection
            .prepare_cached("PRAGMA data_version")
            .and_then(|mut s| s.query_row([], |row| row.get::<_, i64>(0)))
            .map_err(failed)?;
        if seen != memory.version {
            memory.version = seen;
            memory.forget();
            looked.renew();
            if let Some(waiting) = &memory.waiting {
                waiting.set(message::count_waiting(connection)?);
            }
        }
        let statements = &Prepared::new(connection);
        work(&mut Tx { sql: connection, statements, looked, paces, carriers, guard, memory: &mut *memory })?;
        quota::write(connection, memory.tallies.quotas.take_changed())?;
        spend::write(connection, memory.tallies.spends.take_changed())?;
        statement("COMMIT").map(drop)
    })();
    // Before anybody hears of this commit. After a failure, what was looked at may never have been true.
    if std::mem::take(&mut memory.list_changed) || result.is_err() {
        looked.renew();
    }
    if let (Ok(()), Some(waiting)) = (&result, &memory.waiting) {
        waiting.apply(&mut memory.changes);
    }
    if result.is_err() {
        // It may have been read when rows were there that are gone now, or gone that are back.
        memory.forget();
        if !connection.is_autocommit() {
            drop(statement("ROLLBACK"));
        }
    }
    result
}
