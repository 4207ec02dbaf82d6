//! Accounts, tokens and clients. Secrets arrive here as hashes and leave as hashes.

use super::operating::write_audit;
use super::reader::{Rx, get, realm};
use super::session::failed;
use super::transaction::Tx;
use crate::Result;
use crate::backend::*;
use crate::column::{self, live};
use rusqlite::{Connection as Sql, Row, params};
use tidings_domain::account::{Environment, Realm, Scopes};
use tidings_domain::id::{AccountId, ClientId, TokenId};
use tidings_domain::time::Timestamp;

/// The account that every store has.
const DEFAULT_ACCOUNT: AccountId = AccountId::from_key(1);

pub(super) fn default_account(tx: &mut Tx<'_>, now: &Timestamp) -> Result<AccountId> {
    tx.sql
        .prepare_cached("INSERT OR IGNORE INTO account (id, name, created_at) VALUES (?1, 'default', ?2)")
        .and_then(|mut s| s.execute(params![DEFAULT_ACCOUNT.key(), now.as_millis()]))
        .map_err(failed)?;
    Ok(DEFAULT_ACCOUNT)
}

pub(super) fn accounts(rx: &mut Rx<'_>) -> Result<Vec<Account>> {
    let mut statement =
        rx.sql.prepare_cached("SELECT id, name, created_at FROM account ORDER BY id").map_err(failed)?;
    let rows = statement
        .query_map([], |row| {
            Ok(Account {
                id: AccountId::from_key(row.get(0)?),
                name: row.get(1)?,
                created_at: Timestamp::from_millis(row.get(2)?),
            })
        })
        .map_err(failed)?;
    rows.collect::<rusqlite::Result<_>>().map_err(failed)
}

/// The ids of all accounts.
pub(super) fn ids(sql: &Sql) -> Result<Vec<AccountId>> {
    let mut statement = sql.prepare_cached("SELECT id FROM account ORDER BY id").map_err(failed)?;
    let rows = statement.query_map([], |row| row.get(0).map(AccountId::from_key)).map_err(failed)?;
    rows.collect::<rusqlite::Result<_>>().map_err(failed)
}

pub(super) fn create_account(tx: &mut Tx<'_>, account: &Account, actor: &Actor) -> Result<()> {
    tx.sql
        .prepare_cached("INSERT INTO account (id, name, created_at) VALUES (?1, ?2, ?3)")
        .and_then(|mut s| s.execute(params![account.id.key(), account.name, account.created_at.as_millis()]))
        .map_err(failed)?;
    write_audit(tx, actor, "account.create", &account.id.to_string(), &account.name, account.created_at)
}

pub(super) fn create_token(tx: &mut Tx<'_>, token: &Token, actor: &Actor) -> Result<()> {
    tx.sql
        .prepare_cached(
            "INSERT INTO token (id, lookup, hash, previous, previous_until, account, live, scopes, name, client,
               created_at, expires_at, revoked_at, last_used_at, previous_used_at, rate_per_minute)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        )
        .and_then(|mut s| {
            s.execute(params![
                token.id.key(),
                token.lookup,
                token.hash,
                token.previous.map(|(hash, _)| hash),
                token.previous.map(|(_, until)| until.as_millis()),
                token.realm.account.key(),
                live(token.realm.environment),
                token.scopes.bits(),
                token.name,
                token.client.map(ClientId::key),
                token.created_at.as_millis(),
                token.expires_at.map(Timestamp::as_millis),
                token.revoked_at.map(Timestamp::as_millis),
                token.last_used_at.map(Timestamp::as_millis),
                token.previous_used_at.map(Timestamp::as_millis),
                token.rate_per_minute,
            ])
        })
        .map_err(failed)?;
    let scopes: Vec<&str> = token.scopes.iter().map(tidings_domain::account::Scope::as_str).collect();
    let detail = format!("{} ({}: {})", token.name, token.realm.environment.as_str(), scopes.join(" "));
    write_audit(tx, actor, "token.create", &token.id.to_string(), &detail, token.created_at)
}

