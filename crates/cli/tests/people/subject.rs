//! The real binary with a connection to a carrier of the test, and what programs see of it over HTTP.

use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tidings_witness::http::Client;

/// How often a thing that must come is looked for, and the pause between: together two minutes.
const LOOKS: u32 = 1_200;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

pub const PERSON: &str = "+15550002222";
pub const SENDER: &str = "+15550001111";

/// A process that ends with the test.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `tidings serve` with a connection to the carrier in the test environment.
pub struct Subject {
    process: Running,
    file: PathBuf,
    address: SocketAddr,
    token: String,
}

impl Subject {
    /// With this carrier, and these further lines of configuration.
    pub fn start(directory: &Path, carrier: &str, more: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it has one");
        drop(listener);
        let file = directory.join("tidings.toml");
        let data = directory.join("data");
        let text = format!(
            "[data]\ndirectory = {data:?}\n[http]\nlisten = \"{address}\"\n\
             [replies]\nbrand = \"Acme Clinic\"\nhelp = \"+1 555 0100\"\n\
             [[connection]]\nname = \"acme\"\nkind = \"smpp\"\nenvironment = \"test\"\naddress = \"{carrier}\"\n\
             system_id = \"tidings\"\npassword = \"tidings\"\n{more}"
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
        let token = made["token"].as_str().expect("a token").to_owned();
        Self { process: serve(&file, address), file, address, token }
    }

    /// Ends it at once, as if the machine lost its power, and starts it again.
    pub fn kill_and_start(&mut self) {
        self.process.0.kill().expect("it runs");
        self.process.0.wait().expect("it ended");
        self.process = serve(&self.file, self.address);
    }

    /// What a program needs to speak to it: its address, a token, and a command line for its data.
    pub fn variables(&self) -> [(&'static str, String); 3] {
        let command = format!("{} --config {}", env!("CARGO_BIN_EXE_tidings"), self.file.display());
        [
            ("TIDINGS_URL", format!("http://{}", self.address)),
            ("TIDINGS_TOKEN", self.token.clone()),
            ("TIDINGS_COMMAND", command),
        ]
    }

    /// Waits until the carrier is reached.
    pub fn reaches_carrier(&self) {
        wait("the carrier is reached", || {
            let (_, connections) = self.ask("GET", "/v1/connections", &Value::Null);
            connections["data"].as_array()?.iter().any(|one| one["state"] == "up").then_some(())
        });
    }

    /// How consent to offers by text and by recorded voice stands.
    pub fn consent(&self) -> Vec<String> {
        let to = PERSON.replace('+', "%2B");
        let (status, proof) = self.ask("GET", &format!("/v1/consents/proof?to={to}"), &Value::Null);
        assert_eq!(status, 200, "{proof}");
        let standing = proof["standing"].as_array().expect("a list").iter();
        standing.map(|one| one["state"].as_str().expect("a word").to_owned()).collect()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// What a command on its data shows.
    pub fn command(&self, arguments: &[&str]) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_tidings"))
            .args(arguments)
            .arg("--config")
            .arg(&self.file)
            .output()
            .expect("it starts");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    pub fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut client = Client::new(self.address, &self.token);
        let answer = client.ask_again(method, path, None, &body).expect("it answers");
        (answer.status, answer.json())
    }

    pub fn send(&self, more: Value) -> (u16, Value) {
        let mut body = json!({ "from": SENDER, "to": PERSON, "text": "Your appointment is tomorrow." });
        body.as_object_mut().expect("it is one").extend(more.as_object().expect("it is one").clone());
        self.ask("POST", "/v1/messages", &body)
    }

    pub fn messages(&self) -> Vec<Value> {
        let (status, page) = self.ask("GET", "/v1/messages?limit=100", &Value::Null);
        assert_eq!(status, 200, "{page}");
        page["data"].as_array().expect("a list").clone()
    }

    /// The replies of a kind, each with its text.
    pub fn replies(&self, kind: &str) -> Vec<String> {
        let replies = self.messages().into_iter().filter(|message| message["reply"]["kind"] == kind);
        replies.map(|message| message["text"].as_str().expect("a text").to_owned()).collect()
    }

    /// The events of a type so far.
    pub fn events(&self, kind: &str) -> Vec<Value> {
        let mut all: Vec<Value> = Vec::new();
        let mut after = String::new();
        loop {
            let (status, feed) = self.ask("GET", &format!("/v1/events?limit=100{after}"), &Value::Null);
            assert_eq!(status, 200, "{feed}");
            let page = feed["data"].as_array().expect("a list");
            if page.is_empty() {
                return all;
            }
            all.extend(page.iter().filter(|event| event["type"] == kind).cloned());
            after = format!("&after={}", feed["next"].as_str().expect("an id"));
        }
    }

    /// Waits until so many texts of people were received.
    pub fn received(&self, count: usize) {
        wait("texts are received", || (self.events("message.received").len() >= count).then_some(()));
    }
}

fn serve(file: &Path, address: SocketAddr) -> Running {
    let process = Command::new(env!("CARGO_BIN_EXE_tidings"))
        .args(["serve", "--config"])
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    let process = Running(process);
    wait("it serves", || TcpStream::connect(address).is_ok().then_some(()));
    process
}

pub fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..LOOKS {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(PAUSE);
    }
    panic!("{what}: it did not come");
}
