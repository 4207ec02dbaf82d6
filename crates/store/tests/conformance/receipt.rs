//! Receipts: whose they are, when they come early, late, twice, or never fit.

use crate::samples::*;
use crate::{for_each_backend, for_each_place};
use tidings_domain::account::Environment;
use tidings_domain::failure::FailureClass;
use tidings_domain::id::ConnectionId;
use tidings_domain::message::{Answer, LATE_RECEIPT_MS, Message, Outcome, RECEIPT_GRACE_MS, Status};
use tidings_domain::purpose::Purpose;
use tidings_domain::receipt::{IdForm, Receipt, our_reference};
use tidings_store::*;

/// P-19
#[test]
fn a_receipt_finds_its_message_however_the_carrier_writes_the_id() {
    for_each_backend(|store| async move {
        let cases = [
            ("abc", "abc", IdForm::Any),
            ("ABC1", "abc1", IdForm::Same),
            ("00017", "17", IdForm::Any),
            ("18", "0000018", IdForm::Any),
            ("deadbeef", "3735928559", IdForm::Any),
            ("DEADBEE0", "3735928544", IdForm::HexThenDecimal),
            ("3735928545", "deadbee1", IdForm::DecimalThenHex),
            ("ffffffffffffffffffffffff", "79228162514264337593543950335", IdForm::Any),
            ("00000000-0000-abcd", "00000000-0000-ABCD", IdForm::Any),
        ];
        for (n, (answer, printed, id_form)) in cases.into_iter().enumerate() {
            let n = n as i64;
            let id = sending(&store, message(n)).await;
            advance(&store, vec![taken(id, 1, 0, answer)], START).await;
            let receipt = Receipt { id_form, ..receipt(printed, number(n as u64), Some(Outcome::Delivered)) };
            let out = advance(&store, vec![reported(receipt)], at(1)).await;
            assert_eq!(out.statuses, [Some(Status::Delivered)], "{answer} {printed}");
        }
        assert_eq!(store.statistics(at(1)).await.expect("numbers").parked, 0);
    });
}

/// P-18
#[test]
fn a_receipt_that_comes_before_the_answer_waits_for_it() {
    for_each_backend(|store| async move {
        let id = sending(&store, message(1)).await;
        let early =
            Receipt { id_form: IdForm::Any, ..receipt("3735928559", number(1), Some(Outcome::Delivered)) };
        let out = advance(&store, vec![reported(early)], at(1)).await;
        assert_eq!((out.parked, out.statuses), (1, vec![None]));
        assert_eq!(store.statistics(at(1)).await.expect("numbers").parked, 1);
        let out = advance(&store, vec![taken(id, 1, 0, "DEADBEEF")], at(2)).await;
        assert_eq!(out.statuses, [Some(Status::Delivered)]);
        assert_eq!(store.statistics(at(2)).await.expect("numbers").parked, 0);
    });
}

/// P-19
#[test]
fn a_receipt_is_never_given_to_another_recipient() {
    for_each_backend(|store| async move {
        let id = sending(&store, message(1)).await;
        advance(&store, vec![taken(id, 1, 0, "7")], START).await;
        let out = advance(&store, vec![delivered("7", number(2))], at(1)).await;
        assert_eq!((out.parked, status(&store, id).await), (1, Status::Sent));
        // Nor on another connection.
        let elsewhere = Happening::Receipt {
            connection: OTHER_LINE,
            receipt: receipt("7", number(1), Some(Outcome::Delivered)),
        };
        assert_eq!(advance(&store, vec![elsewhere], at(1)).await.parked, 1);
        assert_eq!(status(&store, id).await, Status::Sent);
    });
}

