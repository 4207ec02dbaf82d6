//! A load as the engine makes it: several callers accept, claim, record answers and receipts, tell webhooks and take
//! opt-outs at the same time, while another process opens and closes the same file.
//!
//! Every operation gets a moment of its own as `now`; rows carry it, so that a row tells which operation wrote it.

use crate::ledger::{Ledger, Outcome};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tidings_domain::account::{Environment, Realm};
use tidings_domain::address::PhoneNumber;
use tidings_domain::assembly::Bounds;
use tidings_domain::failure::{Failure, FailureClass};
use tidings_domain::id::*;
use tidings_domain::message::{Answer, Input, Life, Message, Outcome as Reported};
use tidings_domain::purpose::Purpose;
use tidings_domain::queue::Queue;
use tidings_domain::receipt::{IdForm, Receipt};
use tidings_domain::retry::{Jitter, RetryPolicy};
use tidings_domain::sender::Sender;
use tidings_domain::suppression::Reason;
use tidings_domain::text::{Charset, Encoding, Options as TextOptions, Segment, Tables};
use tidings_domain::time::Timestamp;
use tidings_domain::webhook::Verdict;
use tidings_powercut::{Disk, Random};
use tidings_store::sqlite::{Options, Sqlite};
use tidings_store::*;

/// When a load begins: 2026-01-01T00:00:00Z.
pub const START: Timestamp = Timestamp::from_millis(1_767_225_600_000);
pub const HOME: Realm = Realm { account: AccountId::from_key(1), environment: Environment::Live };
const HOUR_MS: i64 = 3_600_000;
const ENDPOINT: EndpointId = EndpointId::from_key(1);
/// Callers, each with a connection of its own, so that it knows the lives of its messages.
const CALLERS: usize = 3;

/// How a load is run.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub seed: u64,
    /// Steps of each caller.
    pub steps: usize,
    /// Whether another process comes and goes, and the store is closed and opened again in the middle.
    pub visitors: bool,
}

/// A database on a recording disk. Small in all ways, so that little work fills its log and its cache.
pub fn options(directory: &Path, disk: &Disk) -> Options {
    Options {
        vfs: Some(disk.name()),
        cache_kib: 256,
        readers: 1,
        checkpoint_pages: 60,
        ..Options::in_directory(directory)
    }
}

/// What all callers share.
pub struct World {
    pub disk: Disk,
    pub ledger: Arc<Ledger>,
    /// How long the records of earlier disks were.
    pub before: usize,
    next: AtomicI64,
}

impl World {
    pub fn new(disk: Disk) -> Arc<Self> {
        Arc::new(Self { disk, ledger: Arc::default(), before: 0, next: AtomicI64::new(START.as_millis()) })
    }

    /// The same after the process was started again, with the disk as it is then.
    pub fn restarted(&self, disk: Disk) -> Arc<Self> {
        let next = AtomicI64::new(self.now().as_millis() + HOUR_MS);
        Arc::new(Self { disk, ledger: Arc::clone(&self.ledger), before: self.position(), next })
    }

    /// How long the record is.
    pub fn position(&self) -> usize {
        self.before + self.disk.position()
    }

    /// A moment that no other operation has.
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.next.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Does an operation and writes down how it ended.
    async fn ask<T>(&self, operation: impl AsyncFnOnce(Timestamp) -> Result<T>) -> Option<(Timestamp, T)> {
        let now = self.now();
        let result = operation(now).await;
        let outcome = match &result {
            Ok(_) => Outcome::Answered { at: self.position() },
            Err(error) => Outcome::Refused(error.clone()),
        };
        self.ledger.end(now, outcome);
        result.ok().map(|result| (now, result))
    }
}

