//! Programmes: named streams of messages of a seller from some senders.

use super::Config;
use super::key::{Reader, Table, section, words};
use super::list;
use tidings_domain::account::Environment;
use tidings_domain::consent::{self, Act, Channel, WORDING_MAX, Wording};
use tidings_domain::content;
use tidings_domain::pool;
use tidings_domain::programme::{
    self, FORMERLY_MAX, JOIN_MAX, Join, NAME_MAX, Name, PROGRAMMES_MAX, Programmes, SELLER_MAX, Stop,
    WELCOME_MAX,
};
use tidings_domain::purpose::Purpose;
use tidings_domain::sender::Sender;
use tidings_wire::token::hash;
use toml::de::DeTable;

section! {
    /// A programme: a named stream of messages of a seller from some senders, such as reminders or offers. Where one is
    /// written, a consent counts for the programme and the seller that it names, and for no others. Write the section once for
    /// each programme; see the guide about programmes.
    Programme = "programme" {
        /// Its name: a to z, digits, - and _.
        name: String = String::new(), example r#""offers""#;
        /// Names that it had before: consents and opt-outs of these are of it. Without that, who is out of a programme that is not
        /// there any more gets nothing at all.
        formerly: Vec<String> = Vec::new(), example r#"["deals"]"#;
        /// Whose it is: the name that people give their consent to, as the ledger has it.
        seller: String = String::new(), example r#""Acme Clinic""#;
        /// The senders that it uses: phone numbers, short codes, names, and "pool:NAME". What they send is of this programme if
        /// they belong to no other and the request names none.
        senders: Vec<String> = Vec::new(), example r#"["+46701234567", "pool:support"]"#;
        /// The texts by which people join it, at one of its senders; an empty list is none. They are compared as STOP is, and
        /// must be none of the words that ask for something by themselves.
        join: Vec<String> = Vec::new(), example r#"["JOIN", "ALERTS"]"#;
        /// What who joins agrees to be contacted for.
        purpose: Option<Purpose> = None, example r#""marketing""#;
        /// What joining is: "written" if what people were shown has all that a written consent must say, else "express". What
        /// the purpose needs, if not written.
        act: Option<ActWord> = None, example r#""written""#;
        /// What people are shown where the word is advertised, to the letter. It goes into the ledger with its SHA-256. Of a
        /// written consent it must name the seller.
        wording: Option<String> = None, example r#""Text JOIN to +12125551234 for about 4 texts a month with offers of Acme Clinic.""#;
        /// What STOP to one of its senders ends: "account", all that the account sends; or "programme", this programme alone, at the
        /// senders that no other programme uses. STOP ALL, and whatever says more than a word, always ends everything.
        stop: StopWord = StopWord::Account, example r#""programme""#;
        /// What who joins is answered, once: it must have the programme's name, HELP, and how to stop.
        welcome: Option<String> = None, example r#""Acme Clinic offers: welcome! About 4 texts a month. Msg&data rates may apply. HELP for help, STOP to stop.""#;
    }
}

words! {
    /// What joining is.
    ActWord {
        /// Express consent.
        Express = "express",
        /// Written consent.
        Written = "written",
    }
}

