//! The suppression list.

use crate::samples::*;
use crate::{for_each_backend, for_each_place};
use std::sync::Arc;
use tidings_domain::account::{Environment, Realm};
use tidings_domain::failure::{Failure, FailureClass};
use tidings_domain::id::*;
use tidings_domain::message::{Answer, Input, Message, Status};
use tidings_domain::suppression::Reason;
use tidings_domain::time::Timestamp;
use tidings_store::*;

pub fn entry(n: i64, recipient: u64, reason: Reason) -> Suppression {
    Suppression {
        id: SuppressionId::from_key(n),
        realm: HOME,
        recipient: number(recipient),
        programme: None,
        reason,
        source: "api".to_owned(),
        created_at: START,
        expires_at: None,
        lifted: None,
    }
}

async fn in_force(store: &Arc<dyn Backend>, recipient: u64, now: Timestamp) -> Option<Reason> {
    store.suppressed(vec![(HOME, number(recipient))], now).await.expect("read")[0].account
}

#[test]
fn a_message_to_somebody_on_the_list_is_not_stored() {
    for_each_backend(|store| async move {
        store.suppress(vec![entry(1, 2, Reason::OptedOut)], actor()).await.expect("added");
        let accepted =
            store.accept(intake([message(1), message(2), message(3)]), at(1)).await.expect("accepted");
        let expected =
            vec![Admission::Admitted, Admission::Suppressed(Reason::OptedOut.into()), Admission::Admitted];
        assert_eq!(accepted, Accepted::New(expected, Box::default()));
        assert!(store.message(HOME, id(2)).await.expect("read").is_none());
        assert_eq!(claim_at(&store, at(1)).await.len(), 2);
    });
}

#[test]
fn what_waits_for_somebody_on_the_list_is_ended_whoever_put_them_there() {
    for_each_backend(|store| async move {
        let scheduled =
            |n| Message { send_at: Some(at(600)), expires_at: at(9_000), recipient: number(7), ..message(n) };
        let elsewhere = Message { account: AccountId::from_key(2), recipient: number(7), ..message(5) };
        accept(&store, (1..=3).map(scheduled)).await;
        accept(&store, [message(4)]).await;
        let other = Intake { realm: elsewhere.realm(), ..intake([elsewhere.clone()]) };
        store.accept(other, START).await.expect("accepted");

        let end = |limit| store.stop_waiting(vec![(HOME, number(8)), (HOME, number(7))], limit, at(1));
        assert!(end(MANY).await.expect("looked").counted.is_empty(), "nobody is on the list");
        store.suppress(vec![entry(1, 7, Reason::Manual)], actor()).await.expect("added");
        let ended = end(2).await.expect("ended");
        assert_eq!((ended.counted.len(), ended.more), (2, true));
        let ended = end(2).await.expect("ended");
        assert_eq!((ended.counted.len(), ended.more), (1, true), "the third, and one of another account");
        let ended = end(1).await.expect("looked");
        assert_eq!((ended.counted.len(), ended.more), (0, false), "what may stay is not looked at for ever");
        for n in 1..=3 {
            let stored = stored(&store, id(n)).await;
            let failure = stored.failure.expect("it says why");
            assert_eq!((stored.life.state.status(), failure), (Status::Rejected, Reason::Manual.failure()));
        }
        assert_eq!(status(&store, id(4)).await, Status::Queued);
        let kept = store.message(elsewhere.realm(), id(5)).await.expect("read").expect("there");
        assert_eq!(kept.life.state.status(), Status::Queued);
    });
}

/// P-15. The look at acceptance is remembered, so it must not outlive what changes the list: a call, a carrier's word,
/// or another process.
#[test]
fn the_last_look_sees_what_came_on_the_list_after_acceptance() {
    for_each_place(|place| async move {
        let store = place.open();
        accept(&store, (0..5).map(message)).await;
        for n in 0..5 {
            assert_eq!(in_force(&store, n, at(1)).await, None);
        }
        store.suppress(vec![entry(1, 0, Reason::OptedOut)], actor()).await.expect("added");
        assert_eq!(in_force(&store, 0, at(1)).await, Some(Reason::OptedOut));
        assert_eq!(in_force(&store, 1, at(1)).await, None);

        accept(&store, [message(11)]).await;
        let failure = Failure::new(FailureClass::OptedOut, false, "smpp 0x1", "no more");
        let claimed = claim_at(&store, at(1)).await;
        let one = claimed.iter().find(|ticket| ticket.message.id == id(11)).expect("it is claimed");
        let refused = Input::Answered { attempt: one.attempt, segment: 0, answer: Answer::Refused(failure) };
        advance(&store, vec![to(id(11), refused)], at(1)).await;
        assert_eq!(in_force(&store, 11, at(1)).await, Some(Reason::OptedOut));

        accept(&store, [message(12)]).await;
        let other = place.open();
        other.suppress(vec![entry(2, 12, Reason::Manual)], actor()).await.expect("added");
        // Whatever this process writes next, it notices that another one wrote: a claim does before its messages go out.
        claim_at(&store, at(1)).await;
        assert_eq!(in_force(&store, 12, at(1)).await, Some(Reason::Manual));
        other.close().await.expect("closed");
        store.close().await.expect("closed");
    });
}

