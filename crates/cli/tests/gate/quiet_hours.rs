//! Marketing that comes in quiet hours: it waits and says why, and at its last moment it does not leave.

use crate::house::{House, Served, now, time, wait};
use serde_json::{Value, json};
use tidings_domain::address::PhoneNumber;
use tidings_domain::quiet_hours::{Hours, Place, Week, Window, Zone};

const PERSON: &str = "+46701234567";
const HOUR_MS: i64 = 3_600_000;
/// How long the offer is worth sending: three days.
const LIFE_S: i64 = 259_200;

fn send(served: &Served<'_>, purpose: &str) -> (u16, Value) {
    served.ask("POST", "/v1/messages", &message(purpose))
}

fn message(purpose: &str) -> Value {
    let life_s = if purpose == "marketing" { LIFE_S } else { 600 };
    json!({ "from": "Acme", "to": PERSON, "text": "20 % off", "purpose": purpose, "expires_in_s": life_s })
}

/// Half an hour of the person's day that is hours away from now.
fn far_window() -> String {
    let place = Place::of(PhoneNumber::from_stored(PERSON).expect("a number")).expect("a country");
    let windows = (0..24).map(|hour| format!("{hour:02}:00-{hour:02}:30"));
    let is_far = |window: &String| {
        let hours = place.hours(Window::parse(window).expect("a window"));
        let opens_in_ms = hours.opens_at(now()).map_or(0, |at| at.since_ms(now()));
        (3 * HOUR_MS..20 * HOUR_MS).contains(&opens_in_ms)
    };
    windows.into_iter().find(is_far).expect("a day has such hours")
}

#[test]
fn marketing_waits_for_its_hours_and_says_why_everywhere() {
    let directory = tempfile::tempdir().expect("a directory");
    let house = House::new(directory.path(), "test");
    let window = far_window();
    house.configure(&format!("[quiet_hours]\nwindow = \"{window}\""));
    let served = house.serve();

    let (status, preview) = served.ask("POST", "/v1/messages/preview", &message("marketing"));
    assert_eq!(status, 200, "{preview}");
    assert_eq!(
        (&preview["refused"], &preview["gate"][0]["code"]),
        (&json!([]), &json!("QUIET_HOURS")),
        "{preview}"
    );
    assert_eq!(preview["gate"][0]["page"], "/errors/QUIET_HOURS");
    let sends_at = preview["sends_at"].clone();
    assert_eq!(
        (&preview["gate"][0]["holds_until"], &preview["send_at"]),
        (&sends_at, &sends_at),
        "{preview}"
    );
    assert_eq!(served.ask("GET", "/errors/QUIET_HOURS", &Value::Null).0, 200);

    let (status, accepted) = send(&served, "marketing");
    assert_eq!(
        (status, &accepted["status"], &accepted["send_at"]),
        (202, &json!("scheduled"), &sends_at),
        "{accepted}"
    );
    assert_eq!(
        (&accepted["held"]["code"], &accepted["held"]["recovery"]),
        (&json!("QUIET_HOURS"), &json!("retry"))
    );
    assert_eq!(time(&accepted["expires_at"]), time(&sends_at).plus_s(LIFE_S), "its life begins then");
    let id = accepted["id"].as_str().expect("an id");
    let event = ("message.delayed".to_owned(), "scheduled".to_owned(), "QUIET_HOURS".to_owned());
    assert_eq!(served.timeline(id), [event]);

    // What the person waits for has no quiet hours.
    let (status, other) = send(&served, "transactional");
    assert_eq!((status, &other["status"], &other["held"]), (202, &json!("queued"), &Value::Null), "{other}");
    served.is_delivered(other["id"].as_str().expect("an id"));

    let explain = |more: &[&str]| house.run(&[&["explain", "--to", PERSON], more].concat());
    let told = explain(&["--purpose", "marketing"]);
    let expected =
        format!("This marketing message would wait until {}: it is ", sends_at.as_str().expect("a time"));
    assert!(told.starts_with(&expected) && told.contains(&format!("go {window}")), "{told}");
    assert!(
        explain(&["--purpose", "marketing", "--at", sends_at.as_str().expect("a time")]).contains("would go")
    );
    assert!(explain(&["--purpose", "alert"]).contains("would go: nothing holds it"));
    house.run(&["suppression", "add", PERSON, "--reason", "opted_out"]);
    let told = explain(&["--purpose", "marketing", "--json"]);
    let told: Value = serde_json::from_str(&told).expect("one JSON value");
    let codes: Vec<&Value> =
        told["gate"].as_array().expect("a list").iter().map(|one| &one["code"]).collect();
    assert_eq!(
        (codes, &told["sends_at"]),
        (vec![&json!("OPTED_OUT"), &json!("QUIET_HOURS")], &Value::Null),
        "{told}"
    );
}

