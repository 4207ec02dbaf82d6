//! Tables of people: read in pieces, and judged row by row.
//!
//! Each row is good, mended, refused or a duplicate, and the report has the sum of each with its reasons. What is mended has one
//! meaning only: marks that nobody sees around a number, a country code that the caller named, letters of another alphabet.
//! Everything else is refused by name, so that the person can mend it: nobody guesses whom a number belongs to.
//!
//! What a table is read for says its [`Subject`]: contacts ([`crate::import::Contacts`]), consents
//! ([`crate::consent_import::Consents`]), or nothing but numbers ([`Numbers`]). It knows what the other columns mean, and which rows say
//! what an earlier one said.
//!
//! Rows come out in windows, each in the order of its numbers: the store finds and writes neighbours together then, and
//! one window is all that is held in memory, beside what the subject remembers of the rows that came before.

use crate::account::Environment;
use crate::address::{Country, InvalidPhoneNumber, PhoneNumber};
use crate::contact::Invalid;
use crate::csv::{self, Body, Broken, Records};
use crate::quiet_hours::Place;
use crate::template::{Costs, Origin};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::fmt;

/// Rows of one table. What is remembered of each takes some 20 octets.
pub const ROWS_MAX: u64 = 2_000_000;
/// Octets of one table.
pub const OCTETS_MAX: u64 = 512 * 1024 * 1024;
/// Columns of a table.
pub const COLUMNS_MAX: usize = 100;
/// Rows of a window.
const WINDOW_ROWS: usize = 40_000;
/// Octets of the file that a window has.
const WINDOW_OCTETS: usize = 8 * 1024 * 1024;

// ── what was found ──────────────────────────────────────────────────────────────────────────────────────────

/// What was found in a table. `rows` is the sum of `good`, `mended`, `duplicates` and `refused`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Octets that were read.
    pub octets: u64,
    /// Rows below the headings.
    pub rows: u64,
    /// Those that are as they should be.
    pub good: u64,
    /// Those of which something was mended.
    pub mended: u64,
    /// Those whose number an earlier row has.
    pub duplicates: u64,
    /// Those that cannot be taken over.
    pub refused: u64,
    /// Of the good and the mended: those whose number a contact had when the row was read.
    pub known: u64,
    /// Of the good and the mended: those whose number was on the suppression list then. They stay there.
    pub suppressed: u64,
    /// What was mended, with how many rows had it.
    pub mends: BTreeMap<String, u64>,
    /// Why rows were refused, with how many were.
    pub reasons: BTreeMap<String, u64>,
    /// The countries of the numbers of good and mended rows.
    pub countries: BTreeMap<String, u64>,
    /// Headings of columns that are not taken over.
    pub ignored: Vec<String>,
    /// What messages of a template to the people of good and mended rows would cost, if one was named.
    pub costs: Option<(Origin, Costs)>,
}

impl Report {
    /// Rows that can be taken over.
    pub const fn accepted(&self) -> u64 {
        self.good + self.mended
    }
}

/// A row that cannot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The line on which it begins, from 1.
    pub line: u64,
    /// Why: a word of [`Reason`].
    pub reason: String,
    /// Which column it is about, by its heading.
    pub column: Option<String>,
    /// Its cells, and of those behind the last column only the first that is not empty; of a row that cannot be cut into
    /// cells the text, as one.
    pub cells: Vec<String>,
}

impl Refused {
    /// Writes the headings of a table of such rows: our own, and those of the file, so that it can be mended and read again.
    pub fn write_headings(text: &mut String, headings: &[String]) {
        csv::write_row(text, REFUSED.into_iter().chain(headings.iter().map(String::as_str)));
    }

    /// Writes it as a row of that table.
    pub fn write(&self, text: &mut String) {
        let line = self.line.to_string();
        let ours = [line.as_str(), &self.reason, self.column.as_deref().unwrap_or_default()];
        csv::write_row(text, ours.into_iter().chain(self.cells.iter().map(String::as_str)));
    }
}

