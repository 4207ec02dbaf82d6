//! Conversations: their entries, written in the commits of what they are, and the words that these are found by.

use super::inbound;
use super::message;
use super::operating::write_audit;
use super::reader::{Rx, get, realm};
use super::session::failed;
use super::transaction::Tx;
use crate::Result;
use crate::backend::*;
use crate::column::{self, live, number};
use rusqlite::{Connection as Sql, OptionalExtension, Row, params};
use tidings_domain::account::Realm;
use tidings_domain::address::PhoneNumber;
use tidings_domain::conversation::{Change, Conversation, Entry, TooManyTags, is_lost, saw_all};
use tidings_domain::id::*;
use tidings_domain::message::Message;
use tidings_domain::sender::Sender;
use tidings_domain::time::Timestamp;

/// What [`read`] reads.
macro_rules! columns {
    () => {
        "SELECT id, account, live, person, sender, last_kind, last_ref, seq, entries, asked, answered, closed,
           snoozed_until, assignee, tags, created_at, last_at FROM conversation "
    };
}

// ── writing ─────────────────────────────────────────────────────────────────────────────────────────────────

pub(super) fn converse(
    tx: &mut Tx<'_>,
    intake: &Intake,
    saying: &Saying,
    now: &Timestamp,
) -> Result<Accepted> {
    message::accept_with(tx, intake, Beside::Saying(saying), *now)
}

/// Whether somebody wrote since what the writer of a message saw.
pub(super) fn is_overtaken(
    sql: &Sql,
    realm: Realm,
    person: PhoneNumber,
    sender: Sender,
    saying: &Saying,
) -> Result<bool> {
    let Some(seen) = saying.seen else { return Ok(false) };
    let Some((one, _)) = between(sql, realm, person, sender)? else { return Ok(true) };
    let last = match one.last {
        Entry::Message(last) if one.last != seen => message::find(sql, realm, last)?,
        _ => None,
    };
    Ok(!saw_all(seen, one.last, last.and_then(|stored| stored.message.reply)))
}

/// How the message was said that this one repeats, if it was. What a rule answered was said by nobody.
pub(super) fn said_before(sql: &Sql, message: &Message) -> Result<Option<Saying>> {
    let Some(first) = message.retry_of else { return Ok(None) };
    let author: Option<Option<String>> = sql
        .prepare_cached("SELECT author FROM conversation_entry WHERE kind = 1 AND ref = ?1")
        .and_then(|mut s| s.query_row([first.key()], |row| row.get(0)).optional())
        .map_err(failed)?;
    Ok(author.flatten().map(|author| Saying { seen: None, author }))
}

/// A message that is lost answers nothing. If its conversation was answered with it, the last one since the person asked that is
/// not lost takes its place.
pub(super) fn lose(sql: &Sql, message: MessageId) -> Result<()> {
    let entry: Option<(i64, u32)> = sql
        .prepare_cached("SELECT conversation, place FROM conversation_entry WHERE kind = 1 AND ref = ?1")
        .and_then(|mut s| s.query_row([message.key()], |row| Ok((row.get(0)?, row.get(1)?))).optional())
        .map_err(failed)?;
    let Some((id, place)) = entry else { return Ok(()) };
    let found = one(sql, concat!(columns!(), "WHERE id = ?1"), [id])?;
    let Some((mut conversation, seq)) = found.filter(|(one, _)| one.answered == place) else { return Ok(()) };
    let mut others = Vec::new();
    {
        let mut statement = sql
            .prepare_cached(
                "SELECT e.place, m.state FROM conversation_entry e LEFT JOIN message m ON m.id = e.ref
                 WHERE e.conversation = ?1 AND e.place > ?2 AND e.place < ?3 AND e.kind = 1",
            )
            .map_err(failed)?;
        let mut rows = statement.query(params![id, conversation.asked, place]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let status = get::<Option<i64>>(row, 1)?.map(column::status).transpose()?;
            if !status.is_some_and(is_lost) {
                others.push(get(row, 0)?);
            }
        }
    }
    conversation.lose(others.into_iter());
    put(sql, &conversation, seq)
}

