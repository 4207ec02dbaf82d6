//! Requests become accepted messages: planned by `domain::intake`, committed by the store, and handed over to their
//! connection in memory if its window has room (otherwise the connection's loop claims them from the queue).

use crate::Inner;
use crate::clock::Clock;
use crate::dispatch::Lane;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use tidings_carriers::Permit;
use tidings_domain::account::{Environment, Realm};
use tidings_domain::address::PhoneNumber;
use tidings_domain::admission::Refused;
use tidings_domain::code;
use tidings_domain::consent::{Channel, Lack};
use tidings_domain::consent_request::NewConsentRequest;
use tidings_domain::content;
use tidings_domain::frequency::Other;
use tidings_domain::gate::{self, Hold};
use tidings_domain::id::{BatchId, ConnectionId, MessageId, TokenId};
use tidings_domain::intake::{self, Asked, Facts, Limits, Plan, Refusal, SendAt, SendRequest};
use tidings_domain::message::{Input, Life, Message, Rules, State, Status};
use tidings_domain::pool::{self, Last, Picked, Source, Unusable, Wish};
use tidings_domain::programme::{self, Programmes};
use tidings_domain::purpose::Purpose;
use tidings_domain::quiet_hours::Zone;
use tidings_domain::quota::{Count, Daily, Used};
use tidings_domain::routing::{self, Routes};
use tidings_domain::sender::Sender;
use tidings_domain::spend::Priced;
use tidings_domain::suppression;
use tidings_domain::text;
use tidings_domain::time::Timestamp;
use tidings_store::{
    self as store, Admission, Advanced, AskedQuota, Backend, Draft, Idempotency, Intake, Premise, Result,
    Saying, Sending, Stored, Ticket,
};

/// How often a call is planned, at most: again where somebody has another sender of a pool by now, or where something is in the way
/// that was taken not to be. Who has no sender gets the same from whoever asks, so that this is twice only where something changed
/// in between.
const PLANS_MAX: usize = 8;

/// One call that sends messages.
#[derive(Clone)]
pub struct Call {
    /// Whose call.
    pub realm: Realm,
    /// The token that asked.
    pub token: Option<TokenId>,
    /// What to send. Each has its own result.
    pub requests: Vec<SendRequest>,
    /// Whether to record a batch, and how many items were asked for (refused ones included).
    pub batch: Option<u32>,
    /// The idempotency key, if the caller gave one.
    pub idempotency: Option<IdempotencyKey>,
}

/// Renders the body of the answer to a call.
pub type RenderAnswer = Arc<dyn Fn(Option<BatchId>, &[Item]) -> Vec<u8> + Send + Sync>;

/// An idempotency key with what it stands for.
#[derive(Clone)]
pub struct IdempotencyKey {
    /// The key as given, 1 to 255 characters.
    pub key: String,
    /// SHA-256 of the request (method, path, body).
    pub fingerprint: [u8; 32],
    /// Renders the body of the answer that repeats of the call get.
    pub answer: RenderAnswer,
}

/// A request that is a message now.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// The message.
    pub message: Message,
    /// Where it is.
    pub status: Status,
    /// Why the gate holds it, if it does.
    pub held: Option<Hold>,
    /// What in its text carriers may filter.
    pub warnings: Vec<content::Finding>,
    /// How its sender was chosen, if it was chosen from a pool.
    pub picked: Option<Picked>,
}

/// What became of one request.
#[derive(Debug, Clone)]
pub enum Item {
    /// It is a message now.
    Accepted(Box<Accepted>),
    /// It breaks a rule.
    Refused(Refusal),
    /// Its recipient is on the suppression list.
    Suppressed(suppression::InForce),
    /// The code that it would carry may not be sent now.
    CodeRefused(code::Refused),
    /// Somebody wrote in its conversation meanwhile.
    Overtaken,
    /// Its recipient is already asked for consent from its sender.
    Asked,
}

/// What became of a call.
#[derive(Debug, Clone)]
pub enum Sent {
    /// New: the batch if there is one, and one item for each request.
    New(Option<BatchId>, Vec<Item>),
    /// The same call came before: the body of its answer.
    Replayed(Vec<u8>),
    /// The idempotency key was used for another request.
    KeyReused,
    /// Too much waits already: nothing was accepted.
    Overloaded {
        /// What is too much.
        why: Refused,
        /// When to try again: seconds.
        retry_after_s: u32,
    },
}

