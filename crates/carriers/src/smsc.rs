//! A simulated carrier that stands alone: an SMPP 3.4 server that does what [`crate::script`] and [`crate::faults`]
//! say. `tidings simulate smsc` runs it, the tests of [`crate::smpp`] bind to it, and the benchmark sends to it.
//!
//! Each `submit_sm` is a segment with its own id, its own receipt and its own fate; nothing is put together, routed
//! or stored. A receipt or reply is kept until a client of the same `system_id` has acknowledged it, within the
//! bounds of [`Settings::owed_max`], and dies with the process.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidings_domain::text::{self, Charset, Part, Segment, Tables};
use tidings_domain::time::Timestamp;
use tidings_smpp::codec::{Address, Bind, DeliverSm, SubmitSm, find_tlv, tag};
use tidings_smpp::data_coding::{ESM_RECEIPT, ESM_UDHI, RECEIPT_ALWAYS, RECEIPT_NONE, UCS2};
use tidings_smpp::receipt_text::{self, ReceiptDate, ReceiptState, Writing};
use tidings_smpp::server::{self, BindResponder, Connection, ConnectionId, Event, Server, SubmitResponder};
use tidings_smpp::status;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::faults::Faults;
use crate::later::Later;
use crate::play::Play;
use crate::script::{Answer, LinkTrouble};
use crate::{Error, smpp};

/// Events taken at once.
const BATCH: usize = 1_024;
/// When a receipt that was not acknowledged is delivered again: milliseconds.
const DELIVERED_AGAIN_MS: u64 = 1_000;
/// How long clients have to end when it stops.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// The octets of a text that a receipt repeats: 20 characters, however they are written.
const REPEATED_OCTETS: usize = 40;
/// Sessions of one server that a test or a benchmark could want.
const CONNECTIONS_MAX: usize = 1_000;
/// Unanswered submissions of one session when `window` says nothing: more than any client's window.
const WINDOW_WITHOUT_LIMIT: usize = 10_000;

/// How to serve. All fields may be left out.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where to listen. Port 0 takes any free one. Default `127.0.0.1:2775`.
    pub address: SocketAddr,
    /// Who may bind: `system_id` to password. Default: `tidings` with password `tidings`. Empty: anybody.
    pub accounts: BTreeMap<String, String>,
    /// Submissions one session may leave unanswered; more are refused as throttled. Not set: no limit that matters.
    pub window: Option<usize>,
    /// Receipts and replies sent to one session and not yet acknowledged: 1 to 10,000. Default 1,000, as many as our own
    /// client leaves unacknowledged.
    pub deliver_window: usize,
    /// After this time without an acknowledgement a receipt or reply is sent again: milliseconds. Default 30,000.
    pub deliver_timeout_ms: u64,
    /// Receipts and replies that one `system_id` may be owed; with more, its submissions are refused as "queue
    /// full". Default 200,000, each some 200 octets.
    pub owed_max: usize,
    /// Speak TLS.
    pub tls: Option<Tls>,
    /// Repeats a run. Not set: drawn at the start.
    pub seed: Option<u64>,
    /// What goes wrong from the start.
    pub faults: Faults,
}

/// The server's certificate.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// File with the chain in PEM, own certificate first.
    pub certificate_file: PathBuf,
    /// File with the key in PEM.
    pub key_file: PathBuf,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 2775)),
            accounts: BTreeMap::from([("tidings".to_owned(), "tidings".to_owned())]),
            window: None,
            deliver_window: 1_000,
            deliver_timeout_ms: 30_000,
            owed_max: 200_000,
            tls: None,
            seed: None,
            faults: Faults::default(),
        }
    }
}

/// What the server needs from outside.
#[derive(Debug)]
pub struct Stage {
    /// Used when the settings have no seed.
    pub seed: u64,
    /// The time at the start, for the dates in receipts.
    pub now: Timestamp,
    /// Gets every submission as it comes, for tests and for watching. What it has no room for is left out.
    pub seen: Option<mpsc::Sender<Seen>>,
}

/// A submission as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Who submitted it.
    pub system_id: String,
    /// The whole PDU.
    pub pdu: SubmitSm,
}

/// A text that a person sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// Who: a phone number with `+`, or a short code or a name.
    pub from: String,
    /// To which of the client's senders, written likewise.
    pub to: String,
    /// What.
    pub text: String,
}

