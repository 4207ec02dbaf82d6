//! `tidings simulate`: the simulated carrier alone, as an SMPP server for others' clients, and its magic recipients.

use crate::output::{Output, Table, numbered};
use crate::signal::Signals;
use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::json;
use std::net::SocketAddr;
use std::path::PathBuf;
use tidings_carriers::script::magic_numbers;
use tidings_carriers::smsc;
use tidings_engine::clock;

/// What to simulate.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve SMPP 3.4 as a carrier would; lines of FROM TO TEXT on standard input are sent as texts of people
    Smsc(Smsc),
    /// Print the recipients for which the simulated carrier has a fate of its own
    Numbers,
}

/// How to serve.
#[derive(Debug, Args)]
pub struct Smsc {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// A file with more settings (accounts, window, faults), in TOML
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Repeats a run
    #[arg(long)]
    seed: Option<u64>,
}

/// Does it.
///
/// # Errors
/// A sentence that says why not.
pub async fn run(command: Command, output: Output) -> anyhow::Result<()> {
    match command {
        Command::Smsc(how) => serve(how, output).await,
        Command::Numbers => {
            let numbers = magic_numbers();
            let value: Vec<_> = numbers
                .iter()
                .map(|magic| json!({ "name": magic.name, "example": magic.example(), "parameter": magic.parameter, "what": magic.what }))
                .collect();
            output.show(&value, || {
                let mut table = Table::new(&["SEND TO", "NAME", "WHAT HAPPENS", "LAST FOUR DIGITS"]);
                for magic in numbers {
                    table.row([
                        magic.example(),
                        magic.name.to_owned(),
                        magic.what.to_owned(),
                        magic.parameter.unwrap_or("any").to_owned(),
                    ]);
                }
                table.print(output, "") + "Every other recipient is delivered to."
            })
        }
    }
}

/// Each line of standard input is a text of a person. Its own thread, because reading a terminal cannot be broken off; it
/// ends with the process.
fn send_what_is_typed(texts: tokio::sync::mpsc::Sender<smsc::Text>) {
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok).filter(|line| !line.trim().is_empty()) {
            let mut words = line.trim().splitn(3, ' ').map(str::to_owned);
            let (Some(from), Some(to), Some(text)) = (words.next(), words.next(), words.next()) else {
                crate::output::remark("write a line as FROM TO TEXT, such as +15550002222 +15550001111 STOP");
                continue;
            };
            if texts.blocking_send(smsc::Text { from, to, text }).is_err() {
                return;
            }
        }
    });
}

async fn serve(how: Smsc, output: Output) -> anyhow::Result<()> {
    let mut settings: smsc::Settings = match &how.settings {
        None => smsc::Settings::default(),
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("{} cannot be read", path.display()))?;
            toml::from_str(&text).with_context(|| format!("{} is not right", path.display()))?
        }
    };
    if let Some(listen) = how.listen {
        settings.address = listen;
    }
    settings.seed = how.seed.or(settings.seed);
    let accounts: Vec<String> = settings.accounts.keys().cloned().collect();
    let seed = u64::from(clock::draw()) << 32 | u64::from(clock::draw());
    let stage = smsc::Stage { seed, now: crate::operator::clock_of_command().now(), seen: None };
    let server = smsc::listen(settings, stage).await.context("the simulated carrier cannot start")?;
    let address = server.address();
    let signals = Signals::hear()?;
    output.show(&json!({ "address": address.to_string(), "accounts": accounts }), || {
        let who = if accounts.is_empty() {
            "anybody may bind".to_owned()
        } else {
            format!("system_id {}", accounts.join(", "))
        };
        format!("The simulated carrier listens on {address} ({who}). Ctrl-C ends it.")
    })?;
    let tally = server.tally();
    send_what_is_typed(server.texts());
    server.run(signals.asked()).await;
    let count = |number: &std::sync::atomic::AtomicU64| number.load(std::sync::atomic::Ordering::Relaxed);
    crate::output::remark(&format!(
        "{} submitted: {} accepted, {} refused, {} never answered; {} acknowledged",
        count(&tally.submitted),
        count(&tally.accepted),
        count(&tally.refused),
        count(&tally.unanswered),
        numbered(count(&tally.acknowledged), "receipt or reply", "receipts and replies")
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_of_the_guide_are_read() {
        const GUIDE: &str = include_str!("../../../docs/src/guides/testing.md");
        let text = GUIDE.split("with `--settings`:").nth(1).expect("the guide names them");
        let text = text.split("```toml\n").nth(1).and_then(|text| text.split("```").next()).expect("a block");
        let settings: smsc::Settings = toml::from_str(text).expect("it is right");
        assert_eq!((settings.window, settings.accounts.len()), (Some(10), 1));
        assert_eq!((settings.faults.outages.len(), settings.faults.answer.p99_ms), (1, 50));
    }
}
