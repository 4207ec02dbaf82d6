//! Messages of people: their parts stored and put together, the whole told, and what it asks done, in one commit.
//!
//! What came like what comes is loaded at once, and what changes is written at once.
//! Those that ask something by a keyword, a yes or a word of a programme, or that a rule answers, are rare, and each is done on settled sheets: what the ones before it did is found where it
//! is looked for.

use super::part::Part;
use super::reader::Rx;
use super::session::{Flight, Session, cell, clean, live, realm, values};
use super::transaction::Tx;
use super::{
    account, consent, consent_request, contact, conversation, event, media, message, review, silence,
    suppression,
};
use crate::backend::*;
use crate::{Error, Result, column};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use tidings_domain::account::{Environment, Realm};
use tidings_domain::address::PhoneNumber;
use tidings_domain::assembly::{self, Assembly, Head, Known, Placing};
use tidings_domain::event::Kind;
use tidings_domain::id::*;
use tidings_domain::inbound::{Decision, Whose, is_repeated};
use tidings_domain::inbound_rule::EVERY_H_MAX;
use tidings_domain::keyword::Class;
use tidings_domain::media::noted;
use tidings_domain::message::Message;
use tidings_domain::reply::{self, Count, WINDOW_MS, is_one_more_allowed};
use tidings_domain::sender::Sender;
use tidings_domain::text::Segment;
use tidings_domain::time::Timestamp;
use tokio_postgres::Row;

/// The columns of a message: what [`read`] reads.
macro_rules! columns {
    () => {
        "i.id, i.account, i.live, i.connection, i.sender, i.recipient, i.text, i.part, i.at, i.keyword, i.reference,
           i.total, i.missing, i.due_at, i.fingerprint, i.rule, i.media"
    };
}

pub(super) async fn receive(
    tx: &mut Tx,
    arrivals: &[Arrival],
    hearing: &Hearing,
    now: &Timestamp,
) -> Result<Advanced> {
    let mut desk = Desk::new(hearing, *now);
    desk.load(tx, arrivals).await?;
    for arrival in arrivals {
        match arrival.place() {
            None => desk.receive_whole(tx, arrival).await?,
            Some(place) => desk.receive_part(tx, arrival, place.number).await?,
        }
    }
    desk.write(&tx.sql).await?;
    conversation::add(tx, std::mem::take(&mut desk.said)).await?;
    Ok(desk.out)
}

pub(super) async fn give_up(
    tx: &mut Tx,
    limit: &usize,
    hearing: &Hearing,
    now: &Timestamp,
) -> Result<Advanced> {
    let rows = tx
        .sql
        .rows(
            concat!(
                "SELECT ",
                columns!(),
                " FROM inbound i WHERE i.due_at IS NOT NULL AND i.due_at <= $1 ORDER BY i.due_at, i.id LIMIT $2"
            ),
            &[&now.as_millis(), &(*limit as i64)],
        )
        .await?;
    let mut desk = Desk::new(hearing, *now);
    desk.keep(&tx.sql, &rows).await?;
    let due = rows.iter().map(|row| Ok(InboundId::from_key(cell(row, 0)?))).collect::<Result<Vec<_>>>()?;
    for id in &due {
        desk.end(tx, *id).await?;
    }
    desk.write(&tx.sql).await?;
    conversation::add(tx, std::mem::take(&mut desk.said)).await?;
    desk.out.more = due.len() == *limit;
    Ok(desk.out)
}

pub(super) async fn inbound(rx: &Rx<'_>, realm: &Realm, id: &InboundId) -> Result<Option<Received>> {
    let rows = of_ids(rx.sql, &[id.key()]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let (inbound, waits_until) = read(row)?;
    if inbound.realm != *realm {
        return Ok(None);
    }
    let parts = parts(rx.sql, &[&inbound]).await?.into_values().next().unwrap_or_default();
    let whose = match parties(&inbound) {
        None => Whose::default(),
        Some(parties) => whose(rx.sql, &[parties]).await?.remove(&parties).unwrap_or_default(),
    };
    Ok(Some(Received { inbound, whose, parts, waits_until }))
}

const HOUR_MS: i64 = 3_600_000;

/// One operation's work on messages of people: what was loaded of them, and what must be written.
struct Desk<'h> {
    hearing: &'h Hearing,
    now: Timestamp,
    kept: BTreeMap<InboundId, Kept>,
    /// Those with a fingerprint, in the order of their ids.
    by_print: HashMap<[u8; 32], BTreeSet<InboundId>>,
    /// When a message by itself with a fingerprint came last.
    seen: HashMap<[u8; 32], Timestamp>,
    came: Vec<Came>,
    /// What came with messages, to be written.
    media: Vec<media::Came>,
    /// All that wait, once somebody asked.
    waiting: Option<Vec<Head>>,
    /// What is known of who wrote; a conversation has its id here also before it begins.
    whose: HashMap<Parties, Whose>,
    /// What is told, for the conversations that it belongs to.
    said: Vec<Addition>,
    /// Of whom it is known whether the number may be dead, and those where it may.
    asked: HashSet<(Environment, PhoneNumber)>,
    dead: silence::Dead,
    out: Advanced,
}

