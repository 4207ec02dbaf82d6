//! Pools: senders that stand for each other, and which of them a message is from.
//!
//! Who was sent to from a pool is to see the same sender the next time, and who wrote to one of its senders is answered from
//! that: the pool *sticks*. Somebody new gets the sender whose number is most like theirs, where the pool wants that, and else
//! one by a hash of both numbers, which spreads people evenly, needs no counter, and is the same on every node. A sender that
//! cannot be used is passed over, and who had it gets another one, to which they then stick.
//!
//! It knows nothing of the store: what a person had last is given, and the commit that accepts the message makes sure that it
//! is still so.

use crate::account::Environment;
use crate::address::PhoneNumber;
use crate::hash::rank;
use crate::id::ConnectionId;
use crate::programme::{self, Programmes};
use crate::purpose::Purpose;
use crate::quiet_hours::Place;
use crate::registration::{self, Capability};
use crate::routing::{self, Routes};
use crate::sender::Sender;
use crate::time::Timestamp;
use std::fmt;

/// What stands before a pool's name where a sender may stand. No sender has a colon in it.
const PREFIX: &str = "pool:";
/// Characters of a pool's name, at most.
pub const NAME_MAX: usize = 40;
/// Digits after the country's code that two numbers must share, at least, to be of one area: an area code has two or three
/// digits in most countries, and one digit says nothing.
const AREA_DIGITS_MIN: u32 = 2;
/// The same where countries share a code: an area code has three digits there.
const AREA_DIGITS_MIN_NANP: u32 = 3;
/// That code.
const NANP: u16 = 1;

/// A pool's name: 1 to [`NAME_MAX`] of `a` to `z`, digits, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// Reads one; `None` if it cannot be one.
    pub fn parse(text: &str) -> Option<Self> {
        let is_allowed = |octet: u8| matches!(octet, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        ((1..=NAME_MAX).contains(&text.len()) && text.bytes().all(is_allowed)).then(|| Self(text.to_owned()))
    }

    /// What is written after `pool:`, where a sender may stand; `None` if that is not there.
    pub fn after_prefix(text: &str) -> Option<&str> {
        text.strip_prefix(PREFIX)
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

/// Senders that stand for each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// What it is called.
    pub name: Name,
    /// Its senders, in the order of the configuration; at least one.
    pub senders: Vec<Sender>,
    /// Whether somebody new gets a sender of their own area.
    pub area_match: bool,
}

/// Who a message is to be from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// This sender.
    Sender(Sender),
    /// One of this pool, which is not chosen yet.
    Pool(Name),
    /// One of a pool, which was chosen.
    Picked(Picked),
}

impl Source {
    /// The sender, if there is one.
    pub const fn sender(&self) -> Option<Sender> {
        match self {
            Self::Sender(sender) | Self::Picked(Picked { sender, .. }) => Some(*sender),
            Self::Pool(_) => None,
        }
    }

    /// The pool and what was chosen from it, if it was.
    pub const fn picked(&self) -> Option<&Picked> {
        match self {
            Self::Picked(picked) => Some(picked),
            Self::Sender(_) | Self::Pool(_) => None,
        }
    }
}

/// A sender that was chosen from a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picked {
    /// The pool.
    pub pool: Name,
    /// The sender.
    pub sender: Sender,
    /// Why it is this one.
    pub choice: Choice,
    /// What the store had noted for this person and pool when it was chosen. If that is another one when the message is
    /// accepted, it is chosen anew.
    pub seen: Option<Sender>,
}

/// Which sender of a pool a person had last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Last {
    /// From which they were sent to last, by this pool, and when.
    pub sent: Option<(Sender, Timestamp)>,
    /// To which they wrote last, and when.
    pub wrote: Option<(Sender, Timestamp)>,
}

/// Why a sender is passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// It is not in the pool any more.
    Removed,
    /// It may not send this: it is not registered for it, or its kind is not carried there.
    NotAllowed,
    /// No connection takes it.
    NoRoute,
    /// As much as may be was sent from it today.
    Full,
    /// The connection that it would go out on is paused.
    Paused,
    /// Its link has been down for a while.
    Down,
}

impl Unusable {
    const ALL: [Self; 6] =
        [Self::Removed, Self::NotAllowed, Self::NoRoute, Self::Full, Self::Paused, Self::Down];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::NotAllowed => "not_allowed",
            Self::NoRoute => "no_route",
            Self::Full => "full",
            Self::Paused => "paused",
            Self::Down => "down",
        }
    }

    /// Whether time or an operator at a connection cures it, so that a message may wait for it if there is no other sender.
    const fn passes(self) -> bool {
        matches!(self, Self::Full | Self::Paused | Self::Down)
    }
}

