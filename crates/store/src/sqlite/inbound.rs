//! Messages of people: their parts stored and put together, the whole told, and what it asks done, in one commit.

use super::message;
use super::reader::{Rx, get, realm};
use super::session::failed;
use super::transaction::Tx;
use super::{
    account, consent, consent_request, contact, conversation, event, media, review, silence, suppression,
};
use crate::Result;
use crate::backend::*;
use crate::column::{self, live};
use rusqlite::{Connection as Sql, OptionalExtension, Row, params};
use std::collections::HashSet;
use tidings_domain::account::Realm;
use tidings_domain::assembly::{self, Assembly, Head, Known, Placing};
use tidings_domain::event::Kind;
use tidings_domain::id::*;
use tidings_domain::inbound::{Decision, Whose, is_repeated};
use tidings_domain::inbound_rule::EVERY_H_MAX;
use tidings_domain::keyword::Class;
use tidings_domain::media::noted;
use tidings_domain::message::Message;
use tidings_domain::reply::{self, Count, WINDOW_MS, is_one_more_allowed};
use tidings_domain::text::{Part, Segment};
use tidings_domain::time::Timestamp;

/// The columns of a message: what [`read`] reads.
macro_rules! columns {
    () => {
        "id, account, live, connection, sender, recipient, text, part, at, keyword, reference, total, missing, due_at, rule, media"
    };
}

const HOUR_MS: i64 = 3_600_000;

/// A message as its row has it.
struct Kept {
    inbound: Inbound,
    waits_until: Option<Timestamp>,
}

pub(super) fn receive(
    tx: &mut Tx<'_>,
    arrivals: &[Arrival],
    hearing: &Hearing,
    now: &Timestamp,
) -> Result<Advanced> {
    let mut desk = Desk { tx, hearing, now: *now, waiting: None, out: Advanced::default() };
    for arrival in arrivals {
        match arrival.place() {
            None => desk.receive_whole(arrival)?,
            Some(place) => desk.receive_part(arrival, place)?,
        }
    }
    Ok(desk.out)
}

pub(super) fn give_up(
    tx: &mut Tx<'_>,
    limit: &usize,
    hearing: &Hearing,
    now: &Timestamp,
) -> Result<Advanced> {
    let due = {
        let mut statement = tx
            .sql
            .prepare_cached("SELECT id FROM inbound WHERE due_at <= ?1 ORDER BY due_at, id LIMIT ?2")
            .map_err(failed)?;
        let rows = statement
            .query_map(params![now.as_millis(), *limit as i64], |row| row.get::<_, i64>(0))
            .map_err(failed)?;
        rows.collect::<rusqlite::Result<Vec<_>>>().map_err(failed)?
    };
    let mut desk = Desk { tx, hearing, now: *now, waiting: None, out: Advanced::default() };
    for id in &due {
        desk.end(InboundId::from_key(*id))?;
    }
    desk.out.more = due.len() == *limit;
    Ok(desk.out)
}

pub(super) fn inbound(rx: &mut Rx<'_>, realm: &Realm, id: &InboundId) -> Result<Option<Received>> {
    let Some(kept) = kept(rx.sql, *id)?.filter(|kept| kept.inbound.realm == *realm) else { return Ok(None) };
    let parts = parts(rx.sql, &kept.inbound)?;
    let whose = Whose {
        contact: holder(rx.sql, &kept.inbound)?,
        conversation: match (kept.inbound.person(), kept.inbound.sender()) {
            (Some(person), Some(sender)) => {
                conversation::between(rx.sql, *realm, person, sender)?.map(|(one, _)| one.id)
            }
            _ => None,
        },
        programme: None,
    };
    Ok(Some(Received { parts, whose, inbound: kept.inbound, waits_until: kept.waits_until }))
}

/// One commit's work on messages of people.
struct Desk<'t, 's> {
    tx: &'t mut Tx<'s>,
    hearing: &'t Hearing,
    now: Timestamp,
    /// All that wait, once somebody asked.
    waiting: Option<Vec<Head>>,
    out: Advanced,
}

