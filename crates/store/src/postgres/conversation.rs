//! Conversations: their entries, written in the commits of what they are, and the words that these are found by.
//!
//! Rows of conversations are on no sheet: each operation looks at its own and changes them at once.

use super::inbound;
use super::message;
use super::operating::write_audit;
use super::reader::Rx;
use super::session::{Flight, Session, cell, clean, live, realm, values};
use super::transaction::Tx;
use crate::Result;
use crate::backend::*;
use crate::column::{self, corrupt, number};
use std::collections::{HashMap, hash_map};
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::conversation::{Change, Conversation, Entry, TooManyTags, is_lost, saw_all};
use tidings_domain::id::*;
use tidings_domain::message::{Message, Status};
use tidings_domain::sender::Sender;
use tidings_domain::time::Timestamp;
use tokio_postgres::Row;

/// Between whom a conversation is.
pub(super) type Parties = (Realm, PhoneNumber, Sender);

// ── writing ─────────────────────────────────────────────────────────────────────────────────────────────────

pub(super) async fn converse(
    tx: &mut Tx,
    intake: &Intake,
    saying: &Saying,
    now: &Timestamp,
) -> Result<Accepted> {
    message::accept_with(tx, intake, Beside::Saying(saying), *now).await
}

/// Whether somebody wrote since what the writer of a message saw.
pub(super) async fn is_overtaken(sql: &Session, message: &Message, saying: &Saying) -> Result<bool> {
    let Some(seen) = saying.seen else { return Ok(false) };
    let parties = (message.realm(), message.recipient, message.sender);
    let known = between(sql, &[parties]).await?;
    let Some((one, _)) = known.get(&parties) else { return Ok(true) };
    let last = match one.last {
        Entry::Message(last) if one.last != seen => {
            message::find_all(sql, parties.0, &[last.key()]).await?.remove(&last)
        }
        _ => None,
    };
    Ok(!saw_all(seen, one.last, last.and_then(|stored| stored.message.reply)))
}

/// How the message was said that this one repeats, if it was. What a rule answered was said by nobody.
pub(super) async fn said_before(sql: &Session, message: &Message) -> Result<Option<Saying>> {
    let Some(first) = message.retry_of else { return Ok(None) };
    let query = "SELECT author FROM conversation_entry WHERE kind = 1 AND ref = $1 AND account = $2 LIMIT 1";
    let row = sql.row(query, &[&first.key(), &message.account.key()]).await?;
    let Some(row) = row else { return Ok(None) };
    let author: Option<String> = cell(&row, 0)?;
    Ok(author.map(|author| Saying { seen: None, author }))
}

/// Messages that are lost answer nothing. Where a conversation was answered with one, the last one since the person asked that is
/// not lost takes its place (`Conversation::lose`).
pub(super) fn write_lost<'v>(flight: &mut Flight<'v>, lost: &'v [i64]) {
    let states: Vec<i16> =
        Status::ALL.into_iter().filter(|status| is_lost(*status)).flat_map(column::state_numbers).collect();
    flight.statement(
        "UPDATE conversation c SET answered = o.answered FROM (
           SELECT e.conversation, e.account, e.place, coalesce((
               SELECT x.place FROM conversation_entry x
               WHERE x.conversation = e.conversation AND x.account = e.account AND x.place > a.asked
                 AND x.place < e.place AND x.kind = 1
                 AND NOT EXISTS (SELECT 1 FROM message m
                   WHERE m.id = x.ref AND m.account = x.account AND m.state = ANY ($2) LIMIT 1)
               ORDER BY x.place DESC LIMIT 1), 0) AS answered
           FROM unnest($1::bigint[]) AS k (message)
           CROSS JOIN LATERAL (SELECT y.conversation, y.account, y.place FROM conversation_entry y
             WHERE y.kind = 1 AND y.ref = k.message LIMIT 1) e
           CROSS JOIN LATERAL (SELECT z.asked FROM conversation z
             WHERE z.id = e.conversation AND z.account = e.account LIMIT 1) a) o
         WHERE c.id = o.conversation AND c.account = o.account AND c.answered = o.place",
        values![lost, states],
    );
}

/// An entry with its place, and the words that it is found by.
struct Placed {
    new: Addition,
    conversation: ConversationId,
    place: u32,
    seq: i64,
    words: String,
}

