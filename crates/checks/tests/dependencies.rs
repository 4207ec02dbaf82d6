//! The block in ARCHITECTURE.md is the rule for which crate may use which; this holds the workspace to it.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use tidings_checks::{block, files, read, report, root};

/// Package names begin with it; folders and the block leave it out.
const PREFIX: &str = "tidings-";

type Graph = BTreeMap<String, BTreeSet<String>>;

#[test]
fn crates_depend_on_what_architecture_md_says_and_on_nothing_else() {
    let (allowed, _) = table();
    let actual = workspace(|name| name.starts_with(PREFIX));
    let mut complaints = Vec::new();
    for name in actual.keys().filter(|name| !allowed.contains_key(*name)) {
        complaints
            .push(format!("crates/{name} is not in the dependency block of ARCHITECTURE.md; add its line"));
    }
    for name in allowed.keys().filter(|name| !actual.contains_key(*name)) {
        complaints.push(format!(
            "the dependency block of ARCHITECTURE.md names `{name}`, but there is no such crate"
        ));
    }
    for (name, uses) in &actual {
        let Some(may_use) = allowed.get(name) else { continue };
        for extra in uses.difference(may_use) {
            complaints.push(format!(
                "`{name}` depends on `{extra}`, which ARCHITECTURE.md does not allow; \
                 put the line where it belongs, or write a decision record for the new edge"
            ));
        }
        for unused in may_use.difference(uses) {
            complaints.push(format!(
                "ARCHITECTURE.md lets `{name}` use `{unused}`, but it does not; take it out of the block"
            ));
        }
    }
    report(complaints);
}

#[test]
fn a_crate_with_a_list_of_strangers_uses_no_other() {
    let (_, outside) = table();
    assert!(outside.contains_key("domain"), "the dependency block must say which strangers `domain` may use");
    let strangers = workspace(|name| !name.starts_with(PREFIX));
    let mut complaints = Vec::new();
    for (name, allowed) in &outside {
        let used = strangers.get(name).cloned().unwrap_or_default();
        for extra in used.difference(allowed) {
            complaints.push(format!(
                "`{name}` uses the crate `{extra}` from outside; its list in ARCHITECTURE.md is short on purpose: \
                 do that work in another crate"
            ));
        }
        for unused in allowed.difference(&used) {
            complaints.push(format!(
                "ARCHITECTURE.md lists `{unused}` for `{name}`, which does not use it; take it out"
            ));
        }
    }
    report(complaints);
}

#[test]
fn every_version_is_written_once() {
    let declared = section(&read("Cargo.toml"), "workspace.dependencies");
    let mut used = BTreeSet::new();
    let mut own: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut complaints = Vec::new();
    for manifest in files("crates", "/Cargo.toml") {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (name, rest) in section(&manifest.text, kind) {
                let shared = rest.replace(' ', "").contains("workspace=true");
                if !shared && kind == "dev-dependencies" && !declared.iter().any(|(known, _)| *known == name)
                {
                    // What the tests of a single crate need may stay with that crate.
                    own.entry(name.clone()).or_default().push(manifest.path.clone());
                } else if !shared {
                    complaints.push(format!(
                        "{}: `{name}` has a version of its own; write it in the root Cargo.toml and `{name}.workspace = true` here",
                        manifest.path
                    ));
                }
                used.insert(name);
            }
        }
    }
    for (name, places) in own.iter().filter(|(_, places)| places.len() > 1) {
        complaints
            .push(format!("`{name}` has a version in each of {places:?}; write it in the root Cargo.toml"));
    }
    for (name, _) in declared.iter().filter(|(name, _)| !used.contains(name)) {
        complaints.push(format!("the root Cargo.toml lists `{name}`, but no crate uses it; take it out"));
    }
    report(complaints);
}

#[test]
fn the_released_program_has_no_part_that_is_for_tests_only() {
    let program = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--package", "tidings-cli", "--edges", "features,no-dev"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let tree = String::from_utf8_lossy(&program.stdout);
    assert!(tree.contains("tidings-store feature \"default\""), "the tree could not be read: {tree}");
    assert!(
        !tree.contains("tidings-store feature \"model\""),
        "the model store is for tests; tidings-cli may not have it"
    );
}

