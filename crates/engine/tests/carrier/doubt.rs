//! What is in doubt when a carrier breaks off or does not answer, and what becomes of it.

use crate::peer::{House, Peer, Session, connection, in_time};
use std::collections::{BTreeMap, BTreeSet};
use tidings_carriers::smpp;
use tidings_domain::message::Status;
use tidings_domain::purpose::Purpose;
use tidings_smpp::codec::{Address, Body, DeliverSm, SubmitSm, Tlv, find_tlv, tag};
use tidings_smpp::data_coding::ESM_RECEIPT;

/// The next submission, with its sequence number; `None` at the end of the session.
async fn submission(session: &mut Session) -> Option<(u32, SubmitSm)> {
    loop {
        let pdu = session.read().await?;
        match pdu.body {
            Body::SubmitSm(submit) => return Some((pdu.sequence, submit)),
            Body::EnquireLink => session.say(pdu.sequence, 0, Body::EnquireLinkResp).await,
            Body::Unbind => session.say(pdu.sequence, 0, Body::UnbindResp).await,
            other => panic!("{other:?}"),
        }
    }
}

/// P-09: the carrier reads `k` of `n` submissions and closes. All were written to the socket, so all are in doubt, and
/// their purpose decides: offers are never sent again, alerts are. What a connection had no room for is not in doubt;
/// that is tested where the room can be measured, in the driver of `tidings_smpp`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_break_offers_are_never_sent_again_and_alerts_are() {
    const N: usize = 50;
    let mut peers = Vec::new();
    let mut connections = Vec::new();
    for k in 0..=N {
        let peer = Peer::listen().await;
        // The carriers are played one after the other, on a machine that may be slow: none must be asked in the meantime
        // whether it is still there, or be given up for its answers.
        let settings =
            smpp::Settings { window: N, enquire_link_s: 3_600, response_timeout_s: 60, ..peer.settings() };
        connections.push(connection(&format!("peer-{k}"), &format!("46701{k:02}"), settings));
        peers.push(peer);
    }
    let house = House::open(connections).await;
    // Each is answered at once when it binds, whoever's turn it is: what waits too long for that is given up.
    let mut bound = Vec::new();
    for peer in peers {
        let first = peer.bound().await;
        bound.push((peer, first));
    }
    let (mut trials, mut seconds) = (Vec::new(), Vec::new());
    for (k, (peer, mut first)) in bound.into_iter().enumerate() {
        let mut messages = BTreeMap::new();
        // Those behind the window wait; the break is none of their business.
        for n in 0..N + 10 {
            let purpose = if n % 2 == 0 { Purpose::Marketing } else { Purpose::Alert };
            let to = format!("46701{k:02}00{n:02}");
            messages.insert(to.clone(), (purpose, house.send(&format!("+{to}"), purpose, "a word").await));
        }
        let mut read = BTreeSet::new();
        for _ in 0..k {
            let (_, submit) = submission(&mut first).await.expect("the window is full of them");
            assert!(read.insert(submit.destination.value), "none comes twice");
        }
        drop(first);
        seconds.push(tokio::spawn(async move {
            let (mut session, mut all) = (peer.bound().await, Vec::new());
            while let Some((sequence, submit)) = submission(&mut session).await {
                let message_id = format!("id-{}", submit.destination.value);
                session.say(sequence, 0, Body::SubmitSmResp { message_id }).await;
                all.push(submit.destination.value);
            }
            all
        }));
        trials.push((k, messages, read));
    }
    let settled = |status| matches!(status, Status::Sent | Status::Unconfirmed);
    let mut ends: BTreeMap<String, Status> = BTreeMap::new();
    for (to, (_, id)) in trials.iter().flat_map(|(_, messages, _)| messages) {
        ends.insert(to.clone(), house.until(*id, to, settled).await.life.state.status());
    }
    house.engine.stop(5_000).await;
    for ((k, messages, read), second) in trials.into_iter().zip(seconds) {
        let all = in_time("the second session's end", second).await.unwrap();
        let again: BTreeSet<&String> = all.iter().collect();
        assert_eq!(again.len(), all.len(), "{k}: none is sent twice in the second session");
        let mut in_doubt = 0;
        for (to, (purpose, _)) in &messages {
            let (came, comes) = (read.contains(to), again.contains(to));
            match purpose {
                Purpose::Marketing => assert!(!(came && comes), "{k}: {to} was sent twice"),
                _ => assert!(comes, "{k}: {to} was not sent again"),
            }
            let expected = if comes { Status::Sent } else { Status::Unconfirmed };
            assert_eq!(ends[to], expected, "{k}: {to}");
            in_doubt += usize::from(!comes);
        }
        assert!(in_doubt <= N, "{k}: no more than the window is in doubt");
    }
}

