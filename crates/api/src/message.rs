//! Sending, previewing, reading, canceling and redacting messages; batches.

use crate::ask::{Answer, Ask, bad_parameter, json};
use crate::idempotency::{self, Remembered};
use crate::pace::Pace;
use crate::problem::Problem;
use crate::template::Templates;
use std::sync::Arc;
use tidings_domain::id::{BatchId, EndpointId, MessageId, TokenId};
use tidings_domain::message::Status;
use tidings_engine::{self as engine, Call, Cancel, Item, Refused, Sent, intake::IdempotencyKey};
use tidings_store::{Endpoint, MessageFilter, Page, Saying, Stored};
use tidings_wire::batch::{self, BatchAccepted};
use tidings_wire::body::{Field, Kind};
use tidings_wire::endpoint::SECRET_OCTETS;
use tidings_wire::error::{Code, FieldError};
use tidings_wire::message::{self, Accepted, GateReason, Gated, Message, Parsed, Preview};
use tidings_wire::page::{self, List};
use tidings_wire::{event, sms};

pub(crate) const LIMIT: Field =
    Field::new("limit", Kind::Integer(1, page::MAX_LIMIT as i64), "Items of a page.");
pub(crate) const CURSOR: Field = Field::new("cursor", Kind::Text, "`next_cursor` of the page before.");

pub(crate) static PAGING: &[Field] = &[LIMIT, CURSOR];

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

/// Which page the caller wants.
pub(crate) fn page(ask: &Ask, list: List) -> Result<Page, Problem> {
    let limit = ask.query.get("limit").and_then(|text| text.parse().ok()).unwrap_or(page::DEFAULT_LIMIT);
    let before = match ask.query.get("cursor") {
        None => None,
        Some(cursor) => Some(page::place(list, cursor).ok_or_else(|| {
            bad_parameter("cursor", "invalid_cursor", "This is not a cursor that this list gave.")
        })?),
    };
    Ok(Page { before, limit })
}

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
        idempotency: key.map(|key| IdempotencyKey {
            key,
            fingerprint: idempotency::fingerprint(ask.path, &ask.body),
            answer: Arc::new(move |_, items| single(items, text_field, &base).write()),
        }),
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
    let refusal = Remembered { status: problem.status, body: problem.body(&ask.app.settings.public_url) };
    let remembered = refusal.clone();
    let sent = ask.app.engine.send(Call {
        realm: ask.realm(),
        token: Some(ask.caller().token()),
        requests: Vec::new(),
        batch: None,
        idempotency: Some(IdempotencyKey {
            key,
            fingerprint: idempotency::fingerprint(ask.path, &ask.body),
            answer: Arc::new(move |_, _| remembered.clone().write()),
        }),
    });
    match sent.await? {
        Sent::New(..) => Ok(refusal.response(false)),
        other => repeated(other),
    }
}

/// What a reply is told that somebody else was quicker.
fn overtaken() -> FieldError {
    let detail = "Somebody wrote in this conversation since the entry that you saw last; nothing was sent.";
    FieldError::new("if_last", Code::Overtaken, "overtaken", detail)
}

/// The answer to one message.
fn single(items: &[Item], text_field: &'static str, base: &str) -> Remembered {
    let error = match items.first() {
        Some(Item::Accepted(accepted)) => {
            let body = serde_json::to_vec(&shown_accepted(accepted)).expect("strings are JSON");
            return Remembered { status: 202, body };
        }
        Some(Item::Refused(refusal)) => FieldError::refusal(refusal, text_field),
        Some(Item::Suppressed(reason)) => FieldError::suppressed(*reason),
        Some(Item::Overtaken) => overtaken(),
        Some(Item::CodeRefused(_) | Item::Asked) | None => {
            FieldError::new("", Code::UnknownError, "nothing", "The engine gave no answer.")
        }
    };
    let problem = Problem::from(error);
    Remembered { status: problem.status, body: problem.body(base) }
}

pub(crate) fn shown_accepted(accepted: &engine::Accepted) -> Accepted<'_> {
    Accepted::new(&accepted.message, accepted.status, accepted.held.as_ref(), &accepted.warnings)
        .chosen(accepted.picked.as_ref())
}