#[test]
fn every_direct_dependency_is_there_in_one_version() {
    let lock = read("Cargo.lock");
    let ours: BTreeSet<String> =
        lock_packages(&lock).filter(|(name, _)| name.starts_with(PREFIX)).map(|(name, _)| name).collect();
    assert!(!ours.is_empty(), "Cargo.lock names no crate of ours");
    let mut versions: Graph = BTreeMap::new();
    for (name, version) in lock_packages(&lock) {
        versions.entry(name).or_default().insert(version);
    }
    // A package that depends on `name version` instead of `name` is one for which the lock file holds several.
    let mut complaints = Vec::new();
    let strangers = workspace(|name| !name.starts_with(PREFIX));
    let direct: BTreeSet<String> = strangers.into_values().flatten().collect();
    let mut of_ours: Graph = BTreeMap::new();
    for package in lock.split("[[package]]").skip(1) {
        let Some(name) = quoted_after(package, "name = ") else { continue };
        if !ours.contains(&name) {
            continue;
        }
        for line in package.lines().map(str::trim).filter(|line| line.starts_with('"')) {
            let mut words = line.trim_matches(['"', ',']).split(' ');
            let (Some(dependency), version) = (words.next(), words.next()) else { continue };
            if let Some(version) = version {
                of_ours.entry(dependency.to_owned()).or_default().insert(version.to_owned());
            }
        }
    }
    for (name, several) in
        of_ours.iter().filter(|(name, several)| direct.contains(*name) && several.len() > 1)
    {
        complaints.push(format!("our own crates use `{name}` in the versions {several:?}; settle on one"));
    }
    report(complaints);
}

/// The rule: crate → crates of ours, and crate → the only crates of others.
fn table() -> (Graph, Graph) {
    let (mut ours, mut outside) = (Graph::new(), Graph::new());
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<BTreeSet<_>>();
    for line in block(&read("ARCHITECTURE.md"), "dependencies") {
        let Some((name, uses)) = line.split_once("->") else { continue };
        let name = name.trim().to_owned();
        let (uses, strangers) = match uses.split_once("| outside:") {
            Some((uses, strangers)) => (uses, Some(strangers)),
            None => (uses, None),
        };
        if let Some(strangers) = strangers {
            outside.insert(name.clone(), words(strangers));
        }
        ours.insert(name, words(uses));
    }
    (ours, outside)
}

/// Normal and build dependencies as Cargo sees them. Those of tests are free: tests may look anywhere.
fn workspace(wanted: impl Fn(&str) -> bool) -> Graph {
    let output = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .output()
        .expect("cargo runs, since it runs this test");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata writes JSON");
    let packages = metadata["packages"].as_array().expect("cargo metadata lists packages");
    let short = |value: &Value| {
        let name = value["name"].as_str().expect("a package has a name");
        name.strip_prefix(PREFIX).unwrap_or(name).to_owned()
    };
    let uses = |package: &Value| {
        let dependencies = package["dependencies"].as_array().expect("a package lists dependencies");
        let kept = dependencies.iter().filter(|dependency| dependency["kind"] != "dev");
        kept.filter(|dependency| wanted(dependency["name"].as_str().unwrap_or_default())).map(short).collect()
    };
    packages.iter().map(|package| (short(package), uses(package))).collect()
}

/// The names of a section of a manifest, each with the rest of its line.
fn section(manifest: &str, name: &str) -> Vec<(String, String)> {
    let head = format!("[{name}]");
    let lines = manifest.lines().map(str::trim).skip_while(|line| *line != head).skip(1);
    lines
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(key, rest)| {
            let (name, attribute) = key.trim().split_once('.').unwrap_or((key.trim(), ""));
            (name.to_owned(), format!("{attribute}={rest}"))
        })
        .collect()
}

fn lock_packages(lock: &str) -> impl Iterator<Item = (String, String)> {
    lock.split("[[package]]")
        .skip(1)
        .filter_map(|package| Some((quoted_after(package, "name = ")?, quoted_after(package, "version = ")?)))
}

fn quoted_after(text: &str, key: &str) -> Option<String> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    Some(rest.trim().trim_matches('"').to_owned())
}

#[test]
fn every_stranger_has_a_reason() {
    let reasons = read("deny.toml");
    let reason = |name: &str| {
        reasons.lines().find_map(|line| line.strip_prefix(&format!("# {name}: ")).map(str::trim))
    };
    let declared = section(&read("Cargo.toml"), "workspace.dependencies");
    let strangers = declared.iter().map(|(name, _)| name).filter(|name| !name.starts_with(PREFIX));
    let without = strangers.filter(|name| reason(name).is_none_or(str::is_empty));
    report(
        without
            .map(|name| format!("deny.toml has no line `# {name}: …` that says what `{name}` is here for"))
            .collect(),
    );
}
