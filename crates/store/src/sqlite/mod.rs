//! SQLite behind the contract: one writer, several readers, one file.
//!
//! All writes go through one thread. It takes everything that waits, runs it in one transaction, commits once
//! (WAL, `synchronous=FULL`: one fsync for all of them) and only then answers. If an operation of the group fails,
//! the whole group is rolled back and each is run again in a transaction of its own, so that a bad one fails alone;
//! operations are therefore written to be repeatable until they are committed. Reads run beside, each on a
//! connection of a small pool, and see the newest commit.

mod account;
mod backup;
mod code;
mod consent;
mod consent_request;
mod contact;
mod conversation;
pub(crate) mod copy;
mod endpoint;
mod event;
mod executor;
mod frequency;
mod import;
mod inbound;
mod media;
mod message;
mod migration;
mod operating;
mod pool;
mod quota;
mod reader;
mod reserve;
mod review;
mod segment;
mod session;
mod silence;
mod spend;
mod statement;
mod suppression;
mod template;
mod transaction;
mod wal;

use crate::backend::*;
use crate::carriers::Carriers;
use crate::looked::Looked;
use crate::{Error, Guard, Result, Waiting};
use executor::{Condition, Desk, Kind, Writer};
use reader::Readers;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tidings_domain::account::{Environment, Realm};
use tidings_domain::address::PhoneNumber;
use tidings_domain::code::{Code, Verdict};
use tidings_domain::consent::{Consent, History};
use tidings_domain::consent_request::{ConsentRequest, NewConsentRequest};
use tidings_domain::contact::{Change, Contact, Group, ZoneName};
use tidings_domain::conversation::{Change as ConversationChange, Conversation, TooManyTags};
use tidings_domain::failure::Failure;
use tidings_domain::frequency::{Other, Turn};
use tidings_domain::id::*;
use tidings_domain::import::{Decision as ImportDecision, Import};
use tidings_domain::pool::{Last, Name};
use tidings_domain::programme;
use tidings_domain::purpose::Purpose;
use tidings_domain::queue::{Paces, Queue};
use tidings_domain::quota::Count;
use tidings_domain::review::Decision;
use tidings_domain::segment::{Change as PeopleChange, Past, Segment as People};
use tidings_domain::sender::Sender;
use tidings_domain::spend::Spent;
use tidings_domain::suppression::Listing;
use tidings_domain::table::Refused;
use tidings_domain::template::{Content, Template};
use tidings_domain::time::Timestamp;
use tidings_domain::velocity::{Prefix, Stop};
use tidings_domain::webhook::Delivery;

/// The name of the database in its data directory.
pub const FILE_NAME: &str = "tidings.db";

/// The name of the file beside it in which crashes leave their trace; see [`Guard`].
pub const TRAIL_NAME: &str = "tidings.trail";

/// WAL versions before this one could lose commits when a checkpoint raced a commit.
const OLDEST_SQLITE: i32 = 3_051_003;

/// Refuses a SQLite that may lose what it has committed.
fn new_enough(number: i32, name: &str) -> Result<()> {
    if number < OLDEST_SQLITE {
        let why = format!("SQLite {name} is too old: versions before 3.51.3 may lose commits");
        return Err(Error::Unavailable(why));
    }
    Ok(())
}

/// How a database is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// The file.
    pub path: PathBuf,
    /// Page cache of the writer: KiB. The readers get half of it each. The writer goes through all of it at many commits.
    pub cache_kib: u32,
    /// Connections for reading.
    pub readers: usize,
    /// Pages in the write-ahead log after which they are written into the file.
    pub checkpoint_pages: u32,
    /// Room on the disk that is kept for what becomes of messages that were taken on, should the disk be full: octets.
    /// 0 for none: of several processes on one file only the one that serves it keeps a reserve.
    pub reserve_octets: u64,
    /// Another process serves this file. Otherwise the log that an earlier process left is looked at first.
    pub beside: bool,
    /// The file system as SQLite knows it (a VFS) that was registered under this name; `None` for the usual one.
    pub vfs: Option<String>,
    /// Rows of parked receipts that a connection may have: one to three for each receipt. Beyond them the oldest are
    /// forgotten, so that receipts that belong to nobody cannot fill the disk.
    pub parked_max: usize,
    /// The senders whose messages wait in queues of their own.
    pub paces: Arc<Paces>,
    /// Which connections share their receipts: see [`Backend::carriers`].
    pub carriers: Arc<Carriers>,
    /// What programmes are called.
    pub names: Arc<programme::Names>,
    /// Where crashes leave their trace, for the one process that serves the directory; see [`Guard`].
    pub trail: Option<PathBuf>,
}

