//! Reading messages: one, a page, a timeline, a batch, and a row as decisions need it. Nothing here decides anything.

use super::publish;
use crate::Result;
use crate::backend::*;
use crate::column::{self, environment, live, number};
use crate::due::Due;
use crate::sqlite::reader::{Rx, get};
use crate::sqlite::session::failed;
use crate::sqlite::transaction::Tx;
use crate::sqlite::{conversation, endpoint, event, operating};
use rusqlite::{Connection as Sql, OptionalExtension, Row, params};
use tidings_domain::account::Realm;
use tidings_domain::event::{Event, Kind};
use tidings_domain::id::*;
use tidings_domain::message::{Life, Message, Status};
use tidings_domain::purpose::Purpose;
use tidings_domain::receipt;
use tidings_domain::time::Timestamp;

pub(in crate::sqlite) fn message(rx: &mut Rx<'_>, realm: &Realm, id: &MessageId) -> Result<Option<Stored>> {
    find(rx.sql, *realm, *id)
}

pub(in crate::sqlite) fn find(sql: &Sql, realm: Realm, id: MessageId) -> Result<Option<Stored>> {
    let mut statement = sql.prepare_cached(query_of_one(true)).map_err(failed)?;
    let mut rows = statement.query([id.key()]).map_err(failed)?;
    let Some(row) = rows.next().map_err(failed)? else { return Ok(None) };
    let stored = stored(row)?;
    let owner = stored.message.realm();
    Ok((owner == realm).then_some(stored))
}

/// Rows that one page may look at: a filter that fits nothing must not read the whole history at once.
const SCAN_MAX: usize = 50_000;

pub(in crate::sqlite) fn messages(
    rx: &mut Rx<'_>,
    realm: &Realm,
    filter: &MessageFilter,
    page: &Page,
) -> Result<Paged<Stored>> {
    let mut ceiling = page.before.unwrap_or(i64::MAX);
    let mut floor = 0;
    if let Some(since) = filter.since {
        floor = floor_at(since);
    }
    if let Some(until) = filter.until {
        ceiling = ceiling.min(floor_at(until));
    }
    if let Some(batch) = filter.batch {
        let last = rx
            .sql
            .prepare_cached("SELECT last_message FROM batch WHERE id = ?1")
            .and_then(|mut s| s.query_row([batch.key()], |row| row.get::<_, i64>(0)).optional())
            .map_err(failed)?;
        floor = floor.max(batch.key());
        ceiling = ceiling.min(last.map_or(0, |last| last + 1));
    }
    let query = format!(
        "SELECT {COLUMNS}, text, checksum, reply, reply_to, template, template_version, programme FROM message WHERE id < ?1 AND id >= ?2 ORDER BY id DESC LIMIT {SCAN_MAX}"
    );
    let mut statement = rx.sql.prepare_cached(&query).map_err(failed)?;
    let mut rows = statement.query(params![ceiling, floor]).map_err(failed)?;
    let mut items = Vec::new();
    let mut looked_at = 0;
    let mut last = None;
    while let Some(row) = rows.next().map_err(failed)? {
        looked_at += 1;
        let id: i64 = get(row, 0)?;
        if fits(row, *realm, filter)? {
            if items.len() == page.limit {
                return Ok(Paged { items, next: last });
            }
            items.push(stored(row)?);
        }
        last = Some(id);
    }
    Ok(Paged { items, next: if looked_at == SCAN_MAX { last } else { None } })
}