#[test]
fn a_receipt_may_come_on_any_connection_to_the_carrier_of_its_message() {
    for_each_backend(|store| async move {
        const THIRD: ConnectionId = ConnectionId::from_key(3);
        let on = |connection, n| Message { connection, ..message(n) };
        let earlier = sending(&store, on(OTHER_LINE, 31)).await;
        advance(&store, vec![taken(earlier, 1, 0, "earlier")], at(1)).await;
        let north = [LINE, OTHER_LINE].map(|line| (line, Environment::Live, "north"));
        store.carriers().set(north.into_iter().chain([(THIRD, Environment::Test, "north")]));
        let came = |connection, carrier_id: &str, n: i64| Happening::Receipt {
            connection,
            receipt: receipt(carrier_id, number(n as u64), Some(Outcome::Delivered)),
        };
        // What went out before it was said where they lead.
        let out = advance(&store, vec![came(OTHER_LINE, "earlier", 31)], at(2)).await;
        assert_eq!(out.statuses, [Some(Status::Delivered)]);
        // After the answer, on the one that it went out on and on another one.
        let ids = [(LINE, OTHER_LINE), (OTHER_LINE, LINE), (OTHER_LINE, OTHER_LINE)];
        for (n, (sent_on, came_on)) in (1..).zip(ids) {
            let id = sending(&store, on(sent_on, n)).await;
            let carrier_id = format!("after{n}");
            advance(&store, vec![taken(id, 1, 0, &carrier_id)], at(1)).await;
            let out = advance(&store, vec![came(THIRD, &carrier_id, n)], at(2)).await;
            assert_eq!((out.parked, status(&store, id).await), (1, Status::Sent), "that is another carrier");
            let out = advance(&store, vec![came(came_on, &carrier_id, n)], at(3)).await;
            assert_eq!(out.statuses, [Some(Status::Delivered)], "sent on {sent_on:?}, came on {came_on:?}");
            // Nothing is left of what was expected: the same once more belongs to nobody.
            assert_eq!(advance(&store, vec![came(came_on, &carrier_id, n)], at(4)).await.parked, 1);
        }
        let before = store.statistics(at(4)).await.expect("numbers").parked;
        // Before the answer, and instead of it.
        for (n, (sent_on, came_on)) in (11..).zip(ids) {
            let id = sending(&store, on(sent_on, n)).await;
            let carrier_id = format!("before{n}");
            assert_eq!(advance(&store, vec![came(came_on, &carrier_id, n)], at(5)).await.parked, 1);
            let out = advance(&store, vec![taken(id, 1, 0, &carrier_id)], at(6)).await;
            assert_eq!(out.statuses, [Some(Status::Delivered)], "sent on {sent_on:?}, came on {came_on:?}");
        }
        for (n, (sent_on, came_on)) in (21..).zip(ids) {
            let id = sending(&store, on(sent_on, n)).await;
            advance(&store, vec![answered(id, 1, 0, Answer::None)], at(7)).await;
            let receipt = Receipt {
                our_reference: Some(our_reference(id, 0)),
                ..receipt(&format!("instead{n}"), number(n as u64), Some(Outcome::Delivered))
            };
            let out = advance(&store, vec![Happening::Receipt { connection: came_on, receipt }], at(8)).await;
            assert_eq!(out.statuses, [Some(Status::Delivered)], "sent on {sent_on:?}, came on {came_on:?}");
        }
        assert_eq!(store.statistics(at(8)).await.expect("numbers").parked, before);
    });
}

/// P-19
#[test]
fn a_receipt_that_fits_two_messages_is_given_to_neither() {
    for_each_backend(|store| async move {
        let same = |n| Message { recipient: number(1), ..message(n) };
        accept(&store, [same(1), same(2)]).await;
        claim_at(&store, START).await;
        advance(&store, vec![taken(id(1), 1, 0, "10"), taken(id(2), 1, 0, "010")], START).await;
        let out = advance(&store, vec![delivered("0010", number(1))], at(1)).await;
        assert_eq!(out.parked, 1);
        // The exact text decides.
        let out = advance(&store, vec![delivered("010", number(1))], at(1)).await;
        assert_eq!(
            (out.statuses, status(&store, id(1)).await),
            (vec![Some(Status::Delivered)], Status::Sent)
        );
    });
}

