//! The only place where an error becomes an HTTP answer.
//!
//! What a caller may know goes into the body; what only an operator may know (the store's words, a panic's) goes
//! into the log, with the request id that both see.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use tidings_wire::error::{Code, FieldError};

/// Seconds after which trying again makes sense when the store is away.
const RETRY_STORE_S: u32 = 2;

/// The same when there is no room: somebody has to make it.
const RETRY_FULL_S: u32 = 30;
/// The same when the process ends and is started again.
const RETRY_BROKEN_S: u32 = 5;

/// Why a request was not done.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub code: Code,
    pub status: u16,
    pub detail: String,
    pub errors: Vec<FieldError>,
    pub retry_after_s: Option<u32>,
    /// `WWW-Authenticate`.
    pub challenge: Option<String>,
    /// What to do about it, where that is not what the code's page says.
    pub cure: Option<&'static str>,
}

impl Problem {
    /// A problem with the usual status of its code.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            status: code.status(),
            detail: detail.into(),
            errors: Vec::new(),
            retry_after_s: None,
            challenge: None,
            cure: None,
        }
    }

    /// The request is well-formed, but these fields are wrong.
    pub fn fields(errors: Vec<FieldError>) -> Self {
        let first = errors.first().expect("a refusal names at least one field");
        let status = match first.code {
            Code::InvalidRequest => 422,
            code => code.status(),
        };
        Self { status, errors: errors.clone(), ..Self::new(first.code, first.detail.clone()) }
    }

    /// There is no such thing, or it belongs to somebody else: the same answer for both.
    pub fn not_found() -> Self {
        Self::new(Code::NotFound, "There is nothing with this id here.")
    }

    /// The same with another cure than that of its code.
    pub fn cured_by(self, cure: &'static str) -> Self {
        Self { cure: Some(cure), ..self }
    }

    /// Too much at once.
    pub fn rate_limited(retry_after_s: u32, detail: impl Into<String>) -> Self {
        Self { retry_after_s: Some(retry_after_s.max(1)), ..Self::new(Code::RateLimited, detail) }
    }

    /// The same with another status.
    pub fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// The body. `base` is the installation's public address.
    pub fn body(&self, base: &str) -> Vec<u8> {
        let mut body =
            tidings_wire::error::Problem::new(base, self.code, self.status, &self.detail, &self.errors);
        body.cure = self.cure.unwrap_or(body.cure);
        serde_json::to_vec(&body).expect("strings and numbers are JSON")
    }

    /// The whole answer.
    pub fn response(self, base: &str) -> Response {
        let mut response = raw(self.status, "application/problem+json", self.body(base));
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(challenge) = self.challenge.and_then(|text| HeaderValue::from_str(&text).ok()) {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// An answer from its parts.
pub(crate) fn raw(status: u16, content_type: &'static str, body: impl Into<axum::body::Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

impl From<tidings_store::Error> for Problem {
    fn from(error: tidings_store::Error) -> Self {
        use tidings_store::Error;
        match error {
            Error::Conflict(what) => Self::new(Code::Conflict, format!("There is a conflict: {what}.")),
            Error::Unavailable(why) => {
                tracing::warn!(why, "the store cannot answer");
                Self {
                    retry_after_s: Some(RETRY_STORE_S),
                    ..Self::new(Code::Unavailable, "The service cannot take this now; nothing was changed.")
                }
            }
            Error::Full(_) => Self {
                retry_after_s: Some(RETRY_FULL_S),
                ..Self::new(Code::Unavailable, "There is no room in the storage; nothing was changed.")
            },
            Error::Broken(why) | Error::Expelled(why) => {
                tracing::error!(why, "nothing can be stored any more");
                Self {
                    retry_after_s: Some(RETRY_BROKEN_S),
                    cure: Some("Repeat it with the same `Idempotency-Key`: it is done once."),
                    ..Self::new(
                        Code::Unavailable,
                        "The storage failed and the service starts again; whether this was done is not known.",
                    )
                }
            }
            Error::Corrupt(why) => {
                tracing::error!(why, "the store is damaged");
                Self {
                    retry_after_s: Some(60),
                    ..Self::new(Code::Unavailable, "The service needs its operator; nothing was changed.")
                }
            }
        }
    }
}

impl From<Vec<FieldError>> for Problem {
    fn from(errors: Vec<FieldError>) -> Self {
        Self::fields(errors)
    }
}

impl From<FieldError> for Problem {
    fn from(error: FieldError) -> Self {
        Self::fields(vec![error])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_code_page_and_cure() {
        let problem =
            Problem::fields(vec![FieldError::new("to", Code::InvalidNumber, "too_short", "Too short.")]);
        let body: serde_json::Value = serde_json::from_slice(&problem.body("https://sms.example")).unwrap();
        assert_eq!(body["type"], "https://sms.example/errors/INVALID_NUMBER");
        assert_eq!(body["status"], 422);
        assert_eq!(body["code"], "INVALID_NUMBER");
        assert_eq!(body["errors"][0]["field"], "to");
        assert!(body["cure"].as_str().unwrap().contains("country code"));
        assert_eq!(problem.response("").headers()["content-type"], "application/problem+json");
    }

    #[test]
    fn a_full_disk_and_a_broken_one_say_whether_anything_was_done() {
        let body = |error: tidings_store::Error| {
            let problem = Problem::from(error);
            let body: serde_json::Value = serde_json::from_slice(&problem.body("")).unwrap();
            (
                body["detail"].as_str().unwrap().to_owned(),
                problem.response("").headers()["retry-after"].clone(),
            )
        };
        let (full, after) = body(tidings_store::Error::Full("13".into()));
        assert!(full.contains("storage") && full.contains("nothing was changed") && after == "30", "{full}");
        let (broken, after) = body(tidings_store::Error::Broken("1034".into()));
        assert!(broken.contains("not known") && after == "5", "{broken}");
    }

    #[test]
    fn what_the_store_says_stays_inside() {
        let problem = Problem::from(tidings_store::Error::Corrupt("page 7 of /var/lib".into()));
        assert!(!String::from_utf8(problem.body("")).unwrap().contains("/var/lib"));
        assert_eq!(problem.response("").headers()["retry-after"], "60");
    }
}
