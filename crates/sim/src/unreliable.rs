//! What the store does to the operations of one process.

use crate::fault::Fault;
use crate::ledger::{Happened, StoreFault};
use crate::stage::{Life, Stage};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tidings_store::model::{Fate, Fault as Broken, Faults, Operation};

/// A store that misbehaves.
pub struct Unreliable {
    stage: Arc<Stage>,
    life: std::sync::OnceLock<Arc<Life>>,
    asked: AtomicU64,
}

impl Unreliable {
    /// For a process that [lives](Self::lives) later.
    pub fn new(stage: &Arc<Stage>) -> Arc<Self> {
        Arc::new(Self {
            stage: Arc::clone(stage),
            life: std::sync::OnceLock::new(),
            asked: AtomicU64::new(0),
        })
    }

    /// Whose store it is.
    pub fn lives(&self, life: &Arc<Life>) {
        // It is told once.
        let _ = self.life.set(Arc::clone(life));
    }

    fn note(&self, operation: Operation, fault: StoreFault) {
        self.stage.note(Happened::StoreFault { operation: operation.name, fault });
    }
}

impl Faults for Unreliable {
    fn fate(&self, operation: Operation) -> Fate {
        let Some(life) = self.life.get() else { return Fate::default() };
        let labels = [u64::from(life.number), self.asked.fetch_add(1, Ordering::Relaxed)];
        let strikes = |fault| self.stage.strikes(fault, &labels);
        if self.stage.plan.spell(Fault::StoreAway, 0, self.stage.now_ms()).is_some() {
            self.note(operation, StoreFault::Failed);
            return Fate { fault: Broken::FailBefore, before_ms: 1, ..Fate::default() };
        }
        let mut fate = Fate::default();
        if let Some(mut random) = strikes(Fault::StoreSlow) {
            let slow_ms = *random.pick(&[3, 50, 400, 2_000]);
            if random.hits(500) {
                fate.before_ms = slow_ms
            } else {
                fate.after_ms = slow_ms
            }
            self.note(operation, StoreFault::Slow(slow_ms));
        }
        if !operation.writes {
            if strikes(Fault::ReadFails).is_some() {
                self.note(operation, StoreFault::Failed);
                fate.fault = Broken::FailBefore;
            }
            return fate;
        }
        if let Some(mut random) = strikes(Fault::CrashAtCommit) {
            if random.hits(500) {
                self.stage.crash(life);
                return fate;
            }
            // It is done, and nobody hears of it: the process ends before the answer is there.
            let (stage, life) = (Arc::clone(&self.stage), Arc::clone(life));
            let before_ms = fate.before_ms;
            tokio::spawn(async move {
                tokio::time::sleep(std::time::Duration::from_millis(before_ms)).await;
                tokio::task::yield_now().await;
                stage.crash(&life);
            });
            return Fate { after_ms: fate.after_ms.max(5), ..fate };
        }
        if strikes(Fault::CommitFails).is_some() {
            self.note(operation, StoreFault::Failed);
            fate.fault = Broken::FailBefore;
        } else if strikes(Fault::CommitUnknown).is_some() {
            self.note(operation, StoreFault::Unknown);
            fate.fault = Broken::FailAfter;
        }
        fate
    }
}
