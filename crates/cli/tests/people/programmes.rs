//! A person joins a programme by a word, and is sent what belongs to it and nothing else.

use crate::keywords::Carrier;
use crate::subject::{PERSON, SENDER, Subject, wait};
use serde_json::{Value, json};
use std::io::Write;

const OTHER: &str = "+15550001112";
const WORDS: &str =
    "Text JOIN to +15550001111 for about 4 offers of Acme Clinic a month. Not a condition of purchase.";
const WELCOME: &str =
    "Acme Clinic offers: welcome! About 4 a month. Msg&data rates may apply. HELP for help, STOP to stop.";

fn configuration() -> String {
    format!(
        "[consent]\nrequired = [\"marketing\"]\n\
         [[programme]]\nname = \"offers\"\nseller = \"Acme Clinic\"\nsenders = [\"{SENDER}\"]\njoin = [\"JOIN\", \"OFFERS\"]\n\
         purpose = \"marketing\"\nwording = \"{WORDS}\"\nwelcome = \"{WELCOME}\"\n\
         [[programme]]\nname = \"news\"\nseller = \"Acme Clinic\"\nsenders = [\"{OTHER}\"]\n"
    )
}

fn says(carrier: &mut Carrier, text: &str) {
    writeln!(carrier.people, "{PERSON} {SENDER} {text}").expect("it reads");
    carrier.people.flush().expect("it reads");
}

#[test]
fn who_joins_a_programme_by_a_word_is_sent_what_is_of_it_and_nothing_else() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut carrier = Carrier::start();
    let mut subject = Subject::start(directory.path(), &carrier.address, &configuration());
    subject.reaches_carrier();
    let offer = |subject: &Subject, from: &str, more: Value| {
        let mut body =
            json!({ "from": from, "purpose": "marketing", "text": "Acme: 20% off. Reply STOP to end." });
        body.as_object_mut().expect("it is one").extend(more.as_object().expect("it is one").clone());
        let (status, answer) = subject.send(body);
        match status {
            202 => answer["programme"].as_str().unwrap_or("none").to_owned(),
            _ => format!("{} {}", answer["code"], answer["errors"][0]["reason"]).replace('"', ""),
        }
    };
    let nothing = || json!({});
    assert_eq!(offer(&subject, SENDER, nothing()), "NO_CONSENT never_given");
    says(&mut carrier, "join the club?");
    subject.received(1);
    assert_eq!(
        offer(&subject, SENDER, nothing()),
        "NO_CONSENT never_given",
        "that is not nothing but the word"
    );

    says(&mut carrier, "Join!");
    wait("the welcome is delivered", || {
        let messages = subject.messages();
        let is_it = |m: &&Value| m["reply"]["kind"] == "opt_in_confirmation" && m["status"] == "delivered";
        messages.iter().find(is_it).map(|welcome| assert_eq!(welcome["programme"], "offers"))
    });
    let told = subject.events("message.delivered");
    assert!(told.iter().any(|event| event["data"]["programme"] == "offers"), "{told:?}");
    assert_eq!(offer(&subject, SENDER, nothing()), "offers");
    assert_eq!(offer(&subject, OTHER, nothing()), "NO_CONSENT other_programme");
    assert_eq!(offer(&subject, SENDER, json!({ "programme": "news" })), "NO_CONSENT other_programme");
    assert_eq!(offer(&subject, OTHER, json!({ "programme": "offers" })), "offers");
    assert_eq!(offer(&subject, SENDER, json!({ "programme": "ofers" })), "UNKNOWN_PROGRAMME no_programme");

    // Joining again, also after a crash, changes nothing.
    subject.kill_and_start();
    subject.reaches_carrier();
    says(&mut carrier, "OFFERS");
    subject.received(3);
    assert_eq!(subject.replies("opt_in_confirmation"), [WELCOME]);
    let number = PERSON.replace('+', "%2B");
    let (_, proof) = subject.ask("GET", &format!("/v1/consents/proof?to={number}"), &Value::Null);
    let entries = proof["consents"].as_array().expect("a list");
    assert_eq!(entries.len(), 1, "{proof}");
    let entry = &entries[0];
    let joined = subject.events("message.received")[1]["data"]["inbound_id"].clone();
    assert_eq!(entry["source"], format!("{} join", joined.as_str().expect("an id")));
    assert_eq!(
        (&entry["act"], &entry["method"], &entry["wording"], &entry["place"]),
        (&json!("written"), &json!("text"), &json!(WORDS), &json!(SENDER))
    );
    assert_eq!((&entry["seller"], &entry["programme"]), (&json!("Acme Clinic"), &json!("offers")));
    let standing = &proof["standing"];
    assert_eq!(
        (&standing[0]["programme"], &standing[0]["state"]),
        (&json!("offers"), &json!("granted")),
        "{proof}"
    );
    assert_eq!(standing.as_array().expect("a list").len(), 1);

    // STOP closes all of them, and JOIN is the person's own word as START is.
    says(&mut carrier, "STOP");
    wait("the opt-out is heard", || (subject.events("contact.opted_out").len() == 1).then_some(()));
    assert_eq!(offer(&subject, SENDER, nothing()), "OPTED_OUT opted_out");
    says(&mut carrier, "join");
    wait("it is lifted", || (subject.events("contact.opted_in").len() == 1).then_some(()));
    assert_eq!(offer(&subject, SENDER, nothing()), "offers");
    assert_eq!(offer(&subject, OTHER, nothing()), "NO_CONSENT other_programme");
    let explained = |programme: &str| {
        subject.command(&[
            "explain",
            "--environment",
            "test",
            "--to",
            PERSON,
            "--purpose",
            "marketing",
            "--programme",
            programme,
        ])
    };
    assert!(!explained("offers").contains("consent"), "{}", explained("offers"));
    assert!(explained("news").contains("another programme or seller"), "{}", explained("news"));
}
