//! People write STOP, START and HELP, over SMPP, to the real binary; and the stories of `examples/people`, which go through
//! everything that people say. They need Python; where it is missing that is said in a line, and
//! `TIDINGS_TEST_REQUIRE=python` makes it fail.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use tidings_domain::time::Timestamp;

/// How often a thing that must come is looked for, and the pause between: together two minutes.
const LOOKS: u32 = 1_200;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

const PERSON: &str = "+15550002222";
const SENDER: &str = "+15550001111";

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
    people: ChildStdin,
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
        // One value over several lines.
        let mut text = String::new();
        let mut lines = BufReader::new(out);
        let facts: Value = loop {
            assert!(lines.read_line(&mut text).expect("a line") > 0, "{text}");
            if let Ok(facts) = serde_json::from_str(&text) {
                break facts;
            }
        };
        let address = facts["address"].as_str().expect("an address").to_owned();
        Self { _process: process, people, address }
    }

    fn says(&mut self, from: &str, text: &str) {
        writeln!(self.people, "{from} {SENDER} {text}").expect("it reads");
        self.people.flush().expect("it reads");
    }
}

/// `tidings serve` with a connection to the carrier in the test environment.
struct Subject {
    _process: Running,
    address: SocketAddr,
    token: String,
}

impl Subject {
    fn start(directory: &Path, carrier: &str, brand: &str, more: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it has one");
        drop(listener);
        let file = directory.join("tidings.toml");
        let data = directory.join("data");
        let text = format!(
            "[data]\ndirectory = {data:?}\n[http]\nlisten = \"{address}\"\n\
             [replies]\nbrand = \"{brand}\"\nhelp = \"+1 555 0100\"\n{more}\
             [[connection]]\nname = \"acme\"\nkind = \"smpp\"\nenvironment = \"test\"\naddress = \"{carrier}\"\n\
             system_id = \"tidings\"\npassword = \"tidings\"\n"
        );
        std::fs::write(&file, text).expect("written");
        let run = |arguments: &[&str]| {
            let output = Command::new(env!("CARGO_BIN_EXE_tidings"))
                .args(arguments)
                .arg("--config")
                .arg(&file)
                .output()
                .expect("it starts");
            assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
            output.stdout
        };
        run(&["migrate"]);
        let made =
            run(&["token", "create", "--environment", "test", "--scope", "all", "--rate", "10000", "--json"]);
        let made: Value = serde_json::from_slice(&made).expect("one JSON value");
        let process = Command::new(env!("CARGO_BIN_EXE_tidings"))
            .args(["serve", "--config"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("it starts");
        let token = made["token"].as_str().expect("a token").to_owned();
        let subject = Self { _process: Running(process), address, token };
        wait("it serves", || TcpStream::connect(address).is_ok().then_some(()));
        subject
    }

    /// Waits until the carrier is reached.
    fn wait_for_carrier(&self) {
        wait("the carrier is reached", || {
            let (_, connections) = self.ask("GET", "/v1/connections", &Value::Null);
            connections["data"].as_array()?.iter().any(|one| one["state"] == "up").then_some(())
        });
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.token,
            body.len()
        )
        .expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    fn send(&self, more: Value) -> (u16, Value) {
        let mut body = json!({ "from": SENDER, "to": PERSON, "text": "Your appointment is tomorrow." });
        body.as_object_mut().expect("it is one").extend(more.as_object().expect("it is one").clone());
        self.ask("POST", "/v1/messages", &body)
    }

    fn messages(&self) -> Vec<Value> {
        let (status, page) = self.ask("GET", "/v1/messages?limit=100", &Value::Null);
        assert_eq!(status, 200, "{page}");
        page["data"].as_array().expect("a list").clone()
    }

    /// The replies of a kind, each with its text.
    fn replies(&self, kind: &str) -> Vec<String> {
        let replies = self.messages().into_iter().filter(|message| message["reply"]["kind"] == kind);
        replies.map(|message| message["text"].as_str().expect("a text").to_owned()).collect()
    }

    /// The events of a type so far.
    fn events(&self, kind: &str) -> Vec<Value> {
        let (status, feed) = self.ask("GET", "/v1/events?limit=100", &Value::Null);
        assert_eq!(status, 200, "{feed}");
        let all = feed["data"].as_array().expect("a list").iter();
        all.filter(|event| event["type"] == kind).cloned().collect()
    }

    /// How consent to offers by text and by recorded voice stands.
    fn consent(&self) -> Vec<String> {
        let to = PERSON.replace('+', "%2B");
        let (status, proof) = self.ask("GET", &format!("/v1/consents/proof?to={to}"), &Value::Null);
        assert_eq!(status, 200, "{proof}");
        let standing = proof["standing"].as_array().expect("a list").iter();
        standing.map(|one| one["state"].as_str().expect("a word").to_owned()).collect()
    }

    /// Waits until so many texts of people were received.
    fn received(&self, count: usize) {
        wait("texts are received", || (self.events("message.received").len() >= count).then_some(()));
    }
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

/// P-22
#[test]
fn people_who_write_stop_start_and_help_are_heard() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut carrier = Carrier::start();
    let subject = Subject::start(directory.path(), &carrier.address, "Acme Clinic", "");

    subject.wait_for_carrier();
    let consent = json!({
        "to": PERSON, "act": "written", "channels": ["text", "recorded_voice"], "method": "form",
        "wording": "I agree to offers.", "place": "https://clinic.example/join", "seller": "Acme Clinic",
    });
    let (status, recorded) = subject.ask("POST", "/v1/consents", &consent);
    assert_eq!(status, 201, "{recorded}");
    assert_eq!(subject.consent(), ["granted", "granted"]);

    let (status, scheduled) = subject.send(json!({ "send_at": in_days(20) }));
    assert_eq!(status, 202, "{scheduled}");
    let scheduled = scheduled["id"].as_str().expect("an id").to_owned();

    for _ in 0..3 {
        carrier.says(PERSON, "Stop!");
        carrier.says(PERSON, "STOP");
    }
    let shown = wait("the scheduled message ends", || {
        let (_, shown) = subject.ask("GET", &format!("/v1/messages/{scheduled}"), &Value::Null);
        (shown["status"] == "rejected").then_some(shown)
    });
    assert_eq!(shown["error"]["code"], "OPTED_OUT", "{shown}");
    wait("the confirmation is delivered", || {
        let messages = subject.messages();
        messages
            .iter()
            .any(|m| m["reply"]["kind"] == "opt_out_confirmation" && m["status"] == "delivered")
            .then_some(())
    });
    let (status, refused) = subject.send(json!({}));
    assert_eq!((status, refused["code"].as_str()), (422, Some("OPTED_OUT")), "{refused}");
    let out = subject.events("contact.opted_out");
    assert_eq!((out.len(), out[0]["data"]["keyword"].as_str()), (1, Some("stop")), "{out:?}");

    assert_eq!(subject.consent(), ["revoked", "revoked"], "a text closes recorded calls too");

    carrier.says(PERSON, "help");
    carrier.says(PERSON, "START");
    wait("the person is off the list", || subject.events("contact.opted_in").pop());
    assert_eq!(subject.consent(), ["granted", "revoked"], "and opens texts only");
    let expected =
        ["Acme Clinic: You are unsubscribed and will get no further texts from us. Reply START to undo."];
    assert_eq!(subject.replies("opt_out_confirmation"), expected, "one, however often it was said");
    assert_eq!(subject.replies("help"), [""; 0], "who opted out gets nothing else");
    assert_eq!(subject.replies("opt_in_confirmation").len(), 1);
    let (status, accepted) = subject.send(json!({}));
    assert_eq!(status, 202, "{accepted}");
    let (status, scheduled) = subject.send(json!({ "send_at": in_days(20) }));
    assert_eq!(status, 202, "{scheduled}");
    let scheduled = scheduled["id"].as_str().expect("an id").to_owned();

    carrier.says(PERSON, "HELP");
    let help = wait("help comes", || subject.replies("help").pop());
    assert_eq!(help, "Acme Clinic. Questions: +1 555 0100. Msg&data rates may apply. Reply STOP to stop.");

    let before = subject.events("message.received").len();
    carrier.says(PERSON, "I think you have the wrong number");
    subject.received(before + 1);
    let (_, groups) = subject.ask("GET", "/v1/review/groups", &Value::Null);
    let group = &groups["data"][0];
    assert!(group["example_inbound_id"].is_string() && group["example_message_id"].is_null(), "{groups}");
    let decision = json!({ "cause": group["cause"], "decision": "suppress" });
    let (status, decided) = subject.ask("POST", "/v1/review/decisions", &decision);
    assert_eq!((status, decided["closed"].as_u64()), (200, Some(1)), "{decided}");
    assert_eq!(subject.send(json!({})).0, 422);
    let shown = wait("what was scheduled ends by somebody's decision too", || {
        let (_, shown) = subject.ask("GET", &format!("/v1/messages/{scheduled}"), &Value::Null);
        (shown["status"] == "rejected").then_some(shown)
    });
    assert_eq!(shown["error"]["code"], "OPTED_OUT", "{shown}");
}

/// A moment so many days from now.
fn in_days(days: i64) -> String {
    Timestamp::from_millis(tidings_witness::clock::wall_ms() + days * 86_400_000).to_string()
}

/// Tells a story of `examples/people`: what it prints are texts of people.
fn tell(story: &str, brand: &str, required: &str) {
    if !Command::new("python3").arg("--version").stdout(Stdio::null()).status().is_ok_and(|s| s.success()) {
        let required = std::env::var("TIDINGS_TEST_REQUIRE").unwrap_or_default();
        assert!(!required.split(',').any(|word| word == "python"), "{story} needs python3");
        drop(writeln!(
            std::io::stderr(),
            "skipped: examples/people/{story} (python3 is not on this machine)"
        ));
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let mut carrier = Carrier::start();
    let rules = format!("[consent]\nrequired = [\"{required}\"]\n");
    let subject = Subject::start(directory.path(), &carrier.address, brand, &rules);
    subject.wait_for_carrier();
    let configuration = directory.path().join("tidings.toml");
    let mut story = Running(
        Command::new("python3")
            .arg("-B")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/people").join(story))
            .env("TIDINGS_URL", format!("http://{}", subject.address))
            .env("TIDINGS_TOKEN", &subject.token)
            .env(
                "TIDINGS_COMMAND",
                format!("{} --config {}", env!("CARGO_BIN_EXE_tidings"), configuration.display()),
            )
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts"),
    );
    for text in BufReader::new(story.0.stdout.take().expect("it is piped")).lines() {
        writeln!(carrier.people, "{}", text.expect("a line")).expect("it reads");
        carrier.people.flush().expect("it reads");
    }
    assert!(story.0.wait().expect("it ends").success(), "the story does not hold: see above");
}

#[test]
fn the_story_of_the_clinic_holds() {
    tell("clinic.py", "Hill Clinic", "transactional");
}

#[test]
fn the_story_of_the_shop_holds() {
    tell("shop.py", "Corner Shop", "marketing");
}
