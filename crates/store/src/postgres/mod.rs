//! PostgreSQL behind the contract: one session that writes, a few that read.
//!
//! All writes of a process go through one thread and one session, as with SQLite: it takes everything that waits, runs
//! it in one transaction, commits once (`synchronous_commit` as the server has it, never less than `on`) and only then
//! answers. What differs is the distance: a statement costs a round trip, so operations work in memory on what was
//! loaded for all of them, and what they change is written together. `executor.rs` says how.
//!
//! Several processes may use one database; their transactions take turns. Those that *serve* it are its nodes: `node.rs`
//! has the list of them and of what they own, `news.rs` is how they hear of each other. `front.rs` keeps
//! long transactions of strangers from slowing the queues.

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
mod front;
mod import;
mod inbound;
mod media;
mod message;
mod migration;
mod news;
mod node;
mod operating;
mod part;
mod pool;
mod quota;
mod reader;
mod review;
mod segment;
mod session;
mod silence;
mod spend;
mod suppression;
mod template;
mod transaction;

use crate::backend::*;
use crate::carriers::Carriers;
use crate::looked::Looked;
use crate::{Error, Guard, Result, Waiting};
use executor::{Kind, Operation, Writer};
use news::Fellowship;
use reader::{Readers, Reading};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
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
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

/// A server and a database there.
#[derive(Clone)]
pub struct Server(Config);

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The address may hold a password.
        f.write_str("Server")
    }
}

/// How a database is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it is.
    pub server: Server,
    /// Sessions for reading.
    pub readers: usize,
    /// Whether this process serves the database, as one of its nodes.
    pub served: bool,
    /// Rows of parked receipts that a connection may have: one to three for each receipt. Beyond them the oldest are
    /// forgotten, so that receipts that belong to nobody cannot fill the disk.
    pub parked_max: usize,
    /// The senders whose messages wait in queues of their own.
    pub paces: Arc<Paces>,
    /// Which connections share their receipts: see [`Backend::carriers`].
    pub carriers: Arc<Carriers>,
    /// What programmes are called.
    pub names: Arc<programme::Names>,
    /// Where crashes leave their trace, on the machine of the process that serves the database; see [`Guard`].
    pub trail: Option<PathBuf>,
}

/// As many as a connection may need: a hundred thousand receipts that are early, or two hours of ten strange ones a
/// second. Some 100 MiB at the most.
const PARKED_MAX: usize = 200_000;

impl Options {
    /// The defaults, for the database at this address: `postgres://user:password@host/database`, or words such as
    /// `host=/run/postgresql dbname=tidings`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if it is no such address.
    pub fn at(address: &str) -> Result<Self> {
        let wrong = |error: tokio_postgres::Error| {
            let reason =
                std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            Error::Unavailable(format!("this is no address of a PostgreSQL database: {reason}"))
        };
        let mut server: Config = address.parse().map_err(wrong)?;
        if server.get_dbname().is_none() {
            return Err(Error::Unavailable(
                "the address names no database: write it behind the server, such as postgres://user@host/tidings"
                    .to_owned(),
            ));
        }
        if server.get_ssl_mode() == SslMode::Require {
            return Err(Error::Unavailable(
                "sslmode=require cannot be kept, since there is no TLS to PostgreSQL yet: leave it out, and let the server be on this machine, in a private network or behind a tunnel"
                    .to_owned(),
            ));
        }
        if server.get_application_name().is_none() {
            server.application_name("tidings");
        }
        server
            .connect_timeout(Duration::from_secs(5))
            .keepalives_idle(Duration::from_secs(5))
            .keepalives_interval(Duration::from_secs(5))
            .keepalives_retries(2)
            .tcp_user_timeout(Duration::from_secs(15));
        Ok(Self {
            server: Server(server),
            readers: 2,
            served: false,
            parked_max: PARKED_MAX,
            paces: Arc::default(),
            carriers: Arc::default(),
            names: Arc::default(),
            trail: None,
        })
    }

    /// The database as people may see it: without user and password.
    pub fn place(&self) -> String {
        let host = match self.server.0.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            Some(Host::Unix(path)) => path.display().to_string(),
            None => "localhost".to_owned(),
        };
        let port = self.server.0.get_ports().first().map_or_else(String::new, |port| format!(":{port}"));
        let database = self.server.0.get_dbname().or(self.server.0.get_user()).unwrap_or_default();
        format!("{host}{port}/{database}")
    }
}

