//! Events → signed calls to customers.
//!
//! A delivery was committed with its event; here it is called, and what came of it is committed. Fresh deliveries are
//! handed over in memory, with a lease in the store; retries, and whatever did not fit in memory, are claimed when
//! they are due. Every endpoint has a queue and callers of its own, so that a slow or dead one delays nobody else.

use crate::world::Web;
use crate::{Inner, signature};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use tidings_domain::id::EndpointId;
use tidings_domain::time::Timestamp;
use tidings_domain::webhook::{self, Response, Verdict};
use tidings_egress::{Bytes, HeaderMap, HeaderName, HeaderValue, Method, Policy, Request, Target};
use tidings_store::{About, Attempt, Endpoint, Told};
use tokio::sync::{Mutex, Notify, mpsc};

/// Deliveries on their way to the room. More than that stay in the store and are claimed later.
const HANDED_OVER_MAX: usize = 16_384;
/// Deliveries that wait in memory for one endpoint. A dead endpoint must not hold the memory of the others.
const ENDPOINT_QUEUE_MAX: usize = 1_024;
/// Calls to one endpoint at the same time.
pub(crate) const CALLERS: usize = 16;
/// How long a claimed delivery is ours.
const LEASE_MS: i64 = 60_000;
/// A call is begun only if so much of its lease is left: the longest call and its commit fit in.
const LEASE_MARGIN_MS: i64 = 20_000;
/// Deliveries in one claim.
const CLAIM_MAX: usize = 500;
/// Attempts in one commit.
const RECORD_MAX: usize = 512;
/// The longest sleep of the room: the safety net for a lost wake-up.
const LONGEST_SLEEP_MS: i64 = 2_000;
/// Callers of an endpoint that hears nothing for so long go home.
const CALLER_IDLE_S: u64 = 60;
/// Octets of an answer that the attempt log keeps.
const ANSWER_KEPT: usize = 1_024;

/// The room's door.
pub(crate) struct Room {
    handed_over: mpsc::Sender<Told>,
    wake: Arc<Notify>,
    policy: Policy,
    web: Arc<dyn Web>,
    known: std::sync::RwLock<Known>,
    stale: AtomicBool,
}

/// The endpoints as the callers need them.
#[derive(Default)]
struct Known {
    endpoints: HashMap<EndpointId, Arc<Ready>>,
}

/// An endpoint, ready to be called.
struct Ready {
    endpoint: Endpoint,
    target: Result<Target, String>,
}

impl Room {
    /// Opens the room. [`run`] starts its loops.
    pub fn new(policy: Policy, web: Arc<dyn Web>) -> (Self, mpsc::Receiver<Told>) {
        let (handed_over, taken) = mpsc::channel(HANDED_OVER_MAX);
        let room = Self {
            handed_over,
            wake: Arc::default(),
            policy,
            web,
            known: Default::default(),
            stale: AtomicBool::new(true),
        };
        (room, taken)
    }

    /// Hands over fresh deliveries. What does not fit is in the store and will be claimed when its lease is over.
    pub fn tell(&self, told: Vec<Told>) {
        for one in told {
            if self.handed_over.try_send(one).is_err() {
                self.wake.notify_one();
                return;
            }
        }
    }

    /// Something may be due: look now.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Endpoints were changed.
    pub fn forget(&self) {
        self.stale.store(true, Ordering::Release);
    }

    /// The address's fault, if it may not be called.
    pub fn check_url(&self, url: &str) -> Result<(), String> {
        Target::parse(url, &self.policy).map(drop).map_err(|refused| refused.to_string())
    }

    async fn endpoint(&self, engine: &Inner, id: EndpointId) -> Option<Arc<Ready>> {
        if !self.stale.load(Ordering::Acquire)
            && let Some(ready) =
                self.known.read().expect("nothing panics while it holds this").endpoints.get(&id)
        {
            return Some(Arc::clone(ready));
        }
        self.refresh(engine).await;
        self.known.read().expect("nothing panics while it holds this").endpoints.get(&id).cloned()
    }

