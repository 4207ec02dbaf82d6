//! The same tests of the API with PostgreSQL beneath, where that can be started; else once more with SQLite.

#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests too")]

mod code;
mod conversation;
mod hostile;
mod idempotency;
mod message;
mod oauth;
mod programme;
mod rights;
mod segment;
mod support;
mod template;
mod token;
mod webhook;

/// What the installations of these tests keep their messages in.
const KEPT_IN: support::Database = support::Database::Postgres;
