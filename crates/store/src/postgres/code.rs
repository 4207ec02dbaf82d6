//! One-time codes: sent, tried, and counted, in the commits of the messages that carry them.
//!
//! Rows of codes are on no sheet: each operation looks at its own and changes them at once, on settled sheets.

use super::message;
use super::operating::write_audit;
use super::reader::{Rx, newest};
use super::session::{Session, cell, clean, live, realm};
use super::transaction::Tx;
use crate::backend::*;
use crate::column::{self, number};
use crate::{Result, column::corrupt};
use std::collections::HashMap;
use tidings_domain::account::Realm;
use tidings_domain::code::{self, Code, Life, Mark, Verdict};
use tidings_domain::id::{CodeId, MessageId};
use tidings_domain::time::Timestamp;
use tidings_domain::velocity::{self, Count, Decision, Gauge, Prefix, Stop, Window};
use tokio_postgres::Row;

// ── sending ─────────────────────────────────────────────────────────────────────────────────────────────────

pub(super) async fn send_code(
    tx: &mut Tx,
    intake: &Intake,
    sending: &Sending,
    now: &Timestamp,
) -> Result<Accepted> {
    message::accept_with(tx, intake, Beside::Code(sending), *now).await
}

/// Stores the code that a message carries and counts it, or says why it may not be sent.
pub(super) async fn admit(
    tx: &mut Tx,
    draft: &Draft,
    sending: &Sending,
    now: Timestamp,
) -> Result<Option<code::Refused>> {
    let realm = draft.message.realm();
    let known = match sending.which {
        Which::New(..) => None,
        Which::Again(id) => find(&tx.sql, realm, id).await?,
    };
    let code = match sending.code(&draft.message, known, now) {
        Ok(code) => code,
        Err(refused) => return Ok(Some(refused)),
    };
    let prefix = Prefix::of(code.recipient);
    let gauges = velocity::gauges(code.recipient, &sending.person);
    let mut known = windows(&tx.sql, realm, &gauges).await?;
    let mut counted: Vec<(Gauge, Window)> = gauges
        .into_iter()
        .map(|gauge| {
            let window = known.remove(&gauge).unwrap_or(Window::EMPTY);
            (gauge, window)
        })
        .collect();
    let stop = stop(&tx.sql, realm, prefix).await?;
    let decision = velocity::admit(&mut counted, prefix, stop, &sending.bounds, now);
    if let Decision::Stop(stop) = decision {
        put_stop(&tx.sql, realm, &stop).await?;
        let (actor, detail) = stop_line(realm, &stop);
        write_audit(tx, &actor, "code.stop", &stop.prefix.to_string(), &detail, now);
    }
    if let Some(refused) = decision.refused() {
        return Ok(Some(code::Refused::TooFast(refused)));
    }
    put_windows(&tx.sql, realm, &counted).await?;
    put(&tx.sql, &code).await?;
    Ok(None)
}

async fn put(sql: &Session, code: &Code) -> Result<()> {
    sql.execute(
        "INSERT INTO code (id, account, live, recipient, digits, mark, reference, created_at, expires_at, state, wrong,
           sends, sent_at, message) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
         ON CONFLICT (id, account) DO UPDATE SET sends = excluded.sends, sent_at = excluded.sent_at, message = excluded.message",
        &[
            &code.id.key(),
            &code.realm.account.key(),
            &live(code.realm.environment),
            &(code.recipient.digits() as i64),
            &i16::from(code.digits),
            &(code.mark.number() as i32),
            &code.reference.as_deref().map(clean),
            &code.created_at.as_millis(),
            &code.expires_at.as_millis(),
            &(code.life.state as i16),
            &i16::from(code.life.wrong),
            &i16::from(code.life.sends),
            &code.life.sent_at.as_millis(),
            &code.life.message.key(),
        ],
    )
    .await
    .map(drop)
}

// ── what becomes of it ──────────────────────────────────────────────────────────────────────────────────────

pub(super) async fn check_code(
    tx: &mut Tx,
    realm: &Realm,
    id: &CodeId,
    is_right: &bool,
    now: &Timestamp,
) -> Result<Option<(Code, Verdict)>> {
    let Some(code) = find(&tx.sql, *realm, *id).await? else { return Ok(None) };
    let (verdict, life) = code.check(*is_right, *now);
    if life != code.life {
        set_life(&tx.sql, *realm, *id, life).await?;
    }
    if verdict == Verdict::Right {
        let gauges = velocity::watched(Prefix::of(code.recipient));
        let mut counted: Vec<(Gauge, Window)> =
            windows(&tx.sql, *realm, &gauges).await?.into_iter().collect();
        for (gauge, window) in &mut counted {
            window.verify(gauge.kind, life.sent_at, *now);
        }
        put_windows(&tx.sql, *realm, &counted).await?;
    }
    Ok(Some((Code { life, ..code }, verdict)))
}

