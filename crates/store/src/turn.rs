//! The turn of a call for which somebody waits, but not for ever.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// How long a call may wait for its turn: with the rest of its way it is answered within two seconds, in which its
/// caller does not yet give up by itself.
pub(crate) const CALL_WAIT: Duration = Duration::from_millis(1_500);

/// Decides between the writer, which begins an operation, and its caller, who gives it up: only one of them can.
#[derive(Debug, Default)]
pub(crate) struct Turn(AtomicU8);

impl Turn {
    const OPEN: u8 = 0;
    const BEGUN: u8 = 1;
    const GIVEN_UP: u8 = 2;

    /// The turn has come. `false` if nobody waits any more.
    pub fn begin(&self) -> bool {
        self.decide(Self::BEGUN)
    }

    /// Nobody waits any more. `false` if the turn has come.
    pub fn give_up(&self) -> bool {
        self.decide(Self::GIVEN_UP)
    }

    fn decide(&self, to: u8) -> bool {
        self.0.compare_exchange(Self::OPEN, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}
