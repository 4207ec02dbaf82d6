//! The event log, the deliveries that are open, and the log of attempts.

use super::endpoint::Endpoints;
use super::inbound::Inbounds;
use super::message::Messages;
use super::{Tables, page_of};
use crate::Result;
use crate::backend::*;
use std::collections::{BTreeMap, BTreeSet};
use tidings_domain::account::Realm;
use tidings_domain::event::Event;
use tidings_domain::id::*;
use tidings_domain::message::Message;
use tidings_domain::time::Timestamp;
use tidings_domain::webhook::{Delivery, Verdict};

/// Tries of one event at one endpoint are numbered below this; a page's cursor holds both.
const NUMBERS: i64 = 1 << 10;

/// Everything that was told or is to be told.
#[derive(Debug, Clone, Default)]
pub(super) struct Events {
    log: BTreeMap<EventId, Logged>,
    /// The newest place ever given: places are never given twice, also when what stood there is gone.
    last: i64,
    feed: BTreeMap<Realm, BTreeSet<EventId>>,
    by_message: BTreeMap<MessageId, Vec<EventId>>,
    by_inbound: BTreeMap<InboundId, Vec<EventId>>,
    /// Open deliveries of each endpoint by when they are due, with the tries so far.
    open: BTreeMap<EndpointId, BTreeMap<(Timestamp, EventId), u32>>,
    open_by_event: BTreeSet<(EventId, Timestamp, EndpointId)>,
    attempts: BTreeMap<(EndpointId, EventId, u32), Attempt>,
}

#[derive(Debug, Clone)]
struct Logged {
    realm: Realm,
    about: Place,
    event: Event,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Message(MessageId),
    Inbound(InboundId),
}

/// What an event is about, as whoever publishes it has it.
#[derive(Clone, Copy)]
pub(super) enum Subject<'a> {
    Message(&'a Message),
    Inbound(&'a Inbound),
}

impl Subject<'_> {
    fn realm(self) -> Realm {
        match self {
            Self::Message(message) => message.realm(),
            Self::Inbound(inbound) => inbound.realm,
        }
    }

    fn about(self) -> About {
        match self {
            Self::Message(message) => About::Message(Box::new(message.clone())),
            Self::Inbound(inbound) => About::Inbound(Box::new(inbound.clone())),
        }
    }
}

impl Events {
    /// Adds the event, and a delivery for everybody who wants to hear of it.
    pub(super) fn publish(
        &mut self,
        endpoints: &Endpoints,
        subject: Subject<'_>,
        event: Event,
        told: &mut Vec<Told>,
    ) {
        self.last = next_place(self.last, event.at);
        let id = EventId::from_key(self.last);
        let realm = subject.realm();
        let (about, callback) = match subject {
            Subject::Message(message) => {
                self.by_message.entry(message.id).or_default().push(id);
                (Place::Message(message.id), message.callback)
            }
            Subject::Inbound(inbound) => {
                self.by_inbound.entry(inbound.id).or_default().push(id);
                (Place::Inbound(inbound.id), None)
            }
        };
        if event.kind.is_public() {
            self.feed.entry(realm).or_default().insert(id);
            for endpoint in endpoints.listening(realm, event.kind, callback) {
                let due_at = event.at.plus_ms(FIRST_LEASE_MS);
                let delivery = Delivery { event: id, endpoint, tries: 0, due_at };
                self.put(delivery);
                let about = subject.about();
                told.push(Told { id, realm, event: event.clone(), about, delivery: Some(delivery) });
            }
        }
        self.log.insert(id, Logged { realm, about, event });
    }

    fn put(&mut self, delivery: Delivery) {
        let Delivery { event, endpoint, tries, due_at } = delivery;
        self.open.entry(endpoint).or_default().insert((due_at, event), tries);
        self.open_by_event.insert((event, due_at, endpoint));
    }

    /// Takes out the delivery that is open under this due time, if there is one.
    fn take(&mut self, endpoint: EndpointId, event: EventId, due_at: Timestamp) -> Option<Delivery> {
        let open = self.open.get_mut(&endpoint)?;
        let tries = open.remove(&(due_at, event))?;
        if open.is_empty() {
            self.open.remove(&endpoint);
        }
        self.open_by_event.remove(&(event, due_at, endpoint));
        Some(Delivery { event, endpoint, tries, due_at })
    }

