//! How the process is that serves a store on this machine, by its own word: what its `/readyz` says. Whether links are up and
//! what the disk was found to be is known to that process alone.

use crate::config::connection::Secrets;
use crate::dev::reachable;
use crate::directory;
use crate::home::Home;
use crate::operator::Place;
use serde::Deserialize;
use std::net::SocketAddr;
use std::time::Duration;
use tidings_egress::{Bytes, Client, Limits, Method, Policy, Request, Target};

/// A server that takes longer to say how it is is not well.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What a server says of itself.
#[derive(Debug, Deserialize)]
pub struct Health {
    parts: Vec<Part>,
}

/// What it says of a part.
#[derive(Debug, Deserialize)]
pub struct Part {
    /// Which: `store`, `disk`, `connection north`.
    pub name: String,
    /// Whether all is well with it.
    pub well: bool,
    /// A sentence.
    pub detail: String,
}

impl Health {
    /// The part of this name, if it is not well.
    pub fn trouble(&self, name: &str) -> Option<&Part> {
        self.troubles().find(|part| part.name == name)
    }

    /// What is not well.
    pub fn troubles(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|part| !part.well)
    }
}

/// Asks the process that serves this store on this machine, if it says where it answers.
///
/// # Errors
/// A sentence that says why there is no answer.
pub async fn of(home: &Home, place: &Place) -> Option<Result<Health, String>> {
    let directory = match home {
        Home::Directory(at) => at.clone(),
        // Each node has one of its own, if it could.
        Home::Database(_) => place.configuration(Secrets::Left).ok()?.data.directory,
    };
    let address = reachable(directory::address(&directory)?);
    Some(ask(address).await.map_err(|why| format!("http://{address}/readyz does not answer: {why}")))
}

async fn ask(address: SocketAddr) -> Result<Health, String> {
    let own = address.ip().to_string().parse().map_err(|_| "its address cannot be read".to_owned())?;
    let policy = Policy { allow_blocks: vec![own], ..Policy::development() };
    let target =
        Target::parse(&format!("http://{address}/readyz"), &policy).map_err(|why| why.to_string())?;
    let client = Client::new(policy, Limits::default(), &[]).map_err(|why| why.to_string())?;
    let request = Request { timeout: Some(TIMEOUT), ..Request::new(Method::Get, target, Bytes::new()) };
    let response = client.send(request).await.map_err(|why| why.to_string())?;
    serde_json::from_slice(&response.body)
        .map_err(|_| format!("what answers there with {} is another program", response.status))
}
