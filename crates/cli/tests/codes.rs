//! One-time codes, from the request to what the phone shows and back, with the real binary.
//!
//! The simulated carrier has a person who sends back what they got (`+1 555 979 NNNN`): so the text is read at the other
//! end of SMPP, and not from our own mouth.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

/// How often a thing that must come is looked for, and the pause between: together two minutes.
const LOOKS: u32 = 1_200;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

const ECHO: &str = "+15559790042";

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The simulated carrier as a server of its own.
struct Carrier {
    _process: Running,
    _people: ChildStdin,
    address: String,
}

impl Carrier {
    fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_tidings"))
            .args(["simulate", "smsc", "--json", "--seed", "5", "--listen", "127.0.0.1:0"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let people = process.stdin.take().expect("it is piped");
        let out = process.stdout.take().expect("it is piped");
        let process = Running(process);
        let mut text = String::new();
        let mut lines = BufReader::new(out);
        let facts: Value = loop {
            assert!(lines.read_line(&mut text).expect("a line") > 0, "{text}");
            if let Ok(facts) = serde_json::from_str(&text) {
                break facts;
            }
        };
        let address = facts["address"].as_str().expect("an address").to_owned();
        Self { _process: process, _people: people, address }
    }
}

/// `tidings serve` with a connection to the carrier in the test environment.
struct Subject {
    process: Option<Running>,
    directory: PathBuf,
    address: SocketAddr,
    token: String,
}

impl Subject {
    fn new(directory: &Path, connection: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it has one");
        drop(listener);
        let data = directory.join("data");
        let text = format!(
            "[data]\ndirectory = {data:?}\n[http]\nlisten = \"{address}\"\n\
             [codes]\nsender = \"+15550001111\"\nbrand = \"Acme\"\nresend_after_s = 6\n{connection}"
        );
        std::fs::write(directory.join("tidings.toml"), text).expect("written");
        let mut subject =
            Self { process: None, directory: directory.to_owned(), address, token: String::new() };
        subject.run(&["migrate"]);
        let made = subject.run(&[
            "token",
            "create",
            "--environment",
            "test",
            "--scope",
            "all",
            "--rate",
            "100000",
            "--json",
        ]);
        let made: Value = serde_json::from_slice(&made).expect("one JSON value");
        subject.token = made["token"].as_str().expect("a token").to_owned();
        subject.start();
        subject
    }

    /// With a carrier over SMPP.
    fn with(directory: &Path, carrier: &Carrier) -> Self {
        let subject = Self::new(
            directory,
            &format!(
                "[[connection]]\nname = \"acme\"\nkind = \"smpp\"\nenvironment = \"test\"\naddress = \"{}\"\n\
                 system_id = \"tidings\"\npassword = \"tidings\"\n",
                carrier.address
            ),
        );
        wait("the carrier is reached", || {
            let (_, connections) = subject.ask("GET", "/v1/connections", &Value::Null);
            connections["data"].as_array()?.iter().any(|one| one["state"] == "up").then_some(())
        });
        subject
    }

    /// Runs a command beside the server.
    fn run(&self, arguments: &[&str]) -> Vec<u8> {
        let output = Command::new(env!("CARGO_BIN_EXE_tidings"))
            .args(arguments)
            .arg("--config")
            .arg(self.directory.join("tidings.toml"))
            .output()
            .expect("it starts");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn start(&mut self) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.directory.join("log"))
            .expect("a file for the log");
        let process = Command::new(env!("CARGO_BIN_EXE_tidings"))
            .args(["serve", "-v", "--config"])
            .arg(self.directory.join("tidings.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("it starts");
        self.process = Some(Running(process));
        let address = self.address;
        wait("it serves", || TcpStream::connect(address).is_ok().then_some(()));
    }

    /// As `kill -9` does it.
    fn kill(&mut self) {
        drop(self.process.take());
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let (status, _, body) = self.exchange(method, path, "", body);
        (status, body)
    }

    fn exchange(&self, method: &str, path: &str, headers: &str, body: &Value) -> (u16, String, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n{headers}Connection: close\r\n\r\n{body}",
            self.token,
            body.len()
        )
        .expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, head.to_lowercase(), serde_json::from_str(body).unwrap_or(Value::Null))
    }

    /// Makes a code and gives its id.
    fn create(&self, to: &str, more: Value) -> String {
        let mut body = json!({ "to": to });
        body.as_object_mut().expect("it is one").extend(more.as_object().expect("it is one").clone());
        let (status, code) = self.ask("POST", "/v1/codes", &body);
        assert_eq!(status, 201, "{code}");
        code["id"].as_str().expect("an id").to_owned()
    }

    fn read(&self, id: &str) -> Value {
        let (status, code) = self.ask("GET", &format!("/v1/codes/{id}"), &Value::Null);
        assert_eq!(status, 200, "{code}");
        code
    }

    fn check(&self, id: &str, typed: &str) -> (u16, Value) {
        self.ask("POST", &format!("/v1/codes/{id}/check"), &json!({ "code": typed }))
    }

