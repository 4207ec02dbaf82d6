//! Events → signed calls to customers.
//!
//! A delivery was committed with its event; here it is called, and what came of it is committed. Fresh deliveries are
//! handed over in memory, with a lease in the store; retries, and whatever did not fit in memory, are claimed when
//! they are due. Every endpoint has a line and callers of its own, so that a slow or dead one delays nobody else; the
//! lines share one bounded memory (`domain::webhook::has_room`). A caller lives as long as its line has something.

use crate::supervise::supervise;
use crate::world::Web;
use crate::{Inner, signature};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use tidings_domain::id::EndpointId;
use tidings_domain::poison;
use tidings_domain::time::Timestamp;
use tidings_domain::webhook::{self, Delivery, Response, Verdict};
use tidings_egress::{Bytes, HeaderMap, HeaderName, HeaderValue, Method, Policy, Request, Target};
use tidings_store::{About, Attempt, Crashed, Endpoint, Inbound, Key, Told};
use tokio::sync::{Notify, mpsc};

/// Deliveries that wait in memory, of all endpoints: some 700 octets each. More are given back to the store.
pub(crate) const WAITING_MAX: usize = 32_768;
/// A line that left deliveries in the store is filled again when it is as short as this.
const LINE_SHORT: usize = 64;
/// Calls to one endpoint at the same time, at the most.
pub(crate) const CALLERS: usize = webhook::CALLERS_MAX;
/// How long a claimed delivery is ours.
const LEASE_MS: i64 = 60_000;
/// A call is begun only if so much of its lease is left: the longest call and its commit fit in.
const LEASE_MARGIN_MS: i64 = 20_000;
/// Deliveries of one endpoint in one claim.
const CLAIM_MAX: usize = 500;
/// Attempts in one commit.
const RECORD_MAX: usize = 512;
/// The longest sleep of the room: the safety net for a lost wake-up.
const LONGEST_SLEEP_MS: i64 = 2_000;
/// Octets of an answer that the attempt log keeps.
const ANSWER_KEPT: usize = 1_024;

/// The room's door.
pub(crate) struct Room {
    lines: Mutex<Lines>,
    attempts: mpsc::Sender<Attempt>,
    wake: Arc<Notify>,
    policy: Policy,
    web: Arc<dyn Web>,
    known: std::sync::RwLock<Known>,
    stale: AtomicBool,
}

/// What waits in memory, by endpoint.
struct Lines {
    by_endpoint: BTreeMap<EndpointId, Line>,
    /// Of all lines.
    callers: usize,
    waiting: usize,
    waiting_max: usize,
}

/// One endpoint's deliveries in memory, and how many callers empty it.
#[derive(Default)]
struct Line {
    waiting: VecDeque<Told>,
    callers: usize,
    /// Calls that were answered well since one was not.
    answered: usize,
    /// Some of its deliveries are due in the store, because there was no room here.
    more_in_store: bool,
}

impl Lines {
    /// Deliveries of this endpoint for which there is room now.
    fn room(&self, endpoint: EndpointId) -> usize {
        let own = self.by_endpoint.get(&endpoint).map_or(0, |line| line.waiting.len());
        webhook::room(own, self.waiting_max.saturating_sub(self.waiting))
    }

    /// Takes a delivery into its line, or gives it back if there is no room. `true` if one more caller is wanted.
    fn put(&mut self, endpoint: EndpointId, told: Told) -> Result<bool, Box<Told>> {
        if self.room(endpoint) == 0 {
            self.by_endpoint.entry(endpoint).or_default().more_in_store = true;
            return Err(Box::new(told));
        }
        let line = self.by_endpoint.entry(endpoint).or_default();
        line.waiting.push_back(told);
        self.waiting += 1;
        let wanted = line.callers < webhook::callers(line.answered, self.callers);
        line.callers += usize::from(wanted);
        self.callers += usize::from(wanted);
        Ok(wanted)
    }

    /// The next delivery for a caller of this endpoint, and whether the store should be asked for more. Without one
    /// the caller has to go: it is counted out already.
    fn next(&mut self, endpoint: EndpointId) -> (Option<Told>, bool) {
        let Some(line) = self.by_endpoint.get_mut(&endpoint) else { return (None, false) };
        if line.callers > webhook::callers(line.answered, 0) {
            line.callers -= 1;
            self.callers -= 1;
            return (None, false);
        }
        let told = line.waiting.pop_front();
        let refill = line.more_in_store && line.waiting.len() <= LINE_SHORT;
        line.more_in_store &= !refill;
        if told.is_some() {
            self.waiting -= 1;
        } else {
            line.callers -= 1;
            self.callers -= 1;
            if line.callers == 0 && !line.more_in_store {
                self.by_endpoint.remove(&endpoint);
            }
        }
        (told, refill)
    }

