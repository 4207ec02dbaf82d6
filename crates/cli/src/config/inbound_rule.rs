//! Rules for what people write: where it goes, and what they are answered.

use super::key::{Reader, Setting, Table, Whole, section, words};
use super::list;
use tidings_domain::account::Environment;
use tidings_domain::contact::{Group, OWNER_MAX, ZoneName, line};
use tidings_domain::conversation::{NAME_MAX, TAGS_MAX, is_tag};
use tidings_domain::inbound_rule::{
    Answer, Assign, Day, EVERY_H, InboundRule, RULES_MAX, TEXT_MAX, Then, Times, When, concerns, is_name,
};
use tidings_domain::keyword::{self, Class};
use tidings_domain::quiet_hours::Window;
use tidings_domain::sender::Sender;
use toml::de::{DeTable, DeValue};

words! {
    /// Who a rule is about.
    ContactWord {
        /// Only contacts.
        Known = "known",
        /// Only people who are no contact.
        Unknown = "unknown",
    }
}

words! {
    /// A day of the week.
    DayWord {
        /// Monday.
        Mon = "mon",
        /// Tuesday.
        Tue = "tue",
        /// Wednesday.
        Wed = "wed",
        /// Thursday.
        Thu = "thu",
        /// Friday.
        Fri = "fri",
        /// Saturday.
        Sat = "sat",
        /// Sunday.
        Sun = "sun",
    }
}

/// A day of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date(Day);

impl Setting for Date {
    const TEXT: bool = true;
    fn wanted() -> String {
        r#"a day, such as "2026-12-25""#.to_owned()
    }
    fn read(value: &DeValue<'_>) -> Option<Self> {
        Day::parse(value.as_str()?).map(Self)
    }
    fn print(&self) -> Option<String> {
        Some(format!("\"{}\"", self.0))
    }
}

/// Hours of one day. A night is what is outside of a day's hours: over midnight nobody could say to which of two days, or of
/// which one is a holiday, its hours belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours(Window);

impl Setting for Hours {
    const TEXT: bool = true;
    fn wanted() -> String {
        r#"hours of one day, such as "10:00-18:00"; for a night, those of the day with outside = true"#
            .to_owned()
    }
    fn read(value: &DeValue<'_>) -> Option<Self> {
        Window::parse(value.as_str()?).map(Self)
    }
    fn print(&self) -> Option<String> {
        Some(format!("\"{}\"", self.0))
    }
}

/// A time zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone(ZoneName);

impl Setting for Zone {
    const TEXT: bool = true;
    fn wanted() -> String {
        r#"the name of a time zone, such as "America/New_York""#.to_owned()
    }
    fn read(value: &DeValue<'_>) -> Option<Self> {
        ZoneName::parse(value.as_str()?).ok().map(Self)
    }
    fn print(&self) -> Option<String> {
        Some(format!("\"{}\"", self.0))
    }
}

section! {
    /// A rule for what people write. Write the section once for each. The first that fits acts, and no other; see the guide
    /// about conversations. What asks by STOP, START, HELP and their like is done before any rule, and no rule sees it.
    Rule = "inbound_rule" {
        /// Its name: small letters, digits, - and _. It stands beside what it acted on.
        name: String = String::new(), example r#""after-hours""#;
        /// To which of your senders; an empty list is all.
        to: Vec<String> = Vec::new(), example r#"["+12125551234"]"#;
        /// The first word of the text, in any case and with any accents; an empty list is any text.
        keywords: Vec<String> = Vec::new(), example r#"["order", "refund"]"#;
        /// From contacts that are in one of these groups.
        groups: Vec<String> = Vec::new(), example r#"["VIP"]"#;
        /// From contacts whose owner is one of these.
        owners: Vec<String> = Vec::new(), example r#"["Maya"]"#;
        /// Only from contacts ("known"), or only from others ("unknown").
        contact: Option<ContactWord> = None, example r#""known""#;
        /// The clock of the hours, days and holidays below.
        time_zone: Option<Zone> = None, example r#""America/New_York""#;
        /// Only within these hours of a day.
        hours: Option<Hours> = None, example r#""09:00-17:00""#;
        /// Only on these days of the week; an empty list is all.
        days: Vec<DayWord> = Vec::new(), example r#"["mon", "tue", "wed", "thu", "fri"]"#;
        /// Not on these days.
        holidays: Vec<Date> = Vec::new(), example r#"["2026-12-25"]"#;
        /// The other way round: only outside of those hours of those days, and on holidays.
        outside: bool = false;
        /// Who gets the conversation, if nobody has it.
        assign: Option<String> = None, example r#""Maya""#;
        /// Whether the owner of the contact gets the conversation, if nobody has it.
        assign_owner: bool = false;
        /// Tags that the conversation gets.
        tags: Vec<String> = Vec::new(), example r#"["after-hours"]"#;
        /// What the person is answered, from the sender that was written to. All rules together answer a person three times
        /// in a day at most, and nobody who is on the suppression list.
        reply: Option<String> = None, example r#""Thank you. We are back at nine and answer you then.""#;
        /// How long this rule does not answer the same person again: hours.
        reply_every_h: Whole<1, 720> = Whole::new(EVERY_H);
    }
}

