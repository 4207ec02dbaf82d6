//! Whatever happens in whatever order: what the store shows is what the domain says of the same story.

use crate::for_each_backend;
use crate::samples::*;
use proptest::prelude::*;
use tidings_domain::message::{Answer, Input, LEASE_MS, Life, Message, Outcome, Rules, State};
use tidings_domain::purpose::Purpose;
use tidings_domain::queue::Queue;
use tidings_domain::retry::{Jitter, RetryPolicy};
use tidings_domain::time::Timestamp;
use tidings_store::{Backend, Happening, Patience};

/// One thing that a story may tell.
#[derive(Debug, Clone)]
enum Step {
    Wait { seconds: i64 },
    Claim,
    Answer { message: i64, segment: u8, answer: Answer },
    Receipt { message: i64, segment: u8, outcome: Option<Outcome> },
    Wake,
    Recover,
    Cancel { message: i64 },
}

const MESSAGES: i64 = 4;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    use tidings_domain::failure::FailureClass::{Filtered, InvalidNumber, RateLimited, UnknownError};
    let answer = prop_oneof![
        5 => Just(Answer::Accepted { carrier_id: String::new() }),
        1 => Just(Answer::None),
        1 => Just(Answer::Unsent),
        1 => prop_oneof![
            Just(failure(RateLimited, true)), Just(failure(UnknownError, true)),
            Just(failure(Filtered, false)), Just(failure(InvalidNumber, false)),
        ].prop_map(Answer::Refused),
    ];
    let outcome = prop_oneof![
        1 => Just(None),
        4 => Just(Some(Outcome::Delivered)),
        1 => Just(Some(undelivered())),
        1 => Just(Some(Outcome::Unknown(failure(UnknownError, false)))),
    ];
    let step = prop_oneof![
        2 => prop_oneof![Just(1), Just(10), Just(100), Just(8_000), Just(300_000)].prop_map(|seconds| Step::Wait { seconds }),
        3 => Just(Step::Claim),
        5 => (0..MESSAGES, 0..2u8, answer).prop_map(|(message, segment, answer)| Step::Answer { message, segment, answer }),
        4 => (0..MESSAGES, 0..2u8, outcome).prop_map(|(message, segment, outcome)| Step::Receipt { message, segment, outcome }),
        2 => Just(Step::Wake),
        1 => Just(Step::Recover),
        1 => (0..MESSAGES).prop_map(|message| Step::Cancel { message }),
    ];
    proptest::collection::vec(step, 1..40)
}

fn samples() -> Vec<Message> {
    let one = |n: i64| Message {
        purpose: Purpose::ALL[n as usize % 4],
        segments: n as u8 % 2 + 1,
        send_at: (n == 3).then(|| at(50)),
        expires_at: at(7_200),
        ..message(n)
    };
    (0..MESSAGES).map(one).collect()
}

/// The domain by itself, without any store.
struct Model {
    messages: Vec<Message>,
    lives: Vec<Life>,
    /// Segments whose carrier's id is known: a receipt finds them.
    named: Vec<[bool; 2]>,
    /// Messages that were unconfirmed for so long that nothing is expected any more.
    given_up: Vec<bool>,
    /// Receipts that found nobody, in the order in which they came, with when they came.
    parked: Vec<(usize, u8, Option<Outcome>, Timestamp)>,
    policy: RetryPolicy,
}

impl Model {
    fn apply(&mut self, n: usize, input: Input, now: Timestamp) {
        if self.given_up[n] {
            return;
        }
        let terms = self.messages[n].terms();
        let rules = Rules { retry: &self.policy, jitter: Jitter(0) };
        if let Ok(transition) = self.lives[n].apply(input, terms, now, rules) {
            self.lives[n] = transition.life;
        }
    }

    fn receipt(&mut self, n: usize, segment: u8, outcome: Option<Outcome>, now: Timestamp) {
        let carrier_id = carrier_id(n as i64, segment);
        let raw = String::new();
        self.apply(n, Input::Receipt { segment, carrier_id, outcome, raw }, now);
    }
}

fn carrier_id(n: i64, segment: u8) -> String {
    format!("m{n}s{segment}")
}

/// Jitter has no part in the comparison: with no spread the moments are the same on both sides.
fn policy() -> RetryPolicy {
    RetryPolicy {
        max_tries: 3,
        first_delay_ms: 0,
        max_delay_ms: 0,
        throttled_delay_ms: 0,
        max_throttled_delay_ms: 0,
    }
}

