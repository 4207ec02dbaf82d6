//! SMPP 3.4 for both ends: PDUs ([`codec`]), a session without IO ([`session`]), and tokio drivers for the
//! client ([`client`]) and the carrier's side ([`server`]). Usable alone: it knows nothing of messages,
//! stores or retries. It reports what happened to each request exactly once and leaves every decision
//! (resend, pace, reconnect, what a status means) to its owner.
//!
//! Not here: SMPP 5.0, `query_sm`, `cancel_sm`, `replace_sm`, `submit_multi` (a peer sending one of these
//! gets `ESME_RINVCMDID`), character sets, and concatenation.

pub mod backoff;
pub mod client;
pub mod codec;
pub mod data_coding;
mod driver;
pub mod receipt_text;
pub mod server;
pub mod session;
pub mod status;
mod tls;

/// Why there is no session at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings can never work; change them.
    #[error("SMPP settings: {0}")]
    Settings(String),
    /// Nobody answers at the address, or at a server: it cannot be listened on. Try again later.
    #[error("cannot reach the address: {0}")]
    Unreachable(#[source] std::io::Error),
    /// The TLS handshake failed, most often for a certificate that isn't trusted.
    #[error("TLS: {0}")]
    Tls(#[source] std::io::Error),
}
