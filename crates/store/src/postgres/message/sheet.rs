//! The sheet of messages: where the lives of a whole group are while it runs. It says what operations need to have
//! loaded, how that is loaded, and how what has changed is written. What changes is decided in `message.rs`.

use super::queue::{Beginning, Glance, load_beginnings};
use crate::Result;
use crate::column::{self, environment, number};
use crate::due::{CANDIDATES_MAX, Due, FORGOTTEN_AT_ONCE, LOOK_AGAIN};
use crate::postgres::front::Queue;
use crate::postgres::session::{Flight, Location, Session, cell, clean, live, values};
use crate::postgres::transaction::Tx;
use crate::postgres::{conversation, silence};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use tidings_domain::account::Realm;
use tidings_domain::id::*;
use tidings_domain::message::{Life, Message};
use tidings_domain::programme;
use tidings_domain::purpose::Purpose;
use tidings_domain::queue;
use tidings_domain::receipt::{self, Receipt};
use tidings_domain::time::Timestamp;
use tokio_postgres::Row;

/// The number of a connection or of a carrier, and the form of a carrier's id, under which a segment or a receipt is kept.
pub(super) type Form = (i64, String);

/// What a transaction knows of messages, and has to write.
#[derive(Default)]
pub(in crate::postgres) struct Sheet {
    /// Each message that was looked for; `None` if there is no such.
    pub(super) slots: HashMap<MessageId, Option<Slot>>,
    /// The segments that were found under these forms: (message, segment) and the carrier's id.
    pub(super) outstanding: HashMap<Form, BTreeMap<(i64, u8), String>>,
    /// What becomes of these: the carrier's id and the account, or nothing any more.
    expected: BTreeMap<(Form, i64, u8), Option<(String, i64)>>,
    /// The receipts that were found under these forms.
    parked: HashMap<Form, Vec<Parked>>,
    parked_now: HashMap<Form, Vec<Parked>>,
    unparked: HashSet<i64>,
    /// The calls that were looked for.
    pub(super) calls: HashMap<[u8; 32], Option<Answered>>,
    pub(super) calls_now: Vec<Call>,
    pub(super) batches_now: Vec<(BatchId, Realm, Timestamp, u32, i64)>,
    /// Messages that will not reach anybody now.
    pub(super) lost: Vec<i64>,
    /// What stands at the beginnings of queues that were looked at.
    pub(super) beginnings: HashMap<queue::Queue, Beginning>,
    /// Of the recipients of messages that were looked for.
    pub(in crate::postgres) silences: silence::Sheet,
}

/// A message as decisions need it.
pub(super) struct Slot {
    /// Its text is there only if it is needed.
    pub(super) message: Arc<Message>,
    pub(super) life: Life,
    /// The failure that its last event carried, as its column holds it.
    pub(super) failure: Option<String>,
    pub(super) updated_at: Timestamp,
    pub(super) due: Option<Due>,
    /// As it is in the database; `None` if it is not there yet.
    pub(super) stored: Option<Place>,
    pub(super) changed: bool,
    /// It was read with its text and does not fit its checksum. Its text is left out.
    pub(super) damaged: bool,
}

/// Where a message's row is, and its row of `due`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
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
pub(super) struct Answered {
    pub(super) fingerprint: Vec<u8>,
    pub(super) answer: Vec<u8>,
}

pub(super) struct Call {
    pub(super) key: [u8; 32],
    pub(super) account: i64,
    pub(super) fingerprint: [u8; 32],
    pub(super) answer: Vec<u8>,
    pub(super) created_at: i64,
}

/// What operations say beforehand that they will look at.
#[derive(Default)]
pub(in crate::postgres) struct Needs {
    messages: BTreeSet<i64>,
    outstanding: BTreeSet<Form>,
    parked: BTreeSet<Form>,
    calls: BTreeSet<[u8; 32]>,
    beginnings: BTreeMap<queue::Queue, Glance>,
    /// Forms under which an operation will expect a receipt.
    coming: HashSet<Form>,
}

