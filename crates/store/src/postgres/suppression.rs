//! The suppression list: looked at before every acceptance and every submission, so the look is one probe of one index,
//! and a group's looks are one query.
//!
//! Nothing is ever overwritten: an entry that gives way is lifted with the reason, and stays as history.

use super::operating::write_audit;
use super::reader::Rx;
use super::session::{Flight, Session, cell, clean, live, realm, values};
use super::silence;
use super::transaction::Tx;
use crate::backend::*;
use crate::column::{self, number};
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::failure::Failure;
use tidings_domain::id::{AuditId, SuppressionId};
use tidings_domain::message::Message;
use tidings_domain::programme;
use tidings_domain::suppression::{Fate, Listing, REPLACED_BY_OPT_OUT, Reason, default_end};
use tidings_domain::time::Timestamp;
use tokio_postgres::Row;

// ── the sheet ───────────────────────────────────────────────────────────────────────────────────────────────

/// A recipient in a realm: account, environment, digits.
type Key = (i64, i16, i64);

fn key(realm: Realm, recipient: PhoneNumber) -> Key {
    (realm.account.key(), live(realm.environment), recipient.digits() as i64)
}

/// What a transaction knows of the list, and has to write.
#[derive(Default)]
pub(super) struct Sheet {
    /// The entries of each recipient that was looked for which were not lifted; they may be over.
    entries: HashMap<Key, Vec<Suppression>>,
    /// Whether there is an entry with this id.
    ids: HashMap<i64, bool>,
    new: BTreeMap<i64, Suppression>,
    /// When and why these end.
    ended: BTreeMap<i64, (i64, String)>,
}

/// What operations say beforehand that they will look at.
#[derive(Default)]
pub(super) struct Needs {
    entries: BTreeSet<Key>,
    ids: BTreeSet<i64>,
}

impl Needs {
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.ids.is_empty()
    }

    /// A recipient's entries.
    pub fn entry(&mut self, sheet: &Sheet, realm: Realm, recipient: PhoneNumber) {
        let key = key(realm, recipient);
        if !sheet.entries.contains_key(&key) {
            self.entries.insert(key);
        }
    }

    fn id(&mut self, sheet: &Sheet, id: SuppressionId) {
        if !sheet.ids.contains_key(&id.key()) {
            self.ids.insert(id.key());
        }
    }
}

/// The columns of an entry: what [`read`] reads.
macro_rules! columns {
    () => {
        "s.id, s.account, s.live, s.recipient, s.reason, s.source, s.created_at, s.expires_at, s.lifted_at, s.lifted_why, s.programme,
         s.unreachable"
    };
}

impl Sheet {
    /// Loads what was named.
    pub async fn load(&mut self, sql: &Session, needs: Needs) -> Result<()> {
        let (entries, ids) = tokio::try_join!(load_entries(sql, &needs.entries), load_ids(sql, &needs.ids))?;
        for key in needs.entries {
            self.entries.entry(key).or_default();
        }
        for row in &entries {
            let entry = read(row)?;
            self.entries.entry(key(entry.realm, entry.recipient)).or_default().push(entry);
        }
        for id in needs.ids {
            self.ids.entry(id).or_insert(false);
        }
        for row in &ids {
            self.ids.insert(cell(row, 0)?, true);
        }
        Ok(())
    }

    fn end(&mut self, known: &Suppression, at: Timestamp, why: &str) {
        match self.new.get_mut(&known.id.key()) {
            Some(new) => new.lifted = Some((at, why.to_owned())),
            None => drop(self.ended.insert(known.id.key(), (at.as_millis(), why.to_owned()))),
        }
        let entries = self.entries.entry(key(known.realm, known.recipient)).or_default();
        entries.retain(|entry| entry.id != known.id);
    }