/// What a request would become.
#[derive(Debug, Clone)]
pub struct Preview {
    /// Who it would be from.
    pub from: Source,
    /// The plan, or the reason against it. The gate is asked apart, so that none of its reasons hides another.
    pub plan: std::result::Result<Plan, Refusal>,
    /// What the gate says for the moment at which it would go.
    pub gate: gate::Answer,
    /// When it would go, if it may.
    pub sends_at: Option<Timestamp>,
}

/// A claimed message, its places in the window, and the lane whose they are.
type HandedOver = (Arc<Lane>, Ticket, Permit);

/// A draft on its way into the store, with its place in the window if it has one.
struct Planned {
    message: Message,
    life: Life,
    held: Option<Hold>,
    warnings: Vec<content::Finding>,
    picked: Option<Picked>,
    priced: Option<Priced>,
    /// What its plan takes for granted, if it does.
    premise: Option<Premise>,
    handed_over: Option<HandedOver>,
}

pub(crate) fn send(engine: Arc<Inner>, call: Call) -> Finished<impl Future<Output = Result<Sent>>> {
    enter(engine, call, With::Nothing)
}

/// As [`send`], for one message that carries a code and has a blank for it in its text.
pub(crate) fn send_code(
    engine: Arc<Inner>,
    call: Call,
    sending: Sending,
) -> Finished<impl Future<Output = Result<Sent>>> {
    enter(engine, call, With::Code(sending))
}

/// As [`send`], for one message that is said in a conversation.
pub(crate) fn converse(
    engine: Arc<Inner>,
    call: Call,
    saying: Saying,
) -> Finished<impl Future<Output = Result<Sent>>> {
    enter(engine, call, With::Saying(saying))
}

/// As [`send`], for one message that asks for consent.
pub(crate) fn ask_consent(
    engine: Arc<Inner>,
    call: Call,
    asking: NewConsentRequest,
) -> Finished<impl Future<Output = Result<Sent>>> {
    enter(engine, call, With::Asking(asking))
}

/// Accepts a call if there is room for it.
fn enter(engine: Arc<Inner>, call: Call, with: With) -> Finished<impl Future<Output = Result<Sent>>> {
    Finished(Some(Box::pin(async move {
        // A batch is as urgent as the least urgent of its messages.
        let purpose = call.requests.iter().map(|request| request.purpose).max().unwrap_or(Purpose::Marketing);
        let messages = call.requests.len() as u64;
        match engine.admission.enter(call.realm.account, purpose, messages, &engine.clock) {
            // Its place is kept until it is done.
            Ok(_place) => accept(&engine, call, with).await,
            Err(why) => {
                engine.telemetry.refused(why.as_str(), messages);
                Ok(Sent::Overloaded { why, retry_after_s: why.retry_after_s(engine.clock.draw()) })
            }
        }
    })))
}

/// A caller may go away at any moment, and its future with it. A message that is claimed by then would have nobody who
/// submits it, and would be in doubt though it never left: so what was begun goes on without its caller.
pub(crate) struct Finished<F: Future<Output: Send> + Send + 'static>(Option<Pin<Box<F>>>);

impl<F: Future<Output: Send> + Send> Future for Finished<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<F::Output> {
        // Taken out while it runs, so that one that panics is not begun again.
        let Some(mut future) = self.0.take() else { return Poll::Pending };
        let polled = future.as_mut().poll(context);
        if polled.is_pending() {
            self.0 = Some(future);
        }
        polled
    }
}

impl<F: Future<Output: Send> + Send> Drop for Finished<F> {
    fn drop(&mut self) {
        if let (Some(future), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(future);
        }
    }
}

/// What a message is besides.
#[derive(Clone)]
enum With {
    Nothing,
    Code(Sending),
    Saying(Saying),
    Asking(NewConsentRequest),
}

impl With {
    /// Whether it is sent for the sake of an answer.
    const fn expects_answer(&self) -> bool {
        matches!(self, Self::Saying(_) | Self::Asking(_))
    }
}

async fn accept(engine: &Arc<Inner>, mut call: Call, with: With) -> Result<Sent> {
    // A message is worth sending for so long from when its call came, however slow it is to choose its sender.
    let now = engine.clock.now();
    let zones = engine.planner().settle(call.realm, &mut call.requests).await?;
    let moved = || store::Error::Unavailable("who has which sender of a pool changes too fast".to_owned());
    let picks = call.requests.iter().any(|request| matches!(request.from, Source::Pool(_)));
    let is_counted = call.requests.iter().any(|request| engine.planner().is_counted(request));
    if !picks && !is_counted {
        return attempt(engine, call, with, &zones, true, now).await?.ok_or_else(moved);
    }
    // Nearly always nothing that is counted is in the way, and the commit looks: to ask before would be a trip for each call.
    let takes_for_granted = matches!(with, With::Nothing);
    for round in 0..PLANS_MAX {
        let mut call = call.clone();
        if picks {
            pick(engine, call.realm, &mut call.requests, with.expects_answer(), now).await?;
        }
        let looks = round > 0 || !takes_for_granted;
        if let Some(sent) = attempt(engine, call, with.clone(), &zones, looks, now).await? {
            return Ok(sent);
        }
    }
    Err(moved())
}

