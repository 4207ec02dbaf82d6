//! `tidings suppression`: who must not be sent to. An entry counts for every message that is claimed after it.

mod import;

use crate::config::connection::Secrets;
use crate::home::Home;
use crate::message::{number, time};
use crate::operator::{Operator, Place, Whose};
use crate::output::{Output, Table, numbered, when};
use anyhow::{Context, anyhow, bail};
use clap::Subcommand;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tidings_domain::account::{Environment, Realm};
use tidings_domain::id::{AccountId, SuppressionId};
use tidings_domain::programme::{self, Programmes};
use tidings_domain::suppression::{Listing, Reason, default_end};
use tidings_domain::time::Timestamp;
use tidings_engine::journal::{self, Replayed};
use tidings_engine::suppression::Lift;
use tidings_store::{Backend, Page, Suppression, SuppressionFilter};
use tidings_wire::suppression::{REASON_MAX, shown};

/// Entries that are read at once.
const PAGE: usize = 1_000;
/// Commands that one piece of advice names, at most: there may be a thousand accounts.
const COMMANDS_MAX: usize = 4;

/// What to do with the list.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List entries, newest first
    List {
        /// Only this number's entries
        #[arg(long, value_name = "NUMBER")]
        to: Option<String>,
        /// Only entries about this programme alone, by the name that it had when they were made
        #[arg(long, value_name = "NAME", value_parser = programme_name)]
        programme: Option<programme::Name>,
        /// Also entries that were lifted, or are over
        #[arg(long)]
        all: bool,
        /// Show whole phone numbers
        #[arg(long)]
        full: bool,
        /// How many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        limit: u32,
        #[command(flatten)]
        whose: Whose,
    },
    /// Stop sending to a number
    Add {
        /// The phone number, with +
        number: String,
        /// Only messages of this programme
        #[arg(long, value_name = "NAME")]
        programme: Option<String>,
        /// opted_out, invalid_number, manual or unreachable
        #[arg(long, default_value = "manual", value_parser = reason)]
        reason: Reason,
        /// Until when: a time with its offset (2026-11-23T08:00:00Z, 2026-11-23T08:00:00+01:00), not a day alone; for ever without a
        /// word, invalid_number and unreachable for 90 days
        #[arg(long, value_name = "TIME", value_parser = time)]
        until: Option<Timestamp>,
        #[command(flatten)]
        whose: Whose,
    },
    /// Take a number off the list
    Lift {
        /// The phone number, with +
        number: String,
        /// What is about this programme, by any of its names, and not the entry for everything
        #[arg(long, value_name = "NAME", value_parser = programme_name)]
        programme: Option<programme::Name>,
        /// Why, for the record: 1 to 200 characters
        #[arg(long, value_parser = lift_reason)]
        reason: String,
        #[command(flatten)]
        whose: Whose,
    },
    /// Stop sending to the numbers of a table (CSV): say what is in it, and then add them
    Import(import::How),
    /// Add and lift what a journal of opt-outs says and the list does not: after a restore
    Replay {
        /// The journal: its directory, or one of its files
        journal: PathBuf,
    },
}

fn reason(word: &str) -> Result<Reason, String> {
    Reason::parse(word).ok_or_else(|| format!("use one of: {}", Reason::ALL.map(Reason::as_str).join(", ")))
}

fn lift_reason(text: &str) -> Result<String, String> {
    match text.chars().count() {
        1..=REASON_MAX => Ok(text.to_owned()),
        _ => Err(format!("write 1 to {REASON_MAX} characters")),
    }
}

fn programme_name(text: &str) -> Result<programme::Name, String> {
    programme::Name::parse(text)
        .ok_or_else(|| "write the name of a programme: a to z, digits, - and _".to_owned())
}

/// What an entry stops, for people.
fn what(programme: Option<&str>) -> String {
    programme.map_or_else(|| "nothing more".to_owned(), |name| format!("no more messages of {name}"))
}

/// What is stopped of somebody who stands so, for people; empty for nothing.
fn still(standing: &Listing, names: &programme::Names) -> String {
    let all = standing.account.map(|_| what(None)).into_iter();
    let programmes = standing.told(names).into_iter().map(|name| what(Some(&name)));
    let lost =
        standing.lost.keys().map(|name| format!("{} (for {name}, which is no [[programme]])", what(None)));
    all.chain(programmes).chain(lost).collect::<Vec<_>>().join(", ")
}

