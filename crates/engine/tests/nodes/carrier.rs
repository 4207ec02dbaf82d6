//! A carrier that a test leads: it writes down what it is given, and answers when it may.

use crate::database::Database;
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use tidings_carriers::{
    Acknowledge, CarrierEvent, InboundPart, Link, LinkState, Permit, Submission, Surroundings, Tag, Window,
};
use tidings_domain::message::Answer;
use tidings_domain::text::{Charset, Segment};
use tokio::sync::{Notify, mpsc, watch};

/// Unanswered segments.
const WINDOW: usize = 10;

/// The carrier at the other end of all nodes' links.
pub struct Carrier {
    database: Arc<Database>,
    rules: Mutex<Rules>,
    changed: Notify,
    /// The connections whose links are down.
    down: Mutex<BTreeSet<String>>,
    /// What was submitted, and by which node.
    pub submitted: Mutex<Vec<(&'static str, Tag)>>,
    /// The link that was opened last.
    link: Mutex<Option<mpsc::WeakSender<CarrierEvent>>>,
    /// Of whom texts were acknowledged.
    pub acknowledged: Arc<Mutex<Vec<&'static str>>>,
}

#[derive(Clone, Copy)]
struct Rules {
    /// Whether it takes what is handed over.
    takes: bool,
    /// Whether it answers what it took.
    answers: bool,
}

impl Carrier {
    pub fn new(database: &Arc<Database>) -> Arc<Self> {
        Arc::new(Self {
            database: Arc::clone(database),
            rules: Mutex::new(Rules { takes: true, answers: true }),
            changed: Notify::new(),
            down: Mutex::default(),
            submitted: Mutex::default(),
            link: Mutex::default(),
            acknowledged: Arc::default(),
        })
    }

    pub fn takes(&self, takes: bool) {
        self.rules.lock().unwrap().takes = takes;
        self.changed.notify_waiters();
    }

    pub fn answers(&self, answers: bool) {
        self.rules.lock().unwrap().answers = answers;
        self.changed.notify_waiters();
    }

    pub fn is_reached(&self, connection: &str, is_reached: bool) {
        let mut down = self.down.lock().unwrap();
        if is_reached {
            down.remove(connection)
        } else {
            down.insert(connection.to_owned())
        };
        self.changed.notify_waiters();
    }

    pub fn submissions(&self) -> usize {
        self.submitted.lock().unwrap().len()
    }

    /// Passes on what people wrote, all at once, over the link that was opened last.
    pub fn passes_on(&self, texts: &[(&'static str, &str)]) {
        let link = self.link.lock().unwrap().as_ref().and_then(mpsc::WeakSender::upgrade).unwrap();
        for (from, text) in texts {
            let part = InboundPart {
                from: (*from).to_owned(),
                to: "72345".to_owned(),
                segment: Segment::received(Charset::Latin1, text.as_bytes(), false, None),
                media: Vec::new(),
                beside: Vec::new(),
                opened: None,
            };
            let (from, acknowledged) = (*from, Arc::clone(&self.acknowledged));
            let acknowledge = Acknowledge::new(move || acknowledged.lock().unwrap().push(from));
            link.try_send(CarrierEvent::Inbound { part, acknowledge }).unwrap();
        }
    }

    /// Opens a link for a node.
    pub fn open(self: &Arc<Self>, node: &'static str, surroundings: &Surroundings) -> Link {
        let (submissions_in, submissions) = mpsc::channel(WINDOW + 255);
        let (events_in, events) = mpsc::channel(100);
        *self.link.lock().unwrap() = Some(events_in.downgrade());
        let (state_in, state) = watch::channel(LinkState::Up { sessions: 1 });
        let (stop, stopped) = watch::channel(false);
        let window = Window::new();
        window.resize(WINDOW);
        self.database.note(format!("{node}: open {}", surroundings.name));
        let session = Session {
            carrier: Arc::clone(self),
            node,
            surroundings: surroundings.clone(),
            window: Arc::clone(&window),
            events: events_in,
            waiting: VecDeque::new(),
            pending: VecDeque::new(),
        };
        tokio::spawn(session.run(submissions, stopped, state_in));
        Link { submissions: submissions_in, events, window, state, stop, faults: None }
    }
}

struct Session {
    carrier: Arc<Carrier>,
    node: &'static str,
    surroundings: Surroundings,
    window: Arc<Window>,
    events: mpsc::Sender<CarrierEvent>,
    waiting: VecDeque<Submission>,
    pending: VecDeque<(Tag, Permit)>,
}

impl Session {
    async fn run(
        mut self,
        mut submissions: mpsc::Receiver<Submission>,
        mut stop: watch::Receiver<bool>,
        state: watch::Sender<LinkState>,
    ) {
        let carrier = Arc::clone(&self.carrier);
        loop {
            let changed = carrier.changed.notified();
            let rules = *carrier.rules.lock().unwrap();
            let is_down = carrier.down.lock().unwrap().contains(&self.surroundings.name);
            state.send_replace(match is_down {
                true => LinkState::Connecting { reason: None },
                false => LinkState::Up { sessions: 1 },
            });
            if rules.takes {
                while let Some(submission) = self.waiting.pop_front() {
                    self.submit(submission).await;
                }
            }
            if rules.answers {
                while let Some((tag, permit)) = self.pending.pop_front() {
                    self.answer(tag, Answer::Accepted { carrier_id: format!("{}", tag.message) }, permit)
                        .await;
                }
            }
            if *stop.borrow() && self.pending.is_empty() {
                break;
            }
            tokio::select! {
                Some(submission) = submissions.recv() => self.waiting.push_back(submission),
                _ = stop.changed(), if !*stop.borrow() => {
                    self.window.resize(0);
                    for submission in std::mem::take(&mut self.waiting) {
                        self.answer(submission.tag, Answer::Unsent, submission.permit).await;
                    }
                }
                // A carrier that does not answer is given up when the link is to end.
                () = tokio::time::sleep(std::time::Duration::from_secs(5)), if *stop.borrow() => {
                    while let Some((tag, permit)) = self.pending.pop_front() {
                        self.answer(tag, Answer::None, permit).await;
                    }
                }
                () = changed => {}
                () = self.events.closed() => return,
            }
        }
        submissions.close();
        while let Some(submission) = submissions.recv().await {
            self.answer(submission.tag, Answer::Unsent, submission.permit).await;
        }
        self.carrier.database.note(format!("{}: closed {}", self.node, self.surroundings.name));
        state.send_replace(LinkState::Stopped);
    }

    async fn submit(&mut self, Submission { tag, permit, .. }: Submission) {
        if !(self.surroundings.may_send)() {
            return self.answer(tag, Answer::Unsent, permit).await;
        }
        self.carrier.submitted.lock().unwrap().push((self.node, tag));
        self.pending.push_back((tag, permit));
    }

    async fn answer(&self, tag: Tag, answer: Answer, permit: Permit) {
        drop(self.events.send(CarrierEvent::Answered { tag, answer, permit: Some(permit) }).await);
    }
}