/// Adds an entry to its conversation, which it begins if there is none.
pub(super) fn add(tx: &mut Tx<'_>, new: &Addition) -> Result<Conversation> {
    let known = between(tx.sql, new.realm, new.person, new.sender)?;
    let mut one = match known {
        Some((known, _)) => known,
        None => {
            let id = match new.begins {
                Some(id) => id,
                None => ConversationId::from_key(tx.next_id(new.at)?),
            };
            Conversation::begun(id, new.realm, new.person, new.sender, new.entry, new.at)
        }
    };
    let place = one.add(new.entry, new.asks, new.at);
    one.route(&new.routed);
    let seq = tx.next_id(new.at)?;
    put(tx.sql, &one, seq)?;
    tx.sql
        .prepare_cached(
            "INSERT INTO conversation_entry (conversation, place, seq, kind, ref, author, text, words, at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )
        .and_then(|mut s| {
            s.execute(params![
                one.id.key(),
                place,
                seq,
                new.entry.kind(),
                new.entry.key(),
                new.author,
                new.text,
                column::spaced(&new.words),
                new.at.as_millis(),
            ])
        })
        .map_err(failed)?;
    let mut statement = tx
        .sql
        .prepare_cached(
            "INSERT INTO conversation_word (account, live, word, seq, conversation, place)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .map_err(failed)?;
    for word in &new.words {
        let (account, live) = (new.realm.account.key(), live(new.realm.environment));
        statement.execute(params![account, live, word, seq, one.id.key(), place]).map_err(failed)?;
    }
    Ok(one)
}

fn put(sql: &Sql, one: &Conversation, seq: i64) -> Result<()> {
    sql.prepare_cached(
        "INSERT INTO conversation (id, account, live, person, sender, last_kind, last_ref, seq, entries, asked, answered,
           closed, snoozed_until, assignee, tags, created_at, last_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)
         ON CONFLICT (id) DO UPDATE SET last_kind = excluded.last_kind, last_ref = excluded.last_ref, seq = excluded.seq,
           entries = excluded.entries, asked = excluded.asked, answered = excluded.answered, closed = excluded.closed,
           snoozed_until = excluded.snoozed_until, assignee = excluded.assignee, tags = excluded.tags,
           last_at = excluded.last_at",
    )
    .and_then(|mut s| {
        s.execute(params![
            one.id.key(),
            one.realm.account.key(),
            live(one.realm.environment),
            one.person.digits() as i64,
            one.sender.to_string(),
            one.last.kind(),
            one.last.key(),
            seq,
            one.entries,
            one.asked,
            one.answered,
            one.closed,
            one.snoozed_until.map(Timestamp::as_millis),
            one.assignee,
            column::spaced(&one.tags),
            one.created_at.as_millis(),
            one.last_at.as_millis(),
        ])
    })
    .map(drop)
    .map_err(failed)
}

pub(super) fn add_note(
    tx: &mut Tx<'_>,
    realm: &Realm,
    id: &ConversationId,
    note: &NewNote,
    now: &Timestamp,
) -> Result<Option<Conversation>> {
    let Some((known, _)) = find(tx.sql, *realm, *id)? else { return Ok(None) };
    add(tx, &Addition::of_note(&known, note, *now)).map(Some)
}

pub(super) fn change_conversation(
    tx: &mut Tx<'_>,
    realm: &Realm,
    id: &ConversationId,
    change: &Change,
    actor: &Actor,
    now: &Timestamp,
) -> Result<Option<std::result::Result<Conversation, TooManyTags>>> {
    let Some((mut one, seq)) = find(tx.sql, *realm, *id)? else { return Ok(None) };
    if let Err(why) = one.change(change) {
        return Ok(Some(Err(why)));
    }
    put(tx.sql, &one, seq)?;
    write_audit(tx, actor, change.as_str(), &id.to_string(), "", *now)?;
    Ok(Some(Ok(one)))
}

/// A message whose text was removed is not found by its words any more.
pub(super) fn forget_words(sql: &Sql, realm: Realm, message: MessageId) -> Result<()> {
    let mut found = Vec::new();
    {
        let mut statement = sql
            .prepare_cached(
                "SELECT conversation, place, seq, words FROM conversation_entry WHERE kind = 1 AND ref = ?1",
            )
            .map_err(failed)?;
        let mut rows = statement.query([message.key()]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            found.push((
                get::<i64>(row, 0)?,
                get::<i64>(row, 1)?,
                get::<i64>(row, 2)?,
                get::<String>(row, 3)?,
            ));
        }
    }
    for (conversation, place, seq, words) in found {
        remove_words(sql, realm, seq, &words)?;
        sql.prepare_cached(
            "UPDATE conversation_entry SET words = ' ' WHERE conversation = ?1 AND place = ?2",
        )
        .and_then(|mut s| s.execute([conversation, place]))
        .map_err(failed)?;
    }
    Ok(())
}

fn remove_words(sql: &Sql, realm: Realm, seq: i64, words: &str) -> Result<()> {
    let mut statement = sql
        .prepare_cached(
            "DELETE FROM conversation_word WHERE account = ?1 AND live = ?2 AND word = ?3 AND seq = ?4",
        )
        .map_err(failed)?;
    for word in column::unspaced(words) {
        statement
            .execute(params![realm.account.key(), live(realm.environment), word, seq])
            .map_err(failed)?;
    }
    Ok(())
}

/// Forgets the conversations of which nothing is left. Entries go by their age, so what was said last in one of these is older than all that is
/// left: without that bound each call would look into every old conversation that still has to be emptied.
const SWEEP_EMPTY: &str = "DELETE FROM conversation WHERE id IN (
   SELECT c.id FROM conversation c
   WHERE c.last_at < min(?1, coalesce((SELECT e.at FROM conversation_entry e ORDER BY e.at LIMIT 1), ?1))
     AND NOT EXISTS (SELECT 1 FROM conversation_entry e WHERE e.conversation = c.id)
   ORDER BY c.last_at LIMIT ?2)";

