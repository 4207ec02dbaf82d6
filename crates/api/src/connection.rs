//! Carrier connections: how they are, and pausing them.

use crate::ask::{Answer, Ask, json};
use crate::problem::Problem;
use tidings_carriers::LinkState;
use tidings_engine::ConnectionNow;
use tidings_wire::Shown;
use tidings_wire::connection::{self, Connection, Queue};
use tidings_wire::error::Code;
use tidings_wire::page::All;

fn shown(now: &ConnectionNow) -> Connection<'_> {
    Connection {
        id: Shown(now.connection.id),
        name: &now.connection.name,
        carrier: now.of_carrier.as_deref(),
        kind: now.kind,
        state: now.state.as_str(),
        state_detail: match &now.state {
            LinkState::Connecting { reason } => reason.clone(),
            LinkState::Up { sessions: 1 } => Some("1 session".to_owned()),
            LinkState::Up { sessions } => Some(format!("{sessions} sessions")),
            LinkState::Refused { reason } => Some(reason.clone()),
            LinkState::Stopped => None,
            LinkState::Elsewhere { node } => {
                Some(node.as_ref().map_or_else(|| "no node has it".to_owned(), |node| format!("node {node}")))
            }
        },
        paused: now.connection.paused.as_deref(),
        window_size: now.window.0,
        window_used: now.window.1,
        pace_per_s: now.pace_per_s,
        queues: now
            .queues
            .iter()
            .map(|(purpose, messages, oldest)| Queue {
                purpose: purpose.as_str(),
                messages: *messages,
                oldest_due_at: oldest.map(Shown),
            })
            .collect(),
    }
}

pub(crate) async fn list(ask: Ask) -> Answer {
    let all = ask.app.engine.connections(ask.realm().environment).await?;
    json(200, &All { data: all.iter().map(shown).collect() })
}

pub(crate) async fn read(ask: Ask) -> Answer {
    let all = ask.app.engine.connections(ask.realm().environment).await?;
    let name = ask.part("name");
    json(200, &shown(all.iter().find(|now| now.connection.name == name).ok_or_else(unknown)?))
}

pub(crate) async fn pause(ask: Ask) -> Answer {
    let reason = connection::parse_pause(&ask.json()?)?;
    set(ask, Some(reason)).await
}

pub(crate) async fn resume(ask: Ask) -> Answer {
    set(ask, None).await
}

async fn set(ask: Ask, pause: Option<String>) -> Answer {
    let now = ask.app.engine.pause(ask.realm().environment, ask.part("name"), pause, ask.actor()).await?;
    json(200, &shown(&now.ok_or_else(unknown)?))
}

fn unknown() -> Problem {
    Problem::new(Code::NotFound, "There is no connection of this name in this environment.")
        .cured_by("Read the names at `GET /v1/connections`.")
}
