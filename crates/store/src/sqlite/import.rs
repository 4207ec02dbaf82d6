//! Imports: their rows in pieces, and taking a piece over in the commit that deletes it.

use super::contact;
use super::operating::write_audit;
use super::reader::{Rx, get, newest, realm};
use super::session::failed;
use super::transaction::Tx;
use crate::backend::*;
use crate::column::{self, listed, live};
use crate::{Error, Result};
use rusqlite::{Connection as Sql, OptionalExtension, Row, params};
use tidings_domain::account::Realm;
use tidings_domain::id::ImportId;
use tidings_domain::import::{self, Decision, Import, Progress, State, Taken};
use tidings_domain::table::Refused;
use tidings_domain::time::Timestamp;

const COLUMNS: &str = "id, account, live, name, who, state, headings, report, created, changed, unchanged, left_over, \
     created_at, updated_at";
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
        add_piece(tx.sql, *id, PieceOf::Good, &column::rows_text(piece))?;
    }
    for piece in pieces(&staged.window.refused, refused_octets) {
        add_piece(tx.sql, *id, PieceOf::Refused, &column::refused_text(piece))?;
    }
    tx.sql
        .prepare_cached(
            "UPDATE import SET state = ?2, headings = ?3, report = ?4, updated_at = ?5 WHERE id = ?1",
        )
        .and_then(|mut s| {
            s.execute(params![
                import.id.key(),
                staged.state as i64,
                column::headings_text(&staged.headings),
                column::report_text(&staged.report),
                now.as_millis(),
            ])
        })
        .map_err(failed)?;
    Ok(true)
}

fn add_piece(sql: &Sql, id: ImportId, of: PieceOf, rows: &str) -> Result<()> {
    sql.prepare_cached(
        "INSERT INTO import_piece (import, kind, place, rows)
         VALUES (?1, ?2, (SELECT coalesce(max(place), 0) + 1 FROM import_piece WHERE import = ?1 AND kind = ?2), ?3)",
    )
    .and_then(|mut s| s.execute(params![id.key(), of as i64, rows]))
    .map(drop)
    .map_err(failed)
}

