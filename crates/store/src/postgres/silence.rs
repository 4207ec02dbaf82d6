//! Silences: how many messages in a row did not reach a number. That of its recipient comes with each message that is looked for, so
//! that what is delivered costs no trip of its own, and nearly always writes nothing.

use super::session::{Flight, Session, cell, live, values};
use super::suppression;
use super::transaction::Tx;
use crate::Result;
use crate::backend::*;
use std::collections::{BTreeMap, HashMap, HashSet};
use tidings_domain::account::{Environment, Realm};
use tidings_domain::address::PhoneNumber;
use tidings_domain::id::AccountId;
use tidings_domain::message::Message;
use tidings_domain::reachability::{Policy, Sign, Silence};
use tidings_domain::time::Timestamp;
use tokio_postgres::Row;

// ── the sheet ───────────────────────────────────────────────────────────────────────────────────────────────

/// A recipient in a realm, as the key has it: digits, environment, account.
type Key = (i64, i16, i64);

fn key(realm: Realm, recipient: PhoneNumber) -> Key {
    (recipient.digits() as i64, live(realm.environment), realm.account.key())
}

/// The silence of the recipient of a message `m`, as `s`: to be joined. What [`Sheet::remember`] reads of it are `s.messages`,
/// `s.since`, `s.last_at` and `s.until`.
macro_rules! of_recipient {
    () => {
        " LEFT JOIN LATERAL (SELECT x.messages, x.since, x.last_at, x.until FROM silence x WHERE x.recipient = m.recipient
            AND x.live = m.live AND x.account = m.account LIMIT 1) s ON true"
    };
}
pub(super) use of_recipient;

/// What a transaction knows of silences, and has to write.
#[derive(Default)]
pub(super) struct Sheet {
    /// Those that were looked for, as they are in the database.
    stored: HashMap<Key, Option<Silence>>,
    /// What becomes of these.
    changed: BTreeMap<Key, Option<Silence>>,
}

impl Sheet {
    /// Takes over what was found of this message's recipient, in this column and the next three, if it is not known yet.
    pub fn remember(&mut self, message: &Message, row: &Row, first: usize) -> Result<()> {
        let found = read(row, first)?;
        self.stored.entry(key(message.realm(), message.recipient)).or_insert(found);
        Ok(())
    }

    fn set(&mut self, key: Key, silence: Option<Silence>) {
        if silence.is_none() && self.stored.get(&key).copied().flatten().is_none() {
            // It comes and goes within this transaction.
            self.changed.remove(&key);
        } else {
            self.changed.insert(key, silence);
        }
    }

    /// Adds what has to be written.
    pub fn write<'v>(&'v self, flight: &mut Flight<'v>) {
        let keys = |which: fn(&Option<Silence>) -> bool| {
            let of = self.changed.iter().filter(move |(_, silence)| which(silence)).map(|(key, _)| *key);
            let (mut digits, mut lives, mut accounts) = (vec![], vec![], vec![]);
            for (number, is_live, account) in of {
                digits.push(number);
                lives.push(is_live);
                accounts.push(account);
            }
            (digits, lives, accounts)
        };
        let (digits, lives, accounts) = keys(Option::is_none);
        if !digits.is_empty() {
            flight.statement(
                "DELETE FROM silence WHERE ctid = ANY (ARRAY (
                   SELECT s.place FROM unnest($1::bigint[], $2::smallint[], $3::bigint[]) AS k (recipient, live, account)
                   CROSS JOIN LATERAL (SELECT x.ctid AS place FROM silence x WHERE x.recipient = k.recipient
                     AND x.live = k.live AND x.account = k.account LIMIT 1) s))",
                values![digits, lives, accounts],
            );
        }
        let (digits, lives, accounts) = keys(Option::is_some);
        if !digits.is_empty() {
            let all = || self.changed.values().flatten();
            flight.statement(
                "INSERT INTO silence (recipient, live, account, messages, since, last_at, until)
                 SELECT * FROM unnest($1::bigint[], $2::smallint[], $3::bigint[], $4::integer[], $5::bigint[], $6::bigint[],
                   $7::bigint[])
                 ON CONFLICT (recipient, live, account) DO UPDATE SET messages = excluded.messages,
                   since = excluded.since, last_at = excluded.last_at, until = excluded.until",
                values![
                    digits,
                    lives,
                    accounts,
                    all().map(|silence| i32::try_from(silence.messages).unwrap_or(i32::MAX)).collect::<Vec<_>>(),
                    all().map(|silence| silence.since.as_millis()).collect::<Vec<_>>(),
                    all().map(|silence| silence.last_at.as_millis()).collect::<Vec<_>>(),
                    all().map(|silence| silence.until.as_millis()).collect::<Vec<_>>(),
                ],
            );
        }
    }
}

fn read(row: &Row, first: usize) -> Result<Option<Silence>> {
    let Some(messages) = cell::<Option<i32>>(row, first)? else { return Ok(None) };
    Ok(Some(Silence {
        messages: u32::try_from(messages).unwrap_or(0),
        since: Timestamp::from_millis(cell(row, first + 1)?),
        last_at: Timestamp::from_millis(cell(row, first + 2)?),
        until: Timestamp::from_millis(cell(row, first + 3)?),
    }))
}

