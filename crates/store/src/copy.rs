//! Moves everything from one database into another, and compares the two row by row.
//!
//! One list, [`TABLES`], says what there is and how the two databases differ in it; both directions and the comparison
//! go by it, and a test holds it against both schemas. Rows are read in the order of their keys, from one snapshot,
//! and written in pieces that are committed whole. So what the target holds of a table is always the beginning of it, and
//! a copy that was broken off goes on behind the last row there; nothing else needs to be remembered. While the
//! copy is not finished and compared, a mark in the target keeps it from being opened: nobody sends from half a copy.
//!
//! What it does not do: change what it copies. What was on its way to a carrier is copied as that, and the next start
//! settles it as after a crash.

use crate::{Error, Result, postgres, sqlite};
use sha2::{Digest as _, Sha256};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use tidings_domain::octets::hexadecimal;

// ── what there is ───────────────────────────────────────────────────────────────────────────────────────────

/// A table of both databases.
#[derive(Debug)]
pub(crate) struct Table {
    pub name: &'static str,
    /// The columns that name a row in both, in an order in which both have an index.
    pub key: &'static [&'static str],
    pub columns: &'static [Column],
    /// Which rows are a part of the installation, as a condition; the others belong to their database.
    pub filter: Option<&'static str>,
}

/// A column of a table.
#[derive(Debug)]
pub(crate) struct Column {
    pub name: &'static str,
    pub kind: Kind,
    pub way: Way,
}

/// What a column holds, as PostgreSQL has it. SQLite keeps the first four as whole numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Short,
    Whole,
    Long,
    Flag,
    Text,
    Octets,
}

/// How a column gets from one database into the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// As it is.
    Same,
    /// Only PostgreSQL has it. SQLite says it in this expression.
    Made(&'static str),
}

macro_rules! tables {
    ($($table:ident ($($key:ident),*) $(where $filter:literal)? {
        $($column:ident: $kind:ident $(= $way:expr)?),* $(,)?
    })*) => {
        &[$(Table {
            name: stringify!($table),
            key: &[$(stringify!($key)),*],
            columns: &[$(Column { name: stringify!($column), kind: Kind::$kind, way: tables!(@way $($way)?) }),*],
            filter: tables!(@filter $($filter)?),
        }),*]
    };
    (@way) => { Way::Same };
    (@way $way:expr) => { $way };
    (@filter) => { None };
    (@filter $filter:literal) => { Some($filter) };
}

/// What was noted of a message may outlive it for some days; then any account will do until it is swept.
const OF_MESSAGE: Way = Way::Made(
    "coalesce((SELECT m.account FROM message m WHERE m.id = message), (SELECT min(id) FROM account))",
);
/// An endpoint may have been deleted, and then its attempts are those of the event's account.
const OF_ENDPOINT: Way = Way::Made(
    "coalesce((SELECT n.account FROM endpoint n WHERE n.id = endpoint), (SELECT e.account FROM event e WHERE e.seq = event), 1)",
);
/// What hangs on a row has the account of that row.
const OF_INBOUND: Way = Way::Made("(SELECT i.account FROM inbound i WHERE i.id = inbound)");
const OF_IMPORT: Way = Way::Made("(SELECT i.account FROM import i WHERE i.id = import)");
const OF_TEMPLATE: Way = Way::Made("(SELECT t.account FROM template t WHERE t.id = template)");
const OF_CONVERSATION: Way = Way::Made("(SELECT c.account FROM conversation c WHERE c.id = conversation)");
/// SQLite keeps no account beside an idempotency key, which holds it as a hash. Nobody looks a key up by its account,
/// so the first one will do for the days that a key is kept.
const FIRST_ACCOUNT: Way = Way::Made("(SELECT min(id) FROM account)");

