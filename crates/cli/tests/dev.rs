//! The real binary from the outside: `dev` starts, a message that is posted is delivered, the operator's commands
//! see it, and a polite signal ends it with exit code 0.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// How often a thing that must come is looked for, and the pause between: together half a minute.
const LOOKS: u32 = 300;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

struct Dev {
    process: Child,
    address: String,
    viewer: String,
    token: String,
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn tidings(arguments: &[&str], data: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidings"))
        .args(arguments)
        .arg("--data")
        .arg(data)
        .output()
        .expect("it starts")
}

fn json(arguments: &[&str], data: &Path) -> serde_json::Value {
    let output = tidings(&[arguments, &["--json"]].concat(), data);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON value")
}

fn start(data: &Path, more: &[&str]) -> Dev {
    let mut process = Command::new(env!("CARGO_BIN_EXE_tidings"))
        .args(["dev", "--json", "--listen", "127.0.0.1:0", "--data"])
        .arg(data)
        .args(more)
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut line = String::new();
    BufReader::new(process.stdout.take().expect("it is piped")).read_line(&mut line).expect("a line");
    let facts: serde_json::Value = serde_json::from_str(&line).expect("the first line is JSON");
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    if data.is_absolute() {
        assert_eq!(facts["data"], data.display().to_string());
    }
    assert!(text(&facts["tokens"]["admin"]).starts_with("tid_test_"));
    Dev {
        process,
        address: text(&facts["address"]).replace("http://", ""),
        viewer: text(&facts["viewer"]).replace("http://", ""),
        token: text(&facts["tokens"]["sms"]),
    }
}

/// One request over a plain socket: (status, body).
fn ask(address: &str, method: &str, path: &str, token: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
    (head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status"), body.to_owned())
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..LOOKS {
        if let Some(seen) = look() {
            return seen;
        }
        std::thread::sleep(PAUSE);
    }
    panic!("{what} never came");
}

fn stop(dev: &mut Dev) {
    let signaled =
        Command::new("kill").args(["-TERM", &dev.process.id().to_string()]).status().expect("kill is there");
    assert!(signaled.success());
    let status = until("its end", || dev.process.try_wait().expect("it is our child"));
    assert_eq!(status.code(), Some(0));
}

/// The same with everything kept in a database on a server.
#[test]
fn a_message_is_delivered_from_postgresql() {
    let Some(cluster) = tidings_cluster::Cluster::here() else { return };
    let database = cluster.database();
    let data = std::path::PathBuf::from(database.url());
    let mut dev = start(&data, &[]);
    let body = r#"{"from":"+15550001111","to":"+15550002222","message":"Hello from our app"}"#;
    let (status, answer) = ask(&dev.address, "POST", "/v1/sms", &dev.token, body);
    assert!((200..300).contains(&status), "{status} {answer}");
    let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
    let id = answer["id"].as_str().expect("an id").to_owned();
    until("the delivery", || {
        let (status, body) = ask(&dev.address, "GET", &format!("/v1/messages/{id}"), &dev.token, "");
        assert_eq!(status, 200, "{body}");
        body.contains(r#""status":"delivered""#).then_some(())
    });
    until("the webhook", || {
        let (_, body) = ask(&dev.viewer, "GET", "/events.json", "", "");
        let calls: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        let calls = calls["data"].as_array().expect("a list");
        calls.iter().any(|call| call["event"]["type"] == "message.delivered").then_some(())
    });
    // Commands work beside it; another server does not.
    assert_eq!(json(&["message", "show", &id], &data)["message"]["status"], "delivered");
    let second = tidings(&["dev", "--listen", "127.0.0.1:0"], &data);
    let refused = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(second.status.code() == Some(1) && refused.contains("a node of the name"), "{refused}");
    let fresh = tidings(&["dev", "--fresh", "--listen", "127.0.0.1:0"], &data);
    assert!(String::from_utf8_lossy(&fresh.stderr).contains("--fresh removes a data directory"));
    stop(&mut dev);
    assert_eq!(json(&["message", "list", "--status", "delivered"], &data).as_array().unwrap().len(), 1);
}

#[test]
fn a_message_is_delivered_told_and_explained() {
    let place = tempfile::tempdir().expect("a directory");
    let data = place.path().join("data");
    let mut dev = start(&data, &[]);

    let body = r#"{"from":"+15550001111","to":"+15550002222","message":"Hello from our app"}"#;
    let (status, answer) = ask(&dev.address, "POST", "/v1/sms", &dev.token, body);
    assert!((200..300).contains(&status), "{status} {answer}");
    let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
    let id = answer["id"].as_str().expect("an id").to_owned();

    until("the delivery", || {
        let (status, body) = ask(&dev.address, "GET", &format!("/v1/messages/{id}"), &dev.token, "");
        assert_eq!(status, 200, "{body}");
        body.contains(r#""status":"delivered""#).then_some(())
    });
    until("the webhook", || {
        let (_, body) = ask(&dev.viewer, "GET", "/events.json", "", "");
        let calls: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        let calls = calls["data"].as_array().expect("a list");
        assert!(calls.iter().all(|call| call["signature"] == "good"), "{calls:?}");
        calls.iter().any(|call| call["event"]["type"] == "message.delivered").then_some(())
    });

    let shown = json(&["message", "show", &id], &data);
    assert_eq!(shown["message"]["status"], "delivered");
    assert_eq!(shown["message"]["text"], "•••");
    assert!(!shown.to_string().contains("15550002222"), "{shown}");
    let events: Vec<&str> =
        shown["events"].as_array().unwrap().iter().filter_map(|event| event["type"].as_str()).collect();
    assert!(events.contains(&"message.sent") && events.contains(&"message.delivered"), "{events:?}");
    let text = tidings(&["message", "show", &id, "--full"], &data);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("Hello from our app") && text.contains("+15550002222"), "{text}");
    assert_eq!(json(&["message", "list", "--status", "delivered"], &data).as_array().unwrap().len(), 1);

    let second = tidings(&["dev", "--listen", "127.0.0.1:0"], &data);
    assert_eq!(second.status.code(), Some(1));
    let refused = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(refused.contains("serves") && refused.contains(&dev.process.id().to_string()), "{refused}");

    let copy = place.path().join("copy.db");
    json(&["backup", &copy.display().to_string()], &data);
    stop(&mut dev);

    let restored = place.path().join("restored");
    json(&["restore", &copy.display().to_string()], &restored);
    assert!(json(&["hold", "show"], &restored)["held"].is_string());
    assert_eq!(json(&["message", "show", &id], &restored)["message"]["status"], "delivered");
    assert_eq!(tidings(&["restore", &copy.display().to_string()], &restored).status.code(), Some(1));
    assert!(json(&["hold", "release"], &restored)["held"].is_null());
    let said =
        tidings(&["restore", &copy.display().to_string()], &place.path().join("restored-again")).stdout;
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("--status queued") && said.contains("--status scheduled"), "{said}");

    let mut dev = start(&data, &["--fresh"]);
    let (status, _) = ask(&dev.address, "GET", &format!("/v1/messages/{id}"), &dev.token, "");
    assert_eq!(status, 404);
    stop(&mut dev);
}
