//! What outsiders see: the JSON bodies of the API and of webhooks, the error codes, the form of tokens and cursors.
//!
//! [`body`] reads JSON strictly and says by field what is wrong; each resource has a file with the bodies it takes
//! ([`body::Shape`]s, from which reading and the published schema both come) and the bodies it gives. Parsing into
//! `domain` types happens here and only here. No IO, no HTTP: which status travels with a code is in [`error`],
//! everything else about requests is the API's.
//!
//! `testdata/` holds golden bodies: they are the promise that a body does not change by accident.

pub mod account;
pub mod batch;
pub mod body;
pub mod code;
pub mod connection;
pub mod consent;
pub mod consent_request;
pub mod contact;
pub mod conversation;
pub mod endpoint;
pub mod error;
pub mod event;
pub mod import;
pub mod inbound;
pub mod media;
pub mod message;
pub mod page;
pub mod review;
pub mod segment;
mod show;
pub mod sms;
pub mod suppression;
pub mod template;
pub mod token;
pub mod webhook;

pub use show::Shown;
