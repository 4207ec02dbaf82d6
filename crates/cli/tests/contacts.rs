//! Contacts, from a table with everything that goes wrong with tables to another table, with the real binary: the report is what
//! was made, a kill in the middle gives no row twice, and what comes out is what went in.
//!
//! `TIDINGS_ROWS=1000000 cargo test --release -p tidings-cli --test contacts -- --ignored --nocapture` does it with a million
//! rows, and says how fast and with how much memory.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufWriter, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tidings_domain::csv::{Body, Records, plain};
use tidings_engine::clock::Clock;

/// How often a thing that must come is looked for, and the pause between: together two minutes.
const LOOKS: u32 = 12_000;
const PAUSE: Duration = Duration::from_millis(10);

// ── a table with everything that goes wrong ─────────────────────────────────────────────────────────────────

/// Draws by xorshift64*.
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % limit
    }
}

/// What is known of a table that was made.
#[derive(Debug, Default, PartialEq, Eq)]
struct Made {
    rows: u64,
    good: u64,
    mended: u64,
    duplicates: u64,
    refused: u64,
    mends: BTreeMap<String, u64>,
    reasons: BTreeMap<String, u64>,
    /// Name and note by number.
    people: BTreeMap<String, (String, String)>,
}

/// Writes a table of so many rows. Its numbers are Swedish mobiles, each another.
fn make(path: &Path, rows: u64, seed: u64) -> Made {
    let (mut draw, mut made) = (Draw(seed), Made::default());
    let mut file = BufWriter::new(std::fs::File::create(path).expect("it is made"));
    file.write_all("Name;Mobile;Note;Visits:number;Since:date;Groups\r\n".as_bytes()).expect("written");
    let mut last = String::new();
    for n in 0..rows {
        // Every number once, in no order.
        let digits = format!("4670{:07}", n * 7_919 % 10_000_000);
        let number = format!("+{digits}");
        let national = format!("0{}-{} {} {}", &digits[2..4], &digits[4..7], &digits[7..9], &digits[9..]);
        let (mut name, mut note, mut cell) = (format!("Åsa {n}"), String::new(), number.clone());
        let (mut mend, mut refused, mut date, mut raw) = (None, None, "2026-01-31", None);
        match draw.below(100) {
            0..4 => (cell, mend) = (national, Some("country_code_added")),
            4 => (cell, mend) = (format!("\u{202A}{number}\u{202C}"), Some("invisible_characters")),
            5 => (cell, mend) = (format!("+46 (0)70-{}", &digits[4..]), Some("number_form")),
            6 => (name, mend) = ("=HYPERLINK(\"http://x\")".to_owned(), Some("formula_kept_as_text")),
            7 => mend = Some("windows_1252"),
            8..10 => note = "two\nlines; \"quoted\"".to_owned(),
            10 => (cell, refused) = (format!("4,6701E+{}", 10 + n % 2), Some("number_of_a_spreadsheet")),
            11 => (cell, refused) = ("+46 70 12".to_owned(), Some("number_too_short")),
            12 => (cell, refused) = ("ring me".to_owned(), Some("number_letters")),
            13 => (cell, refused) = (String::new(), Some("no_number")),
            14 => (date, refused) = ("31.1.2026", Some("cell_no_date")),
            15 => (raw, refused) = (Some(format!("\"Åsa\"{n};{number};;;;")), Some("broken_quotes")),
            16 => (raw, refused) = (Some(format!("Åsa;{number};\"never closed;;;")), Some("broken_quotes")),
            17..20 if !last.is_empty() => (cell, refused) = (last.clone(), Some("duplicate")),
            _ => {}
        }
        made.rows += 1;
        match refused {
            Some("duplicate") => made.duplicates += 1,
            Some(why) => {
                made.refused += 1;
                *made.reasons.entry(why.to_owned()).or_default() += 1;
            }
            None => {
                match mend {
                    Some(mend) => {
                        made.mended += 1;
                        *made.mends.entry(mend.to_owned()).or_default() += 1;
                    }
                    None => made.good += 1,
                }
                made.people.insert(number.clone(), (name.clone(), note.clone()));
                last = number;
            }
        }
        let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
        let line = raw.unwrap_or_else(|| {
            format!(
                "{};{cell};{};{};{date};all;{}",
                quoted(&name),
                quoted(&note),
                n % 7,
                if n % 2 == 0 { "" } else { ";" }
            )
        });
        let line = line.trim_end_matches(';').to_owned() + "\r\n";
        let octets = match mend {
            Some("windows_1252") => line.chars().map(|c| u32::from(c) as u8).collect(),
            _ => line.into_bytes(),
        };
        file.write_all(&octets).expect("written");
    }
    file.flush().expect("written");
    made
}

