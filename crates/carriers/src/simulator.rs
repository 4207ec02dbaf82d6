//! The carrier inside the process (kind `simulator`): no network, the same promises as any other, and the fates of
//! [`crate::script`] and [`crate::faults`]. It is what a new installation sends through, and what tests run against.
//!
//! One task with one queue of what is still to happen. Its receipts and replies live as long as the process; that
//! none is lost before it is acknowledged holds within that time.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidings_domain::media::Item;
use tidings_domain::message;
use tidings_domain::receipt::{IdForm, Receipt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::codes;
use crate::faults::Faults;
use crate::later::Later;
use crate::media;
use crate::play::Play;
use crate::script::{Answer, LinkTrouble, REPLY_AFTER_MS};
use crate::{
    Acknowledge, CarrierEvent, Error, InboundPart, Link, LinkState, MEDIA_OCTETS_MAX, Permit, Submission,
    Surroundings, Tag, Window,
};

/// Events that may wait to be read.
const EVENTS: usize = 1024;
/// Submissions taken at once.
const BATCH: usize = 256;
/// Receipts and replies that may still be owed; with more, submissions are refused as "queue full". Some 100 octets each.
const OWED_MAX: usize = 200_000;
/// Receipts and replies offered and not yet acknowledged. A store commits some hundred at once.
const UNACKNOWLEDGED_MAX: usize = 2_000;
/// Octets of media that take as much of that room as a report without any.
const OCTETS_OF_PLACE: usize = MEDIA_OCTETS_MAX / UNACKNOWLEDGED_MAX;
/// When one that was given back is offered again: milliseconds.
const OFFERED_AGAIN_MS: u64 = 1_000;
/// How long a broken link takes to come up: milliseconds.
const RECONNECT_MS: u64 = 500;
/// At a stop, answers that would have come within this time still count: milliseconds.
const STOP_WAITS_MS: u64 = 5_000;

/// How the simulator behaves. All fields may be left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Segments that may be unanswered at once: 1 to 100,000. Default 1,000.
    pub window: usize,
    /// After this time a missing answer is given up: milliseconds, 1 to 60,000. Default 5,000.
    pub response_timeout_ms: u32,
    /// Repeats a run: the same seed and the same submissions have the same fates. Not set: drawn at the start.
    pub seed: Option<u64>,
    /// Files that people send: who is written to at `+1 555 992 0001` answers with the first one. At most 100, read at the start.
    pub media: Vec<PathBuf>,
    /// What goes wrong from the start.
    pub faults: Faults,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            window: 1_000,
            response_timeout_ms: 5_000,
            seed: None,
            media: Vec::new(),
            faults: Faults::default(),
        }
    }
}

/// Opens a simulator. Its faults can be changed through [`Link::faults`].
///
/// # Errors
/// The settings make no sense.
pub fn open(settings: Settings, surroundings: &Surroundings) -> Result<Link, Error> {
    if !(1..=100_000).contains(&settings.window) {
        return Err(Error(format!("window is {}, but must be between 1 and 100000", settings.window)));
    }
    if !(1..=60_000).contains(&settings.response_timeout_ms) {
        let is = settings.response_timeout_ms;
        return Err(Error(format!("response_timeout_ms is {is}, but must be between 1 and 60000")));
    }
    if let Some(problem) = settings.faults.problem() {
        return Err(Error(problem));
    }
    let files = media::read(&settings.media)?;
    let draw = || u64::from((surroundings.draw)());
    let seed = settings.seed.unwrap_or_else(|| draw() << 32 | draw());
    // One message more than the window may be handed over, see `Window::take`.
    let (submissions_in, submissions) = mpsc::channel(settings.window + 255);
    let (events_in, events) = mpsc::channel(EVENTS);
    let (state_in, state) = watch::channel(LinkState::Connecting { reason: None });
    let (stop, stopped) = watch::channel(false);
    let (faults, faults_changed) = watch::channel(settings.faults.clone());
    let (back_in, back) = mpsc::channel(UNACKNOWLEDGED_MAX);
    let window = Window::new();
    let simulator = Simulator {
        name: surroundings.name.clone(),
        may_send: Arc::clone(&surroundings.may_send),
        codes: Arc::clone(&surroundings.codes),
        status_codes: [codes::SIMULATOR, codes::SMPP].map(str::to_owned).to_vec(),
        receipt_codes: [codes::SIMULATOR, codes::GSM_MAP].map(str::to_owned).to_vec(),
        play: Play::new(seed, settings.faults.clone(), 0),
        settings,
        files,
        window: Arc::clone(&window),
        state: state_in,
        events: events_in,
        started: Instant::now(),
        later: Later::new(),
        ready: VecDeque::new(),
        owed: 0,
        room: Arc::new(Semaphore::new(UNACKNOWLEDGED_MAX)),
        back: back_in,
        up_at_ms: Some(0),
    };
    tokio::spawn(async move {
        // An error means that nobody reads the events any more.
        let _ = simulator.run(submissions, stopped, faults_changed, back).await;
    });
    Ok(Link { submissions: submissions_in, events, window, state, stop, faults: Some(faults) })
}

