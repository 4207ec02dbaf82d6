//! The promises of [`tidings_store::Backend`], said as sentences and held by every backend.
//!
//! A file per noun. A test gets a store (or a [`Place`] where it may open one again and again) and says one promise;
//! it does not know which database answers. What a promise costs in time is not tested here. `faults.rs` is about the
//! model alone, `server.rs` and `part.rs` about PostgreSQL alone, and `differential.rs` holds the databases against the model.

mod backlog;
mod batch;
mod code;
mod consent;
mod consent_request;
mod contact;
mod conversation;
mod copy;
mod differential;
mod faults;
mod frequency;
mod gate;
mod idempotency;
mod import;
mod inbound;
mod inbound_rule;
mod life;
mod media;
mod message;
mod node;
mod operating;
mod part;
mod pool;
mod programme;
mod queue;
mod quota;
mod receipt;
mod review;
mod samples;
mod segment;
mod server;
mod silence;
mod spend;
mod suppression;
mod template;
mod token;
mod webhook;

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use tidings_cluster::{Cluster, Database};
use tidings_domain::programme::Names;
use tidings_store::model::{Disk, Model};
use tidings_store::{Backend, postgres, sqlite};

/// Where a store lives: it can be opened, closed, and opened again with what was in it.
enum Place {
    Sqlite(Directory),
    Postgres(Database),
    Model(Disk),
}

impl Place {
    /// An empty place of each database that must keep the promises.
    fn all() -> impl Iterator<Item = Self> {
        let places: [fn() -> Option<Self>; 3] = [
            || Some(Self::Sqlite(Directory::new())),
            || Some(Self::Postgres(database()?)),
            || Some(Self::Model(samples::disk())),
        ];
        places.into_iter().filter_map(|place| place())
    }

    fn open(&self) -> Arc<dyn Backend> {
        self.open_calling(Names::default())
    }

    /// The same where programmes are called so.
    fn open_calling(&self, names: Names) -> Arc<dyn Backend> {
        match self {
            Self::Sqlite(directory) => directory.open_calling(names),
            Self::Postgres(database) => open_database_calling(database, names),
            Self::Model(disk) => {
                disk.set_names(names);
                Arc::new(Model::new(disk.clone()))
            }
        }
    }

    /// Changes rows behind the back of the store, to what no release writes. `false` where no row is ever unreadable.
    fn spoil(&self, sql: &str) -> bool {
        match self {
            Self::Sqlite(directory) => {
                let file = rusqlite::Connection::open(directory.path().join(sqlite::FILE_NAME));
                file.and_then(|file| file.execute_batch(sql)).expect("spoiled");
            }
            Self::Postgres(database) => drop(database.run(sql)),
            Self::Model(_) => return false,
        }
        true
    }

    /// The same place as another store left it in this copy.
    fn with_copy(&self, copy: &Path) -> Self {
        match self {
            Self::Sqlite(_) => Self::Sqlite(Directory::with_copy(copy)),
            Self::Postgres(_) => unreachable!("it makes no copies"),
            Self::Model(disk) => Self::Model(disk.copy_at(copy).expect("there is such a copy")),
        }
    }
}

/// A PostgreSQL database with our tables, where there is PostgreSQL.
fn database() -> Option<Database> {
    Some(Cluster::here()?.prepared(|first| {
        let options = postgres::Options::at(&first.address()).expect("an address");
        let migrate = async move {
            postgres::Postgres::migrate(&options).await.expect("migrated");
        };
        // The caller may be inside a runtime.
        std::thread::spawn(|| run(migrate)).join().expect("it does not panic");
    }))
}

fn open_database(database: &Database) -> Arc<dyn Backend> {
    open_database_calling(database, Names::default())
}

fn open_database_calling(database: &Database, names: Names) -> Arc<dyn Backend> {
    let options = postgres::Options::at(&database.address()).expect("an address");
    let (paces, names) = (Arc::new(samples::paces()), Arc::new(names));
    let options = postgres::Options { paces, names, ..options };
    Arc::new(postgres::Postgres::open(&options).expect("it opens"))
}

/// The place of a database that keeps its data in a file.
struct Directory(tempfile::TempDir);

impl Directory {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    /// One that is in memory where the system has that: for what is about answers and not about durability.
    fn volatile() -> Self {
        let in_memory = tempfile::tempdir_in("/dev/shm");
        Self(in_memory.or_else(|_| tempfile::tempdir()).expect("a directory"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn with_copy(copy: &Path) -> Self {
        let directory = Self::new();
        std::fs::copy(copy, directory.0.path().join(sqlite::FILE_NAME)).expect("it is copied");
        directory
    }

    fn open(&self) -> Arc<dyn Backend> {
        self.open_calling(Names::default())
    }

    fn open_calling(&self, names: Names) -> Arc<dyn Backend> {
        let options = sqlite::Options {
            paces: Arc::new(samples::paces()),
            names: Arc::new(names),
            ..sqlite::Options::in_directory(self.0.path())
        };
        Arc::new(sqlite::Sqlite::open(&options).expect("it opens"))
    }
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(test)
}

/// Runs a test of what a database does with files.
fn for_each_directory<F, Done>(test: F)
where
    F: Fn(Directory) -> Done,
    Done: Future<Output = ()>,
{
    run(async { test(Directory::new()).await });
}

/// Runs a test in an empty place of each database.
fn for_each_place<F, Done>(test: F)
where
    F: Fn(Place) -> Done,
    Done: Future<Output = ()>,
{
    for place in Place::all() {
        run(async { test(place).await });
    }
}

/// Runs a test with an empty store of each database.
fn for_each_backend<F, Done>(test: F)
where
    F: Fn(Arc<dyn Backend>) -> Done,
    Done: Future<Output = ()>,
{
    for_each_place(|place| {
        let store = place.open();
        let done = test(Arc::clone(&store));
        async move {
            done.await;
            store.close().await.expect("it closes");
            drop(place);
        }
    });
}
