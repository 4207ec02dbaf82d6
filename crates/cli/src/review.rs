//! `tidings review`: failures that a person must look at, and the person's decisions.

use crate::config::connection::Secrets;
use crate::operator::{Operator, Place, Whose};
use crate::output::{Output, Table, when};
use anyhow::bail;
use clap::Subcommand;
use tidings_domain::account::Realm;
use tidings_domain::code;
use tidings_domain::gate::{self, Facts};
use tidings_domain::id::{MessageId, ReviewId};
use tidings_domain::message::{Life, Message};
use tidings_domain::review::{About, Decision};
use tidings_store::{Accepted, Admission, Draft, Intake, Page, ReviewChoice};
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
            let policy = place.configuration(Secrets::Left)?.gate_policy();
            if decision == Decision::Retry {
                for item in &closed {
                    // What a person sent cannot be sent again.
                    if let Some(message) = item.about.message() {
                        repeated.push((message, repeat(&operator, &policy, realm, message).await?));
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

/// Puts the content of a message into its connection's queue again, as a new message that names the old one. `None`
/// where its text was removed, it carries a one-time code, or the gate does not let it pass.
async fn repeat(
    operator: &Operator,
    policy: &gate::Policy,
    realm: Realm,
    id: MessageId,
) -> anyhow::Result<Option<MessageId>> {
    let Some(old) = operator.store.message(realm, id).await? else { return Ok(None) };
    if old.message.text.as_deref().is_none_or(code::has_blank) {
        return Ok(None);
    }
    let now = operator.now();
    let begun_at = old.message.send_at.unwrap_or(old.message.created_at);
    let mut message = Message {
        id: operator.clock.message_id(),
        token: None,
        batch: None,
        created_at: now,
        send_at: None,
        expires_at: now.plus_ms(old.message.expires_at.since_ms(begun_at)),
        retry_of: Some(id),
        // Nobody asks for it anew.
        reply: None,
        ..old.message
    };
    let zone = operator.stated_zone(policy, realm, message.purpose, message.recipient).await?;
    let held = match gate::ask(&Facts::of(&message, policy).zone(zone), now).decision() {
        gate::Decision::Send => None,
        gate::Decision::Refuse(_) => return Ok(None),
        gate::Decision::Hold(hold) => {
            message.send_at = Some(hold.until);
            message.expires_at = hold.until.plus_ms(message.expires_at.since_ms(now));
            Some(hold)
        }
    };
    let pieces = u8::try_from(old.life.segments.len()).unwrap_or(u8::MAX);
    let (new, life) = (message.id, Life::queued(pieces, now, message.send_at));
    let intake = Intake {
        realm,
        idempotency: None,
        batch: None,
        drafts: vec![Draft { held, ..Draft::new(message, life) }],
    };
    Ok(match operator.store.accept(intake, now).await? {
        Accepted::New(admissions, _) if admissions == [Admission::Admitted] => Some(new),
        Accepted::New(..) | Accepted::Replayed(_) | Accepted::KeyReused | Accepted::Moved => None,
    })
}

fn about(about: About) -> String {
    match about {
        About::Message(id) => id.to_string(),
        About::Inbound(id) => id.to_string(),
    }
}
