//! The load generator: one thread, some connections that are kept, requests that are templates with a few digits to
//! fill in.
//!
//! With a rate it is an open loop: each message has its moment, and latency counts from that moment also if the
//! message had to wait for a connection. A slow server thus cannot slow down the questions and look better for it.
//! Without a rate it is a closed loop: each connection asks again as soon as it is answered.
//!
//! It stops sending while too many accepted messages have not come back as a webhook yet (`--bound`), as a customer's
//! queue would; the sink tells how many did. It repeats nothing.

use crate::clock::{self, MS, SECOND};
use crate::log;
use crate::number;
use crate::options::Options;
use crate::poll::{Line, Poll, Scratch, digits, find, head};
use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::str::FromStr;

/// The name of this tool.
pub const NAME: &str = "load";
/// Messages in a batch.
pub const BATCH: usize = 100;
/// The sender of all messages.
pub const SENDER: &str = "Tidings";
/// How long no answer may come while one is awaited.
const SILENCE_MS: u64 = 30_000;
/// The status in the log of a batch that was not accepted as a whole.
pub const PARTLY: u64 = 299;

const INPUT: u64 = u64::MAX;
const PROGRESS: u64 = u64::MAX - 1;

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One message a request, `POST /v1/sms`.
    Single,
    /// Hundred messages a request, `POST /v1/messages/batch`.
    Batch,
    /// One message a request: four purposes, some of two segments, some that need UCS-2.
    Mixed,
}

impl FromStr for Kind {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        match word {
            "single" => Ok(Self::Single),
            "batch" => Ok(Self::Batch),
            "mixed" => Ok(Self::Mixed),
            _ => Err(()),
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Single => "single",
            Self::Batch => "batch",
            Self::Mixed => "mixed",
        })
    }
}

/// A request with places for digits.
#[derive(Debug)]
struct Template {
    octets: Vec<u8>,
    /// Where the digits of each recipient are.
    recipients: Vec<usize>,
    /// Where each text has the number of its message: eight digits.
    numbers: Vec<usize>,
    /// Where the idempotency key has the number of the first message: eight digits.
    key: Option<usize>,
    segments: u64,
}

/// Places for digits, which are found and replaced later.
const HOLE_RECIPIENT: &str = "46700000000";
const HOLE_NUMBER: &str = "########";

impl Template {
    fn new(to: &Place, target: &str, body: &str, segments: u64) -> Self {
        let key = if to.keys {
            format!("Idempotency-Key: bench-{}-{HOLE_NUMBER}\r\n", to.run)
        } else {
            String::new()
        };
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n{key}Content-Length: {}\r\n\r\n",
            to.address,
            to.token,
            body.len(),
        );
        let holes = |text: &str, hole: &str, from: usize| -> Vec<usize> {
            text.match_indices(hole).map(|(at, _)| from + at).collect()
        };
        Self {
            recipients: holes(body, HOLE_RECIPIENT, head.len()),
            numbers: holes(body, HOLE_NUMBER, head.len()),
            key: holes(&head, HOLE_NUMBER, 0).first().copied(),
            octets: [head.as_bytes(), body.as_bytes()].concat(),
            segments,
        }
    }

    /// The request for the messages from `first` on, at the end of `out`.
    fn write(&self, first: u64, out: &mut Vec<u8>) {
        let from = out.len();
        out.extend_from_slice(&self.octets);
        let request = &mut out[from..];
        for (n, at) in (first..).zip(&self.recipients) {
            request[*at..*at + number::DIGITS].copy_from_slice(&number::recipient(n));
        }
        for (n, at) in (first..).zip(&self.numbers) {
            number::decimal(&mut request[*at..*at + HOLE_NUMBER.len()], n);
        }
        if let Some(at) = self.key {
            number::decimal(&mut request[at..at + HOLE_NUMBER.len()], first);
        }
    }
}

/// Where requests go, and what is in each.
#[derive(Debug)]
struct Place {
    /// What they say for a host: all nodes are the same to them.
    address: SocketAddr,
    token: String,
    keys: bool,
    run: u64,
}