/// Why a row is not taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A quoted cell does not end, or something stands behind its end.
    Quotes,
    /// It has more than 64 KiB.
    TooLong,
    /// It has more cells than there are headings.
    Cells,
    /// There is no number in it.
    NoNumber,
    /// The number is none.
    Number(InvalidPhoneNumber),
    /// A spreadsheet wrote the number as one to calculate with, and its last digits may be lost: `4.47911E+11`.
    Spreadsheet,
    /// An earlier row has the number.
    Duplicate,
    /// A cell is not what its column asks for.
    Cell(Invalid),
    /// It is in too many groups.
    Groups,
    /// What its columns ask for and it does not have: the name of the field.
    Missing(&'static str),
    /// A cell has none of the words that it may have.
    Word,
    /// A cell is no time in the form `2026-11-29T08:00:00+01:00`.
    Time,
    /// A cell is a day, or what a clock shows, without an offset: nobody knows which moment that is.
    NoOffset,
    /// A time lies ahead.
    Ahead,
    /// A time is from before there was anything to agree to.
    Early,
    /// A cell is no IPv4 or IPv6 address.
    Address,
    /// An end is not later than its beginning.
    EndsBefore,
    /// A cell names words by a SHA-256 that nobody gave, or another than that of its own words.
    UnknownWording,
    /// Nobody configured the programme.
    UnknownProgramme,
}

impl fmt::Display for Reason {
    /// A stable lower-case word.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quotes => f.write_str("broken_quotes"),
            Self::TooLong => f.write_str("row_too_long"),
            Self::Cells => f.write_str("too_many_cells"),
            Self::NoNumber => f.write_str("no_number"),
            Self::Number(why) => write!(f, "number_{}", why.code()),
            Self::Spreadsheet => f.write_str("number_of_a_spreadsheet"),
            Self::Duplicate => f.write_str("duplicate"),
            Self::Cell(why) => write!(f, "cell_{}", why.code()),
            Self::Groups => f.write_str("too_many_groups"),
            Self::Missing(field) => write!(f, "missing_{field}"),
            Self::Word => f.write_str("cell_unknown_word"),
            Self::Time => f.write_str("cell_no_time"),
            Self::NoOffset => f.write_str("cell_no_offset"),
            Self::Ahead => f.write_str("cell_ahead"),
            Self::Early => f.write_str("cell_too_early"),
            Self::Address => f.write_str("cell_no_ip_address"),
            Self::EndsBefore => f.write_str("cell_ends_before"),
            Self::UnknownWording => f.write_str("cell_unknown_wording"),
            Self::UnknownProgramme => f.write_str("cell_unknown_programme"),
        }
    }
}

/// What is mended of a row. Each is a bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mend {
    /// Marks around the number that nobody sees were taken away.
    Invisible,
    /// The number was written in another form of the international one.
    Form,
    /// The country code was added.
    Country,
    /// A cell was read as Windows-1252.
    Alphabet,
    /// Control characters were taken out of a text.
    Control,
    /// Nothing: a text that a spreadsheet would take for a formula is kept as the text that it is.
    Formula,
}

impl Mend {
    const ALL: [Self; 6] =
        [Self::Invisible, Self::Form, Self::Country, Self::Alphabet, Self::Control, Self::Formula];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Invisible => "invisible_characters",
            Self::Form => "number_form",
            Self::Country => "country_code_added",
            Self::Alphabet => "windows_1252",
            Self::Control => "control_characters",
            Self::Formula => "formula_kept_as_text",
        }
    }
}

/// All that is mended of a row.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mends(u8);

impl Mends {
    pub(crate) fn add(&mut self, mend: Mend) {
        self.0 |= 1 << mend as u8;
    }

    fn iter(self) -> impl Iterator<Item = Mend> {
        Mend::ALL.into_iter().filter(move |mend| self.0 & (1 << *mend as u8) != 0)
    }
}

// ── the columns ─────────────────────────────────────────────────────────────────────────────────────────────

