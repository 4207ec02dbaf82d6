//! Imports: a table of contacts is first judged, row by row, and only taken over when a person has seen the report.
//!
//! Each row is good, mended, refused or a duplicate, and the report has the sum of each with its reasons. What is mended has one
//! meaning only: marks that nobody sees around a number, a country code that the caller named, letters of another alphabet.
//! Everything else is refused by name, so that the person can mend it: nobody guesses whom a number belongs to.
//!
//! An import speaks of contacts. It neither gives consent nor ends an opt-out, whatever its columns say. The same reading serves
//! tables of which only the numbers count ([`Reader::of_numbers`]): those of people who opted out elsewhere.
//!
//! Rows come out in windows, each in the order of its numbers: the store finds and writes neighbours together then, and
//! one window is all that is held in memory, beside the numbers that came before (8 octets and a little each).

use crate::account::{Environment, Realm};
use crate::address::{Country, InvalidPhoneNumber, PhoneNumber};
use crate::contact::{
    self, Contact, Details, Excess, FieldName, GROUPS_MAX, Group, Invalid, Language, Type, Value, ZoneName,
};
use crate::csv::{self, Body, Broken, Records};
use crate::id::{ContactId, ImportId};
use crate::quiet_hours::Place;
use crate::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;

/// Rows of one import. What is remembered of each takes some 20 octets.
pub const ROWS_MAX: u64 = 2_000_000;
/// Octets of one import.
pub const OCTETS_MAX: u64 = 512 * 1024 * 1024;
/// Columns of a table.
pub const COLUMNS_MAX: usize = 100;
/// Characters of the name of an import: that of its file.
pub const NAME_MAX: usize = 200;
/// Rows of a window.
const WINDOW_ROWS: usize = 40_000;
/// Octets of the file that a window has.
const WINDOW_OCTETS: usize = 8 * 1024 * 1024;
/// Time zones that are remembered by name while a file is read.
const ZONES_REMEMBERED: usize = 1_000;
/// An import of which nothing came for so long will not be finished: ms.
const READING_MS: i64 = 60 * 60 * 1_000;
/// How long a report waits for a decision: ms.
const READY_MS: i64 = 7 * 24 * 60 * 60 * 1_000;
/// How long refused rows can be fetched after an import is done: ms.
const REFUSED_MS: i64 = 30 * 24 * 60 * 60 * 1_000;

// ── an import ───────────────────────────────────────────────────────────────────────────────────────────────

/// How far an import is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// The file is being read.
    Reading,
    /// The report is whole and waits for a decision.
    Ready,
    /// The rows are being taken over.
    Committing,
    /// They were.
    Done,
    /// The file broke off, or is no table that can be read; or, once it was decided, the store lost rows of it.
    Broken,
    /// Somebody decided against it, or nobody decided for a week.
    Discarded,
}

impl State {
    /// All of them; the place in this list is the number in the store.
    pub const ALL: [Self; 6] =
        [Self::Reading, Self::Ready, Self::Committing, Self::Done, Self::Broken, Self::Discarded];

    /// The public word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reading => "reading",
            Self::Ready => "ready",
            Self::Committing => "committing",
            Self::Done => "done",
            Self::Broken => "broken",
            Self::Discarded => "discarded",
        }
    }

    /// Whether a decision was made of it: to make it once more would change nothing.
    pub fn is_decided(self, decision: Decision) -> bool {
        self.decided(decision) == Some(self)
    }

    /// What it is after a decision; `None` if it cannot be decided so any more. The same decision twice is one.
    pub const fn decided(self, decision: Decision) -> Option<Self> {
        match (decision, self) {
            (Decision::Commit, Self::Ready | Self::Committing) => Some(Self::Committing),
            (Decision::Commit, Self::Done) => Some(Self::Done),
            (Decision::Discard, Self::Reading | Self::Ready | Self::Discarded) => Some(Self::Discarded),
            (Decision::Discard, Self::Broken) => Some(Self::Broken),
            (Decision::Commit, Self::Reading | Self::Broken | Self::Discarded)
            | (Decision::Discard, Self::Committing | Self::Done) => None,
        }
    }

    /// What time makes of it.
    pub fn aged(self, updated_at: Timestamp, now: Timestamp) -> Self {
        let age_ms = now.since_ms(updated_at);
        match self {
            Self::Reading if age_ms > READING_MS => Self::Broken,
            Self::Ready if age_ms > READY_MS => Self::Discarded,
            other => other,
        }
    }

    /// Whether its rows are still needed, the refused ones included.
    pub fn keeps_rows(self, updated_at: Timestamp, now: Timestamp) -> bool {
        match self {
            Self::Reading | Self::Ready | Self::Committing => true,
            Self::Done => now.since_ms(updated_at) <= REFUSED_MS,
            Self::Broken | Self::Discarded => false,
        }
    }
}

