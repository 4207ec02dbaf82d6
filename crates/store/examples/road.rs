//! What one message costs the store alone: accept, answer, receipt, webhook done, in groups as under load, without
//! sockets. For profilers: `cargo run --release -p tidings-store --example road -- [messages] [group] [later|at-once]
//! [database]`: when receipts come, and the address of an empty database of PostgreSQL; without it, it is SQLite in a directory of its own.
//!
//! It says what the writer's thread and the rest spent a message. It is no benchmark of the product: see `crates/bench`.

use std::sync::Arc;
use tidings_domain::account::{Environment, Realm};
use tidings_domain::address::PhoneNumber;
use tidings_domain::id::*;
use tidings_domain::message::{Answer, Input, Life, Message, Outcome, Rules};
use tidings_domain::purpose::Purpose;
use tidings_domain::receipt::{IdForm, Receipt};
use tidings_domain::retry::{Jitter, RetryPolicy};
use tidings_domain::sender::Sender;
use tidings_domain::text::{Encoding, Options, Tables};
use tidings_domain::time::Timestamp;
use tidings_domain::webhook::Verdict;
use tidings_store::*;

const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);
const HOME: Realm = Realm { account: AccountId::from_key(1), environment: Environment::Live };
const LINE: ConnectionId = ConnectionId::from_key(1);

/// When the carrier reports: with its answer, as simulated ones do, or when the phone has the message.
#[derive(Debug, Clone, Copy)]
enum Reports {
    AtOnce,
    Later,
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |usual| arguments.next().map_or(usual, |word| word.parse::<usize>().expect("a number"));
    let (messages, group) = (number(100_000), number(64));
    let reports = match arguments.next().as_deref() {
        None | Some("later") => Reports::Later,
        Some("at-once") => Reports::AtOnce,
        Some(word) => panic!("receipts come later or at-once, not {word}"),
    };
    let address = arguments.next();
    let directory = tempfile::tempdir().expect("a directory");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let before = cpu_s();
    let began = tokio::time::Instant::now();
    runtime.block_on(async {
        let store: Arc<dyn Backend> = match address {
            None => Arc::new(
                sqlite::Sqlite::open(&sqlite::Options::in_directory(directory.path())).expect("it opens"),
            ),
            Some(address) => {
                let options = postgres::Options::at(&address).expect("an address");
                postgres::Postgres::migrate(&options).await.expect("migrated");
                Arc::new(postgres::Postgres::open(&options).expect("it opens"))
            }
        };
        let account = store.default_account(NOW).await.expect("an account");
        assert_eq!(account, HOME.account, "ids of accounts begin at 1");
        store.register_connections(vec![("line".into(), HOME.environment)], NOW).await.expect("registered");
        store.create_endpoint(endpoint(), Actor { account, who: "road".into() }).await.expect("an endpoint");
        let mut first = 0;
        while first < messages {
            group_of(&store, first, group, reports).await;
            first += group;
        }
        store.close().await.expect("closed");
    });
    println!(
        "{messages} messages in groups of {group}: {:.1} us of CPU each, {:.0} a second",
        (cpu_s() - before) * 1e6 / messages as f64,
        messages as f64 / began.elapsed().as_secs_f64()
    );
}

