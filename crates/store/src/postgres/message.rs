//! Messages: accepting, claiming, and everything that happens to them.
//!
//! Read [`Commit::apply_to`] for the heart: look at the life, let the domain decide, note what it says on the sheet.
//! [`Sheet`] is where the lives of a whole group are while it runs, and says how they are loaded and written.

use super::consent_request;
use super::executor::{self, Rx, Tx};
use super::front::{Look, Queue};
use super::session::{Flight, Location, Session, Value, cell, clean, live, values};
use super::{code, conversation, event, node, pool, review, spend, suppression};
use crate::backend::*;
use crate::column::{self, environment, number};
use crate::due::{CANDIDATES_MAX, CLOCK_BACK_MS, Due, FORGOTTEN_AT_ONCE, LOOK_AGAIN, due_row, queue_of};
use crate::listeners::Listeners;
use crate::{ByPurpose, Error, Key, Result, Waiting, our_reference};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use tidings_domain::account::{Environment, Realm};
use tidings_domain::address::PhoneNumber;
use tidings_domain::conversation::is_lost;
use tidings_domain::event::{Event, Kind};
use tidings_domain::failure::{Failure, Recovery};
use tidings_domain::gate;
use tidings_domain::id::*;
use tidings_domain::message::{
    Answer, Effect, Input, LEASE_MS, Life, Message, Outcome, Rules, Segment, State, Status, damaged,
};
use tidings_domain::poison;
use tidings_domain::purpose::Purpose;
use tidings_domain::receipt::{self, Candidate, Receipt};
use tidings_domain::retry::{Jitter, RetryPolicy};
use tidings_domain::sender::Sender;
use tidings_domain::suppression::Reason;
use tidings_domain::time::Timestamp;
use tokio_postgres::Row;

/// Rows of a queue that one step of a claim reads.
const STEP_MAX: usize = 256;

/// The numbers of the purposes, the most urgent first.
fn priorities() -> Vec<i16> {
    Purpose::ALL.into_iter().map(|purpose| i16::from(purpose.priority())).collect()
}

// ── the sheet ───────────────────────────────────────────────────────────────────────────────────────────────

/// A connection, and the form of a carrier's id under which a segment or a receipt is kept.
type Form = (i64, String);

/// What a transaction knows of messages, and has to write.
#[derive(Default)]
pub(super) struct Sheet {
    /// Each message that was looked for; `None` if there is no such.
    slots: HashMap<MessageId, Option<Slot>>,
    /// The segments that were found under these forms: (message, segment) and the carrier's id.
    outstanding: HashMap<Form, BTreeMap<(i64, u8), String>>,
    /// What becomes of these: the carrier's id and the account, or nothing any more.
    expected: BTreeMap<(Form, i64, u8), Option<(String, i64)>>,
    /// The receipts that were found under these forms.
    parked: HashMap<Form, Vec<Parked>>,
    parked_now: HashMap<Form, Vec<Parked>>,
    unparked: HashSet<i64>,
    /// The calls that were looked for.
    calls: HashMap<[u8; 32], Option<Answered>>,
    calls_now: Vec<Call>,
    batches_now: Vec<(BatchId, Realm, Timestamp, u32, i64)>,
    /// Messages that will not reach anybody now.
    lost: Vec<i64>,
}

/// A message as decisions need it.
struct Slot {
    /// Its text is there only if it is needed.
    message: Arc<Message>,
    life: Life,
    /// The failure that its last event carried, as its column holds it.
    failure: Option<String>,
    updated_at: Timestamp,
    due: Option<Due>,
    /// As it is in the database; `None` if it is not there yet.
    stored: Option<Place>,
    changed: bool,
    /// It was read with its text and does not fit its checksum. Its text is left out.
    damaged: bool,
}

/// Where a message's row is, and its row of `due`.
#[derive(Debug, Clone, Copy)]
struct Place {
    location: Location,
    due: Option<Due>,
}

#[derive(Debug, Clone)]
struct Parked {
    receipt: i64,
    parked_at: i64,
    body: String,
}

/// A call that was answered before.
struct Answered {
    fingerprint: Vec<u8>,
    answer: Vec<u8>,
}

struct Call {
    key: [u8; 32],
    account: i64,
    fingerprint: [u8; 32],
    answer: Vec<u8>,
    created_at: i64,
}

/// What operations say beforehand that they will look at.
#[derive(Default)]
pub(super) struct Needs {
    messages: BTreeSet<i64>,
    outstanding: BTreeSet<Form>,
    parked: BTreeSet<Form>,
    calls: BTreeSet<[u8; 32]>,
}

impl Needs {
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
            && self.outstanding.is_empty()
            && self.parked.is_empty()
            && self.calls.is_empty()
    }

    fn message(&mut self, sheet: &Sheet, id: MessageId) {
        if !sheet.slots.contains_key(&id) {
            self.messages.insert(id.key());
        }
    }

    fn outstanding(&mut self, sheet: &Sheet, form: Form) {
        if !sheet.outstanding.contains_key(&form) {
            self.outstanding.insert(form);
        }
    }

    fn parked(&mut self, sheet: &Sheet, form: Form) {
        if !sheet.parked.contains_key(&form) {
            self.parked.insert(form);
        }
    }

    fn call(&mut self, sheet: &Sheet, key: [u8; 32]) {
        if !sheet.calls.contains_key(&key) {
            self.calls.insert(key);
        }
    }
}

/// The columns of a message and its place, without its text: what [`slot`] reads.
macro_rules! columns {
    () => {
        "m.id, m.account, m.live, m.token, m.batch, m.purpose, m.sender, m.recipient, m.form, m.segments, m.connection,
         m.created_at, m.send_at, m.expires_at, m.callback, m.reference, m.metadata, m.retry_of, m.state, m.until, m.lane,
         m.due_at, m.attempt, m.tries, m.resends, m.parts, m.failure, m.updated_at, m.ctid, m.checksum, m.reply, m.reply_to,
         m.template, m.template_version"
    };
}

/// The place of the text behind [`columns`].
const TEXT: usize = 34;

fn slot(row: &Row, text: Option<String>) -> Result<Slot> {
    let (options, encoding) = column::form(i64::from(cell::<i32>(row, 8)?));
    let sender: &str = cell(row, 6)?;
    let time = |n: usize| cell::<i64>(row, n).map(Timestamp::from_millis);
    let maybe = |n: usize| cell::<Option<i64>>(row, n);
    let small = |n: usize| cell::<i32>(row, n).map(|n| n as u32);
    let priority: i16 = cell(row, 5)?;
    let purpose = u8::try_from(priority).ok().and_then(Purpose::from_priority);
    let mut message = Message {
        id: MessageId::from_key(cell(row, 0)?),
        account: AccountId::from_key(cell(row, 1)?),
        environment: environment(i64::from(cell::<i16>(row, 2)?)),
        token: maybe(3)?.map(TokenId::from_key),
        batch: maybe(4)?.map(BatchId::from_key),
        purpose: purpose.ok_or_else(|| column::corrupt("purpose", priority))?,
        sender: Sender::from_stored(sender).ok_or_else(|| column::corrupt("sender", sender))?,
        recipient: number(cell(row, 7)?)?,
        text,
        encoding,
        options,
        segments: cell::<i16>(row, 9)? as u8,
        connection: ConnectionId::from_key(cell(row, 10)?),
        created_at: time(11)?,
        send_at: maybe(12)?.map(Timestamp::from_millis),
        expires_at: time(13)?,
        callback: maybe(14)?.map(EndpointId::from_key),
        reference: cell(row, 15)?,
        metadata: cell(row, 16)?,
        retry_of: maybe(17)?.map(MessageId::from_key),
        reply: column::reply(cell::<Option<i16>>(row, 30)?.map(i64::from), maybe(31)?)?,
        template: column::origin(maybe(32)?, cell::<Option<i32>>(row, 33)?.map(i64::from))?,
    };
    let life = Life {
        state: column::state(i64::from(cell::<i16>(row, 18)?), maybe(19)?)?,
        attempt: small(22)?,
        tries: small(23)?,
        resends: small(24)?,
        segments: column::segments(cell(row, 25)?)?,
    };
    let due = match (maybe(20)?, maybe(21)?) {
        (Some(lane), Some(due_at)) => Some(Due { lane, due_at }),
        _ => None,
    };
    // Nobody is shown, and nobody sent, a text that may not be what was accepted.
    let damaged = message.text.is_some() && maybe(29)?.is_some_and(|sum| sum != column::checksum(&message));
    if damaged {
        message.text = None;
    }
    Ok(Slot {
        message: Arc::new(message),
        life,
        failure: cell(row, 26)?,
        updated_at: time(27)?,
        due,
        stored: Some(Place { location: cell(row, 28)?, due }),
        changed: false,
        damaged,
    })
}

fn stored(row: &Row) -> Result<Stored> {
    let Slot { message, life, failure, updated_at, .. } = slot(row, cell(row, TEXT)?)?;
    Ok(Stored {
        message: Arc::unwrap_or_clone(message),
        life,
        failure: failure.as_deref().map(column::failure).transpose()?,
        updated_at,
    })
}

impl Sheet {
    /// Loads what was named.
    pub async fn load(&mut self, sql: &Session, needs: Needs) -> Result<()> {
        let (messages, outstanding, parked, calls) = tokio::try_join!(
            load_messages(sql, &needs.messages),
            load_outstanding(sql, &needs.outstanding),
            load_parked(sql, &needs.parked),
            load_calls(sql, &needs.calls),
        )?;
        for id in needs.messages {
            self.slots.entry(MessageId::from_key(id)).or_default();
        }
        for row in messages {
            self.remember(slot(&row, None)?);
        }
        for form in needs.outstanding {
            self.outstanding.entry(form).or_default();
        }
        for (form, row) in outstanding {
            let slot = slot(&row, None)?;
            let (segment, carrier_id) = (cell::<i16>(&row, TEXT + 1)? as u8, cell::<String>(&row, TEXT + 2)?);
            self.outstanding.entry(form).or_default().insert((slot.message.id.key(), segment), carrier_id);
            self.remember(slot);
        }
        for form in needs.parked {
            self.parked.entry(form).or_default();
        }
        for (form, found) in parked {
            self.parked.entry(form).or_default().push(found);
        }
        for key in needs.calls {
            self.calls.entry(key).or_default();
        }
        for row in calls {
            let key: &[u8] = cell(&row, 0)?;
            let key = key.try_into().map_err(|_| column::corrupt("idempotency key", key.len()))?;
            self.calls.insert(key, Some(Answered { fingerprint: cell(&row, 1)?, answer: cell(&row, 2)? }));
        }
        Ok(())
    }

    /// A message that was found, if nobody has changed it meanwhile.
    fn remember(&mut self, found: Slot) {
        let known = self.slots.entry(found.message.id).or_default();
        if known.is_none() {
            *known = Some(found);
        }
    }

