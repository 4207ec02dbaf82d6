//! P-26: no request leaves to an address that isn't public, however its URL is spelled and whatever a resolver says.
//!
//! A witness listens on loopback. A refusal alone proves little; what counts is that the witness saw no connection.
//! Its ear is tested too: the same calls under a policy that allows loopback do reach it.

#![allow(clippy::unwrap_used, reason = "the helpers of a test are tests too")]

use std::io;
use std::net::{IpAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tidings_egress::{
    Addresses, Block, Bytes, Client, Limits, Method, NotPublic, Policy, Ports, RefusedTarget, Request,
    Resolver, SendError, Target,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Listens on 127.0.0.1, and on the same port of ::1 where there is IPv6.
struct Witness {
    listeners: Vec<TcpListener>,
    port: u16,
}

impl Witness {
    fn new() -> Self {
        let v4 = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = v4.local_addr().unwrap().port();
        let listeners: Vec<_> =
            [Some(v4), TcpListener::bind(("::1", port)).ok()].into_iter().flatten().collect();
        for listener in &listeners {
            listener.set_nonblocking(true).unwrap();
        }
        Self { listeners, port }
    }

    /// Connections since the last call. On loopback a connection is in the queue before `connect` returns.
    fn connections(&self) -> usize {
        let mut seen = 0;
        for listener in &self.listeners {
            loop {
                match listener.accept() {
                    Ok(_) => seen += 1,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        seen
    }
}

/// Strict about addresses; scheme and port open, so that nothing but the address can be the reason.
fn strict_about_addresses() -> Policy {
    Policy { allow_http: true, ports: Ports::Any, ..Policy::strict() }
}

/// Answers with one list after the other, the last one for ever, and counts.
struct Scripted {
    answers: Mutex<Vec<Vec<IpAddr>>>,
    asked: AtomicUsize,
}

impl Scripted {
    fn new(answers: &[&[&str]]) -> Arc<Self> {
        let answers = answers
            .iter()
            .rev()
            .map(|list| list.iter().map(|text| text.parse().unwrap()).collect())
            .collect();
        Arc::new(Self { answers: Mutex::new(answers), asked: AtomicUsize::new(0) })
    }
}

impl Resolver for Scripted {
    fn resolve<'a>(&'a self, _name: &'a str) -> Addresses<'a> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().unwrap();
        let answer = if answers.len() > 1 { answers.pop().unwrap() } else { answers[0].clone() };
        Box::pin(async move { Ok(answer) })
    }
}

fn post(target: Target) -> Request {
    Request::new(Method::Post, target, Bytes::from_static(b"{}"))
}

/// Hosts that are, or that some library would take for, this machine or what is near it.
const HOSTS: [&str; 58] = [
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "127.255.255.254",
    "2130706433",
    "017700000001",
    "0177.0.0.1",
    "0177.1",
    "00000177.0.0.0000001",
    "0x7f000001",
    "0X7F000001",
    "0x7f.1",
    "0x7f.0.0.0x1",
    "0x7f.0x0.0x0.0x1",
    "0",
    "0.0.0.0",
    "0x0",
    "00",
    "[::]",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[0000:0000:0000:0000:0000:0000:0000:0001]",
    "[::0.0.0.1]",
    "[::127.0.0.1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::FFFF:7F00:0001]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    "[::ffff:0:127.0.0.1]",
    "[::1%lo]",
    "[::1%25lo]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b:1::127.0.0.1]",
    "[2002:7f00:1::]",
    "[2002:7f00:0001::1]",
    "[2001:0:7f00:1::]",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "LocalHost.LocalDomain",
    "a.localhost",
    "ip6-localhost",
    "user@127.0.0.1",
    "example.com@127.0.0.1",
    "127.0.0.1#example.com",
    "127.0.0.1\\@example.com",
    "example.com\\@127.0.0.1",
    "%31%32%37.0.0.1",
    "127.0.0.1%00.example.com",
    "127。0。0。1",
    "①②⑦.⓪.⓪.①",
    "loc\u{ad}alhost",
    "ⓛocalhost",
    "127.0.0.1\t",
    " 127.0.0.1",
    "127.0.0.1\r\nhost:x",
    "::1",
];

#[tokio::test]
async fn no_spelling_of_this_machine_in_a_url_is_connected_to() {
    let witness = Witness::new();
    let port = witness.port;
    let client = Client::new(strict_about_addresses(), Limits::default(), &[]).unwrap();
    let mut urls = Vec::new();
    for host in HOSTS {
        urls.push(format!("http://{host}:{port}/"));
        urls.push(format!("https://{host}:{port}/hook?x=1"));
    }
    urls.extend([
        format!("http://{port}.example.com:{port}@127.0.0.1:{port}/"),
        "file:///etc/hostname".into(),
        format!("gopher://127.0.0.1:{port}/_x"),
        format!("dict://127.0.0.1:{port}/x"),
        format!("//127.0.0.1:{port}/"),
        format!("http:127.0.0.1:{port}/"),
        format!("http:/127.0.0.1:{port}/"),
        format!("http:///127.0.0.1:{port}/"),
        format!("HTTP://127.0.0.1:{port}/"),
    ]);
    let mut caught_twice = 0;
    for url in &urls {
        let parsed = Target::parse(url, client.policy());
        assert!(parsed.is_err(), "{url}: {parsed:?}");
        // The second lock: a target that another policy let through.
        if let Ok(target) = Target::parse(url, &Policy::development()) {
            let error = client.send(post(target)).await.unwrap_err();
            assert!(matches!(error, SendError::Refused(_)), "{url}: {error:?}");
            caught_twice += 1;
        }
    }
    assert!(caught_twice >= 20, "{caught_twice}");
    assert_eq!(witness.connections(), 0);
}

#[tokio::test]
async fn the_witness_hears_what_is_let_through() {
    let witness = Witness::new();
    let client = Client::new(Policy::development(), Limits::default(), &[]).unwrap();
    for host in ["127.0.0.1", "0x7f.1", "[::ffff:127.0.0.1]", "localhost"] {
        let target = Target::parse(&format!("http://{host}:{}/", witness.port), client.policy()).unwrap();
        let request = Request { timeout: Some(std::time::Duration::from_millis(200)), ..post(target) };
        assert!(client.send(request).await.is_err());
        assert_eq!(witness.connections(), 1, "{host}");
    }
}

#[tokio::test]
async fn a_name_with_any_address_that_is_not_public_is_not_connected_to() {
    let witness = Witness::new();
    let cases: &[(&[&str], NotPublic)] = &[
        (&["127.0.0.1"], NotPublic::Loopback),
        (&["::1"], NotPublic::Loopback),
        (&["0.0.0.0"], NotPublic::Unspecified),
        (&["::"], NotPublic::Unspecified),
        (&["::ffff:127.0.0.1"], NotPublic::Loopback),
        (&["64:ff9b::7f00:1"], NotPublic::Loopback),
        (&["2002:7f00:1::1"], NotPublic::Loopback),
        (&["169.254.169.254"], NotPublic::Metadata),
        (&["10.0.0.1"], NotPublic::Private),
        (&["fd00::1"], NotPublic::Private),
        (&["127.0.0.1", "8.8.8.8"], NotPublic::Loopback),
        (&["8.8.8.8", "127.0.0.1"], NotPublic::Loopback),
        (&["2606:4700:4700::1111", "8.8.8.8", "1.1.1.1", "9.9.9.9", "8.8.4.4", "::1"], NotPublic::Loopback),
        (&["8.8.8.8", "192.168.0.1"], NotPublic::Private),
    ];
    for (answer, reason) in cases {
        let client =
            Client::with_resolver(strict_about_addresses(), Limits::default(), &[], Scripted::new(&[answer]))
                .unwrap();
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://hooks.customer.com:{}/", witness.port);
            let target = Target::parse(&url, client.policy()).unwrap();
            let error = client.send(post(target)).await.unwrap_err();
            assert!(
                matches!(error, SendError::Refused(RefusedTarget::ResolvesTo(found)) if found == *reason),
                "{answer:?}: {error:?}"
            );
            assert!(!error.may_have_been_received());
        }
    }
    assert_eq!(witness.connections(), 0);
}

#[tokio::test]
async fn a_name_without_addresses_is_not_resolved() {
    let client =
        Client::with_resolver(Policy::strict(), Limits::default(), &[], Scripted::new(&[&[]])).unwrap();
    let target = Target::parse("https://hooks.customer.com/", client.policy()).unwrap();
    assert!(matches!(client.send(post(target)).await, Err(SendError::Resolve(_))));
}

/// 127.0.0.2 stands for a public address: a policy allows it alone, and 127.0.0.1 stays closed.
#[tokio::test]
async fn a_name_that_changes_its_answer_is_called_at_the_judged_address_or_not_at_all() {
    let witness = Witness::new();
    // Not every system has more than one loopback address.
    let Ok(receiver) = tokio::net::TcpListener::bind(("127.0.0.2", witness.port)).await else { return };
    let served = tokio::spawn(async move {
        let (mut stream, _) = receiver.accept().await.unwrap();
        let mut request = [0; 1024];
        assert!(stream.read(&mut request).await.unwrap() > 0);
        let answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(answer).await.unwrap();
    });
    let stand_in: Block = "127.0.0.2".parse().unwrap();
    let policy = Policy { allow_blocks: vec![stand_in], ..strict_about_addresses() };
    let resolver = Scripted::new(&[&["127.0.0.2"], &["127.0.0.1"]]);
    let client = Client::with_resolver(policy, Limits::default(), &[], Arc::clone(&resolver) as _).unwrap();
    let url = format!("http://hooks.customer.com:{}/", witness.port);
    let target = Target::parse(&url, client.policy()).unwrap();
    assert_eq!(client.send(post(target.clone())).await.unwrap().status.as_u16(), 200);
    assert_eq!(resolver.asked.load(Ordering::SeqCst), 1, "one answer is judged and used");
    served.await.unwrap();
    let error = client.send(post(target)).await.unwrap_err();
    assert!(matches!(error, SendError::Refused(RefusedTarget::ResolvesTo(NotPublic::Loopback))), "{error:?}");
    assert_eq!(witness.connections(), 0);
}
