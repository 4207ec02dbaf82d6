//! `tidings doctor`: looks at everything that can be looked at from outside, and says for each thing that is wrong
//! what to do. It changes nothing but the counters of the store.

use crate::backup;
use crate::config::connection::Secrets;
use crate::directory;
use crate::duration;
use crate::health::{self, Health};
use crate::home::Home;
use crate::operator::{Operator, Place};
use crate::output::{Output, Tone, numbered, size};
use crate::serve::FILES_WANTED;
use crate::suppression;
use rustix::process::{Resource, getrlimit};
use serde::Serialize;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use tidings_domain::spend::Period;
use tidings_engine::disk;
use tidings_store::postgres::{self, Postgres};
use tidings_store::sqlite::{FILE_NAME, Sqlite};
use tidings_store::{Node, Room};

/// Free space below which something is wrong: octets.
const FREE_WRONG: u64 = 512 * 1024 * 1024;
/// Free space below which somebody should look: octets.
const FREE_DOUBTFUL: u64 = 4 * FREE_WRONG;
/// A message that has been due for so long should have gone out: ms.
const QUEUE_AGE_MS: i64 = 10 * 60 * 1000;
/// The same for webhooks: the second try comes after five minutes.
const WEBHOOK_AGE_MS: i64 = 15 * 60 * 1000;
/// So much of a limit is spent, in percent, and somebody should look.
const SPENT_PERCENT: u64 = 80;
/// The clock was last known to be later than this: the day these lines were written.
const CLOCK_FLOOR_MS: i64 = 1_795_000_000_000;
/// And it stays below this: ids end in 2093.
const CLOCK_CEILING_MS: i64 = 3_880_000_000_000;

/// How a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Finding {
    Well,
    Doubtful,
    Wrong,
}

/// One line.
#[derive(Debug, Serialize)]
struct Line {
    part: &'static str,
    finding: Finding,
    sentence: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cure: Option<String>,
}

#[derive(Debug, Default)]
struct Report(Vec<Line>);

impl Report {
    fn well(&mut self, part: &'static str, sentence: impl Into<String>) {
        self.0.push(Line { part, finding: Finding::Well, sentence: sentence.into(), cure: None });
    }

    fn doubtful(&mut self, part: &'static str, sentence: impl Into<String>, cure: impl Into<String>) {
        self.0.push(Line {
            part,
            finding: Finding::Doubtful,
            sentence: sentence.into(),
            cure: Some(cure.into()),
        });
    }

    fn wrong(&mut self, part: &'static str, sentence: impl Into<String>, cure: impl Into<String>) {
        self.0.push(Line {
            part,
            finding: Finding::Wrong,
            sentence: sentence.into(),
            cure: Some(cure.into()),
        });
    }
}

/// Looks, and says what it saw. `false` if something is wrong.
///
/// # Errors
/// Nothing could be shown.
pub async fn run(place: &Place, output: Output) -> anyhow::Result<bool> {
    let mut report = Report::default();
    configuration(&mut report, place);
    machine(&mut report);
    match place.home() {
        Err(why) => report.wrong("data", why.to_string(), "name the data directory with --data"),
        Ok(home) => {
            let migrate = place.migrate(&home);
            let said = ask_server(&mut report, place, &home).await;
            let (opens, cure) = match &home {
                Home::Directory(at) => {
                    data_directory(&mut report, at, &migrate, said.as_ref());
                    let whole = database_file(&mut report, &at.join(FILE_NAME), &migrate);
                    (whole, "restore a backup if the file is damaged")
                }
                Home::Database(options) => {
                    (database_server(&mut report, &home, options, &migrate).await, "look at the server's log")
                }
            };
            if opens {
                match Operator::open_home(home, Arc::default()).await {
                    Ok(operator) => store(&mut report, operator, place, said.as_ref()).await,
                    Err(why) => report.wrong("store", format!("{why:#}"), cure),
                }
            }
        }
    }
    let well = report.0.iter().all(|line| line.finding != Finding::Wrong);
    output.show(&serde_json::json!({ "well": well, "lines": report.0 }), || {
        let mut text = String::new();
        for line in &report.0 {
            let mark = match line.finding {
                Finding::Well => output.tone(Tone::Good, "ok   "),
                Finding::Doubtful => output.tone(Tone::Doubtful, "look "),
                Finding::Wrong => output.tone(Tone::Bad, "WRONG"),
            };
            let _ = writeln!(text, "{mark}  {:<13}  {}", line.part, line.sentence);
            if let Some(cure) = &line.cure {
                let _ = writeln!(text, "                      → {cure}");
            }
        }
        text
    })?;
    Ok(well)
}