pub(super) fn token_by_lookup(rx: &mut Rx<'_>, lookup: &str) -> Result<Option<Token>> {
    let mut statement = rx
        .sql
        .prepare_cached(&format!("SELECT {TOKEN_COLUMNS} FROM token WHERE lookup = ?1"))
        .map_err(failed)?;
    let mut rows = statement.query([lookup]).map_err(failed)?;
    rows.next().map_err(failed)?.map(read_token).transpose()
}

pub(super) fn tokens(
    rx: &mut Rx<'_>,
    account: &AccountId,
    environment: &Option<Environment>,
) -> Result<Vec<Token>> {
    let mut statement = rx
        .sql
        .prepare_cached(&format!(
            "SELECT {TOKEN_COLUMNS} FROM token WHERE account = ?1 AND live IN (?2, ?3) ORDER BY id DESC"
        ))
        .map_err(failed)?;
    let (first, second) = match environment {
        Some(only) => (live(*only), live(*only)),
        None => (live(Environment::Test), live(Environment::Live)),
    };
    let mut rows = statement.query(params![account.key(), first, second]).map_err(failed)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        found.push(read_token(row)?);
    }
    Ok(found)
}

pub(super) fn update_token(
    tx: &mut Tx<'_>,
    token: &Token,
    action: &&'static str,
    actor: &Actor,
    now: &Timestamp,
) -> Result<bool> {
    // The times of use belong to the secrets: with a new secret the old one's time moves along. They are never
    // taken from the caller, whose copy may be older than what `touch_tokens` wrote since.
    let changed = tx
        .sql
        .prepare_cached(
            "UPDATE token SET
               previous_used_at = CASE WHEN hash <> ?4 THEN last_used_at ELSE previous_used_at END,
               last_used_at = CASE WHEN hash <> ?4 THEN NULL ELSE last_used_at END,
               hash = ?4, previous = ?5, previous_until = ?6, expires_at = ?7, revoked_at = ?8
             WHERE id = ?1 AND account = ?2 AND live = ?3",
        )
        .and_then(|mut s| {
            s.execute(params![
                token.id.key(),
                token.realm.account.key(),
                live(token.realm.environment),
                token.hash,
                token.previous.map(|(hash, _)| hash),
                token.previous.map(|(_, until)| until.as_millis()),
                token.expires_at.map(Timestamp::as_millis),
                token.revoked_at.map(Timestamp::as_millis),
            ])
        })
        .map_err(failed)?;
    if changed == 0 {
        return Ok(false);
    }
    write_audit(tx, actor, action, &token.id.to_string(), &token.name, *now)?;
    Ok(true)
}

/// `true` in a use says that it was the secret before the rotation.
pub(super) fn touch_tokens(tx: &mut Tx<'_>, uses: &[(TokenId, Timestamp, bool)]) -> Result<()> {
    for (id, at, previous) in uses {
        let query = if *previous {
            "UPDATE token SET previous_used_at = max(coalesce(previous_used_at, 0), ?2) WHERE id = ?1"
        } else {
            "UPDATE token SET last_used_at = max(coalesce(last_used_at, 0), ?2) WHERE id = ?1"
        };
        tx.sql
            .prepare_cached(query)
            .and_then(|mut s| s.execute(params![id.key(), at.as_millis()]))
            .map_err(failed)?;
    }
    Ok(())
}

