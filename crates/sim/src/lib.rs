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
//! About half of the worlds have two or three nodes: each is a real engine with a clock of its own, over one store that
//! all of them serve, and calls go to any of them. A node may die, stop, stand still, lose its questions to the store or
//! the answers, or all carriers; the store may be replaced by one with another clock. Then [`check`] looks also for a
//! connection with two owners, for a takeover that settles nothing or comes late, and for a write of a node that was ended.
//!
//! A node that stands still neither does nor learns anything: what it asks of the store, writes to a carrier, calls or
//! answers waits until it goes on, and so does all that it would hear. Its lease's clock shows the moment at which it
//! stopped, and is right again afterwards. Its timers are tokio's, and run: what it decides meanwhile it has decided by
//! what it last knew, and before it goes on. So a wait that ended in that time has ended, also where in truth the answer
//! and the end of the wait would be there together. Real processes that are stopped are tried by `crates/witness`.
//!
//! Two runs of one seed are the same, happening by happening: one thread, tokio's stopped clock, no map whose order
//! depends on the machine. `just sim SEED` shows one with its whole trace.
//!
//! What it does not do: octets of SMPP and HTTP, SQLite, PostgreSQL, the API's own code, wall clocks of nodes that differ.
//! The first have tests of their own.

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
