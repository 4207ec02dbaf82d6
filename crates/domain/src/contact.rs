//! Contacts: people, with the numbers that they can be reached at and what an account knows of them.
//!
//! **The number is not the person.** What somebody agreed to and asked for (consent, suppression) belongs to the number and is
//! kept elsewhere; nothing here can change it. A number is of one contact at most in an account and environment, so two rows or
//! calls that name the same number speak of the same person.
//!
//! Fields are typed by their values: text, number, date, yes or no. Every value has one written form, from which it is read
//! back; a text that is a day of the calendar, written `2026-11-29`, is a date.

use crate::account::Realm;
use crate::address::PhoneNumber;
use crate::csv::yes_no;
use crate::id::ContactId;
use crate::quiet_hours::Place;
use crate::time::Timestamp;
use jiff::tz::TimeZoneDatabase;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Numbers of one contact.
pub const NUMBERS_MAX: usize = 8;
/// Fields of one contact.
pub const FIELDS_MAX: usize = 50;
/// Groups of one contact.
pub const GROUPS_MAX: usize = 50;
/// Characters of a name.
pub const NAME_MAX: usize = 200;
/// Characters of an owner.
pub const OWNER_MAX: usize = 100;
/// Characters of the name of a group.
pub const GROUP_MAX: usize = 60;
/// Characters of the name of a field.
pub const FIELD_NAME_MAX: usize = 40;
/// Characters of a text in a field.
pub const TEXT_MAX: usize = 1_000;

// ── what texts may be ───────────────────────────────────────────────────────────────────────────────────────

/// Why a text is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Invalid {
    /// There is nothing in it.
    Empty,
    /// It is longer than it may be.
    TooLong,
    /// It has a control character.
    ControlCharacter,
    /// It has another character that it may not have.
    Character,
    /// It has a `_` at its end, or two in a row.
    Underscores,
    /// It is the name of something that every contact has.
    Reserved,
    /// It is no language tag.
    Language,
    /// No time zone is called so.
    TimeZone,
    /// It is no number, or has too many digits.
    Number,
    /// It is no day of the calendar in the form `2026-11-29`.
    Date,
    /// It is neither yes nor no.
    YesNo,
}

impl Invalid {
    /// A stable lower-case word.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLong => "too_long",
            Self::ControlCharacter => "control_character",
            Self::Character => "unexpected_character",
            Self::Underscores => "underscores",
            Self::Reserved => "reserved",
            Self::Language => "no_language",
            Self::TimeZone => "no_time_zone",
            Self::Number => "no_number",
            Self::Date => "no_date",
            Self::YesNo => "no_yes_or_no",
        }
    }
}

impl fmt::Display for Invalid {
    /// A sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "There is nothing in it.",
            Self::TooLong => "It is too long.",
            Self::ControlCharacter => "It has a control character, such as a line end.",
            Self::Character => "It has a character that may not be in it.",
            Self::Underscores => "It has a `_` at its end, or two in a row.",
            Self::Reserved => "It is the name of something that every contact has.",
            Self::Language => "It is no language: write it as en, en-GB or zh-Hant.",
            Self::TimeZone => "No time zone is called so: write it as Europe/Stockholm.",
            Self::Number => {
                "It is no number: write it as 12 or -12.5, with four digits behind the point and eleven before it at most."
            }
            Self::Date => "It is no date: write it as 2026-11-29.",
            Self::YesNo => "It is neither yes nor no.",
        })
    }
}

/// A text of one line: trimmed, not empty, without control characters, and of so many characters at most.
///
/// # Errors
/// Which of these it is not.
pub fn line(text: &str, most: usize) -> Result<String, Invalid> {
    let text = text.trim();
    if text.chars().any(char::is_control) {
        return Err(Invalid::ControlCharacter);
    }
    bounded(text, most)
}

fn bounded(text: &str, most: usize) -> Result<String, Invalid> {
    match text.chars().count() {
        0 => Err(Invalid::Empty),
        count if count > most => Err(Invalid::TooLong),
        _ => Ok(text.to_owned()),
    }
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str { &self.0 }

            /// As it was stored: it was judged when it was parsed.
            pub fn from_stored(text: &str) -> Self { Self(text.to_owned()) }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.0) }
        }
    )*};
}

