//! What people agreed to: a ledger of entries that are only ever added, and the one function that says what follows from
//! them now, for all messages or for those of a [programme](crate::programme).
//!
//! An opt-out is an entry of the suppression list, and closes every channel, of everything or of one programme; nothing has to be
//! written here for that. What
//! was granted before it does not come back by itself when the entry is lifted: only a person's own START opens texts
//! again. A call with a recorded voice needs a new grant.

use crate::account::Realm;
use crate::address::PhoneNumber;
use crate::id::ConsentId;
use crate::octets::hexadecimal;
use crate::programme;
use crate::purpose::Purpose;
use crate::sender::Sender;
use crate::time::Timestamp;
use std::collections::HashMap;
use std::fmt;
// Of `core`, which has addresses as values and no sockets.
use core::net::IpAddr;
use std::sync::LazyLock;

/// Characters of the words that a person was shown.
pub const WORDING_MAX: usize = 5_000;
/// Characters of each other part of the evidence.
pub const PART_MAX: usize = 500;

/// Nobody agreed to anything before this: the first text was sent in 1992, and the first law about such calls (the TCPA) is of 1991.
/// What says so was read wrongly, as a spreadsheet's day 0 is.
pub const EARLIEST: &str = "1990-01-01T00:00:00Z";

/// Whether somebody may have agreed at this moment.
pub fn is_credible(given_at: Timestamp) -> bool {
    static EARLIEST_AT: LazyLock<Timestamp> =
        LazyLock::new(|| Timestamp::parse(EARLIEST).expect("it is written as one"));
    given_at >= *EARLIEST_AT
}

/// The address from which a form was sent, if this is one.
pub fn network_address(text: &str) -> Option<IpAddr> {
    text.trim().parse().ok()
}

/// A class of channels, as consent is given for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// Texts, with pictures or without.
    Text,
    /// Calls with a recorded or made voice, and voicemail that does not ring (FCC 22-85, FCC 24-17).
    RecordedVoice,
    /// Calls by a person.
    LiveVoice,
}

impl Channel {
    /// All of them; the place in this list is the number in the store.
    pub const ALL: [Self; 3] = [Self::Text, Self::RecordedVoice, Self::LiveVoice];

    /// The public word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::RecordedVoice => "recorded_voice",
            Self::LiveVoice => "live_voice",
        }
    }

    /// From the public word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.as_str() == word)
    }
}

/// What an entry does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Act {
    /// The person does not agree any more.
    Revoked,
    /// The person agreed: prior express consent.
    Express,
    /// The person agreed in writing: prior express written consent (47 CFR 64.1200(f)(9)). A signature may be a tick, a
    /// text, a key or a recording (15 U.S.C. 7001).
    Written,
}

impl Act {
    /// All of them; the place in this list is the number in the store.
    pub const ALL: [Self; 3] = [Self::Revoked, Self::Express, Self::Written];

    /// The public word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Express => "express",
            Self::Written => "written",
        }
    }

    /// From the public word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|act| act.as_str() == word)
    }
}

/// How it was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// A form on a page or in a program.
    Form,
    /// A text of the person: a keyword, or a reply.
    Text,
    /// Paper.
    Paper,
    /// Words, to somebody or on a recording.
    Spoken,
    /// A list of another system, for which somebody vouches.
    Import,
}

impl Method {
    /// All of them; the place in this list is the number in the store.
    pub const ALL: [Self; 5] = [Self::Form, Self::Text, Self::Paper, Self::Spoken, Self::Import];

    /// The public word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Text => "text",
            Self::Paper => "paper",
            Self::Spoken => "spoken",
            Self::Import => "import",
        }
    }

    /// From the public word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == word)
    }
}

/// The words that a person was shown, with their SHA-256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wording {
    /// SHA-256 of the text in UTF-8.
    pub hash: [u8; 32],
    /// The text.
    pub text: String,
}

impl Wording {
    /// Whether a text can be such words: not empty, [`WORDING_MAX`] characters at most, and no control characters but line ends and
    /// tabs.
    pub fn can_be(text: &str) -> bool {
        let is_control = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
        !text.trim().is_empty() && text.chars().count() <= WORDING_MAX && !text.chars().any(is_control)
    }

    /// The SHA-256, in hexadecimal.
    pub fn sha256(&self) -> String {
        hexadecimal(&self.hash)
    }
}

