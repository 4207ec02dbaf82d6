//! Programmes: named streams of messages of a seller, such as reminders or offers, from some senders. The trade's rules say
//! *program*, and want an opt-in for each (CTIA,
//! Messaging Principles and Best Practices, May 2023, 5.1.2.2).
//!
//! A message is of the programme that its caller names, or of the one that its sender belongs to. What follows for consent is
//! said by [`crate::consent::Scope`].
//!
//! A person may join one by a word ([`Join`]): a text that is nothing but that, since a grant must not be guessed. The word
//! is the person's consent, and what the person was shown where it was advertised is its wording.
//!
//! A person who says STOP means everything. An operator may let it mean one programme alone ([`Stop::Programme`]), at a sender
//! that sends for no other: where that is in doubt, it is everything.

use crate::account::Realm;
use crate::address::PhoneNumber;
use crate::consent::{self, Act, Channel, Consent, Evidence, History, Method, Scope, Wording};
use crate::consent_request;
use crate::content;
use crate::id::{ConsentId, InboundId};
use crate::keyword::{self, Class, words_of};
use crate::pool::{self, Source};
use crate::purpose::Purpose;
use crate::sender::Sender;
use crate::time::Timestamp;
use std::fmt;

/// Characters of a programme's name, at most.
pub const NAME_MAX: usize = 40;
/// Characters of a seller's name, at most: those of one in the ledger of consents.
pub const SELLER_MAX: usize = 500;
/// Programmes of one installation, at most.
pub const PROGRAMMES_MAX: usize = 200;

/// Names that one programme had before, at most.
pub const FORMERLY_MAX: usize = 20;
/// Words by which people join one programme, at most.
pub const JOIN_MAX: usize = 20;
/// Words of a text by which people join, at most: `JOIN OFFERS`.
const JOIN_WORDS_MAX: usize = 3;
/// Characters of a welcome, at most.
pub const WELCOME_MAX: usize = 1_000;

/// A programme's name: 1 to [`NAME_MAX`] of `a` to `z`, digits, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// Reads one; `None` if it cannot be one.
    pub fn parse(text: &str) -> Option<Self> {
        let is_allowed = |octet: u8| matches!(octet, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        ((1..=NAME_MAX).contains(&text.len()) && text.bytes().all(is_allowed)).then(|| Self(text.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A programme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programme {
    /// What it is called.
    pub name: Name,
    /// What it was called before: what people said of it then they said of it.
    pub formerly: Vec<Name>,
    /// Whose it is: the name that people give their consent to.
    pub seller: String,
    /// The senders that it uses, also those that it has from pools.
    pub senders: Vec<Sender>,
    /// The pools that it uses.
    pub pools: Vec<pool::Name>,
    /// How people join it by text, if they do.
    pub join: Option<Join>,
    /// What STOP ends that is said to a sender of it.
    pub stop: Stop,
}

impl Programme {
    /// Its name, and then those that it had before.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        std::iter::once(&self.name).chain(&self.formerly)
    }

    /// Whether this is its name, or was.
    pub fn is_called(&self, name: &Name) -> bool {
        self.names().any(|known| known == name)
    }
}

/// What a person ends by STOP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stop {
    /// All that the account sends (47 CFR 64.1200(a)(10)).
    #[default]
    Account,
    /// The programme, if no other uses the sender.
    Programme,
}

/// How people join a programme by text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// The texts by which they do, as [`join_word`] reads them; at least one.
    pub words: Vec<String>,
    /// To be contacted why.
    pub purpose: Purpose,
    /// What joining is: express or written consent.
    pub act: Act,
    /// What people were shown where the word was advertised.
    pub wording: Wording,
    /// What they are answered.
    pub welcome: String,
}

/// A text as what people join by is compared: without case, accents, repetition and what is around it. `None` if nobody can
/// join by it: it has no word or too many, asks something, or is a keyword or an answer already.
pub fn join_word(text: &str) -> Option<String> {
    let is_free = keyword::classify(text).class == Class::Nothing && consent_request::answer(text).is_none();
    plain(text).filter(|_| is_free)
}

/// The same of any text that is short enough.
fn plain(text: &str) -> Option<String> {
    let (mut words, is_certain) = words_of(text);
    words.dedup();
    (is_certain && (1..=JOIN_WORDS_MAX).contains(&words.len())).then(|| words.join(" "))
}

/// What a confirmation must say that somebody joined a programme, and this one does not (CTIA, Messaging Principles and Best
/// Practices, May 2023, 5.1.2.1). How often messages come and what they cost belongs there too, and cannot be looked for.
pub fn lacking(welcome: &str, name: &Name) -> Vec<&'static str> {
    [
        ("the programme's name", !content::names(welcome, name.as_str())),
        ("HELP", !keyword::names_help(welcome)),
        ("how to stop", !content::says_how_to_opt_out(welcome)),
    ]
    .into_iter()
    .filter_map(|(what, is_missing)| is_missing.then_some(what))
    .collect()
}