impl Desk<'_, '_> {
    fn receive_whole(&mut self, arrival: &Arrival) -> Result<()> {
        let print = column::fingerprint(arrival);
        let before = last(self.tx.sql, &print)?;
        let said = arrival.assembly().read();
        let (mut inbound, ask) = arrival.inbound().told(said, arrival.at, self.hearing);
        if before.is_some_and(|before| is_repeated(before, arrival.opened, self.now)) {
            let counts = |ask: &Ask| -> Result<bool> {
                let standing = suppression::standing(self.tx, inbound.realm, ask.person, self.now)?;
                Ok(inbound.counts_again(ask, &standing))
            };
            if !ask.as_ref().map_or(Ok(false), counts)? {
                self.out.ignored += 1;
                return Ok(());
            }
        }
        silence::heard(self.tx, &inbound, self.now)?;
        let handled = self.answer_or_route(&mut inbound, ask.as_ref())?;
        insert(self.tx.sql, &inbound, &print, None)?;
        insert_part(self.tx.sql, inbound.id, 1, arrival)?;
        media::insert(self.tx.sql, arrival)?;
        self.tell(&inbound, ask, &handled)
    }

    fn receive_part(&mut self, arrival: &Arrival, place: Part) -> Result<()> {
        let print = column::fingerprint(arrival);
        let known = self.known(&print)?;
        let all: Vec<Known<'_>> = known
            .iter()
            .map(|(kept, assembly)| Known {
                id: kept.inbound.id,
                waits: kept.waits_until.is_some(),
                assembly,
            })
            .collect();
        match assembly::judge(&all, place.number, &arrival.segment) {
            Placing::Repeated => {
                self.out.ignored += 1;
                Ok(())
            }
            Placing::Joins(id) => {
                insert_part(self.tx.sql, id, place.number, arrival)?;
                let Some((kept, mut assembly)) = known.into_iter().find(|(kept, _)| kept.inbound.id == id)
                else {
                    return Ok(());
                };
                assembly.add(place.number, arrival.segment.clone());
                if assembly.is_whole() {
                    return self.end_as(kept.inbound, &assembly);
                }
                let before = kept.waits_until.unwrap_or(self.now);
                let until = assembly::waits_until(before, &arrival.segment, self.now);
                if until == before { Ok(()) } else { self.wait(id, until) }
            }
            Placing::Begins { ends } => {
                if let Some(id) = ends {
                    self.end(id)?;
                }
                let until = self.now.plus_ms(self.hearing.wait_ms);
                let until = assembly::waits_until(until, &arrival.segment, self.now);
                insert(self.tx.sql, &arrival.inbound(), &print, Some(until))?;
                insert_part(self.tx.sql, arrival.id, place.number, arrival)?;
                let newest = Head {
                    id: arrival.id,
                    connection: arrival.connection,
                    from: arrival.from.clone(),
                    until,
                };
                match &mut self.waiting {
                    Some(waiting) => waiting.push(newest.clone()),
                    // It is among them.
                    None => self.waiting = Some(waiting(self.tx.sql)?),
                }
                let waiting = self.waiting.as_deref().unwrap_or_default();
                match assembly::surplus(waiting, &newest, self.hearing.bounds) {
                    Some(id) => self.end(id),
                    None => Ok(()),
                }
            }
        }
    }

    /// The messages with this fingerprint that count, the newest first.
    fn known(&self, print: &[u8]) -> Result<Vec<(Kept, Assembly)>> {
        let since = self.now.plus_ms(-assembly::REPEAT_MS).as_millis();
        let found = select(
            self.tx.sql,
            "WHERE fingerprint = ?1 AND (due_at IS NOT NULL OR at > ?2) ORDER BY id DESC LIMIT ?3",
            params![print, since, assembly::KNOWN_MAX as i64],
        )?;
        found
            .into_iter()
            .map(|kept| {
                let assembly = assembly_of(self.tx.sql, &kept.inbound)?;
                Ok((kept, assembly))
            })
            .collect()
    }

