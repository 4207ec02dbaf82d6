//! The real binary on a disk that is full, and on one whose syncs fail.
//!
//! The full disk is a small file system in memory, mounted in a namespace of its own: that needs Linux and the right to
//! make one (`unshare -rm`). The failing syncs are a few lines of C that are loaded before the C library. What is
//! missing is said in one line on standard error, unless `TIDINGS_TEST_REQUIRE` names `small-disk` or `failing-sync`.

mod preload;

use preload::{library, possible, wrapper};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tidings_witness::clock::wait_until;
use tidings_witness::http::{Answer, Client};
use tidings_witness::smsc::{Behaviour, Smsc};
use tidings_witness::subject::{Running, Setup, Subject};

/// How long anything may take before a test fails: milliseconds.
const PATIENCE_MS: u64 = 20_000;
/// Places of the one session to the carrier.
const WINDOW: usize = 10;
/// Messages beyond them, which wait in the queue.
const WAITING: usize = 5;

/// A disk of some MiB that only this test sees. It is gone when its holder ends.
struct SmallDisk {
    holder: Child,
    at: PathBuf,
}

impl SmallDisk {
    fn make(place: &Path, mib: u32) -> Result<Self, String> {
        let at = place.join("disk");
        std::fs::create_dir(&at).map_err(|error| error.to_string())?;
        let script =
            format!("mount -t tmpfs -o size={mib}m,mode=700 tidings \"$1\" && echo ready && exec cat");
        let mut holder = Command::new("unshare")
            .args(["-rm", "sh", "-c", &script, "sh"])
            .arg(&at)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("unshare does not start: {error}"))?;
        let mut line = String::new();
        let out = holder.stdout.take().expect("it is piped");
        let read = BufReader::new(out).read_line(&mut line);
        let disk = Self { holder, at };
        if read.is_ok() && line == "ready\n" {
            Ok(disk)
        } else {
            Err("a file system of one's own cannot be mounted here".to_owned())
        }
    }

    fn enter(&self) -> String {
        format!("nsenter --preserve-credentials -U -m -t {} --", self.holder.id())
    }

    fn run(&self, script: &str) -> String {
        let output = Command::new("sh")
            .args(["-c", &format!("{} sh -c '{script}'", self.enter())])
            .output()
            .expect("a shell");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Writes until there is no room at all.
    fn fill(&self) {
        self.run(&format!(
            "head -c 1G /dev/zero > {0}/ballast; head -c 4096 /dev/zero >> {0}/ballast",
            self.at.display()
        ));
    }

    /// Makes room.
    fn empty(&self) {
        self.run(&format!("rm {}/ballast", self.at.display()));
    }

    /// Octets of a file that lie on it.
    fn taken_by(&self, name: &str) -> u64 {
        let blocks = self.run(&format!("stat -c %b {}/{name}", self.at.join("data").display()));
        blocks.trim().parse::<u64>().unwrap_or(0) * 512
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}

fn send(client: &mut Client, n: usize) -> Answer {
    let body = serde_json::json!({
        "from": "ACME", "to": format!("+4670174{n:04}"), "text": format!("message {n}"),
    });
    client.ask("POST", "/v1/sms", Some(&format!("key-{n}")), &body.to_string()).expect("an answer")
}

fn accepted(client: &mut Client, n: usize) -> String {
    let answer = send(client, n);
    assert_eq!(answer.status, 202, "{}", answer.json());
    answer.json()["id"].as_str().expect("an id").to_owned()
}

fn status(client: &mut Client, id: &str) -> String {
    let answer = client.ask("GET", &format!("/v1/messages/{id}"), None, "").expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.json());
    answer.json()["status"].as_str().expect("a status").to_owned()
}

fn all(client: &mut Client, ids: &[String], wanted: &str) -> bool {
    ids.iter().all(|id| status(client, id) == wanted)
}

fn start(binary: PathBuf, smsc: &Smsc) -> (Subject, Running) {
    let setup = Setup { binary, sessions: 1, window: u32::try_from(WINDOW).expect("a small number") };
    let subject = Subject::prepare(setup, smsc.address()).unwrap_or_else(|why| panic!("{why}"));
    let running = restart(&subject);
    (subject, running)
}

fn restart(subject: &Subject) -> Running {
    let mut running = subject.start().unwrap_or_else(|why| panic!("{why}"));
    subject.wait_until_ready(&mut running).unwrap_or_else(|why| panic!("{why}"));
    running
}

