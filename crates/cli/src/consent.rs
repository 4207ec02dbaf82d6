//! `tidings consent`: what people agreed to, and the proof of it for one person, as JSON or as a page to print.

mod import;

use crate::config::connection::Secrets;
use crate::message::number;
use crate::operator::{Operator, Place, Whose};
use crate::output::{Output, Sink, Table, remark, when};
use crate::viewer::escape;
use clap::Subcommand;
use std::fmt::Write as _;
use std::path::PathBuf;
use tidings_domain::programme::{self, Programmes};
use tidings_domain::suppression::{Listing, Suppression};
use tidings_domain::text::display;
use tidings_engine::proof::Proof;
use tidings_store::Page;
use tidings_wire::{consent, consent_request, suppression};

/// What to do with the ledger.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List what a person agreed to, the last recorded first
    List {
        /// The phone number, with +
        number: String,
        /// How many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        #[command(flatten)]
        whose: Whose,
    },
    /// List how a person was asked for consent by text, and what came of it, the last first
    Requests {
        /// The phone number, with +
        number: String,
        #[command(flatten)]
        whose: Whose,
    },
    /// Show everything that a person said, and how it stands; leaves a line in the audit trail
    Proof {
        /// The phone number, with +
        number: String,
        /// Also write it as a page (HTML) into this new file
        #[arg(long, value_name = "FILE")]
        page: Option<PathBuf>,
        #[command(flatten)]
        whose: Whose,
    },
    /// Record the consents of a table (CSV) that people gave elsewhere: say what is in it, and then add them
    Import(import::How),
}

/// Does it.
///
/// # Errors
/// A sentence that says why not.
pub async fn run(command: Command, place: &Place, output: Output) -> anyhow::Result<()> {
    let operator = Operator::open(place).await?;
    match command {
        Command::List { number: text, limit, whose } => {
            let realm = operator.realm(&whose).await?;
            let recipient = number(&text, whose.environment)?;
            let page = Page { before: None, limit: usize::from(limit) };
            let list = operator.store.consents(realm, recipient, page).await?.items;
            output.show(&list.iter().map(consent::shown).collect::<Vec<_>>(), || {
                let mut table = Table::new(&[
                    "SAID",
                    "WHAT",
                    "PURPOSE",
                    "CHANNEL",
                    "HOW",
                    "WHERE",
                    "SELLER",
                    "PROGRAMME",
                    "UNTIL",
                    "RECORDED BY",
                ]);
                for one in &list {
                    table.row([
                        when(Some(one.given_at)),
                        one.act.as_str().to_owned(),
                        one.purpose.as_str().to_owned(),
                        one.channel.as_str().to_owned(),
                        one.method.as_str().to_owned(),
                        one.evidence.place.clone().unwrap_or_default(),
                        one.evidence.seller.clone().unwrap_or_default(),
                        one.evidence.programme.clone().unwrap_or_default(),
                        one.expires_at.map_or_else(|| "for ever".to_owned(), |at| when(Some(at))),
                        one.source.clone(),
                    ]);
                }
                table.print(output, "Nothing is recorded of this person.")
            })?;
        }
        Command::Requests { number: text, whose } => {
            let realm = operator.realm(&whose).await?;
            let recipient = number(&text, whose.environment)?;
            let list = operator.store.consent_requests(realm, recipient, operator.now()).await?;
            output.show(&list.iter().map(consent_request::shown).collect::<Vec<_>>(), || {
                let mut table =
                    Table::new(&["ASKED", "STANDS", "WHAT", "PURPOSES", "FROM", "UNTIL", "ANSWERED BY"]);
                for one in &list {
                    let purposes: Vec<&str> = one.purposes.iter().map(|purpose| purpose.as_str()).collect();
                    table.row([
                        when(Some(one.requested_at)),
                        one.state.as_str().to_owned(),
                        one.act.as_str().to_owned(),
                        purposes.join(", "),
                        one.sender.to_string(),
                        when(Some(one.expires_at)),
                        one.answer.map(|id| id.to_string()).unwrap_or_default(),
                    ]);
                }
                table.print(output, "This person was not asked by text.")
            })?;
        }
        Command::Proof { number: text, page, whose } => {
            let programmes = place.configuration(Secrets::Left)?.programmes();
            let realm = operator.realm(&whose).await?;
            let recipient = number(&text, whose.environment)?;
            let now = operator.now();
            let proof = Proof::of(&*operator.store, realm, recipient, now).await?;
            let rows =
                format!("{} entries", proof.consents.len() + proof.suppressions.len() + proof.requests.len());
            let actor = operator.actor(realm.account);
            operator
                .store
                .record_audit(actor, "consent.prove".to_owned(), "proof".to_owned(), rows, now)
                .await?;
            if let Some(file) = page {
                let mut sink = Sink::beside(&file)?;
                sink.write(printed(&proof, &programmes).as_bytes())?;
                sink.finish()?;
                remark(&format!("{} has the page.", file.display()));
            }
            let shown = consent::Proof {
                to: tidings_wire::Shown(recipient),
                made_at: tidings_wire::Shown(now),
                suppressed: proof.standing(&programmes.names()).against_all().is_some(),
                standing: consent::standings(&proof.consents, &proof.opt_outs(), &programmes, now),
                consents: proof.consents.iter().map(consent::shown).collect(),
                suppressions: proof.suppressions.iter().map(suppression::shown).collect(),
                requests: proof.requests.iter().map(consent_request::shown).collect(),
            };
            output
                .show(&shown, || serde_json::to_string_pretty(&shown).expect("texts and numbers are JSON"))?;
        }
        Command::Import(how) => import::run(how, place, &operator, output).await?,
    }
    operator.close().await
}

