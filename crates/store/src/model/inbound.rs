//! Messages of people: their parts stored and put together, the whole told, and what it asks done.

use super::Tables;
use super::event::Subject;
use crate::backend::*;
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::assembly::{self, Assembly, Head, Known, Placing};
use tidings_domain::event::Kind;
use tidings_domain::id::*;
use tidings_domain::inbound::{Decision, Whose, is_repeated};
use tidings_domain::inbound_rule::EVERY_H_MAX;
use tidings_domain::keyword::Class;
use tidings_domain::media::Listed;
use tidings_domain::reply::{Count, Kind as ReplyKind, WINDOW_MS, is_one_more_allowed};
use tidings_domain::time::Timestamp;

const HOUR_MS: i64 = 3_600_000;

/// Replies to each number, as they are counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Replies {
    counts: BTreeMap<(Realm, PhoneNumber), Count>,
    /// When each rule answered somebody last.
    by_rules: BTreeMap<(Realm, PhoneNumber, String), Timestamp>,
}

impl Replies {
    /// Counts a reply to the person, if there were not enough.
    fn count(&mut self, draft: &Draft, now: Timestamp) -> bool {
        let kind = draft.message.reply.map_or(ReplyKind::Rule, |reply| reply.kind);
        let key = (draft.message.realm(), draft.message.recipient);
        let count = is_one_more_allowed(self.counts.get(&key).copied(), kind, now);
        self.counts.extend(count.map(|count| (key, count)));
        count.is_some()
    }

    /// Forgets counts that count no more. `true` if there may be more of them.
    pub(super) fn sweep(&mut self, now: Timestamp, limit: usize) -> bool {
        let until = now.plus_ms(-EVERY_H_MAX * HOUR_MS);
        let mut old: Vec<_> = self.by_rules.iter().filter(|(_, at)| **at <= until).collect();
        old.sort_by_key(|(_, at)| **at);
        let old: Vec<_> = old.into_iter().take(limit).map(|(key, _)| key.clone()).collect();
        for key in &old {
            self.by_rules.remove(key);
        }
        self.sweep_counts(now, limit) || old.len() == limit
    }

    fn sweep_counts(&mut self, now: Timestamp, limit: usize) -> bool {
        let mut over: Vec<_> = self
            .counts
            .iter()
            .filter(|(_, count)| count.since <= now.plus_ms(-WINDOW_MS))
            .map(|(key, count)| (count.since, *key))
            .collect();
        over.sort_unstable();
        over.truncate(limit);
        for (_, key) in &over {
            self.counts.remove(key);
        }
        over.len() == limit
    }
}

// ── what came ───────────────────────────────────────────────────────────────────────────────────────────────

/// Messages of people with their parts.
#[derive(Debug, Clone, Default)]
pub(super) struct Inbounds {
    rows: BTreeMap<InboundId, Kept>,
    by_content: BTreeMap<Content, BTreeSet<InboundId>>,
}

#[derive(Debug, Clone)]
struct Kept {
    inbound: Inbound,
    assembly: Assembly,
    waits_until: Option<Timestamp>,
    content: Content,
    /// What was kept of what came with it, by place.
    media: BTreeMap<u8, Arc<[u8]>>,
}

/// What makes two messages the same, or two parts ones of the same message.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Content {
    account: AccountId,
    connection: ConnectionId,
    from: String,
    to: String,
    said: Said,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Said {
    Whole { beside: Vec<u8>, charset: u8, octets: Vec<u8>, media: Vec<Listed> },
    Parts { reference: u16, total: u8 },
}

impl Content {
    fn of(arrival: &Arrival) -> Self {
        let said = match arrival.place() {
            Some(part) => Said::Parts { reference: part.reference, total: part.total },
            None => Said::Whole {
                beside: arrival.beside.clone(),
                charset: arrival.segment.charset as u8,
                octets: arrival.segment.user_data(),
                media: arrival.listed(),
            },
        };
        Self {
            account: arrival.realm.account,
            connection: arrival.connection,
            from: arrival.from.clone(),
            to: arrival.to.clone(),
            said,
        }
    }
}

impl Inbounds {
    pub(super) fn find(&self, id: InboundId) -> Option<&Inbound> {
        self.rows.get(&id).map(|kept| &kept.inbound)
    }

    /// When the first one has waited long enough.
    pub(super) fn first_due(&self) -> Option<Timestamp> {
        self.rows.values().filter_map(|kept| kept.waits_until).min()
    }

    /// Those with this content, the newest first.
    fn like(&self, content: &Content) -> impl Iterator<Item = (InboundId, &Kept)> {
        let ids = self.by_content.get(content).into_iter().flatten().rev();
        ids.filter_map(|id| Some((*id, self.rows.get(id)?)))
    }

