//! The event feed: the same bodies as webhooks, for those who rather ask.

use crate::ask::{Answer, Ask, json};
use crate::page::{LIMIT, limit};
use serde_json::value::RawValue;
use tidings_domain::id::EventId;
use tidings_engine::webhook::as_told;
use tidings_store::{About, Told};
use tidings_wire::Shown;
use tidings_wire::body::{Field, Kind};
use tidings_wire::event::Feed;
use tidings_wire::webhook;

pub(crate) static PARAMETERS: &[Field] = &[
    LIMIT,
    Field::new(
        "after",
        Kind::Text,
        "`next` of the answer before, or the id of the last event you have seen.",
    ),
];

fn body(told: &Told) -> Box<RawValue> {
    let body = match &told.about {
        About::Message(message) => webhook::render_message(told.id, &told.event, message),
        About::Inbound(inbound) => webhook::render_inbound(told.id, told.event.kind, as_told(inbound)),
        About::Test => webhook::render_test(told.id, told.event.at),
    };
    let text = String::from_utf8(body).expect("JSON is UTF-8");
    RawValue::from_string(text).expect("it was just written as JSON")
}

pub(crate) async fn feed(ask: Ask) -> Answer {
    let after: Option<EventId> = ask.query.id("after")?;
    let found = ask.app.engine.store().events(ask.realm(), after, limit(&ask)).await?;
    let next = found.last().map(|told| told.id).or(after);
    json(200, &Feed { data: found.iter().map(body).collect(), next: next.map(Shown) })
}