/// Runs the load on a store that is open.
pub async fn run(world: &Arc<World>, store: Arc<dyn Backend>, plan: Plan) {
    let mut callers = Vec::new();
    for n in 0..CALLERS {
        let caller = Caller {
            world: Arc::clone(world),
            store: Arc::clone(&store),
            random: Random::new(plan.seed.wrapping_mul(31).wrapping_add(n as u64)),
            line: ConnectionId::from_key(n as i64 + 1),
            at_carrier: Vec::new(),
            sent: Vec::new(),
            told: Vec::new(),
        };
        callers.push(tokio::spawn(caller.run(plan.steps)));
    }
    for caller in callers {
        caller.await.expect("no caller panics");
    }
}

/// The whole story: open, load, another process beside it, close, open again, load.
pub async fn story(world: &Arc<World>, options: &Options, plan: Plan) -> Result<()> {
    let store: Arc<dyn Backend> = Arc::new(Sqlite::open(options)?);
    let endpoint = Endpoint {
        id: ENDPOINT,
        realm: HOME,
        url: "https://example.com/sms".to_owned(),
        description: String::new(),
        kinds: 0,
        callback_only: false,
        secret: vec![7; 24],
        previous: None,
        disabled: None,
        failing_since: None,
        created_at: START,
    };
    world.ask(async |_| store.create_endpoint(endpoint, actor()).await).await;
    if plan.visitors {
        let half = Plan { steps: plan.steps / 2, ..plan };
        tokio::join!(run(world, Arc::clone(&store), half), visit(world, options, plan.seed));
        store.close().await?;
        drop(store);
        let store: Arc<dyn Backend> = Arc::new(Sqlite::open(options)?);
        run(world, Arc::clone(&store), Plan { seed: plan.seed + 1, ..half }).await;
        // Not closed: a power cut finds a store at work. It is dropped when the images have been made.
        world.ledger.keep(store);
    } else {
        run(world, Arc::clone(&store), plan).await;
        world.ledger.keep(store);
    }
    Ok(())
}

/// The command line at work: opens the same file, changes something, closes it (which writes the log into the file).
async fn visit(world: &Arc<World>, options: &Options, seed: u64) {
    let mut random = Random::new(seed ^ 0xC0FFEE);
    let options = &Options { beside: true, ..options.clone() };
    for _ in 0..2 {
        let Ok(store) = Sqlite::open(options) else { continue };
        let store: Arc<dyn Backend> = Arc::new(store);
        for _ in 0..random.below(3) {
            world
                .ask(async |now| {
                    let (action, subject) = ("hold.set".to_owned(), "all".to_owned());
                    store.record_audit(actor(), action, subject, String::new(), now).await
                })
                .await;
        }
        drop(store.close().await);
        tokio::task::yield_now().await;
    }
}

fn actor() -> Actor {
    Actor { account: HOME.account, who: "load".to_owned() }
}

fn patience() -> Patience {
    Patience { retry: Arc::new(RetryPolicy::default()), unreachable: None, jitter: Jitter(7) }
}

/// One caller with its connection.
struct Caller {
    world: Arc<World>,
    store: Arc<dyn Backend>,
    random: Random,
    line: ConnectionId,
    /// Submitted and not answered: message, attempt, segment.
    at_carrier: Vec<(MessageId, u32, u8)>,
    /// Accepted by the carrier, with its id and the recipient.
    sent: Vec<(MessageId, String, PhoneNumber)>,
    told: Vec<Told>,
}

impl Caller {
    async fn run(mut self, steps: usize) {
        for _ in 0..steps {
            match self.random.below(100) {
                0..30 => self.accept().await,
                30..48 => self.claim().await,
                48..66 => self.answer().await,
                66..80 => self.report().await,
                80..88 => self.tell().await,
                88..92 => self.opt_out().await,
                92..95 => self.receive().await,
                95..97 => self.cancel().await,
                _ => self.record().await,
            }
        }
    }

    fn recipient(&mut self) -> PhoneNumber {
        PhoneNumber::from_digits(46_700_000_000 + self.random.below(2_000) as u64).expect("a phone number")
    }