#[test]
fn an_answer_and_what_follows_from_it_may_come_in_one_operation() {
    for_each_backend(|store| async move {
        let same = |n, to| Message { recipient: number(to), ..message(n) };
        accept(&store, [same(1, 1), same(2, 1), same(3, 3), same(4, 4), same(5, 5)]).await;
        claim_at(&store, START).await;
        // The carrier gave 2 the id that it gives 1 now: for the same person, so that only one of them is certain.
        advance(&store, vec![taken(id(2), 1, 0, "010")], START).await;
        let all = vec![
            taken(id(1), 1, 0, "10"),
            delivered("0010", number(1)),
            taken(id(3), 1, 0, "30"),
            delivered("30", number(4)),
            delivered("30", number(3)),
            // Once more, an answer that is too late, and another's receipt under the id of one that ended.
            delivered("30", number(3)),
            taken(id(3), 1, 0, "31"),
            reported(receipt("30", number(3), Some(undelivered()))),
            refused(id(4), 1, failure(FailureClass::Filtered, false)),
            taken(id(5), 1, 0, "50"),
            reported(receipt("50", number(5), None)),
        ];
        let out = advance(&store, all, at(1)).await;
        let (sent, delivered_now) = (Some(Status::Sent), Some(Status::Delivered));
        assert_eq!(out.statuses[..5], [sent, None, sent, None, delivered_now]);
        let now = [1, 2, 3, 4, 5].map(id);
        let mut stands = Vec::new();
        for id in now {
            stands.push(status(&store, id).await);
        }
        use Status::{Delivered, Rejected, Sent};
        assert_eq!(stands, [Sent, Sent, Delivered, Rejected, Sent]);
        // What is still expected is found later, and of what ended nothing is left.
        let out = advance(&store, vec![delivered("010", number(1)), delivered("10", number(1))], at(2)).await;
        assert_eq!(out.statuses, [delivered_now, delivered_now]);
        let out = advance(&store, vec![delivered("50", number(5))], at(2)).await;
        assert_eq!(out.statuses, [delivered_now]);
        assert_eq!(advance(&store, vec![delivered("50", number(5))], at(3)).await.parked, 1);
    });
}

/// P-20
#[test]
fn a_second_receipt_changes_nothing() {
    for_each_backend(|store| async move {
        let id = sent(&store, message(1), "a").await;
        let out =
            advance(&store, vec![delivered("a-0", number(1)), delivered("a-0", number(1))], at(1)).await;
        assert_eq!(out.counted.len(), 1);
        let contrary = reported(receipt("a-0", number(1), Some(undelivered())));
        assert_eq!(advance(&store, vec![contrary], at(2)).await.counted.len(), 0);
        assert_eq!(status(&store, id).await, Status::Delivered);
    });
}

#[test]
fn a_receipt_that_says_on_its_way_is_only_noted() {
    for_each_backend(|store| async move {
        let id = sent(&store, message(1), "a").await;
        let out = advance(&store, vec![reported(receipt("a-0", number(1), None))], at(1)).await;
        assert_eq!(out.statuses, [Some(Status::Sent)]);
        assert_eq!(
            advance(&store, vec![delivered("a-0", number(1))], at(2)).await.statuses,
            [Some(Status::Delivered)]
        );
        assert_eq!(status(&store, id).await, Status::Delivered);
    });
}

#[test]
fn a_message_is_as_good_as_its_worst_segment() {
    for_each_backend(|store| async move {
        for (n, bad) in [None, Some(0), Some(1), Some(2)].into_iter().enumerate() {
            let (n, name) = (n as i64, format!("m{n}"));
            let id = sent(&store, Message { segments: 3, ..message(n) }, &name).await;
            let mut last = Vec::new();
            for segment in [2, 0, 1] {
                let outcome = if bad == Some(segment) { undelivered() } else { Outcome::Delivered };
                let one = reported(receipt(&format!("{name}-{segment}"), number(n as u64), Some(outcome)));
                last = advance(&store, vec![one], at(1)).await.statuses;
            }
            let expected = if bad.is_some() { Status::Undelivered } else { Status::Delivered };
            assert_eq!((last, status(&store, id).await), (vec![Some(expected)], expected), "{bad:?}");
        }
    });
}

#[test]
fn one_segment_may_be_answered_and_reported_while_another_waits() {
    for_each_backend(|store| async move {
        let id = sending(&store, Message { segments: 2, ..message(1) }).await;
        let early = vec![taken(id, 1, 1, "b"), delivered("b", number(1))];
        assert_eq!(
            advance(&store, early, at(1)).await.statuses,
            [Some(Status::Sending), Some(Status::Sending)]
        );
        assert_eq!(advance(&store, vec![taken(id, 1, 0, "a")], at(2)).await.statuses, [Some(Status::Sent)]);
        assert_eq!(
            advance(&store, vec![delivered("a", number(1))], at(3)).await.statuses,
            [Some(Status::Delivered)]
        );
    });
}

