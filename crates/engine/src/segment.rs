//! Whom segments find: contacts are looked at page by page, and the facts that a query asks for are read for a page at once.
//!
//! What a query asks of history stands in the event log, which has no index by recipient: one would cost every message. So
//! the log of a realm is read once something asks, and from then on what is new in it; what happened last with each number is
//! kept. [`read_history`] does that before a query is answered, and [`read_on`] from time to time, so that little is left.

use crate::clock::Clock;
use std::collections::HashMap;
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::consent::History;
use tidings_domain::contact::Contact;
use tidings_domain::segment::{Past, Person, Query, Touch, matches, settled};
use tidings_domain::time::Timestamp;
use tidings_store::{About, Backend, ContactFilter, Page, Result, Told, Touched};

/// Contacts that are looked at in one go.
const STEP: usize = 500;
/// Contacts that are looked at for one page: a fifth of a second of a processor in an unoptimised build, where facts must be
/// read for all of them.
pub const LOOKED_MAX: u64 = 5_000;
/// How long a request counts: milliseconds.
pub const COUNT_MS: u64 = 5_000;
/// How long a request reads the event log: milliseconds.
pub const READ_MS: u64 = 3_000;
/// Events that are read in one go.
const EVENTS: usize = 1_000;

// ── looking through contacts ────────────────────────────────────────────────────────────────────────────────

/// A look through the contacts of a realm, the newest first.
#[derive(Debug)]
pub struct Scan {
    realm: Realm,
    query: Query,
    now: Timestamp,
    filter: ContactFilter,
    before: Option<i64>,
    is_ended: bool,
    looked_at: u64,
}

impl Scan {
    /// From a place on, or from the newest. All of it is answered as of this moment.
    pub fn new(realm: Realm, query: Query, before: Option<i64>, now: Timestamp) -> Self {
        let filter = ContactFilter { number: None, group: query.within().cloned() };
        Self { realm, query, now, filter, before, is_ended: false, looked_at: 0 }
    }

    /// Those among the next few hundred contacts that the query finds; `None` behind the last.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn next(&mut self, store: &dyn Backend) -> Result<Option<Vec<Contact>>> {
        if self.is_ended {
            return Ok(None);
        }
        let page = Page { before: self.before, limit: STEP };
        let page = store.contacts(self.realm, self.filter.clone(), page).await?;
        self.before = page.next;
        self.is_ended = page.next.is_none();
        self.looked_at += page.items.len() as u64;
        found(store, self.realm, &self.query, page.items, self.now).await.map(Some)
    }

    /// Where to go on; `None` behind the last contact.
    pub const fn place(&self) -> Option<i64> {
        if self.is_ended { None } else { self.before }
    }

    /// How many contacts were looked at.
    pub const fn looked_at(&self) -> u64 {
        self.looked_at
    }
}

/// Those of these contacts that a query finds, in their order.
///
/// # Errors
/// The store does not answer.
pub async fn found(
    store: &dyn Backend,
    realm: Realm,
    query: &Query,
    contacts: Vec<Contact>,
    now: Timestamp,
) -> Result<Vec<Contact>> {
    // Facts are read for those about whom the contact alone does not say it.
    let mut kept: Vec<(Contact, bool)> = contacts
        .into_iter()
        .filter_map(|contact| match settled(query, &contact, now) {
            Some(true) => Some((contact, false)),
            Some(false) => None,
            None => Some((contact, true)),
        })
        .collect();
    let needs = query.needs();
    let open = || kept.iter().filter(|(_, is_open)| *is_open).map(|(contact, _)| contact);
    let usual: Vec<(Realm, PhoneNumber)> =
        open().filter_map(|contact| Some((realm, *contact.numbers.first()?))).collect();
    let numbers: Vec<PhoneNumber> = open().flat_map(|contact| contact.numbers.iter().copied()).collect();
    let keys = || usual.iter().map(|(_, number)| *number);
    let (mut said, mut suppressed, mut pasts) = (HashMap::new(), HashMap::new(), HashMap::new());
    if needs.consent && !usual.is_empty() {
        said = keys().zip(store.said(usual.clone()).await?).collect();
    }
    if needs.suppression && !usual.is_empty() {
        suppressed = keys().zip(store.suppressed(usual.clone(), now).await?).collect();
    }
    if needs.history && !numbers.is_empty() {
        let found = store.touches(realm, numbers.clone()).await?;
        pasts = numbers.into_iter().zip(found).collect::<HashMap<_, _>>();
    }
    let nothing_said = History::default();
    kept.retain(|(contact, is_open)| {
        let usual = contact.numbers.first();
        let mut past = Past::default();
        for other in contact.numbers.iter().filter_map(|number| pasts.get(number)) {
            past.merge(other);
        }
        let person = Person {
            contact,
            said: usual.and_then(|number| said.get(number)).unwrap_or(&nothing_said),
            suppressed: usual.and_then(|number| suppressed.get(number)?.against_all()),
            past: &past,
        };
        !is_open || matches(query, &person, now)
    });
    Ok(kept.into_iter().map(|(contact, _)| contact).collect())
}

