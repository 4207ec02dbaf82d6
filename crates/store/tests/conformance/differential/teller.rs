//! Who tells a story: draws each call from a seed, with few numbers, ids and keys, and learns from the answers what
//! there is to speak of.

use super::call::{Call, Learned, answer_to};
use super::{NEIGHBOUR, TEMPLATE_NAMES, TEST, TEST_LINE};
use crate::samples::*;
use tidings_domain::account::{Environment, Realm, Scopes};
use tidings_domain::address::PhoneNumber;
use tidings_domain::code::{Mark, NewCode};
use tidings_domain::consent::{Act, Channel, Consent, Evidence, Method, Wording};
use tidings_domain::consent_request::NewConsentRequest;
use tidings_domain::contact::{Change, Contact, Details, Group, Type, Value};
use tidings_domain::conversation::{Change as ConversationChange, Entry};
use tidings_domain::event::Kind;
use tidings_domain::failure::{Failure, FailureClass};
use tidings_domain::frequency::{Bound, Caps, Other};
use tidings_domain::gate::Hold;
use tidings_domain::id::*;
use tidings_domain::import::{Decision as Settled, Import, Progress, Row, State};
use tidings_domain::media::{Content, Item};
use tidings_domain::message::{Answer, Input, Life, Message, Outcome, Rules, Status};
use tidings_domain::pool::{Choice, Name, Picked};
use tidings_domain::programme;
use tidings_domain::purpose::Purpose;
use tidings_domain::queue::Queue;
use tidings_domain::receipt::{IdForm, Receipt, our_reference};
use tidings_domain::retry::{Jitter, RetryPolicy};
use tidings_domain::review::Decision;
use tidings_domain::segment::{Change as SegmentChange, Segment as SavedQuery, Touch};
use tidings_domain::sender::Sender;
use tidings_domain::spend::{Amount, Limits, Priced};
use tidings_domain::suppression::Reason;
use tidings_domain::table::{Refused, Report, Window};
use tidings_domain::template::{Origin, Template};
use tidings_domain::text::{Charset, Part, Segment};
use tidings_domain::time::Timestamp;
use tidings_domain::velocity::Prefix;
use tidings_domain::webhook::Verdict;
use tidings_store::*;

/// Draws numbers from a seed (SplitMix64).
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn up_to(&mut self, n: usize) -> usize {
        self.below(n as u64 + 1) as usize
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn of<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize].clone()
    }

    /// One that came lately rather than one of long ago.
    fn lately<T: Clone>(&mut self, list: &[T]) -> Option<T> {
        let reach = if self.one_in(4) { list.len() } else { list.len().min(6) } as u64;
        (reach > 0).then(|| list[list.len() - 1 - self.below(reach) as usize].clone())
    }
}

/// A segment that a carrier may speak of.
#[derive(Debug, Clone)]
struct Sent {
    message: MessageId,
    line: ConnectionId,
    recipient: PhoneNumber,
    attempt: u32,
    segment: u8,
}

impl Sent {
    /// The number that its carrier knows it by, if it does not choose to be difficult.
    fn number(&self) -> i64 {
        (self.message.key() & 0xFFF) * 1_000 + i64::from(self.segment) * 10 + i64::from(self.attempt)
    }
}

pub(crate) struct Teller {
    draw: Draw,
    pub(super) now: Timestamp,
    /// Whether this story's clock is ever set back.
    steady: bool,
    made: i64,
    pub(super) messages: Vec<(Realm, MessageId)>,
    pub(super) inbounds: Vec<(Realm, InboundId)>,
    sent: Vec<Sent>,
    receipts: Vec<(ConnectionId, Receipt)>,
    pub(super) batches: Vec<BatchId>,
    told: Vec<Told>,
    pub(super) endpoints: Vec<EndpointId>,
    callbacks: Vec<EndpointId>,
    tokens: Vec<Token>,
    codes: Vec<(Realm, CodeId)>,
    last_suppression: i64,
    last_consent: i64,
    last_list: Vec<Consent>,
    contacts: Vec<(Realm, ContactId)>,
    pub(super) last_import: i64,
}

impl Teller {
    pub(super) fn new(seed: u64) -> Self {
        let mut draw = Draw(seed);
        Self {
            now: START,
            steady: !draw.one_in(4),
            draw,
            made: 0,
            messages: Vec::new(),
            inbounds: Vec::new(),
            sent: Vec::new(),
            receipts: Vec::new(),
            batches: Vec::new(),
            told: Vec::new(),
            endpoints: Vec::new(),
            callbacks: Vec::new(),
            tokens: Vec::new(),
            codes: Vec::new(),
            last_suppression: 0,
            last_consent: 0,
            last_list: Vec::new(),
            contacts: Vec::new(),
            last_import: 0,
        }
    }

    pub(crate) const fn now(&self) -> Timestamp {
        self.now
    }

    /// Ids up to here were given to others.
    pub(crate) fn note(&mut self, made: i64) {
        self.made = self.made.max(made + 10_000);
    }

    /// Time goes on: mostly a little.
    pub(super) fn later(&mut self) -> Timestamp {
        let step_ms = match self.draw.below(40) {
            0..8 => 0,
            8..16 => 1 + self.draw.below(900) as i64,
            16..28 => 1_000 + self.draw.below(9_000) as i64,
            28..36 => 10_000 + self.draw.below(120_000) as i64,
            36..38 => HOUR_MS,
            38 => 4 * DAY_MS,
            _ if self.steady => 40 * DAY_MS,
            _ => -(self.draw.below(5_000) as i64),
        };
        self.now = self.now.plus_ms(step_ms);
        self.now
    }

    fn realm(&mut self) -> Realm {
        self.draw.of(&[HOME, HOME, HOME, HOME, TEST, NEIGHBOUR])
    }

