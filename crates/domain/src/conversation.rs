//! Conversations: what was said between a person and one of our senders, and whether somebody of us must answer.
//!
//! There is one conversation for a pair of numbers, for ever. Its entries are what the person sent, what was sent to the
//! person as a part of it, and notes that only we see. How it stands ([`Conversation::status`]) is not set by anybody but
//! follows from three places among its entries: the last that asks for an answer, the last that we sent and that was not
//! lost on its way, and the one at which it was closed. So what a person writes opens it again, and nobody can forget to.
//!
//! What this does not know: who the person is, and who works here: an assignee is a name.

use crate::account::Realm;
use crate::address::PhoneNumber;
use crate::id::{ConversationId, InboundId, MessageId, NoteId};
use crate::keyword::Class;
use crate::message::Status as Sent;
use crate::reply::{self, Reply};
use crate::sender::Sender;
use crate::time::Timestamp;
use std::fmt;
use unicode_segmentation::UnicodeSegmentation;

/// Characters of the name of somebody of us.
pub const NAME_MAX: usize = 100;
/// Characters of a note.
pub const NOTE_MAX: usize = 5_000;
/// Tags of one conversation.
pub const TAGS_MAX: usize = 20;
/// Characters of a tag.
pub const TAG_MAX: usize = 30;
/// Different words of an entry that a search finds it by: more than ten segments have.
pub const WORDS_MAX: usize = 400;
/// Characters of a word that are kept; longer ones are no words of people.
const WORD_MAX: usize = 40;

/// What was said between a person and one of our senders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// Its id.
    pub id: ConversationId,
    /// Whose.
    pub realm: Realm,
    /// With whom.
    pub person: PhoneNumber,
    /// From which of our senders.
    pub sender: Sender,
    /// The last entry.
    pub last: Entry,
    /// How many entries there were: the place of the last, from 1.
    pub entries: u32,
    /// The place of the last entry of the person that asks for an answer; 0 for none.
    pub asked: u32,
    /// The place of the last message to the person that is not [lost](is_lost). Once one was, 0 if the person asked since the
    /// one before it, and also if there is none.
    pub answered: u32,
    /// The place of the entry at which it was closed; 0 for none.
    pub closed: u32,
    /// Until when nobody wants to be reminded of it.
    pub snoozed_until: Option<Timestamp>,
    /// Who looks after it.
    pub assignee: Option<String>,
    /// Words of ours to find it by, in their order.
    pub tags: Vec<String>,
    /// When it began.
    pub created_at: Timestamp,
    /// When its last entry came.
    pub last_at: Timestamp,
}

/// What an entry is, by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entry {
    /// Something that the person sent.
    Inbound(InboundId),
    /// Something that was sent to the person.
    Message(MessageId),
    /// Something that only we see.
    Note(NoteId),
}

impl Entry {
    /// The number that the store keeps for its kind.
    pub const fn kind(self) -> i64 {
        match self {
            Self::Inbound(_) => 0,
            Self::Message(_) => 1,
            Self::Note(_) => 2,
        }
    }

    /// The number of its id.
    pub const fn key(self) -> i64 {
        match self {
            Self::Inbound(id) => id.key(),
            Self::Message(id) => id.key(),
            Self::Note(id) => id.key(),
        }
    }

    /// From these two numbers.
    pub const fn stored(kind: i64, key: i64) -> Option<Self> {
        match kind {
            0 => Some(Self::Inbound(InboundId::from_key(key))),
            1 => Some(Self::Message(MessageId::from_key(key))),
            2 => Some(Self::Note(NoteId::from_key(key))),
            _ => None,
        }
    }

    /// From its printed id.
    pub fn parse(text: &str) -> Option<Self> {
        let inbound = text.parse().map(Self::Inbound);
        inbound.or_else(|_| text.parse().map(Self::Message)).or_else(|_| text.parse().map(Self::Note)).ok()
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inbound(id) => id.fmt(f),
            Self::Message(id) => id.fmt(f),
            Self::Note(id) => id.fmt(f),
        }
    }
}

