//! Ranges that nobody has, texts that carriers filter, and one message too many: each reason in the answer, the preview, the
//! timeline and at the terminal.

use crate::house::{House, Served, now, time, wait};
use serde_json::{Value, json};

const PERSON: &str = "+46701234567";
const DAY_S: i64 = 24 * 3600;
/// How long the offers are worth sending: three days.
const LIFE_S: i64 = 3 * DAY_S;
const GOOD: &str = "Acme: check-ups are 20 % off. Reply STOP to end.";

fn message(to: &str, purpose: &str, text: &str) -> Value {
    let life_s = if purpose == "marketing" { LIFE_S } else { 600 };
    json!({ "from": "Acme", "to": to, "text": text, "purpose": purpose, "expires_in_s": life_s })
}

fn send(served: &Served<'_>, to: &str, purpose: &str, text: &str) -> (u16, Value) {
    served.ask("POST", "/v1/messages", &message(to, purpose, text))
}

/// The codes of the preview's reasons, and those for which it would be refused.
fn previewed(served: &Served<'_>, body: &Value) -> (Vec<String>, Vec<String>) {
    let (status, preview) = served.ask("POST", "/v1/messages/preview", body);
    assert_eq!(status, 200, "{preview}");
    let codes = |list: &Value| {
        let list = list.as_array().expect("a list").iter();
        list.map(|one| one["code"].as_str().expect("a word").to_owned()).collect::<Vec<_>>()
    };
    for reason in preview["gate"].as_array().expect("a list") {
        let page = reason["page"].as_str().expect("an address");
        assert_eq!(served.ask("GET", page, &Value::Null).0, 200, "{page}");
    }
    (codes(&preview["gate"]), codes(&preview["refused"]))
}

fn reasons(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().filter_map(|one| one["reason"].as_str()).collect()
}

#[test]
fn a_range_that_no_person_has_is_refused_until_it_is_enabled() {
    let directory = tempfile::tempdir().expect("a directory");
    let house = House::new(directory.path(), "test");
    house.configure("");
    let served = house.serve();
    const SHARED: &str = "+46771234567";
    let refused = vec!["RANGE_NOT_ENABLED".to_owned()];
    assert_eq!(previewed(&served, &message(SHARED, "alert", "Hello")), (refused.clone(), refused));
    let (status, problem) = send(&served, SHARED, "alert", "Hello");
    assert_eq!((status, &problem["code"]), (422, &json!("RANGE_NOT_ENABLED")), "{problem}");
    assert_eq!(reasons(&problem["errors"]), ["shared_cost"], "{problem}");
    assert!(!problem.to_string().contains("46771"), "{problem}");
    // The test environment is for numbers that are nobody's; the live one is not.
    let body = json!({ "from": "+12125551234", "to": "+13055550100", "text": "Hello", "purpose": "alert" });
    assert_eq!(served.ask("POST", "/v1/messages", &body).0, 202);
    let explain = |environment| house.run(&["explain", "--to", "+13055550100", "--environment", environment]);
    assert!(explain("test").contains("would go"));
    let told = explain("live");
    assert!(told.contains("would not go: the number is one that is kept for films and documents"), "{told}");
    drop(served);

    house.configure("[ranges]\nenabled = [\"shared_cost\"]");
    let served = house.serve();
    let (status, accepted) = send(&served, SHARED, "alert", "Hello");
    assert_eq!(status, 202, "{accepted}");
    served.is_delivered(accepted["id"].as_str().expect("an id"));
    drop(served);
}

