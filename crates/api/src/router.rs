//! From a request to its answer: which line of [`ROUTES`] it is for, and what every answer has.
//!
//! The table is small and does not change, so finding a line is all that is asked of a router. One of a framework wraps
//! each line in boxes and each request in futures, which took a twentieth of the processor time of a message ([decision 42](../../../docs/decisions/0042-the-table-is-the-router.md)).

use crate::ask::{self, Ids};
use crate::problem::Problem;
use crate::{App, ROUTES, Route};
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Request, header};
use axum::response::Response;
use percent_encoding::percent_decode_str;
use std::any::Any;
use std::future::poll_fn;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use tidings_wire::error::Code;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The front door of a running installation. [`serve`](crate::serve) puts it on a listener.
#[derive(Clone)]
pub struct Router {
    app: App,
    lines: Arc<matchit::Router<Line>>,
}

/// The routes of one address, each with a method of its own.
struct Line(Vec<&'static Route>);

impl Line {
    /// `HEAD` is `GET` whose answer the server ends behind its head.
    fn route(&self, method: &Method) -> Option<&'static Route> {
        let wanted = if method == Method::HEAD { &Method::GET } else { method };
        self.0.iter().find(|route| route.method == *wanted).copied()
    }

    /// The value of `Allow`.
    fn allowed(&self) -> String {
        let names = self.0.iter().map(|route| match route.method {
            Method::GET => "GET,HEAD",
            ref other => other.as_str(),
        });
        names.collect::<Vec<_>>().join(",")
    }
}

impl Router {
    /// The router of those routes for which this is true.
    ///
    /// # Panics
    /// If two addresses of the table cannot be told apart.
    pub(crate) fn new(app: App, is_served: impl Fn(&Route) -> bool) -> Self {
        let mut lines: Vec<(&str, Line)> = Vec::new();
        for route in ROUTES.iter().filter(|route| is_served(route)) {
            match lines.iter_mut().find(|(path, _)| *path == route.path) {
                Some((_, line)) => line.0.push(route),
                None => lines.push((route.path, Line(vec![route]))),
            }
        }
        let mut all = matchit::Router::new();
        for (path, line) in lines {
            all.insert(path, line).expect("the addresses of the table can be told apart");
        }
        Self { app, lines: Arc::new(all) }
    }

    /// Answers a request that came from there.
    pub async fn answer(&self, from: IpAddr, request: Request<Body>) -> Response {
        let watch = self.app.engine.clock().stopwatch();
        let method = tracing::enabled!(tracing::Level::DEBUG).then(|| request.method().clone());
        let found = self.find(request.method(), request.uri().path());
        // The route and not the address: a token or a number may have been put there by mistake.
        let path = found.as_ref().map_or("none", |(route, _)| route.path);
        let mut response = match found {
            Ok((route, ids)) => unbroken(ask::answer(self.app.clone(), route, ids, from, request))
                .await
                .unwrap_or_else(broken),
            Err(stranger) => stranger.response(&self.app.settings.public_url),
        };
        let id = format!("req_{:016x}", self.app.engine.clock().id());
        let status = response.status().as_u16();
        if let Some(method) = method {
            tracing::debug!(id, %method, route = path, status, took_ms = watch.elapsed_ms(), "answered");
        } else if status >= 500 {
            tracing::warn!(id, status, "a request was not served");
        }
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID, HeaderValue::try_from(id).expect("it is made of letters and digits"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        response
    }

    /// The route with the parts of its address, or why there is none.
    fn find(&self, method: &Method, path: &str) -> Result<(&'static Route, Ids), Stranger> {
        let found = self.lines.at(path).map_err(|_| Stranger::Address)?;
        let Some(route) = found.value.route(method) else {
            return Err(Stranger::Method { allowed: found.value.allowed() });
        };
        let part = |(name, value): (&str, &str)| {
            // What is no text names nothing.
            let value = percent_decode_str(value).decode_utf8().map_err(|_| Stranger::Name)?;
            Ok((name.to_owned(), value.into_owned()))
        };
        Ok((route, found.params.iter().map(part).collect::<Result<_, _>>()?))
    }
}

/// A request that no route is for.
enum Stranger {
    /// Nothing has this address.
    Address,
    /// An address of this form may have something, but nothing has this name.
    Name,
    /// Something has this address, but not for this method.
    Method { allowed: String },
}

impl Stranger {
    fn response(self, base: &str) -> Response {
        match self {
            Self::Address => Problem::new(Code::NotFound, "There is nothing at this address.").response(base),
            Self::Name => Problem::not_found().response(base),
            Self::Method { allowed } => {
                let problem = Problem::new(Code::MethodNotAllowed, "This address does not take that method.");
                let mut response = problem.response(base);
                let allowed = HeaderValue::try_from(allowed).expect("methods are letters");
                response.headers_mut().insert(header::ALLOW, allowed);
                response
            }
        }
    }
}

/// What this gives, unless it panics.
async fn unbroken<T>(future: impl Future<Output = T>) -> Result<T, Box<dyn Any + Send>> {
    let mut future = pin!(future);
    poll_fn(|context| {
        // What it panicked over is dropped and never polled again.
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    })
    .await
}

fn broken(panic: Box<dyn Any + Send>) -> Response {
    let what = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    tracing::error!(what = what.unwrap_or("unknown"), "a request broke an invariant");
    Problem::new(
        Code::UnknownError,
        "The request could not be finished; it is not known whether it was done.",
    )
    .response("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_answer_also_after_a_wait() {
        let broken_one = async {
            tokio::task::yield_now().await;
            panic!("as intended");
        };
        let response = unbroken(broken_one).await.unwrap_or_else(broken);
        assert_eq!(response.status().as_u16(), Code::UnknownError.status());
        assert_eq!(unbroken(async { 7 }).await.ok(), Some(7));
    }
}
