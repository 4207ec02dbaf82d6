//! What all in the world share: the time that is true, the plan, the ledger; and what one process is to the others.

use crate::fault::Fault;
use crate::ledger::{Happened, Ledger, Ms};
use crate::plan::Plan;
use crate::random::Random;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tidings_domain::account::Realm;
use tidings_domain::id::AccountId;
use tidings_engine::clock::Nature;
use tidings_store::model::Disk;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// The world.
pub struct Stage {
    /// What is to happen.
    pub plan: Plan,
    /// What is durable.
    pub disk: Disk,
    /// Rung when a process has crashed.
    pub crashed: Notify,
    started: Instant,
    ahead_ms: AtomicI64,
    healing: AtomicBool,
    /// Whether each thing is printed when it happens.
    is_live: bool,
    ledger: Mutex<Ledger>,
    account: Mutex<Option<AccountId>>,
}

impl Stage {
    /// A world in which nothing has happened.
    pub fn new(plan: Plan, is_live: bool) -> Arc<Self> {
        Arc::new(Self {
            plan,
            disk: Disk::new(),
            crashed: Notify::new(),
            started: Instant::now(),
            ahead_ms: AtomicI64::new(0),
            healing: AtomicBool::new(false),
            is_live,
            ledger: Mutex::default(),
            account: Mutex::new(None),
        })
    }

    /// The true time.
    pub fn now_ms(&self) -> Ms {
        self.started.elapsed().as_millis() as Ms
    }

    /// A moment, for waiting.
    pub fn moment(&self, at_ms: Ms) -> Instant {
        self.started + Duration::from_millis(at_ms)
    }

    /// What the wall clock says.
    pub fn wall_ms(&self) -> i64 {
        self.plan.begin_ms + self.now_ms() as i64 + self.ahead_ms.load(Ordering::Relaxed)
    }

    /// Sets the wall clock.
    pub fn set_wall(&self, change: impl FnOnce(i64) -> i64) {
        let ahead_ms = change(self.ahead_ms.load(Ordering::Relaxed));
        self.ahead_ms.store(ahead_ms, Ordering::Relaxed);
        self.note(Happened::WallSet { ahead_ms });
    }

    /// Lets the time until then pass for every clock, and for nothing else.
    pub fn skip_to(&self, wall_ms: i64) {
        self.note(Happened::NextDay);
        self.set_wall(|ahead_ms| ahead_ms + wall_ms - self.wall_ms());
    }

    /// Writes down what was seen.
    pub fn note(&self, what: Happened) {
        let now_ms = self.now_ms();
        let mut ledger = self.ledger();
        ledger.entries.push((now_ms, what));
        if self.is_live {
            println!("{}", ledger.trace(Some(1)).concat());
        }
    }

    /// The ledger.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("nothing panics while it holds this")
    }

    /// From now on no fault strikes.
    pub fn heal(&self) {
        self.healing.store(true, Ordering::Relaxed);
        self.note(Happened::Healing);
    }

    /// Whether no fault strikes any more.
    pub fn is_healing(&self) -> bool {
        self.healing.load(Ordering::Relaxed)
    }

    /// Whether the fault strikes at the chance with these labels; the numbers for what it does then.
    pub fn strikes(&self, fault: Fault, labels: &[u64]) -> Option<Random> {
        let rate = self.plan.rate(fault);
        if rate == 0 || self.is_healing() {
            return None;
        }
        let mut random = self.random(fault, labels);
        random.hits(rate).then_some(random)
    }

    /// The numbers for a decision.
    pub fn random(&self, fault: Fault, labels: &[u64]) -> Random {
        let mut named = [0; 6];
        named[0] = 1_000 + fault as u64;
        named[1..=labels.len()].copy_from_slice(labels);
        Random::of(self.plan.seed, &named)
    }

    /// Remembers the account.
    pub fn set_account(&self, account: AccountId) {
        *self.account.lock().expect("nothing panics while it holds this") = Some(account);
    }

    /// Where all messages of the world belong. `None` before the first process was ready.
    pub fn realm(&self) -> Option<Realm> {
        let account = *self.account.lock().expect("nothing panics while it holds this");
        account.map(|account| Realm { account, environment: self.plan.environment() })
    }

    /// Ends a process this instant: nothing of it can do anything any more.
    pub fn crash(&self, life: &Life) {
        if life.end() {
            self.disk.crash(life.incarnation);
            self.note(Happened::Crashed { process: life.number });
            self.crashed.notify_one();
        }
    }

    /// Ends a process that learnt that it is no node any more.
    pub fn expel(&self, life: &Life) {
        if life.end() {
            self.disk.crash(life.incarnation);
            self.note(Happened::Expelled { process: life.number });
        }
    }

    /// From now on the process does nothing and learns nothing.
    pub fn stand_still(&self, life: &Life) {
        // An error means that it stands still already.
        let _ = life.still_since_ms.compare_exchange(
            Life::MOVES,
            self.now_ms(),
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }

    /// It goes on where it was, if it stood still.
    pub fn go_on(&self, life: &Life) {
        let since_ms = life.still_since_ms.swap(Life::MOVES, Ordering::Relaxed);
        if since_ms != Life::MOVES && !life.is_over() {
            self.note(Happened::Stood { process: life.number, ms: self.now_ms() - since_ms });
        }
        life.thawed.notify_waiters();
    }
}

