//! `tidings explain`: why somebody would get a message, or would not, in one sentence. It asks what every message is asked
//! before it goes, with the suppression list and the configuration as they are; it sends nothing and keeps nothing.

use crate::config::Config;
use crate::config::connection::{Connection, Secrets};
use crate::message::{number, time};
use crate::operator::{Operator, Place, Whose, unknown_programme};
use crate::output::Output;
use clap::Args;
use serde_json::json;
use std::collections::BTreeMap;
use tidings_domain::account::Environment;
use tidings_domain::address::PhoneNumber;
use tidings_domain::consent::Channel;
use tidings_domain::content::{self, Act};
use tidings_domain::gate::{self, Facts};
use tidings_domain::id::ConnectionId;
use tidings_domain::pool::{self, Choice, Name, Picked, Pool, Source, Unusable, Wish};
use tidings_domain::programme::{self, Programmes};
use tidings_domain::purpose::Purpose;
use tidings_domain::quota::{Count, Used};
use tidings_domain::registration::Capability;
use tidings_domain::routing::{self, Route, Routes, Standing};
use tidings_domain::sender::Sender;
use tidings_domain::text;
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
    /// From whom, to have looked at whether that sender may be used: a phone number, a short code, a name, or pool:NAME
    #[arg(long, value_name = "SENDER")]
    from: Option<String>,
    /// Of which programme; without a word it is that of its sender
    #[arg(long, value_name = "NAME")]
    programme: Option<String>,
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
    let How { to, purpose, channel, from, programme, text, at, whose } = how;
    let recipient = number(&to, whose.environment)?;
    let config = place.configuration(Secrets::Left)?;
    let policy = config.gate_policy();
    let programmes = config.programmes();
    let pool = from.as_deref().and_then(Name::after_prefix).map(|name| pool_of(&config, name)).transpose()?;
    let operator = Operator::open(place).await?;
    let realm = operator.realm(&whose).await?;
    let now = operator.now();
    let at = at.unwrap_or(now);
    let named = match (&pool, &from) {
        (None, Some(from)) => Some(Sender::parse(from, None, whose.environment)?),
        _ => None,
    };
    let senders = pool.as_ref().map_or(named.as_slice(), |pool| &pool.senders);
    let segments = text.as_deref().map_or(1, |text| text::measure(text, &Default::default()).segments.max(1));
    let days = days(&operator, &policy, senders, recipient, whose.environment, at).await?;
    let full = |sender: &Sender| days.get(sender).and_then(|day| day.full(segments, at));
    let said_to_be_of = programme.as_deref().and_then(programme::Name::parse);
    let connections = operator.store.connections().await?;
    let paused = |connection: &Connection| {
        let is_it = |one: &&tidings_store::Connection| {
            one.name == connection.name && one.environment == connection.environment
        };
        connections.iter().find(is_it)?.paused.clone()
    };
    let why_paused = |one: ConnectionId| {
        let place = usize::try_from(one.key() - 1).unwrap_or(usize::MAX);
        config.connections.get(place).and_then(paused)
    };
    // How links are only the processes know that have them.
    let standing = |one: ConnectionId| match why_paused(one) {
        Some(_) => Standing::Closed,
        None => Standing::Elsewhere,
    };
    let (sender, choice) = match pool {
        Some(pool) => {
            let asked = (pool.name.clone(), pool.senders.clone(), vec![(realm, recipient)]);
            let last = operator.store.last_senders(asked.0, asked.1, asked.2).await?;
            let wish = Wish {
                environment: whose.environment,
                recipient,
                purpose,
                text: text.as_deref(),
                expects_answer: false,
                programme: said_to_be_of.as_ref(),
                programmes: &programmes,
            };
            let routes = routes(&config, true);
            let is_full = |sender: &Sender| full(sender).is_some_and(|full| full.opens_at.is_some());
            let look = |sender: &Sender| {
                let waits = |one| why_paused(one).map(|_| Unusable::Paused);
                pool::look(
                    *sender,
                    wish,
                    Routes { all: &routes, look: &standing },
                    &policy.senders,
                    is_full(sender),
                    waits,
                )
            };
            let last = last.first().copied().unwrap_or_default();
            let (sender, choice) = pool::choose(&pool, recipient, last, look);
            (Some(sender), Some((choice, pool.name)))
        }
        None => (named, None),
    };
    let source = match (&choice, sender) {
        (Some((choice, pool)), Some(sender)) => {
            let picked = Picked { pool: pool.clone(), sender, choice: *choice, seen: None };
            Some(Source::Picked(picked))
        }
        (_, sender) => sender.map(Source::Sender),
    };
    let programme = programme_of(&programmes, programme.as_deref(), source.as_ref())?;
    let all = routes(&config, sender.is_some());
    // Without a sender it is asked of any.
    let from = sender.unwrap_or(Sender::PhoneNumber(recipient));
    let route = routing::route(Routes { all: &all, look: &standing }, whose.environment, &from, recipient);
    let refused = refused(&programmes, sender, recipient, programme.as_ref());
    let hold = operator.store.hold().await?.map(|why| format!("all sending is held: {why}"));
    let paused = route.and_then(why_paused).map(|why| format!("its connection is paused: {why}"));
    let listed = operator.store.suppressed(vec![(realm, recipient)], now).await?;
    let listed = listed.first().and_then(|standing| standing.against(programme.as_ref()));
    let said = operator.store.said(vec![(realm, recipient)]).await?;
    let counts = !policy.bounds(purpose, recipient).is_empty();
    let people = if counts { vec![(realm, recipient)] } else { Vec::new() };
    let others = operator.store.turns(people, policy.frequency.counted(), now).await?;
    let zone = operator.stated_zone(&policy, realm, purpose, recipient).await?;
    let full = sender.as_ref().and_then(full);
    let overspent = match policy.spend.is_any() && whose.environment == Environment::Live {
        true => {
            let spent = operator.store.spent(vec![realm.account], now).await?;
            let spent = spent.first().copied().unwrap_or_default();
            policy.spend.limits.beyond(spent, policy.spend.price(recipient, segments))
        }
        false => None,
    };
    operator.close().await?;
    let facts = Facts {
        environment: whose.environment,
        purpose,
        sender,
        recipient,
        text: text.as_deref(),
        reply: None,
        created_at: at,
        suppressed: listed.as_ref(),
        consent: said
            .first()
            .and_then(|said| said.lacks(purpose, channel, programmes.scope(programme.as_ref()), now)),
        zone,
        others: others.first().map_or(&[][..], Vec::as_slice),
        full,
        overspent,
        waits_s: gate::waits_s(purpose, None),
        policy: &policy,
    };
    let answer = gate::ask(&facts, at);
    let sends_at = answer.sends_at(at).filter(|_| route.is_some() && refused.is_empty());
    let can = |capability| sender.is_none_or(|sender| policy.senders.can(&sender, capability));
    let can_reply = can(Capability::TextIn);
    let look = |text: &str| content::look(&policy.content, purpose, Act::Warn, text, can_reply);
    let warnings = text.as_deref().map(look).unwrap_or_default();
    let mut against: Vec<String> =
        answer.findings().iter().map(|finding| finding.reason.to_string()).collect();
    against.extend(refused);
    if route.is_none() {
        against.push(format!("no connection of the {} environment takes it", whose.environment.as_str()));
    }
    let stopped: Vec<String> = hold.into_iter().chain(paused).collect();
    let mut sentence = sentence(&against, &stopped, purpose, sends_at);
    if let (Some((choice, _)), Some(sender)) = (&choice, sender) {
        sentence.push_str(&format!(" It would be from {sender}. {choice}"));
    }
    if let Some(sender) = sender.filter(|_| !can_reply) {
        sentence.push_str(&format!(" Nobody can write back to {sender}."));
    }
    if !warnings.is_empty() {
        let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        sentence.push_str(&format!(" Carriers may filter it: {}.", warnings.join("; and ")));
    }
    let reasons: Vec<_> = answer.findings().iter().map(|finding| GateReason::new(finding, "")).collect();
    let value = json!({
        "sentence": sentence,
        "from": sender.map(Shown),
        "capabilities": sender.map(|_| Capability::ALL.into_iter().filter(|one| can(*one)).map(Capability::as_str).collect::<Vec<_>>()),
        "sender_choice": choice.as_ref().map(|(choice, pool)| chosen(*choice, pool)),
        "programme": programme.as_ref().map(programme::Name::as_str),
        "to": recipient.masked().to_string(),
        "purpose": purpose.as_str(),
        "channel": channel.as_str(),
        "at": Shown(at),
        "sends_at": sends_at.map(Shown),
        "has_route": route.is_some(),
        "gate": reasons,
        "warnings": warnings.iter().map(Warning::new).collect::<Vec<_>>(),
    });
    output.show(&value, || sentence)
}

