//! The carrier behind SMPP 3.4 (kind `smpp`): one or several sessions to one account at a carrier, the submissions
//! spread over them, and what the carrier sends read into receipts and inbound parts.
//!
//! The [`Settings`] are in `smpp/settings.rs`, and what turns our words into the carrier's and back in `smpp/profile.rs`. What a
//! session may and may not report is the promise of `tidings_smpp`; this file adds reconnecting, choosing a session,
//! and the contract of the crate. It keeps no pace and puts no parts together.

mod profile;
mod settings;

pub(crate) use profile::sar;
pub use settings::*;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidings_domain::failure::{Failure, FailureClass};
use tidings_domain::message::{self, Answer};
use tidings_domain::poison;
use tidings_smpp::backoff::{self, Cause};
use tidings_smpp::client::{self, Event, Handle};
use tidings_smpp::codec::{Bind, BindMode, DeliverSm, SubmitSm};
use tidings_smpp::session::{EndReason, Limits, WhyUnsent};
use tidings_smpp::status;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::{
    Acknowledge, CarrierEvent, CrashKey, Error, Guard, InboundPart, Link, LinkState, Permit, Submission,
    Surroundings, Tag, Window,
};
use profile::{Profile, Read};

/// Events that may wait to be read, of all sessions together.
const EVENTS: usize = 4_096;
/// Events or submissions taken at once.
const BATCH: usize = 256;
/// Unanswered submissions that are remembered for a late answer, per session. As many as the session remembers.
const LATE_MAX: usize = tidings_smpp::session::LATE_REMEMBERED_MAX;

/// Opens the connection: its sessions are made, kept and made again until it is stopped.
///
/// # Errors
/// The settings make no sense, or a file they name cannot be read.
pub fn open(settings: Settings, surroundings: &Surroundings) -> Result<Link, Error> {
    let profile = Profile::new(settings, surroundings)?;
    let settings = &profile.settings;
    let (host, port) = settings.host_and_port()?;
    let mut bind = Bind::new(BindMode::Transceiver, &settings.system_id, &settings.password.0);
    settings.system_type.clone_into(&mut bind.system_type);
    let mut connecting = client::Settings::new(host, port, bind);
    connecting.tls = settings.client_tls()?;
    connecting.connect_timeout_ms = settings.connect_timeout_s * 1_000;
    let may_send = Arc::clone(&surroundings.may_send);
    connecting.permission = client::Permission::new(move || may_send());
    connecting.limits = Limits {
        window_max: settings.window,
        unanswered_max: settings.unacknowledged,
        response_timeout_ms: settings.response_timeout_s * 1_000,
        enquire_link_idle_ms: settings.enquire_link_s * 1_000,
        ..Limits::default()
    };
    let modes: &[BindMode] = match settings.mode {
        Mode::Transceiver => &[BindMode::Transceiver],
        Mode::TransmitterReceiver => &[BindMode::Transmitter, BindMode::Receiver],
    };
    let modes: Vec<BindMode> = modes.iter().copied().cycle().take(modes.len() * settings.binds).collect();

    // One message more than the window may be handed over, see `Window::take`.
    let (submissions_in, submissions) = mpsc::channel(settings.window * settings.binds + 255);
    let (events_in, events) = mpsc::channel(EVENTS);
    let (state_in, state) = watch::channel(LinkState::Connecting { reason: None });
    let (stop, stopped) = watch::channel(false);
    let window = Window::new();
    let shared = Arc::new(Shared {
        sessions: Mutex::new(modes.iter().map(|_| SessionState::Connecting(None)).collect()),
        profile,
        connecting,
        draw: Arc::clone(&surroundings.draw),
        guard: Arc::clone(&surroundings.guard),
        may_send: Arc::clone(&surroundings.may_send),
        window: Arc::clone(&window),
        state: state_in,
        events: events_in,
        freed: Notify::new(),
    });
    tokio::spawn(async move {
        let mut tasks = JoinSet::new();
        for (place, mode) in modes.into_iter().enumerate() {
            tasks.spawn(Arc::clone(&shared).keep(place, mode, stopped.clone()));
        }
        tasks.spawn(Arc::clone(&shared).dispatch(submissions, stopped));
        tasks.join_all().await;
        shared.state.send_replace(LinkState::Stopped);
    });
    Ok(Link { submissions: submissions_in, events, window, state, stop, faults: None })
}

