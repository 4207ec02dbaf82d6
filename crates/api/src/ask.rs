//! One request on its way to its handler: who, where, with what. Every route goes through [`answer`], so that no
//! handler can forget a check: address, token, scope, form and size of the body, in this order.

use crate::auth::{self, Caller};
use crate::problem::{Problem, raw};
use crate::query::Query;
use crate::{App, Need, Route, Takes};
use axum::body::Body;
use axum::extract::connect_info::ConnectInfo;
use axum::http::{HeaderMap, HeaderValue, Request, header};
use axum::response::Response;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Serialize;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use tidings_domain::account::Realm;
use tidings_store::Actor;
use tidings_wire::body::Json;
use tidings_wire::error::{Code, FieldError};
use tidings_wire::message::Door;

/// How long a body may take to arrive: the largest, at 35 kB a second.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// What a handler gives.
pub(crate) type Answer = Result<Response, Problem>;

/// A request that passed all checks of its route.
pub(crate) struct Ask {
    pub app: App,
    caller: Option<Caller>,
    pub ids: Vec<(String, String)>,
    pub query: Query,
    pub headers: HeaderMap,
    pub path: &'static str,
    pub body: Bytes,
    pub address: IpAddr,
}

impl Ask {
    /// Who is asking. Only for routes that need a token.
    pub fn caller(&self) -> &Caller {
        self.caller.as_ref().expect("the route needs a token, or its handler does not ask")
    }

    /// Where the caller may look.
    pub fn realm(&self) -> Realm {
        self.caller().principal.realm
    }

    /// Who goes into the audit trail.
    pub fn actor(&self) -> Actor {
        let principal = &self.caller().principal;
        let who = match principal.client {
            Some(client) => client.to_string(),
            None => self.caller().token().to_string(),
        };
        Actor { account: principal.realm.account, who }
    }

    /// The rules for numbers in this environment.
    pub fn door(&self) -> Door {
        Door { environment: self.realm().environment, default_country: self.app.settings.default_country }
    }

    /// The body. An empty one counts as `{}` where the route says that it may be left out.
    pub fn json(&self) -> Result<Json<'_>, Problem> {
        if self.body.is_empty() && matches!(self.app.route(self.path), Some(Takes::MaybeJson(_))) {
            return Ok(Json::Object(Vec::new()));
        }
        Json::parse(&self.body).map_err(|malformed| Problem::new(Code::InvalidRequest, malformed.detail))
    }

    /// A part of the address, as it came.
    pub fn part(&self, name: &str) -> &str {
        let found = self.ids.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).expect("the route's path has this part")
    }

    /// The id in the address. What is no id names nothing.
    pub fn id<T: std::str::FromStr>(&self) -> Result<T, Problem> {
        self.part("id").parse().map_err(|_| Problem::not_found())
    }
}

/// An answer with a JSON body.
pub(crate) fn json(status: u16, body: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(body).expect("strings and numbers are JSON");
    Ok(raw(status, "application/json", body))
}

/// An answer without a body.
pub(crate) fn nothing() -> Answer {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = axum::http::StatusCode::NO_CONTENT;
    Ok(response)
}

/// Takes a request through the checks of its route to its handler.
pub(crate) async fn answer(
    app: App,
    route: &'static Route,
    ids: Vec<(String, String)>,
    request: Request<Body>,
) -> Response {
    let result = match check(&app, route, ids, request).await {
        Ok(ask) => (route.act)(ask).await,
        Err(problem) => Err(problem),
    };
    result.unwrap_or_else(|problem| problem.response(&app.settings.public_url))
}

async fn check(
    app: &App,
    route: &'static Route,
    ids: Vec<(String, String)>,
    request: Request<Body>,
) -> Result<Ask, Problem> {
    let (parts, body) = request.into_parts();
    let address = parts
        .extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip());
    let raw_query = parts.uri.query().unwrap_or_default();
    if auth::has_token(raw_query) {
        return Err(auth::token_in_address());
    }
    let caller = match route.need {
        Need::Nothing => None,
        Need::Token => Some(app.gate.caller(&app.engine, &parts.headers, address, app.now_ns()).await?),
        Need::Scope(scope) => {
            let caller = app.gate.caller(&app.engine, &parts.headers, address, app.now_ns()).await?;
            if !caller.principal.scopes.has(scope) {
                return Err(auth::missing(scope));
            }
            Some(caller)
        }
    };
    let query = Query::read(raw_query, route.query)?;
    let body = match route.takes {
        Takes::Nothing => Bytes::new(),
        Takes::Json(_) | Takes::MaybeJson(_) | Takes::Form => {
            let body = collect(body, &parts.headers, route.body_max).await?;
            let optional = matches!(route.takes, Takes::MaybeJson(_)) && body.is_empty();
            let wanted = match route.takes {
                Takes::Form => "application/x-www-form-urlencoded",
                _ => "application/json",
            };
            if !optional {
                check_type(&parts.headers, wanted)?;
            }
            body
        }
    };
    Ok(Ask { app: app.clone(), caller, ids, query, headers: parts.headers, path: route.path, body, address })
}

fn check_type(headers: &HeaderMap, wanted: &'static str) -> Result<(), Problem> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case(wanted) {
        let detail = format!("The body must be sent with `Content-Type: {wanted}`.");
        return Err(Problem::new(Code::UnsupportedMediaType, detail)
            .cured_by("Send the body and its header as `detail` says."));
    }
    Ok(())
}

async fn collect(body: Body, headers: &HeaderMap, most: usize) -> Result<Bytes, Problem> {
    let encoding = headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes);
    if encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case(b"identity")) {
        return Err(Problem::new(Code::UnsupportedMediaType, "The body must not be compressed."));
    }
    let too_large =
        || Problem::new(Code::PayloadTooLarge, format!("A body here may have at most {most} octets."));
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|octets| octets > most as u64) {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, most).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Problem::new(Code::InvalidRequest, "The body broke off before its end.")),
        Err(_) => {
            Err(Problem::new(Code::InvalidRequest, "The body took longer than 30 seconds.").with_status(408))
        }
    }
}

/// A wrong parameter of the address, as a problem of status 400.
pub(crate) fn bad_parameter(name: &'static str, reason: &'static str, detail: &str) -> Problem {
    Problem::from(FieldError::new(name, Code::InvalidRequest, reason, detail)).with_status(400)
}
