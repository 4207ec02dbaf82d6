//! What every call has in common that sends something: it is let in, paced and remembered, and told why it was refused.

use crate::ask::{Answer, Ask};
use crate::idempotency::{Remembered, fingerprint};
use crate::pace::Pace;
use crate::problem::Problem;
use std::sync::Arc;
use tidings_domain::id::{BatchId, TokenId};
use tidings_engine::{IdempotencyKey, Item, Refused, Sent};
use tidings_wire::error::{Code, FieldError};

/// Refuses before the body is parsed, where nobody is let in anyway.
pub(crate) fn open(ask: &Ask) -> Result<(), Problem> {
    ask.app.engine.accepts_nothing().map_or(Ok(()), |(why, retry_after_s)| Err(too_much(why, retry_after_s)))
}

/// Takes `count` messages from the token's allowance.
pub(crate) fn pace(ask: &Ask, count: usize) -> Result<(), Problem> {
    let caller = ask.caller();
    let per_minute = caller.rate_per_minute.unwrap_or_else(|| ask.app.engine.limits().messages_per_minute);
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let paces: &Pace<TokenId> = &ask.app.messages;
    paces.take(caller.token(), count, per_minute, ask.app.now_ns()).map_err(|wait_s| {
        let detail = format!("This token may send {per_minute} messages a minute; nothing was accepted.");
        Problem::rate_limited(wait_s, detail)
    })
}

/// What a repeat of this call under the same key is known by, and the answer that it gets.
pub(crate) fn remember(
    ask: &Ask,
    key: Option<String>,
    render: impl Fn(Option<BatchId>, &[Item]) -> Remembered + Send + Sync + 'static,
) -> Option<IdempotencyKey> {
    key.map(|key| IdempotencyKey {
        key,
        fingerprint: fingerprint(ask.path, &ask.body),
        answer: Arc::new(move |batch, items| render(batch, items).write()),
    })
}

/// The answer to a call that was not new.
pub(crate) fn repeated(sent: Sent) -> Answer {
    match sent {
        Sent::Replayed(stored) => Ok(Remembered::read(&stored).response(true)),
        Sent::KeyReused => Err(Problem::new(
            Code::IdempotencyConflict,
            "This Idempotency-Key was used for another request; nothing was sent.",
        )),
        Sent::Overloaded { why, retry_after_s } => Err(too_much(why, retry_after_s)),
        Sent::New(..) => Err(Problem::new(Code::UnknownError, "The engine gave no answer.")),
    }
}

fn too_much(why: Refused, retry_after_s: u32) -> Problem {
    let later = |detail| Problem {
        retry_after_s: Some(retry_after_s.max(1)),
        ..Problem::new(Code::Unavailable, detail)
    };
    match why {
        Refused::Behind => later("More comes in than can be stored at once; nothing was accepted."),
        Refused::Full => later("Too many messages wait to be sent; nothing was accepted."),
        Refused::AccountFull => Problem::rate_limited(
            retry_after_s,
            "As many messages of this account wait to be sent as may; nothing was accepted.",
        ),
    }
}

/// Why what was asked for is no message. `text_field` is the name under which the caller gave the text.
pub(crate) fn refusal(item: Option<&Item>, text_field: &'static str) -> FieldError {
    match item {
        Some(Item::Refused(refusal)) => FieldError::refusal(refusal, text_field),
        Some(Item::Suppressed(entry)) => FieldError::suppressed(entry),
        Some(Item::Overtaken) => {
            let detail =
                "Somebody wrote in this conversation since the entry that you saw last; nothing was sent.";
            FieldError::new("if_last", Code::Overtaken, "overtaken", detail)
        }
        Some(Item::Asked) => {
            let detail = "The person was asked from this sender and has not answered yet; nothing was sent.";
            FieldError::new("to", Code::ConsentPending, "pending", detail)
        }
        // Codes say more than one field can.
        Some(Item::Accepted(_) | Item::CodeRefused(_)) | None => {
            FieldError::new("", Code::UnknownError, "nothing", "The engine gave no answer.")
        }
    }
}
