//! The suppression list: who must not be sent to, and why. One list, read at intake and again at the last moment, and the
//! first reason of the [gate](crate::gate).
//!
//! An entry is about all that an account sends, or about the messages of one [programme](crate::programme). Each person has at
//! most one entry for all and one for each programme that count, and they know nothing of each other.

use crate::account::Realm;
use crate::address::PhoneNumber;
use crate::consent::OptOut;
use crate::failure::{Failure, FailureClass};
use crate::id::{InboundId, SuppressionId};
use crate::programme;
use crate::purpose::Purpose;
use crate::reply::{self, Reply};
use crate::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// Why somebody is on the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The person said stop, to us or to the carrier.
    OptedOut,
    /// The carrier says that the number cannot receive messages.
    InvalidNumber,
    /// Somebody of the account put it there.
    Manual,
    /// Message after message did not reach the number, for long: see [`crate::reachability`].
    Unreachable,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::OptedOut, Self::InvalidNumber, Self::Manual, Self::Unreachable];

    /// The public word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OptedOut => "opted_out",
            Self::InvalidNumber => "invalid_number",
            Self::Manual => "manual",
            Self::Unreachable => "unreachable",
        }
    }

    /// From the public word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }

    /// Whether it stops a message of this purpose that answers this by itself, if anything, and was accepted then. It stops every
    /// message but two. One is the confirmation of an opt-out, while it is fresh (47 CFR 64.1200(a)(12)). Such a message is made
    /// only in the commit that puts its recipient on the list, and says so in
    /// [`Message::reply`](crate::message::Message::reply). The other is a code to a number that is taken for dead: who asks for
    /// it has the phone at hand, and if it arrives, the number is off the list.
    pub fn stops(
        self,
        purpose: Purpose,
        reply: Option<Reply>,
        created_at: Timestamp,
        now: Timestamp,
    ) -> bool {
        let confirms = reply.is_some_and(|reply| reply.kind.confirms_opt_out());
        let is_fresh = now < created_at.plus_s(reply::VALIDITY_S);
        match self {
            Self::OptedOut => !(confirms && is_fresh),
            Self::Unreachable => purpose != Purpose::Authentication,
            Self::InvalidNumber | Self::Manual => true,
        }
    }

    /// Whether the person's own word, by text, ends an entry of this reason: only what was the person's own word, to us,
    /// to somebody of the account, or to the carrier. What others know or decided stays.
    pub const fn is_lifted_by_person(self) -> bool {
        matches!(self, Self::OptedOut)
    }

    /// Whether anything that comes from the number, or is delivered there, ends an entry of this reason: what was concluded from
    /// silence alone. Nothing that anybody said is taken back by it.
    pub const fn is_lifted_by_life(self) -> bool {
        matches!(self, Self::Unreachable)
    }

    /// Which of two reasons stays on the list: the stronger. What a carrier says is worth more than what was concluded from its
    /// silence, a person's word more than a guess about a number, and the recipient's own the most.
    pub const fn strength(self) -> u8 {
        match self {
            Self::Unreachable => 0,
            Self::InvalidNumber => 1,
            Self::Manual => 2,
            Self::OptedOut => 3,
        }
    }

    /// The reason that a carrier's failure gives.
    pub const fn of(class: FailureClass) -> Self {
        match class {
            FailureClass::OptedOut => Self::OptedOut,
            FailureClass::InvalidNumber => Self::InvalidNumber,
            FailureClass::AuthFailed
            | FailureClass::RateLimited
            | FailureClass::Filtered
            | FailureClass::UnknownError => Self::Manual,
        }
    }

    /// What a message to somebody on the list is refused with.
    pub fn failure(self) -> Failure {
        match self {
            Self::OptedOut => Failure::new(
                FailureClass::OptedOut,
                false,
                "tidings opted_out",
                "the recipient withdrew consent and is on the suppression list",
            ),
            Self::InvalidNumber => Failure::new(
                FailureClass::InvalidNumber,
                false,
                "tidings suppressed_invalid_number",
                "a carrier reported this number as unable to receive messages, and it is on the suppression list",
            ),
            Self::Manual => Failure::new(
                FailureClass::OptedOut,
                false,
                "tidings suppressed",
                "the recipient was put on the suppression list",
            ),
            Self::Unreachable => Failure::new(
                FailureClass::InvalidNumber,
                false,
                "tidings suppressed_unreachable",
                "no message reached this number for a long time, and it is on the suppression list",
            ),
        }
    }
}

