//! Consent that people are asked for by text.

use crate::ask::{Answer, Ask, json};
use crate::auth;
use crate::consent::{check_programme, recipient};
use crate::idempotency::{self, Remembered};
use crate::send::{open, pace, refusal, remember, repeated};
use tidings_domain::account::Scope;
use tidings_domain::consent_request::NewConsentRequest;
use tidings_engine::{Call, Item, Sent};
use tidings_store::requested;
use tidings_wire::consent_request as wire;
use tidings_wire::page::All;

pub(crate) async fn ask(ask: Ask) -> Answer {
    // It goes to anybody, so it needs the right to send, too.
    if !ask.caller().principal.scopes.has(Scope::MessagesSend) {
        return Err(auth::missing(Scope::MessagesSend));
    }
    open(&ask)?;
    let key = idempotency::key(&ask.headers)?;
    let (mut message, new) = wire::parse(&ask.json()?, ask.door())?;
    check_programme(&ask, new.programme.as_deref())?;
    // It is of what it asks for: whoever left that programme is not asked, and no sender asks for another's.
    let programme = new.programme.as_deref().and_then(|name| ask.app.engine.programmes().meant_by(name));
    message.request.programme = programme.map(|one| one.name.clone());
    pace(&ask, 1)?;
    let text_field = message.text_field;
    let (base, rendered) = (ask.app.settings.public_url.clone(), new.clone());
    let call = Call {
        realm: ask.realm(),
        token: Some(ask.caller().token()),
        requests: vec![message.request],
        batch: None,
        idempotency: remember(&ask, key, move |_, items| made(items, &rendered, text_field, &base)),
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
    match items.first() {
        Some(Item::Accepted(accepted)) => {
            let request = requested(new, &accepted.message, accepted.message.created_at);
            let body = serde_json::to_vec(&wire::shown(&request)).expect("strings are JSON");
            Remembered { status: 202, body }
        }
        other => Remembered::refusal(&refusal(other, text_field).into(), base),
    }
}

pub(crate) async fn list(ask: Ask) -> Answer {
    let engine = &ask.app.engine;
    let now = engine.clock().now();
    let found = engine.store().consent_requests(ask.realm(), recipient(&ask)?, now).await?;
    json(200, &All { data: found.iter().map(wire::shown).collect() })
}
