//! Segments find people by what is known of them, what they agreed to, and what happened with them over a real connection.

use crate::keywords::Carrier;
use crate::subject::{SENDER, Subject, wait};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Write;

/// Agreed to offers, was sent one, and answered.
const ANA: &str = "+15550003001";
/// Was sent an alert.
const BEN: &str = "+15550003002";
/// Agreed to offers, and stopped them.
const CLEO: &str = "+15550003003";
/// Nothing is known of her but her fields.
const DORA: &str = "+15550003004";

struct People {
    subject: Subject,
    carrier: Carrier,
}

impl People {
    fn ask(&self, method: &str, path: &str, body: &Value, wanted: u16) -> Value {
        let (status, answer) = self.subject.ask(method, path, body);
        assert_eq!(status, wanted, "{method} {path} {body}: {answer}");
        answer
    }

    fn is_delivered(&self, to: &str, purpose: &str) {
        let body = json!({ "from": SENDER, "to": to, "text": "Hello", "purpose": purpose });
        let sent = self.ask("POST", "/v1/messages", &body, 202);
        let path = format!("/v1/messages/{}", sent["id"].as_str().expect("an id"));
        wait("it is delivered", || {
            let shown = self.ask("GET", &path, &Value::Null, 200);
            (shown["status"] == "delivered").then_some(())
        });
    }

    fn agrees(&self, to: &str) {
        let body = json!({
            "to": to, "act": "written", "purposes": ["marketing"], "channels": ["text"], "method": "form",
            "wording": "I agree to offers.", "place": "https://clinic.example/join", "seller": "Acme Clinic",
        });
        self.ask("POST", "/v1/consents", &body, 201);
    }

    fn says(&mut self, from: &str, text: &str) {
        writeln!(self.carrier.people, "{from} {SENDER} {text}").expect("it reads");
        self.carrier.people.flush().expect("it reads");
    }

    /// The names of those whom a query finds.
    fn found(&self, query: &Value) -> BTreeSet<String> {
        let shown = self.ask("POST", "/v1/segments/preview", &json!({ "query": query }), 200);
        assert_eq!(shown["complete"], true, "{shown}");
        let names = names(&shown);
        assert_eq!(shown["count"], json!(names.len()), "{shown}");
        names
    }
}

