//! Our client against our server over real sockets: what each end's owner is told in health and in failure.
//! Nothing here waits for a duration to pass by itself; every step waits for an event.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::SocketAddr;
use std::time::Duration;

use tidings_smpp::client::{self, ClientTls, Event, Handle, NotTaken};
use tidings_smpp::codec::{Address, Bind, BindMode, DeliverSm, SubmitSm, Tlv, tag};
use tidings_smpp::server::{self, Connection, Identity, Server};
use tidings_smpp::session::{EndReason, Limits, WhyUnsent};
use tidings_smpp::status;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

/// Only against a hang; no test passes or fails by it otherwise.
const HANG: Duration = Duration::from_secs(30);

async fn next<E>(events: &mut Receiver<E>) -> E {
    timeout(HANG, events.recv()).await.expect("no event came").expect("the events ended")
}

fn local() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn submit(text: &str) -> SubmitSm {
    SubmitSm {
        source: Address::new(5, 0, "Tidings"),
        destination: Address::new(1, 1, "46700000001"),
        registered_delivery: 1,
        short_message: text.as_bytes().to_vec(),
        ..SubmitSm::default()
    }
}

fn deliver(text: &str) -> DeliverSm {
    DeliverSm {
        source: Address::new(1, 1, "46700000001"),
        destination: Address::new(5, 0, "Tidings"),
        short_message: text.as_bytes().to_vec(),
        ..DeliverSm::default()
    }
}

struct Pair {
    handle: Handle,
    events: Receiver<Event>,
    connection: Connection,
    carrier: Receiver<server::Event>,
    _server: Server,
}

async fn bound(limits: Limits) -> Pair {
    let mut settings = server::Settings::new(local());
    settings.limits = limits;
    settings.limits.window_max = 10;
    bound_with(settings, None, limits).await
}

async fn bound_with(settings: server::Settings, tls: Option<ClientTls>, limits: Limits) -> Pair {
    let (server, mut carrier) = server::listen(settings).await.unwrap();
    let bind = Bind::new(BindMode::Transceiver, "esme", "secret");
    let mut client = client::Settings::new("127.0.0.1", server.local_address().port(), bind.clone());
    client.limits = limits;
    client.tls = tls;
    let (handle, mut events) = client::connect(client).await.unwrap();
    let server::Event::BindRequested { connection, bind: asked, responder } = next(&mut carrier).await else {
        panic!("no bind");
    };
    assert_eq!(asked, bind);
    responder.accept();
    let Event::Bound { system_id, interface_version } = next(&mut events).await else { panic!("not bound") };
    assert_eq!((system_id.as_str(), interface_version), ("tidings", Some(0x34)));
    Pair { handle, events, connection, carrier, _server: server }
}

#[tokio::test]
async fn submits_and_delivers_are_answered_by_the_owners() {
    let mut pair = bound(Limits::default()).await;
    for number in 0..10 {
        pair.handle.submit(number, submit(&format!("message {number}"))).await.unwrap();
    }
    assert_eq!(pair.handle.window_free(), 0);
    for number in 0..10 {
        let server::Event::Submit { pdu, responder, .. } = next(&mut pair.carrier).await else {
            panic!("no submit");
        };
        assert_eq!(pdu, submit(&format!("message {number}")));
        if number == 3 {
            responder.answer(status::ESME_RTHROTTLED, "");
        } else {
            // Longer than SMPP allows: real carriers do it.
            responder.answer(status::ESME_ROK, format!("{number:070}"));
        }
    }
    for number in 0..10 {
        let Event::Answer { tag, status, message_id } = next(&mut pair.events).await else {
            panic!("no answer");
        };
        assert_eq!(tag, number);
        if number == 3 {
            assert_eq!((status, message_id.as_str()), (status::ESME_RTHROTTLED, ""));
        } else {
            assert_eq!((status, message_id), (0, format!("{number:070}")));
        }
    }
    assert_eq!(pair.handle.window_free(), 10);

    let mut receipt = deliver("id:1 stat:DELIVRD");
    receipt.esm_class = 4;
    receipt.tlvs.push(Tlv::new(tag::RECEIPTED_MESSAGE_ID, *b"1\0"));
    pair.connection.deliver(77, receipt.clone()).await.unwrap();
    let Event::Deliver { pdu, responder } = next(&mut pair.events).await else { panic!("no deliver") };
    assert_eq!(pdu, receipt);
    responder.answer(status::ESME_ROK);
    let server::Event::Answer { tag, status, .. } = next(&mut pair.carrier).await else {
        panic!("no answer")
    };
    assert_eq!((tag, status), (77, 0));

    pair.handle.stop();
    assert!(matches!(next(&mut pair.events).await, Event::Closed(EndReason::Stopped)));
    assert!(matches!(
        next(&mut pair.carrier).await,
        server::Event::Closed { reason: EndReason::PeerUnbound, .. }
    ));
    assert!(matches!(pair.handle.submit(1, submit("late")).await, Err(NotTaken::Over(_))));
}