/// Until when an entry counts, for the reasons that cure themselves: numbers are given to new people.
pub const fn default_end(reason: Reason, now: Timestamp) -> Option<Timestamp> {
    match reason {
        Reason::InvalidNumber | Reason::Unreachable => Some(now.plus_s(90 * 24 * 3600)),
        Reason::OptedOut | Reason::Manual => None,
    }
}

/// What stops a message: the entry that counts for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce {
    /// Its reason.
    pub reason: Reason,
    /// The programme that it is about, which may be one that nobody knows any more; `None` for all that the account sends.
    pub programme: Option<programme::Name>,
}

impl From<Reason> for InForce {
    /// About all that the account sends.
    fn from(reason: Reason) -> Self {
        Self { reason, programme: None }
    }
}

impl InForce {
    /// Whether it stops a message; see [`Reason::stops`].
    pub fn stops(
        &self,
        purpose: Purpose,
        reply: Option<Reply>,
        created_at: Timestamp,
        now: Timestamp,
    ) -> bool {
        self.reason.stops(purpose, reply, created_at, now)
    }

    /// What a message that it stops is refused with.
    pub fn failure(&self) -> Failure {
        let failure = self.reason.failure();
        match &self.programme {
            None => failure,
            Some(name) => {
                Failure { detail: format!("{}, for the programme {name}", failure.detail), ..failure }
            }
        }
    }
}

/// How a person stands on the list: the reasons of the entries that count now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Of the entry for all that the account sends.
    pub account: Option<Reason>,
    /// Of those for programmes, under each name that the programme has or had.
    pub programmes: BTreeMap<programme::Name, Reason>,
    /// Of those for programmes that nobody knows any more. They are against everything: whatever the person left may go on under
    /// another name, and who said stop is rather sent nothing than that.
    pub lost: BTreeMap<programme::Name, Reason>,
    /// Of which of these the person is out for a time only: of all that the account sends (`None`), and of programmes by all their names.
    /// The person's own STOP, which has no end, still says something then.
    pub out_for_a_time: BTreeSet<Option<programme::Name>>,
}

