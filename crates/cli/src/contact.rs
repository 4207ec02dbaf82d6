//! `tidings contact`: who people are, and tables of them in and out.
//!
//! An import is read here, in this process, and goes into the store beside whoever serves it. It is taken over here too, but
//! where a server has the same file.

use crate::directory;
use crate::home::Home;
use crate::import::{Bar, STEP, country, ensure_any, found};
use crate::operator::{Operator, Place, Whose};
use crate::output::{Output, Sink, Table, numbered, when, write};
use crate::segment;
use crate::template;
use anyhow::{Context, anyhow, bail};
use clap::{Args, Subcommand};
use std::fmt::Write as _;
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tidings_domain::account::Realm;
use tidings_domain::address::{Country, PhoneNumber};
use tidings_domain::contact::{
    self, Change, Contact, Details, FieldName, Group, Language, NUMBERS_MAX, Type, Value, ZoneName,
};
use tidings_domain::id::{ContactId, ImportId};
use tidings_domain::import::{self, Contacts, Decision, Import, State};
use tidings_domain::table::Options;
use tidings_domain::template::Costs;
use tidings_domain::text::display;
use tidings_engine::contact::{Export, Form};
use tidings_engine::import::{Refusals, Upload, rest};
use tidings_store::{ContactFilter, Page, Saved};
use tidings_wire::{contact as shown, import as shown_import};

/// How often it is looked how far a server is.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What to do with contacts.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List contacts, newest first
    List {
        /// Only who is in this group
        #[arg(long, value_parser = group)]
        group: Option<Group>,
        /// Show whole phone numbers
        #[arg(long)]
        full: bool,
        /// How many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        #[command(flatten)]
        whose: Whose,
    },
    /// Show a contact
    Show {
        /// The phone number, with +, or the id
        who: String,
        #[command(flatten)]
        whose: Whose,
    },
    /// Add a contact
    Add {
        /// The phone numbers, with +; the usual one first
        #[arg(required = true)]
        numbers: Vec<String>,
        #[command(flatten)]
        what: What,
        #[command(flatten)]
        whose: Whose,
    },
    /// Change a contact: what is not named stays
    Change {
        /// The phone number, with +, or the id
        who: String,
        #[command(flatten)]
        what: What,
        #[command(flatten)]
        whose: Whose,
    },
    /// Delete a contact; consent and suppressions of its numbers stay
    Delete {
        /// The phone number, with +, or the id
        who: String,
        #[command(flatten)]
        whose: Whose,
    },
    /// List groups, with how many contacts are in them
    Groups {
        #[command(flatten)]
        whose: Whose,
    },
    /// Read a table (CSV) of contacts and say what is in it; take it over if you then say so
    Import {
        /// The file
        file: PathBuf,
        /// Take it over without asking
        #[arg(long)]
        commit: bool,
        /// The heading of the column with the phone numbers; found by usual names if not given
        #[arg(long, value_name = "HEADING")]
        number_column: Option<String>,
        /// Where numbers without a country code are from: two letters of ISO 3166
        #[arg(long, value_name = "COUNTRY", value_parser = country)]
        country: Option<Country>,
        /// A group that every row is in, besides those of its own
        #[arg(long, value_parser = group)]
        group: Option<Group>,
        /// Also say what messages of this template to the rows would cost, by its name or id
        #[arg(long, value_name = "NAME")]
        template: Option<String>,
        #[command(flatten)]
        whose: Whose,
    },
    /// List imports, newest first
    Imports {
        #[command(flatten)]
        whose: Whose,
    },
    /// Take an import over that was read
    Commit {
        /// Its id
        import: ImportId,
        #[command(flatten)]
        whose: Whose,
    },
    /// Forget an import that was read
    Discard {
        /// Its id
        import: ImportId,
        #[command(flatten)]
        whose: Whose,
    },
    /// Write the rows of an import that are not taken over as a table (CSV), with why
    Refused {
        /// Its id
        import: ImportId,
        /// Into this new file instead of standard output (-)
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
        #[command(flatten)]
        whose: Whose,
    },
    /// Write contacts as one table; leaves a line in the audit trail
    Export {
        /// csv or ndjson
        #[arg(long, default_value = "csv", value_parser = form)]
        format: Form,
        /// Only who is in this group
        #[arg(long, value_parser = group)]
        group: Option<Group>,
        /// Only whom this segment finds, by its name or id
        #[arg(long)]
        segment: Option<String>,
        /// Into this new file instead of standard output (-)
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
        #[command(flatten)]
        whose: Whose,
    },
}

