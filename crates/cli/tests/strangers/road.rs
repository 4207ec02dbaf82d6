//! The program under test, as its users have it: the real binary with a configuration, a data directory of its own and
//! a live token, spoken to over HTTP. Dropped, it is killed.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::peer::HANG;

/// Between two looks at something that comes about by itself.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A running server.
pub struct Road {
    address: SocketAddr,
    token: String,
    _server: Child,
    _directory: TempDir,
}

impl Road {
    /// Starts a server whose one live connection leads to `port`, with room for `window` unanswered segments.
    pub async fn start(port: u16, window: usize) -> Self {
        let directory = tempfile::tempdir().expect("a directory for a test");
        for _ in 0..20 {
            if let Some((address, mut server)) = Self::serve(directory.path(), port, window).await {
                let token = Self::token(directory.path()).await;
                let road = Self { address, token, _server: server, _directory: directory };
                road.until("the connection is up", async || {
                    let (status, connections) = road.call(Method::GET, "/v1/connections", None).await;
                    (status == 200 && connections.to_string().contains(r#""up""#)).then_some(())
                })
                .await;
                return road;
            }
        }
        panic!("there is no free port");
    }

    /// The server cannot be asked for a free port without reading its log, so one is looked for; another program may
    /// take it in between, hence the `None`.
    async fn serve(directory: &Path, port: u16, window: usize) -> Option<(SocketAddr, Child)> {
        let probe = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = probe.local_addr().expect("it is bound");
        drop(probe);
        let data = directory.join("data");
        // One try only: whatever is tried again in these tests must not have cost one.
        let config = format!(
            r#"
            [data]
            directory = {data:?}
            [http]
            listen = "{address}"
            [retry]
            max_tries = 1
            throttled_delay_s = 1
            [[connection]]
            name = "stranger"
            kind = "smpp"
            address = "127.0.0.1:{port}"
            system_id = "tidings"
            password = "secret"
            window = {window}
            "#
        );
        std::fs::write(directory.join("tidings.toml"), config).expect("the directory is ours");
        let mut server = tidings(directory).arg("serve").kill_on_drop(true).spawn().expect("the binary starts");
        let since = Instant::now();
        loop {
            if let Ok(Some(_)) = server.try_wait() {
                return None;
            }
            if get(address, "/readyz").await == Some(200) {
                return Some((address, server));
            }
            assert!(since.elapsed() < HANG, "the server is not ready");
            sleep(LOOK_AGAIN).await;
        }
    }

    async fn token(directory: &Path) -> String {
        let arguments = ["token", "create", "--environment", "live", "--scope", "all", "--json"];
        let made = tidings(directory).args(arguments).output().await.expect("the binary starts");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let made: Value = serde_json::from_slice(&made.stdout).expect("it was asked for JSON");
        made["token"].as_str().expect("a new token is shown").to_owned()
    }

    /// Calls the API.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let stream = TcpStream::connect(self.address).await.expect("the server listens");
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("it speaks HTTP");
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.address.to_string())
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .body(Full::<Bytes>::from(body.map(|body| body.to_string()).unwrap_or_default()))
            .expect("the request is sound");
        let response: hyper::Response<_> = sender.send_request(request).await.expect("it answers");
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.expect("it answers in full").to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or_else(|_| String::from_utf8_lossy(&body).into());
        (status, body)
    }

    /// Sends a message that must be accepted, and gives its id.
    pub async fn send(&self, from: &str, to: &str, purpose: &str, text: &str) -> String {
        let message = json!({ "from": from, "to": to, "purpose": purpose, "text": text });
        let (status, body) = self.call(Method::POST, "/v1/messages", Some(message)).await;
        assert_eq!(status, 202, "{body}");
        body["id"].as_str().expect("an accepted message has an id").to_owned()
    }

    /// The message once it is in a status, which it must come to.
    pub async fn message_in(&self, id: &str, status: &str) -> Value {
        let path = format!("/v1/messages/{id}");
        let mut last = Value::Null;
        let since = Instant::now();
        while since.elapsed() < HANG {
            last = self.call(Method::GET, &path, None).await.1;
            if last["status"] == status {
                return last;
            }
            sleep(LOOK_AGAIN).await;
        }
        panic!("it never became {status}: {last:#}\n{:#}", self.call(Method::GET, &format!("{path}/timeline"), None).await.1);
    }

    /// The kinds of the events in a message's timeline, in order.
    pub async fn kinds(&self, id: &str) -> Vec<String> {
        let (status, timeline) = self.call(Method::GET, &format!("/v1/messages/{id}/timeline"), None).await;
        assert_eq!(status, 200, "{timeline}");
        let events = timeline["events"].as_array().expect("a timeline has events");
        events.iter().map(|event| event["type"].as_str().expect("an event has a type").to_owned()).collect()
    }

    /// Looks until there is something to see.
    async fn until<T, F: Future<Output = Option<T>>>(&self, what: &str, look: impl Fn() -> F) -> T {
        let since = Instant::now();
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            assert!(since.elapsed() < HANG, "in vain waited until {what}");
            sleep(LOOK_AGAIN).await;
        }
    }
}

fn tidings(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    command.arg("--config").arg(directory.join("tidings.toml")).stdin(Stdio::null()).current_dir(directory);
    command
}

async fn get(address: SocketAddr, path: &str) -> Option<u16> {
    let stream = TcpStream::connect(address).await.ok()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    let request = Request::get(path).header("host", address.to_string()).body(Full::<&[u8]>::default()).ok()?;
    Some(sender.send_request(request).await.ok()?.status().as_u16())
}
