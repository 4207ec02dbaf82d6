//! The event log, the deliveries that are open, and the log of attempts.
//!
//! Events, deliveries and attempts are noted on a [`Sheet`] and written with the group that they belong to.

use super::front::Queue;
use super::message;
use super::reader::Rx;
use super::session::{Flight, Session, cell, clean, live, realm, single, values};
use super::transaction::{self, Tx};
use super::{endpoint, inbound, operating};
use crate::Result;
use crate::backend::*;
use crate::column;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use tidings_domain::account::Realm;
use tidings_domain::event::{Event, Kind};
use tidings_domain::id::*;
use tidings_domain::inbound::Whose;
use tidings_domain::message::Message;
use tidings_domain::time::Timestamp;
use tidings_domain::webhook::{DISABLE_AFTER_MS, Delivery, Verdict};
use tokio_postgres::Row;

/// Leases of an earlier process that are shortened at a start, which waits for it. The others end by themselves within
/// [`FIRST_LEASE_MS`].
const RELEASED_MAX: i64 = 10_000;

// ── the sheet ───────────────────────────────────────────────────────────────────────────────────────────────

/// A row of `delivery`: endpoint, due time, event.
type Key = (i64, i64, i64);

fn key(delivery: &Delivery) -> Key {
    (delivery.endpoint.key(), delivery.due_at.as_millis(), delivery.event.key())
}

/// What a transaction has to write of events and deliveries.
#[derive(Default)]
pub(super) struct Sheet {
    logged: Vec<Logged>,
    /// What becomes of these deliveries: tries and account, or nothing any more.
    deliveries: BTreeMap<Key, Option<(u32, i64)>>,
    /// Those that no transaction before this one can have opened.
    fresh: HashSet<Key>,
    /// Whether these deliveries are open in the database.
    held: HashMap<Key, bool>,
    attempts: BTreeMap<(i64, i64, u32), Attempt>,
}

struct Logged {
    id: EventId,
    realm: Realm,
    message: Option<MessageId>,
    inbound: Option<InboundId>,
    event: Event,
}

/// What operations say beforehand that they will look at.
#[derive(Default)]
pub(super) struct Needs {
    held: BTreeSet<Key>,
}

impl Needs {
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    fn held(&mut self, sheet: &Sheet, key: Key) {
        if !sheet.held.contains_key(&key) {
            self.held.insert(key);
        }
    }
}

impl Sheet {
    /// Notes an event.
    pub fn log(
        &mut self,
        id: EventId,
        realm: Realm,
        message: Option<MessageId>,
        inbound: Option<InboundId>,
        event: Event,
    ) {
        self.logged.push(Logged { id, realm, message, inbound, event });
    }

    /// Opens a delivery that its maker hands over in memory: it is leased, and comes back by itself if nobody answers.
    pub fn lease_first(
        &mut self,
        event: EventId,
        endpoint: EndpointId,
        realm: Realm,
        now: Timestamp,
    ) -> Delivery {
        let delivery = Delivery { event, endpoint, tries: 0, due_at: now.plus_ms(FIRST_LEASE_MS) };
        self.put(delivery, realm.account.key());
        self.fresh.insert(key(&delivery));
        delivery
    }

    fn put(&mut self, delivery: Delivery, account: i64) {
        self.deliveries.insert(key(&delivery), Some((delivery.tries, account)));
    }

    fn take(&mut self, delivery: &Delivery) {
        self.deliveries.insert(key(delivery), None);
    }

    /// Loads what was named.
    pub async fn load(&mut self, sql: &Session, needs: Needs) -> Result<()> {
        if needs.is_empty() {
            return Ok(());
        }
        let keys = columns_of(needs.held.iter().copied());
        let rows = sql
            .rows(
                "SELECT d.endpoint, d.due_at, d.event FROM unnest($1::bigint[], $2::bigint[], $3::bigint[])
                   AS k (endpoint, due_at, event)
                 CROSS JOIN LATERAL (SELECT x.endpoint, x.due_at, x.event FROM delivery x
                   WHERE x.endpoint = k.endpoint AND x.due_at = k.due_at AND x.event = k.event LIMIT 1) d",
                &[&keys.0, &keys.1, &keys.2],
            )
            .await?;
        for key in needs.held {
            self.held.entry(key).or_insert(false);
        }
        for row in rows {
            self.held.insert((cell(&row, 0)?, cell(&row, 1)?, cell(&row, 2)?), true);
        }
        Ok(())
    }

