//! Nodes in PostgreSQL: the list of those who serve the database, and who owns which connection.
//!
//! All of it happens in transactions that have the turn to write, so two nodes never decide at once. The database's
//! clock grants and ends leases. See `domain::node` for the rules, and [`super::news`] for how others hear of it.

use super::reader::Rx;
use super::session::cell;
use super::transaction::Tx;
use crate::backend::{Newcomer, Node, Standing};
use crate::{Error, Result};
use tidings_domain::id::ConnectionId;
use tidings_domain::node::{LEASE_MS, NUMBERS, Peer, Roles, is_prompt, spare, takes};

/// Ids that nodes make by their clocks have numbers below this; what their stores make, that much above.
pub(super) const STORE_NUMBERS: u16 = NUMBERS / 2;

pub(super) async fn join(tx: &mut Tx, newcomer: &Newcomer) -> Result<Standing> {
    // Whoever had this place has ended: its lock is ours.
    let gone = tx
        .sql
        .rows(
            "DELETE FROM node WHERE name = $1 AND place = $2 RETURNING id",
            &[&newcomer.name, &newcomer.place],
        )
        .await?;
    disown(tx, &gone).await?;
    let namesake = tx
        .sql
        .row("SELECT place FROM node WHERE name = $1 AND lease_until > clock_timestamp()", &[&newcomer.name])
        .await?;
    if let Some(row) = namesake {
        let place: &str = cell(&row, 0)?;
        return Err(Error::Conflict(format!(
            "a node of the name {} runs already, in {place}: give each node a name of its own",
            newcomer.name
        )));
    }
    let number = tx.sql.value::<i64>("SELECT nextval('node_number')", &[]).await?;
    let number = (number % i64::from(STORE_NUMBERS)) as u16;
    let id = tx.sql.value::<String>("SELECT gen_random_uuid()::text", &[]).await?;
    let connections: Vec<i64> = newcomer.connections.iter().map(|id| id.key()).collect();
    tx.sql
        .execute(
            "INSERT INTO node (id, number, name, place, roles, connections, acknowledged, joined_at, steady_since, lease_until)
             SELECT $1, $2, $3, $4, $5, $6, (SELECT last_value FROM list_version), now.at, now.at,
               now.at + $7::bigint * interval '1 millisecond' FROM (SELECT clock_timestamp() AS at) now",
            &[
                &id,
                &i32::from(number),
                &newcomer.name,
                &newcomer.place,
                &newcomer.roles.bits(),
                &connections,
                &LEASE_MS,
            ],
        )
        .await?;
    tx.become_node(Some((id.clone(), number)));
    tx.news().nodes = true;
    standing(tx, &id).await
}

pub(super) async fn renew(tx: &mut Tx) -> Result<Standing> {
    let id = ours(tx)?;
    let renewed = tx
        .sql
        .row(
            "UPDATE node SET lease_until = clock_timestamp() + $2::bigint * interval '1 millisecond',
               steady_since = CASE WHEN lease_until < clock_timestamp() THEN clock_timestamp() ELSE steady_since END
             WHERE id = $1 RETURNING steady_since <= clock_timestamp() - $2::bigint * interval '1 millisecond'",
            &[&id, &LEASE_MS],
        )
        .await?
        .ok_or_else(expelled)?;
    // Who was itself silent a moment ago cannot say that the others are: perhaps the database was away for all.
    if cell::<bool>(&renewed, 0)? {
        let gone =
            tx.sql.rows("DELETE FROM node WHERE lease_until < clock_timestamp() RETURNING id", &[]).await?;
        if !gone.is_empty() {
            tracing::warn!(
                nodes = gone.len(),
                "nodes were silent for longer than their lease and were ended"
            );
            disown(tx, &gone).await?;
            tx.news().nodes = true;
        }
    } else {
        // While others learn that we are there, they may commit without telling us.
        tx.fronts().forget();
    }
    standing(tx, &id).await
}

