//! One-time codes.

use crate::ask::{Answer, Ask, json};
use crate::idempotency::{self, Remembered};
use crate::problem::Problem;
use crate::send::{open, pace, refusal, remember, repeated};
use sha2::{Digest, Sha256};
use tidings_domain::code::{self, Mark, NewCode, Refused, Status, Verdict};
use tidings_domain::id::CodeId;
use tidings_domain::octets::hexadecimal;
use tidings_domain::time::Timestamp;
use tidings_domain::velocity::{self, Reason};
use tidings_engine::code::{Checked, CodeSent, Wanted};
use tidings_engine::{Item, Sent};
use tidings_wire::code as wire;
use tidings_wire::error::{Code, FieldError};

/// When to come back where an operator must do something first: seconds.
const RETRY_OPERATOR_S: u32 = 60;

/// Who is counted: the token, and the person as far as the caller says. Of a session only a digest is kept, since it may
/// be all that its holder needs.
fn client(ask: &Ask, person: wire::Client) -> velocity::Client {
    let session = person.session.map(|session| {
        let digest = Sha256::digest(session.as_bytes());
        hexadecimal(&digest[..16])
    });
    velocity::Client { token: Some(ask.caller().token()), address: person.address, session }
}

pub(crate) async fn create(ask: Ask) -> Answer {
    open(&ask)?;
    let codes = ask.app.engine.one_time_codes();
    let parsed = wire::parse(&ask.json()?, ask.door(), codes.brand.as_deref())?;
    let key = idempotency::key(&ask.headers)?;
    let sender = parsed.sender.or(codes.sender).ok_or_else(|| {
        let detail = "Give `from`: this installation has no sender for codes (`sender` in `[codes]`).";
        FieldError::new("from", Code::InvalidSender, "missing", detail)
    })?;
    pace(&ask, 1)?;
    let Some(mark) = codes.key.as_ref().map(tidings_engine::code::Key::mark) else { return Err(no_key()) };
    let resend_after_s = codes.resend_after_s;
    let base = ask.app.settings.public_url.clone();
    let new = parsed.code.clone();
    let sent = ask.app.engine.send_code(Wanted {
        realm: ask.realm(),
        client: client(&ask, parsed.client),
        sender,
        recipient: parsed.recipient,
        template: parsed.template,
        code: parsed.code.clone(),
        idempotency: remember(&ask, key, move |_, items| {
            made(items, &new, mark, resend_after_s)
                .unwrap_or_else(|problem| Remembered::refusal(&problem, &base))
        }),
    });
    match sent.await? {
        CodeSent::Sent(Sent::New(_, items)) => Ok(made(&items, &parsed.code, mark, resend_after_s)
            .map_err(|problem| retried(&ask, &items, problem))?
            .response(false)),
        CodeSent::Sent(other) => repeated(other),
        CodeSent::NoKey | CodeSent::NotFound | CodeSent::TextGone => Err(no_key()),
    }
}

/// The answer to a new code.
fn made(items: &[Item], new: &NewCode, mark: Mark, resend_after_s: i64) -> Result<Remembered, Problem> {
    let Some(Item::Accepted(accepted)) = items.first() else { return Err(refused(items)) };
    let message = &accepted.message;
    let now = message.created_at;
    let code = new.clone().sent(message.realm(), message.id, message.recipient, mark, now);
    let shown = wire::Code::new(&code, resend_after_s, now);
    Ok(Remembered { status: 201, body: serde_json::to_vec(&shown).expect("strings are JSON") })
}

/// Why a code was not sent.
fn refused(items: &[Item]) -> Problem {
    match items.first() {
        Some(Item::CodeRefused(why)) => not_sent(*why),
        other => refusal(other, "text").into(),
    }
}

fn not_sent(why: Refused) -> Problem {
    match why {
        Refused::TooFast(velocity::Refused { reason, .. }) => {
            let (field, detail) = match reason {
                Reason::Number => ("to", "As many codes as may were sent to this phone number."),
                Reason::Session => ("client_session", "As many codes as may were sent for this session."),
                Reason::Address => ("client_address", "As many codes as may were sent for this address."),
                Reason::Prefix => ("to", "As many codes as may were sent to numbers like this one."),
                Reason::Country => ("to", "As many codes as may were sent to this country."),
                Reason::Token => ("", "As many codes as may were sent by this token."),
                Reason::Stopped => (
                    "to",
                    "Numbers like this one get no codes for a while: many were sent to them, and few were typed in.",
                ),
            };
            FieldError::new(field, Code::VelocityExceeded, reason.as_str(), detail).into()
        }
        Refused::TooEarly(_) => Problem::new(Code::RateLimited, "The code was sent a moment ago."),
        Refused::NoSendsLeft => Problem::new(
            Code::CodeSpent,
            format!("The code was sent {} times, and is not sent again.", code::SENDS_MAX),
        ),
        Refused::Over(status) => over(status),
        Refused::Unknown => Problem::not_found(),
    }
}

