//! The event log, the deliveries that are open, and the log of attempts.

use super::reader::{Rx, get, realm};
use super::session::failed;
use super::transaction::Tx;
use super::{endpoint, inbound, operating};
use crate::Result;
use crate::backend::*;
use crate::column::{self, live};
use rusqlite::{Connection as Sql, OptionalExtension, Row, params};
use std::collections::HashMap;
use tidings_domain::account::Realm;
use tidings_domain::event::{Event, Kind};
use tidings_domain::id::*;
use tidings_domain::inbound::Whose;
use tidings_domain::message::Message;
use tidings_domain::time::Timestamp;
use tidings_domain::webhook::{DISABLE_AFTER_MS, Delivery, Verdict};

/// Leases of an earlier process that are shortened at a start, which waits for it. The others end by themselves within
/// [`FIRST_LEASE_MS`].
const RELEASED_MAX: usize = 10_000;

const COLUMNS: &str = "seq, account, live, kind, message, inbound, status, attempt, at, due_at, failure, raw";

pub(super) fn insert(
    tx: &Tx<'_>,
    id: EventId,
    realm: Realm,
    message: Option<MessageId>,
    inbound: Option<InboundId>,
    event: &Event,
) -> Result<()> {
    tx.execute(
        "INSERT INTO event (seq, account, live, kind, message, inbound, status, attempt, at, due_at, failure, raw)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        params![
            id.key(),
            realm.account.key(),
            live(realm.environment),
            event.kind as i64,
            message.map(MessageId::key),
            inbound.map(InboundId::key),
            column::status_number(event.status),
            event.attempt,
            event.at.as_millis(),
            event.due_at.map(Timestamp::as_millis),
            event.failure.as_ref().map(column::failure_text),
            event.raw,
        ],
    )
    .map(drop)
}

struct Logged {
    id: EventId,
    realm: Realm,
    message: Option<MessageId>,
    inbound: Option<InboundId>,
    event: Event,
}

fn logged(row: &Row<'_>) -> Result<Logged> {
    let kind: u8 = get(row, 3)?;
    let failure: Option<String> = get(row, 10)?;
    Ok(Logged {
        id: EventId::from_key(get(row, 0)?),
        realm: realm(row, 1)?,
        message: get::<Option<i64>>(row, 4)?.map(MessageId::from_key),
        inbound: get::<Option<i64>>(row, 5)?.map(InboundId::from_key),
        event: Event {
            kind: Kind::ALL
                .get(usize::from(kind))
                .copied()
                .ok_or_else(|| column::corrupt("kind of event", kind))?,
            status: column::status(get(row, 6)?)?,
            attempt: get(row, 7)?,
            at: Timestamp::from_millis(get(row, 8)?),
            due_at: get::<Option<i64>>(row, 9)?.map(Timestamp::from_millis),
            failure: failure.as_deref().map(column::failure).transpose()?,
            raw: get(row, 11)?,
        },
    })
}

fn select(sql: &Sql, rest: &str, params: impl rusqlite::Params) -> Result<Vec<Logged>> {
    let mut statement = sql.prepare_cached(&format!("SELECT {COLUMNS} FROM event {rest}")).map_err(failed)?;
    let mut rows = statement.query(params).map_err(failed)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        found.push(logged(row)?);
    }
    Ok(found)
}

/// Adds what an event is about. `None` if that was swept away meanwhile.
fn tell(sql: &Sql, logged: Logged, delivery: Option<Delivery>) -> Result<Option<Told>> {
    let about = match (logged.message, logged.inbound) {
        (Some(message), _) => super::message::unchanging(sql, message)?
            .map(|m| About::Message(Box::new(Message { text: None, ..m }))),
        (None, Some(inbound)) => inbound::find(sql, inbound)?.map(|i| About::Inbound(Box::new(i))),
        (None, None) => Some(About::Test),
    };
    Ok(about.map(|about| Told { id: logged.id, realm: logged.realm, event: logged.event, about, delivery }))
}

// ── the feed and the timeline ───────────────────────────────────────────────────────────────────────────────

