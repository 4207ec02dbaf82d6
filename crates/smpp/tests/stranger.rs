//! Both our ends against an implementation by other people, which does not share our codec's errors:
//! our client with their server, their client with our server.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use smpp34::client::{BIND_TYPE, SMSC, SmppClient, SmppClientListener};
use smpp34::server::ESME;
use smpp34::{
    SmppConnectionInformation, SmppError, SmppServer, SmppServerListener, bind_transceiver,
    bind_transceiver_resp, deliver_sm, deliver_sm_resp, submit_sm, submit_sm_resp,
};
use tidings_smpp::client::{self, Event};
use tidings_smpp::codec::{Address, Bind, BindMode, DeliverSm, SubmitSm, Tlv, tag};
use tidings_smpp::receipt_text::{Kind, ReceiptState, classify_deliver};
use tidings_smpp::server;
use tidings_smpp::session::EndReason;
use tidings_smpp::status;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::timeout;

/// Only against a hang.
const HANG: Duration = Duration::from_secs(30);

async fn next<E>(events: &mut Receiver<E>) -> E {
    timeout(HANG, events.recv()).await.expect("no event came").expect("the events ended")
}

const RECEIPT: &str =
    "id:their-1 sub:001 dlvrd:001 submit date:2611231544 done date:2611231545 stat:DELIVRD err:000 text:hi";

struct TheirServer {
    submits: Sender<submit_sm>,
    bound: Sender<ESME>,
}

#[async_trait]
impl SmppServerListener for TheirServer {
    async fn on_bind_transceiver(
        &self,
        request: bind_transceiver,
        _: &SmppConnectionInformation,
        _: &String,
    ) -> bind_transceiver_resp {
        if request.system_id == "esme" && request.password == "secret" {
            request.accept("theirs".into(), Some(0x34))
        } else {
            request.reject(SmppError::ESME_RINVPASWD)
        }
    }

    async fn on_submit_sm(
        &self,
        request: submit_sm,
        _: &SmppConnectionInformation,
        _: &String,
    ) -> submit_sm_resp {
        self.submits.send(request.clone()).await.unwrap();
        if request.destination_addr == "13" {
            request.reject(SmppError::ESME_RTHROTTLED)
        } else {
            request.accept("their-1".into())
        }
    }

    async fn on_esme_bound(&self, esme: ESME, _: &String) {
        let _ = self.bound.send(esme).await;
    }
}

/// Their server cannot tell which port it got, so a free one is looked for; another program may take it in
/// between, hence the tries.
async fn their_server(listener: &Arc<TheirServer>) -> (SmppServer, u16) {
    for _ in 0..20 {
        let probe = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = probe.local_addr().unwrap().port();
        drop(probe);
        let mut server = SmppServer::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port, Arc::clone(listener) as _);
        server.start().await;
        if server.is_alive() {
            return (server, port);
        }
    }
    panic!("no free port");
}

#[tokio::test]
async fn our_client_works_with_their_server() {
    let (submits_in, mut submits) = mpsc::channel(16);
    let (bound_in, mut bound) = mpsc::channel(16);
    let listener = Arc::new(TheirServer { submits: submits_in, bound: bound_in });
    let (_server, port) = their_server(&listener).await;

    let wrong = client::Settings::new("127.0.0.1", port, Bind::new(BindMode::Transceiver, "esme", "wrong"));
    let (_handle, mut events) = client::connect(wrong).await.unwrap();
    assert!(matches!(next(&mut events).await, Event::Closed(EndReason::BindRefused(status::ESME_RINVPASWD))));

    let right = client::Settings::new("127.0.0.1", port, Bind::new(BindMode::Transceiver, "esme", "secret"));
    let (handle, mut events) = client::connect(right).await.unwrap();
    let Event::Bound { system_id, interface_version } = next(&mut events).await else { panic!("not bound") };
    assert_eq!((system_id.as_str(), interface_version), ("theirs", Some(0x34)));

    let ours = SubmitSm {
        service_type: "CMT".into(),
        source: Address::new(5, 0, "Tidings"),
        destination: Address::new(1, 1, "46700000001"),
        esm_class: 0x40,
        protocol_id: 0x41,
        priority_flag: 2,
        schedule_delivery_time: String::new(),
        validity_period: "000000010000000R".into(),
        registered_delivery: 1,
        replace_if_present: 1,
        data_coding: 8,
        default_message_id: 3,
        short_message: vec![0, 1, 0xFF, 0x26, 0x3A],
        tlvs: vec![Tlv::new(tag::USER_MESSAGE_REFERENCE, [0x12, 0x34]), Tlv::new(0x1401, *b"own")],
    };
    handle.submit(1, ours.clone()).await.unwrap();
    let theirs = next(&mut submits).await;
    assert_eq!(theirs.service_type, "CMT");
    assert_eq!(
        (theirs.source_addr_ton, theirs.source_addr_npi, theirs.source_addr.as_str()),
        (5, 0, "Tidings")
    );
    assert_eq!(
        (theirs.dest_addr_ton, theirs.dest_addr_npi, theirs.destination_addr.as_str()),
        (1, 1, "46700000001")
    );
    assert_eq!((theirs.esm_class, theirs.protocol_id, theirs.priority_flag), (0x40, 0x41, 2));
    assert_eq!(
        (theirs.schedule_delivery_time.as_str(), theirs.validity_period.as_str()),
        ("", "000000010000000R")
    );
    assert_eq!((theirs.registered_delivery, theirs.replace_if_present_flag), (1, 1));
    assert_eq!((theirs.data_coding, theirs.sm_default_msg_id), (8, 3));
    assert_eq!(theirs.short_message, ours.short_message);
    // Their own encoder gives the octets of ours, but for the sequence number.
    let mut octets = bytes::BytesMut::new();
    let pdu =
        tidings_smpp::codec::Pdu { status: 0, sequence: 2, body: tidings_smpp::codec::Body::SubmitSm(ours) };
    tidings_smpp::codec::encode(&pdu, &mut octets).unwrap();
    assert_eq!(theirs.encode(), octets);
    let Event::Answer { tag: 1, status: 0, message_id } = next(&mut events).await else {
        panic!("no answer")
    };
    assert_eq!(message_id, "their-1");

    let refused = SubmitSm { destination: Address::new(0, 0, "13"), ..SubmitSm::default() };
    handle.submit(2, refused).await.unwrap();
    let answer = next(&mut events).await;
    assert!(matches!(answer, Event::Answer { tag: 2, status: status::ESME_RTHROTTLED, .. }), "{answer:?}");

    let esme = next(&mut bound).await;
    let delivering = tokio::spawn(async move {
        esme.deliver_sm()
            .source_addr("46700000001")
            .destination_addr("Tidings")
            .esm_class(4)
            .short_message(RECEIPT.as_bytes())
            .tlv_raw(tag::RECEIPTED_MESSAGE_ID, *b"their-1\0")
            .tlv_raw(tag::MESSAGE_STATE, [2])
            .send()
            .await
            .unwrap()
            .is_success()
    });
    let Event::Deliver { pdu, responder } = next(&mut events).await else { panic!("no deliver") };
    let Kind::Receipt(receipt) = classify_deliver(&pdu) else { panic!("a receipt") };
    assert_eq!((receipt.id.as_str(), receipt.state), ("their-1", Some(ReceiptState::Delivered)));
    responder.answer(status::ESME_ROK);
    assert!(timeout(HANG, delivering).await.unwrap().unwrap());

    handle.stop();
    let end = next(&mut events).await;
    assert!(matches!(end, Event::Closed(EndReason::Stopped)), "{end:?}");
}

