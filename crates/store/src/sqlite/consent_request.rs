//! Consent that people are asked for by text: the request in the commit of its message, and its end in that of the answer.

use super::message;
use super::reader::{Rx, get, realm};
use super::session::failed;
use super::transaction::Tx;
use super::{consent, suppression};
use crate::Result;
use crate::backend::*;
use crate::column::{self, corrupt, listed, live, number};
use rusqlite::{Connection as Sql, Row, params};
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::consent::{Act, Wording};
use tidings_domain::consent_request::{ConsentRequest, NewConsentRequest, State};
use tidings_domain::id::*;
use tidings_domain::message::{Message, Status};
use tidings_domain::sender::Sender;
use tidings_domain::time::Timestamp;

pub(super) fn ask_consent(
    tx: &mut Tx<'_>,
    intake: &Intake,
    asking: &NewConsentRequest,
    now: &Timestamp,
) -> Result<Accepted> {
    message::accept_with(tx, intake, Beside::Asking(asking), *now)
}

/// Whether the person is already asked from this sender. A request that ended by itself is written down as what it is, so that
/// there is room for the next.
pub(super) fn is_asked(sql: &Sql, message: &Message, now: Timestamp) -> Result<bool> {
    let (realm, recipient) = (message.realm(), message.recipient);
    let Some(known) = pending(sql, realm, recipient, message.sender)? else { return Ok(false) };
    let opt_outs = suppression::opt_outs(sql, realm, recipient)?;
    match known.standing(&opt_outs, sent(sql, &known)?, now) {
        State::Pending => Ok(true),
        state => put(sql, &ConsentRequest { state, ..known }).map(|()| false),
    }
}

pub(super) fn insert(sql: &Sql, one: &ConsentRequest) -> Result<()> {
    let account = one.realm.account.key();
    sql.prepare_cached("INSERT OR IGNORE INTO wording (account, hash, text) VALUES (?1, ?2, ?3)")
        .and_then(|mut s| s.execute(params![account, one.wording.hash, one.wording.text]))
        .map_err(failed)?;
    sql.prepare_cached(
        "INSERT INTO consent_request (id, account, live, recipient, sender, message, purposes, channels, act, wording, place,
           seller, programme, source, requested_at, expires_at, state)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
    )
    .and_then(|mut s| {
        s.execute(params![
            one.id.key(),
            account,
            live(one.realm.environment),
            one.recipient.digits() as i64,
            one.sender.to_string(),
            one.message.key(),
            column::purposes_bits(&one.purposes),
            column::channels_bits(&one.channels),
            one.act as i64,
            one.wording.hash,
            one.place,
            one.seller,
            one.programme,
            one.source,
            one.requested_at.as_millis(),
            one.expires_at.as_millis(),
            one.state as i64,
        ])
    })
    .map(drop)
    .map_err(failed)
}

/// A message that repeats the one that asks asks in its place.
pub(super) fn repeat(sql: &Sql, message: &Message) -> Result<()> {
    let Some(first) = message.retry_of else { return Ok(()) };
    sql.prepare_cached(
        "UPDATE consent_request SET message = ?5
         WHERE account = ?1 AND live = ?2 AND recipient = ?3 AND sender = ?4 AND state = 0 AND message = ?6",
    )
    .and_then(|mut s| {
        s.execute(params![
            message.account.key(),
            live(message.environment),
            message.recipient.digits() as i64,
            message.sender.to_string(),
            message.id.key(),
            first.key()
        ])
    })
    .map(drop)
    .map_err(failed)
}

/// How the message stands that asks, as long as that matters.
fn sent(sql: &Sql, one: &ConsentRequest) -> Result<Option<Status>> {
    if one.state != State::Pending {
        return Ok(None);
    }
    Ok(message::find(sql, one.realm, one.message)?.map(|stored| stored.life.state.status()))
}

fn put(sql: &Sql, one: &ConsentRequest) -> Result<()> {
    let (ended_at, answer) = (one.ended_at.map(Timestamp::as_millis), one.answer.map(InboundId::key));
    sql.prepare_cached("UPDATE consent_request SET state = ?2, ended_at = ?3, answer = ?4 WHERE id = ?1")
        .and_then(|mut s| s.execute(params![one.id.key(), one.state as i64, ended_at, answer]))
        .map(drop)
        .map_err(failed)
}

