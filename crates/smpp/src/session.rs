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
    /// Requests sent and not yet answered, at most. Default 10, which every carrier takes.
    pub window_max: usize,
    /// The peer's messages the owner has not answered yet, at most; more are refused as "try again later".
    /// Default 200.
    pub unanswered_max: usize,
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

/// Says which of the peer's messages an answer belongs to. Give it back exactly once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    sequence: u32,
    kind: TicketKind,
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
    /// Two `enquire_link` went unanswered.
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
    /// Messages of the peer waiting for the owner.
    unanswered: usize,
    heard_ms: u64,
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
            heard_ms: 0,
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
                return Some(self.started_ms + self.limits.bind_timeout_ms);
            }
            State::Bound { .. } => None,
            State::Draining { until_ms, .. }
            | State::Unbinding { until_ms }
            | State::PeerUnbinding { until_ms, .. } => Some(until_ms),
        };
        let response = self.timeouts.front().map(|&(at_ms, _)| at_ms);
        [of_state, response, Some(self.enquiry_due_ms())].into_iter().flatten().min()
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
                self.unanswered = self.unanswered.saturating_sub(1);
                self.answer(ticket, status, message_id);
                self.maybe_finish(now_ms, outputs);
            }
            Input::Abandon(_) => {
                self.unanswered = self.unanswered.saturating_sub(1);
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
                self.end_silently(EndReason::Disconnected, outputs);
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
                let ticket = Ticket { sequence, kind: TicketKind::Deliver };
                self.message(ticket, Message::Deliver(deliver), outputs);
            }
            Body::SubmitSm(submit) if !self.is_client() => {
                let ticket = Ticket { sequence, kind: TicketKind::Submit };
                self.message(ticket, Message::Submit(submit), outputs);
            }
            Body::DataSm(data) => {
                let ticket = Ticket { sequence, kind: TicketKind::Data };
                let message = if self.is_client() {
                    Message::Deliver(data.into())
                } else {
                    Message::Submit(data.into())
                };
                self.message(ticket, message, outputs);
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

    fn message(&mut self, ticket: Ticket, message: Message, outputs: &mut Vec<Output>) {
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
        } else if self.unanswered >= self.limits.unanswered_max {
            let busy = if self.is_client() { status::ESME_RX_T_APPN } else { status::ESME_RTHROTTLED };
            self.answer(ticket, busy, String::new());
        } else {
            self.unanswered += 1;
            outputs.push(Output::Message { ticket, message });
        }
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
                self.timeouts.push_back((now_ms + self.limits.response_timeout_ms, sequence));
            }
        }
    }

    fn stop(&mut self, now_ms: u64, outputs: &mut Vec<Output>) {
        match self.state {
            State::Bound { mode } => {
                let until_ms = now_ms + self.limits.stop_limit_ms;
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
                let until_ms = now_ms + self.limits.stop_limit_ms;
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

    /// Takes the next step of an orderly end once nothing is waited for any more.
    fn maybe_finish(&mut self, now_ms: u64, outputs: &mut Vec<Output>) {
        match self.state {
            State::Draining { until_ms, .. } => {
                let settled = self.outstanding.is_empty() && self.unanswered == 0;
                if settled || now_ms >= until_ms {
                    self.withdraw_unwritten(outputs);
                    let sequence = self.next_sequence();
                    let _ = self.write(&Pdu { status: 0, sequence, body: Body::Unbind });
                    self.state = State::Unbinding { until_ms: now_ms + self.limits.stop_limit_ms };
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
                if now_ms >= self.started_ms + self.limits.bind_timeout_ms {
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
            self.heard_ms + self.limits.enquire_link_idle_ms
        } else {
            self.enquired_ms + self.limits.enquire_link_timeout_ms
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