/// Forgets entries from before then, and conversations that have none left. `true` if there may be more.
pub(super) fn sweep(sql: &Sql, before: Timestamp, limit: usize) -> Result<bool> {
    let mut old = Vec::new();
    {
        let mut statement = sql
            .prepare_cached(
                "SELECT e.conversation, e.place, e.seq, e.words, c.account, c.live FROM conversation_entry e
                 CROSS JOIN conversation c ON c.id = e.conversation WHERE e.at < ?1 ORDER BY e.at LIMIT ?2",
            )
            .map_err(failed)?;
        let mut rows = statement.query(params![before.as_millis(), limit as i64]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            old.push((
                get::<i64>(row, 0)?,
                get::<i64>(row, 1)?,
                get::<i64>(row, 2)?,
                get::<String>(row, 3)?,
                realm(row, 4)?,
            ));
        }
    }
    let found = old.len();
    old.truncate(swept_at_once(old.iter().map(|(.., words, _)| words.as_str()), limit));
    for (conversation, place, seq, words, realm) in &old {
        remove_words(sql, *realm, *seq, words)?;
        sql.prepare_cached("DELETE FROM conversation_entry WHERE conversation = ?1 AND place = ?2")
            .and_then(|mut s| s.execute([conversation, place]))
            .map_err(failed)?;
    }
    let gone = sql
        .prepare_cached(SWEEP_EMPTY)
        .and_then(|mut s| s.execute(params![before.as_millis(), limit as i64]))
        .map_err(failed)?;
    Ok(found == limit || old.len() < found || gone == limit)
}

// ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────

pub(super) fn between(
    sql: &Sql,
    realm: Realm,
    person: PhoneNumber,
    sender: Sender,
) -> Result<Option<(Conversation, i64)>> {
    one(
        sql,
        concat!(columns!(), "WHERE account = ?1 AND live = ?2 AND person = ?3 AND sender = ?4"),
        params![realm.account.key(), live(realm.environment), person.digits() as i64, sender.to_string()],
    )
}

fn find(sql: &Sql, realm: Realm, id: ConversationId) -> Result<Option<(Conversation, i64)>> {
    let found = one(sql, concat!(columns!(), "WHERE id = ?1"), [id.key()])?;
    Ok(found.filter(|(one, _)| one.realm == realm))
}

fn one(sql: &Sql, query: &str, params: impl rusqlite::Params) -> Result<Option<(Conversation, i64)>> {
    let mut statement = sql.prepare_cached(query).map_err(failed)?;
    let mut rows = statement.query(params).map_err(failed)?;
    rows.next().map_err(failed)?.map(read).transpose()
}

fn read(row: &Row<'_>) -> Result<(Conversation, i64)> {
    let sender: String = get(row, 4)?;
    let one = Conversation {
        id: ConversationId::from_key(get(row, 0)?),
        realm: realm(row, 1)?,
        person: number(get(row, 3)?)?,
        sender: column::sender(&sender)?,
        last: column::entry(get(row, 5)?, get(row, 6)?)?,
        entries: get(row, 8)?,
        asked: get(row, 9)?,
        answered: get(row, 10)?,
        closed: get(row, 11)?,
        snoozed_until: get::<Option<i64>>(row, 12)?.map(Timestamp::from_millis),
        assignee: get(row, 13)?,
        tags: column::unspaced(&get::<String>(row, 14)?),
        created_at: Timestamp::from_millis(get(row, 15)?),
        last_at: Timestamp::from_millis(get(row, 16)?),
    };
    Ok((one, get(row, 7)?))
}