/// What the caller says about a table.
#[derive(Debug, Clone)]
pub struct Options {
    /// The rules for numbers.
    pub environment: Environment,
    /// Where numbers without a country code are from.
    pub default_country: Option<Country>,
    /// The heading of the column with the numbers; found by usual names if not given.
    pub number_column: Option<String>,
}

/// Why a file is no table that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    /// There is nothing in it.
    Empty,
    /// The line with the headings cannot be read.
    Headings,
    /// No column is known to have numbers, or none is called as the caller says.
    NoNumbers {
        /// What the caller calls it, if anything.
        wanted: Option<String>,
        /// The headings that there are.
        headings: Vec<String>,
    },
    /// Two columns mean the same.
    Twice(String),
    /// A column would be passed over whose heading is nearly one that is known.
    Misspelt {
        /// Its heading.
        heading: String,
        /// The one that is known.
        meant: &'static str,
    },
    /// It has more than [`COLUMNS_MAX`] columns.
    Columns,
    /// It has more than [`ROWS_MAX`] rows.
    Rows,
    /// It has more than [`OCTETS_MAX`] octets.
    Octets,
}

impl Unusable {
    /// A stable lower-case word.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Headings => "no_headings",
            Self::NoNumbers { .. } => "no_number_column",
            Self::Twice(_) => "same_column_twice",
            Self::Misspelt { .. } => "misspelt_column",
            Self::Columns => "too_many_columns",
            Self::Rows => "too_many_rows",
            Self::Octets => "too_large",
        }
    }
}

impl fmt::Display for Unusable {
    /// A sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("There is nothing in the file."),
            Self::Headings => {
                f.write_str("The first line must name the columns; its quotes are broken, or it is too long.")
            }
            Self::NoNumbers { wanted: Some(wanted), headings } => {
                write!(f, "No column is called {wanted}. There are: {}.", headings.join(", "))
            }
            Self::NoNumbers { wanted: None, headings } => write!(
                f,
                "No column is known to hold phone numbers. The first line must name the columns; say which one it is (number_column, --number-column). There are: {}.",
                headings.join(", ")
            ),
            Self::Twice(heading) => write!(f, "Two columns mean the same: {heading}. Rename one of them."),
            Self::Misspelt { heading, meant } => write!(
                f,
                "No column is called {heading}, but one is called {meant}. Call it so, or give it a name that is not so near."
            ),
            Self::Columns => write!(f, "A table may have {COLUMNS_MAX} columns."),
            Self::Rows => write!(f, "A table may have {ROWS_MAX} rows; cut it into several."),
            Self::Octets => {
                write!(f, "A table may have {} MiB; cut it into several.", OCTETS_MAX / (1024 * 1024))
            }
        }
    }
}

/// Headings that mean a number, in lower case and without what is no letter or digit; the first that is there counts.
const NUMBERS: [&str; 18] = [
    "number",
    "phonenumber",
    "phone",
    "mobilenumber",
    "mobilephone",
    "mobile",
    "cellphone",
    "cell",
    "msisdn",
    "telephone",
    "telephonenumber",
    "tel",
    "to",
    "handy",
    "telefon",
    "telefono",
    "telephoneportable",
    "mobil",
];
/// The first columns of the table of refused rows, before those of the file.
pub(crate) const REFUSED: [&str; 3] = ["refused_line", "refused_why", "refused_column"];
/// Headings of our own tables that say what we know better.
pub(crate) const OURS: [&str; 7] =
    ["id", "othernumbers", "createdat", "updatedat", "refusedline", "refusedwhy", "refusedcolumn"];

