//! Imports of contacts.

use crate::ask::{Answer, Ask, json, long};
use crate::auth;
use crate::page::page;
use crate::problem::Problem;
use std::sync::Arc;
use tidings_domain::account::Scope;
use tidings_domain::address::Country;
use tidings_domain::contact::{Group, line};
use tidings_domain::import::{Contacts, Decision, Import, NAME_MAX};
use tidings_domain::table::{Options, Unusable};
use tidings_domain::template::Template;
use tidings_engine::import::{Refusals, Stopped, Upload};
use tidings_wire::body::{Field, Kind};
use tidings_wire::error::{Code, FieldError};
use tidings_wire::import;
use tidings_wire::page::{List, Page};

/// When to come back if all places are taken: seconds.
const RETRY_S: u32 = 10;

pub(crate) static OPTIONS: &[Field] = &[
    Field::new("name", Kind::Text, "What it is called, such as the name of the file."),
    Field::new(
        "number_column",
        Kind::Text,
        "The heading of the column with the phone numbers; found by usual names if not given.",
    ),
    Field::new(
        "default_country",
        Kind::Text,
        "Where numbers without a country code are from: two letters of ISO 3166. The installation's if not given.",
    ),
    Field::new("group", Kind::Text, "A group that every row is in, besides those of its own."),
    Field::new(
        "template",
        Kind::Text,
        "A template by its name or id: the report says what its messages to the rows would cost. Needs `templates.read`.",
    ),
];

fn options(ask: &Ask) -> Result<(String, Options, Contacts), Problem> {
    let wrong = |field, reason: &'static str, detail: String| {
        Problem::from(FieldError::new(field, Code::InvalidRequest, reason, detail))
    };
    let name = ask.query.get("name").unwrap_or("contacts.csv");
    let name = line(name, NAME_MAX).map_err(|why| wrong("name", why.code(), why.to_string()))?;
    let country = ask.query.get("default_country").map(Country::parse).transpose();
    let country = country.map_err(|why| wrong("default_country", "unknown_country", why.to_string()))?;
    let group = ask.query.get("group").map(Group::parse).transpose();
    let group = group.map_err(|why| wrong("group", why.code(), why.to_string()))?;
    let door = ask.door();
    let options = Options {
        environment: door.environment,
        default_country: country.or(door.default_country),
        number_column: ask.query.get("number_column").map(str::to_owned),
    };
    Ok((name, options, Contacts::in_groups(group)))
}

impl From<Stopped> for Problem {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Store(error) => error.into(),
            Stopped::GivenUp => Self::new(Code::Conflict, "The import was given up meanwhile."),
            Stopped::Unusable(why @ (Unusable::Octets | Unusable::Rows)) => {
                Self::new(Code::PayloadTooLarge, why.to_string()).cured_by("Cut the table into several.")
            }
            Stopped::Unusable(why) => {
                FieldError::new("file", Code::InvalidRequest, why.code(), why.to_string()).into()
            }
        }
    }
}

/// The template that the rows are to be thought of with.
async fn template(ask: &Ask) -> Result<Option<Arc<Template>>, Problem> {
    let Some(named) = ask.query.get("template") else { return Ok(None) };
    if !ask.caller().principal.scopes.has(Scope::TemplatesRead) {
        return Err(auth::missing(Scope::TemplatesRead));
    }
    let found = crate::template::find(ask, named, None).await?;
    let unknown = || {
        let detail = "There is no template of this name or id.";
        FieldError::new("template", Code::InvalidRequest, "unknown_template", detail)
    };
    Ok(Some(Arc::new(found.ok_or_else(unknown)?)))
}

pub(crate) async fn create(ask: Ask) -> Answer {
    let (name, options, contacts) = options(&ask)?;
    let engine = &ask.app.engine;
    let Ok(_place) = ask.app.imports.try_acquire() else {
        return Err(Problem::rate_limited(RETRY_S, "As many tables as can be are being read."));
    };
    let contacts = contacts.costed_by(template(&ask).await?);
    let (store, clock) = (Arc::clone(engine.store()), &**engine.clock());
    let mut upload =
        Upload::begin(store, clock, ask.realm(), (name, ask.actor().who), (options, contacts)).await?;
    let mut file = ask.file();
    loop {
        match file.next().await {
            Ok(Some(octets)) => upload.feed(clock, &octets).await?,
            Ok(None) => break,
            Err(problem) => {
                upload.break_off(clock).await?;
                return Err(problem);
            }
        }
    }
    json(201, &import::shown(&upload.finish(clock).await?))
}

pub(crate) async fn list(ask: Ask) -> Answer {
    let page = page(&ask, List::Imports)?;
    let found = ask.app.engine.store().imports(ask.realm(), page).await?;
    json(200, &Page::new(List::Imports, found.items.iter().map(import::shown).collect(), found.next))
}

async fn find(ask: &Ask) -> Result<Import, Problem> {
    let found = ask.app.engine.store().import(ask.realm(), ask.id()?).await?;
    found.ok_or_else(Problem::not_found)
}

pub(crate) async fn read(ask: Ask) -> Answer {
    json(200, &import::shown(&find(&ask).await?))
}

pub(crate) async fn commit(ask: Ask) -> Answer {
    json(202, &import::shown(&decided(&ask, Decision::Commit).await?))
}

pub(crate) async fn discard(ask: Ask) -> Answer {
    json(200, &import::shown(&decided(&ask, Decision::Discard).await?))
}

async fn decided(ask: &Ask, decision: Decision) -> Result<Import, Problem> {
    let decided = ask.app.engine.decide_import(ask.realm(), ask.id()?, decision, ask.actor()).await?;
    let import = decided.ok_or_else(Problem::not_found)?;
    if import.state.is_decided(decision) {
        return Ok(import);
    }
    let detail = format!("The import is {} and cannot be decided so.", import.state.as_str());
    Err(Problem::new(Code::Conflict, detail).cured_by("Send the file again for a new import."))
}

pub(crate) async fn refused(ask: Ask) -> Answer {
    let import = find(&ask).await?;
    let state = (Refusals::of(&import), Arc::clone(ask.app.engine.store()));
    long("text/csv; charset=utf-8", "refused.csv", state, |(mut rows, store)| {
        Box::pin(async move {
            let next = rows.next(&*store).await;
            ((rows, store), next)
        })
    })
}