/// Why a message is from this sender of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// The person was sent to from it before.
    Sent,
    /// The person wrote to it.
    Wrote,
    /// It is the one of the person's area.
    Area,
    /// It is the one that the person has by the spread.
    Spread,
    /// The one that the person had cannot be used.
    Failover(Unusable),
}

impl Choice {
    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sent | Self::Wrote => "sticky",
            Self::Area => "area",
            Self::Spread => "spread",
            Self::Failover(_) => "failover",
        }
    }
}

impl fmt::Display for Choice {
    /// A sentence with a full stop, and without numbers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sent => "The recipient was sent to from this sender before.",
            Self::Wrote => "The recipient wrote to this sender last.",
            Self::Area => "Of the senders that may be used it is the one most like the recipient's number.",
            Self::Spread => "The recipient has this one of the senders that may be used: they are spread over all recipients.",
            Self::Failover(Unusable::Removed) => {
                "The sender that the recipient had is not in the pool any more; this one takes its place."
            }
            Self::Failover(Unusable::NotAllowed) => {
                "The sender that the recipient had may not send this; this one takes its place."
            }
            Self::Failover(Unusable::NoRoute) => {
                "No connection takes the sender that the recipient had; this one takes its place."
            }
            Self::Failover(Unusable::Full) => {
                "The sender that the recipient had sent as much today as it may; this one takes its place."
            }
            Self::Failover(Unusable::Paused) => {
                "The connection of the sender that the recipient had is paused; this one takes its place."
            }
            Self::Failover(Unusable::Down) => {
                "The connection of the sender that the recipient had is down; this one takes its place."
            }
        })
    }
}

/// The choice and the pool in one line, as the event about it has them: `failover_paused support`.
pub fn noted(picked: &Picked) -> String {
    let word = match picked.choice {
        Choice::Sent => "sticky_sent",
        Choice::Wrote => "sticky_wrote",
        Choice::Area => "area",
        Choice::Spread => "spread",
        Choice::Failover(why) => return format!("failover_{} {}", why.as_str(), picked.pool),
    };
    format!("{word} {}", picked.pool)
}

/// Reads what [`noted`] wrote.
pub fn read_noted(text: &str) -> Option<(Choice, Name)> {
    let (word, name) = text.split_once(' ')?;
    let choice = match word {
        "sticky_sent" => Choice::Sent,
        "sticky_wrote" => Choice::Wrote,
        "area" => Choice::Area,
        "spread" => Choice::Spread,
        _ => {
            let why = word.strip_prefix("failover_")?;
            Choice::Failover(Unusable::ALL.into_iter().find(|known| known.as_str() == why)?)
        }
    };
    Some((choice, Name::parse(name)?))
}

/// A message for which a sender is looked for.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// In which environment.
    pub environment: Environment,
    /// To whom.
    pub recipient: PhoneNumber,
    /// Why it is sent.
    pub purpose: Purpose,
    /// What it says; `None` where that is not known.
    pub text: Option<&'a str>,
    /// Whether an answer is waited for.
    pub expects_answer: bool,
    /// Of which programme it is said to be.
    pub programme: Option<&'a programme::Name>,
    /// The programmes.
    pub programmes: &'a Programmes,
}

/// Why a sender cannot be used for a message, if it cannot. `is_full` is whether as much went from it today as may; `waits` says
/// why what goes out on a connection would only wait there, if it would: that is [`Unusable::Paused`] or [`Unusable::Down`].
pub fn look(
    sender: Sender,
    wish: Wish<'_>,
    routes: Routes<'_>,
    policy: &registration::Policy,
    is_full: bool,
    waits: impl Fn(ConnectionId) -> Option<Unusable>,
) -> Option<Unusable> {
    let Wish { environment, recipient, purpose, text, expects_answer, programme, programmes } = wish;
    let cannot_receive = expects_answer && !policy.can(&sender, Capability::TextIn);
    let is_of_other = programme.is_some_and(|name| programmes.other_at(sender, name).is_some());
    if cannot_receive
        || is_of_other
        || !policy.refuses(&sender, recipient, purpose, text).is_empty()
        || sender.check_for(recipient).is_err()
    {
        return Some(Unusable::NotAllowed);
    }
    match routing::route(routes, environment, &sender, recipient) {
        None => Some(Unusable::NoRoute),
        Some(_) if is_full => Some(Unusable::Full),
        Some(connection) => waits(connection),
    }
}