#[tokio::test]
async fn a_refused_bind_closes_with_its_status_and_hands_submits_back() {
    let (server, mut carrier) = server::listen(server::Settings::new(local())).await.unwrap();
    let bind = Bind::new(BindMode::Transmitter, "esme", "wrong");
    let settings = client::Settings::new("127.0.0.1", server.local_address().port(), bind);
    let (handle, mut events) = client::connect(settings).await.unwrap();
    handle.submit(5, submit("early")).await.unwrap();
    let server::Event::BindRequested { bind, responder, .. } = next(&mut carrier).await else {
        panic!("no bind")
    };
    assert_eq!(bind.password, "wrong");
    responder.refuse(status::ESME_RINVPASWD);
    assert!(matches!(next(&mut events).await, Event::Unsent { tag: 5, why: WhyUnsent::SessionEnded }));
    assert!(matches!(next(&mut events).await, Event::Closed(EndReason::BindRefused(status::ESME_RINVPASWD))));
}

#[tokio::test]
async fn a_connection_closed_in_mid_window_leaves_written_submits_in_doubt_and_the_rest_unsent() {
    let mut pair = bound(Limits { window_max: 5, ..Limits::default() }).await;
    for number in 0..10 {
        pair.handle.submit(number, submit("x")).await.unwrap();
    }
    let mut held = Vec::new();
    for _ in 0..5 {
        let server::Event::Submit { responder, .. } = next(&mut pair.carrier).await else {
            panic!("no submit")
        };
        held.push(responder);
    }
    pair.connection.close_now();
    let (mut in_doubt, mut unsent) = (Vec::new(), Vec::new());
    loop {
        match next(&mut pair.events).await {
            Event::NoAnswer { tag } => in_doubt.push(tag),
            Event::Unsent { tag, .. } => unsent.push(tag),
            Event::Closed(EndReason::Disconnected) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(in_doubt, [0, 1, 2, 3, 4]);
    assert_eq!(unsent, [5, 6, 7, 8, 9]);
    drop(held);
}

#[tokio::test]
async fn a_slow_answer_is_reported_late_and_nothing_is_sent_again() {
    let limits = Limits { response_timeout_ms: 50, ..Limits::default() };
    let mut pair = bound(limits).await;
    pair.handle.submit(9, submit("slow")).await.unwrap();
    let server::Event::Submit { responder, .. } = next(&mut pair.carrier).await else { panic!("no submit") };
    assert!(matches!(next(&mut pair.events).await, Event::NoAnswer { tag: 9 }));
    responder.answer(0, "late-1");
    let Event::LateAnswer { tag, status, message_id } = next(&mut pair.events).await else {
        panic!("no late answer")
    };
    assert_eq!((tag, status, message_id.as_str()), (9, 0, "late-1"));
    pair.handle.stop();
    assert!(matches!(next(&mut pair.events).await, Event::Closed(EndReason::Stopped)));
    assert!(matches!(next(&mut pair.carrier).await, server::Event::Closed { .. }));
}

#[tokio::test]
async fn broken_pdus_cost_themselves_and_a_broken_length_the_session() {
    let mut pair = bound(Limits::default()).await;
    // submit_sm_resp to nothing, then an unknown request, then a deliver_sm whose text is cut.
    let unknown = [0, 0, 0, 16, 0, 0, 0x01, 0x11, 0, 0, 0, 0, 0, 0, 0, 7];
    pair.connection.send_raw(unknown.to_vec()).await;
    let Event::Malformed(malformed) = next(&mut pair.events).await else { panic!("not malformed") };
    assert_eq!((malformed.command_id, malformed.status), (0x111, status::ESME_RINVCMDID));
    // The client's generic_nack answers nothing the server asked.
    assert!(matches!(next(&mut pair.carrier).await, server::Event::Malformed { .. }));
    pair.handle.submit(1, submit("still alive")).await.unwrap();
    let server::Event::Submit { responder, .. } = next(&mut pair.carrier).await else { panic!("no submit") };
    responder.answer(0, "1");
    assert!(matches!(next(&mut pair.events).await, Event::Answer { tag: 1, .. }));

    pair.connection.send_raw(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()).await;
    assert!(matches!(next(&mut pair.events).await, Event::Closed(EndReason::InvalidLength(_))));
    // The server hears why before the end.
    let server::Event::Malformed { malformed, .. } = next(&mut pair.carrier).await else { panic!("no nack") };
    assert_eq!(malformed.status, status::ESME_RINVCMDLEN);
    assert!(matches!(next(&mut pair.carrier).await, server::Event::Closed { .. }));
}

#[tokio::test]
async fn a_carrier_that_says_nothing_is_found_dead() {
    use tokio::io::AsyncReadExt as _;
    let listener = tokio::net::TcpListener::bind(local()).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let silent = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt as _;
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bin = [0; 1024];
        let _ = stream.read(&mut bin).await.unwrap();
        // bind_transceiver_resp to sequence 1, with an empty system id.
        let bound = [0, 0, 0, 17, 0x80, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1, 0];
        stream.write_all(&bound).await.unwrap();
        let mut enquiries = 0;
        while let Ok(octets @ 1..) = stream.read(&mut bin).await {
            enquiries += octets / 16;
        }
        enquiries
    });
    let bind = Bind::new(BindMode::Transceiver, "esme", "secret");
    let mut settings = client::Settings::new("127.0.0.1", port, bind);
    settings.limits = Limits { enquire_link_idle_ms: 20, enquire_link_timeout_ms: 20, ..Limits::default() };
    let (_handle, mut events) = client::connect(settings).await.unwrap();
    assert!(matches!(next(&mut events).await, Event::Bound { .. }));
    assert!(matches!(next(&mut events).await, Event::Closed(EndReason::Unresponsive)));
    assert_eq!(silent.await.unwrap(), 2);
}

