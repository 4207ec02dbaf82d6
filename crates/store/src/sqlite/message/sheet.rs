//! The sheet of an operation: what it decided about messages and has not written yet.
//!
//! The answers for the segments of a message mostly come to one operation, and where a carrier reports at once, its
//! receipts with them. On the sheet all of that is one change of the row, and a receipt that came with its answer leaves
//! nothing to find it by.

use crate::Result;
use crate::sqlite::transaction::Tx;
use rusqlite::params;
use std::collections::BTreeMap;
use tidings_domain::id::MessageId;

/// What of a message's row changes.
pub(super) struct Row {
    pub state: i64,
    pub until: Option<i64>,
    pub lane: Option<i64>,
    pub due_at: Option<i64>,
    pub attempt: u32,
    pub tries: u32,
    pub resends: u32,
    pub parts: String,
    /// The failure of the last event, if there was an event: perhaps none.
    pub failure: Option<Option<String>>,
    pub updated_at: i64,
}

impl Row {
    pub fn write(&self, tx: &Tx<'_>, id: MessageId) -> Result<()> {
        tx.execute(
            "UPDATE message SET state = ?2, until = ?3, lane = ?4, due_at = ?5, attempt = ?6, tries = ?7, resends = ?8, parts = ?9,
               failure = CASE WHEN ?10 THEN ?11 ELSE failure END, updated_at = ?12 WHERE id = ?1",
            params![
                id.key(),
                self.state,
                self.until,
                self.lane,
                self.due_at,
                self.attempt,
                self.tries,
                self.resends,
                self.parts,
                self.failure.is_some(),
                self.failure.as_ref().and_then(Option::as_deref),
                self.updated_at,
            ],
        )
        .map(drop)
    }
}

/// A segment for which a receipt is expected.
pub(super) struct Expected {
    /// The connection or carrier under whose number it is filed.
    pub line: i64,
    pub message: i64,
    pub segment: u8,
    pub carrier_id: String,
}

/// What an operation has not written yet.
#[derive(Default)]
pub(super) struct Sheet {
    rows: BTreeMap<MessageId, Row>,
    /// By the form of the carrier's id. Of none of these is there a row in the database.
    expected: BTreeMap<String, Vec<Expected>>,
}

impl Sheet {
    /// This is how the row will be.
    pub fn change(&mut self, id: MessageId, row: Row) {
        let failure = self.rows.remove(&id).and_then(|before| before.failure);
        let failure = row.failure.or(failure);
        self.rows.insert(id, Row { failure, ..row });
    }

    /// Whether the row of this message is not as it will be.
    pub fn is_changed(&self, id: MessageId) -> bool {
        self.rows.contains_key(&id)
    }

    /// A receipt is expected that was not expected before.
    pub fn expect(&mut self, form: &str, expected: Expected) {
        match self.expected.get_mut(form) {
            Some(known) => known.push(expected),
            None => drop(self.expected.insert(form.to_owned(), vec![expected])),
        }
    }

    /// A receipt is expected no more; `false` if that is not on this sheet.
    pub fn forget(&mut self, form: &str, line: i64, message: MessageId, segment: u8) -> bool {
        let Some(known) = self.expected.get_mut(form) else { return false };
        let is_it = |one: &Expected| (one.line, one.message, one.segment) == (line, message.key(), segment);
        let Some(place) = known.iter().position(is_it) else { return false };
        known.swap_remove(place);
        true
    }

    /// What is expected under this form on this line.
    pub fn under(&self, form: &str, line: i64) -> impl Iterator<Item = &Expected> {
        let known = self.expected.get(form).map(Vec::as_slice).unwrap_or_default();
        known.iter().filter(move |one| one.line == line)
    }

    /// Writes the row of a message, so that it can be read.
    pub fn settle(&mut self, tx: &Tx<'_>, id: MessageId) -> Result<()> {
        self.rows.remove(&id).map_or(Ok(()), |row| row.write(tx, id))
    }

    /// Writes everything.
    pub fn write(&mut self, tx: &Tx<'_>) -> Result<()> {
        for (id, row) in std::mem::take(&mut self.rows) {
            row.write(tx, id)?;
        }
        for (form, expected) in std::mem::take(&mut self.expected) {
            for one in expected {
                insert_expected(tx, &form, &one)?;
            }
        }
        Ok(())
    }
}

/// Writes by which form a segment is found.
pub(super) fn insert_expected(tx: &Tx<'_>, form: &str, expected: &Expected) -> Result<()> {
    let Expected { line, message, segment, carrier_id } = expected;
    tx.execute(
        "INSERT OR REPLACE INTO outstanding (connection, canonical, message, segment, carrier_id) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![line, form, message, segment, carrier_id],
    )
    .map(drop)
}
