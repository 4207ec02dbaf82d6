//! The real binary on a machine whose wall clock somebody sets, by up to a day, forward and back (P-27).
//!
//! Needs a C compiler; where there is none, one line says so, unless `TIDINGS_TEST_REQUIRE` names `set-clock`.
//! `TIDINGS_JUMPS=20` sets it that often.

mod preload;

use preload::{library, possible, wrapper};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use tidings_domain::time::Timestamp;
use tidings_witness::clock::{Moment, now, wait_until, wall_ms};
use tidings_witness::http::Client;
use tidings_witness::random::Random;
use tidings_witness::smsc::{Behaviour, Smsc};
use tidings_witness::subject::{Setup, Subject};

/// How long anything may take before the test fails: milliseconds.
const PATIENCE_MS: u64 = 60_000;
/// What may lie between a decision and the carrier's reading of it: milliseconds.
const SLACK_MS: i64 = 1_000;
const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// The clock of the machine that the binary believes to be on, as somebody beside it sees it.
struct SetClock {
    file: std::fs::File,
    /// When it was set to be so many milliseconds ahead.
    settings: Vec<(Moment, i64)>,
    /// One moment by both clocks of the witness.
    begun: (Moment, i64),
}

impl SetClock {
    fn make(path: &Path) -> Self {
        let file = std::fs::File::create(path).expect("a file");
        let mut clock = Self { file, settings: Vec::new(), begun: (now(), wall_ms()) };
        clock.set(0);
        clock
    }

    fn set(&mut self, ahead_ms: i64) {
        self.settings.push((now(), ahead_ms));
        self.file.write_all_at(&ahead_ms.to_ne_bytes(), 0).expect("written");
    }

    /// The furthest that it was ever ahead until then. What is over does not come again: a clock that is set back is not
    /// followed.
    fn ahead_at(&self, moment: Moment) -> i64 {
        let until = self.settings.iter().take_while(|(at, _)| *at <= moment);
        until.map(|(_, ahead)| *ahead).max().unwrap_or(0)
    }

    /// The time of day that counts at this moment: milliseconds since 1970.
    fn time_at(&self, moment: Moment) -> i64 {
        let (begun, wall) = self.begun;
        wall + i64::try_from(moment.ms_since(begun)).expect("a short run") + self.ahead_at(moment)
    }
}

/// A message that was asked for.
#[derive(Debug)]
struct Asked {
    id: String,
    recipient: String,
    send_at: i64,
    expires_at: i64,
}

/// The customer, with all that was asked for.
struct Customer {
    client: Client,
    asked: Vec<Asked>,
}

impl Customer {
    /// Asks for a message at this time, and gives its place in the list.
    fn ask(&mut self, send_at: i64, valid_ms: i64) -> usize {
        let n = self.asked.len();
        let recipient = format!("+4670174{n:04}");
        let body = serde_json::json!({
            "from": "ACME", "to": recipient, "text": format!("message {n}"), "purpose": "transactional",
            "send_at": Timestamp::from_millis(send_at).to_string(), "expires_in_s": valid_ms / 1_000,
        });
        let key = format!("key-{n}");
        let answer =
            self.client.ask("POST", "/v1/messages", Some(&key), &body.to_string()).expect("an answer");
        assert_eq!(answer.status, 202, "{}", answer.json());
        let id = answer.json()["id"].as_str().expect("an id").to_owned();
        self.asked.push(Asked { id, recipient, send_at, expires_at: send_at + valid_ms });
        n
    }

    fn status(&mut self, n: usize) -> String {
        let path = format!("/v1/messages/{}", self.asked[n].id);
        let answer = self.client.ask("GET", &path, None, "").expect("an answer");
        answer.json()["status"].as_str().expect("a status").to_owned()
    }

    fn all(&mut self, some: &[usize], wanted: &[&str]) -> bool {
        some.iter().all(|n| wanted.contains(&self.status(*n).as_str()))
    }
}