    /// Adds what has to be written.
    pub fn write<'v>(&'v self, flight: &mut Flight<'v>) {
        self.write_events(flight);
        self.write_deliveries(flight);
        self.write_attempts(flight);
    }

    fn write_events<'v>(&'v self, flight: &mut Flight<'v>) {
        if self.logged.is_empty() {
            return;
        }
        let all = &self.logged;
        flight.statement(
            "INSERT INTO event (seq, account, live, kind, message, inbound, status, attempt, at, due_at, failure, raw)
             SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::smallint[], $5::bigint[], $6::bigint[],
               $7::smallint[], $8::integer[], $9::bigint[], $10::bigint[], $11::text[], $12::text[])",
            values![
                all.iter().map(|one| one.id.key()).collect::<Vec<_>>(),
                all.iter().map(|one| one.realm.account.key()).collect::<Vec<_>>(),
                all.iter().map(|one| live(one.realm.environment)).collect::<Vec<_>>(),
                all.iter().map(|one| one.event.kind as i16).collect::<Vec<_>>(),
                all.iter().map(|one| one.message.map(MessageId::key)).collect::<Vec<_>>(),
                all.iter().map(|one| one.inbound.map(InboundId::key)).collect::<Vec<_>>(),
                all.iter().map(|one| column::status_number(one.event.status) as i16).collect::<Vec<_>>(),
                all.iter().map(|one| one.event.attempt as i32).collect::<Vec<_>>(),
                all.iter().map(|one| one.event.at.as_millis()).collect::<Vec<_>>(),
                all.iter().map(|one| one.event.due_at.map(Timestamp::as_millis)).collect::<Vec<_>>(),
                all.iter()
                    .map(|one| {
                        let failure = one.event.failure.as_ref().map(column::failure_text);
                        failure.map(|text| clean(&text).into_owned())
                    })
                    .collect::<Vec<_>>(),
                all.iter().map(|one| one.event.raw.as_deref().map(clean)).collect::<Vec<_>>(),
            ],
        );
    }

    /// What is put into the queues of endpoints.
    pub fn put_deliveries(&self, put: &mut Vec<(Queue, i64)>) {
        let open = self.deliveries.iter().filter(|(_, change)| change.is_some());
        put.extend(open.map(|((endpoint, due_at, _), _)| (Queue::Endpoint(*endpoint), *due_at)));
    }

    fn write_deliveries<'v>(&'v self, flight: &mut Flight<'v>) {
        let (mut gone, mut fresh, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        for (key, change) in &self.deliveries {
            match change {
                Some((tries, account)) => {
                    let put = (*key, *tries as i32, *account);
                    if self.fresh.contains(key) { fresh.push(put) } else { kept.push(put) }
                }
                None if self.fresh.contains(key) => {}
                None => gone.push(*key),
            }
        }
        if !gone.is_empty() {
            let keys = columns_of(gone.into_iter());
            flight.statement(
                "DELETE FROM delivery WHERE ctid = ANY (ARRAY (
                   SELECT d.place FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS k (endpoint, due_at, event)
                   CROSS JOIN LATERAL (SELECT x.ctid AS place FROM delivery x
                     WHERE x.endpoint = k.endpoint AND x.due_at = k.due_at AND x.event = k.event LIMIT 1) d))",
                values![keys.0, keys.1, keys.2],
            );
        }
        for (puts, statement) in [
            (
                fresh,
                "INSERT INTO delivery (endpoint, due_at, event, tries, account)
                 SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::integer[], $5::bigint[])",
            ),
            (
                kept,
                "INSERT INTO delivery (endpoint, due_at, event, tries, account)
                 SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::integer[], $5::bigint[])
                 ON CONFLICT (endpoint, due_at, event, account) DO UPDATE SET tries = excluded.tries",
            ),
        ] {
            if puts.is_empty() {
                continue;
            }
            let keys = columns_of(puts.iter().map(|(key, ..)| *key));
            flight.statement(
                statement,
                values![
                    keys.0,
                    keys.1,
                    keys.2,
                    puts.iter().map(|(_, tries, _)| *tries).collect::<Vec<_>>(),
                    puts.iter().map(|(.., account)| *account).collect::<Vec<_>>(),
                ],
            );
        }
    }

    fn write_attempts<'v>(&'v self, flight: &mut Flight<'v>) {
        if self.attempts.is_empty() {
            return;
        }
        let all: Vec<&Attempt> = self.attempts.values().collect();
        let verdicts = all.iter().map(|one| match one.verdict {
            Verdict::Done => (0, None),
            Verdict::RetryAt(at) => (1, Some(at.as_millis())),
            Verdict::Dead => (2, None),
            Verdict::Gone => (3, None),
        });
        let (verdicts, retries): (Vec<i16>, Vec<Option<i64>>) = verdicts.unzip();
        flight.statement(
            "INSERT INTO attempt (endpoint, event, account, number, at, took_ms, status, request, response, verdict, retry_at)
             SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::integer[], $5::bigint[], $6::bigint[],
               $7::integer[], $8::text[], $9::text[], $10::smallint[], $11::bigint[])
             ON CONFLICT (endpoint, event, number, account) DO UPDATE SET at = excluded.at, took_ms = excluded.took_ms,
               status = excluded.status, request = excluded.request, response = excluded.response,
               verdict = excluded.verdict, retry_at = excluded.retry_at",
            values![
                all.iter().map(|one| one.endpoint.key()).collect::<Vec<_>>(),
                all.iter().map(|one| one.event.key()).collect::<Vec<_>>(),
                all.iter().map(|one| one.realm.account.key()).collect::<Vec<_>>(),
                all.iter().map(|one| one.number as i32).collect::<Vec<_>>(),
                all.iter().map(|one| one.at.as_millis()).collect::<Vec<_>>(),
                all.iter().map(|one| i64::from(one.took_ms)).collect::<Vec<_>>(),
                all.iter().map(|one| one.status.map(i32::from)).collect::<Vec<_>>(),
                all.iter().map(|one| clean(&one.request)).collect::<Vec<_>>(),
                all.iter().map(|one| clean(&one.response)).collect::<Vec<_>>(),
                verdicts,
                retries,
            ],
        );
    }
}