/// As many as a connection may need: a hundred thousand receipts that are early, or two hours of ten strange ones a
/// second. Some 100 MiB at the most.
const PARKED_MAX: usize = 200_000;

impl Options {
    /// The defaults, for the file in this data directory.
    pub fn in_directory(directory: &Path) -> Self {
        Self {
            path: directory.join(FILE_NAME),
            cache_kib: 16 * 1024,
            readers: 2,
            checkpoint_pages: 4_000,
            reserve_octets: 0,
            beside: false,
            vfs: None,
            parked_max: PARKED_MAX,
            paces: Arc::default(),
            carriers: Arc::default(),
            names: Arc::default(),
            trail: None,
        }
    }
}

/// The SQLite backend.
#[derive(Debug)]
pub struct Sqlite {
    calls: Desk,
    work: Desk,
    writer: Desk,
    readers: Readers,
    condition: Arc<Condition>,
    looked: Arc<Looked>,
    guard: Arc<Guard>,
    options: Options,
}

impl Sqlite {
    /// Opens the file, creates it if it is new, and brings its schema up to date.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the file cannot be opened, is locked, or is of a newer version of this program;
    /// [`Error::Corrupt`] if it is no database, or its log lacks commits that were there; [`Error::Full`] and
    /// [`Error::Broken`] if the disk is so.
    pub fn open(options: &Options) -> Result<Self> {
        new_enough(rusqlite::version_number(), rusqlite::version())?;
        let mut connection = session::connect(options, options.cache_kib, false)?;
        if !options.beside {
            wal::settle(&connection, &options.path)?;
        }
        migration::migrate(&mut connection)?;
        copy::check(&connection)?;
        let looked = Arc::new(Looked::new(Arc::clone(&options.names)));
        let guard = Arc::new(options.trail.as_deref().map(Guard::open).unwrap_or_default());
        let condition = Arc::<Condition>::default();
        let shared = (Arc::clone(&looked), Arc::clone(&guard), Arc::clone(&condition));
        let started = Writer::start(connection, options, shared)
            .and_then(|writer| Ok((Arc::new(writer), Readers::start(options, Arc::clone(&condition))?)));
        let (writer, readers) = started.inspect_err(|_| guard.withdraw())?;
        let desk = |kind| Desk { writer: Arc::clone(&writer), kind };
        Ok(Self {
            calls: desk(Kind::Call),
            work: desk(Kind::Work),
            writer: desk(Kind::Record),
            readers,
            condition,
            looked,
            guard,
            options: options.clone(),
        })
    }

    /// Looks whether a database is whole: its structure, and each message against its checksum. Reads all of it, beside
    /// whoever uses it.
    ///
    /// # Errors
    /// [`Error::Corrupt`] says what is damaged.
    pub fn verify(file: &Path) -> Result<()> {
        let options = Options { path: file.to_owned(), ..Options::in_directory(file) };
        verify(&session::connect(&options, VERIFY_CACHE_KIB, true)?)
    }

    /// The migrations that were applied to a database, in their order. Only reads, beside whoever uses it.
    ///
    /// # Errors
    /// A sentence, if the file cannot be opened or is no database of ours.
    pub fn migrations(file: &Path) -> std::result::Result<Vec<String>, String> {
        migration::names(file)
    }

    /// The version of the library.
    pub fn version() -> &'static str {
        rusqlite::version()
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.options.path
    }
}

/// The page cache for reading every page once: KiB.
const VERIFY_CACHE_KIB: u32 = 1_024;

