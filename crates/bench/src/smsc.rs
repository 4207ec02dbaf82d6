//! The carrier: an SMPP 3.4 message centre of one thread. It answers each submission and sends a receipt for it, at
//! once or after a time, and writes down when what happened.
//!
//! A receipt that was not acknowledged is offered again on the next session. It knows no TLS, no cancel and no query,
//! and takes every password.

use crate::clock::{self, MS, SECOND};
use crate::log;
use crate::number;
use crate::options::Options;
use crate::poll::{Line, Poll, Scratch};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// The name of this tool.
pub const NAME: &str = "smsc";

const SUBMIT_SM: u32 = 0x0000_0004;
const DELIVER_SM: u32 = 0x0000_0005;
const UNBIND: u32 = 0x0000_0006;
const ENQUIRE_LINK: u32 = 0x0000_0015;
const BINDS: [u32; 3] = [0x0000_0001, 0x0000_0002, 0x0000_0009];
const BIND_TRANSMITTER: u32 = 0x0000_0002;
const RESPONSE: u32 = 0x8000_0000;
const GENERIC_NACK: u32 = 0x8000_0000;
/// `ESME_RINVCMDID` (SMPP 3.4 §5.1.3).
const INVALID_COMMAND: u32 = 0x0000_0003;
/// `ESME_RTHROTTLED`.
const THROTTLED: u32 = 0x0000_0058;
/// The longest PDU that is taken: octets.
const PDU_MAX: usize = 64 * 1024;
/// How long a receipt rests that was refused or lost with its session.
const REST: u64 = 200 * MS;

const INPUT: u64 = u64::MAX;
const LISTENER: u64 = u64::MAX - 1;

/// How ids are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ids {
    Sequential,
    Random,
}

#[derive(Debug)]
struct Behaviour {
    /// Between a submission and its answer: least and most nanoseconds.
    answer: (u64, u64),
    /// Between the answer and the receipt: least and most nanoseconds.
    receipt: (u64, u64),
    ids: Ids,
    /// Receipts of a session that may be without acknowledgement.
    window: usize,
    /// Submissions a second above which they are refused; 0 for no such bound.
    throttle: u64,
}

/// The log of a carrier: one row for each submission that it took.
#[derive(Debug, Default)]
pub struct Log {
    /// The number of the message; and 2^32 times the number of the segment, from 1; and 2^40 times how many there
    /// are.
    pub what: Vec<u64>,
    /// When it was read.
    pub at: Vec<u64>,
    /// When its receipt was first offered; 0 if it was not.
    pub offered: Vec<u64>,
    /// When its receipt was acknowledged; 0 if it was not.
    pub acknowledged: Vec<u64>,
}

impl Log {
    /// Reads a log.
    ///
    /// # Errors
    /// As [`log::read`].
    pub fn read(path: &std::path::Path) -> std::io::Result<Self> {
        let [what, at, offered, acknowledged] = log::read::<4>(path)?;
        Ok(Self { what, at, offered, acknowledged })
    }
}

/// What a submission to a recipient that is none of ours is written down as.
pub const NO_MESSAGE: u64 = 0xFFFF_FFFF;

#[derive(Debug)]
struct Session {
    line: Line,
    account: Account,
    receives: bool,
    ending: bool,
    /// Receipts without acknowledgement, by the submission.
    open: BTreeSet<u32>,
}

/// Who is bound: the end of the `system_id`. Receipts go to the sessions of the account that submitted.
type Account = Option<u8>;

/// An answer or a receipt that waits for its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Later {
    at: u64,
    submission: u32,
    /// For an answer: on which session, to which sequence number. A receipt goes to any session of its account.
    answers: Option<(u64, u32)>,
}

struct Centre {
    behaviour: Behaviour,
    log: Log,
    /// The addresses of each submission as they came, in the order that its receipt has them: its recipient first.
    addresses: Vec<Box<[u8]>>,
    /// The account of each submission.
    accounts: Vec<Account>,
    sessions: BTreeMap<u64, Session>,
    next_session: u64,
    /// Receipts that may go now, by the account of their submission.
    receipts: BTreeMap<Account, VecDeque<u32>>,
    /// What waits for its time, the earliest first.
    later: BinaryHeap<Reverse<Later>>,
    random: u64,
    date: (u64, String),
    allowed: u64,
    allowed_at: u64,
}

