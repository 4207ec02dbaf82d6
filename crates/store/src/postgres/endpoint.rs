//! Where customers are told: endpoints, their health, and who listens to what.

use super::reader::Rx;
use super::session::{Session, cell, clean, live, realm};
use super::transaction::Tx;
use super::{event, operating};
use crate::backend::*;
use crate::listeners::Listeners;
use crate::{Error, Result};
use std::collections::{HashMap, HashSet};
use tidings_domain::account::Realm;
use tidings_domain::id::*;
use tidings_domain::time::Timestamp;
use tidings_domain::webhook::Verdict;
use tokio_postgres::Row;

/// Who wants to hear of events, as the endpoints are now.
pub(super) async fn listeners(sql: &Session) -> Result<Listeners> {
    Ok(Listeners::new(&of_realm(sql, None).await?))
}

fn endpoint(row: &Row) -> Result<Endpoint> {
    let previous: Option<Vec<u8>> = cell(row, 8)?;
    let until: Option<i64> = cell(row, 9)?;
    Ok(Endpoint {
        id: EndpointId::from_key(cell(row, 0)?),
        realm: realm(row, 1)?,
        url: cell(row, 3)?,
        description: cell(row, 4)?,
        kinds: cell::<i64>(row, 5)? as u32,
        callback_only: cell(row, 6)?,
        secret: cell(row, 7)?,
        previous: previous.zip(until.map(Timestamp::from_millis)),
        disabled: cell(row, 10)?,
        failing_since: cell::<Option<i64>>(row, 11)?.map(Timestamp::from_millis),
        created_at: Timestamp::from_millis(cell(row, 12)?),
    })
}

pub(super) async fn of_realm(sql: &Session, realm: Option<Realm>) -> Result<Vec<Endpoint>> {
    let account = realm.map(|realm| realm.account.key());
    let is_live = realm.map(|realm| live(realm.environment));
    let rows = sql
        .rows(
            "SELECT id, account, live, url, description, kinds, callback_only, secret, previous, previous_until, disabled,
               failing_since, created_at
             FROM endpoint WHERE ($1::bigint IS NULL OR account = $1) AND ($2::smallint IS NULL OR live = $2) ORDER BY id",
            &[&account, &is_live],
        )
        .await?;
    rows.iter().map(endpoint).collect()
}

pub(super) async fn endpoints(rx: &Rx<'_>, realm: &Option<Realm>) -> Result<Vec<Endpoint>> {
    of_realm(rx.sql, *realm).await
}

async fn insert(sql: &Session, endpoint: &Endpoint) -> Result<()> {
    sql.execute(
        "INSERT INTO endpoint (id, account, live, url, description, kinds, callback_only, secret, previous, previous_until,
           disabled, failing_since, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        &[
            &endpoint.id.key(),
            &endpoint.realm.account.key(),
            &live(endpoint.realm.environment),
            &clean(&endpoint.url),
            &clean(&endpoint.description),
            &i64::from(endpoint.kinds),
            &endpoint.callback_only,
            &endpoint.secret,
            &endpoint.previous.as_ref().map(|(secret, _)| secret),
            &endpoint.previous.as_ref().map(|(_, until)| until.as_millis()),
            &endpoint.disabled.as_deref().map(clean),
            &endpoint.failing_since.map(Timestamp::as_millis),
            &endpoint.created_at.as_millis(),
        ],
    )
    .await
    .map(drop)
}

pub(super) async fn create_endpoint(tx: &mut Tx, endpoint: &Endpoint, actor: &Actor) -> Result<()> {
    insert(&tx.sql, endpoint).await?;
    tx.forget_listeners().await?;
    let id = endpoint.id.to_string();
    operating::write_audit(tx, actor, "webhook.create", &id, &endpoint.url, endpoint.created_at);
    Ok(())
}

pub(super) async fn callback_endpoint(tx: &mut Tx, endpoint: &Endpoint) -> Result<EndpointId> {
    let realm = endpoint.realm;
    let known = tx
        .sql
        .row(
            "SELECT id FROM endpoint WHERE callback_only AND account = $1 AND live = $2 AND url = $3",
            &[&realm.account.key(), &live(realm.environment), &clean(&endpoint.url)],
        )
        .await?;
    if let Some(row) = known {
        return cell(&row, 0).map(EndpointId::from_key);
    }
    let others: Vec<Endpoint> =
        of_realm(&tx.sql, Some(realm)).await?.into_iter().filter(|other| other.callback_only).collect();
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
    insert(&tx.sql, &endpoint).await?;
    tx.forget_listeners().await?;
    Ok(endpoint.id)
}

/// Removes callback addresses that no message can speak of any more. The oldest stays: it keeps the realm's secret.
pub(super) async fn sweep_callbacks(tx: &mut Tx, made_before: Timestamp) -> Result<()> {
    let removed = tx
        .sql
        .execute(
            "DELETE FROM endpoint WHERE callback_only AND created_at < $1 AND id NOT IN
               (SELECT min(id) FROM endpoint WHERE callback_only GROUP BY account, live)",
            &[&made_before.as_millis()],
        )
        .await?;
    if removed > 0 {
        tx.forget_listeners().await?;
    }
    Ok(())
}

