//! Waiting for many sockets with one thread, and the buffers of each: the whole of what the three tools do with the
//! network.

use crate::clock::SECOND;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};

/// Events that are taken at once.
const EVENTS: usize = 256;
/// Octets that are read at once.
const READ: usize = 64 * 1024;

/// A set of sockets.
pub struct Poll {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Poll {
    /// An empty set.
    ///
    /// # Errors
    /// The system gives none.
    pub fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)?, events: Vec::with_capacity(EVENTS) })
    }

    /// Tells from now on when this can be read, under this number. It leaves the set when it is closed.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn add(&self, source: impl AsFd, number: u64) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, source, EventData::new_u64(number), EventFlags::IN)?)
    }

    /// Whether to tell also when it can be written.
    ///
    /// # Errors
    /// It is not in the set.
    pub fn want_writable(&self, source: impl AsFd, number: u64, want: bool) -> io::Result<()> {
        let flags = if want { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
        Ok(epoll::modify(&self.epoll, source, EventData::new_u64(number), flags)?)
    }

    /// Waits until something can be read or written, at most so many nanoseconds, and puts the numbers into `ready`.
    ///
    /// # Errors
    /// The system's.
    pub fn wait(&mut self, timeout_ns: Option<u64>, ready: &mut Vec<u64>) -> io::Result<()> {
        let timeout = timeout_ns.map(|ns| Timespec {
            tv_sec: i64::try_from(ns / SECOND).expect("it is a short time"),
            tv_nsec: i64::try_from(ns % SECOND).expect("it is below a second"),
        });
        ready.clear();
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), timeout.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        ready.extend(self.events.iter().map(|event| event.data.u64()));
        Ok(())
    }
}

/// A connection with what was read and not yet used, and what is still to be written.
#[derive(Debug)]
pub struct Line {
    stream: TcpStream,
    number: u64,
    read: Vec<u8>,
    used: usize,
    out: Vec<u8>,
    waits_to_write: bool,
}

impl Line {
    /// Puts a connection into the set, without blocking and without delay.
    ///
    /// # Errors
    /// The system's.
    pub fn new(stream: TcpStream, number: u64, poll: &Poll) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        poll.add(&stream, number)?;
        Ok(Self {
            stream,
            number,
            read: Vec::with_capacity(4096),
            used: 0,
            out: Vec::new(),
            waits_to_write: false,
        })
    }

    /// Reads what is there. False if the other side has ended.
    pub fn fill(&mut self, scratch: &mut Scratch) -> bool {
        if self.used == self.read.len() {
            self.read.clear();
            self.used = 0;
        } else if self.used > READ {
            self.read.drain(..self.used);
            self.used = 0;
        }
        loop {
            match self.stream.read(&mut scratch.0) {
                Ok(0) => return false,
                Ok(length) => {
                    self.read.extend_from_slice(&scratch.0[..length]);
                    // A short read has emptied the socket; asking again would only cost a call.
                    if length < READ {
                        return true;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
    }

    /// What was read and not used yet.
    pub fn unread(&self) -> &[u8] {
        &self.read[self.used..]
    }

    /// Uses up so many octets of it.
    pub fn advance(&mut self, octets: usize) {
        self.used += octets;
        debug_assert!(self.used <= self.read.len(), "more was used than was read");
    }

    /// Where to append what is to be written; [`Line::flush`] writes it.
    pub const fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// What was read, and where to append what is to be written, at once.
    pub fn both(&mut self) -> (&[u8], &mut Vec<u8>) {
        (&self.read[self.used..], &mut self.out)
    }

    /// Writes what there is to write; what does not go now is written when the set says so. False if the connection
    /// is broken.
    pub fn flush(&mut self, poll: &Poll) -> bool {
        let mut written = 0;
        while written < self.out.len() {
            match self.stream.write(&self.out[written..]) {
                Ok(0) => return false,
                Ok(length) => written += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        if written == self.out.len() {
            self.out.clear();
        } else {
            self.out.drain(..written);
        }
        let waits = !self.out.is_empty();
        if waits != self.waits_to_write {
            self.waits_to_write = waits;
            return poll.want_writable(&self.stream, self.number, waits).is_ok();
        }
        true
    }
}

/// Room to read into, one for all connections of a tool.
#[derive(Debug)]
pub struct Scratch(Box<[u8]>);

impl Default for Scratch {
    fn default() -> Self {
        Self(vec![0; READ].into())
    }
}

/// Where `needle` begins in `hay`.
pub fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    while let Some(at) = hay[from..].iter().position(|octet| *octet == first) {
        if hay[from + at..].starts_with(needle) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

/// The head of an HTTP message that is there as a whole: where its body begins, and how long that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Octets of the head with its empty line.
    pub length: usize,
    /// Octets of the body; a message without the header has none.
    pub body: usize,
}

/// Reads the head at the start of `octets`, if it has come as a whole.
pub fn head(octets: &[u8]) -> Option<Head> {
    let length = find(octets, b"\r\n\r\n")? + 4;
    let body = header(&octets[..length], b"content-length").map_or(0, digits);
    Some(Head { length, body: usize::try_from(body).expect("64 bits") })
}

/// The value of a header, by its name in small letters.
pub fn header<'h>(head: &'h [u8], name: &[u8]) -> Option<&'h [u8]> {
    let mut rest = head;
    while let Some(end) = rest.iter().position(|octet| *octet == b'\n') {
        let line = &rest[..end];
        rest = &rest[end + 1..];
        if line.len() > name.len()
            && line[name.len()] == b':'
            && line[..name.len()].eq_ignore_ascii_case(name)
        {
            return Some(line[name.len() + 1..].trim_ascii());
        }
    }
    None
}

/// The number that these octets begin with; 0 if they do not.
pub fn digits(octets: &[u8]) -> u64 {
    octets
        .iter()
        .take_while(|octet| octet.is_ascii_digit())
        .fold(0, |number, octet| number * 10 + u64::from(octet - b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_when_it_is_whole() {
        let wire = b"HTTP/1.1 202 Accepted\r\nContent-Length: 12\r\nx: y\r\n\r\n{\"id\":";
        assert_eq!(head(&wire[..30]), None);
        assert_eq!(head(wire), Some(Head { length: 51, body: 12 }));
        assert_eq!(header(wire, b"x"), Some(&b"y"[..]));
        assert_eq!(head(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap().body, 0);
    }

    #[test]
    fn a_needle_is_found_behind_its_own_beginning() {
        assert_eq!(find(b"aab", b"ab"), Some(1));
        assert_eq!(find(b"\r\r\n\r\n", b"\r\n\r\n"), Some(1));
        assert_eq!(find(b"abc", b"d"), None);
    }
}
