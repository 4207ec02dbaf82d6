//! Failures that a person must look at: one open item for a message, grouped by cause.

use super::operating::write_audit;
use super::reader::Rx;
use super::session::{Flight, cell, clean, live, values};
use super::suppression::{self, realm_number};
use super::transaction::Tx;
use crate::Result;
use crate::backend::*;
use crate::column::{self, number};
use std::collections::BTreeMap;
use tidings_domain::account::Realm;
use tidings_domain::failure::Failure;
use tidings_domain::id::{ConnectionId, MessageId, ReviewId, SuppressionId};
use tidings_domain::message::Message;
use tidings_domain::review::{About, Decision, cause, doubtful};
use tidings_domain::suppression::{Reason, default_end};
use tidings_domain::time::Timestamp;
use tokio_postgres::Row;

/// The items that a transaction opens.
#[derive(Default)]
pub(super) struct Sheet {
    /// One for each message.
    opened: BTreeMap<About, Opened>,
}

struct Opened {
    id: i64,
    realm: Realm,
    cause: String,
    failure: String,
    at: i64,
}

impl Sheet {
    /// Adds what has to be written. A message that has an open item already keeps that one.
    pub fn write<'v>(&'v self, flight: &mut Flight<'v>) {
        if self.opened.is_empty() {
            return;
        }
        let all = &self.opened;
        flight.statement(
            "INSERT INTO review (id, account, live, cause, message, failure, opened_at, inbound)
             SELECT n.* FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::text[], $5::bigint[], $6::text[], $7::bigint[],
                 $8::bigint[])
               AS n (id, account, live, cause, message, failure, opened_at, inbound)
             WHERE n.inbound IS NOT NULL
               OR NOT EXISTS (SELECT 1 FROM review r WHERE r.message = n.message AND r.decision IS NULL LIMIT 1)",
            values![
                all.values().map(|one| one.id).collect::<Vec<_>>(),
                all.values().map(|one| one.realm.account.key()).collect::<Vec<_>>(),
                all.values().map(|one| live(one.realm.environment)).collect::<Vec<_>>(),
                all.values().map(|one| clean(&one.cause)).collect::<Vec<_>>(),
                all.keys().map(|about| column::about_numbers(*about).0).collect::<Vec<_>>(),
                all.values().map(|one| clean(&one.failure)).collect::<Vec<_>>(),
                all.values().map(|one| one.at).collect::<Vec<_>>(),
                all.keys().map(|about| column::about_numbers(*about).1).collect::<Vec<_>>(),
            ],
        );
    }
}

/// Opens an item, unless the message has one that nobody has decided yet.
pub(super) fn open(tx: &mut Tx, message: &Message, failure: &Failure, now: Timestamp) {
    insert(tx, message.realm(), message.connection, About::Message(message.id), failure, now);
}

/// Opens an item for an inbound message that may ask for no more.
pub(super) fn open_inbound(tx: &mut Tx, inbound: &Inbound, ask: &Ask, now: Timestamp) {
    insert(tx, inbound.realm, inbound.connection, About::Inbound(inbound.id), &doubtful(&ask.matched), now);
}

fn insert(
    tx: &mut Tx,
    realm: Realm,
    connection: ConnectionId,
    about: About,
    failure: &Failure,
    now: Timestamp,
) {
    if tx.sheets.reviews.opened.contains_key(&about) {
        return;
    }
    let opened = Opened {
        id: tx.next_id(now),
        realm,
        cause: cause(connection, failure),
        failure: column::failure_text(failure),
        at: now.as_millis(),
    };
    tx.sheets.reviews.opened.insert(about, opened);
}

/// The columns of an item: what [`read`] reads.
macro_rules! columns {
    () => {
        "r.id, r.cause, r.message, r.failure, r.opened_at, r.decision, r.decided_at, r.decided_by, r.inbound"
    };
}

pub(super) async fn review_groups(rx: &Rx<'_>, realm: &Realm, limit: &usize) -> Result<Vec<ReviewGroup>> {
    // The groups come from the index alone; only the shown ones look at rows.
    let rows = rx
        .sql
        .rows(
            "SELECT g.open, f.failure, f.opened_at, l.failure, l.opened_at, l.message, l.cause, l.inbound FROM (
               SELECT count(*) AS open, min(id) AS first, max(id) AS last FROM review
               WHERE account = $1 AND live = $2 AND decision IS NULL GROUP BY cause ORDER BY count(*) DESC, max(id) DESC LIMIT $3) g
             CROSS JOIN LATERAL (SELECT x.* FROM review x WHERE x.id = g.first LIMIT 1) f
             CROSS JOIN LATERAL (SELECT x.* FROM review x WHERE x.id = g.last LIMIT 1) l
             ORDER BY g.open DESC, g.last DESC",
            &[&realm.account.key(), &live(realm.environment), &(*limit as i64)],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(ReviewGroup {
                cause: cell(row, 6)?,
                failure: column::failure(cell(row, 3)?)?,
                open: cell::<i64>(row, 0)? as u64,
                first_at: Timestamp::from_millis(cell(row, 2)?),
                last_at: Timestamp::from_millis(cell(row, 4)?),
                example: column::about(cell(row, 5)?, cell(row, 7)?),
            })
        })
        .collect()
}