pub(super) async fn cancel_code(
    tx: &mut Tx,
    realm: &Realm,
    id: &CodeId,
    now: &Timestamp,
) -> Result<Option<(Code, bool)>> {
    let Some(code) = find(&tx.sql, *realm, *id).await? else { return Ok(None) };
    let Some(life) = code.cancel(*now) else { return Ok(Some((code, false))) };
    set_life(&tx.sql, *realm, *id, life).await?;
    Ok(Some((Code { life, ..code }, true)))
}

async fn set_life(sql: &Session, realm: Realm, id: CodeId, life: Life) -> Result<()> {
    sql.execute(
        "UPDATE code SET state = $3, wrong = $4 WHERE id = $1 AND account = $2",
        &[&id.key(), &realm.account.key(), &(life.state as i16), &i16::from(life.wrong)],
    )
    .await
    .map(drop)
}

// ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────

macro_rules! columns {
    () => {
        "id, account, live, recipient, digits, mark, reference, created_at, expires_at, state, wrong, sends, sent_at, message"
    };
}

async fn find(sql: &Session, realm: Realm, id: CodeId) -> Result<Option<Code>> {
    let query = concat!("SELECT ", columns!(), " FROM code WHERE id = $1 AND account = $2");
    let row = sql.row(query, &[&id.key(), &realm.account.key()]).await?;
    let code = row.as_ref().map(read).transpose()?;
    Ok(code.filter(|code| code.realm == realm))
}

pub(super) async fn code(rx: &Rx<'_>, realm: &Realm, id: &CodeId) -> Result<Option<Code>> {
    find(rx.sql, *realm, *id).await
}

pub(super) async fn codes(rx: &Rx<'_>, realm: &Realm, page: &Page) -> Result<Paged<Code>> {
    let query = concat!(
        "SELECT ",
        columns!(),
        " FROM code WHERE account = $1 AND live = $2 AND id < $3 ORDER BY id DESC LIMIT $4"
    );
    newest(rx, query, *realm, page, read, |code| code.id.key()).await
}

fn read(row: &Row) -> Result<Code> {
    Ok(Code {
        id: CodeId::from_key(cell(row, 0)?),
        realm: realm(row, 1)?,
        recipient: number(cell(row, 3)?)?,
        digits: small(cell(row, 4)?)?,
        mark: Mark::new(cell::<i32>(row, 5)? as u32),
        reference: cell(row, 6)?,
        created_at: Timestamp::from_millis(cell(row, 7)?),
        expires_at: Timestamp::from_millis(cell(row, 8)?),
        life: Life {
            state: column::code_state(i64::from(cell::<i16>(row, 9)?))?,
            wrong: small(cell(row, 10)?)?,
            sends: small(cell(row, 11)?)?,
            sent_at: Timestamp::from_millis(cell(row, 12)?),
            message: MessageId::from_key(cell(row, 13)?),
        },
    })
}

fn small(count: i16) -> Result<u8> {
    u8::try_from(count).map_err(|_| corrupt("count of a code", count))
}

// ── gauges and stops ────────────────────────────────────────────────────────────────────────────────────────

async fn windows(sql: &Session, realm: Realm, gauges: &[Gauge]) -> Result<HashMap<Gauge, Window>> {
    let kinds: Vec<i16> = gauges.iter().map(|gauge| gauge.kind as i16).collect();
    let keys: Vec<&str> = gauges.iter().map(|gauge| gauge.key.as_str()).collect();
    let rows = sql
        .rows(
            "SELECT c.kind, c.key, c.newest, c.slots FROM unnest($3::smallint[], $4::text[]) AS k (kind, key)
             CROSS JOIN LATERAL (SELECT x.* FROM code_count x WHERE x.account = $1 AND x.live = $2 AND x.kind = k.kind
               AND x.key = k.key LIMIT 1) c",
            &[&realm.account.key(), &live(realm.environment), &kinds, &keys],
        )
        .await?;
    let mut found = HashMap::new();
    for row in &rows {
        let (kind, key): (i16, &str) = (cell(row, 0)?, cell(row, 1)?);
        let window = column::window(cell(row, 2)?, cell(row, 3)?)?;
        if let Some(gauge) = gauges.iter().find(|gauge| gauge.kind as i16 == kind && gauge.key == key) {
            found.insert(gauge.clone(), window);
        }
    }
    Ok(found)
}

