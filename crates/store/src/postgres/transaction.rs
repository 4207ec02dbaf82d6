//! What a transaction works with: the session, the sheets, and what the writer remembers between transactions.

use super::executor::{GROUP_TIMEOUT, too_long};
use super::front::{Fronts, Queue};
use super::news::{self, Fellowship, Line};
use super::session::{Flight, Session, Value, cell, values};
use super::{Options, endpoint, event, message, node, operating, quota, review, spend, suppression};
use crate::backend::STORE_NODE;
use crate::carriers::Carriers;
use crate::guard::Crashes;
use crate::listeners::Listeners;
use crate::looked::Looked;
use crate::tally::Tallies;
use crate::waiting::{Changes, Waiting};
use crate::{Crashed, Guard, Key, Result};
use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use tidings_domain::id::{AccountId, MessageId, Sequence, next_place};
use tidings_domain::message::Message;
use tidings_domain::purpose::Purpose;
use tidings_domain::queue::Paces;
use tidings_domain::time::Timestamp;
use tokio_postgres::Row;

/// The key of the lock that is the turn to write. Any number does that nobody else uses in this database.
pub(super) const TURN: &str = "SELECT pg_advisory_xact_lock(6216813001)";
/// The number of the transaction, who wrote last, what changed how often, and whether this node is still in the list.
const WHO: &str = "SELECT pg_current_xact_id()::text, (SELECT last_value FROM last_writer),
   (SELECT last_value FROM list_version), (SELECT last_value FROM settings_version),
   (SELECT last_value FROM parked_version), $1::text IS NULL OR EXISTS (SELECT 1 FROM node WHERE id = $1)";
/// The places that are given in the order of commits. Ids go on after those of an earlier process and of another one,
/// whose clocks may have been ahead.
const PLACES: &str = "SELECT greatest(
   (SELECT max(id) FROM review), (SELECT max(id) FROM suppression), (SELECT max(id) FROM audit),
   (SELECT max(receipt) FROM parked), 0),
   coalesce((SELECT max(seq) FROM event), 0)";

/// What is prepared when a session is opened, so that it is sent before whatever is asked behind it.
pub(super) const PREPARED: [&str; 3] = [TURN, WHO, PLACES];

/// What a write works with: the session with its open transaction, the sheets, and what the writer remembers between
/// transactions.
pub(super) struct Tx {
    pub sql: Session,
    pub sheets: Sheets,
    /// Who is known to be free of suppressions.
    pub looked: Arc<Looked>,
    /// The senders whose messages wait in queues of their own.
    pub paces: Arc<Paces>,
    /// Which connections share their receipts.
    pub carriers: Arc<Carriers>,
    guard: Arc<Guard>,
    memory: Memory,
    /// Our number among those who write: even for nodes.
    number: i64,
    /// Tells whether the server crashed since this session was opened.
    era: String,
    fellowship: Arc<Fellowship>,
}

/// What was loaded and what must be written, by noun.
#[derive(Default)]
pub(super) struct Sheets {
    pub messages: message::Sheet,
    pub events: event::Sheet,
    pub list: suppression::Sheet,
    pub reviews: review::Sheet,
    pub trail: operating::Sheet,
}

/// What operations say beforehand that they will look at.
#[derive(Default)]
pub(super) struct Needs {
    pub messages: message::Needs,
    pub events: event::Needs,
    pub list: suppression::Needs,
}

impl Needs {
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.events.is_empty() && self.list.is_empty()
    }
}

/// What the writer knows without asking the database.
struct Memory {
    /// Thrown away when a transaction fails or another process wrote.
    loaded: Option<Loaded>,
    ids: Sequence,
    /// The turn to write, where it was asked for before there was a group: a transaction is open, or that failed.
    turn: Option<Result<()>>,
    /// Whether another process wrote since our last transaction.
    others_wrote: bool,
    /// What was changed how often, as it was when this was last looked at.
    versions: Versions,
    /// What this transaction changes of it.
    list_changed: bool,
    parked_changed: bool,
    /// Thrown away when a transaction fails or another process wrote.
    tallies: Tallies,
    /// What this transaction has to tell other nodes.
    line: Line,
    /// Whether this process becomes a node with this transaction, or ceases to be one.
    membership: Option<Option<(String, u16)>>,
    /// What waits to be sent, once somebody asked.
    waiting: Option<Arc<Waiting>>,
    /// It must be counted again: this session is new, and what others told meanwhile was not heard.
    recounts: bool,
    /// How this transaction changes that.
    changes: Changes,
    crashes: Crashes,
    parked_max: usize,
}

