//! Tables of consents that people gave elsewhere: which rows are entries of the ledger.
//!
//! A row is one entry: who, for which purpose and channel, what was said, how and when. What all rows have in common may be said once
//! ([`Common`]); what a row says goes before it. Somebody vouches for the whole table, and each entry says who.
//!
//! A table only adds to the ledger. It never ends an opt-out, and what was given before one counts for nothing
//! ([`crate::consent::standing`]).

use crate::account::Realm;
use crate::address::PhoneNumber;
use crate::consent::{self, Act, Channel, Consent, Evidence, Method, PART_MAX, Wording};
use crate::contact::{Invalid, line};
use crate::id::ConsentId;
use crate::programme::Programmes;
use crate::purpose::Purpose;
use crate::spelling;
use crate::table::{Cells, Mends, Reason, Refusal, Subject, cleaned};
use crate::time::Timestamp;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What is said of all rows that do not say it themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Common {
    /// To be contacted why.
    pub purpose: Option<Purpose>,
    /// And how.
    pub channel: Option<Channel>,
    /// What people said.
    pub act: Option<Act>,
    /// How they said it; [`Method::Import`] if nothing is known of that.
    pub method: Option<Method>,
    /// Words that people were shown. The only ones are those of each row that says nothing of words; of several a row names one by its
    /// SHA-256.
    pub wordings: Vec<Wording>,
    /// Where.
    pub place: Option<String>,
    /// Who may write or call.
    pub seller: Option<String>,
    /// Which programme of the seller.
    pub programme: Option<String>,
    /// Who vouches for the table. No row says that of itself.
    pub attested_by: String,
}

/// What a column is about; the names are those of an entry of the ledger in the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// To be contacted why.
    Purpose,
    /// And how.
    Channel,
    /// What the person said.
    Act,
    /// How.
    Method,
    /// When.
    GivenAt,
    /// Until when it counts.
    ExpiresAt,
    /// The words that the person was shown.
    Wording,
    /// Or which of those in common they are.
    WordingSha256,
    /// Where.
    Place,
    /// Who may write or call.
    Seller,
    /// Which programme of the seller.
    Programme,
    /// The network address from which a form was sent.
    Ip,
    /// The program that sent it.
    UserAgent,
}

/// The headings of all columns, as headings are compared, and what each is about.
const COLUMNS: [(&str, Column); 13] = [
    ("purpose", Column::Purpose),
    ("channel", Column::Channel),
    ("act", Column::Act),
    ("method", Column::Method),
    ("givenat", Column::GivenAt),
    ("expiresat", Column::ExpiresAt),
    ("wording", Column::Wording),
    ("wordingsha256", Column::WordingSha256),
    ("place", Column::Place),
    ("seller", Column::Seller),
    ("programme", Column::Programme),
    ("ip", Column::Ip),
    ("useragent", Column::UserAgent),
];

/// The words that a row is about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Words {
    /// Those in its own cell.
    Own(Wording),
    /// Those in common, by their place.
    Common(usize),
}

/// A row that can be an entry. It holds only what stands in it, and not what all have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    number: PhoneNumber,
    purpose: Purpose,
    channel: Channel,
    act: Act,
    method: Method,
    given_at: Timestamp,
    expires_at: Option<Timestamp>,
    words: Option<Words>,
    /// Without words, and without what is in common.
    evidence: Evidence,
}

/// A table of consents, no two rows of which say the same. What is remembered of a row are 16 octets.
#[derive(Debug)]
pub struct Consents {
    common: Common,
    programmes: Programmes,
    now: Timestamp,
    /// SHA-256.
    hash: fn(&str) -> [u8; 32],
    seen: HashSet<u128>,
}

impl Consents {
    /// Judged at this moment, by these programmes. `hash` is SHA-256.
    pub fn new(common: Common, programmes: Programmes, now: Timestamp, hash: fn(&str) -> [u8; 32]) -> Self {
        Self { common, programmes, now, hash, seen: HashSet::new() }
    }

