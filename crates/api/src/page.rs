//! Lists in pages: the parameters of the address that they share, and the page that a caller asks for.

use crate::ask::{Ask, bad_parameter};
use crate::problem::Problem;
use tidings_store::Page;
use tidings_wire::body::{Field, Kind};
use tidings_wire::page::{DEFAULT_LIMIT, List, MAX_LIMIT, place};

pub(crate) const LIMIT: Field = Field::new("limit", Kind::Integer(1, MAX_LIMIT as i64), "Items of a page.");
pub(crate) const CURSOR: Field = Field::new("cursor", Kind::Text, "`next_cursor` of the page before.");

pub(crate) static PAGING: &[Field] = &[LIMIT, CURSOR];

/// How many items the caller wants.
pub(crate) fn limit(ask: &Ask) -> usize {
    ask.query.get("limit").and_then(|text| text.parse().ok()).unwrap_or(DEFAULT_LIMIT)
}

/// Which page the caller wants.
pub(crate) fn page(ask: &Ask, list: List) -> Result<Page, Problem> {
    let before = match ask.query.get("cursor") {
        None => None,
        Some(cursor) => Some(place(list, cursor).ok_or_else(|| {
            bad_parameter("cursor", "invalid_cursor", "This is not a cursor that this list gave.")
        })?),
    };
    Ok(Page { before, limit: limit(ask) })
}
