//! Templates: texts with places that are filled from typed values, in several languages, and that never go out with a hole.
//!
//! A [`Content`] says which values there are, what each may be, and the text in each language. [`Content::check`] refuses
//! what could not be filled, when it is written and not when it is sent. [`Content::fill`] makes the text of one message:
//! a value that is missing, empty or not of its type stops it, by name. [`Content::outlook`] says what a message will cost
//! before anybody is sent to.
//!
//! The [language](language) has nothing that reaches outside of the text, and what a template may do is counted.
//!
//! What this does not know: who a message goes to, and what a segment costs at a carrier.

mod language;

use crate::account::Realm;
use crate::contact::Details;
use crate::csv::yes_no;
use crate::id::TemplateId;
use crate::text::{self, Measured, Unsendable, brief};
use crate::time::Timestamp;
use jiff::civil::{Date, DateTime};
use language::Parsed;
use std::collections::BTreeMap;
use std::fmt;

/// Characters of a template's name, of a variable's, and of a language's.
pub const NAME_MAX: usize = 64;
/// Characters of a text with its places.
pub const SOURCE_MAX: usize = 4_000;
/// Languages of one template.
pub const LANGUAGES_MAX: usize = 30;
/// Variables of one template.
pub const VARIABLES_MAX: usize = 30;
/// Characters that the value of a text may have, at most.
pub const TEXT_VALUE_MAX: u16 = 1_000;
/// The characters of a text value if its template does not say.
pub const TEXT_VALUE_DEFAULT: u16 = 100;
/// The largest whole number that a value may be, and the smallest below zero: what a double holds exactly in hundredths.
pub const NUMBER_MAX: i64 = 1_000_000_000_000;

/// One version of a template. A version never changes; the next one is another.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    /// The id that all versions share.
    pub id: TemplateId,
    /// Whose.
    pub realm: Realm,
    /// What callers name it by.
    pub name: String,
    /// What it is for, in words for people; that of its first version.
    pub description: String,
    /// Which version this is, from 1.
    pub version: u32,
    /// The newest version that there is.
    pub newest: u32,
    /// What it says.
    pub content: Content,
    /// When this version was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
}

/// Of which template, in which version, a message was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The template.
    pub template: TemplateId,
    /// The version, from 1.
    pub version: u32,
}

/// What a version of a template says.
#[derive(Debug, Clone, PartialEq)]
pub struct Content {
    /// The language of who asks for none, or for one that there is not.
    pub language: Language,
    /// The text in each language.
    pub texts: BTreeMap<Language, String>,
    /// What the texts are filled with.
    pub variables: Vec<Variable>,
}

/// A language as people write it: `en`, `pt-BR` (BCP 47; only its form is looked at).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Language(String);

impl Language {
    /// Reads it: letters and digits in parts of two to eight, the first of two or three letters. Upper and lower case are
    /// the same.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let first = parts.next()?;
        let is_first =
            (2..=3).contains(&first.len()) && first.bytes().all(|octet| octet.is_ascii_alphabetic());
        let is_part = |part: &str| {
            (2..=8).contains(&part.len()) && part.bytes().all(|octet| octet.is_ascii_alphanumeric())
        };
        (is_first && text.len() <= NAME_MAX && parts.all(is_part)).then(|| Self(text.to_ascii_lowercase()))
    }

    /// As it is compared: in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A place in the texts.
#[derive(Debug, Clone, PartialEq)]
pub struct Variable {
    /// Its name in the texts.
    pub name: String,
    /// What may stand there.
    pub kind: Kind,
    /// What usually stands there.
    pub sample: Value,
}

/// What a value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Characters.
    Text {
        /// How many, at most: from 1 to [`TEXT_VALUE_MAX`].
        most: u16,
        /// Whether it may have characters outside of the GSM alphabet, each of which makes the whole message dearer.
        any_alphabet: bool,
        /// Whether it may be empty.
        may_be_empty: bool,
    },
    /// A whole number.
    Number {
        /// The smallest.
        least: i64,
        /// The largest.
        most: i64,
    },
    /// A number with two decimals, such as an amount of money, and always written with both.
    Amount {
        /// The smallest, in whole units.
        least: i64,
        /// The largest, in whole units.
        most: i64,
    },
    /// A day by somebody's calendar, perhaps with the time of a clock there.
    Date,
    /// Yes or no: to be asked for, never to be written.
    YesNo,
}

impl Kind {
    /// The public words.
    pub const WORDS: &[&str] = &["text", "number", "amount", "date", "yes_no"];

    /// The public word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text { .. } => "text",
            Self::Number { .. } => "number",
            Self::Amount { .. } => "amount",
            Self::Date => "date",
            Self::YesNo => "yes_no",
        }
    }
}

/// A value of its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Characters.
    Text(String),
    /// A whole number.
    Number(i64),
    /// Hundredths.
    Amount(i64),
    /// `2026-12-24`, or `2026-12-24T15:30`.
    Date(String),
    /// Yes or no.
    YesNo(bool),
}

impl fmt::Display for Value {
    /// As it is written without a filter; yes and no as `true` and `false`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => write!(f, "{number}"),
            Self::Amount(hundredths) => {
                let sign = if *hundredths < 0 { "-" } else { "" };
                let size = hundredths.unsigned_abs();
                write!(f, "{sign}{}.{:02}", size / 100, size % 100)
            }
            Self::Date(date) => f.write_str(&date.replacen('T', " ", 1)),
            Self::YesNo(yes) => write!(f, "{yes}"),
        }
    }
}

/// A value as a caller gave it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Given<'a> {
    /// Characters; those of every other type can be read from them.
    Text(&'a str),
    /// A whole number.
    Integer(i64),
    /// Another number.
    Number(f64),
    /// Yes or no.
    Boolean(bool),
}

/// Why a text is not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The value that stops it; `None` if it is the template as a whole.
    pub variable: Option<String>,
    /// What is wrong.
    pub why: Wrong,
}

