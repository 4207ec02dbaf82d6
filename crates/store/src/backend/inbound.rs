//! What people write, and what is answered by itself.

use super::{Actor, Draft, Medium, Suppression};
use crate::{Error, Result};
use std::sync::Arc;
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::assembly::{Bounds, Said};
use tidings_domain::consent::{Consent, History};
use tidings_domain::consent_request;
use tidings_domain::contact::Details;
use tidings_domain::conversation;
use tidings_domain::event::{Event, Kind};
use tidings_domain::id::*;
use tidings_domain::inbound::{Decision, Whose, counts_again, decide, decide_join, decide_start};
use tidings_domain::inbound_rule::{self, InboundRule};
use tidings_domain::keyword::{self, Keyword};
use tidings_domain::media::Listed;
use tidings_domain::message::Status;
use tidings_domain::programme::{self, Joining, Programmes};
use tidings_domain::sender::Sender;
use tidings_domain::suppression::{self, Listing};
use tidings_domain::text::{Part, Segment};
use tidings_domain::time::Timestamp;

/// Messages that one opt-out by text ends in its commit: a person has a few that wait, and a commit must not grow with a
/// queue.
pub const ENDED_BY_OPT_OUT_MAX: usize = 500;

/// Digits of a phone number that a carrier wrote without `+`, at least. A short code has eight at most.
const PERSON_DIGITS_MIN: usize = 9;

/// A message that a person sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbound {
    /// Its id.
    pub id: InboundId,
    /// Whose.
    pub realm: Realm,
    /// Where it came in.
    pub connection: ConnectionId,
    /// Who sent it, as the carrier wrote it.
    pub from: String,
    /// To which of our senders.
    pub to: String,
    /// Its text; empty while it waits for parts.
    pub text: String,
    /// Of how many parts it was put together, if there are several.
    pub parts: Option<Parts>,
    /// When it was told, or its first part came.
    pub at: Timestamp,
    /// What it asks.
    pub keyword: keyword::Class,
    /// The name of the rule that acted on it, if one did.
    pub rule: Option<String>,
    /// What came with it, in its order.
    pub media: Vec<Listed>,
}

/// The parts of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// The reference that ties them together.
    pub reference: u16,
    /// How many there are, from 2.
    pub total: u8,
    /// The numbers of those that did not come, once it was told.
    pub missing: Vec<u8>,
}

/// A message that a person sent, with what came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The message.
    pub inbound: Inbound,
    /// Who has the number now that it came from, and in which conversation it stands. Events have it as it was.
    pub whose: Whose,
    /// Its parts as they came, by number. None of what was stored by an earlier version.
    pub parts: Vec<(u8, Segment)>,
    /// Until when it waits for others.
    pub waits_until: Option<Timestamp>,
}

/// A part of a message of a person on its way into the store. Most messages have one.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// The id of the message, if it begins one.
    pub id: InboundId,
    /// Whose.
    pub realm: Realm,
    /// Where it came in.
    pub connection: ConnectionId,
    /// Who sent it, as the carrier wrote it.
    pub from: String,
    /// To which of our senders.
    pub to: String,
    /// What came.
    pub segment: Segment,
    /// What came with it. One that has any is no part of a longer message.
    pub media: Vec<Medium>,
    /// What else the carrier says that may tell it from another one with the same text.
    pub beside: Vec<u8>,
    /// Since when the session was open that it came on; `None` if its carrier offers nothing again.
    pub opened: Option<Timestamp>,
    /// When it came.
    pub at: Timestamp,
}

impl Arrival {
    /// The message that it begins, before anything is read.
    pub(crate) fn inbound(&self) -> Inbound {
        Inbound {
            id: self.id,
            realm: self.realm,
            connection: self.connection,
            from: self.from.clone(),
            to: self.to.clone(),
            text: String::new(),
            parts: self.place().map(|part| Parts {
                reference: part.reference,
                total: part.total,
                missing: Vec::new(),
            }),
            at: self.at,
            keyword: keyword::Class::Nothing,
            rule: None,
            media: self.listed(),
        }
    }
}

/// How messages of people are heard.
#[derive(Clone)]
pub struct Hearing {
    /// How long one waits for its parts: ms.
    pub wait_ms: i64,
    /// How many may wait.
    pub bounds: Bounds,
    /// Writes the answer to somebody who asks by a keyword, to be given if something follows: a message that waits, and says
    /// what it answers. `None` if there is none.
    pub reply: Arc<Answering>,
    /// The rules that what people write goes by, if there are any.
    pub rules: Option<Arc<InboundRules>>,
    /// The programmes that people join or leave by a word, if there are any.
    pub by_word: Option<Arc<ByWord>>,
}

