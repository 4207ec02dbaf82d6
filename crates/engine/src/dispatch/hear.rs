//! What a carrier says: answers, receipts and inbound messages are committed, then acknowledged.

use super::{Lane, Taken, give_back};
use crate::{Inner, inbound};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use tidings_carriers::{Acknowledge, CarrierEvent, Permit};
use tidings_domain::failure::FailureClass;
use tidings_domain::message::{self, Answer, Input};
use tidings_store::{Arrival, Happening};
use tokio::sync::mpsc;

/// Events of a carrier in one commit.
const EVENTS_MAX: usize = 512;
/// Opt-outs that wait to be acknowledged, beside those that are being settled.
const HELD_MAX: usize = 4_096;

/// The loop that hears: answers, receipts and inbound messages are committed, then acknowledged.
pub(super) async fn hear(engine: &Weak<Inner>, lane: &Arc<Lane>, events: &mut mpsc::Receiver<CarrierEvent>) {
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