fn columns_of(keys: impl Iterator<Item = Key>) -> (Vec<i64>, Vec<i64>, Vec<i64>) {
    let mut columns = (Vec::new(), Vec::new(), Vec::new());
    for (endpoint, due_at, event) in keys {
        columns.0.push(endpoint);
        columns.1.push(due_at);
        columns.2.push(event);
    }
    columns
}

impl Tx {
    /// Whether a delivery is open under this lease.
    async fn is_held(&mut self, delivery: &Delivery) -> Result<bool> {
        let key = key(delivery);
        if let Some(change) = self.sheets.events.deliveries.get(&key) {
            return Ok(change.is_some());
        }
        let mut needs = Needs::default();
        needs.held(&self.sheets.events, key);
        if !needs.is_empty() {
            self.sheets.events.load(&self.sql, needs).await?;
        }
        Ok(self.sheets.events.held.get(&key).copied().unwrap_or(false))
    }
}

// ── reading events ──────────────────────────────────────────────────────────────────────────────────────────

/// The columns of an event: what [`logged`] reads from the place where they begin.
macro_rules! columns {
    () => {
        "e.seq, e.account, e.live, e.kind, e.message, e.inbound, e.status, e.attempt, e.at, e.due_at, e.failure, e.raw"
    };
}

fn logged(row: &Row, first: usize) -> Result<Logged> {
    let kind: i16 = cell(row, first + 3)?;
    let failure: Option<&str> = cell(row, first + 10)?;
    let known = usize::try_from(kind).ok().and_then(|kind| Kind::ALL.get(kind).copied());
    Ok(Logged {
        id: EventId::from_key(cell(row, first)?),
        realm: realm(row, first + 1)?,
        message: cell::<Option<i64>>(row, first + 4)?.map(MessageId::from_key),
        inbound: cell::<Option<i64>>(row, first + 5)?.map(InboundId::from_key),
        event: Event {
            kind: known.ok_or_else(|| column::corrupt("kind of event", kind))?,
            status: column::status(i64::from(cell::<i16>(row, first + 6)?))?,
            attempt: cell::<i32>(row, first + 7)? as u32,
            at: Timestamp::from_millis(cell(row, first + 8)?),
            due_at: cell::<Option<i64>>(row, first + 9)?.map(Timestamp::from_millis),
            failure: failure.map(column::failure).transpose()?,
            raw: cell(row, first + 11)?,
        },
    })
}

