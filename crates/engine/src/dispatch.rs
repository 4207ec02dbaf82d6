//! One lane a connection: due messages → carrier → what happened → store.
//!
//! A message comes to a lane in one of two ways: handed over in memory by *intake*, already claimed in the commit
//! that accepted it, because the window had room; or claimed here from the queue. Either way the intent to submit is
//! committed before the carrier is touched, and the suppression list is read once more just before.
//!
//! What the carrier says is committed in batches, and only then acknowledged to it.

use crate::intake::{self, Zones};
use crate::supervise::supervise;
use crate::{Inner, inbound};
use arc_swap::ArcSwap;
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use tidings_carriers::{Acknowledge, CarrierEvent, LinkState, Permit, Submission, Tag, Window};
use tidings_domain::account::Environment;
use tidings_domain::consent::{Channel, Lack};
use tidings_domain::failure::{Failure, FailureClass};
use tidings_domain::frequency::{Bound, Other, Turn};
use tidings_domain::gate::{self, Decision, Facts};
use tidings_domain::id::{ConnectionId, MessageId};
use tidings_domain::message::{self, Answer, Input, Message};
use tidings_domain::pacing::Pace;
use tidings_domain::poison;
use tidings_domain::purpose::Purpose;
use tidings_domain::queue::Queue;
use tidings_domain::quota::{Count, Daily, Full};
use tidings_domain::receipt::our_reference;
use tidings_domain::suppression;
use tidings_domain::text::{self, Concatenation};
use tidings_domain::time::Timestamp;
use tidings_store::{Arrival, AskedQuota, AskedTurn, Claimed, Happening, Ticket};
use tokio::sync::{Notify, mpsc, watch};

/// Tickets that may be between intake and their lane. The window bounds them more tightly.
pub(crate) const HANDED_OVER_MAX: usize = 16_384;
/// Tickets that one step takes: enough to share a look at the suppression list, few enough to start soon.
const STEP_MAX: usize = 256;
/// Events of a carrier in one commit.
const EVENTS_MAX: usize = 512;
/// Opt-outs that wait to be acknowledged, beside those that are being settled.
const HELD_MAX: usize = 4_096;
/// The longest sleep of a lane: the safety net for a lost wake-up, not the mechanism.
const LONGEST_SLEEP_MS: i64 = 5_000;
/// How often a connection's log lines about what nobody can read may come: a carrier that sends nothing else must not
/// fill the disk with them. The metric counts each.
const UNREADABLE_EVERY_MS: u64 = 1_000;
/// How long a link has to be down until senders of pools go around it: ms. A carrier that closes a session to restart, or that
/// is reached again at the first tries, moves nobody to another sender.
const DOWN_MS: u64 = 30_000;
/// How long to wait before trying a store again that does not answer.
const STORE_PAUSE_MS: u64 = 250;

/// A connection's lane, as the rest of the engine sees it.
#[derive(Debug)]
pub struct Lane {
    /// The connection.
    pub id: ConnectionId,
    /// Its name in the configuration.
    pub name: String,
    /// Its environment.
    pub environment: Environment,
    /// What kind of carrier it is.
    pub kind: &'static str,
    /// The window of its link.
    pub window: Arc<Window>,
    /// How its link is.
    pub state: watch::Receiver<LinkState>,
    pace: Mutex<Pace>,
    paused: AtomicBool,
    stop_link: watch::Sender<bool>,
    handed_over: mpsc::Sender<(Ticket, Permit)>,
    /// The queue of the connection.
    own: Arc<Line>,
    /// The queues beside it, of senders that have a pace.
    beside: ArcSwap<BTreeMap<Queue, Arc<Line>>>,
    wake: Notify,
    closing: AtomicBool,
    ended: AtomicBool,
    submitted_at: Mutex<HashMap<Tag, crate::clock::Stopwatch>>,
    /// What was taken of the day of its sender for what is on its way, where there is a limit: given back if it certainly did
    /// not go.
    counted: Mutex<HashMap<Tag, Taken>>,
    unreadable: Mutex<Unreadable>,
    /// Since when the link is not up, as far as that was noted.
    down: Mutex<Option<crate::clock::Stopwatch>>,
}

/// One of the queues of a lane.
#[derive(Debug)]
struct Line {
    queue: Queue,
    /// When something in it is due: milliseconds, `i64::MAX` for never.
    next_due: AtomicI64,
    /// From when on nothing goes past what waits in it, for there was no room, or it came through here. What another node put
    /// there a moment ago stands in no order with what comes here meanwhile.
    closed_from: AtomicI64,
    /// That of its sender, if this is the queue of one. `None` too for one that has no pace any more, or has it on another
    /// node only: what waits there goes as what waits for the connection.
    pace: Option<Mutex<Pace>>,
}

impl Line {
    /// A queue, to be looked at soon.
    fn new(queue: Queue, pace_per_s: Option<f64>, now: Timestamp) -> Arc<Self> {
        let pace = pace_per_s.map(|per_s| Mutex::new(Pace::new(Some(per_s), now)));
        Arc::new(Self { queue, next_due: AtomicI64::new(0), closed_from: AtomicI64::new(0), pace })
    }

    /// Something in it is due then, and goes before what comes later.
    fn is_due(&self, at: Timestamp) {
        self.close(at);
        self.is_heard(at);
    }

    /// Another node has put something there that is due then.
    fn is_heard(&self, at: Timestamp) {
        self.next_due.fetch_min(at.as_millis(), Ordering::AcqRel);
    }

    /// Nothing goes past it from then on, until a claim has taken what is due.
    fn close(&self, at: Timestamp) {
        self.closed_from.fetch_min(at.as_millis(), Ordering::AcqRel);
    }

    /// A claim begins. What is queued from here on must be seen: by the claim, or by this being lowered again.
    fn is_claimed(&self) {
        self.next_due.store(i64::MAX, Ordering::Release);
        self.closed_from.store(i64::MAX, Ordering::Release);
    }

    /// How long until something in it is due.
    fn due_in_ms(&self, now: Timestamp) -> i64 {
        self.next_due.load(Ordering::Acquire).saturating_sub(now.as_millis()).max(0)
    }

    /// Whether what waits in it goes before what comes.
    fn is_closed(&self, now: Timestamp) -> bool {
        self.closed_from.load(Ordering::Acquire) <= now.as_millis()
    }

    fn pace(&self) -> Option<MutexGuard<'_, Pace>> {
        self.pace.as_ref().map(|pace| pace.lock().expect("nothing panics while it holds this"))
    }
}

/// What the log is still to say about what nobody could read.
#[derive(Debug, Default)]
struct Unreadable {
    said: Option<crate::clock::Stopwatch>,
    unsaid: u64,
}