/// Chooses the senders of those requests that want one of a pool. Where there is no such pool, nothing is changed.
async fn pick(
    engine: &Inner,
    realm: Realm,
    requests: &mut [SendRequest],
    expects_answer: bool,
    now: Timestamp,
) -> Result<()> {
    let paused: HashSet<ConnectionId> = {
        let connections = engine.connections.lock().expect("nothing panics while it holds this");
        connections.values().filter(|one| one.paused.is_some()).map(|one| one.id).collect()
    };
    for pool in &engine.settings.pools {
        let of_it = |request: &SendRequest| matches!(&request.from, Source::Pool(name) if *name == pool.name);
        let people: HashSet<PhoneNumber> =
            requests.iter().filter(|request| of_it(request)).map(|request| request.recipient).collect();
        if people.is_empty() {
            continue;
        }
        let people: Vec<PhoneNumber> = people.into_iter().collect();
        let asked = people.iter().map(|person| (realm, *person)).collect();
        let last = engine.store.last_senders(pool.name.clone(), pool.senders.clone(), asked).await?;
        let limits = pool.senders.iter().filter_map(|sender| {
            Some((*sender, engine.settings.gate.senders.listed.get(sender)?.daily.clone()?))
        });
        let (limited, limits): (Vec<Sender>, Vec<(Daily, Timestamp)>) =
            limits.map(|(sender, daily)| (sender, (daily, now))).unzip();
        let used = engine.planner().used(realm, limits).await?;
        let days: Vec<(Sender, Used)> = limited.into_iter().zip(used).collect();
        let seen: HashMap<PhoneNumber, Last> = people.into_iter().zip(last).collect();
        let mut had = seen.clone();
        for request in requests.iter_mut().filter(|request| of_it(request)) {
            let wish = Wish {
                environment: realm.environment,
                recipient: request.recipient,
                purpose: request.purpose,
                text: Some(&request.text),
                expects_answer,
                programme: request.programme.as_ref(),
                programmes: &engine.settings.programmes,
            };
            let senders = &engine.settings.gate.senders;
            let look = |sender: &Sender| {
                let goes_at = request.moment().filter(|at| *at > now).unwrap_or(now);
                // What is longer than a whole day fits into none, and is told so.
                let is_full = days.iter().any(|(of, used)| {
                    let full = || used.full(segments(engine, realm, sender, request), now);
                    of == sender
                        && used.daily.concerns(request.recipient)
                        && full().and_then(|full| full.opens_at).is_some_and(|ends_at| ends_at > goes_at)
                });
                let waits = |connection| match paused.contains(&connection) {
                    true => Some(Unusable::Paused),
                    // How a link is that another node has is not known here.
                    false => engine.lane(connection)?.is_down().then_some(Unusable::Down),
                };
                pool::look(*sender, wish, engine.routes(), senders, is_full, waits)
            };
            let last = had.entry(request.recipient).or_default();
            let (sender, choice) = pool::choose(pool, request.recipient, *last, look);
            // The next one of this call has it from this one.
            last.sent = Some((sender, now));
            let seen = seen.get(&request.recipient).and_then(|last| last.sent).map(|(sender, _)| sender);
            request.from = Source::Picked(Picked { pool: pool.name.clone(), sender, choice, seen });
        }
    }
    Ok(())
}

/// The segments that a request would have from a sender; one where no connection takes it.
fn segments(engine: &Inner, realm: Realm, sender: &Sender, request: &SendRequest) -> u32 {
    // Those of one carrier take text the same way.
    let route = routing::route(Routes::of(&engine.routes), realm.environment, sender, request.recipient);
    let place = route.and_then(|id| engine.routes.iter().position(|route| route.connection == id));
    let options = place.and_then(|place| engine.text.get(place)).copied().unwrap_or_default();
    let measured = match request.transliterate {
        true => text::transliterate(&request.text, &options).after,
        false => text::measure(&request.text, &options),
    };
    measured.segments.max(1)
}

