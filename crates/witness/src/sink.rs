//! A webhook receiver: answers 200 and writes down each call.
//!
//! It does not check signatures; the product's own tests do that with the reference library.

use crate::clock;
use crate::http::{fixed, line, read_headers};
use crate::ledger::Webhook;
use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A receiver that runs until it is dropped.
#[derive(Debug)]
pub struct Sink {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Webhook>>>,
    stop: Arc<AtomicBool>,
}

impl Sink {
    /// Listens on a free port of this machine.
    ///
    /// # Errors
    /// The system gives none.
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (seen, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (into, until) = (Arc::clone(&seen), Arc::clone(&stop));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if until.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (into, until) = (Arc::clone(&into), Arc::clone(&until));
                std::thread::spawn(move || serve(stream, &into, &until));
            }
        });
        Ok(Self { address, seen, stop })
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}/webhooks", self.address)
    }

    /// Everything that came so far, in the order in which it came.
    pub fn webhooks(&self) -> Vec<Webhook> {
        self.seen.lock().expect("no thread panics with it").clone()
    }

    /// How many calls came so far.
    pub fn count(&self) -> usize {
        self.seen.lock().expect("no thread panics with it").len()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the listener, which then sees that it is to stop.
        drop(TcpStream::connect_timeout(&self.address, Duration::from_secs(1)));
    }
}

fn serve(stream: TcpStream, into: &Mutex<Vec<Webhook>>, until: &AtomicBool) {
    // A connection that is silent for so long is given up; the caller opens another one.
    if stream.set_read_timeout(Some(Duration::from_secs(30))).is_err() || stream.set_nodelay(true).is_err() {
        return;
    }
    let mut stream = BufReader::new(stream);
    while !until.load(Ordering::Relaxed) {
        let Some(webhook) = read(&mut stream) else { return };
        into.lock().expect("no thread panics with it").push(webhook);
        if stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").is_err() {
            return;
        }
    }
}

fn read(stream: &mut BufReader<TcpStream>) -> Option<Webhook> {
    line(stream).ok()?;
    let headers = read_headers(stream).ok()?;
    let header =
        |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let body = fixed(stream, header("content-length")?.parse().ok()?).ok()?;
    let at = clock::now();
    let json: serde_json::Value = serde_json::from_slice(&body).ok()?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    Some(Webhook {
        id: header("webhook-id").unwrap_or_default().to_owned(),
        kind: text(&json["type"]),
        message: text(&json["data"]["message_id"]),
        status: text(&json["data"]["status"]),
        at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Client;

    #[test]
    fn each_call_is_answered_and_written_down() {
        let sink = Sink::start().unwrap();
        let mut client = Client::new(sink.address, "");
        for id in ["msg_1", "msg_2"] {
            let body = format!(
                r#"{{"id":"evt_1","type":"message.sent","data":{{"message_id":"{id}","status":"sent"}}}}"#
            );
            assert_eq!(client.ask("POST", "/webhooks", None, &body).unwrap().status, 200);
        }
        let seen = sink.webhooks();
        assert_eq!(seen.len(), 2);
        assert_eq!((seen[1].message.as_str(), seen[1].status.as_str()), ("msg_2", "sent"));
    }
}
