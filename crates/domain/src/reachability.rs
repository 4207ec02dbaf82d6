//! Which numbers are dead: nothing has reached them for long, and nothing was heard from them.
//!
//! A carrier often does not say that a number is not in use any more. The phone is absent, message after message, each is tried
//! for as long as it is worth something, and comes back. What tells such a number from a phone that is switched off is time:
//! so many messages in a row, over so many days. Anything that is delivered there or comes from there ends the row.
//!
//! Only what says that the phone could not be reached counts ([`Failure::unreached`]): no outage of a carrier, no filter, no time
//! that ran out on our side, nothing of which nobody knows what became of it.

use crate::message::{Life, Outcome, Segment, Status};
use crate::time::Timestamp;

/// When a number is dead, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Messages in a row that did not reach it; at least one.
    pub messages: u32,
    /// From the first of them to the last: ms.
    pub over_ms: i64,
    /// How long it is on the suppression list then: ms. Numbers are given to new people, so it is tried again.
    pub for_ms: i64,
}

/// What the end of a message says of the phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// Something of it was delivered.
    Reached,
    /// It could not be reached, and that is all that is wrong.
    Unreached,
}

/// What this change of a message's life says of the phone: something only where it ends. `before` is where the message was.
pub fn sign(before: Status, life: &Life) -> Option<Sign> {
    let status = life.state.status();
    if status == before || !status.is_final() {
        return None;
    }
    // One segment that is there says that somebody has the phone, whatever became of the others.
    let is_there =
        |segment: &Segment| matches!(segment, Segment::Reported { outcome: Outcome::Delivered, .. });
    if life.segments.iter().any(is_there) {
        return Some(Sign::Reached);
    }
    let failures = || {
        life.segments.iter().filter_map(|segment| match segment {
            Segment::Refused(failure) => Some(failure),
            Segment::Reported { outcome, .. } => outcome.failure(),
            Segment::Waiting | Segment::Submitted | Segment::Unanswered | Segment::Accepted { .. } => None,
        })
    };
    let is_over_there = matches!(status, Status::Undelivered | Status::Expired | Status::Failed)
        && failures().next().is_some()
        && failures().all(|failure| failure.unreached);
    is_over_there.then_some(Sign::Unreached)
}

/// Messages in a row that did not reach a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silence {
    /// How many.
    pub messages: u32,
    /// When the first came back.
    pub since: Timestamp,
    /// When the last did.
    pub last_at: Timestamp,
    /// Until when it counts. It outlives the entries of its number, so that whatever reaches the number finds them by it.
    pub until: Timestamp,
}

impl Silence {
    /// What is known, or one of no message yet.
    fn going_on(known: Option<Self>, now: Timestamp) -> Self {
        let none = Self { messages: 0, since: now, last_at: now, until: now };
        known.filter(|known| known.until >= now).unwrap_or(none)
    }

    /// That of a number which comes on the list as dead now, until its entry ends; `None` for never.
    pub fn of_entry(known: Option<Self>, now: Timestamp, ends: Option<Timestamp>) -> Self {
        let silence = Self::going_on(known, now);
        let ends = ends.unwrap_or(Timestamp::from_millis(i64::MAX));
        Self { until: silence.until.max(ends), ..silence }
    }
}

impl Policy {
    /// With one message more, which came back now. A clock may have gone back meanwhile: what was is not undone by that. It counts
    /// for so long after its last message that one more puts the number on the list again when the entry has ended; whoever was
    /// not tried for longer starts anew.
    pub fn one_more(&self, known: Option<Silence>, now: Timestamp) -> Silence {
        let Silence { messages, since, last_at, until } = Silence::going_on(known, now);
        let last_at = last_at.max(now);
        let kept_ms = self.over_ms.saturating_add(self.for_ms);
        Silence {
            messages: messages.saturating_add(1),
            since,
            last_at,
            until: until.max(last_at.plus_ms(kept_ms)),
        }
    }