/// Adds what events are about. One whose message was swept away meanwhile is left out.
async fn tell(sql: &Session, events: Vec<(Logged, Option<Delivery>)>) -> Result<Vec<Told>> {
    let messages: BTreeSet<i64> = events.iter().filter_map(|(one, _)| Some(one.message?.key())).collect();
    let inbounds: Vec<i64> = events.iter().filter_map(|(one, _)| Some(one.inbound?.key())).collect();
    let (messages, inbounds): (HashMap<MessageId, Arc<Message>>, _) =
        tokio::try_join!(message::unchanging(sql, &messages), inbound::find(sql, &inbounds))?;
    let about = |one: &Logged| match (one.message, one.inbound) {
        (Some(id), _) => messages.get(&id).map(|message| About::Message(Box::new(Message::clone(message)))),
        (None, Some(id)) => inbounds.get(&id).map(|inbound| About::Inbound(Box::new(inbound.clone()))),
        (None, None) => Some(About::Test),
    };
    let told = events.into_iter().filter_map(|(one, delivery)| {
        let about = about(&one)?;
        Some(Told { id: one.id, realm: one.realm, event: one.event, about, delivery })
    });
    Ok(told.collect())
}

/// The numbers of the public kinds for which this is true.
fn public_kinds(wanted: impl Fn(Kind) -> bool) -> Vec<i16> {
    let kinds = Kind::ALL.into_iter().filter(|kind| kind.is_public() && wanted(*kind));
    kinds.map(|kind| kind as i16).collect()
}

fn read_all(rows: &[Row]) -> Result<Vec<Logged>> {
    rows.iter().map(|row| logged(row, 0)).collect()
}

pub(super) async fn events(
    rx: &Rx<'_>,
    realm: &Realm,
    after: &Option<EventId>,
    limit: &usize,
) -> Result<Stretch> {
    let first = after.map_or(0, EventId::key);
    // Events come in the order of their places, so nothing comes between these two looks that lies before the end of the first.
    let looked = rx
        .sql
        .rows(
            "SELECT max(w.seq), count(*) FROM (SELECT e.seq FROM event e WHERE e.seq > $1 ORDER BY e.seq LIMIT $2) w",
            &[&first, &(EVENTS_LOOKED_AT_MAX as i64)],
        )
        .await?;
    let looked = single(looked)?;
    let (last, looked_at): (Option<i64>, i64) = (cell(&looked, 0)?, cell(&looked, 1)?);
    let rows = rx
        .sql
        .rows(
            concat!(
                "SELECT ",
                columns!(),
                " FROM event e WHERE e.seq > $1 AND e.seq <= $6 AND e.account = $2 AND e.live = $3 AND e.kind = ANY ($4)
                 ORDER BY e.seq LIMIT $5"
            ),
            &[
                &first,
                &realm.account.key(),
                &live(realm.environment),
                &public_kinds(|_| true),
                &(*limit as i64),
                &last.unwrap_or(0),
            ],
        )
        .await?;
    let found = read_all(&rows)?;
    let full = found.last().filter(|_| found.len() == *limit).map(|last| last.id);
    Ok(Stretch {
        // Events may lie in a part that will be dropped, and be about messages that are gone.
        told: tell(rx.sql, found.into_iter().map(|one| (one, None)).collect()).await?,
        upto: full.or(last.map(EventId::from_key)).or(*after),
        is_end: full.is_none() && (looked_at as usize) < EVENTS_LOOKED_AT_MAX,
    })
}

pub(super) async fn event(rx: &Rx<'_>, realm: &Realm, id: &EventId) -> Result<Option<Told>> {
    let rows = rx
        .sql
        .rows(
            concat!(
                "SELECT ",
                columns!(),
                " FROM event e WHERE e.seq = $1 AND e.account = $2 AND e.live = $3"
            ),
            &[&id.key(), &realm.account.key(), &live(realm.environment)],
        )
        .await?;
    let found = read_all(&rows)?.into_iter().map(|one| (one, None)).collect();
    Ok(tell(rx.sql, found).await?.into_iter().next())
}

pub(super) async fn of_message(sql: &Session, id: MessageId) -> Result<Vec<(EventId, Event)>> {
    let rows = sql
        .rows(
            concat!("SELECT ", columns!(), " FROM event e WHERE e.message = $1 ORDER BY e.seq"),
            &[&id.key()],
        )
        .await?;
    Ok(read_all(&rows)?.into_iter().map(|one| (one.id, one.event)).collect())
}

// ── deliveries ──────────────────────────────────────────────────────────────────────────────────────────────

fn delivery(row: &Row, first: usize) -> Result<Delivery> {
    Ok(Delivery {
        endpoint: EndpointId::from_key(cell(row, first)?),
        due_at: Timestamp::from_millis(cell(row, first + 1)?),
        event: EventId::from_key(cell(row, first + 2)?),
        tries: cell::<i32>(row, first + 3)? as u32,
    })
}

