//! The ledger of what people agreed to. Rows are only ever added.

use super::operating::write_audit;
use super::reader::Rx;
use super::session::{Session, cell, clean, live, realm};
use super::suppression;
use super::transaction::Tx;
use crate::backend::*;
use crate::column::{corrupt, listed, number};
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::consent::{self, Act, Channel, Consent, Evidence, History, Method, Wording};
use tidings_domain::id::ConsentId;
use tidings_domain::purpose::Purpose;
use tidings_domain::time::Timestamp;
use tokio_postgres::Row;

pub(super) async fn record_consents(
    tx: &mut Tx,
    entries: &[Consent],
    actor: &Actor,
    now: &Timestamp,
) -> Result<()> {
    add(tx, entries, "consent.record", actor, *now).await
}

pub(super) async fn import_consents(
    tx: &mut Tx,
    entries: &[Consent],
    actor: &Actor,
    now: &Timestamp,
) -> Result<u64> {
    let people: Vec<_> = entries.iter().map(|entry| (entry.realm, entry.recipient)).collect();
    let ledger = ledger(&tx.sql, &Keys::of(&people)).await?;
    let new = consent::new_among(entries, &ledger);
    add(tx, &new, "consent.import", actor, *now).await?;
    Ok(new.len() as u64)
}

async fn add(
    tx: &mut Tx,
    entries: &[Consent],
    action: &'static str,
    actor: &Actor,
    now: Timestamp,
) -> Result<()> {
    let Some(first) = entries.first() else { return Ok(()) };
    // An id is one entry's, whatever its account.
    let ids: BTreeSet<i64> = entries.iter().map(|entry| entry.id.key()).collect();
    let all: Vec<i64> = ids.iter().copied().collect();
    let known = tx.sql.row("SELECT id FROM consent WHERE id = ANY ($1) LIMIT 1", &[&all]).await?;
    if known.is_some() || ids.len() < entries.len() {
        return Err(Error::Conflict("there is a consent with one of these ids already".to_owned()));
    }
    let worded = entries.iter().filter_map(|entry| {
        let wording = entry.evidence.wording.as_ref()?;
        Some(((entry.realm.account.key(), wording.hash), clean(&wording.text)))
    });
    let wordings: BTreeMap<_, _> = worded.collect();
    tx.sql
        .execute(
            "INSERT INTO wording (account, hash, text) SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::text[])
             ON CONFLICT DO NOTHING",
            &[
                &wordings.keys().map(|(account, _)| *account).collect::<Vec<_>>(),
                &wordings.keys().map(|(_, hash)| &hash[..]).collect::<Vec<_>>(),
                &wordings.values().map(|text| &**text).collect::<Vec<_>>(),
            ],
        )
        .await?;
    let texts = |of: fn(&Evidence) -> &Option<String>| -> Vec<Option<String>> {
        entries
            .iter()
            .map(|entry| of(&entry.evidence).as_deref().map(|text| clean(text).into_owned()))
            .collect()
    };
    tx.sql
        .execute(
            "INSERT INTO consent (id, account, live, recipient, purpose, channel, act, given_at, recorded_at, expires_at,
               method, wording, place, seller, programme, ip, user_agent, attested_by, source)
             SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::bigint[], $5::smallint[], $6::smallint[],
               $7::smallint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::smallint[], $12::bytea[], $13::text[],
               $14::text[], $15::text[], $16::text[], $17::text[], $18::text[], $19::text[])",
            &[
                &entries.iter().map(|entry| entry.id.key()).collect::<Vec<_>>(),
                &entries.iter().map(|entry| entry.realm.account.key()).collect::<Vec<_>>(),
                &entries.iter().map(|entry| live(entry.realm.environment)).collect::<Vec<_>>(),
                &entries.iter().map(|entry| entry.recipient.digits() as i64).collect::<Vec<_>>(),
                &entries.iter().map(|entry| i16::from(entry.purpose.priority())).collect::<Vec<_>>(),
                &entries.iter().map(|entry| entry.channel as i16).collect::<Vec<_>>(),
                &entries.iter().map(|entry| entry.act as i16).collect::<Vec<_>>(),
                &entries.iter().map(|entry| entry.given_at.as_millis()).collect::<Vec<_>>(),
                &entries.iter().map(|entry| entry.recorded_at.as_millis()).collect::<Vec<_>>(),
                &entries.iter().map(|entry| entry.expires_at.map(Timestamp::as_millis)).collect::<Vec<_>>(),
                &entries.iter().map(|entry| entry.method as i16).collect::<Vec<_>>(),
                &entries
                    .iter()
                    .map(|entry| entry.evidence.wording.as_ref().map(|wording| &wording.hash[..]))
                    .collect::<Vec<_>>(),
                &texts(|evidence| &evidence.place),
                &texts(|evidence| &evidence.seller),
                &texts(|evidence| &evidence.programme),
                &texts(|evidence| &evidence.ip),
                &texts(|evidence| &evidence.user_agent),
                &texts(|evidence| &evidence.attested_by),
                &entries.iter().map(|entry| clean(&entry.source)).collect::<Vec<_>>(),
            ],
        )
        .await?;
    let detail = format!("{} entries", entries.len());
    write_audit(tx, actor, action, &first.id.to_string(), &detail, now);
    Ok(())
}

