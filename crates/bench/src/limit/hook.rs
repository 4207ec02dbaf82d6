//! The webhooks of the lean program: callers with a connection each, that sign, call and say what was answered.

use super::Limit;
use super::writer::Operation;
use crate::clock;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::{Connection, SendRequest, handshake};
use hyper_util::rt::TokioIo;
use sha2::Sha256;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

const SECRET: [u8; 32] = [7; 32];
/// How long a caller rests after a call that failed.
const REST: Duration = Duration::from_secs(1);

/// What is to be told.
pub struct Call {
    pub event: i64,
    pub message: i64,
    pub sender: String,
    pub recipient: u64,
    pub created_at: u64,
    pub at: u64,
}

type Line = Connection<TokioIo<TcpStream>, Full<Bytes>>;

/// Calls one after the other.
pub async fn work(address: SocketAddr, mut calls: mpsc::Receiver<Call>, limit: Arc<Limit>) {
    let mut next = None;
    loop {
        // A failure here is a sink that went away; the call is made again.
        let _ = call_all(address, &mut calls, &mut next, &limit).await;
        if next.is_none() && calls.is_closed() {
            return;
        }
        tokio::time::sleep(REST).await;
    }
}

async fn call_all(
    address: SocketAddr,
    calls: &mut mpsc::Receiver<Call>,
    next: &mut Option<Call>,
    limit: &Limit,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, line) = handshake(TokioIo::new(stream)).await?;
    let mut line = pin!(line);
    let host = address.to_string();
    loop {
        if next.is_none() {
            *next = calls.recv().await;
        }
        let Some(call) = next else { return Ok(()) };
        let event = call.event;
        // The connection is served by the one who waits for it: no change of task for each call.
        if ask(&mut sender, line.as_mut(), request(call, &host)).await? {
            limit.queue.push(Operation::Told { event });
            *next = None;
        } else {
            tokio::time::sleep(REST).await;
        }
    }
}

/// Whether the answer was good.
async fn ask(
    sender: &mut SendRequest<Full<Bytes>>,
    mut line: Pin<&mut Line>,
    request: Request<Full<Bytes>>,
) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
    let asking = async {
        sender.ready().await?;
        let answer = sender.send_request(request).await?;
        let good = answer.status().is_success();
        answer.into_body().collect().await?;
        Ok(good)
    };
    tokio::select! {
        biased;
        answered = asking => answered,
        ended = line.as_mut() => {
            ended?;
            Err("the sink closed".into())
        }
    }
}

fn request(call: &Call, host: &str) -> Request<Full<Bytes>> {
    let (id, timestamp) = (format!("evt_{:013}", call.event), (clock::wall_ms() / 1_000).to_string());
    let body = format!(
        r#"{{"id":"{id}","type":"message.delivered","timestamp":"{}","data":{{"message_id":"msg_{:013}","status":"delivered","from":"{}","to":"+{}","purpose":"transactional","segments":1,"encoding":"gsm7","created_at":"{}","reference":null,"metadata":null,"batch_id":null,"connection":"cnx_0000000000001","attempt":1,"next_attempt_at":null,"error":null,"retry_of":null}}}}"#,
        clock::rfc3339(call.at),
        call.message,
        call.sender,
        call.recipient,
        clock::rfc3339(call.created_at),
    );
    let mut mac = Hmac::<Sha256>::new_from_slice(&SECRET).expect("HMAC takes keys of any length");
    for part in [&id, ".", &timestamp, ".", &body] {
        mac.update(part.as_bytes());
    }
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    Request::post("/webhooks")
        .header("host", host)
        .header("content-type", "application/json")
        .header("user-agent", "limit")
        .header("webhook-id", id)
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", signature)
        .body(Full::new(Bytes::from(body)))
        .expect("the headers are good")
}