/// Adds entries, in their order, to their conversations, which they begin if there are none. Gives the conversation of the
/// last.
pub(super) async fn add(tx: &mut Tx, new: Vec<Addition>) -> Result<Option<Conversation>> {
    if new.is_empty() {
        return Ok(None);
    }
    let parties: Vec<Parties> = new.iter().map(|one| (one.realm, one.person, one.sender)).collect();
    let mut known = between(&tx.sql, &parties).await?;
    let mut placed = Vec::with_capacity(new.len());
    let mut last = None;
    for new in new {
        let parties = (new.realm, new.person, new.sender);
        let (one, seq) = match known.entry(parties) {
            hash_map::Entry::Occupied(known) => known.into_mut(),
            hash_map::Entry::Vacant(new_one) => {
                let id = new.begins.unwrap_or_else(|| ConversationId::from_key(tx.next_id(new.at)));
                let begun = Conversation::begun(id, new.realm, new.person, new.sender, new.entry, new.at);
                new_one.insert((begun, 0))
            }
        };
        *seq = tx.next_id(new.at);
        let place = one.add(new.entry, new.asks, new.at);
        one.route(&new.routed);
        last = Some(one.clone());
        let words = column::spaced(&new.words);
        placed.push(Placed { conversation: one.id, new, place, seq: *seq, words });
    }
    put(&tx.sql, known.values()).await?;
    tx.sql
        .execute(
            "INSERT INTO conversation_entry (conversation, account, place, seq, kind, ref, author, text, words, at)
             SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::integer[], $4::bigint[], $5::smallint[], $6::bigint[],
               $7::text[], $8::text[], $9::text[], $10::bigint[])",
            &[
                &placed.iter().map(|one| one.conversation.key()).collect::<Vec<_>>(),
                &placed.iter().map(|one| one.new.realm.account.key()).collect::<Vec<_>>(),
                &placed.iter().map(|one| one.place as i32).collect::<Vec<_>>(),
                &placed.iter().map(|one| one.seq).collect::<Vec<_>>(),
                &placed.iter().map(|one| one.new.entry.kind() as i16).collect::<Vec<_>>(),
                &placed.iter().map(|one| one.new.entry.key()).collect::<Vec<_>>(),
                &placed.iter().map(|one| one.new.author.as_deref().map(clean)).collect::<Vec<_>>(),
                &placed.iter().map(|one| one.new.text.as_deref().map(clean)).collect::<Vec<_>>(),
                &placed.iter().map(|one| one.words.as_str()).collect::<Vec<_>>(),
                &placed.iter().map(|one| one.new.at.as_millis()).collect::<Vec<_>>(),
            ],
        )
        .await?;
    let words = || placed.iter().flat_map(|one| one.new.words.iter().map(move |word| (one, word)));
    if words().next().is_none() {
        return Ok(last);
    }
    tx.sql
        .execute(
            "INSERT INTO conversation_word (account, live, word, seq, conversation, place)
             SELECT * FROM unnest($1::bigint[], $2::smallint[], $3::text[], $4::bigint[], $5::bigint[], $6::integer[])",
            &[
                &words().map(|(one, _)| one.new.realm.account.key()).collect::<Vec<_>>(),
                &words().map(|(one, _)| live(one.new.realm.environment)).collect::<Vec<_>>(),
                &words().map(|(_, word)| word.as_str()).collect::<Vec<_>>(),
                &words().map(|(one, _)| one.seq).collect::<Vec<_>>(),
                &words().map(|(one, _)| one.conversation.key()).collect::<Vec<_>>(),
                &words().map(|(one, _)| one.place as i32).collect::<Vec<_>>(),
            ],
        )
        .await?;
    Ok(last)
}

