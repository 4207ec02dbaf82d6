//! `tidings inbound`: what people sent. Numbers and texts are masked unless they are asked for, and what a stranger wrote
//! is shown so that it does nothing to the terminal.

use crate::operator::{Operator, Place};
use crate::output::{Output, Sink, Table, Tone, hidden, is_standard, remark, when};
use anyhow::{anyhow, bail};
use clap::Subcommand;
use serde_json::json;
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use tidings_domain::account::{Environment, Realm};
use tidings_domain::id::InboundId;
use tidings_domain::media::{Fate, kind};
use tidings_domain::text::display;
use tidings_engine::webhook::as_told;
use tidings_store::Received;
use tidings_wire::inbound::InboundMessage;

/// What to look at.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show one message of a person, and what came of it
    Show {
        /// Its id (inb_…), in whatever environment
        id: InboundId,
        /// Show its text, its octets, names of media and the whole phone numbers
        #[arg(long)]
        full: bool,
    },
    /// Write something that came with a message into a new file, or to standard output
    Media {
        /// The message's id (inb_…), in whatever environment
        id: InboundId,
        /// Which of its media, from 1
        place: u8,
        /// The file, which must not be there yet; - for standard output
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
    },
}

/// Does it.
///
/// # Errors
/// A sentence that says why not.
pub async fn run(command: Command, place: &Place, output: Output) -> anyhow::Result<()> {
    let operator = Operator::open(place).await?;
    match command {
        Command::Show { id, full } => show(&operator, id, full, output).await?,
        Command::Media { id, place, output: file } => save(&operator, id, place, &file, output).await?,
    }
    operator.close().await
}

async fn show(operator: &Operator, id: InboundId, full: bool, output: Output) -> anyhow::Result<()> {
    let mut found = find(operator, id).await?;
    if !full {
        for party in [&mut found.inbound.from, &mut found.inbound.to] {
            *party = masked(party);
        }
    }
    let mut shown =
        InboundMessage::new(as_told(&found.inbound), found.whose.clone(), found.waits_until, &found.parts);
    if !full {
        shown.text = shown.text.map(|_| "•••");
        shown.originals.clear();
        shown.media.iter_mut().for_each(|medium| medium.name = medium.name.map(|_| "•••"));
    }
    output.show(&shown, || print(&shown, &found, full, output))
}

/// Writes something that came with a message into a file that only its owner may read: it is a person's.
async fn save(
    operator: &Operator,
    id: InboundId,
    place: u8,
    file: &Path,
    output: Output,
) -> anyhow::Result<()> {
    let message = find(operator, id).await?.inbound;
    let all = &message.media;
    if is_standard(file) && std::io::stdout().is_terminal() {
        bail!(
            "what a stranger sent is not written to a terminal: name a file, or send it to another program"
        );
    }
    let Some(found) = operator.store.media(message.realm, id, place).await? else {
        let listed = usize::from(place).checked_sub(1).and_then(|at| all.get(at));
        return Err(match (listed.map(|one| one.fate), all.len()) {
            (Some(Fate::LeftOut(why)), _) => {
                anyhow!("medium {place} of {id} was not kept when it came: {}", why.as_str())
            }
            (_, 0) => anyhow!("nothing came with {id} but its text"),
            (_, count) => anyhow!("{id} has no medium {place}: they are numbered from 1 to {count}"),
        });
    };
    let mut sink = Sink::open(Some(file))?;
    sink.write(&found.octets)?;
    sink.finish()?;
    let kind = kind(&found.listed.content_type).as_str();
    let count = found.octets.len();
    if is_standard(file) {
        remark(&format!("{count} octets ({kind}). A stranger sent it: open it with care."));
        return Ok(());
    }
    let value = json!({ "file": file.display().to_string(), "bytes": count });
    output.show(&value, || {
        format!("{} has {count} octets ({kind}). A stranger sent it: open it with care.", file.display())
    })
}

/// The id says it all: looks in every account and environment.
async fn find(operator: &Operator, id: InboundId) -> anyhow::Result<Received> {
    for account in operator.store.accounts().await? {
        for environment in Environment::ALL {
            if let Some(found) =
                operator.store.inbound(Realm { account: account.id, environment }, id).await?
            {
                return Ok(found);
            }
        }
    }
    Err(anyhow!(
        "there is no message {id} of a person in {}: is that the right data directory?",
        operator.home
    ))
}

/// A phone number without its middle, however a carrier writes it.
fn masked(party: &str) -> String {
    const SHOWN_MAX: usize = 6;
    let is_number = party.bytes().all(|octet| octet.is_ascii_digit() || octet == b'+');
    if !is_number || party.len() <= SHOWN_MAX {
        return party.to_owned();
    }
    format!("{}•••{}", &party[..SHOWN_MAX - 2], &party[party.len() - 2..])
}

fn print(shown: &InboundMessage<'_>, found: &Received, full: bool, output: Output) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{}  {value}", output.tone(Tone::Faint, &format!("{name:<10}")));
    };
    line("message", &output.tone(Tone::Strong, &shown.id.0.to_string()));
    line("status", shown.status);
    line("from", &display(shown.from));
    line("to", &display(shown.to));
    match (shown.text, full) {
        (None, _) => {}
        (Some(text), true) => line("text", &display(text)),
        (Some(_), false) => line("text", &hidden(&found.inbound.text)),
    }
    if let Some(keyword) = shown.keyword {
        line("asks", keyword);
    }
    if let Some(rule) = shown.rule {
        line("rule", rule);
    }
    if let Some(contact) = &shown.contact_id {
        line("contact", &contact.0.to_string());
    }
    if let Some(conversation) = &shown.conversation_id {
        line("conversation", &conversation.0.to_string());
    }
    line("received", &when(Some(shown.received_at.0)));
    if let Some(parts) = &shown.parts {
        let missing: Vec<String> = parts.missing.iter().map(u8::to_string).collect();
        let missing =
            if missing.is_empty() { String::new() } else { format!("; missing: {}", missing.join(", ")) };
        line("parts", &format!("{} under reference {}{missing}", parts.total, parts.reference));
    }
    if let Some(until) = &shown.waits_until {
        line("waits", &format!("{} of its parts came; until {}", found.parts.len(), when(Some(until.0))));
    }
    let mut table = Table::new(&["PART", "ALPHABET", "HEADER", "OCTETS"]);
    for original in &shown.originals {
        let header = if original.header.is_empty() { "-".to_owned() } else { original.header.clone() };
        let octets = original.octets.clone();
        table.row([original.number.to_string(), original.alphabet.to_owned(), header, octets]);
    }
    text + &media(shown).print(output, "") + &table.print(output, "")
}

fn media(shown: &InboundMessage<'_>) -> Table {
    let mut table = Table::new(&["MEDIUM", "TYPE", "OCTETS", "NAME", "KEPT"]);
    for (place, medium) in (1..).zip(&shown.media) {
        table.row([
            place.to_string(),
            medium.content_type.to_owned(),
            medium.bytes.to_string(),
            medium.name.map_or_else(|| "-".to_owned(), |name| display(name).into_owned()),
            medium.left_out.unwrap_or("yes").to_owned(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_numbers_is_not_shown() {
        let check = |party: &str, expected: &str| assert_eq!(masked(party), expected);
        check("+46701234567", "+467•••67");
        check("46701234567", "4670•••67");
        check("72345", "72345");
        check("Tidings", "Tidings");
        check("pé\u{1b}12345678", "pé\u{1b}12345678");
    }
}
