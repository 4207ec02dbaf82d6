//! Files of consents at the terminal, with the real binary: the report comes before anything is done, no opt-out is lifted by them,
//! and a kill in the middle costs nothing but the same command again.
//!
//! `TIDINGS_ROWS=1000000 cargo test --release -p tidings-cli --test consents -- --ignored --nocapture` does it with a million rows,
//! and says how fast and with how much memory.

mod house;

use house::{House, table, wait};
use serde_json::json;
use tidings_engine::clock::Clock;

/// Entries in the ledger, and of how many numbers.
fn entries(house: &House) -> (u64, u64) {
    let store = rusqlite::Connection::open(house.path("data/tidings.db")).expect("a store");
    let count = "SELECT count(*), count(DISTINCT recipient) FROM consent";
    let counts = store.query_row(count, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)));
    let (entries, numbers) = counts.expect("two counts");
    (entries.unsigned_abs(), numbers.unsigned_abs())
}

/// Numbers of the table below.
fn number(n: u32) -> String {
    format!("+4670123450{n}")
}

const VOUCHED: &str = "Ana Berg, who kept the list of the shop until 2025";

#[test]
fn a_file_of_consents_is_reported_and_then_recorded_and_lifts_no_opt_out() {
    let directory = tempfile::tempdir().expect("a directory");
    let house = House::new(directory.path(), "test");
    house.configure(
        "[consent]\nrequired = [\"marketing\"]\n\
         [[programme]]\nname = \"offers\"\nseller = \"Acme\"\nsenders = [\"+15550001111\"]\n",
    );
    let marketing = |n: u32| {
        let asked = ["explain", "--to", &number(n), "--purpose", "marketing", "--from", "+15550001111"];
        house.json(&asked)["gate"].to_string()
    };
    assert!(marketing(1).contains("NO_CONSENT"), "{}", marketing(1));
    // One is on the list, and one was.
    house.run(&["suppression", "add", &number(2), "--reason", "opted_out"]);
    house.run(&["suppression", "add", &number(3), "--reason", "opted_out"]);
    house.run(&["suppression", "lift", &number(3), "--reason", "a test"]);

    let words = "I agree to texts of Acme.\nNot a condition of purchase.\n";
    let (list, refused, wording) =
        (house.named("old list.csv"), house.named("refused.csv"), house.named("words.txt"));
    std::fs::write(&wording, words).expect("written");
    let rows = [
        format!("{};;2024-03-01T09:30:00+01:00;;;;gold", number(1)),
        format!("{};written;2024-03-01T09:30:00Z;;;;", number(2)),
        format!("{};;2024-03-01T09:30:00Z;paper;the shop;;", number(3)),
        format!("{};;2024-03-01;;;;", number(4)),
        format!("{};;2999-01-01T00:00:00Z;;;;", number(5)),
        format!("{};;2024-03-01T08:30:00Z;;;;silver", number(1)),
        "4,67012E+10;;2024-03-01T08:30:00Z;;;;".to_owned(),
        format!("{};revoked;2025-01-01T08:00:00Z;spoken;;other;", number(6)),
        format!("{};revoked;2025-01-01T08:00:00Z;spoken;;Offers;", number(6)),
        format!("{};;2024-03-01T09:30:00Z;;;other;", number(7)),
    ];
    let table = format!("Mobile;act;given_at;method;place;programme;status\n{}\n", rows.join("\n"));
    std::fs::write(&list, table).expect("written");
    let common = ["consent", "import", &list, "--attested-by", VOUCHED, "--purpose", "marketing"];
    let more = ["--channel", "text", "--act", "written", "--seller", "Acme", "--wording", &wording];
    let import = [&common[..], &more[..]].concat();
    let place = ["--place", "https://shop.example/join"];

    // A written consent without a place is none.
    let told = house.json(&[&import[..], &["--dry-run"]].concat());
    let reasons = json!({
        "missing_place": 4, "cell_no_offset": 1, "cell_ahead": 1, "number_of_a_spreadsheet": 1,
        "cell_unknown_programme": 1,
    });
    assert_eq!(
        (&told["reasons"], &told["good"], &told["duplicates"]),
        (&reasons, &json!(2), &json!(0)),
        "{told}"
    );

    let import = [&import[..], &place[..]].concat();
    let told = house.json(&[&import[..], &["--dry-run"]].concat());
    let expected = json!({
        "rows": 10, "good": 5, "mended": 0, "duplicates": 1, "refused": 4,
        "already_recorded": 0, "to_record": 5, "recorded": null,
        "suppressed": 1, "opted_out_since": 2, "unknown_programme": 1, "mends": {},
        "reasons": {
            "cell_no_offset": 1, "cell_ahead": 1, "number_of_a_spreadsheet": 1, "cell_unknown_programme": 1,
        },
        "countries": { "SE": 5 }, "ignored_columns": ["status"],
    });
    assert_eq!(told, expected);
    assert_eq!(entries(&house), (0, 0), "nothing is recorded by a dry run");

    let told = house.run(&[&import[..], &["--source", "old system", "--refused", &refused]].concat());
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.first(), Some(&"10 rows: 5 good, 0 mended, 1 duplicate, 4 refused"), "{told}");
    let last = [
        "0 entries are in the ledger already, 5 to be recorded",
        "1 row of people who are on the suppression list, and stay there",
        "2 rows of people who opted out after it: they count for nothing",
        "1 row for a programme that is not configured: no message is of it",
        "Recorded: 5 entries.",
    ];
    assert_eq!(&lines[lines.len() - last.len()..], last, "{told}");
    let refused = std::fs::read_to_string(&refused).expect("the rows that are not added");
    let lines: Vec<&str> = refused.lines().collect();
    let headings =
        "refused_line,refused_why,refused_column,Mobile,act,given_at,method,place,programme,status";
    assert_eq!(lines[0], headings);
    let expected = [
        "5,cell_no_offset,given_at,",
        "6,cell_ahead,given_at,",
        "7,duplicate,,",
        "8,number_of_a_spreadsheet,Mobile,",
        "9,cell_unknown_programme,programme,",
    ];
    assert!(lines[1..].iter().zip(expected).all(|(line, begin)| line.starts_with(begin)), "{refused}");
    assert_eq!(lines.len(), 1 + expected.len(), "{refused}");

    // What was said, and who says so.
    let said = house.json(&["consent", "list", &number(1)]);
    let [entry] = &said.as_array().expect("a list")[..] else { panic!("{said}") };
    for (name, value) in [
        ("act", "written"),
        ("purpose", "marketing"),
        ("channel", "text"),
        ("method", "import"),
        ("given_at", "2024-03-01T08:30:00.000Z"),
        ("wording", words),
        ("place", "https://shop.example/join"),
        ("seller", "Acme"),
        ("attested_by", VOUCHED),
        ("source", "old system"),
    ] {
        assert_eq!(entry[name], value, "{name}");
    }
    let own = house.json(&["consent", "list", &number(3)]);
    assert_eq!((&own[0]["method"], &own[0]["place"]), (&json!("paper"), &json!("the shop")));
    let trail = house.json(&["audit"]);
    assert_eq!(trail.to_string().matches("consent.import").count(), 1, "{trail}");

    // One may be sent to now. Who is on the list stays there, and what was agreed to before an opt-out counts for nothing.
    assert!(!marketing(1).contains("NO_CONSENT"), "{}", marketing(1));
    assert!(marketing(2).contains("OPTED_OUT"), "{}", marketing(2));
    assert!(marketing(3).contains("NO_CONSENT"), "{}", marketing(3));
    house.run(&["suppression", "lift", &number(2), "--reason", "a test"]);
    assert!(marketing(2).contains("NO_CONSENT"), "{}", marketing(2));

    // Again it is nothing new; another who vouches says something else.
    let again = house.json(&import);
    assert_eq!((&again["already_recorded"], &again["recorded"]), (&json!(5), &json!(0)), "{again}");
    assert_eq!(entries(&house), (5, 5));
    let mut other = import.clone();
    other[4] = "Bo Ek, who has the papers";
    assert_eq!(house.json(&other)["recorded"], json!(5));

    let none = house.refusal(&["consent", "import", &list]);
    assert!(none.contains("--attested-by <SENTENCE>"), "{none}");
    let unread = house.refusal(&[&import[..], &["--wording", &house.named("none.txt")]].concat());
    assert!(unread.contains("cannot be read"), "{unread}");
}