/// Nobody reads the events.
struct Unread;

struct Simulator {
    name: String,
    may_send: Arc<dyn Fn() -> bool + Send + Sync>,
    codes: Arc<codes::Codes>,
    status_codes: Vec<String>,
    receipt_codes: Vec<String>,
    settings: Settings,
    files: Vec<Item>,
    play: Play,
    window: Arc<Window>,
    state: watch::Sender<LinkState>,
    events: mpsc::Sender<CarrierEvent>,
    started: Instant,
    later: Later<Action>,
    /// Due, and waiting for the link or for room.
    ready: VecDeque<Report>,
    /// Reports in `later` and `ready`.
    owed: usize,
    room: Arc<Semaphore>,
    back: mpsc::Sender<(Report, OwnedSemaphorePermit)>,
    /// When a broken link comes up again; `None` while it is up.
    up_at_ms: Option<u64>,
}

enum Action {
    /// The answer; without a permit it is a late one.
    Answer {
        tag: Tag,
        answer: message::Answer,
        permit: Option<Permit>,
    },
    Report(Report),
}

#[derive(Debug, Clone)]
enum Report {
    Receipt(Receipt),
    Inbound(InboundPart),
}

impl Report {
    /// How much of the room for the unacknowledged it takes.
    fn places(&self) -> u32 {
        let octets = match self {
            Self::Receipt(_) => 0,
            Self::Inbound(part) => part.media_octets(),
        };
        (1 + octets / OCTETS_OF_PLACE).min(UNACKNOWLEDGED_MAX) as u32
    }
}

/// A report on its way to the store. Dropped before it is stored, it goes back.
struct Offered {
    report: Option<(Report, OwnedSemaphorePermit)>,
    back: mpsc::Sender<(Report, OwnedSemaphorePermit)>,
}

impl Offered {
    fn stored(mut self) {
        self.report = None;
    }
}

impl Drop for Offered {
    fn drop(&mut self) {
        if let Some(report) = self.report.take() {
            // There is a place for each permit, so this fails only when the simulator has ended.
            let _ = self.back.try_send(report);
        }
    }
}