/// What proves it. All of it is what the one who recorded it says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The words that the person was shown.
    pub wording: Option<Wording>,
    /// Where: the address of the form, the number that was texted, the shop.
    pub place: Option<String>,
    /// Who may write or call: the seller that the words name.
    pub seller: Option<String>,
    /// Which programme of the seller.
    pub programme: Option<String>,
    /// The network address from which a form was sent.
    pub ip: Option<String>,
    /// The program that sent the form.
    pub user_agent: Option<String>,
    /// Who vouches for it, where it comes from a list.
    pub attested_by: Option<String>,
}

impl Evidence {
    /// What proves what a person wrote to a sender of ours, who was shown these words.
    pub fn of_text(
        wording: &Wording,
        to: &Sender,
        seller: Option<String>,
        programme: Option<String>,
    ) -> Self {
        let (wording, place) = (Some(wording.clone()), Some(to.to_string()));
        Self { wording, place, seller, programme, ..Self::default() }
    }
}

/// An entry of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    /// Its id. Ids grow in the order in which entries were recorded.
    pub id: ConsentId,
    /// Whose ledger.
    pub realm: Realm,
    /// Whose consent.
    pub recipient: PhoneNumber,
    /// To be contacted why.
    pub purpose: Purpose,
    /// And how.
    pub channel: Channel,
    /// What the entry does.
    pub act: Act,
    /// When the person said so.
    pub given_at: Timestamp,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// Until when a grant counts, if it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// How it was said.
    pub method: Method,
    /// What proves it.
    pub evidence: Evidence,
    /// Who recorded it: `api`, `operator`.
    pub source: String,
}

impl Consent {
    /// Whether another entry says the same of the same person: all but its id, and when and by whom it was recorded.
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.said() == other.said()
    }

    fn said(&self) -> impl PartialEq {
        let Self { realm, recipient, purpose, channel, act, given_at, expires_at, method, evidence, .. } =
            self;
        (realm, recipient, purpose, channel, act, given_at, expires_at, method, evidence)
    }
}

/// Those of these entries that say what neither the ledger of their people says already nor an earlier one of them.
pub fn new_among(entries: &[Consent], ledger: &[Consent]) -> Vec<Consent> {
    let mut known: HashMap<(Realm, PhoneNumber), Vec<&Consent>> = HashMap::new();
    for entry in ledger {
        known.entry((entry.realm, entry.recipient)).or_default().push(entry);
    }
    let mut new = Vec::new();
    for entry in entries {
        let of_one = known.entry((entry.realm, entry.recipient)).or_default();
        if !of_one.iter().any(|one| one.says_the_same(entry)) {
            of_one.push(entry);
            new.push(entry.clone());
        }
    }
    new
}

/// What a written consent must have and an entry does not: the names of its fields.
///
/// 47 CFR 64.1200(f)(9) asks for an agreement, signed by the person, that names the seller and says what it authorizes: so
/// the words that were shown, the seller, and where that was. A list that is taken over needs somebody who vouches for it.
pub fn missing(act: Act, method: Method, evidence: &Evidence) -> Vec<&'static str> {
    let written = act == Act::Written;
    [
        ("wording", written && evidence.wording.is_none()),
        ("seller", written && evidence.seller.is_none()),
        ("place", written && evidence.place.is_none()),
        ("attested_by", act != Act::Revoked && method == Method::Import && evidence.attested_by.is_none()),
    ]
    .into_iter()
    .filter_map(|(field, is_missing)| is_missing.then_some(field))
    .collect()
}

/// What a message for this purpose over this channel needs: written consent for offers that a machine sends or speaks
/// (47 CFR 64.1200(a)(2)), express consent for everything else.
pub const fn needed(purpose: Purpose, channel: Channel) -> Act {
    match (purpose, channel) {
        (Purpose::Marketing, Channel::Text | Channel::RecordedVoice) => Act::Written,
        (Purpose::Marketing, Channel::LiveVoice)
        | (Purpose::Authentication | Purpose::Alert | Purpose::Transactional, _) => Act::Express,
    }
}

/// Which messages consent is asked about.
///
/// Where programmes are configured, a consent is for what it names: what a person agreed to for one programme of one seller is
/// no consent for another (CTIA, Messaging Principles and Best Practices, May 2023, 5.1.2.2). An entry that names nothing is for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope<'a> {
    /// Any: what an entry names decides nothing.
    Any,
    /// Those of a programme.
    Programme {
        /// Its name.
        name: &'a str,
        /// What it was called before.
        formerly: &'a [programme::Name],
        /// Whose it is; `None` if nobody configures it any more.
        seller: Option<&'a str>,
    },
    /// Those of no programme, where there are programmes.
    NoProgramme,
}