/// Holds a report against what was made.
fn compare(made: &Made, import: &Value) {
    let report = &import["report"];
    for (name, expected) in [
        ("rows", made.rows),
        ("good", made.good),
        ("mended", made.mended),
        ("duplicates", made.duplicates),
        ("refused", made.refused),
    ] {
        assert_eq!(report[name], json!(expected), "{name}: {report}");
    }
    assert_eq!(report["mends"], json!(made.mends));
    assert_eq!(report["reasons"], json!(made.reasons));
    assert_eq!(report["countries"], json!({ "SE": made.people.len() }));
}

/// Name and note by number, of a table that came out.
fn people(table: &[u8]) -> BTreeMap<String, (String, String)> {
    let mut records = Records::new();
    let (mut headings, mut found) = (Vec::new(), BTreeMap::new());
    let mut take = |records: &mut Records| {
        while let Some(record) = records.take_next() {
            let Body::Cells { cells, .. } = record.body else { panic!("line {} is broken", record.line) };
            for cell in &cells {
                assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r']), "a cell may act: {cell}");
            }
            if headings.is_empty() {
                headings = cells;
                continue;
            }
            let cell = |name: &str| {
                let place = headings.iter().position(|heading| heading == name).expect("a column");
                plain(&cells[place]).to_owned()
            };
            let before = found.insert(cell("number"), (cell("name"), cell("note")));
            assert_eq!(before, None, "{} comes twice", cell("number"));
        }
    };
    for piece in table.chunks(64 * 1024) {
        records.feed(piece);
        take(&mut records);
    }
    records.end();
    take(&mut records);
    found
}

// ── the program ─────────────────────────────────────────────────────────────────────────────────────────────

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Subject {
    process: Option<Running>,
    directory: PathBuf,
    address: SocketAddr,
    token: String,
}

impl Subject {
    fn new(directory: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it has one");
        drop(listener);
        let data = directory.join("data");
        let text = format!("[data]\ndirectory = {data:?}\n[http]\nlisten = \"{address}\"\n");
        std::fs::write(directory.join("tidings.toml"), text).expect("written");
        let mut subject =
            Self { process: None, directory: directory.to_owned(), address, token: String::new() };
        subject.run(&["migrate"]);
        let token = ["token", "create", "--environment", "test", "--scope", "all", "--rate", "1000000"];
        let made = subject.json(&token);
        subject.token = made["token"].as_str().expect("a token").to_owned();
        subject
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
        command.args(arguments).arg("--config").arg(self.directory.join("tidings.toml"));
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    fn run(&self, arguments: &[&str]) -> Vec<u8> {
        let output = self.command(arguments).output().expect("it starts");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
        serde_json::from_slice(&self.run(&arguments)).expect("one JSON value")
    }

    fn start(&mut self) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.directory.join("log"))
            .expect("a file for the log");
        let process = self.command(&["serve"]).stdout(Stdio::null()).stderr(log).spawn();
        self.process = Some(Running(process.expect("it starts")));
        let address = self.address;
        wait("it serves", || TcpStream::connect(address).is_ok().then_some(()));
    }

    /// As `kill -9` does it.
    fn kill(&mut self) {
        drop(self.process.take());
    }

    /// One request; gives the status and the body.
    fn exchange(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: {kind}\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            self.token,
            body.len()
        );
        stream.write_all(head.as_bytes()).expect("it reads");
        stream.write_all(body).expect("it reads");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("it answers");
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let body = &answer[end + 4..];
        let body = if head.contains("transfer-encoding: chunked") { joined(body) } else { body.to_vec() };
        (status, body)
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let (status, body) = self.exchange(method, path, "application/json", &body);
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, &Value::Null);
        assert_eq!(status, 200, "{path}: {body}");
        body
    }
}

/// The octets of a body that came in chunks. One that breaks off is not whole.
fn joined(mut rest: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").expect("the length of a chunk");
        let length =
            usize::from_str_radix(std::str::from_utf8(&rest[..end]).expect("text"), 16).expect("a length");
        if length == 0 {
            return whole;
        }
        whole.extend_from_slice(&rest[end + 2..end + 2 + length]);
        rest = &rest[end + 4 + length..];
    }
}

fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..LOOKS {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(PAUSE);
    }
    panic!("{what}: it did not come");
}

