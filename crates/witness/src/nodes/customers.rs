//! The customers of several nodes: they send to any of them, go to another one when one refuses or is silent, always with
//! the same idempotency key, and some of those whom they write to opt out at the same time.

use super::fleet::{Fleet, PREFIXES};
use crate::clock::{self, Moment};
use crate::http::{Answer, Client};
use crate::ledger::{Purpose, Request};
use crate::load::SENDER;
use crate::random::Random;
use crate::smsc::Smsc;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// One request in so many is sent again after its answer, to a node of its own.
const REPEAT_ONE_IN: u64 = 40;
/// One recipient in so many opts out while he is written to.
const OPT_OUT_ONE_IN: u64 = 50;
/// One message in so many is worth sending for [`SHORT_S`] only.
const SHORT_ONE_IN: u64 = 25;
/// Seconds.
const SHORT_S: u64 = 10;
/// One message in so many has two segments.
const LONG_ONE_IN: u64 = 20;
/// Threads that opt out.
const OPTING_OUT: usize = 2;
/// How long a client rests before it tries another node: ms.
const PAUSE_MS: u64 = 20;
/// How long others are tried first, after a node did not answer: ms.
const SHUNNED_MS: u64 = 1_000;
/// A time without a 202 that is worth a line: ms.
const SILENCE_MS: u64 = 2_000;
/// How long a request is repeated before it is given up: ms.
const GIVE_UP_MS: u64 = 240_000;

/// What a customer asked for and was told.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The request.
    pub request: Request,
    /// Whether it was refused because the recipient had opted out.
    pub refused: bool,
    /// How long it is worth sending, if not as long as its purpose says: seconds.
    pub life_s: Option<u64>,
    /// When the recipient asked not to be written to any more, if he did.
    pub opt_out: Option<OptOut>,
}

/// An opt-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptOut {
    /// When it was first asked for.
    pub asked: Moment,
    /// When it had been answered, and everything that had arrived at the carriers by then was read. `None` if it was
    /// never answered.
    pub fence: Option<Moment>,
}

/// How much is sent.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Threads.
    pub clients: u64,
    /// Messages a second, of all threads together.
    pub per_second: u64,
}

/// What all customers share.
#[derive(Debug)]
pub struct Customers {
    seed: u64,
    pace: Pace,
    connections: usize,
    stop: AtomicBool,
    next: AtomicU64,
    acknowledged: AtomicU64,
    last_acknowledged: AtomicU64,
    silences: Mutex<Vec<(Moment, u64)>>,
    sent: Mutex<Vec<Sent>>,
    opt_outs: Mutex<BTreeMap<String, OptOut>>,
    refusals: Mutex<BTreeMap<String, u64>>,
}

/// A recipient of its own for message `n`, spread over the connections.
pub fn recipient(n: u64, connections: usize) -> String {
    let prefix = PREFIXES[usize::try_from(n).expect("it is small") % connections];
    format!("+{prefix}{:07}", n / connections as u64 % 10_000_000)
}

impl Customers {
    /// Nobody sends yet.
    pub fn new(seed: u64, pace: Pace, connections: usize) -> Self {
        Self {
            seed,
            pace,
            connections,
            stop: AtomicBool::new(false),
            next: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            last_acknowledged: AtomicU64::new(0),
            silences: Mutex::default(),
            sent: Mutex::default(),
            opt_outs: Mutex::default(),
            refusals: Mutex::default(),
        }
    }

    /// Messages that got a 202 so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// The times of more than [`SILENCE_MS`] in which no message got its first 202: since when, and how long (ms).
    pub fn silences(&self) -> Vec<(Moment, u64)> {
        self.silences.lock().expect("no client panics with it").clone()
    }

    /// From now on nobody begins anything; what was begun is brought to its answer.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Sends until [`Customers::stop`].
    pub fn work(&self, fleet: &Fleet, carriers: &[Smsc]) {
        self.last_acknowledged.store(clock::now().0, Ordering::Relaxed);
        std::thread::scope(|scope| {
            let (opt_out, who) = sync_channel(1_000);
            let who = std::sync::Arc::new(Mutex::new(who));
            for n in 0..OPTING_OUT {
                let who = std::sync::Arc::clone(&who);
                scope.spawn(move || self.opt_out(fleet, carriers, &who, n));
            }
            for client in 0..self.pace.clients {
                let opt_out = opt_out.clone();
                scope.spawn(move || Customer::new(self, fleet, client, opt_out).work());
            }
        });
    }

