//! `tidings consent import`: consents that people gave elsewhere, from a table of that system.
//!
//! The table is judged to its end before anything is recorded, and then read once more for that, so that no row of it stays in memory.
//! An entry that the ledger has already is not recorded again, so whoever was interrupted runs the same command again. Nobody comes
//! off the suppression list by it.

use crate::config::connection::Secrets;
use crate::import::{Table, found};
use crate::operator::{Operator, Place, Whose, unknown_programme};
use crate::output::{Output, numbered, write};
use anyhow::{Context, bail};
use clap::Args;
use serde_json::json;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use tidings_domain::account::Realm;
use tidings_domain::consent::{
    self, Act, Channel, Consent, Method, PART_MAX, Scope, Standing, WORDING_MAX, Wording,
};
use tidings_domain::consent_import::{Common, Consents, Row};
use tidings_domain::contact::line;
use tidings_domain::id::ConsentId;
use tidings_domain::programme::Programmes;
use tidings_domain::purpose::Purpose;
use tidings_domain::table::{Reader, Report};
use tidings_domain::time::Timestamp;
use tidings_engine::import::rest;
use tidings_wire::token::hash;

/// Entries in one commit.
const BATCH: usize = 1_000;

/// Which table, and how.
#[derive(Debug, Args)]
pub struct How {
    #[command(flatten)]
    table: Table,
    /// Who states that these consents were given, and by what that is known: a sentence that each entry has
    #[arg(long, value_name = "SENTENCE", value_parser = part)]
    attested_by: String,
    /// express, written or revoked, of rows that do not say it
    #[arg(long, value_parser = act)]
    act: Option<Act>,
    /// authentication, alert, transactional or marketing, of rows that do not say it
    #[arg(long, value_parser = purpose)]
    purpose: Option<Purpose>,
    /// text, recorded_voice or live_voice, of rows that do not say it
    #[arg(long, value_parser = channel)]
    channel: Option<Channel>,
    /// form, text, paper, spoken or import, of rows that do not say it [default: import]
    #[arg(long, value_parser = method)]
    method: Option<Method>,
    /// A file with the words that people were shown, of rows that do not have them (more than once for several: then a row names its
    /// own in the column wording_sha256)
    #[arg(long = "wording", value_name = "FILE")]
    wordings: Vec<PathBuf>,
    /// Where people agreed, of rows that do not say it
    #[arg(long, value_parser = part)]
    place: Option<String>,
    /// Who may contact them, of rows that do not say it
    #[arg(long, value_parser = part)]
    seller: Option<String>,
    /// For which programme of the seller, of rows that do not say it
    #[arg(long, value_name = "NAME", value_parser = part)]
    programme: Option<String>,
    #[command(flatten)]
    whose: Whose,
}

fn part(text: &str) -> Result<String, String> {
    line(text, PART_MAX).map_err(|why| why.to_string())
}

fn act(word: &str) -> Result<Act, String> {
    Act::parse(word).ok_or_else(|| format!("use one of: {}", Act::ALL.map(Act::as_str).join(", ")))
}

fn purpose(word: &str) -> Result<Purpose, String> {
    let all = Purpose::ALL.map(Purpose::as_str);
    Purpose::parse(word).ok_or_else(|| format!("use one of: {}", all.join(", ")))
}

fn channel(word: &str) -> Result<Channel, String> {
    let all = Channel::ALL.map(Channel::as_str);
    Channel::parse(word).ok_or_else(|| format!("use one of: {}", all.join(", ")))
}

fn method(word: &str) -> Result<Method, String> {
    let all = Method::ALL.map(Method::as_str);
    Method::parse(word).ok_or_else(|| format!("use one of: {}", all.join(", ")))
}

/// The words in a file, to the letter.
fn wording(path: &Path) -> anyhow::Result<Wording> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    if !Wording::can_be(&text) {
        bail!(
            "{} must have 1 to {WORDING_MAX} characters, and no control characters but line ends and tabs",
            path.display()
        );
    }
    Ok(Wording { hash: hash(&text), text })
}

impl How {
    fn common(&self) -> anyhow::Result<Common> {
        Ok(Common {
            purpose: self.purpose,
            channel: self.channel,
            act: self.act,
            method: self.method,
            wordings: self.wordings.iter().map(|path| wording(path)).collect::<anyhow::Result<_>>()?,
            place: self.place.clone(),
            seller: self.seller.clone(),
            programme: self.programme.clone(),
            attested_by: self.attested_by.clone(),
        })
    }
}

/// Where entries go, and how things stand there.
struct Ledger<'a> {
    operator: &'a Operator,
    realm: Realm,
    programmes: Programmes,
    source: String,
    now: Timestamp,
}

/// What the store knows of the rows that can be recorded.
#[derive(Debug, Default)]
struct Found {
    /// Those that it has already.
    known: u64,
    /// The others.
    new: u64,
    /// Those whose person is on the suppression list, for what the row is about, and stays there.
    suppressed: u64,
    /// Those that count for nothing, because the person opted out after it.
    opted_out: u64,
    /// Those that count for nothing, because nobody configured their programme.
    no_programme: u64,
}