/// Why nothing can be done with a code in this status.
fn over(status: Status) -> Problem {
    match status {
        Status::Expired => Problem::new(Code::CodeExpired, "The time of this code is over."),
        Status::Spent => Problem::new(
            Code::CodeSpent,
            format!(
                "The code was typed in wrong {} times: also the right one is refused now.",
                code::TRIES_MAX
            ),
        ),
        Status::Approved => Problem::new(Code::CodeClosed, "The code was used already."),
        Status::Canceled => Problem::new(Code::CodeClosed, "The code was taken back."),
        Status::Pending => Problem::new(Code::UnknownError, "The code still waits."),
    }
}

/// The same with when to come back, if time cures it.
fn retried(ask: &Ask, items: &[Item], problem: Problem) -> Problem {
    let until = match items.first() {
        Some(Item::CodeRefused(Refused::TooFast(why))) => Some(why.until),
        Some(Item::CodeRefused(Refused::TooEarly(at))) => Some(*at),
        _ => None,
    };
    let now = ask.app.engine.clock().now();
    let retry_after_s = until.map(|until: Timestamp| {
        let left_ms = until.since_ms(now).max(0) as u64;
        u32::try_from(left_ms.div_ceil(1_000)).unwrap_or(u32::MAX).max(1)
    });
    Problem { retry_after_s, ..problem }
}

fn no_key() -> Problem {
    tracing::error!(
        "one-time codes cannot be made or checked: this node has no key, or another one than that of the others; see key_file in [codes]"
    );
    Problem {
        retry_after_s: Some(RETRY_OPERATOR_S),
        ..Problem::new(
            Code::Unavailable,
            "This server has no key for one-time codes, or another one; nothing was done.",
        )
    }
    .cured_by("Have an operator give every node the same `key_file` in `[codes]`.")
}

/// The code as it stands now.
async fn shown(ask: &Ask, id: CodeId) -> Answer {
    let engine = &ask.app.engine;
    let found = engine.store().code(ask.realm(), id).await?.ok_or_else(Problem::not_found)?;
    let resend_after_s = engine.one_time_codes().resend_after_s;
    json(200, &wire::Code::new(&found, resend_after_s, engine.clock().now()))
}

pub(crate) async fn read(ask: Ask) -> Answer {
    shown(&ask, ask.id()?).await
}

pub(crate) async fn resend(ask: Ask) -> Answer {
    open(&ask)?;
    let id: CodeId = ask.id()?;
    let person = wire::parse_resend(&ask.json()?)?;
    pace(&ask, 1)?;
    match ask.app.engine.resend_code(ask.realm(), id, client(&ask, person)).await? {
        CodeSent::Sent(Sent::New(_, items)) => match items.first() {
            Some(Item::Accepted(..)) => shown(&ask, id).await,
            _ => Err(retried(&ask, &items, refused(&items))),
        },
        CodeSent::Sent(other) => repeated(other),
        CodeSent::NotFound => Err(Problem::not_found()),
        CodeSent::TextGone => Err(Problem::new(
            Code::CodeClosed,
            "The text of the code was removed, so it cannot be sent again; it can still be checked.",
        )),
        CodeSent::NoKey => Err(no_key()),
    }
}

pub(crate) async fn check(ask: Ask) -> Answer {
    let typed = wire::parse_check(&ask.json()?)?;
    let engine = &ask.app.engine;
    match engine.check_code(ask.realm(), ask.id()?, &typed).await? {
        Checked::Done(_, Verdict::Over(status)) => Err(over(status)),
        Checked::Done(code, verdict) => json(200, &wire::Checked::new(&code, verdict, engine.clock().now())),
        Checked::NotFound => Err(Problem::not_found()),
        Checked::NoKey => Err(no_key()),
    }
}

pub(crate) async fn cancel(ask: Ask) -> Answer {
    let engine = &ask.app.engine;
    let (code, done) = engine.cancel_code(ask.realm(), ask.id()?).await?.ok_or_else(Problem::not_found)?;
    let now = engine.clock().now();
    if !done {
        return Err(over(code.status(now)));
    }
    json(200, &wire::Code::new(&code, engine.one_time_codes().resend_after_s, now))
}