/// What the tasks of one link share.
struct Shared {
    profile: Profile,
    connecting: client::Settings,
    draw: Arc<dyn Fn() -> u32 + Send + Sync>,
    guard: Arc<dyn Guard>,
    may_send: Arc<dyn Fn() -> bool + Send + Sync>,
    window: Arc<Window>,
    state: watch::Sender<LinkState>,
    events: mpsc::Sender<CarrierEvent>,
    sessions: Mutex<Vec<SessionState>>,
    /// Something may be submitted that could not be before, or will never be.
    freed: Notify,
}

enum SessionState {
    Connecting(Option<String>),
    Refused(String),
    /// Bound; with a lane if it submits.
    Bound(Option<Arc<Lane>>),
    Ended,
}

/// A session that submits.
struct Lane {
    handle: Handle,
    pending: Mutex<Pending>,
    /// When the session was opened.
    opened: Instant,
}

/// Submissions of one session by the number the session knows them by.
#[derive(Default)]
struct Pending {
    last: u64,
    entries: HashMap<u64, Entry>,
    /// Those reported as unanswered, the oldest first.
    late: VecDeque<u64>,
}

struct Entry {
    tag: Tag,
    /// Gone once it is reported.
    permit: Option<Permit>,
}

/// Nothing panics while it holds one of these locks, and what they guard is whole after every statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lane {
    /// Remembers an answer that did not come, in case it still does.
    fn unanswered(&self, number: u64) -> Option<(Tag, Option<Permit>)> {
        let mut pending = lock(&self.pending);
        let entry = pending.entries.get_mut(&number)?;
        let (tag, permit) = (entry.tag, entry.permit.take());
        pending.late.push_back(number);
        if pending.late.len() > LATE_MAX
            && let Some(oldest) = pending.late.pop_front()
        {
            pending.entries.remove(&oldest);
        }
        Some((tag, permit))
    }

    fn remove(&self, number: u64) -> Option<(Tag, Option<Permit>)> {
        lock(&self.pending).entries.remove(&number).map(|entry| (entry.tag, entry.permit))
    }
}

/// Why there was no handing over.
enum NotHandedOver {
    /// Wait for room.
    Full(Box<Submission>),
    /// There is no session at all.
    NoSession(Box<Submission>),
}

impl Shared {
    /// Hands submissions to the session with the most room.
    async fn dispatch(
        self: Arc<Self>,
        mut submissions: mpsc::Receiver<Submission>,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut waiting = VecDeque::new();
        let mut batch = Vec::with_capacity(BATCH);
        let mut open = true;
        while !*stop.borrow() {
            self.hand_over(&mut waiting).await;
            tokio::select! {
                changed = stop.changed() => if changed.is_err() { break },
                taken = submissions.recv_many(&mut batch, BATCH), if open && waiting.is_empty() => {
                    open = taken > 0;
                    waiting.extend(batch.drain(..));
                }
                () = self.freed.notified(), if !waiting.is_empty() => {}
                () = self.events.closed() => return,
            }
        }
        self.window.resize(0);
        submissions.close();
        while let Some(submission) = submissions.recv().await {
            waiting.push_back(submission);
        }
        for submission in waiting {
            self.report(submission.tag, Answer::Unsent, Some(submission.permit)).await;
        }
    }