    fn insert(&mut self, arrival: Arrival, inbound: Inbound, waits_until: Option<Timestamp>) -> Result<()> {
        if self.rows.contains_key(&inbound.id) {
            return Err(Error::Conflict(format!("there is an inbound message {} already", inbound.id)));
        }
        let content = Content::of(&arrival);
        self.by_content.entry(content.clone()).or_default().insert(inbound.id);
        let media = arrival.kept().map(|(place, octets)| (place, Arc::clone(octets))).collect();
        let assembly = arrival.assembly();
        self.rows.insert(inbound.id, Kept { inbound, assembly, waits_until, content, media });
        Ok(())
    }

    /// Messages from before then that wait for nothing, the oldest first.
    pub(super) fn over(&self, before: Timestamp) -> impl Iterator<Item = InboundId> + '_ {
        let old = self.rows.range(..InboundId::from_key(floor_at(before)));
        old.filter(move |(_, kept)| kept.waits_until.is_none() && kept.inbound.at < before).map(|(id, _)| *id)
    }

    /// What came with a message at this place.
    pub(super) fn medium(&self, id: InboundId, place: u8) -> Option<&[u8]> {
        Some(self.rows.get(&id)?.media.get(&place)?)
    }

    pub(super) fn remove(&mut self, id: InboundId) {
        let Some(kept) = self.rows.remove(&id) else { return };
        if let Some(like) = self.by_content.get_mut(&kept.content) {
            like.remove(&id);
            if like.is_empty() {
                self.by_content.remove(&kept.content);
            }
        }
    }

    fn heads(&self) -> Vec<Head> {
        let head = |(id, kept): (&InboundId, &Kept)| {
            Some(Head {
                id: *id,
                connection: kept.inbound.connection,
                from: kept.inbound.from.clone(),
                until: kept.waits_until?,
            })
        };
        self.rows.iter().filter_map(head).collect()
    }
}

impl Tables {
    pub(super) fn receive(
        &mut self,
        arrivals: Vec<Arrival>,
        hearing: Hearing,
        now: Timestamp,
    ) -> Result<Advanced> {
        // Nothing is done if one has the id of another.
        let mut ids = BTreeSet::new();
        let is_new = |arrival: &Arrival| self.inbounds.find(arrival.id).is_none() && ids.insert(arrival.id);
        let before = if arrivals.iter().all(is_new) { None } else { Some(self.clone()) };
        let mut out = Advanced::default();
        for arrival in arrivals {
            let done = match arrival.place() {
                None => self.receive_whole(arrival, &hearing, now, &mut out),
                Some(place) => self.receive_part(arrival, place.number, &hearing, now, &mut out),
            };
            if let Err(error) = done {
                *self = before.expect("only an id that is taken can fail");
                return Err(error);
            }
        }
        Ok(out)
    }

    fn receive_whole(
        &mut self,
        arrival: Arrival,
        hearing: &Hearing,
        now: Timestamp,
        out: &mut Advanced,
    ) -> Result<()> {
        let before = self.inbounds.like(&Content::of(&arrival)).map(|(_, kept)| kept.inbound.at).max();
        let said = arrival.assembly().read();
        let (mut inbound, ask) = arrival.inbound().told(said, arrival.at, hearing);
        if before.is_some_and(|before| is_repeated(before, arrival.opened, now)) {
            let counts = |ask: &Ask| {
                inbound.counts_again(ask, &self.suppressions.standing(inbound.realm, ask.person, now))
            };
            if !ask.as_ref().is_some_and(counts) {
                out.ignored += 1;
                return Ok(());
            }
        }
        // From here on nothing can fail.
        self.inbounds.insert(arrival, inbound.clone(), None)?;
        self.heard(&inbound, now);
        let handled = self.answer_or_route(&mut inbound, ask.as_ref(), hearing, now);
        if let Some(kept) = self.inbounds.rows.get_mut(&inbound.id) {
            kept.inbound = inbound.clone();
        }
        self.tell(&inbound, ask, handled, now, out);
        Ok(())
    }

