//! The client's end of one session over one TCP or TLS connection: connect, bind, submit, receive, stop.
//! It drives a [`crate::session::Session`] and reports by events; it does not reconnect (see
//! [`crate::backoff`]), pace, or answer a `deliver_sm` before its owner has stored it.
//!
//! Read the events in a task that isn't waiting for [`Handle::submit`], or use [`Handle::try_submit`] with
//! [`Handle::window_free`]: a full window empties only as answers are read.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::Error;
use crate::codec::{self, Bind, Body, DataSm, DeliverSm, Malformed, Pdu, SubmitSm};
pub use crate::driver::Permission;
use crate::driver::{self, Ends, ReplySlot, Sender, Wires, Wish};
use crate::session::{EndReason, Limits, Message, Output, Request, Role, Session, WhyUnsent};
pub use crate::tls::{ClientTls, Identity};

/// Where and how to connect.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Name or address of the carrier's server.
    pub host: String,
    /// TCP port, usually 2775.
    pub port: u16,
    /// `None` sends everything, the password too, in clear text.
    pub tls: Option<ClientTls>,
    /// How to bind.
    pub bind: Bind,
    /// Window and times.
    pub limits: Limits,
    /// For TCP and TLS together, in milliseconds. Default 10 s.
    pub connect_timeout_ms: u64,
    /// Events the owner may leave unread before the session slows down. Default 1,024.
    pub event_queue: usize,
    /// Asked before each submit is written: without it, the session closes, and what was not written is `Unsent`.
    pub permission: Permission,
}

impl Settings {
    /// Settings with the default limits, in clear text.
    pub fn new(host: impl Into<String>, port: u16, bind: Bind) -> Self {
        Self {
            host: host.into(),
            port,
            tls: None,
            bind,
            limits: Limits::default(),
            connect_timeout_ms: 10_000,
            event_queue: 1024,
            permission: Permission::always(),
        }
    }
}

/// What happened in the session. For every submit exactly one of `Answer`, `NoAnswer`, `Unsent` comes, and
/// `Closed` is the last event.
#[derive(Debug)]
pub enum Event {
    /// The carrier accepted the bind.
    Bound {
        /// The carrier's name for itself.
        system_id: String,
        /// The SMPP version it named, if it did.
        interface_version: Option<u8>,
    },
    /// The carrier answered a submit.
    Answer {
        /// Which submit.
        tag: u64,
        /// `command_status`; 0 is accepted.
        status: u32,
        /// The carrier's id; may be empty, and may be longer than SMPP allows.
        message_id: String,
    },
    /// The carrier may have the message; nobody knows.
    NoAnswer {
        /// Which submit.
        tag: u64,
    },
    /// The answer to a submit that was reported as `NoAnswer` before.
    LateAnswer {
        /// Which submit.
        tag: u64,
        /// `command_status`.
        status: u32,
        /// The carrier's id; may be empty.
        message_id: String,
    },
    /// The carrier does not have the message.
    Unsent {
        /// Which submit.
        tag: u64,
        /// Why.
        why: WhyUnsent,
    },
    /// A message or receipt of the carrier (`deliver_sm`, or `data_sm` in the same shape).
    Deliver {
        /// The message.
        pdu: DeliverSm,
        /// To acknowledge it, once it is stored.
        responder: DeliverResponder,
    },
    /// The carrier sent a PDU nobody can read, or an answer to nothing. The session goes on.
    Malformed(Malformed),
    /// The session is over.
    Closed(EndReason),
}

/// The duty to answer one `deliver_sm`. Dropped without an answer, the carrier gets none and will in time
/// deliver again.
#[derive(Debug)]
pub struct DeliverResponder(ReplySlot);

impl DeliverResponder {
    /// Answers with this `command_status`. Never waits; without effect when the session is over.
    pub fn answer(self, status: u32) {
        self.0.answer(status, String::new());
    }
}

/// The owner's end. Clones share the session; when the last one is dropped the session stops orderly.
#[derive(Debug, Clone)]
pub struct Handle {
    sender: Sender,
}

/// A submit that was not handed over. It is reported by no event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotTaken {
    /// As many submits wait as the window has places.
    Full(Box<SubmitSm>),
    /// The session is over, or stopping.
    Over(Box<SubmitSm>),
}

impl Handle {
    /// Hands over a submit, waiting for a place in the queue. `tag` comes back in its events.
    ///
    /// # Errors
    /// The session is over or stopping: the message comes back.
    pub async fn submit(&self, tag: u64, pdu: SubmitSm) -> Result<(), NotTaken> {
        self.sender
            .send(tag, Request::Submit(pdu))
            .await
            .map_err(|request| NotTaken::Over(submit_of(*request)))
    }