    fn known(&self, id: MessageId) -> Option<&Slot> {
        self.slots.get(&id).and_then(Option::as_ref)
    }

    fn slot(&mut self, id: MessageId) -> &mut Slot {
        self.slots.get_mut(&id).and_then(Option::as_mut).expect("it was looked for and found")
    }

    /// The segments that are expected under a form which was looked for, in their order.
    fn found_under(&self, form: &Form) -> Vec<(MessageId, u8, String)> {
        let mut found = self.outstanding.get(form).cloned().unwrap_or_default();
        let (first, last) = ((form.clone(), i64::MIN, 0), (form.clone(), i64::MAX, u8::MAX));
        for ((_, message, segment), change) in self.expected.range(first..=last) {
            match change {
                Some((carrier_id, _)) => drop(found.insert((*message, *segment), carrier_id.clone())),
                None => drop(found.remove(&(*message, *segment))),
            }
        }
        let found = found.into_iter().take(CANDIDATES_MAX + 1);
        found.map(|((message, segment), id)| (MessageId::from_key(message), segment, id)).collect()
    }

    fn expect_receipt(&mut self, message: &Message, segment: u8, canonical: String, carrier_id: String) {
        let place = ((message.connection.key(), canonical), message.id.key(), segment);
        self.expected.insert(place, Some((carrier_id, message.account.key())));
    }

    fn forget_receipt(&mut self, message: &Message, segment: u8, canonical: String) {
        self.expected.insert(((message.connection.key(), canonical), message.id.key(), segment), None);
    }

    /// Adds what has to be written.
    pub fn write<'v>(&'v self, flight: &mut Flight<'v>) {
        let slots = || self.slots.values().flatten().filter(|slot| slot.changed);
        write_new(flight, slots().filter(|slot| slot.stored.is_none()));
        write_changed(flight, slots());
        write_due(flight, slots());
        self.write_expected(flight);
        self.write_parked(flight);
        self.write_calls(flight);
        if !self.lost.is_empty() {
            conversation::write_lost(flight, &self.lost);
        }
    }

    /// What is put into queues, with the times that they are read by.
    pub fn put(&self, put: &mut Vec<(Queue, i64)>) {
        let slots = self.slots.values().flatten().filter(|slot| slot.changed);
        for slot in slots.filter(|slot| slot.due != slot.stored.and_then(|stored| stored.due)) {
            let Some(due) = slot.due else { continue };
            put.push((Queue::Lane(due.lane, i16::from(slot.message.purpose.priority())), due.due_at));
            if due.lane != LOOK_AGAIN {
                put.push((Queue::Expiry, slot.message.expires_at.as_millis()));
            }
        }
    }

    fn write_expected<'v>(&'v self, flight: &mut Flight<'v>) {
        let (mut connections, mut forms, mut messages, mut segments) = (vec![], vec![], vec![], vec![]);
        let (mut ids, mut accounts) = (vec![], vec![]);
        let mut gone = (vec![], vec![], vec![], vec![]);
        for (((connection, canonical), message, segment), change) in &self.expected {
            let segment = i16::from(*segment);
            match change {
                Some((carrier_id, account)) => {
                    connections.push(*connection);
                    forms.push(clean(canonical));
                    messages.push(*message);
                    segments.push(segment);
                    ids.push(clean(carrier_id));
                    accounts.push(*account);
                }
                None => {
                    gone.0.push(*connection);
                    gone.1.push(clean(canonical));
                    gone.2.push(*message);
                    gone.3.push(segment);
                }
            }
        }
        if !gone.0.is_empty() {
            flight.statement(
                "DELETE FROM outstanding WHERE ctid = ANY (ARRAY (
                   SELECT o.place FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::smallint[])
                     AS k (connection, canonical, message, segment)
                   CROSS JOIN LATERAL (SELECT x.ctid AS place FROM outstanding x WHERE x.connection = k.connection
                     AND x.canonical = k.canonical AND x.message = k.message AND x.segment = k.segment LIMIT 1) o))",
                values![gone.0, gone.1, gone.2, gone.3],
            );
        }
        if !connections.is_empty() {
            flight.statement(
                "INSERT INTO outstanding (connection, canonical, message, segment, carrier_id, account)
                 SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::smallint[], $5::text[], $6::bigint[])
                 ON CONFLICT (connection, canonical, message, segment, account)
                   DO UPDATE SET carrier_id = excluded.carrier_id",
                values![connections, forms, messages, segments, ids, accounts],
            );
        }
    }

    fn write_parked<'v>(&'v self, flight: &mut Flight<'v>) {
        if !self.unparked.is_empty() {
            flight.statement(
                "DELETE FROM parked WHERE receipt = ANY ($1)",
                values![self.unparked.iter().copied().collect::<Vec<i64>>()],
            );
        }
        let (mut receipts, mut connections, mut forms, mut bodies, mut times) =
            (vec![], vec![], vec![], vec![], vec![]);
        for ((connection, canonical), parked) in &self.parked_now {
            for one in parked.iter().filter(|one| !self.unparked.contains(&one.receipt)) {
                receipts.push(one.receipt);
                connections.push(*connection);
                forms.push(clean(canonical));
                bodies.push(clean(&one.body));
                times.push(one.parked_at);
            }
        }
        if !receipts.is_empty() {
            flight.statement(
                "INSERT INTO parked (receipt, connection, canonical, body, parked_at)
                 SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::bigint[])",
                values![receipts, connections, forms, bodies, times],
            );
        }
    }

    fn write_calls<'v>(&'v self, flight: &mut Flight<'v>) {
        if !self.batches_now.is_empty() {
            let all = &self.batches_now;
            flight.statement(
                "INSERT INTO batch (id, account, live, created_at, asked, last_message)
                 SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::bigint[], $5::bigint[], $6::bigint[])",
                values![
                    all.iter().map(|(id, ..)| id.key()).collect::<Vec<_>>(),
                    all.iter().map(|(_, realm, ..)| realm.account.key()).collect::<Vec<_>>(),
                    all.iter().map(|(_, realm, ..)| live(realm.environment)).collect::<Vec<_>>(),
                    all.iter().map(|(_, _, at, ..)| at.as_millis()).collect::<Vec<_>>(),
                    all.iter().map(|(_, _, _, asked, _)| i64::from(*asked)).collect::<Vec<_>>(),
                    all.iter().map(|(_, _, _, _, last)| *last).collect::<Vec<_>>(),
                ],
            );
        }
        if !self.calls_now.is_empty() {
            let all = &self.calls_now;
            flight.statement(
                "INSERT INTO idempotency (key, account, fingerprint, answer, created_at)
                 SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::bytea[], $4::bytea[], $5::bigint[])",
                values![
                    all.iter().map(|call| &call.key[..]).collect::<Vec<_>>(),
                    all.iter().map(|call| call.account).collect::<Vec<_>>(),
                    all.iter().map(|call| &call.fingerprint[..]).collect::<Vec<_>>(),
                    all.iter().map(|call| &call.answer[..]).collect::<Vec<_>>(),
                    all.iter().map(|call| call.created_at).collect::<Vec<_>>(),
                ],
            );
        }
    }
}

fn write_new<'v>(flight: &mut Flight<'v>, slots: impl Iterator<Item = &'v Slot>) {
    let new: Vec<&Slot> = slots.collect();
    if new.is_empty() {
        return;
    }
    fn each<'v, T>(new: &[&'v Slot], of: impl Fn(&'v Slot) -> T) -> Vec<T> {
        new.iter().map(|slot| of(slot)).collect()
    }
    let all = &new[..];
    flight.statement(
        "INSERT INTO message (id, account, live, token, batch, purpose, sender, recipient, text, form, segments, connection,
           created_at, send_at, expires_at, callback, reference, metadata, retry_of, state, until, lane, due_at, attempt, tries,
           resends, parts, failure, updated_at, checksum, reply, reply_to, template, template_version)
         SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::bigint[], $5::bigint[], $6::smallint[], $7::text[],
           $8::bigint[], $9::text[], $10::integer[], $11::smallint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[],
           $16::bigint[], $17::text[], $18::text[], $19::bigint[], $20::smallint[], $21::bigint[], $22::bigint[], $23::bigint[],
           $24::integer[], $25::integer[], $26::integer[], $27::text[], $28::text[], $29::bigint[], $30::bigint[],
           $31::smallint[], $32::bigint[], $33::bigint[], $34::integer[])",
        values![
            each(all, |s| s.message.id.key()),
            each(all, |s| s.message.account.key()),
            each(all, |s| live(s.message.environment)),
            each(all, |s| s.message.token.map(TokenId::key)),
            each(all, |s| s.message.batch.map(BatchId::key)),
            each(all, |s| i16::from(s.message.purpose.priority())),
            each(all, |s| s.message.sender.to_string()),
            each(all, |s| s.message.recipient.digits() as i64),
            each(all, |s| s.message.text.as_deref().map(clean)),
            each(all, |s| column::form_number(&s.message.options, s.message.encoding) as i32),
            each(all, |s| i16::from(s.message.segments)),
            each(all, |s| s.message.connection.key()),
            each(all, |s| s.message.created_at.as_millis()),
            each(all, |s| s.message.send_at.map(Timestamp::as_millis)),
            each(all, |s| s.message.expires_at.as_millis()),
            each(all, |s| s.message.callback.map(EndpointId::key)),
            each(all, |s| s.message.reference.as_deref().map(clean)),
            each(all, |s| s.message.metadata.as_deref().map(clean)),
            each(all, |s| s.message.retry_of.map(MessageId::key)),
            each(all, |s| column::state_number(s.life.state) as i16),
            each(all, |s| s.life.state.wakes_at().map(Timestamp::as_millis)),
            each(all, |s| s.due.map(|due| due.lane)),
            each(all, |s| s.due.map(|due| due.due_at)),
            each(all, |s| s.life.attempt as i32),
            each(all, |s| s.life.tries as i32),
            each(all, |s| s.life.resends as i32),
            each(all, |s| column::segments_text(&s.life.segments).replace('\0', "\u{FFFD}")),
            each(all, |s| s.failure.as_deref().map(clean)),
            each(all, |s| s.updated_at.as_millis()),
            each(all, |s| checksum(&s.message)),
            each(all, |s| s.message.reply.map(|reply| reply.kind as i16)),
            each(all, |s| s.message.reply.map(|reply| reply.to.key())),
            each(all, |s| s.message.template.map(|origin| origin.template.key())),
            each(all, |s| s.message.template.map(|origin| origin.version as i32)),
        ],
    );
}

/// The checksum of a message as it is kept: a text in which something was replaced is another one.
fn checksum(message: &Message) -> i64 {
    match message.text.as_deref().map(clean) {
        Some(std::borrow::Cow::Owned(text)) => {
            column::checksum(&Message { text: Some(text), ..message.clone() })
        }
        _ => column::checksum(message),
    }
}

