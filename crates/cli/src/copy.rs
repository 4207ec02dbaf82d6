//! `tidings copy`: moves a whole installation from a data directory into a PostgreSQL database, or back.
//!
//! Whoever moves stops the server first; this takes both places for itself, so that none is started meanwhile.

use crate::directory::{self, Served};
use crate::home::Home;
use crate::operator::{self, Misconfigured};
use crate::output::{Output, Table, Tone};
use anyhow::{Context, bail};
use clap::Args;
use serde_json::json;
use std::io::{self, IsTerminal as _, Write as _};
use std::ops::ControlFlow;
use std::path::Path;
use tidings_domain::octets::hexadecimal;
use tidings_engine::clock::Stopwatch;
use tidings_store::copy::{self, Phase, Place, Progress, Report, Sum};
use tidings_store::sqlite;

/// What is copied where.
#[derive(Debug, Args)]
pub struct How {
    /// What is copied: sqlite:DIRECTORY, postgres://…, or env:NAME for a variable that holds one of them
    #[arg(long, value_name = "STORE")]
    from: String,
    /// Where to: the same. It is made, and must be empty or hold a copy of the same that was broken off
    #[arg(long, value_name = "STORE")]
    to: String,
    /// Copy nothing: read both, and say whether they hold the same
    #[arg(long)]
    verify_only: bool,
}

/// Copies, or only compares. Gives whether both hold the same.
///
/// # Errors
/// A sentence that says why not.
pub async fn run(how: How, output: Output) -> anyhow::Result<bool> {
    let (from, to) = (named("--from", &how.from)?, named("--to", &how.to)?);
    match (&from, &to) {
        (Home::Directory(_), Home::Database(_)) | (Home::Database(_), Home::Directory(_)) => {}
        (Home::Directory(_), Home::Directory(_)) => {
            bail!("both are data directories: use `tidings backup` and `tidings restore`")
        }
        (Home::Database(_), Home::Database(_)) => {
            bail!("both are PostgreSQL databases: use its own tools, such as pg_dump and pg_restore")
        }
    }
    if !from.may_hold_a_store() {
        bail!("there is no {} in {from}: name the directory in which it is", sqlite::FILE_NAME);
    }
    if !how.verify_only {
        to.suit()?;
    } else if !to.may_hold_a_store() {
        bail!("there is no {} in {to}: name the directory in which it is", sqlite::FILE_NAME);
    }
    let (source, target) = (taken(&from)?, taken(&to)?);
    let stopwatch = operator::clock_of_command().stopwatch();
    let copying = tokio::task::spawn_blocking(move || {
        let mut bar = Bar::new(stopwatch);
        let mut told = |progress| {
            bar.show(progress);
            ControlFlow::Continue(())
        };
        let report = match how.verify_only {
            true => copy::verify(&source.0, &target.0, &mut told),
            false => copy::copy(&source.0, &target.0, &mut told),
        };
        bar.clear();
        report
    });
    let report = copying.await?.context("it is not copied")?;
    show(&report, &from, &to, how.verify_only, stopwatch, output)?;
    Ok(report.agrees())
}

/// Where somebody means.
fn named(option: &str, text: &str) -> anyhow::Result<Home> {
    let wrong = |sentence: String| {
        anyhow::Error::new(Misconfigured(vec![crate::config::key::Problem {
            place: option.to_owned(),
            sentence,
        }]))
    };
    let found = match text.strip_prefix("env:") {
        Some(name) => match operator::variables().remove(name) {
            Some(value) => value,
            None => return Err(wrong(format!("names the variable {name}, which is not set; set it"))),
        },
        None => text.to_owned(),
    };
    match found.strip_prefix("sqlite:") {
        Some(directory) if !directory.is_empty() => Ok(Home::Directory(directory.into())),
        None if crate::config::database::is_address(&found) => Home::named(Path::new(&found)),
        // Not with what was written: it may be an address with a password.
        _ => Err(wrong(
            "must be sqlite:DIRECTORY or an address such as postgres://user@host/database".to_owned(),
        )),
    }
}

/// The place, and what keeps others from serving it: a database is taken when it is opened.
fn taken(home: &Home) -> anyhow::Result<(Place, Option<Served>)> {
    Ok(match home {
        Home::Directory(path) => {
            (Place::File(sqlite::Options::in_directory(path)), Some(directory::serve(path)?))
        }
        Home::Database(options) => (Place::Database(options.clone()), None),
    })
}