/// The tool: see [`crate::tool`]. It says `ready ADDRESS`. The line `down` ends all sessions and refuses new ones,
/// `up` takes them again.
///
/// # Errors
/// A sentence: the system refuses something, or an option is wrong.
pub fn work(arguments: &[String], input: OwnedFd, output: &mut dyn Write) -> Result<(), String> {
    let options = Options::parse(arguments, &[])?;
    let log = PathBuf::from(options.needed("log")?);
    let text = |error: std::io::Error| error.to_string();
    let span = |name: &str, jitter: &str| -> Result<(u64, u64), String> {
        let least = options.number(name, 0)? * MS;
        Ok((least, least + options.number(jitter, 0)? * MS))
    };
    let behaviour = Behaviour {
        answer: span("answer-ms", "answer-jitter-ms")?,
        receipt: span("receipt-ms", "receipt-jitter-ms")?,
        ids: if options.text("ids") == Some("random") { Ids::Random } else { Ids::Sequential },
        window: options.number("receipt-window", 500)?,
        throttle: options.number("throttle", 0)?,
    };
    let mut input = File::from(input);
    let mut poll = Poll::new().map_err(text)?;
    poll.add(&input, INPUT).map_err(text)?;
    let mut address: SocketAddr = "127.0.0.1:0".parse().expect("it is one");
    let listen = |address: SocketAddr, poll: &Poll| -> std::io::Result<TcpListener> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        poll.add(&listener, LISTENER)?;
        Ok(listener)
    };
    let mut listener = Some(listen(address, &poll).map_err(text)?);
    if let Some(listener) = &listener {
        address = listener.local_addr().map_err(text)?;
    }
    if options.number("down", 0)? != 0 {
        listener = None;
    }
    writeln!(output, "ready {address}").map_err(text)?;

    let mut centre = Centre::new(behaviour);
    let (mut ready, mut scratch) = (Vec::new(), Scratch::default());
    loop {
        let wait = centre.later.peek().map(|Reverse(Later { at, .. })| at.saturating_sub(clock::now()));
        poll.wait(wait, &mut ready).map_err(text)?;
        for number in &ready {
            match *number {
                INPUT => {
                    let mut octets = [0; 64];
                    let length = input.read(&mut octets).map_err(text)?;
                    let line = octets[..length].trim_ascii();
                    match line {
                        b"" if length == 0 => {
                            let seen = &centre.log;
                            return log::write(
                                &log,
                                &[&seen.what, &seen.at, &seen.offered, &seen.acknowledged],
                            )
                            .map_err(text);
                        }
                        b"down" => {
                            listener = None;
                            for number in centre.sessions.keys().copied().collect::<Vec<_>>() {
                                centre.end(number);
                            }
                        }
                        b"up" if listener.is_none() => {
                            listener = Some(listen(address, &poll).map_err(text)?);
                        }
                        _ => {}
                    }
                }
                LISTENER => {
                    while let Some(Ok((stream, _))) = listener.as_ref().map(TcpListener::accept) {
                        let number = centre.next_session;
                        centre.next_session += 1;
                        let line = Line::new(stream, number, &poll).map_err(text)?;
                        let session = Session {
                            line,
                            account: None,
                            receives: false,
                            ending: false,
                            open: BTreeSet::new(),
                        };
                        centre.sessions.insert(number, session);
                    }
                }
                number => centre.hear(number, &mut scratch),
            }
        }
        centre.act();
        centre.flush(&poll);
    }
}

impl Centre {
    fn new(behaviour: Behaviour) -> Self {
        Self {
            behaviour,
            log: Log::default(),
            addresses: Vec::new(),
            accounts: Vec::new(),
            sessions: BTreeMap::new(),
            next_session: 0,
            receipts: BTreeMap::new(),
            later: BinaryHeap::new(),
            random: 0x5DEE_CE66,
            date: (u64::MAX, String::new()),
            allowed: 0,
            allowed_at: 0,
        }
    }

