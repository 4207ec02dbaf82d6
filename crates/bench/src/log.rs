//! The tools' logs: arrays of numbers, kept in memory while anything is measured, and written to a file at the end.
//!
//! A log is some columns of 64-bit numbers, all as long as each other. A column has the same meaning for whoever
//! writes and reads it; there is no other description.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

/// What a file of ours begins with.
const MAGIC: u64 = u64::from_le_bytes(*b"tdbench1");

/// Writes columns.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &Path, columns: &[&[u64]]) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let rows = columns.first().map_or(0, |column| column.len());
    for number in [MAGIC, columns.len() as u64, rows as u64] {
        file.write_all(&number.to_le_bytes())?;
    }
    for column in columns {
        assert_eq!(column.len(), rows, "columns of one log are as long as each other");
        for number in *column {
            file.write_all(&number.to_le_bytes())?;
        }
    }
    file.flush()
}

/// Reads the columns of a log that has `N` of them.
///
/// # Errors
/// The file cannot be read, or is no such log.
pub fn read<const N: usize>(path: &Path) -> io::Result<[Vec<u64>; N]> {
    let mut file = BufReader::with_capacity(1 << 20, File::open(path)?);
    let mut number = || {
        let mut octets = [0; 8];
        file.read_exact(&mut octets).map(|()| u64::from_le_bytes(octets))
    };
    let (magic, columns, rows) = (number()?, number()?, number()?);
    if magic != MAGIC || columns != N as u64 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{} is no log of {N} columns", path.display()),
        ));
    }
    let mut all = [(); N].map(|()| Vec::new());
    for column in &mut all {
        *column = (0..rows).map(|_| number()).collect::<io::Result<_>>()?;
    }
    Ok(all)
}
