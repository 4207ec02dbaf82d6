//! The customers: threads that send at a bounded rate, repeat what got no answer with the same idempotency key until
//! it is answered, and write everything down.

use crate::clock::{self, Moment};
use crate::http::{Answer, Client};
use crate::ledger::{Purpose, Request, Shown};
use crate::random::Random;
use crate::subject::Subject;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// One request in so many is sent again after its answer, and one in so many on two connections at once.
const REPEAT_ONE_IN: u64 = 40;
/// How long a client rests before it repeats what got no answer: milliseconds.
const PAUSE_MS: u64 = 4;
/// How long a request is repeated before it is given up: milliseconds.
const GIVE_UP_MS: u64 = 60_000;
/// The sender of all messages.
pub const SENDER: &str = "Tidings";

/// How much is sent.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Threads, each with a connection.
    pub clients: u64,
    /// Messages a second, of all threads together.
    pub per_second: u64,
    /// One message in so many has two segments; 0 for none.
    pub long_one_in: u64,
}

/// Clients that send until they are told to stop.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    /// The server is gone for good.
    gone: AtomicBool,
    acknowledged: AtomicU64,
    last_acknowledged: AtomicU64,
    next: AtomicU64,
    requests: Mutex<Vec<Request>>,
    refusals: Mutex<BTreeMap<String, u64>>,
}

/// A recipient of its own for message `n`: Swedish mobile numbers, of which there are five times ten million.
pub fn recipient(n: u64) -> String {
    const NETWORKS: [u64; 5] = [70, 72, 73, 76, 79];
    format!(
        "+46{}{:07}",
        NETWORKS[usize::try_from(n / 10_000_000 % 5).expect("it is below 5")],
        n % 10_000_000
    )
}

impl Load {
    /// Starts the threads.
    pub fn start(subject: &Subject, pace: Pace, seed: u64) -> Self {
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            acknowledged: AtomicU64::new(0),
            last_acknowledged: AtomicU64::new(0),
            next: AtomicU64::new(0),
            requests: Mutex::default(),
            refusals: Mutex::default(),
        });
        let threads = (0..pace.clients)
            .map(|client| {
                let (shared, first, second) = (Arc::clone(&shared), subject.client(), subject.client());
                let random = Random::part(seed, 1_000 + client);
                std::thread::spawn(move || Customer { shared, first, second, random, pace, seed }.work())
            })
            .collect();
        Self { shared, threads }
    }

    /// Messages that got a 202 so far.
    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// When the last first 202 of a message came.
    pub fn last_acknowledged(&self) -> Moment {
        Moment(self.shared.last_acknowledged.load(Ordering::Relaxed))
    }

    /// Ends the load of a server that is gone: no client waits for an answer any more.
    pub fn leave(self) {
        self.shared.gone.store(true, Ordering::Relaxed);
        drop(self.stop());
    }

    /// Ends the load: each client brings its last request to its answer. All requests, and what was answered besides
    /// 202, by kind.
    pub fn stop(self) -> (Vec<Request>, BTreeMap<String, u64>) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("clients do not panic");
        }
        let requests = std::mem::take(&mut *self.shared.requests.lock().expect("no client panics with it"));
        let refusals = std::mem::take(&mut *self.shared.refusals.lock().expect("no client panics with it"));
        (requests, refusals)
    }
}

struct Customer {
    shared: Arc<Shared>,
    first: Client,
    second: Client,
    random: Random,
    pace: Pace,
    seed: u64,
}

impl Customer {
    fn work(mut self) {
        // One message of each client every `step`, so that all together keep the rate.
        let step = 1_000_000_000 * self.pace.clients / self.pace.per_second.max(1);
        let mut due = clock::now().0 + self.random.between(0, step);
        while !self.shared.stop.load(Ordering::Relaxed) {
            let now = clock::now().0;
            if due > now {
                clock::sleep_ms((due - now) / 1_000_000 + 1);
                continue;
            }
            // What was missed while the binary was away is not made up for beyond half a second.
            due = (due + step).max(now.saturating_sub(500_000_000));
            let request = self.send();
            self.shared.requests.lock().expect("no client panics with it").push(request);
        }
    }

    fn send(&mut self) -> Request {
        let n = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let purpose = Purpose::ALL[usize::try_from(self.random.between(0, 3)).expect("it is below 4")];
        let mut request = Request {
            key: format!("witness-{}-{n}", self.seed),
            recipient: recipient(n),
            purpose,
            text: format!("witness {} message {n}", self.seed),
            accepted: Vec::new(),
            unanswered: 0,
            poison: None,
        };
        if self.random.one_in(self.pace.long_one_in) {
            // 153 characters to a part: this makes two.
            request.text.push_str(&" and so on".repeat(17));
        }
        let (target, body) = written(&request);
        if self.random.one_in(REPEAT_ONE_IN) {
            self.send_twice_at_once(&mut request, target, &body);
        }
        self.repeat_until_accepted(&mut request, target, &body);
        if self.random.one_in(REPEAT_ONE_IN) && !request.accepted.is_empty() {
            match self.first.ask("POST", target, Some(&request.key), &body) {
                Ok(answer) => drop(self.note(&mut request, &answer)),
                Err(_) => request.unanswered += 1,
            }
        }
        request
    }

