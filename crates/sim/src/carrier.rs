//! A carrier: what it takes and what it does with it is its own and survives every crash of ours; a link to it belongs
//! to one process and dies with it. It keeps the contract of `tidings_carriers`, and everything that the contract
//! allows may happen.

use crate::fault::Fault;
use crate::later::Later;
use crate::ledger::{self, Happened, Ms, Report, Says};
use crate::plan::{ConnectionPlan, Style};
use crate::random::Random;
use crate::stage::{Life, Stage};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use tidings_carriers::{
    Acknowledge, CarrierEvent, InboundPart, Link, LinkState, Permit, Submission, Tag, Window,
};
use tidings_domain::failure::{Failure, FailureClass};
use tidings_domain::message::{Answer, Outcome};
use tidings_domain::receipt::{IdForm, Receipt};
use tidings_domain::text::{Charset, Segment};
use tokio::sync::{Notify, mpsc, watch};

/// Events that may wait to be read.
const EVENTS: usize = 64;
/// Submissions taken at once.
const BATCH: usize = 32;
/// At a stop, answers are waited for so long.
const STOP_WAITS_MS: Ms = 5_000;

/// Asked right before each submission is written.
pub type MaySend = Arc<dyn Fn() -> bool + Send + Sync>;

/// A carrier, behind one connection.
pub struct Carrier {
    stage: Arc<Stage>,
    place: usize,
    plan: ConnectionPlan,
    books: Mutex<Books>,
    bell: Notify,
    /// Those of all connections that lead to it, if there are several.
    ways: OnceLock<Vec<Weak<Carrier>>>,
}

/// What the carrier knows, whoever speaks to it.
#[derive(Default)]
struct Books {
    /// Reports that it owes, by the time at which they may be offered.
    owed: Later<Owed>,
    /// Ids given so far.
    ids: u64,
    /// Chances so far, to tell them apart.
    chances: u64,
}

/// A report that is to be offered, until it is acknowledged.
#[derive(Debug, Clone)]
struct Owed {
    report: u32,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Receipt(Receipt),
    Inbound(InboundPart),
}

/// A link to nobody, which is closed.
pub fn nobody() -> Link {
    let (submissions, _) = mpsc::channel(1);
    let (_, events) = mpsc::channel(1);
    let (_, state) = watch::channel(LinkState::Stopped);
    let (stop, _) = watch::channel(false);
    Link { submissions, events, window: Window::new(), state, stop, faults: None }
}

impl Carrier {
    /// Those of all connections, in their order.
    pub fn all(stage: &Arc<Stage>) -> Vec<Arc<Self>> {
        let one = |(place, plan): (usize, &ConnectionPlan)| {
            let (books, ways) = (Mutex::default(), OnceLock::new());
            let (stage, plan) = (Arc::clone(stage), plan.clone());
            Arc::new(Self { stage, place, plan, books, bell: Notify::new(), ways })
        };
        let all: Vec<Arc<Self>> = stage.plan.connections.iter().enumerate().map(one).collect();
        if stage.plan.one_carrier {
            for carrier in &all {
                carrier.ways.get_or_init(|| all.iter().map(Arc::downgrade).collect());
            }
        }
        all
    }

    /// Where it offers a report: mostly here.
    fn way(self: &Arc<Self>, report: u32) -> Arc<Self> {
        let mut random = Random::of(self.stage.plan.seed, &[503, self.place as u64, u64::from(report)]);
        let ways = self.ways.get().filter(|_| random.hits(300));
        ways.and_then(|ways| random.pick(ways).upgrade()).unwrap_or_else(|| Arc::clone(self))
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().expect("nothing panics while it holds this")
    }

    /// Whether it has reported everything.
    pub fn is_settled(&self) -> bool {
        self.books().owed.is_empty()
    }

