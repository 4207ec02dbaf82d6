//! Where what a person wrote goes among us: rules of the operator, in their order, of which the first that fits acts.
//!
//! A rule says when it fits ([`When`]): to which of our senders, by which first word, from whom, at what time. And what it
//! does ([`Then`]): give the conversation to somebody, add tags, answer. What asks for no more messages, for messages again
//! or for help is done and answered before any rule ([`concerns`]), and where it is doubtful whether somebody asks for no
//! more, nobody is answered by itself ([`may_answer`]).
//!
//! At the other end may be a machine that answers, too. So a rule answers a person once in a time of its own
//! ([`Answer::every_h`]), and all rules together answer seldom ([`crate::reply`]).

use crate::contact::{Details, Group, ZoneName};
use crate::conversation;
use crate::keyword::{self, Class};
use crate::quiet_hours::{Window, instant};
use crate::sender::Sender;
use crate::time::Timestamp;
use jiff::civil;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use std::collections::BTreeSet;
use std::fmt;

/// Rules of one installation.
pub const RULES_MAX: usize = 200;
/// Characters of the name of a rule.
pub const NAME_MAX: usize = 40;
/// Characters of an answer.
pub const TEXT_MAX: usize = 1_000;
/// How long a rule stays silent after it answered somebody, if it does not say: hours.
pub const EVERY_H: i64 = 24;
/// The longest such time: hours. What was answered is remembered for so long.
pub const EVERY_H_MAX: i64 = 30 * 24;

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboundRule {
    /// Its name: what is kept of it beside a message that it acted on.
    pub name: String,
    /// When it fits.
    pub when: When,
    /// What it does.
    pub then: Then,
}

/// When a rule fits: if everything fits that it says. What it does not say fits everybody.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct When {
    /// To one of these senders.
    pub to: Vec<Sender>,
    /// The first word is one of these, as [`keyword::first_word`] gives them.
    pub keywords: Vec<String>,
    /// From a contact that is in one of these groups.
    pub groups: Vec<Group>,
    /// From a contact that one of these looks after.
    pub owners: Vec<String>,
    /// From a contact, or from somebody who is none.
    pub known: Option<bool>,
    /// At these times.
    pub times: Option<Times>,
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Then {
    /// Who gets the conversation, if nobody has it.
    pub assign: Option<Assign>,
    /// The tags that the conversation gets, as far as there is room for them.
    pub tags: Vec<String>,
    /// What the person is answered.
    pub reply: Option<Answer>,
}

/// Who gets a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assign {
    /// This one.
    To(String),
    /// Who looks after the contact; nobody, if nobody does.
    Owner,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What it says: 1 to [`TEXT_MAX`] characters.
    pub text: String,
    /// How long this rule does not answer the same person again: hours, 1 to [`EVERY_H_MAX`].
    pub every_h: i64,
}

/// Whether rules look at a message that asks this.
pub const fn concerns(class: Class) -> bool {
    conversation::asks(class)
}

/// Whether a rule may answer a message that asks this. Who perhaps asks for no more messages is not sent one.
pub const fn may_answer(class: Class) -> bool {
    matches!(class, Class::Nothing)
}

/// Whether a text can be the name of a rule: small letters of ASCII, digits, `-` and `_`.
pub fn is_name(text: &str) -> bool {
    let is_part =
        |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || matches!(octet, b'-' | b'_');
    (1..=NAME_MAX).contains(&text.len()) && text.bytes().all(is_part)
}

// ── times ───────────────────────────────────────────────────────────────────────────────────────────────────

/// A day of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(civil::Date);