    /// The entry that a row is.
    pub fn entry(&self, row: &Row, id: ConsentId, realm: Realm, source: String) -> Consent {
        let Row { number, purpose, channel, act, method, given_at, expires_at, .. } = *row;
        Consent {
            id,
            realm,
            recipient: number,
            purpose,
            channel,
            act,
            given_at,
            recorded_at: self.now,
            expires_at,
            method,
            evidence: self.evidence(row.words.as_ref(), row.evidence.clone()),
            source,
        }
    }

    /// All that proves a row.
    fn evidence(&self, words: Option<&Words>, own: Evidence) -> Evidence {
        let Common { wordings, place, seller, programme, attested_by, .. } = &self.common;
        Evidence {
            wording: match words {
                Some(Words::Own(wording)) => Some(wording.clone()),
                Some(Words::Common(n)) => wordings.get(*n).cloned(),
                None => None,
            },
            place: own.place.or_else(|| place.clone()),
            seller: own.seller.or_else(|| seller.clone()),
            programme: own.programme.or_else(|| programme.clone()),
            attested_by: Some(attested_by.clone()),
            ..own
        }
    }

    /// Which words a row is about, by its cells.
    fn words(&self, own: Option<Wording>, sha256: Option<&str>) -> Result<Option<Words>, Reason> {
        let Some(sha256) = sha256 else {
            let only = (self.common.wordings.len() == 1).then_some(Words::Common(0));
            return Ok(own.map(Words::Own).or(only));
        };
        let is_it = |wording: &Wording| wording.sha256().eq_ignore_ascii_case(sha256);
        let words = match own {
            Some(wording) => is_it(&wording).then_some(Words::Own(wording)),
            None => self.common.wordings.iter().position(is_it).map(Words::Common),
        };
        words.ok_or(Reason::UnknownWording).map(Some)
    }
}

/// Reads a time with its offset.
fn time(text: &str) -> Result<Timestamp, Reason> {
    // A day alone is read as its midnight.
    let has_no_offset = || text.parse::<jiff::civil::DateTime>().is_ok();
    Timestamp::parse(text).map_err(|_| if has_no_offset() { Reason::NoOffset } else { Reason::Time })
}

/// What the cells of a row say.
#[derive(Debug, Default)]
struct Read<'r> {
    purpose: Option<Purpose>,
    channel: Option<Channel>,
    act: Option<Act>,
    method: Option<Method>,
    given_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    sha256: Option<&'r str>,
    evidence: Evidence,
    /// The places of the columns of an end, a SHA-256 and a programme, where a row has them.
    at: [Option<usize>; 3],
}

impl<'r> Read<'r> {
    fn of(cells: &Cells<'r, Column>, table: &Consents, mends: &mut Mends) -> Result<Self, Refusal> {
        let mut read = Self::default();
        for (n, column, cell) in cells.filled() {
            let wrong = |why| (why, Some(n));
            let word = cell.trim().to_ascii_lowercase();
            let part = |mends: &mut Mends| {
                let text = cleaned(cell, false, mends);
                line(&text, PART_MAX).map(Some).map_err(|why| wrong(Reason::Cell(why)))
            };
            let unknown = || wrong(Reason::Word);
            let evidence = &mut read.evidence;
            match column {
                Column::Purpose => read.purpose = Some(Purpose::parse(&word).ok_or_else(unknown)?),
                Column::Channel => read.channel = Some(Channel::parse(&word).ok_or_else(unknown)?),
                Column::Act => read.act = Some(Act::parse(&word).ok_or_else(unknown)?),
                Column::Method => read.method = Some(Method::parse(&word).ok_or_else(unknown)?),
                Column::GivenAt => {
                    let given_at = time(cell.trim()).map_err(wrong)?;
                    if given_at > table.now {
                        return Err(wrong(Reason::Ahead));
                    }
                    if !consent::is_credible(given_at) {
                        return Err(wrong(Reason::Early));
                    }
                    read.given_at = Some(given_at);
                }
                Column::ExpiresAt => {
                    read.expires_at = Some(time(cell.trim()).map_err(wrong)?);
                    read.at[0] = Some(n);
                }
                // To the letter: nothing is mended of it.
                Column::Wording if Wording::can_be(cell) => {
                    evidence.wording = Some(Wording { hash: (table.hash)(cell), text: cell.to_owned() });
                }
                Column::Wording => {
                    let is_long = cell.chars().count() > consent::WORDING_MAX;
                    let why = if is_long { Invalid::TooLong } else { Invalid::ControlCharacter };
                    return Err(wrong(Reason::Cell(why)));
                }
                Column::WordingSha256 => {
                    read.sha256 = Some(cell.trim());
                    read.at[1] = Some(n);
                }
                Column::Place => evidence.place = part(mends)?,
                Column::Seller => evidence.seller = part(mends)?,
                Column::Programme => {
                    evidence.programme = part(mends)?;
                    read.at[2] = Some(n);
                }
                Column::Ip => {
                    let address = consent::network_address(cell).ok_or_else(|| wrong(Reason::Address))?;
                    evidence.ip = Some(address.to_string());
                }
                Column::UserAgent => evidence.user_agent = part(mends)?,
            }
        }
        Ok(read)
    }
}