/// What happened so far; may be read while the server runs.
#[derive(Debug, Default)]
pub struct Tally {
    /// Submissions that came.
    pub submitted: AtomicU64,
    /// Of them, accepted.
    pub accepted: AtomicU64,
    /// Of them, refused.
    pub refused: AtomicU64,
    /// Of them, never answered.
    pub unanswered: AtomicU64,
    /// Receipts and replies that a client acknowledged.
    pub acknowledged: AtomicU64,
    /// Receipts and replies that were sent again, because a client did not acknowledge them.
    pub repeated: AtomicU64,
    /// Unreadable PDUs that clients sent.
    pub malformed: AtomicU64,
    /// Sessions bound now.
    pub sessions: AtomicU64,
}

/// A server that listens.
#[derive(Debug)]
pub struct Smsc {
    server: Server,
    events: mpsc::Receiver<Event>,
    settings: Settings,
    stage: Stage,
    faults: watch::Sender<Faults>,
    texts: (mpsc::Sender<Text>, mpsc::Receiver<Text>),
    tally: Arc<Tally>,
}

/// Begins to listen. Nobody is answered before [`Smsc::run`].
///
/// # Errors
/// The settings make no sense, a file cannot be read, or the address is taken.
pub async fn listen(settings: Settings, stage: Stage) -> Result<Smsc, Error> {
    if let Some(problem) = settings.faults.problem() {
        return Err(Error(problem));
    }
    if !(1..=10_000).contains(&settings.deliver_window)
        || settings.window == Some(0)
        || settings.owed_max == 0
    {
        let problem = "deliver_window must be between 1 and 10000, window and owed_max above 0";
        return Err(Error(problem.to_owned()));
    }
    let mut serving = server::Settings::new(settings.address);
    "tidings-simulator".clone_into(&mut serving.system_id);
    serving.connections_max = CONNECTIONS_MAX;
    serving.event_queue = 4 * BATCH;
    serving.limits.window_max = settings.deliver_window;
    serving.limits.response_timeout_ms = settings.deliver_timeout_ms;
    serving.limits.unanswered_max = settings.window.unwrap_or(WINDOW_WITHOUT_LIMIT);
    // The number is the bound here: a busy client is not told that it is too fast because of the octets.
    serving.limits.unanswered_octets_max = usize::MAX;
    if let Some(tls) = &settings.tls {
        serving.tls = Some(server::Identity {
            chain_pem: crate::read_file(&tls.certificate_file)?,
            key_pem: crate::read_file(&tls.key_file)?,
        });
    }
    let (server, events) = server::listen(serving).await.map_err(|error| Error(error.to_string()))?;
    let faults = watch::Sender::new(settings.faults.clone());
    let texts = mpsc::channel(BATCH);
    Ok(Smsc { server, events, settings, stage, faults, texts, tally: Arc::default() })
}

impl Smsc {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.local_address()
    }

    /// What happened so far.
    pub fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.tally)
    }

    /// Changes the faults while it runs. Faults that make no sense are not taken, with a line in the log.
    pub fn faults(&self) -> watch::Sender<Faults> {
        self.faults.clone()
    }

    /// Takes texts of people while it runs. Each goes to the first client, by its `system_id`, that has a session which
    /// receives; while there is none it waits for one.
    pub fn texts(&self) -> mpsc::Sender<Text> {
        self.texts.0.clone()
    }

    /// Serves until `shutdown`, then ends its sessions in good order.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) {
        let Self { server, mut events, settings, stage, faults, texts: (_texts_open, mut texts), tally } =
            self;
        let mut changes = faults.subscribe();
        let seed = settings.seed.unwrap_or(stage.seed);
        let mut room = Room {
            play: Play::new(seed, settings.faults.clone(), 0),
            settings,
            seen: stage.seen,
            now: stage.now,
            started: Instant::now(),
            tally,
            clients: HashMap::new(),
            accounts: HashMap::new(),
            later: Later::new(),
            sent: HashMap::new(),
            last_tag: 0,
            date: None,
        };
        let mut shutdown = std::pin::pin!(shutdown);
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let now_ms = room.now_ms();
            let (away, changes_ms) = room.play.outage(now_ms);
            if away {
                room.clients.values().for_each(|client| client.connection.close_now());
            }
            while let Some(action) = room.later.due(now_ms) {
                room.act(action);
            }
            let wake_ms = [room.later.next_ms(), changes_ms].into_iter().flatten().min();
            let wake = room.started + wake_ms.map_or(Duration::from_secs(3600), Duration::from_millis);
            tokio::select! {
                () = &mut shutdown => break,
                taken = events.recv_many(&mut batch, BATCH) => {
                    if taken == 0 {
                        return;
                    }
                    for event in batch.drain(..) {
                        room.hear(event, away).await;
                    }
                }
                Some(text) = texts.recv(), if room.has_receiver() => room.say(&text),
                // The sender lives as long as this function, so it never fails.
                _ = changes.changed() => {
                    let changed = changes.borrow_and_update().clone();
                    match changed.problem() {
                        None => room.play.change(changed, room.now_ms()),
                        Some(problem) => tracing::warn!(problem, "the faults were not changed"),
                    }
                }
                () = sleep_until(wake), if wake_ms.is_some() => {}
            }
        }
        drop(server);
        room.stop(events).await;
    }
}