fn fits(row: &Row<'_>, realm: Realm, filter: &MessageFilter) -> Result<bool> {
    let same_text = |n: usize, wanted: &Option<String>| -> Result<bool> {
        let Some(wanted) = wanted else { return Ok(true) };
        let value = row.get_ref(n).map_err(failed)?;
        Ok(value.as_str().is_ok_and(|value| value == wanted))
    };
    if get::<i64>(row, 1)? != realm.account.key() || get::<i64>(row, 2)? != live(realm.environment) {
        return Ok(false);
    }
    if let Some(recipient) = filter.recipient
        && get::<i64>(row, 7)? != recipient.digits() as i64
    {
        return Ok(false);
    }
    if let Some(batch) = filter.batch
        && get::<Option<i64>>(row, 4)? != Some(batch.key())
    {
        return Ok(false);
    }
    if let Some(status) = filter.status
        && column::status(get(row, 18)?)? != status
    {
        return Ok(false);
    }
    if let Some(carrier_id) = &filter.carrier_id {
        let parts: String = get(row, 25)?;
        let wanted = receipt::canonical(carrier_id);
        let has = column::segments(&parts)?
            .iter()
            .any(|segment| segment.carrier_id().is_some_and(|id| receipt::canonical(id) == wanted));
        if !has {
            return Ok(false);
        }
    }
    Ok(same_text(6, &filter.sender)? && same_text(15, &filter.reference)?)
}

pub(in crate::sqlite) fn timeline(
    rx: &mut Rx<'_>,
    realm: &Realm,
    id: &MessageId,
) -> Result<Option<Timeline>> {
    let Some(stored) = find(rx.sql, *realm, *id)? else { return Ok(None) };
    let events = event::of_message(rx.sql, *id)?;
    let ids: Vec<EventId> = events.iter().map(|(id, _)| *id).collect();
    let endpoints = endpoint::of_realm(rx.sql, Some(*realm))?;
    let attempts = event::attempts_about(rx.sql, &endpoints, &ids)?;
    let deliveries = event::open_about(rx.sql, &ids)?;
    let connection = operating::connection(rx.sql, stored.message.connection)?;
    Ok(Some(Timeline { stored, events, attempts, deliveries, connection }))
}

pub(in crate::sqlite) fn redact(
    tx: &mut Tx<'_>,
    realm: &Realm,
    id: &MessageId,
    actor: &Actor,
    now: &Timestamp,
) -> Result<Option<Stored>> {
    let Some(stored) = find(tx.sql, *realm, *id)? else { return Ok(None) };
    if stored.message.text.is_some() {
        tx.sql
            .prepare_cached("UPDATE message SET text = NULL, updated_at = ?2 WHERE id = ?1")
            .and_then(|mut s| s.execute(params![id.key(), now.as_millis()]))
            .map_err(failed)?;
        let event = Event {
            kind: Kind::Redacted,
            status: stored.life.state.status(),
            attempt: stored.life.attempt,
            at: *now,
            due_at: None,
            failure: None,
            raw: None,
        };
        let listeners = tx.listeners()?;
        publish(tx, &listeners, &stored.message, event, &mut Vec::new())?;
        operating::write_audit(tx, actor, "message.redact", &id.to_string(), "", *now)?;
        conversation::forget_words(tx.sql, *realm, *id)?;
    }
    find(tx.sql, *realm, *id)
}