impl Unreadable {
    /// How many to speak of now, this one with them; `None` if the log was told a moment ago.
    fn one_more(&mut self, clock: &crate::clock::Clock) -> Option<u64> {
        self.unsaid += 1;
        if self.said.as_ref().is_some_and(|said| said.elapsed_ms() < UNREADABLE_EVERY_MS) {
            return None;
        }
        self.said = Some(clock.stopwatch());
        Some(std::mem::take(&mut self.unsaid))
    }
}

impl Lane {
    /// Places for a message of this queue that could go out at once, if nothing that is due waits before it. What other nodes
    /// have just put there is claimed next, and waits for no room; that it goes first would send everything through the queue.
    pub fn reserve(&self, queue: Queue, segments: usize, now: Timestamp) -> Option<Permit> {
        if queue == self.own.queue {
            return self.reserve_in(&self.own, segments, now);
        }
        self.reserve_in(self.beside.load().get(&queue)?, segments, now)
    }

    fn reserve_in(&self, line: &Line, segments: usize, now: Timestamp) -> Option<Permit> {
        if line.is_closed(now) {
            return None;
        }
        let mut pace = self.pace.lock().expect("nothing panics while it holds this");
        let mut of_sender = line.pace();
        let allows = |pace: &mut MutexGuard<'_, Pace>| pace.allowed(now) >= segments;
        if self.is_paused() || !allows(&mut pace) || !of_sender.as_mut().is_none_or(allows) {
            return None;
        }
        let permit = self.window.take(segments)?;
        pace.take(segments);
        if let Some(mut pace) = of_sender {
            pace.take(segments);
        }
        Some(permit)
    }

    /// Hands over a message that its acceptance has claimed. Gives it back if the lane has stopped; its place is to be
    /// kept until that is recorded.
    pub fn hand_over(&self, ticket: Ticket, permit: Permit) -> Result<(), Box<(Ticket, Permit)>> {
        self.handed_over.try_send((ticket, permit)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(back) | mpsc::error::TrySendError::Closed(back) => Box::new(back),
        })
    }

    /// Something was put into this queue, due then.
    pub fn queued(&self, queue: Queue, due_at: Timestamp) {
        self.line(queue, due_at).is_due(due_at);
        self.wake.notify_one();
    }

    /// Another node put something into this queue, due then.
    pub fn heard(&self, queue: Queue, due_at: Timestamp) {
        self.line(queue, due_at).is_heard(due_at);
        self.wake.notify_one();
    }

    /// Anything may have been put into any queue.
    pub fn look_again(&self) {
        let beside = self.beside.load();
        for line in beside.values().chain([&self.own]) {
            line.is_due(Timestamp::from_millis(0));
        }
        self.wake.notify_one();
    }

    /// This queue; one that is new has no pace.
    fn line(&self, queue: Queue, now: Timestamp) -> Arc<Line> {
        if queue == self.own.queue {
            return Arc::clone(&self.own);
        }
        if let Some(line) = self.beside.load().get(&queue) {
            return Arc::clone(line);
        }
        self.beside.rcu(|beside| {
            let mut beside = BTreeMap::clone(beside);
            beside.entry(queue).or_insert_with(|| Line::new(queue, None, now));
            beside
        });
        Arc::clone(&self.beside.load()[&queue])
    }

    /// Stops or starts taking messages. What is out is waited for either way. Once it is stopped, no more places are
    /// taken in its window. One that closes stays stopped.
    pub fn pause(&self, paused: bool) {
        let paused = {
            // Places are taken under this lock, so nobody is between the look at the pause and the taking.
            let _pace = self.pace.lock().expect("nothing panics while it holds this");
            let paused = paused || self.closing.load(Ordering::Acquire);
            self.paused.store(paused, Ordering::Release);
            paused
        };
        if !paused {
            self.look_again();
        }
    }

    /// Whether it is stopped by a person or a hold.
    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    /// Whether its link can be used.
    pub(crate) fn is_up(&self) -> bool {
        matches!(*self.state.borrow(), LinkState::Up { .. })
    }

    /// Notes since when the link is down, if it is. To be called every second or so.
    pub(crate) fn note_link(&self, clock: &crate::clock::Clock) {
        let mut down = self.down.lock().expect("nothing panics while it holds this");
        *down = if self.is_up() { None } else { Some(down.unwrap_or_else(|| clock.stopwatch())) };
    }

    /// Whether the link has been down for [`DOWN_MS`], and still is.
    pub(crate) fn is_down(&self) -> bool {
        let down = *self.down.lock().expect("nothing panics while it holds this");
        down.is_some_and(|since| since.elapsed_ms() >= DOWN_MS) && !self.is_up()
    }

    /// The pace in force: segments per second; `None` without limit.
    pub fn pace_per_s(&self) -> Option<f64> {
        let per_s = self.pace.lock().expect("nothing panics while it holds this").per_s();
        per_s.is_finite().then_some(per_s)
    }

    /// Asks the link to end in good order.
    pub fn stop_link(&self) {
        self.stop_link.send_replace(true);
    }

    /// Waits until the link has ended.
    pub(crate) async fn link_stopped(&self) {
        let mut state = self.state.clone();
        // A link that is gone has stopped too.
        drop(state.wait_for(|state| *state == LinkState::Stopped).await);
    }

    /// Takes no more messages, ever: the link is to end.
    pub(crate) fn set_closing(&self) {
        self.closing.store(true, Ordering::Release);
        self.pause(true);
    }

    /// Ends the loop that submits. What was handed over and did not leave goes back into the queue.
    pub(crate) fn end(&self) {
        self.set_closing();
        self.ended.store(true, Ordering::Release);
        self.wake.notify_one();
    }
}

/// Opens a lane over a link. Its loops are started by [`Loops::start`], once there is an engine for them.
pub(crate) fn open(
    engine: &Weak<Inner>,
    lane: LaneSettings,
    link: tidings_carriers::Link,
    now: Timestamp,
) -> (Arc<Lane>, Loops) {
    let (handed_over, tickets) = mpsc::channel(lane.handed_over_max);
    let of_senders = lane.paces.into_iter();
    let beside = of_senders.map(|(queue, per_s)| (queue, Line::new(queue, Some(per_s), now)));
    let lane = Arc::new(Lane {
        id: lane.id,
        name: lane.name,
        environment: lane.environment,
        kind: lane.kind,
        window: Arc::clone(&link.window),
        state: link.state,
        pace: Mutex::new(Pace::new(lane.pace_per_s, now)),
        paused: AtomicBool::new(true),
        stop_link: link.stop,
        handed_over,
        own: Line::new(Queue::of(lane.id), None, now),
        beside: ArcSwap::from_pointee(beside.collect()),
        wake: Notify::new(),
        closing: AtomicBool::new(false),
        ended: AtomicBool::new(false),
        submitted_at: Mutex::default(),
        counted: Mutex::default(),
        unreadable: Mutex::default(),
        down: Mutex::default(),
    });
    let submit = Submit {
        engine: engine.clone(),
        lane: Arc::clone(&lane),
        tickets,
        link: link.submissions,
        looked_at: None,
        claiming: None,
        last: None,
    };
    let loops = Loops { submit, hear: (engine.clone(), Arc::clone(&lane), link.events) };
    (lane, loops)
}