/// Accepts a call whose senders are known. It `looks` at what is counted before, or takes for granted that nothing of it is in the
/// way. `None` if something is, or if somebody has another sender of a pool by now.
async fn attempt(
    engine: &Arc<Inner>,
    call: Call,
    with: With,
    zones: &Zones,
    looks: bool,
    now: Timestamp,
) -> Result<Option<Sent>> {
    let batch = call.batch.map(|asked| (BatchId::from_key(engine.clock.id()), asked));
    let asked = Asked { realm: call.realm, token: call.token, batch: batch.map(|(id, _)| id) };
    let expects_answer = with.expects_answer();
    let planner = engine.planner();
    let looked = planner.look(call.realm, &call.requests, now).await?;
    let (mut others, days) = if looks {
        let others = planner.turns(call.realm, &call.requests, now).await?;
        (others, planner.days(call.realm, &call.requests, now).await?)
    } else {
        Default::default()
    };
    let carries_code = matches!(with, With::Code(_));
    let planned: Vec<std::result::Result<Planned, Refusal>> = call
        .requests
        .into_iter()
        .enumerate()
        .map(|(place, request)| {
            let mut looked = looked.get(&place).cloned().unwrap_or_default();
            looked.day = days.get(&place);
            looked.expects_answer = expects_answer;
            let (recipient, purpose) = (request.recipient, request.purpose);
            looked.zone = zones.get(&(asked.realm, recipient)).copied();
            let before = others.get(&recipient).map_or(&[][..], Vec::as_slice);
            let mut planned = plan(engine, request, &looked, before, carries_code, asked, now);
            if let Ok(Planned { message, premise, .. }) = &mut planned {
                let bounds = engine.settings.gate.bounds(purpose, recipient);
                let at = message.send_at.unwrap_or(now);
                let is_bounded = !bounds.is_empty();
                if !looks {
                    let quota = planner.quota(message, at);
                    *premise = Some(Premise { goes_at: at, bounds, others: before.to_vec(), quota });
                }
                if is_bounded {
                    others.entry(recipient).or_default().push(Other { at, purpose });
                }
            }
            planned
        })
        .collect();

    // What is refused or held in any case is told with every reason.
    let is_plain = |planned: &std::result::Result<Planned, Refusal>| match planned {
        Ok(planned) => planned.held.is_none(),
        Err(refusal) => !matches!(refusal, Refusal::Gate(_)),
    };
    if !looks && !planned.iter().all(is_plain) {
        return Ok(None);
    }

    // What the answer shows of each accepted request; the store may still find its recipient suppressed.
    let shown: Arc<Vec<std::result::Result<Accepted, Refusal>>> = Arc::new(
        planned
            .iter()
            .map(|item| match item {
                // Handed over or waiting is a matter of microseconds: to its caller it is queued either way.
                Ok(Planned { message, life, held, warnings, picked, .. }) => Ok(Accepted {
                    message: message.clone(),
                    status: match life.state.status() {
                        Status::Sending => Status::Queued,
                        status => status,
                    },
                    held: held.clone(),
                    warnings: warnings.clone(),
                    picked: picked.clone(),
                }),
                Err(refusal) => Err(refusal.clone()),
            })
            .collect(),
    );
    let mut drafts = Vec::with_capacity(planned.len());
    let mut places = Vec::with_capacity(planned.len());
    for planned in planned.into_iter().flatten() {
        let Planned { message, life, held, picked, priced, premise, handed_over, .. } = planned;
        places.push((handed_over, engine.paces.queue_of(&message), life.state));
        drafts.push(Draft { message, life, held, picked, priced, premise });
    }
    // With a key it must be looked up: the same call may have been accepted when its time had not yet passed.
    if drafts.is_empty() && batch.is_none() && call.idempotency.is_none() {
        return Ok(Some(Sent::New(None, items(&shown, &[]))));
    }
    let batch_id = batch.map(|(id, _)| id);
    let is_any_held = drafts.iter().any(|draft| draft.held.is_some());
    let idempotency = call.idempotency.map(|given| {
        let shown = Arc::clone(&shown);
        let key = Sha256::new()
            .chain_update(call.realm.account.key().to_be_bytes())
            .chain_update([call.realm.environment as u8])
            .chain_update(given.key.as_bytes())
            .finalize()
            .into();
        let answer = move |admissions: &[Admission]| (given.answer)(batch_id, &items(&shown, admissions));
        Idempotency { key, fingerprint: given.fingerprint, answer: Arc::new(answer) }
    });
    let intake = Intake { realm: call.realm, idempotency, batch, drafts };
    let accepted = match with {
        With::Nothing => engine.store.accept(intake, now).await?,
        With::Code(sending) => engine.store.send_code(intake, sending, now).await?,
        With::Saying(saying) => engine.store.converse(intake, saying, now).await?,
        With::Asking(asking) => engine.store.ask_consent(intake, asking, now).await?,
    };
    let admissions = match accepted {
        store::Accepted::New(admissions, advanced) => {
            if is_any_held {
                engine.happened(*advanced).await;
            }
            admissions
        }
        store::Accepted::Replayed(answer) => return Ok(Some(Sent::Replayed(answer))),
        store::Accepted::KeyReused => return Ok(Some(Sent::KeyReused)),
        store::Accepted::Moved | store::Accepted::Crowded => return Ok(None),
    };
    for ((handed_over, queue, state), admission) in places.into_iter().zip(&admissions) {
        if *admission != Admission::Admitted {
            continue;
        }
        match (handed_over, state.wakes_at()) {
            // Its lane may be about to close: then it waits for these places.
            (Some((lane, ticket, permit)), _) => {
                if let Err(back) = lane.hand_over(ticket, permit) {
                    let (ticket, _permit) = *back;
                    engine.put_back(&ticket).await;
                }
            }
            (None, Some(due_at)) => {
                if let Some(lane) = engine.lane(queue.connection()) {
                    lane.queued(queue, due_at);
                }
            }
            (None, None) => {}
        }
    }
    let items = items(&shown, &admissions);
    for item in &items {
        match item {
            Item::Accepted(accepted) => engine.telemetry.accepted(accepted.message.purpose.as_str(), 1),
            Item::Suppressed(_) | Item::Refused(Refusal::Gate(gate::Reason::Suppressed(_))) => {
                engine.telemetry.refused("suppressed", 1);
            }
            Item::Refused(Refusal::Gate(reason)) => engine.telemetry.refused(reason.code(), 1),
            Item::Refused(_) => engine.telemetry.refused("rule", 1),
            Item::CodeRefused(why) => engine.telemetry.code_refused(why.as_str()),
            Item::Overtaken => engine.telemetry.refused("overtaken", 1),
            Item::Asked => engine.telemetry.refused("asked", 1),
        }
    }
    Ok(Some(Sent::New(batch_id, items)))
}

