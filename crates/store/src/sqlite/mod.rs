//! SQLite behind the contract: one writer, several readers, one file.
//!
//! All writes go through one thread. It takes everything that waits, runs it in one transaction, commits once
//! (WAL, `synchronous=FULL`: one fsync for all of them) and only then answers. If an operation of the group fails,
//! the whole group is rolled back and each is run again in a transaction of its own, so that a bad one fails alone;
//! operations are therefore written to be repeatable until they are committed. Reads run beside, each on a
//! connection of a small pool, and see the newest commit.

mod account;
mod backup;
mod endpoint;
mod event;
mod executor;
mod message;
mod migration;
mod operating;
mod review;
mod suppression;

use crate::backend::*;
use crate::looked::Looked;
use crate::{Error, Result};
use executor::{Readers, Writer};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tidings_domain::account::{Environment, Realm};
use tidings_domain::address::PhoneNumber;
use tidings_domain::id::*;
use tidings_domain::review::Decision;
use tidings_domain::suppression as list;
use tidings_domain::time::Timestamp;
use tidings_domain::webhook::Delivery;

/// The name of the database in its data directory.
pub const FILE_NAME: &str = "tidings.db";

/// WAL versions before this one could lose commits when a checkpoint raced a commit.
const OLDEST_SQLITE: i32 = 3_051_003;

/// How a database is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// The file.
    pub path: PathBuf,
    /// Page cache of the writer: KiB. The readers get an eighth of it each.
    pub cache_kib: u32,
    /// Connections for reading.
    pub readers: usize,
    /// Pages in the write-ahead log after which they are written into the file.
    pub checkpoint_pages: u32,
    /// The file system as SQLite knows it (a VFS) that was registered under this name; `None` for the usual one.
    pub vfs: Option<String>,
}

impl Options {
    /// The defaults, for the file in this data directory.
    pub fn in_directory(directory: &Path) -> Self {
        Self {
            path: directory.join(FILE_NAME),
            cache_kib: 64 * 1024,
            readers: 2,
            checkpoint_pages: 4_000,
            vfs: None,
        }
    }
}

/// The SQLite backend.
#[derive(Debug)]
pub struct Sqlite {
    writer: Writer,
    readers: Readers,
    looked: Arc<Looked>,
    options: Options,
}

impl Sqlite {
    /// Opens the file, creates it if it is new, and brings its schema up to date.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the file cannot be opened, is locked, or is of a newer version of this program;
    /// [`Error::Corrupt`] if it is no database.
    pub fn open(options: &Options) -> Result<Self> {
        if rusqlite::version_number() < OLDEST_SQLITE {
            return Err(Error::Unavailable(format!(
                "SQLite {} is too old: versions before 3.51.3 may lose commits",
                rusqlite::version()
            )));
        }
        let mut connection = executor::connect(options, options.cache_kib, false)?;
        migration::migrate(&mut connection)?;
        let looked = Arc::new(Looked::new());
        let writer = Writer::start(connection, Arc::clone(&looked))?;
        let readers = Readers::start(options)?;
        Ok(Self { writer, readers, looked, options: options.clone() })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.options.path
    }
}

/// Forwards each operation to the writer or to a reader; the work is in the file of its noun.
macro_rules! forward {
    ($($executor:ident $module:ident::$name:ident($($argument:ident: $type:ty),*) -> $reply:ty;)*) => {$(
        fn $name(&self, $($argument: $type),*) -> Reply<'_, $reply> {
            Box::pin(self.$executor.run(move |context| $module::$name(context, $(&$argument),*)))
        }
    )*};
}

