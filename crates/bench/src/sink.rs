//! The receiver of webhooks: answers each call with 204 at once, and writes down which message it was about, what had
//! happened, and when it came. It checks no signatures.
//!
//! It also tells whoever asks at a second address how many messages have come back with their end: 64-bit numbers,
//! one after the other.

use crate::clock::{self, MS};
use crate::log;
use crate::number;
use crate::options::Options;
use crate::poll::{Line, Poll, Scratch, find, head, header};
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// The name of this tool.
pub const NAME: &str = "sink";
/// The kinds of events, in the order of their numbers in the log; others have the number after the last.
pub const KINDS: [&str; 9] = [
    "message.sent",
    "message.delivered",
    "message.undelivered",
    "message.failed",
    "message.rejected",
    "message.expired",
    "message.canceled",
    "message.unconfirmed",
    "message.delayed",
];
/// The kinds that end a message.
pub const FINAL: std::ops::RangeInclusive<u64> = 1..=7;
/// How many more messages must have come back before it is told at once.
const TELL_EACH: u64 = 64;
/// How late it is told otherwise.
const TELL_AFTER: u64 = 2 * MS;

const INPUT: u64 = u64::MAX;
const CALLS: u64 = u64::MAX - 1;
const PROGRESS: u64 = u64::MAX - 2;
const ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

/// The log of a sink: one row a call.
#[derive(Debug, Default)]
pub struct Log {
    /// The number of the message, and 2^32 times the number of the kind.
    pub what: Vec<u64>,
    /// When it came.
    pub at: Vec<u64>,
    /// The `webhook-id`, hashed.
    pub id: Vec<u64>,
}

impl Log {
    /// Reads a log.
    ///
    /// # Errors
    /// As [`log::read`].
    pub fn read(path: &std::path::Path) -> std::io::Result<Self> {
        let [what, at, id] = log::read::<3>(path)?;
        Ok(Self { what, at, id })
    }
}

/// What a call without a readable message is written down as.
pub const NO_MESSAGE: u64 = 0xFFFF_FFFF;

#[derive(Debug, Default)]
struct Seen {
    log: Log,
    /// Whether the end of a message has come, by its number.
    ended: Vec<bool>,
    count: u64,
}

impl Seen {
    fn note(&mut self, head: &[u8], body: &[u8], at: u64) {
        let message = recipient(body);
        let kind = kind(body);
        let id = header(head, b"webhook-id").map_or(0, fingerprint);
        self.log.what.push(kind << 32 | message.unwrap_or(NO_MESSAGE));
        self.log.at.push(at);
        self.log.id.push(id);
        if let (Some(message), true) = (message, FINAL.contains(&kind)) {
            let place = usize::try_from(message).expect("64 bits");
            if self.ended.len() <= place {
                self.ended.resize((place + 1).next_power_of_two(), false);
            }
            if !std::mem::replace(&mut self.ended[place], true) {
                self.count += 1;
            }
        }
    }
}

fn recipient(body: &[u8]) -> Option<u64> {
    let mark = b"\"to\":\"+";
    number::of_recipient(&body[find(body, mark)? + mark.len()..])
}

fn kind(body: &[u8]) -> u64 {
    let mark = b"\"type\":\"";
    let word = find(body, mark).map_or(&b""[..], |at| &body[at + mark.len()..]);
    let same = |kind: &str| word.starts_with(kind.as_bytes()) && word.get(kind.len()) == Some(&b'"');
    KINDS.iter().position(|kind| same(kind)).unwrap_or(KINDS.len()) as u64
}

/// FNV-1a.
fn fingerprint(octets: &[u8]) -> u64 {
    octets
        .iter()
        .fold(0xCBF2_9CE4_8422_2325, |hash, octet| (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01B3))
}

