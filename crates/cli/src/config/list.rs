//! Sections that may be written several times, as `[[sender]]`: how each of them is found, told from the others, and
//! printed. What makes one right, and what they become together, is in the file of its noun.

use super::key::{self, Reader, Section, Table};
use toml::de::{DeTable, DeValue};

/// A section that may be written several times.
pub trait Listed: Section {
    /// What they are called together, in complaints: `senders`.
    const MANY: &'static str;
    /// The key whose value tells one from the others, in complaints and in variables of the environment.
    const NAME_KEY: &'static str;
    /// Whether it may have keys that are not its own, which somebody else reads.
    const HAS_REST: bool = false;
}

/// Reads each that is written, in their order, and hands it over with its table.
pub fn each<'a, S: Listed>(
    reader: &mut Reader<'a>,
    root: &'a DeTable<'a>,
    mut take: impl FnMut(&mut Reader<'a>, &Table<'a>, S),
) {
    let Some(written) = root.get(S::NAME) else { return };
    let tables = match written.get_ref() {
        DeValue::Array(tables) if tables.iter().all(|table| table.get_ref().is_table()) => tables,
        _ => {
            let place = reader.place(written.span().start);
            let header = header::<S>();
            let sentence = format!("{} are written as {header}, in double brackets; add them", S::MANY);
            return reader.complain(place, sentence);
        }
    };
    for content in tables {
        let name = content.get_ref().get(S::NAME_KEY).and_then(|name| name.get_ref().as_str());
        let header = name.map_or_else(header::<S>, named::<S>);
        let mut table = reader.table(header, S::NAME, name, Some(content));
        let section = S::read(reader, &mut table);
        if !S::HAS_REST {
            reader.finish(&table);
        }
        take(reader, &table, section);
    }
}

/// How many are written, whether they are right or not.
pub fn count<S: Listed>(root: &DeTable<'_>) -> usize {
    root.get(S::NAME).and_then(|written| written.get_ref().as_array()).map_or(0, |tables| tables.len())
}

/// The table of the one with this name, to complain of once all are read.
pub fn table<'a, S: Listed>(reader: &Reader<'a>, root: &'a DeTable<'a>, name: &str) -> Table<'a> {
    let tables = root.get(S::NAME).and_then(|written| written.get_ref().as_array());
    let is_it = |table: &&'a toml::Spanned<DeValue<'a>>| {
        table.get_ref().get(S::NAME_KEY).and_then(|known| known.get_ref().as_str()) == Some(name)
    };
    let found = tables.and_then(|tables| tables.iter().find(is_it));
    reader.table(named::<S>(name), S::NAME, Some(name), found)
}

/// Prints one as it was written.
pub fn print<S: Listed>(text: &mut String, section: &S) {
    key::print_keys(text, &header::<S>(), &section.show());
}

/// Prints the section as the example configuration has it: all of it commented.
pub fn print_example<S: Listed>(text: &mut String) {
    S::describe().print(text, &format!("# {}", header::<S>()));
}

fn named<S: Listed>(name: &str) -> String {
    format!(r#"{} "{name}""#, header::<S>())
}

fn header<S: Listed>() -> String {
    format!("[[{}]]", S::NAME)
}
