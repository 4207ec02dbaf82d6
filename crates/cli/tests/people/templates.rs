//! A template is made from a file, and people get what it says.

use crate::keywords::Carrier;
use crate::subject::{PERSON, SENDER, Subject, wait};
use serde_json::{Value, json};

#[test]
fn a_template_is_made_from_a_file_and_a_message_of_it_is_delivered_without_a_hole() {
    let directory = tempfile::tempdir().expect("a directory");
    let carrier = Carrier::start();
    let subject = Subject::start(directory.path(), &carrier.address, "");
    subject.reaches_carrier();

    let file = directory.path().join("appointment.json");
    let template = json!({
        "name": "appointment",
        "texts": {
            "en": "{{ name }}, see you on {{ day|date('%-d %B') }}{% if late %} (new time){% endif %}.",
            "de": "{{ name }}, bis zum {{ day|date('%d.%m.') }}{% if late %} (neue Zeit){% endif %}!",
        },
        "variables": [
            { "name": "name", "type": "text", "sample": "Ana" },
            { "name": "day", "type": "date", "sample": "2026-12-24" },
            { "name": "late", "type": "yes_no", "sample": false },
        ],
    });
    std::fs::write(&file, template.to_string()).expect("written");
    let file = file.to_str().expect("a path");
    let made: Value =
        serde_json::from_str(&subject.command(&["template", "create", file, "--json"])).expect("JSON");
    assert_eq!((&made["name"], &made["version"]), (&json!("appointment"), &json!(1)));

    let send = |values: Value, language: &str| {
        let body = json!({
            "from": SENDER, "to": PERSON, "template": "appointment", "language": language, "values": values
        });
        subject.ask("POST", "/v1/messages", &body)
    };
    let (status, refused) = send(json!({ "day": "2026-03-07", "late": true }), "en");
    assert_eq!((status, &refused["code"]), (422, &json!("TEMPLATE_NOT_FILLED")), "{refused}");
    assert_eq!(refused["errors"][0]["field"], "values.name");
    let (status, sent) = send(json!({ "name": "Zo\u{eb}", "day": "2026-03-07", "late": true }), "de-CH");
    assert_eq!(status, 202, "{sent}");
    let path = format!("/v1/messages/{}", sent["id"].as_str().expect("an id"));
    let shown = wait("the message is delivered", || {
        let (_, shown) = subject.ask("GET", &path, &Value::Null);
        (shown["status"] == "delivered").then_some(shown)
    });
    assert_eq!(shown["text"], "Zo\u{eb}, bis zum 07.03. (neue Zeit)!");
    assert_eq!(shown["template"], json!({ "id": made["id"], "version": 1 }));
    assert_eq!(subject.messages().len(), 1);

    let shown = subject.command(&[
        "template",
        "preview",
        "appointment",
        "--value",
        "name=Ben",
        "--value",
        "day=2026-03-07",
        "--value",
        "late=no",
        "--json",
    ]);
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(shown["text"]["text"], "Ben, see you on 7 March.");
    assert!(shown["worst"]["segments"].as_u64() > shown["usual"]["segments"].as_u64(), "{shown}");
}