pub(super) async fn update_endpoint(
    tx: &mut Tx,
    endpoint: &Endpoint,
    actor: &Actor,
    now: &Timestamp,
) -> Result<bool> {
    let (account, is_live) = (endpoint.realm.account.key(), live(endpoint.realm.environment));
    let previous = endpoint.previous.as_ref().map(|(secret, _)| secret);
    let previous_until = endpoint.previous.as_ref().map(|(_, until)| until.as_millis());
    let changed = tx
        .sql
        .execute(
            "UPDATE endpoint SET url = $4, description = $5, kinds = $6, secret = $7, previous = $8, previous_until = $9,
               disabled = $10, failing_since = $11 WHERE id = $1 AND account = $2 AND live = $3",
            &[
                &endpoint.id.key(),
                &account,
                &is_live,
                &clean(&endpoint.url),
                &clean(&endpoint.description),
                &i64::from(endpoint.kinds),
                &endpoint.secret,
                &previous,
                &previous_until,
                &endpoint.disabled.as_deref().map(clean),
                &endpoint.failing_since.map(Timestamp::as_millis),
            ],
        )
        .await?;
    if changed == 0 {
        return Ok(false);
    }
    if endpoint.callback_only {
        // They share one secret, so that whoever checks signatures needs to know only that one.
        tx.sql
            .execute(
                "UPDATE endpoint SET secret = $3, previous = $4, previous_until = $5
                 WHERE callback_only AND account = $1 AND live = $2",
                &[&account, &is_live, &endpoint.secret, &previous, &previous_until],
            )
            .await?;
    }
    tx.forget_listeners().await?;
    operating::write_audit(tx, actor, "webhook.update", &endpoint.id.to_string(), &endpoint.url, *now);
    Ok(true)
}

pub(super) async fn delete_endpoint(
    tx: &mut Tx,
    realm: &Realm,
    id: &EndpointId,
    actor: &Actor,
    now: &Timestamp,
) -> Result<bool> {
    let deleted = tx
        .sql
        .execute(
            "DELETE FROM endpoint WHERE id = $1 AND account = $2 AND live = $3",
            &[&id.key(), &realm.account.key(), &live(realm.environment)],
        )
        .await?;
    if deleted == 0 {
        return Ok(false);
    }
    event::drop_open(&tx.sql, *id).await?;
    tx.forget_listeners().await?;
    operating::write_audit(tx, actor, "webhook.delete", &id.to_string(), "", *now);
    Ok(true)
}

/// What becomes of an endpoint's health.
#[derive(Clone, Copy)]
struct Health {
    failing_since: Option<i64>,
    disabled: Option<&'static str>,
    changed: bool,
}

/// Notes whether endpoints fail, and switches off those that are gone or have failed for too long.
pub(super) async fn record_health(
    tx: &mut Tx,
    attempts: &[Attempt],
    now: Timestamp,
    disable_after_ms: i64,
) -> Result<()> {
    let listeners = tx.listeners();
    // Nearly always every call succeeds at endpoints that never failed: then nobody needs to look.
    let is_news = |attempt: &&Attempt| {
        !matches!(attempt.verdict, Verdict::Done) || listeners.is_failing(attempt.endpoint)
    };
    let troubled: HashSet<i64> = attempts.iter().filter(is_news).map(|one| one.endpoint.key()).collect();
    if troubled.is_empty() {
        return Ok(());
    }
    let ids: Vec<i64> = troubled.into_iter().collect();
    let rows = tx.sql.rows("SELECT id, failing_since FROM endpoint WHERE id = ANY ($1)", &[&ids]).await?;
    let mut known: HashMap<i64, Health> = HashMap::new();
    for row in &rows {
        let health = Health { failing_since: cell(row, 1)?, disabled: None, changed: false };
        known.insert(cell(row, 0)?, health);
    }
    for attempt in attempts {
        let Some(health) = known.get_mut(&attempt.endpoint.key()) else { continue };
        match attempt.verdict {
            Verdict::Done => {
                if health.failing_since.take().is_some() {
                    health.changed = true;
                }
            }
            Verdict::Gone => {
                health.disabled = Some("the endpoint answered 410 Gone");
                health.changed = true;
            }
            Verdict::RetryAt(_) | Verdict::Dead => match health.failing_since {
                None => {
                    health.failing_since = Some(now.as_millis());
                    health.changed = true;
                }
                Some(since) if now.as_millis() - since > disable_after_ms => {
                    health.disabled = Some("every call failed for five days");
                    health.changed = true;
                }
                Some(_) => {}
            },
        }
    }
    let mut changed = false;
    for (id, health) in known.into_iter().filter(|(_, health)| health.changed) {
        tx.sql
            .execute(
                "UPDATE endpoint SET failing_since = $2, disabled = coalesce($3, disabled) WHERE id = $1",
                &[&id, &health.failing_since, &health.disabled],
            )
            .await?;
        changed = true;
    }
    if changed {
        tx.forget_listeners().await?;
    }
    Ok(())
}