fn write_changed<'v>(flight: &mut Flight<'v>, slots: impl Iterator<Item = &'v Slot>) {
    let known = slots.filter_map(|slot| Some((slot, slot.stored?.location)));
    let all: Vec<(&Slot, Location)> = known.collect();
    if all.is_empty() {
        return;
    }
    // Each is found by its place, which nobody can have changed since it was loaded: we have the turn. If one were
    // not there, the division by zero would take everything back.
    flight.statement(
        "WITH done AS (
           UPDATE message AS m SET state = n.state, until = n.until, lane = n.lane, due_at = n.due_at, attempt = n.attempt,
             tries = n.tries, resends = n.resends, parts = n.parts, failure = n.failure, updated_at = n.updated_at
           FROM unnest($1::tid[], $2::bigint[], $3::smallint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::integer[],
               $8::integer[], $9::integer[], $10::text[], $11::text[], $12::bigint[])
             AS n (place, id, state, until, lane, due_at, attempt, tries, resends, parts, failure, updated_at)
           WHERE m.ctid = n.place AND m.id = n.id RETURNING 1)
         SELECT 1 / (count(*) = cardinality($1))::int FROM done",
        values![
            all.iter().map(|(_, location)| *location).collect::<Vec<_>>(),
            all.iter().map(|(s, _)| s.message.id.key()).collect::<Vec<_>>(),
            all.iter().map(|(s, _)| column::state_number(s.life.state) as i16).collect::<Vec<_>>(),
            all.iter().map(|(s, _)| s.life.state.wakes_at().map(Timestamp::as_millis)).collect::<Vec<_>>(),
            all.iter().map(|(s, _)| s.due.map(|due| due.lane)).collect::<Vec<_>>(),
            all.iter().map(|(s, _)| s.due.map(|due| due.due_at)).collect::<Vec<_>>(),
            all.iter().map(|(s, _)| s.life.attempt as i32).collect::<Vec<_>>(),
            all.iter().map(|(s, _)| s.life.tries as i32).collect::<Vec<_>>(),
            all.iter().map(|(s, _)| s.life.resends as i32).collect::<Vec<_>>(),
            all.iter()
                .map(|(s, _)| column::segments_text(&s.life.segments).replace('\0', "\u{FFFD}"))
                .collect::<Vec<_>>(),
            all.iter().map(|(s, _)| s.failure.as_deref().map(clean)).collect::<Vec<_>>(),
            all.iter().map(|(s, _)| s.updated_at.as_millis()).collect::<Vec<_>>(),
        ],
    );
}

fn write_due<'v>(flight: &mut Flight<'v>, slots: impl Iterator<Item = &'v Slot>) {
    let moved = slots.map(|slot| (slot, slot.stored.and_then(|stored| stored.due)));
    let moved: Vec<(&Slot, Option<Due>)> = moved.filter(|(slot, before)| slot.due != *before).collect();
    let gone: Vec<(&Slot, Due)> =
        moved.iter().filter_map(|(slot, before)| Some((*slot, (*before)?))).collect();
    let new: Vec<(&Slot, Due)> = moved.iter().filter_map(|(slot, _)| Some((*slot, slot.due?))).collect();
    let priority = |slot: &Slot| i16::from(slot.message.purpose.priority());
    if !gone.is_empty() {
        flight.statement(
            "DELETE FROM due WHERE ctid = ANY (ARRAY (
               SELECT d.place FROM unnest($1::bigint[], $2::smallint[], $3::bigint[], $4::bigint[])
                 AS k (lane, priority, due_at, message)
               CROSS JOIN LATERAL (SELECT x.ctid AS place FROM due x WHERE x.lane = k.lane AND x.priority = k.priority
                 AND x.due_at = k.due_at AND x.message = k.message LIMIT 1) d))",
            values![
                gone.iter().map(|(_, due)| due.lane).collect::<Vec<_>>(),
                gone.iter().map(|(slot, _)| priority(slot)).collect::<Vec<_>>(),
                gone.iter().map(|(_, due)| due.due_at).collect::<Vec<_>>(),
                gone.iter().map(|(slot, _)| slot.message.id.key()).collect::<Vec<_>>(),
            ],
        );
    }
    if !new.is_empty() {
        let expires_at =
            |slot: &Slot, due: &Due| (due.lane != LOOK_AGAIN).then(|| slot.message.expires_at.as_millis());
        let recipient =
            |slot: &Slot, due: &Due| (due.lane != LOOK_AGAIN).then(|| slot.message.recipient.digits() as i64);
        flight.statement(
            "INSERT INTO due (lane, priority, due_at, message, account, expires_at, recipient)
             SELECT * FROM unnest($1::bigint[], $2::smallint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[])",
            values![
                new.iter().map(|(_, due)| due.lane).collect::<Vec<_>>(),
                new.iter().map(|(slot, _)| priority(slot)).collect::<Vec<_>>(),
                new.iter().map(|(_, due)| due.due_at).collect::<Vec<_>>(),
                new.iter().map(|(slot, _)| slot.message.id.key()).collect::<Vec<_>>(),
                new.iter().map(|(slot, _)| slot.message.account.key()).collect::<Vec<_>>(),
                new.iter().map(|(slot, due)| expires_at(slot, due)).collect::<Vec<_>>(),
                new.iter().map(|(slot, due)| recipient(slot, due)).collect::<Vec<_>>(),
            ],
        );
    }
}

async fn load_messages(sql: &Session, ids: &BTreeSet<i64>) -> Result<Vec<Row>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<i64> = ids.iter().copied().collect();
    sql.rows(concat!("SELECT ", columns!(), " FROM message m WHERE m.id = ANY ($1)"), &[&ids]).await
}

fn columns_of(forms: &BTreeSet<Form>) -> (Vec<i64>, Vec<std::borrow::Cow<'_, str>>) {
    forms.iter().map(|(connection, canonical)| (*connection, clean(canonical))).unzip()
}

/// The forms that rows were found under, by the number in their last column.
fn by_form(forms: &BTreeSet<Form>, rows: Vec<Row>) -> Result<Vec<(Form, Row)>> {
    let forms: Vec<&Form> = forms.iter().collect();
    rows.into_iter()
        .map(|row| {
            let n: i64 = cell(&row, row.len() - 1)?;
            let form = usize::try_from(n - 1).ok().and_then(|n| forms.get(n));
            Ok(((*form.ok_or_else(|| column::corrupt("number of a form", n))?).clone(), row))
        })
        .collect()
}

/// The segments under each form, and their messages.
async fn load_outstanding(sql: &Session, forms: &BTreeSet<Form>) -> Result<Vec<(Form, Row)>> {
    if forms.is_empty() {
        return Ok(Vec::new());
    }
    let (connections, canonicals) = columns_of(forms);
    let rows = sql
        .rows(
            concat!(
                "SELECT ",
                columns!(),
                ", NULL::text, o.segment, o.carrier_id, k.n
                 FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS k (connection, canonical, n)
                 CROSS JOIN LATERAL (SELECT x.message, x.segment, x.carrier_id FROM outstanding x
                   WHERE x.connection = k.connection AND x.canonical = k.canonical ORDER BY x.message, x.segment LIMIT 51) o
                 CROSS JOIN LATERAL (SELECT x.*, x.ctid FROM message x WHERE x.id = o.message LIMIT 1) m"
            ),
            &[&connections, &canonicals],
        )
        .await?;
    by_form(forms, rows)
}

async fn load_parked(sql: &Session, forms: &BTreeSet<Form>) -> Result<Vec<(Form, Parked)>> {
    if forms.is_empty() {
        return Ok(Vec::new());
    }
    let (connections, canonicals) = columns_of(forms);
    let rows = sql
        .rows(
            "SELECT p.receipt, p.parked_at, p.body, k.n
             FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS k (connection, canonical, n)
             CROSS JOIN LATERAL (SELECT x.receipt, x.parked_at, x.body FROM parked x
               WHERE x.connection = k.connection AND x.canonical = k.canonical ORDER BY x.receipt DESC LIMIT 200) p",
            &[&connections, &canonicals],
        )
        .await?;
    by_form(forms, rows)?
        .into_iter()
        .map(|(form, row)| {
            Ok((form, Parked { receipt: cell(&row, 0)?, parked_at: cell(&row, 1)?, body: cell(&row, 2)? }))
        })
        .collect()
}

async fn load_calls(sql: &Session, keys: &BTreeSet<[u8; 32]>) -> Result<Vec<Row>> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let keys: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
    sql.rows("SELECT key, fingerprint, answer FROM idempotency WHERE key = ANY ($1)", &[&keys]).await
}

impl Tx {
    /// Looks for a message that nobody named before. `false` if there is no such.
    async fn find_message(&mut self, id: MessageId) -> Result<bool> {
        let mut needs = Needs::default();
        needs.message(&self.sheets.messages, id);
        if !needs.is_empty() {
            self.sheets.messages.load(&self.sql, needs).await?;
        }
        Ok(self.sheets.messages.known(id).is_some())
    }

    async fn find_outstanding(&mut self, form: &Form) -> Result<Vec<(MessageId, u8, String)>> {
        let mut needs = Needs::default();
        needs.outstanding(&self.sheets.messages, form.clone());
        if !needs.is_empty() {
            self.sheets.messages.load(&self.sql, needs).await?;
        }
        Ok(self.sheets.messages.found_under(form))
    }

    /// The oldest receipts that were parked under this form since then.
    async fn find_parked(&mut self, form: &Form, since: Timestamp) -> Result<Vec<(i64, Receipt)>> {
        const PARKED_MAX: usize = 20;
        let mut needs = Needs::default();
        needs.parked(&self.sheets.messages, form.clone());
        if !needs.is_empty() {
            self.sheets.messages.load(&self.sql, needs).await?;
        }
        let sheet = &self.sheets.messages;
        let all = sheet.parked.get(form).into_iter().chain(sheet.parked_now.get(form)).flatten();
        let mut found: Vec<&Parked> = all
            .filter(|one| one.parked_at >= since.as_millis() && !sheet.unparked.contains(&one.receipt))
            .collect();
        found.sort_by_key(|one| one.receipt);
        found.into_iter().take(PARKED_MAX).map(|one| Ok((one.receipt, column::receipt(&one.body)?))).collect()
    }

