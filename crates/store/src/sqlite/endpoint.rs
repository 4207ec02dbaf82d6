//! Where customers are told: endpoints, their health, and who listens to what.

use super::reader::{Rx, get, realm};
use super::session::failed;
use super::transaction::Tx;
use super::{event, operating};
use crate::backend::*;
use crate::column::live;
use crate::listeners::Listeners;
use crate::{Error, Result};
use rusqlite::{Connection as Sql, OptionalExtension, Row, params};
use std::collections::HashSet;
use tidings_domain::account::Realm;
use tidings_domain::id::*;
use tidings_domain::time::Timestamp;
use tidings_domain::webhook::Verdict;

/// Who wants to hear of events, as the endpoints are now.
pub(super) fn listeners(sql: &Sql) -> Result<Listeners> {
    Ok(Listeners::new(&of_realm(sql, None)?))
}

const COLUMNS: &str = "id, account, live, url, description, kinds, callback_only, secret, previous, previous_until, disabled, \
     failing_since, created_at";

fn endpoint(row: &Row<'_>) -> Result<Endpoint> {
    let previous: Option<Vec<u8>> = get(row, 8)?;
    let until: Option<i64> = get(row, 9)?;
    Ok(Endpoint {
        id: EndpointId::from_key(get(row, 0)?),
        realm: realm(row, 1)?,
        url: get(row, 3)?,
        description: get(row, 4)?,
        kinds: get(row, 5)?,
        callback_only: get(row, 6)?,
        secret: get(row, 7)?,
        previous: previous.zip(until.map(Timestamp::from_millis)),
        disabled: get(row, 10)?,
        failing_since: get::<Option<i64>>(row, 11)?.map(Timestamp::from_millis),
        created_at: Timestamp::from_millis(get(row, 12)?),
    })
}

pub(super) fn of_realm(sql: &Sql, realm: Option<Realm>) -> Result<Vec<Endpoint>> {
    let (account, is_live) = match realm {
        Some(realm) => (Some(realm.account.key()), Some(live(realm.environment))),
        None => (None, None),
    };
    let mut statement = sql
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM endpoint WHERE (?1 IS NULL OR account = ?1) AND (?2 IS NULL OR live = ?2) ORDER BY id"
        ))
        .map_err(failed)?;
    let mut rows = statement.query(params![account, is_live]).map_err(failed)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        found.push(endpoint(row)?);
    }
    Ok(found)
}

pub(super) fn endpoints(rx: &mut Rx<'_>, realm: &Option<Realm>) -> Result<Vec<Endpoint>> {
    of_realm(rx.sql, *realm)
}

fn insert(sql: &Sql, endpoint: &Endpoint) -> Result<()> {
    sql.prepare_cached(
        "INSERT INTO endpoint (id, account, live, url, description, kinds, callback_only, secret, previous, previous_until,
           disabled, failing_since, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    )
    .and_then(|mut s| {
        s.execute(params![
            endpoint.id.key(),
            endpoint.realm.account.key(),
            live(endpoint.realm.environment),
            endpoint.url,
            endpoint.description,
            endpoint.kinds,
            endpoint.callback_only,
            endpoint.secret,
            endpoint.previous.as_ref().map(|(secret, _)| secret),
            endpoint.previous.as_ref().map(|(_, until)| until.as_millis()),
            endpoint.disabled,
            endpoint.failing_since.map(Timestamp::as_millis),
            endpoint.created_at.as_millis(),
        ])
    })
    .map(drop)
    .map_err(failed)
}

pub(super) fn create_endpoint(tx: &mut Tx<'_>, endpoint: &Endpoint, actor: &Actor) -> Result<()> {
    insert(tx.sql, endpoint)?;
    tx.forget_listeners()?;
    operating::write_audit(
        tx,
        actor,
        "webhook.create",
        &endpoint.id.to_string(),
        &endpoint.url,
        endpoint.created_at,
    )
}

pub(super) fn callback_endpoint(tx: &mut Tx<'_>, endpoint: &Endpoint) -> Result<EndpointId> {
    let known = tx
        .sql
        .prepare_cached(
            "SELECT id FROM endpoint WHERE callback_only = 1 AND account = ?1 AND live = ?2 AND url = ?3",
        )
        .and_then(|mut s| {
            let realm = endpoint.realm;
            s.query_row(params![realm.account.key(), live(realm.environment), endpoint.url], |row| row.get(0))
                .optional()
        })
        .map_err(failed)?;
    if let Some(id) = known {
        return Ok(EndpointId::from_key(id));
    }
    let others: Vec<Endpoint> =
        of_realm(tx.sql, Some(endpoint.realm))?.into_iter().filter(|other| other.callback_only).collect();
    if others.len() >= CALLBACKS_MAX {
        return Err(Error::Conflict(format!(
            "there are {CALLBACKS_MAX} different callback addresses already; use one address and tell messages apart by \
             their reference"
        )));
    }
    // One secret for all callback addresses of a realm: whoever checks signatures needs to know only that one.
    let mut endpoint = endpoint.clone();
    if let Some(first) = others.into_iter().next() {
        endpoint.secret = first.secret;
        endpoint.previous = first.previous;
    }
    insert(tx.sql, &endpoint)?;
    tx.forget_listeners()?;
    Ok(endpoint.id)
}

