//! Fuzz targets: whatever octets a stranger sends, nothing panics, hangs, or takes more memory than it should.
//!
//! Each line of [`TARGETS`] is a function from octets to a number. The function asserts the target's properties; the
//! number says what was observed (which error, how many events, about how long), so that a hunt without a compiler's
//! help still knows when an input did something new. The functions take one slice and nothing else, so they serve as
//! targets of libFuzzer as they are.
//!
//! `tests/replay.rs` runs each target over its corpus and some thousands of mutations; `src/main.rs` hunts for as long
//! as it is told, and keeps what it finds in `corpus`, where every later run of the tests meets it again.

pub mod corpus;
pub mod hunt;
pub mod mutate;
pub mod observed;
pub mod target;

use target::{body, number, request, smpp, table, text, url};

/// One target.
#[derive(Debug)]
pub struct Target {
    /// Its name, and that of its folder in `corpus`.
    pub name: &'static str,
    /// Asserts its properties; gives what was observed.
    pub run: fn(&[u8]) -> u64,
    /// Octets of an input, at most.
    pub octets_max: usize,
    /// Words that inputs are made of.
    pub words: &'static [&'static [u8]],
}

const fn target(
    name: &'static str,
    run: fn(&[u8]) -> u64,
    octets_max: usize,
    words: &'static [&'static [u8]],
) -> Target {
    Target { name, run, octets_max, words }
}

/// All of them.
pub static TARGETS: &[Target] = &[
    target("smpp_frame", smpp::frame, 4_096, smpp::WORDS),
    target("smpp_session", smpp::session, 4_096, smpp::WORDS),
    target("receipt_text", smpp::receipt, 1_024, smpp::RECEIPT_WORDS),
    target("inbound_header", text::inbound, 512, text::HEADER_WORDS),
    target("inbound_assembly", text::assembly, 1_024, text::HEADER_WORDS),
    target("keyword", text::keyword, 2_048, text::ASKED_WORDS),
    target("display", text::display, 512, text::WORDS),
    target("text_split", text::split, 2_048, text::WORDS),
    target("api_json", body::json, 4_096, body::WORDS),
    target("api_request", request::request, 4_096, request::WORDS),
    target("cursor", body::cursor, 64, &[]),
    target("token", body::token, 128, body::TOKEN_WORDS),
    target("phone_number", number::phone, 64, number::WORDS),
    target("sender", number::sender, 64, number::WORDS),
    target("time", number::time, 64, number::TIME_WORDS),
    target("template", text::template, 1_024, text::TEMPLATE_WORDS),
    target("contact_table", table::contacts, 2_048, table::WORDS),
    target("webhook_url", url::webhook, 512, url::WORDS),
];

/// The targets of this name, or all.
pub fn named(name: &str) -> Vec<&'static Target> {
    TARGETS.iter().filter(|target| name == "all" || target.name == name).collect()
}
