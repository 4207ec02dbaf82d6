//! `tidings segment`: queries over contacts, kept under a name, tried, counted and listed.

use crate::contact;
use crate::operator::{Operator, Place, Whose};
use crate::output::{Output, Table, Tone, remark, when};
use anyhow::{Context, anyhow, bail};
use clap::Subcommand;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use tidings_domain::account::Realm;
use tidings_domain::contact::{Contact, Invalid};
use tidings_domain::id::SegmentId;
use tidings_domain::segment::{self, Change, Query, Segment};
use tidings_domain::text::display;
use tidings_engine::segment::{Count, READ_MS, Scan, count, read_history};
use tidings_store::{Error, Page, WhichSegment};
use tidings_wire::body::Json;
use tidings_wire::segment::{self as wire, SegmentCount, SegmentPreview, Written};

/// Said where a query finds nobody.
const NOBODY: &str = "It finds nobody.";

/// What to do with segments of contacts.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List segments, the last made first
    List {
        /// How many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        #[command(flatten)]
        whose: Whose,
    },
    /// Show a segment
    Show {
        /// Its name or id
        name: String,
        #[command(flatten)]
        whose: Whose,
    },
    /// Keep a query under a name
    Create {
        /// Its name
        #[arg(value_parser = name)]
        name: String,
        /// A file with the query, as JSON
        file: PathBuf,
        /// What it is for
        #[arg(long, default_value = "", value_parser = description)]
        description: String,
        #[command(flatten)]
        whose: Whose,
    },
    /// Change a segment: what is not named stays
    Change {
        /// Its name or id
        segment: String,
        /// Another name
        #[arg(long, value_parser = name)]
        name: Option<String>,
        /// What it is for
        #[arg(long, value_parser = description)]
        description: Option<String>,
        /// A file with another query, as JSON
        #[arg(long, value_name = "FILE")]
        query: Option<PathBuf>,
        #[command(flatten)]
        whose: Whose,
    },
    /// Delete a segment; the contacts that it finds stay
    Delete {
        /// Its name or id
        name: String,
        #[command(flatten)]
        whose: Whose,
    },
    /// List the contacts that a segment finds, newest first
    Contacts {
        /// Its name or id
        name: String,
        /// Show whole phone numbers
        #[arg(long)]
        full: bool,
        /// How many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        #[command(flatten)]
        whose: Whose,
    },
    /// Count the contacts that a segment finds
    Count {
        /// Its name or id
        name: String,
        #[command(flatten)]
        whose: Whose,
    },
    /// Try a query without keeping it: how many contacts it finds, and the first of them
    Preview {
        /// A file with the query, as JSON
        file: PathBuf,
        /// Show whole phone numbers
        #[arg(long)]
        full: bool,
        /// How many contacts are shown
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(0..=1000))]
        limit: u16,
        #[command(flatten)]
        whose: Whose,
    },
}

fn name(text: &str) -> Result<String, String> {
    segment::name(text).map_err(|why| match why {
        Invalid::Reserved => "this looks like the id of a segment".to_owned(),
        why => why.to_string(),
    })
}

fn description(text: &str) -> Result<String, String> {
    segment::description(text).map_err(|why| why.to_string())
}

