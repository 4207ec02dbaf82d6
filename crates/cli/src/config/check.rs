//! What must hold between keys that are each right by themselves, and what works but should make somebody think.

use super::Config;
use super::connection::{Connection, Secrets};
use super::inbound_rule::Rule;
use super::key::{Money, PriceLine, Reader, Table};
use super::list;
use super::policy::parse_sender;
use super::pool::Pool;
use super::section::{Codes, Content, Data, Frequency, Limits, Replies, Retry, Spend, Suppression};
use super::sender::Sender as Listed;
use tidings_domain::account::Environment;
use tidings_domain::code::{self, BRAND_MAX, DIGITS_MAX, Mark};
use tidings_domain::content;
use tidings_domain::inbound_rule::When;
use tidings_domain::programme::Stop;
use tidings_domain::quiet_hours::Place;
use tidings_domain::registration::{Capability, Kind, State};
use tidings_domain::reply::{self, Texts};
use tidings_domain::sender::Sender;
use tidings_domain::text::{self, Options, Unsendable};
use toml::de::DeTable;

impl Config {
    /// Complains of sections whose keys do not go together. Each list is looked at where it is read.
    pub(super) fn check<'a>(&self, reader: &mut Reader<'a>, root: &'a DeTable<'a>, secrets: Secrets) {
        self.check_retry(reader, root);
        self.check_codes(reader, root);
        self.check_brands(reader, root);
        self.check_spend(reader, root);
        self.check_frequency(reader, root);
        self.check_suppression(reader, root);
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
        if let (Some(Money(day)), Some(Money(month))) = (per_day, per_month)
            && day > month
        {
            let wrong = r#"is more than "per_month", so it can never be reached; lower it, or raise that"#;
            reader.complain_of(&table, "per_day", wrong.to_owned());
        }
        for (n, PriceLine(prefix, _)) in prices.iter().enumerate() {
            if prices[..n].iter().any(|line| line.0 == *prefix) {
                let wrong = format!(r#"has a price for "{prefix}" twice; remove one"#);
                reader.complain_of(&table, "prices", wrong);
            }
        }
    }

    /// 0 is no cap.
    fn check_frequency<'a>(&self, reader: &mut Reader<'a>, root: &'a DeTable<'a>) {
        let (day, week): (u32, u32) = (self.frequency.per_day.get(), self.frequency.per_week.get());
        if week > 0 && day > week {
            let table = reader.table_of::<Frequency>(root);
            let wrong = r#"is more than "per_week", so it can never be reached; lower it, or raise that"#;
            reader.complain_of(&table, "per_day", wrong.to_owned());
        }
    }

    /// One message comes back at one moment.
    fn check_suppression<'a>(&self, reader: &mut Reader<'a>, root: &'a DeTable<'a>) {
        let Suppression { unreachable_after, unreachable_over_days, .. } = &self.suppression;
        if unreachable_after.get::<u32>() == 1 && unreachable_over_days.get::<u32>() > 0 {
            let table = reader.table_of::<Suppression>(root);
            let wrong =
                r#"is 1, but one message lies on no days; raise it, or write "unreachable_over_days = 0""#;
            reader.complain_of(&table, "unreachable_after", wrong.to_owned());
        }
    }

    /// Complains of what does not go together with what lists have, once all are read. Where something of a list is wrong, what
    /// needs all of it is not looked at: it might only be a consequence.
    pub(super) fn check_lists<'a>(&self, reader: &mut Reader<'a>, root: &'a DeTable<'a>) {
        if self.senders.only_listed && list::count::<Listed>(root) == self.listed.len() {
            self.check_listed(reader, root);
        }
        if list::count::<super::connection::Common>(root) == self.connections.len() {
            self.check_routes(reader, root);
            self.check_texts(reader, root);
        }
        self.check_rules(reader, root);
        self.check_capabilities(reader, root);
    }

    /// The senders of pools and programmes, each with where it is written.
    fn lists_of_senders<'a>(
        &self,
        reader: &mut Reader<'a>,
        root: &'a DeTable<'a>,
    ) -> Vec<(Table<'a>, Vec<Sender>)> {
        let pools = self.pools();
        let mut lists = Vec::new();
        for one in self.written_programmes.iter().map(|written| &written.programme) {
            let of_pools = pools.iter().filter(|pool| one.pools.contains(&pool.name));
            let of_pools: Vec<&Sender> = of_pools.flat_map(|pool| &pool.senders).collect();
            let own = one.senders.iter().filter(|sender| !of_pools.contains(sender)).copied();
            let table = list::table::<super::programme::Programme>(reader, root, one.name.as_str());
            lists.push((table, own.collect()));
        }
        for pool in pools {
            lists.push((list::table::<Pool>(reader, root, pool.name.as_str()), pool.senders));
        }
        lists
    }

    fn is_listed(&self, sender: &Sender) -> bool {
        self.listed.contains_key(sender)
    }

    fn check_listed<'a>(&self, reader: &mut Reader<'a>, root: &'a DeTable<'a>) {
        const CURE: &str =
            r#"is no [[sender]], and with "only_listed" in [senders] nothing may be sent from it; list it"#;
        for (table, senders) in self.lists_of_senders(reader, root) {
            for sender in senders.iter().filter(|sender| !self.is_listed(sender)) {
                reader.complain_of(
                    &table,
                    "senders",
                    format!(r#"has "{sender}", which {CURE} or remove it"#),
                );
            }
        }
        let of_codes = self.codes.sender.as_deref().and_then(|text| parse_sender(text).ok());
        if let Some(sender) = of_codes.filter(|sender| !self.is_listed(sender)) {
            let table = reader.table_of::<Codes>(root);
            reader.complain_of(&table, "sender", format!(r#"is "{sender}", which {CURE} or name another"#));
        }
    }

    /// Without a connection there is the simulator of the test environment, which takes every sender.
    fn check_routes<'a>(&self, reader: &mut Reader<'a>, root: &'a DeTable<'a>) {
        if self.connections.is_empty() {
            return;
        }
        for (table, senders) in self.lists_of_senders(reader, root) {
            for sender in senders.iter().map(ToString::to_string) {
                if !self.connections.iter().any(|connection| connection.takes(&sender)) {
                    let wrong = format!(
                        r#"has "{sender}", which no connection takes; write it into "senders" of a [[connection]], or remove it"#
                    );
                    reader.complain_of(&table, "senders", wrong);
                }
            }
        }
    }

    fn check_rules<'a>(&self, reader: &mut Reader<'a>, root: &'a DeTable<'a>) {
        for (n, written) in self.inbound_rules.iter().enumerate() {
            let when = &written.rule.when;
            let before = self.inbound_rules[..n].iter().map(|written| &written.rule);
            let hides = |rule: &tidings_domain::inbound_rule::InboundRule| {
                let fits_all = rule.when == When::default();
                (fits_all || rule.when == *when).then(|| {
                    let often = if fits_all { "whatever comes" } else { "whenever it does" };
                    format!(r#"is that of a rule that can never act, since "{}" fits {often} and stands before it; move or remove one of them"#, rule.name)
                })
            };
            if let Some(wrong) = before.clone().find_map(hides) {
                let table = list::table::<Rule>(reader, root, &written.rule.name);
                reader.complain_of(&table, "name", wrong);
            }
        }
    }

    // ── what senders can carry ──────────────────────────────────────────────────────────────────────────────

    /// Complains of what is asked of senders that they cannot carry.
    fn check_capabilities<'a>(&self, reader: &mut Reader<'a>, root: &'a DeTable<'a>) {
        let policy = self.gate_policy().senders;
        let can = |sender: &Sender, capability| policy.can(sender, capability);
        let answers = |sender: &Sender| can(sender, Capability::TextIn) && can(sender, Capability::TextOut);
        for (table, senders) in self.lists_of_senders(reader, root) {
            for sender in senders.iter().filter(|sender| !can(sender, Capability::TextOut)) {
                let wrong = format!(
                    r#"has "{sender}", from which no texts can be sent by its "capabilities"; remove it, or correct them"#
                );
                reader.complain_of(&table, "senders", wrong);
            }
        }
        let of_codes = self.codes.sender.as_deref().and_then(|text| parse_sender(text).ok());
        if let Some(sender) = of_codes.filter(|sender| !can(sender, Capability::TextOut)) {
            let table = reader.table_of::<Codes>(root);
            let wrong = format!(
                r#"is "{sender}", from which no texts can be sent by its "capabilities"; name another, or correct them"#
            );
            reader.complain_of(&table, "sender", wrong);
        }
        for one in self.written_programmes.iter().map(|written| &written.programme) {
            if one.join.is_some() && !one.senders.iter().any(answers) {
                let table = list::table::<super::programme::Programme>(reader, root, one.name.as_str());
                let wrong = "has words that nobody can write, since none of its senders can receive a text and answer it; add one that can, or remove the words";
                reader.complain_of(&table, "join", wrong.to_owned());
            }
        }
        let programmes = self.programmes();
        for one in programmes.all.iter().filter(|one| one.stop == Stop::Programme) {
            let is_own = |sender: &&Sender| programmes.stopped_at(**sender).is_some();
            let mut own = one.senders.iter().filter(is_own).peekable();
            if own.peek().is_some() && !own.any(|sender| can(sender, Capability::TextIn)) {
                let table = list::table::<super::programme::Programme>(reader, root, one.name.as_str());
                let wrong = "can never be said, since people can write to none of the senders that are the programme's own; add one that can receive, or remove it";
                reader.complain_of(&table, "stop", wrong.to_owned());
            }
        }
        for (value, sender) in self.listed.iter().filter(|(value, _)| !answers(value)) {
            for (_, key, _) in sender.own_texts().into_iter().filter(|(.., own)| own.is_some()) {
                let table = list::table::<Listed>(reader, root, &sender.value);
                let wrong = format!(
                    r#"is for who writes to "{value}", which cannot receive a text and answer it; remove it, or correct "capabilities""#
                );
                reader.complain_of(&table, key, wrong);
            }
        }
        for rule in self.inbound_rules.iter().map(|written| &written.rule) {
            let table = list::table::<Rule>(reader, root, &rule.name);
            if let Some(sender) = rule.when.to.iter().find(|sender| !can(sender, Capability::TextIn)) {
                let wrong = format!(r#"has "{sender}", to which nobody can write; remove it"#);
                reader.complain_of(&table, "to", wrong);
            } else if rule.then.reply.is_some()
                && let Some(sender) = rule.when.to.iter().find(|sender| !can(sender, Capability::TextOut))
            {
                let wrong = format!(
                    r#"cannot be sent from "{sender}", by its "capabilities"; remove it, or correct them"#
                );
                reader.complain_of(&table, "reply", wrong);
            }
        }
    }

    // ── texts that are sent by themselves ───────────────────────────────────────────────────────────────────

    /// Complains of texts that could not be sent.
    fn check_texts<'a>(&self, reader: &mut Reader<'a>, root: &'a DeTable<'a>) {
        let of_replies = reader.table_of::<Replies>(root);
        let Replies { opt_out_text, opt_in_text, help_text, .. } = &self.replies;
        for (key, own) in
            [("opt_out_text", opt_out_text), ("opt_in_text", opt_in_text), ("help_text", help_text)]
        {
            if let Some(wrong) = own.as_deref().and_then(|text| self.wrong_text(text)) {
                reader.complain_of(&of_replies, key, wrong);
            }
        }
        for sender in self.listed.values() {
            for (_, key, own) in sender.own_texts() {
                if let Some(wrong) = own.as_deref().and_then(|text| self.wrong_text(text)) {
                    let table = list::table::<Listed>(reader, root, &sender.value);
                    reader.complain_of(&table, key, wrong);
                }
            }
        }
        for rule in self.inbound_rules.iter().map(|written| &written.rule) {
            if let Some(wrong) = rule.then.reply.as_ref().and_then(|answer| self.wrong_text(&answer.text)) {
                let table = list::table::<Rule>(reader, root, &rule.name);
                reader.complain_of(&table, "reply", wrong);
            }
        }
        for one in &self.written_programmes {
            let welcome = one.programme.join.as_ref().map(|join| join.welcome.as_str());
            if let Some(wrong) = welcome.and_then(|welcome| self.wrong_text(welcome)) {
                let table =
                    list::table::<super::programme::Programme>(reader, root, one.programme.name.as_str());
                reader.complain_of(&table, "welcome", wrong);
            }
        }
        let (allowed, needed) = (self.limits.max_segments.get(), self.segments_of_built_in());
        if needed > allowed {
            let table = reader.table_of::<Limits>(root);
            let wrong = format!(
                r#"is {allowed}, but one-time codes and answers to STOP, START and HELP have up to {needed} segments; raise it, or shorten "brand" and "help""#
            );
            reader.complain_of(&table, "max_segments", wrong);
        }
    }

    /// How each connection takes text.
    fn options(&self) -> impl Iterator<Item = Options> {
        let own = self.connections.iter().map(|one| tidings_carriers::list::text_options(&one.carrier));
        std::iter::once(Options::default()).chain(own)
    }

    /// What is wrong with an answer in the operator's own words. It is transliterated before it goes.
    fn wrong_text(&self, answer: &str) -> Option<String> {
        let allowed = self.limits.max_segments.get();
        self.options().find_map(|options| {
            let answer = text::transliterate(answer, &options).text;
            Some(match text::check(&answer, &options, allowed).err()? {
                Unsendable::TooManySegments { segments, .. } => format!(
                    r#"has {segments} segments, and "max_segments" in [limits] allows {allowed}: it would not be sent; shorten it, or raise that"#
                ),
                Unsendable::Empty | Unsendable::Blank => {
                    "has nothing in it to be seen; write a text, or remove the key".to_owned()
                }
                why @ Unsendable::ControlCharacter { .. } => format!("cannot be sent: {why}; correct it"),
            })
        })
    }

    /// The most segments that a text has which stands here and not in the configuration.
    fn segments_of_built_in(&self) -> u32 {
        let usual = self.usual_texts();
        let programmes = self.written_programmes.iter().map(|written| &written.programme);
        let stopped = programmes.filter(|one| one.stop == Stop::Programme).map(|one| one.name.as_str());
        let longest = stopped.max_by_key(|name| name.len());
        let of_senders: Vec<Texts> = self.listed.values().filter_map(|sender| sender.texts(&usual)).collect();
        let answers = reply::languages().flat_map(|language| {
            let all = std::iter::once(&usual).chain(&of_senders).filter(|_| self.replies.enabled);
            let of = move |texts: &Texts| {
                let is_sent = |kind: &reply::Kind| *kind != reply::Kind::ProgrammeOptOut || longest.is_some();
                let kinds = reply::Kind::TO_KEYWORDS.into_iter().filter(is_sent);
                let kinds = kinds.filter(|kind| !texts.own.contains_key(kind));
                let text = |kind| texts.text(kind, Some(language), longest.unwrap_or_default());
                kinds.map(text).collect::<Vec<_>>()
            };
            all.flat_map(of).collect::<Vec<_>>()
        });
        let codes = reply::languages().filter_map(|language| {
            let template = code::Template::built_in(Some(language), self.codes.brand.as_deref()).ok()?;
            Some(code::sample(&template.blank(DIGITS_MAX, Mark::new(0))).into_owned())
        });
        let (answers, codes): (Vec<String>, Vec<String>) = (answers.collect(), codes.collect());
        // A code goes as it is written.
        let segments = |options: Options| {
            let answers = answers.iter().map(|text| text::transliterate(text, &options).after.segments);
            let codes = codes.iter().map(|text| text::measure(text, &options).segments);
            answers.chain(codes).max().unwrap_or(1)
        };
        self.options().map(segments).max().unwrap_or(1)
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
        for connection in &self.connections {
            if let Some(address) = connection.without_port() {
                warnings.push(format!(
                    r#"connection "{}" has an address without a port, which means 2775: write the one that the carrier named, such as address = "{address}:2775""#,
                    connection.name
                ));
            }
        }
        warnings.extend(self.warnings_of_senders());
        for (at, second) in self.connections.iter().enumerate() {
            if let Some(first) = self.connections[..at].iter().find(|first| first.shares_account(second)) {
                warnings.push(format!(
                    r#"connections "{}" and "{}" bind as one account, and a receipt that comes on the other one finds no message: write one [[connection]] with more binds, or the same "carrier" for both"#,
                    first.name, second.name
                ));
            }
            let mut before =
                self.connections[..at].iter().map(|first| (first, second.differs_from_equal(first)));
            if let Some((first, keys)) = before.find(|(_, keys)| !keys.is_empty()) {
                warnings.push(format!(
                    r#"connections "{}" and "{}" lead to one carrier and differ in {}, so one does not stand in for the other everywhere: make that the same, unless it is meant"#,
                    first.name,
                    second.name,
                    keys.join(" and ")
                ));
            }
        }
        warnings
    }

    fn warnings_of_senders(&self) -> Vec<String> {
        const US: &str = "US";
        let mut warnings = Vec::new();
        let enabled = &self.countries.enabled;
        let goes_there = enabled.is_empty() || enabled.iter().any(|country| country.0.as_str() == US);
        for (value, sender) in self.listed.iter().filter(|_| goes_there) {
            let listed = sender.listed(value);
            let is_of = |number| Place::of(number).is_some_and(|place| place.country() == US);
            let is_american = matches!(value, Sender::PhoneNumber(number) if is_of(*number));
            let is_for =
                listed.countries.is_empty() || listed.countries.iter().any(|country| country.as_str() == US);
            let evidence = &listed.evidence;
            let lacks = listed.state == State::Unregistered
                || evidence.brand_id.is_none()
                || evidence.campaign_id.is_none();
            if is_american && is_for && listed.kind == Kind::LongCode && lacks {
                warnings.push(format!(
                    r#"sender "{value}" is a long code without a registration, and messages from it to the United States are refused: write "brand_id", "campaign_id" and registration = "registered" once its campaign is granted, or "countries" without US"#
                ));
            }
        }
        let policy = self.gate_policy().senders;
        for one in self.written_programmes.iter().map(|written| &written.programme) {
            if !one.senders.iter().any(|sender| policy.can(sender, Capability::TextIn)) {
                warnings.push(format!(
                    r#"programme "{}" has no sender to which people can write, so nobody can answer STOP there: give it one that can receive, or say in each text how else to stop"#,
                    one.name
                ));
            }
        }
        let of_codes = self.codes.sender.as_deref().and_then(|text| parse_sender(text).ok());
        let programmes = self.programmes();
        if let Some((sender, one)) =
            of_codes.and_then(|sender| Some((sender, programmes.stopped_at(sender)?)))
        {
            warnings.push(format!(
                r#"one-time codes go from "{sender}", and are of the programme "{}" by that, so who says STOP there gets no codes any more: name another sender in [codes]"#,
                one.name
            ));
        }
        if self.senders.only_listed {
            for rule in self.inbound_rules.iter().map(|written| &written.rule) {
                for sender in rule.when.to.iter().filter(|sender| !self.is_listed(sender)) {
                    warnings.push(format!(
                        r#"rule "{}" is about "{sender}", which is no [[sender]], and with "only_listed" in [senders] you can write nothing from it: list it, or correct "to""#,
                        rule.name
                    ));
                }
            }
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use crate::config::connection::Secrets;
    use crate::config::{Config, FILE_NAME};
    use std::collections::BTreeMap;

    fn load(text: &str) -> Result<Config, Vec<String>> {
        let read = Config::parse(FILE_NAME, text, &BTreeMap::new(), Secrets::Left);
        read.map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    const NORTH: &str = "[[connection]]\nname = \"north\"\nkind = \"smpp\"\naddress = \"smpp.example:2775\"\nsystem_id = \"acme\"\npassword = \"x\"\n";

    #[test]
    fn what_contradicts_is_told_with_its_place_and_cure() {
        let check = |text: &str, expected: &[&str]| {
            let problems = load(text).err().unwrap_or_default();
            assert_eq!(problems, expected, "{text}");
        };
        check(
            "[spend]\nother = 1\nper_day = 50\nper_month = 20\n",
            &[
                r#"tidings.toml:3: key "per_day" in [spend] is more than "per_month", so it can never be reached; lower it, or raise that"#,
            ],
        );
        check(
            "[frequency]\nper_day = 5\nper_week = 3\n",
            &[
                r#"tidings.toml:2: key "per_day" in [frequency] is more than "per_week", so it can never be reached; lower it, or raise that"#,
            ],
        );
        check("[frequency]\nper_day = 5\n", &[]);
        check(
            "[suppression]\nunreachable_after = 1\n",
            &[
                r#"tidings.toml:2: key "unreachable_after" in [suppression] is 1, but one message lies on no days; raise it, or write "unreachable_over_days = 0""#,
            ],
        );
        check("[suppression]\nunreachable_after = 1\nunreachable_over_days = 0\n", &[]);
        check("[suppression]\nunreachable_after = 0\n", &[]);
        let only = "[senders]\nonly_listed = true\n[[sender]]\nvalue = \"Acme\"\n";
        check(
            &format!(
                "{only}[codes]\nsender = \"Other\"\n[[pool]]\nname = \"a\"\nsenders = [\"Acme\", \"72345\"]\n"
            ),
            &[
                r#"tidings.toml:9: key "senders" in [[pool]] "a" has "72345", which is no [[sender]], and with "only_listed" in [senders] nothing may be sent from it; list it or remove it"#,
                r#"tidings.toml:6: key "sender" in [codes] is "Other", which is no [[sender]], and with "only_listed" in [senders] nothing may be sent from it; list it or name another"#,
            ],
        );
        let pool = "[[pool]]\nname = \"a\"\nsenders = [\"Acme\", \"+12125551234\"]\n";
        check(&format!("{pool}{NORTH}"), &[]);
        let programme =
            "[[programme]]\nname = \"news\"\nseller = \"Acme\"\nsenders = [\"72345\", \"pool:a\"]\n";
        check(
            &format!("{pool}{programme}{NORTH}senders = [\"+12125551234\", \"Acme\"]\n"),
            &[
                r#"tidings.toml:7: key "senders" in [[programme]] "news" has "72345", which no connection takes; write it into "senders" of a [[connection]], or remove it"#,
            ],
        );
        check(&format!("{pool}{NORTH}senders = [\"+1 212 555 1234\", \"Acme\"]\n"), &[]);
        check(
            &format!("{pool}{NORTH}senders = [\"Acme\"]\n"),
            &[
                r#"tidings.toml:3: key "senders" in [[pool]] "a" has "+12125551234", which no connection takes; write it into "senders" of a [[connection]], or remove it"#,
            ],
        );
        check(
            "[replies]\nhelp_text = \"   \"\n",
            &[
                r#"tidings.toml:2: key "help_text" in [replies] has nothing in it to be seen; write a text, or remove the key"#,
            ],
        );
        let long = "a".repeat(200);
        check(
            &format!("[limits]\nmax_segments = 1\n[[sender]]\nvalue = \"72345\"\nopt_in_text = \"{long}\"\n"),
            &[
                r#"tidings.toml:5: key "opt_in_text" in [[sender]] "72345" has 2 segments, and "max_segments" in [limits] allows 1: it would not be sent; shorten it, or raise that"#,
            ],
        );
        check(
            &format!("[limits]\nmax_segments = 1\n[replies]\nbrand = \"{}\"\n", &long[..90]),
            &[
                r#"tidings.toml:2: key "max_segments" in [limits] is 1, but one-time codes and answers to STOP, START and HELP have up to 2 segments; raise it, or shorten "brand" and "help""#,
            ],
        );
        check("[limits]\nmax_segments = 1\n[replies]\nbrand = \"Acme\"\nhelp = \"+1 212 555 0100\"\n", &[]);
    }

    #[test]
    fn what_a_sender_cannot_carry_is_not_asked_of_it() {
        let check = |text: &str, expected: &[&str]| {
            let problems = load(text).err().unwrap_or_default();
            let told: Vec<&str> = problems
                .iter()
                .map(|told| told.split_once("key ").map_or(&**told, |(_, told)| told))
                .collect();
            assert_eq!(told, expected, "{text}");
        };
        let sender = |value: &str, more: &str| format!("[[sender]]\nvalue = \"{value}\"\n{more}");
        check(
            &sender("Acme", "capabilities = [\"text_out\", \"text_in\"]\n"),
            &[
                r#""capabilities" in [[sender]] "Acme" has "text_in", and nobody can write to a name; remove it"#,
            ],
        );
        let (only_out, only_in) = ("capabilities = [\"text_out\"]\n", "capabilities = [\"text_in\"]\n");
        check(&sender("72345", only_out), &[]);
        check(
            &sender("72345", &format!("{only_out}help_text = \"Call us\"\n")),
            &[
                r#""help_text" in [[sender]] "72345" is for who writes to "72345", which cannot receive a text and answer it; remove it, or correct "capabilities""#,
            ],
        );
        let silent = sender("72345", only_in);
        check(
            &format!("{silent}[[pool]]\nname = \"a\"\nsenders = [\"72345\"]\n[codes]\nsender = \"72345\"\n"),
            &[
                r#""senders" in [[pool]] "a" has "72345", from which no texts can be sent by its "capabilities"; remove it, or correct them"#,
                r#""sender" in [codes] is "72345", from which no texts can be sent by its "capabilities"; name another, or correct them"#,
            ],
        );
        let join = "[[programme]]\nname = \"offers\"\nseller = \"Acme\"\njoin = [\"JOIN\"]\npurpose = \"marketing\"\n\
            wording = \"Text JOIN for offers of Acme\"\nwelcome = \"Acme offers. HELP for help, STOP to stop.\"\n";
        let joins = r#""join" in [[programme]] "offers" has words that nobody can write, since none of its senders can receive a text and answer it; add one that can, or remove the words"#;
        check(&format!("{join}senders = [\"Acme\", \"72345\"]\n"), &[]);
        check(&format!("{join}senders = [\"Acme\"]\n"), &[joins]);
        let deaf = sender("72345", only_out);
        check(&format!("{join}senders = [\"Acme\", \"72345\"]\n{deaf}"), &[joins]);
        let stop = "[[programme]]\nname = \"offers\"\nseller = \"Acme\"\nstop = \"programme\"\n";
        let never = r#""stop" in [[programme]] "offers" can never be said, since people can write to none of the senders that are the programme's own; add one that can receive, or remove it"#;
        check(&format!("{stop}senders = [\"Acme\", \"72345\"]\n"), &[]);
        check(&format!("{stop}senders = [\"Acme\"]\n"), &[never]);
        check(&format!("{stop}senders = [\"72345\"]\n{deaf}"), &[never]);
        // To the one that can receive, STOP is about everything.
        let shared = "[[programme]]\nname = \"news\"\nseller = \"Acme\"\nsenders = [\"72345\"]\n";
        check(&format!("{stop}senders = [\"Acme\", \"72345\"]\n{shared}"), &[never]);
        let rule =
            |to: &str| format!("[[inbound_rule]]\nname = \"a\"\nto = [\"{to}\"]\nreply = \"Thank you.\"\n");
        check(&rule("72345"), &[]);
        check(
            &rule("Acme"),
            &[r#""to" in [[inbound_rule]] "a" has "Acme", to which nobody can write; remove it"#],
        );
        check(
            &format!("{}{silent}", rule("72345")),
            &[
                r#""reply" in [[inbound_rule]] "a" cannot be sent from "72345", by its "capabilities"; remove it, or correct them"#,
            ],
        );
    }

    #[test]
    fn what_is_surely_a_mistake_is_warned_of() {
        let check = |text: &str, part: &str, expected: bool| {
            let warnings = load(text).expect("it is right").warnings();
            assert_eq!(
                warnings.iter().any(|warning| warning.contains(part)),
                expected,
                "{text}: {warnings:?}"
            );
        };
        let without = "without a port";
        check(NORTH, without, false);
        check(&NORTH.replace(":2775", ""), without, true);
        check(&NORTH.replace("smpp.example:2775", "2001:db8::1"), without, true);
        check(&NORTH.replace("smpp.example:2775", "[2001:db8::1]:2775"), without, false);
        let (own, long) = ("[[sender]]\nvalue = \"+12125551234\"\n", "long code without a registration");
        check(own, long, true);
        check(&format!("{own}registration = \"registered\"\n"), long, true);
        check(
            &format!("{own}registration = \"registered\"\nbrand_id = \"B\"\ncampaign_id = \"C\"\n"),
            long,
            false,
        );
        check(&format!("{own}countries = [\"CA\"]\n"), long, false);
        check(&format!("{own}[countries]\nenabled = [\"CA\"]\n"), long, false);
        check(&own.replace("+12125551234", "+46701234567"), long, false);
        let rule = "[[sender]]\nvalue = \"Acme\"\n[[inbound_rule]]\nname = \"a\"\nto = [\"72345\"]\n";
        check(&format!("{rule}[senders]\nonly_listed = true\n"), "rule \"a\" is about \"72345\"", true);
        check(rule, "rule \"a\" is about", false);
        let news = |sender: &str| {
            format!("[[programme]]\nname = \"news\"\nseller = \"Acme\"\nsenders = [\"Acme\", \"{sender}\"]\n")
        };
        let codes = |stop: &str| format!("{}stop = \"{stop}\"\n[codes]\nsender = \"72345\"\n", news("72345"));
        check(&codes("programme"), "who says STOP there gets no codes any more", true);
        check(&codes("account"), "gets no codes", false);
        check(
            &codes("programme").replace("sender = \"72345\"", "sender = \"Acme Codes\""),
            "gets no codes",
            false,
        );
        check(&news("Other"), "nobody can answer STOP there", true);
        check(&news("72345"), "nobody can answer STOP there", false);
    }
}
