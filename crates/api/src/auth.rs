//! Who is asking: from a bearer token to a principal.
//!
//! A token with a wrong checksum never reaches the store. Records are kept for at most a second, so that a
//! revocation is in force within a second, on every node. Bad tokens are counted by address and, beyond 20 a minute,
//! answered 429; good tokens from the same address do not notice. Tokens never appear in a log.

use crate::pace::Pace;
use crate::problem::Problem;
use axum::http::{HeaderMap, header};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use subtle::ConstantTimeEq;
use tidings_domain::account::{Principal, Scope};
use tidings_domain::id::TokenId;
use tidings_domain::time::Timestamp;
use tidings_engine::Engine;
use tidings_engine::clock::Stopwatch;
use tidings_store::{Actor, Token};
use tidings_wire::error::Code;
use tidings_wire::token;

/// How long a record may be used before it is read again: revocation is promised within a second.
const FRESH_MS: u64 = 1_000;
/// Records that are kept; more are read again.
const RECORDS_MAX: usize = 10_000;
/// Bad tokens that one address may show a minute.
const FAILURES_PER_MINUTE: u32 = 20;
/// Last uses are recorded to the minute.
const TOUCH_MS: i64 = 60_000;

/// Checks tokens.
#[derive(Debug)]
pub(crate) struct Gate {
    records: Mutex<HashMap<String, Record>>,
    failures: Pace<IpAddr>,
}

#[derive(Debug, Clone)]
struct Record {
    token: Option<Arc<Known>>,
    read: Stopwatch,
}

#[derive(Debug)]
struct Known {
    token: Token,
    used: AtomicI64,
    previous_used: AtomicI64,
}

/// Who is asking, and how fast it may.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub principal: Principal,
    pub rate_per_minute: Option<u32>,
}

impl Caller {
    /// The token. Every caller of the API has one.
    pub fn token(&self) -> TokenId {
        self.principal.token.expect("a caller is made from a token only")
    }
}

impl Gate {
    pub fn new() -> Self {
        Self { records: Mutex::new(HashMap::new()), failures: Pace::new() }
    }

    /// Forgets a record that was just changed, so that this node sees the change at once.
    pub fn forget(&self, lookup: &str) {
        self.records.lock().expect("nothing panics while it holds this").remove(lookup);
    }

    /// Forgets all records.
    pub fn forget_all(&self) {
        self.records.lock().expect("nothing panics while it holds this").clear();
    }

    /// Counts a failure of an address, and says what it is answered.
    pub fn failed(&self, address: IpAddr, now_ns: u64, detail: &str) -> Problem {
        match self.failures.take(subscriber(address), 1, FAILURES_PER_MINUTE, now_ns) {
            Ok(()) => refused(detail, true),
            Err(wait_s) => Problem::rate_limited(wait_s, "Too many bad credentials came from this address."),
        }
    }

    /// Finds out who is asking.
    pub async fn caller(
        &self,
        engine: &Engine,
        headers: &HeaderMap,
        address: IpAddr,
        now_ns: u64,
    ) -> Result<Caller, Problem> {
        let mut given = headers.get_all(header::AUTHORIZATION).iter();
        let Some(value) = given.next() else {
            return Err(refused("There is no token: send it as `Authorization: Bearer …`.", false));
        };
        if given.next().is_some() {
            return Err(Problem::new(Code::InvalidRequest, "There are two Authorization headers."));
        }
        let text = value.to_str().unwrap_or_default();
        let Some(text) = text.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        else {
            return Err(self.failed(
                address,
                now_ns,
                "The Authorization header must be `Bearer` and a token.",
            ));
        };
        const WRONG: &str = "The token is not accepted: it is mistyped, unknown, expired or revoked.";
        let Some(parsed) = token::parse(text.1.trim()) else {
            return Err(self.failed(address, now_ns, WRONG));
        };
        let Some(known) = self.known(engine, parsed.lookup).await? else {
            return Err(self.failed(address, now_ns, WRONG));
        };
        let now = engine.clock().now();
        let token = &known.token;
        let hash = parsed.hash();
        let is_current = bool::from(hash.ct_eq(&token.hash));
        let is_previous =
            token.previous.is_some_and(|(previous, until)| bool::from(hash.ct_eq(&previous)) && now < until);
        let good = (is_current || is_previous)
            && parsed.environment == token.realm.environment
            && token.revoked_at.is_none()
            && token.expires_at.is_none_or(|end| now < end);
        if !good {
            if (is_current || is_previous) && token.revoked_at.is_some() {
                note_revoked(engine, &known, address, now);
            }
            return Err(self.failed(address, now_ns, WRONG));
        }
        touch(engine, &known, now, !is_current);
        Ok(Caller {
            principal: Principal {
                realm: token.realm,
                scopes: token.scopes,
                token: Some(token.id),
                client: token.client,
            },
            rate_per_minute: token.rate_per_minute,
        })
    }