/// What is wrong with a value, or with filling a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// It was not given, or is empty where it must not be.
    Missing,
    /// The template has no such value.
    Unknown,
    /// It is not of this type.
    Type(&'static str),
    /// It has more characters than it may.
    TooLong(u16),
    /// It has control characters.
    Controls,
    /// It has characters outside of the GSM alphabet, which its template does not take.
    Alphabet,
    /// It lies outside of these.
    Range(i64, i64),
    /// The text cannot be made of these values; a sentence says why.
    Render(String),
}

impl Wrong {
    /// The finer reason, as errors name it.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Missing => "missing_value",
            Self::Unknown => "unknown_value",
            Self::Type(_) => "wrong_type",
            Self::TooLong(_) => "too_long",
            Self::Controls => "control_characters",
            Self::Alphabet => "alphabet",
            Self::Range(..) => "out_of_range",
            Self::Render(_) => "render",
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("is missing or empty"),
            Self::Unknown => f.write_str("is not a value of this template"),
            Self::Type("amount") => f.write_str("must be a number with two decimals at most"),
            Self::Type("number") => f.write_str("must be a whole number"),
            Self::Type("date") => f.write_str("must be a date such as 2026-12-24 or 2026-12-24T15:30"),
            Self::Type("yes_no") => f.write_str("must be true or false"),
            Self::Type(kind) => write!(f, "must be a {kind}"),
            Self::TooLong(most) => write!(f, "must have {most} characters at most"),
            Self::Controls => f.write_str("must not have control characters but line ends"),
            Self::Alphabet => f.write_str("must have characters of the GSM alphabet only"),
            Self::Range(least, most) => write!(f, "must be from {least} to {most}"),
            Self::Render(why) => write!(f, "cannot be filled: {why}"),
        }
    }
}

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// Where: `texts.de`, `variables[2].sample`.
    pub place: String,
    /// The finer reason.
    pub code: &'static str,
    /// A sentence that says what.
    pub detail: String,
}

/// A text that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filled {
    /// In which language.
    pub language: Language,
    /// The text.
    pub text: String,
}

/// What messages of a template will say and cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Outlook {
    /// The text that is usual: filled with the samples.
    pub usual: String,
    /// The dearest text that was found with each value at an end of what it may be.
    pub worst: String,
    /// What that costs at a carrier without special tables.
    pub worst_measured: Measured,
}

/// What messages to some people would cost, at a carrier without special tables. It stays small, however many they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Costs {
    /// How many messages have how many segments.
    pub messages: BTreeMap<u32, u64>,
    /// To how many people there would be none: the values do not fill the text, or what they make cannot be sent.
    pub unfilled: u64,
    /// Which values those people do not have, or not as the template takes them, and how many of them. Some lack several.
    pub lacking: BTreeMap<String, u64>,
}

impl Costs {
    /// How many messages there would be.
    pub fn filled(&self) -> u64 {
        self.messages.values().sum()
    }

    /// All their segments.
    pub fn segments(&self) -> u64 {
        self.messages.iter().map(|(segments, count)| u64::from(*segments) * count).sum()
    }

    /// Half of them have no more segments than this.
    pub fn median(&self) -> Option<u32> {
        let middle = self.filled().div_ceil(2);
        let mut up_to = 0;
        self.messages.iter().find_map(|(segments, count)| {
            up_to += count;
            (up_to >= middle).then_some(*segments)
        })
    }

    /// The most segments that one of them has.
    pub fn worst(&self) -> Option<u32> {
        self.messages.keys().next_back().copied()
    }
}

/// Whether a text can name a template: small letters, digits, and `.`, `_`, `-` inside.
pub fn is_name(text: &str) -> bool {
    let is_end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_inner = |c: char| is_end(c) || matches!(c, '.' | '_' | '-');
    (1..=NAME_MAX).contains(&text.len())
        && text.starts_with(is_end)
        && text.ends_with(is_end)
        && text.chars().all(is_inner)
        // That is how its id begins.
        && !text.starts_with("tpl_")
}

/// Words that the language of templates keeps for itself.
const RESERVED: &[&str] =
    &["and", "or", "not", "in", "is", "if", "else", "true", "false", "none", "loop", "self", "caller"];

fn is_variable_name(text: &str) -> bool {
    (1..=NAME_MAX).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !RESERVED.contains(&text)
}

// ── values ──────────────────────────────────────────────────────────────────────────────────────────────────

impl Kind {
    /// The value that was given, if it may be one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(self, given: Given<'_>) -> Result<Value, Wrong> {
        // What is written in characters may have been written by a spreadsheet.
        let given = match (self, given) {
            (Self::Text { .. }, given) => given,
            (_, Given::Text(text)) if text.trim().is_empty() => return Err(Wrong::Missing),
            (_, Given::Text(text)) => Given::Text(text.trim()),
            (_, given) => given,
        };
        match self {
            Self::Text { most, any_alphabet, may_be_empty } => {
                let text = match given {
                    Given::Text(text) => text.to_owned(),
                    Given::Integer(number) => number.to_string(),
                    Given::Number(_) | Given::Boolean(_) => return Err(Wrong::Type("text")),
                };
                if text.trim().is_empty() && !may_be_empty {
                    Err(Wrong::Missing)
                } else if text.chars().count() > usize::from(most) {
                    Err(Wrong::TooLong(most))
                } else if text.chars().any(|c| c.is_control() && c != '\n') {
                    Err(Wrong::Controls)
                } else if !any_alphabet && is_dear(&text) {
                    Err(Wrong::Alphabet)
                } else {
                    Ok(Value::Text(text))
                }
            }
            Self::Number { least, most } => {
                let number = match given {
                    Given::Integer(number) => Some(number),
                    Given::Text(text) => text.parse().ok(),
                    Given::Number(_) | Given::Boolean(_) => None,
                };
                let number = number.ok_or(Wrong::Type("number"))?;
                if (least..=most).contains(&number) {
                    Ok(Value::Number(number))
                } else {
                    Err(Wrong::Range(least, most))
                }
            }
            Self::Amount { least, most } => {
                let hundredths = match given {
                    Given::Integer(number) => number.checked_mul(100),
                    Given::Number(number) => hundredths_of(&number.to_string()),
                    Given::Text(text) => hundredths_of(text),
                    Given::Boolean(_) => None,
                };
                let hundredths = hundredths.ok_or(Wrong::Type("amount"))?;
                if (least.saturating_mul(100)..=most.saturating_mul(100)).contains(&hundredths) {
                    Ok(Value::Amount(hundredths))
                } else {
                    Err(Wrong::Range(least, most))
                }
            }
            Self::Date => match given {
                Given::Text(text) => read_date(text).map(Value::Date).ok_or(Wrong::Type("date")),
                _ => Err(Wrong::Type("date")),
            },
            Self::YesNo => match given {
                Given::Boolean(yes) => Ok(Value::YesNo(yes)),
                Given::Text(text) => yes_no(text).map(Value::YesNo).ok_or(Wrong::Type("yes_no")),
                Given::Integer(_) | Given::Number(_) => Err(Wrong::Type("yes_no")),
            },
        }
    }

    /// Two values at the ends of what it may be, the dearer first.
    fn ends(self) -> [Value; 2] {
        match self {
            Self::Text { most, any_alphabet, may_be_empty } => {
                // Two units each, in the one alphabet and in the other.
                let dearest = if any_alphabet { "\u{1F600}" } else { "€" };
                let least = if may_be_empty { "" } else { "x" };
                [Value::Text(dearest.repeat(usize::from(most))), Value::Text(least.to_owned())]
            }
            Self::Number { least, most } => longer_first(Value::Number(least), Value::Number(most)),
            Self::Amount { least, most } => longer_first(
                Value::Amount(least.saturating_mul(100)),
                Value::Amount(most.saturating_mul(100)),
            ),
            // A Wednesday in September, and a day in May: the longest and the shortest names there are.
            Self::Date => [Value::Date("2026-09-30T22:30".into()), Value::Date("2026-05-01T01:00".into())],
            Self::YesNo => [Value::YesNo(true), Value::YesNo(false)],
        }
    }
}