#[test]
fn a_text_that_carriers_filter_goes_with_a_warning_or_not_at_all() {
    let directory = tempfile::tempdir().expect("a directory");
    let house = House::new(directory.path(), "test");
    let hours = "[quiet_hours]\npurposes = []\n[replies]\nbrand = \"Acme\"\n";
    house.configure(hours);
    let served = house.serve();
    let bad = "WINE FOR ALL OF YOU AND FOR ALL OF THEM: ｂіt．ly/x";
    let (status, accepted) = send(&served, PERSON, "marketing", bad);
    let all = ["url_shortener", "restricted_goods", "all_capitals", "no_opt_out_wording", "no_brand"];
    assert_eq!((status, reasons(&accepted["warnings"])), (202, all.to_vec()), "{accepted}");
    assert!(!accepted.to_string().contains("WINE"), "{accepted}");
    assert_eq!(send(&served, PERSON, "transactional", bad).1["warnings"], json!([]));
    // "Reply STOP" helps where people can reply, and not where the sender is a name.
    let (_, of_name) = send(&served, PERSON, "marketing", GOOD);
    assert_eq!(reasons(&of_name["warnings"]), [all[3]], "{of_name}");
    let mut answerable = message(PERSON, "marketing", GOOD);
    answerable["from"] = json!("+15550001111");
    let (_, of_number) = served.ask("POST", "/v1/messages", &answerable);
    assert_eq!(of_number["warnings"], json!([]), "{of_number}");
    let (_, preview) = served.ask("POST", "/v1/messages/preview", &message(PERSON, "marketing", bad));
    assert_eq!((reasons(&preview["warnings"]), &preview["refused"]), (all.to_vec(), &json!([])));

    // What waits comes up under a policy that stops it.
    house.run(&["carrier", "pause", "simulator"]);
    wait("it is paused", || {
        let (_, connections) = served.ask("GET", "/v1/connections", &Value::Null);
        connections["data"].as_array()?.iter().any(|one| one["paused"].is_string()).then_some(())
    });
    let (_, waits) = send(&served, PERSON, "marketing", bad);
    drop(served);
    house.configure(&format!("{hours}[content]\nurl_shortener = \"stop\"\nno_brand = \"off\""));
    let served = house.serve();
    house.run(&["carrier", "resume", "simulator"]);
    let id = waits["id"].as_str().expect("an id");
    wait("it is stopped", || (!served.timeline(id).is_empty()).then_some(()));
    let event = ("message.rejected".to_owned(), "rejected".to_owned(), "RISKY_CONTENT".to_owned());
    assert_eq!(served.timeline(id), [event]);

    let (status, problem) = send(&served, PERSON, "marketing", bad);
    assert_eq!(
        (status, &problem["code"], reasons(&problem["errors"])),
        (422, &json!("RISKY_CONTENT"), vec![all[0]]),
        "{problem}"
    );
    assert_eq!(problem["errors"][0]["field"], "text");
    let (_, preview) = served.ask("POST", "/v1/messages/preview", &message(PERSON, "marketing", bad));
    assert_eq!(reasons(&preview["gate"]), [all[0]], "{preview}");
    assert_eq!(reasons(&preview["warnings"]), all[1..4], "{preview}");
    let explain = ["explain", "--to", PERSON, "--purpose", "marketing", "--text", bad];
    assert!(house.run(&explain).contains("would not go: the text has a link of bit.ly"));
}

