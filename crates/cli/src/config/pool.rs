//! Pools: senders that stand for each other.

use super::key::{Reader, Table, section};
use super::list;
use tidings_domain::account::Environment;
use tidings_domain::pool::{self, NAME_MAX, Name};
use tidings_domain::sender::Sender;
use toml::de::DeTable;

section! {
    /// Senders that stand for each other: a message "from" "pool:NAME" is from one of them. Write the section once for each pool;
    /// see the guide about senders.
    Pool = "pool" {
        /// Its name: a to z, digits, - and _.
        name: String = String::new(), example r#""support""#;
        /// Its senders: phone numbers, short codes and names.
        senders: Vec<String> = Vec::new(), example r#"["+46701234567", "Tidings"]"#;
        /// Whether somebody who was not sent to before gets a sender of their own area.
        area_match: bool = false;
    }
}

impl list::Listed for Pool {
    const MANY: &'static str = "pools";
    const NAME_KEY: &'static str = "name";
}

impl Pool {
    /// Whether it is right, after those before it.
    fn is_right(&self, reader: &mut Reader<'_>, table: &Table<'_>, before: &[String]) -> bool {
        let found = reader.problems.len();
        if Name::parse(&self.name).is_none() {
            let wrong = format!("must be 1 to {NAME_MAX} of a to z, digits, - and _");
            reader.complain_of(table, "name", wrong);
        } else if before.contains(&self.name) {
            reader.complain_of(table, "name", "is the name of another pool too; choose another".to_owned());
        }
        if self.senders.is_empty() {
            reader.complain_of(table, "senders", "is empty; write the senders of the pool".to_owned());
        }
        let mut known = Vec::new();
        for text in &self.senders {
            match Sender::parse(text, None, Environment::Test) {
                Ok(sender) if known.contains(&sender) => {
                    let wrong = format!(r#"has "{text}" twice; remove one"#);
                    reader.complain_of(table, "senders", wrong);
                }
                Ok(sender) => known.push(sender),
                Err(why) => {
                    let wrong =
                        format!(r#"has "{text}", which cannot be a sender: {why}; correct or remove it"#);
                    reader.complain_of(table, "senders", wrong);
                }
            }
        }
        reader.problems.len() == found
    }

    /// As the rules have it. `None` for what [`read`] would not have taken.
    pub fn pool(&self) -> Option<pool::Pool> {
        let senders = self.senders.iter().map(|text| Sender::parse(text, None, Environment::Test).ok());
        let (name, senders) = (Name::parse(&self.name)?, senders.collect::<Option<Vec<_>>>()?);
        (!senders.is_empty()).then_some(pool::Pool { name, senders, area_match: self.area_match })
    }
}

/// Reads all of them.
pub fn read<'a>(reader: &mut Reader<'a>, root: &'a DeTable<'a>) -> Vec<Pool> {
    let (mut pools, mut names) = (Vec::new(), Vec::new());
    list::each(reader, root, |reader, table, pool: Pool| {
        let is_right = pool.is_right(reader, table, &names);
        names.push(pool.name.clone());
        if is_right {
            pools.push(pool);
        }
    });
    pools
}