#[test]
fn a_clock_that_is_set_sends_nothing_early_or_late_and_revives_nothing() {
    let test = "a_clock_that_is_set_sends_nothing_early_or_late_and_revives_nothing";
    let place = tempfile::tempdir().expect("a directory");
    let Some(library) = possible(library(place.path(), "set_clock"), "set-clock", test) else { return };
    let file = place.path().join("clock");
    let mut clock = SetClock::make(&file);
    let binary = wrapper(
        place.path(),
        &format!(
            "export SET_CLOCK={} LD_PRELOAD={}\nexec {} \"$@\"",
            file.display(),
            library.display(),
            env!("CARGO_BIN_EXE_tidings")
        ),
    );
    let jumps: usize = std::env::var("TIDINGS_JUMPS").map_or(4, |jumps| jumps.parse().expect("a number"));
    let behaviour = Behaviour { answer_ms: (1, 5), receipt_ms: (1, 20), ..Behaviour::default() };
    let smsc = Smsc::start(behaviour, 3).expect("a carrier");
    let setup = Setup { binary, sessions: 1, window: 10 };
    let subject = Subject::prepare(setup, smsc.address()).unwrap_or_else(|why| panic!("{why}"));
    let mut running = subject.start().unwrap_or_else(|why| panic!("{why}"));
    subject.wait_until_ready(&mut running).unwrap_or_else(|why| panic!("{why}"));
    let mut customer = Customer { client: subject.client(), asked: Vec::new() };
    let mut random = Random::new(27);

    for jump in 0..jumps {
        let far = random.between(HOUR_MS.unsigned_abs(), DAY_MS.unsigned_abs());
        let far = i64::try_from(far).expect("a day");
        let (before, ahead) = (clock.time_at(now()), clock.ahead_at(now()));
        let is_forward = jump % 2 == 0;
        // Nobody can say what becomes of these but the jumps that follow.
        customer.ask(before + far + HOUR_MS, 6 * HOUR_MS);
        let (to_be_sent, to_expire) = if is_forward {
            // Due before the clock's new time and valid at it, due a moment later, and over by then.
            let due =
                [customer.ask(before + far - 10_000, HOUR_MS), customer.ask(before + far + 6_000, HOUR_MS)];
            (due.to_vec(), vec![customer.ask(before + far / 2, MINUTE_MS)])
        } else {
            // The clock goes back, the time does not.
            (vec![customer.ask(before + 3_000, MINUTE_MS)], Vec::new())
        };
        clock.set(if is_forward { ahead + far } else { ahead - far });
        assert!(
            wait_until(PATIENCE_MS, 20, || customer.all(&to_be_sent, &["delivered"])
                && customer.all(&to_expire, &["expired"])),
            "jump {jump} by {far} ms: {:?} {}",
            to_be_sent.iter().chain(&to_expire).map(|n| customer.status(*n)).collect::<Vec<_>>(),
            subject.log_end(30)
        );
    }

    // Everything ends, and nothing that was over is sent.
    clock.set(clock.ahead_at(now()) + 2 * DAY_MS);
    let everything: Vec<usize> = (0..customer.asked.len()).collect();
    assert!(
        wait_until(PATIENCE_MS, 50, || customer.all(&everything, &["delivered", "expired"])),
        "{}",
        subject.log_end(30)
    );
    assert_eq!(running.terminate(20_000), Some(0), "{}", subject.log_end(30));
    let submissions = smsc.submissions();
    for (n, asked) in customer.asked.iter().enumerate() {
        let of_it: Vec<i64> = submissions
            .iter()
            .filter(|submission| submission.recipient == asked.recipient)
            .map(|submission| clock.time_at(submission.at))
            .collect();
        assert!(of_it.len() <= 1, "message {n} was sent {} times", of_it.len());
        for at in of_it {
            assert!(at + SLACK_MS >= asked.send_at, "message {n} was {} ms early", asked.send_at - at);
            assert!(at <= asked.expires_at + SLACK_MS, "message {n} was {} ms late", at - asked.expires_at);
        }
    }
}