/// How somebody stands on the suppression list, for people.
fn listed(standing: &Listing, names: &programme::Names) -> String {
    let programmes: Vec<String> = standing.told(names).into_iter().collect();
    let lost: Vec<&str> = standing.lost.keys().map(programme::Name::as_str).collect();
    match (standing.account, &lost[..], &programmes[..]) {
        (Some(_), ..) => "The number is on the suppression list: nothing is sent to it.".to_owned(),
        (None, [], []) => "The number is not on the suppression list.".to_owned(),
        (None, [], programmes) => {
            format!(
                "The number is on the suppression list for messages of {}: none are sent to it.",
                programmes.join(", ")
            )
        }
        (None, lost, _) => {
            format!(
                "The number is on the suppression list for messages of {}, which is no [[programme]]: nothing is sent to it.",
                lost.join(", ")
            )
        }
    }
}

/// What an entry of the list is about, for people: the name that it was made with, and the one that its programme has now.
fn about(entry: &Suppression, names: &programme::Names) -> String {
    let Some(name) = &entry.programme else { return "-".to_owned() };
    match names.present(name) {
        Some(present) if present == name => name.to_string(),
        Some(present) => format!("{name} (now {present})"),
        None => format!("{name} (no [[programme]])"),
    }
}

/// Text in a page: nothing in it can act. Its lines stay lines.
fn inert(text: &str) -> String {
    let lines: Vec<_> = text.split('\n').map(display).collect();
    escape(&lines.join("\n"))
}

