//! Where things lie, and that the documents about it are true.

use std::collections::BTreeSet;
use tidings_checks::{File, exists, files, names, read, report};

#[test]
fn every_source_file_says_what_it_is_for() {
    let silent = files("crates", ".rs").into_iter().filter(|file| !file.text.starts_with("//!"));
    report(
        silent
            .map(|file| {
                format!("{} must begin with `//!`: what it is for, why, and what it does not do", file.path)
            })
            .collect(),
    );
}

#[test]
fn architecture_md_names_each_crate_and_each_room() {
    let architecture = read("ARCHITECTURE.md");
    let named: BTreeSet<&str> = quoted(&architecture).collect();
    let mut wanted: Vec<String> = names("crates").into_iter().map(|name| format!("crates/{name}")).collect();
    wanted.extend(files("crates/engine/src", ".rs").into_iter().map(|file| file.path));
    let missing = wanted.iter().filter(|path| !named.contains(path.as_str()));
    report(
        missing
            .map(|path| format!("ARCHITECTURE.md does not name `{path}`; say in its code map what it is for"))
            .collect(),
    );
}

#[test]
fn every_path_that_a_document_names_exists() {
    let mut complaints = Vec::new();
    for file in documents() {
        for path in quoted(&file.text).filter(|path| looks_like_a_path(path)) {
            if !exists(path) {
                complaints.push(format!("{} names `{path}`, which does not exist", file.path));
            }
        }
    }
    report(complaints);
}

#[test]
fn architecture_md_stays_readable() {
    let lines = read("ARCHITECTURE.md").lines().count();
    assert!(
        lines <= 600,
        "ARCHITECTURE.md has {lines} lines; more than 600 nobody reads: move detail to the file it is about"
    );
}

#[test]
fn contributing_md_says_how_to_add_things_by_naming_files() {
    let contributing = read("CONTRIBUTING.md");
    let mut complaints = Vec::new();
    for thing in [
        "a carrier",
        "a store operation",
        "an API resource",
        "an error code",
        "a configuration key",
        "a migration",
    ] {
        let head = format!("### {thing}");
        let Some((_, rest)) = contributing.split_once(&head) else {
            complaints.push(format!("CONTRIBUTING.md has no list `{head}` under \"How to add\""));
            continue;
        };
        let list = rest.split("\n#").next().unwrap_or_default();
        if quoted(list).filter(|path| looks_like_a_path(path)).count() == 0 {
            complaints.push(format!("CONTRIBUTING.md: the list `{head}` names no file"));
        }
    }
    report(complaints);
}

/// What only one of the databases has: a disk of its own, or a server.
const PECULIAR: [&str; 11] = [
    "crates/store/src/sqlite/reserve.rs",
    "crates/store/src/sqlite/statement.rs",
    "crates/store/src/sqlite/wal.rs",
    "crates/store/src/postgres/front.rs",
    "crates/store/src/postgres/message/sheet.rs",
    "crates/store/src/postgres/news.rs",
    "crates/store/src/postgres/node.rs",
    "crates/store/src/postgres/part.rs",
    "crates/store/src/postgres/reader.rs",
    "crates/store/src/postgres/session.rs",
    "crates/store/src/postgres/transaction.rs",
];

#[test]
fn the_databases_mirror_each_other_and_migrations_are_numbered() {
    let mut complaints = Vec::new();
    let (sqlite, postgres) = ("crates/store/src/sqlite", "crates/store/src/postgres");
    for (one, other) in [(sqlite, postgres), (postgres, sqlite)] {
        for folder in ["", "/message"] {
            let (one, other) = (format!("{one}{folder}"), format!("{other}{folder}"));
            let theirs = names(&other);
            let alone = names(&one).into_iter().filter(|name| !theirs.contains(name));
            complaints.extend(
                alone
                    .filter(|name| !PECULIAR.contains(&format!("{one}/{name}").as_str()))
                    .map(|name| format!("{other}/{name} is missing")),
            );
        }
    }
    let applied = read("crates/store/src/sqlite/migration.rs");
    let migrations = names("crates/store/migrations/sqlite");
    assert!(!migrations.is_empty(), "there is no migration");
    for (n, name) in migrations.iter().enumerate() {
        let stem = name.trim_end_matches(".sql");
        if !name.starts_with(&format!("{:04}_", n + 1)) || !name.ends_with(".sql") {
            complaints.push(format!(
                "migration {name} should be number {:04}, in the form NNNN_what_it_brings.sql",
                n + 1
            ));
        }
        if !applied.contains(&format!("\"{stem}\"")) {
            complaints.push(format!("migration {name} is not in the list of crates/store/src/sqlite/migration.rs: it would never run"));
        }
    }
    let of_postgres = read("crates/store/src/postgres/migration.rs");
    complaints.extend(migrations.iter().filter(|name| !of_postgres.contains(name.trim_end_matches(".sql"))).map(
        |name| format!("migration {name} is not in the list of crates/store/src/postgres/migration.rs: it would never run"),
    ));
    if names("crates/store/migrations/postgres") != migrations {
        complaints.push("crates/store/migrations/{sqlite,postgres} must hold the same names".to_owned());
    }
    report(complaints);
}

