//! A PostgreSQL database as one end of a copy: see `crate::copy`.

use super::Options;
use super::executor::ALONE;
use super::session::{Session, cell, single};
use super::transaction::TURN;
use super::{migration, part};
use crate::copy::{
    Cell, Column, Columns, End, IDENTITY, IDENTITY_LENGTH, Kind, MARK, Rows, Rowset, TABLES, Table, Use,
    Value, check_whole,
};
use crate::{Error, Result};
use bytes::BytesMut;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio_postgres::Row;
use tokio_postgres::types::{IsNull, ToSql, Type};

/// The settings of a session that copies: a piece takes as long as it takes, and the other end may be slow.
const SETTINGS: &str = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0";
/// How long to wait for the lock of a process that ended just now, and how often it is asked for.
const LOCK_TRIES: (u32, Duration) = (60, Duration::from_millis(50));

/// An open database.
pub(crate) struct Database {
    session: Session,
    /// After the session, which needs it to its end.
    runtime: Runtime,
}

impl Database {
    /// Opens it, and keeps others from serving it. A source is seen as it is at this moment, whatever somebody changes
    /// by hand meanwhile.
    pub fn open(options: &Options, what_for: Use) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::Unavailable(format!("there is no runtime: {error}")))?;
        let session = runtime.block_on(async {
            let session = Session::open(&options.server.0).await?;
            session.check_promises().await?;
            session.command(SETTINGS).await?;
            hold(&session).await?;
            match what_for {
                Use::Source => {
                    migration::check_exactly(&session).await?;
                    check_leases(&session).await?;
                    session.command("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
                }
                Use::Target => {
                    migration::migrate(&session).await?;
                    migration::check_exactly(&session).await?;
                    check_leases(&session).await?;
                }
            }
            Ok(session)
        })?;
        Ok(Self { session, runtime })
    }
}

/// Refuses a database of which a node may still believe that it serves it: one that was cut off, or stands still.
async fn check_leases(session: &Session) -> Result<()> {
    let lasting =
        "SELECT name FROM node WHERE lease_until > clock_timestamp() ORDER BY lease_until DESC LIMIT 1";
    match session.row(lasting, &[]).await? {
        None => Ok(()),
        Some(row) => Err(Error::Unavailable(format!(
            "the lease of the node {} is not over yet: stop it first, or wait until it is",
            cell::<String>(&row, 0)?
        ))),
    }
}

/// Keeps others from serving the database as long as the session lives.
async fn hold(session: &Session) -> Result<()> {
    let (tries, pause) = LOCK_TRIES;
    for _ in 0..tries {
        if session.value::<bool>(ALONE, &[]).await? {
            return Ok(());
        }
        tokio::time::sleep(pause).await;
    }
    Err(Error::Unavailable(
        "another tidings serves or copies this database: stop it first, or name another database".to_owned(),
    ))
}

/// Refuses a database that holds a copy which is not finished.
pub(super) async fn check(session: &Session) -> Result<()> {
    check_whole(mark(session).await?.as_deref())
}

async fn mark(session: &Session) -> Result<Option<String>> {
    let row = session.row("SELECT value FROM setting WHERE name = $1", &[&MARK]).await?;
    row.map(|row| cell(&row, 0)).transpose()
}

impl Kind {
    const fn of_server(self) -> Type {
        match self {
            Self::Short => Type::INT2,
            Self::Whole => Type::INT4,
            Self::Long => Type::INT8,
            Self::Flag => Type::BOOL,
            Self::Text => Type::TEXT,
            Self::Octets => Type::BYTEA,
        }
    }

    /// Whether the server can keep this in a column of this kind.
    fn takes(self, cell: Cell<'_>) -> bool {
        match (self, cell) {
            (_, Cell::Null) | (Self::Long, Cell::Number(_)) => true,
            (Self::Short, Cell::Number(number)) => i16::try_from(number).is_ok(),
            (Self::Whole, Cell::Number(number)) => i32::try_from(number).is_ok(),
            (Self::Flag, Cell::Number(number)) => matches!(number, 0 | 1),
            (Self::Text, Cell::Text(text)) => std::str::from_utf8(text).is_ok(),
            (Self::Octets, Cell::Octets(_)) => true,
            _ => false,
        }
    }
}

impl ToSql for Cell<'_> {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> std::result::Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match (self, kind) {
            (Cell::Null, _) => return Ok(IsNull::Yes),
            (Cell::Number(number), &Type::INT2) => {
                out.extend_from_slice(&i16::try_from(*number)?.to_be_bytes())
            }
            (Cell::Number(number), &Type::INT4) => {
                out.extend_from_slice(&i32::try_from(*number)?.to_be_bytes())
            }
            (Cell::Number(number), &Type::BOOL) => out.extend_from_slice(&[u8::from(*number != 0)]),
            (Cell::Number(number), _) => out.extend_from_slice(&number.to_be_bytes()),
            (Cell::Text(octets) | Cell::Octets(octets), _) => out.extend_from_slice(octets),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    tokio_postgres::types::to_sql_checked!();
}

