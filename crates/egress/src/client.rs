//! The client: one request, one answer or one error that says what to do next, within one time.
//!
//! A request waits for its turn, takes a kept connection or opens one, is written, and its response is read up to a
//! bound; the total timeout covers all of it. A receiver that drips bytes, never stops sending or redirects into our
//! network gets nothing out of it: the time ends, the reading stops, and a redirect is a response like any other.
//!
//! A kept connection may have been closed by its peer just before it is used. If no byte of the request had left, the
//! request goes out on another connection and the caller never hears of it; if one had, the caller is told so and
//! decides, since the peer may have acted on it.
//!
//! It does not retry anything that may have been received, follow redirects, decode content encodings or keep cookies.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use crate::connection::{Connection, Connector, drive};
use crate::policy::Policy;
use crate::pool::Pool;
use crate::resolver::{Resolver, SystemResolver};
use crate::target::{RefusedTarget, Target};

/// The longest total time a request can be given, whatever it asks for.
const TIMEOUT_MAX: Duration = Duration::from_secs(300);
/// How long a connection whose response is complete may take to be ready for the next. It is at once, unless the
/// receiver answered without reading the request; then the connection is of no more use.
const READY_WITHIN: Duration = Duration::from_secs(1);

/// Headers that govern the connection and not the message. They are ours to set.
const OUR_HEADERS: [HeaderName; 9] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::EXPECT,
    header::TE,
    header::TRAILER,
    header::PROXY_AUTHORIZATION,
];

/// Sends requests under one policy. Cheap to clone; clones share connections and bounds.
///
/// Needs a tokio runtime with IO and time when sending, not when made.
#[derive(Clone)]
pub struct Client {
    parts: Arc<Parts>,
}

struct Parts {
    limits: Limits,
    connector: Connector,
    pool: Arc<Pool>,
}

/// Bounds of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Resolving, connecting and the TLS handshake together.
    pub connect_timeout: Duration,
    /// A whole request, waiting for its turn and reading the body included, unless the request brings its own.
    pub timeout: Duration,
    /// Body bytes of a response that are read; the rest is dropped with its connection.
    pub response_bytes_max: usize,
    /// Requests under way to one receiver (scheme, host, port), and so connections to it; more wait.
    pub requests_per_receiver_max: usize,
    /// Requests under way in all; more wait. Together with `idle_connections_max` the bound on open sockets.
    pub requests_max: usize,
    /// Kept connections that wait for a request, in all. Beyond it a used connection is closed.
    pub idle_connections_max: usize,
    /// How long a kept connection waits for a request.
    pub idle_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            // Standard Webhooks advises receivers to answer, and senders to wait, 15 to 30 seconds.
            timeout: Duration::from_secs(15),
            // An answer is read for the log of attempts; nobody needs more of it.
            response_bytes_max: 64 * 1024,
            // 16 kept connections carried more than 100,000 signed POSTs a second over loopback.
            requests_per_receiver_max: 16,
            // 100 receivers that never answer leave room for 400 requests to others.
            requests_max: 2_000,
            idle_connections_max: 256,
            // Below the 60 seconds after which common load balancers close.
            idle_timeout: Duration::from_secs(30),
        }
    }
}

/// What is asked of a receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `PATCH`
    Patch,
    /// `DELETE`
    Delete,
}

/// A request. `Debug` shows neither header values nor body.
#[derive(Clone)]
pub struct Request {
    /// What is asked.
    pub method: Method,
    /// Of whom.
    pub target: Target,
    /// Headers of the message. Those that govern the connection (`host`, `content-length`, `transfer-encoding`,
    /// `connection`, `expect` …) are ours; the caller's are dropped.
    pub headers: HeaderMap,
    /// The body, sent with its length.
    pub body: Bytes,
    /// The total time, instead of [`Limits::timeout`]; at most 300 s.
    pub timeout: Option<Duration>,
}

