//! What commands have in common that read a table: how far it is, what was found, and where the rest goes.

use crate::output::{Output, numbered, remark, write};
use anyhow::Context;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::path::Path;
use tidings_domain::address::Country;
use tidings_domain::import::Report;
use tidings_domain::text::display;

/// Octets of a file that are read at once.
pub const STEP: usize = 256 * 1024;

/// Reads where numbers without a country code are from.
pub fn country(text: &str) -> Result<Country, String> {
    Country::parse(text).map_err(|why| why.to_string())
}

/// A line that shows how far something is, where somebody sees it.
pub struct Bar {
    is_shown: bool,
    what: &'static str,
    last: u64,
}

impl Bar {
    /// For what is done, such as "reading".
    pub fn new(what: &'static str, output: Output) -> Self {
        Self { is_shown: !output.json() && std::io::stderr().is_terminal(), what, last: u64::MAX }
    }

    /// So much of all is done, that many rows.
    pub fn at(&mut self, done: u64, of: u64, rows: u64) {
        let percent = (done * 100).checked_div(of).unwrap_or(100).min(100);
        if !self.is_shown || percent == self.last {
            return;
        }
        self.last = percent;
        let full = (percent / 4) as usize;
        let bar = format!("{}{}", "#".repeat(full), ".".repeat(25 - full));
        let _ = write!(std::io::stderr(), "\r{} [{bar}] {percent:3} %  {rows} rows", self.what);
    }

    /// It is over.
    pub fn end(self) {
        if self.is_shown && self.last != u64::MAX {
            remark("");
        }
    }
}

/// What was found in a table, for people: lines.
pub fn found(report: &Report) -> String {
    let mut text = format!(
        "{}: {} good, {} mended, {}, {} refused\n",
        numbered(report.rows, "row", "rows"),
        report.good,
        report.mended,
        numbered(report.duplicates, "duplicate", "duplicates"),
        report.refused
    );
    let mut counts = |what: &str, counts: &BTreeMap<String, u64>| {
        let mut counts: Vec<_> = counts.iter().collect();
        counts.sort_by_key(|(word, count)| (std::cmp::Reverse(**count), (*word).clone()));
        let all: Vec<_> = counts.iter().map(|(word, count)| format!("{} {count}", display(word))).collect();
        if !all.is_empty() {
            let _ = writeln!(text, "{what}: {}", all.join(", "));
        }
    };
    counts("mended", &report.mends);
    counts("refused", &report.reasons);
    counts("countries", &report.countries);
    if !report.ignored.is_empty() {
        let _ = writeln!(text, "columns that are passed over: {}", display(&report.ignored.join(", ")));
    }
    text
}

/// Where a table goes.
pub struct Sink(Option<std::fs::File>);

impl Sink {
    /// A new file, or standard output.
    ///
    /// # Errors
    /// There is such a file, or it cannot be made.
    pub fn open(to: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = to else { return Ok(Self(None)) };
        // Never over another file.
        let file = std::fs::File::options().write(true).create_new(true).open(path);
        Ok(Self(Some(file.with_context(|| format!("{} cannot be made", path.display()))?)))
    }

    /// The next part of it.
    ///
    /// # Errors
    /// There is no room, or standard output is closed.
    pub fn write(&mut self, text: &str) -> anyhow::Result<()> {
        match &mut self.0 {
            Some(file) => file.write_all(text.as_bytes()).map_err(Into::into),
            None => write(text.as_bytes()),
        }
    }
}
