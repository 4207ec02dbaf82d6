//! Messages of people: stored, told, and what they ask done, in one commit.
//!
//! Those that ask something are rare, and each is done on settled sheets: what the ones before it did is found where it
//! is looked for.

use super::executor::Tx;
use super::message::live;
use super::session::cell;
use super::{event, message, review, suppression};
use crate::Result;
use crate::backend::*;
use tidings_domain::event::Kind;
use tidings_domain::id::SuppressionId;
use tidings_domain::inbound::{Decision, decide};
use tidings_domain::keyword::Class;
use tidings_domain::reply::{Count, WINDOW_MS, is_one_more_allowed};
use tidings_domain::suppression::Reason;
use tidings_domain::time::Timestamp;

pub(super) async fn receive(tx: &mut Tx, arrivals: &[Arrival], now: &Timestamp) -> Result<Advanced> {
    let mut out = Advanced::default();
    let mut seen = event::Seen::load(&tx.sql, arrivals.iter().map(|arrival| &arrival.inbound)).await?;
    let mut new = Vec::new();
    for Arrival { inbound, ask } in arrivals {
        if seen.is_repeated(inbound, *now) {
            out.ignored += 1;
            continue;
        }
        new.push(inbound);
        event::publish_inbound(tx, inbound, Kind::Received, &mut out.told);
        if let Some(ask) = ask {
            tx.settle().await?;
            follow(tx, inbound, ask, *now, &mut out).await?;
        }
    }
    event::insert_inbound(&tx.sql, &new).await?;
    Ok(out)
}

/// Does what is asked.
async fn follow(tx: &mut Tx, inbound: &Inbound, ask: &Ask, now: Timestamp, out: &mut Advanced) -> Result<()> {
    let (realm, actor) = (inbound.realm, inbound.actor());
    let standing = suppression::standing(tx, realm, ask.person, now).await?;
    match decide(inbound.keyword, standing) {
        Decision::Keep => return Ok(()),
        Decision::Suppress => {
            let id = SuppressionId::from_key(tx.next_id(now));
            suppression::add(tx, &inbound.opt_out(id, ask, now), &actor).await?;
            event::publish_inbound(tx, inbound, Kind::OptedOut, &mut out.told);
            let (why, limit) = (Reason::OptedOut, ENDED_BY_OPT_OUT_MAX);
            let ended = message::end_waiting_for(tx, realm, ask.person, why, limit, now).await?;
            out.add(Advanced { more: false, ..ended });
        }
        Decision::Lift => {
            suppression::lift_by_person(tx, inbound, ask, &actor, now).await?;
            event::publish_inbound(tx, inbound, Kind::OptedIn, &mut out.told);
        }
        Decision::Review => {
            review::open_inbound(tx, inbound, ask, now);
            return Ok(());
        }
        Decision::Help => {}
    }
    // Whom somebody of the account does not want to be sent to gets no confirmation that messages come again.
    let may_be_sent =
        inbound.keyword == Class::Stop || suppression::standing(tx, realm, ask.person, now).await?.is_none();
    match &ask.reply {
        Some(reply) if may_be_sent && count_reply(tx, inbound, ask, now).await? => {
            message::enqueue(tx, reply, now, out).await
        }
        _ => Ok(()),
    }
}

/// Counts a reply to the person, if there were not enough.
async fn count_reply(tx: &Tx, inbound: &Inbound, ask: &Ask, now: Timestamp) -> Result<bool> {
    let (account, live) = (inbound.realm.account.key(), live(inbound.realm.environment));
    let recipient = ask.person.digits() as i64;
    let row = tx
        .sql
        .row(
            "SELECT since, replies FROM reply WHERE account = $1 AND live = $2 AND recipient = $3",
            &[&account, &live, &recipient],
        )
        .await?;
    let known = match &row {
        None => None,
        Some(row) => Some(Count {
            since: Timestamp::from_millis(cell(row, 0)?),
            replies: u32::try_from(cell::<i32>(row, 1)?).unwrap_or(u32::MAX),
        }),
    };
    let Some(count) = is_one_more_allowed(known, now) else { return Ok(false) };
    tx.sql
        .execute(
            "INSERT INTO reply (account, live, recipient, since, replies) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (account, live, recipient) DO UPDATE SET since = excluded.since, replies = excluded.replies",
            &[&account, &live, &recipient, &count.since.as_millis(), &(count.replies as i32)],
        )
        .await?;
    Ok(true)
}

/// Forgets counts that count no more. `true` if there may be more of them.
pub(super) async fn sweep_replies(tx: &Tx, now: Timestamp, limit: usize) -> Result<bool> {
    let gone = tx
        .sql
        .execute(
            "DELETE FROM reply WHERE ctid = ANY (ARRAY (
               SELECT ctid FROM reply WHERE since <= $1 ORDER BY since LIMIT $2))",
            &[&now.plus_ms(-WINDOW_MS).as_millis(), &(limit as i64)],
        )
        .await?;
    Ok(gone == limit as u64)
}
