//! Webhooks: where customers are told, when an event is tried again at an endpoint, and when the endpoint is given up.
//!
//! Standard Webhooks 1.0: ten tries over three days, any 2xx is success, a redirect is a failure, `410 Gone`
//! switches the endpoint off, `Retry-After` is honoured.

use crate::account::Realm;
use crate::id::{EndpointId, EventId, MessageId};
use crate::retry::Jitter;
use crate::time::Timestamp;

/// Delays before the second to the tenth try: 75 h 35 min in all.
const DELAYS_S: [i64; 9] =
    [5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600];
/// An endpoint that has failed for so long without one success is switched off.
pub const DISABLE_AFTER_MS: i64 = 5 * 24 * 3_600_000;
/// `Retry-After` may ask for at most this.
const LONGEST_RETRY_AFTER_S: i64 = 24 * 3600;

/// Where a customer is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// Whose.
    pub realm: Realm,
    /// The address.
    pub url: String,
    /// What it is for, in the owner's words.
    pub description: String,
    /// The kinds it wants, as [`Kind::bit`](crate::event::Kind::bit)s; 0 for all.
    pub kinds: u32,
    /// Made for one message's callback address: it hears only of messages that name it.
    pub callback_only: bool,
    /// The secret that signs.
    pub secret: Vec<u8>,
    /// The secret before, and until when it signs too.
    pub previous: Option<(Vec<u8>, Timestamp)>,
    /// Why it is switched off, if it is.
    pub disabled: Option<String>,
    /// Since when every try failed.
    pub failing_since: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// One event on its way to one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// What is told.
    pub event: EventId,
    /// To whom.
    pub endpoint: EndpointId,
    /// Tries so far.
    pub tries: u32,
    /// When the next is due.
    pub due_at: Timestamp,
}

/// What the endpoint did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Response {
    /// It answered with this status, and perhaps with `Retry-After` in seconds.
    Answered {
        /// The HTTP status.
        status: u16,
        /// Seconds.
        retry_after_s: Option<i64>,
    },
    /// No usable answer: connection refused, time over, address not allowed.
    Failed,
}

/// What becomes of a delivery after a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The endpoint has it.
    Done,
    /// Try again then.
    RetryAt(Timestamp),
    /// The tries are used up: it is listed as dead and can be replayed.
    Dead,
    /// The endpoint says that it is gone: switch it off.
    Gone,
}

/// One try to tell one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Its place in the log; 0 before it is recorded.
    pub seq: i64,
    /// Whose endpoint.
    pub realm: Realm,
    /// What was told.
    pub event: EventId,
    /// About which message.
    pub message: Option<MessageId>,
    /// To whom.
    pub endpoint: EndpointId,
    /// The due time of the lease that the try held; says which open delivery it settles.
    pub lease: Timestamp,
    /// Which try, from 1.
    pub number: u32,
    /// When it began.
    pub at: Timestamp,
    /// How long it took: ms.
    pub took_ms: u32,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// The request's body. Empty where it can be rendered again from the event.
    pub request: String,
    /// The beginning of the answer's body, or why there was none.
    pub response: String,
    /// What becomes of the delivery.
    pub verdict: Verdict,
}

/// A line may always hold so many deliveries, however many others fill the memory.
const ROOM_ALWAYS: usize = 32;

/// Calls to one endpoint at the same time, before it has shown that it answers.
const CALLERS_FIRST: usize = 16;
/// The same for one that answers.
pub const CALLERS_MAX: usize = 64;

/// Beyond its first calls no endpoint gets more while all together have so many.
const CALLERS_SHARED: usize = 512;

/// How many calls an endpoint may have at the same time that answered so many well since one that it did not, while all
/// endpoints together have `all`: one that answers gets more, and many hold few sockets each.
pub const fn callers(answered: usize, all: usize) -> usize {
    let most = if all < CALLERS_SHARED { CALLERS_MAX - CALLERS_FIRST } else { 0 };
    CALLERS_FIRST + if answered < most { answered } else { most }
}

