//! One-time codes: sent, tried, and counted, in the commits of the messages that carry them.

use super::message;
use super::operating::write_audit;
use super::reader::{Rx, get, newest, realm};
use super::session::failed;
use super::transaction::Tx;
use crate::Result;
use crate::backend::*;
use crate::column::{self, live, number};
use rusqlite::{Connection as Sql, OptionalExtension, Row, params};
use tidings_domain::account::Realm;
use tidings_domain::code::{self, Code, Life, Mark, Verdict};
use tidings_domain::id::{CodeId, MessageId};
use tidings_domain::time::Timestamp;
use tidings_domain::velocity::{self, Count, Decision, Gauge, Prefix, Stop, Window};

// ── sending ─────────────────────────────────────────────────────────────────────────────────────────────────

pub(super) fn send_code(
    tx: &mut Tx<'_>,
    intake: &Intake,
    sending: &Sending,
    now: &Timestamp,
) -> Result<Accepted> {
    message::accept_with(tx, intake, Beside::Code(sending), *now)
}

/// Stores the code that a message carries and counts it, or says why it may not be sent.
pub(super) fn admit(
    tx: &mut Tx<'_>,
    draft: &Draft,
    sending: &Sending,
    now: Timestamp,
) -> Result<Option<code::Refused>> {
    let realm = draft.message.realm();
    let known = match sending.which {
        Which::New(..) => None,
        Which::Again(id) => find(tx.sql, realm, id)?,
    };
    let code = match sending.code(&draft.message, known, now) {
        Ok(code) => code,
        Err(refused) => return Ok(Some(refused)),
    };
    let prefix = Prefix::of(code.recipient);
    let mut counted = Vec::new();
    for gauge in velocity::gauges(code.recipient, &sending.person) {
        let window = window(tx.sql, realm, &gauge)?.unwrap_or(Window::EMPTY);
        counted.push((gauge, window));
    }
    let decision = velocity::admit(&mut counted, prefix, stop(tx.sql, realm, prefix)?, &sending.bounds, now);
    if let Decision::Stop(stop) = decision {
        put_stop(tx.sql, realm, &stop)?;
        let (actor, detail) = stop_line(realm, &stop);
        write_audit(tx, &actor, "code.stop", &stop.prefix.to_string(), &detail, now)?;
    }
    if let Some(refused) = decision.refused() {
        return Ok(Some(code::Refused::TooFast(refused)));
    }
    for (gauge, window) in &counted {
        put_window(tx.sql, realm, gauge, window)?;
    }
    put(tx.sql, &code)?;
    Ok(None)
}

fn put(sql: &Sql, code: &Code) -> Result<()> {
    sql.prepare_cached(
        "INSERT OR REPLACE INTO code (id, account, live, recipient, digits, mark, reference, created_at, expires_at, state,
           wrong, sends, sent_at, message) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )
    .and_then(|mut s| {
        s.execute(params![
            code.id.key(),
            code.realm.account.key(),
            live(code.realm.environment),
            code.recipient.digits() as i64,
            code.digits,
            code.mark.number(),
            code.reference,
            code.created_at.as_millis(),
            code.expires_at.as_millis(),
            code.life.state as i64,
            code.life.wrong,
            code.life.sends,
            code.life.sent_at.as_millis(),
            code.life.message.key(),
        ])
    })
    .map(drop)
    .map_err(failed)
}

// ── what becomes of it ──────────────────────────────────────────────────────────────────────────────────────

pub(super) fn check_code(
    tx: &mut Tx<'_>,
    realm: &Realm,
    id: &CodeId,
    is_right: &bool,
    now: &Timestamp,
) -> Result<Option<(Code, Verdict)>> {
    let Some(code) = find(tx.sql, *realm, *id)? else { return Ok(None) };
    let (verdict, life) = code.check(*is_right, *now);
    if life != code.life {
        set_life(tx.sql, *id, life)?;
    }
    if verdict == Verdict::Right {
        for gauge in velocity::watched(Prefix::of(code.recipient)) {
            if let Some(mut window) = window(tx.sql, *realm, &gauge)? {
                window.verify(gauge.kind, life.sent_at, *now);
                put_window(tx.sql, *realm, &gauge, &window)?;
            }
        }
    }
    Ok(Some((Code { life, ..code }, verdict)))
}

