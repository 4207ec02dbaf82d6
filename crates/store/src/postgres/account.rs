//! Accounts, tokens and clients. Secrets arrive here as hashes and leave as hashes.

use super::operating::write_audit;
use super::reader::Rx;
use super::session::{Session, cell, clean, live, realm};
use super::transaction::Tx;
use crate::backend::*;
use crate::column;
use crate::{Error, Result};
use tidings_domain::account::{Environment, Realm, Scopes};
use tidings_domain::id::{AccountId, ClientId, TokenId};
use tidings_domain::time::Timestamp;
use tokio_postgres::Row;

/// The account that every store has.
const DEFAULT_ACCOUNT: AccountId = AccountId::from_key(1);

pub(super) async fn default_account(tx: &mut Tx, now: &Timestamp) -> Result<AccountId> {
    tx.sql
        .execute(
            "INSERT INTO account (id, name, created_at) VALUES ($1, 'default', $2) ON CONFLICT (id) DO NOTHING",
            &[&DEFAULT_ACCOUNT.key(), &now.as_millis()],
        )
        .await?;
    Ok(DEFAULT_ACCOUNT)
}

pub(super) async fn accounts(rx: &Rx<'_>) -> Result<Vec<Account>> {
    let rows = rx.sql.rows("SELECT id, name, created_at FROM account ORDER BY id", &[]).await?;
    rows.iter()
        .map(|row| {
            Ok(Account {
                id: AccountId::from_key(cell(row, 0)?),
                name: cell(row, 1)?,
                created_at: Timestamp::from_millis(cell(row, 2)?),
            })
        })
        .collect()
}

/// The ids of all accounts.
pub(super) async fn ids(sql: &Session) -> Result<Vec<AccountId>> {
    let rows = sql.rows("SELECT id FROM account ORDER BY id", &[]).await?;
    rows.iter().map(|row| cell(row, 0).map(AccountId::from_key)).collect()
}

pub(super) async fn create_account(tx: &mut Tx, account: &Account, actor: &Actor) -> Result<()> {
    tx.sql
        .execute(
            "INSERT INTO account (id, name, created_at) VALUES ($1, $2, $3)",
            &[&account.id.key(), &clean(&account.name), &account.created_at.as_millis()],
        )
        .await?;
    write_audit(tx, actor, "account.create", &account.id.to_string(), &account.name, account.created_at);
    Ok(())
}

pub(super) async fn create_token(tx: &mut Tx, token: &Token, actor: &Actor) -> Result<()> {
    tx.sql
        .execute(
            "INSERT INTO token (id, lookup, hash, previous, previous_until, account, live, scopes, name, client, created_at,
               expires_at, revoked_at, last_used_at, previous_used_at, rate_per_minute)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
            &[
                &token.id.key(),
                &clean(&token.lookup),
                &&token.hash[..],
                &token.previous.as_ref().map(|(hash, _)| &hash[..]),
                &token.previous.map(|(_, until)| until.as_millis()),
                &token.realm.account.key(),
                &live(token.realm.environment),
                &i64::from(token.scopes.bits()),
                &clean(&token.name),
                &token.client.map(ClientId::key),
                &token.created_at.as_millis(),
                &token.expires_at.map(Timestamp::as_millis),
                &token.revoked_at.map(Timestamp::as_millis),
                &token.last_used_at.map(Timestamp::as_millis),
                &token.previous_used_at.map(Timestamp::as_millis),
                &token.rate_per_minute.map(i64::from),
            ],
        )
        .await?;
    let scopes: Vec<&str> = token.scopes.iter().map(tidings_domain::account::Scope::as_str).collect();
    let detail = format!("{} ({}: {})", token.name, token.realm.environment.as_str(), scopes.join(" "));
    write_audit(tx, actor, "token.create", &token.id.to_string(), &detail, token.created_at);
    Ok(())
}

