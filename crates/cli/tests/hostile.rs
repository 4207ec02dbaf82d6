//! The real binary among people who mean no good, or do not know better: clients that are silent by the thousand,
//! settings that are not safe, and everything that must not be said, looked for wherever something is said.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tidings_witness::clock;
use tidings_witness::http::Client;

/// No wait takes longer, on the slowest machine: ms.
const LIMIT_MS: u64 = 120_000;

/// An installation in a directory of its own.
struct Place {
    directory: tempfile::TempDir,
    address: SocketAddr,
}

/// The binary while it serves. It is ended by force when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Place {
    fn new(more: &str) -> Self {
        let directory = tempfile::tempdir().expect("the test's own part works");
        let address = TcpListener::bind("127.0.0.1:0")
            .expect("the test's own part works")
            .local_addr()
            .expect("the test's own part works");
        let data = directory.path().join("data");
        let text = format!("[data]\ndirectory = {data:?}\n[http]\nlisten = \"{address}\"\n{more}");
        fs::write(directory.path().join("tidings.toml"), text).expect("the test's own part works");
        Self { directory, address }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
        command.args(arguments).arg("--config").arg(self.file("tidings.toml")).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the test's own part works")
    }

    /// A token of the test environment with all scopes.
    fn token(&self) -> String {
        let made = self.run(&[
            "token",
            "create",
            "--environment",
            "test",
            "--scope",
            "all",
            "--rate",
            "1000000",
            "--json",
        ]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let made: serde_json::Value =
            serde_json::from_slice(&made.stdout).expect("the test's own part works");
        made["token"].as_str().expect("the test's own part works").to_owned()
    }

    /// Serves, with everything that is said in the file `log`, and waits until it is ready.
    fn serve(&self, more: &[&str]) -> Running {
        let migrated = self.run(&["migrate"]);
        assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
        let log = fs::File::create(self.file("log")).expect("the test's own part works");
        let mut command = self.command(&[&["serve"], more].concat());
        command.stdout(log.try_clone().expect("the test's own part works")).stderr(log);
        let mut running = Running(command.spawn().expect("the test's own part works"));
        let mut client = Client::new(self.address, "");
        let ready = clock::wait_until(LIMIT_MS, 5, || {
            assert!(
                running.0.try_wait().expect("the test's own part works").is_none(),
                "it ended: {}",
                self.log()
            );
            client.ask("GET", "/readyz", None, "").is_ok_and(|answer| answer.status == 200)
        });
        assert!(ready, "it is not ready: {}", self.log());
        running
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.file("log")).unwrap_or_default()).into_owned()
    }

    /// A connection that has sent these octets.
    fn sent(&self, octets: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).expect("the test's own part works");
        stream.write_all(octets.as_bytes()).expect("the test's own part works");
        stream
    }
}

/// SIGTERM, and the exit code.
fn stop(mut running: Running) -> Option<i32> {
    let asked = Command::new("kill")
        .arg("-TERM")
        .arg(running.0.id().to_string())
        .status()
        .expect("the test's own part works");
    assert!(asked.success());
    let mut code = None;
    let ended =
        clock::wait_until(LIMIT_MS, 5, || match running.0.try_wait().expect("the test's own part works") {
            Some(status) => {
                code = status.code();
                true
            }
            None => false,
        });
    assert!(ended, "it does not stop");
    code
}

/// As many file descriptors as a test needs; fewer connections where the system gives fewer.
fn connections_possible(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let files = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |files| files as usize);
    wanted.min(files.saturating_sub(200))
}

/// Slow clients by the thousand keep nobody out, fill no memory, and do not hold up a stop. P-30 P-33
#[test]
fn a_thousand_silent_clients_are_nobodys_trouble() {
    let place = Place::new("");
    let running = place.serve(&[]);
    let token = place.token();
    let crowd = connections_possible(1_000);
    let memory = memory_kib(&running);
    let mut silent = Vec::new();
    for n in 0..crowd {
        silent.push(place.sent(match n % 4 {
            0 => "",
            1 => "POST /v1/sms HTTP/1.1\r\nHost: a\r\nX-",
            2 => "POST /v1/sms HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n{",
            _ => "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n",
        }));
        if n % 100 == 0 {
            let mut client = Client::new(place.address, &token);
            assert_eq!(
                client.ask("GET", "/v1/account", None, "").expect("the test's own part works").status,
                200,
                "after {n}"
            );
        }
    }
    let body = r#"{"from":"+15550001111","to":"+15550002222","message":"for all that"}"#;
    let mut client = Client::new(place.address, &token);
    for _ in 0..20 {
        assert_eq!(
            client.ask_again("POST", "/v1/sms", None, body).expect("the test's own part works").status,
            202
        );
    }
    let more = memory_kib(&running).saturating_sub(memory);
    assert!(more < 100 * 1024, "{more} KiB more");
    assert_eq!(stop(running), Some(0), "{}", place.log());
    // Those who had an answer got it, and all are closed.
    for (n, mut stream) in silent.into_iter().enumerate() {
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        if n % 4 == 3 {
            assert!(answer.starts_with(b"HTTP/1.1 200"), "{n}");
        }
    }
}

