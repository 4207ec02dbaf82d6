//! A data directory with its configuration, and `tidings serve` over it.

#![allow(dead_code, reason = "each of the tests that have one needs a part of it")]

use serde_json::Value;
use std::io::{BufRead as _, BufReader, BufWriter, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tidings_domain::time::Timestamp;
use tidings_witness::http::Client;

/// How often a thing that must come is looked for, and the pause between: together two minutes.
const LOOKS: u32 = 12_000;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(10);

/// A data directory with its configuration, and what is done with it.
pub struct House {
    directory: PathBuf,
    token: String,
}

/// A process that ends with the test.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Waits for its end, and says how much memory it had at most: MiB.
    pub fn most_mib(mut self) -> u64 {
        let mut most = 0;
        while self.0.try_wait().expect("it is asked").is_none() {
            let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap_or_default();
            let peak =
                status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
            most = most.max(peak.and_then(|kib| kib.trim().parse::<u64>().ok()).unwrap_or(0) / 1024);
            std::thread::sleep(PAUSE);
        }
        most
    }
}

/// `tidings serve`, which ends with the test.
pub struct Served<'a> {
    process: Child,
    address: SocketAddr,
    house: &'a House,
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl House {
    /// In this directory, migrated, with a token of an environment.
    pub fn new(directory: &Path, environment: &str) -> Self {
        let mut house = Self { directory: directory.to_owned(), token: String::new() };
        house.configure("");
        house.run(&["migrate"]);
        let made = house.json(&["token", "create", "--environment", environment, "--scope", "all"]);
        house.token = made["token"].as_str().expect("a token").to_owned();
        house
    }

    pub fn file(&self) -> PathBuf {
        self.path("tidings.toml")
    }

    /// A file or directory beside the data.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The same as arguments have it.
    pub fn named(&self, name: &str) -> String {
        self.path(name).to_str().expect("text").to_owned()
    }

    /// Starts a command whose output nobody reads.
    pub fn start(&self, arguments: &[&str]) -> Running {
        Running(self.command(arguments).stdout(Stdio::null()).spawn().expect("it starts"))
    }

    /// Writes its configuration, with these sections.
    pub fn configure(&self, sections: &str) {
        let data = self.directory.join("data");
        let text = format!("[data]\ndirectory = {data:?}\n{sections}\n");
        std::fs::write(self.file(), text).expect("written");
    }

    /// A command, with the configuration.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
        command.args(arguments).arg("--config").arg(self.file()).stdin(Stdio::null());
        command
    }

    /// What a command prints that does not fail.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().expect("it starts");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// The same as JSON.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let printed = self.run(&[arguments, &["--json"]].concat());
        serde_json::from_str(&printed).expect("one JSON value")
    }

    /// What a command says that cannot be done.
    pub fn refusal(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().expect("it starts");
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8(output.stderr).expect("text")
    }

    /// What `tidings serve` says until it serves; it ends then.
    pub fn log_of_start(&self) -> String {
        let mut command = self.command(&["serve"]);
        command.env("TIDINGS_HTTP__LISTEN", "127.0.0.1:0").stdout(Stdio::null()).stderr(Stdio::piped());
        let mut running = Running(command.spawn().expect("it starts"));
        let lines = BufReader::new(running.0.stderr.take().expect("it has one")).lines();
        let mut log = String::new();
        for line in lines.map_while(Result::ok) {
            log.push_str(&line);
            log.push('\n');
            if line.contains("version") {
                return log;
            }
        }
        panic!("it does not serve: {log}");
    }

    pub fn serve(&self) -> Served<'_> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it has one");
        drop(listener);
        let process = self
            .command(&["serve"])
            .env("TIDINGS_HTTP__LISTEN", address.to_string())
            .stdout(Stdio::null())
            .spawn()
            .expect("it starts");
        let served = Served { process, address, house: self };
        wait("it serves", || TcpStream::connect(address).is_ok().then_some(()));
        served
    }
}

impl Served<'_> {
    pub fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut client = Client::new(self.address, &self.house.token);
        let answer = client.ask_again(method, path, None, &body).expect("it answers");
        (answer.status, answer.json())
    }

    /// The type, status and error of each event of a message.
    pub fn timeline(&self, id: &str) -> Vec<(String, String, String)> {
        let (status, timeline) = self.ask("GET", &format!("/v1/messages/{id}/timeline"), &Value::Null);
        assert_eq!(status, 200, "{timeline}");
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let events = timeline["events"].as_array().expect("a list").iter();
        events
            .map(|event| (word(&event["type"]), word(&event["status"]), word(&event["error"]["code"])))
            .collect()
    }

    pub fn is_delivered(&self, id: &str) {
        wait("it is delivered", || {
            let (_, shown) = self.ask("GET", &format!("/v1/messages/{id}"), &Value::Null);
            (shown["status"] == "delivered").then_some(())
        });
    }
}

/// Writes a table of so many numbers, each another and in no order. `row` gives what stands behind the number of each.
pub fn table(path: &str, headings: &str, rows: u64, row: impl Fn(u64) -> String) {
    let mut file = BufWriter::new(std::fs::File::create(path).expect("it is made"));
    writeln!(file, "{headings}").expect("written");
    for n in 0..rows {
        writeln!(file, "+4670{:07},{}", n * 7_919 % 10_000_000, row(n)).expect("written");
    }
    file.flush().expect("written");
}

/// Looks until it is there.
pub fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..LOOKS {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(PAUSE);
    }
    panic!("{what}: it did not come");
}

pub fn now() -> Timestamp {
    Timestamp::from_millis(tidings_witness::clock::wall_ms())
}

pub fn time(text: &Value) -> Timestamp {
    Timestamp::parse(text.as_str().expect("a time")).expect("it is one")
}
