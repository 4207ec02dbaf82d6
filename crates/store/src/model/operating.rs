//! Operating the store: connections and their pauses, the hold, the audit trail, numbers, and taking out the old.

use super::{Tables, page_of};
use crate::Result;
use crate::backend::*;
use std::collections::BTreeMap;
use tidings_domain::account::Environment;
use tidings_domain::id::{AccountId, AuditId, ConnectionId, InboundId};
use tidings_domain::time::Timestamp;

/// Connections, the hold, and the trail.
#[derive(Debug, Clone, Default)]
pub(super) struct Operating {
    connections: BTreeMap<ConnectionId, Connection>,
    hold: Option<String>,
    audit: BTreeMap<AuditId, (AccountId, Audit)>,
}

impl Operating {
    pub(super) fn connection(&self, id: ConnectionId) -> Option<&Connection> {
        self.connections.get(&id)
    }
}

impl Tables {
    pub(super) fn register_connections(
        &mut self,
        names: Vec<(String, Environment)>,
        _now: Timestamp,
    ) -> Result<Vec<Connection>> {
        let connections = &mut self.operating.connections;
        let mut found = Vec::with_capacity(names.len());
        for (name, environment) in names {
            let known = connections.values().find(|c| c.name == name && c.environment == environment);
            let connection = known.cloned().unwrap_or_else(|| {
                // Numbered from 1.
                let last = connections.keys().next_back().map_or(0, |id| id.key());
                Connection { id: ConnectionId::from_key(last + 1), name, environment, paused: None }
            });
            connections.insert(connection.id, connection.clone());
            found.push(connection);
        }
        Ok(found)
    }

    pub(super) fn connections(&mut self) -> Result<Vec<Connection>> {
        Ok(self.operating.connections.values().cloned().collect())
    }

    pub(super) fn pause_connection(
        &mut self,
        id: ConnectionId,
        pause: Option<String>,
        actor: Actor,
        now: Timestamp,
    ) -> Result<bool> {
        let Some(connection) = self.operating.connections.get_mut(&id) else { return Ok(false) };
        let action = if pause.is_some() { "connection.pause" } else { "connection.resume" };
        let subject = format!("{} {}", connection.environment.as_str(), connection.name);
        connection.paused.clone_from(&pause);
        self.write_audit(&actor, action, subject, pause.unwrap_or_default(), now);
        Ok(true)
    }

    pub(super) fn hold(&mut self) -> Result<Option<String>> {
        Ok(self.operating.hold.clone())
    }

    pub(super) fn set_hold(&mut self, reason: Option<String>, actor: Actor, now: Timestamp) -> Result<()> {
        let action = if reason.is_some() { "hold.set" } else { "hold.release" };
        self.operating.hold.clone_from(&reason);
        self.write_audit(&actor, action, "sending".to_owned(), reason.unwrap_or_default(), now);
        Ok(())
    }

    pub(super) fn ping(&mut self) -> Result<()> {
        Ok(())
    }

    /// Adds a line to the trail, in the commit of the change that it tells of.
    pub(super) fn write_audit(
        &mut self,
        actor: &Actor,
        action: &str,
        subject: String,
        detail: String,
        now: Timestamp,
    ) {
        let id = AuditId::from_key(self.next_id(now));
        let (who, action) = (actor.who.clone(), action.to_owned());
        let line = Audit { id, at: now, who, action, subject, detail };
        self.operating.audit.insert(id, (actor.account, line));
    }

    /// The lines of the trail after this one, of all accounts.
    pub(super) fn audit_after(&self, after: AuditId) -> impl Iterator<Item = (AuditId, &Audit)> {
        let after = AuditId::from_key(after.key().saturating_add(1));
        self.operating.audit.range(after..).map(|(id, (_, line))| (*id, line))
    }

    pub(super) fn is_audited(&self, id: AuditId) -> bool {
        self.operating.audit.contains_key(&id)
    }

    pub(super) fn record_audit(
        &mut self,
        actor: Actor,
        action: String,
        subject: String,
        detail: String,
        now: Timestamp,
    ) -> Result<()> {
        self.write_audit(&actor, &action, subject, detail, now);
        Ok(())
    }