impl Backend for Sqlite {
    forward! {
        writer message::accept(intake: Intake, now: Timestamp) -> Accepted;
        writer message::claim(connection: ConnectionId, limit: usize, now: Timestamp) -> Claimed;
        writer message::advance(happenings: Vec<Happening>, now: Timestamp, rules: Patience) -> Advanced;
        writer message::wake(limit: usize, now: Timestamp, rules: Patience) -> Advanced;
        writer message::recover(limit: usize, now: Timestamp, rules: Patience) -> Advanced;
        writer message::receive(inbound: Vec<Inbound>, now: Timestamp) -> Advanced;
        writer message::redact(realm: Realm, id: MessageId, actor: Actor, now: Timestamp) -> Option<Stored>;
        readers message::next_due(connection: Option<ConnectionId>, now: Timestamp) -> Option<Timestamp>;
        readers message::message(realm: Realm, id: MessageId) -> Option<Stored>;
        readers message::messages(realm: Realm, filter: MessageFilter, page: Page) -> Paged<Stored>;
        readers message::timeline(realm: Realm, id: MessageId) -> Option<Timeline>;
        readers message::batch(realm: Realm, id: BatchId) -> Option<Batch>;
        readers message::batches(realm: Realm, page: Page) -> Paged<Batch>;

        readers event::events(realm: Realm, after: Option<EventId>, limit: usize) -> Vec<Told>;
        readers event::event(realm: Realm, id: EventId) -> Option<Told>;
        writer event::claim_deliveries(wanted: Vec<(EndpointId, usize)>, lease_ms: i64, now: Timestamp) -> Vec<Told>;
        writer event::give_back_deliveries(leased: Vec<Delivery>, now: Timestamp) -> ();
        writer event::record_attempts(attempts: Vec<Attempt>, now: Timestamp) -> ();
        writer event::release_deliveries(now: Timestamp) -> u64;
        readers event::due_endpoints() -> Vec<(EndpointId, Timestamp)>;
        readers event::attempts(realm: Realm, endpoint: EndpointId, page: Page) -> Paged<Attempt>;
        writer event::replay(realm: Realm, endpoint: EndpointId, what: Replay, limit: usize, actor: Actor, now: Timestamp) -> Option<u64>;

        writer endpoint::create_endpoint(endpoint: Endpoint, actor: Actor) -> ();
        writer endpoint::callback_endpoint(endpoint: Endpoint) -> EndpointId;
        readers endpoint::endpoints(realm: Option<Realm>) -> Vec<Endpoint>;
        writer endpoint::update_endpoint(endpoint: Endpoint, actor: Actor, now: Timestamp) -> bool;
        writer endpoint::delete_endpoint(realm: Realm, id: EndpointId, actor: Actor, now: Timestamp) -> bool;

        writer suppression::suppress(entries: Vec<Suppression>, actor: Actor) -> Vec<Suppression>;
        writer suppression::lift(realm: Realm, recipient: PhoneNumber, reason: String, actor: Actor, now: Timestamp) -> Option<Suppression>;
        readers suppression::suppressions(realm: Realm, recipient: Option<PhoneNumber>, include_lifted: bool, page: Page) -> Paged<Suppression>;

        readers review::review_groups(realm: Realm, limit: usize) -> Vec<ReviewGroup>;
        readers review::reviews(realm: Realm, cause: Option<String>, open_only: bool, page: Page) -> Paged<Review>;
        writer review::decide(realm: Realm, which: ReviewChoice, decision: Decision, limit: usize, actor: Actor, now: Timestamp) -> Vec<Review>;

        writer account::default_account(now: Timestamp) -> AccountId;
        readers account::accounts() -> Vec<Account>;
        writer account::create_account(account: Account, actor: Actor) -> ();
        writer account::create_token(token: Token, actor: Actor) -> ();
        readers account::token_by_lookup(lookup: String) -> Option<Token>;
        readers account::tokens(account: AccountId, environment: Option<Environment>) -> Vec<Token>;
        writer account::update_token(token: Token, action: &'static str, actor: Actor, now: Timestamp) -> bool;
        writer account::touch_tokens(uses: Vec<(TokenId, Timestamp, bool)>) -> ();
        writer account::create_client(client: Client, actor: Actor) -> ();
        readers account::client(id: ClientId) -> Option<Client>;
        readers account::clients(realm: Realm) -> Vec<Client>;
        writer account::revoke_client(realm: Realm, id: ClientId, actor: Actor, now: Timestamp) -> bool;

        writer operating::register_connections(names: Vec<(String, Environment)>, now: Timestamp) -> Vec<Connection>;
        readers operating::connections() -> Vec<Connection>;
        writer operating::pause_connection(id: ConnectionId, pause: Option<String>, actor: Actor, now: Timestamp) -> bool;
        writer operating::reroute(from: ConnectionId, to: ConnectionId, limit: usize, now: Timestamp) -> u64;
        readers operating::hold() -> Option<String>;
        writer operating::set_hold(reason: Option<String>, actor: Actor, now: Timestamp) -> ();
        readers operating::statistics(now: Timestamp) -> Statistics;
        readers operating::audit(account: AccountId, page: Page) -> Paged<Audit>;
        writer operating::record_audit(actor: Actor, action: String, subject: String, detail: String, now: Timestamp) -> ();
        writer operating::sweep(retention: Retention, limit: usize, now: Timestamp) -> bool;
        writer operating::ping() -> ();
    }

    fn suppressed(
        &self,
        recipients: Vec<(Realm, PhoneNumber)>,
        now: Timestamp,
    ) -> Reply<'_, Vec<Option<list::Reason>>> {
        if self.looked.all_free(&recipients) {
            return Box::pin(std::future::ready(Ok(vec![None; recipients.len()])));
        }
        Box::pin(self.readers.run(move |rx| suppression::suppressed(rx, &recipients, &now)))
    }

    fn backup(&self, to: PathBuf) -> Reply<'_, ()> {
        let from = self.options.clone();
        Box::pin(self.readers.apart(move || backup::copy(&from, &to)))
    }

    fn close(&self) -> Reply<'_, ()> {
        Box::pin(self.writer.close())
    }
}
