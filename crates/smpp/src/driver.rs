//! Moves octets between one connection and one [`Session`], and facts between the session and its owner.
//! Client and server share it. It decides nothing: it batches (many requests into one write), bounds every
//! queue, and keeps the account of what the connection has taken.
//!
//! When the owner is slow to take events, the driver stops reading and stops the clock of the session: an
//! answer that waits unread in the socket is not a missing answer. Answers and stop wishes of the owner are
//! taken all the while, so an owner waiting for the driver never waits for itself.

use std::collections::VecDeque;
use std::future::{poll_fn, ready};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use crate::codec;
use crate::session::{EndReason, Input, Output, Request, Session, Ticket, WhyUnsent};

/// Octets read at once: some hundred PDUs, and little per idle connection.
const READ_OCTETS: usize = 32 * 1024;
/// Octets waiting to be written above which nothing is read: a peer that asks and doesn't read its answers
/// must not fill our memory.
const OUTGOING_OCTETS_MAX: usize = 1024 * 1024;
/// What a server reads from somebody who isn't bound. A bind has at most about 100 octets.
pub(crate) const INPUT_BEFORE_BIND_OCTETS_MAX: usize = 64 * 1024;
/// How long the last words may take, and how long the peer has to close after them.
const FAREWELL: Duration = Duration::from_secs(1);
/// A deadline that is never reached in practice; a limit of `u64::MAX` must not overflow the clock.
const FAR_AWAY_MS: u64 = 1_000 * 60 * 60 * 24 * 365 * 10;
/// Reads of what is already there before a time-out is believed; bounded against a peer that floods.
const READS_BEFORE_TICK: usize = 32;
/// Raw writes waiting for the driver; they are for fault simulation, so few.
pub(crate) const RAW_QUEUE: usize = 64;

/// What the owner wants of the session as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wish {
    Run,
    Stop,
    Close,
}

/// An owner's answer to something the peer asked.
#[derive(Debug)]
pub(crate) enum Reply {
    Bind { status: u32, system_id: String },
    Message { ticket: Ticket, status: u32, message_id: String },
    Abandon(Ticket),
}

/// An owner's duty to answer one message. Dropped without an answer, the peer gets none.
#[derive(Debug)]
pub(crate) struct ReplySlot {
    replies: mpsc::Sender<Reply>,
    ticket: Option<Ticket>,
}

impl ReplySlot {
    pub(crate) fn new(replies: &mpsc::Sender<Reply>, ticket: Ticket) -> Self {
        Self { replies: replies.clone(), ticket: Some(ticket) }
    }

    /// The sequence number of the message to answer.
    pub(crate) fn sequence(&self) -> u32 {
        self.ticket.map_or(0, Ticket::sequence)
    }

    pub(crate) fn answer(mut self, status: u32, message_id: String) {
        if let Some(ticket) = self.ticket.take() {
            // The queue has room for every unanswered message, so this fails only when the session is over.
            let _ = self.replies.try_send(Reply::Message { ticket, status, message_id });
        }
    }
}

impl Drop for ReplySlot {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            let _ = self.replies.try_send(Reply::Abandon(ticket));
        }
    }
}

/// The owner's end for sending, shared by client and server.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    requests: mpsc::Sender<(u64, Request)>,
    wish: Arc<watch::Sender<Wish>>,
    handed_over: Arc<AtomicUsize>,
    window_max: usize,
}

impl Sender {
    pub(crate) async fn send(&self, tag: u64, request: Request) -> Result<(), Box<Request>> {
        // Counted between permit and send, where nothing waits: a caller that gives up leaves no trace.
        match self.requests.reserve().await {
            Ok(permit) => {
                self.handed_over.fetch_add(1, Ordering::Relaxed);
                permit.send((tag, request));
                Ok(())
            }
            Err(_) => Err(Box::new(request)),
        }
    }