fn pool_of(config: &Config, name: &str) -> anyhow::Result<Pool> {
    let found = config.pools().into_iter().find(|pool| pool.name.as_str() == name);
    found.ok_or_else(|| anyhow::anyhow!(r#"there is no [[pool]] "{name}" in the configuration"#))
}

/// The programme that is meant, or that of the sender.
fn programme_of(
    programmes: &Programmes,
    named: Option<&str>,
    from: Option<&Source>,
) -> anyhow::Result<Option<programme::Name>> {
    if let Some(text) = named {
        let name = programme::Name::parse(text).filter(|name| programmes.named(name).is_some());
        return name.map(Some).ok_or_else(|| anyhow::anyhow!("{}", unknown_programme(text, programmes)));
    }
    let found = from.and_then(|from| programmes.of(None, from).ok().flatten());
    Ok(found.map(|programme| programme.name.clone()))
}

fn chosen(choice: Choice, pool: &Name) -> serde_json::Value {
    json!({ "pool": pool.as_str(), "choice": choice.as_str(), "detail": choice.to_string() })
}

/// The limits of these senders, and what went of each in the day of that moment.
async fn days(
    operator: &Operator,
    policy: &gate::Policy,
    senders: &[Sender],
    recipient: PhoneNumber,
    environment: Environment,
    at: Timestamp,
) -> anyhow::Result<BTreeMap<Sender, Used>> {
    let limited =
        senders.iter().filter_map(|sender| Some((*sender, policy.senders.daily(sender, recipient)?)));
    let limited: Vec<_> = limited.collect();
    if limited.is_empty() {
        return Ok(BTreeMap::new());
    }
    let counts = limited.iter().map(|(_, daily)| Count::of(daily, environment, at)).collect();
    let used = operator.store.quotas(counts).await?;
    let days = limited.into_iter().zip(used);
    Ok(days.map(|((sender, daily), segments)| (sender, Used { daily: daily.clone(), segments })).collect())
}

/// The connections as routing sees them, numbered from 1. The test environment has the simulated carrier if it has no other.
fn routes(config: &Config, with_senders: bool) -> Vec<Route> {
    let route = |(connection, n): (&Connection, i64)| Route {
        connection: ConnectionId::from_key(n),
        carrier: connection.of_carrier.clone(),
        environment: connection.environment,
        prefixes: connection.prefixes.clone(),
        senders: if with_senders { connection.senders.clone() } else { Vec::new() },
    };
    let mut routes: Vec<Route> = config.connections.iter().zip(1..).map(route).collect();
    if routes.iter().all(|route| route.environment != Environment::Test) {
        routes.push(Route {
            connection: ConnectionId::from_key(0),
            carrier: None,
            environment: Environment::Test,
            prefixes: Vec::new(),
            senders: Vec::new(),
        });
    }
    routes
}

/// What the sender cannot do, whatever the gate says.
fn refused(
    programmes: &Programmes,
    sender: Option<Sender>,
    recipient: PhoneNumber,
    programme: Option<&programme::Name>,
) -> Vec<String> {
    let Some(sender) = sender else { return Vec::new() };
    let not_carried = sender.check_for(recipient).err().map(|why| why.to_string());
    let other = programme.and_then(|name| programmes.other_at(sender, name));
    let of_other = other.map(|other| {
        format!("STOP to {sender} ends the programme {} alone, so it sends for no other", other.name)
    });
    not_carried.into_iter().chain(of_other).map(|why| why.trim_end_matches('.').to_owned()).collect()
}

/// `stopped` keeps waiting whatever goes, until somebody ends that.
fn sentence(against: &[String], stopped: &[String], purpose: Purpose, sends_at: Option<Timestamp>) -> String {
    let purpose = purpose.as_str();
    let (reasons, stopped) = (against.join("; and "), stopped.join("; and "));
    match (against, sends_at, stopped.as_str()) {
        ([], _, "") => {
            format!("This {purpose} message would go: nothing holds it and nothing is against it.")
        }
        ([], ..) => format!("Nothing is against this {purpose} message, but it would wait: {stopped}."),
        (_, Some(at), "") => format!("This {purpose} message would wait until {at}: {reasons}."),
        (_, Some(at), _) => {
            format!("This {purpose} message would wait until {at}: {reasons}. Besides, {stopped}.")
        }
        (_, None, _) => format!("This {purpose} message would not go: {reasons}."),
    }
}