/// How a conversation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// The person wrote last, and it was neither closed nor put off since.
    NeedsReply,
    /// Nothing is to be done: we wrote last, or what the person wrote was answered by itself.
    Waiting,
    /// Put off until a moment that has not come.
    Snoozed,
    /// Somebody closed it, and nothing came since.
    Closed,
}

impl Status {
    /// The public words.
    pub const WORDS: &[&str] = &["needs_reply", "waiting", "snoozed", "closed"];

    /// The public word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NeedsReply => "needs_reply",
            Self::Waiting => "waiting",
            Self::Snoozed => "snoozed",
            Self::Closed => "closed",
        }
    }

    /// From the public word.
    pub fn parse(word: &str) -> Option<Self> {
        let all = [Self::NeedsReply, Self::Waiting, Self::Snoozed, Self::Closed];
        all.into_iter().find(|status| status.as_str() == word)
    }
}

/// Whether what a person wrote asks somebody of us for an answer. What asks by a keyword that is understood is done and
/// answered by itself.
pub const fn asks(class: Class) -> bool {
    matches!(class, Class::Nothing | Class::Doubtful)
}

/// Whether somebody who saw this entry saw all that people said: it is the last, or the last is what a rule answered to it.
/// `reply` is what the last one is an answer to, if it is a message that answers by itself.
pub fn saw_all(seen: Entry, last: Entry, reply: Option<Reply>) -> bool {
    let by_rule = reply.filter(|reply| reply.kind == reply::Kind::Rule).map(|reply| Entry::Inbound(reply.to));
    seen == last || by_rule == Some(seen)
}

/// Whether a message that stands so will certainly not reach its person, so that it answers nothing. One of which nobody knows
/// may have.
pub const fn is_lost(status: Sent) -> bool {
    match status {
        Sent::Undelivered | Sent::Failed | Sent::Rejected | Sent::Expired | Sent::Canceled => true,
        Sent::Scheduled | Sent::Queued | Sent::Sending | Sent::Sent | Sent::Delivered | Sent::Unconfirmed => {
            false
        }
    }
}

/// What somebody of us does with a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Gives it to somebody, or to nobody.
    Assign(Option<String>),
    /// Adds tags, and takes others away.
    Tag {
        /// Those that it gets.
        add: Vec<String>,
        /// Those that it loses.
        remove: Vec<String>,
    },
    /// Puts it off until a moment.
    Snooze(Timestamp),
    /// Closes it until something comes.
    Close,
    /// Opens it again, as it was before it was closed or put off.
    Reopen,
}

impl Change {
    /// The word for the audit trail.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Assign(_) => "conversation.assign",
            Self::Tag { .. } => "conversation.tag",
            Self::Snooze(_) => "conversation.snooze",
            Self::Close => "conversation.close",
            Self::Reopen => "conversation.reopen",
        }
    }
}

/// What a rule did with a conversation when something came in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Routed {
    /// Who gets it, if nobody has it.
    pub assignee: Option<String>,
    /// The tags that it gets, as far as there is room.
    pub tags: Vec<String>,
}

/// There are more tags than a conversation may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyTags;

impl Conversation {
    /// One that begins with this entry.
    pub fn begun(
        id: ConversationId,
        realm: Realm,
        person: PhoneNumber,
        sender: Sender,
        first: Entry,
        at: Timestamp,
    ) -> Self {
        Self {
            id,
            realm,
            person,
            sender,
            last: first,
            entries: 0,
            asked: 0,
            answered: 0,
            closed: 0,
            snoozed_until: None,
            assignee: None,
            tags: Vec::new(),
            created_at: at,
            last_at: at,
        }
    }