/// Removes callback addresses that no message can speak of any more. The oldest stays: it keeps the realm's secret.
pub(super) fn sweep_callbacks(tx: &mut Tx<'_>, made_before: Timestamp) -> Result<()> {
    let removed = tx
        .sql
        .prepare_cached(
            "DELETE FROM endpoint WHERE callback_only = 1 AND created_at < ?1 AND id NOT IN
               (SELECT min(id) FROM endpoint WHERE callback_only = 1 GROUP BY account, live)",
        )
        .and_then(|mut s| s.execute([made_before.as_millis()]))
        .map_err(failed)?;
    if removed > 0 {
        tx.forget_listeners()?;
    }
    Ok(())
}

pub(super) fn update_endpoint(
    tx: &mut Tx<'_>,
    endpoint: &Endpoint,
    actor: &Actor,
    now: &Timestamp,
) -> Result<bool> {
    let changed = tx
        .sql
        .prepare_cached(
            "UPDATE endpoint SET url = ?4, description = ?5, kinds = ?6, secret = ?7, previous = ?8, previous_until = ?9,
               disabled = ?10, failing_since = ?11 WHERE id = ?1 AND account = ?2 AND live = ?3",
        )
        .and_then(|mut s| {
            s.execute(params![
                endpoint.id.key(),
                endpoint.realm.account.key(),
                live(endpoint.realm.environment),
                endpoint.url,
                endpoint.description,
                endpoint.kinds,
                endpoint.secret,
                endpoint.previous.as_ref().map(|(secret, _)| secret),
                endpoint.previous.as_ref().map(|(_, until)| until.as_millis()),
                endpoint.disabled,
                endpoint.failing_since.map(Timestamp::as_millis),
            ])
        })
        .map_err(failed)?;
    if changed == 0 {
        return Ok(false);
    }
    if endpoint.callback_only {
        // They share one secret, so that whoever checks signatures needs to know only that one.
        tx.sql
            .prepare_cached(
                "UPDATE endpoint SET secret = ?3, previous = ?4, previous_until = ?5
                 WHERE callback_only = 1 AND account = ?1 AND live = ?2",
            )
            .and_then(|mut s| {
                s.execute(params![
                    endpoint.realm.account.key(),
                    live(endpoint.realm.environment),
                    endpoint.secret,
                    endpoint.previous.as_ref().map(|(secret, _)| secret),
                    endpoint.previous.as_ref().map(|(_, until)| until.as_millis()),
                ])
            })
            .map_err(failed)?;
    }
    tx.forget_listeners()?;
    operating::write_audit(tx, actor, "webhook.update", &endpoint.id.to_string(), &endpoint.url, *now)?;
    Ok(true)
}

pub(super) fn delete_endpoint(
    tx: &mut Tx<'_>,
    realm: &Realm,
    id: &EndpointId,
    actor: &Actor,
    now: &Timestamp,
) -> Result<bool> {
    let deleted = tx
        .sql
        .prepare_cached("DELETE FROM endpoint WHERE id = ?1 AND account = ?2 AND live = ?3")
        .and_then(|mut s| s.execute(params![id.key(), realm.account.key(), live(realm.environment)]))
        .map_err(failed)?;
    if deleted == 0 {
        return Ok(false);
    }
    event::drop_open(tx.sql, *id)?;
    tx.forget_listeners()?;
    operating::write_audit(tx, actor, "webhook.delete", &id.to_string(), "", *now)?;
    Ok(true)
}

/// Notes whether endpoints fail, and switches off those that are gone or have failed for too long.
pub(super) fn record_health(
    tx: &mut Tx<'_>,
    attempts: &[Attempt],
    now: Timestamp,
    disable_after_ms: i64,
) -> Result<()> {
    let listeners = tx.listeners()?;
    let mut changed = false;
    // Who is known to fail only since an earlier one of these attempts.
    let mut failing_now = HashSet::new();
    for attempt in attempts {
        let set = |column: &str, value: Option<&dyn rusqlite::ToSql>| {
            tx.sql
                .prepare_cached(&format!("UPDATE endpoint SET {column} = ?2 WHERE id = ?1"))
                .and_then(|mut s| s.execute(params![attempt.endpoint.key(), value]))
                .map_err(failed)
        };
        match attempt.verdict {
            Verdict::Done => {
                if failing_now.remove(&attempt.endpoint) || listeners.is_failing(attempt.endpoint) {
                    set("failing_since", None)?;
                    changed = true;
                }
            }
            Verdict::Gone => {
                set("disabled", Some(&"the endpoint answered 410 Gone"))?;
                changed = true;
            }
            Verdict::RetryAt(_) | Verdict::Dead => {
                let since: Option<i64> = tx
                    .sql
                    .prepare_cached("SELECT failing_since FROM endpoint WHERE id = ?1")
                    .and_then(|mut s| s.query_row([attempt.endpoint.key()], |row| row.get(0)).optional())
                    .map_err(failed)?
                    .flatten();
                match since {
                    None => {
                        set("failing_since", Some(&now.as_millis()))?;
                        failing_now.insert(attempt.endpoint);
                        changed = true;
                    }
                    Some(since) if now.as_millis() - since > disable_after_ms => {
                        set("disabled", Some(&"every call failed for five days"))?;
                        changed = true;
                    }
                    Some(_) => {}
                }
            }
        }
    }
    if changed {
        tx.forget_listeners()?;
    }
    Ok(())
}
