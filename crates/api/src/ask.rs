//! One request on its way to its handler: who, where, with what. Every route goes through [`answer`], so that no
//! handler can forget a check: address, token, scope, form and size of the body, in this order.

use crate::auth::{self, Caller};
use crate::problem::{Problem, raw};
use crate::query::Query;
use crate::{App, Need, Route, Takes};
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Request, header};
use axum::response::Response;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Frame;
use serde::Serialize;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};
use std::time::Duration;
use tidings_domain::account::Realm;
use tidings_store::Actor;
use tidings_wire::body::Json;
use tidings_wire::error::{Code, FieldError};
use tidings_wire::message::Door;
use tokio::time::Sleep;

/// How long a body may take to arrive: the largest, at 35 kB a second.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a file may take to arrive in all: the largest, at 150 kB a second. Without it, an octet every half minute would keep one
/// of the few places for files for ever.
const FILE_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// The parts of an address that vary, with their names in its route.
pub(crate) type Ids = Vec<(String, String)>;

/// What a handler gives.
pub(crate) type Answer = Result<Response, Problem>;

/// A request that passed all checks of its route.
pub(crate) struct Ask {
    pub app: App,
    caller: Option<Caller>,
    pub ids: Ids,
    pub query: Query,
    pub headers: HeaderMap,
    pub path: &'static str,
    pub body: Bytes,
    /// A file that is yet to come.
    file: Mutex<Option<Body>>,
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

    /// The file that comes, on a route that takes one.
    pub fn file(&self) -> Upload {
        Upload::new(self.file.lock().expect("nothing panics while it holds this").take().unwrap_or_default())
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

/// A file that comes piece by piece.
pub(crate) struct Upload {
    body: Body,
    /// When all of it must be here.
    end: Pin<Box<Sleep>>,
}

impl Upload {
    fn new(body: Body) -> Self {
        Self { body, end: Box::pin(tokio::time::sleep(FILE_TIMEOUT)) }
    }

    /// The next piece; `None` behind the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        let late = |detail| Err(Problem::new(Code::InvalidRequest, detail).with_status(408));
        loop {
            let frame = tokio::select! {
                biased;
                () = &mut self.end => return late("The body took longer than an hour."),
                frame = tokio::time::timeout(BODY_TIMEOUT, self.body.frame()) => frame,
            };
            match frame {
                Ok(None) => return Ok(None),
                Ok(Some(Ok(frame))) => {
                    if let Ok(octets) = frame.into_data() {
                        return Ok(Some(octets));
                    }
                }
                Ok(Some(Err(_))) => {
                    return Err(Problem::new(Code::InvalidRequest, "The body broke off before its end."));
                }
                Err(_) => return late("Nothing of the body came for 30 seconds."),
            }
        }
    }
}

/// The next part of a long answer, and what makes those after it: nothing behind its end.
pub(crate) type Part<S> = Pin<Box<dyn Future<Output = (S, tidings_store::Result<Option<String>>)> + Send>>;

/// A body that is made while it is taken.
struct Long<S> {
    make: fn(S) -> Part<S>,
    part: Option<Part<S>>,
}

impl<S: 'static> hyper::body::Body for Long<S> {
    type Data = Bytes;
    type Error = tidings_store::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tidings_store::Error>>> {
        let Some(part) = &mut self.part else { return Poll::Ready(None) };
        let (state, made) = std::task::ready!(part.as_mut().poll(context));
        self.part = None;
        Poll::Ready(match made {
            Ok(Some(text)) => {
                let next = (self.make)(state);
                self.part = Some(next);
                Some(Ok(Frame::data(Bytes::from(text))))
            }
            Ok(None) => None,
            // The answer breaks off, which whoever takes it sees.
            Err(error) => {
                tracing::warn!(%error, "a long answer was broken off");
                Some(Err(error))
            }
        })
    }
}

/// An answer that is made part by part while it is taken: a file of this type, under this name.
pub(crate) fn long<S: Send + 'static>(
    kind: &'static str,
    name: &str,
    state: S,
    make: fn(S) -> Part<S>,
) -> Answer {
    let mut response = raw(200, kind, Body::new(Long { make, part: Some(make(state)) }));
    let disposition = HeaderValue::from_str(&format!("attachment; filename=\"{name}\""));
    let disposition = disposition.expect("names of ours are letters, digits and dots");
    response.headers_mut().insert(header::CONTENT_DISPOSITION, disposition);
    Ok(response)
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
    ids: Ids,
    address: IpAddr,
    request: Request<Body>,
) -> Response {
    let result = match check(&app, route, ids, address, request).await {
        Ok(ask) => (route.act)(ask).await,
        Err(problem) => Err(problem),
    };
    result.unwrap_or_else(|problem| problem.response(&app.settings.public_url))
}

async fn check(
    app: &App,
    route: &'static Route,
    ids: Ids,
    address: IpAddr,
    request: Request<Body>,
) -> Result<Ask, Problem> {
    let (parts, body) = request.into_parts();
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
    let mut file = None;
    let body = match route.takes {
        Takes::Nothing => Bytes::new(),
        Takes::File(kind) => {
            check_type(&parts.headers, kind)?;
            check_encoding(&parts.headers)?;
            file = Some(body);
            Bytes::new()
        }
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
    let (app, path, file) = (app.clone(), route.path, Mutex::new(file));
    Ok(Ask { app, caller, ids, query, headers: parts.headers, path, body, file, address })
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

fn check_encoding(headers: &HeaderMap) -> Result<(), Problem> {
    let encoding = headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes);
    if encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case(b"identity")) {
        return Err(Problem::new(Code::UnsupportedMediaType, "The body must not be compressed."));
    }
    Ok(())
}

async fn collect(body: Body, headers: &HeaderMap, most: usize) -> Result<Bytes, Problem> {
    check_encoding(headers)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// An octet every seven seconds, for ever.
    fn trickle((): ()) -> Part<()> {
        Box::pin(async {
            tokio::time::sleep(Duration::from_secs(7)).await;
            ((), Ok(Some("x".to_owned())))
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_trickles_in_is_not_waited_for_for_ever() {
        let mut file = Upload::new(Body::new(Long { make: trickle, part: Some(trickle(())) }));
        let mut octets = 0;
        let problem = loop {
            match file.next().await {
                Ok(Some(some)) => octets += some.len(),
                Ok(None) => panic!("it has no end"),
                Err(problem) => break problem,
            }
        };
        assert_eq!((octets, problem.response("").status().as_u16()), (3_600 / 7, 408));
    }
}