/// An address as carriers write it: international with a plus, a name with a letter, else as it is.
fn address_of(text: &str) -> Address {
    match text.strip_prefix('+') {
        Some(digits) => Address::new(1, 1, digits),
        None if text.contains(char::is_alphabetic) => Address::new(5, 0, text),
        None => Address::new(3, 1, text),
    }
}

/// Everything the server knows while it runs.
struct Room {
    settings: Settings,
    seen: Option<mpsc::Sender<Seen>>,
    now: Timestamp,
    started: Instant,
    tally: Arc<Tally>,
    play: Play,
    clients: HashMap<ConnectionId, Client>,
    accounts: HashMap<Arc<str>, Account>,
    later: Later<Action>,
    /// Delivered and not acknowledged, by the tag of the deliver.
    sent: HashMap<u64, (Arc<str>, Report)>,
    last_tag: u64,
    /// The date of the last receipt with the minute it is good for, because most receipts share it.
    date: Option<(i64, ReceiptDate)>,
}

struct Client {
    system_id: Arc<str>,
    connection: Connection,
    receives: bool,
}

#[derive(Default)]
struct Account {
    /// Its sessions that receive.
    receivers: Vec<Connection>,
    /// Due, and waiting for a session with room.
    ready: VecDeque<Report>,
    /// Everything not acknowledged, wherever it is.
    owed: usize,
}

enum Action {
    Answer { responder: SubmitResponder, status: u32, id: String },
    Report { system_id: Arc<str>, report: Report },
    Close(ConnectionId),
}

/// Something for a client, written out only when it is delivered.
#[derive(Debug)]
struct Report {
    source: Address,
    destination: Address,
    what: What,
}

#[derive(Debug)]
enum What {
    Receipt {
        id: String,
        state: ReceiptState,
        err: u32,
        submitted: Timestamp,
        reference: Option<[u8; 2]>,
        text: String,
    },
    Reply(Segment),
}

impl Room {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    async fn hear(&mut self, event: Event, away: bool) {
        match event {
            Event::BindRequested { connection, bind, responder } => {
                if away {
                    connection.close_now();
                } else {
                    self.bind(connection, &bind, responder);
                }
            }
            Event::Submit { connection, pdu, responder } => self.submit(connection, pdu, responder).await,
            Event::Answer { tag, status, .. } | Event::LateAnswer { tag, status, .. } => {
                self.answered(tag, status)
            }
            Event::NoAnswer { tag, .. } | Event::Unsent { tag, .. } => self.again(tag),
            Event::Malformed { malformed, .. } => {
                self.tally.malformed.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(reason = malformed.reason, "a client sent something unreadable");
            }
            Event::Closed { connection, .. } => self.closed(connection),
        }
    }

    fn bind(&mut self, connection: Connection, bind: &Bind, responder: BindResponder) {
        let accounts = &self.settings.accounts;
        match accounts.get(&bind.system_id) {
            None if !accounts.is_empty() => return responder.refuse(status::ESME_RINVSYSID),
            Some(password) if *password != bind.password => return responder.refuse(status::ESME_RINVPASWD),
            Some(_) | None => responder.accept(),
        }
        let system_id: Arc<str> = Arc::from(bind.system_id.as_str());
        let account = self.accounts.entry(Arc::clone(&system_id)).or_default();
        let receives = bind.mode.receives();
        if receives {
            account.receivers.push(connection.clone());
        }
        let client = Client { system_id: Arc::clone(&system_id), connection, receives };
        self.clients.insert(client.connection.id(), client);
        self.tally.sessions.fetch_add(1, Ordering::Relaxed);
        self.deliver(&system_id);
    }

