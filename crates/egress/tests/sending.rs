//! What a caller can rely on, tried against real receivers on loopback: well-behaved, slow, endless, broken and
//! hostile ones. The receivers are scripts over raw sockets, so that they can do what no HTTP server would.
//!
//! It does not measure; see the ignored test at the end for a number.

#![allow(clippy::unwrap_used, reason = "the helpers of a test are tests too")]

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tidings_egress::{
    Bytes, Client, HeaderValue, Limits, Method, Phase, Policy, Request, Response, SendError, StatusCode,
    Target, TlsProblem, certificates_from_pem,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn client() -> Client {
    client_with(Limits::default())
}

fn client_with(limits: Limits) -> Client {
    Client::new(Policy::development(), limits, &[]).unwrap()
}

fn request(url: &str) -> Request {
    let target = Target::parse(url, &Policy::development()).unwrap();
    Request::new(Method::Post, target, Bytes::from_static(b"{\"id\":1}"))
}

fn to(address: SocketAddr) -> Request {
    request(&format!("http://{address}/hook?x=1"))
}

/// Short, for receivers that never finish; long enough for one that does on a busy machine.
fn briefly(mut request: Request) -> Request {
    request.timeout = Some(Duration::from_millis(300));
    request
}

/// A receiver that runs `script` on each connection; the counter says how many there were.
async fn receiver<F, Fut>(script: F) -> (SocketAddr, Arc<AtomicUsize>)
where
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(script(stream));
        }
    });
    (address, connections)
}

/// Reads one request with its body; `None` at the end of the connection.
async fn read_request<S: AsyncRead + Unpin>(stream: &mut S) -> Option<String> {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |digits| digits.parse().unwrap()) {
                return Some(text.into_owned());
            }
        }
        if stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
}

async fn answer_all<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    while read_request(&mut stream).await.is_some() {
        if stream.write_all(OK).await.is_err() {
            return;
        }
    }
}

async fn at_end<S: AsyncRead + Unpin>(stream: &mut S) {
    let mut rest = Vec::new();
    while matches!(stream.read_buf(&mut rest).await, Ok(1..)) {}
}

#[tokio::test]
async fn requests_one_after_another_use_one_connection() {
    let (address, connections) = receiver(answer_all).await;
    let client = client();
    for _ in 0..200 {
        let response = client.send(to(address)).await.unwrap();
        assert_eq!(
            (response.status, &response.body[..], response.truncated),
            (StatusCode::OK, &b"ok"[..], false)
        );
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_side_by_side_use_no_more_connections_than_allowed() {
    let (address, connections) = receiver(answer_all).await;
    let client = client_with(Limits { requests_per_receiver_max: 4, ..Limits::default() });
    let sending: Vec<_> = (0..400)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.send(to(address)).await.unwrap().status })
        })
        .collect();
    for sent in sending {
        assert_eq!(sent.await.unwrap(), StatusCode::OK);
    }
    assert!((1..=4).contains(&connections.load(Ordering::SeqCst)));
}

#[tokio::test]
async fn the_request_arrives_as_asked_except_for_the_headers_that_govern_the_connection() {
    let (seen, mut requests) = mpsc::channel(1);
    let (address, _) = receiver(move |mut stream| {
        let seen = seen.clone();
        async move {
            seen.send(read_request(&mut stream).await.unwrap()).await.unwrap();
            stream.write_all(OK).await.unwrap();
        }
    })
    .await;
    let mut request = to(address);
    for (name, value) in [
        ("webhook-id", "evt_1"),
        ("host", "other.example.com"),
        ("content-length", "3"),
        ("transfer-encoding", "chunked"),
        ("connection", "close"),
        ("expect", "100-continue"),
        ("te", "trailers"),
    ] {
        request.headers.insert(name, HeaderValue::from_static(value));
    }
    client().send(request).await.unwrap();
    let text = requests.recv().await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines: Vec<_> = head.lines().collect();
    lines[1..].sort_unstable();
    let host = format!("host: {address}");
    assert_eq!(lines, ["POST /hook?x=1 HTTP/1.1", "content-length: 8", &host, "webhook-id: evt_1"]);
    assert_eq!(body, "{\"id\":1}");
}

#[tokio::test]
async fn a_post_without_a_body_says_so_and_a_get_says_nothing() {
    let (seen, mut requests) = mpsc::channel(1);
    let (address, _) = receiver(move |mut stream| {
        let seen = seen.clone();
        async move {
            while let Some(text) = read_request(&mut stream).await {
                seen.send(text).await.unwrap();
                stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            }
        }
    })
    .await;
    let client = client();
    for (method, expected) in
        [(Method::Post, true), (Method::Put, true), (Method::Get, false), (Method::Delete, false)]
    {
        let request = Request { method, body: Bytes::new(), ..to(address) };
        assert_eq!(client.send(request).await.unwrap().status, StatusCode::NO_CONTENT);
        let text = requests.recv().await.unwrap();
        assert_eq!(text.contains("content-length: 0"), expected, "{text}");
    }
}

