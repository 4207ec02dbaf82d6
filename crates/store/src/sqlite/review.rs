//! Failures that a person must look at: one open item for a message, grouped by cause.

use super::operating::write_audit;
use super::reader::{Rx, get};
use super::session::failed;
use super::suppression;
use super::transaction::Tx;
use crate::Result;
use crate::backend::*;
use crate::column::{self, live, number};
use rusqlite::{Row, params};
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::failure::Failure;
use tidings_domain::id::{ConnectionId, ReviewId, SuppressionId};
use tidings_domain::message::Message;
use tidings_domain::review::{About, Decision, cause, doubtful};
use tidings_domain::suppression::{Reason, default_end};
use tidings_domain::time::Timestamp;

/// Opens an item, unless the message has one that nobody has decided yet.
pub(super) fn open(tx: &mut Tx<'_>, message: &Message, failure: &Failure, now: Timestamp) -> Result<()> {
    let known = tx
        .sql
        .prepare_cached("SELECT 1 FROM review WHERE message = ?1 AND decision IS NULL")
        .and_then(|mut s| s.exists([message.id.key()]))
        .map_err(failed)?;
    if known {
        return Ok(());
    }
    insert(tx, message.realm(), message.connection, About::Message(message.id), failure, now)
}

/// Opens an item for an inbound message that may ask for no more.
pub(super) fn open_inbound(tx: &mut Tx<'_>, inbound: &Inbound, ask: &Ask, now: Timestamp) -> Result<()> {
    insert(tx, inbound.realm, inbound.connection, About::Inbound(inbound.id), &doubtful(&ask.matched), now)
}

fn insert(
    tx: &mut Tx<'_>,
    realm: Realm,
    connection: ConnectionId,
    about: About,
    failure: &Failure,
    now: Timestamp,
) -> Result<()> {
    let id = tx.next_id(now)?;
    let (message, inbound) = column::about_numbers(about);
    tx.sql
        .prepare_cached(
            "INSERT INTO review (id, account, live, cause, message, failure, opened_at, inbound)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )
        .and_then(|mut s| {
            s.execute(params![
                id,
                realm.account.key(),
                live(realm.environment),
                cause(connection, failure),
                message,
                column::failure_text(failure),
                now.as_millis(),
                inbound,
            ])
        })
        .map(drop)
        .map_err(failed)
}

pub(super) fn review_groups(rx: &mut Rx<'_>, realm: &Realm, limit: &usize) -> Result<Vec<ReviewGroup>> {
    // The groups come from the index alone; only the shown ones look at rows.
    let mut statement = rx
        .sql
        .prepare_cached(
            "SELECT count(*) AS open, min(id), max(id) FROM review WHERE account = ?1 AND live = ?2 AND decision IS NULL
             GROUP BY cause ORDER BY open DESC, max(id) DESC LIMIT ?3",
        )
        .map_err(failed)?;
    let groups = statement
        .query_map(params![realm.account.key(), live(realm.environment), *limit as i64], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
        })
        .map_err(failed)?
        .collect::<rusqlite::Result<Vec<_>>>()
        .map_err(failed)?;
    let mut found = Vec::with_capacity(groups.len());
    for (open, first, last) in groups {
        let (Some(first), Some(last)) = (one(rx.sql, first)?, one(rx.sql, last)?) else { continue };
        found.push(ReviewGroup {
            cause: last.cause,
            failure: last.failure,
            open: open as u64,
            first_at: first.opened_at,
            last_at: last.opened_at,
            example: last.about,
        });
    }
    Ok(found)
}

pub(super) fn reviews(
    rx: &mut Rx<'_>,
    realm: &Realm,
    cause: &Option<String>,
    open_only: &bool,
    page: &Page,
) -> Result<Paged<Review>> {
    let items = select(rx.sql, *realm, cause.as_deref(), *open_only, page.before, page.limit + 1)?;
    Ok(Paged::of(items, page, |item| item.id.key()))
}

pub(super) fn decide(
    tx: &mut Tx<'_>,
    realm: &Realm,
    which: &ReviewChoice,
    decision: &Decision,
    limit: &usize,
    actor: &Actor,
    now: &Timestamp,
) -> Result<Vec<Review>> {
    let mut items = match which {
        ReviewChoice::Cause(cause) => select(tx.sql, *realm, Some(cause), true, None, *limit)?,
        ReviewChoice::One(id) => open_one(tx.sql, *realm, *id)?.into_iter().take(*limit).collect(),
    };
    for item in &mut items {
        tx.sql
            .prepare_cached("UPDATE review SET decision = ?2, decided_at = ?3, decided_by = ?4 WHERE id = ?1")
            .and_then(|mut s| s.execute(params![item.id.key(), *decision as i64, now.as_millis(), actor.who]))
            .map_err(failed)?;
        item.decided = Some((*decision, *now, actor.who.clone()));
        if *decision == Decision::Suppress {
            suppress_recipient(tx, *realm, item, actor, *now)?;
        }
    }
    if !items.is_empty() {
        let subject = match which {
            ReviewChoice::Cause(cause) => cause.clone(),
            ReviewChoice::One(id) => id.to_string(),
        };
        let detail = format!("{}: {} items", decision.as_str(), items.len());
        write_audit(tx, actor, "review.decide", &subject, &detail, *now)?;
    }
    Ok(items)
}