async fn put_windows(sql: &Session, realm: Realm, counted: &[(Gauge, Window)]) -> Result<()> {
    let kinds: Vec<i16> = counted.iter().map(|(gauge, _)| gauge.kind as i16).collect();
    let keys: Vec<&str> = counted.iter().map(|(gauge, _)| gauge.key.as_str()).collect();
    let newest: Vec<i64> = counted.iter().map(|(_, window)| window.newest).collect();
    let slots: Vec<Vec<u8>> = counted.iter().map(|(_, window)| column::slots_octets(window)).collect();
    let ends: Vec<i64> =
        counted.iter().map(|(gauge, window)| window.ends_at(gauge.kind).as_millis()).collect();
    sql.execute(
        "INSERT INTO code_count (account, live, kind, key, newest, slots, ends_at)
         SELECT $1, $2, * FROM unnest($3::smallint[], $4::text[], $5::bigint[], $6::bytea[], $7::bigint[])
         ON CONFLICT (account, live, kind, key)
         DO UPDATE SET newest = excluded.newest, slots = excluded.slots, ends_at = excluded.ends_at",
        &[&realm.account.key(), &live(realm.environment), &kinds, &keys, &newest, &slots, &ends],
    )
    .await
    .map(drop)
}

async fn stop(sql: &Session, realm: Realm, prefix: Prefix) -> Result<Option<Stop>> {
    let row = sql
        .row(
            "SELECT prefix, since, until, sends, verified FROM code_stop WHERE account = $1 AND live = $2 AND prefix = $3",
            &[&realm.account.key(), &live(realm.environment), &(prefix.digits() as i64)],
        )
        .await?;
    row.as_ref().map(read_stop).transpose()
}

async fn put_stop(sql: &Session, realm: Realm, stop: &Stop) -> Result<()> {
    sql.execute(
        "INSERT INTO code_stop (account, live, prefix, since, until, sends, verified) VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (account, live, prefix) DO UPDATE SET since = excluded.since, until = excluded.until,
           sends = excluded.sends, verified = excluded.verified",
        &[
            &realm.account.key(),
            &live(realm.environment),
            &(stop.prefix.digits() as i64),
            &stop.since.as_millis(),
            &stop.until.as_millis(),
            &bounded(stop.count.sends),
            &bounded(stop.count.verified),
        ],
    )
    .await
    .map(drop)
}

/// A count as its column holds it.
fn bounded(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn read_stop(row: &Row) -> Result<Stop> {
    let count = |n| cell::<i32>(row, n).map(|count| u32::try_from(count).unwrap_or_default());
    Ok(Stop {
        prefix: Prefix::from_digits(cell::<i64>(row, 0)? as u64),
        since: Timestamp::from_millis(cell(row, 1)?),
        until: Timestamp::from_millis(cell(row, 2)?),
        count: Count { sends: count(3)?, verified: count(4)? },
    })
}

pub(super) async fn stops(rx: &Rx<'_>, realm: &Realm, now: &Timestamp) -> Result<Vec<Stop>> {
    let rows = rx
        .sql
        .rows(
            "SELECT prefix, since, until, sends, verified FROM code_stop WHERE account = $1 AND live = $2 AND until > $3
             ORDER BY since DESC, prefix",
            &[&realm.account.key(), &live(realm.environment), &now.as_millis()],
        )
        .await?;
    rows.iter().map(read_stop).collect()
}

pub(super) async fn lift_stop(
    tx: &mut Tx,
    realm: &Realm,
    prefix: &Prefix,
    actor: &Actor,
    now: &Timestamp,
) -> Result<Option<Stop>> {
    let found = stop(&tx.sql, *realm, *prefix).await?;
    let Some(stop) = found.filter(|stop| stop.until > *now) else { return Ok(None) };
    let (account, is_live) = (realm.account.key(), live(realm.environment));
    tx.sql
        .execute(
            "DELETE FROM code_stop WHERE account = $1 AND live = $2 AND prefix = $3",
            &[&account, &is_live, &(prefix.digits() as i64)],
        )
        .await?;
    for gauge in velocity::watched(*prefix) {
        tx.sql
            .execute(
                "DELETE FROM code_count WHERE account = $1 AND live = $2 AND kind = $3 AND key = $4",
                &[&account, &is_live, &(gauge.kind as i16), &gauge.key],
            )
            .await?;
    }
    write_audit(tx, actor, "code.lift_stop", &prefix.to_string(), realm.environment.as_str(), *now);
    Ok(Some(stop))
}

/// Forgets what is over. `true` if there may be more of it.
pub(super) async fn sweep(tx: &Tx, limit: usize, now: Timestamp) -> Result<bool> {
    let now = now.as_millis();
    let mut more = false;
    for (statement, over) in [
        (
            "DELETE FROM code WHERE ctid = ANY (ARRAY (
               SELECT ctid FROM code WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2))",
            now.saturating_sub(code::KEPT_MS),
        ),
        (
            "DELETE FROM code_count WHERE ctid = ANY (ARRAY (
               SELECT ctid FROM code_count WHERE ends_at <= $1 ORDER BY ends_at LIMIT $2))",
            now,
        ),
        (
            "DELETE FROM code_stop WHERE ctid = ANY (ARRAY (
               SELECT ctid FROM code_stop WHERE until <= $1 ORDER BY until LIMIT $2))",
            now,
        ),
    ] {
        let gone = tx.sql.execute(statement, &[&over, &(limit as i64)]).await?;
        more |= gone == limit as u64;
    }
    Ok(more)
}