impl Listing {
    /// How somebody stands who has these entries, where programmes are called so; those that are lifted or over count for nothing.
    pub fn of<'a>(
        entries: impl IntoIterator<Item = &'a Suppression>,
        names: &programme::Names,
        now: Timestamp,
    ) -> Self {
        let mut standing = Self::default();
        let stronger = |known: Option<&Reason>, reason: Reason| match known {
            Some(known) if known.strength() > reason.strength() => *known,
            _ => reason,
        };
        let mut out_for_good = BTreeSet::new();
        for entry in entries.into_iter().filter(|entry| entry.is_in_force(now)) {
            let mut is_out_of = |of: Option<programme::Name>| {
                if entry.reason == Reason::OptedOut {
                    let set = match entry.expires_at {
                        Some(_) => &mut standing.out_for_a_time,
                        None => &mut out_for_good,
                    };
                    set.insert(of);
                }
            };
            let Some(named) = &entry.programme else {
                is_out_of(None);
                standing.account = Some(entry.reason);
                continue;
            };
            match names.all_of(named) {
                None => drop(standing.lost.insert(named.clone(), entry.reason)),
                // Entries of two of its names may count.
                Some(all) => {
                    for name in all {
                        is_out_of(Some(name.clone()));
                        let reason = stronger(standing.programmes.get(name), entry.reason);
                        standing.programmes.insert(name.clone(), reason);
                    }
                }
            }
        }
        standing.out_for_a_time.retain(|of| !out_for_good.contains(of));
        standing
    }

    /// Why the person is on the list, as far as the person's own STOP, of all or of this programme, would change nothing of it.
    pub fn against_stop(&self, of: Option<&programme::Name>) -> Option<Reason> {
        let reason = match of {
            None => self.account,
            Some(name) => self.programmes.get(name).copied(),
        };
        reason.filter(|reason| *reason != Reason::OptedOut || !self.out_for_a_time.contains(&of.cloned()))
    }

    /// Whether nothing is against any message.
    pub fn is_free(&self) -> bool {
        self.account.is_none() && self.programmes.is_empty() && self.lost.is_empty()
    }

    /// What is against messages of this programme, or of none: the strongest, and of those that are equal the one that is about
    /// most.
    pub fn against(&self, programme: Option<&programme::Name>) -> Option<InForce> {
        let mut found = self.to_take_back(programme);
        for (name, reason) in &self.lost {
            if found.as_ref().is_none_or(|one| reason.strength() > one.reason.strength()) {
                found = Some(InForce { reason: *reason, programme: Some(name.clone()) });
            }
        }
        found
    }

    /// What is against them of what a word to join this programme takes back: of two the stronger. What is about a programme that
    /// nobody knows any more is about another one.
    pub fn to_take_back(&self, programme: Option<&programme::Name>) -> Option<InForce> {
        let of_programme = programme.and_then(|name| Some((name, *self.programmes.get(name)?)));
        let is_stronger =
            |reason: Reason| self.account.is_none_or(|account| reason.strength() > account.strength());
        match of_programme.filter(|(_, reason)| is_stronger(*reason)) {
            Some((name, reason)) => Some(InForce { reason, programme: Some(name.clone()) }),
            None => self.account.map(InForce::from),
        }
    }

    /// The reason for which nothing of all that the account sends goes to the person.
    pub fn against_all(&self) -> Option<Reason> {
        self.against(None).map(|one| one.reason)
    }

    /// The programmes whose messages are stopped, each once however many names it had, as [`programme::Names::told`] has them.
    pub fn told(&self, names: &programme::Names) -> BTreeSet<String> {
        self.programmes.keys().map(|name| names.told(name)).collect()
    }

    /// The strongest reason, whatever it is about.
    pub fn strongest(&self) -> Option<Reason> {
        let all = self.account.iter().chain(self.programmes.values()).chain(self.lost.values());
        all.copied().max_by_key(|reason| reason.strength())
    }
}

/// An entry of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    /// Its id.
    pub id: SuppressionId,
    /// Whose.
    pub realm: Realm,
    /// Who is not sent to.
    pub recipient: PhoneNumber,
    /// What is not sent: the messages of this programme; `None` for all of the account.
    pub programme: Option<programme::Name>,
    /// Why.
    pub reason: Reason,
    /// Where it came from: `api`, `review`, a message's id with the carrier's code …
    pub source: String,
    /// Since when.
    pub created_at: Timestamp,
    /// Until when, if it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When and why it was lifted.
    pub lifted: Option<(Timestamp, String)>,
}

/// What becomes of an entry that is to be added, where there may be another for the same number and programme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is not needed: this other one knows as much, and counts as long.
    Taken(Suppression),
    /// It is added.
    Added {
        /// As it is to be.
        entry: Suppression,
        /// The other one in its place, when that ended, and why.
        ended: Option<(Suppression, Timestamp, String)>,
    },
}

/// Why an entry was lifted for which an opt-out stands now.
pub const REPLACED_BY_OPT_OUT: &str = "replaced by opted_out";