impl Request {
    /// A request with no headers of its own and the client's timeout.
    pub fn new(method: Method, target: Target, body: Bytes) -> Self {
        Self { method, target, headers: HeaderMap::new(), body, timeout: None }
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("target", &self.target)
            .field("body_bytes", &self.body.len())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// What the receiver answered, whatever its status: a redirect is an answer too.
#[derive(Clone)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// At most 100 headers, together with the status line at most 32 KiB.
    pub headers: HeaderMap,
    /// At most [`Limits::response_bytes_max`] bytes, in the encoding the receiver chose.
    pub body: Bytes,
    /// True if there was more body than was read.
    pub truncated: bool,
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("body_bytes", &self.body.len())
            .field("truncated", &self.truncated)
            .finish_non_exhaustive()
    }
}

/// Why there is no response. Each variant asks for something else; none shows a URL, header or body.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The policy forbids it. Don't retry soon; tell the owner of the URL. Nothing was connected.
    #[error("{0}")]
    Refused(RefusedTarget),
    /// The name has no address or could not be looked up. Retry later; the name may be misspelt.
    #[error("the host name could not be resolved")]
    Resolve(#[source] io::Error),
    /// No address of the receiver takes connections. Retry later.
    #[error("the receiver does not accept connections")]
    Connect(#[source] io::Error),
    /// No trusted TLS connection. Somebody has to mend a certificate; tell the owner.
    #[error("no trusted TLS connection: {0}")]
    Tls(TlsProblem),
    /// The time was over during this phase. Retry later, unless it may have been received and must not be twice.
    #[error("the time was over while {during}")]
    Timeout {
        /// What was going on.
        during: Phase,
    },
    /// The connection ended before the response did. Retry, unless it may have been received and must not be twice.
    #[error("the connection ended before the response did")]
    Broken {
        /// True if any byte of the request may have reached the receiver.
        written: bool,
        /// What hyper met.
        #[source]
        source: hyper::Error,
    },
    /// The receiver's answer is not HTTP/1.1, or its head is too large. It may have acted; tell the owner.
    #[error("the receiver's answer is not acceptable HTTP/1.1")]
    NotHttp(#[source] hyper::Error),
}

impl SendError {
    /// The stable word for logs, metrics and stored attempts.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Resolve(_) => "resolve",
            Self::Connect(_) => "connect",
            Self::Tls(_) => "tls",
            Self::Timeout { .. } => "timeout",
            Self::Broken { .. } => "broken",
            Self::NotHttp(_) => "not_http",
        }
    }

    /// False only if it is certain that the receiver saw no byte of the request and never will.
    pub fn may_have_been_received(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Resolve(_) | Self::Connect(_) | Self::Tls(_) => false,
            Self::Timeout { during } => *during == Phase::Answering,
            Self::Broken { written, .. } => *written,
            Self::NotHttp(_) => true,
        }
    }

    pub(crate) fn of(source: hyper::Error, written: bool) -> Self {
        if written && source.is_parse() { Self::NotHttp(source) } else { Self::Broken { written, source } }
    }
}

/// What a request is doing, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Waiting until fewer requests are under way.
    Waiting,
    /// Waiting for the resolver.
    Resolving,
    /// Waiting for the receiver to accept the connection.
    Connecting,
    /// In the TLS handshake.
    Handshaking,
    /// Connected; no byte of the request has left.
    Sending,
    /// Some of the request has left; the response isn't complete.
    Answering,
}

impl std::fmt::Display for Phase {
    /// Completes the sentence "the time was over while …".
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Waiting => "waiting for other requests",
            Self::Resolving => "resolving the host name",
            Self::Connecting => "connecting",
            Self::Handshaking => "setting up TLS",
            Self::Sending => "about to send",
            Self::Answering => "waiting for the whole response",
        })
    }
}

