//! Imports: their rows in pieces, and taking a piece over in the commit that deletes it.

use super::contact;
use super::executor::{Rx, Tx, failed};
use super::message::{environment, get, live};
use super::operating::write_audit;
use crate::backend::*;
use crate::column::{self, listed};
use crate::{Error, Result};
use rusqlite::{Connection as Sql, OptionalExtension, Row, params};
use tidings_domain::account::Realm;
use tidings_domain::id::{AccountId, ImportId};
use tidings_domain::import::{self, Decision, Import, Progress, Refused, State};
use tidings_domain::time::Timestamp;

const COLUMNS: &str = "id, account, live, name, who, state, headings, report, created, changed, unchanged, left_over, \
     created_at, updated_at";
/// The kinds of pieces.
const ROWS: i64 = 0;
const REFUSED: i64 = 1;

pub(super) fn begin_import(tx: &mut Tx<'_>, import: &Import) -> Result<()> {
    if find(tx.sql, import.id)?.is_some() {
        return Err(Error::Conflict(format!("there is an import {} already", import.id)));
    }
    tx.sql
        .prepare_cached(&format!(
            "INSERT INTO import ({COLUMNS}, swept) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, 0)"
        ))
        .and_then(|mut s| {
            s.execute(params![
                import.id.key(),
                import.realm.account.key(),
                live(import.realm.environment),
                import.name,
                import.who,
                import.state as i64,
                column::headings_text(&import.headings),
                column::report_text(&import.report),
                import.progress.created as i64,
                import.progress.changed as i64,
                import.progress.unchanged as i64,
                import.progress.over as i64,
                import.created_at.as_millis(),
                import.updated_at.as_millis(),
            ])
        })
        .map(drop)
        .map_err(failed)
}

pub(super) fn stage_import(
    tx: &mut Tx<'_>,
    realm: &Realm,
    id: &ImportId,
    staged: &Staged,
    now: &Timestamp,
) -> Result<bool> {
    let Some(import) = of_realm(tx.sql, *realm, *id)?.filter(|import| import.state == State::Reading) else {
        return Ok(false);
    };
    for piece in pieces(&staged.window.rows, |row| row.octets as usize) {
        add_piece(tx.sql, *id, ROWS, &column::rows_text(piece))?;
    }
    for piece in pieces(&staged.window.refused, refused_octets) {
        add_piece(tx.sql, *id, REFUSED, &column::refused_text(piece))?;
    }
    let (headings, report) = (staged.headings.clone(), staged.report.clone());
    update(tx.sql, &Import { state: staged.state, headings, report, updated_at: *now, ..import })?;
    Ok(true)
}

fn add_piece(sql: &Sql, id: ImportId, kind: i64, rows: &str) -> Result<()> {
    sql.prepare_cached(
        "INSERT INTO import_piece (import, kind, place, rows)
         VALUES (?1, ?2, (SELECT coalesce(max(place), 0) + 1 FROM import_piece WHERE import = ?1 AND kind = ?2), ?3)",
    )
    .and_then(|mut s| s.execute(params![id.key(), kind, rows]))
    .map(drop)
    .map_err(failed)
}

fn update(sql: &Sql, import: &Import) -> Result<()> {
    sql.prepare_cached(
        "UPDATE import SET state = ?2, headings = ?3, report = ?4, created = ?5, changed = ?6, unchanged = ?7, left_over = ?8,
           updated_at = ?9 WHERE id = ?1",
    )
    .and_then(|mut s| {
        s.execute(params![
            import.id.key(),
            import.state as i64,
            column::headings_text(&import.headings),
            column::report_text(&import.report),
            import.progress.created as i64,
            import.progress.changed as i64,
            import.progress.unchanged as i64,
            import.progress.over as i64,
            import.updated_at.as_millis(),
        ])
    })
    .map(drop)
    .map_err(failed)
}

pub(super) fn decide_import(
    tx: &mut Tx<'_>,
    realm: &Realm,
    id: &ImportId,
    decision: &Decision,
    actor: &Actor,
    now: &Timestamp,
) -> Result<Option<Import>> {
    let Some(import) = of_realm(tx.sql, *realm, *id)? else { return Ok(None) };
    let Some(state) = import.state.decided(*decision).filter(|state| *state != import.state) else {
        return Ok(Some(import));
    };
    let decided = Import { state, updated_at: *now, ..import };
    update(tx.sql, &decided)?;
    let (action, detail) = decided_line(&decided);
    write_audit(tx, actor, action, &id.to_string(), &detail, *now)?;
    Ok(Some(decided))
}

pub(super) fn next_import(rx: &mut Rx<'_>) -> Result<Option<ImportId>> {
    rx.sql
        .prepare_cached("SELECT id FROM import WHERE swept = 0 AND state = ?1 ORDER BY id LIMIT 1")
        .and_then(|mut s| s.query_row([State::Committing as i64], |row| row.get(0)).optional())
        .map(|found| found.map(ImportId::from_key))
        .map_err(failed)
}

pub(super) fn apply_import(tx: &mut Tx<'_>, id: &ImportId, now: &Timestamp) -> Result<Option<Import>> {
    let Some(import) = find(tx.sql, *id)? else { return Ok(None) };
    if import.state != State::Committing {
        return Ok(Some(import));
    }
    let mut progress = import.progress;
    if let Some((place, rows)) = first_piece(tx.sql, *id)? {
        let rows = column::rows(&rows)?;
        let known = contact::holders(tx.sql, import.realm, rows.iter().map(|row| row.number))?;
        let taken = import::take_over(&rows, known, import.realm, *now);
        for created in &taken.created {
            contact::put(tx.sql, None, created)?;
        }
        for (before, after) in &taken.changed {
            contact::put(tx.sql, Some(before), after)?;
        }
        tx.sql
            .prepare_cached("DELETE FROM import_piece WHERE import = ?1 AND kind = ?2 AND place = ?3")
            .and_then(|mut s| s.execute(params![id.key(), ROWS, place]))
            .map_err(failed)?;
        progress = progress.plus(taken.progress);
    }
    let is_last = first_piece(tx.sql, *id)?.is_none();
    let state = if is_last { State::Done } else { State::Committing };
    let import = Import { state, progress, updated_at: *now, ..import };
    update(tx.sql, &import)?;
    Ok(Some(import))
}

