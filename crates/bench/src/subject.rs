//! The server that is measured: prepared in a directory of its own, started, and gone when its owner is.

use crate::clock;
use crate::limit;
use crate::load::SENDER;
use crate::poll::{digits, head};
use crate::tool::Arguments;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long a start may take: milliseconds. Much may have to be recovered.
const START_MS: u64 = 300_000;
/// How long a stop may take: milliseconds.
const STOP_MS: u64 = 60_000;
/// The kinds of events that end a message.
const FINAL: &str = r#""message.delivered","message.undelivered","message.failed","message.rejected","message.expired","message.canceled","message.unconfirmed""#;

/// What is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// This binary of Tidings.
    Tidings(PathBuf),
    /// The lean program, [`crate::limit`], which this binary of the benchmark has in it.
    Limit(PathBuf),
}

impl std::fmt::Display for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tidings(binary) => write!(f, "{}", binary.display()),
            Self::Limit(_) => f.write_str("the lean program"),
        }
    }
}

/// What is measured, and what it is told.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The program.
    pub program: Program,
    /// Processes that serve one database, which must be PostgreSQL then. There are as many
    /// connections to the carrier, which they share out.
    pub nodes: usize,
    /// SMPP sessions of each connection.
    pub binds: u32,
    /// Unanswered submissions of each session.
    pub window: u32,
    /// Whether the webhook endpoint wants every event, and not only the ends.
    pub all_events: bool,
    /// Whether there is a second connection, for recipients in Norway, whose carrier is never there.
    pub second: bool,
    /// Whether the gate has rules for every message: see [`GATED`].
    pub gated: bool,
}

/// Rules that concern every message of every profile, and stop none: what is asked costs what it costs. Consent is not among
/// them, since nobody of these millions gave any.
const GATED: &str = r#"[quiet_hours]
purposes = ["transactional", "marketing"]
window = "00:00-24:00"
[frequency]
purposes = ["transactional", "marketing"]
per_day = 100
per_week = 100
[spend]
prices = ["46: 0.045", "4670: 0.05"]
other = 0.15
per_day = 100000000
[content]
purposes = ["transactional", "marketing"]
brands = ["Acme"]
[senders]
only_listed = true
[[sender]]
value = "SENDER"
purposes = ["transactional", "marketing", "authentication", "alert"]
daily_limit = 1000000000
"#;

/// A prepared server.
#[derive(Debug)]
pub struct Subject {
    setup: Setup,
    directory: PathBuf,
    /// Of each node.
    addresses: Vec<SocketAddr>,
    carrier: String,
    sink: String,
    knows_the_sink: bool,
    token: String,
}

impl Subject {
    /// Writes the configuration, and makes the data directory with a token that may do everything. If a token is
    /// given, the directory is there, knows it, and knows the sink.
    ///
    /// # Errors
    /// A sentence about the command that failed, with what it said.
    pub fn prepare(
        setup: Setup,
        directory: &Path,
        carrier: &str,
        sink: &str,
        token: Option<String>,
    ) -> Result<Self, String> {
        // The ports must be known before the start. Another program could take one between here and there; the start
        // would say so.
        let listeners =
            (0..setup.nodes).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<io::Result<Vec<_>>>();
        let addresses =
            listeners.and_then(|listeners| listeners.iter().map(TcpListener::local_addr).collect());
        let addresses = addresses.map_err(|error| format!("no free port: {error}"))?;
        let mut subject = Self {
            setup,
            directory: directory.to_owned(),
            addresses,
            carrier: carrier.to_owned(),
            sink: sink.to_owned(),
            knows_the_sink: token.is_some(),
            token: token.unwrap_or_else(|| "of-the-lean-program".to_owned()),
        };
        let Program::Tidings(binary) = subject.setup.program.clone() else { return Ok(subject) };
        for node in 0..subject.setup.nodes {
            fs::write(subject.configuration_file(node), subject.configuration(node))
                .map_err(|error| format!("the configuration could not be written: {error}"))?;
        }
        subject.command(&binary, &["migrate"])?;
        if subject.knows_the_sink {
            return Ok(subject);
        }
        let making =
            ["token", "create", "--environment", "live", "--scope", "all", "--rate", "10000000", "--json"];
        let made = subject.command(&binary, &making)?;
        let made: serde_json::Value = serde_json::from_str(&made)
            .map_err(|error| format!("`token create --json` gave no JSON ({error}): {made}"))?;
        made["token"]
            .as_str()
            .ok_or("`token create --json` shows no `token`")?
            .clone_into(&mut subject.token);
        Ok(subject)
    }

