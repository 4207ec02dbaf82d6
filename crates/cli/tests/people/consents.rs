//! A person is asked for consent by text and answers.

use crate::keywords::Carrier;
use crate::subject::{PERSON, SENDER, Subject, wait};
use serde_json::{Value, json};
use std::io::Write;

fn says(carrier: &mut Carrier, person: &str, text: &str) {
    writeln!(carrier.people, "{person} {SENDER} {text}").expect("it reads");
    carrier.people.flush().expect("it reads");
}

const WORDS: &str = "Acme: offers by text? Reply YES to agree, NO to refuse, STOP to end.";

fn request(to: &str) -> Value {
    json!({ "from": SENDER, "to": to, "text": WORDS, "act": "written", "seller": "Acme Clinic" })
}

#[test]
fn a_yes_by_text_is_a_consent_that_is_proved_and_a_no_is_none() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut carrier = Carrier::start();
    let mut subject =
        Subject::start(directory.path(), &carrier.address, "[consent]\nrequired = [\"marketing\"]\n");
    subject.reaches_carrier();
    let offer = json!({ "purpose": "marketing", "text": "Acme: 20% off. Reply STOP to end." });
    let refused = |subject: &Subject| {
        let (status, answer) = subject.send(offer.clone());
        (status, answer["code"].as_str().unwrap_or_default().to_owned())
    };
    let (status, wrong) = subject.ask(
        "POST",
        "/v1/consents/requests",
        &json!({ "from": SENDER, "to": PERSON, "text": "Offers?", "act": "express" }),
    );
    assert_eq!((status, &wrong["errors"][0]["field"]), (422, &json!("text")), "{wrong}");

    let (status, asked) = subject.ask("POST", "/v1/consents/requests", &request(PERSON));
    assert_eq!((status, &asked["status"]), (202, &json!("pending")), "{asked}");
    let (status, again) = subject.ask("POST", "/v1/consents/requests", &request(PERSON));
    assert_eq!((status, &again["code"]), (409, &json!("CONSENT_PENDING")), "{again}");
    let message = format!("/v1/messages/{}", asked["message_id"].as_str().expect("an id"));
    wait("the question is delivered", || {
        let (_, shown) = subject.ask("GET", &message, &Value::Null);
        (shown["status"] == "delivered").then_some(())
    });
    assert_eq!(subject.messages().len(), 1, "one message for one request");
    assert_eq!(refused(&subject), (422, "NO_CONSENT".to_owned()), "asking is no consent");

    says(&mut carrier, PERSON, "yes please");
    subject.received(1);
    assert_eq!(refused(&subject), (422, "NO_CONSENT".to_owned()), "what is doubtful is no consent");
    subject.kill_and_start();
    subject.reaches_carrier();
    says(&mut carrier, PERSON, "YES");
    subject.received(2);
    let (status, sent) = subject.send(offer.clone());
    assert_eq!(status, 202, "{sent}");

    let number = PERSON.replace('+', "%2B");
    let (_, proof) = subject.ask("GET", &format!("/v1/consents/proof?to={number}"), &Value::Null);
    let yes = &subject.events("message.received")[1]["data"]["inbound_id"];
    let (entry, asked_then) = (&proof["consents"][0], &proof["requests"][0]);
    assert_eq!(
        (&entry["act"], &entry["method"], &entry["wording"]),
        (&json!("written"), &json!("text"), &json!(WORDS))
    );
    assert!(entry["source"].as_str().expect("text").starts_with(yes.as_str().expect("an id")), "{proof}");
    assert_eq!((&asked_then["status"], &asked_then["answer_id"]), (&json!("granted"), yes), "{proof}");
    assert_eq!(asked_then["wording_sha256"], entry["wording_sha256"]);
    assert!(asked_then["answered_at"].as_str() > asked_then["requested_at"].as_str(), "{proof}");
    let shown = subject.command(&["consent", "requests", PERSON, "--environment", "test"]);
    assert!(shown.contains("granted"), "{shown}");

    // A no, and STOP: nobody who said either is sent to.
    const SHY: &str = "+15550003333";
    let (status, _) = subject.ask("POST", "/v1/consents/requests", &request(SHY));
    assert_eq!(status, 202);
    let stands = |subject: &Subject, status: &str| {
        let (_, list) = subject.ask(
            "GET",
            &format!("/v1/consents/requests?to={}", SHY.replace('+', "%2B")),
            &Value::Null,
        );
        (list["data"][0]["status"] == status).then_some(list["data"].as_array().expect("a list").len())
    };
    wait("the question is delivered", || {
        let messages = subject.messages();
        messages.iter().any(|m| m["to"] == SHY && m["status"] == "delivered").then_some(())
    });
    says(&mut carrier, SHY, "No, thanks");
    assert_eq!(wait("the no is heard", || stands(&subject, "declined")), 1);
    let (status, _) = subject.ask("POST", "/v1/consents/requests", &request(SHY));
    assert_eq!(status, 202);
    says(&mut carrier, SHY, "STOP");
    assert_eq!(wait("the opt-out ends the other", || stands(&subject, "opted_out")), 2);
    says(&mut carrier, SHY, "yes");
    subject.received(5);
    let (status, answer) = subject.ask("POST", "/v1/consents/requests", &request(SHY));
    assert_eq!((status, &answer["code"]), (422, &json!("OPTED_OUT")), "{answer}");
    assert!(stands(&subject, "opted_out").is_some());
}