/// What is known of a person.
#[derive(Debug, Args)]
pub struct What {
    /// The name
    #[arg(long)]
    name: Option<String>,
    /// The language, such as en-GB
    #[arg(long, value_parser = language)]
    language: Option<Language>,
    /// The time zone, such as Europe/Stockholm
    #[arg(long, value_name = "ZONE", value_parser = zone)]
    time_zone: Option<ZoneName>,
    /// Who of yours looks after the person
    #[arg(long)]
    owner: Option<String>,
    /// A group that it is in (more than once for several)
    #[arg(long = "group", value_parser = group)]
    groups: Vec<Group>,
    /// A field of your own: plan=pro, visits:number=3, born:date=1990-01-31 or vip:yes_no=yes (more than once for several)
    #[arg(long = "field", value_name = "FIELD", value_parser = field)]
    fields: Vec<(FieldName, Value)>,
}

fn group(text: &str) -> Result<Group, String> {
    Group::parse(text).map_err(|why| why.to_string())
}

fn language(text: &str) -> Result<Language, String> {
    Language::parse(text).map_err(|why| why.to_string())
}

fn zone(text: &str) -> Result<ZoneName, String> {
    ZoneName::parse(text).map_err(|why| why.to_string())
}

fn form(text: &str) -> Result<Form, String> {
    Form::parse(text).ok_or_else(|| "write csv or ndjson".to_owned())
}

fn field(text: &str) -> Result<(FieldName, Value), String> {
    let (name, value) = text.split_once('=').ok_or("write it as plan=pro")?;
    let (name, wanted) = match name.split_once(':') {
        None => (name, Type::Text),
        Some((name, word)) => (name, Type::parse(word).ok_or("the type is text, number, date or yes_no")?),
    };
    let name = FieldName::parse(name).map_err(|why| why.to_string())?;
    Ok((name, Value::parse(value, wanted).map_err(|why| why.to_string())?))
}

impl What {
    fn line(text: Option<&str>, most: usize) -> anyhow::Result<Option<String>> {
        text.map(|text| contact::line(text, most)).transpose().map_err(|why| anyhow!("{why}"))
    }

    fn details(self) -> anyhow::Result<Details> {
        Ok(Details {
            name: Self::line(self.name.as_deref(), contact::NAME_MAX)?,
            language: self.language,
            zone: self.time_zone,
            owner: Self::line(self.owner.as_deref(), contact::OWNER_MAX)?,
            groups: self.groups.into_iter().collect(),
            fields: self.fields.into_iter().collect(),
        })
    }

    /// Groups that are named replace those that there were.
    fn change(self) -> anyhow::Result<Change> {
        let Details { name, language, zone, owner, groups, fields } = self.details()?;
        Ok(Change {
            numbers: None,
            name: name.map(Some),
            language: language.map(Some),
            zone: zone.map(Some),
            owner: owner.map(Some),
            groups: (!groups.is_empty()).then_some(groups),
            fields: fields.into_iter().map(|(name, value)| (name, Some(value))).collect(),
        })
    }
}

/// Contacts as JSON, with masked numbers if they are not wanted in full.
///
/// # Errors
/// They cannot be written.
pub fn listed(contacts: &[Contact], full: bool) -> anyhow::Result<serde_json::Value> {
    let mut value = serde_json::to_value(contacts.iter().map(shown::shown).collect::<Vec<_>>())?;
    if !full {
        for (one, contact) in value.as_array_mut().into_iter().flatten().zip(contacts) {
            let masked = contact.numbers.iter().map(|number| number.masked().to_string());
            one["numbers"] = masked.collect::<Vec<_>>().into();
        }
    }
    Ok(value)
}

/// The same for people; with this sentence if there is none.
pub fn table(contacts: &[Contact], full: bool, output: Output, none: &str) -> String {
    let mut table = Table::new(&["ID", "NUMBER", "NAME", "GROUPS", "OWNER", "CHANGED"]);
    for one in contacts {
        let number = one.numbers.first().map(|number| match full {
            true => number.to_string(),
            false => number.masked().to_string(),
        });
        let groups: Vec<&str> = one.details.groups.iter().map(Group::as_str).collect();
        table.row([
            one.id.to_string(),
            number.unwrap_or_default(),
            display(one.details.name.as_deref().unwrap_or_default()).into_owned(),
            display(&groups.join("; ")).into_owned(),
            display(one.details.owner.as_deref().unwrap_or_default()).into_owned(),
            when(Some(one.updated_at)),
        ]);
    }
    table.print(output, none)
}