    /// Adds what has to be written.
    pub fn write<'v>(&'v self, flight: &mut Flight<'v>) {
        if !self.ended.is_empty() {
            let all = &self.ended;
            flight.statement(
                "UPDATE suppression s SET lifted_at = n.at, lifted_why = n.why
                 FROM (SELECT k.at, k.why, x.place FROM unnest($1::bigint[], $2::bigint[], $3::text[]) AS k (id, at, why)
                   CROSS JOIN LATERAL (SELECT x.ctid AS place FROM suppression x WHERE x.id = k.id LIMIT 1) x) n
                 WHERE s.ctid = n.place",
                values![
                    all.keys().copied().collect::<Vec<i64>>(),
                    all.values().map(|(at, _)| *at).collect::<Vec<_>>(),
                    all.values().map(|(_, why)| clean(why)).collect::<Vec<_>>(),
                ],
            );
        }
        if self.new.is_empty() {
            return;
        }
        let all: Vec<&Suppression> = self.new.values().collect();
        let reasons = || all.iter().map(|entry| column::reason_numbers(entry.reason));
        flight.statement(
            "INSERT INTO suppression (id, account, live, recipient, reason, source, created_at, expires_at, lifted_at, lifted_why,
               programme, unreachable)
             SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::bigint[], $5::smallint[], $6::text[],
               $7::bigint[], $8::bigint[], $9::bigint[], $10::text[], $11::text[], $12::smallint[])",
            values![
                all.iter().map(|entry| entry.id.key()).collect::<Vec<_>>(),
                all.iter().map(|entry| entry.realm.account.key()).collect::<Vec<_>>(),
                all.iter().map(|entry| live(entry.realm.environment)).collect::<Vec<_>>(),
                all.iter().map(|entry| entry.recipient.digits() as i64).collect::<Vec<_>>(),
                reasons().map(|(reason, _)| reason as i16).collect::<Vec<_>>(),
                all.iter().map(|entry| clean(&entry.source)).collect::<Vec<_>>(),
                all.iter().map(|entry| entry.created_at.as_millis()).collect::<Vec<_>>(),
                all.iter().map(|entry| entry.expires_at.map(Timestamp::as_millis)).collect::<Vec<_>>(),
                all.iter()
                    .map(|entry| entry.lifted.as_ref().map(|(at, _)| at.as_millis()))
                    .collect::<Vec<_>>(),
                all.iter()
                    .map(|entry| entry.lifted.as_ref().map(|(_, why)| clean(why)))
                    .collect::<Vec<_>>(),
                all.iter()
                    .map(|entry| entry.programme.as_ref().map(programme::Name::as_str))
                    .collect::<Vec<_>>(),
                reasons()
                    .map(|(_, unreachable)| unreachable.map(|one| one as i16))
                    .collect::<Vec<_>>(),
            ],
        );
    }
}

/// The limit is for the plan, which is one probe for each number: nobody has an entry of so many programmes.
async fn load_entries(sql: &Session, keys: &BTreeSet<Key>) -> Result<Vec<Row>> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let accounts: Vec<i64> = keys.iter().map(|(account, ..)| *account).collect();
    let lives: Vec<i16> = keys.iter().map(|(_, live, _)| *live).collect();
    let recipients: Vec<i64> = keys.iter().map(|(.., recipient)| *recipient).collect();
    sql.rows(
        concat!(
            "SELECT ",
            columns!(),
            " FROM unnest($1::bigint[], $2::smallint[], $3::bigint[]) AS k (account, live, recipient)
             CROSS JOIN LATERAL (SELECT x.* FROM suppression x WHERE x.account = k.account AND x.live = k.live
               AND x.recipient = k.recipient AND x.lifted_at IS NULL LIMIT 1000) s"
        ),
        &[&accounts, &lives, &recipients],
    )
    .await
}

async fn load_ids(sql: &Session, ids: &BTreeSet<i64>) -> Result<Vec<Row>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<i64> = ids.iter().copied().collect();
    sql.rows("SELECT id FROM suppression WHERE id = ANY ($1)", &[&ids]).await
}

impl Tx {
    /// The recipient's entries that were not lifted. They may be over.
    async fn find_entries(&mut self, realm: Realm, recipient: PhoneNumber) -> Result<&[Suppression]> {
        let mut needs = Needs::default();
        needs.entry(&self.sheets.list, realm, recipient);
        if !needs.is_empty() {
            self.sheets.list.load(&self.sql, needs).await?;
        }
        Ok(self.sheets.list.entries.get(&key(realm, recipient)).map_or(&[], Vec::as_slice))
    }

