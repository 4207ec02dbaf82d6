//! What a seed stands for: the size of the world, which faults it knows and how often they strike, what customers will
//! do and when. Everything is drawn before anything runs, but for what depends on it.

use crate::fault::{Fault, Set};
use crate::random::Random;
use tidings_domain::account::Environment;
use tidings_domain::purpose::Purpose;

/// A purpose for each way of going wrong, all about as often.
const PURPOSES: [Purpose; 4] =
    [Purpose::Authentication, Purpose::Alert, Purpose::Transactional, Purpose::Marketing];

/// The world of one seed.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// The faults that may strike.
    pub faults: Set,
    /// What a right wall clock shows when the world begins: Unix milliseconds.
    pub begin_ms: i64,
    /// When faults end and healing begins: milliseconds.
    pub active_ms: u64,
    /// The nodes: one has the store for itself, several serve it together.
    pub nodes: Vec<NodePlan>,
    /// The connections.
    pub connections: Vec<ConnectionPlan>,
    /// Whether they all lead to one carrier, which may report on any of them.
    pub one_carrier: bool,
    /// Addresses of webhooks: the account's own, then those that messages name.
    pub endpoints: Vec<EndpointPlan>,
    /// How many different people are sent to.
    pub people: u64,
    /// What customers do, by time.
    pub deeds: Vec<(u64, Deed)>,
    /// What happens to the process and its clock, by time.
    pub turns: Vec<(u64, Turn)>,
    /// Faults that last.
    pub spells: Vec<Spell>,
    /// The quiet hours of marketing.
    pub quiet: Option<Quiet>,
    /// Who messages are from.
    pub senders: Vec<SenderPlan>,
    /// The limits of the day, each for one sender or several.
    pub dailies: Vec<DailyPlan>,
    /// What may be spent.
    pub spend: Option<SpendPlan>,
    /// Tries of a message in all.
    pub max_tries: u32,
    /// The longest that a commit usually takes.
    pub commit_ms: u64,
    rates: Vec<u64>,
}

/// One place where a process runs, one after the other.
#[derive(Debug, Clone)]
pub struct NodePlan {
    /// Whether it owns connections.
    pub sends: bool,
}

/// One connection and its carrier.
#[derive(Debug, Clone)]
pub struct ConnectionPlan {
    /// The window: segments.
    pub window: usize,
    /// The pace agreed: segments a second.
    pub pace_per_s: Option<f64>,
    /// When an answer is given up.
    pub patience_ms: u64,
    /// The longest that an answer usually takes.
    pub answer_ms: u64,
    /// The longest that a receipt usually takes.
    pub receipt_ms: u64,
    /// How ids are written.
    pub style: Style,
    /// Whether receipts give our reference back.
    pub echoes: bool,
    /// Receipts that may be offered and not acknowledged.
    pub unacknowledged: usize,
}

/// How a carrier writes ids: on its answers, and on receipts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// The same.
    Same,
    /// Hexadecimal, then decimal.
    HexThenDecimal,
    /// Decimal, then hexadecimal.
    DecimalThenHex,
    /// Small letters, then capitals.
    OtherCase,
    /// With zeros before it on receipts.
    Padded,
}

/// Quiet hours that begin or end while the world is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quiet {
    /// From which minute of the day on marketing may go, by the clock of who is sent to.
    pub opens_min: u64,
    /// Until which minute.
    pub closes_min: u64,
    /// Whether it is refused outside of that; else it waits.
    pub refuses: bool,
}

/// A midnight in London, and the beginning of a month: 2027-01-01T00:00:00Z. Most worlds begin then.
pub const MIDNIGHT_MS: i64 = 1_798_761_600_000;
/// A day: milliseconds. In January no clock is changed.
pub const DAY_MS: i64 = 24 * 3_600_000;

/// The minute that the clock of who is sent to shows: midnight in London is one o'clock in Stockholm.
pub const fn minute_of_people(wall_ms: i64) -> u64 {
    ((wall_ms - MIDNIGHT_MS).div_euclid(60_000) + 60).rem_euclid(24 * 60) as u64
}

/// Who messages are from where there is no pool.
const SENDER: &str = "+15550001111";
/// What the pool is called.
pub const POOL: &str = "pool";