    async fn known(&self, engine: &Engine, lookup: &str) -> Result<Option<Arc<Known>>, Problem> {
        {
            let records = self.records.lock().expect("nothing panics while it holds this");
            if let Some(record) = records.get(lookup)
                && record.read.elapsed_ms() < FRESH_MS
            {
                return Ok(record.token.clone());
            }
        }
        // The watch starts before reading: what was read may be as old as that.
        let read = engine.clock().stopwatch();
        let token = engine.store().token_by_lookup(lookup.to_owned()).await?.map(|token| {
            let millis = |at: Option<Timestamp>| AtomicI64::new(at.map_or(0, Timestamp::as_millis));
            Arc::new(Known {
                used: millis(token.last_used_at),
                previous_used: millis(token.previous_used_at),
                token,
            })
        });
        let mut records = self.records.lock().expect("nothing panics while it holds this");
        if records.len() >= RECORDS_MAX {
            records.retain(|_, record| record.read.elapsed_ms() < FRESH_MS);
            if records.len() >= RECORDS_MAX {
                records.clear();
            }
        }
        records.insert(lookup.to_owned(), Record { token: token.clone(), read });
        Ok(token)
    }
}

/// Records the use behind the request's back, at most once a minute for each secret.
fn touch(engine: &Engine, known: &Known, now: Timestamp, previous: bool) {
    let place = if previous { &known.previous_used } else { &known.used };
    let before = place.load(Ordering::Relaxed);
    let due = now.as_millis() - before >= TOUCH_MS;
    if due && place.compare_exchange(before, now.as_millis(), Ordering::Relaxed, Ordering::Relaxed).is_ok() {
        let (engine, id) = (engine.clone(), known.token.id);
        tokio::spawn(async move {
            if let Err(error) = engine.store().touch_tokens(vec![(id, now, previous)]).await {
                tracing::warn!(%error, "a token's last use was not recorded");
            }
        });
    }
}

/// Somebody still has a secret that was taken back: the trail says so, at most once a minute for each token.
fn note_revoked(engine: &Engine, known: &Known, address: IpAddr, now: Timestamp) {
    let before = known.used.load(Ordering::Relaxed);
    let due = now.as_millis() - before >= TOUCH_MS;
    if due
        && known.used.compare_exchange(before, now.as_millis(), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    {
        let (engine, id) = (engine.clone(), known.token.id);
        let actor = Actor { account: known.token.realm.account, who: id.to_string() };
        tokio::spawn(async move {
            let (action, from) = ("token.revoked_use".to_owned(), format!("from {address}"));
            if let Err(error) = engine.store().record_audit(actor, action, id.to_string(), from, now).await {
                tracing::warn!(%error, "the use of a revoked token was not recorded");
            }
        });
    }
}

fn refused(detail: &str, token_was_given: bool) -> Problem {
    let challenge = match token_was_given {
        true => "Bearer realm=\"tidings\", error=\"invalid_token\"",
        false => "Bearer realm=\"tidings\"",
    };
    Problem { challenge: Some(challenge.to_owned()), ..Problem::new(Code::AuthFailed, detail) }
}

/// A token came in the address, where logs and histories keep it.
pub(crate) fn token_in_address() -> Problem {
    refused(
        "A token must never be in the address; send it as `Authorization: Bearer …` and rotate this one.",
        true,
    )
}

/// Whether a raw query carries something that looks like a token, or a parameter that is meant for one.
pub(crate) fn has_token(raw_query: &str) -> bool {
    raw_query.split('&').any(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        matches!(name, "access_token" | "token" | "api_key" | "apikey" | "authorization")
            || token::looks_like_one(value)
    })
}

/// The token lacks this right.
pub(crate) fn missing(scope: Scope) -> Problem {
    let scope = scope.as_str();
    Problem {
        challenge: Some(format!("Bearer realm=\"tidings\", error=\"insufficient_scope\", scope=\"{scope}\"")),
        ..Problem::new(
            Code::Forbidden,
            format!("This needs the scope `{scope}`, which the token does not have."),
        )
    }
}

/// What one subscriber of the internet has: an IPv4 address, or a /64 of IPv6.
fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            std::net::Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_in_the_address_is_noticed() {
        for (raw, expected) in [
            ("limit=5", false),
            ("access_token=x", true),
            ("token=", true),
            ("a=b&x=tid_live_abc", true),
            ("reference=tidings", false),
        ] {
            assert_eq!(has_token(raw), expected, "{raw}");
        }
    }

    #[test]
    fn failures_are_counted_by_subscriber() {
        let gate = Gate::new();
        let one: IpAddr = "2001:db8::1".parse().unwrap();
        let neighbour: IpAddr = "2001:db8::ffff".parse().unwrap();
        for _ in 0..20 {
            assert_eq!(gate.failed(one, 0, "").status, 401);
        }
        assert_eq!(gate.failed(neighbour, 0, "").status, 429);
        assert_eq!(gate.failed("2001:db8:0:1::1".parse().unwrap(), 0, "").status, 401);
        assert_eq!(gate.failed("::ffff:192.0.2.1".parse().unwrap(), 0, "").status, 401);
    }
}