    /// An endpoint was called. `true` if one more caller is wanted now.
    fn called(&mut self, endpoint: EndpointId, well: bool) -> bool {
        let Some(line) = self.by_endpoint.get_mut(&endpoint) else { return false };
        line.answered = if well { line.answered.saturating_add(1) } else { 0 };
        let most = webhook::callers(line.answered, self.callers);
        let wanted = line.waiting.len() > line.callers && line.callers < most;
        line.callers += usize::from(wanted);
        self.callers += usize::from(wanted);
        wanted
    }

    /// Some of this endpoint's deliveries stayed in the store, because its line is full.
    fn leave_in_store(&mut self, endpoint: EndpointId) {
        self.by_endpoint.entry(endpoint).or_default().more_in_store = true;
    }
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
    pub fn new(policy: Policy, web: Arc<dyn Web>, waiting_max: usize) -> (Self, mpsc::Receiver<Attempt>) {
        let (attempts, recorded) = mpsc::channel(RECORD_MAX * 4);
        let room = Self {
            lines: Mutex::new(Lines { by_endpoint: BTreeMap::new(), callers: 0, waiting: 0, waiting_max }),
            attempts,
            wake: Arc::default(),
            policy,
            web,
            known: Default::default(),
            stale: AtomicBool::new(true),
        };
        (room, recorded)
    }

    /// Takes over deliveries that are leased. What does not fit is given back to the store, and claimed when there is room.
    pub fn tell(&self, engine: &Arc<Inner>, told: Vec<Told>) {
        if engine.stopping() && engine.seat.is_alone() {
            // They stay leased; the next start makes them due.
            return;
        }
        if engine.stopping() || !engine.seat.roles.webhook {
            return Self::give_back(engine, told.into_iter().filter_map(|one| one.delivery).collect());
        }
        let mut callers = Vec::new();
        let mut too_many = Vec::new();
        {
            let mut lines = self.lines();
            for one in told {
                let Some(endpoint) = one.delivery.map(|delivery| delivery.endpoint) else { continue };
                match lines.put(endpoint, one) {
                    Ok(true) => callers.push(endpoint),
                    Ok(false) => {}
                    Err(one) => too_many.extend(one.delivery),
                }
            }
        }
        for endpoint in callers {
            tokio::spawn(caller(Arc::downgrade(engine), endpoint));
        }
        Self::give_back(engine, too_many);
    }

    /// Gives deliveries back to the store that cannot be taken here: somebody else takes them, or this node later.
    fn give_back(engine: &Arc<Inner>, deliveries: Vec<Delivery>) {
        if deliveries.is_empty() {
            return;
        }
        let engine = Arc::clone(engine);
        tokio::spawn(async move {
            // If this fails, they come back when their leases end.
            match engine.store.give_back_deliveries(deliveries, engine.clock.now()).await {
                Ok(()) => engine.webhooks.wake(),
                Err(error) => {
                    tracing::warn!(%error, "deliveries that could not be taken wait for the end of their leases");
                }
            }
        });
    }

