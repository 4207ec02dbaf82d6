//! The real engine with its real SMPP carrier, over real sockets, against a carrier's side that does what it likes: it
//! lies, floods, falls silent and breaks off. The peer is played octet by octet in [`peer`].

#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests too")]

mod doubt;
mod hostile;
mod peer;