    /// Keeps a receipt whose segment is not known, and forgets the oldest of its connection when that has too many. Gives
    /// the number of rows that were forgotten.
    async fn park(&mut self, connection: ConnectionId, receipt: &Receipt, now: Timestamp) -> Result<u64> {
        let number = self.next_id(now);
        let body = column::receipt_text(receipt);
        let mut rows = 0;
        for form in forms_of(connection, receipt) {
            let parked = Parked { receipt: number, parked_at: now.as_millis(), body: body.clone() };
            self.sheets.messages.parked_now.entry(form).or_default().push(parked);
            rows += 1;
        }
        let excess = self.note_parked(connection.key(), rows);
        if excess == 0 {
            return Ok(0);
        }
        self.settle().await?;
        // Without an index on the connection alone, the order of the receipts is the way to find them.
        let forgotten = self
            .sql
            .execute(
                "DELETE FROM parked WHERE ctid = ANY (ARRAY (
                   SELECT ctid FROM parked WHERE connection + 0 = $1 ORDER BY receipt LIMIT $2))",
                &[&connection.key(), &(excess.max(FORGOTTEN_AT_ONCE) as i64)],
            )
            .await?;
        self.note_unparked(connection.key(), forgotten as usize);
        Ok(forgotten)
    }

    /// Keeps a receipt that crashes whoever matches it: under a form that no carrier's id has, until its retention is
    /// over.
    fn park_unread(&mut self, connection: ConnectionId, receipt: &Receipt, now: Timestamp) {
        let number = self.next_id(now);
        let parked = Parked { receipt: number, parked_at: now.as_millis(), body: receipt.raw.clone() };
        let form = (connection.key(), "!".to_owned());
        self.sheets.messages.parked_now.entry(form).or_default().push(parked);
        self.note_parked(connection.key(), 1);
    }

    fn unpark(&mut self, connection: ConnectionId, number: i64, receipt: &Receipt) {
        if self.sheets.messages.unparked.insert(number) {
            self.note_unparked(connection.key(), forms_of(connection, receipt).count());
        }
    }
}

/// The form under which a receipt of a segment is expected: the carrier's id, or our own reference if it gave none.
fn expected_form(message: &Message, segment: u8, carrier_id: &str) -> String {
    match receipt::canonical(carrier_id) {
        form if form.is_empty() => reference_form(our_reference(message.id, segment)),
        form => form,
    }
}

fn reference_form(reference: u16) -> String {
    format!("~{reference}")
}

/// No canonical form of a carrier's id begins with it but one that a carrier chose to be difficult.
fn is_reference((_, form): &Form) -> bool {
    form.starts_with('~')
}

/// The forms under which the segment of a receipt may be kept, the likeliest first.
fn forms_of(connection: ConnectionId, receipt: &Receipt) -> impl Iterator<Item = Form> {
    let by_reference = receipt.our_reference.map(reference_form);
    receipt::lookups(receipt).into_iter().chain(by_reference).map(move |form| (connection.key(), form))
}

// ── accepting ───────────────────────────────────────────────────────────────────────────────────────────────

/// What an acceptance looks at.
pub(super) fn accept_needs(intake: &Intake, tx: &Tx, needs: &mut executor::Needs) {
    if let Some(idempotency) = &intake.idempotency {
        needs.messages.call(&tx.sheets.messages, idempotency.key);
    }
    for draft in &intake.drafts {
        needs.messages.message(&tx.sheets.messages, draft.message.id);
        needs.list.entry(&tx.sheets.list, draft.message.realm(), draft.message.recipient);
    }
}

pub(super) async fn accept(tx: &mut Tx, intake: &Intake, now: &Timestamp) -> Result<Accepted> {
    accept_with(tx, intake, Beside::Nothing, *now).await
}

/// Accepts messages; a single one may carry a code, be said in a conversation, or ask for consent.
pub(super) async fn accept_with(
    tx: &mut Tx,
    intake: &Intake,
    beside: Beside<'_>,
    now: Timestamp,
) -> Result<Accepted> {
    if let Some(idempotency) = &intake.idempotency {
        let mut needs = Needs::default();
        needs.call(&tx.sheets.messages, idempotency.key);
        if !needs.is_empty() {
            tx.sheets.messages.load(&tx.sql, needs).await?;
        }
        if let Some(Some(Answered { fingerprint, answer })) = tx.sheets.messages.calls.get(&idempotency.key) {
            let same = fingerprint[..] == idempotency.fingerprint;
            return Ok(if same { Accepted::Replayed(answer.clone()) } else { Accepted::KeyReused });
        }
    }
    if pool::is_moved(&tx.sql, &intake.drafts).await? {
        return Ok(Accepted::Moved);
    }
    let mut spending = spend::begin(&tx.sql, intake, now).await?;
    let mut admissions = Vec::with_capacity(intake.drafts.len());
    let mut last = 0;
    let retry = RetryPolicy::default();
    let mut commit = Commit::new(now, &retry, Jitter(0));
    for draft in &intake.drafts {
        let message = &draft.message;
        let listed = suppression::look(tx, message.realm(), message.recipient, now).await?;
        if let Some(reason) = gate::refuses_listed(message, listed, now) {
            admissions.push(Admission::Suppressed(reason));
            continue;
        }
        if let (Some(spending), Some(priced)) = (&mut spending, &draft.priced)
            && let Some(period) = spending.add(priced)
        {
            admissions.push(Admission::Overspent(period));
            continue;
        }
        // What is refused now is not for the key: time cures it.
        let refused = match beside {
            Beside::Nothing => None,
            Beside::Asking(_) => {
                consent_request::is_asked(&tx.sql, message, now).await?.then_some(Admission::Asked)
            }
            Beside::Code(sending) => code::admit(tx, draft, sending, now).await?.map(Admission::Refused),
            Beside::Saying(saying) => {
                let is_overtaken = conversation::is_overtaken(&tx.sql, message, saying).await?;
                is_overtaken.then_some(Admission::Overtaken)
            }
        };
        if let Some(refused) = refused {
            return Ok(Accepted::New(vec![refused], Box::default()));
        }
        insert(tx, draft, now).await?;
        let saying = match beside {
            Beside::Saying(saying) => Some(saying.clone()),
            Beside::Asking(asking) => {
                consent_request::insert(&tx.sql, &asking.request(message, now)).await?;
                None
            }
            Beside::Nothing => {
                consent_request::repeat(&tx.sql, message).await?;
                conversation::said_before(&tx.sql, message).await?
            }
            Beside::Code(_) => None,
        };
        if let Some(saying) = saying {
            conversation::add(tx, vec![Addition::of_message(message, &saying, now)]).await?;
        }
        if let Some(picked) = &draft.picked {
            commit.publish(tx, message, chosen_event(draft, picked, now));
        }
        if let Some(hold) = &draft.held {
            let held = Input::Held { attempt: draft.life.attempt, hold: hold.clone() };
            let apply = async |tx: &mut Tx| commit.apply(tx, message.id, held).await;
            tx.contain(message.id, apply).await?;
            commit.out.crashed = tx.set_aside();
        }
        last = last.max(message.id.key());
        admissions.push(Admission::Admitted);
    }
    let admitted = intake.drafts.iter().zip(&admissions).filter(|(_, what)| **what == Admission::Admitted);
    pool::note(&tx.sql, &admitted.map(|(draft, _)| draft).collect::<Vec<_>>(), now).await?;
    if let Some(spending) = spending.filter(|spending| spending.counted() > 0) {
        spend::write(&tx.sql, intake.realm.account, &spending, now).await?;
    }
    let sheet = &mut tx.sheets.messages;
    if let Some((id, asked)) = intake.batch {
        sheet.batches_now.push((id, intake.realm, now, asked, last));
    }
    if let Some(idempotency) = &intake.idempotency {
        let answer = (idempotency.answer)(&admissions);
        let answered = Answered { fingerprint: idempotency.fingerprint.to_vec(), answer: answer.clone() };
        sheet.calls.insert(idempotency.key, Some(answered));
        sheet.calls_now.push(Call {
            key: idempotency.key,
            account: intake.realm.account.key(),
            fingerprint: idempotency.fingerprint,
            answer,
            created_at: now.as_millis(),
        });
    }
    Ok(Accepted::New(admissions, Box::new(commit.out)))
}

// ── what happens ────────────────────────────────────────────────────────────────────────────────────────────

/// Whether a failure puts its recipient on the list.
fn suppresses(failure: &Failure) -> bool {
    failure.recovery() == Recovery::Suppress
}

/// What happenings look at. Whose the receipts are and where the messages stand is known only when they are loaded;
/// what follows from that is named then.
pub(super) fn advance_needs(happenings: &[Happening], tx: &Tx, needs: &mut executor::Needs) {
    for happening in happenings {
        let key = match happening {
            Happening::To { message, .. } => Key::from(*message),
            Happening::Receipt { receipt, .. } => Key::from(receipt),
        };
        tx.foresee(key, || happening_needs(happening, tx, needs));
    }
}

fn happening_needs(happening: &Happening, tx: &Tx, needs: &mut executor::Needs) {
    let sheet = &tx.sheets.messages;
    match happening {
        Happening::To { message, input } => {
            needs.messages.message(sheet, *message);
            let Some(slot) = sheet.known(*message) else { return };
            match input {
                Input::Answered { answer: Answer::Refused(failure), .. } if suppresses(failure) => {
                    needs.list.entry(&tx.sheets.list, slot.message.realm(), slot.message.recipient);
                }
                Input::Answered { segment, answer: Answer::Accepted { carrier_id }, .. }
                    if tx.may_be_parked() =>
                {
                    let form = expected_form(&slot.message, *segment, carrier_id);
                    needs.messages.parked(sheet, (slot.message.connection.key(), form));
                }
                Input::Answered { segment, answer: Answer::None, .. } if tx.may_be_parked() => {
                    let reference = reference_form(our_reference(*message, *segment));
                    needs.messages.parked(sheet, (slot.message.connection.key(), reference));
                }
                _ => {}
            }
        }
        Happening::Receipt { connection, receipt } => {
            let mut candidates = Vec::new();
            for form in forms_of(*connection, receipt) {
                if is_reference(&form) && receipt::choose(receipt, &candidates).is_some() {
                    break;
                }
                // Nearly always the likeliest form finds the segment, and the others need not be looked for.
                if !sheet.outstanding.contains_key(&form) {
                    needs.messages.outstanding(sheet, form);
                    break;
                }
                for (message, segment, carrier_id) in sheet.found_under(&form) {
                    let Some(slot) = sheet.known(message) else { continue };
                    let recipient = slot.message.recipient;
                    candidates.push(Candidate { message, segment, carrier_id, recipient });
                }
                if is_certain(receipt, &candidates) {
                    break;
                }
            }
            if receipt.outcome.as_ref().and_then(Outcome::failure).is_some_and(suppresses) {
                for slot in candidates.iter().filter_map(|candidate| sheet.known(candidate.message)) {
                    needs.list.entry(&tx.sheets.list, slot.message.realm(), slot.message.recipient);
                }
            }
        }
    }
}

/// The same text, and to the right recipient: no other form can fit better.
fn is_certain(receipt: &Receipt, candidates: &[Candidate]) -> bool {
    receipt::choose(receipt, candidates).is_some_and(|chosen| chosen.carrier_id == receipt.carrier_id)
}

