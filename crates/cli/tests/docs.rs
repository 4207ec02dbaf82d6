//! The documentation is run: every command and program that is marked `run` in README.md and in docs/src, the
//! receivers of the webhook tutorial, and the programs in examples/, against the real binary as `tidings dev` starts
//! it. What needs an interpreter that is not here is skipped with one line; `TIDINGS_TEST_REQUIRE=python,node,php`
//! makes that a failure.
//!
//! What is printed there is `http://127.0.0.1:8080`; here it is the address that the system under test got.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// The address as it is printed in the documentation.
const PRINTED: &str = "http://127.0.0.1:8080";
/// How long anything here may take. It is not judged, it ends what hangs.
const LIMIT: Duration = Duration::from_secs(60);
/// What no answer may say, though `curl` is content with it.
const NOT_EXPECTED: [&str; 9] = [
    "\"AUTH_FAILED\"",
    "\"FORBIDDEN\"",
    "\"NOT_FOUND\"",
    "\"METHOD_NOT_ALLOWED\"",
    "\"INVALID_REQUEST\"",
    "\"UNSUPPORTED_MEDIA_TYPE\"",
    "\"UNKNOWN_ERROR\"",
    "\"UNAVAILABLE\"",
    "\"IDEMPOTENCY_CONFLICT\"",
];

#[test]
fn every_command_of_the_documentation_runs() {
    let house = House::start("commands");
    let blocks = blocks(",run");
    assert!(blocks.len() >= 8, "only {} blocks are marked as run", blocks.len());
    let mut failures = Vec::new();
    for block in blocks {
        let Some(interpreter) = Interpreter::of(block.language) else {
            failures.push(format!("{}: nothing runs `{}`", block.place, block.language));
            continue;
        };
        if !interpreter.is_here(&block.place) {
            continue;
        }
        failures.extend(house.run(interpreter, &block.text, &block.place).err());
    }
    assert!(failures.is_empty(), "\n\n{}\n", failures.join("\n\n"));
}

#[test]
fn every_example_runs() {
    let house = House::start("examples");
    let mut failures = Vec::new();
    for file in files(&root().join("examples"), &["sh", "py", "mjs", "js", "php"]) {
        let place = file.strip_prefix(root()).expect("it lies there").display().to_string();
        // The stories have a test of their own, with a carrier whose people write.
        if place.starts_with("examples/people") {
            continue;
        }
        let ending = file.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let Some(interpreter) = Interpreter::of(ending) else { continue };
        let text = std::fs::read_to_string(&file).expect("an example is text");
        if !interpreter.is_here(&place) || !module_is_here(&place) {
            continue;
        }
        failures.extend(house.run(interpreter, &text, &place).err());
    }
    assert!(failures.is_empty(), "\n\n{}\n", failures.join("\n\n"));
}

#[test]
fn the_receivers_of_the_tutorial_take_real_webhooks_and_refuse_forged_ones() {
    let house = House::start("receivers");
    let receivers = blocks(",receiver");
    assert_eq!(receivers.len(), 2, "the tutorial has a receiver in Python and one in Node.js");
    for block in receivers {
        let interpreter = Interpreter::of(block.language).expect("a language that is known");
        if !interpreter.is_here(&block.place) {
            continue;
        }
        // The secret is needed before the receiver has its port: the endpoint is made first, and told its port later.
        let wanted = json!({ "url": "http://127.0.0.1:1/sms-events", "events": ["message.sent", "message.delivered"] });
        let endpoint = house.ask("POST", "/v1/webhooks", Some(&wanted));
        let secret = endpoint["secret"].as_str().unwrap_or_else(|| panic!("no secret in {endpoint}"));
        let program = house.write(interpreter, &block.text);
        let mut command = interpreter.command(&program);
        command.env("PORT", "0").env("TIDINGS_WEBHOOK_SECRET", format!("{secret} whsec_b3RoZXI="));
        let mut receiver = Running::start(command, &house.directory.join("receiver.log"));
        let port: u16 = receiver
            .line_with("listening on")
            .rsplit(' ')
            .next()
            .and_then(|port| port.trim().parse().ok())
            .expect("a port");
        let id = endpoint["id"].as_str().expect("an id");
        house.ask(
            "PATCH",
            &format!("/v1/webhooks/{id}"),
            Some(&json!({ "url": format!("http://127.0.0.1:{port}/sms-events") })),
        );

        let forged =
            [("webhook-id", "evt_1"), ("webhook-timestamp", "1700000000"), ("webhook-signature", "v1,AAAA")];
        let (status, _) = http(port, "POST", "/sms-events", &forged, "{}");
        assert_eq!(status, 400, "{}: a forged call must be refused", block.place);

        let message = house.ask(
            "POST",
            "/v1/sms",
            Some(&json!({ "from": "+15550001111", "to": "+15550002222", "message": "Hello" })),
        );
        let line = receiver.line_with("message.delivered");
        assert!(line.contains(message["id"].as_str().expect("an id")), "{}: {line}", block.place);
        house.ask("DELETE", &format!("/v1/webhooks/{id}"), None);
    }
}

