//! Customers and operators: they call, hang up, lose answers, repeat with the same key, change their minds, and look.

use crate::fault::Fault;
use crate::house::{House, Running};
use crate::ledger::{Happened, Item, Reply};
use crate::plan::{Call, Deed, POOL, Plan, Wish};
use crate::random::Random;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tidings_domain::address::PhoneNumber;
use tidings_domain::id::{MessageId, SuppressionId};
use tidings_domain::intake::{SendAt, SendRequest};
use tidings_domain::pool::{Name, Source};
use tidings_domain::sender::Sender;
use tidings_domain::suppression::Reason;
use tidings_domain::time::Timestamp;
use tidings_engine::intake::IdempotencyKey;
use tidings_engine::suppression::Lift;
use tidings_engine::{self as engine, Cancel, Sent};
use tidings_store::{Actor, Suppression};

/// Why an operator pauses a connection.
const MAINTENANCE: &str = "maintenance";

/// Where there are several nodes, another one is tried after this time.
const PATIENCE_MS: u64 = 8_000;
/// The same for an opt-out, whose answer may wait for a lease.
const OPT_OUT_PATIENCE_MS: u64 = 20_000;

/// Does one deed when its time has come.
pub async fn act(house: Arc<House>, at_ms: u64, deed: Deed) {
    tokio::time::sleep_until(house.stage.moment(at_ms)).await;
    match deed {
        Deed::Send(call) => send(&house, &call).await,
        Deed::OptOut { person, connection } => opt_out(&house, Plan::number(connection, person)).await,
        Deed::Lift { person, connection } => lift(&house, Plan::number(connection, person)).await,
    }
}

async fn send(house: &House, call: &Call) {
    let stage = &house.stage;
    let asked_ms = stage.now_ms();
    let mut attempt = 0;
    let reply = loop {
        attempt += 1;
        let running = house.running().await;
        stage.note(Happened::Asked { call: call.number, process: running.life.number });
        running.calls.fetch_add(1, Ordering::Relaxed);
        let heard = ask(house, &running, call, asked_ms, attempt).await;
        running.calls.fetch_sub(1, Ordering::Relaxed);
        match heard {
            Some(Reply::Overloaded) | None if call.keyed => {
                stage.note(Happened::Unheard { call: call.number });
                let labels = [u64::from(call.number), attempt];
                let mut random = stage.random(Fault::ReplyLost, &labels);
                let wait_ms = *random.pick(&[50, 500, 2_000, 10_000]);
                tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            }
            None => {
                stage.note(Happened::Unheard { call: call.number });
                return;
            }
            Some(reply) => break reply,
        }
    };
    stage.note(Happened::Replied { call: call.number, reply: reply.clone() });
    let (Some(after_ms), Reply::Items(items)) = (call.cancel_after_ms, reply) else { return };
    tokio::time::sleep(Duration::from_millis(after_ms)).await;
    for item in items {
        if let Item::Accepted(message, _) = item {
            cancel(house, message).await;
        }
    }
}