impl Day {
    /// Reads `2026-12-24`.
    pub fn parse(text: &str) -> Option<Self> {
        let is_form = text.len() == 10
            && text.bytes().enumerate().all(|(place, octet)| match place {
                4 | 7 => octet == b'-',
                _ => octet.is_ascii_digit(),
            });
        if is_form { text.parse().ok().map(Self) } else { None }
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Hours of days of the week on one clock, without holidays; or the times outside of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Times {
    /// The hours of one day.
    pub window: Window,
    /// On which days, from Monday.
    pub days: [bool; 7],
    /// Not on these.
    pub holidays: BTreeSet<Day>,
    /// `true` for the times outside of all that.
    pub outside: bool,
    clock: TimeZone,
}

impl Times {
    /// Every hour of every day in this zone. `None` if no zone is called so.
    pub fn of(zone: &ZoneName) -> Option<Self> {
        let clock = TimeZoneDatabase::bundled().get(zone.as_str()).ok()?;
        Some(Self { window: Window::ALL, days: [true; 7], holidays: BTreeSet::new(), outside: false, clock })
    }

    /// Whether this moment is one of them.
    pub fn hold(&self, at: Timestamp) -> bool {
        let local = self.clock.to_datetime(instant(at));
        let is_within = self.days[local.weekday().to_monday_zero_offset() as usize]
            && !self.holidays.contains(&Day(local.date()))
            && self.window.holds(local.hour() as u16 * 60 + local.minute() as u16);
        is_within != self.outside
    }
}

// ── the choice ──────────────────────────────────────────────────────────────────────────────────────────────

/// What rules look at.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// To which of our senders it was.
    pub to: Sender,
    /// What it says.
    pub text: &'a str,
    /// When it was told.
    pub at: Timestamp,
    /// What is known of the person; `None` if it is no contact.
    pub contact: Option<&'a Details>,
}

impl InboundRule {
    /// Whether it must be known who the person is, to say whether this rule fits or what it does.
    pub fn needs_contact(&self) -> bool {
        let When { groups, owners, known, .. } = &self.when;
        !groups.is_empty() || !owners.is_empty() || known.is_some() || self.then.assign == Some(Assign::Owner)
    }

