//! The queues and the clock: what is claimed, what is looked at when its moment comes, and how much waits.

use super::{Commit, Due, Lane, Messages, Row};
use crate::backend::*;
use crate::model::Tables;
use crate::{Carriers, Error, Result};
use std::sync::Arc;
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::failure::Failure;
use tidings_domain::gate;
use tidings_domain::id::*;
use tidings_domain::message::{Input, Rules, Segment, State};
use tidings_domain::purpose::Purpose;
use tidings_domain::queue::{Paces, Queue};
use tidings_domain::receipt::{expected_form, our_reference, reference_form};
use tidings_domain::retry::{Jitter, RetryPolicy};
use tidings_domain::suppression::Listing;
use tidings_domain::time::Timestamp;

impl Tables {
    pub(in crate::model) fn claim(&mut self, queue: Queue, limit: usize, now: Timestamp) -> Result<Claimed> {
        let retry = RetryPolicy::default();
        let mut commit = Commit::new(self, now, &retry, Jitter(0));
        let mut claimed = Claimed::default();
        let mut room = limit;
        let mut ended = 0;
        while room > 0 {
            if ended == ENDED_MAX {
                claimed.more = true;
                break;
            }
            let Some(id) = commit.tables.messages.queue.first(queue, now) else { break };
            let row = commit.tables.messages.rows.get(&id).expect("what is due is there");
            let waiting = row.life.waiting();
            if waiting.len() > room && !claimed.tickets.is_empty() {
                claimed.more = true;
                break;
            }
            let rules = Rules { retry: &retry, jitter: Jitter(0) };
            let Ok(transition) = row.life.apply(Input::Claimed, row.message.terms(), now, rules) else {
                return Err(Error::Corrupt(format!("{id} stands in a queue and cannot be claimed")));
            };
            let attempt = transition.life.attempt;
            let taken = matches!(transition.life.state, State::Sending { .. });
            commit.put(id, transition.life, transition.effects);
            if taken {
                room = room.saturating_sub(waiting.len());
                let row = commit.tables.messages.rows.get(&id).expect("its life was just put");
                claimed.tickets.push(Ticket { message: row.message(), attempt, segments: waiting });
            } else {
                ended += 1;
            }
        }
        claimed.more |= room == 0;
        claimed.advanced = commit.out;
        Ok(claimed)
    }

    pub(in crate::model) fn wake(
        &mut self,
        limit: usize,
        now: Timestamp,
        rules: Patience,
    ) -> Result<Advanced> {
        let mut commit = Commit::of(self, now, &rules);
        let queue = &commit.tables.messages.queue;
        let mut due: Vec<MessageId> = queue.to_look_at(now).take(limit).collect();
        let over: Vec<MessageId> = queue.expired(now).take(limit).collect();
        commit.out.more = due.len() + over.len() >= limit;
        // A long queue of the one kind leaves half of every commit to the other.
        due.truncate(limit.saturating_sub(over.len()).max(limit / 2));
        due.extend(over.into_iter().take(limit - due.len()));
        for id in due {
            let row = commit.tables.messages.rows.get(&id).expect("what is due is there");
            let Some(at) = row.life.state.wakes_at() else { continue };
            if at > now && !row.life.state.is_waiting() {
                commit.tables.messages.look_again(id, at);
                continue;
            }
            let late = matches!(row.life.state, State::Unconfirmed { .. });
            if commit.apply(id, Input::TimeUp).is_none() && late {
                // The time for a late receipt is over: nothing more is expected.
                commit.tables.messages.give_up(id);
            }
        }
        Ok(commit.out)
    }

