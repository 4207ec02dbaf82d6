//! One connection to one checked address: opened here, watched byte by byte, closed when dropped.
//!
//! The only place of the project that opens a TCP connection for HTTP. The address it connects to is the value that
//! the policy was asked about, not a name that somebody could resolve again.
//!
//! A [`Ledger`] lies between hyper and the socket. It answers the one question a sender of messages must not guess
//! at: can the peer have seen any of this request? The answer is taken and the wire is shut in one step, so that no
//! byte follows after "no".
//!
//! It doesn't choose which connection to use: see `pool.rs`.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use crate::client::{Phase, SendError, TlsProblem};
use crate::policy::Policy;
use crate::resolver::Resolver;
use crate::target::{Host, Origin, RefusedTarget, Scheme};

/// Addresses of one name that are tried, in the resolver's order. All are judged; more are not worth the time.
const ADDRESSES_TRIED_MAX: usize = 4;
/// Most bytes of a response's head, and of body bytes read ahead. hyper's least is 8 KiB.
const READ_BUFFER_BYTES_MAX: usize = 32 * 1024;

/// What opening a connection needs besides where to.
pub(crate) struct Connector {
    pub(crate) policy: Policy,
    pub(crate) resolver: Arc<dyn Resolver>,
    pub(crate) tls: TlsConnector,
}

/// An open connection on which one request at a time can be made. Dropping it closes it.
///
/// hyper's half that reads and writes has no task of its own: it runs inside [`drive`], with whoever waits
/// for it, which saves two changes of task for each request. A kept connection is not watched meanwhile; the ledger
/// looks at the socket before the first byte of a request.
pub(crate) struct Connection {
    pub(crate) sender: http1::SendRequest<Full<Bytes>>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) opened_at: Instant,
    pub(crate) wire: WireHalf,
}

/// hyper's half that reads and writes, until it has ended.
pub(crate) struct WireHalf(Option<Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>>);

impl WireHalf {
    fn poll(&mut self, context: &mut Context<'_>) {
        // What goes wrong there is told to the request it went wrong for.
        if self.0.as_mut().is_some_and(|wire| wire.as_mut().poll(context).is_ready()) {
            self.0 = None;
        }
    }
}

/// Does `work`, which waits for this wire, while the wire is served.
pub(crate) async fn drive<T>(wire: &mut WireHalf, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(done);
        }
        // What the work has just asked for is written, and what has come is given to it, without another wake-up.
        wire.poll(context);
        work.as_mut().poll(context)
    })
    .await
}

impl Connector {
    /// Resolves, judges, connects and shakes hands, until `deadline`.
    pub(crate) async fn open(&self, origin: &Origin, deadline: Instant) -> Result<Connection, SendError> {
        let addresses = self.addresses(&origin.host, deadline).await?;
        let stream = connect(&addresses, origin.port, deadline).await?;
        // A request is one small write that should leave at once.
        stream.set_nodelay(true).map_err(SendError::Connect)?;
        let ledger = Arc::new(Ledger(AtomicU8::new(OPEN)));
        let wire = Wire { stream, ledger: Arc::clone(&ledger) };
        match origin.scheme {
            Scheme::Http => handshake(wire, ledger).await,
            Scheme::Https => {
                let handshaking = self.tls.connect(server_name(&origin.host)?, wire);
                let secured = timeout_at(deadline, handshaking)
                    .await
                    .map_err(|_| SendError::Timeout { during: Phase::Handshaking })?
                    .map_err(|error| SendError::Tls(TlsProblem::of(&error)))?;
                handshake(secured, ledger).await
            }
        }
    }

    async fn addresses(&self, host: &Host, deadline: Instant) -> Result<Vec<IpAddr>, SendError> {
        let name = match host {
            Host::Address(address) => {
                self.policy.permits_address(*address).map_err(SendError::Refused)?;
                return Ok(vec![*address]);
            }
            Host::Name(name) => name,
        };
        let found = timeout_at(deadline, self.resolver.resolve(name))
            .await
            .map_err(|_| SendError::Timeout { during: Phase::Resolving })?
            .map_err(SendError::Resolve)?;
        if found.is_empty() {
            return Err(SendError::Resolve(io::Error::new(
                io::ErrorKind::NotFound,
                "the name has no address",
            )));
        }
        // One bad address among good ones is how rebinding begins; whoever owns the name can clean it up.
        for address in &found {
            self.policy.permits_address(*address).map_err(|refused| {
                SendError::Refused(match refused {
                    RefusedTarget::Address(reason) => RefusedTarget::ResolvesTo(reason),
                    other => other,
                })
            })?;
        }
        Ok(found)
    }
}

