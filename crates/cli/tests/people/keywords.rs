//! People write STOP, START and HELP.

use crate::subject::{PERSON, Running, SENDER, Subject, wait};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, Command, Stdio};
use tidings_domain::time::Timestamp;

/// The simulated carrier as a server of its own.
pub struct Carrier {
    _process: Running,
    pub people: ChildStdin,
    pub address: String,
}

impl Carrier {
    pub fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_tidings"))
            .args(["simulate", "smsc", "--json", "--seed", "5", "--listen", "127.0.0.1:0"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let people = process.stdin.take().expect("it is piped");
        let out = process.stdout.take().expect("it is piped");
        let process = Running(process);
        // One value over several lines.
        let mut text = String::new();
        let mut lines = BufReader::new(out);
        let facts: Value = loop {
            assert!(lines.read_line(&mut text).expect("a line") > 0, "{text}");
            if let Ok(facts) = serde_json::from_str(&text) {
                break facts;
            }
        };
        let address = facts["address"].as_str().expect("an address").to_owned();
        Self { _process: process, people, address }
    }

    fn says(&mut self, from: &str, text: &str) {
        self.says_to(SENDER, from, text);
    }

    fn says_to(&mut self, sender: &str, from: &str, text: &str) {
        writeln!(self.people, "{from} {sender} {text}").expect("it reads");
        self.people.flush().expect("it reads");
    }
}

/// P-22
#[test]
fn people_who_write_stop_start_and_help_are_heard() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut carrier = Carrier::start();
    let subject = Subject::start(directory.path(), &carrier.address, "");

    subject.reaches_carrier();
    let consent = json!({
        "to": PERSON, "act": "written", "channels": ["text", "recorded_voice"], "method": "form",
        "wording": "I agree to offers.", "place": "https://clinic.example/join", "seller": "Acme Clinic",
    });
    let (status, recorded) = subject.ask("POST", "/v1/consents", &consent);
    assert_eq!(status, 201, "{recorded}");
    assert_eq!(subject.consent(), ["granted", "granted"]);

    let (status, scheduled) = subject.send(json!({ "send_at": in_days(20) }));
    assert_eq!(status, 202, "{scheduled}");
    let scheduled = scheduled["id"].as_str().expect("an id").to_owned();

    for _ in 0..3 {
        carrier.says(PERSON, "Stop!");
        carrier.says(PERSON, "STOP");
    }
    let shown = wait("the scheduled message ends", || {
        let (_, shown) = subject.ask("GET", &format!("/v1/messages/{scheduled}"), &Value::Null);
        (shown["status"] == "rejected").then_some(shown)
    });
    assert_eq!(shown["error"]["code"], "OPTED_OUT", "{shown}");
    wait("the confirmation is delivered", || {
        let messages = subject.messages();
        messages
            .iter()
            .any(|m| m["reply"]["kind"] == "opt_out_confirmation" && m["status"] == "delivered")
            .then_some(())
    });
    let (status, refused) = subject.send(json!({}));
    assert_eq!((status, refused["code"].as_str()), (422, Some("OPTED_OUT")), "{refused}");
    let out = subject.events("contact.opted_out");
    assert_eq!((out.len(), out[0]["data"]["keyword"].as_str()), (1, Some("stop")), "{out:?}");

    assert_eq!(subject.consent(), ["revoked", "revoked"], "a text closes recorded calls too");

    carrier.says(PERSON, "help");
    carrier.says(PERSON, "START");
    wait("the person is off the list", || subject.events("contact.opted_in").pop());
    assert_eq!(subject.consent(), ["granted", "revoked"], "and opens texts only");
    let expected =
        ["Acme Clinic: You are unsubscribed and will get no further texts from us. Reply START to undo."];
    assert_eq!(subject.replies("opt_out_confirmation"), expected, "one, however often it was said");
    assert_eq!(subject.replies("help"), [""; 0], "who opted out gets nothing else");
    assert_eq!(subject.replies("opt_in_confirmation").len(), 1);
    let (status, accepted) = subject.send(json!({}));
    assert_eq!(status, 202, "{accepted}");
    let (status, scheduled) = subject.send(json!({ "send_at": in_days(20) }));
    assert_eq!(status, 202, "{scheduled}");
    let scheduled = scheduled["id"].as_str().expect("an id").to_owned();

    carrier.says(PERSON, "HELP");
    let help = wait("help comes", || subject.replies("help").pop());
    assert_eq!(help, "Acme Clinic. Questions: +1 555 0100. Msg&data rates may apply. Reply STOP to stop.");

    let before = subject.events("message.received").len();
    carrier.says(PERSON, "I think you have the wrong number");
    subject.received(before + 1);
    let (_, groups) = subject.ask("GET", "/v1/review/groups", &Value::Null);
    let group = &groups["data"][0];
    assert!(group["example_inbound_id"].is_string() && group["example_message_id"].is_null(), "{groups}");
    let decision = json!({ "cause": group["cause"], "decision": "suppress" });
    let (status, decided) = subject.ask("POST", "/v1/review/decisions", &decision);
    assert_eq!((status, decided["closed"].as_u64()), (200, Some(1)), "{decided}");
    assert_eq!(subject.send(json!({})).0, 422);
    let shown = wait("what was scheduled ends by somebody's decision too", || {
        let (_, shown) = subject.ask("GET", &format!("/v1/messages/{scheduled}"), &Value::Null);
        (shown["status"] == "rejected").then_some(shown)
    });
    assert_eq!(shown["error"]["code"], "OPTED_OUT", "{shown}");
}

#[test]
fn each_sender_answers_with_its_own_words() {
    const KIDS: &str = "+15550003333";
    let directory = tempfile::tempdir().expect("a directory");
    let mut carrier = Carrier::start();
    let own = format!(
        "[[sender]]\nvalue = {KIDS:?}\nbrand = \"Acme Kids\"\nopt_out_text = \"Acme Kids: no more texts.\"\n"
    );
    let subject = Subject::start(directory.path(), &carrier.address, &own);
    subject.reaches_carrier();
    let answers = |kind: &str| {
        let all = subject.messages().into_iter().filter(|message| message["reply"]["kind"] == kind);
        let word = |value: &Value| value.as_str().expect("a word").to_owned();
        let mut all: Vec<_> = all.map(|one| (word(&one["from"]), word(&one["text"]))).collect();
        all.sort();
        all
    };
    let pair = |from: &str, text: &str| (from.to_owned(), text.to_owned());

    carrier.says(PERSON, "HELP");
    carrier.says_to(KIDS, PERSON, "HELP");
    let help = "Questions: +1 555 0100. Msg&data rates may apply. Reply STOP to stop.";
    let expected = [pair(SENDER, &format!("Acme Clinic. {help}")), pair(KIDS, &format!("Acme Kids. {help}"))];
    wait("both senders answer", || (answers("help").len() == 2).then_some(()));
    assert_eq!(
        answers("help"),
        expected,
        "who reaches whom is not said for this sender, so the usual counts"
    );

    carrier.says_to(KIDS, PERSON, "STOP");
    wait("the opt-out is confirmed", || answers("opt_out_confirmation").pop());
    assert_eq!(answers("opt_out_confirmation"), [pair(KIDS, "Acme Kids: no more texts.")]);
}

/// A moment so many days from now.
pub fn in_days(days: i64) -> String {
    Timestamp::from_millis(tidings_witness::clock::wall_ms() + days * 86_400_000).to_string()
}
