//! What the store does to the operations of one process.

use crate::fault::Fault;
use crate::ledger::{Happened, StoreFault};
use crate::stage::{Life, Stage};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tidings_store::model::{Fate, Fault as Broken, Faults, Operation, Still};

/// A store that misbehaves.
pub struct Unreliable {
    stage: Arc<Stage>,
    life: std::sync::OnceLock<Arc<Life>>,
    asked: AtomicU64,
    told: AtomicU64,
    /// Whether the process joined the nodes and has not left them.
    joined: AtomicBool,
}

impl Unreliable {
    /// For a process that [lives](Self::lives) later.
    pub fn new(stage: &Arc<Stage>) -> Arc<Self> {
        Arc::new(Self {
            stage: Arc::clone(stage),
            life: std::sync::OnceLock::new(),
            asked: AtomicU64::new(0),
            told: AtomicU64::new(0),
            joined: AtomicBool::new(false),
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

    /// What another server in the place of the first, or a cut between the two, makes of an operation.
    fn apart(&self, life: &Life, operation: Operation, labels: &[u64]) -> Option<Fate> {
        let (plan, now_ms) = (&self.stage.plan, self.stage.now_ms());
        let unanswered = |after_ms| {
            self.note(operation, StoreFault::Unknown);
            Some(Fate { fault: Broken::FailAfter, after_ms, before_ms: 0 })
        };
        let unheard = |before_ms| {
            self.note(operation, StoreFault::Failed);
            Some(Fate { fault: Broken::FailBefore, before_ms, after_ms: 0 })
        };
        if let Some(spell) = plan.spell(Fault::Failover, 0, now_ms) {
            let mut random = self.stage.random(Fault::Failover, labels);
            let wait_ms = random.between(1, 1_500);
            // What was under way when the first one ended may have been done.
            let is_under_way = now_ms < spell.from_ms + 300 && operation.writes && random.hits(500);
            return if is_under_way { unanswered(wait_ms) } else { unheard(wait_ms) };
        }
        let spell = plan.spell(Fault::CutFromStore, life.node, now_ms)?;
        let mut random = self.stage.random(Fault::CutFromStore, labels);
        match spell.permille {
            // Everything comes through, late.
            300 => {
                let after_ms = random.between(1, 9_500);
                self.note(operation, StoreFault::Slow(after_ms));
                Some(Fate { after_ms, ..Fate::default() })
            }
            // Questions do, answers do not.
            700 if operation.writes => unanswered(*random.pick(&[1, 1_000, 5_000, 9_000])),
            _ => unheard(*random.pick(&[1, 1_000, 5_000, 9_000])),
        }
    }
}

impl Faults for Unreliable {
    fn fate(&self, operation: Operation) -> Fate {
        let Some(life) = self.life.get() else { return Fate::default() };
        let labels = [u64::from(life.number), self.asked.fetch_add(1, Ordering::Relaxed)];
        let strikes = |fault| self.stage.strikes(fault, &labels);
        if let Some(fate) = self.apart(life, operation, &labels) {
            return fate;
        }
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

    fn still(&self) -> Option<Still> {
        let life = self.life.get().filter(|life| life.still_since_ms().is_some())?;
        let life = Arc::clone(life);
        Some(Box::pin(async move { life.moves().await }))
    }

    fn hears(&self) -> bool {
        let Some(life) = self.life.get() else { return true };
        let (plan, now_ms) = (&self.stage.plan, self.stage.now_ms());
        let is_apart = plan.spell(Fault::CutFromStore, life.node, now_ms).is_some()
            || plan.spell(Fault::Failover, 0, now_ms).is_some()
            || plan.spell(Fault::StoreAway, 0, now_ms).is_some();
        let labels = [u64::from(life.number), self.told.fetch_add(1, Ordering::Relaxed)];
        !is_apart && self.stage.strikes(Fault::NewsLost, &labels).is_none()
    }

    fn applied(&self, operation: Operation) {
        let Some(life) = self.life.get() else { return };
        match operation.name {
            "join" => self.joined.store(true, Ordering::Relaxed),
            "leave" => self.joined.store(false, Ordering::Relaxed),
            _ if !operation.writes || !self.joined.load(Ordering::Relaxed) => {}
            _ if self.stage.disk.serves(life.incarnation) => {
                if operation.name == "recover" {
                    self.stage.note(Happened::Recovered { process: life.number });
                }
            }
            name => self.stage.note(Happened::WroteAfterEnd { process: life.number, operation: name }),
        }
    }
}