#[test]
fn an_operator_may_have_it_refused_instead() {
    let directory = tempfile::tempdir().expect("a directory");
    let house = House::new(directory.path(), "test");
    house.configure(&format!("[quiet_hours]\nwindow = \"{}\"\noutside = \"refuse\"", far_window()));
    let served = house.serve();
    let (status, problem) = send(&served, "marketing");
    assert_eq!(
        (status, &problem["code"], &problem["type"]),
        (422, &json!("QUIET_HOURS"), &json!("/errors/QUIET_HOURS")),
        "{problem}"
    );
    assert!(!problem.to_string().contains(PERSON), "{problem}");
    assert_eq!(send(&served, "alert").0, 202);
}

/// An outage, in which the hours end before the queue does: here by a policy that is narrower than the one it came under.
#[test]
fn what_comes_up_outside_of_its_hours_does_not_leave() {
    let directory = tempfile::tempdir().expect("a directory");
    let house = House::new(directory.path(), "test");
    house.configure("[quiet_hours]\npurposes = []");
    let served = house.serve();
    house.run(&["carrier", "pause", "simulator"]);
    wait("it is paused", || {
        let (_, connections) = served.ask("GET", "/v1/connections", &Value::Null);
        connections["data"].as_array()?.iter().any(|one| one["paused"].is_string()).then_some(())
    });
    let (status, offer) = send(&served, "marketing");
    assert_eq!((status, &offer["status"]), (202, &json!("queued")), "{offer}");
    let id = offer["id"].as_str().expect("an id").to_owned();
    let (_, other) = send(&served, "transactional");
    assert_eq!(served.timeline(&id), []);
    drop(served);

    let hours = format!("[quiet_hours]\nwindow = \"{}\"", far_window());
    house.configure(&hours);
    let served = house.serve();
    house.run(&["carrier", "resume", "simulator"]);
    served.is_delivered(other["id"].as_str().expect("an id"));
    wait("it is held", || (!served.timeline(&id).is_empty()).then_some(()));
    let event = ("message.delayed".to_owned(), "queued".to_owned(), "QUIET_HOURS".to_owned());
    assert_eq!(served.timeline(&id), [event]);
    let (_, shown) = served.ask("GET", &format!("/v1/messages/{id}"), &Value::Null);
    assert_eq!(
        (&shown["status"], &shown["error"]["code"], &shown["carrier_ids"]),
        (&json!("queued"), &json!("QUIET_HOURS"), &json!([])),
        "{shown}"
    );

    // Its caller may still take it back.
    let (status, canceled) = served.ask("POST", &format!("/v1/messages/{id}/cancel"), &Value::Null);
    assert_eq!((status, &canceled["status"]), (200, &json!("canceled")), "{canceled}");
}

