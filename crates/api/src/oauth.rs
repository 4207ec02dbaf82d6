//! OAuth 2 for machines: client credentials (RFC 6749 §4.4), metadata (RFC 8414), revocation (RFC 7009) and
//! introspection (RFC 7662).
//!
//! Access tokens are the same reference tokens as all others, in the same table, with a client's name on them and an
//! hour to live. There is no other grant. Errors speak RFC 6749's words.

use crate::ask::{Answer, Ask, json};
use crate::problem::{Problem, raw};
use crate::query::{decode, unescape};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::json as value;
use subtle::ConstantTimeEq;
use tidings_domain::account::{Scope, Scopes};
use tidings_domain::id::TokenId;
use tidings_store::{Actor, Client, Token};
use tidings_wire::account::words;
use tidings_wire::error::Code;
use tidings_wire::token;
use utoipa::ToSchema;

/// How long an access token lives: seconds.
const LIFE_S: i64 = 3600;
/// Access tokens that one client may ask for a minute: each is a row.
const TOKENS_PER_MINUTE: u32 = 60;

/// An access token.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AccessToken {
    /// The token, to be sent as `Authorization: Bearer …`.
    access_token: String,
    /// `Bearer`.
    token_type: &'static str,
    /// How long it lives: seconds.
    expires_in: i64,
    /// What it may do.
    scope: String,
}

/// A refusal in the words of RFC 6749 §5.2.
fn refused(status: u16, error: &'static str, description: &str, challenge: bool) -> Box<Response> {
    let body = value!({ "error": error, "error_description": description });
    let mut response = raw(status, "application/json", body.to_string());
    if challenge {
        let basic = HeaderValue::from_static("Basic realm=\"tidings\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, basic);
    }
    Box::new(response)
}

/// The form, each parameter given once.
fn form(ask: &Ask) -> Result<Vec<(String, String)>, Box<Response>> {
    let pairs = std::str::from_utf8(&ask.body).ok().and_then(decode);
    let repeated = |pairs: &[(String, String)]| {
        pairs
            .iter()
            .enumerate()
            .any(|(place, (name, _))| pairs[..place].iter().any(|(before, _)| before == name))
    };
    match pairs {
        Some(pairs) if !repeated(&pairs) => Ok(pairs),
        _ => Err(refused(400, "invalid_request", "The form cannot be read, or repeats a parameter.", false)),
    }
}

fn get<'f>(form: &'f [(String, String)], name: &str) -> Option<&'f str> {
    form.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// The client that is asking, by HTTP Basic or by the form.