    fn wait(&mut self, id: InboundId, until: Timestamp) -> Result<()> {
        self.tx
            .sql
            .prepare_cached("UPDATE inbound SET due_at = ?2 WHERE id = ?1")
            .and_then(|mut s| s.execute(params![id.key(), until.as_millis()]))
            .map_err(failed)?;
        for head in self.waiting.iter_mut().flatten().filter(|head| head.id == id) {
            head.until = until;
        }
        Ok(())
    }

    /// Tells a message that waits for parts, as it is.
    fn end(&mut self, id: InboundId) -> Result<()> {
        let Some(kept) = kept(self.tx.sql, id)? else { return Ok(()) };
        let assembly = assembly_of(self.tx.sql, &kept.inbound)?;
        self.end_as(kept.inbound, &assembly)
    }

    fn end_as(&mut self, inbound: Inbound, assembly: &Assembly) -> Result<()> {
        let (mut inbound, ask) = inbound.told(assembly.read(), self.now, self.hearing);
        silence::heard(self.tx, &inbound, self.now)?;
        let handled = self.answer_or_route(&mut inbound, ask.as_ref())?;
        let missing = inbound.parts.as_ref().map(|parts| parts.missing.as_slice());
        self.tx
            .sql
            .prepare_cached(
                "UPDATE inbound SET text = ?2, missing = ?3, at = ?4, keyword = ?5, rule = ?6, due_at = NULL WHERE id = ?1",
            )
            .and_then(|mut s| {
                s.execute(params![
                    inbound.id.key(),
                    inbound.text,
                    missing,
                    inbound.at.as_millis(),
                    inbound.keyword as i64,
                    inbound.rule,
                ])
            })
            .map_err(failed)?;
        if let Some(waiting) = &mut self.waiting {
            waiting.retain(|head| head.id != inbound.id);
        }
        self.tell(&inbound, ask, &handled)
    }

    /// What is done about it where no keyword asks for anything.
    fn answer_or_route(&mut self, inbound: &mut Inbound, ask: Option<&Ask>) -> Result<Handled> {
        if ask.is_some_and(|ask| ask.joining.is_some())
            || consent_request::answer(self.tx, inbound, self.now)?
        {
            return Ok(Handled::Consent);
        }
        Ok(self.route(inbound)?.map_or(Handled::Nothing, Handled::Rule))
    }

    /// What a rule does about it, if one fits.
    fn route(&self, inbound: &mut Inbound) -> Result<Option<Box<Ruled>>> {
        let Some((rules, person, to)) = self.hearing.rules_for(inbound) else { return Ok(None) };
        let holder = match rules.need_contact() {
            true => contact::holders(self.tx.sql, inbound.realm, std::iter::once(person))
                .map(|mut found| found.pop()),
            false => Ok(None),
        };
        let holder = inbound.if_readable(holder, "it cannot be read who wrote: the text goes by no rule")?;
        let Some(contact) = holder else { return Ok(None) };
        Ok(rules.route(inbound, person, to, contact.as_ref().map(|contact| &contact.details)))
    }

    fn tell(&mut self, inbound: &Inbound, ask: Option<Ask>, handled: &Handled) -> Result<()> {
        let said = Addition::of_inbound(inbound, handled);
        let conversation = said.map(|said| conversation::add(self.tx, &said)).transpose()?;
        let contact = holder(self.tx.sql, inbound)?;
        let whose = Whose { contact, conversation: conversation.map(|one| one.id), programme: None };
        event::publish_inbound(self.tx, inbound, &whose, Kind::Received, &mut self.out.told)?;
        if let Handled::Rule(ruled) = handled {
            answer(self.tx, inbound, ruled, self.now, &mut self.out)?;
        }
        match ask {
            Some(ask) => follow(self.tx, inbound, whose, &ask, self.now, &mut self.out),
            None => Ok(()),
        }
    }
}

// ── rows ────────────────────────────────────────────────────────────────────────────────────────────────────

