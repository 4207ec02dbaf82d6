//! The carrier made of the crate `smpp34`, within the test's own process.
//!
//! The crate can neither cut a session nor send what is no PDU, and keeps to itself what it is refused with. So a
//! [`relay`] stands before it that does these three things; everything else passes through it as it is, and is written
//! and read by the crate alone. What the crate leaves to its user, the reading of texts, is done here without our own
//! code for it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::{Buf as _, BytesMut};
use smpp34::server::ESME;
use smpp34::{
    SmppConnectionInformation, SmppError, SmppServer, SmppServerListener, bind_transceiver,
    bind_transceiver_resp, submit_sm, submit_sm_resp,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use crate::peer::{INVALID_DESTINATION, OK, Peer, QUEUE, Submit, THROTTLED, Told, Wish};

/// `generic_nack` and `deliver_sm_resp`.
const REFUSALS: [u32; 2] = [0x8000_0000, 0x8000_0005];
/// The octets before a PDU's body: length, command, status, sequence number.
const HEAD: usize = 16;
/// The alphabet of 3GPP TS 23.038 §6.2.1, from 0x00 to 0x7F.
const ALPHABET: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\u{1b}ÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?\
    ¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
/// What follows an escape (§6.2.1.1).
const EXTENSION: [(u8, char); 10] = [
    (0x0A, '\u{c}'),
    (0x14, '^'),
    (0x28, '{'),
    (0x29, '}'),
    (0x2F, '\\'),
    (0x3C, '['),
    (0x3D, '~'),
    (0x3E, ']'),
    (0x40, '|'),
    (0x65, '€'),
];

/// A session is named by the port from which the relay speaks to the crate.
type Session = u64;

#[derive(Default)]
struct Sessions {
    submits: u64,
    waiting: HashMap<(Session, u64), oneshot::Sender<(u32, String)>>,
    bound: HashMap<Session, Arc<ESME>>,
    wires: HashMap<Session, mpsc::Sender<OnWire>>,
}

enum OnWire {
    Write(Vec<u8>),
    Cut,
}

type Shared = Arc<Mutex<Sessions>>;

fn lock(shared: &Shared) -> MutexGuard<'_, Sessions> {
    shared.lock().expect("nothing panics while it holds this")
}

struct Listener {
    tell: mpsc::Sender<Told>,
    shared: Shared,
}

#[async_trait]
impl SmppServerListener for Listener {
    async fn on_bind_transceiver(
        &self,
        request: bind_transceiver,
        _: &SmppConnectionInformation,
        _: &String,
    ) -> bind_transceiver_resp {
        if request.password == "secret" {
            request.accept("smpp34".to_owned(), Some(0x34))
        } else {
            request.reject(SmppError::ESME_RINVPASWD)
        }
    }

    async fn on_esme_bound(&self, esme: ESME, _: &String) {
        let session = Session::from(esme.client_address.port());
        lock(&self.shared).bound.insert(session, Arc::new(esme));
        let _ = self.tell.send(Told::Bound { session }).await;
    }

    async fn on_submit_sm(
        &self,
        request: submit_sm,
        information: &SmppConnectionInformation,
        _: &String,
    ) -> submit_sm_resp {
        let session = Session::from(information.client_address.port());
        let (answer, answered) = oneshot::channel();
        let number = {
            let mut sessions = lock(&self.shared);
            sessions.submits += 1;
            let number = sessions.submits;
            sessions.waiting.insert((session, number), answer);
            number
        };
        let _ = self.tell.send(Told::Submit(Box::new(read(session, number, &request)))).await;
        match answered.await {
            Ok((OK, id)) => request.accept(id),
            Ok((THROTTLED, _)) => request.reject(SmppError::ESME_RTHROTTLED),
            Ok((INVALID_DESTINATION, _)) => request.reject(SmppError::ESME_RINVDSTADR),
            Ok((status, _)) => panic!("no test wants the status {status:#x}"),
            Err(_) => request.reject(SmppError::ESME_RSYSERR),
        }
    }
}

fn read(session: Session, number: u64, request: &submit_sm) -> Submit {
    let octets = request.short_message.as_slice();
    let (header, octets) = match octets {
        [length, rest @ ..] if request.esm_class & 0x40 != 0 => rest.split_at(usize::from(*length)),
        _ => (&[][..], octets),
    };
    Submit {
        session,
        number,
        source: (request.source_addr_ton, request.source_addr_npi, request.source_addr.clone()),
        destination: (request.dest_addr_ton, request.dest_addr_npi, request.destination_addr.clone()),
        data_coding: request.data_coding,
        registered_delivery: request.registered_delivery,
        header: header.to_vec(),
        text: text(request.data_coding, octets),
    }
}

fn text(data_coding: u8, octets: &[u8]) -> String {
    match data_coding {
        0 => {
            let mut octets = octets.iter();
            let mut text = String::new();
            while let Some(&octet) = octets.next() {
                text.extend(if octet == 0x1B {
                    let second = octets.next().expect("an escape is followed by something");
                    EXTENSION.iter().find(|(code, _)| code == second).map(|(_, character)| *character)
                } else {
                    ALPHABET.chars().nth(usize::from(octet))
                });
            }
            text
        }
        8 => {
            let units: Vec<u16> = octets.chunks(2).map(|two| u16::from_be_bytes([two[0], two[1]])).collect();
            String::from_utf16(&units).expect("no character is cut in two")
        }
        other => panic!("no test sends data_coding {other}"),
    }
}