    fn closed(&mut self, connection: ConnectionId) {
        let Some(client) = self.clients.remove(&connection) else { return };
        self.tally.sessions.fetch_sub(1, Ordering::Relaxed);
        if client.receives
            && let Some(account) = self.accounts.get_mut(&client.system_id)
        {
            account.receivers.retain(|receiver| receiver.id() != connection);
            self.deliver(&client.system_id);
        }
    }

    async fn submit(&mut self, from: ConnectionId, pdu: SubmitSm, responder: SubmitResponder) {
        self.tally.submitted.fetch_add(1, Ordering::Relaxed);
        let Some(client) = self.clients.get(&from) else { return };
        let system_id = Arc::clone(&client.system_id);
        if let Some(seen) = &self.seen {
            let _ = seen.try_send(Seen { system_id: system_id.to_string(), pdu: pdu.clone() });
        }
        let Ok(recipient) = pdu.destination.value.trim_start_matches('+').parse::<u64>() else {
            return self.answer(responder, status::ESME_RINVDSTADR, String::new());
        };
        if self.accounts.get(&system_id).is_some_and(|account| account.owed >= self.settings.owed_max) {
            return self.answer(responder, status::ESME_RMSGQFUL, String::new());
        }
        let now_ms = self.now_ms();
        let fate = self.play.submit(recipient, part_of(&pdu), now_ms);
        if fate.link == LinkTrouble::Garbage {
            let connection = client.connection.clone();
            connection.send_raw(garbage()).await;
        }
        self.owe(
            &system_id,
            &pdu,
            now_ms,
            fate.receipts,
            fate.reply.map(|reply| (reply, fate.reply_after_ms, fate.number)),
        );
        match (fate.answer, fate.answer_after_ms) {
            (Answer::Accept, 0) => self.answer(responder, status::ESME_ROK, fate.id),
            (Answer::Refuse(status), 0) => self.answer(responder, status, String::new()),
            (Answer::Accept, after_ms) => {
                self.later.put(
                    now_ms + u64::from(after_ms),
                    Action::Answer { responder, status: status::ESME_ROK, id: fate.id },
                );
            }
            (Answer::Refuse(status), after_ms) => {
                let answer = Action::Answer { responder, status, id: String::new() };
                self.later.put(now_ms + u64::from(after_ms), answer);
            }
            (Answer::Lost, _) => {
                self.tally.unanswered.fetch_add(1, Ordering::Relaxed);
                drop(responder);
            }
        }
        match fate.link {
            LinkTrouble::BreaksInstead => self.close(from),
            // The answer needs a moment to be written.
            LinkTrouble::BreaksAfter => self.later.put(now_ms + 50, Action::Close(from)),
            LinkTrouble::Ends => {
                if let Some(client) = self.clients.get(&from) {
                    client.connection.stop();
                }
            }
            LinkTrouble::None | LinkTrouble::Garbage => {}
        }
    }

    fn close(&mut self, connection: ConnectionId) {
        if let Some(client) = self.clients.get(&connection) {
            client.connection.close_now();
        }
    }

    fn answer(&mut self, responder: SubmitResponder, status: u32, id: String) {
        let counter = if status == status::ESME_ROK { &self.tally.accepted } else { &self.tally.refused };
        counter.fetch_add(1, Ordering::Relaxed);
        responder.answer(status, id);
    }

    /// Puts down what will be delivered because of this submission.
    fn owe(
        &mut self,
        system_id: &Arc<str>,
        pdu: &SubmitSm,
        now_ms: u64,
        receipts: Vec<crate::play::Reported>,
        reply: Option<(crate::script::Reply, u32, u64)>,
    ) {
        let submitted = self.now.plus_ms(i64::try_from(now_ms).unwrap_or(i64::MAX));
        let account = self.accounts.entry(Arc::clone(system_id)).or_default();
        let reference =
            find_tlv(&pdu.tlvs, tag::USER_MESSAGE_REFERENCE).and_then(|value| value.try_into().ok());
        for reported in receipts {
            // The lowest two bits say which receipts are wanted (SMPP 3.4 §5.2.17).
            let wanted = match pdu.registered_delivery & 0x03 {
                RECEIPT_NONE => false,
                RECEIPT_ALWAYS => true,
                _ => reported.state != ReceiptState::Delivered,
            };
            if !wanted {
                continue;
            }
            let (mut source, mut destination) = (pdu.destination.clone(), pdu.source.clone());
            if reported.swapped {
                std::mem::swap(&mut source, &mut destination);
            }
            let what = What::Receipt {
                id: reported.id,
                state: reported.state,
                err: reported.err,
                submitted,
                reference: reference.filter(|_| reported.ours),
                text: beginning_of(pdu),
            };
            account.owed += 1;
            let report = Report { source, destination, what };
            let action = Action::Report { system_id: Arc::clone(system_id), report };
            self.later.put(now_ms + u64::from(reported.after_ms), action);
        }
        let Some((reply, after_ms, number)) = reply else { return };
        for (part_after_ms, segment) in reply.segments(|| text_of(pdu), number as u16) {
            account.owed += 1;
            let (source, destination) = (pdu.destination.clone(), pdu.source.clone());
            let report = Report { source, destination, what: What::Reply(segment) };
            let action = Action::Report { system_id: Arc::clone(system_id), report };
            self.later.put(now_ms + u64::from(after_ms) + u64::from(part_after_ms), action);
        }
    }

