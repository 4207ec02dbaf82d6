//! One session with the server: how it is opened, what it must promise, and how statements fly over it.
//!
//! **Plans do not depend on statistics.** A prepared statement keeps the plan that it got when the tables were empty,
//! so a plan that is good for small tables only ruins the first hours of an installation. Sessions therefore leave the
//! planner no choice: sequential scans, bitmaps and joins that read whole tables are switched off, statements are
//! written so that each table is reached through one index (`LATERAL … LIMIT`, `= ANY`, or by its place), and plans are
//! made once (`force_generic_plan`).

use crate::column;
use crate::{Error, Result};
use bytes::BytesMut;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::Poll;
use std::time::Duration;
use tidings_domain::account::{Environment, Realm};
use tidings_domain::id::AccountId;
use tokio::task::JoinHandle;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::config::Host;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type};
use tokio_postgres::{Client, Config, NoTls, Row, Statement};

/// How long opening a session may take, once there is a connection.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one server may take to let us in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The same where there are others to try: together they must stay well below what a node's lease leaves it.
const CONNECT_TIMEOUT_OF_SEVERAL: Duration = Duration::from_secs(2);
/// The oldest server that is tested: numbered as `server_version_num` does.
const OLDEST_SERVER: i32 = 140_000;

/// The settings of every session. A statement that takes longer than half a minute, and a lock that takes longer than
/// ten seconds, mean that somebody else holds the database: the caller hears that it cannot answer. A transaction whose
/// owner stands still ends by itself within seconds, since all others wait for it. A server that hears nothing from us for a
/// quarter of a minute lets our locks go.
const SETTINGS: &str = "
    SET client_min_messages = warning;
    SET statement_timeout = '30s';
    SET lock_timeout = '10s';
    SET idle_in_transaction_session_timeout = '3s';
    SET tcp_keepalives_idle = 5;
    SET tcp_keepalives_interval = 5;
    SET tcp_keepalives_count = 2;
    SET plan_cache_mode = force_generic_plan;
    SET jit = off;
    SET enable_seqscan = off;
    SET enable_bitmapscan = off;
    SET enable_hashjoin = off;
    SET enable_mergejoin = off;
    SET enable_material = off";

/// A value that goes with a statement.
pub(super) type Value<'v> = &'v (dyn ToSql + Sync);

/// A connection that nobody drives yet.
type Wire = tokio_postgres::Connection<tokio_postgres::Socket, NoTlsStream>;

/// Connects to the first server of the address that lets us in and is what is asked for. Each has its own time: after a
/// failover the machine that was the primary may take connections and be silent, or swallow everything, and the others
/// must be reached all the same.
///
/// # Errors
/// [`Error::Unavailable`] with what is wrong; of several servers with the name of each.
pub(super) async fn connect(config: &Config) -> Result<(Client, Wire)> {
    let servers = config.get_hosts().len().max(config.get_hostaddrs().len());
    let limit = if servers > 1 { CONNECT_TIMEOUT_OF_SEVERAL } else { CONNECT_TIMEOUT };
    let mut wrong = Vec::new();
    for n in 0..servers.max(1) {
        let only = if servers > 1 { only(config, n) } else { config.clone() };
        let error = match tokio::time::timeout(limit, only.connect(NoTls)).await {
            Ok(Ok(both)) => return Ok(both),
            Ok(Err(error)) => failed(error),
            Err(_) => silent(),
        };
        if servers < 2 {
            return Err(error);
        }
        wrong.push(format!("{}: {error}", name(&only)));
    }
    Err(Error::Unavailable(format!("no server of the address can be used. {}", wrong.join(". "))))
}

/// What the only server of these settings is called.
fn name(only: &Config) -> String {
    let host = match (only.get_hosts().first(), only.get_hostaddrs().first()) {
        (Some(Host::Tcp(name)), _) => name.clone(),
        (Some(Host::Unix(path)), _) => path.display().to_string(),
        (None, Some(address)) => address.to_string(),
        (None, None) => "localhost".to_owned(),
    };
    let port = only.get_ports().first().copied().unwrap_or(5432);
    format!("{host}:{port}")
}

