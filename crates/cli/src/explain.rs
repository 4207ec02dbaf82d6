//! `tidings explain`: why somebody would get a message, or would not, in one sentence. It asks what every message is asked
//! before it goes, with the suppression list and the configuration as they are; it sends nothing and keeps nothing.

use crate::config::Config;
use crate::config::connection::{Connection, Secrets};
use crate::message::{number, time};
use crate::operator::{Operator, Place, Whose};
use crate::output::Output;
use clap::Args;
use serde_json::json;
use tidings_domain::account::Environment;
use tidings_domain::address::PhoneNumber;
use tidings_domain::consent::Channel;
use tidings_domain::content::{self, Act};
use tidings_domain::gate::{self, Facts};
use tidings_domain::id::ConnectionId;
use tidings_domain::purpose::Purpose;
use tidings_domain::routing::{self, Route};
use tidings_domain::sender::Sender;
use tidings_domain::time::Timestamp;
use tidings_wire::Shown;
use tidings_wire::message::{GateReason, Warning};

/// Which message is meant.
#[derive(Debug, Args)]
pub struct How {
    /// To whom: a phone number, with +
    #[arg(long, value_name = "NUMBER")]
    to: String,
    /// authentication, alert, transactional or marketing
    #[arg(long, default_value = "transactional", value_parser = purpose)]
    purpose: Purpose,
    /// What the consent is looked at for: text, recorded_voice or live_voice
    #[arg(long, default_value = "text", value_parser = channel)]
    channel: Channel,
    /// From whom, to have looked at whether that sender may be used: a phone number, a short code or a name
    #[arg(long, value_name = "SENDER")]
    from: Option<String>,
    /// What it says, to have that looked at too
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// When (2026-11-23T08:00:00Z); now without a word
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<Timestamp>,
    #[command(flatten)]
    whose: Whose,
}

fn purpose(word: &str) -> Result<Purpose, String> {
    Purpose::parse(word)
        .ok_or_else(|| format!("use one of: {}", Purpose::ALL.map(Purpose::as_str).join(", ")))
}

fn channel(word: &str) -> Result<Channel, String> {
    Channel::parse(word)
        .ok_or_else(|| format!("use one of: {}", Channel::ALL.map(Channel::as_str).join(", ")))
}

/// Says it.
///
/// # Errors
/// The number is none, or the store or the configuration cannot be read.
pub async fn run(how: How, place: &Place, output: Output) -> anyhow::Result<()> {
    let How { to, purpose, channel, from, text, at, whose } = how;
    let recipient = number(&to, whose.environment)?;
    let sender = from.map(|from| Sender::parse(&from, None, whose.environment)).transpose()?;
    let config = place.configuration(Secrets::Left)?;
    let policy = config.gate_policy();
    let has_route = has_route(&config, whose.environment, sender.as_ref(), recipient);
    let operator = Operator::open(place).await?;
    let realm = operator.realm(&whose).await?;
    let now = operator.now();
    let at = at.unwrap_or(now);
    let listed = operator.store.suppressed(vec![(realm, recipient)], now).await?;
    let said = operator.store.said(vec![(realm, recipient)]).await?;
    let counts = policy.frequency.concerns(purpose);
    let people = if counts { vec![(realm, recipient)] } else { Vec::new() };
    let others = operator.store.turns(people, policy.frequency.purposes.clone(), now).await?;
    operator.close().await?;
    let facts = Facts {
        environment: whose.environment,
        purpose,
        sender,
        recipient,
        text: text.as_deref(),
        reply: None,
        created_at: at,
        suppressed: listed.into_iter().next().flatten(),
        consent: said.first().and_then(|said| said.lacks(purpose, channel, now)),
        others: others.first().map_or(&[][..], Vec::as_slice),
        policy: &policy,
    };
    let answer = gate::ask(&facts, at);
    let sends_at = answer.sends_at(at).filter(|_| has_route);
    let found = content::look(&policy.content, purpose, text.as_deref().unwrap_or_default());
    let found = found.filter(|(_, act)| text.is_some() && *act == Act::Warn);
    let warnings: Vec<content::Finding> = found.map(|(finding, _)| finding).collect();
    let mut against: Vec<String> =
        answer.findings().iter().map(|finding| finding.reason.to_string()).collect();
    if !has_route {
        against.push(format!("no connection of the {} environment takes it", whose.environment.as_str()));
    }
    let mut sentence = sentence(&against, purpose, sends_at);
    if !warnings.is_empty() {
        let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        sentence.push_str(&format!(" Carriers may filter it: {}.", warnings.join("; and ")));
    }
    let reasons: Vec<_> = answer.findings().iter().map(|finding| GateReason::new(finding, "")).collect();
    let value = json!({
        "sentence": sentence,
        "to": recipient.masked().to_string(),
        "purpose": purpose.as_str(),
        "channel": channel.as_str(),
        "at": Shown(at),
        "sends_at": sends_at.map(Shown),
        "has_route": has_route,
        "gate": reasons,
        "warnings": warnings.iter().map(Warning::new).collect::<Vec<_>>(),
    });
    output.show(&value, || sentence)
}

/// Whether a connection takes it; the test environment has the simulated carrier if it has no other. Without a sender it is
/// asked of any.
fn has_route(
    config: &Config,
    environment: Environment,
    sender: Option<&Sender>,
    recipient: PhoneNumber,
) -> bool {
    let route = |(connection, n): (&Connection, i64)| Route {
        connection: ConnectionId::from_key(n),
        environment: connection.environment,
        prefixes: connection.prefixes.clone(),
        senders: if sender.is_some() { connection.senders.clone() } else { Vec::new() },
    };
    let routes: Vec<Route> = config.connections.iter().zip(1..).map(route).collect();
    let anybody = Sender::PhoneNumber(recipient);
    let is_simulated =
        environment == Environment::Test && routes.iter().all(|route| route.environment != environment);
    is_simulated || routing::route(&routes, environment, sender.unwrap_or(&anybody), recipient).is_some()
}

fn sentence(against: &[String], purpose: Purpose, sends_at: Option<Timestamp>) -> String {
    let purpose = purpose.as_str();
    let reasons = against.join("; and ");
    match (against, sends_at) {
        ([], _) => format!("This {purpose} message would go: nothing holds it and nothing is against it."),
        (_, Some(at)) => format!("This {purpose} message would wait until {at}: {reasons}."),
        (_, None) => format!("This {purpose} message would not go: {reasons}."),
    }
}