    /// The code as a phone of the test environment shows it.
    fn on_the_phone(&self, id: &str) -> String {
        let message = self.read(id)["message_id"].as_str().expect("an id").to_owned();
        let (status, message) = self.ask("GET", &format!("/v1/messages/{message}"), &Value::Null);
        assert_eq!(status, 200, "{message}");
        digits(message["text"].as_str().expect("a text"))
    }

    /// What people sent back so far.
    fn echoes(&self) -> Vec<String> {
        let (status, feed) = self.ask("GET", "/v1/events?limit=100", &Value::Null);
        assert_eq!(status, 200, "{feed}");
        let events = feed["data"].as_array().expect("a list").iter();
        let texts = events.filter(|event| event["type"] == "message.received");
        texts.map(|event| event["data"]["text"].as_str().expect("a text").to_owned()).collect()
    }
}

fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

/// One that is certainly wrong.
fn wrong(code: &str) -> String {
    code.chars().map(|digit| if digit == '1' { '2' } else { '1' }).collect()
}

fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..LOOKS {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(PAUSE);
    }
    panic!("{what}: it did not come");
}

#[test]
fn a_code_reaches_the_phone_comes_back_and_is_good_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let carrier = Carrier::start();
    let subject = Subject::with(directory.path(), &carrier);

    let body = json!({ "to": ECHO, "reference": "sign-in", "client_address": "2001:db8::1", "client_session": "s-1" });
    let key = "Idempotency-Key: one\r\n";
    let (status, _, made) = subject.exchange("POST", "/v1/codes", key, &body);
    assert_eq!((status, &made["status"], &made["sends"]), (201, &json!("pending"), &json!(1)), "{made}");
    let (status, head, same) = subject.exchange("POST", "/v1/codes", key, &body);
    assert!(status == 201 && same == made && head.contains("idempotency-replayed: true"), "{same}");
    let id = made["id"].as_str().expect("an id");

    let text = wait("the text comes back", || subject.echoes().pop());
    assert!(text.starts_with("Acme: your code is "), "{text}");
    let code = digits(&text);
    assert_eq!(code.len(), 6, "{text}");
    assert_eq!(subject.on_the_phone(id), code, "what a phone of the test environment shows");
    let (_, listed) = subject.ask("GET", "/v1/messages?limit=100", &Value::Null);
    assert!(!listed.to_string().contains(&code) && listed.to_string().contains("••••••"), "{listed}");

    let (status, checked) = subject.check(id, &wrong(&code));
    let expected = json!({ "id": id, "valid": false, "status": "pending", "tries_left": 4 });
    assert_eq!((status, checked), (200, expected));
    let typed = format!("{} {}", &code[..3], &code[3..]);
    let (status, checked) = subject.check(id, &typed);
    let expected = json!({ "id": id, "valid": true, "status": "approved", "tries_left": 0 });
    assert_eq!((status, checked), (200, expected));
    let (status, again) = subject.check(id, &code);
    assert_eq!((status, &again["code"]), (409, &json!("CODE_CLOSED")), "{again}");
    assert_eq!(subject.read(id)["status"], "approved");

    // The same code is sent again, once the carrier would not take the echo for the same text repeated (two seconds).
    let id = subject.create(ECHO, json!({}));
    wait("the second text comes back", || (subject.echoes().len() == 2).then_some(()));
    let first = digits(&subject.echoes()[1]);
    let sent = wait("it may be sent again", || {
        let (status, sent) = subject.ask("POST", &format!("/v1/codes/{id}/resend"), &Value::Null);
        assert!(status == 200 || status == 429, "{status} {sent}");
        (status == 200).then_some(sent)
    });
    assert_eq!(sent["sends"], 2, "{sent}");
    assert_ne!(sent["message_id"].as_str().map(|id| id[4..].to_owned()), Some(id[4..].to_owned()));
    wait("it comes again", || (subject.echoes().len() == 3).then_some(()));
    assert_eq!(digits(&subject.echoes()[2]), first);
    assert_eq!(subject.check(&id, &first).1["valid"], true);

    // Taken back.
    let id = subject.create(ECHO, json!({}));
    let (status, canceled) = subject.ask("POST", &format!("/v1/codes/{id}/cancel"), &Value::Null);
    assert_eq!((status, &canceled["status"]), (200, &json!("canceled")), "{canceled}");
    assert_eq!(subject.check(&id, "000000").0, 409);
    assert_eq!(subject.check("cod_0000000000001", "000000").0, 404);
}

