//! Each promise that can be tested has a test that names it, and a line in the table of the page about testing; and the
//! tests that the table names exist.

use std::collections::BTreeSet;
use tidings_checks::{File, files, read, report};

const PAGE: &str = "docs/src/how_it_is_tested.md";

/// The promises that something must hold already.
const PROMISES: [u8; 33] = [
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30,
    33, 34, 35, 36, 38,
];

fn source() -> Vec<File> {
    files("crates", ".rs").into_iter().filter(|file| !file.path.starts_with("crates/checks/")).collect()
}

/// The comments that belong to a test, or to a file that holds nothing but tests, as (words of the comment).
fn comments_of_tests(file: &File) -> Vec<&str> {
    let mut found = Vec::new();
    let mut pending: Vec<&str> = Vec::new();
    let mut of_file = true;
    for line in file.text.lines().map(str::trim) {
        if line.starts_with("//!") {
            if of_file && file.path.contains("/tests/") {
                found.push(line);
            }
            continue;
        }
        of_file &= line.is_empty();
        if line.starts_with("///") {
            pending.push(line);
        } else if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            found.append(&mut pending);
        } else if !line.starts_with("#[") {
            pending.clear();
        }
    }
    found
}

#[test]
fn each_promise_is_named_by_a_test_and_has_its_line() {
    let source = source();
    let comments: Vec<&str> = source.iter().flat_map(comments_of_tests).collect();
    let page = read(PAGE);
    let mut complaints = Vec::new();
    for number in PROMISES {
        let id = format!("P-{number:02}");
        if !comments.iter().any(|comment| comment.contains(&id)) {
            complaints
                .push(format!("no test names {id} in its comment; give the one that would fail its id"));
        }
        if !page.contains(&format!("\n| {id}: ")) {
            complaints.push(format!("{PAGE} has no line `| {id}: …` in its table"));
        }
    }
    report(complaints);
}

#[test]
fn the_tests_that_the_table_names_exist() {
    let source = source();
    let all = files("crates/checks/tests", ".rs");
    let functions: BTreeSet<&str> = source
        .iter()
        .chain(&all)
        .flat_map(|file| file.text.lines())
        .filter_map(|line| line.split_once("fn ")?.1.split('(').next())
        .collect();
    let mut complaints = Vec::new();
    let page = read(PAGE);
    for line in page.lines().filter(|line| line.starts_with("| P-")) {
        let tests = line.split('|').nth(2).unwrap_or_default();
        for name in tests.split('`').skip(1).step_by(2) {
            let is_name = name.contains('_') && !name.contains(['/', '.', ' ']);
            if is_name && !functions.contains(name) {
                complaints.push(format!("{PAGE} names the test `{name}`, which does not exist"));
            }
        }
    }
    report(complaints);
}
