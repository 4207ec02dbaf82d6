//! One call of a story: made to a store, with its answer as text. And everything that can be read of a store.

use super::{NEIGHBOUR, REALMS, TEMPLATE_NAMES, TEST, TEST_LINE, Teller};
use crate::programme::programmes;
use crate::samples::*;
use std::fmt::{Debug, Write};
use std::sync::Arc;
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::assembly::Bounds;
use tidings_domain::code::Code;
use tidings_domain::consent::Consent;
use tidings_domain::consent_request::NewConsentRequest;
use tidings_domain::contact::{Change, Contact};
use tidings_domain::conversation::{self, Change as ConversationChange, Entry};
use tidings_domain::id::*;
use tidings_domain::import::{Decision as Settled, Import};
use tidings_domain::inbound_rule::{Answer as RuleAnswer, Assign, InboundRule, Then, When};
use tidings_domain::keyword::Keyword;
use tidings_domain::message::Message;
use tidings_domain::pool::Name;
use tidings_domain::programme::{self, Joining};
use tidings_domain::purpose::Purpose;
use tidings_domain::queue::Queue;
use tidings_domain::reachability;
use tidings_domain::reply::{self, Reply};
use tidings_domain::retry::{Jitter, RetryPolicy};
use tidings_domain::review::Decision;
use tidings_domain::segment::{Change as SegmentChange, Segment as SavedQuery};
use tidings_domain::sender::Sender;
use tidings_domain::template::Template;
use tidings_domain::time::Timestamp;
use tidings_domain::velocity::{self, Client as Person, Prefix, Watch};
use tidings_domain::webhook::Delivery;
use tidings_store::*;

/// One call to a store, the same for both.
#[derive(Debug, Clone)]
pub(super) enum Call {
    Accept {
        realm: Realm,
        key: Option<(u8, u8)>,
        batch: Option<(BatchId, u32)>,
        drafts: Vec<Draft>,
    },
    Claim {
        queue: Queue,
        limit: usize,
    },
    Advance {
        happenings: Vec<Happening>,
        jitter: u32,
    },
    Wake {
        limit: usize,
        jitter: u32,
    },
    Recover {
        limit: usize,
        jitter: u32,
    },
    SendCode {
        realm: Realm,
        key: Option<(u8, u8)>,
        draft: Draft,
        which: Which,
        session: Option<String>,
    },
    CheckCode(Realm, CodeId, bool),
    CancelCode(Realm, CodeId),
    Stops(Realm),
    LiftStop(Realm, Prefix),
    Suppressed(Vec<(Realm, PhoneNumber)>),
    Receive(Vec<Arrival>),
    GiveUp(usize),
    NextDue(Option<Queue>),
    Queues(ConnectionId),
    ClaimDeliveries {
        wanted: Vec<(EndpointId, usize)>,
        lease_ms: i64,
    },
    GiveBackDeliveries(Vec<Delivery>),
    RecordAttempts(Vec<Attempt>),
    ReleaseDeliveries,
    CreateEndpoint(Endpoint),
    CallbackEndpoint(Endpoint),
    UpdateEndpoint(Endpoint),
    DeleteEndpoint(Realm, EndpointId),
    Replay {
        realm: Realm,
        endpoint: EndpointId,
        what: Replay,
        limit: usize,
    },
    Suppress(Vec<Suppression>),
    StopWaiting(Vec<(Realm, PhoneNumber)>, usize),
    RecordConsents(Vec<Consent>),
    ImportConsents(Vec<Consent>),
    CreateContact(Contact),
    ChangeContact(Realm, ContactId, Change),
    DeleteContact(Realm, ContactId),
    Known(Realm, Vec<PhoneNumber>),
    BeginImport(Import),
    StageImport(Realm, ImportId, Box<Staged>),
    DecideImport(Realm, ImportId, Settled),
    ApplyImport(Option<ImportId>),
    TakeTurns(Vec<AskedTurn>),
    TakeQuotas(Vec<AskedQuota>),
    ReturnQuotas(Vec<AskedQuota>),
    Converse {
        realm: Realm,
        key: Option<(u8, u8)>,
        draft: Draft,
        seen: Option<Entry>,
    },
    AskConsent {
        realm: Realm,
        draft: Draft,
        asking: NewConsentRequest,
    },
    /// About the conversation at this place of the list.
    Note(Realm, usize, NoteId),
    Change(Realm, usize, ConversationChange),
    CreateTemplate(Template),
    AddTemplateVersion(Realm, TemplateId),
    CreateSegment(SavedQuery),
    ChangeSegment(Realm, SegmentId, SegmentChange),
    DeleteSegment(Realm, SegmentId),
    AddTouches(Realm, Touched),
    Lift(Realm, PhoneNumber, Option<programme::Name>),
    /// Decides the open item at this place of the list, or everything with its cause.
    Decide {
        realm: Realm,
        place: usize,
        all: bool,
        decision: Decision,
        limit: usize,
    },
    Redact(Realm, MessageId),
    Sweep(Retention),
    Hold(Option<String>),
    Pause(ConnectionId, Option<String>),
    Reroute {
        from: ConnectionId,
        to: ConnectionId,
        limit: usize,
    },
    CreateToken(Token),
    UpdateToken(Token),
    TouchTokens(Vec<(TokenId, Timestamp, bool)>),
    CreateClient(Client),
    RevokeClient(Realm, ClientId),
    CreateAccount(Account),
    RecordAudit,
    List {
        realm: Realm,
        filter: Box<MessageFilter>,
        limit: usize,
    },
    Timeline(Realm, MessageId),
    Numbers,
    Reopen,
    Crash,
}

