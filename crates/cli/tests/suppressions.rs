//! Files of opt-outs at the terminal, with the real binary: the report comes before anything is done, what waits for somebody in the
//! file ends, and a kill in the middle costs nothing but the same command again.
//!
//! `TIDINGS_ROWS=1000000 cargo test --release -p tidings-cli --test suppressions -- --ignored --nocapture` does it with a million
//! rows, and says how fast and with how much memory.

mod house;

use house::{House, table, wait};
use serde_json::{Value, json};
use tidings_domain::time::Timestamp;
use tidings_engine::clock::Clock;

/// Entries in the store, and to how many numbers.
fn entries(house: &House) -> (u64, u64) {
    let store = rusqlite::Connection::open(house.path("data/tidings.db")).expect("a store");
    let count = "SELECT count(*), count(DISTINCT recipient) FROM suppression";
    let counts = store.query_row(count, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)));
    let (entries, numbers) = counts.expect("two counts");
    (entries.unsigned_abs(), numbers.unsigned_abs())
}

/// Numbers of the table below.
fn number(n: u32) -> String {
    format!("+4670123450{n}")
}

#[test]
fn a_file_of_opt_outs_is_reported_and_then_ends_what_waits() {
    let directory = tempfile::tempdir().expect("a directory");
    let house = House::new(directory.path(), "test");
    let served = house.serve();
    let now = Clock::new(0).now();
    let later = now.plus_s(20 * 24 * 3_600).to_string();
    let body = json!({ "from": "+15550001111", "to": number(1), "text": "Hello", "send_at": later });
    let (status, message) = served.ask("POST", "/v1/messages", &body);
    assert_eq!(status, 202, "{message}");
    house.run(&["suppression", "add", &number(2), "--reason", "opted_out"]);
    house.run(&["suppression", "add", &number(3), "--reason", "invalid_number"]);

    // Windows-1252, and cells that no import of contacts would take.
    let mut table = b"Name;Mobile;Since:date;Language\r\n\xC5sa;070-123 45 01;31.1.2026;??\r\n".to_vec();
    table.extend_from_slice(
        format!(
            "B;{};;\r\nC;{};;\r\nD;4,67012E+10;;\r\n\"E\"x;{};;\r\nF;{};;\r\nG;{};;\r\n",
            number(2),
            number(3),
            number(4),
            number(1),
            number(5)
        )
        .as_bytes(),
    );
    let (list, refused) = (house.named("old list.csv"), house.named("refused.csv"));
    std::fs::write(&list, table).expect("written");
    let import = ["suppression", "import", &list, "--country", "SE"];
    let with = |more: &[&'static str]| import.iter().copied().chain(more.iter().copied()).collect::<Vec<_>>();

    let told = house.json(&with(&["--dry-run"]));
    let expected = json!({
        "rows": 7, "good": 3, "mended": 1, "duplicates": 1, "refused": 2, "already_listed": 1, "to_add": 3,
        "added": null, "mends": { "country_code_added": 1, "windows_1252": 1 },
        "reasons": { "broken_quotes": 1, "number_of_a_spreadsheet": 1 }, "countries": { "SE": 4 },
        "ignored_columns": ["Name", "Since:date", "Language"],
    });
    assert_eq!(told, expected);
    assert_eq!(entries(&house), (2, 2), "nothing is added by a dry run");

    let told = house.run(&[&import[..], &["--source", "old system", "--refused", &refused]].concat());
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.first(), Some(&"7 rows: 3 good, 1 mended, 1 duplicate, 2 refused"), "{told}");
    let last = ["1 number is on the list already, 3 to be added", "Added: 3 entries."];
    assert_eq!(&lines[lines.len() - 2..], last, "{told}");
    let refused = std::fs::read_to_string(&refused).expect("the rows that are not added");
    let lines: Vec<&str> = refused.lines().collect();
    assert_eq!(lines[0], "refused_line,refused_why,refused_column,Name,Mobile,Since:date,Language");
    let expected = ["5,number_of_a_spreadsheet,Mobile,", "6,broken_quotes,,", "7,duplicate,,"];
    assert!(lines[1..].iter().zip(expected).all(|(line, begin)| line.starts_with(begin)), "{refused}");
    assert_eq!(lines.len(), 4, "{refused}");

    // As every other entry: who waits hears of it, and so do the journal and the trail.
    let path = format!("/v1/messages/{}", message["id"].as_str().expect("an id"));
    let ended = wait("what waits ends", || {
        let (_, shown) = served.ask("GET", &path, &Value::Null);
        (shown["status"] == "rejected").then_some(shown)
    });
    assert_eq!(ended["error"]["code"], "OPTED_OUT", "{ended}");
    let (_, listed) = served.ask("GET", "/v1/suppressions?limit=100", &Value::Null);
    let listed = listed["data"].as_array().expect("a list");
    let of = |n: u32| listed.iter().find(|entry| entry["to"] == number(n)).expect("an entry");
    for n in [1, 3, 5] {
        assert_eq!((&of(n)["reason"], &of(n)["source"]), (&json!("opted_out"), &json!("old system")));
    }
    assert_eq!((&of(2)["source"], listed.len()), (&json!("operator"), 4), "{listed:?}");
    let journal = wait("the journal has them", || {
        let files = std::fs::read_dir(house.path("data/journal")).ok()?;
        let all: String =
            files.flatten().filter_map(|file| std::fs::read_to_string(file.path()).ok()).collect();
        (all.matches("old system").count() == 3).then_some(all)
    });
    assert!(journal.contains(&number(5)), "{journal}");
    let trail = house.json(&["audit"]);
    assert_eq!(trail.to_string().matches("opted_out old system").count(), 3, "{trail}");

    // Again it is nothing new; and it says where it is from by itself.
    let again = house.json(&import);
    assert_eq!((&again["already_listed"], &again["added"]), (&json!(4), &json!(0)), "{again}");
    std::fs::write(&list, format!("phone\n{}\n", number(6))).expect("written");
    let until = now.plus_s(3_600).to_string();
    house.run(&[&import[..], &["--reason", "manual", "--expires", &until]].concat());
    let path = format!("/v1/suppressions?to={}", number(6).replace('+', "%2B"));
    let (_, listed) = served.ask("GET", &path, &Value::Null);
    let entry = &listed["data"][0];
    assert_eq!((&entry["reason"], &entry["source"]), (&json!("manual"), &json!("old list.csv")), "{entry}");
    let end = Timestamp::parse(entry["expires_at"].as_str().expect("a time")).expect("a time");
    assert_eq!(end.as_millis() / 1_000, now.plus_s(3_600).as_millis() / 1_000);

    let past = house.refusal(&with(&["--expires", "2020-01-01T00:00:00Z"]));
    assert!(past.contains("--expires has passed"), "{past}");
    std::fs::write(&list, "no,table\n1,2\n").expect("written");
    let none = house.refusal(&import);
    assert!(none.contains("No column is known to hold phone numbers"), "{none}");
    let over = house.refusal(&[&import[..], &["--refused", &list]].concat());
    assert!(over.contains("is there already"), "no file is written over: {over}");
}