fn names(shown: &Value) -> BTreeSet<String> {
    let data = shown["data"].as_array().expect("a list");
    data.iter().map(|one| one["name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn a_segment_finds_people_by_what_is_known_agreed_and_done() {
    let directory = tempfile::tempdir().expect("a directory");
    let carrier = Carrier::start();
    let subject = Subject::start(directory.path(), &carrier.address, "");
    subject.reaches_carrier();
    let mut people = People { subject, carrier };

    for (number, name, groups, visits) in [
        (ANA, "Ana", json!(["spring"]), 7),
        (BEN, "Ben", json!(["spring", "staff"]), 3),
        (CLEO, "Cleo", json!(["spring"]), 5),
        (DORA, "Dora", json!([]), 9),
    ] {
        let body = json!({
            "numbers": [number], "name": name, "groups": groups, "language": "en-GB",
            "fields": { "visits": visits, "plan": "Pro", "since": "2020-01-31" },
        });
        people.ask("POST", "/v1/contacts", &body, 201);
    }
    people.agrees(ANA);
    people.agrees(CLEO);
    // Nothing of this is in the log before something asked for history.
    people.is_delivered(ANA, "transactional");
    let check = |people: &People, query: Value, expected: &[&str]| {
        let expected: BTreeSet<String> = expected.iter().map(ToString::to_string).collect();
        assert_eq!(people.found(&query), expected, "{query}");
    };
    check(&people, json!({ "history": "sent" }), &["Ana"]);
    check(&people, json!({ "not": { "history": "delivered" } }), &["Ben", "Cleo", "Dora"]);
    check(&people, json!({ "field": "visits", "at_least": 5 }), &["Ana", "Cleo", "Dora"]);
    check(
        &people,
        json!({ "all": [{ "group": "spring" }, { "not": { "group": "staff" } }] }),
        &["Ana", "Cleo"],
    );
    check(&people, json!({ "consent": "marketing" }), &["Ana", "Cleo"]);
    check(&people, json!({ "suppressed": true }), &[]);

    // What comes later is found, too.
    people.is_delivered(BEN, "alert");
    people.says(ANA, "Thank you, see you soon");
    people.says(CLEO, "STOP");
    people.subject.received(2);
    wait("Cleo is on the list", || people.subject.events("contact.opted_out").pop());
    check(&people, json!({ "history": "sent", "purpose": "alert", "in_last_days": 1 }), &["Ben"]);
    check(&people, json!({ "history": "delivered", "purpose": "marketing" }), &[]);
    check(&people, json!({ "history": "answered" }), &["Ana", "Cleo"]);
    check(&people, json!({ "consent": "marketing" }), &["Ana"]);
    check(&people, json!({ "suppressed": false }), &["Ana", "Ben", "Dora"]);

    // Kept, it can be asked by name; page by page; and nobody is missed or named twice.
    let query = json!({ "all": [
        { "field": "plan", "is": "pro" },
        { "field": "since", "before": "2021-01-01" },
        { "suppressed": false },
    ]});
    let body = json!({ "name": "regulars", "description": "who comes", "query": query });
    let made = people.ask("POST", "/v1/segments", &body, 201);
    assert_eq!(made["query"], query);
    let taken = people.ask("POST", "/v1/segments", &body, 409);
    assert_eq!(
        (&taken["code"], &taken["errors"][0]["field"]),
        (&json!("CONFLICT"), &json!("name")),
        "{taken}"
    );
    let (mut listed, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/segments/regulars/contacts?limit=1{cursor}");
        let page = people.ask("GET", &path, &Value::Null, 200);
        listed.extend(names(&page));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(listed, ["Dora", "Ben", "Ana"], "newest first");
    let path = format!("/v1/segments/{}", made["id"].as_str().expect("an id"));
    let count = people.ask("GET", &format!("{path}/count"), &Value::Null, 200);
    assert_eq!(count, json!({ "count": 3, "scanned": 4, "complete": true, "next_cursor": null }));

    // A change counts at once.
    let narrower = json!({ "query": { "all": [query, { "field": "visits", "above": 3 }] } });
    people.ask("PATCH", &path, &narrower, 200);
    let count = people.ask("GET", "/v1/segments/regulars/count", &Value::Null, 200);
    assert_eq!(count["count"], 2, "{count}");
    let wrong = json!({ "query": { "all": [{ "group": "a" }, { "field": "visits", "above": "3" }] } });
    let refused = people.ask("PATCH", &path, &wrong, 422);
    assert_eq!(
        (&refused["code"], &refused["errors"][0]["field"]),
        (&json!("INVALID_QUERY"), &json!("query.all[1].above")),
        "{refused}"
    );

    // At the command line the same, and out as a table.
    let shown = people.subject.command(&["segment", "count", "regulars", "--json"]);
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!((&shown["count"], &shown["scanned"]), (&json!(2), &json!(4)));
    let table = people.subject.command(&["contact", "export", "--segment", "regulars"]);
    let rows: BTreeSet<&str> = table.lines().skip(1).filter_map(|line| line.split(',').nth(1)).collect();
    assert_eq!(rows, ["Ana", "Dora"].into(), "{table}");
    let file = directory.path().join("query.json");
    std::fs::write(&file, json!({ "any": [{ "history": "answered" }, { "group": "staff" }] }).to_string())
        .expect("written");
    let file = file.to_str().expect("a path");
    let shown = people.subject.command(&["segment", "preview", file, "--json"]);
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(names(&shown), ["Ana", "Ben", "Cleo"].map(str::to_owned).into());

    people.ask("DELETE", &path, &Value::Null, 204);
    people.ask("GET", &path, &Value::Null, 404);
    let refused = people.ask("GET", "/v1/contacts/export?segment=regulars", &Value::Null, 404);
    assert_eq!(refused["errors"][0]["field"], "segment", "{refused}");
}
