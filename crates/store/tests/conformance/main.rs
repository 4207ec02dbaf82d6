//! The promises of [`tidings_store::Backend`], said as sentences and held by every backend.
//!
//! A file per noun. A test gets a store (or a [`Place`] where it may open one again and again) and says one promise;
//! nothing here knows which database answers. What a promise costs in time is not tested here.

mod backlog;
mod batch;
mod idempotency;
mod life;
mod message;
mod operating;
mod receipt;
mod review;
mod samples;
mod suppression;
mod token;
mod webhook;

use std::future::Future;
use std::sync::Arc;
use tidings_store::{Backend, sqlite};

/// The databases that must keep the promises.
#[derive(Debug, Clone, Copy)]
enum Database {
    Sqlite,
}

impl Database {
    const ALL: [Self; 1] = [Self::Sqlite];
}

/// Where a store lives: it can be opened, closed, and opened again with what was in it.
struct Place {
    database: Database,
    directory: tempfile::TempDir,
}

impl Place {
    fn open(&self) -> Arc<dyn Backend> {
        match self.database {
            Database::Sqlite => {
                let options = sqlite::Options::in_directory(self.directory.path());
                Arc::new(sqlite::Sqlite::open(&options).expect("it opens"))
            }
        }
    }

    /// The same place as another store left it in this file.
    fn with_copy(&self, copy: &std::path::Path) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        match self.database {
            Database::Sqlite => {
                std::fs::copy(copy, directory.path().join(sqlite::FILE_NAME)).expect("it is copied");
            }
        }
        Self { database: self.database, directory }
    }
}

/// Runs a test in an empty place of each database.
fn for_each_place<F, Done>(test: F)
where
    F: Fn(Place) -> Done,
    Done: Future<Output = ()>,
{
    for database in Database::ALL {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let place = Place { database, directory: tempfile::tempdir().expect("a directory") };
        runtime.block_on(async { test(place).await });
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
