//! The statements of a transaction: prepared once, however often they run in it.
//!
//! A group of operations runs the same few statements for each of its messages. To look one up by its text in the cache
//! of the connection, and to put it back, took a seventh of the writer's instructions.

use super::session::failed;
use crate::Result;
use rusqlite::{CachedStatement, Connection, Row, ToSql};
use std::cell::RefCell;

/// Runs statements in a transaction. A trait, because a transaction would otherwise have to name two lifetimes: that of
/// the connection, which prepared statements borrow, and its own.
pub(super) trait Statements {
    /// Runs one that gives no rows. Gives the number of rows that it changed.
    fn execute(&self, text: &'static str, values: &[&dyn ToSql]) -> Result<usize>;

    /// Runs one and hands over each of its rows. `take` must not run any itself.
    fn each(
        &self,
        text: &'static str,
        values: &[&dyn ToSql],
        take: &mut dyn FnMut(&Row<'_>) -> Result<()>,
    ) -> Result<()>;
}

/// Those of one connection, until this is dropped.
pub(super) struct Prepared<'c> {
    connection: &'c Connection,
    /// A handful, with their texts.
    statements: RefCell<Vec<(&'static str, CachedStatement<'c>)>>,
}

impl<'c> Prepared<'c> {
    pub fn new(connection: &'c Connection) -> Self {
        Self { connection, statements: RefCell::default() }
    }

    fn with<T>(
        &self,
        text: &'static str,
        work: impl FnOnce(&mut CachedStatement<'c>) -> Result<T>,
    ) -> Result<T> {
        let mut statements = self.statements.borrow_mut();
        // Told apart by where their texts are: the same text in two places is prepared twice, and no harm is done.
        let known = statements.iter().position(|(known, _)| std::ptr::eq(*known, text));
        let place = match known {
            Some(place) => place,
            None => {
                statements.push((text, self.connection.prepare_cached(text).map_err(failed)?));
                statements.len() - 1
            }
        };
        work(&mut statements[place].1)
    }
}

impl Statements for Prepared<'_> {
    fn execute(&self, text: &'static str, values: &[&dyn ToSql]) -> Result<usize> {
        self.with(text, |statement| statement.execute(values).map_err(failed))
    }

    fn each(
        &self,
        text: &'static str,
        values: &[&dyn ToSql],
        take: &mut dyn FnMut(&Row<'_>) -> Result<()>,
    ) -> Result<()> {
        self.with(text, |statement| {
            let mut rows = statement.query(values).map_err(failed)?;
            while let Some(row) = rows.next().map_err(failed)? {
                take(row)?;
            }
            Ok(())
        })
    }
}