pub(super) fn conversation(
    rx: &mut Rx<'_>,
    realm: &Realm,
    id: &ConversationId,
) -> Result<Option<Conversation>> {
    Ok(find(rx.sql, *realm, *id)?.map(|(one, _)| one))
}

/// The query for a list, the newest entry first.
fn list(filter: &ConversationFilter) -> &'static str {
    match (filter.person, filter.is_unanswered()) {
        // A person has a few, one for a sender of ours. The index by place would read those of everybody: `+` hides it.
        (Some(_), _) => concat!(
            columns!(),
            "WHERE account = ?1 AND live = ?2 AND +seq < ?3 AND person = ?4 ORDER BY +seq DESC"
        ),
        (None, true) => concat!(
            columns!(),
            "WHERE account = ?1 AND live = ?2 AND seq < ?3 AND ?4 IS NULL AND asked > answered AND asked > closed
             ORDER BY seq DESC"
        ),
        (None, false) => concat!(
            columns!(),
            "WHERE account = ?1 AND live = ?2 AND seq < ?3 AND ?4 IS NULL ORDER BY seq DESC"
        ),
    }
}

pub(super) fn conversations(
    rx: &mut Rx<'_>,
    realm: &Realm,
    filter: &ConversationFilter,
    page: &Page,
    now: &Timestamp,
) -> Result<Paged<Conversation>> {
    let mut through = Through::new(page);
    let mut statement = rx.sql.prepare_cached(list(filter)).map_err(failed)?;
    let mut rows = statement
        .query(params![
            realm.account.key(),
            live(realm.environment),
            page.before.unwrap_or(i64::MAX),
            filter.person.map(|person| person.digits() as i64)
        ])
        .map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let (one, seq) = read(row)?;
        let fits = filter.fits(&one, *now);
        if through.take(fits.then_some(one), seq).is_break() {
            break;
        }
    }
    Ok(through.page())
}

pub(super) fn lines(
    rx: &mut Rx<'_>,
    realm: &Realm,
    id: &ConversationId,
    page: &Page,
) -> Result<Option<Paged<Line>>> {
    if find(rx.sql, *realm, *id)?.is_none() {
        return Ok(None);
    }
    let found = {
        let mut statement = rx
            .sql
            .prepare_cached(
                "SELECT place, kind, ref, author, text, at FROM conversation_entry WHERE conversation = ?1 AND place < ?2
                 ORDER BY place DESC LIMIT ?3",
            )
            .map_err(failed)?;
        let mut rows = statement
            .query(params![id.key(), page.before.unwrap_or(i64::MAX), page.limit as i64 + 1])
            .map_err(failed)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(failed)? {
            found.push(written(row)?);
        }
        found
    };
    let Paged { items, next } = Paged::of(found, page, |written| i64::from(written.place));
    let lines = items.into_iter().filter_map(|written| line(rx.sql, *realm, written).transpose());
    Ok(Some(Paged { items: lines.collect::<Result<_>>()?, next }))
}

/// An entry as its row has it.
struct Written {
    place: u32,
    entry: Entry,
    author: Option<String>,
    text: Option<String>,
    at: Timestamp,
}

fn written(row: &Row<'_>) -> Result<Written> {
    Ok(Written {
        place: get(row, 0)?,
        entry: column::entry(get(row, 1)?, get(row, 2)?)?,
        author: get(row, 3)?,
        text: get(row, 4)?,
        at: Timestamp::from_millis(get(row, 5)?),
    })
}

/// The entry with what it is; `None` if that is not kept any more.
fn line(sql: &Sql, realm: Realm, written: Written) -> Result<Option<Line>> {
    let what = match written.entry {
        Entry::Inbound(id) => inbound::find(sql, id)?.map(|inbound| What::Inbound(Box::new(inbound))),
        Entry::Message(id) => message::find(sql, realm, id)?.map(|stored| What::Message(Box::new(stored))),
        Entry::Note(id) => Some(What::Note(id, written.text.unwrap_or_default())),
    };
    let Written { place, author, at, .. } = written;
    Ok(what.map(|what| Line { place, at, author, what }))
}

