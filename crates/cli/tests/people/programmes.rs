//! A person joins a programme by a word, and is sent what belongs to it and nothing else. Or leaves one by a word, and is sent
//! everything else.

use crate::keywords::{Carrier, in_days};
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
    says_to(carrier, SENDER, text);
}

fn says_to(carrier: &mut Carrier, sender: &str, text: &str) {
    writeln!(carrier.people, "{PERSON} {sender} {text}").expect("it reads");
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

/// P-22
#[test]
fn who_leaves_a_programme_by_a_word_is_sent_everything_else() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut carrier = Carrier::start();
    let programmes = format!(
        "[[programme]]\nname = \"reminders\"\nseller = \"Acme Clinic\"\nsenders = [\"{OTHER}\"]\n\
         [[programme]]\nname = \"offers\"\nseller = \"Acme Clinic\"\nsenders = [\"{SENDER}\"]\nstop = \"programme\"\n\
         join = [\"JOIN\"]\npurpose = \"marketing\"\nwording = \"{WORDS}\"\nwelcome = \"{WELCOME}\"\n"
    );
    let mut subject = Subject::start(directory.path(), &carrier.address, &programmes);
    subject.reaches_carrier();
    let sent = |subject: &Subject, more: Value| {
        let (status, answer) = subject.send(more);
        match status {
            202 => answer["id"].as_str().expect("an id").to_owned(),
            _ => format!("{}: {}", answer["code"], answer["detail"]).replace('"', ""),
        }
    };
    let status = |subject: &Subject, id: &str| {
        let (_, shown) = subject.ask("GET", &format!("/v1/messages/{id}"), &Value::Null);
        (shown["status"].as_str().expect("a word").to_owned(), shown["error"]["detail"].clone())
    };
    let offer = sent(&subject, json!({ "send_at": in_days(20) }));
    let reminder = sent(&subject, json!({ "from": OTHER, "send_at": in_days(20) }));
    assert_eq!(
        sent(&subject, json!({ "programme": "reminders" })),
        "INVALID_SENDER: STOP to this sender ends the programme `offers` alone, so it sends for no other; send from \
         another sender."
    );

    says(&mut carrier, "Stop.");
    says(&mut carrier, "STOP");
    let out = wait("the opt-out is heard", || subject.events("contact.opted_out").pop());
    assert_eq!((&out["data"]["keyword"], &out["data"]["programme"]), (&json!("stop"), &json!("offers")));
    let (ended, why) = status(&subject, &offer);
    let stopped = "the recipient withdrew consent and is on the suppression list, for the programme offers";
    assert_eq!((ended.as_str(), &why), ("rejected", &json!(stopped)));
    assert_eq!(status(&subject, &reminder).0, "scheduled");
    let confirmation = wait("it is confirmed", || subject.replies("programme_opt_out_confirmation").pop());
    let expected =
        "Acme Clinic: You will get no more offers texts. Reply STOP ALL to stop everything, START to undo.";
    assert_eq!(confirmation, expected);

    // From everything else the person is sent to, whatever happens to the process, and whatever others say of consent.
    subject.kill_and_start();
    subject.reaches_carrier();
    subject.received(2);
    let consent = json!({
        "to": PERSON, "act": "written", "method": "form", "wording": "I agree to offers.",
        "place": "https://clinic.example/join", "seller": "Acme Clinic", "programme": "offers",
    });
    assert_eq!(subject.ask("POST", "/v1/consents", &consent).0, 201);
    let refused = |subject: &Subject| sent(subject, json!({}));
    assert!(refused(&subject).starts_with("OPTED_OUT"), "{}", refused(&subject));
    let preview = json!({ "from": SENDER, "to": PERSON, "text": "Hello" });
    let (_, preview) = subject.ask("POST", "/v1/messages/preview", &preview);
    assert!(
        preview["gate"][0]["detail"].as_str().is_some_and(|why| why.contains("programme offers")),
        "{preview}"
    );
    assert!(sent(&subject, json!({ "from": OTHER })).starts_with("msg_"));
    let number = PERSON.replace('+', "%2B");
    let listed = |subject: &Subject| {
        let (_, page) = subject.ask("GET", &format!("/v1/suppressions?to={number}"), &Value::Null);
        let entries = page["data"].as_array().expect("a list").iter();
        entries
            .map(|one| format!("{} {}", one["reason"], one["programme"]).replace('"', ""))
            .collect::<Vec<_>>()
    };
    assert_eq!(listed(&subject), ["opted_out offers"]);
    let explain =
        ["explain", "--environment", "test", "--to", PERSON, "--purpose", "transactional", "--programme"];
    let explained = |name: &'static str| subject.command(&[&explain[..], &[name]].concat());
    assert!(explained("offers").contains("for the programme offers"), "{}", explained("offers"));
    assert!(explained("reminders").contains("nothing is against it"), "{}", explained("reminders"));
    assert_eq!(subject.replies("programme_opt_out_confirmation").len(), 1);

    // The word of the programme brings it back; STOP ALL ends everything, and START brings all back.
    says(&mut carrier, "join");
    wait("it is lifted", || (subject.events("contact.opted_in").len() == 1).then_some(()));
    assert!(listed(&subject).is_empty());
    says(&mut carrier, "stop");
    wait("it is heard", || (subject.events("contact.opted_out").len() == 2).then_some(()));
    says(&mut carrier, "STOP ALL");
    wait("it is heard", || (subject.events("contact.opted_out").len() == 3).then_some(()));
    assert_eq!(listed(&subject), ["opted_out null", "opted_out offers"]);
    assert_eq!(status(&subject, &reminder).0, "rejected");
    assert!(sent(&subject, json!({ "from": OTHER })).starts_with("OPTED_OUT"));
    says_to(&mut carrier, OTHER, "START");
    wait("it is lifted", || (subject.events("contact.opted_in").len() == 2).then_some(()));
    assert!(listed(&subject).is_empty());

    // To the sender of a programme that says nothing else, STOP means everything.
    says_to(&mut carrier, OTHER, "STOP");
    wait("it is heard", || (subject.events("contact.opted_out").len() == 4).then_some(()));
    assert_eq!(listed(&subject), ["opted_out null"]);

    // What is written by hand.
    let run = |arguments: &[&str]| subject.command(&[&["suppression"][..], arguments].concat());
    run(&["lift", PERSON, "--reason", "asked"]);
    assert!(run(&["add", PERSON, "--programme", "offers"]).contains("no more messages of offers"));
    assert_eq!(listed(&subject), ["manual offers"]);
    let body = json!({ "to": PERSON, "reason": "asked again", "programme": "offers" });
    assert_eq!(subject.ask("POST", "/v1/suppressions/lift", &body).0, 200);
    let body = json!({ "to": PERSON, "reason": "opted_out", "programme": "ofers" });
    let (status, answer) = subject.ask("POST", "/v1/suppressions", &body);
    assert_eq!((status, &answer["code"]), (422, &json!("UNKNOWN_PROGRAMME")), "{answer}");
    let body = json!({ "to": PERSON, "reason": "opted_out", "programme": "offers" });
    let (status, answer) = subject.ask("POST", "/v1/suppressions", &body);
    assert_eq!((status, &answer["data"][0]["programme"]), (201, &json!("offers")), "{answer}");
}