/// Does it.
///
/// # Errors
/// A sentence that says why not.
pub async fn run(command: Command, place: &Place, output: Output) -> anyhow::Result<()> {
    let operator = Operator::open(place).await?;
    match command {
        Command::List { group, full, limit, whose } => {
            let realm = operator.realm(&whose).await?;
            let filter = ContactFilter { number: None, group };
            let page = Page { before: None, limit: usize::from(limit) };
            let list = operator.store.contacts(realm, filter, page).await?.items;
            output.show(&listed(&list, full)?, || table(&list, full, output, "There is no contact."))?;
        }
        Command::Show { who, whose } => {
            let realm = operator.realm(&whose).await?;
            let contact = find(&operator, realm, &who).await?;
            let shown = shown::shown(&contact);
            output
                .show(&shown, || serde_json::to_string_pretty(&shown).expect("texts and numbers are JSON"))?;
        }
        Command::Add { numbers, what, whose } => {
            let realm = operator.realm(&whose).await?;
            let mut read: Vec<PhoneNumber> = Vec::new();
            for text in &numbers {
                let number = crate::message::number(text, whose.environment)?;
                if !read.contains(&number) {
                    read.push(number);
                }
            }
            if read.len() > NUMBERS_MAX {
                bail!("a contact has at most {NUMBERS_MAX} numbers");
            }
            let now = operator.now();
            let contact = Contact {
                id: ContactId::from_key(operator.clock.id()),
                realm,
                numbers: read,
                details: what.details()?,
                created_at: now,
                updated_at: now,
            };
            let contact =
                saved(operator.store.create_contact(contact, operator.actor(realm.account)).await?)?;
            output.show(&shown::shown(&contact), || format!("{} is added.", contact.id))?;
        }
        Command::Change { who, what, whose } => {
            let realm = operator.realm(&whose).await?;
            let id = find(&operator, realm, &who).await?.id;
            let (actor, now) = (operator.actor(realm.account), operator.now());
            let changed = operator.store.change_contact(realm, id, what.change()?, actor, now).await?;
            let contact = saved(changed.ok_or_else(|| anyhow!("there is no such contact any more"))?)?;
            output.show(&shown::shown(&contact), || format!("{} is changed.", contact.id))?;
        }
        Command::Delete { who, whose } => {
            let realm = operator.realm(&whose).await?;
            let id = find(&operator, realm, &who).await?.id;
            let (actor, now) = (operator.actor(realm.account), operator.now());
            operator.store.delete_contact(realm, id, actor, now).await?;
            output.show(&serde_json::json!({ "deleted": id.to_string() }), || format!("{id} is deleted."))?;
        }
        Command::Groups { whose } => {
            let realm = operator.realm(&whose).await?;
            let groups = operator.store.groups(realm).await?;
            let all = groups.iter().map(|(group, contacts)| shown::ContactGroup {
                name: group.to_string(),
                contacts: *contacts,
            });
            output.show(&all.collect::<Vec<_>>(), || {
                let mut table = Table::new(&["GROUP", "CONTACTS"]);
                for (group, contacts) in &groups {
                    table.row([display(group.as_str()).into_owned(), contacts.to_string()]);
                }
                table.print(output, "Nobody is in a group.")
            })?;
        }
        Command::Import { file, commit, number_column, country, group, template, whose } => {
            let realm = operator.realm(&whose).await?;
            let options = Options { environment: whose.environment, default_country: country, number_column };
            let template = match template {
                Some(name) => Some(Arc::new(template::find(&operator, realm, &name, None).await?)),
                None => None,
            };
            let subject = (options, Contacts::in_groups(group).costed_by(template));
            let import = read(&operator, realm, &file, subject, output).await?;
            if !output.json() {
                write(report(&import).as_bytes())?;
            }
            if import.report.accepted() == 0 {
                output.show(&shown_import::shown(&import), || match import.report.rows {
                    0 => "The table has no rows.".to_owned(),
                    _ => format!("See what is refused with `tidings contact refused {}`.", import.id),
                })?;
                return ensure_any(&file, &import.report);
            }
            if commit || (!output.json() && agreed()) {
                let done = take_over(&operator, realm, import.id, output).await?;
                output.show(&shown_import::shown(&done), || progress(&done))?;
                ensure_taken(&done)?;
            } else {
                output.show(&shown_import::shown(&import), || {
                    format!(
                        "Nothing is taken over yet. Do it within a week with `tidings contact commit {0}`; see what is refused with `tidings contact refused {0}`.",
                        import.id
                    )
                })?;
            }
        }
        Command::Imports { whose } => {
            let realm = operator.realm(&whose).await?;
            let list = operator.store.imports(realm, Page { before: None, limit: 100 }).await?.items;
            output.show(&list.iter().map(shown_import::shown).collect::<Vec<_>>(), || {
                let mut table = Table::new(&["ID", "BEGAN", "FILE", "STATE", "ROWS", "ACCEPTED", "DONE"]);
                for one in &list {
                    table.row([
                        one.id.to_string(),
                        when(Some(one.created_at)),
                        display(&one.name).into_owned(),
                        one.state.as_str().to_owned(),
                        one.report.rows.to_string(),
                        one.report.accepted().to_string(),
                        one.progress.rows().to_string(),
                    ]);
                }
                table.print(output, "Nothing was imported.")
            })?;
        }
        Command::Commit { import, whose } => {
            let realm = operator.realm(&whose).await?;
            let done = take_over(&operator, realm, import, output).await?;
            output.show(&shown_import::shown(&done), || progress(&done))?;
            ensure_taken(&done)?;
        }
        Command::Discard { import, whose } => {
            let realm = operator.realm(&whose).await?;
            let (actor, now) = (operator.actor(realm.account), operator.now());
            let decided = operator.store.decide_import(realm, import, Decision::Discard, actor, now).await?;
            let decided = decided.ok_or_else(|| anyhow!("there is no import {import}"))?;
            if !decided.state.is_decided(Decision::Discard) {
                bail!("{import} is {} already", decided.state.as_str());
            }
            output.show(&shown_import::shown(&decided), || format!("{import} is forgotten."))?;
        }
        Command::Refused { import, to, whose } => {
            let realm = operator.realm(&whose).await?;
            let found = operator.store.import(realm, import).await?;
            let mut rows = Refusals::of(&found.ok_or_else(|| anyhow!("there is no import {import}"))?);
            let mut sink = Sink::open(to.as_deref())?;
            while let Some(text) = rows.next(&*operator.store).await? {
                sink.write(text.as_bytes())?;
            }
            sink.finish()?;
        }
        Command::Export { format, group, segment, to, whose } => {
            let realm = operator.realm(&whose).await?;
            let segment = match segment {
                Some(name) => Some(segment::find(&operator, realm, &name).await?),
                None => None,
            };
            if let Some(segment) = &segment {
                segment::ready(&operator, realm, &segment.query).await?;
            }
            let mut sink = Sink::open(to.as_deref())?;
            let (actor, now) = (operator.actor(realm.account), operator.now());
            let mut export =
                Export::begin(&*operator.store, actor, realm, (group, segment), format, now).await?;
            while let Some(text) = export.next(&*operator.store).await? {
                sink.write(text.as_bytes())?;
            }
            sink.finish()?;
        }
    }
    operator.close().await
}