impl Scope<'_> {
    /// Whether this is a name of the programme.
    fn is_of(self, programme: &str) -> bool {
        match self {
            Self::Programme { name, formerly, .. } => {
                let mut names = std::iter::once(name).chain(formerly.iter().map(programme::Name::as_str));
                names.any(|name| is_same(programme, name))
            }
            Self::Any | Self::NoProgramme => false,
        }
    }

    /// Whether an entry that does this, with this evidence, is about these messages. A grant is for what it names and nothing
    /// else; what is taken back without a programme is taken back for all.
    fn concerns(self, act: Act, evidence: &Evidence) -> bool {
        let (programme, seller) = (evidence.programme.as_deref(), evidence.seller.as_deref());
        match self {
            Self::Any => true,
            Self::Programme { .. } if act == Act::Revoked => programme.is_none_or(|one| self.is_of(one)),
            Self::Programme { seller: of, .. } => {
                programme.is_none_or(|one| self.is_of(one))
                    && seller.is_none_or(|one| of.is_some_and(|of| is_same(one, of)))
            }
            Self::NoProgramme if act == Act::Revoked => programme.is_none(),
            Self::NoProgramme => programme.is_none() && seller.is_none(),
        }
    }
}

/// Whether two names are one, however they are written: people type them into forms and lists.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    let plain = |text: &str| text.trim().to_lowercase();
    one == other || plain(one) == plain(other)
}

/// A time at which a person opted out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptOut {
    /// When.
    pub at: Timestamp,
    /// When the person asked for messages again, by text.
    pub started_at: Option<Timestamp>,
    /// Of which programme; `None` for everything.
    pub programme: Option<programme::Name>,
}

impl OptOut {
    /// Whether it is about what names this programme, or names none. What names none is about everything, so each opt-out is
    /// about a part of it.
    pub fn concerns(&self, programme: Option<&str>) -> bool {
        match (&self.programme, programme) {
            (None, _) | (Some(_), None) => true,
            (Some(of), Some(named)) => is_same(of.as_str(), named),
        }
    }

    /// Whether it closes messages of this scope to a grant with this evidence.
    fn closes(&self, scope: Scope<'_>, evidence: &Evidence) -> bool {
        match (&self.programme, scope) {
            (None, _) => true,
            (Some(of), Scope::Programme { .. }) => scope.is_of(of.as_str()),
            // Where nobody configures programmes, what was agreed to for one is closed by an opt-out of that one.
            (Some(of), Scope::Any) => {
                evidence.programme.as_deref().is_some_and(|named| is_same(of.as_str(), named))
            }
            (Some(_), Scope::NoProgramme) => false,
        }
    }
}

/// How a consent stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing<'a> {
    /// It was never given.
    Never,
    /// It counts.
    Granted(&'a Consent),
    /// It was taken back then.
    Revoked(Timestamp),
    /// It ended by itself then.
    Expired(Timestamp),
}

impl Standing<'_> {
    /// The public word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never_given",
            Self::Granted(_) => "granted",
            Self::Revoked(_) => "revoked",
            Self::Expired(_) => "expired",
        }
    }

    /// Whether this is at least what is needed.
    pub fn permits(self, needed: Act) -> bool {
        matches!(self, Self::Granted(consent) if consent.act >= needed)
    }
}

/// What is missing of a consent that is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// The person never agreed.
    NeverGiven,
    /// The person took it back then.
    Revoked(Timestamp),
    /// It ended by itself then.
    Expired(Timestamp),
    /// The person agreed, but not in writing.
    NotWritten,
    /// What the person agreed to is another programme, or another seller's.
    OtherProgramme,
}

impl Lack {
    /// The public word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NeverGiven => "never_given",
            Self::Revoked(_) => "revoked",
            Self::Expired(_) => "expired",
            Self::NotWritten => "not_written",
            Self::OtherProgramme => "other_programme",
        }
    }
}