/// The columns of a token: what [`read_token`] reads.
macro_rules! token_columns {
    () => {
        "SELECT id, lookup, hash, previous, previous_until, account, live, scopes, name, client, created_at, expires_at,
           revoked_at, last_used_at, previous_used_at, rate_per_minute FROM token "
    };
}

pub(super) async fn token_by_lookup(rx: &Rx<'_>, lookup: &str) -> Result<Option<Token>> {
    let row = rx.sql.row(concat!(token_columns!(), "WHERE lookup = $1"), &[&clean(lookup)]).await?;
    row.as_ref().map(read_token).transpose()
}

pub(super) async fn tokens(
    rx: &Rx<'_>,
    account: &AccountId,
    environment: &Option<Environment>,
) -> Result<Vec<Token>> {
    let rows = rx
        .sql
        .rows(
            concat!(
                token_columns!(),
                "WHERE account = $1 AND ($2::smallint IS NULL OR live = $2) ORDER BY id DESC"
            ),
            &[&account.key(), &environment.map(live)],
        )
        .await?;
    rows.iter().map(read_token).collect()
}

pub(super) async fn update_token(
    tx: &mut Tx,
    token: &Token,
    action: &'static str,
    actor: &Actor,
    now: &Timestamp,
) -> Result<bool> {
    // The times of use belong to the secrets: with a new secret the old one's time moves along. They are never
    // taken from the caller, whose copy may be older than what `touch_tokens` wrote since.
    let changed = tx
        .sql
        .execute(
            "UPDATE token SET
               previous_used_at = CASE WHEN hash <> $4 THEN last_used_at ELSE previous_used_at END,
               last_used_at = CASE WHEN hash <> $4 THEN NULL ELSE last_used_at END,
               hash = $4, previous = $5, previous_until = $6, expires_at = $7, revoked_at = $8
             WHERE id = $1 AND account = $2 AND live = $3",
            &[
                &token.id.key(),
                &token.realm.account.key(),
                &live(token.realm.environment),
                &&token.hash[..],
                &token.previous.as_ref().map(|(hash, _)| &hash[..]),
                &token.previous.map(|(_, until)| until.as_millis()),
                &token.expires_at.map(Timestamp::as_millis),
                &token.revoked_at.map(Timestamp::as_millis),
            ],
        )
        .await?;
    if changed == 0 {
        return Ok(false);
    }
    write_audit(tx, actor, action, &token.id.to_string(), &token.name, *now);
    Ok(true)
}

/// `true` in a use says that it was the secret before the rotation.
pub(super) async fn touch_tokens(tx: &mut Tx, uses: &[(TokenId, Timestamp, bool)]) -> Result<()> {
    for previous in [false, true] {
        let of = uses.iter().filter(|(.., used)| *used == previous);
        let (ids, times): (Vec<i64>, Vec<i64>) = of.map(|(id, at, _)| (id.key(), at.as_millis())).unzip();
        if ids.is_empty() {
            continue;
        }
        let statement = if previous {
            "UPDATE token t SET previous_used_at = greatest(t.previous_used_at, n.at)
             FROM (SELECT id, max(at) AS at FROM unnest($1::bigint[], $2::bigint[]) AS u (id, at) GROUP BY id) n
             WHERE t.id = n.id AND t.id = ANY ($1)"
        } else {
            "UPDATE token t SET last_used_at = greatest(t.last_used_at, n.at)
             FROM (SELECT id, max(at) AS at FROM unnest($1::bigint[], $2::bigint[]) AS u (id, at) GROUP BY id) n
             WHERE t.id = n.id AND t.id = ANY ($1)"
        };
        tx.sql.execute(statement, &[&ids, &times]).await?;
    }
    Ok(())
}

pub(super) async fn create_client(tx: &mut Tx, client: &Client, actor: &Actor) -> Result<()> {
    tx.sql
        .execute(
            "INSERT INTO client (id, account, live, hash, scopes, name, created_at, revoked_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            &[
                &client.id.key(),
                &client.realm.account.key(),
                &live(client.realm.environment),
                &&client.hash[..],
                &i64::from(client.scopes.bits()),
                &clean(&client.name),
                &client.created_at.as_millis(),
                &client.revoked_at.map(Timestamp::as_millis),
            ],
        )
        .await?;
    write_audit(tx, actor, "client.create", &client.id.to_string(), &client.name, client.created_at);
    Ok(())
}