impl Needs {
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
            && self.outstanding.is_empty()
            && self.parked.is_empty()
            && self.calls.is_empty()
            && self.beginnings.is_empty()
    }

    pub(super) fn message(&mut self, sheet: &Sheet, id: MessageId) {
        if !sheet.slots.contains_key(&id) {
            self.messages.insert(id.key());
        }
    }

    pub(super) fn outstanding(&mut self, sheet: &Sheet, form: Form) {
        if !sheet.outstanding.contains_key(&form) {
            self.outstanding.insert(form);
        }
    }

    pub(super) fn parked(&mut self, sheet: &Sheet, form: Form) {
        if !sheet.parked.contains_key(&form) {
            self.parked.insert(form);
        }
    }

    /// The beginning of a queue.
    pub(super) fn beginning(&mut self, sheet: &Sheet, queue: queue::Queue, glance: impl FnOnce() -> Glance) {
        if !sheet.beginnings.contains_key(&queue) {
            self.beginnings.entry(queue).or_insert_with(glance);
        }
    }

    /// A receipt will be expected under this form, whether or not one is now.
    pub(super) fn comes_under(&mut self, form: Form) {
        self.coming.insert(form);
    }

    /// Whether somebody said so.
    pub(super) fn is_coming(&self, form: &Form) -> bool {
        self.coming.contains(form)
    }

    pub(super) fn call(&mut self, sheet: &Sheet, key: [u8; 32]) {
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
         m.template, m.template_version, m.programme"
    };
}
pub(super) use columns;

/// The place of the text behind [`columns`].
pub(super) const TEXT: usize = 35;

