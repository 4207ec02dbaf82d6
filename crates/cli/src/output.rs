//! What a command shows: text for people, or one JSON value with `--json`. Results go to standard output, everything
//! else to standard error. Colours only on a terminal that wants them.

use anyhow::{Context, bail};
use serde::Serialize;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use tidings_domain::text::is_active;

/// How results are shown.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
    colour: bool,
}

/// Writes to standard output.
///
/// # Errors
/// It is closed: [`io::ErrorKind::BrokenPipe`], which `main` takes for a quiet end.
pub fn write(octets: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(octets)?;
    out.flush()?;
    Ok(())
}

/// Where something goes that a command writes out: a new file, or standard output. A file is for its owner alone, since what is
/// written there is about people, and it goes away again unless it was written to its end.
#[derive(Debug)]
pub struct Sink(Option<NewFile>);

#[derive(Debug)]
struct NewFile {
    file: File,
    path: PathBuf,
    is_whole: bool,
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.is_whole {
            // A part is worth nothing, and what broke it off is the thing to tell of.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Whether this stands for standard output.
pub fn is_standard(path: &Path) -> bool {
    path.as_os_str() == "-"
}

impl Sink {
    /// A new file, or standard output for `-` and where no file is named.
    ///
    /// # Errors
    /// There is such a file, or it cannot be made.
    pub fn open(to: Option<&Path>) -> anyhow::Result<Self> {
        match to.filter(|path| !is_standard(path)) {
            Some(path) => Self::new_file(path),
            None => Ok(Self(None)),
        }
    }

    /// A new file, for what is written beside a result, which has standard output.
    ///
    /// # Errors
    /// It is `-`, there is such a file, or it cannot be made.
    pub fn beside(path: &Path) -> anyhow::Result<Self> {
        if is_standard(path) {
            bail!(
                "standard output has the result of this command: name a file, or ./- for one that is called so"
            );
        }
        Self::new_file(path)
    }

    fn new_file(path: &Path) -> anyhow::Result<Self> {
        let mut options = File::options();
        // Never over another file.
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        match options.open(path) {
            Ok(file) => Ok(Self(Some(NewFile { file, path: path.to_owned(), is_whole: false }))),
            Err(why) if why.kind() == io::ErrorKind::AlreadyExists => bail!(
                "{} is there already, and nothing is written over a file: name a new one, or move that one away",
                path.display()
            ),
            Err(why) => Err(why).with_context(|| format!("{} cannot be made", path.display())),
        }
    }

    /// The next part of it.
    ///
    /// # Errors
    /// There is no room, or standard output is closed.
    pub fn write(&mut self, octets: &[u8]) -> anyhow::Result<()> {
        match &mut self.0 {
            None => write(octets),
            Some(new) => new
                .file
                .write_all(octets)
                .with_context(|| format!("{} cannot be written, and is removed again", new.path.display())),
        }
    }

    /// That was all.
    ///
    /// # Errors
    /// It does not get to the disk.
    pub fn finish(mut self) -> anyhow::Result<()> {
        let Some(new) = &mut self.0 else { return Ok(()) };
        new.file
            .sync_all()
            .with_context(|| format!("{} cannot be written, and is removed again", new.path.display()))?;
        new.is_whole = true;
        Ok(())
    }
}

/// A line on standard error. If nobody reads there, nobody misses it.
pub fn remark(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// A number with its word, or words, in the singular or the plural: `1 row`, `2 rows`.
pub fn numbered(count: impl TryInto<u64>, one: &str, more: &str) -> String {
    let count = count.try_into().unwrap_or(u64::MAX);
    format!("{count} {}", if count == 1 { one } else { more })
}

/// Octets for people.
pub fn size(octets: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let mut size = octets as f64;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{octets} B") } else { format!("{size:.1} {}", UNITS[unit]) }
}

/// What is shown in the place of a person's text.
pub fn hidden(text: &str) -> String {
    let count = text.chars().count();
    format!(
        "{} (--full shows {})",
        numbered(count, "character", "characters"),
        if count == 1 { "it" } else { "them" }
    )
}

/// A meaning that is shown in colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// It is well.
    Good,
    /// Somebody should look.
    Doubtful,
    /// It is wrong.
    Bad,
    /// Beside the point.
    Faint,
    /// The point.
    Strong,
}

impl Output {
    /// For standard output, as JSON or not.
    pub fn new(json: bool) -> Self {
        let colour = !json && io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { json, colour }
    }

    /// Whether JSON is wanted.
    pub const fn json(self) -> bool {
        self.json
    }

    /// Shows a result: the value as one line of JSON, or the text.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn show(self, value: &impl Serialize, text: impl FnOnce() -> String) -> anyhow::Result<()> {
        let line = if self.json { inert(&serde_json::to_string(value)?) } else { text() };
        write(format!("{}\n", line.trim_end_matches('\n')).as_bytes())
    }

    /// The text in its tone.
    pub fn tone(self, tone: Tone, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Good => "32",
            Tone::Doubtful => "33",
            Tone::Bad => "31",
            Tone::Faint => "2",
            Tone::Strong => "1",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// The status of a message in its tone.
    pub fn status(self, status: tidings_domain::message::Status) -> String {
        use tidings_domain::message::Status;
        let tone = match status {
            Status::Delivered => Tone::Good,
            Status::Undelivered | Status::Failed | Status::Rejected | Status::Expired => Tone::Bad,
            Status::Unconfirmed => Tone::Doubtful,
            Status::Scheduled | Status::Queued | Status::Sending | Status::Sent | Status::Canceled => {
                Tone::Strong
            }
        };
        self.tone(tone, status.as_str())
    }
}

/// The same JSON, with nothing in it that acts on a terminal: what acts can only stand in strings, and is escaped there.
fn inert(json: &str) -> String {
    let mut line = String::with_capacity(json.len());
    for character in json.chars() {
        if is_active(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(line, "\\u{unit:04x}");
            }
        } else {
            line.push(character);
        }
    }
    line
}

/// Rows in columns.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|heading| (*heading).to_owned()).collect()] }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    /// The text, or `nothing` if there is no row.
    pub fn print(&self, output: Output, nothing: &str) -> String {
        if self.rows.len() == 1 {
            return nothing.to_owned();
        }
        let columns = self.rows[0].len();
        let widths: Vec<usize> =
            (0..columns).map(|n| self.rows.iter().map(|row| width(&row[n])).max().unwrap_or(0)).collect();
        let mut text = String::new();
        for (n, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for (cell, wanted) in row.iter().zip(&widths) {
                let _ = write!(line, "{cell}{}  ", " ".repeat(wanted - width(cell)));
            }
            let line = line.trim_end();
            let line = if n == 0 { output.tone(Tone::Faint, line) } else { line.to_owned() };
            let _ = writeln!(text, "{line}");
        }
        text
    }
}