/// Somebody whom messages are from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SenderPlan {
    /// The number.
    pub number: String,
    /// The connection that alone takes it, where there is a pool; else all do.
    pub connection: usize,
    /// Whether the pool has it.
    pub is_pooled: bool,
    /// Its limit of the day: a place in [`Plan::dailies`].
    pub daily: Option<usize>,
}

/// A limit of a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DailyPlan {
    /// What it is counted by.
    pub name: String,
    /// Segments.
    pub segments: u32,
    /// The zone in which the day begins at midnight.
    pub zone: Zone,
}

/// Where days begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    /// Nowhere: UTC.
    Utc,
    /// In Los Angeles.
    LosAngeles,
}

impl Zone {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Utc => "UTC",
            Self::LosAngeles => "America/Los_Angeles",
        }
    }

    /// By how much later its midnight is than that of London: milliseconds.
    pub const fn behind_ms(self) -> i64 {
        match self {
            Self::Utc => 0,
            Self::LosAngeles => 8 * 3_600_000,
        }
    }

    /// Which day it is there: 0 begins at its midnight of [`MIDNIGHT_MS`].
    pub const fn day(self, wall_ms: i64) -> i64 {
        (wall_ms - MIDNIGHT_MS - self.behind_ms()).div_euclid(DAY_MS)
    }
}

/// What may be spent, in millionths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpendPlan {
    /// A segment to who is reached over each connection.
    pub prices: Vec<u64>,
    /// In a day of UTC.
    pub per_day: Option<u64>,
    /// In a month of UTC.
    pub per_month: Option<u64>,
}

impl SpendPlan {
    fn of(seed: u64, connections: usize) -> Self {
        let mut random = Random::of(seed, &[label::SPEND]);
        let prices = (0..connections).map(|_| *random.pick(&[7_900, 45_000, 50_000])).collect();
        let (day, month) = (45_000 * random.between(10, 80), 45_000 * random.between(10, 120));
        let which = random.below(3);
        Self { prices, per_day: (which != 0).then_some(day), per_month: (which != 1).then_some(month) }
    }
}

impl Quiet {
    fn of(seed: u64, faults: Set, begin_ms: i64, active_ms: u64) -> Self {
        let mut random = Random::of(seed, &[label::QUIET]);
        let turns_min = minute_of_people(begin_ms) + random.between(1, active_ms / 60_000);
        // What waits for a window that is over would wait until tomorrow, and nobody watches so long. A clock that is set
        // forward by a day brings that about.
        match random.hits(500) && !faults.has(Fault::WallForward) {
            true => Self { opens_min: turns_min, closes_min: 24 * 60, refuses: false },
            false => Self { opens_min: 0, closes_min: turns_min, refuses: true },
        }
    }
}

/// One address of webhooks.
#[derive(Debug, Clone)]
pub struct EndpointPlan {
    /// Bits of the kinds that it wants; 0 for all.
    pub kinds: u32,
    /// Whether it hears only of messages that name it.
    pub callback: bool,
    /// The longest that it usually takes.
    pub answer_ms: u64,
}

/// A message that a customer wants sent.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Its own name for it, which no other message has.
    pub reference: u32,
    /// To whom.
    pub person: u64,
    /// Over which connection they are reached, if no pool decides that.
    pub connection: usize,
    /// Whether it is from the pool.
    pub is_pooled: bool,
    /// Why.
    pub purpose: Purpose,
    /// Segments.
    pub segments: u32,
    /// How long after the call it shall go.
    pub send_in_ms: Option<u64>,
    /// How long it is worth sending.
    pub validity_s: u64,
    /// The address that hears of it besides the account's own.
    pub callback: Option<usize>,
}

/// What a customer does.
#[derive(Debug, Clone)]
pub enum Deed {
    /// Sends messages in one call.
    Send(Call),
    /// Puts somebody on the suppression list.
    OptOut {
        /// Whom.
        person: u64,
        /// Over which connection they are reached.
        connection: usize,
    },
    /// Takes somebody off the list.
    Lift {
        /// Whom.
        person: u64,
        /// Over which connection they are reached.
        connection: usize,
    },
}

