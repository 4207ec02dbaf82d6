//! The ledger of what people agreed to. Rows are only ever added.

use super::operating::write_audit;
use super::reader::{Rx, get, realm};
use super::session::failed;
use super::suppression;
use super::transaction::Tx;
use crate::Result;
use crate::backend::*;
use crate::column::{corrupt, listed, live, number};
use rusqlite::{Row, params};
use std::collections::BTreeSet;
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::consent::{self, Act, Channel, Consent, Evidence, History, Method, Wording};
use tidings_domain::id::ConsentId;
use tidings_domain::purpose::Purpose;
use tidings_domain::time::Timestamp;

pub(super) fn record_consents(
    tx: &mut Tx<'_>,
    entries: &[Consent],
    actor: &Actor,
    now: &Timestamp,
) -> Result<()> {
    add(tx, entries, "consent.record", actor, *now)
}

pub(super) fn import_consents(
    tx: &mut Tx<'_>,
    entries: &[Consent],
    actor: &Actor,
    now: &Timestamp,
) -> Result<u64> {
    let people: BTreeSet<_> = entries.iter().map(|entry| (entry.realm, entry.recipient)).collect();
    let mut ledger = Vec::new();
    for (realm, recipient) in people {
        ledger.extend(all(tx.sql, realm, recipient)?);
    }
    let new = consent::new_among(entries, &ledger);
    add(tx, &new, "consent.import", actor, *now)?;
    Ok(new.len() as u64)
}

fn add(
    tx: &mut Tx<'_>,
    entries: &[Consent],
    action: &'static str,
    actor: &Actor,
    now: Timestamp,
) -> Result<()> {
    for entry in entries {
        insert(tx, entry)?;
    }
    if let Some(first) = entries.first() {
        let detail = format!("{} entries", entries.len());
        write_audit(tx, actor, action, &first.id.to_string(), &detail, now)?;
    }
    Ok(())
}

fn insert(tx: &Tx<'_>, entry: &Consent) -> Result<()> {
    let evidence = &entry.evidence;
    if let Some(wording) = &evidence.wording {
        tx.sql
            .prepare_cached("INSERT OR IGNORE INTO wording (account, hash, text) VALUES (?1, ?2, ?3)")
            .and_then(|mut s| s.execute(params![entry.realm.account.key(), wording.hash, wording.text]))
            .map_err(failed)?;
    }
    tx.sql
        .prepare_cached(
            "INSERT INTO consent (id, account, live, recipient, purpose, channel, act, given_at, recorded_at, expires_at,
               method, wording, place, seller, programme, ip, user_agent, attested_by, source)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)",
        )
        .and_then(|mut s| {
            s.execute(params![
                entry.id.key(),
                entry.realm.account.key(),
                live(entry.realm.environment),
                entry.recipient.digits() as i64,
                entry.purpose.priority(),
                entry.channel as i64,
                entry.act as i64,
                entry.given_at.as_millis(),
                entry.recorded_at.as_millis(),
                entry.expires_at.map(Timestamp::as_millis),
                entry.method as i64,
                evidence.wording.as_ref().map(|wording| wording.hash),
                evidence.place,
                evidence.seller,
                evidence.programme,
                evidence.ip,
                evidence.user_agent,
                evidence.attested_by,
                entry.source,
            ])
        })
        .map(drop)
        .map_err(failed)
}

pub(super) fn consents(
    rx: &mut Rx<'_>,
    realm: &Realm,
    recipient: &PhoneNumber,
    page: &Page,
) -> Result<Paged<Consent>> {
    let before = page.before.unwrap_or(i64::MAX);
    let items = newest(rx.sql, *realm, *recipient, before, page.limit as i64 + 1)?;
    Ok(Paged::of(items, page, |entry| entry.id.key()))
}

fn newest(
    sql: &rusqlite::Connection,
    realm: Realm,
    recipient: PhoneNumber,
    before: i64,
    limit: i64,
) -> Result<Vec<Consent>> {
    let mut statement = sql
        .prepare_cached(
            "SELECT c.id, c.account, c.live, c.recipient, c.purpose, c.channel, c.act, c.given_at, c.recorded_at,
               c.expires_at, c.method, c.wording, w.text, c.place, c.seller, c.programme, c.ip, c.user_agent,
               c.attested_by, c.source
             FROM consent c LEFT JOIN wording w ON w.account = c.account AND w.hash = c.wording
             WHERE c.account = ?1 AND c.live = ?2 AND c.recipient = ?3 AND c.id < ?4 ORDER BY c.id DESC LIMIT ?5",
        )
        .map_err(failed)?;
    let mut rows = statement
        .query(params![
            realm.account.key(),
            live(realm.environment),
            recipient.digits() as i64,
            before,
            limit,
        ])
        .map_err(failed)?;
    let mut items = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        items.push(read(row)?);
    }
    Ok(items)
}

fn all(sql: &rusqlite::Connection, realm: Realm, recipient: PhoneNumber) -> Result<Vec<Consent>> {
    const NO_LIMIT: i64 = -1;
    newest(sql, realm, recipient, i64::MAX, NO_LIMIT)
}

pub(super) fn said(rx: &mut Rx<'_>, recipients: &[(Realm, PhoneNumber)]) -> Result<Vec<History>> {
    recipients.iter().map(|(realm, recipient)| said_by(rx.sql, *realm, *recipient)).collect()
}

pub(super) fn said_by(sql: &rusqlite::Connection, realm: Realm, recipient: PhoneNumber) -> Result<History> {
    Ok(History {
        ledger: all(sql, realm, recipient)?,
        opt_outs: suppression::opt_outs(sql, realm, recipient)?,
    })
}

fn read(row: &Row<'_>) -> Result<Consent> {
    let wording = match (get::<Option<[u8; 32]>>(row, 11)?, get::<Option<String>>(row, 12)?) {
        (Some(hash), Some(text)) => Some(Wording { hash, text }),
        (Some(_), None) => return Err(corrupt("wording of a consent", get::<i64>(row, 0)?)),
        (None, _) => None,
    };
    let purpose: u8 = get(row, 4)?;
    Ok(Consent {
        id: ConsentId::from_key(get(row, 0)?),
        realm: realm(row, 1)?,
        recipient: number(get(row, 3)?)?,
        purpose: Purpose::from_priority(purpose).ok_or_else(|| corrupt("purpose", i64::from(purpose)))?,
        channel: listed("channel of a consent", &Channel::ALL, get(row, 5)?)?,
        act: listed("act of a consent", &Act::ALL, get(row, 6)?)?,
        given_at: Timestamp::from_millis(get(row, 7)?),
        recorded_at: Timestamp::from_millis(get(row, 8)?),
        expires_at: get::<Option<i64>>(row, 9)?.map(Timestamp::from_millis),
        method: listed("method of a consent", &Method::ALL, get(row, 10)?)?,
        evidence: Evidence {
            wording,
            place: get(row, 13)?,
            seller: get(row, 14)?,
            programme: get(row, 15)?,
            ip: get(row, 16)?,
            user_agent: get(row, 17)?,
            attested_by: get(row, 18)?,
        },
        source: get(row, 19)?,
    })
}