/// The two loops of a lane: one that submits, one that hears.
pub(crate) struct Loops {
    submit: Submit,
    hear: (Weak<Inner>, Arc<Lane>, mpsc::Receiver<CarrierEvent>),
}

impl Loops {
    /// Starts them.
    pub fn start(self, tasks: &mut tokio::task::JoinSet<()>) {
        tasks.spawn(supervise("submit", self.submit, |submit| Box::pin(submit.run())));
        tasks.spawn(supervise("hear", self.hear, |(engine, lane, events)| {
            Box::pin(hear(engine, lane, events))
        }));
    }
}

/// What a lane is made of besides its link.
pub(crate) struct LaneSettings {
    pub id: ConnectionId,
    pub name: String,
    pub environment: Environment,
    pub kind: &'static str,
    pub pace_per_s: Option<f64>,
    /// Those of senders, by their queues.
    pub paces: BTreeMap<Queue, f64>,
    pub handed_over_max: usize,
}

/// The loop that submits.
struct Submit {
    engine: Weak<Inner>,
    lane: Arc<Lane>,
    tickets: mpsc::Receiver<(Ticket, Permit)>,
    link: mpsc::Sender<Submission>,
    /// When the store was last asked in which queues anything waits.
    looked_at: Option<Timestamp>,
    /// The claim that is on its way: kept here, so that its tickets are not lost if this loop crashes meanwhile.
    claiming: Option<Claiming>,
    /// The queue that was claimed from last: the others come before it.
    last: Option<Queue>,
}

/// A claim on its way.
struct Claiming {
    line: Arc<Line>,
    permit: Permit,
    /// Nobody else waits for it: never locked.
    done: Mutex<Pin<Box<dyn Future<Output = tidings_store::Result<Claimed>> + Send>>>,
}

impl Claiming {
    /// Waits for it; for ever if there is none.
    async fn done(claiming: &mut Option<Self>) -> (Self, tidings_store::Result<Claimed>) {
        match claiming {
            Some(on_its_way) => {
                let done = on_its_way.done.get_mut().expect("it is never locked");
                let claimed = done.as_mut().await;
                (claiming.take().expect("it was there a moment ago"), claimed)
            }
            None => std::future::pending().await,
        }
    }
}

impl Submit {
    async fn run(&mut self) {
        let lane = Arc::clone(&self.lane);
        let mut handed = Vec::with_capacity(STEP_MAX);
        loop {
            // Listen before looking, so that nothing that happens in between is missed.
            let (woken, room) = (lane.wake.notified(), lane.window.changed());
            let Some(engine) = self.engine.upgrade() else { return };
            if lane.ended.load(Ordering::Acquire) {
                return self.put_back_all(&engine).await;
            }
            let now = engine.clock.now();
            let wait = if engine.stopping() || self.claiming.is_some() {
                Wait::For(LONGEST_SLEEP_MS)
            } else {
                self.claim(&engine, now).await
            };
            drop(engine);
            let sleep_ms = match wait {
                Wait::For(ms) => ms.clamp(1, LONGEST_SLEEP_MS) as u64,
                Wait::ForRoom => LONGEST_SLEEP_MS as u64,
            };
            let for_room = matches!(wait, Wait::ForRoom);
            tokio::select! {
                biased;
                // What was handed over goes out while it is on its way.
                (Claiming { line, permit, .. }, claimed) = Claiming::done(&mut self.claiming) => {
                    let Some(engine) = self.engine.upgrade() else { return };
                    self.claimed(&engine, &line, permit, claimed).await;
                }
                n = self.tickets.recv_many(&mut handed, STEP_MAX) => {
                    let Some(engine) = self.engine.upgrade() else { return };
                    if n == 0 {
                        return;
                    }
                    let step = std::mem::take(&mut handed);
                    self.submit(&engine, step).await;
                }
                () = tokio::time::sleep(std::time::Duration::from_millis(sleep_ms)) => {}
                () = woken => {}
                () = room, if for_room => {}
            }
        }
    }

    /// The lane has ended: nobody submits what is still here.
    async fn put_back_all(&mut self, engine: &Arc<Inner>) {
        if self.claiming.is_some() {
            let (Claiming { permit, .. }, claimed) = Claiming::done(&mut self.claiming).await;
            match claimed {
                Ok(claimed) => {
                    engine.happened(claimed.advanced).await;
                    engine.advance(claimed.tickets.iter().flat_map(unsent).collect()).await;
                }
                Err(error) => crate::warn(&error, "the store gives no messages"),
            }
            drop(permit);
        }
        self.tickets.close();
        while let Some((ticket, permit)) = self.tickets.recv().await {
            engine.advance(unsent(&ticket)).await;
            drop(permit);
        }
    }

    /// Begins to take from a queue what is due and fits, if there is one.
    async fn claim(&mut self, engine: &Arc<Inner>, now: Timestamp) -> Wait {
        // A commit whose answer was lost woke nobody, and what an earlier process left in the queue of a sender that has no
        // pace any more is in a queue that is not known here.
        if self.looked_at.is_none_or(|at| now.since_ms(at) >= LONGEST_SLEEP_MS) {
            self.looked_at = Some(now);
            self.look(engine, now).await;
        }
        // Those of senders, whose paces bound what they take of that of the connection, and its own, in turn.
        let beside = self.lane.beside.load_full();
        let mut lines: Vec<&Arc<Line>> = beside.values().chain([&self.lane.own]).collect();
        let last = lines.iter().position(|line| Some(line.queue) == self.last);
        lines.rotate_left(last.map_or(0, |last| last + 1));
        let mut shortest_ms = LONGEST_SLEEP_MS;
        for line in lines {
            match begin_claim(&self.lane, line, engine, now) {
                Ok(begun) => {
                    self.last = Some(line.queue);
                    self.claiming = Some(begun);
                    return Wait::For(LONGEST_SLEEP_MS);
                }
                Err(Wait::For(ms)) => shortest_ms = shortest_ms.min(ms),
                Err(Wait::ForRoom) => {
                    let all = beside.values().chain([&self.lane.own]);
                    all.filter(|line| line.due_in_ms(now) == 0).for_each(|line| line.close(now));
                    return Wait::ForRoom;
                }
            }
        }
        Wait::For(shortest_ms)
    }