/// What was looked up for a request before the commit.
#[derive(Debug, Clone, Default)]
struct Looked<'a> {
    suppressed: Option<suppression::InForce>,
    consent: Option<Lack>,
    zone: Option<&'static Zone>,
    day: Option<&'a Used>,
    /// Whether an answer is waited for.
    expects_answer: bool,
}

/// What requests are planned with: what the store knows of people, and the operator's word. A running engine has it, and so has
/// a command on the same store.
#[derive(Clone, Copy)]
pub struct Planner<'a> {
    /// The store.
    pub store: &'a dyn Backend,
    /// Time and ids.
    pub clock: &'a Clock,
    /// The connections.
    pub routes: Routes<'a>,
    /// How each of these takes text.
    pub text: &'a [text::Options],
    /// The programmes.
    pub programmes: &'a Programmes,
    /// The bounds of what is accepted.
    pub limits: &'a Limits,
    /// What the operator decided about the gate.
    pub gate: &'a gate::Policy,
}

/// The time zones that are stated for people, of those for whom one is.
pub(crate) type Zones = HashMap<(Realm, PhoneNumber), &'static Zone>;

/// The time zones that are stated for these people.
pub(crate) async fn zones(store: &dyn Backend, people: HashSet<(Realm, PhoneNumber)>) -> Result<Zones> {
    if people.is_empty() {
        return Ok(HashMap::new());
    }
    let people: Vec<_> = people.into_iter().collect();
    let stated = store.stated_zones(people.clone()).await?;
    let found = people.into_iter().zip(stated);
    // A name that the database of zones has no more says nothing.
    Ok(found.filter_map(|(person, name)| Some((person, Zone::named(name?.as_str())?))).collect())
}

/// A message that repeats another one.
#[derive(Debug)]
pub struct Repeated {
    /// It.
    pub message: Message,
    /// When it is due.
    pub due_at: Option<Timestamp>,
    /// What its commit brought about.
    pub advanced: Advanced,
}