names! {
    /// A group that contacts are in: any name of one line, without `;` and `|`, which set groups apart in a table.
    Group;
    /// The name of a field: lower-case letters and digits, beginning with a letter, with single `_` between them. As the heading
    /// of a column it names the same field.
    FieldName;
    /// A language, as BCP 47 has it, of language, script and region: `en`, `en-GB`, `zh-Hant`.
    Language;
    /// The name of a time zone in the IANA database.
    ZoneName;
}

impl Group {
    /// Reads one.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let text = line(text, GROUP_MAX)?;
        if text.contains([';', '|']) { Err(Invalid::Character) } else { Ok(Self(text)) }
    }
}

/// What columns of a table mean that are no fields, in small letters and without what is no letter or digit.
pub(crate) const RESERVED: [&str; 19] = [
    "number",
    "name",
    "fullname",
    "language",
    "lang",
    "locale",
    "timezone",
    "tz",
    "zone",
    "owner",
    "groups",
    "group",
    "othernumbers",
    "id",
    "createdat",
    "updatedat",
    "refusedline",
    "refusedwhy",
    "refusedcolumn",
];

impl FieldName {
    /// Reads one.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let text = line(text, FIELD_NAME_MAX)?;
        // Some capitals have no other case, and some small letters become others.
        let is_lower = |c: char| c == '_' || (c.is_alphanumeric() && c.to_lowercase().eq([c]));
        if !text.starts_with(char::is_alphabetic) || !text.chars().all(is_lower) {
            return Err(Invalid::Character);
        }
        // A table that is written out and read again must mean the same.
        if folded(&text) != text {
            return Err(Invalid::Underscores);
        }
        if RESERVED.contains(&text.replace('_', "").as_str()) {
            return Err(Invalid::Reserved);
        }
        Ok(Self(text))
    }

    /// The name that a column's heading becomes: `Last visit` is `last_visit`.
    ///
    /// # Errors
    /// There is no letter to begin with, or it would be too long.
    pub fn of_heading(heading: &str) -> Result<Self, Invalid> {
        Self::parse(&folded(heading))
    }
}

/// Small letters and digits, with one `_` for whatever stands between them.
fn folded(heading: &str) -> String {
    let mut name = String::with_capacity(heading.len());
    for c in heading.trim().chars().flat_map(char::to_lowercase) {
        if c.is_alphanumeric() {
            name.push(c);
        } else if !name.is_empty() && !name.ends_with('_') {
            name.push('_');
        }
    }
    name.truncate(name.trim_end_matches('_').len());
    name
}

impl Language {
    /// Reads one, in any case and with `-` or `_`, and gives it its usual form.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Invalid::Empty);
        }
        let is_letters = |part: &str| part.bytes().all(|octet| octet.is_ascii_alphabetic());
        let mut parts = text.split(['-', '_']);
        let first = parts.next().filter(|part| matches!(part.len(), 2 | 3) && is_letters(part));
        let mut tag = first.ok_or(Invalid::Language)?.to_ascii_lowercase();
        let mut place = 0;
        for part in parts {
            let (next, part) = match part.len() {
                4 if is_letters(part) && place < 1 => {
                    (1, part[..1].to_ascii_uppercase() + &part[1..].to_ascii_lowercase())
                }
                2 if is_letters(part) && place < 2 => (2, part.to_ascii_uppercase()),
                3 if part.bytes().all(|octet| octet.is_ascii_digit()) && place < 2 => (2, part.to_owned()),
                _ => return Err(Invalid::Language),
            };
            place = next;
            tag.push('-');
            tag.push_str(&part);
        }
        Ok(Self(tag))
    }
}

impl ZoneName {
    /// Reads one, in any case.
    ///
    /// # Errors
    /// No zone is called so.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Invalid::Empty);
        }
        let zone = TimeZoneDatabase::bundled().get(text).map_err(|_| Invalid::TimeZone)?;
        zone.iana_name().map(Self::from_stored).ok_or(Invalid::TimeZone)
    }
}

// ── values ──────────────────────────────────────────────────────────────────────────────────────────────────

/// What kind of value a field has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Type {
    /// Text.
    Text,
    /// A number.
    Number,
    /// A day of the calendar.
    Date,
    /// Yes or no.
    YesNo,
}