    fn programme(&mut self) -> Option<programme::Name> {
        programme::Name::parse(self.draw.of(&["", "", "", "offers", "news", "news"]))
    }

    fn recipient(&mut self) -> PhoneNumber {
        number(self.draw.below(5))
    }

    fn id(&mut self) -> i64 {
        self.made += 1;
        floor_at(self.now).max(floor_at(START)) + self.made
    }

    fn known(&mut self) -> (Realm, MessageId) {
        match self.draw.lately(&self.messages) {
            Some(known) if !self.draw.one_in(30) => known,
            _ => (HOME, MessageId::from_key(floor_at(START))),
        }
    }

    pub(super) fn call(&mut self) -> Call {
        let jitter = self.draw.next() as u32;
        match self.draw.below(177) {
            0..16 => self.accept(),
            16..26 => Call::Claim { queue: self.queue(), limit: self.draw.up_to(5) },
            26..52 => {
                let happenings = (0..1 + self.draw.below(4)).map(|_| self.happening()).collect();
                Call::Advance { happenings, jitter }
            }
            52..58 => Call::Wake { limit: self.limit(), jitter },
            58 | 59 => Call::Recover { limit: self.limit(), jitter },
            60 => Call::Suppressed((0..3).map(|_| (self.realm(), self.recipient())).collect()),
            61 | 62 => self.receive(),
            63 if self.draw.one_in(4) => Call::Queues(self.line()),
            63 => Call::NextDue(if self.draw.one_in(2) { None } else { Some(self.queue()) }),
            64..67 => {
                let wanted = (0..self.draw.up_to(3)).filter_map(|_| self.draw.lately(&self.endpoints));
                let wanted: Vec<EndpointId> = wanted.collect();
                let wanted = wanted.into_iter().map(|id| (id, self.draw.up_to(4))).collect();
                Call::ClaimDeliveries { wanted, lease_ms: self.draw.of(&[1_000, 30_000, 90_000]) }
            }
            67 => {
                let told = (0..self.draw.up_to(2)).filter_map(|_| self.draw.lately(&self.told)?.delivery);
                Call::GiveBackDeliveries(told.collect())
            }
            68..72 => {
                let attempts = (0..1 + self.draw.below(3)).filter_map(|_| self.attempt()).collect();
                Call::RecordAttempts(attempts)
            }
            72 if self.draw.one_in(2) => Call::ReleaseDeliveries,
            72 => Call::StopWaiting(
                (0..1 + self.draw.below(3)).map(|_| (self.realm(), self.recipient())).collect(),
                1 + self.draw.up_to(3),
            ),
            73..77 => self.endpoint(),
            77 => self.replay(),
            79 if self.draw.one_in(2) => self.turns(),
            79 if self.draw.one_in(2) => self.quotas(),
            78 | 79 => Call::Suppress((0..1 + self.draw.below(3)).map(|_| self.suppression()).collect()),
            80 if self.draw.one_in(2) => Call::Lift(self.realm(), self.recipient(), self.programme()),
            97 if self.draw.one_in(2) => self.template(),
            97 if self.draw.one_in(2) => self.segment(),
            80 if self.draw.one_in(2) => Call::ImportConsents(self.list_of_consents()),
            80 => Call::RecordConsents((0..1 + self.draw.below(3)).map(|_| self.consent()).collect()),
            81 | 82 => Call::Decide {
                realm: self.realm(),
                place: self.draw.up_to(3),
                all: self.draw.one_in(2),
                decision: self.draw.of(&Decision::ALL),
                limit: self.draw.up_to(3),
            },
            83 => {
                let (realm, id) = self.known();
                Call::Redact(if self.draw.one_in(5) { self.realm() } else { realm }, id)
            }
            84 | 85 => Call::Sweep(Retention {
                idempotency_ms: self.draw.of(&[1_000, DAY_MS]),
                parked_ms: self.draw.of(&[60_000, 3 * DAY_MS]),
                attempts_ms: self.draw.of(&[60_000, DAY_MS]),
                messages_ms: self.draw.of(&[None, Some(60_000), Some(5 * DAY_MS)]),
            }),
            86 => Call::Hold(self.draw.of(&[None, Some("restored".to_owned())])),
            87 => Call::Pause(self.line(), self.draw.of(&[None, Some("bills".to_owned())])),
            88 => Call::Reroute { from: self.line(), to: self.line(), limit: self.draw.up_to(3) },
            89 | 90 => self.access(),
            91 | 92 => self.list(),
            93 => {
                let (realm, id) = self.known();
                Call::Timeline(realm, id)
            }
            94..97 => Call::Numbers,
            97 => Call::RecordAudit,
            98 => Call::Reopen,
            99..102 => {
                Call::Reroute { from: LINE, to: self.draw.of(&[OTHER_LINE, LINE]), limit: self.limit() }
            }
            102 => Call::ReleaseDeliveries,
            103..136 => self.code(),
            136 => Call::Crash,
            145..168 => self.person(),
            168..171 => self.converse(),
            171 | 172 => self.ask_consent(),
            173 => Call::Note(self.realm(), self.draw.up_to(3), NoteId::from_key(self.id())),
            174..177 => {
                let change = match self.draw.below(6) {
                    0 => ConversationChange::Assign(self.draw.of(&[None, Some("Maya".to_owned())])),
                    1 => ConversationChange::Snooze(self.now.plus_ms(self.draw.of(&[1_000, HOUR_MS]))),
                    2 => ConversationChange::Reopen,
                    3 => {
                        let tags = |draw: &mut Draw| {
                            (0..draw.up_to(2)).map(|_| draw.of(&["a", "b", "c"]).to_owned()).collect()
                        };
                        ConversationChange::Tag { add: tags(&mut self.draw), remove: tags(&mut self.draw) }
                    }
                    _ => ConversationChange::Close,
                };
                Call::Change(self.realm(), self.draw.up_to(3), change)
            }
            _ if self.draw.one_in(5) => Call::GiveUp(self.limit()),
            _ => self.receive(),
        }
    }