    /// What was sent, and what was answered besides 202, by kind.
    pub fn results(self) -> (Vec<Sent>, BTreeMap<String, u64>) {
        let mut sent = self.sent.into_inner().expect("no client panics with it");
        let opt_outs = self.opt_outs.into_inner().expect("no client panics with it");
        for sent in &mut sent {
            sent.opt_out = opt_outs.get(&sent.request.recipient).copied();
        }
        (sent, self.refusals.into_inner().expect("no client panics with it"))
    }

    fn opt_out(&self, fleet: &Fleet, carriers: &[Smsc], who: &Mutex<Receiver<String>>, n: usize) {
        let mut random = Random::part(self.seed, 5_000 + n as u64);
        // An opt-out waits for nodes that are slow. Some wait for that; others ask again, and what is answered then must
        // hold as well.
        let client = |node| if n == 0 { fleet.patient_client(node) } else { fleet.client(node) };
        let mut clients: Vec<Client> = (0..fleet.count()).map(client).collect();
        loop {
            let next = who.lock().expect("no thread panics with it").recv();
            let Ok(to) = next else { return };
            std::thread::sleep(std::time::Duration::from_micros(random.between(0, 20_000)));
            let body = serde_json::json!({ "to": to, "reason": "opted_out" }).to_string();
            let asked = clock::now();
            let end = asked.plus_ms(GIVE_UP_MS);
            let mut fence = None;
            while fence.is_none() && clock::now() < end {
                let node = choose(fleet, &mut random);
                match clients[node].ask("POST", "/v1/suppressions", None, &body) {
                    Ok(answer) if (200..300).contains(&answer.status) => {
                        for carrier in carriers {
                            carrier.barrier();
                        }
                        fence = Some(clock::now());
                    }
                    other => {
                        self.count_refusal("opt-out", other.as_ref().ok());
                        fleet.shun(node, SHUNNED_MS);
                        clock::sleep_ms(PAUSE_MS);
                    }
                }
            }
            self.opt_outs.lock().expect("no thread panics with it").insert(to, OptOut { asked, fence });
        }
    }

    fn count_refusal(&self, what: &str, answer: Option<&Answer>) {
        let kind = match answer {
            None => format!("{what}: no answer"),
            Some(answer) => {
                let json = answer.json();
                format!("{what}: {} {}", answer.status, json["code"].as_str().unwrap_or("without a code"))
            }
        };
        *self.refusals.lock().expect("no thread panics with it").entry(kind).or_default() += 1;
    }

    fn note_first(&self) {
        let now = clock::now();
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
        let before = Moment(self.last_acknowledged.fetch_max(now.0, Ordering::Relaxed));
        if now.ms_since(before) > SILENCE_MS {
            let mut silences = self.silences.lock().expect("no client panics with it");
            silences.push((before, now.ms_since(before)));
        }
    }
}

/// Any node, preferably one that answered lately.
fn choose(fleet: &Fleet, random: &mut Random) -> usize {
    let count = fleet.count();
    let first = usize::try_from(random.between(0, count as u64 - 1)).expect("it is small");
    (0..count).map(|n| (first + n) % count).find(|n| !fleet.is_shunned(*n)).unwrap_or(first)
}

struct Customer<'c> {
    all: &'c Customers,
    fleet: &'c Fleet,
    clients: Vec<Client>,
    random: Random,
    opt_out: SyncSender<String>,
}

impl<'c> Customer<'c> {
    fn new(all: &'c Customers, fleet: &'c Fleet, client: u64, opt_out: SyncSender<String>) -> Self {
        let random = Random::part(all.seed, 1_000 + client);
        let clients = (0..fleet.count()).map(|n| fleet.client(n)).collect();
        Self { all, fleet, clients, random, opt_out }
    }

