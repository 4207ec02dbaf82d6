//! The front door for programs: HTTP in, calls to the engine, JSON out.
//!
//! [`ROUTES`] is the whole API on one screen: address, right, body, answer, handler. The router, the published
//! description and the tests of rights all come from it. Each request finds its line in `router` and goes through the
//! same checks in `ask`; errors become answers in `problem` only. What the bodies look like is in `tidings-wire`, what
//! happens is in the engine.

mod ask;
mod auth;
mod code;
mod connection;
mod consent;
mod consent_request;
mod contact;
mod conversation;
mod endpoint;
mod event;
mod idempotency;
mod import;
mod inbound;
mod message;
mod oauth;
mod openapi;
mod pace;
mod page;
mod problem;
mod query;
mod review;
mod router;
mod segment;
mod send;
mod server;
mod site;
mod suppression;
mod template;
mod token;

pub use router::Router;
pub use server::{Serve, serve};

use crate::ask::{Answer, Ask};
use crate::pace::Pace;
use axum::http::Method;
use std::pin::Pin;
use std::sync::Arc;
use tidings_domain::account::Scope;
use tidings_domain::address::Country;
use tidings_domain::id::{ClientId, TokenId};
use tidings_engine::Engine;
use tidings_engine::clock::Stopwatch;
use tidings_wire::body::{Field, Shape};
use tidings_wire::page::{All, Page};
use tidings_wire::{
    account, batch, code as otc, connection as cnx, endpoint as whk, event as evt, inbound as inb,
    message as msg,
};
use tidings_wire::{
    consent as con, consent_request as crq, contact as ctc, conversation as cnv, import as imp,
    review as rev, segment as seg, sms, suppression as sup, template as tpl,
};
use tokio::sync::Semaphore;
use utoipa::openapi::{RefOr, Schema};

/// What the front door is told by the configuration.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The address under which outsiders reach this server, without a slash at its end, such as
    /// `https://sms.example.com`. It begins the addresses in errors and OAuth metadata; if empty, errors name their
    /// pages relative to the server.
    pub public_url: String,
    /// Where phone numbers without a country code are from; if none, such numbers are refused.
    pub default_country: Option<Country>,
    /// Whether `/metrics` answers other machines. Behind a proxy on the same machine everybody looks local, so the
    /// proxy must not pass it on.
    pub metrics_open: bool,
    /// Whether only those who watch this server are answered: there is no API here.
    pub only_watched: bool,
}

/// The right that a route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// None: everybody.
    Nothing,
    /// Any good token.
    Token,
    /// A token with this scope.
    Scope(Scope),
}

