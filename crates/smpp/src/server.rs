//! The carrier's end: a listener whose sessions ask their owner about every bind and every message. It is
//! the base of the carrier simulator, so it can also misbehave on request: send raw octets, close at once,
//! answer late or never (the owner keeps or drops the responder).
//!
//! All sessions report into one bounded channel. It keeps no accounts, queues and routes nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::Error;
use crate::codec::{Bind, DeliverSm, Malformed, SubmitSm};
use crate::driver::{self, Ends, Reply, ReplySlot, Sender, Wish};
use crate::session::{EndReason, Limits, Message, Output, Request, Role, Session, WhyUnsent};
use crate::status;
pub use crate::tls::Identity;

/// Where and how to listen.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Address to listen on; port 0 takes any free one.
    pub address: SocketAddr,
    /// Speak TLS with this certificate.
    pub tls: Option<Identity>,
    /// The server's name for itself in bind answers.
    pub system_id: String,
    /// Connections at the same time; further ones are closed at once. Default 1,000.
    pub connections_max: usize,
    /// Window, times and bounds of each session. `bind_timeout_ms` also bounds the TLS handshake.
    pub limits: Limits,
    /// Events the owner may leave unread before sessions slow down. Default 1,024.
    pub event_queue: usize,
}

impl Settings {
    /// Settings with the default limits, in clear text.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            tls: None,
            system_id: "tidings".into(),
            connections_max: 1000,
            limits: Limits::default(),
            event_queue: 1024,
        }
    }
}

/// Names a connection among all of one server, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// What happened. `Closed` is the last event of a connection, and comes for every connection that asked to
/// bind or sent something unreadable.
#[derive(Debug)]
pub enum Event {
    /// Somebody wants to bind.
    BindRequested {
        /// For sending to this client; keep it if the bind is accepted.
        connection: Connection,
        /// Who, and how.
        bind: Bind,
        /// For the answer. Dropped, the client waits until its or our bind timeout.
        responder: BindResponder,
    },
    /// A message from a client (`submit_sm`, or `data_sm` in the same shape).
    Submit {
        /// Whose.
        connection: ConnectionId,
        /// The message.
        pdu: SubmitSm,
        /// For the answer. Dropped, the client gets none.
        responder: SubmitResponder,
    },
    /// A client answered a `deliver_sm`.
    Answer {
        /// Whose.
        connection: ConnectionId,
        /// Which deliver.
        tag: u64,
        /// `command_status`.
        status: u32,
    },
    /// The client may have the `deliver_sm`; nobody knows.
    NoAnswer {
        /// Whose.
        connection: ConnectionId,
        /// Which deliver.
        tag: u64,
    },
    /// The answer to a deliver that was reported as `NoAnswer` before.
    LateAnswer {
        /// Whose.
        connection: ConnectionId,
        /// Which deliver.
        tag: u64,
        /// `command_status`.
        status: u32,
    },
    /// The client does not have the `deliver_sm`.
    Unsent {
        /// Whose.
        connection: ConnectionId,
        /// Which deliver.
        tag: u64,
        /// Why.
        why: WhyUnsent,
    },
    /// A client sent a PDU nobody can read, or an answer to nothing. The session goes on.
    Malformed {
        /// Whose.
        connection: ConnectionId,
        /// What was wrong.
        malformed: Malformed,
    },
    /// The session is over; `EndReason::PeerUnbound` is an orderly end by the client.
    Closed {
        /// Whose.
        connection: ConnectionId,
        /// Why.
        reason: EndReason,
    },
}

/// The owner's end of one client's session. Dropping all clones changes nothing: a client may submit
/// without ever being sent to.
#[derive(Debug, Clone)]
pub struct Connection {
    id: ConnectionId,
    peer: SocketAddr,
    sender: Sender,
    raw: mpsc::Sender<Vec<u8>>,
}

/// A `deliver_sm` that was not handed over. It is reported by no event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotTaken {
    /// As many delivers wait as the window has places.
    Full(Box<DeliverSm>),
    /// The session is over, or stopping.
    Over(Box<DeliverSm>),
}

