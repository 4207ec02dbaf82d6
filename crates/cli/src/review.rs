//! `tidings review`: failures that a person must look at, and the person's decisions.

use crate::config::connection::Secrets;
use crate::operator::{Operator, Place, Whose};
use crate::output::{Output, Table, when};
use anyhow::bail;
use clap::Subcommand;
use tidings_domain::id::ReviewId;
use tidings_domain::review::{About, Decision};
use tidings_domain::routing::Routes;
use tidings_engine::intake::Planner;
use tidings_store::{Page, ReviewChoice};
use tidings_wire::{Shown, review};

/// Items that one decision closes; ask again for more.
const DECIDE_MAX: usize = 500;

/// What to do with failures.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List open failures, grouped by cause; with a cause, one by one
    List {
        /// Only this cause, item by item
        #[arg(long)]
        cause: Option<String>,
        /// How many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        #[command(flatten)]
        whose: Whose,
    },
    /// Decide about one item, or about all of a cause
    Decide {
        /// retry sends the same content again, drop does nothing more, suppress stops sending to the recipients
        #[arg(value_parser = decision)]
        decision: Decision,
        /// The item (rev_…)
        #[arg(long, value_name = "ID", conflicts_with = "cause")]
        item: Option<ReviewId>,
        /// The cause, as `tidings review list` shows it
        #[arg(long)]
        cause: Option<String>,
        #[command(flatten)]
        whose: Whose,
    },
}

fn decision(word: &str) -> Result<Decision, String> {
    Decision::parse(word)
        .ok_or_else(|| format!("use one of: {}", Decision::ALL.map(Decision::as_str).join(", ")))
}

/// Does it.
///
/// # Errors
/// A sentence that says why not.
pub async fn run(command: Command, place: &Place, output: Output) -> anyhow::Result<()> {
    let operator = Operator::open(place).await?;
    match command {
        Command::List { cause: None, limit, whose } => {
            let realm = operator.realm(&whose).await?;
            let groups = operator.store.review_groups(realm, usize::from(limit)).await?;
            output.show(&groups.iter().map(review::group).collect::<Vec<_>>(), || {
                let mut table = Table::new(&["OPEN", "CAUSE", "WHY", "FIRST", "LAST", "EXAMPLE"]);
                for group in &groups {
                    table.row([
                        group.open.to_string(),
                        group.cause.clone(),
                        group.failure.detail.clone(),
                        when(Some(group.first_at)),
                        when(Some(group.last_at)),
                        about(group.example),
                    ]);
                }
                table.print(output, "Nothing waits for a decision.")
            })?;
        }
        Command::List { cause, limit, whose } => {
            let realm = operator.realm(&whose).await?;
            let page = Page { before: None, limit: usize::from(limit) };
            let items = operator.store.reviews(realm, cause, true, page).await?.items;
            output.show(&items.iter().map(review::item).collect::<Vec<_>>(), || {
                let mut table = Table::new(&["ITEM", "MESSAGE", "SINCE", "WHY"]);
                for item in &items {
                    let row = [
                        item.id.to_string(),
                        about(item.about),
                        when(Some(item.opened_at)),
                        item.failure.to_string(),
                    ];
                    table.row(row);
                }
                table.print(output, "Nothing of this cause waits for a decision.")
            })?;
        }
        Command::Decide { decision, item, cause, whose } => {
            let realm = operator.realm(&whose).await?;
            let which = match (item, cause) {
                (Some(id), _) => ReviewChoice::One(id),
                (None, Some(cause)) => ReviewChoice::Cause(cause),
                (None, None) => {
                    bail!("say which: --item rev_… or --cause …, as `tidings review list` shows them")
                }
            };
            let actor = operator.actor(realm.account);
            let closed =
                operator.store.decide(realm, which, decision, DECIDE_MAX, actor, operator.now()).await?;
            if closed.is_empty() {
                bail!("nothing open was found: look again with `tidings review list`");
            }
            let mut repeated = Vec::new();
            if decision == Decision::Retry {
                let config = place.configuration(Secrets::Left)?;
                let (routes, text) = crate::carrier::routes(&operator, place).await?;
                let planner = Planner {
                    store: &*operator.store,
                    clock: &operator.clock,
                    routes: Routes::of(&routes),
                    text: &text,
                    programmes: &config.programmes(),
                    limits: &config.intake_limits(),
                    gate: &config.gate_policy(),
                };
                for item in &closed {
                    // What a person sent cannot be sent again.
                    if let Some(message) = item.about.message() {
                        let new = planner.repeat(realm, message).await?.map(|new| new.message.id);
                        repeated.push((message, new));
                    }
                }
            }
            let value = review::Decided {
                closed: closed.len(),
                repeated: repeated
                    .iter()
                    .map(|(old, new)| review::Repeated {
                        message_id: Shown(*old),
                        new_message_id: new.map(Shown),
                    })
                    .collect(),
            };
            output.show(&value, || {
                let mut text = format!("{} closed: {}.", closed.len(), decision.as_str());
                for (old, new) in &repeated {
                    let new = new.map_or_else(
                        || "cannot be repeated".to_owned(),
                        |new| format!("is repeated as {new}"),
                    );
                    text.push_str(&format!("\n{old} {new}"));
                }
                if closed.len() == DECIDE_MAX {
                    text.push_str("\nThere may be more: decide again.");
                }
                text
            })?;
        }
    }
    operator.close().await
}

fn about(about: About) -> String {
    match about {
        About::Message(id) => id.to_string(),
        About::Inbound(id) => id.to_string(),
    }
}