/// When a message with this fingerprint came last.
fn last(sql: &Sql, print: &[u8]) -> Result<Option<Timestamp>> {
    sql.prepare_cached("SELECT max(at) FROM inbound WHERE fingerprint = ?1")
        .and_then(|mut s| s.query_row([print], |row| row.get::<_, Option<i64>>(0)))
        .map(|at| at.map(Timestamp::from_millis))
        .map_err(failed)
}

fn waiting(sql: &Sql) -> Result<Vec<Head>> {
    let mut statement = sql
        .prepare_cached("SELECT id, connection, sender, due_at FROM inbound WHERE due_at IS NOT NULL")
        .map_err(failed)?;
    let rows = statement
        .query_map([], |row| {
            Ok(Head {
                id: InboundId::from_key(row.get(0)?),
                connection: ConnectionId::from_key(row.get(1)?),
                from: row.get(2)?,
                until: Timestamp::from_millis(row.get(3)?),
            })
        })
        .map_err(failed)?;
    rows.collect::<rusqlite::Result<_>>().map_err(failed)
}

fn insert(sql: &Sql, inbound: &Inbound, print: &[u8], until: Option<Timestamp>) -> Result<()> {
    let parts = inbound.parts.as_ref();
    sql.prepare_cached(
        "INSERT INTO inbound (id, account, live, connection, sender, recipient, text, at, fingerprint, keyword, reference,
           total, due_at, rule, media)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
    )
    .and_then(|mut s| {
        s.execute(params![
            inbound.id.key(),
            inbound.realm.account.key(),
            live(inbound.realm.environment),
            inbound.connection.key(),
            inbound.from,
            inbound.to,
            inbound.text,
            inbound.at.as_millis(),
            print,
            inbound.keyword as i64,
            parts.map(|parts| parts.reference),
            parts.map(|parts| parts.total),
            until.map(Timestamp::as_millis),
            inbound.rule,
            noted(&inbound.media),
        ])
    })
    .map(drop)
    .map_err(failed)
}

fn insert_part(sql: &Sql, id: InboundId, number: u8, arrival: &Arrival) -> Result<()> {
    let segment = &arrival.segment;
    sql.prepare_cached(
        "INSERT INTO inbound_part (inbound, number, charset, has_header, octets, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )
    .and_then(|mut s| {
        s.execute(params![
            id.key(),
            number,
            column::charset_number(segment.charset),
            !segment.header.is_empty(),
            segment.user_data(),
            arrival.at.as_millis(),
        ])
    })
    .map(drop)
    .map_err(failed)
}

fn parts(sql: &Sql, inbound: &Inbound) -> Result<Vec<(u8, Segment)>> {
    let mut statement = sql
        .prepare_cached(
            "SELECT number, charset, has_header, octets FROM inbound_part WHERE inbound = ?1 ORDER BY number",
        )
        .map_err(failed)?;
    let mut rows = statement.query([inbound.id.key()]).map_err(failed)?;
    let mut parts = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let number: u8 = get(row, 0)?;
        let place = inbound.place(number);
        parts.push((number, column::segment(get(row, 1)?, get(row, 2)?, &get::<Vec<u8>>(row, 3)?, place)?));
    }
    Ok(parts)
}

fn assembly_of(sql: &Sql, inbound: &Inbound) -> Result<Assembly> {
    let total = inbound.parts.as_ref().map_or(1, |parts| parts.total);
    Ok(Assembly::stored(total, parts(sql, inbound)?))
}

/// Whose number it came from.
fn holder(sql: &Sql, inbound: &Inbound) -> Result<Option<ContactId>> {
    inbound.person().map_or(Ok(None), |person| contact::holder(sql, inbound.realm, person))
}

pub(super) fn find(sql: &Sql, id: InboundId) -> Result<Option<Inbound>> {
    Ok(kept(sql, id)?.map(|kept| kept.inbound))
}