    /// Reads the endpoints again.
    pub async fn refresh(&self, engine: &Inner) {
        self.stale.store(false, Ordering::Release);
        match engine.store.endpoints(None).await {
            Ok(endpoints) => {
                let ready = |endpoint: Endpoint| {
                    let target =
                        Target::parse(&endpoint.url, &self.policy).map_err(|refused| refused.to_string());
                    (endpoint.id, Arc::new(Ready { endpoint, target }))
                };
                let known = Known { endpoints: endpoints.into_iter().map(ready).collect() };
                *self.known.write().expect("nothing panics while it holds this") = known;
            }
            Err(error) => {
                tracing::warn!(%error, "the webhook endpoints cannot be read");
                self.stale.store(true, Ordering::Release);
            }
        }
    }

    /// Calls an endpoint once, outside any queue, and gives what came of it.
    pub async fn call_once(&self, engine: &Inner, endpoint: &Endpoint, told: &Told) -> Attempt {
        let target = Target::parse(&endpoint.url, &self.policy).map_err(|refused| refused.to_string());
        call(engine, &*self.web, &Ready { endpoint: endpoint.clone(), target }, told).await
    }
}

/// Starts the room's loops.
pub(crate) fn run(engine: &Weak<Inner>, taken: mpsc::Receiver<Told>, tasks: &mut tokio::task::JoinSet<()>) {
    let (attempts, recorded) = mpsc::channel(RECORD_MAX * 4);
    tasks.spawn(distribute(engine.clone(), taken, attempts));
    tasks.spawn(record(engine.clone(), recorded));
}

/// Sorts deliveries into their endpoints' queues, and claims what is due.
async fn distribute(engine: Weak<Inner>, mut taken: mpsc::Receiver<Told>, attempts: mpsc::Sender<Attempt>) {
    let mut queues: BTreeMap<EndpointId, Queue> = BTreeMap::new();
    let mut batch = Vec::with_capacity(CLAIM_MAX);
    let mut next = Timestamp::default();
    loop {
        let Some(inner) = engine.upgrade() else { return };
        let woken = Arc::clone(&inner.webhooks.wake);
        let woken = woken.notified();
        let now = inner.clock.now();
        if now >= next && !inner.stopping() {
            next = claim(&inner, &engine, &mut queues, &attempts, now).await;
        }
        drop(inner);
        let sleep_ms = next.since_ms(now).clamp(1, LONGEST_SLEEP_MS) as u64;
        tokio::select! {
            biased;
            n = taken.recv_many(&mut batch, CLAIM_MAX) => {
                if n == 0 {
                    return;
                }
                let Some(inner) = engine.upgrade() else { return };
                for told in batch.drain(..) {
                    // A full queue leaves the rest to the store: their leases end, and they are claimed again.
                    put(&inner, &engine, &mut queues, &attempts, told);
                }
            }
            () = woken => next = Timestamp::default(),
            () = tokio::time::sleep(std::time::Duration::from_millis(sleep_ms)) => {}
        }
    }
}

/// An endpoint's queue and the callers that empty it.
struct Queue {
    waiting: mpsc::Sender<Told>,
}

fn put(
    inner: &Arc<Inner>,
    engine: &Weak<Inner>,
    queues: &mut BTreeMap<EndpointId, Queue>,
    attempts: &mpsc::Sender<Attempt>,
    told: Told,
) -> bool {
    let Some(delivery) = told.delivery else { return true };
    let fresh = || {
        let (waiting, taken) = mpsc::channel(ENDPOINT_QUEUE_MAX);
        let taken = Arc::new(Mutex::new(taken));
        for _ in 0..CALLERS {
            tokio::spawn(caller(engine.clone(), delivery.endpoint, Arc::clone(&taken), attempts.clone()));
        }
        Queue { waiting }
    };
    let queue = queues.entry(delivery.endpoint).or_insert_with(fresh);
    if queue.waiting.is_closed() {
        *queue = fresh();
    }
    if inner.stopping() {
        return false;
    }
    queue.waiting.try_send(told).is_ok()
}