/// The tool: see [`crate::tool`]. It says `ready CALLS PROGRESS`, two addresses.
///
/// # Errors
/// A sentence: the system refuses something, or an option is wrong.
pub fn work(arguments: &[String], input: OwnedFd, output: &mut dyn Write) -> Result<(), String> {
    let options = Options::parse(arguments, &[])?;
    let log = PathBuf::from(options.needed("log")?);
    let text = |error: std::io::Error| error.to_string();
    let listen = || -> std::io::Result<TcpListener> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    let (calls, progress) = (listen().map_err(text)?, listen().map_err(text)?);
    let mut input = File::from(input);
    let mut poll = Poll::new().map_err(text)?;
    poll.add(&calls, CALLS).map_err(text)?;
    poll.add(&progress, PROGRESS).map_err(text)?;
    poll.add(&input, INPUT).map_err(text)?;
    let addresses = [calls.local_addr().map_err(text)?, progress.local_addr().map_err(text)?];
    writeln!(output, "ready {} {}", addresses[0], addresses[1]).map_err(text)?;

    let mut seen = Seen::default();
    let mut callers: HashMap<u64, Line> = HashMap::new();
    let mut listeners: Vec<Line> = Vec::new();
    let (mut next, mut told, mut told_at) = (0_u64, 0, 0);
    let (mut ready, mut scratch) = (Vec::new(), Scratch::default());
    loop {
        let untold = seen.count != told && !listeners.is_empty();
        poll.wait(untold.then_some(TELL_AFTER), &mut ready).map_err(text)?;
        for number in &ready {
            match *number {
                INPUT => {
                    if input.read(&mut [0; 64]).map_err(text)? == 0 {
                        let seen = &seen.log;
                        return log::write(&log, &[&seen.what, &seen.at, &seen.id]).map_err(text);
                    }
                }
                CALLS => {
                    while let Ok((stream, _)) = calls.accept() {
                        callers.insert(next, Line::new(stream, next, &poll).map_err(text)?);
                        next += 1;
                    }
                }
                PROGRESS => {
                    while let Ok((stream, _)) = progress.accept() {
                        listeners.push(Line::new(stream, next, &poll).map_err(text)?);
                        next += 1;
                        told = u64::MAX;
                    }
                }
                number => {
                    if let Some(caller) = callers.get_mut(&number) {
                        if !take(caller, &mut seen, &poll, &mut scratch) {
                            callers.remove(&number);
                        }
                    } else {
                        // Those who listen say nothing: this one is gone.
                        listeners.retain_mut(|line| line.fill(&mut scratch));
                    }
                }
            }
        }
        if seen.count == told || listeners.is_empty() {
            continue;
        }
        let now = clock::now();
        if seen.count.wrapping_sub(told) >= TELL_EACH || now - told_at >= TELL_AFTER {
            (told, told_at) = (seen.count, now);
            for line in &mut listeners {
                line.out().extend_from_slice(&told.to_le_bytes());
                line.flush(&poll);
            }
        }
    }
}

/// Answers the calls that have come as a whole. False if the caller is gone.
fn take(caller: &mut Line, seen: &mut Seen, poll: &Poll, scratch: &mut Scratch) -> bool {
    if !caller.fill(scratch) {
        return false;
    }
    let at = clock::now();
    let mut used = 0;
    let (octets, out) = caller.both();
    while let Some(head) = head(&octets[used..]) {
        let (from, whole) = (used + head.length, used + head.length + head.body);
        if octets.len() < whole {
            break;
        }
        seen.note(&octets[used..from], &octets[from..whole], at);
        out.extend_from_slice(ANSWER);
        used = whole;
    }
    caller.advance(used);
    caller.flush(poll)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_tells_its_message_and_its_kind() {
        let body = br#"{"id":"evt_1","type":"message.delivered","data":{"message_id":"msg_1","from":"A","to":"+46700000042"}}"#;
        assert_eq!((recipient(body), kind(body)), (Some(168), 1));
        assert_eq!(kind(br#"{"type":"message.sentry"}"#), 9);
        assert_eq!(recipient(br#"{"to":"A"}"#), None);
        let mut seen = Seen::default();
        for _ in 0..2 {
            seen.note(b"POST / HTTP/1.1\r\nwebhook-id: a\r\n\r\n", body, 5);
        }
        assert_eq!((seen.count, seen.log.what[1]), (1, 1 << 32 | 168));
        assert_ne!(seen.log.id[0], 0);
    }
}