/// What a person decides about a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Take the rows over.
    Commit,
    /// Forget them.
    Discard,
}

/// An import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// Its id.
    pub id: ImportId,
    /// Whose contacts.
    pub realm: Realm,
    /// What it is called: the name of its file.
    pub name: String,
    /// Who brought it.
    pub who: String,
    /// How far it is.
    pub state: State,
    /// The headings of the table, in their order.
    pub headings: Vec<String>,
    /// What was found in it.
    pub report: Report,
    /// What was taken over.
    pub progress: Progress,
    /// When it began.
    pub created_at: Timestamp,
    /// When anything was last done about it.
    pub updated_at: Timestamp,
}

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
}

impl Report {
    /// Rows that can be taken over.
    pub const fn accepted(&self) -> u64 {
        self.good + self.mended
    }
}

/// What was taken over so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Contacts that were made.
    pub created: u64,
    /// Contacts that a row changed.
    pub changed: u64,
    /// Rows that said of a contact what was known.
    pub unchanged: u64,
    /// Rows that were not taken over, because their contact would have too many fields or groups.
    pub over: u64,
}

impl Progress {
    /// Rows that are done.
    pub const fn rows(&self) -> u64 {
        self.created + self.changed + self.unchanged + self.over
    }

    /// With those of one more commit.
    #[must_use]
    pub const fn plus(self, more: Self) -> Self {
        Self {
            created: self.created + more.created,
            changed: self.changed + more.changed,
            unchanged: self.unchanged + more.unchanged,
            over: self.over + more.over,
        }
    }
}

// ── the rows ────────────────────────────────────────────────────────────────────────────────────────────────

/// A row that can be taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The id of the contact, if it becomes a new one.
    pub id: ContactId,
    /// The number that it is about.
    pub number: PhoneNumber,
    /// What it says.
    pub details: Details,
    /// Octets that it had in the file.
    pub octets: u32,
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
        }
    }
}

/// What is mended of a row. Each is a bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mend {
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

#[derive(Debug, Clone, Copy, Default)]
struct Mends(u8);

impl Mends {
    fn add(&mut self, mend: Mend) {
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
    /// Groups that every row is in.
    pub groups: BTreeSet<Group>,
}

/// Why a file is no table that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    /// There is nothing in it.
    Empty,
    /// The line with the headings cannot be read.
    Headings,
    /// No column is known to have numbers. With the headings that there are.
    NoNumbers(Vec<String>),
    /// Two columns mean the same.
    Twice(String),
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
            Self::NoNumbers(_) => "no_number_column",
            Self::Twice(_) => "same_column_twice",
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
            Self::NoNumbers(headings) => write!(
                f,
                "No column is known to hold phone numbers. The first line must name the columns; say which one it is with number_column. There are: {}.",
                headings.join(", ")
            ),
            Self::Twice(heading) => write!(f, "Two columns mean the same: {heading}. Rename one of them."),
            Self::Columns => write!(f, "A table may have {COLUMNS_MAX} columns."),
            Self::Rows => write!(f, "A table may have {ROWS_MAX} rows; cut it into several."),
            Self::Octets => {
                write!(f, "A table may have {} MiB; cut it into several.", OCTETS_MAX / (1024 * 1024))
            }
        }
    }
}

/// What a column is about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Column {
    Number,
    Name,
    Language,
    Zone,
    Owner,
    Groups,
    Field(FieldName, Type),
    Ignored,
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
const REFUSED: [&str; 3] = ["refused_line", "refused_why", "refused_column"];
/// Headings of our own tables that say what we know better.
const OURS: [&str; 7] =
    ["id", "othernumbers", "createdat", "updatedat", "refusedline", "refusedwhy", "refusedcolumn"];

fn folded(heading: &str) -> String {
    heading.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// What a table is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Contacts,
    Numbers,
}