/// Somebody who joins a programme by a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joining {
    /// The programme.
    pub name: Name,
    /// What it was called before.
    pub formerly: Vec<Name>,
    /// Whose it is.
    pub seller: String,
    /// How people join it.
    pub join: Join,
    /// By which text, as it is compared.
    pub word: String,
    /// Our sender that was written to.
    pub to: Sender,
}

impl Joining {
    /// Whether this is the name of the programme, or was.
    pub fn is_of(&self, name: &Name) -> bool {
        self.name == *name || self.formerly.contains(name)
    }

    /// Whether what the person said before is as good: then joining changes nothing.
    pub fn is_in(&self, said: &History, now: Timestamp) -> bool {
        let (name, formerly) = (self.name.as_str(), &self.formerly[..]);
        let scope = Scope::Programme { name, formerly, seller: Some(&self.seller) };
        let standing =
            consent::standing(&said.ledger, &said.opt_outs, self.join.purpose, Channel::Text, scope, now);
        standing.permits(self.join.act)
    }

    /// What it adds to the ledger.
    pub fn entry(
        &self,
        id: ConsentId,
        realm: Realm,
        recipient: PhoneNumber,
        by: (InboundId, Timestamp),
        now: Timestamp,
    ) -> Consent {
        let seller = Some(self.seller.clone());
        let programme = Some(self.name.to_string());
        Consent {
            id,
            realm,
            recipient,
            purpose: self.join.purpose,
            channel: Channel::Text,
            act: self.join.act,
            given_at: by.1,
            recorded_at: now,
            expires_at: None,
            method: Method::Text,
            evidence: Evidence::of_text(&self.join.wording, &self.to, seller, programme),
            source: format!("{} {}", by.0, self.word),
        }
    }
}

/// Why a message cannot be of the programme that is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotOf {
    /// Nobody configured it.
    Unknown {
        /// What it was called.
        name: Name,
        /// Those that there are.
        known: Vec<Name>,
    },
    /// Its sender is one at which STOP ends this other programme alone: who gets both from it could not say which is meant.
    SenderOf(Name),
}

/// The programmes of an installation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Programmes {
    /// In the order of the configuration.
    pub all: Vec<Programme>,
}

impl Programmes {
    /// There are none.
    pub const NONE: Self = Self { all: Vec::new() };

    /// The one of this name.
    pub fn named(&self, name: &Name) -> Option<&Programme> {
        self.all.iter().find(|one| one.name == *name)
    }

    /// The one that is called so, or was.
    pub fn called(&self, name: &Name) -> Option<&Programme> {
        self.all.iter().find(|one| one.is_called(name))
    }

    /// What they are called, and were.
    pub fn names(&self) -> Names {
        Names { known: Some(self.all.iter().map(|one| one.names().cloned().collect()).collect()) }
    }

    /// Why what goes from a sender of this programme may not be of it, though people may have left it by STOP: other programmes
    /// use each of its senders, so what names no programme is of none. Gives one of those senders.
    pub fn all_shared(&self, name: &Name) -> Option<Sender> {
        let one = self.called(name)?;
        let is_shared = |sender: &&Sender| {
            self.all.iter().any(|other| other.name != one.name && other.senders.contains(sender))
        };
        one.senders.iter().all(|sender| is_shared(&sender)).then(|| one.senders.first().copied()).flatten()
    }

