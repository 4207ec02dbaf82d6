//! Messages, receipts and the rest as the tests need them: ordinary but for what a test says.

use std::sync::Arc;
use tidings_domain::account::{Environment, Realm};
use tidings_domain::address::PhoneNumber;
use tidings_domain::assembly::Bounds;
use tidings_domain::failure::{Failure, FailureClass};
use tidings_domain::id::*;
use tidings_domain::keyword::Keyword;
use tidings_domain::message::{Answer, Input, Life, Message, Outcome, Status};
use tidings_domain::programme::Name;
use tidings_domain::purpose::Purpose;
use tidings_domain::queue::{Paces, Queue};
use tidings_domain::receipt::{IdForm, Receipt};
use tidings_domain::reply::{self, Reply};
use tidings_domain::retry::{Jitter, RetryPolicy};
use tidings_domain::sender::Sender;
use tidings_domain::text::{Charset, Encoding, Options, Part, Segment, Tables};
use tidings_domain::time::Timestamp;
use tidings_store::model::Disk;
use tidings_store::*;

/// When the tests begin: 2026-01-01T00:00:00Z.
pub const START: Timestamp = Timestamp::from_millis(1_767_225_600_000);
pub const HOUR_MS: i64 = 3_600_000;
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// Everything but messages and silences is forgotten after a day.
pub const KEPT_A_DAY: Retention =
    Retention { idempotency_ms: DAY_MS, parked_ms: DAY_MS, attempts_ms: DAY_MS, ..Retention::FOR_EVER };
pub const HOME: Realm = Realm { account: AccountId::from_key(1), environment: Environment::Live };
pub const LINE: ConnectionId = ConnectionId::from_key(1);
pub const OTHER_LINE: ConnectionId = ConnectionId::from_key(2);
/// Everything fits.
pub const MANY: usize = 1_000;

/// So many seconds after the start.
pub fn at(seconds: i64) -> Timestamp {
    START.plus_s(seconds)
}

/// The id of the sample message with this number.
pub fn id(n: i64) -> MessageId {
    MessageId::from_key(floor_at(START) + n)
}

pub fn number(n: u64) -> PhoneNumber {
    PhoneNumber::from_digits(46_700_000_000 + n).expect("a phone number")
}

/// The sample message with this number: transactional, one segment, to a recipient of its own.
pub fn message(n: i64) -> Message {
    Message {
        id: id(n),
        account: HOME.account,
        environment: HOME.environment,
        token: None,
        batch: None,
        purpose: Purpose::Transactional,
        sender: Sender::from_stored("ACME").expect("a sender"),
        recipient: number(n as u64),
        text: Some(format!("text {n}")),
        encoding: Encoding::Gsm7(Tables::DEFAULT),
        options: Options::default(),
        segments: 1,
        connection: LINE,
        created_at: START,
        send_at: None,
        expires_at: START.plus_ms(2 * HOUR_MS),
        callback: None,
        reference: None,
        metadata: None,
        retry_of: None,
        reply: None,
        template: None,
        programme: None,
    }
}

/// The public events of a realm, read in stretches of so many.
pub async fn feed(store: &Arc<dyn Backend>, realm: Realm, step: usize) -> Vec<Told> {
    let (mut feed, mut after) = (Vec::new(), None);
    loop {
        let stretch = store.events(realm, after, step).await.expect("read");
        assert!(stretch.upto >= after && stretch.told.iter().all(|told| Some(told.id) > after));
        feed.extend(stretch.told);
        if stretch.is_end {
            return feed;
        }
        after = stretch.upto;
    }
}

/// The sender that has a pace in every store here.
pub const SLOW: &str = "Slow";

pub fn paces() -> Paces {
    Paces::new([(Sender::from_stored(SLOW).expect("a sender"), 1.0)])
}

/// An empty one of the model.
pub fn disk() -> Disk {
    let disk = Disk::new();
    disk.set_paces(paces());
    disk
}

/// Where its messages wait for this connection.
pub fn slow(connection: ConnectionId) -> Queue {
    paces().queue(connection, &Sender::from_stored(SLOW).expect("a sender"), false)
}

pub fn draft(message: Message) -> Draft {
    let life = Life::queued(message.segments, message.created_at, message.send_at);
    Draft::new(message, life)
}

pub fn intake(messages: impl IntoIterator<Item = Message>) -> Intake {
    Intake { realm: HOME, idempotency: None, batch: None, drafts: messages.into_iter().map(draft).collect() }
}

pub async fn accept(store: &Arc<dyn Backend>, messages: impl IntoIterator<Item = Message>) {
    let accepted = store.accept(intake(messages), START).await.expect("accepted");
    let Accepted::New(admissions, _) = accepted else { panic!("not new: {accepted:?}") };
    assert!(admissions.iter().all(|admission| *admission == Admission::Admitted), "{admissions:?}");
}

pub async fn claim_at(store: &Arc<dyn Backend>, now: Timestamp) -> Vec<Ticket> {
    store.claim(Queue::of(LINE), MANY, now).await.expect("claimed").tickets
}

/// Accepts the message and claims it at the start.
pub async fn sending(store: &Arc<dyn Backend>, message: Message) -> MessageId {
    let (id, queue) = (message.id, Queue::of(message.connection));
    accept(store, [message]).await;
    let tickets = store.claim(queue, MANY, START).await.expect("claimed").tickets;
    assert!(tickets.iter().any(|ticket| ticket.message.id == id), "claimed");
    id
}