/// The proof as a page that needs nothing else and can be printed.
fn printed(proof: &Proof, programmes: &Programmes) -> String {
    let names = programmes.names();
    let mut page = String::from(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>Proof of consent</title>\n<style>\nbody { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #111; background: #fff; }\n\
         table { border-collapse: collapse; width: 100%; }\nth, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid #ccc; }\n\
         pre { white-space: pre-wrap; font: inherit; margin: 0; }\nsection { break-inside: avoid; }\n</style>\n",
    );
    let _ = write!(
        page,
        "<h1>Proof of consent</h1>\n<p>{}, environment {}, account {}.<br>Made on {} (UTC). Everything that is kept of what this \
         person agreed to, and did not; entries are only ever added.</p>\n<p>{}</p>\n",
        proof.recipient,
        proof.realm.environment.as_str(),
        proof.realm.account,
        proof.made_at,
        listed(&proof.standing(&names), &names),
    );
    page.push_str(
        "<h2>How it stands</h2>\n<table>\n<tr><th>Programme<th>Purpose<th>Channel<th>State<th>Since<th>Needed<th>Enough\n",
    );
    for stand in consent::standings(&proof.consents, &proof.opt_outs(), programmes, proof.made_at) {
        let since = stand.since.map(|at| at.0.to_string()).unwrap_or_default();
        let enough = if stand.enough { "yes" } else { "no" };
        let _ = writeln!(
            page,
            "<tr><td>{}<td>{}<td>{}<td>{}<td>{since}<td>{}<td>{enough}",
            stand.programme.as_deref().unwrap_or("-"),
            stand.purpose,
            stand.channel,
            stand.state,
            stand.needed
        );
    }
    page.push_str("</table>\n<h2>What was said</h2>\n");
    for entry in &proof.consents {
        let _ = writeln!(
            page,
            "<section>\n<h3>{}: {}, {}, {}</h3>\n<table>",
            entry.given_at,
            entry.act.as_str(),
            entry.purpose.as_str(),
            entry.channel.as_str()
        );
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(page, "<tr><th>{name}<td><pre>{}</pre>", inert(value));
        };
        line("Entry", &entry.id.to_string());
        line("How", entry.method.as_str());
        line("Recorded", &format!("{} by {}", entry.recorded_at, entry.source));
        if let Some(end) = entry.expires_at {
            line("Until", &end.to_string());
        }
        let evidence = &entry.evidence;
        if let Some(wording) = &evidence.wording {
            line("Words shown", &wording.text);
            line("SHA-256 of the words", &wording.sha256());
        }
        for (name, value) in [
            ("Where", &evidence.place),
            ("Seller", &evidence.seller),
            ("Programme", &evidence.programme),
            ("Network address", &evidence.ip),
            ("Program", &evidence.user_agent),
            ("Vouched for by", &evidence.attested_by),
        ] {
            if let Some(value) = value {
                line(name, value);
            }
        }
        page.push_str("</table>\n</section>\n");
    }
    page.push_str("<h2>Asked for by text</h2>\n");
    for one in &proof.requests {
        let _ = writeln!(page, "<section>\n<h3>{}: {}</h3>\n<table>", one.requested_at, one.state.as_str());
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(page, "<tr><th>{name}<td><pre>{}</pre>", inert(value));
        };
        line(
            "Request",
            &format!("{}, message {} from {}, by {}", one.id, one.message, one.sender, one.source),
        );
        line("Words sent", &one.wording.text);
        line("SHA-256 of the words", &one.wording.sha256());
        match (one.ended_at, one.answer) {
            (Some(at), Some(by)) => line("Answered", &format!("{at} by {by}")),
            _ => line("An answer counts until", &one.expires_at.to_string()),
        }
        page.push_str("</table>\n</section>\n");
    }
    page.push_str(
        "<h2>Suppression list</h2>\n<table>\n<tr><th>Since<th>Programme<th>Reason<th>Source<th>Until<th>Lifted\n",
    );
    for entry in &proof.suppressions {
        let lifted =
            entry.lifted.as_ref().map(|(at, why)| format!("{at}: {}", inert(why))).unwrap_or_default();
        let until = entry.expires_at.map(|at| at.to_string()).unwrap_or_default();
        let _ = writeln!(
            page,
            "<tr><td>{}<td>{}<td>{}<td>{}<td>{until}<td>{lifted}",
            entry.created_at,
            about(entry, &names),
            entry.reason.as_str(),
            inert(&entry.source)
        );
    }
    page.push_str("</table>\n");
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_in_a_page_is_inert() {
        let check = |text: &str, expected: &str| assert_eq!(inert(text), expected);
        check("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;");
        check("a\u{202E}b\u{1B}[31m", "a⟨U+202E⟩b␛[31m");
        check("line\nline & more", "line\nline &amp; more");
    }
}
