//! The only reader of time and randomness. Everything else is given `now`, ids and random numbers from here.
//! A simulation gives a [`Nature`] of its own, made from a seed.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use tidings_domain::id::*;
use tidings_domain::retry::Jitter;
use tidings_domain::time::Timestamp;

/// Where a clock has its time and its randomness from.
pub trait Nature: std::fmt::Debug + Send + Sync {
    /// The wall clock: milliseconds since 1970. It may be set forward and back.
    fn wall_ms(&self) -> i64;

    /// Milliseconds since some moment. Only goes on, and goes on while the machine sleeps.
    fn boot_ms(&self) -> i64;

    /// Random octets, good enough for secrets.
    fn fill(&self, octets: &mut [u8]);
}

/// The machine's own.
#[derive(Debug)]
struct Machine;

impl Nature for Machine {
    fn wall_ms(&self) -> i64 {
        #[expect(clippy::disallowed_methods, reason = "this is the one place")]
        let wall = std::time::SystemTime::now();
        wall.duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
    }

    fn boot_ms(&self) -> i64 {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        const COUNTS_SLEEP: rustix::time::ClockId = rustix::time::ClockId::Boottime;
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        const COUNTS_SLEEP: rustix::time::ClockId = rustix::time::ClockId::Monotonic;
        let since = rustix::time::clock_gettime(COUNTS_SLEEP);
        since.tv_sec * 1_000 + since.tv_nsec / 1_000_000
    }

    fn fill(&self, octets: &mut [u8]) {
        fill(octets);
    }
}

/// Time, ids and randomness of one running node.
#[derive(Debug)]
pub struct Clock {
    nature: Box<dyn Nature>,
    ids: Mutex<Sequence>,
    started: tokio::time::Instant,
    /// The most by which the wall clock was ever ahead of the time since `started`: milliseconds. A wall clock that is
    /// set back changes nothing here, so that nothing that was over is good again, and time does not stand still.
    ahead_ms: AtomicI64,
}

impl Clock {
    /// A clock for node number `node`.
    pub fn new(node: u16) -> Self {
        Self::of(Box::new(Machine), node)
    }

    /// A clock for node number `node` that reads this nature.
    pub fn of(nature: Box<dyn Nature>, node: u16) -> Self {
        let started = tokio::time::Instant::now();
        Self { nature, ids: Mutex::new(Sequence::new(node)), started, ahead_ms: AtomicI64::new(i64::MIN) }
    }

    /// The present moment. Never earlier than one given before, and always going on: a wall clock that is set back is
    /// not followed, one that is set forward is.
    pub fn now(&self) -> Timestamp {
        let passed_ms = self.started.elapsed().as_millis() as i64;
        let ahead_ms = self.nature.wall_ms().saturating_sub(passed_ms);
        let before = self.ahead_ms.fetch_max(ahead_ms, Ordering::Relaxed);
        Timestamp::from_millis(passed_ms.saturating_add(ahead_ms.max(before)))
    }

    /// Milliseconds on a clock that only goes on, also while the machine sleeps: for leases.
    pub fn boot_ms(&self) -> i64 {
        self.nature.boot_ms()
    }

    /// Makes ids as this node from here on. Before the first one.
    pub(crate) fn take_number(&self, node: u16) {
        *self.ids.lock().expect("nothing panics while it holds this") = Sequence::new(node);
    }

    /// A stopwatch for durations: it does not care about changes of the wall clock.
    pub fn stopwatch(&self) -> Stopwatch {
        Stopwatch(tokio::time::Instant::now())
    }

    /// The next id's integer.
    pub fn id(&self) -> i64 {
        let now = self.now();
        self.ids.lock().expect("nothing panics while it holds this").next(now)
    }

    /// A message's id.
    pub fn message_id(&self) -> MessageId {
        MessageId::from_key(self.id())
    }

    /// A random number for one decision.
    pub fn jitter(&self) -> Jitter {
        Jitter(self.draw())
    }

    /// A random number, evenly spread.
    pub fn draw(&self) -> u32 {
        u32::from_ne_bytes(self.random())
    }

    /// Random octets good enough for secrets.
    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut octets = [0; N];
        self.nature.fill(&mut octets);
        octets
    }
}

/// A running measurement.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(tokio::time::Instant);

impl Stopwatch {
    /// When it was started.
    pub const fn since(self) -> tokio::time::Instant {
        self.0
    }

    /// Milliseconds so far.
    pub fn elapsed_ms(&self) -> u64 {
        self.0.elapsed().as_millis() as u64
    }

    /// Seconds so far.
    pub fn elapsed_s(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

/// A random number, for those who need no [`Clock`].
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn draw() -> u32 {
    rand::random()
}

#[expect(clippy::disallowed_methods, reason = "this is the one place")]
fn fill(octets: &mut [u8]) {
    use rand::Rng;
    rand::rng().fill_bytes(octets);
}
