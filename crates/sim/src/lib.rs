//! The whole on one simulated clock: the real rules and the real engine among carriers, customers and receivers that
//! misbehave, over a store that misbehaves, in processes that end at bad moments. Everything follows from a seed.
//!
//! ```text
//! plan (seed) ──▶ world: house (engine, engine, engine …) ◀──▶ carrier, receiver, customer, unreliable store
//!                   │ what outsiders see                              │
//!                   ▼                                                 ▼
//!                 ledger ───────────────▶ check ◀─────────── the API's view at the end
//! ```
//!
//! A run is some minutes of simulated trouble and then a healing, in which no fault strikes and everything must come
//! to its end. Then [`check`] compares what was promised with what was seen. It uses none of the engine's code and
//! none of the store's, and none of the rules.
//!
//! Two runs of one seed are the same, happening by happening: one thread, tokio's stopped clock, no map whose order
//! depends on the machine. `just sim SEED` shows one with its whole trace.
//!
//! What it does not do: octets of SMPP and HTTP, SQLite, the API's own code. Those have tests of their own.

pub mod bug;
pub mod carrier;
pub mod check;
pub mod customer;
pub mod fault;
pub mod house;
pub mod hunt;
pub mod later;
pub mod ledger;
pub mod plan;
pub mod random;
pub mod receiver;
pub mod seen;
pub mod stage;
pub mod trial;
pub mod unreliable;
pub mod world;
