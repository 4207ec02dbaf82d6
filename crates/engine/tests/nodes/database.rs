//! A database that several nodes serve: the store's model, with the nodes that the model does not have. A test gives and
//! takes, cuts a node off, and reads what was done in which order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tidings_domain::account::{Environment, Realm};
use tidings_domain::address::PhoneNumber;
use tidings_domain::code::{Code, Verdict};
use tidings_domain::consent::{Consent, History};
use tidings_domain::consent_request::{ConsentRequest, NewConsentRequest};
use tidings_domain::contact::{Change, Contact, Group, ZoneName};
use tidings_domain::conversation::{Change as ConversationChange, Conversation, TooManyTags};
use tidings_domain::failure::Failure;
use tidings_domain::frequency::{Other, Turn};
use tidings_domain::id::*;
use tidings_domain::import::{Decision as ImportDecision, Import};
use tidings_domain::node::{LEASE_MS, Peer, is_prompt, spare, takes};
use tidings_domain::pool::{Last, Name};
use tidings_domain::programme;
use tidings_domain::purpose::Purpose;
use tidings_domain::queue::{Paces, Queue};
use tidings_domain::quota::Count;
use tidings_domain::review::Decision;
use tidings_domain::segment::{Change as PeopleChange, Past, Segment as People};
use tidings_domain::sender::Sender;
use tidings_domain::spend::Spent;
use tidings_domain::suppression::Listing;
use tidings_domain::table::Refused;
use tidings_domain::template::{Content, Template};
use tidings_domain::time::Timestamp;
use tidings_domain::velocity::{Prefix, Stop};
use tidings_domain::webhook::Delivery;
use tidings_store::model::{Disk, Model};
use tidings_store::*;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// What all nodes share.
#[derive(Default)]
pub struct Database {
    disk: Disk,
    state: Mutex<State>,
    /// What was done, in order: `a: recover`, `b: release` …
    pub log: Mutex<Vec<String>>,
    /// Who sends what can never be stored.
    pub spoiled: Mutex<Option<&'static str>>,
}

#[derive(Default)]
struct State {
    nodes: Vec<Member>,
    owners: BTreeMap<ConnectionId, u16>,
    joined: u16,
    list_version: i64,
}

struct Member {
    number: u16,
    newcomer: Newcomer,
    until: Instant,
    acknowledged: i64,
    news: mpsc::Sender<News>,
}

/// How a node and its database are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// Every operation is done.
    Well,
    /// Every operation fails.
    Cut,
    /// No operation is answered, until this ends; then it has failed.
    Silent,
}

/// One node's way to the database.
pub struct Membership {
    database: Arc<Database>,
    model: Model,
    name: &'static str,
    number: Mutex<Option<u16>>,
    tell: Mutex<Option<mpsc::Sender<News>>>,
    heard: Mutex<Option<mpsc::Receiver<News>>>,
    line: watch::Sender<Line>,
    /// Whether it hears no news.
    pub is_deaf: AtomicBool,
}

impl Database {
    /// From here on these senders have a pace.
    pub fn set_paces(&self, paces: Paces) {
        self.disk.set_paces(paces);
    }

