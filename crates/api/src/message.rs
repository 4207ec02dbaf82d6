//! Sending, previewing, reading, canceling and redacting messages; batches.

use crate::ask::{Answer, Ask, json};
use crate::idempotency::{self, Remembered};
use crate::page::{CURSOR, LIMIT, page};
use crate::problem::Problem;
use crate::send::{open, pace, refusal, remember, repeated};
use crate::template::Templates;
use std::sync::Arc;
use tidings_domain::id::{BatchId, EndpointId, MessageId};
use tidings_domain::message::Status;
use tidings_engine::{self as engine, Call, Cancel, Item, Sent};
use tidings_store::{Endpoint, MessageFilter, Saying, Stored};
use tidings_wire::batch::{self, BatchAccepted};
use tidings_wire::body::{Field, Kind};
use tidings_wire::endpoint::{Attempt, Delivery, SECRET_OCTETS};
use tidings_wire::error::{Code, FieldError};
use tidings_wire::message::{self, Accepted, GateReason, Gated, Message, Parsed, Preview};
use tidings_wire::page::{List, Page};
use tidings_wire::{event, sms};

pub(crate) static FILTERS: &[Field] = &[
    LIMIT,
    CURSOR,
    Field::new(
        "status",
        Kind::Word(&[
            "scheduled",
            "queued",
            "sending",
            "sent",
            "delivered",
            "undelivered",
            "failed",
            "rejected",
            "expired",
            "canceled",
            "unconfirmed",
        ]),
        "Only messages in this status.",
    ),
    Field::new("to", Kind::Text, "Only messages to this phone number."),
    Field::new("from", Kind::Text, "Only messages from this sender."),
    Field::new("since", Kind::Text, "Only messages accepted at or after this moment."),
    Field::new("until", Kind::Text, "Only messages accepted before this moment."),
    Field::new("reference", Kind::Text, "Only messages with this reference of yours."),
    Field::new("carrier_id", Kind::Text, "Only the message with this id of the carrier."),
    Field::new("batch_id", Kind::Text, "Only messages of this batch."),
];

pub(crate) async fn send_sms(ask: Ask) -> Answer {
    open(&ask)?;
    let parsed = sms::parse(&ask.json()?, ask.door())?;
    send_one(ask, parsed).await
}

pub(crate) async fn send(ask: Ask) -> Answer {
    open(&ask)?;
    let parsed = message::parse(&ask.json()?, ask.door())?;
    send_one(ask, parsed).await
}

async fn send_one(ask: Ask, parsed: Parsed) -> Answer {
    send_as(ask, parsed, None).await
}

/// Sends one message, perhaps as an entry of a conversation.
pub(crate) async fn send_as(ask: Ask, mut parsed: Parsed, saying: Option<Saying>) -> Answer {
    let key = idempotency::key(&ask.headers)?;
    pace(&ask, 1)?;
    if let Err(errors) = Templates::default().fill(&ask, &mut parsed).await? {
        return unfilled(&ask, key, errors).await;
    }
    let mut request = parsed.request;
    if let Some(url) = &parsed.callback_url {
        request.callback = Some(callback(&ask, url).await?);
    }
    let text_field = parsed.text_field;
    let base = ask.app.settings.public_url.clone();
    let call = Call {
        realm: ask.realm(),
        token: Some(ask.caller().token()),
        requests: vec![request],
        batch: None,
        idempotency: remember(&ask, key, move |_, items| single(items, text_field, &base)),
    };
    let sent = match saying {
        None => ask.app.engine.send(call).await?,
        Some(saying) => ask.app.engine.converse(call, saying).await?,
    };
    match sent {
        Sent::New(_, items) => Ok(single(&items, text_field, &ask.app.settings.public_url).response(false)),
        other => repeated(other),
    }
}

/// Refuses a message whose text cannot be made of its template. A repeat of a call that was accepted gets that answer all the
/// same: it is looked up, because there may be a new version of the template since.
async fn unfilled(ask: &Ask, key: Option<String>, errors: Vec<FieldError>) -> Answer {
    let problem = Problem::fields(errors);
    let Some(key) = key else { return Err(problem) };
    let answer = Remembered::refusal(&problem, &ask.app.settings.public_url);
    let remembered = answer.clone();
    let sent = ask.app.engine.send(Call {
        realm: ask.realm(),
        token: Some(ask.caller().token()),
        requests: Vec::new(),
        batch: None,
        idempotency: remember(ask, Some(key), move |_, _| remembered.clone()),
    });
    match sent.await? {
        Sent::New(..) => Ok(answer.response(false)),
        other => repeated(other),
    }
}

/// The answer to one message.
fn single(items: &[Item], text_field: &'static str, base: &str) -> Remembered {
    match items.first() {
        Some(Item::Accepted(accepted)) => {
            let body = serde_json::to_vec(&shown_accepted(accepted)).expect("strings are JSON");
            Remembered { status: 202, body }
        }
        other => Remembered::refusal(&refusal(other, text_field).into(), base),
    }
}