/// Takes a group of messages all the way, each call of its own as callers make them.
async fn group_of(store: &Arc<dyn Backend>, first: usize, group: usize, reports: Reports) {
    let numbers = first..first + group;
    let accepts = numbers.clone().map(|n| {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            let (message, life) = draft(n);
            let drafts = vec![Draft::new(message, life)];
            let intake = Intake { realm: HOME, idempotency: None, batch: None, drafts };
            store.accept(intake, NOW).await.expect("accepted");
        })
    });
    for accept in accepts.collect::<Vec<_>>() {
        accept.await.expect("it does not panic");
    }
    let recipients = numbers.clone().map(|n| (HOME, number(n))).collect();
    store.suppressed(recipients, NOW).await.expect("looked");
    let answers = numbers.clone().map(|n| {
        let answer = Answer::Accepted { carrier_id: carrier_id(n) };
        Happening::To { message: id(n), input: Input::Answered { attempt: 1, segment: 0, answer } }
    });
    let receipts = numbers.map(|n| Happening::Receipt { connection: LINE, receipt: receipt(n) });
    let told = match reports {
        Reports::AtOnce => {
            let both = answers.zip(receipts).flat_map(|(answer, receipt)| [answer, receipt]).collect();
            store.advance(both, NOW.plus_ms(1), patience()).await.expect("reported").told
        }
        Reports::Later => {
            store.advance(answers.collect(), NOW.plus_ms(1), patience()).await.expect("answered");
            store.advance(receipts.collect(), NOW.plus_ms(2), patience()).await.expect("reported").told
        }
    };
    assert_eq!(told.len(), group, "each was delivered, and one endpoint hears of it");
    let attempts = told.into_iter().map(|told| Attempt {
        seq: 0,
        realm: HOME,
        event: told.id,
        message: None,
        endpoint: EndpointId::from_key(7),
        lease: told.delivery.expect("it is leased").due_at,
        number: 1,
        at: NOW,
        took_ms: 1,
        status: Some(204),
        request: String::new(),
        response: String::new(),
        verdict: Verdict::Done,
    });
    store.record_attempts(attempts.collect(), NOW).await.expect("recorded");
}

fn id(n: usize) -> MessageId {
    MessageId::from_key(floor_at(NOW) + n as i64 * 4)
}

fn number(n: usize) -> PhoneNumber {
    PhoneNumber::from_digits(46_700_000_000 + n as u64).expect("a phone number")
}

/// Spread over all values, as carriers' ids are.
fn carrier_id(n: usize) -> String {
    format!("{:016x}", (n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

fn patience() -> Patience {
    Patience { retry: Arc::new(RetryPolicy::default()), unreachable: None, jitter: Jitter(1) }
}

fn draft(n: usize) -> (Message, Life) {
    let message = Message {
        id: id(n),
        account: HOME.account,
        environment: HOME.environment,
        token: Some(TokenId::from_key(3)),
        batch: None,
        purpose: Purpose::Transactional,
        sender: Sender::from_stored("ACME").expect("a sender"),
        recipient: number(n),
        text: Some(format!("Your order {n} is on its way. Follow it at example.com/o/{n}")),
        encoding: Encoding::Gsm7(Tables::DEFAULT),
        options: Options::default(),
        segments: 1,
        connection: LINE,
        created_at: NOW,
        send_at: None,
        expires_at: NOW.plus_ms(7_200_000),
        callback: None,
        reference: None,
        metadata: None,
        retry_of: None,
        reply: None,
        template: None,
        programme: None,
    };
    let life = Life::queued(message.segments, NOW, None);
    let retry = RetryPolicy::default();
    let rules = Rules { retry: &retry, jitter: Jitter(0) };
    let claimed = life.apply(Input::Claimed, message.terms(), NOW, rules).expect("it is waiting").life;
    (message, claimed)
}

fn receipt(n: usize) -> Receipt {
    let carrier_id = carrier_id(n);
    let raw = format!(
        "id:{carrier_id} sub:001 dlvrd:001 submit date:2601010000 done date:2601010000 stat:DELIVRD err:000 text:"
    );
    Receipt {
        carrier_id,
        id_form: IdForm::Any,
        our_reference: None,
        parties: vec![number(n).to_string().trim_start_matches('+').to_owned(), "ACME".to_owned()],
        outcome: Some(Outcome::Delivered),
        raw,
    }
}

fn endpoint() -> Endpoint {
    Endpoint {
        id: EndpointId::from_key(7),
        realm: HOME,
        url: "https://example.com/hook".into(),
        description: String::new(),
        kinds: tidings_domain::event::Kind::Delivered.bit(),
        callback_only: false,
        secret: vec![1; 32],
        previous: None,
        disabled: None,
        failing_since: None,
        created_at: NOW,
    }
}

/// What this process has spent: user and system, seconds.
fn cpu_s() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks: u64 =
        text.split_whitespace().skip(13).take(2).filter_map(|word| word.parse::<u64>().ok()).sum();
    ticks as f64 / 100.0
}
