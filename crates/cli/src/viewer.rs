//! The webhook viewer of `dev`: receives what a customer's endpoint would, checks the signatures (Standard
//! Webhooks), keeps the last of them, and shows them as a page and as JSON. It listens on this machine only.

use crate::webhook;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use tidings_domain::account::Realm;
use tidings_domain::text::display;
use tidings_engine::clock::Clock;
use tidings_engine::{Engine, signature};
use tidings_store::Actor;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Calls that are kept; the oldest go first.
const KEPT: usize = 200;
/// Octets of one call. Ours are far smaller.
const BODY_MAX: usize = 256 * 1024;
/// Finds the endpoint again at the next start.
const DESCRIPTION: &str = "the webhook viewer of tidings dev";

/// One call that came.
#[derive(Debug, Clone, Serialize)]
struct Call {
    received_at: String,
    id: String,
    signature: &'static str,
    event: serde_json::Value,
}

struct Viewer {
    clock: Arc<Clock>,
    secret: Vec<u8>,
    calls: Mutex<VecDeque<Call>>,
}

/// Serves the viewer and tells the engine to call it.
///
/// # Errors
/// The endpoint cannot be stored.
pub async fn start(
    engine: &Engine,
    realm: Realm,
    listener: TcpListener,
    url: &str,
) -> anyhow::Result<JoinHandle<()>> {
    let (store, clock) = (engine.store(), engine.clock());
    let actor = Actor { account: realm.account, who: "operator".to_owned() };
    let url = format!("{url}/");
    let known =
        store.endpoints(Some(realm)).await?.into_iter().find(|endpoint| endpoint.description == DESCRIPTION);
    let secret = match known {
        Some(mut endpoint) => {
            endpoint.url = url;
            endpoint.disabled = None;
            endpoint.failing_since = None;
            store.update_endpoint(endpoint.clone(), actor, clock.now()).await?;
            endpoint.secret
        }
        None => {
            let endpoint = webhook::new(clock, realm, url, DESCRIPTION.to_owned(), 0);
            store.create_endpoint(endpoint.clone(), actor).await?;
            endpoint.secret
        }
    };
    engine.endpoints_changed();
    let viewer = Arc::new(Viewer { clock: Arc::clone(clock), secret, calls: Mutex::default() });
    let router = Router::new()
        .route("/", get(page).post(receive))
        .route("/events.json", get(events))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(viewer);
    Ok(tokio::spawn(tidings_api::serve(listener, router, std::future::pending())))
}

async fn receive(State(viewer): State<Arc<Viewer>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let call = Call {
        received_at: viewer.clock.now().to_string(),
        id: text("webhook-id").to_owned(),
        signature: judge(
            &viewer.secret,
            text("webhook-id"),
            text("webhook-timestamp"),
            text("webhook-signature"),
            &body,
        ),
        event: serde_json::from_slice(&body)
            .unwrap_or_else(|_| String::from_utf8_lossy(&body).into_owned().into()),
    };
    let mut calls = viewer.calls.lock().expect("nothing panics while it holds this");
    if calls.len() == KEPT {
        calls.pop_back();
    }
    calls.push_front(call);
    StatusCode::NO_CONTENT
}

fn judge(secret: &[u8], id: &str, timestamp: &str, given: &str, body: &[u8]) -> &'static str {
    if given.is_empty() {
        return "missing";
    }
    let Ok(timestamp) = timestamp.parse() else { return "wrong" };
    let expected = signature::sign([secret], id, timestamp, body);
    if given.split(' ').any(|one| one == expected) { "good" } else { "wrong" }
}

async fn events(State(viewer): State<Arc<Viewer>>) -> Response {
    let calls: Vec<Call> =
        viewer.calls.lock().expect("nothing panics while it holds this").iter().cloned().collect();
    axum::Json(serde_json::json!({ "data": calls })).into_response()
}

async fn page(State(viewer): State<Arc<Viewer>>) -> Response {
    let calls: Vec<Call> =
        viewer.calls.lock().expect("nothing panics while it holds this").iter().cloned().collect();
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, render(&calls)).into_response()
}

fn render(calls: &[Call]) -> String {
    let mut list = String::new();
    for call in calls {
        let kind = call.event.get("type").and_then(serde_json::Value::as_str).unwrap_or("not an event");
        let body = serde_json::to_string_pretty(&call.event).unwrap_or_default();
        let body = body.lines().map(display).collect::<Vec<_>>().join("\n");
        let _ = write!(
            list,
            "<li><details><summary><time>{}</time> <b>{}</b> <span class=\"{sig}\">signature {sig}</span> <code>{}</code></summary><pre>{}</pre></details></li>",
            escape(&call.received_at),
            escape(kind),
            escape(&call.id),
            escape(&body),
            sig = call.signature,
        );
    }
    if list.is_empty() {
        list.push_str("<li>Nothing came yet. Send a message: what becomes of it is told here.</li>");
    }
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"2\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Tidings: webhooks</title><style>{STYLE}</style></head>\
         <body><h1>What your endpoint is told</h1><p>The last {KEPT} calls, newest first; the page renews itself. \
         As JSON: <a href=\"/events.json\">/events.json</a></p><ul>{list}</ul></body></html>"
    )
}

const STYLE: &str = "\
    :root{color-scheme:light dark}\
    body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;background:Canvas;color:CanvasText}\
    ul{list-style:none;padding:0}li{border-bottom:1px solid color-mix(in srgb,CanvasText 20%,transparent);padding:.4rem 0}\
    pre{overflow:auto;padding:.5rem;background:color-mix(in srgb,CanvasText 6%,transparent)}\
    time,code{font-size:.85em;opacity:.75}.good{color:#18794e}.wrong,.missing{color:#cd2b31;font-weight:bold}\
    @media(prefers-color-scheme:dark){.good{color:#4cc38a}.wrong,.missing{color:#ff6369}}";

pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_good_only_for_what_was_signed() {
        let good = signature::sign([&b"secret"[..]], "evt_1", 1_700_000_000, b"{}");
        let check = |id: &str, at: &str, given: &str, body: &[u8], expected: &str| {
            assert_eq!(judge(b"secret", id, at, given, body), expected);
        };
        check("evt_1", "1700000000", &good, b"{}", "good");
        check("evt_1", "1700000000", &format!("v1,AAAA {good}"), b"{}", "good");
        check("evt_2", "1700000000", &good, b"{}", "wrong");
        check("evt_1", "1700000001", &good, b"{}", "wrong");
        check("evt_1", "soon", &good, b"{}", "wrong");
        check("evt_1", "1700000000", &good, b"{ }", "wrong");
        check("evt_1", "1700000000", "", b"{}", "missing");
    }

    #[test]
    fn what_came_is_shown_as_text_and_never_as_markup() {
        let call = Call {
            received_at: "now".to_owned(),
            id: "<b>".to_owned(),
            signature: "good",
            event: serde_json::json!({ "type": "<script>", "data": "\"&\u{202E}\u{9B}" }),
        };
        let page = render(&[call]);
        assert!(
            !page.contains("<script>") && page.contains("&lt;script&gt;") && page.contains("\\&quot;&amp;"),
            "{page}"
        );
    }
}