impl Connection {
    /// Its name in events.
    #[must_use]
    pub const fn id(&self) -> ConnectionId {
        self.id
    }

    /// Where the client connects from.
    #[must_use]
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Hands over a `deliver_sm`, waiting for a place in the queue. `tag` comes back in its events.
    ///
    /// # Errors
    /// The session is over or stopping: the message comes back.
    pub async fn deliver(&self, tag: u64, pdu: DeliverSm) -> Result<(), NotTaken> {
        self.sender
            .send(tag, Request::Deliver(pdu))
            .await
            .map_err(|request| NotTaken::Over(deliver_of(*request)))
    }

    /// Hands over a `deliver_sm` if there is a place in the queue now.
    ///
    /// # Errors
    /// There is none, or the session is over or stopping: the message comes back.
    pub fn try_deliver(&self, tag: u64, pdu: DeliverSm) -> Result<(), NotTaken> {
        self.sender.try_send(tag, Request::Deliver(pdu)).map_err(|(request, over)| {
            let pdu = deliver_of(*request);
            if over { NotTaken::Over(pdu) } else { NotTaken::Full(pdu) }
        })
    }

    /// How many delivers the window has room for.
    #[must_use]
    pub fn window_free(&self) -> usize {
        self.sender.window_free()
    }

    /// Writes these octets as they are, behind everything answered before. For fault simulation. Lost when
    /// the session is over.
    pub async fn send_raw(&self, octets: Vec<u8>) {
        let _ = self.raw.send(octets).await;
    }

    /// Ends orderly: outstanding delivers are waited for, then `unbind`.
    pub fn stop(&self) {
        self.sender.wish(Wish::Stop);
    }

    /// Closes the connection at once, whatever is waiting.
    pub fn close_now(&self) {
        self.sender.wish(Wish::Close);
    }
}

fn deliver_of(request: Request) -> Box<DeliverSm> {
    match request {
        Request::Deliver(pdu) => Box::new(pdu),
        Request::Submit(_) | Request::Data(_) => unreachable!("a server's connection sends delivers"),
    }
}

/// The duty to answer a bind.
#[derive(Debug)]
pub struct BindResponder {
    replies: mpsc::Sender<Reply>,
    system_id: String,
}

impl BindResponder {
    /// Lets the client in.
    pub fn accept(self) {
        let _ = self.replies.try_send(Reply::Bind { status: status::ESME_ROK, system_id: self.system_id });
    }

    /// Refuses with this `command_status` and closes. `ESME_ROK` is taken as `ESME_RBINDFAIL`.
    pub fn refuse(self, status: u32) {
        let status = if status == status::ESME_ROK { status::ESME_RBINDFAIL } else { status };
        let _ = self.replies.try_send(Reply::Bind { status, system_id: String::new() });
    }
}

/// The duty to answer a `submit_sm`.
#[derive(Debug)]
pub struct SubmitResponder(ReplySlot);

impl SubmitResponder {
    /// Answers with this `command_status` and id. Never waits; without effect when the session is over.
    pub fn answer(self, status: u32, message_id: impl Into<String>) {
        self.0.answer(status, message_id.into());
    }

    /// The sequence number of the client's PDU, for an answer made by hand with [`Connection::send_raw`].
    #[must_use]
    pub fn sequence(&self) -> u32 {
        self.0.sequence()
    }
}

/// A running listener. Dropped, it stops listening; sessions go on.
#[derive(Debug)]
pub struct Server {
    local_address: SocketAddr,
    // Held for its drop, which ends the listening task.
    _alive: watch::Sender<()>,
}

impl Server {
    /// The address it listens on.
    #[must_use]
    pub const fn local_address(&self) -> SocketAddr {
        self.local_address
    }
}

