//! What a person is answered by itself: that an opt-out was heard, that messages come again, who we are, or what a rule of
//! the operator says ([`crate::inbound_rule`]).
//!
//! The texts are data, `data/replies.csv`, and configuration puts others in their place, for all senders or for one. A reply is an ordinary message
//! that says what it answers ([`Reply`]). It goes to whom wrote, from the sender that was written to, within minutes or
//! not at all. How many there are is bounded ([`is_one_more_allowed`]), because at the other end may be a machine that
//! answers too.
//!
//! *When* one is due is decided where the suppression list is known, in the store: a confirmation for each change of
//! the list that the person's words made, so one however often `STOP` is said, and help for who is not on the list.

use crate::id::InboundId;
use crate::keyword::{Class, Language};
use crate::sender::Sender;
use crate::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// The table.
const TABLE: &str = include_str!("../data/replies.csv");
/// How long a reply is worth sending: seconds. A confirmation that comes within five minutes of the opt-out counts as
/// part of it (47 CFR 64.1200(a)(12)).
pub const VALIDITY_S: i64 = 5 * 60;
/// Replies of all kinds to one phone number within [`WINDOW_MS`]. More than a person needs, few enough for a machine.
pub const IN_WINDOW_MAX: u32 = 5;
/// How many replies there may have been for a rule to answer, too: some are left for who asks by a keyword afterwards.
const BY_RULE_MAX: u32 = 3;
/// The time in which replies to a number are counted, from the first of them: milliseconds.
pub const WINDOW_MS: i64 = 24 * 3_600_000;

/// What a reply says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// That no more messages come.
    OptOut,
    /// That messages come again.
    OptIn,
    /// Who we are, and how to reach us.
    Help,
    /// What a rule says.
    Rule,
    /// That no more messages of one programme come.
    ProgrammeOptOut,
}

impl Kind {
    /// All of them; the place in this list is the number in the store.
    pub const ALL: [Self; 5] = [Self::OptOut, Self::OptIn, Self::Help, Self::Rule, Self::ProgrammeOptOut];
    /// Those that answer a keyword: there is a text of each in the table.
    pub const TO_KEYWORDS: [Self; 4] = [Self::OptOut, Self::ProgrammeOptOut, Self::OptIn, Self::Help];

    /// The public word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OptOut => "opt_out_confirmation",
            Self::OptIn => "opt_in_confirmation",
            Self::Help => "help",
            Self::Rule => "rule",
            Self::ProgrammeOptOut => "programme_opt_out_confirmation",
        }
    }

    /// Whether it says that an opt-out was heard: of everything, or of one programme.
    pub const fn confirms_opt_out(self) -> bool {
        matches!(self, Self::OptOut | Self::ProgrammeOptOut)
    }

    /// How many replies of all kinds there may have been before one of this.
    const fn before_max(self) -> u32 {
        match self {
            Self::OptOut | Self::ProgrammeOptOut | Self::OptIn | Self::Help => IN_WINDOW_MAX,
            Self::Rule => BY_RULE_MAX,
        }
    }

    /// What a request is answered with, if it is. An opt-out may be of one programme.
    pub const fn to(class: Class, of_programme: bool) -> Option<Self> {
        match class {
            Class::Stop if of_programme => Some(Self::ProgrammeOptOut),
            Class::Stop => Some(Self::OptOut),
            Class::Start => Some(Self::OptIn),
            Class::Help => Some(Self::Help),
            Class::Doubtful | Class::Nothing => None,
        }
    }
}

/// What a message answers by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reply {
    /// What it says.
    pub kind: Kind,
    /// The message that it answers.
    pub to: InboundId,
}

/// Replies to one phone number, as they are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// When the first of them was made.
    pub since: Timestamp,
    /// How many.
    pub replies: u32,
}