fn kept(sql: &Sql, id: InboundId) -> Result<Option<Kept>> {
    Ok(select(sql, "WHERE id = ?1", [id.key()])?.pop())
}

fn select(sql: &Sql, rest: &str, params: impl rusqlite::Params) -> Result<Vec<Kept>> {
    let query = format!(concat!("SELECT ", columns!(), " FROM inbound {}"), rest);
    let mut statement = sql.prepare_cached(&query).map_err(failed)?;
    let mut rows = statement.query(params).map_err(failed)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        found.push(read(row)?);
    }
    Ok(found)
}

fn read(row: &Row<'_>) -> Result<Kept> {
    let place: Option<String> = get(row, 7)?;
    let reference: Option<u16> = get(row, 10)?;
    let total: Option<u8> = get(row, 11)?;
    let missing: Option<Vec<u8>> = get(row, 12)?;
    let inbound = Inbound {
        id: InboundId::from_key(get(row, 0)?),
        realm: realm(row, 1)?,
        connection: ConnectionId::from_key(get(row, 3)?),
        from: get(row, 4)?,
        to: get(row, 5)?,
        text: get(row, 6)?,
        parts: column::parts(reference, total, missing, place.as_deref()),
        at: Timestamp::from_millis(get(row, 8)?),
        keyword: column::keyword(get(row, 9)?)?,
        rule: get(row, 14)?,
        media: column::media(get::<Option<String>>(row, 15)?.as_deref())?,
    };
    Ok(Kept { inbound, waits_until: get::<Option<i64>>(row, 13)?.map(Timestamp::from_millis) })
}

// ── what follows ────────────────────────────────────────────────────────────────────────────────────────────

/// Puts the person on the list, and ends what waits for the person.
fn close(tx: &mut Tx<'_>, inbound: &Inbound, ask: &Ask, now: Timestamp, out: &mut Advanced) -> Result<()> {
    let (realm, person) = (inbound.realm, ask.person);
    let entry = inbound.opt_out(SuppressionId::from_key(tx.next_id(now)?), ask, now);
    suppression::add(tx, &entry, &inbound.actor())?;
    let standing = suppression::standing(tx, realm, person, now)?;
    let ended = message::end_waiting_for(tx, realm, person, &standing, ENDED_BY_OPT_OUT_MAX, now)?;
    out.add(Advanced { more: false, ..ended });
    out.opted_out = true;
    Ok(())
}

/// Does what is asked.
fn follow(
    tx: &mut Tx<'_>,
    inbound: &Inbound,
    whose: Whose,
    ask: &Ask,
    now: Timestamp,
    out: &mut Advanced,
) -> Result<()> {
    let (realm, actor) = (inbound.realm, inbound.actor());
    let awaits_start = |tx: &Tx<'_>, inbound: &Inbound| -> Result<bool> {
        let is_start = inbound.keyword == Class::Start;
        Ok(is_start && !suppression::awaiting_start(tx.sql, inbound.realm, ask.person)?.is_empty())
    };
    for account in account::ids(tx.sql)? {
        let Some(inbound) = inbound.to(ask, account) else { continue };
        let standing = suppression::standing(tx, inbound.realm, ask.person, now)?;
        match inbound.decide(ask, None, &standing, awaits_start(tx, &inbound)?) {
            Decision::Suppress => close(tx, &inbound, ask, now, out)?,
            Decision::Lift => suppression::lift_by_person(tx, &inbound, ask, &inbound.actor(), now)?,
            Decision::Keep | Decision::Help | Decision::Review | Decision::Join => {}
        }
    }
    let standing = suppression::standing(tx, realm, ask.person, now)?;
    let said = ask.joining.as_ref().map(|_| consent::said_by(tx.sql, realm, ask.person)).transpose();
    let said =
        inbound.if_readable(said, "it cannot be read what the person agreed to: it is recorded anew")?;
    let decision = inbound.decide(ask, said.flatten().as_ref(), &standing, awaits_start(tx, inbound)?);
    if let Some(joining) = ask.joining.as_ref().filter(|_| decision != Decision::Keep) {
        let id = ConsentId::from_key(tx.next_id(now)?);
        let entry = inbound.consent(id, ask.person, joining, now);
        consent::record_consents(tx, &[entry], &actor, &now)?;
    }
    match decision {
        Decision::Keep => return Ok(()),
        Decision::Suppress => {
            let whose = Whose { programme: ask.programme(), ..whose };
            event::publish_inbound(tx, inbound, &whose, Kind::OptedOut, &mut out.told)?;
            close(tx, inbound, ask, now, out)?;
        }
        Decision::Lift => {
            suppression::lift_by_person(tx, inbound, ask, &actor, now)?;
            let whose = Whose { programme: ask.programme(), ..whose };
            event::publish_inbound(tx, inbound, &whose, Kind::OptedIn, &mut out.told)?;
        }
        Decision::Review => return review::open_inbound(tx, inbound, ask, now),
        Decision::Help | Decision::Join => {}
    }
    let standing = suppression::standing(tx, realm, ask.person, now)?;
    let may_be_sent = ask.may_be_answered(&standing, inbound);
    match &ask.reply {
        Some(reply) if may_be_sent && count_reply(tx, reply, now)? => message::enqueue(tx, reply, now, out),
        _ => Ok(()),
    }
}