pub(crate) fn shown_accepted(accepted: &engine::Accepted) -> Accepted<'_> {
    Accepted::new(&accepted.message, accepted.status, accepted.held.as_ref(), &accepted.warnings)
        .chosen(accepted.picked.as_ref())
}

/// The endpoint for a message's own callback address.
async fn callback(ask: &Ask, url: &str) -> Result<EndpointId, Problem> {
    let engine = &ask.app.engine;
    engine
        .check_url(url)
        .map_err(|why| FieldError::new("callback_url", Code::InvalidUrl, "not_callable", why))?;
    let endpoint = Endpoint {
        id: EndpointId::from_key(engine.clock().id()),
        realm: ask.realm(),
        url: url.to_owned(),
        description: String::new(),
        kinds: 0,
        callback_only: true,
        secret: engine.clock().random::<SECRET_OCTETS>().to_vec(),
        previous: None,
        disabled: None,
        failing_since: None,
        created_at: engine.clock().now(),
    };
    let fresh = endpoint.id;
    let id = engine.store().callback_endpoint(endpoint).await?;
    if id == fresh {
        engine.endpoints_changed();
    }
    Ok(id)
}

pub(crate) async fn send_batch(ask: Ask) -> Answer {
    open(&ask)?;
    let key = idempotency::key(&ask.headers)?;
    let items = batch::parse(&ask.json()?, ask.door(), ask.app.engine.limits())?;
    let good = items.iter().filter(|item| item.is_ok()).count();
    pace(&ask, good)?;
    let mut callbacks: Vec<(String, Result<EndpointId, FieldError>)> = Vec::new();
    let mut requests = Vec::with_capacity(good);
    // What each item became before the engine saw it: the name of its text, or what is wrong.
    let mut parsed: Vec<Result<&'static str, FieldError>> = Vec::with_capacity(items.len());
    let (mut templates, mut is_any_unfilled) = (Templates::default(), false);
    for item in items {
        let mut item = match item {
            Ok(item) => item,
            Err(error) => {
                parsed.push(Err(error));
                continue;
            }
        };
        if let Err(errors) = templates.fill(&ask, &mut item).await? {
            is_any_unfilled = true;
            parsed.push(Err(errors.into_iter().next().expect("a refusal has a reason")));
            continue;
        }
        let Parsed { mut request, callback_url, text_field, .. } = item;
        if let Some(url) = callback_url {
            if !callbacks.iter().any(|(known, _)| *known == url) {
                let found = match callback(&ask, &url).await {
                    Ok(id) => Ok(id),
                    Err(mut problem) if problem.code == Code::InvalidUrl => {
                        Err(problem.errors.pop().expect("it is about a field"))
                    }
                    Err(problem) => return Err(problem),
                };
                callbacks.push((url.clone(), found));
            }
            match callbacks.iter().find(|(known, _)| *known == url).map(|(_, found)| found) {
                Some(Ok(id)) => request.callback = Some(*id),
                Some(Err(error)) => {
                    parsed.push(Err(error.clone()));
                    continue;
                }
                None => {}
            }
        }
        requests.push(request);
        parsed.push(Ok(text_field));
    }
    // What cannot be filled now may have been accepted under its key before there was a new version of its template.
    let may_be_known = is_any_unfilled && key.is_some();
    if requests.is_empty() && !may_be_known {
        return Ok(many(None, &[], &parsed).response(false));
    }
    let batch = (!requests.is_empty()).then(|| u32::try_from(parsed.len()).unwrap_or(u32::MAX));
    let parsed = Arc::new(parsed);
    let remembered = Arc::clone(&parsed);
    let sent = ask.app.engine.send(Call {
        realm: ask.realm(),
        token: Some(ask.caller().token()),
        requests,
        batch,
        idempotency: remember(&ask, key, move |batch, items| many(batch, items, &remembered)),
    });
    match sent.await? {
        Sent::New(batch, items) => Ok(many(batch, &items, &parsed).response(false)),
        other => repeated(other),
    }
}