/// Chooses the sender for a person. `look` says of each sender why it is passed over, if it is.
///
/// The last one that the person had stays, if it can be used, and else another one that they know; else one that can be used, of
/// the person's area if the pool wants that and there is one; else, where all that are left only wait for something, the same
/// among those; else any, so that it can be said why that may not be used.
pub fn choose(
    pool: &Pool,
    recipient: PhoneNumber,
    last: Last,
    look: impl Fn(&Sender) -> Option<Unusable>,
) -> (Sender, Choice) {
    let sent = last.sent.map(|(sender, _)| (sender, Choice::Sent));
    let wrote = last.wrote.map(|(sender, _)| (sender, Choice::Wrote));
    let known = match (last.sent, last.wrote) {
        (Some((sent_from, at)), Some((wrote_to, later))) if later > at && wrote_to != sent_from => {
            [wrote, sent]
        }
        _ => [sent, wrote],
    };
    let known = || known.into_iter().flatten();
    if let Some(kept) = known().find(|(sender, _)| pool.senders.contains(sender) && look(sender).is_none()) {
        return kept;
    }
    let looked: Vec<(Sender, Option<Unusable>)> =
        pool.senders.iter().map(|sender| (*sender, look(sender))).collect();
    let usable = |waits: bool| {
        let is_usable = move |why: Option<Unusable>| why.is_none_or(|why| waits && why.passes());
        looked.iter().filter(move |(_, why)| is_usable(*why)).map(|(sender, _)| *sender).collect::<Vec<_>>()
    };
    let mut candidates = usable(false);
    if candidates.is_empty() {
        candidates = usable(true);
    }
    if candidates.is_empty() {
        candidates.clone_from(&pool.senders);
    }
    if let Some(kept) = known().find(|(sender, _)| candidates.contains(sender)) {
        return kept;
    }
    let (sender, new) = for_new(pool, recipient, &candidates);
    let choice = known().next().map_or(new, |(had, _)| {
        let found = looked.iter().find(|(sender, _)| *sender == had);
        Choice::Failover(found.map_or(Unusable::Removed, |(_, why)| why.unwrap_or(Unusable::NotAllowed)))
    });
    (sender, choice)
}

/// The sender of somebody who had none. There is at least one candidate.
fn for_new(pool: &Pool, recipient: PhoneNumber, candidates: &[Sender]) -> (Sender, Choice) {
    let nearest = |candidates: &[Sender]| {
        let near = |sender: &Sender| area_digits(*sender, recipient);
        let most = candidates.iter().map(near).max().flatten()?;
        Some(candidates.iter().copied().filter(|sender| near(sender) == Some(most)).collect::<Vec<_>>())
    };
    match pool.area_match.then(|| nearest(candidates)).flatten() {
        Some(near) => (spread(recipient, &near), Choice::Area),
        None => (spread(recipient, candidates), Choice::Spread),
    }
}

/// How many digits after the country's code a sender shares with a number of the same country; `None` if they are not of one
/// area.
fn area_digits(sender: Sender, recipient: PhoneNumber) -> Option<u32> {
    let Sender::PhoneNumber(number) = sender else { return None };
    let country = |number| Place::of(number).map(Place::country);
    if number.calling_code() != recipient.calling_code() || country(number) != country(recipient) {
        return None;
    }
    let (ours, theirs) = (number.digits().to_string(), recipient.digits().to_string());
    let shared = ours.bytes().zip(theirs.bytes()).take_while(|(ours, theirs)| ours == theirs).count();
    let code = recipient.calling_code().to_string().len();
    let shared = u32::try_from(shared.saturating_sub(code)).unwrap_or(u32::MAX);
    let least = if recipient.calling_code() == NANP { AREA_DIGITS_MIN_NANP } else { AREA_DIGITS_MIN };
    (shared >= least).then_some(shared)
}

