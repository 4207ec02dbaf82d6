//! The carrier: a small SMPP 3.4 message centre that remembers.
//!
//! It takes every message, answers after a delay, sends a receipt for each, and offers a receipt again until it is
//! acknowledged, whatever happens to the session in between. Like a real centre it counts a `submit_sm` as taken once
//! it has read it, also if its answer cannot be delivered any more.
//!
//! Times are exact in one direction: [`Smsc::barrier`] reads everything that has arrived on every session. What is
//! read later arrived after the barrier began, so an order between "the client had its answer" and "the carrier had
//! the message" never rests on the luck of a thread. It knows no TLS, no cancel, no query.

use crate::clock::{self, Moment};
use crate::ledger::{Receipt, Submission};
use crate::random::Random;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

const SUBMIT_SM: u32 = 0x0000_0004;
const DELIVER_SM: u32 = 0x0000_0005;
const UNBIND: u32 = 0x0000_0006;
const ENQUIRE_LINK: u32 = 0x0000_0015;
const BIND_RECEIVER: u32 = 0x0000_0001;
const BIND_TRANSMITTER: u32 = 0x0000_0002;
const BIND_TRANSCEIVER: u32 = 0x0000_0009;
const RESPONSE: u32 = 0x8000_0000;
const GENERIC_NACK: u32 = 0x8000_0000;
/// `ESME_RINVCMDID` (SMPP 3.4 §5.1.3).
const INVALID_COMMAND: u32 = 0x0000_0003;
/// `ESME_RBINDFAIL`.
const BIND_FAILED: u32 = 0x0000_000D;
/// `ESME_RMSGQFUL`.
const QUEUE_FULL: u32 = 0x0000_0014;
/// `ESME_RTHROTTLED`.
const THROTTLED: u32 = 0x0000_0058;
/// The person withdrew consent at the carrier: a code of the family that is called `simulator`.
const OPTED_OUT: u32 = 0x0000_04F3;
/// The longest PDU that is taken: octets.
const PDU_MAX: usize = 64 * 1024;
/// Receipts of a session that may be without acknowledgement, as carriers bound it.
const RECEIPT_WINDOW: usize = 50;
/// How long a receipt may be without acknowledgement before it is offered again.
const RECEIPT_PATIENCE_MS: u64 = 30_000;
/// How long a receipt rests that was refused or lost with its session.
const RECEIPT_PAUSE_MS: u64 = 200;

/// How the carrier behaves.
#[derive(Debug, Clone)]
pub struct Behaviour {
    /// Between reading a submission and answering it: least and most milliseconds.
    pub answer_ms: (u64, u64),
    /// Between answering and the receipt: least and most milliseconds.
    pub receipt_ms: (u64, u64),
    /// One receipt in so many goes out before its answer does; 0 for none.
    pub early_receipt_one_in: u64,
    /// One receipt in so many carries the sender's own reference back; 0 for none, 1 for all.
    pub echo_one_in: u64,
    /// How long a session rests when there is nothing to do: microseconds.
    pub rest_us: u64,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            answer_ms: (1, 30),
            receipt_ms: (20, 400),
            early_receipt_one_in: 20,
            echo_one_in: 2,
            rest_us: 500,
        }
    }
}

/// What does not pass between the carrier and those who come through one of its doors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cut {
    /// What they send is swallowed.
    pub from_them: bool,
    /// What they are sent is swallowed.
    pub to_them: bool,
}

impl Cut {
    const fn is_any(self) -> bool {
        self.from_them || self.to_them
    }
}

/// A bind that was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bind {
    /// On which session.
    pub session: u32,
    /// Through which door.
    pub door: usize,
    /// When it was read.
    pub at: Moment,
}

/// A carrier that runs until it is dropped.
#[derive(Debug)]
pub struct Smsc {
    address: SocketAddr,
    centre: Arc<Centre>,
}

#[derive(Debug)]
struct Centre {
    behaviour: Behaviour,
    seed: u64,
    answer_least_ms: AtomicU64,
    answer_most_ms: AtomicU64,
    book: Mutex<Book>,
    sessions: Mutex<Vec<Arc<Line>>>,
    opened: AtomicU32,
    most_open: AtomicU32,
    receipt_patience_ms: AtomicU64,
    silent: AtomicBool,
    closed: AtomicBool,
    stop: AtomicBool,
    mood: Mutex<Mood>,
    refused: AtomicU64,
    doors: Mutex<Vec<(SocketAddr, Cut)>>,
    binds: Mutex<Vec<Bind>>,
}

/// What the carrier does not take.
#[derive(Debug, Default)]
struct Mood {
    /// So many submissions of a hundred are too much for it.
    throttled_percent: u64,
    /// Recipients whose queue is full.
    full: HashSet<String>,
}

/// What the carrier has written down.
#[derive(Debug, Default)]
struct Book {
    submissions: Vec<Submission>,
    receipts: Vec<Receipt>,
    /// What is to be offered: when, and which.
    due: BinaryHeap<Reverse<(Moment, Item)>>,
    /// What people sent.
    said: Vec<Said>,
    /// Recipients who opted out at the carrier: receipts that are offered from now on say so.
    opted_out: HashSet<String>,
    /// When the first receipt that says so was acknowledged.
    opt_out_heard: HashMap<String, Moment>,
    /// Recipients to whom the carrier takes nothing any more, and answers that they opted out.
    refusing: HashSet<String>,
    /// Submissions that were answered so: their recipient, and when they came.
    refused_opted_out: Vec<(String, Moment)>,
}

