//! An outside witness: it plays the carrier, the customers and the customers' webhook receiver around the real
//! binary, writes down what passed between them, ends the binary at bad moments, and compares at the end.
//!
//! It shares no code with what it watches: a mistake in the product's own SMPP or HTTP code cannot hide itself here.
//! What it believes is what the documents promise. It does not look into the data directory, and it proves nothing
//! about a power cut: a killed process loses only what it had not handed to the operating system.
//!
//! [`kill::run`], [`memory::run`], [`nodes::run`], [`optout::run`], [`outage::run`], [`poison::run`], [`restart::run`], [`stop::run`] and
//! [`throttle::run`] are the runs; [`check`] is the comparison, a pure function of the
//! [`ledger`], so that hand-made ledgers can show that it sees each fault.

pub mod backlog;
pub mod check;
pub mod clock;
pub mod http;
pub mod kill;
pub mod ledger;
pub mod load;
pub mod memory;
pub mod nodes;
pub mod optout;
pub mod outage;
pub mod overload;
pub mod poison;
pub mod random;
pub mod restart;
pub mod sink;
pub mod smsc;
pub mod stop;
pub mod subject;
pub mod throttle;