    /// Opens a link for a process.
    pub fn open(self: &Arc<Self>, life: &Arc<Life>, may_send: MaySend) -> Link {
        let (submissions_in, submissions) = mpsc::channel(self.plan.window + 255);
        let (events_in, events) = mpsc::channel(EVENTS);
        let (state_in, state) = watch::channel(LinkState::Connecting { reason: None });
        let (stop, stopped) = watch::channel(false);
        let window = Window::new();
        let mut session = Session {
            carrier: Arc::clone(self),
            life: Arc::clone(life),
            may_send,
            window: Arc::clone(&window),
            state: state_in,
            events: events_in,
            later: Later::default(),
            pending: BTreeMap::new(),
            unwritten: VecDeque::new(),
            blocked_until_ms: 0,
            unacknowledged: Arc::default(),
            is_up: false,
        };
        session.look_at_spells();
        self.stage.note(Happened::Opened { connection: self.place, process: life.number });
        let task = tokio::spawn(session.run(submissions, stopped));
        life.owns(task.abort_handle());
        Link { submissions: submissions_in, events, window, state, stop, faults: None }
    }

    fn chance(&self) -> u64 {
        let mut books = self.books();
        books.chances += 1;
        books.chances
    }

    fn owe(&self, at_ms: Ms, owed: Owed) {
        self.books().owed.put(at_ms, owed);
        self.bell.notify_one();
    }
}

/// One link of one process.
struct Session {
    carrier: Arc<Carrier>,
    life: Arc<Life>,
    may_send: MaySend,
    window: Arc<Window>,
    state: watch::Sender<LinkState>,
    events: mpsc::Sender<CarrierEvent>,
    later: Later<Todo>,
    /// Written and not answered, by the number of the submission.
    pending: BTreeMap<u32, (Tag, Permit)>,
    /// Taken over and not yet written.
    unwritten: VecDeque<Submission>,
    blocked_until_ms: Ms,
    unacknowledged: Arc<AtomicUsize>,
    is_up: bool,
}

enum Todo {
    /// The answer is there.
    Answer(u32, ledger::Answer, Answer),
    /// It was waited for long enough.
    GiveUp(u32),
    /// An answer after all, or once more.
    Again(u32, Tag, ledger::Answer, Answer),
    /// The link breaks.
    Break,
    /// Something may be different now.
    Look,
}

