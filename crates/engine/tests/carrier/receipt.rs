//! Receipts in the dialects of many carriers, and with ids that collide; and parts of messages that people send.

use crate::peer::{House, Peer, Session, connection, healthy, in_time, octets};
use std::collections::BTreeMap;
use tidings_carriers::smpp;
use tidings_domain::message::Status;
use tidings_domain::purpose::Purpose;
use tidings_smpp::codec::{Address, Body, DeliverSm, Tlv, tag};
use tidings_smpp::data_coding::{ESM_RECEIPT, ESM_UDHI};
use tidings_smpp::status;

/// How a carrier writes its ids.
struct Dialect {
    name: &'static str,
    /// In its answer to the `n`-th submission.
    answer: fn(u64) -> String,
    /// In the receipt.
    receipt: fn(u64) -> String,
    /// As an optional parameter and not in the text.
    parameter: bool,
    reads: smpp::ReceiptId,
}

const fn dialect(
    name: &'static str,
    answer: fn(u64) -> String,
    receipt: fn(u64) -> String,
    parameter: bool,
    reads: smpp::ReceiptId,
) -> Dialect {
    Dialect { name, answer, receipt, parameter, reads }
}

/// Numbers near one another, so that one id's decimal digits are another's hexadecimal ones, and likewise with zeros:
/// `10` is `16`, `0x10`, `010`. The numbers are as many as the messages, and each is used once.
fn near(n: u64) -> u64 {
    n + 1
}

/// Too large for any number type of 64 bits.
fn huge(n: u64) -> String {
    format!("1844674407370955161500{n:06}")
}

fn huge_hexadecimal(n: u64) -> String {
    let value = 1_844_674_407_370_955_161_500_000_000_u128 + u128::from(n);
    format!("{value:X}")
}

const DIALECTS: [Dialect; 12] = [
    dialect("the same", |n| format!("{}", near(n)), |n| format!("{}", near(n)), false, smpp::ReceiptId::Same),
    dialect(
        "leading zeros on receipts",
        |n| format!("{}", near(n)),
        |n| format!("{:010}", near(n)),
        false,
        smpp::ReceiptId::Same,
    ),
    dialect(
        "leading zeros in answers",
        |n| format!("{:08}", near(n)),
        |n| format!("{}", near(n)),
        false,
        smpp::ReceiptId::Same,
    ),
    dialect(
        "other letters",
        |n| format!("A{:x}F", near(n)),
        |n| format!("a{:X}f", near(n)),
        false,
        smpp::ReceiptId::Same,
    ),
    dialect(
        "hexadecimal, then decimal",
        |n| format!("{:x}", near(n)),
        |n| format!("{}", near(n)),
        false,
        smpp::ReceiptId::HexThenDecimal,
    ),
    dialect(
        "hexadecimal with zeros, then decimal",
        |n| format!("{:08X}", near(n)),
        |n| format!("{:010}", near(n)),
        false,
        smpp::ReceiptId::HexThenDecimal,
    ),
    dialect(
        "decimal, then hexadecimal",
        |n| format!("{}", near(n)),
        |n| format!("{:x}", near(n)),
        false,
        smpp::ReceiptId::DecimalThenHex,
    ),
    dialect("more than 64 bits", huge, huge, false, smpp::ReceiptId::Any),
    dialect("more than 64 bits, hexadecimal", huge_hexadecimal, huge, false, smpp::ReceiptId::HexThenDecimal),
    dialect(
        "uuid",
        |n| format!("123e4567-e89b-12d3-a456-{n:012x}"),
        |n| format!("123E4567-E89B-12D3-A456-{n:012X}"),
        false,
        smpp::ReceiptId::Any,
    ),
    dialect(
        "as a parameter",
        |n| format!("m{}", near(n)),
        |n| format!("m{}", near(n)),
        true,
        smpp::ReceiptId::Any,
    ),
    dialect(
        "find out",
        |n| format!("{:x}", 4_000_000_000 + n),
        |n| format!("{}", 4_000_000_000 + n),
        false,
        smpp::ReceiptId::Any,
    ),
];

