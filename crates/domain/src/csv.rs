//! Tables of text as spreadsheets and databases write them (RFC 4180), read in pieces and written inert.
//!
//! Files come from many hands, so reading is patient where only one meaning is possible, and says no, with the line, where
//! there are two. The alphabet is UTF-8, or UTF-16 if a byte order mark says so; a cell that is not UTF-8 is read as
//! Windows-1252, cell by cell, because files are pasted together. Cells are set apart by comma, semicolon or tab, whichever
//! the first line has most of. Lines end with LF, CR LF or CR.
//!
//! **Broken quotes do not swallow the rest.** A quoted cell that is never closed, or is followed by something else than the
//! end of its cell, makes its line a broken row, and reading goes on with the next line: what looked like a cell of many
//! lines is read again. What a quoted cell may have is bounded, so this ends.
//!
//! Written cells cannot act: what a spreadsheet would take for a formula gets an apostrophe before it, as OWASP's page
//! on CSV injection says, and [`Records`] readers take that away again with [`plain`]. Which columns mean what is not known
//! here.

use std::borrow::Cow;
use std::ops::Range;

/// Octets of one row. Also bounds what is read again after a broken quote.
pub const ROW_MAX: usize = 64 * 1024;
/// Lines of one row: a cell may be an address or a note, not a document.
const LINES_MAX: u32 = 100;
/// What is shown of a row that cannot be read: characters.
const BROKEN_SHOWN: usize = 1_000;

// ── alphabets ───────────────────────────────────────────────────────────────────────────────────────────────

/// Turns the octets of a file into those of text whose delimiters and line ends are ASCII.
#[derive(Debug, Default)]
enum Alphabet {
    /// Nothing is known yet.
    #[default]
    Unknown,
    /// UTF-8, or an alphabet of one octet a character.
    Octets,
    /// UTF-16, with the higher octet first or last.
    Utf16 { is_big: bool },
}

/// Windows-1252 where it differs from the first 256 characters of Unicode: 0x80 to 0x9F. What is not assigned there is the
/// replacement character.
const WINDOWS: [char; 32] = [
    '€', '\u{FFFD}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{FFFD}', 'Ž', '\u{FFFD}',
    '\u{FFFD}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{FFFD}', 'ž', 'Ÿ',
];

/// The text of octets, and whether they were not UTF-8.
fn text_of(octets: &[u8]) -> (Cow<'_, str>, bool) {
    match std::str::from_utf8(octets) {
        Ok(text) => (Cow::Borrowed(text), false),
        Err(_) => {
            let text = octets.iter().map(|octet| match octet {
                0x80..=0x9F => WINDOWS[usize::from(octet - 0x80)],
                other => char::from(*other),
            });
            (Cow::Owned(text.collect()), true)
        }
    }
}

// ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The line on which it begins, from 1.
    pub line: u64,
    /// What it is.
    pub body: Body,
    /// Its octets.
    pub octets: usize,
}

/// What a row is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Its cells.
    Cells {
        /// The texts.
        cells: Vec<String>,
        /// Whether one of them was not UTF-8.
        is_windows: bool,
    },
    /// It cannot be read.
    Broken {
        /// Why not.
        why: Broken,
        /// How it begins.
        text: String,
    },
}

/// Why a row cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Broken {
    /// A quoted cell does not end, or something stands behind its end.
    Quotes,
    /// It has more than [`ROW_MAX`] octets.
    TooLong,
}

/// Reads the rows of a file that comes in pieces.
#[derive(Debug)]
pub struct Records {
    alphabet: Alphabet,
    /// Octets of a character of UTF-16 that is not whole yet.
    half: Vec<u8>,
    text: Vec<u8>,
    /// Where in `text` the next row begins.
    at: usize,
    line: u64,
    delimiter: Option<u8>,
    /// The rest of the line belongs to a row that was given up.
    is_skipping: bool,
    is_ended: bool,
    cells: Vec<Cell>,
}

