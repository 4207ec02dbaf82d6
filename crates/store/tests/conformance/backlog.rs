//! Long queues: one commit takes a bounded part of them, and what is behind them is reached.

use crate::samples::*;
use crate::{for_each_backend, for_each_place};
use tidings_domain::event::Kind;
use tidings_domain::id::AccountId;
use tidings_domain::message::{Answer, Input, Message, Status};
use tidings_domain::purpose::Purpose;
use tidings_domain::queue::Queue;
use tidings_store::*;

/// More than one commit ends.
const LONG: i64 = 1_200;

fn offer(n: i64) -> Message {
    Message { purpose: Purpose::Marketing, expires_at: at(60), ..message(n) }
}

/// P-12
#[test]
fn a_claim_ends_a_part_of_a_long_expired_queue_and_says_that_there_is_more() {
    for_each_backend(|store| async move {
        accept(&store, (0..LONG).map(offer)).await;
        accept(&store, [Message { purpose: Purpose::Marketing, ..message(LONG) }]).await;
        let mut claims = 0;
        let ticket = loop {
            claims += 1;
            let claimed = store.claim(Queue::of(LINE), 10, at(120)).await.expect("claimed");
            assert!(claimed.advanced.counted.len() <= 600, "{}", claimed.advanced.counted.len());
            if let Some(ticket) = claimed.tickets.into_iter().next() {
                break ticket;
            }
            assert!(claimed.more, "after {claims} claims");
        };
        assert_eq!((ticket.message.id, claims), (id(LONG), 3));
        assert_eq!(status(&store, id(0)).await, Status::Expired);
    });
}

/// P-06
#[test]
fn what_expires_and_what_waits_for_a_receipt_share_each_waking() {
    for_each_backend(|store| async move {
        // These are looked at again after their lease, and stay: their receipts may still come.
        accept(&store, (0..LONG).map(message)).await;
        while store.claim(Queue::of(LINE), MANY, START).await.expect("claimed").more {}
        let taken = (0..LONG).map(|n| taken(id(n), 1, 0, &format!("a-{n}"))).collect();
        advance(&store, taken, START).await;
        accept(&store, (LONG..2 * LONG).map(offer)).await;
        let woken = store.wake(100, at(120), patience()).await.expect("woken");
        let expired = woken.counted.iter().filter(|counted| counted.kind == Kind::Expired).count();
        assert_eq!((expired, woken.more), (50, true));
    });
}

/// P-33
#[test]
fn what_waits_to_be_sent_is_known_after_each_commit_and_after_a_restart() {
    for_each_place(|place| async move {
        let store = place.open();
        let waiting = store.waiting().await.expect("counted");
        let of_home = |waiting: &Waiting| waiting.by_purpose(HOME.account);
        accept(&store, (0..3).map(message)).await;
        accept(&store, (3..5).map(offer)).await;
        accept(&store, [Message { send_at: Some(at(600)), ..message(5) }]).await;
        assert_eq!(of_home(&waiting), [0, 0, 4, 2]);
        assert_eq!(waiting.of(HOME.account), (6, 6));
        assert_eq!(waiting.of(AccountId::from_key(99)), (6, 0));
        // A call that fails changes nothing, nor do its neighbours in the same commit more than they say.
        assert!(store.accept(intake([message(6), message(6)]), START).await.is_err());
        assert_eq!(of_home(&waiting), [0, 0, 4, 2]);
        // Claimed, of which one is put back; canceled; expired.
        let tickets = store.claim(Queue::of(LINE), 3, START).await.expect("claimed").tickets;
        assert_eq!(tickets.len(), 3);
        assert_eq!(of_home(&waiting), [0, 0, 1, 2]);
        let back = answered(tickets[0].message.id, tickets[0].attempt, 0, Answer::Unsent);
        advance(&store, vec![back], START).await;
        assert_eq!(of_home(&waiting), [0, 0, 2, 2]);
        advance(&store, vec![to(id(5), Input::Cancel)], START).await;
        assert_eq!(of_home(&waiting), [0, 0, 1, 2]);
        wake(&store, at(61)).await;
        assert_eq!(of_home(&waiting), [0, 0, 1, 0]);
        store.close().await.expect("closed");
        let store = place.open();
        assert_eq!(of_home(&store.waiting().await.expect("counted")), [0, 0, 1, 0]);
        store.close().await.expect("closed");
    });
}

/// P-33
#[test]
fn what_waits_is_counted_for_each_account() {
    for_each_place(|place| async move {
        let store = place.open();
        let now = START;
        let first = store.default_account(now).await.expect("an account");
        let second =
            Account { id: AccountId::from_key(first.key() + 1), name: "second".into(), created_at: now };
        store.create_account(second.clone(), actor()).await.expect("created");
        accept(&store, [Message { account: first, ..message(0) }]).await;
        accept(&store, [1, 2].map(|n| Message { account: second.id, ..message(n) })).await;
        let waiting = store.waiting().await.expect("counted");
        assert_eq!((waiting.of(first), waiting.of(second.id)), ((3, 1), (3, 2)));
        store.close().await.expect("closed");
    });
}
