//! Consent that people are asked for by text.

use crate::ask::{Answer, Ask, json};
use crate::auth;
use crate::consent::recipient;
use crate::idempotency::{self, Remembered};
use crate::message::{open, pace, repeated};
use crate::problem::Problem;
use std::sync::Arc;
use tidings_domain::account::Scope;
use tidings_domain::consent_request::NewConsentRequest;
use tidings_engine::{Call, IdempotencyKey, Item, Sent};
use tidings_store::requested;
use tidings_wire::consent_request as wire;
use tidings_wire::error::{Code, FieldError};
use tidings_wire::page::All;

pub(crate) async fn ask(ask: Ask) -> Answer {
    // It goes to anybody, so it needs the right to send, too.
    if !ask.caller().principal.scopes.has(Scope::MessagesSend) {
        return Err(auth::missing(Scope::MessagesSend));
    }
    open(&ask)?;
    let key = idempotency::key(&ask.headers)?;
    let (message, new) = wire::parse(&ask.json()?, ask.door())?;
    pace(&ask, 1)?;
    let text_field = message.text_field;
    let (base, rendered) = (ask.app.settings.public_url.clone(), new.clone());
    let call = Call {
        realm: ask.realm(),
        token: Some(ask.caller().token()),
        requests: vec![message.request],
        batch: None,
        idempotency: key.map(|key| IdempotencyKey {
            key,
            fingerprint: idempotency::fingerprint(ask.path, &ask.body),
            answer: Arc::new(move |_, items| made(items, &rendered, text_field, &base).write()),
        }),
    };
    match ask.app.engine.ask_consent(call, new.clone()).await? {
        Sent::New(_, items) => {
            Ok(made(&items, &new, text_field, &ask.app.settings.public_url).response(false))
        }
        other => repeated(other),
    }
}

/// The answer to a request.
fn made(items: &[Item], new: &NewConsentRequest, text_field: &'static str, base: &str) -> Remembered {
    let error = match items.first() {
        Some(Item::Accepted(accepted)) => {
            let request = requested(new, &accepted.message, accepted.message.created_at);
            let body = serde_json::to_vec(&wire::shown(&request)).expect("strings are JSON");
            return Remembered { status: 202, body };
        }
        Some(Item::Refused(refusal)) => FieldError::refusal(refusal, text_field),
        Some(Item::Suppressed(reason)) => FieldError::suppressed(*reason),
        Some(Item::Asked) => {
            let detail = "The person was asked from this sender and has not answered yet; nothing was sent.";
            FieldError::new("to", Code::ConsentPending, "pending", detail)
        }
        Some(Item::CodeRefused(_) | Item::Overtaken) | None => {
            FieldError::new("", Code::UnknownError, "nothing", "The engine gave no answer.")
        }
    };
    let problem = Problem::from(error);
    Remembered { status: problem.status, body: problem.body(base) }
}

pub(crate) async fn list(ask: Ask) -> Answer {
    let engine = &ask.app.engine;
    let now = engine.clock().now();
    let found = engine.store().consent_requests(ask.realm(), recipient(&ask)?, now).await?;
    json(200, &All { data: found.iter().map(wire::shown).collect() })
}