/// Every third message goes to the same recipient, so that the number alone tells nothing.
fn recipient(line: usize, n: u64) -> String {
    let of_many = if n.is_multiple_of(3) { 0 } else { n + 1 };
    format!("467{line:02}{of_many:06}")
}

/// What became of the `n`-th message: each fourth one was not delivered.
fn delivered(n: u64) -> bool {
    !n.is_multiple_of(4)
}

/// P-19: twelve ways to write an id, with ids that collide when they are read in another way. Each receipt comes three
/// times, in another order than the answers, and at times before its answer. A message that ends as another one should
/// is an error; one that does not end would be, too. `TIDINGS_LONG=1` takes ten thousand ids for each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_receipt_is_its_own_messages_in_every_dialect() {
    let ids: u64 = if std::env::var_os("TIDINGS_LONG").is_some() { 10_000 } else { 300 };
    let mut connections = vec![healthy()];
    let mut peers = Vec::new();
    for (line, dialect) in DIALECTS.iter().enumerate() {
        let peer = Peer::listen().await;
        let settings = smpp::Settings {
            window: 1_000,
            receipt_id: dialect.reads,
            user_message_reference: false,
            ..peer.settings()
        };
        connections.push(connection(&format!("line-{line}"), &format!("467{line:02}"), settings));
        peers.push(peer);
    }
    let house = House::open(connections).await;
    let mut carriers = Vec::new();
    for (line, peer) in peers.into_iter().enumerate() {
        let session = peer.bound().await;
        carriers.push(tokio::spawn(carrier(line, session, ids)));
    }
    let mut messages = Vec::new();
    for n in 0..ids {
        for line in 0..DIALECTS.len() {
            // The text tells the carrier which message it is, whoever it is for.
            let id =
                house.send(&format!("+{}", recipient(line, n)), Purpose::Transactional, &n.to_string()).await;
            messages.push((line, n, id));
        }
    }
    for (line, n, id) in messages {
        let name = format!("{} {n}", DIALECTS[line].name);
        let end = house.until(id, &name, Status::is_final).await.life.state.status();
        let expected = if delivered(n) { Status::Delivered } else { Status::Undelivered };
        assert_eq!(end, expected, "{name}");
    }
    for carrier in carriers {
        carrier.abort();
    }
    house.engine.stop(1_000).await;
}

async fn carrier(line: usize, mut session: Session, ids: u64) {
    let dialect = &DIALECTS[line];
    let receipt = |n: u64, sequence: u32| {
        let word = if delivered(n) { "DELIVRD" } else { "UNDELIV" };
        let id = (dialect.receipt)(n);
        let (text, tlvs) = match dialect.parameter {
            true => {
                (format!("stat:{word} err:099"), vec![Tlv::new(tag::RECEIPTED_MESSAGE_ID, format!("{id}\0"))])
            }
            false => (format!("id:{id} sub:001 dlvrd:001 stat:{word} err:099 text:"), Vec::new()),
        };
        let deliver = DeliverSm {
            source: Address::new(1, 1, recipient(line, n)),
            destination: Address::new(1, 1, "15550001111"),
            esm_class: ESM_RECEIPT,
            short_message: text.into_bytes(),
            tlvs,
            ..DeliverSm::default()
        };
        octets(sequence, 0, Body::DeliverSm(deliver))
    };
    let mut sequence = 0;
    let mut waiting: BTreeMap<u64, u64> = BTreeMap::new();
    let mut seen = 0;
    loop {
        let Some(pdu) = session.read().await else { return };
        match pdu.body {
            Body::SubmitSm(submit) => {
                let n: u64 = String::from_utf8(submit.short_message).unwrap().parse().unwrap();
                assert_eq!(submit.destination.value, recipient(line, n));
                let mut octets = Vec::new();
                // One in five is reported before it is answered.
                if n % 5 == 2 {
                    sequence += 1;
                    octets.extend(receipt(n, sequence));
                }
                let message_id = (dialect.answer)(n);
                octets.extend(crate::peer::octets(pdu.sequence, 0, Body::SubmitSmResp { message_id }));
                session.write(&octets).await;
                seen += 1;
                waiting.insert(n.wrapping_mul(0x9E37_79B9_7F4A_7C15), n);
                // The receipts of a few at once, in an order of their own, each three times.
                if waiting.len() >= 16 || seen == ids {
                    for (_, n) in std::mem::take(&mut waiting) {
                        for _ in 0..3 {
                            sequence += 1;
                            session.write(&receipt(n, sequence)).await;
                        }
                    }
                }
            }
            Body::EnquireLink => session.say(pdu.sequence, 0, Body::EnquireLinkResp).await,
            Body::DeliverSmResp => assert_eq!(pdu.status, status::ESME_ROK),
            Body::Unbind => return,
            other => panic!("{other:?}"),
        }
    }
}

