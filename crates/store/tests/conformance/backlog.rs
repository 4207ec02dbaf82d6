//! Long queues: one commit takes a bounded part of them, and what is behind them is reached.

use crate::for_each_backend;
use crate::samples::*;
use tidings_domain::event::Kind;
use tidings_domain::id::EndpointId;
use tidings_domain::message::{Input, Message, Status};
use tidings_domain::purpose::Purpose;
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

/// P-24
#[test]
fn a_delivery_behind_the_long_backlog_of_a_busy_endpoint_is_claimed() {
    const BACKLOG: i64 = 5_010;
    for_each_backend(|store| async move {
        let endpoint = |n: i64, kinds: u32| Endpoint {
            id: EndpointId::from_key(n),
            realm: HOME,
            url: format!("https://example.com/{n}"),
            description: String::new(),
            kinds,
            callback_only: false,
            secret: vec![1],
            previous: None,
            disabled: None,
            failing_since: None,
            created_at: START,
        };
        store.create_endpoint(endpoint(1, Kind::Canceled.bit()), actor()).await.expect("created");
        store.create_endpoint(endpoint(2, Kind::Expired.bit()), actor()).await.expect("created");
        accept(&store, (0..BACKLOG).map(message)).await;
        advance(&store, (0..BACKLOG).map(|n| to(id(n), Input::Cancel)).collect(), START).await;
        accept(&store, [offer(BACKLOG)]).await;
        wake(&store, at(61)).await;
        let claim = async |n| {
            let wanted = vec![(EndpointId::from_key(n), 10)];
            store.claim_deliveries(wanted, 60_000, at(3_600)).await.expect("claimed")
        };
        let due = store.due_endpoints().await.expect("read");
        assert!(due.iter().any(|(id, at_)| id.key() == 2 && *at_ <= at(3_600)), "{due:?}");
        let found = claim(2).await;
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].event.kind, Kind::Expired);
        let rest = claim(1).await;
        assert_eq!(rest.len(), 10, "the others are not forgotten");
    });
}