impl Type {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Text, Self::Number, Self::Date, Self::YesNo];

    /// The public word, as a heading of a table has it behind a colon.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Number => "number",
            Self::Date => "date",
            Self::YesNo => "yes_no",
        }
    }

    /// From the public word, in any case.
    pub fn parse(word: &str) -> Option<Self> {
        match word.trim().to_lowercase().as_str() {
            // It can mean nothing else.
            "yesno" => Some(Self::YesNo),
            word => Self::ALL.into_iter().find(|kind| kind.as_str() == word),
        }
    }
}

/// A decimal number: four digits behind the point and eleven before it at most, so that every program that reads it as a
/// floating point number of 64 bits has the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal(i64);

impl Decimal {
    const SCALE: i64 = 10_000;

    /// Reads `12` or `-12.5`.
    ///
    /// # Errors
    /// It is no number, or has too many digits.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let (is_negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
        let is_digits =
            |text: &str, most| (1..=most).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_digit());
        let whole = whole.trim_start_matches('0');
        let has_digits = digits.starts_with(|c: char| c.is_ascii_digit()) && !part.is_empty();
        let part = if part.len() > 4 { part.trim_end_matches('0') } else { part };
        let part = if part.is_empty() { "0" } else { part };
        if !has_digits || !(whole.is_empty() || is_digits(whole, 11)) || !is_digits(part, 4) {
            return Err(Invalid::Number);
        }
        let number = |text: &str| text.parse::<i64>().unwrap_or(0);
        let units = number(whole) * Self::SCALE + number(&format!("{part:0<4}"));
        Ok(Self(if is_negative { -units } else { units }))
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0.abs() / Self::SCALE, self.0.abs() % Self::SCALE);
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(f, "{sign}{whole}")?;
        if part != 0 {
            let part = format!("{part:04}");
            write!(f, ".{}", part.trim_end_matches('0'))?;
        }
        Ok(())
    }
}

/// The value of a field.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// Text: 1 to [`TEXT_MAX`] characters, no control characters but line ends and tabs. None that is a date.
    Text(String),
    /// A number.
    Number(Decimal),
    /// A day of the calendar.
    Date(jiff::civil::Date),
    /// Yes or no.
    YesNo(bool),
}

impl Value {
    /// A text, or the date that it is.
    ///
    /// # Errors
    /// It is empty, too long, or has control characters other than line ends and tabs.
    pub fn text(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        if let Ok(date) = Self::date(text) {
            return Ok(date);
        }
        if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
            return Err(Invalid::ControlCharacter);
        }
        bounded(text, TEXT_MAX).map(Self::Text)
    }

    fn date(text: &str) -> Result<Self, Invalid> {
        let digits = |place| matches!(place, 0..=3 | 5 | 6 | 8 | 9);
        let is_form = text.len() == 10
            && text
                .bytes()
                .enumerate()
                .all(|(place, octet)| if digits(place) { octet.is_ascii_digit() } else { octet == b'-' });
        let date = if is_form { text.parse().ok() } else { None };
        date.map(Self::Date).ok_or(Invalid::Date)
    }

    /// Reads a cell of a table as a value of this type.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str, wanted: Type) -> Result<Self, Invalid> {
        let text = text.trim();
        match wanted {
            Type::Text => Self::text(text),
            Type::Number => Decimal::parse(text).map(Self::Number),
            Type::Date => Self::date(text),
            Type::YesNo => yes_no(text).map(Self::YesNo).ok_or(Invalid::YesNo),
        }
    }

    /// What kind it is.
    pub const fn kind(&self) -> Type {
        match self {
            Self::Text(_) => Type::Text,
            Self::Number(_) => Type::Number,
            Self::Date(_) => Type::Date,
            Self::YesNo(_) => Type::YesNo,
        }
    }
}

impl fmt::Display for Value {
    /// As a cell of a table has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => number.fmt(f),
            Self::Date(date) => date.fmt(f),
            Self::YesNo(true) => f.write_str("yes"),
            Self::YesNo(false) => f.write_str("no"),
        }
    }
}

// ── a contact ───────────────────────────────────────────────────────────────────────────────────────────────

/// What is known of a person besides numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Details {
    /// The name, as it is to be shown.
    pub name: Option<String>,
    /// The language.
    pub language: Option<Language>,
    /// The time zone, if somebody said it.
    pub zone: Option<ZoneName>,
    /// Who in the organisation looks after the person.
    pub owner: Option<String>,
    /// The groups.
    pub groups: BTreeSet<Group>,
    /// The account's own fields.
    pub fields: BTreeMap<FieldName, Value>,
}

