//! The language of templates: that of Jinja, as the crate `minijinja` has it, without anything that reaches outside of the text.
//!
//! Each source is looked at word by word before that crate reads it ([`look`]), so that there is only what the guide names, and no
//! expression deep enough for a stack to end. What a template may do is counted ([`FUEL`]), and so is what it writes ([`OUTPUT_MAX`]).
//! Values are data: nothing in them is ever read as a template.

use super::{NAME_MAX, SOURCE_MAX, Value, Variable, read_date};
use crate::text::{self, Measured, brief};
use jiff::civil::{Date, DateTime};
use minijinja::{Environment, ErrorKind, Output, State, UndefinedBehavior};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Steps of filling one text, as `minijinja` counts them: an instruction is one, and so are 64 octets that are worked on. A
/// text of ten segments needs some hundreds.
const FUEL: u64 = 5_000;
/// Octets of a filled text: more than 255 segments of UCS-2 cannot be sent anyway.
const OUTPUT_MAX: usize = 51_255;
/// Expressions inside each other.
const DEPTH_MAX: usize = 32;
/// Words and signs in one `{{ … }}` or `{% … %}`. `minijinja` calls itself for each that is chained to another, and the stack of
/// a thread is finite. A sensible one has a dozen.
pub(super) const TOKENS_MAX: usize = 60;
/// `(` inside each other, for the same reason.
pub(super) const BRACKETS_MAX: usize = 8;
/// `if` inside each other, for the same reason.
pub(super) const IFS_MAX: usize = 8;
/// `if` and `elif` inside each other, for the same reason: an `elif` is inside of what it follows.
pub(super) const BRANCHES_MAX: usize = 50;

/// All that a template can use.
static LANGUAGE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut language = Environment::empty();
    language.set_undefined_behavior(UndefinedBehavior::Strict);
    language.set_fuel(Some(FUEL));
    language.set_recursion_limit(DEPTH_MAX);
    language.set_formatter(write_value);
    // Their names are those of FILTERS.
    language.add_filter("upper", |text: &str| text.to_uppercase());
    language.add_filter("lower", |text: &str| text.to_lowercase());
    language.add_filter("trim", |text: &str| text.trim().to_owned());
    language.add_filter("capitalize", capitalize);
    language.add_filter("replace", replace);
    language.add_filter("date", date);
    language
});

/// The filters of [`LANGUAGE`].
const FILTERS: &[&str] = &["upper", "lower", "trim", "capitalize", "replace", "date"];
/// The signs that may stand in a tag, the longer before those that they begin with.
const SIGNS: &[&str] =
    &["//", "**", "==", "!=", ">=", "<=", "+", "-", "*", "/", "%", "|", ">", "<", "(", ")", ","];