/// What the headings mean.
fn columns(
    headings: &[String],
    number_column: Option<&str>,
    wanted: Wanted,
) -> Result<Vec<Column>, Unusable> {
    if headings.len() > COLUMNS_MAX {
        return Err(Unusable::Columns);
    }
    let names: Vec<String> = headings.iter().map(|heading| folded(heading)).collect();
    let number = match number_column {
        Some(wanted) => headings
            .iter()
            .position(|heading| heading.trim() == wanted.trim())
            .or_else(|| names.iter().position(|name| !name.is_empty() && *name == folded(wanted))),
        None => NUMBERS.iter().find_map(|known| names.iter().position(|name| name == known)),
    };
    let number = number.ok_or_else(|| {
        Unusable::NoNumbers(headings.iter().map(|heading| heading.chars().take(40).collect()).collect())
    })?;
    let mut found: Vec<Column> = Vec::with_capacity(headings.len());
    for (n, (heading, name)) in headings.iter().zip(&names).enumerate() {
        let column = match name.as_str() {
            _ if n == number => Column::Number,
            _ if wanted == Wanted::Numbers => Column::Ignored,
            "" => Column::Ignored,
            "name" | "fullname" => Column::Name,
            "language" | "lang" | "locale" => Column::Language,
            "timezone" | "tz" | "zone" => Column::Zone,
            "owner" => Column::Owner,
            "groups" | "group" => Column::Groups,
            name if OURS.contains(&name) => Column::Ignored,
            _ => {
                let typed = heading
                    .rsplit_once(':')
                    .and_then(|(heading, word)| Type::parse(word).map(|wanted| (heading, wanted)));
                let (heading, wanted) = typed.unwrap_or((heading, Type::Text));
                FieldName::of_heading(heading).map_or(Column::Ignored, |name| Column::Field(name, wanted))
            }
        };
        let is_same = |other: &Column| match (&column, other) {
            (Column::Ignored, _) => false,
            (Column::Field(name, _), Column::Field(other, _)) => name == other,
            (column, other) => *column == *other,
        };
        if found.iter().any(is_same) {
            return Err(Unusable::Twice(heading.chars().take(40).collect()));
        }
        found.push(column);
    }
    Ok(found)
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

/// Why a row is refused, and because of which column.
type Refusal = (Reason, Option<usize>);

/// Reads a table that comes in pieces.
#[derive(Debug)]
pub struct Reader {
    options: Options,
    wanted: Wanted,
    records: Records,
    headings: Vec<String>,
    columns: Vec<Column>,
    number_at: usize,
    /// Numbers of rows that can be taken over.
    seen: HashSet<u64>,
    zones: HashMap<String, Result<ZoneName, Invalid>>,
    report: Report,
    rows: Vec<Row>,
    refused: Vec<Refused>,
    /// Octets of the rows in hand.
    octets: usize,
}

/// Rows that were judged: those that can be taken over in the order of their numbers, and the others in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Window {
    /// Those that can be taken over.
    pub rows: Vec<Row>,
    /// Those that cannot.
    pub refused: Vec<Refused>,
}

impl Reader {
    /// Before the first octet.
    pub fn new(options: Options) -> Self {
        Self::of(options, Wanted::Contacts)
    }

    /// The same for a table of which only the numbers count: every other column is passed over, whatever is in it.
    pub fn of_numbers(options: Options) -> Self {
        Self::of(options, Wanted::Numbers)
    }