    /// Gives the request back, with `true` when the session is over and `false` when the queue is full.
    pub(crate) fn try_send(&self, tag: u64, request: Request) -> Result<(), (Box<Request>, bool)> {
        match self.requests.try_reserve() {
            Ok(permit) => {
                self.handed_over.fetch_add(1, Ordering::Relaxed);
                permit.send((tag, request));
                Ok(())
            }
            Err(mpsc::error::TrySendError::Full(())) => Err((Box::new(request), false)),
            Err(mpsc::error::TrySendError::Closed(())) => Err((Box::new(request), true)),
        }
    }

    pub(crate) fn window_free(&self) -> usize {
        self.window_max.saturating_sub(self.handed_over.load(Ordering::Relaxed))
    }

    pub(crate) fn wish(&self, wish: Wish) {
        self.wish.send_if_modified(|current| {
            let later = wish > *current;
            if later {
                *current = wish;
            }
            later
        });
    }

    pub(crate) fn is_over(&self) -> bool {
        self.requests.is_closed()
    }
}

/// The driver's ends of the channels.
pub(crate) struct Wires<E> {
    requests: mpsc::Receiver<(u64, Request)>,
    replies: mpsc::Receiver<Reply>,
    raw: mpsc::Receiver<Vec<u8>>,
    wish: watch::Receiver<Wish>,
    handed_over: Arc<AtomicUsize>,
    events: mpsc::Sender<E>,
}

/// The owner's ends that go with [`Wires`].
pub(crate) struct Ends {
    pub(crate) sender: Sender,
    pub(crate) replies: mpsc::Sender<Reply>,
    pub(crate) raw: mpsc::Sender<Vec<u8>>,
}

pub(crate) fn wires<E>(
    window_max: usize,
    unanswered_max: usize,
    events: mpsc::Sender<E>,
) -> (Ends, Wires<E>) {
    let (requests_in, requests) = mpsc::channel(window_max.max(1));
    // Every unanswered message, and the bind.
    let (replies_in, replies) = mpsc::channel(unanswered_max + 1);
    let (raw_in, raw) = mpsc::channel(RAW_QUEUE);
    let (wish_in, wish) = watch::channel(Wish::Run);
    let handed_over = Arc::new(AtomicUsize::new(0));
    let sender = Sender {
        requests: requests_in,
        wish: Arc::new(wish_in),
        handed_over: Arc::clone(&handed_over),
        window_max,
    };
    (
        Ends { sender, replies: replies_in, raw: raw_in },
        Wires { requests, replies, raw, wish, handed_over, events },
    )
}

/// Says whether requests may still be written. Asked each time just before octets go to the socket, so it must be quick.
#[derive(Clone)]
pub struct Permission(Arc<dyn Fn() -> bool + Send + Sync>);

impl Permission {
    /// Asks this function.
    pub fn new(may_send: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(may_send))
    }

    /// Always.
    #[must_use]
    pub fn always() -> Self {
        Self::new(|| true)
    }

    pub(crate) fn is_given(&self) -> bool {
        (self.0)()
    }
}

impl std::fmt::Debug for Permission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Permission")
    }
}

/// How to treat the connection.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    /// A failed write may have sent part of what it was given (TLS). On plain TCP it has sent nothing.
    pub(crate) failed_write_may_have_sent: bool,
    /// Bounds what is read before the bind.
    pub(crate) is_server: bool,
    /// Without it no request is written any more, and a session that would have to is closed.
    pub(crate) permission: Permission,
}

struct Driver<E, F> {
    session: Session,
    input: BytesMut,
    outputs: Vec<Output>,
    /// Events the owner hasn't room for.
    pending: VecDeque<E>,
    event_of: F,
    events: mpsc::Sender<E>,
    handed_over: Arc<AtomicUsize>,
    started: Instant,
    ended: Option<EndReason>,
    before_bind: usize,
    connection: Connection,
}