#[test]
fn the_list_of_one_realm_says_nothing_about_another() {
    for_each_backend(|store| async move {
        store.suppress(vec![entry(1, 1, Reason::OptedOut)], actor()).await.expect("added");
        let test = Realm { environment: Environment::Test, ..HOME };
        let other = Realm { account: AccountId::from_key(2), ..HOME };
        let asked = vec![(test, number(1)), (other, number(1)), (HOME, number(1)), (HOME, number(2))];
        let found = store.suppressed(asked, START).await.expect("read");
        let found: Vec<_> = found.into_iter().map(|standing| standing.account).collect();
        assert_eq!(found, [None, None, Some(Reason::OptedOut), None]);
        assert!(
            store.lift(other, number(1), None, "x".into(), actor(), START).await.expect("asked").is_none()
        );
    });
}

#[test]
fn only_a_stronger_reason_replaces_an_entry() {
    for_each_backend(|store| async move {
        use Reason::{InvalidNumber, Manual, OptedOut};
        let mut n = 0;
        for (recipient, (known, new, stands)) in [
            (InvalidNumber, Manual, Manual),
            (InvalidNumber, OptedOut, OptedOut),
            (Manual, OptedOut, OptedOut),
            (Manual, InvalidNumber, Manual),
            (OptedOut, Manual, OptedOut),
            (OptedOut, InvalidNumber, OptedOut),
            (Manual, Manual, Manual),
        ]
        .into_iter()
        .enumerate()
        {
            n += 2;
            let recipient = recipient as u64;
            store.suppress(vec![entry(n, recipient, known)], actor()).await.expect("added");
            let now = store.suppress(vec![entry(n + 1, recipient, new)], actor()).await.expect("added");
            assert_eq!((now.len(), now[0].reason), (1, stands), "{known:?} {new:?}");
            assert_eq!(now[0].id.key() == n + 1, known != stands, "{known:?} {new:?}");
            assert_eq!(in_force(&store, recipient, START).await, Some(stands));
            let all = store
                .suppressions(HOME, SuppressionFilter::all_of(number(recipient)), page(9))
                .await
                .expect("read")
                .items;
            assert_eq!(all.len(), if known == stands { 1 } else { 2 }, "the one that gave way is kept");
            assert_eq!(all.iter().filter(|entry| entry.lifted.is_none()).count(), 1);
        }
    });
}

#[test]
fn an_entry_past_its_end_is_not_in_force_and_gives_way() {
    for_each_backend(|store| async move {
        let ending = Suppression { expires_at: Some(at(60)), ..entry(1, 1, Reason::OptedOut) };
        store.suppress(vec![ending], actor()).await.expect("added");
        assert_eq!(in_force(&store, 1, at(59)).await, Some(Reason::OptedOut));
        assert_eq!(in_force(&store, 1, at(60)).await, None);
        assert!(
            store.lift(HOME, number(1), None, "x".into(), actor(), at(60)).await.expect("asked").is_none()
        );
        let weaker = Suppression { created_at: at(61), ..entry(2, 1, Reason::InvalidNumber) };
        let now = store.suppress(vec![weaker], actor()).await.expect("added");
        assert_eq!((now[0].id.key(), in_force(&store, 1, at(61)).await), (2, Some(Reason::InvalidNumber)));
    });
}

#[test]
fn lifting_lets_messages_through_and_keeps_the_history() {
    for_each_backend(|store| async move {
        store.suppress(vec![entry(1, 1, Reason::OptedOut)], actor()).await.expect("added");
        let lifted =
            store.lift(HOME, number(1), None, "asked to".into(), actor(), at(5)).await.expect("asked");
        assert_eq!(lifted.expect("it was in force").lifted, Some((at(5), "asked to".to_owned())));
        assert_eq!(in_force(&store, 1, at(5)).await, None);
        assert!(
            store.lift(HOME, number(1), None, "again".into(), actor(), at(6)).await.expect("asked").is_none()
        );
        accept(&store, [message(1)]).await;
        let list = |all| {
            store.suppressions(
                HOME,
                SuppressionFilter { include_lifted: all, ..SuppressionFilter::default() },
                page(9),
            )
        };
        assert!(list(false).await.expect("read").items.is_empty());
        assert_eq!(list(true).await.expect("read").items.len(), 1);
        store.suppress(vec![entry(2, 1, Reason::Manual)], actor()).await.expect("added again");
        assert_eq!(in_force(&store, 1, at(7)).await, Some(Reason::Manual));
        assert_eq!(audited(&store).await, ["suppression.add", "suppression.lift", "suppression.add"]);
    });
}