/// Deliveries of an endpoint that is switched off that one claim drops.
const DROPPED_MAX: i64 = 5_000;

pub(super) async fn claim_deliveries(
    tx: &mut Tx,
    wanted: &[(EndpointId, usize)],
    lease_ms: &i64,
    now: &Timestamp,
) -> Result<Vec<Told>> {
    let listeners = tx.listeners();
    let mut most: BTreeMap<i64, i64> = BTreeMap::new();
    for (endpoint, room) in wanted {
        let room = if listeners.is_on(*endpoint) { *room as i64 } else { DROPPED_MAX };
        *most.entry(endpoint.key()).or_default() += room;
    }
    let look = tx.fronts().look();
    let fronts: Vec<i64> = most.keys().map(|endpoint| look.front(Queue::Endpoint(*endpoint))).collect();
    let (endpoints, most): (Vec<i64>, Vec<i64>) = most.into_iter().unzip();
    let rows = tx
        .sql
        .rows(
            concat!(
                "SELECT d.endpoint, d.due_at, d.event, d.tries, d.account, ",
                columns!(),
                " FROM unnest($1::bigint[], $2::bigint[], $4::bigint[]) AS k (endpoint, most, front)
                 CROSS JOIN LATERAL (SELECT x.* FROM delivery x WHERE x.endpoint = k.endpoint AND x.due_at >= k.front
                   AND x.due_at <= $3
                   ORDER BY x.due_at, x.event LIMIT k.most) d
                 LEFT JOIN LATERAL (SELECT x.* FROM event x WHERE x.seq = d.event LIMIT 1) e ON true
                 ORDER BY d.endpoint, d.due_at, d.event"
            ),
            &[&endpoints, &most, &now.as_millis(), &fronts],
        )
        .await?;
    drop(look);
    let mut due: HashMap<EndpointId, VecDeque<&Row>> = HashMap::new();
    for row in &rows {
        due.entry(EndpointId::from_key(cell(row, 0)?)).or_default().push_back(row);
    }
    let mut found = Vec::new();
    let mut accounts = HashMap::new();
    for (endpoint, room) in wanted {
        let Some(due) = due.get_mut(endpoint) else { continue };
        let is_on = listeners.is_on(*endpoint);
        let taken = if is_on { due.len().min(*room) } else { due.len() };
        for row in due.drain(..taken) {
            let one = delivery(row, 0)?;
            tx.sheets.events.take(&one);
            // Switched off or deleted: its events stay in the log and can be replayed.
            if is_on && cell::<Option<i64>>(row, 5)?.is_some() {
                accounts.insert(one.event, cell::<i64>(row, 4)?);
                found.push((logged(row, 5)?, Some(Delivery { due_at: now.plus_ms(*lease_ms), ..one })));
            }
        }
    }
    let claimed = tell(&tx.sql, found).await?;
    for told in &claimed {
        if let Some(leased) = told.delivery {
            tx.sheets.events.put(leased, accounts.get(&told.id).copied().unwrap_or_default());
        }
    }
    Ok(claimed)
}

pub(super) async fn give_back_deliveries(tx: &mut Tx, leased: &[Delivery], now: &Timestamp) -> Result<()> {
    tx.news().deliveries |= !leased.is_empty();
    let keys = columns_of(leased.iter().map(key));
    let rows = tx
        .sql
        .rows(
            "SELECT d.endpoint, d.due_at, d.event, d.account FROM unnest($1::bigint[], $2::bigint[], $3::bigint[])
               AS k (endpoint, due_at, event)
             CROSS JOIN LATERAL (SELECT x.* FROM delivery x
               WHERE x.endpoint = k.endpoint AND x.due_at = k.due_at AND x.event = k.event LIMIT 1) d",
            &[&keys.0, &keys.1, &keys.2],
        )
        .await?;
    let mut open: HashMap<Key, i64> = HashMap::new();
    for row in &rows {
        open.insert((cell(row, 0)?, cell(row, 1)?, cell(row, 2)?), cell(row, 3)?);
    }
    for one in leased {
        let Some(account) = open.remove(&key(one)) else { continue };
        tx.sheets.events.take(one);
        let due = Delivery { due_at: *now, ..*one };
        tx.sheets.events.put(due, account);
        open.insert(key(&due), account);
    }
    Ok(())
}

/// What the recording of tries looks at.
pub(super) fn record_attempts_needs(attempts: &[Attempt], tx: &Tx, needs: &mut transaction::Needs) {
    for attempt in attempts.iter().filter(|attempt| matches!(attempt.verdict, Verdict::RetryAt(_))) {
        needs.events.held(&tx.sheets.events, key(&held(attempt)));
    }
}