/// The body that a route takes.
#[derive(Debug, Clone, Copy)]
pub enum Takes {
    /// None; one that comes is not read.
    Nothing,
    /// JSON of this shape.
    Json(&'static Shape),
    /// The same, but it may be left out.
    MaybeJson(&'static Shape),
    /// A form, as OAuth 2 wants it.
    Form,
    /// A file of this type, which is read while it comes.
    File(&'static str),
}

type AddSchema = fn(&mut Vec<(String, RefOr<Schema>)>) -> String;

/// The answer that a route gives.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Gives {
    /// Nothing.
    Nothing,
    /// JSON with the schema that this adds.
    Json(AddSchema),
    /// Something else, of this type.
    Other(&'static str),
    /// Octets of any type, and nothing to who names them in `If-None-Match`.
    File,
}

type Act = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// One line of the API.
pub struct Route {
    /// The method.
    pub method: Method,
    /// The address, with `{id}` and the like for its parts.
    pub path: &'static str,
    /// The right that it needs.
    pub need: Need,
    /// The body that it takes.
    pub takes: Takes,
    /// The parameters after `?` that it takes.
    pub query: &'static [Field],
    /// The usual status of its answer.
    pub status: u16,
    /// Whether `Idempotency-Key` is honoured.
    pub replayable: bool,
    /// Whether the published description lists it.
    pub listed: bool,
    gives: Gives,
    body_max: usize,
    tag: &'static str,
    summary: &'static str,
    act: fn(Ask) -> Act,
}

/// A body of one message or setting: octets.
const BODY_MAX: usize = 64 * 1024;
/// A body of many: octets.
const BATCH_BODY_MAX: usize = 1024 * 1024;

/// Segments that are counted at once.
const COUNTS_MAX: usize = 2;

/// Tables that are read at once. Each may remember two million numbers, and holds some ten thousand rows: up to 100 MiB.
const IMPORTS_MAX: usize = 2;

impl Route {
    const fn new(
        method: Method,
        path: &'static str,
        need: Need,
        tag: &'static str,
        summary: &'static str,
        act: fn(Ask) -> Act,
    ) -> Self {
        Self {
            method,
            path,
            need,
            takes: Takes::Nothing,
            query: &[],
            status: 200,
            replayable: false,
            listed: true,
            gives: Gives::Nothing,
            body_max: BODY_MAX,
            tag,
            summary,
            act,
        }
    }

    const fn takes(mut self, shape: &'static Shape) -> Self {
        self.takes = Takes::Json(shape);
        self
    }

    const fn may_take(mut self, shape: &'static Shape) -> Self {
        self.takes = Takes::MaybeJson(shape);
        self
    }

    const fn form(mut self) -> Self {
        self.takes = Takes::Form;
        self
    }

    const fn file(mut self, kind: &'static str) -> Self {
        self.takes = Takes::File(kind);
        self
    }

    const fn query(mut self, fields: &'static [Field]) -> Self {
        self.query = fields;
        self
    }

    const fn large(mut self) -> Self {
        self.body_max = BATCH_BODY_MAX;
        self
    }

    const fn replayable(mut self) -> Self {
        self.replayable = true;
        self
    }

    const fn unlisted(mut self) -> Self {
        self.listed = false;
        self
    }

    const fn gives(mut self, status: u16, gives: Gives) -> Self {
        self.status = status;
        self.gives = gives;
        self
    }
}

const GET: Method = Method::GET;
const POST: Method = Method::POST;
const PATCH: Method = Method::PATCH;
const DELETE: Method = Method::DELETE;

macro_rules! act {
    ($room:ident :: $handler:ident) => {
        |ask| Box::pin($room::$handler(ask))
    };
}

/// JSON of one type.
macro_rules! one {
    ($type:ty) => {
        Gives::Json(|all| openapi::add::<$type>(all))
    };
}

/// A page of items of one type.
macro_rules! page_of {
    ($type:ty) => {
        Gives::Json(|all| {
            let item = openapi::add::<$type>(all);
            openapi::add_named::<Page<$type>>(all, "PageOf", &item)
        })
    };
}

/// A whole list of items of one type.
macro_rules! all_of {
    ($type:ty) => {
        Gives::Json(|all| {
            let item = openapi::add::<$type>(all);
            openapi::add_named::<All<$type>>(all, "AllOf", &item)
        })
    };
}

const SEND: Need = Need::Scope(Scope::MessagesSend);
const READ: Need = Need::Scope(Scope::MessagesRead);
const REDACT: Need = Need::Scope(Scope::MessagesRedact);
const HOOKS_READ: Need = Need::Scope(Scope::WebhooksRead);
const HOOKS: Need = Need::Scope(Scope::WebhooksWrite);
const SUPPRESSED: Need = Need::Scope(Scope::SuppressionsRead);
const SUPPRESS: Need = Need::Scope(Scope::SuppressionsWrite);
const CONSENTED: Need = Need::Scope(Scope::ConsentsRead);
const CONSENT: Need = Need::Scope(Scope::ConsentsWrite);
const PROVE: Need = Need::Scope(Scope::ConsentsExport);
const CONTACTS: Need = Need::Scope(Scope::ContactsRead);
const CONTACT: Need = Need::Scope(Scope::ContactsWrite);
const EXPORT: Need = Need::Scope(Scope::ContactsExport);
const IMPORT: Need = Need::Scope(Scope::ContactsImport);
const SEGMENTS: Need = Need::Scope(Scope::SegmentsRead);
const SEGMENT: Need = Need::Scope(Scope::SegmentsWrite);
const REVIEW: Need = Need::Scope(Scope::ReviewRead);
const DECIDE: Need = Need::Scope(Scope::ReviewWrite);
const CARRIERS: Need = Need::Scope(Scope::CarriersRead);
const CONTROL: Need = Need::Scope(Scope::CarriersWrite);
const CODES_SEND: Need = Need::Scope(Scope::CodesSend);
const CODES_CHECK: Need = Need::Scope(Scope::CodesCheck);
const TALKS: Need = Need::Scope(Scope::ConversationsRead);
const TALK: Need = Need::Scope(Scope::ConversationsWrite);
const TEMPLATES: Need = Need::Scope(Scope::TemplatesRead);
const WRITE_TEMPLATES: Need = Need::Scope(Scope::TemplatesWrite);
const ADMIN: Need = Need::Scope(Scope::Admin);
const OPEN: Need = Need::Nothing;

/// The whole API.
#[rustfmt::skip]
pub static ROUTES: &[Route] = &[
    Route::new(POST, "/v1/sms", SEND, "messages", "Send a message, in the shortest form", act!(message::send_sms))
        .takes(&sms::SMS).replayable().gives(202, one!(msg::Accepted<'static>)),
    Route::new(POST, "/v1/messages", SEND, "messages", "Send a message", act!(message::send))
        .takes(&msg::MESSAGE).replayable().gives(202, one!(msg::Accepted<'static>)),
    Route::new(POST, "/v1/messages/batch", SEND, "messages", "Send many messages, each with its own result", act!(message::send_batch))
        .takes(&batch::BATCH).large().replayable().gives(202, one!(batch::BatchAccepted<'static>)),
    Route::new(POST, "/v1/messages/preview", SEND, "messages", "Look at a message without sending it", act!(message::preview))
        .takes(&msg::PREVIEW).gives(200, one!(msg::Preview)),
    Route::new(GET, "/v1/messages", READ, "messages", "Search messages, newest first", act!(message::list))
        .query(message::FILTERS).gives(200, page_of!(msg::Message<'static>)),
    Route::new(GET, "/v1/messages/{id}", READ, "messages", "Read a message", act!(message::read))
        .gives(200, one!(msg::Message<'static>)),
    Route::new(GET, "/v1/messages/{id}/timeline", READ, "messages", "Read everything that happened to a message", act!(message::timeline))
        .gives(200, one!(evt::Timeline<'static>)),
    Route::new(POST, "/v1/messages/{id}/cancel", SEND, "messages", "Take a message back while it waits", act!(message::cancel))
        .gives(200, one!(msg::Message<'static>)),
    Route::new(POST, "/v1/messages/{id}/redact", REDACT, "messages", "Remove the text of a message", act!(message::redact))
        .gives(200, one!(msg::Message<'static>)),
    Route::new(GET, "/v1/batches", READ, "batches", "List batches, newest first", act!(message::batches))
        .query(page::PAGING).gives(200, page_of!(batch::Batch)),
    Route::new(GET, "/v1/batches/{id}", READ, "batches", "Read a batch with its counts", act!(message::read_batch))
        .gives(200, one!(batch::Batch)),
    Route::new(GET, "/v1/inbound/{id}", READ, "inbound", "Read a message that a person sent, and what came of it", act!(inbound::read))
        .gives(200, one!(inb::InboundMessage<'static>)),
    Route::new(GET, "/v1/inbound/{id}/media/{place}", READ, "inbound", "Fetch what a person sent with a message; always as a file to keep", act!(inbound::medium))
        .gives(200, Gives::File),
    Route::new(GET, "/v1/events", READ, "events", "Ask what happened, oldest first", act!(event::feed))
        .query(event::PARAMETERS).gives(200, one!(evt::Feed)),

    Route::new(POST, "/v1/codes", CODES_SEND, "codes", "Send a one-time code", act!(code::create))
        .takes(&otc::NEW_CODE).replayable().gives(201, one!(otc::Code<'static>)),
    Route::new(GET, "/v1/codes/{id}", CODES_CHECK, "codes", "Read how a one-time code stands", act!(code::read))
        .gives(200, one!(otc::Code<'static>)),
    Route::new(POST, "/v1/codes/{id}/check", CODES_CHECK, "codes", "Check what somebody typed in", act!(code::check))
        .takes(&otc::CHECK).gives(200, one!(otc::Checked)),
    Route::new(POST, "/v1/codes/{id}/resend", CODES_SEND, "codes", "Send a one-time code again", act!(code::resend))
        .may_take(&otc::RESEND).gives(200, one!(otc::Code<'static>)),
    Route::new(POST, "/v1/codes/{id}/cancel", CODES_SEND, "codes", "Take a one-time code back", act!(code::cancel))
        .gives(200, one!(otc::Code<'static>)),

    Route::new(POST, "/v1/conversations", TALK, "conversations", "Write to a person and keep it as a conversation; needs messages.send, too", act!(conversation::create))
        .takes(&cnv::NEW_CONVERSATION).replayable().gives(202, one!(msg::Accepted<'static>)),
    Route::new(GET, "/v1/conversations", TALKS, "conversations", "List conversations, those with the newest entries first", act!(conversation::list))
        .query(conversation::FILTERS).gives(200, page_of!(cnv::Conversation<'static>)),
    Route::new(GET, "/v1/conversations/search", TALKS, "conversations", "Search what was said and noted, the newest first", act!(conversation::search))
        .query(conversation::SEARCH).gives(200, page_of!(cnv::FoundEntry<'static>)),
    Route::new(GET, "/v1/conversations/{id}", TALKS, "conversations", "Read a conversation", act!(conversation::read))
        .gives(200, one!(cnv::Conversation<'static>)),
    Route::new(GET, "/v1/conversations/{id}/messages", TALKS, "conversations", "Read what was said and noted, the last first", act!(conversation::lines))
        .query(page::PAGING).gives(200, page_of!(cnv::ConversationEntry<'static>)),
    Route::new(POST, "/v1/conversations/{id}/reply", TALK, "conversations", "Reply, unless somebody wrote meanwhile", act!(conversation::reply))
        .takes(&cnv::REPLY).replayable().gives(202, one!(msg::Accepted<'static>)),
    Route::new(POST, "/v1/conversations/{id}/notes", TALK, "conversations", "Leave a note that only you see", act!(conversation::note))
        .takes(&cnv::NOTE).gives(201, one!(cnv::Conversation<'static>)),
    Route::new(POST, "/v1/conversations/{id}/assign", TALK, "conversations", "Say who looks after a conversation", act!(conversation::assign))
        .may_take(&cnv::ASSIGNMENT).gives(200, one!(cnv::Conversation<'static>)),
    Route::new(POST, "/v1/conversations/{id}/tags", TALK, "conversations", "Add tags and take others away", act!(conversation::tag))
        .takes(&cnv::TAGS).gives(200, one!(cnv::Conversation<'static>)),
    Route::new(POST, "/v1/conversations/{id}/snooze", TALK, "conversations", "Put a conversation off until a moment", act!(conversation::snooze))
        .takes(&cnv::SNOOZE).gives(200, one!(cnv::Conversation<'static>)),
    Route::new(POST, "/v1/conversations/{id}/close", TALK, "conversations", "Close a conversation until something comes", act!(conversation::close))
        .gives(200, one!(cnv::Conversation<'static>)),
    Route::new(POST, "/v1/conversations/{id}/reopen", TALK, "conversations", "Open a conversation that was closed or put off", act!(conversation::reopen))
        .gives(200, one!(cnv::Conversation<'static>)),

    Route::new(POST, "/v1/templates", WRITE_TEMPLATES, "templates", "Make a template", act!(template::create))
        .takes(&tpl::NEW_TEMPLATE).large().gives(201, one!(tpl::Template<'static>)),
    Route::new(GET, "/v1/templates", TEMPLATES, "templates", "List templates in their newest versions, the last made first", act!(template::list))
        .query(template::FILTERS).gives(200, page_of!(tpl::Template<'static>)),
    Route::new(GET, "/v1/templates/{id}", TEMPLATES, "templates", "Read a template, by its id or name", act!(template::read))
        .query(template::VERSION).gives(200, one!(tpl::Template<'static>)),
    Route::new(POST, "/v1/templates/{id}/versions", WRITE_TEMPLATES, "templates", "Make a new version of a template", act!(template::add_version))
        .takes(&tpl::NEW_VERSION).large().gives(201, one!(tpl::Template<'static>)),
    Route::new(POST, "/v1/templates/{id}/preview", TEMPLATES, "templates", "Look at what a template says and costs: filled, as usual, and at the worst", act!(template::preview))
        .may_take(&tpl::PREVIEW).gives(200, one!(tpl::TemplatePreview<'static>)),

    Route::new(POST, "/v1/webhooks", HOOKS, "webhooks", "Make an endpoint; shows its secret", act!(endpoint::create))
        .takes(&whk::NEW_ENDPOINT).gives(201, one!(whk::Endpoint<'static>)),
    Route::new(GET, "/v1/webhooks", HOOKS_READ, "webhooks", "List endpoints", act!(endpoint::list))
        .gives(200, all_of!(whk::Endpoint<'static>)),
    Route::new(GET, "/v1/webhooks/{id}", HOOKS_READ, "webhooks", "Read an endpoint", act!(endpoint::read))
        .gives(200, one!(whk::Endpoint<'static>)),
    Route::new(PATCH, "/v1/webhooks/{id}", HOOKS, "webhooks", "Change an endpoint, switch it off or on", act!(endpoint::change))
        .takes(&whk::ENDPOINT_CHANGE).gives(200, one!(whk::Endpoint<'static>)),
    Route::new(DELETE, "/v1/webhooks/{id}", HOOKS, "webhooks", "Remove an endpoint", act!(endpoint::delete))
        .gives(204, Gives::Nothing),
    Route::new(POST, "/v1/webhooks/{id}/rotate", HOOKS, "webhooks", "Replace an endpoint's secret; shows the new one", act!(endpoint::rotate))
        .may_take(&whk::ROTATION).gives(200, one!(whk::Endpoint<'static>)),
    Route::new(GET, "/v1/webhooks/{id}/attempts", HOOKS_READ, "webhooks", "List the calls of an endpoint, newest first", act!(endpoint::attempts))
        .query(page::PAGING).gives(200, page_of!(whk::Attempt<'static>)),
    Route::new(POST, "/v1/webhooks/{id}/replay", HOOKS, "webhooks", "Tell an endpoint again: one event, or a time range", act!(endpoint::replay))
        .takes(&whk::REPLAY).gives(202, one!(whk::Replayed)),
    Route::new(POST, "/v1/webhooks/{id}/test", HOOKS, "webhooks", "Call an endpoint now, with a test event", act!(endpoint::test))
        .gives(200, one!(whk::Attempt<'static>)),

    Route::new(GET, "/v1/suppressions", SUPPRESSED, "suppressions", "List who is not sent to, newest first", act!(suppression::list))
        .query(suppression::FILTERS).gives(200, page_of!(sup::Suppression<'static>)),
    Route::new(POST, "/v1/suppressions", SUPPRESS, "suppressions", "Stop sending to one or many", act!(suppression::add))
        .takes(&sup::NEW_SUPPRESSION).large().gives(201, all_of!(sup::Suppression<'static>)),
    Route::new(POST, "/v1/suppressions/lift", SUPPRESS, "suppressions", "Allow sending again, with a reason", act!(suppression::lift))
        .takes(&sup::LIFT).gives(200, one!(sup::Suppression<'static>)),

    Route::new(POST, "/v1/consents", CONSENT, "consents", "Record what a person agreed to, or does not any more", act!(consent::record))
        .takes(&con::NEW_CONSENT).gives(201, all_of!(con::Consent<'static>)),
    Route::new(GET, "/v1/consents", CONSENTED, "consents", "List what a person agreed to, the last recorded first", act!(consent::list))
        .query(consent::FILTERS).gives(200, page_of!(con::Consent<'static>)),
    Route::new(GET, "/v1/consents/proof", PROVE, "consents", "Everything that a person said, and how it stands", act!(consent::proof))
        .query(consent::OF_ONE).gives(200, one!(con::Proof<'static>)),
    Route::new(POST, "/v1/consents/requests", CONSENT, "consents", "Ask a person for consent by a message; needs messages.send, too", act!(consent_request::ask))
        .takes(&crq::NEW_REQUEST).replayable().gives(202, one!(crq::ConsentRequest<'static>)),
    Route::new(GET, "/v1/consents/requests", CONSENTED, "consents", "List how a person was asked for consent, and what came of it, the last first", act!(consent_request::list))
        .query(consent::OF_ONE).gives(200, all_of!(crq::ConsentRequest<'static>)),

    Route::new(POST, "/v1/contacts", CONTACT, "contacts", "Add a contact", act!(contact::create))
        .takes(&ctc::NEW_CONTACT).gives(201, one!(ctc::Contact<'static>)),
    Route::new(GET, "/v1/contacts", CONTACTS, "contacts", "List contacts, newest first; or find who has a number", act!(contact::list))
        .query(contact::FILTERS).gives(200, page_of!(ctc::Contact<'static>)),
    Route::new(GET, "/v1/contacts/export", EXPORT, "contacts", "Take contacts out as one table", act!(contact::export))
        .query(contact::EXPORT).gives(200, Gives::Other("text/csv")),
    Route::new(GET, "/v1/contacts/{id}", CONTACTS, "contacts", "Read a contact", act!(contact::read))
        .gives(200, one!(ctc::Contact<'static>)),
    Route::new(PATCH, "/v1/contacts/{id}", CONTACT, "contacts", "Change a contact", act!(contact::change))
        .takes(&ctc::CONTACT_CHANGE).gives(200, one!(ctc::Contact<'static>)),
    Route::new(DELETE, "/v1/contacts/{id}", CONTACT, "contacts", "Delete a contact; consent and suppressions of its numbers stay", act!(contact::delete))
        .gives(204, Gives::Nothing),
    Route::new(GET, "/v1/groups", CONTACTS, "contacts", "List groups with how many contacts are in them", act!(contact::groups))
        .gives(200, all_of!(ctc::ContactGroup)),
    Route::new(POST, "/v1/imports", IMPORT, "imports", "Read a table of contacts; nothing is taken over before it is committed", act!(import::create))
        .file("text/csv").query(import::OPTIONS).gives(201, one!(imp::Import<'static>)),
    Route::new(GET, "/v1/imports", IMPORT, "imports", "List imports, newest first", act!(import::list))
        .query(page::PAGING).gives(200, page_of!(imp::Import<'static>)),
    Route::new(GET, "/v1/imports/{id}", IMPORT, "imports", "Read how far an import is, and its report", act!(import::read))
        .gives(200, one!(imp::Import<'static>)),
    Route::new(POST, "/v1/imports/{id}/commit", IMPORT, "imports", "Take the rows of an import over", act!(import::commit))
        .gives(202, one!(imp::Import<'static>)),
    Route::new(POST, "/v1/imports/{id}/discard", IMPORT, "imports", "Forget the rows of an import", act!(import::discard))
        .gives(200, one!(imp::Import<'static>)),
    Route::new(GET, "/v1/imports/{id}/refused", IMPORT, "imports", "The rows that are not taken over, with why, as a table", act!(import::refused))
        .gives(200, Gives::Other("text/csv")),

    Route::new(POST, "/v1/segments", SEGMENT, "segments", "Keep a query over contacts under a name", act!(segment::create))
        .takes(&seg::NEW_SEGMENT).gives(201, one!(seg::Segment<'static>)),
    Route::new(GET, "/v1/segments", SEGMENTS, "segments", "List segments, the last made first", act!(segment::list))
        .query(page::PAGING).gives(200, page_of!(seg::Segment<'static>)),
    Route::new(POST, "/v1/segments/preview", SEGMENTS, "segments", "Try a query without keeping it", act!(segment::preview))
        .takes(&seg::PREVIEW).gives(200, one!(seg::SegmentPreview<'static>)),
    Route::new(GET, "/v1/segments/{id}", SEGMENTS, "segments", "Read a segment, by its id or name", act!(segment::read))
        .gives(200, one!(seg::Segment<'static>)),
    Route::new(PATCH, "/v1/segments/{id}", SEGMENT, "segments", "Change a segment", act!(segment::change))
        .takes(&seg::SEGMENT_CHANGE).gives(200, one!(seg::Segment<'static>)),
    Route::new(DELETE, "/v1/segments/{id}", SEGMENT, "segments", "Delete a segment; the contacts that it finds stay", act!(segment::delete))
        .gives(204, Gives::Nothing),
    Route::new(GET, "/v1/segments/{id}/contacts", SEGMENTS, "segments", "List the contacts that a segment finds, newest first", act!(segment::contacts))
        .query(page::PAGING).gives(200, one!(seg::SegmentContacts<'static>)),
    Route::new(GET, "/v1/segments/{id}/count", SEGMENTS, "segments", "Count the contacts that a segment finds", act!(segment::count))
        .query(segment::COUNT).gives(200, one!(seg::SegmentCount)),

    Route::new(GET, "/v1/review/groups", REVIEW, "review", "Failures that wait for a decision, by like cause", act!(review::groups))
        .gives(200, all_of!(rev::ReviewGroup<'static>)),
    Route::new(GET, "/v1/review/items", REVIEW, "review", "Failures one by one, newest first", act!(review::items))
        .query(review::FILTERS).gives(200, page_of!(rev::ReviewItem<'static>)),
    Route::new(POST, "/v1/review/decisions", DECIDE, "review", "Decide: retry, drop or suppress", act!(review::decide))
        .takes(&rev::DECISION).gives(200, one!(rev::Decided)),

    Route::new(GET, "/v1/connections", CARRIERS, "connections", "List carrier connections as they are now", act!(connection::list))
        .gives(200, all_of!(cnx::Connection<'static>)),
    Route::new(GET, "/v1/connections/{name}", CARRIERS, "connections", "Read a carrier connection", act!(connection::read))
        .gives(200, one!(cnx::Connection<'static>)),
    Route::new(POST, "/v1/connections/{name}/pause", CONTROL, "connections", "Pause a carrier connection", act!(connection::pause))
        .takes(&cnx::PAUSE).gives(200, one!(cnx::Connection<'static>)),
    Route::new(POST, "/v1/connections/{name}/resume", CONTROL, "connections", "Resume a carrier connection", act!(connection::resume))
        .gives(200, one!(cnx::Connection<'static>)),

    Route::new(GET, "/v1/account", Need::Token, "account", "Who am I: account, environment, scopes, limits", act!(token::whoami))
        .gives(200, one!(account::Account<'static>)),
    Route::new(POST, "/v1/tokens", ADMIN, "tokens", "Make a token; shows it once", act!(token::create))
        .takes(&account::NEW_TOKEN).gives(201, one!(account::Token<'static>)),
    Route::new(GET, "/v1/tokens", ADMIN, "tokens", "List tokens with their last use", act!(token::list))
        .gives(200, all_of!(account::Token<'static>)),
    Route::new(GET, "/v1/tokens/{id}", ADMIN, "tokens", "Read a token's record", act!(token::read))
        .gives(200, one!(account::Token<'static>)),
    Route::new(POST, "/v1/tokens/{id}/rotate", ADMIN, "tokens", "Replace a token's secret; shows the new token once", act!(token::rotate))
        .may_take(&whk::ROTATION).gives(200, one!(account::Token<'static>)),
    Route::new(DELETE, "/v1/tokens/{id}", ADMIN, "tokens", "Revoke a token, within a second", act!(token::revoke))
        .gives(204, Gives::Nothing),
    Route::new(POST, "/v1/clients", ADMIN, "tokens", "Make an OAuth 2 client; shows its secret once", act!(token::create_client))
        .takes(&account::NEW_CLIENT).gives(201, one!(account::Client<'static>)),
    Route::new(GET, "/v1/clients", ADMIN, "tokens", "List OAuth 2 clients", act!(token::clients))
        .gives(200, all_of!(account::Client<'static>)),
    Route::new(DELETE, "/v1/clients/{id}", ADMIN, "tokens", "Revoke an OAuth 2 client and its tokens", act!(token::revoke_client))
        .gives(204, Gives::Nothing),
    Route::new(GET, "/v1/audit", ADMIN, "account", "List who changed what, newest first", act!(token::audit))
        .query(page::PAGING).gives(200, page_of!(account::Audit<'static>)),

    Route::new(POST, "/oauth/token", OPEN, "oauth", "Get an access token (client_credentials)", act!(oauth::grant))
        .form().gives(200, one!(oauth::AccessToken)),
    Route::new(POST, "/oauth/revoke", OPEN, "oauth", "Revoke an access token (RFC 7009)", act!(oauth::revoke))
        .form().gives(200, Gives::Other("application/json")),
    Route::new(POST, "/oauth/introspect", OPEN, "oauth", "Ask about an access token (RFC 7662)", act!(oauth::introspect))
        .form().gives(200, Gives::Other("application/json")),
    Route::new(GET, "/.well-known/oauth-authorization-server", OPEN, "oauth", "OAuth 2 metadata (RFC 8414)", act!(oauth::metadata))
        .gives(200, Gives::Other("application/json")),

    Route::new(GET, "/livez", OPEN, "operating", "Whether the process answers", act!(site::live))
        .gives(200, Gives::Other("text/plain")),
    Route::new(GET, "/readyz", OPEN, "operating", "Whether requests can be served (503 if not)", act!(site::ready))
        .gives(200, Gives::Other("application/json")),
    Route::new(GET, "/metrics", OPEN, "operating", "Metrics in the OpenMetrics text format", act!(site::metrics))
        .gives(200, Gives::Other("application/openmetrics-text")),
    Route::new(GET, "/openapi.json", OPEN, "operating", "This description", act!(site::openapi))
        .gives(200, Gives::Other("application/json")),
    Route::new(GET, "/errors", OPEN, "operating", "The error codes, for people", act!(site::errors))
        .gives(200, Gives::Other("text/html")),
    Route::new(GET, "/errors/{code}", OPEN, "operating", "The page of an error code, for people", act!(site::error))
        .gives(200, Gives::Other("text/html")),
    Route::new(GET, "/", OPEN, "operating", "A page with links", act!(site::root)).unlisted(),
    Route::new(GET, "/docs", OPEN, "operating", "The API browser", act!(site::docs)).unlisted(),
    Route::new(GET, "/docs/", OPEN, "operating", "The API browser", act!(site::docs)).unlisted(),
    Route::new(GET, "/docs/{file}", OPEN, "operating", "A file of the API browser", act!(site::docs)).unlisted(),
];

#[derive(Clone)]
pub(crate) struct App(Arc<Inner>);

pub(crate) struct Inner {
    engine: Engine,
    settings: Settings,
    gate: auth::Gate,
    messages: Pace<TokenId>,
    grants: Pace<ClientId>,
    /// Places for tables that are read: each takes memory.
    imports: Semaphore,
    /// Places for segments that are counted: each takes a reader of the store.
    counts: Semaphore,
    started: Stopwatch,
}

impl std::ops::Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl App {
    /// Nanoseconds since this started, for paces: they must not follow the wall clock.
    pub(crate) fn now_ns(&self) -> u64 {
        (self.started.elapsed_s() * 1e9) as u64
    }

    /// The body that the first route with this address takes.
    pub(crate) fn route(&self, path: &str) -> Option<Takes> {
        let taking = |route: &&Route| route.path == path && !matches!(route.takes, Takes::Nothing);
        ROUTES.iter().find(taking).map(|route| route.takes)
    }
}

/// What answers also where there is no API.
const WATCHED: [&str; 3] = ["/livez", "/readyz", "/metrics"];

/// The front door of a running installation. [`serve`] puts it on a listener.
pub fn router(engine: Engine, settings: Settings) -> Router {
    let started = engine.clock().stopwatch();
    let app = App(Arc::new(Inner {
        engine,
        settings,
        gate: auth::Gate::new(),
        messages: Pace::new(),
        grants: Pace::new(),
        imports: Semaphore::new(IMPORTS_MAX),
        counts: Semaphore::new(COUNTS_MAX),
        started,
    }));
    let only_watched = app.settings.only_watched;
    Router::new(app, |route| !only_watched || WATCHED.contains(&route.path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checked_in_description_is_that_of_the_routes() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
        let text = openapi::text();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), text, "UPDATE=1 rewrites it");
    }

    #[test]
    fn every_route_is_described_and_every_description_is_a_route() {
        let described: serde_json::Value = serde_json::from_str(&openapi::text()).unwrap();
        assert!(described["openapi"].as_str().unwrap().starts_with("3.1"));
        let mut found = Vec::new();
        for (path, item) in described["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let scope = operation["security"].as_array().and_then(|all| all.last());
                let scope = scope.and_then(|last| last["oauth2"][0].as_str()).unwrap_or("").to_owned();
                found.push((path.clone(), method.to_uppercase(), scope));
            }
        }
        let mut wanted: Vec<_> = ROUTES
            .iter()
            .filter(|route| route.listed)
            .map(|route| {
                let scope = match route.need {
                    Need::Scope(scope) => scope.as_str().to_owned(),
                    Need::Nothing | Need::Token => String::new(),
                };
                (route.path.to_owned(), route.method.to_string(), scope)
            })
            .collect();
        found.sort();
        wanted.sort();
        assert_eq!(found, wanted);
    }

    #[test]
    fn every_reference_in_the_description_leads_somewhere() {
        let text = openapi::text();
        let described: serde_json::Value = serde_json::from_str(&text).unwrap();
        for reference in text.split("\"$ref\": \"").skip(1) {
            let reference = reference.split('"').next().unwrap();
            let name = reference.strip_prefix("#/components/schemas/").unwrap();
            assert!(described["components"]["schemas"].get(name).is_some(), "{name}");
        }
    }

    #[test]
    fn only_pages_oauth_and_health_are_open_to_everybody() {
        for route in ROUTES.iter().filter(|route| route.need == Need::Nothing) {
            assert!(!route.path.starts_with("/v1/"), "{}", route.path);
        }
    }
}