/// The programmes that people join or leave by a word.
pub struct ByWord {
    /// All programmes.
    pub programmes: Arc<Programmes>,
    /// Writes what who joins is answered: a message that waits, and says what it answers. `None` if none can be sent.
    pub welcome: Box<Welcoming>,
}

/// Writes the answer to somebody who joins a programme.
pub type Welcoming = dyn Fn(&Inbound, PhoneNumber, &Joining) -> Option<Draft> + Send + Sync;

/// The rules that what people write goes by.
pub struct InboundRules {
    /// In their order.
    pub all: Vec<InboundRule>,
    /// Writes the answer that a rule gives: a message that waits, and says what it answers. `None` if none can be sent.
    pub answer: Box<AnsweringByRule>,
}

/// Writes the answer of a rule to a message of a person.
pub type AnsweringByRule =
    dyn Fn(&Inbound, PhoneNumber, &inbound_rule::Answer) -> Option<Draft> + Send + Sync;

impl Hearing {
    /// What this message asks if a person joins a programme by it. No keyword does.
    fn join(&self, inbound: &Inbound) -> Option<Ask> {
        let by_word = self.by_word.as_deref().filter(|_| inbound.keyword == keyword::Class::Nothing)?;
        let joining =
            by_word.programmes.joined_by(inbound.sender()?, &inbound.text).filter(|_| inbound.is_whole())?;
        let person = inbound.person()?;
        let reply = (by_word.welcome)(inbound, person, &joining);
        let matched = joining.word.clone();
        Some(Ask { person, matched, reply, stops: None, joining: Some(Box::new(joining)) })
    }

    /// The programme that an opt-out by this message ends alone: what is read must be a word, and all of it.
    fn stopped_by(&self, inbound: &Inbound, found: &Keyword) -> Option<programme::Name> {
        let is_of_one = found.class == keyword::Class::Stop && !found.is_of_all && inbound.is_whole();
        let by_word = self.by_word.as_deref().filter(|_| is_of_one)?;
        by_word.programmes.stopped_at(inbound.sender()?).map(|programme| programme.name.clone())
    }

    /// The rules, with who wrote to whom, if they are to look at this message.
    pub(crate) fn rules_for(&self, inbound: &Inbound) -> Option<(&InboundRules, PhoneNumber, Sender)> {
        let rules = self.rules.as_deref().filter(|_| inbound_rule::concerns(inbound.keyword))?;
        Some((rules, inbound.person()?, inbound.sender()?))
    }
}

impl InboundRules {
    /// Whether it must be known who the person is.
    pub(crate) fn need_contact(&self) -> bool {
        self.all.iter().any(InboundRule::needs_contact)
    }

    /// What the first rule that fits does, whose name the message gets.
    pub(crate) fn route(
        &self,
        inbound: &mut Inbound,
        person: PhoneNumber,
        to: Sender,
        contact: Option<&Details>,
    ) -> Option<Box<Ruled>> {
        let facts = inbound_rule::Facts { to, text: &inbound.text, at: inbound.at, contact };
        let rule = inbound_rule::choose(&self.all, &facts)?;
        inbound.rule = Some(rule.name.clone());
        let answer = rule.then.reply.as_ref().filter(|_| inbound_rule::may_answer(inbound.keyword));
        Some(Box::new(Ruled {
            person,
            routed: conversation::Routed { assignee: rule.assignee(contact), tags: rule.then.tags.clone() },
            answer: answer.and_then(|answer| Some(((self.answer)(inbound, person, answer)?, answer.every_h))),
        }))
    }
}

/// What was done about a message of a person that asks nothing by a keyword.
#[derive(Debug)]
pub(crate) enum Handled {
    /// Nothing.
    Nothing,
    /// It answered a request for consent, which is done, or the person joins a programme.
    Consent,
    /// A rule acts.
    Rule(Box<Ruled>),
}

/// What a rule does about a message of a person.
#[derive(Debug)]
pub(crate) struct Ruled {
    /// Who wrote it.
    pub person: PhoneNumber,
    /// What becomes of the conversation.
    pub routed: conversation::Routed,
    /// The answer, if it has its turn, and how long the rule is silent then: hours.
    pub answer: Option<(Draft, i64)>,
}

/// Writes the answer to a message of a person that asks something; an opt-out may be of one programme.
pub type Answering =
    dyn Fn(&Inbound, PhoneNumber, Keyword, Option<&programme::Name>) -> Option<Draft> + Send + Sync;

