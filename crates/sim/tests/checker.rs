//! The checks see what they are for: a world without faults is praised, and each tampering with what was seen is found. A
//! check that never complains proves nothing.

use tidings_domain::message::State;
use tidings_domain::purpose::Purpose;
use tidings_domain::sender::Sender;
use tidings_sim::check::check;
use tidings_sim::fault::{Fault, Set};
use tidings_sim::ledger::{Did, Happened, Item, Reply};
use tidings_sim::plan::{Plan, Quiet, minute_of_people};
use tidings_sim::world::{self, Run};

fn calm() -> Run {
    with(Set::NONE)
}

fn with(faults: Set) -> Run {
    world::run(Plan::with(7, faults), false)
}

/// A world with a sender that has a limit of the day: not every one that may have some does.
fn limited() -> Run {
    let mut plans = (7..).map(|seed| Plan::with(seed, Set::NONE.with(Fault::DailyLimit)));
    world::run(plans.find(|plan| !plan.dailies.is_empty()).expect("most have one"), false)
}

/// The promises that are broken after `change`.
fn broken(mut run: Run, change: impl FnOnce(&mut Run)) -> Vec<&'static str> {
    assert_eq!(check(&run), []);
    change(&mut run);
    check(&run).into_iter().map(|violation| violation.promise).collect()
}

#[track_caller]
fn finds(promise: &str, change: impl FnOnce(&mut Run)) {
    finds_in(calm(), promise, change);
}

#[track_caller]
fn finds_in(run: Run, promise: &str, change: impl FnOnce(&mut Run)) {
    let found = broken(run, change);
    assert!(found.contains(&promise), "{promise} is not among {found:?}");
}

/// The place of the first submission of a message of this purpose.
fn submitted(run: &Run, purpose: Purpose) -> usize {
    let is = |id: i64| {
        let of = run.view.messages.iter().find(|timeline| timeline.stored.message.id.key() == id);
        of.is_some_and(|timeline| timeline.stored.message.purpose == purpose)
    };
    run.ledger.submissions.iter().position(|submission| is(submission.message)).expect("there is one")
}

#[test]
fn a_world_without_faults_is_praised() {
    assert_eq!(check(&calm()), []);
}

#[test]
fn a_lost_message_is_found() {
    finds("P-01", |run| drop(run.view.messages.remove(3)));
}

#[test]
fn a_message_that_nobody_asked_for_is_found() {
    finds("P-05", |run| run.view.messages[0].stored.message.reference = Some("999999".to_owned()));
}

#[test]
fn a_message_that_has_not_ended_is_found() {
    finds("P-06", |run| {
        let until = run.view.messages[0].stored.message.expires_at;
        run.view.messages[0].stored.life.state = State::Sent { until };
    });
}

#[test]
fn a_second_submission_of_marketing_is_found() {
    finds("P-07", |run| {
        let first = submitted(run, Purpose::Marketing);
        let again = run.ledger.submissions[first].clone();
        run.ledger.submissions.push(again);
        let submission = run.ledger.submissions.len() as u32 - 1;
        let (ms, _) = run.ledger.entries.last().cloned().expect("things happened");
        run.ledger.entries.push((ms, Happened::Submitted { submission }));
    });
}

#[test]
fn too_much_in_doubt_after_a_crash_is_found() {
    finds("P-08", |run| {
        let last = run.ledger.entries.len() - 1;
        run.ledger.entries[last].1 = Happened::Ready { process: 2, in_doubt: 9, segments: vec![1_000] };
    });
}

#[test]
fn a_late_submission_is_found() {
    finds("P-11", |run| {
        let first = submitted(run, Purpose::Authentication);
        run.ledger.submissions[first].wall_ms += 3_600_000;
    });
}

#[test]
fn marketing_in_quiet_hours_is_found() {
    finds("quiet hours", |run| {
        let at_min = minute_of_people(run.ledger.submissions[submitted(run, Purpose::Marketing)].wall_ms);
        run.plan.quiet = Some(Quiet { opens_min: at_min + 2, closes_min: 24 * 60, refuses: false });
    });
}

#[test]
fn a_day_with_more_than_its_limit_is_found() {
    finds_in(limited(), "daily limit", |run| {
        let begin_ms = run.plan.begin_ms;
        let daily = &mut run.plan.dailies[0];
        let days = run.ledger.submissions.iter().map(|it| daily.zone.day(begin_ms + it.at_ms as i64));
        let days: Vec<i64> = days.collect();
        let most = days.iter().map(|day| days.iter().filter(|other| *other == day).count()).max();
        daily.segments = most.expect("something was sent") as u32 - 1;
    });
}

#[test]
fn a_message_that_is_held_for_nothing_is_found() {
    finds_in(limited(), "daily limit", |run| {
        run.plan.dailies[0].segments += 1_000;
    });
}

