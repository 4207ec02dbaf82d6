//! The whole road, from the API to the timeline, over SMPP carriers that were written by other people and so do not
//! share our errors: what one program calls a header, an id or a length, the other must find there too.
//!
//! Each scenario is told once and runs against each carrier. A carrier that is not installed is passed over with a
//! line on standard error, unless `TIDINGS_TEST_REQUIRE` names it. How the protocol's state machine behaves in every
//! corner is tested in `tidings-smpp`; here is only what needs the whole program and a stranger.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "strangers/crate_smpp34.rs"]
mod crate_smpp34;
#[path = "strangers/npm_smpp.rs"]
mod npm_smpp;
#[path = "strangers/peer.rs"]
mod peer;
#[path = "strangers/road.rs"]
mod road;

use std::collections::BTreeMap;
use std::io::Write as _;

use hyper::Method;
use serde_json::json;

use peer::{INVALID_DESTINATION, OK, Peer, Submit, THROTTLED, Wish};
use road::Road;

const SENDER: &str = "+46701740605";

/// Recipients that differ in their last two digits.
fn recipient(n: usize) -> String {
    format!("+467017406{n:02}")
}

/// The carrier, or nothing where it is not installed and need not be.
fn installed(peer: Result<Peer, String>, word: &str, test: &str) -> Option<Peer> {
    match peer {
        Ok(peer) => Some(peer),
        Err(why) => {
            let required = std::env::var("TIDINGS_TEST_REQUIRE").unwrap_or_default();
            assert!(!required.split([',', ' ']).any(|name| name == word), "{word} is required, but {why}");
            // Not `eprintln`, which a test that passes keeps to itself.
            writeln!(std::io::stderr(), "skipped {test}: {why}").expect("standard error is open");
            None
        }
    }
}

/// Each scenario as a test of each carrier: the session's window, then the scenario.
macro_rules! scenarios {
    ($($window:literal $scenario:ident)*) => {
        mod over_npm_smpp {
            $(#[tokio::test]
            async fn $scenario() {
                let test = concat!("over_npm_smpp::", stringify!($scenario));
                let peer = crate::npm_smpp::start().await;
                let Some(mut peer) = crate::installed(peer, crate::npm_smpp::WORD, test) else { return };
                let road = crate::Road::start(peer.port, $window).await;
                crate::$scenario(&mut peer, &road).await;
            })*
        }
        mod over_crate_smpp34 {
            $(#[tokio::test]
            async fn $scenario() {
                let mut peer = crate::crate_smpp34::start().await.unwrap();
                let road = crate::Road::start(peer.port, $window).await;
                crate::$scenario(&mut peer, &road).await;
            })*
        }
    };
}

scenarios! {
    10 a_short_text_is_delivered
    10 five_segments_arrive_as_one_text_and_one_delivery
    10 one_lost_segment_of_five_makes_it_undelivered
    2 five_segments_pass_through_a_window_of_two
    10 an_emoji_is_never_cut_in_two
    10 a_name_as_sender_arrives_as_a_name
    10 ids_in_another_form_find_their_message
    10 an_id_that_means_two_messages_means_the_one_to_its_recipient
    10 throttling_delays_and_costs_no_try
    4 what_a_cut_session_leaves_in_doubt_is_not_sent_twice
    10 a_code_in_doubt_is_sent_once_more
    10 broken_pdus_are_refused_and_the_session_goes_on
    10 a_receipt_may_overtake_the_answer
    10 a_number_that_the_carrier_calls_invalid_is_not_sent_to_again
}

/// What a message becomes without any trouble.
const UNTROUBLED: [&str; 2] = ["message.sent", "message.delivered"];

