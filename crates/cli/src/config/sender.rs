//! Senders: what they are registered for, what shows it, and what people are answered who write to them.

use super::Config;
use super::key::{CountryCode, LanguageCode, Rate, Reader, Setting, Table, Whole, section, words};
use super::list;
use std::collections::BTreeMap;
use tidings_domain::account::Environment;
use tidings_domain::purpose::Purpose;
use tidings_domain::quota::Daily;
use tidings_domain::registration::{Capability, Evidence, Kind, Listed, State, Template};
use tidings_domain::reply::{self, Texts};
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
    /// What a sender can carry.
    CapabilityWord {
        /// Texts from it to people.
        TextOut = "text_out",
        /// Texts from people to it.
        TextIn = "text_in",
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

impl CapabilityWord {
    const fn capability(self) -> Capability {
        match self {
            Self::TextOut => Capability::TextOut,
            Self::TextIn => Capability::TextIn,
        }
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
        /// What it can carry: "text_out" are texts to people, "text_in" texts that people write to it. An empty list is both, and of
        /// a name only the first.
        capabilities: Vec<CapabilityWord> = Vec::new(), example r#"["text_out", "text_in"]"#;
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
        /// How many segments per second may go from it on each connection, fractions too; without it, as many as the connection
        /// takes. What waits for it is in nobody else's way.
        pace_per_s: Option<Rate> = None, example "1";
        /// The trust score of its brand, 0 to 100: 10DLC. Without a daily_limit, all senders of the brand together send as much a
        /// day to numbers in the United States as T-Mobile takes from a brand with this score.
        trust_score: Option<Whole<0, 100>> = None, example "60";
        /// The texts that are registered for it in India, each with its id. {#var#} stands for up to 30 characters.
        templates: Vec<TemplateText> = Vec::new(), example r##"["1107160000000012345: Dear {#var#}, it is on its way."]"##;
        /// Who you are for people who write to this sender; without it, and each key below, that of [replies] counts.
        brand: Option<String> = None, example r#""Acme Kids""#;
        /// How people who write to it reach you.
        help: Option<String> = None, example r#""+1 212 555 0101""#;
        /// The language of answers from it to words that are the same everywhere: two letters.
        language: Option<LanguageCode> = None, example r#""es""#;
        /// Its own text to confirm that somebody gets no more messages.
        opt_out_text: Option<String> = None, example r#""Acme Kids: you will get no more texts. Reply START to undo.""#;
        /// Its own text to confirm that somebody gets messages again.
        opt_in_text: Option<String> = None, example r#""Acme Kids: you will get our texts again. Reply STOP to stop.""#;
        /// Its own text for who asks for help.
        help_text: Option<String> = None, example r#""Acme Kids: call +1 212 555 0101. Reply STOP to stop.""#;
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
        let is_of_brand = self.trust_score.is_none() || self.brand_id.is_some();
        if !is_of_brand {
            let wrong = r#"is that of a brand; write the brand as "brand_id""#.to_owned();
            reader.complain_of(table, "trust_score", wrong);
        }
        let value = Value::parse(&self.value, None, Environment::Test);
        if matches!(value, Ok(Value::Alphanumeric(_))) && self.capabilities.contains(&CapabilityWord::TextIn)
        {
            let wrong = r#"has "text_in", and nobody can write to a name; remove it"#.to_owned();
            reader.complain_of(table, "capabilities", wrong);
        }
        let wrong = match value {
            Ok(value) if before.contains_key(&value) => "is listed twice; join the two".to_owned(),
            Ok(value) => return is_of_brand.then_some(value),
            Err(_) if self.value.is_empty() && !reader.is_written(table, "value") => {
                r#"is missing; write the sender, such as value = "+12125551234""#.to_owned()
            }
            Err(why) => format!("cannot be a sender: {why}; correct it"),
        };
        reader.complain_of(table, "value", wrong);
        None
    }

    /// Complains of a name that would not stand where it must.
    fn check_brand(&self, reader: &mut Reader<'_>, table: &Table<'_>, config: &Config) {
        let Some(brand) = &self.brand else { return };
        if let Some(wrong) = config.wrong_brand(Some(brand)) {
            return reader.complain_of(table, "brand", wrong.to_owned());
        }
        let usual = config.usual_texts();
        for (kind, key, own) in self.own_texts() {
            let is_elsewhere =
                own.is_none() && usual.own.get(&kind).is_some_and(|text| !text.contains(brand));
            if is_elsewhere {
                let wrong =
                    format!(r#"is not in the "{key}" of [replies], which counts here too; write one here"#);
                reader.complain_of(table, "brand", wrong);
            }
        }
    }

    pub(super) fn own_texts(&self) -> [(reply::Kind, &'static str, &Option<String>); 3] {
        [
            (reply::Kind::OptOut, "opt_out_text", &self.opt_out_text),
            (reply::Kind::OptIn, "opt_in_text", &self.opt_in_text),
            (reply::Kind::Help, "help_text", &self.help_text),
        ]
    }

    /// What people are answered who write to it, if that is not what is usual.
    pub fn texts(&self, usual: &Texts) -> Option<Texts> {
        let mut texts = usual.clone();
        texts.brand = self.brand.clone().unwrap_or(texts.brand);
        texts.help = self.help.clone().unwrap_or(texts.help);
        texts.language = self.language.map_or(texts.language, |language| language.0);
        texts
            .own
            .extend(self.own_texts().into_iter().filter_map(|(kind, _, own)| Some((kind, own.clone()?))));
        (texts != *usual).then_some(texts)
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
            can: (!self.capabilities.is_empty())
                .then(|| self.capabilities.iter().map(|word| word.capability()).collect()),
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

/// Reads all of them, beside the sections of this configuration.
pub fn read<'a>(reader: &mut Reader<'a>, root: &'a DeTable<'a>, config: &Config) -> BTreeMap<Value, Sender> {
    let mut senders = BTreeMap::new();
    list::each(reader, root, |reader, table, sender: Sender| {
        sender.check_brand(reader, table, config);
        if let Some(value) = sender.checked(reader, table, &senders) {
            senders.insert(value, sender);
        }
    });
    senders
}
