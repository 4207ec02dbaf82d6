//! What nobody asks for: lost claims and doubts, expiry, parts that never came, operators' pauses made by another
//! process, retention, and what an earlier process left behind.

use crate::{Inner, inbound, segment};
use std::sync::{Arc, Weak};
use tidings_domain::id::ConnectionId;
use tidings_domain::time::Timestamp;

/// The longest sleep between two looks at the clock of messages.
const LONGEST_SLEEP_MS: i64 = 1_000;
/// Messages in one commit.
const WAKE_MAX: usize = 500;
/// The same before anything is sent: nobody else waits for the writer then, and each commit looks through all claims.
const RECOVER_MAX: usize = 5_000;
/// The shortest pause between two commits of a backlog: ms.
const AIR_MS: u64 = 5;
/// How often old rows are swept away.
const SWEEP_EVERY_MS: u64 = 5 * 60_000;
/// Rows of each kind in one sweep, so that nobody waits long for it.
const SWEEP_MAX: usize = 1_000;
/// While more is left, sweeping rests so many times as long as the last sweep took: it keeps up with what comes in,
/// and leaves the writer to others most of the time.
const SWEEP_REST: u64 = 3;
/// Bounds of that rest: ms.
const SWEEP_REST_MS: std::ops::RangeInclusive<u64> = 10..=1_000;

/// A run that has lasted so long is not the one in which an earlier one's fault ends the process: ms.
const CALM_MS: u64 = 10 * 60_000;

/// Sets aside what crashed an earlier process, and settles what that left: its webhook leases are void, and its claims
/// are orphans, where it can have been the only one.
pub(crate) async fn recover(engine: &Arc<Inner>) -> tidings_store::Result<()> {
    engine.quarantine(engine.guard.convicted().collect(), "whatever was done with it,").await;
    if !engine.seat.is_alone() {
        // What the others have is theirs. A connection is looked through when it becomes ours.
        return Ok(());
    }
    let orphans = recover_claims(engine, None).await?;
    let released = engine.store.release_deliveries(engine.clock.now()).await?;
    if orphans > 0 || released > 0 {
        tracing::warn!(
            messages = orphans,
            webhooks = released,
            "an earlier process ended in the middle of its work; it was taken up"
        );
    }
    Ok(())
}

/// Makes orphans of the claims that an earlier owner of a connection left (of every connection for `None`); says how many.
pub(crate) async fn recover_claims(
    engine: &Arc<Inner>,
    connection: Option<ConnectionId>,
) -> tidings_store::Result<usize> {
    let mut orphans = 0;
    loop {
        let (now, patience) = (engine.clock.now(), engine.patience());
        let advanced = engine.store.recover(connection, RECOVER_MAX, now, patience).await?;
        let more = advanced.more;
        orphans += advanced.statuses.len();
        engine.happened(advanced).await;
        if !more {
            return Ok(orphans);
        }
    }
}

/// Wakes messages whose moment has come, and tells those of people that have waited long enough for parts.
pub(crate) async fn wake(engine: &Weak<Inner>) {
    loop {
        let Some(inner) = engine.upgrade() else { return };
        let now = inner.clock.now();
        let next = match inner.store.next_due(None, now).await {
            Ok(Some(at)) if at <= now => step(&inner, now).await,
            Ok(Some(at)) => at,
            Ok(None) => now.plus_ms(LONGEST_SLEEP_MS),
            Err(error) => {
                tracing::warn!(%error, "the store cannot be asked what is due");
                now.plus_ms(LONGEST_SLEEP_MS)
            }
        };
        drop(inner);
        let sleep_ms = next.since_ms(now).clamp(0, LONGEST_SLEEP_MS) as u64;
        tokio::time::sleep(std::time::Duration::from_millis(sleep_ms)).await;
    }
}

async fn step(engine: &Arc<Inner>, now: Timestamp) -> Timestamp {
    let took = engine.clock.stopwatch();
    let given_up = match engine.store.give_up(WAKE_MAX, inbound::hearing(engine), now).await {
        Ok(advanced) => {
            let more = advanced.more;
            engine.heard(advanced).await;
            more
        }
        Err(error) => {
            crate::warn(&error, "messages of people that wait for parts could not be told");
            false
        }
    };
    match engine.store.wake(WAKE_MAX, now, engine.patience()).await {
        Ok(advanced) => {
            let more = advanced.more | given_up;
            engine.happened(advanced).await;
            // As long a pause as the commit took: a backlog of expiries leaves half of the writer's time to others.
            if more { now.plus_ms(took.elapsed_ms().max(AIR_MS) as i64) } else { now.plus_ms(50) }
        }
        Err(error) => {
            crate::warn(&error, "due messages could not be woken");
            now.plus_ms(LONGEST_SLEEP_MS)
        }
    }
}

/// Follows pauses, holds and endpoints that another process changed, and how long links have been down.
pub(crate) async fn follow(engine: &Weak<Inner>) {
    let (mut since, mut calm) = (None, false);
    loop {
        let Some(inner) = engine.upgrade() else { return };
        inner.follow_store().await;
        inner.webhooks.refresh(&inner).await;
        inner.lanes.load().all().for_each(|lane| lane.note_link(&inner.clock));
        if since.get_or_insert_with(|| inner.clock.stopwatch()).elapsed_ms() >= CALM_MS && !calm {
            inner.guard.calm();
            calm = true;
        }
        let seat = Arc::clone(&inner.seat);
        drop(inner);
        let sleep = tokio::time::sleep(std::time::Duration::from_millis(LONGEST_SLEEP_MS as u64));
        tokio::select! {
            biased;
            () = seat.settings_changed() => {}
            () = sleep => {}
        }
    }
}

/// How often the event log is read on for the segments that ask for history.
const READ_ON_EVERY_MS: u64 = 60_000;

/// Takes out what is older than its retention, and reads the event log on for segments.
pub(crate) async fn sweep(engine: &Weak<Inner>) {
    let mut read_on = None;
    loop {
        let Some(inner) = engine.upgrade() else { return };
        let since = read_on.get_or_insert_with(|| inner.clock.stopwatch());
        if since.elapsed_ms() >= READ_ON_EVERY_MS {
            if let Err(error) = segment::read_on(&*inner.store, &inner.clock).await {
                tracing::warn!(%error, "the event log could not be read on for segments");
            }
            read_on = None;
        }
        let stopwatch = inner.clock.stopwatch();
        let rest_ms = match inner.store.sweep(inner.settings.retention, SWEEP_MAX, inner.clock.now()).await {
            Ok(true) => {
                (stopwatch.elapsed_ms() * SWEEP_REST).clamp(*SWEEP_REST_MS.start(), *SWEEP_REST_MS.end())
            }
            Ok(false) => SWEEP_EVERY_MS,
            Err(error) => {
                tracing::warn!(%error, "old rows could not be swept");
                SWEEP_EVERY_MS
            }
        };
        drop(inner);
        tokio::time::sleep(std::time::Duration::from_millis(rest_ms)).await;
    }
}
