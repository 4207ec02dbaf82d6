//! Serves a router on a listener: HTTP/1.1 with limits that hold against slow, many and ambiguous clients.
//!
//! `axum::serve` sets no time for headers and no bound for connections. Here every wait for a client has an end: for
//! the next request, for its head, and for the client to take its answer (bodies: see `ask`). The number of
//! connections is bounded. When all places are taken, the connection that has waited for its client the longest gives
//! way to a new one; when none waits, because all are being worked for, the new one is told so with a 503 instead of
//! being left in the listener's backlog. So a thousand clients that send nothing keep nobody out.
//!
//! HTTP/2 is not spoken: it would add streams, resets and header tables to bound, and programs gain little from it here.

mod framing;
mod stream;

use crate::problem::Problem;
use crate::router::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, header};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;
use stream::Patient;
use tidings_wire::error::Code;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tower::ServiceExt as _;

/// Connections at once. Each costs some 20 KiB.
const CONNECTIONS_MAX: usize = 4096;
/// Connections beyond these that are being told so; more are closed without a word.
const REFUSALS_MAX: usize = 64;
/// How long such a one has to ask before it is closed all the same.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);
/// What it is told to wait: seconds.
const REFUSAL_RETRY_S: u32 = 1;
/// How long a connection may stay without beginning a request. Clients keep idle connections for up to a minute, and
/// should be the ones to close them. With it ends the time for a head, too.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// Headers of a request: octets, with the request line. What came with the same read may be as much again.
const HEADERS_MAX: usize = 32 * 1024;
/// How long open requests may take after a stop was asked for.
const GRACE: Duration = Duration::from_secs(15);
/// How long a connection that waits for its client may take after a stop was asked for: to take an answer that is
/// under way, and for a head that is half here.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long accepting rests when the system has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who answers requests.
pub trait Serve: Clone + Send + Sync + 'static {
    /// Answers a request that came from there.
    fn answer(&self, from: SocketAddr, request: Request<Body>)
    -> impl Future<Output = Response<Body>> + Send;
}

impl Serve for Router {
    async fn answer(&self, from: SocketAddr, request: Request<Body>) -> Response<Body> {
        Router::answer(self, from.ip(), request).await
    }
}

impl Serve for axum::Router {
    async fn answer(&self, _: SocketAddr, request: Request<Body>) -> Response<Body> {
        let Ok(response) = self.clone().oneshot(request).await;
        response
    }
}

/// Serves until `shutdown` ends, and then until the open requests are answered (at most 15 seconds).
pub async fn serve(listener: TcpListener, answerer: impl Serve, shutdown: impl Future<Output = ()> + Send) {
    serve_at_most(CONNECTIONS_MAX, listener, answerer, shutdown).await;
}

async fn serve_at_most(
    most: usize,
    listener: TcpListener,
    answerer: impl Serve,
    shutdown: impl Future<Output = ()> + Send,
) {
    let (places, refusals) = (Arc::new(Semaphore::new(most)), Arc::new(Semaphore::new(REFUSALS_MAX)));
    let line = Arc::new(Line::default());
    let (stop, stopped) = watch::channel(false);
    let mut shutdown = pin!(shutdown);
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            () = &mut shutdown => break,
        };
        let Some(place) = place(&places, &line).await else {
            if let Ok(turn) = Arc::clone(&refusals).try_acquire_owned() {
                tokio::spawn(refuse(stream, turn));
            }
            continue;
        };
        let (answerer, stopped, seat) = (answerer.clone(), stopped.clone(), Seat::take(&line));
        tokio::spawn(async move {
            connection(stream, peer, &answerer, &seat, stopped).await;
            drop(place);
        });
    }
    drop(listener);
    stop.send_replace(true);
    let all = u32::try_from(most).expect("it is small");
    if tokio::time::timeout(GRACE, places.acquire_many(all)).await.is_err() {
        tracing::warn!("some requests were not answered before the stop");
    }
}

