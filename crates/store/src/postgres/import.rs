//! Imports: their rows in pieces, and taking a piece over in the commit that deletes it.

use super::contact;
use super::operating::write_audit;
use super::reader::{Rx, newest};
use super::session::{Session, cell, clean, live, realm};
use super::transaction::Tx;
use crate::backend::*;
use crate::column::{self, listed};
use crate::{Error, Result};
use tidings_domain::account::Realm;
use tidings_domain::id::ImportId;
use tidings_domain::import::{self, Decision, Import, Progress, State, Taken};
use tidings_domain::table::Refused;
use tidings_domain::time::Timestamp;
use tokio_postgres::Row;

/// What [`read`] reads.
macro_rules! columns {
    () => {
        "id, account, live, name, who, state, headings, report, created, changed, unchanged, left_over, created_at, updated_at"
    };
}

pub(super) async fn begin_import(tx: &mut Tx, import: &Import) -> Result<()> {
    if find(&tx.sql, import.id).await?.is_some() {
        return Err(Error::Conflict(format!("there is an import {} already", import.id)));
    }
    tx.sql
        .execute(
            concat!(
                "INSERT INTO import (",
                columns!(),
                ", swept) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 0)"
            ),
            &[
                &import.id.key(),
                &import.realm.account.key(),
                &live(import.realm.environment),
                &clean(&import.name),
                &clean(&import.who),
                &(import.state as i16),
                &clean(&column::headings_text(&import.headings)),
                &clean(&column::report_text(&import.report)),
                &(import.progress.created as i64),
                &(import.progress.changed as i64),
                &(import.progress.unchanged as i64),
                &(import.progress.over as i64),
                &import.created_at.as_millis(),
                &import.updated_at.as_millis(),
            ],
        )
        .await
        .map(drop)
}

pub(super) async fn stage_import(
    tx: &mut Tx,
    realm: &Realm,
    id: &ImportId,
    staged: &Staged,
    now: &Timestamp,
) -> Result<bool> {
    let found = of_realm(&tx.sql, *realm, *id).await?;
    let Some(import) = found.filter(|import| import.state == State::Reading) else { return Ok(false) };
    for piece in pieces(&staged.window.rows, |row| row.octets as usize) {
        add_piece(&tx.sql, &import, PieceOf::Good, &column::rows_text(piece)).await?;
    }
    for piece in pieces(&staged.window.refused, refused_octets) {
        add_piece(&tx.sql, &import, PieceOf::Refused, &column::refused_text(piece)).await?;
    }
    tx.sql
        .execute(
            "UPDATE import SET state = $3, headings = $4, report = $5, updated_at = $6 WHERE id = $1 AND account = $2",
            &[
                &import.id.key(),
                &import.realm.account.key(),
                &(staged.state as i16),
                &clean(&column::headings_text(&staged.headings)),
                &clean(&column::report_text(&staged.report)),
                &now.as_millis(),
            ],
        )
        .await?;
    Ok(true)
}

async fn add_piece(sql: &Session, import: &Import, of: PieceOf, rows: &str) -> Result<()> {
    sql.execute(
        "INSERT INTO import_piece (import, account, kind, place, rows)
         VALUES ($1, $2, $3, coalesce((SELECT max(place) FROM import_piece
           WHERE import = $1 AND account = $2 AND kind = $3), 0) + 1, $4)",
        &[&import.id.key(), &import.realm.account.key(), &(of as i16), &clean(rows)],
    )
    .await
    .map(drop)
}

/// Writes how far it is.
async fn put_progress(sql: &Session, import: &Import) -> Result<()> {
    sql.execute(
        "UPDATE import SET state = $3, created = $4, changed = $5, unchanged = $6, left_over = $7, updated_at = $8
         WHERE id = $1 AND account = $2",
        &[
            &import.id.key(),
            &import.realm.account.key(),
            &(import.state as i16),
            &(import.progress.created as i64),
            &(import.progress.changed as i64),
            &(import.progress.unchanged as i64),
            &(import.progress.over as i64),
            &import.updated_at.as_millis(),
        ],
    )
    .await
    .map(drop)
}

