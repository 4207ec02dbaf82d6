//! Ids: one form for every noun.
//!
//! An id is a positive 63-bit integer that sorts by time, printed as a prefix and 13 characters of
//! Crockford's base 32: `msg_01j8z0k2m4p6q`. The integer is the primary key in the store, so there is no
//! second index from the public id to the row. [`Sequence`] makes them; it is given the time and never reads it.

use crate::time::Timestamp;
use std::fmt;

/// Characters of the printed integer, without the prefix.
pub const PRINTED_LEN: usize = 13;

/// 2024-01-01T00:00:00Z: ids count their milliseconds from here, so that 41 bits last until 2093.
const EPOCH_MS: i64 = 1_704_067_200_000;
/// Bits below the milliseconds: 10 of the node and 12 of a counter.
const NODE_BITS: u32 = 10;
const COUNT_BITS: u32 = 12;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Makes ids that grow: 4,096 a millisecond and node; a faster caller borrows from the next millisecond.
#[derive(Debug)]
pub struct Sequence {
    node: i64,
    last: i64,
}

impl Sequence {
    /// `node` tells two running nodes apart; only its lowest 10 bits count.
    pub fn new(node: u16) -> Self {
        Self { node: i64::from(node) & ((1 << NODE_BITS) - 1), last: 0 }
    }

    /// The next id's integer. Grows even when the clock stands still or goes back.
    pub fn next(&mut self, now: Timestamp) -> i64 {
        let from_clock = (now.as_millis() - EPOCH_MS).max(0) << COUNT_BITS;
        self.last = from_clock.max(self.last + 1);
        let (millis, count) = (self.last >> COUNT_BITS, self.last & ((1 << COUNT_BITS) - 1));
        (millis << (NODE_BITS + COUNT_BITS)) | (self.node << COUNT_BITS) | count
    }

    /// From now on every id is greater than this one, whoever made it.
    pub fn pass(&mut self, id: i64) {
        const COUNT: i64 = (1 << COUNT_BITS) - 1;
        let (millis, node) = (id >> (NODE_BITS + COUNT_BITS), (id >> COUNT_BITS) & ((1 << NODE_BITS) - 1));
        // Ids of one millisecond sort by their node first.
        let count = if node == self.node { id & COUNT } else { COUNT };
        self.last = self.last.max((millis << COUNT_BITS) | count);
    }
}

/// The smallest id integer that could have been made at `at`: a floor for searches by time.
pub fn floor_at(at: Timestamp) -> i64 {
    (at.as_millis() - EPOCH_MS).clamp(0, (1 << 41) - 1) << (NODE_BITS + COUNT_BITS)
}

/// Bits of a place in the event log below its seconds: so many events a second, and a log that is faster borrows from the
/// seconds to come.
const PLACE_BITS: u32 = 17;

/// The first place in the event log of the second of `at`. Like ids, places tell the time, so that history can be cut by
/// it; they are kept shorter, because they stand in many rows. They last until 2092.
pub fn place_at(at: Timestamp) -> i64 {
    ((at.as_millis() - EPOCH_MS).div_euclid(1_000)).clamp(0, (1 << 31) - 1) << PLACE_BITS
}

/// The second that a place in the event log tells.
pub fn place_time(place: i64) -> Timestamp {
    Timestamp::from_millis(EPOCH_MS + (place >> PLACE_BITS) * 1_000)
}

/// The place of an event that happened at `at`, behind the last one. Places only grow, whatever the clock does.
pub fn next_place(last: i64, at: Timestamp) -> i64 {
    place_at(at).max(last + 1)
}

/// Why a text is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidId {
    /// The prefix that was wanted, such as `msg`.
    pub prefix: &'static str,
}

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an id of this kind looks like {}_ and {PRINTED_LEN} characters", self.prefix)
    }
}

impl std::error::Error for InvalidId {}

fn print(prefix: &str, value: i64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut digits = [b'0'; PRINTED_LEN];
    let mut rest = value;
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[(rest & 31) as usize];
        rest >>= 5;
    }
    let digits = std::str::from_utf8(&digits).expect("the alphabet is ASCII");
    write!(f, "{prefix}_{digits}")
}