    /// Takes out all that waits here and was not called: to be given back at a stop.
    pub fn take_waiting(&self) -> Vec<Delivery> {
        let mut lines = self.lines();
        let waiting = lines.by_endpoint.values_mut().flat_map(|line| line.waiting.drain(..));
        let waiting: Vec<Delivery> = waiting.filter_map(|told| told.delivery).collect();
        lines.waiting = 0;
        waiting
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().expect("nothing panics while it holds this")
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
pub(crate) fn run(
    engine: &Weak<Inner>,
    recorded: mpsc::Receiver<Attempt>,
    tasks: &mut tokio::task::JoinSet<()>,
) {
    tasks.spawn(supervise("webhook claims", engine.clone(), |engine| Box::pin(claim(engine))));
    let state = (engine.clone(), recorded);
    tasks.spawn(supervise("webhook records", state, |(engine, recorded)| Box::pin(record(engine, recorded))));
}

/// Claims what is due: retries, and what did not fit in memory.
async fn claim(engine: &Weak<Inner>) {
    loop {
        let Some(inner) = engine.upgrade() else { return };
        let wake = Arc::clone(&inner.webhooks.wake);
        let woken = wake.notified();
        let now = inner.clock.now();
        let next = if inner.stopping() || !inner.seat.roles.webhook {
            now.plus_ms(LONGEST_SLEEP_MS)
        } else {
            claim_due(&inner, now).await
        };
        drop(inner);
        let sleep_ms = next.since_ms(now).clamp(1, LONGEST_SLEEP_MS) as u64;
        tokio::select! {
            biased;
            () = woken => {}
            () = tokio::time::sleep(std::time::Duration::from_millis(sleep_ms)) => {}
        }
    }
}

/// One round over the endpoints; says when to look again.
async fn claim_due(inner: &Arc<Inner>, now: Timestamp) -> Timestamp {
    let endpoints = match inner.store.due_endpoints().await {
        Ok(endpoints) => endpoints,
        Err(error) => {
            tracing::warn!(%error, "the store cannot be asked for deliveries; trying again");
            return now.plus_s(1);
        }
    };
    let mut next = now.plus_ms(LONGEST_SLEEP_MS);
    let mut wanted = Vec::new();
    {
        let mut lines = inner.webhooks.lines();
        for (endpoint, due_at) in endpoints {
            if due_at > now {
                next = next.min(due_at);
                continue;
            }
            match lines.room(endpoint).min(CLAIM_MAX) {
                // Its callers ask for them when the line is short.
                0 => lines.leave_in_store(endpoint),
                room => wanted.push((endpoint, room)),
            }
        }
    }
    if wanted.is_empty() {
        return next;
    }
    match inner.store.claim_deliveries(wanted, LEASE_MS, now).await {
        Ok(claimed) => {
            inner.webhooks.tell(inner, claimed);
            // There may be more.
            now
        }
        Err(error) => {
            crate::warn(&error, "the store gives no deliveries; trying again");
            now.plus_s(1)
        }
    }
}

/// One of an endpoint's callers: calls until its line is empty.
async fn caller(engine: Weak<Inner>, id: EndpointId) {
    let _counted = Counted { engine: engine.clone(), id };
    loop {
        let Some(engine) = engine.upgrade() else { return };
        let (told, refill) = engine.webhooks.lines().next(id);
        if refill {
            engine.webhooks.wake();
        }
        let Some(told) = told else { return };
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
        if engine.webhooks.lines().called(id, attempt.verdict == Verdict::Done) {
            tokio::spawn(another(Arc::downgrade(&engine), id));
        }
        if engine.webhooks.attempts.send(attempt).await.is_err() {
            return;
        }
    }
}

/// A caller that a caller asked for: boxed, because it may ask for more of its kind.
fn another(engine: Weak<Inner>, id: EndpointId) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(caller(engine, id))
}

/// Counts a caller out that panics; one that ends by itself is counted out by its line.
struct Counted {
    engine: Weak<Inner>,
    id: EndpointId,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let Some(engine) = self.engine.upgrade().filter(|_| std::thread::panicking()) else { return };
        let mut lines = engine.webhooks.lines();
        if let Some(line) = lines.by_endpoint.get_mut(&self.id) {
            line.callers -= 1;
            lines.callers -= 1;
        }
    }
}

/// Calls an endpoint once.
async fn call(engine: &Inner, web: &dyn Web, ready: &Ready, told: &Told) -> Attempt {
    let at = engine.clock.now();
    let stopwatch = engine.clock.stopwatch();
    let tries = told.delivery.map_or(0, |delivery| delivery.tries) + 1;
    let body = engine.guard.contain(Key::of(&told.id.key().to_be_bytes()), || render(told));
    let (response, words) = match (&ready.target, &body) {
        (_, Err(Crashed)) => {
            (Response::Failed, "its body cannot be made: a fault of this program".to_owned())
        }
        (Err(refused), _) => (Response::Failed, refused.clone()),
        (Ok(target), Ok(body)) => post(web, &ready.endpoint, target.clone(), told, body, at).await,
    };
    let verdict = match body {
        Err(Crashed) => Verdict::Dead,
        Ok(_) => webhook::judge(response, tries, engine.clock.now(), engine.clock.jitter()),
    };
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
        About::Message(message) => {
            poison::taste("render", || message.reference.as_deref());
            tidings_wire::webhook::render_message(id, &told.event, message)
        }
        About::Inbound(inbound) => tidings_wire::webhook::render_inbound(id, &told.event, as_told(inbound)),
        About::Test => tidings_wire::webhook::render_test(id, told.event.at),
    };
    Bytes::from(body)
}

/// A message of a person as bodies have it.
pub fn as_told(inbound: &Inbound) -> tidings_wire::webhook::Inbound<'_> {
    tidings_wire::webhook::Inbound {
        id: inbound.id,
        from: &inbound.from,
        to: &inbound.to,
        text: &inbound.text,
        connection: inbound.connection,
        parts: inbound.parts.as_ref().map(|parts| (parts.reference, parts.total, parts.missing.as_slice())),
        keyword: inbound.keyword,
        rule: inbound.rule.as_deref(),
        media: &inbound.media,
        at: inbound.at,
    }
}

/// Commits what came of calls, many at a time.
async fn record(engine: &Weak<Inner>, recorded: &mut mpsc::Receiver<Attempt>) {
    let mut batch = Vec::with_capacity(RECORD_MAX);
    while recorded.recv_many(&mut batch, RECORD_MAX).await > 0 {
        let Some(engine) = engine.upgrade() else { return };
        let attempts = std::mem::take(&mut batch);
        let some_failed = attempts.iter().any(|attempt| attempt.verdict != Verdict::Done);
        let now = engine.clock.now();
        if let Err(error) = engine.store.record_attempts(attempts, now).await {
            // They are still leased: they will be called again, with the same id.
            crate::warn(&error, "webhook attempts could not be recorded");
        }
        if some_failed {
            engine.webhooks.forget();
            engine.webhooks.wake();
        }
    }
}
