//! `tidings carrier`: the connections as configured, what waits for them, and their pause. Whether a link is up is
//! known only to the process that holds it: ask its API (`GET /v1/connections`) or its metrics.

use crate::config::connection::Secrets;
use crate::duration;
use crate::operator::{Operator, Place};
use crate::output::{Output, Table, Tone, numbered};
use anyhow::{anyhow, bail};
use clap::Subcommand;
use serde_json::json;
use tidings_carriers::list::text_options;
use tidings_domain::account::Environment;
use tidings_domain::id::ConnectionId;
use tidings_domain::purpose::Purpose;
use tidings_domain::routing::Route;
use tidings_domain::text::Options;
use tidings_domain::time::Timestamp;
use tidings_engine::SIMULATOR;
use tidings_store::Connection;

/// What to do with connections.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List connections with their queues
    List,
    /// Stop sending on a connection; its messages wait
    Pause {
        /// Its name
        name: String,
        /// Why, for those who wonder
        #[arg(long, default_value = "paused by the operator")]
        reason: String,
    },
    /// Send on a connection again
    Resume {
        /// Its name
        name: String,
    },
    /// Give what waits for a connection to another one of the same environment
    ///
    /// What is partly at the carrier of the first one stays. Whether the other one takes the recipients and senders is not
    /// looked at: it is for you to know.
    Move {
        /// The connection for which messages wait; it need not be configured any more
        from: String,
        /// The connection that is to send them
        to: String,
    },
}

/// Does it.
///
/// # Errors
/// A sentence that says why not.
pub async fn run(command: Command, place: &Place, output: Output) -> anyhow::Result<()> {
    let operator = Operator::open(place).await?;
    let mut connections = connections(&operator, place).await?;
    match command {
        Command::List => {
            let now = operator.now();
            let queues = operator.store.statistics(now).await?.queues;
            connections.extend(stranded(&operator, &connections, &queues).await?);
            let waiting = |connection: &Connection| -> (u64, Option<i64>) {
                let mine = queues.iter().filter(|(id, ..)| *id == connection.id);
                let oldest = mine.clone().filter_map(|(.., oldest)| *oldest).min();
                (mine.map(|(_, _, count, _)| count).sum(), oldest.map(|at| now.since_ms(at)))
            };
            let value: Vec<_> = connections
                .iter()
                .map(|(connection, kind)| {
                    let (messages, oldest_ms) = waiting(connection);
                    json!({
                        "id": connection.id.to_string(),
                        "name": connection.name,
                        "environment": connection.environment.as_str(),
                        "kind": kind,
                        "paused": connection.paused,
                        "waiting": messages,
                        "oldest_due_ms": oldest_ms,
                    })
                })
                .collect();
            output.show(&value, || {
                let mut table =
                    Table::new(&["NAME", "ENVIRONMENT", "KIND", "WAITING", "OLDEST DUE", "PAUSED"]);
                for (connection, kind) in &connections {
                    let (messages, oldest_ms) = waiting(connection);
                    table.row([
                        connection.name.clone(),
                        connection.environment.as_str().to_owned(),
                        (*kind).to_owned(),
                        messages.to_string(),
                        oldest_ms.map_or_else(|| "-".to_owned(), |ms| format!("{} ago", duration::age(ms))),
                        connection
                            .paused
                            .as_deref()
                            .map_or_else(|| "no".to_owned(), |why| output.tone(Tone::Bad, why)),
                    ]);
                }
                table.print(output, "")
                    + "Whether a link is up, the running server knows: GET /v1/connections, or /metrics."
            })?;
        }
        Command::Pause { name, reason } => {
            pause(&operator, &connections, &name, Some(reason), output).await?
        }
        Command::Resume { name } => pause(&operator, &connections, &name, None, output).await?,
        Command::Move { from, to } => move_waiting(&operator, &connections, &from, &to, output).await?,
    }
    operator.close().await
}

/// Where messages go out by the configuration, and how each connection takes text.
///
/// # Errors
/// The configuration is wrong, or the store does not answer.
pub async fn routes(operator: &Operator, place: &Place) -> anyhow::Result<(Vec<Route>, Vec<Options>)> {
    let registered = connections(operator, place).await?;
    let configured = match place.file() {
        Some(_) => place.configuration(Secrets::Left)?.connections,
        None => Vec::new(),
    };
    let route = |(n, (connection, _)): (usize, &(Connection, &str))| Route {
        connection: connection.id,
        carrier: configured.get(n).and_then(|one| one.of_carrier.clone()),
        environment: connection.environment,
        // The simulator that nobody configured comes last, and takes everything.
        prefixes: configured.get(n).map(|one| one.prefixes.clone()).unwrap_or_default(),
        senders: configured.get(n).map(|one| one.senders.clone()).unwrap_or_default(),
    };
    let text = |n: usize| configured.get(n).map(|one| text_options(&one.carrier)).unwrap_or_default();
    let routes: Vec<Route> = registered.iter().enumerate().map(route).collect();
    let text = (0..routes.len()).map(text).collect();
    Ok((routes, text))
}