    /// Submits what was claimed.
    async fn claimed(
        &self,
        engine: &Arc<Inner>,
        line: &Line,
        mut permit: Permit,
        claimed: tidings_store::Result<Claimed>,
    ) {
        let (lane, now) = (&self.lane, engine.clock.now());
        let claimed = match claimed {
            Ok(claimed) => claimed,
            Err(error) => {
                drop(permit);
                crate::warn(&error, "the store gives no messages; trying again");
                line.is_due(Timestamp::from_millis(0));
                tokio::time::sleep(std::time::Duration::from_millis(STORE_PAUSE_MS)).await;
                return;
            }
        };
        let step: Vec<(Ticket, Permit)> = claimed
            .tickets
            .into_iter()
            .map(|ticket| {
                let wanted = ticket.segments.len();
                let places = permit.split(wanted).unwrap_or_else(|| lane.window.take_anyway(wanted));
                (ticket, places)
            })
            .collect();
        drop(permit);
        engine.happened(claimed.advanced).await;
        // Whose sender got a pace since it came into the queue of the connection.
        let is_here = |(ticket, _): &(Ticket, Permit)| {
            line.queue != lane.own.queue || engine.paces.queue_of(&ticket.message) == line.queue
        };
        let (step, elsewhere): (Vec<_>, Vec<_>) = step.into_iter().partition(is_here);
        let taken: usize = step.iter().map(|(ticket, _)| ticket.segments.len()).sum();
        lane.pace.lock().expect("nothing panics while it holds this").take(taken);
        if let Some(mut pace) = line.pace() {
            pace.take(taken);
        }
        if !elsewhere.is_empty() {
            engine.advance(elsewhere.iter().flat_map(|(ticket, _)| unsent(ticket)).collect()).await;
        }
        drop(elsewhere);
        if !step.is_empty() {
            self.submit(engine, step).await;
        }
        if claimed.more {
            line.is_due(Timestamp::from_millis(0));
        } else {
            self.ask(line, engine, now).await;
        }
    }

    /// Asks the store in which queues anything waits, and what is due next there.
    async fn look(&self, engine: &Inner, now: Timestamp) {
        let queues = match engine.store.queues(self.lane.id).await {
            Ok(queues) => queues,
            Err(error) => return crate::warn(&error, "it cannot be read where messages wait"),
        };
        for line in
            queues.into_iter().map(|queue| self.lane.line(queue, now)).chain([Arc::clone(&self.lane.own)])
        {
            self.ask(&line, engine, now).await;
        }
    }

    /// Asks the store what is due next in a queue.
    async fn ask(&self, line: &Line, engine: &Inner, now: Timestamp) {
        match engine.store.next_due(Some(line.queue), now).await {
            Ok(Some(at)) => line.is_due(at),
            Ok(None) => {}
            Err(_) => line.is_due(now.plus_ms(STORE_PAUSE_MS as i64)),
        }
    }

    /// The gate is asked once more, with the list as it is now, then out.
    async fn submit(&self, engine: &Arc<Inner>, step: Vec<(Ticket, Permit)>) {
        let recipients =
            step.iter().map(|(ticket, _)| (ticket.message.realm(), ticket.message.recipient)).collect();
        // A list or a ledger that cannot be read means wait, never allow.
        let looked = async {
            let suppressed = engine.store.suppressed(recipients, engine.clock.now());
            let (lacks, zones) = (self.lacks(engine, &step), zones(engine, &step));
            let (standings, lacks, zones) = tokio::try_join!(suppressed, lacks, zones)?;
            let listed = step.iter().zip(standings);
            let suppressed: Vec<_> = listed
                .map(|((ticket, _), standing)| standing.against(ticket.message.programme.as_ref()))
                .collect();
            let known = Known { lacks, zones };
            let mut counted = self.counted(engine, &step, &suppressed, &known);
            let full = self.take_turns(engine, &step, &mut counted).await?;
            let quotas = self.take_quotas(engine, &step, &counted, &full).await?;
            Ok::<_, tidings_store::Error>((suppressed, known, full, quotas))
        };
        let (suppressed, known, full, mut quotas) = match looked.await {
            Ok(looked) => looked,
            Err(error) => {
                tracing::warn!(connection = self.lane.name, %error, "it cannot be read who may be sent to; putting messages back");
                let back = step.iter().flat_map(|(ticket, _)| unsent(ticket)).collect();
                engine.advance(back).await;
                tokio::time::sleep(std::time::Duration::from_millis(STORE_PAUSE_MS)).await;
                return;
            }
        };
        let mut stopped = Vec::new();
        // What does not go is claimed until that is committed, and keeps its places so long: see [`Heard::commit`].
        let mut permits = Vec::new();
        // What was taken of the days of senders for what does not go.
        let mut returned = Vec::new();
        for ((ticket, permit), listed) in step.into_iter().zip(suppressed) {
            // The list or the link may have been slow: what is too late now does not go.
            let now = engine.clock.now();
            let over = now >= ticket.message.expires_at;
            let facts = known.facts(&ticket.message, &engine.settings.gate, listed.as_ref());
            let taken = quotas.taken.remove(&ticket.message.id).map(|count| (count, segments_of(&ticket)));
            let facts = facts.full(quotas.full.get(&ticket.message.id).copied());
            let others = full.get(&ticket.message.id).map(Vec::as_slice);
            // Counting may have been slow, too: what is counted for a day that is over is counted anew.
            let stale = taken.as_ref().is_some_and(|(count, _)| is_over(engine, count, &ticket.message, now));
            let input = match gate::ask(&facts.others(others.unwrap_or_default()), now).decision() {
                Decision::Refuse(reason) => Input::Stopped(reason.failure()),
                Decision::Hold(_) | Decision::Send if over || stale => {
                    returned.extend(taken);
                    stopped.extend(unsent(&ticket));
                    permits.push(permit);
                    continue;
                }
                // Its turn came between the two looks: it asks for it anew.
                Decision::Send if others.is_some() => {
                    stopped.extend(unsent(&ticket));
                    permits.push(permit);
                    continue;
                }
                // It comes up outside of its time: after an outage, from a slow queue, under a policy that is new.
                Decision::Hold(hold) => Input::Held { attempt: ticket.attempt, hold },
                Decision::Send => {
                    let (back, places) =
                        self.hand_to_link(engine, ticket, permit, taken, &mut returned, now).await;
                    stopped.extend(back);
                    permits.extend(places);
                    continue;
                }
            };
            returned.extend(taken);
            stopped.push(Happening::To { message: ticket.message.id, input });
            permits.push(permit);
        }
        give_back(engine, returned).await;
        if !stopped.is_empty() {
            engine.advance(stopped).await;
        }
        drop(permits);
    }