/// A place: a free one, or that of the connection that has waited longest. `None` if all are being worked for.
async fn place(places: &Arc<Semaphore>, line: &Line) -> Option<OwnedSemaphorePermit> {
    if let Ok(place) = Arc::clone(places).try_acquire_owned() {
        return Some(place);
    }
    if !line.first_gives_way() {
        tracing::warn!("a connection was refused: every place is taken by a request that is being served");
        return None;
    }
    Some(Arc::clone(places).acquire_owned().await.expect("nobody closes it"))
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    answerer: &impl Serve,
    seat: &Arc<Seat>,
    mut stopped: watch::Receiver<bool>,
) {
    // An answer is one small write, and must not wait for the acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request: Request<Incoming>| {
        let (parts, body) = request.into_parts();
        let body = Watched::new(body, Arc::clone(seat));
        async move {
            if body.too_late {
                return std::future::pending().await;
            }
            let answer = answerer.answer(peer, Request::from_parts(parts, Body::new(body))).await;
            seat.waits();
            Ok::<_, Infallible>(answer)
        }
    });
    let mut serving = pin!(builder().serve_connection(TokioIo::new(Patient::new(stream)), service));
    let ended = tokio::select! {
        biased;
        () = seat.give_way.notified() => {
            tracing::debug!("a connection that waited for its client gave its place to another");
            return;
        }
        ended = serving.as_mut() => ended,
        // What `wait_for` gives is a lock, which must not be held while the rest is awaited.
        () = async { drop(stopped.wait_for(|stopped| *stopped).await) } => {
            serving.as_mut().graceful_shutdown();
            loop {
                tokio::select! {
                    ended = serving.as_mut() => break ended,
                    () = tokio::time::sleep(FAREWELL), if seat.is_waiting() => return,
                    () = seat.turned.notified() => {}
                }
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// How HTTP is spoken here. A request may have a hundred headers, which is hyper's own bound: to say another one, or the
/// same, makes each request dearer.
fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT)
        .max_buf_size(HEADERS_MAX)
        .keep_alive(true);
    builder
}

/// Tells one that finds no place.
async fn refuse(stream: TcpStream, turn: OwnedSemaphorePermit) {
    let service = service_fn(|_: Request<Incoming>| async {
        let problem = Problem {
            retry_after_s: Some(REFUSAL_RETRY_S),
            ..Problem::new(Code::Unavailable, "The server has as many connections as it can serve.")
        };
        let mut answer: Response<Body> = problem.response("");
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        Ok::<_, Infallible>(answer)
    });
    let serving = builder().keep_alive(false).serve_connection(TokioIo::new(Patient::new(stream)), service);
    let _ = tokio::time::timeout(REFUSAL_TIMEOUT, serving).await;
    drop(turn);
}

/// The connections that wait for their client, in the order in which they began to. No longer than there are places.
#[derive(Default)]
struct Line(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    next: u64,
    seats: BTreeMap<u64, Arc<Notify>>,
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().expect("nothing panics while it holds this")
    }

    /// Asks the one that has waited longest to give its place away; `false` if none waits.
    fn first_gives_way(&self) -> bool {
        let first = self.lock().seats.pop_first();
        first.is_some_and(|(_, give_way)| {
            give_way.notify_one();
            true
        })
    }
}

/// A connection's place in the line. It stands in the line whenever the next step is its client's: to send the rest
/// of a request, to take an answer, or to ask again.
struct Seat {
    line: Arc<Line>,
    number: Mutex<Option<u64>>,
    give_way: Arc<Notify>,
    /// It began to wait, or ceased to.
    turned: Notify,
}

impl Seat {
    fn take(line: &Arc<Line>) -> Arc<Self> {
        let seat = Arc::new(Self {
            line: Arc::clone(line),
            number: Mutex::new(None),
            give_way: Arc::new(Notify::new()),
            turned: Notify::new(),
        });
        seat.waits();
        seat
    }

    fn number(&self) -> MutexGuard<'_, Option<u64>> {
        self.number.lock().expect("nothing panics while it holds this")
    }

    fn waits(&self) {
        let mut number = self.number();
        if number.is_none() {
            let mut line = self.line.lock();
            line.next += 1;
            let next = line.next;
            line.seats.insert(next, Arc::clone(&self.give_way));
            *number = Some(next);
            self.turned.notify_one();
        }
    }

    /// The next step is ours; `false` if the place was given away just before, so that there is none.
    fn works(&self) -> bool {
        let Some(number) = self.number().take() else { return true };
        self.turned.notify_one();
        self.line.lock().seats.remove(&number).is_some()
    }

    fn is_waiting(&self) -> bool {
        self.number().is_some()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.works();
    }
}

/// A body that tells the seat when it has come whole: from then on it is our turn.
struct Watched {
    body: Incoming,
    seat: Arc<Seat>,
    /// The place was given away: nothing may begin that the client would never hear of.
    too_late: bool,
}