/// The delivery that a try held.
fn held(attempt: &Attempt) -> Delivery {
    Delivery {
        endpoint: attempt.endpoint,
        due_at: attempt.lease,
        event: attempt.event,
        tries: attempt.number,
    }
}

pub(super) async fn record_attempts(tx: &mut Tx, attempts: &[Attempt], now: &Timestamp) -> Result<()> {
    for attempt in attempts {
        let number = (attempt.endpoint.key(), attempt.event.key(), attempt.number);
        tx.sheets.events.attempts.insert(number, attempt.clone());
        let held = held(attempt);
        // Only where it must be put back does it count whether it was still open.
        if let Verdict::RetryAt(at) = attempt.verdict {
            if !tx.is_held(&held).await? {
                continue;
            }
            tx.sheets.events.take(&held);
            tx.sheets.events.put(Delivery { due_at: at, ..held }, attempt.realm.account.key());
        } else {
            tx.sheets.events.take(&held);
        }
    }
    endpoint::record_health(tx, attempts, *now, DISABLE_AFTER_MS).await
}

pub(super) async fn release_deliveries(tx: &mut Tx, now: &Timestamp) -> Result<u64> {
    // A lease ends after FIRST_LEASE_MS at most, a retry's due time is its own: only leases are shortened.
    let mut released = 0;
    for (endpoint, _) in earliest(&tx.sql).await? {
        let room = RELEASED_MAX - released as i64;
        let until = now.plus_ms(FIRST_LEASE_MS).as_millis();
        let rows = tx
            .sql
            .rows(
                "SELECT endpoint, due_at, event, tries, account FROM delivery
                 WHERE endpoint = $1 AND due_at > $2 AND due_at <= $3 AND tries = 0 ORDER BY due_at, event LIMIT $4",
                &[&endpoint.key(), &now.as_millis(), &until, &room],
            )
            .await?;
        for row in &rows {
            let leased = delivery(row, 0)?;
            tx.sheets.events.take(&leased);
            tx.sheets.events.put(Delivery { due_at: *now, ..leased }, cell(row, 4)?);
        }
        released += rows.len() as u64;
    }
    Ok(released)
}

pub(super) async fn due_endpoints(rx: &Rx<'_>) -> Result<Vec<(EndpointId, Timestamp)>> {
    let look = rx.fronts.look();
    let Some(known) = rx.fronts.endpoints() else {
        let all = earliest(rx.sql).await?;
        let found: Vec<_> = all.iter().map(|(id, at)| (id.key(), at.as_millis())).collect();
        look.found_endpoints(&found);
        return Ok(all);
    };
    let (endpoints, fronts): (Vec<i64>, Vec<i64>) = known.into_iter().unzip();
    let rows = rx
        .sql
        .rows(
            "SELECT k.endpoint, (SELECT x.due_at FROM delivery x WHERE x.endpoint = k.endpoint AND x.due_at >= k.front
               ORDER BY x.due_at LIMIT 1) FROM unnest($1::bigint[], $2::bigint[]) AS k (endpoint, front) ORDER BY k.endpoint",
            &[&endpoints, &fronts],
        )
        .await?;
    let mut open = Vec::with_capacity(rows.len());
    for row in &rows {
        let (endpoint, at): (i64, Option<i64>) = (cell(row, 0)?, cell(row, 1)?);
        look.found(Queue::Endpoint(endpoint), at);
        open.extend(at.map(|at| (EndpointId::from_key(endpoint), Timestamp::from_millis(at))));
    }
    Ok(open)
}

/// The earliest delivery of each endpoint, found by one probe for each: what lies between is not read.
pub(super) async fn earliest(sql: &Session) -> Result<Vec<(EndpointId, Timestamp)>> {
    let rows = sql
        .rows(
            "WITH RECURSIVE first (endpoint, due_at) AS (
               (SELECT endpoint, due_at FROM delivery ORDER BY endpoint, due_at LIMIT 1)
               UNION ALL
               SELECT n.endpoint, n.due_at FROM first CROSS JOIN LATERAL (SELECT x.endpoint, x.due_at FROM delivery x
                 WHERE x.endpoint > first.endpoint ORDER BY x.endpoint, x.due_at LIMIT 1) n)
             SELECT endpoint, due_at FROM first ORDER BY endpoint",
            &[],
        )
        .await?;
    let read = |row: &Row| Ok((EndpointId::from_key(cell(row, 0)?), Timestamp::from_millis(cell(row, 1)?)));
    rows.iter().map(read).collect()
}