    async fn hand_over(&self, waiting: &mut VecDeque<Submission>) {
        if waiting.is_empty() {
            return;
        }
        let lanes = self.lanes();
        while let Some(mut submission) = waiting.pop_front() {
            // It may have waited here while sessions were full or away, or events were not read.
            let waited_s = u32::try_from(submission.since.elapsed().as_secs()).unwrap_or(u32::MAX);
            if waited_s >= submission.waits_s || !(self.may_send)() {
                self.report(submission.tag, Answer::Unsent, Some(submission.permit)).await;
                continue;
            }
            submission.validity_s -= waited_s;
            submission.waits_s -= waited_s;
            submission.since += Duration::from_secs(u64::from(waited_s));
            let pdu = match self.written(&submission) {
                Ok(pdu) => pdu,
                Err(failure) => {
                    self.report(submission.tag, Answer::Refused(failure), Some(submission.permit)).await;
                    continue;
                }
            };
            match submit(&lanes, submission, pdu) {
                Ok(()) => {}
                Err(NotHandedOver::Full(submission)) => {
                    waiting.push_front(*submission);
                    return;
                }
                Err(NotHandedOver::NoSession(submission)) => {
                    self.report(submission.tag, Answer::Unsent, Some(submission.permit)).await;
                }
            }
        }
    }

    /// The submission as the carrier wants it. What crashes over it is a lasting refusal of our own.
    fn written(&self, submission: &Submission) -> Result<SubmitSm, Failure> {
        let mut written = None;
        let done = self.guard.contain(CrashKey::Message(submission.tag.message), &mut || {
            poison::taste("encode", || Some(submission.segment.text()));
            written = Some(self.profile.submit(submission));
        });
        written.filter(|_| done).unwrap_or_else(|| Err(message::poison("encoding")))
    }

    /// What the carrier sent. What crashes over it is nothing that could be stored.
    fn read(&self, pdu: &DeliverSm) -> Read {
        let mut read = None;
        let done =
            self.guard.contain(CrashKey::Octets(pdu.payload()), &mut || read = Some(self.profile.read(pdu)));
        read.filter(|_| done).unwrap_or(Read::Nothing("something that crashes its reader"))
    }

    fn lanes(&self) -> Vec<Arc<Lane>> {
        let lane = |session: &SessionState| match session {
            SessionState::Bound(lane) => lane.clone(),
            SessionState::Connecting(_) | SessionState::Refused(_) | SessionState::Ended => None,
        };
        lock(&self.sessions).iter().filter_map(lane).collect()
    }

    /// Reports an answer, with the place in the window that it frees.
    async fn report(&self, tag: Tag, answer: Answer, permit: Option<Permit>) {
        self.emit(CarrierEvent::Answered { tag, answer, permit }).await;
    }

    async fn emit(&self, event: CarrierEvent) {
        // Nobody reads any more: the tasks see that themselves.
        let _ = self.events.send(event).await;
    }

    /// Keeps one session up until the stop.
    async fn keep(self: Arc<Self>, place: usize, mode: BindMode, mut stop: watch::Receiver<bool>) {
        let mut failures = 0;
        while !*stop.borrow() && !self.events.is_closed() {
            let mut settings = self.connecting.clone();
            settings.bind.mode = mode;
            let connected = tokio::select! {
                connected = client::connect(settings) => connected,
                _ = stop.changed() => break,
            };
            let (state, cause) = match connected {
                Err(error @ tidings_smpp::Error::Settings(_)) => {
                    (SessionState::Refused(error.to_string()), Cause::Refused)
                }
                Err(error) => (SessionState::Connecting(Some(error.to_string())), Cause::Lost),
                Ok((handle, events)) => {
                    let (reason, bound) = self.serve(place, mode, handle, events, &mut stop).await;
                    if bound {
                        failures = 0;
                    }
                    self.after(reason)
                }
            };
            if *stop.borrow() {
                break;
            }
            if let SessionState::Connecting(Some(reason)) | SessionState::Refused(reason) = &state {
                tracing::warn!(
                    connection = self.profile.name,
                    session = place,
                    reason,
                    "SMPP session is down"
                );
            }
            self.set(place, state);
            failures += 1;
            let random = u64::from((self.draw)()) << 32 | u64::from((self.draw)());
            let pause = Duration::from_millis(backoff::pause_ms(cause, failures, random));
            tokio::select! {
                () = sleep(pause) => {}
                changed = stop.changed() => if changed.is_err() { break },
                () = self.events.closed() => break,
            }
        }
        self.set(place, SessionState::Ended);
    }

