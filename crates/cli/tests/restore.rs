//! A backup is made under load and restored elsewhere: nothing is sent before it is released, and who opted out after the
//! backup is not written to, because the journal knows. Once with what the program does itself, and once with the tools of a
//! server and the steps that the page about PostgreSQL asks for.

use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use tidings_cluster::Cluster;
use tidings_domain::time::Timestamp;
use tidings_witness::clock;
use tidings_witness::http::Client;
use tidings_witness::load::{Load, Pace, SENDER, messages, recipient};
use tidings_witness::smsc::{Behaviour, Smsc};
use tidings_witness::subject::{Setup, Subject};

/// How long what is bound to happen may take: ms.
const BOUND_MS: u64 = 60_000;
/// People who opt out between the backup and the end of the machine.
const PEOPLE: std::ops::Range<u64> = 9_000_000..9_000_020;
/// Who opted out before the backup, and opted in again after it; and who did both after it.
const CAME_BACK: [u64; 2] = [9_000_100, 9_000_101];
/// Who waits for a message when the backup is made, and gets it after that.
const SENT_SINCE: [u64; 2] = [9_000_300, 9_000_301];
/// Whose message is to be sent later then, which is soon.
const SCHEDULED: u64 = 9_000_302;
/// How much later: ms. The backup is made within it.
const SCHEDULED_MS: i64 = 5_000;
/// To whom the restored one sends at last.
const NEW: u64 = 8_000_000;

fn ask(client: &mut Client, method: &str, target: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = client.ask_again(method, target, None, &body).expect("it answers");
    let value = serde_json::from_slice(&answer.body).unwrap_or_default();
    (answer.status, value)
}

fn send(client: &mut Client, n: u64, text: &str) {
    let body = serde_json::json!({ "from": SENDER, "to": recipient(n), "message": text });
    let (status, said) = ask(client, "POST", "/v1/sms", &body);
    assert_eq!(status, 202, "it accepts: {said}");
}

/// Pauses the carrier, and waits until the server knows.
fn pause(subject: &Subject) {
    subject.command(&["carrier", "pause", "witness"]).expect("paused");
    let paused = || {
        let (_, said) = ask(&mut subject.client(), "GET", "/v1/connections", &Value::Null);
        let all = said["data"].as_array().cloned().unwrap_or_default();
        all.iter().any(|connection| connection["paused"].is_string())
    };
    assert!(clock::wait_until(BOUND_MS, 5, paused));
}

fn opt_out(client: &mut Client, n: u64) {
    let body = serde_json::json!({ "to": recipient(n), "reason": "opted_out" });
    let (status, said) = ask(client, "POST", "/v1/suppressions", &body);
    assert!(status < 300, "{status} {said}");
}

fn opt_in(client: &mut Client, n: u64) {
    let body = serde_json::json!({ "to": recipient(n), "reason": "asked for it" });
    let (status, said) = ask(client, "POST", "/v1/suppressions/lift", &body);
    assert!(status < 300, "{status} {said}");
}

fn is_listed(client: &mut Client, n: u64) -> bool {
    let target = format!("/v1/suppressions?to={}", recipient(n).replace('+', "%2B"));
    let (status, said) = ask(client, "GET", &target, &Value::Null);
    assert_eq!(status, 200, "{said}");
    let all = said["data"].as_array().cloned().unwrap_or_default();
    all.iter().any(|entry| entry["lifted_at"].is_null())
}

fn replay(subject: &Subject, journal: &Path) -> (u64, u64) {
    let said = subject.command(&["suppression", "replay", &journal.display().to_string(), "--json"]);
    let said: Value = serde_json::from_str(&said.expect("replayed")).expect("JSON");
    (said["added"].as_u64().expect("a number"), said["lifted"].as_u64().expect("a number"))
}