pub(super) async fn advance(
    tx: &mut Tx,
    happenings: &[Happening],
    now: &Timestamp,
    rules: &Patience,
) -> Result<Advanced> {
    let mut commit = Commit::new(*now, &rules.retry, rules.jitter);
    for happening in happenings {
        let status = match happening {
            Happening::To { message, input } => {
                let apply = async |tx: &mut Tx| commit.apply(tx, *message, input.clone()).await;
                tx.contain(*message, apply).await?.flatten()
            }
            Happening::Receipt { connection, receipt } => {
                let handle = async |tx: &mut Tx| commit.receipt(tx, *connection, receipt).await;
                match tx.contain(receipt, handle).await? {
                    Some(status) => status,
                    None => {
                        tx.park_unread(*connection, receipt, *now);
                        commit.out.parked += 1;
                        None
                    }
                }
            }
        };
        commit.out.statuses.push(status);
    }
    commit.out.crashed = tx.set_aside();
    Ok(commit.out)
}

/// One operation's work on messages, with what it brings about.
struct Commit<'a> {
    now: Timestamp,
    retry: &'a RetryPolicy,
    jitter: Jitter,
    out: Advanced,
}

impl<'a> Commit<'a> {
    fn new(now: Timestamp, retry: &'a RetryPolicy, jitter: Jitter) -> Self {
        Self { now, retry, jitter, out: Advanced::default() }
    }

    /// Each decision of a commit gets another number, spread from the one that was drawn for it.
    fn rules(&mut self) -> Rules<'a> {
        self.jitter = self.jitter.next();
        Rules { retry: self.retry, jitter: self.jitter }
    }

    async fn apply(&mut self, tx: &mut Tx, id: MessageId, input: Input) -> Result<Option<Status>> {
        if !tx.find_message(id).await? {
            self.out.ignored += 1;
            return Ok(None);
        }
        self.apply_to(tx, id, input).await
    }

    /// To a message that was found.
    async fn apply_to(&mut self, tx: &mut Tx, id: MessageId, input: Input) -> Result<Option<Status>> {
        let sheet = &mut tx.sheets.messages;
        let slot = sheet.slot(id);
        if slot.due.is_none() && matches!(slot.life.state, State::Unconfirmed { .. }) {
            // The time in which that could be corrected is over.
            self.out.ignored += 1;
            return Ok(None);
        }
        let message = Arc::clone(&slot.message);
        poison::taste("decide", || message.reference.as_deref());
        if matches!(input, Input::Answered { .. }) {
            poison::taste("answer", || message.reference.as_deref());
        }
        let accepted = match &input {
            Input::Answered { segment, answer: Answer::Accepted { carrier_id }, .. } => {
                Some((*segment, expected_form(&message, *segment, carrier_id), carrier_id.clone()))
            }
            _ => None,
        };
        let is_open = slot.life.state.wakes_at().is_some();
        let rules = self.rules();
        let transition = slot.life.apply(input, message.terms(), self.now, rules);
        if let Some((segment, form, carrier_id)) = &accepted {
            // Also when the answer is too late to change anything: a receipt with this id may come.
            if is_open {
                sheet.expect_receipt(&message, *segment, form.clone(), carrier_id.clone());
            }
        }
        let Ok(transition) = transition else {
            self.out.ignored += 1;
            return Ok(None);
        };
        let mut status = transition.life.state.status();
        let mut forms = Vec::new();
        let mut submitted_at = message.created_at;
        if tx.any_parked() {
            let before = &tx.sheets.messages.slot(id).life;
            // A receipt that came before the submission is not about it: carriers repeat receipts and use ids again.
            if let State::Sending { until } = before.state {
                submitted_at = until.plus_ms(-LEASE_MS - CLOCK_SLACK_MS);
            }
            // A receipt may have come before this: under the id that is known only now, or, where the answer is lost,
            // under our own reference.
            forms.extend(accepted.map(|(_, form, _)| form));
            for n in newly_unanswered(before, &transition.life) {
                forms.push(reference_form(our_reference(id, n)));
            }
        }
        self.write(tx, id, transition.life, transition.effects).await?;
        let connection = message.connection;
        for form in forms {
            for (number, receipt) in tx.find_parked(&(connection.key(), form), submitted_at).await? {
                if let Some((whose, after)) = Box::pin(self.match_receipt(tx, connection, &receipt)).await? {
                    tx.unpark(connection, number, &receipt);
                    // It may have become certain that it is another's.
                    if whose == id {
                        status = after.unwrap_or(status);
                    }
                }
            }
        }
        Ok(Some(status))
    }

    async fn write(&mut self, tx: &mut Tx, id: MessageId, life: Life, effects: Vec<Effect>) -> Result<()> {
        let now = self.now;
        let sheet = &mut tx.sheets.messages;
        let slot = sheet.slot(id);
        let message = Arc::clone(&slot.message);
        let wanted = due_row(&message, &life.state);
        let stood = queue_of(slot.due);
        match (slot.due, wanted) {
            // A row that is due too early is moved when its time comes: most messages have ended by then.
            (Some(old), Some(new))
                if old.lane == new.lane && new.lane == LOOK_AGAIN && new.due_at >= old.due_at => {}
            (Some(old), Some(new)) if old == new => {}
            (_, new) => {
                slot.due = new;
                if let Some(new) = new.filter(|new| new.lane != LOOK_AGAIN) {
                    self.out.queued.push((message.connection, Timestamp::from_millis(new.due_at)));
                }
            }
        }
        let failure = effects.iter().rev().find_map(|effect| match effect {
            Effect::Publish(event) => Some(event.failure.as_ref().map(column::failure_text)),
            Effect::Suppress(_) | Effect::Review(_) | Effect::PauseConnection(_) => None,
        });
        if let Some(failure) = failure {
            slot.failure = failure;
        }
        slot.updated_at = now;
        slot.changed = true;
        let before = std::mem::replace(&mut slot.life, life.clone());
        let change = match (stood, queue_of(slot.due)) {
            (Some(_), None) => -1,
            (None, Some(_)) => 1,
            (Some(_), Some(_)) | (None, None) => 0,
        };
        for n in newly_unanswered(&before, &life) {
            // No id was given; a receipt that names our own reference may still settle it.
            sheet.expect_receipt(&message, n, reference_form(our_reference(id, n)), String::new());
        }
        if life.state.wakes_at().is_none() && before.state.wakes_at().is_some() {
            for (n, segment) in before.segments.iter().zip(&life.segments).enumerate() {
                if let Some(carrier_id) = segment.1.carrier_id().or(segment.0.carrier_id()) {
                    sheet.forget_receipt(&message, n as u8, expected_form(&message, n as u8, carrier_id));
                }
            }
        }
        if is_lost(life.state.status()) && !is_lost(before.state.status()) {
            sheet.lost.push(id.key());
        }
        if change != 0 {
            tx.waits(&message, change);
        }
        for effect in effects {
            match effect {
                Effect::Publish(event) => self.publish(tx, &message, event),
                Effect::Suppress(failure) => suppression::from_failure(tx, &message, &failure, now).await?,
                Effect::Review(failure) => review::open(tx, &message, &failure, now),
                Effect::PauseConnection(failure) => self.out.paused.push((message.connection, failure)),
            }
        }
        Ok(())
    }

    fn publish(&mut self, tx: &mut Tx, message: &Message, event: Event) {
        self.out.counted.push(Counted::of(message, &event));
        let listeners = tx.listeners();
        publish(tx, &listeners, message, event, &mut self.out.told);
    }

    async fn receipt(
        &mut self,
        tx: &mut Tx,
        connection: ConnectionId,
        receipt: &Receipt,
    ) -> Result<Option<Status>> {
        match self.match_receipt(tx, connection, receipt).await? {
            Some((_, status)) => Ok(status),
            None => {
                self.out.forgotten += tx.park(connection, receipt, self.now).await?;
                self.out.parked += 1;
                Ok(None)
            }
        }
    }

    /// Applies a receipt to the segment it speaks of, and gives its message with where that stands then (`None` if it
    /// was ignored). The outer `None` says that no segment is certain.
    async fn match_receipt(
        &mut self,
        tx: &mut Tx,
        connection: ConnectionId,
        receipt: &Receipt,
    ) -> Result<Option<(MessageId, Option<Status>)>> {
        let mut candidates: Vec<Candidate> = Vec::new();
        for form in forms_of(connection, receipt) {
            // Our reference has sixteen bits, and another message may have the same: it is asked where the id says nothing.
            if is_reference(&form) && receipt::choose(receipt, &candidates).is_some() {
                break;
            }
            let found = tx.find_outstanding(&form).await?;
            if found.len() > CANDIDATES_MAX {
                // Not all are looked at, so none of them is certain.
                return Ok(None);
            }
            for (message, segment, carrier_id) in found {
                // Found by its id and by our reference: that is one segment, not two to choose from.
                if candidates.iter().any(|known| (known.message, known.segment) == (message, segment)) {
                    continue;
                }
                if !tx.find_message(message).await? {
                    continue;
                }
                let recipient = tx.sheets.messages.slot(message).message.recipient;
                candidates.push(Candidate { message, segment, carrier_id, recipient });
            }
            if is_certain(receipt, &candidates) {
                break;
            }
        }
        let Some(chosen) = receipt::choose(receipt, &candidates).cloned() else { return Ok(None) };
        let input = Input::Receipt {
            segment: chosen.segment,
            carrier_id: if chosen.carrier_id.is_empty() {
                receipt.carrier_id.clone()
            } else {
                chosen.carrier_id
            },
            outcome: receipt.outcome.clone(),
            raw: receipt.raw.clone(),
        };
        Ok(Some((chosen.message, self.apply_to(tx, chosen.message, input).await?)))
    }

    /// Moves a row that was due too early to the moment the message really waits for.
    fn move_due(&mut self, tx: &mut Tx, id: MessageId, at: Timestamp) {
        let slot = tx.sheets.messages.slot(id);
        slot.due = Some(Due { lane: LOOK_AGAIN, due_at: at.as_millis() });
        slot.changed = true;
    }
}

/// The segments whose answer is lost only now.
fn newly_unanswered(before: &Life, after: &Life) -> Vec<u8> {
    let pairs = before.segments.iter().zip(&after.segments).enumerate();
    pairs
        .filter(|(_, (before, after))| **after == Segment::Unanswered && **before != Segment::Unanswered)
        .map(|(n, _)| n as u8)
        .collect()
}

/// Notes the event, and a delivery for everybody who wants to hear of it.
pub(super) fn publish(
    tx: &mut Tx,
    listeners: &Listeners,
    message: &Message,
    event: Event,
    told: &mut Vec<Told>,
) {
    let id = EventId::from_key(tx.next_event(event.at));
    let realm = message.realm();
    if event.kind.is_public() {
        for endpoint in listeners.of(realm, event.kind, message.callback) {
            let delivery = tx.sheets.events.lease_first(id, endpoint, realm, event.at);
            let about = About::Message(Box::new(Message { text: None, ..message.clone() }));
            told.push(Told { id, realm, event: event.clone(), about, delivery: Some(delivery) });
        }
    }
    tx.sheets.events.log(id, realm, Some(message.id), None, event);
}

