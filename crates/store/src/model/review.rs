//! Failures that a person must look at: one open item for a message, grouped by cause.

use super::{Tables, page_of};
use crate::Result;
use crate::backend::*;
use std::collections::{BTreeMap, BTreeSet};
use tidings_domain::account::Realm;
use tidings_domain::failure::Failure;
use tidings_domain::id::{ConnectionId, InboundId, MessageId, ReviewId, SuppressionId};
use tidings_domain::message::Message;
use tidings_domain::review::{About, Decision, cause, doubtful};
use tidings_domain::suppression::{Reason, default_end};
use tidings_domain::time::Timestamp;

/// Every item, and which are open.
#[derive(Debug, Clone, Default)]
pub(super) struct Reviews {
    rows: BTreeMap<ReviewId, (Realm, Review)>,
    open: BTreeMap<Realm, BTreeMap<String, BTreeSet<ReviewId>>>,
    by_message: BTreeSet<(MessageId, ReviewId)>,
}

impl Reviews {
    fn of(&self, message: MessageId) -> impl Iterator<Item = ReviewId> + '_ {
        let ids = self.by_message.range((message, ReviewId::from_key(i64::MIN))..);
        ids.take_while(move |(of, _)| *of == message).map(|(_, id)| *id)
    }

    /// Whether a person must still decide about the message.
    pub(super) fn is_open(&self, message: MessageId) -> bool {
        self.of(message).any(|id| self.rows.get(&id).is_some_and(|(_, item)| item.decided.is_none()))
    }

    pub(super) fn open_now(&self) -> u64 {
        self.open.values().flat_map(BTreeMap::values).map(|items| items.len() as u64).sum()
    }

    pub(super) fn remove_of(&mut self, message: MessageId) {
        for id in self.of(message).collect::<Vec<_>>() {
            self.by_message.remove(&(message, id));
            self.close(id);
            self.rows.remove(&id);
        }
    }

    fn of_inbound(&self, inbound: InboundId) -> impl Iterator<Item = &Review> + '_ {
        let items = self.rows.values().map(|(_, item)| item);
        items.filter(move |item| item.about == About::Inbound(inbound))
    }

    /// Whether a person must still decide about a message of a person.
    pub(super) fn is_inbound_open(&self, inbound: InboundId) -> bool {
        self.of_inbound(inbound).any(|item| item.decided.is_none())
    }

    pub(super) fn remove_of_inbound(&mut self, inbound: InboundId) {
        for id in self.of_inbound(inbound).map(|item| item.id).collect::<Vec<_>>() {
            self.close(id);
            self.rows.remove(&id);
        }
    }

    fn close(&mut self, id: ReviewId) {
        let Some((realm, item)) = self.rows.get(&id) else { return };
        let Some(causes) = self.open.get_mut(realm) else { return };
        let Some(items) = causes.get_mut(&item.cause) else { return };
        items.remove(&id);
        if items.is_empty() {
            causes.remove(&item.cause);
        }
    }

    fn newest_first(&self, before: Option<i64>) -> impl Iterator<Item = &(Realm, Review)> + '_ {
        let before = ReviewId::from_key(before.unwrap_or(i64::MAX));
        self.rows.range(..before).rev().map(|(_, item)| item)
    }
}

impl Tables {
    /// Opens an item, unless the message has one that nobody has decided yet.
    pub(super) fn open_review(&mut self, message: &Message, failure: Failure, now: Timestamp) {
        if self.reviews.is_open(message.id) {
            return;
        }
        let id =
            self.insert_review(message.realm(), message.connection, About::Message(message.id), failure, now);
        self.reviews.by_message.insert((message.id, id));
    }

    /// Opens an item for an inbound message that may ask for no more.
    pub(super) fn open_inbound_review(&mut self, inbound: &Inbound, ask: &Ask, now: Timestamp) {
        let about = About::Inbound(inbound.id);
        self.insert_review(inbound.realm, inbound.connection, about, doubtful(&ask.matched), now);
    }