    /// What an ended session leaves behind, and how soon to try again.
    fn after(&self, reason: EndReason) -> (SessionState, Cause) {
        let lost = |words: &str| (SessionState::Connecting(Some(words.to_owned())), Cause::Lost);
        match reason {
            EndReason::BindRefused(status) => {
                let failure = self.profile.failure(status);
                let words = format!("the carrier refused the bind: {} ({})", failure.detail, failure.code);
                // These three pass: an old session that the carrier has not yet noticed is gone, or its own trouble.
                let passes =
                    [status::ESME_RALYBND, status::ESME_RSYSERR, status::ESME_RTHROTTLED].contains(&status);
                if passes { lost(&words) } else { (SessionState::Refused(words), Cause::Refused) }
            }
            EndReason::BindTimeout => lost("the carrier did not answer the bind"),
            EndReason::Stopped => lost("stopped"),
            EndReason::PeerUnbound => lost("the carrier ended the session"),
            EndReason::Unresponsive => lost("the carrier does not answer any more"),
            EndReason::InvalidLength(_) => lost("the carrier sent something that is not SMPP"),
            EndReason::Disconnected | EndReason::InputBeforeBind => lost("the connection broke"),
        }
    }

    /// Reads one session's events to the last; says why it ended, and whether it was bound.
    async fn serve(
        &self,
        place: usize,
        mode: BindMode,
        handle: Handle,
        mut events: mpsc::Receiver<Event>,
        stop: &mut watch::Receiver<bool>,
    ) -> (EndReason, bool) {
        let lane = Arc::new(Lane { handle, pending: Mutex::default(), opened: Instant::now() });
        let mut batch = Vec::with_capacity(BATCH);
        let (mut bound, mut stopping, mut reason) = (false, *stop.borrow(), EndReason::Disconnected);
        if stopping {
            lane.handle.stop();
        }
        loop {
            let taken = tokio::select! {
                biased;
                _ = stop.changed(), if !stopping => {
                    stopping = true;
                    self.set(place, SessionState::Ended);
                    lane.handle.stop();
                    continue;
                }
                taken = events.recv_many(&mut batch, BATCH) => taken,
            };
            if taken == 0 {
                break;
            }
            if bound && lane.handle.is_over() {
                // Nothing more must be promised before the last answers give their places back.
                self.set(place, SessionState::Connecting(None));
            }
            for event in batch.drain(..) {
                match event {
                    Event::Bound { .. } if !stopping => {
                        bound = true;
                        self.set(place, SessionState::Bound(mode.submits().then(|| Arc::clone(&lane))));
                    }
                    Event::Closed(why) => reason = why,
                    other => self.hear(&lane, other).await,
                }
            }
            self.freed.notify_one();
            if self.events.is_closed() {
                lane.handle.close_now();
            }
        }
        // The session has reported each of its submissions; this holds even if it had not.
        let left: Vec<Entry> = lock(&lane.pending).entries.drain().map(|(_, entry)| entry).collect();
        for entry in left {
            if let Some(permit) = entry.permit {
                self.report(entry.tag, Answer::None, Some(permit)).await;
            }
        }
        (reason, bound)
    }