#[derive(Debug, Clone)]
struct Cell {
    octets: Range<usize>,
    /// Whether it has doubled quotes in it.
    has_quotes: bool,
}

/// How far the look for a row came.
enum Look {
    /// It ends here, and behind its line end.
    Row {
        next: usize,
        lines: u32,
    },
    /// More octets are needed.
    More,
    Broken(Broken),
}

impl Default for Records {
    fn default() -> Self {
        Self::new()
    }
}

impl Records {
    /// Before the first octet.
    pub const fn new() -> Self {
        Self {
            alphabet: Alphabet::Unknown,
            half: Vec::new(),
            text: Vec::new(),
            at: 0,
            line: 1,
            delimiter: None,
            is_skipping: false,
            is_ended: false,
            cells: Vec::new(),
        }
    }

    /// Takes the next octets of the file. The rows in them are to be taken with [`Records::take_next`] before more are given.
    pub fn feed(&mut self, octets: &[u8]) {
        self.text.drain(..self.at);
        self.at = 0;
        match self.alphabet {
            Alphabet::Octets => self.text.extend_from_slice(octets),
            Alphabet::Utf16 { is_big } => self.feed_utf16(octets, is_big),
            Alphabet::Unknown => {
                self.half.extend_from_slice(octets);
                if self.half.len() >= 3 {
                    self.begin();
                }
            }
        }
    }

    /// Nothing more comes.
    pub fn end(&mut self) {
        if matches!(self.alphabet, Alphabet::Unknown) {
            self.begin();
        }
        if !self.half.is_empty() {
            // Half a character.
            self.half.clear();
            self.text.extend_from_slice("\u{FFFD}".as_bytes());
        }
        self.is_ended = true;
    }

    /// Sees which alphabet it is by the mark at the beginning.
    fn begin(&mut self) {
        let first = std::mem::take(&mut self.half);
        match first.as_slice() {
            [0xEF, 0xBB, 0xBF, rest @ ..] => {
                self.alphabet = Alphabet::Octets;
                self.text.extend_from_slice(rest);
            }
            [high, low, rest @ ..] if matches!((high, low), (0xFF, 0xFE) | (0xFE, 0xFF)) => {
                let is_big = *high == 0xFE;
                self.alphabet = Alphabet::Utf16 { is_big };
                self.feed_utf16(rest, is_big);
            }
            all => {
                self.alphabet = Alphabet::Octets;
                self.text.extend_from_slice(all);
            }
        }
    }

    fn feed_utf16(&mut self, octets: &[u8], is_big: bool) {
        let mut all = std::mem::take(&mut self.half);
        all.extend_from_slice(octets);
        let unit = |pair: &[u8]| {
            let pair = [pair[0], pair[1]];
            if is_big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
        };
        let mut whole = all.len() & !1;
        // The first half of a pair waits for the second.
        if whole >= 2 && (0xD800..0xDC00).contains(&unit(&all[whole - 2..])) {
            whole -= 2;
        }
        let units = all[..whole].chunks_exact(2).map(unit);
        let mut buffer = [0; 4];
        for character in char::decode_utf16(units) {
            let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
            self.text.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
        }
        self.half = all.split_off(whole);
    }