/// One call that sends.
#[derive(Debug, Clone)]
pub struct Call {
    /// Its number.
    pub number: u32,
    /// The messages.
    pub wishes: Vec<Wish>,
    /// Whether it is a batch.
    pub batch: bool,
    /// Whether it has an idempotency key, and is repeated until it is answered.
    pub keyed: bool,
    /// After which time the messages are taken back.
    pub cancel_after_ms: Option<u64>,
}

/// What happens to the process of a node, to the clocks, or to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It ends.
    Crash(usize),
    /// It is stopped in good order.
    Stop(usize),
    /// Everything is frozen for so long: milliseconds.
    Freeze(u64),
    /// It stands still for so long, and the others go on: milliseconds.
    Still(usize, u64),
    /// The database's clock is now another, by so much: milliseconds.
    StoreClock(i64),
    /// The wall clock is changed by so much: milliseconds.
    Wall(i64),
    /// An operator pauses this connection for so long: milliseconds.
    Pause(usize, u64),
}

/// A fault that lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spell {
    /// Which.
    pub fault: Fault,
    /// Of which connection, endpoint …
    pub place: usize,
    /// From when on: milliseconds.
    pub from_ms: u64,
    /// Until when.
    pub to_ms: u64,
    /// How bad: times in a thousand.
    pub permille: u64,
}

/// Labels of the decisions that are drawn here.
mod label {
    pub const FAULTS: u64 = 1;
    pub const SIZE: u64 = 2;
    pub const CONNECTION: u64 = 3;
    pub const ENDPOINT: u64 = 4;
    pub const DEED: u64 = 5;
    pub const TURN: u64 = 6;
    pub const SPELL: u64 = 7;
    pub const RATE: u64 = 8;
    pub const NODE: u64 = 9;
    pub const QUIET: u64 = 10;
    pub const SENDER: u64 = 11;
    pub const SPEND: u64 = 12;
    pub const BEGIN: u64 = 13;
    pub const CARRIER: u64 = 14;
}

impl Plan {
    /// The plan of a seed, with these faults switched off besides those that the seed switches off itself.
    pub fn of(seed: u64, off: Set) -> Self {
        Self::with(seed, Self::drawn(seed, off))
    }

    /// The same, but so many nodes serve the database, whatever the seed says about that.
    pub fn of_nodes(seed: u64, nodes: u64) -> Self {
        let faults = Self::drawn(seed, Set::NONE);
        let faults = match nodes {
            1 => faults.without(Fault::SeveralNodes),
            _ => faults.with(Fault::SeveralNodes),
        };
        Self::build(seed, faults, Some(nodes))
    }

    fn drawn(seed: u64, off: Set) -> Set {
        let mut faults = Set::NONE;
        let mut swarm = Random::of(seed, &[label::FAULTS]);
        // One world in thirty has no faults at all: what is wrong there is wrong everywhere.
        let calm = swarm.hits(33);
        for fault in Fault::ALL {
            let on = swarm.hits(500);
            if on && (!calm || *fault == Fault::SeveralNodes) && !off.has(*fault) {
                faults = faults.with(*fault);
            }
        }
        faults
    }

    /// The plan of a seed with exactly these faults.
    pub fn with(seed: u64, faults: Set) -> Self {
        Self::build(seed, faults, None)
    }