/// What the configuration has made of entries that are about one programme: a sentence for each programme that it does not
/// know, or that can be told from others no more, and what to do about it.
///
/// # Errors
/// The store does not answer.
pub async fn of_lost_programmes(
    store: &dyn Backend,
    programmes: &Programmes,
    now: Timestamp,
) -> anyhow::Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let names = programmes.names();
    let mut listed: BTreeMap<programme::Name, Vec<(Realm, u64)>> = BTreeMap::new();
    for ((name, realm), count) in store.programmes_listed(now).await? {
        listed.entry(name).or_default().push((realm, count));
    }
    for (name, realms) in listed {
        let count: u64 = realms.iter().map(|(_, count)| count).sum();
        let entries =
            numbered(count, "entry of the suppression list is", "entries of the suppression list are");
        if names.all_of(&name).is_none() {
            found.push((
                format!(
                    r#"{entries} for the programme "{name}", which is not in the configuration, so nothing at all is sent to these people"#
                ),
                format!(
                    r#"write formerly = ["{name}"] into the [[programme]] that it is now, or a [[programme]] of this name again; {} them"#,
                    shows(&name, &realms, store.default_account(now).await?)
                ),
            ));
        } else if let Some(sender) = programmes.all_shared(&name) {
            found.push((
                format!(
                    r#"{entries} for the programme "{name}" alone, and another uses each of its senders, such as {sender}, so what goes from there and names no programme goes out all the same"#
                ),
                "name the programme in each request, or give it a sender of its own".to_owned(),
            ));
        }
    }
    Ok(found)
}

/// The commands that show the entries for this programme in these realms, and that they do.
fn shows(name: &programme::Name, realms: &[(Realm, u64)], default: AccountId) -> String {
    let command = |(realm, _): &(Realm, u64)| {
        let environment = match realm.environment {
            Environment::Test => "",
            Environment::Live => " --environment live",
        };
        let account = match realm.account == default {
            true => String::new(),
            false => format!(" --account {}", realm.account),
        };
        format!("`tidings suppression list --programme {name}{environment}{account}`")
    };
    let commands: Vec<String> = realms.iter().take(COMMANDS_MAX).map(command).collect();
    let verb = if realms.len() == 1 { "shows" } else { "show" };
    match realms.len().saturating_sub(COMMANDS_MAX) {
        0 => format!("{} {verb}", commands.join(" and ")),
        more => format!("{} and {} {verb}", commands.join(", "), format_args!("{more} more like them")),
    }
}

/// Does it.
///
/// # Errors
/// A sentence that says why not.
pub async fn run(command: Command, place: &Place, output: Output) -> anyhow::Result<()> {
    let operator = Operator::open(place).await?;
    match command {
        Command::List { to, programme, all, full, limit, whose } => {
            let realm = operator.realm(&whose).await?;
            let recipient = to.map(|to| number(&to, whose.environment)).transpose()?;
            let filter = SuppressionFilter { recipient, programme, include_lifted: all };
            let list = list(&operator, realm, filter, limit as usize).await?;
            let mut value = serde_json::to_value(list.iter().map(shown).collect::<Vec<_>>())?;
            if !full {
                for (one, entry) in list.iter().zip(value.as_array_mut().into_iter().flatten()) {
                    entry["to"] = one.recipient.masked().to_string().into();
                }
            }
            output.show(&value, || {
                let mut table =
                    Table::new(&["NUMBER", "PROGRAMME", "REASON", "SINCE", "UNTIL", "FROM", "LIFTED"]);
                for one in &list {
                    table.row([
                        if full { one.recipient.to_string() } else { one.recipient.masked().to_string() },
                        one.programme.as_ref().map_or_else(|| "all".to_owned(), ToString::to_string),
                        one.reason.as_str().to_owned(),
                        when(Some(one.created_at)),
                        one.expires_at.map_or_else(|| "for ever".to_owned(), |at| when(Some(at))),
                        one.source.clone(),
                        one.lifted
                            .as_ref()
                            .map(|(at, why)| format!("{} {why}", when(Some(*at))))
                            .unwrap_or_default(),
                    ]);
                }
                table.print(output, "No entry is on the list.")
            })?;
        }
        Command::Add { number: text, programme, reason, until, whose } => {
            let programme = place.programme(programme.as_deref())?;
            let realm = operator.realm(&whose).await?;
            let now = operator.now();
            if until.is_some_and(|end| end <= now) {
                bail!("the time of --until has passed already");
            }
            let entry = Suppression {
                id: SuppressionId::from_key(operator.clock.id()),
                realm,
                recipient: number(&text, whose.environment)?,
                programme,
                reason,
                source: "operator".to_owned(),
                created_at: now,
                expires_at: until.or_else(|| default_end(reason, now)),
                lifted: None,
            };
            let stands = operator.store.suppress(vec![entry], operator.actor(realm.account)).await?;
            let one = stands.first().ok_or_else(|| anyhow!("the store gave no entry back"))?;
            output.show(&shown(one), || {
                format!(
                    "{} gets {} ({}). Lift it with `tidings suppression lift`.",
                    one.recipient,
                    what(one.programme.as_ref().map(programme::Name::as_str)),
                    one.reason.as_str()
                )
            })?;
        }
        Command::Lift { number: text, programme, reason, whose } => {
            let realm = operator.realm(&whose).await?;
            let recipient = number(&text, whose.environment)?;
            let lift = Lift { realm, recipient, programme, reason };
            let (actor, now) = (operator.actor(realm.account), operator.now());
            let lifted =
                tidings_engine::suppression::lift(&*operator.store, &operator.names, lift, &actor, now)
                    .await?;
            let stands = operator.store.suppressed(vec![(realm, recipient)], operator.now()).await?;
            let still = stands
                .first()
                .map(|standing| still(standing, &operator.names))
                .filter(|still| !still.is_empty());
            let one = lifted.ok_or_else(|| match &still {
                None => anyhow!("{recipient} is not on the list of {}", whose.environment.as_str()),
                Some(still) => anyhow!("{recipient} has no such entry, but gets {still}"),
            })?;
            output.show(&shown(&one), || match &still {
                None => format!("{recipient} may be sent to again."),
                Some(still) => format!("That entry is lifted. {recipient} still gets {still}."),
            })?;
        }
        Command::Import(how) => import::run(how, place, &operator, output).await?,
        Command::Replay { journal } => {
            let replayed = replay(&operator, &journal).await?;
            output.show(&counted(replayed), || told(replayed))?;
        }
    }
    operator.close().await
}