    fn converse(&mut self) -> Call {
        let realm = self.realm();
        let mut draft = self.draft(realm, None);
        // Nobody else makes such an id.
        draft.message.id = MessageId::from_key(self.id());
        let heard = self.draw.lately(&self.inbounds).map(|(_, id)| Entry::Inbound(id));
        let sent = self.draw.lately(&self.messages).map(|(_, id)| Entry::Message(id));
        self.messages.push((realm, draft.message.id));
        let key = self.draw.one_in(5).then(|| (self.draw.below(3) as u8, self.draw.below(2) as u8));
        Call::Converse { realm, key, draft, seen: self.draw.of(&[None, None, heard, sent]) }
    }

    /// Of few names, ids and places, so that they are taken.
    fn segment(&mut self) -> Call {
        let (realm, id) = (self.realm(), SegmentId::from_key(1 + self.draw.below(4) as i64));
        let name = self.draw.of(&TEMPLATE_NAMES);
        match self.draw.below(7) {
            0 => Call::DeleteSegment(realm, id),
            1 => {
                let change = SegmentChange { name: Some(name.to_owned()), ..SegmentChange::default() };
                Call::ChangeSegment(realm, id, change)
            }
            2 => {
                let query = Some(crate::segment::query(self.draw.below(3) as u32));
                Call::ChangeSegment(realm, id, SegmentChange { query, ..SegmentChange::default() })
            }
            3 | 4 => {
                let segment = crate::segment::segment(id.key(), name);
                Call::CreateSegment(SavedQuery {
                    realm,
                    created_at: self.now,
                    updated_at: self.now,
                    ..segment
                })
            }
            _ => {
                let place = |n| EventId::from_key(1 + n as i64);
                let after = self.draw.of(&[None, Some(place(0)), Some(place(1))]);
                let upto = place(self.draw.below(2));
                let touch = |teller: &mut Self| {
                    let touch = Touch::from_number(teller.draw.below(13) as u8).expect("a number of one");
                    let at = teller.now.plus_ms(-(teller.draw.below(40) as i64) * DAY_MS);
                    (teller.recipient(), touch, at)
                };
                let count = self.draw.below(4);
                let touches = (0..count).map(|_| touch(self)).collect();
                Call::AddTouches(realm, Touched { after, upto, touches })
            }
        }
    }

    fn ask_consent(&mut self) -> Call {
        let realm = self.realm();
        let mut draft = self.draft(realm, None);
        // Nobody else makes such an id.
        draft.message.id = MessageId::from_key(self.id());
        self.messages.push((realm, draft.message.id));
        let asking = NewConsentRequest {
            purposes: vec![Purpose::Marketing, Purpose::Alert],
            channels: vec![Channel::Text],
            act: self.draw.of(&[Act::Express, Act::Written]),
            life_s: self.draw.of(&[60, 600, 86_400]),
            place: None,
            seller: Some("Shop".to_owned()),
            programme: None,
            source: "api".to_owned(),
        };
        Call::AskConsent { realm, draft, asking }
    }

    fn template(&mut self) -> Call {
        let realm = self.realm();
        if self.draw.one_in(2) {
            let id = TemplateId::from_key(1 + self.draw.below(5) as i64);
            return Call::AddTemplateVersion(realm, id);
        }
        let (n, name) = (1 + self.draw.below(4) as i64, self.draw.of(&TEMPLATE_NAMES));
        let template = crate::template::template(n, name);
        Call::CreateTemplate(Template { realm, created_at: self.now, ..template })
    }

    pub(super) fn learn(&mut self, call: &Call, learned: Learned) {
        let drafts = match call {
            Call::Accept { drafts, .. } => drafts.as_slice(),
            Call::SendCode { draft, .. } | Call::Converse { draft, .. } | Call::AskConsent { draft, .. } => {
                std::slice::from_ref(draft)
            }
            _ => &[],
        };
        // What came claimed may be at its carrier at once. That of a refused call is, too: nobody knows it then.
        for draft in drafts.iter().filter(|draft| draft.life.attempt == 1) {
            for segment in 0..draft.message.segments {
                self.submitted(&draft.message, 1, segment);
            }
        }
        for ticket in &learned.tickets {
            for segment in &ticket.segments {
                self.submitted(&ticket.message, ticket.attempt, *segment);
            }
        }
        for told in &learned.told {
            if let About::Inbound(inbound) = &told.about {
                self.messages.push((told.realm, answer_to(inbound.id)));
            }
        }
        self.told.extend(learned.told);
    }

    fn submitted(&mut self, message: &Message, attempt: u32, segment: u8) {
        let (line, recipient) = (message.connection, message.recipient);
        self.sent.push(Sent { message: message.id, line, recipient, attempt, segment });
    }

    fn line(&mut self) -> ConnectionId {
        self.draw.of(&[LINE, LINE, LINE, OTHER_LINE, TEST_LINE])
    }

    fn limit(&mut self) -> usize {
        self.draw.of(&[1, 2, 3, MANY, MANY, MANY])
    }
}

/// Acceptances.
impl Teller {
    fn accept(&mut self) -> Call {
        let realm = self.realm();
        let batch = self.draw.one_in(5).then(|| BatchId::from_key(self.id()));
        let drafts: Vec<Draft> = (0..1 + self.draw.below(4)).map(|_| self.draft(realm, batch)).collect();
        self.messages.extend(drafts.iter().map(|draft| (realm, draft.message.id)));
        self.batches.extend(batch);
        let key = self.draw.one_in(4).then(|| (self.draw.below(3) as u8, self.draw.below(2) as u8));
        Call::Accept { realm, key, batch: batch.map(|id| (id, drafts.len() as u32 + 1)), drafts }
    }