struct TheirClient {
    bound: Sender<SMSC>,
    delivers: Sender<deliver_sm>,
}

#[async_trait]
impl SmppClientListener for TheirClient {
    async fn on_smsc_bound(&self, smsc: SMSC, _: &String) {
        let _ = self.bound.send(smsc).await;
    }

    async fn on_deliver_sm(
        &self,
        request: deliver_sm,
        _: &SmppConnectionInformation,
        _: &String,
    ) -> deliver_sm_resp {
        self.delivers.send(request.clone()).await.unwrap();
        request.accept()
    }
}

#[tokio::test]
async fn their_client_works_with_our_server() {
    let settings = server::Settings::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let (server, mut carrier) = server::listen(settings).await.unwrap();
    let (bound_in, mut bound) = mpsc::channel(16);
    let (delivers_in, mut delivers) = mpsc::channel(16);
    let mut their_client = SmppClient::new(
        "127.0.0.1".into(),
        server.local_address().port(),
        false,
        BIND_TYPE::TRX,
        "esme".into(),
        "secret".into(),
        "GATEWAY".into(),
        0,
        0,
        String::new(),
        Arc::new(TheirClient { bound: bound_in, delivers: delivers_in }),
        10,
    );
    let starting = tokio::spawn(async move {
        their_client.start().await;
        their_client
    });
    let server::Event::BindRequested { connection, bind, responder } = next(&mut carrier).await else {
        panic!("no bind")
    };
    assert_eq!((bind.mode, bind.system_id.as_str()), (BindMode::Transceiver, "esme"));
    assert_eq!((bind.password.as_str(), bind.system_type.as_str()), ("secret", "GATEWAY"));
    responder.accept();
    let smsc = Arc::new(next(&mut bound).await);

    for (answer, id) in [(status::ESME_ROK, "our-1"), (status::ESME_RMSGQFUL, "")] {
        let submitter = Arc::clone(&smsc);
        let submitting = tokio::spawn(async move {
            submitter
                .submit_sm()
                .source_addr("12345")
                .destination_addr("31600000000")
                .short_message(b"hello")
                .send()
                .await
        });
        let server::Event::Submit { connection: from, pdu, responder } = next(&mut carrier).await else {
            panic!("no submit")
        };
        assert_eq!(from, connection.id());
        assert_eq!((pdu.source.value.as_str(), pdu.destination.value.as_str()), ("12345", "31600000000"));
        assert_eq!(pdu.short_message, b"hello");
        responder.answer(answer, id);
        let response = timeout(HANG, submitting).await.unwrap().unwrap().unwrap();
        assert_eq!(response.command_status(), answer);
        assert_eq!(response.message_id.as_deref().unwrap_or_default(), id);
    }

    let ours = DeliverSm {
        source: Address::new(1, 1, "31600000000"),
        destination: Address::new(0, 0, "12345"),
        esm_class: 4,
        short_message: RECEIPT.as_bytes().to_vec(),
        ..DeliverSm::default()
    };
    connection.deliver(5, ours.clone()).await.unwrap();
    let theirs = next(&mut delivers).await;
    assert_eq!(theirs.short_message, ours.short_message);
    assert_eq!((theirs.source_addr_ton, theirs.source_addr_npi), (1, 1));
    let server::Event::Answer { tag, status, .. } = next(&mut carrier).await else { panic!("no answer") };
    assert_eq!((tag, status), (5, 0));

    smsc.send_unbind().await.unwrap();
    let server::Event::Closed { reason, .. } = next(&mut carrier).await else { panic!("not closed") };
    assert_eq!(reason, EndReason::PeerUnbound);
    let _their_client = timeout(HANG, starting).await.unwrap().unwrap();
}