fn memory_kib(running: &Running) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", running.0.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// P-35
#[test]
fn unsafe_settings_keep_it_from_starting() {
    let live = |password: &str| {
        format!(
            "[[connection]]\nname = \"north\"\nkind = \"smpp\"\naddress = \"smpp.example\"\nsystem_id = \"a\"\npassword = \"{password}\"\n"
        )
    };
    for (name, more, code, says) in [
        ("a password of the documents", live("changeme"), 2, "is empty or one that stands in documents"),
        ("no password", live(""), 2, "is empty or one that stands in documents"),
        ("commits that may be lost", "[data2]\n".to_owned(), 2, "section \"data2\" is not known"),
        (
            "a real carrier for tests",
            format!("{}environment = \"test\"\n", live("k3-Yf9_w")),
            2,
            "the test environment never reaches a real carrier",
        ),
    ] {
        let place = Place::new(&more);
        let refused = place.run(&["serve"]);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(code), "{name}: {said}");
        assert!(said.contains(says), "{name}: {said}");
    }
    let place = Place::new("synchronous = \"NORMAL\"\n");
    let text = fs::read_to_string(place.file("tidings.toml")).expect("the test's own part works");
    let text =
        text.replace("synchronous = \"NORMAL\"\n", "").replace("[http]", "synchronous = \"NORMAL\"\n[http]");
    fs::write(place.file("tidings.toml"), text).expect("the test's own part works");
    let refused = place.run(&["serve"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("key \"synchronous\" is not known in [data]"));

    let place = Place::new("");
    assert!(place.run(&["migrate"]).status.success());
    open_to_all(&place.file("data"));
    let refused = place.run(&["serve"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(
        said.contains("everybody on this machine may open the data directory") && said.contains("chmod 700"),
        "{said}"
    );
}

fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("the test's own part works");
}

/// What must be found nowhere, and where it was put.
const TEXT: &str = "CANARYTEXT31";
const SECRETS: [(&str, &str); 8] = [
    ("the carrier's password", "CANARYPASSWORD32"),
    ("a made-up token", "tid_test_CANARY33_00000000000000000000000000000000000000"),
    ("a token in an address", "tid_live_CANARY34_00000000000000000000000000000000000000"),
    ("an idempotency key", "CANARYKEY35"),
    ("metadata", "CANARYMETADATA36"),
    ("an endpoint's answer", "CANARYANSWER37"),
    ("a client's secret", "CANARYCLIENT38"),
    ("a password of basic authorization", "CANARYBASIC39"),
];

/// A carrier on this machine that writes the beginning of each text into its receipts, and sends garbage at times.
struct Carrier {
    address: SocketAddr,
    stop: tokio::sync::oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Carrier {
    fn start() -> Self {
        use tidings_carriers::faults::Faults;
        use tidings_carriers::smsc::{self, Stage};
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("the test's own part works");
            runtime.block_on(async {
                let settings = smsc::Settings {
                    address: "127.0.0.1:0".parse().expect("the test's own part works"),
                    accounts: [("tidings".to_owned(), "CANARYPASSWORD32".to_owned())].into(),
                    faults: Faults {
                        garbage_every: Some(10),
                        lost_answers_percent: 5.0,
                        ..Faults::default()
                    },
                    ..smsc::Settings::default()
                };
                let now = tidings_domain::time::Timestamp::parse("2026-11-24T12:00:00Z")
                    .expect("the test's own part works");
                let smsc = smsc::listen(settings, Stage { seed: 1, now, seen: None })
                    .await
                    .expect("the test's own part works");
                tell.send(smsc.address()).expect("the test's own part works");
                smsc.run(async { drop(stopped.await) }).await;
            });
        });
        Self { address: told.recv().expect("the test's own part works"), stop, thread }
    }

    fn stop(self) {
        let _ = self.stop.send(());
        self.thread.join().expect("the test's own part works");
    }
}