/// Does it.
///
/// # Errors
/// A sentence that says why not.
pub async fn run(command: Command, place: &Place, output: Output) -> anyhow::Result<()> {
    let operator = Operator::open(place).await?;
    match command {
        Command::List { limit, whose } => {
            let realm = operator.realm(&whose).await?;
            let page = Page { before: None, limit: usize::from(limit) };
            let found = operator.store.segments(realm, page).await?.items;
            output.show(&found.iter().map(wire::shown).collect::<Vec<_>>(), || {
                let mut table = Table::new(&["ID", "NAME", "CHANGED", "FOR"]);
                for one in &found {
                    table.row([
                        one.id.to_string(),
                        display(&one.name).into_owned(),
                        when(Some(one.updated_at)),
                        display(&one.description).into_owned(),
                    ]);
                }
                table.print(output, "There are no segments.")
            })?;
        }
        Command::Show { name, whose } => {
            let found = find(&operator, operator.realm(&whose).await?, &name).await?;
            output.show(&wire::shown(&found), || print(&found, output))?;
        }
        Command::Create { name, file, description, whose } => {
            let realm = operator.realm(&whose).await?;
            let now = operator.now();
            let segment = Segment {
                id: SegmentId::from_key(operator.clock.id()),
                realm,
                name,
                description,
                query: read(&file)?,
                created_at: now,
                updated_at: now,
            };
            let made = operator.store.create_segment(segment.clone(), operator.actor(realm.account)).await;
            kept(made, &segment.name)?;
            output.show(&wire::shown(&segment), || print(&segment, output))?;
        }
        Command::Change { segment, name, description, query, whose } => {
            let realm = operator.realm(&whose).await?;
            let before = find(&operator, realm, &segment).await?;
            let query = query.as_deref().map(read).transpose()?;
            let wanted = name.clone().unwrap_or_default();
            let change = Change { name, description, query };
            let (actor, now) = (operator.actor(realm.account), operator.now());
            let changed = operator.store.change_segment(realm, before.id, change, actor, now).await;
            let changed =
                kept(changed, &wanted)?.ok_or_else(|| anyhow!("there is no segment {segment} any more"))?;
            output.show(&wire::shown(&changed), || print(&changed, output))?;
        }
        Command::Delete { name, whose } => {
            let realm = operator.realm(&whose).await?;
            let id = find(&operator, realm, &name).await?.id;
            let (actor, now) = (operator.actor(realm.account), operator.now());
            operator.store.delete_segment(realm, id, actor, now).await?;
            output.show(&serde_json::json!({ "deleted": id.to_string() }), || format!("{id} is deleted."))?;
        }
        Command::Contacts { name, full, limit, whose } => {
            let realm = operator.realm(&whose).await?;
            let segment = find(&operator, realm, &name).await?;
            ready(&operator, realm, &segment.query).await?;
            let limit = usize::from(limit);
            let mut scan = Scan::new(realm, segment.query, None, operator.now());
            let mut found = Vec::new();
            while found.len() < limit {
                let Some(next) = scan.next(&*operator.store).await? else { break };
                found.extend(next);
            }
            found.truncate(limit);
            output.show(&contact::listed(&found, full)?, || contact::table(&found, full, output, NOBODY))?;
        }
        Command::Count { name, whose } => {
            let realm = operator.realm(&whose).await?;
            let segment = find(&operator, realm, &name).await?;
            let (Count { found, looked_at, .. }, _) = counted(&operator, realm, segment.query, 0).await?;
            output.show(&SegmentCount::new(found, looked_at, None), || {
                format!("{found} of {looked_at} contacts.")
            })?;
        }
        Command::Preview { file, full, limit, whose } => {
            let realm = operator.realm(&whose).await?;
            let (Count { found, looked_at, .. }, first) =
                counted(&operator, realm, read(&file)?, usize::from(limit)).await?;
            let mut value = serde_json::to_value(SegmentPreview {
                count: found,
                scanned: looked_at,
                complete: true,
                data: Vec::new(),
            })?;
            value["data"] = contact::listed(&first, full)?;
            output.show(&value, || {
                format!(
                    "{found} of {looked_at} contacts.\n\n{}",
                    contact::table(&first, full, output, NOBODY)
                )
            })?;
        }
    }
    operator.close().await
}

/// Counts all, with the first of them.
async fn counted(
    operator: &Operator,
    realm: Realm,
    query: Query,
    first: usize,
) -> anyhow::Result<(Count, Vec<Contact>)> {
    ready(operator, realm, &query).await?;
    let scan = Scan::new(realm, query, None, operator.now());
    Ok(count(&*operator.store, &operator.clock, scan, first, u64::MAX).await?)
}

/// Reads what a query asks of history, however long it takes.
///
/// # Errors
/// The store does not answer.
pub async fn ready(operator: &Operator, realm: Realm, query: &Query) -> anyhow::Result<()> {
    let mut is_said = false;
    while query.needs().history && !read_history(&*operator.store, &operator.clock, realm, READ_MS).await? {
        if !is_said {
            remark("The event log is read for what the query asks of history; this is done once.");
            is_said = true;
        }
    }
    Ok(())
}

/// A segment by its name or id.
///
/// # Errors
/// There is none.
pub async fn find(operator: &Operator, realm: Realm, name: &str) -> anyhow::Result<Segment> {
    let found = operator.store.segment(realm, WhichSegment::of(name)).await?;
    found.ok_or_else(|| {
        anyhow!(
            "there is no segment {name} in {}: look it up with `tidings segment list`",
            realm.environment.as_str()
        )
    })
}

fn kept<T>(done: Result<T, Error>, name: &str) -> anyhow::Result<T> {
    match done {
        Err(Error::Conflict(_)) => {
            bail!("there is a segment {name} already: change it, or choose another name")
        }
        done => Ok(done?),
    }
}

/// The query in a file.
fn read(file: &Path) -> anyhow::Result<Query> {
    let octets = std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let json = Json::parse(&octets).map_err(|malformed| anyhow!("{}", malformed.detail))?;
    wire::parse_query(&json).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(|error| error.detail.clone()).collect();
        anyhow!("{}", lines.join("\n"))
    })
}

fn print(segment: &Segment, output: Output) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{}  {value}", output.tone(Tone::Faint, &format!("{name:<8}")));
    };
    line("segment", &output.tone(Tone::Strong, &display(&segment.name)));
    line("id", &segment.id.to_string());
    if !segment.description.is_empty() {
        line("for", &display(&segment.description));
    }
    line("changed", &when(Some(segment.updated_at)));
    let query =
        serde_json::to_string_pretty(&Written::new(&segment.query)).expect("texts and numbers are JSON");
    let lines: Vec<_> = query.lines().map(display).collect();
    text + &lines.join("\n")
}