    /// What is missing of the consent of those recipients whose messages need it.
    async fn lacks(
        &self,
        engine: &Inner,
        step: &[(Ticket, Permit)],
    ) -> tidings_store::Result<HashMap<MessageId, Lack>> {
        let policy = &engine.settings.gate.consent;
        let messages = step.iter().map(|(ticket, _)| &ticket.message);
        let concerned: Vec<_> = messages.filter(|message| policy.concerns(message.purpose)).collect();
        if concerned.is_empty() {
            return Ok(HashMap::new());
        }
        let people = concerned.iter().map(|message| (message.realm(), message.recipient)).collect();
        let said = engine.store.said(people).await?;
        let now = engine.clock.now();
        let programmes = &engine.settings.programmes;
        let lacks = concerned.into_iter().zip(said);
        Ok(lacks
            .filter_map(|(message, said)| {
                let scope = programmes.scope(message.programme.as_ref());
                Some((message.id, said.lacks(message.purpose, Channel::Text, scope, now)?))
            })
            .collect())
    }

    /// What of these messages is counted before they go: only of those that may go otherwise.
    fn counted<'e>(
        &self,
        engine: &'e Inner,
        step: &[(Ticket, Permit)],
        suppressed: &[Option<suppression::InForce>],
        known: &Known,
    ) -> Vec<Counted<'e>> {
        let policy = &engine.settings.gate;
        let now = engine.clock.now();
        let messages = step.iter().map(|(ticket, _)| &ticket.message).zip(suppressed);
        messages
            .map(|(message, listed)| {
                let bounds = match message.reply {
                    None => policy.bounds(message.purpose, message.recipient),
                    Some(_) => Vec::new(),
                };
                let daily = policy.senders.daily(&message.sender, message.recipient);
                let is_any = !bounds.is_empty() || daily.is_some();
                if is_any && may_go(policy, message, listed.as_ref(), known, now) {
                    Counted { bounds, daily }
                } else {
                    Counted::default()
                }
            })
            .collect()
    }

    /// Takes the turns of those messages that a cap concerns, with their bounds. Gives those that got none, with what is in their way.
    async fn take_turns(
        &self,
        engine: &Inner,
        step: &[(Ticket, Permit)],
        counted: &mut [Counted<'_>],
    ) -> tidings_store::Result<HashMap<MessageId, Vec<Other>>> {
        let now = engine.clock.now();
        let messages = step.iter().map(|(ticket, _)| &ticket.message).zip(counted);
        let capped = messages.filter(|(_, counted)| !counted.bounds.is_empty());
        let asked = capped.map(|(message, counted)| AskedTurn {
            realm: message.realm(),
            recipient: message.recipient,
            message: message.id,
            purpose: message.purpose,
            bounds: std::mem::take(&mut counted.bounds),
        });
        let asked: Vec<AskedTurn> = asked.collect();
        if asked.is_empty() {
            return Ok(HashMap::new());
        }
        let messages: Vec<MessageId> = asked.iter().map(|asked| asked.message).collect();
        let turns = engine.store.take_turns(asked, now).await?;
        let full = messages.into_iter().zip(turns).filter_map(|(message, turn)| match turn {
            Turn::Taken => None,
            Turn::Full(others) => Some((message, others)),
        });
        Ok(full.collect())
    }

    /// Takes the segments of those messages whose senders have a limit of the day. Gives those that do not fit. An answer to
    /// somebody who asked by text a moment ago counts, and goes.
    async fn take_quotas(
        &self,
        engine: &Inner,
        step: &[(Ticket, Permit)],
        counted: &[Counted<'_>],
        full: &HashMap<MessageId, Vec<Other>>,
    ) -> tidings_store::Result<Quotas> {
        let now = engine.clock.now();
        let mut asked = Vec::new();
        let mut whose = Vec::new();
        for ((ticket, _), counted) in step.iter().zip(counted) {
            let message = &ticket.message;
            let Some(daily) = counted.daily else { continue };
            if !full.contains_key(&message.id) {
                let limit = if message.reply.is_some() { u32::MAX } else { daily.segments };
                let count = Count::of(daily, message.environment, now);
                whose.push((ticket, daily, count.clone()));
                asked.push(AskedQuota { count, segments: segments_of(ticket), limit });
            }
        }
        let mut quotas = Quotas::default();
        if asked.is_empty() {
            return Ok(quotas);
        }
        let taken = engine.store.take_quotas(asked).await?;
        for ((ticket, daily, count), (used, is_taken)) in whose.into_iter().zip(taken) {
            if is_taken {
                quotas.taken.insert(ticket.message.id, count);
            } else if let Some(full) = Full::of(daily, used, segments_of(ticket), now) {
                quotas.full.insert(ticket.message.id, full);
            }
        }
        Ok(quotas)
    }

    /// Gives each segment to the link; gives back what must be recorded instead, with its places. What was taken of the day of its
    /// sender, and does not go, is added to what is returned.
    async fn hand_to_link(
        &self,
        engine: &Inner,
        ticket: Ticket,
        mut permit: Permit,
        taken: Option<Taken>,
        returned: &mut Vec<Taken>,
        now: Timestamp,
    ) -> (Vec<Happening>, Vec<Permit>) {
        let Ticket { message, attempt, segments } = ticket;
        // The reference stays the same over all attempts: a phone that has one part joins it with the rest.
        let reference = our_reference(message.id, 0);
        let Ok(text) = engine.text_of(&message) else {
            let failure = Failure::new(
                FailureClass::UnknownError,
                false,
                "tidings code_key",
                "its code was made under another key: give every node the same key_file in [codes]",
            );
            let stopped = Happening::To { message: message.id, input: Input::Stopped(failure) };
            returned.extend(taken);
            return (vec![stopped], vec![permit]);
        };
        let divide = || {
            poison::taste("split", || message.reference.as_deref());
            text.as_deref().map(|text| text::split(text, &message.options, reference))
        };
        let Ok(parts) = engine.guard.contain(message.id.into(), divide) else {
            let mut back = unsent_segments(message.id, attempt, &segments);
            back.push(Happening::To {
                message: message.id,
                input: Input::Quarantined(message::poison("dividing")),
            });
            returned.extend(taken);
            return (back, vec![permit]);
        };
        let Some(Ok(parts)) = parts else {
            let failure = Failure::new(
                FailureClass::UnknownError,
                false,
                "tidings no_text",
                "its text was removed before it was sent, or cannot be divided any more",
            );
            let stopped = Happening::To { message: message.id, input: Input::Stopped(failure) };
            returned.extend(taken);
            return (vec![stopped], vec![permit]);
        };
        let senders = &engine.settings.gate.senders;
        let dlt = text.as_deref().and_then(|text| senders.dlt(&message.sender, message.recipient, text));
        let validity_s = u32::try_from(message.expires_at.since_ms(now) / 1000).unwrap_or(u32::MAX).max(1);
        let waits_s = waits_s(&engine.settings.gate, message.purpose, taken.is_some(), validity_s);
        let (mut back, mut permits) = (Vec::new(), Vec::new());
        let of_one = taken.map(|(count, _)| (count, weight(&message)));
        for n in segments {
            let tag = Tag { message: message.id, attempt, segment: n };
            let not_sent = Happening::To {
                message: message.id,
                input: Input::Answered { attempt, segment: n, answer: Answer::Unsent },
            };
            let Some(segment) = parts.get(usize::from(n)).cloned() else {
                back.push(not_sent);
                returned.extend(of_one.clone());
                continue;
            };
            let submission = Submission {
                tag,
                sender: message.sender,
                recipient: message.recipient,
                encoding: message.encoding,
                segment,
                purpose: message.purpose,
                validity_s,
                waits_s,
                since: engine.clock.stopwatch().since(),
                our_reference: our_reference(message.id, n),
                dlt: dlt.clone(),
                permit: permit.split_one().unwrap_or_else(|| self.lane.window.take_anyway(1)),
            };
            self.lane
                .submitted_at
                .lock()
                .expect("nothing panics while it holds this")
                .insert(tag, engine.clock.stopwatch());
            if let Some(of_one) = &of_one {
                let mut counted = self.lane.counted.lock().expect("nothing panics while it holds this");
                counted.insert(tag, of_one.clone());
            }
            if let Err(mpsc::error::SendError(submission)) = self.link.send(submission).await {
                back.push(not_sent);
                permits.push(submission.permit);
                let mut counted = self.lane.counted.lock().expect("nothing panics while it holds this");
                returned.extend(counted.remove(&tag));
            }
        }
        permits.push(permit);
        (back, permits)
    }
}

/// What was looked up besides the list for messages that want to go, where a rule concerns them.
struct Known {
    /// What is missing of the consent of their recipients.
    lacks: HashMap<MessageId, Lack>,
    /// The time zones that are stated for their recipients.
    zones: Zones,
}

impl Known {
    fn facts<'a>(
        &self,
        message: &'a Message,
        policy: &'a gate::Policy,
        listed: Option<&'a suppression::InForce>,
    ) -> Facts<'a> {
        let lack = self.lacks.get(&message.id).copied();
        let zone = self.zones.get(&(message.realm(), message.recipient)).copied();
        Facts::of(message, policy).suppressed(listed).consent(lack).zone(zone)
    }
}