    pub fn member(self: &Arc<Self>, name: &'static str) -> Arc<Membership> {
        let (tell, heard) = mpsc::channel(1_000);
        Arc::new(Membership {
            database: Arc::clone(self),
            model: Model::new(self.disk.clone()),
            name,
            number: Mutex::default(),
            tell: Mutex::new(Some(tell)),
            heard: Mutex::new(Some(heard)),
            line: watch::Sender::new(Line::Well),
            is_deaf: AtomicBool::new(false),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn note(&self, what: String) {
        self.log.lock().unwrap().push(what);
    }

    /// Whether the first of these was noted, and before the second.
    pub fn came_before(&self, first: &str, second: &str) -> bool {
        let log = self.log.lock().unwrap();
        let place = |wanted: &str| log.iter().position(|line| line == wanted);
        let before = place(first).is_some_and(|first| place(second).is_some_and(|second| first < second));
        if !before {
            println!("{log:#?}");
        }
        before
    }

    /// What these nodes own, by name.
    pub fn owned(&self, name: &str) -> usize {
        let state = self.state();
        let number = state.nodes.iter().find(|node| node.newcomer.name == name).map(|node| node.number);
        state.owners.values().filter(|owner| Some(**owner) == number).count()
    }
}

impl State {
    fn tell_others(&self, number: Option<u16>, news: &News) {
        for node in self.nodes.iter().filter(|node| Some(node.number) != number) {
            // A full queue would be summed up.
            let _ = node.news.try_send(news.clone());
        }
    }

    fn end(&mut self, gone: impl Fn(&Member) -> bool) {
        let gone: Vec<u16> = self.nodes.iter().filter(|node| gone(node)).map(|node| node.number).collect();
        self.nodes.retain(|node| !gone.contains(&node.number));
        self.owners.retain(|_, owner| !gone.contains(owner));
        if !gone.is_empty() {
            self.tell_others(None, &News::Nodes);
        }
    }

    fn standing(&mut self, number: u16) -> Standing {
        let this = self.nodes.iter().position(|node| node.number == number).unwrap();
        let able = self.nodes[this].newcomer.connections.clone();
        let own = |state: &Self, number| -> Vec<ConnectionId> {
            state.owners.iter().filter(|(_, owner)| **owner == number).map(|(id, _)| *id).collect()
        };
        let now = Instant::now();
        let others = self.nodes.iter().filter(|node| {
            let left = node.until.saturating_duration_since(now).as_millis() as i64;
            node.number != number && node.newcomer.roles.send && is_prompt(left)
        });
        let peers: Vec<Peer> = others
            .map(|node| Peer { owned: own(self, node.number).len(), able: node.newcomer.connections.clone() })
            .collect();
        if self.nodes[this].newcomer.roles.send {
            let free = able.into_iter().filter(|id| !self.owners.contains_key(id));
            for id in takes(own(self, number).len(), free.collect::<Vec<_>>(), &peers) {
                self.owners.insert(id, number);
            }
        }
        let owned = own(self, number);
        Standing {
            number: Some(number),
            lease_ms: Some(LEASE_MS),
            spare: spare(&owned, &peers),
            owned: Some(owned),
            has_peers: self.nodes.len() > 1,
        }
    }
}

impl Membership {
    /// From here on the line to the database is so.
    pub fn set_line(&self, line: Line) {
        self.line.send_replace(line);
    }

    fn number(&self) -> Option<u16> {
        *self.number.lock().unwrap()
    }

    /// An operation of this node, as its line lets it.
    async fn call<T>(&self, name: &str, writes: bool, done: BoxFuture<'_, T>) -> Result<T> {
        let line = *self.line.borrow();
        if line == Line::Silent {
            drop(self.line.subscribe().wait_for(|line| *line != Line::Silent).await);
        }
        if line != Line::Well {
            return Err(Error::Unavailable("the line is cut".to_owned()));
        }
        if writes
            && let Some(number) = self.number()
            && !self.database.state().nodes.iter().any(|node| node.number == number)
        {
            return Err(Error::Expelled("another node ended it".to_owned()));
        }
        self.database.note(format!("{}: {name}", self.name));
        done.await
    }

    fn now_or<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl FnOnce(&mut State) -> T + Send + 'static,
    ) -> BoxFuture<'_, T> {
        let work = async move { Ok(work(&mut self.database.state())) };
        Box::pin(async move { self.call(name, self.number().is_some(), Box::pin(work)).await })
    }

    fn list_changed(&self) {
        let mut state = self.database.state();
        state.list_version += 1;
        state.tell_others(self.number(), &News::List(state.list_version));
    }
}

macro_rules! passed_on {
    ($($kind:ident $name:ident($($argument:ident: $type:ty),*) -> $reply:ty;)*) => {$(
        fn $name(&self, $($argument: $type),*) -> BoxFuture<'_, $reply> {
            let done = self.model.$name($($argument),*);
            Box::pin(async move { self.call(stringify!($name), passed_on!(@ $kind), done).await })
        }
    )*};
    (@ write) => { true };
    (@ read) => { false };
}