/// A heading as it is compared: in lower case, without what is no letter or digit.
pub(crate) fn folded(heading: &str) -> String {
    heading.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

// ── what a table is read for ────────────────────────────────────────────────────────────────────────────────

/// What a table is read for.
pub trait Subject {
    /// What a column is about.
    type Column: PartialEq;
    /// A row that can be taken over.
    type Row;

    /// What a heading means, given as it is, and as headings are compared: in lower case, without what is no letter or digit.
    /// `None` if its column is passed over.
    fn column(&self, heading: &str, folded: &str) -> Option<Self::Column>;

    /// The heading that was probably meant by one that means nothing: then its column is not passed over, as what stands in it
    /// would be lost.
    fn meant(&self, _folded: &str) -> Option<&'static str> {
        None
    }

    /// Whether two columns mean the same: then nobody knows which counts.
    fn is_same(one: &Self::Column, other: &Self::Column) -> bool {
        one == other
    }

    /// Judges a row about a number. What comes of it is taken over, so that it is a duplicate if it comes again.
    ///
    /// # Errors
    /// Why it cannot be taken over.
    fn judge(
        &mut self,
        number: PhoneNumber,
        cells: &Cells<'_, Self::Column>,
        mends: &mut Mends,
    ) -> Result<Self::Row, Refusal>;

    /// Looks at all rows of a window that can be taken over, where that is cheaper than one by one, and reports what it sees.
    fn look(&mut self, _rows: &[Self::Row], _report: &mut Report) {}

    /// Whose row it is.
    fn number(row: &Self::Row) -> PhoneNumber;
}

/// A row as its cells.
#[derive(Debug)]
pub struct Cells<'r, C> {
    cells: &'r [String],
    columns: &'r [Option<C>],
    /// Octets that it has in the file.
    pub octets: usize,
}

impl<'r, C> Cells<'r, C> {
    /// Those in which something stands, each with the place of its column and what that is about.
    pub fn filled(&self) -> impl Iterator<Item = (usize, &'r C, &'r str)> + use<'r, C> {
        let all = self.columns.iter().zip(self.cells).enumerate();
        all.filter_map(|(n, (column, cell))| {
            (!cell.trim().is_empty()).then_some((n, column.as_ref()?, csv::plain(cell)))
        })
    }
}

/// Why a row is refused, and because of which column, by its place.
pub type Refusal = (Reason, Option<usize>);

/// A table of which only the numbers count: every other column is passed over, whatever is in it.
#[derive(Debug, Default)]
pub struct Numbers {
    seen: HashSet<u64>,
}

impl Subject for Numbers {
    type Column = ();
    type Row = PhoneNumber;

    fn column(&self, _: &str, _: &str) -> Option<()> {
        None
    }

    fn judge(
        &mut self,
        number: PhoneNumber,
        _: &Cells<'_, ()>,
        _: &mut Mends,
    ) -> Result<PhoneNumber, Refusal> {
        if self.seen.insert(number.digits()) { Ok(number) } else { Err((Reason::Duplicate, None)) }
    }

    fn number(row: &PhoneNumber) -> PhoneNumber {
        *row
    }
}

// ── the judgement ───────────────────────────────────────────────────────────────────────────────────────────

/// Whether a character has no picture, or turns the direction of writing: what copying leaves around numbers.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{AD}' | '\u{61C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
        | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
}

/// Whether a spreadsheet wrote this number as one to calculate with: `4.47911E+11`, `447911123456.0`.
fn is_of_a_spreadsheet(text: &str) -> bool {
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    let text = text.strip_prefix('+').unwrap_or(text);
    if let Some((number, power)) = text.split_once(['E', 'e']) {
        let power = power.strip_prefix('+').unwrap_or(power);
        return is_digits(&number.replace(['.', ','], "")) && is_digits(power);
    }
    text.split_once(['.', ','])
        .is_some_and(|(whole, part)| whole.len() >= 7 && is_digits(whole) && matches!(part, "0" | "00"))
}

/// Reads a table that comes in pieces.
#[derive(Debug)]
pub struct Reader<S: Subject> {
    options: Options,
    subject: S,
    records: Records,
    headings: Vec<String>,
    /// What the headings mean; `None` also for that of the numbers.
    columns: Vec<Option<S::Column>>,
    number_at: usize,
    report: Report,
    rows: Vec<S::Row>,
    refused: Vec<Refused>,
    /// Octets of the rows in hand.
    octets: usize,
}

