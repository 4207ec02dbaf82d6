//! A carrier, or somebody in its place, that sends what no carrier should: each thing costs an answer or the session,
//! never the process, and never the other connections.

use crate::peer::{House, Peer, Session, connection, healthy, in_time, octets};
use tidings_domain::message::Status;
use tidings_domain::purpose::Purpose;
use tidings_smpp::codec::{Address, Bind, BindMode, Body, DeliverSm, SubmitSm, Tlv, command, tag};
use tidings_smpp::data_coding::ESM_RECEIPT;
use tidings_smpp::status;

/// What must come of it.
enum Then {
    /// These answers (command, status), and the session goes on.
    Answers(Vec<(u32, u32)>),
    /// The session ends, with these last words.
    Ends(Vec<(u32, u32)>),
}

/// A header and what follows it, with a length that need not be true.
fn pdu(length: u32, command_id: u32, sequence: u32, body: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    for number in [length, command_id, 0, sequence] {
        octets.extend_from_slice(&number.to_be_bytes());
    }
    octets.extend_from_slice(body);
    octets
}

/// The octets of a `deliver_sm` whose message claims to have this length, with these octets behind it.
fn deliver(claims: u8, message: &[u8]) -> Vec<u8> {
    let mut body = b"\0\x01\x01123\0\x01\x01456\0\0\0\0\0\0\0\0\0\0".to_vec();
    body.push(claims);
    body.extend_from_slice(message);
    pdu(16 + body.len() as u32, command::DELIVER_SM, 7, &body)
}

fn receipt(id: &str) -> DeliverSm {
    let text = format!(
        "id:{id} sub:001 dlvrd:001 submit date:2611241200 done date:2611241200 stat:DELIVRD err:000 text:"
    );
    DeliverSm {
        source: Address::new(1, 1, "46701740605"),
        destination: Address::new(1, 1, "15550001111"),
        esm_class: ESM_RECEIPT,
        short_message: text.into_bytes(),
        ..DeliverSm::default()
    }
}

/// Whether the other side still answers.
async fn lives(session: &mut Session) -> bool {
    session.say(0x7777, 0, Body::EnquireLink).await;
    while let Some(pdu) = session.read().await {
        if (pdu.body == Body::EnquireLinkResp) && pdu.sequence == 0x7777 {
            return true;
        }
    }
    false
}

/// A session that is bound now. One that waited too long for its turn was given up, and tried again.
async fn alive(peer: &Peer) -> Session {
    loop {
        let mut session = peer.bound().await;
        if lives(&mut session).await {
            return session;
        }
    }
}