/// An endpoint that always fails, with a word in its answer.
fn failing_endpoint() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the test's own part works");
    let address = listener.local_addr().expect("the test's own part works");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut head = [0; 4096];
            let _ = stream.read(&mut head);
            let _ = stream.write_all(
                b"HTTP/1.1 500 No\r\nContent-Length: 14\r\nConnection: close\r\n\r\nCANARYANSWER37",
            );
        }
    });
    address
}

/// P-38: secrets, texts and full numbers are in no line of the log at its most talkative, in no metric, in no answer
/// that refuses, and in nothing that the commands say when they fail.
#[test]
fn nothing_that_is_said_gives_a_secret_a_text_or_a_number_away() {
    let carrier = Carrier::start();
    let place = Place::new(&format!(
        "[log]\nformat = \"json\"\n[retry]\nfirst_delay_s = 1\nmax_delay_s = 2\nmax_tries = 2\n[webhooks]\nallow_http = true\nallow_loopback = true\nports = []\n\
         [[connection]]\nname = \"pretend\"\nkind = \"smpp\"\nenvironment = \"test\"\naddress = \"{}\"\nsystem_id = \"tidings\"\npassword = \"CANARYPASSWORD32\"\nresponse_timeout_s = 1\n\
         status_codes = [\"simulator\", \"smpp\"]\nreceipt_codes = [\"simulator\", \"gsm-map\"]\n",
        carrier.address
    ));
    let running = place.serve(&["-vvvv"]);
    let token = place.token();
    let mut client = Client::new(place.address, &token);
    let mut said: Vec<(String, String)> = Vec::new();
    let mut secrets: Vec<(String, String)> =
        SECRETS.iter().map(|(what, secret)| ((*what).to_owned(), (*secret).to_owned())).collect();
    secrets.push(("the token".to_owned(), token[18..].to_owned()));
    secrets.push(("the text".to_owned(), TEXT.to_owned()));

    // What is accepted, and goes every way that a message can go.
    let endpoint = format!(r#"{{"url":"http://{}/hook"}}"#, failing_endpoint());
    let made = client.ask("POST", "/v1/webhooks", None, &endpoint).expect("the test's own part works").json();
    secrets.push((
        "an endpoint's secret".to_owned(),
        made["secret"].as_str().expect("the test's own part works")[6..].to_owned(),
    ));
    let made = client
        .ask("POST", "/v1/clients", None, r#"{"name":"crm"}"#)
        .expect("the test's own part works")
        .json();
    secrets.push((
        "a client's own secret".to_owned(),
        made["client_secret"].as_str().expect("the test's own part works").to_owned(),
    ));
    let mut sent = Vec::new();
    for (n, magic) in tidings_carriers::script::magic_numbers().iter().enumerate() {
        let number = format!("1555{:07}", 9_000_000 + u32::from(magic.code) * 10_000 + 7);
        let body = format!(
            r#"{{"from":"+15550001111","to":"+{number}","text":"{TEXT} for you","metadata":{{"order":"CANARYMETADATA36"}},"purpose":"alert"}}"#
        );
        let key = format!("CANARYKEY35-{n}");
        let answer =
            client.ask("POST", "/v1/messages", Some(&key), &body).expect("the test's own part works");
        assert!([202, 422].contains(&answer.status), "{}", String::from_utf8_lossy(&answer.body));
        if answer.status == 202 {
            sent.push(answer.json()["id"].as_str().expect("the test's own part works").to_owned());
        } else {
            said.push((format!("refusal of {number}"), String::from_utf8_lossy(&answer.body).into_owned()));
        }
        secrets.push(("a recipient".to_owned(), number));
    }
    secrets.push(("a sender".to_owned(), "15550001111".to_owned()));

    // What is refused, in every way that we know.
    let hello = format!(r#"{{"from":"+15550001111","to":"+15550002222","message":"{TEXT}"}}"#);
    secrets.push(("a recipient".to_owned(), "15550002222".to_owned()));
    secrets.push(("a number that is none".to_owned(), "46701740605123456".to_owned()));
    let refused = [
        ("POST", "/v1/sms", hello.replace("\"message\"", "\"massage\"")),
        ("POST", "/v1/sms", hello.replace("+15550002222", "+46701740605123456")),
        ("POST", "/v1/sms", hello.replace("+15550001111", "15550001111x")),
        ("POST", "/v1/sms", hello[..60].to_owned()),
        ("POST", "/v1/sms", format!("{hello}{hello}")),
        ("POST", "/v1/sms", hello.replace(TEXT, &TEXT.repeat(300))),
        ("POST", "/v1/sms", hello.replace(TEXT, &format!("{TEXT}\\u0000"))),
        ("POST", "/v1/messages", hello.replacen('{', r#"{"metadata":["CANARYMETADATA36"],"#, 1)),
        ("POST", "/v1/messages", hello.replacen('{', r#"{"send_at":"CANARYMETADATA36","#, 1)),
        ("POST", "/v1/messages/batch", format!(r#"{{"messages":[{hello},{}]}}"#, hello.replace("to", "tu"))),
        ("POST", "/v1/suppressions", r#"{"to":"+15550002222","reason":"CANARYMETADATA36"}"#.to_owned()),
        ("POST", "/v1/webhooks", r#"{"url":"https://user:CANARYBASIC39@example.com/"}"#.to_owned()),
        (
            "GET",
            "/v1/messages?access_token=tid_live_CANARY34_00000000000000000000000000000000000000",
            String::new(),
        ),
        ("GET", "/v1/messages?to=%2B15550002222x", String::new()),
        ("GET", "/v1/messages/tid_live_CANARY34_00000000000000000000000000000000000000", String::new()),
    ];
    for (method, path, body) in &refused {
        let answer = client.ask(method, path, Some("CANARYKEY35"), body).expect("the test's own part works");
        if answer.status >= 400 {
            said.push((format!("{method} {path:.30}"), String::from_utf8_lossy(&answer.body).into_owned()));
        }
    }
    for head in [
        "GET /v1/account HTTP/1.1\r\nAuthorization: Bearer tid_test_CANARY33_00000000000000000000000000000000000000\r\n",
        "GET /v1/account HTTP/1.1\r\nAuthorization: Basic Q0FOQVJZQkFTSUMzOTpDQU5BUllCQVNJQzM5\r\n",
        "POST /oauth/token HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\nX: CANARYBASIC39\r\n",
        "GET /tid_live_CANARY34_00000000000000000000000000000000000000 HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nCANARYBASIC39 : x\r\n",
    ] {
        let mut stream = place.sent(&format!(
            "{head}Host: a\r\nConnection: close\r\n\r\n{:<100}",
            "grant_type=client_credentials&client_id=cli_1&client_secret=CANARYCLIENT38"
        ));
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        said.push((format!("{head:.40}"), String::from_utf8_lossy(&answer).into_owned()));
    }

    // Until nothing more is under way, or it has been long enough for the first receipts, retries and calls.
    clock::wait_until(12_000, 200, || {
        sent.iter().all(|id| {
            let shown = client
                .ask("GET", &format!("/v1/messages/{id}"), None, "")
                .expect("the test's own part works")
                .json();
            ["delivered", "undelivered", "failed", "rejected", "expired", "unconfirmed"]
                .contains(&shown["status"].as_str().unwrap_or_default())
        })
    });
    for path in [
        "/metrics",
        "/readyz",
        "/v1/connections",
        "/v1/audit?limit=100",
        "/v1/account",
        "/v1/tokens",
        "/v1/clients",
        "/v1/webhooks",
    ] {
        let answer = client.ask("GET", path, None, "").expect("the test's own part works");
        said.push((path.to_owned(), String::from_utf8_lossy(&answer.body).into_owned()));
    }
    for arguments in [
        &["doctor"][..],
        &["config", "show"],
        &["config", "check"],
        &["audit"],
        &["token", "list"],
        &["message", "show", "msg_x"],
    ] {
        let output = place.run(arguments);
        let both = [output.stdout, output.stderr].concat();
        said.push((arguments.join(" "), String::from_utf8_lossy(&both).into_owned()));
    }
    assert_eq!(stop(running), Some(0));
    carrier.stop();
    let log = place.log();
    assert!(log.lines().count() > 100, "the log was to be talkative: {log}");
    assert!(log.contains("\"route\":\"/v1/messages/{id}\"") && log.contains("unreadable"), "{log:.2000}");
    said.push(("the log".to_owned(), log));

    let mut found = Vec::new();
    for (place, text) in &said {
        for (what, secret) in &secrets {
            if text.contains(secret.as_str()) {
                let line = text.lines().find(|line| line.contains(secret.as_str())).unwrap_or_default();
                found.push(format!("{place} gives {what} away: {line:.300}"));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}