/// What was wrong with TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TlsProblem {
    /// Signed by nobody we trust, or an intermediate certificate is missing.
    #[error(
        "the certificate is not signed by a trusted authority, or an intermediate certificate is missing"
    )]
    UnknownIssuer,
    /// For another host.
    #[error("the certificate is for another host")]
    WrongName,
    /// No longer valid.
    #[error("the certificate has expired")]
    Expired,
    /// Not valid yet.
    #[error("the certificate is not valid yet")]
    NotYetValid,
    /// Not usable for another reason: revoked, badly signed, malformed.
    #[error("the certificate is not usable")]
    BadCertificate,
    /// The receiver ended the connection during the handshake.
    #[error("the receiver closed the connection during the handshake")]
    Closed,
    /// No common version or cipher, or the receiver does not speak TLS there.
    #[error("no agreement on TLS; the receiver may not speak it on this port")]
    NoAgreement,
}

impl TlsProblem {
    pub(crate) fn of(error: &io::Error) -> Self {
        use rustls::CertificateError as Bad;
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidCertificate(bad)) => match bad {
                Bad::UnknownIssuer => Self::UnknownIssuer,
                Bad::NotValidForName | Bad::NotValidForNameContext { .. } => Self::WrongName,
                Bad::Expired | Bad::ExpiredContext { .. } => Self::Expired,
                Bad::NotValidYet | Bad::NotValidYetContext { .. } => Self::NotYetValid,
                _ => Self::BadCertificate,
            },
            Some(_) => Self::NoAgreement,
            None => Self::Closed,
        }
    }
}

/// Certificates that can't be read or used as roots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no usable root certificate in PEM form")]
pub struct InvalidCertificates;

/// Reads the certificates of a PEM file, for [`Client::new`].
///
/// # Errors
/// If there is none or one is malformed.
pub fn certificates_from_pem(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, InvalidCertificates> {
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| InvalidCertificates)?;
    if certificates.is_empty() { Err(InvalidCertificates) } else { Ok(certificates) }
}