/// Rows that were judged: those that can be taken over in the order of their numbers, those of one number in that of the file; and
/// the others in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Window<R> {
    /// Those that can be taken over.
    pub rows: Vec<R>,
    /// Those that cannot.
    pub refused: Vec<Refused>,
}

impl<S: Subject> Reader<S> {
    /// Before the first octet.
    pub fn new(options: Options, subject: S) -> Self {
        Self {
            options,
            subject,
            records: Records::new(),
            headings: Vec::new(),
            columns: Vec::new(),
            number_at: 0,
            report: Report::default(),
            rows: Vec::new(),
            refused: Vec::new(),
            octets: 0,
        }
    }

    /// Takes the next octets. Some ten thousands at once are best.
    ///
    /// # Errors
    /// It is no table that can be read.
    pub fn feed(&mut self, octets: &[u8]) -> Result<(), Unusable> {
        self.report.octets += octets.len() as u64;
        if self.report.octets > OCTETS_MAX {
            return Err(Unusable::Octets);
        }
        self.records.feed(octets);
        self.judge_all()
    }

    /// Nothing more comes.
    ///
    /// # Errors
    /// It is no table that can be read.
    pub fn end(&mut self) -> Result<(), Unusable> {
        self.records.end();
        self.judge_all()?;
        if self.columns.is_empty() { Err(Unusable::Empty) } else { Ok(()) }
    }

    /// Whether there are enough rows for a window.
    pub fn is_full(&self) -> bool {
        self.rows.len() + self.refused.len() >= WINDOW_ROWS || self.octets >= WINDOW_OCTETS
    }

    /// What was judged since this was last asked.
    pub fn take(&mut self) -> Window<S::Row> {
        self.octets = 0;
        let mut rows = std::mem::take(&mut self.rows);
        rows.sort_by_key(S::number);
        self.subject.look(&rows, &mut self.report);
        Window { rows, refused: std::mem::take(&mut self.refused) }
    }

    /// What was found so far, without what only the store knows.
    pub const fn report(&self) -> &Report {
        &self.report
    }

    /// The headings, once they came.
    pub fn headings(&self) -> &[String] {
        &self.headings
    }

    /// What it is read for.
    pub const fn subject(&self) -> &S {
        &self.subject
    }

    fn judge_all(&mut self) -> Result<(), Unusable> {
        while let Some(record) = self.records.take_next() {
            if self.columns.is_empty() {
                let Body::Cells { cells, .. } = record.body else { return Err(Unusable::Headings) };
                self.begin(cells)?;
                continue;
            }
            self.report.rows += 1;
            if self.report.rows > ROWS_MAX {
                return Err(Unusable::Rows);
            }
            self.octets += record.octets;
            match record.body {
                Body::Broken { why, text } => {
                    let why = match why {
                        Broken::Quotes => Reason::Quotes,
                        Broken::TooLong => Reason::TooLong,
                    };
                    self.refuse(record.line, (why, None), vec![text]);
                }
                Body::Cells { cells, is_windows } => {
                    let mut mends = Mends::default();
                    if is_windows {
                        mends.add(Mend::Alphabet);
                    }
                    match self.judge(&cells, record.octets, &mut mends) {
                        Ok(row) => self.accept(row, mends),
                        Err(why) => self.refuse(record.line, why, cells),
                    }
                }
            }
        }
        Ok(())
    }