    /// Whether a consent that names this programme is about any message. Where there are no programmes, what it names decides
    /// nothing.
    pub fn are_meant_by(&self, name: &str) -> bool {
        self.all.is_empty() || self.meant_by(name).is_some()
    }

    /// The programme that a consent means which names it so.
    pub fn meant_by(&self, name: &str) -> Option<&Programme> {
        self.all.iter().find(|one| one.names().any(|known| consent::is_same(known.as_str(), name)))
    }

    /// Which one a message is of: the one that its caller names, else the only one that its pool or its sender belongs to.
    /// Costs nothing worth naming where there are none.
    ///
    /// # Errors
    /// Nobody configured the one that is named, or the sender is another's alone.
    pub fn of(&self, named: Option<&Name>, from: &Source) -> Result<Option<&Programme>, NotOf> {
        if let Some(name) = named {
            let unknown = || NotOf::Unknown {
                name: name.clone(),
                known: self.all.iter().map(|one| one.name.clone()).collect(),
            };
            let named = self.named(name).ok_or_else(unknown)?;
            return match from.sender().and_then(|sender| self.other_at(sender, name)) {
                Some(other) => Err(NotOf::SenderOf(other.name.clone())),
                None => Ok(Some(named)),
            };
        }
        if self.all.is_empty() {
            return Ok(None);
        }
        let pool = match from {
            Source::Pool(pool) | Source::Picked(pool::Picked { pool, .. }) => Some(pool),
            Source::Sender(_) => None,
        };
        let of_pool = pool.filter(|pool| self.all.iter().any(|one| one.pools.contains(pool)));
        let sender = from.sender();
        let mut found = self.all.iter().filter(|one| match of_pool {
            Some(pool) => one.pools.contains(pool),
            None => sender.is_some_and(|sender| one.senders.contains(&sender)),
        });
        Ok(found.next().filter(|_| found.next().is_none()))
    }

    /// The programme that STOP to this sender of ours ends alone, if it does: the only one that uses the sender.
    pub fn stopped_at(&self, to: Sender) -> Option<&Programme> {
        let mut found = self.all.iter().filter(|one| one.senders.contains(&to));
        found.next().filter(|one| one.stop == Stop::Programme && found.next().is_none())
    }

    /// Another programme than the one of this name that STOP to this sender ends alone: then nothing of that one goes from there.
    pub fn other_at(&self, sender: Sender, name: &Name) -> Option<&Programme> {
        self.stopped_at(sender).filter(|other| other.name != *name)
    }

    /// Who joins which programme, if this text to this sender of ours asks for that. What keywords ask for is not looked at here.
    pub fn joined_by(&self, to: Sender, text: &str) -> Option<Joining> {
        if self.all.iter().all(|one| one.join.is_none()) {
            return None;
        }
        let word = plain(text)?;
        self.all.iter().filter(|one| one.senders.contains(&to)).find_map(|one| {
            let join = one.join.clone().filter(|join| join.words.contains(&word))?;
            let (name, formerly, seller) = (one.name.clone(), one.formerly.clone(), one.seller.clone());
            Some(Joining { name, formerly, seller, join, word: word.clone(), to })
        })
    }

    /// What a consent must be for, for messages of this programme, or of none.
    pub fn scope<'a>(&'a self, name: Option<&'a Name>) -> Scope<'a> {
        let Some(name) = name.filter(|_| !self.all.is_empty()) else {
            return if self.all.is_empty() { Scope::Any } else { Scope::NoProgramme };
        };
        match self.called(name) {
            Some(one) => Scope::Programme {
                name: one.name.as_str(),
                formerly: &one.formerly,
                seller: Some(one.seller.as_str()),
            },
            None => Scope::Programme { name: name.as_str(), formerly: &[], seller: None },
        }
    }
}

/// What the programmes of an installation are called: each by its name, and by those that it had before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    /// Those of one programme together. `None` where nobody says which programmes there are: then each name is that of one.
    known: Option<Vec<Vec<Name>>>,
}

