//! What is peculiar to a database on a server: it may be set up so that it loses things, it may be gone, its answers may
//! be lost, others may write beside us, and it makes its own plans.

use crate::samples::*;
use crate::{database, open_database};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidings_cluster::{Cluster, Database};
use tidings_domain::event::Kind;
use tidings_domain::id::*;
use tidings_domain::message::{Message, Outcome, Status};
use tidings_domain::queue::Queue;
use tidings_domain::suppression::Reason;
use tidings_domain::time::Timestamp;
use tidings_domain::webhook::Verdict;
use tidings_store::postgres::{Options, Postgres};
use tidings_store::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

pub fn options(database: &Database) -> Options {
    Options::at(&database.address()).expect("an address")
}

/// Why a store with these options does not open.
fn refusal(options: &Options) -> String {
    match Postgres::open(options) {
        Ok(_) => "it opens".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// Waits until something is so that is bound to be so in the end.
pub async fn until(so: impl AsyncFn() -> bool) {
    for _ in 0..600 {
        if so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it is never so");
}

// ── what a server must promise ──────────────────────────────────────────────────────────────────────────────

/// A machine that was the primary may still take connections, or be a hole in the network.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_silent_does_not_hide_the_next_one_of_the_address() {
    let Some(cluster) = Cluster::here() else { return };
    let database = cluster.database();
    Postgres::migrate(&options(&database)).await.expect("migrated");
    // The system takes connections for it; nobody ever says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("a port").port();
    let address = database.address();
    let (host, rest) = address.split_once(' ').expect("a host and more");
    let host = host.trim_start_matches("host=");
    let address = format!("host=127.0.0.1,{host} port={port},5432 target_session_attrs=read-write {rest}");
    let store = Postgres::open(&Options::at(&address).expect("an address")).expect("it opens");
    store.ping().await.expect("it answers");
    store.close().await.expect("closed");
}

/// P-35
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_may_lose_what_it_committed_is_refused_with_a_sentence() {
    let Some(shared) = Cluster::here() else { return };
    let own = shared.with(&[]);
    let database = own.database();
    Postgres::migrate(&options(&database)).await.expect("migrated");
    for (setting, cure) in [("fsync", "set fsync = on"), ("full_page_writes", "set full_page_writes = on")] {
        let set = |value| {
            database.run(&format!("ALTER SYSTEM SET {setting} = {value}"));
            database.run("SELECT pg_reload_conf()");
        };
        set("off");
        until(async || refusal(&options(&database)).contains(cure)).await;
        let refused = Postgres::migrate(&options(&database)).await.expect_err("not even that").to_string();
        assert!(refused.contains(cure), "{refused}");
        set("on");
        until(async || refusal(&options(&database)) == "it opens").await;
    }
    for (value, replica, cure) in [
        ("off", "", "set synchronous_commit = on"),
        ("local", "elsewhere", "set synchronous_commit = on"),
        ("local", "", "it opens"),
        ("remote_write", "", "it opens"),
    ] {
        let name = database.name();
        database.run(&format!("ALTER DATABASE {name} SET synchronous_commit = {value}"));
        database.run(&format!("ALTER SYSTEM SET synchronous_standby_names = '{replica}'"));
        database.run("SELECT pg_reload_conf()");
        until(async || refusal(&options(&database)).contains(cure)).await;
    }
}

/// What the newest migrations did, undone: the newest first.
const UNDONE: [(i64, &str); 17] = [
    (22, "DROP TABLE media; ALTER TABLE inbound DROP COLUMN media"),
    (21, "DROP TABLE silence; ALTER TABLE suppression DROP COLUMN unreachable"),
    (
        20,
        "ALTER TABLE suppression DROP COLUMN programme;
         CREATE UNIQUE INDEX suppression_in_force ON suppression (account, live, recipient) WHERE lifted_at IS NULL",
    ),
    (19, "ALTER TABLE turn DROP COLUMN purpose"),
    (18, "ALTER TABLE message DROP COLUMN programme"),
    (
        17,
        "ALTER TABLE code DROP CONSTRAINT code_pkey, ADD PRIMARY KEY (id);
         ALTER TABLE import DROP CONSTRAINT import_pkey, ADD PRIMARY KEY (id);
         ALTER TABLE template DROP CONSTRAINT template_pkey, ADD PRIMARY KEY (id);
         ALTER TABLE conversation DROP CONSTRAINT conversation_pkey, ADD PRIMARY KEY (id);
         ALTER TABLE segment DROP CONSTRAINT segment_pkey, ADD PRIMARY KEY (id);
         ALTER TABLE consent_request DROP CONSTRAINT consent_request_pkey, ADD PRIMARY KEY (id);
         ALTER TABLE inbound_part DROP COLUMN account, ADD PRIMARY KEY (inbound, number);
         ALTER TABLE import_piece DROP COLUMN account, ADD PRIMARY KEY (import, kind, place);
         ALTER TABLE template_version DROP COLUMN account, ADD PRIMARY KEY (template, version);
         ALTER TABLE conversation_entry DROP COLUMN account, ADD PRIMARY KEY (conversation, place)",
    ),
    (16, "DROP TABLE rule_reply, consent_request; ALTER TABLE inbound DROP COLUMN rule"),
    (15, "DROP TABLE sticky, quota, spend"),
    (14, "DROP TABLE segment, touch, touch_place"),
    (13, "DROP TABLE conversation, conversation_entry, conversation_word"),
    (
        12,
        "DROP TABLE template, template_version;
         ALTER TABLE message DROP COLUMN template, DROP COLUMN template_version",
    ),
    (11, "DROP TABLE turn"),
    (10, "DROP TABLE contact, contact_number, contact_group, import, import_piece"),
    (
        9,
        "DROP TABLE inbound_part;
         ALTER TABLE inbound DROP COLUMN reference, DROP COLUMN total, DROP COLUMN missing, DROP COLUMN due_at;
         DROP INDEX inbound_like; DROP INDEX review_inbound",
    ),
    (8, "DROP TABLE code, code_count, code_stop"),
    (7, "DROP TABLE consent, wording"),
    (
        6,
        "DROP TABLE reply; ALTER TABLE message DROP COLUMN reply, DROP COLUMN reply_to;
         ALTER TABLE inbound DROP COLUMN keyword; ALTER TABLE due DROP COLUMN recipient; ALTER TABLE review DROP COLUMN inbound",
    ),
];

/// The schema as it was after this migration.
pub fn undo_after(database: &Database, number: i64) {
    for (newer, undone) in UNDONE.iter().filter(|(newer, _)| *newer > number) {
        database.run(&format!("DELETE FROM migration WHERE number = {newer}; {undone}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_is_older_or_newer_or_another_is_refused_and_a_command_cures_what_can_be() {
    let Some(cluster) = Cluster::here() else { return };
    let empty = cluster.database();
    assert!(refusal(&options(&empty)).contains("is empty: run `tidings migrate`"));
    assert_eq!(Postgres::look(&options(&empty)).await.expect("seen").migrations, Vec::<String>::new());
    let applied = Postgres::migrate(&options(&empty)).await.expect("migrated");
    assert!(applied.len() > 1 && Postgres::migrate(&options(&empty)).await.expect("again").is_empty());
    assert_eq!(Postgres::look(&options(&empty)).await.expect("seen").migrations, applied);
    assert_eq!(refusal(&options(&empty)), "it opens");

    let last = applied.len();
    undo_after(&empty, last as i64 - 1);
    assert!(refusal(&options(&empty)).contains("an older version of tidings: run `tidings migrate`"));
    let about = Postgres::look(&options(&empty)).await.expect("seen");
    assert!(!about.is_current && !about.is_served);
    assert_eq!(Postgres::migrate(&options(&empty)).await.expect("migrated"), applied[last - 1..]);

    empty.run(&format!("INSERT INTO migration VALUES ({}, 'of tomorrow', 1, 1)", last + 1));
    // It brings what nobody must use yet, so nodes of this version go on.
    assert_eq!(refusal(&options(&empty)), "it opens");
    empty.run(&format!("UPDATE setting SET value = '{}' WHERE name = 'needs'", last + 1));
    assert!(refusal(&options(&empty)).contains("a newer version of tidings"));
    empty.run(&format!("DELETE FROM migration WHERE number > {last}"));
    empty.run("UPDATE migration SET checksum = 1 WHERE number = 1");
    assert!(refusal(&options(&empty)).contains("is not the one that this version of tidings knows"));
}

/// What has a key without the account, and why: the page about growth and decision 16 say the same. Everything else could be
/// spread over machines by account as it is.
const WITHOUT_ACCOUNT: [(&str, &str); 11] = [
    ("account", "its id is the account"),
    ("client", "who asks for a token is found by it before anybody knows the account"),
    ("connection", "of the installation: accounts share it"),
    ("endpoint", "few, and each node has all of them at hand"),
    ("era", "of the server"),
    ("migration", "of the installation"),
    ("node", "of the installation"),
    ("parked", "a receipt that found no message belongs to no account yet"),
    ("quota", "a day of a sender is shared by all accounts"),
    ("setting", "of the installation"),
    ("token", "who calls is found by it before anybody knows the account"),
];

/// The primary keys and the unique indexes of all tables and of their parts.
#[test]
fn the_account_stands_in_every_key_of_what_belongs_to_one() {
    let Some(database) = database() else { return };
    let keys = database.run(
        "SELECT t.relname, i.relname, string_agg(a.attname, ' ' ORDER BY k.n)
         FROM pg_index x JOIN pg_class t ON t.oid = x.indrelid JOIN pg_class i ON i.oid = x.indexrelid
         CROSS JOIN LATERAL unnest(x.indkey::int2[]) WITH ORDINALITY AS k (column_number, n)
         JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.column_number
         WHERE x.indisunique AND k.n <= x.indnkeyatts AND t.relnamespace = 'public'::regnamespace
         GROUP BY t.relname, i.relname ORDER BY t.relname, i.relname",
    );
    let mut without: Vec<&str> = Vec::new();
    let mut with_key = Vec::new();
    for line in keys.lines() {
        let words: Vec<&str> = line.split('|').collect();
        let [table, key, columns] = words[..] else { panic!("three words: {line}") };
        with_key.push(table);
        if !columns.split(' ').any(|column| column == "account") && without.last() != Some(&table) {
            assert!(WITHOUT_ACCOUNT.iter().any(|(known, _)| *known == table), "{key} of {table}: {columns}");
            without.push(table);
        }
    }
    assert_eq!(without, WITHOUT_ACCOUNT.map(|(table, _)| table), "one of these has it by now");
    let tables = database.run(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace",
    );
    for table in tables.lines() {
        assert!(with_key.contains(&table), "{table} has no key");
    }
}

/// What hangs on an account's row gets the account of that row, and nothing is lost on the way.
#[tokio::test(flavor = "multi_thread")]
async fn rows_from_before_get_the_account_that_they_belong_to() {
    let Some(database) = database() else { return };
    let store = open_database(&database);
    receive(&store, vec![crate::conversation::said(1, 1, "hello", 1)], at(1)).await;
    store.create_template(crate::template::template(8, "hello"), actor()).await.expect("made");
    store.close().await.expect("closed");
    database.run("INSERT INTO import VALUES (5, 1, 1, '', '', 1, '[]', '{}', 0, 0, 0, 0, 0, 0, 1)");
    database.run("INSERT INTO import_piece (import, account, kind, place, rows) VALUES (5, 1, 0, 1, 'some')");
    let tables = ["inbound_part", "import_piece", "template_version", "conversation_entry"];
    let rows = || tables.map(|table| database.run(&format!("SELECT (to_jsonb(t))::text FROM {table} t")));
    let before = rows();
    undo_after(&database, 16);
    // It hangs on nothing.
    database.run("INSERT INTO conversation_entry VALUES (7, 1, 1, 1, 7, NULL, NULL, ' ', 0)");
    Postgres::migrate(&options(&database)).await.expect("migrated");
    assert_eq!(rows(), before);
    assert!(
        before.iter().all(|rows| rows.lines().count() == 1 && rows.contains("\"account\": 1")),
        "{before:?}"
    );
    let store = open_database(&database);
    receive(&store, vec![crate::conversation::said(2, 1, "again", 2)], at(2)).await;
    let filter = ConversationFilter { person: Some(number(1)), ..Default::default() };
    let found = store.conversations(HOME, filter, page(MANY), at(3)).await.expect("read").items;
    let lines = store.lines(HOME, found[0].id, page(MANY)).await.expect("read").expect("there is one").items;
    assert_eq!(lines.len(), 2);
    store.close().await.expect("closed");
}

#[test]
fn an_address_that_is_none_is_refused_without_its_password() {
    for wrong in ["postgres://a:hush@db:port/x", "postgres://a:hush@db/x?sslmode=perhaps"] {
        let refused = Options::at(wrong).expect_err("it is none").to_string();
        assert!(refused.contains("no address") && !refused.contains("hush"), "{refused}");
    }
    let options = Options::at("postgres://a:hush@db:5433/x").expect("an address");
    assert_eq!(options.place(), "db:5433/x");
    assert!(!format!("{options:?}").contains("hush"));
}

// ── several processes ───────────────────────────────────────────────────────────────────────────────────────

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_serve_a_database_and_others_work_beside_them() {
    let Some(database) = database() else { return };
    let served = Options { served: true, ..options(&database) };
    let first = Postgres::open(&served).expect("it opens");
    let second = Postgres::open(&served).expect("it opens too");
    assert!(Postgres::look(&served).await.expect("seen").is_served);
    let beside = open_database(&database);
    beside.ping().await.expect("it writes");
    first.ping().await.expect("it writes");
    first.close().await.expect("closed");
    second.ping().await.expect("it writes");
    assert!(Postgres::look(&served).await.expect("seen").is_served);
    second.close().await.expect("closed");
    assert!(!Postgres::look(&served).await.expect("seen").is_served);
}

/// P-01, P-13
#[tokio::test(flavor = "multi_thread")]
async fn what_one_process_changes_counts_for_the_next_commit_of_another() {
    let Some(database) = database() else { return };
    let (here, there) = (open_database(&database), open_database(&database));
    accept(&here, [message(1)]).await;
    let waiting = here.waiting().await.expect("counted");
    assert_eq!(waiting.of(HOME.account), (1, 1));
    let recipient = vec![(HOME, number(1))];
    assert!(here.suppressed(recipient.clone(), START).await.expect("looked")[0].is_free());

    there.create_endpoint(endpoint(1), actor()).await.expect("created");
    let entry = Suppression {
        id: SuppressionId::from_key(1),
        realm: HOME,
        recipient: number(1),
        programme: None,
        reason: Reason::OptedOut,
        source: "api".into(),
        created_at: START,
        expires_at: None,
        lifted: None,
    };
    there.suppress(vec![entry], actor()).await.expect("added");
    accept(&there, [message(2)]).await;

    let again = here.accept(intake([message(3), message(1_001), message(4)]), START).await.expect("accepted");
    assert_eq!(again, Accepted::New(vec![Admission::Admitted; 3], Box::default()));
    let again = vec![tidings_domain::message::Message { recipient: number(1), ..message(5) }];
    let again = here.accept(intake(again), START).await.expect("accepted");
    assert_eq!(again, Accepted::New(vec![Admission::Suppressed(Reason::OptedOut.into())], Box::default()));
    let standing = here.suppressed(recipient, START).await.expect("looked");
    assert_eq!(standing[0].account, Some(Reason::OptedOut));
    assert_eq!(waiting.of(HOME.account), (5, 5), "those of both");

    // Events have places in the order of their commits, and the endpoint that the other one made hears of them.
    for (store, n) in [(&here, 1), (&there, 2), (&here, 3), (&there, 4)] {
        let out = advance(store, vec![to(id(n), tidings_domain::message::Input::Cancel)], START).await;
        assert_eq!(out.told.len(), 1);
    }
    let feed = feed(&here, HOME, 10).await;
    let places = [0, 1, 2, 3].map(|n| place_at(START) + n);
    assert_eq!(feed.iter().map(|told| told.id.key()).collect::<Vec<_>>(), places);
    for store in [here, there] {
        store.close().await.expect("closed");
    }
}

/// Many callers, two processes, one set of messages.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_come_at_once_from_two_processes_leave_each_message_once_in_its_queue() {
    let Some(database) = database() else { return };
    let stores = [open_database(&database), open_database(&database)];
    let mut calls = JoinSet::new();
    for n in 0..200 {
        let store = Arc::clone(&stores[n as usize % 2]);
        calls.spawn(async move {
            accept(&store, [message(n)]).await;
            // Each is tried to be taken by both.
            store.claim(Queue::of(LINE), 1, START).await.expect("claimed").tickets.len()
        });
    }
    let mut taken = 0;
    while let Some(call) = calls.join_next().await {
        taken += call.expect("no panic");
    }
    let rest = claim_at(&stores[0], START).await;
    assert_eq!(taken + rest.len(), 200);
    for n in 0..200 {
        assert_eq!(stored(&stores[0], id(n)).await.life.attempt, 1);
    }
    assert!(claim_at(&stores[1], START).await.is_empty());
}

// ── a server that is gone ───────────────────────────────────────────────────────────────────────────────────

/// Stands between a store and the server, and cuts the line.
struct Line {
    directory: tempfile::TempDir,
    state: Arc<Mutex<State>>,
    _listening: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct State {
    /// Nobody gets through.
    down: bool,
    /// When to cut a connection, once.
    cut: Option<Cut>,
    connections: JoinSet<()>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// Before the server hears of the commit.
    BeforeCommit,
    /// After it committed, before anybody hears of that.
    AfterCommit,
}

impl Line {
    async fn to(cluster: &'static Cluster) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let listener = UnixListener::bind(directory.path().join(".s.PGSQL.5432")).expect("it listens");
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut state = shared.lock().expect("no panic");
                if !state.down {
                    state.connections.spawn(carry(stream, cluster.socket(), Arc::clone(&shared)));
                }
            }
        });
        Self { directory, state, _listening: listening }
    }

    fn address(&self, database: &Database) -> String {
        format!("host={} user=postgres dbname={}", self.directory.path().display(), database.name())
    }

    fn down(&self, down: bool) {
        let mut state = self.state.lock().expect("no panic");
        state.down = down;
        if down {
            state.connections.abort_all();
        }
    }

    fn cut(&self, cut: Cut) {
        self.state.lock().expect("no panic").cut = Some(cut);
    }
}

async fn carry(mut client: UnixStream, socket: PathBuf, state: Arc<Mutex<State>>) {
    let Ok(mut server) = UnixStream::connect(socket).await else { return };
    let (mut from_client, mut from_server) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let commits = |octets: &[u8]| octets.windows(7).any(|window| window == b"COMMIT\0");
    let cut = || state.lock().expect("no panic").cut;
    let done = || state.lock().expect("no panic").cut = None;
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let Ok(n @ 1..) = read else { return };
                if cut() == Some(Cut::BeforeCommit) && commits(&from_client[..n]) {
                    return done();
                }
                if server.write_all(&from_client[..n]).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut from_server) => {
                let Ok(n @ 1..) = read else { return };
                if cut() == Some(Cut::AfterCommit) && commits(&from_server[..n]) {
                    return done();
                }
                if client.write_all(&from_server[..n]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// P-02
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone_is_said_to_be_and_found_again() {
    let Some(database) = database() else { return };
    let line = Line::to(Cluster::here().expect("it was there just now")).await;
    let store: Arc<dyn Backend> = Arc::new(
        Postgres::open(&Options::at(&line.address(&database)).expect("an address")).expect("it opens"),
    );
    accept(&store, [message(1)]).await;
    assert_eq!(status(&store, id(1)).await, Status::Queued);
    line.down(true);
    until(async || matches!(store.ping().await, Err(Error::Unavailable(_)))).await;
    assert!(matches!(store.message(HOME, id(1)).await, Err(Error::Unavailable(_))));
    assert!(matches!(store.accept(intake([message(2)]), START).await, Err(Error::Unavailable(_))));
    line.down(false);
    until(async || store.ping().await.is_ok()).await;
    assert_eq!(status(&store, id(1)).await, Status::Queued);
    accept(&store, [message(3)]).await;
    assert!(store.message(HOME, id(2)).await.expect("read").is_none());
    store.close().await.expect("closed");
}

/// P-01, P-02
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_looked_for_and_said_to_be_what_it_was() {
    let Some(database) = database() else { return };
    let line = Line::to(Cluster::here().expect("it was there just now")).await;
    let store: Arc<dyn Backend> = Arc::new(
        Postgres::open(&Options::at(&line.address(&database)).expect("an address")).expect("it opens"),
    );
    store.create_endpoint(endpoint(1), actor()).await.expect("created");
    for n in 0..10 {
        line.cut(Cut::AfterCommit);
        let taken = store.accept(intake([message(n)]), START).await;
        assert!(matches!(&taken, Ok(Accepted::New(..))), "it was done: {taken:?}");
        assert_eq!(status(&store, id(n)).await, Status::Queued);

        line.cut(Cut::BeforeCommit);
        let lost = store.accept(intake([message(100 + n)]), START).await;
        assert!(matches!(lost, Err(Error::Unavailable(_))), "it was not done: {lost:?}");
        assert!(store.message(HOME, id(100 + n)).await.expect("read").is_none());
        // What was remembered goes on where it was.
        let out = advance(&store, vec![to(id(n), tidings_domain::message::Input::Cancel)], START).await;
        assert_eq!(out.told[0].id.key(), place_at(START) + n);
    }
    store.close().await.expect("closed");
}

/// P-02
#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_after_the_server_crashed() {
    let Some(shared) = Cluster::here() else { return };
    let own = shared.with(&[]);
    let database = own.database();
    Postgres::migrate(&options(&database)).await.expect("migrated");
    let store = open_database(&database);
    let mut known = Vec::new();
    for round in 0..5 {
        let mut calls = JoinSet::new();
        for n in 0..40 {
            let (store, n) = (Arc::clone(&store), round * 100 + n);
            calls.spawn(async move {
                // Most are answered before the crash, some in it.
                tokio::time::sleep(Duration::from_millis(n as u64 % 40 * 5)).await;
                store.accept(intake([message(n)]), START).await.is_ok().then_some(n)
            });
        }
        let crash = tokio::task::spawn_blocking(|| own.crash());
        while let Some(call) = calls.join_next().await {
            known.extend(call.expect("no panic"));
        }
        crash.await.expect("it comes back");
        until(async || store.ping().await.is_ok()).await;
        for n in &known {
            assert_eq!(status(&store, id(*n)).await, Status::Queued);
        }
    }
    assert!(!known.is_empty());
    let all = store.messages(HOME, MessageFilter::default(), page(MANY)).await.expect("read").items.len();
    assert_eq!(claim_at(&store, START).await.len(), all);
    store.close().await.expect("closed");
}

// ── its plans, and its texts ────────────────────────────────────────────────────────────────────────────────

/// A database that was never analysed plans as if its tables were small. Each table is read through an index all the
/// same, and no more of it than is needed: what is read does not grow with what is there.
#[tokio::test(flavor = "multi_thread")]
async fn no_statement_reads_a_whole_table_however_new_the_database_is() {
    let Some(database) = database() else { return };
    for table in [
        "message",
        "due",
        "outstanding",
        "event_old",
        "event_rest",
        "delivery",
        "attempt_old",
        "attempt_rest",
        "suppression",
    ] {
        database.run(&format!("ALTER TABLE {table} SET (autovacuum_enabled = false)"));
    }
    // Statements are planned while the tables are empty, and again by a session that finds them so.
    database.run("VACUUM");
    let store = open_database(&database);
    store
        .create_endpoint(Endpoint { kinds: Kind::Delivered.bit(), ..endpoint(1) }, actor())
        .await
        .expect("created");
    const GROUPS: i64 = 60;
    const GROUP: i64 = 50;
    for group in 0..GROUPS {
        road(&store, group * GROUP, GROUP, START).await;
    }
    store.close().await.expect("closed");
    drop(store);
    let messages = GROUPS * GROUP;
    // Sessions report what they did when they end.
    until(async || {
        database.run("SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 'message'").trim()
            == messages.to_string()
    })
    .await;
    let seen = database.run(
        "SELECT relname, seq_scan, idx_tup_fetch FROM pg_stat_user_tables WHERE relname IN
           ('message', 'due', 'outstanding', 'event_rest', 'delivery', 'attempt_rest', 'suppression', 'idempotency')",
    );
    for line in seen.lines() {
        let mut words = line.split('|');
        let mut word = || words.next().expect("three words");
        let (table, scans) = (word(), word());
        let fetched: i64 = word().parse().unwrap_or(0);
        assert_eq!(scans, "0", "{table} was read as a whole: {seen}");
        assert!(fetched <= 8 * messages, "{table}: {fetched} rows were read for {messages} messages");
    }
    assert_eq!(seen.lines().count(), 8, "{seen}");
}

/// What hangs on a row of an account is reached by its key too.
#[tokio::test(flavor = "multi_thread")]
async fn what_people_write_is_put_away_found_and_forgotten_without_reading_a_whole_table() {
    let Some(database) = database() else { return };
    const TABLES: [&str; 5] =
        ["inbound", "inbound_part", "conversation", "conversation_entry", "conversation_word"];
    for table in TABLES {
        database.run(&format!("ALTER TABLE {table} SET (autovacuum_enabled = false)"));
    }
    database.run("VACUUM");
    let store = open_database(&database);
    const GROUPS: i64 = 40;
    const GROUP: i64 = 50;
    for group in 0..GROUPS {
        let all = (1..=GROUP).map(|n| group * GROUP + n);
        let people =
            all.map(|n| crate::conversation::said(n, n as u64, &format!("hi number{n}"), n)).collect();
        receive(&store, people, at(group * GROUP + GROUP)).await;
        let one = group * GROUP + 7;
        let query = tidings_domain::conversation::words(&format!("number{one}"));
        let found = store.search(HOME, query, page(MANY)).await.expect("searched").items;
        assert_eq!(found.len(), 1);
        let id = found[0].conversation;
        assert_eq!(
            store.lines(HOME, id, page(MANY)).await.expect("read").expect("there is one").items.len(),
            1
        );
        let inbound =
            store.inbound(HOME, InboundId::from_key(one)).await.expect("read").expect("there is one");
        assert_eq!(inbound.parts.len(), 1);
    }
    // Only a few of them are old.
    let keep = Retention { messages_ms: Some(DAY_MS), ..KEPT_A_DAY };
    store.sweep(keep, 100, at(100).plus_ms(DAY_MS)).await.expect("swept");
    store.close().await.expect("closed");
    drop(store);
    let texts = GROUPS * GROUP;
    until(async || {
        database.run("SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 'inbound'").trim()
            == texts.to_string()
    })
    .await;
    for table in TABLES {
        let seen = database.run(&format!(
            "SELECT seq_scan, coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables WHERE relname = '{table}'"
        ));
        let (scans, fetched) = seen.trim().split_once('|').expect("two words");
        assert_eq!(scans, "0", "{table} was read as a whole");
        let fetched: i64 = fetched.parse().expect("a number");
        assert!(fetched <= 8 * texts, "{table}: {fetched} rows were read for {texts} texts");
    }
}

/// A person has a few conversations, everybody together millions.
#[tokio::test(flavor = "multi_thread")]
async fn the_conversations_of_a_person_are_found_without_those_of_others() {
    let Some(database) = database() else { return };
    database.run("ALTER TABLE conversation SET (autovacuum_enabled = false)");
    let store = open_database(&database);
    let people = (1..=300).map(|n| crate::conversation::said(n, n as u64, "hi", n)).collect();
    receive(&store, people, at(300)).await;
    let filter = ConversationFilter { person: Some(number(7)), ..Default::default() };
    let found = store.conversations(HOME, filter, page(MANY), at(301)).await.expect("read").items;
    assert_eq!(found.len(), 1);
    receive(&store, vec![crate::conversation::said(301, 7, "hi again", 301)], at(302)).await;
    store.close().await.expect("closed");
    drop(store);
    let seen = || {
        database.run(
            "SELECT indexrelname, idx_tup_read FROM pg_stat_user_indexes WHERE relname = 'conversation' ORDER BY 1",
        )
    };
    // Sessions report what they did when they end.
    let by_person = "conversation_account_live_person_sender_key|";
    until(async || seen().lines().any(|line| line.starts_with(by_person) && !line.ends_with("|0"))).await;
    for line in seen().lines() {
        let (index, read) = line.split_once('|').expect("two words");
        let read: i64 = read.trim().parse().expect("a number");
        assert!(read <= 10, "{index}: {read} entries were read: {}", seen());
    }
}

/// Retention goes in steps, and the steps of a long backlog do not get longer with it.
#[tokio::test(flavor = "multi_thread")]
async fn while_much_is_forgotten_those_conversations_are_not_looked_into_that_have_something_left() {
    let Some(database) = database() else { return };
    for table in ["conversation", "conversation_entry"] {
        database.run(&format!("ALTER TABLE {table} SET (autovacuum_enabled = false)"));
    }
    let store = open_database(&database);
    // Each person says something, and later something else.
    let said = |n: i64| crate::conversation::said(n, (n % 300) as u64, &format!("hi {n}"), n);
    receive(&store, (0..600).map(said).collect(), at(600)).await;
    let messages_ms = Some(1_000);
    let keep = Retention { messages_ms, ..KEPT_A_DAY };
    assert!(store.sweep(keep, 10, at(1_000)).await.expect("swept"), "there is more");
    let left = store.conversations(HOME, ConversationFilter::default(), page(MANY), at(1_000)).await;
    assert_eq!(left.expect("read").items.len(), 300);
    store.close().await.expect("closed");
    drop(store);
    // Sessions report what they did when they end.
    let gone = "SELECT n_tup_del > 0 FROM pg_stat_user_tables WHERE relname = 'conversation_entry'";
    until(async || database.run(gone).trim() == "t").await;
    let read = "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'conversation_last'";
    let read: i64 = database.run(read).trim().parse().expect("a number");
    assert!(read <= 50, "{read} conversations were looked into where none was empty");
}

/// P-33: claims, wake-ups and looks at what is due next do not read again and again what others' old transactions keep alive.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_stays_open_slows_no_queue() {
    let Some(database) = database() else { return };
    let store = open_database(&database);
    store
        .create_endpoint(Endpoint { kinds: Kind::Delivered.bit(), ..endpoint(1) }, actor())
        .await
        .expect("created");
    // Somebody looks at the tables and goes to lunch.
    let config: tokio_postgres::Config = database.address().parse().expect("an address");
    let (stranger, connection) = config.connect(tokio_postgres::NoTls).await.expect("it opens");
    let connection = tokio::spawn(connection);
    stranger
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM message")
        .await
        .expect("it reads");
    const GROUPS: i64 = 60;
    const GROUP: i64 = 50;
    for group in 0..GROUPS {
        road(&store, group * GROUP, GROUP, START.plus_ms(group * 3_000)).await;
    }
    store.close().await.expect("closed");
    drop(store);
    let messages = GROUPS * GROUP;
    until(async || {
        database.run("SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 'message'").trim()
            == messages.to_string()
    })
    .await;
    let seen = database.run(
        "SELECT indexrelname, idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname IN
           ('due_pkey', 'due_expiry', 'delivery_pkey')",
    );
    for line in seen.lines() {
        let (index, read) = line.split_once('|').expect("two words");
        let read: i64 = read.trim().parse().expect("a number");
        assert!(read <= 12 * messages, "{index}: {read} entries were read for {messages} messages");
    }
    assert_eq!(seen.lines().count(), 3, "{seen}");
    drop(stranger);
    connection.await.expect("no panic").expect("it ended");
}

/// Takes messages all the way: half are claimed from the queue, each is reported and told.
async fn road(store: &Arc<dyn Backend>, first: i64, count: i64, start: Timestamp) {
    let at = |seconds: i64| start.plus_ms(seconds * 1_000);
    let message = |n| Message { created_at: start, expires_at: start.plus_ms(2 * HOUR_MS), ..message(n) };
    let accepted = store.accept(intake((first..first + count).map(message)), start).await;
    assert!(matches!(accepted, Ok(Accepted::New(..))), "{accepted:?}");
    for _ in 0..count {
        assert_eq!(store.queues(LINE).await.expect("read"), []);
    }
    let tickets = store.claim(Queue::of(LINE), MANY, start).await.expect("claimed").tickets;
    assert_eq!(tickets.len(), count as usize);
    let recipients = tickets.iter().map(|ticket| (HOME, ticket.message.recipient)).collect();
    store.suppressed(recipients, start).await.expect("looked");
    let name = |id: MessageId| format!("{:x}", (id.key() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let answers = tickets.iter().map(|ticket| taken(ticket.message.id, 1, 0, &name(ticket.message.id)));
    advance(store, answers.collect(), start).await;
    let receipts = tickets.iter().map(|ticket| {
        let about = receipt(&name(ticket.message.id), ticket.message.recipient, Some(Outcome::Delivered));
        reported(about)
    });
    let told = advance(store, receipts.collect(), at(1)).await.told;
    assert_eq!(told.len(), count as usize);
    let attempts = told.iter().map(|told| Attempt {
        seq: 0,
        realm: HOME,
        event: told.id,
        message: None,
        endpoint: EndpointId::from_key(7),
        lease: told.delivery.expect("it is leased").due_at,
        number: 1,
        at: at(1),
        took_ms: 1,
        status: Some(204),
        request: String::new(),
        response: String::new(),
        verdict: Verdict::Done,
    });
    store.record_attempts(attempts.collect(), at(1)).await.expect("recorded");
    wake(store, at(2)).await;
    store.next_due(Some(Queue::of(LINE)), at(2)).await.expect("read");
    store.next_due(None, at(2)).await.expect("read");
    store.due_endpoints().await.expect("read");
}

/// A message that the disk changed goes to nobody, and keeps no other from going.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_not_what_was_accepted_is_set_aside_and_not_sent() {
    let Some(database) = database() else { return };
    let store = open_database(&database);
    accept(&store, (1..=5).map(message)).await;
    let damage = |n: i64, how: &str| {
        database.run(&format!("UPDATE message SET {how} WHERE id = {}", id(n).key()));
    };
    damage(1, "recipient = recipient + 1");
    damage(2, "text = text || '!'");
    damage(3, "sender = '?'");
    let sent: Vec<MessageId> = claim_at(&store, START).await.iter().map(|ticket| ticket.message.id).collect();
    assert_eq!(sent, [id(4), id(5)]);
    for n in [1, 2] {
        let kept = stored(&store, id(n)).await;
        assert_eq!((kept.life.state.status(), kept.message.text), (Status::Failed, None));
    }
    assert_eq!(store.reviews(HOME, None, true, page(MANY)).await.expect("read").items.len(), 2);
    assert!(claim_at(&store, START).await.is_empty());
    assert_eq!(store.waiting().await.expect("counted").of(HOME.account), (0, 0));
    store.close().await.expect("closed");
}

/// P-36
#[tokio::test(flavor = "multi_thread")]
async fn a_character_that_postgresql_cannot_keep_is_marked_and_nothing_fails() {
    let Some(database) = database() else { return };
    let store = open_database(&database);
    store.create_endpoint(endpoint(1), actor()).await.expect("created");
    let odd = Arrival { from: "4670\0".into(), ..arrival(floor_at(START) + 9, "@\0!", START) };
    let told = receive(&store, vec![odd], START).await.told;
    let event = store.event(HOME, told[0].id).await.expect("read").expect("there");
    let About::Inbound(kept) = event.about else { panic!("it is inbound") };
    assert_eq!((kept.from.as_str(), kept.text.as_str()), ("4670\u{FFFD}", "@\u{FFFD}!"));

    let id = sending(&store, message(1)).await;
    advance(&store, vec![taken(id, 1, 0, "a\0b")], START).await;
    let out = advance(&store, vec![delivered("a\0b", number(1))], START).await;
    assert_eq!(out.statuses, [Some(Status::Delivered)]);
    assert!(store.token_by_lookup("a\0".into()).await.expect("read").is_none());
    let filter = MessageFilter { reference: Some("\0".into()), ..MessageFilter::default() };
    assert!(store.messages(HOME, filter, page(5)).await.expect("read").items.is_empty());
    store.set_hold(Some("why\0".into()), actor(), START).await.expect("held");
    assert_eq!(store.hold().await.expect("read").as_deref(), Some("why\u{FFFD}"));
    store.close().await.expect("closed");
}

/// A node of before takes a message out and knows no media.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_of_before_leaves_of_a_message_is_swept_away() {
    let Some(database) = database() else { return };
    let store = open_database(&database);
    let old = crate::media::with(arrival(floor_at(START) + 1, "", START), &[("image/png", None, b"a")]);
    let kept = crate::media::with(arrival(floor_at(START) + 2, "", START), &[("image/png", None, b"b")]);
    receive(&store, vec![old, kept], START).await;
    database.run(&format!("DELETE FROM inbound WHERE id = {}", floor_at(START) + 1));
    let keep = Retention { messages_ms: Some(DAY_MS), ..KEPT_A_DAY };
    store.sweep(keep, MANY, at(9).plus_ms(DAY_MS)).await.expect("swept");
    // The newest event's message stays.
    assert_eq!(database.run("SELECT inbound FROM media").trim(), (floor_at(START) + 2).to_string());
    store.close().await.expect("closed");
}

/// Whoever writes without taking a turn is seen by nobody before its commit.
#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_somebody_is_just_making_has_its_name() {
    let Some(database) = database() else { return };
    let store = open_database(&database);
    let config: tokio_postgres::Config = database.address().parse().expect("an address");
    let (stranger, connection) = config.connect(tokio_postgres::NoTls).await.expect("it opens");
    let connection = tokio::spawn(connection);
    stranger
        .batch_execute("BEGIN; INSERT INTO template VALUES (7, 1, 1, 'hello', '', 1, 0)")
        .await
        .expect("it makes one");
    let making = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.create_template(crate::template::template(8, "hello"), actor()).await }
    });
    until(async || database.run("SELECT count(*) FROM pg_locks WHERE NOT granted").trim() == "1").await;
    stranger.batch_execute("COMMIT").await.expect("it has made it");
    let expected = format!("the template {} has the name `hello` already", TemplateId::from_key(7));
    match making.await.expect("no panic") {
        Err(Error::Conflict(why)) => assert_eq!(why, expected),
        other => panic!("{other:?}"),
    }
    store.close().await.expect("closed");
    drop(stranger);
    connection.await.expect("no panic").expect("it ended");
}