/// A word or a sign of a tag.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Token<'a> {
    Word(&'a str),
    Number,
    Text,
    Sign(&'static str),
}

/// Looks at each tag of a source: whether it has only what templates have, and is not deep. It finds the tags as `minijinja`
/// finds them; what it leaves to that is whether the words and signs make sense together.
///
/// # Errors
/// What is wrong, and where, as the end of a sentence.
pub(super) fn look(source: &str) -> Result<(), String> {
    let octets = source.as_bytes();
    // For each `if` that is open: how many there are of it with its `elif`s.
    let mut branches = Vec::new();
    let mut at = 0;
    while let Some(ahead) = source[at..].find('{') {
        let start = at + ahead;
        let end = match octets.get(start + 1) {
            Some(b'{') => "}}",
            Some(b'%') => "%}",
            Some(b'#') => "#}",
            _ => {
                at = start + 1;
                continue;
            }
        };
        at = start + 2 + usize::from(matches!(octets.get(start + 2), Some(b'-' | b'+')));
        let inside = &source[at..];
        let length = match end {
            "#}" => {
                inside.find(end).map(|ahead| ahead + end.len()).ok_or("a comment is not closed".to_owned())
            }
            _ => look_at_tag(inside, end, &mut branches),
        };
        let line = || source[..start].matches('\n').count() + 1;
        at += length.map_err(|why| format!("{why} (line {})", line()))?;
    }
    Ok(())
}

/// Looks at one tag from its first word to its end, and says how many octets that are.
fn look_at_tag(inside: &str, end: &str, branches: &mut Vec<usize>) -> Result<usize, String> {
    let mut rest = inside;
    let (mut brackets, mut before, mut is_operand) = (0_usize, Token::Sign(","), false);
    let (mut begins, mut count) = (end == "%}", 0);
    loop {
        rest = rest.trim_ascii_start();
        let closed = rest.strip_prefix(['-', '+']).unwrap_or(rest).strip_prefix(end);
        match closed {
            Some(after) if brackets == 0 => return Ok(inside.len() - after.len()),
            Some(_) => return Err("a `(` is not closed".to_owned()),
            None if count == TOKENS_MAX => {
                return Err(format!("a tag has more than {TOKENS_MAX} words and signs"));
            }
            None => {}
        }
        let (token, after) = token(rest)?;
        match token {
            Token::Word(word) if begins => {
                statement(word, branches)?;
                is_operand = false;
            }
            _ if begins => return Err("after `{%` is no word".to_owned()),
            Token::Word(word) if before == Token::Sign("|") => {
                if !FILTERS.contains(&word) {
                    return Err(format!("there is no filter `{}`", brief(word, NAME_MAX)));
                }
                is_operand = false;
            }
            Token::Word("is") => return Err("`is` cannot stand in a tag".to_owned()),
            Token::Word(word) => is_operand = !matches!(word, "and" | "or" | "not" | "in" | "if" | "else"),
            Token::Number | Token::Text => is_operand = true,
            Token::Sign("(") if is_operand => return Err("there are no functions".to_owned()),
            Token::Sign("(") if brackets == BRACKETS_MAX => {
                return Err(format!("a tag has more than {BRACKETS_MAX} `(` inside each other"));
            }
            Token::Sign("(") => brackets += 1,
            Token::Sign(")") => {
                brackets = brackets.checked_sub(1).ok_or("a `)` closes nothing")?;
                is_operand = true;
            }
            Token::Sign(_) => is_operand = false,
        }
        (rest, before, begins) = (after, token, false);
        count += 1;
    }
}

/// Counts a statement, if there is one that begins with this word.
fn statement(word: &str, branches: &mut Vec<usize>) -> Result<(), String> {
    match word {
        "if" => branches.push(1),
        "elif" => *branches.last_mut().ok_or("an `elif` has no `if`")? += 1,
        "else" => {}
        "endif" => drop(branches.pop()),
        other => {
            let other = brief(other, NAME_MAX);
            return Err(format!("there is no statement `{other}`, only `if`, `elif`, `else` and `endif`"));
        }
    }
    if branches.len() > IFS_MAX {
        return Err(format!("more than {IFS_MAX} `if` are inside each other"));
    }
    if branches.iter().sum::<usize>() > BRANCHES_MAX {
        return Err(format!("more than {BRANCHES_MAX} `if` and `elif` are inside each other"));
    }
    Ok(())
}

/// The first word or sign, and what comes after it.
fn token(rest: &str) -> Result<(Token<'_>, &str), String> {
    let first = rest.chars().next().ok_or("a tag is not closed")?;
    let is_inner = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let run = |is: &dyn Fn(char) -> bool| rest.split_at(rest.find(|c| !is(c)).unwrap_or(rest.len()));
    match first {
        'a'..='z' | 'A'..='Z' | '_' => {
            let (word, after) = run(&is_inner);
            Ok((Token::Word(word), after))
        }
        '0'..='9' => {
            let (number, after) = run(&|c| is_inner(c) || c == '.');
            let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
            let is_number = |text: &str| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
            if !is_number(whole) || !is_number(part) {
                return Err("numbers are written as `12` or `12.5`".to_owned());
            }
            Ok((Token::Number, after))
        }
        '\'' | '"' => {
            let mut chars = rest.chars();
            chars.next();
            while let Some(c) = chars.next() {
                // Others could write what cannot be sent.
                if c == '\\' && !matches!(chars.next(), Some('n' | '\'' | '"' | '\\')) {
                    return Err(
                        "in quotes, a `\\` stands only before `n`, a quote or another `\\`".to_owned()
                    );
                }
                if c == first {
                    return Ok((Token::Text, chars.as_str()));
                }
            }
            Err("a text in quotes is not closed".to_owned())
        }
        _ => {
            let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
            let sign = sign.ok_or_else(|| format!("`{}` cannot stand in a tag", first.escape_debug()))?;
            Ok((Token::Sign(sign), &rest[sign.len()..]))
        }
    }
}

/// A text with its places: read once, and filled as often as one likes.
pub(super) struct Parsed<'c> {
    template: minijinja::Template<'c, 'c>,
    variables: &'c [Variable],
}

