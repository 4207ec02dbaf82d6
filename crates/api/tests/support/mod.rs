//! A whole installation for one test, and a client that can also misbehave.

use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use tidings_api::Settings;
use tidings_domain::account::{Environment, Realm, Scope, Scopes};
use tidings_domain::id::{AccountId, TokenId};
use tidings_engine::Engine;
use tidings_engine::code::OneTimeCodes;
use tidings_store::postgres::{self, Postgres};
use tidings_store::sqlite::{Options, Sqlite};
use tidings_store::{Account, Actor, Backend, Token};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A running installation; it ends with the test.
pub struct House {
    pub engine: Engine,
    pub address: SocketAddr,
    stop: tokio::sync::oneshot::Sender<()>,
    server: tokio::task::JoinHandle<()>,
    _directory: tempfile::TempDir,
    _database: Option<tidings_cluster::Database>,
}

/// What an installation keeps its messages in.
#[allow(dead_code, reason = "each binary of tests names one")]
pub enum Database {
    Sqlite,
    Postgres,
}

/// A store, and its database if it has one on a server.
async fn store(directory: &std::path::Path) -> (Arc<dyn Backend>, Option<tidings_cluster::Database>) {
    let cluster = match crate::KEPT_IN {
        Database::Sqlite => None,
        Database::Postgres => tidings_cluster::Cluster::here(),
    };
    let Some(cluster) = cluster else {
        return (Arc::new(Sqlite::open(&Options::in_directory(directory)).unwrap()), None);
    };
    let database = cluster.database();
    let options = postgres::Options::at(&database.address()).unwrap();
    Postgres::migrate(&options).await.unwrap();
    (Arc::new(Postgres::open(&options).unwrap()), Some(database))
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str())
    }

    /// Status and code, for tables.
    pub fn told(&self) -> String {
        match serde_json::from_str::<Value>(&self.body) {
            Ok(body) if body["code"].is_string() => {
                format!("{} {}", self.status, body["code"].as_str().unwrap())
            }
            _ => self.status.to_string(),
        }
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        if self.body.is_empty() { Value::Null } else { self.json() }
    }
}

pub async fn house() -> House {
    house_with(Default::default()).await
}

/// The same, which accepts no more than this.
pub async fn house_with(limits: tidings_domain::intake::Limits) -> House {
    house_where(|settings| settings.limits = limits).await
}

/// The same, set up otherwise.
pub async fn house_where(change: impl FnOnce(&mut tidings_engine::Settings)) -> House {
    let directory = tempfile::tempdir().unwrap();
    let (store, database) = store(directory.path()).await;
    let mut settings = tidings_engine::Settings {
        egress: tidings_egress::Policy::development(),
        one_time_codes: OneTimeCodes {
            key: Some(tidings_engine::code::Key::new([7; 32])),
            ..OneTimeCodes::default()
        },
        ..tidings_engine::Settings::default()
    };
    change(&mut settings);
    let engine = Engine::start(store, settings).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = tidings_api::router(engine.clone(), Settings::default());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(tidings_api::serve(listener, router, async {
        let _ = stopped.await;
    }));
    House { engine, address, stop, server, _directory: directory, _database: database }
}

impl House {
    pub async fn close(self) {
        self.stop.send(()).unwrap();
        self.server.await.unwrap();
        self.engine.stop(1_000).await;
    }

    pub fn test_realm(&self) -> Realm {
        Realm { account: self.engine.default_account(), environment: Environment::Test }
    }

    /// Another tenant.
    pub async fn stranger(&self) -> AccountId {
        let clock = self.engine.clock();
        let id = AccountId::from_key(clock.id());
        let account = Account { id, name: "other".to_owned(), created_at: clock.now() };
        self.engine.store().create_account(account, self.actor(id)).await.unwrap();
        id
    }

    fn actor(&self, account: AccountId) -> Actor {
        Actor { account, who: "operator".to_owned() }
    }

    /// A token with these scopes.
    pub async fn token_in(&self, realm: Realm, scopes: &[Scope], rate_per_minute: Option<u32>) -> String {
        let clock = self.engine.clock();
        let minted = tidings_wire::token::mint(realm.environment, clock.random());
        let token = Token {
            id: TokenId::from_key(clock.id()),
            lookup: minted.lookup,
            hash: minted.hash,
            previous: None,
            realm,
            scopes: scopes.iter().copied().collect::<Scopes>(),
            name: "test".to_owned(),
            client: None,
            created_at: clock.now(),
            expires_at: None,
            revoked_at: None,
            last_used_at: None,
            previous_used_at: None,
            rate_per_minute,
        };
        self.engine.store().create_token(token, self.actor(realm.account)).await.unwrap();
        minted.text
    }

    /// A test token with all scopes and a rate that no test reaches.
    pub async fn token(&self) -> String {
        self.token_in(self.test_realm(), &Scope::ALL, Some(1_000_000)).await
    }

    /// Sends octets as they are and reads the answer to the end.
    pub async fn raw(&self, octets: &[u8]) -> Reply {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // The server may answer and close before it has read everything.
        let _ = stream.write_all(octets).await;
        let mut answer = Vec::new();
        let mut piece = [0; 8192];
        while let Ok(read @ 1..) = stream.read(&mut piece).await {
            answer.extend_from_slice(&piece[..read]);
        }
        let text = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or(0);
        let headers = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        Reply { status, headers, body: body.to_owned() }
    }

    /// One request with more headers, each ended by CR LF.
    pub async fn with(&self, method: &str, path: &str, token: &str, more: &str, body: &str) -> Reply {
        let authorization = match token {
            "" => String::new(),
            token => format!("Authorization: Bearer {token}\r\n"),
        };
        let kind = match (body, more.to_lowercase().contains("content-type")) {
            ("", _) | (_, true) => "",
            _ => "Content-Type: application/json\r\n",
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{authorization}{kind}{more}Content-Length: \
             {}\r\n\r\n{body}",
            body.len()
        );
        self.raw(request.as_bytes()).await
    }

    pub async fn get(&self, path: &str, token: &str) -> Reply {
        self.with("GET", path, token, "", "").await
    }

    pub async fn post(&self, path: &str, token: &str, body: &str) -> Reply {
        self.with("POST", path, token, "", body).await
    }
}

/// A request that is accepted in the test environment.
pub const HELLO: &str = r#"{"from":"+15550001111","to":"+15550002222","message":"Hello from our app"}"#;
