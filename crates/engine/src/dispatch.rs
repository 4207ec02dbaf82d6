//! One lane a connection: due messages → carrier → what happened → store.
//!
//! A message comes to a lane in one of two ways: handed over in memory by *intake*, already claimed in the commit
//! that accepted it, because the window had room; or claimed here from the queue. Either way the intent to submit is
//! committed before the carrier is touched, and the suppression list is read once more just before.
//!
//! What the carrier says is committed in batches, and only then acknowledged to it: `hear.rs`. What a lane is, and what
//! may go past what waits in its queues: `lane.rs`.

mod hear;
mod lane;

pub use lane::Lane;
pub(crate) use lane::LaneSettings;

use crate::Inner;
use crate::intake::{self, Zones};
use crate::supervise::supervise;
use hear::hear;
use lane::{Line, Wait};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};
use tidings_carriers::{CarrierEvent, Permit, Submission, Tag};
use tidings_domain::consent::{Channel, Lack};
use tidings_domain::failure::{Failure, FailureClass};
use tidings_domain::frequency::{Bound, Other, Turn};
use tidings_domain::gate::{self, Decision, Facts};
use tidings_domain::id::MessageId;
use tidings_domain::message::{self, Answer, Input, Message};
use tidings_domain::poison;
use tidings_domain::purpose::Purpose;
use tidings_domain::queue::Queue;
use tidings_domain::quota::{Count, Daily, Full};
use tidings_domain::receipt::our_reference;
use tidings_domain::suppression;
use tidings_domain::text::{self, Concatenation};
use tidings_domain::time::Timestamp;
use tidings_store::{AskedQuota, AskedTurn, Claimed, Happening, Ticket};
use tokio::sync::mpsc;

/// Tickets that may be between intake and their lane. The window bounds them more tightly.
pub(crate) const HANDED_OVER_MAX: usize = 16_384;
/// Tickets that one step takes: enough to share a look at the suppression list, few enough to start soon.
const STEP_MAX: usize = 256;
/// The longest sleep of a lane: the safety net for a lost wake-up, not the mechanism.
const LONGEST_SLEEP_MS: i64 = 5_000;
/// How long to wait before trying a store again that does not answer.
const STORE_PAUSE_MS: u64 = 250;

/// Opens a lane over a link. Its loops are started by [`Loops::start`], once there is an engine for them.
pub(crate) fn open(
    engine: &Weak<Inner>,
    lane: LaneSettings,
    link: tidings_carriers::Link,
    now: Timestamp,
) -> (Arc<Lane>, Loops) {
    let (handed_over, tickets) = mpsc::channel(lane.handed_over_max);
    let (window, state, stop) = (Arc::clone(&link.window), link.state, link.stop);
    let lane = Lane::new(lane, window, state, stop, handed_over, now);
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
    /// Behind a lock that nobody ever takes: what the loop holds must be `Sync`, and this is not.
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
        let mut lines = self.lane.lines();
        let last = lines.iter().position(|line| Some(line.queue) == self.last);
        lines.rotate_left(last.map_or(0, |last| last + 1));
        let mut shortest_ms = LONGEST_SLEEP_MS;
        for line in lines {
            match begin_claim(&self.lane, &line, engine, now) {
                Ok(begun) => {
                    self.last = Some(line.queue);
                    self.claiming = Some(begun);
                    return Wait::For(LONGEST_SLEEP_MS);
                }
                Err(Wait::For(ms)) => shortest_ms = shortest_ms.min(ms),
                Err(Wait::ForRoom) => return Wait::ForRoom,
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
                line.note_due(Timestamp::from_millis(0));
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
            line.note_due(Timestamp::from_millis(0));
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
            // It is claimed next, like what is heard of.
            Ok(Some(at)) => line.note_heard(at),
            Ok(None) => {}
            Err(_) => line.note_heard(now.plus_ms(STORE_PAUSE_MS as i64)),
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
    let permit = lane.room_for(line, now)?;
    line.open();
    let (engine, queue, room) = (Arc::clone(engine), line.queue, permit.segments());
    let done = async move { engine.store.claim(queue, room, now).await };
    Ok(Claiming { line: Arc::clone(line), permit, done: Mutex::new(Box::pin(done)) })
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
}