pub(super) fn events(
    rx: &mut Rx<'_>,
    realm: &Realm,
    after: &Option<EventId>,
    limit: &usize,
) -> Result<Stretch> {
    let first = after.map_or(0, EventId::key);
    // Events come in the order of their places, so nothing comes between these two looks that lies before the end of the first.
    let (last, looked_at) = rx
        .sql
        .prepare_cached(
            "SELECT max(seq), count(*) FROM (SELECT seq FROM event WHERE seq > ?1 ORDER BY seq LIMIT ?2)",
        )
        .and_then(|mut s| {
            s.query_row(params![first, EVENTS_LOOKED_AT_MAX as i64], |row| {
                Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, i64>(1)?))
            })
        })
        .map_err(failed)?;
    let rest = format!(
        "WHERE seq > ?1 AND seq <= ?5 AND account = ?2 AND live = ?3 AND kind IN ({}) ORDER BY seq LIMIT ?4",
        public_kinds(|_| true)
    );
    let (account, is_live) = (realm.account.key(), live(realm.environment));
    let found = select(rx.sql, &rest, params![first, account, is_live, *limit as i64, last.unwrap_or(0)])?;
    let full = found.last().filter(|_| found.len() == *limit).map(|last| last.id);
    let told = found.into_iter().filter_map(|logged| tell(rx.sql, logged, None).transpose());
    Ok(Stretch {
        told: told.collect::<Result<_>>()?,
        upto: full.or(last.map(EventId::from_key)).or(*after),
        is_end: full.is_none() && (looked_at as usize) < EVENTS_LOOKED_AT_MAX,
    })
}

/// The public kinds for which this is true, for a query.
fn public_kinds(wanted: impl Fn(Kind) -> bool) -> String {
    let kinds = Kind::ALL.into_iter().filter(|kind| kind.is_public() && wanted(*kind));
    kinds.map(|kind| (kind as i64).to_string()).collect::<Vec<_>>().join(",")
}

pub(super) fn event(rx: &mut Rx<'_>, realm: &Realm, id: &EventId) -> Result<Option<Told>> {
    let found = select(
        rx.sql,
        "WHERE seq = ?1 AND account = ?2 AND live = ?3",
        params![id.key(), realm.account.key(), live(realm.environment)],
    )?;
    match found.into_iter().next() {
        Some(logged) => tell(rx.sql, logged, None),
        None => Ok(None),
    }
}

pub(super) fn of_message(sql: &Sql, id: MessageId) -> Result<Vec<(EventId, Event)>> {
    let found = select(sql, "WHERE message = ?1 ORDER BY seq", [id.key()])?;
    Ok(found.into_iter().map(|logged| (logged.id, logged.event)).collect())
}

// ── deliveries ──────────────────────────────────────────────────────────────────────────────────────────────

/// Opens a delivery that its maker hands over in memory: it is leased, and comes back by itself if nobody answers.
pub(super) fn lease_first(
    tx: &Tx<'_>,
    event: EventId,
    endpoint: EndpointId,
    now: Timestamp,
) -> Result<Delivery> {
    let delivery = Delivery { event, endpoint, tries: 0, due_at: now.plus_ms(FIRST_LEASE_MS) };
    put(tx, delivery)?;
    Ok(delivery)
}

fn put(tx: &Tx<'_>, delivery: Delivery) -> Result<()> {
    let Delivery { event, endpoint, tries, due_at } = delivery;
    tx.execute(
        "INSERT OR REPLACE INTO delivery (due_at, event, endpoint, tries) VALUES (?1, ?2, ?3, ?4)",
        params![due_at.as_millis(), event.key(), endpoint.key(), tries],
    )
    .map(drop)
}

fn take(tx: &Tx<'_>, delivery: Delivery) -> Result<bool> {
    let Delivery { event, endpoint, due_at, .. } = delivery;
    tx.execute(
        "DELETE FROM delivery WHERE due_at = ?1 AND event = ?2 AND endpoint = ?3",
        params![due_at.as_millis(), event.key(), endpoint.key()],
    )
    .map(|rows| rows > 0)
}

fn delivery(row: &Row<'_>) -> Result<Delivery> {
    Ok(Delivery {
        due_at: Timestamp::from_millis(get(row, 0)?),
        event: EventId::from_key(get(row, 1)?),
        endpoint: EndpointId::from_key(get(row, 2)?),
        tries: get(row, 3)?,
    })
}

fn open(sql: &Sql, rest: &str, params: impl rusqlite::Params) -> Result<Vec<Delivery>> {
    let mut statement = sql
        .prepare_cached(&format!("SELECT due_at, event, endpoint, tries FROM delivery {rest}"))
        .map_err(failed)?;
    let mut rows = statement.query(params).map_err(failed)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        found.push(delivery(row)?);
    }
    Ok(found)
}