    fn message(&mut self, now: Timestamp, n: usize, batch: Option<BatchId>) -> Message {
        let longest = *self.random.pick(&[20, 160, 600]);
        let length = 1 + self.random.below(longest);
        let segments = length.div_ceil(153).max(1) as u8;
        // The number of the operation makes ids that never meet; it is a time, as in every id.
        let id = MessageId::from_key(floor_at(now) + n as i64);
        Message {
            id,
            account: HOME.account,
            environment: HOME.environment,
            token: None,
            batch,
            purpose: *self.random.pick(&Purpose::ALL),
            sender: Sender::from_stored("ACME").expect("a sender"),
            recipient: self.recipient(),
            text: Some(format!("{:x} ", self.random.draw()).repeat(40)[..length].to_owned()),
            encoding: Encoding::Gsm7(Tables::DEFAULT),
            options: TextOptions::default(),
            segments,
            connection: self.line,
            created_at: now,
            send_at: None,
            expires_at: now.plus_ms(2 * HOUR_MS),
            callback: None,
            reference: Some(format!("order-{}", id.key())),
            metadata: self.random.chance(1, 3).then(|| format!(r#"{{"n":{n}}}"#)),
            retry_of: None,
            reply: None,
            template: None,
            programme: None,
        }
    }

    async fn accept(&mut self) {
        let world = Arc::clone(&self.world);
        let now = world.now();
        let size = 1 + self.random.below(5);
        let batch = (size > 1).then(|| BatchId::from_key(floor_at(now) + 100));
        let claimed = self.random.chance(1, 3);
        let messages: Vec<Message> = (0..size).map(|n| self.message(now, n, batch)).collect();
        let drafts: Vec<Draft> = messages
            .iter()
            .map(|message| {
                let queued = Life::queued(message.segments, message.created_at, None);
                let rules =
                    tidings_domain::message::Rules { retry: &RetryPolicy::default(), jitter: Jitter(0) };
                let life = if claimed {
                    queued.apply(Input::Claimed, message.terms(), now, rules).expect("it is queued").life
                } else {
                    queued
                };
                Draft::new(message.clone(), life)
            })
            .collect();
        let statuses: Vec<_> = drafts.iter().map(|draft| draft.life.state.status()).collect();
        let idempotency = self.random.chance(1, 2).then(|| {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&now.as_millis().to_be_bytes());
            let answer = |admissions: &[Admission]| format!("{admissions:?}").into_bytes();
            Idempotency { key, fingerprint: key, answer: Arc::new(answer) }
        });
        for message in &messages {
            world.ledger.offered(message);
            world.ledger.begin(message.id, now);
        }
        let key = idempotency.as_ref().map(|idempotency| idempotency.key);
        let intake = Intake { realm: HOME, idempotency, batch: batch.map(|id| (id, size as u32)), drafts };
        let result = self.store.accept(intake, now).await;
        let at = world.position();
        match result {
            Ok(Accepted::New(admissions, _)) => {
                world.ledger.end(now, Outcome::Answered { at });
                if let Some(key) = key {
                    world.ledger.keyed(now, key, format!("{admissions:?}").into_bytes());
                }
                for ((message, status), admission) in messages.into_iter().zip(statuses).zip(admissions) {
                    if admission != Admission::Admitted {
                        world.ledger.never(message.id);
                        continue;
                    }
                    world.ledger.stands(message.id, now, status);
                    if claimed {
                        let segments = (0..message.segments).map(|n| (message.id, 1, n));
                        self.at_carrier.extend(segments);
                    }
                    world.ledger.accepted(message.id);
                }
            }
            Ok(other) => panic!("a new call is new: {other:?}"),
            Err(error) => world.ledger.end(now, Outcome::Refused(error)),
        }
    }

    async fn claim(&mut self) {
        let limit = 1 + self.random.below(6);
        let world = Arc::clone(&self.world);
        let asked = world.ask(async |now| self.store.claim(Queue::of(self.line), limit, now).await).await;
        let Some((now, claimed)) = asked else { return };
        for ticket in claimed.tickets {
            let id = ticket.message.id;
            world.ledger.begin(id, now);
            world.ledger.stands(id, now, tidings_domain::message::Status::Sending);
            world.ledger.submitted(&ticket.message);
            self.at_carrier.extend(ticket.segments.iter().map(|&segment| (id, ticket.attempt, segment)));
        }
        self.told.extend(claimed.advanced.told);
    }

    /// Commits what happened to these messages.
    async fn advance(&mut self, happenings: Vec<(MessageId, Happening)>) -> Option<Advanced> {
        let world = Arc::clone(&self.world);
        let now = world.now();
        for (id, _) in &happenings {
            world.ledger.begin(*id, now);
        }
        let ids: Vec<MessageId> = happenings.iter().map(|(id, _)| *id).collect();
        let happenings = happenings.into_iter().map(|(_, happening)| happening).collect();
        let result = self.store.advance(happenings, now, patience()).await;
        let at = world.position();
        match result {
            Ok(mut advanced) => {
                world.ledger.end(now, Outcome::Answered { at });
                for (id, status) in ids.iter().zip(&advanced.statuses) {
                    if let Some(status) = status {
                        world.ledger.stands(*id, now, *status);
                    }
                }
                self.told.append(&mut advanced.told);
                Some(advanced)
            }
            Err(error) => {
                world.ledger.end(now, Outcome::Refused(error));
                None
            }
        }
    }

    async fn answer(&mut self) {
        let count = self.random.below(8).min(self.at_carrier.len());
        let answered: Vec<_> = self.at_carrier.drain(..count).collect();
        let mut happenings = Vec::new();
        let mut sent = Vec::new();
        for (message, attempt, segment) in answered.iter().copied() {
            let failure = |class, transient| Failure::new(class, transient, "smpp 0x00000058", "as it says");
            let answer = match self.random.below(10) {
                0 => Answer::Refused(failure(FailureClass::RateLimited, true)),
                1 => Answer::Refused(failure(FailureClass::InvalidNumber, false)),
                2 => Answer::None,
                _ => {
                    let carrier_id = format!("c{}-{segment}-{attempt}", message.key());
                    sent.push((message, carrier_id.clone()));
                    Answer::Accepted { carrier_id }
                }
            };
            happenings.push((
                message,
                Happening::To { message, input: Input::Answered { attempt, segment, answer } },
            ));
        }
        if happenings.is_empty() {
            return;
        }
        if self.advance(happenings).await.is_none() {
            // What a carrier said is told again until it is kept.
            self.at_carrier.extend(answered);
            return;
        }
        for (message, carrier_id) in sent {
            if let Some(recipient) = self.world.ledger.recipient(message) {
                self.sent.push((message, carrier_id, recipient));
            }
        }
    }

    async fn report(&mut self) {
        let count = self.random.below(8).min(self.sent.len());
        let reported: Vec<_> = self.sent.drain(..count).collect();
        let mut happenings = Vec::new();
        for (message, carrier_id, recipient) in &reported {
            let outcome = match self.random.below(8) {
                0 => None,
                1 => {
                    let failure =
                        Failure::new(FailureClass::UnknownError, true, "smpp 0x00000058", "as it says");
                    Some(Reported::Undelivered(failure))
                }
                _ => Some(Reported::Delivered),
            };
            // Some receipts belong to nobody and are kept aside.
            let stranger = if self.random.chance(1, 8) { "x" } else { "" };
            let receipt = Receipt {
                carrier_id: format!("{carrier_id}{stranger}"),
                id_form: IdForm::Any,
                our_reference: None,
                parties: vec![recipient.to_string().trim_start_matches('+').to_owned(), "ACME".to_owned()],
                outcome,
                raw: format!("id:{carrier_id}"),
            };
            happenings.push((*message, Happening::Receipt { connection: self.line, receipt }));
        }
        if !happenings.is_empty() && self.advance(happenings).await.is_none() {
            self.sent.extend(reported);
        }
    }

    async fn tell(&mut self) {
        let world = Arc::clone(&self.world);
        if self.told.is_empty() || self.random.chance(1, 4) {
            let asked = world
                .ask(async |now| self.store.claim_deliveries(vec![(ENDPOINT, 20)], 30_000, now).await)
                .await;
            self.told.extend(asked.into_iter().flat_map(|(_, told)| told));
        }
        let count = self.random.below(10).min(self.told.len());
        let told: Vec<Told> = self.told.drain(..count).collect();
        if told.is_empty() {
            return;
        }
        let good = self.random.chance(7, 8);
        world
            .ask(async |now| {
                let attempts = told.iter().filter_map(|told| attempt(told, now, good)).collect();
                self.store.record_attempts(attempts, now).await
            })
            .await;
    }

    async fn opt_out(&mut self) {
        let recipient = self.recipient();
        self.world
            .ask(async |now| {
                let entry = Suppression {
                    id: SuppressionId::from_key(floor_at(now)),
                    realm: HOME,
                    recipient,
                    programme: None,
                    reason: Reason::OptedOut,
                    source: "load".to_owned(),
                    created_at: now,
                    expires_at: None,
                    lifted: None,
                };
                self.store.suppress(vec![entry], actor()).await
            })
            .await;
    }

    async fn receive(&mut self) {
        let from = self.recipient().to_string();
        let asked = self
            .world
            .ask(async |now| {
                let text = format!("hello at {}", now.as_millis());
                let arrival = Arrival {
                    id: InboundId::from_key(floor_at(now)),
                    realm: HOME,
                    connection: self.line,
                    from,
                    to: "ACME".to_owned(),
                    segment: Segment::received(Charset::Latin1, text.as_bytes(), false, None),
                    media: Vec::new(),
                    beside: Vec::new(),
                    opened: None,
                    at: now,
                };
                let reply = Arc::new(|_: &Inbound, _, _, _: Option<&_>| None);
                let hearing = Hearing {
                    wait_ms: HOUR_MS,
                    bounds: Bounds::default(),
                    reply,
                    rules: None,
                    by_word: None,
                };
                self.store.receive(vec![arrival], hearing, now).await
            })
            .await;
        self.told.extend(asked.into_iter().flat_map(|(_, advanced)| advanced.told));
    }

    async fn cancel(&mut self) {
        let Some(message) = self.world.ledger.some_message(self.line, &mut self.random) else { return };
        self.advance(vec![(message, Happening::To { message, input: Input::Cancel })]).await;
    }

    async fn record(&mut self) {
        self.world
            .ask(async |now| {
                let (action, subject) = ("configuration.load".to_owned(), "tidings.toml".to_owned());
                self.store.record_audit(actor(), action, subject, now.as_millis().to_string(), now).await
            })
            .await;
    }
}

fn attempt(told: &Told, now: Timestamp, good: bool) -> Option<Attempt> {
    let delivery = told.delivery?;
    Some(Attempt {
        seq: 0,
        realm: told.realm,
        event: told.id,
        message: match &told.about {
            About::Message(message) => Some(message.id),
            About::Inbound(_) | About::Test => None,
        },
        endpoint: delivery.endpoint,
        lease: delivery.due_at,
        number: delivery.tries + 1,
        at: now,
        took_ms: 12,
        status: Some(if good { 200 } else { 500 }),
        request: String::new(),
        response: "as it says".to_owned(),
        verdict: if good { Verdict::Done } else { Verdict::RetryAt(now.plus_ms(HOUR_MS)) },
    })
}