/// Runs the session until it has ended and the owner has every event. `event_of` gives the last event for
/// [`Output::Ended`].
pub(crate) async fn run<S, E, F>(
    stream: S,
    session: Session,
    wires: Wires<E>,
    connection: Connection,
    event_of: F,
) where
    S: AsyncRead + AsyncWrite + Send,
    E: Send,
    F: FnMut(Output) -> Option<E> + Send,
{
    let Wires { mut requests, mut replies, mut raw, mut wish, handed_over, events } = wires;
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut driver = Driver {
        session,
        input: BytesMut::new(),
        outputs: Vec::new(),
        pending: VecDeque::new(),
        event_of,
        events,
        handed_over,
        started: Instant::now(),
        ended: None,
        before_bind: 0,
        connection,
    };
    driver.handle(Input::Connected);
    // A second end, so that waiting for room does not borrow the driver.
    let events_in = driver.events.clone();
    let mut batch: Vec<(u64, Request)> = Vec::new();
    let mut answers: Vec<Reply> = Vec::new();
    let (mut requests_open, mut replies_open, mut raw_open, mut wish_open) = (true, true, true, true);
    let mut flush_wanted = false;
    let mut timer = pin!(sleep_until(driver.started));
    let mut timer_at = None;

    while driver.ended.is_none() {
        driver.offer_events();
        if driver.events.is_closed() && requests_open {
            // Nobody listens any more: end as if asked to.
            requests_open = false;
            driver.close_requests(&mut requests).await;
            driver.handle(Input::Stop);
            continue;
        }
        let deadline = driver.session.deadline();
        if deadline != timer_at
            && let Some(at_ms) = deadline
        {
            timer.as_mut().reset(driver.started + Duration::from_millis(at_ms.min(FAR_AWAY_MS)));
            timer_at = deadline;
        }
        let idle_owner = driver.pending.is_empty();
        let window_free = driver.session.window_free();
        let outgoing = driver.session.outgoing();
        // What TLS still holds may be a request.
        let guarded = driver.session.has_unwritten_requests()
            || flush_wanted
                && driver.connection.failed_write_may_have_sent
                && driver.session.has_outstanding();
        let permission = guarded.then_some(&driver.connection.permission);
        let (writes, reads) = (!outgoing.is_empty(), outgoing.len() < OUTGOING_OCTETS_MAX && idle_owner);
        driver.input.reserve(READ_OCTETS);
        tokio::select! {
            written = write_or_flush(&mut writer, outgoing, permission), if writes || flush_wanted => {
                match written {
                    Err(_) => driver.write_failed(&mut reader).await,
                    Ok(None) => driver.handle(Input::Close),
                    Ok(Some(octets)) => {
                        flush_wanted = octets > 0;
                        driver.handle(Input::Written(octets));
                    }
                }
            }
            read = reader.read_buf(&mut driver.input), if reads => driver.read_done(read),
            taken = requests.recv_many(&mut batch, window_free), if requests_open && idle_owner && window_free > 0 => {
                if taken == 0 {
                    // Every handle was dropped.
                    requests_open = false;
                    driver.handle(Input::Stop);
                }
                for (tag, request) in batch.drain(..) {
                    driver.handle(Input::Send { tag, request });
                }
            }
            taken = replies.recv_many(&mut answers, usize::MAX), if replies_open => {
                replies_open = taken > 0;
                for reply in answers.drain(..) {
                    driver.handle(match reply {
                        Reply::Bind { status, system_id } => Input::BindAnswer { status, system_id },
                        Reply::Message { ticket, status, message_id } => {
                            Input::Answer { ticket, status, message_id }
                        }
                        Reply::Abandon(ticket) => Input::Abandon(ticket),
                    });
                }
            }
            octets = raw.recv(), if raw_open => {
                match octets {
                    Some(octets) => driver.handle(Input::Raw(octets)),
                    None => raw_open = false,
                }
            }
            changed = wish.changed(), if wish_open => {
                wish_open = changed.is_ok();
                let wished = *wish.borrow_and_update();
                match wished {
                    Wish::Run => {}
                    Wish::Stop => {
                        requests_open = false;
                        driver.close_requests(&mut requests).await;
                        driver.handle(Input::Stop);
                    }
                    Wish::Close => driver.handle(Input::Close),
                }
            }
            permit = events_in.reserve(), if !idle_owner => {
                if let (Ok(permit), Some(event)) = (permit, driver.pending.pop_front()) {
                    permit.send(event);
                }
            }
            () = timer.as_mut(), if idle_owner => {
                timer_at = None;
                driver.read_what_is_there(&mut reader).await;
                // Reading may have moved the deadline; a tick too early changes nothing.
                driver.handle(Input::Tick);
            }
        }
    }
    driver.finish(requests, reader, writer).await;
}

