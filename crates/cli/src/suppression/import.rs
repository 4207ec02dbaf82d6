//! `tidings suppression import`: people who opted out elsewhere, from a table of that system.
//!
//! The table is judged to its end before anything is added, as one of contacts is, but that only its numbers count; they are all
//! that is kept of it in memory. What is added goes into the store as every other entry does. An entry that stands already stays
//! as it is, so whoever was interrupted runs the same command again.

use super::reason;
use crate::import::{Bar, Table, found};
use crate::message::time;
use crate::operator::{Operator, Place, Whose};
use crate::output::{Output, numbered, write};
use anyhow::{Context, bail};
use clap::Args;
use serde_json::json;
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::id::SuppressionId;
use tidings_domain::programme;
use tidings_domain::suppression::{Reason, default_end};
use tidings_domain::table::{Numbers, Reader, Report};
use tidings_domain::time::Timestamp;
use tidings_engine::import::rest;
use tidings_store::Suppression;
use tidings_wire::suppression::LIST_MAX;

/// Entries in one commit: as many as a call of the API adds.
const BATCH: usize = LIST_MAX;

/// Which table, and how.
#[derive(Debug, Args)]
pub struct How {
    #[command(flatten)]
    table: Table,
    /// Only messages of this programme are stopped
    #[arg(long, value_name = "NAME")]
    programme: Option<String>,
    /// opted_out, invalid_number, manual or unreachable
    #[arg(long, default_value = "opted_out", value_parser = reason)]
    reason: Reason,
    /// Until when: a time with its offset (2026-11-23T08:00:00Z, 2026-11-23T08:00:00+01:00), not a day alone; for ever without a word,
    /// invalid_number and unreachable for 90 days
    #[arg(long, value_name = "TIME", value_parser = time)]
    expires: Option<Timestamp>,
    #[command(flatten)]
    whose: Whose,
}

/// What is in a table, beside the list as it is.
#[derive(Debug, Default)]
struct Found {
    report: Report,
    /// The numbers whose entry stands already, at least as strong.
    listed: u64,
    /// All numbers.
    numbers: Vec<PhoneNumber>,
}

/// Does it.
///
/// # Errors
/// The file cannot be read or is no table, or the store does not answer.
pub async fn run(how: How, place: &Place, operator: &Operator, output: Output) -> anyhow::Result<()> {
    let programme = place.programme(how.programme.as_deref())?;
    let realm = operator.realm(&how.whose).await?;
    if how.expires.is_some_and(|end| end <= operator.now()) {
        bail!("the time of --expires has passed already");
    }
    let found = read(&how, programme.as_ref(), operator, realm, output).await?;
    if !output.json() {
        write(told(&found, &how).as_bytes())?;
    }
    let added = if how.table.dry_run {
        None
    } else {
        Some(add(&how, programme.as_ref(), operator, realm, &found, output).await?)
    };
    let Report { rows, good, mended, duplicates, refused, mends, reasons, countries, ignored, .. } =
        &found.report;
    let value = json!({
        "rows": rows, "good": good, "mended": mended, "duplicates": duplicates, "refused": refused,
        "already_listed": found.listed, "to_add": found.to_add(), "added": added,
        "mends": mends, "reasons": reasons, "countries": countries, "ignored_columns": ignored,
    });
    output.show(&value, || match added {
        None => "Nothing is added.".to_owned(),
        Some(added) => format!("Added: {}.", numbered(added, "entry", "entries")),
    })?;
    how.table.ensure_any(&found.report)
}

/// What was found, for people.
fn told(found: &Found, how: &How) -> String {
    let mut text = self::found(&found.report);
    let listed = numbered(found.listed, "number is on the list already", "numbers are on the list already");
    text.push_str(&format!("{listed}, {} to be added\n", found.to_add()));
    text.push_str(how.table.hint(&found.report));
    text
}

/// Reads the table to its end.
async fn read(
    how: &How,
    programme: Option<&programme::Name>,
    operator: &Operator,
    realm: Realm,
    output: Output,
) -> anyhow::Result<Found> {
    let mut found = Found::default();
    let reader = Reader::new(how.table.options(how.whose.environment), Numbers::default());
    let look =
        async |_: &Numbers, numbers| found.look(numbers, (programme, how.reason), operator, realm).await;
    let report = how.table.read(reader, ("reading", output), how.table.refused()?, look).await?;
    Ok(Found { report, ..found })
}

impl Found {
    /// How many are not on the list yet, or for a weaker reason.
    fn to_add(&self) -> u64 {
        self.numbers.len() as u64 - self.listed
    }

    /// Sees which of these are on the list already.
    async fn look(
        &mut self,
        numbers: Vec<PhoneNumber>,
        (programme, reason): (Option<&programme::Name>, Reason),
        operator: &Operator,
        realm: Realm,
    ) -> anyhow::Result<()> {
        for numbers in numbers.chunks(BATCH) {
            let people = numbers.iter().map(|number| (realm, *number)).collect();
            let stands = operator.store.suppressed(people, operator.now()).await?;
            for (number, standing) in numbers.iter().zip(stands) {
                let stands = match programme {
                    None => standing.account,
                    Some(name) => standing.programmes.get(name).copied(),
                };
                // One that is there may end sooner than what is to be added: whether it does shows when that is.
                self.listed += u64::from(stands.is_some_and(|known| known.strength() >= reason.strength()));
                self.numbers.push(*number);
            }
        }
        Ok(())
    }
}

/// Adds the entries, and says how many there were to be added: somebody may have added one meanwhile.
async fn add(
    how: &How,
    programme: Option<&programme::Name>,
    operator: &Operator,
    realm: Realm,
    found: &Found,
    output: Output,
) -> anyhow::Result<u64> {
    let source = how.table.source();
    let (mut added, mut done, mut took_ms) = (0, 0, 0);
    let of = found.numbers.len() as u64;
    let mut bar = Bar::new("adding", output);
    for batch in found.numbers.chunks(BATCH) {
        // Whoever else writes is to have the turn now and then.
        tokio::time::sleep(rest(took_ms)).await;
        let took = operator.clock.stopwatch();
        let now = operator.now();
        let entries: Vec<Suppression> = batch
            .iter()
            .map(|recipient| Suppression {
                id: SuppressionId::from_key(operator.clock.id()),
                realm,
                recipient: *recipient,
                programme: programme.cloned(),
                reason: how.reason,
                source: source.clone(),
                created_at: now,
                expires_at: how.expires.or_else(|| default_end(how.reason, now)),
                lifted: None,
            })
            .collect();
        let ids: Vec<SuppressionId> = entries.iter().map(|entry| entry.id).collect();
        let stand = operator.store.suppress(entries, operator.actor(realm.account)).await;
        let stand = stand.with_context(|| {
            format!(
                "{} added; run the command again for the rest",
                numbered(added, "entry is", "entries are")
            )
        })?;
        added += stand.iter().zip(&ids).filter(|(entry, id)| entry.id == **id).count() as u64;
        took_ms = took.elapsed_ms();
        done += batch.len() as u64;
        bar.at(done, of, done);
    }
    bar.end();
    Ok(added)
}