async fn put<'c>(sql: &Session, all: impl Iterator<Item = &'c (Conversation, i64)>) -> Result<()> {
    let all: Vec<&(Conversation, i64)> = all.collect();
    fn each<T>(all: &[&(Conversation, i64)], of: impl Fn(&Conversation) -> T) -> Vec<T> {
        all.iter().map(|(one, _)| of(one)).collect()
    }
    let all = &all[..];
    sql.execute(
        "INSERT INTO conversation (id, account, live, person, sender, last_kind, last_ref, seq, entries, asked, answered,
           closed, snoozed_until, assignee, tags, created_at, last_at)
         SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::bigint[], $5::text[], $6::smallint[],
           $7::bigint[], $8::bigint[], $9::integer[], $10::integer[], $11::integer[], $12::integer[], $13::bigint[],
           $14::text[], $15::text[], $16::bigint[], $17::bigint[])
         ON CONFLICT (id, account) DO UPDATE SET last_kind = excluded.last_kind, last_ref = excluded.last_ref, seq = excluded.seq,
           entries = excluded.entries, asked = excluded.asked, answered = excluded.answered, closed = excluded.closed,
           snoozed_until = excluded.snoozed_until, assignee = excluded.assignee, tags = excluded.tags,
           last_at = excluded.last_at",
        &[
            &each(all, |one| one.id.key()),
            &each(all, |one| one.realm.account.key()),
            &each(all, |one| live(one.realm.environment)),
            &each(all, |one| one.person.digits() as i64),
            &each(all, |one| one.sender.to_string()),
            &each(all, |one| one.last.kind() as i16),
            &each(all, |one| one.last.key()),
            &all.iter().map(|(_, seq)| *seq).collect::<Vec<_>>(),
            &each(all, |one| one.entries as i32),
            &each(all, |one| one.asked as i32),
            &each(all, |one| one.answered as i32),
            &each(all, |one| one.closed as i32),
            &each(all, |one| one.snoozed_until.map(Timestamp::as_millis)),
            &each(all, |one| one.assignee.as_deref().map(|name| clean(name).into_owned())),
            &each(all, |one| column::spaced(&one.tags)),
            &each(all, |one| one.created_at.as_millis()),
            &each(all, |one| one.last_at.as_millis()),
        ],
    )
    .await
    .map(drop)
}

pub(super) async fn add_note(
    tx: &mut Tx,
    realm: &Realm,
    id: &ConversationId,
    note: &NewNote,
    now: &Timestamp,
) -> Result<Option<Conversation>> {
    let Some((known, _)) = find(&tx.sql, *realm, *id).await? else { return Ok(None) };
    add(tx, vec![Addition::of_note(&known, note, *now)]).await
}

pub(super) async fn change_conversation(
    tx: &mut Tx,
    realm: &Realm,
    id: &ConversationId,
    change: &Change,
    actor: &Actor,
    now: &Timestamp,
) -> Result<Option<std::result::Result<Conversation, TooManyTags>>> {
    let Some((mut one, seq)) = find(&tx.sql, *realm, *id).await? else { return Ok(None) };
    if let Err(why) = one.change(change) {
        return Ok(Some(Err(why)));
    }
    let changed = (one, seq);
    put(&tx.sql, std::iter::once(&changed)).await?;
    write_audit(tx, actor, change.as_str(), &id.to_string(), "", *now);
    Ok(Some(Ok(changed.0)))
}

/// A message whose text was removed is not found by its words any more.
pub(super) async fn forget_words(sql: &Session, realm: Realm, message: MessageId) -> Result<()> {
    let rows = sql
        .rows(
            "UPDATE conversation_entry e SET words = ' '
             FROM (SELECT x.conversation, x.account, x.place, x.words FROM conversation_entry x
                   WHERE x.kind = 1 AND x.ref = $1 AND x.account = $2) o
             WHERE e.conversation = o.conversation AND e.account = o.account AND e.place = o.place
             RETURNING e.seq, o.words",
            &[&message.key(), &realm.account.key()],
        )
        .await?;
    let mut gone = Vec::new();
    for row in &rows {
        gone.push((realm, cell(row, 0)?, cell::<String>(row, 1)?));
    }
    remove_words(sql, &gone).await
}

async fn remove_words(sql: &Session, gone: &[(Realm, i64, String)]) -> Result<()> {
    let words = || {
        gone.iter().flat_map(|(realm, seq, words)| {
            column::unspaced(words).into_iter().map(move |word| (*realm, *seq, word))
        })
    };
    if words().next().is_none() {
        return Ok(());
    }
    sql.execute(
        "DELETE FROM conversation_word w USING unnest($1::bigint[], $2::smallint[], $3::text[], $4::bigint[])
           AS k (account, live, word, seq)
         WHERE w.account = k.account AND w.live = k.live AND w.word = k.word AND w.seq = k.seq",
        &[
            &words().map(|(realm, ..)| realm.account.key()).collect::<Vec<_>>(),
            &words().map(|(realm, ..)| live(realm.environment)).collect::<Vec<_>>(),
            &words().map(|(.., word)| word).collect::<Vec<_>>(),
            &words().map(|(_, seq, _)| seq).collect::<Vec<_>>(),
        ],
    )
    .await
    .map(drop)
}

