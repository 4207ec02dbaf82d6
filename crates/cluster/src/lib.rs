//! A PostgreSQL cluster for the tests of one process: made when the first test asks for it, gone with the process.
//!
//! The server is looked for where distributions put it. Where there is none, [`Cluster::here`] says so in one line and
//! gives nothing, and a test goes without; `TIDINGS_TEST_REQUIRE=postgres` makes that an error. The server refuses to
//! run as root, so a test that is run by root starts it as the user `postgres`, or else `nobody`.
//!
//! The cluster listens on a socket in a directory of its own and nowhere else. Its settings are those that an
//! installation needs; it is quick because its files are in memory where the system has that.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The word for it in `TIDINGS_TEST_REQUIRE`.
pub const WORD: &str = "postgres";
/// The user that the cluster knows.
const USER: &str = "postgres";
/// How long the server may take to start: looks, and the pause between two.
const STARTS: (u32, Duration) = (600, Duration::from_millis(50));

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    programs: PathBuf,
    directory: PathBuf,
    owner: Option<(u32, u32)>,
    databases: AtomicU32,
    template: OnceLock<String>,
    /// Ends the server and removes its files when the pipe to it closes, which happens however this process ends.
    _guard: Child,
}

/// A database of its own, dropped with its owner.
#[derive(Debug)]
pub struct Database {
    cluster: &'static Cluster,
    name: String,
}

impl Cluster {
    /// The cluster of this process, made if it is not there yet. `None` where there is no PostgreSQL.
    ///
    /// # Panics
    /// If it is required and missing, or is there and does not work.
    pub fn here() -> Option<&'static Self> {
        static HERE: OnceLock<Option<Cluster>> = OnceLock::new();
        HERE.get_or_init(|| match programs() {
            Some(programs) => Some(Self::start(programs, &[])),
            None => {
                let required = std::env::var("TIDINGS_TEST_REQUIRE").unwrap_or_default();
                assert!(
                    !required.split([',', ' ']).any(|word| word == WORD),
                    "TIDINGS_TEST_REQUIRE asks for PostgreSQL, but there is no initdb in /usr/lib/postgresql/*/bin or in PATH"
                );
                // Not `eprintln`, which a test that passes keeps to itself.
                drop(writeln!(
                    std::io::stderr(),
                    "skipped: everything about PostgreSQL (there is no initdb in /usr/lib/postgresql/*/bin or in PATH)"
                ));
                None
            }
        })
        .as_ref()
    }

    /// Another cluster for this process, with settings of its own, such as `fsync=off`. It lives as long as the process.
    ///
    /// # Panics
    /// If it does not start.
    pub fn with(&self, settings: &[&str]) -> &'static Self {
        Box::leak(Box::new(Self::start(self.programs.clone(), settings)))
    }

    fn start(programs: PathBuf, settings: &[&str]) -> Self {
        let owner = owner();
        let directory = directory(owner);
        let data = directory.join("data");
        let as_owner = |program: &str| command(&programs, owner, program);
        run(as_owner("initdb").arg("--pgdata").arg(&data).args([
            "--username",
            USER,
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "--no-instructions",
        ]));
        // The shell outlives this process for a moment, however that ends, and cleans up.
        let mut guard = Command::new("sh");
        guard
            .args([
                "-c",
                r#""$@" & server=$!; cat > /dev/null; kill -INT $server; wait $server; rm -rf "$DIRECTORY""#,
                "sh",
            ])
            .arg(programs.join("postgres"))
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(&directory);
        for setting in
            ["listen_addresses=", "max_connections=200", "shared_buffers=64MB", "log_min_messages=fatal"]
                .iter()
                .chain(settings)
        {
            guard.args(["-c", setting]);
        }
        let log = std::fs::File::create(directory.join("log")).expect("its directory can be written");
        guard
            .env("DIRECTORY", &directory)
            .current_dir(&directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log);
        if let Some((user, group)) = owner {
            guard.uid(user).gid(group);
        }
        let guard = guard.spawn().expect("there is a shell");
        let cluster = Self {
            programs,
            directory,
            owner,
            databases: AtomicU32::new(0),
            template: OnceLock::new(),
            _guard: guard,
        };
        cluster.wait();
        cluster
    }

    fn wait(&self) {
        let (looks, pause) = STARTS;
        for _ in 0..looks {
            let mut look = command(&self.programs, self.owner, "pg_isready");
            let look = look.arg("--quiet").arg("--host").arg(&self.directory).status();
            if look.is_ok_and(|status| status.success()) {
                return;
            }
            std::thread::sleep(pause);
        }
        let log = std::fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        panic!("the PostgreSQL server for the tests does not start: {log}");
    }

    /// A new database with nothing in it.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn database(&'static self) -> Database {
        self.make(None)
    }

    /// A new database like the first one, which was `prepared` and is kept to be copied. Nobody may be connected to that
    /// one afterwards.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn prepared(&'static self, prepare: impl FnOnce(&Database)) -> Database {
        let template = self.template.get_or_init(|| {
            let first = self.make(None);
            prepare(&first);
            let name = first.name.clone();
            // It stays as long as the cluster.
            std::mem::forget(first);
            name
        });
        self.make(Some(template))
    }

    fn make(&'static self, template: Option<&str>) -> Database {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut create = self.tool("createdb");
        if let Some(template) = template {
            create.args(["--template", template]);
        }
        run(create.arg(&name));
        Database { cluster: self, name }
    }

    /// Stops the server as a crash would, and starts it again with the same files.
    ///
    /// # Panics
    /// If it does not come back.
    pub fn crash(&self) {
        let process = std::fs::read_to_string(self.directory.join("data/postmaster.pid")).unwrap_or_default();
        let process = process.lines().next().unwrap_or_default().to_owned();
        assert!(!process.is_empty(), "the server runs");
        // Every other process of the server is ended by it, and it begins anew by itself.
        let mut psql = self.tool("psql");
        let victim = psql.args([
            "--dbname=postgres",
            "--no-align",
            "--tuples-only",
            "--command",
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'",
        ]);
        let victim = victim.output().expect("psql runs").stdout;
        let victim = String::from_utf8_lossy(&victim).trim().to_owned();
        run(Command::new("kill").args(["-KILL", &victim]));
        self.wait();
    }

    fn tool(&self, program: &str) -> Command {
        let mut tool = command(&self.programs, self.owner, program);
        tool.arg("--host").arg(&self.directory).args(["--username", USER]);
        tool
    }

    /// Where its socket is.
    pub fn socket(&self) -> PathBuf {
        self.directory.join(".s.PGSQL.5432")
    }
}