    pub(in crate::model) fn quarantine(
        &mut self,
        messages: Vec<MessageId>,
        why: Failure,
        now: Timestamp,
    ) -> Result<Advanced> {
        let retry = RetryPolicy::default();
        let mut commit = Commit::new(self, now, &retry, Jitter(0));
        for id in messages {
            let status = commit.apply(id, Input::Quarantined(why.clone()));
            let messages = &mut commit.tables.messages;
            let unconfirmed = |row: &Row| matches!(row.life.state, State::Unconfirmed { .. });
            if status.is_none() && messages.rows.get(&id).is_some_and(unconfirmed) {
                messages.give_up(id);
            }
            commit.out.statuses.push(status);
        }
        Ok(commit.out)
    }

    pub(in crate::model) fn recover(
        &mut self,
        connection: Option<ConnectionId>,
        limit: usize,
        now: Timestamp,
        rules: Patience,
    ) -> Result<Advanced> {
        let mut commit = Commit::of(self, now, &rules);
        let messages = &commit.tables.messages;
        let of_it = |row: &&Row| connection.is_none_or(|id| row.message.connection == id);
        let rows = messages.sending.iter().filter_map(|id| messages.rows.get(id));
        let mut claimed: Vec<Due> = rows.filter(of_it).filter_map(|row| row.due).collect();
        claimed.sort_unstable();
        claimed.truncate(limit);
        commit.out.more = claimed.len() >= limit;
        for due in claimed {
            let status = commit.apply(due.message, Input::Orphaned);
            commit.out.statuses.push(status);
        }
        Ok(commit.out)
    }

    pub(in crate::model) fn next_due(
        &mut self,
        queue: Option<Queue>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>> {
        let messages = &self.messages;
        let lane = queue.map_or(Lane::LookAgain, Lane::Of);
        let ever = Timestamp::from_millis(i64::MAX);
        let of =
            |purpose| messages.queue.due.range(Due::until(lane, purpose, ever)).next().map(|due| due.due_at);
        let queued = Purpose::ALL.into_iter().filter_map(of).min();
        let expiry = messages.queue.expiring.first().map(|(at, _)| *at).filter(|_| queue.is_none());
        let parts = self.inbounds.first_due().filter(|_| queue.is_none());
        Ok([queued, expiry, parts].into_iter().flatten().min().map(|at| at.max(now)))
    }
}

impl Tables {
    pub(in crate::model) fn queues(&mut self, connection: ConnectionId) -> Result<Vec<Queue>> {
        let own = Queue::of(connection);
        Ok(self.messages.queue.of(connection).into_iter().filter(|queue| *queue != own).collect())
    }
}

impl Messages {
    pub(in crate::model) fn paces(&self) -> Arc<Paces> {
        Arc::clone(&self.queue.paces)
    }

    pub(in crate::model) fn carriers(&self) -> Arc<Carriers> {
        Arc::clone(&self.carriers)
    }

    /// From here on these senders have a pace.
    pub(in crate::model) fn set_paces(&mut self, paces: Arc<Paces>) {
        self.queue.paces = paces;
    }

    fn look_again(&mut self, id: MessageId, at: Timestamp) {
        let Some(row) = self.rows.get_mut(&id) else { return };
        let old = row.due;
        let new = Due { lane: Lane::LookAgain, purpose: row.message.purpose, due_at: at, message: id };
        row.due = Some(new);
        let expires_at = row.message.expires_at;
        if let Some(old) = old {
            self.queue.take(old, expires_at);
        }
        self.queue.put(new, expires_at);
    }