/// Forgets entries from before then, and conversations that have none left. `true` if there may be more.
pub(super) async fn sweep(sql: &Session, before: Timestamp, limit: usize) -> Result<bool> {
    let rows = sql
        .rows(
            "SELECT x.account, c.live, x.seq, x.words, x.conversation, x.place FROM
               (SELECT conversation, account, place, seq, words, at FROM conversation_entry
                WHERE at < $1 ORDER BY at LIMIT $2) x
             CROSS JOIN LATERAL (SELECT y.live FROM conversation y
               WHERE y.id = x.conversation AND y.account = x.account LIMIT 1) c
             ORDER BY x.at",
            &[&before.as_millis(), &(limit as i64)],
        )
        .await?;
    let (mut gone, mut conversations, mut places) = (Vec::new(), Vec::new(), Vec::new());
    for row in &rows {
        gone.push((realm(row, 0)?, cell(row, 2)?, cell::<String>(row, 3)?));
        conversations.push(cell::<i64>(row, 4)?);
        places.push(cell::<i32>(row, 5)?);
    }
    let now = swept_at_once(gone.iter().map(|(.., words)| words.as_str()), limit);
    gone.truncate(now);
    conversations.truncate(now);
    places.truncate(now);
    if !gone.is_empty() {
        let accounts: Vec<i64> = gone.iter().map(|(realm, ..)| realm.account.key()).collect();
        remove_words(sql, &gone).await?;
        sql.execute(
            "DELETE FROM conversation_entry e USING unnest($1::bigint[], $2::bigint[], $3::integer[])
               AS k (conversation, account, place)
             WHERE e.conversation = k.conversation AND e.account = k.account AND e.place = k.place",
            &[&conversations, &accounts, &places],
        )
        .await?;
    }
    // Entries go by their age, so what was said last in one that is empty is older than all that is left: without that bound each
    // call would look into every old conversation that still has to be emptied.
    let empty = sql
        .execute(
            "DELETE FROM conversation WHERE id = ANY (ARRAY (
               SELECT c.id FROM conversation c
               WHERE c.last_at < least($1, (SELECT e.at FROM conversation_entry e ORDER BY e.at LIMIT 1))
                 AND NOT EXISTS (SELECT 1 FROM conversation_entry e WHERE e.conversation = c.id AND e.account = c.account
                   LIMIT 1)
               ORDER BY c.last_at LIMIT $2))",
            &[&before.as_millis(), &(limit as i64)],
        )
        .await?;
    Ok(rows.len() == limit || gone.len() < rows.len() || empty == limit as u64)
}

// ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────

/// What [`read`] reads.
macro_rules! columns {
    () => {
        "c.id, c.account, c.live, c.person, c.sender, c.last_kind, c.last_ref, c.seq, c.entries, c.asked, c.answered,
           c.closed, c.snoozed_until, c.assignee, c.tags, c.created_at, c.last_at"
    };
}

/// The conversations between these. While the table is new, the index by place looks as good as the one by person, and would read
/// those of everybody: the order leaves no choice.
pub(super) async fn between(
    sql: &Session,
    parties: &[Parties],
) -> Result<HashMap<Parties, (Conversation, i64)>> {
    let rows = sql
        .rows(
            concat!(
                "SELECT ",
                columns!(),
                " FROM (SELECT DISTINCT * FROM unnest($1::bigint[], $2::smallint[], $3::bigint[], $4::text[])
                    AS u (account, live, person, sender)) k
                  CROSS JOIN LATERAL (SELECT x.* FROM conversation x WHERE x.account = k.account AND x.live = k.live
                    AND x.person BETWEEN k.person AND k.person AND x.sender = k.sender ORDER BY x.person LIMIT 1) c"
            ),
            &[
                &parties.iter().map(|(realm, ..)| realm.account.key()).collect::<Vec<_>>(),
                &parties.iter().map(|(realm, ..)| live(realm.environment)).collect::<Vec<_>>(),
                &parties.iter().map(|(_, person, _)| person.digits() as i64).collect::<Vec<_>>(),
                &parties.iter().map(|(.., sender)| sender.to_string()).collect::<Vec<_>>(),
            ],
        )
        .await?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in &rows {
        let (one, seq) = read(row)?;
        found.insert((one.realm, one.person, one.sender), (one, seq));
    }
    Ok(found)
}

async fn find(sql: &Session, realm: Realm, id: ConversationId) -> Result<Option<(Conversation, i64)>> {
    let query = concat!("SELECT ", columns!(), " FROM conversation c WHERE c.id = $1 AND c.account = $2");
    let row = sql.row(query, &[&id.key(), &realm.account.key()]).await?;
    let found = row.as_ref().map(read).transpose()?;
    Ok(found.filter(|(one, _)| one.realm == realm))
}