/// A person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// Its id.
    pub id: ContactId,
    /// Whose contact.
    pub realm: Realm,
    /// How the person can be reached, the usual number first: 1 to [`NUMBERS_MAX`], each once.
    pub numbers: Vec<PhoneNumber>,
    /// What is known.
    pub details: Details,
    /// Since when.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// Why a change of a contact cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excess {
    /// It would have more than [`FIELDS_MAX`] fields.
    Fields,
    /// It would be in more than [`GROUPS_MAX`] groups.
    Groups,
}

/// A change that somebody asks for. `None` leaves a thing as it is, `Some(None)` removes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// The numbers that it has then: 1 to [`NUMBERS_MAX`], each once.
    pub numbers: Option<Vec<PhoneNumber>>,
    /// The name.
    pub name: Option<Option<String>>,
    /// The language.
    pub language: Option<Option<Language>>,
    /// The time zone.
    pub zone: Option<Option<ZoneName>>,
    /// The owner.
    pub owner: Option<Option<String>>,
    /// The groups that it is in then.
    pub groups: Option<BTreeSet<Group>>,
    /// These fields; all others stay.
    pub fields: BTreeMap<FieldName, Option<Value>>,
}

impl Contact {
    /// The contact after a change.
    ///
    /// # Errors
    /// It would have too much.
    pub fn changed(&self, change: &Change, now: Timestamp) -> Result<Self, Excess> {
        let mut changed = self.clone();
        let details = &mut changed.details;
        if let Some(numbers) = &change.numbers {
            changed.numbers.clone_from(numbers);
        }
        if let Some(name) = &change.name {
            details.name.clone_from(name);
        }
        if let Some(language) = &change.language {
            details.language.clone_from(language);
        }
        if let Some(zone) = &change.zone {
            details.zone.clone_from(zone);
        }
        if let Some(owner) = &change.owner {
            details.owner.clone_from(owner);
        }
        if let Some(groups) = &change.groups {
            details.groups.clone_from(groups);
        }
        for (name, value) in &change.fields {
            match value {
                Some(value) => details.fields.insert(name.clone(), value.clone()),
                None => details.fields.remove(name),
            };
        }
        self.told_from(changed, now)
    }

    /// The contact after a row of a table spoke of it: what the row says replaces what was there, what it leaves empty stays,
    /// and its groups are added.
    ///
    /// # Errors
    /// It would have too much.
    pub fn merged(&self, row: &Details, now: Timestamp) -> Result<Self, Excess> {
        let mut changed = self.clone();
        let details = &mut changed.details;
        fn put<T: Clone>(to: &mut Option<T>, from: &Option<T>) {
            if from.is_some() {
                to.clone_from(from);
            }
        }
        put(&mut details.name, &row.name);
        put(&mut details.language, &row.language);
        put(&mut details.zone, &row.zone);
        put(&mut details.owner, &row.owner);
        details.groups.extend(row.groups.iter().cloned());
        details.fields.extend(row.fields.iter().map(|(name, value)| (name.clone(), value.clone())));
        self.told_from(changed, now)
    }

    fn told_from(&self, changed: Self, now: Timestamp) -> Result<Self, Excess> {
        changed.details.check()?;
        let updated_at = if changed == *self { self.updated_at } else { now };
        Ok(Self { updated_at, ..changed })
    }

    /// Where the clock of the person is, as far as is known.
    pub fn zone(&self) -> Option<Zone> {
        if let Some(name) = &self.details.zone {
            let names = vec![name.as_str().to_owned()];
            return Some(Zone { names, source: Source::Stated, confidence: Confidence::High });
        }
        let names: Vec<String> = Place::of(*self.numbers.first()?)?.zones().map(str::to_owned).collect();
        let confidence = if names.len() == 1 { Confidence::Medium } else { Confidence::Low };
        Some(Zone { names, source: Source::Number, confidence })
    }
}

impl Details {
    /// Whether a contact may have all this.
    ///
    /// # Errors
    /// What is too much.
    pub fn check(&self) -> Result<(), Excess> {
        if self.fields.len() > FIELDS_MAX {
            return Err(Excess::Fields);
        }
        if self.groups.len() > GROUPS_MAX {
            return Err(Excess::Groups);
        }
        Ok(())
    }
}