/// Writes, or when nothing is left to write pushes out what TLS still holds. Both may be dropped at any
/// point without losing count: octets are taken only when it says so. Nothing is written, and `None` comes back, if the
/// permission is not given at that moment, however long the socket was waited for.
async fn write_or_flush<S: AsyncRead + AsyncWrite>(
    writer: &mut WriteHalf<S>,
    outgoing: &[u8],
    permission: Option<&Permission>,
) -> std::io::Result<Option<usize>> {
    let written = poll_fn(|context| {
        if permission.is_some_and(|permission| !permission.is_given()) {
            return Poll::Ready(Ok(None));
        }
        let writer = Pin::new(&mut *writer);
        if outgoing.is_empty() {
            writer.poll_flush(context).map_ok(|()| Some(0))
        } else {
            writer.poll_write(context, outgoing).map_ok(Some)
        }
    });
    match written.await {
        Ok(Some(0)) if !outgoing.is_empty() => Err(std::io::ErrorKind::WriteZero.into()),
        other => other,
    }
}

impl<E: Send, F: FnMut(Output) -> Option<E> + Send> Driver<E, F> {
    fn handle(&mut self, input: Input) {
        let now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.session.handle(input, now_ms, &mut self.outputs);
        self.take_outputs();
    }

    fn take_outputs(&mut self) {
        for output in self.outputs.drain(..) {
            match output {
                Output::Ended(reason) => {
                    self.ended = Some(reason);
                    continue;
                }
                Output::Answer { .. } | Output::NoAnswer { .. } | Output::Unsent { .. } => {
                    self.handed_over.fetch_sub(1, Ordering::Relaxed);
                }
                _ => {}
            }
            if let Some(event) = (self.event_of)(output) {
                self.pending.push_back(event);
            }
        }
    }

