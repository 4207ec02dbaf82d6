//! Webhook endpoints: making, changing, trying out, telling again.

use crate::ask::{Answer, Ask, json, nothing};
use crate::page::page;
use crate::problem::Problem;
use tidings_domain::id::EndpointId;
use tidings_store::{Endpoint, Replay};
use tidings_wire::endpoint::{self, Again, SECRET_OCTETS};
use tidings_wire::error::{Code, FieldError};
use tidings_wire::page::{All, List, Page};

/// Endpoints of one realm that are made by hand. An event is told to each, so they must be few.
const ENDPOINTS_MAX: usize = 50;

/// The endpoint in the address, if it is the caller's.
async fn found(ask: &Ask) -> Result<Endpoint, Problem> {
    let id: EndpointId = ask.id()?;
    let all = ask.app.engine.store().endpoints(Some(ask.realm())).await?;
    all.into_iter().find(|endpoint| endpoint.id == id).ok_or_else(Problem::not_found)
}

fn check_url(ask: &Ask, url: &str) -> Result<(), Problem> {
    let checked = ask.app.engine.check_url(url);
    checked.map_err(|why| FieldError::new("url", Code::InvalidUrl, "not_callable", why).into())
}

pub(crate) async fn create(ask: Ask) -> Answer {
    let wanted = endpoint::parse(&ask.json()?, false)?;
    let url = wanted.url.expect("the shape requires it");
    check_url(&ask, &url)?;
    let engine = &ask.app.engine;
    let made = engine.store().endpoints(Some(ask.realm())).await?;
    if made.iter().filter(|endpoint| !endpoint.callback_only).count() >= ENDPOINTS_MAX {
        let detail = format!("An account can have at most {ENDPOINTS_MAX} endpoints in an environment.");
        return Err(Problem::new(Code::LimitExceeded, detail));
    }
    let endpoint = Endpoint {
        id: EndpointId::from_key(engine.clock().id()),
        realm: ask.realm(),
        url,
        description: wanted.description.unwrap_or_default(),
        kinds: wanted.kinds.unwrap_or(0),
        callback_only: false,
        secret: engine.clock().random::<SECRET_OCTETS>().to_vec(),
        previous: None,
        disabled: None,
        failing_since: None,
        created_at: engine.clock().now(),
    };
    engine.store().create_endpoint(endpoint.clone(), ask.actor()).await?;
    engine.endpoints_changed();
    json(201, &endpoint::Endpoint::with_secret(&endpoint))
}

pub(crate) async fn list(ask: Ask) -> Answer {
    let all = ask.app.engine.store().endpoints(Some(ask.realm())).await?;
    json(200, &All { data: all.iter().map(endpoint::Endpoint::new).collect() })
}

pub(crate) async fn read(ask: Ask) -> Answer {
    json(200, &endpoint::Endpoint::new(&found(&ask).await?))
}

async fn save(ask: &Ask, endpoint: &Endpoint) -> Result<(), Problem> {
    let engine = &ask.app.engine;
    let saved = engine.store().update_endpoint(endpoint.clone(), ask.actor(), engine.clock().now()).await?;
    engine.endpoints_changed();
    if saved { Ok(()) } else { Err(Problem::not_found()) }
}

pub(crate) async fn change(ask: Ask) -> Answer {
    let mut endpoint = found(&ask).await?;
    let wanted = endpoint::parse(&ask.json()?, true)?;
    if let Some(url) = wanted.url {
        check_url(&ask, &url)?;
        endpoint.url = url;
    }
    endpoint.description = wanted.description.unwrap_or(endpoint.description);
    endpoint.kinds = wanted.kinds.unwrap_or(endpoint.kinds);
    match wanted.enabled {
        Some(true) => {
            endpoint.disabled = None;
            endpoint.failing_since = None;
        }
        Some(false) if endpoint.disabled.is_none() => {
            endpoint.disabled = Some(format!("switched off by {}", ask.actor().who));
        }
        _ => {}
    }
    save(&ask, &endpoint).await?;
    json(200, &endpoint::Endpoint::new(&endpoint))
}

pub(crate) async fn delete(ask: Ask) -> Answer {
    let engine = &ask.app.engine;
    let (id, now) = (ask.id()?, engine.clock().now());
    let deleted = engine.store().delete_endpoint(ask.realm(), id, ask.actor(), now).await?;
    engine.endpoints_changed();
    if deleted { nothing() } else { Err(Problem::not_found()) }
}

pub(crate) async fn rotate(ask: Ask) -> Answer {
    let mut endpoint = found(&ask).await?;
    let overlap_s = endpoint::parse_rotation(&ask.json()?)?;
    let clock = ask.app.engine.clock();
    let fresh = clock.random::<SECRET_OCTETS>().to_vec();
    let old = std::mem::replace(&mut endpoint.secret, fresh);
    endpoint.previous = (overlap_s > 0).then(|| (old, clock.now().plus_s(overlap_s)));
    save(&ask, &endpoint).await?;
    json(200, &endpoint::Endpoint::with_secret(&endpoint))
}

pub(crate) async fn attempts(ask: Ask) -> Answer {
    let endpoint = found(&ask).await?;
    let page = page(&ask, List::Attempts)?;
    let found = ask.app.engine.attempts(ask.realm(), endpoint.id, page).await?;
    json(
        200,
        &Page::new(List::Attempts, found.items.iter().map(endpoint::Attempt::new).collect(), found.next),
    )
}

pub(crate) async fn replay(ask: Ask) -> Answer {
    let id: EndpointId = ask.id()?;
    let what = match endpoint::parse_replay(&ask.json()?)? {
        Again::One(event) => Replay::One(event),
        Again::Range(since, until) => Replay::Range(since, until),
    };
    let events = ask.app.engine.replay(ask.realm(), id, what, ask.actor()).await?;
    json(202, &endpoint::Replayed { events: events.ok_or_else(Problem::not_found)? })
}

pub(crate) async fn test(ask: Ask) -> Answer {
    let endpoint = found(&ask).await?;
    let made = ask.app.engine.test_endpoint(endpoint, ask.actor()).await?;
    json(200, &endpoint::Attempt::new(&made))
}