fn configuration(report: &mut Report, place: &Place) {
    let Some(file) = place.file() else {
        return report.well("configuration", "there is none: the defaults count");
    };
    let whole = place.configuration(Secrets::Fetched);
    match &whole {
        Ok(_) => report.well("configuration", format!("{} is right", file.display())),
        Err(why) => {
            for line in format!("{why:#}").lines() {
                report.wrong("configuration", line, "correct it; `tidings config check` looks again");
            }
        }
    }
    // A secret that is missing here says nothing about the rest.
    match whole.or_else(|_| place.configuration(Secrets::Left)) {
        Err(_) => {}
        Ok(config) => {
            if let Err(why) = crate::serve::codes(&config) {
                report.wrong("failures", format!("{why:#}"), "correct the table");
            }
            for warning in config.warnings() {
                let (sentence, cure) = warning.split_once(": ").unwrap_or((&warning, "think about it"));
                report.doubtful("settings", sentence, cure);
            }
        }
    }
}

fn machine(report: &mut Report) {
    let now = crate::operator::clock_of_command().now();
    if (CLOCK_FLOOR_MS..CLOCK_CEILING_MS).contains(&now.as_millis()) {
        report.well("clock", format!("{now}"));
    } else {
        report.wrong("clock", format!("it shows {now}"), "set the clock, and keep it right with NTP");
    }
    match getrlimit(Resource::Nofile).maximum {
        Some(limit) if limit < FILES_WANTED => report.doubtful(
            "open files",
            format!("at most {limit} may be open, {FILES_WANTED} are wanted"),
            "raise LimitNOFILE in the unit, or the hard limit of `ulimit -n`",
        ),
        Some(limit) => report.well("open files", format!("up to {limit}")),
        None => report.well("open files", "without limit"),
    }
}

/// What the process says of itself that serves this store here, and all that is wrong by its word but what is looked at below.
async fn ask_server(report: &mut Report, place: &Place, home: &Home) -> Option<Health> {
    let health = match health::of(home, place).await? {
        Ok(health) => health,
        Err(why) => {
            report.wrong("server", why, "look at its log: it runs, and cannot be asked how it is");
            return None;
        }
    };
    for part in health.troubles() {
        let (name, cure) = match part.name.as_str() {
            "store" => ("store", "look at the log of the server"),
            "journal" => ("journal", "see that its directory can be written (path in [journal])"),
            "node" => ("nodes", "see that it reaches the database; `tidings nodes`"),
            _ => continue,
        };
        report.wrong(name, part.detail.clone(), cure);
    }
    Some(health)
}

fn data_directory(report: &mut Report, at: &Path, migrate: &str, said: Option<&Health>) {
    use std::os::unix::fs::PermissionsExt as _;
    let Ok(about) = std::fs::metadata(at) else {
        return report.wrong(
            "data",
            format!("there is no {}", at.display()),
            format!("make it with `{migrate}`, or name another one with --data"),
        );
    };
    match rustix::fs::access(at, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK) {
        Ok(()) => report.well("data", format!("{} can be written", at.display())),
        Err(_) => report.wrong(
            "data",
            format!("{} cannot be written by this user", at.display()),
            "run as the user that serves it, or give this user access",
        ),
    }
    let mode = about.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        report.doubtful(
            "data",
            format!("others may look into it (mode {mode:o})"),
            format!("chmod 700 {}", at.display()),
        );
    }
    if let Ok(room) = rustix::fs::statvfs(at) {
        let (free, whole) =
            (room.f_bavail.saturating_mul(room.f_frsize), room.f_blocks.saturating_mul(room.f_frsize));
        let by_server = said.and_then(|health| health.trouble("disk")).map(|part| part.detail.clone());
        let alarm = by_server.or_else(|| disk::alarm(Room { free, size: whole, full: false }));
        let sentence = format!("{} free", size(free));
        match alarm {
            alarm if free < FREE_WRONG => {
                report.wrong("disk", alarm.unwrap_or(sentence), "make room: without it nothing is accepted")
            }
            Some(alarm) => report.doubtful("disk", alarm, "make room soon, or shorten [retention]"),
            None if free < FREE_DOUBTFUL => {
                report.doubtful("disk", sentence, "make room soon, or shorten [retention]")
            }
            None => report.well("disk", sentence),
        }
    }
    #[cfg(target_os = "linux")]
    if let Ok(about) = rustix::fs::statfs(at) {
        // Magic numbers of statfs(2): NFS, SMB, CIFS, SMB2, FUSE, 9P, Ceph, AFS.
        const REMOTE: [(u64, &str); 8] = [
            (0x6969, "NFS"),
            (0x517B, "SMB"),
            (0xFF53_4D42, "CIFS"),
            (0xFE53_4D42, "SMB2"),
            (0x6573_5546, "FUSE"),
            (0x0102_1997, "9P"),
            (0x00C3_6400, "Ceph"),
            (0x5346_414F, "AFS"),
        ];
        match REMOTE.iter().find(|(magic, _)| *magic == about.f_type as u64 & 0xFFFF_FFFF) {
            Some((_, name)) => report.wrong(
                "file system",
                format!("{} is on {name}", at.display()),
                "move it to a local disk: SQLite's locks and syncs cannot be trusted here",
            ),
            None => report.well("file system", "local"),
        }
    }
    match directory::holder(at) {
        Some(number) => report.well("server", format!("process {number} serves it")),
        None => report.doubtful("server", "no process serves it", "start `tidings serve`, if it should run"),
    }
}