    /// The next row; `None` if more octets are needed, or after [`Records::end`] if there is none. Empty lines are passed
    /// over.
    pub fn take_next(&mut self) -> Option<Record> {
        loop {
            if self.is_skipping && !self.skip() {
                return None;
            }
            if self.at == self.text.len() {
                return None;
            }
            if self.delimiter.is_none() {
                self.delimiter = Some(self.find_delimiter()?);
            }
            let begin = self.at;
            match self.look() {
                Look::More => return None,
                Look::Row { next, lines } => {
                    let line = self.line;
                    self.at = next;
                    self.line += u64::from(lines);
                    let is_empty = matches!(self.cells.as_slice(), [one] if one.octets.is_empty() && self.text.get(begin) != Some(&b'"'));
                    if !is_empty {
                        return Some(Record { line, body: self.read(), octets: next - begin });
                    }
                }
                Look::Broken(why) => {
                    let rest = &self.text[begin..];
                    let end = line_end(rest, self.is_ended);
                    if end.is_none() && rest.len() <= ROW_MAX {
                        return None;
                    }
                    let line = self.line;
                    let text = beginning(&rest[..end.map_or(ROW_MAX, |(end, _)| end)]);
                    match end {
                        Some((_, next)) => {
                            self.at = begin + next;
                            self.line += 1;
                        }
                        None => {
                            self.at = self.text.len();
                            self.is_skipping = true;
                        }
                    }
                    let octets = self.at - begin;
                    return Some(Record { line, body: Body::Broken { why, text }, octets });
                }
            }
        }
    }

    /// Passes over the rest of a line; `false` if its end has not come.
    fn skip(&mut self) -> bool {
        match line_end(&self.text[self.at..], self.is_ended) {
            Some((_, next)) => {
                self.at += next;
                self.line += 1;
                self.is_skipping = false;
                true
            }
            None => {
                // A CR at the very end may have its LF in the next octets.
                let keep = usize::from(self.text.last() == Some(&b'\r') && !self.is_ended);
                self.at = self.text.len() - keep;
                false
            }
        }
    }

    /// What sets cells apart, by the first line; `None` if that has not come whole.
    fn find_delimiter(&self) -> Option<u8> {
        let rest = &self.text[self.at..];
        let (mut counts, mut is_quoted) = ([0_u32; 3], false);
        const KNOWN: [u8; 3] = [b',', b';', b'\t'];
        let mut is_whole = self.is_ended || rest.len() > ROW_MAX;
        for octet in rest.iter().take(ROW_MAX) {
            match octet {
                b'"' => is_quoted = !is_quoted,
                b'\n' | b'\r' if !is_quoted => {
                    is_whole = true;
                    break;
                }
                other if !is_quoted => {
                    if let Some(n) = KNOWN.iter().position(|known| known == other) {
                        counts[n] += 1;
                    }
                }
                _ => {}
            }
        }
        let most = (0..KNOWN.len()).rev().max_by_key(|n| counts[*n]).unwrap_or(0);
        is_whole.then_some(KNOWN[most])
    }

    /// Looks for the end of the row that begins here, and notes its cells.
    fn look(&mut self) -> Look {
        enum State {
            CellBegins,
            Plain,
            Quoted,
            /// Behind a quote in a quoted cell: its end, or the first half of a doubled one.
            Quote,
        }
        let (text, delimiter) = (&self.text, self.delimiter.unwrap_or(b','));
        self.cells.clear();
        let (mut state, mut cell, mut has_quotes, mut lines) = (State::CellBegins, self.at, false, 0_u32);
        let mut i = self.at;
        loop {
            if i - self.at > ROW_MAX {
                return Look::Broken(if lines > 0 { Broken::Quotes } else { Broken::TooLong });
            }
            let Some(&octet) = text.get(i) else {
                if !self.is_ended {
                    return Look::More;
                }
                let end = match state {
                    State::CellBegins | State::Plain => i,
                    State::Quote => i - 1,
                    State::Quoted => return Look::Broken(Broken::Quotes),
                };
                self.cells.push(Cell { octets: cell..end, has_quotes });
                return Look::Row { next: i, lines: lines + 1 };
            };
            match state {
                State::CellBegins if octet == b'"' => {
                    (state, cell, has_quotes) = (State::Quoted, i + 1, false);
                }
                State::Quoted => match octet {
                    b'"' => state = State::Quote,
                    b'\n' => lines += 1,
                    b'\r' if text.get(i + 1).is_some_and(|next| *next != b'\n') => lines += 1,
                    _ => {}
                },
                State::Quote if octet == b'"' => (state, has_quotes) = (State::Quoted, true),
                State::CellBegins | State::Plain | State::Quote => {
                    let end = if matches!(state, State::Quote) { i - 1 } else { i };
                    if octet == delimiter {
                        self.cells.push(Cell { octets: cell..end, has_quotes });
                        (state, cell, has_quotes) = (State::CellBegins, i + 1, false);
                    } else if octet == b'\n' || octet == b'\r' {
                        let next = match (octet, text.get(i + 1)) {
                            (b'\r', None) if !self.is_ended => return Look::More,
                            (b'\r', Some(b'\n')) => i + 2,
                            _ => i + 1,
                        };
                        self.cells.push(Cell { octets: cell..end, has_quotes });
                        return Look::Row { next, lines: lines + 1 };
                    } else if matches!(state, State::Quote) {
                        return Look::Broken(Broken::Quotes);
                    } else {
                        state = State::Plain;
                    }
                }
            }
            if lines > LINES_MAX {
                return Look::Broken(Broken::Quotes);
            }
            i += 1;
        }
    }

