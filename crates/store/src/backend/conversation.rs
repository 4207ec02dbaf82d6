//! Conversations.

use super::{Handled, Inbound, Page, Paged, Stored};
use std::ops::ControlFlow;
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::conversation::{self, Conversation, Entry};
use tidings_domain::id::*;
use tidings_domain::message::Message;
use tidings_domain::sender::Sender;
use tidings_domain::time::Timestamp;

/// How a message is said in a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saying {
    /// The last entry that its writer saw; `None` if that is not asked.
    pub seen: Option<Entry>,
    /// Who wrote it.
    pub author: String,
}

/// A note to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNote {
    /// Its id.
    pub id: NoteId,
    /// What it says.
    pub text: String,
    /// Who wrote it.
    pub author: String,
}

/// What a list of conversations is narrowed to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConversationFilter {
    /// Only those that stand so.
    pub status: Option<conversation::Status>,
    /// Only those of this one of us; the inner `None` for those of nobody.
    pub assignee: Option<Option<String>>,
    /// Only those with this tag.
    pub tag: Option<String>,
    /// Only those with this person.
    pub person: Option<PhoneNumber>,
}

impl ConversationFilter {
    /// Whether a conversation is one of these.
    pub(crate) fn fits(&self, one: &Conversation, now: Timestamp) -> bool {
        self.status.is_none_or(|status| one.status(now) == status)
            && self.assignee.as_ref().is_none_or(|assignee| one.assignee == *assignee)
            && self.tag.as_ref().is_none_or(|tag| one.tags.contains(tag))
            && self.person.is_none_or(|person| one.person == person)
    }

    /// Whether it is one of those that nobody answered, which have an index.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.status == Some(conversation::Status::NeedsReply)
    }
}

/// Conversations, or entries, that one page may look at: what fits nothing must not read everything at once.
pub(crate) const LOOKED_AT_MAX: usize = 5_000;

/// A page of a list that is looked through for what fits.
pub(crate) struct Through<T> {
    items: Vec<T>,
    limit: usize,
    looked_at: usize,
    last: Option<i64>,
    more: bool,
}

impl<T> Through<T> {
    pub(crate) fn new(page: &Page) -> Self {
        Self { items: Vec::new(), limit: page.limit, looked_at: 0, last: None, more: false }
    }

    /// Takes the next one, if it fits, whose key is this. Breaks where the page ends.
    pub(crate) fn take(&mut self, item: Option<T>, key: i64) -> ControlFlow<()> {
        if self.items.len() == self.limit || self.looked_at == LOOKED_AT_MAX {
            self.more = true;
            return ControlFlow::Break(());
        }
        self.items.extend(item);
        self.looked_at += 1;
        self.last = Some(key);
        ControlFlow::Continue(())
    }

    pub(crate) fn page(self) -> Paged<T> {
        Paged { items: self.items, next: self.last.filter(|_| self.more) }
    }
}

/// How many entries that have these words, as their column has them, are forgotten in one sweep. Each word is a row of what
/// entries are found by, and these are bounded, too; one entry goes however many it has.
pub(crate) fn swept_at_once<'w>(words: impl Iterator<Item = &'w str>, limit: usize) -> usize {
    let mut rows = 0;
    let fits = |words: &&str| {
        rows += words.split_ascii_whitespace().count();
        rows <= limit
    };
    words.take_while(fits).count().max(1)
}

/// An entry of a conversation.
#[derive(Debug, Clone)]
pub struct Line {
    /// Its place in the conversation, from 1.
    pub place: u32,
    /// When it came.
    pub at: Timestamp,
    /// Who of us wrote it.
    pub author: Option<String>,
    /// What it is.
    pub what: What,
}

/// What an entry is.
#[derive(Debug, Clone)]
pub enum What {
    /// Something that the person sent.
    Inbound(Box<Inbound>),
    /// Something that was sent to the person.
    Message(Box<Stored>),
    /// Something that only we see.
    Note(NoteId, String),
}

/// An entry that was searched for.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its conversation.
    pub conversation: ConversationId,
    /// The entry.
    pub line: Line,
}

/// An entry on its way into a conversation.
#[derive(Debug, Clone)]
pub(crate) struct Addition {
    pub realm: Realm,
    pub person: PhoneNumber,
    pub sender: Sender,
    pub entry: Entry,
    /// The id of the conversation that it begins, if there is none and one was chosen already.
    pub begins: Option<ConversationId>,
    pub asks: bool,
    pub author: Option<String>,
    /// The text, if it is kept nowhere else.
    pub text: Option<String>,
    pub words: Vec<String>,
    pub at: Timestamp,
    /// What a rule does with its conversation.
    pub routed: conversation::Routed,
}

impl Addition {
    /// What a person sent, once it is told, and where a rule puts it. `None` where nobody can be answered.
    pub(crate) fn of_inbound(inbound: &Inbound, handled: &Handled) -> Option<Self> {
        Some(Self {
            realm: inbound.realm,
            person: inbound.person()?,
            sender: inbound.sender()?,
            entry: Entry::Inbound(inbound.id),
            begins: None,
            asks: conversation::asks(inbound.keyword) && !matches!(handled, Handled::Consent),
            author: None,
            text: None,
            words: conversation::words(&inbound.text),
            at: inbound.at,
            routed: match handled {
                Handled::Rule(ruled) => ruled.routed.clone(),
                Handled::Nothing | Handled::Consent => conversation::Routed::default(),
            },
        })
    }

    /// What a rule answers: nobody of us did.
    pub(crate) fn of_answer(message: &Message, now: Timestamp) -> Self {
        Self {
            realm: message.realm(),
            person: message.recipient,
            sender: message.sender,
            entry: Entry::Message(message.id),
            begins: None,
            asks: true,
            author: None,
            text: None,
            words: conversation::words(message.text.as_deref().unwrap_or_default()),
            at: now,
            routed: conversation::Routed::default(),
        }
    }

    /// A message that is said.
    pub(crate) fn of_message(message: &Message, saying: &Saying, now: Timestamp) -> Self {
        Self {
            realm: message.realm(),
            person: message.recipient,
            sender: message.sender,
            entry: Entry::Message(message.id),
            begins: None,
            asks: false,
            author: Some(saying.author.clone()),
            text: None,
            words: conversation::words(message.text.as_deref().unwrap_or_default()),
            at: now,
            routed: conversation::Routed::default(),
        }
    }

    /// A note in a conversation.
    pub(crate) fn of_note(to: &Conversation, note: &NewNote, now: Timestamp) -> Self {
        Self {
            realm: to.realm,
            person: to.person,
            sender: to.sender,
            entry: Entry::Note(note.id),
            begins: None,
            asks: false,
            author: Some(note.author.clone()),
            text: Some(note.text.clone()),
            words: conversation::words(&note.text),
            at: now,
            routed: conversation::Routed::default(),
        }
    }
}
