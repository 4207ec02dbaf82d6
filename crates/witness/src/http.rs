//! A small HTTP/1.1 client with a kept connection. It speaks to one address and follows nothing.
//!
//! It tells apart what a ledger must tell apart: an answer, and no answer (the request may or may not have been
//! taken). It repeats a request only where it is told to, and only after an answer that nothing was taken.

use crate::clock;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a connection and each read may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often a request is repeated at the most, and after how long: milliseconds.
const TRIES_MAX: usize = 40;
const PAUSE_MS: u64 = 500;
/// Octets of an answer's body: a page of 100 messages with their texts has some 100 KB.
const BODY_MAX: usize = 16 * 1024 * 1024;

/// Asks, and asks again while the answer is that the server cannot take it now, as it is when the disk stands still.
///
/// # Errors
/// As the last try had them.
pub fn again(mut ask: impl FnMut() -> io::Result<Answer>) -> io::Result<Answer> {
    let mut answer = ask();
    for _ in 0..TRIES_MAX {
        if !answer.as_ref().is_ok_and(|answer| answer.status == 503) {
            break;
        }
        clock::sleep_ms(PAUSE_MS);
        answer = ask();
    }
    answer
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
    /// Seconds that the server asks to wait, if it does.
    pub retry_after_s: Option<u64>,
    closes: bool,
}

impl Answer {
    /// The body as JSON; null if it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// A client of one server.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    token: String,
    patience: Duration,
    connection: Option<BufReader<TcpStream>>,
}

impl Client {
    /// A client that shows this token. Connects when it is used.
    pub fn new(address: SocketAddr, token: &str) -> Self {
        Self { address, token: token.to_owned(), patience: PATIENCE, connection: None }
    }

    /// The same, waiting at most so long for anything.
    #[must_use]
    pub const fn patient_for_ms(mut self, ms: u64) -> Self {
        self.patience = Duration::from_millis(ms);
        self
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// There was no answer. Whether the request was taken is not known, except if connecting failed.
    pub fn ask(&mut self, method: &str, target: &str, key: Option<&str>, body: &str) -> io::Result<Answer> {
        self.send(method, target, key, body)?;
        self.receive()
    }

    /// Asks as clients do: see [`again`].
    ///
    /// # Errors
    /// As in [`Client::ask`].
    pub fn ask_again(
        &mut self,
        method: &str,
        target: &str,
        key: Option<&str>,
        body: &str,
    ) -> io::Result<Answer> {
        again(|| self.ask(method, target, key, body))
    }

    /// Writes a request; [`Client::receive`] must follow.
    ///
    /// # Errors
    /// As in [`Client::ask`].
    pub fn send(&mut self, method: &str, target: &str, key: Option<&str>, body: &str) -> io::Result<()> {
        if self.connection.is_none() {
            let stream = TcpStream::connect_timeout(&self.address, self.patience)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(self.patience))?;
            stream.set_write_timeout(Some(self.patience))?;
            self.connection = Some(BufReader::new(stream));
        }
        let mut request = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n", self.address);
        if !self.token.is_empty() {
            request.push_str(&format!("Authorization: Bearer {}\r\n", self.token));
        }
        if let Some(key) = key {
            request.push_str(&format!("Idempotency-Key: {key}\r\n"));
        }
        if !body.is_empty() {
            request
                .push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        request.push_str(body);
        let connection = self.connection.as_mut().expect("it was just made");
        let written = connection.get_mut().write_all(request.as_bytes());
        if written.is_err() {
            self.connection = None;
        }
        written
    }

    /// Reads the answer to what was sent.
    ///
    /// # Errors
    /// As in [`Client::ask`].
    pub fn receive(&mut self) -> io::Result<Answer> {
        let mut connection = self.connection.take().ok_or(io::ErrorKind::NotConnected)?;
        let answer = read_answer(&mut connection)?;
        if !answer.closes {
            self.connection = Some(connection);
        }
        Ok(answer)
    }
}

fn read_answer(from: &mut impl BufRead) -> io::Result<Answer> {
    let first = line(from)?;
    let status =
        first.split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or_else(|| broken("no status"))?;
    let headers = read_headers(from)?;
    let header =
        |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let body = if header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        chunks(from)?
    } else {
        fixed(from, header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0))?
    };
    Ok(Answer {
        status,
        body,
        retry_after_s: header("retry-after").and_then(|text| text.parse().ok()),
        closes: header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")),
    })
}

/// Headers with small names.
pub(crate) fn read_headers(from: &mut impl BufRead) -> io::Result<Vec<(String, String)>> {
    let mut headers = Vec::new();
    loop {
        let text = line(from)?;
        if text.is_empty() {
            return Ok(headers);
        }
        let (name, value) = text.split_once(':').ok_or_else(|| broken("a header without colon"))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        if headers.len() > 100 {
            return Err(broken("too many headers"));
        }
    }
}

/// A line without its end.
pub(crate) fn line(from: &mut impl BufRead) -> io::Result<String> {
    let mut octets = Vec::new();
    from.by_ref().take(16 * 1024).read_until(b'\n', &mut octets)?;
    if octets.pop() != Some(b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if octets.last() == Some(&b'\r') {
        octets.pop();
    }
    String::from_utf8(octets).map_err(|_| broken("a line that is not UTF-8"))
}

/// A body of known length.
pub(crate) fn fixed(from: &mut impl BufRead, length: usize) -> io::Result<Vec<u8>> {
    if length > BODY_MAX {
        return Err(broken("a body that is too long"));
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    Ok(body)
}

fn chunks(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = line(from)?;
        let size = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16)
            .map_err(|_| broken("a chunk without size"))?;
        if size == 0 {
            while !line(from)?.is_empty() {}
            return Ok(body);
        }
        if body.len() + size > BODY_MAX {
            return Err(broken("a body that is too long"));
        }
        body.extend(fixed(from, size)?);
        line(from)?;
    }
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_with_a_length_and_in_chunks_are_read_one_after_the_other() {
        let mut wire: &[u8] = b"HTTP/1.1 202 Accepted\r\nContent-Length: 8\r\n\r\n{\"id\":1}\
            HTTP/1.1 503 No\r\nRetry-After: 2\r\ntransfer-encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n";
        let first = read_answer(&mut wire).unwrap();
        assert_eq!((first.status, first.json()["id"].as_u64(), first.closes), (202, Some(1), false));
        let second = read_answer(&mut wire).unwrap();
        assert_eq!((second.status, &second.body[..], second.retry_after_s), (503, &b"abcde"[..], Some(2)));
        assert!(second.closes);
        assert!(read_answer(&mut wire).is_err(), "a closed connection is no answer");
    }

    #[test]
    fn half_an_answer_is_no_answer() {
        let mut wire: &[u8] = b"HTTP/1.1 202 Accepted\r\nContent-Length: 8\r\n\r\n{\"id\"";
        assert!(read_answer(&mut wire).is_err());
    }
}