struct Kept {
    inbound: Inbound,
    assembly: Assembly,
    waits_until: Option<Timestamp>,
    print: [u8; 32],
    change: Change,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    None,
    New,
    Other,
}

/// A part to be written.
struct Came {
    inbound: InboundId,
    account: AccountId,
    number: u8,
    segment: Segment,
    at: Timestamp,
}

impl Came {
    fn of(inbound: &Inbound, number: u8, arrival: &Arrival) -> Self {
        let account = inbound.realm.account;
        Self { inbound: inbound.id, account, number, segment: arrival.segment.clone(), at: arrival.at }
    }
}

impl<'h> Desk<'h> {
    fn new(hearing: &'h Hearing, now: Timestamp) -> Self {
        Self {
            hearing,
            now,
            kept: BTreeMap::new(),
            by_print: HashMap::new(),
            seen: HashMap::new(),
            came: Vec::new(),
            media: Vec::new(),
            waiting: None,
            whose: HashMap::new(),
            said: Vec::new(),
            asked: HashSet::new(),
            dead: silence::Dead::default(),
            out: Advanced::default(),
        }
    }

    /// Loads what came like these.
    async fn load(&mut self, tx: &Tx, arrivals: &[Arrival]) -> Result<()> {
        let (mut whole, mut in_parts) = (BTreeSet::new(), BTreeSet::new());
        for arrival in arrivals {
            let prints = if arrival.place().is_none() { &mut whole } else { &mut in_parts };
            prints.insert(column::fingerprint(arrival).to_vec());
        }
        if !whole.is_empty() {
            let prints: Vec<Vec<u8>> = whole.into_iter().collect();
            let rows = tx
                .sql
                .rows(
                    "SELECT k.print, i.at FROM unnest($1::bytea[]) AS k (print)
                     CROSS JOIN LATERAL (SELECT max(x.at) AS at FROM inbound x WHERE x.fingerprint = k.print) i
                     WHERE i.at IS NOT NULL",
                    &[&prints],
                )
                .await?;
            for row in &rows {
                self.seen.insert(print(row, 0)?, Timestamp::from_millis(cell(row, 1)?));
            }
        }
        let begun: Vec<Inbound> = arrivals.iter().map(Arrival::inbound).collect();
        let parties: BTreeSet<Parties> = begun.iter().filter_map(parties).collect();
        self.whose = whose(&tx.sql, &Vec::from_iter(parties)).await?;
        let people = begun.iter().filter_map(|inbound| Some((inbound.realm.environment, inbound.person()?)));
        self.ask_of(&tx.sql, Vec::from_iter(people.collect::<BTreeSet<_>>())).await?;
        if !in_parts.is_empty() {
            let prints: Vec<Vec<u8>> = in_parts.into_iter().collect();
            let since = self.now.plus_ms(-assembly::REPEAT_MS).as_millis();
            let rows = tx
                .sql
                .rows(
                    concat!(
                        "SELECT ",
                        columns!(),
                        " FROM unnest($1::bytea[]) AS k (print)
                         CROSS JOIN LATERAL (SELECT x.* FROM inbound x WHERE x.fingerprint = k.print
                           AND (x.due_at IS NOT NULL OR x.at > $2) ORDER BY x.id DESC LIMIT $3) i"
                    ),
                    &[&prints, &since, &(assembly::KNOWN_MAX as i64)],
                )
                .await?;
            self.keep(&tx.sql, &rows).await?;
        }
        Ok(())
    }

    /// Whether the numbers of these may be dead.
    async fn ask_of(&mut self, sql: &Session, people: Vec<(Environment, PhoneNumber)>) -> Result<()> {
        self.dead.extend(silence::dead(sql, &people).await?);
        self.asked.extend(people);
        Ok(())
    }

    /// Somebody wrote: the number is alive.
    async fn heard(&mut self, tx: &mut Tx, inbound: &Inbound) -> Result<()> {
        let Some(person) = inbound.person() else { return Ok(()) };
        let key = (inbound.realm.environment, person);
        if !self.asked.contains(&key) {
            self.ask_of(&tx.sql, vec![key]).await?;
        }
        if self.dead.remove(&key) { silence::heard(tx, inbound, person, self.now).await } else { Ok(()) }
    }