/// What somebody asks by a keyword, or by a word of a programme.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    /// Who.
    pub person: PhoneNumber,
    /// The keyword, as the table has it, or the word.
    pub matched: String,
    /// The answer, if one is to be given when something follows: a message that waits, and says what it answers.
    pub reply: Option<Draft>,
    /// The programme that an opt-out ends; `None` for everything.
    pub stops: Option<programme::Name>,
    /// The programme that the person joins.
    pub joining: Option<Box<Joining>>,
}

impl Ask {
    /// Whether the person takes this entry back by it. START takes back every opt-out, and a word to join that of everything and
    /// that of the programme.
    pub(crate) fn lifts(&self, entry: &Suppression) -> bool {
        let concerns = match (&self.joining, &entry.programme) {
            (None, _) | (Some(_), None) => true,
            (Some(joining), Some(programme)) => joining.is_of(programme),
        };
        entry.reason.is_lifted_by_person() && concerns
    }

    /// The programme that it is about: which is left, or which is joined. `None` for everything.
    pub(crate) fn programme(&self) -> Option<programme::Name> {
        self.stops.clone().or_else(|| Some(self.joining.as_ref()?.name.clone()))
    }

    /// Whether its answer may be sent to somebody who stands so: an opt-out is confirmed, and whom somebody of the account does
    /// not want to be sent to hears nothing else. Who is out of everything has heard so, and hears nothing of a programme.
    pub(crate) fn may_be_answered(&self, standing: &Listing, inbound: &Inbound) -> bool {
        match inbound.keyword {
            keyword::Class::Stop => {
                self.stops.is_none() || standing.account != Some(suppression::Reason::OptedOut)
            }
            _ => standing.against(self.answer_is_of()).is_none(),
        }
    }

    /// The programme that its answer is of.
    fn answer_is_of(&self) -> Option<&programme::Name> {
        self.reply.as_ref().and_then(|draft| draft.message.programme.as_ref())
    }
}

impl Inbound {
    /// The message as it is told, with what it asks. `None` for that if nothing can follow, because it has no keyword, or
    /// because where it came from nobody can be sent to.
    pub(crate) fn told(self, said: Said, at: Timestamp, hearing: &Hearing) -> (Self, Option<Ask>) {
        let Said { text, missing, keyword: found } = said;
        let parts = self.parts.map(|parts| Parts { missing, ..parts });
        let told = Self { text, parts, at, keyword: found.class, ..self };
        let person = told.person().filter(|_| found.class != keyword::Class::Nothing);
        let ask = person.map(|person| {
            let stops = hearing.stopped_by(&told, &found);
            let reply = (hearing.reply)(&told, person, found, stops.as_ref());
            Ask { person, matched: found.matched.to_owned(), reply, stops, joining: None }
        });
        let ask = ask.or_else(|| hearing.join(&told));
        (told, ask)
    }

    /// A fact about it.
    pub(crate) fn event(&self, kind: Kind, whose: &Whose) -> Event {
        Event {
            kind,
            status: Status::Delivered,
            attempt: 0,
            at: self.at,
            due_at: None,
            failure: None,
            raw: whose.noted(),
        }
    }

    /// The same as said to another account. It came to a number of ours, and nobody can say which of the accounts that send from
    /// there the person meant: so an opt-out and START are said to all of them. `None` for what is the business of one: what
    /// joins a programme, which is a consent.
    pub(crate) fn to(&self, ask: &Ask, account: AccountId) -> Option<Self> {
        let is_for_all =
            ask.joining.is_none() && matches!(self.keyword, keyword::Class::Stop | keyword::Class::Start);
        let realm = Realm { account, ..self.realm };
        (is_for_all && realm != self.realm).then(|| Self { realm, ..self.clone() })
    }

    /// The entry that an opt-out by it makes.
    pub(crate) fn opt_out(&self, id: SuppressionId, ask: &Ask, now: Timestamp) -> Suppression {
        Suppression {
            id,
            realm: self.realm,
            recipient: ask.person,
            programme: ask.stops.clone(),
            reason: suppression::Reason::OptedOut,
            source: format!("{} {}", self.id, ask.matched),
            created_at: now,
            expires_at: None,
            lifted: None,
        }
    }

    /// Why an opt-out is lifted by it. The id comes first where it is START, which opens all again ([`Suppression::opt_out`]);
    /// whoever joins a programme agrees to that one.
    pub(crate) fn lifting(&self, ask: &Ask) -> String {
        match &ask.joining {
            None => format!("{} {}", self.id, ask.matched),
            Some(joining) => format!("joined {} by {}", joining.name, self.id),
        }
    }