    /// The one of these that is about this programme, or about everything.
    async fn find_entry(
        &mut self,
        realm: Realm,
        recipient: PhoneNumber,
        programme: Option<&programme::Name>,
    ) -> Result<Option<Suppression>> {
        let entries = self.find_entries(realm, recipient).await?;
        Ok(entries.iter().find(|entry| entry.programme.as_ref() == programme).cloned())
    }
}

// ── looking ─────────────────────────────────────────────────────────────────────────────────────────────────

/// How this number stands on the list. Inside the writer's transaction, which remembers who was found free.
pub(super) async fn look(
    tx: &mut Tx,
    realm: Realm,
    recipient: PhoneNumber,
    now: Timestamp,
) -> Result<Listing> {
    let found = standing(tx, realm, recipient, now).await?;
    if found.is_free() {
        tx.looked.free(realm, recipient);
    }
    Ok(found)
}

/// How this number stands on the list.
pub(super) async fn standing(
    tx: &mut Tx,
    realm: Realm,
    recipient: PhoneNumber,
    now: Timestamp,
) -> Result<Listing> {
    let looked = Arc::clone(&tx.looked);
    Ok(looked.standing(tx.find_entries(realm, recipient).await?, now))
}

/// The entries of each of these people that were not lifted.
pub(super) async fn entries(
    rx: &Rx<'_>,
    recipients: &[(Realm, PhoneNumber)],
) -> Result<Vec<Vec<Suppression>>> {
    let keys: BTreeSet<Key> = recipients.iter().map(|(realm, recipient)| key(*realm, *recipient)).collect();
    let mut entries: HashMap<Key, Vec<Suppression>> = HashMap::new();
    for row in &load_entries(rx.sql, &keys).await? {
        let entry = read(row)?;
        entries.entry(key(entry.realm, entry.recipient)).or_default().push(entry);
    }
    let of_one = |(realm, recipient): &(Realm, PhoneNumber)| {
        entries.get(&key(*realm, *recipient)).cloned().unwrap_or_default()
    };
    Ok(recipients.iter().map(of_one).collect())
}

// ── changing ────────────────────────────────────────────────────────────────────────────────────────────────

/// What an addition looks at.
pub(super) fn suppress_needs(entries: &[Suppression], tx: &Tx, needs: &mut super::transaction::Needs) {
    for entry in entries {
        needs.list.entry(&tx.sheets.list, entry.realm, entry.recipient);
        needs.list.id(&tx.sheets.list, entry.id);
    }
}

pub(super) async fn suppress(
    tx: &mut Tx,
    entries: &[Suppression],
    actor: &Actor,
) -> Result<Vec<Suppression>> {
    let mut standing = Vec::with_capacity(entries.len());
    for entry in entries {
        standing.push(add(tx, entry, actor).await?);
    }
    Ok(standing)
}

/// An id for an entry that the store makes by itself.
pub(super) fn own_id(tx: &mut Tx, now: Timestamp) -> SuppressionId {
    let id = SuppressionId::from_key(tx.next_id(now));
    // Nobody else makes ids of ours.
    tx.sheets.list.ids.insert(id.key(), false);
    id
}

/// Puts the recipient on the list because a carrier said so.
pub(super) async fn from_failure(
    tx: &mut Tx,
    message: &Message,
    failure: &Failure,
    now: Timestamp,
) -> Result<()> {
    let reason = Reason::of(failure.class);
    let id = own_id(tx, now);
    let entry = Suppression {
        id,
        realm: message.realm(),
        recipient: message.recipient,
        programme: None,
        reason,
        source: format!("{} {}", message.id, failure.code),
        created_at: now,
        expires_at: default_end(reason, now),
        lifted: None,
    };
    let actor = Actor { account: message.account, who: "carrier".to_owned() };
    add(tx, &entry, &actor).await.map(drop)
}