async fn client(ask: &Ask, form: &[(String, String)]) -> Result<Result<Client, Box<Response>>, Problem> {
    let mut given = ask.headers.get_all(header::AUTHORIZATION).iter();
    let basic = given.next();
    let in_form = (get(form, "client_id"), get(form, "client_secret"));
    if given.next().is_some() || (basic.is_some() && in_form.1.is_some()) {
        let detail = "Give the client's credentials once, in the header or in the form.";
        return Ok(Err(refused(400, "invalid_request", detail, false)));
    }
    let credentials = match basic {
        Some(header) => header.to_str().ok().and_then(|text| {
            let (scheme, encoded) = text.split_once(' ')?;
            let decoded =
                STANDARD.decode(encoded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
            let decoded = String::from_utf8(decoded).ok()?;
            let (id, secret) = decoded.split_once(':')?;
            Some((unescape(id)?, unescape(secret)?))
        }),
        None => in_form.0.zip(in_form.1).map(|(id, secret)| (id.to_owned(), secret.to_owned())),
    };
    let app = &ask.app;
    let good = match credentials.as_ref().and_then(|(id, secret)| Some((id.parse().ok()?, secret))) {
        None => None,
        Some((id, secret)) => app.engine.store().client(id).await?.filter(|client| {
            client.revoked_at.is_none() && bool::from(client.hash.ct_eq(&token::hash(secret)))
        }),
    };
    if let Some(client) = good {
        return Ok(Ok(client));
    }
    if credentials.is_some() {
        let problem = app.gate.failed(ask.address, app.now_ns(), "");
        if problem.code == Code::RateLimited {
            return Err(problem);
        }
    }
    Ok(Err(refused(
        401,
        "invalid_client",
        "The client is unknown, revoked, or its secret is wrong.",
        basic.is_some(),
    )))
}

pub(crate) async fn grant(ask: Ask) -> Answer {
    let mut response = match granted(&ask).await? {
        Ok(access) => json(200, &access)?,
        Err(response) => *response,
    };
    // RFC 6749 §5.1.
    response.headers_mut().insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    Ok(response)
}

async fn granted(ask: &Ask) -> Result<Result<AccessToken, Box<Response>>, Problem> {
    let form = match form(ask) {
        Ok(form) => form,
        Err(response) => return Ok(Err(response)),
    };
    let client = match client(ask, &form).await? {
        Ok(client) => client,
        Err(response) => return Ok(Err(response)),
    };
    match get(&form, "grant_type") {
        Some("client_credentials") => {}
        Some(_) => {
            let detail = "Only client_credentials is offered.";
            return Ok(Err(refused(400, "unsupported_grant_type", detail, false)));
        }
        None => return Ok(Err(refused(400, "invalid_request", "grant_type is missing.", false))),
    }
    let scopes = match get(&form, "scope").filter(|scope| !scope.is_empty()) {
        None => client.scopes,
        Some(words) => {
            let asked: Option<Scopes> = words
                .split(' ')
                .filter(|word| !word.is_empty())
                .map(Scope::parse)
                .collect::<Option<Vec<_>>>()
                .map(Scopes::from_iter);
            match asked.filter(|asked| client.scopes.covers(*asked)) {
                Some(asked) => asked,
                None => {
                    let detail = "The scope is unknown or wider than the client's.";
                    return Ok(Err(refused(400, "invalid_scope", detail, false)));
                }
            }
        }
    };
    let app = &ask.app;
    app.grants.take(client.id, 1, TOKENS_PER_MINUTE, app.now_ns()).map_err(|wait_s| {
        Problem::rate_limited(wait_s, "This client asks for too many tokens; a token is good for an hour.")
    })?;
    let clock = app.engine.clock();
    let (minted, now) = (token::mint(client.realm.environment, clock.random()), clock.now());
    let record = Token {
        id: TokenId::from_key(clock.id()),
        lookup: minted.lookup,
        hash: minted.hash,
        previous: None,
        realm: client.realm,
        scopes,
        name: format!("access token of {}", client.name),
        client: Some(client.id),
        created_at: now,
        expires_at: Some(now.plus_s(LIFE_S)),
        revoked_at: None,
        last_used_at: None,
        previous_used_at: None,
        rate_per_minute: None,
    };
    app.gate.forget(&record.lookup);
    app.engine.store().create_token(record, actor(&client)).await?;
    let scope = words(scopes).join(" ");
    Ok(Ok(AccessToken { access_token: minted.text, token_type: "Bearer", expires_in: LIFE_S, scope }))
}

fn actor(client: &Client) -> Actor {
    Actor { account: client.realm.account, who: client.id.to_string() }
}

/// The record of a token that is good now.
async fn live(ask: &Ask, text: &str) -> Result<Option<Token>, Problem> {
    let Some(parsed) = token::parse(text) else { return Ok(None) };
    let (hash, now) = (parsed.hash(), ask.app.engine.clock().now());
    let found = ask.app.engine.store().token_by_lookup(parsed.lookup.to_owned()).await?;
    Ok(found.filter(|record| {
        let current = bool::from(hash.ct_eq(&record.hash));
        let previous =
            record.previous.is_some_and(|(old, until)| bool::from(hash.ct_eq(&old)) && now < until);
        (current || previous)
            && record.realm.environment == parsed.environment
            && record.revoked_at.is_none()
            && record.expires_at.is_none_or(|end| now < end)
    }))
}

pub(crate) async fn revoke(ask: Ask) -> Answer {
    let form = match form(&ask) {
        Ok(form) => form,
        Err(response) => return Ok(*response),
    };
    let client = match client(&ask, &form).await? {
        Ok(client) => client,
        Err(response) => return Ok(*response),
    };
    let Some(text) = get(&form, "token") else {
        return Ok(*refused(400, "invalid_request", "token is missing.", false));
    };
    // Another client's token is answered like an unknown one, and stays.
    if let Some(mut record) = live(&ask, text).await?.filter(|record| record.client == Some(client.id)) {
        let engine = &ask.app.engine;
        let now = engine.clock().now();
        record.revoked_at = Some(now);
        let lookup = record.lookup.clone();
        engine.store().update_token(record, "token.revoke", actor(&client), now).await?;
        ask.app.gate.forget(&lookup);
    }
    json(200, &value!({}))
}

pub(crate) async fn introspect(ask: Ask) -> Answer {
    let form = match form(&ask) {
        Ok(form) => form,
        Err(response) => return Ok(*response),
    };
    let client = match client(&ask, &form).await? {
        Ok(client) => client,
        Err(response) => return Ok(*response),
    };
    let Some(text) = get(&form, "token") else {
        return Ok(*refused(400, "invalid_request", "token is missing.", false));
    };
    let seconds = |at: tidings_domain::time::Timestamp| at.as_millis().div_euclid(1000);
    match live(&ask, text).await?.filter(|record| record.realm == client.realm) {
        None => json(200, &value!({ "active": false })),
        Some(record) => {
            let mut told = value!({
                "active": true,
                "scope": words(record.scopes).join(" "),
                "token_type": "Bearer",
                "iat": seconds(record.created_at),
                "sub": record.realm.account.to_string(),
            });
            if let Some(id) = record.client {
                told["client_id"] = id.to_string().into();
            }
            if let Some(end) = record.expires_at {
                told["exp"] = seconds(end).into();
            }
            json(200, &told)
        }
    }
}

pub(crate) async fn metadata(ask: Ask) -> Answer {
    let configured = ask.app.settings.public_url.as_str();
    let host = ask.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let issuer = if configured.is_empty() { format!("http://{host}") } else { configured.to_owned() };
    let methods = value!(["client_secret_basic", "client_secret_post"]);
    json(
        200,
        &value!({
            "issuer": issuer,
            "token_endpoint": format!("{issuer}/oauth/token"),
            "revocation_endpoint": format!("{issuer}/oauth/revoke"),
            "introspection_endpoint": format!("{issuer}/oauth/introspect"),
            "grant_types_supported": ["client_credentials"],
            "response_types_supported": [],
            "token_endpoint_auth_methods_supported": methods,
            "revocation_endpoint_auth_methods_supported": methods,
            "introspection_endpoint_auth_methods_supported": methods,
            "scopes_supported": Scope::ALL.map(Scope::as_str),
            "service_documentation": format!("{issuer}/docs"),
        }),
    )
}
