//! What is always true of a message's life, whatever happens in whatever order; and the drawing of it in the docs.

use proptest::prelude::*;
use std::collections::BTreeSet;
use tidings_domain::failure::{Failure, FailureClass};
use tidings_domain::gate::Hold;
use tidings_domain::message::{
    Answer, Effect, Input, Life, Outcome, Rules, Segment, State, Status, Terms, poison,
};
use tidings_domain::purpose::Purpose;
use tidings_domain::retry::{Jitter, RetryPolicy};
use tidings_domain::time::Timestamp;

fn failure() -> impl Strategy<Value = Failure> {
    (0..FailureClass::ALL.len(), any::<bool>())
        .prop_map(|(class, transient)| Failure::new(FailureClass::ALL[class], transient, "code", "words"))
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Delivered),
        failure().prop_map(Outcome::Unknown),
        failure().prop_map(Outcome::Expired),
        failure().prop_map(Outcome::Undelivered),
        failure().prop_map(Outcome::Rejected),
    ]
}

/// What may happen; an answer's attempt is counted back from the present one.
#[derive(Debug, Clone)]
enum Step {
    Claim,
    Answer { back: u32, segment: u8, answer: Answer },
    Receipt { segment: u8, outcome: Option<Outcome> },
    TimeUp,
    Orphan,
    Cancel,
    Stop(Failure),
    Hold { seconds: i64, why: Failure },
    Quarantine,
}

fn step(segments: u8) -> impl Strategy<Value = Step> {
    let answer = prop_oneof![
        4 => Just(Answer::Accepted { carrier_id: "id".into() }),
        2 => failure().prop_map(Answer::Refused),
        1 => Just(Answer::None),
        1 => Just(Answer::Unsent),
    ];
    prop_oneof![
        6 => Just(Step::Claim),
        8 => (0..2_u32, 0..segments, answer).prop_map(|(back, segment, answer)| Step::Answer { back, segment, answer }),
        4 => (0..segments, proptest::option::weighted(0.9, outcome())).prop_map(|(segment, outcome)| Step::Receipt { segment, outcome }),
        2 => Just(Step::TimeUp),
        1 => Just(Step::Orphan),
        1 => Just(Step::Cancel),
        1 => failure().prop_map(Step::Stop),
        1 => (0..9_000_i64, failure()).prop_map(|(seconds, why)| Step::Hold { seconds, why }),
        1 => Just(Step::Quarantine),
    ]
}

fn input(step: Step, life: &Life, now: Timestamp) -> Input {
    match step {
        Step::Claim => Input::Claimed,
        Step::Answer { back, segment, answer } => {
            Input::Answered { attempt: life.attempt.saturating_sub(back), segment, answer }
        }
        Step::Receipt { segment, outcome } => {
            Input::Receipt { segment, carrier_id: "id".into(), outcome, raw: String::new() }
        }
        Step::TimeUp => Input::TimeUp,
        Step::Orphan => Input::Orphaned,
        Step::Cancel => Input::Cancel,
        Step::Stop(failure) => Input::Stopped(failure),
        Step::Hold { seconds, why } => {
            Input::Held { attempt: life.attempt, hold: Hold { until: now.plus_s(seconds), why } }
        }
        Step::Quarantine => Input::Quarantined(poison("handling")),
    }
}

/// The name of an input in the drawing.
fn word(input: &Input) -> &'static str {
    match input {
        Input::Claimed => "claimed",
        Input::Answered { answer: Answer::Accepted { .. }, .. } => "accepted",
        Input::Answered { answer: Answer::Refused(_), .. } => "refused",
        Input::Answered { answer: Answer::None, .. } => "no answer",
        Input::Answered { answer: Answer::Unsent, .. } => "not sent",
        Input::Receipt { .. } => "receipt",
        Input::TimeUp => "time is up",
        Input::Orphaned => "process died",
        Input::Cancel => "canceled by its caller",
        Input::Stopped(_) => "stopped by a rule",
        Input::Held { .. } => "held by a rule",
        Input::Quarantined(_) => "crashed the program",
    }
}

struct Tale {
    life: Life,
    now: Timestamp,
    terms: Terms,
    policy: RetryPolicy,
}

impl Tale {
    fn new(purpose: Purpose, segments: u8, scheduled: bool) -> Self {
        let now = Timestamp::from_millis(1_000_000);
        let send_at = scheduled.then(|| now.plus_s(60));
        let terms = Terms { purpose, expires_at: now.plus_s(60 + purpose.default_life_s()) };
        Self {
            life: Life::queued(segments, now, send_at),
            now,
            terms,
            policy: RetryPolicy { max_tries: 3, ..RetryPolicy::default() },
        }
    }

