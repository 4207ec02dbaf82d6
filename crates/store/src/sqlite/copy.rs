//! A database file as one end of a copy: see `crate::copy`.

use super::session::{connect, failed};
use super::{Options, migration, wal};
use crate::copy::{
    Cell, Column, Columns, End, IDENTITY, IDENTITY_LENGTH, Kind, MARK, Rows, Rowset, TABLES, Table, Use, Way,
    check_whole,
};
use crate::{Error, Result};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension as _, ToSql, params_from_iter};

/// Octets of the write-ahead log after which it is written into the file.
const LOG_OCTETS: usize = 64 << 20;

/// An open file.
pub(crate) struct File {
    connection: Connection,
    /// What was written since the log was last written into the file: octets, about.
    logged: usize,
}

impl File {
    /// Opens it. A source is seen as it is at this moment, whatever somebody changes by hand meanwhile.
    pub fn open(options: &Options, what_for: Use) -> Result<Self> {
        if what_for == Use::Source && !options.path.exists() {
            return Err(Error::Unavailable(format!("there is no {}", options.path.display())));
        }
        let mut connection = connect(options, options.cache_kib, false)?;
        wal::settle(&connection, &options.path)?;
        match what_for {
            Use::Source => {
                migration::check(&connection)?;
                connection.execute_batch("BEGIN; SELECT count(*) FROM setting").map_err(failed)?;
            }
            Use::Target => migration::migrate(&mut connection)?,
        }
        Ok(Self { connection, logged: 0 })
    }

    fn has_any(&self, table: &Table) -> Result<bool> {
        let sql = table.select(Columns::Same, Rows::First(1), |column| column.name, |_| String::new());
        self.connection.prepare(&sql).and_then(|mut s| s.exists([])).map_err(failed)
    }

    fn write_log(&mut self) -> Result<()> {
        self.logged = 0;
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(failed)
    }
}

/// Refuses a file that holds a copy which is not finished.
pub(super) fn check(connection: &Connection) -> Result<()> {
    check_whole(mark(connection)?.as_deref())
}

fn mark(connection: &Connection) -> Result<Option<String>> {
    connection
        .query_row("SELECT value FROM setting WHERE name = ?1", [MARK], |row| row.get(0))
        .optional()
        .map_err(failed)
}

/// A column as SQLite says it.
const fn expression(column: &Column) -> &'static str {
    match column.way {
        Way::Made(expression) => expression,
        Way::Same => column.name,
    }
}

/// The statement that adds a row. Its values are those of all columns that SQLite has, in their order.
fn insert(table: &Table) -> String {
    let kept = || table.columns.iter().filter(|column| is_kept(column));
    let names: Vec<&str> = kept().map(|column| column.name).collect();
    let places: Vec<String> = (1..=names.len()).map(|n| format!("?{n}")).collect();
    format!("INSERT INTO {} ({}) VALUES ({})", table.name, names.join(", "), places.join(", "))
}

const fn is_kept(column: &Column) -> bool {
    !matches!(column.way, Way::Made(_))
}

impl ToSql for Cell<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Cell::Null => ValueRef::Null,
            Cell::Number(number) => ValueRef::Integer(*number),
            Cell::Text(text) => ValueRef::Text(text),
            Cell::Octets(octets) => ValueRef::Blob(octets),
        }))
    }
}

impl End for File {
    fn read(&mut self, table: &Table, which: Columns, rows: Rows<'_>) -> Result<Rowset> {
        let sql = table.select(which, rows, expression, |n| format!("?{n}"));
        let key = if let Rows::After(key, _) = rows { key } else { &[] };
        let columns: Vec<&Column> = table.columns(which).collect();
        let mut statement = self.connection.prepare_cached(&sql).map_err(failed)?;
        let mut found =
            statement.query(params_from_iter(key.iter().map(|value| value.cell()))).map_err(failed)?;
        let mut read = Rowset::default();
        while let Some(row) = found.next().map_err(failed)? {
            read.begin();
            for (n, column) in columns.iter().enumerate() {
                let value = row.get_ref(n).map_err(failed)?;
                match (value, column.kind) {
                    (ValueRef::Null, _) => read.add(Cell::Null),
                    (ValueRef::Integer(number), Kind::Short | Kind::Whole | Kind::Long | Kind::Flag) => {
                        read.add(Cell::Number(number));
                    }
                    (ValueRef::Text(text), Kind::Text) => read.add(Cell::Text(text)),
                    (ValueRef::Blob(octets), Kind::Octets) => read.add(Cell::Octets(octets)),
                    _ => {
                        let what =
                            format!("a value in {} of {} is no {:?}", column.name, table.name, column.kind);
                        return Err(Error::Corrupt(what));
                    }
                }
            }
        }
        Ok(read)
    }

    fn write(&mut self, table: &Table, rows: &Rowset) -> Result<()> {
        let tx = self
            .connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .map_err(failed)?;
        {
            let mut statement = tx.prepare_cached(&insert(table)).map_err(failed)?;
            let mut cells = rows.cells();
            for _ in 0..rows.rows() {
                let row = table.columns.iter().zip(&mut cells);
                let kept = row.filter(|(column, _)| is_kept(column)).map(|(_, cell)| cell);
                statement.execute(params_from_iter(kept)).map_err(failed)?;
            }
        }
        tx.commit().map_err(failed)?;
        self.logged += rows.octets();
        if self.logged >= LOG_OCTETS { self.write_log() } else { Ok(()) }
    }

    fn count(&mut self, table: &Table) -> Result<u64> {
        let count: i64 = self.connection.query_row(&table.count(), [], |row| row.get(0)).map_err(failed)?;
        Ok(count.unsigned_abs())
    }

    fn identity(&mut self) -> Result<Vec<Option<i64>>> {
        self.connection
            .query_row(IDENTITY, [], |row| (0..IDENTITY_LENGTH).map(|n| row.get(n)).collect())
            .map_err(failed)
    }

    fn mark(&mut self) -> Result<Option<String>> {
        mark(&self.connection)
    }

    fn begin(&mut self, mark: &str) -> Result<bool> {
        self.connection.execute_batch("BEGIN IMMEDIATE").map_err(failed)?;
        let begun = (|| {
            for table in TABLES {
                if self.has_any(table)? {
                    return Ok(false);
                }
            }
            let sql = "INSERT INTO setting (name, value) VALUES (?1, ?2)";
            self.connection.execute(sql, [MARK, mark]).map_err(failed)?;
            Ok(true)
        })();
        let end = if matches!(begun, Ok(true)) { "COMMIT" } else { "ROLLBACK" };
        self.connection.execute_batch(end).map_err(failed)?;
        begun
    }

    fn settle(&mut self) -> Result<()> {
        self.write_log()
    }

    fn finish(&mut self) -> Result<()> {
        self.connection.execute("DELETE FROM setting WHERE name = ?1", [MARK]).map_err(failed)?;
        self.write_log()
    }
}