/// Ends the request that a person answers, if one waits for this answer, and writes what follows into the ledger.
pub(super) fn answer(tx: &mut Tx<'_>, inbound: &Inbound, now: Timestamp) -> Result<bool> {
    let ended = ended(tx.sql, inbound);
    let ended =
        inbound.if_readable(ended, "it cannot be read what was asked: the text is taken for no answer")?;
    let Some(ended) = ended.flatten() else { return Ok(false) };
    put(tx.sql, &ended)?;
    let entries = ended.entries(now, || tx.next_id(now).map(ConsentId::from_key))?;
    consent::record_consents(tx, &entries, &inbound.actor(), &now)?;
    Ok(true)
}

/// The request that a person answers, as it stands then.
fn ended(sql: &Sql, inbound: &Inbound) -> Result<Option<ConsentRequest>> {
    let Some((answer, person, sender)) = inbound.answer() else { return Ok(None) };
    let Some(known) = pending(sql, inbound.realm, person, sender)? else { return Ok(None) };
    let opt_outs = suppression::opt_outs(sql, inbound.realm, person)?;
    let sent = sent(sql, &known)?;
    Ok(known.answered(answer, inbound.id, &opt_outs, sent, inbound.at))
}

// ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT r.id, r.account, r.live, r.recipient, r.sender, r.message, r.purposes, r.channels, r.act, r.wording, w.text,
               r.place, r.seller, r.programme, r.source, r.requested_at, r.expires_at, r.state, r.ended_at, r.answer
             FROM consent_request r LEFT JOIN wording w ON w.account = r.account AND w.hash = r.wording
             WHERE r.account = ?1 AND r.live = ?2 AND r.recipient = ?3 ",
            $rest
        )
    };
}

fn pending(sql: &Sql, realm: Realm, person: PhoneNumber, sender: Sender) -> Result<Option<ConsentRequest>> {
    let mut statement = sql.prepare_cached(select!("AND r.sender = ?4 AND r.state = 0")).map_err(failed)?;
    let key =
        params![realm.account.key(), live(realm.environment), person.digits() as i64, sender.to_string()];
    let mut rows = statement.query(key).map_err(failed)?;
    rows.next().map_err(failed)?.map(read).transpose()
}

pub(super) fn consent_requests(
    rx: &mut Rx<'_>,
    realm: &Realm,
    recipient: &PhoneNumber,
    now: &Timestamp,
) -> Result<Vec<ConsentRequest>> {
    let opt_outs = suppression::opt_outs(rx.sql, *realm, *recipient)?;
    let mut statement = rx.sql.prepare_cached(select!("ORDER BY r.id DESC")).map_err(failed)?;
    let key = params![realm.account.key(), live(realm.environment), recipient.digits() as i64];
    let mut rows = statement.query(key).map_err(failed)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let one = read(row)?;
        let sent = sent(rx.sql, &one)?;
        found.push(ConsentRequest { state: one.standing(&opt_outs, sent, *now), ..one });
    }
    Ok(found)
}

fn read(row: &Row<'_>) -> Result<ConsentRequest> {
    let id: i64 = get(row, 0)?;
    let sender: String = get(row, 4)?;
    Ok(ConsentRequest {
        id: ConsentRequestId::from_key(id),
        realm: realm(row, 1)?,
        recipient: number(get(row, 3)?)?,
        sender: column::sender(&sender)?,
        message: MessageId::from_key(get(row, 5)?),
        purposes: column::purposes_of(get(row, 6)?),
        channels: column::channels_of(get(row, 7)?),
        act: listed("act of a consent", &Act::ALL, get(row, 8)?)?,
        wording: Wording {
            hash: get(row, 9)?,
            text: get::<Option<String>>(row, 10)?.ok_or_else(|| corrupt("wording of a request", id))?,
        },
        place: get(row, 11)?,
        seller: get(row, 12)?,
        programme: get(row, 13)?,
        source: get(row, 14)?,
        requested_at: Timestamp::from_millis(get(row, 15)?),
        expires_at: Timestamp::from_millis(get(row, 16)?),
        state: listed("state of a request", &State::ALL, get(row, 17)?)?,
        ended_at: get::<Option<i64>>(row, 18)?.map(Timestamp::from_millis),
        answer: get::<Option<i64>>(row, 19)?.map(InboundId::from_key),
    })
}