async fn a_short_text_is_delivered(peer: &mut Peer, road: &Road) {
    let session = peer.bound().await;
    // Every kind of character of the alphabet: plain, national, Greek, and with an escape.
    let text = "Hej Åsa! Ωmega @ home: {1} [2] ~3€ ¿Qué? \\o/ £5_$6";
    let id = road.send(SENDER, &recipient(10), "transactional", text).await;
    let submit = peer.submit().await;
    assert_eq!(submit.text, text);
    assert_eq!((submit.data_coding, submit.registered_delivery & 1, submit.part()), (0, 1, None));
    assert_eq!(submit.source, (1, 1, SENDER.trim_start_matches('+').to_owned()));
    assert_eq!(submit.destination, (1, 1, recipient(10).trim_start_matches('+').to_owned()));
    peer.answer(&submit, OK, "short-1").await;
    let sent = road.message_in(&id, "sent").await;
    assert_eq!((&sent["carrier_ids"], &sent["encoding"]), (&json!(["short-1"]), &json!("gsm7")));
    peer.receipt(session, &submit, "short-1", "DELIVRD").await;
    let delivered = road.message_in(&id, "delivered").await;
    assert_eq!((&delivered["attempts"], &delivered["error"]), (&json!(1), &json!(null)));
    assert_eq!(road.kinds(&id).await, UNTROUBLED);
    assert!(peer.is_quiet());
}

/// A text of five segments, in which no two stretches are alike.
fn five_segments() -> String {
    (0..70).map(|n| format!("{n} Ö{{}}; ")).collect()
}

/// Submissions put together as a phone would: by reference and number, whatever order they came in.
fn put_together(submits: &[Submit]) -> String {
    let parts: Vec<(u8, u8, u8)> =
        submits.iter().map(|submit| submit.part().expect("it has a header")).collect();
    let by_number: BTreeMap<u8, &str> =
        parts.iter().zip(submits).map(|((_, _, number), submit)| (*number, submit.text.as_str())).collect();
    let total = u8::try_from(submits.len()).unwrap();
    assert!(parts.iter().all(|(reference, of, _)| (*reference, *of) == (parts[0].0, total)), "{parts:?}");
    assert!(by_number.keys().copied().eq(1..=total), "{parts:?}");
    by_number.into_values().collect()
}

async fn five_segments_arrive_as_one_text_and_one_delivery(peer: &mut Peer, road: &Road) {
    let session = peer.bound().await;
    let text = five_segments();
    let id = road.send(SENDER, &recipient(11), "transactional", &text).await;
    let submits = peer.submits(5).await;
    assert_eq!(put_together(&submits), text);
    // Answered and receipted in no order.
    for n in [4, 0, 2, 1, 3] {
        peer.answer(&submits[n], OK, &format!("part-{n}")).await;
    }
    let sent = road.message_in(&id, "sent").await;
    assert_eq!(sent["carrier_ids"].as_array().unwrap().len(), 5);
    for n in [1, 3, 0, 4] {
        peer.receipt(session, &submits[n], &format!("part-{n}"), "DELIVRD").await;
    }
    assert_eq!(road.message_in(&id, "sent").await["segments"], 5);
    peer.receipt(session, &submits[2], "part-2", "DELIVRD").await;
    road.message_in(&id, "delivered").await;
    assert_eq!(road.kinds(&id).await.iter().filter(|kind| *kind == "message.delivered").count(), 1);
    assert!(peer.is_quiet());
}

async fn one_lost_segment_of_five_makes_it_undelivered(peer: &mut Peer, road: &Road) {
    let session = peer.bound().await;
    let id = road.send(SENDER, &recipient(12), "transactional", &five_segments()).await;
    let submits = peer.submits(5).await;
    for (n, submit) in submits.iter().enumerate() {
        peer.answer(submit, OK, &format!("part-{n}")).await;
    }
    road.message_in(&id, "sent").await;
    for (n, submit) in submits.iter().enumerate() {
        let stat = if n == 2 { "UNDELIV" } else { "DELIVRD" };
        peer.receipt(session, submit, &format!("part-{n}"), stat).await;
    }
    road.message_in(&id, "undelivered").await;
    let kinds = road.kinds(&id).await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "message.undelivered").count(), 1, "{kinds:?}");
    assert!(!kinds.iter().any(|kind| kind == "message.delivered"), "{kinds:?}");
}