/// P-26
#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let (inside, connections) = receiver(answer_all).await;
    for status in [301, 302, 303, 307, 308] {
        let (address, _) = receiver(move |mut stream| async move {
            read_request(&mut stream).await;
            let answer =
                format!("HTTP/1.1 {status} Moved\r\nlocation: http://{inside}/\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        })
        .await;
        let response = client().send(to(address)).await.unwrap();
        assert_eq!(response.status.as_u16(), status);
        assert!(response.headers.contains_key("location"));
    }
    assert_eq!(connections.load(Ordering::SeqCst), 0);
}

/// Writes `head` and then 1 GiB unless the reader ends it; tells how much went out.
async fn gibibyte_after(head: &'static [u8]) -> (SocketAddr, mpsc::Receiver<usize>) {
    let (ended, written) = mpsc::channel(1);
    let (address, _) = receiver(move |mut stream| {
        let ended = ended.clone();
        async move {
            read_request(&mut stream).await;
            stream.write_all(head).await.unwrap();
            let piece = [b'a'; 64 * 1024];
            let mut out = 0;
            while out < 1 << 30 && stream.write_all(&piece).await.is_ok() {
                out += piece.len();
            }
            ended.send(out).await.unwrap();
        }
    })
    .await;
    (address, written)
}

#[tokio::test]
async fn of_an_endless_body_64_kib_are_read_and_the_connection_is_closed() {
    for head in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n40000000\r\n",
    ] {
        let (address, mut written) = gibibyte_after(head).await;
        let response = client().send(to(address)).await.unwrap();
        assert_eq!((response.body.len(), response.truncated), (64 * 1024, true));
        // What is beyond the 64 KiB filled socket buffers and went nowhere.
        assert!(written.recv().await.unwrap() < 1 << 27);
    }
}

#[tokio::test]
async fn a_body_of_exactly_the_bound_is_whole_and_one_byte_more_is_not() {
    for (length, truncated) in [(0, false), (65_535, false), (65_536, false), (65_537, true)] {
        let (address, _) = receiver(move |mut stream| async move {
            read_request(&mut stream).await;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            // The reader may close before the last byte.
            stream.write_all(&vec![b'a'; length]).await.ok();
            at_end(&mut stream).await;
        })
        .await;
        let response = client().send(to(address)).await.unwrap();
        assert_eq!((response.body.len(), response.truncated), (length.min(65_536), truncated));
    }
}

#[tokio::test]
async fn an_endless_head_is_not_http() {
    for line in [&b"x-a: b\r\n"[..], b"aaaaaaaaaaaaaaaa"] {
        let (address, _) = receiver(move |mut stream| async move {
            read_request(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").await.unwrap();
            while stream.write_all(line).await.is_ok() {}
        })
        .await;
        let error = client().send(to(address)).await.unwrap_err();
        assert!(matches!(error, SendError::NotHttp(_)), "{error:?}");
    }
}

#[tokio::test]
async fn a_receiver_that_drips_never_answers_or_never_reads_ends_with_the_time() {
    for (head, drop_by_drop) in [
        (&b""[..], None),
        (b"HTTP/1.1 200 OK\r\nx: ", Some(b'a')),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n", Some(b'a')),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n", None),
    ] {
        let (ended, mut end) = mpsc::channel(1);
        let (address, _) = receiver(move |mut stream| {
            let ended = ended.clone();
            async move {
                read_request(&mut stream).await;
                stream.write_all(head).await.unwrap();
                if let Some(drop) = drop_by_drop {
                    while stream.write_all(&[drop]).await.is_ok() {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
                at_end(&mut stream).await;
                ended.send(()).await.unwrap();
            }
        })
        .await;
        let error = client().send(briefly(to(address))).await.unwrap_err();
        assert!(matches!(error, SendError::Timeout { during: Phase::Answering }), "{error:?}");
        assert!(error.may_have_been_received());
        end.recv().await.expect("the receiver sees its connection closed");
    }
}

#[tokio::test]
async fn whoever_waits_for_a_full_receiver_has_sent_nothing_and_does_not_slow_others() {
    let (stuck, connections) = receiver(|mut stream| async move { at_end(&mut stream).await }).await;
    let (well, _) = receiver(answer_all).await;
    let client = client_with(Limits { requests_per_receiver_max: 1, requests_max: 2, ..Limits::default() });
    let first = tokio::spawn({
        let client = client.clone();
        async move { client.send(to(stuck)).await }
    });
    while connections.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let error = client.send(briefly(to(stuck))).await.unwrap_err();
    assert!(matches!(error, SendError::Timeout { during: Phase::Waiting }), "{error:?}");
    assert!(!error.may_have_been_received());
    let (waiting, healthy) = tokio::join!(client.send(briefly(to(stuck))), client.send(to(well)));
    assert!(waiting.is_err());
    assert_eq!(healthy.unwrap().status, StatusCode::OK);
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    first.abort();
}

#[tokio::test]
async fn a_dropped_request_closes_its_connection() {
    let (step, mut steps) = mpsc::channel(1);
    let (address, _) = receiver(move |mut stream| {
        let step = step.clone();
        async move {
            read_request(&mut stream).await;
            step.send("read").await.unwrap();
            at_end(&mut stream).await;
            step.send("closed").await.unwrap();
        }
    })
    .await;
    let client = client();
    let sending = tokio::spawn(async move { client.send(to(address)).await });
    assert_eq!(steps.recv().await, Some("read"));
    sending.abort();
    assert_eq!(steps.recv().await, Some("closed"));
}

#[tokio::test]
async fn a_kept_connection_that_the_peer_closed_meanwhile_is_replaced_unnoticed() {
    let (closed, mut closings) = mpsc::channel(1);
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    let (address, connections) = receiver(move |mut stream| {
        let (closed, requests) = (closed.clone(), Arc::clone(&counter));
        async move {
            if read_request(&mut stream).await.is_some() {
                requests.fetch_add(1, Ordering::SeqCst);
            }
            stream.write_all(OK).await.unwrap();
            drop(stream);
            closed.send(()).await.unwrap();
        }
    })
    .await;
    let client = client();
    for round in 1..=100 {
        assert_eq!(client.send(to(address)).await.unwrap().status, StatusCode::OK);
        closings.recv().await.unwrap();
        assert_eq!(requests.load(Ordering::SeqCst), round);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 100);
}

#[tokio::test]
async fn bytes_nobody_asked_for_on_a_kept_connection_are_not_taken_for_an_answer() {
    let (smuggled, mut ready) = mpsc::channel(1);
    let (address, connections) = receiver(move |mut stream| {
        let smuggled = smuggled.clone();
        async move {
            read_request(&mut stream).await;
            stream.write_all(OK).await.unwrap();
            // The next request's "answer", before it was made.
            stream.write_all(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n").await.ok();
            smuggled.send(()).await.unwrap();
            at_end(&mut stream).await;
        }
    })
    .await;
    let client = client();
    for _ in 0..20 {
        assert_eq!(client.send(to(address)).await.unwrap().status, StatusCode::OK);
        ready.recv().await.unwrap();
    }
    assert_eq!(connections.load(Ordering::SeqCst), 20);
}

#[tokio::test]
async fn a_request_that_was_read_before_the_connection_broke_is_not_sent_again() {
    for answered_before in [0, 1] {
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        let (address, _) = receiver(move |mut stream| {
            let requests = Arc::clone(&counter);
            async move {
                for _ in 0..answered_before {
                    read_request(&mut stream).await.unwrap();
                    stream.write_all(OK).await.unwrap();
                }
                read_request(&mut stream).await.unwrap();
                requests.fetch_add(1, Ordering::SeqCst);
            }
        })
        .await;
        let client = client();
        for _ in 0..answered_before {
            client.send(to(address)).await.unwrap();
        }
        let error = client.send(to(address)).await.unwrap_err();
        assert!(matches!(error, SendError::Broken { written: true, .. }), "{error:?}");
        assert!(error.may_have_been_received());
        assert_eq!(requests.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn each_failure_has_its_own_word() {
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (not_http, _) = receiver(|mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(b"220 mail.example.com ESMTP\r\n\r\n").await.unwrap();
        at_end(&mut stream).await;
    })
    .await;
    let (clear, _) = receiver(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.ok();
        at_end(&mut stream).await;
    })
    .await;
    let (silent, _) = receiver(|mut stream| async move { at_end(&mut stream).await }).await;
    let cases = [
        (format!("http://{unused}/"), "connect", false),
        (format!("http://{not_http}/"), "not_http", true),
        (format!("https://{clear}/"), "tls", false),
        (format!("https://{silent}/"), "timeout", false),
        (format!("http://{silent}/"), "timeout", true),
    ];
    for (url, word, may_have_been_received) in cases {
        let error = client().send(briefly(request(&url))).await.unwrap_err();
        assert_eq!(
            (error.word(), error.may_have_been_received()),
            (word, may_have_been_received),
            "{url}: {error:?}"
        );
    }
}

/// A private authority and a receiver's certificate of its making for `names`.
fn private_authority(names: &[&str]) -> (String, TlsAcceptor) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    (authority.pem(), TlsAcceptor::from(Arc::new(config)))
}

fn trusting(roots: &[CertificateDer<'_>]) -> Client {
    Client::new(Policy::development(), Limits::default(), roots).unwrap()
}

#[tokio::test]
async fn a_private_authority_is_trusted_when_given_and_its_connections_are_kept() {
    let (pem, acceptor) = private_authority(&["localhost", "127.0.0.1"]);
    let roots = certificates_from_pem(pem.as_bytes()).unwrap();
    let (address, connections) = receiver(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                answer_all(stream).await;
            }
        }
    })
    .await;
    let client = trusting(&roots);
    for url in [format!("https://{address}/"), format!("https://127.1:{}/", address.port())] {
        for _ in 0..20 {
            assert_eq!(client.send(request(&url)).await.unwrap().status, StatusCode::OK);
        }
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1, "two spellings of one address share a connection");
    let error = trusting(&[]).send(request(&format!("https://{address}/"))).await.unwrap_err();
    assert!(matches!(error, SendError::Tls(TlsProblem::UnknownIssuer)), "{error:?}");
    assert!(!error.may_have_been_received());
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused_before_anything_is_sent() {
    let (pem, acceptor) = private_authority(&["other.example.com"]);
    let roots = certificates_from_pem(pem.as_bytes()).unwrap();
    let (outcome, mut outcomes) = mpsc::channel(1);
    let (address, _) = receiver(move |stream| {
        let (acceptor, outcome) = (acceptor.clone(), outcome.clone());
        async move {
            let request = match acceptor.accept(stream).await {
                Ok(mut stream) => read_request(&mut stream).await,
                Err(_) => None,
            };
            outcome.send(request).await.unwrap();
        }
    })
    .await;
    let error = trusting(&roots).send(request(&format!("https://{address}/"))).await.unwrap_err();
    assert!(matches!(error, SendError::Tls(TlsProblem::WrongName)), "{error:?}");
    assert_eq!(outcomes.recv().await.unwrap(), None);
}

#[tokio::test]
async fn a_kept_tls_connection_that_the_peer_closed_meanwhile_is_replaced_unnoticed() {
    let (pem, acceptor) = private_authority(&["127.0.0.1"]);
    let roots = certificates_from_pem(pem.as_bytes()).unwrap();
    let (closed, mut closings) = mpsc::channel(1);
    let (address, connections) = receiver(move |stream| {
        let (acceptor, closed) = (acceptor.clone(), closed.clone());
        async move {
            let mut stream = acceptor.accept(stream).await.unwrap();
            read_request(&mut stream).await;
            stream.write_all(OK).await.unwrap();
            stream.shutdown().await.unwrap();
            drop(stream);
            closed.send(()).await.unwrap();
        }
    })
    .await;
    let client = trusting(&roots);
    for _ in 0..30 {
        let response: Response = client.send(request(&format!("https://{address}/"))).await.unwrap();
        assert_eq!(response.status, StatusCode::OK);
        closings.recv().await.unwrap();
    }
    assert_eq!(connections.load(Ordering::SeqCst), 30);
}

#[test]
fn a_file_without_certificates_is_not_a_set_of_roots() {
    for pem in ["", "text", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"] {
        assert!(certificates_from_pem(pem.as_bytes()).is_err(), "{pem}");
    }
}

/// Prints requests a second over 16 kept connections, receiver included in the same process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: cargo test --release -p tidings-egress -- --ignored --nocapture"]
async fn measure_posts_a_second() {
    const POSTS: usize = 50_000;
    let (address, connections) = receiver(|mut stream| async move {
        let mut read = vec![0; 4096];
        // The whole request comes in one piece here, since it is written in one.
        while matches!(stream.read(&mut read).await, Ok(1..)) {
            stream.write_all(OK).await.unwrap();
        }
    })
    .await;
    let client = client();
    let mut request = to(address);
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature", "content-type", "user-agent"] {
        request
            .headers
            .insert(name, HeaderValue::from_static("v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="));
    }
    request.body = Bytes::from(vec![b'a'; 400]);
    let begun = tokio::time::Instant::now();
    let sending: Vec<_> = (0..16)
        .map(|_| {
            let (client, request) = (client.clone(), request.clone());
            tokio::spawn(async move {
                for _ in 0..POSTS / 16 {
                    client.send(request.clone()).await.unwrap();
                }
            })
        })
        .collect();
    for sent in sending {
        sent.await.unwrap();
    }
    let rate = POSTS as f64 / begun.elapsed().as_secs_f64();
    println!("{rate:.0} POSTs a second over {} connections", connections.load(Ordering::SeqCst));
}