pub(crate) fn repeated(sent: Sent) -> Answer {
    match sent {
        Sent::Replayed(stored) => Ok(Remembered::read(&stored).response(true)),
        Sent::KeyReused => Err(Problem::new(
            Code::IdempotencyConflict,
            "This Idempotency-Key was used for another request; nothing was sent.",
        )),
        Sent::Overloaded { why, retry_after_s } => Err(too_much(why, retry_after_s)),
        Sent::New(..) => Err(Problem::new(Code::UnknownError, "The engine gave no answer.")),
    }
}

fn too_much(why: Refused, retry_after_s: u32) -> Problem {
    let later = |detail| Problem {
        retry_after_s: Some(retry_after_s.max(1)),
        ..Problem::new(Code::Unavailable, detail)
    };
    match why {
        Refused::Behind => later("More comes in than can be stored at once; nothing was accepted."),
        Refused::Full => later("Too many messages wait to be sent; nothing was accepted."),
        Refused::AccountFull => Problem::rate_limited(
            retry_after_s,
            "As many messages of this account wait to be sent as may; nothing was accepted.",
        ),
    }
}

/// Refuses before the body is parsed, where nobody is let in anyway.
pub(crate) fn open(ask: &Ask) -> Result<(), Problem> {
    ask.app.engine.accepts_nothing().map_or(Ok(()), |(why, retry_after_s)| Err(too_much(why, retry_after_s)))
}

/// Takes `count` messages from the token's allowance.
pub(crate) fn pace(ask: &Ask, count: usize) -> Result<(), Problem> {
    let caller = ask.caller();
    let per_minute = caller.rate_per_minute.unwrap_or_else(|| ask.app.engine.limits().messages_per_minute);
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let paces: &Pace<TokenId> = &ask.app.messages;
    paces.take(caller.token(), count, per_minute, ask.app.now_ns()).map_err(|wait_s| {
        let detail = format!("This token may send {per_minute} messages a minute; nothing was accepted.");
        Problem::rate_limited(wait_s, detail)
    })
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
        idempotency: key.map(|key| IdempotencyKey {
            key,
            fingerprint: idempotency::fingerprint(ask.path, &ask.body),
            answer: Arc::new(move |batch, items| many(batch, items, &remembered).write()),
        }),
    });
    match sent.await? {
        Sent::New(batch, items) => Ok(many(batch, &items, &parsed).response(false)),
        other => repeated(other),
    }
}

/// The answer to a batch: the engine's items, put back between those that it never saw.
fn many(batch: Option<BatchId>, items: &[Item], parsed: &[Result<&'static str, FieldError>]) -> Remembered {
    enum Outcome<'a> {
        Accepted(Accepted<'a>),
        Refused(FieldError),
    }
    let mut items = items.iter();
    let outcomes: Vec<Outcome<'_>> = parsed
        .iter()
        .map(|parsed| match parsed {
            Err(error) => Outcome::Refused(error.clone()),
            Ok(text_field) => match items.next() {
                Some(Item::Accepted(accepted)) => Outcome::Accepted(shown_accepted(accepted)),
                Some(Item::Refused(refusal)) => Outcome::Refused(FieldError::refusal(refusal, text_field)),
                Some(Item::Suppressed(reason)) => Outcome::Refused(FieldError::suppressed(*reason)),
                Some(Item::CodeRefused(_) | Item::Overtaken | Item::Asked) | None => {
                    Outcome::Refused(FieldError::new("", Code::UnknownError, "nothing", "No answer."))
                }
            },
        })
        .collect();
    let mut errors = Vec::new();
    let mut results = Vec::with_capacity(outcomes.len());
    for outcome in outcomes {
        results.push(match outcome {
            Outcome::Accepted(accepted) => Ok(accepted),
            Outcome::Refused(error) => {
                errors.push(error);
                Err(errors.len() - 1)
            }
        });
    }
    let results = results.into_iter().map(|result| result.map_err(|place| &errors[place])).collect();
    let body = serde_json::to_vec(&BatchAccepted::new(batch, results)).expect("strings are JSON");
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
    json(200, &page::Page::new(List::Messages, data, found.next))
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
            webhook_attempts: found.attempts.iter().map(crate::endpoint::attempt).collect(),
            webhook_deliveries: found.deliveries.iter().map(crate::endpoint::delivery).collect(),
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
    json(200, &page::Page::new(List::Batches, data, found.next))
}

pub(crate) async fn read_batch(ask: Ask) -> Answer {
    let found = ask.app.engine.store().batch(ask.realm(), ask.id()?).await?;
    json(200, &batch_shown(&found.ok_or_else(Problem::not_found)?))
}