impl fmt::Display for Lack {
    /// A sentence without a full stop.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverGiven => {
                f.write_str("no consent of the person for this purpose and channel is recorded")
            }
            Self::Revoked(at) => {
                write!(f, "the person's consent for this purpose and channel was revoked at {at}")
            }
            Self::Expired(at) => write!(f, "the person's consent for this purpose and channel ended at {at}"),
            Self::NotWritten => f.write_str(
                "the person's consent for this purpose and channel is not a written one, which it must be",
            ),
            Self::OtherProgramme => f.write_str(
                "the person's consent for this purpose and channel is for another programme or seller",
            ),
        }
    }
}

/// What an operator decides about consent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// Which messages need a consent that is recorded.
    pub purposes: Vec<Purpose>,
}

impl Policy {
    /// None does.
    pub const OFF: Self = Self { purposes: Vec::new() };

    /// Whether messages for this purpose need one.
    pub fn concerns(&self, purpose: Purpose) -> bool {
        self.purposes.contains(&purpose)
    }
}

/// All that a person said, as far as it decides how consent stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// The entries of the ledger, in any order.
    pub ledger: Vec<Consent>,
    /// The opt-outs, in any order.
    pub opt_outs: Vec<OptOut>,
}

impl History {
    /// What is missing of the consent that this purpose, channel and programme need; `None` if nothing is.
    pub fn lacks(
        &self,
        purpose: Purpose,
        channel: Channel,
        scope: Scope<'_>,
        now: Timestamp,
    ) -> Option<Lack> {
        let needed = needed(purpose, channel);
        let standing = |scope| standing(&self.ledger, &self.opt_outs, purpose, channel, scope, now);
        match standing(scope) {
            standing if standing.permits(needed) => None,
            Standing::Granted(_) => Some(Lack::NotWritten),
            Standing::Never if matches!(standing(Scope::Any), Standing::Granted(_)) => {
                Some(Lack::OtherProgramme)
            }
            Standing::Never => Some(Lack::NeverGiven),
            Standing::Revoked(at) => Some(Lack::Revoked(at)),
            Standing::Expired(at) => Some(Lack::Expired(at)),
        }
    }
}