async fn database_server(
    report: &mut Report,
    home: &Home,
    options: &postgres::Options,
    migrate: &str,
) -> bool {
    let about = match Postgres::look(options).await {
        Ok(about) => about,
        Err(why) => {
            report.wrong(
                "store",
                format!("{home} cannot be used: {why}"),
                "see that it runs, and that [data] names it",
            );
            return false;
        }
    };
    report.well("store", format!("PostgreSQL {}, {home}", about.version));
    if !about.is_current {
        report.wrong(
            "schema",
            format!("{}, which is not all", migrations(about.migrations.len())),
            format!("run `{migrate}`"),
        );
        return false;
    }
    let last = about.migrations.last().map_or("none", String::as_str);
    report.well("schema", format!("{}, the last is {last}", migrations(about.migrations.len())));
    if about.is_served {
        report.well("server", "a process serves it");
    } else {
        report.doubtful("server", "no process serves it", "start `tidings serve`, if it should run");
    }
    true
}

fn database_file(report: &mut Report, file: &Path, migrate: &str) -> bool {
    if !file.exists() {
        report.wrong(
            "store",
            format!("there is no {}", file.display()),
            format!("start `tidings serve`, or make it with `{migrate}`"),
        );
        return false;
    }
    match backup::check(file) {
        Ok(()) => report.well("store", format!("SQLite {}, undamaged", Sqlite::version())),
        Err(why) => {
            report.wrong(
                "store",
                format!("it is damaged: {why:#}"),
                "stop the server, keep the files, and restore the newest backup",
            );
            return false;
        }
    }
    match Sqlite::migrations(file) {
        Ok(names) => report.well(
            "schema",
            format!(
                "{}, the last is {}",
                migrations(names.len()),
                names.last().map_or("none", String::as_str)
            ),
        ),
        Err(why) => report.wrong("schema", why, format!("run `{migrate}`")),
    }
    true
}

fn migrations(count: usize) -> String {
    numbered(count, "migration", "migrations")
}

/// Whether somebody does each part of the work, where several nodes may share it.
fn roles(report: &mut Report, nodes: &[Node]) {
    let alive: Vec<&Node> = nodes.iter().filter(|node| node.lease_left_ms > 0).collect();
    if nodes.is_empty() {
        return;
    }
    let missing = [
        ("api", "answers programs", alive.iter().any(|node| node.roles.api)),
        ("send", "sends", alive.iter().any(|node| node.roles.send)),
        ("webhook", "calls webhooks", alive.iter().any(|node| node.roles.webhook)),
    ];
    for (role, what, _) in missing.iter().filter(|(.., there)| !there) {
        report.wrong(
            "nodes",
            format!("no node that is alive {what}"),
            format!("start one with the role {role}; `tidings nodes` shows who does what"),
        );
    }
    if missing.iter().all(|(.., there)| *there) {
        report.well("nodes", format!("{} alive", alive.len()));
    }
}

fn wait(count: u64) -> String {
    numbered(count, "waits", "wait")
}

/// How much each account spent, where that is limited.
async fn spending(operator: &Operator, place: &Place) -> anyhow::Result<Vec<(u64, String)>> {
    let policy = place.configuration(Secrets::Left)?.gate_policy().spend;
    if !policy.is_any() {
        return Ok(Vec::new());
    }
    let accounts = operator.store.accounts().await?;
    let ids = accounts.iter().map(|account| account.id).collect();
    let spent = operator.store.spent(ids, operator.now()).await?;
    let mut lines = Vec::new();
    for (account, spent) in accounts.iter().zip(spent) {
        for period in Period::ALL {
            if let Some(limit) = policy.limits.of(period) {
                let (spent, word) = (spent.of(period), period.as_str());
                let percent = spent.percent_of(limit);
                let name = &account.name;
                lines.push((percent, format!("{name} spent {spent} of {limit} this {word} ({percent} %)")));
            }
        }
    }
    Ok(lines)
}