/// The answer to a batch: the engine's items, put back between those that it never saw.
fn many(batch: Option<BatchId>, items: &[Item], parsed: &[Result<&'static str, FieldError>]) -> Remembered {
    let mut items = items.iter();
    let results = parsed.iter().map(|parsed| {
        let text_field = parsed.clone()?;
        match items.next() {
            Some(Item::Accepted(accepted)) => Ok(shown_accepted(accepted)),
            other => Err(refusal(other, text_field)),
        }
    });
    let body = serde_json::to_vec(&BatchAccepted::new(batch, results.collect())).expect("strings are JSON");
    Remembered { status: 202, body }
}

pub(crate) async fn preview(ask: Ask) -> Answer {
    let mut request = message::parse_preview(&ask.json()?, ask.door())?;
    let mut refused = request.refused.clone();
    let mut plan = None;
    let mut gated = Gated::default();
    if let Some(message) = &mut request.message {
        let told = ask.app.engine.preview(ask.realm(), &message.request, request.channel).await?;
        message.request.from = told.from;
        match told.plan {
            Ok(planned) => plan = Some(planned),
            Err(refusal) => refused.push(FieldError::refusal(&refusal, message.text_field)),
        }
        let findings = told.gate.findings();
        let refuses = findings.iter().filter(|finding| finding.holds_until.is_none());
        refused.extend(refuses.map(|finding| FieldError::gate(&finding.reason, message.text_field)));
        let base = &ask.app.settings.public_url;
        let reasons = findings.iter().map(|finding| GateReason::new(finding, base)).collect();
        gated = Gated { reasons, sends_at: told.sends_at };
        if let Some(url) = &message.callback_url
            && let Err(why) = ask.app.engine.check_url(url)
        {
            refused.push(FieldError::new("callback_url", Code::InvalidUrl, "not_callable", why));
        }
    } else {
        let text = if request.transliterate {
            tidings_domain::text::transliterate(&request.text, &Default::default()).text.into_owned()
        } else {
            request.text.clone()
        };
        let limit = ask.app.engine.limits().max_segments;
        if let Err(why) = tidings_domain::text::check(&text, &Default::default(), limit) {
            let refusal = tidings_domain::intake::Refusal::Text(why);
            refused.push(FieldError::refusal(&refusal, request.text_field));
        }
    }
    json(200, &Preview::new(&request, plan.as_ref(), refused, gated))
}

pub(crate) fn shown(stored: &Stored) -> Message<'_> {
    Message::new(&stored.message, &stored.life, stored.failure.as_ref(), stored.updated_at)
}

pub(crate) async fn list(ask: Ask) -> Answer {
    let query = &ask.query;
    let door = ask.door();
    let filter = MessageFilter {
        status: query.get("status").and_then(Status::parse),
        recipient: query.number("to").map(|to| door.recipient("to", &to)).transpose()?,
        sender: match query.number("from") {
            Some(from) => Some(door.sender("from", &from)?.to_stored()),
            None => None,
        },
        reference: query.get("reference").map(str::to_owned),
        carrier_id: query.get("carrier_id").map(str::to_owned),
        batch: query.id("batch_id")?,
        since: query.time("since")?,
        until: query.time("until")?,
    };
    let page = page(&ask, List::Messages)?;
    let found = ask.app.engine.store().messages(ask.realm(), filter, page).await?;
    let data: Vec<_> = found.items.iter().map(shown).collect();
    json(200, &Page::new(List::Messages, data, found.next))
}

pub(crate) async fn read(ask: Ask) -> Answer {
    let found = ask.app.engine.store().message(ask.realm(), ask.id()?).await?;
    let mut found = found.ok_or_else(Problem::not_found)?;
    ask.app.engine.as_on_the_phone(&mut found.message);
    json(200, &shown(&found))
}

pub(crate) async fn timeline(ask: Ask) -> Answer {
    let found = ask.app.engine.store().timeline(ask.realm(), ask.id()?).await?;
    let found = found.ok_or_else(Problem::not_found)?;
    let connection = found.connection.as_ref();
    json(
        200,
        &event::Timeline {
            message: shown(&found.stored),
            connection_name: connection.map(|connection| connection.name.as_str()),
            connection_paused: connection.and_then(|connection| connection.paused.as_deref()),
            events: found
                .events
                .iter()
                .map(|(id, event)| event::TimelineEvent::new(*id, event, found.stored.message.purpose))
                .collect(),
            webhook_attempts: found.attempts.iter().map(Attempt::new).collect(),
            webhook_deliveries: found.deliveries.iter().map(Delivery::new).collect(),
        },
    )
}

pub(crate) async fn cancel(ask: Ask) -> Answer {
    let id: MessageId = ask.id()?;
    match ask.app.engine.cancel(ask.realm(), id, ask.actor()).await? {
        Cancel::Done(stored) => json(200, &shown(&stored)),
        Cancel::TooLate(stored) => Err(Problem::new(
            Code::TooLate,
            format!(
                "The message is {} already and cannot be taken back.",
                stored.life.state.status().as_str()
            ),
        )),
        Cancel::NotFound => Err(Problem::not_found()),
    }
}

pub(crate) async fn redact(ask: Ask) -> Answer {
    let engine = &ask.app.engine;
    let found = engine.store().redact(ask.realm(), ask.id()?, ask.actor(), engine.clock().now()).await?;
    json(200, &shown(&found.ok_or_else(Problem::not_found)?))
}

fn batch_shown(batch: &tidings_store::Batch) -> batch::Batch {
    batch::Batch::new(batch.id, batch.created_at, batch.asked, &batch.counts)
}

pub(crate) async fn batches(ask: Ask) -> Answer {
    let page = page(&ask, List::Batches)?;
    let found = ask.app.engine.store().batches(ask.realm(), page).await?;
    let data: Vec<_> = found.items.iter().map(batch_shown).collect();
    json(200, &Page::new(List::Batches, data, found.next))
}

pub(crate) async fn read_batch(ask: Ask) -> Answer {
    let found = ask.app.engine.store().batch(ask.realm(), ask.id()?).await?;
    json(200, &batch_shown(&found.ok_or_else(Problem::not_found)?))
}