fn suppress_recipient(
    tx: &mut Tx<'_>,
    realm: Realm,
    item: &Review,
    actor: &Actor,
    now: Timestamp,
) -> Result<()> {
    let Some((recipient, reason)) = recipient_of(tx.sql, item.about)? else { return Ok(()) };
    let entry = Suppression {
        id: SuppressionId::from_key(tx.next_id(now)?),
        realm,
        recipient,
        programme: None,
        reason,
        source: format!("review {}", item.id),
        created_at: now,
        expires_at: default_end(reason, now),
        lifted: None,
    };
    suppression::add(tx, &entry, actor).map(drop)
}

/// Who is meant, and for which reason: somebody who may have asked for no more messages has done so, if a person says so.
fn recipient_of(sql: &rusqlite::Connection, about: About) -> Result<Option<(PhoneNumber, Reason)>> {
    match about {
        About::Message(id) => {
            let recipient: i64 = sql
                .prepare_cached("SELECT recipient FROM message WHERE id = ?1")
                .and_then(|mut s| s.query_row([id.key()], |row| row.get(0)))
                .map_err(failed)?;
            Ok(Some((number(recipient)?, Reason::Manual)))
        }
        About::Inbound(id) => {
            let inbound = super::inbound::find(sql, id)?;
            Ok(inbound.and_then(|inbound| inbound.person()).map(|person| (person, Reason::OptedOut)))
        }
    }
}

const COLUMNS: &str = "id, cause, message, failure, opened_at, decision, decided_at, decided_by, inbound";

fn select(
    sql: &rusqlite::Connection,
    realm: Realm,
    cause: Option<&str>,
    open_only: bool,
    before: Option<i64>,
    limit: usize,
) -> Result<Vec<Review>> {
    let mut query = format!("SELECT {COLUMNS} FROM review WHERE account = ?1 AND live = ?2 AND id < ?3");
    if cause.is_some() {
        query.push_str(" AND cause = ?5");
    }
    if open_only {
        query.push_str(" AND decision IS NULL");
    }
    query.push_str(" ORDER BY id DESC LIMIT ?4");
    let mut statement = sql.prepare_cached(&query).map_err(failed)?;
    let (account, live, before) = (realm.account.key(), live(realm.environment), before.unwrap_or(i64::MAX));
    let mut rows = match cause {
        Some(cause) => statement.query(params![account, live, before, limit as i64, cause]),
        None => statement.query(params![account, live, before, limit as i64]),
    }
    .map_err(failed)?;
    let mut items = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        items.push(read(row)?);
    }
    Ok(items)
}

fn one(sql: &rusqlite::Connection, id: i64) -> Result<Option<Review>> {
    let mut statement =
        sql.prepare_cached(&format!("SELECT {COLUMNS} FROM review WHERE id = ?1")).map_err(failed)?;
    let mut rows = statement.query([id]).map_err(failed)?;
    rows.next().map_err(failed)?.map(read).transpose()
}

fn open_one(sql: &rusqlite::Connection, realm: Realm, id: ReviewId) -> Result<Option<Review>> {
    let mut statement = sql
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM review WHERE id = ?1 AND account = ?2 AND live = ?3 AND decision IS NULL"
        ))
        .map_err(failed)?;
    let mut rows =
        statement.query(params![id.key(), realm.account.key(), live(realm.environment)]).map_err(failed)?;
    rows.next().map_err(failed)?.map(read).transpose()
}

fn read(row: &Row<'_>) -> Result<Review> {
    let failure: String = get(row, 3)?;
    let decided = match get::<Option<i64>>(row, 5)? {
        None => None,
        Some(decision) => Some((
            usize::try_from(decision)
                .ok()
                .and_then(|n| Decision::ALL.get(n).copied())
                .ok_or_else(|| column::corrupt("review decision", decision))?,
            Timestamp::from_millis(get::<Option<i64>>(row, 6)?.unwrap_or_default()),
            get::<Option<String>>(row, 7)?.unwrap_or_default(),
        )),
    };
    Ok(Review {
        id: ReviewId::from_key(get(row, 0)?),
        cause: get(row, 1)?,
        about: column::about(get(row, 2)?, get(row, 8)?),
        failure: column::failure(&failure)?,
        opened_at: Timestamp::from_millis(get(row, 4)?),
        decided,
    })
}