impl<'c> Parsed<'c> {
    /// A source as `minijinja` reads it. Nothing else gives it one, so that what was stored by other means is looked at, too.
    pub(super) fn read(source: &'c str, variables: &'c [Variable]) -> Result<Self, String> {
        if source.chars().count() > SOURCE_MAX {
            return Err(format!("it has more than {SOURCE_MAX} characters"));
        }
        look(source)?;
        let template = LANGUAGE.template_from_str(source).map_err(|error| sentence(&error))?;
        Ok(Self { template, variables })
    }

    /// The names that it uses and that are none of the variables.
    pub(super) fn undeclared(&self) -> Vec<String> {
        let used = self.template.undeclared_variables(false).into_iter();
        let is_known = |name: &String| self.variables.iter().any(|variable| variable.name == *name);
        let mut names: Vec<String> = used.filter(|name| !is_known(name)).collect();
        names.sort();
        names
    }

    pub(super) fn fill(&self, values: &[(&str, Value)]) -> Result<String, String> {
        let values: BTreeMap<&str, minijinja::Value> = values
            .iter()
            .map(|(name, value)| {
                let value = match value {
                    Value::Text(text) => minijinja::Value::from(text.as_str()),
                    Value::Number(number) => minijinja::Value::from(*number),
                    Value::Amount(hundredths) => minijinja::Value::from(*hundredths as f64 / 100.0),
                    Value::Date(_) => minijinja::Value::from(value.to_string()),
                    Value::YesNo(yes) => minijinja::Value::from(*yes),
                };
                (*name, value)
            })
            .collect();
        let mut text = Bounded(Vec::new());
        self.template
            .render_captured_to(minijinja::Value::from_pairs(values), &mut text)
            .map_err(|error| sentence(&error))?;
        String::from_utf8(text.0).map_err(|_| "the text is no text".to_owned())
    }

    /// Filled with the samples.
    pub(super) fn usual(&self) -> Result<String, String> {
        let samples = self.variables.iter().map(|variable| (variable.name.as_str(), variable.sample.clone()));
        self.fill(&samples.collect::<Vec<_>>())
    }

    /// The dearest text that was found with every value at an end of what it may be: all at their dearer ends, all at their
    /// cheaper, and each one alone at the other. `None` if none of these makes a text.
    pub(super) fn worst(&self) -> Option<(String, Measured)> {
        let ends: Vec<(&str, [Value; 2])> =
            self.variables.iter().map(|variable| (variable.name.as_str(), variable.kind.ends())).collect();
        let alone = (0..ends.len()).map(Some);
        let tried = [0, 1]
            .into_iter()
            .flat_map(|end| std::iter::once(None).chain(alone.clone()).map(move |other| (end, other)));
        let texts = tried.filter_map(|(end, other)| {
            let values: Vec<_> = ends
                .iter()
                .enumerate()
                .map(|(n, (name, ends))| (*name, ends[if Some(n) == other { 1 - end } else { end }].clone()))
                .collect();
            let text = self.fill(&values).ok()?;
            let measured = text::measure(&text, &text::Options::default());
            Some((text, measured))
        });
        texts.max_by_key(|(_, measured)| (measured.segments, measured.units))
    }
}

/// Writes a value into the text. Numbers with a fraction have two decimals. What has no form of its own is not written:
/// nobody wants to read `true` or `none`.
fn write_value(
    out: &mut Output<'_>,
    _: &mut State<'_, '_>,
    value: &minijinja::Value,
) -> Result<(), minijinja::Error> {
    let written = if value.is_undefined() {
        return Err(ErrorKind::UndefinedError.into());
    } else if let Some(text) = value.as_str() {
        out.write_str(text)
    } else if value.is_integer() {
        out.write_fmt(format_args!("{value}"))
    } else if value.is_number() {
        let number = f64::try_from(value.clone())?;
        if !number.is_finite() {
            return Err(refused("a number becomes too large to be written, or is divided by zero"));
        }
        out.write_fmt(format_args!("{number:.2}"))
    } else {
        return Err(refused("only texts, numbers and dates can be written; ask for yes or no with `if`"));
    };
    written.map_err(|_| refused("the text becomes too long"))
}