pub(super) async fn open_about(sql: &Session, events: &[i64]) -> Result<Vec<Delivery>> {
    let rows = sql
        .rows(
            "SELECT endpoint, due_at, event, tries FROM delivery WHERE event = ANY ($1) ORDER BY event, endpoint, due_at",
            &[&events],
        )
        .await?;
    rows.iter().map(|row| delivery(row, 0)).collect()
}

/// Removes what is still open for an endpoint that goes away.
pub(super) async fn drop_open(sql: &Session, endpoint: EndpointId) -> Result<()> {
    sql.execute("DELETE FROM delivery WHERE endpoint = $1", &[&endpoint.key()]).await.map(drop)
}

// ── attempts ────────────────────────────────────────────────────────────────────────────────────────────────

/// The columns of an attempt and of its event: what [`attempt`] reads.
macro_rules! attempt_columns {
    () => {
        "SELECT a.endpoint, a.event, a.number, a.at, a.took_ms, a.status, a.request, a.response, a.verdict, a.retry_at,
           e.account, e.live, e.message"
    };
}

/// Tries of one event at one endpoint are numbered below this; a page's cursor holds both.
const NUMBERS: i64 = 1 << 10;

fn attempt(row: &Row) -> Result<Attempt> {
    let (event, number): (i64, i32) = (cell(row, 1)?, cell(row, 2)?);
    let verdict: i16 = cell(row, 8)?;
    Ok(Attempt {
        seq: event * NUMBERS + i64::from(number),
        realm: realm(row, 10)?,
        event: EventId::from_key(event),
        message: cell::<Option<i64>>(row, 12)?.map(MessageId::from_key),
        endpoint: EndpointId::from_key(cell(row, 0)?),
        lease: Timestamp::default(),
        number: number as u32,
        at: Timestamp::from_millis(cell(row, 3)?),
        took_ms: cell::<i64>(row, 4)? as u32,
        status: cell::<Option<i32>>(row, 5)?.map(|status| status as u16),
        request: cell(row, 6)?,
        response: cell(row, 7)?,
        verdict: match verdict {
            0 => Verdict::Done,
            1 => Verdict::RetryAt(Timestamp::from_millis(cell::<Option<i64>>(row, 9)?.unwrap_or(0))),
            2 => Verdict::Dead,
            3 => Verdict::Gone,
            other => return Err(column::corrupt("verdict", other)),
        },
    })
}

pub(super) async fn attempts(
    rx: &Rx<'_>,
    realm: &Realm,
    endpoint: &EndpointId,
    page: &Page,
) -> Result<Paged<Attempt>> {
    let before = page.before.unwrap_or(i64::MAX);
    let rows = rx
        .sql
        .rows(
            concat!(
                attempt_columns!(),
                " FROM attempt a CROSS JOIN LATERAL (SELECT x.* FROM event x WHERE x.seq = a.event LIMIT 1) e
                 WHERE a.endpoint = $1 AND (a.event, a.number) < ($2, $3) AND e.account = $4 AND e.live = $5
                 ORDER BY a.event DESC, a.number DESC LIMIT $6"
            ),
            &[
                &endpoint.key(),
                &(before / NUMBERS),
                &((before % NUMBERS) as i32),
                &realm.account.key(),
                &live(realm.environment),
                &(page.limit as i64 + 1),
            ],
        )
        .await?;
    let items = rows.iter().map(attempt).collect::<Result<Vec<_>>>()?;
    Ok(Paged::of(items, page, |attempt| attempt.seq))
}

pub(super) async fn attempts_about(sql: &Session, endpoints: &[i64], events: &[i64]) -> Result<Vec<Attempt>> {
    let rows = sql
        .rows(
            concat!(
                attempt_columns!(),
                " FROM unnest($1::bigint[]) AS w (endpoint) CROSS JOIN unnest($2::bigint[]) AS k (event)
                 CROSS JOIN LATERAL (SELECT x.* FROM attempt x WHERE x.endpoint = w.endpoint AND x.event = k.event
                   ORDER BY x.number LIMIT 1000) a
                 CROSS JOIN LATERAL (SELECT x.* FROM event x WHERE x.seq = a.event LIMIT 1) e"
            ),
            &[&endpoints, &events],
        )
        .await?;
    let mut found = rows.iter().map(attempt).collect::<Result<Vec<_>>>()?;
    found.sort_by_key(|attempt| (attempt.at, attempt.seq, attempt.endpoint));
    Ok(found)
}

