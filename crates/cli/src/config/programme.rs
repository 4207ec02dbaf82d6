//! Programmes: named streams of messages of a seller from some senders.

use super::Config;
use super::key::{Reader, Table, section};
use super::list;
use tidings_domain::account::Environment;
use tidings_domain::pool;
use tidings_domain::programme::{self, NAME_MAX, Name, PROGRAMMES_MAX, SELLER_MAX};
use tidings_domain::sender::Sender;
use toml::de::DeTable;

section! {
    /// A programme: a named stream of messages of a seller from some senders, such as reminders or offers. Where one is
    /// written, a consent counts for the programme and the seller that it names, and for no others. Write the section once for
    /// each programme; see the guide about programmes.
    Programme = "programme" {
        /// Its name: a to z, digits, - and _.
        name: String = String::new(), example r#""reminders""#;
        /// Whose it is: the name that people give their consent to, as the ledger has it.
        seller: String = String::new(), example r#""Acme Clinic""#;
        /// The senders that it uses: phone numbers, short codes, names, and "pool:NAME". What they send is of this programme if
        /// they belong to no other and the request names none.
        senders: Vec<String> = Vec::new(), example r#"["+12125551234", "pool:support"]"#;
    }
}

impl list::Listed for Programme {
    const MANY: &'static str = "programmes";
    const NAME_KEY: &'static str = "name";
}

/// A programme as it was written, and as it counts.
#[derive(Debug, Clone)]
pub struct Written {
    section: Programme,
    /// As it counts.
    pub programme: programme::Programme,
}

impl Written {
    /// Prints it as it was written.
    pub fn print(&self, text: &mut String) {
        list::print(text, &self.section);
    }
}

/// What is wrong with a key: its name, and a sentence.
type Wrong = (&'static str, String);

impl Programme {
    /// As it counts, with these pools.
    fn programme(&self, config: &Config) -> Result<programme::Programme, Wrong> {
        let Some(name) = Name::parse(&self.name) else {
            return Err(("name", format!("must be 1 to {NAME_MAX} of a to z, digits, - and _; correct it")));
        };
        let seller = self.seller.trim();
        if seller.is_empty() || seller.chars().count() > SELLER_MAX || seller.chars().any(char::is_control) {
            let why = format!("must have 1 to {SELLER_MAX} characters; write the name that people agree to");
            return Err(("seller", why));
        }
        let (mut senders, mut pools) = (Vec::new(), Vec::new());
        for text in &self.senders {
            if let Some(name) = pool::Name::after_prefix(text) {
                let known = config.pools().into_iter().find(|pool| pool.name.as_str() == name);
                let Some(pool) = known else {
                    let why = format!(r#"has "{text}", and there is no [[pool]] of that name; correct it"#);
                    return Err(("senders", why));
                };
                senders.extend(pool.senders);
                pools.push(pool.name);
            } else {
                // Also the fictional numbers of the test environment are taken: a programme is for both.
                senders.push(Sender::parse(text, None, Environment::Test).map_err(|why| {
                    ("senders", format!(r#"has "{text}", which cannot be a sender: {why}; correct it"#))
                })?);
            }
        }
        if senders.is_empty() {
            return Err(("senders", "is empty; write the senders of the programme".to_owned()));
        }
        Ok(programme::Programme { name, seller: seller.to_owned(), senders, pools })
    }

    /// As it counts, if it is right after those before it.
    fn checked(
        &self,
        config: &Config,
        reader: &mut Reader<'_>,
        table: &Table<'_>,
        before: &[Written],
    ) -> Option<programme::Programme> {
        let (key, wrong) = match self.programme(config) {
            Err(wrong) => wrong,
            Ok(one) if before.iter().any(|other| other.programme.name == one.name) => {
                ("name", "is that of another programme; name it otherwise".to_owned())
            }
            Ok(_) if before.len() == PROGRAMMES_MAX => {
                ("name", format!("is one of more than {PROGRAMMES_MAX} programmes; remove some"))
            }
            Ok(one) => return Some(one),
        };
        reader.complain_of(table, key, wrong);
        None
    }
}

/// Reads all of them, after the pools.
pub fn read<'a>(reader: &mut Reader<'a>, root: &'a DeTable<'a>, config: &Config) -> Vec<Written> {
    let mut programmes = Vec::new();
    list::each(reader, root, |reader, table, section: Programme| {
        if let Some(programme) = section.checked(config, reader, table, &programmes) {
            programmes.push(Written { section, programme });
        }
    });
    programmes
}

#[cfg(test)]
mod tests {
    use crate::config::connection::Secrets;
    use crate::config::{Config, FILE_NAME};
    use std::collections::BTreeMap;

    const FULL: &str = "[[pool]]\nname = \"desk\"\nsenders = [\"+15550001111\"]\n\
        [[programme]]\nname = \"reminders\"\nseller = \"Acme Clinic\"\nsenders = [\"12345\", \"pool:desk\"]\n";

    fn load(text: &str) -> Result<Config, Vec<String>> {
        let read = Config::parse(FILE_NAME, text, &BTreeMap::new(), Secrets::Fetched);
        read.map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn programmes_are_read_and_shown_as_they_were_written() {
        let config = load(FULL).expect("it is right");
        let all = config.programmes().all;
        let [one] = &all[..] else { panic!("{all:?}") };
        assert_eq!((one.seller.as_str(), one.senders.len(), one.pools.len()), ("Acme Clinic", 2, 1));
        let again = load(&config.show()).expect("what is shown can be written");
        assert_eq!(again.programmes(), config.programmes());
    }

    #[test]
    fn a_wrong_programme_is_answered_with_key_and_cure() {
        let check = |key: &str, value: &str, cure: &str| {
            let pairs = [("name", "\"a\""), ("seller", "\"Acme\""), ("senders", "[\"Acme\"]")];
            let lines =
                pairs.map(|(name, usual)| format!("{name} = {}\n", if name == key { value } else { usual }));
            let problems = load(&format!("[[programme]]\n{}", lines.concat())).expect_err(value);
            let [problem] = &problems[..] else { panic!("{value}: {problems:?}") };
            assert!(problem.contains(&format!("key \"{key}\" in [[programme]]")), "{problem}");
            assert!(problem.contains(cure), "{problem}");
        };
        check("name", "\"Big\"", "a to z");
        check("seller", "\" \"", "1 to 500");
        check("senders", "[]", "is empty");
        check("senders", "[\"?\"]", "cannot be a sender");
        check("senders", "[\"pool:desk\"]", "no [[pool]]");
        let twice = "[[programme]]\nname = \"a\"\nseller = \"Acme\"\nsenders = [\"Acme\"]\n".repeat(2);
        assert!(load(&twice).expect_err("two of one name")[0].contains("that of another programme"));
    }
}