/// P-32
#[test]
fn a_restore_sends_nothing_before_it_is_released_and_forgets_no_opt_out() {
    let smsc = Smsc::start(Behaviour::default(), 32).expect("a socket");
    let setup = Setup { binary: env!("CARGO_BIN_EXE_tidings").into(), sessions: 1, window: 10 };
    let subject = Subject::prepare(setup, smsc.address()).expect("prepared");
    let file = |name: &str| subject.file(name).display().to_string();
    // Elsewhere than the data, as it should be.
    let configuration = fs::read_to_string(file("tidings.toml")).expect("read");
    let configuration = format!("{configuration}\n[journal]\npath = {:?}\n", file("journal"));
    fs::write(file("tidings.toml"), &configuration).expect("written");

    let mut running = subject.start().expect("it starts");
    subject.wait_until_ready(&mut running).expect("ready");
    let mut client = subject.client();
    let load = Load::start(&subject, Pace { clients: 2, per_second: 100, long_one_in: 0 }, 32);
    assert!(clock::wait_until(BOUND_MS, 5, || load.acknowledged() >= 50 && smsc.submission_count() > 0));
    opt_out(&mut client, CAME_BACK[0]);
    // From here on messages wait, so that the backup has some for people who will opt out.
    pause(&subject);
    for n in PEOPLE {
        send(&mut client, n, "soon");
    }
    subject.command(&["backup", &file("backup.db")]).expect("a backup under load");
    // Life goes on after it.
    let acknowledged = load.acknowledged();
    assert!(clock::wait_until(BOUND_MS, 5, || load.acknowledged() >= acknowledged + 50));
    opt_in(&mut client, CAME_BACK[0]);
    opt_out(&mut client, CAME_BACK[1]);
    opt_in(&mut client, CAME_BACK[1]);
    for n in PEOPLE {
        opt_out(&mut client, n);
    }
    // The machine is gone right after the last answer.
    running.kill();
    load.leave();
    smsc.barrier();
    let before = smsc.submission_count();

    // Its disk too, but not the one with the journal.
    fs::rename(file("data"), file("lost")).expect("moved");
    subject.command(&["restore", &file("backup.db")]).expect("restored");
    let refused = subject.command(&["hold", "release"]).expect_err("refused");
    assert!(refused.contains("knows opt-outs that this store does not"), "{refused}");
    let mut running = subject.start().expect("it starts");
    subject.wait_until_ready(&mut running).expect("ready");
    let mut client = subject.client();
    assert!(
        is_listed(&mut client, CAME_BACK[0]) && !is_listed(&mut client, PEOPLE.start),
        "as in the backup"
    );
    subject.command(&["carrier", "resume", "witness"]).expect("resumed");
    send(&mut client, NEW, "new");
    // Who opts out of the restored one is not forgotten either.
    opt_out(&mut client, 9_000_200);

    assert_eq!(replay(&subject, &subject.file("journal")), (21, 2));
    assert_eq!(replay(&subject, &subject.file("journal")), (0, 0), "the second time changes nothing");
    for n in PEOPLE {
        assert!(is_listed(&mut client, n), "{n}");
    }
    for n in CAME_BACK {
        assert!(!is_listed(&mut client, n), "{n}");
    }
    smsc.barrier();
    assert_eq!(smsc.submission_count(), before, "it is held");
    subject.command(&["hold", "release"]).expect("released");
    let done = || messages(&mut client, "status=queued").is_ok_and(|waiting| waiting.is_empty());
    assert!(clock::wait_until(BOUND_MS, 20, done), "everything goes on");
    smsc.barrier();
    let people: BTreeSet<String> = PEOPLE.map(recipient).collect();
    let sent = &smsc.submissions()[before..];
    assert!(sent.iter().any(|submission| submission.recipient == recipient(NEW)));
    let wrong: Vec<_> = sent.iter().filter(|submission| people.contains(&submission.recipient)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    // The journal has caught up with what the restored one added.
    let has = |number: String| {
        let files = fs::read_dir(subject.file("journal")).expect("read");
        let mut texts = files.map(|file| fs::read_to_string(file.expect("one").path()).expect("read"));
        texts.any(|text| text.contains(&number))
    };
    assert!(clock::wait_until(BOUND_MS, 20, || has(recipient(9_000_200))));
    assert_eq!(running.terminate(30_000), Some(0));
}

/// P-32: the steps of `docs/src/guides/postgresql.md`, *Backup and restore*.
#[test]
fn a_restore_of_a_server_sends_nothing_before_it_is_released_and_forgets_no_opt_out() {
    let Some(cluster) = Cluster::here() else { return };
    // As *Set up* says: a user who may do nothing but own the database.
    let database = || {
        let database = cluster.database();
        database.run(&format!("ALTER DATABASE {} OWNER TO tidings", database.name()));
        let url = database.url().replace("postgres://postgres@", "postgres://tidings@");
        (database, url)
    };
    cluster.database().run("CREATE ROLE tidings LOGIN");
    let (lost, lost_url) = database();
    let smsc = Smsc::start(Behaviour::default(), 34).expect("a socket");
    let setup = Setup { binary: env!("CARGO_BIN_EXE_tidings").into(), sessions: 1, window: 10 };
    let subject = Subject::prepare_over(setup, smsc.address(), Some(&lost_url)).expect("prepared");

    let mut running = subject.start().expect("it starts");
    subject.wait_until_ready(&mut running).expect("ready");
    let mut client = subject.client();
    let load = Load::start(&subject, Pace { clients: 2, per_second: 100, long_one_in: 0 }, 34);
    assert!(clock::wait_until(BOUND_MS, 5, || load.acknowledged() >= 50 && smsc.submission_count() > 0));
    opt_out(&mut client, CAME_BACK[0]);
    pause(&subject);
    for n in PEOPLE.chain(SENT_SINCE) {
        send(&mut client, n, "soon");
    }
    let later = Timestamp::from_millis(clock::wall_ms() + SCHEDULED_MS).to_string();
    let body =
        serde_json::json!({ "from": SENDER, "to": recipient(SCHEDULED), "text": "later", "send_at": later });
    let (status, said) = ask(&mut client, "POST", "/v1/messages", &body);
    assert_eq!((status, said["status"].as_str()), (202, Some("scheduled")), "{said}");
    let acknowledged = load.acknowledged();
    let dump = lost.dump();
    // Life goes on after it, and what waited then is sent.
    assert!(clock::wait_until(BOUND_MS, 5, || load.acknowledged() >= acknowledged + 50));
    opt_in(&mut client, CAME_BACK[0]);
    opt_out(&mut client, CAME_BACK[1]);
    opt_in(&mut client, CAME_BACK[1]);
    for n in PEOPLE {
        opt_out(&mut client, n);
    }
    let at_dump = smsc.submission_count();
    subject.command(&["carrier", "resume", "witness"]).expect("resumed");
    let has_got = |n: u64| smsc.submissions().iter().any(|sent| sent.recipient == recipient(n));
    assert!(clock::wait_until(BOUND_MS, 20, || SENT_SINCE.into_iter().chain([SCHEDULED]).all(has_got)));
    // The machines are gone right after the last answer, and the database with them.
    running.kill();
    load.leave();
    smsc.barrier();
    let before = smsc.submission_count();
    let people: BTreeSet<String> = PEOPLE.map(recipient).collect();
    assert!(smsc.submissions().iter().all(|sent| !people.contains(&sent.recipient)));
    drop(lost);

    // Step 2.
    let (restored, url) = database();
    restored.restore(&dump, "tidings");
    let file = subject.file("tidings.toml");
    let configuration = fs::read_to_string(&file).expect("read").replace(&lost_url, &url);
    fs::write(&file, configuration).expect("written");
    // Step 3.
    subject.command(&["migrate"]).expect("migrated");
    subject.command(&["hold", "set", "--reason", "restored"]).expect("held");
    let refused = subject.command(&["hold", "release"]).expect_err("refused");
    assert!(refused.contains("knows opt-outs that this store does not"), "{refused}");
    // Step 4.
    let mut running = subject.start().expect("it starts");
    subject.wait_until_ready(&mut running).expect("ready");
    let mut client = subject.client();
    assert!(
        is_listed(&mut client, CAME_BACK[0]) && !is_listed(&mut client, PEOPLE.start),
        "as in the backup"
    );
    subject.command(&["carrier", "resume", "witness"]).expect("resumed");
    send(&mut client, NEW, "new");
    // Step 5: the journal of the node's own directory, which is not where the database was.
    let journal = subject.file("data").join("journal");
    assert_eq!(replay(&subject, &journal), (21, 2));
    assert_eq!(replay(&subject, &journal), (0, 0), "the second time changes nothing");
    for n in PEOPLE {
        assert!(is_listed(&mut client, n), "{n}");
    }
    for n in CAME_BACK {
        assert!(!is_listed(&mut client, n), "{n}");
    }
    // Step 6: whatever was sent since and would be sent again is shown.
    let mut waiting: Vec<Value> = Vec::new();
    for status in ["queued", "scheduled"] {
        let list = ["message", "list", "--status", status, "--environment", "live", "--limit", "1000"];
        let listed = subject.command(&[&list[..], &["--full", "--json"]].concat()).expect("listed");
        waiting.extend(serde_json::from_str::<Vec<Value>>(&listed).expect("a list"));
    }
    let shown: BTreeSet<&str> = waiting.iter().filter_map(|message| message["to"].as_str()).collect();
    let missing = SENT_SINCE.into_iter().chain([SCHEDULED]).find(|n| !shown.contains(recipient(*n).as_str()));
    assert!(missing.is_none(), "{missing:?} is not among {shown:?}");
    let id = |n: u64| {
        let message = waiting.iter().find(|message| message["to"] == recipient(n).as_str());
        message.and_then(|message| message["id"].as_str()).expect("it is shown").to_owned()
    };
    let (status, said) =
        ask(&mut client, "POST", &format!("/v1/messages/{}/cancel", id(SENT_SINCE[0])), &Value::Null);
    assert!(status < 300, "{status} {said}");
    smsc.barrier();
    assert_eq!(smsc.submission_count(), before, "it is held");
    // Step 7.
    subject.command(&["hold", "release"]).expect("released");
    let mut is_over = |status| messages(&mut client, status).is_ok_and(|waiting| waiting.is_empty());
    let done = || is_over("status=queued") && is_over("status=scheduled");
    assert!(clock::wait_until(BOUND_MS, 20, done), "everything goes on");
    smsc.barrier();
    let sent = smsc.submissions();
    let (since, again) = (&sent[at_dump..before], &sent[before..]);
    let again: BTreeSet<&str> = again.iter().map(|sent| sent.recipient.as_str()).collect();
    assert!(again.contains(recipient(NEW).as_str()), "{again:?}");
    assert!(again.contains(recipient(SENT_SINCE[1]).as_str()), "nobody canceled it: {again:?}");
    assert!(!again.contains(recipient(SENT_SINCE[0]).as_str()), "{again:?}");
    assert!(again.iter().all(|number| !people.contains(*number)), "{again:?}");
    assert!(again.is_subset(&shown), "nobody was told of {:?}", again.difference(&shown));
    assert!(since.iter().any(|sent| !shown.contains(sent.recipient.as_str())), "some came after the dump");
    assert_eq!(running.terminate(30_000), Some(0));
}

/// A database that is restored with the server's own tools does not open held by itself, but a node's journal knows.
#[test]
fn a_server_whose_store_went_back_in_time_holds_by_itself() {
    let smsc = Smsc::start(Behaviour::default(), 33).expect("a socket");
    let setup = Setup { binary: env!("CARGO_BIN_EXE_tidings").into(), sessions: 1, window: 10 };
    let subject = Subject::prepare(setup, smsc.address()).expect("prepared");
    let file = |name: &str| subject.file(name).display().to_string();
    let mut running = subject.start().expect("it starts");
    subject.wait_until_ready(&mut running).expect("ready");
    opt_out(&mut subject.client(), 1);
    subject.command(&["backup", &file("backup.db")]).expect("a backup");
    opt_out(&mut subject.client(), 2);
    assert_eq!(running.terminate(30_000), Some(0));
    // As somebody does who does not know `tidings restore`.
    for name in ["tidings.db", "tidings.db-wal", "tidings.db-shm"] {
        drop(fs::remove_file(subject.file("data").join(name)));
    }
    fs::copy(file("backup.db"), subject.file("data").join("tidings.db")).expect("copied");
    let mut running = subject.start().expect("it starts");
    subject.wait_until_ready(&mut running).expect("ready");
    let held = subject.command(&["hold", "show"]).expect("shown");
    assert!(held.contains("suppression replay"), "{held}");
    assert!(subject.command(&["hold", "release"]).is_err());
    assert_eq!(replay(&subject, &subject.file("data").join("journal")), (1, 0));
    subject.command(&["hold", "release"]).expect("released");
    assert!(is_listed(&mut subject.client(), 2));
    assert_eq!(running.terminate(30_000), Some(0));
}