/// P-21: parts are put together, in any order and each once, and a flood of first parts of nothing is answered, takes a
/// bounded place, and hides nothing: neither itself nor what comes behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_of_inbound_messages_are_put_together_behind_a_flood_of_parts_of_nothing() {
    const FLOOD: u32 = 2_000;
    let peer = Peer::listen().await;
    let house = House::open(vec![connection("inbound", "467", peer.settings())]).await;
    let mut session = peer.bound().await;
    let part = |sequence: u32, reference: u8, total: u8, number: u8, text: &str| {
        let header = [5, 0, 3, reference, total, number];
        let deliver = DeliverSm {
            source: Address::new(1, 1, "46701740605"),
            destination: Address::new(3, 0, "72345"),
            esm_class: ESM_UDHI,
            short_message: [&header[..], text.as_bytes()].concat(),
            ..DeliverSm::default()
        };
        octets(sequence, 0, Body::DeliverSm(deliver))
    };
    let before = crate::hostile::resident();
    let flooding = tokio::spawn({
        let octets: Vec<u8> =
            (1..=FLOOD).flat_map(|n| part(n, n as u8, 255, 1, &format!("part {n}"))).collect();
        let last = [
            part(FLOOD + 1, 77, 2, 2, " of it"),
            part(FLOOD + 2, 77, 2, 1, "both halves"),
            part(FLOOD + 3, 77, 2, 1, "both halves"),
        ]
        .concat();
        async move {
            session.write(&octets).await;
            session.write(&last).await;
            let (mut answered, mut taken) = (0, 0);
            while answered < FLOOD + 3 {
                let pdu = session.read().await.expect("an answer to each");
                assert!(pdu.body == Body::DeliverSmResp, "{pdu:?}");
                assert!([status::ESME_ROK, status::ESME_RX_T_APPN].contains(&pdu.status), "{pdu:?}");
                answered += 1;
                taken += usize::from(pdu.sequence <= FLOOD && pdu.status == status::ESME_ROK);
            }
            (session, taken)
        }
    });
    let (mut session, taken) = in_time("the answers", flooding).await.unwrap();
    // What was refused while too much waited is offered again, as carriers do.
    session
        .write(&[part(FLOOD + 4, 77, 2, 2, " of it"), part(FLOOD + 5, 77, 2, 1, "both halves")].concat())
        .await;
    for _ in 0..2 {
        assert_eq!(session.read().await.map(|pdu| pdu.status), Some(status::ESME_ROK));
    }
    let told = house.engine.store().events(house.realm, None, 10_000).await.unwrap().told;
    let texts = |total: u8| {
        let told = told.iter().filter_map(move |told| match &told.about {
            tidings_store::About::Inbound(inbound) => Some(inbound),
            _ => None,
        });
        told.filter(move |inbound| inbound.parts.as_ref().is_some_and(|parts| parts.total == total))
            .map(|inbound| inbound.text.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(texts(2), ["both halves of it"]);
    // As many wait as one sender may have, of which the last message was one for a while; the others were told as they are,
    // each once.
    let of_flood = texts(255);
    assert!(of_flood.iter().all(|text| text.starts_with("part ") && text.ends_with("[…]")), "{of_flood:?}");
    let different: std::collections::BTreeSet<&String> = of_flood.iter().collect();
    assert_eq!(different.len(), of_flood.len());
    assert!([15, 16].contains(&(taken - of_flood.len())), "{} of {taken}", of_flood.len());
    let more = crate::hostile::resident().saturating_sub(before) >> 20;
    assert!(more < 64, "{more} MiB more");
    drop(session);
    house.engine.stop(1_000).await;
}
