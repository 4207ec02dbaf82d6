//! Brings the schema up to date: numbered files, each applied once, in one transaction with its record.
//!
//! A server does not do this by itself: several programs may use the database, and which of them changes it is for an
//! operator to say (`tidings migrate`).

use super::executor::IS_SERVED;
use super::session::{Session, cell, failed_with};
use crate::{Error, Result};
use tidings_domain::hash::fnv1a;

/// A change of the schema.
struct Migration {
    name: &'static str,
    text: &'static str,
    /// How many migrations a program must know to work with the schema after this one. Fewer than there are, if nodes of
    /// the version before may go on beside it: what it brings is new and nobody must use it yet.
    needs: usize,
    /// What takes long on large tables and need not keep anybody waiting: done before, each by itself, and again if it was
    /// broken off.
    ahead: &'static [&'static str],
}

macro_rules! migration {
    ($name:literal, needs $needs:literal $(, ahead $ahead:expr)?) => {
        Migration {
            name: $name,
            text: include_str!(concat!("../../migrations/postgres/", $name, ".sql")),
            needs: $needs,
            ahead: migration!(@ahead $($ahead)?),
        }
    };
    (@ahead) => { &[] };
    (@ahead $ahead:expr) => { $ahead };
}

/// Every migration, in order. A released one is never edited: its checksum is recorded where it ran.
const MIGRATIONS: &[Migration] = &[
    migration!("0001_the_road_of_a_message", needs 1),
    migration!("0002_deliveries_by_endpoint", needs 2),
    migration!("0003_checksum_of_a_message", needs 3),
    migration!("0004_nodes", needs 4),
    // Nodes of before delete tries by their place in a table that is several now.
    migration!("0005_parts_of_history", needs 5, ahead BEFORE_PARTS),
    // Nodes of before would take a message that answers by itself for damaged: its checksum has more in it.
    migration!("0006_opt_out_by_text", needs 6),
    migration!("0007_consent", needs 6),
    // Nodes of before know no blanks: nobody must ask for a code before the last of them is gone.
    migration!("0008_one_time_codes", needs 6),
    // Nodes of before tell each part by itself as they did, and leave what waits for parts to the others.
    migration!("0009_parts_put_together", needs 6),
    // Nodes of before know no contacts, and neither need nor change them.
    migration!("0010_contacts", needs 6),
    // Nodes of before take no turns: nobody must set a cap before the last of them is gone.
    migration!("0011_turns", needs 6),
    migration!("0012_templates", needs 6),
    // What nodes of before hear meanwhile is told, and stands in no conversation.
    migration!("0013_conversations", needs 6),
    // Nodes of before know no segments, and write nothing of what these ask.
    migration!("0014_segments", needs 6),
    // Nodes of before know no pools and no limits: nobody must configure one before the last of them is gone.
    migration!("0015_senders", needs 6),
    // Nodes of before go by no rule and hear no answer to a request: nobody must write one or ask before the last is gone.
    migration!("0016_rules_and_requests", needs 6),
    // Nodes of before write rows without the account, and name keys that are none any more.
    migration!("0017_account_in_keys", needs 17),
    // Nodes of before know no programmes, and take a message of one for damaged: nobody must configure one before the last of
    // them is gone.
    migration!("0018_programmes", needs 17),
    // Turns that nodes of before take count as marketing.
    migration!("0019_purpose_of_a_turn", needs 17),
    // Nodes of before take an entry of a programme for one of everything, which sends too little and never too much: nobody must
    // write one, or let STOP end a programme, before the last of them is gone.
    migration!("0020_opt_out_of_a_programme", needs 17),
    // Nodes of before count no silence and end none. An entry of a dead number is to them one of a number that is not in use, and who
    // writes stays on the list where they hear it.
    migration!("0021_dead_numbers", needs 17),
    // Nodes of before keep no media, and leave those of a message that they sweep away to the others.
    migration!("0022_media", needs 17),
];