impl Backend for Membership {
    passed_on! {
        write claim(queue: Queue, limit: usize, now: Timestamp) -> Claimed;
        write advance(happenings: Vec<Happening>, now: Timestamp, rules: Patience) -> Advanced;
        write wake(limit: usize, now: Timestamp, rules: Patience) -> Advanced;
        write recover(connection: Option<ConnectionId>, limit: usize, now: Timestamp, rules: Patience) -> Advanced;
        write quarantine(messages: Vec<MessageId>, why: Failure, now: Timestamp) -> Advanced;
        write give_up(limit: usize, hearing: Hearing, now: Timestamp) -> Advanced;
        read inbound(realm: Realm, id: InboundId) -> Option<Received>;
        read media(realm: Realm, id: InboundId, place: u8) -> Option<KeptMedium>;
        write redact(realm: Realm, id: MessageId, actor: Actor, now: Timestamp) -> Option<Stored>;
        read next_due(queue: Option<Queue>, now: Timestamp) -> Option<Timestamp>;
        read queues(connection: ConnectionId) -> Vec<Queue>;
        read waiting() -> Arc<Waiting>;
        read message(realm: Realm, id: MessageId) -> Option<Stored>;
        read messages(realm: Realm, filter: MessageFilter, page: Page) -> Paged<Stored>;
        read timeline(realm: Realm, id: MessageId) -> Option<Timeline>;
        read batch(realm: Realm, id: BatchId) -> Option<Batch>;
        read batches(realm: Realm, page: Page) -> Paged<Batch>;
        read events(realm: Realm, after: Option<EventId>, limit: usize) -> Stretch;
        read event(realm: Realm, id: EventId) -> Option<Told>;
        write claim_deliveries(wanted: Vec<(EndpointId, usize)>, lease_ms: i64, now: Timestamp) -> Vec<Told>;
        write give_back_deliveries(leased: Vec<Delivery>, now: Timestamp) -> ();
        write record_attempts(attempts: Vec<Attempt>, now: Timestamp) -> ();
        write release_deliveries(now: Timestamp) -> u64;
        read due_endpoints() -> Vec<(EndpointId, Timestamp)>;
        read attempts(realm: Realm, endpoint: EndpointId, page: Page) -> Paged<Attempt>;
        write replay(realm: Realm, endpoint: EndpointId, what: Replay, limit: usize, actor: Actor, now: Timestamp) -> Option<u64>;
        write create_endpoint(endpoint: Endpoint, actor: Actor) -> ();
        write callback_endpoint(endpoint: Endpoint) -> EndpointId;
        read endpoints(realm: Option<Realm>) -> Vec<Endpoint>;
        write update_endpoint(endpoint: Endpoint, actor: Actor, now: Timestamp) -> bool;
        write delete_endpoint(realm: Realm, id: EndpointId, actor: Actor, now: Timestamp) -> bool;
        read suppressed(recipients: Vec<(Realm, PhoneNumber)>, now: Timestamp) -> Vec<Listing>;
        write stop_waiting(people: Vec<(Realm, PhoneNumber)>, limit: usize, now: Timestamp) -> Advanced;
        write lift(realm: Realm, recipient: PhoneNumber, programme: Option<programme::Name>, reason: String, actor: Actor, now: Timestamp) -> Option<Suppression>;
        read programmes_listed(now: Timestamp) -> ProgrammesListed;
        read suppressions(realm: Realm, filter: SuppressionFilter, page: Page) -> Paged<Suppression>;
        read listed(after: AuditId, limit: usize) -> Listed;
        read turns(people: Vec<(Realm, PhoneNumber)>, purposes: Vec<Purpose>, now: Timestamp) -> Vec<Vec<Other>>;
        read spent(accounts: Vec<AccountId>, now: Timestamp) -> Vec<Spent>;
        read quotas(counts: Vec<Count>) -> Vec<u64>;
        write return_quotas(returned: Vec<(Count, u32)>) -> ();
        write take_quotas(asked: Vec<AskedQuota>) -> Vec<(u64, bool)>;
        read last_senders(pool: Name, senders: Vec<Sender>, people: Vec<(Realm, PhoneNumber)>) -> Vec<Last>;
        write take_turns(asked: Vec<AskedTurn>, now: Timestamp) -> Vec<Turn>;
        write record_consents(entries: Vec<Consent>, actor: Actor, now: Timestamp) -> ();
        write import_consents(entries: Vec<Consent>, actor: Actor, now: Timestamp) -> u64;
        read consents(realm: Realm, recipient: PhoneNumber, page: Page) -> Paged<Consent>;
        write ask_consent(intake: Intake, asking: NewConsentRequest, now: Timestamp) -> Accepted;
        read consent_requests(realm: Realm, recipient: PhoneNumber, now: Timestamp) -> Vec<ConsentRequest>;
        read said(recipients: Vec<(Realm, PhoneNumber)>) -> Vec<History>;
        write create_contact(contact: Contact, actor: Actor) -> Saved;
        write change_contact(realm: Realm, id: ContactId, change: Change, actor: Actor, now: Timestamp) -> Option<Saved>;
        write delete_contact(realm: Realm, id: ContactId, actor: Actor, now: Timestamp) -> bool;
        read contact(realm: Realm, id: ContactId) -> Option<Contact>;
        read contacts(realm: Realm, filter: ContactFilter, page: Page) -> Paged<Contact>;
        read groups(realm: Realm) -> Vec<(Group, u64)>;
        read known_numbers(realm: Realm, numbers: Vec<PhoneNumber>) -> u64;
        read stated_zones(people: Vec<(Realm, PhoneNumber)>) -> Vec<Option<ZoneName>>;
        write begin_import(import: Import) -> ();
        write stage_import(realm: Realm, id: ImportId, staged: Staged, now: Timestamp) -> bool;
        write decide_import(realm: Realm, id: ImportId, decision: ImportDecision, actor: Actor, now: Timestamp) -> Option<Import>;
        read next_import() -> Option<ImportId>;
        write apply_import(id: ImportId, now: Timestamp) -> Option<Import>;
        read import(realm: Realm, id: ImportId) -> Option<Import>;
        read imports(realm: Realm, page: Page) -> Paged<Import>;
        read refused_rows(realm: Realm, id: ImportId, after: Option<i64>) -> Option<(Vec<Refused>, i64)>;

        read review_groups(realm: Realm, limit: usize) -> Vec<ReviewGroup>;
        read reviews(realm: Realm, cause: Option<String>, open_only: bool, page: Page) -> Paged<Review>;
        write decide(realm: Realm, which: ReviewChoice, decision: Decision, limit: usize, actor: Actor, now: Timestamp) -> Vec<Review>;
        write send_code(intake: Intake, sending: Sending, now: Timestamp) -> Accepted;
        read code(realm: Realm, id: CodeId) -> Option<Code>;
        read codes(realm: Realm, page: Page) -> Paged<Code>;
        write check_code(realm: Realm, id: CodeId, is_right: bool, now: Timestamp) -> Option<(Code, Verdict)>;
        write cancel_code(realm: Realm, id: CodeId, now: Timestamp) -> Option<(Code, bool)>;
        read stops(realm: Realm, now: Timestamp) -> Vec<Stop>;
        write lift_stop(realm: Realm, prefix: Prefix, actor: Actor, now: Timestamp) -> Option<Stop>;
        write converse(intake: Intake, saying: Saying, now: Timestamp) -> Accepted;
        read conversations(realm: Realm, filter: ConversationFilter, page: Page, now: Timestamp) -> Paged<Conversation>;
        read conversation(realm: Realm, id: ConversationId) -> Option<Conversation>;
        read lines(realm: Realm, id: ConversationId, page: Page) -> Option<Paged<tidings_store::Line>>;
        write add_note(realm: Realm, id: ConversationId, note: NewNote, now: Timestamp) -> Option<Conversation>;
        write change_conversation(realm: Realm, id: ConversationId, change: ConversationChange, actor: Actor, now: Timestamp) -> Option<std::result::Result<Conversation, TooManyTags>>;
        read search(realm: Realm, words: Vec<String>, page: Page) -> Paged<Found>;

        write create_template(template: Template, actor: Actor) -> ();
        write add_template_version(realm: Realm, id: TemplateId, content: Content, actor: Actor, now: Timestamp) -> Option<Template>;
        read template(realm: Realm, which: WhichTemplate, version: Option<u32>) -> Option<Template>;
        read templates(realm: Realm, prefix: String, page: Page) -> Paged<Template>;
        write create_segment(segment: People, actor: Actor) -> ();
        write change_segment(realm: Realm, id: SegmentId, change: PeopleChange, actor: Actor, now: Timestamp) -> Option<People>;
        write delete_segment(realm: Realm, id: SegmentId, actor: Actor, now: Timestamp) -> bool;
        read segment(realm: Realm, which: WhichSegment) -> Option<People>;
        read segments(realm: Realm, page: Page) -> Paged<People>;
        read touches(realm: Realm, numbers: Vec<PhoneNumber>) -> Vec<Past>;
        read touch_places() -> Vec<(Realm, EventId)>;
        write add_touches(realm: Realm, read: Touched) -> bool;
        write default_account(now: Timestamp) -> AccountId;
        read accounts() -> Vec<Account>;
        write create_account(account: Account, actor: Actor) -> ();
        write create_token(token: Token, actor: Actor) -> ();
        read token_by_lookup(lookup: String) -> Option<Token>;
        read tokens(account: AccountId, environment: Option<Environment>) -> Vec<Token>;
        write update_token(token: Token, action: &'static str, actor: Actor, now: Timestamp) -> bool;
        write touch_tokens(uses: Vec<(TokenId, Timestamp, bool)>) -> ();
        write create_client(client: Client, actor: Actor) -> ();
        read client(id: ClientId) -> Option<Client>;
        read clients(realm: Realm) -> Vec<Client>;
        write revoke_client(realm: Realm, id: ClientId, actor: Actor, now: Timestamp) -> bool;
        write register_connections(names: Vec<(String, Environment)>, now: Timestamp) -> Vec<Connection>;
        read connections() -> Vec<Connection>;
        write pause_connection(id: ConnectionId, pause: Option<String>, actor: Actor, now: Timestamp) -> bool;
        write reroute(from: ConnectionId, to: ConnectionId, limit: usize, now: Timestamp) -> u64;
        read hold() -> Option<String>;
        write set_hold(reason: Option<String>, actor: Actor, now: Timestamp) -> ();
        read statistics(now: Timestamp) -> Statistics;
        read audit(account: AccountId, page: Page) -> Paged<Audit>;
        write record_audit(actor: Actor, action: String, subject: String, detail: String, now: Timestamp) -> ();
        write sweep(retention: Retention, limit: usize, now: Timestamp) -> bool;
        read backup(to: std::path::PathBuf) -> ();
        write ping() -> ();
        read close() -> ();
    }

    fn paces(&self) -> Arc<Paces> {
        self.model.paces()
    }

    fn carriers(&self) -> Arc<Carriers> {
        self.model.carriers()
    }

    fn accept(&self, intake: Intake, now: Timestamp) -> BoxFuture<'_, Accepted> {
        let queues: Vec<Queue> =
            intake.drafts.iter().map(|draft| Queue::of(draft.message.connection)).collect();
        let done = self.model.accept(intake, now);
        Box::pin(async move {
            let accepted = self.call("accept", true, done).await?;
            let state = self.database.state();
            for queue in queues {
                state.tell_others(self.number(), &News::Queued(queue, now));
            }
            Ok(accepted)
        })
    }