/// So many entries, newest first.
async fn list(
    operator: &Operator,
    realm: Realm,
    filter: SuppressionFilter,
    limit: usize,
) -> anyhow::Result<Vec<Suppression>> {
    let now = operator.now();
    let is_wanted = |entry: &Suppression| filter.include_lifted || entry.is_in_force(now);
    let mut list = Vec::new();
    let mut before = None;
    loop {
        let page = Page { before, limit: (limit - list.len()).min(PAGE) };
        let found = operator.store.suppressions(realm, filter.clone(), page).await?;
        list.extend(found.items.into_iter().filter(is_wanted));
        before = found.next;
        if before.is_none() || list.len() >= limit {
            return Ok(list);
        }
    }
}

/// Replays a journal.
///
/// # Errors
/// There is none, it is damaged, or the store does not answer.
pub async fn replay(operator: &Operator, path: &Path) -> anyhow::Result<Replayed> {
    let lines = journal::read(path, operator.account)
        .with_context(|| format!("the journal {} cannot be read", path.display()))?;
    if lines.is_empty() {
        bail!("{} has no journal of this installation ({})", path.display(), operator.account);
    }
    Ok(journal::replay(&*operator.store, &lines, operator.account, operator.now()).await?)
}

/// The journal of this place, if it knows what the store does not.
///
/// # Errors
/// It is damaged, the configuration is wrong, or the store does not answer.
pub async fn unread(operator: &Operator, place: &Place) -> anyhow::Result<Option<PathBuf>> {
    let config = place.configuration(Secrets::Left)?;
    let path = config.journal_in(match &operator.home {
        // Where no configuration says where the data is, it was found.
        Home::Directory(directory) => directory,
        Home::Database(_) => &config.data.directory,
    });
    let lines = journal::read(&path, operator.account)
        .with_context(|| format!("the journal {} cannot be read", path.display()))?;
    let is_replayed = journal::is_replayed(&*operator.store, &lines, operator.account).await?;
    Ok((!is_replayed).then_some(path))
}

/// What a replay did, for programs.
pub fn counted(replayed: Replayed) -> serde_json::Value {
    json!({ "lines": replayed.lines, "added": replayed.added, "lifted": replayed.lifted })
}

/// And for people.
pub fn told(replayed: Replayed) -> String {
    let Replayed { lines, added, lifted } = replayed;
    let (lines, added) = (numbered(lines, "line", "lines"), numbered(added, "entry", "entries"));
    format!("The journal of opt-outs is replayed: {lines}, {added} added, {lifted} lifted.")
}