    /// Takes over these rows, with their parts.
    async fn keep(&mut self, sql: &Session, rows: &[Row]) -> Result<()> {
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            let (inbound, waits_until) = read(row)?;
            found.push((inbound, waits_until, print(row, 14)?));
        }
        let inbounds: Vec<&Inbound> = found.iter().map(|(inbound, ..)| inbound).collect();
        let mut parts = parts(sql, &inbounds).await?;
        for (inbound, waits_until, print) in found {
            let total = inbound.parts.as_ref().map_or(1, |parts| parts.total);
            let assembly = Assembly::stored(total, parts.remove(&inbound.id).unwrap_or_default());
            self.by_print.entry(print).or_default().insert(inbound.id);
            self.kept
                .insert(inbound.id, Kept { inbound, assembly, waits_until, print, change: Change::None });
        }
        Ok(())
    }

    async fn receive_whole(&mut self, tx: &mut Tx, arrival: &Arrival) -> Result<()> {
        let print = column::fingerprint(arrival);
        let before = self.seen.get(&print).copied();
        let assembly = arrival.assembly();
        let (mut inbound, ask) = arrival.inbound().told(assembly.read(), arrival.at, self.hearing);
        if before.is_some_and(|before| is_repeated(before, arrival.opened, self.now)) {
            let counts = match &ask {
                Some(ask) => {
                    let standing = suppression::standing(tx, inbound.realm, ask.person, self.now).await?;
                    inbound.counts_again(ask, &standing)
                }
                None => false,
            };
            if !counts {
                self.out.ignored += 1;
                return Ok(());
            }
        }
        self.seen.insert(print, before.map_or(arrival.at, |before| before.max(arrival.at)));
        self.heard(tx, &inbound).await?;
        let handled = self.answer_or_route(tx, &mut inbound, ask.as_ref()).await?;
        self.begin(
            arrival,
            1,
            Kept { inbound: inbound.clone(), assembly, waits_until: None, print, change: Change::New },
        )?;
        self.tell(tx, &inbound, ask, &handled).await
    }

    async fn receive_part(&mut self, tx: &mut Tx, arrival: &Arrival, number: u8) -> Result<()> {
        let print = column::fingerprint(arrival);
        let since = self.now.plus_ms(-assembly::REPEAT_MS);
        let like = self.by_print.get(&print).into_iter().flatten().rev();
        let like = like.filter_map(|id| Some((*id, self.kept.get(id)?)));
        let counts = like.filter(|(_, kept)| kept.waits_until.is_some() || kept.inbound.at > since);
        let known: Vec<Known<'_>> = counts
            .take(assembly::KNOWN_MAX)
            .map(|(id, kept)| Known { id, waits: kept.waits_until.is_some(), assembly: &kept.assembly })
            .collect();
        match assembly::judge(&known, number, &arrival.segment) {
            Placing::Repeated => {
                self.out.ignored += 1;
                Ok(())
            }
            Placing::Joins(id) => {
                let Some(kept) = self.kept.get_mut(&id) else { return Ok(()) };
                kept.assembly.add(number, arrival.segment.clone());
                self.came.push(Came::of(&kept.inbound, number, arrival));
                if kept.assembly.is_whole() {
                    return self.end(tx, id).await;
                }
                let before = kept.waits_until.unwrap_or(self.now);
                let until = assembly::waits_until(before, &arrival.segment, self.now);
                if until != before {
                    kept.waits_until = Some(until);
                    kept.change = if kept.change == Change::New { Change::New } else { Change::Other };
                    for head in self.waiting.iter_mut().flatten().filter(|head| head.id == id) {
                        head.until = until;
                    }
                }
                Ok(())
            }
            Placing::Begins { ends } => {
                if let Some(id) = ends {
                    self.end(tx, id).await?;
                }
                let until = self.now.plus_ms(self.hearing.wait_ms);
                let until = assembly::waits_until(until, &arrival.segment, self.now);
                self.begin(
                    arrival,
                    number,
                    Kept {
                        inbound: arrival.inbound(),
                        assembly: arrival.assembly(),
                        waits_until: Some(until),
                        print,
                        change: Change::New,
                    },
                )?;
                let newest = Head {
                    id: arrival.id,
                    connection: arrival.connection,
                    from: arrival.from.clone(),
                    until,
                };
                if self.waiting.is_none() {
                    self.waiting = Some(self.look_at_waiting(&tx.sql).await?);
                }
                let waiting = self.waiting.get_or_insert_default();
                waiting.push(newest.clone());
                match assembly::surplus(waiting, &newest, self.hearing.bounds) {
                    Some(id) => self.end(tx, id).await,
                    None => Ok(()),
                }
            }
        }
    }

    /// All that wait, as they stand after what was done here; without one that was begun here and not yet noted.
    async fn look_at_waiting(&self, sql: &Session) -> Result<Vec<Head>> {
        let rows = sql
            .rows("SELECT id, connection, sender, due_at FROM inbound WHERE due_at IS NOT NULL", &[])
            .await?;
        let mut waiting = Vec::with_capacity(rows.len() + 1);
        for row in &rows {
            let id = InboundId::from_key(cell(row, 0)?);
            let stored = Timestamp::from_millis(cell(row, 3)?);
            let until = self.kept.get(&id).map_or(Some(stored), |kept| kept.waits_until);
            let Some(until) = until else { continue };
            let connection = ConnectionId::from_key(cell(row, 1)?);
            waiting.push(Head { id, connection, from: cell(row, 2)?, until });
        }
        Ok(waiting)
    }

    /// Notes a message that was not there before.
    fn begin(&mut self, arrival: &Arrival, number: u8, kept: Kept) -> Result<()> {
        if self.kept.contains_key(&arrival.id) {
            return Err(Error::Conflict(format!("there is an inbound message {} already", arrival.id)));
        }
        self.came.push(Came::of(&kept.inbound, number, arrival));
        self.media.extend(media::Came::all(arrival));
        self.by_print.entry(kept.print).or_default().insert(arrival.id);
        self.kept.insert(arrival.id, kept);
        Ok(())
    }

    /// Tells a message that waits for parts, as it is.
    async fn end(&mut self, tx: &mut Tx, id: InboundId) -> Result<()> {
        if !self.kept.contains_key(&id) {
            let rows = of_ids(&tx.sql, &[id.key()]).await?;
            self.keep(&tx.sql, &rows).await?;
        }
        let Some(kept) = self.kept.get(&id) else { return Ok(()) };
        let (mut inbound, ask) = kept.inbound.clone().told(kept.assembly.read(), self.now, self.hearing);
        self.heard(tx, &inbound).await?;
        let handled = self.answer_or_route(tx, &mut inbound, ask.as_ref()).await?;
        let Some(kept) = self.kept.get_mut(&id) else { return Ok(()) };
        kept.inbound = inbound.clone();
        kept.waits_until = None;
        if kept.change != Change::New {
            kept.change = Change::Other;
        }
        if let Some(waiting) = &mut self.waiting {
            waiting.retain(|head| head.id != id);
        }
        self.tell(tx, &inbound, ask, &handled).await
    }

    /// What is done about it where no keyword asks for anything.
    async fn answer_or_route(
        &self,
        tx: &mut Tx,
        inbound: &mut Inbound,
        ask: Option<&Ask>,
    ) -> Result<Handled> {
        if ask.is_some_and(|ask| ask.joining.is_some())
            || consent_request::answer(tx, inbound, self.now).await?
        {
            return Ok(Handled::Consent);
        }
        Ok(self.route(&tx.sql, inbound).await?.map_or(Handled::Nothing, Handled::Rule))
    }

    /// What a rule does about it, if one fits.
    async fn route(&self, sql: &Session, inbound: &mut Inbound) -> Result<Option<Box<Ruled>>> {
        let Some((rules, person, to)) = self.hearing.rules_for(inbound) else { return Ok(None) };
        let holder = match rules.need_contact() {
            true => contact::holders(sql, inbound.realm, std::iter::once(person))
                .await
                .map(|mut found| found.pop()),
            false => Ok(None),
        };
        let holder = inbound.if_readable(holder, "it cannot be read who wrote: the text goes by no rule")?;
        let Some(contact) = holder else { return Ok(None) };
        Ok(rules.route(inbound, person, to, contact.as_ref().map(|contact| &contact.details)))
    }

    async fn tell(
        &mut self,
        tx: &mut Tx,
        inbound: &Inbound,
        ask: Option<Ask>,
        handled: &Handled,
    ) -> Result<()> {
        let whose = self.whose(tx, inbound).await?;
        event::publish_inbound(tx, inbound, &whose, Kind::Received, &mut self.out.told);
        let said = Addition::of_inbound(inbound, handled);
        self.said.extend(said.map(|said| Addition { begins: whose.conversation, ..said }));
        if let Handled::Rule(ruled) = handled
            && ruled.answer.is_some()
        {
            self.said.extend(answer(tx, inbound, ruled, self.now, &mut self.out).await?);
        }
        let Some(ask) = ask else { return Ok(()) };
        tx.settle().await?;
        follow(tx, inbound, whose, &ask, self.now, &mut self.out).await
    }

    /// Who wrote it, and in which conversation it stands or begins.
    async fn whose(&mut self, tx: &mut Tx, inbound: &Inbound) -> Result<Whose> {
        let Some(parties) = parties(inbound) else { return Ok(Whose::default()) };
        if !self.whose.contains_key(&parties) {
            self.whose.extend(whose(&tx.sql, &[parties]).await?);
        }
        let whose = self.whose.entry(parties).or_default();
        if parties.2.is_some() && whose.conversation.is_none() {
            whose.conversation = Some(ConversationId::from_key(tx.next_id(inbound.at)));
        }
        Ok(whose.clone())
    }

    async fn write(&self, sql: &Session) -> Result<()> {
        let of = |change| self.kept.values().filter(move |kept| kept.change == change).collect::<Vec<_>>();
        let (new, other) = (of(Change::New), of(Change::Other));
        let mut flight = Flight::default();
        if !new.is_empty() {
            write_new(&new, &mut flight);
        }
        if !other.is_empty() {
            write_other(&other, &mut flight);
        }
        if !self.came.is_empty() {
            write_parts(&self.came, &mut flight);
        }
        if !self.media.is_empty() {
            media::write(&self.media, &mut flight);
        }
        if flight.is_empty() { Ok(()) } else { flight.run(sql).await }
    }
}

