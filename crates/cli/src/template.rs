//! `tidings template`: templates made from files, looked at, and tried with values.

use crate::operator::{Operator, Place, Whose};
use crate::output::{Output, Table, Tone, when};
use anyhow::{Context, anyhow, bail};
use clap::Subcommand;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use tidings_domain::account::Realm;
use tidings_domain::id::TemplateId;
use tidings_domain::template::{Given, Language, Template};
use tidings_domain::text::display;
use tidings_store::{Error, Page, WhichTemplate};
use tidings_wire::body::Json;
use tidings_wire::error::FieldError;
use tidings_wire::template::{self as wire, TemplatePreview};

/// What to do with templates.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List templates in their newest versions, the last made first
    List {
        /// Only those whose name begins so
        #[arg(long, default_value = "")]
        prefix: String,
        /// How many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        #[command(flatten)]
        whose: Whose,
    },
    /// Show a template
    Show {
        /// Its name or id
        name: String,
        /// Which version by its number, if not the newest
        #[arg(long)]
        number: Option<u32>,
        #[command(flatten)]
        whose: Whose,
    },
    /// Make a template
    Create {
        /// A file with the body of POST /v1/templates
        file: PathBuf,
        #[command(flatten)]
        whose: Whose,
    },
    /// Make a new version of a template; those before stay as they are
    Update {
        /// Its name or id
        name: String,
        /// A file with the body of POST /v1/templates/{id}/versions
        file: PathBuf,
        #[command(flatten)]
        whose: Whose,
    },
    /// Say what a template says and costs: with values, as usual, and at the worst
    Preview {
        /// Its name or id
        name: String,
        /// Which version by its number, if not the newest
        #[arg(long)]
        number: Option<u32>,
        /// Which language is wanted
        #[arg(long, value_parser = language)]
        language: Option<Language>,
        /// A value, as name=value; can be said several times
        #[arg(long = "value", value_name = "NAME=VALUE", value_parser = value)]
        values: Vec<(String, String)>,
        #[command(flatten)]
        whose: Whose,
    },
}

fn language(text: &str) -> Result<Language, String> {
    Language::parse(text).ok_or_else(|| "write a language such as en or pt-BR".to_owned())
}