async fn claim(
    inner: &Arc<Inner>,
    engine: &Weak<Inner>,
    queues: &mut BTreeMap<EndpointId, Queue>,
    attempts: &mpsc::Sender<Attempt>,
    now: Timestamp,
) -> Timestamp {
    queues.retain(|_, queue| !queue.waiting.is_closed());
    let busy: Vec<EndpointId> =
        queues.iter().filter(|(_, queue)| queue.waiting.capacity() < CLAIM_MAX).map(|(id, _)| *id).collect();
    let some_busy = !busy.is_empty();
    match inner.store.claim_deliveries(busy, CLAIM_MAX, LEASE_MS, now).await {
        Ok(claimed) => {
            let full = claimed.len() == CLAIM_MAX;
            for told in claimed {
                put(inner, engine, queues, attempts, told);
            }
            if full {
                return now;
            }
        }
        Err(error) => {
            tracing::warn!(%error, "the store gives no deliveries; trying again");
            return now.plus_s(1);
        }
    }
    match inner.store.next_delivery().await {
        Ok(Some(at)) if at > now => at,
        // What is due belongs to busy endpoints: look again when they may have room.
        Ok(Some(_)) if some_busy => now.plus_ms(200),
        Ok(Some(_)) => now.plus_ms(50),
        Ok(None) | Err(_) => now.plus_ms(LONGEST_SLEEP_MS),
    }
}

/// One of an endpoint's callers.
async fn caller(
    engine: Weak<Inner>,
    id: EndpointId,
    queue: Arc<Mutex<mpsc::Receiver<Told>>>,
    attempts: mpsc::Sender<Attempt>,
) {
    loop {
        let idle = std::time::Duration::from_secs(CALLER_IDLE_S);
        let told = {
            let mut queue = queue.lock().await;
            match tokio::time::timeout(idle, queue.recv()).await {
                Ok(Some(told)) => told,
                Ok(None) => return,
                Err(_) => {
                    // Closed while this holds it, so that nothing is put into a queue without callers.
                    queue.close();
                    match queue.try_recv() {
                        Ok(told) => told,
                        Err(_) => return,
                    }
                }
            }
        };
        let Some(engine) = engine.upgrade() else { return };
        let lease = told.delivery.map_or(Timestamp::default(), |delivery| delivery.due_at);
        if engine.clock.now().plus_ms(LEASE_MARGIN_MS) > lease {
            // It waited too long here; the store gives it to somebody again.
            continue;
        }
        let Some(ready) = engine.webhooks.endpoint(&engine, id).await else { continue };
        if ready.endpoint.disabled.is_some() {
            continue;
        }
        let attempt = call(&engine, &*engine.webhooks.web, &ready, &told).await;
        if attempts.send(attempt).await.is_err() {
            return;
        }
    }
}

/// Calls an endpoint once.
async fn call(engine: &Inner, web: &dyn Web, ready: &Ready, told: &Told) -> Attempt {
    let at = engine.clock.now();
    let stopwatch = engine.clock.stopwatch();
    let tries = told.delivery.map_or(0, |delivery| delivery.tries) + 1;
    let body = render(told);
    let (response, words) = match &ready.target {
        Err(refused) => (Response::Failed, refused.clone()),
        Ok(target) => post(web, &ready.endpoint, target.clone(), told, &body, at).await,
    };
    let verdict = webhook::judge(response, tries, engine.clock.now(), engine.clock.jitter());
    let status = match response {
        Response::Answered { status, .. } => Some(status),
        Response::Failed => None,
    };
    let outcome = match verdict {
        Verdict::Done => "done",
        Verdict::RetryAt(_) => "retry",
        Verdict::Dead => "dead",
        Verdict::Gone => "gone",
    };
    let lag_s =
        (verdict == Verdict::Done).then(|| engine.clock.now().since_ms(told.event.at).max(0) as f64 / 1000.0);
    engine.telemetry.webhook(outcome, lag_s);
    Attempt {
        seq: 0,
        realm: told.realm,
        event: told.id,
        message: match &told.about {
            About::Message(message) => Some(message.id),
            About::Inbound(_) | About::Test => None,
        },
        endpoint: ready.endpoint.id,
        lease: told.delivery.map_or(at, |delivery| delivery.due_at),
        number: tries,
        at,
        took_ms: u32::try_from(stopwatch.elapsed_ms()).unwrap_or(u32::MAX),
        status,
        // The body can be rendered again from the event: it is not stored a second time.
        request: String::new(),
        response: words,
        verdict,
    }
}