impl Call {
    /// Whether it may be in one transaction with others of its kind, one after the other as they came. An acceptance for which
    /// something is looked up before may come after them.
    pub(super) fn goes_with_others(&self) -> bool {
        match self {
            Self::Accept { drafts, .. } => drafts.iter().all(|draft| draft.premise.is_none()),
            Self::Advance { .. } | Self::RecordAttempts(_) | Self::Suppress(_) => true,
            _ => false,
        }
    }
}

/// What the teller takes from an answer for the rest of the story.
#[derive(Default)]
pub(super) struct Learned {
    pub(super) tickets: Vec<Ticket>,
    pub(super) told: Vec<Told>,
}

/// An answer as text. Of an error only the act that it asks for counts.
fn answer<T>(result: Result<T>, render: impl FnOnce(T) -> String) -> String {
    match result {
        Ok(value) => render(value),
        Err(Error::Unavailable(_)) => "unavailable".to_owned(),
        Err(Error::Full(_)) => "full".to_owned(),
        Err(Error::Broken(_) | Error::Expelled(_)) => "broken".to_owned(),
        Err(Error::Conflict(_)) => "conflict".to_owned(),
        Err(Error::Corrupt(why)) => format!("corrupt: {why}"),
    }
}

fn plain<T: Debug>(result: Result<T>) -> String {
    answer(result, |value| format!("{value:?}"))
}

/// So few that stories meet the bounds.
const FEW: velocity::Bounds = velocity::Bounds {
    number: 3,
    session: 2,
    address: 0,
    prefix: 9,
    country: 8,
    token: 0,
    watch: Watch { sends: 1, percent: 40 },
    watch_day: Watch { sends: 4, percent: 40 },
};

fn one_code(code: &Code) -> String {
    format!("{code:?} of {}", code.recipient)
}

/// `Debug` masks phone numbers, so they are written beside.
fn printed(stored: &Stored) -> String {
    format!("{stored:?} to {}", stored.message.recipient)
}

fn entry(entry: &Suppression) -> String {
    format!("{entry:?} of {}", entry.recipient)
}