/// The same settings for server `n` alone.
fn only(config: &Config, n: usize) -> Config {
    let mut only = Config::new();
    match config.get_hosts().get(n) {
        Some(Host::Tcp(name)) => {
            only.host(name);
        }
        Some(Host::Unix(path)) => {
            only.host_path(path);
        }
        None => {}
    }
    if let Some(address) = config.get_hostaddrs().get(n) {
        only.hostaddr(*address);
    }
    let ports = config.get_ports();
    if let Some(port) = ports.get(n).or_else(|| ports.first()) {
        only.port(*port);
    }
    if let Some(user) = config.get_user() {
        only.user(user);
    }
    if let Some(password) = config.get_password() {
        only.password(password);
    }
    if let Some(name) = config.get_dbname() {
        only.dbname(name);
    }
    if let Some(options) = config.get_options() {
        only.options(options);
    }
    if let Some(name) = config.get_application_name() {
        only.application_name(name);
    }
    if let Some(limit) = config.get_connect_timeout() {
        only.connect_timeout(*limit);
    }
    if let Some(limit) = config.get_tcp_user_timeout() {
        only.tcp_user_timeout(*limit);
    }
    if let Some(pause) = config.get_keepalives_interval() {
        only.keepalives_interval(pause);
    }
    if let Some(count) = config.get_keepalives_retries() {
        only.keepalives_retries(count);
    }
    only.keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle())
        .ssl_mode(config.get_ssl_mode())
        .ssl_negotiation(config.get_ssl_negotiation())
        .target_session_attrs(config.get_target_session_attrs())
        .channel_binding(config.get_channel_binding())
        .load_balance_hosts(config.get_load_balance_hosts());
    only
}

/// What is said of a server that does not answer.
pub(super) fn silent() -> Error {
    Error::Unavailable("the PostgreSQL server does not answer; see whether it can be reached".to_owned())
}

/// A session, with the statements that were prepared on it.
pub(super) struct Session {
    client: Client,
    statements: Mutex<HashMap<&'static str, Statement>>,
    driver: JoinHandle<()>,
}

impl Session {
    /// Opens a session. Must be called inside the runtime that shall drive it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] with what is wrong with the server or the way to it.
    pub async fn open(config: &Config) -> Result<Self> {
        let (client, connection) = connect(config).await?;
        let driver = tokio::spawn(async move {
            // Whoever waits for an answer hears of it; nobody else needs to.
            drop(connection.await);
        });
        let session = Self { client, statements: Mutex::default(), driver };
        let opened = tokio::time::timeout(OPEN_TIMEOUT, session.command(SETTINGS)).await;
        match opened.unwrap_or_else(|_| Err(silent())) {
            Ok(()) => Ok(session),
            Err(error) => {
                session.abandon();
                Err(error)
            }
        }
    }

    /// Whether the server keeps what it says it has committed.
    ///
    /// # Errors
    /// [`Error::Unavailable`] with a sentence for each setting that is not safe.
    pub async fn check_promises(&self) -> Result<()> {
        let rows = self
            .rows(
                "SELECT current_setting('server_version_num')::int, current_setting('server_version'),
                   current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit'),
                   current_setting('server_encoding'), current_setting('synchronous_standby_names'), pg_is_in_recovery()",
                &[],
            )
            .await?;
        let row =
            rows.first().ok_or_else(|| Error::Unavailable("the server shows no settings".to_owned()))?;
        let text = |n: usize| cell::<&str>(row, n);
        let (number, version): (i32, &str) = (cell(row, 0)?, text(1)?);
        let refuse = |sentence: String| Err(Error::Unavailable(sentence));
        if number < OLDEST_SERVER {
            return refuse(format!("PostgreSQL {version} is too old: use version 14 or newer"));
        }
        if text(2)? != "on" {
            return refuse("fsync is off on this PostgreSQL server: a crash would lose what was acknowledged; set fsync = on".to_owned());
        }
        if text(3)? != "on" {
            return refuse("full_page_writes is off on this PostgreSQL server: a crash could damage what was acknowledged; set full_page_writes = on".to_owned());
        }
        match text(4)? {
            "off" => {
                return refuse("synchronous_commit is off for this user or database: a crash would lose what was acknowledged; set synchronous_commit = on".to_owned());
            }
            "local" if !text(6)?.is_empty() => {
                return refuse("synchronous_commit is local, though there is a synchronous replica: a failover would lose what was acknowledged; set synchronous_commit = on".to_owned());
            }
            _ => {}
        }
        if text(5)? != "UTF8" {
            return refuse(format!(
                "the database is encoded in {} and cannot hold every text: create it with ENCODING 'UTF8'",
                text(5)?
            ));
        }
        if cell(row, 7)? {
            return refuse(
                "this PostgreSQL server is a replica and takes no writes: name the primary".to_owned(),
            );
        }
        Ok(())
    }

    /// Whether the server is gone.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Ends it in good order, as far as the server answers.
    pub async fn close(self) {
        drop(self.client);
        drop(tokio::time::timeout(Duration::from_secs(1), self.driver).await);
    }