pub(super) async fn decide_import(
    tx: &mut Tx,
    realm: &Realm,
    id: &ImportId,
    decision: &Decision,
    actor: &Actor,
    now: &Timestamp,
) -> Result<Option<Import>> {
    let Some(import) = of_realm(&tx.sql, *realm, *id).await? else { return Ok(None) };
    let Some(state) = import.state.decided(*decision).filter(|state| *state != import.state) else {
        return Ok(Some(import));
    };
    let decided = Import { state, updated_at: *now, ..import };
    put_progress(&tx.sql, &decided).await?;
    let (action, detail) = decided_line(&decided);
    write_audit(tx, actor, action, &id.to_string(), &detail, *now);
    Ok(Some(decided))
}

pub(super) async fn next_import(rx: &Rx<'_>) -> Result<Option<ImportId>> {
    let found = rx
        .sql
        .row(
            "SELECT id FROM import WHERE swept = 0 AND state = $1 ORDER BY id LIMIT 1",
            &[&(State::Committing as i16)],
        )
        .await?;
    found.map(|row| cell(&row, 0).map(ImportId::from_key)).transpose()
}

pub(super) async fn apply_import(tx: &mut Tx, id: &ImportId, now: &Timestamp) -> Result<Option<Import>> {
    let import = match find(&tx.sql, *id).await {
        // It would not be read the next time either.
        Err(Error::Corrupt(why)) => {
            damaged_line(*id, &why);
            let broken: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
                [&id.key(), &(State::Broken as i16), &now.as_millis()];
            tx.sql.execute("UPDATE import SET state = $2, updated_at = $3 WHERE id = $1", &broken).await?;
            return Ok(None);
        }
        found => found?,
    };
    let Some(import) = import else { return Ok(None) };
    if import.state != State::Committing {
        return Ok(Some(import));
    }
    let (state, progress) = match piece_after(&tx.sql, &import, PieceOf::Good, 0).await? {
        None => (State::Done, import.progress),
        Some(piece) => match judge(&tx.sql, &import, cell(&piece, 1)?, *now).await {
            // Nothing was written yet. It would not be read the next time either, and others wait behind it.
            Err(Error::Corrupt(why)) => {
                damaged_line(*id, &why);
                (State::Broken, import.progress)
            }
            taken => {
                let taken = taken?;
                let created = taken.created.iter().map(|contact| (None, contact));
                let changed = taken.changed.iter().map(|(before, after)| (Some(before), after));
                contact::put(&tx.sql, import.realm, &created.chain(changed).collect::<Vec<_>>()).await?;
                tx.sql
                    .execute(
                        "DELETE FROM import_piece WHERE import = $1 AND account = $2 AND kind = $3 AND place = $4",
                        &[
                            &id.key(),
                            &import.realm.account.key(),
                            &(PieceOf::Good as i16),
                            &cell::<i64>(&piece, 0)?,
                        ],
                    )
                    .await?;
                let state = if has_rows(&tx.sql, &import).await? { State::Committing } else { State::Done };
                (state, import.progress.plus(taken.progress))
            }
        },
    };
    let import = Import { state, progress, updated_at: *now, ..import };
    put_progress(&tx.sql, &import).await?;
    Ok(Some(import))
}

/// What the rows of a piece make of contacts.
async fn judge(sql: &Session, import: &Import, rows: &str, now: Timestamp) -> Result<Taken> {
    let rows = column::rows(rows)?;
    let known = contact::holders(sql, import.realm, rows.iter().map(|row| row.number)).await?;
    Ok(import::take_over(&rows, known, import.realm, now))
}

/// Whether rows wait to be taken over.
async fn has_rows(sql: &Session, import: &Import) -> Result<bool> {
    sql.value(
        "SELECT EXISTS (SELECT 1 FROM import_piece WHERE import = $1 AND account = $2 AND kind = $3 LIMIT 1)",
        &[&import.id.key(), &import.realm.account.key(), &(PieceOf::Good as i16)],
    )
    .await
}

/// The place and the rows of the next piece.
async fn piece_after(sql: &Session, import: &Import, of: PieceOf, after: i64) -> Result<Option<Row>> {
    sql.row(
        "SELECT place, rows FROM import_piece WHERE import = $1 AND account = $2 AND kind = $3 AND place > $4
         ORDER BY place LIMIT 1",
        &[&import.id.key(), &import.realm.account.key(), &(of as i16), &after],
    )
    .await
}

