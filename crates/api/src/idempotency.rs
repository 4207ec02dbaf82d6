//! Idempotency keys: how a repeat of a request is known, and what it is answered.
//!
//! The key is stored with the messages in one commit (`engine` does that). The answer that is stored begins with
//! its status, because a refusal can be repeated too.

use crate::problem::{Problem, raw};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use sha2::{Digest, Sha256};
use tidings_wire::error::{Code, FieldError};

/// Characters of a key.
const KEY_MAX: usize = 255;

/// The key of a request, if it has one. The quoted form of the IETF draft and the bare form are the same key.
pub(crate) fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut given = headers.get_all("idempotency-key").iter();
    let Some(value) = given.next() else { return Ok(None) };
    let wrong = |reason, detail: &str| {
        let error = FieldError::new("Idempotency-Key", Code::InvalidRequest, reason, detail);
        Err(Problem::from(error).with_status(400))
    };
    if given.next().is_some() {
        return wrong("given_twice", "There are two Idempotency-Key headers.");
    }
    let text = value.to_str().unwrap_or_default().trim();
    let text = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    let fits = (1..=KEY_MAX).contains(&text.len()) && text.bytes().all(|octet| octet.is_ascii_graphic());
    if !fits {
        return wrong("length", "An Idempotency-Key has 1 to 255 visible characters.");
    }
    Ok(Some(text.to_owned()))
}

/// What tells two requests apart.
pub(crate) fn fingerprint(path: &str, body: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(path).chain_update([0]).chain_update(body).finalize().into()
}

/// An answer in the form in which it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remembered {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Remembered {
    /// A refusal. `base` is the installation's public address.
    pub fn refusal(problem: &Problem, base: &str) -> Self {
        Self { status: problem.status, body: problem.body(base) }
    }

    /// For the store.
    pub fn write(self) -> Vec<u8> {
        [&self.status.to_be_bytes()[..], &self.body].concat()
    }

    /// From the store.
    pub fn read(stored: &[u8]) -> Self {
        match stored.split_first_chunk() {
            Some((status, body)) => Self { status: u16::from_be_bytes(*status), body: body.to_vec() },
            None => Self { status: 500, body: Vec::new() },
        }
    }

    /// As an answer, marked if it is a repeat.
    pub fn response(self, replayed: bool) -> Response {
        let kind = if self.status < 400 { "application/json" } else { "application/problem+json" };
        let mut response = raw(self.status, kind, self.body);
        if replayed {
            response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("idempotency-key", value.parse().unwrap());
        }
        match key(&headers) {
            Ok(key) => key.unwrap_or_default(),
            Err(problem) => problem.status.to_string(),
        }
    }

    #[test]
    fn a_key_has_one_to_255_visible_characters() {
        let longest = "k".repeat(255);
        for (values, expected) in [
            (&[][..], ""),
            (&["order-1"], "order-1"),
            (&["\"order-1\""], "order-1"),
            (&[""], "400"),
            (&["\"\""], "400"),
            (&["a b"], "400"),
            (&["a", "a"], "400"),
            (&[&longest], &longest),
            (&[&"k".repeat(256)], "400"),
        ] {
            assert_eq!(of(values), expected, "{values:?}");
        }
    }

    #[test]
    fn a_stored_answer_comes_back_with_its_status() {
        let answer = Remembered { status: 422, body: b"{}".to_vec() };
        assert_eq!(Remembered::read(&answer.clone().write()), answer);
        assert_eq!(answer.response(true).headers()["idempotency-replayed"], "true");
    }

    #[test]
    fn a_fingerprint_tells_address_and_body_apart() {
        assert_ne!(fingerprint("/v1/sms", b"a"), fingerprint("/v1/messages", b"a"));
        assert_ne!(fingerprint("/v1/sms", b"a"), fingerprint("/v1/sms", b"b"));
    }
}