/// Few may wait, and who asks is answered from the connection of the realm by a message whose id goes with that of what was
/// sent.
fn hearing(now: Timestamp) -> Hearing {
    let reply =
        move |inbound: &Inbound, person: PhoneNumber, found: Keyword, programme: Option<&programme::Name>| {
            let kind =
                reply::Kind::to(found.class, programme.is_some()).filter(|_| inbound.id.key() % 5 != 0)?;
            Some(draft(Message {
                id: answer_to(inbound.id),
                account: inbound.realm.account,
                environment: inbound.realm.environment,
                recipient: person,
                connection: if inbound.realm == TEST { TEST_LINE } else { LINE },
                created_at: now,
                expires_at: now.plus_s(reply::VALIDITY_S),
                reply: Some(Reply { kind, to: inbound.id }),
                ..message(7)
            }))
        };
    let bounds = Bounds { sender: 2, connection: 4, all: 5 };
    Hearing {
        wait_ms: 20_000,
        bounds,
        reply: Arc::new(reply),
        rules: Some(rules(now)),
        by_word: Some(by_word(now)),
    }
}

/// A programme that people join, and one that they leave.
fn by_word(now: Timestamp) -> Arc<ByWord> {
    let welcome = move |inbound: &Inbound, person: PhoneNumber, joining: &Joining| {
        Some(draft(Message {
            id: answer_to(inbound.id),
            account: inbound.realm.account,
            environment: inbound.realm.environment,
            sender: joining.to,
            recipient: person,
            text: Some(joining.join.welcome.clone()),
            connection: if inbound.realm == TEST { TEST_LINE } else { LINE },
            created_at: now,
            expires_at: now.plus_s(reply::VALIDITY_S),
            reply: Some(Reply { kind: reply::Kind::OptIn, to: inbound.id }),
            programme: Some(joining.name.clone()),
            ..message(7)
        }))
    };
    Arc::new(ByWord { programmes: Arc::new(programmes()), welcome: Box::new(welcome) })
}

/// One that answers, and others that only put conversations into order.
fn rules(now: Timestamp) -> Arc<InboundRules> {
    let rule = |name: &str, when, then| InboundRule { name: name.to_owned(), when, then };
    let reply = Some(RuleAnswer { text: "We look.".to_owned(), every_h: 1 });
    let to_ben = Some(Assign::To("Ben".to_owned()));
    let known = |known| When { known: Some(known), ..When::default() };
    let keyword = When { keywords: vec!["yes".to_owned(), "it".to_owned()], ..When::default() };
    let answer = move |inbound: &Inbound, person: PhoneNumber, answer: &RuleAnswer| {
        Some(draft(Message {
            id: answer_to(inbound.id),
            account: inbound.realm.account,
            environment: inbound.realm.environment,
            sender: inbound.sender()?,
            recipient: person,
            text: Some(answer.text.clone()),
            connection: if inbound.realm == TEST { TEST_LINE } else { LINE },
            created_at: now,
            expires_at: now.plus_s(reply::VALIDITY_S),
            reply: Some(Reply { kind: reply::Kind::Rule, to: inbound.id }),
            ..message(7)
        }))
    };
    let all = vec![
        rule("answers", keyword, Then { reply, ..Then::default() }),
        rule(
            "known",
            known(true),
            Then { assign: Some(Assign::Owner), tags: vec!["known".to_owned()], ..Then::default() },
        ),
        rule("unknown", known(false), Then { assign: to_ben, ..Then::default() }),
    ];
    Arc::new(InboundRules { all, answer: Box::new(answer) })
}

/// Two ids are made for each arrival: one for what it begins, and the next for what answers that.
pub(super) fn answer_to(inbound: InboundId) -> MessageId {
    MessageId::from_key(inbound.key() + 1)
}

pub(super) fn lines(of: impl IntoIterator<Item = String>) -> String {
    of.into_iter().collect::<Vec<_>>().join("\n  ")
}

fn patience_of(jitter: u32) -> Patience {
    let unreachable = Some(reachability::Policy { messages: 2, over_ms: 1_000, for_ms: HOUR_MS });
    Patience { retry: Arc::new(RetryPolicy::default()), unreachable, jitter: Jitter(jitter) }
}

/// A key and what is asked with it, both of few, and what became of the drafts as the answer.
fn idempotency(key: Option<(u8, u8)>) -> Option<Idempotency> {
    key.map(|(key, fingerprint)| Idempotency {
        key: [key; 32],
        fingerprint: [fingerprint; 32],
        answer: Arc::new(|admissions: &[Admission]| format!("{admissions:?}").into_bytes()),
    })
}

