//! `tidings account` and `tidings audit`: the tenants of an installation, and who changed what.

use crate::operator::{Operator, Place};
use crate::output::{Output, Table, when};
use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::json;
use tidings_domain::id::AccountId;
use tidings_store::{Account, Page};
use tidings_wire::{Shown, account};

/// What to do with accounts.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List accounts
    List,
    /// Add an account; give it tokens with `tidings token create --account`
    Create {
        /// Its name
        name: String,
    },
}

/// Does it.
///
/// # Errors
/// A sentence that says why not.
pub async fn run(command: Command, place: &Place, output: Output) -> anyhow::Result<()> {
    let operator = Operator::open(place).await?;
    match command {
        Command::List => {
            let accounts = operator.store.accounts().await?;
            output.show(&accounts.iter().map(shown).collect::<Vec<_>>(), || {
                let mut table = Table::new(&["ID", "NAME", "MADE"]);
                for one in &accounts {
                    table.row([one.id.to_string(), one.name.clone(), when(Some(one.created_at))]);
                }
                table.print(output, "")
            })?;
        }
        Command::Create { name } => {
            if name.trim().is_empty() || name.chars().count() > 100 {
                bail!("give the account a name of 1 to 100 characters");
            }
            let added =
                Account { id: AccountId::from_key(operator.clock.id()), name, created_at: operator.now() };
            operator.store.create_account(added.clone(), operator.actor(added.id)).await?;
            output.show(&shown(&added), || {
                format!(
                    "{}  {}\nMake a token for it: tidings token create --account {}",
                    added.id, added.name, added.id
                )
            })?;
        }
    }
    operator.close().await
}

fn shown(one: &Account) -> serde_json::Value {
    json!({ "id": one.id.to_string(), "name": one.name, "created_at": one.created_at.to_string() })
}

/// Which part of the audit trail.
#[derive(Debug, Args)]
pub struct Trail {
    /// How many lines
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// The account, if there are several
    #[arg(long, value_name = "ID")]
    account: Option<AccountId>,
}

/// Shows the audit trail, newest first.
///
/// # Errors
/// A sentence that says why not.
pub async fn audit(trail: Trail, place: &Place, output: Output) -> anyhow::Result<()> {
    let operator = Operator::open(place).await?;
    let page = Page { before: None, limit: usize::from(trail.limit) };
    let lines = operator.store.audit(trail.account.unwrap_or(operator.account), page).await?.items;
    let value: Vec<_> = lines
        .iter()
        .map(|line| account::Audit {
            id: Shown(line.id),
            at: Shown(line.at),
            who: &line.who,
            action: &line.action,
            subject: &line.subject,
            detail: &line.detail,
        })
        .collect();
    output.show(&value, || {
        let mut table = Table::new(&["TIME (UTC)", "WHO", "WHAT", "TO WHAT", "DETAIL"]);
        for line in &lines {
            table.row([
                when(Some(line.at)),
                line.who.clone(),
                line.action.clone(),
                line.subject.clone(),
                line.detail.clone(),
            ]);
        }
        table.print(output, "Nothing was changed yet.")
    })?;
    operator.close().await
}