/// What the carrier offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Item {
    /// A receipt, by its place.
    Receipt(usize),
    /// A message of a person, by its place.
    Said(usize),
}

/// A message of a person.
#[derive(Debug, Clone)]
struct Said {
    from: String,
    to: String,
    text: String,
    acknowledged_at: Option<Moment>,
}

impl Smsc {
    /// Listens on a free port of this machine.
    ///
    /// # Errors
    /// The system gives none.
    pub fn start(behaviour: Behaviour, seed: u64) -> io::Result<Self> {
        let centre = Arc::new(Centre {
            answer_least_ms: AtomicU64::new(behaviour.answer_ms.0),
            answer_most_ms: AtomicU64::new(behaviour.answer_ms.1),
            behaviour,
            seed,
            book: Mutex::default(),
            sessions: Mutex::default(),
            opened: AtomicU32::new(0),
            most_open: AtomicU32::new(0),
            receipt_patience_ms: AtomicU64::new(RECEIPT_PATIENCE_MS),
            silent: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            mood: Mutex::default(),
            refused: AtomicU64::new(0),
            doors: Mutex::default(),
            binds: Mutex::default(),
        });
        let address = open(&centre)?;
        Ok(Self { address, centre })
    }

    /// Another door: its number, counted from 1, and where it is. The first one has the number 0.
    ///
    /// # Errors
    /// The system gives no port.
    pub fn door(&self) -> io::Result<(usize, SocketAddr)> {
        let address = open(&self.centre)?;
        Ok((self.centre.doors().len() - 1, address))
    }

    /// From now on this does not pass through a door. When it ends, sessions that lost something are closed; those that
    /// were begun meanwhile never begin.
    pub fn cut(&self, door: usize, cut: Cut) {
        self.centre.doors()[door].1 = cut;
    }