impl list::Listed for Rule {
    const MANY: &'static str = "rules";
    const NAME_KEY: &'static str = "name";
}

/// A rule as it was written, and as it counts.
#[derive(Debug, Clone)]
pub struct Written {
    section: Rule,
    /// As it counts.
    pub rule: InboundRule,
}

impl Written {
    /// Prints it as it was written.
    pub fn print(&self, text: &mut String) {
        list::print(text, &self.section);
    }
}

/// What is wrong with a key: its name, and a sentence.
type Wrong = (&'static str, String);

/// What is right of a list; what is wrong goes to the others that are.
fn right<T>(all: impl Iterator<Item = Result<T, Wrong>>, wrong: &mut Vec<Wrong>) -> Vec<T> {
    all.filter_map(|one| one.map_err(|why| wrong.push(why)).ok()).collect()
}

impl Rule {
    /// As it counts.
    fn rule(&self) -> Result<InboundRule, Vec<Wrong>> {
        let mut wrong = Vec::new();
        if !is_name(&self.name) {
            let why = "must have 1 to 40 small letters, digits, - and _; correct it";
            wrong.push(("name", why.to_owned()));
        }
        let to = self.to.iter().map(|text| {
            // Also the fictional numbers of the test environment are taken: a rule is for both.
            Sender::parse(text, None, Environment::Test).map_err(|why| {
                ("to", format!(r#"has "{text}", which cannot be a sender: {why}; correct it"#))
            })
        });
        let groups = self.groups.iter().map(|text| {
            let wrong =
                |why| ("groups", format!(r#"has "{text}", which cannot be a group: {why} Correct it"#));
            Group::parse(text).map_err(wrong)
        });
        let owners = self.owners.iter().map(|text| {
            let wrong =
                |why| ("owners", format!(r#"has "{text}", which cannot be an owner: {why} Correct it"#));
            line(text, OWNER_MAX).map_err(wrong)
        });
        wrong.extend(self.wrong_contact());
        let when = When {
            to: right(to, &mut wrong),
            keywords: right(self.keywords.iter().map(|text| keyword(text)), &mut wrong),
            groups: right(groups, &mut wrong),
            owners: right(owners, &mut wrong),
            known: self.contact.map(|word| word == ContactWord::Known),
            times: self.times().unwrap_or_else(|why| {
                wrong.push(why);
                None
            }),
        };
        let then = self.then(&mut wrong);
        if wrong.is_empty() { Ok(InboundRule { name: self.name.clone(), when, then }) } else { Err(wrong) }
    }

    /// What only contacts have is asked of people who are none.
    fn wrong_contact(&self) -> Option<Wrong> {
        let asked = [
            ("groups", !self.groups.is_empty()),
            ("owners", !self.owners.is_empty()),
            ("assign_owner", self.assign_owner),
        ];
        let (key, _) = asked.into_iter().find(|(_, is_asked)| *is_asked)?;
        let why = format!(
            r#"is "unknown", and nobody who is no contact has what "{key}" asks; remove one of them"#
        );
        (self.contact == Some(ContactWord::Unknown)).then_some(("contact", why))
    }

    fn times(&self) -> Result<Option<Times>, Wrong> {
        let says = self.hours.is_some() || !self.days.is_empty() || !self.holidays.is_empty();
        let Some(zone) = &self.time_zone else {
            let why =
                r#"is missing; name the clock of the hours and days, such as time_zone = "America/New_York""#;
            return if says || self.outside { Err(("time_zone", why.to_owned())) } else { Ok(None) };
        };
        if !says {
            let why = "is written without hours, days or holidays; write one of them or remove it";
            return Err(("time_zone", why.to_owned()));
        }
        let Some(mut times) = Times::of(&zone.0) else { return Ok(None) };
        if let Some(Hours(window)) = self.hours {
            times.window = window;
        }
        if !self.days.is_empty() {
            times.days = [false; 7];
        }
        for day in &self.days {
            times.days[*day as usize] = true;
        }
        times.holidays = self.holidays.iter().map(|date| date.0).collect();
        times.outside = self.outside;
        Ok(Some(times))
    }

    fn then(&self, wrong: &mut Vec<Wrong>) -> Then {
        let assign = match &self.assign {
            Some(_) if self.assign_owner => {
                let why = r#"is written beside "assign"; remove one of them"#;
                wrong.push(("assign_owner", why.to_owned()));
                None
            }
            Some(name) => {
                let named = line(name, NAME_MAX);
                named
                    .map_err(|why| wrong.push(("assign", format!("cannot be a name: {why} Correct it"))))
                    .ok()
            }
            None => None,
        };
        let assign = assign.map(Assign::To).or(self.assign_owner.then_some(Assign::Owner));
        for tag in self.tags.iter().filter(|tag| !is_tag(tag)) {
            let why = format!(r#"has "{tag}": a tag has 1 to 30 small letters, digits, - and _; correct it"#);
            wrong.push(("tags", why));
        }
        if self.tags.len() > TAGS_MAX {
            wrong.push(("tags", format!("has more than {TAGS_MAX}; remove some")));
        }
        if self.reply.as_ref().is_some_and(|text| text.chars().count() > TEXT_MAX) {
            wrong.push(("reply", format!("has more than {TEXT_MAX} characters; shorten it")));
        }
        let reply = self.reply.clone().map(|text| Answer { text, every_h: self.reply_every_h.get() });
        Then { assign, tags: self.tags.clone(), reply }
    }

    /// As it counts, if it is right after those before it.
    fn checked(&self, reader: &mut Reader<'_>, table: &Table<'_>, before: &[String]) -> Option<InboundRule> {
        let (rule, mut wrong) = match self.rule() {
            Ok(rule) => (Some(rule), Vec::new()),
            Err(wrong) => (None, wrong),
        };
        // What is no zone and what are no hours was complained of when it was read.
        let is_told = |key: &str| {
            key == "time_zone"
                && (self.time_zone.is_none() && reader.is_written(table, "time_zone")
                    || self.hours.is_none() && reader.is_written(table, "hours"))
        };
        let is_hidden = wrong.iter().any(|(key, _)| is_told(key));
        wrong.retain(|(key, _)| !is_told(key));
        if before.contains(&self.name) {
            wrong.push(("name", "is that of another rule; name it otherwise".to_owned()));
        } else if before.len() == RULES_MAX {
            wrong.push(("name", format!("is one of more than {RULES_MAX} rules; remove some")));
        }
        let is_right = wrong.is_empty() && !is_hidden;
        for (key, why) in wrong {
            reader.complain_of(table, key, why);
        }
        rule.filter(|_| is_right)
    }
}

/// A word as it is compared.
fn keyword(text: &str) -> Result<String, Wrong> {
    let wrong = |why: &str| Err(("keywords", format!(r#"has "{text}", {why}; correct it"#)));
    match keyword::first_word(text) {
        // Some words are done by themselves only where they stand alone: they may begin an order, as in "info 17".
        Some(_)
            if !concerns(keyword::classify(text).class)
                && keyword::classify(&format!("{text} 17")).class != Class::Nothing =>
        {
            wrong("which no rule sees: it is done by itself")
        }
        Some(word) if keyword::is_one_word(text) => Ok(word),
        _ => wrong("which is not one word"),
    }
}

/// Reads all of them.
pub fn read<'a>(reader: &mut Reader<'a>, root: &'a DeTable<'a>) -> Vec<Written> {
    let (mut rules, mut names) = (Vec::new(), Vec::new());
    list::each(reader, root, |reader, table, section: Rule| {
        let checked = section.checked(reader, table, &names);
        names.push(section.name.clone());
        if let Some(rule) = checked {
            rules.push(Written { section, rule });
        }
    });
    rules
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::connection::Secrets;
    use crate::config::{Config, FILE_NAME};
    use std::collections::BTreeMap;

    fn load(text: &str) -> Result<Config, Vec<String>> {
        let read = Config::parse(FILE_NAME, text, &BTreeMap::new(), Secrets::Fetched);
        read.map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    /// The examples of the guide.
    const GUIDE: &str = include_str!("../../../../docs/src/guides/conversations.md");

    #[test]
    fn the_rules_of_the_guide_are_read_and_shown_as_they_were_written() {
        let from = GUIDE.split("```toml\n").nth(1).expect("there are rules");
        let text = from.split("```").next().expect("they end");
        let config = load(text).expect("they are right");
        let names: Vec<&str> = config.inbound_rules.iter().map(|one| one.rule.name.as_str()).collect();
        assert_eq!(names, ["refund", "after-hours", "shop"]);
        let [refund, hours, shop] = &config.inbound_rules[..] else { panic!("{names:?}") };
        assert_eq!((&refund.rule.then.assign, refund.rule.when.known), (&Some(Assign::Owner), Some(true)));
        let times = hours.rule.when.times.as_ref().expect("it has times");
        assert_eq!((times.days, times.outside), ([true, true, true, true, true, false, false], true));
        let answer = hours.rule.then.reply.as_ref().expect("it answers");
        assert_eq!(answer.every_h, EVERY_H);
        assert_eq!(shop.rule.when.to.len(), 1);
        let mut again = String::new();
        config.inbound_rules.iter().for_each(|one| one.print(&mut again));
        let again = load(&again).expect("what is shown can be written");
        let rules = |config: &Config| -> Vec<InboundRule> {
            config.inbound_rules.iter().map(|one| one.rule.clone()).collect()
        };
        assert_eq!(rules(&again), rules(&config));
    }

    #[test]
    fn a_rule_that_can_never_act_is_told() {
        let check = |first: &str, second: &str, expected: Option<&str>| {
            let rule = |name: &str, text: &str| format!("[[inbound_rule]]\nname = \"{name}\"\n{text}\n");
            let problems = load(&(rule("a", first) + &rule("b", second))).err().unwrap_or_default();
            match expected {
                None => assert!(problems.is_empty(), "{first} / {second}: {problems:?}"),
                Some(part) => {
                    assert_eq!(problems.len(), 1, "{first} / {second}: {problems:?}");
                    assert!(
                        problems[0].contains("[[inbound_rule]] \"b\"") && problems[0].contains(part),
                        "{problems:?}"
                    );
                }
            }
        };
        check("assign = \"Maya\"", "keywords = [\"order\"]", Some("\"a\" fits whatever comes"));
        check("keywords = [\"order\"]", "keywords = [\"ORDER\"]", Some("\"a\" fits whenever it does"));
        check("keywords = [\"order\"]", "assign = \"Maya\"", None);
        check("keywords = [\"order\"]", "keywords = [\"order\"]\ncontact = \"known\"", None);
    }

    #[test]
    fn a_wrong_rule_is_answered_with_key_and_cure() {
        let check = |text: &str, key: &str, cure: &str| {
            let problems = load(&format!("[[inbound_rule]]\nname = \"a\"\n{text}\n")).expect_err(text);
            let [problem] = &problems[..] else { panic!("{text}: {problems:?}") };
            assert!(problem.contains(&format!("key \"{key}\" in [[inbound_rule]] \"a\"")), "{problem}");
            assert!(problem.contains(cure), "{problem}");
        };
        check("keywords = [\"stop\"]", "keywords", "no rule sees");
        load("[[inbound_rule]]\nname = \"a\"\nkeywords = [\"info\"]\n").expect("INFO 17 asks for no help");
        check("keywords = [\"late order\"]", "keywords", "not one word");
        check("keywords = [\"!\"]", "keywords", "not one word");
        check("hours = \"09:00-17:00\"", "time_zone", "is missing");
        check("outside = true", "time_zone", "is missing");
        check("time_zone = \"Europe/Stockholm\"", "time_zone", "without hours");
        check("time_zone = \"Stockholm\"\nhours = \"09:00-17:00\"", "time_zone", "America/New_York");
        check("assign = \"Maya\"\nassign_owner = true", "assign_owner", "remove one");
        check("tags = [\"VIP\"]", "tags", "small letters");
        check("groups = [\"a;b\"]", "groups", "Correct it");
        check("to = [\"?\"]", "to", "cannot be a sender");
        check("contact = \"unknown\"\ngroups = [\"VIP\"]", "contact", "\"groups\" asks");
        check("contact = \"unknown\"\nassign_owner = true", "contact", "\"assign_owner\" asks");
        check("time_zone = \"Europe/Stockholm\"\nhours = \"22:00-06:00\"", "hours", "outside = true");
        check("reply = \"  \"", "reply", "nothing in it");
        check(
            &format!("reply = \"{}\"\n[limits]\nmax_segments = 2", "a".repeat(400)),
            "reply",
            "has 3 segments",
        );
        check("reply_every_h = 0", "reply_every_h", "from 1 to 720");
        check("\n[[inbound_rule]]\nname = \"a\"", "name", "another rule");
        let many = "[[inbound_rule]]\nname = \"A\"\nkeywords = [\"stop\", \"late order\"]\ntags = [\"VIP\"]\n\
                    [[inbound_rule]]\nname = \"A\"\n";
        let many = load(many).expect_err("all of it is wrong");
        let keys = ["name", "keywords", "keywords", "tags", "name", "name"];
        assert_eq!(many.len(), keys.len(), "{many:?}");
        assert!(
            many.iter().zip(keys).all(|(told, key)| told.contains(&format!("key \"{key}\""))),
            "{many:?}"
        );
        let unnamed = load("[[inbound_rule]]\nreply = \"hello\"\n").expect_err("it has no name");
        assert!(unnamed[0].contains("small letters"), "{unnamed:?}");
        assert!(
            load("[inbound_rule]\nname = \"a\"\n").expect_err("one bracket")[0].contains("double brackets")
        );
    }
}