    fn offer_events(&mut self) {
        while let Some(event) = self.pending.pop_front() {
            match self.events.try_send(event) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(event)) => {
                    self.pending.push_front(event);
                    return;
                }
                Err(mpsc::error::TrySendError::Closed(_)) => self.pending.clear(),
            }
        }
    }

    fn read_done(&mut self, read: std::io::Result<usize>) {
        let octets = match read {
            Ok(0) | Err(_) => return self.handle(Input::Disconnected),
            Ok(octets) => octets,
        };
        if self.connection.is_server && !self.session.is_bound() {
            self.before_bind += octets;
            if self.before_bind > INPUT_BEFORE_BIND_OCTETS_MAX {
                self.session.abort(EndReason::InputBeforeBind, &mut self.outputs);
                return self.take_outputs();
            }
        }
        while self.ended.is_none() {
            match codec::frame_length(&self.input) {
                Ok(Some(length)) if self.input.len() >= length => {
                    let pdu = codec::decode(&self.input[..length]);
                    self.input.advance(length);
                    self.handle(Input::Received(pdu));
                }
                Ok(_) => return,
                Err(codec::InvalidLength(length)) => self.handle(Input::LostPosition(length)),
            }
        }
    }

    /// Reads without waiting, so that an answer lying in the socket counts before a time-out does.
    async fn read_what_is_there<S: AsyncRead>(&mut self, reader: &mut ReadHalf<S>) {
        for _ in 0..READS_BEFORE_TICK {
            if self.ended.is_some() {
                return;
            }
            self.input.reserve(READ_OCTETS);
            let read = tokio::select! {
                biased;
                read = reader.read_buf(&mut self.input) => read,
                () = ready(()) => return,
            };
            self.read_done(read);
        }
    }

    /// The peer may have answered before it went: what lies in the socket is read before the end.
    async fn write_failed<S: AsyncRead>(&mut self, reader: &mut ReadHalf<S>) {
        if self.connection.failed_write_may_have_sent {
            let offered = self.session.outgoing().len();
            self.handle(Input::Written(offered));
        }
        self.read_what_is_there(reader).await;
        self.handle(Input::Disconnected);
    }

    /// Takes no more requests; those still in the channel were never sent.
    async fn close_requests(&mut self, requests: &mut mpsc::Receiver<(u64, Request)>) {
        requests.close();
        while let Some((tag, _)) = requests.recv().await {
            self.outputs.push(Output::Unsent { tag, why: WhyUnsent::SessionEnded });
        }
        self.take_outputs();
    }

    async fn finish<S: AsyncRead + AsyncWrite>(
        mut self,
        mut requests: mpsc::Receiver<(u64, Request)>,
        mut reader: ReadHalf<S>,
        mut writer: WriteHalf<S>,
    ) {
        self.close_requests(&mut requests).await;
        let reason = self.ended.unwrap_or(EndReason::Disconnected);
        if let Some(event) = (self.event_of)(Output::Ended(reason)) {
            self.pending.push_back(event);
        }
        let last_words = self.session.outgoing();
        let says_farewell = !last_words.is_empty() || reason == EndReason::Stopped;
        let farewell = async move {
            if says_farewell {
                let _ = timeout(FAREWELL, async {
                    writer.write_all(last_words).await?;
                    writer.shutdown().await
                })
                .await;
                // Closing with unread input would reset the connection, and the peer might lose our words.
                let mut bin = [0; 4096];
                let _ = timeout(FAREWELL, async { while let Ok(1..) = reader.read(&mut bin).await {} }).await;
            }
            drop((reader, writer));
        };
        let events = &self.events;
        let pending = std::mem::take(&mut self.pending);
        let report = async move {
            for event in pending {
                if events.send(event).await.is_err() {
                    break;
                }
            }
        };
        tokio::join!(farewell, report);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::DuplexStream;
    use tokio::time::advance;

    use super::*;
    use crate::codec::{Bind, BindMode, Body, Pdu, SubmitSm};
    use crate::session::{Limits, Role};
    use std::sync::atomic::AtomicBool;

    fn connection() -> Connection {
        Connection { failed_write_may_have_sent: false, is_server: false, permission: Permission::always() }
    }

    /// A client's driver on a pipe that holds `pipe_octets`, bound, with room for one event.
    async fn bound(pipe_octets: usize) -> (DuplexStream, Sender, mpsc::Receiver<Output>) {
        let (ours, mut peer) = tokio::io::duplex(pipe_octets);
        let (events_in, events) = mpsc::channel(1);
        let limits = Limits::default();
        let (ends, wires) = wires(limits.window_max, limits.unanswered_max, events_in);
        let session = Session::new(Role::Client(Bind::new(BindMode::Transmitter, "me", "pw")), limits);
        let connection = connection();
        tokio::spawn(run(ours, session, wires, connection, Some));
        assert!(matches!(read_pdu(&mut peer).await.body, Body::Bind(_)));
        let body = Body::BindResp { mode: BindMode::Transmitter, system_id: String::new(), tlvs: Vec::new() };
        write_pdu(&mut peer, 1, body).await;
        (peer, ends.sender, events)
    }

    async fn read_pdu(peer: &mut DuplexStream) -> Pdu {
        let mut octets = vec![0; 4];
        peer.read_exact(&mut octets).await.unwrap();
        let length = codec::frame_length(&octets).unwrap().unwrap();
        octets.resize(length, 0);
        peer.read_exact(&mut octets[4..]).await.unwrap();
        codec::decode(&octets).unwrap()
    }

    async fn write_pdu(peer: &mut DuplexStream, sequence: u32, body: Body) {
        let mut octets = BytesMut::new();
        codec::encode(&Pdu { status: 0, sequence, body }, &mut octets).unwrap();
        peer.write_all(&octets).await.unwrap();
    }

    fn accepted(id: &str) -> Body {
        Body::SubmitSmResp { message_id: id.into() }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_lying_unread_while_the_owner_is_slow_is_not_a_missing_one() {
        let (mut peer, sender, mut events) = bound(4096).await;
        for tag in 0..2 {
            sender.send(tag, Request::Submit(SubmitSm::default())).await.unwrap();
        }
        for sequence in [2, 3] {
            assert_eq!(read_pdu(&mut peer).await.sequence, sequence);
            write_pdu(&mut peer, sequence, accepted("id")).await;
            // Lets the driver read the first answer, for which the owner has no room, before the second.
            advance(Duration::from_millis(1)).await;
        }
        advance(Duration::from_secs(3_600)).await;
        assert!(matches!(events.recv().await, Some(Output::Bound { .. })));
        for expected in 0..2 {
            let event = events.recv().await;
            assert!(matches!(event, Some(Output::Answer { tag, .. }) if tag == expected), "{event:?}");
        }
    }

    /// P-09: of `n` submissions a connection takes `k`, and perhaps a part of the next, before it breaks.
    #[tokio::test(start_paused = true)]
    async fn what_a_stuck_connection_never_took_is_unsent() {
        const N: u64 = 50;
        let octets = {
            let mut out = BytesMut::new();
            let body = Body::SubmitSm(SubmitSm::default());
            codec::encode(&Pdu { status: 0, sequence: 1, body }, &mut out).unwrap();
            out.len()
        };
        for k in 0..=N {
            for part in [0, 1, octets - 1] {
                // Room for `k` whole submits and a part of one. What it has no room for is lost with it.
                let room = octets * usize::try_from(k).unwrap() + part;
                let (ours, mut peer) = tokio::io::duplex(room.max(1));
                let (events_in, mut events) = mpsc::channel(1);
                let limits = Limits { window_max: 50, ..Limits::default() };
                let (ends, wires) = wires(limits.window_max, limits.unanswered_max, events_in);
                let session =
                    Session::new(Role::Client(Bind::new(BindMode::Transmitter, "me", "pw")), limits);
                let connection = connection();
                tokio::spawn(run(ours, session, wires, connection, Some));
                assert!(matches!(read_pdu(&mut peer).await.body, Body::Bind(_)));
                let body = Body::BindResp {
                    mode: BindMode::Transmitter,
                    system_id: String::new(),
                    tlvs: Vec::new(),
                };
                write_pdu(&mut peer, 1, body).await;
                assert!(matches!(events.recv().await, Some(Output::Bound { .. })));
                for tag in 0..N {
                    ends.sender.send(tag, Request::Submit(SubmitSm::default())).await.unwrap();
                }
                advance(Duration::from_millis(1)).await;
                drop(peer);
                let (mut in_doubt, mut unsent) = (Vec::new(), Vec::new());
                while let Some(event) = events.recv().await {
                    match event {
                        Output::NoAnswer { tag } => in_doubt.push(tag),
                        Output::Unsent { tag, .. } => unsent.push(tag),
                        Output::Ended(reason) => assert_eq!(reason, EndReason::Disconnected),
                        other => panic!("{other:?}"),
                    }
                }
                assert_eq!(in_doubt, (0..k).collect::<Vec<_>>(), "{k} and {part} octets");
                assert_eq!(unsent, (k..N).collect::<Vec<_>>(), "{k} and {part} octets");
                assert_eq!(ends.sender.window_free(), limits.window_max);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_floods_and_never_reads_is_given_up_and_fills_no_memory() {
        let (mut peer, sender, mut events) = bound(4096).await;
        assert!(matches!(events.recv().await, Some(Output::Bound { .. })));
        sender.send(7, Request::Submit(SubmitSm::default())).await.unwrap();
        let mut enquiries = BytesMut::new();
        for sequence in 0..10_000 {
            let enquiry = Pdu { status: 0, sequence, body: Body::EnquireLink };
            codec::encode(&enquiry, &mut enquiries).unwrap();
        }
        // What is taken from the peer stops growing when the answers that it does not read have filled their place.
        let mut taken = 0;
        while let Ok(octets) = peer.write(&enquiries).await {
            taken += octets;
        }
        assert!(taken > OUTGOING_OCTETS_MAX / 2 && taken < OUTGOING_OCTETS_MAX * 2, "{taken}");
        let submit = events.recv().await;
        assert!(
            matches!(submit, Some(Output::NoAnswer { tag: 7 } | Output::Unsent { tag: 7, .. })),
            "{submit:?}"
        );
        assert!(matches!(events.recv().await, Some(Output::Ended(EndReason::Unresponsive))));
    }

    /// What waits for the socket when the permission ends is not written when there is room.
    #[tokio::test(start_paused = true)]
    async fn nothing_is_written_once_the_permission_has_ended() {
        let (ours, mut peer) = tokio::io::duplex(64);
        let (events_in, mut events) = mpsc::channel(64);
        let limits = Limits::default();
        let (ends, wires) = wires(limits.window_max, limits.unanswered_max, events_in);
        let session = Session::new(Role::Client(Bind::new(BindMode::Transmitter, "me", "pw")), limits);
        let may_send = Arc::new(AtomicBool::new(true));
        let asked = Arc::clone(&may_send);
        let permission = Permission::new(move || asked.load(Ordering::SeqCst));
        tokio::spawn(run(ours, session, wires, Connection { permission, ..connection() }, Some));
        assert!(matches!(read_pdu(&mut peer).await.body, Body::Bind(_)));
        let body = Body::BindResp { mode: BindMode::Transmitter, system_id: String::new(), tlvs: Vec::new() };
        write_pdu(&mut peer, 1, body).await;
        assert!(matches!(events.recv().await, Some(Output::Bound { .. })));
        for tag in 0..5 {
            ends.sender.send(tag, Request::Submit(SubmitSm::default())).await.unwrap();
        }
        // The first is in the pipe, and of the next what still fits.
        advance(Duration::from_millis(1)).await;
        may_send.store(false, Ordering::SeqCst);
        assert!(matches!(read_pdu(&mut peer).await.body, Body::SubmitSm(_)));
        let mut rest = Vec::new();
        peer.read_to_end(&mut rest).await.unwrap();
        assert!(codec::frame_length(&rest).unwrap().is_none_or(|length| length > rest.len()), "{rest:?}");
        let mut seen = Vec::new();
        while let Some(event) = events.recv().await {
            seen.push(event);
        }
        assert!(
            matches!(
                seen[..],
                [
                    Output::Unsent { tag: 1, .. },
                    Output::Unsent { tag: 2, .. },
                    Output::Unsent { tag: 3, .. },
                    Output::Unsent { tag: 4, .. },
                    Output::NoAnswer { tag: 0 },
                    Output::Ended(_),
                ]
            ),
            "{seen:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_handle_ends_the_session_orderly() {
        let (mut peer, sender, mut events) = bound(4096).await;
        assert!(matches!(events.recv().await, Some(Output::Bound { .. })));
        sender.send(7, Request::Submit(SubmitSm::default())).await.unwrap();
        drop(sender);
        assert!(matches!(read_pdu(&mut peer).await.body, Body::SubmitSm(_)));
        write_pdu(&mut peer, 2, accepted("id")).await;
        assert!(matches!(read_pdu(&mut peer).await.body, Body::Unbind));
        write_pdu(&mut peer, 3, Body::UnbindResp).await;
        assert!(matches!(events.recv().await, Some(Output::Answer { tag: 7, .. })));
        assert!(matches!(events.recv().await, Some(Output::Ended(EndReason::Stopped))));
    }
}