/// Begins to listen.
///
/// # Errors
/// The settings cannot work, or the address cannot be listened on.
pub async fn listen(settings: Settings) -> Result<(Server, mpsc::Receiver<Event>), Error> {
    if settings.connections_max == 0 || settings.limits.window_max == 0 || settings.event_queue == 0 {
        return Err(Error::Settings("connections_max, window_max and event_queue must not be 0".into()));
    }
    let tls = settings.tls.as_ref().map(Identity::acceptor).transpose()?;
    let listener = TcpListener::bind(settings.address).await.map_err(Error::Unreachable)?;
    let local_address = listener.local_addr().map_err(Error::Unreachable)?;
    let (events_in, events) = mpsc::channel(settings.event_queue);
    let (alive, watched) = watch::channel(());
    tokio::spawn(accept_all(listener, tls, settings, events_in, watched));
    Ok((Server { local_address, _alive: alive }, events))
}

/// How long to wait when the system cannot accept (no file handles): long enough not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

async fn accept_all(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    settings: Settings,
    events: mpsc::Sender<Event>,
    mut alive: watch::Receiver<()>,
) {
    let places = Arc::new(Semaphore::new(settings.connections_max.min(Semaphore::MAX_PERMITS)));
    let next_id = AtomicU64::new(1);
    loop {
        let accepted = tokio::select! {
            _ = alive.changed() => return,
            () = events.closed() => return,
            accepted = listener.accept() => accepted,
        };
        let (tcp, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept an SMPP connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::warn!(%peer, "SMPP connection closed: connections_max reached");
            continue;
        };
        let id = ConnectionId(next_id.fetch_add(1, Ordering::Relaxed));
        let (tls, settings, events) = (tls.clone(), settings.clone(), events.clone());
        tokio::spawn(async move {
            serve(tcp, tls, id, peer, settings, events).await;
            drop(place);
        });
    }
}

async fn serve(
    tcp: TcpStream,
    tls: Option<TlsAcceptor>,
    id: ConnectionId,
    peer: SocketAddr,
    settings: Settings,
    events: mpsc::Sender<Event>,
) {
    let _ = tcp.set_nodelay(true);
    match tls {
        None => drive(tcp, id, peer, settings, events, false).await,
        Some(acceptor) => {
            let bound = Duration::from_millis(settings.limits.bind_timeout_ms);
            match timeout(bound, acceptor.accept(tcp)).await {
                Ok(Ok(stream)) => drive(stream, id, peer, settings, events, true).await,
                Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
                Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
            }
        }
    }
}

async fn drive<S>(
    stream: S,
    id: ConnectionId,
    peer: SocketAddr,
    settings: Settings,
    events: mpsc::Sender<Event>,
    is_tls: bool,
) where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let limits = settings.limits;
    let (Ends { sender, replies, raw }, wires) =
        driver::wires(limits.window_max, limits.unanswered_max, events);
    let session = Session::new(Role::Server, limits);
    let connection = driver::Connection {
        failed_write_may_have_sent: is_tls,
        is_server: true,
        permission: driver::Permission::always(),
    };
    let system_id = settings.system_id;
    let event_of = move |output| {
        Some(match output {
            Output::BindRequested(bind) => Event::BindRequested {
                connection: Connection { id, peer, sender: sender.clone(), raw: raw.clone() },
                bind,
                responder: BindResponder { replies: replies.clone(), system_id: system_id.clone() },
            },
            Output::Message { ticket, message: Message::Submit(pdu) } => Event::Submit {
                connection: id,
                pdu,
                responder: SubmitResponder(ReplySlot::new(&replies, ticket)),
            },
            Output::Answer { tag, status, .. } => Event::Answer { connection: id, tag, status },
            Output::NoAnswer { tag } => Event::NoAnswer { connection: id, tag },
            Output::LateAnswer { tag, status, .. } => Event::LateAnswer { connection: id, tag, status },
            Output::Unsent { tag, why } => Event::Unsent { connection: id, tag, why },
            Output::Malformed(malformed) => Event::Malformed { connection: id, malformed },
            Output::Ended(reason) => Event::Closed { connection: id, reason },
            // The owner accepted the bind itself; a server is never given a deliver.
            Output::Bound { .. } | Output::Message { message: Message::Deliver(_), .. } => return None,
        })
    };
    driver::run(stream, session, wires, connection, event_of).await;
}