    fn receive_part(
        &mut self,
        arrival: Arrival,
        number: u8,
        hearing: &Hearing,
        now: Timestamp,
        out: &mut Advanced,
    ) -> Result<()> {
        let since = now.plus_ms(-assembly::REPEAT_MS);
        let content = Content::of(&arrival);
        let like = self.inbounds.like(&content);
        let counts = like.filter(|(_, kept)| kept.waits_until.is_some() || kept.inbound.at > since);
        let known: Vec<Known<'_>> = counts
            .take(assembly::KNOWN_MAX)
            .map(|(id, kept)| Known { id, waits: kept.waits_until.is_some(), assembly: &kept.assembly })
            .collect();
        match assembly::judge(&known, number, &arrival.segment) {
            Placing::Repeated => out.ignored += 1,
            Placing::Joins(id) => {
                let kept = self.inbounds.rows.get_mut(&id).expect("it is known");
                let until = kept.waits_until.expect("it waits");
                kept.waits_until = Some(assembly::waits_until(until, &arrival.segment, now));
                kept.assembly.add(number, arrival.segment);
                if kept.assembly.is_whole() {
                    self.end(id, hearing, now, out);
                }
            }
            Placing::Begins { ends } => {
                if let Some(id) = ends {
                    self.end(id, hearing, now, out);
                }
                let until = assembly::waits_until(now.plus_ms(hearing.wait_ms), &arrival.segment, now);
                let newest = Head {
                    id: arrival.id,
                    connection: arrival.connection,
                    from: arrival.from.clone(),
                    until,
                };
                let inbound = arrival.inbound();
                self.inbounds.insert(arrival, inbound, Some(until))?;
                if let Some(id) = assembly::surplus(&self.inbounds.heads(), &newest, hearing.bounds) {
                    self.end(id, hearing, now, out);
                }
            }
        }
        Ok(())
    }

    pub(super) fn give_up(&mut self, limit: usize, hearing: Hearing, now: Timestamp) -> Result<Advanced> {
        let mut due = self.inbounds.heads();
        due.retain(|head| head.until <= now);
        due.sort_by_key(|head| (head.until, head.id));
        due.truncate(limit);
        let mut out = Advanced { more: due.len() == limit, ..Advanced::default() };
        for head in due {
            self.end(head.id, &hearing, now, &mut out);
        }
        Ok(out)
    }

    /// Tells a message that waits for parts, as it is.
    fn end(&mut self, id: InboundId, hearing: &Hearing, now: Timestamp, out: &mut Advanced) {
        let Some(kept) = self.inbounds.rows.get_mut(&id) else { return };
        kept.waits_until = None;
        let (mut inbound, ask) = kept.inbound.clone().told(kept.assembly.read(), now, hearing);
        self.heard(&inbound, now);
        let handled = self.answer_or_route(&mut inbound, ask.as_ref(), hearing, now);
        if let Some(kept) = self.inbounds.rows.get_mut(&id) {
            kept.inbound = inbound.clone();
        }
        self.tell(&inbound, ask, handled, now, out);
    }

    /// What is done about it where no keyword asks for anything.
    fn answer_or_route(
        &mut self,
        inbound: &mut Inbound,
        ask: Option<&Ask>,
        hearing: &Hearing,
        now: Timestamp,
    ) -> Handled {
        if ask.is_some_and(|ask| ask.joining.is_some()) || self.answer_request(inbound, now) {
            return Handled::Consent;
        }
        self.route(inbound, hearing).map_or(Handled::Nothing, Handled::Rule)
    }

    /// What a rule does about it, if one fits.
    fn route(&self, inbound: &mut Inbound, hearing: &Hearing) -> Option<Box<Ruled>> {
        let (rules, person, to) = hearing.rules_for(inbound)?;
        let contact = self.contacts.holder(inbound.realm, person);
        rules.route(inbound, person, to, contact.map(|contact| &contact.details))
    }

    fn tell(
        &mut self,
        inbound: &Inbound,
        ask: Option<Ask>,
        handled: Handled,
        now: Timestamp,
        out: &mut Advanced,
    ) {
        if let Some(said) = Addition::of_inbound(inbound, &handled) {
            self.add_entry(said);
        }
        let whose = self.whose(inbound);
        self.events.publish(
            &self.endpoints,
            Subject::Inbound(inbound),
            inbound.event(Kind::Received, &whose),
            &mut out.told,
        );
        if let Handled::Rule(ruled) = handled {
            self.answer(inbound, *ruled, now, out);
        }
        if let Some(ask) = ask {
            self.follow(inbound, whose, ask, now, out);
        }
    }

    /// Who has the number that it came from, and in which conversation it stands.
    fn whose(&self, inbound: &Inbound) -> Whose {
        let Some(person) = inbound.person() else { return Whose::default() };
        let sender = inbound.sender();
        Whose {
            contact: self.contacts.holder(inbound.realm, person).map(|contact| contact.id),
            conversation: sender.and_then(|sender| self.conversation_between(inbound.realm, person, sender)),
            programme: None,
        }
    }

