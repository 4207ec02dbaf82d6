//! One SMPP session as a state machine without IO, clock or threads: PDUs, time and the owner's wishes go
//! in, octets to write and facts to report come out. The client and the server drive the same machine, so a
//! simulated carrier and a test table see exactly what production runs.
//!
//! What it promises for every request sent through it (`submit_sm` from a client, `deliver_sm` from a
//! server): exactly one of [`Output::Answer`], [`Output::NoAnswer`], [`Output::Unsent`]. `Unsent` means
//! that the peer cannot have the whole PDU; everything less certain is `NoAnswer`. It never sends anything
//! twice: a slow answer is reported as [`Output::LateAnswer`] when it comes after all, and whether the
//! message goes out again is the owner's decision.
//!
//! It does not pace, reconnect, or answer a message by itself.

use std::collections::{HashMap, VecDeque};

use bytes::{Buf, BytesMut};

use crate::codec::{
    self, Bind, BindMode, Body, DataSm, DeliverSm, Malformed, Pdu, SubmitSm, Tlv, Unencodable, command, tag,
};
use crate::status;

/// How many timed-out requests are remembered for a late answer. More than any window times any hour; the
/// oldest is forgotten first, and its late answer is then an answer to nothing.
pub const LATE_REMEMBERED_MAX: usize = 100_000;
/// Two unanswered `enquire_link` in a row mean that nobody is there.
const ENQUIRIES_UNANSWERED_MAX: u32 = 2;
/// Sequence numbers are 1..=0x7FFF_FFFF (SMPP 3.4 §3.2.5).
const SEQUENCE_MAX: u32 = 0x7FFF_FFFF;

/// Which end of the session this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Sends this bind at once.
    Client(Bind),
    /// Waits for a bind and asks the owner.
    Server,
}

/// Limits and times of a session, all times in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests sent and not yet answered, at most. Default 10, which every carrier takes. A request reported
    /// as `NoAnswer` gives its place back, so an owner that sees many of them should pause.
    pub window_max: usize,
    /// The peer's messages the owner has not answered yet, at most; more are refused as "try again later".
    /// Default 200.
    pub unanswered_max: usize,
    /// What these may take of memory together, in octets; a message that finds it used up is refused likewise.
    /// Default 4 MiB: ten thousand messages of a usual size, and few of the largest.
    pub unanswered_octets_max: usize,
    /// From the writing of a request to giving up its answer. Default 30 s.
    pub response_timeout_ms: u64,
    /// Silence after which an `enquire_link` is sent. Default 30 s.
    pub enquire_link_idle_ms: u64,
    /// How long each `enquire_link` waits for any sign of life. Default 10 s.
    pub enquire_link_timeout_ms: u64,
    /// From the start to being bound. Default 10 s.
    pub bind_timeout_ms: u64,
    /// How long an orderly end waits for outstanding answers, and again for `unbind_resp`. Default 5 s.
    pub stop_limit_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            window_max: 10,
            unanswered_max: 200,
            unanswered_octets_max: 4 * 1024 * 1024,
            response_timeout_ms: 30_000,
            enquire_link_idle_ms: 30_000,
            enquire_link_timeout_ms: 10_000,
            bind_timeout_ms: 10_000,
            stop_limit_ms: 5_000,
        }
    }
}

/// A request the owner sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// `submit_sm`, from a client.
    Submit(SubmitSm),
    /// `deliver_sm`, from a server.
    Deliver(DeliverSm),
    /// `data_sm`, from either.
    Data(DataSm),
}

/// A message the peer sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// At a server: `submit_sm`, or `data_sm` turned into its shape.
    Submit(SubmitSm),
    /// At a client: `deliver_sm`, or `data_sm` turned into its shape.
    Deliver(DeliverSm),
}

impl Message {
    /// What it takes of memory, about: many small optional parameters take more than they took on the wire.
    fn octets(&self) -> usize {
        let (short_message, tlvs, texts) = match self {
            Self::Submit(SubmitSm { short_message, tlvs, service_type, source, destination, .. })
            | Self::Deliver(DeliverSm { short_message, tlvs, service_type, source, destination, .. }) => {
                (short_message, tlvs, [service_type, &source.value, &destination.value])
            }
        };
        let texts: usize = texts.into_iter().map(String::len).sum();
        let parameters: usize = tlvs.iter().map(|tlv| size_of::<Tlv>() + tlv.value.len()).sum();
        size_of::<Self>() + texts + short_message.len() + parameters
    }
}

/// Says which of the peer's messages an answer belongs to. Give it back exactly once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    sequence: u32,
    kind: TicketKind,
    /// What the message takes of memory, given back with the answer.
    octets: usize,
}

impl Ticket {
    /// The sequence number of the peer's message.
    #[must_use]
    pub const fn sequence(self) -> u32 {
        self.sequence
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TicketKind {
    Submit,
    Deliver,
    Data,
}

/// What happens to a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The connection stands. The first input.
    Connected,
    /// A whole PDU arrived.
    Received(Result<Pdu, Malformed>),
    /// The stream's position is lost (see [`codec::InvalidLength`]).
    LostPosition(u32),
    /// The connection has taken this many more octets of [`Session::outgoing`].
    Written(usize),
    /// Send a request.
    Send {
        /// The owner's name for it.
        tag: u64,
        /// The request.
        request: Request,
    },
    /// The owner's answer to a bind; at a server only.
    BindAnswer {
        /// `ESME_ROK` accepts; anything else refuses and ends the session.
        status: u32,
        /// The server's name for itself.
        system_id: String,
    },
    /// The owner's answer to a message.
    Answer {
        /// Which message.
        ticket: Ticket,
        /// `command_status`.
        status: u32,
        /// Id of the message; not used for `deliver_sm`.
        message_id: String,
    },
    /// The owner will never answer this message.
    Abandon(Ticket),
    /// Octets to be written as they are. For fault simulation.
    Raw(Vec<u8>),
    /// End the session orderly.
    Stop,
    /// End it now. Nothing more is written.
    Close,
    /// The connection is gone.
    Disconnected,
    /// Time has passed (see [`Session::deadline`]).
    Tick,
}

/// What a session reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// At a server: somebody wants to bind; answer with [`Input::BindAnswer`].
    BindRequested(Bind),
    /// Requests may flow.
    Bound {
        /// The other end's name for itself (at a server: the client's).
        system_id: String,
        /// The SMPP version the other end named, if it did.
        interface_version: Option<u8>,
    },
    /// A request was answered in time.
    Answer {
        /// Which request.
        tag: u64,
        /// `command_status`.
        status: u32,
        /// The carrier's id; may be empty.
        message_id: String,
    },
    /// The peer may have the request; nobody knows.
    NoAnswer {
        /// Which request.
        tag: u64,
    },
    /// An answer to a request that was reported as `NoAnswer` before.
    LateAnswer {
        /// Which request.
        tag: u64,
        /// `command_status`.
        status: u32,
        /// The carrier's id; may be empty.
        message_id: String,
    },
    /// The peer does not have the request.
    Unsent {
        /// Which request.
        tag: u64,
        /// Why.
        why: WhyUnsent,
    },
    /// The peer sent a message; answer with [`Input::Answer`].
    Message {
        /// For the answer.
        ticket: Ticket,
        /// The message.
        message: Message,
    },
    /// A PDU that could not be read, or answers nothing. It has been refused where that is proper; the
    /// session goes on.
    Malformed(Malformed),
    /// The last output: write what is outgoing, then close.
    Ended(EndReason),
}

