//! Pages of lists: a cursor that says where the next page begins, opaque to its reader.
//!
//! A cursor holds a place and a checksum, so that one that was cut or edited is refused instead of giving a wrong
//! page. It grants nothing: every list looks only at what the token may see.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use utoipa::ToSchema;

/// Items of a page if the caller does not say.
pub const DEFAULT_LIMIT: usize = 50;
/// The most items of a page.
pub const MAX_LIMIT: usize = 100;

/// Which list a cursor belongs to: one of another list is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum List {
    /// Messages.
    Messages = 1,
    /// Batches.
    Batches,
    /// Attempts of an endpoint.
    Attempts,
    /// Suppressions.
    Suppressions,
    /// Review items.
    Reviews,
    /// The audit trail.
    Audit,
    /// What people agreed to.
    Consents,
    /// Contacts.
    Contacts,
    /// Imports of contacts.
    Imports,
    /// Templates.
    Templates,
    /// Conversations.
    Conversations,
    /// What was said in a conversation.
    Lines,
    /// What a search found.
    Found,
    /// Segments.
    Segments,
    /// Contacts that a segment finds.
    Members,
}

/// Prints the place as a cursor.
pub fn cursor(list: List, place: i64) -> String {
    let mut octets = [0; 13];
    octets[0] = list as u8;
    octets[1..9].copy_from_slice(&place.to_be_bytes());
    let sum = crate::token::crc32(&octets[..9]);
    octets[9..].copy_from_slice(&sum.to_be_bytes());
    URL_SAFE_NO_PAD.encode(octets)
}

/// Reads a cursor; `None` if it was not made by [`cursor`] for this list.
pub fn place(list: List, cursor: &str) -> Option<i64> {
    let octets: [u8; 13] = URL_SAFE_NO_PAD.decode(cursor).ok()?.try_into().ok()?;
    let sum = crate::token::crc32(&octets[..9]).to_be_bytes();
    if octets[0] != list as u8 || octets[9..] != sum {
        return None;
    }
    Some(i64::from_be_bytes(octets[1..9].try_into().ok()?))
}

/// A page of a list, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// The items.
    pub data: Vec<T>,
    /// Give this as `cursor` to get the next page; null on the last one. A page may be empty and still have a next.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// A page of `list` whose next one begins at `next`.
    pub fn new(list: List, data: Vec<T>, next: Option<i64>) -> Self {
        Self { data, next_cursor: next.map(|place| cursor(list, place)) }
    }
}

/// A whole list.
#[derive(Debug, Serialize, ToSchema)]
pub struct All<T> {
    /// The items.
    pub data: Vec<T>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_back_to_its_place() {
        for at in [0, 1, 42, i64::MAX, i64::MIN] {
            assert_eq!(place(List::Messages, &cursor(List::Messages, at)), Some(at));
        }
    }

    #[test]
    fn an_edited_cursor_is_refused() {
        let good = cursor(List::Messages, 123_456_789);
        assert_eq!(place(List::Batches, &good), None);
        for i in 0..good.len() {
            let mut bad = good.clone().into_bytes();
            bad[i] = if bad[i] == b'A' { b'B' } else { b'A' };
            assert_eq!(place(List::Messages, std::str::from_utf8(&bad).unwrap()), None, "{i}");
        }
        for bad in ["", "x", "123456789", "%%%", "é", &good[1..], &format!("{good}AAAA")] {
            assert_eq!(place(List::Messages, bad), None, "{bad}");
        }
    }
}