/// Whichever account it belongs to.
async fn find(sql: &Session, id: ImportId) -> Result<Option<Import>> {
    let query = concat!("SELECT ", columns!(), " FROM import WHERE id = $1");
    let found = sql.row(query, &[&id.key()]).await?;
    found.as_ref().map(read).transpose()
}

async fn of_realm(sql: &Session, realm: Realm, id: ImportId) -> Result<Option<Import>> {
    let query = concat!("SELECT ", columns!(), " FROM import WHERE id = $1 AND account = $2");
    let found = sql.row(query, &[&id.key(), &realm.account.key()]).await?;
    Ok(found.as_ref().map(read).transpose()?.filter(|import| import.realm == realm))
}

pub(super) async fn import(rx: &Rx<'_>, realm: &Realm, id: &ImportId) -> Result<Option<Import>> {
    of_realm(rx.sql, *realm, *id).await
}

pub(super) async fn imports(rx: &Rx<'_>, realm: &Realm, page: &Page) -> Result<Paged<Import>> {
    let query = concat!(
        "SELECT ",
        columns!(),
        " FROM import WHERE account = $1 AND live = $2 AND id < $3 ORDER BY id DESC LIMIT $4"
    );
    newest(rx, query, *realm, page, read, |import| import.id.key()).await
}

pub(super) async fn refused_rows(
    rx: &Rx<'_>,
    realm: &Realm,
    id: &ImportId,
    after: &Option<i64>,
) -> Result<Option<(Vec<Refused>, i64)>> {
    let Some(import) = of_realm(rx.sql, *realm, *id).await? else { return Ok(None) };
    let piece = piece_after(rx.sql, &import, PieceOf::Refused, after.unwrap_or(0)).await?;
    piece.map(|piece| Ok((column::refused(cell(&piece, 1)?)?, cell(&piece, 0)?))).transpose()
}

/// Ends imports that nobody goes on with, and throws away rows that nobody needs: some pieces at a time. `true` if there may
/// be more.
pub(super) async fn sweep(sql: &Session, limit: usize, now: Timestamp) -> Result<bool> {
    let open = sql
        .rows(
            "SELECT id, account, state, updated_at FROM import WHERE swept = 0 ORDER BY id LIMIT $1",
            &[&(limit as i64)],
        )
        .await?;
    for row in &open {
        let (id, account): (i64, i64) = (cell(row, 0)?, cell(row, 1)?);
        // One that cannot be read stops no other.
        let Ok(before) = listed("state of an import", &State::ALL, cell::<i16>(row, 2)?.into()) else {
            continue;
        };
        let updated_at = Timestamp::from_millis(cell(row, 3)?);
        let state = before.aged(updated_at, now);
        if state != before {
            let update = "UPDATE import SET state = $3 WHERE id = $1 AND account = $2";
            sql.execute(update, &[&id, &account, &(state as i16)]).await?;
        }
        if state.keeps_rows(updated_at, now) {
            continue;
        }
        let gone = sql
            .execute(
                "DELETE FROM import_piece WHERE ctid = ANY (ARRAY (
                   SELECT ctid FROM import_piece WHERE import = $1 AND account = $2 ORDER BY kind, place LIMIT $3))",
                &[&id, &account, &(PIECES_SWEPT as i64)],
            )
            .await?;
        if gone == PIECES_SWEPT as u64 {
            return Ok(true);
        }
        sql.execute("UPDATE import SET swept = 1 WHERE id = $1 AND account = $2", &[&id, &account]).await?;
    }
    Ok(false)
}

fn read(row: &Row) -> Result<Import> {
    let count = |n| cell::<i64>(row, n).map(|count| count as u64);
    Ok(Import {
        id: ImportId::from_key(cell(row, 0)?),
        realm: realm(row, 1)?,
        name: cell(row, 3)?,
        who: cell(row, 4)?,
        state: listed("state of an import", &State::ALL, cell::<i16>(row, 5)?.into())?,
        headings: column::headings(cell(row, 6)?)?,
        report: column::report(cell(row, 7)?)?,
        progress: Progress {
            created: count(8)?,
            changed: count(9)?,
            unchanged: count(10)?,
            over: count(11)?,
        },
        created_at: Timestamp::from_millis(cell(row, 12)?),
        updated_at: Timestamp::from_millis(cell(row, 13)?),
    })
}