/// The kind of errors of this file, whose sentences hold no value. Nothing else can have it: there are no includes.
const OURS: ErrorKind = ErrorKind::BadInclude;

fn refused(why: &'static str) -> minijinja::Error {
    minijinja::Error::new(OURS, why)
}

fn capitalize(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().collect::<String>() + chars.as_str()).unwrap_or_default()
}

fn replace(text: &str, from: &str, to: &str) -> Result<String, minijinja::Error> {
    if from.is_empty() {
        return Err(refused("there is nothing to replace"));
    }
    if text.matches(from).count().saturating_mul(to.len()) > OUTPUT_MAX {
        return Err(refused("the text becomes too long"));
    }
    Ok(text.replace(from, to))
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// Writes a date by a pattern with the letters of C's `strftime`: `%d %e %m %y %Y %H %I %M %p`, and the English names
/// `%a %A %b %B`. `%-d` is `%d` without a zero before it.
fn date(value: &str, pattern: &str) -> Result<String, minijinja::Error> {
    let read = read_date(value).ok_or_else(|| refused("`date` writes dates only"))?;
    let has_time = read.len() > "2026-12-24".len();
    let at: DateTime = if has_time {
        read.parse().map_err(|_| refused("`date` writes dates only"))?
    } else {
        read.parse::<Date>()
            .map_err(|_| refused("`date` writes dates only"))?
            .to_datetime(jiff::civil::Time::midnight())
    };
    let twelve = match at.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    let month = MONTHS[usize::from(at.month().unsigned_abs()) - 1];
    let day = DAYS[usize::from(at.weekday().to_monday_zero_offset().unsigned_abs())];
    let mut text = String::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        let mut letter = chars.next();
        let is_bare = letter == Some('-');
        if is_bare {
            letter = chars.next();
        }
        if matches!(letter, Some('H' | 'I' | 'M' | 'p')) && !has_time {
            return Err(refused("the date has no time"));
        }
        let two = |number: i8| if is_bare { number.to_string() } else { format!("{number:02}") };
        match letter {
            Some('d') => text.push_str(&two(at.day())),
            Some('e') => text.push_str(&at.day().to_string()),
            Some('m') => text.push_str(&two(at.month())),
            Some('y') => text.push_str(&format!("{:02}", at.year().rem_euclid(100))),
            Some('Y') => text.push_str(&format!("{:04}", at.year())),
            Some('H') => text.push_str(&two(at.hour())),
            Some('I') => text.push_str(&two(twelve)),
            Some('M') => text.push_str(&format!("{:02}", at.minute())),
            Some('p') => text.push_str(if at.hour() < 12 { "am" } else { "pm" }),
            Some('a') => text.push_str(&day[..3]),
            Some('A') => text.push_str(day),
            Some('b') => text.push_str(&month[..3]),
            Some('B') => text.push_str(month),
            Some('%') => text.push('%'),
            _ => return Err(refused("`date` does not know this letter after `%`")),
        }
    }
    Ok(text)
}

/// Takes up to [`OUTPUT_MAX`] octets.
struct Bounded(Vec<u8>);

impl std::io::Write for Bounded {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + octets.len() > OUTPUT_MAX {
            return Err(std::io::Error::other("the text becomes too long"));
        }
        self.0.extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What went wrong, as the end of a sentence. Values are never in it: they may be anything.
fn sentence(error: &minijinja::Error) -> String {
    let what = match error.kind() {
        ErrorKind::SyntaxError => error.detail().unwrap_or("it cannot be read").to_owned(),
        ErrorKind::UndefinedError => "something is used that has no value".to_owned(),
        ErrorKind::OutOfFuel => "it takes too many steps".to_owned(),
        ErrorKind::WriteFailure => "the text becomes too long".to_owned(),
        ErrorKind::UnknownFilter => "there is no such filter".to_owned(),
        ErrorKind::UnknownFunction | ErrorKind::UnknownMethod => "there are no functions".to_owned(),
        ErrorKind::UnknownTest => "there is no such test".to_owned(),
        ErrorKind::InvalidOperation => {
            "something cannot be calculated, such as a division by zero".to_owned()
        }
        OURS => error.detail().unwrap_or_default().to_owned(),
        kind => kind.to_string(),
    };
    let what: String = what.chars().filter(|c| !c.is_control()).take(200).collect();
    match error.line() {
        Some(line) => format!("{what} (line {line})"),
        None => what,
    }
}