impl Session {
    async fn run(mut self, mut submissions: mpsc::Receiver<Submission>, mut stop: watch::Receiver<bool>) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut is_open = true;
        loop {
            self.life.moves().await;
            if self.life.is_over() {
                return;
            }
            self.follow_the_link().await;
            let now_ms = self.stage().now_ms();
            while let Some(todo) = self.later.due(now_ms) {
                self.act(todo).await;
            }
            self.write_what_waits().await;
            self.offer().await;
            let (carrier, at) = (Arc::clone(&self.carrier), self.next());
            tokio::select! {
                biased;
                changed = stop.changed() => if changed.is_err() || *stop.borrow() { break },
                taken = submissions.recv_many(&mut batch, BATCH), if is_open => {
                    is_open = taken > 0;
                    for submission in batch.drain(..) {
                        self.take(submission).await;
                    }
                }
                () = carrier.bell.notified() => {}
                () = tokio::time::sleep_until(at) => {}
            }
        }
        self.stop(submissions).await;
    }

    fn stage(&self) -> &Stage {
        &self.carrier.stage
    }

    /// When to look again at the latest.
    fn next(&self) -> tokio::time::Instant {
        let blocked = (!self.unwritten.is_empty()).then_some(self.blocked_until_ms);
        let can_offer = self.is_up && !self.is_mute();
        let owed = if can_offer { self.carrier.books().owed.next_ms() } else { None };
        // A report that waits for room is woken by an acknowledgement.
        let has_room = self.unacknowledged.load(Ordering::Relaxed) < self.carrier.plan.unacknowledged;
        let at_ms = [self.later.next_ms(), blocked, owed.filter(|_| has_room)].into_iter().flatten().min();
        let now_ms = self.stage().now_ms();
        self.stage().moment(at_ms.map_or(now_ms + 3_600_000, |at_ms| at_ms.max(now_ms + 1)))
    }

    fn spell(&self, fault: Fault) -> Option<crate::plan::Spell> {
        self.stage().plan.spell(fault, self.carrier.place, self.stage().now_ms())
    }

    /// Whether nothing comes through at the moment.
    fn is_mute(&self) -> bool {
        self.spell(Fault::HalfOpen).is_some() || self.is_cut_off()
    }

    /// Whether our end reaches no carrier at the moment.
    fn is_cut_off(&self) -> bool {
        let (node, now_ms) = (self.life.node, self.stage().now_ms());
        self.stage().plan.spell(Fault::CutFromCarriers, node, now_ms).is_some()
    }

    /// Looks at the beginnings and ends of what lasts.
    fn look_at_spells(&mut self) {
        let (now_ms, place) = (self.stage().now_ms(), self.carrier.place);
        let node = self.life.node;
        let touches = |spell: &&crate::plan::Spell| match spell.fault {
            Fault::CutFromCarriers => spell.place == node,
            _ => spell.place == place,
        };
        for spell in self.carrier.stage.plan.spells.iter().filter(touches) {
            match spell.fault {
                Fault::Outage if spell.from_ms > now_ms => self.later.put(spell.from_ms, Todo::Break),
                // Nobody answered for so long that the link is taken for dead.
                Fault::HalfOpen | Fault::CutFromCarriers if spell.to_ms > now_ms => {
                    self.later.put(spell.to_ms, Todo::Break)
                }
                _ => {}
            }
            let ends = matches!(spell.fault, Fault::Outage | Fault::HalfOpen | Fault::CutFromCarriers);
            if ends && spell.to_ms > now_ms {
                self.later.put(spell.to_ms, Todo::Look);
            }
        }
        self.later.put(now_ms + 10, Todo::Look);
    }

    async fn follow_the_link(&mut self) {
        if self.is_up {
            return;
        }
        if let Some(spell) = self.spell(Fault::Outage) {
            let state = if spell.permille < 1_000 {
                LinkState::Connecting { reason: Some("nobody accepts".to_owned()) }
            } else {
                LinkState::Refused { reason: "bind failed".to_owned() }
            };
            self.state.send_replace(state);
            return;
        }
        if self.is_cut_off() {
            self.state.send_replace(LinkState::Connecting { reason: Some("nobody is reached".to_owned()) });
            return;
        }
        self.is_up = true;
        self.state.send_replace(LinkState::Up { sessions: 1 });
        let (connection, process) = (self.carrier.place, self.life.number);
        self.stage().note(Happened::LinkUp { connection, process });
        self.window.resize(self.carrier.plan.window);
    }

    /// What was written may be there or not; what was not cannot be.
    async fn break_link(&mut self) {
        if !self.is_up {
            return;
        }
        self.is_up = false;
        self.window.resize(0);
        self.state.send_replace(LinkState::Connecting { reason: Some("the link broke".to_owned()) });
        self.stage().note(Happened::LinkDown { connection: self.carrier.place });
        self.later.keep(|todo| matches!(todo, Todo::Break | Todo::Look));
        for (number, (tag, permit)) in std::mem::take(&mut self.pending) {
            self.give(number, tag, ledger::Answer::None, Answer::None, Some(permit)).await;
        }
        for submission in std::mem::take(&mut self.unwritten) {
            self.unsent(submission.tag, submission.permit).await;
        }
        let again_ms = self.stage().now_ms() + 700;
        self.later.put(again_ms, Todo::Look);
    }

    async fn take(&mut self, submission: Submission) {
        if !self.is_up {
            return self.unsent(submission.tag, submission.permit).await;
        }
        let chance = self.carrier.chance();
        let place = self.carrier.place as u64;
        if let Some(mut random) = self.stage().strikes(Fault::SlowSocket, &[place, chance]) {
            self.blocked_until_ms = self.stage().now_ms() + random.between(1, 4_000);
        }
        self.unwritten.push_back(submission);
        self.write_what_waits().await;
    }

    async fn write_what_waits(&mut self) {
        while self.is_up && self.blocked_until_ms <= self.stage().now_ms() {
            let Some(submission) = self.unwritten.pop_front() else { return };
            if self.life.is_over() {
                return;
            }
            self.write(submission).await;
        }
    }

    /// From here on the carrier may have it.
    async fn write(&mut self, submission: Submission) {
        let Submission {
            tag,
            sender,
            recipient,
            segment,
            validity_s,
            waits_s,
            since,
            our_reference,
            permit,
            ..
        } = submission;
        // It may have waited for a slow socket: the rest of its time is what is left of it, unless it is to be asked again.
        let waited_s = u32::try_from(since.elapsed().as_secs()).unwrap_or(u32::MAX);
        if waited_s >= waits_s {
            return self.unsent(tag, permit).await;
        }
        let validity_s = validity_s - waited_s;
        self.life.moves().await;
        if !(self.may_send)() {
            return self.unsent(tag, permit).await;
        }
        let number = u32::try_from(self.stage().ledger().submissions.len()).expect("few are sent");
        let (place, n) = (self.carrier.place as u64, u64::from(number));
        let now_ms = self.stage().now_ms();
        let plan = self.carrier.plan.clone();
        let mut random = Random::of(self.stage().plan.seed, &[500, place, n]);
        let strikes = |fault| self.stage().strikes(fault, &[place, n]);

        let (said, answer) = self.verdict(number);
        let mute = self.is_mute();
        let lost = strikes(Fault::AnswerLost);
        let silent = mute || lost.is_some();
        // A refusal that gets lost is a refusal still; what is accepted in silence may never have arrived.
        let arrived = !silent || random.hits(600);
        let taken = said == ledger::Answer::Accepted && arrived;
        self.stage().ledger().submissions.push(ledger::Submission {
            at_ms: now_ms,
            connection: self.carrier.place,
            process: self.life.number,
            message: tag.message.key(),
            attempt: tag.attempt,
            segment: tag.segment,
            sender: sender.to_string(),
            recipient: recipient.to_string(),
            text: segment.text(),
            validity_s,
            taken,
            wall_ms: self.stage().wall_ms(),
        });
        self.stage().note(Happened::Submitted { submission: number });
        let answer_ms = if plan.answer_ms == 0 { 0 } else { random.between(1, plan.answer_ms) };
        let late = self.stage().strikes(Fault::AnswerLate, &[place, n]);
        let answer_ms =
            late.map_or(answer_ms, |mut random| random.between(plan.patience_ms / 2, plan.patience_ms * 4));
        let id = self.id(number);
        if taken {
            let parties = vec![recipient.digits().to_string(), sender.to_string()];
            self.report(number, answer_ms, &id, our_reference, parties);
        }
        if self.stage().strikes(Fault::CrashAtSubmission, &[place, n]).is_some() {
            return self.stage().crash(&self.life);
        }
        let answer = match answer {
            Answer::Accepted { .. } => Answer::Accepted { carrier_id: id.0.clone() },
            other => other,
        };
        self.pending.insert(number, (tag, permit));
        self.later.put(now_ms + plan.patience_ms, Todo::GiveUp(number));
        if !silent && answer_ms <= plan.patience_ms {
            let doubled = self.stage().strikes(Fault::AnswerDoubled, &[place, n]);
            if let (Some(mut random), Answer::Accepted { .. }) = (doubled, &answer) {
                let again_ms = now_ms + answer_ms + random.between(1, 2_000);
                self.later.put(again_ms, Todo::Again(number, tag, said, answer.clone()));
            }
            if answer_ms == 0 {
                self.act(Todo::Answer(number, said, answer)).await;
            } else {
                self.later.put(now_ms + answer_ms, Todo::Answer(number, said, answer));
            }
        } else if !silent {
            self.later.put(now_ms + answer_ms, Todo::Again(number, tag, said, answer));
        }
        if let Some(mut random) = self.stage().strikes(Fault::LinkBreaks, &[place, n]) {
            self.later.put(now_ms + random.below(300), Todo::Break);
        }
    }

    /// What the carrier thinks of a submission.
    fn verdict(&self, number: u32) -> (ledger::Answer, Answer) {
        let labels = [self.carrier.place as u64, u64::from(number)];
        let strikes = |fault| self.stage().strikes(fault, &labels).is_some();
        let refused = |said, class, transient, code: &str| {
            (said, Answer::Refused(Failure::new(class, transient, code, "refused")))
        };
        if let Some(spell) = self.spell(Fault::Throttled)
            && self.stage().random(Fault::Throttled, &labels).hits(spell.permille)
        {
            let said = ledger::Answer::Throttled;
            return refused(said, FailureClass::RateLimited, true, "smpp 0x00000058");
        }
        if strikes(Fault::QueueFull) {
            let said = ledger::Answer::QueueFull;
            return refused(said, FailureClass::RateLimited, true, "smpp 0x00000014");
        }
        if strikes(Fault::RefusedForNow) {
            let said = ledger::Answer::RefusedForNow;
            return refused(said, FailureClass::UnknownError, true, "smpp 0x00000008");
        }
        if strikes(Fault::RefusedForGood) {
            let said = ledger::Answer::RefusedForGood;
            return refused(said, FailureClass::Filtered, false, "smpp 0x00000045");
        }
        if strikes(Fault::RefusedOptedOut) {
            let said = ledger::Answer::RefusedOptedOut;
            return refused(said, FailureClass::OptedOut, false, "smpp 0x000004F3");
        }
        if strikes(Fault::RefusedOurs) {
            let said = ledger::Answer::RefusedOurs;
            return refused(said, FailureClass::AuthFailed, false, "smpp 0x0000000E");
        }
        (ledger::Answer::Accepted, Answer::Accepted { carrier_id: String::new() })
    }

    /// The id of a submission: as the answer has it, and as receipts have it.
    fn id(&self, submission: u32) -> (String, String) {
        let number = if self.stage().plan.faults.has(Fault::IdsCollide) {
            // Short ids of two carriers' making: each is another's in another form, now and then.
            let mut books = self.carrier.books();
            books.ids += 1;
            u128::from(8 + books.ids)
        } else {
            let mut random =
                Random::of(self.stage().plan.seed, &[501, self.carrier.place as u64, u64::from(submission)]);
            u128::from(random.bits()) << 32 | 0xA000_0000 | u128::from(submission)
        };
        match self.carrier.plan.style {
            Style::Same => (format!("{number:x}"), format!("{number:x}")),
            Style::HexThenDecimal => (format!("{number:X}"), format!("{number}")),
            Style::DecimalThenHex => (format!("{number}"), format!("{number:x}")),
            Style::OtherCase => (format!("{number:x}"), format!("{number:X}")),
            Style::Padded => (format!("{number:x}"), format!("{number:0>40x}")),
        }
    }

    /// Decides what the phone will say of a submission that the carrier took, and when.
    fn report(
        &self,
        number: u32,
        answer_ms: Ms,
        id: &(String, String),
        our_reference: u16,
        parties: Vec<String>,
    ) {
        let stage = self.stage();
        let (place, n) = (self.carrier.place as u64, u64::from(number));
        let strikes = |fault| stage.strikes(fault, &[place, n]);
        let mut random = Random::of(stage.plan.seed, &[502, place, n]);
        let plan = &self.carrier.plan;
        let now_ms = stage.now_ms();
        let mut after_ms = answer_ms + random.between(1, plan.receipt_ms);
        if let Some(mut random) = strikes(Fault::ReceiptLate) {
            after_ms += random.between(10_000, 200_000);
        }
        if let Some(mut random) = strikes(Fault::ReceiptEarly) {
            after_ms = random.below(answer_ms.max(1));
        }
        if strikes(Fault::ReceiptUnknown).is_some() {
            let parties = if random.hits(500) { parties.clone() } else { vec!["15550009999".to_owned()] };
            let stray = format!("ffff{:016x}", random.bits());
            self.owe(now_ms + after_ms / 2, None, Says::Undelivered, (stray, None), parties, false);
        }
        if let Some(mut random) = strikes(Fault::ReceiptStranger) {
            let strangers = vec!["15550008888".to_owned(), "15550007777".to_owned()];
            let at_ms = now_ms + random.between(0, after_ms);
            self.owe(at_ms, None, Says::Undelivered, (id.1.clone(), None), strangers, false);
        }
        if let Some(mut random) = strikes(Fault::Inbound) {
            self.answer_of_phone(now_ms + after_ms + random.between(1, 5_000), &parties);
        }
        if strikes(Fault::ReceiptNever).is_some() {
            return;
        }
        let mut parties = parties;
        if strikes(Fault::ReceiptSwapped).is_some() {
            parties.reverse();
        }
        let reference_only = strikes(Fault::ReceiptReference).is_some();
        let shown = if reference_only { String::new() } else { id.1.clone() };
        let echoed = (plan.echoes || reference_only).then_some(our_reference);
        let by_id = !reference_only;
        let says = match strikes(Fault::ReceiptBad) {
            Some(mut random) => *random.pick(&[
                Says::Undelivered,
                Says::Undelivered,
                Says::Expired,
                Says::Rejected,
                Says::Unknown,
            ]),
            None if strikes(Fault::ReceiptOptedOut).is_some() => Says::OptedOut,
            None => Says::Delivered,
        };
        if let Some(mut random) = strikes(Fault::ReceiptProgress) {
            let at_ms = now_ms + random.between(after_ms / 2, after_ms);
            self.owe(at_ms, Some(number), Says::Progress, (shown.clone(), echoed), parties.clone(), by_id);
        }
        let mut times = 1;
        if let Some(mut random) = strikes(Fault::ReceiptDoubled) {
            times += random.between(1, 2);
        }
        for time in 0..times {
            let at_ms = now_ms + after_ms + time * random.below(3_000);
            self.owe(at_ms, Some(number), says, (shown.clone(), echoed), parties.clone(), by_id);
        }
    }

    fn owe(
        &self,
        at_ms: Ms,
        submission: Option<u32>,
        says: Says,
        (carrier_id, our_reference): (String, Option<u16>),
        parties: Vec<String>,
        by_id: bool,
    ) {
        let mut ledger = self.stage().ledger();
        let report = u32::try_from(ledger.reports.len()).expect("few are sent");
        let raw = match submission {
            Some(submission) => format!("sub:{submission} says:{says:?} report:{report}"),
            None => format!("stray says:{says:?} report:{report}"),
        };
        ledger.reports.push(Report {
            submission,
            says,
            parties: parties.clone(),
            id: carrier_id.clone(),
            by_id,
            by_reference: our_reference.is_some() && submission.is_some(),
            raw: raw.clone(),
        });
        drop(ledger);
        // Where forms collide, the operator must say which it is.
        let id_form = match self.carrier.plan.style {
            _ if !self.stage().plan.faults.has(Fault::IdsCollide) => IdForm::Any,
            Style::Same | Style::OtherCase | Style::Padded => IdForm::Same,
            Style::HexThenDecimal => IdForm::HexThenDecimal,
            Style::DecimalThenHex => IdForm::DecimalThenHex,
        };
        let receipt = Receipt { carrier_id, id_form, our_reference, parties, outcome: outcome(says), raw };
        self.carrier.way(report).owe(at_ms, Owed { report, what: What::Receipt(receipt) });
    }

    fn answer_of_phone(&self, at_ms: Ms, parties: &[String]) {
        let mut ledger = self.stage().ledger();
        let report = u32::try_from(ledger.reports.len()).expect("few are sent");
        let raw = format!("inbound {report}");
        ledger.reports.push(Report {
            submission: None,
            says: Says::Inbound,
            parties: parties.to_vec(),
            id: String::new(),
            by_id: false,
            by_reference: false,
            raw: raw.clone(),
        });
        drop(ledger);
        let part = InboundPart {
            from: format!("+{}", parties[0]),
            to: parties[1].clone(),
            segment: Segment::received(Charset::Latin1, raw.as_bytes(), false, None),
            media: Vec::new(),
            beside: Vec::new(),
            opened: None,
        };
        self.carrier.way(report).owe(at_ms, Owed { report, what: What::Inbound(part) });
    }

    async fn act(&mut self, todo: Todo) {
        match todo {
            // While nothing comes through, an answer is lost.
            Todo::Answer(..) | Todo::Again(..) if self.is_mute() => {}
            Todo::Answer(number, said, answer) => {
                if let Some((tag, permit)) = self.pending.remove(&number) {
                    self.give(number, tag, said, answer, Some(permit)).await;
                }
            }
            Todo::GiveUp(number) => {
                if let Some((tag, permit)) = self.pending.remove(&number) {
                    self.give(number, tag, ledger::Answer::None, Answer::None, Some(permit)).await;
                }
            }
            Todo::Again(number, tag, said, answer) => self.give(number, tag, said, answer, None).await,
            Todo::Break => self.break_link().await,
            Todo::Look => {}
        }
    }

    async fn give(
        &self,
        submission: u32,
        tag: Tag,
        said: ledger::Answer,
        answer: Answer,
        permit: Option<Permit>,
    ) {
        self.life.moves().await;
        self.stage().note(Happened::Answered { submission, answer: said, late: permit.is_none() });
        self.emit(CarrierEvent::Answered { tag, answer, permit }).await;
    }

    async fn unsent(&self, tag: Tag, permit: Permit) {
        self.life.moves().await;
        self.stage().note(Happened::Unsent { message: tag.message.key(), segment: tag.segment });
        self.emit(CarrierEvent::Answered { tag, answer: Answer::Unsent, permit: Some(permit) }).await;
    }

    /// Offers what is due, as far as there is room for the unacknowledged.
    async fn offer(&mut self) {
        while self.is_up && !self.is_mute() && !self.life.is_over() {
            self.life.moves().await;
            if self.unacknowledged.load(Ordering::Relaxed) >= self.carrier.plan.unacknowledged {
                return;
            }
            let now_ms = self.stage().now_ms();
            let Some(owed) = self.carrier.books().owed.due(now_ms) else { return };
            self.unacknowledged.fetch_add(1, Ordering::Relaxed);
            self.stage().note(Happened::Offered { report: owed.report });
            let what = owed.what.clone();
            let offered = Offered {
                owed: Some(owed),
                carrier: Arc::clone(&self.carrier),
                life: Arc::clone(&self.life),
                unacknowledged: Arc::clone(&self.unacknowledged),
            };
            let acknowledge = Acknowledge::new(move || offered.stored());
            self.emit(match what {
                What::Receipt(receipt) => CarrierEvent::Receipt { receipt, acknowledge },
                What::Inbound(part) => CarrierEvent::Inbound { part, acknowledge },
            })
            .await;
        }
    }

    async fn emit(&self, event: CarrierEvent) {
        // Nobody reads any more: then the process is gone, and so is this.
        drop(self.events.send(event).await);
    }

    async fn stop(mut self, mut submissions: mpsc::Receiver<Submission>) {
        self.window.resize(0);
        submissions.close();
        while let Some(submission) = submissions.recv().await {
            self.unsent(submission.tag, submission.permit).await;
        }
        for submission in std::mem::take(&mut self.unwritten) {
            self.unsent(submission.tag, submission.permit).await;
        }
        let until_ms = self.stage().now_ms() + STOP_WAITS_MS;
        while !self.pending.is_empty() && self.stage().now_ms() < until_ms {
            let at_ms = self.later.next_ms().unwrap_or(until_ms).min(until_ms);
            tokio::time::sleep_until(self.stage().moment(at_ms)).await;
            let now_ms = self.stage().now_ms();
            while let Some(todo) = self.later.due(now_ms) {
                if matches!(todo, Todo::Answer(..) | Todo::GiveUp(..)) {
                    self.act(todo).await;
                }
            }
        }
        for (number, (tag, permit)) in std::mem::take(&mut self.pending) {
            self.give(number, tag, ledger::Answer::None, Answer::None, Some(permit)).await;
        }
        self.life.moves().await;
        self.stage().note(Happened::LinkDown { connection: self.carrier.place });
        self.state.send_replace(LinkState::Stopped);
    }
}