/// What a database is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// The version of the server.
    pub version: String,
    /// The migrations that were applied, in their order.
    pub migrations: Vec<String>,
    /// Whether these are all that this program knows.
    pub is_current: bool,
    /// Whether a process serves the database.
    pub is_served: bool,
}

/// The PostgreSQL backend.
#[derive(Debug)]
pub struct Postgres {
    writer: Writer,
    readers: Readers,
    looked: Arc<Looked>,
    guard: Arc<Guard>,
    fellowship: Arc<Fellowship>,
    server: Server,
    paces: Arc<Paces>,
    carriers: Arc<Carriers>,
}

impl Postgres {
    /// Opens the database, whose schema must be up to date.
    ///
    /// # Errors
    /// [`Error::Unavailable`] with a sentence: the server cannot be reached, does not keep what it commits, or the
    /// schema is older or newer than this program.
    pub fn open(options: &Options) -> Result<Self> {
        let looked = Arc::new(Looked::new(Arc::clone(&options.names)));
        let guard = Arc::new(options.trail.as_deref().map(Guard::open).unwrap_or_default());
        let fellowship = Arc::<Fellowship>::default();
        let started =
            Writer::start(options, Arc::clone(&looked), Arc::clone(&guard), Arc::clone(&fellowship))
                .and_then(|writer| Ok((writer, Readers::start(options, Arc::clone(&fellowship))?)));
        let (writer, readers) = started.inspect_err(|_| guard.withdraw())?;
        let (paces, carriers) = (Arc::clone(&options.paces), Arc::clone(&options.carriers));
        let server = options.server.clone();
        Ok(Self { writer, readers, looked, guard, fellowship, server, paces, carriers })
    }

    /// Brings the schema up to date and gives the names of the migrations that were applied.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the server cannot be reached, or a migration cannot be applied: then nothing was.
    pub async fn migrate(options: &Options) -> Result<Vec<String>> {
        let session = session::Session::open(&options.server.0).await?;
        session.check_promises().await?;
        let applied = migration::migrate(&session).await;
        session.close().await;
        applied
    }

    /// Looks at a database without changing it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the server cannot be reached or does not keep what it commits, or the database is of
    /// a newer version of this program.
    pub async fn look(options: &Options) -> Result<About> {
        let session = session::Session::open(&options.server.0).await?;
        let looked = async {
            session.check_promises().await?;
            let version = session.value("SELECT current_setting('server_version')", &[]).await?;
            let migrations = migration::applied(&session).await?;
            let is_current = migration::check(&session).await.is_ok();
            let is_served = session.value(executor::IS_SERVED, &[]).await?;
            Ok(About { version, migrations, is_current, is_served })
        };
        let about = looked.await;
        session.close().await;
        about
    }
}