fn longer_first(one: Value, other: Value) -> [Value; 2] {
    if one.to_string().len() > other.to_string().len() { [one, other] } else { [other, one] }
}

fn is_dear(text: &str) -> bool {
    text::measure(text, &text::Options::default()).encoding == text::Encoding::Ucs2
}

/// `-12.5` in hundredths; nothing that has more decimals, or an exponent.
fn hundredths_of(text: &str) -> Option<i64> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    if !is_number(whole) || !is_number(part) || part.len() > 2 {
        return None;
    }
    let part: i64 = format!("{part:0<2}").parse().ok()?;
    whole.parse::<i64>().ok()?.checked_mul(100)?.checked_add(part)?.checked_mul(sign)
}

/// A day, or a day and a time to the minute, as it is kept.
fn read_date(text: &str) -> Option<String> {
    let is_day = text.len() == "2026-12-24".len();
    if is_day {
        return text.parse::<Date>().ok().map(|date| date.to_string());
    }
    let is_time =
        text.len() >= "2026-12-24T15:30".len() && matches!(text.as_bytes().get(10), Some(b'T' | b' '));
    let has_zone = text.get(11..).is_none_or(|time| !time.bytes().all(|c| c.is_ascii_digit() || c == b':'));
    if !is_time || has_zone {
        return None;
    }
    let at = text.parse::<DateTime>().ok()?;
    Some(format!("{}T{:02}:{:02}", at.date(), at.hour(), at.minute()))
}

// ── filling ─────────────────────────────────────────────────────────────────────────────────────────────────

impl Content {
    /// The language that is taken for the one that is wanted: the same, or without its last parts (`de-AT`, then `de`), or
    /// that of the template (RFC 4647 §3.4).
    pub fn language_for(&self, wanted: Option<&Language>) -> &Language {
        let mut range = wanted.map_or("", |wanted| wanted.as_str());
        loop {
            if let Some((language, _)) = self.texts.iter().find(|(language, _)| language.as_str() == range) {
                return language;
            }
            match range.rfind('-') {
                Some(end) => range = &range[..end],
                None => return &self.language,
            }
        }
    }

