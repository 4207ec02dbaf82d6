//! A benchmark of the whole program, from outside: a load generator, an SMSC and a receiver of webhooks around the
//! real binary, each a process of its own, and an account of every message.
//!
//! A figure counts only if the account is whole: each answer with 202 has exactly one submission for each segment, one
//! receipt for each submission and a webhook of its end. It shares no code with what it measures, as the witness does
//! not; also the [`limit`] program, which is measured beside it, has everything of its own.
//!
//! The tools share the machine with the server, so they must be lean: one thread each, raw buffers, no JSON library
//! on the way of a message, and logs that are arrays in memory until the end. They say how much of the processor they
//! took, and so can be judged.
//!
//! [`run::run`] is a run. It needs Linux: it reads `/proc` and waits with `epoll`.

#![cfg(target_os = "linux")]

pub mod check;
pub mod clock;
pub mod compare;
pub mod figures;
pub mod limit;
pub mod load;
pub mod log;
pub mod number;
pub mod options;
pub mod page;
pub mod poll;
pub mod profile;
pub mod report;
pub mod run;
pub mod sink;
pub mod smsc;
pub mod stored;
pub mod subject;
pub mod tool;
pub mod watch;