/// Accepts and claims the message; the carrier takes each segment `n` with the id `<name>-n`.
pub async fn sent(store: &Arc<dyn Backend>, message: Message, name: &str) -> MessageId {
    let segments = message.segments;
    let id = sending(store, message).await;
    let answers = (0..segments).map(|n| taken(id, 1, n, &format!("{name}-{n}"))).collect();
    assert_eq!(advance(store, answers, START).await.statuses.last(), Some(&Some(Status::Sent)));
    id
}

/// What the sample person sends by itself: this text. It begins the message `n`.
pub fn arrival(n: i64, text: &str, now: Timestamp) -> Arrival {
    Arrival {
        id: InboundId::from_key(n),
        realm: HOME,
        connection: LINE,
        from: number(7).to_string(),
        to: "72345".to_owned(),
        segment: Segment::received(Charset::Latin1, text.as_bytes(), false, None),
        media: Vec::new(),
        beside: Vec::new(),
        opened: None,
        at: now,
    }
}

/// One of several parts: reference, total and number.
pub fn part(n: i64, place: (u16, u8, u8), text: &str, now: Timestamp) -> Arrival {
    let (reference, total, number) = place;
    let place = Part { reference, total, number };
    let segment = Segment::received(Charset::Latin1, text.as_bytes(), false, Some(place));
    Arrival { segment, ..arrival(n, text, now) }
}

/// Three minutes, and whoever asks is answered by the sample message with the number of what they sent.
pub fn hearing() -> Hearing {
    let reply = |inbound: &Inbound, person: PhoneNumber, found: Keyword, programme: Option<&Name>| {
        let kind = reply::Kind::to(found.class, programme.is_some())?;
        Some(draft(Message {
            recipient: person,
            created_at: inbound.at,
            expires_at: inbound.at.plus_s(reply::VALIDITY_S),
            reply: Some(Reply { kind, to: inbound.id }),
            ..message(inbound.id.key())
        }))
    };
    Hearing {
        wait_ms: 180_000,
        bounds: Bounds::default(),
        reply: Arc::new(reply),
        rules: None,
        by_word: None,
    }
}

pub async fn receive(store: &Arc<dyn Backend>, arrivals: Vec<Arrival>, now: Timestamp) -> Advanced {
    store.receive(arrivals, hearing(), now).await.expect("received")
}

pub async fn give_up(store: &Arc<dyn Backend>, now: Timestamp) -> Advanced {
    store.give_up(MANY, hearing(), now).await.expect("given up")
}

pub fn patience() -> Patience {
    Patience { retry: Arc::new(RetryPolicy::default()), unreachable: None, jitter: Jitter(7) }
}

pub async fn advance(store: &Arc<dyn Backend>, happenings: Vec<Happening>, now: Timestamp) -> Advanced {
    store.advance(happenings, now, patience()).await.expect("advanced")
}

pub async fn wake(store: &Arc<dyn Backend>, now: Timestamp) -> Advanced {
    store.wake(MANY, now, patience()).await.expect("woken")
}

pub fn to(message: MessageId, input: Input) -> Happening {
    Happening::To { message, input }
}

pub fn answered(message: MessageId, attempt: u32, segment: u8, answer: Answer) -> Happening {
    to(message, Input::Answered { attempt, segment, answer })
}

pub fn taken(message: MessageId, attempt: u32, segment: u8, carrier_id: &str) -> Happening {
    answered(message, attempt, segment, Answer::Accepted { carrier_id: carrier_id.to_owned() })
}

pub fn refused(message: MessageId, attempt: u32, failure: Failure) -> Happening {
    answered(message, attempt, 0, Answer::Refused(failure))
}

pub fn failure(class: FailureClass, transient: bool) -> Failure {
    Failure::new(class, transient, "smpp 0x00000058", "as the carrier says")
}

pub fn undelivered() -> Outcome {
    Outcome::Undelivered(failure(FailureClass::UnknownError, true))
}

/// A receipt to this recipient.
pub fn receipt(carrier_id: &str, recipient: PhoneNumber, outcome: Option<Outcome>) -> Receipt {
    Receipt {
        carrier_id: carrier_id.to_owned(),
        id_form: IdForm::Any,
        our_reference: None,
        parties: vec![recipient.to_string().trim_start_matches('+').to_owned(), "ACME".to_owned()],
        outcome,
        raw: format!("id:{carrier_id}"),
    }
}

pub fn reported(receipt: Receipt) -> Happening {
    Happening::Receipt { connection: LINE, receipt }
}

pub fn delivered(carrier_id: &str, recipient: PhoneNumber) -> Happening {
    reported(receipt(carrier_id, recipient, Some(Outcome::Delivered)))
}

pub async fn stored(store: &Arc<dyn Backend>, id: MessageId) -> Stored {
    store.message(HOME, id).await.expect("read").expect("there is such a message")
}

pub async fn status(store: &Arc<dyn Backend>, id: MessageId) -> Status {
    stored(store, id).await.life.state.status()
}

pub fn endpoint(n: i64) -> Endpoint {
    Endpoint {
        id: EndpointId::from_key(n),
        realm: HOME,
        url: format!("https://example.com/{n}"),
        description: "orders".into(),
        kinds: 0,
        callback_only: false,
        secret: vec![1, 2, 3],
        previous: None,
        disabled: None,
        failing_since: None,
        created_at: START,
    }
}

pub fn actor() -> Actor {
    Actor { account: HOME.account, who: "tester".to_owned() }
}

pub fn page(limit: usize) -> Page {
    Page { before: None, limit }
}

/// The actions in the audit trail, oldest first.
pub async fn audited(store: &Arc<dyn Backend>) -> Vec<String> {
    let trail = store.audit(HOME.account, page(MANY)).await.expect("the trail");
    trail.items.into_iter().rev().map(|line| line.action).collect()
}
