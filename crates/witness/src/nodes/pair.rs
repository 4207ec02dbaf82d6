//! Two PostgreSQL servers on this machine: a primary and a replica that has each commit before it is answered.
//!
//! They lie in a directory of their own, in memory where the system has that, and end with the witness however that
//! ends. The server refuses to run as root: root starts it as the user `postgres`, or else `nobody`.

use crate::clock;
use crate::subject::Directory;
use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

/// The user and the database.
const USER: &str = "postgres";
/// What every server is told.
const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
max_connections = 200
shared_buffers = 64MB
synchronous_commit = on
max_wal_senders = 8
wal_keep_size = 128MB
max_wal_size = 512MB
wal_retrieve_retry_interval = 500ms
wal_receiver_timeout = 10s
wal_sender_timeout = 10s
hot_standby = on
log_min_messages = warning
";
/// How long a server may take to become what it shall be: ms.
const PATIENCE_MS: u64 = 60_000;

/// The folder of the newest server's programs; `None` where there is no PostgreSQL.
pub fn programs() -> Option<PathBuf> {
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let mut installed: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| version(path).is_some())
        .collect();
    installed.sort_by_key(|path| version(path));
    let installed = installed.into_iter().rev().map(|path| path.join("bin"));
    let in_path = std::env::var_os("PATH").unwrap_or_default();
    let in_path: Vec<PathBuf> = std::env::split_paths(&in_path).collect();
    installed.chain(in_path).find(|folder| {
        ["initdb", "pg_ctl", "pg_basebackup", "psql"].iter().all(|name| folder.join(name).exists())
    })
}

/// The servers.
#[derive(Debug)]
pub struct Pair {
    programs: PathBuf,
    owner: Option<(u32, u32)>,
    place: Directory,
    ports: [u16; 2],
    primary: Mutex<usize>,
    /// Ends the servers and removes their files when the pipe to it closes.
    _guard: Child,
}