/// Writes how far it is.
fn put_progress(sql: &Sql, import: &Import) -> Result<()> {
    sql.prepare_cached(
        "UPDATE import SET state = ?2, created = ?3, changed = ?4, unchanged = ?5, left_over = ?6, updated_at = ?7 WHERE id = ?1",
    )
    .and_then(|mut s| {
        s.execute(params![
            import.id.key(),
            import.state as i64,
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
    put_progress(tx.sql, &decided)?;
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
    let import = match find(tx.sql, *id) {
        // It would not be read the next time either.
        Err(Error::Corrupt(why)) => {
            damaged_line(*id, &why);
            return tx
                .sql
                .prepare_cached("UPDATE import SET state = ?2, updated_at = ?3 WHERE id = ?1")
                .and_then(|mut s| s.execute([id.key(), State::Broken as i64, now.as_millis()]))
                .map(|_| None)
                .map_err(failed);
        }
        found => found?,
    };
    let Some(import) = import else { return Ok(None) };
    if import.state != State::Committing {
        return Ok(Some(import));
    }
    let (state, progress) = match piece_after(tx.sql, *id, PieceOf::Good, 0)? {
        None => (State::Done, import.progress),
        Some((place, rows)) => match judge(tx.sql, &import, &rows, *now) {
            // Nothing was written yet. It would not be read the next time either, and others wait behind it.
            Err(Error::Corrupt(why)) => {
                damaged_line(*id, &why);
                (State::Broken, import.progress)
            }
            taken => {
                let taken = taken?;
                for created in &taken.created {
                    contact::put(tx.sql, None, created)?;
                }
                for (before, after) in &taken.changed {
                    contact::put(tx.sql, Some(before), after)?;
                }
                tx.sql
                    .prepare_cached("DELETE FROM import_piece WHERE import = ?1 AND kind = ?2 AND place = ?3")
                    .and_then(|mut s| s.execute(params![id.key(), PieceOf::Good as i64, place]))
                    .map_err(failed)?;
                let state = if has_rows(tx.sql, *id)? { State::Committing } else { State::Done };
                (state, import.progress.plus(taken.progress))
            }
        },
    };
    let import = Import { state, progress, updated_at: *now, ..import };
    put_progress(tx.sql, &import)?;
    Ok(Some(import))
}

/// What the rows of a piece make of contacts.
fn judge(sql: &Sql, import: &Import, rows: &str, now: Timestamp) -> Result<Taken> {
    let rows = column::rows(rows)?;
    let known = contact::holders(sql, import.realm, rows.iter().map(|row| row.number))?;
    Ok(import::take_over(&rows, known, import.realm, now))
}

/// The place and the rows of the next piece.
fn piece_after(sql: &Sql, id: ImportId, of: PieceOf, after: i64) -> Result<Option<(i64, String)>> {
    sql.prepare_cached(
        "SELECT place, rows FROM import_piece WHERE import = ?1 AND kind = ?2 AND place > ?3 ORDER BY place LIMIT 1",
    )
    .and_then(|mut s| {
        s.query_row([id.key(), of as i64, after], |row| Ok((row.get(0)?, row.get(1)?))).optional()
    })
    .map_err(failed)
}

/// Whether rows wait to be taken over.
fn has_rows(sql: &Sql, id: ImportId) -> Result<bool> {
    sql.prepare_cached("SELECT 1 FROM import_piece WHERE import = ?1 AND kind = ?2")
        .and_then(|mut s| s.exists([id.key(), PieceOf::Good as i64]))
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
    let query = format!(
        "SELECT {COLUMNS} FROM import WHERE account = ?1 AND live = ?2 AND id < ?3 ORDER BY id DESC LIMIT ?4"
    );
    newest(rx, &query, *realm, page, read, |import| import.id.key())
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
    let found = piece_after(rx.sql, *id, PieceOf::Refused, after.unwrap_or(0))?;
    found.map(|(place, rows)| Ok((column::refused(&rows)?, place))).transpose()
}

/// Ends imports that nobody goes on with, and throws away rows that nobody needs: some pieces at a time. `true` if there may
/// be more.
pub(super) fn sweep(sql: &Sql, limit: usize, now: Timestamp) -> Result<bool> {
    let open: Vec<(i64, i64, i64)> = {
        let mut statement = sql
            .prepare_cached("SELECT id, state, updated_at FROM import WHERE swept = 0 ORDER BY id LIMIT ?1")
            .map_err(failed)?;
        let rows = statement.query_map([limit as i64], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        rows.and_then(Iterator::collect).map_err(failed)?
    };
    for (id, number, updated_at) in open {
        // One that cannot be read stops no other.
        let Ok(before) = listed("state of an import", &State::ALL, number) else { continue };
        let updated_at = Timestamp::from_millis(updated_at);
        let state = before.aged(updated_at, now);
        if state != before {
            sql.prepare_cached("UPDATE import SET state = ?2 WHERE id = ?1")
                .and_then(|mut s| s.execute([id, state as i64]))
                .map_err(failed)?;
        }
        if state.keeps_rows(updated_at, now) {
            continue;
        }
        let gone = sql
            .prepare_cached(
                "DELETE FROM import_piece WHERE rowid IN (
                   SELECT rowid FROM import_piece WHERE import = ?1 ORDER BY kind, place LIMIT ?2)",
            )
            .and_then(|mut s| s.execute([id, PIECES_SWEPT as i64]))
            .map_err(failed)?;
        if gone == PIECES_SWEPT {
            return Ok(true);
        }
        sql.prepare_cached("UPDATE import SET swept = 1 WHERE id = ?1")
            .and_then(|mut s| s.execute([id]))
            .map_err(failed)?;
    }
    Ok(false)
}

fn read(row: &Row<'_>) -> Result<Import> {
    let count = |n| get::<i64>(row, n).map(|count| count as u64);
    Ok(Import {
        id: ImportId::from_key(get(row, 0)?),
        realm: realm(row, 1)?,
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
