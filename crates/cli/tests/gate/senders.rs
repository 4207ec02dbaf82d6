//! Senders from a pool, the limit of a sender's day, and what an account may spend: each in the answer, the preview, the timeline
//! and at the terminal.

use crate::house::{House, Served, now, time, wait};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tidings_domain::quota::Daily;

const EAST: &str = "+12125551234";
const SOUTH: &str = "+13055551234";
const WEST: &str = "+14155551234";

const LINES: &str = r#"
[quiet_hours]
purposes = []

[[connection]]
name = "east"
kind = "simulator"
senders = ["+12125551234"]

[[connection]]
name = "others"
kind = "simulator"
senders = ["+13055551234", "+14155551234"]
"#;

/// One that is worth sending for two days, so that it lives to see the next one.
fn message(to: &str, from: &str) -> Value {
    let life_s = 2 * 24 * 3600;
    json!({ "from": from, "to": to, "text": "Acme: bread is here.", "purpose": "marketing", "expires_in_s": life_s })
}

fn send(served: &Served<'_>, to: &str, from: &str) -> (u16, Value) {
    served.ask("POST", "/v1/messages", &message(to, from))
}

/// The sender of an accepted message, and why it is that one.
fn chosen(answer: &(u16, Value)) -> (String, String) {
    let (status, accepted) = answer;
    assert_eq!(*status, 202, "{accepted}");
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    assert_eq!(accepted["sender_choice"]["pool"], "support", "{accepted}");
    (word(&accepted["from"]), word(&accepted["sender_choice"]["choice"]))
}

fn pair(from: &str, choice: &str) -> (String, String) {
    (from.to_owned(), choice.to_owned())
}

fn pause(house: &House, served: &Served<'_>, act: &str, name: &str) {
    house.run(&["carrier", act, name]);
    wait("the server sees it", || {
        let (_, connections) = served.ask("GET", "/v1/connections", &Value::Null);
        let one = connections["data"].as_array()?.iter().find(|one| one["name"] == name)?;
        (one["paused"].is_string() == (act == "pause")).then_some(())
    });
}

