//! Several processes of the binary over one database, each with a configuration, a directory, a name, and ways of its own
//! to the database and to the carriers; and a supervisor that starts again what has ended.

use super::pair::Pair;
use super::proxy::Proxy;
use crate::clock::{self, Moment};
use crate::http::Client;
use crate::smsc::{Cut, Smsc};
use crate::subject::{Directory, Running, START_BOUND_MS};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// How long the supervisor waits before it starts a process again: ms.
const RESTART_MS: u64 = 1_000;
/// How long a stop may take: ms.
const STOP_MS: u64 = 60_000;
/// How long the witness waits for an answer of a node before it tries another one: ms.
const PATIENCE_MS: u64 = 4_000;
/// The beginnings of the numbers that each connection takes, without +. There are no more connections than that.
pub const PREFIXES: [&str; 3] = ["4670", "4673", "4676"];

/// What the nodes are told.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The binary.
    pub binary: PathBuf,
    /// The binary of a later release, for which it is exchanged, and back. With the first exchange the database gets its
    /// schema.
    pub other: Option<PathBuf>,
    /// Processes.
    pub nodes: usize,
    /// Connections, each with a carrier of its own.
    pub connections: usize,
    /// SMPP sessions of each connection.
    pub sessions: u32,
    /// Unanswered submissions of each session.
    pub window: u32,
}

/// An end of a process that nobody here asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// Which node.
    pub node: usize,
    /// When it was seen.
    pub at: Moment,
    /// Its exit code; 128 and the signal, if that ended it.
    pub code: i32,
}

/// The nodes.
#[derive(Debug)]
pub struct Fleet {
    shared: Arc<Shared>,
    supervisor: Option<JoinHandle<()>>,
    token: String,
}

#[derive(Debug)]
struct Shared {
    setup: Setup,
    place: Directory,
    nodes: Vec<Node>,
    exits: Mutex<Vec<Exit>>,
    /// Whether the database has the schema of the other binary.
    migrated: Mutex<bool>,
    stop: AtomicBool,
}

#[derive(Debug)]
struct Node {
    name: String,
    address: SocketAddr,
    ways: [Proxy; 2],
    /// Its door to each carrier.
    doors: Vec<usize>,
    process: Mutex<Process>,
    /// Until when clients leave it alone: a [`Moment`].
    shunned_until: AtomicU64,
}

#[derive(Debug, Default)]
struct Process {
    running: Option<Running>,
    /// Whether it is the other binary that runs or is to be started.
    is_other: bool,
    /// When it is to be started, if it does not run.
    start_at: Moment,
}

impl Fleet {
    /// Writes the configurations, migrates the database, makes a token, and starts every node.
    ///
    /// # Errors
    /// A sentence about what failed.
    pub fn start(setup: Setup, pair: &Pair, carriers: &[Smsc]) -> Result<Self, String> {
        let place = Directory::new().map_err(|error| format!("no directory of our own: {error}"))?;
        let nodes = (0..setup.nodes)
            .map(|n| node(&setup, &place.path, n, pair, carriers))
            .collect::<Result<Vec<_>, String>>()?;
        let shared = Shared {
            setup,
            place,
            nodes,
            exits: Mutex::default(),
            migrated: Mutex::default(),
            stop: AtomicBool::new(false),
        };
        let binary = &shared.setup.binary;
        shared.command(binary, &["migrate"])?;
        let making =
            ["token", "create", "--environment", "live", "--scope", "all", "--rate", "10000000", "--json"];
        let made = shared.command(binary, &making)?;
        let made: serde_json::Value = serde_json::from_str(&made)
            .map_err(|error| format!("`token create --json` gave no JSON ({error}): {made}"))?;
        let token = made["token"].as_str().ok_or("`token create --json` shows no `token`")?.to_owned();
        let shared = Arc::new(shared);
        let of_supervisor = Arc::clone(&shared);
        let supervisor = std::thread::spawn(move || of_supervisor.supervise());
        let fleet = Self { shared, supervisor: Some(supervisor), token };
        if let Some(late) = (0..fleet.count()).find(|n| !fleet.wait_until_ready(*n)) {
            let log = fleet.log_end(late, 30);
            return Err(format!("node {late} is not ready after {START_BOUND_MS} ms\n{log}"));
        }
        Ok(fleet)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.shared.nodes.len()
    }