/// Takes what is free and for this node, and says what it is and has.
async fn standing(tx: &mut Tx, id: &str) -> Result<Standing> {
    let (rows, connections) = tokio::try_join!(
        tx.sql.rows(
            "SELECT id, number, roles, connections,
               (extract(epoch FROM lease_until - clock_timestamp()) * 1000)::bigint FROM node",
            &[],
        ),
        tx.sql.rows("SELECT id, owner FROM connection ORDER BY id", &[]),
    )?;
    let owners = connections
        .iter()
        .map(|row| Ok((ConnectionId::from_key(cell(row, 0)?), cell::<Option<&str>>(row, 1)?)))
        .collect::<Result<Vec<_>>>()?;
    let owned_by =
        |owner: &str| owners.iter().filter(|(_, of)| *of == Some(owner)).map(|(id, _)| *id).collect();
    let (mut number, mut roles, mut able) = (0, Roles::ALL, Vec::new());
    let mut peers = Vec::new();
    for row in &rows {
        let (of, node): (Roles, &str) = (Roles::from_bits(cell(row, 2)?), cell(row, 0)?);
        let connections: Vec<ConnectionId> =
            cell::<Vec<i64>>(row, 3)?.into_iter().map(ConnectionId::from_key).collect();
        if node == id {
            number = cell::<i32>(row, 1)? as u16;
            roles = of;
            able = connections;
        } else if of.send && is_prompt(cell(row, 4)?) {
            let owned: Vec<ConnectionId> = owned_by(node);
            peers.push(Peer { owned: owned.len(), able: connections });
        }
    }
    let mut owned: Vec<ConnectionId> = owned_by(id);
    if roles.send {
        let is_free = |of: &&(ConnectionId, Option<&str>)| of.1.is_none() && able.contains(&of.0);
        let taken = takes(owned.len(), owners.iter().filter(is_free).map(|(free, _)| *free), &peers);
        if !taken.is_empty() {
            let keys: Vec<i64> = taken.iter().map(|id| id.key()).collect();
            tx.sql
                .execute(
                    "UPDATE connection SET owner = $1, epoch = epoch + 1 WHERE id = ANY ($2) AND owner IS NULL",
                    &[&id, &keys],
                )
                .await?;
            owned.extend(taken);
            owned.sort_unstable();
            tx.news().nodes = true;
        }
    }
    let has_peers = rows.len() > 1;
    tx.set_peers(has_peers);
    Ok(Standing {
        number: Some(number),
        lease_ms: Some(LEASE_MS),
        spare: spare(&owned, &peers),
        owned: Some(owned),
        has_peers,
    })
}

/// What ended nodes owned is free.
async fn disown(tx: &mut Tx, gone: &[tokio_postgres::Row]) -> Result<()> {
    let ids = gone.iter().map(|row| cell::<String>(row, 0)).collect::<Result<Vec<_>>>()?;
    if ids.is_empty() {
        return Ok(());
    }
    tx.sql.execute("UPDATE connection SET owner = NULL WHERE owner = ANY ($1)", &[&ids]).await.map(drop)
}

pub(super) async fn release(tx: &mut Tx, connection: &ConnectionId) -> Result<()> {
    let id = ours(tx)?;
    tx.sql
        .execute("UPDATE connection SET owner = NULL WHERE id = $1 AND owner = $2", &[&connection.key(), &id])
        .await?;
    tx.news().nodes = true;
    Ok(())
}

pub(super) async fn leave(tx: &mut Tx) -> Result<()> {
    let Ok(id) = ours(tx) else { return Ok(()) };
    let gone = tx.sql.rows("DELETE FROM node WHERE id = $1 RETURNING id", &[&id]).await?;
    disown(tx, &gone).await?;
    tx.become_node(None);
    tx.news().nodes = true;
    Ok(())
}

/// The writer has seen each change of the list when it begins a transaction, so this is also the moment from which
/// no earlier look counts.
pub(super) async fn list_version(tx: &mut Tx) -> Result<i64> {
    Ok(tx.list_version())
}

pub(super) async fn acknowledge(tx: &mut Tx, version: &i64) -> Result<()> {
    let id = ours(tx)?;
    tx.sql
        .execute("UPDATE node SET acknowledged = greatest(acknowledged, $2) WHERE id = $1", &[&id, version])
        .await
        .map(drop)
}

pub(super) async fn nodes(rx: &Rx<'_>, this: &Option<String>) -> Result<Vec<Node>> {
    let rows = rx
        .sql
        .rows(
            "SELECT n.number, n.name, n.place, n.roles, n.acknowledged,
               (extract(epoch FROM n.lease_until - clock_timestamp()) * 1000)::bigint,
               ARRAY (SELECT c.id FROM connection c WHERE c.owner = n.id ORDER BY c.id), n.id
             FROM node n ORDER BY n.joined_at, n.id",
            &[],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let owned: Vec<i64> = cell(row, 6)?;
            Ok(Node {
                number: cell::<i32>(row, 0)? as u16,
                name: cell(row, 1)?,
                place: cell(row, 2)?,
                roles: Roles::from_bits(cell(row, 3)?),
                acknowledged: cell(row, 4)?,
                lease_left_ms: cell(row, 5)?,
                owned: owned.into_iter().map(ConnectionId::from_key).collect(),
                is_this: this.as_deref() == Some(cell(row, 7)?),
            })
        })
        .collect()
}

fn ours(tx: &Tx) -> Result<String> {
    tx.node().ok_or_else(|| Error::Unavailable("this process has not joined as a node".to_owned()))
}

/// Whether the connection is this node's, if this process is a node.
///
/// # Errors
/// [`Error::Conflict`] if it is not.
pub(super) async fn check_owner(tx: &mut Tx, connection: ConnectionId) -> Result<()> {
    let Some(id) = tx.node() else { return Ok(()) };
    let own = "SELECT count(*) FROM connection WHERE id = $1 AND owner = $2";
    match tx.sql.value::<i64>(own, &[&connection.key(), &id]).await? {
        0 => Err(of_another()),
        _ => Ok(()),
    }
}

/// What a node hears that reaches for what is not its own.
fn of_another() -> Error {
    Error::Conflict("the connection is not this node's".to_owned())
}

/// What a node hears that was ended.
pub(super) fn expelled() -> Error {
    Error::Expelled("it was silent for longer than its lease, and another node ended it".to_owned())
}