/// Everything that an installation consists of.
pub(crate) const TABLES: &[Table] = tables! {
    account (id) { id: Long, name: Text, created_at: Long }
    connection (id) { id: Long, name: Text, live: Short, paused: Text }
    token (id) {
        id: Long, lookup: Text, hash: Octets, previous: Octets, previous_until: Long, account: Long, live: Short,
        scopes: Long, name: Text, client: Long, created_at: Long, expires_at: Long, revoked_at: Long,
        last_used_at: Long, previous_used_at: Long, rate_per_minute: Long,
    }
    client (id) {
        id: Long, account: Long, live: Short, hash: Octets, scopes: Long, name: Text, created_at: Long,
        revoked_at: Long,
    }
    endpoint (id) {
        id: Long, account: Long, live: Short, url: Text, description: Text, kinds: Long, callback_only: Flag,
        secret: Octets, previous: Octets, previous_until: Long, disabled: Text, failing_since: Long, created_at: Long,
    }
    suppression (id) {
        id: Long, account: Long, live: Short, recipient: Long, reason: Short, source: Text, created_at: Long,
        expires_at: Long, lifted_at: Long, lifted_why: Text, programme: Text, unreachable: Short,
    }
    silence (recipient, live, account) {
        recipient: Long, live: Short, account: Long, messages: Whole, since: Long, last_at: Long, until: Long,
    }
    wording (account, hash) { account: Long, hash: Octets, text: Text }
    consent (id) {
        id: Long, account: Long, live: Short, recipient: Long, purpose: Short, channel: Short, act: Short,
        given_at: Long, recorded_at: Long, expires_at: Long, method: Short, wording: Octets, place: Text, seller: Text,
        programme: Text, ip: Text, user_agent: Text, attested_by: Text, source: Text,
    }
    message (id) {
        id: Long, account: Long, live: Short, token: Long, batch: Long, purpose: Short, sender: Text, recipient: Long,
        text: Text, form: Whole, segments: Short, connection: Long, created_at: Long, send_at: Long, expires_at: Long,
        callback: Long, reference: Text, metadata: Text, retry_of: Long, state: Short, until: Long, lane: Long,
        due_at: Long, attempt: Whole, tries: Whole, resends: Whole, parts: Text, failure: Text, updated_at: Long,
        checksum: Long, reply: Short, reply_to: Long, template: Long, template_version: Whole,
        programme: Text,
    }
    due (lane, priority, due_at, message) {
        lane: Long, priority: Short, due_at: Long, message: Long, expires_at: Long, account: Long = OF_MESSAGE,
        recipient: Long,
    }
    outstanding (connection, canonical, message, segment) {
        connection: Long, canonical: Text, message: Long, segment: Short, carrier_id: Text, account: Long = OF_MESSAGE,
    }
    parked (id) { id: Long, receipt: Long, connection: Long, canonical: Text, body: Text, parked_at: Long }
    batch (id) { id: Long, account: Long, live: Short, created_at: Long, asked: Long, last_message: Long }
    idempotency (key) {
        key: Octets, fingerprint: Octets, answer: Octets, created_at: Long, account: Long = FIRST_ACCOUNT,
    }
    event (seq) {
        seq: Long, account: Long, live: Short, kind: Short, message: Long, inbound: Long, status: Short,
        attempt: Whole, at: Long, due_at: Long, failure: Text, raw: Text,
    }
    inbound (id) {
        id: Long, account: Long, live: Short, connection: Long, sender: Text, recipient: Text, text: Text, part: Text,
        at: Long, fingerprint: Octets, keyword: Short, reference: Whole, total: Short, missing: Octets, due_at: Long,
        rule: Text, media: Text,
    }
    media (inbound, place) {
        inbound: Long, place: Short, account: Long, octets: Octets,
    }
    inbound_part (inbound, number) {
        inbound: Long, number: Short, charset: Short, has_header: Flag, octets: Octets, at: Long,
        account: Long = OF_INBOUND,
    }
    delivery (endpoint, due_at, event) {
        endpoint: Long, due_at: Long, event: Long, tries: Whole, account: Long = OF_ENDPOINT,
    }
    attempt (endpoint, event, number) {
        endpoint: Long, event: Long, number: Whole, at: Long, took_ms: Long, status: Whole, request: Text,
        response: Text, verdict: Short, retry_at: Long, account: Long = OF_ENDPOINT,
    }
    review (id) {
        id: Long, account: Long, live: Short, cause: Text, message: Long, failure: Text, opened_at: Long,
        decision: Short, decided_at: Long, decided_by: Text, inbound: Long,
    }
    reply (account, live, recipient) { account: Long, live: Short, recipient: Long, since: Long, replies: Whole }
    rule_reply (account, live, recipient, rule) { account: Long, live: Short, recipient: Long, rule: Text, at: Long }
    consent_request (id) {
        id: Long, account: Long, live: Short, recipient: Long, sender: Text, message: Long, purposes: Short,
        channels: Short, act: Short, wording: Octets, place: Text, seller: Text, programme: Text, source: Text,
        requested_at: Long, expires_at: Long, state: Short, ended_at: Long, answer: Long,
    }
    code (id) {
        id: Long, account: Long, live: Short, recipient: Long, digits: Short, mark: Whole, reference: Text,
        created_at: Long, expires_at: Long, state: Short, wrong: Short, sends: Short, sent_at: Long, message: Long,
    }
    code_count (account, live, kind, key) {
        account: Long, live: Short, kind: Short, key: Text, newest: Long, slots: Octets, ends_at: Long,
    }
    code_stop (account, live, prefix) {
        account: Long, live: Short, prefix: Long, since: Long, until: Long, sends: Whole, verified: Whole,
    }
    contact (account, live, id) {
        account: Long, live: Short, id: Long, numbers: Text, name: Text, language: Text, zone: Text, owner: Text,
        member_of: Text, fields: Text, created_at: Long, updated_at: Long,
    }
    contact_number (account, live, number) { account: Long, live: Short, number: Long, contact: Long }
    contact_group (account, live, name, contact) { account: Long, live: Short, name: Text, contact: Long }
    import (id) {
        id: Long, account: Long, live: Short, name: Text, who: Text, state: Short, headings: Text, report: Text,
        created: Long, changed: Long, unchanged: Long, left_over: Long, created_at: Long, updated_at: Long, swept: Short,
    }
    import_piece (import, kind, place) {
        import: Long, kind: Short, place: Long, rows: Text, account: Long = OF_IMPORT,
    }
    turn (account, live, recipient, message) {
        account: Long, live: Short, recipient: Long, message: Long, at: Long, purpose: Short,
    }
    sticky (account, live, person, pool) {
        account: Long, live: Short, pool: Text, person: Long, sender: Text, at: Long,
    }
    quota (live, name, day) { live: Short, name: Text, day: Long, segments: Long }
    spend (account, period, begins) { account: Long, period: Short, begins: Long, amount: Long }
    template (id) {
        id: Long, account: Long, live: Short, name: Text, description: Text, newest: Whole, created_at: Long,
    }
    template_version (template, version) {
        template: Long, version: Whole, content: Text, created_at: Long, created_by: Text,
        account: Long = OF_TEMPLATE,
    }
    conversation (id) {
        id: Long, account: Long, live: Short, person: Long, sender: Text, last_kind: Short, last_ref: Long, seq: Long,
        entries: Whole, asked: Whole, answered: Whole, closed: Whole, snoozed_until: Long, assignee: Text, tags: Text,
        created_at: Long, last_at: Long,
    }
    conversation_entry (conversation, place) {
        conversation: Long, place: Whole, seq: Long, kind: Short, ref: Long, author: Text, text: Text, words: Text,
        at: Long, account: Long = OF_CONVERSATION,
    }
    conversation_word (account, live, word, seq) {
        account: Long, live: Short, word: Text, seq: Long, conversation: Long, place: Whole,
    }
    segment (id) {
        id: Long, account: Long, live: Short, name: Text, description: Text, query: Text, created_at: Long,
        updated_at: Long,
    }
    touch (account, live, number, kind) { account: Long, live: Short, number: Long, kind: Short, at: Long }
    touch_place (account, live) { account: Long, live: Short, upto: Long }
    audit (account, id) { id: Long, account: Long, at: Long, who: Text, action: Text, subject: Text, detail: Text }
    setting (name) where "name NOT IN ('copy', 'needs', 'ping')" { name: Text, value: Text }
};