/// Makes the call and gives the answer as text.
pub(super) async fn make(store: &Arc<dyn Backend>, call: &Call, now: Timestamp) -> (String, Learned) {
    let mut learned = Learned::default();
    let text = match call.clone() {
        Call::Accept { realm, key, batch, drafts } => {
            let accepted =
                store.accept(Intake { realm, idempotency: idempotency(key), batch, drafts }, now).await;
            if let Ok(Accepted::New(_, advanced)) = &accepted {
                learned.told.extend(advanced.told.iter().cloned());
            }
            plain(accepted)
        }
        Call::Claim { queue, limit } => {
            let claimed = store.claim(queue, limit, now).await;
            if let Ok(claimed) = &claimed {
                learned.tickets.extend(claimed.tickets.iter().cloned());
                learned.told.extend(claimed.advanced.told.iter().cloned());
            }
            plain(claimed)
        }
        Call::Advance { happenings, jitter } => {
            advanced(store.advance(happenings, now, patience_of(jitter)).await, &mut learned)
        }
        Call::Wake { limit, jitter } => {
            advanced(store.wake(limit, now, patience_of(jitter)).await, &mut learned)
        }
        Call::Recover { limit, jitter } => {
            advanced(store.recover(None, limit, now, patience_of(jitter)).await, &mut learned)
        }
        Call::SendCode { realm, key, draft, which, session } => {
            let intake = Intake { realm, idempotency: idempotency(key), batch: None, drafts: vec![draft] };
            let person = Person { session, ..Person::default() };
            let sending = Sending { which, person, bounds: FEW, resend_after_s: 30 };
            plain(store.send_code(intake, sending, now).await)
        }
        Call::CheckCode(realm, id, right) => answer(store.check_code(realm, id, right, now).await, |found| {
            found.map_or_else(String::new, |(code, verdict)| format!("{} {verdict:?}", one_code(&code)))
        }),
        Call::CancelCode(realm, id) => answer(store.cancel_code(realm, id, now).await, |found| {
            found.map_or_else(String::new, |(code, done)| format!("{} {done}", one_code(&code)))
        }),
        Call::Stops(realm) => plain(store.stops(realm, now).await),
        Call::LiftStop(realm, prefix) => plain(store.lift_stop(realm, prefix, actor(), now).await),
        Call::Suppressed(whom) => plain(store.suppressed(whom, now).await),
        Call::Receive(arrivals) => advanced(store.receive(arrivals, hearing(now), now).await, &mut learned),
        Call::GiveUp(limit) => advanced(store.give_up(limit, hearing(now), now).await, &mut learned),
        Call::NextDue(queue) => plain(store.next_due(queue, now).await),
        Call::Queues(line) => plain(store.queues(line).await),
        Call::ClaimDeliveries { wanted, lease_ms } => {
            let claimed = store.claim_deliveries(wanted, lease_ms, now).await;
            learned.told.extend(claimed.iter().flatten().cloned());
            plain(claimed)
        }
        Call::GiveBackDeliveries(leased) => plain(store.give_back_deliveries(leased, now).await),
        Call::RecordAttempts(attempts) => plain(store.record_attempts(attempts, now).await),
        Call::ReleaseDeliveries => plain(store.release_deliveries(now).await),
        Call::CreateEndpoint(endpoint) => plain(store.create_endpoint(endpoint, actor()).await),
        Call::CallbackEndpoint(endpoint) => plain(store.callback_endpoint(endpoint).await),
        Call::UpdateEndpoint(endpoint) => plain(store.update_endpoint(endpoint, actor(), now).await),
        Call::DeleteEndpoint(realm, id) => plain(store.delete_endpoint(realm, id, actor(), now).await),
        Call::Replay { realm, endpoint, what, limit } => {
            plain(store.replay(realm, endpoint, what, limit, actor(), now).await)
        }
        Call::Suppress(entries) => {
            answer(store.suppress(entries, actor()).await, |entries| lines(entries.iter().map(entry)))
        }
        Call::StopWaiting(people, limit) => {
            advanced(store.stop_waiting(people, limit, now).await, &mut learned)
        }
        Call::TakeTurns(asked) => plain(store.take_turns(asked, now).await),
        Call::TakeQuotas(asked) => plain(store.take_quotas(asked).await),
        Call::ReturnQuotas(asked) => {
            let returned = asked.into_iter().map(|asked| (asked.count, asked.segments)).collect();
            plain(store.return_quotas(returned).await)
        }
        Call::ImportConsents(entries) => plain(store.import_consents(entries, actor(), now).await),
        Call::RecordConsents(entries) => plain(store.record_consents(entries, actor(), now).await),
        Call::CreateContact(contact) => plain(store.create_contact(contact, actor()).await),
        Call::ChangeContact(realm, id, change) => {
            plain(store.change_contact(realm, id, change, actor(), now).await)
        }
        Call::DeleteContact(realm, id) => plain(store.delete_contact(realm, id, actor(), now).await),
        Call::Known(realm, numbers) => {
            let people = numbers.iter().map(|number| (realm, *number)).collect();
            let zones = plain(store.stated_zones(people).await);
            zones + &plain(store.known_numbers(realm, numbers).await)
        }
        Call::BeginImport(import) => plain(store.begin_import(import).await),
        Call::StageImport(realm, id, staged) => plain(store.stage_import(realm, id, *staged, now).await),
        Call::DecideImport(realm, id, decision) => {
            plain(store.decide_import(realm, id, decision, actor(), now).await)
        }
        Call::ApplyImport(id) => match id.or(store.next_import().await.expect("read")) {
            Some(id) => plain(store.apply_import(id, now).await),
            None => String::new(),
        },
        Call::Converse { realm, key, draft, seen } => {
            let intake = Intake { realm, idempotency: idempotency(key), batch: None, drafts: vec![draft] };
            let saying = Saying { seen, author: "Maya".to_owned() };
            plain(store.converse(intake, saying, now).await)
        }
        Call::AskConsent { realm, draft, asking } => {
            let intake = Intake { realm, idempotency: None, batch: None, drafts: vec![draft] };
            plain(store.ask_consent(intake, asking, now).await)
        }
        Call::Note(realm, place, id) => {
            let note = NewNote { id, text: format!("hello note of {id}"), author: "Ben".to_owned() };
            let to = nth(store, realm, place, now).await;
            plain(store.add_note(realm, to, note, now).await)
        }
        Call::Change(realm, place, change) => {
            let to = nth(store, realm, place, now).await;
            plain(store.change_conversation(realm, to, change, actor(), now).await)
        }
        Call::CreateTemplate(template) => plain(store.create_template(template, actor()).await),
        Call::CreateSegment(segment) => plain(store.create_segment(segment, actor()).await),
        Call::ChangeSegment(realm, id, change) => {
            plain(store.change_segment(realm, id, change, actor(), now).await)
        }
        Call::DeleteSegment(realm, id) => plain(store.delete_segment(realm, id, actor(), now).await),
        Call::AddTouches(realm, read) => plain(store.add_touches(realm, read).await),
        Call::AddTemplateVersion(realm, id) => {
            let content = crate::template::content(now.as_millis());
            plain(store.add_template_version(realm, id, content, actor(), now).await)
        }
        Call::Lift(realm, recipient, programme) => {
            answer(store.lift(realm, recipient, programme, "asked".into(), actor(), now).await, |lifted| {
                lines(lifted.iter().map(entry))
            })
        }
        Call::Decide { realm, place, all, decision, limit } => {
            let open = store.reviews(realm, None, true, page(MANY)).await.expect("read").items;
            let which = match open.get(place) {
                Some(item) if all => ReviewChoice::Cause(item.cause.clone()),
                Some(item) => ReviewChoice::One(item.id),
                None => ReviewChoice::Cause("no such cause".to_owned()),
            };
            plain(store.decide(realm, which, decision, limit, actor(), now).await)
        }
        Call::Redact(realm, id) => {
            answer(store.redact(realm, id, actor(), now).await, |found| lines(found.iter().map(printed)))
        }
        Call::Sweep(retention) => {
            // How much is left after one call is its own affair, as long as it comes to an end.
            let mut rounds = 0;
            while store.sweep(retention, MANY, now).await.expect("swept") {
                rounds += 1;
                assert!(rounds < 100, "it ends");
            }
            String::new()
        }
        Call::Hold(reason) => plain(store.set_hold(reason, actor(), now).await),
        Call::Pause(line, pause) => plain(store.pause_connection(line, pause, actor(), now).await),
        Call::Reroute { from, to, limit } => plain(store.reroute(from, to, limit, now).await),
        Call::CreateToken(token) => plain(store.create_token(token, actor()).await),
        Call::UpdateToken(token) => plain(store.update_token(token, "token.update", actor(), now).await),
        Call::TouchTokens(uses) => plain(store.touch_tokens(uses).await),
        Call::CreateClient(client) => plain(store.create_client(client, actor()).await),
        Call::RevokeClient(realm, id) => plain(store.revoke_client(realm, id, actor(), now).await),
        Call::CreateAccount(account) => plain(store.create_account(account, actor()).await),
        Call::RecordAudit => {
            plain(store.record_audit(actor(), "config.load".into(), "file".into(), "x".into(), now).await)
        }
        Call::List { realm, filter, limit } => {
            pages(limit, printed, async |page| store.messages(realm, (*filter).clone(), page).await).await
        }
        Call::Timeline(realm, id) => answer(store.timeline(realm, id).await, |found| {
            found.as_ref().map_or_else(String::new, told_life)
        }),
        Call::Numbers => numbers(store, now).await,
        Call::Reopen | Call::Crash => String::new(),
    };
    (text, learned)
}

