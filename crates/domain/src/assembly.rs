//! A message of a person, put together from the parts in which the network carries it.
//!
//! A part says of which message it is: by a reference, which the phone chooses, and the number of parts. Phones use
//! references again, networks lose parts, repeat them and change their order. The rules:
//!
//! 1. What ties parts together is where they came in, from whom, to whom, their reference and their total. References of 8
//!    and 16 bits are compared as numbers, because carriers turn one into the other (`sar_msg_ref_num` always has 16).
//! 2. The same part again, octet by octet, is a repetition, also after its message was told, for [`REPEAT_MS`].
//! 3. Another text under a number that is taken is another message, whose phone uses the reference again. The one before it
//!    is told as it is; nothing is mixed.
//! 4. A message is told when its last part is there, or when it has waited long enough, or when too many wait
//!    ([`Bounds`]): then with [`GAP`] where parts are missing, which are named. Nothing is dropped.
//! 5. One in which somebody seems to ask for no more messages waits for [`OPT_OUT_WAIT_MS`] at most.
//!
//! What cannot be told apart: a second message under the same reference, while the first one waits for exactly the parts of
//! it that come. It is put together with the first.
//!
//! Sources: 3GPP TS 23.040 §9.2.3.24.1 and §9.2.3.24.8 (concatenated messages), SMPP 3.4 §5.3.2.22 to §5.3.2.24 (`sar_…`).

use crate::id::{ConnectionId, InboundId};
use crate::keyword::{self, Class, Keyword};
use crate::text::{self, Part, Segment};
use crate::time::Timestamp;
use std::collections::BTreeMap;

/// Stands in the text where one part is missing, or several in a row. People may write it too: which parts are missing is
/// said beside the text.
pub const GAP: &str = "[…]";
/// How long a message waits for its parts if nobody says otherwise, from its first one: seconds. Parts come within seconds
/// of each other; a network that has lost one tries for some minutes.
pub const WAIT_S: u32 = 180;
/// How long a message waits at most once a part came that may ask for no more messages: ms. A person who wrote that is not
/// to wait because a part was lost.
pub const OPT_OUT_WAIT_MS: i64 = 10_000;
/// How long a part is known again after its message was told: ms. Carriers offer again what was not acknowledged.
pub const REPEAT_MS: i64 = 15 * 60_000;
/// Messages under one reference that are looked at, the newest ones: a phone that uses a reference again does so after a
/// while, and a flood of them is not to make each part slower than the one before.
pub const KNOWN_MAX: usize = 8;
/// Octets of a part's text. The network carries 140, which are 160 characters. What is longer and says that it is a part
/// was never one on the air, and is told by itself: so a bound on messages that wait is one on their octets.
pub const PART_OCTETS_MAX: usize = 255;

/// How many messages may wait for parts. Over a bound the one that is due first is told at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// From one sender on one connection.
    pub sender: usize,
    /// On one connection.
    pub connection: usize,
    /// Altogether.
    pub all: usize,
}

impl Default for Bounds {
    /// A phone sends one message after the other. A connection with a hundred long messages a second, each complete within
    /// ten seconds, has a thousand. All together are some 260 MB on the disk, if each lacks the last of 255 parts.
    fn default() -> Self {
        Self { sender: 16, connection: 2_000, all: 4_000 }
    }
}

/// Which part of a message a segment is; `None` if it is a message by itself.
pub fn place(segment: &Segment) -> Option<Part> {
    segment.part.filter(|part| part.total > 1 && segment.octets.len() <= PART_OCTETS_MAX)
}

/// The parts of one message, as far as they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assembly {
    total: u8,
    parts: BTreeMap<u8, Segment>,
}

/// What a message says, as far as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Its text, with [`GAP`] where something is missing. What could not be read is U+FFFD, and so is NUL, which nothing
    /// shows and not every program keeps.
    pub text: String,
    /// The numbers of the parts that are missing, in their order.
    pub missing: Vec<u8>,
    /// What it asks.
    pub keyword: Keyword,
}

