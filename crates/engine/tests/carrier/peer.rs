//! An installation whose connections lead to peers of the test, and such a peer.

use bytes::BytesMut;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tidings_carriers::{list, smpp};
use tidings_domain::account::{Environment, Realm};
use tidings_domain::address::PhoneNumber;
use tidings_domain::id::MessageId;
use tidings_domain::intake::SendRequest;
use tidings_domain::message::Status;
use tidings_domain::pool::Source;
use tidings_domain::purpose::Purpose;
use tidings_domain::sender::Sender;
use tidings_engine::clock::{Clock, Nature};
use tidings_engine::world::World;
use tidings_engine::{Call, ConnectionSettings, Engine, Item, Sent, Settings};
use tidings_smpp::codec::{self, Body, Pdu};
use tidings_store::Stored;
use tidings_store::sqlite::{Options, Sqlite};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// No wait takes longer, on the slowest machine.
const LIMIT: Duration = Duration::from_secs(120);

/// Waits for what must come.
pub async fn in_time<T>(what: &str, wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("{what}: it never came"))
}

/// A wall clock that can be set forward.
#[derive(Debug, Clone)]
pub struct Ahead {
    real: Arc<Clock>,
    by_ms: Arc<AtomicI64>,
}

impl Ahead {
    pub fn by_s(&self, seconds: i64) {
        self.by_ms.fetch_add(seconds * 1_000, Ordering::SeqCst);
    }
}

impl Nature for Ahead {
    fn wall_ms(&self) -> i64 {
        self.real.now().as_millis() + self.by_ms.load(Ordering::SeqCst)
    }

    fn boot_ms(&self) -> i64 {
        self.real.boot_ms()
    }

    fn fill(&self, octets: &mut [u8]) {
        for octet in octets {
            [*octet] = self.real.random();
        }
    }
}

/// A running installation.
pub struct House {
    pub engine: Engine,
    pub clock: Ahead,
    pub realm: Realm,
    _directory: tempfile::TempDir,
}

/// A connection to a peer, for the numbers that begin so.
pub fn connection(name: &str, prefix: &str, carrier: smpp::Settings) -> ConnectionSettings {
    ConnectionSettings {
        name: name.to_owned(),
        environment: Environment::Test,
        pace_per_s: None,
        prefixes: vec![prefix.to_owned()],
        senders: Vec::new(),
        replies: true,
        of_carrier: None,
        carrier: list::Settings::Smpp(Box::new(carrier)),
    }
}

/// A connection to the simulated carrier, for the numbers that no peer takes.
pub fn healthy() -> ConnectionSettings {
    ConnectionSettings {
        prefixes: Vec::new(),
        carrier: list::Settings::Simulator(Default::default()),
        ..connection("healthy", "", smpp::Settings::default())
    }
}

impl House {
    pub async fn open(connections: Vec<ConnectionSettings>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(Sqlite::open(&Options::in_directory(directory.path())).unwrap());
        let settings = Settings {
            limits: tidings_domain::intake::Limits { max_segments: 255, ..Default::default() },
            connections,
            egress: tidings_egress::Policy::development(),
            ..Settings::default()
        };
        let clock = Ahead { real: Arc::new(Clock::new(0)), by_ms: Arc::default() };
        let world =
            World { clock: Arc::new(Clock::of(Box::new(clock.clone()), 0)), ..World::real(&settings) };
        let engine = Engine::start_in(world, store, settings).await.unwrap();
        let realm = Realm { account: engine.default_account(), environment: Environment::Test };
        Self { engine, clock, realm, _directory: directory }
    }

    pub async fn send(&self, to: &str, purpose: Purpose, text: &str) -> MessageId {
        let request = SendRequest {
            from: Source::Sender(Sender::from_stored("+15550001111").unwrap()),
            recipient: PhoneNumber::from_stored(to).unwrap(),
            text: text.to_owned(),
            purpose,
            send_at: None,
            validity_s: None,
            transliterate: false,
            callback: None,
            reference: None,
            metadata: None,
            retry_of: None,
            template: None,
            programme: None,
        };
        let call =
            Call { realm: self.realm, token: None, requests: vec![request], batch: None, idempotency: None };
        match self.engine.send(call).await.unwrap() {
            Sent::New(_, items) => match &items[..] {
                [Item::Accepted(accepted)] => accepted.message.id,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    pub async fn stored(&self, id: MessageId) -> Stored {
        self.engine.store().message(self.realm, id).await.unwrap().unwrap()
    }

    /// Waits until the message has a status for which this holds.
    pub async fn until(&self, id: MessageId, what: &str, holds: impl Fn(Status) -> bool) -> Stored {
        in_time(what, async {
            loop {
                let stored = self.stored(id).await;
                if holds(stored.life.state.status()) {
                    return stored;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
    }

    /// A message that the healthy connection takes is delivered.
    pub async fn others_are_served(&self) {
        let id = self.send("+15550002222", Purpose::Transactional, "all is well elsewhere").await;
        let stored = self.until(id, "a message on the healthy connection", Status::is_final).await;
        assert_eq!(stored.life.state.status(), Status::Delivered);
    }

    /// How many messages wait for a person.
    pub async fn reviewed(&self) -> usize {
        let groups = self.engine.store().review_groups(self.realm, 100).await.unwrap();
        groups.iter().map(|group| group.open as usize).sum()
    }
}

/// The carrier's side of a connection.
pub struct Peer {
    listener: TcpListener,
}

/// One session of it.
pub struct Session {
    pub stream: TcpStream,
    buffer: BytesMut,
}

impl Peer {
    pub async fn listen() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub fn settings(&self) -> smpp::Settings {
        smpp::Settings {
            address: self.listener.local_addr().unwrap().to_string(),
            system_id: "tidings".to_owned(),
            password: smpp::Password("tidings".to_owned()),
            ..smpp::Settings::default()
        }
    }

    pub async fn accept(&self) -> Session {
        let (stream, _) = in_time("a connection", self.listener.accept()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Session { stream, buffer: BytesMut::new() }
    }

    /// A session that is bound.
    pub async fn bound(&self) -> Session {
        let mut session = self.accept().await;
        let bind = session.read().await.expect("a bind");
        let Body::Bind(asked) = bind.body else { panic!("{bind:?}") };
        session
            .say(
                bind.sequence,
                0,
                Body::BindResp { mode: asked.mode, system_id: "peer".into(), tlvs: Vec::new() },
            )
            .await;
        session
    }
}

/// A PDU's octets.
pub fn octets(sequence: u32, status: u32, body: Body) -> Vec<u8> {
    let mut octets = BytesMut::new();
    codec::encode(&Pdu { status, sequence, body }, &mut octets).unwrap();
    octets.to_vec()
}

impl Session {
    /// The next PDU; `None` when the other side has closed.
    pub async fn read(&mut self) -> Option<Pdu> {
        in_time("a PDU or the end", async {
            loop {
                if let Some(length) = codec::frame_length(&self.buffer).unwrap()
                    && self.buffer.len() >= length
                {
                    return Some(codec::decode(&self.buffer.split_to(length)).unwrap());
                }
                match self.stream.read_buf(&mut self.buffer).await {
                    Ok(0) | Err(_) => return None,
                    Ok(_) => {}
                }
            }
        })
        .await
    }

    pub async fn say(&mut self, sequence: u32, status: u32, body: Body) {
        self.write(&octets(sequence, status, body)).await;
    }

    /// Writes these octets. If the other side has closed, reading will tell.
    pub async fn write(&mut self, octets: &[u8]) {
        let _ = in_time("room to write", self.stream.write_all(octets)).await;
    }
}
