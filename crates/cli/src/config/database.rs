//! Where everything is kept: in a directory, or at the address of a PostgreSQL database. An address may hold a password,
//! so it is never shown whole, and may stand elsewhere: in a variable of the environment, or in a file of its own.

use super::connection::read_secret;
use super::key::Setting;
use super::section::Data;
use std::fmt;
use std::path::Path;
use toml::de::DeValue;

/// An address as it was written: itself, or `env:NAME`.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(String);

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&masked(&self.0))
    }
}

/// Whether a text is meant as the address of a database.
pub fn is_address(text: &str) -> bool {
    text.starts_with("postgres://") || text.starts_with("postgresql://")
}

impl Setting for Address {
    const TEXT: bool = true;
    fn wanted() -> String {
        r#"an address such as "postgres://user@host/database", or "env:NAME""#.to_owned()
    }
    fn read(value: &DeValue<'_>) -> Option<Self> {
        // Any text, so that nobody prints one that is wrong: it may hold a password all the same.
        value.as_str().filter(|text| !text.is_empty()).map(|text| Self(text.to_owned()))
    }
    fn print(&self) -> Option<String> {
        masked(&self.0).print()
    }
}

impl Address {
    /// Of a text that is one.
    pub fn of(text: &str) -> Option<Self> {
        is_address(text).then(|| Self(text.to_owned()))
    }

    /// The address itself, also if it stands in a variable.
    ///
    /// # Errors
    /// It cannot be found: continues the sentence `key "url" in [data] …`.
    fn find(&self, variable: impl Fn(&str) -> Option<String>) -> Result<String, String> {
        let Some(name) = self.0.strip_prefix("env:") else {
            let wrong = || format!("is something else, but must be {}", Self::wanted());
            return Self::of(&self.0).map(|address| address.0).ok_or_else(wrong);
        };
        match variable(name) {
            Some(text) => checked(&text, "names the variable", name),
            None => Err(format!(
                "names the variable {name}, which is not set; set it, or write the address into a file and name it in url_file"
            )),
        }
    }
}

impl Data {
    /// Everything is in this directory, or at this address of a database, whatever was written.
    pub fn name(&mut self, named: &Path) {
        self.url_file = None;
        self.url = named.to_str().and_then(Address::of);
        if self.url.is_none() {
            named.clone_into(&mut self.directory);
        }
    }

    /// The address of the database, if it is not SQLite in the directory.
    ///
    /// # Errors
    /// It cannot be found or used: the key that says where it is, and the rest of a sentence about it.
    pub(super) fn database(
        &self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<String>, (&'static str, String)> {
        let (key, found) = match (&self.url, &self.url_file) {
            (None, None) => return Ok(None),
            (Some(url), _) => ("url", url.find(variable)),
            (None, Some(path)) => ("url_file", in_file(path)),
        };
        let address = found.map_err(|why| (key, why))?;
        match tidings_store::postgres::Options::at(&address) {
            Ok(_) => Ok(Some(address)),
            Err(why) => Err((key, format!("cannot be used: {why}; correct it"))),
        }
    }
}

/// The address in a file.
///
/// # Errors
/// It cannot be found: continues the sentence `key "url_file" in [data] …`.
fn in_file(path: &Path) -> Result<String, String> {
    checked(&read_secret(path)?, "names the file", &path.display().to_string())
}

fn checked(text: &str, what: &str, name: &str) -> Result<String, String> {
    if is_address(text) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{what} {name}, which holds no address such as postgres://user@host/database; correct it"
        ))
    }
}

/// The address without what only its owner may know.
fn masked(text: &str) -> String {
    const MASK: &str = "•••";
    let Some((scheme, rest)) = text.split_once("://").filter(|_| is_address(text)) else {
        return if text.starts_with("env:") { text.to_owned() } else { MASK.to_owned() };
    };
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) if query.contains("password") => (rest, format!("?{MASK}")),
        Some((rest, query)) => (rest, format!("?{query}")),
        None => (rest, String::new()),
    };
    let whole = match rest.rsplit_once('@') {
        Some((who, place)) => match who.split_once(':') {
            Some((user, _)) => format!("{user}:{MASK}@{place}"),
            None => format!("{who}@{place}"),
        },
        None => rest.to_owned(),
    };
    format!("{scheme}://{whole}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        let check = |written: &str, shown: &str| assert_eq!(masked(written), shown);
        check("postgres://db/tidings", "postgres://db/tidings");
        check(
            "postgres://tidings@db/tidings?sslmode=require",
            "postgres://tidings@db/tidings?sslmode=require",
        );
        check("postgresql://tidings:hush@db:5433/tidings", "postgresql://tidings:•••@db:5433/tidings");
        check("postgres://tidings:hu@sh@db/tidings", "postgres://tidings:•••@db/tidings");
        check("postgres://db/tidings?user=a&password=hush", "postgres://db/tidings?•••");
        check("env:DATABASE", "env:DATABASE");
        check("postgres:/tidings:hush@db/tidings", "•••");
        assert!(!format!("{:?}", Address("postgres://a:hush@b/c".to_owned())).contains("hush"));
    }
}