async fn five_segments_pass_through_a_window_of_two(peer: &mut Peer, road: &Road) {
    let session = peer.bound().await;
    let text = five_segments();
    let id = road.send(SENDER, &recipient(13), "transactional", &text).await;
    let mut submits = peer.submits(2).await;
    while submits.len() < 5 {
        // Two are out; only the answer to one of them makes room for the next.
        assert!(peer.is_quiet(), "{} segments are out", submits.len());
        peer.answer(&submits[submits.len() - 2], OK, &format!("part-{}", submits.len() - 2)).await;
        submits.push(peer.submit().await);
    }
    for n in [3, 4] {
        peer.answer(&submits[n], OK, &format!("part-{n}")).await;
    }
    assert_eq!(put_together(&submits), text);
    for (n, submit) in submits.iter().enumerate() {
        peer.receipt(session, submit, &format!("part-{n}"), "DELIVRD").await;
    }
    road.message_in(&id, "delivered").await;
    assert_eq!(road.kinds(&id).await.last().unwrap(), "message.delivered");
    assert!(peer.is_quiet());
}

async fn an_emoji_is_never_cut_in_two(peer: &mut Peer, road: &Road) {
    let session = peer.bound().await;
    // A segment holds 67 units: the first emoji would be cut after the 67th, the second one after the 134th.
    let text = format!("{}😀{}🎉{}", "ж".repeat(66), "щ".repeat(65), "конец");
    let id = road.send(SENDER, &recipient(14), "transactional", &text).await;
    let submits = peer.submits(3).await;
    // The carrier reads each part for itself: half a character would not be text there.
    assert_eq!(put_together(&submits), text);
    assert!(submits.iter().all(|submit| submit.data_coding == 8 && !submit.text.contains('\u{fffd}')));
    for (n, submit) in submits.iter().enumerate() {
        peer.answer(submit, OK, &format!("wide-{n}")).await;
    }
    for (n, submit) in submits.iter().enumerate() {
        peer.receipt(session, submit, &format!("wide-{n}"), "DELIVRD").await;
    }
    assert_eq!(road.message_in(&id, "delivered").await["encoding"], "ucs2");
}

async fn a_name_as_sender_arrives_as_a_name(peer: &mut Peer, road: &Road) {
    let session = peer.bound().await;
    let id = road.send("Tidings", &recipient(15), "transactional", "Who is it?").await;
    let submit = peer.submit().await;
    assert_eq!(submit.source, (5, 0, "Tidings".to_owned()));
    peer.answer(&submit, OK, "name-1").await;
    peer.receipt(session, &submit, "name-1", "DELIVRD").await;
    assert_eq!(road.message_in(&id, "delivered").await["from"], "Tidings");
}

async fn ids_in_another_form_find_their_message(peer: &mut Peer, road: &Road) {
    let session = peer.bound().await;
    // As answered, and as on the receipt.
    let forms = [
        ("1A2B3C", "1715004"),
        ("1715005", "1a2b3d"),
        ("00f00d", "F00D"),
        ("BEEF5", "000beef5"),
        ("0000123456", "123456"),
        ("7FFFFFFFFFFFFFFFFFFF", "604462909807314587353087"),
        ("0a3c2e91-77b4", "0A3C2E91-77B4"),
    ];
    let mut waiting = Vec::new();
    for (n, (answered, on_receipt)) in forms.into_iter().enumerate() {
        let id = road.send(SENDER, &recipient(20 + n), "transactional", "Which one am I?").await;
        let submit = peer.submit().await;
        peer.answer(&submit, OK, answered).await;
        assert_eq!(road.message_in(&id, "sent").await["carrier_ids"], json!([answered]));
        waiting.push((id, submit, on_receipt));
    }
    for (n, (id, submit, on_receipt)) in waiting.iter().enumerate() {
        let (stat, status) = if n % 2 == 0 { ("DELIVRD", "delivered") } else { ("UNDELIV", "undelivered") };
        peer.receipt(session, submit, on_receipt, stat).await;
        road.message_in(id, status).await;
    }
}