async fn find(operator: &Operator, realm: Realm, who: &str) -> anyhow::Result<Contact> {
    let found = match who.parse::<ContactId>() {
        Ok(id) => operator.store.contact(realm, id).await?,
        Err(_) => {
            let number = crate::message::number(who, realm.environment)?;
            let filter = ContactFilter { number: Some(number), group: None };
            operator.store.contacts(realm, filter, Page { before: None, limit: 1 }).await?.items.pop()
        }
    };
    found.ok_or_else(|| anyhow!("there is no contact {who} in {}", realm.environment.as_str()))
}

fn saved(saved: Saved) -> anyhow::Result<Contact> {
    match saved {
        Saved::Done(contact) => Ok(*contact),
        Saved::Taken(number, whose) => bail!("{number} is a number of the contact {whose}"),
        Saved::TooMuch(excess) => bail!("{}", shown::excess(excess).detail),
    }
}

// ── imports ─────────────────────────────────────────────────────────────────────────────────────────────────

/// Reads a file into an import.
async fn read(
    operator: &Operator,
    realm: Realm,
    path: &Path,
    subject: (Options, Contacts),
    output: Output,
) -> anyhow::Result<Import> {
    let mut file = std::fs::File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let size = file.metadata().map_or(0, |about| about.len());
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let name = contact::line(&name, import::NAME_MAX).unwrap_or_else(|_| "contacts.csv".to_owned());
    let who = (name, "operator".to_owned());
    let clock = &operator.clock;
    let mut upload = Upload::begin(Arc::clone(&operator.store), clock, realm, who, subject).await?;
    let (mut octets, mut done) = (vec![0; STEP], 0);
    let mut bar = Bar::new("reading", output);
    loop {
        match file.read(&mut octets) {
            Ok(0) => break,
            Ok(read) => {
                upload.feed(clock, &octets[..read]).await?;
                done += read as u64;
                bar.at(done, size, upload.rows());
            }
            Err(error) => {
                upload.break_off(clock).await?;
                return Err(anyhow!(error).context(format!("{} cannot be read", path.display())));
            }
        }
    }
    let import = upload.finish(clock).await?;
    bar.end();
    Ok(import)
}

