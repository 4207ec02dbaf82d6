//! Templates and their versions. Rows of versions are only ever added.

use super::operating::write_audit;
use super::reader::{Rx, get, realm};
use super::session::failed;
use super::transaction::Tx;
use crate::backend::*;
use crate::column::{self, live};
use crate::{Error, Result};
use rusqlite::{Connection as Sql, OptionalExtension, Row, params};
use tidings_domain::account::Realm;
use tidings_domain::id::TemplateId;
use tidings_domain::template::{Content, Template};
use tidings_domain::time::Timestamp;

pub(super) fn create_template(tx: &mut Tx<'_>, template: &Template, actor: &Actor) -> Result<()> {
    if let Some(known) = named(tx.sql, template.realm, &template.name)? {
        return Err(Error::Conflict(format!(
            "the template {known} has the name `{}` already",
            template.name
        )));
    }
    if is_there(tx.sql, template.id)? {
        return Err(Error::Conflict(format!("there is a template {} already", template.id)));
    }
    tx.sql
        .prepare_cached(
            "INSERT INTO template (id, account, live, name, description, newest, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6)",
        )
        .and_then(|mut s| {
            s.execute(params![
                template.id.key(),
                template.realm.account.key(),
                live(template.realm.environment),
                template.name,
                template.description,
                template.created_at.as_millis(),
            ])
        })
        .map_err(failed)?;
    insert(tx.sql, template.id, 1, &template.content, actor, template.created_at)?;
    write_audit(tx, actor, "template.create", &template.id.to_string(), &template.name, template.created_at)
}

pub(super) fn add_template_version(
    tx: &mut Tx<'_>,
    realm: &Realm,
    id: &TemplateId,
    content: &Content,
    actor: &Actor,
    now: &Timestamp,
) -> Result<Option<Template>> {
    let Some(before) = find(tx.sql, *realm, &WhichTemplate::Id(*id), None)? else { return Ok(None) };
    let version = before.newest + 1;
    insert(tx.sql, *id, version, content, actor, *now)?;
    tx.sql
        .prepare_cached("UPDATE template SET newest = ?2 WHERE id = ?1")
        .and_then(|mut s| s.execute(params![id.key(), version]))
        .map_err(failed)?;
    write_audit(tx, actor, "template.version", &id.to_string(), &format!("version {version}"), *now)?;
    find(tx.sql, *realm, &WhichTemplate::Id(*id), None)
}

/// Which template has this name.
fn named(sql: &Sql, realm: Realm, name: &str) -> Result<Option<TemplateId>> {
    sql.prepare_cached("SELECT id FROM template WHERE account = ?1 AND live = ?2 AND name = ?3")
        .and_then(|mut s| {
            let key = params![realm.account.key(), live(realm.environment), name];
            s.query_row(key, |row| row.get(0)).optional()
        })
        .map(|found| found.map(TemplateId::from_key))
        .map_err(failed)
}

/// Whether a template has this id, in any realm.
fn is_there(sql: &Sql, id: TemplateId) -> Result<bool> {
    sql.prepare_cached("SELECT 1 FROM template WHERE id = ?1")
        .and_then(|mut s| s.exists([id.key()]))
        .map_err(failed)
}

fn insert(
    sql: &Sql,
    id: TemplateId,
    version: u32,
    content: &Content,
    actor: &Actor,
    now: Timestamp,
) -> Result<()> {
    sql.prepare_cached(
        "INSERT INTO template_version (template, version, content, created_at, created_by) VALUES (?1, ?2, ?3, ?4, ?5)",
    )
    .and_then(|mut s| {
        s.execute(params![id.key(), version, column::content_text(content), now.as_millis(), actor.who])
    })
    .map(drop)
    .map_err(failed)
}

/// What [`read`] reads.
macro_rules! columns {
    () => {
        "SELECT t.id, t.account, t.live, t.name, t.description, t.newest, v.version, v.content, v.created_at, v.created_by
         FROM template t JOIN template_version v ON v.template = t.id "
    };
}

pub(super) fn template(
    rx: &mut Rx<'_>,
    realm: &Realm,
    which: &WhichTemplate,
    version: &Option<u32>,
) -> Result<Option<Template>> {
    find(rx.sql, *realm, which, *version)
}

fn find(sql: &Sql, realm: Realm, which: &WhichTemplate, version: Option<u32>) -> Result<Option<Template>> {
    let (account, live) = (realm.account.key(), live(realm.environment));
    let found = match which {
        WhichTemplate::Id(id) => select(
            sql,
            concat!(
                columns!(),
                "WHERE t.id = ?1 AND t.account = ?2 AND t.live = ?3 AND v.version = coalesce(?4, t.newest)"
            ),
            params![id.key(), account, live, version],
        ),
        WhichTemplate::Name(name) => select(
            sql,
            concat!(
                columns!(),
                "WHERE t.name = ?1 AND t.account = ?2 AND t.live = ?3 AND v.version = coalesce(?4, t.newest)"
            ),
            params![name, account, live, version],
        ),
    };
    Ok(found?.pop())
}

pub(super) fn templates(
    rx: &mut Rx<'_>,
    realm: &Realm,
    prefix: &str,
    page: &Page,
) -> Result<Paged<Template>> {
    let items = select(
        rx.sql,
        concat!(
            columns!(),
            "AND v.version = t.newest WHERE t.account = ?1 AND t.live = ?2 AND t.id < ?3
             AND substr(t.name, 1, length(?4)) = ?4 ORDER BY t.id DESC LIMIT ?5"
        ),
        params![
            realm.account.key(),
            live(realm.environment),
            page.before.unwrap_or(i64::MAX),
            prefix,
            page.limit as i64 + 1
        ],
    )?;
    Ok(Paged::of(items, page, |template| template.id.key()))
}

fn select(sql: &Sql, query: &str, params: impl rusqlite::Params) -> Result<Vec<Template>> {
    let mut statement = sql.prepare_cached(query).map_err(failed)?;
    let mut rows = statement.query(params).map_err(failed)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        found.push(read(row)?);
    }
    Ok(found)
}

fn read(row: &Row<'_>) -> Result<Template> {
    Ok(Template {
        id: TemplateId::from_key(get(row, 0)?),
        realm: realm(row, 1)?,
        name: get(row, 3)?,
        description: get(row, 4)?,
        newest: get(row, 5)?,
        version: get(row, 6)?,
        content: column::content(&get::<String>(row, 7)?)?,
        created_at: Timestamp::from_millis(get(row, 8)?),
        created_by: get(row, 9)?,
    })
}
