//! The rules of Tidings as pure functions: values in, values out.
//!
//! Nothing here reads a clock, draws a random number, waits or touches a disk or a network.

pub mod text;