    /// The open deliveries of an endpoint, the earliest first.
    fn open_at(&self, endpoint: EndpointId) -> impl Iterator<Item = Delivery> + use<'_> {
        let open = self.open.get(&endpoint).into_iter().flatten();
        open.map(move |(&(due_at, event), &tries)| Delivery { event, endpoint, tries, due_at })
    }

    fn open_of(&self, event: EventId) -> impl Iterator<Item = Delivery> + use<'_> {
        let first = (event, Timestamp::from_millis(i64::MIN), EndpointId::from_key(i64::MIN));
        let of_event = self.open_by_event.range(first..).take_while(move |(of, ..)| *of == event);
        of_event.filter_map(|&(event, due_at, endpoint)| {
            let tries = *self.open.get(&endpoint)?.get(&(due_at, event))?;
            Some(Delivery { event, endpoint, tries, due_at })
        })
    }

    /// An event with what it is about; `None` if that was swept away meanwhile.
    fn told(
        &self,
        (messages, inbounds): (&Messages, &Inbounds),
        id: EventId,
        delivery: Option<Delivery>,
    ) -> Option<Told> {
        let logged = self.log.get(&id)?;
        let about = match logged.about {
            Place::Message(message) => Subject::Message(messages.unchanging(message)?).about(),
            Place::Inbound(inbound) => Subject::Inbound(inbounds.find(inbound)?).about(),
        };
        Some(Told { id, realm: logged.realm, event: logged.event.clone(), about, delivery })
    }

    pub(super) fn of_message(&self, id: MessageId) -> Vec<(EventId, Event)> {
        let ids = self.by_message.get(&id).into_iter().flatten();
        ids.filter_map(|id| Some((*id, self.log.get(id)?.event.clone()))).collect()
    }

    pub(super) fn open_about(&self, events: &[EventId]) -> Vec<Delivery> {
        events.iter().flat_map(|event| self.open_of(*event)).collect()
    }

    pub(super) fn drop_open(&mut self, endpoint: EndpointId) {
        for ((due_at, event), _) in self.open.remove(&endpoint).unwrap_or_default() {
            self.open_by_event.remove(&(event, due_at, endpoint));
        }
    }

    /// How many deliveries are open, and when the first became due.
    pub(super) fn open_now(&self, now: Timestamp) -> (u64, Option<Timestamp>) {
        let first = self.earliest().map(|(_, due_at)| due_at).min();
        (self.open_by_event.len() as u64, first.filter(|due_at| *due_at <= now))
    }

    fn earliest(&self) -> impl Iterator<Item = (EndpointId, Timestamp)> + use<'_> {
        let first =
            |open: &BTreeMap<(Timestamp, EventId), u32>| open.keys().next().map(|(due_at, _)| *due_at);
        self.open.iter().filter_map(move |(endpoint, open)| Some((*endpoint, first(open)?)))
    }
}

// ── the feed ────────────────────────────────────────────────────────────────────────────────────────────────

impl Tables {
    pub(super) fn events(&mut self, realm: Realm, after: Option<EventId>, limit: usize) -> Result<Stretch> {
        let events = &self.events;
        let first = EventId::from_key(after.map_or(0, EventId::key).saturating_add(1));
        let looked_at: Vec<EventId> =
            events.log.range(first..).take(EVENTS_LOOKED_AT_MAX).map(|(id, _)| *id).collect();
        let last = looked_at.last().copied();
        let feed = events.feed.get(&realm).into_iter().flat_map(|feed| feed.range(first..));
        let found: Vec<EventId> = feed.copied().take_while(|id| Some(*id) <= last).take(limit).collect();
        let full = found.last().copied().filter(|_| found.len() == limit);
        let told = |id: &EventId| events.told((&self.messages, &self.inbounds), *id, None);
        Ok(Stretch {
            told: found.iter().filter_map(told).collect(),
            upto: full.or(last).or(after),
            is_end: full.is_none() && looked_at.len() < EVENTS_LOOKED_AT_MAX,
        })
    }

    pub(super) fn event(&mut self, realm: Realm, id: EventId) -> Result<Option<Told>> {
        Ok(self.events.told((&self.messages, &self.inbounds), id, None).filter(|told| told.realm == realm))
    }
}