    /// A client of a node's API.
    pub fn client(&self, n: usize) -> Client {
        Client::new(self.shared.nodes[n].address, &self.token).patient_for_ms(PATIENCE_MS)
    }

    /// One that waits as long as anybody would.
    pub fn patient_client(&self, n: usize) -> Client {
        Client::new(self.shared.nodes[n].address, &self.token)
    }

    /// Which node comes through door `door` of carrier `carrier`.
    pub fn node_behind(&self, carrier: usize, door: usize) -> Option<usize> {
        self.shared.nodes.iter().position(|node| node.doors[carrier] == door)
    }

    /// Its door to a carrier.
    pub fn door(&self, n: usize, carrier: usize) -> usize {
        self.shared.nodes[n].doors[carrier]
    }

    /// Ends a node by force; it is started again after so long.
    pub fn kill(&self, n: usize, down_ms: u64) {
        let mut process = self.lock(n);
        if let Some(running) = process.running.take() {
            running.kill();
        }
        process.start_at = clock::now().plus_ms(down_ms);
    }

    /// Stops a node in good order and starts it as the other binary, or as the first one again.
    ///
    /// # Errors
    /// There is no other binary, it cannot bring the schema up to date, or the node does not stop well.
    pub fn exchange(&self, n: usize) -> Result<(), String> {
        let other = self.shared.setup.other.as_ref().ok_or("there is no other binary to exchange it for")?;
        let mut migrated = self.shared.migrated.lock().expect("no thread panics with it");
        if !std::mem::replace(&mut *migrated, true) {
            self.shared.command(other, &["migrate"])?;
        }
        drop(migrated);
        let mut process = self.lock(n);
        if let Some(running) = process.running.take() {
            let code = running.terminate(STOP_MS);
            if code != Some(0) {
                return Err(format!("node {n} was asked to stop and ended with {code:?}"));
            }
        }
        process.is_other ^= true;
        process.start_at = clock::now();
        Ok(())
    }

    /// Stops a node where it stands, or lets it go on.
    pub fn pause(&self, n: usize, paused: bool) {
        if let Some(running) = &self.lock(n).running {
            running.signal(if paused { "STOP" } else { "CONT" });
        }
    }

    /// From now on this does not pass between a node and the database.
    pub fn cut_from_database(&self, n: usize, cut: Cut) {
        for way in &self.shared.nodes[n].ways {
            way.cut(cut);
        }
    }

    /// From now on this does not pass between a node and one of the servers.
    pub fn cut_from_server(&self, n: usize, server: usize, cut: Cut) {
        self.shared.nodes[n].ways[server].cut(cut);
    }

    /// Waits until a node says that it is ready; whether it did in time.
    pub fn wait_until_ready(&self, n: usize) -> bool {
        let mut client = self.client(n);
        clock::wait_until(START_BOUND_MS, 50, || {
            client.ask("GET", "/readyz", None, "").is_ok_and(|answer| answer.status == 200)
        })
    }

    /// Whether clients should try another node first.
    pub fn is_shunned(&self, n: usize) -> bool {
        clock::now().0 < self.shared.nodes[n].shunned_until.load(Ordering::Relaxed)
    }

    /// A node did not answer, or said that it cannot: others are tried first for a while.
    pub fn shun(&self, n: usize, ms: u64) {
        self.shared.nodes[n].shunned_until.store(clock::now().plus_ms(ms).0, Ordering::Relaxed);
    }

    /// The ends that nobody here asked for.
    pub fn exits(&self) -> Vec<Exit> {
        self.shared.exits.lock().expect("no thread panics with it").clone()
    }

