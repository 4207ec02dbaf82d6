//! Contacts and their groups.

use crate::ask::{Answer, Ask, json, long, nothing};
use crate::page::{CURSOR, LIMIT, page};
use crate::problem::Problem;
use crate::segment;
use tidings_domain::contact::{Contact, Group};
use tidings_domain::id::ContactId;
use tidings_engine::contact::{Export, Form};
use tidings_store::{ContactFilter, Saved};
use tidings_wire::body::{Field, Kind};
use tidings_wire::contact;
use tidings_wire::error::{Code, FieldError};
use tidings_wire::page::{All, List, Page};

const GROUP: Field = Field::new("group", Kind::Text, "Only who is in this group.");

const SEGMENT: Field = Field::new(
    "segment",
    Kind::Text,
    "Only whom this segment finds, by its id or name. Needs the scope `segments.read`, too.",
);

pub(crate) static FILTERS: &[Field] =
    &[Field::new("number", Kind::Text, "Only who has this phone number."), GROUP, LIMIT, CURSOR];
pub(crate) static EXPORT: &[Field] = &[
    Field::new("format", Kind::Word(&["csv", "ndjson"]), "How it is written; `csv` if not given."),
    GROUP,
    SEGMENT,
];

fn group(ask: &Ask) -> Result<Option<Group>, Problem> {
    let read = ask.query.get("group").map(Group::parse).transpose();
    Ok(read.map_err(|why| FieldError::new("group", Code::InvalidRequest, why.code(), why))?)
}

/// The contact that was saved, or why it was not.
fn saved(saved: Saved) -> Result<Contact, Problem> {
    match saved {
        Saved::Done(contact) => Ok(*contact),
        Saved::TooMuch(excess) => Err(contact::excess(excess).into()),
        Saved::Taken(number, whose) => {
            let detail = format!("{number} is a number of the contact {whose}.");
            Err(Problem::from(FieldError::new("numbers", Code::Conflict, "taken", detail))
                .cured_by("Change that contact, or take the number from it first."))
        }
    }
}

pub(crate) async fn create(ask: Ask) -> Answer {
    let wanted = contact::parse(&ask.json()?, ask.door())?;
    let engine = &ask.app.engine;
    let now = engine.clock().now();
    let contact = Contact {
        id: ContactId::from_key(engine.clock().id()),
        realm: ask.realm(),
        numbers: wanted.numbers,
        details: wanted.details,
        created_at: now,
        updated_at: now,
    };
    let contact = saved(engine.store().create_contact(contact, ask.actor()).await?)?;
    json(201, &contact::shown(&contact))
}

pub(crate) async fn list(ask: Ask) -> Answer {
    let door = ask.door();
    let number = ask.query.number("number").map(|number| door.recipient("number", &number)).transpose()?;
    let filter = ContactFilter { number, group: group(&ask)? };
    let page = page(&ask, List::Contacts)?;
    let found = ask.app.engine.store().contacts(ask.realm(), filter, page).await?;
    json(200, &Page::new(List::Contacts, found.items.iter().map(contact::shown).collect(), found.next))
}

pub(crate) async fn read(ask: Ask) -> Answer {
    let found = ask.app.engine.store().contact(ask.realm(), ask.id()?).await?;
    json(200, &contact::shown(&found.ok_or_else(Problem::not_found)?))
}

pub(crate) async fn change(ask: Ask) -> Answer {
    let id = ask.id()?;
    let change = contact::parse_change(&ask.json()?, ask.door())?;
    let engine = &ask.app.engine;
    let now = engine.clock().now();
    let changed = engine.store().change_contact(ask.realm(), id, change, ask.actor(), now).await?;
    json(200, &contact::shown(&saved(changed.ok_or_else(Problem::not_found)?)?))
}

pub(crate) async fn delete(ask: Ask) -> Answer {
    let engine = &ask.app.engine;
    let now = engine.clock().now();
    if engine.store().delete_contact(ask.realm(), ask.id()?, ask.actor(), now).await? {
        nothing()
    } else {
        Err(Problem::not_found())
    }
}

pub(crate) async fn groups(ask: Ask) -> Answer {
    let found = ask.app.engine.store().groups(ask.realm()).await?;
    let shown = found
        .into_iter()
        .map(|(group, contacts)| contact::ContactGroup { name: group.to_string(), contacts });
    json(200, &All { data: shown.collect() })
}

pub(crate) async fn export(ask: Ask) -> Answer {
    let form = ask.query.get("format").and_then(Form::parse).unwrap_or(Form::Csv);
    let (group, segment) = (group(&ask)?, segment::of_parameter(&ask).await?);
    let engine = &ask.app.engine;
    let (store, now) = (engine.store().clone(), engine.clock().now());
    let export = Export::begin(&*store, ask.actor(), ask.realm(), (group, segment), form, now).await?;
    let (kind, name) = match form {
        Form::Csv => ("text/csv; charset=utf-8", "contacts.csv"),
        Form::Ndjson => ("application/x-ndjson", "contacts.ndjson"),
    };
    long(kind, name, (export, store), |(mut export, store)| {
        Box::pin(async move {
            let next = export.next(&*store).await;
            ((export, store), next)
        })
    })
}