pub(super) fn slot(row: &Row, text: Option<String>) -> Result<Slot> {
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
        sender: column::sender(sender)?,
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
        programme: column::programme(cell(row, 34)?)?,
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

impl Sheet {
    /// Loads what was named.
    pub async fn load(&mut self, sql: &Session, needs: Needs) -> Result<()> {
        let (messages, outstanding, parked, calls, beginnings) = tokio::try_join!(
            load_messages(sql, &needs.messages),
            load_outstanding(sql, &needs.outstanding),
            load_parked(sql, &needs.parked),
            load_calls(sql, &needs.calls),
            load_beginnings(sql, &needs.beginnings),
        )?;
        for id in needs.messages {
            self.slots.entry(MessageId::from_key(id)).or_default();
        }
        for row in messages {
            let slot = slot(&row, None)?;
            self.silences.remember(&slot.message, &row, TEXT)?;
            self.remember(slot);
        }
        for form in needs.outstanding {
            self.outstanding.entry(form).or_default();
        }
        for (form, row) in outstanding {
            let slot = slot(&row, None)?;
            let (segment, carrier_id) = (cell::<i16>(&row, TEXT + 1)? as u8, cell::<String>(&row, TEXT + 2)?);
            self.silences.remember(&slot.message, &row, TEXT + 3)?;
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
        self.beginnings.extend(beginnings);
        Ok(())
    }

    /// A message that was found, if nobody has changed it meanwhile.
    pub(super) fn remember(&mut self, found: Slot) {
        let known = self.slots.entry(found.message.id).or_default();
        if known.is_none() {
            *known = Some(found);
        }
    }

    pub(super) fn known(&self, id: MessageId) -> Option<&Slot> {
        self.slots.get(&id).and_then(Option::as_ref)
    }

    pub(super) fn slot(&mut self, id: MessageId) -> &mut Slot {
        self.slots.get_mut(&id).and_then(Option::as_mut).expect("it was looked for and found")
    }

    /// The segments that are expected under a form which was looked for, in their order.
    pub(super) fn found_under(&self, form: &Form) -> Vec<(MessageId, u8, String)> {
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

    pub(super) fn expect_receipt(
        &mut self,
        line: i64,
        message: &Message,
        segment: u8,
        canonical: String,
        carrier_id: String,
    ) {
        let place = ((line, canonical), message.id.key(), segment);
        self.expected.insert(place, Some((carrier_id, message.account.key())));
    }

    pub(super) fn forget_receipt(&mut self, line: i64, message: &Message, segment: u8, canonical: String) {
        self.expected.insert(((line, canonical), message.id.key(), segment), None);
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
        self.silences.write(flight);
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
           resends, parts, failure, updated_at, checksum, reply, reply_to, template, template_version,
           programme)
         SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::bigint[], $5::bigint[], $6::smallint[], $7::text[],
           $8::bigint[], $9::text[], $10::integer[], $11::smallint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[],
           $16::bigint[], $17::text[], $18::text[], $19::bigint[], $20::smallint[], $21::bigint[], $22::bigint[], $23::bigint[],
           $24::integer[], $25::integer[], $26::integer[], $27::text[], $28::text[], $29::bigint[], $30::bigint[],
           $31::smallint[], $32::bigint[], $33::bigint[], $34::integer[], $35::text[])",
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
            each(all, |s| s.message.programme.as_ref().map(programme::Name::as_str)),
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

/// The messages with these ids, each with the silence of its recipient.
async fn load_messages(sql: &Session, ids: &BTreeSet<i64>) -> Result<Vec<Row>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<i64> = ids.iter().copied().collect();
    sql.rows(
        concat!(
            "SELECT ",
            columns!(),
            ", s.messages, s.since, s.last_at, s.until FROM message m",
            silence::of_recipient!(),
            " WHERE m.id = ANY ($1)"
        ),
        &[&ids],
    )
    .await
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
                ", NULL::text, o.segment, o.carrier_id, s.messages, s.since, s.last_at, s.until, k.n
                 FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS k (connection, canonical, n)
                 CROSS JOIN LATERAL (SELECT x.message, x.segment, x.carrier_id FROM outstanding x
                   WHERE x.connection = k.connection AND x.canonical = k.canonical ORDER BY x.message, x.segment LIMIT 51) o
                 CROSS JOIN LATERAL (SELECT x.*, x.ctid FROM message x WHERE x.id = o.message LIMIT 1) m",
                silence::of_recipient!()
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

// ── what nobody named before ────────────────────────────────────────────────────────────────────────────────

impl Tx {
    /// Looks for a message that nobody named before. `false` if there is no such.
    pub(super) async fn find_message(&mut self, id: MessageId) -> Result<bool> {
        let mut needs = Needs::default();
        needs.message(&self.sheets.messages, id);
        if !needs.is_empty() {
            self.sheets.messages.load(&self.sql, needs).await?;
        }
        Ok(self.sheets.messages.known(id).is_some())
    }

    pub(super) async fn find_outstanding(&mut self, form: &Form) -> Result<Vec<(MessageId, u8, String)>> {
        let mut needs = Needs::default();
        needs.outstanding(&self.sheets.messages, form.clone());
        if !needs.is_empty() {
            self.sheets.messages.load(&self.sql, needs).await?;
        }
        Ok(self.sheets.messages.found_under(form))
    }

    /// The oldest receipts that were parked under this form since then.
    pub(super) async fn find_parked(&mut self, form: &Form, since: Timestamp) -> Result<Vec<(i64, Receipt)>> {
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
    pub(super) async fn park(&mut self, line: i64, receipt: &Receipt, now: Timestamp) -> Result<u64> {
        let number = self.next_id(now);
        let body = column::receipt_text(receipt);
        let mut rows = 0;
        for form in receipt::forms(receipt).map(|form| (line, form)) {
            let parked = Parked { receipt: number, parked_at: now.as_millis(), body: body.clone() };
            self.sheets.messages.parked_now.entry(form).or_default().push(parked);
            rows += 1;
        }
        let excess = self.note_parked(line, rows);
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
                &[&line, &(excess.max(FORGOTTEN_AT_ONCE) as i64)],
            )
            .await?;
        self.note_unparked(line, forgotten as usize);
        Ok(forgotten)
    }

    /// Keeps a receipt that crashes whoever matches it: under a form that no carrier's id has, until its retention is
    /// over.
    pub(super) fn park_unread(&mut self, line: i64, receipt: &Receipt, now: Timestamp) {
        let number = self.next_id(now);
        let parked = Parked { receipt: number, parked_at: now.as_millis(), body: receipt.raw.clone() };
        let form = (line, "!".to_owned());
        self.sheets.messages.parked_now.entry(form).or_default().push(parked);
        self.note_parked(line, 1);
    }

    pub(super) fn unpark(&mut self, line: i64, number: i64, receipt: &Receipt) {
        if self.sheets.messages.unparked.insert(number) {
            self.note_unparked(line, receipt::forms(receipt).count());
        }
    }
}
