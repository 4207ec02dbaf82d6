//! Conversations: their entries, and the words that these are found by.

use super::{Tables, page_of};
use crate::Result;
use crate::backend::*;
use std::collections::BTreeMap;
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::conversation::{Change, Conversation, Entry, TooManyTags, saw_all};
use tidings_domain::id::*;
use tidings_domain::message::Message;
use tidings_domain::sender::Sender;
use tidings_domain::time::Timestamp;

/// Every conversation with its entries.
#[derive(Debug, Clone, Default)]
pub(super) struct Conversations {
    rows: BTreeMap<ConversationId, Kept>,
    between: BTreeMap<(Realm, PhoneNumber, Sender), ConversationId>,
    messages: BTreeMap<MessageId, (ConversationId, u32)>,
}

#[derive(Debug, Clone)]
struct Kept {
    conversation: Conversation,
    seq: i64,
    entries: BTreeMap<u32, Written>,
}

#[derive(Debug, Clone)]
struct Written {
    seq: i64,
    entry: Entry,
    author: Option<String>,
    text: Option<String>,
    words: Vec<String>,
    at: Timestamp,
}

impl Conversations {
    fn of(&self, realm: Realm, id: ConversationId) -> Option<&Kept> {
        self.rows.get(&id).filter(|kept| kept.conversation.realm == realm)
    }

    /// To which of these senders somebody wrote last, as far as that was not forgotten.
    pub(super) fn wrote_last(
        &self,
        realm: Realm,
        person: PhoneNumber,
        senders: &[Sender],
    ) -> Option<(Sender, Timestamp)> {
        let wrote = |sender: &Sender| {
            let id = self.between.get(&(realm, person, *sender))?;
            let mut entries = self.rows.get(id)?.entries.values().rev();
            entries
                .find(|written| matches!(written.entry, Entry::Inbound(_)))
                .map(|written| (written.at, *sender))
        };
        senders.iter().filter_map(wrote).max().map(|(at, sender)| (sender, at))
    }

    /// Forgets entries from before then, and conversations that have none left. `true` if there may be more.
    pub(super) fn sweep(&mut self, before: Timestamp) -> bool {
        for kept in self.rows.values_mut() {
            kept.entries.retain(|_, written| written.at >= before);
        }
        self.rows.retain(|_, kept| !kept.entries.is_empty() || kept.conversation.last_at >= before);
        self.between.retain(|_, id| self.rows.contains_key(id));
        let is_kept = |id, place| self.rows.get(&id).is_some_and(|kept| kept.entries.contains_key(&place));
        self.messages.retain(|_, (id, place)| is_kept(*id, *place));
        false
    }

    /// How the message was said that this one repeats, if it was.
    pub(super) fn said_before(&self, message: &Message) -> Option<Saying> {
        let (id, place) = self.messages.get(&message.retry_of?)?;
        let written = &self.rows[id].entries[place];
        Some(Saying { seen: None, author: written.author.clone()? })
    }

    /// A message that is lost answers nothing in its conversation. `is_lost` says that of others.
    pub(super) fn lose(&mut self, message: MessageId, is_lost: impl Fn(MessageId) -> bool) {
        let Some((id, place)) = self.messages.get(&message) else { return };
        let kept = self.rows.get_mut(id).filter(|kept| kept.conversation.answered == *place);
        let Some(Kept { conversation, entries, .. }) = kept else { return };
        let others = entries.iter().filter(
            |(_, written)| matches!(written.entry, Entry::Message(other) if other != message && !is_lost(other)),
        );
        conversation.lose(others.map(|(place, _)| *place));
    }

    /// A message whose text was removed is not found by its words any more.
    pub(super) fn forget_words(&mut self, message: MessageId) {
        let all = self.rows.values_mut().flat_map(|kept| kept.entries.values_mut());
        for written in all.filter(|written| written.entry == Entry::Message(message)) {
            written.words.clear();
        }
    }
}

impl Tables {
    pub(super) fn converse(&mut self, intake: Intake, saying: Saying, now: Timestamp) -> Result<Accepted> {
        self.accept_with(intake, Beside::Saying(&saying), now)
    }

    /// Whether somebody wrote since what the writer of a message saw.
    pub(super) fn is_overtaken(
        &self,
        realm: Realm,
        person: PhoneNumber,
        sender: Sender,
        saying: &Saying,
    ) -> bool {
        let Some(seen) = saying.seen else { return false };
        let id = self.conversations.between.get(&(realm, person, sender));
        let kept = id.and_then(|id| self.conversations.rows.get(id));
        kept.is_none_or(|kept| {
            let last = kept.conversation.last;
            let stored = match last {
                Entry::Message(last) => self.messages.stored(realm, last),
                _ => None,
            };
            !saw_all(seen, last, stored.and_then(|stored| stored.message.reply))
        })
    }

    /// Adds an entry to its conversation, which it begins if there is none.
    pub(super) fn conversation_between(
        &self,
        realm: Realm,
        person: PhoneNumber,
        sender: Sender,
    ) -> Option<ConversationId> {
        self.conversations.between.get(&(realm, person, sender)).copied()
    }