/// P-36
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_hostile_thing_costs_an_answer_or_the_session_and_nothing_else() {
    use Then::{Answers, Ends};
    const SAME: [u8; 4] = [0; 4];
    let nack = |status| (command::GENERIC_NACK, status);
    let refused = |status| (command::DELIVER_SM_RESP, status);
    let invalid_length = || Ends(vec![nack(status::ESME_RINVCMDLEN)]);
    let invalid_message = || Answers(vec![refused(status::ESME_RINVMSGLEN)]);
    let unbound = |body: Body| octets(9, 0, body);
    let bind = Body::Bind(Bind::new(BindMode::Transceiver, "you", "too"));
    let bound = Body::BindResp { mode: BindMode::Transceiver, system_id: "again".into(), tlvs: Vec::new() };
    let unasked: Vec<u8> = (100..10_100)
        .flat_map(|n| octets(n, 0, Body::SubmitSmResp { message_id: format!("never-{n}") }))
        .collect();
    let cases: Vec<(&str, Vec<u8>, Then)> = vec![
        // Number 61 of the bad inputs.
        ("a length of 0", pdu(0, command::ENQUIRE_LINK, 1, &SAME), invalid_length()),
        ("a length of 15", pdu(15, command::ENQUIRE_LINK, 1, &SAME), invalid_length()),
        ("a length of 65,537", pdu(65_537, command::DELIVER_SM, 1, &[0; 65_521]), invalid_length()),
        ("a length of 4 GiB", pdu(u32::MAX, command::DELIVER_SM, 1, &SAME), invalid_length()),
        ("an answer of a web server", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), invalid_length()),
        // Number 62.
        ("sm_length beyond the PDU", deliver(200, b"short"), invalid_message()),
        ("an optional parameter beyond the PDU", deliver(1, b"a\x04\x24\xff\xffx"), invalid_message()),
        ("half an optional parameter", deliver(1, b"a\x04"), invalid_message()),
        (
            "a text without an end",
            pdu(20, command::DELIVER_SM, 7, b"abcd"),
            Answers(vec![refused(status::ESME_RINVPARLEN)]),
        ),
        (
            "an empty request",
            pdu(16, command::DELIVER_SM, 7, b""),
            Answers(vec![refused(status::ESME_RINVPARLEN)]),
        ),
        ("an unknown command", pdu(16, 0x0000_0BAD, 7, b""), Answers(vec![nack(status::ESME_RINVCMDID)])),
        ("an unknown answer", pdu(16, 0x8000_0BAD, 7, b""), Answers(vec![])),
        ("ten thousand answers to nothing", unasked, Answers(vec![])),
        ("a refusal of nothing", unbound(Body::GenericNack), Answers(vec![])),
        (
            "a submission in the wrong direction",
            unbound(Body::SubmitSm(SubmitSm::default())),
            Answers(vec![(command::SUBMIT_SM_RESP, status::ESME_RINVBNDSTS)]),
        ),
        (
            "a bind in the wrong direction",
            unbound(bind),
            Answers(vec![(command::BIND_TRANSCEIVER | command::RESPONSE_BIT, status::ESME_RINVBNDSTS)]),
        ),
        ("a second answer to the bind", unbound(bound), Answers(vec![])),
        (
            "one-way PDUs",
            [unbound(Body::Outbind), unbound(Body::AlertNotification)].concat(),
            Answers(vec![]),
        ),
        ("ten thousand answers to enquiries", unbound(Body::EnquireLinkResp).repeat(10_000), Answers(vec![])),
        (
            "ten thousand enquiries",
            unbound(Body::EnquireLink).repeat(10_000),
            Answers(vec![(command::ENQUIRE_LINK_RESP, 0); 10_000]),
        ),
        ("an end", unbound(Body::Unbind), Ends(vec![(command::UNBIND_RESP, 0)])),
    ];
    let mut peers = Vec::new();
    let mut connections = vec![healthy()];
    for n in 0..cases.len() {
        let peer = Peer::listen().await;
        connections.push(connection(&format!("hostile-{n}"), &format!("467{n:02}"), peer.settings()));
        peers.push(peer);
    }
    let house = House::open(connections).await;
    for ((name, attack, then), peer) in cases.into_iter().zip(&peers) {
        let mut session = alive(peer).await;
        session.write(&attack).await;
        let (expected, ends) = match then {
            Answers(expected) => (expected, false),
            Ends(expected) => (expected, true),
        };
        let mut answers = Vec::new();
        while answers.len() < expected.len() {
            let pdu =
                session.read().await.unwrap_or_else(|| panic!("{name}: it ended after {}", answers.len()));
            answers.push((pdu.body.command_id(), pdu.status));
        }
        assert_eq!(answers, expected, "{name}");
        if ends {
            assert!(session.read().await.is_none(), "{name}: it goes on");
        } else {
            assert!(lives(&mut session).await, "{name}: it ended");
        }
        house.others_are_served().await;
    }
    // A connection whose session ended takes up its work again.
    let mut session = alive(&peers[0]).await;
    let id = house.send("+46700000001", Purpose::Transactional, "after all that").await;
    let pdu = session.read().await.expect("a submission");
    assert!(matches!(pdu.body, Body::SubmitSm(_)), "{pdu:?}");
    session.say(pdu.sequence, 0, Body::SubmitSmResp { message_id: "1".into() }).await;
    house.until(id, "the carrier's answer", |status| status == Status::Sent).await;
    drop(peers);
    house.engine.stop(1_000).await;
}