    /// Every bind so far.
    pub fn binds(&self) -> Vec<Bind> {
        self.centre.binds.lock().expect("no thread panics with it").clone()
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on answers take so long: least and most milliseconds.
    pub fn answer_within_ms(&self, least: u64, most: u64) {
        self.centre.answer_least_ms.store(least, Ordering::Relaxed);
        self.centre.answer_most_ms.store(most, Ordering::Relaxed);
    }

    /// While it is silent, submissions are taken and not answered, and no receipt is offered; afterwards all of it is.
    pub fn silence(&self, silent: bool) {
        self.centre.silent.store(silent, Ordering::Relaxed);
    }

    /// From now on a receipt that gets no answer is offered again after so many milliseconds.
    pub fn offer_again_after_ms(&self, ms: u64) {
        self.centre.receipt_patience_ms.store(ms, Ordering::Relaxed);
    }

    /// While the gate is closed, binds wait for their answer, so that nothing new can be on its way.
    pub fn gate(&self, closed: bool) {
        self.centre.closed.store(closed, Ordering::Relaxed);
    }

    /// From now on so many submissions of a hundred are refused with "throttled".
    pub fn throttle(&self, percent: u64) {
        self.centre.mood.lock().expect("no thread panics with it").throttled_percent = percent;
    }

    /// From now on submissions to these recipients are refused with "message queue full".
    pub fn fill_queues(&self, recipients: impl IntoIterator<Item = String>) {
        self.centre.mood.lock().expect("no thread panics with it").full = recipients.into_iter().collect();
    }

    /// Offers so many receipts with ids that no submission ever got.
    pub fn strange_receipts(&self, count: usize) {
        let now = clock::now();
        let mut book = self.centre.book();
        let Some(recipient) = book.submissions.first().map(|submission| submission.recipient.clone()) else {
            return;
        };
        for n in 0..count {
            let place = book.receipts.len();
            book.receipts.push(Receipt {
                carrier_id: format!("strange{n}"),
                recipient: recipient.clone(),
                submission: 0,
                echoed: false,
                offers: 0,
                refusals: 0,
                first_offered_at: None,
                acknowledged_at: None,
            });
            book.due.push(Reverse((now, Item::Receipt(place))));
        }
    }

    /// A person sends a text to one of the binary's senders. Gives its place.
    pub fn say(&self, from: &str, to: &str, text: &str) -> usize {
        let mut book = self.centre.book();
        let place = book.said.len();
        let (from, to, text) = (from.to_owned(), to.to_owned(), text.to_owned());
        book.said.push(Said { from, to, text, acknowledged_at: None });
        book.due.push(Reverse((clock::now(), Item::Said(place))));
        place
    }

    /// When the text in this place was acknowledged.
    pub fn heard(&self, place: usize) -> Option<Moment> {
        self.centre.book().said.get(place).and_then(|said| said.acknowledged_at)
    }

    /// From now on receipts for this recipient say that the person opted out at the carrier.
    pub fn opt_out(&self, recipient: &str) {
        self.centre.book().opted_out.insert(recipient.to_owned());
    }

    /// From now on submissions to this recipient are answered with the code for who opted out.
    pub fn refuse(&self, recipient: &str) {
        self.centre.book().refusing.insert(recipient.to_owned());
    }

    /// Submissions that were answered so: their recipient, and when they came.
    pub fn refused_opted_out(&self) -> Vec<(String, Moment)> {
        self.centre.book().refused_opted_out.clone()
    }

    /// When the first receipt that says so was acknowledged.
    pub fn opt_out_heard(&self, recipient: &str) -> Option<Moment> {
        self.centre.book().opt_out_heard.get(recipient).copied()
    }

    /// Submissions that were refused so far. They are not among the others.
    pub fn refused(&self) -> u64 {
        self.centre.refused.load(Ordering::Relaxed)
    }

    /// Reads what has arrived on every session. A submission whose time is later than the moment given back arrived
    /// after this was called.
    pub fn barrier(&self) -> Moment {
        let lines = self.centre.sessions.lock().expect("no thread panics with it").clone();
        for line in lines {
            drop(line.drain(&self.centre));
        }
        clock::now()
    }

    /// Every submission so far, in the order in which the sessions worked on them.
    pub fn submissions(&self) -> Vec<Submission> {
        self.centre.book().submissions.clone()
    }

    /// How many submissions there were so far.
    pub fn submission_count(&self) -> usize {
        self.centre.book().submissions.len()
    }

    /// The newest submission.
    pub fn last_submission(&self) -> Option<Submission> {
        self.centre.book().submissions.last().cloned()
    }

    /// When submission `n`, counted from 0, was read.
    pub fn submission_at(&self, n: usize) -> Option<Moment> {
        self.centre.book().submissions.get(n).map(|submission| submission.at)
    }

    /// Every receipt so far, also those that were not offered yet.
    pub fn receipts(&self) -> Vec<Receipt> {
        self.centre.book().receipts.clone()
    }

    /// Whether each submission has a receipt that was acknowledged, if it asked for one.
    pub fn is_settled(&self) -> bool {
        let book = self.centre.book();
        let wanted = book.submissions.iter().filter(|submission| submission.receipt_wanted).count();
        book.receipts.len() == wanted && book.receipts.iter().all(|receipt| receipt.acknowledged_at.is_some())
    }

    /// The most submissions that one session ever had read and not answered.
    pub fn most_open(&self) -> u32 {
        self.centre.most_open.load(Ordering::Relaxed)
    }

    /// How many sessions were opened.
    pub fn sessions_opened(&self) -> u32 {
        self.centre.opened.load(Ordering::Relaxed)
    }
}

impl Drop for Smsc {
    fn drop(&mut self) {
        self.centre.stop.store(true, Ordering::Relaxed);
        // Wakes the listeners, which then see that they are to stop.
        for (address, _) in self.centre.doors().iter() {
            drop(TcpStream::connect_timeout(address, Duration::from_secs(1)));
        }
    }
}

fn open(centre: &Arc<Centre>) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let mut doors = centre.doors();
    let door = doors.len();
    doors.push((address, Cut::default()));
    drop(doors);
    let centre = Arc::clone(centre);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            if centre.stop.load(Ordering::Relaxed) {
                return;
            }
            if let Ok(stream) = stream {
                let centre = Arc::clone(&centre);
                std::thread::spawn(move || Session::serve(stream, &centre, door));
            }
        }
    });
    Ok(address)
}

impl Centre {
    fn doors(&self) -> MutexGuard<'_, Vec<(SocketAddr, Cut)>> {
        self.doors.lock().expect("no thread panics with it")
    }

    fn cut_of(&self, door: usize) -> Cut {
        self.doors()[door].1
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("no thread panics with it")
    }
}

/// The reading side of a session. Whoever holds the lock may read for it, so that a barrier can.
#[derive(Debug)]
struct Line {
    stream: TcpStream,
    arrived: Mutex<Arrived>,
    door: usize,
    /// Whether something was swallowed, so that the rest makes no sense.
    is_torn: AtomicBool,
}

#[derive(Debug, Default)]
struct Arrived {
    octets: Vec<u8>,
    pdus: VecDeque<(Moment, Pdu)>,
    ended: bool,
}

#[derive(Debug)]
struct Pdu {
    command: u32,
    status: u32,
    sequence: u32,
    body: Vec<u8>,
}

impl Line {
    /// Reads everything that is there, without waiting.
    fn drain(&self, centre: &Centre) -> MutexGuard<'_, Arrived> {
        let mut arrived = self.arrived.lock().expect("no thread panics with it");
        if centre.cut_of(self.door).from_them {
            self.swallow();
            return arrived;
        }
        if self.is_torn.load(Ordering::Relaxed) {
            return arrived;
        }
        // Taken under the lock and before reading: later than every barrier whose reading missed these octets.
        let at = clock::now();
        let mut buffer = [0; 16 * 1024];
        while !arrived.ended {
            match (&self.stream).read(&mut buffer) {
                Ok(0) => arrived.ended = true,
                Ok(length) => arrived.octets.extend(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => arrived.ended = true,
            }
        }
        arrived.split(at);
        arrived
    }

    /// Loses what comes, the end of the session too.
    fn swallow(&self) {
        let mut buffer = [0; 16 * 1024];
        while let Ok(length) = (&self.stream).read(&mut buffer) {
            self.is_torn.store(true, Ordering::Relaxed);
            if length == 0 {
                break;
            }
        }
    }
}