/// The requests of a kind, which are sent in turn.
fn templates(kind: Kind, to: &Place) -> Vec<Template> {
    let text = format!("Your code is {HOLE_NUMBER}. It is good for ten minutes.");
    let general = |text: &str, purpose: &str| {
        format!(r#"{{"from":"{SENDER}","to":"+{HOLE_RECIPIENT}","text":"{text}","purpose":"{purpose}"}}"#)
    };
    let short = format!(r#"{{"from":"{SENDER}","to":"+{HOLE_RECIPIENT}","message":"{text}"}}"#);
    match kind {
        Kind::Single => vec![Template::new(to, "/v1/sms", &short, 1)],
        Kind::Batch => {
            let items = vec![general(&text, "transactional"); BATCH].join(",");
            vec![Template::new(to, "/v1/messages/batch", &format!(r#"{{"messages":[{items}]}}"#), 1)]
        }
        Kind::Mixed => {
            // 153 characters go into each of several parts, and 70 UTF-16 units into a message that needs them.
            let long = format!("{text}{}", " And there is more to be said.".repeat(5));
            let foreign = format!("Ваш код {HOLE_NUMBER}, десять минут.");
            let long_foreign = format!("{foreign}{}", " И это ещё не всё, что есть.".repeat(2));
            let one = |text: &str, purpose: &str, segments| {
                Template::new(to, "/v1/messages", &general(text, purpose), segments)
            };
            let mut all = Vec::new();
            for of in 0..20 {
                all.push(match of {
                    1 | 6 | 11 | 16 => one(&text, "authentication", 1),
                    3 | 13 => one(&text, "alert", 1),
                    5 | 15 => one(&text, "marketing", 1),
                    8 => one(&foreign, "transactional", 1),
                    10 => one(&long, "transactional", 2),
                    18 => one(&long_foreign, "marketing", 2),
                    _ => Template::new(to, "/v1/sms", &short, 1),
                });
            }
            all
        }
    }
}

/// What was written down about each message, by its number less the first.
#[derive(Debug, Default)]
struct Written {
    scheduled: Vec<u64>,
    sent: Vec<u64>,
    answered: Vec<u64>,
    /// The status of the answer, 0 if there was none, times 256; and the segments that the message has.
    status: Vec<u64>,
}

/// The log of a load generator, read back.
#[derive(Debug, Default)]
pub struct Log {
    /// The number of the first message.
    pub first: u64,
    /// When each was to be sent.
    pub scheduled: Vec<u64>,
    /// When it was sent: later only if no connection was free, or this tool was late.
    pub sent: Vec<u64>,
    /// When it was answered; 0 if it was not.
    pub answered: Vec<u64>,
    /// The status of the answer; 0 if there was none.
    pub status: Vec<u16>,
    /// Its segments.
    pub segments: Vec<u8>,
}

impl Log {
    /// Reads a log.
    ///
    /// # Errors
    /// As [`log::read`].
    pub fn read(path: &std::path::Path, first: u64) -> std::io::Result<Self> {
        let [scheduled, sent, answered, status] = log::read::<4>(path)?;
        Ok(Self {
            first,
            scheduled,
            sent,
            answered,
            segments: status.iter().map(|status| status.to_le_bytes()[0]).collect(),
            status: status.iter().map(|status| u16::try_from(status >> 8).unwrap_or(u16::MAX)).collect(),
        })
    }
}

impl Log {
    /// Adds the log of a load that came after this one.
    pub fn append(&mut self, mut later: Self) {
        if self.scheduled.is_empty() {
            *self = later;
            return;
        }
        let next = self.first + self.scheduled.len() as u64;
        assert_eq!(later.first, next, "loads follow each other without a gap");
        self.scheduled.append(&mut later.scheduled);
        self.sent.append(&mut later.sent);
        self.answered.append(&mut later.answered);
        self.status.append(&mut later.status);
        self.segments.append(&mut later.segments);
    }
}

/// A connection and what it waits for: the first message of the request.
#[derive(Debug)]
struct Connection {
    line: Line,
    asked: Option<u64>,
}

struct Load {
    /// Connections go to each of these in turn.
    addresses: Vec<SocketAddr>,
    templates: Vec<Template>,
    size: u64,
    first: u64,
    next: u64,
    end: u64,
    /// Nanoseconds between two requests; 0 if saturated.
    interval: u64,
    due: u64,
    bound: u64,
    /// The moment from which nothing more is to be sent.
    stop_at: u64,
    accepted: u64,
    called_back: u64,
    connections: Vec<Connection>,
    idle: Vec<usize>,
    busy: usize,
    written: Written,
    complained: HashSet<u64>,
    poll: Poll,
}

/// The tool: see [`crate::tool`]. It starts with the line `go MOMENT`, says `done` after its last answer, and writes
/// its log when its input ends. `stop` ends it before its time.
///
/// # Errors
/// A sentence: the server is gone, or an option is wrong.
pub fn work(arguments: &[String], input: OwnedFd, output: &mut dyn Write) -> Result<(), String> {
    let options = Options::parse(arguments, &[])?;
    let log = PathBuf::from(options.needed("log")?);
    let kind: Kind = options.number("kind", Kind::Single)?;
    let size = if kind == Kind::Batch { BATCH as u64 } else { 1 };
    let rate: u64 = options.number("rate", 0)?;
    let addresses = options.needed("address")?.split(',').map(str::parse).collect::<Result<Vec<_>, _>>();
    let addresses: Vec<SocketAddr> = addresses.map_err(|_| "--address is no address")?;
    let place = Place {
        address: addresses[0],
        token: options.needed("token")?.to_owned(),
        keys: options.number("keys", 0)? != 0,
        run: clock::now(),
    };
    let first: u64 = options.number("first", 0)?;
    let messages: u64 = options.number("messages", number::MOST)?;
    let seconds: u64 = options.number("seconds", 0)?;
    let text = |error: std::io::Error| error.to_string();
    let mut load = Load {
        addresses,
        templates: templates(kind, &place),
        size,
        first,
        next: first,
        end: first + messages.min(number::MOST - first),
        interval: (SECOND * size).checked_div(rate).unwrap_or(0),
        due: 0,
        bound: options.number("bound", 0)?,
        stop_at: u64::MAX,
        accepted: 0,
        called_back: 0,
        connections: Vec::new(),
        idle: Vec::new(),
        busy: 0,
        written: Written::default(),
        complained: HashSet::new(),
        poll: Poll::new().map_err(text)?,
    };
    let progress: Option<SocketAddr> = match options.text("progress") {
        Some(address) => Some(address.parse().map_err(|_| "--progress is no address")?),
        None => None,
    };
    for _ in 0..options.number("connections", 64)? {
        load.connect().map_err(|error| format!("no connection to the server: {error}"))?;
    }
    clock::be_punctual();
    let mut input = File::from(input);
    load.poll.add(&input, INPUT).map_err(text)?;
    writeln!(output, "ready").map_err(text)?;
    let start = go(&mut input)?;
    load.run(start, seconds, &mut input, progress)?;
    writeln!(output, "done {}", load.accepted).map_err(text)?;
    while input.read(&mut [0; 64]).map_err(text)? > 0 {}
    let written = &load.written;
    log::write(&log, &[&written.scheduled, &written.sent, &written.answered, &written.status]).map_err(text)
}

/// Waits for `go MOMENT`.
fn go(input: &mut File) -> Result<u64, String> {
    let mut octets = [0; 64];
    let length = input.read(&mut octets).map_err(|error| error.to_string())?;
    let line = String::from_utf8_lossy(&octets[..length]);
    line.trim()
        .strip_prefix("go ")
        .and_then(|at| at.parse().ok())
        .ok_or_else(|| "it was not told to go".to_owned())
}

impl Load {
    /// Where this connection goes.
    fn address(&self, connection: usize) -> SocketAddr {
        self.addresses[connection % self.addresses.len()]
    }

    fn connect(&mut self) -> std::io::Result<()> {
        let number = self.connections.len();
        let line = Line::new(TcpStream::connect(self.address(number))?, number as u64, &self.poll)?;
        self.connections.push(Connection { line, asked: None });
        self.idle.push(number);
        Ok(())
    }

    fn run(
        &mut self,
        start: u64,
        seconds: u64,
        input: &mut File,
        progress: Option<SocketAddr>,
    ) -> Result<(), String> {
        let text = |error: std::io::Error| error.to_string();
        let mut progress = match progress {
            Some(address) => {
                let stream = TcpStream::connect(address).map_err(text)?;
                Some(Line::new(stream, PROGRESS, &self.poll).map_err(text)?)
            }
            None => None,
        };
        self.due = start;
        if seconds > 0 {
            self.stop_at = start + seconds * SECOND;
        }
        let mut heard = start;
        let (mut ready, mut scratch) = (Vec::new(), Scratch::default());
        loop {
            let now = clock::now();
            // An open loop still sends what is late: leaving it out would flatter the server.
            let time = if self.interval > 0 { self.due } else { now };
            if self.busy == 0 {
                heard = now;
                if time >= self.stop_at || self.next >= self.end {
                    return Ok(());
                }
            }
            if now >= heard + SILENCE_MS * MS {
                eprintln!("load: no answer for {SILENCE_MS} ms; it is given up");
                return Ok(());
            }
            while now >= start
                && let Some(number) = self.idle.pop()
            {
                if !self.ask(number)? {
                    self.idle.push(number);
                    break;
                }
            }
            let mut wake = (now + SECOND).min(self.stop_at.max(now + MS));
            if self.interval > 0 && !self.idle.is_empty() && !self.is_held() {
                wake = wake.min(self.due);
            }
            self.poll.wait(Some(wake.max(start).saturating_sub(clock::now())), &mut ready).map_err(text)?;
            for number in &ready {
                match *number {
                    INPUT => {
                        let mut octets = [0; 64];
                        let length = input.read(&mut octets).map_err(text)?;
                        if length == 0 {
                            return Err("it was given up".to_owned());
                        }
                        if octets.starts_with(b"stop") {
                            self.stop_at = self.stop_at.min(clock::now());
                        }
                    }
                    PROGRESS => {
                        let Some(line) = &mut progress else { continue };
                        if !line.fill(&mut scratch) {
                            return Err("the sink is gone".to_owned());
                        }
                        let counts = line.unread();
                        let whole = counts.len() / 8 * 8;
                        if let Some(last) = counts[..whole].last_chunk::<8>() {
                            self.called_back = u64::from_le_bytes(*last);
                        }
                        line.advance(whole);
                    }
                    connection => {
                        self.hear(usize::try_from(connection).expect("64 bits"), &mut scratch)?;
                        heard = now;
                    }
                }
            }
        }
    }

    /// Whether sending rests until more has come back.
    const fn is_held(&self) -> bool {
        self.bound > 0 && self.accepted > self.called_back + self.bound
    }

    /// Sends the next request on this connection, if it is its time. Whether it was sent.
    fn ask(&mut self, number: usize) -> Result<bool, String> {
        if self.next >= self.end || self.is_held() {
            return Ok(false);
        }
        let now = clock::now();
        let scheduled = if self.interval == 0 { now } else { self.due };
        if scheduled > now || scheduled >= self.stop_at {
            return Ok(false);
        }
        self.due += self.interval;
        let first = self.next;
        self.next += self.size;
        let template =
            &self.templates[usize::try_from(first / self.size).expect("64 bits") % self.templates.len()];
        let connection = &mut self.connections[number];
        template.write(first, connection.line.out());
        connection.asked = Some(first);
        self.busy += 1;
        for _ in 0..self.size {
            self.written.scheduled.push(scheduled);
            self.written.sent.push(now);
            self.written.answered.push(0);
            self.written.status.push(template.segments);
        }
        if !connection.line.flush(&self.poll) {
            self.lost(number)?;
        }
        Ok(true)
    }

    /// Reads an answer, and asks again if there is more to ask.
    fn hear(&mut self, number: usize, scratch: &mut Scratch) -> Result<(), String> {
        let connection = &mut self.connections[number];
        if !connection.line.fill(scratch) || !connection.line.flush(&self.poll) {
            return self.lost(number);
        }
        let octets = connection.line.unread();
        let Some(head) = head(octets) else { return Ok(()) };
        let whole = head.length + head.body;
        if octets.len() < whole {
            return Ok(());
        }
        let Some(asked) = connection.asked.take() else {
            return Err("an answer without a question".to_owned());
        };
        let now = clock::now();
        let mut status = octets.get(9..12).map_or(0, digits);
        let body = &octets[head.length..whole];
        if status == 202 && self.size > 1 {
            let mark = b"\"accepted\":";
            let accepted = find(body, mark).map_or(0, |at| digits(&body[at + mark.len()..]));
            if accepted != self.size {
                status = PARTLY;
            }
        }
        if status != 202 && self.complained.insert(status) {
            eprintln!("load: {status}: {}", String::from_utf8_lossy(&body[..body.len().min(500)]));
        }
        connection.line.advance(whole);
        self.busy -= 1;
        let from = usize::try_from(asked - self.first).expect("64 bits");
        for place in from..from + usize::try_from(self.size).expect("64 bits") {
            self.written.answered[place] = now;
            self.written.status[place] |= status << 8;
        }
        if status == 202 {
            self.accepted += self.size;
        }
        if !self.ask(number)? {
            self.idle.push(number);
        }
        Ok(())
    }

    /// A connection has ended: another takes its place. Whether its request was taken nobody knows.
    fn lost(&mut self, number: usize) -> Result<(), String> {
        if self.connections[number].asked.take().is_some() {
            self.busy -= 1;
            self.idle.push(number);
        }
        let stream = TcpStream::connect(self.address(number))
            .map_err(|error| format!("the server is gone: {error}"))?;
        let line = Line::new(stream, number as u64, &self.poll).map_err(|error| error.to_string())?;
        self.connections[number].line = line;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_whole_and_carry_their_numbers() {
        let place =
            Place { address: "127.0.0.1:1".parse().unwrap(), token: "t".to_owned(), keys: true, run: 7 };
        for (kind, size) in [(Kind::Single, 1), (Kind::Batch, 100), (Kind::Mixed, 1)] {
            for template in templates(kind, &place) {
                let mut out = Vec::new();
                template.write(169, &mut out);
                let head = head(&out).unwrap();
                assert_eq!(out.len(), head.length + head.body);
                let text = String::from_utf8(out).unwrap();
                assert!(text.contains("bench-7-00000169") && text.contains("\"+46720000042\""), "{text}");
                assert_eq!(text.matches("+467").count(), size, "{text}");
                assert!(!text.contains('#'), "{text}");
                let body: serde_json::Value = serde_json::from_str(&text[head.length..]).unwrap();
                assert!(body.is_object());
            }
        }
    }
}