impl<'a> Planner<'a> {
    /// Sends the content of a message again, as a new one that names it, whatever waits already. It is planned like any other: by
    /// the routes and by the gate as they are now. `None` where it cannot be repeated or is not let pass.
    pub async fn repeat(self, realm: Realm, id: MessageId) -> Result<Option<Repeated>> {
        let Some(Stored { message: old, .. }) = self.store.message(realm, id).await? else {
            return Ok(None);
        };
        let Some(mut request) = SendRequest::again(&old) else { return Ok(None) };
        // One that nobody configures any more is none.
        request.programme =
            request.programme.and_then(|name| self.programmes.called(&name)).map(|one| one.name.clone());
        let (now, mut requests) = (self.clock.now(), [request]);
        let zones = self.settle(realm, &mut requests).await?;
        let looked = self.look(realm, &requests, now).await?.remove(&0).unwrap_or_default();
        let others = self.turns(realm, &requests, now).await?;
        let day = self.days(realm, &requests, now).await?.remove(&0);
        let [request] = requests;
        let zone = zones.get(&(realm, request.recipient)).copied();
        let looked = Looked { zone, day: day.as_ref(), ..looked };
        let others = others.get(&request.recipient).map_or(&[][..], Vec::as_slice);
        let Ok(plan) = intake::plan(&request, self.facts(realm, &looked, others), now) else {
            return Ok(None);
        };
        let (held, priced) = (plan.held.clone(), self.priced(realm, &request, plan.measured.segments));
        let asked = Asked { realm, token: old.token, batch: None };
        let (message, life) = intake::accept(self.clock.message_id(), request, plan, asked, now);
        let draft = Draft { held, priced, ..Draft::new(message.clone(), life.clone()) };
        let intake = Intake { realm, idempotency: None, batch: None, drafts: vec![draft] };
        Ok(match self.store.accept(intake, now).await? {
            store::Accepted::New(admissions, advanced) if admissions == [Admission::Admitted] => {
                Some(Repeated { message, due_at: life.state.wakes_at(), advanced: *advanced })
            }
            store::Accepted::New(..)
            | store::Accepted::Replayed(_)
            | store::Accepted::KeyReused
            | store::Accepted::Moved
            | store::Accepted::Crowded => None,
        })
    }

