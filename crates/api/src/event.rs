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

/// How long one answer looks for events of its caller among those of others: milliseconds.
const LOOKS_MS: u64 = 1_000;

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
        About::Inbound(inbound) => webhook::render_inbound(told.id, &told.event, as_told(inbound)),
        About::Test => webhook::render_test(told.id, told.event.at),
    };
    let text = String::from_utf8(body).expect("JSON is UTF-8");
    RawValue::from_string(text).expect("it was just written as JSON")
}

pub(crate) async fn feed(ask: Ask) -> Answer {
    let mut next: Option<EventId> = ask.query.id("after")?;
    let limit = limit(&ask);
    let engine = &ask.app.engine;
    let watch = engine.clock().stopwatch();
    let mut data = Vec::new();
    loop {
        let found = engine.store().events(ask.realm(), next, limit - data.len()).await?;
        data.extend(found.told.iter().map(body));
        next = found.upto;
        if data.len() >= limit || found.is_end || watch.elapsed_ms() >= LOOKS_MS {
            return json(200, &Feed { data, next: next.map(Shown) });
        }
    }
}