fn add(read: &mut Rowset, row: &Row, n: usize, column: &Column) -> Result<()> {
    let number = |number: Option<i64>| number.map_or(Cell::Null, Cell::Number);
    read.add(match column.kind {
        Kind::Short => number(cell::<Option<i16>>(row, n)?.map(i64::from)),
        Kind::Whole => number(cell::<Option<i32>>(row, n)?.map(i64::from)),
        Kind::Long => number(cell(row, n)?),
        Kind::Flag => number(cell::<Option<bool>>(row, n)?.map(i64::from)),
        Kind::Text => cell::<Option<&str>>(row, n)?.map_or(Cell::Null, |text| Cell::Text(text.as_bytes())),
        Kind::Octets => cell::<Option<&[u8]>>(row, n)?.map_or(Cell::Null, Cell::Octets),
    });
    Ok(())
}

impl End for Database {
    fn read(&mut self, table: &Table, which: Columns, rows: Rows<'_>) -> Result<Rowset> {
        let sql = table.select(which, rows, |column| column.name, |n| format!("${n}"));
        let key: Vec<Cell<'_>> =
            if let Rows::After(key, _) = rows { key.iter().map(Value::cell).collect() } else { Vec::new() };
        let key: Vec<&(dyn ToSql + Sync)> = key.iter().map(|value| value as _).collect();
        let found = self.runtime.block_on(self.session.page(&sql, &key))?;
        let columns: Vec<&Column> = table.columns(which).collect();
        let mut read = Rowset::default();
        for row in &found {
            read.begin();
            for (n, column) in columns.iter().enumerate() {
                add(&mut read, row, n, column)?;
            }
        }
        Ok(read)
    }

    fn write(&mut self, table: &Table, rows: &Rowset) -> Result<()> {
        let names: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
        let kinds: Vec<Type> = table.columns.iter().map(|column| column.kind.of_server()).collect();
        let sql = format!("COPY {} ({}) FROM STDIN (FORMAT binary)", table.name, names.join(", "));
        let mut cells = rows.cells();
        let row = || {
            let row: Vec<Cell<'_>> = cells.by_ref().take(kinds.len()).collect();
            match row.iter().zip(table.columns).find(|(cell, column)| !column.kind.takes(**cell)) {
                // Not with the value, which may be somebody's number.
                Some((_, column)) => Err(Error::Corrupt(format!(
                    "a value in {} of {} is no {:?}",
                    column.name, table.name, column.kind
                ))),
                None => Ok(row),
            }
        };
        let rows = std::iter::repeat_with(row).take(rows.rows());
        self.runtime.block_on(self.session.fill(&sql, &kinds, rows))
    }

    fn count(&mut self, table: &Table) -> Result<u64> {
        // Whole tables are read here, once.
        let read = async {
            self.session.command("SET enable_seqscan = on").await?;
            let rows = self.session.page(&table.count(), &[]).await?;
            self.session.command("SET enable_seqscan = off").await?;
            Ok(cell::<i64>(&single(rows)?, 0)?.unsigned_abs())
        };
        self.runtime.block_on(read)
    }

    fn identity(&mut self) -> Result<Vec<Option<i64>>> {
        let row = self.runtime.block_on(self.session.one(IDENTITY, &[]))?;
        (0..IDENTITY_LENGTH).map(|n| cell(&row, n)).collect()
    }

    fn mark(&mut self) -> Result<Option<String>> {
        self.runtime.block_on(mark(&self.session))
    }

    fn begin(&mut self, mark: &str) -> Result<bool> {
        let marking = async {
            self.session.execute(TURN, &[]).await?;
            for table in TABLES {
                let sql =
                    table.select(Columns::Same, Rows::First(1), |column| column.name, |_| String::new());
                if !self.session.page(&sql, &[]).await?.is_empty() {
                    return Ok(false);
                }
            }
            let sql = "INSERT INTO setting (name, value) VALUES ($1, $2)";
            self.session.execute(sql, &[&MARK, &mark]).await?;
            Ok(true)
        };
        self.runtime.block_on(async {
            self.session.command("BEGIN").await?;
            let begun = marking.await;
            self.session.command(if matches!(begun, Ok(true)) { "COMMIT" } else { "ROLLBACK" }).await?;
            begun
        })
    }

    fn settle(&mut self) -> Result<()> {
        self.runtime.block_on(async {
            part::seal(&self.session, part::EVENTS).await?;
            part::seal(&self.session, part::ATTEMPTS).await
        })?;
        // The numbers that the server gives go on behind those that were copied.
        self.runtime.block_on(self.session.command(
            "SELECT setval(pg_get_serial_sequence('parked', 'id'), coalesce((SELECT max(id) FROM parked), 0) + 1, false)",
        ))
    }

    fn finish(&mut self) -> Result<()> {
        let sql = "DELETE FROM setting WHERE name = $1";
        self.runtime.block_on(self.session.execute(sql, &[&MARK])).map(drop)
    }
}
