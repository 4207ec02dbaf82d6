//! `tidings doctor` beside a running server sees what that sees, and what waits for a connection that is gone is told and can be
//! moved.

mod house;

use house::House;
use serde_json::{Value, json};
use std::process::Command;

const DOWN: &str = "[[connection]]\nname = \"pretend\"\nkind = \"smpp\"\nenvironment = \"test\"\naddress = \"127.0.0.1:1\"\n\
                    system_id = \"tidings\"\npassword = \"tidings\"\n";

/// What a command prints that may fail.
fn look(house: &House, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    let output = command.args(arguments).arg("--config").arg(house.file()).output().expect("it starts");
    String::from_utf8([output.stdout, output.stderr].concat()).expect("text")
}

/// The lines about connections that are wrong.
fn wrong(house: &House) -> Vec<String> {
    let report = look(house, &["doctor", "--json"]);
    let report: Value = serde_json::from_str(&report).expect("one JSON value");
    let lines = report["lines"].as_array().expect("a list").iter();
    let is_wrong = |line: &&Value| line["part"] == "connection" && line["finding"] == "wrong";
    lines.filter(is_wrong).map(|line| line["sentence"].as_str().expect("a text").to_owned()).collect()
}

#[test]
fn a_carrier_that_is_down_and_messages_of_one_that_is_gone_are_told_and_moved() {
    let place = tempfile::tempdir().expect("a directory");
    let house = House::new(place.path(), "test");
    // What is accepted waits.
    house.run(&["hold", "set"]);
    let served = house.serve();
    let body = json!({ "from": "+15550001111", "to": "+15550002222", "text": "Hello" });
    let (status, sent) = served.ask("POST", "/v1/messages", &body);
    assert_eq!(status, 202, "{sent}");
    let id = sent["id"].as_str().expect("an id").to_owned();
    drop(served);
    house.configure(DOWN);
    let served = house.serve();

    let told = wrong(&house);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("pretend (smpp, test) is not up: connecting"), "{told:?}");
    assert!(told[1].starts_with("simulator (test) is not configured, and 1 message waits"), "{told:?}");
    let part = |name: &str| {
        let (_, ready) = served.ask("GET", "/readyz", &Value::Null);
        let parts = ready["parts"].as_array().expect("a list").clone();
        parts.into_iter().find(|part| part["name"] == format!("connection {name}"))
    };
    assert_eq!(part("simulator").expect("it is told")["well"], false);
    let listed: Value = serde_json::from_str(&house.run(&["carrier", "list", "--json"])).expect("JSON");
    let kinds: Vec<&Value> = listed.as_array().expect("a list").iter().map(|one| &one["kind"]).collect();
    assert_eq!(kinds, ["smpp", "not configured"]);

    let waits_for = || {
        let shown: Value =
            serde_json::from_str(&house.run(&["message", "show", &id, "--json"])).expect("JSON");
        shown["waits_for"].as_str().expect("it waits").to_owned()
    };
    assert!(waits_for().contains("connection simulator is not configured"), "{}", waits_for());

    let moved: Value =
        serde_json::from_str(&house.run(&["carrier", "move", "simulator", "pretend", "--json"]))
            .expect("JSON");
    assert_eq!(moved["moved"], 1);
    assert_eq!(part("simulator"), None);
    let told = wrong(&house);
    assert_eq!(told.len(), 1, "{told:?}");
    let (_, timeline) = served.ask("GET", &format!("/v1/messages/{id}/timeline"), &Value::Null);
    assert_eq!(timeline["connection_name"], "pretend", "{timeline}");
    assert!(waits_for().contains("its link: connecting"), "{}", waits_for());
    drop(served);
    assert!(look(&house, &["carrier", "move", "pretend", "pretend"]).contains("has its messages already"));
    assert!(
        look(&house, &["carrier", "move", "simulatr", "pretend"]).contains("did you mean \"simulator\"?")
    );
}