/// Where the clock of a person is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// The names of the zones that it may be in, in the IANA database.
    pub names: Vec<String>,
    /// Who says so.
    pub source: Source,
    /// How far it can be relied on.
    pub confidence: Confidence,
}

/// Who says which time zone it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Somebody, for this person.
    Stated,
    /// The first number: its area code or country.
    Number,
}

impl Source {
    /// The public word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stated => "stated",
            Self::Number => "number",
        }
    }
}

/// How far a time zone can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confidence {
    /// It was said for this person.
    High,
    /// The number is of a place with one zone; people move with their numbers.
    Medium,
    /// The number is of a place with several.
    Low,
}

impl Confidence {
    /// The public word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Environment;
    use crate::id::AccountId;
    use proptest::prelude::*;

    fn contact(digits: u64) -> Contact {
        Contact {
            id: ContactId::from_key(1),
            realm: Realm { account: AccountId::from_key(1), environment: Environment::Live },
            numbers: vec![PhoneNumber::from_digits(digits).expect("a number")],
            details: Details::default(),
            created_at: Timestamp::from_millis(1),
            updated_at: Timestamp::from_millis(1),
        }
    }

    fn field(name: &str, value: &str) -> (FieldName, Value) {
        (FieldName::parse(name).expect("a name"), Value::text(value).expect("a text"))
    }