/// How often things were changed by anybody, which says whether what is remembered of them is still so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Versions {
    list: i64,
    settings: i64,
    parked: i64,
}

struct Loaded {
    last_event: i64,
    listeners: Arc<Listeners>,
    /// Rows of parked receipts by connection.
    parked: HashMap<i64, usize>,
}

impl Tx {
    /// A place in the event log. Places are given in the order of the commits, so that a reader who follows them
    /// never skips one that commits later; within that they tell the time at which it happened.
    pub fn next_event(&mut self, at: Timestamp) -> i64 {
        let loaded = self.loaded();
        loaded.last_event = next_place(loaded.last_event, at);
        loaded.last_event
    }

    /// Who wants to hear of events.
    pub fn listeners(&mut self) -> Arc<Listeners> {
        Arc::clone(&self.loaded().listeners)
    }

    /// To be called when endpoints changed.
    pub async fn forget_listeners(&mut self) -> Result<()> {
        self.memory.line.settings = true;
        let listeners = Arc::new(endpoint::listeners(&self.sql).await?);
        self.loaded().listeners = listeners;
        Ok(())
    }

    /// Whether any receipt is parked: nearly always not, and then nobody needs to look.
    pub fn any_parked(&mut self) -> bool {
        !self.loaded().parked.is_empty()
    }

    /// The same before the transaction, where it may not be known yet.
    pub fn may_be_parked(&self) -> bool {
        self.memory.loaded.as_ref().is_some_and(|loaded| !loaded.parked.is_empty())
    }

    /// To be called when a receipt of this connection was parked, with its rows. Gives the number of rows by which the
    /// connection has too many now.
    pub fn note_parked(&mut self, connection: i64, rows: usize) -> usize {
        let most = self.memory.parked_max;
        if rows == 0 {
            return 0;
        }
        self.memory.parked_changed = true;
        let parked = self.loaded().parked.entry(connection).or_default();
        *parked += rows;
        parked.saturating_sub(most)
    }

    /// To be called when rows of parked receipts of this connection were deleted.
    pub fn note_unparked(&mut self, connection: i64, rows: usize) {
        self.memory.parked_changed = true;
        let all = &mut self.loaded().parked;
        if let Some(parked) = all.get_mut(&connection) {
            *parked = parked.saturating_sub(rows);
            if *parked == 0 {
                all.remove(&connection);
            }
        }
    }

    /// To be called when parked receipts of any connection were deleted.
    pub async fn recount_parked(&mut self) -> Result<()> {
        self.memory.parked_changed = true;
        self.loaded().parked = count_parked(&self.sql).await?;
        Ok(())
    }

    /// Handles one of the things that an operation is about. If that crashes, everything in this transaction is run
    /// again, and after three crashes without this thing: then `None`, and the others go on.
    pub async fn contain<T>(
        &mut self,
        key: impl Into<Key>,
        work: impl AsyncFnOnce(&mut Self) -> Result<T>,
    ) -> Result<Option<T>> {
        let key = key.into();
        if self.memory.crashes.is_set_aside(key) {
            return Ok(None);
        }
        let guard = Arc::clone(&self.guard);
        let outcome = {
            let mut doing = pin!(work(self));
            // It is handled while it is polled: not while it waits for the server.
            std::future::poll_fn(|context| match guard.once(key, || doing.as_mut().poll(context)) {
                Ok(Poll::Pending) => Poll::Pending,
                Ok(Poll::Ready(done)) => Poll::Ready(Ok(done)),
                Err(crashed) => Poll::Ready(Err(crashed)),
            })
            .await
        };
        match outcome {
            Ok(done) => done.map(Some),
            Err(Crashed) => Err(self.memory.crashes.note(key)),
        }
    }