/// The conversation at this place of the list; one that is not there if there are fewer.
async fn nth(store: &Arc<dyn Backend>, realm: Realm, place: usize, now: Timestamp) -> ConversationId {
    let filter = ConversationFilter::default();
    let all = store.conversations(realm, filter, page(MANY), now).await.expect("read").items;
    all.get(place).map_or(ConversationId::from_key(1), |one| one.id)
}

fn advanced(result: Result<Advanced>, learned: &mut Learned) -> String {
    answer(result, |out| {
        learned.told.extend(out.told.iter().cloned());
        format!("{out:?}")
    })
}

fn told_life(timeline: &Timeline) -> String {
    let Timeline { stored, events, attempts, deliveries, connection } = timeline;
    let mut deliveries = deliveries.clone();
    deliveries.sort_by_key(|delivery| (delivery.event, delivery.endpoint, delivery.due_at));
    format!("{} {events:?} {attempts:?} {deliveries:?} {connection:?}", printed(stored))
}

/// Every page of a list, each followed by whether there is a next one. Where a page ends is compared, but not the
/// cursor, which is the store's own affair.
async fn pages<T>(
    limit: usize,
    render: impl Fn(&T) -> String,
    read: impl AsyncFn(Page) -> Result<Paged<T>>,
) -> String {
    let mut text = String::new();
    let mut next = Page { before: None, limit };
    loop {
        let found = read(next).await.expect("read");
        writeln!(text, "{}\n  next: {}", lines(found.items.iter().map(&render)), found.next.is_some())
            .expect("a string takes everything");
        match found.next {
            Some(before) => next = Page { before: Some(before), limit },
            None => return text,
        }
    }
}