    /// The first row names the columns.
    fn begin(&mut self, cells: Vec<String>) -> Result<(), Unusable> {
        let is_seen = |c: &char| !c.is_control() && !is_invisible(*c);
        let heading = |cell: &String| csv::plain(cell).chars().filter(is_seen).collect::<String>();
        self.headings = cells.iter().map(|cell| heading(cell).trim().to_owned()).collect();
        if self.headings.len() > COLUMNS_MAX {
            return Err(Unusable::Columns);
        }
        let names: Vec<String> = self.headings.iter().map(|heading| folded(heading)).collect();
        self.number_at = self.find_numbers(&names)?;
        let mut columns: Vec<Option<S::Column>> = Vec::with_capacity(names.len());
        for (n, (heading, name)) in self.headings.iter().zip(&names).enumerate() {
            let is_other = n != self.number_at && !name.is_empty();
            let column = if is_other { self.subject.column(heading, name) } else { None };
            let is_same = |other: &S::Column| column.as_ref().is_some_and(|column| S::is_same(column, other));
            if columns.iter().flatten().any(is_same) {
                return Err(Unusable::Twice(heading.chars().take(40).collect()));
            }
            let misspelt = self.subject.meant(name).filter(|_| is_other && column.is_none());
            if let Some(meant) = misspelt.filter(|_| !OURS.contains(&name.as_str())) {
                return Err(Unusable::Misspelt { heading: heading.chars().take(40).collect(), meant });
            }
            if column.is_none() && n != self.number_at && !heading.is_empty() {
                self.report.ignored.push(heading.clone());
            }
            columns.push(column);
        }
        self.columns = columns;
        Ok(())
    }

    /// The place of the column with the numbers.
    fn find_numbers(&self, names: &[String]) -> Result<usize, Unusable> {
        let number = match self.options.number_column.as_deref() {
            Some(wanted) => self
                .headings
                .iter()
                .position(|heading| heading.trim() == wanted.trim())
                .or_else(|| names.iter().position(|name| !name.is_empty() && *name == folded(wanted))),
            None => NUMBERS.iter().find_map(|known| names.iter().position(|name| name == known)),
        };
        let short = |heading: &String| heading.chars().take(40).collect::<String>();
        number.ok_or_else(|| Unusable::NoNumbers {
            wanted: self.options.number_column.as_ref().map(short),
            headings: self.headings.iter().map(short).collect(),
        })
    }

    fn accept(&mut self, row: S::Row, mends: Mends) {
        if mends.0 == 0 {
            self.report.good += 1;
        } else {
            self.report.mended += 1;
        }
        for mend in mends.iter() {
            count(&mut self.report.mends, mend.as_str());
        }
        count(&mut self.report.countries, Place::of(S::number(&row)).map_or("none", Place::country));
        self.rows.push(row);
    }

    fn refuse(&mut self, line: u64, (reason, column): Refusal, mut cells: Vec<String>) {
        // A row may have more cells than there are octets for in a window of rows.
        if cells.len() > self.columns.len() {
            let behind = cells.split_off(self.columns.len());
            cells.extend(behind.into_iter().find(|cell| !cell.trim().is_empty()));
            cells.shrink_to_fit();
        }
        let word = reason.to_string();
        if reason == Reason::Duplicate {
            self.report.duplicates += 1;
        } else {
            self.report.refused += 1;
            count(&mut self.report.reasons, &word);
        }
        let column = column.and_then(|n| self.headings.get(n).cloned());
        self.refused.push(Refused { line, reason: word, column, cells });
    }

    fn judge(&mut self, cells: &[String], octets: usize, mends: &mut Mends) -> Result<S::Row, Refusal> {
        if cells.iter().skip(self.columns.len()).any(|cell| !cell.trim().is_empty()) {
            return Err((Reason::Cells, None));
        }
        let at = self.number_at;
        let number = cells.get(at).map_or("", |cell| csv::plain(cell));
        let number = self.number(number, mends).map_err(|why| (why, Some(at)))?;
        let cells = Cells { cells, columns: &self.columns, octets };
        self.subject.judge(number, &cells, mends)
    }