/// Tables of a database's own: in both, and those that PostgreSQL has for nodes.
#[cfg(test)]
const OWN: (&[&str], &[&str]) = (&["migration"], &["era", "node"]);
/// Columns that PostgreSQL has for nodes: who owns a connection is settled anew at each start.
#[cfg(test)]
const OWN_COLUMNS: &[(&str, &str)] = &[("connection", "owner"), ("connection", "epoch")];

/// The setting that marks a target until the copy is finished. Its value says of what it is a copy.
pub(crate) const MARK: &str = "copy";

/// Tells two installations apart, and the same one before and after it was served or changed by hand: each start and each
/// change of an operator leaves a line in the audit trail.
pub(crate) const IDENTITY: &str = "SELECT (SELECT min(created_at) FROM account), (SELECT max(id) FROM audit), \
     (SELECT max(id) FROM message), (SELECT max(seq) FROM event), (SELECT max(id) FROM token)";
/// How many numbers that gives.
pub(crate) const IDENTITY_LENGTH: usize = 5;

/// Which columns are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Columns {
    /// All, to be written into the other database.
    All,
    /// Those that both keep as they are, to be compared.
    Same,
}

/// Which rows are read, at most so many.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rows<'k> {
    First(usize),
    /// Those behind this key.
    After(&'k [Value], usize),
    /// The one with the highest key.
    Last,
}

impl Table {
    pub fn columns(&self, which: Columns) -> impl Iterator<Item = &'static Column> {
        self.columns.iter().filter(move |column| which == Columns::All || column.way == Way::Same)
    }

    /// The statement that reads these rows. `expression` spells a column, and `place` the n-th value of the key.
    pub fn select(
        &self,
        which: Columns,
        rows: Rows<'_>,
        expression: impl Fn(&Column) -> &'static str,
        place: impl Fn(usize) -> String,
    ) -> String {
        let columns: Vec<_> = self.columns(which).map(expression).collect();
        let mut conditions: Vec<String> = self.filter.map(str::to_owned).into_iter().collect();
        let (order, limit) = match rows {
            Rows::First(limit) => ("", limit),
            Rows::After(key, limit) => {
                let places: Vec<String> = (1..=key.len()).map(place).collect();
                conditions.push(format!("({}) > ({})", self.key.join(", "), places.join(", ")));
                ("", limit)
            }
            Rows::Last => (" DESC", 1),
        };
        let condition = if conditions.is_empty() {
            String::new()
        } else {
            format!(" WHERE {}", conditions.join(" AND "))
        };
        let key: Vec<String> = self.key.iter().map(|name| format!("{name}{order}")).collect();
        format!(
            "SELECT {} FROM {}{condition} ORDER BY {} LIMIT {limit}",
            columns.join(", "),
            self.name,
            key.join(", ")
        )
    }

    /// The statement that counts its rows.
    pub fn count(&self) -> String {
        let condition = self.filter.map_or_else(String::new, |filter| format!(" WHERE {filter}"));
        format!("SELECT count(*) FROM {}{condition}", self.name)
    }
}