    fn quotas(&mut self) -> Call {
        let asked = (0..self.draw.up_to(4)).map(|_| self.quota()).collect();
        if self.draw.one_in(4) { Call::ReturnQuotas(asked) } else { Call::TakeQuotas(asked) }
    }

    fn quota(&mut self) -> AskedQuota {
        let day = Timestamp::from_millis(self.now.as_millis() / DAY_MS * DAY_MS);
        AskedQuota {
            count: crate::quota::count(self.draw.of(&["ACME", "brand B1"]), day),
            segments: self.draw.of(&[0, 1, 3]),
            limit: self.draw.of(&[1, 5, 40]),
        }
    }

    /// Of different prices, and under limits that are reached.
    fn priced(&mut self) -> Priced {
        let amount = Amount::from_millionths;
        let limits = self.draw.of(&[(Some(40), None), (None, Some(90)), (Some(20), Some(60))]);
        let (day, month) = (limits.0.map(amount), limits.1.map(amount));
        Priced { price: amount(self.draw.of(&[0, 1, 7])), limits: Limits { day, month } }
    }

    fn queue(&mut self) -> Queue {
        let line = self.line();
        if self.draw.one_in(3) { slow(line) } else { Queue::of(line) }
    }

    /// From one of two pools with two senders, often as it was seen, and often not.
    fn picked(&mut self) -> Picked {
        let sender = |text| Sender::from_stored(text).expect("a sender");
        Picked {
            pool: Name::parse(self.draw.of(&["p", "p", "q"])).expect("a name"),
            sender: sender(self.draw.of(&["ACME", "72345"])),
            choice: self.draw.of(&[Choice::Sent, Choice::Area, Choice::Spread]),
            seen: self.draw.of(&[None, None, Some("ACME"), Some("72345")]).map(sender),
        }
    }

    fn draft(&mut self, realm: Realm, batch: Option<BatchId>) -> Draft {
        let now = self.now;
        // An id that is taken; in a batch by another of its messages, since their ids are greater than its own.
        let taken = match batch {
            Some(batch) => Some(MessageId::from_key(batch.key() + 1)),
            None => self.draw.lately(&self.messages).map(|(_, id)| id),
        };
        let fresh = MessageId::from_key(self.id());
        let id = taken.filter(|_| self.draw.one_in(60)).unwrap_or(fresh);
        let send_at = self.draw.one_in(6).then(|| now.plus_ms(1_000 + self.draw.below(200_000) as i64));
        let life_ms = self.draw.of(&[0, 2_000, 70_000, 300_000, 2 * HOUR_MS, 2 * HOUR_MS, 72 * HOUR_MS]);
        let connection = match realm.environment {
            Environment::Test => TEST_LINE,
            Environment::Live => self.draw.of(&[LINE, LINE, OTHER_LINE]),
        };
        let message = Message {
            id,
            account: realm.account,
            environment: realm.environment,
            token: self.draw.one_in(3).then(|| TokenId::from_key(self.made)),
            batch,
            purpose: self.draw.of(&Purpose::ALL),
            sender: Sender::from_stored(self.draw.of(&["ACME", "ACME", SLOW])).expect("a sender"),
            recipient: self.recipient(),
            segments: self.draw.of(&[1, 1, 1, 2, 3]),
            connection,
            created_at: now,
            send_at,
            expires_at: send_at.unwrap_or(now).plus_ms(life_ms),
            callback: self.draw.lately(&self.callbacks).filter(|_| realm == HOME),
            reference: self.draw.one_in(3).then(|| format!("order {}", self.draw.below(3))),
            metadata: self.draw.one_in(4).then(|| "{\"a\": [1, null]}".to_owned()),
            // Nobody repeats a message of another account.
            retry_of: self
                .draw
                .one_in(9)
                .then(|| self.known())
                .filter(|(of, _)| *of == realm)
                .map(|(_, id)| id),
            reply: None,
            template: self.draw.one_in(5).then(|| Origin { template: TemplateId::from_key(3), version: 2 }),
            programme: self.programme(),
            ..message(self.made)
        };
        let queued = Life::queued(message.segments, now, send_at);
        // Claimed on acceptance, as the engine does where a window has room.
        let rules = Rules { retry: &RetryPolicy::default(), jitter: Jitter(0) };
        let claimed = queued.apply(Input::Claimed, message.terms(), now, rules).ok();
        let claimed = claimed.filter(|claimed| claimed.life.state.status() == Status::Sending);
        match claimed.filter(|_| send_at.is_none() && self.draw.one_in(3)) {
            Some(claimed) => {
                let premise = self.draw.one_in(4).then(|| self.premise(now));
                Draft { premise, ..Draft::new(message, claimed.life) }
            }
            None => {
                let held =
                    send_at.filter(|_| self.draw.one_in(2)).map(|until| Hold { until, why: self.failure() });
                let picked = self.draw.one_in(6).then(|| self.picked());
                let priced = self.draw.one_in(5).then(|| self.priced());
                let premise = self.draw.one_in(6).then(|| self.premise(send_at.unwrap_or(now)));
                Draft { held, picked, priced, premise, ..Draft::new(message, queued) }
            }
        }
    }
}

/// One-time codes.
impl Teller {
    fn code(&mut self) -> Call {
        let known = self.draw.lately(&self.codes);
        let (realm, id) = known.unwrap_or((HOME, CodeId::from_key(1)));
        let asks = if self.draw.one_in(12) { self.realm() } else { realm };
        match self.draw.below(16) {
            0..9 => self.send_code(known),
            9..13 => Call::CheckCode(asks, id, self.draw.one_in(3)),
            13 => Call::CancelCode(asks, id),
            14 if self.draw.one_in(3) => Call::LiftStop(self.realm(), Prefix::of(number(1))),
            _ => Call::Stops(self.realm()),
        }
    }