pub(super) fn cancel_code(
    tx: &mut Tx<'_>,
    realm: &Realm,
    id: &CodeId,
    now: &Timestamp,
) -> Result<Option<(Code, bool)>> {
    let Some(code) = find(tx.sql, *realm, *id)? else { return Ok(None) };
    let Some(life) = code.cancel(*now) else { return Ok(Some((code, false))) };
    set_life(tx.sql, *id, life)?;
    Ok(Some((Code { life, ..code }, true)))
}

fn set_life(sql: &Sql, id: CodeId, life: Life) -> Result<()> {
    sql.prepare_cached("UPDATE code SET state = ?2, wrong = ?3 WHERE id = ?1")
        .and_then(|mut s| s.execute(params![id.key(), life.state as i64, life.wrong]))
        .map(drop)
        .map_err(failed)
}

// ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────

const COLUMNS: &str =
    "id, account, live, recipient, digits, mark, reference, created_at, expires_at, state, wrong, sends,
    sent_at, message";

fn find(sql: &Sql, realm: Realm, id: CodeId) -> Result<Option<Code>> {
    let mut statement =
        sql.prepare_cached(&format!("SELECT {COLUMNS} FROM code WHERE id = ?1")).map_err(failed)?;
    let mut rows = statement.query([id.key()]).map_err(failed)?;
    let code = rows.next().map_err(failed)?.map(read).transpose()?;
    Ok(code.filter(|code| code.realm == realm))
}

pub(super) fn code(rx: &mut Rx<'_>, realm: &Realm, id: &CodeId) -> Result<Option<Code>> {
    find(rx.sql, *realm, *id)
}

pub(super) fn codes(rx: &mut Rx<'_>, realm: &Realm, page: &Page) -> Result<Paged<Code>> {
    let query = format!(
        "SELECT {COLUMNS} FROM code WHERE account = ?1 AND live = ?2 AND id < ?3 ORDER BY id DESC LIMIT ?4"
    );
    newest(rx, &query, *realm, page, read, |code| code.id.key())
}

fn read(row: &Row<'_>) -> Result<Code> {
    Ok(Code {
        id: CodeId::from_key(get(row, 0)?),
        realm: realm(row, 1)?,
        recipient: number(get(row, 3)?)?,
        digits: get(row, 4)?,
        mark: Mark::new(get(row, 5)?),
        reference: get(row, 6)?,
        created_at: Timestamp::from_millis(get(row, 7)?),
        expires_at: Timestamp::from_millis(get(row, 8)?),
        life: Life {
            state: column::code_state(get(row, 9)?)?,
            wrong: get(row, 10)?,
            sends: get(row, 11)?,
            sent_at: Timestamp::from_millis(get(row, 12)?),
            message: MessageId::from_key(get(row, 13)?),
        },
    })
}

// ── gauges and stops ────────────────────────────────────────────────────────────────────────────────────────

fn window(sql: &Sql, realm: Realm, gauge: &Gauge) -> Result<Option<Window>> {
    let found = sql
        .prepare_cached(
            "SELECT newest, slots FROM code_count WHERE account = ?1 AND live = ?2 AND kind = ?3 AND key = ?4",
        )
        .and_then(|mut s| {
            s.query_row(
                params![realm.account.key(), live(realm.environment), gauge.kind as i64, gauge.key],
                |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)),
            )
            .optional()
        })
        .map_err(failed)?;
    found.map(|(newest, slots)| column::window(newest, &slots)).transpose()
}