    fn build(seed: u64, faults: Set, wanted_nodes: Option<u64>) -> Self {
        // Nodes follow one clock: see `docs/src/guides/high_availability.md`.
        let faults = match faults.has(Fault::SeveralNodes) {
            true => faults.without(Fault::WallBack).without(Fault::WallForward),
            false => faults,
        };
        let mut rates = Vec::with_capacity(Fault::ALL.len());
        for fault in Fault::ALL {
            let mut random = Random::of(seed, &[label::RATE, *fault as u64]);
            let most = fault.most_permille();
            // Mostly seldom: where everything goes wrong at once, nothing gets far.
            let share = *random.pick(&[100, 100, 200, 300, 500, 1_000]);
            let rate = (most * share / 1_000).max(u64::from(most > 0));
            rates.push(if faults.has(*fault) { rate } else { 0 });
        }
        let mut size = Random::of(seed, &[label::SIZE]);
        let active_ms = size.between(60_000, *size.clone().pick(&[240_000, 480_000, 900_000]));
        let nodes = nodes(seed, faults, wanted_nodes);
        let few = size.between(1, 2);
        let count = if nodes.len() > 1 { Random::of(seed, &[label::NODE, 1]).between(1, 3) } else { few };
        let connections: Vec<ConnectionPlan> =
            (0..count).map(|place| ConnectionPlan::of(seed, place, faults)).collect();
        let (senders, dailies, zone) = senders(seed, faults, connections.len());
        let begin_ms = begin_ms(seed, faults, zone, active_ms);
        // Where ids collide, those of two carriers do.
        let may_be_one = connections.len() > 1 && !has_pool(&senders) && !faults.has(Fault::IdsCollide);
        let one_carrier = may_be_one && Random::of(seed, &[label::CARRIER]).hits(400);
        let mut plan = Self {
            seed,
            faults,
            begin_ms,
            active_ms,
            endpoints: endpoints(seed),
            people: size.between(4, 24),
            deeds: Vec::new(),
            turns: Vec::new(),
            spells: Vec::new(),
            commit_ms: *size.clone().pick(&[0, 0, 2, 8]),
            quiet: faults.has(Fault::QuietHours).then(|| Quiet::of(seed, faults, begin_ms, active_ms)),
            senders,
            dailies,
            spend: faults.has(Fault::SpendLimit).then(|| SpendPlan::of(seed, connections.len())),
            max_tries: if faults.has(Fault::FewTries) { size.between(1, 3) as u32 } else { 8 },
            nodes,
            connections,
            one_carrier,
            rates,
        };
        plan.deeds = deeds(&plan, size.between(20, 80) as u32);
        plan.spells = spells(&plan);
        plan.turns = turns(&plan);
        plan
    }

    /// The same with each fault as frequent as it ever is: for tests of a single promise.
    #[must_use]
    pub fn at_their_worst(mut self) -> Self {
        for fault in self.faults.iter() {
            self.rates[fault as usize] = fault.most_permille();
        }
        self
    }

    /// How often a fault strikes: times in a thousand.
    pub fn rate(&self, fault: Fault) -> u64 {
        self.rates[fault as usize]
    }

    /// The fault that lasts now, if it does.
    pub fn spell(&self, fault: Fault, place: usize, now_ms: u64) -> Option<Spell> {
        let lasts = |spell: &&Spell| {
            spell.fault == fault && spell.place == place && (spell.from_ms..spell.to_ms).contains(&now_ms)
        };
        self.spells.iter().find(lasts).copied()
    }

    /// The environment of all that is sent. Only in one something is spent.
    pub const fn environment(&self) -> Environment {
        if self.spend.is_some() { Environment::Live } else { Environment::Test }
    }

    /// Whether the senders decide the connections.
    pub fn has_pool(&self) -> bool {
        has_pool(&self.senders)
    }

    /// When the first day of the limits of senders ends, if that is while something may go wrong: then much happens around it.
    fn day_ends_ms(&self) -> Option<u64> {
        let zone = self.dailies.first()?.zone;
        let next_ms = MIDNIGHT_MS + zone.behind_ms() + (zone.day(self.begin_ms) + 1) * DAY_MS;
        Some((next_ms - self.begin_ms) as u64).filter(|ends_ms| *ends_ms < self.active_ms)
    }

    /// Who a message is from; `None` if the pool decides that.
    pub fn sender_of(&self, wish: &Wish) -> Option<&SenderPlan> {
        let place = if self.has_pool() { wish.connection } else { 0 };
        (!wish.is_pooled).then(|| &self.senders[place])
    }

    /// The number of a person who is reached over a connection.
    pub fn number(connection: usize, person: u64) -> String {
        format!("+467{}00000{person:02}", connection + 1)
    }

    /// What numbers reached over this connection begin with.
    pub fn prefix(connection: usize) -> String {
        format!("467{}", connection + 1)
    }
}

fn has_pool(senders: &[SenderPlan]) -> bool {
    senders.iter().any(|sender| sender.is_pooled)
}

