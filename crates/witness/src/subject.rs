//! The binary under watch: set up in a directory of its own, started, ended by force or by request, and gone when the
//! witness is, also if a test panics.

use crate::clock;
use crate::http::Client;
use crate::random::Random;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// How long a start may take: milliseconds.
pub const START_BOUND_MS: u64 = 30_000;

/// What the binary is told.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The binary.
    pub binary: PathBuf,
    /// SMPP sessions.
    pub sessions: u32,
    /// Unanswered submissions of each session.
    pub window: u32,
}

/// A prepared installation: configuration, data directory, token.
#[derive(Debug)]
pub struct Subject {
    setup: Setup,
    place: Directory,
    address: SocketAddr,
    token: String,
    variables: Vec<(String, String)>,
}

impl Subject {
    /// Writes the configuration, makes the data directory, and makes a token that may do everything in live.
    ///
    /// # Errors
    /// A sentence about the command that failed, with what it said.
    pub fn prepare(setup: Setup, carrier: SocketAddr) -> Result<Self, String> {
        Self::prepare_over(setup, carrier, None)
    }

    /// The same over a PostgreSQL database with this address, which is brought up to date.
    ///
    /// # Errors
    /// As for [`Subject::prepare`].
    pub fn prepare_over(setup: Setup, carrier: SocketAddr, url: Option<&str>) -> Result<Self, String> {
        let place = Directory::new().map_err(|error| format!("no directory of our own: {error}"))?;
        // The port must stay the same over restarts, so it cannot be left to the binary. Another program could take
        // it between here and the start; the start would say so.
        let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = address.map_err(|error| format!("no free port: {error}"))?;
        let mut subject = Self { setup, place, address, token: String::new(), variables: Vec::new() };
        fs::write(subject.file("tidings.toml"), subject.configuration(carrier, url))
            .map_err(|error| format!("the configuration could not be written: {error}"))?;
        subject.command(&["migrate"])?;
        let made = subject.command(&[
            "token",
            "create",
            "--environment",
            "live",
            "--scope",
            "all",
            "--rate",
            "10000000",
            "--json",
        ])?;
        let made: serde_json::Value = serde_json::from_str(&made)
            .map_err(|error| format!("`token create --json` gave no JSON ({error}): {made}"))?;
        made["token"]
            .as_str()
            .ok_or("`token create --json` shows no `token`")?
            .clone_into(&mut subject.token);
        Ok(subject)
    }

    fn configuration(&self, carrier: SocketAddr, url: Option<&str>) -> String {
        let url = url.map_or_else(String::new, |url| format!("url = {url:?}\n"));
        let (data, window, sessions) = (self.file("data"), self.setup.window, self.setup.sessions);
        format!(
            r#"[data]
directory = {data:?}
{url}[http]
listen = "{address}"
[log]
format = "json"
level = "info"
[limits]
messages_per_minute = 1000000
[retry]
first_delay_s = 1
max_delay_s = 5
max_tries = 100
[webhooks]
allow_http = true
allow_loopback = true
ports = []
[[connection]]
name = "witness"
kind = "smpp"
environment = "live"
address = "{carrier}"
system_id = "tidings"
password = "witness"
status_codes = ["smpp", "simulator"]
receipt_codes = ["gsm-map", "simulator"]
binds = {sessions}
window = {window}
"#,
            address = self.address,
        )
    }