/// Adds an entry, as it is [beside](Suppression::beside) the one that is there, and gives what stands then.
pub(super) async fn add(tx: &mut Tx, entry: &Suppression, actor: &Actor) -> Result<Suppression> {
    let now = entry.created_at;
    let known = tx.find_entry(entry.realm, entry.recipient, entry.programme.as_ref()).await?;
    let (new, ended) = match entry.clone().beside(known) {
        Fate::Taken(known) => return Ok(known),
        Fate::Added { entry, ended } => (entry, ended),
    };
    tx.note_list_changed();
    if let Some((known, at, why)) = ended {
        tx.sheets.list.end(&known, at, &why);
    }
    let mut needs = Needs::default();
    needs.id(&tx.sheets.list, entry.id);
    if !needs.is_empty() {
        tx.sheets.list.load(&tx.sql, needs).await?;
    }
    let sheet = &mut tx.sheets.list;
    if sheet.ids.insert(entry.id.key(), true) == Some(true) {
        return Err(Error::Conflict(format!("there is an entry {} already", entry.id)));
    }
    sheet.new.insert(entry.id.key(), new.clone());
    sheet.entries.entry(key(entry.realm, entry.recipient)).or_default().push(new.clone());
    let detail = format!("{} {}", new.reason.as_str(), new.source);
    write_audit(tx, actor, "suppression.add", &new.id.to_string(), &detail, now);
    if new.reason.is_lifted_by_life() {
        silence::outlive(tx, &new).await?;
    }
    Ok(new)
}

pub(super) async fn lift(
    tx: &mut Tx,
    realm: &Realm,
    recipient: &PhoneNumber,
    programme: &Option<programme::Name>,
    reason: &str,
    actor: &Actor,
    now: &Timestamp,
) -> Result<Option<Suppression>> {
    let known = tx.find_entry(*realm, *recipient, programme.as_ref()).await?;
    let Some(known) = known.filter(|known| known.is_in_force(*now)) else { return Ok(None) };
    tx.note_list_changed();
    tx.sheets.list.end(&known, *now, reason);
    write_audit(tx, actor, "suppression.lift", &known.id.to_string(), reason, *now);
    if known.reason.is_lifted_by_life() {
        silence::forget(tx, *realm, *recipient).await?;
    }
    Ok(Some(Suppression { lifted: Some((*now, reason.to_owned())), ..known }))
}

/// Lifts the entries of somebody who asks for messages again. One of somebody of the account that such an entry had replaced
/// counts again. The sheets must be settled.
pub(super) async fn lift_by_person(
    tx: &mut Tx,
    inbound: &Inbound,
    ask: &Ask,
    actor: &Actor,
    now: Timestamp,
) -> Result<()> {
    let (realm, why) = (inbound.realm, inbound.lifting(ask));
    let mut known = tx.find_entries(realm, ask.person).await?.to_vec();
    known.retain(|entry| ask.lifts(entry));
    known.sort_unstable_by_key(|entry| entry.id);
    for known in known {
        if let Some(lifted) = lift(tx, &realm, &ask.person, &known.programme, &why, actor, &now).await? {
            restore_replaced(tx, &lifted, actor, now).await?;
        }
    }
    if ask.joining.is_none() {
        for entry in awaiting_start(tx, realm, ask.person).await? {
            let Some((at, why)) = entry.started(&why) else { continue };
            tx.sheets.list.end(&entry, at, &why);
            write_audit(tx, actor, "suppression.start", &entry.id.to_string(), &why, now);
        }
    }
    Ok(())
}

/// Lifts the entries of a number that is alive.
pub(super) async fn lift_of_dead_number(
    tx: &mut Tx,
    realm: Realm,
    recipient: PhoneNumber,
    why: &str,
    now: Timestamp,
) -> Result<()> {
    let mut dead = tx.find_entries(realm, recipient).await?.to_vec();
    dead.retain(|entry| entry.reason.is_lifted_by_life());
    dead.sort_unstable_by_key(|entry| entry.id);
    for entry in dead {
        lift(tx, &realm, &recipient, &entry.programme, why, &reachability(realm), &now).await?;
    }
    Ok(())
}

/// The opt-outs of this person that ended and [await](Suppression::awaits_start) the person's START. The sheets must be settled.
pub(super) async fn awaiting_start(
    tx: &Tx,
    realm: Realm,
    recipient: PhoneNumber,
) -> Result<Vec<Suppression>> {
    let (account, is_live, digits) = key(realm, recipient);
    let mut found = history(&tx.sql, &[account], &[is_live], &[digits]).await?;
    found.retain(Suppression::awaits_start);
    found.sort_unstable_by_key(|entry| entry.id);
    Ok(found)
}