fn value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write a value as name=value")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Does it.
///
/// # Errors
/// A sentence that says why not.
pub async fn run(command: Command, place: &Place, output: Output) -> anyhow::Result<()> {
    let operator = Operator::open(place).await?;
    match command {
        Command::List { prefix, limit, whose } => {
            let realm = operator.realm(&whose).await?;
            let page = Page { before: None, limit: usize::from(limit) };
            let found = operator.store.templates(realm, prefix, page).await?.items;
            output.show(&found.iter().map(wire::Template::new).collect::<Vec<_>>(), || {
                let mut table = Table::new(&["NAME", "VERSION", "LANGUAGES", "SINCE", "BY", "FOR"]);
                for one in &found {
                    let languages: Vec<_> = one.content.texts.keys().map(Language::as_str).collect();
                    table.row([
                        one.name.clone(),
                        one.version.to_string(),
                        languages.join(" "),
                        when(Some(one.created_at)),
                        one.created_by.clone(),
                        one.description.clone(),
                    ]);
                }
                table.print(output, "There are no templates.")
            })?;
        }
        Command::Show { name, number, whose } => {
            let found = find(&operator, operator.realm(&whose).await?, &name, number).await?;
            output.show(&wire::Template::new(&found), || print(&found, output))?;
        }
        Command::Create { file, whose } => {
            let realm = operator.realm(&whose).await?;
            let octets = read(&file)?;
            let new = wire::parse(&json(&octets)?).map_err(|errors| wrong(&errors))?;
            let actor = operator.actor(realm.account);
            let template = Template {
                id: TemplateId::from_key(operator.clock.id()),
                realm,
                name: new.name,
                description: new.description,
                version: 1,
                newest: 1,
                content: new.content,
                created_at: operator.now(),
                created_by: actor.who.clone(),
            };
            match operator.store.create_template(template.clone(), actor).await {
                Err(Error::Conflict(_)) => {
                    bail!("there is a template {0} already: `tidings template update {0}`", template.name)
                }
                done => done?,
            }
            output.show(&wire::Template::new(&template), || print(&template, output))?;
        }
        Command::Update { name, file, whose } => {
            let realm = operator.realm(&whose).await?;
            let octets = read(&file)?;
            let content = wire::parse_version(&json(&octets)?).map_err(|errors| wrong(&errors))?;
            let id = find(&operator, realm, &name, None).await?.id;
            let (actor, now) = (operator.actor(realm.account), operator.now());
            let added = operator.store.add_template_version(realm, id, content, actor, now).await?;
            let added = added.ok_or_else(|| anyhow!("there is no template {name} any more"))?;
            output.show(&wire::Template::new(&added), || print(&added, output))?;
        }
        Command::Preview { name, number, language, values, whose } => {
            let found = find(&operator, operator.realm(&whose).await?, &name, number).await?;
            let given: Vec<_> =
                values.iter().map(|(name, value)| (name.as_str(), Given::Text(value))).collect();
            let text = if given.is_empty() {
                None
            } else {
                let filled = found.content.fill(language.as_ref(), &given);
                let errors = |failures: Vec<_>| {
                    wrong(&failures.into_iter().map(FieldError::unfilled).collect::<Vec<_>>())
                };
                Some(filled.map_err(errors)?.text)
            };
            let language = found.content.language_for(language.as_ref());
            let shown = TemplatePreview::new(&found, language, text, None)
                .ok_or_else(|| anyhow!("template {name} makes no text"))?;
            output.show(&shown, || {
                let mut table = Table::new(&["", "SEGMENTS", "ENCODING", "UNITS", "TEXT"]);
                let made = [
                    ("given", shown.text.as_ref()),
                    ("usual", Some(&shown.usual)),
                    ("worst", Some(&shown.worst)),
                ];
                for (which, made) in made {
                    let Some(made) = made else { continue };
                    table.row([
                        which.to_owned(),
                        made.segments.to_string(),
                        made.encoding.0.to_string(),
                        made.units.to_string(),
                        display(&made.text).into_owned(),
                    ]);
                }
                table.print(output, "")
            })?;
        }
    }
    operator.close().await
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))
}

fn json(octets: &[u8]) -> anyhow::Result<Json<'_>> {
    Json::parse(octets).map_err(|malformed| anyhow!("{}", malformed.detail))
}

/// All that is wrong, a line each.
fn wrong(errors: &[FieldError]) -> anyhow::Error {
    let lines: Vec<String> =
        errors.iter().map(|error| format!("{}: {}", error.field, error.detail)).collect();
    anyhow!("{}", lines.join("\n"))
}

/// The template of this name or id.
///
/// # Errors
/// There is none, or the store does not answer.
pub async fn find(
    operator: &Operator,
    realm: Realm,
    name: &str,
    version: Option<u32>,
) -> anyhow::Result<Template> {
    let which = name.parse().map_or_else(|_| WhichTemplate::Name(name.to_owned()), WhichTemplate::Id);
    let found = operator.store.template(realm, which, version).await?;
    let version = version.map_or_else(String::new, |version| format!(" with a version {version}"));
    found.ok_or_else(|| {
        anyhow!(
            "there is no template {name}{version} in {}: look it up with `tidings template list`",
            realm.environment.as_str()
        )
    })
}

fn print(template: &Template, output: Output) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{}  {value}", output.tone(Tone::Faint, &format!("{name:<10}")));
    };
    line("template", &output.tone(Tone::Strong, &template.name));
    line("id", &template.id.to_string());
    if !template.description.is_empty() {
        line("for", &display(&template.description));
    }
    line("version", &format!("{} of {}", template.version, template.newest));
    line("made", &format!("{} by {}", when(Some(template.created_at)), template.created_by));
    for (language, source) in &template.content.texts {
        let mark = if *language == template.content.language { " (default)" } else { "" };
        line(&format!("{language}{mark}"), &display(source));
    }
    let mut table = Table::new(&["VALUE", "TYPE", "SAMPLE"]);
    for variable in &template.content.variables {
        let sample = display(&variable.sample.to_string()).into_owned();
        table.row([variable.name.clone(), variable.kind.as_str().to_owned(), sample]);
    }
    text + &table.print(output, "It has no values.")
}