impl Arrived {
    fn split(&mut self, at: Moment) {
        let mut from = 0;
        while let Some(head) = self.octets.get(from..from + 16) {
            let word = |n: usize| u32::from_be_bytes(head[n * 4..n * 4 + 4].try_into().expect("four octets"));
            let length = word(0) as usize;
            if !(16..=PDU_MAX).contains(&length) {
                self.ended = true;
                break;
            }
            let Some(whole) = self.octets.get(from..from + length) else { break };
            let pdu =
                Pdu { command: word(1), status: word(2), sequence: word(3), body: whole[16..].to_vec() };
            self.pdus.push_back((at, pdu));
            from += length;
        }
        self.octets.drain(..from);
    }
}

/// Something that went out.
#[derive(Debug, Clone, Copy)]
struct Offered {
    item: Item,
    since: Moment,
    /// It is a receipt that says that the recipient opted out.
    says_opt_out: bool,
}

struct Session<'c> {
    centre: &'c Centre,
    line: Arc<Line>,
    number: u32,
    random: Random,
    out: Vec<u8>,
    receives: bool,
    sequence: u32,
    /// Answers to give: when, to which sequence number, for which submission.
    answers: BinaryHeap<Reverse<(Moment, u32, usize)>>,
    /// What has no acknowledgement yet, by its sequence number.
    offered: HashMap<u32, Offered>,
    ending: bool,
}

impl<'c> Session<'c> {
    fn serve(stream: TcpStream, centre: &'c Centre, door: usize) {
        if centre.cut_of(door).is_any() {
            // It stays without an answer until things are well again, and ends then.
            while centre.cut_of(door).is_any() && !centre.stop.load(Ordering::Relaxed) {
                clock::sleep_ms(20);
            }
            return;
        }
        if stream.set_nonblocking(true).is_err() || stream.set_nodelay(true).is_err() {
            return;
        }
        let number = centre.opened.fetch_add(1, Ordering::Relaxed);
        let line =
            Arc::new(Line { stream, arrived: Mutex::default(), door, is_torn: AtomicBool::new(false) });
        centre.sessions.lock().expect("no thread panics with it").push(Arc::clone(&line));
        let mut session = Self {
            centre,
            line: Arc::clone(&line),
            number,
            random: Random::part(centre.seed, u64::from(number)),
            out: Vec::new(),
            receives: false,
            sequence: 0,
            answers: BinaryHeap::new(),
            offered: HashMap::new(),
            ending: false,
        };
        session.work();
        session.end();
        centre.sessions.lock().expect("no thread panics with it").retain(|other| !Arc::ptr_eq(other, &line));
    }

    fn work(&mut self) {
        while !self.centre.stop.load(Ordering::Relaxed) {
            let cut = self.centre.cut_of(self.line.door);
            if !cut.is_any() && self.line.is_torn.load(Ordering::Relaxed) {
                return;
            }
            let mut arrived = self.line.drain(self.centre);
            let pdus = std::mem::take(&mut arrived.pdus);
            let ended = arrived.ended;
            drop(arrived);
            let mut busy = !pdus.is_empty();
            for (at, pdu) in pdus {
                self.take(at, &pdu);
            }
            busy |= self.answer();
            busy |= self.offer();
            if cut.to_them && !self.out.is_empty() {
                self.line.is_torn.store(true, Ordering::Relaxed);
                self.out.clear();
            }
            if !self.flush() || ended || (self.ending && self.out.is_empty()) {
                return;
            }
            if !busy {
                std::thread::sleep(Duration::from_micros(self.centre.behaviour.rest_us));
            }
        }
    }

    fn take(&mut self, at: Moment, pdu: &Pdu) {
        match pdu.command {
            BIND_RECEIVER | BIND_TRANSMITTER | BIND_TRANSCEIVER => {
                while self.centre.closed.load(Ordering::Relaxed) && !self.centre.stop.load(Ordering::Relaxed)
                {
                    clock::sleep_ms(1);
                }
                let status =
                    if pdu.body.iter().filter(|octet| **octet == 0).count() < 3 { BIND_FAILED } else { 0 };
                self.receives = pdu.command != BIND_TRANSMITTER;
                self.centre.binds.lock().expect("no thread panics with it").push(Bind {
                    session: self.number,
                    door: self.line.door,
                    at,
                });
                self.put(pdu.command | RESPONSE, status, pdu.sequence, b"witness\0");
            }
            SUBMIT_SM => self.submit(at, pdu),
            ENQUIRE_LINK => self.put(ENQUIRE_LINK | RESPONSE, 0, pdu.sequence, &[]),
            UNBIND => {
                self.put(UNBIND | RESPONSE, 0, pdu.sequence, &[]);
                self.ending = true;
            }
            command if command == DELIVER_SM | RESPONSE => {
                let Some(Offered { item, says_opt_out, .. }) = self.offered.remove(&pdu.sequence) else {
                    return;
                };
                let mut book = self.centre.book();
                match (pdu.status, item) {
                    (0, Item::Receipt(receipt)) => {
                        book.receipts[receipt].acknowledged_at = Some(at);
                        if says_opt_out {
                            let recipient = book.receipts[receipt].recipient.clone();
                            book.opt_out_heard.entry(recipient).or_insert(at);
                        }
                    }
                    (0, Item::Said(place)) => book.said[place].acknowledged_at = Some(at),
                    _ => {
                        if let Item::Receipt(receipt) = item {
                            book.receipts[receipt].refusals += 1;
                        }
                        book.due.push(Reverse((clock::now().plus_ms(RECEIPT_PAUSE_MS), item)));
                    }
                }
            }
            command if command & RESPONSE != 0 => {}
            _ => self.put(GENERIC_NACK, INVALID_COMMAND, pdu.sequence, &[]),
        }
    }