fn parse(prefix: &'static str, text: &str) -> Result<i64, InvalidId> {
    let invalid = InvalidId { prefix };
    let digits = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_')).ok_or(invalid.clone())?;
    if digits.len() != PRINTED_LEN {
        return Err(invalid);
    }
    let mut value: i64 = 0;
    for byte in digits.bytes() {
        let digit = ALPHABET.iter().position(|&c| c == byte).ok_or(invalid.clone())? as i64;
        value = value.checked_mul(32).and_then(|v| v.checked_add(digit)).ok_or(invalid.clone())?;
    }
    Ok(value)
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(i64);

        impl $name {
            /// What the printed form begins with.
            pub const PREFIX: &'static str = $prefix;

            /// From the store's integer.
            pub const fn from_key(key: i64) -> Self { Self(key) }

            /// The store's integer.
            pub const fn key(self) -> i64 { self.0 }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { print($prefix, self.0, f) }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> { parse($prefix, text).map(Self) }
        }
    )*};
}

ids! {
    /// A tenant.
    AccountId = "acc";
    /// One outbound message to one recipient.
    MessageId = "msg";
    /// Messages that were accepted by one call.
    BatchId = "bat";
    /// A fact in the event log. Its integer is the feed's cursor.
    EventId = "evt";
    /// A customer's address for webhooks.
    EndpointId = "whk";
    /// One configured link to a carrier.
    ConnectionId = "cnx";
    /// A bearer token's record (the secret is never an id).
    TokenId = "tok";
    /// An OAuth 2 client.
    ClientId = "cli";
    /// An entry that stops sending.
    SuppressionId = "sup";
    /// An entry of what people agreed to.
    ConsentId = "con";
    /// A request for consent.
    ConsentRequestId = "crq";
    /// A failure that a person must look at.
    ReviewId = "rev";
    /// A message that came from a phone.
    InboundId = "inb";
    /// A line of the audit trail.
    AuditId = "aud";
    /// A one-time code; the number is that of its first message.
    CodeId = "cod";
    /// A person with the numbers that they can be reached at.
    ContactId = "ctc";
    /// A segment of contacts.
    SegmentId = "seg";
    /// A table of contacts that is read and then taken over.
    ImportId = "imp";
    /// A template, with all its versions.
    TemplateId = "tpl";
    /// What was said between a person and one of our senders.
    ConversationId = "cnv";
    /// A note in a conversation.
    NoteId = "not";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_itself_and_sorts_by_time() {
        let mut sequence = Sequence::new(3);
        let now = Timestamp::from_millis(EPOCH_MS + 86_400_000);
        let mut last = MessageId::from_key(0);
        for _ in 0..10_000 {
            let id = MessageId::from_key(sequence.next(now));
            assert!(id > last && id.to_string() > last.to_string());
            assert_eq!(id.to_string().parse(), Ok(id));
            last = id;
        }
    }

    #[test]
    fn a_clock_that_goes_back_does_not_repeat_an_id() {
        let mut sequence = Sequence::new(0);
        let first = sequence.next(Timestamp::from_millis(EPOCH_MS + 10_000));
        assert!(sequence.next(Timestamp::from_millis(EPOCH_MS + 1)) > first);
    }

    #[test]
    fn ids_after_another_makers_are_greater() {
        let now = Timestamp::from_millis(EPOCH_MS + 10_000);
        for maker in [0, 3, 1_023] {
            let mut others = Sequence::new(maker);
            let last = (0..5).map(|_| others.next(now)).last().expect("five");
            let mut sequence = Sequence::new(3);
            sequence.pass(last);
            assert!(sequence.next(Timestamp::from_millis(EPOCH_MS)) > last, "{maker}");
        }
    }

    #[test]
    fn places_in_the_log_grow_and_tell_the_time_as_far_as_they_can() {
        let now = Timestamp::from_millis(EPOCH_MS + 86_400_000);
        let first = next_place(7, now);
        assert_eq!((first, place_time(first + 9)), (place_at(now), now));
        assert_eq!(next_place(first, now), first + 1);
        assert_eq!(next_place(first, Timestamp::from_millis(0)), first + 1, "a clock that went back");
        assert_eq!(next_place(first, now.plus_ms(1_000)), place_at(now.plus_ms(1_000)));
        assert!(place_at(now.plus_ms(1_000)) - first == 1 << PLACE_BITS);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "msg_",
            "evt_0000000000001",
            "msg_000000000000",
            "msg_zzzzzzzzzzzzz",
            "msg_00000000000o1",
            "MSG_0000000000001",
        ] {
            assert!(text.parse::<MessageId>().is_err(), "{text}");
        }
    }
}