#[test]
fn a_person_keeps_the_sender_of_a_pool_until_it_cannot_be_used() {
    let directory = tempfile::tempdir().expect("a directory");
    let house = House::new(directory.path(), "test");
    let pool = |senders: &str| {
        format!("{LINES}\n[[pool]]\nname = \"support\"\nsenders = [{senders}]\narea_match = true\n")
    };
    let all = format!("{EAST:?}, {SOUTH:?}, {WEST:?}");
    house.configure(&pool(&all));
    let served = house.serve();
    let ask = |to: &str| send(&served, to, "pool:support");
    let (miami, york, austin) = ("+13055550100", "+12125550100", "+15125550100");
    assert_eq!(chosen(&ask(miami)), pair(SOUTH, "area"));
    assert_eq!(chosen(&ask(york)), pair(EAST, "area"));
    let (first, choice) = chosen(&ask(austin));
    assert_eq!(choice, "spread");
    assert_eq!(chosen(&ask(austin)), (first.clone(), "sticky".to_owned()));
    let people: BTreeSet<String> = (0..12).map(|n| chosen(&ask(&format!("+151255501{n:02}"))).0).collect();
    assert!(people.len() > 1, "everybody has {people:?}");

    // The timeline, the preview and the terminal say the same.
    let (_, accepted) = ask(miami);
    let id = accepted["id"].as_str().expect("an id");
    served.is_delivered(id);
    let (_, timeline) = served.ask("GET", &format!("/v1/messages/{id}/timeline"), &Value::Null);
    let event = &timeline["events"][0];
    assert_eq!(event["type"], "message.sender_chosen", "{timeline}");
    assert_eq!(event["sender_choice"], accepted["sender_choice"], "{timeline}");
    assert_eq!(event["raw"], Value::Null, "{timeline}");
    let (_, preview) = served.ask("POST", "/v1/messages/preview", &message(miami, "pool:support"));
    assert_eq!(
        (&preview["from"], &preview["sender_choice"]),
        (&json!(SOUTH), &accepted["sender_choice"]),
        "{preview}"
    );
    let explain = ["explain", "--to", miami, "--environment", "test", "--from", "pool:support"];
    let told = house.run(&explain);
    assert!(told.contains(&format!("It would be from {SOUTH}. The recipient was sent to")), "{told}");

    // A batch too, and what is wrong with a name.
    let batch = json!({ "from": "pool:support", "recipients": [miami, york], "bodies": ["Hello"] });
    let (status, answer) = served.ask("POST", "/v1/messages/batch", &batch);
    assert_eq!(status, 202, "{answer}");
    let results = answer["results"].as_array().expect("a list");
    let froms: Vec<&str> = results.iter().filter_map(|one| one["message"]["from"].as_str()).collect();
    assert_eq!(froms, [SOUTH, EAST], "{answer}");
    for (from, reason) in [("pool:nobody", "no_pool"), ("pool:Not a name", "no_pool")] {
        let (status, problem) = send(&served, miami, from);
        assert_eq!((status, &problem["code"]), (422, &json!("INVALID_SENDER")), "{problem}");
        assert_eq!(problem["errors"][0]["reason"], reason, "{problem}");
    }

    // A connection that is paused: who had its sender gets another one, and stays with that.
    pause(&house, &served, "pause", "east");
    let (instead, choice) = chosen(&ask(york));
    assert!(instead != EAST && choice == "failover", "{instead} {choice}");
    let told = house.run(&["explain", "--to", york, "--environment", "test", "--from", EAST]);
    assert!(told.contains("but it would wait: its connection is paused"), "{told}");
    let told = house.run(&["explain", "--to", york, "--environment", "test", "--from", "ACME"]);
    assert!(told.contains("would not go: Networks in US"), "{told}");
    pause(&house, &served, "resume", "east");
    assert_eq!(chosen(&ask(york)), (instead.clone(), "sticky".to_owned()));
    drop(served);

    // So after a restart; and one that is not in the pool any more is replaced.
    let left = if instead == SOUTH { WEST } else { SOUTH };
    house.configure(&pool(&format!("{EAST:?}, {left:?}")));
    let served = house.serve();
    assert_eq!(chosen(&send(&served, york, "pool:support")), pair(EAST, "failover"));
    let (_, timeline) = {
        let (_, accepted) = send(&served, york, "pool:support");
        let id = accepted["id"].as_str().expect("an id").to_owned();
        served.ask("GET", &format!("/v1/messages/{id}/timeline"), &Value::Null)
    };
    assert_eq!(timeline["events"][0]["sender_choice"]["choice"], "sticky", "{timeline}");
    drop(served);

    // A registration that was taken away: a sender that may not send is passed over, and if none may, it is said why.
    let rejected = |value: &str| format!("[[sender]]\nvalue = {value:?}\nregistration = \"rejected\"\n");
    let both = pool(&format!("{EAST:?}, {SOUTH:?}"));
    house.configure(&format!("{both}{}", rejected(EAST)));
    let served = house.serve();
    assert_eq!(chosen(&send(&served, york, "pool:support")), pair(SOUTH, "failover"));
    drop(served);
    house.configure(&format!("{both}{}{}", rejected(EAST), rejected(SOUTH)));
    let served = house.serve();
    let (status, problem) = send(&served, york, "pool:support");
    assert_eq!((status, &problem["code"]), (422, &json!("SENDER_NOT_REGISTERED")), "{problem}");
}