    fn submit(&mut self, at: Moment, pdu: &Pdu) {
        let Some(submit) = Submit::read(&pdu.body) else {
            self.put(GENERIC_NACK, INVALID_COMMAND, pdu.sequence, &[]);
            return;
        };
        let recipient = submit.recipient.number();
        if self.centre.book().refusing.contains(&recipient) {
            self.centre.book().refused_opted_out.push((recipient, at));
            self.put(SUBMIT_SM | RESPONSE, OPTED_OUT, pdu.sequence, &[]);
            return;
        }
        if let Some(status) = self.refusal(&submit) {
            self.centre.refused.fetch_add(1, Ordering::Relaxed);
            self.put(SUBMIT_SM | RESPONSE, status, pdu.sequence, &[]);
            return;
        }
        let echoed = self.random.one_in(self.centre.behaviour.echo_one_in) && submit.reference.is_some();
        let least = self.centre.answer_least_ms.load(Ordering::Relaxed);
        let most = self.centre.answer_most_ms.load(Ordering::Relaxed);
        let answer_at = clock::now().plus_ms(self.random.between(least, most));
        let mut book = self.centre.book();
        let index = book.submissions.len();
        // Letters and digits, so that nobody can take it for a number in another base.
        let carrier_id = format!("w{}x{index:x}", self.number);
        book.submissions.push(Submission {
            at,
            session: self.number,
            source: submit.source.number(),
            recipient: submit.recipient.number(),
            text: submit.text,
            part: submit.part,
            reference: submit.reference,
            carrier_id: carrier_id.clone(),
            receipt_wanted: submit.receipt_wanted,
            validity_s: submit.validity_s,
            answered_at: None,
        });
        if submit.receipt_wanted {
            let receipt = book.receipts.len();
            book.receipts.push(Receipt {
                carrier_id,
                recipient: submit.recipient.number(),
                submission: index,
                echoed,
                offers: 0,
                refusals: 0,
                first_offered_at: None,
                acknowledged_at: None,
            });
            let early = self.random.one_in(self.centre.behaviour.early_receipt_one_in);
            let (least, most) = self.centre.behaviour.receipt_ms;
            let wait = self.random.between(least, most);
            let due = if early { clock::now().plus_ms(wait.min(3)) } else { answer_at.plus_ms(wait) };
            book.due.push(Reverse((due, Item::Receipt(receipt))));
        }
        drop(book);
        self.answers.push(Reverse((answer_at, pdu.sequence, index)));
        let open = u32::try_from(self.answers.len()).expect("a session is small");
        self.centre.most_open.fetch_max(open, Ordering::Relaxed);
    }

    /// Why this submission is not taken, if it is not.
    fn refusal(&mut self, submit: &Submit) -> Option<u32> {
        let mood = self.centre.mood.lock().expect("no thread panics with it");
        if mood.full.contains(&submit.recipient.number()) {
            return Some(QUEUE_FULL);
        }
        let percent = mood.throttled_percent;
        drop(mood);
        (self.random.between(1, 100) <= percent).then_some(THROTTLED)
    }

    fn answer(&mut self) -> bool {
        let now = clock::now();
        let mut busy = false;
        let silent = self.centre.silent.load(Ordering::Relaxed);
        while let Some(Reverse((at, sequence, index))) = self.answers.peek().copied() {
            if at > now || silent {
                break;
            }
            self.answers.pop();
            let mut id = {
                let mut book = self.centre.book();
                book.submissions[index].answered_at = Some(now);
                book.submissions[index].carrier_id.clone().into_bytes()
            };
            id.push(0);
            self.put(SUBMIT_SM | RESPONSE, 0, sequence, &id);
            busy = true;
        }
        busy
    }

    fn offer(&mut self) -> bool {
        if !self.receives || self.ending {
            return false;
        }
        let now = clock::now();
        let patience_ms = self.centre.receipt_patience_ms.load(Ordering::Relaxed);
        let late: Vec<u32> = self
            .offered
            .iter()
            .filter(|(_, offered)| now.ms_since(offered.since) > patience_ms)
            .map(|(sequence, _)| *sequence)
            .collect();
        let mut bodies = Vec::new();
        {
            let mut book = self.centre.book();
            for sequence in late {
                let offered = self.offered.remove(&sequence).expect("it was just seen");
                book.due.push(Reverse((now, offered.item)));
            }
            let silent = self.centre.silent.load(Ordering::Relaxed);
            while !silent && self.offered.len() < RECEIPT_WINDOW {
                let Some(Reverse((at, item))) = book.due.peek().copied() else { break };
                if at > now {
                    break;
                }
                book.due.pop();
                self.sequence += 1;
                let mut says_opt_out = false;
                let body = match item {
                    Item::Receipt(receipt) => {
                        book.receipts[receipt].offers += 1;
                        book.receipts[receipt].first_offered_at.get_or_insert(now);
                        let of = &book.receipts[receipt];
                        says_opt_out = book.opted_out.contains(&of.recipient);
                        receipt_body(of, &book.submissions[of.submission], says_opt_out)
                    }
                    Item::Said(place) => said_body(&book.said[place]),
                };
                self.offered.insert(self.sequence, Offered { item, since: now, says_opt_out });
                bodies.push((self.sequence, body));
            }
        }
        let busy = !bodies.is_empty();
        for (sequence, body) in bodies {
            self.put(DELIVER_SM, 0, sequence, &body);
        }
        busy
    }