/// Who wrote to which of our senders, if something can be sent from there.
type Parties = (Realm, PhoneNumber, Option<Sender>);

/// `None` where nobody can be answered.
fn parties(inbound: &Inbound) -> Option<Parties> {
    Some((inbound.realm, inbound.person()?, inbound.sender()))
}

/// Whose numbers these are, and which conversations there are.
async fn whose(sql: &Session, all: &[Parties]) -> Result<HashMap<Parties, Whose>> {
    let mut found: HashMap<Parties, Whose> = all.iter().map(|parties| (*parties, Whose::default())).collect();
    let realms: BTreeSet<Realm> = all.iter().map(|(realm, ..)| *realm).collect();
    for realm in realms {
        let here = all.iter().filter(|(whose, ..)| *whose == realm).map(|(_, person, _)| *person);
        let held = contact::held(sql, realm, here).await?;
        for ((_, person, _), whose) in found.iter_mut().filter(|((of, ..), _)| *of == realm) {
            whose.contact = held.get(person).copied();
        }
    }
    let with_sender = all.iter().filter_map(|(realm, person, to)| Some((*realm, *person, (*to)?)));
    let with_sender: Vec<conversation::Parties> = with_sender.collect();
    if !with_sender.is_empty() {
        for ((realm, person, sender), (one, _)) in conversation::between(sql, &with_sender).await? {
            found.entry((realm, person, Some(sender))).or_default().conversation = Some(one.id);
        }
    }
    Ok(found)
}