    fn facts<'f>(self, realm: Realm, looked: &'f Looked<'f>, others: &'f [Other]) -> Facts<'f>
    where
        'a: 'f,
    {
        Facts {
            realm,
            routes: self.routes,
            text: self.text,
            programmes: self.programmes,
            limits: self.limits,
            gate: self.gate,
            suppressed: looked.suppressed.as_ref(),
            consent: looked.consent,
            zone: looked.zone,
            others,
            day: looked.day,
            expects_answer: looked.expects_answer,
        }
    }

    /// Looks recipients up, by the places of their requests; only where the operator wants consent for a purpose. An opt-out
    /// that comes after this look is found in the commit, as for every message. The list is looked at too, so that who opted
    /// out is not said to lack consent only.
    async fn look(
        self,
        realm: Realm,
        requests: &[SendRequest],
        now: Timestamp,
    ) -> Result<HashMap<usize, Looked<'static>>> {
        let policy = &self.gate.consent;
        let concerned: Vec<usize> =
            (0..requests.len()).filter(|place| policy.concerns(requests[*place].purpose)).collect();
        if concerned.is_empty() {
            return Ok(HashMap::new());
        }
        let people: Vec<_> = concerned.iter().map(|place| (realm, requests[*place].recipient)).collect();
        let said = self.store.said(people.clone()).await?;
        let suppressed = self.store.suppressed(people, now).await?;
        let looked = concerned.into_iter().zip(said).zip(suppressed).map(|((place, said), suppressed)| {
            let request = &requests[place];
            let programme = self.programme(request);
            let scope = self.programmes.scope(programme);
            let consent = said.lacks(request.purpose, Channel::Text, scope, now);
            (place, Looked { suppressed: suppressed.against(programme), consent, ..Looked::default() })
        });
        Ok(looked.collect())
    }

    /// The programme that this request is of. One of a programme that it cannot be of is refused for that.
    fn programme(self, request: &SendRequest) -> Option<&'a programme::Name> {
        let programme = self.programmes.of(request.programme.as_ref(), &request.from).ok().flatten();
        programme.map(|programme| &programme.name)
    }

    /// Looks the stated zones up of those recipients whose clock matters, and turns local times into moments by them.
    async fn settle(self, realm: Realm, requests: &mut [SendRequest]) -> Result<Zones> {
        let concerned = requests.iter().filter(|request| {
            matches!(request.send_at, Some(SendAt::Local(_)))
                || self.gate.quiet_hours.asks_clock(request.purpose, request.recipient)
        });
        let people = concerned.map(|request| (realm, request.recipient)).collect();
        let zones = zones(self.store, people).await?;
        for request in requests {
            request.settle(zones.get(&(realm, request.recipient)).copied());
        }
        Ok(zones)
    }

    /// What the recipients were sent lately and will be, of requests that have a bound on that. What goes at this moment
    /// by another call is not seen: it takes its turn at its last moment.
    async fn turns(
        self,
        realm: Realm,
        requests: &[SendRequest],
        now: Timestamp,
    ) -> Result<HashMap<PhoneNumber, Vec<Other>>> {
        let bounded =
            |request: &&SendRequest| !self.gate.bounds(request.purpose, request.recipient).is_empty();
        let concerned = requests.iter().filter(bounded);
        let people: HashSet<PhoneNumber> = concerned.map(|request| request.recipient).collect();
        if people.is_empty() {
            return Ok(HashMap::new());
        }
        let people: Vec<PhoneNumber> = people.into_iter().collect();
        let asked = people.iter().map(|person| (realm, *person)).collect();
        let turns = self.store.turns(asked, self.gate.frequency.counted(), now).await?;
        Ok(people.into_iter().zip(turns).collect())
    }

    /// The limits of senders that requests are concerned by, by their places, and what went on the day on which they would go. What
    /// waits for that day is not counted: it takes what is left at its last moment.
    async fn days(
        self,
        realm: Realm,
        requests: &[SendRequest],
        now: Timestamp,
    ) -> Result<HashMap<usize, Used>> {
        let policy = &self.gate.senders;
        let limited = |(place, request): (usize, &SendRequest)| {
            let daily = policy.daily(&request.from.sender()?, request.recipient)?.clone();
            Some((place, (daily, request.moment().filter(|at| *at > now).unwrap_or(now))))
        };
        let (places, limits): (Vec<usize>, Vec<(Daily, Timestamp)>) =
            requests.iter().enumerate().filter_map(limited).unzip();
        Ok(places.into_iter().zip(self.used(realm, limits).await?).collect())
    }

    /// What a message that goes at this moment takes of the day of its sender, if that has a limit.
    fn quota(self, message: &Message, at: Timestamp) -> Option<AskedQuota> {
        let daily = self.gate.senders.daily(&message.sender, message.recipient)?;
        Some(AskedQuota {
            count: Count::of(daily, message.environment, at),
            segments: u32::from(message.segments),
            limit: daily.segments,
        })
    }

    /// Whether anything is counted of what such requests send.
    fn is_counted(self, request: &SendRequest) -> bool {
        let has_limit = |sender: Sender| self.gate.senders.daily(&sender, request.recipient).is_some();
        request.from.sender().is_some_and(has_limit)
            || !self.gate.bounds(request.purpose, request.recipient).is_empty()
    }

    /// How much of limits is used on the day of a moment.
    async fn used(self, realm: Realm, limits: Vec<(Daily, Timestamp)>) -> Result<Vec<Used>> {
        if limits.is_empty() {
            return Ok(Vec::new());
        }
        let counts = limits.iter().map(|(daily, at)| Count::of(daily, realm.environment, *at)).collect();
        let used = self.store.quotas(counts).await?;
        Ok(limits.into_iter().zip(used).map(|((daily, _), segments)| Used { daily, segments }).collect())
    }

    /// What a message costs, where that is counted. Messages of the test environment cost nothing.
    fn priced(self, realm: Realm, request: &SendRequest, segments: u32) -> Option<Priced> {
        let policy = &self.gate.spend;
        let is_counted = policy.is_any() && realm.environment == Environment::Live;
        is_counted.then(|| Priced { price: policy.price(request.recipient, segments), limits: policy.limits })
    }
}

impl Inner {
    /// What requests are planned with here.
    pub(crate) fn planner(&self) -> Planner<'_> {
        Planner {
            store: &*self.store,
            clock: &self.clock,
            routes: self.routes(),
            text: &self.text,
            programmes: &self.settings.programmes,
            limits: &self.settings.limits,
            gate: &self.settings.gate,
        }
    }
}

fn plan(
    engine: &Inner,
    mut request: SendRequest,
    looked: &Looked<'_>,
    others: &[Other],
    carries_code: bool,
    asked: Asked,
    now: Timestamp,
) -> std::result::Result<Planned, Refusal> {
    // It is measured as if the code was there.
    let blank = carries_code.then(|| {
        let sample = code::sample(&request.text).into_owned();
        std::mem::replace(&mut request.text, sample)
    });
    let planner = engine.planner();
    let mut plan = intake::plan(&request, planner.facts(asked.realm, looked, others), now)?;
    let picked = request.from.picked().cloned();
    let priced = planner.priced(asked.realm, &request, plan.measured.segments);
    plan.text = blank.unwrap_or(plan.text);
    let (held, warnings) = (plan.held.clone(), std::mem::take(&mut plan.warnings));
    let (message, life) = intake::accept(engine.clock.message_id(), request, plan, asked, now);
    let handed_over = hand_over(engine, &message, &life, now);
    let (life, handed_over) = match handed_over {
        Some((claimed, handed_over)) => (claimed, Some(handed_over)),
        None => (life, None),
    };
    Ok(Planned { message, life, held, warnings, picked, priced, premise: None, handed_over })
}