    fn of(options: Options, wanted: Wanted) -> Self {
        Self {
            options,
            wanted,
            records: Records::new(),
            headings: Vec::new(),
            columns: Vec::new(),
            number_at: 0,
            seen: HashSet::new(),
            zones: HashMap::new(),
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

    /// What was judged since this was last asked. `id` gives each row that can be taken over its id.
    pub fn take(&mut self, mut id: impl FnMut() -> ContactId) -> Window {
        self.octets = 0;
        let mut rows = std::mem::take(&mut self.rows);
        rows.sort_unstable_by_key(|row| row.number);
        for row in &mut rows {
            row.id = id();
        }
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
                    match self.judge(&cells, &mut mends) {
                        Ok((number, details)) => self.accept(number, details, mends, record.octets),
                        Err(why) => self.refuse(record.line, why, cells),
                    }
                }
            }
        }
        Ok(())
    }

    /// The first row names the columns.
    fn begin(&mut self, cells: Vec<String>) -> Result<(), Unusable> {
        self.headings = cells
            .iter()
            .map(|cell| {
                csv::plain(cell).chars().filter(|c| !c.is_control() && !is_invisible(*c)).collect::<String>()
            })
            .map(|heading| heading.trim().to_owned())
            .collect();
        self.columns = columns(&self.headings, self.options.number_column.as_deref(), self.wanted)?;
        self.number_at = self.columns.iter().position(|column| *column == Column::Number).unwrap_or(0);
        let headings = self.headings.iter().zip(&self.columns);
        self.report.ignored = headings
            .filter(|(heading, column)| **column == Column::Ignored && !heading.is_empty())
            .map(|(heading, _)| heading.clone())
            .collect();
        Ok(())
    }

    fn accept(&mut self, number: PhoneNumber, details: Details, mends: Mends, octets: usize) {
        self.seen.insert(number.digits());
        if mends.0 == 0 {
            self.report.good += 1;
        } else {
            self.report.mended += 1;
        }
        for mend in mends.iter() {
            count(&mut self.report.mends, mend.as_str());
        }
        count(&mut self.report.countries, Place::of(number).map_or("none", Place::country));
        let octets = u32::try_from(octets).unwrap_or(u32::MAX);
        self.rows.push(Row { id: ContactId::from_key(0), number, details, octets });
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

    fn judge(&mut self, cells: &[String], mends: &mut Mends) -> Result<(PhoneNumber, Details), Refusal> {
        if cells.iter().skip(self.columns.len()).any(|cell| !cell.trim().is_empty()) {
            return Err((Reason::Cells, None));
        }
        let at = self.number_at;
        let number = cells.get(at).map_or("", |cell| csv::plain(cell));
        let number = self.number(number, mends).map_err(|why| (why, Some(at)))?;
        if self.seen.contains(&number.digits()) {
            return Err((Reason::Duplicate, None));
        }
        let mut details = Details { groups: self.options.groups.clone(), ..Details::default() };
        for (n, cell) in cells.iter().enumerate() {
            let Some(column) = self.columns.get(n) else { continue };
            let wrong = |why| (Reason::Cell(why), Some(n));
            if matches!(column, Column::Number | Column::Ignored) || cell.trim().is_empty() {
                continue;
            }
            let text = cleaned(csv::plain(cell), column, mends);
            let text = text.trim();
            if text.is_empty() {
                continue;
            }
            let is_text = matches!(
                column,
                Column::Name | Column::Owner | Column::Groups | Column::Field(_, Type::Text)
            );
            if is_text && csv::is_formula(text) {
                mends.add(Mend::Formula);
            }
            match column {
                Column::Name => {
                    details.name = Some(contact::line(text, contact::NAME_MAX).map_err(wrong)?);
                }
                Column::Owner => {
                    details.owner = Some(contact::line(text, contact::OWNER_MAX).map_err(wrong)?);
                }
                Column::Language => details.language = Some(Language::parse(text).map_err(wrong)?),
                Column::Zone => {
                    if self.zones.len() >= ZONES_REMEMBERED {
                        self.zones.clear();
                    }
                    let known = match self.zones.get(text) {
                        Some(known) => known.clone(),
                        None => {
                            let read = ZoneName::parse(text);
                            self.zones.insert(text.to_owned(), read.clone());
                            read
                        }
                    };
                    details.zone = Some(known.map_err(wrong)?);
                }
                Column::Groups => {
                    for part in text.split([';', '|']).filter(|part| !part.trim().is_empty()) {
                        details.groups.insert(Group::parse(part).map_err(wrong)?);
                    }
                    if details.groups.len() > GROUPS_MAX {
                        return Err((Reason::Groups, Some(n)));
                    }
                }
                Column::Field(name, wanted) => {
                    let value = Value::parse(text, *wanted).map_err(wrong)?;
                    details.fields.insert(name.clone(), value);
                }
                Column::Number | Column::Ignored => {}
            }
        }
        match details.check() {
            Ok(()) => Ok((number, details)),
            Err(Excess::Groups) => Err((Reason::Groups, None)),
            Err(Excess::Fields) => Err((Reason::Cells, None)),
        }
    }

    fn number(&self, cell: &str, mends: &mut Mends) -> Result<PhoneNumber, Reason> {
        let mut text = std::borrow::Cow::Borrowed(cell.trim());
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
fn cleaned<'t>(text: &'t str, column: &Column, mends: &mut Mends) -> std::borrow::Cow<'t, str> {
    let has_lines = matches!(column, Column::Field(_, Type::Text));
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

// ── taking over ─────────────────────────────────────────────────────────────────────────────────────────────

/// What follows from some rows, given the contacts that have their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Taken {
    /// New contacts, in the order of their rows.
    pub created: Vec<Contact>,
    /// Contacts before and after their change.
    pub changed: Vec<(Contact, Contact)>,
    /// The sums.
    pub progress: Progress,
}