    /// A file of its directory: the configuration is `tidings.toml`, the data directory `data`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.place.path.join(name)
    }

    /// Runs a command with its configuration: what it printed.
    ///
    /// # Errors
    /// It cannot be started or does not succeed; with what it said.
    pub fn command(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(&self.setup.binary)
            .arg(arguments[0])
            .args(arguments[1..].iter().copied())
            .arg("--config")
            .arg(self.file("tidings.toml"))
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("{} does not start: {error}", self.setup.binary.display()))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("`tidings {}` ended with {}: {said}", arguments.join(" "), output.status));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Where its API listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes a key of its configuration, as a variable of the environment: from the next start on.
    pub fn set(&mut self, key: &str, value: impl std::fmt::Display) {
        self.variables.push((format!("TIDINGS_{key}"), value.to_string()));
    }

    /// A client of its API, with its token.
    pub fn client(&self) -> Client {
        Client::new(self.address, &self.token)
    }

    /// Makes a webhook endpoint for all events. The binary must run.
    ///
    /// # Errors
    /// What the API said.
    pub fn add_webhook(&self, url: &str) -> Result<(), String> {
        let body = serde_json::json!({ "url": url, "description": "the witness" }).to_string();
        match self.client().ask("POST", "/v1/webhooks", None, &body) {
            Ok(answer) if answer.status == 201 => Ok(()),
            Ok(answer) => {
                Err(format!("POST /v1/webhooks: {} {}", answer.status, String::from_utf8_lossy(&answer.body)))
            }
            Err(error) => Err(format!("POST /v1/webhooks: {error}")),
        }
    }

    /// Starts it; it is not ready yet.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&self) -> Result<Running, String> {
        let log = OpenOptions::new().create(true).append(true).open(self.file("log"));
        let log = log.and_then(|mut log| {
            writeln!(log, "--- start at {} ms ---", clock::now().0 / 1_000_000)?;
            Ok((log.try_clone()?, log))
        });
        let (out, err) = log.map_err(|error| format!("no log: {error}"))?;
        Command::new(&self.setup.binary)
            .arg("serve")
            .arg("--config")
            .arg(self.file("tidings.toml"))
            .envs(self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())))
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .map(|child| Running { child })
            .map_err(|error| format!("`tidings serve` does not start: {error}"))
    }

    /// Waits until the API answers.
    ///
    /// # Errors
    /// It ended, or it does not answer in time; with the end of its log.
    pub fn wait_until_ready(&self, running: &mut Running) -> Result<(), String> {
        let mut client = Client::new(self.address, "");
        let mut ended = None;
        let ready = clock::wait_until(START_BOUND_MS, 2, || {
            ended = running.ended();
            ended.is_some() || client.ask("GET", "/readyz", None, "").is_ok_and(|answer| answer.status == 200)
        });
        match ended {
            None if ready => Ok(()),
            None => Err(format!("it is not ready after {START_BOUND_MS} ms\n{}", self.log_end(30))),
            Some(how) => Err(format!("it ended by itself: {how}\n{}", self.log_end(30))),
        }
    }

    /// The last lines of its log.
    pub fn log_end(&self, lines: usize) -> String {
        let text = fs::read(self.file("log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Lines of its log that are errors or panics, at most `most` of them.
    pub fn complaints(&self, most: usize) -> Vec<String> {
        let text = fs::read(self.file("log")).unwrap_or_default();
        String::from_utf8_lossy(&text)
            .lines()
            .filter(|line| line.contains("\"ERROR\"") || line.contains("panicked"))
            .take(most)
            .map(str::to_owned)
            .collect()
    }

    /// Leaves its directory on the disk, for somebody to look into; says where.
    pub fn keep(&mut self) -> &Path {
        self.place.keep = true;
        &self.place.path
    }
}

/// The binary, running. It is ended by force when this is dropped.
#[derive(Debug)]
pub struct Running {
    pub(crate) child: Child,
}

impl Running {
    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<String> {
        self.child.try_wait().ok().flatten().map(|status| status.to_string())
    }

    /// The code with which it ended, if it did; 128 and the signal, if that ended it.
    pub fn code(&mut self) -> Option<i32> {
        let status = self.child.try_wait().ok().flatten()?;
        Some(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)))
    }

    /// Sends it a signal: `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        // It may have ended meanwhile.
        drop(Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status());
    }

    /// Memory in use, now: KiB. 0 where the system does not say.
    pub fn memory_kib(&self) -> u64 {
        self.of_status("VmRSS:")
    }

    /// The most memory that was ever in use: KiB. 0 where the system does not say.
    pub fn memory_peak_kib(&self) -> u64 {
        self.of_status("VmHWM:")
    }

    fn of_status(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(mut self) {
        self.end();
    }

    /// SIGTERM, and waits at most `within_ms`: the exit code, if it ended by itself.
    pub fn terminate(mut self, within_ms: u64) -> Option<i32> {
        let asked = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status();
        if !asked.is_ok_and(|status| status.success()) {
            return None;
        }
        let mut code = None;
        clock::wait_until(within_ms, 2, || match self.child.try_wait() {
            Ok(None) => false,
            Ok(Some(status)) => {
                code = status.code();
                true
            }
            Err(_) => true,
        });
        code
    }

    fn end(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// A directory that goes with its owner.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) path: PathBuf,
    pub(crate) keep: bool,
}

impl Directory {
    pub(crate) fn new() -> std::io::Result<Self> {
        Self::within(&std::env::temp_dir())
    }

    pub(crate) fn within(parent: &Path) -> std::io::Result<Self> {
        // Two runs of one process may begin in the same millisecond: the next number is another directory.
        let mut random = Random::new(clock::wall_ms().unsigned_abs() ^ u64::from(std::process::id()) << 40);
        loop {
            let path = parent.join(format!("tidings-witness-{:016x}", random.draw()));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path, keep: false }),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if !self.keep {
            drop(fs::remove_dir_all(&self.path));
        }
    }
}