#[test]
fn what_would_be_lost_or_believed_done_is_refused_with_a_cure() {
    let directory = tempfile::tempdir().expect("a directory");
    let house = House::new(directory.path(), "test");
    house.configure(
        "[[programme]]\nname = \"offers\"\nseller = \"Acme\"\nsenders = [\"+15550001111\"]\nformerly = [\"deals\"]\n\
         [[programme]]\nname = \"news\"\nseller = \"Acme\"\nsenders = [\"+15550001112\"]\n",
    );
    let (list, refused) = (house.named("list.csv"), house.named("refused.csv"));
    let write = |headings: &str, rows: &[String]| {
        std::fs::write(&list, format!("to,{headings}\n{}\n", rows.join("\n"))).expect("written");
    };
    let import = |more: &[&str]| {
        let common = ["consent", "import", &list, "--attested-by", VOUCHED, "--act", "express"];
        let more: Vec<String> = [&common[..], &["--channel", "text"], more]
            .concat()
            .iter()
            .map(|text| (*text).to_owned())
            .collect();
        more
    };
    let refusal = |more: &[&str]| house.refusal(&import(more).iter().map(String::as_str).collect::<Vec<_>>());
    let json = |more: &[&str]| house.json(&import(more).iter().map(String::as_str).collect::<Vec<_>>());

    // A column that is nearly one: what stands in it would be lost.
    write("given_at,purposes", &[format!("{},2024-03-01T09:30:00Z,marketing", number(1))]);
    let told = refusal(&["--purpose", "alert"]);
    assert!(told.contains("No column is called purposes, but one is called purpose."), "{told}");

    // No row is good: that is no success, and the report comes all the same.
    write(
        "given_at,ip",
        &[
            format!("{},0001-01-01T00:00:00Z,192.0.2.1", number(1)),
            format!("{},2024-03-01T09:30:00Z,the office", number(2)),
        ],
    );
    let all = import(&["--purpose", "alert", "--json"]);
    let output =
        house.command(&all.iter().map(String::as_str).collect::<Vec<_>>()).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("the report");
    assert_eq!(report["reasons"], json!({ "cell_too_early": 1, "cell_no_ip_address": 1 }));
    let told = String::from_utf8(output.stderr).expect("text");
    assert!(told.contains("no row of") && told.contains("mend it"), "{told}");
    assert_eq!(entries(&house), (0, 0));

    // A programme that nobody configured, and a file that is there.
    write("given_at", &(1..5).map(|n| format!("{},2024-03-01T09:30:00Z", number(n))).collect::<Vec<_>>());
    let told = refusal(&["--purpose", "alert", "--programme", "nope"]);
    assert!(told.contains("there is no [[programme]] \"nope\"") && told.contains("offers, news"), "{told}");
    std::fs::write(&refused, "precious").expect("written");
    let told = refusal(&["--purpose", "alert", "--refused", &refused]);
    assert!(told.contains("is there already") && told.contains("name a new one"), "{told}");
    assert_eq!(std::fs::read_to_string(&refused).expect("read"), "precious");

    // Of those who left something, the ones count who left what the rows are for.
    house.run(&["suppression", "add", &number(1), "--programme", "news"]);
    house.run(&["suppression", "add", &number(2), "--programme", "offers"]);
    house.run(&["suppression", "add", &number(3)]);
    let counted = |more: &[&str]| {
        json(&[&["--purpose", "alert", "--dry-run"], more].concat())["suppressed"].as_u64().expect("a number")
    };
    assert_eq!(counted(&["--programme", "offers"]), 2);
    assert_eq!(counted(&["--programme", "deals"]), 2, "as it was called before");
    assert_eq!(counted(&["--programme", "news"]), 2);
    assert_eq!(counted(&[]), 1, "who left one programme may be sent to");
}

