//! What waits for a sender that has a pace waits in a queue of its own.

use crate::for_each_backend;
use crate::samples::*;
use tidings_domain::account::Environment;
use tidings_domain::id::InboundId;
use tidings_domain::message::{Answer, Message, Status};
use tidings_domain::queue::Queue;
use tidings_domain::reply::{self, Reply};
use tidings_domain::sender::Sender;

fn from(sender: &str, n: i64) -> Message {
    Message { sender: Sender::from_stored(sender).expect("a sender"), ..message(n) }
}

#[test]
fn what_waits_for_a_sender_with_a_pace_is_in_nobodys_way() {
    for_each_backend(|store| async move {
        accept(&store, [from(SLOW, 1), from(SLOW, 2), from("ACME", 3)]).await;
        assert_eq!(store.queues(LINE).await.expect("read"), [slow(LINE)], "its own need not be told");
        assert_eq!(store.queues(OTHER_LINE).await.expect("read"), []);
        let tickets = store.claim(Queue::of(LINE), MANY, START).await.expect("claimed").tickets;
        assert_eq!(tickets.iter().map(|ticket| ticket.message.id).collect::<Vec<_>>(), [id(3)]);
        let tickets = store.claim(slow(LINE), 1, START).await.expect("claimed").tickets;
        assert_eq!(tickets.iter().map(|ticket| ticket.message.id).collect::<Vec<_>>(), [id(1)]);
        assert_eq!(store.next_due(Some(slow(LINE)), START).await.expect("read"), Some(START));
        store.claim(slow(LINE), 1, START).await.expect("claimed");
        assert_eq!(store.queues(LINE).await.expect("read"), []);
        accept(&store, [from(SLOW, 4)]).await;
        // It is counted with its connection.
        let queues = store.statistics(START).await.expect("numbers").queues;
        assert_eq!(
            queues.iter().map(|(line, _, waiting, _)| (*line, *waiting)).collect::<Vec<_>>(),
            [(LINE, 1)]
        );
    });
}

#[test]
fn what_comes_back_comes_back_into_its_queue() {
    for_each_backend(|store| async move {
        accept(&store, [from(SLOW, 1)]).await;
        store.claim(slow(LINE), 1, START).await.expect("claimed");
        let out = advance(&store, vec![answered(id(1), 1, 0, Answer::Unsent)], START).await;
        assert_eq!(out.queued, [(slow(LINE), START)]);
        assert_eq!(status(&store, id(1)).await, Status::Queued);
        let tickets = store.claim(slow(LINE), 1, START).await.expect("claimed").tickets;
        assert_eq!((tickets.len(), tickets[0].attempt), (1, 2));
    });
}

#[test]
fn what_is_rerouted_waits_for_its_sender_there_too() {
    for_each_backend(|store| async move {
        let live = ["a", "b"].map(|name| (name.to_owned(), Environment::Live));
        let lines = store.register_connections(live.into(), START).await.expect("registered");
        let (main, spare) = (lines[0].id, lines[1].id);
        let on_main = [from(SLOW, 1), from("ACME", 2)];
        accept(&store, on_main.map(|message| Message { connection: main, ..message })).await;
        assert_eq!(store.reroute(main, spare, MANY, START).await.expect("moved"), 2);
        assert_eq!(store.queues(spare).await.expect("read"), [slow(spare)]);
        for queue in [Queue::of(spare), slow(spare)] {
            assert_eq!(store.claim(queue, MANY, START).await.expect("claimed").tickets.len(), 1, "{queue:?}");
        }
    });
}

#[test]
fn an_answer_does_not_wait_behind_what_waits_for_its_sender() {
    for_each_backend(|store| async move {
        accept(&store, [from(SLOW, 1)]).await;
        let reply = Some(Reply { kind: reply::Kind::OptOut, to: InboundId::from_key(1) });
        accept(&store, [Message { reply, ..from(SLOW, 2) }]).await;
        let tickets = store.claim(Queue::of(LINE), MANY, START).await.expect("claimed").tickets;
        assert_eq!(tickets.iter().map(|ticket| ticket.message.id).collect::<Vec<_>>(), [id(2)]);
    });
}