    /// The row whose cells were noted.
    fn read(&self) -> Body {
        let mut is_windows = false;
        let mut cells = Vec::with_capacity(self.cells.len());
        for cell in &self.cells {
            let (text, not_utf8) = text_of(&self.text[cell.octets.clone()]);
            is_windows |= not_utf8;
            cells.push(if cell.has_quotes { text.replace("\"\"", "\"") } else { text.into_owned() });
        }
        Body::Cells { cells, is_windows }
    }
}

/// Where the first line ends, and where the next begins.
fn line_end(octets: &[u8], is_ended: bool) -> Option<(usize, usize)> {
    let end = octets.iter().position(|octet| matches!(octet, b'\n' | b'\r'));
    match end {
        Some(end) if octets[end] == b'\n' => Some((end, end + 1)),
        Some(end) => match octets.get(end + 1) {
            Some(b'\n') => Some((end, end + 2)),
            None if !is_ended => None,
            _ => Some((end, end + 1)),
        },
        None if is_ended => Some((octets.len(), octets.len())),
        None => None,
    }
}

/// How a row that cannot be read begins. It may have been cut inside of a character.
fn beginning(row: &[u8]) -> String {
    let whole = (0..4).find_map(|less| std::str::from_utf8(row.get(..row.len().checked_sub(less)?)?).ok());
    whole.map_or_else(|| text_of(row).0, Cow::Borrowed).chars().take(BROKEN_SHOWN).collect()
}

// ── cells that cannot act ───────────────────────────────────────────────────────────────────────────────────

/// Whether a spreadsheet may take a cell that begins so for a formula.
const fn begins_formula(character: char) -> bool {
    matches!(character, '=' | '+' | '-' | '@' | '\t' | '\r' | '\0' | '＝' | '＋' | '－' | '＠')
}

/// Whether a spreadsheet may take this text for a formula.
pub fn is_formula(text: &str) -> bool {
    text.starts_with(begins_formula)
}

/// Whether this is such a text behind apostrophes.
fn is_behind_apostrophes(text: &str) -> bool {
    text.starts_with('\'') && is_formula(text.trim_start_matches('\''))
}

/// A cell as it was before it was written inert: without the apostrophe that [`write_row`] puts before what may be a formula.
pub fn plain(text: &str) -> &str {
    if is_behind_apostrophes(text) { &text[1..] } else { text }
}

/// Yes or no, as people and spreadsheets write it, in any case: `yes`, `y`, `true` or `1`, and `no`, `n`, `false` or `0`.
pub fn yes_no(cell: &str) -> Option<bool> {
    match cell.trim().to_ascii_lowercase().as_str() {
        "yes" | "y" | "true" | "1" => Some(true),
        "no" | "n" | "false" | "0" => Some(false),
        _ => None,
    }
}