fn verify(connection: &rusqlite::Connection) -> Result<()> {
    let verdict: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(session::failed)?;
    if verdict != "ok" {
        return Err(Error::Corrupt(verdict));
    }
    match message::all_damaged(connection)? {
        None => Ok(()),
        Some((first, count)) => Err(Error::Corrupt(format!(
            "{count} messages are not what was accepted, or cannot be read; the first is {first}"
        ))),
    }
}

/// Forwards each operation to the writer or to a reader; the work is in the file of its noun. What is sent to `calls`
/// and `work` is refused while the disk is full: see [`Kind`].
macro_rules! forward {
    ($($executor:ident $module:ident::$name:ident($($argument:ident: $type:ty),*) -> $reply:ty;)*) => {$(
        fn $name(&self, $($argument: $type),*) -> BoxFuture<'_, $reply> {
            Box::pin(self.$executor.run(move |context| $module::$name(context, $(&$argument),*)))
        }
    )*};
}

impl Backend for Sqlite {
    forward! {
        calls message::accept(intake: Intake, now: Timestamp) -> Accepted;
        work message::claim(queue: Queue, limit: usize, now: Timestamp) -> Claimed;
        work message::wake(limit: usize, now: Timestamp, rules: Patience) -> Advanced;
        writer message::recover(connection: Option<ConnectionId>, limit: usize, now: Timestamp, rules: Patience) -> Advanced;
        writer message::quarantine(messages: Vec<MessageId>, why: Failure, now: Timestamp) -> Advanced;
        work inbound::receive(arrivals: Vec<Arrival>, hearing: Hearing, now: Timestamp) -> Advanced;
        work inbound::give_up(limit: usize, hearing: Hearing, now: Timestamp) -> Advanced;
        readers inbound::inbound(realm: Realm, id: InboundId) -> Option<Received>;
        readers media::media(realm: Realm, id: InboundId, place: u8) -> Option<KeptMedium>;
        writer message::waiting() -> Arc<Waiting>;
        writer message::redact(realm: Realm, id: MessageId, actor: Actor, now: Timestamp) -> Option<Stored>;
        readers message::next_due(queue: Option<Queue>, now: Timestamp) -> Option<Timestamp>;
        readers message::queues(connection: ConnectionId) -> Vec<Queue>;
        readers message::message(realm: Realm, id: MessageId) -> Option<Stored>;
        readers message::messages(realm: Realm, filter: MessageFilter, page: Page) -> Paged<Stored>;
        readers message::timeline(realm: Realm, id: MessageId) -> Option<Timeline>;
        readers message::batch(realm: Realm, id: BatchId) -> Option<Batch>;
        readers message::batches(realm: Realm, page: Page) -> Paged<Batch>;

        readers event::events(realm: Realm, after: Option<EventId>, limit: usize) -> Stretch;
        readers event::event(realm: Realm, id: EventId) -> Option<Told>;
        work event::claim_deliveries(wanted: Vec<(EndpointId, usize)>, lease_ms: i64, now: Timestamp) -> Vec<Told>;
        writer event::give_back_deliveries(leased: Vec<Delivery>, now: Timestamp) -> ();
        writer event::record_attempts(attempts: Vec<Attempt>, now: Timestamp) -> ();
        writer event::release_deliveries(now: Timestamp) -> u64;
        readers event::due_endpoints() -> Vec<(EndpointId, Timestamp)>;
        readers event::attempts(realm: Realm, endpoint: EndpointId, page: Page) -> Paged<Attempt>;
        work event::replay(realm: Realm, endpoint: EndpointId, what: Replay, limit: usize, actor: Actor, now: Timestamp) -> Option<u64>;

        calls endpoint::create_endpoint(endpoint: Endpoint, actor: Actor) -> ();
        calls endpoint::callback_endpoint(endpoint: Endpoint) -> EndpointId;
        readers endpoint::endpoints(realm: Option<Realm>) -> Vec<Endpoint>;
        writer endpoint::update_endpoint(endpoint: Endpoint, actor: Actor, now: Timestamp) -> bool;
        writer endpoint::delete_endpoint(realm: Realm, id: EndpointId, actor: Actor, now: Timestamp) -> bool;

        writer suppression::suppress(entries: Vec<Suppression>, actor: Actor) -> Vec<Suppression>;
        work message::stop_waiting(people: Vec<(Realm, PhoneNumber)>, limit: usize, now: Timestamp) -> Advanced;
        writer suppression::lift(realm: Realm, recipient: PhoneNumber, programme: Option<programme::Name>, reason: String, actor: Actor, now: Timestamp) -> Option<Suppression>;
        readers suppression::programmes_listed(now: Timestamp) -> ProgrammesListed;
        readers suppression::suppressions(realm: Realm, filter: SuppressionFilter, page: Page) -> Paged<Suppression>;
        readers suppression::listed(after: AuditId, limit: usize) -> Listed;

        readers frequency::turns(people: Vec<(Realm, PhoneNumber)>, purposes: Vec<Purpose>, now: Timestamp) -> Vec<Vec<Other>>;
        readers spend::spent(accounts: Vec<AccountId>, now: Timestamp) -> Vec<Spent>;
        readers quota::quotas(counts: Vec<Count>) -> Vec<u64>;
        writer quota::return_quotas(returned: Vec<(Count, u32)>) -> ();
        work quota::take_quotas(asked: Vec<AskedQuota>) -> Vec<(u64, bool)>;
        readers pool::last_senders(pool: Name, senders: Vec<Sender>, people: Vec<(Realm, PhoneNumber)>) -> Vec<Last>;
        work frequency::take_turns(asked: Vec<AskedTurn>, now: Timestamp) -> Vec<Turn>;

        writer consent::record_consents(entries: Vec<Consent>, actor: Actor, now: Timestamp) -> ();
        writer consent::import_consents(entries: Vec<Consent>, actor: Actor, now: Timestamp) -> u64;
        readers consent::consents(realm: Realm, recipient: PhoneNumber, page: Page) -> Paged<Consent>;
        calls consent_request::ask_consent(intake: Intake, asking: NewConsentRequest, now: Timestamp) -> Accepted;
        readers consent_request::consent_requests(realm: Realm, recipient: PhoneNumber, now: Timestamp) -> Vec<ConsentRequest>;
        readers consent::said(recipients: Vec<(Realm, PhoneNumber)>) -> Vec<History>;

        calls contact::create_contact(contact: Contact, actor: Actor) -> Saved;
        calls contact::change_contact(realm: Realm, id: ContactId, change: Change, actor: Actor, now: Timestamp) -> Option<Saved>;
        writer contact::delete_contact(realm: Realm, id: ContactId, actor: Actor, now: Timestamp) -> bool;
        readers contact::contact(realm: Realm, id: ContactId) -> Option<Contact>;
        readers contact::contacts(realm: Realm, filter: ContactFilter, page: Page) -> Paged<Contact>;
        readers contact::groups(realm: Realm) -> Vec<(Group, u64)>;
        readers contact::known_numbers(realm: Realm, numbers: Vec<PhoneNumber>) -> u64;
        readers contact::stated_zones(people: Vec<(Realm, PhoneNumber)>) -> Vec<Option<ZoneName>>;
        calls import::begin_import(import: Import) -> ();
        work import::stage_import(realm: Realm, id: ImportId, staged: Staged, now: Timestamp) -> bool;
        writer import::decide_import(realm: Realm, id: ImportId, decision: ImportDecision, actor: Actor, now: Timestamp) -> Option<Import>;
        readers import::next_import() -> Option<ImportId>;
        work import::apply_import(id: ImportId, now: Timestamp) -> Option<Import>;
        readers import::import(realm: Realm, id: ImportId) -> Option<Import>;
        readers import::imports(realm: Realm, page: Page) -> Paged<Import>;
        readers import::refused_rows(realm: Realm, id: ImportId, after: Option<i64>) -> Option<(Vec<Refused>, i64)>;

        readers review::review_groups(realm: Realm, limit: usize) -> Vec<ReviewGroup>;
        readers review::reviews(realm: Realm, cause: Option<String>, open_only: bool, page: Page) -> Paged<Review>;
        writer review::decide(realm: Realm, which: ReviewChoice, decision: Decision, limit: usize, actor: Actor, now: Timestamp) -> Vec<Review>;

        calls code::send_code(intake: Intake, sending: Sending, now: Timestamp) -> Accepted;
        readers code::code(realm: Realm, id: CodeId) -> Option<Code>;
        readers code::codes(realm: Realm, page: Page) -> Paged<Code>;
        calls code::check_code(realm: Realm, id: CodeId, is_right: bool, now: Timestamp) -> Option<(Code, Verdict)>;
        writer code::cancel_code(realm: Realm, id: CodeId, now: Timestamp) -> Option<(Code, bool)>;
        readers code::stops(realm: Realm, now: Timestamp) -> Vec<Stop>;
        writer code::lift_stop(realm: Realm, prefix: Prefix, actor: Actor, now: Timestamp) -> Option<Stop>;

        calls conversation::converse(intake: Intake, saying: Saying, now: Timestamp) -> Accepted;
        readers conversation::conversations(realm: Realm, filter: ConversationFilter, page: Page, now: Timestamp) -> Paged<Conversation>;
        readers conversation::conversation(realm: Realm, id: ConversationId) -> Option<Conversation>;
        readers conversation::lines(realm: Realm, id: ConversationId, page: Page) -> Option<Paged<Line>>;
        calls conversation::add_note(realm: Realm, id: ConversationId, note: NewNote, now: Timestamp) -> Option<Conversation>;
        calls conversation::change_conversation(realm: Realm, id: ConversationId, change: ConversationChange, actor: Actor, now: Timestamp) -> Option<std::result::Result<Conversation, TooManyTags>>;
        readers conversation::search(realm: Realm, words: Vec<String>, page: Page) -> Paged<Found>;

        calls template::create_template(template: Template, actor: Actor) -> ();
        calls template::add_template_version(realm: Realm, id: TemplateId, content: Content, actor: Actor, now: Timestamp) -> Option<Template>;
        readers template::template(realm: Realm, which: WhichTemplate, version: Option<u32>) -> Option<Template>;
        readers template::templates(realm: Realm, prefix: String, page: Page) -> Paged<Template>;

        calls segment::create_segment(segment: People, actor: Actor) -> ();
        calls segment::change_segment(realm: Realm, id: SegmentId, change: PeopleChange, actor: Actor, now: Timestamp) -> Option<People>;
        writer segment::delete_segment(realm: Realm, id: SegmentId, actor: Actor, now: Timestamp) -> bool;
        readers segment::segment(realm: Realm, which: WhichSegment) -> Option<People>;
        readers segment::segments(realm: Realm, page: Page) -> Paged<People>;
        readers segment::touches(realm: Realm, numbers: Vec<PhoneNumber>) -> Vec<Past>;
        readers segment::touch_places() -> Vec<(Realm, EventId)>;
        work segment::add_touches(realm: Realm, read: Touched) -> bool;

        writer account::default_account(now: Timestamp) -> AccountId;
        readers account::accounts() -> Vec<Account>;
        calls account::create_account(account: Account, actor: Actor) -> ();
        calls account::create_token(token: Token, actor: Actor) -> ();
        readers account::token_by_lookup(lookup: String) -> Option<Token>;
        readers account::tokens(account: AccountId, environment: Option<Environment>) -> Vec<Token>;
        writer account::update_token(token: Token, action: &'static str, actor: Actor, now: Timestamp) -> bool;
        work account::touch_tokens(uses: Vec<(TokenId, Timestamp, bool)>) -> ();
        calls account::create_client(client: Client, actor: Actor) -> ();
        readers account::client(id: ClientId) -> Option<Client>;
        readers account::clients(realm: Realm) -> Vec<Client>;
        writer account::revoke_client(realm: Realm, id: ClientId, actor: Actor, now: Timestamp) -> bool;

        writer operating::register_connections(names: Vec<(String, Environment)>, now: Timestamp) -> Vec<Connection>;
        readers operating::connections() -> Vec<Connection>;
        writer operating::pause_connection(id: ConnectionId, pause: Option<String>, actor: Actor, now: Timestamp) -> bool;
        work operating::reroute(from: ConnectionId, to: ConnectionId, limit: usize, now: Timestamp) -> u64;
        readers operating::hold() -> Option<String>;
        writer operating::set_hold(reason: Option<String>, actor: Actor, now: Timestamp) -> ();
        readers operating::statistics(now: Timestamp) -> Statistics;
        readers operating::audit(account: AccountId, page: Page) -> Paged<Audit>;
        writer operating::record_audit(actor: Actor, action: String, subject: String, detail: String, now: Timestamp) -> ();
        writer operating::sweep(retention: Retention, limit: usize, now: Timestamp) -> bool;
        calls operating::ping() -> ();
    }

    fn advance(
        &self,
        happenings: Vec<Happening>,
        now: Timestamp,
        rules: Patience,
    ) -> BoxFuture<'_, Advanced> {
        // A receipt that is not stored is not acknowledged, and its carrier has it still. An answer is given once.
        let can_be_had_again =
            happenings.iter().any(|happening| matches!(happening, Happening::Receipt { .. }));
        let desk = if can_be_had_again { &self.work } else { &self.writer };
        Box::pin(desk.run(move |tx| message::advance(tx, &happenings, &now, &rules)))
    }