impl Client {
    /// A client that resolves as the operating system does and trusts the public authorities and `extra_roots`.
    ///
    /// # Errors
    /// If one of `extra_roots` is not a certificate.
    pub fn new(
        policy: Policy,
        limits: Limits,
        extra_roots: &[CertificateDer<'_>],
    ) -> Result<Self, InvalidCertificates> {
        Self::with_resolver(policy, limits, extra_roots, Arc::new(SystemResolver::new()))
    }

    /// [`Client::new`] with another resolver. Its answers are judged like any other.
    ///
    /// # Errors
    /// If one of `extra_roots` is not a certificate.
    pub fn with_resolver(
        policy: Policy,
        limits: Limits,
        extra_roots: &[CertificateDer<'_>],
        resolver: Arc<dyn Resolver>,
    ) -> Result<Self, InvalidCertificates> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        for root in extra_roots {
            roots.add(root.clone().into_owned()).map_err(|_| InvalidCertificates)?;
        }
        // The provider is named here, since the process may have another default or none.
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("aws-lc-rs has the ciphers of TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let connector = Connector { policy, resolver, tls: TlsConnector::from(Arc::new(tls)) };
        let pool = Pool::new(limits.clone());
        Ok(Self { parts: Arc::new(Parts { limits, connector, pool }) })
    }

    /// The policy to parse targets with.
    pub fn policy(&self) -> &Policy {
        &self.parts.connector.policy
    }

    /// Sends `request` once and reads the response. Dropping the future closes its connection.
    ///
    /// # Errors
    /// See [`SendError`]; [`SendError::may_have_been_received`] says whether sending again may be twice.
    pub async fn send(&self, request: Request) -> Result<Response, SendError> {
        let Parts { limits, connector, pool } = &*self.parts;
        let deadline = Instant::now() + request.timeout.unwrap_or(limits.timeout).min(TIMEOUT_MAX);
        let origin = &Arc::clone(request.target.shared_origin());
        origin.check(&connector.policy).map_err(SendError::Refused)?;
        let _turn = timeout_at(deadline, pool.turn(origin))
            .await
            .map_err(|_| SendError::Timeout { during: Phase::Waiting })?;
        let message = Message::new(request);
        // Ends: each round uses up a kept connection, and a new one is the last.
        loop {
            let taken = pool.take(origin);
            let kept = taken.is_some();
            let mut connection = match taken {
                Some(connection) => connection,
                None => connector.open(origin, deadline.min(Instant::now() + limits.connect_timeout)).await?,
            };
            match exchange(&mut connection, kept, &message, limits, deadline).await {
                Ok((response, End::Clean)) => {
                    if is_ready(&mut connection, deadline).await {
                        pool.keep(origin, connection);
                    }
                    return Ok(response);
                }
                Ok((response, End::Open)) => return Ok(response),
                Err(SendError::Broken { written: false, .. }) if kept => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A request in hyper's terms, of which each try gets a copy.
struct Message {
    method: http::Method,
    uri: http::Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Message {
    fn new(request: Request) -> Self {
        let Request { method, target, mut headers, body, .. } = request;
        // Looked for among those few that are there: the caller hardly ever brings one of ours.
        if headers.keys().any(|name| OUR_HEADERS.contains(name)) {
            for ours in &OUR_HEADERS {
                headers.remove(ours);
            }
        }
        headers.insert(header::HOST, target.shared_origin().host_header.clone());
        let (method, has_body) = match method {
            Method::Get => (http::Method::GET, false),
            Method::Head => (http::Method::HEAD, false),
            Method::Post => (http::Method::POST, true),
            Method::Put => (http::Method::PUT, true),
            Method::Patch => (http::Method::PATCH, true),
            Method::Delete => (http::Method::DELETE, false),
        };
        // Said also when it is 0: some receivers answer 411 to a POST without it.
        if has_body || !body.is_empty() {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        Self { method, uri: target.request_uri(), headers, body }
    }

    fn copy(&self) -> http::Request<Full<Bytes>> {
        let mut copy = http::Request::new(Full::new(self.body.clone()));
        *copy.method_mut() = self.method.clone();
        *copy.uri_mut() = self.uri.clone();
        *copy.version_mut() = Version::HTTP_11;
        *copy.headers_mut() = self.headers.clone();
        copy
    }
}

/// How a response left its connection.
enum End {
    /// Read to its last byte.
    Clean,
    /// With more to come, or turned into another protocol.
    Open,
}

async fn exchange(
    connection: &mut Connection,
    kept: bool,
    message: &Message,
    limits: &Limits,
    deadline: Instant,
) -> Result<(Response, End), SendError> {
    connection.ledger.begin(kept);
    let request = message.copy();
    let Connection { sender, wire, .. } = connection;
    let exchanging = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let (body, truncated) = read(body, limits.response_bytes_max).await?;
        let end =
            if truncated || head.status == StatusCode::SWITCHING_PROTOCOLS { End::Open } else { End::Clean };
        Ok((Response { status: head.status, headers: head.headers, body, truncated }, end))
    };
    match timeout_at(deadline, drive(wire, exchanging)).await {
        Ok(Ok(answered)) => Ok(answered),
        Ok(Err(error)) => Err(SendError::of(error, connection.ledger.settle())),
        Err(_) => {
            let during = if connection.ledger.settle() { Phase::Answering } else { Phase::Sending };
            Err(SendError::Timeout { during })
        }
    }
}

/// Reads at most `bytes_max` bytes; true if there were more.
async fn read(mut body: Incoming, bytes_max: usize) -> Result<(Bytes, bool), hyper::Error> {
    let mut read = Vec::new();
    while !body.is_end_stream() {
        let Some(frame) = body.frame().await else { break };
        let Ok(data) = frame?.into_data() else { continue };
        let room = bytes_max - read.len();
        // Copied, since hyper's piece would keep its whole read buffer alive.
        read.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            return Ok((read.into(), true));
        }
    }
    Ok((read.into(), false))
}

async fn is_ready(connection: &mut Connection, deadline: Instant) -> bool {
    let until = deadline.min(Instant::now() + READY_WITHIN);
    if connection.sender.is_ready() {
        return true;
    }
    let Connection { sender, wire, .. } = connection;
    matches!(timeout_at(until, drive(wire, sender.ready())).await, Ok(Ok(())))
}