/// Deliveries of an endpoint that is switched off that one claim drops.
const DROPPED_MAX: i64 = 5_000;

pub(super) fn claim_deliveries(
    tx: &mut Tx<'_>,
    wanted: &[(EndpointId, usize)],
    lease_ms: &i64,
    now: &Timestamp,
) -> Result<Vec<Told>> {
    let listeners = tx.listeners()?;
    let mut claimed = Vec::new();
    for (endpoint, room) in wanted {
        let is_on = listeners.is_on(*endpoint);
        let most = if is_on { *room as i64 } else { DROPPED_MAX };
        let due = open(
            tx.sql,
            "WHERE endpoint = ?1 AND due_at <= ?2 ORDER BY due_at, event LIMIT ?3",
            params![endpoint.key(), now.as_millis(), most],
        )?;
        for one in due {
            take(tx, one)?;
            if !is_on {
                // Switched off or deleted: its events stay in the log and can be replayed.
                continue;
            }
            let Some(event) = select(tx.sql, "WHERE seq = ?1", [one.event.key()])?.pop() else { continue };
            let leased = Delivery { due_at: now.plus_ms(*lease_ms), ..one };
            if let Some(told) = tell(tx.sql, event, Some(leased))? {
                put(tx, leased)?;
                claimed.push(told);
            }
        }
    }
    Ok(claimed)
}

pub(super) fn give_back_deliveries(tx: &mut Tx<'_>, leased: &[Delivery], now: &Timestamp) -> Result<()> {
    for one in leased {
        if take(tx, *one)? {
            put(tx, Delivery { due_at: *now, ..*one })?;
        }
    }
    Ok(())
}

pub(super) fn record_attempts(tx: &mut Tx<'_>, attempts: &[Attempt], now: &Timestamp) -> Result<()> {
    for attempt in attempts {
        log(tx, attempt)?;
        let Attempt { event, endpoint, number, lease, .. } = *attempt;
        let held = Delivery { due_at: lease, event, endpoint, tries: number };
        if take(tx, held)?
            && let Verdict::RetryAt(at) = attempt.verdict
        {
            put(tx, Delivery { due_at: at, ..held })?;
        }
    }
    endpoint::record_health(tx, attempts, *now, DISABLE_AFTER_MS)
}

fn log(tx: &Tx<'_>, attempt: &Attempt) -> Result<()> {
    let (verdict, retry_at) = match attempt.verdict {
        Verdict::Done => (0, None),
        Verdict::RetryAt(at) => (1, Some(at.as_millis())),
        Verdict::Dead => (2, None),
        Verdict::Gone => (3, None),
    };
    tx.execute(
        "INSERT OR REPLACE INTO attempt (endpoint, event, number, at, took_ms, status, request, response, verdict, retry_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            attempt.endpoint.key(),
            attempt.event.key(),
            attempt.number,
            attempt.at.as_millis(),
            attempt.took_ms,
            attempt.status,
            attempt.request,
            attempt.response,
            verdict,
            retry_at,
        ],
    )
    .map(drop)
}

pub(super) fn release_deliveries(tx: &mut Tx<'_>, now: &Timestamp) -> Result<u64> {
    // A lease ends after FIRST_LEASE_MS at most, a retry's due time is its own: only leases are shortened.
    let mut released = 0;
    for (endpoint, _) in earliest(tx.sql)? {
        let leased = open(
            tx.sql,
            "WHERE endpoint = ?1 AND due_at > ?2 AND due_at <= ?3 AND tries = 0 ORDER BY due_at LIMIT ?4",
            params![
                endpoint.key(),
                now.as_millis(),
                now.plus_ms(FIRST_LEASE_MS).as_millis(),
                (RELEASED_MAX - released) as i64
            ],
        )?;
        give_back_deliveries(tx, &leased, now)?;
        released += leased.len();
    }
    Ok(released as u64)
}

pub(super) fn due_endpoints(rx: &mut Rx<'_>) -> Result<Vec<(EndpointId, Timestamp)>> {
    earliest(rx.sql)
}

