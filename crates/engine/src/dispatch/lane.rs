//! A connection's lane: its window and pace, its queues, and whether something may go past what waits in them. The loops
//! that submit and hear are in `dispatch.rs` and `hear.rs`.

use super::{LONGEST_SLEEP_MS, STEP_MAX, Taken};
use arc_swap::ArcSwap;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tidings_carriers::{LinkState, Permit, Tag, Window};
use tidings_domain::account::Environment;
use tidings_domain::id::ConnectionId;
use tidings_domain::pacing::Pace;
use tidings_domain::queue::Queue;
use tidings_domain::routing::Standing;
use tidings_domain::time::Timestamp;
use tidings_store::Ticket;
use tokio::sync::{Notify, mpsc, watch};

/// How often a connection's log lines about what nobody can read may come: a carrier that sends nothing else must not
/// fill the disk with them. The metric counts each.
const UNREADABLE_EVERY_MS: u64 = 1_000;
/// How long a link has to be down until senders of pools go around it: ms. A carrier that closes a session to restart, or that
/// is reached again at the first tries, moves nobody to another sender.
const DOWN_MS: u64 = 30_000;

/// What a lane is made of besides its link.
pub(crate) struct LaneSettings {
    pub id: ConnectionId,
    /// The first connection that leads to the same carrier.
    pub carrier: ConnectionId,
    pub name: String,
    pub environment: Environment,
    pub kind: &'static str,
    pub pace_per_s: Option<f64>,
    /// Those of senders, by their queues.
    pub paces: BTreeMap<Queue, f64>,
    pub handed_over_max: usize,
}

/// A connection's lane, as the rest of the engine sees it.
#[derive(Debug)]
pub struct Lane {
    /// The connection.
    pub id: ConnectionId,
    /// The first one that leads to the same carrier: itself where it is the only one.
    pub carrier: ConnectionId,
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
    pub(super) pace: Mutex<Pace>,
    paused: AtomicBool,
    stop_link: watch::Sender<bool>,
    handed_over: mpsc::Sender<(Ticket, Permit)>,
    /// The queue of the connection.
    pub(super) own: Arc<Line>,
    /// The queues beside it, of senders that have a pace.
    beside: ArcSwap<BTreeMap<Queue, Arc<Line>>>,
    pub(super) wake: Notify,
    pub(super) closing: AtomicBool,
    pub(super) ended: AtomicBool,
    pub(super) submitted_at: Mutex<HashMap<Tag, crate::clock::Stopwatch>>,
    /// What was taken of the day of its sender for what is on its way, where there is a limit: given back if it certainly did
    /// not go.
    pub(super) counted: Mutex<HashMap<Tag, Taken>>,
    pub(super) unreadable: Mutex<Unreadable>,
    /// Since when the link is not up, as far as that was noted.
    down: Mutex<Option<crate::clock::Stopwatch>>,
}

/// One of the queues of a lane.
#[derive(Debug)]
pub(super) struct Line {
    pub queue: Queue,
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
    pub fn new(queue: Queue, pace_per_s: Option<f64>, now: Timestamp) -> Arc<Self> {
        let pace = pace_per_s.map(|per_s| Mutex::new(Pace::new(Some(per_s), now)));
        Arc::new(Self { queue, next_due: AtomicI64::new(0), closed_from: AtomicI64::new(0), pace })
    }

    /// Something in it is due then, and goes before what comes later.
    pub fn note_due(&self, at: Timestamp) {
        self.close(at);
        self.note_heard(at);
    }

    /// Another node has put something there that is due then.
    pub fn note_heard(&self, at: Timestamp) {
        self.next_due.fetch_min(at.as_millis(), Ordering::AcqRel);
    }

    /// Nothing goes past it from then on, until a claim has taken what is due.
    fn close(&self, at: Timestamp) {
        self.closed_from.fetch_min(at.as_millis(), Ordering::AcqRel);
    }

    /// A claim begins. What is queued from here on must be seen: by the claim, or by this being lowered again.
    pub fn open(&self) {
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

    pub fn pace(&self) -> Option<MutexGuard<'_, Pace>> {
        self.pace.as_ref().map(|pace| pace.lock().expect("nothing panics while it holds this"))
    }
}

/// What the log is still to say about what nobody could read.
#[derive(Debug, Default)]
pub(super) struct Unreadable {
    said: Option<crate::clock::Stopwatch>,
    unsaid: u64,
}

impl Unreadable {
    /// How many to speak of now, this one with them; `None` if the log was told a moment ago.
    pub fn one_more(&mut self, clock: &crate::clock::Clock) -> Option<u64> {
        self.unsaid += 1;
        if self.said.as_ref().is_some_and(|said| said.elapsed_ms() < UNREADABLE_EVERY_MS) {
            return None;
        }
        self.said = Some(clock.stopwatch());
        Some(std::mem::take(&mut self.unsaid))
    }
}

impl Lane {
    /// A lane that is paused until somebody lets it go.
    pub(super) fn new(
        settings: LaneSettings,
        window: Arc<Window>,
        state: watch::Receiver<LinkState>,
        stop_link: watch::Sender<bool>,
        handed_over: mpsc::Sender<(Ticket, Permit)>,
        now: Timestamp,
    ) -> Arc<Self> {
        let of_senders = settings.paces.into_iter();
        let beside = of_senders.map(|(queue, per_s)| (queue, Line::new(queue, Some(per_s), now)));
        Arc::new(Self {
            id: settings.id,
            carrier: settings.carrier,
            name: settings.name,
            environment: settings.environment,
            kind: settings.kind,
            window,
            state,
            pace: Mutex::new(Pace::new(settings.pace_per_s, now)),
            paused: AtomicBool::new(true),
            stop_link,
            handed_over,
            own: Line::new(Queue::of(settings.id), None, now),
            beside: ArcSwap::from_pointee(beside.collect()),
            wake: Notify::new(),
            closing: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            submitted_at: Mutex::default(),
            counted: Mutex::default(),
            unreadable: Mutex::default(),
            down: Mutex::default(),
        })
    }

