//! `tidings doctor` beside a running server sees what that sees, and what waits for a connection that is gone is told and can be
//! moved.

mod house;

use house::House;
use serde_json::{Value, json};
use std::process::Command;
use tidings_domain::time::Timestamp;

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

/// What is scheduled for later would be lost as well.
#[test]
fn scheduled_messages_of_a_carrier_that_is_gone_are_told() {
    let place = tempfile::tempdir().expect("a directory");
    let house = House::new(place.path(), "test");
    let served = house.serve();
    let since = std::time::UNIX_EPOCH.elapsed().expect("it is later than 1970");
    let tomorrow = Timestamp::from_millis(since.as_millis() as i64).plus_s(24 * 3_600);
    let body = json!({
        "from": "+15550001111", "to": "+15550002222", "text": "Hello", "send_at": tomorrow.to_string(),
    });
    let (status, sent) = served.ask("POST", "/v1/messages", &body);
    assert_eq!(status, 202, "{sent}");
    drop(served);
    house.configure(DOWN);
    let told = wrong(&house);
    let is_told = |line: &String| {
        line.starts_with("simulator (test) is not configured, and scheduled messages wait for it")
    };
    assert!(told.iter().any(is_told), "{told:?}");
}

/// A programme that was renamed or removed does not give back what people left.
#[test]
fn opt_outs_of_a_programme_that_is_not_configured_any_more_are_told_and_stop_everything() {
    let place = tempfile::tempdir().expect("a directory");
    let house = House::new(place.path(), "test");
    let programme = |name: &str, senders: &str, more: &str| {
        format!("[[programme]]\nname = \"{name}\"\nseller = \"Acme\"\nsenders = [{senders}]\n{more}\n")
    };
    let news = || programme("news", "\"+15550001112\"", "");
    let configured = |programmes: &[String]| house.configure(&programmes.concat());
    let told = || {
        let report: Value = serde_json::from_str(&look(&house, &["doctor", "--json"])).expect("JSON");
        let lines = report["lines"].as_array().expect("a list").clone();
        let of_programmes = lines.into_iter().filter(|line| line["part"] == "programmes");
        of_programmes
            .map(|line| format!("{} → {}", line["sentence"], line["cure"]).replace('"', ""))
            .collect::<Vec<_>>()
    };
    let sends = |from: &str, more: Value| {
        let served = house.serve();
        let mut body = json!({ "from": from, "to": "+15550002222", "text": "Hello" });
        body.as_object_mut().expect("it is one").extend(more.as_object().expect("it is one").clone());
        let (status, answer) = served.ask("POST", "/v1/messages", &body);
        if status == 202 { "accepted".to_owned() } else { format!("{} {}", answer["code"], answer["detail"]) }
    };

    configured(&[programme("offers", "\"+15550001111\"", "stop = \"programme\""), news()]);
    let leave = |number: &str, environment: &str| {
        let add = ["suppression", "add", number, "--programme", "offers", "--reason", "opted_out"];
        house.run(&[&add[..], &["--environment", environment]].concat());
    };
    leave("+15550002222", "test");
    leave("+12125550123", "live");
    assert_eq!(told(), [""; 0]);
    assert_eq!(sends("+15550001112", json!({})), "accepted");
    assert!(sends("+15550001111", json!({})).contains("for the programme offers"));

    // Renamed, and nothing said: nothing goes to the person any more.
    configured(&[programme("deals", "\"+15550001111\"", ""), news()]);
    for from in ["+15550001111", "+15550001112"] {
        assert!(sends(from, json!({})).contains("for the programme offers"), "{from}");
    }
    let lines = told();
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert!(line.contains("2 entries of the suppression list are for the programme"), "{line}");
    assert!(line.contains("not in the configuration, so nothing at all is sent"), "{line}");
    assert!(line.contains("formerly = ["), "{line}");
    // The commands that it names show what it counts, as they stand.
    let commands: Vec<&str> = line.split('`').skip(1).step_by(2).collect();
    let shown = commands.iter().map(|command| {
        let words: Vec<&str> = command.split(' ').skip(1).collect();
        house.json(&words).as_array().expect("a list").len()
    });
    assert_eq!(shown.collect::<Vec<_>>(), [1, 1], "{line}");
    let listed = house.refusal(&["suppression", "lift", "+15550002222", "--reason", "asked"]);
    assert!(listed.contains("nothing more (for offers, which is no [[programme]])"), "{listed}");
    let started = house.log_of_start();
    assert!(started.contains("not in the configuration, so nothing at all is sent"), "{started}");

    // With its name from before it is out of that alone.
    configured(&[programme("deals", "\"+15550001111\"", "formerly = [\"offers\"]"), news()]);
    assert_eq!(told(), [""; 0]);
    assert_eq!(sends("+15550001112", json!({})), "accepted");
    assert!(sends("+15550001111", json!({})).contains("for the programme deals"));
    // Everybody is told the name that it has now, and where it helps the one from before.
    let explained = house.run(&["explain", "--to", "+15550002222", "--programme", "deals"]);
    assert!(explained.contains("for the programme deals"), "{explained}");
    let still = house.refusal(&["suppression", "lift", "+15550002222", "--reason", "asked"]);
    assert!(still.contains("gets no more messages of deals (formerly offers)\n"), "{still}");
    let page = house.named("proof.html");
    house.run(&["consent", "proof", "+15550002222", "--page", &page]);
    let page = std::fs::read_to_string(page).expect("it is written");
    assert!(page.contains("for messages of deals (formerly offers): none are sent"), "{page}");
    assert!(page.contains("<td>offers (now deals)<td>opted_out"), "{page}");
    // It may be in the list by each of its names, and is lifted by any.
    house.run(&["suppression", "add", "+15550002222", "--programme", "deals", "--reason", "opted_out"]);
    let lift = |name: &'static str| {
        ["suppression", "lift", "+15550002222", "--programme", name, "--reason", "asked"]
    };
    house.run(&lift("deals"));
    assert_eq!(sends("+15550001111", json!({})), "accepted");
    assert!(house.refusal(&lift("offers")).contains("is not on the list"));

    // Its sender is shared: what names no programme is of none.
    configured(&[programme("offers", "\"+15550001111\"", ""), programme("news", "\"+15550001111\"", "")]);
    house.run(&["suppression", "add", "+15550002222", "--programme", "offers", "--reason", "opted_out"]);
    let lines = told();
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert!(line.contains("another uses each of its senders, such as +15550001111"), "{line}");
    assert_eq!(sends("+15550001111", json!({})), "accepted");
    assert!(sends("+15550001111", json!({ "programme": "offers" })).contains("OPTED_OUT"));
}