    /// Who sent it, if somebody can be sent to where it came from: a phone number, and no short code or name. Carriers
    /// write an international number with or without `+`.
    pub fn person(&self) -> Option<PhoneNumber> {
        // Only the form is looked at: whom a table of numbers does not know may opt out all the same.
        match self.from.strip_prefix('+') {
            Some(_) => PhoneNumber::from_stored(&self.from),
            None if self.from.len() < PERSON_DIGITS_MIN => None,
            None => PhoneNumber::from_stored(&format!("+{}", self.from)),
        }
    }

    /// To which of our senders it was, if something can be sent from there. Carriers write an international number with or
    /// without `+`.
    pub fn sender(&self) -> Option<Sender> {
        let is_long =
            self.to.len() >= PERSON_DIGITS_MIN && self.to.bytes().all(|octet| octet.is_ascii_digit());
        if is_long { Sender::from_stored(&format!("+{}", self.to)) } else { Sender::from_stored(&self.to) }
    }

    /// The place of its part with this number.
    pub(crate) fn place(&self, number: u8) -> Option<Part> {
        let parts = self.parts.as_ref()?;
        Some(Part { reference: parts.reference, total: parts.total, number })
    }

    /// Whether all of it came.
    fn is_whole(&self) -> bool {
        self.parts.as_ref().is_none_or(|parts| parts.missing.is_empty())
    }

    /// What follows, given what the person said before, how the person stands on the list now, and of START whether an opt-out
    /// [awaits](Suppression::awaits_start) it.
    pub(crate) fn decide(
        &self,
        ask: &Ask,
        said: Option<&History>,
        standing: &Listing,
        awaits_start: bool,
    ) -> Decision {
        let listed = self.reason_against(ask, standing);
        match &ask.joining {
            None if self.keyword == keyword::Class::Start => decide_start(awaits_start, listed),
            None => decide(self.keyword, listed),
            Some(joining) => decide_join(said.is_some_and(|said| joining.is_in(said, self.at)), listed),
        }
    }

    /// Whether it counts though the same came a moment ago.
    pub(crate) fn counts_again(&self, ask: &Ask, standing: &Listing) -> bool {
        counts_again(self.keyword, self.reason_against(ask, standing))
    }

    /// The reason for which the person is on the list, as far as that is about what is asked.
    fn reason_against(&self, ask: &Ask, standing: &Listing) -> Option<suppression::Reason> {
        let of = |programme| standing.against(programme).map(|entry| entry.reason);
        match (&ask.joining, self.keyword) {
            (Some(joining), _) => standing.to_take_back(Some(&joining.name)).map(|entry| entry.reason),
            // What is about everything may be taken back by a word to join another programme: the person's word about this one
            // must stand by itself then.
            (None, keyword::Class::Stop) => standing.against_stop(ask.stops.as_ref()),
            (None, keyword::Class::Start) => standing.strongest(),
            (None, keyword::Class::Help) => of(ask.answer_is_of()),
            // Who left a programme may want no more of anything.
            (None, keyword::Class::Doubtful | keyword::Class::Nothing) => standing.account,
        }
    }

    /// The entry of the ledger that joining a programme by it makes.
    pub(crate) fn consent(
        &self,
        id: ConsentId,
        person: PhoneNumber,
        joining: &Joining,
        now: Timestamp,
    ) -> Consent {
        joining.entry(id, self.realm, person, (self.id, self.at), now)
    }

    /// What it answers if a request for consent waits for that, who, and to which of our senders. Few texts answer anything.
    pub(crate) fn answer(&self) -> Option<(consent_request::Answer, PhoneNumber, Sender)> {
        if self.keyword != keyword::Class::Nothing || !self.is_whole() {
            return None;
        }
        Some((consent_request::answer(&self.text)?, self.person()?, self.sender()?))
    }

    /// What was read for it; nothing where what is stored of that cannot be true. The log says so, with what is left undone: one
    /// row that nobody can read must not keep people from being heard.
    pub(crate) fn if_readable<T>(&self, read: Result<T>, undone: &str) -> Result<Option<T>> {
        match read {
            Err(error @ Error::Corrupt(_)) => {
                tracing::error!(%error, inbound = %self.id, "{undone}");
                Ok(None)
            }
            read => read.map(Some),
        }
    }

    /// Who changes the list by it.
    pub(crate) fn actor(&self) -> Actor {
        Actor { account: self.realm.account, who: "recipient".to_owned() }
    }
}