impl Pair {
    /// Makes both, and waits until the replica has each commit.
    ///
    /// # Errors
    /// What a program said.
    pub fn start() -> Result<Self, String> {
        let programs = programs().ok_or("there is no PostgreSQL in /usr/lib/postgresql/*/bin or in PATH")?;
        let owner = owner()?;
        let memory = Path::new("/dev/shm");
        let mut place = Directory::within(memory).or_else(|_| Directory::new()).map_err(no("directory"))?;
        // The guard removes it, after the servers.
        place.keep = true;
        let free = || TcpListener::bind("127.0.0.1:0").map_err(no("port"));
        // Held at the same time, so that they differ.
        let held = [free()?, free()?];
        let [first, second] = held.each_ref().map(|held| held.local_addr().map_err(no("port")));
        let ports = [first?.port(), second?.port()];
        drop(held);
        if let Some((user, group)) = owner {
            std::os::unix::fs::chown(&place.path, Some(user), Some(group)).map_err(no("directory"))?;
        }
        let mut guard = Command::new("sh");
        guard
            .arg("-c")
            .arg(r#"cat > /dev/null; for n in 0 1; do "$CTL" stop --silent --mode immediate -D "$PLACE/$n"; done; rm -rf "$PLACE""#)
            .env("CTL", programs.join("pg_ctl"))
            .env("PLACE", &place.path)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        if let Some((user, group)) = owner {
            guard.uid(user).gid(group);
        }
        let guard = guard.spawn().map_err(no("shell"))?;
        let pair = Self { programs, owner, place, ports, primary: Mutex::new(0), _guard: guard };
        let data = pair.data(0);
        pair.run(pair.program("initdb").arg("--pgdata").arg(&data).args([
            "--username",
            USER,
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "--no-instructions",
        ]))?;
        let file = fs::OpenOptions::new().append(true).open(data.join("postgresql.conf"));
        file.and_then(|mut file| file.write_all(SETTINGS.as_bytes())).map_err(no("configuration"))?;
        pair.control(0, &["start"])?;
        pair.sql(0, "CREATE DATABASE tidings")?;
        pair.replicate()?;
        Ok(pair)
    }

    /// Where server `n` of 0 and 1 listens, whatever it is at this moment.
    pub fn address(&self, n: usize) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[n]))
    }

    /// What a node is told: both servers behind these ways, and that it wants the one that can be written.
    pub fn url(ways: [SocketAddr; 2]) -> String {
        format!("postgres://{USER}@{},{}/tidings?target_session_attrs=read-write", ways[0], ways[1])
    }

    /// Whether the replica has everything and each commit waits for it.
    pub fn is_synchronous(&self) -> bool {
        let sql =
            "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = 'sync'";
        self.sql(self.primary(), sql).is_ok_and(|count| count == "1")
    }

    /// Stops the primary and starts it again after a while: in good order, or as after a crash.
    ///
    /// # Errors
    /// What a program said.
    pub fn restart(&self, in_order: bool, down_ms: u64) -> Result<(), String> {
        let mode = if in_order { "fast" } else { "immediate" };
        self.control(self.primary(), &["stop", "--mode", mode])?;
        clock::sleep_ms(down_ms);
        self.control(self.primary(), &["start"])
    }

    /// Ends the primary for good and makes the replica the primary. There is no replica until [`Pair::replicate`].
    ///
    /// # Errors
    /// What a program said.
    pub fn fail_over(&self, after_ms: u64) -> Result<(), String> {
        let old = self.primary();
        self.control(old, &["stop", "--mode", "immediate"])?;
        clock::sleep_ms(after_ms);
        self.control(1 - old, &["promote"])?;
        *self.primary.lock().expect("no thread panics with it") = 1 - old;
        Ok(())
    }

    /// Makes a new replica of the primary; from then on each commit waits for it.
    ///
    /// # Errors
    /// What a program said.
    pub fn replicate(&self) -> Result<(), String> {
        let (primary, replica) = (self.primary(), 1 - self.primary());
        let data = self.data(replica);
        if data.exists() {
            fs::remove_dir_all(&data).map_err(no("room for the replica"))?;
        }
        let port = self.ports[primary].to_string();
        self.run(
            self.program("pg_basebackup")
                .args(["--host=127.0.0.1", "--username", USER, "--port", &port, "--pgdata"])
                .arg(&data)
                .args(["--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync"]),
        )?;
        self.control(replica, &["start"])?;
        self.sql(primary, "ALTER SYSTEM SET synchronous_standby_names = '*'")?;
        self.sql(primary, "SELECT pg_reload_conf()")?;
        if clock::wait_until(PATIENCE_MS, 100, || self.is_synchronous()) {
            Ok(())
        } else {
            Err(format!("the replica does not follow\n{}", self.log_end(replica)))
        }
    }

    /// Runs statements on the primary and gives what they print, a line for each row.
    ///
    /// # Errors
    /// What `psql` said.
    pub fn ask(&self, statements: &str) -> Result<String, String> {
        self.sql(self.primary(), statements)
    }

    /// Which of the two is the primary.
    pub fn primary(&self) -> usize {
        *self.primary.lock().expect("no thread panics with it")
    }

    fn data(&self, n: usize) -> PathBuf {
        self.place.path.join(n.to_string())
    }

    fn log(&self, n: usize) -> PathBuf {
        self.place.path.join(format!("{n}.log"))
    }

    fn log_end(&self, n: usize) -> String {
        let text = fs::read(self.log(n)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(20)..].join("\n")
    }

    fn control(&self, n: usize, what: &[&str]) -> Result<(), String> {
        let options = format!("-p {} -k {}", self.ports[n], self.place.path.display());
        let mut control = self.program("pg_ctl");
        control.args(what).arg("--wait").args(["--silent", "--timeout=60", "-D"]).arg(self.data(n));
        if what == ["start"] {
            control.arg("--log").arg(self.log(n)).args(["--options", &options]);
        }
        self.run(&mut control).map(drop).map_err(|why| format!("{why}\n{}", self.log_end(n)))
    }

    fn sql(&self, n: usize, statements: &str) -> Result<String, String> {
        let database = if statements.starts_with("CREATE DATABASE") { USER } else { "tidings" };
        let mut psql = self.program("psql");
        psql.args(["--host=127.0.0.1", "--username", USER, "--dbname", database, "--port"])
            .arg(self.ports[n].to_string())
            .args(["--no-align", "--tuples-only", "--quiet", "--set", "ON_ERROR_STOP=1", "--command"])
            .arg(statements);
        self.run(&mut psql).map(|said| said.trim().to_owned())
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.env("LC_ALL", "C").current_dir("/");
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
        command
    }

    /// What it printed goes through files: a server that it leaves behind would hold a pipe open.
    fn run(&self, command: &mut Command) -> Result<String, String> {
        let said = self.place.path.join(format!("said-{}", clock::now().0));
        let out = fs::File::create(&said).map_err(no("file"))?;
        let err = out.try_clone().map_err(no("file"))?;
        let status = command.stdin(Stdio::null()).stdout(out).stderr(err).status();
        let text = fs::read_to_string(&said).unwrap_or_default();
        drop(fs::remove_file(&said));
        match status {
            Ok(status) if status.success() => Ok(text),
            Ok(status) => Err(format!("{command:?}: {status}: {text}")),
            Err(error) => Err(format!("{command:?} does not run: {error}")),
        }
    }
}

fn no(what: &str) -> impl Fn(std::io::Error) -> String + '_ {
    move |error| format!("no {what} for PostgreSQL: {error}")
}

/// The user and group to run the servers as, if this is root.
fn owner() -> Result<Option<(u32, u32)>, String> {
    if fs::metadata("/proc/self").is_ok_and(|about| about.uid() != 0) {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let find = |name: &str| {
        let mut fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let fields = fields.find(|fields| fields.first() == Some(&name))?;
        Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
    };
    let found = find("postgres").or_else(|| find("nobody"));
    found.map(Some).ok_or_else(|| "there is no user for PostgreSQL: postgres or nobody".to_owned())
}
