//! Some seeds for each promise, with the faults that could break it: enough for each change. All promises are looked at in
//! each of them; that what the test is about really happens is looked at too. The long runs are made by
//! `cargo run --release -p tidings-sim`.

use std::ops::Range;
use tidings_sim::fault::{Fault, Set};
use tidings_sim::plan::Plan;
use tidings_sim::trial::{self, Figures};

/// Runs these seeds with these faults; `wanted` must have happened.
fn check(seeds: Range<u64>, faults: &[Fault], wanted: fn(&Figures) -> bool) {
    let faults = faults.iter().fold(Set::NONE, |set, fault| set.with(*fault));
    let mut figures = Figures::default();
    for seed in seeds {
        let outcome = trial::judge(Plan::with(seed, faults).at_their_worst(), false);
        assert!(outcome.violations.is_empty(), "seed {seed}: {:?}", outcome.violations);
        figures.add(&outcome.figures);
    }
    assert!(wanted(&figures), "the seeds do not show what they are about: {figures:?}");
}

/// P-01
#[test]
fn p_01_what_was_answered_survives_every_crash() {
    let faults = [
        Fault::Crash,
        Fault::CrashAtCommit,
        Fault::CrashAtSubmission,
        Fault::CommitUnknown,
        Fault::ReplyLost,
        Fault::Burst,
    ];
    check(0..12, &faults, |seen| seen.crashes > 20 && seen.messages > 300);
}

/// P-05
#[test]
fn p_05_one_key_is_one_message_however_often_it_is_repeated() {
    let faults = [
        Fault::HangUp,
        Fault::ReplyLost,
        Fault::CommitUnknown,
        Fault::CommitFails,
        Fault::Crash,
        Fault::Scheduled,
    ];
    check(100..112, &faults, |seen| seen.repeats > 50);
}

/// P-06
#[test]
fn p_06_every_message_ends_once_and_in_its_time() {
    let faults = [
        Fault::AnswerLost,
        Fault::RefusedForNow,
        Fault::RefusedForGood,
        Fault::ReceiptNever,
        Fault::ReceiptBad,
        Fault::Outage,
        Fault::Cancel,
        Fault::ShortLife,
    ];
    check(200..212, &faults, |seen| seen.messages > 300);
}

/// P-07
#[test]
fn p_07_marketing_is_never_sent_twice() {
    let faults = [
        Fault::AnswerLost,
        Fault::AnswerLate,
        Fault::LinkBreaks,
        Fault::HalfOpen,
        Fault::CrashAtSubmission,
        Fault::CrashAtCommit,
        Fault::Long,
    ];
    check(300..312, &faults, |seen| seen.unanswered > 100);
}

/// P-08
#[test]
fn p_08_a_crash_leaves_no_more_in_doubt_than_the_windows_hold() {
    let faults = [
        Fault::Crash,
        Fault::CrashAtCommit,
        Fault::CrashAtSubmission,
        Fault::StoreSlow,
        Fault::Burst,
        Fault::SmallWindow,
    ];
    check(400..412, &faults, |seen| seen.in_doubt > 5);
}

/// P-10
#[test]
fn p_10_what_is_in_doubt_is_shown_as_that() {
    let faults = [Fault::AnswerLost, Fault::Outage, Fault::ShortLife, Fault::Cancel, Fault::ReceiptNever];
    check(450..460, &faults, |seen| seen.unanswered > 50);
}

/// P-11
#[test]
fn p_11_nothing_is_sent_after_its_end() {
    let faults =
        [Fault::ShortLife, Fault::StoreSlow, Fault::Outage, Fault::SlowPace, Fault::Burst, Fault::Throttled];
    check(500..510, &faults, |seen| seen.submissions > 100);
}

#[test]
fn no_marketing_comes_in_quiet_hours() {
    let faults = [
        Fault::QuietHours,
        Fault::Outage,
        Fault::Throttled,
        Fault::RefusedForNow,
        Fault::SlowPace,
        Fault::Crash,
        Fault::WallBack,
    ];
    check(550..562, &faults, |seen| seen.quiet > 50);
}

#[test]
fn no_more_goes_from_a_sender_in_a_day_than_its_limit() {
    let faults = [
        Fault::DailyLimit,
        Fault::Crash,
        Fault::CrashAtCommit,
        Fault::LinkBreaks,
        Fault::RefusedForNow,
        Fault::SlowSocket,
        Fault::StoreSlow,
        Fault::Long,
        Fault::Burst,
    ];
    check(1_700..1_712, &faults, |seen| seen.full > 50);
}

#[test]
fn who_has_a_sender_of_a_pool_keeps_it_while_it_can_be_used() {
    let faults =
        [Fault::Pools, Fault::DailyLimit, Fault::Paused, Fault::HangUp, Fault::ReplyLost, Fault::Inbound];
    check(1_800..1_812, &faults, |seen| seen.replaced > 5);
}

#[test]
fn no_more_is_spent_than_a_limit_whatever_is_repeated() {
    let faults = [
        Fault::SpendLimit,
        Fault::HangUp,
        Fault::ReplyLost,
        Fault::CommitUnknown,
        Fault::StoreSlow,
        Fault::Crash,
        Fault::Burst,
    ];
    check(1_900..1_912, &faults, |seen| seen.refused > 50);
}

