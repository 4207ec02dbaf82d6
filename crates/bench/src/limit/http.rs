//! The API of the lean program.

use super::Limit;
use super::writer::{New, Operation};
use crate::clock;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// Characters of a text: one segment.
const TEXT_MAX: usize = 160;

#[derive(Deserialize)]
struct Sms<'b> {
    #[serde(borrow)]
    from: Cow<'b, str>,
    #[serde(borrow)]
    to: Cow<'b, str>,
    #[serde(borrow, alias = "message")]
    text: Cow<'b, str>,
    #[serde(borrow)]
    purpose: Option<Cow<'b, str>>,
}

#[derive(Deserialize)]
struct Batch<'b> {
    #[serde(borrow)]
    messages: Vec<Sms<'b>>,
}

/// What tokens are compared by.
pub fn hash(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, limit: Arc<Limit>) {
    let router = Router::new()
        .route("/readyz", get(async || StatusCode::OK))
        .route("/v1/sms", post(one))
        .route("/v1/messages", post(one))
        .route("/v1/messages/batch", post(many))
        .with_state(limit);
    let listener = axum::serve::ListenerExt::tap_io(listener, |stream| drop(stream.set_nodelay(true)));
    // It never ends by itself.
    let _ = axum::serve(listener, router).await;
}

async fn one(State(limit): State<Arc<Limit>>, headers: HeaderMap, body: Bytes) -> Response {
    if !may(&limit, &headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let Ok(sms) = serde_json::from_slice::<Sms<'_>>(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let Some(new) = parse(&sms) else { return StatusCode::UNPROCESSABLE_ENTITY.into_response() };
    let Some(id) = accept(&limit, vec![new]).await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let mut answer = String::with_capacity(300);
    write_accepted(&mut answer, id, &sms);
    accepted(answer)
}

async fn many(State(limit): State<Arc<Limit>>, headers: HeaderMap, body: Bytes) -> Response {
    if !may(&limit, &headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let Ok(batch) = serde_json::from_slice::<Batch<'_>>(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let Some(all) = batch.messages.iter().map(parse).collect::<Option<Vec<New>>>() else {
        return StatusCode::UNPROCESSABLE_ENTITY.into_response();
    };
    let count = all.len();
    let Some(first) = accept(&limit, all).await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let mut answer = String::with_capacity(350 * count);
    write!(
        answer,
        r#"{{"batch_id":"bat_{first:013}","asked":{count},"accepted":{count},"refused":0,"results":["#
    )
    .expect("a String takes everything");
    for (n, (id, sms)) in (first..).zip(&batch.messages).enumerate() {
        let comma = if n == 0 { "" } else { "," };
        write!(answer, r#"{comma}{{"index":{n},"message":"#).expect("a String takes everything");
        write_accepted(&mut answer, id, sms);
        write!(answer, r#","id":"msg_{id:013}"}}"#).expect("a String takes everything");
    }
    answer.push_str("]}");
    accepted(answer)
}

fn may(limit: &Limit, headers: &HeaderMap) -> bool {
    let shown = headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    shown.is_some_and(|token| hash(token) == limit.token)
}

fn parse(sms: &Sms<'_>) -> Option<New> {
    let recipient = sms.to.strip_prefix('+')?;
    let good = (8..=15).contains(&recipient.len())
        && sms.text.is_ascii()
        && sms.text.len() <= TEXT_MAX
        && (1..=11).contains(&sms.from.len());
    let recipient = recipient.parse().ok()?;
    good.then(|| New {
        sender: sms.from.clone().into_owned(),
        recipient,
        text: sms.text.clone().into_owned(),
    })
}

/// Commits messages, and gives the id of the first.
async fn accept(limit: &Limit, messages: Vec<New>) -> Option<i64> {
    let claimed = limit.take_places(messages.len());
    let (reply, answer) = oneshot::channel();
    limit.queue.push(Operation::Accept { messages, claimed, reply });
    answer.await.ok()
}

fn write_accepted(answer: &mut String, id: i64, sms: &Sms<'_>) {
    let now = clock::wall_ms();
    write!(
        answer,
        r#"{{"id":"msg_{id:013}","status":"queued","from":"{}","to":"{}","purpose":"{}","segments":1,"encoding":"gsm7","created_at":"{}","send_at":null,"expires_at":"{}","reference":null}}"#,
        sms.from.escape_default(),
        sms.to,
        sms.purpose.as_deref().unwrap_or("transactional").escape_default(),
        clock::rfc3339(now),
        clock::rfc3339(now + 7_200_000),
    )
    .expect("a String takes everything");
}

fn accepted(answer: String) -> Response {
    (StatusCode::ACCEPTED, [(CONTENT_TYPE, "application/json")], answer).into_response()
}