#[test]
fn what_is_beyond_the_day_of_a_sender_waits_for_the_next_one_and_a_pool_goes_around_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let house = House::new(directory.path(), "test");
    let limited = format!(
        "{LINES}\n[[sender]]\nvalue = {EAST:?}\ncountries = [\"SE\"]\ndaily_limit = 2\n\
         [[pool]]\nname = \"support\"\nsenders = [{EAST:?}, {SOUTH:?}]\n"
    );
    house.configure(&limited);
    let served = house.serve();
    let to = |n: u32| format!("+4670123450{n}");
    let day = |at| Daily::of_sender(EAST, 2).day(at).ends_at;
    // The day may end while this runs: then all of it is seen in the next one.
    let mut ends = day(now());
    let mut sent = 0;
    let held = loop {
        let (status, accepted) = send(&served, &to(sent % 9), EAST);
        assert_eq!(status, 202, "{accepted}");
        if accepted["held"].is_object() {
            break accepted;
        }
        served.is_delivered(accepted["id"].as_str().expect("an id"));
        sent += 1;
        assert!(sent <= 4, "two go in a day, and there are at most two days");
        ends = day(now());
    };
    assert!(sent >= 2);
    assert_eq!(
        (&held["status"], &held["held"]["code"]),
        (&json!("scheduled"), &json!("DAILY_LIMIT")),
        "{held}"
    );
    assert_eq!(time(&held["send_at"]), ends, "{held}");
    let (_, preview) = served.ask("POST", "/v1/messages/preview", &message(&to(1), EAST));
    assert_eq!(preview["gate"][0]["code"], "DAILY_LIMIT", "{preview}");
    let explain = ["explain", "--to", &to(1), "--environment", "test", "--from", EAST];
    assert!(house.run(&explain).contains("as much was sent from the sender today as may be"));
    let other = send(&served, &to(5), "pool:support");
    assert_eq!(chosen(&other).0, SOUTH);
    drop(served);

    // What was accepted before the day was full is held at its last moment.
    house.configure(&limited.replace("daily_limit = 2", "daily_limit = 3"));
    let served = house.serve();
    pause(&house, &served, "pause", "east");
    let ids: Vec<String> =
        (0..4).map(|n| send(&served, &to(n), EAST).1["id"].as_str().expect("an id").to_owned()).collect();
    pause(&house, &served, "resume", "east");
    let is_held = |id: &String| {
        served.timeline(id).iter().any(|(kind, _, code)| kind == "message.delayed" && code == "DAILY_LIMIT")
    };
    wait("some are held", || ids.iter().any(is_held).then_some(()));
    wait("each is delivered or held", || {
        let is_done = |id: &String| {
            let (_, shown) = served.ask("GET", &format!("/v1/messages/{id}"), &Value::Null);
            shown["status"] == "delivered" || is_held(id)
        };
        ids.iter().all(is_done).then_some(())
    });
    // One of the day before counts as little as one of the day after.
    let went = ids.iter().filter(|id| !is_held(id)).count();
    assert!((1..=3).contains(&went), "{went} went");
}

#[test]
fn an_account_spends_no_more_than_it_may() {
    let directory = tempfile::tempdir().expect("a directory");
    let house = House::new(directory.path(), "live");
    house.configure(
        r#"
[spend]
prices = ["46: 0.40", "4670: 0.50"]
other = 9
per_month = 1.5

[quiet_hours]
purposes = []

[[connection]]
name = "north"
kind = "smpp"
address = "127.0.0.1:9"
system_id = "x"
password = "x"
environment = "live"
"#,
    );
    let served = house.serve();
    let ask = |to: &str| served.ask("POST", "/v1/messages", &message(to, "Acme"));
    assert_eq!(ask("+46701234501").0, 202);
    assert_eq!(ask("+46701234502").0, 202);
    // Half is left: nothing that costs more is accepted, whatever comes in one call.
    let items: Vec<Value> = ["+447400123456", "+46731234503", "+46731234504", "+46701234505"]
        .iter()
        .map(|to| message(to, "Acme"))
        .collect();
    let (status, answer) = served.ask("POST", "/v1/messages/batch", &json!({ "messages": items }));
    assert_eq!(status, 202, "{answer}");
    let codes: Vec<&str> = answer["results"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| one["error"]["code"].as_str().unwrap_or("accepted"))
        .collect();
    assert_eq!(codes, ["SPEND_LIMIT", "accepted", "SPEND_LIMIT", "SPEND_LIMIT"], "{answer}");
    let (status, problem) = ask("+46701234506");
    assert_eq!((status, &problem["code"]), (422, &json!("SPEND_LIMIT")), "{problem}");
    assert_eq!(problem["errors"][0]["reason"], "month_spent", "{problem}");
    let (_, preview) = served.ask("POST", "/v1/messages/preview", &message("+46701234506", "Acme"));
    assert_eq!(preview["gate"][0]["code"], "SPEND_LIMIT", "{preview}");
    assert_eq!(preview["refused"][0]["code"], "SPEND_LIMIT", "{preview}");
    let told = house.run(&["explain", "--to", "+46701234506", "--environment", "live"]);
    assert!(told.contains("would not go: the account would spend more this month than it may"), "{told}");
    drop(served);
}