    /// Reads what has come on a session.
    fn hear(&mut self, number: u64, scratch: &mut Scratch) {
        let Some(mut session) = self.sessions.remove(&number) else { return };
        let alive = session.line.fill(scratch);
        let now = clock::now();
        let mut used = 0;
        let mut broken = false;
        let (octets, out) = session.line.both();
        while let Some(begin) = octets[used..].first_chunk::<16>() {
            let word = |n: usize| u32::from_be_bytes([begin[n], begin[n + 1], begin[n + 2], begin[n + 3]]);
            let length = word(0) as usize;
            if !(16..=PDU_MAX).contains(&length) {
                broken = true;
                break;
            }
            let Some(pdu) = octets.get(used..used + length) else { break };
            let (command, status, sequence, body) = (word(4), word(8), word(12), &pdu[16..]);
            used += length;
            match command {
                SUBMIT_SM => self.submit((number, session.account), sequence, body, now, out),
                ENQUIRE_LINK => put(out, ENQUIRE_LINK | RESPONSE, 0, sequence, &[]),
                UNBIND => {
                    put(out, UNBIND | RESPONSE, 0, sequence, &[]);
                    session.ending = true;
                }
                bind if BINDS.contains(&bind) => {
                    session.receives = bind != BIND_TRANSMITTER;
                    session.account =
                        body.split(|octet| *octet == 0).next().and_then(|id| id.last().copied());
                    put(out, bind | RESPONSE, 0, sequence, b"bench\0");
                }
                command if command == DELIVER_SM | RESPONSE => {
                    // The sequence number of a receipt is its submission, counted from 1.
                    let submission = sequence.wrapping_sub(1);
                    if session.open.remove(&submission) {
                        if status == 0 {
                            self.log.acknowledged[submission as usize] = now;
                        } else {
                            self.later.push(Reverse(Later { at: now + REST, submission, answers: None }));
                        }
                    }
                }
                command if command & RESPONSE != 0 => {}
                _ => put(out, GENERIC_NACK, INVALID_COMMAND, sequence, &[]),
            }
        }
        session.line.advance(used);
        self.sessions.insert(number, session);
        if !alive || broken {
            self.end(number);
        }
    }

    fn submit(
        &mut self,
        (session, account): (u64, Account),
        sequence: u32,
        body: &[u8],
        now: u64,
        out: &mut Vec<u8>,
    ) {
        let Some(submit) = Submit::read(body) else {
            put(out, GENERIC_NACK, INVALID_COMMAND, sequence, &[]);
            return;
        };
        if self.is_too_much(now) {
            put(out, SUBMIT_SM | RESPONSE, THROTTLED, sequence, b"\0");
            return;
        }
        let submission = u32::try_from(self.log.at.len()).expect("fewer than 2^32 submissions");
        let digits = &submit.recipient[2..submit.recipient.len() - 1];
        let message = number::of_recipient(digits).unwrap_or(NO_MESSAGE);
        let (total, part) = submit.part;
        self.log.what.push(message | u64::from(part) << 32 | u64::from(total) << 40);
        self.log.at.push(now);
        self.log.offered.push(0);
        self.log.acknowledged.push(0);
        self.accounts.push(account);
        self.addresses.push([submit.recipient, submit.source].concat().into());
        let answer_at = now + self.between(self.behaviour.answer);
        if answer_at > now {
            self.later.push(Reverse(Later { at: answer_at, submission, answers: Some((session, sequence)) }));
        } else {
            self.answer(submission, sequence, out);
        }
        if submit.receipt_wanted {
            let receipt_at = answer_at + self.between(self.behaviour.receipt);
            if receipt_at > now {
                self.later.push(Reverse(Later { at: receipt_at, submission, answers: None }));
            } else {
                self.owe(submission);
            }
        }
    }

    /// A receipt may go now.
    fn owe(&mut self, submission: u32) {
        self.receipts.entry(self.accounts[submission as usize]).or_default().push_back(submission);
    }

    fn is_too_much(&mut self, now: u64) -> bool {
        if self.behaviour.throttle == 0 {
            return false;
        }
        if now - self.allowed_at > SECOND {
            (self.allowed, self.allowed_at) = (self.behaviour.throttle, now);
        }
        let refused = self.allowed == 0;
        self.allowed = self.allowed.saturating_sub(1);
        refused
    }

