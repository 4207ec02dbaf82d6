//! The engine's clock among wall clocks that are set.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tidings_engine::clock::{Clock, Nature};

/// A wall clock that a test sets.
#[derive(Debug)]
struct Wall(Arc<AtomicI64>);

impl Nature for Wall {
    fn wall_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    fn boot_ms(&self) -> i64 {
        0
    }

    fn fill(&self, octets: &mut [u8]) {
        octets.fill(0);
    }
}

const BEGIN_MS: i64 = 1_798_761_600_000;
const DAY_MS: i64 = 86_400_000;

/// P-27
#[tokio::test(start_paused = true)]
async fn p_27_time_goes_on_when_the_wall_clock_is_set_back() {
    let wall = Arc::new(AtomicI64::new(BEGIN_MS));
    let clock = Clock::of(Box::new(Wall(Arc::clone(&wall))), 1);
    let now_ms = || clock.now().as_millis() - BEGIN_MS;
    assert_eq!(now_ms(), 0);
    wall.store(BEGIN_MS - DAY_MS, Ordering::Relaxed);
    assert_eq!(now_ms(), 0);
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(now_ms(), 5_000);
    // It comes back a little later than it went: the time between did not stand still, and is not counted twice.
    wall.store(BEGIN_MS + 5_000, Ordering::Relaxed);
    assert_eq!(now_ms(), 5_000);
    // Forward is followed.
    wall.store(BEGIN_MS + DAY_MS, Ordering::Relaxed);
    assert_eq!(now_ms(), DAY_MS);
    wall.store(BEGIN_MS + 6_000, Ordering::Relaxed);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(now_ms(), DAY_MS + 1_000);
}