pub(super) fn search(rx: &mut Rx<'_>, realm: &Realm, words: &[String], page: &Page) -> Result<Paged<Found>> {
    // The longest word is likely the rarest.
    let Some(rarest) = words.iter().max_by_key(|word| word.chars().count()) else {
        return Ok(Paged { items: Vec::new(), next: None });
    };
    let mut through = Through::new(page);
    {
        let mut statement = rx
            .sql
            .prepare_cached(
                "SELECT e.place, e.kind, e.ref, e.author, e.text, e.at, e.words, w.seq, w.conversation
                 FROM conversation_word w JOIN conversation_entry e ON e.conversation = w.conversation AND e.place = w.place
                 WHERE w.account = ?1 AND w.live = ?2 AND w.word = ?3 AND w.seq < ?4 ORDER BY w.seq DESC",
            )
            .map_err(failed)?;
        let (account, live) = (realm.account.key(), live(realm.environment));
        let mut rows = statement
            .query(params![account, live, rarest, page.before.unwrap_or(i64::MAX)])
            .map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let has: String = get(row, 6)?;
            let fits = words.iter().all(|word| has.contains(&format!(" {word} ")));
            let found =
                if fits { Some((ConversationId::from_key(get(row, 8)?), written(row)?)) } else { None };
            if through.take(found, get(row, 7)?).is_break() {
                break;
            }
        }
    }
    let Paged { items, next } = through.page();
    let mut found = Vec::with_capacity(items.len());
    for (conversation, written) in items {
        found.extend(line(rx.sql, *realm, written)?.map(|line| Found { conversation, line }));
    }
    Ok(Paged { items: found, next })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::StatementStatus;
    use tidings_domain::conversation::Status;

    #[test]
    fn each_list_reads_the_index_that_has_what_is_asked_for() {
        let mut sql = Sql::open_in_memory().expect("it opens");
        crate::sqlite::migration::migrate(&mut sql).expect("migrated");
        let plan = |query: &str| -> String {
            let mut statement = sql.prepare(&format!("EXPLAIN QUERY PLAN {query}")).expect("a query");
            let rows =
                statement.query_map(params![1, 1, 1, 1], |row| row.get::<_, String>(3)).expect("planned");
            rows.collect::<rusqlite::Result<Vec<_>>>().expect("read").join("; ")
        };
        let base = ConversationFilter::default;
        let of_a_person = ConversationFilter { person: PhoneNumber::from_digits(15_550_002_222), ..base() };
        let unanswered = |of| ConversationFilter { status: Some(Status::NeedsReply), ..of };
        let by_person = "INDEX sqlite_autoindex_conversation_1 (account=? AND live=? AND person=?)";
        for (filter, index) in [
            (of_a_person.clone(), by_person),
            (unanswered(of_a_person), by_person),
            (base(), "INDEX conversation_seq (account=? AND live=? AND seq<?)"),
            (unanswered(base()), "INDEX conversation_asked (account=? AND live=? AND seq<?)"),
        ] {
            let plan = plan(list(&filter));
            assert!(plan.contains(index), "{filter:?}: {plan}");
        }
    }

    #[test]
    fn while_much_is_forgotten_those_are_not_looked_into_that_have_something_left() {
        let mut sql = Sql::open_in_memory().expect("it opens");
        crate::sqlite::migration::migrate(&mut sql).expect("migrated");
        // Each has an entry, and a thousand milliseconds later another one.
        for n in 0..1_000 {
            sql.execute(
                "INSERT INTO conversation (id, account, live, person, sender, last_kind, last_ref, seq, entries, asked, answered,
                   closed, tags, created_at, last_at) VALUES (?1, 1, 1, ?1, 'A', 0, ?1, ?1, 2, 2, 0, 0, ' ', ?1, 1000 + ?1)",
                [n],
            )
            .expect("inserted");
            for at in [n, 1_000 + n] {
                sql.execute(
                    "INSERT INTO conversation_entry (conversation, place, seq, kind, ref, words, at)
                     VALUES (?1, ?2, ?2, 0, ?2, ' ', ?2)",
                    [n, at],
                )
                .expect("inserted");
            }
        }
        let forget = |limit| sweep(&sql, Timestamp::from_millis(2_000), limit).expect("swept");
        let left = || {
            let left = "SELECT count(*) FROM conversation";
            sql.query_row(left, [], |row| row.get::<_, i64>(0)).expect("counted")
        };
        assert!(forget(10));
        let steps =
            sql.prepare_cached(SWEEP_EMPTY).expect("it was there").get_status(StatementStatus::VmStep);
        assert!((1..300).contains(&steps), "{steps} steps");
        assert_eq!(left(), 1_000);
        assert!(forget(990) && left() == 1_000);
        assert!(forget(10) && left() == 990);
        while forget(300) {}
        assert_eq!(left(), 0);
    }
}
