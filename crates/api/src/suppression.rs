//! The suppression list.

use crate::ask::{Answer, Ask, json};
use crate::page::{CURSOR, LIMIT, page};
use crate::problem::Problem;
use tidings_domain::id::SuppressionId;
use tidings_domain::programme::Name;
use tidings_domain::suppression::default_end;
use tidings_engine::suppression::Lift;
use tidings_store::{Suppression, SuppressionFilter};
use tidings_wire::body::{Field, Kind};
use tidings_wire::error::{Code, FieldError};
use tidings_wire::page::{All, List, Page};
use tidings_wire::suppression::{self, Lifting, shown};

pub(crate) static FILTERS: &[Field] = &[
    LIMIT,
    CURSOR,
    Field::new("to", Kind::Text, "Only entries of this phone number."),
    Field::new(
        "programme",
        Kind::Text,
        "Only entries about this programme alone, by the name that it had when they were made.",
    ),
    Field::new("include_lifted", Kind::Boolean, "Whether lifted entries are shown too."),
];

pub(crate) async fn list(ask: Ask) -> Answer {
    let door = ask.door();
    let recipient = ask.query.number("to").map(|to| door.recipient("to", &to)).transpose()?;
    let programme = ask.query.get("programme").map(named).transpose()?;
    let include_lifted = ask.query.get("include_lifted") == Some("true");
    let filter = SuppressionFilter { recipient, programme, include_lifted };
    let page = page(&ask, List::Suppressions)?;
    let found = ask.app.engine.store().suppressions(ask.realm(), filter, page).await?;
    json(200, &Page::new(List::Suppressions, found.items.iter().map(shown).collect(), found.next))
}

pub(crate) async fn add(ask: Ask) -> Answer {
    let wanted = suppression::parse(&ask.json()?, ask.door())?;
    let engine = &ask.app.engine;
    let programme = wanted.programme.as_deref().map(|name| known(&ask, name)).transpose()?;
    let now = engine.clock().now();
    if wanted.expires_at.is_some_and(|end| end <= now) {
        let error =
            FieldError::new("expires_at", Code::InvalidTime, "in_past", "The end has passed already.");
        return Err(error.into());
    }
    let entries = wanted.recipients.into_iter().map(|recipient| Suppression {
        id: SuppressionId::from_key(engine.clock().id()),
        realm: ask.realm(),
        recipient,
        programme: programme.clone(),
        reason: wanted.reason,
        source: "api".to_owned(),
        created_at: now,
        expires_at: wanted.expires_at.or(default_end(wanted.reason, now)),
        lifted: None,
    });
    let stand = engine.suppress(entries.collect(), ask.actor()).await?;
    json(201, &All { data: stand.iter().map(shown).collect() })
}

pub(crate) async fn lift(ask: Ask) -> Answer {
    let Lifting { recipient, programme, reason } = suppression::parse_lift(&ask.json()?, ask.door())?;
    let lift = Lift { realm: ask.realm(), recipient, programme, reason };
    let lifted = ask.app.engine.lift(lift, ask.actor()).await?;
    let lifted = lifted.ok_or_else(|| {
        Problem::new(Code::NotFound, "The suppression list has no such entry for this number.")
            .cured_by("Nothing is to be lifted; see the list at `GET /v1/suppressions`.")
    })?;
    json(200, &shown(&lifted))
}

/// The name of a programme, which need not be configured any more.
fn named(text: &str) -> Result<Name, Problem> {
    Name::parse(text).ok_or_else(|| {
        let detail = "`programme` must be the name of a programme: a to z, digits, - and _.";
        FieldError::new("programme", Code::InvalidRequest, "invalid", detail).into()
    })
}

/// A programme of the configuration: an entry of another one would stop nothing.
fn known(ask: &Ask, name: &str) -> Result<Name, Problem> {
    let programmes = &ask.app.engine.programmes().all;
    let found = programmes.iter().find(|one| one.name.as_str() == name).map(|one| one.name.clone());
    found.ok_or_else(|| FieldError::no_programme(name, programmes.iter().map(|one| one.name.as_str())).into())
}
