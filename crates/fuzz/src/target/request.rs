//! Whole requests to the real router, over the real engine and a store in memory.
//!
//! An input reads as `METHOD PATH`, a line for each header, an empty line, and the body; `$TOKEN` in a header stands
//! for a good token.

use crate::observed::Observed;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::BodyExt as _;
use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;
use tidings_domain::account::{Environment, Realm, Scope};
use tidings_domain::id::TokenId;
use tidings_egress::SendError;
use tidings_engine::world::{Answer, Web, World};
use tidings_engine::{Engine, Settings};
use tidings_store::model::{Disk, Model};
use tidings_store::{Actor, Token};
use tokio::runtime::Runtime;

/// Pieces of requests.
pub const WORDS: &[&[u8]] = &[
    b"GET ",
    b"POST ",
    b"PATCH ",
    b"DELETE ",
    b"HEAD ",
    b"OPTIONS ",
    b"/v1/sms",
    b"/v1/messages",
    b"/v1/messages/batch",
    b"/v1/messages/preview",
    b"/v1/batches",
    b"/v1/events",
    b"/v1/webhooks",
    b"/rotate",
    b"/replay",
    b"/attempts",
    b"/test",
    b"/v1/templates",
    b"/versions",
    b"/v1/conversations",
    b"/v1/conversations/search?q=a",
    b"/reply",
    b"/notes",
    b"/tags",
    b"/snooze",
    b"/v1/suppressions",
    b"/v1/suppressions/lift",
    b"/v1/review/items",
    b"/v1/review/decisions",
    b"/v1/connections",
    b"/v1/connections/simulator/pause",
    b"/v1/tokens",
    b"/v1/clients",
    b"/v1/audit",
    b"/v1/account",
    b"/oauth/token",
    b"/oauth/revoke",
    b"/oauth/introspect",
    b"/errors/NOT_FOUND",
    b"/docs/index.html",
    b"/readyz",
    b"/metrics",
    b"?limit=5",
    b"&cursor=",
    b"?status=sent",
    b"&to=%2B15550002222",
    b"&since=2026-01-01T00:00:00Z",
    b"%",
    b"%00",
    b"%2F",
    b"\nauthorization: Bearer $TOKEN",
    b"\ncontent-type: application/json",
    b"\nidempotency-key: k",
    b"\ncontent-type: application/x-www-form-urlencoded",
    b"\ncontent-encoding: gzip",
    b"\ncontent-length: 5",
    b"\n\n",
    b"grant_type=client_credentials",
    b"&client_id=",
    b"&client_secret=",
    b"&scope=messages.send",
    b"&token=",
    b"msg_0000000000000",
    b"whk_0000000000000",
    b"cnv_0000000000000",
    b"{\"name\":\"a\",\"texts\":{\"en\":\"{{ b }}\"},\"variables\":[{\"name\":\"b\",\"type\":\"text\",\"sample\":\"c\"}]}",
    b"\"template\":\"a\",\"values\":{\"b\":1.5},",
    b"\"if_last\":\"inb_0000000000005\",",
    b"{\"to\":\"+15550002222\",\"from\":\"+15550001111\",\"message\":\"x\"}",
];

/// Requests that one installation serves; then a new one takes its place, so that it does not grow for ever.
const REQUESTS_MAX: u32 = 20_000;

struct House {
    runtime: Runtime,
    router: tidings_api::Router,
    token: String,
    left: u32,
}

/// Nobody is called from here.
struct Nowhere;

impl Web for Nowhere {
    fn send(&self, _: tidings_egress::Request) -> Answer<'_> {
        Box::pin(async { Err(SendError::Connect(std::io::ErrorKind::ConnectionRefused.into())) })
    }
}

thread_local! {
    static HOUSE: RefCell<Option<House>> = const { RefCell::new(None) };
}

