//! A queue of any length, made through the API while the carrier takes nothing.

use crate::clock::{self, Moment};
use crate::http::Client;
use crate::ledger::{Purpose, Request};
use crate::load::{SENDER, recipient};
use crate::subject::Subject;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};

/// Messages in one call: what the server takes by default.
const CALL_MAX: u64 = 500;
/// Calls at the same time.
const CLIENTS: u64 = 4;
/// How often a call that was not answered with 202 is repeated, with the same key.
const TRIES: u64 = 50;
/// How long a client rests before that.
const PAUSE_MS: u64 = 100;

/// What the queue is made of.
#[derive(Debug, Clone)]
pub struct Stuff {
    /// Messages.
    pub messages: u64,
    /// The number of the first one: recipients are numbered.
    pub first: u64,
    /// Purposes in turn, each with how long its messages are worth sending: seconds.
    pub purposes: Vec<(Purpose, u64)>,
    /// Repeats the idempotency keys.
    pub seed: u64,
    /// Which of them crash whoever handles them.
    pub poison: Option<Poison>,
    /// Where each of them is told about by itself.
    pub callback: Option<String>,
}

/// Some messages that crash a binary that is built for it.
#[derive(Debug, Clone)]
pub struct Poison {
    /// One in so many.
    pub one_in: u64,
    /// `panic` or `abort`.
    pub how: String,
    /// Where, in turn.
    pub places: Vec<String>,
}

impl Poison {
    /// How many of so many messages.
    pub fn of(&self, messages: u64) -> usize {
        usize::try_from(messages / self.one_in).expect("it is small")
    }

    /// The words that make message `n` one of them, if it is.
    fn words(&self, n: u64) -> Option<String> {
        if n % self.one_in != self.one_in / 2 {
            return None;
        }
        let turn = usize::try_from(n / self.one_in).expect("it is small") % self.places.len();
        Some(format!("poison {} {}", self.how, self.places[turn]))
    }
}

/// Fills the queue: each message as it was asked for and accepted.
///
/// # Errors
/// What the API said to a call, after so many tries.
pub fn fill(subject: &Subject, stuff: &Stuff) -> Result<Vec<Request>, String> {
    let calls = stuff.messages.div_ceil(CALL_MAX);
    let next = AtomicU64::new(0);
    let work = || {
        let mut client = subject.client();
        let mut filled = Vec::new();
        loop {
            let call = next.fetch_add(1, Ordering::Relaxed);
            if call >= calls {
                return Ok(filled);
            }
            let numbers = call * CALL_MAX..stuff.messages.min((call + 1) * CALL_MAX);
            let mut requests: Vec<(Request, u64)> = numbers.map(|n| stuff.request(n)).collect();
            let key = format!("backlog-{}-{}-{call}", stuff.seed, stuff.first);
            let messages: Vec<Value> = requests
                .iter()
                .map(|(request, life_s)| {
                    let mut message = json!({ "from": SENDER, "to": request.recipient, "text": request.text,
                            "purpose": request.purpose.as_str(), "expires_in_s": life_s });
                    if let Some(words) = &request.poison {
                        message["reference"] = json!(words);
                    }
                    if let Some(url) = &stuff.callback {
                        message["callback_url"] = json!(url);
                    }
                    message
                })
                .collect();
            let body = json!({ "messages": messages }).to_string();
            let (at, ids) = accepted(|| client.ask("POST", "/v1/messages/batch", Some(&key), &body))?;
            if ids.len() != requests.len() {
                return Err(format!("{} of {} messages of a call were accepted", ids.len(), requests.len()));
            }
            for ((request, _), id) in requests.iter_mut().zip(ids) {
                request.accepted.push((id, at));
            }
            filled.extend(requests.into_iter().map(|(request, _)| request));
        }
    };
    std::thread::scope(|threads| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| threads.spawn(work)).collect();
        let mut all = Vec::new();
        for client in clients {
            all.append(&mut client.join().expect("clients do not panic")?);
        }
        Ok(all)
    })
}

/// The ids in the answer to a batch.
fn accepted(
    mut call: impl FnMut() -> std::io::Result<crate::http::Answer>,
) -> Result<(Moment, Vec<String>), String> {
    let mut said = String::new();
    for _ in 0..TRIES {
        match call() {
            Ok(answer) if answer.status == 202 => {
                let id = |result: &Value| result["id"].as_str().map(str::to_owned);
                let results = answer.json()["results"].as_array().cloned().unwrap_or_default();
                return Ok((clock::now(), results.iter().filter_map(id).collect()));
            }
            Ok(answer) => said = format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body)),
            Err(error) => said = error.to_string(),
        }
        clock::sleep_ms(PAUSE_MS);
    }
    Err(format!("POST /v1/messages/batch: {said}"))
}

/// Whether nothing waits to be sent.
pub fn is_empty(client: &mut Client) -> bool {
    let answer = client.ask("GET", "/v1/connections", None, "");
    answer.is_ok_and(|answer| {
        let connections = answer.json()["data"].as_array().cloned().unwrap_or_default();
        let waiting = |connection: &Value| {
            let queues = connection["queues"].as_array().cloned().unwrap_or_default();
            queues.iter().filter_map(|queue| queue["messages"].as_u64()).sum::<u64>()
        };
        !connections.is_empty() && connections.iter().map(waiting).sum::<u64>() == 0
    })
}

impl Stuff {
    fn request(&self, n: u64) -> (Request, u64) {
        let turn = usize::try_from(n).expect("it is small") % self.purposes.len();
        let (purpose, life_s) = self.purposes[turn];
        let poison = self.poison.as_ref().and_then(|poison| poison.words(n));
        let n = self.first + n;
        let mut text = format!("witness {} backlog {n}", self.seed);
        if let Some(words) = &poison {
            // Where a message is encoded, its text is all that is at hand.
            text = format!("{words} {text}");
        }
        let request = Request {
            key: format!("backlog-{}-{n}", self.seed),
            recipient: recipient(n),
            purpose,
            text,
            poison,
            accepted: Vec::new(),
            unanswered: 0,
        };
        (request, life_s)
    }
}
