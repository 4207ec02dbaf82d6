//! Durable state: one contract ([`Backend`]), SQLite or PostgreSQL behind it, migrations.
//!
//! To add an operation: name the use case in `backend.rs` with what is atomic about it, write it in
//! `sqlite/<noun>.rs`, `postgres/<noun>.rs` and `model/<noun>.rs`, and say its promise in `tests/conformance/<noun>.rs`.

mod backend;
mod carriers;
mod column;
pub mod copy;
mod due;
mod error;
mod guard;
mod listeners;
mod looked;
#[cfg(feature = "model")]
pub mod model;
pub mod postgres;
mod recent;
mod segment;
mod silent;
pub mod sqlite;
mod tally;
mod turn;
mod waiting;

pub use backend::*;
pub use carriers::Carriers;
pub use error::{Error, Result};
pub use guard::{Crashed, Guard, Key};
pub use waiting::{ByPurpose, Waiting};
