//! Templates and their versions. Rows of versions are only ever added.

use super::operating::write_audit;
use super::reader::Rx;
use super::session::{Session, cell, clean, live, realm};
use super::transaction::Tx;
use crate::backend::*;
use crate::column::{self, corrupt};
use crate::{Error, Result};
use tidings_domain::account::Realm;
use tidings_domain::id::TemplateId;
use tidings_domain::template::{Content, Template};
use tidings_domain::time::Timestamp;
use tokio_postgres::Row;

pub(super) async fn create_template(tx: &mut Tx, template: &Template, actor: &Actor) -> Result<()> {
    let (account, live) = (template.realm.account.key(), live(template.realm.environment));
    let made = tx
        .sql
        .execute(
            "INSERT INTO template (id, account, live, name, description, newest, created_at)
             SELECT $1::bigint, $2::bigint, $3::smallint, $4, $5, 1, $6::bigint
             WHERE NOT EXISTS (SELECT 1 FROM template WHERE id = $1 LIMIT 1) ON CONFLICT DO NOTHING",
            &[
                &template.id.key(),
                &account,
                &live,
                &template.name,
                &clean(&template.description),
                &template.created_at.as_millis(),
            ],
        )
        .await?;
    if made == 0 {
        // Looked for only now: before, one that somebody was just making would not have been seen.
        let known = tx
            .sql
            .row(
                "SELECT id FROM template WHERE account = $1 AND live = $2 AND name = $3",
                &[&account, &live, &template.name],
            )
            .await?;
        return Err(Error::Conflict(match &known {
            Some(row) => {
                let known = TemplateId::from_key(cell(row, 0)?);
                format!("the template {known} has the name `{}` already", template.name)
            }
            None => format!("there is a template {} already", template.id),
        }));
    }
    insert(&tx.sql, template.realm, template.id, 1, &template.content, actor, template.created_at).await?;
    let id = template.id.to_string();
    write_audit(tx, actor, "template.create", &id, &template.name, template.created_at);
    Ok(())
}

pub(super) async fn add_template_version(
    tx: &mut Tx,
    realm: &Realm,
    id: &TemplateId,
    content: &Content,
    actor: &Actor,
    now: &Timestamp,
) -> Result<Option<Template>> {
    let Some(before) = find(&tx.sql, *realm, &WhichTemplate::Id(*id), None).await? else { return Ok(None) };
    let version = before.newest + 1;
    insert(&tx.sql, *realm, *id, version, content, actor, *now).await?;
    let update = "UPDATE template SET newest = $3 WHERE id = $1 AND account = $2";
    tx.sql.execute(update, &[&id.key(), &realm.account.key(), &(version as i32)]).await?;
    write_audit(tx, actor, "template.version", &id.to_string(), &format!("version {version}"), *now);
    find(&tx.sql, *realm, &WhichTemplate::Id(*id), None).await
}

async fn insert(
    sql: &Session,
    realm: Realm,
    id: TemplateId,
    version: u32,
    content: &Content,
    actor: &Actor,
    now: Timestamp,
) -> Result<()> {
    let content = column::content_text(content);
    sql.execute(
        "INSERT INTO template_version (template, account, version, content, created_at, created_by)
         VALUES ($1, $2, $3, $4, $5, $6)",
        &[&id.key(), &realm.account.key(), &(version as i32), &content, &now.as_millis(), &clean(&actor.who)],
    )
    .await
    .map(drop)
}

/// What [`read`] reads.
macro_rules! columns {
    () => {
        "SELECT t.id, t.account, t.live, t.name, t.description, t.newest, v.version, v.content, v.created_at, v.created_by "
    };
}

/// The version that is asked for, or the newest.
macro_rules! version {
    () => {
        "CROSS JOIN LATERAL (SELECT x.* FROM template_version x WHERE x.template = t.id AND x.account = t.account
           AND x.version = coalesce($4::integer, t.newest) LIMIT 1) v"
    };
}

pub(super) async fn template(
    rx: &Rx<'_>,
    realm: &Realm,
    which: &WhichTemplate,
    version: &Option<u32>,
) -> Result<Option<Template>> {
    find(rx.sql, *realm, which, *version).await
}

async fn find(
    sql: &Session,
    realm: Realm,
    which: &WhichTemplate,
    version: Option<u32>,
) -> Result<Option<Template>> {
    let (account, live) = (realm.account.key(), live(realm.environment));
    // A number that no column holds is no version.
    let Ok(version) = version.map(i32::try_from).transpose() else { return Ok(None) };
    let row = match which {
        WhichTemplate::Id(id) => {
            let query = concat!(
                columns!(),
                "FROM (SELECT * FROM template WHERE id = $1 AND account = $2 AND live = $3) t ",
                version!()
            );
            sql.row(query, &[&id.key(), &account, &live, &version]).await?
        }
        WhichTemplate::Name(name) => {
            let query = concat!(
                columns!(),
                "FROM (SELECT * FROM template WHERE name = $1 AND account = $2 AND live = $3) t ",
                version!()
            );
            sql.row(query, &[name, &account, &live, &version]).await?
        }
    };
    row.as_ref().map(read).transpose()
}

pub(super) async fn templates(
    rx: &Rx<'_>,
    realm: &Realm,
    prefix: &str,
    page: &Page,
) -> Result<Paged<Template>> {
    let rows = rx
        .sql
        .rows(
            concat!(
                columns!(),
                "FROM (SELECT * FROM template WHERE account = $1 AND live = $2 AND id < $3
                   AND starts_with(name, $5) ORDER BY id DESC LIMIT $6) t ",
                version!(),
                " ORDER BY t.id DESC"
            ),
            &[
                &realm.account.key(),
                &live(realm.environment),
                &page.before.unwrap_or(i64::MAX),
                &None::<i32>,
                &prefix,
                &(page.limit as i64 + 1),
            ],
        )
        .await?;
    let items = rows.iter().map(read).collect::<Result<Vec<_>>>()?;
    Ok(Paged::of(items, page, |template| template.id.key()))
}

fn read(row: &Row) -> Result<Template> {
    let count = |n| {
        let number: i32 = cell(row, n)?;
        u32::try_from(number).map_err(|_| corrupt("version of a template", number))
    };
    Ok(Template {
        id: TemplateId::from_key(cell(row, 0)?),
        realm: realm(row, 1)?,
        name: cell(row, 3)?,
        description: cell(row, 4)?,
        newest: count(5)?,
        version: count(6)?,
        content: column::content(cell(row, 7)?)?,
        created_at: Timestamp::from_millis(cell(row, 8)?),
        created_by: cell(row, 9)?,
    })
}