    fn send_code(&mut self, known: Option<(Realm, CodeId)>) -> Call {
        let again = known.filter(|_| self.draw.one_in(3));
        let realm = again.map_or_else(|| self.realm(), |(realm, _)| realm);
        let mut draft = self.draft(realm, None);
        // Nobody else makes such an id.
        draft.message.id = MessageId::from_key(self.id());
        self.messages.push((realm, draft.message.id));
        let which = match again {
            Some((_, id)) => Which::Again(id),
            None => {
                self.codes.push((realm, CodeId::from_key(draft.message.id.key())));
                let reference = self.draw.one_in(2).then(|| "sign-in".to_owned());
                let (digits, life_s) = (self.draw.of(&[4, 6, 10]), self.draw.of(&[60, 600]));
                Which::New(NewCode { digits, life_s, reference }, Mark::new(self.draw.next() as u32))
            }
        };
        let key = self.draw.one_in(5).then(|| (self.draw.below(3) as u8, self.draw.below(2) as u8));
        let session = self.draw.one_in(2).then(|| format!("session {}", self.draw.below(3)));
        Call::SendCode { realm, key, draft, which, session }
    }
}

/// What carriers say.
impl Teller {
    fn happening(&mut self) -> Happening {
        match self.draw.below(20) {
            0..9 => self.answer(),
            9..17 => self.receipt(),
            17 => to(self.known().1, Input::Cancel),
            18 if self.draw.one_in(2) => {
                let until = self.now.plus_ms(self.draw.below(200_000) as i64);
                let hold = Hold { until, why: self.failure() };
                to(self.known().1, Input::Held { attempt: self.draw.below(3) as u32, hold })
            }
            18 => to(self.known().1, Input::Stopped(Reason::OptedOut.failure())),
            _ => {
                let input = self.draw.of(&[Input::TimeUp, Input::Orphaned, Input::Claimed]);
                to(self.known().1, if self.draw.one_in(3) { input } else { Input::Cancel })
            }
        }
    }

    /// One that may say that the phone could not be reached.
    fn at_the_phone(&mut self) -> Failure {
        let failure = self.failure();
        match self.draw.one_in(2) {
            true => {
                Failure { class: FailureClass::UnknownError, transient: true, unreached: true, ..failure }
            }
            false => failure,
        }
    }

    fn failure(&mut self) -> Failure {
        let code = self.draw.of(&["smpp 0x00000058", "smpp 0x0000000b"]);
        Failure::new(self.draw.of(&FailureClass::ALL), self.draw.one_in(2), code, "as the carrier says")
    }

    fn answer(&mut self) -> Happening {
        let Some(sent) = self.draw.lately(&self.sent) else { return to(self.known().1, Input::Cancel) };
        let attempt = if self.draw.one_in(10) { self.draw.below(4) as u32 } else { sent.attempt };
        let segment = if self.draw.one_in(20) { self.draw.below(4) as u8 } else { sent.segment };
        let answer = match self.draw.below(12) {
            0..7 => Answer::Accepted { carrier_id: self.carrier_id(&sent) },
            7 | 8 => Answer::Refused(self.at_the_phone()),
            9 | 10 => Answer::None,
            _ => Answer::Unsent,
        };
        answered(sent.message, attempt, segment, answer)
    }

    /// As one of several carriers would name the segment; some give the same id to several.
    fn carrier_id(&mut self, sent: &Sent) -> String {
        let n = sent.number();
        match self.draw.below(12) {
            0..4 => format!("{n:X}"),
            4 | 5 => format!("{n:08x}"),
            6 | 7 => n.to_string(),
            8 => format!("{n:012}"),
            9 => self.draw.of(&["10", "010", "a", "0A", "16"]).to_owned(),
            10 => self.draw.of(&["", "0", "000"]).to_owned(),
            _ => format!("{n}-ab"),
        }
    }

    fn receipt(&mut self) -> Happening {
        let again = self.draw.lately(&self.receipts).filter(|_| self.draw.one_in(6));
        let (connection, receipt) = match again {
            Some(again) => again,
            None => self.new_receipt(),
        };
        self.receipts.push((connection, receipt.clone()));
        Happening::Receipt { connection, receipt }
    }

    fn new_receipt(&mut self) -> (ConnectionId, Receipt) {
        let nobody = Sent {
            message: MessageId::from_key(7),
            line: LINE,
            recipient: number(3),
            attempt: 1,
            segment: 0,
        };
        let sent = self.draw.lately(&self.sent).filter(|_| !self.draw.one_in(12)).unwrap_or(nobody);
        let digits = sent.recipient.to_string().trim_start_matches('+').to_owned();
        let parties = match self.draw.below(10) {
            0..5 => vec![digits, "ACME".to_owned()],
            5 => vec!["ACME".to_owned(), format!("+{digits}")],
            6 => vec![format!("0{}", &digits[2..])],
            7 => vec![],
            8 => vec!["ACME".to_owned()],
            _ => vec![self.recipient().to_string()],
        };
        let reference = our_reference(sent.message, sent.segment);
        let outcome = match self.draw.below(10) {
            0 => None,
            1..6 => Some(Outcome::Delivered),
            6 => Some(Outcome::Undelivered(self.at_the_phone())),
            7 => Some(Outcome::Rejected(self.failure())),
            8 => Some(Outcome::Expired(self.at_the_phone())),
            _ => Some(Outcome::Unknown(self.failure())),
        };
        let receipt = Receipt {
            carrier_id: self.carrier_id(&sent),
            id_form: self.draw.of(&[
                IdForm::Any,
                IdForm::Any,
                IdForm::Any,
                IdForm::Same,
                IdForm::HexThenDecimal,
            ]),
            our_reference: self.draw.of(&[None, None, Some(reference), Some(reference), Some(7)]),
            parties,
            outcome,
            raw: format!("receipt {}", self.receipts.len()),
        };
        (if self.draw.one_in(12) { self.line() } else { sent.line }, receipt)
    }