/// Whoever runs it without reading it must not believe that something was taken over.
#[test]
fn a_table_with_nothing_to_take_over_is_no_success_of_any_import() {
    let directory = tempfile::tempdir().expect("a directory");
    let house = House::new(directory.path(), "test");
    let list = house.named("list.csv");
    let consent = ["--attested-by", "Ana", "--act", "express", "--channel", "text", "--purpose", "alert"];
    let imports = [
        vec!["suppression"],
        [&["consent"][..], &consent].concat(),
        vec!["contact"],
        vec!["contact", "--commit"],
    ];
    let mut import = String::new();
    for (table, expected) in [
        ("phone,given_at\n", "has no row below its headings"),
        ("phone,given_at\n112,2024-03-01T09:30:00Z\n", "no row of"),
    ] {
        std::fs::write(&list, table).expect("written");
        for words in &imports {
            let command = [&[words[0], "import", &list], &words[1..], &["--json"]].concat();
            let output = house.command(&command).output().expect("it runs");
            let told = String::from_utf8(output.stderr).expect("text");
            assert_eq!(output.status.code(), Some(1), "{command:?}: {told}");
            assert!(told.contains(expected), "{command:?}: {told}");
            let report: Value = serde_json::from_slice(&output.stdout).expect("the report");
            if let Some(id) = report["id"].as_str() {
                import = id.to_owned();
            }
        }
    }
    let told = house.refusal(&["contact", "commit", &import]);
    assert!(told.contains(&format!("no row of {import} was taken over")), "{told}");
    let told = house.refusal(&["suppression", "import", &list, "--number-column", "nope"]);
    assert!(told.contains("No column is called nope. There are: phone, given_at."), "{told}");
    assert_eq!(entries(&house), (0, 0));
}