/// Does it.
///
/// # Errors
/// The file cannot be read or is no table, or the store does not answer.
pub async fn run(how: How, place: &Place, operator: &Operator, output: Output) -> anyhow::Result<()> {
    let ledger = Ledger {
        operator,
        realm: operator.realm(&how.whose).await?,
        programmes: place.configuration(Secrets::Left)?.programmes(),
        source: how.table.source(),
        now: operator.now(),
    };
    if let Some(name) = how.programme.as_deref().filter(|name| !ledger.programmes.are_meant_by(name)) {
        bail!("{}", unknown_programme(name, &ledger.programmes));
    }
    let common = how.common()?;
    let reader = || {
        let subject = Consents::new(common.clone(), ledger.programmes.clone(), ledger.now, hash);
        Reader::new(how.table.options(how.whose.environment), subject)
    };
    let mut found = Found::default();
    let look = async |consents: &Consents, rows: Vec<Row>| ledger.look(consents, &rows, &mut found).await;
    let report = how.table.read(reader(), ("reading", output), how.table.refused()?, look).await?;
    if !output.json() {
        write((told(&report, &found) + how.table.hint(&report)).as_bytes())?;
    }
    let mut recorded = 0;
    if !how.table.dry_run {
        let record = async |consents: &Consents, rows: Vec<Row>| {
            let done = ledger.record(consents, &rows, &mut recorded).await;
            done.with_context(|| format!("{}; run the command again for the rest", entries(recorded)))
        };
        let again = how.table.read(reader(), ("recording", output), None, record).await?;
        if again != report {
            bail!("the file changed while it was read; {}", entries(recorded));
        }
    }
    let recorded = (!how.table.dry_run).then_some(recorded);
    let Report { rows, good, mended, duplicates, refused, mends, reasons, countries, ignored, .. } = &report;
    let Found { known, new, suppressed, opted_out, no_programme } = found;
    let value = json!({
        "rows": rows, "good": good, "mended": mended, "duplicates": duplicates, "refused": refused,
        "already_recorded": known, "to_record": new, "recorded": recorded,
        "suppressed": suppressed, "opted_out_since": opted_out, "unknown_programme": no_programme,
        "mends": mends, "reasons": reasons, "countries": countries, "ignored_columns": ignored,
    });
    output.show(&value, || match recorded {
        None => "Nothing is recorded.".to_owned(),
        Some(recorded) => format!("Recorded: {}.", numbered(recorded, "entry", "entries")),
    })?;
    how.table.ensure_any(&report)
}

fn entries(recorded: u64) -> String {
    numbered(recorded, "entry is recorded", "entries are recorded")
}

/// What was found, for people.
fn told(report: &Report, found: &Found) -> String {
    let Found { known, new, suppressed, opted_out, no_programme } = found;
    let mut text = self::found(report);
    let known = numbered(*known, "entry is in the ledger already", "entries are in the ledger already");
    let _ = writeln!(text, "{known}, {new} to be recorded");
    let one_of = |count: &u64| numbered(*count, "row", "rows");
    if *suppressed > 0 {
        let _ = writeln!(
            text,
            "{} of people who are on the suppression list, and stay there",
            one_of(suppressed)
        );
    }
    if *opted_out > 0 {
        let _ =
            writeln!(text, "{} of people who opted out after it: they count for nothing", one_of(opted_out));
    }
    if *no_programme > 0 {
        let _ = writeln!(
            text,
            "{} for a programme that is not configured: no message is of it",
            one_of(no_programme)
        );
    }
    text
}

impl Ledger<'_> {
    fn entry(&self, consents: &Consents, row: &Row, id: ConsentId) -> Consent {
        consents.entry(row, id, self.realm, self.source.clone())
    }

    /// Sees how things stand with these rows.
    async fn look(&self, consents: &Consents, rows: &[Row], found: &mut Found) -> anyhow::Result<()> {
        let store = &self.operator.store;
        for rows in rows.chunks(BATCH) {
            // They are looked at only.
            let entries = rows.iter().map(|row| self.entry(consents, row, ConsentId::from_key(0)));
            let entries: Vec<Consent> = entries.collect();
            let people: Vec<_> = entries.iter().map(|entry| (self.realm, entry.recipient)).collect();
            let listed = store.suppressed(people.clone(), self.now).await?;
            let said = store.said(people).await?;
            for ((entry, listed), said) in entries.iter().zip(listed).zip(&said) {
                let is_known = said.ledger.iter().any(|other| entry.says_the_same(other));
                *if is_known { &mut found.known } else { &mut found.new } += 1;
                let named = entry.evidence.programme.as_deref();
                let programme = named.and_then(|name| self.programmes.meant_by(name));
                let programme = programme.map(|programme| &programme.name);
                found.suppressed += u64::from(listed.against(programme).is_some());
                if entry.act == Act::Revoked {
                    continue;
                }
                let (purpose, channel) = (entry.purpose, entry.channel);
                let is_closed = |scope| {
                    let alone = std::iter::once(entry);
                    let stands = consent::standing(alone, &said.opt_outs, purpose, channel, scope, self.now);
                    matches!(stands, Standing::Revoked(_))
                };
                let of_programme = programme.map(|name| self.programmes.scope(Some(name)));
                found.opted_out += u64::from(is_closed(Scope::Any) || of_programme.is_some_and(is_closed));
                let is_meant = named.is_none_or(|name| self.programmes.are_meant_by(name));
                found.no_programme += u64::from(!is_meant);
            }
        }
        Ok(())
    }

    /// Records those that the ledger does not have, and counts them.
    async fn record(&self, consents: &Consents, rows: &[Row], recorded: &mut u64) -> anyhow::Result<()> {
        let Operator { store, clock, .. } = self.operator;
        let mut took_ms = 0;
        for rows in rows.chunks(BATCH) {
            // Whoever else writes is to have the turn now and then.
            tokio::time::sleep(rest(took_ms)).await;
            let took = clock.stopwatch();
            let entries = rows.iter().map(|row| self.entry(consents, row, ConsentId::from_key(clock.id())));
            let actor = self.operator.actor(self.realm.account);
            *recorded += store.import_consents(entries.collect(), actor, self.now).await?;
            took_ms = took.elapsed_ms();
        }
        Ok(())
    }
}
