//! `tidings serve`: the wiring, top to bottom. Takes the data directory, opens the store, starts the engine, serves
//! the API, and stops in good order when it is asked to.

use crate::config::Config;
use crate::config::connection::Secrets;
use crate::directory::{self, Served};
use crate::home::Home;
use crate::log;
use crate::operator::{Misconfigured, Place};
use crate::signal::Signals;
use crate::suppression;
use anyhow::{Context, bail};
use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tidings_carriers::codes::Codes;
use tidings_domain::address;
use tidings_domain::content;
use tidings_domain::node::Roles;
use tidings_domain::octets::hexadecimal;
use tidings_domain::quiet_hours;
use tidings_egress::Policy;
use tidings_engine::code::{KEY_OCTETS, Key};
use tidings_engine::{ConnectionSettings, Engine, NodeSettings, Settings};
use tidings_store::Backend;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// How long open requests may take after a stop was asked for. With [`CARRIERS_STOP_MS`] it stays below the 15 s
/// after which service managers lose patience.
const REQUESTS_STOP: Duration = Duration::from_secs(5);
/// How long carriers may take to answer what is under way: ms.
const CARRIERS_STOP_MS: u64 = 8_000;
/// How long open requests may take to hear that the disk failed.
const BROKEN_STOP: Duration = Duration::from_millis(500);
/// File descriptors: webhooks alone may hold some 2,300 sockets, clients 4,096 more.
pub const FILES_WANTED: u64 = 8_192;

/// How to serve.
#[derive(Debug, Args)]
pub struct How {
    /// What this node does: a list of api, send and webhook [default: roles in [node], else all]
    #[arg(long, value_name = "ROLES", value_parser = Roles::parse)]
    roles: Option<Roles>,
}

/// Serves until it is asked to stop.
///
/// # Errors
/// A sentence that says why it cannot.
pub async fn run(how: How, place: &Place, verbose: u8) -> anyhow::Result<()> {
    if place.file().is_none() {
        let sentence = format!(
            "there is no {}: name the configuration with --config, or try `tidings dev` first",
            crate::config::FILE_NAME
        );
        return Err(
            Misconfigured(vec![crate::config::key::Problem { place: "serve".to_owned(), sentence }]).into()
        );
    }
    let config = place.configuration(Secrets::Fetched)?;
    log::start(config.log.format, config.log.level.louder(verbose));
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    raise_file_limit();
    let home = Home::of(&config)?;
    let roles = how.roles.unwrap_or(config.node.roles.0);
    if roles != Roles::ALL && matches!(home, Home::Directory(_)) {
        let sentence = format!(
            r#"the only process of a data directory must do everything, and not only "{roles}": leave the roles out, or keep everything in PostgreSQL (url in [data])"#
        );
        return Err(
            Misconfigured(vec![crate::config::key::Problem { place: "serve".to_owned(), sentence }]).into()
        );
    }
    home.suit()?;
    let served = home.take(Some(&config.data.directory))?;
    let listener = TcpListener::bind(config.http.listen).await.with_context(|| {
        format!(
            "nothing can listen on {}: stop what does already, or change listen in [http]",
            config.http.listen
        )
    })?;
    served.as_ref().map_or(Ok(()), |served| served.answers_at(listener.local_addr()?))?;
    let node = node(&config, served.as_ref(), roles);
    let (name, place_of_node) = (node.name.clone(), node.place.clone());
    let store = home.serve(&config, served.as_ref())?;
    let journal = journal(&config, served.as_ref());
    let key = code_key(&config, &home)?;
    let signals = Signals::hear()?;
    let engine = start(&config, store, config.egress_policy(), node, journal, key).await?;
    let store = engine.store();
    // The trail shows with which configuration messages were sent, and when that changed.
    let actor = tidings_store::Actor { account: engine.default_account(), who: "operator".to_owned() };
    let fingerprint = tidings_wire::token::hash(&format!("{config:?}"));
    let fingerprint = hexadecimal(&fingerprint[..8]);
    let file = place.file().map(|path| path.display().to_string()).unwrap_or_default();
    store
        .record_audit(actor, "configuration.load".to_owned(), file, fingerprint, engine.clock().now())
        .await?;
    if let Some(why) = store.hold().await? {
        tracing::warn!("nothing is sent: {why}; release it with `tidings hold release`");
    }
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        address = %listener.local_addr()?,
        data = %home,
        connections = config.connections.len(),
        node = name,
        place = place_of_node,
        %roles,
        "serving"
    );
    let api = tidings_api::Settings { only_watched: !roles.api, ..api_settings(&config) };
    let ended = until_stopped(engine, listener, api, signals).await;
    drop(served);
    if ended.is_ok() {
        tracing::info!("stopped");
    }
    ended
}