impl ConnectionPlan {
    fn of(seed: u64, place: u64, faults: Set) -> Self {
        let mut random = Random::of(seed, &[label::CONNECTION, place]);
        let window = random.between(2, 20) as usize;
        let small = random.between(1, 2) as usize;
        let pace = random.between(3, 40) as f64;
        let paced = random.hits(400);
        let slow = random.between(1, 2) as f64;
        let style = *random.pick(&[
            Style::Same,
            Style::HexThenDecimal,
            Style::DecimalThenHex,
            Style::OtherCase,
            Style::Padded,
        ]);
        Self {
            window: if faults.has(Fault::SmallWindow) { small } else { window },
            pace_per_s: match (faults.has(Fault::SlowPace), paced) {
                (true, _) => Some(slow),
                (false, true) => Some(pace),
                (false, false) => None,
            },
            patience_ms: *random.pick(&[1_000, 5_000, 5_000, 10_000, 30_000]),
            answer_ms: *random.pick(&[0, 5, 20, 100, 500]),
            receipt_ms: *random.pick(&[50, 500, 3_000, 10_000]),
            style: if faults.has(Fault::ReceiptForms) { style } else { Style::Same },
            echoes: random.hits(500),
            unacknowledged: *random.pick(&[1, 2, 10, 100]),
        }
    }
}

/// The senders, their limits, and where the days of those begin.
fn senders(seed: u64, faults: Set, connections: usize) -> (Vec<SenderPlan>, Vec<DailyPlan>, Zone) {
    let mut random = Random::of(seed, &[label::SENDER]);
    let sender =
        |number: String, connection, is_pooled| SenderPlan { number, connection, is_pooled, daily: None };
    let mut senders = Vec::new();
    if faults.has(Fault::Pools) {
        // The first ones are for what is from no pool, one on each connection.
        senders.extend((0..connections).map(|place| sender(format!("+1555000111{place}"), place, false)));
        let pooled = random.between(2, 4) as usize;
        senders.extend((0..pooled).map(|n| sender(format!("+1555000222{n}"), n % connections, true)));
    } else {
        senders.push(sender(SENDER.to_owned(), 0, false));
    }
    let zone = *random.pick(&[Zone::Utc, Zone::LosAngeles]);
    let mut dailies = Vec::new();
    if faults.has(Fault::DailyLimit) {
        let shared = random.hits(300).then(|| "brand".to_owned());
        for sender in &mut senders {
            let segments = random.between(2, *random.clone().pick(&[6, 15, 30])) as u32;
            if random.hits(250) {
                continue;
            }
            let name = shared.clone().unwrap_or_else(|| sender.number.clone());
            let known = dailies.iter().position(|daily: &DailyPlan| daily.name == name);
            sender.daily = known.or_else(|| {
                dailies.push(DailyPlan { name, segments, zone });
                Some(dailies.len() - 1)
            });
        }
    }
    (senders, dailies, if faults.has(Fault::DailyLimit) { zone } else { Zone::Utc })
}

/// Where something is counted by days, one ends while the world is watched.
fn begin_ms(seed: u64, faults: Set, zone: Zone, active_ms: u64) -> i64 {
    if !faults.has(Fault::DailyLimit) && !faults.has(Fault::SpendLimit) {
        return MIDNIGHT_MS;
    }
    let mut random = Random::of(seed, &[label::BEGIN]);
    // With the first of these a month begins as well.
    let day = *random.pick(&[0, 4]);
    MIDNIGHT_MS + day * DAY_MS + zone.behind_ms() - random.between(1_000, active_ms * 5 / 4) as i64
}

fn nodes(seed: u64, faults: Set, wanted: Option<u64>) -> Vec<NodePlan> {
    let mut random = Random::of(seed, &[label::NODE, 0]);
    let drawn = if faults.has(Fault::SeveralNodes) { random.between(2, 3) } else { 1 };
    let count = wanted.unwrap_or(drawn);
    let idle = if faults.has(Fault::UnequalNodes) { random.between(1, 2) } else { u64::MAX };
    // The first one always sends.
    (0..count).map(|node| NodePlan { sends: node != idle }).collect()
}