    /// Places for a message of this queue that could go out at once, if nothing that is due waits before it. What other nodes
    /// have just put there is claimed next, and waits for no room; that it goes first would send everything through the queue.
    pub fn reserve(&self, queue: Queue, segments: usize, now: Timestamp) -> Option<Permit> {
        if queue == self.own.queue {
            return self.reserve_in(&self.own, segments, now);
        }
        self.reserve_in(self.beside.load().get(&queue)?, segments, now)
    }

    /// How it stands for a message that comes at this moment.
    pub(crate) fn standing(&self, now: Timestamp) -> Standing {
        let mut pace = self.pace.lock().expect("nothing panics while it holds this");
        if self.is_paused() || !self.is_up() {
            Standing::Closed
        } else if self.own.is_closed(now) || pace.allowed(now) == 0 || self.window.free() == 0 {
            Standing::Busy
        } else {
            Standing::Open
        }
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

    /// Places for what is due in one of its queues; or what has to be waited for. Where that is room, nothing goes past what
    /// is due in any of them.
    pub(super) fn room_for(&self, line: &Line, now: Timestamp) -> Result<Permit, Wait> {
        let due_in_ms = line.due_in_ms(now);
        if due_in_ms > 0 {
            return Err(Wait::For(due_in_ms));
        }
        let mut pace = self.pace.lock().expect("nothing panics while it holds this");
        if self.is_paused() {
            return Err(Wait::For(LONGEST_SLEEP_MS));
        }
        let (mut allowed, mut next_at) = (pace.allowed(now), pace.next_at(now));
        if let Some(mut pace) = line.pace() {
            allowed = allowed.min(pace.allowed(now));
            next_at = next_at.max(pace.next_at(now));
        }
        if allowed == 0 {
            line.close(now);
            return Err(Wait::For(next_at.since_ms(now).max(1)));
        }
        // Of what was only heard of nobody knows how much it is: it leaves places to what comes here.
        let most =
            if line.is_closed(now) { STEP_MAX } else { self.window.free().div_ceil(2).clamp(1, STEP_MAX) };
        self.window.take_up_to(allowed.min(most)).ok_or_else(|| {
            self.lines().iter().filter(|line| line.due_in_ms(now) == 0).for_each(|line| line.close(now));
            Wait::ForRoom
        })
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
        self.line(queue, due_at).note_due(due_at);
        self.wake.notify_one();
    }

    /// Another node put something into this queue, due then.
    pub fn heard(&self, queue: Queue, due_at: Timestamp) {
        self.line(queue, due_at).note_heard(due_at);
        self.wake.notify_one();
    }

    /// Anything may have been put into any queue.
    pub fn look_again(&self) {
        self.lines().iter().for_each(|line| line.note_due(Timestamp::from_millis(0)));
        self.wake.notify_one();
    }

    /// Its queues: those of senders, and its own.
    pub(super) fn lines(&self) -> Vec<Arc<Line>> {
        self.beside.load().values().chain([&self.own]).cloned().collect()
    }

    /// This queue; one that is new has no pace.
    pub(super) fn line(&self, queue: Queue, now: Timestamp) -> Arc<Line> {
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

/// What a lane waits for.
pub(super) enum Wait {
    For(i64),
    ForRoom,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A lane with this many places, over a link that is up.
    fn lane(places: usize) -> Arc<Lane> {
        let (window, (_, state), (stop, _), (handed_over, _)) = (
            Window::new(),
            watch::channel(LinkState::Up { sessions: 1 }),
            watch::channel(false),
            mpsc::channel(1),
        );
        window.resize(places);
        let settings = LaneSettings {
            id: ConnectionId::from_key(1),
            carrier: ConnectionId::from_key(1),
            name: "line".to_owned(),
            environment: Environment::Live,
            kind: "smpp",
            pace_per_s: None,
            paces: BTreeMap::new(),
            handed_over_max: 1,
        };
        let lane = Lane::new(settings, window, state, stop, handed_over, NOW);
        lane.pause(false);
        lane
    }

    const NOW: Timestamp = Timestamp::from_millis(1_000);

    #[test]
    fn what_another_node_queued_sends_nothing_through_the_queue_while_there_is_room() {
        let lane = lane(2);
        let queue = lane.own.queue;
        assert!(lane.reserve(queue, 1, NOW).is_none(), "nobody has looked yet what waits");
        lane.own.open();
        lane.heard(queue, NOW);
        assert_eq!(lane.room_for(&lane.own, NOW).map(|permit| permit.segments()).ok(), Some(1), "half");
        assert!(lane.reserve(queue, 1, NOW).is_some());
        lane.queued(queue, NOW.plus_ms(1));
        assert!(lane.reserve(queue, 1, NOW).is_some(), "what waits is not due yet");
        assert!(lane.reserve(queue, 1, NOW.plus_ms(1)).is_none(), "it came before");
        lane.own.open();
        let all = lane.reserve(queue, 2, NOW).expect("there is room");
        lane.heard(queue, NOW);
        assert!(matches!(lane.room_for(&lane.own, NOW), Err(Wait::ForRoom)));
        drop(all);
        assert!(lane.reserve(queue, 1, NOW).is_none(), "what was heard of waits for room");
        assert_eq!(lane.room_for(&lane.own, NOW).map(|permit| permit.segments()).ok(), Some(2));
    }
}
