//! The rules of messaging. No IO, no clock, no randomness, no async: values in, values out.
//!
//! Read in this order: [`message`] is the life of a message and the heart of it all; [`purpose`], [`failure`] and
//! [`retry`] are what its decisions rest on; [`receipt`] matches a carrier's word to a segment; [`intake`] decides
//! what is accepted; [`routing`] and [`pacing`] say where and how fast it goes out; [`webhook`] when a customer is
//! told; [`node`] which of several processes does what; [`review`] and [`suppression`] are what people see of failures, and
//! [`reachability`] says which numbers are dead;
//! [`gate`] asks before every send whether it may be, and [`quiet_hours`] is what it asks about time, [`consent`] what
//! people agreed to, [`range`] what a number is for, [`content`] what a text has in it, [`frequency`] how often a person
//! is sent to, [`registration`] what senders may do; [`pool`] chooses one of several senders, [`quota`] counts what goes from
//! one in a day, and [`spend`] what an account may spend; [`assembly`] puts long messages of people together, [`keyword`] reads
//! what people ask for by text, [`reply`] is what they are answered by itself, [`inbound`] says what follows, and
//! [`inbound_rule`] where the rest goes; [`media`] is what comes with a text or in its place. [`code`] is
//! the life of a one-time code, and [`velocity`] how fast codes may be asked for. [`contact`] is who people are, [`csv`]
//! reads and writes tables, [`table`] judges the rows of one, [`import`] takes those of contacts over, [`consent_import`] says
//! which are consents, and [`segment`] says whom a saved query finds. [`template`] makes texts from values, and
//! [`conversation`] says who waits for an answer. [`text`], [`address`] and [`sender`] are
//! the parsed things that the rest trusts. [`id`], [`time`], [`account`] and [`event`] are the words they share, and [`octets`] how digests are written.

pub mod account;
pub mod address;
pub mod admission;
pub mod assembly;
pub mod code;
pub mod consent;
pub mod consent_import;
pub mod consent_request;
pub mod contact;
pub mod content;
pub mod conversation;
pub mod csv;
pub mod event;
pub mod failure;
pub mod frequency;
pub mod gate;
pub mod hash;
pub mod id;
pub mod import;
pub mod inbound;
pub mod inbound_rule;
pub mod intake;
pub mod keyword;
pub mod media;
pub mod message;
pub mod node;
pub mod octets;
pub mod pacing;
pub mod poison;
pub mod pool;
pub mod programme;
pub mod purpose;
pub mod queue;
pub mod quiet_hours;
pub mod quota;
pub mod range;
pub mod reachability;
pub mod receipt;
pub mod registration;
pub mod reply;
pub mod retry;
pub mod review;
pub mod routing;
pub mod segment;
pub mod sender;
pub mod spelling;
pub mod spend;
pub mod suppression;
pub mod table;
pub mod template;
pub mod text;
pub mod time;
pub mod velocity;
pub mod webhook;
