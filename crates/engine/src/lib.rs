//! The loops. One file, one room; rooms never call each other, they meet in the store.
//!
//! [`Engine`] is what the API, the command line and the console hold: it accepts messages, answers questions about
//! what is live (connections, metrics, health), and wakes the room that has something to do. The rooms:
//!
//! - [`intake`]: requests → accepted messages; hands over to a connection with room in its window.
//! - [`dispatch`]: one loop a connection: due messages → carrier → what happened → store.
//! - [`webhook`]: events → signed calls to customers.
//! - [`housekeeping`]: lost claims, doubts, expiry, retention, and what an earlier process left.
//!
//! [`clock`] is the only reader of time and randomness, [`telemetry`] the only keeper of metrics.

pub mod clock;
pub mod dispatch;
pub mod housekeeping;
pub mod intake;
pub mod signature;
pub mod telemetry;
pub mod webhook;

use std::sync::Arc;
use tidings_domain::account::{Environment, Realm};
use tidings_domain::address::PhoneNumber;
use tidings_domain::id::*;
use tidings_domain::review::Decision;
use tidings_domain::time::Timestamp;
use tidings_store::{Actor, Attempt, Backend, Connection, Endpoint, Replay, Result, Review, ReviewChoice, Stored, Suppression};

pub use intake::{Call, Item, Preview, Sent};

/// A running installation. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Backend>,
    clock: Arc<clock::Clock>,
}

/// What an attempt to take a message back led to.
#[derive(Debug, Clone)]
pub enum Cancel {
    /// It will not be sent.
    Done(Box<Stored>),
    /// It is already on its way or ended.
    TooLate(Box<Stored>),
    /// There is no such message in this realm.
    NotFound,
}

/// A connection as it is now.
#[derive(Debug, Clone)]
pub struct ConnectionNow {
    /// Its id, name, environment and pause.
    pub connection: Connection,
    /// What kind of carrier.
    pub kind: &'static str,
    /// How the link is.
    pub state: tidings_carriers::LinkState,
    /// The window's size and how much of it is taken: segments.
    pub window: (usize, usize),
    /// The pace in force: segments per second; `None` without limit.
    pub pace_per_s: Option<f64>,
    /// Waiting messages by purpose, with the moment since which the oldest is due.
    pub queues: Vec<(tidings_domain::purpose::Purpose, u64, Option<Timestamp>)>,
}

/// How the installation is, for `/readyz`.
#[derive(Debug, Clone)]
pub struct Health {
    /// Whether requests can be served.
    pub ready: bool,
    /// One line a part: name, whether it is well, and a sentence.
    pub parts: Vec<(String, bool, String)>,
}

/// What a person's decision led to.
#[derive(Debug, Clone, Default)]
pub struct Decided {
    /// The items that were closed.
    pub closed: Vec<Review>,
    /// For `retry`: the new messages, in the order of `closed`; `None` where the old one cannot be repeated.
    pub repeated: Vec<Option<MessageId>>,
}

impl Engine {
    /// The store, for reading and for what needs no loop.
    pub fn store(&self) -> &Arc<dyn Backend> {
        &self.inner.store
    }

    /// Time, ids and randomness.
    pub fn clock(&self) -> &Arc<clock::Clock> {
        &self.inner.clock
    }

    /// Accepts the messages of one call. Durable when it returns.
    pub async fn send(&self, call: Call) -> Result<Sent> { todo!("{}", call.requests.len()) }

    /// What a request would become, without doing it.
    pub async fn preview(&self, realm: Realm, request: &tidings_domain::intake::SendRequest) -> Result<Preview> { todo!("{realm:?}{request:?}") }

    /// The bounds in force.
    pub fn limits(&self) -> &tidings_domain::intake::Limits { todo!() }

    /// Takes a message back, if it is still waiting.
    pub async fn cancel(&self, realm: Realm, id: MessageId, actor: Actor) -> Result<Cancel> { todo!("{realm:?}{id}{actor:?}") }

    /// Puts people on the suppression list. When this returns, no submission to them starts any more.
    pub async fn suppress(&self, entries: Vec<Suppression>, actor: Actor) -> Result<Vec<Suppression>> { todo!("{entries:?}{actor:?}") }

    /// Takes somebody off the list.
    pub async fn lift(&self, realm: Realm, recipient: PhoneNumber, reason: String, actor: Actor) -> Result<Option<Suppression>> { todo!("{realm:?}{recipient}{reason}{actor:?}") }

    /// Records a person's decision about failures and does what it says.
    pub async fn decide(&self, realm: Realm, which: ReviewChoice, decision: Decision, actor: Actor) -> Result<Decided> { todo!("{realm:?}{which:?}{decision:?}{actor:?}") }

    /// The connections of an environment as they are now.
    pub async fn connections(&self, environment: Environment) -> Result<Vec<ConnectionNow>> { todo!("{environment:?}") }

    /// Pauses (with a reason) or resumes a connection, by name. `None` if there is none.
    pub async fn pause(&self, environment: Environment, name: &str, pause: Option<String>, actor: Actor) -> Result<Option<ConnectionNow>> { todo!("{environment:?}{name}{pause:?}{actor:?}") }

    /// Checks an address for webhooks against the rules of egress, without calling it: the sentence to show if it is refused.
    pub fn check_url(&self, url: &str) -> std::result::Result<(), String> { todo!("{url}") }

    /// Calls an endpoint with a `webhook.test` event, now, and logs the attempt.
    pub async fn test_endpoint(&self, endpoint: Endpoint, actor: Actor) -> Result<Attempt> { todo!("{endpoint:?}{actor:?}") }

    /// Makes events due again at an endpoint. `None` if there is no such endpoint.
    pub async fn replay(&self, realm: Realm, endpoint: EndpointId, what: Replay, actor: Actor) -> Result<Option<u64>> { todo!("{realm:?}{endpoint}{what:?}{actor:?}") }

    /// Metrics in the OpenMetrics text format.
    pub async fn metrics(&self) -> String { todo!() }

    /// How the installation is.
    pub async fn health(&self) -> Health { todo!() }

    /// Stops in good order: takes nothing more from the queue, waits for carriers' answers up to `within_ms`, closes the store.
    pub async fn stop(&self, within_ms: u64) { todo!("{within_ms}") }
}
