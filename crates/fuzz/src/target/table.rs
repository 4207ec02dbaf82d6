//! Tables of contacts that people send us.

use super::steer;
use crate::observed::Observed;
use tidings_domain::account::Environment;
use tidings_domain::address::Country;
use tidings_domain::csv::{Body, Records, is_formula, plain, write_row};
use tidings_domain::import::{Contacts, Row};
use tidings_domain::table::{Options, Reader, Report, Unusable, Window};

/// Pieces of tables, and what goes wrong with them.
pub const WORDS: &[&[u8]] = &[
    b"number,name,groups\n",
    b"phone;visits:number;since:date;vip:yes_no\r\n",
    b"mobile\ttime zone\tlanguage\n",
    b"+46701234567",
    b"070-123 45 67",
    b"4.67012E+10",
    b"\"",
    b"\"\"",
    b"\"x\"y",
    b",",
    b";",
    b"\t",
    b"\n",
    b"\r\n",
    b"\r",
    b"=1+1",
    b"'=",
    b"'",
    b"\xEF\xBB\xBF",
    b"\xFF\xFE",
    b"\xFE\xFF",
    b"\xE5",
    b"\0",
    "\u{202A}".as_bytes(),
    "\u{200B}".as_bytes(),
    b"Europe/Stockholm",
    b"en-GB",
    b"2026-01-31",
    b"gold|new",
    b"yes",
    b"-12.5",
];

/// A table of contacts, read whole and in pieces.
///
/// # Panics
/// If a property does not hold.
pub fn contacts(octets: &[u8]) -> u64 {
    let (flags, octets) = steer(octets);
    let whole = read(octets, octets.len().max(1), flags);
    let pieces = read(octets, 1 + usize::from(flags >> 1) % 13, flags);
    assert_eq!(whole, pieces, "a table means the same in whatever pieces it comes");
    let seen = Observed::new();
    let (window, report) = match whole {
        Err(why) => return seen.word(why.code()).number(),
        Ok(read) => read,
    };
    assert_eq!(report.rows, report.good + report.mended + report.duplicates + report.refused);
    assert_eq!(window.rows.len() as u64, report.accepted());
    assert_eq!(window.refused.len() as u64, report.duplicates + report.refused);
    assert!(window.rows.windows(2).all(|pair| pair[0].number < pair[1].number), "each number once");
    assert!(window.refused.windows(2).all(|pair| pair[0].line < pair[1].line), "each line once");
    let mut seen = seen.size(window.rows.len()).size(window.refused.len());
    for row in &window.rows {
        assert!(row.details.check().is_ok());
        for text in row.details.name.iter().chain(&row.details.owner) {
            assert!(!text.chars().any(char::is_control), "{text:?}");
            let mut written = String::from("one,two\r\n");
            write_row(&mut written, [text.as_str(), ""]);
            let mut records = Records::new();
            records.feed(written.as_bytes());
            records.end();
            let record = std::iter::from_fn(|| records.take_next()).nth(1).expect("the second row");
            let Body::Cells { cells, .. } = record.body else { panic!("{text:?} cannot be read back") };
            assert!(!is_formula(&cells[0]), "{cells:?}");
            assert_eq!(plain(&cells[0]), text);
        }
    }
    for refused in &window.refused {
        seen = seen.word(&refused.reason);
    }
    report.mends.keys().fold(seen, |seen, mend| seen.word(mend)).number()
}

type Read = Result<(Window<Row>, Report), Unusable>;

fn read(octets: &[u8], step: usize, flags: u8) -> Read {
    let options = Options {
        environment: Environment::Test,
        default_country: (flags & 1 == 0).then(|| Country::parse("SE").expect("Sweden")),
        number_column: None,
    };
    let mut reader = Reader::new(options, Contacts::default());
    for piece in octets.chunks(step) {
        reader.feed(piece)?;
    }
    reader.end()?;
    let window = reader.take();
    Ok((window, reader.report().clone()))
}