impl Assembly {
    /// A message that has only this part so far, or is nothing else.
    pub fn of(segment: Segment) -> Self {
        let (total, number) = place(&segment).map_or((1, 1), |part| (part.total, part.number));
        Self { total, parts: BTreeMap::from([(number, segment)]) }
    }

    /// A message of so many parts (at least one) of which these are there, as the store has them.
    pub fn stored(total: u8, parts: impl IntoIterator<Item = (u8, Segment)>) -> Self {
        Self { total: total.max(1), parts: parts.into_iter().collect() }
    }

    /// Adds a part that [`judge`] found to be new here.
    pub fn add(&mut self, number: u8, segment: Segment) {
        self.parts.insert(number, segment);
    }

    /// Whether nothing is missing.
    pub fn is_whole(&self) -> bool {
        self.parts.len() == usize::from(self.total)
    }

    /// The parts that are there, by number.
    pub const fn parts(&self) -> &BTreeMap<u8, Segment> {
        &self.parts
    }

    /// Reads what is there.
    pub fn read(&self) -> Said {
        let missing: Vec<u8> = (1..=self.total).filter(|number| !self.parts.contains_key(number)).collect();
        let mut text = String::new();
        let mut keyword = Keyword::NOTHING;
        let mut run: Vec<Segment> = Vec::new();
        // What stands on both sides of a gap is not one text: neither a character nor a word goes over it.
        let mut end = |run: &mut Vec<Segment>, text: &mut String| {
            let part = readable(&text::join(run));
            let asks =
                if missing.is_empty() { keyword::classify(&part) } else { keyword::classify_part(&part) };
            if weight(asks.class) > weight(keyword.class) {
                keyword = asks;
            }
            text.push_str(&part);
            run.clear();
        };
        let mut in_gap = false;
        for number in 1..=self.total {
            match self.parts.get(&number) {
                Some(segment) => run.push(segment.clone()),
                None if in_gap => continue,
                None => {
                    end(&mut run, &mut text);
                    text.push_str(GAP);
                }
            }
            in_gap = !self.parts.contains_key(&number);
        }
        end(&mut run, &mut text);
        Said { text, missing, keyword }
    }
}

/// Of the runs of a message with gaps the one that asks most decides.
const fn weight(class: Class) -> u8 {
    match class {
        Class::Nothing => 0,
        Class::Help => 1,
        Class::Start => 2,
        Class::Doubtful => 3,
        Class::Stop => 4,
    }
}

fn readable(text: &str) -> String {
    text.replace('\0', "\u{FFFD}")
}

/// A message that came under the reference of a part.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// Its id.
    pub id: InboundId,
    /// Whether it still waits for parts. It has been told otherwise.
    pub waits: bool,
    /// Its parts.
    pub assembly: &'a Assembly,
}

/// What becomes of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placing {
    /// Nothing: it came before.
    Repeated,
    /// It belongs to this message.
    Joins(InboundId),
    /// It is the first of another message.
    Begins {
        /// A message that gets no further parts now, and is told as it is.
        ends: Option<InboundId>,
    },
}

/// Says where a part belongs, given the messages under its reference that wait or were told within [`REPEAT_MS`], the
/// newest [`KNOWN_MAX`] of them.
pub fn judge(known: &[Known<'_>], number: u8, segment: &Segment) -> Placing {
    if known.iter().any(|message| message.assembly.parts.get(&number) == Some(segment)) {
        return Placing::Repeated;
    }
    match known.iter().find(|message| message.waits) {
        Some(message) if !message.assembly.parts.contains_key(&number) => Placing::Joins(message.id),
        Some(message) => Placing::Begins { ends: Some(message.id) },
        None => Placing::Begins { ends: None },
    }
}

/// Until when a message waits for further parts, given until when it waited before this part.
pub fn waits_until(until: Timestamp, part: &Segment, now: Timestamp) -> Timestamp {
    match keyword::classify_part(&part.text()).class {
        Class::Stop | Class::Doubtful => until.min(now.plus_ms(OPT_OUT_WAIT_MS)),
        Class::Nothing | Class::Start | Class::Help => until,
    }
}

/// A message that waits for parts, as far as the bounds are concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its id.
    pub id: InboundId,
    /// Where it came in.
    pub connection: ConnectionId,
    /// From whom.
    pub from: String,
    /// Until when it waits.
    pub until: Timestamp,
}