pub(super) fn create_client(tx: &mut Tx<'_>, client: &Client, actor: &Actor) -> Result<()> {
    tx.sql
        .prepare_cached(
            "INSERT INTO client (id, account, live, hash, scopes, name, created_at, revoked_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )
        .and_then(|mut s| {
            s.execute(params![
                client.id.key(),
                client.realm.account.key(),
                live(client.realm.environment),
                client.hash,
                client.scopes.bits(),
                client.name,
                client.created_at.as_millis(),
                client.revoked_at.map(Timestamp::as_millis),
            ])
        })
        .map_err(failed)?;
    write_audit(tx, actor, "client.create", &client.id.to_string(), &client.name, client.created_at)
}

pub(super) fn client(rx: &mut Rx<'_>, id: &ClientId) -> Result<Option<Client>> {
    let mut statement = rx
        .sql
        .prepare_cached(&format!("SELECT {CLIENT_COLUMNS} FROM client WHERE id = ?1"))
        .map_err(failed)?;
    let mut rows = statement.query([id.key()]).map_err(failed)?;
    rows.next().map_err(failed)?.map(read_client).transpose()
}

pub(super) fn clients(rx: &mut Rx<'_>, realm: &Realm) -> Result<Vec<Client>> {
    let mut statement = rx
        .sql
        .prepare_cached(&format!(
            "SELECT {CLIENT_COLUMNS} FROM client WHERE account = ?1 AND live = ?2 ORDER BY id DESC"
        ))
        .map_err(failed)?;
    let mut rows = statement.query(params![realm.account.key(), live(realm.environment)]).map_err(failed)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        found.push(read_client(row)?);
    }
    Ok(found)
}

pub(super) fn revoke_client(
    tx: &mut Tx<'_>,
    realm: &Realm,
    id: &ClientId,
    actor: &Actor,
    now: &Timestamp,
) -> Result<bool> {
    let changed = tx
        .sql
        .prepare_cached(
            "UPDATE client SET revoked_at = coalesce(revoked_at, ?4) WHERE id = ?1 AND account = ?2 AND live = ?3",
        )
        .and_then(|mut s| {
            s.execute(params![id.key(), realm.account.key(), live(realm.environment), now.as_millis()])
        })
        .map_err(failed)?;
    if changed == 0 {
        return Ok(false);
    }
    let ended = tx
        .sql
        .prepare_cached("UPDATE token SET revoked_at = ?2 WHERE client = ?1 AND revoked_at IS NULL")
        .and_then(|mut s| s.execute(params![id.key(), now.as_millis()]))
        .map_err(failed)?;
    write_audit(tx, actor, "client.revoke", &id.to_string(), &format!("{ended} tokens revoked"), *now)?;
    Ok(true)
}

const TOKEN_COLUMNS: &str = "id, lookup, hash, previous, previous_until, account, live, scopes, name, client, created_at, \
    expires_at, revoked_at, last_used_at, previous_used_at, rate_per_minute";

fn read_token(row: &Row<'_>) -> Result<Token> {
    let time = |n: usize| get::<Option<i64>>(row, n).map(|at| at.map(Timestamp::from_millis));
    let previous = match (get::<Option<Vec<u8>>>(row, 3)?, time(4)?) {
        (Some(bytes), Some(until)) => Some((hash(bytes)?, until)),
        _ => None,
    };
    Ok(Token {
        id: TokenId::from_key(get(row, 0)?),
        lookup: get(row, 1)?,
        hash: hash(get(row, 2)?)?,
        previous,
        realm: realm(row, 5)?,
        scopes: Scopes::from_bits(get(row, 7)?),
        name: get(row, 8)?,
        client: get::<Option<i64>>(row, 9)?.map(ClientId::from_key),
        created_at: Timestamp::from_millis(get(row, 10)?),
        expires_at: time(11)?,
        revoked_at: time(12)?,
        last_used_at: time(13)?,
        previous_used_at: time(14)?,
        rate_per_minute: get(row, 15)?,
    })
}

const CLIENT_COLUMNS: &str = "id, account, live, hash, scopes, name, created_at, revoked_at";

fn read_client(row: &Row<'_>) -> Result<Client> {
    Ok(Client {
        id: ClientId::from_key(get(row, 0)?),
        realm: realm(row, 1)?,
        hash: hash(get(row, 3)?)?,
        scopes: Scopes::from_bits(get(row, 4)?),
        name: get(row, 5)?,
        created_at: Timestamp::from_millis(get(row, 6)?),
        revoked_at: get::<Option<i64>>(row, 7)?.map(Timestamp::from_millis),
    })
}

fn hash(bytes: Vec<u8>) -> Result<[u8; 32]> {
    bytes
        .try_into()
        .map_err(|bytes: Vec<u8>| column::corrupt("SHA-256 hash", format!("{} octets", bytes.len())))
}