fn first_piece(sql: &Sql, id: ImportId) -> Result<Option<(i64, String)>> {
    sql.prepare_cached(
        "SELECT place, rows FROM import_piece WHERE import = ?1 AND kind = ?2 ORDER BY place LIMIT 1",
    )
    .and_then(|mut s| s.query_row([id.key(), ROWS], |row| Ok((row.get(0)?, row.get(1)?))).optional())
    .map_err(failed)
}

fn find(sql: &Sql, id: ImportId) -> Result<Option<Import>> {
    sql.prepare_cached(&format!("SELECT {COLUMNS} FROM import WHERE id = ?1"))
        .and_then(|mut s| s.query_row([id.key()], |row| Ok(read(row))).optional())
        .map_err(failed)?
        .transpose()
}

fn of_realm(sql: &Sql, realm: Realm, id: ImportId) -> Result<Option<Import>> {
    Ok(find(sql, id)?.filter(|import| import.realm == realm))
}

pub(super) fn import(rx: &mut Rx<'_>, realm: &Realm, id: &ImportId) -> Result<Option<Import>> {
    of_realm(rx.sql, *realm, *id)
}

pub(super) fn imports(rx: &mut Rx<'_>, realm: &Realm, page: &Page) -> Result<Paged<Import>> {
    let mut statement = rx
        .sql
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM import WHERE account = ?1 AND live = ?2 AND id < ?3 ORDER BY id DESC LIMIT ?4"
        ))
        .map_err(failed)?;
    let mut rows = statement
        .query(params![
            realm.account.key(),
            live(realm.environment),
            page.before.unwrap_or(i64::MAX),
            page.limit as i64 + 1
        ])
        .map_err(failed)?;
    let mut items = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        items.push(read(row)?);
    }
    Ok(Paged::of(items, page, |import| import.id.key()))
}

pub(super) fn refused_rows(
    rx: &mut Rx<'_>,
    realm: &Realm,
    id: &ImportId,
    after: &Option<i64>,
) -> Result<Option<(Vec<Refused>, i64)>> {
    if of_realm(rx.sql, *realm, *id)?.is_none() {
        return Ok(None);
    }
    let found: Option<(i64, String)> = rx
        .sql
        .prepare_cached(
            "SELECT place, rows FROM import_piece WHERE import = ?1 AND kind = ?2 AND place > ?3 ORDER BY place LIMIT 1",
        )
        .and_then(|mut s| {
            let key = params![id.key(), REFUSED, after.unwrap_or(0)];
            s.query_row(key, |row| Ok((row.get(0)?, row.get(1)?))).optional()
        })
        .map_err(failed)?;
    found.map(|(place, rows)| Ok((column::refused(&rows)?, place))).transpose()
}

/// Ends imports that nobody goes on with, and throws away rows that nobody needs: some pieces at a time. `true` if there may
/// be more.
pub(super) fn sweep(sql: &Sql, limit: usize, now: Timestamp) -> Result<bool> {
    let open: Vec<i64> = {
        let mut statement = sql
            .prepare_cached("SELECT id FROM import WHERE swept = 0 ORDER BY id LIMIT ?1")
            .map_err(failed)?;
        let rows = statement.query_map([limit as i64], |row| row.get(0)).map_err(failed)?;
        rows.collect::<rusqlite::Result<_>>().map_err(failed)?
    };
    for id in open.into_iter().map(ImportId::from_key) {
        let Some(import) = find(sql, id)? else { continue };
        let state = import.state.aged(import.updated_at, now);
        if state != import.state {
            update(sql, &Import { state, ..import.clone() })?;
        }
        if state.keeps_rows(import.updated_at, now) {
            continue;
        }
        let gone = sql
            .prepare_cached(
                "DELETE FROM import_piece WHERE rowid IN (
                   SELECT rowid FROM import_piece WHERE import = ?1 ORDER BY kind, place LIMIT ?2)",
            )
            .and_then(|mut s| s.execute(params![id.key(), PIECES_SWEPT as i64]))
            .map_err(failed)?;
        if gone == PIECES_SWEPT {
            return Ok(true);
        }
        sql.prepare_cached("UPDATE import SET swept = 1 WHERE id = ?1")
            .and_then(|mut s| s.execute([id.key()]))
            .map_err(failed)?;
    }
    Ok(false)
}

fn read(row: &Row<'_>) -> Result<Import> {
    let count = |n| get::<i64>(row, n).map(|count| count as u64);
    Ok(Import {
        id: ImportId::from_key(get(row, 0)?),
        realm: Realm { account: AccountId::from_key(get(row, 1)?), environment: environment(get(row, 2)?) },
        name: get(row, 3)?,
        who: get(row, 4)?,
        state: listed("state of an import", &State::ALL, get(row, 5)?)?,
        headings: column::headings(&get::<String>(row, 6)?)?,
        report: column::report(&get::<String>(row, 7)?)?,
        progress: Progress {
            created: count(8)?,
            changed: count(9)?,
            unchanged: count(10)?,
            over: count(11)?,
        },
        created_at: Timestamp::from_millis(get(row, 12)?),
        updated_at: Timestamp::from_millis(get(row, 13)?),
    })
}