/// P-20
#[test]
fn a_late_receipt_corrects_unconfirmed_while_its_time_runs_and_not_after() {
    for_each_backend(|store| async move {
        let first = sent(&store, message(1), "a").await;
        let second = sent(&store, message(2), "b").await;
        let end = message(1).expires_at.plus_ms(RECEIPT_GRACE_MS);
        wake(&store, end).await;
        assert_eq!(status(&store, first).await, Status::Unconfirmed);
        let last = end.plus_ms(LATE_RECEIPT_MS);
        wake(&store, last.plus_ms(-1)).await;
        let late = vec![delivered("a-0", number(1))];
        assert_eq!(advance(&store, late, last.plus_ms(-1)).await.statuses, [Some(Status::Delivered)]);
        while wake(&store, last).await.more {}
        assert_eq!(advance(&store, vec![delivered("b-0", number(2))], last).await.counted.len(), 0);
        assert_eq!(status(&store, second).await, Status::Unconfirmed);
        assert_eq!(store.next_due(None, last).await.expect("read"), None);
        assert_eq!(store.statistics(last).await.expect("numbers").in_flight, 0);
    });
}

/// P-10
#[test]
fn a_receipt_with_our_own_reference_settles_a_submission_without_an_answer() {
    for_each_backend(|store| async move {
        let doubtful = sending(&store, message(1)).await;
        advance(&store, vec![answered(doubtful, 1, 0, Answer::None)], START).await;
        let orphan = sending(&store, Message { purpose: Purpose::Marketing, ..message(2) }).await;
        store.recover(None, 9, START, patience()).await.expect("recovered");
        assert_eq!(status(&store, orphan).await, Status::Unconfirmed);
        for (n, id) in [(1, doubtful), (2, orphan)] {
            let receipt = Receipt {
                our_reference: Some(our_reference(id, 0)),
                ..receipt(&format!("unknown{n}"), number(n), Some(Outcome::Delivered))
            };
            let out = advance(&store, vec![reported(receipt)], at(5)).await;
            assert_eq!(out.statuses, [Some(Status::Delivered)], "{n}");
        }
    });
}

/// P-19
#[test]
fn a_carrier_that_gives_no_ids_is_understood_by_our_reference_alone() {
    for_each_backend(|store| async move {
        let same = |n| Message { recipient: number(1), ..message(n) };
        accept(&store, [same(1), same(2)]).await;
        claim_at(&store, START).await;
        advance(&store, vec![taken(id(1), 1, 0, ""), taken(id(2), 1, 0, "")], START).await;
        let about = |id| Receipt {
            our_reference: Some(our_reference(id, 0)),
            ..receipt("", number(1), Some(Outcome::Delivered))
        };
        // The second one repeats the first: it must not be taken for the other message's.
        let twice = vec![reported(about(id(1))), reported(about(id(1)))];
        assert_eq!(advance(&store, twice, at(1)).await.statuses[0], Some(Status::Delivered));
        assert_eq!(
            (status(&store, id(1)).await, status(&store, id(2)).await),
            (Status::Delivered, Status::Sent)
        );
        let out = advance(&store, vec![reported(about(id(2)))], at(2)).await;
        assert_eq!(out.statuses, [Some(Status::Delivered)]);
    });
}

#[test]
fn a_late_id_and_our_reference_on_one_receipt_do_not_confuse_each_other() {
    for_each_backend(|store| async move {
        let id = sending(&store, message(1)).await;
        advance(&store, vec![answered(id, 1, 0, Answer::None)], START).await;
        advance(&store, vec![taken(id, 1, 0, "DEADBEEF")], at(1)).await;
        let receipt = Receipt {
            our_reference: Some(our_reference(id, 0)),
            ..receipt("3735928559", number(1), Some(Outcome::Delivered))
        };
        assert_eq!(advance(&store, vec![reported(receipt)], at(2)).await.statuses, [Some(Status::Delivered)]);
    });
}