impl Subject for Consents {
    type Column = Column;
    type Row = Row;

    fn column(&self, _: &str, folded: &str) -> Option<Column> {
        COLUMNS.into_iter().find_map(|(heading, column)| (heading == folded).then_some(column))
    }

    fn meant(&self, folded: &str) -> Option<&'static str> {
        spelling::misspelt(folded, COLUMNS.into_iter().map(|(heading, _)| heading))
    }

    fn judge(
        &mut self,
        number: PhoneNumber,
        cells: &Cells<'_, Column>,
        mends: &mut Mends,
    ) -> Result<Row, Refusal> {
        let missing = |field| (Reason::Missing(field), None);
        let read = Read::of(cells, self, mends)?;
        let common = &self.common;
        let purpose = read.purpose.or(common.purpose).ok_or_else(|| missing("purpose"))?;
        let channel = read.channel.or(common.channel).ok_or_else(|| missing("channel"))?;
        let act = read.act.or(common.act).ok_or_else(|| missing("act"))?;
        let method = read.method.or(common.method).unwrap_or(Method::Import);
        let given_at = read.given_at.ok_or_else(|| missing("given_at"))?;
        let [end_at, sha256_at, programme_at] = read.at;
        if read.expires_at.is_some_and(|end| end <= given_at) {
            return Err((Reason::EndsBefore, end_at));
        }
        let mut evidence = read.evidence;
        let words = self.words(evidence.wording.take(), read.sha256).map_err(|why| (why, sha256_at))?;
        let proof = self.evidence(words.as_ref(), evidence.clone());
        // What is taken back for a programme that nobody knows would still be sent.
        let is_known = |name: &str| self.programmes.are_meant_by(name);
        if act == Act::Revoked && !proof.programme.as_deref().is_none_or(is_known) {
            return Err((Reason::UnknownProgramme, programme_at));
        }
        if let Some(field) = consent::missing(act, method, &proof).first() {
            return Err(missing(field));
        }
        let expires_at = read.expires_at;
        let row = Row { number, purpose, channel, act, method, given_at, expires_at, words, evidence };
        if !self.seen.insert(mark(&row, &proof)) {
            return Err((Reason::Duplicate, None));
        }
        Ok(row)
    }

    fn number(row: &Row) -> PhoneNumber {
        row.number
    }
}

