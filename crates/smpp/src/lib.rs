//! SMPP 3.4 for both ends: PDUs ([`codec`]), a session without IO ([`session`]), and tokio drivers for the
//! client ([`client`]) and the carrier's side ([`server`]). Usable alone: it knows nothing of messages,
//! stores or retries. It reports what happened to each request exactly once and leaves every decision
//! (resend, pace, reconnect, what a status means) to its owner.
//!
//! Not here: SMPP 5.0, `query_sm`, `cancel_sm`, `replace_sm`, `submit_multi` (a peer sending one of these
//! gets `ESME_RINVCMDID`), character sets, and concatenation.
//!
//! ```no_run
//! use tidings_smpp::client::{self, Event};
//! use tidings_smpp::codec::{Address, Bind, BindMode, SubmitSm};
//! use tidings_smpp::status;
//!
//! # async fn example() -> Result<(), tidings_smpp::Error> {
//! let bind = Bind::new(BindMode::Transceiver, "system id", "password");
//! let mut settings = client::Settings::new("smsc.example.net", 2775, bind);
//! settings.tls = Some(client::ClientTls::default());
//! let (handle, mut events) = client::connect(settings).await?;
//! while let Some(event) = events.recv().await {
//!     match event {
//!         Event::Bound { .. } => {
//!             let message = SubmitSm {
//!                 destination: Address::new(1, 1, "46700000001"),
//!                 short_message: b"hello".to_vec(),
//!                 ..SubmitSm::default()
//!             };
//!             // Queued at once: the window is empty.
//!             let _ = handle.try_submit(1, message);
//!         }
//!         Event::Answer { tag, status, message_id } => println!("{tag}: {status} {message_id}"),
//!         Event::Deliver { pdu, responder } => {
//!             // Store `pdu` first.
//!             println!("from {}", pdu.source.value);
//!             responder.answer(status::ESME_ROK);
//!         }
//!         other => println!("{other:?}"),
//!     }
//! }
//! # Ok(())
//! # }
//! ```

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