/// P-10
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_submission_without_an_answer_is_settled_by_its_receipt_or_shown_to_a_person() {
    const ALL: usize = 1_000;
    let peer = Peer::listen().await;
    let settings = smpp::Settings { window: ALL, response_timeout_s: 1, ..peer.settings() };
    let house = House::open(vec![connection("silent", "467", settings)]).await;
    let mut session = peer.bound().await;
    let mut messages = BTreeMap::new();
    for n in 0..ALL {
        let to = format!("4670000{n:04}");
        messages.insert(
            to.clone(),
            house.send(&format!("+{to}"), Purpose::Transactional, "anybody there?").await,
        );
    }
    let mut submitted = BTreeMap::new();
    while submitted.len() < ALL {
        let (_, submit) = submission(&mut session).await.expect("a submission");
        let reference = find_tlv(&submit.tlvs, tag::USER_MESSAGE_REFERENCE).expect("our reference").to_vec();
        assert!(submitted.insert(submit.destination.value, reference).is_none(), "none comes twice");
    }
    let told = |to: &str, n: u32, reference: &[u8]| {
        let deliver = DeliverSm {
            source: Address::new(1, 1, to),
            destination: Address::new(1, 1, "15550001111"),
            esm_class: ESM_RECEIPT,
            short_message: format!("id:unheard-{n} stat:DELIVRD err:000").into_bytes(),
            tlvs: vec![Tlv::new(tag::USER_MESSAGE_REFERENCE, reference)],
            ..DeliverSm::default()
        };
        crate::peer::octets(n, 0, Body::DeliverSm(deliver))
    };
    // Half of them are told about by receipts; none of those has the id of an answer, which nobody has ever seen.
    for (n, (to, reference)) in submitted.iter().enumerate().filter(|(n, _)| n % 2 == 0) {
        session.write(&told(to, 1 + n as u32, reference)).await;
    }
    for (n, to) in submitted.keys().enumerate().filter(|(n, _)| n % 2 == 0) {
        let end = house.until(messages[to], "a receipt", |status| status == Status::Delivered).await;
        assert_eq!(end.life.segments.len(), 1, "{n}");
    }
    // Of the others everybody can see that they are under way, and after two minutes that nobody knows.
    let doubtful: Vec<&String> = submitted.keys().skip(1).step_by(2).collect();
    for to in &doubtful {
        assert_eq!(house.stored(messages[*to]).await.life.state.status(), Status::Sending, "{to}");
    }
    assert_eq!(house.reviewed().await, 0);
    house.clock.by_s(121);
    for to in &doubtful {
        house.until(messages[*to], "the end of the doubt", |status| status == Status::Unconfirmed).await;
    }
    assert_eq!(house.reviewed().await, ALL / 2, "each is shown to a person");
    // A receipt that comes now still says how it was.
    let late = doubtful[0];
    session.write(&told(late, 9_999, &submitted[late])).await;
    house.until(messages[late], "a late receipt", |status| status == Status::Delivered).await;
    drop(session);
    house.engine.stop(1_000).await;
}
