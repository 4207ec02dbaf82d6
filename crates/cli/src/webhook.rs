//! `tidings webhook`: where customers are told, and what came of telling them.

use crate::duration::{self, parse_duration};
use crate::operator::{Operator, Place, Whose};
use crate::output::{Output, Table, Tone, when};
use anyhow::{anyhow, bail};
use clap::Subcommand;
use tidings_domain::account::Realm;
use tidings_domain::event::Kind;
use tidings_domain::id::EndpointId;
use tidings_egress::Target;
use tidings_engine::clock::Clock;
use tidings_store::{Attempt, Endpoint, Page};
use tidings_wire::endpoint;

/// What to do with endpoints.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Add an address that is told what becomes of messages
    Add {
        /// The address, such as https://example.com/sms-events
        url: String,
        /// The events it wants, such as message.delivered; all without a word
        #[arg(long, value_name = "EVENT", value_delimiter = ',')]
        event: Vec<String>,
        /// What it is for
        #[arg(long, default_value = "")]
        description: String,
        #[command(flatten)]
        whose: Whose,
    },
    /// List addresses
    List {
        #[command(flatten)]
        whose: Whose,
    },
    /// Remove an address and what it was still to be told
    Remove {
        /// Its id (whk_…)
        id: EndpointId,
        #[command(flatten)]
        whose: Whose,
    },
    /// Show the calls of an address, newest first
    Attempts {
        /// Its id (whk_…)
        id: EndpointId,
        /// How many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        #[command(flatten)]
        whose: Whose,
    },
    /// Give an address a new signing secret; the old one signs too for a while
    Rotate {
        /// Its id (whk_…)
        id: EndpointId,
        /// How long the old secret signs too
        #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_duration)]
        overlap: i64,
        #[command(flatten)]
        whose: Whose,
    },
}

/// Does it.
///
/// # Errors
/// A sentence that says why not.
pub async fn run(command: Command, place: &Place, output: Output) -> anyhow::Result<()> {
    let operator = Operator::open(place).await?;
    match command {
        Command::Add { url, event, description, whose } => {
            let realm = operator.realm(&whose).await?;
            if place.file().is_some() {
                let policy = place.configuration(crate::config::connection::Secrets::Left)?.egress_policy();
                Target::parse(&url, &policy).map_err(|why| {
                    anyhow!("{url} cannot be called: {why}; [webhooks] in the configuration says what may be")
                })?;
            } else if !url.starts_with("https://") && !url.starts_with("http://") {
                bail!("{url} is no address for webhooks: write it with https://");
            }
            let added = new(&operator.clock, realm, url, description, kinds(&event)?);
            operator.store.create_endpoint(added.clone(), operator.actor(realm.account)).await?;
            output.show(&endpoint::Endpoint::with_secret(&added), || {
                format!(
                    "{}  {}\n{}\nIt is told within a second from now. Check signatures with the secret (Standard Webhooks).",
                    added.id,
                    added.url,
                    output.tone(Tone::Strong, &endpoint::print_secret(&added.secret))
                )
            })?;
        }
        Command::List { whose } => {
            let realm = operator.realm(&whose).await?;
            let list = operator.store.endpoints(Some(realm)).await?;
            let value: Vec<_> = list.iter().map(endpoint::Endpoint::new).collect();
            output.show(&value, || {
                let mut table = Table::new(&["ID", "ADDRESS", "EVENTS", "STATE", "MADE", "DESCRIPTION"]);
                for one in &list {
                    let state = match (&one.disabled, one.failing_since) {
                        (Some(why), _) => output.tone(Tone::Bad, &format!("off: {why}")),
                        (None, Some(since)) => {
                            output.tone(Tone::Doubtful, &format!("failing since {}", when(Some(since))))
                        }
                        (None, None) => output.tone(Tone::Good, "on"),
                    };
                    let events = if one.kinds == 0 {
                        "all".to_owned()
                    } else {
                        endpoint::Endpoint::new(one).events.join(",")
                    };
                    let events =
                        if one.callback_only { "of messages that name it".to_owned() } else { events };
                    table.row([
                        one.id.to_string(),
                        one.url.clone(),
                        events,
                        state,
                        when(Some(one.created_at)),
                        one.description.clone(),
                    ]);
                }
                table.print(output, "Nobody is told: add an address with `tidings webhook add`.")
            })?;
        }
        Command::Remove { id, whose } => {
            let realm = operator.realm(&whose).await?;
            if !operator
                .store
                .delete_endpoint(realm, id, operator.actor(realm.account), operator.now())
                .await?
            {
                return Err(missing(id, realm));
            }
            output.show(&serde_json::json!({ "removed": id.to_string() }), || format!("{id} is removed."))?;
        }
        Command::Attempts { id, limit, whose } => {
            let realm = operator.realm(&whose).await?;
            find(&operator, realm, id).await?;
            let page = Page { before: None, limit: usize::from(limit) };
            let attempts = operator.store.attempts(realm, id, page).await?.items;
            output.show(&attempts.iter().map(attempt).collect::<Vec<_>>(), || {
                let mut table = Table::new(&[
                    "TIME (UTC)",
                    "EVENT",
                    "MESSAGE",
                    "TRY",
                    "ANSWER",
                    "TOOK",
                    "OUTCOME",
                    "NEXT TRY",
                ]);
                for one in &attempts {
                    let (outcome, next) = endpoint::outcome(one.verdict);
                    let tone = match outcome {
                        "done" => Tone::Good,
                        "retry" => Tone::Doubtful,
                        _ => Tone::Bad,
                    };
                    table.row([
                        when(Some(one.at)),
                        one.event.to_string(),
                        one.message.map(|id| id.to_string()).unwrap_or_default(),
                        one.number.to_string(),
                        one.status.map_or_else(|| one.response.clone(), |status| format!("HTTP {status}")),
                        format!("{} ms", one.took_ms),
                        output.tone(tone, outcome),
                        when(next),
                    ]);
                }
                table.print(output, "It was not called yet.")
            })?;
        }
        Command::Rotate { id, overlap, whose } => {
            let realm = operator.realm(&whose).await?;
            let mut endpoint = find(&operator, realm, id).await?;
            if overlap > endpoint::OVERLAP_MAX_S {
                bail!("two secrets may sign for at most {}", duration::print(endpoint::OVERLAP_MAX_S));
            }
            let now = operator.now();
            let before = std::mem::replace(&mut endpoint.secret, secret(&operator.clock));
            endpoint.previous = Some((before, now.plus_s(overlap)));
            operator.store.update_endpoint(endpoint.clone(), operator.actor(realm.account), now).await?;
            output.show(&endpoint::Endpoint::with_secret(&endpoint), || {
                format!(
                    "{}\nThe old secret signs too for {}.",
                    output.tone(Tone::Strong, &endpoint::print_secret(&endpoint.secret)),
                    duration::print(overlap)
                )
            })?;
        }
    }
    operator.close().await
}