async fn an_id_that_means_two_messages_means_the_one_to_its_recipient(peer: &mut Peer, road: &Road) {
    let session = peer.bound().await;
    // One answer is a hexadecimal number, the other the same number in decimal, and the receipts are the other way
    // round: each names, letter for letter, the message that it does not mean.
    let mut waiting = Vec::new();
    for (n, (answered, on_receipt)) in [("1A2B3C", "1715004"), ("1715004", "1A2B3C")].into_iter().enumerate()
    {
        let id = road.send(SENDER, &recipient(90 + n), "transactional", "Which one am I?").await;
        let submit = peer.submit().await;
        peer.answer(&submit, OK, answered).await;
        road.message_in(&id, "sent").await;
        waiting.push((id, submit, on_receipt));
    }
    let (first, second) = (&waiting[0], &waiting[1]);
    peer.receipt(session, &first.1, first.2, "DELIVRD").await;
    road.message_in(&first.0, "delivered").await;
    assert_eq!(road.message_in(&second.0, "sent").await["error"], json!(null));
    peer.receipt(session, &second.1, second.2, "UNDELIV").await;
    road.message_in(&second.0, "undelivered").await;
    road.message_in(&first.0, "delivered").await;
}

async fn throttling_delays_and_costs_no_try(peer: &mut Peer, road: &Road) {
    let session = peer.bound().await;
    let id = road.send(SENDER, &recipient(30), "transactional", "Not so fast").await;
    let first = peer.submit().await;
    peer.answer(&first, THROTTLED, "").await;
    // The configuration allows one try: a second one that counted would never come.
    let second = peer.submit().await;
    assert_eq!((second.session, &second.text), (session, &first.text));
    peer.answer(&second, OK, "slow-1").await;
    peer.receipt(session, &second, "slow-1", "DELIVRD").await;
    let delivered = road.message_in(&id, "delivered").await;
    assert_eq!(delivered["carrier_ids"], json!(["slow-1"]));
    assert_eq!(road.kinds(&id).await, ["message.delayed", "message.sent", "message.delivered"]);
    assert!(peer.is_quiet());
}

async fn what_a_cut_session_leaves_in_doubt_is_not_sent_twice(peer: &mut Peer, road: &Road) {
    const COUNT: usize = 10;
    let first = peer.bound().await;
    let mut ids = BTreeMap::new();
    for n in 0..COUNT {
        let id = road.send(SENDER, &recipient(40 + n), "marketing", "An offer").await;
        ids.insert(recipient(40 + n).trim_start_matches('+').to_owned(), id);
    }
    let id_of = |submit: &Submit| ids[&submit.destination.2].as_str();
    // The window lets four out. Two are answered, so six are read, and four of these stay without an answer.
    let mut read = peer.submits(4).await;
    for submit in &read[..2] {
        peer.answer(submit, OK, &format!("offer-{}", submit.destination.2)).await;
    }
    read.extend(peer.submits(2).await);
    for submit in &read[..2] {
        road.message_in(id_of(submit), "sent").await;
    }
    peer.wish(Wish::Close { session: first }).await;
    peer.closed(first).await;
    for submit in &read[2..] {
        road.message_in(id_of(submit), "unconfirmed").await;
        assert_eq!(road.kinds(id_of(submit)).await.last().unwrap(), "message.unconfirmed");
    }

    let second = peer.bound().await;
    assert_ne!(first, second);
    let mut again = Vec::new();
    for _ in read.len()..COUNT {
        let submit = peer.submit().await;
        assert_eq!(submit.session, second);
        peer.answer(&submit, OK, &format!("offer-{}", submit.destination.2)).await;
        again.push(submit);
    }
    for submit in read[..2].iter().chain(&again) {
        peer.receipt(second, submit, &format!("offer-{}", submit.destination.2), "DELIVRD").await;
        road.message_in(id_of(submit), "delivered").await;
    }
    for submit in &read[2..] {
        road.message_in(id_of(submit), "unconfirmed").await;
    }
    let mut recipients: Vec<&str> =
        read.iter().chain(&again).map(|submit| submit.destination.2.as_str()).collect();
    recipients.sort_unstable();
    assert!(recipients.into_iter().eq(ids.keys()), "each was submitted exactly once");
    assert!(peer.is_quiet());
}

async fn a_code_in_doubt_is_sent_once_more(peer: &mut Peer, road: &Road) {
    let first = peer.bound().await;
    let id = road.send(SENDER, &recipient(50), "authentication", "Your code is 4711").await;
    let lost = peer.submit().await;
    peer.wish(Wish::Close { session: first }).await;
    peer.closed(first).await;
    let second = peer.bound().await;
    // Late is worse than twice for a code: after some seconds without a word it goes out again.
    let submit = peer.submit().await;
    assert_eq!((submit.session, &submit.text), (second, &lost.text));
    peer.answer(&submit, OK, "code-1").await;
    peer.receipt(second, &submit, "code-1", "DELIVRD").await;
    assert_eq!(road.message_in(&id, "delivered").await["attempts"], 2);
    assert_eq!(road.kinds(&id).await.iter().filter(|kind| *kind == "message.unanswered").count(), 1);
    assert!(peer.is_quiet());
}