fn make(path: &str, rows: u64) {
    table(path, "phone,given_at,wording,place", rows, |n| {
        format!("2024-03-01T09:30:00Z,\"I agree to texts of Acme\",\"https://shop.example/{n}\"")
    });
}

fn import(list: &str) -> [&str; 13] {
    let own =
        ["consent", "import", list, "--attested-by", VOUCHED, "--act", "written", "--purpose", "marketing"];
    let more = ["--channel", "text", "--seller", "Acme"];
    std::array::from_fn(|n| own.get(n).copied().unwrap_or_else(|| more[n - own.len()]))
}

#[test]
fn a_kill_in_the_middle_costs_only_the_same_command_again() {
    const ROWS: u64 = 20_000;
    let directory = tempfile::tempdir().expect("a directory");
    let house = House::new(directory.path(), "test");
    let list = house.named("people.csv");
    make(&list, ROWS);
    let mut first = house.start(&import(&list));
    wait("it has begun", || (entries(&house).0 > 0).then_some(()));
    first.0.kill().expect("it is killed");
    drop(first);
    let (killed, _) = entries(&house);
    assert!(killed < ROWS && killed % 1_000 == 0, "{killed} of {ROWS} before it could be killed");

    let done = house.json(&import(&list));
    assert_eq!((&done["rows"], &done["already_recorded"]), (&json!(ROWS), &json!(killed)), "{done}");
    assert_eq!(done["recorded"], json!(ROWS - killed), "{done}");
    assert_eq!(entries(&house), (ROWS, ROWS), "each entry once");
}

#[test]
fn two_at_once_record_each_entry_once() {
    const ROWS: u64 = 3_000;
    let directory = tempfile::tempdir().expect("a directory");
    let house = House::new(directory.path(), "test");
    let list = house.named("people.csv");
    make(&list, ROWS);
    let mut both = [house.start(&import(&list)), house.start(&import(&list))];
    for one in &mut both {
        assert!(one.0.wait().expect("it ends").success());
    }
    assert_eq!(entries(&house), (ROWS, ROWS), "each entry once");
}

#[test]
#[ignore = "takes a minute; says how fast a file is recorded"]
fn many_rows_are_recorded_with_bounded_memory() {
    let rows = std::env::var("TIDINGS_ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(1_000_000);
    let directory = tempfile::tempdir().expect("a directory");
    let house = House::new(directory.path(), "test");
    let list = house.named("people.csv");
    make(&list, rows);
    let watch = Clock::new(0).stopwatch();
    let most = house.start(&import(&list)).most_mib();
    assert_eq!(entries(&house), (rows, rows));
    let took_s = watch.elapsed_s();
    println!("{rows} rows in {took_s:.0} s: {:.0} a second, {most} MiB at most", rows as f64 / took_s);
    assert!(most < 256, "{most} MiB");
}