fn show(
    report: &Report,
    from: &Home,
    to: &Home,
    verified_only: bool,
    stopwatch: Stopwatch,
    output: Output,
) -> anyhow::Result<()> {
    let side = |sum: &Sum| json!({ "rows": sum.rows, "sha256": hexadecimal(&sum.checksum) });
    let tables: Vec<_> = report
        .tables
        .iter()
        .map(|table| {
            json!({
                "table": table.name,
                "from": side(&table.from),
                "to": side(&table.to),
                "same": table.from == table.to,
            })
        })
        .collect();
    let value = json!({
        "from": from.to_string(),
        "to": to.to_string(),
        "copied": report.copied,
        "found": report.found,
        "same": report.agrees(),
        "seconds": (stopwatch.elapsed_s() * 10.0).round() / 10.0,
        "tables": tables,
    });
    output.show(&value, || {
        let mut table = Table::new(&["table", "rows", "rows there", "sha256", ""]);
        for one in &report.tables {
            let verdict = match one.from == one.to {
                true => output.tone(Tone::Good, "same"),
                false => output.tone(Tone::Bad, "DIFFERENT"),
            };
            table.row([
                one.name.to_owned(),
                grouped(one.from.rows),
                grouped(one.to.rows),
                hexadecimal(&one.from.checksum)[..16].to_owned(),
                verdict,
            ]);
        }
        let end = match (report.agrees(), verified_only) {
            (true, true) => format!("{from} and {to} hold the same."),
            (true, false) => format!(
                "{} rows copied in {:.0} s, and both hold the same. {to} can be served; do not serve {from} any more: \
                 what both of them hold would be sent twice.",
                grouped(report.copied),
                stopwatch.elapsed_s()
            ),
            (false, true) => format!("{from} and {to} do not hold the same."),
            (false, false) => format!(
                "What was copied is not what is there: {to} is kept from being served. Empty it and begin again."
            ),
        };
        format!("{}{end}", table.print(output, ""))
    })
}

/// A number that can be read.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3 + 1);
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How far it is, on standard error: a bar on a terminal, a line every few seconds elsewhere.
struct Bar {
    stopwatch: Stopwatch,
    is_terminal: bool,
    shown_ms: Option<u64>,
    /// The phase, when it began, and how many rows had been done then.
    began: Option<(Phase, u64, u64)>,
}

impl Bar {
    /// How often something is shown: ms.
    const ON_TERMINAL_MS: u64 = 200;
    const ELSEWHERE_MS: u64 = 5_000;
    const WIDTH: usize = 24;

    fn new(stopwatch: Stopwatch) -> Self {
        Self { stopwatch, is_terminal: io::stderr().is_terminal(), shown_ms: None, began: None }
    }

    fn show(&mut self, progress: Progress) {
        let now_ms = self.stopwatch.elapsed_ms();
        let (began_ms, before) = match self.began {
            Some((phase, began_ms, before)) if phase == progress.phase => (began_ms, before),
            _ => {
                self.began = Some((progress.phase, now_ms, progress.rows));
                (now_ms, progress.rows)
            }
        };
        let pause_ms = if self.is_terminal { Self::ON_TERMINAL_MS } else { Self::ELSEWHERE_MS };
        if self.shown_ms.is_some_and(|shown_ms| now_ms < shown_ms + pause_ms) {
            return;
        }
        self.shown_ms = Some(now_ms);
        let percent = (progress.rows * 100).checked_div(progress.of).unwrap_or(100).min(100);
        let rate = ((progress.rows - before) * 1_000).checked_div(now_ms - began_ms).unwrap_or(0);
        let what = match progress.phase {
            Phase::Copying => "copying",
            Phase::Comparing => "comparing",
        };
        let line = format!(
            "{percent:>3} %  {} of {} rows · {what} {} · {} rows/s",
            grouped(progress.rows),
            grouped(progress.of),
            progress.table,
            grouped(rate)
        );
        let mut err = io::stderr().lock();
        // If nobody reads there, nobody misses it.
        drop(if self.is_terminal {
            let full = Self::WIDTH * percent as usize / 100;
            write!(err, "\r\x1b[K[{}{}] {line}", "#".repeat(full), "·".repeat(Self::WIDTH - full))
                .and_then(|()| err.flush())
        } else {
            writeln!(err, "{line}")
        });
    }

    /// Takes the bar away.
    fn clear(&self) {
        if self.is_terminal {
            drop(write!(io::stderr().lock(), "\r\x1b[K"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_named_by_its_kind_and_a_wrong_name_is_not_repeated() {
        assert!(
            matches!(named("--from", "sqlite:/var/lib/tidings").unwrap(), Home::Directory(path) if path == Path::new("/var/lib/tidings"))
        );
        assert!(matches!(named("--to", "postgres://db/tidings").unwrap(), Home::Database(_)));
        for wrong in ["/var/lib/tidings", "sqlite:", "mysql://a:hush@b/c", "env:NOBODY_SETS_THIS"] {
            let refused = named("--to", wrong).unwrap_err().to_string();
            assert!(refused.contains("--to") && !refused.contains("hush"), "{refused}");
        }
    }

    #[test]
    fn long_numbers_can_be_read() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678")] {
            assert_eq!(grouped(number), text);
        }
    }
}
