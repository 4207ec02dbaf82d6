//! A failure that is decided to be sent again is, in the same way, whether the server or a command beside it hears the decision.

mod house;

use house::{House, Served, wait};
use serde_json::{Value, json};
use tidings_domain::time::Timestamp;

/// Refused by the simulated carrier, for a person to look at.
const FILTERED: &str = "+15559340000";
/// How long the message is worth sending: seconds.
const LIFE_S: i64 = 600;

fn send(served: &Served<'_>) -> String {
    let body = json!({ "from": "+15550001111", "to": FILTERED, "text": "Hello", "expires_in_s": LIFE_S,
                       "reference": "r-1", "metadata": { "a": "b" } });
    let (status, sent) = served.ask("POST", "/v1/messages", &body);
    assert_eq!(status, 202, "{sent}");
    sent["id"].as_str().expect("an id").to_owned()
}

/// The item about a message, once there is one.
fn item(served: &Served<'_>, message: &str) -> String {
    wait("somebody is to look at it", || {
        let (_, items) = served.ask("GET", "/v1/review/items", &Value::Null);
        let items = items["data"].as_array().expect("a list").clone();
        let found = items.iter().find(|item| item["message_id"] == message)?;
        Some(found["id"].as_str().expect("an id").to_owned())
    })
}

/// What a message is, without what differs between any two; and how long it is worth sending: seconds.
fn about(served: &Served<'_>, id: &str) -> (Value, i64) {
    let (status, mut shown) = served.ask("GET", &format!("/v1/messages/{id}"), &Value::Null);
    assert_eq!(status, 200, "{shown}");
    let at = |name: &str| Timestamp::parse(shown[name].as_str().expect("a time")).expect("a time");
    let life_s = at("expires_at").since_ms(at("created_at")) / 1_000;
    let kept =
        ["from", "to", "text", "purpose", "segments", "reference", "metadata", "retry_of", "connection"];
    shown.as_object_mut().expect("an object").retain(|name, _| kept.contains(&name.as_str()));
    (shown, life_s)
}

fn repeated(decided: &Value) -> Value {
    decided["repeated"][0]["new_message_id"].clone()
}

#[test]
fn a_decision_at_the_terminal_repeats_a_message_as_one_over_the_api_does() {
    let place = tempfile::tempdir().expect("a directory");
    let house = House::new(place.path(), "test");
    let served = house.serve();
    let at_terminal = |id: &str| -> Value {
        let item = item(&served, id);
        let decided = house.run(&["review", "decide", "retry", "--item", &item, "--json"]);
        serde_json::from_str(&decided).expect("JSON")
    };
    let over_api = |id: &str| {
        let body = json!({ "item": item(&served, id), "decision": "retry" });
        let (status, decided) = served.ask("POST", "/v1/review/decisions", &body);
        assert_eq!(status, 200, "{decided}");
        decided
    };
    let (first, second) = (send(&served), send(&served));
    let news = [repeated(&at_terminal(&first)), repeated(&over_api(&second))];
    let [one, other] = news.map(|new| about(&served, new.as_str().expect("it is repeated")));
    assert_eq!((one.1, other.1), (LIFE_S, LIFE_S));
    assert_eq!((&one.0["retry_of"], &other.0["retry_of"]), (&json!(first), &json!(second)));
    let same = |shown: &Value| {
        let mut shown = shown.clone();
        shown["retry_of"] = Value::Null;
        shown
    };
    assert_eq!(same(&one.0), same(&other.0));

    // What is not let pass any more is not repeated, by whomever.
    let (third, fourth) = (send(&served), send(&served));
    for id in [&third, &fourth] {
        item(&served, id);
    }
    drop(served);
    house.configure("[countries]\nenabled = [\"SE\"]");
    let served = house.serve();
    let decided = house.run(&["review", "decide", "retry", "--item", &item(&served, &third), "--json"]);
    assert_eq!(repeated(&serde_json::from_str(&decided).expect("JSON")), Value::Null);
    let body = json!({ "item": item(&served, &fourth), "decision": "retry" });
    assert_eq!(repeated(&served.ask("POST", "/v1/review/decisions", &body).1), Value::Null);
}
