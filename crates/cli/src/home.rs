//! Where a store is: SQLite in a data directory, or a PostgreSQL database; and how either is opened. Everything else
//! works with what is behind the contract.

use crate::config::Config;
use crate::config::database;
use crate::directory::{self, Served};
use crate::operator;
use anyhow::{Context, bail};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tidings_domain::programme::Names;
use tidings_store::Backend;
use tidings_store::postgres::{self, Postgres};
use tidings_store::sqlite::{self, FILE_NAME, Sqlite, TRAIL_NAME};

/// Where a store is.
#[derive(Debug, Clone)]
pub enum Home {
    /// In this directory.
    Directory(PathBuf),
    /// In this database.
    Database(Box<postgres::Options>),
}

impl fmt::Display for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => write!(f, "{}", path.display()),
            Self::Database(options) => f.write_str(&options.place()),
        }
    }
}

impl Home {
    /// What the configuration says.
    ///
    /// # Errors
    /// It names a database whose address cannot be found or read.
    pub fn of(config: &Config) -> anyhow::Result<Self> {
        match config.database(&operator::variables()) {
            Ok(Some(address)) => Self::at(&address),
            Ok(None) => Ok(Self::Directory(config.data.directory.clone())),
            Err(why) => bail!("{why}"),
        }
    }

    /// What somebody named: a directory, or the address of a database.
    ///
    /// # Errors
    /// It looks like an address and is none.
    pub fn named(named: &Path) -> anyhow::Result<Self> {
        match named.to_str().filter(|text| database::is_address(text)) {
            Some(address) => Self::at(address),
            None => Ok(Self::Directory(named.to_owned())),
        }
    }

    fn at(address: &str) -> anyhow::Result<Self> {
        Ok(Self::Database(Box::new(postgres::Options::at(address)?)))
    }

    /// Whether a store may be there. A database is asked when it is opened.
    pub fn may_hold_a_store(&self) -> bool {
        match self {
            Self::Directory(path) => path.join(FILE_NAME).exists(),
            Self::Database(_) => true,
        }
    }

    /// Makes the data directory if it is new, and sees whether messages may be kept there. A database is asked when it
    /// is opened.
    ///
    /// # Errors
    /// A sentence that says why not, and what to do.
    pub fn suit(&self) -> anyhow::Result<()> {
        match self {
            Self::Directory(path) => {
                directory::make(path)?;
                directory::suitable(path)
            }
            Self::Database(_) => Ok(()),
        }
    }

    /// Takes the data directory for this process alone. Beside a database, a directory for `traces` of crashes is taken if
    /// it can be, and nothing else is in that: it says to other nodes that an earlier process here has ended.
    ///
    /// # Errors
    /// Another process serves it, or it cannot be made.
    pub fn take(&self, traces: Option<&Path>) -> anyhow::Result<Option<Served>> {
        match self {
            Self::Directory(path) => {
                directory::make(path)?;
                directory::serve(path).map(Some)
            }
            Self::Database(_) => {
                let Some(path) = traces else { return Ok(None) };
                let taken = directory::make(path).and_then(|()| directory::serve(path));
                match taken {
                    Ok(taken) => Ok(Some(taken)),
                    Err(_) if directory::holder(path).is_some() => bail!(
                        "another tidings runs with the directory {} already: stop it first, or give each node one of its own (directory in [data])",
                        path.display()
                    ),
                    Err(why) => {
                        tracing::warn!("crashes of this process will not be traced: {why:#}");
                        Ok(None)
                    }
                }
            }
        }
    }

    /// Opens the store to serve it; the directory is what was taken for that.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn serve(&self, config: &Config, taken: Option<&Served>) -> anyhow::Result<Arc<dyn Backend>> {
        let readers = config.data.readers.get();
        let paces = Arc::new(config.paces());
        let names = Arc::new(config.programmes().names());
        let trail = taken.map(|directory| directory.path.join(TRAIL_NAME));
        match self {
            Self::Directory(path) => {
                let cache_kib = config.data.cache_mib.get::<u32>() * 1024;
                let reserve_octets = config.data.reserve_mib.get::<u64>() << 20;
                open_file(&sqlite::Options {
                    cache_kib,
                    readers,
                    reserve_octets,
                    trail,
                    paces,
                    names,
                    ..sqlite::Options::in_directory(path)
                })
            }
            Self::Database(options) => {
                let served = true;
                self.open_database(&postgres::Options {
                    readers,
                    served,
                    trail,
                    paces,
                    names,
                    ..(**options).clone()
                })
            }
        }
    }

    /// Opens the store for one command, beside the process that may serve it, where programmes are called so.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(&self, names: Arc<Names>) -> anyhow::Result<Arc<dyn Backend>> {
        match self {
            Self::Directory(path) => open_file(&sqlite::Options {
                cache_kib: 8 * 1024,
                readers: 1,
                names,
                beside: directory::holder(path).is_some(),
                ..sqlite::Options::in_directory(path)
            }),
            Self::Database(options) => {
                self.open_database(&postgres::Options { readers: 1, names, ..(**options).clone() })
            }
        }
    }

    fn open_database(&self, options: &postgres::Options) -> anyhow::Result<Arc<dyn Backend>> {
        let store =
            Postgres::open(options).with_context(|| format!("the database {self} cannot be opened"))?;
        Ok(Arc::new(store))
    }
}

fn open_file(options: &sqlite::Options) -> anyhow::Result<Arc<dyn Backend>> {
    let store = Sqlite::open(options).with_context(|| {
        format!("{} cannot be opened; `tidings doctor` says more", options.path.display())
    })?;
    Ok(Arc::new(store))
}