// ── rows ────────────────────────────────────────────────────────────────────────────────────────────────────

fn missing(kept: &&Kept) -> Option<Vec<u8>> {
    kept.inbound.parts.as_ref().filter(|_| kept.waits_until.is_none()).map(|parts| parts.missing.clone())
}

fn write_new<'v>(new: &[&'v Kept], flight: &mut Flight<'v>) {
    let parts = |kept: &&Kept| kept.inbound.parts.clone();
    flight.statement(
        "INSERT INTO inbound (id, account, live, connection, sender, recipient, text, at, fingerprint, keyword, reference,
           total, missing, due_at, rule, media)
         SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::bigint[], $5::text[], $6::text[], $7::text[],
             $8::bigint[], $9::bytea[], $10::smallint[], $11::integer[], $12::smallint[], $13::bytea[], $14::bigint[],
             $15::text[], $16::text[])",
        values![
            new.iter().map(|kept| kept.inbound.id.key()).collect::<Vec<_>>(),
            new.iter().map(|kept| kept.inbound.realm.account.key()).collect::<Vec<_>>(),
            new.iter().map(|kept| live(kept.inbound.realm.environment)).collect::<Vec<_>>(),
            new.iter().map(|kept| kept.inbound.connection.key()).collect::<Vec<_>>(),
            new.iter().map(|kept| clean(&kept.inbound.from)).collect::<Vec<_>>(),
            new.iter().map(|kept| clean(&kept.inbound.to)).collect::<Vec<_>>(),
            new.iter().map(|kept| clean(&kept.inbound.text)).collect::<Vec<_>>(),
            new.iter().map(|kept| kept.inbound.at.as_millis()).collect::<Vec<_>>(),
            new.iter().map(|kept| kept.print.to_vec()).collect::<Vec<_>>(),
            new.iter().map(|kept| kept.inbound.keyword as i16).collect::<Vec<_>>(),
            new.iter().map(|kept| parts(kept).map(|parts| i32::from(parts.reference))).collect::<Vec<_>>(),
            new.iter().map(|kept| parts(kept).map(|parts| i16::from(parts.total))).collect::<Vec<_>>(),
            new.iter().map(missing).collect::<Vec<_>>(),
            new.iter().map(|kept| kept.waits_until.map(Timestamp::as_millis)).collect::<Vec<_>>(),
            new.iter().map(|kept| kept.inbound.rule.as_deref()).collect::<Vec<_>>(),
            new.iter().map(|kept| noted(&kept.inbound.media)).collect::<Vec<_>>(),
        ],
    );
}

fn write_other<'v>(other: &[&'v Kept], flight: &mut Flight<'v>) {
    flight.statement(
        "UPDATE inbound i SET text = n.text, at = n.at, keyword = n.keyword, missing = n.missing, due_at = n.due_at,
           rule = n.rule
         FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::smallint[], $5::bytea[], $6::bigint[], $7::text[])
           AS n (id, text, at, keyword, missing, due_at, rule) WHERE i.id = n.id",
        values![
            other.iter().map(|kept| kept.inbound.id.key()).collect::<Vec<_>>(),
            other.iter().map(|kept| clean(&kept.inbound.text)).collect::<Vec<_>>(),
            other.iter().map(|kept| kept.inbound.at.as_millis()).collect::<Vec<_>>(),
            other.iter().map(|kept| kept.inbound.keyword as i16).collect::<Vec<_>>(),
            other.iter().map(missing).collect::<Vec<_>>(),
            other.iter().map(|kept| kept.waits_until.map(Timestamp::as_millis)).collect::<Vec<_>>(),
            other.iter().map(|kept| kept.inbound.rule.as_deref()).collect::<Vec<_>>(),
        ],
    );
}