/// The columns of a client: what [`read_client`] reads.
macro_rules! client_columns {
    () => {
        "SELECT id, account, live, hash, scopes, name, created_at, revoked_at FROM client "
    };
}

pub(super) async fn client(rx: &Rx<'_>, id: &ClientId) -> Result<Option<Client>> {
    let row = rx.sql.row(concat!(client_columns!(), "WHERE id = $1"), &[&id.key()]).await?;
    row.as_ref().map(read_client).transpose()
}

pub(super) async fn clients(rx: &Rx<'_>, realm: &Realm) -> Result<Vec<Client>> {
    let rows = rx
        .sql
        .rows(
            concat!(client_columns!(), "WHERE account = $1 AND live = $2 ORDER BY id DESC"),
            &[&realm.account.key(), &live(realm.environment)],
        )
        .await?;
    rows.iter().map(read_client).collect()
}

pub(super) async fn revoke_client(
    tx: &mut Tx,
    realm: &Realm,
    id: &ClientId,
    actor: &Actor,
    now: &Timestamp,
) -> Result<bool> {
    let changed = tx
        .sql
        .execute(
            "UPDATE client SET revoked_at = coalesce(revoked_at, $4) WHERE id = $1 AND account = $2 AND live = $3",
            &[&id.key(), &realm.account.key(), &live(realm.environment), &now.as_millis()],
        )
        .await?;
    if changed == 0 {
        return Ok(false);
    }
    let ended = tx
        .sql
        .execute(
            "UPDATE token SET revoked_at = $2 WHERE client = $1 AND revoked_at IS NULL",
            &[&id.key(), &now.as_millis()],
        )
        .await?;
    write_audit(tx, actor, "client.revoke", &id.to_string(), &format!("{ended} tokens revoked"), *now);
    Ok(true)
}

fn read_token(row: &Row) -> Result<Token> {
    let time = |n: usize| cell::<Option<i64>>(row, n).map(|at| at.map(Timestamp::from_millis));
    let previous = match (cell::<Option<&[u8]>>(row, 3)?, time(4)?) {
        (Some(octets), Some(until)) => Some((hash(octets)?, until)),
        _ => None,
    };
    Ok(Token {
        id: TokenId::from_key(cell(row, 0)?),
        lookup: cell(row, 1)?,
        hash: hash(cell(row, 2)?)?,
        previous,
        realm: realm(row, 5)?,
        scopes: Scopes::from_bits(cell::<i64>(row, 7)? as u32),
        name: cell(row, 8)?,
        client: cell::<Option<i64>>(row, 9)?.map(ClientId::from_key),
        created_at: Timestamp::from_millis(cell(row, 10)?),
        expires_at: time(11)?,
        revoked_at: time(12)?,
        last_used_at: time(13)?,
        previous_used_at: time(14)?,
        rate_per_minute: cell::<Option<i64>>(row, 15)?.map(|rate| rate as u32),
    })
}

fn read_client(row: &Row) -> Result<Client> {
    Ok(Client {
        id: ClientId::from_key(cell(row, 0)?),
        realm: realm(row, 1)?,
        hash: hash(cell(row, 3)?)?,
        scopes: Scopes::from_bits(cell::<i64>(row, 4)? as u32),
        name: cell(row, 5)?,
        created_at: Timestamp::from_millis(cell(row, 6)?),
        revoked_at: cell::<Option<i64>>(row, 7)?.map(Timestamp::from_millis),
    })
}

fn hash(octets: &[u8]) -> Result<[u8; 32]> {
    let wrong = |_| -> Error { column::corrupt("SHA-256 hash", format!("{} octets", octets.len())) };
    octets.try_into().map_err(wrong)
}