#[test]
fn a_carriers_word_puts_the_recipient_on_the_list_in_the_same_commit() {
    for_each_backend(|store| async move {
        let first = sending(&store, message(1)).await;
        advance(&store, vec![refused(first, 1, failure(FailureClass::InvalidNumber, false))], START).await;
        assert_eq!(status(&store, first).await, Status::Rejected);
        assert_eq!(in_force(&store, 1, at(1)).await, Some(Reason::InvalidNumber));
        // Numbers are given to new people: this one ends by itself.
        assert_eq!(in_force(&store, 1, START.plus_ms(90 * DAY_MS)).await, None);
        let second = sending(&store, Message { ..message(2) }).await;
        advance(&store, vec![refused(second, 1, failure(FailureClass::OptedOut, false))], START).await;
        assert_eq!(in_force(&store, 2, START.plus_ms(900 * DAY_MS)).await, Some(Reason::OptedOut));
        let found = store
            .suppressions(
                HOME,
                SuppressionFilter { recipient: Some(number(2)), ..SuppressionFilter::default() },
                page(9),
            )
            .await
            .expect("read")
            .items;
        assert_eq!(found[0].source, format!("{second} smpp 0x00000058"));
        assert_eq!(audited(&store).await, ["suppression.add", "suppression.add"]);
    });
}

#[test]
fn the_list_is_paged_newest_first() {
    for_each_backend(|store| async move {
        let entries = (1..=5).map(|n| entry(n, n as u64, Reason::Manual)).collect();
        store.suppress(entries, actor()).await.expect("added");
        let first = store.suppressions(HOME, SuppressionFilter::default(), page(3)).await.expect("read");
        assert_eq!(first.items.iter().map(|entry| entry.id.key()).collect::<Vec<_>>(), [5, 4, 3]);
        let rest = Page { before: first.next, limit: 3 };
        let rest = store.suppressions(HOME, SuppressionFilter::default(), rest).await.expect("read");
        assert_eq!(rest.items.iter().map(|entry| entry.id.key()).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(rest.next, None);
    });
}

/// P-32
#[test]
fn changes_of_the_list_are_told_in_the_order_of_their_commits_whoever_made_them() {
    for_each_place(|place| async move {
        let store = place.open();
        let home = Account { id: HOME.account, name: "home".into(), created_at: START };
        store.create_account(home, actor()).await.expect("created");
        let none = AuditId::from_key(0);
        let before = store.listed(none, MANY).await.expect("read");
        assert!(before.is_known && before.changes.is_empty());

        let entries = vec![entry(2, 2, Reason::Manual), entry(1, 1, Reason::OptedOut)];
        store.suppress(entries, actor()).await.expect("added");
        // One that is as strong changes nothing, and one that is stronger has a line for both.
        store.suppress(vec![entry(3, 1, Reason::Manual)], actor()).await.expect("asked");
        store.suppress(vec![entry(4, 2, Reason::OptedOut)], actor()).await.expect("added");
        store.record_audit(actor(), "x".into(), String::new(), String::new(), at(1)).await.expect("noted");
        let lifted = store.lift(HOME, number(1), None, "again".into(), actor(), at(2)).await.expect("lifted");
        assert!(lifted.is_some());
        let id = sending(&store, message(9)).await;
        advance(&store, vec![refused(id, 1, failure(FailureClass::OptedOut, false))], at(3)).await;

        let all = store.listed(before.upto, MANY).await.expect("read");
        let told: Vec<_> = all.changes.iter().map(|(_, one)| (one.recipient, one.lifted.is_some())).collect();
        let expected = [(2, true), (1, true), (2, false), (1, true), (9, false)];
        assert_eq!(told, expected.map(|(n, lifted)| (number(n), lifted)));
        assert!(all.is_known && all.changes.is_sorted_by_key(|(line, _)| *line));

        // One at a time, from place to place.
        let (mut after, mut step) = (before.upto, Vec::new());
        loop {
            let one = store.listed(after, 1).await.expect("read");
            assert!(one.is_known, "{after}");
            after = one.upto;
            if one.changes.is_empty() {
                break;
            }
            step.extend(one.changes);
        }
        assert_eq!(step, all.changes);
        assert_eq!(after, all.upto, "it went past what is no change");
        let tomorrow = AuditId::from_key(all.upto.key() + 1);
        let unknown = store.listed(tomorrow, MANY).await.expect("read");
        assert!(!unknown.is_known && unknown.changes.is_empty());
        store.close().await.expect("closed");
    });
}
