//! Customers' endpoints that hang, and endpoints whose secret is changed while they are called.

use crate::peer::{House, healthy, in_time};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tidings_domain::event::Kind;
use tidings_domain::id::EndpointId;
use tidings_domain::purpose::Purpose;
use tidings_engine::signature::SECRET_OCTETS;
use tidings_store::{Actor, Endpoint};
use tidings_wire::endpoint::print_secret;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// An endpoint of the house at this address, for what was delivered.
async fn endpoint(house: &House, address: SocketAddr) -> Endpoint {
    let clock = house.engine.clock();
    let endpoint = Endpoint {
        id: EndpointId::from_key(clock.id()),
        realm: house.realm,
        url: format!("http://{address}/hook"),
        description: String::new(),
        kinds: Kind::Delivered.bit(),
        callback_only: false,
        secret: clock.random::<SECRET_OCTETS>().to_vec(),
        previous: None,
        disabled: None,
        failing_since: None,
        created_at: clock.now(),
    };
    house.engine.store().create_endpoint(endpoint.clone(), actor(house)).await.unwrap();
    house.engine.endpoints_changed();
    endpoint
}

fn actor(house: &House) -> Actor {
    Actor { account: house.realm.account, who: "operator".to_owned() }
}

/// A call as it came: its headers in lower case, and its body.
struct Called {
    headers: http::HeaderMap,
    body: Vec<u8>,
}

/// Reads one call of a kept connection; `None` at its end.
async fn called(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Called> {
    loop {
        if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8(buffer[..at].to_vec()).unwrap();
            let mut headers = http::HeaderMap::new();
            for line in head.lines().skip(1) {
                let (name, value) = line.split_once(": ").unwrap();
                headers
                    .insert(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
            }
            let length: usize = headers["content-length"].to_str().unwrap().parse().unwrap();
            if buffer.len() >= at + 4 + length {
                let body = buffer[at + 4..at + 4 + length].to_vec();
                buffer.drain(..at + 4 + length);
                return Some(Called { headers, body });
            }
        }
        let mut piece = [0; 8_192];
        match stream.read(&mut piece).await {
            Ok(octets @ 1..) => buffer.extend_from_slice(&piece[..octets]),
            _ => return None,
        }
    }
}

/// A receiver that asks `judge` about each call and answers with the status that it says.
async fn receiver(judge: impl Fn(&Called) -> u16 + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let judge = Arc::new(judge);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let judge = Arc::clone(&judge);
            tokio::spawn(async move {
                let mut buffer = Vec::new();
                while let Some(call) = called(&mut stream, &mut buffer).await {
                    let answer = format!("HTTP/1.1 {} x\r\nContent-Length: 0\r\n\r\n", judge(&call));
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// P-24, P-33: a hundred endpoints that answer, and then a hundred more that never do. `TIDINGS_LONG=1` sends many more
/// messages.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_that_hang_delay_no_others_and_fill_no_memory() {
    const OF_EACH: usize = 100;
    /// What may be more in use with all that waiting, for a test that runs beside others: MiB.
    const MORE_MAX: u64 = 64;
    let messages = if std::env::var_os("TIDINGS_LONG").is_some() { 300 } else { 6 };
    let house = House::open(vec![healthy()]).await;
    let heard: Vec<Arc<Mutex<BTreeSet<String>>>> = (0..OF_EACH).map(|_| Arc::default()).collect();
    let all_hear = async |count| {
        for n in 0..messages {
            house.send(&format!("+1555000{n:04}"), Purpose::Transactional, "to be told").await;
        }
        in_time("every event at every healthy endpoint", async {
            while heard.iter().any(|heard| heard.lock().unwrap().len() < count) {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        })
        .await;
    };
    for heard in &heard {
        let heard = Arc::clone(heard);
        let well = receiver(move |call| {
            heard.lock().unwrap().insert(call.headers["webhook-id"].to_str().unwrap().to_owned());
            200
        });
        endpoint(&house, well.await).await;
    }
    // What the same load takes where all answer, on both ends of the calls, is there before.
    all_hear(messages).await;
    let before = crate::hostile::resident();
    // The system takes their connections, and nobody ever looks at them.
    let mut silent = Vec::new();
    for _ in 0..OF_EACH {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        endpoint(&house, listener.local_addr().unwrap()).await;
        silent.push(listener);
    }
    all_hear(2 * messages).await;
    let more = crate::hostile::resident().saturating_sub(before) >> 20;
    println!("{more} MiB more with {} deliveries under way", OF_EACH * messages);
    assert!(more < MORE_MAX, "{more} MiB more");
    drop(silent);
    house.engine.stop(1_000).await;
}

/// What a receiver knows of an endpoint's secrets.
#[derive(Default)]
struct Secrets {
    /// The one that it checks with.
    known: Vec<u8>,
    /// The one that it will be told.
    next: Vec<u8>,
    /// Calls in a row that the next one would verify too.
    ready: usize,
    right: usize,
    wrong: usize,
}

/// P-25: the secret is changed again and again while events are told. The receiver learns the new one at some moment of
/// the overlap and until then uses the old one; the reference library never refuses a call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_is_refused_while_a_secret_is_rotated() {
    const ROTATIONS: usize = 20;
    /// More calls than may be under way at once: after these in a row none is that was signed before the change.
    const READY: usize = 80;
    let house = Arc::new(House::open(vec![healthy()]).await);
    let secrets: Arc<Mutex<Secrets>> = Arc::default();
    let shared = Arc::clone(&secrets);
    let address = receiver(move |call| {
        let mut secrets = shared.lock().unwrap();
        let verifies = |secret: &[u8]| {
            standardwebhooks::Webhook::new(&print_secret(secret))
                .unwrap()
                .verify(&call.body, &call.headers)
                .is_ok()
        };
        secrets.ready = if verifies(&secrets.next) { secrets.ready + 1 } else { 0 };
        let right = verifies(&secrets.known);
        secrets.right += usize::from(right);
        secrets.wrong += usize::from(!right);
        if right { 200 } else { 400 }
    })
    .await;
    let mut endpoint = endpoint(&house, address).await;
    {
        let mut secrets = secrets.lock().unwrap();
        (secrets.known, secrets.next) = (endpoint.secret.clone(), endpoint.secret.clone());
    }
    let load = {
        let house = Arc::clone(&house);
        tokio::spawn(async move {
            for n in 0.. {
                house.send(&format!("+1555000{:04}", n % 10_000), Purpose::Transactional, "to be told").await;
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        })
    };
    for _ in 0..ROTATIONS {
        let clock = house.engine.clock();
        let old = std::mem::replace(&mut endpoint.secret, clock.random::<SECRET_OCTETS>().to_vec());
        endpoint.previous = Some((old, clock.now().plus_s(3_600)));
        {
            let mut secrets = secrets.lock().unwrap();
            (secrets.next, secrets.ready) = (endpoint.secret.clone(), 0);
        }
        assert!(
            house.engine.store().update_endpoint(endpoint.clone(), actor(&house), clock.now()).await.unwrap()
        );
        house.engine.endpoints_changed();
        in_time("calls that are signed with both", async {
            while secrets.lock().unwrap().ready < READY {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        })
        .await;
        secrets.lock().unwrap().known.clone_from(&endpoint.secret);
    }
    load.abort();
    let (right, wrong) = {
        let secrets = secrets.lock().unwrap();
        (secrets.right, secrets.wrong)
    };
    assert!(right >= ROTATIONS * READY && wrong == 0, "{right} calls were right, {wrong} wrong");
    house.engine.stop(1_000).await;
}