    /// The last lines of a node's log.
    pub fn log_end(&self, n: usize, lines: usize) -> String {
        let text = fs::read(self.shared.file(n, "log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Lines of the logs that are errors or panics, at most `most` of each node.
    pub fn complaints(&self, most: usize) -> Vec<String> {
        let of = |n: usize| {
            let text = fs::read(self.shared.file(n, "log")).unwrap_or_default();
            String::from_utf8_lossy(&text)
                .lines()
                .filter(|line| line.contains("\"ERROR\"") || line.contains("panicked"))
                .take(most)
                .map(|line| format!("{n}: {line}"))
                .collect::<Vec<_>>()
        };
        (0..self.count()).flat_map(of).collect()
    }

    /// Copies the logs there, for somebody to look into.
    pub fn keep_logs(&self, directory: &Path) {
        drop(fs::create_dir_all(directory));
        for n in 0..self.count() {
            drop(fs::copy(self.shared.file(n, "log"), directory.join(format!("node{n}.log"))));
        }
    }

    fn lock(&self, n: usize) -> std::sync::MutexGuard<'_, Process> {
        self.shared.nodes[n].process.lock().expect("no thread panics with it")
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(supervisor) = self.supervisor.take() {
            drop(supervisor.join());
        }
    }
}

fn node(setup: &Setup, place: &Path, n: usize, pair: &Pair, carriers: &[Smsc]) -> Result<Node, String> {
    let no_socket = |error: std::io::Error| format!("no socket: {error}");
    let way = |server: usize| Proxy::start(pair.address(server)).map_err(no_socket);
    let ways = [way(0)?, way(1)?];
    // The port must stay the same over restarts.
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = address.map_err(no_socket)?;
    let name = format!("node{n}");
    let home = place.join(&name);
    fs::create_dir(&home).map_err(|error| format!("no directory for a node: {error}"))?;
    let (mut doors, mut sections) = (Vec::new(), String::new());
    for (m, carrier) in carriers.iter().enumerate() {
        let (door, carrier) = carrier.door().map_err(no_socket)?;
        doors.push(door);
        let (sessions, window, prefix) = (setup.sessions, setup.window, PREFIXES[m]);
        sections.push_str(&format!(
            r#"[[connection]]
name = "carrier{m}"
kind = "smpp"
environment = "live"
address = "{carrier}"
system_id = "tidings"
password = "witness"
binds = {sessions}
window = {window}
prefixes = ["{prefix}"]
"#
        ));
    }
    let url = Pair::url([ways[0].address(), ways[1].address()]);
    let data = home.join("data");
    let configuration = format!(
        r#"[data]
directory = {data:?}
url = "{url}"
[node]
name = "{name}"
[http]
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
{sections}"#
    );
    fs::write(home.join("tidings.toml"), configuration)
        .map_err(|error| format!("the configuration could not be written: {error}"))?;
    Ok(Node { name, address, ways, doors, process: Mutex::default(), shunned_until: AtomicU64::new(0) })
}

impl Shared {
    fn file(&self, n: usize, name: &str) -> PathBuf {
        self.place.path.join(&self.nodes[n].name).join(name)
    }

    fn command(&self, binary: &Path, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(binary)
            .args(arguments)
            .arg("--config")
            .arg(self.file(0, "tidings.toml"))
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("{} does not start: {error}", binary.display()))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("`tidings {}` ended with {}: {said}", arguments.join(" "), output.status));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn supervise(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            for n in 0..self.nodes.len() {
                let mut process = self.nodes[n].process.lock().expect("no thread panics with it");
                let now = clock::now();
                if let Some(code) = process.running.as_mut().and_then(Running::code) {
                    process.running = None;
                    process.start_at = now.plus_ms(RESTART_MS);
                    self.exits.lock().expect("no thread panics with it").push(Exit {
                        node: n,
                        at: now,
                        code,
                    });
                }
                if process.running.is_none() && process.start_at <= now {
                    match self.launch(n, process.is_other) {
                        Ok(running) => process.running = Some(running),
                        Err(_) => process.start_at = now.plus_ms(RESTART_MS),
                    }
                }
            }
            clock::sleep_ms(20);
        }
        for node in &self.nodes {
            // A node that stands still ends by force all the same.
            node.process.lock().expect("no thread panics with it").running = None;
        }
    }

    fn launch(&self, n: usize, as_other: bool) -> std::io::Result<Running> {
        let binary = self.setup.other.as_ref().filter(|_| as_other).unwrap_or(&self.setup.binary);
        let mut log = OpenOptions::new().create(true).append(true).open(self.file(n, "log"))?;
        writeln!(log, "--- start at {} ms ---", clock::now().0 / 1_000_000)?;
        let child = Command::new(binary)
            .arg("serve")
            .arg("--config")
            .arg(self.file(n, "tidings.toml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Running { child })
    }
}
