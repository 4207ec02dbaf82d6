//! Segments of contacts, and what happened last with numbers.

use super::{Tables, page_of};
use crate::backend::*;
use crate::segment::{changed_line, name_taken};
use crate::{Error, Result};
use std::collections::BTreeMap;
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::id::{EventId, SegmentId};
use tidings_domain::segment::{Change, Past, Segment, Touch};
use tidings_domain::time::Timestamp;

/// Every segment, every touch by number and kind, and how far the event log was read for them.
#[derive(Debug, Clone, Default)]
pub(super) struct Segments {
    rows: BTreeMap<SegmentId, Segment>,
    touches: BTreeMap<(Realm, PhoneNumber, Touch), Timestamp>,
    places: BTreeMap<Realm, EventId>,
}

impl Segments {
    fn named(&self, realm: Realm, name: &str) -> Option<&Segment> {
        self.rows.values().find(|segment| segment.realm == realm && segment.name == name)
    }

    fn find(&self, realm: Realm, id: SegmentId) -> Option<&Segment> {
        self.rows.get(&id).filter(|segment| segment.realm == realm)
    }

    /// Forgets what is older. `true` if there may be more of it.
    pub(super) fn sweep(&mut self, before: Timestamp, limit: usize) -> bool {
        let mut old: Vec<_> = self.touches.iter().filter(|(_, at)| **at < before).collect();
        old.sort_by_key(|(_, at)| **at);
        let old: Vec<_> = old.into_iter().take(limit).map(|(key, _)| *key).collect();
        for key in &old {
            self.touches.remove(key);
        }
        old.len() == limit
    }
}

impl Tables {
    pub(super) fn create_segment(&mut self, segment: Segment, actor: Actor) -> Result<()> {
        if let Some(known) = self.segments.named(segment.realm, &segment.name) {
            return Err(name_taken(known.id, &known.name));
        }
        if self.segments.rows.contains_key(&segment.id) {
            return Err(Error::Conflict(format!("there is a segment {} already", segment.id)));
        }
        let (id, now) = (segment.id, segment.created_at);
        self.write_audit(&actor, "segment.create", id.to_string(), segment.name.clone(), now);
        self.segments.rows.insert(id, segment);
        Ok(())
    }

    pub(super) fn change_segment(
        &mut self,
        realm: Realm,
        id: SegmentId,
        change: Change,
        actor: Actor,
        now: Timestamp,
    ) -> Result<Option<Segment>> {
        let Some(before) = self.segments.find(realm, id) else { return Ok(None) };
        let after = before.changed(&change, now);
        if let Some(known) = self.segments.named(realm, &after.name).filter(|known| known.id != id) {
            return Err(name_taken(known.id, &known.name));
        }
        if after != *before {
            self.write_audit(&actor, "segment.change", id.to_string(), changed_line(&change), now);
            self.segments.rows.insert(id, after.clone());
        }
        Ok(Some(after))
    }

    pub(super) fn delete_segment(
        &mut self,
        realm: Realm,
        id: SegmentId,
        actor: Actor,
        now: Timestamp,
    ) -> Result<bool> {
        let Some(name) = self.segments.find(realm, id).map(|segment| segment.name.clone()) else {
            return Ok(false);
        };
        self.segments.rows.remove(&id);
        self.write_audit(&actor, "segment.delete", id.to_string(), name, now);
        Ok(true)
    }

    pub(super) fn segment(&mut self, realm: Realm, which: WhichSegment) -> Result<Option<Segment>> {
        let found = match which {
            WhichSegment::Id(id) => self.segments.find(realm, id),
            WhichSegment::Name(name) => self.segments.named(realm, &name),
        };
        Ok(found.cloned())
    }

    pub(super) fn segments(&mut self, realm: Realm, page: Page) -> Result<Paged<Segment>> {
        let before = SegmentId::from_key(page.before.unwrap_or(i64::MAX));
        let newest = self.segments.rows.range(..before).rev().map(|(_, segment)| segment);
        let found = newest.filter(|segment| segment.realm == realm).cloned();
        Ok(page_of(found, page, |segment| segment.id.key()))
    }

    pub(super) fn touches(&mut self, realm: Realm, numbers: Vec<PhoneNumber>) -> Result<Vec<Past>> {
        let of_one = |number: PhoneNumber| {
            let mut past = Past::default();
            for ((of, with, touch), at) in &self.segments.touches {
                if (*of, *with) == (realm, number) {
                    past.add(*touch, *at);
                }
            }
            past
        };
        Ok(numbers.into_iter().map(of_one).collect())
    }

    pub(super) fn touch_places(&mut self) -> Result<Vec<(Realm, EventId)>> {
        Ok(self.segments.places.iter().map(|(realm, upto)| (*realm, *upto)).collect())
    }

    pub(super) fn add_touches(&mut self, realm: Realm, read: Touched) -> Result<bool> {
        if self.segments.places.get(&realm).copied() != read.after {
            return Ok(false);
        }
        self.segments.places.insert(realm, read.upto);
        for (number, touch, at) in read.touches {
            let last = self.segments.touches.entry((realm, number, touch)).or_insert(at);
            *last = (*last).max(at);
        }
        Ok(true)
    }
}
