//! The repository as text, for the tests about the repository itself.
//!
//! The tests beside this hold what no compiler holds: which crate may depend on which, that documents name what is
//! there and nothing else, which words stay out. They read files and `cargo metadata`; they use no network, build
//! nothing, and change nothing.

use std::path::{Path, PathBuf};

/// Folders that hold no source of ours.
const NOT_OURS: [&str; 4] = ["target", ".git", "node_modules", "book"];

/// A file of the repository.
#[derive(Debug, Clone)]
pub struct File {
    /// Its path from the root, with `/`.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// The root of the repository.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("this crate lies in crates/checks").to_owned()
}

/// Whether this path from the root is there.
pub fn exists(path: &str) -> bool {
    root().join(path).exists()
}

/// The text of one file.
///
/// # Panics
/// If it is not there or no text: then the repository lacks something that a test is about.
pub fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path))
        .unwrap_or_else(|error| panic!("{path} cannot be read: {error}"))
}

/// Every text file under a folder whose name ends so, sorted by path. Nothing if there is no such folder.
pub fn files(under: &str, ending: &str) -> Vec<File> {
    let mut paths = Vec::new();
    collect(&root().join(under), &mut paths);
    let root = root();
    let mut found: Vec<File> = paths
        .into_iter()
        .filter_map(|path| {
            let relative = path.strip_prefix(&root).expect("it was found under the root");
            let relative = relative.to_string_lossy().replace('\\', "/");
            if !relative.ends_with(ending) {
                return None;
            }
            // What is no text (a picture, a database) says nothing that could be checked.
            std::fs::read_to_string(&path).ok().map(|text| File { path: relative, text })
        })
        .collect();
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.filter_map(Result::ok) {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if NOT_OURS.contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            collect(&path, paths);
        } else {
            paths.push(path);
        }
    }
}

/// The names in a folder, sorted.
pub fn names(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(root().join(folder)).into_iter().flatten().filter_map(Result::ok);
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The lines of the fenced block with this word after its fence.
///
/// # Panics
/// If there is none.
pub fn block(text: &str, word: &str) -> Vec<String> {
    let fence = format!("```{word}");
    let mut lines = text.lines().skip_while(|line| line.trim() != fence).skip(1).peekable();
    assert!(lines.peek().is_some(), "there is no block that begins with {fence}");
    lines.take_while(|line| line.trim() != "```").map(str::to_owned).collect()
}

/// The lines of Rust source that belong to the program: without comments, and without the tests at the end of the
/// file. With their numbers, from 1.
pub fn program_lines(text: &str) -> Vec<(usize, &str)> {
    let lines = text.lines().enumerate().map(|(n, line)| (n + 1, line));
    lines
        .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .collect()
}

/// Whether this file holds only tests, examples or benchmarks.
pub fn is_test(path: &str) -> bool {
    ["/tests/", "/benches/", "/examples/"].iter().any(|folder| path.contains(folder))
        || path.ends_with("/tests.rs")
}

/// Fails with everything that is wrong at once, one sentence a line.
///
/// # Panics
/// If there is anything.
pub fn report(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n\n{}\n", complaints.join("\n"));
}
