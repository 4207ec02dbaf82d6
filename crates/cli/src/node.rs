//! `tidings nodes`: the processes that serve the same database, as the database knows them.

use crate::duration;
use crate::operator::{Operator, Place};
use crate::output::{Output, Table, Tone};
use serde_json::json;
use std::collections::BTreeMap;
use tidings_domain::id::ConnectionId;
use tidings_store::Node;

/// Shows them.
///
/// # Errors
/// A sentence that says why not.
pub async fn run(place: &Place, output: Output) -> anyhow::Result<()> {
    let operator = Operator::open(place).await?;
    let nodes = operator.store.nodes().await?;
    let connections = operator.store.connections().await?;
    let names: BTreeMap<ConnectionId, String> = connections.into_iter().map(|c| (c.id, c.name)).collect();
    let owned = |node: &Node| -> Vec<String> {
        let name = |id: &ConnectionId| names.get(id).cloned().unwrap_or_else(|| id.to_string());
        node.owned.iter().map(name).collect()
    };
    let value: Vec<_> = nodes
        .iter()
        .map(|node| {
            json!({
                "number": node.number,
                "name": node.name,
                "place": node.place,
                "roles": node.roles.to_string(),
                "connections": owned(node),
                "lease_left_ms": node.lease_left_ms,
            })
        })
        .collect();
    output.show(&value, || {
        let mut table = Table::new(&["NUMBER", "NAME", "ROLES", "CONNECTIONS", "LEASE LEFT", "PLACE"]);
        for node in &nodes {
            let connections = owned(node);
            table.row([
                node.number.to_string(),
                node.name.clone(),
                node.roles.to_string(),
                if connections.is_empty() { "-".to_owned() } else { connections.join(", ") },
                if node.lease_left_ms > 0 {
                    duration::age(node.lease_left_ms)
                } else {
                    output.tone(Tone::Bad, "over")
                },
                node.place.clone(),
            ]);
        }
        table.print(output, "No node serves it now, or it is SQLite, which one process serves alone.")
    })?;
    operator.close().await
}