// ── deliveries ──────────────────────────────────────────────────────────────────────────────────────────────

impl Tables {
    pub(super) fn claim_deliveries(
        &mut self,
        wanted: Vec<(EndpointId, usize)>,
        lease_ms: i64,
        now: Timestamp,
    ) -> Result<Vec<Told>> {
        let mut claimed = Vec::new();
        for (endpoint, room) in wanted {
            let is_on = self.endpoints.is_on(endpoint);
            let room = if is_on { room } else { usize::MAX };
            let due = self.events.open_at(endpoint).take_while(|one| one.due_at <= now);
            for one in due.take(room).collect::<Vec<_>>() {
                self.events.take(endpoint, one.event, one.due_at);
                if !is_on {
                    // Switched off or deleted: its events stay in the log and can be replayed.
                    continue;
                }
                let leased = Delivery { due_at: now.plus_ms(lease_ms), ..one };
                if let Some(told) =
                    self.events.told((&self.messages, &self.inbounds), one.event, Some(leased))
                {
                    self.events.put(leased);
                    claimed.push(told);
                }
            }
        }
        Ok(claimed)
    }

    pub(super) fn give_back_deliveries(&mut self, leased: Vec<Delivery>, now: Timestamp) -> Result<()> {
        for one in leased {
            if let Some(open) = self.events.take(one.endpoint, one.event, one.due_at) {
                self.events.put(Delivery { due_at: now, ..open });
            }
        }
        Ok(())
    }

    pub(super) fn record_attempts(&mut self, attempts: Vec<Attempt>, now: Timestamp) -> Result<()> {
        for attempt in attempts {
            let Attempt { event, endpoint, number, lease, verdict, .. } = attempt;
            self.endpoints.record_health(endpoint, verdict, now);
            // The try settles the delivery whose lease it held, and no later one.
            let held = self.events.take(endpoint, event, lease);
            if let (Some(held), Verdict::RetryAt(due_at)) = (held, verdict) {
                self.events.put(Delivery { tries: number, due_at, ..held });
            }
            self.events.attempts.insert((endpoint, event, number), attempt);
        }
        Ok(())
    }

    pub(super) fn release_deliveries(&mut self, now: Timestamp) -> Result<u64> {
        // A lease ends after FIRST_LEASE_MS at most, a retry's due time is its own: only leases are shortened.
        let last = now.plus_ms(FIRST_LEASE_MS);
        let mut released = 0;
        for endpoint in self.events.open.keys().copied().collect::<Vec<_>>() {
            let leased = self.events.open_at(endpoint).filter(|one| one.tries == 0);
            let leased: Vec<Delivery> = leased.filter(|one| one.due_at > now && one.due_at <= last).collect();
            released += leased.len() as u64;
            self.give_back_deliveries(leased, now)?;
        }
        Ok(released)
    }

    pub(super) fn due_endpoints(&mut self) -> Result<Vec<(EndpointId, Timestamp)>> {
        Ok(self.events.earliest().collect())
    }

    pub(super) fn replay(
        &mut self,
        realm: Realm,
        id: EndpointId,
        what: Replay,
        limit: usize,
        actor: Actor,
        now: Timestamp,
    ) -> Result<Option<u64>> {
        let Some(endpoint) = self.endpoints.find(realm, id) else { return Ok(None) };
        let events = &mut self.events;
        let named = |event: EventId| match what {
            Replay::One(one) => event == one,
            Replay::Range(from, to) => {
                events.log.get(&event).is_some_and(|l| (from..to).contains(&l.event.at))
            }
        };
        let first = match what {
            Replay::One(one) => one,
            Replay::Range(..) => EventId::from_key(0),
        };
        let feed = events.feed.get(&realm).into_iter().flat_map(|feed| feed.range(first..)).copied();
        let wanted = feed.filter(|event| named(*event)).filter(|event| {
            let kind = events.log.get(event).map(|logged| logged.event.kind);
            kind.is_some_and(|kind| endpoint.kinds == 0 || endpoint.kinds & kind.bit() != 0)
        });
        let limit = if matches!(what, Replay::One(_)) { 1 } else { limit };
        let again: Vec<EventId> = wanted.take(limit).collect();
        for event in &again {
            for one in events.open_of(*event).filter(|one| one.endpoint == id).collect::<Vec<_>>() {
                events.take(id, one.event, one.due_at);
            }
            let tries = events.attempts.range((id, *event, 0)..=(id, *event, u32::MAX)).next_back();
            let tries = tries.map_or(0, |((.., number), _)| *number);
            events.put(Delivery { event: *event, endpoint: id, tries, due_at: now });
        }
        let count = again.len() as u64;
        self.write_audit(&actor, "webhook.replay", id.to_string(), format!("{count} events"), now);
        Ok(Some(count))
    }
}