/// The one that ranks highest with the number: it must never be another one, or people would change their senders. There is at
/// least one.
fn spread(recipient: PhoneNumber, candidates: &[Sender]) -> Sender {
    let of = |sender: &&Sender| (rank(sender.to_string().as_bytes(), recipient.digits()), **sender);
    *candidates.iter().max_by_key(of).expect("a pool has a sender")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sender(text: &str) -> Sender {
        Sender::from_stored(text).unwrap_or_else(|| panic!("{text}"))
    }

    fn number(text: &str) -> PhoneNumber {
        PhoneNumber::from_stored(text).unwrap_or_else(|| panic!("{text}"))
    }

    fn pool(senders: &[&str], area_match: bool) -> Pool {
        let name = Name::parse("support").expect("a name");
        Pool { name, senders: senders.iter().map(|text| sender(text)).collect(), area_match }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000).plus_s(seconds)
    }

    const NEW_YORK: &str = "+12125550101";
    const MIAMI: &str = "+13055550101";
    const TORONTO: &str = "+14165550101";
    const SHORT: &str = "72345";

    #[test]
    fn the_sender_that_a_person_had_stays_and_else_another_takes_its_place() {
        let check = |sent: Option<(&str, i64)>,
                     wrote: Option<(&str, i64)>,
                     bad: &[(&str, Unusable)],
                     expected: &str| {
            let all = pool(&[NEW_YORK, MIAMI, TORONTO, SHORT], true);
            let had = |had: Option<(&str, i64)>| had.map(|(text, seconds)| (sender(text), at(seconds)));
            let last = Last { sent: had(sent), wrote: had(wrote) };
            let look = |of: &Sender| bad.iter().find(|(text, _)| sender(text) == *of).map(|(_, why)| *why);
            let (chosen, choice) = choose(&all, number("+13055552222"), last, look);
            let picked = Picked { pool: all.name.clone(), sender: chosen, choice, seen: None };
            assert_eq!(format!("{chosen} {}", noted(&picked)), expected, "{sent:?} {wrote:?} {bad:?}");
            assert_eq!(read_noted(&noted(&picked)), Some((choice, all.name)));
        };
        use Unusable::*;
        check(None, None, &[], "+13055550101 area support");
        check(Some((TORONTO, 5)), None, &[], "+14165550101 sticky_sent support");
        check(None, Some((SHORT, 5)), &[], "72345 sticky_wrote support");
        check(Some((TORONTO, 5)), Some((SHORT, 4)), &[], "+14165550101 sticky_sent support");
        check(Some((TORONTO, 5)), Some((SHORT, 6)), &[], "72345 sticky_wrote support");
        check(Some((TORONTO, 5)), Some((TORONTO, 6)), &[], "+14165550101 sticky_sent support");
        check(Some((TORONTO, 5)), None, &[(TORONTO, Paused)], "+13055550101 failover_paused support");
        check(Some((TORONTO, 5)), None, &[(TORONTO, Down)], "+13055550101 failover_down support");
        check(
            Some((TORONTO, 5)),
            None,
            &[(TORONTO, NotAllowed)],
            "+13055550101 failover_not_allowed support",
        );
        check(Some((TORONTO, 5)), None, &[(TORONTO, NoRoute)], "+13055550101 failover_no_route support");
        check(Some((TORONTO, 5)), None, &[(TORONTO, Full)], "+13055550101 failover_full support");
        check(Some(("+18005550101", 5)), None, &[], "+13055550101 failover_removed support");
        // Of two that the person knows, the other one comes before those that they do not know.
        let (earlier, later) = (Some((TORONTO, 5)), Some((SHORT, 6)));
        check(earlier, later, &[(SHORT, Paused)], "+14165550101 sticky_sent support");
        check(Some((TORONTO, 6)), Some((SHORT, 5)), &[(TORONTO, Full)], "72345 sticky_wrote support");
        check(earlier, Some(("+18005550101", 6)), &[], "+14165550101 sticky_sent support");
        let both = [(SHORT, NotAllowed), (TORONTO, Paused)];
        check(earlier, later, &both, "+13055550101 failover_not_allowed support");
        // Where all that are left only wait for something, the one that they had waits too.
        let all = |why| [NEW_YORK, MIAMI, TORONTO, SHORT].map(|text| (text, why));
        check(Some((TORONTO, 5)), None, &all(Paused), "+14165550101 sticky_sent support");
        check(Some((TORONTO, 5)), None, &all(Down), "+14165550101 sticky_sent support");
        let mut some = all(NotAllowed);
        some[0].1 = Paused;
        check(Some((TORONTO, 5)), None, &some, &format!("{NEW_YORK} failover_not_allowed support"));
        let mut some = all(Paused);
        some[3].1 = NotAllowed;
        check(earlier, later, &some, "+14165550101 sticky_sent support");
        // Nothing can be used: one is there all the same, about which it can be said why.
        check(Some((TORONTO, 5)), None, &all(NotAllowed), "+14165550101 sticky_sent support");
        check(None, None, &all(NoRoute), "+13055550101 area support");
    }

    #[test]
    fn an_area_is_of_one_country_and_has_enough_digits() {
        let check = |senders: &[&str], to: &str, expected: &str| {
            let (chosen, choice) = choose(&pool(senders, true), number(to), Last::default(), |_| None);
            assert_eq!(format!("{chosen} {}", choice.as_str()), expected, "{senders:?} {to}");
        };
        check(&[NEW_YORK, MIAMI], "+12125552222", "+12125550101 area");
        // The longest wins.
        check(&["+12124440101", NEW_YORK], "+12125552222", "+12125550101 area");
        // 416 is in Canada and 417 in Missouri.
        check(&[TORONTO, "+14175550101"], "+14175552222", "+14175550101 area");
        check(&[TORONTO], "+14175552222", "+14165550101 spread");
        check(&["+13065550101"], "+13055552222", "+13065550101 spread");
        check(&[SHORT, "Acme"], "+46701234567", &{
            let (chosen, _) =
                choose(&pool(&[SHORT, "Acme"], false), number("+46701234567"), Last::default(), |_| None);
            format!("{chosen} spread")
        });
        check(&["+46701111111", "+46811111111"], "+46812345678", "+46811111111 area");
        check(&["+46701111111"], "+46812345678", "+46701111111 spread");
    }

    #[test]
    fn names_are_plain() {
        for (text, is_name) in [
            ("support", true),
            ("a-b_2", true),
            ("", false),
            ("Support", false),
            ("a b", false),
            ("å", false),
        ] {
            assert_eq!(Name::parse(text).is_some(), is_name, "{text:?}");
        }
        assert!(
            Name::parse(&"a".repeat(NAME_MAX)).is_some() && Name::parse(&"a".repeat(NAME_MAX + 1)).is_none()
        );
        assert_eq!(Name::after_prefix("pool:support"), Some("support"));
        assert_eq!(Name::after_prefix("Acme"), None);
        assert_eq!(read_noted("failover_nothing support"), None);
        assert_eq!(read_noted("area"), None);
    }

    #[test]
    fn the_spread_is_even_and_stays_as_it_is() {
        let senders = ["+12125550101", "+12125550102", "+12125550103", "Acme"];
        let all = pool(&senders, false);
        let mut share = [0_u32; 4];
        for n in 0..8_000 {
            let to = PhoneNumber::from_digits(14_165_550_000 + n * 7).expect("a number");
            let (chosen, _) = choose(&all, to, Last::default(), |_| None);
            share[all.senders.iter().position(|sender| *sender == chosen).expect("of the pool")] += 1;
        }
        assert!(share.iter().all(|share| (1_850..2_150).contains(share)), "{share:?}");
        // What people have must be theirs in the next release too.
        let digest = (0..64).fold(0_u64, |sum, n| sum.rotate_left(5) ^ rank(b"Acme", 46_700_000_000 + n));
        assert_eq!(digest, 15_214_509_185_137_272_055);
    }

    proptest! {
        /// The order of the configuration decides nothing; taking one sender away moves only those who had it; and nothing
        /// that cannot be used is chosen while something can.
        #[test]
        fn who_can_keep_a_sender_keeps_it(
            digits in 46_700_000_000_u64..46_800_000_000, out in 0_usize..5, bad in prop::collection::vec(0_usize..5, 0..5)
        ) {
            let senders = ["+46701111111", "+46702222222", "+46703333333", "Acme", "72345"];
            let to = PhoneNumber::from_digits(digits).unwrap();
            let choose_of = |senders: &[&str], look: &dyn Fn(&Sender) -> Option<Unusable>| {
                choose(&pool(senders, false), to, Last::default(), look).0
            };
            let all = choose_of(&senders, &|_| None);
            let turned: Vec<&str> = senders.iter().rev().copied().collect();
            prop_assert_eq!(choose_of(&turned, &|_| None), all);
            let left: Vec<&str> = senders.iter().copied().filter(|text| *text != senders[out]).collect();
            if all != sender(senders[out]) {
                prop_assert_eq!(choose_of(&left, &|_| None), all);
            }
            let is_bad = |of: &Sender| bad.iter().any(|n| sender(senders[*n]) == *of);
            let chosen = choose_of(&senders, &|of| is_bad(of).then_some(Unusable::NotAllowed));
            prop_assert!(!is_bad(&chosen) || senders.iter().all(|text| is_bad(&sender(text))));
        }
    }
}