    fn number(&self, cell: &str, mends: &mut Mends) -> Result<PhoneNumber, Reason> {
        let mut text = Cow::Borrowed(cell.trim());
        if text.contains(|c: char| is_invisible(c)) {
            mends.add(Mend::Invisible);
            text = text.chars().filter(|c| !is_invisible(*c)).collect::<String>().into();
        }
        if text.contains(|c: char| !c.is_ascii() && c.is_whitespace()) {
            let space = |c: char| if c.is_whitespace() { ' ' } else { c };
            text = text.chars().map(space).collect::<String>().into();
        }
        let text = text.trim();
        if text.is_empty() {
            return Err(Reason::NoNumber);
        }
        if is_of_a_spreadsheet(text) {
            return Err(Reason::Spreadsheet);
        }
        let Options { default_country, environment, .. } = self.options;
        let number = PhoneNumber::parse(text, default_country, environment).map_err(Reason::Number)?;
        if !text.starts_with('+') {
            mends.add(Mend::Country);
        } else if text.len() != number.digits().ilog10() as usize + 2 {
            mends.add(Mend::Form);
        }
        Ok(number)
    }
}

/// A text without control characters: line ends and tabs stay where a text may have several lines, and are spaces elsewhere.
pub(crate) fn cleaned<'t>(text: &'t str, has_lines: bool, mends: &mut Mends) -> Cow<'t, str> {
    let stays = |c: char| !c.is_control() || (has_lines && matches!(c, '\n' | '\r' | '\t'));
    if text.chars().all(stays) {
        return text.into();
    }
    mends.add(Mend::Control);
    let space = |c: char| if c.is_whitespace() && !stays(c) { ' ' } else { c };
    text.chars().map(space).filter(|c| stays(*c)).collect::<String>().into()
}