fn endpoints(seed: u64) -> Vec<EndpointPlan> {
    let mut random = Random::of(seed, &[label::ENDPOINT]);
    let own = random.between(1, 3);
    (0..own + 1)
        .map(|n| EndpointPlan {
            // Bits of `domain::event::Kind`: only ends.
            kinds: if n > 0 && random.hits(400) { 0b1111_1110 } else { 0 },
            callback: n == own,
            answer_ms: *random.pick(&[1, 20, 300]),
        })
        .collect()
}

fn deeds(plan: &Plan, messages: u32) -> Vec<(u64, Deed)> {
    let mut deeds = Vec::new();
    let has = |fault| plan.faults.has(fault);
    let mut moments = Random::of(plan.seed, &[label::DEED, 0]);
    let bursts: Vec<u64> =
        (0..moments.between(1, 4)).map(|_| moments.below(plan.active_ms * 9 / 10)).collect();
    let (mut reference, mut number) = (0, 0);
    while reference < messages {
        let mut random = Random::of(plan.seed, &[label::DEED, 1, u64::from(number)]);
        let burst = *random.pick(&bursts) + random.below(1_500);
        let spread = random.below(plan.active_ms * 95 / 100);
        let at_ms = if has(Fault::Burst) { burst } else { spread };
        let mut close = random.clone();
        let at_ms = match plan.day_ends_ms().filter(|_| close.hits(250)) {
            Some(ends_ms) => (ends_ms + close.below(6_000)).saturating_sub(3_000),
            None => at_ms,
        };
        let batch = random.hits(150);
        let count = if batch { random.between(1, 8) } else { 1 };
        let wishes = (0..count).map(|_| {
            reference += 1;
            wish(plan, reference, at_ms, &mut random)
        });
        let wishes: Vec<Wish> = wishes.collect();
        let keyed = random.hits(800);
        let cancels = random.hits(plan.rate(Fault::Cancel));
        let cancel_after_ms = random.between(1, 60_000);
        let call = Call { number, wishes, batch, keyed, cancel_after_ms: cancels.then_some(cancel_after_ms) };
        deeds.push((at_ms, Deed::Send(call)));
        number += 1;
    }
    let sends = deeds.clone();
    let mut random = Random::of(plan.seed, &[label::DEED, 2]);
    for _ in 0..random.between(1, 8) {
        // Most opt-outs race a message to the same person.
        let (sent_ms, wished) = match random.pick(&sends) {
            (at_ms, Deed::Send(call)) => (*at_ms, call.wishes[0].clone()),
            (at_ms, _) => (*at_ms, wish(plan, 0, *at_ms, &mut random)),
        };
        let close = random.below(3_000);
        let at_ms = if random.hits(700) { sent_ms + close } else { random.below(plan.active_ms) };
        let lifted_ms = at_ms + random.between(1_000, plan.active_ms);
        let (person, connection) = (wished.person, wished.connection);
        if has(Fault::OptOut) {
            deeds.push((at_ms, Deed::OptOut { person, connection }));
            if has(Fault::Lift) && random.hits(500) && lifted_ms < plan.active_ms {
                deeds.push((lifted_ms, Deed::Lift { person, connection }));
            }
        }
    }
    deeds.sort_by_key(|(at_ms, _)| *at_ms);
    deeds
}

fn wish(plan: &Plan, reference: u32, at_ms: u64, random: &mut Random) -> Wish {
    let connection = random.below(plan.connections.len() as u64) as usize;
    let person = random.below(plan.people);
    let mut from = random.clone();
    let is_pooled = plan.has_pool() && from.hits(700);
    // Few people get many of them, so that it shows whether they keep their sender.
    let person = if is_pooled { person % 5 } else { person };
    let purpose = *random.pick(&PURPOSES);
    let long = random.hits(plan.rate(Fault::Long));
    let segments = random.between(2, 3) as u32;
    let scheduled = random.hits(plan.rate(Fault::Scheduled));
    let send_in_ms = random.between(1_000, (plan.active_ms.saturating_sub(at_ms)).max(2_000));
    let short = random.hits(plan.rate(Fault::ShortLife));
    let few_s = random.between(1, 20);
    let many_s = *random.pick(&[60, 60, 120, 200, 300]);
    let called_back = random.hits(200);
    Wish {
        reference,
        person,
        connection,
        is_pooled,
        purpose,
        segments: if long { segments } else { 1 },
        send_in_ms: scheduled.then_some(send_in_ms),
        validity_s: if short { few_s } else { many_s },
        callback: called_back.then_some(plan.endpoints.len() - 1),
    }
}