/// A window in which it is closed where the number is from, for an hour at least, and two zones: one in whose window it is now, for
/// half an hour at least before and after, and one in which it is not.
fn window_and_zones() -> (String, [&'static str; 2]) {
    let zones = (-14..=12).map(|offset| Zone::named(&format!("Etc/GMT{offset:+}")).expect("a zone"));
    let zones: Vec<&'static Zone> = zones.collect();
    let found = [3, 11].into_iter().find_map(|hour| {
        let window = format!("{hour:02}:00-{:02}:00", hour + 3);
        let read = Window::parse(&window).expect("a window");
        let place = Place::of(PhoneNumber::from_stored(PERSON).expect("a number")).expect("a country");
        let is_far = |minutes: i64| !place.hours(read).is_open(now().plus_s(minutes * 60));
        let is_open = |zone: &Zone, minutes: i64| {
            Hours::new(Week::daily(read), std::slice::from_ref(zone)).is_open(now().plus_s(minutes * 60))
        };
        let opens = |zone: &&&'static Zone| [-30, 0, 30].iter().all(|minutes| is_open(zone, *minutes));
        let closed = |zone: &&&'static Zone| [-60, 0, 60].iter().all(|minutes| !is_open(zone, *minutes));
        let both = [zones.iter().find(opens)?.name(), zones.iter().find(closed)?.name()];
        (is_far(0) && is_far(60)).then_some((window, both))
    });
    found.expect("of two windows that are far from each other one is closed")
}

#[test]
fn the_zone_that_is_stated_for_a_contact_is_the_clock_up_to_the_last_moment() {
    let directory = tempfile::tempdir().expect("a directory");
    let house = House::new(directory.path(), "test");
    let (window, [open, closed]) = window_and_zones();
    house.configure(&format!("[quiet_hours]\nwindow = \"{window}\""));
    let served = house.serve();
    let gate = || served.ask("POST", "/v1/messages/preview", &message("marketing")).1["gate"].clone();
    assert_eq!(gate()[0]["code"], "QUIET_HOURS");

    let person = json!({ "numbers": ["+46701234568", PERSON], "time_zone": open });
    let (status, person) = served.ask("POST", "/v1/contacts", &person);
    assert_eq!(status, 201, "{person}");
    assert_eq!(gate(), json!([]));
    let (status, offer) = send(&served, "marketing");
    assert_eq!((status, &offer["held"]), (202, &Value::Null), "{offer}");
    served.is_delivered(offer["id"].as_str().expect("an id"));

    // It is accepted by one clock, and comes up when the person has another.
    house.run(&["carrier", "pause", "simulator"]);
    wait("it is paused", || {
        let (_, connections) = served.ask("GET", "/v1/connections", &Value::Null);
        connections["data"].as_array()?.iter().any(|one| one["paused"].is_string()).then_some(())
    });
    let (status, offer) = send(&served, "marketing");
    assert_eq!((status, &offer["status"]), (202, &json!("queued")), "{offer}");
    let id = offer["id"].as_str().expect("an id").to_owned();
    let path = format!("/v1/contacts/{}", person["id"].as_str().expect("an id"));
    let (status, moved) = served.ask("PATCH", &path, &json!({ "time_zone": closed }));
    assert_eq!(status, 200, "{moved}");
    house.run(&["carrier", "resume", "simulator"]);
    wait("it is held", || (!served.timeline(&id).is_empty()).then_some(()));
    let event = ("message.delayed".to_owned(), "queued".to_owned(), "QUIET_HOURS".to_owned());
    assert_eq!(served.timeline(&id), [event]);

    let reason = format!("by the clock of {closed}, the contact's stated time zone, ");
    let (_, timeline) = served.ask("GET", &format!("/v1/messages/{id}/timeline"), &Value::Null);
    let shown = timeline["events"][0]["error"].to_string();
    assert!(shown.contains(&reason), "{shown}");
    assert!(gate()[0].to_string().contains(&reason), "{}", gate());
    let told = house.run(&["explain", "--to", PERSON, "--purpose", "marketing"]);
    assert!(told.contains(&reason), "{told}");
}