    /// Looks at one of the things that an operation is about before it runs. A crash is passed over: the operation will
    /// meet it again.
    pub fn foresee(&self, key: impl Into<Key>, look: impl FnOnce()) {
        let key = key.into();
        if !self.memory.crashes.is_set_aside(key) {
            let _ = self.guard.once(key, look);
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

    /// What waits to be sent, counted now and as every commit keeps it from here on.
    pub async fn waiting(&mut self) -> Result<Arc<Waiting>> {
        let waiting = Arc::clone(self.memory.waiting.get_or_insert_default());
        *self.fellowship.waiting.lock().expect("nothing panics while it holds this") =
            Some(Arc::clone(&waiting));
        waiting.set(message::count_waiting(&self.sql).await?);
        // What this transaction changed before is counted.
        self.memory.changes.clear();
        Ok(waiting)
    }

    /// Sums that are known, and written with this transaction.
    pub const fn tallies(&mut self) -> &mut Tallies {
        &mut self.memory.tallies
    }

    /// To be called when the suppression list was changed.
    pub fn note_list_changed(&mut self) {
        self.memory.list_changed = true;
    }

    /// The version of the suppression list at the beginning of this transaction.
    pub const fn list_version(&self) -> i64 {
        self.memory.versions.list
    }

    /// What other nodes will hear of this transaction.
    pub const fn news(&mut self) -> &mut Line {
        &mut self.memory.line
    }

    /// Where the queues begin.
    pub fn fronts(&self) -> &Arc<Fronts> {
        &self.fellowship.fronts
    }

    /// Queues were changed in another way than by the sheets: nobody knows where they begin.
    pub fn forget_fronts(&mut self) {
        self.fronts().forget();
        self.memory.line.all_fronts = true;
    }

    /// Notes what the sheets put into queues.
    fn note_fronts(&mut self) {
        let mut put: Vec<(Queue, i64)> = Vec::new();
        self.sheets.messages.put(&mut put);
        self.sheets.events.put_deliveries(&mut put);
        for (queue, at) in &put {
            self.memory.line.put(*queue, *at);
        }
        self.fellowship.fronts.coming(self.memory.line.fronts());
    }

    /// Whether there is somebody to hear it.
    pub fn set_peers(&self, has_peers: bool) {
        self.fellowship.has_peers.store(has_peers, Ordering::Release);
    }

    /// Whether this process serves the database: others do not hear what it tells by themselves.
    const fn is_node(&self) -> bool {
        self.number % 2 == 0
    }

    /// The node that this process is, if it is one.
    pub fn node(&self) -> Option<String> {
        self.fellowship.node().map(|(id, _)| id)
    }

    /// With this transaction this process becomes a node, or ceases to be one.
    pub fn become_node(&mut self, node: Option<(String, u16)>) {
        self.memory.membership = Some(node);
    }

    /// An id for a row that the store makes by itself.
    pub fn next_id(&mut self, now: Timestamp) -> i64 {
        self.memory.ids.next(now)
    }

    fn loaded(&mut self) -> &mut Loaded {
        self.memory.loaded.as_mut().expect("no operation runs before it is loaded")
    }

    /// Waits for the turn to write before there is a group, where others write too: the group is better the later it is
    /// formed. One process alone does not wait, and saves the trip.
    pub async fn take_turn(&mut self) {
        if !self.fellowship.has_peers.load(Ordering::Acquire) {
            return;
        }
        let taking =
            async { tokio::try_join!(biased; self.sql.command("BEGIN"), self.sql.execute(TURN, &[])) };
        let taken = tokio::time::timeout(GROUP_TIMEOUT, taking).await;
        self.memory.turn = Some(taken.map_or_else(|_| Err(too_long()), |taken| taken.map(drop)));
    }

    /// Looks at the places that are given in the order of commits.
    async fn look_at_places(&mut self) -> Result<i64> {
        let places = self.sql.one(PLACES, &[]).await?;
        self.pass_places(&places)
    }

    fn pass_places(&mut self, places: &Row) -> Result<i64> {
        self.memory.ids.pass(cell(places, 0)?);
        cell(places, 1)
    }

    async fn remember(&mut self) -> Result<()> {
        self.memory.loaded = Some(Loaded {
            last_event: self.look_at_places().await?,
            parked: count_parked(&self.sql).await?,
            listeners: Arc::new(endpoint::listeners(&self.sql).await?),
        });
        Ok(())
    }

    /// Writes what is to be written and forgets what was loaded, so that statements can be sent that look at rows or
    /// change them by themselves.
    pub async fn settle(&mut self) -> Result<()> {
        self.note_fronts();
        let sheets = std::mem::take(&mut self.sheets);
        let mut flight = Flight::default();
        sheets.write(&mut flight);
        if flight.is_empty() { Ok(()) } else { flight.run(&self.sql).await }
    }

    /// Loads what operations named.
    pub async fn load(&mut self, needs: Needs) -> Result<()> {
        self.sheets.load(&self.sql, needs).await
    }
}

async fn count_parked(sql: &Session) -> Result<HashMap<i64, usize>> {
    let rows = sql.rows("SELECT connection, count(*) FROM parked GROUP BY connection", &[]).await?;
    rows.iter().map(|row| Ok((cell(row, 0)?, cell::<i64>(row, 1)? as usize))).collect()
}

impl Sheets {
    async fn load(&mut self, sql: &Session, needs: Needs) -> Result<()> {
        tokio::try_join!(
            biased;
            self.messages.load(sql, needs.messages),
            self.events.load(sql, needs.events),
            self.list.load(sql, needs.list),
        )
        .map(drop)
    }

    fn write<'v>(&'v self, flight: &mut Flight<'v>) {
        self.messages.write(flight);
        self.events.write(flight);
        self.list.write(flight);
        self.reviews.write(flight);
        self.trail.write(flight);
    }
}

// ── from its beginning to its end ───────────────────────────────────────────────────────────────────────────

impl Tx {
    /// What one works with over a session, of which this is the number among those who write.
    #[expect(clippy::too_many_arguments, reason = "what it shares with the rest of the store, once")]
    pub fn over(
        sql: Session,
        number: i64,
        era: String,
        options: &Options,
        looked: Arc<Looked>,
        guard: Arc<Guard>,
        fellowship: Arc<Fellowship>,
        waiting: Option<Arc<Waiting>>,
    ) -> Self {
        let ids = fellowship.node().map_or(STORE_NODE, |(_, number)| node::STORE_NUMBERS + number);
        let memory = Memory {
            loaded: None,
            ids: Sequence::new(ids),
            turn: None,
            others_wrote: false,
            versions: Versions::default(),
            list_changed: false,
            parked_changed: false,
            tallies: Tallies::default(),
            line: Line::default(),
            membership: None,
            recounts: waiting.is_some(),
            waiting,
            changes: Changes::default(),
            crashes: Crashes::default(),
            parked_max: options.parked_max,
        };
        let (paces, carriers) = (Arc::clone(&options.paces), Arc::clone(&options.carriers));
        Self {
            sql,
            sheets: Sheets::default(),
            looked,
            paces,
            carriers,
            guard,
            memory,
            number,
            era,
            fellowship,
        }
    }