/// A system as `dev` starts it.
struct House {
    _process: Running,
    port: u16,
    token: String,
    operator_token: String,
    directory: PathBuf,
}

impl House {
    fn start(name: &str) -> Self {
        let directory =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("docs-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&directory));
        std::fs::create_dir_all(&directory).expect("a directory for the test");
        let data = directory.join("data");
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
        command.args(["dev", "--json", "--listen", "127.0.0.1:0", "--data"]).arg(&data);
        let mut process = Running::start(command, &directory.join("dev.log"));
        let told = process.json();
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("dev told {told}")).to_owned();
        let (address, token) = (text(&told["address"]), text(&told["tokens"]["sms"]));
        let port =
            address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("the address has a port");
        let made = Command::new(env!("CARGO_BIN_EXE_tidings"))
            .args(["token", "create", "--name", "docs", "--scope", "all", "--json", "--data"])
            .arg(&data)
            .output()
            .expect("the binary starts");
        let made: Value = serde_json::from_slice(&made.stdout)
            .unwrap_or_else(|_| panic!("token create: {}", String::from_utf8_lossy(&made.stderr)));
        let operator_token =
            made["token"].as_str().unwrap_or_else(|| panic!("token create told {made}")).to_owned();
        Self { _process: process, port, token, operator_token, directory }
    }

    /// Runs a program of the documentation.
    fn run(&self, interpreter: Interpreter, text: &str, place: &str) -> Result<(), String> {
        let program = self.write(interpreter, text);
        let mut command = interpreter.command(&program);
        command
            // What it writes is gone with the house.
            .current_dir(&self.directory)
            .env("TIDINGS_TOKEN", &self.token)
            .env("SMS_API_TOKEN", &self.token)
            .env("TIDINGS_OPERATOR_TOKEN", &self.operator_token);
        let output = finish(command);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let told =
            format!("{place} ended with {}\n--- it said\n{out}\n--- it complained\n{err}", output.status);
        if !output.status.success() || out.trim().is_empty() {
            return Err(told);
        }
        match NOT_EXPECTED.iter().find(|word| out.contains(**word)) {
            Some(word) => Err(format!("{word} is not expected: {told}")),
            None => Ok(()),
        }
    }

    fn write(&self, interpreter: Interpreter, text: &str) -> PathBuf {
        let program = self.directory.join(interpreter.file_name());
        let text = text.replace(PRINTED, &format!("http://127.0.0.1:{}", self.port));
        std::fs::write(&program, text).expect("the program can be written");
        program
    }

    /// Asks the API, with every right.
    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let bearer = format!("Bearer {}", self.operator_token);
        let body = body.map(Value::to_string).unwrap_or_default();
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let (status, answer) = http(self.port, method, path, &headers, &body);
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        serde_json::from_str(&answer).unwrap_or(Value::Null)
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            drop(std::fs::remove_dir_all(&self.directory));
        }
    }
}

/// A process whose lines are read; it ends with this.
struct Running {
    process: Child,
    lines: mpsc::Receiver<String>,
    log: PathBuf,
}

impl Running {
    fn start(mut command: Command, log: &Path) -> Self {
        let complaints = std::fs::File::create(log).expect("a log can be written");
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(complaints)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let out = process.stdout.take().expect("it was asked for");
        let (send, lines) = mpsc::sync_channel(1_000);
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Self { process, lines, log: log.to_owned() }
    }

    fn next_line(&mut self, wanted: &str) -> String {
        self.lines.recv_timeout(LIMIT).unwrap_or_else(|_| {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            panic!("{wanted} never came; it complained:\n{log}")
        })
    }

    fn line_with(&mut self, wanted: &str) -> String {
        loop {
            let line = self.next_line(wanted);
            if line.contains(wanted) {
                return line;
            }
        }
    }