/// That all there is belongs into the first part is looked at while others go on, and so are indexes made.
const BEFORE_PARTS: &[&str] = &[
    "ALTER TABLE event DROP CONSTRAINT IF EXISTS event_is_old",
    "ALTER TABLE event ADD CONSTRAINT event_is_old CHECK (seq < 1099511627776) NOT VALID",
    "ALTER TABLE event VALIDATE CONSTRAINT event_is_old",
    "DROP INDEX IF EXISTS event_other",
    "CREATE INDEX CONCURRENTLY event_other ON event (seq) WHERE message IS NULL",
    "ALTER TABLE attempt DROP CONSTRAINT IF EXISTS attempt_is_old",
    "ALTER TABLE attempt ADD CONSTRAINT attempt_is_old CHECK (event < 1099511627776) NOT VALID",
    "ALTER TABLE attempt VALIDATE CONSTRAINT attempt_is_old",
    "DROP INDEX IF EXISTS attempt_at",
    "CREATE INDEX CONCURRENTLY attempt_at ON attempt USING brin (at) WITH (autosummarize = on)",
];

/// Two programs that migrate at the same time wait for each other.
const LOCK: &str = "SELECT pg_advisory_xact_lock(6216813003)";
/// The same key, for what is done ahead: an index that is made while others go on waits for every transaction, and one that
/// waits for us would wait for ever.
const LOCK_AHEAD: &str = "SELECT pg_try_advisory_lock(6216813003)";
const UNLOCK_AHEAD: &str = "SELECT pg_advisory_unlock(6216813003)";

/// The names of what was applied, in order.
///
/// # Errors
/// [`Error::Unavailable`] if the database is newer than this program, a migration was changed after it ran, or the
/// database cannot be read.
pub(super) async fn applied(sql: &Session) -> Result<Vec<String>> {
    let exists = sql
        .value::<bool>(
            "SELECT to_regclass('migration') IS NOT NULL AND to_regclass('setting') IS NOT NULL",
            &[],
        )
        .await?;
    if !exists {
        return Ok(Vec::new());
    }
    let rows = sql.rows("SELECT number, name, checksum FROM migration ORDER BY number", &[]).await?;
    if rows.len() > MIGRATIONS.len() && needs(sql).await? > MIGRATIONS.len() {
        return Err(Error::Unavailable(
            "this database was written by a newer version of tidings; start that version".to_owned(),
        ));
    }
    let mut names = Vec::with_capacity(rows.len());
    for (row, Migration { name, text, .. }) in rows.iter().zip(MIGRATIONS) {
        let (number, applied_name, sum): (i64, String, i64) = (cell(row, 0)?, cell(row, 1)?, cell(row, 2)?);
        if applied_name != *name || sum != fnv1a(text.as_bytes()) as i64 {
            return Err(Error::Unavailable(format!(
                "migration {number} ({applied_name}) is not the one that this version of tidings knows; \
                 start the version that wrote this database"
            )));
        }
        names.push(applied_name);
    }
    Ok(names)
}

/// How many migrations a program must know to work with this schema. It is written where a migration is newer than what
/// needs it.
async fn needs(sql: &Session) -> Result<usize> {
    let row = sql.row("SELECT value FROM setting WHERE name = 'needs'", &[]).await?;
    let needs = row.map(|row| cell::<String>(&row, 0)).transpose()?;
    Ok(needs.and_then(|text| text.parse().ok()).unwrap_or(usize::MAX))
}

/// Whether the schema is the one that this program works with.
///
/// # Errors
/// [`Error::Unavailable`] if it is older or newer.
pub(super) async fn check(sql: &Session) -> Result<()> {
    match applied(sql).await?.len() {
        0 => Err(Error::Unavailable("the database is empty: run `tidings migrate` for a new installation, or `tidings copy` to move one into it".to_owned())),
        n if n < MIGRATIONS.len() => Err(Error::Unavailable(
            "the database was written by an older version of tidings: run `tidings migrate`".to_owned(),
        )),
        _ => Ok(()),
    }
}