fn build() -> House {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (router, token) = runtime.block_on(async {
        let settings = Settings { ..Settings::default() };
        let world = World { web: Arc::new(Nowhere), ..World::real(&settings) };
        let store = Arc::new(Model::new(Disk::new()));
        let engine =
            Engine::start_in(world, store, settings).await.expect("an engine over a store in memory");
        let clock = engine.clock();
        let realm = Realm { account: engine.default_account(), environment: Environment::Test };
        let minted = tidings_wire::token::mint(realm.environment, clock.random());
        let token = Token {
            id: TokenId::from_key(clock.id()),
            lookup: minted.lookup,
            hash: minted.hash,
            previous: None,
            realm,
            scopes: Scope::ALL.into_iter().collect(),
            name: "fuzz".to_owned(),
            client: None,
            created_at: clock.now(),
            expires_at: None,
            revoked_at: None,
            last_used_at: None,
            previous_used_at: None,
            rate_per_minute: Some(1_000_000),
        };
        let actor = Actor { account: realm.account, who: "operator".to_owned() };
        engine.store().create_token(token, actor).await.expect("a token");
        (tidings_api::router(engine.clone(), tidings_api::Settings::default()), minted.text)
    });
    House { runtime, router, token, left: REQUESTS_MAX }
}

/// One request, and its answer.
///
/// # Panics
/// If a property does not hold.
pub fn request(octets: &[u8]) -> u64 {
    HOUSE.with_borrow_mut(|house| {
        let house = match house {
            Some(house) if house.left > 0 => house,
            place => place.insert(build()),
        };
        house.left -= 1;
        let Some((from, request)) = read(octets, &house.token) else { return 0 };
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let router = house.router.clone();
        let (status, kind, body) = house.runtime.block_on(async {
            let response = router.answer(from, request).await;
            let (parts, body) = response.into_parts();
            let kind = parts
                .headers
                .get("content-type")
                .and_then(|kind| kind.to_str().ok())
                .unwrap_or_default()
                .to_owned();
            assert!(parts.headers.contains_key("x-request-id"), "every answer has its id");
            (parts.status.as_u16(), kind, body.collect().await.expect("bodies are in memory").to_bytes())
        });
        assert!(status != 500, "{method} {path} broke: {}", String::from_utf8_lossy(&body));
        if status >= 400 && path.starts_with("/v1/") && method != Method::HEAD {
            assert_eq!(kind, "application/problem+json", "{method} {path} {status}");
            let problem: serde_json::Value = serde_json::from_slice(&body).expect("a problem is JSON");
            assert!(problem["code"].is_string() && problem["status"] == status, "{problem}");
        }
        let text = String::from_utf8_lossy(&body);
        assert!(!text.contains(&house.token), "no answer repeats the caller's token");
        let code =
            text.split("\"code\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
        let route = path.split('/').filter(|part| !part.contains('_') && part.len() < 14).take(4);
        let seen = route.fold(Observed::new().and(status.into()).word(code), |seen, part| seen.word(part));
        seen.word(method.as_str()).number()
    })
}

fn read(octets: &[u8], token: &str) -> Option<(IpAddr, Request<Body>)> {
    let (head, body) = match octets.windows(2).position(|two| two == b"\n\n") {
        Some(at) => (&octets[..at], &octets[at + 2..]),
        None => (octets, &[][..]),
    };
    let mut lines = head.split(|octet| *octet == b'\n');
    let first = lines.next()?;
    let blank = first.iter().position(|octet| *octet == b' ')?;
    let method = Method::from_bytes(&first[..blank]).ok()?;
    let uri = Uri::try_from(&first[blank + 1..]).ok().filter(|uri| uri.path().starts_with('/'))?;
    let mut request = Request::new(Body::from(body.to_vec()));
    (*request.method_mut(), *request.uri_mut()) = (method, uri);
    for line in lines {
        let colon = line.iter().position(|octet| *octet == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = line[colon + 1..].trim_ascii();
        let value = match value.strip_suffix(b"$TOKEN") {
            Some(before) => HeaderValue::from_bytes(&[before, token.as_bytes()].concat()),
            None => HeaderValue::from_bytes(value),
        };
        request.headers_mut().append(name, value.ok()?);
    }
    // Many addresses: one that shows many bad tokens is soon told nothing else.
    let last = octets.iter().fold(0_u8, |sum, octet| sum.wrapping_mul(31).wrapping_add(*octet));
    Some((IpAddr::from([192, 0, 2, last]), request))
}
