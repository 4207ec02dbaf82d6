//! Long queues: one commit takes a bounded part of them, and what is behind them is reached.

use crate::for_each_backend;
use crate::samples::*;
use tidings_domain::event::Kind;
use tidings_domain::message::{Message, Status};
use tidings_domain::purpose::Purpose;

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
            let claimed = store.claim(LINE, 10, at(120)).await.expect("claimed");
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
        while store.claim(LINE, MANY, START).await.expect("claimed").more {}
        let taken = (0..LONG).map(|n| taken(id(n), 1, 0, &format!("a-{n}"))).collect();
        advance(&store, taken, START).await;
        accept(&store, (LONG..2 * LONG).map(offer)).await;
        let woken = store.wake(100, at(120), patience()).await.expect("woken");
        let expired = woken.counted.iter().filter(|counted| counted.kind == Kind::Expired).count();
        assert_eq!((expired, woken.more), (50, true));
    });
}
