//! Seeds that broke a promise once, each with the few faults that it takes: they stay as tests of what was mended then, in
//! the program or in a check that asked too much.

use tidings_sim::fault::{Fault, Set};
use tidings_sim::plan::Plan;
use tidings_sim::trial;

#[track_caller]
fn holds(seed: u64, faults: &[Fault]) {
    let faults = faults.iter().fold(Set::NONE, |set, fault| set.with(*fault));
    let outcome = trial::judge(Plan::with(seed, faults), false);
    assert!(outcome.happenings > 0, "nothing happened");
    assert!(outcome.violations.is_empty(), "{}", trial::report(&outcome, "this one"));
}

/// P-07: of three segments one was refused for its content and one for our credentials. The second counted, so that the
/// first was sent again; an "opted out" was forgotten in the same way.
#[test]
fn a_refusal_for_good_counts_beside_one_of_our_credentials() {
    use Fault::*;
    holds(16_720, &[RefusedForGood, RefusedOurs, Outage, Long, FewTries]);
    holds(
        5_236,
        &[
            RefusedOptedOut,
            RefusedOurs,
            Throttled,
            CommitFails,
            ReadFails,
            Crash,
            WallForward,
            Scheduled,
            Long,
            Burst,
            Paused,
            SlowPace,
            FewTries,
        ],
    );
}

/// P-07: the answer came when the alert had been put back to be sent again, and it was a refusal for good.
#[test]
fn a_refusal_for_good_that_comes_late_keeps_an_alert_from_being_sent_again() {
    use Fault::*;
    holds(
        16_153,
        &[
            AnswerLost,
            AnswerLate,
            RefusedForNow,
            RefusedForGood,
            HalfOpen,
            SlowSocket,
            StoreAway,
            CrashAtSubmission,
            Long,
            Paused,
            SmallWindow,
            SlowPace,
            FewTries,
        ],
    );
}

/// P-08: the lane's room was full, and the message that it did not take gave its place in the window away before it was
/// back in the queue. A crash then left more in doubt than a window holds.
#[test]
fn what_a_lane_does_not_take_keeps_its_place_until_it_is_put_back() {
    use Fault::*;
    holds(8_694, &[CommitFails, StoreSlow, CrashAtSubmission, SmallRooms]);
}

/// The answers were lost and the receipts were not, so that all messages had ended before the answers were given up: until
/// then their places in the window are rightly taken. The look at the windows did not wait so long.
#[test]
fn the_place_of_a_lost_answer_is_taken_until_it_is_given_up() {
    use Fault::*;
    holds(15_758, &[AnswerLost, Outage, Crash, WallBack, Burst]);
    holds(22_232, &[AnswerLost, Throttled, LinkBreaks, HalfOpen, Crash, WallBack, Burst, Paused, SlowPace]);
    holds(24_013, &[AnswerLate, ReceiptNever, StoreAway, Crash, Stop, WallBack, Burst, SlowPace]);
}

/// P-15: the receipt of an alert's first try came just before the answer to its second, and that said that the recipient
/// had opted out. The message had ended, so nobody listened.
#[test]
fn an_opt_out_that_a_carrier_answers_counts_although_the_message_has_ended() {
    use Fault::*;
    holds(49_993, &[RefusedOptedOut, LinkBreaks, Cancel, Long, Paused, FewTries]);
    holds(
        87_279,
        &[
            AnswerLost,
            RefusedOptedOut,
            HalfOpen,
            Inbound,
            HookFails,
            HookDown,
            CommitUnknown,
            ReadFails,
            Crash,
            OptOut,
            Long,
            SmallWindow,
            FewTries,
        ],
    );
}

/// P-11: what waited for a slow socket was written with the time that it had before. The carriers of the program take the
/// wait off, and those of the simulation did not.
#[test]
fn what_waits_for_a_slow_socket_is_valid_for_the_rest_of_its_time() {
    use Fault::*;
    holds(50_539, &[Throttled, SlowSocket, Burst, SlowPace]);
    holds(60_499, &[AnswerLost, QueueFull, SlowSocket, OptOut, Lift]);
    holds(74_996, &[SlowSocket, Crash, Burst, Paused, SlowPace]);
}

/// P-13: the process was away for longer than the messages were worth, and told their callers of them only when it was back.
/// Their time had run from the call that was accepted, not from the answer to its repeat.
#[test]
fn a_message_whose_caller_hears_of_it_late_may_expire_early() {
    use Fault::*;
    holds(39_097, &[AnswerLate, ReceiptEarly, HookDown, Crash, CrashAtCommit, Stop, Long, Burst, FewTries]);
    holds(
        86_510,
        &[
            AnswerLost,
            RefusedForGood,
            QueueFull,
            Throttled,
            LinkBreaks,
            HalfOpen,
            Outage,
            ReceiptLate,
            ReceiptReference,
            Inbound,
            HookLost,
            HookGone,
            HookStalls,
            HookDown,
            ReadFails,
            Crash,
            CrashAtCommit,
            Stop,
            Scheduled,
            Long,
            Paused,
        ],
    );
}

/// P-05, P-18: the wall clock was set forward by three days, which is as long as keys are remembered and as long as a
/// receipt corrects `unconfirmed`. Every wait that is over by the clock ends.
#[test]
fn three_days_by_the_clock_end_the_time_of_a_key_and_of_a_late_receipt() {
    use Fault::*;
    holds(42_292, &[Outage, ReceiptLate, Crash, WallBack, Long, SlowPace, FewTries]);
    holds(43_132, &[Stop, Freeze, WallForward, ReplyLost]);
    holds(53_446, &[StoreSlow, Crash, Stop, Freeze, WallForward, Burst, FewTries]);
}