    /// Whether nobody is there any more.
    pub const fn is_dead(&self, silence: &Silence) -> bool {
        silence.messages >= self.messages && silence.last_at.since_ms(silence.since) >= self.over_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{Failure, FailureClass};
    use crate::message::State;
    use proptest::prelude::*;

    const DAY_MS: i64 = 24 * 3_600_000;

    fn at(day: i64) -> Timestamp {
        Timestamp::from_millis(0).plus_ms(day * DAY_MS)
    }

    fn failure(unreached: bool) -> Failure {
        Failure { unreached, ..Failure::new(FailureClass::UnknownError, true, "c", "d") }
    }

    fn segment(word: &str) -> Segment {
        let reported = |outcome| Segment::Reported { carrier_id: "id".to_owned(), outcome };
        match word {
            "waiting" => Segment::Waiting,
            "unanswered" => Segment::Unanswered,
            "accepted" => Segment::Accepted { carrier_id: "id".to_owned() },
            "delivered" => reported(Outcome::Delivered),
            "absent" => reported(Outcome::Undelivered(failure(true))),
            "too-late" => reported(Outcome::Expired(failure(true))),
            "network" => reported(Outcome::Undelivered(failure(false))),
            "blocked" => reported(Outcome::Rejected(failure(false))),
            "who-knows" => reported(Outcome::Unknown(failure(false))),
            "refused-absent" => Segment::Refused(failure(true)),
            "refused" => Segment::Refused(failure(false)),
            other => panic!("no such segment: {other}"),
        }
    }

    fn state(status: Status) -> State {
        let until = at(1);
        match status {
            Status::Scheduled => State::Scheduled { due_at: until },
            Status::Queued => State::Queued { due_at: until },
            Status::Sending => State::Sending { until },
            Status::Sent => State::Sent { until },
            Status::Unconfirmed => State::Unconfirmed { until },
            Status::Delivered => State::Delivered,
            Status::Undelivered => State::Undelivered,
            Status::Failed => State::Failed,
            Status::Rejected => State::Rejected,
            Status::Expired => State::Expired,
            Status::Canceled => State::Canceled,
        }
    }

    fn life(status: Status, segments: &str) -> Life {
        let segments = segments.split(' ').map(segment).collect();
        Life { state: state(status), attempt: 1, tries: 1, resends: 0, segments }
    }

    #[test]
    fn only_the_end_of_a_message_at_the_phone_says_something_of_it() {
        let check = |before: &str, after: &str, segments: &str, expected: Option<Sign>| {
            let [before, after] = [before, after].map(|word| Status::parse(word).expect("a status"));
            assert_eq!(sign(before, &life(after, segments)), expected, "{after:?} {segments}");
        };
        let (reached, unreached) = (Some(Sign::Reached), Some(Sign::Unreached));
        check("sent", "delivered", "delivered", reached);
        check("sent", "delivered", "delivered delivered", reached);
        check("sent", "undelivered", "absent", unreached);
        check("sent", "expired", "too-late", unreached);
        check("sent", "expired", "too-late accepted", unreached);
        check("unconfirmed", "expired", "too-late", unreached);
        check("sending", "failed", "refused-absent", unreached);
        // Part of it is there.
        check("sent", "undelivered", "delivered absent", reached);
        check("sent", "undelivered", "absent delivered", reached);
        check("sent", "rejected", "blocked delivered", reached);
        check("sent", "unconfirmed", "delivered accepted", reached);
        // Something else is wrong, perhaps too.
        check("sent", "undelivered", "network", None);
        check("sent", "undelivered", "network absent", None);
        check("sent", "undelivered", "absent network", None);
        check("sent", "rejected", "blocked", None);
        check("sent", "unconfirmed", "who-knows", None);
        check("sent", "unconfirmed", "accepted", None);
        check("sending", "unconfirmed", "unanswered", None);
        check("sending", "rejected", "refused", None);
        check("sending", "rejected", "refused-absent", None);
        check("sending", "failed", "refused", None);
        // It did not come so far, or is not over.
        check("queued", "expired", "waiting", None);
        check("queued", "canceled", "waiting", None);
        check("sent", "sent", "absent accepted", None);
        check("sending", "sent", "delivered accepted", None);
        check("sending", "queued", "refused-absent", None);
        // It was said before.
        check("unconfirmed", "unconfirmed", "delivered accepted", None);
        check("undelivered", "undelivered", "absent", None);
    }

    #[test]
    fn a_number_is_dead_after_so_many_messages_over_so_many_days() {
        let policy = Policy { messages: 3, over_ms: 30 * DAY_MS, for_ms: 90 * DAY_MS };
        // The days on which messages came back, and the one with which the number is dead.
        let check = |days: &[i64], dead: Option<i64>| {
            let mut silence = None;
            let died = days.iter().find(|day| {
                let longer = policy.one_more(silence, at(**day));
                silence = Some(longer);
                policy.is_dead(&longer)
            });
            assert_eq!(died.copied(), dead, "{days:?}");
        };
        check(&[0, 10, 20], None);
        check(&[0, 10, 20, 29, 30], Some(30));
        check(&[0, 1, 2, 3, 4, 5, 6], None);
        check(&[0, 30], None);
        check(&[0, 30, 31], Some(31));
        check(&[0, 0, 120], Some(120));
        // Nobody tried for longer than the days of an entry and of a silence: it begins anew.
        check(&[0, 0, 121], None);
        check(&[0, 0, 121, 122, 151], Some(151));
        // The clock went back.
        check(&[10, 0, 39], None);
        check(&[10, 0, 40], Some(40));
        check(&[0, 31, 5], Some(5));
    }

    #[test]
    fn a_silence_outlives_the_entries_of_its_number_and_is_over_then() {
        let policy = Policy { messages: 3, over_ms: 30 * DAY_MS, for_ms: 90 * DAY_MS };
        let two = policy.one_more(Some(policy.one_more(None, at(0))), at(40));
        assert_eq!((two.messages, two.since, two.until), (2, at(0), at(160)));
        assert_eq!(policy.one_more(Some(two), at(160)).messages, 3);
        assert_eq!(policy.one_more(Some(two), at(161)), policy.one_more(None, at(161)));
        // One that somebody wrote by hand.
        let by_hand = |known, ends: Option<i64>| Silence::of_entry(known, at(50), ends.map(at));
        assert_eq!((by_hand(None, Some(90)).messages, by_hand(None, Some(90)).until), (0, at(90)));
        assert_eq!(by_hand(Some(two), Some(90)), two);
        assert_eq!(by_hand(Some(two), Some(300)), Silence { until: at(300), ..two });
        assert_eq!(by_hand(None, None).until.as_millis(), i64::MAX);
        let endless = Policy { over_ms: i64::MAX, ..policy };
        assert_eq!(endless.one_more(None, at(0)).until.as_millis(), i64::MAX);
    }

    proptest! {
        /// Whatever comes in between: a number dies of a message that did not reach it, and of that many since something last did.
        #[test]
        fn whoever_was_reached_or_heard_starts_anew(
            needed in 1_u32..6,
            over in 0_i64..40,
            story in prop::collection::vec((0_i64..10, prop::bool::weighted(0.8)), 0..60),
        ) {
            let policy = Policy { messages: needed, over_ms: over * DAY_MS, for_ms: 1_000 * DAY_MS };
            let (mut silence, mut row, mut day) = (None, Vec::new(), 0);
            for (later, is_unreached) in story {
                day += later;
                if !is_unreached {
                    (silence, row) = (None, Vec::new());
                    continue;
                }
                row.push(day);
                let longer = policy.one_more(silence, at(day));
                silence = Some(longer);
                let expected = row.len() >= needed as usize && day - row[0] >= over;
                prop_assert_eq!(policy.is_dead(&longer), expected, "{:?}", row);
            }
        }
    }
}