impl Suppression {
    /// What becomes of it beside the entry that is there and not lifted. There is one for a number and programme, with the stronger
    /// of two reasons and the later of two ends: nobody is sent to again before what was said last is over. What was only
    /// concluded about the number makes no stronger entry last longer, since it shows again by itself.
    pub fn beside(self, known: Option<Self>) -> Fate {
        let new = Self { lifted: None, ..self };
        let Some(known) = known else { return Fate::Added { entry: new, ended: None } };
        let now = new.created_at;
        if let Some(over) = known.expires_at.filter(|end| *end <= now) {
            return Fate::Added { entry: new, ended: Some((known, over, "expired".to_owned())) };
        }
        let is_stronger = new.reason.strength() > known.reason.strength();
        let is_longer = known.expires_at.is_some_and(|end| new.expires_at.is_none_or(|later| later > end));
        let is_said = matches!(new.reason, Reason::Manual | Reason::OptedOut) || new.reason == known.reason;
        if !(is_stronger || is_longer && is_said) {
            return Fate::Taken(known);
        }
        let entry = Self {
            reason: if is_stronger { new.reason } else { known.reason },
            expires_at: if is_longer { new.expires_at } else { known.expires_at },
            ..new
        };
        let why = format!("replaced by {}", entry.reason.as_str());
        Fate::Added { entry, ended: Some((known, now, why)) }
    }