    /// The client that people's texts go to.
    fn receiver(&self) -> Option<&Arc<str>> {
        let bound = self.accounts.iter().filter(|(_, account)| !account.receivers.is_empty());
        bound.map(|(system_id, _)| system_id).min()
    }

    fn has_receiver(&self) -> bool {
        self.receiver().is_some()
    }

    fn say(&mut self, said: &Text) {
        let Some(system_id) = self.receiver().cloned() else { return };
        self.last_tag += 1;
        let Ok(segments) = text::split(&said.text, &text::Options::default(), self.last_tag as u16) else {
            tracing::warn!("a text is too long, and was not sent");
            return;
        };
        let Some(account) = self.accounts.get_mut(&system_id) else { return };
        for segment in segments {
            account.owed += 1;
            let (source, destination) = (address_of(&said.from), address_of(&said.to));
            account.ready.push_back(Report { source, destination, what: What::Reply(segment) });
        }
        self.deliver(&system_id);
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Answer { responder, status, id } => self.answer(responder, status, id),
            Action::Report { system_id, report } => {
                if let Some(account) = self.accounts.get_mut(&system_id) {
                    account.ready.push_back(report);
                    self.deliver(&system_id);
                }
            }
            Action::Close(connection) => self.close(connection),
        }
    }

    /// Delivers what is ready to the sessions with the most room.
    fn deliver(&mut self, system_id: &Arc<str>) {
        loop {
            let Some(account) = self.accounts.get_mut(system_id) else { return };
            let receiver = account.receivers.iter().max_by_key(|receiver| receiver.window_free());
            let Some(receiver) = receiver.filter(|receiver| receiver.window_free() > 0).cloned() else {
                return;
            };
            let Some(report) = account.ready.pop_front() else { return };
            let pdu = self.written(&report);
            self.last_tag += 1;
            match receiver.try_deliver(self.last_tag, pdu) {
                Ok(()) => {
                    self.sent.insert(self.last_tag, (Arc::clone(system_id), report));
                }
                Err(not_taken) => {
                    let Some(account) = self.accounts.get_mut(system_id) else { return };
                    account.ready.push_front(report);
                    if matches!(not_taken, server::NotTaken::Full(_)) {
                        return;
                    }
                    account.receivers.retain(|other| other.id() != receiver.id());
                }
            }
        }
    }

    fn answered(&mut self, tag: u64, status: u32) {
        if status != status::ESME_ROK {
            return self.again(tag);
        }
        // A late answer finds nothing: the report is on its way again.
        let Some((system_id, _)) = self.sent.remove(&tag) else { return };
        self.tally.acknowledged.fetch_add(1, Ordering::Relaxed);
        if let Some(account) = self.accounts.get_mut(&system_id) {
            account.owed -= 1;
        }
        self.deliver(&system_id);
    }

    fn again(&mut self, tag: u64) {
        let Some((system_id, report)) = self.sent.remove(&tag) else { return };
        self.tally.repeated.fetch_add(1, Ordering::Relaxed);
        let at_ms = self.now_ms() + DELIVERED_AGAIN_MS;
        self.later.put(at_ms, Action::Report { system_id, report });
    }

    fn written(&mut self, report: &Report) -> DeliverSm {
        let mut pdu = DeliverSm {
            source: report.source.clone(),
            destination: report.destination.clone(),
            ..DeliverSm::default()
        };
        match &report.what {
            What::Receipt { id, state, err, submitted, reference, text } => {
                let done = self.now.plus_ms(i64::try_from(self.now_ms()).unwrap_or(i64::MAX));
                let error_code = format!("{err:03}");
                let text = receipt_text::write(&Writing {
                    id,
                    state,
                    error_code: &error_code,
                    submit_date: self.date(*submitted),
                    done_date: self.date(done),
                    text,
                });
                pdu.esm_class = ESM_RECEIPT;
                pdu.short_message = text.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect();
                // Ids longer than the text has room for are why the parameter exists.
                pdu.short_message.truncate(tidings_smpp::codec::SHORT_MESSAGE_OCTETS_MAX);
                let mut tlv = |tag, value: Vec<u8>| pdu.tlvs.push(tidings_smpp::codec::Tlv { tag, value });
                if !id.is_empty() {
                    tlv(tag::RECEIPTED_MESSAGE_ID, [id.as_bytes(), b"\0"].concat());
                }
                if let Some(number) = state.number() {
                    tlv(tag::MESSAGE_STATE, vec![number]);
                }
                if let Some(reference) = reference {
                    tlv(tag::USER_MESSAGE_REFERENCE, reference.to_vec());
                }
            }
            What::Reply(segment) => {
                pdu.esm_class = if segment.header.is_empty() { 0 } else { ESM_UDHI };
                pdu.data_coding = if segment.charset == Charset::Ucs2 { UCS2 } else { 0 };
                pdu.short_message = segment.user_data();
            }
        }
        pdu
    }

    fn date(&mut self, at: Timestamp) -> ReceiptDate {
        let minute = at.as_millis().div_euclid(60_000);
        if let Some((known, date)) = self.date
            && known == minute
        {
            return date;
        }
        // `2026-11-23T15:44:46`, without the fraction and the zone.
        let date = at.to_string().get(..19).and_then(ReceiptDate::parse);
        let none = ReceiptDate { year: 2000, month: 1, day: 1, hour: 0, minute: 0, second: 0 };
        let date = date.unwrap_or(none);
        self.date = Some((minute, date));
        date
    }

    async fn stop(mut self, mut events: mpsc::Receiver<Event>) {
        let until = Instant::now() + STOP_LIMIT;
        self.clients.values().for_each(|client| client.connection.stop());
        while !self.clients.is_empty() {
            match timeout_at(until, events.recv()).await {
                Ok(Some(Event::Closed { connection, .. })) => {
                    self.clients.remove(&connection);
                }
                Ok(Some(Event::BindRequested { connection, .. })) => connection.close_now(),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return,
            }
        }
    }
}