impl Tx {
    /// The silence of a recipient, as it is by now.
    async fn find_silence(&mut self, key: Key) -> Result<Option<Silence>> {
        if let Some(changed) = self.sheets.messages.silences.changed.get(&key) {
            return Ok(*changed);
        }
        if let Some(stored) = self.sheets.messages.silences.stored.get(&key) {
            return Ok(*stored);
        }
        let row = self
            .sql
            .row(
                "SELECT messages, since, last_at, until FROM silence WHERE recipient = $1 AND live = $2 AND account = $3",
                &[&key.0, &key.1, &key.2],
            )
            .await?;
        let found = row.as_ref().map(|row| read(row, 0)).transpose()?.flatten();
        self.sheets.messages.silences.stored.insert(key, found);
        Ok(found)
    }
}

// ── what comes of it ────────────────────────────────────────────────────────────────────────────────────────

/// Notes what the end of a message says of the phone. Without a policy no message is counted; what is delivered ends a row all
/// the same.
pub(super) async fn note(
    tx: &mut Tx,
    message: &Message,
    sign: Sign,
    policy: Option<&Policy>,
    now: Timestamp,
) -> Result<()> {
    let (realm, recipient) = (message.realm(), message.recipient);
    let key = key(realm, recipient);
    let known = tx.find_silence(key).await?;
    match sign {
        Sign::Reached if known.is_none() => {}
        Sign::Reached => {
            tx.sheets.messages.silences.set(key, None);
            suppression::lift_of_dead_number(tx, realm, recipient, &delivered(message), now).await?;
        }
        Sign::Unreached => {
            let Some(policy) = policy else { return Ok(()) };
            let silence = policy.one_more(known, now);
            tx.sheets.messages.silences.set(key, Some(silence));
            if policy.is_dead(&silence) {
                let id = suppression::own_id(tx, now);
                let (entry, actor) = of_dead(id, message, &silence, policy, now);
                suppression::add(tx, &entry, &actor).await?;
            }
        }
    }
    Ok(())
}

/// Keeps the row of a number that came on the list as dead for as long as its entry, so that whatever reaches it finds it.
pub(super) async fn outlive(tx: &mut Tx, entry: &Suppression) -> Result<()> {
    let key = key(entry.realm, entry.recipient);
    let known = tx.find_silence(key).await?;
    let silence = Silence::of_entry(known, entry.created_at, entry.expires_at);
    tx.sheets.messages.silences.set(key, Some(silence));
    Ok(())
}

/// Ends the row of a number, if there is one.
pub(super) async fn forget(tx: &mut Tx, realm: Realm, recipient: PhoneNumber) -> Result<()> {
    let key = key(realm, recipient);
    if tx.find_silence(key).await?.is_some() {
        tx.sheets.messages.silences.set(key, None);
    }
    Ok(())
}

/// People of whose numbers there is a silence, for any account.
pub(super) type Dead = HashSet<(Environment, PhoneNumber)>;

/// Which of these that is.
pub(super) async fn dead(sql: &Session, people: &[(Environment, PhoneNumber)]) -> Result<Dead> {
    if people.is_empty() {
        return Ok(Dead::default());
    }
    let digits: Vec<i64> = people.iter().map(|(_, number)| number.digits() as i64).collect();
    let lives: Vec<i16> = people.iter().map(|(environment, _)| live(*environment)).collect();
    let rows = sql
        .rows(
            "SELECT k.n FROM unnest($1::bigint[], $2::smallint[]) WITH ORDINALITY AS k (recipient, live, n)
             WHERE EXISTS (SELECT 1 FROM silence x WHERE x.recipient = k.recipient AND x.live = k.live)",
            &[&digits, &lives],
        )
        .await?;
    let mut dead = Dead::default();
    for row in &rows {
        let place = usize::try_from(cell::<i64>(row, 0)? - 1).unwrap_or(usize::MAX);
        dead.extend(people.get(place).copied());
    }
    Ok(dead)
}

/// One of those wrote: the number is alive, for every account. No silence may be on the sheet.
pub(super) async fn heard(tx: &mut Tx, inbound: &Inbound, person: PhoneNumber, now: Timestamp) -> Result<()> {
    let environment = inbound.realm.environment;
    let ended = tx
        .sql
        .rows(
            "DELETE FROM silence WHERE recipient = $1 AND live = $2 RETURNING account",
            &[&(person.digits() as i64), &live(environment)],
        )
        .await?;
    for row in &ended {
        let realm = Realm { account: AccountId::from_key(cell(row, 0)?), environment };
        suppression::lift_of_dead_number(tx, realm, person, &written(inbound), now).await?;
    }
    Ok(())
}

/// Forgets those that are over. `true` if there may be more of them.
pub(super) async fn sweep(sql: &Session, now: Timestamp, limit: usize) -> Result<bool> {
    let gone = sql
        .execute(
            "DELETE FROM silence WHERE ctid = ANY (ARRAY (
               SELECT ctid FROM silence WHERE until < $1 ORDER BY until LIMIT $2))",
            &[&now.as_millis(), &(limit as i64)],
        )
        .await?;
    Ok(gone == limit as u64)
}