fn put_window(sql: &Sql, realm: Realm, gauge: &Gauge, window: &Window) -> Result<()> {
    sql.prepare_cached(
        "INSERT OR REPLACE INTO code_count (account, live, kind, key, newest, slots, ends_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )
    .and_then(|mut s| {
        s.execute(params![
            realm.account.key(),
            live(realm.environment),
            gauge.kind as i64,
            gauge.key,
            window.newest,
            column::slots_octets(window),
            window.ends_at(gauge.kind).as_millis(),
        ])
    })
    .map(drop)
    .map_err(failed)
}

fn stop(sql: &Sql, realm: Realm, prefix: Prefix) -> Result<Option<Stop>> {
    sql.prepare_cached(
        "SELECT prefix, since, until, sends, verified FROM code_stop WHERE account = ?1 AND live = ?2 AND prefix = ?3",
    )
    .and_then(|mut s| {
        s.query_row(
            params![realm.account.key(), live(realm.environment), prefix.digits() as i64],
            read_stop,
        )
        .optional()
    })
    .map_err(failed)
}

fn put_stop(sql: &Sql, realm: Realm, stop: &Stop) -> Result<()> {
    sql.prepare_cached(
        "INSERT OR REPLACE INTO code_stop (account, live, prefix, since, until, sends, verified)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )
    .and_then(|mut s| {
        s.execute(params![
            realm.account.key(),
            live(realm.environment),
            stop.prefix.digits() as i64,
            stop.since.as_millis(),
            stop.until.as_millis(),
            stop.count.sends,
            stop.count.verified,
        ])
    })
    .map(drop)
    .map_err(failed)
}

fn read_stop(row: &Row<'_>) -> rusqlite::Result<Stop> {
    Ok(Stop {
        prefix: Prefix::from_digits(row.get::<_, i64>(0)? as u64),
        since: Timestamp::from_millis(row.get(1)?),
        until: Timestamp::from_millis(row.get(2)?),
        count: Count { sends: row.get(3)?, verified: row.get(4)? },
    })
}

pub(super) fn stops(rx: &mut Rx<'_>, realm: &Realm, now: &Timestamp) -> Result<Vec<Stop>> {
    let mut statement = rx
        .sql
        .prepare_cached(
            "SELECT prefix, since, until, sends, verified FROM code_stop
             WHERE account = ?1 AND live = ?2 AND until > ?3 ORDER BY since DESC, prefix",
        )
        .map_err(failed)?;
    let rows = statement
        .query_map(params![realm.account.key(), live(realm.environment), now.as_millis()], read_stop)
        .map_err(failed)?;
    rows.collect::<rusqlite::Result<_>>().map_err(failed)
}

pub(super) fn lift_stop(
    tx: &mut Tx<'_>,
    realm: &Realm,
    prefix: &Prefix,
    actor: &Actor,
    now: &Timestamp,
) -> Result<Option<Stop>> {
    let Some(stop) = stop(tx.sql, *realm, *prefix)?.filter(|stop| stop.until > *now) else { return Ok(None) };
    let (account, live) = (realm.account.key(), live(realm.environment));
    tx.sql
        .prepare_cached("DELETE FROM code_stop WHERE account = ?1 AND live = ?2 AND prefix = ?3")
        .and_then(|mut s| s.execute(params![account, live, prefix.digits() as i64]))
        .map_err(failed)?;
    for gauge in velocity::watched(*prefix) {
        tx.sql
            .prepare_cached(
                "DELETE FROM code_count WHERE account = ?1 AND live = ?2 AND kind = ?3 AND key = ?4",
            )
            .and_then(|mut s| s.execute(params![account, live, gauge.kind as i64, gauge.key]))
            .map_err(failed)?;
    }
    write_audit(tx, actor, "code.lift_stop", &prefix.to_string(), realm.environment.as_str(), *now)?;
    Ok(Some(stop))
}

/// Forgets what is over. `true` if there may be more of it.
pub(super) fn sweep(tx: &Tx<'_>, limit: usize, now: Timestamp) -> Result<bool> {
    let now = now.as_millis();
    let mut more = false;
    for (statement, over) in [
        (
            "DELETE FROM code WHERE id IN (SELECT id FROM code WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)",
            now.saturating_sub(code::KEPT_MS),
        ),
        (
            "DELETE FROM code_count WHERE (account, live, kind, key) IN (
               SELECT account, live, kind, key FROM code_count WHERE ends_at <= ?1 ORDER BY ends_at LIMIT ?2)",
            now,
        ),
        (
            "DELETE FROM code_stop WHERE (account, live, prefix) IN (
               SELECT account, live, prefix FROM code_stop WHERE until <= ?1 ORDER BY until LIMIT ?2)",
            now,
        ),
    ] {
        let gone = tx
            .sql
            .prepare_cached(statement)
            .and_then(|mut s| s.execute(params![over, limit as i64]))
            .map_err(failed)?;
        more |= gone == limit;
    }
    Ok(more)
}