fn turns(plan: &Plan) -> Vec<(u64, Turn)> {
    let mut turns = Vec::new();
    for fault in
        [Fault::Crash, Fault::Stop, Fault::Freeze, Fault::WallBack, Fault::WallForward, Fault::Paused]
    {
        if !plan.faults.has(fault) {
            continue;
        }
        let mut random = Random::of(plan.seed, &[label::TURN, fault as u64]);
        for _ in 0..random.between(1, 4) {
            let at_ms = random.below(plan.active_ms * 95 / 100);
            let step_ms = *random.pick(&[900, 5_000, 60_000, 60_000, 3_600_000, 86_400_000]);
            let mut which = random.clone();
            let node = which.below(plan.nodes.len() as u64) as usize;
            let turn = match fault {
                Fault::Crash => Turn::Crash(node),
                Fault::Stop => Turn::Stop(node),
                Fault::Freeze if plan.nodes.len() > 1 => {
                    Turn::Still(node, *which.pick(&[1_000, 5_000, 9_000, 16_000, 25_000, 60_000]))
                }
                Fault::Freeze => Turn::Freeze(*random.pick(&[100, 2_000, 20_000, 60_000])),
                Fault::WallBack => Turn::Wall(-step_ms),
                Fault::WallForward => Turn::Wall(step_ms),
                _ => {
                    let place = random.below(plan.connections.len() as u64) as usize;
                    Turn::Pause(place, random.between(1_000, 60_000))
                }
            };
            turns.push((at_ms, turn));
        }
    }
    let failovers = plan.spells.iter().filter(|spell| spell.fault == Fault::Failover);
    turns.extend(failovers.map(|spell| {
        let mut random = Random::of(plan.seed, &[label::TURN, Fault::Failover as u64, spell.from_ms]);
        (spell.to_ms, Turn::StoreClock(random.between(0, 7_000) as i64 - 3_500))
    }));
    turns.sort_by_key(|(at_ms, _)| *at_ms);
    turns
}

fn spells(plan: &Plan) -> Vec<Spell> {
    let mut spells = Vec::new();
    let places = |fault: Fault| match fault {
        Fault::HookDown => plan.endpoints.len(),
        Fault::StoreAway => 1,
        Fault::Failover => usize::from(plan.nodes.len() > 1),
        // Who has the store for itself is not cut off from it.
        Fault::CutFromStore | Fault::CutFromCarriers if plan.nodes.len() == 1 => 0,
        Fault::CutFromStore | Fault::CutFromCarriers => plan.nodes.len(),
        _ => plan.connections.len(),
    };
    for fault in [
        Fault::Throttled,
        Fault::HalfOpen,
        Fault::Outage,
        Fault::HookDown,
        Fault::StoreAway,
        Fault::CutFromStore,
        Fault::CutFromCarriers,
        Fault::Failover,
    ] {
        if !plan.faults.has(fault) {
            continue;
        }
        for place in 0..places(fault) {
            let mut random = Random::of(plan.seed, &[label::SPELL, fault as u64, place as u64]);
            for _ in 0..random.between(0, 3) {
                let longest_ms = match fault {
                    Fault::StoreAway | Fault::Failover => 10_000,
                    Fault::CutFromStore => *random.pick(&[3_000, 12_000, 40_000, 90_000]),
                    Fault::HookDown => plan.active_ms,
                    _ => *random.pick(&[3_000, 20_000, 90_000, 240_000]),
                };
                let from_ms = random.below(plan.active_ms);
                let to_ms = (from_ms + random.between(500, longest_ms)).min(plan.active_ms);
                let permille = *random.pick(&[300, 700, 1_000]);
                spells.push(Spell { fault, place, from_ms, to_ms, permille });
            }
        }
    }
    spells
}