/// Why a request never left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhyUnsent {
    /// The session ended first, or isn't bound; another one may carry it.
    SessionEnded,
    /// The bind does not allow this direction.
    Direction,
    /// It cannot be put into a PDU, in no session.
    Unencodable(Unencodable),
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// The bind was refused with this status.
    BindRefused(u32),
    /// The bind was not answered, or at a server: not sent, in time.
    BindTimeout,
    /// The owner stopped it.
    Stopped,
    /// The peer unbound.
    PeerUnbound,
    /// Two `enquire_link` went unanswered, or the peer has taken nothing of what is to be written for as long as it
    /// may be silent.
    Unresponsive,
    /// The peer sent a `command_length` nobody can read.
    InvalidLength(u32),
    /// The connection broke or was closed by the peer.
    Disconnected,
    /// The peer sent more before binding than a bind needs.
    InputBeforeBind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before `Connected`, or a server waiting for a bind.
    Open,
    /// Client: bind sent. Server: the owner is being asked.
    Binding {
        sequence: u32,
        mode: BindMode,
    },
    Bound {
        mode: BindMode,
    },
    /// The owner wants to stop: waiting for answers until then.
    Draining {
        mode: BindMode,
        until_ms: u64,
    },
    /// `unbind` sent, waiting for its answer until then.
    Unbinding {
        until_ms: u64,
    },
    /// The peer unbound; waiting for the owner's answers until then, so that they are not lost.
    PeerUnbinding {
        sequence: u32,
        until_ms: u64,
    },
    Ended,
}

/// A PDU in the outgoing octets: where it ends in the stream, and its sequence when it is a request whose
/// fate is reported.
#[derive(Debug, Clone, Copy)]
struct Queued {
    end: u64,
    sequence: Option<u32>,
}

/// The state machine. See the module's text.
#[derive(Debug)]
pub struct Session {
    role: Role,
    limits: Limits,
    state: State,
    started_ms: u64,
    last_sequence: u32,
    outgoing: BytesMut,
    /// Octets of the stream the connection has taken.
    written: u64,
    /// End of the last PDU the connection has taken whole.
    boundary: u64,
    /// PDUs not yet taken whole, in order.
    queue: VecDeque<Queued>,
    /// Requests without an answer: sequence to tag.
    outstanding: HashMap<u32, u64>,
    /// When requests whose octets were written run out of time, in order. Answered ones are skipped.
    timeouts: VecDeque<(u64, u32)>,
    /// Requests reported as `NoAnswer`: sequence to tag, and their order.
    late: HashMap<u32, u64>,
    late_order: VecDeque<u32>,
    /// Messages of the peer waiting for the owner, and their octets.
    unanswered: usize,
    unanswered_octets: usize,
    heard_ms: u64,
    /// When the connection last took octets, or had none to take.
    took_ms: u64,
    enquiries: u32,
    enquired_ms: u64,
}

impl Session {
    /// A session that has not begun.
    #[must_use]
    pub fn new(role: Role, limits: Limits) -> Self {
        Self {
            role,
            limits,
            state: State::Open,
            started_ms: 0,
            last_sequence: 0,
            outgoing: BytesMut::new(),
            written: 0,
            boundary: 0,
            queue: VecDeque::new(),
            outstanding: HashMap::new(),
            timeouts: VecDeque::new(),
            late: HashMap::new(),
            late_order: VecDeque::new(),
            unanswered: 0,
            unanswered_octets: 0,
            heard_ms: 0,
            took_ms: 0,
            enquiries: 0,
            enquired_ms: 0,
        }
    }

    /// The octets to write next. What the connection takes is told by [`Input::Written`].
    #[must_use]
    pub fn outgoing(&self) -> &[u8] {
        &self.outgoing
    }

    /// How many requests may be sent now.
    #[must_use]
    pub fn window_free(&self) -> usize {
        match self.state {
            State::Bound { .. } => self.limits.window_max.saturating_sub(self.outstanding.len()),
            _ => 0,
        }
    }