pub(in crate::sqlite) fn batch(rx: &mut Rx<'_>, realm: &Realm, id: &BatchId) -> Result<Option<Batch>> {
    let found = rx
        .sql
        .prepare_cached("SELECT account, live, created_at, asked, last_message FROM batch WHERE id = ?1")
        .and_then(|mut s| {
            s.query_row([id.key()], |row| {
                Ok((
                    row.get::<_, i64>(0)?,
                    row.get::<_, i64>(1)?,
                    row.get::<_, i64>(2)?,
                    row.get::<_, u32>(3)?,
                    row.get::<_, i64>(4)?,
                ))
            })
            .optional()
        })
        .map_err(failed)?;
    let Some((account, is_live, created_at, asked, last)) = found else { return Ok(None) };
    if account != realm.account.key() || is_live != live(realm.environment) {
        return Ok(None);
    }
    let mut statement = rx
        .sql
        .prepare_cached(
            "SELECT state, count(*) FROM message WHERE id > ?1 AND id <= ?2 AND batch = ?1 GROUP BY state",
        )
        .map_err(failed)?;
    let rows = statement
        .query_map(params![id.key(), last], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
        .map_err(failed)?
        .collect::<rusqlite::Result<Vec<_>>>()
        .map_err(failed)?;
    let mut counts: Vec<(Status, u64)> = Vec::new();
    for (state, count) in rows {
        let status = column::status(state)?;
        match counts.iter_mut().find(|(known, _)| *known == status) {
            Some((_, sum)) => *sum += count as u64,
            None => counts.push((status, count as u64)),
        }
    }
    // In doubt is a number of its own, but shown as sending.
    counts.sort_unstable();
    Ok(Some(Batch { id: *id, created_at: Timestamp::from_millis(created_at), asked, counts }))
}

pub(in crate::sqlite) fn batches(rx: &mut Rx<'_>, realm: &Realm, page: &Page) -> Result<Paged<Batch>> {
    let mut statement = rx
        .sql
        .prepare_cached(
            "SELECT id FROM batch WHERE id < ?1 AND account = ?2 AND live = ?3 ORDER BY id DESC LIMIT ?4",
        )
        .map_err(failed)?;
    let ids = statement
        .query_map(
            params![
                page.before.unwrap_or(i64::MAX),
                realm.account.key(),
                live(realm.environment),
                page.limit as i64 + 1
            ],
            |row| row.get::<_, i64>(0),
        )
        .map_err(failed)?
        .collect::<rusqlite::Result<Vec<_>>>()
        .map_err(failed)?;
    let more = ids.len() > page.limit;
    let mut items = Vec::new();
    for id in ids.into_iter().take(page.limit) {
        items.extend(batch(rx, realm, &BatchId::from_key(id))?);
    }
    let next = if more { items.last().map(|batch| batch.id.key()) } else { None };
    Ok(Paged { items, next })
}

// ── rows ────────────────────────────────────────────────────────────────────────────────────────────────────

/// What never changes of a message, for telling an event about it.
pub(in crate::sqlite) fn unchanging(sql: &Sql, id: MessageId) -> Result<Option<Message>> {
    Ok(load(sql, id)?.map(|hot| hot.message))
}

/// A message as decisions need it, with the place of its `due` row.
#[derive(Debug, PartialEq)]
pub(in crate::sqlite) struct Hot {
    pub message: Message,
    pub life: Life,
    pub due: Option<Due>,
    /// It was read with its text and does not fit its checksum. Its text is left out.
    pub damaged: bool,
}

const COLUMNS: &str = "id, account, live, token, batch, purpose, sender, recipient, form, segments, connection, created_at, \
    send_at, expires_at, callback, reference, metadata, retry_of, state, until, lane, due_at, attempt, tries, resends, parts, \
    failure, updated_at";

/// A message as it is stored, without its text. Whoever changes its row writes it by [`Commit::write`](super::Commit::write),
/// which remembers it, or leaves it forgotten.
pub(super) fn recall(tx: &mut Tx<'_>, id: MessageId) -> Result<Option<Hot>> {
    let Some(hot) = tx.recall(id) else { return load(tx.sql, id) };
    debug_assert_eq!(Some(&hot), load(tx.sql, id)?.as_ref(), "what is remembered is what is stored");
    Ok(Some(hot))
}

fn load(sql: &Sql, id: MessageId) -> Result<Option<Hot>> {
    one(sql, query_of_one(false), id)
}

pub(super) fn load_with_text(sql: &Sql, id: MessageId) -> Result<Option<Hot>> {
    one(sql, query_of_one(true), id)
}

/// The two statements, spelled out because a constant cannot be put together from [`COLUMNS`].
const fn query_of_one(with_text: bool) -> &'static str {
    if with_text {
        "SELECT id, account, live, token, batch, purpose, sender, recipient, form, segments, connection, created_at, \
         send_at, expires_at, callback, reference, metadata, retry_of, state, until, lane, due_at, attempt, tries, resends, parts, \
         failure, updated_at, text, checksum, reply, reply_to, template, template_version, programme FROM message WHERE id = ?1"
    } else {
        "SELECT id, account, live, token, batch, purpose, sender, recipient, form, segments, connection, created_at, \
         send_at, expires_at, callback, reference, metadata, retry_of, state, until, lane, due_at, attempt, tries, resends, parts, \
         failure, updated_at, NULL, NULL, reply, reply_to, template, template_version, programme FROM message WHERE id = ?1"
    }
}