/// P-23: the clock jumped while endpoints were being called, and the leases of those calls were over with it.
#[test]
fn a_jump_of_the_clock_may_tell_an_event_twice() {
    use Fault::*;
    holds(54_797, &[WallForward, Paused, SlowPace]);
}

/// P-06: these messages fell into doubt under a clock that was a day ahead, and were heard of again under the right one, in
/// a process that began later. They end by the clock that dated them.
#[test]
fn what_a_clock_that_was_ahead_has_dated_ends_by_it() {
    use Fault::*;
    holds(47_014, &[HalfOpen, Crash, Freeze, WallForward, Long, FewTries]);
    holds(54_802, &[HalfOpen, Stop, Freeze, WallForward, Long]);
    holds(65_702, &[AnswerLost, RefusedOurs, ReceiptLate, Crash, WallBack, WallForward, Scheduled, Long]);
    holds(
        71_525,
        &[AnswerLate, ReceiptLate, Crash, Stop, Freeze, WallBack, WallForward, Long, Burst, SlowPace],
    );
}

/// P-15: a lift hung in a node that stood still, and was done when the node went on. The check took it for done when it was
/// asked for.
#[test]
fn a_lift_counts_from_when_it_is_done() {
    use Fault::*;
    holds(4_310, &[Stop, Freeze, OptOut, Lift, SeveralNodes]);
}

/// P-07: a claim was done, and the store said that nobody knows. Then the carrier refused the try before for good, long after it had been
/// given up: the alert went once more when the claim's lease was over. The check took the refusal for heard.
#[test]
fn a_late_refusal_is_not_heard_by_a_claim_that_nobody_knows_of() {
    use Fault::*;
    holds(
        85_868,
        &[
            AnswerLate,
            RefusedForNow,
            RefusedForGood,
            ReceiptEarly,
            ReceiptDoubled,
            Inbound,
            HookFails,
            HookStalls,
            HookDown,
            CommitFails,
            CommitUnknown,
            StoreSlow,
            ReadFails,
            StoreAway,
            Burst,
            QuietHours,
            Pools,
        ],
    );
}

/// Quiet hours: the wall clock was set an hour further ahead and back in the same moment, and the process never saw that. The check took it
/// for seen.
#[test]
fn a_clock_that_was_set_and_set_back_at_once_was_not_seen() {
    use Fault::*;
    holds(99_396, &[Freeze, WallBack, WallForward, QuietHours]);
}

/// P-19: our reference has sixteen bits, and a message to the same person whose answer was lost had the same as another one, whose receipt
/// came before its answer: the first was credited with it. What has no id must be from the sender that the receipt names, too.
#[test]
fn a_reference_alone_is_not_enough_where_the_receipt_names_another_sender() {
    use Fault::*;
    let faults = [AnswerLost, HalfOpen, ReceiptEarly, OptOut, Scheduled, SmallWindow, Pools, SpendLimit];
    holds(91_487, &faults);
}

/// P-09: everything stood still for twenty seconds while a process stopped, so that its time was over before its carrier's answers
/// were written down. The check knew of no reason for that doubt.
#[test]
fn a_stop_whose_time_ends_while_all_stands_still_leaves_doubt() {
    use Fault::*;
    holds(48_782, &[CommitFails, StoreSlow, Stop, Freeze, QuietHours, SpendLimit]);
}

/// Quiet hours: offers were let go a moment before the hours began, waited for a socket that took nothing for some seconds,
/// and left in the hours. Now they are given back after a second, and asked again.
#[test]
fn what_waits_for_a_socket_is_asked_again_before_it_goes() {
    use Fault::*;
    holds(51_350, &[SlowSocket, Burst, SlowPace, FewTries, SeveralNodes, QuietHours]);
}

/// P-07: a node that had given a connection back took it for its own for some milliseconds more, and settled as in doubt what
/// its new owner had just claimed: alerts went twice for no reason. The store asks whose the connection is.
#[test]
fn a_node_settles_nothing_on_a_connection_that_another_has() {
    use Fault::*;
    holds(
        3_214,
        &[
            RefusedForNow,
            HalfOpen,
            Outage,
            ReceiptEarly,
            ReceiptNever,
            ReceiptDoubled,
            ReceiptOptedOut,
            ReceiptProgress,
            Inbound,
            HookBusy,
            HookDown,
            CommitFails,
            StoreSlow,
            CrashAtCommit,
            Stop,
            Freeze,
            ReplyLost,
            OptOut,
            Burst,
            Paused,
            SmallRooms,
            SeveralNodes,
            CutFromStore,
            CutFromCarriers,
            Failover,
        ],
    );
}

/// P-06: what the limit of a day held was to wait for quiet hours to end as well, an hour before the limit's midnight. That hour was
/// too short to be another day, and too long to be waited for.
#[test]
fn what_waits_for_one_rule_after_another_ends() {
    use Fault::*;
    holds(474, &[SeveralNodes, QuietHours, DailyLimit, Pools]);
    holds(8_654, &[SeveralNodes, Burst, QuietHours, DailyLimit, Pools]);
}

/// P-27: the choice of a sender waited for a store that did not answer, and the message was worth sending for as long as if its call
/// had come only then. Its time runs from the call.
#[test]
fn a_message_whose_sender_takes_long_to_choose_is_worth_no_more() {
    use Fault::*;
    holds(
        1_154,
        &[
            AnswerLate,
            LinkBreaks,
            HalfOpen,
            ReceiptOptedOut,
            Inbound,
            ReadFails,
            Cancel,
            Scheduled,
            Paused,
            SmallWindow,
            SeveralNodes,
            CutFromStore,
            DailyLimit,
            Pools,
        ],
    );
}
