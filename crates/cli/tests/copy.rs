//! `tidings copy` as an operator gives it: what it says, whom it refuses, and that one which was killed goes on.

#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests too")]

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use tidings_cluster::{Cluster, Database};
use tidings_store::sqlite;

/// Messages of the installation: some pieces of a copy.
const MESSAGES: i64 = 3_000;
/// How long to look for something that must come: looks, and the pause between two.
const LOOKS: (u32, Duration) = (1_200, Duration::from_millis(25));

fn tidings(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    command.args(arguments).current_dir("/").stdin(Stdio::null());
    command
}

fn output(arguments: &[&str]) -> Output {
    tidings(arguments).output().expect("it starts")
}

fn json(arguments: &[&str]) -> serde_json::Value {
    let output = output(&[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON value")
}

fn refused(arguments: &[&str], code: i32, part: &str) {
    let output = output(arguments);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {words}");
    assert!(words.contains(part), "{arguments:?}: {words}");
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let (looks, pause) = LOOKS;
    for _ in 0..looks {
        if is_so() {
            return;
        }
        std::thread::sleep(pause);
    }
    panic!("{what} did not come");
}

/// A data directory with messages and their history, in tables as the program makes them.
fn installation(place: &Path) -> String {
    let data = place.join("data").display().to_string();
    json(&["migrate", "--data", &data]);
    json(&["token", "create", "--data", &data]);
    json(&["suppression", "add", "+15550002222", "--data", &data]);
    let connection = rusqlite::Connection::open(place.join("data").join(sqlite::FILE_NAME)).unwrap();
    let messages = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MESSAGES})
         INSERT INTO message (id, account, live, purpose, sender, recipient, text, form, segments, connection,
           created_at, expires_at, state, attempt, tries, resends, parts, updated_at)
         SELECT 7000000000000 + i, 1, 0, 2, 'ACME', 15550000000 + i, 'number ' || i, 0, 1, 1, i, i + 1000, 4, 1, 1, 0, '', i
         FROM n;
         INSERT INTO event (account, live, kind, message, status, attempt, at)
         SELECT account, live, 1, id, 4, 1, created_at FROM message;"
    );
    connection.execute_batch(&messages).unwrap();
    data
}

/// A session that lets nobody write to a table until it is ended.
struct Closed<'d> {
    database: &'d Database,
    session: Option<std::thread::JoinHandle<()>>,
}

const CLOSING: &str = "LOCK TABLE event IN EXCLUSIVE MODE; SELECT pg_sleep(600)";

impl<'d> Closed<'d> {
    fn new(database: &'d Database) -> Self {
        let mut psql = database.psql(&format!("BEGIN; {CLOSING}"));
        let session = std::thread::spawn(move || {
            // It is ended by force, and then complains.
            drop(psql.stdout(Stdio::null()).stderr(Stdio::null()).status());
        });
        until("the lock", || {
            database.run("SELECT count(*) FROM pg_locks WHERE mode = 'ExclusiveLock' AND relation = 'event'::regclass AND granted").trim() == "1"
        });
        Self { database, session: Some(session) }
    }
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.database.run("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE mode = 'ExclusiveLock' AND relation = 'event'::regclass AND granted");
        if let Some(session) = self.session.take() {
            drop(session.join());
        }
    }
}

#[test]
fn an_installation_moves_to_postgresql_through_a_kill_and_back() {
    let Some(cluster) = Cluster::here() else { return };
    let place = tempfile::tempdir().unwrap();
    let data = installation(place.path());
    let (source, database) = (format!("sqlite:{data}"), cluster.database());
    let target = database.url();
    let there = ["copy", "--from", &source, "--to", &target];

    // In the middle: the messages are there, and nobody lets the events in.
    json(&["migrate", "--data", &target]);
    {
        let _closed = Closed::new(&database);
        let mut copying = tidings(&there).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        until("the last message", || {
            database.run("SELECT count(*) FROM message").trim() == MESSAGES.to_string()
        });
        copying.kill().unwrap();
        copying.wait().unwrap();
    }
    refused(&["token", "list", "--data", &target], 1, "it holds a copy that was not finished");
    refused(&[&there[..], &["--verify-only"]].concat(), 1, "");
    let copied = json(&there);
    assert_eq!(copied["same"], true);
    assert!(copied["found"].as_i64().unwrap() >= MESSAGES && copied["copied"].as_i64().unwrap() >= MESSAGES);
    let messages =
        copied["tables"].as_array().unwrap().iter().find(|table| table["table"] == "message").unwrap();
    assert_eq!((messages["to"]["rows"].as_i64(), messages["same"].as_bool()), (Some(MESSAGES), Some(true)));
    assert_eq!(messages["from"]["sha256"].as_str().unwrap().len(), 64);

    refused(&there, 1, "it holds something already");
    assert_eq!(json(&[&there[..], &["--verify-only"]].concat())["same"], true);
    assert_eq!(json(&["suppression", "list", "--data", &target])[0]["reason"], "manual");
    assert_eq!(json(&["token", "list", "--data", &target]).as_array().unwrap().len(), 1);

    let home = place.path().join("back").display().to_string();
    let back = ["copy", "--from", &target, "--to", &format!("sqlite:{home}")];
    assert_eq!(json(&back)["same"], true);
    assert_eq!(json(&["suppression", "list", "--data", &home])[0]["reason"], "manual");
    // For people, with a table and what to do next.
    let said = output(&[&back[..], &["--verify-only"]].concat());
    assert!(String::from_utf8_lossy(&said.stdout).contains("hold the same"), "{said:?}");
}

#[test]
fn what_cannot_be_copied_is_refused_with_a_sentence() {
    let Some(cluster) = Cluster::here() else { return };
    let place = tempfile::tempdir().unwrap();
    let data = installation(place.path());
    let (source, database) = (format!("sqlite:{data}"), cluster.database());
    let target = database.url();
    let nothing = format!("sqlite:{}", place.path().join("nothing").display());
    let check = |from: &str, to: &str, code: i32, part: &str| {
        refused(&["copy", "--from", from, "--to", to], code, part);
    };
    check(&data, &target, 2, "--from: must be sqlite:DIRECTORY");
    check(&source, "env:NOBODY_SETS_THIS", 2, "which is not set");
    check(&source, &nothing, 1, "use `tidings backup` and `tidings restore`");
    check(&target, &target, 1, "such as pg_dump");
    check(&nothing, &target, 1, "there is no tidings.db");
    check(&target, &nothing, 1, "run `tidings migrate`");
    check(&source, "postgres://nobody@127.0.0.1:1/nothing", 1, "127.0.0.1:1/nothing: ");
    // Whoever serves the directory holds its lock.
    let lock = std::fs::File::create(Path::new(&data).join("tidings.lock")).unwrap();
    lock.lock().unwrap();
    check(&source, &target, 1, "stop it first");
    drop(lock);
    assert_eq!(json(&["copy", "--from", &source, "--to", &target])["same"], true);
}