async fn numbers(store: &Arc<dyn Backend>, now: Timestamp) -> String {
    let Statistics { queues, in_flight, deliveries, parked, reviews, size } =
        store.statistics(now).await.expect("numbers");
    assert!(size > 0);
    let mut due = Vec::new();
    due.push(store.next_due(None, now).await.expect("read"));
    for line in [LINE, OTHER_LINE, TEST_LINE] {
        for queue in [Queue::of(line), slow(line)] {
            due.push(store.next_due(Some(queue), now).await.expect("read"));
        }
    }
    let endpoints = store.due_endpoints().await.expect("read");
    format!("{queues:?} {in_flight} {deliveries:?} {parked} {reviews} {due:?} {endpoints:?}")
}

/// Everything that can be read.
pub(super) async fn everything(
    store: &Arc<dyn Backend>,
    teller: &Teller,
    now: Timestamp,
) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut add = |what: String, text: String| all.push((what, text));
    let listed = store.programmes_listed(now).await.expect("read");
    add("programmes on the list".to_owned(), format!("{listed:?}"));
    for realm in REALMS {
        let name = format!("{} {}", realm.account, realm.environment.as_str());
        let filter = MessageFilter::default;
        add(
            format!("messages of {name}"),
            pages(7, printed, async |page| store.messages(realm, filter(), page).await).await,
        );
        let batches =
            pages(2, |batch: &Batch| format!("{batch:?}"), async |page| store.batches(realm, page).await);
        add(format!("batches of {name}"), batches.await);
        let feed = feed(store, realm, 5).await;
        add(format!("feed of {name}"), lines(feed.iter().map(|told| format!("{told:?}"))));
        for programme in [None, Some("offers"), Some("news")] {
            let programme = programme.and_then(tidings_domain::programme::Name::parse);
            let filter =
                SuppressionFilter { programme, include_lifted: true, ..SuppressionFilter::default() };
            let list = async |page| store.suppressions(realm, filter.clone(), page).await;
            add(format!("suppressions of {name} about {:?}", filter.programme), pages(3, entry, list).await);
        }
        for person in 0..5 {
            let ledger = async |page| store.consents(realm, number(person), page).await;
            let text = pages(2, |entry| format!("{entry:?}"), ledger).await;
            add(format!("consents of {person} in {name}"), text);
            let requests = store.consent_requests(realm, number(person), now).await.expect("read");
            add(
                format!("requests to {person} in {name}"),
                lines(requests.iter().map(|one| format!("{one:?}"))),
            );
            let asked = vec![(realm, number(person))];
            let turns = store.turns(asked, Purpose::ALL.to_vec(), now).await.expect("read");
            add(format!("turns of {person} in {name}"), format!("{turns:?}"));
            let day = Timestamp::from_millis(now.as_millis() / DAY_MS * DAY_MS);
            let counts = ["ACME", "brand B1"].map(|name| crate::quota::count(name, day));
            let used = store.quotas(counts.to_vec()).await.expect("read");
            let spent = store.spent(vec![realm.account], now).await.expect("read");
            add(format!("limits in {name} after {person}"), format!("{used:?} {spent:?}"));
            let senders = ["ACME", "72345"].map(|text| Sender::from_stored(text).expect("a sender"));
            let pool = Name::parse("p").expect("a name");
            let asked = vec![(realm, number(person))];
            let last = store.last_senders(pool, senders.to_vec(), asked).await.expect("read");
            add(format!("senders of {person} in {name}"), format!("{last:?}"));
        }
        let people = async |page| store.contacts(realm, ContactFilter::default(), page).await;
        add(format!("contacts of {name}"), pages(3, |one| format!("{one:?}"), people).await);
        for (group, _) in store.groups(realm).await.expect("read") {
            let filter = || ContactFilter { group: Some(group.clone()), number: None };
            let members = async |page| store.contacts(realm, filter(), page).await;
            let text = pages(2, |one| format!("{one:?}"), members).await;
            add(format!("{group} of {name}"), text);
        }
        for person in 0..5 {
            let filter = ContactFilter { group: None, number: Some(number(person)) };
            let found = store.contacts(realm, filter, Page { before: None, limit: 9 }).await;
            add(format!("contact of {person} in {name}"), plain(found.map(|page| page.items)));
        }
        add(format!("members of {name}"), plain(store.groups(realm).await));
        let imports = async |page| store.imports(realm, page).await;
        add(format!("imports of {name}"), pages(2, |one| format!("{one:?}"), imports).await);
        for import in 0..=teller.last_import {
            let id = ImportId::from_key(import);
            let mut place = None;
            while let Some((rows, next)) = store.refused_rows(realm, id, place).await.expect("read") {
                add(format!("refused at {next} of {id} in {name}"), format!("{rows:?}"));
                place = Some(next);
            }
        }
        let items = async |page| store.reviews(realm, None, false, page).await;
        add(format!("reviews of {name}"), pages(3, |item| format!("{item:?}"), items).await);
        let codes = pages(3, one_code, async |page| store.codes(realm, page).await).await;
        add(format!("codes of {name}"), codes);
        for status in [None, Some(conversation::Status::NeedsReply), Some(conversation::Status::Closed)] {
            let filter = ConversationFilter { status, ..ConversationFilter::default() };
            let listed = async |page| store.conversations(realm, filter.clone(), page, now).await;
            add(
                format!("conversations of {name}, {status:?}"),
                pages(3, |one| format!("{one:?}"), listed).await,
            );
        }
        let listed = store.conversations(realm, ConversationFilter::default(), page(MANY), now).await;
        for one in listed.expect("read").items {
            let lines = async |page| Ok(store.lines(realm, one.id, page).await?.expect("it is there"));
            add(
                format!("what {} said in {name}", one.person),
                pages(4, |line| format!("{line:?}"), lines).await,
            );
        }
        for query in ["hello", "text", "hello note"] {
            let searched = async |page| store.search(realm, conversation::words(query), page).await;
            add(format!("{query} in {name}"), pages(3, |found| format!("{found:?}"), searched).await);
        }
        let listed = async |page| store.templates(realm, String::new(), page).await;
        add(format!("templates of {name}"), pages(2, |one| format!("{one:?}"), listed).await);
        for named in TEMPLATE_NAMES {
            let first = store.template(realm, WhichTemplate::Name(named.to_owned()), Some(1)).await;
            add(format!("the first {named} in {name}"), plain(first));
        }
        let listed = async |page| store.segments(realm, page).await;
        add(format!("segments of {name}"), pages(2, |one| format!("{one:?}"), listed).await);
        for named in TEMPLATE_NAMES {
            let found = store.segment(realm, WhichSegment::of(named)).await;
            add(format!("the segment {named} in {name}"), plain(found));
        }
        let people = (0..5).map(number).collect();
        add(format!("touches in {name}"), plain(store.touches(realm, people).await));
        add(format!("stops of {name}"), plain(store.stops(realm, now).await));
        add(format!("groups of {name}"), plain(store.review_groups(realm, 9).await));
        add(format!("clients of {name}"), plain(store.clients(realm).await));
        for endpoint in &teller.endpoints {
            let log = async |page| store.attempts(realm, *endpoint, page).await;
            let text = pages(3, |attempt| format!("{attempt:?}"), log).await;
            add(format!("attempts of {name} at {endpoint}"), text);
        }
    }
    for (realm, id) in &teller.messages {
        let found = store.timeline(*realm, *id).await;
        add(
            format!("timeline of {id}"),
            answer(found, |found| found.as_ref().map_or_else(String::new, told_life)),
        );
    }
    for (realm, id) in &teller.inbounds {
        add(format!("message {id} of a person"), plain(store.inbound(*realm, *id).await));
        for place in 1..=2 {
            add(format!("medium {place} of {id}"), plain(store.media(*realm, *id, place).await));
        }
    }
    for batch in &teller.batches {
        add(format!("batch {batch}"), plain(store.batch(HOME, *batch).await));
    }
    add("endpoints".to_owned(), plain(store.endpoints(None).await));
    for account in [HOME.account, NEIGHBOUR.account] {
        add(format!("tokens of {account}"), plain(store.tokens(account, None).await));
        let trail = async |page| store.audit(account, page).await;
        add(format!("trail of {account}"), pages(20, |line| format!("{line:?}"), trail).await);
    }
    add("accounts".to_owned(), plain(store.accounts().await));
    add("connections".to_owned(), plain(store.connections().await));
    add("hold".to_owned(), plain(store.hold().await));
    add("numbers".to_owned(), numbers(store, now).await);
    all
}