#[tokio::test]
async fn an_orderly_stop_waits_for_the_outstanding_answers() {
    let mut pair = bound(Limits::default()).await;
    pair.handle.submit(1, submit("last")).await.unwrap();
    let server::Event::Submit { responder, .. } = next(&mut pair.carrier).await else { panic!("no submit") };
    pair.handle.stop();
    responder.answer(0, "last-1");
    assert!(matches!(next(&mut pair.events).await, Event::Answer { tag: 1, status: 0, .. }));
    assert!(matches!(next(&mut pair.events).await, Event::Closed(EndReason::Stopped)));
    assert!(matches!(
        next(&mut pair.carrier).await,
        server::Event::Closed { reason: EndReason::PeerUnbound, .. }
    ));
}

#[tokio::test]
async fn the_carrier_may_stop_orderly_too() {
    let mut pair = bound(Limits::default()).await;
    pair.connection.stop();
    assert!(matches!(next(&mut pair.events).await, Event::Closed(EndReason::PeerUnbound)));
    assert!(matches!(
        next(&mut pair.carrier).await,
        server::Event::Closed { reason: EndReason::Stopped, .. }
    ));
}

#[tokio::test]
async fn more_unanswered_delivers_than_allowed_are_refused_for_now() {
    let mut pair = bound(Limits { unanswered_max: 2, ..Limits::default() }).await;
    for number in 0..3 {
        pair.connection.deliver(number, deliver("x")).await.unwrap();
    }
    let server::Event::Answer { tag, status, .. } = next(&mut pair.carrier).await else {
        panic!("no answer")
    };
    assert_eq!((tag, status), (2, status::ESME_RX_T_APPN));
    let Event::Deliver { responder, .. } = next(&mut pair.events).await else { panic!("no deliver") };
    responder.answer(0);
    assert!(matches!(next(&mut pair.carrier).await, server::Event::Answer { tag: 0, status: 0, .. }));
}