/// Writes a row with CR LF at its end (RFC 4180): each cell quoted where it must be, and inert: one that a spreadsheet might
/// take for a formula gets an apostrophe before it. [`plain`] takes that away, whatever the text was.
pub fn write_row<'c>(to: &mut String, cells: impl IntoIterator<Item = &'c str>) {
    for (n, cell) in cells.into_iter().enumerate() {
        if n > 0 {
            to.push(',');
        }
        let apostrophe = if is_formula(cell) || is_behind_apostrophes(cell) { "'" } else { "" };
        if cell.contains([',', ';', '\t', '"', '\n', '\r']) || cell.starts_with(' ') || cell.ends_with(' ') {
            to.push('"');
            to.push_str(apostrophe);
            for (n, part) in cell.split('"').enumerate() {
                to.push_str(if n > 0 { "\"\"" } else { "" });
                to.push_str(part);
            }
            to.push('"');
        } else {
            to.push_str(apostrophe);
            to.push_str(cell);
        }
    }
    to.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All rows of a file that comes in pieces of so many octets, each as its line and its cells.
    fn read(octets: &[u8], piece: usize) -> Vec<(u64, Vec<String>)> {
        let mut records = Records::new();
        let mut found = Vec::new();
        let mut take = |records: &mut Records| {
            while let Some(Record { line, body, .. }) = records.take_next() {
                found.push(match body {
                    Body::Cells { cells, .. } => (line, cells),
                    Body::Broken { why, text } => (line, vec![format!("{why:?}!"), text]),
                });
            }
        };
        for piece in octets.chunks(piece) {
            records.feed(piece);
            take(&mut records);
        }
        records.end();
        take(&mut records);
        found
    }

    fn check(octets: &[u8], expected: &[(u64, &[&str])]) {
        for piece in [1, 2, 3, 7, 4_096] {
            let found = read(octets, piece);
            let found: Vec<(u64, Vec<&str>)> = found
                .iter()
                .map(|(line, cells)| (*line, cells.iter().map(String::as_str).collect()))
                .collect();
            let expected: Vec<(u64, Vec<&str>)> =
                expected.iter().map(|(line, cells)| (*line, cells.to_vec())).collect();
            assert_eq!(found, expected, "{:?} by {piece}", String::from_utf8_lossy(octets));
        }
    }

    #[test]
    fn rows_are_read_as_they_were_meant() {
        check(b"", &[]);
        check(b"a,b\n1,2", &[(1, &["a", "b"]), (2, &["1", "2"])]);
        check(b"a,b\r\n1,2\r\n", &[(1, &["a", "b"]), (2, &["1", "2"])]);
        check(b"a\r1\r\r2", &[(1, &["a"]), (2, &["1"]), (4, &["2"])]);
        check(b"a;b\n\"x,\"\"y\"\"\";\n", &[(1, &["a", "b"]), (2, &["x,\"y\"", ""])]);
        check(b"a\tb\n1,5\t2\n", &[(1, &["a", "b"]), (2, &["1,5", "2"])]);
        check(
            b"a,b\n\"two\nlines\",2\nc,d\n",
            &[(1, &["a", "b"]), (2, &["two\nlines", "2"]), (4, &["c", "d"])],
        );
        // A quote inside of a cell that is not quoted has one meaning.
        check(b"a,b\n5\" pipe,2\n", &[(1, &["a", "b"]), (2, &["5\" pipe", "2"])]);
        check(b"a,b\n\"\",\n\n\"\"\n", &[(1, &["a", "b"]), (2, &["", ""]), (4, &[""])]);
    }

    #[test]
    fn broken_quotes_cost_their_line_and_no_other() {
        let begin: (u64, &[&str]) = (1, &["a", "b"]);
        check(b"a,b\n\"x\"y,2\n3,4\n", &[begin, (2, &["Quotes!", "\"x\"y,2"]), (3, &["3", "4"])]);
        // Never closed: the end of the file, and the quote of a later row.
        check(b"a,b\n\"x,2\n3,4\n", &[begin, (2, &["Quotes!", "\"x,2"]), (3, &["3", "4"])]);
        check(
            b"a,b\n1,\"x\n2,\"y\"\n3,z\n",
            &[begin, (2, &["Quotes!", "1,\"x"]), (3, &["2", "y"]), (4, &["3", "z"])],
        );
        let many = format!("a,b\n1,\"x\n{}2,y\n", "3,4\n".repeat(200));
        let found = read(many.as_bytes(), 64);
        assert_eq!((found.len(), found[1].1[0].as_str()), (203, "Quotes!"));
        assert_eq!(found[202], (203, vec!["2".to_owned(), "y".to_owned()]));
        let long = format!("a,b\n1,{}\n3,4\n", "x".repeat(3 * ROW_MAX));
        let found = read(long.as_bytes(), 1_000);
        assert_eq!((found.len(), found[1].1[0].as_str(), found[2].0), (3, "TooLong!", 3));
    }

    #[test]
    fn alphabets_are_found_by_their_mark_or_cell_by_cell() {
        let expected: &[(u64, &[&str])] = &[(1, &["näme", "b"]), (2, &["Åsa 😀", "€"])];
        let text = "näme,b\nÅsa 😀,€\n";
        check(text.as_bytes(), expected);
        check(format!("\u{FEFF}{text}").as_bytes(), expected);
        let little: Vec<u8> = format!("\u{FEFF}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect();
        check(&little, expected);
        let big: Vec<u8> = format!("\u{FEFF}{text}").encode_utf16().flat_map(u16::to_be_bytes).collect();
        check(&big, expected);
        check(
            b"n\xE4me,b\n\xC5sa \x96,\x80\n\xC3\x85sa,ok\n",
            &[(1, &["näme", "b"]), (2, &["Åsa –", "€"]), (3, &["Åsa", "ok"])],
        );
    }

    #[test]
    fn what_may_act_is_written_inert_and_read_back() {
        let written = |cell: &str| {
            let mut row = String::new();
            write_row(&mut row, [cell]);
            row.trim_end_matches("\r\n").to_owned()
        };
        for (cell, expected) in [
            ("plain", "plain"),
            ("=1+1", "'=1+1"),
            ("+15550001111", "'+15550001111"),
            ("-5", "'-5"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\tx", "\"'\tx\""),
            ("'quoted'", "'quoted'"),
            ("'=1", "''=1"),
            ("a \"b\"", "\"a \"\"b\"\"\""),
            ("=\"a\"", "\"'=\"\"a\"\"\""),
        ] {
            assert_eq!(written(cell), expected, "{cell}");
            let found = read(written(cell).as_bytes(), 5);
            assert_eq!(plain(&found[0].1[0]), cell);
        }
    }

    proptest! {
        #[test]
        fn every_text_comes_back(cells in prop::collection::vec("[='+,\"; \\r\\n\\ta-cé😀-]{0,8}", 2..5), piece in 1_usize..9) {
            let mut table = String::from("one,two,three,four,five,six\r\n");
            write_row(&mut table, cells.iter().map(String::as_str));
            let found = read(table.as_bytes(), piece);
            let found: Vec<&str> = found[1].1.iter().map(|cell| plain(cell)).collect();
            prop_assert_eq!(found, cells.iter().map(String::as_str).collect::<Vec<_>>());
        }

        #[test]
        fn nothing_hangs_or_is_read_twice(octets in prop::collection::vec(prop::sample::select(b"a,\"\n\r;\xE4".to_vec()), 0..200), piece in 1_usize..50) {
            let (whole, pieces) = (read(&octets, 10_000), read(&octets, piece));
            prop_assert_eq!(&whole, &pieces);
            prop_assert!(whole.windows(2).all(|pair| pair[0].0 < pair[1].0));
        }
    }
}