/// Adds the entry of somebody of the account again that an opt-out had replaced, if there was one.
async fn restore_replaced(tx: &mut Tx, lifted: &Suppression, actor: &Actor, now: Timestamp) -> Result<()> {
    let (account, is_live, digits) = key(lifted.realm, lifted.recipient);
    let programme = lifted.programme.as_ref().map(programme::Name::as_str);
    let replaced = tx
        .sql
        .row(
            concat!(
                "SELECT ",
                columns!(),
                " FROM suppression s WHERE s.account = $1 AND s.live = $2 AND s.recipient = $3 AND s.id < $4
                   AND s.lifted_at = $5 AND s.lifted_why = $6 AND s.programme IS NOT DISTINCT FROM $7
                   ORDER BY s.id DESC LIMIT 1"
            ),
            &[
                &account,
                &is_live,
                &digits,
                &lifted.id.key(),
                &lifted.created_at.as_millis(),
                &REPLACED_BY_OPT_OUT,
                &programme,
            ],
        )
        .await?;
    let replaced = replaced.as_ref().map(read).transpose()?;
    if let Some(replaced) = replaced.filter(|replaced| replaced.counts_again(now)) {
        let id = SuppressionId::from_key(tx.next_id(now));
        add(tx, &Suppression { id, created_at: now, lifted: None, ..replaced }, actor).await?;
    }
    Ok(())
}

/// Every entry of these, also those that were lifted.
pub(super) async fn history(
    sql: &Session,
    accounts: &[i64],
    lives: &[i16],
    recipients: &[i64],
) -> Result<Vec<Suppression>> {
    let rows = sql
        .rows(
            concat!(
                "SELECT ",
                columns!(),
                " FROM unnest($1::bigint[], $2::smallint[], $3::bigint[]) AS k (account, live, recipient)
                 CROSS JOIN LATERAL (SELECT x.* FROM suppression x WHERE x.account = k.account AND x.live = k.live
                   AND x.recipient = k.recipient AND x.id > 0 ORDER BY x.id) s"
            ),
            &[&accounts, &lives, &recipients],
        )
        .await?;
    rows.iter().map(read).collect()
}

pub(super) async fn programmes_listed(rx: &Rx<'_>, now: &Timestamp) -> Result<ProgrammesListed> {
    let rows = rx
        .sql
        .rows(
            "SELECT s.account, s.live, s.programme, count(*) FROM suppression s
             WHERE s.programme IS NOT NULL AND s.lifted_at IS NULL AND (s.expires_at IS NULL OR s.expires_at > $1)
             GROUP BY s.programme, s.account, s.live",
            &[&now.as_millis()],
        )
        .await?;
    let mut found = ProgrammesListed::new();
    for row in &rows {
        let (of, count) = (realm(row, 0)?, cell::<i64>(row, 3)?.unsigned_abs());
        found.extend(column::programme(cell(row, 2)?)?.map(|name| ((name, of), count)));
    }
    Ok(found)
}

pub(super) async fn suppressions(
    rx: &Rx<'_>,
    realm: &Realm,
    filter: &SuppressionFilter,
    page: &Page,
) -> Result<Paged<Suppression>> {
    let SuppressionFilter { recipient, programme, include_lifted } = filter;
    let programme = programme.as_ref().map(programme::Name::as_str);
    let before = page.before.unwrap_or(i64::MAX);
    let most = page.limit as i64 + 1;
    let rows = match recipient {
        Some(recipient) => {
            let (account, is_live, digits) = key(*realm, *recipient);
            rx.sql
                .rows(
                    concat!(
                        "SELECT ",
                        columns!(),
                        " FROM suppression s WHERE s.account = $1 AND s.live = $2 AND s.recipient = $3 AND s.id < $4
                           AND ($5 OR s.lifted_at IS NULL) AND ($7::text IS NULL OR s.programme = $7)
                         ORDER BY s.id DESC LIMIT $6"
                    ),
                    &[&account, &is_live, &digits, &before, include_lifted, &most, &programme],
                )
                .await?
        }
        None => {
            rx.sql
                .rows(
                    concat!(
                        "SELECT ",
                        columns!(),
                        " FROM suppression s WHERE s.account * 2 + s.live = $1 AND s.id < $2
                           AND ($3 OR s.lifted_at IS NULL) AND ($5::text IS NULL OR s.programme = $5)
                         ORDER BY s.id DESC LIMIT $4"
                    ),
                    &[&realm_number(*realm), &before, include_lifted, &most, &programme],
                )
                .await?
        }
    };
    let items = rows.iter().map(read).collect::<Result<Vec<_>>>()?;
    Ok(Paged::of(items, page, |entry| entry.id.key()))
}