impl Names {
    /// All names of the programme that is, or was, called so. `None` if nobody knows it any more.
    pub fn all_of<'a>(&'a self, name: &'a Name) -> Option<&'a [Name]> {
        match &self.known {
            None => Some(std::slice::from_ref(name)),
            Some(known) => known.iter().find(|names| names.contains(name)).map(Vec::as_slice),
        }
    }

    /// The name that the programme has now which is, or was, called so. `None` if nobody knows it any more.
    pub fn present<'a>(&'a self, name: &'a Name) -> Option<&'a Name> {
        self.all_of(name).and_then(<[Name]>::first)
    }

    /// The same for people, with the names that it had before: `deals (formerly offers)`. One that nobody knows has its own.
    pub fn told(&self, name: &Name) -> String {
        match self.all_of(name) {
            Some([present, formerly @ ..]) if !formerly.is_empty() => {
                let formerly: Vec<&str> = formerly.iter().map(Name::as_str).collect();
                format!("{present} (formerly {})", formerly.join(", "))
            }
            _ => name.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::{Choice, Picked};

    fn sender(text: &str) -> Sender {
        Sender::from_stored(text).expect("a sender")
    }

    fn programme(name: &str, senders: &[&str], pools: &[&str]) -> Programme {
        Programme {
            name: Name::parse(name).expect("a name"),
            formerly: Vec::new(),
            seller: "Acme".to_owned(),
            senders: senders.iter().map(|text| sender(text)).collect(),
            pools: pools.iter().filter_map(|text| pool::Name::parse(text)).collect(),
            join: None,
            stop: Stop::Account,
        }
    }

    fn join(words: &[&str]) -> Option<Join> {
        Some(Join {
            words: words.iter().filter_map(|text| join_word(text)).collect(),
            purpose: Purpose::Marketing,
            act: Act::Written,
            wording: Wording { hash: [7; 32], text: "Text JOIN to 12345 for offers".to_owned() },
            welcome: "Acme offers: welcome! HELP for help, STOP to stop.".to_owned(),
        })
    }

    #[test]
    fn who_writes_a_word_of_a_programme_to_a_sender_of_it_joins_it() {
        let all = Programmes {
            all: vec![
                Programme { join: join(&["JOIN", "alerts on"]), ..programme("offers", &["12345"], &[]) },
                Programme { join: join(&["news"]), ..programme("news", &["12345", "Other"], &[]) },
                programme("silent", &["12345"], &[]),
            ],
        };
        let check = |to: &str, text: &str, expected: Option<&str>| {
            let found = all.joined_by(sender(to), text);
            assert_eq!(found.map(|one| one.name.to_string()).as_deref(), expected, "{to} {text}");
        };
        check("12345", "JOIN", Some("offers"));
        check("12345", " jóin!", Some("offers"));
        check("12345", "join join", Some("offers"));
        check("12345", "Alerts On", Some("offers"));
        check("12345", "news", Some("news"));
        check("Other", "news", Some("news"));
        // Another sender, or not nothing but the word.
        check("Other", "join", None);
        check("12345", "join please", None);
        check("12345", "join?", None);
        check("12345", "i want to join", None);
        check("12345", "", None);
        check("12345", "STOP", None);
    }

    #[test]
    fn what_is_a_keyword_or_an_answer_is_no_word_to_join_by() {
        for text in [
            "STOP",
            "cancel",
            "START",
            "subscribe",
            "unstop",
            "HELP",
            "info",
            "aide",
            "YES",
            "y",
            "no",
            "",
            "!!",
        ] {
            assert_eq!(join_word(text), None, "{text}");
        }
        assert_eq!(join_word("Join Offers Now").as_deref(), Some("join offers now"));
        assert_eq!(join_word("join our offers now"), None);
    }

    #[test]
    fn a_welcome_names_the_programme_and_says_how_to_get_help_and_how_to_stop() {
        let name = Name::parse("appointment-reminders").unwrap();
        let check = |text: &str, expected: &[&str]| assert_eq!(lacking(text, &name), expected, "{text}");
        check("Acme Appointment Reminders: welcome. HELP for help, STOP to end.", &[]);
        check("Acme appointment reminders. Reply HELP for help.", &["how to stop"]);
        check("Acme appointment reminders. Reply STOP to end.", &["HELP"]);
        check("Welcome!", &["the programme's name", "HELP", "how to stop"]);
    }

    #[test]
    fn joining_adds_a_consent_once() {
        use crate::account::Environment;
        use crate::id::AccountId;
        let all = Programmes {
            all: vec![Programme { join: join(&["JOIN"]), ..programme("offers", &["12345"], &[]) }],
        };
        let joining = all.joined_by(sender("12345"), "join").expect("it is its word");
        let at = |s| Timestamp::from_millis(1_000_000).plus_s(s);
        let realm = Realm { account: AccountId::from_key(1), environment: Environment::Test };
        let person = PhoneNumber::from_stored("+15550002222").expect("a number");
        let entry =
            joining.entry(ConsentId::from_key(9), realm, person, (InboundId::from_key(5), at(1)), at(2));
        assert_eq!(entry.source, format!("{} join", InboundId::from_key(5)));
        assert_eq!(entry.evidence.place.as_deref(), Some("12345"));
        assert_eq!(consent::missing(entry.act, entry.method, &entry.evidence), [""; 0]);
        let said = |ledger: Vec<Consent>| History { ledger, opt_outs: Vec::new() };
        assert!(!joining.is_in(&said(Vec::new()), at(3)));
        assert!(joining.is_in(&said(vec![entry.clone()]), at(3)));
        let express = Consent { act: Act::Express, ..entry.clone() };
        assert!(!joining.is_in(&said(vec![express]), at(3)));
        let out = consent::OptOut { at: at(2), started_at: None, programme: None };
        assert!(!joining.is_in(&History { ledger: vec![entry], opt_outs: vec![out] }, at(3)));
    }

    #[test]
    fn a_message_is_of_the_programme_that_is_named_or_of_the_only_one_of_its_sender() {
        let all = Programmes {
            all: vec![
                programme("reminders", &["Clinic", "12345", "+15550001111"], &["desk"]),
                programme("offers", &["Shop", "12345"], &[]),
                programme("news", &["+15550001111", "+15550001112"], &["two"]),
                programme("more", &["+15550001111", "+15550001112"], &["two"]),
            ],
        };
        let check = |named: Option<&str>, from: Source, expected: Option<&str>| {
            let named = named.and_then(Name::parse);
            let found = all.of(named.as_ref(), &from).expect("it is known");
            assert_eq!(found.map(|one| one.name.as_str()), expected, "{named:?} {from:?}");
        };
        let from = |text: &str| Source::Sender(sender(text));
        let pool = |name: &str| Source::Pool(pool::Name::parse(name).expect("a name"));
        let picked = |name: &str, text: &str| {
            let pool = pool::Name::parse(name).expect("a name");
            Source::Picked(Picked { pool, sender: sender(text), choice: Choice::Spread, seen: None })
        };
        check(None, from("Clinic"), Some("reminders"));
        check(None, from("Shop"), Some("offers"));
        // Of two.
        check(None, from("12345"), None);
        check(Some("offers"), from("12345"), Some("offers"));
        // Whatever the sender is of.
        check(Some("offers"), from("Clinic"), Some("offers"));
        check(None, from("Else"), None);
        // A pool says more than the sender that was chosen from it.
        check(None, pool("desk"), Some("reminders"));
        check(None, picked("desk", "+15550001111"), Some("reminders"));
        check(None, picked("two", "+15550001112"), None);
        // A pool of no programme.
        check(None, pool("other"), None);
        check(None, picked("other", "Shop"), Some("offers"));

        let name = Name::parse("ofers").expect("a name");
        match all.of(Some(&name), &from("Shop")) {
            Err(NotOf::Unknown { name: unknown, known }) => {
                assert_eq!((unknown, known.len()), (name.clone(), 4))
            }
            other => panic!("nobody configured it: {other:?}"),
        }
        assert!(Programmes::NONE.of(Some(&name), &from("Shop")).is_err());
        assert_eq!(Programmes::NONE.of(None, &from("Shop")), Ok(None));
    }

    #[test]
    fn stop_ends_a_programme_alone_only_at_a_sender_that_sends_for_no_other() {
        let stop = |one: Programme| Programme { stop: Stop::Programme, ..one };
        let all = Programmes {
            all: vec![
                programme("reminders", &["Clinic", "12345"], &[]),
                stop(programme("offers", &["Shop", "12345", "23456"], &[])),
                stop(programme("news", &["23456"], &[])),
            ],
        };
        let check = |to: &str, expected: Option<&str>| {
            assert_eq!(all.stopped_at(sender(to)).map(|one| one.name.as_str()), expected, "{to}");
        };
        check("Shop", Some("offers"));
        check("Clinic", None);
        check("Else", None);
        // Of two, whatever they say.
        check("12345", None);
        check("23456", None);
        assert!(Programmes::NONE.stopped_at(sender("Shop")).is_none());

        // So nothing else goes from there.
        let name = |text: &str| Name::parse(text).expect("a name");
        let of = |named: &str, from: &str| all.of(Some(&name(named)), &Source::Sender(sender(from)));
        assert_eq!(of("news", "Shop"), Err(NotOf::SenderOf(name("offers"))));
        assert!(of("offers", "Shop").is_ok() && of("news", "12345").is_ok() && of("news", "Clinic").is_ok());
    }

    #[test]
    fn a_name_is_a_short_word_of_small_letters() {
        let check = |text: &str, is_one: bool| assert_eq!(Name::parse(text).is_some(), is_one, "{text}");
        check("reminders", true);
        check("a-1_b", true);
        check(&"a".repeat(NAME_MAX), true);
        check(&"a".repeat(NAME_MAX + 1), false);
        check("", false);
        check("Offers", false);
        check("two words", false);
    }

    #[test]
    fn what_a_consent_must_be_for_follows_from_the_programme() {
        let all = Programmes { all: vec![programme("offers", &["Shop"], &[])] };
        let (offers, gone) = (Name::parse("offers").unwrap(), Name::parse("gone").unwrap());
        assert_eq!(all.scope(None), Scope::NoProgramme);
        let of_offers = Scope::Programme { name: "offers", formerly: &[], seller: Some("Acme") };
        assert_eq!(all.scope(Some(&offers)), of_offers);
        assert_eq!(all.scope(Some(&gone)), Scope::Programme { name: "gone", formerly: &[], seller: None });
        assert_eq!(Programmes::NONE.scope(Some(&offers)), Scope::Any);
        assert_eq!(Programmes::NONE.scope(None), Scope::Any);
    }

    #[test]
    fn what_a_programme_was_called_is_it_still() {
        let name = |text: &str| Name::parse(text).expect("a name");
        let renamed = Programme { formerly: vec![name("deals")], ..programme("offers", &["Shop"], &[]) };
        let all = Programmes { all: vec![renamed, programme("news", &["Shop"], &[])] };
        let names = all.names();
        let both = [name("offers"), name("deals")];
        assert_eq!(names.all_of(&name("deals")), Some(&both[..]));
        assert_eq!(names.all_of(&name("offers")), Some(&both[..]));
        assert_eq!(names.all_of(&name("gone")), None);
        assert_eq!(Programmes::NONE.names().all_of(&name("offers")), None);
        assert_eq!(Names::default().all_of(&name("gone")), Some(&[name("gone")][..]));
        // Also what waits under the old name, and what was agreed to under it, is of it.
        assert_eq!(all.scope(Some(&name("deals"))), all.scope(Some(&name("offers"))));
        assert_eq!(all.meant_by(" Deals").map(|one| one.name.as_str()), Some("offers"));
        assert!(all.named(&name("deals")).is_none(), "new messages name it as it is called now");
    }

    #[test]
    fn a_programme_without_a_sender_of_its_own_is_told_from_one_with() {
        let all = Programmes {
            all: vec![
                programme("offers", &["Shop"], &[]),
                programme("news", &["Shop", "Clinic"], &[]),
                programme("more", &["Else"], &[]),
            ],
        };
        let shared = |text: &str| all.all_shared(&Name::parse(text).expect("a name"));
        assert_eq!(shared("offers"), Some(sender("Shop")));
        assert_eq!((shared("news"), shared("more"), shared("gone")), (None, None, None));
    }
}