#[test]
fn the_model_store_has_the_same_nouns_as_the_databases() {
    // The lines `work noun::operation(…)` and the like; other files are machinery. A server has nodes too.
    let forwards = read("crates/store/src/sqlite/mod.rs") + &read("crates/store/src/postgres/mod.rs");
    let kinds = ["calls ", "work ", "writer ", "readers "];
    let operation = |line| kinds.into_iter().find_map(|kind| str::strip_prefix(line, kind));
    let operations = forwards.lines().map(str::trim).filter_map(operation);
    let nouns: BTreeSet<String> =
        operations.filter_map(|line| line.split_once("::")).map(|(noun, _)| format!("{noun}.rs")).collect();
    assert!(nouns.len() > 3, "the operations in crates/store/src/sqlite/mod.rs could not be read: {nouns:?}");
    let is_noun = |name: &String| name.ends_with(".rs") && name != "mod.rs";
    let files: BTreeSet<String> = names("crates/store/src/model").into_iter().filter(is_noun).collect();
    assert_eq!(
        files, nouns,
        "crates/store/src/model must have the nouns of crates/store/src/sqlite and postgres"
    );
}

#[test]
fn every_public_error_code_has_its_page_and_every_page_its_code() {
    let codes = error_codes();
    assert!(codes.len() > 10, "the list of codes in crates/wire/src/error.rs could not be read: {codes:?}");
    let pages: BTreeSet<String> = names("docs/src/errors")
        .into_iter()
        .filter(|name| name != "README.md")
        .map(|name| name.trim_end_matches(".md").to_owned())
        .collect();
    let summary = read("docs/src/SUMMARY.md");
    let mut complaints = Vec::new();
    for code in &codes {
        if !pages.contains(code) {
            complaints.push(format!("the error code {code} has no page docs/src/errors/{code}.md"));
        }
        if !summary.contains(&format!("(errors/{code}.md)")) {
            complaints.push(format!("docs/src/SUMMARY.md does not list errors/{code}.md"));
        }
    }
    complaints.extend(
        pages
            .difference(&codes)
            .map(|page| format!("docs/src/errors/{page}.md is about a code that does not exist")),
    );
    report(complaints);
}

/// The words in the list `codes!` of the wire crate: lines such as `NotFound "NOT_FOUND" 404 "…"`.
fn error_codes() -> BTreeSet<String> {
    let text = read("crates/wire/src/error.rs");
    let list = text
        .split("\ncodes! {")
        .nth(1)
        .and_then(|rest| rest.split("\n}").next())
        .unwrap_or_default()
        .to_owned();
    let word = |line: &str| {
        let mut parts = line.split_whitespace();
        let (_, word, status) = (parts.next()?, parts.next()?, parts.next()?);
        status.parse::<u16>().ok()?;
        Some(word.strip_prefix('"')?.strip_suffix('"')?.to_owned())
    };
    list.lines().filter_map(word).collect()
}

/// The documents that speak of files of the repository.
fn documents() -> Vec<File> {
    let mut documents: Vec<File> =
        files("", ".md").into_iter().filter(|file| !file.path.contains('/')).collect();
    documents.extend(files("docs", ".md"));
    documents.extend(files("examples", ".md"));
    documents
}

/// What stands between backticks on one line, outside fenced blocks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    let lines = text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    });
    lines.flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// `crates/engine/src/lib.rs`, but not `crates/<name>` or `docs/src/errors/CODE.md`, which stand for many.
fn looks_like_a_path(text: &str) -> bool {
    let begins =
        ["crates/", "docs/", "examples/", ".ci/", "deploy/"].iter().any(|folder| text.starts_with(folder));
    let stands_for_many =
        text.contains(['<', '*', '{', ' ', '…']) || text.contains("NNNN") || text.contains("CODE");
    begins && !stands_for_many
}