    /// Whether it counts now.
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.lifted.is_none() && self.expires_at.is_none_or(|end| end > now)
    }

    /// The opt-out that the entry is for the ledger of consents, if it is one: the person's own word, from which only the
    /// person's own START frees.
    pub fn opt_out(&self) -> Option<OptOut> {
        let started = self
            .lifted
            .as_ref()
            .filter(|(_, why)| why.split(' ').next().is_some_and(|word| word.parse::<InboundId>().is_ok()));
        (self.reason == Reason::OptedOut).then(|| OptOut {
            at: self.created_at,
            started_at: started.map(|(at, _)| *at),
            programme: self.programme.clone(),
        })
    }

    /// Whether it is an opt-out that ended, and not by the person's START: somebody of the account took it back, or a word to join.
    /// START still says something of it, that what was agreed to before counts again.
    pub fn awaits_start(&self) -> bool {
        self.lifted.is_some() && self.opt_out().is_some_and(|out| out.started_at.is_none())
    }

    /// When and why it was lifted, once the person said START after that. What was written of it stays.
    pub fn started(&self, by: &str) -> Option<(Timestamp, String)> {
        self.lifted.as_ref().map(|(at, why)| (*at, format!("{by}, after: {why}")))
    }

    /// Whether it counts again when the opt-out that replaced it is lifted by the person: what an account decided is not
    /// the person's to undo. That the number is not in use, or dead, is: the person wrote from it.
    pub fn counts_again(&self, now: Timestamp) -> bool {
        self.reason == Reason::Manual && self.expires_at.is_none_or(|end| end > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Environment;
    use crate::id::AccountId;

    fn at(s: i64) -> Timestamp {
        Timestamp::from_millis(0).plus_s(s)
    }

    fn entry(reason: Reason, lifted: Option<&str>) -> Suppression {
        Suppression {
            id: SuppressionId::from_key(1),
            realm: Realm { account: AccountId::from_key(1), environment: Environment::Test },
            recipient: PhoneNumber::from_stored("+15550001111").expect("a number"),
            programme: None,
            reason,
            source: "api".to_owned(),
            created_at: at(1),
            expires_at: None,
            lifted: lifted.map(|why| (at(2), why.to_owned())),
        }
    }

    #[test]
    fn only_the_persons_own_start_counts_as_one() {
        let check = |reason, lifted: Option<&str>, expected: Option<OptOut>| {
            assert_eq!(entry(reason, lifted).opt_out(), expected, "{reason:?} {lifted:?}");
        };
        let out = |started_at| Some(OptOut { at: at(1), started_at, programme: None });
        let start = format!("{} start", InboundId::from_key(5));
        check(Reason::OptedOut, None, out(None));
        check(Reason::OptedOut, Some(&start), out(Some(at(2))));
        check(Reason::OptedOut, Some("asked for it again by phone"), out(None));
        check(Reason::Manual, Some(&start), None);
        check(Reason::InvalidNumber, None, None);
        check(Reason::Unreachable, Some(&start), None);
    }

    #[test]
    fn of_two_entries_the_stronger_reason_and_the_later_end_count() {
        use Reason::{InvalidNumber, Manual, OptedOut, Unreachable};
        // Reason and end of what stands and what comes; what stands then, nothing for the first as it is.
        for (known, new, then) in [
            ((OptedOut, None), (OptedOut, None), None),
            ((OptedOut, Some(50)), (OptedOut, None), Some((OptedOut, None))),
            ((OptedOut, Some(50)), (OptedOut, Some(60)), Some((OptedOut, Some(60)))),
            ((OptedOut, Some(50)), (OptedOut, Some(40)), None),
            ((OptedOut, None), (OptedOut, Some(40)), None),
            ((Manual, Some(50)), (Manual, None), Some((Manual, None))),
            ((Manual, Some(50)), (OptedOut, None), Some((OptedOut, None))),
            ((Manual, None), (OptedOut, Some(50)), Some((OptedOut, None))),
            ((InvalidNumber, Some(90)), (Manual, Some(50)), Some((Manual, Some(90)))),
            ((OptedOut, Some(50)), (Manual, None), Some((OptedOut, None))),
            ((OptedOut, Some(50)), (InvalidNumber, Some(90)), None),
            ((Manual, Some(50)), (Unreachable, Some(90)), None),
            ((Unreachable, Some(50)), (Unreachable, Some(90)), Some((Unreachable, Some(90)))),
            // It is over.
            ((OptedOut, Some(9)), (Manual, Some(50)), Some((Manual, Some(50)))),
            ((OptedOut, Some(10)), (Unreachable, None), Some((Unreachable, None))),
        ] {
            let of = |(reason, end): (Reason, Option<i64>), created_at| Suppression {
                created_at,
                expires_at: end.map(at),
                ..entry(reason, None)
            };
            let (stands, comes) = (of(known, at(1)), of(new, at(10)));
            let expected = then.map(|then| (of(then, at(10)), stands.clone()));
            let found = match comes.beside(Some(stands.clone())) {
                Fate::Taken(one) => {
                    assert_eq!(one, stands);
                    None
                }
                Fate::Added { entry, ended } => Some((entry, ended.expect("it ends").0)),
            };
            assert_eq!(found, expected, "{known:?} {new:?}");
        }
        let added = entry(Manual, None).beside(None);
        assert_eq!(added, Fate::Added { entry: entry(Manual, None), ended: None });
    }

    #[test]
    fn a_stop_says_something_to_who_is_out_for_a_time() {
        let news = || programme::Name::parse("news");
        let of = |programme, end: Option<i64>| Suppression {
            programme,
            expires_at: end.map(at),
            ..entry(Reason::OptedOut, None)
        };
        let check = |entries: &[Suppression], all: Option<Reason>, of_news: Option<Reason>| {
            let standing = Listing::of(entries, &programme::Names::default(), at(5));
            let found = (standing.against_stop(None), standing.against_stop(news().as_ref()));
            assert_eq!(found, (all, of_news), "{entries:?}");
        };
        let out = Some(Reason::OptedOut);
        check(&[of(None, None)], out, None);
        check(&[of(None, Some(50))], None, None);
        check(&[of(news(), Some(50)), of(None, None)], out, None);
        check(&[of(news(), None), of(None, Some(50))], None, out);
        check(&[of(news(), None), of(news(), Some(50))], None, out);
        let manual = Suppression { expires_at: Some(at(50)), ..entry(Reason::Manual, None) };
        check(&[manual], Some(Reason::Manual), None);
    }

    #[test]
    fn a_reason_stands_against_those_that_know_less() {
        let mut all = Reason::ALL;
        all.sort_by_key(|reason| reason.strength());
        assert_eq!(all.map(Reason::as_str), ["unreachable", "invalid_number", "manual", "opted_out"]);
        for reason in Reason::ALL {
            assert_eq!(Reason::parse(reason.as_str()), Some(reason));
            // Who writes is alive, and may have said stop all the same.
            assert_eq!(reason.is_lifted_by_life(), reason == Reason::Unreachable, "{reason:?}");
            assert!(!(reason.is_lifted_by_life() && reason.is_lifted_by_person()), "{reason:?}");
            for purpose in Purpose::ALL {
                let is_let_pass = reason == Reason::Unreachable && purpose == Purpose::Authentication;
                assert_eq!(reason.stops(purpose, None, at(0), at(0)), !is_let_pass, "{reason:?} {purpose:?}");
            }
        }
        let end = |reason| default_end(reason, at(0)).map(|end| end.as_millis() / 86_400_000);
        assert_eq!(Reason::ALL.map(end), [None, Some(90), None, Some(90)]);
    }

    #[test]
    fn an_opt_out_that_somebody_else_took_back_awaits_the_persons_start() {
        let start = format!("{} start", InboundId::from_key(5));
        let by_others = entry(Reason::OptedOut, Some("asked by phone"));
        assert!(by_others.awaits_start());
        let lifted = by_others.started(&start);
        assert_eq!(lifted, Some((at(2), format!("{start}, after: asked by phone"))));
        let started = Suppression { lifted, ..by_others };
        assert!(!started.awaits_start());
        assert_eq!(started.opt_out().and_then(|out| out.started_at), Some(at(2)));
        for other in [
            entry(Reason::OptedOut, None),
            entry(Reason::OptedOut, Some(&start)),
            entry(Reason::Manual, Some("asked by phone")),
        ] {
            assert!(!other.awaits_start(), "{other:?}");
        }
    }

    #[test]
    fn an_entry_of_a_programme_is_against_its_messages_only() {
        let name = |text: &str| programme::Name::parse(text).expect("a name");
        let of = |text: &str, reason| Suppression { programme: Some(name(text)), ..entry(reason, None) };
        let all = |reason| entry(reason, None);
        // Against messages of none, of `offers`, of `news`; the strongest.
        let check = |entries: &[Suppression], expected: &str| {
            let standing = Listing::of(entries, &programme::Names::default(), at(5));
            let shown = |programme: Option<programme::Name>| match standing.against(programme.as_ref()) {
                None => "-".to_owned(),
                Some(InForce { reason, programme: None }) => reason.as_str().to_owned(),
                Some(InForce { reason, programme: Some(name) }) => format!("{} of {name}", reason.as_str()),
            };
            let against = [None, Some(name("offers")), Some(name("news"))].map(shown).join(", ");
            let strongest = standing.strongest().map_or("-", Reason::as_str);
            assert_eq!(format!("{against}; {strongest}"), expected, "{entries:?}");
            assert_eq!(standing.is_free(), strongest == "-");
        };
        check(&[], "-, -, -; -");
        check(&[all(Reason::Manual)], "manual, manual, manual; manual");
        check(&[of("offers", Reason::OptedOut)], "-, opted_out of offers, -; opted_out");
        check(
            &[of("offers", Reason::OptedOut), of("news", Reason::Manual)],
            "-, opted_out of offers, manual of news; opted_out",
        );
        check(
            &[all(Reason::InvalidNumber), of("offers", Reason::OptedOut)],
            "invalid_number, opted_out of offers, invalid_number; opted_out",
        );
        check(
            &[all(Reason::OptedOut), of("offers", Reason::OptedOut)],
            "opted_out, opted_out, opted_out; opted_out",
        );
        let over = Suppression { expires_at: Some(at(5)), ..of("offers", Reason::OptedOut) };
        let lifted = Suppression { programme: Some(name("news")), ..entry(Reason::OptedOut, Some("so")) };
        check(&[over, lifted], "-, -, -; -");
    }

    #[test]
    fn an_entry_of_a_programme_that_nobody_knows_any_more_is_against_everything() {
        use crate::programme::{Programme, Programmes, Stop};
        let name = |text: &str| programme::Name::parse(text).expect("a name");
        let of = |text: &str, reason| Suppression { programme: Some(name(text)), ..entry(reason, None) };
        let programme = |text: &str, formerly: &[&str]| Programme {
            name: name(text),
            formerly: formerly.iter().map(|text| name(text)).collect(),
            seller: "Acme".to_owned(),
            senders: Vec::new(),
            pools: Vec::new(),
            join: None,
            stop: Stop::Account,
        };
        let all = Programmes { all: vec![programme("deals", &["offers"]), programme("news", &[])] };
        // Against messages of none, of `deals`, of `offers`, that wait, and of `news`.
        let check = |entries: &[Suppression], expected: &str| {
            let standing = Listing::of(entries, &all.names(), at(5));
            let shown = |programme: Option<&str>| {
                let found = standing.against(programme.map(name).as_ref());
                let about = |one: InForce| one.programme.map_or("all".to_owned(), |name| name.to_string());
                found.map_or_else(
                    || "-".to_owned(),
                    |one| format!("{} of {}", one.reason.as_str(), about(one.clone())),
                )
            };
            let found = [None, Some("deals"), Some("offers"), Some("news")].map(shown).join(", ");
            assert_eq!(found, expected, "{entries:?}");
            assert!(!standing.is_free() && standing.strongest().is_some());
        };
        let (out, manual) = (Reason::OptedOut, Reason::Manual);
        check(&[of("offers", out)], "-, opted_out of deals, opted_out of offers, -");
        check(&[of("deals", out)], "-, opted_out of deals, opted_out of offers, -");
        for both in [[of("offers", out), of("deals", manual)], [of("deals", manual), of("offers", out)]] {
            check(&both, "-, opted_out of deals, opted_out of offers, -");
        }
        check(&[of("gone", out)], &["opted_out of gone"; 4].join(", "));
        check(
            &[of("gone", manual), of("news", out)],
            "manual of gone, manual of gone, manual of gone, opted_out of news",
        );
        check(&[of("gone", manual), entry(out, None)], &["opted_out of all"; 4].join(", "));
        // People are told a programme once, by the name that it has now.
        let told = |entries: &[Suppression]| {
            let told = Listing::of(entries, &all.names(), at(5)).told(&all.names());
            told.into_iter().collect::<Vec<_>>().join(" | ")
        };
        for name in ["offers", "deals"] {
            assert_eq!(told(&[of(name, out)]), "deals (formerly offers)", "{name}");
        }
        assert_eq!(told(&[of("offers", out), of("news", out)]), "deals (formerly offers) | news");
        assert_eq!(told(&[of("gone", out)]), "");
        // A word to join takes back what is about the programme, and about everything in so many words.
        let standing = Listing::of(&[of("gone", out), of("deals", manual)], &all.names(), at(5));
        let back = standing.to_take_back(Some(&name("deals")));
        assert_eq!(back, Some(InForce { reason: manual, programme: Some(name("deals")) }));
        assert_eq!((standing.to_take_back(None), standing.against_all()), (None, Some(out)));
    }

    #[test]
    fn what_a_message_is_refused_with_names_the_programme() {
        let offers = programme::Name::parse("offers");
        let of_offers = InForce { reason: Reason::OptedOut, programme: offers }.failure();
        assert_eq!(of_offers.code, "tidings opted_out");
        assert!(
            of_offers.detail.ends_with("on the suppression list, for the programme offers"),
            "{of_offers:?}"
        );
        assert_eq!(InForce::from(Reason::OptedOut).failure(), Reason::OptedOut.failure());
    }
}