    /// Answers as a rule says, if the person may be sent to and the rule has its turn.
    fn answer(&mut self, inbound: &Inbound, ruled: Ruled, now: Timestamp, out: &mut Advanced) {
        let (Some((reply, every_h)), Some(rule)) = (ruled.answer, &inbound.rule) else { return };
        let key = (inbound.realm, ruled.person, rule.clone());
        let before = self.replies.by_rules.get(&key);
        let is_early = before.is_some_and(|before| *before > now.plus_ms(-every_h * HOUR_MS));
        let standing = self.suppressions.standing(inbound.realm, ruled.person, now);
        let is_listed = standing.against(reply.message.programme.as_ref()).is_some();
        if is_early || is_listed || !self.replies.count(&reply, now) {
            return;
        }
        self.replies.by_rules.insert(key, now);
        let said = Addition::of_answer(&reply.message, now);
        self.enqueue(reply, now, out);
        self.add_entry(said);
    }

    pub(super) fn inbound(&mut self, realm: Realm, id: InboundId) -> Result<Option<Received>> {
        let kept = self.inbounds.rows.get(&id).filter(|kept| kept.inbound.realm == realm);
        Ok(kept.map(|kept| Received {
            inbound: kept.inbound.clone(),
            whose: self.whose(&kept.inbound),
            parts: kept.assembly.parts().iter().map(|(number, part)| (*number, part.clone())).collect(),
            waits_until: kept.waits_until,
        }))
    }

    /// Puts the person on the list, and ends what waits for the person.
    fn close(&mut self, inbound: &Inbound, ask: &Ask, now: Timestamp, out: &mut Advanced) {
        let (realm, person) = (inbound.realm, ask.person);
        let id = SuppressionId::from_key(self.next_id(now));
        self.add_suppression(inbound.opt_out(id, ask, now), &inbound.actor());
        let standing = self.suppressions.standing(realm, person, now);
        let ended = self.end_waiting_for(realm, person, &standing, ENDED_BY_OPT_OUT_MAX, now);
        out.add(Advanced { more: false, ..ended });
        out.opted_out = true;
    }

    /// Whether it is START, and an opt-out of the person awaits that.
    fn awaits_start(&self, inbound: &Inbound, person: PhoneNumber) -> bool {
        let is_start = inbound.keyword == Class::Start;
        is_start && !self.suppressions.awaiting_start(inbound.realm, person).is_empty()
    }

    /// Does what is asked.
    fn follow(&mut self, inbound: &Inbound, whose: Whose, ask: Ask, now: Timestamp, out: &mut Advanced) {
        let (realm, person, actor) = (inbound.realm, ask.person, inbound.actor());
        let says = |tables: &mut Self, kind, whose: &Whose, out: &mut Advanced| {
            let subject = Subject::Inbound(inbound);
            tables.events.publish(&tables.endpoints, subject, inbound.event(kind, whose), &mut out.told);
        };
        let accounts = self.accounts.ids();
        for inbound in accounts.into_iter().filter_map(|account| inbound.to(&ask, account)) {
            let standing = self.suppressions.standing(inbound.realm, person, now);
            let awaits_start = self.awaits_start(&inbound, person);
            match inbound.decide(&ask, None, &standing, awaits_start) {
                Decision::Suppress => self.close(&inbound, &ask, now, out),
                Decision::Lift => self.lift_by_person(&inbound, &ask, &inbound.actor(), now),
                Decision::Keep | Decision::Help | Decision::Review | Decision::Join => {}
            }
        }
        let standing = self.suppressions.standing(realm, person, now);
        let said = self.said_by(realm, person);
        let decision = inbound.decide(&ask, Some(&said), &standing, self.awaits_start(inbound, person));
        if let Some(joining) = ask.joining.as_ref().filter(|_| decision != Decision::Keep) {
            let id = ConsentId::from_key(self.next_id(now));
            let entry = inbound.consent(id, person, joining, now);
            self.record_consents(vec![entry], actor.clone(), now).expect("its id is new");
        }
        match decision {
            Decision::Keep => return,
            Decision::Suppress => {
                says(self, Kind::OptedOut, &Whose { programme: ask.programme(), ..whose }, out);
                self.close(inbound, &ask, now, out);
            }
            Decision::Lift => {
                self.lift_by_person(inbound, &ask, &actor, now);
                says(self, Kind::OptedIn, &Whose { programme: ask.programme(), ..whose }, out);
            }
            Decision::Review => return self.open_inbound_review(inbound, &ask, now),
            Decision::Help | Decision::Join => {}
        }
        let may_be_sent = ask.may_be_answered(&self.suppressions.standing(realm, person, now), inbound);
        if let Some(reply) = ask.reply.filter(|_| may_be_sent)
            && self.replies.count(&reply, now)
        {
            self.enqueue(reply, now, out);
        }
    }
}