impl Watched {
    fn new(body: Incoming, seat: Arc<Seat>) -> Self {
        let too_late = body.is_end_stream() && !seat.works();
        Self { body, seat, too_late }
    }
}

impl hyper::body::Body for Watched {
    type Data = bytes::Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(None)) || self.body.is_end_stream() {
            self.too_late |= !self.seat.works();
        }
        // The connection is about to be dropped, and this with it.
        if self.too_late { Poll::Pending } else { polled }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;

    /// A server of few connections: `/` answers, `/echo` gives the body back, `/wait` answers when it is told to, and
    /// `/large` has an answer that no socket holds.
    struct House {
        address: SocketAddr,
        /// One permit for each request that waits.
        begun: Arc<Semaphore>,
        go_on: Arc<Notify>,
        stop: oneshot::Sender<()>,
        server: JoinHandle<()>,
    }

    async fn house(most: usize) -> House {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (begun, go_on) = (Arc::new(Semaphore::new(0)), Arc::new(Notify::new()));
        let (tell, waiting) = (Arc::clone(&begun), Arc::clone(&go_on));
        let router = axum::Router::new()
            .route("/", get(async || "here"))
            .route("/echo", post(async |body: bytes::Bytes| body))
            .route("/large", get(async || vec![b'x'; 64 * 1024 * 1024]))
            .route(
                "/wait",
                get(async move || {
                    let waiting = waiting.notified();
                    tell.add_permits(1);
                    waiting.await;
                    "waited"
                }),
            );
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(serve_at_most(most, listener, router, async { drop(stopped.await) }));
        House { address, begun, go_on, stop, server }
    }

    impl House {
        /// A connection that has sent these octets.
        async fn sent(&self, octets: &str) -> TcpStream {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            stream.write_all(octets.as_bytes()).await.unwrap();
            stream
        }

        /// What is answered to these octets until the end.
        async fn answer(&self, octets: &str) -> String {
            rest(self.sent(octets).await).await
        }

        async fn close(self) {
            drop(self.stop);
            self.server.await.unwrap();
        }
    }

    async fn rest(mut stream: TcpStream) -> String {
        let (mut all, mut piece) = (Vec::new(), vec![0; 65_536]);
        while let Ok(octets @ 1..) = stream.read(&mut piece).await {
            all.extend_from_slice(&piece[..octets]);
        }
        String::from_utf8(all).unwrap()
    }

    /// Reads one answer whose body is `end`.
    async fn one(stream: &mut TcpStream, end: &str) -> String {
        let mut all = String::new();
        while !all.ends_with(end) {
            let mut piece = [0; 1024];
            let octets = stream.read(&mut piece).await.unwrap();
            assert!(octets > 0, "it ended after {all:?}");
            all.push_str(std::str::from_utf8(&piece[..octets]).unwrap());
        }
        all
    }

    fn status(answer: &str) -> &str {
        answer.split(' ').nth(1).unwrap_or("none")
    }

    const LAST: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    const WAIT: &str = "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n";

    #[tokio::test]
    async fn what_can_be_read_in_two_ways_is_refused_and_nothing_behind_it_is_read() {
        let house = house(9).await;
        for (request, expected) in [
            ("GET / HTTP/1.1\nHost: a\r\n\r\n", "400"),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n", "400"),
            ("GET / HTTP/1.1\r\nHost: a\r\n\n", "400"),
            (
                "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                "400",
            ),
            (
                "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
                "400",
            ),
            ("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", "400"),
            ("POST /echo HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"),
            ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "400"),
            ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", "400"),
            ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", "400"),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", "400"),
            ("GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n", "400"),
            ("nonsense\r\n\r\n", "400"),
            ("\u{16}\u{3}\u{1}\u{2}", "400"),
        ] {
            let answer = house.answer(&format!("{request}{LAST}")).await;
            assert_eq!(
                (status(&answer), answer.contains("here")),
                (expected, false),
                "{request:?} -> {answer}"
            );
        }
        // HTTP/2 is not spoken, neither at once nor by changing over.
        let answer = house.answer("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        assert!(!answer.contains("200"), "{answer}");
        let upgrade = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
        assert_eq!(status(&house.answer(&format!("{upgrade}{LAST}")).await), "200");
        house.close().await;
    }

    #[tokio::test]
    async fn requests_upon_one_another_are_cut_where_the_parser_cuts_them() {
        let house = house(9).await;
        let bodies = ["\n\n", "a\r\n\r\n", "", "GET / HTTP/1.1\n\n", "\0\r"];
        let mut stream = String::new();
        for body in bodies {
            let length = body.len();
            stream += &format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}");
            let chunk =
                if body.is_empty() { String::new() } else { format!("{length:X};x=\"7\"\r\n{body}\r\n") };
            stream += &format!(
                "\r\nPOST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}0;y\r\nTrailer: 1\r\n\r\n"
            );
        }
        let answer = house.answer(&format!("{stream}{LAST}")).await;
        assert_eq!(answer.matches("HTTP/1.1 200").count(), 2 * bodies.len() + 1, "{answer}");
        for body in bodies {
            assert!(answer.matches(body).count() >= 2);
        }
        house.close().await;
    }

    #[tokio::test]
    async fn a_head_that_is_too_large_is_refused() {
        let house = house(9).await;
        let many = "A: b\r\n".repeat(100);
        let long = "x".repeat(2 * HEADERS_MAX);
        for (head, expected) in [
            (format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"), "431"),
            (format!("GET / HTTP/1.1\r\nHost: a\r\nA: {long}\r\n\r\n"), "431"),
            (format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), "431"),
        ] {
            // The rest of what was sent is not read, so the end may be a reset.
            assert_eq!(status(&house.answer(&head).await), expected, "{head:.60}");
        }
        house.close().await;
    }

    #[tokio::test]
    async fn a_new_client_takes_the_place_of_the_one_that_waited_longest() {
        let house = house(3).await;
        let silent = house.sent("").await;
        let halfway = house.sent("GET / HTTP/1.1\r\nHo").await;
        let mut idle = house.sent("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(status(&one(&mut idle, "here").await), "200");
        // The places are taken: each new one shows one of the waiting the door, in their order.
        assert_eq!(status(&house.answer(LAST).await), "200");
        assert_eq!(rest(silent).await, "");
        let fourth = house.sent("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf").await;
        let fifth = house.sent("").await;
        assert_eq!(rest(halfway).await, "");
        assert_eq!(status(&house.answer(LAST).await), "200");
        assert_eq!(rest(idle).await, "");
        drop((fourth, fifth));
        house.close().await;
    }

    #[tokio::test]
    async fn when_every_place_is_worked_for_a_new_client_is_told_so() {
        let house = house(2).await;
        let (mut first, second) = (house.sent(WAIT).await, house.sent(WAIT).await);
        house.begun.acquire_many(2).await.unwrap().forget();
        let refused = house.answer(LAST).await;
        assert_eq!(status(&refused), "503", "{refused}");
        assert!(refused.to_lowercase().contains("retry-after: 1\r\n"), "{refused}");
        assert!(refused.to_lowercase().contains("connection: close\r\n"), "{refused}");
        assert!(refused.contains("\"code\":\"UNAVAILABLE\""), "{refused}");
        house.go_on.notify_waiters();
        assert_eq!(status(&one(&mut first, "waited").await), "200");
        drop(second);
        assert_eq!(status(&house.answer(LAST).await), "200");
        house.close().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_is_too_slow_is_left() {
        let house = house(9).await;
        for begun in ["", "\r\n", "G", "GET / HTTP/1.1\r\nHost: a\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"] {
            let answer = house.answer(begun).await;
            assert_eq!(answer.contains("here"), begun.ends_with("\r\n\r\n"), "{begun:?} -> {answer}");
        }
        // Who takes nothing of an answer is left as well: of its 64 MiB only what the sockets held has come.
        let deaf = house.sent("GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await;
        tokio::time::sleep(stream::TAKE_TIMEOUT + IDLE_TIMEOUT).await;
        assert!(rest(deaf).await.len() < 64 * 1024 * 1024);
        house.close().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_waits_for_requests_and_not_for_clients() {
        let house = house(9).await;
        let (silent, halfway) = (house.sent("").await, house.sent("GET / HT").await);
        let mut served = house.sent(WAIT).await;
        let mut idle = house.sent("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        one(&mut idle, "here").await;
        house.begun.acquire().await.unwrap().forget();
        drop(house.stop);
        assert_eq!(rest(silent).await + &rest(halfway).await + &rest(idle).await, "");
        house.go_on.notify_one();
        assert_eq!(status(&one(&mut served, "waited").await), "200");
        house.server.await.unwrap();
    }
}