    fn put(&mut self, command: u32, status: u32, sequence: u32, body: &[u8]) {
        write_pdu(&mut self.out, command, status, sequence, body);
    }

    fn flush(&mut self) -> bool {
        while !self.out.is_empty() {
            match (&self.line.stream).write(&self.out) {
                Ok(0) => return false,
                Ok(length) => drop(self.out.drain(..length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }

    /// What was taken stays taken; what was offered is offered again to the next session.
    fn end(&mut self) {
        let rest = std::mem::take(&mut self.line.drain(self.centre).pdus);
        for (at, pdu) in rest {
            self.take(at, &pdu);
        }
        let again = clock::now().plus_ms(RECEIPT_PAUSE_MS);
        let mut book = self.centre.book();
        for (_, offered) in self.offered.drain() {
            book.due.push(Reverse((again, offered.item)));
        }
    }
}

pub(crate) fn write_pdu(out: &mut Vec<u8>, command: u32, status: u32, sequence: u32, body: &[u8]) {
    let length = u32::try_from(16 + body.len()).expect("a PDU is small");
    for word in [length, command, status, sequence] {
        out.extend(word.to_be_bytes());
    }
    out.extend(body);
}

/// An address as SMPP writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Address {
    ton: u8,
    npi: u8,
    digits: String,
}

impl Address {
    /// With `+` if it is international (SMPP 3.4 §5.2.5).
    fn number(&self) -> String {
        if self.ton == 1 { format!("+{}", self.digits.trim_start_matches('+')) } else { self.digits.clone() }
    }
}

/// A `submit_sm`, as far as the witness needs it (SMPP 3.4 §4.4.1).
#[derive(Debug)]
struct Submit {
    source: Address,
    recipient: Address,
    text: String,
    part: Option<(u8, u8)>,
    reference: Option<u16>,
    receipt_wanted: bool,
    validity_s: Option<u64>,
}

impl Submit {
    fn read(body: &[u8]) -> Option<Self> {
        let mut rest = Octets(body);
        rest.text()?;
        let source = rest.address()?;
        let recipient = rest.address()?;
        let esm_class = rest.octet()?;
        rest.octets(2)?;
        rest.text()?;
        let validity_s = span_s(&rest.text()?);
        let registered = rest.octet()?;
        rest.octet()?;
        let data_coding = rest.octet()?;
        rest.octet()?;
        let length = usize::from(rest.octet()?);
        let mut content = rest.octets(length)?;
        let (mut reference, mut total, mut number) = (None, None, None);
        while !rest.0.is_empty() {
            let tag = u16::from_be_bytes(rest.octets(2)?.try_into().ok()?);
            let length = usize::from(u16::from_be_bytes(rest.octets(2)?.try_into().ok()?));
            let value = rest.octets(length)?;
            match tag {
                0x0204 => reference = Some(u16::from_be_bytes(value.try_into().ok()?)),
                0x020E => total = value.first().copied(),
                0x020F => number = value.first().copied(),
                0x0424 => content = value,
                _ => {}
            }
        }
        let mut part = total.zip(number);
        if esm_class & 0x40 != 0 {
            let header = Octets(content).header()?;
            part = part_of(header).or(part);
            content = &content[header.len() + 1..];
        }
        Some(Self {
            source,
            recipient,
            text: decode(content, data_coding),
            part,
            reference,
            receipt_wanted: registered & 3 != 0,
            validity_s,
        })
    }
}

/// A span of time as SMPP writes one (SMPP 3.4 §7.1.1.2): `YYMMDDhhmmsstnnR`, here of days and less. Seconds.
fn span_s(text: &str) -> Option<u64> {
    let digits = text.strip_suffix('R').filter(|digits| digits.len() == 15)?;
    let two = |at: usize| digits.get(at..at + 2)?.parse::<u64>().ok();
    let (years, months) = (two(0)?, two(2)?);
    (years == 0 && months == 0).then_some(())?;
    Some(two(4)? * 86_400 + two(6)? * 3_600 + two(8)? * 60 + two(10)?)
}

/// The place among the parts that a user data header tells (3GPP TS 23.040 §9.2.3.24.1 and .8).
fn part_of(header: &[u8]) -> Option<(u8, u8)> {
    let mut rest = Octets(header);
    while !rest.0.is_empty() {
        let (kind, length) = (rest.octet()?, usize::from(rest.octet()?));
        match (kind, rest.octets(length)?) {
            (0x00, [_, total, number]) | (0x08, [_, _, total, number]) => return Some((*total, *number)),
            _ => {}
        }
    }
    None
}

/// The text, for comparing: the witness sends letters and digits that every alphabet writes alike.
fn decode(content: &[u8], data_coding: u8) -> String {
    if data_coding & 0x0C == 0x08 {
        let units: Vec<u16> =
            content.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
        String::from_utf16_lossy(&units)
    } else {
        content.iter().map(|octet| char::from(*octet)).collect()
    }
}

struct Octets<'b>(&'b [u8]);

impl<'b> Octets<'b> {
    fn octets(&mut self, count: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn octet(&mut self) -> Option<u8> {
        self.octets(1).map(|octets| octets[0])
    }

    fn text(&mut self) -> Option<String> {
        let end = self.0.iter().position(|octet| *octet == 0)?;
        let text = String::from_utf8_lossy(&self.0[..end]).into_owned();
        self.0 = &self.0[end + 1..];
        Some(text)
    }

    fn address(&mut self) -> Option<Address> {
        Some(Address { ton: self.octet()?, npi: self.octet()?, digits: self.text()? })
    }

    fn header(&mut self) -> Option<&'b [u8]> {
        let length = usize::from(self.octet()?);
        self.octets(length)
    }
}

/// A receipt in its usual text form (SMPP 3.4 Appendix B).
fn receipt_body(receipt: &Receipt, of: &Submission, says_opt_out: bool) -> Vec<u8> {
    let date = clock::receipt_date(clock::wall_ms());
    // 903 is an opt-out in the family of codes that is called `simulator`.
    let end = if says_opt_out { "stat:UNDELIV err:903" } else { "stat:DELIVRD err:000" };
    let text = format!(
        "id:{} sub:001 dlvrd:001 submit date:{date} done date:{date} {end} text:",
        receipt.carrier_id
    );
    // esm_class 0x04: it is a receipt.
    let mut body = deliver_body(&of.recipient, &of.source, 0x04, &text);
    if let (true, Some(reference)) = (receipt.echoed, of.reference) {
        body.extend([0x02, 0x04, 0x00, 0x02]);
        body.extend(reference.to_be_bytes());
    }
    body
}

/// A message of a person.
fn said_body(said: &Said) -> Vec<u8> {
    deliver_body(&said.from, &said.to, 0, &said.text)
}

fn deliver_body(from: &str, to: &str, esm_class: u8, text: &str) -> Vec<u8> {
    let mut body = vec![0];
    for address in [from, to] {
        let (ton, npi) = match address.as_bytes().first() {
            Some(b'+') => (1, 1),
            Some(first) if first.is_ascii_alphabetic() => (5, 0),
            _ => (3, 1),
        };
        body.extend([ton, npi]);
        body.extend(address.trim_start_matches('+').bytes());
        body.push(0);
    }
    // Then protocol, priority, two empty times, no receipt wanted, no replacing, data coding, no canned text.
    body.extend([esm_class, 0, 0, 0, 0, 0, 0, 0, 0]);
    body.push(u8::try_from(text.len()).expect("a text is short"));
    body.extend(text.bytes());
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The other side, just enough to talk to the carrier.
    struct Peer(TcpStream);

    impl Peer {
        fn bind(smsc: &Smsc) -> Self {
            let stream = TcpStream::connect(smsc.address()).unwrap();
            // Without it the system holds back small writes, and the order of writes is not that of arrivals.
            stream.set_nodelay(true).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let mut peer = Self(stream);
            peer.put(BIND_TRANSCEIVER, 1, b"id\0password\0\0\x34\0\0\0");
            assert_eq!(peer.get().command, BIND_TRANSCEIVER | RESPONSE);
            peer
        }

        fn put(&mut self, command: u32, sequence: u32, body: &[u8]) {
            let mut out = Vec::new();
            write_pdu(&mut out, command, 0, sequence, body);
            self.0.write_all(&out).unwrap();
        }

        fn get(&mut self) -> Pdu {
            let mut octets = vec![0; 16];
            self.0.read_exact(&mut octets).unwrap();
            let length = u32::from_be_bytes(octets[..4].try_into().unwrap()) as usize;
            octets.resize(length, 0);
            self.0.read_exact(&mut octets[16..]).unwrap();
            let mut arrived = Arrived { octets, ..Arrived::default() };
            arrived.split(Moment::default());
            arrived.pdus.pop_front().unwrap().1
        }
    }

    fn submit(recipient: &str, header: &[u8], text: &str) -> Vec<u8> {
        let mut body = b"\0\x05\x00Tidings\0\x01\x01".to_vec();
        body.extend(recipient.bytes());
        let esm_class = if header.is_empty() { 0 } else { 0x40 };
        body.extend([0, esm_class, 0, 0, 0, 0, 1, 0, 0, 0]);
        body.push(u8::try_from(header.len() + text.len()).unwrap());
        body.extend(header);
        body.extend(text.bytes());
        body.extend([0x02, 0x04, 0, 2, 0x12, 0x34]);
        body
    }

    fn quick() -> Behaviour {
        Behaviour {
            answer_ms: (0, 0),
            receipt_ms: (0, 0),
            early_receipt_one_in: 0,
            echo_one_in: 1,
            rest_us: 200,
        }
    }

    #[test]
    fn a_submission_is_written_down_answered_and_receipted() {
        let smsc = Smsc::start(quick(), 1).unwrap();
        let mut peer = Peer::bind(&smsc);
        peer.put(SUBMIT_SM, 7, &submit("46701234567", &[5, 0, 3, 9, 2, 1], "hello"));
        let answer = peer.get();
        assert_eq!((answer.command, answer.sequence), (SUBMIT_SM | RESPONSE, 7));
        let seen = smsc.submissions().remove(0);
        assert_eq!(
            (seen.source.as_str(), seen.recipient.as_str(), seen.text.as_str()),
            ("Tidings", "+46701234567", "hello")
        );
        assert_eq!((seen.part, seen.reference), (Some((2, 1)), Some(0x1234)));
        assert_eq!(answer.body, [seen.carrier_id.as_bytes(), b"\0"].concat());

        let receipt = peer.get();
        assert_eq!(receipt.command, DELIVER_SM);
        assert!(String::from_utf8_lossy(&receipt.body).contains(&format!("id:{} ", seen.carrier_id)));
        assert!(receipt.body.ends_with(&[0x02, 0x04, 0, 2, 0x12, 0x34]), "the reference is echoed");
        assert!(!smsc.is_settled());
        peer.put(DELIVER_SM | RESPONSE, receipt.sequence, b"\0");
        assert!(clock::wait_until(10_000, 1, || smsc.is_settled()));
    }

    #[test]
    fn a_receipt_that_was_not_acknowledged_is_offered_to_the_next_session() {
        let smsc = Smsc::start(quick(), 1).unwrap();
        let mut peer = Peer::bind(&smsc);
        peer.put(SUBMIT_SM, 1, &submit("46701234567", &[], "hello"));
        assert_eq!(peer.get().command, SUBMIT_SM | RESPONSE);
        assert_eq!(peer.get().command, DELIVER_SM);
        drop(peer);
        let mut peer = Peer::bind(&smsc);
        let again = peer.get();
        assert_eq!(again.command, DELIVER_SM);
        peer.put(DELIVER_SM | RESPONSE, again.sequence, b"\0");
        assert!(clock::wait_until(10_000, 1, || smsc.is_settled()));
        assert_eq!(smsc.receipts()[0].offers, 2);
    }

    #[test]
    fn what_was_written_before_the_end_of_a_session_counts_as_taken() {
        let smsc = Smsc::start(Behaviour { answer_ms: (60_000, 60_000), ..quick() }, 1).unwrap();
        let mut peer = Peer::bind(&smsc);
        for sequence in 1..=5 {
            peer.put(SUBMIT_SM, sequence, &submit("46701234567", &[], "hello"));
        }
        drop(peer);
        assert!(clock::wait_until(10_000, 1, || smsc.submission_count() == 5));
        assert_eq!((smsc.most_open(), smsc.submissions()[4].answered_at), (5, None));
    }

    #[test]
    fn a_barrier_reads_what_has_arrived() {
        // A session that rests for a minute reads nothing by itself.
        let smsc = Smsc::start(Behaviour { rest_us: 300_000, ..quick() }, 1).unwrap();
        let mut peer = Peer::bind(&smsc);
        for sequence in 1..=4 {
            peer.put(SUBMIT_SM, sequence, &submit("46701234567", &[], "before"));
            let after = smsc.barrier();
            assert!(clock::wait_until(10_000, 1, || smsc.submission_count() == sequence as usize));
            assert!(smsc.submissions()[sequence as usize - 1].at <= after);
        }
        let after = smsc.barrier();
        peer.put(SUBMIT_SM, 99, &submit("46701234567", &[], "after"));
        assert!(clock::wait_until(10_000, 1, || smsc.submission_count() == 5));
        assert!(smsc.submissions()[4].at > after);
    }

    #[test]
    fn a_barrier_never_accuses_what_was_written_before_it() {
        const TRIES: u32 = 5_000;
        let smsc = Smsc::start(quick(), 1).unwrap();
        let mut peer = Peer::bind(&smsc);
        let mut drain = peer.0.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while drain.read(&mut buffer).is_ok_and(|length| length > 0) {}
        });
        let fences: Vec<Moment> = (1..=TRIES)
            .map(|sequence| {
                peer.put(SUBMIT_SM, sequence, &submit("46701234567", &[], "before"));
                smsc.barrier()
            })
            .collect();
        assert!(clock::wait_until(30_000, 1, || smsc.submission_count() == fences.len()));
        let late = smsc.submissions().iter().zip(&fences).filter(|(seen, fence)| seen.at > **fence).count();
        assert_eq!(late, 0, "of {TRIES}");
    }

    #[test]
    fn other_commands_are_answered_and_an_unbind_ends_the_session() {
        let smsc = Smsc::start(quick(), 1).unwrap();
        let mut peer = Peer::bind(&smsc);
        peer.put(ENQUIRE_LINK, 2, &[]);
        assert_eq!(peer.get().command, ENQUIRE_LINK | RESPONSE);
        peer.put(0x0000_0103, 3, &[]);
        assert_eq!((peer.get().command, smsc.sessions_opened()), (GENERIC_NACK, 1));
        peer.put(UNBIND, 4, &[]);
        assert_eq!(peer.get().command, UNBIND | RESPONSE);
        assert_eq!(peer.0.read(&mut [0; 1]).unwrap(), 0);
    }
}