async fn post(
    web: &dyn Web,
    endpoint: &Endpoint,
    target: Target,
    told: &Told,
    body: &Bytes,
    at: Timestamp,
) -> (Response, String) {
    let id = told.id.to_string();
    let timestamp_s = at.as_millis() / 1000;
    let previous =
        endpoint.previous.as_ref().filter(|(_, until)| *until > at).map(|(secret, _)| secret.as_slice());
    let secrets = std::iter::once(endpoint.secret.as_slice()).chain(previous);
    let signature = signature::sign(secrets, &id, timestamp_s, body);
    let mut headers = HeaderMap::with_capacity(5);
    let ascii = |text: &str| HeaderValue::from_str(text).expect("ids, numbers and base64 are visible ASCII");
    headers.insert(HeaderName::from_static("content-type"), HeaderValue::from_static("application/json"));
    headers.insert(HeaderName::from_static("user-agent"), HeaderValue::from_static("tidings-webhook/1"));
    headers.insert(HeaderName::from_static("webhook-id"), ascii(&id));
    headers.insert(HeaderName::from_static("webhook-timestamp"), ascii(&timestamp_s.to_string()));
    headers.insert(HeaderName::from_static("webhook-signature"), ascii(&signature));
    let mut request = Request::new(Method::Post, target, body.clone());
    request.headers = headers;
    match web.send(request).await {
        Ok(answer) => {
            let retry_after_s = answer
                .headers
                .get("retry-after")
                .and_then(|value| value.to_str().ok())
                .and_then(|text| text.trim().parse().ok());
            let kept = &answer.body[..answer.body.len().min(ANSWER_KEPT)];
            let words = String::from_utf8_lossy(kept).into_owned();
            (Response::Answered { status: answer.status.as_u16(), retry_after_s }, words)
        }
        Err(error) => (Response::Failed, error.to_string()),
    }
}

/// The body of the call: the same for every try.
pub fn render(told: &Told) -> Bytes {
    let id = told.id;
    let body = match &told.about {
        About::Message(message) => tidings_wire::webhook::render_message(id, &told.event, message),
        About::Inbound(part) => tidings_wire::webhook::render_inbound(
            id,
            tidings_wire::webhook::Inbound {
                id: part.id,
                from: &part.from,
                to: &part.to,
                text: &part.text,
                connection: part.connection,
                part: part.part,
                at: part.at,
            },
        ),
        About::Test => tidings_wire::webhook::render_test(id, told.event.at),
    };
    Bytes::from(body)
}

/// Commits what came of calls, many at a time.
async fn record(engine: Weak<Inner>, mut recorded: mpsc::Receiver<Attempt>) {
    let mut batch = Vec::with_capacity(RECORD_MAX);
    while recorded.recv_many(&mut batch, RECORD_MAX).await > 0 {
        let Some(engine) = engine.upgrade() else { return };
        let attempts = std::mem::take(&mut batch);
        let some_failed = attempts.iter().any(|attempt| attempt.verdict != Verdict::Done);
        let now = engine.clock.now();
        if let Err(error) = engine.store.record_attempts(attempts, now).await {
            // They are still leased: they will be called again, with the same id.
            tracing::warn!(%error, "webhook attempts could not be recorded");
        }
        if some_failed {
            engine.webhooks.forget();
            engine.webhooks.wake();
        }
    }
}