/// The disk failed while it was written to, or other nodes took this one for dead: the process ends with an exit code of
/// its own, so that whoever watches it starts it again, and the next start looks at what was kept, or joins anew.
#[derive(Debug)]
pub struct Broken(tidings_store::Error);

impl Broken {
    /// What `sysexits.h` calls an error of input or output, or one that passes.
    pub const fn exit_code(&self) -> u8 {
        const DISK: u8 = 74;
        const TAKEN_FOR_DEAD: u8 = 75;
        if self.is_expelled() { TAKEN_FOR_DEAD } else { DISK }
    }

    const fn is_expelled(&self) -> bool {
        matches!(self.0, tidings_store::Error::Expelled(_))
    }
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_expelled() {
            write!(f, "{}; start again: other nodes have its connections meanwhile", self.0)
        } else {
            write!(f, "{}; look at the disk, and start again: what was answered is kept", self.0)
        }
    }
}

impl std::error::Error for Broken {}

/// What the API is told.
pub fn api_settings(config: &Config) -> tidings_api::Settings {
    tidings_api::Settings {
        public_url: config.http.public_url.as_deref().unwrap_or_default().trim_end_matches('/').to_owned(),
        default_country: config.http.default_country.map(|crate::config::key::CountryCode(country)| country),
        metrics_open: config.http.metrics_open,
        only_watched: false,
    }
}

/// Who this process is to others that serve the same database. The directory that was taken belongs to its name for
/// them: who takes it next is the one after this.
pub fn node(config: &Config, taken: Option<&Served>, roles: Roles) -> NodeSettings {
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let directory = taken.map(|served| std::path::absolute(&served.path).unwrap_or(served.path.clone()));
    let place = match directory {
        Some(path) => format!("{machine}:{}", path.display()),
        // Without a lock nobody can know that an earlier process here has ended: it is like no other place.
        None => format!("{machine}, process {} {:08x}", std::process::id(), tidings_engine::clock::draw()),
    };
    let name = config.node.name.clone().unwrap_or(machine);
    NodeSettings { number: config.data.node.get(), name, place, roles }
}

/// Where the journal of opt-outs is kept: not where there is no directory, and nobody named another place.
pub fn journal(config: &Config, taken: Option<&Served>) -> Option<PathBuf> {
    let path = taken.map(|taken| config.journal_in(&taken.path)).or_else(|| config.journal.path.clone());
    if path.is_none() {
        tracing::warn!("there is no journal of opt-outs: name a place for it (path in [journal])");
    }
    path
}

/// The key of one-time codes in the data directory.
const CODE_KEY: &str = "codes.key";

