//! What people write, over SMPP, to the real binary.

mod carrier;
mod conversations;
mod keywords;
mod parts;
mod segments;
mod stories;
mod subject;
mod templates;