    pub(super) fn audit(&mut self, account: AccountId, page: Page) -> Result<Paged<Audit>> {
        let before = AuditId::from_key(page.before.unwrap_or(i64::MAX));
        let lines = self.operating.audit.range(..before).rev().map(|(_, line)| line);
        let found = lines.filter(|(of, _)| *of == account).map(|(_, line)| line.clone());
        Ok(page_of(found, page, |line| line.id.key()))
    }

    pub(super) fn statistics(&mut self, now: Timestamp) -> Result<Statistics> {
        Ok(Statistics {
            queues: self.messages.queues(now),
            in_flight: self.messages.in_flight(),
            deliveries: self.events.open_now(now),
            parked: self.messages.parked(),
            reviews: self.reviews.open_now(),
            // Nobody pays for it; more than nothing, because there is a store.
            size: 1,
        })
    }

    pub(super) fn sweep(&mut self, retention: Retention, limit: usize, now: Timestamp) -> Result<bool> {
        let before = |age_ms: i64| now.plus_ms(age_ms.saturating_neg());
        let mut more = self.messages.sweep_idempotency(before(retention.idempotency_ms), limit);
        more |= self.messages.sweep_parked(before(retention.parked_ms), limit);
        // An attempt tells nothing without its event, which goes with its message.
        let attempts_ms =
            retention.messages_ms.map_or(retention.attempts_ms, |ms| ms.min(retention.attempts_ms));
        more |= self.events.sweep_attempts(before(attempts_ms), limit);
        more |= self.messages.sweep_outstanding(before(OUTSTANDING_MS), limit);
        more |= self.replies.sweep(now, limit);
        more |= self.codes.sweep(now, limit);
        more |= self.imports.sweep(limit, now);
        more |= self.turns.sweep(now, limit);
        more |= self.silences.sweep(now, limit);
        self.spends.sweep(before(SPENDS_MS));
        self.quotas.sweep(before(QUOTAS_MS));
        self.endpoints.sweep_callbacks(before(CALLBACKS_MS));
        if let Some(messages_ms) = retention.messages_ms {
            more |= self.sweep_messages(before(messages_ms), limit);
            more |= self.sweep_inbounds(before(messages_ms), limit);
            more |= self.sticky.sweep(before(messages_ms), limit);
            more |= self.conversations.sweep(before(messages_ms));
            more |= self.segments.sweep(before(messages_ms), limit);
        }
        Ok(more)
    }

    fn sweep_messages(&mut self, before: Timestamp, limit: usize) -> bool {
        // Kept whatever their age: what waits for anything, what a person must still decide, what an endpoint must
        // still be told, and the newest event's message.
        let over = self.messages.over(before);
        let over = over.filter(|id| !self.reviews.is_open(*id) && !self.events.must_stay(*id));
        let over: Vec<_> = over.take(limit).collect();
        for id in &over {
            self.events.remove_of(*id);
            self.reviews.remove_of(*id);
            self.messages.remove(*id);
        }
        self.messages.sweep_batches(before, limit);
        over.len() == limit
    }

    fn sweep_inbounds(&mut self, before: Timestamp, limit: usize) -> bool {
        let over = self.inbounds.over(before);
        let over =
            over.filter(|id| !self.reviews.is_inbound_open(*id) && !self.events.must_inbound_stay(*id));
        let mut with_media = 0;
        let has_room = |id: &InboundId| {
            let is_room = with_media < SWEPT_WITH_MEDIA_MAX;
            with_media += usize::from(self.inbounds.find(*id).is_some_and(|one| !one.media.is_empty()));
            is_room
        };
        let over: Vec<_> = over.take_while(has_room).take(limit).collect();
        for id in &over {
            self.events.remove_of_inbound(*id);
            self.reviews.remove_of_inbound(*id);
            self.inbounds.remove(*id);
        }
        over.len() == limit || with_media >= SWEPT_WITH_MEDIA_MAX
    }
}