/// P-36
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_carrier_at_all_is_left_and_asked_again() {
    for first in [&b"HTTP/1.1 200 OK\r\n\r\n"[..], b"\0\0\0\x08", b"", &[0xFF; 70_000]] {
        let peer = Peer::listen().await;
        let house = House::open(vec![healthy(), connection("hostile", "467", peer.settings())]).await;
        let mut session = peer.accept().await;
        session.write(first).await;
        if first.is_empty() {
            drop(session);
        } else {
            let bind = session.read().await.expect("a bind");
            assert!(matches!(bind.body, Body::Bind(_)), "{bind:?}");
            while let Some(pdu) = session.read().await {
                assert_eq!(pdu.body, Body::GenericNack, "{pdu:?}");
            }
        }
        house.others_are_served().await;
        let mut session = peer.bound().await;
        assert!(lives(&mut session).await);
        drop((session, peer));
        house.engine.stop(1_000).await;
    }
}

/// What this process holds in memory: octets.
pub fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

/// P-33
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_is_answered_one_by_one_and_does_not_fill_the_memory() {
    const FLOOD: u32 = 3_000;
    /// Messages as large as a PDU may be: as many as may wait to be stored, by their number.
    const LARGE: u32 = 1_000;
    let peer = Peer::listen().await;
    let house = House::open(vec![healthy(), connection("hostile", "467", peer.settings())]).await;
    let session = peer.bound().await;
    house.others_are_served().await;
    let before = resident();
    let (mut reading, mut writing) = session.stream.into_split();
    let flood = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt as _;
        let tlvs = vec![Tlv::new(tag::MESSAGE_PAYLOAD, vec![b'x'; 65_000])];
        let large = octets(0, 0, Body::DeliverSm(DeliverSm { tlvs, ..DeliverSm::default() }));
        for n in 1..=LARGE {
            let mut one = large.clone();
            one[12..16].copy_from_slice(&n.to_be_bytes());
            writing.write_all(&one).await.unwrap();
        }
        for n in LARGE + 1..=LARGE + FLOOD {
            writing.write_all(&octets(n, 0, Body::DeliverSm(receipt(&format!("nobody-{n}"))))).await.unwrap();
        }
        writing
    });
    let (mut buffer, mut answers, mut most) = (bytes::BytesMut::new(), Vec::new(), 0);
    let answered = async {
        use tokio::io::AsyncReadExt as _;
        while answers.len() < (FLOOD + LARGE) as usize {
            assert!(reading.read_buf(&mut buffer).await.unwrap() > 0, "the session goes on");
            while buffer.len() >= 16 {
                let length = tidings_smpp::codec::frame_length(&buffer).unwrap().unwrap();
                if buffer.len() < length {
                    break;
                }
                let pdu = tidings_smpp::codec::decode(&buffer.split_to(length)).unwrap();
                assert_eq!(pdu.body, Body::DeliverSmResp);
                answers.push((pdu.sequence, pdu.status));
                most = most.max(resident());
            }
        }
    };
    in_time("an answer to each", answered).await;
    let writing = flood.await.unwrap();
    let is_stored = |(n, status): &&(u32, u32)| *n > LARGE && *status == status::ESME_ROK;
    let stored = answers.iter().filter(is_stored).count() as u64;
    assert!(
        answers.iter().all(|(_, status)| [status::ESME_ROK, status::ESME_RX_T_APPN].contains(status)),
        "stored, or to be sent again"
    );
    answers.sort_unstable();
    answers.dedup_by_key(|(sequence, _)| *sequence);
    assert_eq!(answers.len(), (FLOOD + LARGE) as usize, "each is answered once");
    // What was said to be stored is stored.
    let parked = house.engine.store().statistics(house.engine.clock().now()).await.unwrap().parked;
    assert!(parked >= stored, "{parked} are kept of {stored}");
    // All of the large ones, as octets and as texts, would be 200 MiB; a session may hold 4 MiB of what is not stored.
    let more = most.saturating_sub(before) >> 20;
    println!("{more} MiB more");
    assert!(more < 48, "{more} MiB more");
    house.others_are_served().await;
    drop((reading, writing));
    house.engine.stop(1_000).await;
}
