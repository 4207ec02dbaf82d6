//! The receivers of webhooks: what each does with a call, and what it then knows.

use crate::fault::Fault;
use crate::ledger::{Did, Happened};
use crate::stage::{Life, Stage};
use http::{HeaderMap, HeaderValue, StatusCode};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;
use tidings_domain::id::EventId;
use tidings_egress::{Bytes, Phase, Request, Response, SendError};
use tidings_engine::world::{Answer, Web};

/// How long a call may take: what `tidings_egress` allows by default.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The web, as one process reaches it.
pub struct Receivers {
    stage: Arc<Stage>,
    life: Arc<Life>,
}

impl Receivers {
    /// For this process.
    pub fn new(stage: &Arc<Stage>, life: &Arc<Life>) -> Self {
        Self { stage: Arc::clone(stage), life: Arc::clone(life) }
    }

    /// The address of the endpoint at this place.
    pub fn url(place: usize) -> String {
        format!("http://127.0.0.1:9/{place}")
    }

    async fn call(&self, request: Request) -> Result<Response, SendError> {
        self.life.moves().await;
        if self.life.is_over() {
            return std::future::pending().await;
        }
        let path = request.target.path_and_query();
        let place: usize = path.trim_start_matches('/').parse().expect("addresses are made by `url`");
        let id = request.headers.get("webhook-id").and_then(|id| id.to_str().ok());
        let event: EventId = id.and_then(|id| id.parse().ok()).expect("each call names its event");
        let event = event.key();
        let chance = {
            let mut hasher = DefaultHasher::new();
            request.body.hash(&mut hasher);
            let mut ledger = self.stage.ledger();
            ledger.bodies.push((place, event, hasher.finish()));
            ledger.bodies.len() as u64
        };
        let labels = [place as u64, chance];
        let mut random = self.stage.random(Fault::HookFails, &labels);
        let did = self.fate(place, &labels);
        let slow_ms = random.between(1, self.stage.plan.endpoints[place].answer_ms);
        let called = |did| self.stage.note(Happened::Called { endpoint: place, event, did });
        match did {
            Did::Refused => {
                called(did);
                let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
                return self.alive(Err(SendError::Connect(refused))).await;
            }
            Did::Stalled | Did::TookSilently => {
                called(did);
                tokio::time::sleep(TIMEOUT).await;
                return self.alive(Err(SendError::Timeout { during: Phase::Answering })).await;
            }
            Did::Took | Did::Answered(_) => tokio::time::sleep(Duration::from_millis(slow_ms)).await,
        }
        if !self.life.is_over() {
            called(did);
        }
        let status = match did {
            Did::Answered(status) => status,
            _ => 204,
        };
        let mut headers = HeaderMap::new();
        if status == 429 {
            let after_s = *random.pick(&["1", "20", "60", "-1", "soon"]);
            headers.insert("retry-after", HeaderValue::from_static(after_s));
        }
        let status = StatusCode::from_u16(status).expect("it is between 200 and 599");
        self.alive(Ok(Response { status, headers, body: Bytes::new(), truncated: false })).await
    }

    fn fate(&self, place: usize, labels: &[u64]) -> Did {
        if self.stage.plan.spell(Fault::HookDown, place, self.stage.now_ms()).is_some() {
            return Did::Refused;
        }
        let fates = [
            (Fault::HookLost, Did::TookSilently),
            (Fault::HookRedirects, Did::Answered(302)),
            (Fault::HookGone, Did::Answered(410)),
            (Fault::HookBusy, Did::Answered(429)),
            (Fault::HookFails, Did::Answered(500)),
            (Fault::HookStalls, Did::Stalled),
        ];
        let struck = fates.iter().find(|(fault, _)| self.stage.strikes(*fault, labels).is_some());
        struck.map_or(Did::Took, |(_, did)| *did)
    }

    /// A dead process hears nothing.
    async fn alive<T>(&self, answer: T) -> T {
        self.life.moves().await;
        if self.life.is_over() {
            return std::future::pending().await;
        }
        answer
    }
}

impl Web for Receivers {
    fn send(&self, request: Request) -> Answer<'_> {
        Box::pin(self.call(request))
    }
}
