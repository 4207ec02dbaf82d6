//! Imports of contacts, and the pieces of which they consist.

use tidings_domain::id::*;
use tidings_domain::import::{self, Import, Row};
use tidings_domain::table::{Refused, Report, Window};

/// Rows of an import that were judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    /// Those that can be taken over and those that cannot.
    pub window: Window<Row>,
    /// The headings of the table.
    pub headings: Vec<String>,
    /// What was found so far.
    pub report: Report,
    /// How far the import is then.
    pub state: import::State,
}

/// What the rows of a piece of an import are. The number is the one in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PieceOf {
    /// Those that can be taken over.
    Good = 0,
    /// Those that cannot.
    Refused = 1,
}

/// Rows of an import in one piece, and so in one commit: some 20 ms of the writer's time.
const PIECE_ROWS: usize = 2_000;
/// Octets of a file in one piece.
const PIECE_OCTETS: usize = 512 * 1024;
/// Pieces that one sweep throws away.
pub(crate) const PIECES_SWEPT: usize = 20;

/// Cuts rows into pieces.
pub(crate) fn pieces<T>(rows: &[T], octets: impl Fn(&T) -> usize) -> Vec<&[T]> {
    let (mut pieces, mut begin, mut sum) = (Vec::new(), 0, 0);
    for (n, row) in rows.iter().enumerate() {
        sum += octets(row);
        if n + 1 - begin == PIECE_ROWS || sum >= PIECE_OCTETS {
            pieces.push(&rows[begin..=n]);
            (begin, sum) = (n + 1, 0);
        }
    }
    if begin < rows.len() {
        pieces.push(&rows[begin..]);
    }
    pieces
}

/// The line of the trail about a decision that changed an import.
pub(crate) fn decided_line(import: &Import) -> (&'static str, String) {
    match import.state {
        import::State::Committing => {
            ("import.commit", format!("{}: {} rows", import.name, import.report.accepted()))
        }
        _ => ("import.discard", import.name.clone()),
    }
}

/// The line of the log about an import that ends because what is stored of it, or of a contact that it concerns, cannot be read.
pub(crate) fn damaged_line(id: ImportId, why: &str) {
    tracing::error!(import = %id, why, "an import cannot be read; it is broken, and what was taken over before stays");
}

/// What a refused row takes: octets.
pub(crate) fn refused_octets(row: &Refused) -> usize {
    row.cells.iter().map(String::len).sum::<usize>() + row.cells.len()
}
