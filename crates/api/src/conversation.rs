//! Conversations with people.

use crate::ask::{Answer, Ask, bad_parameter, json};
use crate::auth;
use crate::message::{send_as, shown};
use crate::page::{CURSOR, LIMIT, page};
use crate::problem::Problem;
use crate::send::open;
use tidings_domain::account::Scope;
use tidings_domain::conversation::{self as domain, Change, Status, words};
use tidings_domain::id::{ConversationId, NoteId};
use tidings_engine::webhook::as_told;
use tidings_store::{ConversationFilter, Found, Line, NewNote, Saying, What};
use tidings_wire::Shown;
use tidings_wire::body::{Field, Kind};
use tidings_wire::conversation::{self as wire, Conversation, ConversationEntry, FoundEntry, Reply};
use tidings_wire::error::{Code, FieldError};
use tidings_wire::page::{List, Page};

/// Words of one search.
const WORDS_MAX: usize = 8;

pub(crate) static FILTERS: &[Field] = &[
    LIMIT,
    CURSOR,
    Field::new("status", Kind::Word(Status::WORDS), "Only conversations that stand so."),
    Field::new("assignee", Kind::Text, "Only those of this one of you."),
    Field::new("unassigned", Kind::Boolean, "Whether only those that nobody looks after."),
    Field::new("tag", Kind::Text, "Only those with this tag."),
    Field::new("with", Kind::Text, "Only those with this phone number."),
];
pub(crate) static SEARCH: &[Field] = &[
    LIMIT,
    CURSOR,
    Field::new("q", Kind::Text, "Words that an entry must have, all of them; 1 to 8.").required(),
];

pub(crate) async fn list(ask: Ask) -> Answer {
    let query = &ask.query;
    let unassigned = (query.get("unassigned") == Some("true")).then_some(None);
    let filter = ConversationFilter {
        status: query.get("status").and_then(Status::parse),
        assignee: query.get("assignee").map(|name| Some(name.to_owned())).or(unassigned),
        tag: query.get("tag").map(str::to_owned),
        person: query.number("with").map(|with| ask.door().recipient("with", &with)).transpose()?,
    };
    let page = page(&ask, List::Conversations)?;
    let now = ask.app.engine.clock().now();
    let found = ask.app.engine.store().conversations(ask.realm(), filter, page, now).await?;
    let data = found.items.iter().map(|one| Conversation::new(one, now)).collect();
    json(200, &Page::new(List::Conversations, data, found.next))
}

async fn find(ask: &Ask) -> Result<domain::Conversation, Problem> {
    let found = ask.app.engine.store().conversation(ask.realm(), ask.id()?).await?;
    found.ok_or_else(Problem::not_found)
}

pub(crate) async fn read(ask: Ask) -> Answer {
    let found = find(&ask).await?;
    json(200, &Conversation::new(&found, ask.app.engine.clock().now()))
}

fn entry(line: &Line) -> ConversationEntry<'_> {
    let what = match &line.what {
        What::Inbound(inbound) => wire::What::Inbound(as_told(inbound)),
        What::Message(stored) => wire::What::Message(Box::new(shown(stored))),
        What::Note(id, text) => wire::What::Note(*id, text),
    };
    ConversationEntry::new(line.at, line.author.as_deref(), what)
}

pub(crate) async fn lines(ask: Ask) -> Answer {
    let page = page(&ask, List::Lines)?;
    let found = ask.app.engine.store().lines(ask.realm(), ask.id()?, page).await?;
    let found = found.ok_or_else(Problem::not_found)?;
    json(200, &Page::new(List::Lines, found.items.iter().map(entry).collect(), found.next))
}

pub(crate) async fn search(ask: Ask) -> Answer {
    let words = words(ask.query.get("q").unwrap_or_default());
    if words.is_empty() || words.len() > WORDS_MAX {
        return Err(bad_parameter("q", "words", "Give `q` with one to eight words that an entry must have."));
    }
    let page = page(&ask, List::Found)?;
    let found = ask.app.engine.store().search(ask.realm(), words, page).await?;
    json(200, &Page::new(List::Found, found.items.iter().map(shown_found).collect(), found.next))
}

fn shown_found(found: &Found) -> FoundEntry<'_> {
    FoundEntry { conversation_id: Shown(found.conversation), entry: entry(&found.line) }
}

/// Who wrote it: as it is said, or the token.
fn author(ask: &Ask, said: Option<String>) -> String {
    said.unwrap_or_else(|| ask.actor().who)
}

pub(crate) async fn create(ask: Ask) -> Answer {
    // It may go to anybody, so it needs the right to send, too.
    if !ask.caller().principal.scopes.has(Scope::MessagesSend) {
        return Err(auth::missing(Scope::MessagesSend));
    }
    open(&ask)?;
    let Reply { message, author: said, .. } = wire::parse(&ask.json()?, ask.door())?;
    let saying = Saying { seen: None, author: author(&ask, said) };
    send_as(ask, message, Some(saying)).await
}

pub(crate) async fn reply(ask: Ask) -> Answer {
    open(&ask)?;
    let to = find(&ask).await?;
    let Reply { message, seen, author: said } = wire::parse_reply(&ask.json()?, &to)?;
    let saying = Saying { seen, author: author(&ask, said) };
    send_as(ask, message, Some(saying)).await
}

pub(crate) async fn note(ask: Ask) -> Answer {
    let (text, said) = wire::parse_note(&ask.json()?)?;
    let engine = &ask.app.engine;
    let note = NewNote { id: NoteId::from_key(engine.clock().id()), text, author: author(&ask, said) };
    let now = engine.clock().now();
    let noted = engine.store().add_note(ask.realm(), ask.id()?, note, now).await?;
    json(201, &Conversation::new(&noted.ok_or_else(Problem::not_found)?, now))
}

async fn change(ask: Ask, change: Change) -> Answer {
    let engine = &ask.app.engine;
    let (id, now): (ConversationId, _) = (ask.id()?, engine.clock().now());
    let changed = engine.store().change_conversation(ask.realm(), id, change, ask.actor(), now).await?;
    match changed.ok_or_else(Problem::not_found)? {
        Ok(changed) => json(200, &Conversation::new(&changed, now)),
        Err(_) => {
            let detail = format!("A conversation has {} tags at most.", domain::TAGS_MAX);
            Err(FieldError::new("add", Code::LimitExceeded, "too_many", detail).into())
        }
    }
}

pub(crate) async fn assign(ask: Ask) -> Answer {
    let wanted = wire::parse_assignment(&ask.json()?)?;
    change(ask, wanted).await
}

pub(crate) async fn tag(ask: Ask) -> Answer {
    let wanted = wire::parse_tags(&ask.json()?)?;
    change(ask, wanted).await
}

pub(crate) async fn snooze(ask: Ask) -> Answer {
    let wanted = wire::parse_snooze(&ask.json()?, ask.app.engine.clock().now())?;
    change(ask, wanted).await
}

pub(crate) async fn close(ask: Ask) -> Answer {
    change(ask, Change::Close).await
}

pub(crate) async fn reopen(ask: Ask) -> Answer {
    change(ask, Change::Reopen).await
}
