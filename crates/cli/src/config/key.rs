//! Keys: what may be written for one, how it is read from the file or the environment, and what is said if it is
//! wrong. Every complaint names the key, the line and the cure.
//!
//! It knows nothing of what the keys mean; that is [`super::section`] and the lists.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use tidings_domain::account::Environment;
use tidings_domain::address::Country;
use tidings_domain::keyword::Language;
use tidings_domain::node::Roles;
use tidings_domain::purpose::Purpose;
use tidings_domain::quiet_hours::Window;
use tidings_domain::range::Range;
use tidings_domain::reply;
use tidings_domain::spend::Amount;
use tidings_egress::Block;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Every variable of the environment that overrides a key begins with this, and has `__` between section and key.
pub const PREFIX: &str = "TIDINGS_";

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// `tidings.toml:12`, or the variable's name.
    pub place: String,
    /// What is wrong, and the cure.
    pub sentence: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.sentence)
    }
}

/// A kind of value.
pub trait Setting: Sized {
    /// Whether a variable of the environment is taken as it is, without quotes.
    const TEXT: bool = false;

    /// What may be written: continues the sentence "must be …".
    fn wanted() -> String;

    /// Reads it; `None` if it is something else.
    fn read(value: &DeValue<'_>) -> Option<Self>;

    /// As it would be written; `None` if it is not there.
    fn print(&self) -> Option<String>;
}

/// A whole number within bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole<const MIN: i64, const MAX: i64>(i64);

impl<const MIN: i64, const MAX: i64> Whole<MIN, MAX> {
    /// A number that is known to fit.
    pub const fn new(number: i64) -> Self {
        assert!(number >= MIN && number <= MAX, "a default lies within its bounds");
        Self(number)
    }