    /// Adds what the messages to these people would cost. A value is the one that was given for all, or else what is known of the
    /// person: the name as `name`, and each field by its name. The language is the wanted one, or else the person's.
    pub fn add_costs<'p>(
        &self,
        costs: &mut Costs,
        people: impl IntoIterator<Item = &'p Details>,
        wanted: Option<&Language>,
        given: &[(&str, Given<'_>)],
    ) {
        // Reading a source takes much longer than filling it.
        let mut sources = BTreeMap::new();
        for details in people {
            let own =
                self.variables.iter().filter(|variable| given.iter().all(|(name, _)| *name != variable.name));
            let known = own.filter_map(|variable| {
                let field = details.fields.iter().find(|(name, _)| name.as_str() == variable.name);
                let value = match variable.name.as_str() {
                    "name" => details.name.clone(),
                    _ => field.map(|(_, value)| value.to_string()),
                };
                Some((variable.name.as_str(), value?))
            });
            let known: Vec<(&str, String)> = known.collect();
            let known = known.iter().map(|(name, value)| (*name, Given::Text(value)));
            let given: Vec<_> = given.iter().copied().chain(known).collect();
            let values = match self.values(&given) {
                Ok(values) => values,
                Err(failures) => {
                    costs.unfilled += 1;
                    for name in failures.into_iter().filter_map(|failure| failure.variable) {
                        *costs.lacking.entry(name).or_default() += 1;
                    }
                    continue;
                }
            };
            let own = details.language.as_ref().and_then(|language| Language::parse(language.as_str()));
            let language = self.language_for(wanted.or(own.as_ref()));
            let source = sources.entry(language).or_insert_with(|| self.parsed(language));
            let text = source.as_ref().ok().and_then(|source| source.fill(&values).ok());
            let sent =
                text.and_then(|text| text::check(&text, &text::Options::default(), text::SEGMENTS_MAX).ok());
            match sent {
                Some(measured) => *costs.messages.entry(measured.segments).or_default() += 1,
                None => costs.unfilled += 1,
            }
        }
    }

    /// Makes the text of one message.
    ///
    /// # Errors
    /// Every value that is missing or wrong, by name; or why these values make no text.
    pub fn fill(
        &self,
        wanted: Option<&Language>,
        given: &[(&str, Given<'_>)],
    ) -> Result<Filled, Vec<Failure>> {
        let values = self.values(given)?;
        let language = self.language_for(wanted);
        match self.parsed(language).and_then(|parsed| parsed.fill(&values)) {
            Ok(text) => Ok(Filled { language: language.clone(), text }),
            Err(why) => Err(vec![Failure { variable: None, why: Wrong::Render(why) }]),
        }
    }

    /// The values as their types have them.
    fn values(&self, given: &[(&str, Given<'_>)]) -> Result<Vec<(&str, Value)>, Vec<Failure>> {
        let mut failures = Vec::new();
        for (name, _) in given {
            if !self.variables.iter().any(|variable| variable.name == *name) {
                failures.push(Failure { variable: Some((*name).to_owned()), why: Wrong::Unknown });
            }
        }
        let mut values = Vec::with_capacity(self.variables.len());
        for variable in &self.variables {
            let found = given.iter().find(|(name, _)| *name == variable.name);
            match found.ok_or(Wrong::Missing).and_then(|(_, given)| variable.kind.read(*given)) {
                Ok(value) => values.push((variable.name.as_str(), value)),
                Err(why) => failures.push(Failure { variable: Some(variable.name.clone()), why }),
            }
        }
        if failures.is_empty() { Ok(values) } else { Err(failures) }
    }

    /// What messages in a language will say and cost. `None` if they make no text, which [`Content::check`] refuses.
    pub fn outlook(&self, language: &Language) -> Option<Outlook> {
        let parsed = self.parsed(language).ok()?;
        let usual = parsed.usual().ok()?;
        let (worst, worst_measured) = parsed.worst()?;
        Some(Outlook { usual, worst, worst_measured })
    }

    fn parsed(&self, language: &Language) -> Result<Parsed<'_>, String> {
        let source = self.texts.get(language).ok_or("there is no text in this language")?;
        Parsed::read(source, &self.variables)
    }

    /// Looks whether it can be sent with: everything that is wrong with it.
    pub fn check(&self) -> Vec<Flaw> {
        let mut flaws = Vec::new();
        let mut flaw = |place: String, code, detail: String| flaws.push(Flaw { place, code, detail });
        if self.texts.is_empty() || self.texts.len() > LANGUAGES_MAX {
            let detail = format!("A template has texts in 1 to {LANGUAGES_MAX} languages.");
            flaw("texts".into(), "languages", detail);
        } else if !self.texts.contains_key(&self.language) {
            let detail =
                format!("There is no text in `{}`, the language of who asks for no other.", self.language);
            flaw("texts".into(), "missing_language", detail);
        }
        if self.variables.len() > VARIABLES_MAX {
            let detail = format!("A template has {VARIABLES_MAX} variables at most.");
            flaw("variables".into(), "too_many", detail);
        }
        for (n, variable) in self.variables.iter().enumerate().take(VARIABLES_MAX) {
            let place = |field: &str| format!("variables[{n}].{field}");
            if !is_variable_name(&variable.name) {
                let detail = format!(
                    "A variable is named by 1 to {NAME_MAX} small letters, digits and `_`, and no word of the language."
                );
                flaw(place("name"), "name", detail);
            } else if self.variables[..n].iter().any(|other| other.name == variable.name) {
                flaw(place("name"), "duplicate", "Two variables have this name.".into());
            }
            if let Some((place_of, detail)) = bounds_flaw(variable.kind) {
                flaw(place(place_of), "bounds", detail);
            }
        }
        let mut all = Vec::with_capacity(self.texts.len().min(LANGUAGES_MAX));
        for (language, source) in &self.texts {
            let place = || format!("texts.{language}");
            if source.chars().count() > SOURCE_MAX {
                flaw(place(), "too_long", format!("A text has {SOURCE_MAX} characters at most."));
                continue;
            }
            let sent = text::check(source, &text::Options::default(), text::SEGMENTS_MAX);
            if let Err(why @ Unsendable::ControlCharacter { .. }) = sent {
                flaw(place(), why.code(), why.to_string());
                continue;
            }
            match Parsed::read(source, &self.variables) {
                Err(why) => flaw(place(), "syntax", format!("This is no template: {why}.")),
                Ok(parsed) => {
                    for name in parsed.undeclared() {
                        let name = brief(&name, NAME_MAX);
                        flaw(place(), "undeclared", format!("`{name}` is not one of the variables."));
                    }
                    all.push((language, parsed));
                }
            }
        }
        if !flaws.is_empty() {
            return flaws;
        }
        // What is right so far must be fillable, in every language, with what it says is usual and with the ends.
        for (language, parsed) in all {
            let usual = parsed.usual().map(|text| {
                text::check(&text, &text::Options::default(), text::SEGMENTS_MAX)
                    .map_err(|why| why.to_string())
            });
            let found = match usual {
                Ok(Ok(_)) => parsed
                    .worst()
                    .is_none()
                    .then(|| "This cannot be filled: no value at its bounds makes a text.".to_owned()),
                Ok(Err(why)) => Some(format!("This cannot be sent with the samples. {why}")),
                Err(why) => Some(format!("This cannot be filled: {why}.")),
            };
            if let Some(detail) = found {
                flaws.push(Flaw { place: format!("texts.{language}"), code: "render", detail });
            }
        }
        flaws
    }
}

fn bounds_flaw(kind: Kind) -> Option<(&'static str, String)> {
    match kind {
        Kind::Text { most, .. } if !(1..=TEXT_VALUE_MAX).contains(&most) => {
            Some(("max_length", format!("A text may have 1 to {TEXT_VALUE_MAX} characters.")))
        }
        Kind::Number { least, most } | Kind::Amount { least, most }
            if least > most || least < -NUMBER_MAX || most > NUMBER_MAX =>
        {
            Some((
                "min",
                format!("`min` and `max` are in this order, and from -{NUMBER_MAX} to {NUMBER_MAX}."),
            ))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::language::{BRACKETS_MAX, BRANCHES_MAX, IFS_MAX, TOKENS_MAX};
    use super::*;

    fn language(text: &str) -> Language {
        Language::parse(text).expect("a language")
    }

    fn text(name: &str, sample: &str) -> Variable {
        let kind = Kind::Text { most: 20, any_alphabet: true, may_be_empty: false };
        Variable { name: name.to_owned(), kind, sample: Value::Text(sample.to_owned()) }
    }

    fn of(name: &str, kind: Kind, sample: Given<'_>) -> Variable {
        Variable { name: name.to_owned(), kind, sample: kind.read(sample).expect("a sample") }
    }

    fn content(source: &str, variables: Vec<Variable>) -> Content {
        let texts = BTreeMap::from([(language("en"), source.to_owned())]);
        Content { language: language("en"), texts, variables }
    }

    fn usual(content: &Content) -> Option<String> {
        content.outlook(&content.language).map(|outlook| outlook.usual)
    }

    const NUMBER: Kind = Kind::Number { least: -5, most: 1_000 };
    const AMOUNT: Kind = Kind::Amount { least: 0, most: 100 };

    #[test]
    fn a_value_is_read_by_its_type() {
        let check = |kind: Kind, given: Given<'_>, expected: Result<&str, &str>| {
            let read = kind.read(given);
            let read = read.as_ref().map(ToString::to_string).map_err(Wrong::code);
            assert_eq!(read.as_deref().map_err(|code| *code), expected, "{kind:?} {given:?}");
        };
        let any = Kind::Text { most: 4, any_alphabet: true, may_be_empty: false };
        let gsm = Kind::Text { most: 4, any_alphabet: false, may_be_empty: true };
        check(any, Given::Text("Zoë"), Ok("Zoë"));
        check(any, Given::Integer(12), Ok("12"));
        check(any, Given::Number(1.5), Err("wrong_type"));
        check(any, Given::Text("😀😀😀😀"), Ok("😀😀😀😀"));
        check(any, Given::Text("abcde"), Err("too_long"));
        check(any, Given::Text(""), Err("missing_value"));
        check(any, Given::Text(" \u{a0} "), Err("missing_value"));
        check(any, Given::Text("a\nb"), Ok("a\nb"));
        check(any, Given::Text("a\u{1b}b"), Err("control_characters"));
        check(gsm, Given::Text(""), Ok(""));
        check(gsm, Given::Text("é€"), Ok("é€"));
        check(gsm, Given::Text("ł"), Err("alphabet"));
        check(NUMBER, Given::Integer(7), Ok("7"));
        check(NUMBER, Given::Text(" -5 "), Ok("-5"));
        check(NUMBER, Given::Integer(-6), Err("out_of_range"));
        check(NUMBER, Given::Number(1.5), Err("wrong_type"));
        check(NUMBER, Given::Text("seven"), Err("wrong_type"));
        check(NUMBER, Given::Text(" "), Err("missing_value"));
        check(AMOUNT, Given::Number(12.5), Ok("12.50"));
        check(AMOUNT, Given::Integer(3), Ok("3.00"));
        check(AMOUNT, Given::Text("0.07"), Ok("0.07"));
        check(AMOUNT, Given::Text("1.234"), Err("wrong_type"));
        check(AMOUNT, Given::Text("1e3"), Err("wrong_type"));
        check(AMOUNT, Given::Text("100.01"), Err("out_of_range"));
        check(AMOUNT, Given::Text("99999999999999999999"), Err("wrong_type"));
        check(AMOUNT, Given::Number(f64::MAX), Err("wrong_type"));
        check(Kind::Date, Given::Text("2026-12-24"), Ok("2026-12-24"));
        check(Kind::Date, Given::Text("2026-12-24T15:30:10"), Ok("2026-12-24 15:30"));
        check(Kind::Date, Given::Text("2026-02-30"), Err("wrong_type"));
        check(Kind::Date, Given::Text("2026-12-24T15:30:00Z"), Err("wrong_type"));
        check(Kind::Date, Given::Text("24.12.2026"), Err("wrong_type"));
        check(Kind::Date, Given::Text("2026-12-2é"), Err("wrong_type"));
        check(Kind::YesNo, Given::Boolean(true), Ok("true"));
        check(Kind::YesNo, Given::Text("no"), Ok("false"));
        check(Kind::YesNo, Given::Text(" TRUE "), Ok("true"));
        check(Kind::YesNo, Given::Text("maybe"), Err("wrong_type"));
        check(Kind::YesNo, Given::Integer(1), Err("wrong_type"));
    }

    #[test]
    fn an_amount_below_zero_keeps_its_sign() {
        assert_eq!(hundredths_of("-0.5").map(|n| Value::Amount(n).to_string()).as_deref(), Some("-0.50"));
        assert_eq!(hundredths_of("--1"), None);
        assert_eq!(hundredths_of("."), None);
    }

    fn filled(content: &Content, given: &[(&str, Given<'_>)]) -> String {
        match content.fill(None, given) {
            Ok(filled) => filled.text,
            Err(failures) => failures
                .iter()
                .map(|f| format!("!{}:{}", f.variable.as_deref().unwrap_or("-"), f.why.code()))
                .collect::<Vec<_>>()
                .join(" "),
        }
    }

    #[test]
    fn a_text_has_no_holes() {
        let hello = content(
            "Hello {{ name }}, see you {{ day|date('%-d %B at %H:%M') }}.",
            vec![text("name", "Ana"), of("day", Kind::Date, Given::Text("2026-12-24T09:05"))],
        );
        assert_eq!(hello.check(), []);
        let day = ("day", Given::Text("2026-03-07T15:30"));
        let check = |given: &[(&str, Given<'_>)], expected: &str| assert_eq!(filled(&hello, given), expected);
        check(&[("name", Given::Text("Ben")), day], "Hello Ben, see you 7 March at 15:30.");
        check(&[day], "!name:missing_value");
        check(&[("name", Given::Text("  ")), day], "!name:missing_value");
        check(&[], "!name:missing_value !day:missing_value");
        check(&[("name", Given::Text("Ben")), ("nmae", Given::Text("x")), day], "!nmae:unknown_value");
        // The day has no time, so there would be a hole.
        check(&[("name", Given::Text("Ben")), ("day", Given::Text("2026-03-07"))], "!-:render");
    }

    #[test]
    fn what_messages_to_some_people_cost_is_added_up() {
        use crate::contact::{FieldName, Language as Tongue, Value as Known};
        let mut note = content(
            "{{ name }}: {{ note }}",
            vec![
                text("name", "Ana"),
                of(
                    "note",
                    Kind::Text { most: 400, any_alphabet: true, may_be_empty: true },
                    Given::Text("x"),
                ),
            ],
        );
        let german = Language::parse("de").expect("a language");
        note.texts.insert(german, "{{ name }}, hören Sie ż: {{ note }}".to_owned());
        let person = |name: Option<&str>, note: Option<String>, language: Option<&str>| {
            let field = |text: String| {
                (FieldName::parse("note").expect("a name"), Known::text(&text).expect("a text"))
            };
            Details {
                name: name.map(str::to_owned),
                language: language.map(|tag| Tongue::parse(tag).expect("a language")),
                fields: note.map(field).into_iter().collect(),
                ..Details::default()
            }
        };
        let long = |length: usize| Some("x".repeat(length));
        let people = [
            person(Some("Ana"), long(3), None),
            person(Some("Ana"), long(3), Some("en")),
            person(Some("Ana"), long(200), None),
            person(Some("Ana"), long(200), Some("de-AT")),
            person(Some("Ana"), long(401), None),
            person(None, long(3), None),
            person(None, None, None),
        ];
        let mut costs = Costs::default();
        note.add_costs(&mut costs, &people[..3], None, &[]);
        note.add_costs(&mut costs, &people[3..], None, &[]);
        let expected = Costs {
            messages: [(1, 2), (2, 1), (4, 1)].into(),
            unfilled: 3,
            lacking: [("name".to_owned(), 2), ("note".to_owned(), 2)].into(),
        };
        assert_eq!(costs, expected);
        let sums = (costs.filled(), costs.segments(), costs.median(), costs.worst());
        assert_eq!(sums, (4, 8, Some(1), Some(4)));
        // A value that is given is everybody's.
        let mut costs = Costs::default();
        note.add_costs(&mut costs, &people, None, &[("note", Given::Text(""))]);
        assert_eq!((costs.unfilled, costs.messages), (2, [(1, 5)].into()));
        assert_eq!((Costs::default().median(), Costs::default().worst()), (None, None));
        // What makes nothing to be seen is not sent.
        let blank = content("{% if false %}x{% endif %}", vec![]);
        let mut costs = Costs::default();
        blank.add_costs(&mut costs, &people[..1], None, &[]);
        assert_eq!((costs.unfilled, costs.lacking.len(), costs.filled()), (1, 0, 0));
    }

    #[test]
    fn values_are_never_read_as_a_template() {
        let hello = content("Hi {{ name }}", vec![text("name", "Ana")]);
        for value in ["{{ name }}", "{% if %}", "{# x #}", "<b>&"] {
            assert_eq!(filled(&hello, &[("name", Given::Text(value))]), format!("Hi {value}"));
        }
    }

    #[test]
    fn what_a_text_can_say() {
        let variables = || {
            vec![
                text("name", "ana"),
                of("count", NUMBER, Given::Integer(2)),
                of("sum", AMOUNT, Given::Number(12.5)),
                of("vip", Kind::YesNo, Given::Boolean(true)),
            ]
        };
        let check = |source: &str, expected: &str| {
            let content = content(source, variables());
            assert_eq!(usual(&content).unwrap_or_else(|| "-".into()), expected, "{source}");
        };
        check("{{ count }} table{% if count != 1 %}s{% endif %}", "2 tables");
        check("{{ sum }} EUR{% if sum > 10 %}!{% endif %}", "12.50 EUR!");
        check("{{ sum * 2 }} {{ count + 1 }}", "25.00 3");
        check("{{ 'gold' if vip else 'plain' }}", "gold");
        check("{{ name|capitalize }} {{ name|upper }} {{ name|replace('n', 'm') }}", "Ana ANA ama");
        // One line end after the last line is not a part of the text.
        check("a\nb\n", "a\nb");
        // What has no form in a text is not written.
        for source in [
            "{{ vip }}",
            "{{ none }}",
            "{{ [1] }}",
            "{{ other }}",
            "{{ name.x }}",
            "{{ name + count }}",
            "{{ name + sum }}",
            "{{ sum|upper }}",
            "{{ 10.0 ** 400 }}",
            "{{ 10.0 ** 400 - 10.0 ** 400 }}",
            "{{ (sum + 1) ** 400 }}",
            "{% if other %}a{% endif %}",
        ] {
            check(source, "-");
        }
    }

    #[test]
    fn what_reaches_outside_or_goes_on_for_ever_is_refused() {
        let long = "a".repeat(60_000);
        for source in [
            "{% include 'x' %}",
            "{% extends 'x' %}",
            "{% import 'x' as y %}",
            "{% macro m() %}{% endmacro %}",
            "{{ range(10) }}",
            "{{ name|safe }}",
            "{{ name|tojson }}",
            "{{ name.upper() }}",
            "{% for a in name %}{% for b in name %}{% for c in name %}{% for d in name %}{% for e in name %}{% endfor %}{% endfor %}{% endfor %}{% endfor %}{% endfor %}a",
            "{% set a = name * 100000000 %}{{ a }}",
            "{{ 'a' * 100000 }}",
            "{{ name|date('%Q') }}",
            "{{ name",
            &long,
        ] {
            let flaws = content(source, vec![text("name", &"n".repeat(20))]).check();
            assert!(!flaws.is_empty(), "{}", &source[..source.len().min(80)]);
            assert!(
                flaws.iter().all(|flaw| flaw.place == "texts.en" && flaw.detail.len() < 400),
                "{flaws:?}"
            );
        }
    }

    /// Runs in a thread with a stack of so many octets, of which those of the program have 2 MiB. An overflow ends the whole
    /// process.
    fn in_a_small_stack(octets: usize, run: impl FnOnce() + Send + 'static) {
        let thread = std::thread::Builder::new().stack_size(octets).spawn(run).expect("a thread");
        thread.join().expect("nothing failed in it");
    }

    #[test]
    fn no_chain_is_deep_enough_for_a_stack_to_end() {
        in_a_small_stack(256 * 1024, || {
            for times in [61, 300, 1_000, 1_900, 10_000] {
                for (before, link, after) in [
                    ("{{ ", "-", "1 }}"),
                    ("{{ ", "- ", "1"),
                    ("{{ name", ".a", " }}"),
                    ("{{ name", "()", " }}"),
                    ("{{ name", "[0]", " }}"),
                    ("{{ name", "|upper", " }}"),
                    ("{{ 1", "~1", " }}"),
                    ("{{ 1", "**1", " }}"),
                    ("{{ 1", " if 1", " }}"),
                    ("{{ 1", " if 1 else 1", " }}"),
                    ("{{ 1", " is defined", " }}"),
                    ("{{ ", "not ", "1 }}"),
                    ("{{ ", "(", "1 }}"),
                    ("{{ ", "[", "1 }}"),
                    ("{{ ", "{1:", "1 }}"),
                    ("{{ name", "|replace('a',name", " }}"),
                    ("{% if 1", " and 1", " %}a{% endif %}"),
                    ("{%- if 1", " < 1", " -%}a{% endif %}"),
                    ("{# {{ #}{% if ", "-", "1 %}a{% endif %}"),
                    ("{{ '}}' + \"{#\" + '\\'' + ", "-", "1 }}{# #}"),
                    ("{% raw %}{% endraw %}{{", "-", "1 }}"),
                    ("", "{% if 1 %}", "a"),
                    ("{% if 1 %}", "{% elif 1 %}", "{% endif %}"),
                    ("{% if 1 %}a", "{% else %}{% if 1 %}", "{% endif %}"),
                    ("", "{% for a in name %}", "a"),
                    ("", "{% set a = 1 %}{% filter upper %}", "a"),
                ] {
                    let source = format!("{before}{}{after}", link.repeat(times));
                    let shown = format!("{before}{link}{after} {times}");
                    // Whatever its length.
                    assert!(language::look(&source).is_err(), "{shown}");
                    let content = content(&source, vec![text("name", "Ana")]);
                    let flaws = content.check();
                    assert!(flaws.len() == 1 && flaws[0].place == "texts.en", "{shown} {flaws:?}");
                    // One that was stored by other means.
                    let given = [("name", Given::Text("Ben"))];
                    assert_eq!(filled(&content, &given), "!-:render", "{shown}");
                    assert_eq!(content.outlook(&language("en")), None);
                }
            }
        });
    }

    #[test]
    fn the_deepest_that_is_read_fits_into_a_small_stack() {
        in_a_small_stack(512 * 1024, || {
            let dashes = "-".repeat(TOKENS_MAX - 1) + "1";
            let brackets = format!("{}1{}", "(".repeat(BRACKETS_MAX), ")".repeat(BRACKETS_MAX));
            let filters =
                format!("{}name{}", "name|replace('a',".repeat(BRACKETS_MAX), ")".repeat(BRACKETS_MAX));
            let ifs = |inside: &str| {
                let (open, close) = ("{% if 1 %}".repeat(IFS_MAX), "{% endif %}".repeat(IFS_MAX));
                format!("{open}{inside}{close}")
            };
            let elifs = |inside: &str| {
                let chain = "{% elif 0 %}".repeat(BRANCHES_MAX - IFS_MAX);
                ifs(&format!("{chain}{{% else %}}{inside}")).replacen(
                    "{% if 1 %}{% elif",
                    "{% if 0 %}{% elif",
                    1,
                )
            };
            for source in [
                format!("{{{{ {dashes} }}}}"),
                format!("{{{{ {brackets} }}}}"),
                format!("{{{{ {filters} }}}}"),
                format!("{{{{ {}1 }}}}", "1 if 1 else ".repeat(14)),
                format!("{{{{ 1{} }}}}", " if 1".repeat(29)),
                format!("{{{{ 1{} }}}}", "+1".repeat(29)),
                format!("{{{{ 1{} }}}}", "**1".repeat(29)),
                format!("{{{{ name{} }}}}", "|trim".repeat(29)),
                format!("{{{{ 1 if {}1 else 1 }}}}", "not ".repeat(54)),
                ifs(&format!("{{{{ {filters} }}}}")),
                ifs(&format!("{{{{ {dashes} }}}}")),
                elifs(&format!("{{{{ {filters} }}}}")),
            ] {
                let content = content(&source, vec![text("name", "Ana")]);
                assert_eq!(content.check(), [], "{source}");
                assert!(usual(&content).is_some(), "{source}");
            }
        });
    }

    #[test]
    fn there_is_nothing_but_what_the_guide_names() {
        let variables = || vec![text("name", "Ana"), of("vip", Kind::YesNo, Given::Boolean(true))];
        let check = |source: &str, expected: &str| {
            let flaws = content(source, variables()).check();
            let details: Vec<_> = flaws.iter().map(|flaw| flaw.detail.as_str()).collect();
            assert_eq!(details.join(" "), expected, "{source}");
        };
        let none = |statement: &str| {
            format!(
                "This is no template: there is no statement `{statement}`, only `if`, `elif`, `else` and `endif` (line 1)."
            )
        };
        check("{% set a = 1 %}a", &none("set"));
        check("{%- with a = 1 %}a{% endwith %}", &none("with"));
        check("{% filter upper %}a{% endfilter %}", &none("filter"));
        check("{% autoescape true %}a{% endautoescape %}", &none("autoescape"));
        check("{% raw %}{{ a }}{% endraw %}", &none("raw"));
        check("{% for a in name %}a{% endfor %}", &none("for"));
        check("a\nb {{ name[0] }}", "This is no template: `[` cannot stand in a tag (line 2).");
        // Also where the samples do not come by.
        check(
            "a{% if not vip %}{{ name.a }}{% endif %}",
            "This is no template: `.` cannot stand in a tag (line 1).",
        );
        check(
            "a{% if not vip %}{{ name() }}{% endif %}",
            "This is no template: there are no functions (line 1).",
        );
        check(
            "a{% if not vip %}{{ name|safe }}{% endif %}",
            "This is no template: there is no filter `safe` (line 1).",
        );
        // It would write what has another form, or none: 12.5 for 12.50, and true.
        check("{{ '' ~ name }}", "This is no template: `~` cannot stand in a tag (line 1).");
        check("{{ name is defined }}", "This is no template: `is` cannot stand in a tag (line 1).");
        check("{{ {'a': 1} }}", "This is no template: `{` cannot stand in a tag (line 1).");
        check("{{ (name }}", "This is no template: a `(` is not closed (line 1).");
        check("{{ name) }}", "This is no template: a `)` closes nothing (line 1).");
        check("{{ 'a }}", "This is no template: a text in quotes is not closed (line 1).");
        check("{{ name", "This is no template: a tag is not closed (line 1).");
        check("a{# b", "This is no template: a comment is not closed (line 1).");
        check("{{ 1e3 }}", "This is no template: numbers are written as `12` or `12.5` (line 1).");
        check("{{ \u{202E} }}", "This is no template: `\\u{202e}` cannot stand in a tag (line 1).");
        check("{{ é }}", "This is no template: `é` cannot stand in a tag (line 1).");
        check("{% elif vip %}", "This is no template: an `elif` has no `if` (line 1).");
        for (source, expected) in [
            ("{# {{ name[0] }} {% for %} #}Hi { {name} {", "Hi { {name} {"),
            ("{{ '{{' + \"}}\" + '\\'' + '%}' }}", "{{}}'%}"),
            ("{{ 'a\\nb' }}", "a\nb"),
            ("{%- if vip and ('n' in name) and 2 in (1, 2) -%} a {%- endif +%}", "a"),
            ("{{ ((7 // 2 + 1.5) * 2 - 9 % 4) ** 2 / 2 }}", "32.00"),
            (
                "{{ name|trim|capitalize|replace('a', 'e')|upper if vip and name != 'x' and not name == 'y' or name >= 'b' and \
                 (name < 'c' or name > 'd') else 'Dear friend, {{ we }} write to you (as ever) with [this]: ' + name|lower }}",
                "ANE",
            ),
        ] {
            let content = content(source, variables());
            assert_eq!(content.check(), [], "{source}");
            assert_eq!(usual(&content).as_deref(), Some(expected), "{source}");
        }
    }

    #[test]
    fn a_template_that_could_not_be_sent_is_refused_when_it_is_made() {
        let check = |content: Content, expected: &str| {
            let flaws: Vec<_> =
                content.check().iter().map(|flaw| format!("{} {}", flaw.place, flaw.code)).collect();
            assert_eq!(flaws.join(", "), expected);
        };
        check(content("Hi {{ nmae }}", vec![text("name", "Ana")]), "texts.en undeclared");
        check(content("{{ a }}", vec![text("a", "x"), text("a", "y")]), "variables[1].name duplicate");
        check(content("{{ A }}", vec![text("A", "x")]), "variables[0].name name");
        check(content("x", vec![text("loop", "x")]), "variables[0].name name");
        check(content(" ", vec![]), "texts.en render");
        check(content("\u{200B}{{ '' }}", vec![]), "texts.en render");
        check(content("{{ 10.0 ** 400 }}", vec![]), "texts.en render");
        for text in ["{{ 1 / 0 }}", "{{ 1 // 0 }}", "{{ 1 % 0 }}"] {
            let flaws = content(text, vec![]).check();
            assert!(flaws[0].detail.contains("zero"), "{text}: {}", flaws[0].detail);
        }
        check(content("a\0b", vec![]), "texts.en control_character");
        check(content("a{% if 0 %}\u{1B}{% endif %}", vec![]), "texts.en control_character");
        check(content("a{% if 0 %}{{ '\\u0000' }}{% endif %}", vec![]), "texts.en syntax");
        check(content("a\r\n\tb", vec![]), "");
        let other = Content { language: language("de"), ..content("x", vec![]) };
        check(other, "texts missing_language");
        let none = Content { texts: BTreeMap::new(), ..content("", vec![]) };
        check(none, "texts languages");
        let kind = Kind::Number { least: 2, most: 1 };
        let variable = Variable { name: "n".into(), kind, sample: Value::Number(1) };
        check(content("{{ n }}", vec![variable]), "variables[0].min bounds");
    }

    #[test]
    fn the_language_falls_back_to_a_wider_one_and_then_to_the_templates() {
        let texts = ["en", "de", "pt-br"].map(|tag| (language(tag), tag.to_owned()));
        let content = Content { language: language("en"), texts: BTreeMap::from(texts), variables: vec![] };
        let check = |wanted: Option<&str>, expected: &str| {
            let wanted = wanted.map(language);
            assert_eq!(content.language_for(wanted.as_ref()).as_str(), expected, "{wanted:?}");
        };
        check(None, "en");
        check(Some("de"), "de");
        check(Some("de-AT"), "de");
        check(Some("de-Latn-AT"), "de");
        check(Some("pt-BR"), "pt-br");
        check(Some("pt"), "en");
        check(Some("fr"), "en");
        for text in ["", "d", "deut", "de_AT", "de-", "de-A", "12", "dé"] {
            assert_eq!(Language::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_worst_text_is_not_cheaper_than_the_usual_one() {
        let kind = Kind::Text { most: 100, any_alphabet: true, may_be_empty: true };
        let name = Variable { name: "name".into(), kind, sample: Value::Text("Ana".into()) };
        let vip = of("vip", Kind::YesNo, Given::Boolean(true));
        let source = "Dear {{ name or 'friend' }}{% if not vip %}, this part is for those who are not yet members{% endif %}.";
        let content = content(source, vec![name, vip]);
        assert_eq!(content.check(), []);
        let english = language("en");
        let Outlook { usual, worst, worst_measured: measured } = content.outlook(&english).expect("texts");
        assert_eq!(usual, "Dear Ana.");
        assert!(worst.contains("not yet members") && worst.contains('\u{1F600}'), "{worst}");
        assert_eq!((measured.encoding, measured.segments), (text::Encoding::Ucs2, 4));
    }

    #[test]
    fn templates_have_names_that_are_no_ids() {
        for (name, expected) in [
            ("reminder", true),
            ("reply.opening-hours_2", true),
            ("", false),
            ("Reminder", false),
            (".a", false),
            ("a.", false),
            ("a b", false),
            ("tpl_01j8z0k2m4p6q", false),
        ] {
            assert_eq!(is_name(name), expected, "{name}");
        }
        assert!(!is_name(&"a".repeat(65)));
    }
}
