//! Names to addresses: the operating system's answer, or a test's.
//!
//! A resolver only answers. Whether its answer may be used is judged where the connection is opened, so no resolver
//! can open a way into our own network. Nothing is cached here: kept connections make lookups rare, and the system
//! has a cache where one is wanted.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::Semaphore;

/// Lookups under way at once. Each holds a thread of the runtime's blocking pool (512) until the system answers, which
/// for a dead name server takes tens of seconds; files and databases need threads too.
const LOOKUPS_MAX: usize = 128;

/// What a resolver returns: every address of the name, in the order to try them.
pub type Addresses<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>>;

/// Finds the addresses of a host name. The second one is the tests', which answer with what an attacker would.
pub trait Resolver: Send + Sync + 'static {
    /// All addresses of `name`, which is lower-case ASCII without a trailing dot.
    fn resolve<'a>(&'a self, name: &'a str) -> Addresses<'a>;
}

/// The operating system's resolver (`getaddrinfo`).
#[derive(Debug, Clone)]
pub struct SystemResolver {
    turns: Arc<Semaphore>,
}

impl SystemResolver {
    /// With its own bound on lookups under way.
    pub fn new() -> Self {
        Self { turns: Arc::new(Semaphore::new(LOOKUPS_MAX)) }
    }
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self::new()
    }
}

impl Resolver for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a str) -> Addresses<'a> {
        Box::pin(async move {
            let turns = Arc::clone(&self.turns);
            let turn = turns.acquire_owned().await.map_err(io::Error::other)?;
            let name = name.to_owned();
            // A lookup can't be stopped. The task keeps its turn until the system answers, also when the caller has
            // given up; otherwise a dead name server would take every thread.
            let lookup = tokio::spawn(async move {
                let _turn = turn;
                let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
                Ok(found.map(|address| address.ip()).collect())
            });
            lookup.await.map_err(io::Error::other)?
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_system_knows_localhost() {
        let found = SystemResolver::new().resolve("localhost").await.unwrap();
        assert!(!found.is_empty() && found.iter().all(IpAddr::is_loopback), "{found:?}");
    }
}