/// Whether the schema is exactly the one that this program knows. One that is newer may be good enough to work with, but it
/// may have something that this program would leave behind.
///
/// # Errors
/// [`Error::Unavailable`] if it is older or newer.
pub(super) async fn check_exactly(sql: &Session) -> Result<()> {
    check(sql).await?;
    let count = sql.value::<i64>("SELECT count(*) FROM migration", &[]).await?;
    if count.unsigned_abs() as usize > MIGRATIONS.len() {
        return Err(Error::Unavailable(
            "this database was written by a newer version of tidings: use that version".to_owned(),
        ));
    }
    Ok(())
}

/// Applies what is missing, and gives its names.
///
/// # Errors
/// [`Error::Unavailable`] if the database is newer than this program, a migration was changed after it ran, or one
/// cannot be applied: then nothing was.
pub(super) async fn migrate(sql: &Session) -> Result<Vec<String>> {
    go_ahead(sql).await?;
    sql.command("BEGIN").await?;
    let done = apply(sql).await;
    sql.command(if done.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
    done
}

/// Does for tables that are there what can be done before the migration.
async fn go_ahead(sql: &Session) -> Result<()> {
    let before = applied(sql).await?.len();
    let coming = MIGRATIONS.get(before..).unwrap_or_default();
    if before == 0 || coming.is_empty() {
        return Ok(());
    }
    // They look at the schema only when they connect.
    if coming.iter().any(|migration| migration.needs > before) && sql.value(IS_SERVED, &[]).await? {
        return Err(Error::Unavailable(
            "nodes run that cannot go on with the new schema: stop all of them first".to_owned(),
        ));
    }
    if coming.iter().all(|migration| migration.ahead.is_empty()) {
        return Ok(());
    }
    if !sql.value::<bool>(LOCK_AHEAD, &[]).await? {
        return Err(Error::Unavailable(
            "another tidings changes the schema: wait for that to end".to_owned(),
        ));
    }
    let done = async {
        sql.command("SET statement_timeout = 0").await?;
        for Migration { name, ahead, .. } in coming {
            for step in *ahead {
                sql.command(step)
                    .await
                    .map_err(|error| failed_with(&format!("the migration {name} cannot be begun"), error))?;
            }
        }
        Ok(())
    };
    let done = done.await;
    sql.execute(UNLOCK_AHEAD, &[]).await?;
    done
}

async fn apply(sql: &Session) -> Result<Vec<String>> {
    sql.execute(LOCK, &[]).await?;
    // A table may be larger than what a statement may take otherwise.
    sql.command("SET LOCAL statement_timeout = 0").await?;
    let before = applied(sql).await?.len();
    if before == 0 {
        let table = "CREATE TABLE migration (number BIGINT PRIMARY KEY, name TEXT NOT NULL, length BIGINT NOT NULL, checksum BIGINT NOT NULL)";
        sql.command(table).await.map_err(|error| failed_with("the schema cannot be made", error))?;
    }
    let mut names = Vec::new();
    for (n, Migration { name, text, needs, ahead }) in MIGRATIONS.iter().enumerate().skip(before) {
        // Tables that were made just now are empty: nobody waits.
        let steps = ahead.iter().filter(|_| before == 0).map(|step| step.replace(" CONCURRENTLY", ""));
        for step in steps.chain([(*text).to_owned()]) {
            sql.command(&step)
                .await
                .map_err(|error| failed_with(&format!("the migration {name} cannot be applied"), error))?;
        }
        sql.execute(
            "INSERT INTO migration (number, name, length, checksum) VALUES ($1, $2, $3, $4)",
            &[&(n as i64 + 1), name, &(text.len() as i64), &(fnv1a(text.as_bytes()) as i64)],
        )
        .await?;
        sql.execute(
            "INSERT INTO setting (name, value) VALUES ('needs', $1) ON CONFLICT (name) DO UPDATE SET value = $1",
            &[&needs.to_string()],
        )
        .await?;
        names.push((*name).to_owned());
    }
    Ok(names)
}