pub(super) async fn replay(
    tx: &mut Tx,
    realm: &Realm,
    id: &EndpointId,
    what: &Replay,
    limit: &usize,
    actor: &Actor,
    now: &Timestamp,
) -> Result<Option<u64>> {
    let endpoints = endpoint::of_realm(&tx.sql, Some(*realm)).await?;
    let Some(endpoint) = endpoints.into_iter().find(|endpoint| endpoint.id == *id) else { return Ok(None) };
    // Only what the endpoint wants to hear counts, so that the limit is not used up by anything else.
    let wanted = public_kinds(|kind| endpoint.kinds == 0 || endpoint.kinds & kind.bit() != 0);
    let (first, last) = match what {
        Replay::One(event) => (event.key(), event.key().saturating_add(1)),
        Replay::Range(from, to) => (first_at(&tx.sql, *from).await?, first_at(&tx.sql, *to).await?),
    };
    let most = match what {
        Replay::One(_) => 1,
        Replay::Range(..) => *limit as i64,
    };
    let rows = tx
        .sql
        .rows(
            "SELECT e.seq, coalesce(t.number, 0) FROM (
               SELECT seq FROM event WHERE seq >= $1 AND seq < $2 AND account = $3 AND live = $4 AND kind = ANY ($5)
               ORDER BY seq LIMIT $6) e
             LEFT JOIN LATERAL (SELECT x.number FROM attempt x WHERE x.endpoint = $7 AND x.event = e.seq
               ORDER BY x.number DESC LIMIT 1) t ON true",
            &[
                &first,
                &last,
                &realm.account.key(),
                &live(realm.environment),
                &wanted,
                &most,
                &id.key(),
            ],
        )
        .await?;
    let mut events = BTreeMap::new();
    for row in &rows {
        events.insert(cell::<i64>(row, 0)?, cell::<i32>(row, 1)? as u32);
    }
    // Read once: no index leads from an event to its open deliveries.
    let open = tx
        .sql
        .rows("SELECT endpoint, due_at, event, tries FROM delivery WHERE endpoint = $1", &[&id.key()])
        .await?;
    for row in &open {
        let one = delivery(row, 0)?;
        if events.contains_key(&one.event.key()) {
            tx.sheets.events.take(&one);
        }
    }
    for (event, tries) in &events {
        let due = Delivery { event: EventId::from_key(*event), endpoint: *id, tries: *tries, due_at: *now };
        tx.sheets.events.put(due, realm.account.key());
    }
    let detail = format!("{} events", events.len());
    operating::write_audit(tx, actor, "webhook.replay", &id.to_string(), &detail, *now);
    Ok(Some(events.len() as u64))
}

/// The first place in the log at or after a moment. The log grows with time, so halving finds it.
pub(super) async fn first_at(sql: &Session, at: Timestamp) -> Result<i64> {
    let bounds = sql.row("SELECT (SELECT min(seq) FROM event), (SELECT max(seq) FROM event)", &[]).await?;
    let Some(bounds) = bounds else { return Ok(1) };
    let (Some(mut low), Some(high)) = (cell::<Option<i64>>(&bounds, 0)?, cell::<Option<i64>>(&bounds, 1)?)
    else {
        return Ok(1);
    };
    let mut high = high + 1;
    while low < high {
        let middle = low + (high - low) / 2;
        let row = sql.row("SELECT at FROM event WHERE seq >= $1 ORDER BY seq LIMIT 1", &[&middle]).await?;
        match row.map(|row| cell::<i64>(&row, 0)).transpose()? {
            Some(then) if then < at.as_millis() => low = middle + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

// ── inbound ─────────────────────────────────────────────────────────────────────────────────────────────────

/// Writes the event, and a delivery for everybody who wants to hear of it.
pub(super) fn publish_inbound(
    tx: &mut Tx,
    message: &Inbound,
    whose: &Whose,
    kind: Kind,
    told: &mut Vec<Told>,
) {
    let listeners = tx.listeners();
    let id = EventId::from_key(tx.next_event(message.at));
    let event = message.event(kind, whose);
    for endpoint in listeners.of(message.realm, kind, None) {
        let delivery = Some(tx.sheets.events.lease_first(id, endpoint, message.realm, message.at));
        let about = About::Inbound(Box::new(message.clone()));
        told.push(Told { id, realm: message.realm, event: event.clone(), about, delivery });
    }
    tx.sheets.events.log(id, message.realm, None, Some(message.id), event);
}