/// How the consent to be contacted for this purpose over this channel by these messages stands, given all that a person said:
/// the newest word about them counts, by when it was said and not by when it was recorded. Of two that were said at the same moment,
/// as in a file that knows days only, it is the one that takes consent back.
pub fn standing<'a>(
    ledger: impl IntoIterator<Item = &'a Consent>,
    opt_outs: &[OptOut],
    purpose: Purpose,
    channel: Channel,
    scope: Scope<'_>,
    now: Timestamp,
) -> Standing<'a> {
    let concerns = |entry: &&Consent| {
        (entry.purpose, entry.channel) == (purpose, channel)
            && entry.given_at <= now
            && scope.concerns(entry.act, &entry.evidence)
    };
    let newest = ledger
        .into_iter()
        .filter(concerns)
        .max_by_key(|entry| (entry.given_at, entry.act == Act::Revoked, entry.id));
    let Some(entry) = newest else { return Standing::Never };
    if entry.act == Act::Revoked {
        return Standing::Revoked(entry.given_at);
    }
    let closes = |out: &&OptOut| {
        let is_open_again = channel == Channel::Text && out.started_at.is_some_and(|at| at <= now);
        out.at >= entry.given_at && out.at <= now && !is_open_again && out.closes(scope, &entry.evidence)
    };
    match (opt_outs.iter().filter(closes).map(|out| out.at).max(), entry.expires_at) {
        (Some(at), _) => Standing::Revoked(at),
        (None, Some(end)) if end <= now => Standing::Expired(end),
        (None, _) => Standing::Granted(entry),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Environment;
    use crate::id::AccountId;

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_millis(1_767_225_600_000).plus_s(hour * 3600)
    }

    fn entry(id: i64, channel: Channel, act: Act, hour: i64) -> Consent {
        Consent {
            id: ConsentId::from_key(id),
            realm: Realm { account: AccountId::from_key(1), environment: Environment::Live },
            recipient: PhoneNumber::from_digits(46_700_000_000).expect("a number"),
            purpose: Purpose::Marketing,
            channel,
            act,
            given_at: at(hour),
            recorded_at: at(hour),
            expires_at: None,
            method: Method::Form,
            evidence: Evidence::default(),
            source: "api".to_owned(),
        }
    }

    fn says(ledger: &[Consent], outs: &[OptOut], channel: Channel, hour: i64) -> &'static str {
        standing(ledger, outs, Purpose::Marketing, channel, Scope::Any, at(hour)).as_str()
    }

    #[test]
    fn the_newest_word_counts() {
        use Act::*;
        use Channel::*;
        let check = |ledger: &[Consent], expected: &str| {
            assert_eq!(says(ledger, &[], Text, 100), expected, "{ledger:?}");
        };
        check(&[], "never_given");
        check(&[entry(1, RecordedVoice, Written, 1)], "never_given");
        check(&[entry(1, Text, Written, 1)], "granted");
        check(&[entry(1, Text, Written, 1), entry(2, Text, Revoked, 2)], "revoked");
        check(
            &[entry(1, Text, Written, 1), entry(2, Text, Revoked, 2), entry(3, Text, Express, 3)],
            "granted",
        );
        // Recorded later, but said before.
        check(&[entry(1, Text, Revoked, 5), entry(2, Text, Written, 2)], "revoked");
        // At the same moment what takes back counts, and else what was recorded last.
        check(&[entry(1, Text, Revoked, 5), entry(2, Text, Written, 5)], "revoked");
        check(&[entry(1, Text, Written, 5), entry(2, Text, Revoked, 5)], "revoked");
        // Not said yet.
        check(&[entry(1, Text, Written, 101)], "never_given");
        check(&[Consent { expires_at: Some(at(100)), ..entry(1, Text, Written, 1) }], "expired");
        check(&[Consent { expires_at: Some(at(101)), ..entry(1, Text, Written, 1) }], "granted");
        check(&[Consent { purpose: Purpose::Alert, ..entry(1, Text, Written, 1) }], "never_given");
    }

    #[test]
    fn an_opt_out_closes_every_channel_and_a_start_opens_texts_only() {
        let all = Channel::ALL.map(|channel| entry(1, channel, Act::Written, 1));
        let out = OptOut { at: at(10), started_at: None, programme: None };
        let started = OptOut { started_at: Some(at(20)), ..out.clone() };
        let again = OptOut { at: at(25), ..out.clone() };
        let check = |outs: &[&OptOut], hour: i64, expected: [&str; 3]| {
            let outs: Vec<OptOut> = outs.iter().map(|out| (*out).clone()).collect();
            let outs = &outs[..];
            assert_eq!(Channel::ALL.map(|channel| says(&all, outs, channel, hour)), expected, "{outs:?}");
        };
        check(&[], 30, ["granted"; 3]);
        check(&[&out], 9, ["granted"; 3]);
        check(&[&out], 10, ["revoked"; 3]);
        check(&[&started], 19, ["revoked"; 3]);
        check(&[&started], 20, ["granted", "revoked", "revoked"]);
        check(&[&started, &again], 30, ["revoked"; 3]);
        // What was granted after an opt-out is not closed by it.
        let later = [entry(2, Channel::RecordedVoice, Act::Written, 15)];
        assert_eq!(says(&later, &[out], Channel::RecordedVoice, 30), "granted");
    }

    #[test]
    fn an_entry_that_says_what_is_known_is_not_new() {
        use Channel::*;
        let one = entry(1, Text, Act::Written, 1);
        let again = Consent {
            id: ConsentId::from_key(2),
            recorded_at: at(9),
            source: "operator".into(),
            ..one.clone()
        };
        assert!(one.says_the_same(&again));
        let vouched = Evidence { attested_by: Some("Ana".into()), ..Evidence::default() };
        let others = [
            Consent { act: Act::Express, ..again.clone() },
            Consent { given_at: at(2), ..again.clone() },
            Consent { expires_at: Some(at(9)), ..again.clone() },
            Consent { channel: LiveVoice, ..again.clone() },
            Consent { method: Method::Paper, ..again.clone() },
            Consent { evidence: vouched, ..again.clone() },
            Consent {
                recipient: PhoneNumber::from_digits(46_700_000_001).expect("a number"),
                ..again.clone()
            },
        ];
        assert!(others.iter().all(|other| !one.says_the_same(other)));
        let all: Vec<Consent> = std::iter::once(again).chain(others.clone()).chain(others.clone()).collect();
        assert_eq!(new_among(&all, &[one]), others, "each once");
        assert_eq!(new_among(&others, &others), []);
    }

    #[test]
    fn offers_by_machine_need_it_in_writing() {
        for purpose in Purpose::ALL {
            for channel in Channel::ALL {
                let written = purpose == Purpose::Marketing && channel != Channel::LiveVoice;
                let expected = if written { Act::Written } else { Act::Express };
                assert_eq!(needed(purpose, channel), expected);
            }
        }
        let express = entry(1, Channel::Text, Act::Express, 1);
        assert!(Standing::Granted(&express).permits(Act::Express));
        assert!(!Standing::Granted(&express).permits(Act::Written));
        assert!(!Standing::Never.permits(Act::Express));
    }

    #[test]
    fn what_is_missing_is_said() {
        let check = |ledger: Vec<Consent>, opt_outs: Vec<OptOut>, expected: Option<Lack>| {
            let said = History { ledger, opt_outs };
            assert_eq!(
                said.lacks(Purpose::Marketing, Channel::Text, Scope::Any, at(9)),
                expected,
                "{said:?}"
            );
        };
        let text = |act| entry(1, Channel::Text, act, 1);
        check(vec![], vec![], Some(Lack::NeverGiven));
        check(vec![text(Act::Written)], vec![], None);
        check(vec![text(Act::Express)], vec![], Some(Lack::NotWritten));
        check(vec![text(Act::Revoked)], vec![], Some(Lack::Revoked(at(1))));
        let out = OptOut { at: at(3), started_at: None, programme: None };
        check(vec![text(Act::Written)], vec![out], Some(Lack::Revoked(at(3))));
        let ended = Consent { expires_at: Some(at(5)), ..text(Act::Written) };
        check(vec![ended], vec![], Some(Lack::Expired(at(5))));
    }

    /// What each of several entries is for, by who asks: `acme` and its two programmes, `other` and its one, and messages of no
    /// programme.
    #[test]
    fn a_consent_is_for_what_it_names_and_what_is_taken_back_without_a_programme_is_for_all() {
        use Act::*;
        let named = |id, act, hour, seller: Option<&str>, programme: Option<&str>| {
            let evidence = Evidence {
                seller: seller.map(str::to_owned),
                programme: programme.map(str::to_owned),
                ..Evidence::default()
            };
            Consent { evidence, ..entry(id, Channel::Text, act, hour) }
        };
        let scopes = [
            Scope::Any,
            Scope::Programme { name: "reminders", formerly: &[], seller: Some("Acme") },
            Scope::Programme { name: "offers", formerly: &[], seller: Some("Acme") },
            Scope::Programme { name: "news", formerly: &[], seller: Some("Other") },
            Scope::Programme { name: "offers", formerly: &[], seller: None },
            Scope::NoProgramme,
        ];
        // g granted, r revoked, - never
        let check = |ledger: &[Consent], expected: &str| {
            let found: String = scopes
                .iter()
                .map(|scope| {
                    match standing(ledger, &[], Purpose::Marketing, Channel::Text, *scope, at(100)) {
                        Standing::Granted(_) => 'g',
                        Standing::Revoked(_) => 'r',
                        Standing::Expired(_) => 'e',
                        Standing::Never => '-',
                    }
                })
                .collect();
            assert_eq!(found, expected, "{ledger:?}");
        };
        let (acme, offers) = (Some("Acme"), Some("offers"));
        check(&[], "------");
        check(&[named(1, Written, 1, None, None)], "gggggg");
        check(&[named(1, Written, 1, None, offers)], "g-g-g-");
        check(&[named(1, Written, 1, acme, offers)], "g-g---");
        check(&[named(1, Written, 1, acme, None)], "ggg---");
        check(&[named(1, Written, 1, Some(" ACME "), Some("Offers"))], "g-g---");
        check(&[named(1, Written, 1, Some("Other"), offers)], "g-----");
        check(&[named(1, Written, 1, None, Some("spring sale"))], "g-----");
        // Taken back.
        let all = named(1, Written, 1, None, None);
        check(&[all.clone(), named(2, Revoked, 2, None, None)], "rrrrrr");
        check(&[all.clone(), named(2, Revoked, 2, acme, None)], "rrrrrr");
        check(&[all.clone(), named(2, Revoked, 2, acme, offers)], "rgrgrg");
        // A mistake about the seller must not keep a person from being heard.
        check(&[all.clone(), named(2, Revoked, 2, Some("Other"), offers)], "rgrgrg");
        check(&[named(1, Written, 1, acme, offers), named(2, Revoked, 2, None, Some("reminders"))], "rrg---");
        // And given again.
        let back = named(3, Written, 3, acme, offers);
        check(&[all.clone(), named(2, Revoked, 2, None, None), back.clone()], "grgrrr");
        check(&[all, named(2, Revoked, 2, None, offers), back], "ggggrg");

        let said = |ledger| History { ledger, opt_outs: Vec::new() };
        let lacks = |ledger, scope| said(ledger).lacks(Purpose::Marketing, Channel::Text, scope, at(9));
        let only_offers = vec![named(1, Written, 1, acme, offers)];
        assert_eq!(lacks(only_offers.clone(), scopes[1]), Some(Lack::OtherProgramme));
        assert_eq!(lacks(only_offers.clone(), scopes[2]), None);
        assert_eq!(lacks(only_offers, scopes[5]), Some(Lack::OtherProgramme));
        assert_eq!(lacks(Vec::new(), scopes[1]), Some(Lack::NeverGiven));
        let revoked = vec![named(1, Written, 1, None, None), named(2, Revoked, 2, None, offers)];
        assert_eq!(lacks(revoked, scopes[2]), Some(Lack::Revoked(at(2))));
    }

    #[test]
    fn an_opt_out_of_a_programme_closes_that_one_until_the_person_says_start_or_agrees_anew() {
        let of = |programme: Option<&str>, id, hour| Consent {
            evidence: Evidence { programme: programme.map(str::to_owned), ..Evidence::default() },
            ..entry(id, Channel::Text, Act::Written, hour)
        };
        let scopes = [
            Scope::Any,
            Scope::Programme { name: "offers", formerly: &[], seller: Some("Acme") },
            Scope::Programme { name: "news", formerly: &[], seller: Some("Acme") },
            Scope::NoProgramme,
        ];
        let out = OptOut { at: at(10), started_at: None, programme: programme::Name::parse("offers") };
        let check = |ledger: &[Consent], out: &OptOut, expected: [&str; 4]| {
            let outs = std::slice::from_ref(out);
            let says =
                |scope| standing(ledger, outs, Purpose::Marketing, Channel::Text, scope, at(30)).as_str();
            assert_eq!(scopes.map(says), expected, "{ledger:?} {out:?}");
        };
        check(&[of(None, 1, 1)], &out, ["granted", "revoked", "granted", "granted"]);
        check(&[of(Some("offers"), 1, 1)], &out, ["revoked", "revoked", "never_given", "never_given"]);
        check(&[of(Some("news"), 1, 1)], &out, ["granted", "never_given", "granted", "never_given"]);
        let started = OptOut { started_at: Some(at(20)), ..out.clone() };
        check(&[of(None, 1, 1)], &started, ["granted"; 4]);
        check(&[of(None, 1, 1), of(Some("offers"), 2, 15)], &out, ["granted"; 4]);

        // A programme of another name now is still what was left, and what was agreed to.
        let old = [programme::Name::parse("offers").expect("a name")];
        let renamed = Scope::Programme { name: "deals", formerly: &old, seller: Some("Acme") };
        let says = |ledger: &[Consent], outs: &[OptOut]| {
            standing(ledger, outs, Purpose::Marketing, Channel::Text, renamed, at(30)).as_str()
        };
        assert_eq!(says(&[of(None, 1, 1)], std::slice::from_ref(&out)), "revoked");
        assert_eq!(says(&[of(Some("Offers"), 1, 1)], &[]), "granted");
        assert_eq!(says(&[of(Some("news"), 1, 1)], &[]), "never_given");

        assert!(out.concerns(Some(" Offers")) && out.concerns(None) && !out.concerns(Some("news")));
        let all = OptOut { programme: None, ..out };
        assert!(all.concerns(Some("news")) && all.concerns(None));
    }

    #[test]
    fn a_written_consent_has_words_a_seller_and_a_place() {
        let full = Evidence {
            wording: Some(Wording { hash: [0; 32], text: "I agree".to_owned() }),
            place: Some("https://shop.example/join".to_owned()),
            seller: Some("Shop".to_owned()),
            ..Evidence::default()
        };
        assert_eq!(missing(Act::Written, Method::Form, &full), [""; 0]);
        assert_eq!(
            missing(Act::Written, Method::Paper, &Evidence::default()),
            ["wording", "seller", "place"]
        );
        assert_eq!(missing(Act::Written, Method::Import, &full), ["attested_by"]);
        assert_eq!(missing(Act::Express, Method::Spoken, &Evidence::default()), [""; 0]);
        assert_eq!(missing(Act::Revoked, Method::Import, &Evidence::default()), [""; 0]);
    }
}