/// P-04, and the line "Disk full": new work is refused, old work goes on, and all of it by itself.
#[test]
fn a_full_disk_refuses_new_work_keeps_what_carriers_say_and_goes_on_when_there_is_room() {
    let place = tempfile::tempdir().expect("a directory");
    let test = "a_full_disk_refuses_new_work_keeps_what_carriers_say_and_goes_on_when_there_is_room";
    let Some(disk) = possible(SmallDisk::make(place.path(), 24), "small-disk", test) else { return };
    let binary = wrapper(
        place.path(),
        &format!(
            "export TIDINGS_DATA__DIRECTORY={} TIDINGS_DATA__RESERVE_MIB=2\nexec {} {} \"$@\"",
            disk.at.join("data").display(),
            disk.enter(),
            env!("CARGO_BIN_EXE_tidings")
        ),
    );
    let behaviour =
        Behaviour { answer_ms: (1, 5), receipt_ms: (1, 20), early_receipt_one_in: 0, ..Behaviour::default() };
    let smsc = Smsc::start(behaviour, 1).expect("a carrier");
    smsc.silence(true);
    smsc.offer_again_after_ms(500);
    let (subject, running) = start(binary, &smsc);
    assert!(disk.taken_by("reserve") >= 2 << 20, "the reserve takes up room");
    let mut client = subject.client();
    let ids: Vec<String> = (0..WINDOW + WAITING).map(|n| accepted(&mut client, n)).collect();
    assert!(wait_until(PATIENCE_MS, 5, || smsc.submission_count() == WINDOW), "the window fills");

    disk.fill();
    let mut refused = None;
    let full = wait_until(PATIENCE_MS, 5, || {
        let answer = send(&mut client, 1_000);
        refused = (answer.status != 202).then_some(answer);
        refused.is_some()
    });
    assert!(full, "it is full in the end");
    let refused = refused.expect("it was refused");
    let body = refused.json();
    assert_eq!((refused.status, body["code"].as_str()), (503, Some("UNAVAILABLE")), "{body}");
    assert!(body["detail"].as_str().expect("a sentence").contains("storage"), "{body}");
    assert!(refused.retry_after_s.is_some());
    assert_eq!(disk.taken_by("reserve"), 0, "the reserve is given away");
    let ready = Client::new(subject.address(), "").ask("GET", "/readyz", None, "").expect("an answer");
    assert_eq!(ready.status, 503, "{}", ready.json());
    let says_full = |client: &mut Client| {
        let metrics = client.ask("GET", "/metrics", None, "").expect("an answer");
        String::from_utf8_lossy(&metrics.body).lines().any(|line| line == "tidings_disk_full 1")
    };
    assert!(wait_until(PATIENCE_MS, 50, || says_full(&mut client)), "the metric shows it");

    // What was on its way is answered, and the answers are kept. Nothing more is taken from the queue, and receipts
    // stay with the carrier.
    smsc.silence(false);
    let (sent, waiting) = ids.split_at(WINDOW);
    assert!(
        wait_until(PATIENCE_MS, 20, || all(&mut client, sent, "sent")),
        "{:?} {}",
        ids.iter().map(|id| status(&mut client, id)).collect::<Vec<_>>(),
        subject.log_end(40)
    );
    assert!(
        wait_until(PATIENCE_MS, 5, || smsc.receipts().iter().any(|receipt| receipt.offers > 1)),
        "offered again"
    );
    assert!(smsc.receipts().iter().all(|receipt| receipt.acknowledged_at.is_none()), "{:?}", smsc.receipts());
    assert_eq!(smsc.submission_count(), WINDOW);
    assert!(all(&mut client, waiting, "queued"));
    assert_eq!(send(&mut client, 1_001).status, 503);

    disk.empty();
    let mut last = String::new();
    let room = wait_until(PATIENCE_MS, 50, || {
        let answer = send(&mut client, 1_000);
        last = answer.json()["id"].as_str().unwrap_or_default().to_owned();
        answer.status == 202
    });
    assert!(room, "{}", subject.log_end(30));
    assert!(disk.taken_by("reserve") >= 2 << 20, "the reserve is there again");
    assert!(wait_until(PATIENCE_MS, 50, || all(&mut client, &ids, "delivered")), "{}", subject.log_end(30));
    assert!(wait_until(PATIENCE_MS, 50, || status(&mut client, &last) == "delivered"));
    assert!(wait_until(PATIENCE_MS, 20, || smsc.is_settled()), "every receipt is acknowledged");
    assert_eq!(smsc.submission_count(), WINDOW + WAITING + 1, "each was sent once");
    assert_eq!(running.terminate(20_000), Some(0), "{}", subject.log_end(30));
    let log = subject.log_end(usize::MAX);
    assert!(log.contains("the disk is full") && log.contains("there is room on the disk again"), "{log}");
}