// ── rows on their way ───────────────────────────────────────────────────────────────────────────────────────

/// Rows in the one spelling that both databases agree on: for each value an octet that says what it is, and then eight
/// octets of a number, or a length in eight octets and so many octets. It is what is hashed, too.
#[derive(Debug, Default)]
pub(crate) struct Rowset {
    octets: Vec<u8>,
    rows: usize,
    last: usize,
}

/// A value of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cell<'r> {
    Null,
    Number(i64),
    Text(&'r [u8]),
    Octets(&'r [u8]),
}

/// A value of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Number(i64),
    Text(Vec<u8>),
    Octets(Vec<u8>),
}

impl Value {
    pub fn cell(&self) -> Cell<'_> {
        match self {
            Self::Number(number) => Cell::Number(*number),
            Self::Text(text) => Cell::Text(text),
            Self::Octets(octets) => Cell::Octets(octets),
        }
    }
}

impl Rowset {
    /// Begins a row, whose values follow.
    pub fn begin(&mut self) {
        self.rows += 1;
        self.last = self.octets.len();
    }

    /// Adds a value. PostgreSQL keeps no NUL in a text, so none is taken along: see `clean` in `postgres/session.rs`.
    /// (A key never holds one: the rows would stand in another order.)
    pub fn add(&mut self, cell: Cell<'_>) {
        let (tag, octets) = match cell {
            Cell::Null => return self.octets.push(0),
            Cell::Number(number) => {
                self.octets.push(1);
                return self.octets.extend_from_slice(&number.to_be_bytes());
            }
            Cell::Text(text) => (2, text),
            Cell::Octets(octets) => (3, octets),
        };
        self.octets.push(tag);
        if tag == 2 && octets.contains(&0) {
            let cleaned = octets.split(|octet| *octet == 0).collect::<Vec<_>>().join("\u{FFFD}".as_bytes());
            self.octets.extend_from_slice(&(cleaned.len() as u64).to_be_bytes());
            self.octets.extend_from_slice(&cleaned);
        } else {
            self.octets.extend_from_slice(&(octets.len() as u64).to_be_bytes());
            self.octets.extend_from_slice(octets);
        }
    }

    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// How large they are.
    pub const fn octets(&self) -> usize {
        self.octets.len()
    }

    /// The values of all rows, one after the other.
    pub fn cells(&self) -> Cells<'_> {
        Cells(&self.octets)
    }

    /// The key of the last row.
    fn key(&self, table: &Table, which: Columns) -> Option<Vec<Value>> {
        if self.rows == 0 {
            return None;
        }
        let last: Vec<(&str, Cell<'_>)> =
            table.columns(which).map(|column| column.name).zip(Cells(&self.octets[self.last..])).collect();
        let key = table.key.iter().map(|name| {
            let (_, cell) = last.iter().find(|(column, _)| column == name)?;
            match *cell {
                Cell::Null => None,
                Cell::Number(number) => Some(Value::Number(number)),
                Cell::Text(text) => Some(Value::Text(text.to_vec())),
                Cell::Octets(octets) => Some(Value::Octets(octets.to_vec())),
            }
        });
        key.collect()
    }
}

/// Values, read from their spelling.
#[derive(Debug)]
pub(crate) struct Cells<'r>(&'r [u8]);

impl<'r> Iterator for Cells<'r> {
    type Item = Cell<'r>;

    fn next(&mut self) -> Option<Cell<'r>> {
        let (tag, rest) = self.0.split_first()?;
        if *tag == 0 {
            self.0 = rest;
            return Some(Cell::Null);
        }
        let (number, rest) = rest.split_first_chunk::<8>()?;
        if *tag == 1 {
            self.0 = rest;
            return Some(Cell::Number(i64::from_be_bytes(*number)));
        }
        let (octets, rest) = rest.split_at_checked(usize::try_from(u64::from_be_bytes(*number)).ok()?)?;
        self.0 = rest;
        Some(if *tag == 2 { Cell::Text(octets) } else { Cell::Octets(octets) })
    }
}