    fn receive(&mut self) -> Call {
        Call::Receive((0..1 + self.draw.below(3)).map(|_| self.arrival()).collect())
    }

    fn arrival(&mut self) -> Arrival {
        let text = self.draw.of(&[
            "STOP",
            "STOP",
            "STOP ALL",
            "START",
            "HELP",
            "wrong number",
            "yes",
            "yes",
            "no",
            "join",
            "join",
            "do not text me",
            "it",
        ]);
        let (realm, person) = (self.realm(), self.recipient());
        let id = InboundId::from_key(self.id());
        self.made += 1;
        self.inbounds.push((realm, id));
        let place = self.draw.of(&[None, Some((7, 2)), Some((7, 2)), Some((8, 3)), Some((8, 3))]);
        let place = place.map(|(reference, total)| Part {
            reference,
            total,
            number: 1 + self.draw.below(u64::from(total)) as u8,
        });
        let charset = self.draw.of(&[Charset::Latin1, Charset::Latin1, Charset::Latin1, Charset::Unknown]);
        Arrival {
            id,
            realm,
            connection: self.draw.of(&[LINE, LINE, OTHER_LINE]),
            from: if self.draw.one_in(9) { "ACME".to_owned() } else { person.to_string() },
            to: self.draw.of(&["ACME", "ACME", "ACME", "NEWS"]).to_owned(),
            segment: Segment::received(charset, text.as_bytes(), false, place),
            media: self.media(),
            beside: self.draw.of(&[vec![], vec![], vec![7]]),
            opened: self.draw.of(&[None, Some(self.now), Some(self.now.plus_ms(-30_000))]),
            at: self.now,
        }
    }
}

impl Teller {
    /// Few send any, and some send the same again.
    fn media(&mut self) -> Vec<Medium> {
        let count = self.draw.of(&[0, 0, 0, 0, 1, 2]);
        let item = |draw: &mut Draw| Item {
            content_type: draw.of(&["image/png", "text/html; a=b", ""]).to_owned(),
            name: draw.of(&[None, Some("a.png"), Some("../b\0.png")]).map(str::to_owned),
            content: match draw.one_in(5) {
                true => Content::TooLarge(9 << 20),
                false => Content::Octets(vec![draw.below(3) as u8; draw.below(3) as usize].into()),
            },
        };
        Medium::all((0..count).map(|_| item(&mut self.draw)).collect())
    }
}

/// What customers and operators do.
impl Teller {
    fn attempt(&mut self) -> Option<Attempt> {
        let told = self.draw.lately(&self.told)?;
        let delivery = told.delivery?;
        let verdict = match self.draw.below(8) {
            0..3 => Verdict::Done,
            3..6 => Verdict::RetryAt(self.now.plus_ms(self.draw.of(&[5_000, 300_000]))),
            6 => Verdict::Dead,
            _ => Verdict::Gone,
        };
        Some(Attempt {
            seq: 0,
            realm: told.realm,
            event: told.id,
            message: match &told.about {
                About::Message(message) => Some(message.id),
                About::Inbound(_) | About::Test => None,
            },
            endpoint: delivery.endpoint,
            lease: delivery.due_at,
            number: delivery.tries + 1,
            at: self.now,
            took_ms: self.draw.below(900) as u32,
            status: self.draw.of(&[None, Some(204), Some(500)]),
            request: self.draw.of(&["", "{}"]).to_owned(),
            response: "so so".to_owned(),
            verdict,
        })
    }

    fn new_endpoint(&mut self, id: EndpointId, callback_only: bool) -> Endpoint {
        Endpoint {
            id,
            realm: if callback_only { HOME } else { self.realm() },
            url: format!("https://example.com/{}", self.draw.below(3)),
            description: "orders".to_owned(),
            kinds: self.draw.of(&[0, 0, 0, Kind::Delivered.bit() | Kind::Sent.bit()]),
            callback_only,
            secret: vec![self.draw.below(9) as u8],
            previous: self.draw.one_in(3).then(|| (vec![3, 2, 1], self.now.plus_ms(HOUR_MS))),
            disabled: self.draw.one_in(5).then(|| "by hand".to_owned()),
            failing_since: None,
            created_at: self.now,
        }
    }

    fn endpoint(&mut self) -> Call {
        let fresh = EndpointId::from_key(self.endpoints.len() as i64 + 1);
        match self.draw.below(8) {
            0..3 => {
                self.endpoints.push(fresh);
                Call::CreateEndpoint(self.new_endpoint(fresh, false))
            }
            3 | 4 => {
                self.endpoints.push(fresh);
                self.callbacks.push(fresh);
                let enabled = Endpoint { disabled: None, ..self.new_endpoint(fresh, true) };
                Call::CallbackEndpoint(enabled)
            }
            5 | 6 => {
                let id = self.draw.lately(&self.endpoints).unwrap_or(fresh);
                let callback_only = self.callbacks.contains(&id);
                Call::UpdateEndpoint(self.new_endpoint(id, callback_only))
            }
            _ => Call::DeleteEndpoint(self.realm(), self.draw.lately(&self.endpoints).unwrap_or(fresh)),
        }
    }

    fn replay(&mut self) -> Call {
        let endpoint = self.draw.lately(&self.endpoints).unwrap_or(EndpointId::from_key(1));
        let what = match self.draw.lately(&self.told) {
            Some(told) if self.draw.one_in(2) || !self.steady => Replay::One(told.id),
            _ if !self.steady => Replay::One(EventId::from_key(1)),
            _ => Replay::Range(self.now.plus_ms(-HOUR_MS), self.now),
        };
        Call::Replay { realm: self.realm(), endpoint, what, limit: self.limit() }
    }