// ── the queue and the clock ─────────────────────────────────────────────────────────────────────────────────

pub(super) async fn claim(
    tx: &mut Tx,
    connection: &ConnectionId,
    limit: &usize,
    now: &Timestamp,
) -> Result<Claimed> {
    let retry = RetryPolicy::default();
    let mut commit = Commit::new(*now, &retry, Jitter(0));
    let mut claimed = Claimed::default();
    let mut room = *limit;
    let mut ended = 0;
    'steps: while room > 0 {
        if ended >= ENDED_MAX {
            claimed.more = true;
            break;
        }
        // A claim for one place must not read a thousand rows, but where messages end, the next will end too.
        let step = if ended > 0 { STEP_MAX } else { room.min(STEP_MAX) } + tx.set_aside().len();
        let (found, due) = first_due(tx, *connection, *now, step).await?;
        ended += found - due.len();
        for id in due {
            if room == 0 {
                break 'steps;
            }
            let most = if claimed.tickets.is_empty() { usize::MAX } else { room };
            match tx.contain(id, async |tx: &mut Tx| commit.claim_one(tx, id, most).await).await? {
                Some(Claim::Taken(ticket)) => {
                    room = room.saturating_sub(ticket.segments.len());
                    claimed.tickets.push(*ticket);
                }
                Some(Claim::Ended) => ended += 1,
                Some(Claim::Damaged) => {
                    // Its row is not where the message says, perhaps, and would be found again by each step.
                    take_from_lane(tx, *connection, id).await?;
                    ended += 1;
                }
                Some(Claim::TooLarge) => {
                    claimed.more = true;
                    break 'steps;
                }
                // Set aside. Its row is found again by each step.
                None => {}
            }
        }
        if found < step {
            break;
        }
        tx.settle().await?;
    }
    claimed.more |= room == 0;
    commit.out.crashed = tx.set_aside();
    claimed.advanced = commit.out;
    Ok(claimed)
}

/// What became of a message in the queue.
enum Claim {
    Taken(Box<Ticket>),
    /// Its time was over.
    Ended,
    /// What is stored of it cannot be trusted.
    Damaged,
    /// It has more segments than there is room for.
    TooLarge,
}

impl Commit<'_> {
    /// Claims a message that was found in its queue.
    async fn claim_one(&mut self, tx: &mut Tx, id: MessageId, room: usize) -> Result<Claim> {
        if tx.sheets.messages.slot(id).damaged {
            tracing::error!(message = %id, "what is stored of a message is not what was accepted; it is not sent");
            self.apply_to(tx, id, Input::Quarantined(damaged())).await?;
            return Ok(Claim::Damaged);
        }
        let slot = tx.sheets.messages.slot(id);
        let segments = waiting_segments(&slot.life);
        if segments.len() > room {
            return Ok(Claim::TooLarge);
        }
        let message = Arc::clone(&slot.message);
        poison::taste("claim", || message.reference.as_deref());
        // Going on would find the same row again and again.
        let Ok(transition) = slot.life.apply(Input::Claimed, message.terms(), self.now, self.rules()) else {
            return Err(column::corrupt("message in its queue", id));
        };
        let attempt = transition.life.attempt;
        let taken = matches!(transition.life.state, State::Sending { .. });
        self.write(tx, id, transition.life, transition.effects).await?;
        let message = Message::clone(&message);
        Ok(if taken { Claim::Taken(Box::new(Ticket { message, attempt, segments })) } else { Claim::Ended })
    }

    /// The moment of a message may have come.
    async fn look_at(&mut self, tx: &mut Tx, id: MessageId) -> Result<()> {
        let Some(slot) = tx.sheets.messages.known(id) else { return Ok(()) };
        match slot.life.state.wakes_at() {
            Some(at) if at > self.now && !slot.life.state.is_waiting() => self.move_due(tx, id, at),
            Some(_) => {
                let late = matches!(slot.life.state, State::Unconfirmed { .. });
                let status = self.apply_to(tx, id, Input::TimeUp).await?;
                if status.is_none() && late {
                    // The time for a late receipt is over: nothing more is expected.
                    end_waiting(&mut tx.sheets.messages, id);
                }
            }
            None => {}
        }
        Ok(())
    }
}

/// The segments that a claim submits.
fn waiting_segments(life: &Life) -> Vec<u8> {
    (0..life.segments.len()).filter(|&n| life.segments[n] == Segment::Waiting).map(|n| n as u8).collect()
}

/// Takes a row out of a queue when its message cannot say where it is. Reads the queue up to it.
async fn take_from_lane(tx: &Tx, lane: ConnectionId, id: MessageId) -> Result<()> {
    let sql = "DELETE FROM due WHERE lane = $1 AND priority = ANY ($2) AND message = $3";
    tx.sql.execute(sql, &[&lane.key(), &priorities(), &id.key()]).await.map(drop)
}

/// The first messages of a connection's queue, with their texts: the number of rows that were found, and the messages
/// that could be read. The others are taken out. The sheets must be settled.
async fn first_due(
    tx: &mut Tx,
    connection: ConnectionId,
    now: Timestamp,
    limit: usize,
) -> Result<(usize, Vec<MessageId>)> {
    let look = tx.fronts().look();
    let fronts = fronts_of(&look, connection.key());
    let rows = tx
        .sql
        .rows(
            concat!(
                "SELECT ",
                columns!(),
                ", m.text, d.message, d.priority, d.due_at FROM (
                   SELECT w.priority, w.due_at, w.message FROM unnest($4::smallint[], $5::bigint[]) AS p (priority, front)
                   CROSS JOIN LATERAL (SELECT x.priority, x.due_at, x.message FROM due x
                     WHERE x.lane = $1 AND x.priority = p.priority AND x.due_at >= p.front AND x.due_at <= $2
                     ORDER BY x.due_at, x.message LIMIT $3) w
                   ORDER BY w.priority, w.due_at, w.message LIMIT $3) d
                 LEFT JOIN LATERAL (SELECT x.*, x.ctid FROM message x WHERE x.id = d.message LIMIT 1) m ON true
                 ORDER BY d.priority, d.due_at, d.message"
            ),
            &[&connection.key(), &now.as_millis(), &(limit as i64), &priorities(), &fronts],
        )
        .await?;
    found_due(&look, connection.key(), &rows, (TEXT + 2, TEXT + 3), limit, now)?;
    drop(look);
    let mut readable = Vec::with_capacity(rows.len());
    for row in &rows {
        let id = MessageId::from_key(cell(row, TEXT + 1)?);
        let is_stored = cell::<Option<i64>>(row, 0)?.is_some();
        match cell(row, TEXT).and_then(|text| slot(row, text)) {
            Ok(slot) => readable.push((id, slot)),
            Err(Error::Corrupt(why)) => {
                tracing::error!(message = %id, is_stored, why, "a message cannot be read; it is not sent");
                take_out(tx, id).await?;
                take_from_lane(tx, connection, id).await?;
            }
            Err(error) => return Err(error),
        }
    }
    let mut ids = Vec::with_capacity(readable.len());
    for (id, slot) in readable {
        tx.sheets.messages.remember(slot);
        ids.push(id);
    }
    Ok((rows.len(), ids))
}

pub(super) async fn wake(tx: &mut Tx, limit: &usize, now: &Timestamp, rules: &Patience) -> Result<Advanced> {
    let mut commit = Commit::new(*now, &rules.retry, rules.jitter);
    let (most, urgent, millis) = (*limit as i64, priorities(), now.as_millis());
    let look = tx.fronts().look();
    let (fronts, expiry) = (fronts_of(&look, LOOK_AGAIN), look.front(Queue::Expiry));
    let (of_due, of_over): ([Value<'_>; 4], [Value<'_>; 3]) =
        ([&millis, &most, &urgent, &fronts], [&millis, &most, &expiry]);
    let (due, over) = tokio::try_join!(
        tx.sql.rows(
            "SELECT w.message, w.priority, w.due_at FROM unnest($3::smallint[], $4::bigint[]) AS p (priority, front)
             CROSS JOIN LATERAL (SELECT x.priority, x.due_at, x.message FROM due x
               WHERE x.lane = 0 AND x.priority = p.priority AND x.due_at >= p.front AND x.due_at <= $1
               ORDER BY x.due_at, x.message LIMIT $2) w
             ORDER BY w.priority, w.due_at, w.message LIMIT $2",
            &of_due,
        ),
        tx.sql.rows(
            "SELECT message, expires_at FROM due WHERE expires_at IS NOT NULL AND expires_at >= $3 AND expires_at <= $1
             ORDER BY expires_at, lane, priority, due_at, message LIMIT $2",
            &of_over,
        ),
    )?;
    found_due(&look, LOOK_AGAIN, &due, (1, 2), *limit, *now)?;
    let first = over.first().map(|row| cell(row, 1)).transpose()?;
    look.found(Queue::Expiry, Some(first.unwrap_or(millis + 1)));
    drop(look);
    commit.out.more = due.len() + over.len() >= *limit;
    let ids = |rows: &[Row]| -> Result<Vec<MessageId>> {
        rows.iter().map(|row| cell(row, 0).map(MessageId::from_key)).collect()
    };
    let (mut due, over) = (ids(&due)?, ids(&over)?);
    // A long queue of the one kind leaves half of every commit to the other.
    due.truncate(limit.saturating_sub(over.len()).max(*limit / 2));
    due.extend(over.into_iter().take(*limit - due.len()));
    look_at(tx, &due).await?;
    for id in due {
        tx.contain(id, async |tx: &mut Tx| commit.look_at(tx, id).await).await?;
    }
    commit.out.crashed = tx.set_aside();
    Ok(commit.out)
}

/// Where a lane begins, by the priorities.
fn fronts_of(look: &Look<'_>, lane: i64) -> Vec<i64> {
    priorities().into_iter().map(|priority| look.front(Queue::Lane(lane, priority))).collect()
}

/// Notes where a lane begins after a look at what is due in it, the most urgent first. The rows have their priorities
/// and due times in these columns. Where the limit cut off, nothing is known of what is less urgent.
fn found_due(
    look: &Look<'_>,
    lane: i64,
    rows: &[Row],
    (of_priority, of_due): (usize, usize),
    limit: usize,
    now: Timestamp,
) -> Result<()> {
    let mut first: BTreeMap<i16, i64> = BTreeMap::new();
    let mut last = i16::MAX;
    for row in rows {
        last = cell(row, of_priority)?;
        first.entry(last).or_insert(cell(row, of_due)?);
    }
    let seen = if rows.len() < limit { i16::MAX } else { last };
    for priority in priorities().into_iter().filter(|priority| *priority <= seen) {
        let at = first.get(&priority).copied().unwrap_or(now.as_millis() + 1);
        look.found(Queue::Lane(lane, priority), Some(at));
    }
    Ok(())
}