/// Which message must be told because too many wait, after this one, which is among them, has begun to.
pub fn surplus(waiting: &[Head], newest: &Head, bounds: Bounds) -> Option<InboundId> {
    let first = |most: usize, counts: &dyn Fn(&Head) -> bool| {
        let counted = || waiting.iter().filter(|head| counts(head));
        if counted().count() <= most {
            return None;
        }
        counted().min_by_key(|head| (head.until, head.id)).map(|head| head.id)
    };
    first(bounds.sender, &|head| head.connection == newest.connection && head.from == newest.from)
        .or_else(|| first(bounds.connection, &|head| head.connection == newest.connection))
        .or_else(|| first(bounds.all, &|_| true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{Charset, Concatenation, Options, split};
    use proptest::prelude::*;

    fn parts_of(text: &str, options: &Options) -> Vec<Segment> {
        split(text, options, 7).expect("it fits")
    }

    /// A part of three, in Latin-1.
    fn part(number: u8, text: &str) -> Segment {
        let place = Part { reference: 9, total: 3, number };
        Segment::received(Charset::Latin1, text.as_bytes(), false, Some(place))
    }

    fn id(n: i64) -> InboundId {
        InboundId::from_key(n)
    }

    /// What a message says of which these parts came.
    fn said(parts: &[Segment]) -> Said {
        let mut assembly = Assembly::of(parts[0].clone());
        for part in parts {
            assembly.add(place(part).expect("a part").number, part.clone());
        }
        assembly.read()
    }

    #[test]
    fn what_is_missing_leaves_a_mark_and_is_named() {
        let check = |numbers: &[u8], text: &str, missing: &[u8]| {
            let parts: Vec<Segment> = numbers
                .iter()
                .map(|&number| part(number, ["one ", "two ", "three"][usize::from(number - 1)]))
                .collect();
            let said = said(&parts);
            assert_eq!((said.text.as_str(), said.missing.as_slice()), (text, missing), "{numbers:?}");
        };
        check(&[3, 1, 2], "one two three", &[]);
        check(&[1, 3], "one […]three", &[2]);
        check(&[1], "one […]", &[2, 3]);
        check(&[2], "[…]two […]", &[1, 3]);
        check(&[3], "[…]three", &[1, 2]);
    }

    #[test]
    fn a_part_is_placed_by_what_is_known_of_its_reference() {
        let of = |parts: &[(u8, &str)]| {
            Assembly::stored(3, parts.iter().map(|(number, text)| (*number, part(*number, text))))
        };
        let (first, second) = (of(&[(1, "x"), (2, "y")]), of(&[(1, "a")]));
        let check = |known: &[Known<'_>], number: u8, text: &str, expected: Placing| {
            assert_eq!(judge(known, number, &part(number, text)), expected, "{number} {text}");
        };
        let waits = [
            Known { id: id(2), waits: true, assembly: &second },
            Known { id: id(1), waits: false, assembly: &first },
        ];
        check(&[], 1, "a", Placing::Begins { ends: None });
        check(&waits, 2, "b", Placing::Joins(id(2)));
        check(&waits, 1, "a", Placing::Repeated);
        check(&waits, 1, "x", Placing::Repeated);
        check(&waits, 2, "y", Placing::Repeated);
        // The reference is used again.
        check(&waits, 1, "new", Placing::Begins { ends: Some(id(2)) });
        check(&waits[1..], 1, "new", Placing::Begins { ends: None });
        // A part that was given up comes late: nobody waits for it any more.
        check(&waits[1..], 3, "late", Placing::Begins { ends: None });
    }

    #[test]
    fn only_what_the_network_carries_in_parts_waits() {
        let of = |total, number, octets: usize| {
            let part = Part { reference: 1, total, number };
            place(&Segment::received(Charset::Gsm7, &vec![b'a'; octets], false, Some(part))).is_some()
        };
        assert!(of(2, 1, 10) && of(255, 255, PART_OCTETS_MAX));
        assert!(!of(1, 1, 10), "it is whole");
        assert!(
            !of(2, 0, 10) && !of(2, 3, 10) && !of(0, 0, 10),
            "TS 23.040 §9.2.3.24.1: as if it were not there"
        );
        assert!(!of(2, 1, PART_OCTETS_MAX + 1), "it was never on the air");
    }

    /// P-22
    #[test]
    fn who_may_ask_for_no_more_does_not_wait_for_a_part_that_is_lost() {
        let now = Timestamp::from_millis(1_000_000);
        let (until, soon) = (now.plus_s(180), now.plus_ms(OPT_OUT_WAIT_MS));
        let check = |text: &str, expected: Timestamp| {
            assert_eq!(waits_until(until, &part(1, text), now), expected, "{text}");
        };
        check("please do not text me again", soon);
        check("stop", soon);
        check("see you on", until);
        check("start", until);
        assert_eq!(waits_until(now, &part(1, "stop"), now), now);
        let asks = |parts: &[Segment]| said(parts).keyword.class;
        assert_eq!(asks(&[part(1, "please do not text me "), part(3, "bye")]), Class::Stop);
        assert_eq!(asks(&[part(1, "stop"), part(3, "bye")]), Class::Doubtful, "it may be the end of a word");
        assert_eq!(asks(&[part(1, "start")]), Class::Nothing);
        assert_eq!(asks(&[part(1, "please do not"), part(2, " text "), part(3, "me")]), Class::Stop);
        // Nothing is read over a gap.
        assert_eq!(asks(&[part(1, "please do not "), part(3, "text me")]), Class::Nothing);
        assert_eq!(asks(&[part(1, "s"), part(2, "to"), part(3, "p")]), Class::Stop);
    }

    #[test]
    fn over_a_bound_the_one_that_is_due_first_is_told() {
        let bounds = Bounds { sender: 2, connection: 3, all: 4 };
        let head = |n: i64, connection: i64, from: &str, until: i64| Head {
            id: id(n),
            connection: ConnectionId::from_key(connection),
            from: from.to_owned(),
            until: Timestamp::from_millis(until),
        };
        let check = |waiting: &[Head], expected: Option<i64>| {
            let newest = waiting.last().expect("one began");
            assert_eq!(surplus(waiting, newest, bounds), expected.map(id), "{waiting:?}");
        };
        check(&[head(1, 1, "a", 5), head(2, 1, "a", 6)], None);
        check(&[head(1, 1, "a", 5), head(2, 1, "a", 4), head(3, 1, "a", 6)], Some(2));
        check(&[head(1, 1, "a", 5), head(2, 2, "a", 4), head(3, 1, "a", 6)], None);
        check(&[head(1, 1, "a", 5), head(2, 1, "b", 5), head(3, 1, "c", 6), head(4, 1, "d", 7)], Some(1));
        let all = [
            head(1, 1, "a", 5),
            head(2, 1, "b", 5),
            head(3, 2, "c", 3),
            head(4, 2, "d", 7),
            head(5, 3, "e", 9),
        ];
        check(&all, Some(3));
    }

    #[test]
    fn nothing_is_lost_that_can_be_read_and_the_rest_is_marked() {
        let ucs2 = |number, octets: &[u8]| {
            Segment::received(Charset::Ucs2, octets, false, Some(Part { reference: 9, total: 3, number }))
        };
        // A pair cut in two; half of one before a gap; NUL.
        let (high, low) = (ucs2(1, &[0, 0x41, 0xD8, 0x3D]), ucs2(2, &[0xDE, 0, 0, 0]));
        assert_eq!(said(&[low, high.clone(), ucs2(3, &[0, 0x42])]).text, "A😀\u{FFFD}B");
        assert_eq!(said(&[high, ucs2(3, &[0xDE, 0])]).text, "A\u{FFFD}[…]\u{FFFD}");
        // An escape and its character; alphabets that change.
        let gsm = |number, octets: &[u8]| {
            Segment::received(Charset::Gsm7, octets, false, Some(Part { reference: 9, total: 3, number }))
        };
        assert_eq!(said(&[gsm(1, &[0x61, 0x1B]), gsm(2, &[0x65]), ucs2(3, &[0x04, 0x36])]).text, "a€ж");
    }

    proptest! {
        /// P-21
        #[test]
        fn parts_in_any_order_with_repetitions_give_the_text(
            text in "[a-zA-Z €\\[ж😀]{1,900}",
            concatenation in prop_oneof![
                Just(Concatenation::Header8), Just(Concatenation::Header16), Just(Concatenation::Sar)
            ],
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
            seed in any::<u64>(),
        ) {
            let parts = parts_of(&text, &Options { concatenation, ..Options::default() });
            let mut arriving: Vec<Segment> = order.iter().map(|index| index.get(&parts).clone()).collect();
            let mut shuffled = parts.clone();
            let by = seed as usize % shuffled.len();
            shuffled.rotate_left(by);
            if seed & 1 == 1 {
                shuffled.reverse();
            }
            arriving.extend(shuffled);
            if parts.len() == 1 {
                prop_assert_eq!(place(&parts[0]), None);
                prop_assert_eq!(Assembly::of(parts[0].clone()).read().text, text);
                return Ok(());
            }
            let mut message: Option<Assembly> = None;
            let mut told: Vec<Said> = Vec::new();
            for segment in arriving {
                let number = place(&segment).expect("a part").number;
                let known = |assembly| Known { id: id(1), waits: told.is_empty(), assembly };
                match judge(message.as_ref().map(known).as_slice(), number, &segment) {
                    Placing::Repeated => continue,
                    Placing::Begins { ends } => {
                        prop_assert_eq!((ends, message.is_some()), (None, false));
                        message = Some(Assembly::of(segment));
                    }
                    Placing::Joins(_) => message.as_mut().expect("it was begun").add(number, segment),
                }
                told.extend(message.as_ref().filter(|message| message.is_whole()).map(Assembly::read));
            }
            prop_assert_eq!(told.len(), 1, "it is told once");
            prop_assert_eq!(&told[0].text, &text);
            prop_assert!(told[0].missing.is_empty());
        }

        #[test]
        fn as_many_wait_as_the_bounds_allow(senders in prop::collection::vec(0_u8..6, 1..120)) {
            let bounds = Bounds { sender: 3, connection: 7, all: 9 };
            let mut waiting: Vec<Head> = Vec::new();
            for (n, sender) in senders.into_iter().enumerate() {
                let newest = Head {
                    id: id(n as i64),
                    connection: ConnectionId::from_key(i64::from(sender % 2)),
                    from: sender.to_string(),
                    until: Timestamp::from_millis(n as i64),
                };
                waiting.push(newest.clone());
                if let Some(surplus) = surplus(&waiting, &newest, bounds) {
                    waiting.retain(|head| head.id != surplus);
                }
                prop_assert_eq!(surplus(&waiting, &newest, bounds), None, "one is enough");
                prop_assert!(waiting.len() <= bounds.all);
            }
        }
    }
}