pub(super) async fn consents(
    rx: &Rx<'_>,
    realm: &Realm,
    recipient: &PhoneNumber,
    page: &Page,
) -> Result<Paged<Consent>> {
    let rows = rx
        .sql
        .rows(
            "SELECT c.id, c.account, c.live, c.recipient, c.purpose, c.channel, c.act, c.given_at, c.recorded_at,
               c.expires_at, c.method, c.wording, w.text, c.place, c.seller, c.programme, c.ip, c.user_agent,
               c.attested_by, c.source
             FROM (SELECT * FROM consent WHERE account = $1 AND live = $2 AND recipient = $3 AND id < $4
                   ORDER BY id DESC LIMIT $5) c
             LEFT JOIN LATERAL (SELECT x.text FROM wording x WHERE x.account = c.account AND x.hash = c.wording LIMIT 1) w
               ON true
             ORDER BY c.id DESC",
            &[
                &realm.account.key(),
                &live(realm.environment),
                &(recipient.digits() as i64),
                &page.before.unwrap_or(i64::MAX),
                &(page.limit as i64 + 1),
            ],
        )
        .await?;
    let items = rows.iter().map(read).collect::<Result<Vec<_>>>()?;
    Ok(Paged::of(items, page, |entry| entry.id.key()))
}

pub(super) async fn said(rx: &Rx<'_>, recipients: &[(Realm, PhoneNumber)]) -> Result<Vec<History>> {
    said_by(rx.sql, recipients).await
}

/// People, each once, as the columns that statements join with.
struct Keys {
    accounts: Vec<i64>,
    lives: Vec<i16>,
    digits: Vec<i64>,
}

impl Keys {
    fn of(people: &[(Realm, PhoneNumber)]) -> Self {
        let keys: BTreeSet<_> = people.iter().map(|(realm, recipient)| key(*realm, *recipient)).collect();
        Self {
            accounts: keys.iter().map(|(account, ..)| *account).collect(),
            lives: keys.iter().map(|(_, live, _)| *live).collect(),
            digits: keys.iter().map(|(.., digits)| *digits as i64).collect(),
        }
    }
}

fn key(realm: Realm, recipient: PhoneNumber) -> (i64, i16, u64) {
    (realm.account.key(), live(realm.environment), recipient.digits())
}

/// Every entry of these people, those of each from the last on.
async fn ledger(sql: &Session, Keys { accounts, lives, digits }: &Keys) -> Result<Vec<Consent>> {
    let rows = sql
        .rows(
            "SELECT c.id, c.account, c.live, c.recipient, c.purpose, c.channel, c.act, c.given_at, c.recorded_at,
               c.expires_at, c.method, c.wording, w.text, c.place, c.seller, c.programme, c.ip, c.user_agent,
               c.attested_by, c.source
             FROM unnest($1::bigint[], $2::smallint[], $3::bigint[]) AS k (account, live, recipient)
             CROSS JOIN LATERAL (SELECT x.* FROM consent x WHERE x.account = k.account AND x.live = k.live
               AND x.recipient = k.recipient ORDER BY x.id DESC) c
             LEFT JOIN LATERAL (SELECT x.text FROM wording x WHERE x.account = c.account AND x.hash = c.wording LIMIT 1) w
               ON true",
            &[accounts, lives, digits],
        )
        .await?;
    rows.iter().map(read).collect()
}

pub(super) async fn said_by(sql: &Session, recipients: &[(Realm, PhoneNumber)]) -> Result<Vec<History>> {
    let keys = Keys::of(recipients);
    let mut said: BTreeMap<(i64, i16, u64), History> = BTreeMap::new();
    for entry in ledger(sql, &keys).await? {
        said.entry(key(entry.realm, entry.recipient)).or_default().ledger.push(entry);
    }
    for entry in suppression::history(sql, &keys.accounts, &keys.lives, &keys.digits).await? {
        said.entry(key(entry.realm, entry.recipient)).or_default().opt_outs.extend(entry.opt_out());
    }
    let of_one = |(realm, recipient): &(Realm, PhoneNumber)| {
        said.get(&key(*realm, *recipient)).cloned().unwrap_or_default()
    };
    Ok(recipients.iter().map(of_one).collect())
}

fn read(row: &Row) -> Result<Consent> {
    let at = |n| cell(row, n).map(Timestamp::from_millis);
    let place = |n| cell::<i16>(row, n).map(i64::from);
    let wording = match (cell::<Option<&[u8]>>(row, 11)?, cell::<Option<String>>(row, 12)?) {
        (Some(hash), Some(text)) => {
            let hash = hash.try_into().map_err(|_| corrupt("hash of a wording", hash.len()))?;
            Some(Wording { hash, text })
        }
        (Some(_), None) => return Err(corrupt("wording of a consent", cell::<i64>(row, 0)?)),
        (None, _) => None,
    };
    let purpose = place(4)?;
    Ok(Consent {
        id: ConsentId::from_key(cell(row, 0)?),
        realm: realm(row, 1)?,
        recipient: number(cell(row, 3)?)?,
        purpose: u8::try_from(purpose)
            .ok()
            .and_then(Purpose::from_priority)
            .ok_or_else(|| corrupt("purpose", purpose))?,
        channel: listed("channel of a consent", &Channel::ALL, place(5)?)?,
        act: listed("act of a consent", &Act::ALL, place(6)?)?,
        given_at: at(7)?,
        recorded_at: at(8)?,
        expires_at: cell::<Option<i64>>(row, 9)?.map(Timestamp::from_millis),
        method: listed("method of a consent", &Method::ALL, place(10)?)?,
        evidence: Evidence {
            wording,
            place: cell(row, 13)?,
            seller: cell(row, 14)?,
            programme: cell(row, 15)?,
            ip: cell(row, 16)?,
            user_agent: cell(row, 17)?,
            attested_by: cell(row, 18)?,
        },
        source: cell(row, 19)?,
    })
}