/// The key that one-time codes are made of: that of the configuration, or of the data directory, where it is made if it is
/// new. None beside a database that others may serve too: theirs must be the same.
///
/// # Errors
/// A sentence that says why it cannot be read or made.
pub fn code_key(config: &Config, home: &Home) -> anyhow::Result<Option<Key>> {
    let (path, is_ours) = match (&config.codes.key_file, home) {
        (Some(path), _) => (path.clone(), false),
        (None, Home::Directory(directory)) => (directory.join(CODE_KEY), true),
        (None, Home::Database(_)) => {
            tracing::warn!(
                "there are no one-time codes: name a key that every node has (key_file in [codes])"
            );
            return Ok(None);
        }
    };
    if is_ours && !path.exists() {
        let octets = tidings_engine::clock::Clock::new(0).random::<KEY_OCTETS>();
        directory::write_secret(&path, &hexadecimal(&octets))?;
    }
    let named = || format!("the key of one-time codes in {}", path.display());
    let readable =
        directory::is_for_its_owner_alone(&path).with_context(|| format!("{} cannot be read", named()))?;
    if !readable {
        bail!("everybody on this machine may read {}: run `chmod 600 {}`", named(), path.display());
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", named()))?;
    let octets = octets(text.trim()).with_context(|| {
        format!(
            "{} is none: write 64 hexadecimal digits into it, such as `openssl rand -hex 32` prints",
            named()
        )
    })?;
    Ok(Some(Key::new(octets)))
}

fn octets(text: &str) -> Option<[u8; KEY_OCTETS]> {
    let mut octets = [0; KEY_OCTETS];
    if text.len() != 2 * KEY_OCTETS || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (octet, digits) in octets.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *octet = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(octets)
}

/// Starts every room over a store, with the journal of opt-outs and the key of one-time codes, where there are any.
///
/// # Errors
/// A sentence that says why not.
pub async fn start(
    config: &Config,
    store: Arc<dyn Backend>,
    egress: Policy,
    node: NodeSettings,
    journal: Option<PathBuf>,
    key: Option<Key>,
) -> anyhow::Result<Engine> {
    address::warm_up();
    quiet_hours::warm_up();
    content::warm_up();
    let settings = Settings {
        limits: config.intake_limits(),
        retry: config.retry_policy(),
        unreachable: config.reachability_policy(),
        connections: config
            .connections
            .iter()
            .map(|connection| ConnectionSettings {
                name: connection.name.clone(),
                environment: connection.environment,
                pace_per_s: connection.pace_per_s,
                prefixes: connection.prefixes.clone(),
                senders: connection.senders.clone(),
                replies: connection.replies,
                of_carrier: connection.of_carrier.clone(),
                carrier: connection.carrier.clone(),
            })
            .collect(),
        codes: Arc::new(codes(config)?),
        egress,
        retention: config.store_retention(),
        node,
        journal,
        replies: config.reply_texts(),
        inbound_rules: config.inbound_rules.iter().map(|rule| rule.rule.clone()).collect(),
        gate: config.gate_policy(),
        pools: config.pools(),
        programmes: Arc::new(config.programmes()),
        one_time_codes: config.one_time_codes(key),
        parts_wait_ms: config.inbound.parts_wait_s.get::<i64>() * 1_000,
    };
    let engine = Engine::start(store, settings).await.context("the engine cannot start")?;
    for (connection, messages) in engine.stranded().await? {
        let name = &connection.name;
        tracing::warn!(
            connection = name,
            environment = connection.environment.as_str(),
            messages,
            "messages wait for a connection that is not configured: write it again, or move them with `tidings carrier move {name} OTHER`; else they end when they expire"
        );
    }
    for (sentence, cure) in
        suppression::of_lost_programmes(&**engine.store(), engine.programmes(), engine.clock().now()).await?
    {
        tracing::warn!("{sentence}: {cure}");
    }
    Ok(engine)
}

/// The meaning of carriers' codes, with the operator's own.
///
/// # Errors
/// The operator's table cannot be read.
pub fn codes(config: &Config) -> anyhow::Result<Codes> {
    let Some(path) = &config.failures.table else { return Ok(Codes::default()) };
    let table = std::fs::read_to_string(path)
        .with_context(|| format!("{} cannot be read: correct table in [failures]", path.display()))?;
    match Codes::default().with(&table) {
        Ok(codes) => Ok(codes),
        Err(wrong) => bail!("{}:{}: {}; correct the line", path.display(), wrong.line, wrong.reason),
    }
}

/// Serves the API until somebody asks to stop, and then stops everything in good order.
///
/// # Errors
/// [`Broken`]: then nothing is in good order, and nothing is touched any more.
pub async fn until_stopped(
    engine: Engine,
    listener: TcpListener,
    settings: tidings_api::Settings,
    signals: Signals,
) -> anyhow::Result<()> {
    let router = tidings_api::router(engine.clone(), settings);
    let (stop, stopped) = oneshot::channel::<()>();
    let mut serving = tokio::spawn(async move {
        tidings_api::serve(listener, router, async move { drop(stopped.await) }).await;
    });
    let broken = tokio::select! {
        () = signals.asked() => None,
        error = engine.until_broken() => Some(error),
    };
    drop(stop);
    if let Some(error) = broken {
        tracing::error!(%error, "fatal: the process ends, so that the next start looks at what was kept");
        // No message has ended this process.
        engine.store().guard().end();
        // Who is still waiting hears that it is not known.
        drop(tokio::time::timeout(BROKEN_STOP, &mut serving).await);
        return Err(Broken(error).into());
    }
    tracing::info!("stopping; ask again to stop at once");
    if tokio::time::timeout(REQUESTS_STOP, &mut serving).await.is_err() {
        serving.abort();
    }
    engine.stop(CARRIERS_STOP_MS).await;
    // The last thing that a stop does is to write.
    tokio::select! {
        biased;
        error = engine.until_broken() => Err(Broken(error).into()),
        () = std::future::ready(()) => Ok(()),
    }
}

/// Raises the soft limit of open files to the hard one, and says so if that is not enough.
pub fn raise_file_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some() && current != maximum {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
    if let Some(limit) = getrlimit(Resource::Nofile).current.filter(|limit| *limit < FILES_WANTED) {
        tracing::warn!(
            "only {limit} files and sockets may be open, {FILES_WANTED} are wanted: raise LimitNOFILE or `ulimit -n`"
        );
    }
}
