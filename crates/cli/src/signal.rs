//! How this process is asked to stop: SIGTERM, which service managers send, or SIGINT (Ctrl-C).

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Exit code of a process that was interrupted: 128 and the number of SIGINT.
const INTERRUPTED: i32 = 130;

/// The signals that ask this process to stop. They are heard from [`Signals::hear`] on, whether or not anybody waits for
/// them yet: that comes before anything is handed to a carrier, and before others are told that the process is there, or the
/// first signal would end it at once.
pub struct Signals {
    term: Signal,
    int: Signal,
}

impl Signals {
    /// Hears them from here on, instead of being ended by them.
    ///
    /// # Errors
    /// The system does not let this process hear signals.
    pub fn hear() -> anyhow::Result<Self> {
        let heard = |kind| signal(kind).context("signals cannot be heard");
        Ok(Self { term: heard(SignalKind::terminate())?, int: heard(SignalKind::interrupt())? })
    }

    /// Waits for one. From then on, a second one ends the process at once.
    pub async fn asked(mut self) {
        self.next().await;
        tokio::spawn(async move {
            self.next().await;
            std::process::exit(INTERRUPTED);
        });
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}