#[tokio::test]
async fn strangers_without_a_bind_are_bounded() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut settings = server::Settings::new(local());
    settings.connections_max = 1;
    let (server, mut carrier) = server::listen(settings).await.unwrap();
    let mut first = tokio::net::TcpStream::connect(server.local_address()).await.unwrap();
    // Speaks, so that the server surely has it, but never binds.
    let enquire_link = [0, 0, 0, 16, 0, 0, 0, 0x15, 0, 0, 0, 0, 0, 0, 0, 1];
    first.write_all(&enquire_link).await.unwrap();
    let mut answer = [0; 16];
    first.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer[4..8], [0x80, 0, 0, 0x15]);
    let mut second = tokio::net::TcpStream::connect(server.local_address()).await.unwrap();
    assert_eq!(timeout(HANG, second.read(&mut answer)).await.unwrap().unwrap_or(0), 0);
    for _ in 0..4096 {
        if first.write_all(&enquire_link).await.is_err() {
            break;
        }
    }
    assert!(matches!(
        next(&mut carrier).await,
        server::Event::Closed { reason: EndReason::InputBeforeBind, .. }
    ));
}

#[tokio::test]
async fn tls_is_verified_and_an_extra_root_is_enough() {
    let certified = rcgen::generate_simple_self_signed(vec!["carrier.test".to_owned()]).unwrap();
    let chain_pem = certified.cert.pem().into_bytes();
    let key_pem = certified.signing_key.serialize_pem().into_bytes();
    let mut settings = server::Settings::new(local());
    settings.tls = Some(Identity { chain_pem: chain_pem.clone(), key_pem });
    let tls = ClientTls {
        server_name: Some("carrier.test".into()),
        extra_roots_pem: vec![chain_pem],
        ..ClientTls::default()
    };
    let mut pair = bound_with(settings, Some(tls.clone()), Limits::default()).await;
    pair.handle.submit(1, submit("secret")).await.unwrap();
    let server::Event::Submit { responder, .. } = next(&mut pair.carrier).await else { panic!("no submit") };
    responder.answer(0, "1");
    assert!(matches!(next(&mut pair.events).await, Event::Answer { tag: 1, .. }));

    let mut distrusting = client::Settings::new(
        "127.0.0.1",
        pair._server.local_address().port(),
        Bind::new(BindMode::Transceiver, "esme", "secret"),
    );
    distrusting.tls = Some(ClientTls { extra_roots_pem: Vec::new(), ..tls });
    assert!(matches!(client::connect(distrusting).await, Err(tidings_smpp::Error::Tls(_))));
}