/// A page of those whom a query finds.
#[derive(Debug)]
pub struct Found {
    /// Them.
    pub contacts: Vec<Contact>,
    /// How many contacts were looked at.
    pub looked_at: u64,
    /// Where to go on; `None` if all were looked at. A page may be empty and still have a next one.
    pub next: Option<i64>,
}

/// The next of those whom a query finds: at most as many as the page has, and those among [`LOOKED_MAX`] contacts.
///
/// # Errors
/// The store does not answer.
pub async fn find(
    store: &dyn Backend,
    realm: Realm,
    query: &Query,
    page: Page,
    now: Timestamp,
) -> Result<Found> {
    let mut scan = Scan::new(realm, query.clone(), page.before, now);
    let mut contacts = Vec::new();
    while contacts.len() < page.limit && scan.looked_at < LOOKED_MAX {
        let Some(found) = scan.next(store).await? else { break };
        contacts.extend(found);
    }
    let mut next = scan.place();
    if contacts.len() > page.limit {
        contacts.truncate(page.limit);
        next = contacts.last().map(|last| last.id.key());
    }
    Ok(Found { contacts, looked_at: scan.looked_at, next })
}

/// How many a query finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// So many.
    pub found: u64,
    /// Among so many contacts that were looked at.
    pub looked_at: u64,
    /// Where to go on; `None` if all were looked at.
    pub next: Option<i64>,
}

/// Counts from a place on, for so long: milliseconds; some contacts are looked at in any case. The first that are found, up to
/// `first` of them, are given with it.
///
/// # Errors
/// The store does not answer.
pub async fn count(
    store: &dyn Backend,
    clock: &Clock,
    mut scan: Scan,
    first: usize,
    within_ms: u64,
) -> Result<(Count, Vec<Contact>)> {
    let watch = clock.stopwatch();
    let (mut count, mut contacts) = (0, Vec::new());
    while let Some(found) = scan.next(store).await? {
        count += found.len() as u64;
        let room = first - contacts.len();
        contacts.extend(found.into_iter().take(room));
        if watch.elapsed_ms() >= within_ms {
            break;
        }
    }
    Ok((Count { found: count, looked_at: scan.looked_at, next: scan.place() }, contacts))
}

// ── what happened ───────────────────────────────────────────────────────────────────────────────────────────

/// What happened with whom, in an event.
fn touches(told: &Told) -> Option<(PhoneNumber, Touch, Timestamp)> {
    let (number, purpose) = match &told.about {
        About::Message(message) => (message.recipient, Some(message.purpose)),
        About::Inbound(inbound) => (inbound.person()?, None),
        About::Test => return None,
    };
    Some((number, Touch::of(told.event.kind, purpose)?, told.event.at))
}

/// Reads the event log of a realm on to its end, for so long: milliseconds. `false` if there is more. What was read is kept,
/// so that it is gone on from there, by whoever reads next.
///
/// # Errors
/// The store does not answer.
pub async fn read_history(store: &dyn Backend, clock: &Clock, realm: Realm, within_ms: u64) -> Result<bool> {
    let watch = clock.stopwatch();
    let place = async || {
        let places = store.touch_places().await?;
        Ok::<_, tidings_store::Error>(places.into_iter().find(|(of, _)| *of == realm).map(|(_, upto)| upto))
    };
    let mut after = place().await?;
    loop {
        let read = store.events(realm, after, EVENTS).await?;
        // Also where nothing of this realm was found: what others did is not looked through again.
        let Some(upto) = read.upto.filter(|upto| Some(*upto) != after) else { return Ok(true) };
        let touches = read.told.iter().filter_map(touches).collect();
        let is_added = store.add_touches(realm, Touched { after, upto, touches }).await?;
        if is_added && read.is_end {
            return Ok(true);
        }
        // Somebody else read on meanwhile: from there.
        after = if is_added { Some(upto) } else { place().await? };
        if watch.elapsed_ms() >= within_ms {
            return Ok(false);
        }
    }
}

/// Reads the event log on for every realm in which something asked for it before.
///
/// # Errors
/// The store does not answer.
pub async fn read_on(store: &dyn Backend, clock: &Clock) -> Result<()> {
    for (realm, _) in store.touch_places().await? {
        read_history(store, clock, realm, READ_MS).await?;
    }
    Ok(())
}