    fn answer(&self, submission: u32, sequence: u32, out: &mut Vec<u8>) {
        let mut id = self.id(submission);
        id.push(0);
        put(out, SUBMIT_SM | RESPONSE, 0, sequence, &id);
    }

    /// The id of a submission.
    fn id(&self, submission: u32) -> Vec<u8> {
        match self.behaviour.ids {
            Ids::Sequential => (1_000_000_000 + u64::from(submission)).to_string().into_bytes(),
            Ids::Random => format!("{:016x}", stir(u64::from(submission) + 1)).into_bytes(),
        }
    }

    fn between(&mut self, (least, most): (u64, u64)) -> u64 {
        if most == least {
            return least;
        }
        self.random = stir(self.random);
        least + self.random % (most - least + 1)
    }

    /// Gives the answers whose time has come, and as many receipts as the sessions take.
    fn act(&mut self) {
        let now = clock::now();
        while let Some(Reverse(Later { at, submission, answers })) = self.later.peek().copied() {
            if at > now {
                break;
            }
            self.later.pop();
            let Some((number, sequence)) = answers else {
                self.owe(submission);
                continue;
            };
            if let Some(mut session) = self.sessions.remove(&number) {
                self.answer(submission, sequence, session.line.out());
                self.sessions.insert(number, session);
            }
        }
        if self.receipts.values().all(VecDeque::is_empty) {
            return;
        }
        let wall = clock::wall_s() / 60;
        if self.date.0 != wall {
            self.date = (wall, clock::receipt_date(wall * 60));
        }
        let mut sessions = std::mem::take(&mut self.sessions);
        for session in sessions.values_mut().filter(|session| session.receives && !session.ending) {
            while session.open.len() < self.behaviour.window {
                let owed = self.receipts.get_mut(&session.account);
                let Some(submission) = owed.and_then(VecDeque::pop_front) else { break };
                session.open.insert(submission);
                let offered = &mut self.log.offered[submission as usize];
                if *offered == 0 {
                    *offered = now;
                }
                let id = self.id(submission);
                write_receipt(
                    session.line.out(),
                    submission + 1,
                    &self.addresses[submission as usize],
                    &id,
                    &self.date.1,
                );
            }
        }
        self.sessions = sessions;
    }

    fn flush(&mut self, poll: &Poll) {
        let mut gone = Vec::new();
        for (number, session) in &mut self.sessions {
            let alive = session.line.flush(poll);
            if !alive || (session.ending && session.line.out().is_empty()) {
                gone.push(*number);
            }
        }
        for number in gone {
            self.end(number);
        }
    }