/// P-04, and the line "fsync EIO": no answer, a fatal line, an exit code, and a start that loses nothing.
#[test]
fn after_a_sync_that_failed_the_process_ends_and_the_next_one_has_everything_that_was_answered() {
    let place = tempfile::tempdir().expect("a directory");
    let test = "after_a_sync_that_failed_the_process_ends_and_the_next_one_has_everything_that_was_answered";
    let Some(library) = possible(library(place.path(), "failing_sync"), "failing-sync", test) else { return };
    let (broken, syncs) = (place.path().join("broken"), place.path().join("syncs"));
    let binary = wrapper(
        place.path(),
        &format!(
            "export FAILING_SYNC={} FAILING_SYNC_LOG={} LD_PRELOAD={}\nexec {} \"$@\"",
            broken.display(),
            syncs.display(),
            library.display(),
            env!("CARGO_BIN_EXE_tidings")
        ),
    );
    let smsc = Smsc::start(Behaviour::default(), 2).expect("a carrier");
    let (subject, mut running) = start(binary, &smsc);
    if possible(
        std::fs::metadata(&syncs).map_err(|_| "this binary loads no library".to_owned()),
        "failing-sync",
        test,
    )
    .is_none()
    {
        return;
    }
    let mut client = subject.client();
    let ids: Vec<String> = (0..20).map(|n| accepted(&mut client, n)).collect();
    assert!(wait_until(PATIENCE_MS, 20, || all(&mut client, &ids, "delivered")), "{}", subject.log_end(30));
    smsc.silence(true);
    let under_way: Vec<String> = (20..25).map(|n| accepted(&mut client, n)).collect();
    assert!(wait_until(PATIENCE_MS, 5, || smsc.submission_count() == 25), "{}", subject.log_end(30));

    std::fs::write(&broken, "").expect("a file");
    let body = serde_json::json!({ "from": "ACME", "to": "+46701749999", "text": "too late" }).to_string();
    // Refused, or not answered at all: the process may be gone already.
    match client.ask("POST", "/v1/sms", Some("too-late"), &body) {
        Ok(answer) => assert_eq!(answer.status, 503, "{}", answer.json()),
        Err(error) => println!("no answer: {error}"),
    }
    let mut ended = None;
    assert!(
        wait_until(PATIENCE_MS, 5, || {
            ended = running.ended();
            ended.is_some()
        }),
        "it goes on"
    );
    assert_eq!(ended.as_deref(), Some("exit status: 74"), "{}", subject.log_end(10));
    let log = subject.log_end(usize::MAX);
    assert!(log.contains("fatal: the process ends"), "{log}");
    let failed = std::fs::read_to_string(&syncs).expect("the syncs");
    assert_eq!(
        failed.lines().filter(|line| *line == "failed").count(),
        1,
        "a failed sync is not tried again"
    );

    std::fs::remove_file(&broken).expect("it is ours");
    std::fs::remove_file(&syncs).expect("it is ours");
    let running = restart(&subject);
    let begun = std::fs::read_to_string(&syncs).expect("the syncs");
    let first: Vec<&str> = begun.lines().take_while(|line| *line != "sync").collect();
    assert_eq!(
        first.first(),
        Some(&"write 32"),
        "the log is written again before anything is added to it: {begun}"
    );
    assert_eq!(first.last(), Some(&"write 0"), "{begun}");
    let mut client = subject.client();
    assert!(all(&mut client, &ids, "delivered"), "{}", subject.log_end(30));
    // The carrier may have these, so they are in doubt for a while.
    assert!(all(&mut client, &under_way, "sending"), "{}", subject.log_end(30));
    smsc.silence(false);
    let id = accepted(&mut client, 25);
    assert!(
        wait_until(PATIENCE_MS, 20, || status(&mut client, &id) == "delivered"),
        "{}",
        subject.log_end(30)
    );
    assert_eq!(running.terminate(20_000), Some(0), "{}", subject.log_end(30));
}