/// Takes an import over. Beside a server on the same file it is the server that does it, between all else that it writes: two
/// processes that write without a pause would keep each other out.
async fn take_over(
    operator: &Operator,
    realm: Realm,
    id: ImportId,
    output: Output,
) -> anyhow::Result<Import> {
    let (actor, now) = (operator.actor(realm.account), operator.now());
    let decided = operator.store.decide_import(realm, id, Decision::Commit, actor, now).await?;
    let mut import = decided.ok_or_else(|| anyhow!("there is no import {id}"))?;
    if !import.state.is_decided(Decision::Commit) {
        bail!("{id} is {} and cannot be taken over: read the file again", import.state.as_str());
    }
    let mut bar = Bar::new("taking over", output);
    let mut took_ms = 0;
    while import.state == State::Committing {
        let is_served = matches!(&operator.home, Home::Directory(path) if directory::holder(path).is_some());
        let next = if is_served {
            tokio::time::sleep(LOOK_EVERY).await;
            operator.store.import(realm, id).await?
        } else {
            tokio::time::sleep(rest(took_ms)).await;
            let took = operator.clock.stopwatch();
            let applied = operator.store.apply_import(id, operator.now()).await?;
            took_ms = took.elapsed_ms();
            applied
        };
        import = next.ok_or_else(|| anyhow!("there is no import {id} any more"))?;
        bar.at(import.progress.rows(), import.report.accepted(), import.progress.rows());
    }
    bar.end();
    if import.state == State::Broken {
        bail!(
            "rows of {id} that waited were damaged; {} were taken over before: import the file again",
            import.progress.rows()
        );
    }
    Ok(import)
}

fn agreed() -> bool {
    if !std::io::stdin().is_terminal() {
        return false;
    }
    let _ = write!(std::io::stderr(), "Take it over? [y/N] ");
    let mut answer = String::new();
    let is_read = std::io::stdin().read_line(&mut answer).is_ok();
    is_read && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

/// What was found, for people.
fn report(import: &Import) -> String {
    let report = &import.report;
    let mut text = found(report);
    let _ = writeln!(
        text,
        "{}; {} on the suppression list and {} there",
        numbered(
            report.known,
            "number is a contact's already and changes it",
            "numbers are a contact's already and change it"
        ),
        numbered(report.suppressed, "is", "are"),
        if report.suppressed == 1 { "stays" } else { "stay" }
    );
    if let Some((_, costs)) = &report.costs {
        let _ = writeln!(text, "{}", told(costs));
    }
    text
}

/// What messages of a template would cost, for people.
fn told(costs: &Costs) -> String {
    let mut text = format!(
        "{} of the template: {} in all",
        numbered(costs.filled(), "message", "messages"),
        numbered(costs.segments(), "segment", "segments")
    );
    if let (Some(median), Some(worst)) = (costs.median(), costs.worst()) {
        let _ = write!(text, ", {median} in the median, {worst} at the worst");
    }
    if costs.unfilled > 0 {
        let lacking = costs.lacking.iter().map(|(name, count)| format!("{name} {count}"));
        let lacking: Vec<String> = lacking.collect();
        let _ = write!(text, "; {} fill it", numbered(costs.unfilled, "row does not", "rows do not"));
        if !lacking.is_empty() {
            let _ = write!(text, " (lacking: {})", lacking.join(", "));
        }
    }
    text
}

/// Once all was said: as of a table of which no row can be taken over.
fn ensure_taken(import: &Import) -> anyhow::Result<()> {
    let progress = &import.progress;
    if progress.created + progress.changed + progress.unchanged == 0 {
        bail!("no row of {} was taken over", import.id);
    }
    Ok(())
}

fn progress(import: &Import) -> String {
    let progress = &import.progress;
    let left = match progress.over {
        0 => String::new(),
        over => format!(", {over} left out (too many fields or groups)"),
    };
    format!(
        "Taken over: {} made, {} changed one, {} said what was known{left}.",
        numbered(progress.created, "contact", "contacts"),
        numbered(progress.changed, "row", "rows"),
        progress.unchanged
    )
}
