//! Reading messages: one, a page, a timeline, a batch. Nothing here decides anything.

use super::{Call, Messages, Row};
use crate::Result;
use crate::backend::*;
use crate::model::event::Subject;
use crate::model::{Tables, page_of};
use std::collections::BTreeMap;
use tidings_domain::account::Realm;
use tidings_domain::event::{Event, Kind};
use tidings_domain::id::*;
use tidings_domain::message::{Segment, Status};
use tidings_domain::receipt;
use tidings_domain::time::Timestamp;

impl Tables {
    pub(in crate::model) fn message(&mut self, realm: Realm, id: MessageId) -> Result<Option<Stored>> {
        Ok(self.messages.find(realm, id).map(Row::stored))
    }

    pub(in crate::model) fn messages(
        &mut self,
        realm: Realm,
        filter: MessageFilter,
        page: Page,
    ) -> Result<Paged<Stored>> {
        let messages = &self.messages;
        let mut ceiling = page.before.unwrap_or(i64::MAX);
        if let Some(until) = filter.until {
            ceiling = ceiling.min(floor_at(until));
        }
        let floor = filter.since.map_or(i64::MIN, floor_at);
        if floor >= ceiling {
            return Ok(Paged { items: Vec::new(), next: None });
        }
        let between = MessageId::from_key(floor)..MessageId::from_key(ceiling);
        let found: Box<dyn Iterator<Item = &Row>> = match filter.batch {
            Some(batch) => {
                let members =
                    messages.batches.get(&batch).into_iter().flat_map(|call| call.members.iter().rev());
                let members =
                    members.filter(|id| between.contains(id)).filter_map(|id| messages.rows.get(id));
                Box::new(members.filter(move |row| row.message.batch == Some(batch)))
            }
            None => Box::new(messages.rows.range(between.clone()).rev().map(|(_, row)| row)),
        };
        let fitting = found.filter(|row| fits(row, realm, &filter)).map(Row::stored);
        Ok(page_of(fitting, page, |stored| stored.message.id.key()))
    }

    pub(in crate::model) fn timeline(&mut self, realm: Realm, id: MessageId) -> Result<Option<Timeline>> {
        let Some(row) = self.messages.find(realm, id) else { return Ok(None) };
        let stored = row.stored();
        let events = self.events.of_message(id);
        let ids: Vec<EventId> = events.iter().map(|(id, _)| *id).collect();
        let endpoints: Vec<EndpointId> = self.endpoints.of_realm(realm).map(|endpoint| endpoint.id).collect();
        let attempts = self.events.attempts_about(&endpoints, &ids);
        let deliveries = self.events.open_about(&ids);
        let connection = self.operating.connection(stored.message.connection).cloned();
        Ok(Some(Timeline { stored, events, attempts, deliveries, connection }))
    }

    pub(in crate::model) fn redact(
        &mut self,
        realm: Realm,
        id: MessageId,
        actor: Actor,
        now: Timestamp,
    ) -> Result<Option<Stored>> {
        let Some(row) = self.messages.rows.get_mut(&id).filter(|row| row.message.realm() == realm) else {
            return Ok(None);
        };
        if row.text.take().is_some() {
            row.updated_at = now;
            let event = Event {
                kind: Kind::Redacted,
                status: row.life.state.status(),
                attempt: row.life.attempt,
                at: now,
                due_at: None,
                failure: None,
                raw: None,
            };
            let subject = Subject::Message(&row.message);
            self.events.publish(&self.endpoints, subject, event, &mut Vec::new());
            self.write_audit(&actor, "message.redact", id.to_string(), String::new(), now);
            self.conversations.forget_words(id);
        }
        self.message(realm, id)
    }

    pub(in crate::model) fn batch(&mut self, realm: Realm, id: BatchId) -> Result<Option<Batch>> {
        let call = self.messages.batches.get(&id).filter(|call| call.realm == realm);
        Ok(call.map(|call| self.messages.counted(id, call)))
    }

    pub(in crate::model) fn batches(&mut self, realm: Realm, page: Page) -> Result<Paged<Batch>> {
        let before = BatchId::from_key(page.before.unwrap_or(i64::MAX));
        let calls = self.messages.batches.range(..before).rev().filter(|(_, call)| call.realm == realm);
        let found = calls.map(|(id, call)| self.messages.counted(*id, call));
        Ok(page_of(found, page, |batch| batch.id.key()))
    }
}

impl Messages {
    /// A message as it is now.
    pub(in crate::model) fn stored(&self, realm: Realm, id: MessageId) -> Option<Stored> {
        self.find(realm, id).map(Row::stored)
    }

    fn find(&self, realm: Realm, id: MessageId) -> Option<&Row> {
        self.rows.get(&id).filter(|row| row.message.realm() == realm)
    }

    fn counted(&self, id: BatchId, call: &Call) -> Batch {
        let mut counts: BTreeMap<Status, u64> = BTreeMap::new();
        let members = call.members.iter().filter_map(|member| self.rows.get(member));
        for row in members.filter(|row| row.message.batch == Some(id)) {
            *counts.entry(row.life.state.status()).or_default() += 1;
        }
        Batch { id, created_at: call.created_at, asked: call.asked, counts: counts.into_iter().collect() }
    }
}

fn fits(row: &Row, realm: Realm, filter: &MessageFilter) -> bool {
    let message = &row.message;
    let is = |wanted: &Option<String>, value: Option<&str>| {
        wanted.as_deref().is_none_or(|wanted| value == Some(wanted))
    };
    message.realm() == realm
        && filter.recipient.is_none_or(|recipient| message.recipient == recipient)
        && filter.status.is_none_or(|status| row.life.state.status() == status)
        && is(&filter.reference, message.reference.as_deref())
        && filter.sender.as_deref().is_none_or(|sender| message.sender.to_string() == sender)
        && filter.carrier_id.as_deref().is_none_or(|carrier_id| {
            let wanted = receipt::canonical(carrier_id);
            let mut ids = row.life.segments.iter().filter_map(Segment::carrier_id);
            ids.any(|id| receipt::canonical(id) == wanted)
        })
}