/// Forwards each operation to the writer or to a reader; the work is in the file of its noun. A `together` operation
/// names what it will look at and works on sheets with others; a `writer` operation looks for its rows by itself. Of both
/// there are calls, for which somebody waits: see [`Kind`]. A `single` read is one statement, `readers` see one moment in several.
macro_rules! forward {
    ($($executor:ident $module:ident::$name:ident($($argument:ident: $type:ty),*) -> $reply:ty $(, $needs:ident of $of:expr, weighs $weight:expr)?;)*) => {$(
        fn $name(&self, $($argument: $type),*) -> BoxFuture<'_, $reply> {
            forward!(@$executor self $module::$name($($argument: $type),*) -> $reply $(, $needs of $of, weighs $weight)?)
        }
    )*};
    (@together $self:ident $module:ident::$name:ident($($argument:ident: $type:ty),*) -> $reply:ty, $needs:ident of $of:expr, weighs $weight:expr) => {
        forward!(@sheets $self Work $module::$name($($argument: $type),*) -> $reply, $needs of $of, weighs $weight)
    };
    (@call_together $self:ident $module:ident::$name:ident($($argument:ident: $type:ty),*) -> $reply:ty, $needs:ident of $of:expr, weighs $weight:expr) => {
        forward!(@sheets $self Call $module::$name($($argument: $type),*) -> $reply, $needs of $of, weighs $weight)
    };
    (@sheets $self:ident $kind:ident $module:ident::$name:ident($($argument:ident: $type:ty),*) -> $reply:ty, $needs:ident of $of:expr, weighs $weight:expr) => {
        Box::pin($self.writer.run::<($($type,)*), $reply>(Operation {
            arguments: ($($argument,)*),
            kind: Kind::$kind,
            weight: |arguments| {
                #[allow(unused_variables)]
                let ($($argument,)*) = arguments;
                $weight
            },
            needs: Some(|arguments, tx, needs| {
                #[allow(unused_variables)]
                let ($($argument,)*) = arguments;
                $module::$needs($of, tx, needs);
            }),
            run: |tx, arguments| {
                let ($($argument,)*) = arguments;
                Box::pin($module::$name(tx, $($argument),*))
            },
        }))
    };
    (@writer $self:ident $module:ident::$name:ident($($argument:ident: $type:ty),*) -> $reply:ty) => {
        forward!(@alone $self Work $module::$name($($argument: $type),*) -> $reply)
    };
    (@calls $self:ident $module:ident::$name:ident($($argument:ident: $type:ty),*) -> $reply:ty) => {
        forward!(@alone $self Call $module::$name($($argument: $type),*) -> $reply)
    };
    (@alone $self:ident $kind:ident $module:ident::$name:ident($($argument:ident: $type:ty),*) -> $reply:ty) => {
        Box::pin($self.writer.run::<($($type,)*), $reply>(Operation {
            arguments: ($($argument,)*),
            kind: Kind::$kind,
            weight: |_| 1,
            needs: None,
            run: |tx, arguments| {
                let ($($argument,)*) = arguments;
                Box::pin($module::$name(tx, $($argument),*))
            },
        }))
    };
    (@readers $self:ident $module:ident::$name:ident($($argument:ident: $type:ty),*) -> $reply:ty) => {
        forward!(@read $self false $module::$name($($argument: $type),*) -> $reply)
    };
    (@single $self:ident $module:ident::$name:ident($($argument:ident: $type:ty),*) -> $reply:ty) => {
        forward!(@read $self true $module::$name($($argument: $type),*) -> $reply)
    };
    (@read $self:ident $single:literal $module:ident::$name:ident($($argument:ident: $type:ty),*) -> $reply:ty) => {
        Box::pin($self.readers.run::<($($type,)*), $reply>(Reading {
            arguments: ($($argument,)*),
            single: $single,
            run: |rx, arguments| {
                let ($($argument,)*) = arguments;
                Box::pin($module::$name(rx, $($argument),*))
            },
        }))
    };
}