words! {
    /// What STOP ends.
    StopWord {
        /// Everything.
        Account = "account",
        /// The programme alone.
        Programme = "programme",
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

/// What was read, if it is right; else what is wrong is told with the rest.
fn kept<T>(read: Result<T, Wrong>, wrong: &mut Vec<Wrong>) -> Option<T> {
    read.map_err(|why| wrong.push(why)).ok()
}

impl Programme {
    /// As it counts, with these pools.
    ///
    /// # Errors
    /// All that is wrong with it.
    fn programme(&self, config: &Config) -> Result<programme::Programme, Vec<Wrong>> {
        let mut wrong = Vec::new();
        let name = kept(self.name(), &mut wrong);
        let formerly = kept(self.formerly(), &mut wrong);
        let seller = kept(self.seller(), &mut wrong);
        let (senders, pools) = self.senders(config, &mut wrong);
        let join = self.join(name.as_ref(), seller, &mut wrong);
        let stop = match self.stop {
            StopWord::Account => Stop::Account,
            StopWord::Programme => Stop::Programme,
        };
        match (name, formerly, seller) {
            (Some(name), Some(formerly), Some(seller)) if wrong.is_empty() => {
                let seller = seller.to_owned();
                Ok(programme::Programme { name, formerly, seller, senders, pools, join, stop })
            }
            _ => Err(wrong),
        }
    }

    fn name(&self) -> Result<Name, Wrong> {
        let wrong = || ("name", format!("must be 1 to {NAME_MAX} of a to z, digits, - and _; correct it"));
        Name::parse(&self.name).ok_or_else(wrong)
    }

    fn formerly(&self) -> Result<Vec<Name>, Wrong> {
        if self.formerly.len() > FORMERLY_MAX {
            return Err(("formerly", format!("has more than {FORMERLY_MAX} names; remove some")));
        }
        let former = |text: &String| {
            Name::parse(text).ok_or_else(|| {
                ("formerly", format!(r#"has "{text}", which no programme was ever called; correct it"#))
            })
        };
        self.formerly.iter().map(former).collect()
    }

    fn seller(&self) -> Result<&str, Wrong> {
        let seller = self.seller.trim();
        if seller.is_empty() || seller.chars().count() > SELLER_MAX || seller.chars().any(char::is_control) {
            let why = format!("must have 1 to {SELLER_MAX} characters; write the name that people agree to");
            return Err(("seller", why));
        }
        Ok(seller)
    }

    /// The senders and the pools that it uses.
    fn senders(&self, config: &Config, wrong: &mut Vec<Wrong>) -> (Vec<Sender>, Vec<pool::Name>) {
        let (mut senders, mut pools) = (Vec::new(), Vec::new());
        for text in &self.senders {
            if let Some(name) = pool::Name::after_prefix(text) {
                match config.pools().into_iter().find(|pool| pool.name.as_str() == name) {
                    Some(pool) => {
                        senders.extend(pool.senders);
                        pools.push(pool.name);
                    }
                    None => {
                        let why =
                            format!(r#"has "{text}", and there is no [[pool]] of that name; correct it"#);
                        wrong.push(("senders", why));
                    }
                }
            } else {
                // Also the fictional numbers of the test environment are taken: a programme is for both.
                match Sender::parse(text, None, Environment::Test) {
                    Ok(sender) => senders.push(sender),
                    Err(why) => {
                        let why = format!(r#"has "{text}", which cannot be a sender: {why}; correct it"#);
                        wrong.push(("senders", why));
                    }
                }
            }
        }
        if self.senders.is_empty() || senders.is_empty() && wrong.iter().all(|(key, _)| *key != "senders") {
            wrong.push(("senders", "is empty; write the senders of the programme".to_owned()));
        }
        (senders, pools)
    }

    /// How people join it. What needs its name or its seller is looked at if these are right.
    fn join(&self, name: Option<&Name>, seller: Option<&str>, wrong: &mut Vec<Wrong>) -> Option<Join> {
        if self.join.is_empty() {
            let others = [
                ("purpose", self.purpose.is_some()),
                ("act", self.act.is_some()),
                ("wording", self.wording.is_some()),
                ("welcome", self.welcome.is_some()),
            ];
            let why = r#"is written without "join"; write the words by which people join, or remove it"#;
            let written = others.into_iter().find(|(_, is_written)| *is_written);
            wrong.extend(written.map(|(key, _)| (key, why.to_owned())));
            return None;
        }
        let words = kept(self.words(), wrong);
        let purpose = kept(self.purpose.ok_or_else(|| missing("purpose")), wrong);
        let act = purpose.and_then(|purpose| kept(self.act(purpose), wrong));
        let wording = kept(text("wording", &self.wording, WORDING_MAX), wrong);
        let names_seller = |wording: &str| {
            seller.is_none_or(|seller| !content::is_name(seller) || content::names(wording, seller))
        };
        if act == Some(Act::Written) && !wording.as_deref().is_none_or(names_seller) {
            let why =
                "does not name the seller, as a written consent must; write it there as people were shown it";
            wrong.push(("wording", why.to_owned()));
        }
        let welcome = kept(text("welcome", &self.welcome, WELCOME_MAX), wrong);
        let lacking = name.zip(welcome.as_deref()).map(|(name, welcome)| programme::lacking(welcome, name));
        if let Some(lacking) = lacking.filter(|lacking| !lacking.is_empty()) {
            let why = format!("lacks what carriers want it to say: {}; add it", lacking.join(", "));
            wrong.push(("welcome", why));
        }
        let wording = wording.map(|text| Wording { hash: hash(&text), text });
        Some(Join { words: words?, purpose: purpose?, act: act?, wording: wording?, welcome: welcome? })
    }

    fn words(&self) -> Result<Vec<String>, Wrong> {
        if self.join.len() > JOIN_MAX {
            return Err(("join", format!("has more than {JOIN_MAX} words; remove some")));
        }
        let word = |text: &String| {
            programme::join_word(text).ok_or_else(|| {
                let why = "which people cannot join by: it has no word, more than three, or asks for something by itself";
                ("join", format!(r#"has "{text}", {why}; choose another"#))
            })
        };
        self.join.iter().map(word).collect()
    }

    fn act(&self, purpose: Purpose) -> Result<Act, Wrong> {
        let needed = consent::needed(purpose, Channel::Text);
        let act = match self.act {
            Some(ActWord::Express) => Act::Express,
            Some(ActWord::Written) => Act::Written,
            None => needed,
        };
        if act < needed {
            let why =
                format!(r#"is not enough for "{}", which needs "written"; correct it"#, purpose.as_str());
            return Err(("act", why));
        }
        Ok(act)
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
            Err(wrong) => {
                wrong.into_iter().for_each(|(key, why)| reader.complain_of(table, key, why));
                return None;
            }
            Ok(one) if before.iter().any(|other| other.programme.name == one.name) => {
                ("name", "is that of another programme; name it otherwise".to_owned())
            }
            Ok(_) if before.len() == PROGRAMMES_MAX => {
                ("name", format!("is one of more than {PROGRAMMES_MAX} programmes; remove some"))
            }
            Ok(one) if one.formerly.contains(&one.name) => {
                ("formerly", format!(r#"has "{}", which it is called now; remove that"#, one.name))
            }
            Ok(one) if let Some((name, other)) = called_as(&one, before) => (
                "formerly",
                format!(r#"leaves "{name}" with two programmes, this one and "{other}": remove it from one"#),
            ),
            Ok(one) => match before.iter().find_map(|other| shared(&one, &other.programme)) {
                None => return Some(one),
                Some((word, name)) => {
                    let why = format!(
                        r#"has "{word}", by which people join "{name}" at a sender that both use; choose another"#
                    );
                    ("join", why)
                }
            },
        };
        reader.complain_of(table, key, wrong);
        None
    }
}

fn missing(key: &'static str) -> Wrong {
    (key, r#"is missing beside "join"; write it"#.to_owned())
}

/// A text of at most so many characters.
fn text(key: &'static str, text: &Option<String>, most: usize) -> Result<String, Wrong> {
    let is_control = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    let text = text.clone().ok_or_else(|| missing(key))?;
    match (1..=most).contains(&text.trim().chars().count()) && !text.chars().any(is_control) {
        true => Ok(text),
        false => {
            Err((key, format!("must have 1 to {most} characters, and no control characters; correct it")))
        }
    }
}

/// A name that is, or was, also that of one of these, and which: then nobody knows whose the opt-outs of that name are.
fn called_as(one: &programme::Programme, before: &[Written]) -> Option<(Name, Name)> {
    before.iter().map(|other| &other.programme).find_map(|other| {
        let both = one.names().find(|name| other.is_called(name));
        both.map(|name| (name.clone(), other.name.clone()))
    })
}

/// A word by which people would join both at the same sender, with the name of the other.
fn shared(one: &programme::Programme, other: &programme::Programme) -> Option<(String, Name)> {
    let (mine, theirs) = (one.join.as_ref()?, other.join.as_ref()?);
    one.senders.iter().find(|sender| other.senders.contains(sender))?;
    let word = mine.words.iter().find(|word| theirs.words.contains(word))?;
    Some((word.clone(), other.name.clone()))
}

/// Reads all of them, after the pools.
pub fn read<'a>(reader: &mut Reader<'a>, root: &'a DeTable<'a>, config: &Config) -> Vec<Written> {
    let mut programmes = Vec::new();
    list::each(reader, root, |reader, table, section: Programme| {
        if let Some(programme) = section.checked(config, reader, table, &programmes) {
            programmes.push(Written { section, programme });
        }
    });
    let all = Programmes { all: programmes.iter().map(|written| written.programme.clone()).collect() };
    for one in all.all.iter().filter(|one| one.stop == Stop::Programme) {
        if !one.senders.iter().any(|sender| all.stopped_at(*sender).is_some()) {
            let table = list::table::<Programme>(reader, root, one.name.as_str());
            let why = "would end nothing alone: another programme uses each of its senders; give it one of its own, or remove it";
            reader.complain_of(&table, "stop", why.to_owned());
        }
    }
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
    fn stop_is_of_the_account_if_nothing_else_is_written_and_of_a_programme_only_with_a_sender_of_its_own() {
        use tidings_domain::programme::Stop;
        assert_eq!(load(FULL).expect("it is right").programmes().all[0].stop, Stop::Account);
        let alone = load(&format!("{FULL}stop = \"programme\"\n")).expect("it is right");
        assert_eq!(alone.programmes().all[0].stop, Stop::Programme);
        assert!(alone.show().contains("stop = \"programme\""), "{}", alone.show());
        let other = "[[programme]]\nname = \"offers\"\nseller = \"Acme\"\nsenders = [\"12345\"]\nstop = \"programme\"\n";
        let problems = load(&format!("{FULL}{other}")).expect_err("its only sender is shared");
        let [problem] = &problems[..] else { panic!("{problems:?}") };
        assert!(
            problem.contains("key \"stop\" in [[programme]] \"offers\" would end nothing alone"),
            "{problem}"
        );
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
        let joins = |lines: &str| {
            let head = "[[programme]]\nname = \"offers\"\nseller = \"Acme\"\nsenders = [\"+15550001111\"]\n";
            format!("{head}{lines}")
        };
        let full = [
            "join = [\"JOIN\"]\n",
            "purpose = \"marketing\"\n",
            "act = \"written\"\n",
            "wording = \"Text JOIN for offers of Acme\"\n",
            "welcome = \"Acme offers. HELP for help, STOP to stop.\"\n",
        ];
        load(&joins(&full.concat())).expect("it is right");
        let check = |n: usize, line: &str, key: &str, cure: &str| {
            let mut lines = full.map(str::to_owned);
            lines[n] = if line.is_empty() { String::new() } else { format!("{line}\n") };
            let problems = load(&joins(&lines.concat())).expect_err(line);
            let [problem] = &problems[..] else { panic!("{line}: {problems:?}") };
            assert!(problem.contains(&format!("key \"{key}\" in [[programme]] \"offers\"")), "{problem}");
            assert!(problem.contains(cure), "{problem}");
        };
        for word in ["STOP", "start", "Subscribe", "help", "YES", "no", "!", "one two three four"] {
            check(0, &format!("join = [\"{word}\"]"), "join", "choose another");
        }
        check(0, "", "purpose", "without");
        check(1, "", "purpose", "is missing");
        check(2, "act = \"express\"", "act", "needs \"written\"");
        check(3, "", "wording", "is missing");
        check(3, "wording = \" \"", "wording", "1 to 5000");
        check(3, "wording = \"Text JOIN for offers\"", "wording", "name the seller");
        check(4, "", "welcome", "is missing");
        check(4, "welcome = \"Welcome!\"", "welcome", "the programme's name, HELP, how to stop");
        check(4, "welcome = \"Offers: HELP for help.\"", "welcome", "say: how to stop");
        let long = format!(
            "welcome = \"Offers: HELP for help, STOP to stop. {}\"\n[limits]\nmax_segments = 3",
            "a".repeat(500)
        );
        check(4, &long, "welcome", "has 4 segments");
        let two = [
            joins(&full.concat()),
            joins(&full.concat())
                .replace("\"offers\"", "\"more-offers\"")
                .replace("Acme offers", "More offers"),
        ];
        assert!(load(&two.concat()).expect_err("one word for two")[0].contains("at a sender that both use"));

        // All that is wrong, at once.
        let all = "[[programme]]\nname = \"Big\"\nseller = \" \"\nsenders = [\"?\", \"pool:desk\"]\n\
            join = [\"STOP\"]\nwelcome = \" \"\n[[programme]]\nname = \"b\"\nseller = \"Acme\"\nsenders = []\n";
        let problems = load(all).expect_err("nothing of it is right");
        let keys: Vec<&str> = problems.iter().filter_map(|problem| problem.split('"').nth(1)).collect();
        let expected =
            ["name", "seller", "senders", "senders", "join", "purpose", "wording", "welcome", "senders"];
        assert_eq!(keys, expected, "{problems:?}");

        let called = |name: &str, formerly: &str| {
            let senders = "seller = \"Acme\"\nsenders = [\"Acme\"]\n";
            format!("[[programme]]\nname = \"{name}\"\n{senders}formerly = [{formerly}]\n")
        };
        let renamed = load(&called("a", "\"b\", \"c\"")).expect("it is right");
        assert_eq!(renamed.programmes().all[0].formerly.len(), 2);
        assert_eq!(load(&renamed.show()).expect("it can be written").programmes(), renamed.programmes());
        for (two, cure) in [
            (called("a", "\"a\""), "called now"),
            (called("a", "\"Big\""), "no programme was ever called"),
            (called("a", "\"b\"") + &called("b", ""), "with two programmes, this one and \"a\""),
            (called("a", "") + &called("b", "\"a\""), "with two programmes, this one and \"a\""),
            (called("a", "\"c\"") + &called("b", "\"c\""), "with two programmes, this one and \"a\""),
        ] {
            let problems = load(&two).expect_err(&two);
            let [problem] = &problems[..] else { panic!("{two}: {problems:?}") };
            assert!(problem.contains("key \"formerly\"") && problem.contains(cure), "{problem}");
        }

        let twice = "[[programme]]\nname = \"a\"\nseller = \"Acme\"\nsenders = [\"Acme\"]\n".repeat(2);
        assert!(load(&twice).expect_err("two of one name")[0].contains("that of another programme"));
    }
}