impl Simulator {
    async fn run(
        mut self,
        mut submissions: mpsc::Receiver<Submission>,
        mut stop: watch::Receiver<bool>,
        mut faults: watch::Receiver<Faults>,
        mut back: mpsc::Receiver<(Report, OwnedSemaphorePermit)>,
    ) -> Result<(), Unread> {
        let mut batch = Vec::with_capacity(BATCH);
        let (mut submissions_open, mut faults_open) = (true, true);
        loop {
            if *stop.borrow() {
                break;
            }
            let now_ms = self.now_ms();
            let link_changes_ms = self.follow_the_link(now_ms).await?;
            while let Some(action) = self.later.due(now_ms) {
                self.act(action).await?;
            }
            self.offer().await?;
            let wake_ms = [self.later.next_ms(), link_changes_ms].into_iter().flatten().min();
            // A stop or a new submission wakes it long before an hour is over.
            let wake = self.started + wake_ms.map_or(Duration::from_secs(3600), Duration::from_millis);
            let blocked = !self.ready.is_empty() && self.up_at_ms.is_none();
            let places = self.ready.front().map_or(1, Report::places);
            tokio::select! {
                changed = stop.changed() => if changed.is_err() { break },
                taken = submissions.recv_many(&mut batch, BATCH), if submissions_open => {
                    submissions_open = taken > 0;
                    for submission in batch.drain(..) {
                        self.submit(submission).await?;
                    }
                }
                Some((report, _room)) = back.recv() => {
                    self.owed += 1;
                    let at_ms = self.now_ms() + OFFERED_AGAIN_MS;
                    self.later.put(at_ms, Action::Report(report));
                }
                _ = Arc::clone(&self.room).acquire_many_owned(places), if blocked => {}
                changed = faults.changed(), if faults_open => {
                    faults_open = changed.is_ok();
                    let changed = faults.borrow_and_update().clone();
                    match changed.problem() {
                        None => self.play.change(changed, self.now_ms()),
                        Some(problem) => tracing::warn!(connection = self.name, problem, "faults not changed"),
                    }
                }
                () = self.events.closed() => return Err(Unread),
                () = sleep_until(wake), if wake_ms.is_some() => {}
            }
        }
        self.stop(submissions).await
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Takes the link down and up; says when to look again.
    async fn follow_the_link(&mut self, now_ms: u64) -> Result<Option<u64>, Unread> {
        let (away, changes_ms) = self.play.outage(now_ms);
        if away && self.up_at_ms.is_none() {
            self.break_link(now_ms, "the simulated carrier has an outage").await?;
        }
        if let Some(up_at_ms) = self.up_at_ms {
            if away {
                return Ok(changes_ms);
            }
            if now_ms < up_at_ms {
                return Ok(Some(up_at_ms));
            }
            self.up_at_ms = None;
            self.state.send_replace(LinkState::Up { sessions: 1 });
            self.window.resize(self.settings.window);
        }
        Ok(changes_ms)
    }

    async fn break_link(&mut self, now_ms: u64, reason: &str) -> Result<(), Unread> {
        self.window.resize(0);
        self.up_at_ms = Some(now_ms + RECONNECT_MS);
        self.state.send_replace(LinkState::Connecting { reason: Some(reason.to_owned()) });
        for (_, action) in self.later.take(|action| matches!(action, Action::Answer { .. })) {
            if let Action::Answer { tag, permit: Some(permit), .. } = action {
                self.answer(tag, message::Answer::None, Some(permit)).await?;
            }
        }
        Ok(())
    }

    async fn submit(&mut self, submission: Submission) -> Result<(), Unread> {
        let Submission { tag, sender, recipient, segment, our_reference, permit, .. } = submission;
        if self.up_at_ms.is_some() || !(self.may_send)() {
            return self.answer(tag, message::Answer::Unsent, Some(permit)).await;
        }
        let now_ms = self.now_ms();
        if self.owed >= OWED_MAX {
            let full = self.refusal(tidings_smpp::status::ESME_RMSGQFUL);
            return self.answer(tag, full, Some(permit)).await;
        }
        let fate = self.play.submit(recipient.digits(), segment.part, now_ms);
        for reported in fate.receipts {
            let digits = recipient.digits().to_string();
            let mut parties = vec![digits, sender.to_string()];
            if reported.swapped {
                parties.reverse();
            }
            let err = format!("{:03}", reported.err);
            let raw = format!("id:{} stat:{} err:{err}", reported.id, reported.state.word());
            let receipt = Receipt {
                carrier_id: reported.id,
                id_form: IdForm::Any,
                our_reference: reported.ours.then_some(our_reference),
                parties,
                outcome: self.codes.receipt(&self.name, &self.receipt_codes, Some(&reported.state), &err),
                raw,
            };
            self.owe(now_ms + u64::from(reported.after_ms), Report::Receipt(receipt));
        }
        if let Some(reply) = fate.reply {
            let media = reply.media(&self.files);
            let parts = match media.is_empty() {
                true => reply.segments(|| segment.text(), fate.number as u16),
                false => vec![(REPLY_AFTER_MS, reply.beside_media())],
            };
            for (after_ms, part) in parts {
                let inbound = InboundPart {
                    from: recipient.to_string(),
                    to: sender.to_string(),
                    segment: part,
                    media: media.clone(),
                    beside: Vec::new(),
                    opened: None,
                };
                let at_ms = now_ms + u64::from(fate.reply_after_ms) + u64::from(after_ms);
                self.owe(at_ms, Report::Inbound(inbound));
            }
        }
        if fate.link == LinkTrouble::Garbage {
            self.emit(CarrierEvent::Malformed { reason: "the simulated carrier sent garbage".to_owned() })
                .await?;
        }
        let answer = match fate.answer {
            Answer::Accept => Some(message::Answer::Accepted { carrier_id: fate.id }),
            Answer::Refuse(status) => Some(self.refusal(status)),
            Answer::Lost => None,
        };
        self.answer_later(tag, answer, u64::from(fate.answer_after_ms), permit).await?;
        if matches!(fate.link, LinkTrouble::BreaksInstead | LinkTrouble::BreaksAfter | LinkTrouble::Ends) {
            self.break_link(now_ms, "the simulated carrier closed the link").await?;
        }
        Ok(())
    }

    async fn answer_later(
        &mut self,
        tag: Tag,
        answer: Option<message::Answer>,
        after_ms: u64,
        permit: Permit,
    ) -> Result<(), Unread> {
        let timeout_ms = u64::from(self.settings.response_timeout_ms);
        let now_ms = self.now_ms();
        let mut put = |after_ms, answer, permit| {
            self.later.put(now_ms + after_ms, Action::Answer { tag, answer, permit })
        };
        match answer {
            Some(answer) if after_ms == 0 => self.answer(tag, answer, Some(permit)).await?,
            Some(answer) if after_ms <= timeout_ms => put(after_ms, answer, Some(permit)),
            Some(late) => {
                put(timeout_ms, message::Answer::None, Some(permit));
                put(after_ms, late, None);
            }
            None => put(timeout_ms, message::Answer::None, Some(permit)),
        }
        Ok(())
    }

    fn refusal(&self, status: u32) -> message::Answer {
        message::Answer::Refused(self.codes.submit(&self.name, &self.status_codes, status))
    }

    fn owe(&mut self, at_ms: u64, report: Report) {
        self.owed += 1;
        self.later.put(at_ms, Action::Report(report));
    }

    async fn act(&mut self, action: Action) -> Result<(), Unread> {
        match action {
            Action::Answer { tag, answer, permit } => self.answer(tag, answer, permit).await,
            Action::Report(report) => {
                self.ready.push_back(report);
                Ok(())
            }
        }
    }

    /// Reports the answer, with the place in the window that it frees.
    async fn answer(&self, tag: Tag, answer: message::Answer, permit: Option<Permit>) -> Result<(), Unread> {
        self.emit(CarrierEvent::Answered { tag, answer, permit }).await
    }

    /// Offers what is ready, as far as the link and the room for the unacknowledged allow.
    async fn offer(&mut self) -> Result<(), Unread> {
        while self.up_at_ms.is_none() && !self.ready.is_empty() {
            let places = self.ready.front().map_or(1, Report::places);
            let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(places) else { return Ok(()) };
            let Some(report) = self.ready.pop_front() else { return Ok(()) };
            self.owed -= 1;
            let offered = Offered { report: Some((report.clone(), room)), back: self.back.clone() };
            let acknowledge = Acknowledge::new(move || offered.stored());
            self.emit(match report {
                Report::Receipt(receipt) => CarrierEvent::Receipt { receipt, acknowledge },
                Report::Inbound(part) => CarrierEvent::Inbound { part, acknowledge },
            })
            .await?;
        }
        Ok(())
    }

    async fn emit(&self, event: CarrierEvent) -> Result<(), Unread> {
        self.events.send(event).await.map_err(|_| Unread)
    }

    async fn stop(mut self, mut submissions: mpsc::Receiver<Submission>) -> Result<(), Unread> {
        self.window.resize(0);
        submissions.close();
        let until_ms = self.now_ms() + STOP_WAITS_MS;
        for (at_ms, action) in self.later.take(|action| matches!(action, Action::Answer { .. })) {
            if let Action::Answer { tag, answer, permit: Some(permit) } = action {
                let answer = if at_ms <= until_ms { answer } else { message::Answer::None };
                self.answer(tag, answer, Some(permit)).await?;
            }
        }
        while let Some(Submission { tag, permit, .. }) = submissions.recv().await {
            self.answer(tag, message::Answer::Unsent, Some(permit)).await?;
        }
        self.state.send_replace(LinkState::Stopped);
        Ok(())
    }
}