    pub(super) fn add_entry(&mut self, new: Addition) -> Conversation {
        let parties = (new.realm, new.person, new.sender);
        let id = match self.conversations.between.get(&parties) {
            Some(id) => *id,
            None => {
                let id = new.begins.unwrap_or_else(|| ConversationId::from_key(self.next_id(new.at)));
                self.conversations.between.insert(parties, id);
                let conversation =
                    Conversation::begun(id, new.realm, new.person, new.sender, new.entry, new.at);
                self.conversations.rows.insert(id, Kept { conversation, seq: 0, entries: BTreeMap::new() });
                id
            }
        };
        let seq = self.next_id(new.at);
        let kept = self.conversations.rows.get_mut(&id).expect("it was found, or made just now");
        kept.seq = seq;
        let place = kept.conversation.add(new.entry, new.asks, new.at);
        kept.conversation.route(&new.routed);
        if let Entry::Message(message) = new.entry {
            self.conversations.messages.insert(message, (kept.conversation.id, place));
        }
        let Addition { entry, author, text, words, at, .. } = new;
        kept.entries.insert(place, Written { seq, entry, author, text, words, at });
        kept.conversation.clone()
    }

    pub(super) fn add_note(
        &mut self,
        realm: Realm,
        id: ConversationId,
        note: NewNote,
        now: Timestamp,
    ) -> Result<Option<Conversation>> {
        let Some(kept) = self.conversations.of(realm, id) else { return Ok(None) };
        let note = Addition::of_note(&kept.conversation, &note, now);
        Ok(Some(self.add_entry(note)))
    }

    pub(super) fn change_conversation(
        &mut self,
        realm: Realm,
        id: ConversationId,
        change: Change,
        actor: Actor,
        now: Timestamp,
    ) -> Result<Option<std::result::Result<Conversation, TooManyTags>>> {
        let Some(mut one) = self.conversations.of(realm, id).map(|kept| kept.conversation.clone()) else {
            return Ok(None);
        };
        if let Err(why) = one.change(&change) {
            return Ok(Some(Err(why)));
        }
        self.write_audit(&actor, change.as_str(), id.to_string(), String::new(), now);
        if let Some(kept) = self.conversations.rows.get_mut(&id) {
            kept.conversation = one.clone();
        }
        Ok(Some(Ok(one)))
    }

    pub(super) fn conversation(&mut self, realm: Realm, id: ConversationId) -> Result<Option<Conversation>> {
        Ok(self.conversations.of(realm, id).map(|kept| kept.conversation.clone()))
    }

    pub(super) fn conversations(
        &mut self,
        realm: Realm,
        filter: ConversationFilter,
        page: Page,
        now: Timestamp,
    ) -> Result<Paged<Conversation>> {
        let all = self.conversations.rows.values().filter(|kept| kept.conversation.realm == realm);
        let mut all: Vec<&Kept> = all.filter(|kept| kept.seq < page.before.unwrap_or(i64::MAX)).collect();
        all.sort_by_key(|kept| std::cmp::Reverse(kept.seq));
        let mut through = Through::new(&page);
        // Those that nobody answered are looked through apart.
        for kept in
            all.into_iter().filter(|kept| !filter.is_unanswered() || kept.conversation.is_unanswered())
        {
            let one = &kept.conversation;
            if filter.person.is_some_and(|person| one.person != person) {
                continue;
            }
            if through.take(filter.fits(one, now).then(|| one.clone()), kept.seq).is_break() {
                break;
            }
        }
        Ok(through.page())
    }

    pub(super) fn lines(
        &mut self,
        realm: Realm,
        id: ConversationId,
        page: Page,
    ) -> Result<Option<Paged<Line>>> {
        let Some(kept) = self.conversations.of(realm, id) else { return Ok(None) };
        let before = u32::try_from(page.before.unwrap_or(i64::MAX)).unwrap_or(u32::MAX);
        let newest_first = kept.entries.range(..before).rev();
        let found =
            page_of(newest_first.map(|(place, written)| (*place, written.clone())), page, |(place, _)| {
                i64::from(*place)
            });
        let lines = found.items.into_iter().filter_map(|(place, written)| self.line(realm, place, written));
        Ok(Some(Paged { items: lines.collect(), next: found.next }))
    }

    /// The entry with what it is; `None` if that is not kept any more.
    fn line(&self, realm: Realm, place: u32, written: Written) -> Option<Line> {
        let Written { entry, author, text, at, .. } = written;
        let what = match entry {
            Entry::Inbound(id) => What::Inbound(Box::new(self.inbounds.find(id)?.clone())),
            Entry::Message(id) => What::Message(Box::new(self.messages.stored(realm, id)?)),
            Entry::Note(id) => What::Note(id, text.unwrap_or_default()),
        };
        Some(Line { place, at, author, what })
    }

    pub(super) fn search(&mut self, realm: Realm, words: Vec<String>, page: Page) -> Result<Paged<Found>> {
        let Some(rarest) = words.iter().max_by_key(|word| word.chars().count()) else {
            return Ok(Paged { items: Vec::new(), next: None });
        };
        let all = self.conversations.rows.values().filter(|kept| kept.conversation.realm == realm);
        let entries = all.flat_map(|kept| {
            kept.entries.iter().map(|(place, written)| (kept.conversation.id, *place, written))
        });
        let mut entries: Vec<_> = entries
            .filter(|(_, _, written)| written.words.contains(rarest))
            .filter(|(_, _, written)| written.seq < page.before.unwrap_or(i64::MAX))
            .collect();
        entries.sort_by_key(|(_, _, written)| std::cmp::Reverse(written.seq));
        let mut through = Through::new(&page);
        for (conversation, place, written) in entries {
            let fits = words.iter().all(|word| written.words.contains(word));
            let found = fits.then(|| (conversation, place, written.clone()));
            if through.take(found, written.seq).is_break() {
                break;
            }
        }
        let Paged { items, next } = through.page();
        let found = items.into_iter().filter_map(|(conversation, place, written)| {
            Some(Found { conversation, line: self.line(realm, place, written)? })
        });
        Ok(Paged { items: found.collect(), next })
    }
}
