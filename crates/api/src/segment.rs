//! Segments of contacts: queries that are kept, tried, counted, and listed.

use crate::App;
use crate::ask::{Answer, Ask, json, nothing};
use crate::auth;
use crate::page::{CURSOR, page};
use crate::problem::Problem;
use tidings_domain::account::{Realm, Scope};
use tidings_domain::id::SegmentId;
use tidings_domain::segment::{Query, Segment};
use tidings_engine::segment::{COUNT_MS, READ_MS, Scan, count as look, find, read_history};
use tidings_store::{Error, Page as Place, WhichSegment};
use tidings_wire::body::Field;
use tidings_wire::contact::shown as people;
use tidings_wire::error::{Code, FieldError};
use tidings_wire::page::{List, Page, cursor};
use tidings_wire::segment as wire;
use tokio::sync::SemaphorePermit;

/// Seconds after which a count may find a place.
const RETRY_COUNT_S: u32 = 5;
/// Seconds after which more of the history is read.
const RETRY_HISTORY_S: u32 = 1;

pub(crate) static COUNT: &[Field] = &[CURSOR];

/// A name that another segment has.
fn kept<T>(done: Result<T, Error>) -> Result<T, Problem> {
    done.map_err(|error| match error {
        Error::Conflict(_) => {
            FieldError::new("name", Code::Conflict, "taken", "Another segment has this name already.").into()
        }
        error => error.into(),
    })
}

pub(crate) async fn create(ask: Ask) -> Answer {
    let new = wire::parse(&ask.json()?)?;
    let engine = &ask.app.engine;
    let now = engine.clock().now();
    let segment = Segment {
        id: SegmentId::from_key(engine.clock().id()),
        realm: ask.realm(),
        name: new.name,
        description: new.description,
        query: new.query,
        created_at: now,
        updated_at: now,
    };
    kept(engine.store().create_segment(segment.clone(), ask.actor()).await)?;
    json(201, &wire::shown(&segment))
}

pub(crate) async fn list(ask: Ask) -> Answer {
    let page = page(&ask, List::Segments)?;
    let found = ask.app.engine.store().segments(ask.realm(), page).await?;
    json(200, &Page::new(List::Segments, found.items.iter().map(wire::shown).collect(), found.next))
}

/// The segment in the address, by its id or name.
async fn named(ask: &Ask) -> Result<Segment, Problem> {
    let which = WhichSegment::of(ask.part("id"));
    ask.app.engine.store().segment(ask.realm(), which).await?.ok_or_else(Problem::not_found)
}

pub(crate) async fn read(ask: Ask) -> Answer {
    json(200, &wire::shown(&named(&ask).await?))
}

pub(crate) async fn change(ask: Ask) -> Answer {
    let change = wire::parse_change(&ask.json()?)?;
    let id = named(&ask).await?.id;
    let engine = &ask.app.engine;
    let now = engine.clock().now();
    let changed = kept(engine.store().change_segment(ask.realm(), id, change, ask.actor(), now).await)?;
    json(200, &wire::shown(&changed.ok_or_else(Problem::not_found)?))
}

pub(crate) async fn delete(ask: Ask) -> Answer {
    let id = named(&ask).await?.id;
    let engine = &ask.app.engine;
    let now = engine.clock().now();
    if engine.store().delete_segment(ask.realm(), id, ask.actor(), now).await? {
        nothing()
    } else {
        Err(Problem::not_found())
    }
}

/// Reads what the query asks of history.
async fn ready(app: &App, realm: Realm, query: &Query) -> Result<(), Problem> {
    let engine = &app.engine;
    if !query.needs().history || read_history(&**engine.store(), engine.clock(), realm, READ_MS).await? {
        return Ok(());
    }
    let detail =
        "The query asks for history, and the event log is still being read for it. What was read is kept.";
    let problem = Problem::new(Code::Unavailable, detail).cured_by("Ask again: each request reads on.");
    Err(Problem { retry_after_s: Some(RETRY_HISTORY_S), ..problem })
}

/// A place to count in. Counting keeps a reader of the store and a processor busy.
fn turn(app: &App) -> Result<SemaphorePermit<'_>, Problem> {
    let turn = app.counts.try_acquire();
    turn.map_err(|_| Problem::rate_limited(RETRY_COUNT_S, "As many segments as can be are being counted."))
}

pub(crate) async fn contacts(ask: Ask) -> Answer {
    let place = page(&ask, List::Members)?;
    let segment = named(&ask).await?;
    ready(&ask.app, ask.realm(), &segment.query).await?;
    let engine = &ask.app.engine;
    let found = find(&**engine.store(), ask.realm(), &segment.query, place, engine.clock().now()).await?;
    json(
        200,
        &wire::SegmentContacts {
            data: found.contacts.iter().map(people).collect(),
            next_cursor: found.next.map(|place| cursor(List::Members, place)),
            scanned: found.looked_at,
        },
    )
}

pub(crate) async fn count(ask: Ask) -> Answer {
    let Place { before, .. } = page(&ask, List::Members)?;
    let segment = named(&ask).await?;
    let _turn = turn(&ask.app)?;
    ready(&ask.app, ask.realm(), &segment.query).await?;
    let engine = &ask.app.engine;
    let scan = Scan::new(ask.realm(), segment.query, before, engine.clock().now());
    let (counted, _) = look(&**engine.store(), engine.clock(), scan, 0, COUNT_MS).await?;
    json(200, &wire::SegmentCount::new(counted.found, counted.looked_at, counted.next))
}

pub(crate) async fn preview(ask: Ask) -> Answer {
    let (query, limit) = wire::parse_preview(&ask.json()?)?;
    let _turn = turn(&ask.app)?;
    ready(&ask.app, ask.realm(), &query).await?;
    let engine = &ask.app.engine;
    let scan = Scan::new(ask.realm(), query, None, engine.clock().now());
    let (counted, first) = look(&**engine.store(), engine.clock(), scan, limit, COUNT_MS).await?;
    json(
        200,
        &wire::SegmentPreview {
            count: counted.found,
            scanned: counted.looked_at,
            complete: counted.next.is_none(),
            data: first.iter().map(people).collect(),
        },
    )
}

/// The query of the segment that a request names beside what it is about, for who may read segments.
pub(crate) async fn of_parameter(ask: &Ask) -> Result<Option<Segment>, Problem> {
    match ask.query.get("segment") {
        Some(named) => readable(ask, named).await.map(Some),
        None => Ok(None),
    }
}

/// A segment that a request names beside what it is about, by its id or name, for who may read segments.
pub(crate) async fn readable(ask: &Ask, named: &str) -> Result<Segment, Problem> {
    if !ask.caller().principal.scopes.has(Scope::SegmentsRead) {
        return Err(auth::missing(Scope::SegmentsRead));
    }
    let found = ask.app.engine.store().segment(ask.realm(), WhichSegment::of(named)).await?;
    let unknown =
        || FieldError::new("segment", Code::NotFound, "unknown_segment", "There is no such segment here.");
    let segment = found.ok_or_else(unknown)?;
    ready(&ask.app, ask.realm(), &segment.query).await?;
    Ok(segment)
}