    fn until_broken(&self) -> Broken<'_> {
        Box::pin(self.condition.until_broken())
    }

    fn room(&self) -> BoxFuture<'_, Option<Room>> {
        let (path, full) = (self.options.path.clone(), self.condition.is_full());
        Box::pin(self.readers.apart(move || reserve::room(&path, full).map(Some)))
    }

    fn suppressed(
        &self,
        recipients: Vec<(Realm, PhoneNumber)>,
        now: Timestamp,
    ) -> BoxFuture<'_, Vec<Listing>> {
        if self.looked.all_free(&recipients) {
            return Box::pin(std::future::ready(Ok(vec![Listing::default(); recipients.len()])));
        }
        let looked = Arc::clone(&self.looked);
        Box::pin(self.readers.run(move |rx| suppression::suppressed(rx, &looked, &recipients, now)))
    }

    fn backup(&self, to: PathBuf) -> BoxFuture<'_, ()> {
        let from = self.options.clone();
        Box::pin(self.readers.apart(move || backup::copy(&from, &to)))
    }

    fn guard(&self) -> Arc<Guard> {
        Arc::clone(&self.guard)
    }

    fn paces(&self) -> Arc<Paces> {
        Arc::clone(&self.options.paces)
    }

    fn carriers(&self) -> Arc<Carriers> {
        Arc::clone(&self.options.carriers)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.writer.writer.close().await?;
            self.guard.end();
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P-35
    #[test]
    fn a_sqlite_that_may_lose_commits_is_refused() {
        for (number, name, right) in [
            (3_007_000, "3.7.0", false),
            (3_051_002, "3.51.2", false),
            (3_051_003, "3.51.3", true),
            (rusqlite::version_number(), rusqlite::version(), true),
        ] {
            assert_eq!(new_enough(number, name).is_ok(), right, "{name}");
        }
        let refused = new_enough(3_051_002, "3.51.2").unwrap_err().to_string();
        assert!(refused.contains("3.51.2 is too old"), "{refused}");
    }

    /// P-35: there is no setting that makes a commit less durable.
    #[test]
    fn every_connection_waits_for_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        let options = Options::in_directory(directory.path());
        let connection = session::connect(&options, 1_024, false).unwrap();
        let setting = |name| connection.query_row(name, [], |row| row.get::<_, String>(0)).unwrap();
        let number = |name| connection.query_row(name, [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(number("PRAGMA synchronous"), 2, "FULL");
        assert_eq!(setting("PRAGMA journal_mode"), "wal");
        assert_eq!(number("PRAGMA mmap_size"), 0);
    }
}
