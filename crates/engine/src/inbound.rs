//! What people send, on its way into the store, and the answer that may follow from it. It is put together, read, and what
//! it asks is decided, in the commit that stores the last of it, where its other parts and the suppression list are known.

use crate::Inner;
use crate::dispatch::Lane;
use std::sync::Arc;
use tidings_carriers::InboundPart;
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::assembly::Bounds;
use tidings_domain::gate;
use tidings_domain::id::InboundId;
use tidings_domain::inbound_rule::Answer;
use tidings_domain::intake::{self, Asked, Facts, SendRequest};
use tidings_domain::keyword::{self, Class, Keyword};
use tidings_domain::pool::Source;
use tidings_domain::programme::{self, Joining, Stop};
use tidings_domain::purpose::Purpose;
use tidings_domain::registration::Capability;
use tidings_domain::reply::{Kind, Reply, VALIDITY_S};
use tidings_store::{Arrival, ByWord, Draft, Hearing, Inbound, InboundRules, Medium};

/// A part of what somebody sent, on its way into the store.
pub(crate) fn arrival(engine: &Inner, lane: &Lane, part: InboundPart) -> Arrival {
    let now = engine.clock.now();
    Arrival {
        id: InboundId::from_key(engine.clock.id()),
        realm: Realm { account: engine.account, environment: lane.environment },
        // Parts of one message may come on several connections to a carrier, and a message again on another one.
        connection: lane.carrier,
        from: part.from,
        to: part.to,
        segment: part.segment,
        media: Medium::all(part.media),
        beside: part.beside,
        opened: part.opened.map(|opened| now.plus_ms(-(opened.elapsed().as_millis() as i64))),
        at: now,
    }
}

/// Whether a message by itself asks for no more.
pub(crate) fn is_opt_out(arrival: &Arrival) -> bool {
    keyword::classify(&arrival.segment.text()).class == Class::Stop
}

/// How people are heard here.
pub(crate) fn hearing(engine: &Arc<Inner>) -> Hearing {
    // The store may be the last to let go of this, and must not be the one that ends the engine, which holds it.
    let weak = Arc::downgrade(engine);
    Hearing {
        wait_ms: engine.settings.parts_wait_ms,
        bounds: Bounds::default(),
        reply: Arc::new(move |inbound, person, found, programme| {
            reply(&*weak.upgrade()?, inbound, person, found, programme)
        }),
        rules: rules(engine),
        by_word: by_word(engine),
    }
}

/// The programmes that people join or leave by a word, if there are any.
fn by_word(engine: &Arc<Inner>) -> Option<Arc<ByWord>> {
    let programmes = &engine.settings.programmes;
    if programmes.all.iter().all(|programme| programme.join.is_none() && programme.stop == Stop::Account) {
        return None;
    }
    let weak = Arc::downgrade(engine);
    let welcome = move |inbound: &Inbound, person: PhoneNumber, joining: &Joining| {
        let (text, programme) = (joining.join.welcome.clone(), Some(joining.name.clone()));
        draft(&*weak.upgrade()?, inbound, person, Kind::OptIn, text, programme)
    };
    Some(Arc::new(ByWord { programmes: Arc::clone(programmes), welcome: Box::new(welcome) }))
}

/// The rules that what people write goes by, if there are any.
fn rules(engine: &Arc<Inner>) -> Option<Arc<InboundRules>> {
    let all = &engine.settings.inbound_rules;
    if all.is_empty() {
        return None;
    }
    let weak = Arc::downgrade(engine);
    let answer = move |inbound: &Inbound, person: PhoneNumber, answer: &Answer| {
        draft(&*weak.upgrade()?, inbound, person, Kind::Rule, answer.text.clone(), None)
    };
    Some(Arc::new(InboundRules { all: all.clone(), answer: Box::new(answer) }))
}

/// The answer, from the sender that was written to. `None` if there is none for this, if the carrier answers by itself,
/// or if nothing can be sent from there.
fn reply(
    engine: &Inner,
    inbound: &Inbound,
    person: PhoneNumber,
    found: Keyword,
    programme: Option<&programme::Name>,
) -> Option<Draft> {
    let kind = Kind::to(found.class, programme.is_some())?;
    let replies = engine.settings.replies.as_ref()?;
    if !engine.places.get(&inbound.connection)?.replies {
        return None;
    }
    let name = programme.map_or("", programme::Name::as_str);
    let text = replies.of(&inbound.sender()?).text(kind, found.language, name);
    draft(engine, inbound, person, kind, text, None)
}

/// A message that answers by itself, from the sender that was written to.
fn draft(
    engine: &Inner,
    inbound: &Inbound,
    person: PhoneNumber,
    kind: Kind,
    text: String,
    programme: Option<programme::Name>,
) -> Option<Draft> {
    let sender = inbound.sender()?;
    if !engine.settings.gate.senders.can(&sender, Capability::TextOut) {
        return None;
    }
    let request = SendRequest {
        from: Source::Sender(sender),
        recipient: person,
        text,
        purpose: Purpose::Transactional,
        send_at: None,
        validity_s: Some(VALIDITY_S),
        transliterate: true,
        callback: None,
        reference: None,
        metadata: None,
        retry_of: None,
        template: None,
        programme,
    };
    let now = engine.clock.now();
    let facts = Facts {
        realm: inbound.realm,
        routes: engine.routes(),
        text: &engine.text,
        programmes: &engine.settings.programmes,
        limits: &engine.settings.limits,
        // Who wrote a moment ago is not disturbed by the answer.
        gate: &gate::Policy::OPEN,
        suppressed: None,
        consent: None,
        zone: None,
        others: &[],
        expects_answer: false,
        day: None,
    };
    let plan = match intake::plan(&request, facts, now) {
        Ok(plan) => plan,
        Err(refusal) => {
            tracing::warn!(connection = %inbound.connection, ?refusal, "somebody who wrote cannot be answered");
            return None;
        }
    };
    let asked = Asked { realm: inbound.realm, token: None, batch: None };
    let (mut message, life) = intake::accept(engine.clock.message_id(), request, plan, asked, now);
    message.reply = Some(Reply { kind, to: inbound.id });
    Some(Draft::new(message, life))
}