#[test]
fn a_receipt_for_an_earlier_attempt_counts_for_the_message() {
    for_each_backend(|store| async move {
        let id = sending(&store, Message { purpose: Purpose::Alert, ..message(1) }).await;
        advance(&store, vec![answered(id, 1, 0, Answer::None)], START).await;
        wake(&store, at(5)).await;
        assert_eq!(claim_at(&store, at(5)).await.len(), 1);
        let receipt = Receipt {
            our_reference: Some(our_reference(id, 0)),
            ..receipt("first", number(1), Some(Outcome::Delivered))
        };
        assert_eq!(advance(&store, vec![reported(receipt)], at(6)).await.statuses, [Some(Status::Delivered)]);
        assert_eq!(advance(&store, vec![taken(id, 2, 0, "second")], at(7)).await.counted.len(), 0);
    });
}

#[test]
fn once_a_message_ended_nothing_of_it_is_expected_any_more() {
    for_each_backend(|store| async move {
        // The same id and recipient again, as a carrier that counts from the start every day gives them.
        let first = sending(&store, message(1)).await;
        advance(&store, vec![taken(first, 1, 0, "5")], START).await;
        advance(&store, vec![delivered("5", number(1))], at(1)).await;
        let second = sending(&store, Message { recipient: number(1), ..message(2) }).await;
        advance(&store, vec![taken(second, 1, 0, "5")], at(2)).await;
        let filtered = Outcome::Rejected(failure(FailureClass::Filtered, false));
        let out = advance(&store, vec![reported(receipt("5", number(1), Some(filtered)))], at(3)).await;
        assert_eq!(out.statuses, [Some(Status::Rejected)]);
        assert_eq!(
            (status(&store, first).await, status(&store, second).await),
            (Status::Delivered, Status::Rejected)
        );
    });
}

#[test]
fn a_repeated_receipt_of_an_ended_message_is_not_kept_for_a_later_one() {
    for_each_backend(|store| async move {
        let first = sending(&store, message(1)).await;
        advance(&store, vec![taken(first, 1, 0, "5")], START).await;
        advance(&store, vec![delivered("5", number(1)), delivered("5", number(1))], at(1)).await;
        let second = id(2);
        accept(&store, [Message { recipient: number(1), ..message(2) }]).await;
        assert_eq!(claim_at(&store, at(10)).await.len(), 1);
        advance(&store, vec![taken(second, 1, 0, "5")], at(11)).await;
        assert_eq!(status(&store, second).await, Status::Sent);
    });
}

/// P-19
#[test]
fn an_answer_tells_where_its_own_message_stands_also_when_another_is_settled_by_it() {
    for_each_backend(|store| async move {
        let same = |n| Message { recipient: number(1), ..message(n) };
        accept(&store, [same(1), same(2), Message { recipient: number(9), ..message(3) }]).await;
        claim_at(&store, START).await;
        advance(&store, vec![taken(id(1), 1, 0, "10"), taken(id(2), 1, 0, "010")], START).await;
        // It may be the first's or the second's; once the first has its own, it is the second's.
        assert_eq!(advance(&store, vec![delivered("0010", number(1))], at(1)).await.parked, 1);
        advance(&store, vec![delivered("10", number(1))], at(2)).await;
        let out = advance(&store, vec![taken(id(3), 1, 0, "10")], at(3)).await;
        assert_eq!(out.statuses, [Some(Status::Sent)]);
        assert_eq!(
            (status(&store, id(2)).await, status(&store, id(3)).await),
            (Status::Delivered, Status::Sent)
        );
    });
}

/// P-06
#[test]
fn nothing_is_expected_any_more_once_the_time_for_a_late_receipt_is_over() {
    for_each_backend(|store| async move {
        let id = sending(&store, Message { purpose: Purpose::Marketing, ..message(1) }).await;
        advance(&store, vec![answered(id, 1, 0, Answer::None)], START).await;
        assert_eq!(status(&store, id).await, Status::Unconfirmed);
        let over = START.plus_ms(LATE_RECEIPT_MS);
        while wake(&store, over).await.more {}
        while wake(&store, over).await.more {}
        let late = vec![taken(id, 1, 0, "a"), delivered("a", number(1))];
        let out = advance(&store, late, over).await;
        assert_eq!((out.ignored, out.parked, out.statuses), (1, 1, vec![None, None]));
        assert_eq!(status(&store, id).await, Status::Unconfirmed);
        assert_eq!(store.next_due(None, over).await.expect("read"), None);
    });
}

