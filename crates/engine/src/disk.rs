//! The disk of the store: how much room is left on it, said in time.
//!
//! There is an alarm when less than 15 % is free, another one below 5 %, and one when it is full: a line in the log, a
//! part of `/readyz`, and numbers among the metrics. What a full disk means for messages is decided in the store.

use crate::Inner;
use std::sync::Weak;
use std::time::Duration;
use tidings_store::Room;

/// How often the room is looked at.
const EVERY: Duration = Duration::from_secs(1);
/// Of a thousand parts free, below which there is an alarm.
const LOW: u64 = 150;
const VERY_LOW: u64 = 50;
/// An alarm ends so many parts higher, so that a disk at the border does not ring again and again.
const SLACK: u64 = 10;

/// How full the disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Plenty,
    Low,
    VeryLow,
    Full,
}

impl Level {
    fn of(room: Room, slack: u64) -> Self {
        let free = u128::from(room.free) * 1000 / u128::from(room.size.max(1));
        match free as u64 {
            _ if room.full => Self::Full,
            free if free < VERY_LOW + slack => Self::VeryLow,
            free if free < LOW + slack => Self::Low,
            _ => Self::Plenty,
        }
    }

    /// How it is now, when it was so before.
    fn next(self, room: Room) -> Self {
        let now = Self::of(room, 0);
        if now < self { Self::of(room, SLACK) } else { now }
    }
}

/// A sentence about it, and whether all is well.
pub(crate) fn sentence(level: Level, room: Room) -> (bool, String) {
    let percent = room.free as f64 * 100.0 / room.size.max(1) as f64;
    let free = format!("{percent:.1} % free ({} MiB)", room.free / (1 << 20));
    match level {
        Level::Plenty => (true, free),
        Level::Low | Level::VeryLow => (false, format!("{free}: make room")),
        Level::Full => (false, format!("full, {free}: new work is refused until there is room")),
    }
}

/// A sentence about room of which somebody should know, as whoever has seen no alarm before would.
pub fn alarm(room: Room) -> Option<String> {
    let (well, sentence) = sentence(Level::of(room, 0), room);
    (!well).then_some(sentence)
}

/// Looks at the room, and says when it changes its level.
pub(crate) async fn watch(engine: &mut Weak<Inner>) {
    let mut level = Level::Plenty;
    loop {
        let Some(inner) = engine.upgrade() else { return };
        match inner.store.room().await {
            // This store has no disk of its own.
            Ok(None) => return,
            Ok(Some(room)) => {
                let now = level.next(room);
                let (_, sentence) = sentence(now, room);
                match now {
                    _ if now == level => {}
                    Level::Plenty => tracing::warn!("the disk has room again: {sentence}"),
                    Level::Low => tracing::warn!("the disk fills: {sentence}"),
                    Level::VeryLow | Level::Full => tracing::error!("the disk is nearly full: {sentence}"),
                }
                level = now;
                inner.telemetry.room(room);
                *inner.disk.lock().expect("nothing panics while it holds this") = Some((level, room));
            }
            Err(error) => crate::warn(&error, "the room on the disk is not known"),
        }
        drop(inner);
        tokio::time::sleep(EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_comes_at_its_border_and_goes_a_little_above_it() {
        use Level::{Full, Low, Plenty, VeryLow};
        let check = |before: Level, free: u64, full: bool, expected: Level| {
            let room = Room { free, size: 1_000, full };
            assert_eq!(before.next(room), expected, "{free} of 1000 free after {before:?}");
        };
        for (before, free, full, expected) in [
            (Plenty, 1_000, false, Plenty),
            (Plenty, 150, false, Plenty),
            (Plenty, 149, false, Low),
            (Low, 155, false, Low),
            (Low, 160, false, Plenty),
            (Low, 50, false, Low),
            (Plenty, 49, false, VeryLow),
            (VeryLow, 59, false, VeryLow),
            (VeryLow, 60, false, Low),
            (VeryLow, 500, false, Plenty),
            (Plenty, 500, true, Full),
            (Full, 500, false, Plenty),
            (Full, 155, false, Low),
            (Plenty, 0, false, VeryLow),
        ] {
            check(before, free, full, expected);
        }
        // A disk without any size is no reason to divide by nothing.
        assert_eq!(Plenty.next(Room { free: 0, size: 0, full: false }), VeryLow);
    }
}