    /// Ends it without a word: the server does not answer.
    pub fn abandon(self) {
        self.driver.abort();
    }

    /// Runs commands that give nothing back.
    pub async fn command(&self, sql: &str) -> Result<()> {
        self.client.batch_execute(sql).await.map_err(failed)
    }

    async fn prepared(&self, sql: &'static str) -> Result<Statement> {
        let kept = |statements: &Mutex<HashMap<_, Statement>>| {
            statements.lock().expect("nothing panics while it holds this").get(sql).cloned()
        };
        if let Some(statement) = kept(&self.statements) {
            return Ok(statement);
        }
        let statement = self.client.prepare(sql).await.map_err(failed)?;
        self.statements.lock().expect("nothing panics while it holds this").insert(sql, statement.clone());
        Ok(statement)
    }

    /// Prepares statements beforehand.
    pub async fn prepare(&self, statements: &[&'static str]) -> Result<()> {
        for sql in statements {
            self.prepared(sql).await?;
        }
        Ok(())
    }

    /// The rows that a query gives.
    pub async fn rows(&self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>> {
        let statement = self.prepared(sql).await?;
        self.client.query(&statement, values).await.map_err(failed)
    }

    /// The only row, if there is one.
    pub async fn row(&self, sql: &'static str, values: &[Value<'_>]) -> Result<Option<Row>> {
        Ok(self.rows(sql, values).await?.into_iter().next())
    }

    /// The row of a query that always gives one.
    pub async fn one(&self, sql: &'static str, values: &[Value<'_>]) -> Result<Row> {
        single(self.rows(sql, values).await?)
    }

