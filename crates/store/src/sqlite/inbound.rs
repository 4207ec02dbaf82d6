//! Messages of people: stored, told, and what they ask done, in one commit.

use super::executor::{Tx, failed};
use super::{event, message, review, suppression};
use crate::Result;
use crate::backend::*;
use crate::column::live;
use rusqlite::{OptionalExtension, params};
use tidings_domain::event::Kind;
use tidings_domain::id::SuppressionId;
use tidings_domain::inbound::{Decision, decide};
use tidings_domain::keyword::Class;
use tidings_domain::reply::{Count, WINDOW_MS, is_one_more_allowed};
use tidings_domain::suppression::Reason;
use tidings_domain::time::Timestamp;

pub(super) fn receive(tx: &mut Tx<'_>, arrivals: &[Arrival], now: &Timestamp) -> Result<Advanced> {
    let mut out = Advanced::default();
    for Arrival { inbound, ask } in arrivals {
        if event::known_inbound(tx.sql, inbound, *now)? {
            out.ignored += 1;
            continue;
        }
        event::insert_inbound(tx.sql, inbound)?;
        event::publish_inbound(tx, inbound, Kind::Received, &mut out.told)?;
        if let Some(ask) = ask {
            follow(tx, inbound, ask, *now, &mut out)?;
        }
    }
    Ok(out)
}

/// Does what is asked.
fn follow(tx: &mut Tx<'_>, inbound: &Inbound, ask: &Ask, now: Timestamp, out: &mut Advanced) -> Result<()> {
    let (realm, actor) = (inbound.realm, inbound.actor());
    let standing = suppression::in_force(tx.sql, realm, ask.person, now)?;
    match decide(inbound.keyword, standing) {
        Decision::Keep => return Ok(()),
        Decision::Suppress => {
            let entry = inbound.opt_out(SuppressionId::from_key(tx.next_id(now)?), ask, now);
            suppression::add(tx, &entry, &actor)?;
            event::publish_inbound(tx, inbound, Kind::OptedOut, &mut out.told)?;
            let ended =
                message::end_waiting_for(tx, realm, ask.person, Reason::OptedOut, ENDED_BY_OPT_OUT_MAX, now)?;
            out.add(Advanced { more: false, ..ended });
        }
        Decision::Lift => {
            suppression::lift_by_person(tx, inbound, ask, &actor, now)?;
            event::publish_inbound(tx, inbound, Kind::OptedIn, &mut out.told)?;
        }
        Decision::Review => return review::open_inbound(tx, inbound, ask, now),
        Decision::Help => {}
    }
    // Whom somebody of the account does not want to be sent to gets no confirmation that messages come again.
    let may_be_sent =
        inbound.keyword == Class::Stop || suppression::in_force(tx.sql, realm, ask.person, now)?.is_none();
    match &ask.reply {
        Some(reply) if may_be_sent && count_reply(tx, inbound, ask, now)? => {
            message::enqueue(tx, reply, now, out)
        }
        _ => Ok(()),
    }
}

/// Counts a reply to the person, if there were not enough.
fn count_reply(tx: &Tx<'_>, inbound: &Inbound, ask: &Ask, now: Timestamp) -> Result<bool> {
    let (account, live) = (inbound.realm.account.key(), live(inbound.realm.environment));
    let recipient = ask.person.digits() as i64;
    let known = tx
        .sql
        .prepare_cached(
            "SELECT since, replies FROM reply WHERE account = ?1 AND live = ?2 AND recipient = ?3",
        )
        .and_then(|mut s| {
            s.query_row(params![account, live, recipient], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?)))
                .optional()
        })
        .map_err(failed)?;
    let known = known.map(|(since, replies)| Count { since: Timestamp::from_millis(since), replies });
    let Some(count) = is_one_more_allowed(known, now) else { return Ok(false) };
    tx.sql
        .prepare_cached(
            "INSERT OR REPLACE INTO reply (account, live, recipient, since, replies) VALUES (?1, ?2, ?3, ?4, ?5)",
        )
        .and_then(|mut s| {
            s.execute(params![account, live, recipient, count.since.as_millis(), count.replies])
        })
        .map_err(failed)?;
    Ok(true)
}

/// Forgets counts that count no more. `true` if there may be more of them.
pub(super) fn sweep_replies(tx: &Tx<'_>, now: Timestamp, limit: usize) -> Result<bool> {
    let gone = tx
        .sql
        .prepare_cached(
            "DELETE FROM reply WHERE (account, live, recipient) IN (
               SELECT account, live, recipient FROM reply WHERE since <= ?1 ORDER BY since LIMIT ?2)",
        )
        .and_then(|mut s| s.execute(params![now.plus_ms(-WINDOW_MS).as_millis(), limit as i64]))
        .map_err(failed)?;
    Ok(gone == limit)
}