#[test]
fn one_too_many_waits_for_its_turn_and_none_slips_through_at_its_last_moment() {
    let directory = tempfile::tempdir().expect("a directory");
    let house = House::new(directory.path(), "test");
    house.configure("[quiet_hours]\npurposes = []\n[frequency]\nper_day = 2\nper_week = 3");
    let served = house.serve();
    let offer = |to: &str| send(&served, to, "marketing", GOOD);
    let id = |accepted: &Value| accepted["id"].as_str().expect("an id").to_owned();
    let first = offer(PERSON).1;
    served.is_delivered(&id(&first));
    let second = offer(PERSON).1;
    served.is_delivered(&id(&second));
    let due = |accepted: &Value| time(&accepted["send_at"]);

    let body = message(PERSON, "marketing", GOOD);
    assert_eq!(previewed(&served, &body), (vec!["FREQUENCY_CAP".to_owned()], vec![]));
    let (status, third) = offer(PERSON);
    assert_eq!(
        (status, &third["status"], &third["held"]["code"]),
        (202, &json!("scheduled"), &json!("FREQUENCY_CAP")),
        "{third}"
    );
    let after = due(&third).since_ms(time(&first["created_at"]));
    assert!((DAY_S * 1000..DAY_S * 1000 + 60_000).contains(&after), "{third}");
    assert_eq!(time(&third["expires_at"]), due(&third).plus_s(LIFE_S), "its life begins then");
    let event = ("message.delayed".to_owned(), "scheduled".to_owned(), "FREQUENCY_CAP".to_owned());
    assert_eq!(served.timeline(&id(&third)), [event]);
    // What waits counts too: the week is full until the first is a week old.
    let fourth = offer(PERSON).1;
    let after = due(&fourth).since_ms(time(&first["created_at"]));
    assert!((7 * DAY_S * 1000..7 * DAY_S * 1000 + 60_000).contains(&after), "{fourth}");
    // Other purposes and other people have no part in it.
    served.is_delivered(&id(&send(&served, PERSON, "transactional", "Hello").1));
    served.is_delivered(&id(&offer("+46701234568").1));
    let told = house.run(&["explain", "--to", PERSON, "--purpose", "marketing"]);
    assert!(told.contains("would wait until") || told.contains("no turn within a week"), "{told}");

    // In one call: only as many as the cap lets go at once.
    let many: Vec<Value> = (0..4).map(|_| message("+46701234569", "marketing", GOOD)).collect();
    let (status, batch) = served.ask("POST", "/v1/messages/batch", &json!({ "messages": many }));
    assert_eq!(status, 202, "{batch}");
    let held = |item: &Value| item["message"]["held"]["code"].as_str().unwrap_or_default().to_owned();
    let held: Vec<String> = batch["results"].as_array().expect("a list").iter().map(held).collect();
    assert_eq!(held, ["", "", "FREQUENCY_CAP", "FREQUENCY_CAP"], "{batch}");
    drop(served);

    // Accepted without a cap, they come up under one: as many leave as it lets, and the others wait.
    house.configure("[quiet_hours]\npurposes = []");
    let served = house.serve();
    house.run(&["carrier", "pause", "simulator"]);
    wait("it is paused", || {
        let (_, connections) = served.ask("GET", "/v1/connections", &Value::Null);
        connections["data"].as_array()?.iter().any(|one| one["paused"].is_string()).then_some(())
    });
    let waiting: Vec<String> =
        (0..3).map(|_| id(&send(&served, "+46701234570", "marketing", GOOD).1)).collect();
    drop(served);
    house.configure("[quiet_hours]\npurposes = []\n[frequency]\nper_day = 1");
    let served = house.serve();
    house.run(&["carrier", "resume", "simulator"]);
    served.is_delivered(&waiting[0]);
    for one in &waiting[1..] {
        wait("it is held", || (!served.timeline(one).is_empty()).then_some(()));
        let event = ("message.delayed".to_owned(), "queued".to_owned(), "FREQUENCY_CAP".to_owned());
        assert_eq!(served.timeline(one), [event]);
    }
}

/// Nothing is configured: the law of Florida is kept by itself. Where the person is, it is about noon.
#[test]
fn the_law_of_a_state_leaves_three_offers_in_a_day_and_is_named() {
    const FLORIDIAN: &str = "+13055551234";
    let directory = tempfile::tempdir().expect("a directory");
    let house = House::new(directory.path(), "test");
    let served = house.serve();
    let hour = now().as_millis() / 3_600_000 % 24;
    // East of Greenwich the sign is a minus.
    let person = json!({ "numbers": [FLORIDIAN], "time_zone": format!("Etc/GMT{:+}", hour - 12) });
    assert_eq!(served.ask("POST", "/v1/contacts", &person).0, 201);
    let offer = |to: &str| {
        let body = json!({ "from": "+12125551234", "to": to, "text": GOOD, "purpose": "marketing" });
        served.ask("POST", "/v1/messages", &body)
    };
    let id = |accepted: &Value| accepted["id"].as_str().expect("an id").to_owned();
    let three: Vec<Value> = (0..3).map(|_| offer(FLORIDIAN).1).collect();
    three.iter().for_each(|accepted| served.is_delivered(&id(accepted)));
    let (status, fourth) = offer(FLORIDIAN);
    assert_eq!((status, &fourth["held"]["code"]), (202, &json!("FREQUENCY_CAP")), "{fourth}");
    let law = "the law of US-FL (Fla. Stat. 501.616(6)(b): 3 in 24 hours)";
    let (_, timeline) = served.ask("GET", &format!("/v1/messages/{}/timeline", id(&fourth)), &Value::Null);
    assert!(timeline["events"][0]["error"].to_string().contains(law), "{timeline}");
    let told = house.run(&["explain", "--to", FLORIDIAN, "--purpose", "marketing"]);
    assert!(told.contains(law), "{told}");
    // What the person waits for is not counted.
    let body =
        json!({ "from": "+12125551234", "to": FLORIDIAN, "text": "Hello", "purpose": "transactional" });
    served.is_delivered(&id(&served.ask("POST", "/v1/messages", &body).1));
}

