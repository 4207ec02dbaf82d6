//! Options on a command line: `--name value`, or `--name` alone for those that are switches.

use std::str::FromStr;

/// What was given.
#[derive(Debug, Clone, Default)]
pub struct Options {
    given: Vec<(String, String)>,
}

impl Options {
    /// Reads words. `switches` take no value.
    ///
    /// # Errors
    /// A word that is no option, or an option without its value.
    pub fn parse(words: &[String], switches: &[&str]) -> Result<Self, String> {
        let mut words = words.iter();
        let mut given = Vec::new();
        while let Some(word) = words.next() {
            let name = word.strip_prefix("--").ok_or_else(|| format!("{word} is no option"))?;
            let value = if switches.contains(&name) {
                String::new()
            } else {
                words.next().ok_or_else(|| format!("--{name} needs a value"))?.clone()
            };
            given.push((name.to_owned(), value));
        }
        Ok(Self { given })
    }

    /// The last value of an option.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.given.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The value of an option that must be there.
    ///
    /// # Errors
    /// It is not.
    pub fn needed(&self, name: &str) -> Result<&str, String> {
        self.text(name).ok_or_else(|| format!("--{name} is missing"))
    }

    /// Whether an option is there.
    pub fn has(&self, name: &str) -> bool {
        self.text(name).is_some()
    }

    /// A number.
    ///
    /// # Errors
    /// It is none.
    pub fn number<N: FromStr>(&self, name: &str, otherwise: N) -> Result<N, String> {
        match self.text(name) {
            None => Ok(otherwise),
            Some(text) => {
                text.replace('_', "").parse().map_err(|_| format!("--{name} takes a number, not {text}"))
            }
        }
    }

    /// Complains about the first option that is not among these.
    ///
    /// # Errors
    /// Its name.
    pub fn only(&self, known: &[&str]) -> Result<(), String> {
        match self.given.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) => Err(format!("--{name} is not known here")),
            None => Ok(()),
        }
    }
}
