//! Programmes: named streams of messages of a seller, such as reminders or offers, from some senders. The trade's rules say
//! *program*, and want consent for each apart (CTIA, Messaging Principles and Best Practices, 5.1.2).
//!
//! A message is of the programme that its caller names, or of the one that its sender belongs to. What follows for consent is
//! said by [`crate::consent::Scope`].

use crate::consent::Scope;
use crate::pool::{self, Source};
use crate::sender::Sender;
use std::fmt;

/// Characters of a programme's name, at most.
pub const NAME_MAX: usize = 40;
/// Characters of a seller's name, at most: those of one in the ledger of consents.
pub const SELLER_MAX: usize = 500;
/// Programmes of one installation, at most.
pub const PROGRAMMES_MAX: usize = 200;

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
    /// Whose it is: the name that people give their consent to.
    pub seller: String,
    /// The senders that it uses, also those that it has from pools.
    pub senders: Vec<Sender>,
    /// The pools that it uses.
    pub pools: Vec<pool::Name>,
}

/// A programme that nobody configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// What it was called.
    pub name: Name,
    /// Those that there are.
    pub known: Vec<Name>,
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

    /// Which one a message is of: the one that its caller names, else the only one that its pool or its sender belongs to.
    /// Costs nothing worth naming where there are none.
    ///
    /// # Errors
    /// Nobody configured the one that is named.
    pub fn of(&self, named: Option<&Name>, from: &Source) -> Result<Option<&Programme>, Unknown> {
        if let Some(name) = named {
            let unknown = || Unknown {
                name: name.clone(),
                known: self.all.iter().map(|one| one.name.clone()).collect(),
            };
            return self.named(name).ok_or_else(unknown).map(Some);
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

    /// What a consent must be for, for messages of this programme, or of none.
    pub fn scope<'a>(&'a self, name: Option<&'a Name>) -> Scope<'a> {
        match name {
            _ if self.all.is_empty() => Scope::Any,
            Some(name) => Scope::Programme {
                name: name.as_str(),
                seller: self.named(name).map(|programme| programme.seller.as_str()),
            },
            None => Scope::NoProgramme,
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
            seller: "Acme".to_owned(),
            senders: senders.iter().map(|text| sender(text)).collect(),
            pools: pools.iter().filter_map(|text| pool::Name::parse(text)).collect(),
        }
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
        let unknown = all.of(Some(&name), &from("Shop")).expect_err("nobody configured it");
        assert_eq!((unknown.name, unknown.known.len()), (name.clone(), 4));
        assert!(Programmes::NONE.of(Some(&name), &from("Shop")).is_err());
        assert_eq!(Programmes::NONE.of(None, &from("Shop")), Ok(None));
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
        let of_offers = Scope::Programme { name: "offers", seller: Some("Acme") };
        assert_eq!(all.scope(Some(&offers)), of_offers);
        assert_eq!(all.scope(Some(&gone)), Scope::Programme { name: "gone", seller: None });
        assert_eq!(Programmes::NONE.scope(Some(&offers)), Scope::Any);
    }
}