/// For how many more deliveries of one endpoint there is room in memory, when `own` wait for it already and the memory
/// that all share has `free` places left. An endpoint may take as much as it leaves free: one alone has half of it, and
/// many that answer nobody hold each other small, while one that answers finds room.
pub const fn room(own: usize, free: usize) -> usize {
    // Taking n leaves `free - n`, and `own + n` may not be more than that.
    let fair = free.saturating_sub(own) / 2;
    let always = ROOM_ALWAYS.saturating_sub(own);
    if fair > always { fair } else { always }
}

/// Decides after try number `tries` (1 is the first).
pub fn judge(response: Response, tries: u32, now: Timestamp, jitter: Jitter) -> Verdict {
    let retry_after_s = match response {
        Response::Answered { status: 200..=299, .. } => return Verdict::Done,
        Response::Answered { status: 410, .. } => return Verdict::Gone,
        Response::Answered { retry_after_s, .. } => retry_after_s,
        Response::Failed => None,
    };
    let Some(&delay_s) = DELAYS_S.get(tries.saturating_sub(1) as usize) else { return Verdict::Dead };
    // A tenth more or less, so that what failed together does not come back together.
    let delay_ms = delay_s * 900 + jitter.spread(delay_s * 200);
    let asked_ms = retry_after_s.unwrap_or(0).clamp(0, LONGEST_RETRY_AFTER_S) * 1000;
    Verdict::RetryAt(now.plus_ms(delay_ms.max(asked_ms)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_that_answers_gets_more_callers_and_one_that_does_not_has_few() {
        for (answered, all, expected) in
            [(0, 0, 16), (1, 16, 17), (48, 63, 64), (1_000, 511, 64), (1_000, 512, 16)]
        {
            assert_eq!(callers(answered, all), expected, "{answered} answered, {all} of all");
        }
    }

    #[test]
    fn an_endpoint_may_take_as_much_memory_as_it_leaves_free() {
        for (own, free, expected) in [
            (0, 0, 32),
            (0, 1_000, 500),
            (500, 500, 0),
            (400, 600, 100),
            (10, 20, 22),
            (32, 40, 4),
            (32, 10, 0),
            (5_000, 0, 0),
        ] {
            assert_eq!(room(own, free), expected, "{own} wait, {free} are free");
        }
    }

    #[test]
    fn a_hundred_silent_endpoints_leave_room_for_one_that_answers() {
        let (mut free, mut silent) = (32_768_usize, [0; 100]);
        for _ in 0..10_000 {
            for own in &mut silent {
                if room(*own, free) > 0 {
                    (*own, free) = (*own + 1, free.saturating_sub(1));
                }
            }
        }
        assert!(room(0, free) >= 100, "{free} of 32768 are free");
    }

    fn answered(status: u16, retry_after_s: Option<i64>) -> Response {
        Response::Answered { status, retry_after_s }
    }

    #[test]
    fn ten_tries_over_three_days() {
        let mut now = Timestamp::from_millis(0);
        let mut tries = 1;
        while let Verdict::RetryAt(at) = judge(Response::Failed, tries, now, Jitter(0)) {
            assert!(at > now);
            now = at;
            tries += 1;
        }
        assert_eq!(tries, 10);
        assert!((72..=84).contains(&(now.as_millis() / 3_600_000)), "{now}");
    }

    #[test]
    fn only_2xx_is_success_and_410_ends_it() {
        let at = Timestamp::from_millis(0);
        let check = |response, expected: &str| {
            let verdict = match judge(response, 1, at, Jitter(u32::MAX)) {
                Verdict::Done => "done".to_owned(),
                Verdict::RetryAt(at) => format!("+{}", at.as_millis() / 100),
                Verdict::Dead => "dead".to_owned(),
                Verdict::Gone => "gone".to_owned(),
            };
            assert_eq!(verdict, expected, "{response:?}");
        };
        check(answered(200, None), "done");
        check(answered(204, None), "done");
        check(answered(302, None), "+55");
        check(answered(400, None), "+55");
        check(answered(410, None), "gone");
        check(answered(503, Some(60)), "+600");
        check(answered(503, Some(-5)), "+55");
        check(answered(503, Some(i64::MAX)), "+864000");
        check(Response::Failed, "+55");
    }
}