async fn connect(addresses: &[IpAddr], port: u16, deadline: Instant) -> Result<TcpStream, SendError> {
    let tried = &addresses[..addresses.len().min(ADDRESSES_TRIED_MAX)];
    let mut last = SendError::Timeout { during: Phase::Connecting };
    for (place, address) in tried.iter().enumerate() {
        // A fair share of what is left, so that one silent address leaves time for the next.
        let now = Instant::now();
        let left = u32::try_from(tried.len() - place).expect("at most four");
        let until = now + deadline.saturating_duration_since(now) / left;
        match timeout_at(until, TcpStream::connect(SocketAddr::new(*address, port))).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = SendError::Connect(error),
            Err(_) => last = SendError::Timeout { during: Phase::Connecting },
        }
    }
    Err(last)
}

fn server_name(host: &Host) -> Result<ServerName<'static>, SendError> {
    match host {
        Host::Address(address) => Ok(ServerName::from(*address)),
        Host::Name(name) => {
            ServerName::try_from(name.clone()).map_err(|_| SendError::Tls(TlsProblem::WrongName))
        }
    }
}

async fn handshake<S>(stream: S, ledger: Arc<Ledger>) -> Result<Connection, SendError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    // hyper takes a hundred headers unless told otherwise, and to be told costs more. A receiver's answer has about ten.
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(READ_BUFFER_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| SendError::of(error, false))?;
    let wire = WireHalf(Some(Box::pin(connection)));
    Ok(Connection { sender, ledger, opened_at: Instant::now(), wire })
}

/// Whatever is written passes: handshakes, and what TLS says between requests.
const OPEN: u8 = 0;
/// A request is about to be written on a new connection.
const READY: u8 = 1;
/// The same on a kept one: the peer may have closed it meanwhile, so look before the first byte.
const READY_KEPT: u8 = 2;
/// Some of the request may have left.
const WRITTEN: u8 = 3;
/// Nothing of the request has left and nothing will.
const SHUT: u8 = 4;

/// Whether any byte of the current request may have left.
pub(crate) struct Ledger(AtomicU8);

impl Ledger {
    /// A request begins.
    pub(crate) fn begin(&self, kept: bool) {
        self.0.store(if kept { READY_KEPT } else { READY }, Ordering::SeqCst);
    }

    /// The request is over. True if the peer may have seen some of it; if not, it never will.
    pub(crate) fn settle(&self) -> bool {
        let unwritten = |state| matches!(state, READY | READY_KEPT).then_some(SHUT);
        match self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, unwritten) {
            Ok(_) => false,
            Err(state) => state != SHUT,
        }
    }

    /// Called before each write.
    fn before_write(&self, stream: &TcpStream) -> io::Result<()> {
        let before = self.0.load(Ordering::SeqCst);
        let after = match before {
            OPEN | WRITTEN => return Ok(()),
            READY_KEPT if is_stale(stream) => SHUT,
            READY | READY_KEPT => WRITTEN,
            _ => SHUT,
        };
        // Lost only against `settle`, which has shut the wire.
        let entered = self.0.compare_exchange(before, after, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        if entered && after == WRITTEN {
            return Ok(());
        }
        Err(io::ErrorKind::NotConnected.into())
    }
}

/// True if something waits to be read on a kept connection before a request was made: its end, an error, or bytes
/// nobody asked for. Asks the kernel itself, since the runtime may not have heard of it yet.
fn is_stale(stream: &TcpStream) -> bool {
    let mut byte = [std::mem::MaybeUninit::uninit()];
    match SockRef::from(stream).peek(&mut byte) {
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        Ok(_) => true,
    }
}

/// A socket whose writes are entered in a [`Ledger`].
struct Wire {
    stream: TcpStream,
    ledger: Arc<Ledger>,
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.ledger.before_write(&self.stream)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.ledger.before_write(&self.stream)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn after_a_request_was_settled_as_unwritten_no_byte_of_it_can_leave() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (peer, _) = listener.accept().await.unwrap();
        let ledger = Ledger(AtomicU8::new(OPEN));
        assert!(ledger.before_write(&stream).is_ok(), "a handshake passes");
        for kept in [false, true] {
            ledger.begin(kept);
            assert!(!ledger.settle());
            assert!(ledger.before_write(&stream).is_err());
            assert!(!ledger.settle());
            ledger.begin(kept);
            assert!(ledger.before_write(&stream).is_ok());
            assert!(ledger.settle());
        }
        drop(peer);
        ledger.begin(true);
        assert!(ledger.before_write(&stream).is_err(), "the peer has closed it meanwhile");
        assert!(!ledger.settle());
    }
}