/// The commands of the guide about programmes that put those who left one on the list for everything, as they stand there.
#[test]
fn who_left_a_programme_is_put_on_the_list_for_everything_as_the_guide_says() {
    let guide = include_str!("../../../docs/src/guides/programmes.md");
    let begin = guide.find("  (echo to;").expect("the guide has it");
    let commands = guide[begin..].split("  ```").next().expect("it ends");

    let directory = tempfile::tempdir().expect("a directory");
    let house = House::new(directory.path(), "live");
    house.configure("[[programme]]\nname = \"offers\"\nseller = \"Acme\"\nsenders = [\"+12125551234\"]\n");
    let list = house.named("list.csv");
    table(&list, "phone,name", 1_500, |_| "somebody".to_owned());
    house.run(&["suppression", "import", &list, "--environment", "live", "--programme", "offers"]);
    assert_eq!(entries(&house), (1_500, 1_500));

    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_tidings")).parent().expect("a directory");
    let path = std::env::var("PATH").expect("there is one");
    let output = std::process::Command::new("sh")
        .args(["-e", "-c", commands])
        .current_dir(directory.path())
        .env("PATH", format!("{}:{path}", binary.display()))
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told = String::from_utf8(output.stdout).expect("text");
    assert!(told.contains("1500 rows: 1500 good") && told.contains("Added: 1500 entries."), "{told}");
    assert_eq!(entries(&house), (3_000, 1_500), "each has the entry for everything, too");
}

fn make(path: &str, rows: u64) {
    table(path, "phone,name", rows, |_| "somebody".to_owned());
}

#[test]
fn a_kill_in_the_middle_costs_only_the_same_command_again() {
    const ROWS: u64 = 20_000;
    let directory = tempfile::tempdir().expect("a directory");
    let house = House::new(directory.path(), "test");
    let list = house.named("people.csv");
    make(&list, ROWS);
    let import = ["suppression", "import", &list];
    let mut first = house.start(&import);
    wait("it has begun", || (entries(&house).0 > 0).then_some(()));
    first.0.kill().expect("it is killed");
    drop(first);
    let (killed, _) = entries(&house);
    assert!(killed < ROWS && killed % 1_000 == 0, "{killed} of {ROWS} before it could be killed");

    let done = house.json(&import);
    assert_eq!((&done["rows"], &done["already_listed"]), (&json!(ROWS), &json!(killed)), "{done}");
    assert_eq!(done["added"], json!(ROWS - killed), "{done}");
    assert_eq!(entries(&house), (ROWS, ROWS), "each number once, and none was lifted for another");
}

#[test]
#[ignore = "takes a minute; says how fast a file is added"]
fn many_rows_are_added_with_bounded_memory() {
    let rows = std::env::var("TIDINGS_ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(1_000_000);
    let directory = tempfile::tempdir().expect("a directory");
    let house = House::new(directory.path(), "test");
    let list = house.named("people.csv");
    make(&list, rows);
    let watch = Clock::new(0).stopwatch();
    let most = house.start(&["suppression", "import", &list]).most_mib();
    assert_eq!(entries(&house), (rows, rows));
    let took_s = watch.elapsed_s();
    println!("{rows} rows in {took_s:.0} s: {:.0} a second, {most} MiB at most", rows as f64 / took_s);
    assert!(most < 256, "{most} MiB");
}