    fn insert_review(
        &mut self,
        realm: Realm,
        connection: ConnectionId,
        about: About,
        failure: Failure,
        now: Timestamp,
    ) -> ReviewId {
        let id = ReviewId::from_key(self.next_id(now));
        let cause = cause(connection, &failure);
        self.reviews.open.entry(realm).or_default().entry(cause.clone()).or_default().insert(id);
        let item = Review { id, cause, about, failure, opened_at: now, decided: None };
        self.reviews.rows.insert(id, (realm, item));
        id
    }

    pub(super) fn review_groups(&mut self, realm: Realm, limit: usize) -> Result<Vec<ReviewGroup>> {
        let mut groups: Vec<&BTreeSet<ReviewId>> =
            self.reviews.open.get(&realm).into_iter().flat_map(BTreeMap::values).collect();
        groups.sort_by_key(|ids| std::cmp::Reverse((ids.len(), ids.last().copied())));
        let shown = |ids: &BTreeSet<ReviewId>| {
            let (_, first) = self.reviews.rows.get(ids.first()?)?;
            let (_, last) = self.reviews.rows.get(ids.last()?)?;
            Some(ReviewGroup {
                cause: last.cause.clone(),
                failure: last.failure.clone(),
                open: ids.len() as u64,
                first_at: first.opened_at,
                last_at: last.opened_at,
                example: last.about,
            })
        };
        Ok(groups.into_iter().take(limit).filter_map(shown).collect())
    }

    pub(super) fn reviews(
        &mut self,
        realm: Realm,
        cause: Option<String>,
        open_only: bool,
        page: Page,
    ) -> Result<Paged<Review>> {
        let found = self.reviews.newest_first(page.before).filter(|(of, item)| {
            *of == realm
                && cause.as_ref().is_none_or(|cause| item.cause == *cause)
                && (!open_only || item.decided.is_none())
        });
        Ok(page_of(found.map(|(_, item)| item.clone()), page, |item| item.id.key()))
    }

    pub(super) fn decide(
        &mut self,
        realm: Realm,
        which: ReviewChoice,
        decision: Decision,
        limit: usize,
        actor: Actor,
        now: Timestamp,
    ) -> Result<Vec<Review>> {
        let open =
            self.reviews.newest_first(None).filter(|(of, item)| *of == realm && item.decided.is_none());
        let chosen = open.filter(|(_, item)| match &which {
            ReviewChoice::Cause(cause) => item.cause == *cause,
            ReviewChoice::One(id) => item.id == *id,
        });
        let mut items: Vec<Review> = chosen.take(limit).map(|(_, item)| item.clone()).collect();
        for item in &mut items {
            item.decided = Some((decision, now, actor.who.clone()));
            self.reviews.close(item.id);
            self.reviews.rows.insert(item.id, (realm, item.clone()));
            if decision == Decision::Suppress {
                self.suppress_recipient(realm, item, &actor, now);
            }
        }
        if !items.is_empty() {
            let subject = match which {
                ReviewChoice::Cause(cause) => cause,
                ReviewChoice::One(id) => id.to_string(),
            };
            let detail = format!("{}: {} items", decision.as_str(), items.len());
            self.write_audit(&actor, "review.decide", subject, detail, now);
        }
        Ok(items)
    }

    fn suppress_recipient(&mut self, realm: Realm, item: &Review, actor: &Actor, now: Timestamp) {
        let found = match item.about {
            About::Message(id) => {
                self.messages.unchanging(id).map(|message| (message.recipient, Reason::Manual))
            }
            // Somebody who may have asked for no more messages has done so, if a person says so.
            About::Inbound(id) => {
                let person = self.inbounds.find(id).and_then(Inbound::person);
                person.map(|person| (person, Reason::OptedOut))
            }
        };
        let Some((recipient, reason)) = found else { return };
        let entry = Suppression {
            id: SuppressionId::from_key(self.next_id(now)),
            realm,
            recipient,
            programme: None,
            reason,
            source: format!("review {}", item.id),
            created_at: now,
            expires_at: default_end(reason, now),
            lifted: None,
        };
        self.add_suppression(entry, actor);
    }
}