    /// Whom it gives the conversation to.
    pub fn assignee(&self, contact: Option<&Details>) -> Option<String> {
        match self.then.assign.as_ref()? {
            Assign::To(name) => Some(name.clone()),
            Assign::Owner => contact?.owner.clone(),
        }
    }
}

impl When {
    /// Whether all of it fits. `first_word` is that of the text.
    fn fits(&self, facts: &Facts<'_>, first_word: &str) -> bool {
        let owner = facts.contact.and_then(|contact| contact.owner.as_ref());
        let is_in = |group| facts.contact.is_some_and(|contact| contact.groups.contains(group));
        (self.to.is_empty() || self.to.contains(&facts.to))
            && (self.keywords.is_empty() || self.keywords.iter().any(|word| word == first_word))
            && (self.groups.is_empty() || self.groups.iter().any(is_in))
            && (self.owners.is_empty() || owner.is_some_and(|owner| self.owners.contains(owner)))
            && self.known.is_none_or(|known| known == facts.contact.is_some())
            && self.times.as_ref().is_none_or(|times| times.hold(facts.at))
    }
}

/// The first rule that fits.
pub fn choose<'r>(rules: &'r [InboundRule], facts: &Facts<'_>) -> Option<&'r InboundRule> {
    let first_word = keyword::first_word(facts.text).unwrap_or_default();
    rules.iter().find(|rule| rule.when.fits(facts, &first_word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).expect("a moment")
    }

    fn sender(text: &str) -> Sender {
        Sender::from_stored(text).expect("a sender")
    }

    fn office() -> Times {
        let zone = ZoneName::parse("America/New_York").expect("a zone");
        Times {
            window: Window::parse("09:00-17:00").expect("hours"),
            days: [true, true, true, true, true, false, false],
            holidays: [Day::parse("2026-12-25").expect("a day")].into(),
            ..Times::of(&zone).expect("a zone")
        }
    }

    fn rule(name: &str, when: When) -> InboundRule {
        InboundRule { name: name.to_owned(), when, then: Then::default() }
    }

    #[test]
    fn times_are_hours_of_days_on_one_clock_without_holidays() {
        let within = office();
        let outside = Times { outside: true, ..office() };
        let check = |text: &str, expected: bool| {
            assert_eq!((within.hold(at(text)), outside.hold(at(text))), (expected, !expected), "{text}");
        };
        // Monday in winter, five hours behind; in summer four.
        check("2026-12-21T13:59:59Z", false);
        check("2026-12-21T14:00:00Z", true);
        check("2026-12-21T21:59:59Z", true);
        check("2026-12-21T22:00:00Z", false);
        check("2026-07-06T13:00:00Z", true);
        check("2026-07-06T21:00:00Z", false);
        // Friday is a holiday there, until its midnight; and then it is Saturday.
        check("2026-12-24T20:00:00Z", true);
        check("2026-12-25T15:00:00Z", false);
        check("2026-12-26T15:00:00Z", false);
        // Sunday evening there is Monday in Greenwich.
        check("2026-12-21T01:00:00Z", false);
    }

    #[test]
    fn the_first_rule_of_which_everything_fits_is_chosen() {
        let group = |name: &str| Group::parse(name).expect("a group");
        let rules = [
            rule(
                "support",
                When {
                    to: vec![sender("+15550001111")],
                    keywords: vec!["order".to_owned()],
                    ..When::default()
                },
            ),
            rule("vip", When { groups: vec![group("VIP"), group("Board")], ..When::default() }),
            rule("maya", When { owners: vec!["Maya".to_owned()], ..When::default() }),
            rule("night", When { times: Some(Times { outside: true, ..office() }), ..When::default() }),
            rule("stranger", When { known: Some(false), ..When::default() }),
            rule(
                "friend",
                When { known: Some(true), to: vec![sender("ACME"), sender("12345")], ..When::default() },
            ),
        ];
        let nobody = Details::default();
        let vip =
            Details { groups: [group("VIP")].into(), owner: Some("Maya".to_owned()), ..Details::default() };
        let maya = Details { owner: Some("Maya".to_owned()), ..Details::default() };
        let (day, night) = ("2026-12-21T15:00:00Z", "2026-12-21T03:00:00Z");
        let check = |to: &str, text: &str, when: &str, contact: Option<&Details>, expected: Option<&str>| {
            let facts = Facts { to: sender(to), text, at: at(when), contact };
            let chosen = choose(&rules, &facts).map(|rule| rule.name.as_str());
            assert_eq!(chosen, expected, "{to} {text} {when} {contact:?}");
        };
        check("+15550001111", "ORDER 17, please", day, Some(&vip), Some("support"));
        check("+15550001111", "  «Ördér»: where?", night, None, Some("support"));
        check("+15550001111", "my order", day, Some(&vip), Some("vip"));
        check("+15550002222", "order", day, Some(&vip), Some("vip"));
        check("+15550002222", "order", day, Some(&maya), Some("maya"));
        check("+15550002222", "hello", night, Some(&nobody), Some("night"));
        check("+15550002222", "hello", day, None, Some("stranger"));
        check("12345", "hello", day, Some(&nobody), Some("friend"));
        check("+15550002222", "hello", day, Some(&nobody), None);
        check("+15550002222", "", day, None, Some("stranger"));
        assert_eq!(rules.map(|rule| rule.needs_contact()), [false, true, true, false, true, true]);
    }

    #[test]
    fn a_conversation_goes_to_somebody_or_to_who_looks_after_the_contact() {
        let owned = Details { owner: Some("Maya".to_owned()), ..Details::default() };
        let check = |assign: Option<Assign>, contact: Option<&Details>, expected: Option<&str>| {
            let rule = InboundRule { then: Then { assign, ..Then::default() }, ..rule("a", When::default()) };
            assert_eq!(rule.assignee(contact).as_deref(), expected);
        };
        check(None, Some(&owned), None);
        check(Some(Assign::To("Bob".to_owned())), Some(&owned), Some("Bob"));
        check(Some(Assign::Owner), Some(&owned), Some("Maya"));
        check(Some(Assign::Owner), Some(&Details::default()), None);
        check(Some(Assign::Owner), None, None);
    }

    #[test]
    fn what_asks_by_a_keyword_is_for_no_rule_and_what_is_doubtful_is_not_answered() {
        let that =
            |is: fn(Class) -> bool| Class::ALL.into_iter().filter(|class| is(*class)).collect::<Vec<_>>();
        assert_eq!(that(concerns), [Class::Nothing, Class::Doubtful]);
        assert_eq!(that(may_answer), [Class::Nothing]);
    }

    #[test]
    fn names_and_days_have_one_form() {
        for (text, expected) in
            [("after-hours_2", true), ("", false), ("After", false), ("a b", false), ("ä", false)]
        {
            assert_eq!(is_name(text), expected, "{text}");
        }
        assert!(!is_name(&"a".repeat(NAME_MAX + 1)));
        assert_eq!(Day::parse("2026-12-25").map(|day| day.to_string()).as_deref(), Some("2026-12-25"));
        for text in ["2026-2-5", "2026-02-30", "25.12.2026", "2026-12-25T00:00", "+026-12-25"] {
            assert_eq!(Day::parse(text), None, "{text}");
        }
    }
}
