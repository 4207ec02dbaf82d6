//! The stories of `examples/people`, which go through everything that people say. They need Python; where it is missing that
//! is said in a line, and `TIDINGS_TEST_REQUIRE=python` makes it fail.

use crate::keywords::Carrier;
use crate::subject::{Running, Subject};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// Tells a story where messages of this purpose need consent. What it prints are texts of people.
fn tell(story: &str, required: &str) {
    if !Command::new("python3").arg("--version").stdout(Stdio::null()).status().is_ok_and(|s| s.success()) {
        let required = std::env::var("TIDINGS_TEST_REQUIRE").unwrap_or_default();
        assert!(!required.split(',').any(|word| word == "python"), "{story} needs python3");
        drop(writeln!(
            std::io::stderr(),
            "skipped: examples/people/{story} (python3 is not on this machine)"
        ));
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let mut carrier = Carrier::start();
    let rules = format!("[consent]\nrequired = [\"{required}\"]\n");
    let subject = Subject::start(directory.path(), &carrier.address, &rules);
    subject.reaches_carrier();
    let mut story = Running(
        Command::new("python3")
            .arg("-B")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/people").join(story))
            .envs(subject.variables())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts"),
    );
    for text in BufReader::new(story.0.stdout.take().expect("it is piped")).lines() {
        writeln!(carrier.people, "{}", text.expect("a line")).expect("it reads");
        carrier.people.flush().expect("it reads");
    }
    assert!(story.0.wait().expect("it ends").success(), "the story does not hold: see above");
}

#[test]
fn the_story_of_the_clinic_holds() {
    tell("clinic.py", "transactional");
}

#[test]
fn the_story_of_the_shop_holds() {
    tell("shop.py", "marketing");
}