    /// The value of a query that always gives one row.
    pub async fn value<T: for<'r> FromSql<'r>>(&self, sql: &'static str, values: &[Value<'_>]) -> Result<T> {
        cell(&self.one(sql, values).await?, 0)
    }

    /// The rows that a query gives which is not asked often.
    pub async fn page(&self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Row>> {
        self.client.query(sql, values).await.map_err(failed)
    }

    /// Runs a statement that is not run often, and says how many rows it was about.
    pub async fn change(&self, sql: &str, values: &[Value<'_>]) -> Result<u64> {
        self.client.execute(sql, values).await.map_err(failed)
    }

    /// Adds rows by a `COPY … FROM STDIN (FORMAT binary)`, all or none.
    pub async fn fill<T: ToSql + Sync>(
        &self,
        sql: &str,
        kinds: &[Type],
        rows: impl Iterator<Item = Result<Vec<T>>>,
    ) -> Result<()> {
        let sink = self.client.copy_in(sql).await.map_err(failed)?;
        let mut writer = std::pin::pin!(BinaryCopyInWriter::new(sink, kinds));
        for row in rows {
            writer.as_mut().write_raw(row?.iter().map(|value| value as Value<'_>)).await.map_err(failed)?;
        }
        writer.finish().await.map(drop).map_err(failed)
    }

    /// Runs a statement and says how many rows it was about.
    pub async fn execute(&self, sql: &'static str, values: &[Value<'_>]) -> Result<u64> {
        let statement = self.prepared(sql).await?;
        self.client.execute(&statement, values).await.map_err(failed)
    }
}

/// Statements that are sent one behind the other without waiting for answers.
#[derive(Default)]
pub(super) struct Flight<'v> {
    steps: Vec<Step<'v>>,
}

enum Step<'v> {
    Command(&'static str),
    Statement(&'static str, Vec<Box<dyn ToSql + Sync + 'v>>),
}

/// Makes the list of values that go with a statement of a [`Flight`].
macro_rules! values {
    ($($value:expr),* $(,)?) => {
        vec![$(Box::new($value) as Box<dyn tokio_postgres::types::ToSql + Sync + '_>),*]
    };
}
pub(super) use values;

impl<'v> Flight<'v> {
    /// Adds a command without values.
    pub fn command(&mut self, sql: &'static str) {
        self.steps.push(Step::Command(sql));
    }

    /// Adds a statement.
    pub fn statement(&mut self, sql: &'static str, values: Vec<Box<dyn ToSql + Sync + 'v>>) {
        self.steps.push(Step::Statement(sql, values));
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Sends everything and waits for all answers. The first step that fails fails the flight; those behind it were
    /// refused by the server, because they are in one transaction.
    pub async fn run(self, session: &Session) -> Result<()> {
        for step in &self.steps {
            if let Step::Statement(sql, _) = step {
                session.prepared(sql).await?;
            }
        }
        let mut running: Vec<Pin<Box<dyn Future<Output = Result<()>> + '_>>> =
            Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            running.push(match step {
                Step::Command(sql) => Box::pin(session.command(sql)),
                Step::Statement(sql, values) => Box::pin(async move {
                    let values: Vec<Value<'_>> = values.iter().map(|value| &**value as Value<'_>).collect();
                    session.execute(sql, &values).await.map(drop)
                }),
            });
        }
        in_order(running).await.map(drop)
    }
}

/// Drives all at once, each sent before the next, and gives what they give, or the error of the first that fails.
pub(super) async fn in_order<T>(
    mut running: Vec<Pin<Box<dyn Future<Output = Result<T>> + '_>>>,
) -> Result<Vec<T>> {
    let mut done: Vec<Option<T>> = running.iter().map(|_| None).collect();
    let mut sent = 0;
    std::future::poll_fn(|context| {
        let unsent = sent;
        for (n, (future, done)) in running.iter_mut().zip(&mut done).enumerate() {
            if done.is_some() {
                continue;
            }
            match future.as_mut().poll(context) {
                Poll::Ready(Ok(given)) => *done = Some(given),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {}
            }
            if n >= unsent {
                // The server begins with this one while the next is made.
                sent = n + 1;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        if done.iter().all(Option::is_some) { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await?;
    Ok(done.into_iter().flatten().collect())
}

/// The row of a query that always gives one.
pub(super) fn single(rows: Vec<Row>) -> Result<Row> {
    rows.into_iter().next().ok_or_else(|| Error::Corrupt("a query gave no row".to_owned()))
}

/// A value of a row.
pub(super) fn cell<'r, T: FromSql<'r>>(row: &'r Row, n: usize) -> Result<T> {
    row.try_get(n).map_err(|error| Error::Corrupt(error.to_string()))
}

/// The environment as a column holds it.
pub(super) const fn live(environment: Environment) -> i16 {
    column::live(environment) as i16
}

/// Whose a row is, by the account in this column and the environment in the next.
pub(super) fn realm(row: &Row, first: usize) -> Result<Realm> {
    Ok(Realm {
        account: AccountId::from_key(cell(row, first)?),
        environment: column::environment(i64::from(cell::<i16>(row, first + 1)?)),
    })
}

/// What the server says, as the act it asks for. Never with the values that it complains of: they may be people's
/// numbers.
pub(super) fn failed(error: tokio_postgres::Error) -> Error {
    let Some(said) = error.as_db_error() else {
        let reason = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        return Error::Unavailable(format!("no answer from the PostgreSQL server: {reason}"));
    };
    let sentence = format!("{} (PostgreSQL {})", said.message(), said.code().code());
    match said.code() {
        code if *code == SqlState::UNIQUE_VIOLATION => Error::Conflict(sentence),
        code if *code == SqlState::DISK_FULL => Error::Full(sentence),
        code if *code == SqlState::LOCK_NOT_AVAILABLE => Error::Unavailable(format!(
            "nobody gets a turn to write: somebody has it for too long, or commits wait for a synchronous replica that is not there; {sentence}"
        )),
        code if code.code().starts_with("XX00") => Error::Corrupt(sentence),
        _ => Error::Unavailable(sentence),
    }
}

/// PostgreSQL keeps no NUL in a text. Where somebody else's words may hold one, a mark is kept in its place.
pub(super) fn clean(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{FFFD}").into() } else { text.into() }
}

/// The place of a row in its table, good until the row changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Location {
    block: u32,
    item: u16,
}

impl<'r> FromSql<'r> for Location {
    fn from_sql(
        _: &Type,
        raw: &'r [u8],
    ) -> std::result::Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        let [a, b, c, d, e, f] = *raw else { return Err("a place in a table has six octets".into()) };
        Ok(Self { block: u32::from_be_bytes([a, b, c, d]), item: u16::from_be_bytes([e, f]) })
    }

    fn accepts(known: &Type) -> bool {
        *known == Type::TID
    }
}

impl ToSql for Location {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> std::result::Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(&self.block.to_be_bytes());
        out.extend_from_slice(&self.item.to_be_bytes());
        Ok(IsNull::No)
    }

    fn accepts(known: &Type) -> bool {
        *known == Type::TID
    }

    tokio_postgres::types::to_sql_checked!();
}

/// An error with what was being done.
pub(super) fn failed_with(what: &str, error: Error) -> Error {
    match error {
        Error::Unavailable(why)
        | Error::Full(why)
        | Error::Broken(why)
        | Error::Expelled(why)
        | Error::Conflict(why)
        | Error::Corrupt(why) => Error::Unavailable(format!("{what}: {why}")),
    }
}