/// P-18
#[test]
fn a_receipt_parked_before_a_restart_and_one_parked_after_it_are_two() {
    for_each_place(|place| async move {
        let store = place.open();
        accept(&store, [message(1)]).await;
        assert_eq!(claim_at(&store, START).await.len(), 1);
        assert_eq!(advance(&store, vec![delivered("one", number(1))], at(1)).await.parked, 1);
        store.close().await.expect("closed");
        // The clock is as it was, or was set back meanwhile.
        let store = place.open();
        assert_eq!(advance(&store, vec![delivered("two", number(2))], at(1)).await.parked, 1);
        let out = advance(&store, vec![taken(id(1), 1, 0, "one")], at(1)).await;
        assert_eq!(out.statuses, [Some(Status::Delivered)]);
        assert_eq!(store.statistics(at(1)).await.expect("numbers").parked, 1, "the other still waits");
        store.close().await.expect("closed");
    });
}

/// P-33
#[tokio::test]
async fn receipts_that_belong_to_nobody_make_room_for_later_ones_of_their_connection_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = sqlite::Options { parked_max: 3_000, ..sqlite::Options::in_directory(directory.path()) };
    let store: std::sync::Arc<dyn Backend> =
        std::sync::Arc::new(sqlite::Sqlite::open(&options).expect("it opens"));
    let strange = |connection, n: u64| {
        let carrier_id = format!("stranger-{n}");
        Happening::Receipt { connection, receipt: receipt(&carrier_id, number(1), Some(Outcome::Delivered)) }
    };
    let own = sending(&store, message(1)).await;
    advance(&store, vec![strange(OTHER_LINE, 0)], at(1)).await;
    let (mut parked, mut forgotten) = (0, 0);
    for batch in 0..20 {
        let flood = (0..500).map(|n| strange(LINE, batch * 500 + n)).collect();
        let out = advance(&store, flood, at(2)).await;
        parked += out.parked;
        forgotten += out.forgotten;
        let kept = store.statistics(at(2)).await.expect("numbers").parked;
        assert!(kept <= 3_001, "{kept}");
        assert_eq!(kept, parked - forgotten + 1, "what is not kept is counted");
    }
    assert!(parked == 10_000 && forgotten >= 7_000, "{parked} {forgotten}");
    // One that is early is among the youngest: it is found in the middle of the flood, and is no longer kept then.
    let early = vec![strange(LINE, 10_001), reported(receipt("mine", number(1), Some(Outcome::Delivered)))];
    advance(&store, early, at(3)).await;
    advance(&store, (0..500).map(|n| strange(LINE, 20_000 + n)).collect(), at(3)).await;
    let out = advance(&store, vec![taken(own, 1, 0, "mine")], at(4)).await;
    assert_eq!(out.statuses, [Some(Status::Delivered)]);
    store.close().await.expect("it closes");
}

/// Its answer is written down late, when the message was claimed a second time: the receipt of the first attempt, which waits for
/// that answer, came before the second one began.
#[test]
fn an_answer_to_an_attempt_that_was_given_up_finds_the_receipt_that_came_before_it() {
    for_each_backend(|store| async move {
        let alert = Message { purpose: Purpose::Alert, ..message(1) };
        let id = sending(&store, alert).await;
        advance(&store, vec![answered(id, 1, 0, Answer::None)], at(5)).await;
        let early = advance(&store, vec![delivered("1e", number(1))], at(7)).await;
        assert_eq!(early.parked, 1);
        // The doubt is over, and it is sent again.
        wake(&store, at(60)).await;
        let again = claim_at(&store, at(60)).await;
        assert_eq!((again.len(), again[0].attempt), (1, 2));
        let out = advance(&store, vec![taken(id, 1, 0, "1e")], at(61)).await;
        assert_eq!(out.statuses, [Some(Status::Delivered)]);
        assert_eq!(status(&store, id).await, Status::Delivered);
    });
}