#[test]
fn guesses_are_counted_one_after_the_other_and_a_killed_process_forgets_none() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut subject = Subject::new(directory.path(), "");

    // One after the other.
    let id = subject.create("+15550002222", json!({}));
    let code = subject.on_the_phone(&id);
    for left in (0..5).rev() {
        let (status, checked) = subject.check(&id, &wrong(&code));
        assert_eq!((status, checked["tries_left"].as_u64()), (200, Some(left)), "{checked}");
    }
    let (status, spent) = subject.check(&id, &code);
    assert_eq!((status, &spent["code"]), (429, &json!("CODE_SPENT")), "{spent}");

    // At the same moment.
    let id = subject.create("+15550002223", json!({}));
    let code = subject.on_the_phone(&id);
    let guesses: Vec<(u16, Value)> = std::thread::scope(|scope| {
        let guess = || subject.check(&id, &wrong(&code));
        let all: Vec<_> = (0..24).map(|_| scope.spawn(guess)).collect();
        all.into_iter().map(|guess| guess.join().expect("it does not panic")).collect()
    });
    let compared = guesses.iter().filter(|(status, _)| *status == 200).count();
    let refused = guesses.iter().filter(|(_, body)| body["code"] == "CODE_SPENT").count();
    assert_eq!((compared, refused), (5, 19), "{guesses:?}");
    assert_eq!(subject.check(&id, &code).0, 429);

    // Killed between the code and its check: what was tried is kept, and so is what the code is made of.
    let id = subject.create("+15550002224", json!({ "digits": 10 }));
    let code = subject.on_the_phone(&id);
    for _ in 0..4 {
        assert_eq!(subject.check(&id, &wrong(&code)).0, 200);
    }
    subject.kill();
    let copy = read_all(&directory.path().join("data"));
    assert!(!contains(&copy, code.as_bytes()), "a copy of the database has no code");
    let log = std::fs::read(directory.path().join("log")).expect("a log");
    assert!(!contains(&log, code.as_bytes()), "nor has the log");
    subject.start();
    assert_eq!(subject.on_the_phone(&id), code);
    let (status, checked) = subject.check(&id, &code);
    assert_eq!((status, &checked["valid"]), (200, &json!(true)), "{checked}");

    // The time of a code.
    let id = subject.create("+15550002225", json!({ "expires_in_s": 10 }));
    let code = subject.on_the_phone(&id);
    wait("it expires", || (subject.read(&id)["status"] == "expired").then_some(()));
    let (status, expired) = subject.check(&id, &code);
    assert_eq!((status, &expired["code"]), (410, &json!("CODE_EXPIRED")), "{expired}");
}

/// Issue of the promise: 200 numbers of one prefix are stopped before 60 codes.
#[test]
fn a_sweep_through_a_prefix_is_stopped_and_an_operator_lifts_that() {
    let directory = tempfile::tempdir().expect("a directory");
    let subject = Subject::new(directory.path(), "");
    let mut sent = 0;
    for n in 0..200 {
        let body = json!({
            "to": format!("+1555210{n:04}"),
            "client_address": format!("198.51.100.{n}"),
            "client_session": format!("session {n}"),
        });
        let (status, head, answer) = subject.exchange("POST", "/v1/codes", "", &body);
        match status {
            201 => sent += 1,
            _ => {
                assert_eq!((status, &answer["code"]), (429, &json!("VELOCITY_EXCEEDED")), "{answer}");
                assert_eq!(answer["errors"][0]["reason"], "prefix_stopped", "{answer}");
                assert!(head.contains("retry-after: "), "{head}");
            }
        }
    }
    assert!((30..60).contains(&sent), "{sent} codes");
    let (status, other) = subject.ask("POST", "/v1/codes", &json!({ "to": "+15552110000" }));
    assert_eq!(status, 201, "another prefix is free: {other}");

    let stops: Value =
        serde_json::from_slice(&subject.run(&["code", "stops", "--environment", "test", "--json"]))
            .expect("one JSON value");
    let stop = &stops[0];
    assert_eq!((&stop["prefix"], stop["sent"].as_u64()), (&json!("+1555210"), Some(sent)), "{stops}");
    let list = String::from_utf8(subject.run(&["code", "list", "--environment", "test"])).expect("a text");
    assert!(list.contains("cod_") && !list.contains("+15552100001"), "{list}");
    subject.run(&["code", "lift", "+1555210", "--environment", "test"]);
    let (status, after) = subject.ask("POST", "/v1/codes", &json!({ "to": "+15552100199" }));
    assert_eq!(status, 201, "{after}");

    // One number.
    let ask = || subject.ask("POST", "/v1/codes", &json!({ "to": "+15550003333" }));
    let answers: Vec<_> = (0..6).map(|_| ask()).collect();
    assert!(answers[..5].iter().all(|(status, _)| *status == 201), "{answers:?}");
    assert_eq!(answers[5].1["errors"][0]["reason"], "number", "{answers:?}");
    let mut stream = TcpStream::connect(subject.address).expect("it listens");
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut metrics = String::new();
    stream.read_to_string(&mut metrics).expect("it answers");
    assert!(metrics.contains("tidings_codes_refused_total{outcome=\"number\"} 1"), "{metrics}");
}

/// Every octet of every file in a directory.
fn read_all(directory: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(directory).expect("it is there") {
        let path = entry.expect("it is there").path();
        if path.is_dir() {
            all.extend(read_all(&path));
        } else {
            all.extend(std::fs::read(&path).expect("it can be read"));
        }
    }
    all
}

fn contains(all: &[u8], part: &[u8]) -> bool {
    all.windows(part.len()).any(|window| window == part)
}
