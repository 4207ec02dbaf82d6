//! The program under test, as its users have it: the real binary with a configuration, a data directory of its own and
//! a live token, spoken to over HTTP. Dropped, it is killed.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::{Instant, sleep, timeout};

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
        let data = directory.path().join("data");
        // One try only: whatever is tried again in these tests must not have cost one.
        let config = format!(
            r#"
            [data]
            directory = {data:?}
            [http]
            listen = "127.0.0.1:0"
            [log]
            format = "json"
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
        std::fs::write(directory.path().join("tidings.toml"), config).expect("the directory is ours");
        let mut server = tidings(directory.path())
            .arg("serve")
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        let address = address(server.stderr.take().expect("it is piped")).await;
        let token = Self::token(directory.path()).await;
        let road = Self { address, token, _server: server, _directory: directory };
        let since = Instant::now();
        while road.call(Method::GET, "/v1/connections/stranger", None).await.1["state"] != "up" {
            assert!(since.elapsed() < HANG, "the connection never came up");
            sleep(LOOK_AGAIN).await;
        }
        road
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
        panic!(
            "it never became {status}: {last:#}\n{:#}",
            self.call(Method::GET, &format!("{path}/timeline"), None).await.1
        );
    }

    /// The kinds of the events in a message's timeline, in order.
    pub async fn kinds(&self, id: &str) -> Vec<String> {
        let (status, timeline) = self.call(Method::GET, &format!("/v1/messages/{id}/timeline"), None).await;
        assert_eq!(status, 200, "{timeline}");
        let events = timeline["events"].as_array().expect("a timeline has events");
        events.iter().map(|event| event["type"].as_str().expect("an event has a type").to_owned()).collect()
    }
}

fn tidings(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    command.arg("--config").arg(directory.join("tidings.toml")).stdin(Stdio::null()).current_dir(directory);
    command
}

/// The address that the server's log says it serves at. What it logs afterwards is shown where the test fails.
async fn address(log: ChildStderr) -> SocketAddr {
    let mut lines = BufReader::new(log).lines();
    let mut said = Vec::new();
    let address = loop {
        let line = timeout(HANG, lines.next_line()).await.expect("the server says nothing");
        let Some(line) = line.expect("its lines are UTF-8") else { panic!("the server ended: {said:#?}") };
        let serving = serde_json::from_str::<Value>(&line).ok().filter(|line| line["message"] == "serving");
        match serving {
            Some(line) => {
                break line["address"].as_str().and_then(|text| text.parse().ok()).expect("it says where");
            }
            None => said.push(line),
        }
    };
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            println!("{line}");
        }
    });
    address
}