/// One try of a call: `None` if nothing is heard.
async fn ask(house: &House, running: &Running, call: &Call, asked_ms: u64, attempt: u64) -> Option<Reply> {
    let stage = &house.stage;
    let realm = stage.realm()?;
    let labels = [u64::from(call.number), attempt];
    let request = engine::Call {
        realm,
        token: None,
        requests: call.wishes.iter().map(|wish| request(house, wish, asked_ms)).collect(),
        batch: call.batch.then_some(call.wishes.len() as u32),
        idempotency: call.keyed.then(|| IdempotencyKey {
            key: format!("call-{}", call.number),
            fingerprint: [call.number as u8; 32],
            answer: Arc::new(|_, items| write(&read_items(items))),
        }),
    };
    let hang_up_ms = stage.strikes(Fault::HangUp, &labels).map(|mut random| *random.pick(&[0, 1, 2, 5, 500]));
    // Where there are others, nobody waits for one that says nothing.
    let patience_ms = hang_up_ms.or((stage.plan.nodes.len() > 1).then_some(PATIENCE_MS));
    let hung_up = async {
        match patience_ms {
            Some(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            None => std::future::pending().await,
        }
    };
    let sending = async {
        running.life.moves().await;
        let sent = running.engine.send(request).await;
        running.life.moves().await;
        sent
    };
    let sent = tokio::select! {
        biased;
        () = running.life.ended() => return None,
        sent = sending => sent,
        () = hung_up => return None,
    };
    if running.life.is_over() || stage.strikes(Fault::ReplyLost, &labels).is_some() {
        return None;
    }
    match sent {
        Ok(Sent::New(_, items)) => Some(Reply::Items(read_items(&items))),
        Ok(Sent::Replayed(body)) => Some(Reply::Items(read(&body))),
        Ok(Sent::KeyReused) => Some(Reply::KeyReused),
        Ok(Sent::Overloaded { .. }) => Some(Reply::Overloaded),
        Err(_) => None,
    }
}

fn request(house: &House, wish: &Wish, asked_ms: u64) -> SendRequest {
    let plan = &house.stage.plan;
    let from = plan.sender_of(wish).map_or_else(
        || Source::Pool(Name::parse(POOL).expect("a name")),
        |sender| Source::Sender(Sender::from_stored(&sender.number).expect("a sender")),
    );
    let mut text = format!("m{} ", wish.reference);
    let letters = match wish.segments {
        1 => 40,
        segments => 153 * (segments as usize - 1) + 60,
    };
    text.extend(std::iter::repeat_n('x', letters));
    SendRequest {
        from,
        recipient: number(&Plan::number(wish.connection, wish.person)),
        text,
        purpose: wish.purpose,
        send_at: wish
            .send_in_ms
            .map(|in_ms| Timestamp::from_millis(plan.begin_ms + (asked_ms + in_ms) as i64))
            .map(SendAt::Moment),
        validity_s: Some(wish.validity_s as i64),
        transliterate: false,
        callback: wish.callback.map(|place| house.endpoints[place]),
        reference: Some(wish.reference.to_string()),
        metadata: None,
        retry_of: None,
        template: None,
        programme: None,
    }
}

fn number(text: &str) -> PhoneNumber {
    PhoneNumber::from_stored(text).expect("a number")
}

fn read_items(items: &[engine::Item]) -> Vec<Item> {
    let read = |item: &engine::Item| match item {
        engine::Item::Accepted(accepted) => {
            Item::Accepted(accepted.message.id.key(), accepted.message.sender)
        }
        engine::Item::Suppressed(_) => Item::Suppressed,
        engine::Item::Refused(_)
        | engine::Item::CodeRefused(_)
        | engine::Item::Overtaken
        | engine::Item::Asked => Item::Refused,
    };
    items.iter().map(read).collect()
}

/// The body that a repeat of a call gets.
fn write(items: &[Item]) -> Vec<u8> {
    let words: Vec<String> = items
        .iter()
        .map(|item| match item {
            Item::Accepted(id, sender) => format!("{id}:{sender}"),
            Item::Suppressed => "suppressed".to_owned(),
            Item::Refused => "refused".to_owned(),
        })
        .collect();
    words.join(" ").into_bytes()
}

fn read(body: &[u8]) -> Vec<Item> {
    let text = String::from_utf8_lossy(body);
    let read = |word: &str| match word {
        "suppressed" => Item::Suppressed,
        "refused" => Item::Refused,
        accepted => {
            let written = "it was written by `write`";
            let (id, sender) = accepted.split_once(':').expect(written);
            Item::Accepted(id.parse().expect(written), Sender::from_stored(sender).expect(written))
        }
    };
    text.split_whitespace().map(read).collect()
}

async fn cancel(house: &House, message: i64) {
    let stage = &house.stage;
    let running = house.running().await;
    let Some(realm) = stage.realm() else { return };
    stage.note(Happened::CancelAsked { message });
    let actor = Actor { account: realm.account, who: "customer".to_owned() };
    let cancel = tokio::select! {
        biased;
        () = running.life.ended() => return,
        cancel = running.engine.cancel(realm, MessageId::from_key(message), actor) => cancel,
    };
    if running.life.is_over() {
        return;
    }
    if let Ok(cancel) = cancel {
        let done = matches!(cancel, Cancel::Done(_));
        stage.note(Happened::CancelAnswered { message, done });
    }
}

async fn opt_out(house: &House, recipient: String) {
    let stage = &house.stage;
    let Some(realm) = stage.realm() else { return };
    loop {
        let running = house.running().await;
        let asked_ms = stage.now_ms();
        stage.note(Happened::OptOutAsked { recipient: recipient.clone() });
        let clock = running.engine.clock();
        let entry = Suppression {
            id: SuppressionId::from_key(clock.id()),
            realm,
            recipient: number(&recipient),
            programme: None,
            reason: Reason::OptedOut,
            source: "api".to_owned(),
            created_at: clock.now(),
            expires_at: None,
            lifted: None,
        };
        let actor = Actor { account: realm.account, who: "customer".to_owned() };
        let suppressing = async {
            running.life.moves().await;
            let done = running.engine.suppress(vec![entry], actor).await;
            running.life.moves().await;
            done
        };
        let impatient = async {
            match stage.plan.nodes.len() {
                1 => std::future::pending().await,
                _ => tokio::time::sleep(Duration::from_millis(OPT_OUT_PATIENCE_MS)).await,
            }
        };
        let done = tokio::select! {
            biased;
            () = running.life.ended() => None,
            done = suppressing => done.ok(),
            () = impatient => None,
        };
        if done.is_some() && !running.life.is_over() {
            let took_ms = stage.now_ms() - asked_ms;
            let process = running.life.number;
            stage.note(Happened::OptOutAnswered { recipient, process, took_ms });
            return;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

async fn lift(house: &House, recipient: String) {
    let stage = &house.stage;
    let Some(realm) = stage.realm() else { return };
    let running = house.running().await;
    stage.note(Happened::LiftAsked { recipient: recipient.clone() });
    let actor = Actor { account: realm.account, who: "customer".to_owned() };
    let reason = "they came back".to_owned();
    let lift = Lift { realm, recipient: number(&recipient), programme: None, reason };
    let lifted = running.engine.lift(lift, actor);
    // Whether it was done shows in what is sent.
    tokio::select! {
        biased;
        () = running.life.ended() => {}
        _ = lifted => {}
    }
    stage.note(Happened::LiftEnded { recipient });
}

/// Looks at messages now and then, as customers do.
pub async fn watch(house: Arc<House>) {
    let stage = &house.stage;
    let mut random = Random::of(stage.plan.seed, &[600]);
    loop {
        tokio::time::sleep(Duration::from_millis(random.between(1_000, 9_000))).await;
        let running = house.running().await;
        let Some(realm) = stage.realm() else { continue };
        let known: Vec<i64> = {
            let ledger = stage.ledger();
            let replies = ledger.entries.iter().filter_map(|(_, what)| match what {
                Happened::Replied { reply: Reply::Items(items), .. } => Some(items),
                _ => None,
            });
            let accepted = replies.flatten().filter_map(|item| match item {
                Item::Accepted(id, _) => Some(*id),
                Item::Suppressed | Item::Refused => None,
            });
            accepted.collect()
        };
        if known.is_empty() {
            continue;
        }
        for _ in 0..3 {
            let message = *random.pick(&known);
            let asked_ms = stage.now_ms();
            let shown = tokio::select! {
                biased;
                () = running.life.ended() => break,
                shown = running.engine.store().message(realm, MessageId::from_key(message)) => shown,
            };
            // What took its time shows how it was, and not how it is.
            if let Ok(Some(stored)) = shown
                && !running.life.is_over()
                && stage.now_ms() == asked_ms
            {
                stage.note(Happened::Shown { message, status: stored.life.state.status() });
            }
        }
    }
}

/// Reads the event feed, page after page.
pub async fn read_feed(house: Arc<House>) {
    let stage = &house.stage;
    let mut random = Random::of(stage.plan.seed, &[601]);
    let mut after = None;
    loop {
        tokio::time::sleep(Duration::from_millis(random.between(500, 12_000))).await;
        let running = house.running().await;
        let Some(realm) = stage.realm() else { continue };
        let limit = random.between(1, 20) as usize;
        let page = tokio::select! {
            biased;
            () = running.life.ended() => continue,
            page = running.engine.store().events(realm, after, limit) => page,
        };
        if let Ok(page) = page
            && !running.life.is_over()
        {
            let ids = page.told.iter().map(|told| told.id.key());
            stage.ledger().feed.extend(ids);
            after = page.upto;
        }
    }
}

/// An operator lets go on what a carrier's refusal has paused.
pub async fn operate(house: Arc<House>) {
    loop {
        tokio::time::sleep(Duration::from_secs(20)).await;
        let running = house.running().await;
        let connections = tokio::select! {
            biased;
            () = running.life.ended() => continue,
            connections = running.engine.connections(house.stage.plan.environment()) => connections,
        };
        for now in connections.unwrap_or_default() {
            let by_carrier = now.connection.paused.as_deref().is_some_and(|why| why != MAINTENANCE);
            if by_carrier && let Ok(place) = now.connection.name.parse() {
                pause(&house, place, false).await;
            }
        }
    }
}

/// An operator lets a connection go on, or pauses it.
pub async fn pause(house: &House, connection: usize, paused: bool) -> bool {
    let running = house.running().await;
    let Some(realm) = house.stage.realm() else { return false };
    let actor = Actor { account: realm.account, who: "operator".to_owned() };
    let reason = paused.then(|| MAINTENANCE.to_owned());
    let name = connection.to_string();
    if paused {
        // Whatever the answer is: it may have been done.
        house.stage.note(Happened::Paused { connection, paused });
    }
    let done = tokio::select! {
        biased;
        () = running.life.ended() => return false,
        done = running.engine.pause(house.stage.plan.environment(), &name, reason, actor) => done,
    };
    if done.is_ok() && !paused {
        house.stage.note(Happened::Paused { connection, paused });
    }
    done.is_ok()
}