fn write_parts(came: &[Came], flight: &mut Flight<'_>) {
    flight.statement(
        "INSERT INTO inbound_part (inbound, account, number, charset, has_header, octets, at)
         SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::smallint[], $5::boolean[], $6::bytea[],
           $7::bigint[])",
        values![
            came.iter().map(|part| part.inbound.key()).collect::<Vec<_>>(),
            came.iter().map(|part| part.account.key()).collect::<Vec<_>>(),
            came.iter().map(|part| i16::from(part.number)).collect::<Vec<_>>(),
            came.iter().map(|part| column::charset_number(part.segment.charset) as i16).collect::<Vec<_>>(),
            came.iter().map(|part| !part.segment.header.is_empty()).collect::<Vec<_>>(),
            came.iter().map(|part| part.segment.user_data()).collect::<Vec<_>>(),
            came.iter().map(|part| part.at.as_millis()).collect::<Vec<_>>(),
        ],
    );
}

fn print(row: &Row, place: usize) -> Result<[u8; 32]> {
    let octets: Vec<u8> = cell(row, place)?;
    <[u8; 32]>::try_from(octets).map_err(|_| column::corrupt("fingerprint", "an inbound message's"))
}

async fn of_ids(sql: &Session, ids: &[i64]) -> Result<Vec<Row>> {
    sql.rows(concat!("SELECT ", columns!(), " FROM inbound i WHERE i.id = ANY ($1)"), &[&ids]).await
}

pub(super) async fn find(sql: &Session, ids: &[i64]) -> Result<HashMap<InboundId, Inbound>> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = of_ids(sql, ids).await?;
    rows.iter().map(|row| read(row).map(|(inbound, _)| (inbound.id, inbound))).collect()
}

fn read(row: &Row) -> Result<(Inbound, Option<Timestamp>)> {
    let reference: Option<i32> = cell(row, 10)?;
    let total: Option<i16> = cell(row, 11)?;
    let inbound = Inbound {
        id: InboundId::from_key(cell(row, 0)?),
        realm: realm(row, 1)?,
        connection: ConnectionId::from_key(cell(row, 3)?),
        from: cell(row, 4)?,
        to: cell(row, 5)?,
        text: cell(row, 6)?,
        parts: column::parts(
            reference.and_then(|reference| reference.try_into().ok()),
            total.and_then(|total| total.try_into().ok()),
            cell(row, 12)?,
            cell(row, 7)?,
        ),
        at: Timestamp::from_millis(cell(row, 8)?),
        keyword: column::keyword(i64::from(cell::<i16>(row, 9)?))?,
        rule: cell(row, 15)?,
        media: column::media(cell(row, 16)?)?,
    };
    Ok((inbound, cell::<Option<i64>>(row, 13)?.map(Timestamp::from_millis)))
}

/// The parts of these, by number.
async fn parts(sql: &Session, of: &[&Inbound]) -> Result<HashMap<InboundId, Vec<(u8, Segment)>>> {
    if of.is_empty() {
        return Ok(HashMap::new());
    }
    let ids: Vec<i64> = of.iter().map(|inbound| inbound.id.key()).collect();
    let accounts: BTreeSet<i64> = of.iter().map(|inbound| inbound.realm.account.key()).collect();
    let rows = sql
        .rows(
            "SELECT inbound, number, charset, has_header, octets FROM inbound_part
             WHERE inbound = ANY ($1) AND account = ANY ($2) ORDER BY inbound, number",
            &[&ids, &Vec::from_iter(accounts)],
        )
        .await?;
    let by_id: HashMap<i64, &Inbound> = of.iter().map(|inbound| (inbound.id.key(), *inbound)).collect();
    let mut parts: HashMap<InboundId, Vec<(u8, Segment)>> = HashMap::new();
    for row in &rows {
        let (id, number): (i64, i16) = (cell(row, 0)?, cell(row, 1)?);
        let number = u8::try_from(number).map_err(|_| column::corrupt("number of a part", number))?;
        let place = by_id.get(&id).and_then(|inbound| inbound.place(number));
        let charset = i64::from(cell::<i16>(row, 2)?);
        let segment = column::segment(charset, cell(row, 3)?, cell::<&[u8]>(row, 4)?, place)?;
        parts.entry(InboundId::from_key(id)).or_default().push((number, segment));
    }
    Ok(parts)
}

// ── what follows ────────────────────────────────────────────────────────────────────────────────────────────

/// Puts the person on the list, and ends what waits for the person.
async fn close(tx: &mut Tx, inbound: &Inbound, ask: &Ask, now: Timestamp, out: &mut Advanced) -> Result<()> {
    let (realm, person) = (inbound.realm, ask.person);
    let id = SuppressionId::from_key(tx.next_id(now));
    suppression::add(tx, &inbound.opt_out(id, ask, now), &inbound.actor()).await?;
    let standing = suppression::standing(tx, realm, person, now).await?;
    let ended = message::end_waiting_for(tx, realm, person, &standing, ENDED_BY_OPT_OUT_MAX, now).await?;
    out.add(Advanced { more: false, ..ended });
    out.opted_out = true;
    Ok(())
}

/// Whether it is START, and an opt-out of the person awaits that.
async fn awaits_start(tx: &Tx, inbound: &Inbound, ask: &Ask) -> Result<bool> {
    let is_start = inbound.keyword == Class::Start;
    Ok(is_start && !suppression::awaiting_start(tx, inbound.realm, ask.person).await?.is_empty())
}