    fn receive(&self, arrivals: Vec<Arrival>, hearing: Hearing, now: Timestamp) -> BoxFuture<'_, Advanced> {
        let spoiled = *self.database.spoiled.lock().unwrap();
        if arrivals.iter().any(|arrival| Some(&*arrival.from) == spoiled) {
            return Box::pin(std::future::ready(Err(Error::Corrupt("as planned".to_owned()))));
        }
        let done = self.model.receive(arrivals, hearing, now);
        Box::pin(async move { self.call("receive", true, done).await })
    }

    fn suppress(&self, entries: Vec<Suppression>, actor: Actor) -> BoxFuture<'_, Vec<Suppression>> {
        let done = self.model.suppress(entries, actor);
        Box::pin(async move {
            let entries = self.call("suppress", true, done).await?;
            self.list_changed();
            Ok(entries)
        })
    }

    fn join(&self, newcomer: Newcomer) -> BoxFuture<'_, Standing> {
        let news = self.tell.lock().unwrap().take().unwrap();
        let joined = self.now_or("join", move |state| {
            let number = state.joined;
            state.joined += 1;
            let until = Instant::now() + Duration::from_millis(LEASE_MS as u64);
            let acknowledged = state.list_version;
            state.nodes.push(Member { number, newcomer, until, acknowledged, news });
            state.tell_others(Some(number), &News::Nodes);
            state.standing(number)
        });
        Box::pin(async move {
            let standing = joined.await?;
            *self.number.lock().unwrap() = standing.number;
            Ok(standing)
        })
    }

    fn renew(&self) -> BoxFuture<'_, Standing> {
        let number = self.number().expect("it joined");
        self.now_or("renew", move |state| {
            let now = Instant::now();
            for node in state.nodes.iter_mut().filter(|node| node.number == number) {
                node.until = now + Duration::from_millis(LEASE_MS as u64);
            }
            state.end(|node| node.until <= now);
            state.standing(number)
        })
    }

    fn release(&self, connection: ConnectionId) -> BoxFuture<'_, ()> {
        let number = self.number();
        self.now_or("release", move |state| {
            state.owners.retain(|id, owner| *id != connection || Some(*owner) != number);
            state.tell_others(number, &News::Nodes);
        })
    }

    fn leave(&self) -> BoxFuture<'_, ()> {
        let number = self.number();
        self.now_or("leave", move |state| state.end(|node| Some(node.number) == number))
    }

    fn list_version(&self) -> BoxFuture<'_, i64> {
        self.now_or("list_version", |state| state.list_version)
    }

    fn acknowledge(&self, version: i64) -> BoxFuture<'_, ()> {
        let number = self.number();
        self.now_or("acknowledge", move |state| {
            for node in state.nodes.iter_mut().filter(|node| Some(node.number) == number) {
                node.acknowledged = node.acknowledged.max(version);
            }
        })
    }

    fn nodes(&self) -> BoxFuture<'_, Vec<Node>> {
        let number = self.number();
        self.now_or("nodes", move |state| {
            let now = Instant::now();
            let shown = |node: &Member| Node {
                number: node.number,
                name: node.newcomer.name.clone(),
                place: node.newcomer.place.clone(),
                roles: node.newcomer.roles,
                owned: state.owners.iter().filter(|(_, o)| **o == node.number).map(|(id, _)| *id).collect(),
                lease_left_ms: node.until.saturating_duration_since(now).as_millis() as i64,
                acknowledged: node.acknowledged,
                is_this: Some(node.number) == number,
            };
            state.nodes.iter().map(shown).collect()
        })
    }

    fn news(&self) -> Option<mpsc::Receiver<News>> {
        if self.is_deaf.load(Ordering::SeqCst) {
            return None;
        }
        self.heard.lock().unwrap().take()
    }
}