/// Loads messages that somebody found by a query.
async fn look_at(tx: &mut Tx, ids: &[MessageId]) -> Result<()> {
    let mut needs = Needs::default();
    for id in ids {
        needs.message(&tx.sheets.messages, *id);
    }
    tx.sheets.messages.load(&tx.sql, needs).await
}

fn end_waiting(sheet: &mut Sheet, id: MessageId) {
    let slot = sheet.slot(id);
    let message = Arc::clone(&slot.message);
    let segments = slot.life.segments.clone();
    slot.due = None;
    slot.life.state = State::Unconfirmed { until: Timestamp::from_millis(0) };
    slot.changed = true;
    for (n, segment) in segments.iter().enumerate() {
        let n = n as u8;
        if let Some(carrier_id) = segment.carrier_id() {
            sheet.forget_receipt(&message, n, receipt::canonical(carrier_id));
        }
        sheet.forget_receipt(&message, n, reference_form(our_reference(id, n)));
    }
}

pub(super) async fn recover(
    tx: &mut Tx,
    connection: &Option<ConnectionId>,
    limit: &usize,
    now: &Timestamp,
    rules: &Patience,
) -> Result<Advanced> {
    if let Some(connection) = connection {
        node::check_owner(tx, *connection).await?;
    }
    let mut commit = Commit::new(*now, &rules.retry, rules.jitter);
    // A claim's row in `due` stands at the end of its lease from the claim to the answer. So the claims of an earlier
    // process lie below this moment, and what waits for receipts, which may be millions, lies mostly above it.
    let leases_end = now.plus_ms(LEASE_MS + CLOCK_BACK_MS).as_millis();
    let sending = column::status_number(Status::Sending) as i16;
    let rows = tx
        .sql
        .rows(
            "SELECT w.message FROM unnest($4::smallint[]) AS p (priority)
             CROSS JOIN LATERAL (SELECT d.priority, d.due_at, d.message FROM due d
               CROSS JOIN LATERAL (SELECT 1 FROM message m WHERE m.id = d.message AND m.state = $2
                 AND ($5::bigint IS NULL OR m.connection = $5) LIMIT 1) claimed
               WHERE d.lane = 0 AND d.priority = p.priority AND d.due_at <= $1 ORDER BY d.due_at, d.message LIMIT $3) w
             ORDER BY w.priority, w.due_at, w.message LIMIT $3",
            &[&leases_end, &sending, &(*limit as i64), &priorities(), &connection.map(ConnectionId::key)],
        )
        .await?;
    let claimed: Vec<MessageId> =
        rows.iter().map(|row| cell(row, 0).map(MessageId::from_key)).collect::<Result<_>>()?;
    commit.out.more = claimed.len() >= *limit;
    look_at(tx, &claimed).await?;
    for id in claimed {
        let apply = async |tx: &mut Tx| commit.apply(tx, id, Input::Orphaned).await;
        let status = tx.contain(id, apply).await?.flatten();
        commit.out.statuses.push(status);
    }
    commit.out.crashed = tx.set_aside();
    Ok(commit.out)
}

pub(super) async fn quarantine(
    tx: &mut Tx,
    messages: &[MessageId],
    why: &Failure,
    now: &Timestamp,
) -> Result<Advanced> {
    let retry = RetryPolicy::default();
    let mut commit = Commit::new(*now, &retry, Jitter(0));
    for &id in messages {
        let apply = async |tx: &mut Tx| commit.apply(tx, id, Input::Quarantined(why.clone())).await;
        let status = tx.contain(id, apply).await?.flatten();
        if status.is_none() {
            take_out(tx, id).await?;
        }
        commit.out.statuses.push(status);
    }
    Ok(commit.out)
}

/// Takes a message out of every queue without a look at anything else of it: there is no event, and nobody is told.
async fn take_out(tx: &mut Tx, id: MessageId) -> Result<()> {
    tx.settle().await?;
    let found = tx
        .sql
        .row(
            "SELECT lane, purpose, due_at, account FROM message WHERE id = $1 AND lane IS NOT NULL",
            &[&id.key()],
        )
        .await?;
    let Some(row) = found else { return Ok(()) };
    let (lane, priority): (i64, i16) = (cell(&row, 0)?, cell(&row, 1)?);
    let (due_at, account): (i64, i64) = (cell(&row, 2)?, cell(&row, 3)?);
    tx.sql
        .execute(
            "DELETE FROM due WHERE lane = $1 AND priority = $2 AND due_at = $3 AND message = $4",
            &[&lane, &priority, &due_at, &id.key()],
        )
        .await?;
    // What was told as final stays; what was handed over may be at the carrier.
    let number = |status| column::status_number(status) as i16;
    let at_home = vec![number(Status::Scheduled), number(Status::Queued)];
    let away = vec![number(Status::Sending), number(Status::Sent), column::DOUBTFUL as i16];
    tx.sql
        .execute(
            "UPDATE message SET state = CASE WHEN state = ANY ($2) THEN $3 WHEN state = ANY ($4) THEN $5 ELSE state END,
               until = NULL, lane = NULL, due_at = NULL WHERE id = $1",
            &[&id.key(), &at_home, &number(Status::Failed), &away, &number(Status::Unconfirmed)],
        )
        .await?;
    let purpose = u8::try_from(priority).ok().and_then(Purpose::from_priority);
    if let Some(purpose) = purpose.filter(|_| lane != LOOK_AGAIN) {
        tx.waits_of(AccountId::from_key(account), purpose, -1);
    }
    tracing::error!(message = %id, "it could not even be set aside, and was taken out of its queue as it is");
    Ok(())
}

pub(super) async fn waiting(tx: &mut Tx) -> Result<Arc<Waiting>> {
    tx.waiting().await
}

/// Counts what stands in the queues.
pub(super) async fn count_waiting(sql: &Session) -> Result<BTreeMap<AccountId, ByPurpose>> {
    let rows = sql
        .rows("SELECT account, priority, count(*) FROM due WHERE lane > 0 GROUP BY account, priority", &[])
        .await?;
    let mut counts: BTreeMap<AccountId, ByPurpose> = BTreeMap::new();
    for row in &rows {
        let priority: i16 = cell(row, 1)?;
        let purpose = u8::try_from(priority).ok().and_then(Purpose::from_priority);
        let purpose = purpose.ok_or_else(|| column::corrupt("purpose", priority))?;
        let of_account = counts.entry(AccountId::from_key(cell(row, 0)?)).or_default();
        of_account[usize::from(purpose.priority())] += cell::<i64>(row, 2)? as u64;
    }
    Ok(counts)
}

pub(super) async fn next_due(
    rx: &Rx<'_>,
    connection: &Option<ConnectionId>,
    now: &Timestamp,
) -> Result<Option<Timestamp>> {
    let lane = connection.map_or(LOOK_AGAIN, ConnectionId::key);
    let look = rx.fronts.look();
    let (urgent, fronts) = (priorities(), fronts_of(&look, lane));
    let expiry = connection.is_none().then(|| look.front(Queue::Expiry));
    let rows = rx
        .sql
        .rows(
            "SELECT p.priority::integer, (SELECT x.due_at FROM due x WHERE x.lane = $1 AND x.priority = p.priority
               AND x.due_at >= p.front ORDER BY x.due_at LIMIT 1) FROM unnest($2::smallint[], $3::bigint[]) AS p (priority, front)
             UNION ALL SELECT -1, (SELECT expires_at FROM due WHERE expires_at IS NOT NULL AND expires_at >= $4
               ORDER BY expires_at LIMIT 1) WHERE $4::bigint IS NOT NULL
             UNION ALL SELECT -2, (SELECT due_at FROM inbound WHERE due_at IS NOT NULL ORDER BY due_at LIMIT 1)
               WHERE $4::bigint IS NOT NULL",
            &[&lane, &urgent, &fronts, &expiry],
        )
        .await?;
    let mut earliest: Option<i64> = None;
    for row in &rows {
        let (priority, at): (i32, Option<i64>) = (cell(row, 0)?, cell(row, 1)?);
        match priority {
            // Messages of people that wait for parts: few, and in no queue.
            -2 => {}
            -1 => look.found(Queue::Expiry, at),
            _ => look.found(Queue::Lane(lane, priority as i16), at),
        }
        earliest = [earliest, at].into_iter().flatten().min();
    }
    Ok(earliest.map(|at| Timestamp::from_millis(at).max(*now)))
}

// ── what follows for who is on the suppression list ─────────────────────────────────────────────────────────

pub(super) async fn stop_waiting(
    tx: &mut Tx,
    people: &[(Realm, PhoneNumber)],
    limit: &usize,
    now: &Timestamp,
) -> Result<Advanced> {
    // For most people nothing waits: one question finds out for whom something does.
    let digits: Vec<i64> = people.iter().map(|(_, recipient)| recipient.digits() as i64).collect();
    let rows = tx
        .sql
        .rows(
            "SELECT p.recipient FROM unnest($1::bigint[]) AS p (recipient)
             WHERE EXISTS (SELECT 1 FROM due d WHERE d.recipient = p.recipient)",
            &[&digits],
        )
        .await?;
    let waited_for = rows.iter().map(|row| cell::<i64>(row, 0)).collect::<Result<BTreeSet<_>>>()?;
    let mut out = Advanced::default();
    for (realm, recipient) in people {
        if !waited_for.contains(&(recipient.digits() as i64)) {
            continue;
        }
        let left = limit.saturating_sub(out.counted.len());
        if left == 0 {
            out.more = true;
            break;
        }
        if let Some(why) = suppression::standing(tx, *realm, *recipient, *now).await? {
            // What the people before brought about must be found where it is looked for.
            tx.settle().await?;
            out.add(end_waiting_for(tx, *realm, *recipient, why, left, *now).await?);
        }
    }
    out.crashed = tx.set_aside();
    Ok(out)
}

/// Ends up to `limit` messages that wait in a queue for somebody who is on the list, but what may pass all the same. One
/// that crashes is left, and met again when it comes up. The sheets must be settled.
pub(super) async fn end_waiting_for(
    tx: &mut Tx,
    realm: Realm,
    recipient: PhoneNumber,
    why: Reason,
    limit: usize,
    now: Timestamp,
) -> Result<Advanced> {
    let retry = RetryPolicy::default();
    let mut commit = Commit::new(now, &retry, Jitter(0));
    let rows = tx
        .sql
        .rows(
            "SELECT message FROM due WHERE recipient = $1 ORDER BY message LIMIT $2",
            &[&(recipient.digits() as i64), &(limit as i64)],
        )
        .await?;
    let mut needs = Needs::default();
    let mut waiting = Vec::with_capacity(rows.len());
    for row in &rows {
        let id = MessageId::from_key(cell(row, 0)?);
        needs.message(&tx.sheets.messages, id);
        waiting.push(id);
    }
    tx.sheets.messages.load(&tx.sql, needs).await?;
    for id in waiting {
        let Some(slot) = tx.sheets.messages.known(id) else { continue };
        if slot.message.realm() == realm && why.stops(slot.message.reply, slot.message.created_at, now) {
            let end = async |tx: &mut Tx| commit.apply(tx, id, Input::Stopped(why.failure())).await;
            tx.contain(id, end).await?;
        }
    }
    // Where none of them ended, the same call would find the same.
    commit.out.more = rows.len() == limit && !commit.out.counted.is_empty();
    commit.out.crashed = tx.set_aside();
    Ok(commit.out)
}