// ── attempts ────────────────────────────────────────────────────────────────────────────────────────────────

impl Events {
    /// An attempt as it is shown; `None` once its event is swept away.
    fn shown(&self, (key, attempt): (&(EndpointId, EventId, u32), &Attempt)) -> Option<Attempt> {
        let (_, event, number) = *key;
        let logged = self.log.get(&event)?;
        Some(Attempt {
            seq: event.key() * NUMBERS + i64::from(number),
            realm: logged.realm,
            message: match logged.about {
                Place::Message(message) => Some(message),
                Place::Inbound(_) => None,
            },
            lease: Timestamp::default(),
            ..attempt.clone()
        })
    }

    pub(super) fn attempts_about(&self, endpoints: &[EndpointId], events: &[EventId]) -> Vec<Attempt> {
        let mut found = Vec::new();
        for endpoint in endpoints {
            for event in events {
                let of_both = self.attempts.range((*endpoint, *event, 0)..=(*endpoint, *event, u32::MAX));
                found.extend(of_both.filter_map(|entry| self.shown(entry)));
            }
        }
        found.sort_by_key(|attempt| (attempt.at, attempt.seq));
        found
    }
}

impl Tables {
    pub(super) fn attempts(&mut self, realm: Realm, id: EndpointId, page: Page) -> Result<Paged<Attempt>> {
        let events = &self.events;
        let before = page.before.unwrap_or(i64::MAX);
        let (event, number) = (EventId::from_key(before / NUMBERS), (before % NUMBERS) as u32);
        let first = (id, EventId::from_key(i64::MIN), 0);
        let log = events.attempts.range(first..(id, event, number)).rev();
        let shown = log.filter_map(|entry| events.shown(entry)).filter(|attempt| attempt.realm == realm);
        Ok(page_of(shown, page, |attempt| attempt.seq))
    }
}

// ── taking out the old ──────────────────────────────────────────────────────────────────────────────────────

impl Events {
    pub(super) fn sweep_attempts(&mut self, before: Timestamp, limit: usize) -> bool {
        let old = self.attempts.iter().filter(|(_, attempt)| attempt.at < before).map(|(key, _)| *key);
        let old: Vec<_> = old.take(limit).collect();
        for key in &old {
            self.attempts.remove(key);
        }
        old.len() == limit
    }

    /// Whether the message's events must stay: an endpoint must still be told of one, or one is the newest of all,
    /// whose place marks where the next is given.
    pub(super) fn must_stay(&self, message: MessageId) -> bool {
        self.is_needed(Place::Message(message), self.by_message.get(&message))
    }

    /// The same for a message of a person.
    pub(super) fn must_inbound_stay(&self, inbound: InboundId) -> bool {
        self.is_needed(Place::Inbound(inbound), self.by_inbound.get(&inbound))
    }

    fn is_needed(&self, about: Place, events: Option<&Vec<EventId>>) -> bool {
        let newest = self.log.last_key_value().is_some_and(|(_, l)| l.about == about);
        newest || events.into_iter().flatten().any(|event| self.open_of(*event).next().is_some())
    }

    pub(super) fn remove_of(&mut self, message: MessageId) {
        let events = self.by_message.remove(&message);
        self.remove(events);
    }

    pub(super) fn remove_of_inbound(&mut self, inbound: InboundId) {
        let events = self.by_inbound.remove(&inbound);
        self.remove(events);
    }

    fn remove(&mut self, events: Option<Vec<EventId>>) {
        for id in events.unwrap_or_default() {
            let Some(logged) = self.log.remove(&id) else { continue };
            if let Some(feed) = self.feed.get_mut(&logged.realm) {
                feed.remove(&id);
            }
        }
    }
}