    fn send_twice_at_once(&mut self, request: &mut Request, target: &str, body: &str) {
        let sent = [&mut self.first, &mut self.second]
            .map(|client| client.send("POST", target, Some(&request.key), body));
        let answers =
            [sent[0].is_ok().then(|| self.first.receive()), sent[1].is_ok().then(|| self.second.receive())];
        for answer in answers {
            match answer {
                Some(Ok(answer)) => drop(self.note(request, &answer)),
                _ => request.unanswered += 1,
            }
        }
    }

    fn repeat_until_accepted(&mut self, request: &mut Request, target: &str, body: &str) {
        let end = clock::now().plus_ms(GIVE_UP_MS);
        let is_over = || self.shared.gone.load(Ordering::Relaxed) || clock::now() >= end;
        while request.accepted.is_empty() && !is_over() {
            match self.first.ask("POST", target, Some(&request.key), body) {
                Ok(answer) => {
                    if let Some(pause) = self.note(request, &answer) {
                        clock::sleep_ms(pause);
                    }
                }
                Err(_) => {
                    request.unanswered += 1;
                    clock::sleep_ms(PAUSE_MS);
                }
            }
        }
    }

    /// Writes an answer down; how long to wait before the next try, if it is no 202.
    fn note(&self, request: &mut Request, answer: &Answer) -> Option<u64> {
        let json = answer.json();
        let id = json["id"].as_str();
        if let (202, Some(id)) = (answer.status, id) {
            if request.accepted.is_empty() {
                let now = clock::now();
                self.shared.acknowledged.fetch_add(1, Ordering::Relaxed);
                self.shared.last_acknowledged.fetch_max(now.0, Ordering::Relaxed);
            }
            request.accepted.push((id.to_owned(), clock::now()));
            return None;
        }
        let kind = format!("{} {}", answer.status, json["code"].as_str().unwrap_or("without a code"));
        *self.shared.refusals.lock().expect("no client panics with it").entry(kind).or_default() += 1;
        // A stopping server asks to come back later; the witness wants to know when it is back sooner than that.
        Some(PAUSE_MS * 5)
    }
}

/// Where a request goes and its body: the short form if it says enough.
pub(crate) fn written(request: &Request) -> (&'static str, String) {
    let (to, text) = (&request.recipient, &request.text);
    match request.purpose {
        Purpose::Transactional => {
            ("/v1/sms", serde_json::json!({ "from": SENDER, "to": to, "message": text }).to_string())
        }
        purpose => (
            "/v1/messages",
            serde_json::json!({ "from": SENDER, "to": to, "text": text, "purpose": purpose.as_str() })
                .to_string(),
        ),
    }
}

/// Every message that the API shows, with this filter (such as `status=sending`), page after page.
///
/// # Errors
/// What the API said instead of a page.
pub fn messages(client: &mut Client, filter: &str) -> Result<Vec<Value>, String> {
    let mut found = Vec::new();
    let mut target = format!("/v1/messages?limit=100&{filter}");
    loop {
        let answer =
            client.ask("GET", target.trim_end_matches('&'), None, "").map_err(|error| error.to_string())?;
        if answer.status != 200 {
            return Err(format!("GET {target}: {} {}", answer.status, String::from_utf8_lossy(&answer.body)));
        }
        let mut page = answer.json();
        if let Some(items) = page["data"].as_array_mut() {
            found.append(items);
        }
        match page["next_cursor"].as_str() {
            Some(cursor) => target = format!("/v1/messages?limit=100&cursor={cursor}&{filter}"),
            None => return Ok(found),
        }
    }
}

/// A message of the API, as the ledger keeps it.
pub fn shown(message: &Value) -> Shown {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Shown {
        id: text(&message["id"]),
        recipient: text(&message["to"]),
        status: text(&message["status"]),
        error: message["error"]["code"].as_str().map(|code| {
            format!("{code} {}", message["error"]["carrier_code"].as_str().unwrap_or_default())
                .trim_end()
                .to_owned()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients_are_different_and_well_formed() {
        let some: std::collections::HashSet<String> =
            [0, 1, 9_999_999, 10_000_000, 49_999_999].into_iter().map(recipient).collect();
        assert_eq!(some.len(), 5);
        assert!(some.iter().all(|number| number.len() == 12 && number.starts_with("+467")), "{some:?}");
    }
}
