//! Requests become accepted messages: planned by `domain::intake`, committed by the store, and handed over to their
//! connection in memory if its window has room (otherwise the connection's loop claims them from the queue).

use std::sync::Arc;
use tidings_domain::account::Realm;
use tidings_domain::id::{BatchId, TokenId};
use tidings_domain::intake::{Plan, Refusal, SendRequest};
use tidings_domain::message::{Message, Status};
use tidings_domain::suppression;

/// One call that sends messages.
pub struct Call {
    /// Whose call.
    pub realm: Realm,
    /// The token that asked.
    pub token: Option<TokenId>,
    /// What to send. Each has its own result.
    pub requests: Vec<SendRequest>,
    /// Whether to record a batch, and how many items were asked for (refused ones included).
    pub batch: Option<u32>,
    /// The idempotency key, if the caller gave one.
    pub idempotency: Option<IdempotencyKey>,
}

/// An idempotency key with what it stands for.
pub struct IdempotencyKey {
    /// The key as given, 1 to 255 characters.
    pub key: String,
    /// SHA-256 of the request (method, path, body).
    pub fingerprint: [u8; 32],
    /// Renders the body of the answer that repeats of the call get.
    pub answer: Arc<dyn Fn(Option<BatchId>, &[Item]) -> Vec<u8> + Send + Sync>,
}

/// What became of one request.
#[derive(Debug, Clone)]
pub enum Item {
    /// It is a message now, in this status.
    Accepted(Box<Message>, Status),
    /// It breaks a rule.
    Refused(Refusal),
    /// Its recipient is on the suppression list.
    Suppressed(suppression::Reason),
}

/// What became of a call.
#[derive(Debug, Clone)]
pub enum Sent {
    /// New: the batch if there is one, and one item for each request.
    New(Option<BatchId>, Vec<Item>),
    /// The same call came before: the body of its answer.
    Replayed(Vec<u8>),
    /// The idempotency key was used for another request.
    KeyReused,
    /// Too much waits already: nothing was accepted; try again after so many seconds.
    Overloaded {
        /// Seconds.
        retry_after_s: u32,
    },
}

/// What a request would become.
#[derive(Debug, Clone)]
pub struct Preview {
    /// The plan, or the reason against it.
    pub plan: Result<Plan, Refusal>,
    /// Why its recipient is suppressed, if so.
    pub suppressed: Option<suppression::Reason>,
}
