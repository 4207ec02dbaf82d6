//! Consent that people are asked for by text: the request in the commit of its message, and its end in that of the answer.
//!
//! They are on no sheet: each operation looks at its own rows and changes them at once.

use super::message;
use super::reader::Rx;
use super::session::{Session, cell, clean, live, realm};
use super::transaction::Tx;
use super::{consent, suppression};
use crate::Result;
use crate::backend::*;
use crate::column::{self, corrupt, listed, number};
use std::collections::HashMap;
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::consent::{Act, OptOut, Wording};
use tidings_domain::consent_request::{ConsentRequest, NewConsentRequest, State};
use tidings_domain::id::*;
use tidings_domain::message::{Message, Status};
use tidings_domain::sender::Sender;
use tidings_domain::time::Timestamp;
use tokio_postgres::Row;

pub(super) async fn ask_consent(
    tx: &mut Tx,
    intake: &Intake,
    asking: &NewConsentRequest,
    now: &Timestamp,
) -> Result<Accepted> {
    message::accept_with(tx, intake, Beside::Asking(asking), *now).await
}

/// Whether the person is already asked from this sender. A request that ended by itself is written down as what it is, so that
/// there is room for the next.
pub(super) async fn is_asked(sql: &Session, message: &Message, now: Timestamp) -> Result<bool> {
    let (realm, recipient) = (message.realm(), message.recipient);
    let Some(known) = pending(sql, realm, recipient, message.sender).await? else { return Ok(false) };
    let opt_outs = opt_outs(sql, realm, recipient).await?;
    let sent = sent(sql, realm, std::slice::from_ref(&known)).await?;
    match known.standing(&opt_outs, sent.get(&known.message).copied(), now) {
        State::Pending => Ok(true),
        state => put(sql, &ConsentRequest { state, ..known }).await.map(|()| false),
    }
}

/// When this person opted out.
async fn opt_outs(sql: &Session, realm: Realm, person: PhoneNumber) -> Result<Vec<OptOut>> {
    let (account, live) = (realm.account.key(), live(realm.environment));
    let history = suppression::history(sql, &[account], &[live], &[person.digits() as i64]).await?;
    Ok(history.iter().filter_map(Suppression::opt_out).collect())
}

pub(super) async fn insert(sql: &Session, one: &ConsentRequest) -> Result<()> {
    let account = one.realm.account.key();
    let part = |part: &Option<String>| part.as_deref().map(|text| clean(text).into_owned());
    sql.execute(
        "INSERT INTO wording (account, hash, text) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        &[&account, &&one.wording.hash[..], &clean(&one.wording.text)],
    )
    .await?;
    sql.execute(
        "INSERT INTO consent_request (id, account, live, recipient, sender, message, purposes, channels, act, wording, place,
           seller, programme, source, requested_at, expires_at, state)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
        &[
            &one.id.key(),
            &account,
            &live(one.realm.environment),
            &(one.recipient.digits() as i64),
            &one.sender.to_string(),
            &one.message.key(),
            &(column::purposes_bits(&one.purposes) as i16),
            &(column::channels_bits(&one.channels) as i16),
            &(one.act as i16),
            &&one.wording.hash[..],
            &part(&one.place),
            &part(&one.seller),
            &part(&one.programme),
            &one.source,
            &one.requested_at.as_millis(),
            &one.expires_at.as_millis(),
            &(one.state as i16),
        ],
    )
    .await
    .map(drop)
}

/// A message that repeats the one that asks asks in its place.
pub(super) async fn repeat(sql: &Session, message: &Message) -> Result<()> {
    let Some(first) = message.retry_of else { return Ok(()) };
    sql.execute(
        "UPDATE consent_request SET message = $5
         WHERE account = $1 AND live = $2 AND recipient = $3 AND sender = $4 AND state = 0 AND message = $6",
        &[
            &message.account.key(),
            &live(message.environment),
            &(message.recipient.digits() as i64),
            &message.sender.to_string(),
            &message.id.key(),
            &first.key(),
        ],
    )
    .await
    .map(drop)
}

/// How the messages stand that ask, as long as that matters.
async fn sent(
    sql: &Session,
    realm: Realm,
    requests: &[ConsentRequest],
) -> Result<HashMap<MessageId, Status>> {
    let open = requests.iter().filter(|one| one.state == State::Pending);
    let ids: Vec<i64> = open.map(|one| one.message.key()).collect();
    let found = message::find_all(sql, realm, &ids).await?;
    Ok(found.into_iter().map(|(id, stored)| (id, stored.life.state.status())).collect())
}

async fn put(sql: &Session, one: &ConsentRequest) -> Result<()> {
    let (ended_at, answer) = (one.ended_at.map(Timestamp::as_millis), one.answer.map(InboundId::key));
    sql.execute(
        "UPDATE consent_request SET state = $3, ended_at = $4, answer = $5 WHERE id = $1 AND account = $2",
        &[&one.id.key(), &one.realm.account.key(), &(one.state as i16), &ended_at, &answer],
    )
    .await
    .map(drop)
}