    async fn hear(&self, lane: &Lane, event: Event) {
        let (entry, answer) = match event {
            Event::Answer { tag, status, message_id } | Event::LateAnswer { tag, status, message_id } => {
                (lane.remove(tag), self.profile.answer(status, message_id))
            }
            Event::NoAnswer { tag } => (lane.unanswered(tag), Answer::None),
            Event::Unsent { tag, why } => (lane.remove(tag), unsent(why)),
            Event::Deliver { pdu, responder } => {
                let acknowledge = move || responder.answer(status::ESME_ROK);
                match self.read(&pdu) {
                    Read::Receipt(receipt) => {
                        let acknowledge = Acknowledge::new(acknowledge);
                        self.emit(CarrierEvent::Receipt { receipt, acknowledge }).await;
                    }
                    Read::Inbound(part) => {
                        let part = InboundPart { opened: Some(lane.opened), ..*part };
                        let acknowledge = Acknowledge::new(acknowledge);
                        self.emit(CarrierEvent::Inbound { part, acknowledge }).await;
                    }
                    Read::Nothing(reason) => {
                        // There is nothing to store, and without an answer it would come again for ever.
                        self.emit(CarrierEvent::Malformed { reason: reason.to_owned() }).await;
                        acknowledge();
                    }
                }
                return;
            }
            Event::Malformed(malformed) => {
                let reason = format!("{} (command {:#010x})", malformed.reason, malformed.command_id);
                return self.emit(CarrierEvent::Malformed { reason }).await;
            }
            Event::Bound { .. } | Event::Closed(_) => return,
        };
        if let Some((tag, permit)) = entry {
            self.report(tag, answer, permit).await;
        }
    }

    /// Changes one session's state, and with it the window and the link's state.
    fn set(&self, place: usize, state: SessionState) {
        let mut sessions = lock(&self.sessions);
        sessions[place] = state;
        let submitting =
            sessions.iter().filter(|session| matches!(session, SessionState::Bound(Some(_)))).count();
        let bound = sessions.iter().filter(|session| matches!(session, SessionState::Bound(_))).count();
        self.window.resize(submitting * self.profile.settings.window);
        let refused = sessions.iter().find_map(|session| match session {
            SessionState::Refused(reason) => Some(reason.clone()),
            _ => None,
        });
        let reason = sessions.iter().find_map(|session| match session {
            SessionState::Connecting(reason) => reason.clone(),
            _ => None,
        });
        let link = match (submitting, refused) {
            (1.., _) => LinkState::Up { sessions: bound },
            (0, Some(reason)) => LinkState::Refused { reason },
            (0, None) => LinkState::Connecting { reason },
        };
        drop(sessions);
        self.state.send_if_modified(|current| {
            let changed = *current != link;
            if changed {
                *current = link;
            }
            changed
        });
        self.freed.notify_one();
    }
}

fn unsent(why: WhyUnsent) -> Answer {
    match why {
        WhyUnsent::SessionEnded | WhyUnsent::Direction => Answer::Unsent,
        WhyUnsent::Unencodable(what) => {
            let detail = format!("it cannot be written in SMPP: {what}");
            Answer::Refused(Failure::new(FailureClass::UnknownError, false, "tidings unencodable", detail))
        }
    }
}

/// Hands a submission to the lane with the most room.
fn submit(lanes: &[Arc<Lane>], submission: Submission, mut pdu: SubmitSm) -> Result<(), NotHandedOver> {
    loop {
        let open = lanes.iter().filter(|lane| !lane.handle.is_over());
        let Some(lane) = open.max_by_key(|lane| lane.handle.window_free()) else {
            return Err(NotHandedOver::NoSession(Box::new(submission)));
        };
        if lane.handle.window_free() == 0 {
            return Err(NotHandedOver::Full(Box::new(submission)));
        }
        // Held until the entry is in, so that no answer comes before it.
        let mut pending = lock(&lane.pending);
        pending.last += 1;
        let number = pending.last;
        match lane.handle.try_submit(number, pdu) {
            Ok(()) => {
                pending
                    .entries
                    .insert(number, Entry { tag: submission.tag, permit: Some(submission.permit) });
                return Ok(());
            }
            Err(client::NotTaken::Full(_)) => return Err(NotHandedOver::Full(Box::new(submission))),
            Err(client::NotTaken::Over(back)) => pdu = *back,
        }
    }
}