    /// Hands over a submit if there is a place in the queue now.
    ///
    /// # Errors
    /// There is none, or the session is over or stopping: the message comes back.
    pub fn try_submit(&self, tag: u64, pdu: SubmitSm) -> Result<(), NotTaken> {
        self.sender.try_send(tag, Request::Submit(pdu)).map_err(|(request, over)| {
            let pdu = submit_of(*request);
            if over { NotTaken::Over(pdu) } else { NotTaken::Full(pdu) }
        })
    }

    /// How many submits the window has room for, those handed over and not yet reported being counted as
    /// taken. Before `Bound` this is the whole window, although nothing is sent yet.
    #[must_use]
    pub fn window_free(&self) -> usize {
        self.sender.window_free()
    }

    /// Stops orderly: no more submits are taken, those in the queue are `Unsent`, outstanding ones are
    /// waited for up to `Limits::stop_limit_ms`, then `unbind`. The end is the event `Closed`.
    pub fn stop(&self) {
        self.sender.wish(Wish::Stop);
    }

    /// Closes the connection at once.
    pub fn close_now(&self) {
        self.sender.wish(Wish::Close);
    }

    /// The session takes no more submits.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.sender.is_over()
    }
}

fn submit_of(request: Request) -> Box<SubmitSm> {
    match request {
        Request::Submit(pdu) => Box::new(pdu),
        Request::Data(DataSm { .. }) | Request::Deliver(_) => unreachable!("a client's handle sends submits"),
    }
}

/// Connects, and begins to bind. The bind's result is the first event (`Bound`, or `Closed`).
///
/// # Errors
/// The settings cannot work, or nobody answers at that address, or the TLS handshake fails.
pub async fn connect(settings: Settings) -> Result<(Handle, mpsc::Receiver<Event>), Error> {
    let Settings { host, port, tls, bind, limits, connect_timeout_ms, event_queue, permission } = settings;
    let probe = Pdu { status: 0, sequence: 1, body: Body::Bind(bind.clone()) };
    codec::encode(&probe, &mut bytes::BytesMut::new()).map_err(|error| Error::Settings(error.to_string()))?;
    if limits.window_max == 0 || event_queue == 0 {
        return Err(Error::Settings("window_max and event_queue must not be 0".into()));
    }
    let tls = tls.map(|tls| tls.connector(&host)).transpose()?;
    let (events_in, events) = mpsc::channel(event_queue);
    let (ends, wires) = driver::wires(limits.window_max, limits.unanswered_max, events_in);
    let session = Session::new(Role::Client(bind), limits);
    let handle = Handle { sender: ends.sender.clone() };

    let connecting = async {
        let tcp = TcpStream::connect((host.as_str(), port)).await.map_err(Error::Unreachable)?;
        tcp.set_nodelay(true).map_err(Error::Unreachable)?;
        match tls {
            None => start(tcp, session, ends, wires, false, permission),
            Some((connector, name)) => {
                let stream = connector.connect(name, tcp).await.map_err(Error::Tls)?;
                start(stream, session, ends, wires, true, permission);
            }
        }
        Ok(())
    };
    match timeout(Duration::from_millis(connect_timeout_ms), connecting).await {
        Ok(result) => result.map(|()| (handle, events)),
        Err(_) => Err(Error::Unreachable(std::io::ErrorKind::TimedOut.into())),
    }
}

fn start<S>(
    stream: S,
    session: Session,
    ends: Ends,
    wires: Wires<Event>,
    is_tls: bool,
    permission: Permission,
) where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let connection = driver::Connection { failed_write_may_have_sent: is_tls, is_server: false, permission };
    // Only the replies' end is kept here: the handle's clones decide how long requests stay open.
    let replies = ends.replies;
    let event_of = move |output| match output {
        Output::Bound { system_id, interface_version } => Some(Event::Bound { system_id, interface_version }),
        Output::Answer { tag, status, message_id } => Some(Event::Answer { tag, status, message_id }),
        Output::NoAnswer { tag } => Some(Event::NoAnswer { tag }),
        Output::LateAnswer { tag, status, message_id } => Some(Event::LateAnswer { tag, status, message_id }),
        Output::Unsent { tag, why } => Some(Event::Unsent { tag, why }),
        Output::Message { ticket, message: Message::Deliver(pdu) } => {
            Some(Event::Deliver { pdu, responder: DeliverResponder(ReplySlot::new(&replies, ticket)) })
        }
        Output::Malformed(malformed) => Some(Event::Malformed(malformed)),
        Output::Ended(reason) => Some(Event::Closed(reason)),
        // A client is never asked for a bind and never given a submit.
        Output::BindRequested(_) | Output::Message { message: Message::Submit(_), .. } => None,
    };
    tokio::spawn(driver::run(stream, session, wires, connection, event_of));
}