/// Answers as a rule says, if the person may be sent to and the rule has its turn.
fn answer(
    tx: &mut Tx<'_>,
    inbound: &Inbound,
    ruled: &Ruled,
    now: Timestamp,
    out: &mut Advanced,
) -> Result<()> {
    let (Some((reply, every_h)), Some(rule)) = (&ruled.answer, &inbound.rule) else { return Ok(()) };
    let (realm, person) = (inbound.realm, ruled.person);
    let standing = suppression::standing(tx, realm, person, now)?;
    if standing.against(reply.message.programme.as_ref()).is_some() {
        return Ok(());
    }
    let since = now.plus_ms(-every_h * HOUR_MS).as_millis();
    let (account, live, recipient) = (realm.account.key(), live(realm.environment), person.digits() as i64);
    let is_early = tx
        .sql
        .prepare_cached(
            "SELECT 1 FROM rule_reply WHERE account = ?1 AND live = ?2 AND recipient = ?3 AND rule = ?4 AND at > ?5",
        )
        .and_then(|mut s| s.exists(params![account, live, recipient, rule, since]))
        .map_err(failed)?;
    if is_early || !count_reply(tx, reply, now)? {
        return Ok(());
    }
    tx.sql
        .prepare_cached(
            "INSERT OR REPLACE INTO rule_reply (account, live, recipient, rule, at) VALUES (?1, ?2, ?3, ?4, ?5)",
        )
        .and_then(|mut s| s.execute(params![account, live, recipient, rule, now.as_millis()]))
        .map_err(failed)?;
    message::enqueue(tx, reply, now, out)?;
    conversation::add(tx, &Addition::of_answer(&reply.message, now)).map(drop)
}

/// Counts a reply to the person, if there were not enough.
fn count_reply(tx: &Tx<'_>, draft: &Draft, now: Timestamp) -> Result<bool> {
    let Message { account, environment, recipient, reply, .. } = &draft.message;
    let kind = reply.map_or(reply::Kind::Rule, |reply| reply.kind);
    let (account, live, recipient) = (account.key(), live(*environment), recipient.digits() as i64);
    let known = tx
        .sql
        .prepare_cached(
            "SELECT since, replies FROM reply WHERE account = ?1 AND live = ?2 AND recipient = ?3",
        )
        .and_then(|mut s| {
            s.query_row(params![account, live, recipient], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?)))
                .optional()
        })
        .map_err(failed)?;
    let known = known.map(|(since, replies)| Count { since: Timestamp::from_millis(since), replies });
    let Some(count) = is_one_more_allowed(known, kind, now) else { return Ok(false) };
    tx.sql
        .prepare_cached(
            "INSERT OR REPLACE INTO reply (account, live, recipient, since, replies) VALUES (?1, ?2, ?3, ?4, ?5)",
        )
        .and_then(|mut s| {
            s.execute(params![account, live, recipient, count.since.as_millis(), count.replies])
        })
        .map_err(failed)?;
    Ok(true)
}

