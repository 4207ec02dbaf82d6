//! What people write goes where the rules of the configuration say.

use crate::keywords::Carrier;
use crate::subject::{PERSON, SENDER, Subject, wait};
use serde_json::{Value, json};
use std::io::Write;

const OTHER: &str = "+15550003333";
const RULES: &str = r#"
[[inbound_rule]]
name = "refund"
keywords = ["refund"]
contact = "known"
assign_owner = true
tags = ["refund"]
reply = "We look at it today."

[[inbound_rule]]
name = "always"
time_zone = "America/New_York"
hours = "00:00-24:00"
days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
assign = "Night shift"
reply = "We are closed and answer you tomorrow."
"#;

fn says(carrier: &mut Carrier, person: &str, text: &str) {
    writeln!(carrier.people, "{person} {SENDER} {text}").expect("it reads");
    carrier.people.flush().expect("it reads");
}

#[test]
fn what_a_person_writes_is_assigned_tagged_and_answered_by_the_first_rule_that_fits() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut carrier = Carrier::start();
    let mut subject = Subject::start(directory.path(), &carrier.address, RULES);
    subject.reaches_carrier();
    let rule_of = |subject: &Subject, count: usize| {
        subject.received(count);
        subject.events("message.received")[count - 1]["data"]["rule"].clone()
    };

    // STOP and what follows is done before any rule.
    says(&mut carrier, OTHER, "STOP");
    says(&mut carrier, OTHER, "Refund, please!");
    assert_eq!(rule_of(&subject, 2), json!("always"), "nobody knows the person");
    assert_eq!(subject.events("message.received")[0]["data"]["rule"], Value::Null);
    assert_eq!(subject.replies("rule"), [""; 0], "who opted out gets nothing");

    let contact = json!({ "numbers": [PERSON], "owner": "Maya" });
    let (status, made) = subject.ask("POST", "/v1/contacts", &contact);
    assert_eq!(status, 201, "{made}");
    says(&mut carrier, PERSON, "REFUND??");
    assert_eq!(rule_of(&subject, 3), json!("refund"));
    wait("the answer is delivered", || {
        let messages = subject.messages();
        messages.iter().any(|m| m["reply"]["kind"] == "rule" && m["status"] == "delivered").then_some(())
    });
    // It keeps its word over a restart: one answer in its time, however often it is asked.
    subject.kill_and_start();
    subject.reaches_carrier();
    says(&mut carrier, PERSON, "refund refund");
    says(&mut carrier, PERSON, "and another thing");
    assert_eq!(rule_of(&subject, 5), json!("always"));
    wait("the other rule answers", || (subject.replies("rule").len() == 2).then_some(()));
    let mut replies = subject.replies("rule");
    replies.sort();
    assert_eq!(replies, ["We are closed and answer you tomorrow.", "We look at it today."]);

    let (_, list) = subject.ask("GET", "/v1/conversations?tag=refund&status=needs_reply", &Value::Null);
    let one = &list["data"][0];
    assert_eq!((&one["assignee"], &one["tags"]), (&json!("Maya"), &json!(["refund"])), "{list}");
    let path = format!("/v1/conversations/{}/messages", one["id"].as_str().expect("an id"));
    let (_, said) = subject.ask("GET", &path, &Value::Null);
    let said = said["data"].as_array().expect("a list");
    let kinds: Vec<&str> = said.iter().rev().map(|entry| entry["kind"].as_str().expect("a word")).collect();
    assert_eq!(kinds, ["inbound", "message", "inbound", "inbound", "message"]);
    assert_eq!(said[0]["message"]["reply"]["kind"], "rule", "{said:?}");
    let id = said[1]["id"].as_str().expect("an id");
    let (_, shown) = subject.ask("GET", &format!("/v1/inbound/{id}"), &Value::Null);
    assert_eq!(shown["rule"], "always", "{shown}");
}