/// The life of one process, as those outside see it.
pub struct Life {
    /// Which process, from 1.
    pub number: u32,
    /// Where it runs.
    pub node: usize,
    /// The process's number at the disk.
    pub incarnation: usize,
    /// Since when it stands still, or [`Life::MOVES`].
    still_since_ms: AtomicU64,
    thawed: Notify,
    over: AtomicBool,
    // No `watch`: it wakes those who wait in a random order.
    bell: Notify,
    tasks: Mutex<Vec<AbortHandle>>,
}

impl Life {
    const MOVES: u64 = u64::MAX;

    /// A process begins.
    pub fn begin(number: u32, node: usize, incarnation: usize) -> Arc<Self> {
        Arc::new(Self {
            number,
            node,
            incarnation,
            still_since_ms: AtomicU64::new(Self::MOVES),
            thawed: Notify::new(),
            over: AtomicBool::new(false),
            bell: Notify::new(),
            tasks: Mutex::default(),
        })
    }

    /// Since when it stands still, if it does.
    pub fn still_since_ms(&self) -> Option<Ms> {
        Some(self.still_since_ms.load(Ordering::Relaxed)).filter(|since_ms| *since_ms != Self::MOVES)
    }

    /// Waits while it stands still: to be asked before everything by which it acts or learns.
    pub async fn moves(&self) {
        loop {
            let thawed = self.thawed.notified();
            if self.still_since_ms().is_none() {
                return;
            }
            thawed.await;
        }
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Waits until it is over.
    pub async fn ended(&self) {
        let bell = self.bell.notified();
        if !self.is_over() {
            bell.await;
        }
    }

    /// A task that ends with the process.
    pub fn owns(&self, task: AbortHandle) {
        self.tasks.lock().expect("nothing panics while it holds this").push(task);
    }

    /// Ends it; `false` if it was over before.
    pub fn end(&self) -> bool {
        let was_over = self.over.swap(true, Ordering::Relaxed);
        self.bell.notify_waiters();
        for task in self.tasks.lock().expect("nothing panics while it holds this").drain(..) {
            task.abort();
        }
        !was_over
    }
}

/// The clock and the randomness of one process.
pub struct Simulated {
    stage: Arc<Stage>,
    life: Arc<Life>,
    random: Mutex<Random>,
}

impl Simulated {
    /// For this process.
    pub fn new(stage: &Arc<Stage>, life: &Arc<Life>) -> Self {
        let random = Random::of(stage.plan.seed, &[99, u64::from(life.number)]);
        Self { stage: Arc::clone(stage), life: Arc::clone(life), random: Mutex::new(random) }
    }
}

impl Nature for Simulated {
    fn wall_ms(&self) -> i64 {
        self.stage.wall_ms()
    }

    fn boot_ms(&self) -> i64 {
        // What it does while it stands still it did in the last moment before, as far as it can know.
        self.life.still_since_ms().unwrap_or_else(|| self.stage.now_ms()) as i64
    }

    fn fill(&self, octets: &mut [u8]) {
        let mut random = self.random.lock().expect("nothing panics while it holds this");
        for chunk in octets.chunks_mut(8) {
            let bits = random.bits().to_le_bytes();
            chunk.copy_from_slice(&bits[..chunk.len()]);
        }
    }
}

impl std::fmt::Debug for Simulated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Simulated")
    }
}