    fn apply(&mut self, input: Input, later_ms: i64, jitter: u32) -> Option<Vec<Effect>> {
        self.now = self.now.plus_ms(later_ms);
        let rules = Rules { retry: &self.policy, jitter: Jitter(jitter) };
        let transition = self.life.apply(input, self.terms, self.now, rules).ok()?;
        self.life = transition.life;
        Some(transition.effects)
    }
}

fn purpose() -> impl Strategy<Value = Purpose> {
    (0..Purpose::ALL.len()).prop_map(|n| Purpose::ALL[n])
}

type Steps = Vec<(Step, i64, u32)>;

fn steps(segments: u8, longest: usize) -> impl Strategy<Value = Steps> {
    proptest::collection::vec(
        (step(segments), prop_oneof![3 => 0..100_i64, 1 => 0..10_000_000_i64], any::<u32>()),
        0..longest,
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// P-20
    #[test]
    fn a_final_state_never_changes_and_unconfirmed_only_to_what_a_receipt_says(
        purpose in purpose(), scheduled in any::<bool>(), steps in steps(3, 40)
    ) {
        let mut tale = Tale::new(purpose, 3, scheduled);
        for (step, later_ms, jitter) in steps {
            let before = tale.life.state.status();
            let is_receipt = matches!(step, Step::Receipt { .. });
            let input = input(step, &tale.life, tale.now);
            tale.apply(input, later_ms, jitter);
            let after = tale.life.state.status();
            if before == Status::Unconfirmed {
                prop_assert!(after == before || (is_receipt && after.is_final()), "{before:?} -> {after:?}");
            } else if before.is_final() {
                prop_assert_eq!(after, before);
            }
        }
    }

    /// P-07
    #[test]
    fn a_marketing_message_is_never_submitted_again_once_the_carrier_may_have_it(steps in steps(1, 40)) {
        let mut tale = Tale::new(Purpose::Marketing, 1, false);
        let mut may_have_it = false;
        for (step, later_ms, jitter) in steps {
            let input = input(step, &tale.life, tale.now);
            let claims = matches!(input, Input::Claimed);
            tale.apply(input, later_ms, jitter);
            let submitted = matches!(tale.life.segments[0], Segment::Submitted);
            prop_assert!(!(claims && submitted && may_have_it), "submitted again");
            may_have_it |= matches!(tale.life.segments[0], Segment::Unanswered | Segment::Accepted { .. } | Segment::Reported { .. });
        }
    }

    /// P-11
    #[test]
    fn nothing_is_submitted_after_its_expiry(purpose in purpose(), steps in steps(2, 40)) {
        let mut tale = Tale::new(purpose, 2, false);
        for (step, later_ms, jitter) in steps {
            let input = input(step, &tale.life, tale.now);
            let claims = matches!(input, Input::Claimed);
            let attempt = tale.life.attempt;
            tale.apply(input, later_ms, jitter);
            if claims && tale.life.attempt > attempt {
                prop_assert!(tale.now < tale.terms.expires_at);
            }
        }
    }

    /// P-06
    #[test]
    fn every_life_ends_when_only_the_clock_goes_on(purpose in purpose(), scheduled in any::<bool>(), steps in steps(3, 40)) {
        let mut tale = Tale::new(purpose, 3, scheduled);
        for (step, later_ms, jitter) in steps {
            let input = input(step, &tale.life, tale.now);
            tale.apply(input, later_ms, jitter);
        }
        // An alert may be sent again every few seconds until it expires: count its time, not its steps.
        for _ in 0..10_000 {
            if tale.life.state.status().is_final() {
                break;
            }
            let Some(at) = tale.life.state.wakes_at() else { break };
            // Nobody takes it from the queue any more: there, its expiry is what wakes it.
            let at = if tale.life.state.is_waiting() { tale.terms.expires_at } else { at };
            let later_ms = at.since_ms(tale.now).max(0);
            tale.apply(Input::TimeUp, later_ms, 0);
        }
        prop_assert!(tale.life.state.status().is_final(), "{:?}", tale.life);
    }

    #[test]
    fn the_end_does_not_depend_on_the_order_of_receipts(
        outcomes in proptest::collection::vec(outcome(), 4), order in Just(vec![0_u8, 1, 2, 3]).prop_shuffle()
    ) {
        let end = |order: &[u8]| {
            let mut tale = Tale::new(Purpose::Transactional, 4, false);
            tale.apply(Input::Claimed, 0, 0);
            for segment in 0..4 {
                tale.apply(Input::Answered { attempt: 1, segment, answer: Answer::Accepted { carrier_id: segment.to_string() } }, 0, 0);
            }
            for &segment in order {
                let outcome = Some(outcomes[usize::from(segment)].clone());
                tale.apply(Input::Receipt { segment, carrier_id: segment.to_string(), outcome, raw: String::new() }, 0, 0);
            }
            tale.life.state.status()
        };
        prop_assert_eq!(end(&order), end(&[0, 1, 2, 3]));
    }
}

/// Every step that a life can take, found by trying everything in every state that can be reached.
fn arrows() -> BTreeSet<(&'static str, &'static str, &'static str)> {
    let fail = |class, transient| Failure::new(class, transient, "code", "words");
    let mut answers = vec![Answer::Accepted { carrier_id: "id".into() }, Answer::None, Answer::Unsent];
    let mut outcomes = vec![None, Some(Outcome::Delivered)];
    for class in FailureClass::ALL {
        answers.push(Answer::Refused(fail(class, true)));
        answers.push(Answer::Refused(fail(class, false)));
        outcomes.push(Some(Outcome::Undelivered(fail(class, false))));
        outcomes.push(Some(Outcome::Rejected(fail(class, false))));
        outcomes.push(Some(Outcome::Expired(fail(class, true))));
        outcomes.push(Some(Outcome::Unknown(fail(class, false))));
    }
    let mut found = BTreeSet::new();
    for purpose in Purpose::ALL {
        for scheduled in [false, true] {
            let mut seen = BTreeSet::new();
            let mut open = vec![(Tale::new(purpose, 1, scheduled), 0)];
            while let Some((tale, depth)) = open.pop() {
                if depth == 7 {
                    continue;
                }
                let held = |until| Input::Held {
                    attempt: tale.life.attempt,
                    hold: Hold { until, why: fail(FailureClass::UnknownError, true) },
                };
                let mut inputs = vec![
                    Input::Claimed,
                    Input::TimeUp,
                    Input::Orphaned,
                    Input::Cancel,
                    Input::Stopped(fail(FailureClass::OptedOut, false)),
                    held(tale.now.plus_s(60)),
                    held(tale.terms.expires_at),
                    Input::Quarantined(poison("handling")),
                ];
                inputs.extend(answers.iter().map(|answer| Input::Answered {
                    attempt: tale.life.attempt,
                    segment: 0,
                    answer: answer.clone(),
                }));
                inputs.extend(outcomes.iter().map(|outcome| Input::Receipt {
                    segment: 0,
                    carrier_id: "id".into(),
                    outcome: outcome.clone(),
                    raw: String::new(),
                }));
                for input in inputs {
                    for late in [false, true] {
                        let mut next = Tale { life: tale.life.clone(), policy: tale.policy.clone(), ..tale };
                        let wait = if late { next.terms.expires_at.since_ms(next.now).max(0) } else { 0 };
                        let from = next.life.state;
                        let word = word(&input);
                        if next.apply(input.clone(), wait, 0).is_none() {
                            continue;
                        }
                        found.insert((name(from), word, name(next.life.state)));
                        let key = format!(
                            "{:?} {:?} {} {}",
                            next.life.segments,
                            name(next.life.state),
                            next.life.tries,
                            next.life.resends
                        );
                        if seen.insert(key) {
                            open.push((next, depth + 1));
                        }
                    }
                }
            }
        }
    }
    found
}

fn name(state: State) -> &'static str {
    match state {
        State::Doubtful { .. } => "doubtful",
        other => other.status().as_str(),
    }
}

const DRAWING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/src/internals/message_life.mmd");

#[test]
fn the_drawing_in_the_docs_shows_every_step() {
    let mut drawing = String::from("stateDiagram-v2\n    [*] --> scheduled\n    [*] --> queued\n");
    let arrows = arrows();
    let pairs: BTreeSet<_> =
        arrows.iter().map(|(from, _, to)| (*from, *to)).filter(|(from, to)| from != to).collect();
    for (from, to) in pairs {
        let words: Vec<_> =
            arrows.iter().filter(|(f, _, t)| *f == from && *t == to).map(|(_, word, _)| *word).collect();
        drawing.push_str(&format!("    {from} --> {to}: {}\n", words.join(", ")));
    }
    for status in Status::ALL.into_iter().filter(|s| s.is_final() && *s != Status::Unconfirmed) {
        drawing.push_str(&format!("    {} --> [*]\n", status.as_str()));
    }
    let path = std::path::Path::new(DRAWING);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("a folder");
        std::fs::write(path, &drawing).expect("the drawing can be written");
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(
        kept, drawing,
        "the life of a message has changed; run the tests with UPDATE=1 to draw it anew"
    );
}