    fn suppression(&mut self) -> Suppression {
        if !self.draw.one_in(15) {
            self.last_suppression += 1;
        }
        Suppression {
            id: SuppressionId::from_key(self.last_suppression),
            realm: self.realm(),
            recipient: self.recipient(),
            programme: self.programme(),
            reason: self.draw.of(&Reason::ALL),
            source: "api".to_owned(),
            created_at: self.now,
            expires_at: self.draw.of(&[
                None,
                Some(self.now.plus_ms(60_000)),
                Some(self.now.plus_ms(5 * DAY_MS)),
            ]),
            lifted: None,
        }
    }

    /// Of messages that there are and of others: a turn asks nothing of its message.
    fn turns(&mut self) -> Call {
        let mut asked = Vec::new();
        for _ in 0..1 + self.draw.below(4) {
            let (realm, message) = self.known();
            let recipient = self.recipient();
            // A message has one purpose.
            let purpose = if message.key() % 2 == 0 { Purpose::Marketing } else { Purpose::Alert };
            asked.push(AskedTurn { realm, recipient, message, purpose, bounds: self.bounds() });
        }
        Call::TakeTurns(asked)
    }

    fn bounds(&mut self) -> Vec<Bound> {
        let caps = Caps { day: self.draw.of(&[0, 1, 2]), week: self.draw.of(&[0, 2, 3]) };
        let own = Bound { purposes: vec![Purpose::Marketing, Purpose::Alert], caps, law: None };
        let caps = Caps { day: self.draw.of(&[1, 2]), week: 0 };
        vec![own, Bound { purposes: vec![Purpose::Marketing], caps, law: None }]
    }

    /// What may be taken for granted of a message that would go then.
    fn premise(&mut self, goes_at: Timestamp) -> Premise {
        let bounds = if self.draw.one_in(3) { Vec::new() } else { self.bounds() };
        let other = Other { at: goes_at.plus_ms(-1_000), purpose: Purpose::Marketing };
        let others = self.draw.one_in(4).then_some(other).into_iter().collect();
        let quota = self.draw.one_in(2).then(|| self.quota());
        Premise { goes_at, bounds, others, quota }
    }

    /// Some that are new, and some that an earlier one of them or of the list before says already.
    fn list_of_consents(&mut self) -> Vec<Consent> {
        let mut list: Vec<Consent> = (0..1 + self.draw.below(3)).map(|_| self.consent()).collect();
        let said: Vec<Consent> = list.iter().chain(&self.last_list).cloned().collect();
        for one in said.into_iter().filter(|_| self.draw.one_in(2)).collect::<Vec<_>>() {
            self.last_consent += 1;
            let id = ConsentId::from_key(self.last_consent);
            list.push(Consent { id, recorded_at: self.now, ..one });
        }
        self.last_list.clone_from(&list);
        list
    }

    fn consent(&mut self) -> Consent {
        if !self.draw.one_in(15) {
            self.last_consent += 1;
        }
        let text = self.draw.of(&["I agree", "Ich stimme zu"]);
        let wording = Wording { hash: [text.len() as u8; 32], text: text.to_owned() };
        Consent {
            id: ConsentId::from_key(self.last_consent),
            realm: self.realm(),
            recipient: self.recipient(),
            purpose: self.draw.of(&Purpose::ALL),
            channel: self.draw.of(&Channel::ALL),
            act: self.draw.of(&Act::ALL),
            given_at: self.now.plus_ms(-(self.draw.below(5_000) as i64)),
            recorded_at: self.now,
            expires_at: self.draw.of(&[None, Some(self.now.plus_ms(5 * DAY_MS))]),
            method: self.draw.of(&Method::ALL),
            evidence: Evidence {
                wording: self.draw.one_in(2).then_some(wording),
                place: self.draw.one_in(2).then(|| "https://shop.example".to_owned()),
                ..Evidence::default()
            },
            source: "api".to_owned(),
        }
    }

    fn contact_details(&mut self) -> Details {
        let groups = (0..self.draw.up_to(3)).map(|_| self.draw.of(&["gold", "new", "a b"]));
        let groups: Vec<&str> = groups.collect();
        let name = |text: &str| tidings_domain::contact::FieldName::parse(text).expect("a name");
        let value = |text: &str, wanted| Value::parse(text, wanted).expect("a value");
        let all = [
            (name("plan"), value("pro \"x\"", Type::Text)),
            (name("plan"), value("2024-02-29", Type::Text)),
            (name("visits"), value("-1.5", Type::Number)),
            (name("vip"), value("no", Type::YesNo)),
        ];
        Details {
            name: self.draw.of(&[None, Some("Åsa"), Some("Bo")]).map(str::to_owned),
            owner: self.draw.of(&[None, Some("Ed")]).map(str::to_owned),
            groups: groups.into_iter().map(|text| Group::parse(text).expect("a group")).collect(),
            fields: (0..self.draw.up_to(3)).map(|_| self.draw.of(&all)).collect(),
            ..Details::default()
        }
    }