/// Does what is asked.
async fn follow(
    tx: &mut Tx,
    inbound: &Inbound,
    whose: Whose,
    ask: &Ask,
    now: Timestamp,
    out: &mut Advanced,
) -> Result<()> {
    let (realm, actor) = (inbound.realm, inbound.actor());
    for account in account::ids(&tx.sql).await? {
        let Some(inbound) = inbound.to(ask, account) else { continue };
        let standing = suppression::standing(tx, inbound.realm, ask.person, now).await?;
        let awaits_start = awaits_start(tx, &inbound, ask).await?;
        match inbound.decide(ask, None, &standing, awaits_start) {
            Decision::Suppress => close(tx, &inbound, ask, now, out).await?,
            Decision::Lift => suppression::lift_by_person(tx, &inbound, ask, &inbound.actor(), now).await?,
            Decision::Keep | Decision::Help | Decision::Review | Decision::Join => {}
        }
    }
    let standing = suppression::standing(tx, realm, ask.person, now).await?;
    let said = match &ask.joining {
        None => Ok(None),
        Some(_) => consent::said_by(&tx.sql, &[(realm, ask.person)]).await.map(|mut found| found.pop()),
    };
    let said =
        inbound.if_readable(said, "it cannot be read what the person agreed to: it is recorded anew")?;
    let awaits_start = awaits_start(tx, inbound, ask).await?;
    let decision = inbound.decide(ask, said.flatten().as_ref(), &standing, awaits_start);
    if let Some(joining) = ask.joining.as_ref().filter(|_| decision != Decision::Keep) {
        let id = ConsentId::from_key(tx.next_id(now));
        let entry = inbound.consent(id, ask.person, joining, now);
        consent::record_consents(tx, &[entry], &actor, &now).await?;
    }
    match decision {
        Decision::Keep => return Ok(()),
        Decision::Suppress => {
            let whose = Whose { programme: ask.programme(), ..whose };
            event::publish_inbound(tx, inbound, &whose, Kind::OptedOut, &mut out.told);
            close(tx, inbound, ask, now, out).await?;
        }
        Decision::Lift => {
            suppression::lift_by_person(tx, inbound, ask, &actor, now).await?;
            let whose = Whose { programme: ask.programme(), ..whose };
            event::publish_inbound(tx, inbound, &whose, Kind::OptedIn, &mut out.told);
        }
        Decision::Review => {
            review::open_inbound(tx, inbound, ask, now);
            return Ok(());
        }
        Decision::Help | Decision::Join => {}
    }
    let standing = suppression::standing(tx, realm, ask.person, now).await?;
    let may_be_sent = ask.may_be_answered(&standing, inbound);
    match &ask.reply {
        Some(reply) if may_be_sent && count_reply(tx, reply, now).await? => {
            message::enqueue(tx, reply, now, out).await
        }
        _ => Ok(()),
    }
}

/// Answers as a rule says, if the person may be sent to and the rule has its turn.
async fn answer(
    tx: &mut Tx,
    inbound: &Inbound,
    ruled: &Ruled,
    now: Timestamp,
    out: &mut Advanced,
) -> Result<Option<Addition>> {
    let (Some((reply, every_h)), Some(rule)) = (&ruled.answer, &inbound.rule) else { return Ok(None) };
    let (realm, person) = (inbound.realm, ruled.person);
    let since = now.plus_ms(-every_h * HOUR_MS).as_millis();
    let (account, live, recipient) = (realm.account.key(), live(realm.environment), person.digits() as i64);
    let early = tx
        .sql
        .row(
            "SELECT 1 FROM rule_reply WHERE account = $1 AND live = $2 AND recipient = $3 AND rule = $4 AND at > $5",
            &[&account, &live, &recipient, rule, &since],
        )
        .await?;
    if early.is_some() {
        return Ok(None);
    }
    tx.settle().await?;
    let standing = suppression::standing(tx, realm, person, now).await?;
    let is_stopped = standing.against(reply.message.programme.as_ref()).is_some();
    if is_stopped || !count_reply(tx, reply, now).await? {
        return Ok(None);
    }
    tx.sql
        .execute(
            "INSERT INTO rule_reply (account, live, recipient, rule, at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (account, live, recipient, rule) DO UPDATE SET at = excluded.at",
            &[&account, &live, &recipient, rule, &now.as_millis()],
        )
        .await?;
    message::enqueue(tx, reply, now, out).await?;
    Ok(Some(Addition::of_answer(&reply.message, now)))
}

