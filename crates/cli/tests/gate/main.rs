//! The gate, asked by the real binary: when a message is accepted, in its preview, at its last moment, and at the terminal.

#[path = "../house/mod.rs"]
mod house;
mod quiet_hours;
mod reasons;
mod senders;
