//! The real binary from the outside: `dev` starts, a message that is posted is delivered, the operator's commands
//! see it, and a polite signal ends it with exit code 0.

use sha2::{Digest as _, Sha256};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use tidings_domain::octets::hexadecimal;
use tidings_witness::http::Client;

/// How often a thing that must come is looked for, and the pause between: together half a minute.
const LOOKS: u32 = 300;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

struct Dev {
    process: Child,
    address: String,
    viewer: String,
    token: String,
    /// The connections of the configuration that it says it does not use.
    not_used: serde_json::Value,
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
        not_used: facts["connections_not_used"].clone(),
    }
}

/// One request as clients make it: (status, body).
fn ask(address: &str, method: &str, path: &str, token: &str, body: &str) -> (u16, String) {
    let mut client = Client::new(address.parse().expect("an address"), token);
    let answer = client.ask_again(method, path, None, body).expect("it answers");
    (answer.status, String::from_utf8(answer.body).expect("text"))
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
fn connections_of_the_configuration_are_left_alone_and_that_is_said() {
    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join("tidings.toml");
    let text = "[[connection]]\nname = \"carrier\"\nkind = \"smpp\"\naddress = \"127.0.0.1:1\"\nenvironment = \"test\"\n\
                system_id = \"us\"\npassword = \"x\"\n";
    std::fs::write(&file, text).expect("written");
    let data = place.path().join("data");
    let mut dev = start(&data, &["--config", file.to_str().expect("a path is text here")]);
    assert_eq!(dev.not_used, serde_json::json!(["carrier"]));
    let body = r#"{"from":"+15550001111","to":"+15550002222","message":"Hello from our app"}"#;
    assert_eq!(ask(&dev.address, "POST", "/v1/sms", &dev.token, body).0, 202);
    stop(&mut dev);
    let mut dev = start(&data, &[]);
    assert_eq!(dev.not_used, serde_json::json!([]));
    stop(&mut dev);
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

/// One request for octets over a plain socket: (head, body).
fn fetch(address: &str, path: &str, token: &str, more: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n{more}Connection: close\r\n\r\n"
    )
    .expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it answers");
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("head and body");
    (String::from_utf8_lossy(&answer[..end]).to_lowercase(), answer[end + 4..].to_vec())
}

/// What the viewer was told of the kind from this number, once it was.
fn told(dev: &Dev, kind: &str, from: &str) -> serde_json::Value {
    until(&format!("{kind} from {from}"), || {
        let (_, body) = ask(&dev.viewer, "GET", "/events.json", "", "");
        let calls: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        let mut calls = calls["data"].as_array().expect("a list").iter().map(|call| &call["event"]);
        calls
            .find(|event| event["type"] == kind && event["data"]["from"] == from)
            .map(|event| event["data"].clone())
    })
}

/// P-36
#[test]
fn what_people_send_with_their_messages_is_kept_told_and_given_out_as_it_came() {
    let place = tempfile::tempdir().expect("a directory");
    let (data, photo, large) =
        (place.path().join("data"), place.path().join("Bild.JPG"), place.path().join("large.mp4"));
    let octets: Vec<u8> = (0..700_001_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    std::fs::write(&photo, &octets).expect("written");
    std::fs::write(&large, vec![0; 5 * 1024 * 1024 + 1]).expect("written");
    let files = [photo.to_str().expect("text"), large.to_str().expect("text")];
    let mut dev = start(&data, &["--media", files[0], "--media", files[1]]);
    let write_to = |number: &str| {
        let body = format!(r#"{{"from":"+15550001111","to":"{number}","message":"Send me a picture"}}"#);
        let (status, answer) = ask(&dev.address, "POST", "/v1/sms", &dev.token, &body);
        assert_eq!(status, 202, "{answer}");
    };
    let numbers = ["+15559920001", "+15559920002", "+15559910003", "+15559910004"];
    numbers.into_iter().for_each(write_to);

    // A picture without a word is told like any message, and fetched whole.
    let received = told(&dev, "message.received", numbers[0]);
    let medium = &received["media"][0];
    assert_eq!(
        (&received["text"], &medium["kind"], &medium["name"]),
        (&"".into(), &"image".into(), &"Bild.JPG".into())
    );
    assert_eq!((&medium["bytes"], &medium["left_out"]), (&octets.len().into(), &serde_json::Value::Null));
    let hash = hexadecimal(&Sha256::digest(&octets));
    assert_eq!(medium["sha256"], hash);
    let url = medium["url"].as_str().expect("a path");
    let (head, body) = fetch(&dev.address, url, &dev.token, "");
    assert!(body == octets, "{head}");
    let has = |head: &str, line: &str| assert!(head.lines().any(|is| is == line), "{line}: {head}");
    has(&head, "http/1.1 200 ok");
    has(&head, "content-type: image/jpeg");
    has(&head, "x-content-type-options: nosniff");
    has(&head, "content-disposition: attachment; filename=\"bild.jpg\"");
    has(&head, "content-security-policy: sandbox; default-src 'none'");
    has(&head, &format!("etag: \"{hash}\""));
    let (head, body) = fetch(&dev.address, url, &dev.token, &format!("If-None-Match: \"{hash}\"\r\n"));
    has(&head, "http/1.1 304 not modified");
    assert!(body.is_empty());
    let (head, _) = fetch(&dev.address, url, "tid_test_of_nobody", "");
    has(&head, "http/1.1 401 unauthorized");
    let (head, body) = fetch(&dev.address, url, &dev.token, "If-None-Match: \"another\"\r\n");
    has(&head, "http/1.1 200 ok");
    assert!(body == octets, "{head}");
    for (other, more) in [("2", ""), ("2", "If-None-Match: *\r\n"), ("0", ""), ("01", ""), ("+1", "")] {
        let other = url.replace("/media/1", &format!("/media/{other}"));
        let (head, body) = fetch(&dev.address, &other, &dev.token, more);
        has(&head, "http/1.1 404 not found");
        assert!(String::from_utf8_lossy(&body).contains("NOT_FOUND"), "{other}");
    }

    // One that is too large is named, and the message is there.
    let received = told(&dev, "message.received", numbers[1]);
    assert_eq!(
        (&received["media"][0]["left_out"], &received["media"][0]["url"]),
        (&"too_large".into(), &serde_json::Value::Null)
    );

    // STOP beside a picture is STOP.
    let stopped = told(&dev, "message.received", numbers[2]);
    assert_eq!((&stopped["keyword"], &stopped["media"][0]["kind"]), (&"stop".into(), &"image".into()));
    told(&dev, "contact.opted_out", numbers[2]);
    let body = format!(r#"{{"from":"+15550001111","to":"{}","message":"Are you there?"}}"#, numbers[2]);
    let (_, answer) = ask(&dev.address, "POST", "/v1/sms", &dev.token, &body);
    assert!(answer.contains("OPTED_OUT"), "{answer}");

    // A page is given out as octets to keep.
    let page = told(&dev, "message.received", numbers[3]);
    assert_eq!(
        (&page["media"][0]["content_type"], &page["media"][0]["kind"]),
        (&"text/html".into(), &"other".into())
    );
    let (head, body) = fetch(&dev.address, page["media"][0]["url"].as_str().expect("a path"), &dev.token, "");
    has(&head, "content-type: application/octet-stream");
    has(&head, "content-disposition: attachment; filename=\"page.html\"");
    assert!(body.starts_with(b"<!doctype html>"));

    // The command line shows it and writes it into a file, once; a backup has it by itself.
    let id = received_id(&told(&dev, "message.received", numbers[0]));
    let shown = json(&["inbound", "show", &id], &data);
    assert_eq!(
        (&shown["media"][0]["sha256"], &shown["media"][0]["name"]),
        (&hash.as_str().into(), &"•••".into())
    );
    let (saved, copy) = (place.path().join("saved"), place.path().join("copy.db"));
    let save = ["inbound", "media", &id, "1", "--output", saved.to_str().expect("text")];
    assert_eq!(json(&save, &data)["bytes"], octets.len());
    assert!(std::fs::read(&saved).expect("it is there") == octets);
    let piped = tidings(&["inbound", "media", &id, "1", "--output", "-"], &data);
    assert!(piped.status.success() && piped.stdout == octets);
    assert!(String::from_utf8_lossy(&piped.stderr).contains("open it with care"));
    std::fs::write(&saved, "mine").expect("written");
    let again = tidings(&save, &data);
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("is there already"));
    assert_eq!(std::fs::read(&saved).expect("it is there"), b"mine");
    let left_out = received_id(&told(&dev, "message.received", numbers[1]));
    let refused = tidings(&["inbound", "media", &left_out, "1", "--output", "/nowhere/x"], &data);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("too_large"));
    json(&["backup", copy.to_str().expect("text")], &data);
    stop(&mut dev);
    let restored = place.path().join("restored");
    json(&["restore", copy.to_str().expect("text")], &restored);
    std::fs::remove_file(&saved).expect("it is there");
    json(&save, &restored);
    assert!(std::fs::read(&saved).expect("it is there") == octets);
}

fn received_id(data: &serde_json::Value) -> String {
    data["inbound_id"].as_str().expect("an id").to_owned()
}