/// Characters that are seen: escape sequences for colours are not.
fn width(text: &str) -> usize {
    let mut hidden = false;
    text.chars()
        .filter(|&character| match (hidden, character) {
            (false, '\x1b') => {
                hidden = true;
                false
            }
            (true, 'm') => {
                hidden = false;
                false
            }
            (hidden, _) => !hidden,
        })
        .count()
}

/// A time for people, to the second; `-` if there is none.
pub fn when(at: Option<tidings_domain::time::Timestamp>) -> String {
    at.map_or_else(|| "-".to_owned(), |at| at.to_string().replace('T', " ").chars().take(19).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_does_nothing_to_a_terminal_and_means_the_same() {
        let value = serde_json::json!({ "text": "\u{1B}[2J\u{9B}31m \u{202E}é\u{E0068} שלום" });
        let line = inert(&value.to_string());
        assert_eq!(line, r#"{"text":"\u001b[2J\u009b31m \u202eé\udb40\udc68 שלום"}"#);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).expect("it is JSON"), value);
    }

    #[test]
    fn a_new_file_is_its_owners_and_whole_or_not_there() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("new.csv");
        let mut sink = Sink::open(Some(&path)).expect("it is new");
        sink.write(b"half").expect("there is room");
        drop(sink);
        assert!(!path.exists());

        let mut sink = Sink::beside(&path).expect("it is new again");
        sink.write(b"all of it").expect("there is room");
        sink.finish().expect("there is room");
        assert_eq!(std::fs::read(&path).expect("it is there"), b"all of it");
        assert_eq!(std::fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o600);
        let why = Sink::open(Some(&path)).expect_err("it is there").to_string();
        assert!(why.contains("is there already, and nothing is written over a file"), "{why}");
        assert_eq!(std::fs::read(&path).expect("it stays"), b"all of it");
        assert!(Sink::open(Some(&directory.path().join("no/such.csv"))).is_err());

        assert!(matches!(Sink::open(Some(Path::new("-"))), Ok(Sink(None))));
        assert!(Sink::beside(Path::new("-")).is_err());
    }

    #[test]
    fn columns_line_up_whatever_the_colours() {
        let output = Output { json: false, colour: true };
        let mut table = Table::new(&["a", "b"]);
        table.row([output.tone(Tone::Good, "delivered"), "1".to_owned()]);
        table.row(["é".to_owned(), "2".to_owned()]);
        assert_eq!(
            table.print(output, ""),
            "\x1b[2ma          b\x1b[0m\n\x1b[32mdelivered\x1b[0m  1\né          2\n"
        );
        assert_eq!(Table::new(&["a"]).print(output, "none"), "none");
    }
}
