//! A number at which nothing arrives goes on the suppression list, says why everywhere, and comes off it when somebody writes from there.

use crate::keywords::Carrier;
use crate::subject::{SENDER, Subject, wait};
use serde_json::{Value, json};
use std::io::Write;
use tidings_domain::time::Timestamp;

/// Its phone is off, whenever it is tried: `receipt_for_now` of the simulated carrier.
const DEAD: &str = "+15559450007";
/// The network in between is broken: `undelivered_because` with 34.
const BEYOND: &str = "+15559160034";
const RULE: &str =
    "[suppression]\nunreachable_after = 3\nunreachable_over_days = 0\nunreachable_for_days = 30\n";

fn send(subject: &Subject, to: &str, more: Value) -> (u16, Value) {
    let mut body = json!({ "to": to });
    body.as_object_mut().expect("it is one").extend(more.as_object().expect("it is one").clone());
    subject.send(body)
}

/// Sends one and waits until it came back.
fn comes_back(subject: &Subject, to: &str, more: Value) -> String {
    let (status, accepted) = send(subject, to, more);
    assert_eq!(status, 202, "{accepted}");
    let id = accepted["id"].as_str().expect("an id").to_owned();
    wait("it comes back", || {
        let (_, shown) = subject.ask("GET", &format!("/v1/messages/{id}"), &Value::Null);
        (shown["status"] == "undelivered").then_some(())
    });
    id
}

fn entries(subject: &Subject, more: &str) -> Vec<Value> {
    let path = format!("/v1/suppressions?to={}{more}", DEAD.replace('+', "%2B"));
    let (status, list) = subject.ask("GET", &path, &Value::Null);
    assert_eq!(status, 200, "{list}");
    list["data"].as_array().expect("a list").clone()
}

fn time(text: &Value) -> Timestamp {
    Timestamp::parse(text.as_str().expect("a time")).expect("it is one")
}

#[test]
fn a_number_at_which_nothing_arrives_is_suppressed_with_its_reason_until_somebody_writes_from_there() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut carrier = Carrier::start();
    let mut subject = Subject::start(directory.path(), &carrier.address, RULE);
    subject.reaches_carrier();

    let days = 20 * 24 * 3_600;
    let now = Timestamp::from_millis(tidings_witness::clock::wall_ms());
    let (status, waits) = send(&subject, DEAD, json!({ "send_at": now.plus_s(days).to_string() }));
    assert_eq!(status, 202, "{waits}");
    let waits = waits["id"].as_str().expect("an id").to_owned();
    comes_back(&subject, DEAD, json!({}));
    comes_back(&subject, DEAD, json!({}));
    assert_eq!(entries(&subject, ""), [] as [Value; 0]);
    // What was counted is on the disk.
    subject.kill_and_start();
    subject.reaches_carrier();
    let last = comes_back(&subject, DEAD, json!({}));

    // The entry stood in the commit that ended the message.
    let listed = entries(&subject, "");
    assert_eq!(listed.len(), 1, "{listed:?}");
    let (entry, source) = (&listed[0], listed[0]["source"].as_str().expect("a source"));
    assert_eq!((&entry["reason"], &entry["programme"]), (&json!("unreachable"), &Value::Null), "{entry}");
    assert!(source.starts_with(&format!("{last} 3 in a row since 20")), "{source}");
    assert_eq!(time(&entry["expires_at"]), time(&entry["created_at"]).plus_s(30 * 24 * 3_600));
    let shown = subject.command(&["suppression", "list", "--environment", "test", "--to", DEAD]);
    assert!(shown.contains("unreachable"), "{shown}");

    // A message is refused with the reason, a preview and `explain` say it, and what waits ends with it.
    let (status, problem) = send(&subject, DEAD, json!({}));
    assert_eq!((status, &problem["code"]), (422, &json!("INVALID_NUMBER")), "{problem}");
    assert_eq!(problem["errors"][0]["reason"], "unreachable", "{problem}");
    let body = json!({ "from": SENDER, "to": DEAD, "text": "Hello" });
    let (status, preview) = subject.ask("POST", "/v1/messages/preview", &body);
    assert_eq!((status, &preview["gate"][0]["reason"]), (200, &json!("unreachable")), "{preview}");
    let page = preview["gate"][0]["page"].as_str().expect("a page");
    assert_eq!(subject.ask("GET", page, &Value::Null).0, 200);
    let told = subject.command(&["explain", "--environment", "test", "--to", DEAD]);
    assert!(told.contains("no message reached this number for a long time"), "{told}");
    let timeline = wait("what waits is ended", || {
        let (_, timeline) = subject.ask("GET", &format!("/v1/messages/{waits}/timeline"), &Value::Null);
        let events = timeline["events"].as_array()?.clone();
        events.iter().any(|event| event["type"] == "message.rejected").then_some(events)
    });
    let error = &timeline.last().expect("an event")["error"];
    assert_eq!(
        (&error["code"], &error["carrier_code"]),
        (&json!("INVALID_NUMBER"), &json!("tidings suppressed_unreachable")),
        "{timeline:?}"
    );
    assert!(
        subject.events("message.rejected").iter().any(|event| event["data"]["message_id"] == json!(waits))
    );

    // Somebody waits for a code: it goes, and here it comes back.
    comes_back(&subject, DEAD, json!({ "purpose": "authentication" }));
    assert_eq!(entries(&subject, "").len(), 1);

    // Whoever writes from there is not dead.
    writeln!(carrier.people, "{DEAD} {SENDER} I am back").expect("it reads");
    carrier.people.flush().expect("it reads");
    subject.received(1);
    assert_eq!(entries(&subject, ""), [] as [Value; 0]);
    let all = entries(&subject, "&include_lifted=true");
    let why = all[0]["lifted_reason"].as_str().expect("a reason");
    assert!(why.starts_with("inb_") && why.ends_with(" was received"), "{why}");
    comes_back(&subject, DEAD, json!({}));
    comes_back(&subject, DEAD, json!({}));
    assert_eq!(entries(&subject, ""), [] as [Value; 0], "it starts anew");

    // A network that does not carry says nothing of the phone.
    for _ in 0..4 {
        comes_back(&subject, BEYOND, json!({}));
    }
    assert_eq!(send(&subject, BEYOND, json!({})).0, 202);
}