fn segment_of(pdu: &SubmitSm) -> Segment {
    let charset = match pdu.data_coding {
        UCS2 => Charset::Ucs2,
        1 => Charset::Ascii,
        3 => Charset::Latin1,
        _ => Charset::Gsm7,
    };
    Segment::received(charset, pdu.payload(), pdu.esm_class & ESM_UDHI != 0, smpp::sar(&pdu.tlvs))
}

fn part_of(pdu: &SubmitSm) -> Option<Part> {
    let may_have_one = pdu.esm_class & ESM_UDHI != 0 || find_tlv(&pdu.tlvs, tag::SAR_MSG_REF_NUM).is_some();
    may_have_one.then(|| segment_of(pdu).part).flatten()
}

fn text_of(pdu: &SubmitSm) -> String {
    segment_of(pdu).text()
}

/// The beginning of the text, for the receipt. Only the plain case is worth the time: a header's text is left out.
fn beginning_of(pdu: &SubmitSm) -> String {
    if pdu.esm_class & ESM_UDHI != 0 || pdu.data_coding == UCS2 {
        return String::new();
    }
    let octets = pdu.payload();
    text::decode(&octets[..octets.len().min(REPEATED_OCTETS)], Charset::Gsm7, Tables::DEFAULT)
}

/// A `deliver_sm` whose body ends in the middle of a field, with a length that is right: the position in the stream
/// is not lost.
fn garbage() -> Vec<u8> {
    const BODY: &[u8] = b"\xFF\xFE garbage";
    let mut octets = Vec::new();
    octets.extend((16 + BODY.len() as u32).to_be_bytes());
    octets.extend(tidings_smpp::codec::command::DELIVER_SM.to_be_bytes());
    octets.extend(0u32.to_be_bytes());
    octets.extend(0x7ABB_CCDDu32.to_be_bytes());
    octets.extend(BODY);
    octets
}