#[tokio::test]
async fn ten_thousand_submits_are_each_reported_once() {
    const COUNT: u64 = 10_000;
    let limits = Limits { window_max: 100, ..Limits::default() };
    let mut pair = bound(limits).await;
    let mut carrier = pair.carrier;
    let answering = tokio::spawn(async move {
        let mut batch = Vec::new();
        let mut answered = 0u64;
        while answered < COUNT && carrier.recv_many(&mut batch, 256).await > 0 {
            for event in batch.drain(..) {
                if let server::Event::Submit { responder, .. } = event {
                    answered += 1;
                    responder.answer(0, format!("{answered:x}"));
                }
            }
        }
        // Not dropped yet: a server nobody listens to stops its sessions.
        carrier
    });
    let handle = pair.handle.clone();
    let sending = tokio::spawn(async move {
        for number in 0..COUNT {
            handle.submit(number, submit("many")).await.unwrap();
        }
    });
    let mut seen = vec![0u8; usize::try_from(COUNT).unwrap()];
    let mut batch = Vec::new();
    let mut reported = 0;
    while reported < COUNT {
        assert!(timeout(HANG, pair.events.recv_many(&mut batch, 256)).await.unwrap() > 0);
        for event in batch.drain(..) {
            let Event::Answer { tag, status: 0, .. } = event else { panic!("{event:?}") };
            seen[usize::try_from(tag).unwrap()] += 1;
            reported += 1;
        }
    }
    assert!(seen.iter().all(|&count| count == 1));
    sending.await.unwrap();
    let _carrier = answering.await.unwrap();
    assert_eq!(pair.handle.window_free(), 100);
}

#[tokio::test]
async fn an_owner_with_room_for_one_event_loses_nothing() {
    let (server, mut carrier) = server::listen(server::Settings {
        event_queue: 1,
        limits: Limits { window_max: 50, ..Limits::default() },
        ..server::Settings::new(local())
    })
    .await
    .unwrap();
    let bind = Bind::new(BindMode::Transceiver, "esme", "secret");
    let mut settings = client::Settings::new("127.0.0.1", server.local_address().port(), bind);
    settings.event_queue = 1;
    settings.limits.window_max = 50;
    let (handle, mut events) = client::connect(settings).await.unwrap();
    let server::Event::BindRequested { connection, responder, .. } = next(&mut carrier).await else {
        panic!("no bind")
    };
    responder.accept();
    let carrier = tokio::spawn(async move {
        for number in 0..50 {
            connection.deliver(number, deliver("x")).await.unwrap();
        }
        let (mut submits, mut answers) = (0, 0);
        while submits < 50 || answers < 50 {
            match next(&mut carrier).await {
                server::Event::Submit { responder, .. } => {
                    submits += 1;
                    responder.answer(0, "1");
                }
                server::Event::Answer { status: 0, .. } => answers += 1,
                other => panic!("{other:?}"),
            }
        }
        carrier
    });
    // All are handed over before the first event is read.
    for number in 0..50 {
        handle.submit(number, submit("x")).await.unwrap();
    }
    let (mut delivers, mut answers) = (0, 0);
    assert!(matches!(next(&mut events).await, Event::Bound { .. }));
    while delivers < 50 || answers < 50 {
        match next(&mut events).await {
            Event::Deliver { responder, .. } => {
                delivers += 1;
                responder.answer(0);
            }
            Event::Answer { status: 0, .. } => answers += 1,
            other => panic!("{other:?}"),
        }
    }
    let _carrier = carrier.await.unwrap();
}

#[tokio::test]
async fn an_answer_made_by_hand_is_read_leniently() {
    let mut pair = bound(Limits::default()).await;
    pair.handle.submit(1, submit("x")).await.unwrap();
    let server::Event::Submit { responder, .. } = next(&mut pair.carrier).await else { panic!("no submit") };
    // submit_sm_resp whose id has no end and isn't ASCII, in two pieces.
    let mut raw = vec![0, 0, 0, 18, 0x80, 0, 0, 4, 0, 0, 0, 0];
    raw.extend_from_slice(&responder.sequence().to_be_bytes());
    drop(responder);
    pair.connection.send_raw(raw).await;
    pair.connection.send_raw(vec![0xC5, 0x31]).await;
    let Event::Answer { tag: 1, status: 0, message_id } = next(&mut pair.events).await else {
        panic!("no answer")
    };
    assert_eq!(message_id, "\u{c5}1");
}
