//! What may go wrong with a [`Model`], on purpose: the simulation relies on each of these.

use crate::samples::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tidings_store::model::{Disk, Fate, Fault, Model, Operation};
use tidings_store::*;
use tokio::time::{Instant, timeout};

/// A process whose acceptances meet this fate; everything else goes well.
fn process(disk: &Disk, fate: Fate) -> (Arc<dyn Backend>, usize) {
    let faults = move |operation: Operation| if operation.name == "accept" { fate } else { Fate::default() };
    let model = Model::with_faults(disk.clone(), Arc::new(faults));
    let incarnation = model.incarnation();
    (Arc::new(model), incarnation)
}

/// Whether the message with this number is on the disk.
async fn there(disk: &Disk, n: i64) -> bool {
    Model::new(disk.clone()).message(HOME, id(n)).await.expect("read").is_some()
}

const LONG: Duration = Duration::from_secs(3_600);

#[tokio::test(start_paused = true)]
async fn an_operation_that_fails_before_it_was_done_was_not_done_and_one_that_fails_after_was() {
    for (fault, done) in [(Fault::FailBefore, false), (Fault::FailAfter, true)] {
        let disk = Disk::new();
        let (store, _) = process(&disk, Fate { fault, ..Fate::default() });
        let outcome = store.accept(intake([message(1)]), START).await;
        assert!(matches!(outcome, Err(Error::Unavailable(_))), "{fault:?}: {outcome:?}");
        assert_eq!(there(&disk, 1).await, done, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_hangs_is_not_done_and_never_answered() {
    let disk = Disk::new();
    let (store, _) = process(&disk, Fate { fault: Fault::Hang, ..Fate::default() });
    assert!(timeout(LONG, store.accept(intake([message(1)]), START)).await.is_err());
    assert!(!there(&disk, 1).await);
    store.ping().await.expect("only that one hangs");
}

#[tokio::test(start_paused = true)]
async fn the_commit_and_the_answer_take_their_time() {
    let disk = Disk::new();
    let (store, _) = process(&disk, Fate { before_ms: 300, after_ms: 500, fault: Fault::None });
    let began = Instant::now();
    let call = tokio::spawn(async move { store.accept(intake([message(1)]), START).await });
    tokio::time::sleep(Duration::from_millis(299)).await;
    assert!(!there(&disk, 1).await);
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert!(there(&disk, 1).await);
    call.await.expect("no panic").expect("accepted");
    assert_eq!(began.elapsed(), Duration::from_millis(800));
}

#[tokio::test(start_paused = true)]
async fn an_operation_is_done_also_if_whoever_asked_for_it_went_away() {
    let disk = Disk::new();
    let (store, _) = process(&disk, Fate { before_ms: 300, ..Fate::default() });
    let impatient = Duration::from_millis(100);
    assert!(timeout(impatient, store.accept(intake([message(1)]), START)).await.is_err());
    assert!(!there(&disk, 1).await);
    store.close().await.expect("it finishes what was begun");
    assert!(there(&disk, 1).await);
}

#[tokio::test(start_paused = true)]
async fn a_crashed_process_keeps_what_it_did_does_nothing_more_and_hears_nothing_more() {
    let disk = Disk::new();
    for (n, fate, done) in [
        (1, Fate { before_ms: 300, ..Fate::default() }, false),
        (2, Fate { after_ms: 300, ..Fate::default() }, true),
        (3, Fate { before_ms: 300, fault: Fault::FailBefore, ..Fate::default() }, false),
        (4, Fate { after_ms: 300, fault: Fault::FailAfter, ..Fate::default() }, true),
    ] {
        let (store, incarnation) = process(&disk, fate);
        let heard = Arc::new(AtomicU64::new(0));
        let call = {
            let (store, heard) = (Arc::clone(&store), Arc::clone(&heard));
            tokio::spawn(async move {
                let outcome = store.accept(intake([message(n)]), START).await;
                heard.fetch_add(1, Ordering::SeqCst);
                outcome
            })
        };
        tokio::time::sleep(Duration::from_millis(100)).await;
        disk.crash(incarnation);
        tokio::time::sleep(LONG).await;
        assert_eq!((heard.load(Ordering::SeqCst), call.is_finished()), (0, false), "{fate:?}");
        assert_eq!(there(&disk, n).await, done, "{fate:?}");
        // Nor does anything that it begins afterwards.
        assert!(timeout(LONG, store.ping()).await.is_err());
        assert!(timeout(LONG, store.message(HOME, id(n))).await.is_err());
        assert!(timeout(LONG, store.accept(intake([message(n + 10)]), START)).await.is_err());
        assert!(timeout(LONG, store.close()).await.is_err());
        assert!(!there(&disk, n + 10).await);
        call.abort();
    }
}