    /// Ends a session. What was offered on it is offered again.
    fn end(&mut self, number: u64) {
        let Some(session) = self.sessions.remove(&number) else { return };
        let again = clock::now() + REST;
        for submission in session.open {
            self.later.push(Reverse(Later { at: again, submission, answers: None }));
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): different numbers for different numbers.
const fn stir(n: u64) -> u64 {
    let z = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Appends a PDU.
pub(crate) fn put(out: &mut Vec<u8>, command: u32, status: u32, sequence: u32, body: &[u8]) {
    let length = u32::try_from(16 + body.len()).expect("a PDU is small");
    for word in [length, command, status, sequence] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    out.extend_from_slice(body);
}

/// A receipt in its usual text form (SMPP 3.4 Appendix B). `addresses` are those of the submission, in the order that
/// a receipt has them.
fn write_receipt(out: &mut Vec<u8>, sequence: u32, addresses: &[u8], id: &[u8], date: &str) {
    let from = out.len();
    put(out, DELIVER_SM, 0, sequence, b"\0");
    out.extend_from_slice(addresses);
    // esm_class 0x04: it is a receipt. Then protocol, priority, two empty times, no receipt wanted, no replacing,
    // data coding, no canned text, and the length of the text, which is filled in below.
    out.extend_from_slice(&[0x04, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let text = out.len();
    for part in [
        &b"id:"[..],
        id,
        b" sub:001 dlvrd:001 submit date:",
        date.as_bytes(),
        b" done date:",
        date.as_bytes(),
        b" stat:DELIVRD err:000 text:",
    ] {
        out.extend_from_slice(part);
    }
    out[text - 1] = u8::try_from(out.len() - text).expect("a receipt is short");
    let length = u32::try_from(out.len() - from).expect("a PDU is small");
    out[from..from + 4].copy_from_slice(&length.to_be_bytes());
}

/// A `submit_sm`, as far as it matters here (SMPP 3.4 §4.4.1). Addresses are as they came, with type, plan and the
/// zero octet at the end.
struct Submit<'b> {
    source: &'b [u8],
    recipient: &'b [u8],
    /// Total and number.
    part: (u8, u8),
    receipt_wanted: bool,
}

impl<'b> Submit<'b> {
    fn read(body: &'b [u8]) -> Option<Self> {
        fn text(rest: &mut &[u8]) -> Option<()> {
            let end = rest.iter().position(|octet| *octet == 0)?;
            *rest = &rest[end + 1..];
            Some(())
        }
        fn address<'b>(rest: &mut &'b [u8]) -> Option<&'b [u8]> {
            let end = rest.get(2..)?.iter().position(|octet| *octet == 0)? + 3;
            let (address, after) = rest.split_at(end);
            *rest = after;
            Some(address)
        }
        let mut rest = body;
        text(&mut rest)?;
        let source = address(&mut rest)?;
        let recipient = address(&mut rest)?;
        let esm_class = *rest.first()?;
        rest = rest.get(3..)?;
        text(&mut rest)?;
        text(&mut rest)?;
        let [registered, _, _, _, length, rest @ ..] = rest else { return None };
        let content = rest.get(..usize::from(*length))?;
        let mut part = (1, 1);
        // The header of 8-bit parts (3GPP TS 23.040 §9.2.3.24.1), which is what is sent here.
        if esm_class & 0x40 != 0
            && let [_, 0, 3, _, total, number, ..] = content
        {
            part = (*total, *number);
        }
        Some(Self { source, recipient, part, receipt_wanted: registered & 3 != 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn centre(ids: Ids) -> Centre {
        Centre::new(Behaviour { answer: (0, 0), receipt: (0, 0), ids, window: 10, throttle: 0 })
    }

    fn submit(header: &[u8]) -> Vec<u8> {
        let mut body = b"\0\x05\x00Tidings\0\x01\x0146700000042\0".to_vec();
        let esm_class = if header.is_empty() { 0 } else { 0x40 };
        body.extend([esm_class, 0, 0, 0, 0, 1, 0, 0, 0]);
        body.push(u8::try_from(header.len() + 2).unwrap());
        body.extend(header);
        body.extend(b"hi");
        body
    }

    #[test]
    fn a_submission_is_written_down_and_answered() {
        let mut centre = centre(Ids::Sequential);
        let mut out = Vec::new();
        centre.submit((0, None), 7, &submit(&[5, 0, 3, 9, 2, 1]), 5, &mut out);
        assert_eq!(centre.log.what, [168 | 1 << 32 | 2 << 40]);
        assert_eq!(&out[4..8], (SUBMIT_SM | RESPONSE).to_be_bytes());
        assert_eq!(&out[16..], b"1000000000\0");
        assert_eq!(centre.receipts[&None], [0]);
        centre.submit((0, None), 8, &submit(&[]), 5, &mut out);
        assert_eq!(centre.log.what[1], 168 | 1 << 32 | 1 << 40);
    }

    #[test]
    fn a_receipt_goes_back_with_the_addresses_turned_round() {
        let mut out = Vec::new();
        let body = submit(&[]);
        let read = Submit::read(&body).unwrap();
        write_receipt(&mut out, 1, &[read.recipient, read.source].concat(), b"77", "2402291200");
        assert_eq!(out.len(), u32::from_be_bytes(out[..4].try_into().unwrap()) as usize);
        assert!(out[16..].starts_with(b"\0\x01\x0146700000042\0\x05\x00Tidings\0\x04"));
        assert!(out.ends_with(
            b"id:77 sub:001 dlvrd:001 submit date:2402291200 done date:2402291200 stat:DELIVRD err:000 text:"
        ));
    }

    #[test]
    fn random_ids_are_hexadecimal_and_differ() {
        let centre = centre(Ids::Random);
        let ids: std::collections::HashSet<Vec<u8>> = (0..1_000).map(|n| centre.id(n)).collect();
        assert_eq!(ids.len(), 1_000);
        assert!(ids.iter().all(|id| id.len() == 16));
    }
}
