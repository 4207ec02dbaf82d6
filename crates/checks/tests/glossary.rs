//! One word, one meaning: the words that ARCHITECTURE.md's glossary replaces stay out of names and documents.

use std::collections::BTreeSet;
use tidings_checks::{File, files, is_test, program_lines, report};

/// Words that must not be part of a name of ours, and what to say instead.
const NOT_IN_NAMES: [(&str, &str); 13] = [
    ("blacklist", "suppression list"),
    ("whitelist", "allow list"),
    ("provider", "carrier or connection"),
    ("vendor", "carrier"),
    ("gateway", "carrier or connection"),
    ("upstream", "carrier"),
    ("notification", "event, message or webhook"),
    ("automation", "workflow"),
    ("helper", "what it does"),
    ("util", "what it does"),
    ("utils", "what it does"),
    ("misc", "what it does"),
    ("manager", "what it does"),
];

/// Last words of a type's name that say nothing.
const EMPTY_ENDINGS: [&str; 8] = ["Manager", "Service", "Helper", "Util", "Common", "Info", "Impl", "Base"];

/// Whole names of functions that say nothing.
const EMPTY_FUNCTIONS: [&str; 4] = ["process", "handle", "manage", "do_it"];

/// Words that must not stand in documents, and what to say instead.
const NOT_IN_DOCUMENTS: [(&str, &str); 8] = [
    ("blacklist", "suppression list"),
    ("whitelist", "allow list"),
    ("unsubscribe list", "suppression list"),
    ("provider", "carrier"),
    ("vendor", "carrier"),
    ("gateway", "what it is: Tidings, or a carrier"),
    ("upstream", "carrier"),
    ("notification", "event, message or webhook"),
];

/// Exceptions: where (the beginning of a path), which word, and why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("crates/smpp/", "notification", "`alert_notification` is the protocol's own word (SMPP 3.4 §4.12.1)"),
    ("crates/smpp/", "handle", "`handle(input, now)` is the usual word for a state machine without IO"),
    ("crates/egress/", "provider", "rustls calls its cryptography so"),
    ("crates/smpp/", "provider", "rustls calls its cryptography so"),
    ("crates/cli/", "provider", "rustls calls its cryptography so"),
    ("docs/src/guides/smpp.md", "vendor", "it quotes what carriers' own documents call their codes"),
];

#[test]
fn names_use_the_glossary() {
    let mut complaints = BTreeSet::new();
    for file in source() {
        for (n, line) in program_lines(&file.text) {
            for name in declared(line) {
                let words = split(&name);
                for (word, better) in NOT_IN_NAMES {
                    if words.iter().any(|w| w == word) && !excepted(&file.path, word) {
                        complaints
                            .insert(format!("{}:{n}: `{name}` says \"{word}\"; say {better}", file.path));
                    }
                }
                if line.contains("fn ")
                    && EMPTY_FUNCTIONS.contains(&name.as_str())
                    && !excepted(&file.path, &name)
                {
                    complaints
                        .insert(format!("{}:{n}: `fn {name}` says nothing; name what it does", file.path));
                }
                if name.starts_with(char::is_uppercase) {
                    if let Some(ending) =
                        EMPTY_ENDINGS.iter().find(|ending| name.ends_with(**ending) && name != **ending)
                    {
                        complaints.insert(format!(
                            "{}:{n}: `{name}` ends with \"{ending}\"; name the thing",
                            file.path
                        ));
                    }
                    if name.ends_with("V2") {
                        complaints.insert(format!(
                            "{}:{n}: `{name}`: replace the first one instead of adding a second",
                            file.path
                        ));
                    }
                } else if name.ends_with("_v2") {
                    complaints.insert(format!(
                        "{}:{n}: `{name}`: replace the first one instead of adding a second",
                        file.path
                    ));
                }
            }
        }
    }
    report(complaints.into_iter().collect());
}

#[test]
fn documents_use_the_glossary() {
    let mut complaints = Vec::new();
    for file in files("", ".md").into_iter().filter(|file| !file.path.starts_with("docs/decisions/")) {
        let mut fenced = false;
        for (n, line) in file.text.lines().enumerate().map(|(n, line)| (n + 1, line)) {
            if line.trim_start().starts_with("```") {
                fenced = !fenced;
            }
            // The glossary itself lists them; code speaks the languages' and libraries' words.
            if fenced || line.contains("instead of") {
                continue;
            }
            let lower = line.to_lowercase();
            for (word, better) in NOT_IN_DOCUMENTS {
                if lower.contains(word) && !excepted(&file.path, word) {
                    complaints.push(format!("{}:{n} says \"{word}\"; say {better}", file.path));
                }
            }
        }
    }
    report(complaints);
}

#[test]
fn no_module_is_a_bag() {
    let bags = ["utils.rs", "util.rs", "common.rs", "helpers.rs", "helper.rs", "misc.rs", "types.rs"];
    let found = files("crates", ".rs").into_iter().filter(|file| {
        let name = file.path.rsplit('/').next().unwrap_or_default();
        bags.contains(&name) && !is_test(&file.path)
    });
    report(
        found
            .map(|file| format!("{}: a bag is nobody's home; put each function with its noun", file.path))
            .collect(),
    );
}

fn source() -> impl Iterator<Item = File> {
    files("crates", ".rs")
        .into_iter()
        .filter(|file| !is_test(&file.path) && !file.path.starts_with("crates/checks/"))
}

fn excepted(path: &str, word: &str) -> bool {
    EXCEPTIONS.iter().any(|(place, excepted, _)| path.starts_with(place) && *excepted == word)
}

/// The names that a line of Rust declares.
fn declared(line: &str) -> Vec<String> {
    let words =
        ["fn ", "struct ", "enum ", "trait ", "type ", "mod ", "const ", "static ", "let mut ", "let "];
    let line = line.trim_start();
    let line = ["pub(crate) ", "pub(super) ", "pub "]
        .iter()
        .fold(line, |line, word| line.strip_prefix(word).unwrap_or(line));
    let line = ["async ", "const fn ", "unsafe "].iter().fold(line, |line, word| match *word {
        "const fn " if line.starts_with("const fn ") => &line["const ".len()..],
        word => line.strip_prefix(word).unwrap_or(line),
    });
    let Some(rest) = words.iter().find_map(|word| line.strip_prefix(word)) else { return Vec::new() };
    let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    if name.is_empty() { Vec::new() } else { vec![name] }
}

/// `CamelCase` and `snake_case` into lower-case words.
fn split(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = '_';
    for c in name.chars() {
        if c == '_' || (c.is_uppercase() && before.is_lowercase()) {
            words.push(String::new());
        }
        if c != '_' {
            words.last_mut().expect("there is always one").extend(c.to_lowercase());
        }
        before = c;
    }
    words
}