/// The time zones that are stated for those recipients whose clock matters.
async fn zones(engine: &Inner, step: &[(Ticket, Permit)]) -> tidings_store::Result<Zones> {
    let policy = &engine.settings.gate.quiet_hours;
    let messages = step.iter().map(|(ticket, _)| &ticket.message);
    let concerned = messages
        .filter(|message| message.reply.is_none() && policy.asks_clock(message.purpose, message.recipient));
    intake::zones(&*engine.store, concerned.map(|message| (message.realm(), message.recipient)).collect())
        .await
}

/// Whether nothing is against a message but what is counted for it in a commit of its own.
fn may_go(
    policy: &gate::Policy,
    message: &Message,
    listed: Option<&suppression::InForce>,
    known: &Known,
    now: Timestamp,
) -> bool {
    let facts = known.facts(message, policy, listed);
    now < message.expires_at && gate::ask(&facts, now).decision() == Decision::Send
}

/// How long a submission may wait for its link before it is asked again whether it may go: seconds. While it waits, the time in
/// which its recipient may be disturbed may end, and so may the day of its sender in which it is counted, and it would go at
/// another moment than its turn is counted for. What nothing of this concerns may wait for as long as it is worth.
fn waits_s(gate: &gate::Policy, purpose: Purpose, is_of_a_day: bool, validity_s: u32) -> u32 {
    let may_end = is_of_a_day || gate.quiet_hours.concerns(purpose) || gate.frequency.concerns(purpose);
    if may_end { 1 } else { validity_s }
}

/// Whether the day for which a message was counted is over at this moment.
fn is_over(engine: &Inner, count: &Count, message: &Message, now: Timestamp) -> bool {
    let daily = engine.settings.gate.senders.daily(&message.sender, message.recipient);
    daily.is_some_and(|daily| daily.day(now).begins_at != count.day)
}

/// Gives back what was taken of the days of senders for what certainly did not go. If that fails, less is sent than might be.
async fn give_back(engine: &Inner, returned: Vec<Taken>) {
    if !returned.is_empty()
        && let Err(error) = engine.store.return_quotas(returned).await
    {
        crate::warn(&error, "what did not go stays counted of the day of its sender");
    }
}

/// Segments that were taken of the day of a sender, and where they are counted.
type Taken = (Count, u32);

/// What is counted of a message before it goes; nothing of one that may not go otherwise.
#[derive(Default)]
struct Counted<'e> {
    /// How often its recipient may be sent to.
    bounds: Vec<Bound>,
    /// The limit of the day of its sender.
    daily: Option<&'e Daily>,
}

/// What became of the segments that messages wanted of the days of their senders.
#[derive(Default)]
struct Quotas {
    /// What is in the way of those that do not fit.
    full: HashMap<MessageId, Full>,
    /// Where those are counted that go.
    taken: HashMap<MessageId, Count>,
}

/// The segments as which one submission of a message counts: with `message_payload` the carrier cuts the text.
fn weight(message: &Message) -> u32 {
    if message.options.concatenation == Concatenation::Payload { u32::from(message.segments) } else { 1 }
}

fn segments_of(ticket: &Ticket) -> u32 {
    ticket.segments.len() as u32 * weight(&ticket.message)
}