// ── the tests ───────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn a_kill_while_rows_are_taken_over_gives_none_twice_and_all_come_out_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut subject = Subject::new(directory.path());
    let file = directory.path().join("people.csv");
    let made = make(&file, 30_000, 7);
    subject.start();

    // Somebody in the table opted out before.
    let person = made.people.keys().next_back().expect("somebody").clone();
    let (status, _) =
        subject.ask("POST", "/v1/suppressions", &json!({ "to": person, "reason": "opted_out" }));
    assert_eq!(status, 201);

    let table = std::fs::read(&file).expect("read");
    let path = "/v1/imports?name=people.csv&default_country=SE&group=spring";
    let (status, import) = subject.exchange("POST", path, "text/csv", &table);
    let import: Value = serde_json::from_slice(&import).expect("JSON");
    assert_eq!((status, &import["state"]), (201, &json!("ready")), "{import}");
    compare(&made, &import);
    assert_eq!((&import["report"]["suppressed"], &import["report"]["known"]), (&json!(1), &json!(0)));
    assert_eq!(subject.get("/v1/contacts")["data"], json!([]), "nothing is taken over before it is decided");

    let id = import["id"].as_str().expect("an id").to_owned();
    let path = format!("/v1/imports/{id}");
    let (status, _) = subject.ask("POST", &format!("{path}/commit"), &Value::Null);
    assert_eq!(status, 202);
    let of = made.people.len() as u64;
    let rows = wait("it has begun", || {
        let rows = subject.get(&path)["progress"]["rows"].as_u64()?;
        (rows > 0).then_some(rows)
    });
    subject.kill();
    assert!(rows < of, "{rows} of {of} were taken over before it could be killed");

    subject.start();
    let done = wait("it is done", || {
        let import = subject.get(&path);
        (import["state"] == "done").then_some(import)
    });
    let progress =
        json!({ "rows": of, "of": of, "created": of, "changed": 0, "unchanged": 0, "left_out": 0 });
    assert_eq!(done["progress"], progress);
    let (status, again) = subject.ask("POST", &format!("{path}/commit"), &Value::Null);
    assert_eq!((status, &again["state"]), (202, &json!("done")), "twice is once");
    let groups = subject.get("/v1/groups");
    assert_eq!(
        groups["data"],
        json!([{ "name": "all", "contacts": of }, { "name": "spring", "contacts": of }])
    );

    // What went in comes out.
    let (status, csv) = subject.exchange("GET", "/v1/contacts/export", "text/csv", b"");
    assert_eq!(status, 200);
    assert!(people(&csv) == made.people, "the table that came out is another");
    let (_, lines) = subject.exchange("GET", "/v1/contacts/export?format=ndjson", "text/csv", b"");
    let mut found = BTreeMap::new();
    for line in String::from_utf8(lines).expect("text").lines() {
        let one: Value = serde_json::from_str(line).expect("JSON");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        found.insert(text(&one["numbers"][0]), (text(&one["name"]), text(&one["fields"]["note"])));
    }
    assert!(found == made.people, "the lines that came out are others");
    let trail = subject.get("/v1/audit?limit=100")["data"].to_string();
    assert_eq!(trail.matches("contact.export").count(), 2);

    // An import never ends an opt-out, and its refused rows are there with why.
    let path = format!("/v1/suppressions?to={}", person.replace('+', "%2B"));
    assert_eq!(subject.get(&path)["data"].as_array().map(Vec::len), Some(1));
    let (_, refused) = subject.exchange("GET", &format!("/v1/imports/{id}/refused"), "text/csv", b"");
    let mut records = Records::new();
    records.feed(&refused);
    records.end();
    let rows = std::iter::from_fn(|| records.take_next()).count() as u64 - 1;
    assert_eq!(rows, made.duplicates + made.refused);

    // The table that came out says nothing new.
    let (status, import) = subject.exchange("POST", "/v1/imports", "text/csv", &csv);
    let import: Value = serde_json::from_slice(&import).expect("JSON");
    assert_eq!((status, &import["report"]["known"]), (201, &json!(of)), "{import}");
    assert_eq!(import["report"]["refused"], json!(0), "{import}");
    // Asked for by a command beside the server, it is the server that does it.
    let done = subject.json(&["contact", "commit", import["id"].as_str().expect("an id")]);
    assert_eq!(done["progress"]["unchanged"], json!(of), "{done}");
}

