//! A person writes, somebody of us answers, and who comes too late is told.

use crate::keywords::Carrier;
use crate::subject::{PERSON, SENDER, Subject, wait};
use serde_json::{Value, json};
use std::io::Write;

fn says(carrier: &mut Carrier, text: &str) {
    writeln!(carrier.people, "{PERSON} {SENDER} {text}").expect("it reads");
    carrier.people.flush().expect("it reads");
}

#[test]
fn a_person_is_answered_in_a_conversation_and_it_outlives_the_process() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut carrier = Carrier::start();
    let mut subject = Subject::start(directory.path(), &carrier.address, "");
    subject.reaches_carrier();

    says(&mut carrier, "Where is my order?");
    let needing = |subject: &Subject| {
        let (status, list) = subject.ask("GET", "/v1/conversations?status=needs_reply", &Value::Null);
        assert_eq!(status, 200, "{list}");
        list["data"].as_array().expect("a list").first().cloned()
    };
    let one = wait("the conversation needs a reply", || needing(&subject));
    assert_eq!((&one["with"], &one["from"]), (&json!(PERSON), &json!(SENDER)));
    let path = format!("/v1/conversations/{}", one["id"].as_str().expect("an id"));
    let reply = json!({ "text": "It comes today.", "if_last": one["last_id"], "author": "Maya" });
    let (status, sent) = subject.ask("POST", &format!("{path}/reply"), &reply);
    assert_eq!(status, 202, "{sent}");
    // A colleague who still sees the question.
    let (status, refused) = subject.ask("POST", &format!("{path}/reply"), &reply);
    assert_eq!((status, &refused["code"]), (409, &json!("OVERTAKEN")), "{refused}");

    let message = format!("/v1/messages/{}", sent["id"].as_str().expect("an id"));
    wait("the reply is delivered", || {
        let (_, shown) = subject.ask("GET", &message, &Value::Null);
        (shown["status"] == "delivered").then_some(())
    });
    assert_eq!(needing(&subject), None);
    assert_eq!(subject.messages().len(), 1);

    let (status, _) = subject.ask("POST", &format!("{path}/close"), &Value::Null);
    assert_eq!(status, 200);
    subject.kill_and_start();
    subject.reaches_carrier();
    let (_, shown) = subject.ask("GET", &path, &Value::Null);
    assert_eq!((&shown["status"], &shown["entries"]), (&json!("closed"), &json!(2)), "{shown}");
    says(&mut carrier, "It never came!");
    let again = wait("what the person writes opens it", || needing(&subject));
    assert_eq!((&again["id"], &again["entries"]), (&one["id"], &json!(3)));
    let (_, said) = subject.ask("GET", &format!("{path}/messages"), &Value::Null);
    let kinds: Vec<&str> =
        said["data"].as_array().expect("a list").iter().filter_map(|entry| entry["kind"].as_str()).collect();
    assert_eq!(kinds, ["inbound", "message", "inbound"]);
    assert_eq!(said["data"][1]["message"]["status"], "delivered");
    let (_, found) = subject.ask("GET", "/v1/conversations/search?q=never+came", &Value::Null);
    assert_eq!(found["data"][0]["conversation_id"], one["id"], "{found}");
}
