//! Durable state: one contract ([`Backend`]), SQLite behind it (and later PostgreSQL), migrations.
//!
//! To add an operation: name the use case in `backend.rs` with what is atomic about it, write it in
//! `sqlite/<noun>.rs` and in `model/<noun>.rs`, and say its promise in `tests/conformance/<noun>.rs`.

mod backend;
mod column;
mod error;
mod guard;
#[cfg(feature = "model")]
pub mod model;
mod reference;
pub mod sqlite;
mod waiting;

pub use backend::*;
pub use error::{Error, Result};
pub use guard::{Crashed, Guard, Key};
pub use reference::our_reference;
pub use waiting::{ByPurpose, Waiting};