/// A new endpoint.
pub fn new(clock: &Clock, realm: Realm, url: String, description: String, kinds: u32) -> Endpoint {
    Endpoint {
        id: EndpointId::from_key(clock.id()),
        realm,
        url,
        description,
        kinds,
        callback_only: false,
        secret: secret(clock),
        previous: None,
        disabled: None,
        failing_since: None,
        created_at: clock.now(),
    }
}

fn secret(clock: &Clock) -> Vec<u8> {
    clock.random::<{ endpoint::SECRET_OCTETS }>().to_vec()
}

fn kinds(words: &[String]) -> anyhow::Result<u32> {
    let public = || Kind::ALL.into_iter().filter(|kind| kind.is_public());
    words.iter().try_fold(0, |bits, word| match Kind::parse(word).filter(|kind| kind.is_public()) {
        Some(kind) => Ok(bits | kind.bit()),
        None => {
            let known: Vec<&str> = public().map(Kind::as_str).collect();
            let cure = crate::config::key::cure(word, known.iter().copied());
            Err(anyhow!(r#"there is no event "{word}"; {cure}"#))
        }
    })
}

async fn find(operator: &Operator, realm: Realm, id: EndpointId) -> anyhow::Result<Endpoint> {
    let endpoints = operator.store.endpoints(Some(realm)).await?;
    endpoints.into_iter().find(|endpoint| endpoint.id == id).ok_or_else(|| missing(id, realm))
}

fn missing(id: EndpointId, realm: Realm) -> anyhow::Error {
    let environment = realm.environment.as_str();
    anyhow!(
        "there is no {id} in {environment}: look it up with `tidings webhook list --environment {environment}`"
    )
}

/// A call as JSON shows it. Its request holds whole phone numbers; the API shows it to those who may see them.
pub fn attempt(one: &Attempt) -> endpoint::Attempt<'_> {
    endpoint::Attempt { request: None, ..endpoint::Attempt::new(one) }
}