fn read(row: &Row) -> Result<(Conversation, i64)> {
    let sender: &str = cell(row, 4)?;
    let count = |n| {
        let number: i32 = cell(row, n)?;
        u32::try_from(number).map_err(|_| corrupt("count of entries", number))
    };
    let one = Conversation {
        id: ConversationId::from_key(cell(row, 0)?),
        realm: realm(row, 1)?,
        person: number(cell(row, 3)?)?,
        sender: column::sender(sender)?,
        last: column::entry(i64::from(cell::<i16>(row, 5)?), cell(row, 6)?)?,
        entries: count(8)?,
        asked: count(9)?,
        answered: count(10)?,
        closed: count(11)?,
        snoozed_until: cell::<Option<i64>>(row, 12)?.map(Timestamp::from_millis),
        assignee: cell(row, 13)?,
        tags: column::unspaced(cell(row, 14)?),
        created_at: Timestamp::from_millis(cell(row, 15)?),
        last_at: Timestamp::from_millis(cell(row, 16)?),
    };
    Ok((one, cell(row, 7)?))
}

pub(super) async fn conversation(
    rx: &Rx<'_>,
    realm: &Realm,
    id: &ConversationId,
) -> Result<Option<Conversation>> {
    Ok(find(rx.sql, *realm, *id).await?.map(|(one, _)| one))
}

/// Rows that are fetched at once while a list is looked through, at most.
const PIECE: i64 = 500;

/// Rows that are fetched first: those of the page, and the one that says that there is another. If all of them fit, which is
/// usual, nothing else is read.
fn first_piece(page: &Page) -> i64 {
    i64::try_from(page.limit).map_or(PIECE, |limit| limit.saturating_add(1).min(PIECE))
}

pub(super) async fn conversations(
    rx: &Rx<'_>,
    realm: &Realm,
    filter: &ConversationFilter,
    page: &Page,
    now: &Timestamp,
) -> Result<Paged<Conversation>> {
    let (account, live) = (realm.account.key(), live(realm.environment));
    let mut through = Through::new(page);
    let mut before = page.before.unwrap_or(i64::MAX);
    let mut piece = first_piece(page);
    loop {
        let rows = match (filter.person, filter.is_unanswered()) {
            // A person has a few, one for a sender of ours. The index by place would read those of everybody: `+ 0` hides the
            // place, and the order by person leaves no other choice.
            (Some(person), _) => {
                let query = concat!(
                    "SELECT ",
                    columns!(),
                    " FROM conversation c WHERE c.account = $1 AND c.live = $2 AND c.person BETWEEN $4 AND $4
                        AND c.seq + 0 < $3 ORDER BY c.person, c.seq + 0 DESC LIMIT $5"
                );
                rx.sql.rows(query, &[&account, &live, &before, &(person.digits() as i64), &piece]).await?
            }
            (None, true) => {
                let query = concat!(
                    "SELECT ",
                    columns!(),
                    " FROM conversation c WHERE c.account = $1 AND c.live = $2 AND c.seq < $3
                      AND c.asked > c.answered AND c.asked > c.closed ORDER BY c.seq DESC LIMIT $4"
                );
                rx.sql.rows(query, &[&account, &live, &before, &piece]).await?
            }
            (None, false) => {
                let query = concat!(
                    "SELECT ",
                    columns!(),
                    " FROM conversation c WHERE c.account = $1 AND c.live = $2 AND c.seq < $3
                      ORDER BY c.seq DESC LIMIT $4"
                );
                rx.sql.rows(query, &[&account, &live, &before, &piece]).await?
            }
        };
        for row in &rows {
            let (one, seq) = read(row)?;
            before = seq;
            let fits = filter.fits(&one, *now);
            if through.take(fits.then_some(one), seq).is_break() {
                return Ok(through.page());
            }
        }
        if (rows.len() as i64) < piece {
            return Ok(through.page());
        }
        piece = PIECE;
    }
}

/// An entry as its row has it.
struct Written {
    place: u32,
    entry: Entry,
    author: Option<String>,
    text: Option<String>,
    at: Timestamp,
}

fn written(row: &Row) -> Result<Written> {
    let place: i32 = cell(row, 0)?;
    Ok(Written {
        place: u32::try_from(place).map_err(|_| corrupt("place of an entry", place))?,
        entry: column::entry(i64::from(cell::<i16>(row, 1)?), cell(row, 2)?)?,
        author: cell(row, 3)?,
        text: cell(row, 4)?,
        at: Timestamp::from_millis(cell(row, 5)?),
    })
}

