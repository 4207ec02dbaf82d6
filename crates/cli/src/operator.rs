//! The operator at the terminal: which data directory is meant, its store opened without a server, and in whose
//! name things are done there. SQLite lets a second process in; a running server notices changes within a second.

use crate::config::connection::Secrets;
use crate::config::{self, Config};
use anyhow::{Context, anyhow, bail};
use clap::Args;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tidings_domain::account::{Environment, Realm};
use tidings_domain::id::AccountId;
use tidings_domain::time::Timestamp;
use tidings_engine::clock::{self, Clock};
use tidings_store::sqlite::{FILE_NAME, Options, Sqlite};
use tidings_store::{Actor, Backend};

/// Where `dev` keeps its data if nothing else is said.
pub const DEV_DIRECTORY: &str = "tidings-dev";
/// The first node number of commands: running servers have those below, so that ids never meet.
const FIRST_NODE: u32 = 512;

/// What every command may be told.
#[derive(Debug, Clone, Args)]
pub struct Place {
    /// The configuration file [default: tidings.toml, if it is there] [env: TIDINGS_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The data directory [default: that of the configuration, else ./tidings-dev] [env: TIDINGS_DATA]
    #[arg(long, global = true, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// Whose objects are meant.
#[derive(Debug, Clone, Args)]
pub struct Whose {
    /// test or live
    #[arg(long, value_name = "ENVIRONMENT", default_value = "test", value_parser = environment)]
    pub environment: Environment,
    /// The account, if there are several
    #[arg(long, value_name = "ID")]
    pub account: Option<AccountId>,
}

fn environment(word: &str) -> Result<Environment, String> {
    Environment::parse(word).ok_or_else(|| "write test or live".to_owned())
}

/// The configuration cannot be used: exit code 2.
#[derive(Debug)]
pub struct Misconfigured(pub Vec<config::key::Problem>);

impl std::fmt::Display for Misconfigured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Misconfigured {}

/// Every variable of the environment that is text.
pub fn variables() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

impl Place {
    /// What was not said, as the environment says it. The parser does not look there, because its usage lines would
    /// then show what came from there as if it had to be written.
    #[must_use]
    pub fn or_environment(self) -> Self {
        let path = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Self {
            config: self.config.or_else(|| path("TIDINGS_CONFIG")),
            data: self.data.or_else(|| path("TIDINGS_DATA")),
        }
    }

    /// The command that makes the store of this place in `directory`.
    pub fn migrate(&self, directory: &Path) -> String {
        match (&self.data, self.file()) {
            (None, Some(file)) => format!("tidings migrate --config {}", file.display()),
            (Some(_), _) | (None, None) => format!("tidings migrate --data {}", directory.display()),
        }
    }

    /// The configuration's file, if there is one.
    pub fn file(&self) -> Option<PathBuf> {
        self.config.clone().or_else(|| Some(PathBuf::from(config::FILE_NAME)).filter(|path| path.exists()))
    }

    /// The configuration: of the file, or the defaults. What only opens the store leaves secrets where they are.
    ///
    /// # Errors
    /// [`Misconfigured`].
    pub fn configuration(&self, secrets: Secrets) -> anyhow::Result<Config> {
        let loaded = match self.file() {
            Some(path) => Config::load(&path, &variables(), secrets),
            None => Config::defaults(&variables()),
        };
        let mut config = loaded.map_err(Misconfigured)?;
        if let Some(data) = &self.data {
            config.data.directory.clone_from(data);
        }
        Ok(config)
    }

    /// The data directory that is meant.
    ///
    /// # Errors
    /// Nothing says which, or the configuration is wrong.
    pub fn directory(&self) -> anyhow::Result<PathBuf> {
        if let Some(data) = &self.data {
            return Ok(data.clone());
        }
        if self.file().is_some() || std::env::var_os("TIDINGS_DATA__DIRECTORY").is_some() {
            return Ok(self.configuration(Secrets::Left)?.data.directory);
        }
        let dev = Path::new(DEV_DIRECTORY);
        if dev.join(FILE_NAME).exists() {
            return Ok(dev.to_owned());
        }
        bail!(
            "there is no {} and no ./{DEV_DIRECTORY} here: name the data directory with --data, or start `tidings dev`",
            config::FILE_NAME
        )
    }
}

/// An open store, and the hand that works on it.
pub struct Operator {
    /// The store.
    pub store: Arc<dyn Backend>,
    /// Time, ids and randomness.
    pub clock: Clock,
    /// The account that exists from the start.
    pub account: AccountId,
    /// The data directory.
    pub directory: PathBuf,
}

impl Operator {
    /// Opens the store that is there. It is brought up to date if it is older than this program.
    ///
    /// # Errors
    /// There is none, or it cannot be opened.
    pub async fn open(place: &Place) -> anyhow::Result<Self> {
        let directory = place.directory()?;
        if !directory.join(FILE_NAME).exists() {
            bail!(
                "there is no {FILE_NAME} in {}: make it with `{}`, or name another directory with --data",
                directory.display(),
                place.migrate(&directory)
            );
        }
        Self::open_directory(directory).await
    }

    /// Opens the store that is in this directory.
    ///
    /// # Errors
    /// It cannot be opened.
    pub async fn open_directory(directory: PathBuf) -> anyhow::Result<Self> {
        let beside = crate::directory::holder(&directory).is_some();
        let store = open_store(&Options {
            cache_kib: 8 * 1024,
            readers: 1,
            beside,
            ..Options::in_directory(&directory)
        })?;
        let clock = clock_of_command();
        let account = store.default_account(clock.now()).await?;
        Ok(Self { store, clock, account, directory })
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The realm that is meant.
    ///
    /// # Errors
    /// There is no such account.
    pub async fn realm(&self, whose: &Whose) -> anyhow::Result<Realm> {
        let account = match whose.account {
            None => self.account,
            Some(wanted) => {
                let accounts = self.store.accounts().await?;
                accounts.iter().find(|account| account.id == wanted).map(|account| account.id).ok_or_else(
                    || anyhow!("there is no account {wanted}: look it up with `tidings account list`"),
                )?
            }
        };
        Ok(Realm { account, environment: whose.environment })
    }

    /// Who does it, for the audit trail.
    pub fn actor(&self, account: AccountId) -> Actor {
        Actor { account, who: "operator".to_owned() }
    }

    /// Finishes.
    ///
    /// # Errors
    /// What was begun could not be finished.
    pub async fn close(self) -> anyhow::Result<()> {
        self.store.close().await.context("the store could not be closed")
    }
}

/// A clock whose ids meet those of no server.
pub fn clock_of_command() -> Clock {
    let node = FIRST_NODE + clock::draw() % FIRST_NODE;
    Clock::new(u16::try_from(node).expect("it is below 1024"))
}

/// Opens a database, with what to do if that fails.
///
/// # Errors
/// It cannot be opened.
pub fn open_store(options: &Options) -> anyhow::Result<Arc<dyn Backend>> {
    let store = Sqlite::open(options).with_context(|| {
        format!("{} cannot be opened; `tidings doctor` says more", options.path.display())
    })?;
    Ok(Arc::new(store))
}
