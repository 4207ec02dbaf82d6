//! The operator at the terminal: which store is meant, opened without a server, and in whose name things are done there.
//! Both databases let a second process in; a running server notices changes within a second.

use crate::config::connection::Secrets;
use crate::config::{self, Config};
use crate::home::Home;
use anyhow::{Context, anyhow, bail};
use clap::Args;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tidings_domain::account::{Environment, Realm};
use tidings_domain::address::PhoneNumber;
use tidings_domain::gate;
use tidings_domain::id::AccountId;
use tidings_domain::programme::{self, Programmes};
use tidings_domain::purpose::Purpose;
use tidings_domain::quiet_hours::Zone;
use tidings_domain::time::Timestamp;
use tidings_engine::clock::{self, Clock};
use tidings_store::sqlite::FILE_NAME;
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
    /// The data directory, or the address of a database (postgres://…) [default: that of the configuration, else
    /// ./tidings-dev; of `dev`: ./tidings-dev] [env: TIDINGS_DATA]
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

/// What to say of a programme that is named and not configured.
pub fn unknown_programme(text: &str, programmes: &Programmes) -> String {
    let known: Vec<&str> = programmes.all.iter().map(|one| one.name.as_str()).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    format!(r#"there is no [[programme]] "{text}" in the configuration; there is: {known}"#)
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

    /// The command that makes the store of this place, which is `home`.
    pub fn migrate(&self, home: &Home) -> String {
        match (&self.data, self.file(), home) {
            (None, Some(file), _) => format!("tidings migrate --config {}", file.display()),
            (_, _, Home::Directory(path)) => format!("tidings migrate --data {}", path.display()),
            // Its address may hold a password.
            (_, _, Home::Database(_)) => "tidings migrate --data ADDRESS".to_owned(),
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
            config.data.name(data);
        }
        Ok(config)
    }

    /// A programme of the configuration, if one is named: what is written for another would stop nothing.
    ///
    /// # Errors
    /// There is none of this name, or the configuration is wrong.
    pub fn programme(&self, name: Option<&str>) -> anyhow::Result<Option<programme::Name>> {
        let Some(text) = name else { return Ok(None) };
        let programmes = self.configuration(Secrets::Left)?.programmes();
        let known = programme::Name::parse(text).filter(|name| programmes.named(name).is_some());
        known.map(Some).ok_or_else(|| anyhow!("{}", unknown_programme(text, &programmes)))
    }

    /// Where the store is that is meant.
    ///
    /// # Errors
    /// Nothing says which, or the configuration is wrong.
    pub fn home(&self) -> anyhow::Result<Home> {
        if let Some(data) = &self.data {
            return Home::named(data);
        }
        let said = ["TIDINGS_DATA__DIRECTORY", "TIDINGS_DATA__URL", "TIDINGS_DATA__URL_FILE"];
        if self.file().is_some() || said.iter().any(|name| std::env::var_os(name).is_some()) {
            return Home::of(&self.configuration(Secrets::Left)?);
        }
        let dev = Path::new(DEV_DIRECTORY);
        if dev.join(FILE_NAME).exists() {
            return Ok(Home::Directory(dev.to_owned()));
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
    /// Where it is.
    pub home: Home,
    /// What programmes are called, and were.
    pub names: Arc<programme::Names>,
}

impl Operator {
    /// Opens the store that is there. A file is brought up to date if it is older than this program; a database must be.
    ///
    /// # Errors
    /// There is none, or it cannot be opened.
    pub async fn open(place: &Place) -> anyhow::Result<Self> {
        let home = place.home()?;
        if !home.may_hold_a_store() {
            bail!(
                "there is no {FILE_NAME} in {home}: make it with `{}`, or name another directory with --data",
                place.migrate(&home)
            );
        }
        // What is wrong in the configuration is said by who needs it; what only looks at the store goes on.
        let names = place.configuration(Secrets::Left).map(|config| config.programmes().names());
        Self::open_home(home, Arc::new(names.unwrap_or_default())).await
    }

    /// Opens the store that is there, where programmes are called so.
    ///
    /// # Errors
    /// It cannot be opened.
    pub async fn open_home(home: Home, names: Arc<programme::Names>) -> anyhow::Result<Self> {
        let store = home.open(Arc::clone(&names))?;
        let clock = clock_of_command();
        let account = store.default_account(clock.now()).await?;
        Ok(Self { store, clock, account, home, names })
    }

    /// The time zone that is stated for whoever has a number, where the gate asks for the clock.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn stated_zone(
        &self,
        policy: &gate::Policy,
        realm: Realm,
        purpose: Purpose,
        recipient: PhoneNumber,
    ) -> anyhow::Result<Option<&'static Zone>> {
        if !policy.quiet_hours.asks_clock(purpose, recipient) {
            return Ok(None);
        }
        let stated = self.store.stated_zones(vec![(realm, recipient)]).await?;
        Ok(stated.into_iter().next().flatten().and_then(|name| Zone::named(name.as_str())))
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
