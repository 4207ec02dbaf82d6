//! Pools: senders that stand for each other.

use super::key::{Reader, Section, Table, section};
use std::fmt::Write as _;
use tidings_domain::account::Environment;
use tidings_domain::pool::{self, NAME_MAX, Name};
use tidings_domain::sender::Sender;
use toml::Spanned;
use toml::de::DeValue;

section! {
    /// Senders that stand for each other: a message "from" "pool:NAME" is from one of them. Write the section once for each pool;
    /// see the guide about senders.
    Pool = "pool", several: false {
        /// Its name: a to z, digits, - and _.
        name: String = String::new(), example r#""support""#;
        /// Its senders: phone numbers, short codes and names.
        senders: Vec<String> = Vec::new(), example r#"["+12125551234", "+13055551234"]"#;
        /// Whether somebody who was not sent to before gets a sender of their own area.
        area_match: bool = false;
    }
}

impl Pool {
    fn read_one<'a>(
        reader: &mut Reader<'a>,
        content: &'a Spanned<DeValue<'a>>,
        before: &[Self],
    ) -> Option<Self> {
        let name = content.get_ref().get("name").and_then(|name| name.get_ref().as_str());
        let header = name.map_or_else(|| "[[pool]]".to_owned(), |name| format!(r#"[[pool]] "{name}""#));
        let mut table: Table<'a> = reader.table(header, "pool", name, Some(content));
        let pool = Self::read(reader, &mut table);
        let found = reader.problems.len();
        if Name::parse(&pool.name).is_none() {
            let wrong = format!("must be 1 to {NAME_MAX} of a to z, digits, - and _");
            reader.complain_of(&table, "name", wrong);
        } else if before.iter().any(|other| other.name == pool.name) {
            reader.complain_of(&table, "name", "is the name of another pool too; choose another".to_owned());
        }
        if pool.senders.is_empty() {
            reader.complain_of(&table, "senders", "is empty; write the senders of the pool".to_owned());
        }
        let mut known = Vec::new();
        for text in &pool.senders {
            match Sender::parse(text, None, Environment::Test) {
                Ok(sender) if known.contains(&sender) => {
                    let wrong = format!(r#"has "{text}" twice; remove one"#);
                    reader.complain_of(&table, "senders", wrong);
                }
                Ok(sender) => known.push(sender),
                Err(why) => {
                    let wrong =
                        format!(r#"has "{text}", which cannot be a sender: {why}; correct or remove it"#);
                    reader.complain_of(&table, "senders", wrong);
                }
            }
        }
        (reader.problems.len() == found).then_some(pool)
    }

    /// As it was written.
    pub fn print(&self) -> String {
        let mut text = String::from("[[pool]]\n");
        for (key, value) in self.show() {
            if let Some(value) = value {
                let _ = writeln!(text, "{key} = {value}");
            }
        }
        text
    }

    /// As the rules have it. `None` for what [`read`] would not have taken.
    pub fn pool(&self) -> Option<pool::Pool> {
        let senders = self.senders.iter().map(|text| Sender::parse(text, None, Environment::Test).ok());
        let (name, senders) = (Name::parse(&self.name)?, senders.collect::<Option<Vec<_>>>()?);
        (!senders.is_empty()).then_some(pool::Pool { name, senders, area_match: self.area_match })
    }
}

/// Reads all of them.
pub fn read<'a>(reader: &mut Reader<'a>, written: Option<&'a Spanned<DeValue<'a>>>) -> Vec<Pool> {
    let mut pools = Vec::new();
    match written.map(|value| (value, value.get_ref())) {
        None => {}
        Some((_, DeValue::Array(tables))) if tables.iter().all(|table| table.get_ref().is_table()) => {
            for content in tables {
                pools.extend(Pool::read_one(reader, content, &pools));
            }
        }
        Some((value, _)) => {
            let place = reader.place(value.span().start);
            let wrong = "pools are written as [[pool]], in double brackets; add them".to_owned();
            reader.complain(place, wrong);
        }
    }
    pools
}

/// Prints the section as the example configuration has it.
pub fn print_example(text: &mut String) {
    let section = Pool::describe();
    text.push('\n');
    for line in &section.doc {
        let _ = writeln!(text, "#{line}");
    }
    text.push_str("# [[pool]]\n");
    for key in &section.keys {
        text.push('\n');
        key.print(text);
    }
}
