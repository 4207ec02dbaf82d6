//! What must hold between keys that are each right by themselves, and what works but should make somebody think.

use super::Config;
use super::connection::{Connection, Secrets};
use super::key::{PriceLine, Reader};
use super::policy::parse_sender;
use super::section::{Codes, Content, Data, Replies, Retry, Spend};
use tidings_domain::account::Environment;
use tidings_domain::code::BRAND_MAX;
use tidings_domain::content;
use toml::de::DeTable;

impl Config {
    /// Complains of sections whose keys do not go together. Lists are looked at where they are read.
    pub(super) fn check<'a>(&self, reader: &mut Reader<'a>, root: &'a DeTable<'a>, secrets: Secrets) {
        self.check_retry(reader, root);
        self.check_codes(reader, root);
        self.check_brands(reader, root);
        self.check_spend(reader, root);
        self.check_database(reader, root, secrets);
    }

    fn check_retry<'a>(&self, reader: &mut Reader<'a>, root: &'a DeTable<'a>) {
        if self.retry.max_delay_s.get::<i64>() < self.retry.first_delay_s.get::<i64>() {
            let table = reader.table_of::<Retry>(root);
            let wrong = r#"is shorter than "first_delay_s"; raise it"#;
            reader.complain_of(&table, "max_delay_s", wrong.to_owned());
        }
    }

    fn check_codes<'a>(&self, reader: &mut Reader<'a>, root: &'a DeTable<'a>) {
        let table = reader.table_of::<Codes>(root);
        if let Some(Err(why)) = self.codes.sender.as_deref().map(parse_sender) {
            reader.complain_of(&table, "sender", format!("cannot be a sender: {why}; correct it"));
        }
        let fits = |brand: &str| {
            (1..=BRAND_MAX).contains(&brand.chars().count()) && !brand.chars().any(char::is_control)
        };
        if !self.codes.brand.as_deref().is_none_or(fits) {
            let sentence = format!("must have 1 to {BRAND_MAX} characters; shorten it");
            reader.complain_of(&table, "brand", sentence);
        }
    }

    /// What is no name would stand in every text, or in none.
    fn check_brands<'a>(&self, reader: &mut Reader<'a>, root: &'a DeTable<'a>) {
        let (of_content, of_replies) = (reader.table_of::<Content>(root), reader.table_of::<Replies>(root));
        if let Some(brand) = self.content.brands.iter().find(|brand| !content::is_name(brand)) {
            let sentence = format!("has {brand:?}, which has no letter and no digit to look for; correct it");
            reader.complain_of(&of_content, "brands", sentence);
        }
        if let Some(sentence) = self.wrong_brand(self.replies.brand.as_deref()) {
            reader.complain_of(&of_replies, "brand", sentence.to_owned());
        }
    }

    /// What is wrong with a name that replies have, all senders' or those of one.
    pub(super) fn wrong_brand(&self, brand: Option<&str>) -> Option<&'static str> {
        let is_looked_for = self.content.brands.is_empty()
            && !self.content.purposes.is_empty()
            && self.content.no_brand.act() != content::Act::Off;
        let is_wrong =
            is_looked_for && brand.is_some_and(|brand| !brand.is_empty() && !content::is_name(brand));
        is_wrong.then_some(
            r#"has no letter and no digit, and texts are looked at for it; correct it, or write "brands" into [content]"#,
        )
    }

    fn check_spend<'a>(&self, reader: &mut Reader<'a>, root: &'a DeTable<'a>) {
        let Spend { prices, other, per_day, per_month } = &self.spend;
        let table = reader.table_of::<Spend>(root);
        if (per_day.is_some() || per_month.is_some()) && other.is_none() {
            let wrong = "is missing; write what a segment costs to numbers that no price is for";
            reader.complain_of(&table, "other", wrong.to_owned());
        }
        for (n, PriceLine(prefix, _)) in prices.iter().enumerate() {
            if prices[..n].iter().any(|line| line.0 == *prefix) {
                let wrong = format!(r#"has a price for "{prefix}" twice; remove one"#);
                reader.complain_of(&table, "prices", wrong);
            }
        }
    }

    fn check_database<'a>(&self, reader: &mut Reader<'a>, root: &'a DeTable<'a>, secrets: Secrets) {
        let table = reader.table_of::<Data>(root);
        if self.data.url.is_some() && self.data.url_file.is_some() {
            let sentence = r#"names a database, and so does "url_file"; remove one of them"#;
            reader.complain_of(&table, "url", sentence.to_owned());
        } else if secrets == Secrets::Fetched
            && let Err((key, why)) = self.data.database(|name| reader.variable(name).map(str::to_owned))
        {
            reader.complain_of(&table, key, why);
        }
    }

    /// What works but should make somebody think: sentences with a cure.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.http.listen.ip().is_loopback() {
            warnings.push(format!(
                "the API listens on {} in clear text: let only a proxy with TLS reach it, or set listen in [http] to 127.0.0.1",
                self.http.listen
            ));
        }
        if self.webhooks.allow_loopback {
            warnings.push("webhooks may call this machine itself: remove allow_loopback from [webhooks] unless every customer is trusted".to_owned());
        }
        if self.webhooks.allow_http {
            warnings.push("webhooks may go out in clear text: remove allow_http from [webhooks] where receivers speak https".to_owned());
        }
        let live: Vec<&Connection> =
            self.connections.iter().filter(|c| c.environment == Environment::Live).collect();
        if live.is_empty() {
            warnings.push("there is no live connection to a carrier: live messages are refused until a [[connection]] is written that is one".to_owned());
        }
        for connection in live {
            if !connection.has("tls") {
                warnings.push(format!(
                    r#"connection "{}" sends its password in clear text: add [connection.tls] if the carrier offers it, or use a private line"#,
                    connection.name
                ));
            }
        }
        for (at, second) in self.connections.iter().enumerate() {
            if let Some(first) = self.connections[..at].iter().find(|first| first.shares_account(second)) {
                warnings.push(format!(
                    r#"connections "{}" and "{}" bind as one account, and a receipt that comes on the other one finds no message: write one [[connection]] with more binds, or ask the carrier for a second system_id"#,
                    first.name, second.name
                ));
            }
        }
        warnings
    }
}