impl Database {
    /// How programs find it.
    pub fn address(&self) -> String {
        format!("host={} user={USER} dbname={}", self.cluster.directory.display(), self.name)
    }

    /// The same as a URL.
    pub fn url(&self) -> String {
        let host = self.cluster.directory.display().to_string().replace('/', "%2F");
        format!("postgres://{USER}@{host}/{}", self.name)
    }

    /// Its name in the cluster.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs statements with `psql` and gives what it prints: values only, a line for each row.
    ///
    /// # Panics
    /// If one fails.
    pub fn run(&self, statements: &str) -> String {
        run(&mut self.psql(statements))
    }

    /// What `pg_dump` makes of it while others work on: a file that is gone with the cluster.
    ///
    /// # Panics
    /// If it does not succeed.
    pub fn dump(&self) -> PathBuf {
        let file = self.cluster.directory.join(format!("{}.dump", self.name));
        let mut tool = self.cluster.tool("pg_dump");
        run(tool.arg("--format=custom").arg("--file").arg(&file).arg(&self.name));
        file
    }

    /// Fills it, which must be empty, with what was dumped, as this user of the server.
    ///
    /// # Panics
    /// If anything of it fails.
    pub fn restore(&self, dump: &Path, user: &str) {
        let mut tool = self.cluster.tool("pg_restore");
        run(tool.args(["--no-owner", "--username", user, "--dbname", &self.name]).arg(dump));
    }

    /// The program that runs statements, to be started.
    pub fn psql(&self, statements: &str) -> Command {
        let mut psql = self.cluster.tool("psql");
        psql.args(["--dbname", &self.name, "--no-align", "--tuples-only", "--quiet"]).args([
            "--set",
            "ON_ERROR_STOP=1",
            "--command",
            statements,
        ]);
        psql
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // A test that failed has said why; and with the process everything goes.
        let mut tool = self.cluster.tool("dropdb");
        drop(tool.args(["--force", "--if-exists", &self.name]).stderr(Stdio::null()).status());
    }
}

/// The folder of the newest server's programs.
fn programs() -> Option<PathBuf> {
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let mut installed: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
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
        ["initdb", "postgres", "createdb", "psql"].iter().all(|name| folder.join(name).exists())
    })
}

/// The user and group to run the server as, if this is root.
fn owner() -> Option<(u32, u32)> {
    if std::fs::metadata("/proc/self").is_ok_and(|about| about.uid() != 0) {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let find = |name: &str| {
        let mut fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let fields = fields.find(|fields| fields.first() == Some(&name))?;
        Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
    };
    Some(
        find("postgres")
            .or_else(|| find("nobody"))
            .expect("there is a user for the server: postgres or nobody"),
    )
}

fn directory(owner: Option<(u32, u32)>) -> PathBuf {
    let make = |place: &Path| tempfile::Builder::new().prefix("tidings-cluster-").tempdir_in(place);
    let made = make(Path::new("/dev/shm")).or_else(|_| make(&std::env::temp_dir()));
    let path = made.expect("there is room for a cluster").keep();
    if let Some((user, group)) = owner {
        std::os::unix::fs::chown(&path, Some(user), Some(group)).expect("root may do that");
    }
    path
}

fn command(programs: &Path, owner: Option<(u32, u32)>, program: &str) -> Command {
    let mut command = Command::new(programs.join(program));
    command.env("LC_ALL", "C").current_dir("/").stdin(Stdio::null());
    if let Some((user, group)) = owner {
        command.uid(user).gid(group);
    }
    command
}

fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?} does not run: {error}"));
    assert!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
