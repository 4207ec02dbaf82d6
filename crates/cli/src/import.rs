//! What commands have in common that read a table: which one, how far it is, what was found, and where the rest goes.

use crate::output::{Output, Sink, numbered, remark};
use anyhow::{Context, bail};
use clap::Args;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{IsTerminal, Read, Write as _};
use std::path::{Path, PathBuf};
use tidings_domain::account::Environment;
use tidings_domain::address::Country;
use tidings_domain::contact::line;
use tidings_domain::table::{Options, Reader, Refused, Report, Subject};
use tidings_domain::text::display;

/// Octets of a file that are read at once.
pub const STEP: usize = 256 * 1024;
/// Characters of a source.
const SOURCE_MAX: usize = 100;

/// A table that is judged to its end before anything is added of it.
#[derive(Debug, Args)]
pub struct Table {
    /// The file
    file: PathBuf,
    /// Where it comes from, for the record [default: the name of the file]
    #[arg(long, value_name = "NAME", value_parser = source)]
    source: Option<String>,
    /// Say what is in the table, and add nothing
    #[arg(long)]
    pub dry_run: bool,
    /// The heading of the column with the phone numbers; found by usual names if not given
    #[arg(long, value_name = "HEADING")]
    number_column: Option<String>,
    /// Where numbers without a country code are from: two letters of ISO 3166
    #[arg(long, value_name = "COUNTRY", value_parser = country)]
    country: Option<Country>,
    /// Write the rows that are not added into this new file, as a table (CSV) with why
    #[arg(long, value_name = "FILE")]
    refused: Option<PathBuf>,
}

fn source(text: &str) -> Result<String, String> {
    line(text, SOURCE_MAX).map_err(|why| why.to_string())
}

impl Table {
    /// How it is read.
    pub fn options(&self, environment: Environment) -> Options {
        let number_column = self.number_column.clone();
        Options { environment, default_country: self.country, number_column }
    }

    /// Where it comes from.
    pub fn source(&self) -> String {
        self.source.clone().unwrap_or_else(|| {
            let name =
                self.file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
            let name: String = name.chars().filter(|c| !c.is_control()).take(SOURCE_MAX).collect();
            if name.trim().is_empty() { "file".to_owned() } else { name }
        })
    }

    /// Where its rows go that are not added, if somebody wants to see them.
    ///
    /// # Errors
    /// There is such a file, or it cannot be made.
    pub fn refused(&self) -> anyhow::Result<Option<Sink>> {
        self.refused.as_deref().map(Sink::beside).transpose()
    }

    /// Once all was said: whoever runs this without reading it must not believe that something was added.
    ///
    /// # Errors
    /// No row can be taken over.
    pub fn ensure_any(&self, report: &Report) -> anyhow::Result<()> {
        ensure_any(&self.file, report)
    }

    /// What to say of rows that nobody gets to see.
    pub fn hint(&self, report: &Report) -> &'static str {
        match self.refused {
            None if report.refused > 0 => "see the rows that are refused with --refused FILE\n",
            None | Some(_) => "",
        }
    }

    /// Reads it to its end with a bar that says what is done: a window at a time is looked at and forgotten.
    ///
    /// # Errors
    /// It cannot be read or is no table, what is refused cannot be written, or what looking at a window says.
    pub async fn read<S: Subject>(
        &self,
        mut reader: Reader<S>,
        (what, output): (&'static str, Output),
        mut refused: Option<Sink>,
        mut look: impl AsyncFnMut(&S, Vec<S::Row>) -> anyhow::Result<()>,
    ) -> anyhow::Result<Report> {
        let unread = || format!("{} cannot be read", self.file.display());
        let mut file = File::open(&self.file).with_context(unread)?;
        let size = file.metadata().map_or(0, |about| about.len());
        let (mut octets, mut has_headings) = (vec![0; STEP], false);
        let mut bar = Bar::new(what, output);
        loop {
            let read = file.read(&mut octets).with_context(unread)?;
            let fed = if read == 0 { reader.end() } else { reader.feed(&octets[..read]) };
            if let Err(why) = fed {
                // Headings are a stranger's words.
                bail!("{}", display(&why.to_string()));
            }
            if read == 0 || reader.is_full() {
                let window = reader.take();
                if let Some(sink) = &mut refused {
                    let mut text = String::new();
                    if !has_headings {
                        Refused::write_headings(&mut text, reader.headings());
                        has_headings = true;
                    }
                    window.refused.iter().for_each(|row| row.write(&mut text));
                    sink.write(text.as_bytes())?;
                }
                look(reader.subject(), window.rows).await?;
            }
            bar.at(reader.report().octets, size, reader.report().rows);
            if read == 0 {
                break;
            }
        }
        bar.end();
        refused.map_or(Ok(()), Sink::finish)?;
        Ok(reader.report().clone())
    }
}

/// Once all was said of a table: whoever runs this without reading it must not believe that something was taken over.
///
/// # Errors
/// No row can be.
pub fn ensure_any(file: &Path, report: &Report) -> anyhow::Result<()> {
    match (report.rows, report.accepted()) {
        (0, _) => bail!("{} has no row below its headings: nothing can be taken over", file.display()),
        (_, 0) => bail!("no row of {} can be taken over: mend it, and run this again", file.display()),
        _ => Ok(()),
    }
}

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