async fn tell(store: &std::sync::Arc<dyn Backend>, story: &[Step]) {
    let rules = || Patience { retry: std::sync::Arc::new(policy()), unreachable: None, jitter: Jitter(0) };
    let messages = samples();
    let lives = messages.iter().map(|m| Life::queued(m.segments, START, m.send_at)).collect();
    let mut model = Model {
        lives,
        named: vec![[false; 2]; messages.len()],
        given_up: vec![false; messages.len()],
        parked: Vec::new(),
        messages,
        policy: policy(),
    };
    accept(store, samples()).await;
    let mut now = START;
    for step in story {
        match step {
            Step::Wait { seconds } => now = now.plus_s(*seconds),
            Step::Claim => {
                store.claim(Queue::of(LINE), MANY, now).await.expect("claimed");
                for n in 0..model.lives.len() {
                    if model.lives[n].state.is_waiting() && model.lives[n].state.wakes_at() <= Some(now) {
                        model.apply(n, Input::Claimed, now);
                    }
                }
            }
            Step::Answer { message, segment, answer } => {
                let n = *message as usize;
                let segment = segment % model.messages[n].segments;
                let answer = match answer {
                    Answer::Accepted { .. } => Answer::Accepted { carrier_id: carrier_id(*message, segment) },
                    other => other.clone(),
                };
                let before = model.lives[n].clone();
                let input = Input::Answered { attempt: before.attempt, segment, answer: answer.clone() };
                let out = store.advance(
                    vec![Happening::To { message: id(*message), input: input.clone() }],
                    now,
                    rules(),
                );
                out.await.expect("advanced");
                let waits = before.state.wakes_at().is_some() && !model.given_up[n];
                if matches!(answer, Answer::Accepted { .. }) && waits {
                    model.named[n][usize::from(segment)] = true;
                }
                let meant = before.apply(
                    input.clone(),
                    model.messages[n].terms(),
                    now,
                    Rules { retry: &model.policy, jitter: Jitter(0) },
                );
                model.apply(n, input, now);
                if meant.is_ok() && !model.given_up[n] && matches!(answer, Answer::Accepted { .. }) {
                    // What came before the submission (but for a clock's second) is not about it.
                    let since = match before.state {
                        State::Sending { until } => until.plus_ms(-LEASE_MS - 1_000),
                        _ => START,
                    };
                    let (fits, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut model.parked)
                        .into_iter()
                        .partition(|(parked, part, _, at)| (*parked, *part) == (n, segment) && *at >= since);
                    model.parked = rest;
                    for (n, segment, outcome, _) in fits {
                        model.receipt(n, segment, outcome, now);
                    }
                }
            }
            Step::Receipt { message, segment, outcome } => {
                let n = *message as usize;
                let segment = segment % model.messages[n].segments;
                let receipt =
                    receipt(&carrier_id(*message, segment), number(*message as u64), outcome.clone());
                store.advance(vec![reported(receipt)], now, rules()).await.expect("advanced");
                if model.named[n][usize::from(segment)] {
                    model.receipt(n, segment, outcome.clone(), now);
                } else if model.lives[n].state.wakes_at().is_some() {
                    model.parked.push((n, segment, outcome.clone(), now));
                }
            }
            Step::Wake => {
                while store.wake(MANY, now, rules()).await.expect("woken").more {}
                for n in 0..model.lives.len() {
                    let life = &model.lives[n];
                    let over = life.state.is_waiting() && model.messages[n].expires_at <= now;
                    let due = !life.state.is_waiting() && life.state.wakes_at().is_some_and(|at| at <= now);
                    if due && matches!(life.state, State::Unconfirmed { .. }) {
                        model.named[n] = [false; 2];
                        model.given_up[n] = true;
                    }
                    if over || due {
                        model.apply(n, Input::TimeUp, now);
                    }
                }
            }
            Step::Recover => {
                while store.recover(None, MANY, now, rules()).await.expect("recovered").more {}
                for n in 0..model.lives.len() {
                    if matches!(model.lives[n].state, State::Sending { .. }) {
                        model.apply(n, Input::Orphaned, now);
                    }
                }
            }
            Step::Cancel { message } => {
                let canceled = vec![to(id(*message), Input::Cancel)];
                store.advance(canceled, now, rules()).await.expect("advanced");
                model.apply(*message as usize, Input::Cancel, now);
            }
        }
        for (n, life) in model.lives.iter().enumerate() {
            let shown = stored(store, id(n as i64)).await.life;
            // What was unconfirmed for too long waits for nothing; its moment is no longer kept.
            let over = matches!(life.state, State::Unconfirmed { .. })
                && shown.state.status() == life.state.status();
            let state = if over { life.state } else { shown.state };
            assert_eq!(&Life { state, ..shown }, life, "message {n} at {now} after {step:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn what_the_store_shows_is_what_the_domain_says(story in steps()) {
        for_each_backend(|store| {
            let story = story.clone();
            async move { tell(&store, &story).await }
        });
    }
}
