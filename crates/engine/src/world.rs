//! What the engine does not decide: what time it is, how a carrier is reached, what a customer's endpoint answers.
//! [`World::real`] is the one outside. A simulation gives another, and the rooms do not notice.

use crate::clock::Clock;
use crate::webhook::CALLERS;
use crate::{ConnectionSettings, Settings};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use tidings_carriers::{Link, Surroundings, list};
use tidings_egress::{Client, Limits, Request, Response, SendError};

/// Opens the link of a connection.
pub type OpenLink =
    dyn Fn(&ConnectionSettings, &Surroundings) -> Result<Link, tidings_carriers::Error> + Send + Sync;

/// An endpoint's answer, later.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Result<Response, SendError>> + Send + 'a>>;

/// The way to customers' endpoints.
pub trait Web: Send + Sync {
    /// Sends one request.
    fn send(&self, request: Request) -> Answer<'_>;
}

impl Web for Client {
    fn send(&self, request: Request) -> Answer<'_> {
        Box::pin(Self::send(self, request))
    }
}

/// All that an engine gets from outside, but for its store.
#[derive(Clone)]
pub struct World {
    /// Time, ids and randomness.
    pub clock: Arc<Clock>,
    /// How carriers are reached.
    pub open: Arc<OpenLink>,
    /// How customers' endpoints are called.
    pub web: Arc<dyn Web>,
    /// How much may wait in memory.
    pub memory: Memory,
}

/// How much may wait in memory. What does not fit waits in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Messages between intake and their lane, for each connection.
    pub tickets: usize,
    /// Webhook deliveries, of all endpoints.
    pub deliveries: usize,
}

impl Default for Memory {
    fn default() -> Self {
        Self { tickets: crate::dispatch::HANDED_OVER_MAX, deliveries: crate::webhook::WAITING_MAX }
    }
}

impl World {
    /// The machine's clock, the carriers of [`list`], and HTTP under the policy in the settings.
    pub fn real(settings: &Settings) -> Self {
        let client = Client::new(
            settings.egress.clone(),
            Limits { requests_per_receiver_max: CALLERS * 4, ..Default::default() },
            &[],
        )
        .expect("no extra certificates are given, so none can be invalid");
        Self {
            clock: Arc::new(Clock::new(settings.node.number)),
            open: Arc::new(|connection, surroundings| list::open(connection.carrier.clone(), surroundings)),
            web: Arc::new(client),
            memory: Memory::default(),
        }
    }
}