pub(super) async fn reviews(
    rx: &Rx<'_>,
    realm: &Realm,
    cause: &Option<String>,
    open_only: &bool,
    page: &Page,
) -> Result<Paged<Review>> {
    let rows = rx
        .sql
        .rows(
            concat!(
                "SELECT ",
                columns!(),
                " FROM review r WHERE r.account * 2 + r.live = $1 AND r.id < $2 AND ($3::text IS NULL OR r.cause = $3)
                   AND (NOT $4 OR r.decision IS NULL) ORDER BY r.id DESC LIMIT $5"
            ),
            &[
                &realm_number(*realm),
                &page.before.unwrap_or(i64::MAX),
                &cause.as_deref().map(clean),
                open_only,
                &(page.limit as i64 + 1),
            ],
        )
        .await?;
    let items = rows.iter().map(read).collect::<Result<Vec<_>>>()?;
    Ok(Paged::of(items, page, |item| item.id.key()))
}

pub(super) async fn decide(
    tx: &mut Tx,
    realm: &Realm,
    which: &ReviewChoice,
    decision: &Decision,
    limit: &usize,
    actor: &Actor,
    now: &Timestamp,
) -> Result<Vec<Review>> {
    let (account, is_live, most) = (realm.account.key(), live(realm.environment), *limit as i64);
    let rows = match which {
        ReviewChoice::Cause(cause) => {
            tx.sql
                .rows(
                    concat!(
                        "SELECT ",
                        columns!(),
                        " FROM review r WHERE r.account = $1 AND r.live = $2 AND r.cause = $3 AND r.decision IS NULL
                         ORDER BY r.id DESC LIMIT $4"
                    ),
                    &[&account, &is_live, &clean(cause), &most],
                )
                .await?
        }
        ReviewChoice::One(id) => {
            tx.sql
                .rows(
                    concat!(
                        "SELECT ",
                        columns!(),
                        " FROM review r WHERE r.id = $1 AND r.account = $2 AND r.live = $3 AND r.decision IS NULL LIMIT $4"
                    ),
                    &[&id.key(), &account, &is_live, &most],
                )
                .await?
        }
    };
    let mut items = rows.iter().map(read).collect::<Result<Vec<_>>>()?;
    if items.is_empty() {
        return Ok(items);
    }
    let ids: Vec<i64> = items.iter().map(|item| item.id.key()).collect();
    tx.sql
        .execute(
            "UPDATE review SET decision = $2, decided_at = $3, decided_by = $4 WHERE id = ANY ($1)",
            &[&ids, &(*decision as i16), &now.as_millis(), &clean(&actor.who)],
        )
        .await?;
    for item in &mut items {
        item.decided = Some((*decision, *now, actor.who.clone()));
    }
    if *decision == Decision::Suppress {
        suppress_recipients(tx, *realm, &items, actor, *now).await?;
    }
    let subject = match which {
        ReviewChoice::Cause(cause) => cause.clone(),
        ReviewChoice::One(id) => id.to_string(),
    };
    let detail = format!("{}: {} items", decision.as_str(), items.len());
    write_audit(tx, actor, "review.decide", &subject, &detail, *now);
    Ok(items)
}

async fn suppress_recipients(
    tx: &mut Tx,
    realm: Realm,
    items: &[Review],
    actor: &Actor,
    now: Timestamp,
) -> Result<()> {
    let messages: Vec<i64> = items.iter().filter_map(|item| Some(item.about.message()?.key())).collect();
    let rows = tx.sql.rows("SELECT id, recipient FROM message WHERE id = ANY ($1)", &[&messages]).await?;
    let mut recipients = BTreeMap::new();
    for row in &rows {
        let id = About::Message(MessageId::from_key(cell(row, 0)?));
        recipients.insert(id, (number(cell(row, 1)?)?, Reason::Manual));
    }
    let inbounds: Vec<i64> = items.iter().filter_map(|item| Some(item.about.inbound()?.key())).collect();
    for (id, inbound) in super::inbound::find(&tx.sql, &inbounds).await? {
        // Somebody who may have asked for no more messages has done so, if a person says so.
        recipients.extend(inbound.person().map(|person| (About::Inbound(id), (person, Reason::OptedOut))));
    }
    let mut entries = Vec::with_capacity(items.len());
    for item in items {
        let (recipient, reason) = match (recipients.get(&item.about), item.about) {
            (Some(found), _) => *found,
            (None, About::Inbound(_)) => continue,
            (None, About::Message(id)) => return Err(column::corrupt("message of a review", id)),
        };
        entries.push(Suppression {
            id: SuppressionId::from_key(tx.next_id(now)),
            realm,
            recipient,
            programme: None,
            reason,
            source: format!("review {}", item.id),
            created_at: now,
            expires_at: default_end(reason, now),
            lifted: None,
        });
    }
    let mut needs = super::transaction::Needs::default();
    suppression::suppress_needs(&entries, tx, &mut needs);
    tx.sheets.list.load(&tx.sql, needs.list).await?;
    suppression::suppress(tx, &entries, actor).await.map(drop)
}

fn read(row: &Row) -> Result<Review> {
    let failure: &str = cell(row, 3)?;
    let decided = match cell::<Option<i16>>(row, 5)? {
        None => None,
        Some(decision) => Some((
            usize::try_from(decision)
                .ok()
                .and_then(|n| Decision::ALL.get(n).copied())
                .ok_or_else(|| column::corrupt("review decision", decision))?,
            Timestamp::from_millis(cell::<Option<i64>>(row, 6)?.unwrap_or_default()),
            cell::<Option<String>>(row, 7)?.unwrap_or_default(),
        )),
    };
    Ok(Review {
        id: ReviewId::from_key(cell(row, 0)?),
        cause: cell(row, 1)?,
        about: column::about(cell(row, 2)?, cell(row, 8)?),
        failure: column::failure(failure)?,
        opened_at: Timestamp::from_millis(cell(row, 4)?),
        decided,
    })
}