    /// Adds an entry and gives its place. `asks` says whether somebody of us must answer after it: for what a person sent
    /// that it wants an answer, for a message to the person that it was sent by itself and answers nothing.
    pub fn add(&mut self, entry: Entry, asks: bool, at: Timestamp) -> u32 {
        self.entries += 1;
        self.last = entry;
        self.last_at = at;
        match entry {
            Entry::Inbound(_) if asks => {
                self.asked = self.entries;
                self.snoozed_until = None;
            }
            Entry::Message(_) if !asks => {
                self.answered = self.entries;
                self.snoozed_until = None;
            }
            Entry::Inbound(_) | Entry::Message(_) | Entry::Note(_) => {}
        }
        self.entries
    }

    /// The message that it was answered with is lost. `before` are the places of other messages that are not; only those
    /// that came since the person asked matter.
    pub fn lose(&mut self, before: impl Iterator<Item = u32>) {
        let places = before.filter(|place| (self.asked + 1..self.answered).contains(place));
        self.answered = places.max().unwrap_or(0);
    }

    /// Does what a rule says: takes nothing from anybody, and leaves out a tag that is one too many.
    pub fn route(&mut self, routed: &Routed) {
        if self.assignee.is_none() {
            self.assignee.clone_from(&routed.assignee);
        }
        for tag in &routed.tags {
            let one = Change::Tag { add: vec![tag.clone()], remove: Vec::new() };
            // What is one too many is left out.
            let _ = self.change(&one);
        }
    }

    /// How it stands.
    pub fn status(&self, now: Timestamp) -> Status {
        if self.closed > 0 && self.closed >= self.asked.max(self.answered) {
            Status::Closed
        } else if self.snoozed_until.is_some_and(|until| until > now) {
            Status::Snoozed
        } else if self.is_unanswered() {
            Status::NeedsReply
        } else {
            Status::Waiting
        }
    }

    /// Whether the person wrote last and it was not closed since, put off or not.
    pub const fn is_unanswered(&self) -> bool {
        self.asked > self.answered && self.asked > self.closed
    }

    /// Does this.
    ///
    /// # Errors
    /// [`TooManyTags`]; nothing was done.
    pub fn change(&mut self, change: &Change) -> Result<(), TooManyTags> {
        match change {
            Change::Assign(assignee) => self.assignee.clone_from(assignee),
            Change::Tag { add, remove } => {
                let mut tags = self.tags.clone();
                tags.retain(|tag| !remove.contains(tag));
                tags.extend(add.iter().cloned());
                tags.sort();
                tags.dedup();
                if tags.len() > TAGS_MAX {
                    return Err(TooManyTags);
                }
                self.tags = tags;
            }
            Change::Snooze(until) => {
                self.closed = 0;
                self.snoozed_until = Some(*until);
            }
            Change::Close => {
                self.closed = self.entries;
                self.snoozed_until = None;
            }
            Change::Reopen => {
                self.closed = 0;
                self.snoozed_until = None;
            }
        }
        Ok(())
    }
}

/// Whether a text can be a tag: small letters and digits of any script, `-` and `_`.
pub fn is_tag(text: &str) -> bool {
    let is_part = |c: char| (c.is_alphanumeric() && !c.is_uppercase()) || matches!(c, '-' | '_');
    (1..=TAG_MAX).contains(&text.chars().count()) && text.chars().all(is_part)
}