impl Backend for Postgres {
    forward! {
        together message::claim(queue: Queue, limit: usize, now: Timestamp) -> Claimed, claim_needs of (queue, limit, now), weighs *limit;
        together message::advance(happenings: Vec<Happening>, now: Timestamp, rules: Patience) -> Advanced, advance_needs of happenings, weighs happenings.len();
        writer message::wake(limit: usize, now: Timestamp, rules: Patience) -> Advanced;
        writer message::recover(connection: Option<ConnectionId>, limit: usize, now: Timestamp, rules: Patience) -> Advanced;
        writer message::quarantine(messages: Vec<MessageId>, why: Failure, now: Timestamp) -> Advanced;
        writer inbound::receive(arrivals: Vec<Arrival>, hearing: Hearing, now: Timestamp) -> Advanced;
        writer inbound::give_up(limit: usize, hearing: Hearing, now: Timestamp) -> Advanced;
        readers inbound::inbound(realm: Realm, id: InboundId) -> Option<Received>;
        readers media::media(realm: Realm, id: InboundId, place: u8) -> Option<KeptMedium>;
        writer message::waiting() -> Arc<Waiting>;
        writer message::redact(realm: Realm, id: MessageId, actor: Actor, now: Timestamp) -> Option<Stored>;
        single message::next_due(queue: Option<Queue>, now: Timestamp) -> Option<Timestamp>;
        single message::queues(connection: ConnectionId) -> Vec<Queue>;
        single message::message(realm: Realm, id: MessageId) -> Option<Stored>;
        readers message::messages(realm: Realm, filter: MessageFilter, page: Page) -> Paged<Stored>;
        readers message::timeline(realm: Realm, id: MessageId) -> Option<Timeline>;
        readers message::batch(realm: Realm, id: BatchId) -> Option<Batch>;
        readers message::batches(realm: Realm, page: Page) -> Paged<Batch>;

        readers event::events(realm: Realm, after: Option<EventId>, limit: usize) -> Stretch;
        readers event::event(realm: Realm, id: EventId) -> Option<Told>;
        writer event::claim_deliveries(wanted: Vec<(EndpointId, usize)>, lease_ms: i64, now: Timestamp) -> Vec<Told>;
        writer event::give_back_deliveries(leased: Vec<Delivery>, now: Timestamp) -> ();
        together event::record_attempts(attempts: Vec<Attempt>, now: Timestamp) -> (), record_attempts_needs of attempts, weighs attempts.len();
        writer event::release_deliveries(now: Timestamp) -> u64;
        single event::due_endpoints() -> Vec<(EndpointId, Timestamp)>;
        single event::attempts(realm: Realm, endpoint: EndpointId, page: Page) -> Paged<Attempt>;
        writer event::replay(realm: Realm, endpoint: EndpointId, what: Replay, limit: usize, actor: Actor, now: Timestamp) -> Option<u64>;

        calls endpoint::create_endpoint(endpoint: Endpoint, actor: Actor) -> ();
        calls endpoint::callback_endpoint(endpoint: Endpoint) -> EndpointId;
        single endpoint::endpoints(realm: Option<Realm>) -> Vec<Endpoint>;
        writer endpoint::update_endpoint(endpoint: Endpoint, actor: Actor, now: Timestamp) -> bool;
        writer endpoint::delete_endpoint(realm: Realm, id: EndpointId, actor: Actor, now: Timestamp) -> bool;

        together suppression::suppress(entries: Vec<Suppression>, actor: Actor) -> Vec<Suppression>, suppress_needs of entries, weighs entries.len();
        writer message::stop_waiting(people: Vec<(Realm, PhoneNumber)>, limit: usize, now: Timestamp) -> Advanced;
        writer suppression::lift(realm: Realm, recipient: PhoneNumber, programme: Option<programme::Name>, reason: String, actor: Actor, now: Timestamp) -> Option<Suppression>;
        single suppression::programmes_listed(now: Timestamp) -> ProgrammesListed;
        single suppression::suppressions(realm: Realm, filter: SuppressionFilter, page: Page) -> Paged<Suppression>;
        readers suppression::listed(after: AuditId, limit: usize) -> Listed;

        readers frequency::turns(people: Vec<(Realm, PhoneNumber)>, purposes: Vec<Purpose>, now: Timestamp) -> Vec<Vec<Other>>;
        single spend::spent(accounts: Vec<AccountId>, now: Timestamp) -> Vec<Spent>;
        single quota::quotas(counts: Vec<Count>) -> Vec<u64>;
        writer quota::return_quotas(returned: Vec<(Count, u32)>) -> ();
        writer quota::take_quotas(asked: Vec<AskedQuota>) -> Vec<(u64, bool)>;
        readers pool::last_senders(pool: Name, senders: Vec<Sender>, people: Vec<(Realm, PhoneNumber)>) -> Vec<Last>;
        writer frequency::take_turns(asked: Vec<AskedTurn>, now: Timestamp) -> Vec<Turn>;

        writer consent::record_consents(entries: Vec<Consent>, actor: Actor, now: Timestamp) -> ();
        writer consent::import_consents(entries: Vec<Consent>, actor: Actor, now: Timestamp) -> u64;
        single consent::consents(realm: Realm, recipient: PhoneNumber, page: Page) -> Paged<Consent>;
        calls consent_request::ask_consent(intake: Intake, asking: NewConsentRequest, now: Timestamp) -> Accepted;
        readers consent_request::consent_requests(realm: Realm, recipient: PhoneNumber, now: Timestamp) -> Vec<ConsentRequest>;
        readers consent::said(recipients: Vec<(Realm, PhoneNumber)>) -> Vec<History>;

        calls contact::create_contact(contact: Contact, actor: Actor) -> Saved;
        calls contact::change_contact(realm: Realm, id: ContactId, change: Change, actor: Actor, now: Timestamp) -> Option<Saved>;
        writer contact::delete_contact(realm: Realm, id: ContactId, actor: Actor, now: Timestamp) -> bool;
        single contact::contact(realm: Realm, id: ContactId) -> Option<Contact>;
        readers contact::contacts(realm: Realm, filter: ContactFilter, page: Page) -> Paged<Contact>;
        single contact::groups(realm: Realm) -> Vec<(Group, u64)>;
        single contact::known_numbers(realm: Realm, numbers: Vec<PhoneNumber>) -> u64;
        single contact::stated_zones(people: Vec<(Realm, PhoneNumber)>) -> Vec<Option<ZoneName>>;
        calls import::begin_import(import: Import) -> ();
        writer import::stage_import(realm: Realm, id: ImportId, staged: Staged, now: Timestamp) -> bool;
        writer import::decide_import(realm: Realm, id: ImportId, decision: ImportDecision, actor: Actor, now: Timestamp) -> Option<Import>;
        single import::next_import() -> Option<ImportId>;
        writer import::apply_import(id: ImportId, now: Timestamp) -> Option<Import>;
        single import::import(realm: Realm, id: ImportId) -> Option<Import>;
        single import::imports(realm: Realm, page: Page) -> Paged<Import>;
        readers import::refused_rows(realm: Realm, id: ImportId, after: Option<i64>) -> Option<(Vec<Refused>, i64)>;

        single review::review_groups(realm: Realm, limit: usize) -> Vec<ReviewGroup>;
        single review::reviews(realm: Realm, cause: Option<String>, open_only: bool, page: Page) -> Paged<Review>;
        writer review::decide(realm: Realm, which: ReviewChoice, decision: Decision, limit: usize, actor: Actor, now: Timestamp) -> Vec<Review>;

        calls code::send_code(intake: Intake, sending: Sending, now: Timestamp) -> Accepted;
        single code::code(realm: Realm, id: CodeId) -> Option<Code>;
        single code::codes(realm: Realm, page: Page) -> Paged<Code>;
        calls code::check_code(realm: Realm, id: CodeId, is_right: bool, now: Timestamp) -> Option<(Code, Verdict)>;
        writer code::cancel_code(realm: Realm, id: CodeId, now: Timestamp) -> Option<(Code, bool)>;
        single code::stops(realm: Realm, now: Timestamp) -> Vec<Stop>;
        writer code::lift_stop(realm: Realm, prefix: Prefix, actor: Actor, now: Timestamp) -> Option<Stop>;

        calls conversation::converse(intake: Intake, saying: Saying, now: Timestamp) -> Accepted;
        readers conversation::conversations(realm: Realm, filter: ConversationFilter, page: Page, now: Timestamp) -> Paged<Conversation>;
        single conversation::conversation(realm: Realm, id: ConversationId) -> Option<Conversation>;
        readers conversation::lines(realm: Realm, id: ConversationId, page: Page) -> Option<Paged<Line>>;
        calls conversation::add_note(realm: Realm, id: ConversationId, note: NewNote, now: Timestamp) -> Option<Conversation>;
        calls conversation::change_conversation(realm: Realm, id: ConversationId, change: ConversationChange, actor: Actor, now: Timestamp) -> Option<std::result::Result<Conversation, TooManyTags>>;
        readers conversation::search(realm: Realm, words: Vec<String>, page: Page) -> Paged<Found>;

        calls template::create_template(template: Template, actor: Actor) -> ();
        calls template::add_template_version(realm: Realm, id: TemplateId, content: Content, actor: Actor, now: Timestamp) -> Option<Template>;
        single template::template(realm: Realm, which: WhichTemplate, version: Option<u32>) -> Option<Template>;
        single template::templates(realm: Realm, prefix: String, page: Page) -> Paged<Template>;

        calls segment::create_segment(segment: People, actor: Actor) -> ();
        calls segment::change_segment(realm: Realm, id: SegmentId, change: PeopleChange, actor: Actor, now: Timestamp) -> Option<People>;
        writer segment::delete_segment(realm: Realm, id: SegmentId, actor: Actor, now: Timestamp) -> bool;
        readers segment::segment(realm: Realm, which: WhichSegment) -> Option<People>;
        single segment::segments(realm: Realm, page: Page) -> Paged<People>;
        single segment::touches(realm: Realm, numbers: Vec<PhoneNumber>) -> Vec<Past>;
        single segment::touch_places() -> Vec<(Realm, EventId)>;
        writer segment::add_touches(realm: Realm, read: Touched) -> bool;

        writer account::default_account(now: Timestamp) -> AccountId;
        single account::accounts() -> Vec<Account>;
        calls account::create_account(account: Account, actor: Actor) -> ();
        calls account::create_token(token: Token, actor: Actor) -> ();
        single account::token_by_lookup(lookup: String) -> Option<Token>;
        single account::tokens(account: AccountId, environment: Option<Environment>) -> Vec<Token>;
        writer account::update_token(token: Token, action: &'static str, actor: Actor, now: Timestamp) -> bool;
        writer account::touch_tokens(uses: Vec<(TokenId, Timestamp, bool)>) -> ();
        calls account::create_client(client: Client, actor: Actor) -> ();
        single account::client(id: ClientId) -> Option<Client>;
        single account::clients(realm: Realm) -> Vec<Client>;
        writer account::revoke_client(realm: Realm, id: ClientId, actor: Actor, now: Timestamp) -> bool;

        writer operating::register_connections(names: Vec<(String, Environment)>, now: Timestamp) -> Vec<Connection>;
        single operating::connections() -> Vec<Connection>;
        writer operating::pause_connection(id: ConnectionId, pause: Option<String>, actor: Actor, now: Timestamp) -> bool;
        writer operating::reroute(from: ConnectionId, to: ConnectionId, limit: usize, now: Timestamp) -> u64;
        single operating::hold() -> Option<String>;
        writer operating::set_hold(reason: Option<String>, actor: Actor, now: Timestamp) -> ();
        readers operating::statistics(now: Timestamp) -> Statistics;
        single operating::audit(account: AccountId, page: Page) -> Paged<Audit>;
        writer operating::record_audit(actor: Actor, action: String, subject: String, detail: String, now: Timestamp) -> ();
        writer operating::sweep(retention: Retention, limit: usize, now: Timestamp) -> bool;
        calls operating::ping() -> ();

        writer node::join(newcomer: Newcomer) -> Standing;
        writer node::renew() -> Standing;
        writer node::release(connection: ConnectionId) -> ();
        writer node::leave() -> ();
        writer node::list_version() -> i64;
        writer node::acknowledge(version: i64) -> ();
    }

    fn nodes(&self) -> BoxFuture<'_, Vec<Node>> {
        let this = self.fellowship.node().map(|(id, _)| id);
        forward!(@single self node::nodes(this: Option<String>) -> Vec<Node>)
    }