/// Ends the request that a person answers, if one waits for this answer, and writes what follows into the ledger.
pub(super) async fn answer(tx: &mut Tx, inbound: &Inbound, now: Timestamp) -> Result<bool> {
    let ended = ended(tx, inbound).await;
    let ended =
        inbound.if_readable(ended, "it cannot be read what was asked: the text is taken for no answer")?;
    let Some(ended) = ended.flatten() else { return Ok(false) };
    put(&tx.sql, &ended).await?;
    let entries = ended.entries(now, || Ok::<_, crate::Error>(ConsentId::from_key(tx.next_id(now))))?;
    consent::record_consents(tx, &entries, &inbound.actor(), &now).await?;
    Ok(true)
}

/// The request that a person answers, as it stands then.
async fn ended(tx: &mut Tx, inbound: &Inbound) -> Result<Option<ConsentRequest>> {
    let Some((answer, person, sender)) = inbound.answer() else { return Ok(None) };
    let Some(known) = pending(&tx.sql, inbound.realm, person, sender).await? else { return Ok(None) };
    // What the sheets have of the message and of the list is looked at, too.
    tx.settle().await?;
    let opt_outs = opt_outs(&tx.sql, inbound.realm, person).await?;
    let sent = sent(&tx.sql, inbound.realm, std::slice::from_ref(&known)).await?.remove(&known.message);
    Ok(known.answered(answer, inbound.id, &opt_outs, sent, inbound.at))
}

// ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT r.id, r.account, r.live, r.recipient, r.sender, r.message, r.purposes, r.channels, r.act, r.wording, w.text,
               r.place, r.seller, r.programme, r.source, r.requested_at, r.expires_at, r.state, r.ended_at, r.answer
             FROM consent_request r
             LEFT JOIN LATERAL (SELECT x.text FROM wording x WHERE x.account = r.account AND x.hash = r.wording LIMIT 1) w
               ON true
             WHERE r.account = $1 AND r.live = $2 AND r.recipient = $3 ",
            $rest
        )
    };
}

async fn pending(
    sql: &Session,
    realm: Realm,
    person: PhoneNumber,
    sender: Sender,
) -> Result<Option<ConsentRequest>> {
    let row = sql
        .row(
            select!("AND r.sender = $4 AND r.state = 0"),
            &[&realm.account.key(), &live(realm.environment), &(person.digits() as i64), &sender.to_string()],
        )
        .await?;
    row.as_ref().map(read).transpose()
}

pub(super) async fn consent_requests(
    rx: &Rx<'_>,
    realm: &Realm,
    recipient: &PhoneNumber,
    now: &Timestamp,
) -> Result<Vec<ConsentRequest>> {
    let rows = rx
        .sql
        .rows(
            select!("ORDER BY r.id DESC"),
            &[&realm.account.key(), &live(realm.environment), &(recipient.digits() as i64)],
        )
        .await?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let opt_outs = opt_outs(rx.sql, *realm, *recipient).await?;
    let found = rows.iter().map(read).collect::<Result<Vec<_>>>()?;
    let sent = sent(rx.sql, *realm, &found).await?;
    let standing = |one: &ConsentRequest| one.standing(&opt_outs, sent.get(&one.message).copied(), *now);
    Ok(found.into_iter().map(|one| ConsentRequest { state: standing(&one), ..one }).collect())
}

fn read(row: &Row) -> Result<ConsentRequest> {
    let id: i64 = cell(row, 0)?;
    let sender: &str = cell(row, 4)?;
    let hash: Vec<u8> = cell(row, 9)?;
    Ok(ConsentRequest {
        id: ConsentRequestId::from_key(id),
        realm: realm(row, 1)?,
        recipient: number(cell(row, 3)?)?,
        sender: column::sender(sender)?,
        message: MessageId::from_key(cell(row, 5)?),
        purposes: column::purposes_of(i64::from(cell::<i16>(row, 6)?)),
        channels: column::channels_of(i64::from(cell::<i16>(row, 7)?)),
        act: listed("act of a consent", &Act::ALL, i64::from(cell::<i16>(row, 8)?))?,
        wording: Wording {
            hash: hash.try_into().map_err(|_| corrupt("hash of a wording", id))?,
            text: cell::<Option<String>>(row, 10)?.ok_or_else(|| corrupt("wording of a request", id))?,
        },
        place: cell(row, 11)?,
        seller: cell(row, 12)?,
        programme: cell(row, 13)?,
        source: cell(row, 14)?,
        requested_at: Timestamp::from_millis(cell(row, 15)?),
        expires_at: Timestamp::from_millis(cell(row, 16)?),
        state: listed("state of a request", &State::ALL, i64::from(cell::<i16>(row, 17)?))?,
        ended_at: cell::<Option<i64>>(row, 18)?.map(Timestamp::from_millis),
        answer: cell::<Option<i64>>(row, 19)?.map(InboundId::from_key),
    })
}