/// The earliest delivery of each endpoint, found by one probe for each: what lies between is not read.
pub(super) fn earliest(sql: &Sql) -> Result<Vec<(EndpointId, Timestamp)>> {
    let mut statement = sql
        .prepare_cached(
            "SELECT endpoint, due_at FROM delivery WHERE endpoint > ?1 ORDER BY endpoint, due_at LIMIT 1",
        )
        .map_err(failed)?;
    let mut found: Vec<(EndpointId, Timestamp)> = Vec::new();
    loop {
        let after = found.last().map_or(i64::MIN, |(endpoint, _)| endpoint.key());
        let next = statement
            .query_row([after], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
            .optional()
            .map_err(failed)?;
        let Some((endpoint, due_at)) = next else { return Ok(found) };
        found.push((EndpointId::from_key(endpoint), Timestamp::from_millis(due_at)));
    }
}

pub(super) fn open_about(sql: &Sql, events: &[EventId]) -> Result<Vec<Delivery>> {
    let mut found = Vec::new();
    for event in events {
        found.extend(open(sql, "WHERE event = ?1", [event.key()])?);
    }
    Ok(found)
}

/// Removes what is still open for an endpoint that goes away.
pub(super) fn drop_open(sql: &Sql, endpoint: EndpointId) -> Result<()> {
    sql.prepare_cached("DELETE FROM delivery WHERE endpoint = ?1")
        .and_then(|mut s| s.execute([endpoint.key()]))
        .map(drop)
        .map_err(failed)
}

// ── attempts ────────────────────────────────────────────────────────────────────────────────────────────────

const ATTEMPT_COLUMNS: &str = "a.endpoint, a.event, a.number, a.at, a.took_ms, a.status, a.request, a.response, a.verdict, a.retry_at, \
     e.account, e.live, e.message";

/// Tries of one event at one endpoint are numbered below this; a page's cursor holds both.
const NUMBERS: i64 = 1 << 10;

fn attempt(row: &Row<'_>) -> Result<Attempt> {
    let (event, number): (i64, u32) = (get(row, 1)?, get(row, 2)?);
    let verdict: i64 = get(row, 8)?;
    Ok(Attempt {
        seq: event * NUMBERS + i64::from(number),
        realm: realm(row, 10)?,
        event: EventId::from_key(event),
        message: get::<Option<i64>>(row, 12)?.map(MessageId::from_key),
        endpoint: EndpointId::from_key(get(row, 0)?),
        lease: Timestamp::default(),
        number,
        at: Timestamp::from_millis(get(row, 3)?),
        took_ms: get(row, 4)?,
        status: get(row, 5)?,
        request: get(row, 6)?,
        response: get(row, 7)?,
        verdict: match verdict {
            0 => Verdict::Done,
            1 => Verdict::RetryAt(Timestamp::from_millis(get::<Option<i64>>(row, 9)?.unwrap_or(0))),
            2 => Verdict::Dead,
            3 => Verdict::Gone,
            other => return Err(column::corrupt("verdict", other)),
        },
    })
}

fn select_attempts(sql: &Sql, rest: &str, params: impl rusqlite::Params) -> Result<Vec<Attempt>> {
    let query = format!("SELECT {ATTEMPT_COLUMNS} FROM attempt a JOIN event e ON e.seq = a.event {rest}");
    let mut statement = sql.prepare_cached(&query).map_err(failed)?;
    let mut rows = statement.query(params).map_err(failed)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        found.push(attempt(row)?);
    }
    Ok(found)
}

pub(super) fn attempts(
    rx: &mut Rx<'_>,
    realm: &Realm,
    endpoint: &EndpointId,
    page: &Page,
) -> Result<Paged<Attempt>> {
    let before = page.before.unwrap_or(i64::MAX);
    let mut items = select_attempts(
        rx.sql,
        "WHERE a.endpoint = ?1 AND (a.event, a.number) < (?2, ?3) AND e.account = ?4 AND e.live = ?5
         ORDER BY a.event DESC, a.number DESC LIMIT ?6",
        params![
            endpoint.key(),
            before / NUMBERS,
            before % NUMBERS,
            realm.account.key(),
            live(realm.environment),
            page.limit as i64 + 1
        ],
    )?;
    let more = items.len() > page.limit;
    items.truncate(page.limit);
    let next = if more { items.last().map(|attempt| attempt.seq) } else { None };
    Ok(Paged { items, next })
}

pub(super) fn attempts_about(sql: &Sql, endpoints: &[Endpoint], events: &[EventId]) -> Result<Vec<Attempt>> {
    let mut found = Vec::new();
    for endpoint in endpoints {
        for event in events {
            found.extend(select_attempts(
                sql,
                "WHERE a.endpoint = ?1 AND a.event = ?2 ORDER BY a.number",
                params![endpoint.id.key(), event.key()],
            )?);
        }
    }
    found.sort_by_key(|attempt| (attempt.at, attempt.seq));
    Ok(found)
}