/// Starts it. It cannot tell which port it got, so a free one is looked for; another program may take it in between,
/// hence the tries.
pub async fn start() -> Result<Peer, String> {
    let (tell, told) = mpsc::channel(QUEUE);
    let (wishes, wanted) = mpsc::channel(QUEUE);
    let shared = Shared::default();
    for _ in 0..20 {
        let probe =
            std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| error.to_string())?;
        let port = probe.local_addr().map_err(|error| error.to_string())?.port();
        drop(probe);
        let listener = Listener { tell: tell.clone(), shared: Arc::clone(&shared) };
        let mut server = SmppServer::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port, Arc::new(listener));
        server.start().await;
        if !server.is_alive() {
            continue;
        }
        let front = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(|error| error.to_string())?;
        let front_port = front.local_addr().map_err(|error| error.to_string())?.port();
        let relaying = tokio::spawn(relay(front, port, tell.clone(), Arc::clone(&shared)));
        tokio::spawn(fulfil(wanted, tell, shared));
        let alive = (server, AbortOnDrop(relaying.abort_handle()));
        return Ok(Peer::new("crate smpp34 1.5".to_owned(), front_port, told, wishes, alive));
    }
    Err("there is no free port".to_owned())
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn fulfil(mut wanted: mpsc::Receiver<Wish>, tell: mpsc::Sender<Told>, shared: Shared) {
    while let Some(wish) = wanted.recv().await {
        match wish {
            Wish::Answer { session, number, status, id } => {
                let answer = lock(&shared).waiting.remove(&(session, number));
                if let Some(answer) = answer {
                    let _ = answer.send((status, id));
                }
            }
            Wish::Deliver { session, tag, source, destination, text } => {
                let Some(esme) = lock(&shared).bound.get(&session).cloned() else { continue };
                let tell = tell.clone();
                tokio::spawn(async move {
                    let deliver = esme
                        .deliver_sm()
                        .source_addr_ton(1)
                        .source_addr_npi(1)
                        .source_addr(source)
                        .destination_addr(destination)
                        .esm_class(4)
                        .short_message(text.into_bytes());
                    let status = deliver
                        .send()
                        .await
                        .map_or_else(|error| error as u32, |answer| answer.command_status());
                    let _ = tell.send(Told::Acknowledged { tag, status }).await;
                });
            }
            Wish::Raw { session, octets } => on_wire(&shared, session, OnWire::Write(octets)).await,
            Wish::Close { session } => on_wire(&shared, session, OnWire::Cut).await,
        }
    }
}

async fn on_wire(shared: &Shared, session: Session, what: OnWire) {
    let wire = lock(shared).wires.get(&session).cloned();
    if let Some(wire) = wire {
        let _ = wire.send(what).await;
    }
}

/// Takes connections and passes whole PDUs on in both directions.
async fn relay(front: TcpListener, port: u16, tell: mpsc::Sender<Told>, shared: Shared) {
    let mut wires = tokio::task::JoinSet::new();
    while let Ok((client, _)) = front.accept().await {
        let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("the crate listens");
        let session = Session::from(server.local_addr().expect("it is connected").port());
        let (wire, orders) = mpsc::channel(QUEUE);
        lock(&shared).wires.insert(session, wire);
        let tell = tell.clone();
        wires.spawn(async move {
            // However it ends, it is over.
            let _ = pass(client, server, orders, &tell).await;
            let _ = tell.send(Told::Closed { session }).await;
        });
    }
}

async fn pass(
    mut client: TcpStream,
    mut server: TcpStream,
    mut orders: mpsc::Receiver<OnWire>,
    tell: &mpsc::Sender<Told>,
) -> std::io::Result<()> {
    let (mut from_client, mut from_server) = (BytesMut::new(), BytesMut::new());
    loop {
        tokio::select! {
            read = client.read_buf(&mut from_client) => {
                if read? == 0 {
                    return Ok(());
                }
                while let Some(pdu) = whole_pdu(&mut from_client) {
                    let word = |at: usize| (&pdu[at..]).get_u32();
                    let (command, status, sequence) = (word(4), word(8), word(12));
                    if status != OK && REFUSALS.contains(&command) {
                        let _ = tell.send(Told::Refused { command, sequence, status }).await;
                    }
                    server.write_all(&pdu).await?;
                }
            }
            read = server.read_buf(&mut from_server) => {
                if read? == 0 {
                    return Ok(());
                }
                while let Some(pdu) = whole_pdu(&mut from_server) {
                    client.write_all(&pdu).await?;
                }
            }
            order = orders.recv() => match order {
                Some(OnWire::Write(octets)) => client.write_all(&octets).await?,
                Some(OnWire::Cut) | None => return Ok(()),
            },
        }
    }
}

fn whole_pdu(octets: &mut BytesMut) -> Option<BytesMut> {
    let length = octets.get(..4).map(|mut four| four.get_u32() as usize)?;
    assert!(length >= HEAD, "both ends count their octets right");
    (octets.len() >= length).then(|| octets.split_to(length))
}