/// Puts a message into its connection's queue without a look at the suppression list.
pub(super) async fn enqueue(tx: &mut Tx, draft: &Draft, now: Timestamp, out: &mut Advanced) -> Result<()> {
    insert(tx, draft, now).await?;
    out.queued.extend(draft.life.state.wakes_at().map(|at| (draft.message.connection, at)));
    Ok(())
}

async fn insert(tx: &mut Tx, Draft { message, life, .. }: &Draft, now: Timestamp) -> Result<()> {
    if tx.find_message(message.id).await? {
        return Err(Error::Conflict(format!("there is a message {} already", message.id)));
    }
    let new = Slot {
        message: Arc::new(message.clone()),
        life: life.clone(),
        failure: None,
        updated_at: now,
        due: due_row(message, &life.state),
        stored: None,
        changed: true,
        damaged: false,
    };
    tx.sheets.messages.slots.insert(message.id, Some(new));
    if life.state.is_waiting() {
        tx.waits(message, 1);
    }
    Ok(())
}

// ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────

/// What never changes of messages, for telling events about them.
pub(super) async fn unchanging(
    sql: &Session,
    ids: &BTreeSet<i64>,
) -> Result<HashMap<MessageId, Arc<Message>>> {
    let rows = load_messages(sql, ids).await?;
    rows.iter().map(|row| slot(row, None).map(|slot| (slot.message.id, slot.message))).collect()
}

pub(super) async fn message(rx: &Rx<'_>, realm: &Realm, id: &MessageId) -> Result<Option<Stored>> {
    find(rx.sql, *realm, *id).await
}

async fn find(sql: &Session, realm: Realm, id: MessageId) -> Result<Option<Stored>> {
    let row = sql
        .row(concat!("SELECT ", columns!(), ", m.text FROM message m WHERE m.id = $1"), &[&id.key()])
        .await?;
    let Some(row) = row else { return Ok(None) };
    let stored = stored(&row)?;
    let owner = stored.message.realm();
    Ok((owner == realm).then_some(stored))
}

/// Messages by their ids.
pub(super) async fn find_all(sql: &Session, realm: Realm, ids: &[i64]) -> Result<HashMap<MessageId, Stored>> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sql
        .rows(concat!("SELECT ", columns!(), ", m.text FROM message m WHERE m.id = ANY ($1)"), &[&ids])
        .await?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in &rows {
        let stored = stored(row)?;
        if stored.message.realm() == realm {
            found.insert(stored.message.id, stored);
        }
    }
    Ok(found)
}

/// Rows that one page may look at: a filter that fits nothing must not read the whole history at once.
const SCAN_MAX: i64 = 50_000;

pub(super) async fn messages(
    rx: &Rx<'_>,
    realm: &Realm,
    filter: &MessageFilter,
    page: &Page,
) -> Result<Paged<Stored>> {
    let mut ceiling = page.before.unwrap_or(i64::MAX);
    let mut floor = 0;
    if let Some(since) = filter.since {
        floor = floor_at(since);
    }
    if let Some(until) = filter.until {
        ceiling = ceiling.min(floor_at(until));
    }
    if let Some(batch) = filter.batch {
        let row = rx.sql.row("SELECT last_message FROM batch WHERE id = $1", &[&batch.key()]).await?;
        let last = row.map(|row| cell::<i64>(&row, 0)).transpose()?;
        floor = floor.max(batch.key());
        ceiling = ceiling.min(last.map_or(0, |last| last + 1));
    }
    let (account, is_live) = (realm.account.key(), live(realm.environment));
    // A status may be written as several states.
    let states: Option<Vec<i16>> = filter.status.map(column::state_numbers);
    let recipient = filter.recipient.map(|recipient| recipient.digits() as i64);
    let batch = filter.batch.map(BatchId::key);
    let sender = filter.sender.as_deref().map(clean);
    let reference = filter.reference.as_deref().map(clean);
    let wanted = filter.carrier_id.as_deref().map(receipt::canonical);
    let form = wanted.as_deref().map(clean);
    let mut items: Vec<Stored> = Vec::new();
    loop {
        let begin = ceiling;
        // The database looks at no more rows than a page may, and gives those that may fit; whether a carrier's id is
        // one of the message's own is decided here.
        let rows = rx
            .sql
            .rows(
                concat!(
                    "SELECT ",
                    columns!(),
                    ", m.text FROM (SELECT x.*, x.ctid FROM message x WHERE x.id < $1 AND x.id >= $2
                         ORDER BY x.id DESC LIMIT $12) m
                     WHERE m.account = $3 AND m.live = $4
                       AND ($5::smallint[] IS NULL OR m.state = ANY ($5)) AND ($6::bigint IS NULL OR m.recipient = $6)
                       AND ($7::bigint IS NULL OR m.batch = $7) AND ($8::text IS NULL OR m.sender = $8)
                       AND ($9::text IS NULL OR m.reference = $9)
                       AND ($10::text IS NULL OR strpos(lower(m.parts COLLATE \"C\"), $10) > 0)
                     ORDER BY m.id DESC LIMIT $11"
                ),
                &[
                    &begin,
                    &floor,
                    &account,
                    &is_live,
                    &states,
                    &recipient,
                    &batch,
                    &sender,
                    &reference,
                    &form,
                    &(page.limit as i64 + 1),
                    &SCAN_MAX,
                ],
            )
            .await?;
        let is_last = rows.len() <= page.limit;
        for row in rows {
            ceiling = cell(&row, 0)?;
            let found = stored(&row)?;
            let fits = wanted.as_ref().is_none_or(|wanted| {
                let mut ids = found.life.segments.iter().filter_map(Segment::carrier_id);
                ids.any(|id| receipt::canonical(id) == *wanted)
            });
            if fits {
                items.push(found);
            }
        }
        if items.len() > page.limit {
            items.truncate(page.limit);
            let next = items.last().map(|stored| stored.message.id.key());
            return Ok(Paged { items, next });
        }
        if is_last {
            let last_looked_at = rx
                .sql
                .row(
                    "SELECT id FROM message WHERE id < $1 AND id >= $2 ORDER BY id DESC OFFSET $3 LIMIT 1",
                    &[&begin, &floor, &(SCAN_MAX - 1)],
                )
                .await?;
            let next = last_looked_at.map(|row| cell(&row, 0)).transpose()?;
            return Ok(Paged { items, next });
        }
    }
}

pub(super) async fn timeline(rx: &Rx<'_>, realm: &Realm, id: &MessageId) -> Result<Option<Timeline>> {
    let Some(stored) = find(rx.sql, *realm, *id).await? else { return Ok(None) };
    let events = event::of_message(rx.sql, *id).await?;
    let ids: Vec<i64> = events.iter().map(|(id, _)| id.key()).collect();
    let endpoints = super::endpoint::of_realm(rx.sql, Some(*realm)).await?;
    let endpoints: Vec<i64> = endpoints.iter().map(|endpoint| endpoint.id.key()).collect();
    let attempts = event::attempts_about(rx.sql, &endpoints, &ids).await?;
    let deliveries = event::open_about(rx.sql, &ids).await?;
    let connection = super::operating::connection(rx.sql, stored.message.connection).await?;
    Ok(Some(Timeline { stored, events, attempts, deliveries, connection }))
}

pub(super) async fn redact(
    tx: &mut Tx,
    realm: &Realm,
    id: &MessageId,
    actor: &Actor,
    now: &Timestamp,
) -> Result<Option<Stored>> {
    let Some(mut stored) = find(&tx.sql, *realm, *id).await? else { return Ok(None) };
    if stored.message.text.is_some() {
        tx.sql
            .execute(
                "UPDATE message SET text = NULL, updated_at = $2 WHERE id = $1",
                &[&id.key(), &now.as_millis()],
            )
            .await?;
        let event = Event {
            kind: Kind::Redacted,
            status: stored.life.state.status(),
            attempt: stored.life.attempt,
            at: *now,
            due_at: None,
            failure: None,
            raw: None,
        };
        let listeners = tx.listeners();
        publish(tx, &listeners, &stored.message, event, &mut Vec::new());
        super::operating::write_audit(tx, actor, "message.redact", &id.to_string(), "", *now);
        conversation::forget_words(&tx.sql, *realm, *id).await?;
        stored.message.text = None;
        stored.updated_at = *now;
    }
    Ok(Some(stored))
}

const BATCH: &str = "SELECT account, live, created_at, asked, last_message FROM batch WHERE id = $1";

pub(super) async fn batch(rx: &Rx<'_>, realm: &Realm, id: &BatchId) -> Result<Option<Batch>> {
    let Some(row) = rx.sql.row(BATCH, &[&id.key()]).await? else { return Ok(None) };
    if session::realm(&row, 0)? != *realm {
        return Ok(None);
    }
    let (created_at, asked, last): (i64, i64, i64) = (cell(&row, 2)?, cell(&row, 3)?, cell(&row, 4)?);
    let rows = rx
        .sql
        .rows(
            "SELECT state, count(*) FROM message WHERE id > $1 AND id <= $2 AND batch = $1 GROUP BY state",
            &[&id.key(), &last],
        )
        .await?;
    let mut counts: Vec<(Status, u64)> = Vec::new();
    for row in rows {
        let status = column::status(i64::from(cell::<i16>(&row, 0)?))?;
        let count = cell::<i64>(&row, 1)? as u64;
        match counts.iter_mut().find(|(known, _)| *known == status) {
            Some((_, sum)) => *sum += count,
            None => counts.push((status, count)),
        }
    }
    counts.sort();
    Ok(Some(Batch { id: *id, created_at: Timestamp::from_millis(created_at), asked: asked as u32, counts }))
}

pub(super) async fn batches(rx: &Rx<'_>, realm: &Realm, page: &Page) -> Result<Paged<Batch>> {
    let rows = rx
        .sql
        .rows(
            "SELECT id FROM batch WHERE id < $1 AND account = $2 AND live = $3 ORDER BY id DESC LIMIT $4",
            &[
                &page.before.unwrap_or(i64::MAX),
                &realm.account.key(),
                &live(realm.environment),
                &(page.limit as i64 + 1),
            ],
        )
        .await?;
    let more = rows.len() > page.limit;
    let mut items = Vec::new();
    for row in rows.iter().take(page.limit) {
        items.extend(batch(rx, realm, &BatchId::from_key(cell(row, 0)?)).await?);
    }
    let next = if more { items.last().map(|batch| batch.id.key()) } else { None };
    Ok(Paged { items, next })
}