fn count(counts: &mut BTreeMap<String, u64>, word: &str) {
    match counts.get_mut(word) {
        Some(count) => *count += 1,
        None => {
            counts.insert(word.to_owned(), 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::Contacts;

    fn options() -> Options {
        Options {
            environment: Environment::Live,
            default_country: Country::parse("SE").ok(),
            number_column: None,
        }
    }

    fn read_by<S: Subject>(mut reader: Reader<S>, table: &str) -> Result<(Window<S::Row>, Report), Unusable> {
        for piece in table.as_bytes().chunks(13) {
            reader.feed(piece)?;
        }
        reader.end()?;
        let window = reader.take();
        Ok((window, reader.report().clone()))
    }

    fn read_with(options: Options, table: &str) -> Result<(Window<PhoneNumber>, Report), Unusable> {
        read_by(Reader::new(options, Numbers::default()), table)
    }

    fn read(table: &str) -> (Window<PhoneNumber>, Report) {
        read_with(options(), table).expect("a table")
    }

    /// The number of the only row, or why it was refused, and what was mended.
    fn number(cell: &str) -> String {
        let (window, report) = read(&format!("phone;x\n{cell};1\n"));
        let mends: Vec<_> = report.mends.keys().map(String::as_str).collect();
        match (window.rows.first(), window.refused.first()) {
            (Some(number), None) => format!("{number} {}", mends.join(",")),
            (None, Some(refused)) => refused.reason.clone(),
            both => panic!("{both:?}"),
        }
    }

    #[test]
    fn where_only_numbers_count_no_other_column_refuses_a_row() {
        let table = "phone,language,born:date,name,name\n+46701234501,??,31.1.,a,b\n0701234502,,,\"x\ny\",\n+46701234501,,,,\n";
        let (window, report) = read(table);
        let numbers: Vec<String> = window.rows.iter().map(ToString::to_string).collect();
        assert_eq!(numbers, ["+46701234501", "+46701234502"]);
        assert_eq!((report.good, report.mended, report.duplicates, report.refused), (1, 1, 1, 0));
        assert_eq!(report.ignored, ["language", "born:date", "name", "name"]);
        let of_contacts = read_by(Reader::new(options(), Contacts::default()), table);
        assert_eq!(of_contacts.expect_err("two names"), Unusable::Twice("name".to_owned()));
        let mut text = String::new();
        Refused::write_headings(&mut text, &["phone".to_owned()]);
        window.refused[0].write(&mut text);
        assert_eq!(text.lines().nth(1), Some("5,duplicate,,'+46701234501,,,,"), "{text}");
    }

    #[test]
    fn numbers_are_good_mended_or_refused_by_name() {
        for (cell, expected) in [
            ("+46701234567", "+46701234567 "),
            ("'+46701234567", "+46701234567 "),
            ("+46 70-123 45 67", "+46701234567 number_form"),
            ("070-123 45 67", "+46701234567 country_code_added"),
            ("0046701234567", "+46701234567 country_code_added"),
            ("\u{202A}+46701234567\u{202C}", "+46701234567 invisible_characters"),
            ("\u{200E}070\u{A0}123 45 67", "+46701234567 country_code_added,invisible_characters"),
            ("", "no_number"),
            ("\u{200B}", "no_number"),
            ("4.67012E+10", "number_of_a_spreadsheet"),
            ("4,67012e10", "number_of_a_spreadsheet"),
            ("46701234567.0", "number_of_a_spreadsheet"),
            ("+46 70 123", "number_too_short"),
            ("call her", "number_letters"),
            ("112", "number_emergency_number"),
            ("٠٧٠١٢٣٤٥٦٧", "number_other_digits"),
        ] {
            assert_eq!(number(cell), expected, "{cell}");
        }
        let national = Options { default_country: None, ..options() };
        let (window, _) = read_with(national, "phone\n070-123 45 67\n").expect("a table");
        assert_eq!(window.refused[0].reason, "number_national_form");
    }

    /// Of cells behind the last column the first is kept that makes the row a refused one.
    #[test]
    fn of_a_refused_row_only_so_many_cells_are_kept() {
        let (many, some) = (",".repeat(60_000), format!("{}x{}", ",".repeat(9), ",y".repeat(30_000)));
        let (window, report) =
            read(&format!("to,born:date\n+46701234567,2001-02-03,{some}\n112,never{many}\n"));
        let kept: Vec<&[String]> = window.refused.iter().map(|row| row.cells.as_slice()).collect();
        assert_eq!(kept, [["+46701234567", "2001-02-03", "x"].as_slice(), ["112", "never"].as_slice()]);
        assert!(window.refused.iter().all(|row| row.cells.capacity() <= 3));
        let why = [("number_emergency_number".to_owned(), 1), ("too_many_cells".to_owned(), 1)];
        assert_eq!(report.reasons, why.into());
    }

    #[test]
    fn rows_come_in_the_order_of_their_numbers_and_refused_ones_in_that_of_the_file() {
        let (window, _) = read("to\n+46701234569\nx\n+46701234567\n\"y\"z\n+46701234568\n");
        let numbers: Vec<_> = window.rows.iter().map(ToString::to_string).collect();
        assert_eq!(numbers, ["+46701234567", "+46701234568", "+46701234569"]);
        assert_eq!(window.refused.iter().map(|one| one.line).collect::<Vec<_>>(), [3, 5]);
    }

    #[test]
    fn what_is_no_table_is_refused_whole() {
        let check = |table: &str, expected: &str| {
            assert_eq!(
                read_with(options(), table).map(drop).map_err(|why| why.code()),
                Err(expected),
                "{table}"
            );
        };
        check("", "empty");
        check("\n\n", "empty");
        check("name,city\nÅsa,Lund\n", "no_number_column");
        check("+46701234567\n", "no_number_column");
        check("number,\"city\"x\n", "no_headings");
        check(&format!("number{}\n", ",a".repeat(COLUMNS_MAX)), "too_many_columns");
        let named = |column: &str| Options { number_column: Some(column.to_owned()), ..options() };
        let why = read_with(named("nope"), "phone,Ring me\nx,+46701234567\n").expect_err("there is none");
        assert_eq!(why.code(), "no_number_column");
        assert_eq!(why.to_string(), "No column is called nope. There are: phone, Ring me.");
        let named = named("Ring me");
        assert_eq!(read_with(named, "phone,Ring me\nx,+46701234567\n").expect("a table").0.rows.len(), 1);
    }
}