    /// To be called before each transaction.
    pub fn begins_anew(&mut self) {
        self.memory.changes.clear();
        self.memory.line = Line::default();
        self.memory.parked_changed = false;
        self.memory.membership = None;
    }

    /// Begins a transaction, waits for the turn to write unless we have it, and loads what was named. Gives the transaction's
    /// number.
    ///
    /// Everything is sent at once and done in this order: what is loaded is loaded after the turn was taken. That holds
    /// because the first statements were prepared when the session was opened, and nothing is asked for before what stands
    /// before it (`biased`); so it is also the first failure that is told, and not that nothing was done after it.
    pub async fn begin(&mut self, needs: Needs) -> Result<String> {
        let node = self.node();
        let turn = self.memory.turn.take().transpose()?;
        let Self { sql, sheets, .. } = &mut *self;
        let who: [Value<'_>; 1] = [&node];
        let loading = sheets.load(sql, needs);
        let (row, places) = if turn.is_some() {
            // Others write too, so the places are looked at with the rest.
            let (row, places, _) =
                tokio::try_join!(biased; sql.one(WHO, &who), sql.one(PLACES, &[]), loading)?;
            (row, Some(places))
        } else {
            let taking = sql.execute(TURN, &[]);
            let begin = sql.command("BEGIN");
            let ((), _, row, _) = tokio::try_join!(biased; begin, taking, sql.one(WHO, &who), loading)?;
            (row, None)
        };
        if !cell::<bool>(&row, 5)? {
            return Err(node::expelled());
        }
        let last_writer: i64 = cell(&row, 1)?;
        let now = Versions { list: cell(&row, 2)?, settings: cell(&row, 3)?, parked: cell(&row, 4)? };
        let before = std::mem::replace(&mut self.memory.versions, now);
        if now.list != before.list {
            self.looked.renew();
        }
        self.memory.others_wrote = last_writer != self.number;
        if self.memory.others_wrote {
            self.others_wrote(last_writer, before, places).await?;
        }
        if self.memory.loaded.is_none() {
            self.remember().await?;
        }
        if std::mem::take(&mut self.memory.recounts)
            && let Some(waiting) = &self.memory.waiting
        {
            waiting.set(message::count_waiting(&self.sql).await?);
        }
        cell(&row, 0)
    }

    /// Somebody else wrote since: what was remembered is looked at again.
    async fn others_wrote(&mut self, last_writer: i64, before: Versions, places: Option<Row>) -> Result<()> {
        self.memory.tallies = Tallies::default();
        let is_node = last_writer % 2 == 0;
        let now = self.memory.versions;
        if self.memory.loaded.is_some() {
            let last_event = match places {
                Some(places) => self.pass_places(&places)?,
                None => self.look_at_places().await?,
            };
            self.loaded().last_event = last_event;
            if now.settings != before.settings {
                let listeners = Arc::new(endpoint::listeners(&self.sql).await?);
                self.loaded().listeners = listeners;
            }
            if now.parked != before.parked {
                self.loaded().parked = count_parked(&self.sql).await?;
            }
        }
        if !is_node {
            self.fronts().forget();
        }
        // What nodes changed of this they tell. Others may have begun before there was anybody to tell it to.
        self.memory.recounts |= !is_node;
        Ok(())
    }

    /// Writes what is to be written, and commits.
    pub async fn commit(&mut self) -> Result<()> {
        self.note_fronts();
        let sheets = std::mem::take(&mut self.sheets);
        let mut flight = Flight::default();
        if self.memory.others_wrote {
            flight.statement("SELECT setval('last_writer', $1)", values![self.number]);
        }
        sheets.write(&mut flight);
        quota::write(&mut flight, &self.memory.tallies.quotas.take_changed());
        spend::write(&mut flight, &self.memory.tallies.spends.take_changed());
        let told = self.tell(&mut flight);
        flight.command("COMMIT");
        flight.run(&self.sql).await?;
        self.memory.versions = told;
        Ok(())
    }

    /// Notes that it is committed: to be called before anybody hears of it.
    pub fn note_committed(&mut self) {
        self.fronts().came();
        if std::mem::take(&mut self.memory.list_changed) {
            self.looked.renew();
        }
        if let Some(node) = self.memory.membership.take() {
            if let Some((_, number)) = &node {
                self.memory.ids = Sequence::new(node::STORE_NUMBERS + number);
                // Ids go on after those that others made.
                self.memory.loaded = None;
            }
            *self.fellowship.node.lock().expect("nothing panics while it holds this") = node;
        }
        if let Some(waiting) = &self.memory.waiting {
            waiting.apply(&mut self.memory.changes);
        }
        if self.memory.line.all_fronts {
            // Who looked meanwhile did not see what was moved.
            self.fronts().forget();
        }
    }

    /// Notes that it failed. What was looked at in it may never have been true, and what was seen to be gone may be back.
    pub fn note_taken_back(&mut self) {
        self.fronts().came();
        self.fronts().forget();
        self.looked.renew();
        self.memory.list_changed = false;
        self.memory.loaded = None;
        self.memory.tallies = Tallies::default();
        self.sheets = Sheets::default();
    }

    /// Counts what this transaction changes, and tells other nodes. Gives the versions as they are with its commit: nobody
    /// else changes them while we have the turn.
    fn tell(&self, flight: &mut Flight<'_>) -> Versions {
        let memory = &self.memory;
        let mut versions = memory.versions;
        let has_peers =
            !self.is_node() || self.fellowship.has_peers.load(Ordering::Acquire) || memory.line.nodes;
        let line = memory.line.write(self.number, &memory.changes, memory.list_changed).filter(|_| has_peers);
        if memory.line.settings {
            flight.command("SELECT nextval('settings_version')");
            versions.settings += 1;
        }
        if memory.parked_changed {
            flight.command("SELECT nextval('parked_version')");
            versions.parked += 1;
        }
        if memory.list_changed {
            versions.list += 1;
            match line {
                Some(line) => flight.statement(news::TELL_LIST, values![line]),
                None => flight.command("SELECT nextval('list_version')"),
            }
        } else if let Some(line) = line {
            flight.statement(news::TELL, values![line]);
        }
        versions
    }

    /// Whether with this transaction this process becomes a node, or ceases to be one.
    pub const fn changes_membership(&self) -> bool {
        self.memory.membership.is_some()
    }

    /// Gives up a turn that nobody used, with its transaction, which is still open. `false` if there is none.
    pub fn drop_turn(&mut self) -> bool {
        self.memory.turn.take().is_some()
    }

    /// What waits to be sent, if anybody has asked.
    pub fn known_waiting(&self) -> Option<Arc<Waiting>> {
        self.memory.waiting.clone()
    }

    /// What crashed in this group.
    pub const fn crashes(&mut self) -> &mut Crashes {
        &mut self.memory.crashes
    }

    /// Tells whether the server crashed since this session was opened.
    pub fn era(&self) -> &str {
        &self.era
    }
}
