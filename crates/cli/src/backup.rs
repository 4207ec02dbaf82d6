//! `tidings backup`, `restore`, `hold` and `migrate`: the care of a data directory.
//!
//! A restored copy does not know what was sent after it was made. It therefore opens held: nothing is sent until an
//! operator has looked and says `tidings hold release`.

use crate::config::connection::Secrets;
use crate::directory;
use crate::home::Home;
use crate::operator::{Operator, Place};
use crate::output::{Output, Tone, numbered, size};
use crate::suppression;
use anyhow::{Context, bail};
use clap::Subcommand;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tidings_store::postgres::Postgres;
use tidings_store::sqlite::{FILE_NAME, Sqlite};

/// Copies the store while everything runs.
///
/// # Errors
/// The copy could not be made, or is not whole.
pub async fn backup(to: PathBuf, place: &Place, output: Output) -> anyhow::Result<()> {
    let to = if to.is_dir() { to.join(FILE_NAME) } else { to };
    let operator = Operator::open(place).await?;
    operator
        .store
        .backup(to.clone())
        .await
        .with_context(|| format!("no backup was made to {}", to.display()))?;
    let octets = std::fs::metadata(&to)?.len();
    check(&to).with_context(|| format!("the copy {} is damaged: make another one", to.display()))?;
    let detail = format!("{octets} octets to {}", to.display());
    let actor = operator.actor(operator.account);
    operator
        .store
        .record_audit(actor, "backup.make".to_owned(), "store".to_owned(), detail, operator.now())
        .await?;
    let value = json!({ "file": to.display().to_string(), "octets": octets, "integrity": "ok" });
    output.show(&value, || {
        format!("{} · {} · integrity ok\nIt holds texts and phone numbers: keep it as safe as the data directory.", to.display(), size(octets))
    })?;
    operator.close().await
}

/// Makes a data directory out of a backup, held.
///
/// # Errors
/// The backup is damaged, or the directory is not empty.
pub async fn restore(
    from: &Path,
    journal: Option<&Path>,
    place: &Place,
    output: Output,
) -> anyhow::Result<()> {
    let to = match &place.data {
        Some(data) => Home::named(data)?,
        None if place.file().is_some() => Home::of(&place.configuration(Secrets::Left)?)?,
        None => bail!("say where to: --data DIR"),
    };
    let Home::Directory(to) = to else {
        bail!(
            "PostgreSQL restores its own backups: restore {to} with its tools, and then hold sending with `tidings hold set` before you start `tidings serve`"
        )
    };
    if to.is_dir() && std::fs::read_dir(&to)?.next().is_some() {
        bail!("{} is not empty: move what is in it away, or restore into another directory", to.display());
    }
    if !from.is_file() {
        bail!("there is no backup {}", from.display());
    }
    check(from)
        .with_context(|| format!("{} is damaged or no backup: restore another one", from.display()))?;
    if let Some(path) = journal.filter(|path| !path.exists()) {
        bail!("there is no journal {}", path.display());
    }
    directory::make(&to)?;
    let file = to.join(FILE_NAME);
    std::fs::copy(from, &file)
        .with_context(|| format!("{} cannot be copied to {}", from.display(), file.display()))?;
    std::fs::File::open(&file)?.sync_all()?;
    let operator = Operator::open_home(Home::Directory(to.clone()), Arc::default()).await?;
    let reason = format!("restored from {}", from.display());
    operator.store.set_hold(Some(reason.clone()), operator.actor(operator.account), operator.now()).await?;
    let replayed = match journal {
        Some(path) => Some(suppression::replay(&operator, path).await?),
        None => None,
    };
    operator.close().await?;
    let value = json!({
        "directory": to.display().to_string(),
        "held": reason,
        "replayed": replayed.map(suppression::counted),
    });
    output.show(&value, || {
        let opt_outs = match replayed {
            Some(replayed) => suppression::told(replayed),
            None => "Opt-outs that came after the backup are not in it. Bring them back before anything is sent:\n  \
                     tidings suppression replay JOURNAL"
                .to_owned(),
        };
        format!(
            "{to} is ready, and held: `serve` accepts messages but sends nothing.\n\
             {opt_outs}\n\
             What was sent after the backup was made is not known here and would go out a second time. Look with\n  \
             tidings message list --data {to} --environment live --limit 1000 --status queued\n  \
             tidings message list --data {to} --environment live --limit 1000 --status scheduled\n\
             and then let it send with\n  tidings hold release --data {to}",
            to = to.display(),
        )
    })
}

/// What to do with the hold.
#[derive(Debug, Subcommand)]
pub enum Hold {
    /// Say whether sending is held, and why
    Show,
    /// Hold all sending; messages are accepted and wait
    Set {
        /// Why
        #[arg(long, default_value = "held by the operator")]
        reason: String,
    },
    /// Let everything be sent again
    Release {
        /// Also if the journal knows opt-outs that the store does not
        #[arg(long)]
        without_journal: bool,
    },
}

/// Shows, sets or releases the hold on all sending.
///
/// # Errors
/// A sentence that says why not.
pub async fn hold(command: Hold, place: &Place, output: Output) -> anyhow::Result<()> {
    let operator = Operator::open(place).await?;
    let actor = operator.actor(operator.account);
    match command {
        Hold::Show => {}
        Hold::Set { reason } => operator.store.set_hold(Some(reason), actor, operator.now()).await?,
        Hold::Release { without_journal } => {
            if !without_journal && let Some(path) = suppression::unread(&operator, place).await? {
                bail!(
                    "{} knows opt-outs that this store does not: replay it with `tidings suppression replay {}`, \
                     or give --without-journal and send to those people too",
                    path.display(),
                    path.display()
                );
            }
            operator.store.set_hold(None, actor, operator.now()).await?;
        }
    }
    let reason = operator.store.hold().await?;
    output.show(&json!({ "held": reason }), || match &reason {
        Some(why) => format!(
            "{}: {why}. Let it go with `tidings hold release`.",
            output.tone(Tone::Bad, "Nothing is sent")
        ),
        None => "Nothing is held.".to_owned(),
    })?;
    operator.close().await
}

/// Brings the store up to date and says what was done.
///
/// # Errors
/// It cannot be brought up to date.
pub async fn migrate(place: &Place, output: Output) -> anyhow::Result<()> {
    let home = place.home()?;
    let (applied, before) = match &home {
        Home::Directory(at) => {
            let file = at.join(FILE_NAME);
            let migrations = || Sqlite::migrations(&file).map_err(anyhow::Error::msg);
            let before = if file.exists() { migrations()?.len() } else { 0 };
            directory::make(at)?;
            home.open(Arc::default())?.close().await?;
            (migrations()?.split_off(before), before)
        }
        Home::Database(options) => {
            let applied = Postgres::migrate(options)
                .await
                .with_context(|| format!("the database {home} cannot be brought up to date"))?;
            let all = Postgres::look(options).await?.migrations.len();
            let before = all - applied.len();
            (applied, before)
        }
    };
    let value = json!({ "directory": home.to_string(), "applied": applied });
    output.show(&value, || match &applied[..] {
        [] => format!("{home} is up to date ({}).", numbered(before, "migration", "migrations")),
        applied => format!("{home}: applied {}.", applied.join(", ")),
    })
}

/// Whether a database file is ours, and whole.
///
/// # Errors
/// What is damaged.
pub fn check(file: &Path) -> anyhow::Result<()> {
    // First, because what is no database of ours is not damaged.
    Sqlite::migrations(file).map_err(anyhow::Error::msg)?;
    Ok(Sqlite::verify(file)?)
}