// ── the two ends ────────────────────────────────────────────────────────────────────────────────────────────

/// A database, opened to copy from or to. Nobody serves it meanwhile.
pub(crate) trait End: Send {
    /// Reads rows in the order of their keys.
    fn read(&mut self, table: &Table, which: Columns, rows: Rows<'_>) -> Result<Rowset>;
    /// Adds rows, whole or not at all.
    fn write(&mut self, table: &Table, rows: &Rowset) -> Result<()>;
    /// How many rows it has.
    fn count(&mut self, table: &Table) -> Result<u64>;
    /// What [`IDENTITY`] gives.
    fn identity(&mut self) -> Result<Vec<Option<i64>>>;
    /// Of what this is a copy that is not finished.
    fn mark(&mut self) -> Result<Option<String>>;
    /// Marks an empty database. Gives `false` if it holds something.
    fn begin(&mut self, mark: &str) -> Result<bool>;
    /// What must be so before the mark goes: counters, and everything on the disk.
    fn settle(&mut self) -> Result<()>;
    /// Takes the mark away.
    fn finish(&mut self) -> Result<()>;
}

/// Where a store is that is copied from or to.
#[derive(Debug, Clone)]
pub enum Place {
    /// In this file. The caller holds what keeps others from serving it.
    File(sqlite::Options),
    /// In this database.
    Database(Box<postgres::Options>),
}

/// What an end is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// To be read as it is at this moment. Its schema must be current.
    Source,
    /// To be written to. It is made, or brought up to date.
    Target,
}

impl Place {
    fn open(&self, what_for: Use) -> Result<Box<dyn End>> {
        match self {
            Self::File(options) => sqlite::copy::File::open(options, what_for).map(|end| Box::new(end) as _),
            Self::Database(options) => {
                postgres::copy::Database::open(options, what_for).map(|end| Box::new(end) as _)
            }
        }
        .map_err(|error| self.named(error))
    }

    /// The error with where it was met: there are two places where it may have been.
    fn named(&self, error: Error) -> Error {
        let place = match self {
            Self::File(options) => options.path.display().to_string(),
            Self::Database(options) => options.place(),
        };
        let named = |why: String| format!("{place}: {why}");
        match error {
            Error::Unavailable(why) => Error::Unavailable(named(why)),
            Error::Full(why) => Error::Full(named(why)),
            Error::Broken(why) => Error::Broken(named(why)),
            Error::Expelled(why) => Error::Expelled(named(why)),
            Error::Conflict(why) => Error::Conflict(named(why)),
            Error::Corrupt(why) => Error::Corrupt(named(why)),
        }
    }
}

/// Says that a database holds a copy that is not finished, if it is marked so.
///
/// # Errors
/// [`Error::Unavailable`] with what to do.
pub(crate) fn check_whole(mark: Option<&str>) -> Result<()> {
    match mark {
        None => Ok(()),
        Some(_) => Err(Error::Unavailable(
            "it holds a copy that was not finished, and nobody should send from that: give the same `tidings copy` again, which goes on where it stopped, or empty it"
                .to_owned(),
        )),
    }
}

// ── the copy ────────────────────────────────────────────────────────────────────────────────────────────────

/// How large a piece of rows should be: octets. Enough that a commit does not matter, little enough that some of them
/// are nothing in memory.
const PIECE_OCTETS: usize = 4 << 20;
/// The rows of the first piece of a table, before anybody knows how large they are, and the most of any piece.
const PIECE_ROWS: (usize, usize) = (256, 20_000);
/// The most rows of a piece of a table whose rows may be as large as `domain::media` allows: one never knows how large the next is.
const PIECE_ROWS_OF_MEDIA: usize = 4;
/// Pieces that wait between who reads and who writes.
const PIECES_WAITING: usize = 2;

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// The table that is being worked on.
    pub table: &'static str,
    /// Rows that are done, of all tables.
    pub rows: u64,
    /// Rows that there are.
    pub of: u64,
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Rows are copied.
    Copying,
    /// Rows of both are read again and compared.
    Comparing,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Rows that were there already, from a copy that was broken off.
    pub found: u64,
    /// Rows that were copied.
    pub copied: u64,
    /// Each table in both databases.
    pub tables: Vec<Compared>,
}

/// A table in both databases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// Its name.
    pub name: &'static str,
    /// Where it was copied from.
    pub from: Sum,
    /// Where it was copied to.
    pub to: Sum,
}

/// What a table holds: how many rows, and the SHA-256 over them in the order of their keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    /// Rows.
    pub rows: u64,
    /// SHA-256 of every value of every row that both databases keep as it is.
    pub checksum: [u8; 32],
}

impl Report {
    /// Whether both hold the same.
    pub fn agrees(&self) -> bool {
        self.tables.iter().all(|table| table.from == table.to)
    }
}