async fn broken_pdus_are_refused_and_the_session_goes_on(peer: &mut Peer, road: &Road) {
    const GENERIC_NACK: u32 = 0x8000_0000;
    const DELIVER_SM_RESP: u32 = 0x8000_0005;
    const INVALID_COMMAND: u32 = 0x03;
    let session = peer.bound().await;
    // A request that SMPP 3.4 does not know.
    let unknown = [0, 0, 0, 16, 0, 0, 0x01, 0x11, 0, 0, 0, 0, 0, 0, 0x30, 0x01];
    peer.wish(Wish::Raw { session, octets: unknown.to_vec() }).await;
    assert_eq!(peer.refused().await, (GENERIC_NACK, 0x3001, INVALID_COMMAND));
    // A deliver_sm that ends within the sender's address.
    let mut cut = vec![0, 0, 0, 22, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0x30, 0x02];
    cut.extend(*b"\0\x01\x01467");
    peer.wish(Wish::Raw { session, octets: cut }).await;
    let (command, sequence, status) = peer.refused().await;
    assert_eq!((command, sequence), (DELIVER_SM_RESP, 0x3002));
    assert_ne!(status, OK);
    // An answer to nothing, which is no request and so gets no answer.
    let stray = [0, 0, 0, 19, 0x80, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0x30, 0x03, b'4', b'2', 0];
    peer.wish(Wish::Raw { session, octets: stray.to_vec() }).await;

    let id = road.send(SENDER, &recipient(60), "transactional", "Still there?").await;
    let submit = peer.submit().await;
    assert_eq!(submit.session, session);
    peer.answer(&submit, OK, "alive-1").await;
    peer.receipt(session, &submit, "alive-1", "DELIVRD").await;
    road.message_in(&id, "delivered").await;
    assert_eq!(road.kinds(&id).await, UNTROUBLED);
    assert!(peer.is_quiet(), "nothing else was refused and nothing closed");
}

async fn a_receipt_may_overtake_the_answer(peer: &mut Peer, road: &Road) {
    let session = peer.bound().await;
    let id = road.send(SENDER, &recipient(70), "transactional", "Faster than light").await;
    let submit = peer.submit().await;
    // Acknowledged, so stored, though nobody knows yet which message has this id.
    peer.receipt(session, &submit, "early-1", "DELIVRD").await;
    peer.answer(&submit, OK, "early-1").await;
    let delivered = road.message_in(&id, "delivered").await;
    assert_eq!((&delivered["carrier_ids"], &delivered["attempts"]), (&json!(["early-1"]), &json!(1)));
    assert!(peer.is_quiet());
}

async fn a_number_that_the_carrier_calls_invalid_is_not_sent_to_again(peer: &mut Peer, road: &Road) {
    peer.bound().await;
    let id = road.send(SENDER, &recipient(80), "transactional", "Anybody there?").await;
    let submit = peer.submit().await;
    peer.answer(&submit, INVALID_DESTINATION, "").await;
    let rejected = road.message_in(&id, "rejected").await;
    let error = &rejected["error"];
    assert_eq!((&error["code"], &error["recovery"]), (&json!("INVALID_NUMBER"), &json!("suppress")));
    let message = json!({ "from": SENDER, "to": recipient(80), "text": "And now?" });
    let (status, problem) = road.call(Method::POST, "/v1/messages", Some(message)).await;
    assert!((400..500).contains(&status), "{problem}");
    assert!(["INVALID_NUMBER", "OPTED_OUT"].map(|code| json!(code)).contains(&problem["code"]), "{problem}");
    // Others are still sent to.
    road.send(SENDER, &recipient(81), "transactional", "Anybody else?").await;
    assert_eq!(peer.submit().await.destination.2, recipient(81).trim_start_matches('+'));
    assert!(peer.is_quiet());
}