    fn numbers(&mut self) -> Vec<PhoneNumber> {
        let mut numbers: Vec<PhoneNumber> = (0..1 + self.draw.up_to(2)).map(|_| self.recipient()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// Contacts and imports.
    fn person(&mut self) -> Call {
        let known = self.draw.lately(&self.contacts).unwrap_or((HOME, ContactId::from_key(1)));
        let (realm, id) = if self.draw.one_in(9) { (self.realm(), known.1) } else { known };
        let import = ImportId::from_key(self.last_import - i64::from(self.draw.one_in(3)));
        match self.draw.below(18) {
            0..4 => {
                let id = ContactId::from_key(self.id());
                let realm = self.realm();
                self.contacts.push((realm, id));
                Call::CreateContact(Contact {
                    id,
                    realm,
                    numbers: self.numbers(),
                    details: self.contact_details(),
                    created_at: self.now,
                    updated_at: self.now,
                })
            }
            4..6 => {
                let Details { name, groups, fields, .. } = self.contact_details();
                let numbers = self.draw.one_in(2).then(|| self.numbers());
                let fields =
                    fields.into_iter().map(|(name, value)| (name, (!self.draw.one_in(3)).then_some(value)));
                let fields = fields.collect();
                let groups = self.draw.one_in(2).then_some(groups);
                let change = Change { numbers, name: Some(name), groups, fields, ..Change::default() };
                Call::ChangeContact(realm, id, change)
            }
            6 => Call::DeleteContact(realm, id),
            7 => Call::Known(realm, self.numbers()),
            8..10 => {
                self.last_import += i64::from(!self.draw.one_in(9));
                Call::BeginImport(Import {
                    id: ImportId::from_key(self.last_import),
                    realm: self.draw.of(&[HOME, HOME, HOME, TEST]),
                    name: "people.csv".to_owned(),
                    who: "api".to_owned(),
                    state: State::Reading,
                    headings: vec!["phone".to_owned()],
                    report: Report::default(),
                    progress: Progress::default(),
                    created_at: self.now,
                    updated_at: self.now,
                })
            }
            10..14 => {
                let numbers = self.numbers();
                let rows = numbers.into_iter().map(|number| Row {
                    id: ContactId::from_key(self.id()),
                    number,
                    details: self.contact_details(),
                    octets: self.draw.of(&[10, 600_000]),
                });
                let rows = rows.collect();
                let refused = (0..self.draw.up_to(2)).map(|n| Refused {
                    line: n as u64,
                    reason: "duplicate".to_owned(),
                    column: self.draw.of(&[None, Some("a \"b\"")]).map(str::to_owned),
                    cells: vec!["x\ny".to_owned(), String::new()],
                });
                let window = Window { rows, refused: refused.collect() };
                let state = self.draw.of(&[State::Reading, State::Ready, State::Ready, State::Broken]);
                let staged =
                    Staged { window, headings: vec!["é".to_owned()], report: Report::default(), state };
                Call::StageImport(self.draw.of(&[HOME, HOME, HOME, realm]), import, Box::new(staged))
            }
            14 => {
                let decision =
                    self.draw.of(&[Settled::Commit, Settled::Commit, Settled::Commit, Settled::Discard]);
                Call::DecideImport(self.draw.of(&[HOME, HOME, HOME, realm]), import, decision)
            }
            _ => Call::ApplyImport(self.draw.one_in(6).then_some(import)),
        }
    }

    fn access(&mut self) -> Call {
        let id = self.made + 1;
        let client = ClientId::from_key(1 + self.draw.below(2) as i64);
        let known = self.draw.lately(&self.tokens);
        match (self.draw.below(7), known) {
            (0, Some(known)) => Call::UpdateToken(Token {
                hash: [self.draw.below(3) as u8; 32],
                previous: Some((known.hash, self.now)),
                revoked_at: self.draw.one_in(3).then_some(self.now),
                realm: if self.draw.one_in(4) { NEIGHBOUR } else { known.realm },
                ..known
            }),
            (1 | 2, Some(known)) => {
                Call::TouchTokens(vec![(known.id, self.now, false), (known.id, self.now.plus_ms(-9), true)])
            }
            (3, _) => {
                let (realm, hash, scopes, name) =
                    (self.realm(), [9; 32], Scopes::SMS_ONLY, "shop".to_owned());
                let (created_at, revoked_at) = (self.now, None);
                Call::CreateClient(Client { id: client, realm, hash, scopes, name, created_at, revoked_at })
            }
            (4, _) => Call::RevokeClient(self.realm(), client),
            (5, _) => {
                let id = AccountId::from_key(1 + self.draw.below(3) as i64);
                Call::CreateAccount(Account { id, name: "second".to_owned(), created_at: self.now })
            }
            _ => {
                self.made += 1;
                let token = Token {
                    id: TokenId::from_key(id),
                    lookup: format!("look{}", self.draw.below(6)),
                    hash: [self.draw.below(3) as u8; 32],
                    previous: None,
                    realm: self.realm(),
                    scopes: Scopes::SMS_ONLY,
                    name: format!("token {id}"),
                    client: self.draw.one_in(2).then_some(client),
                    created_at: self.now,
                    expires_at: self.draw.one_in(2).then_some(self.now),
                    revoked_at: None,
                    last_used_at: None,
                    previous_used_at: None,
                    rate_per_minute: None,
                };
                self.tokens.push(token.clone());
                Call::CreateToken(token)
            }
        }
    }

    fn list(&mut self) -> Call {
        let carrier_id = self.draw.lately(&self.sent).map(|sent| self.carrier_id(&sent));
        let filter = MessageFilter {
            status: self.draw.one_in(3).then(|| self.draw.of(&Status::ALL)),
            recipient: self.draw.one_in(4).then(|| self.recipient()),
            sender: self.draw.one_in(6).then(|| self.draw.of(&["ACME", "OTHER"]).to_owned()),
            reference: self.draw.one_in(6).then(|| "order 1".to_owned()),
            carrier_id: carrier_id.filter(|_| self.draw.one_in(4)),
            batch: self.draw.lately(&self.batches).filter(|_| self.draw.one_in(3)),
            since: self.draw.one_in(5).then(|| self.now.plus_ms(-60_000)),
            until: self.draw.one_in(5).then(|| self.now.plus_ms(-10_000)),
        };
        Call::List { realm: self.realm(), filter: Box::new(filter), limit: 1 + self.draw.up_to(4) }
    }
}