/// The count with one more reply of this kind, or `None` if there were enough.
pub fn is_one_more_allowed(known: Option<Count>, kind: Kind, now: Timestamp) -> Option<Count> {
    match known {
        Some(count) if now < count.since.plus_ms(WINDOW_MS) => {
            (count.replies < kind.before_max()).then_some(Count { replies: count.replies + 1, ..count })
        }
        _ => Some(Count { since: now, replies: 1 }),
    }
}

/// The words of replies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Texts {
    /// Who we are, for people: the name that they gave their consent to. May be empty.
    pub brand: String,
    /// How to reach us: a phone number, an address. May be empty.
    pub help: String,
    /// The language for words that are the same everywhere, and where a language has no text.
    pub language: Language,
    /// Texts in the place of ours, as they are, whatever the language.
    pub own: BTreeMap<Kind, String>,
}

impl Default for Texts {
    fn default() -> Self {
        Self { brand: String::new(), help: String::new(), language: Language::ENGLISH, own: BTreeMap::new() }
    }
}

impl Texts {
    /// The text of a reply to a keyword of somebody who wrote in this language, with the name of the programme that it is about
    /// ([`Kind::ProgrammeOptOut`]; empty for others).
    pub fn text(&self, kind: Kind, language: Option<Language>, programme: &str) -> String {
        if let Some(own) = self.own.get(&kind) {
            return own.clone();
        }
        let of = |language: Language| BUILT_IN.get(&(kind, language)).copied();
        let template = of(language.unwrap_or(self.language)).or_else(|| of(self.language));
        let template = template.or_else(|| of(Language::ENGLISH));
        self.fill(template.expect("there is an English text for each kind"), programme)
    }

    /// Puts the names in. What stands in brackets goes with the name in it, if that is empty.
    fn fill(&self, template: &str, programme: &str) -> String {
        let mut text = String::new();
        for (n, piece) in template.split(['[', ']']).enumerate() {
            let lacks = |name: &str, value: &str| value.is_empty() && piece.contains(name);
            let is_bracketed = n % 2 == 1;
            if is_bracketed && (lacks("{brand}", &self.brand) || lacks("{help}", &self.help)) {
                continue;
            }
            let piece = piece.replace("{programme}", programme);
            text.push_str(&piece.replace("{brand}", &self.brand).replace("{help}", &self.help));
        }
        text.trim().to_owned()
    }
}

/// The words of replies, by the sender that was written to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Replies {
    /// Those of every sender that has none of its own.
    pub usual: Texts,
    /// Those of senders that have.
    pub of_senders: BTreeMap<Sender, Texts>,
}

impl Replies {
    /// Those of this sender.
    pub fn of(&self, sender: &Sender) -> &Texts {
        self.of_senders.get(sender).unwrap_or(&self.usual)
    }
}

/// The languages that there are texts in.
pub fn languages() -> impl Iterator<Item = Language> {
    BUILT_IN.keys().filter(|(kind, _)| *kind == Kind::OptOut).map(|(_, language)| *language)
}