/// What the configuration has made of entries of the suppression list that are about one programme.
async fn lost_programmes(operator: &Operator, place: &Place) -> anyhow::Result<Vec<(String, String)>> {
    // Where it cannot be read, that was said.
    let Ok(config) = place.configuration(Secrets::Left) else { return Ok(Vec::new()) };
    suppression::of_lost_programmes(&*operator.store, &config.programmes(), operator.now()).await
}

async fn store(report: &mut Report, operator: Operator, place: &Place, said: Option<&Health>) {
    let looked = async {
        let now = operator.now();
        let numbers = operator.store.statistics(now).await?;
        let connections = crate::carrier::connections(&operator, place).await?;
        let gone = crate::carrier::stranded(&operator, &connections, &numbers.queues).await?;
        let hold = operator.store.hold().await?;
        let nodes = operator.store.nodes().await?;
        let spending = spending(&operator, place).await?;
        let lost = lost_programmes(&operator, place).await?;
        anyhow::Ok((now, numbers, connections, gone, hold, nodes, spending, lost))
    };
    let (now, numbers, connections, gone, hold, nodes, spending, lost) = match looked.await {
        Ok(looked) => looked,
        Err(why) => return report.wrong("store", format!("{why:#}"), "look at the log of the server"),
    };
    report.well("size", size(numbers.size));
    roles(report, &nodes);
    if let Some(why) = hold {
        report.wrong(
            "hold",
            format!("nothing is sent: {why}"),
            "look what was sent, then `tidings hold release`",
        );
    }
    for (sentence, cure) in lost {
        report.doubtful("programmes", sentence, cure);
    }
    for (percent, sentence) in spending {
        if percent < SPENT_PERCENT {
            report.well("spend", sentence);
        } else {
            report.doubtful("spend", sentence, "raise the limit in [spend], or look who sends so much");
        }
    }
    for (connection, kind) in &connections {
        let mine = || numbers.queues.iter().filter(|(id, ..)| *id == connection.id);
        let waiting: u64 = mine().map(|(_, _, count, _)| count).sum();
        let age_ms = mine().filter_map(|(.., oldest)| *oldest).map(|at| now.since_ms(at)).max().unwrap_or(0);
        let name = format!("{} ({kind}, {})", connection.name, connection.environment.as_str());
        if let Some(why) = &connection.paused {
            report.wrong(
                "connection",
                format!("{name} is paused: {why}; {}", wait(waiting)),
                format!("cure the reason, then `tidings carrier resume {}`", connection.name),
            );
        } else if let Some(part) =
            said.and_then(|health| health.trouble(&format!("connection {}", connection.name)))
        {
            report.wrong(
                "connection",
                format!("{name} is not up: {}; {}", part.detail, wait(waiting)),
                "see that the carrier answers at its address and knows the account; the log has each try",
            );
        } else if age_ms > QUEUE_AGE_MS {
            report.wrong(
                "connection",
                format!("{name}: {}, the oldest has been due for {}", wait(waiting), duration::age(age_ms)),
                "look at GET /v1/connections: the link may be down, or its pace too low",
            );
        } else {
            report.well("connection", format!("{name}: {}", wait(waiting)));
        }
    }
    for (connection, _) in &gone {
        let mine = numbers.queues.iter().filter(|(id, ..)| *id == connection.id);
        let waiting: u64 = mine.map(|(_, _, count, _)| count).sum();
        let (name, environment) = (&connection.name, connection.environment.as_str());
        let what = match waiting {
            0 => "scheduled messages wait".to_owned(),
            _ => numbered(waiting, "message waits", "messages wait"),
        };
        report.wrong(
            "connection",
            format!("{name} ({environment}) is not configured, and {what} for it"),
            format!("write it again under this name, or `tidings carrier move {name} OTHER`; else they end when they expire"),
        );
    }
    let (open, oldest) = numbers.deliveries;
    let calls = numbered(open, "call waits", "calls wait");
    match oldest.map(|at| now.since_ms(at)).filter(|age_ms| *age_ms > WEBHOOK_AGE_MS) {
        Some(age_ms) => report.doubtful(
            "webhooks",
            format!("{calls}, the oldest has been due for {}", duration::age(age_ms)),
            "see whether the server runs, and `tidings webhook list`",
        ),
        None => report.well("webhooks", calls),
    }
    if numbers.reviews > 0 {
        report.doubtful(
            "review",
            format!("{} for a decision", numbered(numbers.reviews, "failure waits", "failures wait")),
            "`tidings review list`",
        );
    }
    if numbers.parked > 0 {
        report.doubtful(
            "receipts",
            format!("{} to no message that is known", numbered(numbers.parked, "belongs", "belong")),
            "if they stay, set receipt_id of the connection to what the carrier writes, or the same carrier for connections that get each other’s receipts",
        );
    }
    if let Err(why) = operator.close().await {
        report.wrong("store", format!("{why:#}"), "look at the disk");
    }
}
