//! `tidings code`: which one-time codes there were, and which prefixes get none. It shows no code: none is stored.

use crate::operator::{Operator, Place, Whose};
use crate::output::{Output, Table, numbered, when};
use anyhow::anyhow;
use clap::Subcommand;
use serde_json::json;
use tidings_domain::code::{Code, RESEND_AFTER_S};
use tidings_domain::id::CodeId;
use tidings_domain::velocity::Prefix;
use tidings_store::Page;
use tidings_wire::code as wire;

/// What to do with codes.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List codes, newest first
    List {
        /// Show whole phone numbers
        #[arg(long)]
        full: bool,
        /// How many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        #[command(flatten)]
        whose: Whose,
    },
    /// Show how a code stands
    Show {
        /// Its id
        id: CodeId,
        /// Show the whole phone number
        #[arg(long)]
        full: bool,
        #[command(flatten)]
        whose: Whose,
    },
    /// List the prefixes that get no codes now, because many were sent to them and few were typed in
    Stops {
        #[command(flatten)]
        whose: Whose,
    },
    /// Let a prefix get codes again, and count what goes to it from the beginning
    Lift {
        /// The prefix, as `stops` shows it: a phone number without its last four digits
        #[arg(value_parser = prefix)]
        prefix: Prefix,
        #[command(flatten)]
        whose: Whose,
    },
}

fn prefix(text: &str) -> Result<Prefix, String> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let digits = digits.parse().map_err(|_| "write it as `tidings code stops` shows it, such as +4670012")?;
    Ok(Prefix::from_digits(digits))
}

/// Does it.
///
/// # Errors
/// A sentence that says why not.
pub async fn run(command: Command, place: &Place, output: Output) -> anyhow::Result<()> {
    let operator = Operator::open(place).await?;
    let now = operator.now();
    let value = |code: &Code, full: bool| -> anyhow::Result<serde_json::Value> {
        let mut value = serde_json::to_value(wire::Code::new(code, RESEND_AFTER_S, now))?;
        // That depends on the configuration of who serves.
        if let Some(fields) = value.as_object_mut() {
            fields.remove("resend_at");
        }
        if !full {
            value["to"] = code.recipient.masked().to_string().into();
        }
        Ok(value)
    };
    let to = |code: &Code, full: bool| match full {
        true => code.recipient.to_string(),
        false => code.recipient.masked().to_string(),
    };
    match command {
        Command::List { full, limit, whose } => {
            let realm = operator.realm(&whose).await?;
            let page = Page { before: None, limit: usize::from(limit) };
            let codes = operator.store.codes(realm, page).await?.items;
            let all = codes.iter().map(|code| value(code, full)).collect::<anyhow::Result<Vec<_>>>()?;
            output.show(&all, || {
                let mut table = Table::new(&["CODE", "NUMBER", "STATUS", "MADE", "SENT", "WRONG", "MESSAGE"]);
                for code in &codes {
                    table.row([
                        code.id.to_string(),
                        to(code, full),
                        code.status(now).as_str().to_owned(),
                        when(Some(code.created_at)),
                        code.life.sends.to_string(),
                        code.life.wrong.to_string(),
                        code.life.message.to_string(),
                    ]);
                }
                table.print(output, "There are no codes.")
            })?;
        }
        Command::Show { id, full, whose } => {
            let realm = operator.realm(&whose).await?;
            let code = operator.store.code(realm, id).await?;
            let code =
                code.ok_or_else(|| anyhow!("there is no code {id} in {}", whose.environment.as_str()))?;
            output.show(&value(&code, full)?, || {
                format!(
                    "{id} to {}: {}. Made {}, good until {}. Sent {}, typed in wrong {}. Message {}.",
                    to(&code, full),
                    code.status(now).as_str(),
                    when(Some(code.created_at)),
                    when(Some(code.expires_at)),
                    numbered(code.life.sends, "time", "times"),
                    numbered(code.life.wrong, "time", "times"),
                    code.life.message
                )
            })?;
        }
        Command::Stops { whose } => {
            let realm = operator.realm(&whose).await?;
            let stops = operator.store.stops(realm, now).await?;
            let all: Vec<_> = stops
                .iter()
                .map(|stop| {
                    json!({
                        "prefix": stop.prefix.to_string(),
                        "since": stop.since.to_string(),
                        "until": stop.until.to_string(),
                        "sent": stop.count.sends,
                        "verified": stop.count.verified,
                    })
                })
                .collect();
            output.show(&all, || {
                let mut table = Table::new(&["PREFIX", "SINCE", "UNTIL", "SENT", "VERIFIED"]);
                for stop in &stops {
                    table.row([
                        stop.prefix.to_string(),
                        when(Some(stop.since)),
                        when(Some(stop.until)),
                        stop.count.sends.to_string(),
                        stop.count.verified.to_string(),
                    ]);
                }
                table.print(output, "No prefix is stopped.")
            })?;
        }
        Command::Lift { prefix, whose } => {
            let realm = operator.realm(&whose).await?;
            let lifted = operator.store.lift_stop(realm, prefix, operator.actor(realm.account), now).await?;
            let lifted =
                lifted.ok_or_else(|| anyhow!("{prefix} is not stopped in {}", whose.environment.as_str()))?;
            let value =
                json!({ "prefix": prefix.to_string(), "lifted": true, "until": lifted.until.to_string() });
            output.show(&value, || format!("Numbers that begin with {prefix} get codes again."))?;
        }
    }
    operator.close().await
}