    #[test]
    fn names_are_read_in_their_form() {
        let language = |text: &str| Language::parse(text).map(|l| l.to_string());
        for (text, expected) in [
            ("EN", "en"),
            ("en_gb", "en-GB"),
            ("zh-hant-TW", "zh-Hant-TW"),
            ("es-419", "es-419"),
            ("fil", "fil"),
        ] {
            assert_eq!(language(text).as_deref(), Ok(expected), "{text}");
        }
        for text in ["e", "english", "en-", "en-GB-GB", "en-GB-Latn", "1n", "en-G", "é"] {
            assert_eq!(language(text), Err(Invalid::Language), "{text}");
        }
        let heading = |text: &str| FieldName::of_heading(text).map(|name| name.to_string());
        for (text, expected) in
            [("Last visit", "last_visit"), (" Plan (new) ", "plan_new"), ("Straße", "straße")]
        {
            assert_eq!(heading(text).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(heading("2nd"), Err(Invalid::Character));
        assert_eq!(heading("???"), Err(Invalid::Empty));
        let name = |text: &str| FieldName::parse(text).map(|name| name.to_string());
        for text in ["Plan", "a b", "a-b", "_a", "2nd", "ǅ", "İ", "a:number"] {
            assert_eq!(name(text), Err(Invalid::Character), "{text}");
        }
        for text in ["a_", "a__b", "a___"] {
            assert_eq!(name(text), Err(Invalid::Underscores), "{text}");
        }
        for text in ["refused_line", "refused_why", "refusedcolumn", "time_zone", "n_ame"] {
            assert_eq!(name(text), Err(Invalid::Reserved), "{text}");
        }
        assert_eq!(name(" last_visit_2 ").as_deref(), Ok("last_visit_2"));
        assert!(Group::parse("VIP; gold").is_err() && Group::parse("a\u{7}").is_err());
        assert_eq!(
            ZoneName::parse("europe/stockholm").map(|z| z.to_string()).as_deref(),
            Ok("Europe/Stockholm")
        );
        assert_eq!(ZoneName::parse("Mars/Base"), Err(Invalid::TimeZone));
    }

    #[test]
    fn values_are_of_the_type_that_they_show() {
        let check = |text: &str, wanted, expected: Result<&str, Invalid>| {
            let read = Value::parse(text, wanted).map(|value| value.to_string());
            assert_eq!(read.as_deref().map_err(|why| *why), expected, "{text}");
        };
        check("-012.50", Type::Number, Ok("-12.5"));
        check("0.0001", Type::Number, Ok("0.0001"));
        check("1.10000", Type::Number, Ok("1.1"));
        check("99999999999.9999", Type::Number, Ok("99999999999.9999"));
        for wrong in ["", "-", ".5", "1.", "1e3", "1,5", "123456789012", "0.00001", "--1", "+1", "1.2.3"] {
            check(wrong, Type::Number, Err(Invalid::Number));
        }
        check("2024-02-29", Type::Date, Ok("2024-02-29"));
        check("2023-02-29", Type::Date, Err(Invalid::Date));
        check("29.2.2024", Type::Date, Err(Invalid::Date));
        check("YES", Type::YesNo, Ok("yes"));
        check("0", Type::YesNo, Ok("no"));
        check("maybe", Type::YesNo, Err(Invalid::YesNo));
        check("", Type::Text, Err(Invalid::Empty));
        check("a\u{0}", Type::Text, Err(Invalid::ControlCharacter));
        assert_eq!(Value::text("2024-02-29").expect("read").kind(), Type::Date);
        assert_eq!(Value::text("2023-02-29").expect("read").kind(), Type::Text);
    }

    #[test]
    fn a_row_adds_and_replaces_and_never_removes() {
        let group = |name: &str| Group::parse(name).expect("a group");
        let mut known = contact(46_700_000_001);
        known.details.name = Some("Åsa".to_owned());
        known.details.groups = [group("old")].into();
        known.details.fields = [field("plan", "free"), field("city", "Lund")].into();
        let now = Timestamp::from_millis(9);
        let row = Details {
            owner: Some("Bo".to_owned()),
            groups: [group("new")].into(),
            fields: [field("plan", "pro")].into(),
            ..Details::default()
        };
        let merged = known.merged(&row, now).expect("it may be");
        assert_eq!(merged.details.name.as_deref(), Some("Åsa"));
        assert_eq!(merged.details.groups, [group("new"), group("old")].into());
        assert_eq!(merged.details.fields, [field("plan", "pro"), field("city", "Lund")].into());
        assert_eq!((merged.updated_at, merged.numbers.clone()), (now, known.numbers.clone()));
        assert_eq!(merged.merged(&row, Timestamp::from_millis(99)).expect("it may be"), merged);
        let many = (0..=FIELDS_MAX).map(|n| field(&format!("f{n}"), "x")).collect();
        let many = Details { fields: many, ..Details::default() };
        assert_eq!(known.merged(&many, now), Err(Excess::Fields));
    }

    #[test]
    fn a_change_says_what_goes() {
        let mut known = contact(46_700_000_001);
        known.details.name = Some("Åsa".to_owned());
        known.details.fields = [field("plan", "free"), field("city", "Lund")].into();
        let (plan, _) = field("plan", "free");
        let change = Change { name: Some(None), fields: [(plan, None)].into(), ..Change::default() };
        let changed = known.changed(&change, Timestamp::from_millis(9)).expect("it may be");
        assert_eq!(changed.details, Details { fields: [field("city", "Lund")].into(), ..Details::default() });
        let same = changed.changed(&Change::default(), Timestamp::from_millis(99)).expect("it may be");
        assert_eq!(same.updated_at, Timestamp::from_millis(9));
    }

    #[test]
    fn a_zone_says_where_it_is_from() {
        let check = |contact: &Contact, expected: Option<(&str, Source, Confidence)>| {
            let zone = contact.zone();
            let found = zone.as_ref().map(|zone| (zone.names[0].as_str(), zone.source, zone.confidence));
            assert_eq!(found, expected);
        };
        let swede = contact(46_700_000_001);
        check(&swede, Some(("Europe/Stockholm", Source::Number, Confidence::Medium)));
        let mut moved = swede.clone();
        moved.details.zone = Some(ZoneName::parse("Asia/Tokyo").expect("a zone"));
        check(&moved, Some(("Asia/Tokyo", Source::Stated, Confidence::High)));
        let russian = contact(79_161_234_567).zone().expect("somewhere");
        assert_eq!((russian.names.len() > 1, russian.confidence), (true, Confidence::Low));
        check(&contact(881_612_345_678), None);
    }

    proptest! {
        #[test]
        fn a_number_reads_back_as_itself(units in -999_999_999_999_999_i64..=999_999_999_999_999) {
            let number = Decimal(units);
            prop_assert_eq!(Decimal::parse(&number.to_string()), Ok(number));
            let float: f64 = number.to_string().parse().expect("a number");
            prop_assert_eq!(Decimal::parse(&float.to_string()), Ok(number));
        }
    }
}