    fn configuration_file(&self, node: usize) -> PathBuf {
        self.file(&format!("tidings{node}.toml"))
    }

    /// The connections: one for each node, all to one carrier.
    fn connections(&self) -> String {
        let Setup { nodes, binds, window, .. } = self.setup;
        let connection = |place: usize| {
            let of_carrier = if nodes > 1 { r#"carrier = "bench""# } else { "" };
            format!(
                r#"[[connection]]
name = "bench{place}"
kind = "smpp"
environment = "live"
address = "{carrier}"
system_id = "tidings{place}"
password = "bench"
binds = {binds}
window = {window}
{of_carrier}
"#,
                carrier = self.carrier
            )
        };
        (0..nodes).map(connection).collect()
    }

    fn configuration(&self, node: usize) -> String {
        // Port 1 is reserved for what nobody uses, so nobody listens there.
        let second = r#"[[connection]]
name = "closed"
kind = "smpp"
environment = "live"
prefixes = ["47"]
address = "127.0.0.1:1"
system_id = "tidings"
password = "bench"
"#;
        let second = if self.setup.second { second } else { "" };
        let gated = if self.setup.gated { GATED.replace("SENDER", SENDER) } else { String::new() };
        format!(
            r#"[data]
directory = {data:?}
[node]
name = "bench{node}"
[http]
listen = "{address}"
[log]
format = "json"
level = "info"
[limits]
messages_per_minute = 1000000
[webhooks]
allow_http = true
allow_loopback = true
ports = []
{gated}{connections}{second}"#,
            data = if node == 0 { self.data() } else { self.file(&format!("data{node}")) },
            address = self.addresses[node],
            connections = self.connections(),
        )
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.file("data")
    }

    /// Where its API is, at each node, with commas between.
    pub fn addresses(&self) -> String {
        self.addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(",")
    }

    /// The token that it takes.
    pub fn token(&self) -> &str {
        &self.token
    }

    fn command(&self, binary: &Path, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(binary)
            .args(arguments)
            .arg("--config")
            .arg(self.configuration_file(0))
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("{} does not start: {error}", binary.display()))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("`tidings {}` ended with {}: {said}", arguments.join(" "), output.status));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn serving(&self, node: usize) -> Command {
        match &self.setup.program {
            Program::Tidings(binary) => {
                let mut command = Command::new(binary);
                command.arg("serve").arg("--config").arg(self.configuration_file(node));
                command
            }
            Program::Limit(binary) => {
                let mut command = Command::new(binary);
                let window = self.setup.binds * self.setup.window;
                let arguments = Arguments::default()
                    .with("data", self.data().display())
                    .with("listen", self.addresses[node])
                    .with("carrier", &self.carrier)
                    .with("webhook", &self.sink)
                    .with("token", &self.token)
                    .with("window", window);
                command.arg(limit::NAME).args(arguments.list());
                command
            }
        }
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// It cannot be started, or ended by itself; with the end of its log.
    pub fn start(&self) -> Result<Running, String> {
        let mut running = Running { children: Vec::new() };
        for node in 0..self.setup.nodes {
            let log = File::create(self.log(node)).map_err(|error| format!("no log: {error}"))?;
            let out = log.try_clone().map_err(|error| format!("no log: {error}"))?;
            let child = self
                .serving(node)
                .stdin(Stdio::null())
                .stdout(out)
                .stderr(log)
                .spawn()
                .map_err(|error| format!("the server does not start: {error}"))?;
            running.children.push(child);
            let mut ended = false;
            let ready = clock::wait_until(START_MS, 5, || {
                ended = running.has_ended();
                ended || self.ask_at(node, "GET", "/readyz", "").is_ok_and(|(status, _)| status == 200)
            });
            if ended || !ready {
                let how = if ended { "it ended by itself" } else { "it is not ready in time" };
                return Err(format!("{how}\n{}", self.log_end(20)));
            }
        }
        Ok(running)
    }

    /// Makes the webhook endpoint. The server must run.
    ///
    /// # Errors
    /// What the API said.
    pub fn add_webhook(&self) -> Result<(), String> {
        if self.knows_the_sink || matches!(self.setup.program, Program::Limit(_)) {
            return Ok(());
        }
        let sink = &self.sink;
        let events = if self.setup.all_events { String::new() } else { format!(r#","events":[{FINAL}]"#) };
        let body = format!(r#"{{"url":"http://{sink}/webhooks","description":"the bench"{events}}}"#);
        match self.ask("POST", "/v1/webhooks", &body) {
            Ok((201, _)) => Ok(()),
            Ok((status, said)) => Err(format!("POST /v1/webhooks: {status} {said}")),
            Err(error) => Err(format!("POST /v1/webhooks: {error}")),
        }
    }

    /// One request on a connection of its own: the status and the body of its answer.
    ///
    /// # Errors
    /// There was none.
    pub fn ask(&self, method: &str, target: &str, body: &str) -> io::Result<(u64, String)> {
        self.ask_at(0, method, target, body)
    }

    fn ask_at(&self, node: usize, method: &str, target: &str, body: &str) -> io::Result<(u64, String)> {
        let address = self.addresses[node];
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            address,
            self.token,
            body.len()
        );
        stream.write_all(request.as_bytes())?;
        let (mut octets, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            if let Some(head) = head(&octets)
                && octets.len() >= head.length + head.body
            {
                let body = String::from_utf8_lossy(&octets[head.length..]).into_owned();
                return Ok((octets.get(9..12).map_or(0, digits), body));
            }
            match stream.read(&mut buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => octets.extend_from_slice(&buffer[..length]),
            }
        }
    }

    fn log(&self, node: usize) -> PathBuf {
        self.file(&format!("log{node}"))
    }

    fn logs(&self) -> impl Iterator<Item = String> {
        (0..self.setup.nodes).map(|node| {
            let text = fs::read(self.log(node)).unwrap_or_default();
            String::from_utf8_lossy(&text).into_owned()
        })
    }

    /// The last lines of each node's log.
    pub fn log_end(&self, lines: usize) -> String {
        let end = |text: String| {
            let all: Vec<&str> = text.lines().collect();
            all[all.len().saturating_sub(lines)..].join("\n")
        };
        self.logs().map(end).collect::<Vec<_>>().join("\n--\n")
    }

    /// Lines of its log that are warnings, errors or panics: how many, and the first few. What it says about its
    /// configuration, which is not one for strangers, and about a carrier that is away on purpose does not count.
    pub fn complaints(&self, most: usize) -> (usize, Vec<String>) {
        let text = self.logs().collect::<Vec<_>>().concat();
        let bad = |line: &&str| ["\"ERROR\"", "\"WARN\"", "panicked"].iter().any(|word| line.contains(word));
        let expected = ["\"tidings::serve\"", "cannot reach the address", "SMPP session is down"];
        let known =
            |line: &&str| line.contains("\"WARN\"") && expected.iter().any(|words| line.contains(words));
        let bad: Vec<&str> = text.lines().filter(bad).filter(|line| !known(line)).collect();
        (bad.len(), bad.into_iter().take(most).map(str::to_owned).collect())
    }
}

/// The server, running. It is ended by force when this is dropped.
#[derive(Debug)]
pub struct Running {
    children: Vec<Child>,
}

impl Running {
    /// Its processes.
    pub fn pids(&self) -> Vec<u32> {
        self.children.iter().map(Child::id).collect()
    }

    /// Whether a node ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.children.iter_mut().any(|child| !matches!(child.try_wait(), Ok(None)))
    }

    /// Asks it to stop and waits: the milliseconds that it took.
    ///
    /// # Errors
    /// It does not stop, or not well.
    pub fn stop(mut self) -> Result<u64, String> {
        let began = clock::now();
        for pid in self.pids() {
            let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).ok_or("no process")?;
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)
                .map_err(|error| format!("the server cannot be asked to stop: {error}"))?;
        }
        for child in &mut self.children {
            let mut status = None;
            clock::wait_until(STOP_MS, 5, || {
                status = child.try_wait().ok().flatten();
                status.is_some()
            });
            match status {
                Some(status) if status.success() => {}
                Some(status) => return Err(format!("the server ended with {status}")),
                None => return Err("the server does not stop".to_owned()),
            }
        }
        Ok((clock::now() - began) / clock::MS)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // They may have ended by themselves; then there is nothing to end.
        for child in &mut self.children {
            drop(child.kill());
            drop(child.wait());
        }
    }
}
