//! The lean program: the least that a durable program could do, as a ceiling for what can be reached on a machine.
//!
//! `POST /v1/sms` and `POST /v1/messages/batch` over axum with a bearer token, one SQLite file with a group commit,
//! one SMPP session, and signed webhooks to one address over connections that are kept. It keeps the order that makes
//! a program durable, and nothing else:
//!
//! 1. a message is committed before its 202 is sent;
//! 2. the intent to submit is committed before `submit_sm` is written: in the commit of the message if the window has
//!    room, in one of its own otherwise;
//! 3. the carrier's id is committed before the place in the window is free again;
//! 4. a receipt, the event that follows from it and the webhook that is to be called are committed before
//!    `deliver_sm_resp` is written;
//! 5. a webhook that was answered with 2xx is committed as done.
//!
//! That is eight writes of rows a message. It has no retries but of webhooks, no rules about numbers, no parts, no
//! suppression list, no idempotency keys, no limits, and no recovery: a start would have to look through the table of
//! messages for those without an end.

mod hook;
mod http;
mod link;
mod writer;

use crate::clock;
use crate::options::Options;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// The name of this program.
pub const NAME: &str = "limit-server";

/// Commands to the link and webhooks to a caller that may wait. Whoever finds them full waits with it; what can wait
/// at all is bounded by the window and by the connections of the customers.
const WAITING: usize = 1_024;

/// What all parts share.
struct Limit {
    queue: writer::Queue,
    /// Places in the window that nobody has taken.
    places: AtomicUsize,
    /// Messages that are committed and wait for a place.
    waiting: Mutex<VecDeque<i64>>,
    link: mpsc::Sender<link::Command>,
    callers: Vec<mpsc::Sender<hook::Call>>,
    next_caller: AtomicUsize,
    token: [u8; 32],
}

impl Limit {
    /// Takes up to `wanted` places in the window.
    fn take_places(&self, wanted: usize) -> usize {
        let mut taken = 0;
        // It is said to change nothing only when there is nothing to take.
        let _ = self.places.fetch_update(Ordering::AcqRel, Ordering::Acquire, |free| {
            taken = free.min(wanted);
            (taken > 0).then(|| free - taken)
        });
        taken
    }

    /// Gives places back, and claims as many messages as now have one.
    fn free_places(&self, count: usize) {
        self.places.fetch_add(count, Ordering::AcqRel);
        self.claim();
    }

    /// Puts accepted messages without a place to those that wait for one.
    fn wait(&self, messages: impl Iterator<Item = i64>) {
        self.waiting.lock().expect("nobody panics with it").extend(messages);
        // A place may have become free just before.
        self.claim();
    }

    fn claim(&self) {
        let mut waiting = self.waiting.lock().expect("nobody panics with it");
        if waiting.is_empty() {
            return;
        }
        let count = self.take_places(waiting.len());
        let claimed: Vec<i64> = waiting.drain(..count).collect();
        drop(waiting);
        if !claimed.is_empty() {
            self.queue.push(writer::Operation::Claim(claimed));
        }
    }

    async fn call(&self, call: hook::Call) {
        let caller = self.next_caller.fetch_add(1, Ordering::Relaxed) % self.callers.len();
        // The caller ends with the program.
        let _ = self.callers[caller].send(call).await;
    }
}

/// Serves until it is asked to stop.
///
/// # Errors
/// A sentence: an option is wrong, or the system refuses something.
pub fn serve(arguments: &[String]) -> Result<(), String> {
    let options = Options::parse(arguments, &[])?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime: {error}"))?;
    runtime.block_on(serve_in(&options))
}

async fn serve_in(options: &Options) -> Result<(), String> {
    let address = |name: &str| -> Result<SocketAddr, String> {
        options.needed(name)?.parse().map_err(|_| format!("--{name} is no address"))
    };
    let (listen, carrier, hooks) = (address("listen")?, address("carrier")?, address("webhook")?);
    let data = PathBuf::from(options.needed("data")?);
    let text = |error: std::io::Error| error.to_string();
    std::fs::create_dir_all(&data).map_err(text)?;
    let (link, commands) = mpsc::channel(WAITING);
    let (mut callers, mut calls) = (Vec::new(), Vec::new());
    for _ in 0..options.number("callers", 16)? {
        let (caller, call) = mpsc::channel(WAITING);
        callers.push(caller);
        calls.push(call);
    }
    let limit = Arc::new(Limit {
        queue: writer::Queue::default(),
        places: AtomicUsize::new(options.number("window", 500)?),
        waiting: Mutex::default(),
        link,
        callers,
        next_caller: AtomicUsize::new(0),
        token: http::hash(options.needed("token")?.as_bytes()),
    });
    let writing = writer::start(&data.join("limit.db"), options.number("cache-mib", 64)?, &limit)?;
    for call in calls {
        tokio::spawn(hook::work(hooks, call, Arc::clone(&limit)));
    }
    let session = link::Session::bind(carrier).await?;
    let heard = Arc::clone(&limit);
    let session = tokio::spawn(async move { session.work(commands, &heard).await });
    let listener = tokio::net::TcpListener::bind(listen).await.map_err(text)?;
    let mut stop = signal(SignalKind::terminate()).map_err(text)?;
    let serving = http::serve(listener, Arc::clone(&limit));
    tokio::select! {
        () = serving => {}
        ended = session => return Err(format!("the session has ended: {ended:?}")),
        _ = stop.recv() => {}
    }
    limit.queue.close();
    clock::wait_until(10_000, 1, || writing.is_finished());
    Ok(())
}
