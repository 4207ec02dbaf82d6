//! Senders: what they are registered for, and what shows it.

use super::key::{CountryCode, Reader, Setting, Table, Whole, section, words};
use super::list;
use std::collections::BTreeMap;
use tidings_domain::account::Environment;
use tidings_domain::purpose::Purpose;
use tidings_domain::quota::Daily;
use tidings_domain::registration::{Evidence, Kind, Listed, State, Template};
use tidings_domain::sender::Sender as Value;
use toml::de::{DeTable, DeValue};

words! {
    /// What a sender is, as registries tell them apart.
    KindWord {
        /// An ordinary phone number.
        LongCode = "long_code",
        /// A phone number that is free for who calls.
        TollFree = "toll_free",
        /// A short number inside the networks of one country.
        ShortCode = "short_code",
        /// A name.
        Alphanumeric = "alphanumeric",
    }
}

words! {
    /// How far a registration is.
    StateWord {
        /// Nobody asked for it.
        Unregistered = "unregistered",
        /// It was asked for.
        Pending = "pending",
        /// It was granted.
        Registered = "registered",
        /// It was refused, or taken away.
        Rejected = "rejected",
    }
}

/// A text that was registered in India.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateText(pub Template);

impl Setting for TemplateText {
    const TEXT: bool = true;
    fn wanted() -> String {
        r#"the id of a template, a colon, and its text, such as "1107160000000012345: Dear {#var#}, it is on its way.""#
            .to_owned()
    }
    fn read(value: &DeValue<'_>) -> Option<Self> {
        Template::parse(value.as_str()?).map(Self)
    }
    fn print(&self) -> Option<String> {
        Some(toml::Value::String(self.0.to_string()).to_string())
    }
}

section! {
    /// A sender with what it is registered for. Write the section once for each that you have. What goes beyond it is refused;
    /// see the guide about senders.
    Sender = "sender" {
        /// The sender, as in "from": a phone number, a short code or a name.
        value: String = String::new(), example r#""+12125551234""#;
        /// What it is, if its digits do not say it.
        kind: Option<KindWord> = None, example r#""long_code""#;
        /// The countries whose numbers it is for, by their two letters; an empty list is all.
        countries: Vec<CountryCode> = Vec::new(), example r#"["US"]"#;
        /// The purposes that it is for; an empty list is all.
        purposes: Vec<Purpose> = Vec::new(), example r#"["marketing"]"#;
        /// How far its registration is, where networks ask for one.
        registration: StateWord = StateWord::Unregistered;
        /// The brand that it is registered for: 10DLC, for long codes in the United States.
        brand_id: Option<String> = None, example r#""B1A2B3C""#;
        /// The campaign that it is registered for: 10DLC.
        campaign_id: Option<String> = None, example r#""C4D5E6F""#;
        /// The verification of a toll-free number.
        verification_id: Option<String> = None, example r#""HH7A8B9C""#;
        /// The principal entity: DLT, in India.
        entity_id: Option<String> = None, example r#""1101000000000012345""#;
        /// How many segments may go from it in a day that begins at midnight UTC; without it, as many as there are.
        daily_limit: Option<Whole<1, 1_000_000_000>> = None, example "10_000";
        /// The trust score of its brand, 0 to 100: 10DLC. Without a daily_limit, all senders of the brand together send as much a
        /// day to numbers in the United States as T-Mobile takes from a brand with this score.
        trust_score: Option<Whole<0, 100>> = None, example "60";
        /// The texts that are registered for it in India, each with its id. {#var#} stands for up to 30 characters.
        templates: Vec<TemplateText> = Vec::new(), example r##"["1107160000000012345: Dear {#var#}, it is on its way."]"##;
    }
}

impl list::Listed for Sender {
    const MANY: &'static str = "senders";
    const NAME_KEY: &'static str = "value";
}

impl Sender {
    /// Its value, if it is right after those before it.
    fn checked(
        &self,
        reader: &mut Reader<'_>,
        table: &Table<'_>,
        before: &BTreeMap<Value, Self>,
    ) -> Option<Value> {
        let wrong = match Value::parse(&self.value, None, Environment::Test) {
            Ok(value) if before.contains_key(&value) => "is listed twice; join the two".to_owned(),
            Ok(_) if self.trust_score.is_some() && self.brand_id.is_none() => {
                let wrong = r#"is that of a brand; write the brand as "brand_id""#.to_owned();
                reader.complain_of(table, "trust_score", wrong);
                return None;
            }
            Ok(value) => return Some(value),
            Err(_) if self.value.is_empty() && !reader.is_written(table, "value") => {
                r#"is missing; write the sender, such as value = "+12125551234""#.to_owned()
            }
            Err(why) => format!("cannot be a sender: {why}; correct it"),
        };
        reader.complain_of(table, "value", wrong);
        None
    }

    fn daily(&self, value: &Value) -> Option<Daily> {
        match (self.daily_limit, self.trust_score, &self.brand_id) {
            (Some(limit), _, _) => Some(Daily::of_sender(&value.to_string(), limit.get())),
            (None, Some(score), Some(brand)) => Some(Daily::of_brand(brand, score.get())),
            (None, Some(_), None) | (None, None, _) => None,
        }
    }

    /// As the rules have it.
    pub fn listed(&self, value: &Value) -> Listed {
        Listed {
            kind: match self.kind {
                None => Kind::of(value),
                Some(KindWord::LongCode) => Kind::LongCode,
                Some(KindWord::TollFree) => Kind::TollFree,
                Some(KindWord::ShortCode) => Kind::ShortCode,
                Some(KindWord::Alphanumeric) => Kind::Alphanumeric,
            },
            countries: self.countries.iter().map(|country| country.0).collect(),
            purposes: self.purposes.clone(),
            state: match self.registration {
                StateWord::Unregistered => State::Unregistered,
                StateWord::Pending => State::Pending,
                StateWord::Registered => State::Registered,
                StateWord::Rejected => State::Rejected,
            },
            evidence: Evidence {
                brand_id: self.brand_id.clone(),
                campaign_id: self.campaign_id.clone(),
                verification_id: self.verification_id.clone(),
                entity_id: self.entity_id.clone(),
            },
            templates: self.templates.iter().map(|template| template.0.clone()).collect(),
            daily: self.daily(value),
        }
    }
}

/// Reads all of them.
pub fn read<'a>(reader: &mut Reader<'a>, root: &'a DeTable<'a>) -> BTreeMap<Value, Sender> {
    let mut senders = BTreeMap::new();
    list::each(reader, root, |reader, table, sender: Sender| {
        if let Some(value) = sender.checked(reader, table, &senders) {
            senders.insert(value, sender);
        }
    });
    senders
}