/// Whoever wants to know how far it is, and may stop it: what was copied until then stays, to be gone on from.
pub type Told<'t> = &'t mut (dyn FnMut(Progress) -> ControlFlow<()> + Send);

/// Copies everything from one store into an empty one, or goes on with a copy of the same that was broken off, and
/// compares the two. Blocks until that is done. If they differ, the target stays marked as not finished.
///
/// # Errors
/// [`Error::Unavailable`] with a sentence: somebody serves one of them, the schema of the source is not current, or the
/// target cannot be written; [`Error::Conflict`] if the target holds anything else than a copy of the same source that
/// was broken off.
pub fn copy(from: &Place, to: &Place, told: Told<'_>) -> Result<Report> {
    apart(|| {
        let mut source = from.open(Use::Source)?;
        let mut target = to.open(Use::Target)?;
        begin(&mut *source, &mut *target).map_err(|error| to.named(error))?;
        let (found, copied) = transfer(&mut *source, &mut *target, told)?;
        target.settle()?;
        let tables = compare(&mut *source, &mut *target, found + copied, told)?;
        let report = Report { found, copied, tables };
        if report.agrees() {
            target.finish()?;
        }
        Ok(report)
    })
}

/// Compares two stores, row by row, and changes neither. Blocks until that is done.
///
/// # Errors
/// [`Error::Unavailable`] with a sentence: somebody serves one of them, or the schema of one is not current.
pub fn verify(from: &Place, to: &Place, told: Told<'_>) -> Result<Report> {
    apart(|| {
        let mut source = from.open(Use::Source)?;
        let mut target = to.open(Use::Source)?;
        let mut rows = 0;
        for table in TABLES {
            rows += target.count(table)?;
        }
        let tables = compare(&mut *source, &mut *target, rows, told)?;
        Ok(Report { found: rows, copied: 0, tables })
    })
}

/// In a thread of its own: the caller may be inside a runtime, and who talks to PostgreSQL needs one.
fn apart<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| join(scope.spawn(work)))
}