/// Begins to take from a queue what is due and fits; or says what has to be waited for.
fn begin_claim(lane: &Lane, line: &Arc<Line>, engine: &Arc<Inner>, now: Timestamp) -> Result<Claiming, Wait> {
    if !engine.seat.lease.holds() {
        return Err(Wait::For(LONGEST_SLEEP_MS));
    }
    let permit = room_for(lane, line, now)?;
    line.is_claimed();
    let (engine, queue, room) = (Arc::clone(engine), line.queue, permit.segments());
    let done = async move { engine.store.claim(queue, room, now).await };
    Ok(Claiming { line: Arc::clone(line), permit, done: Mutex::new(Box::pin(done)) })
}

/// Places for what is due in a queue.
fn room_for(lane: &Lane, line: &Line, now: Timestamp) -> Result<Permit, Wait> {
    let due_in_ms = line.due_in_ms(now);
    if due_in_ms > 0 {
        return Err(Wait::For(due_in_ms));
    }
    let mut pace = lane.pace.lock().expect("nothing panics while it holds this");
    if lane.is_paused() {
        return Err(Wait::For(LONGEST_SLEEP_MS));
    }
    let (mut allowed, mut next_at) = (pace.allowed(now), pace.next_at(now));
    if let Some(mut pace) = line.pace() {
        allowed = allowed.min(pace.allowed(now));
        next_at = next_at.max(pace.next_at(now));
    }
    // Of what was only heard of nobody knows how much it is: it leaves places to what comes here.
    let most = if line.is_closed(now) { STEP_MAX } else { lane.window.free().div_ceil(2).clamp(1, STEP_MAX) };
    let wait = match lane.window.take_up_to(allowed.min(most)) {
        Some(permit) => return Ok(permit),
        None if allowed == 0 => Wait::For(next_at.since_ms(now).max(1)),
        None => Wait::ForRoom,
    };
    line.close(now);
    Err(wait)
}

/// What a lane waits for.
enum Wait {
    For(i64),
    ForRoom,
}

/// A ticket that did not leave goes back into the queue.
fn unsent(ticket: &Ticket) -> Vec<Happening> {
    unsent_segments(ticket.message.id, ticket.attempt, &ticket.segments)
}

fn unsent_segments(message: MessageId, attempt: u32, segments: &[u8]) -> Vec<Happening> {
    segments
        .iter()
        .map(|&segment| Happening::To {
            message,
            input: Input::Answered { attempt, segment, answer: Answer::Unsent },
        })
        .collect()
}

/// The loop that hears: answers, receipts and inbound messages are committed, then acknowledged.
async fn hear(engine: &Weak<Inner>, lane: &Arc<Lane>, events: &mut mpsc::Receiver<CarrierEvent>) {
    let mut batch = Vec::with_capacity(EVENTS_MAX);
    let mut held = Held::default();
    loop {
        tokio::select! {
            biased;
            () = held.settled() => {}
            n = events.recv_many(&mut batch, EVENTS_MAX) => {
                if n == 0 {
                    break;
                }
                let Some(engine) = engine.upgrade() else { return };
                let mut heard = Heard::default();
                for event in batch.drain(..) {
                    heard.take(&engine, lane, event);
                }
                held.add(heard.commit(&engine).await, &engine);
            }
        }
    }
    if !lane.closing.load(Ordering::Acquire) && engine.upgrade().is_some_and(|engine| !engine.stopping()) {
        tracing::error!(
            connection = lane.name,
            "its link ended by itself: nothing goes out on it until a restart"
        );
    }
}

/// Comes back, with the engine, when nothing is on its way that began before.
type Settling = Pin<Box<dyn Future<Output = Arc<Inner>> + Send>>;

/// Acknowledgements of opt-outs. They are given once nothing is on its way any more that began before the opt-out was
/// committed, as the API answers one only then. Answers are heard meanwhile: it is they that are waited for.
#[derive(Default)]
struct Held {
    /// For the next time.
    waiting: Vec<Acknowledge>,
    settling: Option<(Vec<Acknowledge>, Settling)>,
}

impl Held {
    /// Holds these. Of more than the bound nothing is acknowledged, and the carrier offers it again.
    fn add(&mut self, opt_outs: Vec<Acknowledge>, engine: &Arc<Inner>) {
        self.waiting.extend(opt_outs);
        self.waiting.truncate(HELD_MAX);
        self.begin(engine);
    }

    /// Begins to wait for those that came since.
    fn begin(&mut self, engine: &Arc<Inner>) {
        if self.settling.is_none() && !self.waiting.is_empty() {
            let engine = Arc::clone(engine);
            let nothing_is_on_its_way = async move {
                engine.nothing_is_on_its_way().await;
                engine
            };
            self.settling = Some((std::mem::take(&mut self.waiting), Box::pin(nothing_is_on_its_way)));
        }
    }

    /// Comes back when some were acknowledged. May be dropped and called again.
    async fn settled(&mut self) {
        let Some((_, nothing_is_on_its_way)) = &mut self.settling else {
            return std::future::pending().await;
        };
        let engine = nothing_is_on_its_way.await;
        let settled = self.settling.take();
        for acknowledge in settled.into_iter().flat_map(|(acknowledgements, _)| acknowledgements) {
            acknowledge.stored();
        }
        self.begin(&engine);
    }
}

#[derive(Default)]
struct Heard {
    happenings: Vec<Happening>,
    arrivals: Vec<Arrival>,
    acknowledgements: Vec<Acknowledge>,
    opt_outs: Vec<Acknowledge>,
    /// Of the arrivals, in their order, and whether it is an opt-out; `None` of a part of a message: what that asks is known once
    /// it is committed.
    of_arrivals: Vec<(Acknowledge, Option<bool>)>,
    permits: Vec<Permit>,
    /// Of the days of senders, for what certainly did not go.
    returned: Vec<Taken>,
}