/// What a row is known by: two different ones have the same in no table that will ever be written.
fn mark(row: &Row, proof: &Evidence) -> u128 {
    let Row { number, purpose, channel, act, method, given_at, expires_at, .. } = row;
    let Evidence { wording, place, seller, programme, ip, user_agent, attested_by } = proof;
    let said = (number, purpose, channel, act, method, given_at, expires_at);
    let half = |n: u8| {
        let mut hasher = DefaultHasher::new();
        let wording = wording.as_ref().map(|wording| wording.hash);
        (n, said, wording, place, seller, programme, ip, user_agent, attested_by).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    (half(0) << 64) | half(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Environment;
    use crate::id::AccountId;
    use crate::programme::{Name, Programme, Stop};
    use crate::table::{Options, Reader, Report, Window};

    /// Not SHA-256: that is not known here.
    fn hash(text: &str) -> [u8; 32] {
        let mut hash = [0; 32];
        text.bytes().enumerate().for_each(|(n, octet)| hash[n % 32] ^= octet.rotate_left(n as u32 / 32));
        hash
    }

    fn wording(text: &str) -> Wording {
        Wording { hash: hash(text), text: text.to_owned() }
    }

    fn now() -> Timestamp {
        Timestamp::parse("2026-11-29T12:00:00Z").expect("a time")
    }

    fn vouched() -> Common {
        Common { attested_by: "Ana Berg, who kept the list".to_owned(), ..Common::default() }
    }

    fn read_with(common: Common, table: &str) -> (Consents, Window<Row>, Report) {
        let options = Options { environment: Environment::Live, default_country: None, number_column: None };
        let programme = Programme {
            name: Name::parse("offers").expect("a name"),
            formerly: Vec::new(),
            seller: "Acme".to_owned(),
            senders: Vec::new(),
            pools: Vec::new(),
            join: None,
            stop: Stop::Account,
        };
        let programmes = Programmes { all: vec![programme] };
        let subject = Consents::new(common.clone(), programmes.clone(), now(), hash);
        let mut reader = Reader::new(options, subject);
        for piece in table.as_bytes().chunks(11) {
            reader.feed(piece).expect("a table");
        }
        reader.end().expect("a table");
        let window = reader.take();
        let report = reader.report().clone();
        (Consents::new(common, programmes, now(), hash), window, report)
    }

    fn entries(common: Common, table: &str) -> Vec<Consent> {
        let (consents, window, _) = read_with(common, table);
        assert_eq!(window.refused, []);
        let realm = Realm { account: AccountId::from_key(1), environment: Environment::Live };
        let rows = window.rows.iter().zip(1..);
        rows.map(|(row, id)| consents.entry(row, ConsentId::from_key(id), realm, "list".to_owned())).collect()
    }

    const HEADINGS: &str = "to,act,purpose,channel,given_at,wording,place,seller";

    #[test]
    fn a_row_is_an_entry_with_all_that_it_says() {
        let table = "to;act;purpose;channel;method;given_at;expires_at;wording;place;seller;programme;ip;user_agent;note\n\
            +46701234567;Written;marketing;recorded_voice;paper;2024-03-01T09:30:00+01:00;2027-03-01T00:00:00Z;\
            \"I agree\nto calls\";the shop;Acme;Offers;192.0.2.1;Browser/1;x\n";
        let [entry] = &entries(vouched(), table)[..] else { panic!("one entry") };
        let evidence = Evidence {
            wording: Some(wording("I agree\nto calls")),
            place: Some("the shop".to_owned()),
            seller: Some("Acme".to_owned()),
            programme: Some("Offers".to_owned()),
            ip: Some("192.0.2.1".to_owned()),
            user_agent: Some("Browser/1".to_owned()),
            attested_by: Some("Ana Berg, who kept the list".to_owned()),
        };
        assert_eq!(entry.evidence, evidence);
        assert_eq!((entry.purpose, entry.channel), (Purpose::Marketing, Channel::RecordedVoice));
        assert_eq!((entry.act, entry.method), (Act::Written, Method::Paper));
        assert_eq!(entry.given_at, Timestamp::parse("2024-03-01T08:30:00Z").expect("a time"));
        assert_eq!(entry.expires_at, Timestamp::parse("2027-03-01T00:00:00Z").ok());
        assert_eq!((entry.recorded_at, entry.source.as_str()), (now(), "list"));
        let (.., report) = read_with(vouched(), table);
        assert_eq!((report.good, report.ignored), (1, vec!["note".to_owned()]));
    }

    #[test]
    fn what_is_in_common_counts_where_a_row_says_nothing() {
        let words = [wording("the first words"), wording("the second words")];
        let common = Common {
            purpose: Some(Purpose::Marketing),
            channel: Some(Channel::Text),
            act: Some(Act::Written),
            wordings: words[..1].to_vec(),
            place: Some("https://shop.example/join".to_owned()),
            seller: Some("Acme".to_owned()),
            ..vouched()
        };
        let table = "phone,given_at,seller,purpose\n+46701234567,2024-03-01T09:30:00Z,,\n\
                     +46701234568,2024-03-01T09:30:00Z,Other,alert\n";
        let all = entries(common.clone(), table);
        let found: Vec<_> = all
            .iter()
            .map(|one| {
                let seller = one.evidence.seller.clone().unwrap_or_default();
                let words = one.evidence.wording.clone().map(|wording| wording.text);
                (one.purpose, one.method, seller, words)
            })
            .collect();
        let first = Some(words[0].text.clone());
        let expected = [
            (Purpose::Marketing, Method::Import, "Acme".to_owned(), first.clone()),
            (Purpose::Alert, Method::Import, "Other".to_owned(), first),
        ];
        assert_eq!(found, expected);

        // Of several, each row names its own.
        let common = Common { wordings: words.to_vec(), ..common };
        let sha256 = words[1].sha256().to_uppercase();
        let table = format!(
            "phone,given_at,wording_sha256,wording\n+46701234567,2024-03-01T09:30:00Z,{sha256},\n\
             +46701234568,2024-03-01T09:30:00Z,{sha256},the second words\n\
             +46701234569,2024-03-01T09:30:00Z,{sha256},other words\n\
             +46701234570,2024-03-01T09:30:00Z,abc,\n\
             +46701234571,2024-03-01T09:30:00Z,,\n"
        );
        let (_, window, report) = read_with(common, &table);
        assert_eq!(window.rows.len(), 2);
        assert_eq!(window.rows[0].words, Some(Words::Common(1)));
        let reasons = [("cell_unknown_wording".to_owned(), 2), ("missing_wording".to_owned(), 1)];
        assert_eq!(report.reasons, reasons.into());
    }

    #[test]
    fn what_is_no_consent_is_refused_by_name() {
        let check = |cells: &str, expected: &str, column: &str| {
            let (_, window, _) = read_with(vouched(), &format!("{HEADINGS}\n+46701234567,{cells}\n"));
            let [refused] = &window.refused[..] else { panic!("{cells}: {window:?}") };
            let found = (refused.reason.as_str(), refused.column.as_deref().unwrap_or(""));
            assert_eq!(found, (expected, column), "{cells}");
        };
        let full = ["written", "marketing", "text", "2024-03-01T09:30:00Z", "words", "shop", "Acme"];
        assert_eq!(entries(vouched(), &format!("{HEADINGS}\n+46701234567,{}\n", full.join(","))).len(), 1);
        let check = |n: usize, cell: &str, expected: &str, column: &str| {
            let mut cells = full;
            cells[n] = cell;
            check(&cells.join(","), expected, column);
        };
        check(0, "", "missing_act", "");
        check(0, "agreed", "cell_unknown_word", "act");
        check(1, "", "missing_purpose", "");
        check(1, "offers", "cell_unknown_word", "purpose");
        check(2, "", "missing_channel", "");
        check(2, "fax", "cell_unknown_word", "channel");
        check(3, "", "missing_given_at", "");
        check(3, "2024-03-01", "cell_no_offset", "given_at");
        check(3, "2024-03-01T09:30:00", "cell_no_offset", "given_at");
        check(3, "2024-03-01 09:30", "cell_no_offset", "given_at");
        check(3, "1.3.2024", "cell_no_time", "given_at");
        check(3, "2026-11-29T12:00:00.001Z", "cell_ahead", "given_at");
        check(3, "0001-01-01T00:00:00Z", "cell_too_early", "given_at");
        check(3, "1989-12-31T23:59:59Z", "cell_too_early", "given_at");
        check(4, "", "missing_wording", "");
        check(4, "a\u{7}b", "cell_control_character", "wording");
        check(4, &"a".repeat(5_001), "cell_too_long", "wording");
        check(5, "", "missing_place", "");
        check(5, &"a".repeat(501), "cell_too_long", "place");
        check(6, "", "missing_seller", "");
        let from = |ip: &str| {
            let (_, window, _) = read_with(
                vouched(),
                &format!(
                    "to,act,purpose,channel,given_at,ip\n+46701234567,express,alert,text,2024-03-01T09:30:00Z,{ip}\n"
                ),
            );
            let refused = window.refused.first().map(|one| one.reason.clone());
            refused.or_else(|| window.rows[0].evidence.ip.clone()).unwrap_or_default()
        };
        assert_eq!(from(" 192.0.2.1 "), "192.0.2.1");
        assert_eq!(from("2001:DB8::1"), "2001:db8::1");
        assert_eq!(from(""), "");
        for text in ["unknown", "192.0.2.1:80", "192.0.2.256", "office"] {
            assert_eq!(from(text), "cell_no_ip_address", "{text}");
        }
        // Only a written one needs all of that.
        let table = "to,act,purpose,channel,given_at,expires_at,programme\n\
            +46701234567,express,alert,text,2024-03-01T09:30:00Z,,nobody's\n\
            +46701234568,revoked,alert,text,2024-03-01T09:30:00Z,,Offers\n\
            +46701234569,revoked,alert,text,2024-03-01T09:30:00Z,,nobody's\n\
            +46701234570,express,alert,text,2024-03-01T09:30:00Z,2024-03-01T09:30:00Z,\n";
        let (_, window, report) = read_with(vouched(), table);
        assert_eq!(window.rows.len(), 2, "{window:?}");
        let reasons = [("cell_ends_before".to_owned(), 1), ("cell_unknown_programme".to_owned(), 1)];
        assert_eq!(report.reasons, reasons.into());
        let columns: Vec<_> = window.refused.iter().filter_map(|one| one.column.as_deref()).collect();
        assert_eq!(columns, ["programme", "expires_at"]);
    }

    #[test]
    fn a_column_whose_heading_is_nearly_a_known_one_is_not_passed_over() {
        let begin = |heading: &str| {
            let options =
                Options { environment: Environment::Live, default_country: None, number_column: None };
            let mut reader = Reader::new(options, Consents::new(vouched(), Programmes::NONE, now(), hash));
            let fed = reader.feed(format!("to,{heading},act\n").as_bytes());
            fed.map(|()| reader.report().ignored.clone()).map_err(|why| (why.code(), why.to_string()))
        };
        for (heading, meant) in
            [("purposes", "purpose"), ("Given", ""), ("Program", "programme"), ("User agents", "useragent")]
        {
            match begin(heading) {
                Err((code, told)) => {
                    assert_eq!(code, "misspelt_column", "{heading}");
                    assert!(told.contains(&format!("one is called {meant}")), "{told}");
                }
                Ok(ignored) => assert_eq!((meant, ignored), ("", vec![heading.to_owned()])),
            }
        }
        assert_eq!(begin("given_at"), Ok(Vec::new()));
        // What we wrote into a table of refused rows.
        assert_eq!(begin("refused_why"), Ok(vec!["refused_why".to_owned()]));
    }

    #[test]
    fn a_person_may_have_several_rows_and_no_two_that_say_the_same() {
        let row = |act: &str, at: &str| format!("+46701234567,{act},alert,text,{at},,,\n");
        let table = [
            format!("{HEADINGS}\n"),
            row("express", "2024-03-02T09:30:00Z"),
            row("revoked", "2024-03-01T09:30:00Z"),
            row("express", "2024-03-02T10:30:00+01:00"),
        ];
        let (_, window, report) = read_with(vouched(), &table.concat());
        let acts: Vec<Act> = window.rows.iter().map(|row| row.act).collect();
        assert_eq!(acts, [Act::Express, Act::Revoked], "in the order of the file");
        assert_eq!((report.good, report.duplicates), (2, 1), "the same moment is the same");
    }
}