/// The entries with what they are, each with its key; without those that are not kept any more.
async fn lines_of<K>(sql: &Session, realm: Realm, all: Vec<(K, Written)>) -> Result<Vec<(K, Line)>> {
    let ids = |of: fn(Entry) -> Option<i64>| -> Vec<i64> {
        all.iter().filter_map(|(_, written)| of(written.entry)).collect()
    };
    let from = ids(|entry| if let Entry::Inbound(id) = entry { Some(id.key()) } else { None });
    let to = ids(|entry| if let Entry::Message(id) = entry { Some(id.key()) } else { None });
    let mut inbounds = inbound::find(sql, &from).await?;
    let mut messages = message::find_all(sql, realm, &to).await?;
    let line = |(key, written): (K, Written)| {
        let Written { place, entry, author, text, at } = written;
        let what = match entry {
            Entry::Inbound(id) => What::Inbound(Box::new(inbounds.remove(&id)?)),
            Entry::Message(id) => What::Message(Box::new(messages.remove(&id)?)),
            Entry::Note(id) => What::Note(id, text.unwrap_or_default()),
        };
        Some((key, Line { place, at, author, what }))
    };
    Ok(all.into_iter().filter_map(line).collect())
}

pub(super) async fn lines(
    rx: &Rx<'_>,
    realm: &Realm,
    id: &ConversationId,
    page: &Page,
) -> Result<Option<Paged<Line>>> {
    if find(rx.sql, *realm, *id).await?.is_none() {
        return Ok(None);
    }
    let before = i32::try_from(page.before.unwrap_or(i64::MAX)).unwrap_or(i32::MAX);
    let rows = rx
        .sql
        .rows(
            "SELECT place, kind, ref, author, text, at FROM conversation_entry
             WHERE conversation = $1 AND account = $2 AND place < $3 ORDER BY place DESC LIMIT $4",
            &[&id.key(), &realm.account.key(), &before, &(page.limit as i64 + 1)],
        )
        .await?;
    let all = rows.iter().map(written).collect::<Result<Vec<_>>>()?;
    let Paged { items, next } = Paged::of(all, page, |written| i64::from(written.place));
    let all = items.into_iter().map(|written| ((), written)).collect();
    let lines = lines_of(rx.sql, *realm, all).await?;
    Ok(Some(Paged { items: lines.into_iter().map(|((), line)| line).collect(), next }))
}

pub(super) async fn search(
    rx: &Rx<'_>,
    realm: &Realm,
    words: &[String],
    page: &Page,
) -> Result<Paged<Found>> {
    // The longest word is likely the rarest.
    let Some(rarest) = words.iter().max_by_key(|word| word.chars().count()) else {
        return Ok(Paged { items: Vec::new(), next: None });
    };
    let (account, live) = (realm.account.key(), live(realm.environment));
    let mut through = Through::new(page);
    let mut before = page.before.unwrap_or(i64::MAX);
    let mut piece = first_piece(page);
    'looking: loop {
        let rows = rx
            .sql
            .rows(
                "SELECT e.place, e.kind, e.ref, e.author, e.text, e.at, e.words, w.seq, w.conversation
                 FROM (SELECT seq, conversation, place FROM conversation_word WHERE account = $1 AND live = $2 AND word = $3
                       AND seq < $4 ORDER BY seq DESC LIMIT $5) w
                 CROSS JOIN LATERAL (SELECT x.* FROM conversation_entry x WHERE x.conversation = w.conversation
                   AND x.account = $1 AND x.place = w.place LIMIT 1) e
                 ORDER BY w.seq DESC",
                &[&account, &live, rarest, &before, &piece],
            )
            .await?;
        for row in &rows {
            let (has, seq): (&str, i64) = (cell(row, 6)?, cell(row, 7)?);
            before = seq;
            let fits = words.iter().all(|word| has.contains(&format!(" {word} ")));
            let found =
                if fits { Some((ConversationId::from_key(cell(row, 8)?), written(row)?)) } else { None };
            if through.take(found, seq).is_break() {
                break 'looking;
            }
        }
        if (rows.len() as i64) < piece {
            break;
        }
        piece = PIECE;
    }
    let Paged { items, next } = through.page();
    let found = lines_of(rx.sql, *realm, items).await?;
    let found = found.into_iter().map(|(conversation, line)| Found { conversation, line });
    Ok(Paged { items: found.collect(), next })
}
