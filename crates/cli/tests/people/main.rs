//! What people write, over SMPP, to the real binary.

mod carrier;
mod consents;
mod conversations;
mod dead_numbers;
mod keywords;
mod parts;
mod programmes;
mod rules;
mod segments;
mod stories;
mod subject;
mod templates;