/// Counts a reply to the person, if there were not enough.
async fn count_reply(tx: &Tx, draft: &Draft, now: Timestamp) -> Result<bool> {
    let Message { account, environment, recipient, reply, .. } = &draft.message;
    let kind = reply.map_or(reply::Kind::Rule, |reply| reply.kind);
    let (account, live, recipient) = (account.key(), live(*environment), recipient.digits() as i64);
    let row = tx
        .sql
        .row(
            "SELECT since, replies FROM reply WHERE account = $1 AND live = $2 AND recipient = $3",
            &[&account, &live, &recipient],
        )
        .await?;
    let known = match &row {
        None => None,
        Some(row) => Some(Count {
            since: Timestamp::from_millis(cell(row, 0)?),
            replies: u32::try_from(cell::<i32>(row, 1)?).unwrap_or(u32::MAX),
        }),
    };
    let Some(count) = is_one_more_allowed(known, kind, now) else { return Ok(false) };
    tx.sql
        .execute(
            "INSERT INTO reply (account, live, recipient, since, replies) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (account, live, recipient) DO UPDATE SET since = excluded.since, replies = excluded.replies",
            &[&account, &live, &recipient, &count.since.as_millis(), &(count.replies as i32)],
        )
        .await?;
    Ok(true)
}

/// Forgets counts that count no more. `true` if there may be more of them.
pub(super) async fn sweep_replies(tx: &Tx, now: Timestamp, limit: usize) -> Result<bool> {
    let gone = tx
        .sql
        .execute(
            "DELETE FROM reply WHERE ctid = ANY (ARRAY (
               SELECT ctid FROM reply WHERE since <= $1 ORDER BY since LIMIT $2))",
            &[&now.plus_ms(-WINDOW_MS).as_millis(), &(limit as i64)],
        )
        .await?;
    let of_rules = tx
        .sql
        .execute(
            "DELETE FROM rule_reply WHERE ctid = ANY (ARRAY (
               SELECT ctid FROM rule_reply WHERE at <= $1 ORDER BY at LIMIT $2))",
            &[&now.plus_ms(-EVERY_H_MAX * HOUR_MS).as_millis(), &(limit as i64)],
        )
        .await?;
    Ok(gone == limit as u64 || of_rules == limit as u64)
}

/// Deletes old messages with what belongs to them; of events those in these parts, for others go as a whole. Kept whatever
/// their age: what waits for parts, what a person must still decide, what an endpoint must still be told, and the newest
/// event's message, because the places of events must only grow.
pub(super) async fn sweep(sql: &Session, parts: &[Part], before: Timestamp, limit: usize) -> Result<bool> {
    let to_tell = to_tell(sql, before).await?;
    media::sweep(sql, floor_at(before)).await?;
    let (mut over, mut with_media): (Vec<i64>, Vec<i64>) = (Vec::new(), Vec::new());
    let mut after = i64::MIN;
    while over.len() < limit && with_media.len() < SWEPT_WITH_MEDIA_MAX {
        let rows = sql
            .rows(
                "SELECT i.id, i.media IS NOT NULL FROM inbound i WHERE i.id > $1 AND i.id < $2 AND i.due_at IS NULL AND i.at < $3
                   AND i.id IS DISTINCT FROM (SELECT e.inbound FROM event e ORDER BY e.seq DESC LIMIT 1)
                   AND NOT EXISTS (SELECT 1 FROM review r WHERE r.inbound = i.id AND r.decision IS NULL LIMIT 1)
                 ORDER BY i.id LIMIT $4",
                &[&after, &floor_at(before), &before.as_millis(), &(limit as i64)],
            )
            .await?;
        let Some(last) = rows.last() else { break };
        after = cell(last, 0)?;
        for row in &rows {
            let id: i64 = cell(row, 0)?;
            let is_room = over.len() < limit && with_media.len() < SWEPT_WITH_MEDIA_MAX;
            if is_room && !to_tell.contains(&id) {
                over.push(id);
                with_media.extend(cell::<bool>(row, 1)?.then_some(id));
            }
        }
    }
    if over.is_empty() {
        return Ok(false);
    }
    // No index leads from a message of a person to its events: they are among the oldest of those that are about no message
    // of ours, which have one.
    let place = place_at(before.plus_ms(super::part::SKEW_MS));
    for part in parts {
        let delete =
            format!("DELETE FROM {} WHERE message IS NULL AND seq < $2 AND inbound = ANY ($1)", part.name);
        sql.change(&delete, &[&over, &place]).await?;
    }
    sql.execute("DELETE FROM review WHERE inbound = ANY ($1)", &[&over]).await?;
    sql.execute("DELETE FROM inbound_part WHERE inbound = ANY ($1)", &[&over]).await?;
    if !with_media.is_empty() {
        sql.execute("DELETE FROM media WHERE inbound = ANY ($1)", &[&with_media]).await?;
    }
    sql.execute("DELETE FROM inbound WHERE id = ANY ($1)", &[&over]).await?;
    Ok(over.len() == limit || with_media.len() == SWEPT_WITH_MEDIA_MAX)
}

/// The messages of people that open deliveries of old events are about.
async fn to_tell(sql: &Session, before: Timestamp) -> Result<HashSet<i64>> {
    let rows = sql
        .rows(
            "SELECT e.inbound FROM delivery d
             CROSS JOIN LATERAL (SELECT x.inbound FROM event x WHERE x.seq = d.event LIMIT 1) e
             WHERE d.event < $1 AND e.inbound IS NOT NULL",
            &[&event::first_at(sql, before).await?],
        )
        .await?;
    rows.iter().map(|row| cell(row, 0)).collect()
}