fn join<T>(thread: std::thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Marks the target, or finds the mark that this source left there.
fn begin(source: &mut dyn End, target: &mut dyn End) -> Result<()> {
    let mut hash = Sha256::new();
    for number in source.identity()? {
        hash.update([u8::from(number.is_some())]);
        hash.update(number.unwrap_or_default().to_be_bytes());
    }
    let ours = hexadecimal(&hash.finalize()[..16]);
    match target.mark()? {
        Some(mark) if mark == ours => Ok(()),
        Some(_) => Err(Error::Conflict(
            "it holds a copy that was not finished, of another store or of this one before it was served or changed again: empty it, and begin anew"
                .to_owned(),
        )),
        None if target.begin(&ours)? => Ok(()),
        None => Err(Error::Conflict(
            "it holds something already, and no copy that was broken off: name an empty one".to_owned(),
        )),
    }
}

/// Reads a table behind a key, piece by piece, as long as `take` wants more.
fn each_piece(
    end: &mut dyn End,
    table: &Table,
    which: Columns,
    mut key: Option<Vec<Value>>,
    mut take: impl FnMut(Rowset) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let most = if table.name == "media" { PIECE_ROWS_OF_MEDIA } else { PIECE_ROWS.1 };
    let mut wanted = PIECE_ROWS.0.min(most);
    loop {
        let rows = key.as_ref().map_or(Rows::First(wanted), |key| Rows::After(key, wanted));
        let read = end.read(table, which, rows)?;
        if read.rows == 0 {
            return Ok(());
        }
        let is_last = read.rows < wanted;
        key = read.key(table, which);
        let fit = PIECE_OCTETS / (read.octets() / read.rows).max(1);
        // Not more than four times as many at once: the next rows may be larger.
        wanted = fit.min(wanted * 4).clamp(1, most);
        if take(read)?.is_break() || is_last {
            return Ok(());
        }
    }
}

/// Copies what is missing in the target; gives the rows that were there, and those that were copied.
fn transfer(source: &mut dyn End, target: &mut dyn End, told: Told<'_>) -> Result<(u64, u64)> {
    let (mut of, mut found) = (0, 0);
    let mut keys = Vec::with_capacity(TABLES.len());
    for table in TABLES {
        of += source.count(table)?;
        found += target.count(table)?;
        keys.push(target.read(table, Columns::Same, Rows::Last)?.key(table, Columns::Same));
    }
    let mut progress = Progress { phase: Phase::Copying, table: TABLES[0].name, rows: found, of };
    let (sender, pieces) = sync_channel(PIECES_WAITING);
    std::thread::scope(|scope| {
        let reading = scope.spawn(move || read_all(source, keys, &sender));
        let written = write_all(target, pieces, &mut progress, told);
        // Its channel is closed now, so it ends.
        let read = join(reading);
        written.and(read)
    })?;
    Ok((found, progress.rows - found))
}

/// Sends everything behind these keys. Ends early and without an error if nobody wants it any more.
fn read_all(
    source: &mut dyn End,
    keys: Vec<Option<Vec<Value>>>,
    pieces: &SyncSender<(&'static Table, Rowset)>,
) -> Result<()> {
    for (table, key) in TABLES.iter().zip(keys) {
        let mut is_wanted = true;
        each_piece(source, table, Columns::All, key, |read| {
            is_wanted = pieces.send((table, read)).is_ok();
            Ok(if is_wanted { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        if !is_wanted {
            break;
        }
    }
    Ok(())
}

fn write_all(
    target: &mut dyn End,
    pieces: Receiver<(&'static Table, Rowset)>,
    progress: &mut Progress,
    told: Told<'_>,
) -> Result<()> {
    for (table, rows) in pieces {
        target.write(table, &rows)?;
        progress.table = table.name;
        progress.rows += rows.rows as u64;
        if told(*progress).is_break() {
            return Err(stopped());
        }
    }
    Ok(())
}

fn stopped() -> Error {
    Error::Unavailable("it was stopped".to_owned())
}

/// Reads both at the same time.
fn compare(source: &mut dyn End, target: &mut dyn End, rows: u64, told: Told<'_>) -> Result<Vec<Compared>> {
    let ended = AtomicBool::new(false);
    let mut progress = Progress { phase: Phase::Comparing, table: TABLES[0].name, rows: 0, of: rows };
    let (from, to) = std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            sum_all(source, &mut |_, _| match ended.load(Ordering::Relaxed) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            })
        });
        let to = sum_all(target, &mut |table, rows| {
            progress.table = table;
            progress.rows += rows;
            told(progress)
        });
        ended.store(to.is_err(), Ordering::Relaxed);
        let from = join(reading);
        to.and_then(|to| Ok((from?, to)))
    })?;
    let both = TABLES.iter().zip(from).zip(to);
    Ok(both.map(|((table, from), to)| Compared { name: table.name, from, to }).collect())
}

/// The sum of each table.
fn sum_all(
    end: &mut dyn End,
    told: &mut (dyn FnMut(&'static str, u64) -> ControlFlow<()> + '_),
) -> Result<Vec<Sum>> {
    let mut sums = Vec::with_capacity(TABLES.len());
    for table in TABLES {
        let (mut hash, mut rows) = (Sha256::new(), 0);
        each_piece(end, table, Columns::Same, None, |read| {
            hash.update(&read.octets);
            rows += read.rows as u64;
            match told(table.name, read.rows as u64) {
                ControlFlow::Continue(()) => Ok(ControlFlow::Continue(())),
                ControlFlow::Break(()) => Err(stopped()),
            }
        })?;
        sums.push(Sum { rows, checksum: hash.finalize().into() });
    }
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};
    use tidings_cluster::Cluster;

    /// A column as a schema has it: its kind, and whether it may be empty.
    type Columns = BTreeMap<String, (String, bool)>;
    /// Tables and columns that are compared by their octets.
    type ByOctets = BTreeSet<(String, String)>;

    fn of_sqlite() -> (BTreeMap<String, Columns>, BTreeMap<String, BTreeSet<String>>) {
        let directory = tempfile::tempdir().unwrap();
        let options = sqlite::Options::in_directory(directory.path());
        drop(sqlite::copy::File::open(&options, Use::Target).unwrap());
        let connection = rusqlite::Connection::open(&options.path).unwrap();
        let mut tables = BTreeMap::<String, Columns>::new();
        let mut keys = BTreeMap::<String, BTreeSet<String>>::new();
        let sql = "SELECT s.name, c.name, c.type, c.\"notnull\", c.pk FROM sqlite_schema s, pragma_table_info(s.name) c WHERE s.type = 'table'";
        let mut statement = connection.prepare(sql).unwrap();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let (table, column): (String, String) = (row.get(0).unwrap(), row.get(1).unwrap());
            let (kind, is_filled, key): (String, bool, i64) =
                (row.get(2).unwrap(), row.get(3).unwrap(), row.get(4).unwrap());
            if key > 0 {
                keys.entry(table.clone()).or_default().insert(column.clone());
            }
            tables.entry(table).or_default().insert(column, (kind, !is_filled && key == 0));
        }
        (tables, keys)
    }

    fn of_postgres() -> Option<(BTreeMap<String, Columns>, ByOctets)> {
        let database = Cluster::here()?.database();
        let options = postgres::Options::at(&database.address()).unwrap();
        apart(|| postgres::copy::Database::open(&options, Use::Target).map(drop)).unwrap();
        let listed = database.run(
            "SELECT table_name || ' ' || column_name || ' ' || udt_name || ' ' || is_nullable || ' '
               || coalesce(collation_name, '-')
             FROM information_schema.columns WHERE table_schema = 'public'
               AND NOT EXISTS (SELECT 1 FROM pg_inherits WHERE inhrelid = quote_ident(table_name)::regclass)",
        );
        let mut tables = BTreeMap::<String, Columns>::new();
        let mut by_octets = ByOctets::new();
        for line in listed.lines() {
            let mut words = line.split(' ').map(str::to_owned);
            let mut word = || words.next().unwrap();
            let (table, column, kind, nullable) = (word(), word(), word(), word());
            if word() == "C" {
                by_octets.insert((table.clone(), column.clone()));
            }
            if OWN_COLUMNS.contains(&(&table, &column)) {
                continue;
            }
            tables.entry(table).or_default().insert(column, (kind, nullable == "YES"));
        }
        Some((tables, by_octets))
    }

    /// A table or a column that a migration adds is copied, or this says that the list lacks it.
    #[test]
    fn the_list_of_tables_is_that_of_both_schemas() {
        let (sqlite, keys) = of_sqlite();
        let postgres = of_postgres();
        let mut listed: BTreeSet<String> =
            TABLES.iter().map(|table| table.name).chain(OWN.0.iter().copied()).map(str::to_owned).collect();
        assert_eq!(sqlite.keys().cloned().collect::<BTreeSet<_>>(), listed, "tables of SQLite");
        listed.extend(OWN.1.iter().map(|name| (*name).to_owned()));
        if let Some((postgres, _)) = &postgres {
            assert_eq!(postgres.keys().cloned().collect::<BTreeSet<_>>(), listed, "tables of PostgreSQL");
        }
        for table in TABLES {
            let kinds = |of: fn(Kind) -> &'static str, all: bool| -> BTreeMap<String, String> {
                let kept = table.columns.iter().filter(|column| all || !matches!(column.way, Way::Made(_)));
                kept.map(|column| (column.name.to_owned(), of(column.kind).to_owned())).collect()
            };
            let shown = |columns: &Columns| -> BTreeMap<String, String> {
                columns.iter().map(|(name, (kind, _))| (name.clone(), kind.clone())).collect()
            };
            let of_sqlite = &sqlite[table.name];
            let spelled = |kind| match kind {
                Kind::Short | Kind::Whole | Kind::Long | Kind::Flag => "INTEGER",
                Kind::Text => "TEXT",
                Kind::Octets => "BLOB",
            };
            assert_eq!(shown(of_sqlite), kinds(spelled, false), "columns of {} in SQLite", table.name);
            for name in keys[table.name].iter() {
                assert!(table.key.contains(&name.as_str()), "{name} is part of the key of {}", table.name);
            }
            for name in table.key {
                let column = table.columns.iter().find(|column| column.name == *name);
                assert_eq!(column.map(|column| column.way), Some(Way::Same), "{name} of {}", table.name);
                assert!(!of_sqlite[*name].1, "{name} of {} is never empty", table.name);
            }
            let Some((postgres, by_octets)) = &postgres else { continue };
            let is_text = |name: &&str| {
                table.columns.iter().any(|column| column.name == *name && column.kind == Kind::Text)
            };
            for name in table.key.iter().copied().filter(is_text) {
                // Rows come in the order of their keys, which is that of octets in SQLite.
                let column = (table.name.to_owned(), name.to_owned());
                assert!(by_octets.contains(&column), "{name} of {} is COLLATE \"C\"", table.name);
            }
            let spelled = |kind| match kind {
                Kind::Short => "int2",
                Kind::Whole => "int4",
                Kind::Long => "int8",
                Kind::Flag => "bool",
                Kind::Text => "text",
                Kind::Octets => "bytea",
            };
            assert_eq!(
                shown(&postgres[table.name]),
                kinds(spelled, true),
                "columns of {} in PostgreSQL",
                table.name
            );
            for (name, (_, may_be_empty)) in of_sqlite {
                let there = postgres[table.name][name].1;
                assert_eq!(*may_be_empty, there, "whether {name} of {} may be empty", table.name);
            }
        }
    }

    #[test]
    fn values_are_read_as_they_were_written() {
        let mut rows = Rowset::default();
        let cells = [
            Cell::Null,
            Cell::Number(-1),
            Cell::Number(i64::MAX),
            Cell::Text(b""),
            Cell::Text("é".as_bytes()),
            Cell::Octets(&[0, 1, 255]),
        ];
        rows.begin();
        cells.iter().for_each(|cell| rows.add(*cell));
        rows.add(Cell::Text(b"a\0\0b"));
        let read: Vec<Cell<'_>> = rows.cells().collect();
        assert_eq!(read[..cells.len()], cells);
        assert_eq!(read[cells.len()..], [Cell::Text("a\u{FFFD}\u{FFFD}b".as_bytes())]);
    }
}