    fn work(mut self) {
        // One message of each client every `step`, so that all together keep the rate.
        let step = 1_000_000_000 * self.all.pace.clients / self.all.pace.per_second.max(1);
        let mut due = clock::now().0 + self.random.between(0, step);
        while !self.all.stop.load(Ordering::Relaxed) {
            let now = clock::now().0;
            if due > now {
                clock::sleep_ms((due - now) / 1_000_000 + 1);
                continue;
            }
            // What was missed while nobody answered is not made up for beyond half a second.
            due = (due + step).max(now.saturating_sub(500_000_000));
            let sent = self.send();
            self.all.sent.lock().expect("no client panics with it").push(sent);
        }
    }

    fn send(&mut self) -> Sent {
        let n = self.all.next.fetch_add(1, Ordering::Relaxed);
        let purpose = Purpose::ALL[usize::try_from(self.random.between(0, 3)).expect("it is below 4")];
        let seed = self.all.seed;
        let mut text = format!("nodes {seed} message {n}");
        if self.random.one_in(LONG_ONE_IN) {
            // 153 characters to a part: this makes two.
            text.push_str(&" and so on".repeat(17));
        }
        let request = Request {
            key: format!("nodes-{seed}-{n}"),
            recipient: recipient(n, self.all.connections),
            purpose,
            text,
            accepted: Vec::new(),
            unanswered: 0,
            poison: None,
        };
        let life_s = self.random.one_in(SHORT_ONE_IN).then_some(SHORT_S);
        let mut sent = Sent { request, refused: false, life_s, opt_out: None };
        let mut body = serde_json::json!({
            "from": SENDER,
            "to": sent.request.recipient,
            "text": sent.request.text,
            "purpose": purpose.as_str(),
        });
        if let Some(life_s) = sent.life_s {
            body["expires_in_s"] = life_s.into();
        }
        let body = body.to_string();
        if self.random.one_in(OPT_OUT_ONE_IN) {
            // If too many wait already, this one does not opt out.
            drop(self.opt_out.try_send(sent.request.recipient.clone()));
        }
        let end = clock::now().plus_ms(GIVE_UP_MS);
        while sent.request.accepted.is_empty() && !sent.refused && clock::now() < end {
            self.ask(&mut sent, &body);
        }
        if self.random.one_in(REPEAT_ONE_IN) && !sent.refused {
            self.ask(&mut sent, &body);
        }
        sent
    }

    fn ask(&mut self, sent: &mut Sent, body: &str) {
        let node = choose(self.fleet, &mut self.random);
        let answer = self.clients[node].ask("POST", "/v1/messages", Some(&sent.request.key), body);
        let json = answer.as_ref().map(Answer::json).unwrap_or_default();
        match (&answer, json["id"].as_str()) {
            (Ok(answer), Some(id)) if answer.status == 202 => {
                if sent.request.accepted.is_empty() {
                    self.all.note_first();
                }
                sent.request.accepted.push((id.to_owned(), clock::now()));
                return;
            }
            (Ok(answer), _) if answer.status == 422 && json["code"] == "OPTED_OUT" => {
                sent.refused = true;
                return;
            }
            (Ok(_), _) => {}
            (Err(_), _) => sent.request.unanswered += 1,
        }
        self.all.count_refusal("send", answer.as_ref().ok());
        self.fleet.shun(node, SHUNNED_MS);
        clock::sleep_ms(PAUSE_MS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients_are_different_and_belong_to_a_connection() {
        for connections in 1..=PREFIXES.len() {
            let some: std::collections::HashSet<String> =
                (0..1_000).map(|n| recipient(n, connections)).collect();
            assert_eq!(some.len(), 1_000);
            let of = |prefix: &str| some.iter().filter(|number| number[1..].starts_with(prefix)).count();
            let counts: Vec<usize> = PREFIXES.iter().map(|prefix| of(prefix)).collect();
            assert_eq!(counts.iter().sum::<usize>(), 1_000);
            assert!(counts[..connections].iter().all(|count| *count > 300), "{counts:?}");
        }
    }
}