    /// The JSON that it prints first, on one line or several.
    fn json(&mut self) -> Value {
        let mut text = String::new();
        loop {
            text.push_str(&self.next_line("JSON"));
            text.push('\n');
            if let Ok(value) = serde_json::from_str(&text) {
                return value;
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Runs a program to its end.
fn finish(mut command: Command) -> Output {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let (out, err) = (child.stdout.take().expect("asked for"), child.stderr.take().expect("asked for"));
    let read = |mut from: Box<dyn Read + Send>| {
        std::thread::spawn(move || {
            let mut octets = Vec::new();
            drop(from.read_to_end(&mut octets));
            octets
        })
    };
    let (out, err) = (read(Box::new(out)), read(Box::new(err)));
    let (done, ended) = mpsc::sync_channel::<()>(1);
    let id = child.id();
    let watch = std::thread::spawn(move || {
        // What hangs is ended by its own number.
        if ended.recv_timeout(LIMIT).is_err() {
            drop(Command::new("kill").arg(id.to_string()).status());
        }
    });
    let status = child.wait().expect("it was started here");
    let _ = done.send(());
    watch.join().expect("it does not panic");
    Output { status, stdout: out.join().expect("reads"), stderr: err.join().expect("reads") }
}

/// What runs a program.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Interpreter {
    Shell,
    Python,
    Node,
    NodeModule,
    Php,
}

impl Interpreter {
    /// By the word after a fence, or the ending of a file.
    fn of(word: &str) -> Option<Self> {
        match word {
            "bash" | "sh" => Some(Self::Shell),
            "python" | "py" => Some(Self::Python),
            "js" => Some(Self::Node),
            "mjs" => Some(Self::NodeModule),
            "php" => Some(Self::Php),
            _ => None,
        }
    }

    fn program(self) -> &'static str {
        match self {
            Self::Shell => "bash",
            Self::Python => "python3",
            Self::Node | Self::NodeModule => "node",
            Self::Php => "php",
        }
    }

    fn file_name(self) -> &'static str {
        match self {
            Self::Shell => "program.sh",
            Self::Python => "program.py",
            Self::Node => "program.cjs",
            Self::NodeModule => "program.mjs",
            Self::Php => "program.php",
        }
    }

    fn command(self, program: &Path) -> Command {
        let mut command = Command::new(self.program());
        if self == Self::Shell {
            command.args(["-eu", "-o", "pipefail"]);
        }
        command.arg(program);
        command
    }

    /// Whether it is on this machine. If not, says so once for each program, or fails if it is required.
    fn is_here(self, place: &str) -> bool {
        let name = match self {
            Self::Shell => "curl",
            Self::Python => "python",
            Self::Node | Self::NodeModule => "node",
            Self::Php => "php",
        };
        let tools: &[&str] = if self == Self::Shell { &["bash", "curl"] } else { &[self.program()] };
        let runs = |tool: &&&str| succeeds(Command::new(tool).arg("--version"));
        tools.iter().find(|tool| !runs(tool)).is_none_or(|missing| {
            skip(place, name, missing);
            false
        })
    }
}

/// Whether the library that an example in `first_request` is about is on this machine.
fn module_is_here(place: &str) -> bool {
    let (tool, arguments, name): (_, &[&str], _) = if place.contains("requests") && place.ends_with(".py") {
        ("python3", &["-c", "import requests"], "the Python package requests")
    } else if place.contains("axios") {
        ("node", &["-e", "require('axios')"], "the Node.js package axios")
    } else if place.contains("with_curl.php") {
        ("php", &["-r", "exit(function_exists('curl_init') ? 0 : 1);"], "PHP's curl extension")
    } else {
        return true;
    };
    // Where the interpreter looks for packages of its user.
    let here = succeeds(Command::new(tool).args(arguments).current_dir(env!("CARGO_TARGET_TMPDIR")));
    if !here {
        skip(place, name, name);
    }
    here
}

fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Says that something was not run. Written past the test runner, which would swallow it.
fn skip(place: &str, name: &str, missing: &str) {
    let required = std::env::var("TIDINGS_TEST_REQUIRE").unwrap_or_default();
    assert!(
        !required.split(',').any(|word| word == name),
        "{place} needs {missing}, which TIDINGS_TEST_REQUIRE asks for"
    );
    drop(writeln!(std::io::stderr(), "skipped: {place} ({missing} is not on this machine)"));
}

/// A fenced block of the documentation.
struct Block {
    place: String,
    language: &'static str,
    text: String,
}

/// The blocks whose fence ends so, of README.md and of every page.
fn blocks(mark: &str) -> Vec<Block> {
    let mut pages = vec![root().join("README.md")];
    pages.extend(files(&root().join("docs/src"), &["md"]));
    let mut blocks = Vec::new();
    for page in pages {
        let text = std::fs::read_to_string(&page).expect("a page is text");
        let name = page.strip_prefix(root()).expect("it lies there").display().to_string();
        let mut lines = text.lines().enumerate();
        while let Some((n, line)) = lines.next() {
            let Some(language) = line.strip_prefix("```").and_then(|word| word.strip_suffix(mark)) else {
                continue;
            };
            let language = ["bash", "python", "js", "php"].into_iter().find(|known| *known == language);
            let language = language.unwrap_or_else(|| panic!("{name}:{}: nothing runs {line}", n + 1));
            let body: Vec<&str> =
                lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
            blocks.push(Block { place: format!("{name}:{}", n + 1), language, text: body.join("\n") + "\n" });
        }
    }
    blocks
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("this crate lies in crates/cli")
}

/// Files with one of these endings, in this folder and below, sorted.
fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "node_modules") {
                found.extend(files(&path, endings));
            }
        } else if path
            .extension()
            .and_then(|ending| ending.to_str())
            .is_some_and(|ending| endings.contains(&ending))
        {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// One request over a connection of its own: the status and the body of the answer.
fn http(port: u16, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a timeout can be set");
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it answers");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status =
        answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{answer}"));
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    (status, body)
}