/// The words that a text is found by, each once: in small letters, as Unicode parts texts into words (UAX 29).
pub fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = text
        .unicode_words()
        .map(|word| word.chars().flat_map(char::to_lowercase).take(WORD_MAX).collect())
        .take(4 * WORDS_MAX)
        .collect();
    words.sort();
    words.dedup();
    words.truncate(WORDS_MAX);
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Environment;
    use crate::id::AccountId;

    fn at(s: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000).plus_s(s)
    }

    fn conversation() -> Conversation {
        let realm = Realm { account: AccountId::from_key(1), environment: Environment::Test };
        let person = PhoneNumber::from_stored("+15550002222").expect("a number");
        let sender = Sender::from_stored("+15550001111").expect("a sender");
        let first = Entry::Inbound(InboundId::from_key(1));
        Conversation::begun(ConversationId::from_key(1), realm, person, sender, first, at(0))
    }

    #[test]
    fn how_it_stands_follows_from_what_was_said() {
        // i: the person asks; k: the person sends a keyword; o: we send; a: we send by a rule; n: a note; c: close; s: snooze; r: reopen.
        let check = |story: &str, expected: Status| {
            let mut one = conversation();
            for (n, step) in (1..).zip(story.chars()) {
                let changed = match step {
                    'i' => Some((Entry::Inbound(InboundId::from_key(n)), true)),
                    'k' => Some((Entry::Inbound(InboundId::from_key(n)), false)),
                    'a' => Some((Entry::Message(MessageId::from_key(n)), true)),
                    'o' => Some((Entry::Message(MessageId::from_key(n)), false)),
                    'n' => Some((Entry::Note(NoteId::from_key(n)), false)),
                    _ => None,
                };
                match (changed, step) {
                    (Some((entry, asks)), _) => {
                        one.add(entry, asks, at(n));
                        assert_eq!(one.last, entry);
                    }
                    (None, 'c') => one.change(&Change::Close).expect("done"),
                    (None, 's') => one.change(&Change::Snooze(at(100))).expect("done"),
                    (None, _) => one.change(&Change::Reopen).expect("done"),
                }
            }
            assert_eq!(one.status(at(50)), expected, "{story}");
        };
        check("i", Status::NeedsReply);
        check("in", Status::NeedsReply);
        check("io", Status::Waiting);
        check("ia", Status::NeedsReply);
        check("iao", Status::Waiting);
        check("isa", Status::Snoozed);
        check("ioi", Status::NeedsReply);
        check("o", Status::Waiting);
        check("k", Status::Waiting);
        check("ik", Status::NeedsReply);
        check("iok", Status::Waiting);
        check("ic", Status::Closed);
        check("icn", Status::Closed);
        check("ick", Status::Closed);
        check("ici", Status::NeedsReply);
        check("ico", Status::Waiting);
        check("icr", Status::NeedsReply);
        check("is", Status::Snoozed);
        check("isi", Status::NeedsReply);
        check("iso", Status::Waiting);
        check("isn", Status::Snoozed);
        check("isr", Status::NeedsReply);
        check("ics", Status::Snoozed);
        check("isc", Status::Closed);
    }

    #[test]
    fn what_is_lost_answers_nothing() {
        // i: the person asks; o: we send; x: we send what is lost then; c: close.
        let check = |story: &str, expected: Status| {
            let mut one = conversation();
            let mut sent = Vec::new();
            let mut lost = Vec::new();
            for (n, step) in (1..).zip(story.chars()) {
                match step {
                    'i' => drop(one.add(Entry::Inbound(InboundId::from_key(n)), true, at(n))),
                    'c' => one.change(&Change::Close).expect("done"),
                    _ => {
                        let place = one.add(Entry::Message(MessageId::from_key(n)), false, at(n));
                        sent.push(place);
                        lost.extend((step == 'x').then_some(place));
                    }
                }
            }
            for place in lost {
                sent.retain(|other| *other != place);
                if one.answered == place {
                    one.lose(sent.iter().copied());
                }
            }
            assert_eq!(one.status(at(50)), expected, "{story}");
        };
        check("ix", Status::NeedsReply);
        check("x", Status::Waiting);
        check("iox", Status::Waiting);
        check("ixo", Status::Waiting);
        check("oix", Status::NeedsReply);
        check("ixx", Status::NeedsReply);
        check("iocx", Status::Closed);
        check("ixc", Status::Closed);
        assert!(is_lost(Sent::Rejected) && !is_lost(Sent::Unconfirmed));
    }

    #[test]
    fn what_was_put_off_comes_back_by_itself() {
        let mut one = conversation();
        one.add(Entry::Inbound(InboundId::from_key(1)), true, at(0));
        one.change(&Change::Snooze(at(10))).expect("done");
        assert_eq!(one.status(at(9)), Status::Snoozed);
        assert_eq!(one.status(at(10)), Status::NeedsReply);
    }

    #[test]
    fn only_what_nothing_answers_by_itself_asks_for_an_answer() {
        let asking = Class::ALL.into_iter().filter(|class| asks(*class));
        assert_eq!(asking.collect::<Vec<_>>(), [Class::Nothing, Class::Doubtful]);
    }

    #[test]
    fn tags_are_a_bounded_set() {
        let mut one = conversation();
        let tag = |add: &[&str], remove: &[&str]| Change::Tag {
            add: add.iter().map(ToString::to_string).collect(),
            remove: remove.iter().map(ToString::to_string).collect(),
        };
        one.change(&tag(&["b", "a", "b"], &[])).expect("done");
        one.change(&tag(&["c"], &["a", "x"])).expect("done");
        assert_eq!(one.tags, ["b", "c"]);
        let many: Vec<String> = (0..30).map(|n| format!("t{n}")).collect();
        let before = one.clone();
        assert_eq!(one.change(&Change::Tag { add: many, remove: Vec::new() }), Err(TooManyTags));
        assert_eq!(one, before);
        for (text, expected) in
            [("vip", true), ("größe-2", true), ("", false), ("a b", false), ("VIP", false), ("a,b", false)]
        {
            assert_eq!(is_tag(text), expected, "{text}");
        }
    }

    #[test]
    fn a_rule_takes_a_conversation_from_nobody_and_adds_what_there_is_room_for() {
        let routed = |who: &str, tags: &[&str]| Routed {
            assignee: Some(who.to_owned()),
            tags: tags.iter().map(ToString::to_string).collect(),
        };
        let mut one = conversation();
        one.route(&routed("Maya", &["b", "a"]));
        one.route(&routed("Bob", &["a", "c"]));
        assert_eq!((one.assignee.as_deref(), one.tags.join(" ")), (Some("Maya"), "a b c".to_owned()));
        let many: Vec<String> = (0..30).map(|n| format!("t{n:02}")).collect();
        one.route(&Routed { assignee: None, tags: many });
        assert_eq!((one.tags.len(), one.tags[TAGS_MAX - 1].as_str()), (TAGS_MAX, "t16"));
    }

    #[test]
    fn a_text_is_found_by_its_words_however_they_are_written() {
        let check = |text: &str, expected: &[&str]| assert_eq!(words(text), expected, "{text}");
        check("Refund, REFUND please!", &["please", "refund"]);
        check("Über 2.5 kg – can't", &["2.5", "can't", "kg", "über"]);
        check("Где мой заказ?", &["где", "заказ", "мой"]);
        check("  …!? ", &[]);
        let long = "x".repeat(100);
        assert_eq!(words(&long), ["x".repeat(40)]);
        let many: String = (0..5_000).map(|n| format!("w{n} ")).collect();
        assert_eq!(words(&many).len(), WORDS_MAX);
    }

    #[test]
    fn an_entry_is_known_by_its_id() {
        let all = [
            Entry::Inbound(InboundId::from_key(5)),
            Entry::Message(MessageId::from_key(5)),
            Entry::Note(NoteId::from_key(5)),
        ];
        for entry in all {
            assert_eq!(Entry::parse(&entry.to_string()), Some(entry));
            assert_eq!(Entry::stored(entry.kind(), entry.key()), Some(entry));
        }
        assert_eq!(Entry::parse("evt_0000000000005"), None);
        assert_eq!(Entry::stored(3, 5), None);
    }
}