impl Heard {
    fn take(&mut self, engine: &Inner, lane: &Lane, event: CarrierEvent) {
        match event {
            CarrierEvent::Answered { tag, answer, permit } => {
                self.permits.extend(permit);
                let started =
                    lane.submitted_at.lock().expect("nothing panics while it holds this").remove(&tag);
                let seconds = started.map(|stopwatch| stopwatch.elapsed_s());
                let counted = lane.counted.lock().expect("nothing panics while it holds this").remove(&tag);
                self.returned.extend(counted.filter(|_| answer == Answer::Unsent));
                // A full queue of one phone says nothing about the connection; see `carriers::codes`.
                let throttled = matches!(&answer, Answer::Refused(failure)
                    if failure.class == FailureClass::RateLimited && tidings_carriers::codes::slows_connection(failure));
                if matches!(answer, Answer::Accepted { .. } | Answer::Refused(_)) {
                    let observed = lane.window.size() as f64 / seconds.unwrap_or(1.0).max(0.001);
                    let mut pace = lane.pace.lock().expect("nothing panics while it holds this");
                    pace.answered(engine.clock.now(), throttled, observed);
                }
                let outcome = match &answer {
                    Answer::Accepted { .. } => "accepted",
                    Answer::Refused(failure) if failure.class == FailureClass::RateLimited => "throttled",
                    Answer::Refused(_) => "refused",
                    Answer::None => "none",
                    Answer::Unsent => "unsent",
                };
                engine.telemetry.answered(lane.id, outcome, seconds);
                let input = Input::Answered { attempt: tag.attempt, segment: tag.segment, answer };
                self.happenings.push(Happening::To { message: tag.message, input });
            }
            CarrierEvent::Receipt { receipt, acknowledge } => {
                let failure = receipt.outcome.as_ref().and_then(message::Outcome::failure);
                let is_opt_out = failure.is_some_and(|failure| failure.class == FailureClass::OptedOut);
                self.happenings.push(Happening::Receipt { connection: lane.id, receipt });
                self.acknowledge(acknowledge, is_opt_out);
            }
            CarrierEvent::Inbound { part, acknowledge } => {
                let arrival = inbound::arrival(engine, lane, part);
                let is_whole = arrival.place().is_none();
                self.of_arrivals.push((acknowledge, is_whole.then(|| inbound::is_opt_out(&arrival))));
                self.arrivals.push(arrival);
            }
            CarrierEvent::Malformed { reason } => {
                engine.telemetry.malformed(lane.id);
                let mut unreadable = lane.unreadable.lock().expect("nothing panics while it holds this");
                if let Some(times) = unreadable.one_more(&engine.clock) {
                    tracing::warn!(
                        connection = lane.name,
                        reason,
                        times,
                        "the carrier sent something unreadable"
                    );
                }
            }
        }
    }

    fn acknowledge(&mut self, acknowledge: Acknowledge, is_opt_out: bool) {
        if is_opt_out { self.opt_outs.push(acknowledge) } else { self.acknowledgements.push(acknowledge) }
    }

    /// Commits what was heard and acknowledges it, but the opt-outs: those are given back.
    async fn commit(mut self, engine: &Arc<Inner>) -> Vec<Acknowledge> {
        // Before it is in its queue again, where it would find its own segments taken.
        give_back(engine, self.returned).await;
        let stored = match engine.advance(self.happenings).await {
            true => Some(engine.receive(self.arrivals).await),
            false => None,
        };
        // Only now: what a crash leaves in doubt was claimed or answered and not committed, and that has a place in
        // the window until here.
        Permit::give_back(self.permits);
        // What is not stored is not acknowledged: the carrier keeps it and offers it again.
        let Some(stored) = stored else { return Vec::new() };
        for ((acknowledge, is_opt_out), opted_out) in self.of_arrivals.into_iter().zip(stored) {
            let Some(opted_out) = opted_out else { continue };
            let is_opt_out = is_opt_out.unwrap_or(opted_out);
            let all = if is_opt_out { &mut self.opt_outs } else { &mut self.acknowledgements };
            all.push(acknowledge);
        }
        for acknowledge in self.acknowledgements {
            acknowledge.stored();
        }
        self.opt_outs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_domain::frequency::{self, Caps};
    use tidings_domain::quiet_hours;

    #[test]
    fn what_may_close_while_a_link_stands_still_is_asked_again_soon() {
        let quiet = quiet_hours::Policy { purposes: vec![Purpose::Marketing], ..quiet_hours::Policy::OFF };
        let caps = Caps { day: 3, ..Caps::NONE };
        let purposes = vec![Purpose::Transactional];
        let capped = frequency::Policy { purposes: purposes.clone(), caps, ..frequency::Policy::OFF };
        let uncapped = frequency::Policy { purposes, ..frequency::Policy::OFF };
        for (quiet_hours, frequency, purpose, expected) in [
            (quiet.clone(), capped.clone(), Purpose::Marketing, 1),
            (quiet.clone(), capped.clone(), Purpose::Transactional, 1),
            (quiet, capped, Purpose::Authentication, 3_600),
            (quiet_hours::Policy::OFF, uncapped, Purpose::Transactional, 3_600),
        ] {
            let gate = gate::Policy { quiet_hours, frequency, ..gate::Policy::OPEN };
            assert_eq!(waits_s(&gate, purpose, false, 3_600), expected, "{purpose:?} {gate:?}");
            assert_eq!(waits_s(&gate, purpose, true, 3_600), 1, "{purpose:?}");
        }
    }

    /// A lane with this many places, over a link that nobody reads.
    fn lane(places: usize) -> Arc<Lane> {
        let (submissions, _) = mpsc::channel(1);
        let (_, events) = mpsc::channel(1);
        let (window, (_, state), (stop, _)) =
            (Window::new(), watch::channel(LinkState::Up { sessions: 1 }), watch::channel(false));
        window.resize(places);
        let link = tidings_carriers::Link { submissions, events, window, state, stop, faults: None };
        let settings = LaneSettings {
            id: ConnectionId::from_key(1),
            name: "line".to_owned(),
            environment: Environment::Live,
            kind: "smpp",
            pace_per_s: None,
            paces: BTreeMap::new(),
            handed_over_max: 1,
        };
        let (lane, _) = open(&Weak::new(), settings, link, NOW);
        lane.pause(false);
        lane
    }

    const NOW: Timestamp = Timestamp::from_millis(1_000);

    #[test]
    fn what_another_node_queued_sends_nothing_through_the_queue_while_there_is_room() {
        let lane = lane(2);
        let queue = lane.own.queue;
        assert!(lane.reserve(queue, 1, NOW).is_none(), "nobody has looked yet what waits");
        lane.own.is_claimed();
        lane.heard(queue, NOW);
        assert_eq!(room_for(&lane, &lane.own, NOW).map(|permit| permit.segments()).ok(), Some(1), "half");
        assert!(lane.reserve(queue, 1, NOW).is_some());
        lane.queued(queue, NOW.plus_ms(1));
        assert!(lane.reserve(queue, 1, NOW).is_some(), "what waits is not due yet");
        assert!(lane.reserve(queue, 1, NOW.plus_ms(1)).is_none(), "it came before");
        lane.own.is_claimed();
        let all = lane.reserve(queue, 2, NOW).expect("there is room");
        lane.heard(queue, NOW);
        assert!(matches!(room_for(&lane, &lane.own, NOW), Err(Wait::ForRoom)));
        drop(all);
        assert!(lane.reserve(queue, 1, NOW).is_none(), "what was heard of waits for room");
        assert_eq!(room_for(&lane, &lane.own, NOW).map(|permit| permit.segments()).ok(), Some(2));
    }
}