/// Takes rows over: a row whose number a contact has changes it, any other becomes a contact. `known` are all contacts with one
/// of the numbers, each once.
pub fn take_over(rows: &[Row], known: Vec<Contact>, realm: Realm, now: Timestamp) -> Taken {
    let by_number: HashMap<PhoneNumber, usize> = known
        .iter()
        .enumerate()
        .flat_map(|(n, contact)| contact.numbers.iter().map(move |number| (*number, n)))
        .collect();
    let mut after: Vec<Option<Contact>> = vec![None; known.len()];
    let mut taken = Taken::default();
    for row in rows {
        let Some(&n) = by_number.get(&row.number) else {
            let details = row.details.clone();
            let numbers = vec![row.number];
            taken.created.push(Contact {
                id: row.id,
                realm,
                numbers,
                details,
                created_at: now,
                updated_at: now,
            });
            taken.progress.created += 1;
            continue;
        };
        let before = after[n].as_ref().unwrap_or(&known[n]);
        match before.merged(&row.details, now) {
            Ok(merged) if merged.details == before.details => taken.progress.unchanged += 1,
            Ok(merged) => {
                after[n] = Some(merged);
                taken.progress.changed += 1;
            }
            Err(Excess::Fields | Excess::Groups) => taken.progress.over += 1,
        }
    }
    let changed = known.into_iter().zip(after).filter_map(|(before, after)| Some((before, after?)));
    taken.changed = changed.collect();
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::AccountId;
    use proptest::prelude::*;

    fn options() -> Options {
        Options {
            environment: Environment::Live,
            default_country: Country::parse("SE").ok(),
            number_column: None,
            groups: BTreeSet::new(),
        }
    }

    fn read_with(options: Options, table: &str) -> Result<(Window, Report), Unusable> {
        read_by(Reader::new(options), table)
    }

    fn read_by(mut reader: Reader, table: &str) -> Result<(Window, Report), Unusable> {
        for piece in table.as_bytes().chunks(13) {
            reader.feed(piece)?;
        }
        reader.end()?;
        let mut id = 0;
        let window = reader.take(|| {
            id += 1;
            ContactId::from_key(id)
        });
        Ok((window, reader.report().clone()))
    }

    fn read(table: &str) -> (Window, Report) {
        read_with(options(), table).expect("a table")
    }

    /// The number of the only row, or why it was refused, and what was mended.
    fn number(cell: &str) -> String {
        let (window, report) = read(&format!("phone;x\n{cell};1\n"));
        let mends: Vec<_> = report.mends.keys().map(String::as_str).collect();
        match (window.rows.first(), window.refused.first()) {
            (Some(row), None) => format!("{} {}", row.number, mends.join(",")),
            (None, Some(refused)) => refused.reason.clone(),
            both => panic!("{both:?}"),
        }
    }

    #[test]
    fn where_only_numbers_count_no_other_column_refuses_a_row() {
        let table = "phone,language,born:date,name,name\n+46701234501,??,31.1.,a,b\n0701234502,,,\"x\ny\",\n+46701234501,,,,\n";
        let (window, report) = read_by(Reader::of_numbers(options()), table).expect("a table");
        let numbers: Vec<String> = window.rows.iter().map(|row| row.number.to_string()).collect();
        assert_eq!(numbers, ["+46701234501", "+46701234502"]);
        assert_eq!((report.good, report.mended, report.duplicates, report.refused), (1, 1, 1, 0));
        assert_eq!(report.ignored, ["language", "born:date", "name", "name"]);
        assert!(window.rows.iter().all(|row| row.details == Details::default()));
        assert_eq!(read_with(options(), table).expect_err("two names"), Unusable::Twice("name".to_owned()));
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

    #[test]
    fn columns_mean_what_their_headings_say() {
        let table = "Name,Mobile,Last visit:date,Visits:number,VIP:yes_no,City,Groups,Time zone,Language,id,\n\
                     Åsa,+46701234567,2026-01-02,3.50,yes,=Lund,gold; new|gold,europe/stockholm,SV,ctc_1,\n\
                     ,+46701234568,,,,,,,,,\n\
                     Bo,+46701234569,1.2.2026,,,,,,,,\n\
                     Bo,+46701234570,,many,,,,,,,\n\
                     Bo,+46701234571,,,,,,Lund,,,\n\
                     Bo,+46701234572,,,,,,,,,,extra\n";
        let (window, report) = read(table);
        let row = &window.rows[0];
        let cell = |name: &str| row.details.fields[&FieldName::parse(name).expect("a name")].to_string();
        assert_eq!(["last_visit", "visits", "vip", "city"].map(cell), ["2026-01-02", "3.5", "yes", "=Lund"]);
        assert_eq!(row.details.name.as_deref(), Some("Åsa"));
        let groups: Vec<&str> = row.details.groups.iter().map(Group::as_str).collect();
        assert_eq!(groups, ["gold", "new"]);
        assert_eq!(row.details.zone.as_ref().map(ZoneName::as_str), Some("Europe/Stockholm"));
        assert_eq!(row.details.language.as_ref().map(Language::as_str), Some("sv"));
        assert_eq!(window.rows[1].details, Details::default());
        let refused: Vec<_> = window
            .refused
            .iter()
            .map(|one| (one.line, one.reason.as_str(), one.column.as_deref().unwrap_or("")))
            .collect();
        assert_eq!(
            refused,
            [
                (4, "cell_no_date", "Last visit:date"),
                (5, "cell_no_number", "Visits:number"),
                (6, "cell_no_time_zone", "Time zone"),
                (7, "too_many_cells", ""),
            ]
        );
        assert_eq!((report.rows, report.good, report.mended, report.refused), (6, 1, 1, 4));
        assert_eq!(report.mends, [("formula_kept_as_text".to_owned(), 1)].into());
        assert_eq!(
            (report.ignored, report.countries),
            (vec!["id".to_owned()], [("SE".to_owned(), 2)].into())
        );
    }

    #[test]
    fn no_field_is_called_as_something_else_is() {
        for name in contact::RESERVED.into_iter().filter(|name| *name != "number") {
            let found =
                columns(&["number".to_owned(), name.to_owned()], None, Wanted::Contacts).expect("headings");
            assert!(!matches!(found[1], Column::Field(..)), "{name}");
            assert_eq!(FieldName::parse(name), Err(Invalid::Reserved));
        }
        for heading in REFUSED {
            assert!(OURS.contains(&folded(heading).as_str()), "{heading}");
            assert_eq!(FieldName::parse(heading), Err(Invalid::Reserved));
        }
    }

    proptest! {
        /// Whatever may be the name of a field: as an export writes it, an import reads it.
        #[test]
        fn a_name_that_is_accepted_comes_back(text in "[a-cA-Cé2_ :ǅßİ-]{1,8}|\\PC{1,6}|[a-z]{2,7}_?[a-z]{2,6}") {
            if let Ok(name) = FieldName::parse(&text) {
                prop_assert_eq!(FieldName::parse(name.as_str()), Ok(name.clone()));
                for kind in Type::ALL {
                    let typed = if kind == Type::Text { String::new() } else { format!(":{}", kind.as_str()) };
                    let mut reader = Reader::new(options());
                    reader.feed(format!("number,{name}{typed}\n").as_bytes()).expect("headings");
                    prop_assert_eq!(&reader.columns[1], &Column::Field(name.clone(), kind));
                }
            }
        }
    }

    /// Of cells behind the last column the first is kept that makes the row a refused one.
    #[test]
    fn of_a_refused_row_only_so_many_cells_are_kept() {
        let (many, some) = (",".repeat(60_000), format!("{}x{}", ",".repeat(9), ",y".repeat(30_000)));
        let (window, report) =
            read(&format!("to,born:date\n+46701234567,2001-02-03,{some}\n+46701234568,never{many}\n"));
        let kept: Vec<&[String]> = window.refused.iter().map(|row| row.cells.as_slice()).collect();
        assert_eq!(
            kept,
            [["+46701234567", "2001-02-03", "x"].as_slice(), ["+46701234568", "never"].as_slice()]
        );
        assert!(window.refused.iter().all(|row| row.cells.capacity() <= 3));
        let why = [("cell_no_date".to_owned(), 1), ("too_many_cells".to_owned(), 1)];
        assert_eq!(report.reasons, why.into());
    }

    #[test]
    fn the_first_good_row_of_a_number_counts() {
        let table =
            "number,born:date\n+46701234567,never\n0701234567,2001-02-03\n+46 70 123 45 67,2002-02-03\n";
        let (window, report) = read(table);
        assert_eq!((window.rows.len(), report.duplicates, report.refused), (1, 1, 1));
        assert_eq!(window.refused[1].reason, "duplicate");
        assert_eq!(
            window.rows[0].details.fields.values().next().map(ToString::to_string).as_deref(),
            Some("2001-02-03")
        );
        assert_eq!(report.reasons, [("cell_no_date".to_owned(), 1)].into());
    }

    #[test]
    fn rows_come_in_the_order_of_their_numbers_and_refused_ones_in_that_of_the_file() {
        let (window, _) = read("to\n+46701234569\nx\n+46701234567\n\"y\"z\n+46701234568\n");
        let numbers: Vec<_> = window.rows.iter().map(|row| (row.id.key(), row.number.to_string())).collect();
        assert_eq!(
            numbers,
            [(1, "+46701234567".to_owned()), (2, "+46701234568".to_owned()), (3, "+46701234569".to_owned())]
        );
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
        check("number,city,City\n", "same_column_twice");
        check("number,\"city\"x\n", "no_headings");
        check(&format!("number{}\n", ",a".repeat(COLUMNS_MAX)), "too_many_columns");
        let named = Options { number_column: Some("Ring me".to_owned()), ..options() };
        assert_eq!(read_with(named, "phone,Ring me\nx,+46701234567\n").expect("a table").0.rows.len(), 1);
    }

    #[test]
    fn a_number_is_taken_over_once_and_two_of_one_person_together() {
        let realm = Realm { account: AccountId::from_key(1), environment: Environment::Live };
        let number = |digits| PhoneNumber::from_digits(digits).expect("a number");
        let named = |name: &str| Details { name: Some(name.to_owned()), ..Details::default() };
        let row = |id, digits, name| Row {
            id: ContactId::from_key(id),
            number: number(digits),
            details: named(name),
            octets: 9,
        };
        let known = Contact {
            id: ContactId::from_key(9),
            realm,
            numbers: vec![number(46_700_000_001), number(46_700_000_002)],
            details: named("Åsa"),
            created_at: Timestamp::from_millis(1),
            updated_at: Timestamp::from_millis(1),
        };
        let rows = [row(1, 46_700_000_001, "Bo"), row(2, 46_700_000_002, "Bo"), row(3, 46_700_000_003, "Ed")];
        let taken = take_over(&rows, vec![known.clone()], realm, Timestamp::from_millis(5));
        assert_eq!(taken.progress, Progress { created: 1, changed: 1, unchanged: 1, over: 0 });
        assert_eq!(taken.changed[0].0, known);
        assert_eq!(taken.changed[0].1.details, named("Bo"));
        assert_eq!(
            (taken.created[0].id, taken.created[0].numbers.clone()),
            (ContactId::from_key(3), vec![number(46_700_000_003)])
        );
    }

    #[test]
    fn a_decision_is_made_once() {
        use Decision::{Commit, Discard};
        use State::*;
        let check = |decision, expected: [Option<State>; 6]| {
            assert_eq!(State::ALL.map(|state| state.decided(decision)), expected, "{decision:?}");
        };
        check(Commit, [None, Some(Committing), Some(Committing), Some(Done), None, None]);
        check(Discard, [Some(Discarded), Some(Discarded), None, None, Some(Broken), Some(Discarded)]);
        let stand = |decision| State::ALL.into_iter().filter(move |state| state.is_decided(decision));
        assert_eq!(stand(Commit).collect::<Vec<_>>(), [Committing, Done]);
        assert_eq!(stand(Discard).collect::<Vec<_>>(), [Broken, Discarded]);
        let (then, later) = (Timestamp::from_millis(0), Timestamp::from_millis(READY_MS + 1));
        assert_eq!(
            State::ALL.map(|state| state.aged(then, later)),
            [Broken, Discarded, Committing, Done, Broken, Discarded]
        );
        assert_eq!(State::ALL.map(|state| state.aged(then, then)), State::ALL);
    }
}