#[test]
fn a_sender_from_outside_the_pool_is_found() {
    finds_in(with(Set::NONE.with(Fault::Pools)), "pool", |run| {
        run.ledger.submissions[0].sender = "+15550009999".to_owned();
    });
}

#[test]
fn who_lost_their_sender_is_found() {
    finds_in(with(Set::NONE.with(Fault::Pools)), "pool", |run| {
        let mut timelines: Vec<_> = run.view.messages.iter_mut().map(|it| &mut it.stored.message).collect();
        // The last one to somebody who had another one before.
        let pooled = |sender: &Sender| sender.to_string().starts_with("+1555000222");
        let last = (0..timelines.len()).rev().find(|place| {
            let of = &timelines[*place];
            pooled(&of.sender)
                && timelines[..*place].iter().any(|it| it.recipient == of.recipient && pooled(&it.sender))
        });
        let message = &mut timelines[last.expect("somebody got two")];
        let other = ["+15550002220", "+15550002221"].map(|text| Sender::from_stored(text).expect("a sender"));
        message.sender = if message.sender == other[0] { other[1] } else { other[0] };
        let (id, sender) = (message.id.key(), message.sender);
        for submission in run.ledger.submissions.iter_mut().filter(|it| it.message == id) {
            submission.sender = sender.to_string();
        }
        for (_, what) in &mut run.ledger.entries {
            if let Happened::Replied { reply: Reply::Items(items), .. } = what {
                items.iter_mut().filter(|item| matches!(item, Item::Accepted(of, _) if *of == id)).for_each(
                    |item| {
                        *item = Item::Accepted(id, sender);
                    },
                );
            }
        }
    });
}

#[test]
fn spending_beyond_a_limit_is_found() {
    finds_in(with(Set::NONE.with(Fault::SpendLimit)), "spend limit", |run| {
        let spend = run.plan.spend.as_mut().expect("it is limited");
        (spend.per_day, spend.per_month) = (Some(1), Some(1));
    });
}

#[test]
fn a_refusal_that_was_not_needed_is_found() {
    finds_in(with(Set::NONE.with(Fault::SpendLimit)), "spend limit", |run| {
        let spend = run.plan.spend.as_mut().expect("it is limited");
        (spend.per_day, spend.per_month) = (None, None);
    });
}

#[test]
fn a_validity_that_is_too_long_is_found() {
    finds("P-11", |run| run.ledger.submissions[0].validity_s += 3_600);
}

#[test]
fn a_submission_after_an_opt_out_is_found() {
    finds("P-15", |run| {
        let recipient = run.ledger.submissions.last().expect("something was sent").recipient.clone();
        run.ledger.entries.insert(0, (0, Happened::OptOutAnswered { recipient, process: 1, took_ms: 1 }));
    });
}

#[test]
fn a_receipt_that_is_credited_to_another_message_is_found() {
    finds("P-19", |run| {
        let mut timelines = run.view.messages.iter_mut();
        let mut events = timelines.by_ref().flat_map(|timeline| &mut timeline.events);
        let (_, event) = events.find(|(_, event)| event.raw.is_some()).expect("a receipt came");
        event.raw = Some("sub:0 says:Delivered report:0".to_owned());
        let (_, other) = events.find(|(_, event)| event.raw.is_some()).expect("another came");
        other.raw.clone_from(&event.raw);
    });
}

#[test]
fn a_state_that_goes_back_is_found() {
    use tidings_domain::message::Status;
    finds("P-20", |run| {
        let message = run.view.messages[0].stored.message.id.key();
        let (ms, _) = run.ledger.entries.last().cloned().expect("things happened");
        for status in [Status::Sent, Status::Queued] {
            run.ledger.entries.push((ms, Happened::Shown { message, status }));
        }
    });
}

#[test]
fn an_event_that_was_never_told_is_found() {
    finds("P-23", |run| {
        let event = run.view.events[5].id;
        run.ledger.entries.retain(
            |(_, what)| !matches!(what, Happened::Called { event: of, did: Did::Took, .. } if *of == event),
        );
    });
}

#[test]
fn a_feed_that_skips_is_found() {
    finds("P-23", |run| {
        run.ledger.feed.remove(2);
    });
}

#[test]
fn a_world_that_does_not_come_to_its_end_is_found() {
    finds("healing", |run| run.view.is_settled = false);
}

#[test]
fn two_runs_of_a_seed_are_the_same_and_two_seeds_are_not() {
    let hash = |seed| world::run(Plan::of(seed, Set::NONE), false).ledger.hash();
    for seed in [3, 11, 2_721] {
        assert_eq!(hash(seed), hash(seed), "seed {seed}");
    }
    assert_ne!(hash(3), hash(11));
}