#[test]
fn contacts_are_kept_at_the_command_line() {
    let directory = tempfile::tempdir().expect("a directory");
    let subject = Subject::new(directory.path());
    let added = subject.json(&[
        "contact",
        "add",
        "+15550002222",
        "+15550003333",
        "--name",
        "Åsa",
        "--group",
        "gold",
        "--field",
        "visits:number=3",
    ]);
    let id = added["id"].as_str().expect("an id");
    assert_eq!((&added["fields"]["visits"], &added["time_zone"]["source"]), (&json!(3), &json!("number")));
    let again = subject.command(&["contact", "add", "+15550003333"]).output().expect("it starts");
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains(id));
    subject.run(&["contact", "change", "+15550003333", "--owner", "Bo", "--time-zone", "Asia/Tokyo"]);
    let shown = subject.json(&["contact", "show", id]);
    assert_eq!((&shown["owner"], &shown["name"]), (&json!("Bo"), &json!("Åsa")));
    assert_eq!(
        shown["time_zone"],
        json!({ "names": ["Asia/Tokyo"], "source": "stated", "confidence": "high" })
    );

    let file = directory.path().join("people.csv");
    std::fs::write(&file, "phone,name,groups\n+15550003333,Åsa B,new\n+15550004444,Ed,new\nx,y,z\n")
        .expect("written");
    let file = file.to_str().expect("text");
    let read = subject.json(&["contact", "import", file]);
    assert_eq!((&read["state"], &read["report"]["known"]), (&json!("ready"), &json!(1)), "{read}");
    let import = read["id"].as_str().expect("an id");
    let done = subject.json(&["contact", "commit", import]);
    assert_eq!(
        (&done["progress"]["created"], &done["progress"]["changed"]),
        (&json!(1), &json!(1)),
        "{done}"
    );
    let refused = String::from_utf8(subject.run(&["contact", "refused", import])).expect("text");
    assert_eq!(
        refused,
        "refused_line,refused_why,refused_column,phone,name,groups\r\n4,number_letters,phone,x,y,z\r\n"
    );
    let groups = subject.json(&["contact", "groups"]);
    assert_eq!(groups, json!([{ "name": "gold", "contacts": 1 }, { "name": "new", "contacts": 2 }]));

    subject.run(&["contact", "delete", "+15550002222"]);
    let csv = String::from_utf8(subject.run(&["contact", "export"])).expect("text");
    let lines: Vec<&str> = csv.lines().collect();
    assert!(lines.len() == 2 && lines[1].starts_with("'+15550004444,Ed,,,,new,,ctc_"), "{csv}");
    let discarded = subject.command(&["contact", "discard", import]).output().expect("it starts");
    assert!(!discarded.status.success());
    // Whoever does not want to be asked is told what was in the file all the same.
    let one = directory.path().join("one.csv");
    std::fs::write(&one, "phone,VIP:yes_no\n+15550005555,yes\n").expect("written");
    let one = one.to_str().expect("text");
    let told = String::from_utf8(subject.run(&["contact", "import", one, "--commit"])).expect("text");
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.first(), Some(&"1 row: 1 good, 0 mended, 0 duplicates, 0 refused"), "{told}");
    let end = "Taken over: 1 contact made, 0 rows changed one, 0 said what was known.";
    assert_eq!(lines.last(), Some(&end), "{told}");
    let again = String::from_utf8(subject.run(&["contact", "import", one, "--commit"])).expect("text");
    assert!(again.contains("\n1 number is a contact's already and changes it; 0 are on the"), "{again}");

    // What messages of a template to the rows would cost.
    let template = directory.path().join("template.json");
    let body = json!({
        "name": "visit",
        "texts": { "en": "Hi {{ name }}, {{ note }}" },
        "variables": [
            { "name": "name", "type": "text", "sample": "Ana" },
            { "name": "note", "type": "text", "sample": "hello", "max_length": 400 },
        ],
    });
    std::fs::write(&template, body.to_string()).expect("written");
    subject.run(&["template", "create", template.to_str().expect("text")]);
    let rows = [(1, "Ana", 10), (2, "Bo", 10), (3, "Ed", 290), (4, "", 10), (5, "Eva", 0), (4, "Ana", 10)];
    let row =
        |(n, name, length): (u32, &str, usize)| format!("+1555000666{n},{name},{}\n", "x".repeat(length));
    std::fs::write(one, format!("phone,name,note\n{}", rows.map(row).concat())).expect("written");
    let read = subject.json(&["contact", "import", one, "--template", "visit"]);
    let mut costs = read["report"]["costs"].clone();
    assert_eq!(costs["template"].take()["version"], json!(1), "{read}");
    let expected = json!({
        "template": null, "filled": 3, "unfilled": 2, "lacking": { "name": 1, "note": 1 },
        "segments": 4, "median_segments": 1, "worst_segments": 2,
    });
    assert_eq!(costs, expected);
    assert_eq!(
        subject.json(&["contact", "imports"])[0]["report"]["costs"]["segments"],
        json!(4),
        "it is kept"
    );
    let told = subject.run(&["contact", "import", one, "--template", "visit"]);
    let told = String::from_utf8(told).expect("text");
    let line = "3 messages of the template: 4 segments in all, 1 in the median, 2 at the worst; 2 rows do not fill it (lacking: name 1, note 1)";
    assert!(told.lines().any(|told| told == line), "{told}");

    let unusable = directory.path().join("photo.csv");
    std::fs::write(&unusable, "no,table\n1,2\n").expect("written");
    let unusable = subject
        .command(&["contact", "import", unusable.to_str().expect("text")])
        .output()
        .expect("it starts");
    assert!(String::from_utf8_lossy(&unusable.stderr).contains("No column is known to hold phone numbers"));
}