pub(super) fn replay(
    tx: &mut Tx<'_>,
    realm: &Realm,
    id: &EndpointId,
    what: &Replay,
    limit: &usize,
    actor: &Actor,
    now: &Timestamp,
) -> Result<Option<u64>> {
    let Some(endpoint) =
        endpoint::of_realm(tx.sql, Some(*realm))?.into_iter().find(|endpoint| endpoint.id == *id)
    else {
        return Ok(None);
    };
    // Only what the endpoint wants to hear counts, so that the limit is not used up by anything else.
    let wanted = public_kinds(|kind| endpoint.kinds == 0 || endpoint.kinds & kind.bit() != 0);
    let (account, is_live) = (realm.account.key(), live(realm.environment));
    let events = match what {
        Replay::One(event) => select(
            tx.sql,
            &format!("WHERE seq = ?1 AND account = ?2 AND live = ?3 AND kind IN ({wanted})"),
            params![event.key(), account, is_live],
        )?,
        Replay::Range(from, to) => {
            let (first, last) = (first_at(tx.sql, *from)?, first_at(tx.sql, *to)?);
            select(
                tx.sql,
                &format!(
                    "WHERE seq >= ?1 AND seq < ?2 AND account = ?3 AND live = ?4 AND kind IN ({wanted}) ORDER BY seq LIMIT ?5"
                ),
                params![first, last, account, is_live, *limit as i64],
            )?
        }
    };
    // Read once: no index leads from an event to its open deliveries.
    let mut still_open: HashMap<EventId, Vec<Delivery>> = HashMap::new();
    for one in open(tx.sql, "WHERE endpoint = ?1", [id.key()])? {
        still_open.entry(one.event).or_default().push(one);
    }
    let mut count = 0;
    for logged in events {
        let tries: u32 = tx
            .sql
            .prepare_cached("SELECT coalesce(max(number), 0) FROM attempt WHERE endpoint = ?1 AND event = ?2")
            .and_then(|mut s| s.query_row(params![id.key(), logged.id.key()], |row| row.get(0)))
            .map_err(failed)?;
        for one in still_open.remove(&logged.id).unwrap_or_default() {
            take(tx, one)?;
        }
        put(tx, Delivery { event: logged.id, endpoint: *id, tries, due_at: *now })?;
        count += 1;
    }
    operating::write_audit(tx, actor, "webhook.replay", &id.to_string(), &format!("{count} events"), *now)?;
    Ok(Some(count))
}

/// The first place in the log at or after a moment. The log grows with time, so halving finds it.
pub(super) fn first_at(sql: &Sql, at: Timestamp) -> Result<i64> {
    let bound = |query: &str| {
        sql.prepare_cached(query)
            .and_then(|mut s| s.query_row([], |row| row.get::<_, Option<i64>>(0)))
            .map_err(failed)
    };
    let (Some(mut low), Some(high)) =
        (bound("SELECT min(seq) FROM event")?, bound("SELECT max(seq) FROM event")?)
    else {
        return Ok(1);
    };
    let mut high = high + 1;
    while low < high {
        let middle = low + (high - low) / 2;
        let found = sql
            .prepare_cached("SELECT at FROM event WHERE seq >= ?1 ORDER BY seq LIMIT 1")
            .and_then(|mut s| s.query_row([middle], |row| row.get::<_, i64>(0)).optional())
            .map_err(failed)?;
        match found {
            Some(then) if then < at.as_millis() => low = middle + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

// ── inbound ─────────────────────────────────────────────────────────────────────────────────────────────────

/// Writes the event, and a delivery for everybody who wants to hear of it.
pub(super) fn publish_inbound(
    tx: &mut Tx<'_>,
    message: &Inbound,
    whose: &Whose,
    kind: Kind,
    told: &mut Vec<Told>,
) -> Result<()> {
    let listeners = tx.listeners()?;
    let id = EventId::from_key(tx.next_event(message.at)?);
    let event = message.event(kind, whose);
    insert(tx, id, message.realm, None, Some(message.id), &event)?;
    for endpoint in listeners.of(message.realm, kind, None) {
        let delivery = Some(lease_first(tx, id, endpoint, message.at)?);
        let about = About::Inbound(Box::new(message.clone()));
        told.push(Told { id, realm: message.realm, event: event.clone(), about, delivery });
    }
    Ok(())
}