/// P-12
#[test]
fn p_12_what_is_urgent_goes_first() {
    check(600..610, &[Fault::Burst, Fault::SlowPace, Fault::Outage], |seen| seen.submissions > 200);
}

/// P-13
#[test]
fn p_13_throttling_loses_nothing_and_costs_no_try() {
    let faults = [Fault::Throttled, Fault::QueueFull, Fault::RefusedForNow, Fault::FewTries];
    check(700..710, &faults, |seen| seen.submissions > 400);
}

/// P-15
#[test]
fn p_15_nothing_starts_after_an_opt_out_is_answered() {
    let faults = [
        Fault::OptOut,
        Fault::Burst,
        Fault::StoreSlow,
        Fault::AnswerLate,
        Fault::SlowSocket,
        Fault::RefusedOptedOut,
    ];
    check(800..815, &faults, |seen| seen.opt_outs > 30);
}

/// P-18
#[test]
fn p_18_every_receipt_that_was_acknowledged_counts() {
    let faults = [
        Fault::ReceiptEarly,
        Fault::ReceiptLate,
        Fault::ReceiptDoubled,
        Fault::CommitFails,
        Fault::Crash,
        Fault::CrashAtCommit,
        Fault::Inbound,
    ];
    check(900..912, &faults, |seen| seen.reports > 500);
}

/// P-19
#[test]
fn p_19_a_receipt_is_never_credited_to_another_message() {
    let faults = [
        Fault::IdsCollide,
        Fault::ReceiptForms,
        Fault::ReceiptStranger,
        Fault::ReceiptUnknown,
        Fault::ReceiptReference,
        Fault::ReceiptSwapped,
        Fault::AnswerLost,
    ];
    check(1_000..1_010, &faults, |seen| seen.reports > 300);
}

/// P-20
#[test]
fn p_20_a_state_never_goes_back_and_a_repeat_changes_nothing() {
    let faults = [
        Fault::ReceiptDoubled,
        Fault::ReceiptProgress,
        Fault::ReceiptBad,
        Fault::AnswerDoubled,
        Fault::AnswerLate,
        Fault::Long,
    ];
    check(1_100..1_110, &faults, |seen| seen.reports > 400);
}

/// P-23
#[test]
fn p_23_every_event_is_told() {
    let faults = [
        Fault::HookLost,
        Fault::HookRedirects,
        Fault::HookBusy,
        Fault::HookFails,
        Fault::HookStalls,
        Fault::HookDown,
        Fault::Crash,
        Fault::CommitFails,
        Fault::SmallRooms,
    ];
    check(1_200..1_210, &faults, |seen| seen.webhooks > 1_000);
}

/// P-27
#[test]
fn p_27_a_clock_that_jumps_sends_nothing_early_and_revives_nothing() {
    let faults = [
        Fault::WallBack,
        Fault::WallForward,
        Fault::Freeze,
        Fault::Scheduled,
        Fault::ShortLife,
        Fault::SlowPace,
    ];
    check(1_300..1_310, &faults, |seen| seen.steps > 20);
}

/// P-30
#[test]
fn p_30_an_orderly_stop_leaves_nothing_in_doubt() {
    check(1_400..1_410, &[Fault::Stop, Fault::Burst, Fault::SlowSocket], |seen| seen.stops > 10);
}

/// P-01, P-05, P-06, P-07, P-08, P-10, P-11, P-12, P-13, P-15, P-18, P-19, P-20, P-23, P-27, P-30
#[test]
fn a_hundred_seeds_keep_every_promise() {
    for seed in 0..100 {
        let outcome = trial::of_seed(seed);
        assert!(outcome.violations.is_empty(), "{}", trial::report(&outcome, "this one"));
    }
}

/// What may happen to one node among others.
const AMONG_NODES: [Fault; 8] = [
    Fault::SeveralNodes,
    Fault::UnequalNodes,
    Fault::Freeze,
    Fault::Crash,
    Fault::CutFromStore,
    Fault::CutFromCarriers,
    Fault::Failover,
    Fault::NewsLost,
];

/// P-07, P-15, P-28, P-29
#[test]
fn p_28_nodes_that_stand_still_are_cut_off_or_die_keep_every_promise() {
    let faults = [&AMONG_NODES[..], &[Fault::Burst, Fault::OptOut, Fault::Stop]].concat();
    check(1_500..1_512, &faults, |seen| seen.moves > 50 && seen.expelled > 5 && seen.stood > 10);
}

/// P-07, P-28
#[test]
fn nodes_count_and_note_the_same() {
    let more = [
        Fault::DailyLimit,
        Fault::Pools,
        Fault::SpendLimit,
        Fault::Burst,
        Fault::HangUp,
        Fault::CommitUnknown,
    ];
    let faults = [&AMONG_NODES[..], &more].concat();
    check(2_000..2_012, &faults, |seen| seen.full > 20 && seen.refused > 20);
}

/// P-07, P-28
#[test]
fn p_28_a_takeover_doubles_nothing_and_loses_no_receipt() {
    let more = [
        Fault::AnswerLost,
        Fault::AnswerLate,
        Fault::ReceiptEarly,
        Fault::CrashAtSubmission,
        Fault::CommitUnknown,
        Fault::StoreSlow,
        Fault::Long,
    ];
    let faults = [&AMONG_NODES[..], &more].concat();
    check(1_600..1_612, &faults, |seen| seen.moves > 50 && seen.reports > 200);
}