    fn give_up(&mut self, id: MessageId) {
        let Some(row) = self.rows.get_mut(&id) else { return };
        row.life.state = State::Unconfirmed { until: Timestamp::default() };
        if let Some(due) = row.due.take() {
            self.queue.take(due, row.message.expires_at);
        }
        let line = self.carriers.lines(row.message.connection).filed;
        for (n, segment) in (0_u8..).zip(&row.life.segments) {
            if let Some(carrier_id) = segment.carrier_id() {
                self.outstanding.forget(line, &expected_form(&row.message, n, carrier_id), (id, n));
            }
            self.outstanding.forget(line, &reference_form(our_reference(id, n)), (id, n));
        }
    }
}

impl Tables {
    pub(in crate::model) fn reroute(
        &mut self,
        from: ConnectionId,
        to: ConnectionId,
        limit: usize,
        now: Timestamp,
    ) -> Result<u64> {
        let (Some(source), Some(target)) = (self.operating.connection(from), self.operating.connection(to))
        else {
            return Ok(0);
        };
        if source.environment != target.environment {
            return Err(Error::Conflict(format!(
                "{} and {} are of two environments",
                source.name, target.name
            )));
        }
        if from == to {
            return Ok(0);
        }
        let messages = &mut self.messages;
        let ever = Timestamp::from_millis(i64::MAX);
        let untouched = |due: &&Due| {
            // A message that is partly at a carrier stays: phones do not join parts that came by two roads.
            let segments = messages.rows.get(&due.message).map(|row| row.life.segments.iter());
            segments.is_some_and(|mut segments| segments.all(|segment| *segment == Segment::Waiting))
        };
        let queues = messages.queue.of(from);
        let queued = |(queue, purpose)| messages.queue.due.range(Due::until(Lane::Of(queue), purpose, ever));
        let all = queues.iter().flat_map(|queue| Purpose::ALL.map(|purpose| (*queue, purpose)));
        let moving: Vec<Due> = all.flat_map(queued).filter(untouched).take(limit).copied().collect();
        for old in &moving {
            let row = messages.rows.get_mut(&old.message).expect("what is due is there");
            row.message.connection = to;
            let new = Due { lane: Lane::Of(messages.queue.paces.queue_of(&row.message)), ..*old };
            row.due = Some(new);
            row.updated_at = now;
            let expires_at = row.message.expires_at;
            messages.queue.take(*old, expires_at);
            messages.queue.put(new, expires_at);
        }
        Ok(moving.len() as u64)
    }
}

// ── what follows for who is on the suppression list ─────────────────────────────────────────────────────────

impl Tables {
    pub(in crate::model) fn stop_waiting(
        &mut self,
        people: Vec<(Realm, PhoneNumber)>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Advanced> {
        let mut out = Advanced::default();
        for (realm, recipient) in people {
            let waits = |row: &Row| row.message.recipient == recipient && row.life.state.is_waiting();
            if !self.messages.rows.values().any(waits) {
                continue;
            }
            let left = limit.saturating_sub(out.counted.len());
            if left == 0 {
                out.more = true;
                break;
            }
            let standing = self.suppressions.standing(realm, recipient, now);
            if !standing.is_free() {
                out.add(self.end_waiting_for(realm, recipient, &standing, left, now));
            }
        }
        Ok(out)
    }

    /// Ends those of up to `limit` messages that wait in a queue for somebody which the list stops, as the person stands there.
    pub(in crate::model) fn end_waiting_for(
        &mut self,
        realm: Realm,
        recipient: PhoneNumber,
        standing: &Listing,
        limit: usize,
        now: Timestamp,
    ) -> Advanced {
        let of_person = |row: &&Row| {
            row.life.state.is_waiting() && row.message.recipient == recipient && row.due.is_some()
        };
        let waiting: Vec<&Row> = self.messages.rows.values().filter(of_person).take(limit).collect();
        let is_full = waiting.len() == limit;
        let ours = waiting.into_iter().filter(|row| row.message.realm() == realm);
        let ends = ours.filter_map(|row| {
            Some((row.message.id, gate::refuses_listed(&row.message, standing, now)?.failure()))
        });
        let ends: Vec<_> = ends.collect();
        // Where none of them ends, the same call would find the same.
        let more = is_full && !ends.is_empty();
        let retry = RetryPolicy::default();
        let mut commit = Commit::new(self, now, &retry, Jitter(0));
        for (id, why) in ends {
            commit.apply(id, Input::Stopped(why));
        }
        Advanced { more, ..commit.out }
    }
}