/// A realm as the indexes of lists spell it.
pub(super) const fn realm_number(realm: Realm) -> i64 {
    realm.account.key().wrapping_mul(2).wrapping_add(live(realm.environment) as i64)
}

pub(super) async fn listed(rx: &Rx<'_>, after: &AuditId, limit: &usize) -> Result<Listed> {
    // The trail is in the order of accounts: one probe for each.
    let lines = rx
        .sql
        .rows(
            "SELECT l.id, l.subject FROM account a CROSS JOIN LATERAL (SELECT x.id, x.subject FROM audit x
               WHERE x.account = a.id AND x.id > $1 AND x.action IN ('suppression.add', 'suppression.lift')
               ORDER BY x.id LIMIT $2) l ORDER BY l.id LIMIT $2",
            &[&after.key(), &(*limit as i64)],
        )
        .await?;
    let mut told = Vec::with_capacity(lines.len());
    for line in &lines {
        let id = cell::<&str>(line, 1)?.parse::<SuppressionId>().ok();
        told.push((AuditId::from_key(cell(line, 0)?), id));
    }
    let ids: Vec<i64> = told.iter().filter_map(|(_, id)| Some((*id)?.key())).collect();
    let rows = rx
        .sql
        .rows(concat!("SELECT ", columns!(), " FROM suppression s WHERE s.id = ANY ($1)"), &[&ids])
        .await?;
    let mut entries = HashMap::new();
    for row in &rows {
        let entry = read(row)?;
        entries.insert(entry.id, entry);
    }
    let last = told.last().filter(|_| told.len() == *limit).map(|(line, _)| *line);
    let changes = told.iter().filter_map(|(line, id)| Some((*line, entries.get(&(*id)?)?.clone()))).collect();
    let row = rx
        .sql
        .one(
            "SELECT $1::bigint = 0 OR EXISTS (SELECT 1 FROM account a CROSS JOIN LATERAL (SELECT 1 FROM audit x
               WHERE x.account = a.id AND x.id = $1 LIMIT 1) l), (SELECT max(l.id) FROM account a CROSS JOIN LATERAL
               (SELECT x.id FROM audit x WHERE x.account = a.id ORDER BY x.id DESC LIMIT 1) l)",
            &[&after.key()],
        )
        .await?;
    let newest = cell::<Option<i64>>(&row, 1)?.map_or(*after, |id| AuditId::from_key(id).max(*after));
    Ok(Listed { is_known: cell(&row, 0)?, changes, upto: last.unwrap_or(newest) })
}

fn read(row: &Row) -> Result<Suppression> {
    let lifted = match (cell::<Option<i64>>(row, 8)?, cell::<Option<String>>(row, 9)?) {
        (Some(at), why) => Some((Timestamp::from_millis(at), why.unwrap_or_default())),
        (None, _) => None,
    };
    Ok(Suppression {
        id: SuppressionId::from_key(cell(row, 0)?),
        realm: realm(row, 1)?,
        recipient: number(cell(row, 3)?)?,
        programme: column::programme(cell(row, 10)?)?,
        reason: column::reason(
            i64::from(cell::<i16>(row, 4)?),
            cell::<Option<i16>>(row, 11)?.map(i64::from),
        )?,
        source: cell(row, 5)?,
        created_at: Timestamp::from_millis(cell(row, 6)?),
        expires_at: cell::<Option<i64>>(row, 7)?.map(Timestamp::from_millis),
        lifted,
    })
}