/// What a connection is that is not configured any more.
const GONE: &str = "not configured";

/// The connections that are not configured any more though messages wait for them.
///
/// # Errors
/// The store does not answer.
pub async fn stranded(
    operator: &Operator,
    configured: &[(Connection, &'static str)],
    queues: &[(ConnectionId, Purpose, u64, Option<Timestamp>)],
) -> anyhow::Result<Vec<(Connection, &'static str)>> {
    // What is scheduled for later waits for it, too, and counts as none.
    let waits = |id| queues.iter().any(|(of, ..)| *of == id);
    let is_gone = |id| configured.iter().all(|(known, _)| known.id != id);
    let all = operator.store.connections().await?;
    let gone = all.into_iter().filter(|one| waits(one.id) && is_gone(one.id));
    Ok(gone.map(|one| (one, GONE)).collect())
}

/// Messages that are moved in one commit.
const MOVE_MAX: usize = 1_000;

async fn move_waiting(
    operator: &Operator,
    configured: &[(Connection, &'static str)],
    from: &str,
    to: &str,
    output: Output,
) -> anyhow::Result<()> {
    let target = named(configured.iter().map(|(connection, _)| connection), to)?;
    let all = operator.store.connections().await?;
    let source = named(all.iter().filter(|one| one.environment == target.environment), from)?;
    if source.id == target.id {
        bail!("{to} has its messages already; name another connection");
    }
    let mut moved = 0;
    loop {
        let step = operator.store.reroute(source.id, target.id, MOVE_MAX, operator.now()).await?;
        moved += step;
        if step < MOVE_MAX as u64 {
            break;
        }
    }
    let actor = operator.actor(operator.account);
    let detail = format!("{moved} to {to}");
    operator
        .store
        .record_audit(actor, "connection.move".to_owned(), from.to_owned(), detail, operator.now())
        .await?;
    output.show(&json!({ "from": from, "to": to, "moved": moved }), || {
        format!(
            "{} from {from} to {to}. A running server sends them within some seconds.",
            numbered(moved, "message moved", "messages moved")
        )
    })
}

/// The one with this name.
fn named<'c>(
    all: impl Iterator<Item = &'c Connection> + Clone,
    name: &str,
) -> anyhow::Result<&'c Connection> {
    all.clone().find(|connection| connection.name == name).ok_or_else(|| {
        let names: Vec<&str> = all.map(|connection| connection.name.as_str()).collect();
        let all = names.join(", ");
        match crate::config::key::near(name, names.iter().copied()) {
            Some(near) => {
                anyhow!(r#"there is no connection {name}; did you mean "{near}"? There are: {all}"#)
            }
            None => anyhow!("there is no connection {name}; use one of: {all}"),
        }
    })
}

async fn pause(
    operator: &Operator,
    connections: &[(Connection, &'static str)],
    name: &str,
    reason: Option<String>,
    output: Output,
) -> anyhow::Result<()> {
    let found = named(connections.iter().map(|(connection, _)| connection), name)?;
    let actor = operator.actor(operator.account);
    operator.store.pause_connection(found.id, reason.clone(), actor, operator.now()).await?;
    output.show(&json!({ "name": name, "paused": reason }), || match &reason {
        Some(why) => {
            format!("{name} is paused ({why}). A running server stops within a second; messages wait.")
        }
        None => format!("{name} sends again."),
    })
}

/// The configured connections with their kinds, and the simulator that is always there.
pub async fn connections(
    operator: &Operator,
    place: &Place,
) -> anyhow::Result<Vec<(Connection, &'static str)>> {
    let mut names: Vec<(String, Environment)> = Vec::new();
    let mut kinds = Vec::new();
    if place.file().is_some() {
        for connection in place.configuration(Secrets::Left)?.connections {
            kinds.push(connection.carrier.kind());
            names.push((connection.name, connection.environment));
        }
    }
    if !names.iter().any(|(_, environment)| *environment == Environment::Test) {
        names.push((SIMULATOR.to_owned(), Environment::Test));
        kinds.push("simulator");
    }
    let registered = operator.store.register_connections(names, operator.now()).await?;
    Ok(registered.into_iter().zip(kinds).collect())
}