    fn news(&self) -> Option<tokio::sync::mpsc::Receiver<News>> {
        self.fellowship.node()?;
        Some(news::listen(self.server.0.clone(), Arc::clone(&self.fellowship), Arc::clone(&self.looked)))
    }

    fn until_broken(&self) -> Broken<'_> {
        Box::pin(self.writer.until_broken())
    }

    /// What was taken for granted is looked at before its transaction, as it would be if nothing was: a read in there would
    /// keep everybody waiting who wants to write.
    fn accept(&self, intake: Intake, now: Timestamp) -> BoxFuture<'_, Accepted> {
        let premises = intake.drafts.iter().filter_map(|draft| {
            Some((draft.message.realm(), draft.message.recipient, draft.premise.clone()?))
        });
        let premises: Vec<(Realm, PhoneNumber, Premise)> = premises.collect();
        Box::pin(async move {
            let is_crowded = if premises.is_empty() {
                false
            } else {
                let looking: BoxFuture<'_, _> = forward!(@readers self message::is_crowded(premises: Vec<(Realm, PhoneNumber, Premise)>, now: Timestamp) -> bool);
                looking.await?
            };
            let accepting: BoxFuture<'_, _> = forward!(@call_together self message::accept(intake: Intake, is_crowded: bool, now: Timestamp) -> Accepted, accept_needs of intake, weighs intake.drafts.len());
            accepting.await
        })
    }

    fn suppressed(
        &self,
        recipients: Vec<(Realm, PhoneNumber)>,
        now: Timestamp,
    ) -> BoxFuture<'_, Vec<Listing>> {
        if self.looked.all_free(&recipients) {
            return Box::pin(std::future::ready(Ok(vec![Listing::default(); recipients.len()])));
        }
        let entries: BoxFuture<'_, _> = forward!(@single self suppression::entries(recipients: Vec<(Realm, PhoneNumber)>) -> Vec<Vec<Suppression>>);
        Box::pin(async move {
            Ok(entries.await?.iter().map(|of_one| self.looked.standing(of_one, now)).collect())
        })
    }

    fn backup(&self, _to: PathBuf) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(Err(backup::refusal())))
    }

    fn guard(&self) -> Arc<Guard> {
        Arc::clone(&self.guard)
    }

    fn paces(&self) -> Arc<Paces> {
        Arc::clone(&self.paces)
    }

    fn carriers(&self) -> Arc<Carriers> {
        Arc::clone(&self.carriers)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.writer.close().await?;
            self.guard.end();
            Ok(())
        })
    }
}