/// A report on its way to the store. Dropped before it is stored, it is owed again.
struct Offered {
    owed: Option<Owed>,
    carrier: Arc<Carrier>,
    life: Arc<Life>,
    unacknowledged: Arc<AtomicUsize>,
}

impl Offered {
    fn stored(mut self) {
        if self.life.is_over() {
            return;
        }
        if let Some(owed) = self.owed.take() {
            self.carrier.stage.note(Happened::Acknowledged { report: owed.report });
        }
    }
}

impl Drop for Offered {
    fn drop(&mut self) {
        self.unacknowledged.fetch_sub(1, Ordering::Relaxed);
        if let Some(owed) = self.owed.take() {
            let at_ms = self.carrier.stage.now_ms() + 1_000;
            self.carrier.books().owed.put(at_ms, owed);
        }
        self.carrier.bell.notify_one();
    }
}

fn outcome(says: Says) -> Option<Outcome> {
    let failure = |class, transient| Failure::new(class, transient, "smpp-receipt X", "so says the receipt");
    Some(match says {
        Says::Progress | Says::Inbound => return None,
        Says::Delivered => Outcome::Delivered,
        Says::Unknown => Outcome::Unknown(failure(FailureClass::UnknownError, true)),
        Says::Expired => Outcome::Expired(failure(FailureClass::UnknownError, true)),
        Says::Undelivered => Outcome::Undelivered(failure(FailureClass::UnknownError, true)),
        Says::OptedOut => Outcome::Undelivered(failure(FailureClass::OptedOut, false)),
        Says::Rejected => Outcome::Rejected(failure(FailureClass::Filtered, false)),
    })
}
