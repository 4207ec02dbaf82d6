//! The API over real sockets: a store in a temporary directory, the engine with its simulated carrier, the server on
//! a free port. One binary, so that it is linked once; one file a resource.

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
mod site;
mod support;
mod template;
mod token;
mod webhook;

/// What the installations of these tests keep their messages in.
const KEPT_IN: support::Database = support::Database::Sqlite;