/// Forgets counts that count no more. `true` if there may be more of them.
pub(super) fn sweep_replies(tx: &Tx<'_>, now: Timestamp, limit: usize) -> Result<bool> {
    let gone = tx
        .sql
        .prepare_cached(
            "DELETE FROM reply WHERE (account, live, recipient) IN (
               SELECT account, live, recipient FROM reply WHERE since <= ?1 ORDER BY since LIMIT ?2)",
        )
        .and_then(|mut s| s.execute(params![now.plus_ms(-WINDOW_MS).as_millis(), limit as i64]))
        .map_err(failed)?;
    let of_rules = tx
        .sql
        .prepare_cached(
            "DELETE FROM rule_reply WHERE (account, live, recipient, rule) IN (
               SELECT account, live, recipient, rule FROM rule_reply WHERE at <= ?1 ORDER BY at LIMIT ?2)",
        )
        .and_then(|mut s| s.execute(params![now.plus_ms(-EVERY_H_MAX * HOUR_MS).as_millis(), limit as i64]))
        .map_err(failed)?;
    Ok(gone == limit || of_rules == limit)
}

/// Deletes old messages with what belongs to them. Kept whatever their age: what waits for parts, what a person must still
/// decide, what an endpoint must still be told, and the newest event's message, because the places of events must only grow.
pub(super) fn sweep(sql: &Sql, before: Timestamp, limit: usize) -> Result<bool> {
    let to_tell = to_tell(sql, before)?;
    let (mut over, mut with_media) = (Vec::new(), Vec::new());
    {
        let mut statement = sql
            .prepare_cached(
                "SELECT i.id, i.media IS NOT NULL FROM inbound i WHERE i.id < ?1 AND i.due_at IS NULL AND i.at < ?2
                   AND i.id IS NOT (SELECT inbound FROM event ORDER BY seq DESC LIMIT 1)
                   AND NOT EXISTS (SELECT 1 FROM review r WHERE r.inbound = i.id AND r.decision IS NULL)
                 ORDER BY i.id",
            )
            .map_err(failed)?;
        let mut rows = statement.query(params![floor_at(before), before.as_millis()]).map_err(failed)?;
        while over.len() < limit
            && with_media.len() < SWEPT_WITH_MEDIA_MAX
            && let Some(row) = rows.next().map_err(failed)?
        {
            let id: i64 = get(row, 0)?;
            if !to_tell.contains(&id) {
                over.push(id);
                with_media.extend(get::<bool>(row, 1)?.then_some(id));
            }
        }
    }
    for id in &with_media {
        media::delete(sql, *id)?;
    }
    for id in &over {
        for statement in [
            "DELETE FROM event WHERE inbound = ?1",
            "DELETE FROM review WHERE inbound = ?1",
            "DELETE FROM inbound_part WHERE inbound = ?1",
            "DELETE FROM inbound WHERE id = ?1",
        ] {
            sql.prepare_cached(statement).and_then(|mut s| s.execute([id])).map_err(failed)?;
        }
    }
    Ok(over.len() == limit || with_media.len() == SWEPT_WITH_MEDIA_MAX)
}

/// The messages of people that open deliveries of old events are about.
fn to_tell(sql: &Sql, before: Timestamp) -> Result<HashSet<i64>> {
    let mut statement = sql
        .prepare_cached(
            "SELECT e.inbound FROM delivery d CROSS JOIN event e ON e.seq = d.event WHERE d.event < ?1 AND e.inbound IS NOT NULL",
        )
        .map_err(failed)?;
    let rows =
        statement.query_map([event::first_at(sql, before)?], |row| row.get::<_, i64>(0)).map_err(failed)?;
    rows.collect::<rusqlite::Result<_>>().map_err(failed)
}