static BUILT_IN: LazyLock<BTreeMap<(Kind, Language), &'static str>> = LazyLock::new(|| {
    let lines = TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).skip(1);
    let read = |line: &'static str| {
        let mut cells = line.splitn(3, ',');
        let word = cells.next()?;
        let kind = Kind::TO_KEYWORDS.into_iter().find(|kind| kind.as_str() == word)?;
        Some(((kind, Language::parse(cells.next()?)?), cells.next()?))
    };
    lines.map(|line| read(line).unwrap_or_else(|| panic!("in data/replies.csv: {line}"))).collect()
});

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyword;

    fn texts(brand: &str, help: &str) -> Texts {
        Texts { brand: brand.to_owned(), help: help.to_owned(), ..Texts::default() }
    }

    #[test]
    fn a_reply_has_the_language_of_the_word_and_the_names_of_the_configuration() {
        let check = |texts: &Texts, kind, language: Option<&str>, expected: &str| {
            assert_eq!(texts.text(kind, language.and_then(Language::parse), "offers"), expected);
        };
        let (acme, nobody) = (texts("Acme Clinic", "+1 555 0100"), texts("", ""));
        let out =
            "Acme Clinic: You are unsubscribed and will get no further texts from us. Reply START to undo.";
        check(&acme, Kind::OptOut, None, out);
        check(&acme, Kind::OptOut, Some("xx"), out);
        check(&nobody, Kind::OptOut, None, &out["Acme Clinic: ".len()..]);
        let help = "Acme Clinic. Questions: +1 555 0100. Msg&data rates may apply. Reply STOP to stop.";
        check(&acme, Kind::Help, None, help);
        check(&nobody, Kind::Help, None, "Msg&data rates may apply. Reply STOP to stop.");
        assert!(acme.text(Kind::OptOut, Language::parse("de"), "").starts_with("Acme Clinic: Sie "));
        let of_offers = "Acme Clinic: You will get no more offers texts. Reply STOP ALL to stop everything, START to undo.";
        check(&acme, Kind::ProgrammeOptOut, None, of_offers);
        let own = BTreeMap::from([(Kind::Help, "Call us.".to_owned())]);
        check(&Texts { own, ..acme }, Kind::Help, Some("de"), "Call us.");
    }

    #[test]
    fn a_sender_without_texts_of_its_own_has_the_usual_ones() {
        let sender = |text| Sender::from_stored(text).expect("a sender");
        let of_senders = BTreeMap::from([(sender("+15550001111"), texts("Acme Kids", ""))]);
        let replies = Replies { usual: texts("Acme Clinic", ""), of_senders };
        assert_eq!(replies.of(&sender("+15550001111")).brand, "Acme Kids");
        assert_eq!(replies.of(&sender("+15550002222")).brand, "Acme Clinic");
    }

    #[test]
    fn each_language_of_the_keywords_has_all_texts_and_each_fits_one_segment_of_gsm7() {
        let acme = texts("Acme Clinic", "+1 555 0100");
        let longest = "o".repeat(crate::programme::NAME_MAX);
        for code in ["en", "fr", "es", "de", "pt", "it", "nl", "pl", "sv"] {
            let language = Language::parse(code).unwrap();
            assert!(languages().any(|known| known == language), "{code}");
            for kind in Kind::TO_KEYWORDS {
                assert!(BUILT_IN.contains_key(&(kind, language)), "{code} {kind:?}");
                let text = acme.text(kind, Some(language), &longest);
                let measured = crate::text::measure(&text, &crate::text::Options::default());
                assert_eq!(measured.segments, 1, "{text}");
                assert!(matches!(measured.encoding, crate::text::Encoding::Gsm7(_)), "{text}");
            }
        }
    }

    #[test]
    fn a_machine_that_sends_a_reply_back_is_not_answered() {
        let acme = texts("Acme Clinic", "+1 555 0100");
        for ((kind, language), _) in BUILT_IN.iter() {
            let text = acme.text(*kind, Some(*language), "offers");
            let class = keyword::classify(&text).class;
            assert!(matches!(class, Class::Nothing | Class::Doubtful), "{text}: {class:?}");
        }
    }

    #[test]
    fn replies_to_a_number_are_bounded_and_begin_again_after_a_day() {
        let at = |ms| Timestamp::from_millis(1_000_000_000_000 + ms);
        let mut count = None;
        for n in 1..=IN_WINDOW_MAX {
            assert_eq!(is_one_more_allowed(count, Kind::Rule, at(i64::from(n))).is_some(), n <= BY_RULE_MAX);
            count = is_one_more_allowed(count, Kind::Help, at(i64::from(n)));
            assert_eq!(count, Some(Count { since: at(1), replies: n }));
        }
        assert_eq!(is_one_more_allowed(count, Kind::OptOut, at(WINDOW_MS)), None);
        let again = Some(Count { since: at(WINDOW_MS + 1), replies: 1 });
        assert_eq!(is_one_more_allowed(count, Kind::Rule, at(WINDOW_MS + 1)), again);
    }
}