    /// The number as the type that its bounds fit into.
    pub fn get<T: TryFrom<i64>>(self) -> T {
        T::try_from(self.0).ok().expect("the bounds of the key fit the type it is used as")
    }
}

impl<const MIN: i64, const MAX: i64> Setting for Whole<MIN, MAX> {
    fn wanted() -> String {
        format!("a whole number from {MIN} to {MAX}")
    }
    fn read(value: &DeValue<'_>) -> Option<Self> {
        let number = value.as_integer()?;
        let number = i64::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok()?;
        (MIN..=MAX).contains(&number).then_some(Self(number))
    }
    fn print(&self) -> Option<String> {
        Some(self.0.to_string())
    }
}

/// Segments per second: more than 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate(pub f64);

impl Setting for Rate {
    fn wanted() -> String {
        "a number greater than 0 and at most 100000, such as 20 or 0.5".to_owned()
    }
    fn read(value: &DeValue<'_>) -> Option<Self> {
        let text = match value {
            DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
            DeValue::Float(number) => number.as_str(),
            _ => return None,
        };
        let rate: f64 = text.replace('_', "").parse().ok()?;
        (rate.is_finite() && rate > 0.0 && rate <= 100_000.0).then_some(Self(rate))
    }
    fn print(&self) -> Option<String> {
        Some(self.0.to_string())
    }
}

impl Setting for bool {
    fn wanted() -> String {
        "true or false".to_owned()
    }
    fn read(value: &DeValue<'_>) -> Option<Self> {
        value.as_bool()
    }
    fn print(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Setting for String {
    const TEXT: bool = true;
    fn wanted() -> String {
        "text in quotes that is not empty, on one line".to_owned()
    }
    fn read(value: &DeValue<'_>) -> Option<Self> {
        let text = value.as_str()?;
        (!text.is_empty() && !text.contains(char::is_control)).then(|| text.to_owned())
    }
    fn print(&self) -> Option<String> {
        Some(quoted(self))
    }
}

impl Setting for PathBuf {
    const TEXT: bool = true;
    fn wanted() -> String {
        "a path in quotes".to_owned()
    }
    fn read(value: &DeValue<'_>) -> Option<Self> {
        String::read(value).map(PathBuf::from)
    }
    fn print(&self) -> Option<String> {
        Some(quoted(&self.display().to_string()))
    }
}

impl Setting for SocketAddr {
    const TEXT: bool = true;
    fn wanted() -> String {
        r#"an IP address with a port, such as "127.0.0.1:8080" or "[::]:8080""#.to_owned()
    }
    fn read(value: &DeValue<'_>) -> Option<Self> {
        value.as_str()?.parse().ok()
    }
    fn print(&self) -> Option<String> {
        Some(quoted(&self.to_string()))
    }
}

impl Setting for Block {
    const TEXT: bool = true;
    fn wanted() -> String {
        r#"a block of addresses, such as "10.20.0.0/16""#.to_owned()
    }
    fn read(value: &DeValue<'_>) -> Option<Self> {
        value.as_str()?.parse().ok()
    }
    fn print(&self) -> Option<String> {
        Some(quoted(&self.to_string()))
    }
}

impl Setting for Environment {
    const TEXT: bool = true;
    fn wanted() -> String {
        one_of(Self::ALL.iter().map(|environment| environment.as_str()))
    }
    fn read(value: &DeValue<'_>) -> Option<Self> {
        Self::parse(value.as_str()?)
    }
    fn print(&self) -> Option<String> {
        Some(quoted(self.as_str()))
    }
}

impl Setting for Purpose {
    const TEXT: bool = true;
    fn wanted() -> String {
        one_of(Self::ALL.iter().map(|purpose| purpose.as_str()))
    }
    fn read(value: &DeValue<'_>) -> Option<Self> {
        Self::parse(value.as_str()?)
    }
    fn print(&self) -> Option<String> {
        Some(quoted(self.as_str()))
    }
}

impl Setting for Range {
    const TEXT: bool = true;
    fn wanted() -> String {
        one_of(Self::ALL.iter().map(|range| range.as_str()))
    }
    fn read(value: &DeValue<'_>) -> Option<Self> {
        Self::parse(value.as_str()?)
    }
    fn print(&self) -> Option<String> {
        Some(quoted(self.as_str()))
    }
}

impl Setting for Window {
    const TEXT: bool = true;
    fn wanted() -> String {
        r#"hours of one day, such as "10:00-18:00""#.to_owned()
    }
    fn read(value: &DeValue<'_>) -> Option<Self> {
        Self::parse(value.as_str()?)
    }
    fn print(&self) -> Option<String> {
        Some(quoted(&self.to_string()))
    }
}

/// An amount of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Money(pub Amount);

impl Setting for Money {
    fn wanted() -> String {
        "a number from 0 to 1000000000 with at most six digits after the point, such as 250 or 0.0079"
            .to_owned()
    }
    fn read(value: &DeValue<'_>) -> Option<Self> {
        let text = match value {
            DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
            DeValue::Float(number) => number.as_str(),
            _ => return None,
        };
        Amount::parse(&text.replace('_', "")).map(Self)
    }
    fn print(&self) -> Option<String> {
        Some(self.0.to_string())
    }
}

/// What a segment costs to numbers that begin so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceLine(pub String, pub Amount);

impl Setting for PriceLine {
    const TEXT: bool = true;
    fn wanted() -> String {
        r#"the beginning of numbers, a colon, and what a segment costs, such as "46: 0.045""#.to_owned()
    }
    fn read(value: &DeValue<'_>) -> Option<Self> {
        let (prefix, price) = value.as_str()?.split_once(':')?;
        let prefix = prefix.trim().trim_start_matches('+');
        let is_prefix =
            (1..=15).contains(&prefix.len()) && prefix.bytes().all(|octet| octet.is_ascii_digit());
        Amount::parse(price.trim()).filter(|_| is_prefix).map(|price| Self(prefix.to_owned(), price))
    }
    fn print(&self) -> Option<String> {
        Some(quoted(&format!("{}: {}", self.0, self.1)))
    }
}

/// A country.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountryCode(pub Country);

impl Setting for CountryCode {
    const TEXT: bool = true;
    fn wanted() -> String {
        r#"the two letters of a country, such as "SE""#.to_owned()
    }
    fn read(value: &DeValue<'_>) -> Option<Self> {
        Country::parse(value.as_str()?).ok().map(Self)
    }
    fn print(&self) -> Option<String> {
        Some(quoted(self.0.as_str()))
    }
}

/// A language in which people are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LanguageCode(pub Language);

impl Setting for LanguageCode {
    const TEXT: bool = true;
    fn wanted() -> String {
        one_of(
            reply::languages()
                .map(|language| language.to_string())
                .collect::<Vec<_>>()
                .iter()
                .map(String::as_str),
        )
    }
    fn read(value: &DeValue<'_>) -> Option<Self> {
        Language::parse(value.as_str()?)
            .filter(|language| reply::languages().any(|known| known == *language))
            .map(Self)
    }
    fn print(&self) -> Option<String> {
        Some(quoted(self.0.as_str()))
    }
}

/// What a node is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleList(pub Roles);

impl Setting for RoleList {
    const TEXT: bool = true;
    fn wanted() -> String {
        r#"one or several of api, send and webhook, such as "api,send,webhook""#.to_owned()
    }
    fn read(value: &DeValue<'_>) -> Option<Self> {
        Roles::parse(value.as_str()?).ok().map(Self)
    }
    fn print(&self) -> Option<String> {
        Some(quoted(&self.0.to_string()))
    }
}

impl<T: Setting> Setting for Option<T> {
    const TEXT: bool = T::TEXT;
    fn wanted() -> String {
        T::wanted()
    }
    fn read(value: &DeValue<'_>) -> Option<Self> {
        T::read(value).map(Some)
    }
    fn print(&self) -> Option<String> {
        self.as_ref().and_then(T::print)
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn wanted() -> String {
        format!("a list in square brackets, each {}", T::wanted())
    }
    fn read(value: &DeValue<'_>) -> Option<Self> {
        value.as_array()?.iter().map(|item| T::read(item.get_ref())).collect()
    }
    fn print(&self) -> Option<String> {
        let items: Vec<String> = self.iter().filter_map(T::print).collect();
        Some(format!("[{}]", items.join(", ")))
    }
}

/// Makes an enum whose values are words in the configuration.
macro_rules! words {
    ($(#[doc = $about:literal])* $name:ident { $($(#[doc = $doc:literal])* $value:ident = $word:literal,)* }) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[doc = $doc])* $value,)* }

        impl $crate::config::key::Setting for $name {
            const TEXT: bool = true;
            fn wanted() -> String { $crate::config::key::one_of([$($word),*].into_iter()) }
            fn read(value: &toml::de::DeValue<'_>) -> Option<Self> {
                match value.as_str()? { $($word => Some(Self::$value),)* _ => None }
            }
            fn print(&self) -> Option<String> {
                Some(format!("\"{}\"", match self { $(Self::$value => $word,)* }))
            }
        }
    };
}
pub(crate) use words;

/// `"a", "b" or "c"`.
pub fn one_of<'w>(words: impl Iterator<Item = &'w str>) -> String {
    let words: Vec<String> = words.map(quoted).collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A key as documentation shows it.
#[derive(Debug, Clone)]
pub struct KeyDescription {
    /// Its name.
    pub name: &'static str,
    /// What it is for: lines.
    pub doc: Vec<&'static str>,
    /// What may be written.
    pub wanted: String,
    /// What counts if it is not written.
    pub default: Option<String>,
    /// What is shown if there is no default.
    pub example: Option<&'static str>,
}

impl KeyDescription {
    /// Prints it as a commented line with its documentation.
    pub fn print(&self, text: &mut String) {
        for line in &self.doc {
            let _ = writeln!(text, "#{line}");
        }
        let _ = writeln!(text, "# Must be {}.", self.wanted);
        let value = self.example.map(str::to_owned).or_else(|| self.default.clone()).unwrap_or_default();
        let _ = writeln!(text, "# {} = {value}", self.name);
    }
}

/// A section as documentation shows it.
#[derive(Debug, Clone)]
pub struct SectionDescription {
    /// What it is for: lines.
    pub doc: Vec<&'static str>,
    /// Its keys.
    pub keys: Vec<KeyDescription>,
}

impl SectionDescription {
    /// Prints what it is for, as a comment after an empty line.
    pub fn print_doc(&self, text: &mut String) {
        text.push('\n');
        for line in &self.doc {
            let _ = writeln!(text, "#{line}");
        }
    }

    /// Prints all of it, its keys under this header.
    pub fn print(&self, text: &mut String, header: &str) {
        self.print_doc(text);
        let _ = writeln!(text, "{header}");
        for key in &self.keys {
            text.push('\n');
            key.print(text);
        }
    }
}

/// Keys with their values as they would be written, secrets masked; none for one that is not there.
pub type Shown = Vec<(&'static str, Option<String>)>;

/// Prints keys under their header.
pub fn print_keys(text: &mut String, header: &str, keys: &Shown) {
    let _ = writeln!(text, "{}{header}", if text.is_empty() { "" } else { "\n" });
    for (key, value) in keys {
        if let Some(value) = value {
            let _ = writeln!(text, "{key} = {value}");
        }
    }
}

/// A group of keys.
pub trait Section: Sized {
    /// What it is called in the file: `http`.
    const NAME: &'static str;
    /// For documentation.
    fn describe() -> SectionDescription;
    /// Reads its keys and no others; those that are wrong get their default and a [`Problem`].
    fn read<'a>(reader: &mut Reader<'a>, table: &mut Table<'a>) -> Self;
    /// Every key.
    fn show(&self) -> Shown;
}

/// Prints a section that is written once.
pub fn print<S: Section>(text: &mut String, section: &S) {
    print_keys(text, &header::<S>(), &section.show());
}

/// Prints a section that is written once as the example configuration has it.
pub fn print_example<S: Section>(text: &mut String) {
    S::describe().print(text, &header::<S>());
}

fn header<S: Section>() -> String {
    format!("[{}]", S::NAME)
}

/// Makes the struct of a section out of the documentation, type and default of its keys.
/// A key without a default has an example instead; both are what `config.example.toml` shows.
macro_rules! section {
    (
        $(#[doc = $about:literal])*
        $name:ident = $header:literal {
            $($(#[doc = $doc:literal])* $key:ident: $type:ty = $default:expr $(, example $example:literal)?;)*
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone)]
        pub struct $name { $($(#[doc = $doc])* pub $key: $type,)* }

        impl $crate::config::key::Section for $name {
            const NAME: &'static str = $header;

            fn describe() -> $crate::config::key::SectionDescription {
                use $crate::config::key::Setting;
                $crate::config::key::SectionDescription {
                    doc: vec![$($about),*],
                    keys: vec![$({
                        let default: $type = $default;
                        $crate::config::key::KeyDescription {
                            name: stringify!($key),
                            doc: vec![$($doc),*],
                            wanted: <$type>::wanted(),
                            default: default.print(),
                            example: [$($example,)? ""].first().copied().filter(|example| !example.is_empty()),
                        }
                    }),*],
                }
            }

            fn read<'a>(
                reader: &mut $crate::config::key::Reader<'a>,
                table: &mut $crate::config::key::Table<'a>,
            ) -> Self {
                Self { $($key: reader.key(table, stringify!($key), $default),)* }
            }

            fn show(&self) -> $crate::config::key::Shown {
                use $crate::config::key::Setting;
                vec![$((stringify!($key), self.$key.print())),*]
            }
        }
    };
}
pub(crate) use section;

/// Where the keys come from, and what was wrong so far.
pub struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    environment: &'a BTreeMap<String, String>,
    used: BTreeSet<String>,
    places: BTreeMap<(String, &'static str), String>,
    /// What was wrong, in the order of the file.
    pub problems: Vec<Problem>,
}

/// One table of the file as it is being read.
pub struct Table<'a> {
    /// As it is printed: `[http]`.
    pub header: String,
    variables: String,
    place: String,
    content: Option<&'a DeTable<'a>>,
    known: Vec<String>,
}

impl Table<'_> {
    /// Where it begins.
    pub fn place(&self) -> &str {
        &self.place
    }
}

/// What is left of a table.
pub struct Rest<'a> {
    /// (Key, place, value).
    pub written: Vec<(String, String, &'a DeValue<'a>)>,
    /// (Path of the key, variable, value).
    pub variables: Vec<(Vec<String>, String, String)>,
}

impl<'a> Reader<'a> {
    /// For a file of this name and content, and these variables of the environment.
    pub fn new(file: &'a str, text: &'a str, environment: &'a BTreeMap<String, String>) -> Self {
        Self { file, text, environment, used: BTreeSet::new(), places: BTreeMap::new(), problems: Vec::new() }
    }

    /// `tidings.toml:12` for an octet of the file.
    pub fn place(&self, offset: usize) -> String {
        let before = self.text.get(..offset.min(self.text.len())).unwrap_or(self.text);
        format!("{}:{}", self.file, before.bytes().filter(|octet| *octet == b'\n').count() + 1)
    }

    /// The table under `header`. `name` tells several of a kind apart, for variables of the environment.
    pub fn table(
        &self,
        header: String,
        section: &str,
        name: Option<&str>,
        content: Option<&'a Spanned<DeValue<'a>>>,
    ) -> Table<'a> {
        let word = |text: &str| -> String {
            text.chars()
                .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
                .collect()
        };
        let name = name.map(|name| format!("{}__", word(name))).unwrap_or_default();
        Table {
            header,
            variables: format!("{PREFIX}{}__{name}", word(section)),
            place: content.map_or_else(|| self.file.to_owned(), |content| self.place(content.span().start)),
            content: content.and_then(|content| content.get_ref().as_table()),
            known: Vec::new(),
        }
    }

    /// The table of a section that is written once.
    pub fn table_of<S: Section>(&self, root: &'a DeTable<'a>) -> Table<'a> {
        self.table(header::<S>(), S::NAME, None, root.get(S::NAME))
    }

    /// Reads a section that is written once.
    pub fn section<S: Section>(&mut self, root: &'a DeTable<'a>) -> S {
        let mut table = self.table_of::<S>(root);
        let section = S::read(self, &mut table);
        self.finish(&table);
        section
    }

    /// Reads one key.
    pub fn key<T: Setting>(&mut self, table: &mut Table<'a>, name: &'static str, default: T) -> T {
        table.known.push(name.to_owned());
        let written = table.content.and_then(|content| content.iter().find(|(key, _)| key.get_ref() == name));
        let place = written.map_or_else(|| table.place.clone(), |(key, _)| self.place(key.span().start));
        self.places.insert((table.header.clone(), name), place.clone());
        let variable = format!("{}{}", table.variables, name.to_ascii_uppercase());
        if let Some(given) = self.environment.get(&variable) {
            self.used.insert(variable.clone());
            self.places.insert((table.header.clone(), name), variable.clone());
            let value = from_variable::<T>(given);
            return value.unwrap_or_else(|| {
                self.wrong::<T>(variable, table, name, &format!("{given:?}"));
                default
            });
        }
        match written {
            None => default,
            Some((_, value)) => T::read(value.get_ref()).unwrap_or_else(|| {
                self.wrong::<T>(place, table, name, &shown(value.get_ref()));
                default
            }),
        }
    }

    fn wrong<T: Setting>(&mut self, place: String, table: &Table<'_>, name: &str, given: &str) {
        let sentence = format!(r#"key "{name}" in {} is {given}, but must be {}"#, table.header, T::wanted());
        self.complain(place, sentence);
    }

    /// What is left of a table for somebody else to read: each key with its place, and the overriding variables as
    /// (path of the key in small letters, variable, value).
    pub fn rest(&mut self, table: &Table<'a>) -> Rest<'a> {
        let written = table
            .content
            .into_iter()
            .flat_map(|content| content.iter())
            .filter(|(key, _)| !table.known.iter().any(|known| known == key.get_ref()))
            .map(|(key, value)| (key.get_ref().to_string(), self.place(key.span().start), value.get_ref()))
            .collect();
        let variables: Vec<(Vec<String>, String, String)> = self
            .environment
            .iter()
            .filter(|(name, _)| !self.used.contains(*name))
            .filter_map(|(name, value)| {
                let path =
                    name.strip_prefix(&table.variables)?.split("__").map(str::to_ascii_lowercase).collect();
                Some((path, name.clone(), value.clone()))
            })
            .collect();
        self.used.extend(variables.iter().map(|(_, name, _)| name.clone()));
        Rest { written, variables }
    }

    /// A variable of the environment, whatever its name.
    pub fn variable(&self, name: &str) -> Option<&'a str> {
        self.environment.get(name).map(String::as_str)
    }

    /// Complains about the keys that nobody asked for.
    pub fn finish(&mut self, table: &Table<'a>) {
        for (key, _) in table.content.into_iter().flat_map(|content| content.iter()) {
            let name = key.get_ref();
            if !table.known.iter().any(|known| known == name) {
                let cure = cure(name, table.known.iter().map(String::as_str));
                let sentence = format!(r#"key "{name}" is not known in {}; {cure}"#, table.header);
                self.complain(self.place(key.span().start), sentence);
            }
        }
    }

    /// Complains about variables that look like keys and are none.
    pub fn finish_variables(&mut self, sections: &[&str]) {
        let environment = self.environment;
        for name in environment.keys() {
            if let Some(rest) = name.strip_prefix(PREFIX)
                && rest.contains("__")
                && !self.used.contains(name)
            {
                let section = rest.split("__").next().unwrap_or_default().to_ascii_lowercase();
                let cure = if sections.contains(&section.as_str()) {
                    format!(
                        "[{section}] has no such key: unset it, or look the key up with `tidings config show`"
                    )
                } else {
                    format!(
                        "there is no section [{section}]: unset it, or use one of {}",
                        sections.join(", ")
                    )
                };
                self.complain(name.clone(), format!("this variable overrides nothing; {cure}"));
            }
        }
    }

    /// Complains about a key that was read well but cannot be used.
    pub fn complain_of(&mut self, table: &Table<'_>, name: &'static str, sentence: String) {
        let place = self.places.get(&(table.header.clone(), name)).unwrap_or(&table.place).clone();
        self.complain(place, format!(r#"key "{name}" in {} {sentence}"#, table.header));
    }

    /// Whether a key was written.
    pub fn is_written(&self, table: &Table<'_>, name: &str) -> bool {
        table.content.is_some_and(|content| content.iter().any(|(key, _)| key.get_ref() == name))
            || self.used.contains(&format!("{}{}", table.variables, name.to_ascii_uppercase()))
    }

    /// Complains.
    pub fn complain(&mut self, place: String, sentence: String) {
        self.problems.push(Problem { place, sentence });
    }
}

/// The known name that was probably meant.
pub fn near<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let all = known.map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate));
    let near = all.min().filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4);
    near.map(|(_, candidate)| candidate)
}

/// `did you mean "window"? Rename it`, or the list of what there is.
pub fn cure<'k>(name: &str, known: impl Iterator<Item = &'k str> + Clone) -> String {
    match near(name, known.clone()) {
        Some(candidate) => format!(r#"did you mean "{candidate}"? Rename it"#),
        None => format!("remove it, or use one of: {}", known.collect::<Vec<_>>().join(", ")),
    }
}

fn from_variable<T: Setting>(text: &str) -> Option<T> {
    if T::TEXT {
        return T::read(&DeValue::String(text.into()));
    }
    T::read(DeValue::parse(text.trim()).ok()?.get_ref())
}

fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quoted(text),
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list with something else in it".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