#[test]
fn a_sender_is_used_for_what_it_is_registered_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let house = House::new(directory.path(), "test");
    let senders = |state: &str| {
        format!(
            "[[sender]]\nvalue = \"+12125551234\"\ncountries = [\"US\", \"SE\"]\npurposes = [\"transactional\"]\n\
             registration = \"{state}\"\nbrand_id = \"B1\"\ncampaign_id = \"C1\"\n\
             [[sender]]\nvalue = \"ACMEIN\"\nregistration = \"registered\"\nentity_id = \"1101\"\n\
             templates = [\"1107: Dear {{#var#}}, it is on its way.\"]\n[senders]\nonly_listed = true\n"
        )
    };
    const US: &str = "+13055551234";
    house.configure(&senders("registered"));
    let served = house.serve();
    let message = |from: &str, to: &str, purpose: &str, text: &str| json!({ "from": from, "to": to, "text": text, "purpose": purpose });
    let check = |body: Value, expected: &[&str]| {
        let (status, preview) = served.ask("POST", "/v1/messages/preview", &body);
        assert_eq!((status, reasons(&preview["gate"])), (200, expected.to_vec()), "{preview}");
        assert_eq!(reasons(&preview["refused"]), expected, "{preview}");
        let (status, answer) = served.ask("POST", "/v1/messages", &body);
        match expected {
            [] => served.is_delivered(answer["id"].as_str().expect("an id")),
            [first, ..] => {
                assert_eq!((status, &answer["errors"][0]["reason"]), (422, &json!(first)), "{answer}")
            }
        }
    };
    let long = "+12125551234";
    check(message(long, US, "transactional", "Hello"), &[]);
    check(message(long, US, "alert", "Hello"), &["not_for_purpose"]);
    check(message(long, "+4915112345678", "alert", "Hello"), &["not_for_country", "not_for_purpose"]);
    check(message("+12125551235", US, "transactional", "Hello"), &["sender_not_listed"]);
    const INDIA: &str = "+919876543210";
    check(message("ACMEIN", INDIA, "alert", "Dear Ada, it is on its way."), &[]);
    check(message("ACMEIN", INDIA, "alert", "Dear Ada, it is late."), &["template_required"]);
    let told = house.run(&["explain", "--from", long, "--to", "+46701234567", "--purpose", "alert"]);
    assert!(told.contains("would not go: the sender is not listed for alert messages"), "{told}");

    // What waits when a registration is taken away does not go.
    house.run(&["carrier", "pause", "simulator"]);
    wait("it is paused", || {
        let (_, connections) = served.ask("GET", "/v1/connections", &Value::Null);
        connections["data"].as_array()?.iter().any(|one| one["paused"].is_string()).then_some(())
    });
    let (_, waits) = served.ask("POST", "/v1/messages", &message(long, US, "transactional", "Hello"));
    drop(served);
    house.configure(&senders("rejected"));
    let served = house.serve();
    house.run(&["carrier", "resume", "simulator"]);
    let id = waits["id"].as_str().expect("an id");
    wait("it is stopped", || (!served.timeline(id).is_empty()).then_some(()));
    let event = ("message.rejected".to_owned(), "rejected".to_owned(), "SENDER_NOT_REGISTERED".to_owned());
    assert_eq!(served.timeline(id), [event]);
}