/// The claim rides on the acceptance: one commit less on the way to the carrier, and still nothing happens that was
/// not committed.
fn hand_over(engine: &Inner, message: &Message, life: &Life, now: Timestamp) -> Option<(Life, HandedOver)> {
    if !matches!(life.state, State::Queued { .. }) || !engine.seat.lease.holds() {
        return None;
    }
    let lane = engine.lane(message.connection)?;
    let permit = lane.reserve(engine.paces.queue_of(message), life.segments.len(), now)?;
    let rules = Rules { retry: &engine.settings.retry, jitter: tidings_domain::retry::Jitter(0) };
    let claimed = life.apply(Input::Claimed, message.terms(), now, rules).ok()?.life;
    let ticket = Ticket {
        message: message.clone(),
        attempt: claimed.attempt,
        segments: (0..claimed.segments.len()).map(|n| n as u8).collect(),
    };
    Some((claimed, (lane, ticket, permit)))
}

/// Each request's result: its refusal, or what the store said of its draft.
fn items(shown: &[std::result::Result<Accepted, Refusal>], admissions: &[Admission]) -> Vec<Item> {
    let mut admissions = admissions.iter();
    shown
        .iter()
        .map(|shown| match shown {
            Err(refusal) => Item::Refused(refusal.clone()),
            Ok(accepted) => match admissions.next() {
                Some(Admission::Suppressed(entry)) => Item::Suppressed(entry.clone()),
                Some(Admission::Overspent(period)) => {
                    Item::Refused(Refusal::Gate(gate::Reason::SpendLimit(*period)))
                }
                Some(Admission::Refused(why)) => Item::CodeRefused(*why),
                Some(Admission::Overtaken) => Item::Overtaken,
                Some(Admission::Asked) => Item::Asked,
                _ => Item::Accepted(Box::new(accepted.clone())),
            },
        })
        .collect()
}

pub(crate) async fn preview(
    engine: &Inner,
    realm: Realm,
    request: &SendRequest,
    channel: Channel,
) -> Result<Preview> {
    let now = engine.clock.now();
    let mut requests = [request.clone()];
    let zones = engine.planner().settle(realm, &mut requests).await?;
    pick(engine, realm, &mut requests, false, now).await?;
    let [request] = &requests;
    let policy = &engine.settings.gate;
    let said = engine.store.said(vec![(realm, request.recipient)]).await?;
    let planner = engine.planner();
    let programme = planner.programme(request);
    let scope = planner.programmes.scope(programme);
    let consent = said.first().and_then(|said| said.lacks(request.purpose, channel, scope, now));
    let zone = zones.get(&(realm, request.recipient)).copied();
    let others = planner.turns(realm, std::slice::from_ref(request), now).await?;
    let others = others.get(&request.recipient).map_or(&[][..], Vec::as_slice);
    let day = planner.days(realm, std::slice::from_ref(request), now).await?.remove(&0);
    let looked = Looked { consent, zone, day: day.as_ref(), ..Looked::default() };
    let facts = planner.facts(realm, &looked, others);
    let listed = engine.store.suppressed(vec![(realm, request.recipient)], now).await?;
    let listed = listed.first().and_then(|standing| standing.against(programme));
    let plan = match intake::plan(request, facts, now) {
        Err(Refusal::Gate(_)) => {
            let content = policy.content.clone();
            let open = gate::Policy { content: content.warning_only(), ..gate::Policy::OPEN };
            intake::plan(request, Facts { gate: &open, day: None, ..facts }, now)
        }
        plan => plan,
    };
    let segments = plan.as_ref().map_or(1, |plan| plan.measured.segments);
    let goes_at = request.moment().filter(|at| *at > now).unwrap_or(now);
    let full = day.as_ref().and_then(|day| day.full(segments, goes_at));
    let overspent = match planner.priced(realm, request, segments) {
        Some(Priced { price, limits }) => {
            let spent = engine.store.spent(vec![realm.account], now).await?;
            limits.beyond(spent.first().copied().unwrap_or_default(), price)
        }
        None => None,
    };
    let facts = gate::Facts::of_request(request, realm.environment, policy, now)
        .suppressed(listed.as_ref())
        .consent(consent)
        .zone(zone)
        .others(others)
        .full(full)
        .overspent(overspent);
    let (gate, sends_at) = gate::preview(&facts, request.moment(), now);
    Ok(Preview { from: request.from.clone(), plan, gate, sends_at })
}