    /// A bind was accepted and the session has not ended.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        !matches!(self.state, State::Open | State::Binding { .. } | State::Ended)
    }

    /// The last output was given.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// When to give the next [`Input::Tick`] at the latest; `None` when the session has ended.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        let of_state = match self.state {
            State::Ended => return None,
            State::Open | State::Binding { .. } => {
                return Some(self.started_ms.saturating_add(self.limits.bind_timeout_ms));
            }
            State::Bound { .. } => None,
            State::Draining { until_ms, .. }
            | State::Unbinding { until_ms }
            | State::PeerUnbinding { until_ms, .. } => Some(until_ms),
        };
        let response = self.timeouts.front().map(|&(at_ms, _)| at_ms);
        [of_state, response, self.stuck_ms(), Some(self.enquiry_due_ms())].into_iter().flatten().min()
    }

    /// When a peer that takes nothing is given up; `None` when there is nothing to take.
    fn stuck_ms(&self) -> Option<u64> {
        let Limits { enquire_link_idle_ms, enquire_link_timeout_ms, .. } = self.limits;
        let enquiries_ms = enquire_link_timeout_ms.saturating_mul(u64::from(ENQUIRIES_UNANSWERED_MAX));
        let waits = !self.outgoing.is_empty();
        waits.then(|| self.took_ms.saturating_add(enquire_link_idle_ms).saturating_add(enquiries_ms))
    }

    /// The one way in. Appends what follows to `outputs`; `now_ms` never goes back.
    pub fn handle(&mut self, input: Input, now_ms: u64, outputs: &mut Vec<Output>) {
        if self.state == State::Ended {
            // What was handed over is still accounted for; everything else is over.
            if let Input::Send { tag, .. } = input {
                outputs.push(Output::Unsent { tag, why: WhyUnsent::SessionEnded });
            }
            return;
        }
        if self.outgoing.is_empty() {
            self.took_ms = now_ms;
        }
        match input {
            Input::Connected => self.connected(now_ms),
            Input::Received(Ok(pdu)) => self.received(pdu, now_ms, outputs),
            Input::Received(Err(malformed)) => self.malformed(malformed, now_ms, outputs),
            Input::LostPosition(length) => {
                let nack = Pdu { status: status::ESME_RINVCMDLEN, sequence: 0, body: Body::GenericNack };
                self.end(EndReason::InvalidLength(length), Some(nack), outputs);
            }
            Input::Written(octets) => self.wrote(octets, now_ms),
            Input::Send { tag, request } => self.send(tag, request, outputs),
            Input::BindAnswer { status, system_id } => self.bind_answer(status, system_id, outputs),
            Input::Answer { ticket, status, message_id } => {
                self.settled(ticket);
                self.answer(ticket, status, message_id);
                self.maybe_finish(now_ms, outputs);
            }
            Input::Abandon(ticket) => {
                self.settled(ticket);
                self.maybe_finish(now_ms, outputs);
            }
            Input::Raw(octets) => {
                self.outgoing.extend_from_slice(&octets);
                self.queued(None);
            }
            Input::Stop => self.stop(now_ms, outputs),
            Input::Close => {
                self.outgoing.clear();
                self.end_silently(EndReason::Stopped, outputs);
            }
            Input::Disconnected => {
                self.outgoing.clear();
                // Many peers close instead of answering `unbind`; the end was wanted all the same.
                let reason = match self.state {
                    State::Unbinding { .. } => EndReason::Stopped,
                    State::PeerUnbinding { .. } => EndReason::PeerUnbound,
                    _ => EndReason::Disconnected,
                };
                self.end_silently(reason, outputs);
            }
            Input::Tick => self.tick(now_ms, outputs),
        }
    }

    /// Ends for a reason only the driver can see.
    pub(crate) fn abort(&mut self, reason: EndReason, outputs: &mut Vec<Output>) {
        if self.state != State::Ended {
            self.outgoing.clear();
            self.end_silently(reason, outputs);
        }
    }

    fn connected(&mut self, now_ms: u64) {
        self.started_ms = now_ms;
        self.heard_ms = now_ms;
        if let Role::Client(bind) = &self.role {
            let body = Body::Bind(bind.clone());
            let mode = bind.mode;
            let sequence = self.next_sequence();
            // A bind that cannot be written is never answered, and so ends as a bind timeout. `Settings`
            // of the driver are checked before it comes to that.
            let _ = self.write(&Pdu { status: 0, sequence, body });
            self.state = State::Binding { sequence, mode };
        }
    }

    fn received(&mut self, pdu: Pdu, now_ms: u64, outputs: &mut Vec<Output>) {
        self.heard_ms = now_ms;
        self.enquiries = 0;
        let Pdu { status, sequence, body } = pdu;
        match body {
            Body::SubmitSmResp { message_id } | Body::DataSmResp { message_id } => {
                self.answered(command::SUBMIT_SM_RESP, sequence, status, message_id, now_ms, outputs);
            }
            Body::DeliverSmResp => {
                self.answered(command::DELIVER_SM_RESP, sequence, status, String::new(), now_ms, outputs);
            }
            Body::GenericNack => match self.state {
                State::Binding { sequence: ours, .. } if self.is_client() && ours == sequence => {
                    self.end(EndReason::BindRefused(status), None, outputs);
                }
                _ => {
                    self.answered(command::GENERIC_NACK, sequence, status, String::new(), now_ms, outputs);
                }
            },
            Body::DeliverSm(deliver) if self.is_client() => {
                self.message(sequence, TicketKind::Deliver, Message::Deliver(deliver), outputs);
            }
            Body::SubmitSm(submit) if !self.is_client() => {
                self.message(sequence, TicketKind::Submit, Message::Submit(submit), outputs);
            }
            Body::DataSm(data) => {
                let message = if self.is_client() {
                    Message::Deliver(data.into())
                } else {
                    Message::Submit(data.into())
                };
                self.message(sequence, TicketKind::Data, message, outputs);
            }
            Body::EnquireLink => self.reply(sequence, 0, Body::EnquireLinkResp),
            Body::EnquireLinkResp | Body::AlertNotification | Body::Outbind => {}
            Body::Unbind => self.peer_unbinds(sequence, now_ms, outputs),
            Body::UnbindResp => {
                if matches!(self.state, State::Unbinding { .. }) {
                    self.end(EndReason::Stopped, None, outputs);
                }
            }
            Body::BindResp { system_id, tlvs, .. } => {
                self.bind_answered(sequence, status, system_id, &tlvs, outputs);
            }
            Body::Bind(bind) => self.bind_requested(sequence, bind, outputs),
            Body::DeliverSm(_) | Body::SubmitSm(_) => {
                // The wrong direction: a carrier that submits, a client that delivers.
                let command_id = body.command_id();
                let status = status::ESME_RINVBNDSTS;
                let reason = "a message in the wrong direction";
                self.refuse(Malformed { command_id, sequence, status, reason }, outputs);
            }
        }
    }

    fn malformed(&mut self, malformed: Malformed, now_ms: u64, outputs: &mut Vec<Output>) {
        self.heard_ms = now_ms;
        self.enquiries = 0;
        self.refuse(malformed, outputs);
    }

    fn refuse(&mut self, malformed: Malformed, outputs: &mut Vec<Output>) {
        if let Some(refusal) = malformed.refusal() {
            let _ = self.write(&refusal);
        }
        outputs.push(Output::Malformed(malformed));
    }

    /// The peer answered a request of ours, in time, late, or one that never was.
    fn answered(
        &mut self,
        command_id: u32,
        sequence: u32,
        status: u32,
        message_id: String,
        now_ms: u64,
        outputs: &mut Vec<Output>,
    ) {
        if let Some(tag) = self.outstanding.remove(&sequence) {
            outputs.push(Output::Answer { tag, status, message_id });
            self.skip_answered();
            self.maybe_finish(now_ms, outputs);
        } else if let Some(tag) = self.late.remove(&sequence) {
            outputs.push(Output::LateAnswer { tag, status, message_id });
        } else {
            let reason = "an answer to no request";
            outputs.push(Output::Malformed(Malformed { command_id, sequence, status, reason }));
        }
    }

    fn message(&mut self, sequence: u32, kind: TicketKind, message: Message, outputs: &mut Vec<Output>) {
        let ticket = Ticket { sequence, kind, octets: message.octets() };
        let may_submit = match self.state {
            State::Bound { mode } | State::Draining { mode, .. } => mode.submits(),
            // After unbind nothing is taken; the peer keeps it and sends it in the next session.
            State::Unbinding { .. } | State::PeerUnbinding { .. } | State::Ended => return,
            State::Open | State::Binding { .. } => {
                self.answer(ticket, status::ESME_RINVBNDSTS, String::new());
                return;
            }
        };
        if matches!(message, Message::Submit(_)) && !may_submit {
            self.answer(ticket, status::ESME_RINVBNDSTS, String::new());
        } else if self.unanswered >= self.limits.unanswered_max
            || self.unanswered_octets >= self.limits.unanswered_octets_max
        {
            let busy = if self.is_client() { status::ESME_RX_T_APPN } else { status::ESME_RTHROTTLED };
            self.answer(ticket, busy, String::new());
        } else {
            self.unanswered += 1;
            self.unanswered_octets += ticket.octets;
            outputs.push(Output::Message { ticket, message });
        }
    }

    fn settled(&mut self, ticket: Ticket) {
        self.unanswered = self.unanswered.saturating_sub(1);
        self.unanswered_octets = self.unanswered_octets.saturating_sub(ticket.octets);
    }

    fn answer(&mut self, ticket: Ticket, status: u32, message_id: String) {
        if matches!(self.state, State::Unbinding { .. }) {
            return;
        }
        let body = match ticket.kind {
            TicketKind::Submit => Body::SubmitSmResp { message_id },
            TicketKind::Deliver => Body::DeliverSmResp,
            TicketKind::Data => Body::DataSmResp { message_id },
        };
        self.reply(ticket.sequence, status, body);
    }

    fn bind_requested(&mut self, sequence: u32, bind: Bind, outputs: &mut Vec<Output>) {
        let already = Body::BindResp { mode: bind.mode, system_id: String::new(), tlvs: Vec::new() };
        match (&self.role, self.state) {
            (Role::Server, State::Open) => {
                self.state = State::Binding { sequence, mode: bind.mode };
                outputs.push(Output::BindRequested(bind));
            }
            (Role::Server, _) => self.reply(sequence, status::ESME_RALYBND, already),
            (Role::Client(_), _) => self.reply(sequence, status::ESME_RINVBNDSTS, already),
        }
    }

    fn bind_answer(&mut self, status: u32, system_id: String, outputs: &mut Vec<Output>) {
        let State::Binding { sequence, mode } = self.state else { return };
        if self.is_client() {
            return;
        }
        let tlvs = vec![Tlv::new(tag::SC_INTERFACE_VERSION, [0x34])];
        if status == status::ESME_ROK {
            self.reply(sequence, status, Body::BindResp { mode, system_id: system_id.clone(), tlvs });
            self.state = State::Bound { mode };
            outputs.push(Output::Bound { system_id, interface_version: None });
        } else {
            let body = Body::BindResp { mode, system_id: String::new(), tlvs: Vec::new() };
            self.end(EndReason::BindRefused(status), Some(Pdu { status, sequence, body }), outputs);
        }
    }

    fn bind_answered(
        &mut self,
        sequence: u32,
        status: u32,
        system_id: String,
        tlvs: &[Tlv],
        outputs: &mut Vec<Output>,
    ) {
        match self.state {
            State::Binding { sequence: ours, mode } if self.is_client() && ours == sequence => {
                if status == status::ESME_ROK {
                    self.state = State::Bound { mode };
                    let interface_version = codec::find_tlv(tlvs, tag::SC_INTERFACE_VERSION)
                        .and_then(|value| value.first().copied());
                    outputs.push(Output::Bound { system_id, interface_version });
                } else {
                    self.end(EndReason::BindRefused(status), None, outputs);
                }
            }
            _ => outputs.push(Output::Malformed(Malformed {
                command_id: command::BIND_TRANSCEIVER | command::RESPONSE_BIT,
                sequence,
                status,
                reason: "an answer to no bind",
            })),
        }
    }

    fn send(&mut self, tag: u64, request: Request, outputs: &mut Vec<Output>) {
        let State::Bound { mode } = self.state else {
            outputs.push(Output::Unsent { tag, why: WhyUnsent::SessionEnded });
            return;
        };
        let allowed = if self.is_client() { mode.submits() } else { mode.receives() };
        let right_way = match request {
            Request::Submit(_) => self.is_client(),
            Request::Deliver(_) => !self.is_client(),
            Request::Data(_) => true,
        };
        if !allowed || !right_way {
            outputs.push(Output::Unsent { tag, why: WhyUnsent::Direction });
            return;
        }
        let body = match request {
            Request::Submit(submit) => Body::SubmitSm(submit),
            Request::Deliver(deliver) => Body::DeliverSm(deliver),
            Request::Data(data) => Body::DataSm(data),
        };
        let sequence = self.next_sequence();
        match codec::encode(&Pdu { status: 0, sequence, body }, &mut self.outgoing) {
            Ok(()) => {
                self.queued(Some(sequence));
                self.outstanding.insert(sequence, tag);
            }
            Err(error) => outputs.push(Output::Unsent { tag, why: WhyUnsent::Unencodable(error) }),
        }
    }

    /// The connection took octets: requests that went out whole begin to wait for their answer.
    fn wrote(&mut self, octets: usize, now_ms: u64) {
        let octets = octets.min(self.outgoing.len());
        self.outgoing.advance(octets);
        if octets > 0 {
            self.took_ms = now_ms;
        }
        self.written += octets as u64;
        while let Some(&Queued { end, sequence }) = self.queue.front() {
            if end > self.written {
                break;
            }
            self.queue.pop_front();
            self.boundary = end;
            if let Some(sequence) = sequence
                && self.outstanding.contains_key(&sequence)
            {
                self.timeouts.push_back((now_ms.saturating_add(self.limits.response_timeout_ms), sequence));
            }
        }
    }

    fn stop(&mut self, now_ms: u64, outputs: &mut Vec<Output>) {
        match self.state {
            State::Bound { mode } => {
                let until_ms = now_ms.saturating_add(self.limits.stop_limit_ms);
                self.state = State::Draining { mode, until_ms };
                self.maybe_finish(now_ms, outputs);
            }
            State::Open | State::Binding { .. } => self.end(EndReason::Stopped, None, outputs),
            State::Draining { .. } | State::Unbinding { .. } | State::PeerUnbinding { .. } | State::Ended => {
            }
        }
    }

    fn peer_unbinds(&mut self, sequence: u32, now_ms: u64, outputs: &mut Vec<Output>) {
        match self.state {
            State::Bound { .. } | State::Draining { .. } => {
                let until_ms = now_ms.saturating_add(self.limits.stop_limit_ms);
                self.state = State::PeerUnbinding { sequence, until_ms };
                // The peer has stopped listening to requests: what isn't written yet would be lost.
                self.withdraw_unwritten(outputs);
                self.maybe_finish(now_ms, outputs);
            }
            State::PeerUnbinding { .. } | State::Ended => {}
            // Both ends unbind at once, or somebody unbinds who never bound.
            State::Unbinding { .. } | State::Open | State::Binding { .. } => {
                let farewell = Pdu { status: 0, sequence, body: Body::UnbindResp };
                self.end(EndReason::PeerUnbound, Some(farewell), outputs);
            }
        }
    }

    /// Whether a request, or a part of one, waits to be written.
    pub(crate) fn has_unwritten_requests(&self) -> bool {
        self.queue.iter().any(|queued| queued.sequence.is_some())
    }

    /// Whether an answer is waited for.
    pub(crate) fn has_outstanding(&self) -> bool {
        !self.outstanding.is_empty()
    }

    /// Takes the next step of an orderly end once nothing is waited for any more.
    fn maybe_finish(&mut self, now_ms: u64, outputs: &mut Vec<Output>) {
        match self.state {
            State::Draining { until_ms, .. } => {
                let settled = self.outstanding.is_empty() && self.unanswered == 0;
                if settled || now_ms >= until_ms {
                    self.withdraw_unwritten(outputs);
                    let sequence = self.next_sequence();
                    let _ = self.write(&Pdu { status: 0, sequence, body: Body::Unbind });
                    self.state =
                        State::Unbinding { until_ms: now_ms.saturating_add(self.limits.stop_limit_ms) };
                }
            }
            State::PeerUnbinding { sequence, until_ms } if self.unanswered == 0 || now_ms >= until_ms => {
                let farewell = Pdu { status: 0, sequence, body: Body::UnbindResp };
                self.end(EndReason::PeerUnbound, Some(farewell), outputs);
            }
            _ => {}
        }
    }

    fn tick(&mut self, now_ms: u64, outputs: &mut Vec<Output>) {
        while let Some(&(at_ms, sequence)) = self.timeouts.front() {
            if at_ms > now_ms {
                break;
            }
            self.timeouts.pop_front();
            if let Some(tag) = self.outstanding.remove(&sequence) {
                self.remember_late(sequence, tag);
                outputs.push(Output::NoAnswer { tag });
            }
        }
        self.skip_answered();
        match self.state {
            State::Open | State::Binding { .. } => {
                if now_ms >= self.started_ms.saturating_add(self.limits.bind_timeout_ms) {
                    self.end(EndReason::BindTimeout, None, outputs);
                }
                return;
            }
            State::Unbinding { until_ms } if now_ms >= until_ms => {
                self.end(EndReason::Stopped, None, outputs);
                return;
            }
            State::Ended => return,
            _ => {}
        }
        self.maybe_finish(now_ms, outputs);
        if self.state != State::Ended && self.stuck_ms().is_some_and(|at_ms| now_ms >= at_ms) {
            self.outgoing.clear();
            self.end_silently(EndReason::Unresponsive, outputs);
            return;
        }
        if self.state != State::Ended && now_ms >= self.enquiry_due_ms() {
            if self.enquiries >= ENQUIRIES_UNANSWERED_MAX {
                self.outgoing.clear();
                self.end_silently(EndReason::Unresponsive, outputs);
                return;
            }
            let sequence = self.next_sequence();
            let _ = self.write(&Pdu { status: 0, sequence, body: Body::EnquireLink });
            self.enquiries += 1;
            self.enquired_ms = now_ms;
        }
    }

    fn enquiry_due_ms(&self) -> u64 {
        if self.enquiries == 0 {
            self.heard_ms.saturating_add(self.limits.enquire_link_idle_ms)
        } else {
            self.enquired_ms.saturating_add(self.limits.enquire_link_timeout_ms)
        }
    }

    /// Takes back every request the connection has not begun to take. One that is partly out is finished,
    /// because the stream must stay readable, and stays outstanding.
    fn withdraw_unwritten(&mut self, outputs: &mut Vec<Output>) {
        let begun = usize::from(self.written > self.boundary);
        let kept_end = if begun == 1 { self.queue.front().map(|front| front.end) } else { None };
        let kept = kept_end.map_or(0, |end| usize::try_from(end - self.written).unwrap_or(0));
        if self.queue.iter().skip(begun).all(|queued| queued.sequence.is_none()) {
            // Only answers and enquiries wait, and these are still wanted.
            return;
        }
        let mut rebuilt = BytesMut::from(&self.outgoing[..kept]);
        let mut rebuilt_queue: VecDeque<Queued> = self.queue.iter().take(begun).copied().collect();
        let mut start = kept_end.unwrap_or(self.written);
        for queued in self.queue.iter().skip(begun) {
            let from = usize::try_from(start - self.written).expect("offsets lie within `outgoing`");
            let to = usize::try_from(queued.end - self.written).expect("offsets lie within `outgoing`");
            start = queued.end;
            match queued.sequence {
                None => {
                    rebuilt.extend_from_slice(&self.outgoing[from..to]);
                    let end = self.written + rebuilt.len() as u64;
                    rebuilt_queue.push_back(Queued { end, sequence: None });
                }
                Some(sequence) => {
                    if let Some(tag) = self.outstanding.remove(&sequence) {
                        outputs.push(Output::Unsent { tag, why: WhyUnsent::SessionEnded });
                    }
                }
            }
        }
        self.outgoing = rebuilt;
        self.queue = rebuilt_queue;
    }

    /// Ends while the connection still stands: what isn't written is taken back, `farewell` is the last word.
    fn end(&mut self, reason: EndReason, farewell: Option<Pdu>, outputs: &mut Vec<Output>) {
        self.withdraw_unwritten(outputs);
        if let Some(pdu) = farewell {
            let _ = self.write(&pdu);
        }
        // What is left in the queue will be written, so what is left of the requests is in doubt.
        self.queue.clear();
        self.end_silently(reason, outputs);
    }

    /// Ends when nothing more will be written: requests still in the queue never went out whole.
    fn end_silently(&mut self, reason: EndReason, outputs: &mut Vec<Output>) {
        for queued in std::mem::take(&mut self.queue) {
            if let Some(sequence) = queued.sequence
                && let Some(tag) = self.outstanding.remove(&sequence)
            {
                outputs.push(Output::Unsent { tag, why: WhyUnsent::SessionEnded });
            }
        }
        let mut in_doubt: Vec<_> = self.outstanding.drain().collect();
        in_doubt.sort_unstable();
        outputs.extend(in_doubt.into_iter().map(|(_, tag)| Output::NoAnswer { tag }));
        self.timeouts.clear();
        self.state = State::Ended;
        outputs.push(Output::Ended(reason));
    }

    fn reply(&mut self, sequence: u32, status: u32, body: Body) {
        let reply = Pdu { status, sequence, body };
        if self.write(&reply).is_err() {
            // Only an owner's id that cannot be written comes here; the peer must not wait for nothing.
            let body = match reply.body {
                Body::SubmitSmResp { .. } => Body::SubmitSmResp { message_id: String::new() },
                Body::DataSmResp { .. } => Body::DataSmResp { message_id: String::new() },
                Body::BindResp { mode, .. } => {
                    Body::BindResp { mode, system_id: String::new(), tlvs: Vec::new() }
                }
                other => other,
            };
            let _ = self.write(&Pdu { status, sequence, body });
        }
    }

    fn write(&mut self, pdu: &Pdu) -> Result<(), Unencodable> {
        codec::encode(pdu, &mut self.outgoing)?;
        self.queued(None);
        Ok(())
    }

    fn queued(&mut self, sequence: Option<u32>) {
        let end = self.written + self.outgoing.len() as u64;
        self.queue.push_back(Queued { end, sequence });
    }

    fn skip_answered(&mut self) {
        while let Some((_, sequence)) = self.timeouts.front()
            && !self.outstanding.contains_key(sequence)
        {
            self.timeouts.pop_front();
        }
    }

    fn remember_late(&mut self, sequence: u32, tag: u64) {
        if self.late_order.len() >= LATE_REMEMBERED_MAX
            && let Some(oldest) = self.late_order.pop_front()
        {
            self.late.remove(&oldest);
        }
        self.late_order.push_back(sequence);
        self.late.insert(sequence, tag);
    }

    fn next_sequence(&mut self) -> u32 {
        self.last_sequence = if self.last_sequence >= SEQUENCE_MAX { 1 } else { self.last_sequence + 1 };
        self.last_sequence
    }

    fn is_client(&self) -> bool {
        matches!(self.role, Role::Client(_))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits {
        window_max: 3,
        unanswered_max: 2,
        unanswered_octets_max: 1_000,
        response_timeout_ms: 1_000,
        enquire_link_idle_ms: 10_000,
        enquire_link_timeout_ms: 2_000,
        bind_timeout_ms: 5_000,
        stop_limit_ms: 500,
    };

    /// One step of a table: when, what goes in, what comes out. Outputs and written PDUs are words.
    type Step<'a> = (u64, Input, &'a [&'a str]);

    /// Plays the table; the connection takes everything at once unless the session was told to hold.
    fn play(session: &mut Session, hold: bool, steps: &[Step<'_>]) {
        for (at_ms, input, expected) in steps {
            let mut outputs = Vec::new();
            session.handle(input.clone(), *at_ms, &mut outputs);
            let mut words: Vec<String> = outputs.iter().map(say).collect();
            if !hold {
                words.extend(written(session, *at_ms, &mut outputs));
            }
            assert_eq!(&words, expected, "at {at_ms} ms after {input:?}");
        }
    }

    fn written(session: &mut Session, at_ms: u64, outputs: &mut Vec<Output>) -> Vec<String> {
        let mut octets = session.outgoing().to_vec();
        session.handle(Input::Written(octets.len()), at_ms, outputs);
        let mut words = Vec::new();
        while let Ok(Some(length)) = codec::frame_length(&octets) {
            let pdu = codec::decode(&octets[..length]).unwrap();
            octets.drain(..length);
            let name = format!("{:?}", pdu.body);
            let name = name.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap().to_owned();
            let status = if pdu.status == 0 { String::new() } else { format!(" {:#x}", pdu.status) };
            words.push(format!("> {name}#{}{status}", pdu.sequence));
        }
        words
    }

    fn say(output: &Output) -> String {
        match output {
            Output::BindRequested(bind) => format!("asked by {}", bind.system_id),
            Output::Bound { system_id, .. } => format!("bound {system_id}"),
            Output::Answer { tag, status, message_id } => format!("answer {tag} {status} {message_id}"),
            Output::NoAnswer { tag } => format!("no answer {tag}"),
            Output::LateAnswer { tag, status, message_id } => format!("late {tag} {status} {message_id}"),
            Output::Unsent { tag, why: WhyUnsent::SessionEnded } => format!("unsent {tag}"),
            Output::Unsent { tag, why } => format!("unsent {tag} {why:?}"),
            Output::Message { ticket, .. } => format!("message #{}", ticket.sequence),
            Output::Malformed(malformed) => format!("malformed: {}", malformed.reason),
            Output::Ended(reason) => format!("ended {reason:?}"),
        }
    }

    fn client(mode: BindMode) -> Session {
        Session::new(Role::Client(Bind::new(mode, "me", "pw")), LIMITS)
    }

    fn bound_client() -> Session {
        let mut session = client(BindMode::Transceiver);
        play(
            &mut session,
            false,
            &[(0, Input::Connected, &["> Bind#1"]), (0, got(1, 0, bind_resp()), &["bound smsc"])],
        );
        session
    }

    fn bind_resp() -> Body {
        Body::BindResp { mode: BindMode::Transceiver, system_id: "smsc".into(), tlvs: Vec::new() }
    }

    fn got(sequence: u32, status: u32, body: Body) -> Input {
        Input::Received(Ok(Pdu { status, sequence, body }))
    }

    fn send(tag: u64) -> Input {
        Input::Send { tag, request: Request::Submit(SubmitSm::default()) }
    }

    fn accepted(sequence: u32, id: &str) -> Input {
        got(sequence, 0, Body::SubmitSmResp { message_id: id.into() })
    }

    fn delivered(sequence: u32) -> Input {
        got(sequence, 0, Body::DeliverSm(DeliverSm::default()))
    }

    fn answer(sequence: u32) -> Input {
        let ticket = Ticket { sequence, kind: TicketKind::Deliver, octets: 0 };
        Input::Answer { ticket, status: 0, message_id: String::new() }
    }

    #[test]
    fn a_client_binds_or_is_refused_or_gives_up() {
        let refused = "ended BindRefused(14)";
        let bind: Step<'_> = (0, Input::Connected, &["> Bind#1"]);
        play(
            &mut client(BindMode::Receiver),
            false,
            &[bind.clone(), (10, got(1, 14, bind_resp()), &[refused]), (11, send(1), &["unsent 1"])],
        );
        play(
            &mut client(BindMode::Receiver),
            false,
            &[bind.clone(), (10, got(1, 14, Body::GenericNack), &[refused])],
        );
        play(
            &mut client(BindMode::Transceiver),
            false,
            &[
                bind.clone(),
                (10, send(1), &["unsent 1"]),
                (4_999, Input::Tick, &[]),
                (5_000, Input::Tick, &["ended BindTimeout"]),
            ],
        );
        play(
            &mut client(BindMode::Transceiver),
            false,
            &[
                bind.clone(),
                (10, got(7, 0, bind_resp()), &["malformed: an answer to no bind"]),
                (10, got(1, 0, bind_resp()), &["bound smsc"]),
            ],
        );
        play(
            &mut client(BindMode::Receiver),
            false,
            &[bind, (10, got(1, 0, bind_resp()), &["bound smsc"]), (11, send(1), &["unsent 1 Direction"])],
        );
    }

    #[test]
    fn each_submit_is_reported_once_whatever_the_answer() {
        play(
            &mut bound_client(),
            false,
            &[
                (1, send(10), &["> SubmitSm#2"]),
                (1, send(11), &["> SubmitSm#3"]),
                (1, send(12), &["> SubmitSm#4"]),
                (5, accepted(3, "b"), &["answer 11 0 b"]),
                (5, accepted(3, "b"), &["malformed: an answer to no request"]),
                (6, got(4, 0x58, Body::SubmitSmResp { message_id: String::new() }), &["answer 12 88 "]),
                (7, got(2, 3, Body::GenericNack), &["answer 10 3 "]),
                (2_000, Input::Tick, &[]),
            ],
        );
        // Slow: no answer in time, then late, but never sent again.
        play(
            &mut bound_client(),
            false,
            &[
                (1, send(10), &["> SubmitSm#2"]),
                (500, send(11), &["> SubmitSm#3"]),
                (1_000, Input::Tick, &[]),
                (1_001, Input::Tick, &["no answer 10"]),
                (1_400, accepted(2, "a"), &["late 10 0 a"]),
                (1_400, accepted(2, "a"), &["malformed: an answer to no request"]),
                (1_500, Input::Tick, &["no answer 11"]),
                (1_600, Input::Disconnected, &["ended Disconnected"]),
            ],
        );
        // Cannot be written at all.
        let long = SubmitSm { short_message: vec![0; 255], ..SubmitSm::default() };
        let mut outputs = Vec::new();
        let mut session = bound_client();
        session.handle(Input::Send { tag: 1, request: Request::Submit(long) }, 1, &mut outputs);
        assert!(matches!(outputs[..], [Output::Unsent { tag: 1, why: WhyUnsent::Unencodable(_) }]));
        assert_eq!(session.window_free(), 3);
    }

    #[test]
    fn only_what_the_connection_took_whole_is_in_doubt() {
        let submit_octets = {
            let mut session = bound_client();
            session.handle(send(1), 1, &mut Vec::new());
            session.outgoing().len()
        };
        for taken in 0..=submit_octets * 3 {
            let mut session = bound_client();
            let mut outputs = Vec::new();
            for tag in 0..3 {
                session.handle(send(tag), 1, &mut outputs);
            }
            session.handle(Input::Written(taken), 2, &mut outputs);
            session.handle(Input::Disconnected, 3, &mut outputs);
            let in_doubt = outputs.iter().filter(|o| matches!(o, Output::NoAnswer { .. })).count();
            let unsent = outputs.iter().filter(|o| matches!(o, Output::Unsent { .. })).count();
            assert_eq!((in_doubt, unsent), (taken / submit_octets, 3 - taken / submit_octets), "{taken}");
        }
    }

    #[test]
    fn what_was_taken_back_is_not_written_after_all() {
        let ends = [
            (got(91, 0, Body::Unbind), command::UNBIND_RESP),
            (Input::LostPosition(3), command::GENERIC_NACK),
        ];
        for (taken, (end, last_word)) in
            [0, 1, 20, 33, 34, 40].into_iter().flat_map(|n| ends.iter().map(move |end| (n, end)))
        {
            let mut session = bound_client();
            let mut outputs = Vec::new();
            session.handle(send(0), 1, &mut outputs);
            session.handle(got(90, 0, Body::EnquireLink), 1, &mut outputs);
            session.handle(send(1), 1, &mut outputs);
            let mut stream = session.outgoing()[..taken].to_vec();
            session.handle(Input::Written(taken), 2, &mut outputs);
            session.handle(end.clone(), 3, &mut outputs);
            assert!(session.is_ended());
            stream.extend_from_slice(session.outgoing());
            let mut sent = Vec::new();
            while let Ok(Some(length)) = codec::frame_length(&stream) {
                sent.push(codec::decode(&stream[..length]).unwrap().body.command_id());
                stream.drain(..length);
            }
            assert!(stream.is_empty(), "the stream stays whole");
            assert_eq!(sent.last(), Some(last_word));
            let submits = sent.iter().filter(|&&id| id == command::SUBMIT_SM).count();
            assert_eq!(submits, usize::from(taken > 0), "only what was begun is finished");
            let in_doubt = outputs.iter().filter(|o| matches!(o, Output::NoAnswer { .. })).count();
            let unsent = outputs.iter().filter(|o| matches!(o, Output::Unsent { .. })).count();
            assert_eq!((submits, 2 - submits), (in_doubt, unsent), "{taken}");
        }
    }

    #[test]
    fn silence_is_asked_twice_and_then_believed() {
        play(
            &mut bound_client(),
            false,
            &[
                (1, send(10), &["> SubmitSm#2"]),
                (1_001, Input::Tick, &["no answer 10"]),
                (9_999, Input::Tick, &[]),
                (10_000, Input::Tick, &["> EnquireLink#3"]),
                (11_000, got(3, 0, Body::EnquireLinkResp), &[]),
                (20_999, Input::Tick, &[]),
                (21_000, Input::Tick, &["> EnquireLink#4"]),
                (22_999, Input::Tick, &[]),
                (23_000, Input::Tick, &["> EnquireLink#5"]),
                (24_500, send(11), &["> SubmitSm#6"]),
                (25_000, Input::Tick, &["no answer 11", "ended Unresponsive"]),
            ],
        );
        // Any PDU is a sign of life, and the peer's own question is answered.
        play(
            &mut bound_client(),
            false,
            &[
                (10_000, Input::Tick, &["> EnquireLink#2"]),
                (11_000, got(5, 0, Body::EnquireLink), &["> EnquireLinkResp#5"]),
                (20_999, Input::Tick, &[]),
            ],
        );
    }

    #[test]
    fn an_orderly_end_waits_for_both_directions() {
        play(
            &mut bound_client(),
            false,
            &[
                (1, send(10), &["> SubmitSm#2"]),
                (2, delivered(50), &["message #50"]),
                (3, Input::Stop, &[]),
                (4, send(11), &["unsent 11"]),
                (5, accepted(2, "a"), &["answer 10 0 a"]),
                (6, answer(50), &["> DeliverSmResp#50", "> Unbind#3"]),
                (7, got(3, 0, Body::UnbindResp), &["ended Stopped"]),
            ],
        );
        play(
            &mut bound_client(),
            false,
            &[
                (1, send(10), &["> SubmitSm#2"]),
                (3, Input::Stop, &[]),
                (503, Input::Tick, &["> Unbind#3"]),
                (1_003, Input::Tick, &["no answer 10", "ended Stopped"]),
            ],
        );
        play(
            &mut bound_client(),
            false,
            &[
                (1, delivered(50), &["message #50"]),
                (2, got(51, 0, Body::Unbind), &[]),
                (3, delivered(52), &[]),
                (4, answer(50), &["ended PeerUnbound", "> DeliverSmResp#50", "> UnbindResp#51"]),
            ],
        );
        play(
            &mut bound_client(),
            false,
            &[
                (1, delivered(50), &["message #50"]),
                (2, got(51, 0, Body::Unbind), &[]),
                (502, Input::Tick, &["ended PeerUnbound", "> UnbindResp#51"]),
            ],
        );
    }

    #[test]
    fn a_peer_that_closes_instead_of_answering_unbind_has_ended_orderly() {
        play(
            &mut bound_client(),
            false,
            &[(1, Input::Stop, &["> Unbind#2"]), (2, Input::Disconnected, &["ended Stopped"])],
        );
    }

    #[test]
    fn a_peer_that_talks_and_never_listens_is_given_up() {
        let alive = |sequence| got(sequence, 0, Body::EnquireLink);
        let mut session = bound_client();
        // A request goes out; of the next one the connection takes half, and then nothing any more.
        play(&mut session, false, &[(1, send(10), &["> SubmitSm#2"])]);
        let half = {
            let mut outputs = Vec::new();
            session.handle(send(11), 2, &mut outputs);
            session.outgoing().len() / 2
        };
        play(
            &mut session,
            true,
            &[
                (400, Input::Written(half), &[]),
                (500, send(12), &[]),
                (1_001, Input::Tick, &["no answer 10"]),
                (9_000, alive(70), &[]),
                (14_300, alive(71), &[]),
                (14_399, Input::Tick, &[]),
                (14_400, Input::Tick, &["unsent 11", "unsent 12", "ended Unresponsive"]),
            ],
        );
    }

    #[test]
    fn messages_are_bounded_and_the_wrong_ones_refused() {
        let abandon = Input::Abandon(Ticket { sequence: 51, kind: TicketKind::Deliver, octets: 0 });
        play(
            &mut bound_client(),
            false,
            &[
                (1, delivered(50), &["message #50"]),
                (1, delivered(51), &["message #51"]),
                (1, delivered(52), &["> DeliverSmResp#52 0x64"]),
                (2, answer(50), &["> DeliverSmResp#50"]),
                (2, delivered(53), &["message #53"]),
                (3, abandon, &[]),
                (3, got(54, 0, Body::DataSm(DataSm::default())), &["message #54"]),
                (
                    4,
                    got(55, 0, Body::SubmitSm(SubmitSm::default())),
                    &["malformed: a message in the wrong direction", "> SubmitSmResp#55 0x4"],
                ),
            ],
        );
        // Many small parameters count as what they become.
        let tlvs = vec![Tlv::new(tag::MESSAGE_STATE, []); 1_000 / size_of::<Tlv>()];
        let large = got(60, 0, Body::DeliverSm(DeliverSm { tlvs, ..DeliverSm::default() }));
        let mut session = bound_client();
        let mut outputs = Vec::new();
        session.handle(large, 1, &mut outputs);
        let Some(Output::Message { ticket, .. }) = outputs.pop() else { panic!("{outputs:?}") };
        let settled = Input::Answer { ticket, status: 0, message_id: String::new() };
        play(
            &mut session,
            false,
            &[
                (1, delivered(61), &["> DeliverSmResp#61 0x64"]),
                (2, settled, &["> DeliverSmResp#60"]),
                (2, delivered(62), &["message #62"]),
            ],
        );
    }

    #[test]
    fn what_cannot_be_read_is_refused_and_the_session_goes_on() {
        let bad = |command_id, status| {
            Input::Received(Err(Malformed { command_id, sequence: 9, status, reason: "bad" }))
        };
        play(
            &mut bound_client(),
            false,
            &[
                (1, bad(command::DELIVER_SM, 1), &["malformed: bad", "> DeliverSmResp#9 0x1"]),
                (1, bad(0x0111, 3), &["malformed: bad", "> GenericNack#9 0x3"]),
                (1, bad(0x8000_0111, 3), &["malformed: bad"]),
                (2, send(1), &["> SubmitSm#2"]),
                (
                    3,
                    Input::LostPosition(4),
                    &["no answer 1", "ended InvalidLength(4)", "> GenericNack#0 0x2"],
                ),
            ],
        );
    }

    #[test]
    fn a_server_asks_its_owner_and_keeps_to_the_bind() {
        let bind = |mode| got(1, 0, Body::Bind(Bind::new(mode, "esme", "pw")));
        let submit = |sequence| got(sequence, 0, Body::SubmitSm(SubmitSm::default()));
        let accept = Input::BindAnswer { status: 0, system_id: "us".into() };
        let deliver = |tag| Input::Send { tag, request: Request::Deliver(DeliverSm::default()) };
        play(
            &mut Session::new(Role::Server, LIMITS),
            false,
            &[
                (0, Input::Connected, &[]),
                (1, submit(7), &["> SubmitSmResp#7 0x4"]),
                (2, bind(BindMode::Transmitter), &["asked by esme"]),
                (3, accept.clone(), &["bound us", "> BindResp#1"]),
                (4, bind(BindMode::Transmitter), &["> BindResp#1 0x5"]),
                (5, submit(8), &["message #8"]),
                (6, deliver(1), &["unsent 1 Direction"]),
                (
                    7,
                    got(9, 0, Body::DeliverSm(DeliverSm::default())),
                    &["malformed: a message in the wrong direction", "> DeliverSmResp#9 0x4"],
                ),
            ],
        );
        play(
            &mut Session::new(Role::Server, LIMITS),
            false,
            &[
                (0, Input::Connected, &[]),
                (2, bind(BindMode::Receiver), &["asked by esme"]),
                (3, accept, &["bound us", "> BindResp#1"]),
                (4, submit(8), &["> SubmitSmResp#8 0x4"]),
                (5, deliver(1), &["> DeliverSm#1"]),
                (6, got(1, 0, Body::DeliverSmResp), &["answer 1 0 "]),
            ],
        );
        play(
            &mut Session::new(Role::Server, LIMITS),
            false,
            &[
                (0, Input::Connected, &[]),
                (2, bind(BindMode::Receiver), &["asked by esme"]),
                (
                    3,
                    Input::BindAnswer { status: 14, system_id: String::new() },
                    &["ended BindRefused(14)", "> BindResp#1 0xe"],
                ),
            ],
        );
        play(
            &mut Session::new(Role::Server, LIMITS),
            false,
            &[(0, Input::Connected, &[]), (5_000, Input::Tick, &["ended BindTimeout"])],
        );
    }

    #[test]
    fn a_held_connection_keeps_the_response_clock_from_starting() {
        let mut session = bound_client();
        play(
            &mut session,
            true,
            &[
                (1, send(10), &[]),
                (5_000, Input::Tick, &[]),
                (5_001, Input::Written(1_000), &[]),
                (6_000, Input::Tick, &[]),
                (6_001, Input::Tick, &["no answer 10"]),
            ],
        );
    }

    #[test]
    fn sequence_numbers_wrap_within_their_range() {
        let mut session = bound_client();
        session.last_sequence = SEQUENCE_MAX - 1;
        play(
            &mut session,
            false,
            &[
                (1, send(1), &["> SubmitSm#2147483647"]),
                (1, send(2), &["> SubmitSm#1"]),
                (2, accepted(SEQUENCE_MAX, "a"), &["answer 1 0 a"]),
                (2, accepted(1, "b"), &["answer 2 0 b"]),
            ],
        );
    }

    proptest! {
        /// Whatever happens in whatever order, every request is reported once, and a late answer only after
        /// a missing one.
        #[test]
        fn the_account_is_always_even(choices in proptest::collection::vec((0u8..12, 0u32..12, 0u64..1_500), 0..80)) {
            let mut session = bound_client();
            let (mut now, mut tags) = (0, 0u64);
            let mut outputs = Vec::new();
            for (choice, number, pause) in choices {
                now += pause;
                let input = match choice {
                    0..=3 => { tags += 1; send(tags) }
                    4 | 5 => accepted(number, "x"),
                    6 => Input::Written(number as usize * 20),
                    7 => delivered(number),
                    8 => Input::Tick,
                    9 => got(number, 0, Body::EnquireLink),
                    10 if number == 0 => Input::Stop,
                    10 if number == 1 => got(number, 0, Body::Unbind),
                    10 => got(number, 8, Body::GenericNack),
                    _ => answer(number),
                };
                session.handle(input, now, &mut outputs);
            }
            session.handle(Input::Disconnected, now, &mut outputs);
            let mut reports = vec![0u32; usize::try_from(tags).unwrap() + 1];
            let mut missing = vec![false; reports.len()];
            for output in &outputs {
                match output {
                    Output::Answer { tag, .. } | Output::Unsent { tag, .. } => reports[*tag as usize] += 1,
                    Output::NoAnswer { tag } => {
                        reports[*tag as usize] += 1;
                        missing[*tag as usize] = true;
                    }
                    Output::LateAnswer { tag, .. } => prop_assert!(missing[*tag as usize]),
                    _ => {}
                }
            }
            prop_assert!(reports[1..].iter().all(|&count| count == 1), "{reports:?}");
            let ends = outputs.iter().filter(|output| matches!(output, Output::Ended(_))).count();
            prop_assert_eq!(ends, 1);
        }
    }
}
