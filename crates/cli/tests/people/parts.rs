//! Long texts of people: put together, told once, shown so that they do nothing, and bounded.

use crate::carrier::{Carrier, Said};
use crate::subject::{PERSON, SENDER, Subject, wait};
use serde_json::{Value, json};
use tempfile::TempDir;
use tidings_domain::octets::hexadecimal;

/// The texts of people that were told so far.
fn told(subject: &Subject) -> Vec<String> {
    let events = subject.events("message.received");
    events.iter().map(|event| event["data"]["text"].as_str().expect("a text").to_owned()).collect()
}

fn start(more: &str) -> (TempDir, Carrier, Subject) {
    let directory = tempfile::tempdir().expect("a directory");
    let carrier = Carrier::start();
    let subject = Subject::start(directory.path(), &carrier.address.to_string(), more);
    (directory, carrier, subject)
}

/// P-21
#[test]
fn five_parts_in_any_order_with_one_twice_are_one_message_also_over_a_kill() {
    let (_directory, carrier, mut subject) = start("");
    let part = |number: u8| {
        let text = ["I will be ", "a little late, ", "because my train ", "stands still; ", "sorry!"];
        Said::part(PERSON, SENDER, (7, 5, number), text[usize::from(number) - 1])
    };
    carrier.say_all(&[part(4), part(2), part(4)]);
    carrier.is_heard();
    assert_eq!(told(&subject), [""; 0]);
    let session = carrier.leave_session();
    subject.kill_and_start();
    carrier.next_session(session);
    // The carrier does not know that 2 was stored, and offers it again.
    carrier.say_all(&[part(2), part(5), part(1)]);
    carrier.is_heard();
    assert_eq!(told(&subject), [""; 0]);
    // Perhaps stored, and perhaps not: it is offered again either way.
    carrier.says(&part(3));
    let session = carrier.leave_session();
    subject.kill_and_start();
    carrier.next_session(session);
    carrier.says(&part(3));
    carrier.is_heard();
    let expected = ["I will be a little late, because my train stands still; sorry!"];
    assert_eq!(told(&subject), expected);
    let event = &subject.events("message.received")[0];
    assert_eq!(event["data"]["parts"], json!({ "total": 5, "missing": [], "reference": 7 }), "{event}");
    carrier.say_all(&[part(1), part(3)]);
    carrier.is_heard();
    assert_eq!(told(&subject), expected);
}

/// P-21
#[test]
fn a_part_that_never_comes_leaves_a_mark_and_what_was_written_does_nothing_where_it_is_shown() {
    let (_directory, carrier, subject) = start("[inbound]\nparts_wait_s = 3\n");
    let hostile = "<script>alert(1)</script>\u{1B}[2J\u{9B}31m\u{202E}\u{200B}";
    let mut first = Said::part(PERSON, SENDER, (9, 3, 1), "");
    first.data_coding = 8;
    first.text = hostile.encode_utf16().chain([0xD83D]).flat_map(u16::to_be_bytes).collect();
    let octets = hexadecimal(&first.text);
    carrier.say_all(&[first, Said::part(PERSON, SENDER, (9, 3, 3), "end")]);
    let event = wait("it is told without its second part", || subject.events("message.received").pop());
    let data = &event["data"];
    assert_eq!(data["text"], format!("{hostile}\u{FFFD}[…]end"), "{event}");
    assert_eq!(data["parts"], json!({ "total": 3, "missing": [2], "reference": 9 }), "{event}");

    let id = data["inbound_id"].as_str().expect("an id");
    let (status, read) = subject.ask("GET", &format!("/v1/inbound/{id}"), &Value::Null);
    assert_eq!((status, &read["text"]), (200, &data["text"]), "{read}");
    assert_eq!(read["originals"][0]["octets"], octets, "half a character is kept as it came");
    let shown = subject.command(&["inbound", "show", id, "--full"]);
    assert!(
        shown.contains("<script>alert(1)</script>␛[2J⟨U+009B⟩31m⟨U+202E⟩⟨U+200B⟩\u{FFFD}[…]end"),
        "{shown}"
    );
    assert!(shown.chars().all(|character| character == '\n' || !character.is_control()), "{shown:?}");
    let json = subject.command(&["inbound", "show", id, "--full", "--json"]);
    assert!(
        json.trim_end().chars().all(|character| !character.is_control() && character != '\u{202E}'),
        "{json:?}"
    );
    let json: Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(json["text"], data["text"]);
    let masked = subject.command(&["inbound", "show", id]);
    assert!(!masked.contains("script") && !masked.contains(PERSON), "{masked}");
}

/// P-21: what waits does not grow with what comes, and what comes beside it is not kept from anybody.
#[test]
fn a_flood_of_first_parts_takes_a_bounded_place_and_hides_nothing() {
    flood(4_000);
}

#[test]
#[ignore = "some minutes: each night"]
fn a_hundred_thousand_first_parts_take_a_bounded_place_and_hide_nothing() {
    flood(100_000);
}

/// First parts of nothing, from many senders, and a message of one part behind each hundredth.
fn flood(parts: usize) {
    /// Said in one go, and then as many more as are acknowledged: a carrier has a window.
    const AT_ONCE: usize = 100;
    const GROWTH_MIB_MAX: u64 = 96;
    let (_directory, carrier, subject) = start("");
    carrier.say_all(&[Said::part(PERSON, SENDER, (1, 1, 1), "before")]);
    carrier.is_heard();
    let before = resident_mib(subject.pid());
    let mut honest = 0;
    for n in (0..parts).step_by(AT_ONCE) {
        let senders: Vec<String> = (n..n + AT_ONCE).map(|n| format!("+1555{:07}", n / 10)).collect();
        let mut said: Vec<Said<'_>> = (n..)
            .zip(&senders)
            .map(|(n, from)| Said::part(from, SENDER, (n as u8, 3, 1), &format!("part {n} ")))
            .collect();
        let alone = format!("message {honest}");
        said.push(Said { header: Vec::new(), ..Said::part(PERSON, SENDER, (0, 1, 1), &alone) });
        honest += 1;
        let last = carrier.say_all(&said);
        carrier.heard(last);
        carrier.at_most_open(AT_ONCE);
    }
    carrier.is_heard();
    assert_eq!(carrier.refused(), 0);
    let grown = resident_mib(subject.pid()).saturating_sub(before);
    assert!(grown < GROWTH_MIB_MAX, "{grown} MiB more after {parts} parts");
    let told = told(&subject);
    let alone = told.iter().filter(|text| text.starts_with("message ")).count();
    assert_eq!(alone, honest, "each message by itself is told");
    // As many wait as may, and the others were told as they are, each once.
    let gaps: Vec<&String> = told.iter().filter(|text| text.ends_with("[…]")).collect();
    let different: std::collections::BTreeSet<&&String> = gaps.iter().collect();
    assert_eq!(different.len(), gaps.len());
    assert!(parts - gaps.len() <= 2_000, "{} of {parts} are told", gaps.len());
    println!("{parts} parts of nothing: {} told, {grown} MiB more", gaps.len());
}

/// What the process has in memory.
fn resident_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("it is there");
    let kib = line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number");
    kib / 1024
}