/// Runs a command and watches its memory: gives what it said, how long it took, and the most that it held in MiB.
fn watched(mut command: Command) -> (Value, Duration, u64) {
    let began = Clock::new(0).stopwatch();
    let mut child = Running(command.stdout(Stdio::piped()).spawn().expect("it starts"));
    let mut out = child.0.stdout.take().expect("it is piped");
    let reading = std::thread::spawn(move || {
        let mut text = Vec::new();
        out.read_to_end(&mut text).expect("it is read");
        text
    });
    let mut most = 0;
    while child.0.try_wait().expect("it is asked").is_none() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.0.id())).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        most = most.max(peak.and_then(|kib| kib.trim().parse::<u64>().ok()).unwrap_or(0) / 1024);
        std::thread::sleep(PAUSE);
    }
    let took = Duration::from_secs_f64(began.elapsed_s());
    (serde_json::from_slice(&reading.join().expect("it is read")).expect("JSON"), took, most)
}

#[test]
#[ignore = "takes a minute; says how fast an import is"]
fn many_rows_are_imported_with_bounded_memory() {
    let rows = std::env::var("TIDINGS_ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(1_000_000);
    let directory = tempfile::tempdir().expect("a directory");
    let subject = Subject::new(directory.path());
    let file = directory.path().join("people.csv");
    let made = make(&file, rows, 11);
    let size = std::fs::metadata(&file).expect("it is there").len() >> 20;
    println!("{rows} rows, {size} MiB, of which {} can be taken over", made.people.len());

    let file = file.to_str().expect("text");
    let (read, took, memory) =
        watched(subject.command(&["contact", "import", file, "--country", "SE", "--json"]));
    compare(&made, &read);
    let rate = |rows: usize, took: Duration| rows as f64 / took.as_secs_f64();
    println!("report: {:.0} rows/s in {took:.1?}, {memory} MiB at most", rate(rows as usize, took));
    assert!(memory < 256, "{memory} MiB");

    // Broken off in the middle, and begun again.
    let id = read["id"].as_str().expect("an id");
    let path = subject.directory.join("data");
    let mut child = Running(
        subject
            .command(&["contact", "commit", id, "--json"])
            .stdout(Stdio::null())
            .spawn()
            .expect("it starts"),
    );
    let begun = wait("it has begun", || {
        let import = &subject.json(&["contact", "imports"])[0];
        let done = import["progress"]["rows"].as_u64()?;
        (done > 0).then_some(done)
    });
    child.0.kill().expect("it is killed");
    drop(child);
    println!("killed after {begun} rows, with the data in {}", path.display());
    let before = subject.json(&["contact", "imports"])[0]["progress"]["rows"].as_u64().expect("a number");
    let (done, took, memory) = watched(subject.command(&["contact", "commit", id, "--json"]));
    let left = made.people.len() - before as usize;
    println!("commit: {:.0} rows/s in {took:.1?} for {left} rows, {memory} MiB at most", rate(left, took));
    assert!(memory < 256, "{memory} MiB");
    assert_eq!(done["progress"]["created"], json!(made.people.len()));
    let out = directory.path().join("out.csv");
    let began = Clock::new(0).stopwatch();
    subject.run(&["contact", "export", "--to", out.to_str().expect("text")]);
    println!("export: {:.0} rows/s", rate(made.people.len(), Duration::from_secs_f64(began.elapsed_s())));
    assert!(people(&std::fs::read(out).expect("read")) == made.people, "the table that came out is another");
}