fn one(sql: &Sql, query: &str, id: MessageId) -> Result<Option<Hot>> {
    let mut statement = sql.prepare_cached(query).map_err(failed)?;
    let mut rows = statement.query([id.key()]).map_err(failed)?;
    match rows.next().map_err(failed)? {
        Some(row) => hot(row).map(Some),
        None => Ok(None),
    }
}

fn hot(row: &Row<'_>) -> Result<Hot> {
    let form: i64 = get(row, 8)?;
    let (options, encoding) = column::form(form);
    let sender: String = get(row, 6)?;
    let recipient: i64 = get(row, 7)?;
    let time = |n: usize| get::<i64>(row, n).map(Timestamp::from_millis);
    let maybe = |n: usize| get::<Option<i64>>(row, n);
    let priority: u8 = get(row, 5)?;
    let mut message = Message {
        id: MessageId::from_key(get(row, 0)?),
        account: AccountId::from_key(get(row, 1)?),
        environment: environment(get(row, 2)?),
        token: maybe(3)?.map(TokenId::from_key),
        batch: maybe(4)?.map(BatchId::from_key),
        purpose: Purpose::from_priority(priority).ok_or_else(|| column::corrupt("purpose", priority))?,
        sender: column::sender(&sender)?,
        recipient: number(recipient)?,
        text: get(row, 28)?,
        encoding,
        options,
        segments: get(row, 9)?,
        connection: ConnectionId::from_key(get(row, 10)?),
        created_at: time(11)?,
        send_at: maybe(12)?.map(Timestamp::from_millis),
        expires_at: time(13)?,
        callback: maybe(14)?.map(EndpointId::from_key),
        reference: get(row, 15)?,
        metadata: get(row, 16)?,
        retry_of: maybe(17)?.map(MessageId::from_key),
        reply: column::reply(maybe(30)?, maybe(31)?)?,
        template: column::origin(maybe(32)?, maybe(33)?)?,
        programme: column::programme(get(row, 34)?)?,
    };
    let parts: String = get(row, 25)?;
    let life = Life {
        state: column::state(get(row, 18)?, maybe(19)?)?,
        attempt: get(row, 22)?,
        tries: get(row, 23)?,
        resends: get(row, 24)?,
        segments: column::segments(&parts)?,
    };
    let due = match (maybe(20)?, maybe(21)?) {
        (Some(lane), Some(due_at)) => Some(Due { lane, due_at }),
        _ => None,
    };
    // Nobody is shown, and nobody sent, a text that may not be what was accepted.
    let damaged = message.text.is_some() && maybe(29)?.is_some_and(|sum| sum != column::checksum(&message));
    if damaged {
        message.text = None;
    }
    Ok(Hot { message, life, due, damaged })
}

fn stored(row: &Row<'_>) -> Result<Stored> {
    let Hot { message, life, .. } = hot(row)?;
    let failure: Option<String> = get(row, 26)?;
    Ok(Stored {
        message,
        life,
        failure: failure.as_deref().map(column::failure).transpose()?,
        updated_at: Timestamp::from_millis(get(row, 27)?),
    })
}

/// How many messages do not fit their checksums or cannot be read at all, and the first of them.
pub(in crate::sqlite) fn all_damaged(sql: &Sql) -> Result<Option<(MessageId, u64)>> {
    // A copy that an older version made has no checksums yet.
    let has_any = "SELECT EXISTS (SELECT 1 FROM pragma_table_info('message') WHERE name = 'checksum')";
    if !sql.query_row(has_any, [], |row| row.get::<_, bool>(0)).map_err(failed)? {
        return Ok(None);
    }
    let mut statement = sql
        .prepare(&format!(
            "SELECT {COLUMNS}, text, checksum, reply, reply_to, template, template_version, programme FROM message"
        ))
        .map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    let mut found = None;
    while let Some(row) = rows.next().map_err(failed)? {
        if !hot(row).is_ok_and(|hot| !hot.damaged) {
            let id = MessageId::from_key(get(row, 0)?);
            found.get_or_insert((id, 0)).1 += 1;
        }
    }
    Ok(found)
}
