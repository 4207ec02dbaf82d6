//! What senders can and may do: what they carry, to which countries and for which purposes they are registered, and what shows it.
//!
//! A carrier that gets a message from a sender that is not registered for it blocks it, and later the sender. So an operator
//! lists the senders with what they are registered for, and a message that goes beyond that is refused before it leaves. Where
//! and with whom senders must be registered is data: `data/registration.csv`, with sources. A sender that is not listed is not
//! looked at, unless the operator wants every sender to be.
//!
//! India's networks also compare each text with a *template* that was registered, and drop what differs. So does [`Template`].
//!
//! It knows nothing of what a carrier or a registry says; it believes the operator.

use crate::address::{Country, NumberKind, PhoneNumber};
use crate::purpose::Purpose;
use crate::quiet_hours::Place;
use crate::quota::Daily;
use crate::sender::Sender;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::LazyLock;

/// Where senders must be registered.
const TABLE: &str = include_str!("../data/registration.csv");
/// What stands in a template where texts differ.
const VARIABLE: &str = "{#var#}";
/// Characters that may stand there, at most, as registries in India have it.
pub const VARIABLE_MAX: usize = 30;

/// A kind of sender, as registries tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An ordinary phone number.
    LongCode,
    /// A phone number that is free for who calls.
    TollFree,
    /// A short number inside the networks of one country.
    ShortCode,
    /// A name.
    Alphanumeric,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::LongCode, Self::TollFree, Self::ShortCode, Self::Alphanumeric];

    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LongCode => "long_code",
            Self::TollFree => "toll_free",
            Self::ShortCode => "short_code",
            Self::Alphanumeric => "alphanumeric",
        }
    }

    /// What a sender is, as far as it says so itself. Takes some microseconds for phone numbers.
    pub fn of(sender: &Sender) -> Self {
        match sender {
            Sender::PhoneNumber(number) if number.kind() == NumberKind::TollFree => Self::TollFree,
            Sender::PhoneNumber(_) => Self::LongCode,
            Sender::ShortCode(_) => Self::ShortCode,
            Sender::Alphanumeric(_) => Self::Alphanumeric,
        }
    }
}

/// What a sender can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// Texts from it to people.
    TextOut,
    /// Texts from people to it.
    TextIn,
}

impl Capability {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::TextOut, Self::TextIn];

    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TextOut => "text_out",
            Self::TextIn => "text_in",
        }
    }
}

/// With whom a sender is registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// 10DLC: a brand and a campaign, for long codes in the United States.
    TenDlc,
    /// The verification of a toll-free sender.
    TollFree,
    /// The lease of a short code.
    ShortCode,
    /// India's ledger: an entity, and a template for each text.
    Dlt,
    /// A registry of names.
    SenderId,
}

impl Scheme {
    const ALL: [Self; 5] = [Self::TenDlc, Self::TollFree, Self::ShortCode, Self::Dlt, Self::SenderId];

    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TenDlc => "10dlc",
            Self::TollFree => "toll_free",
            Self::ShortCode => "short_code",
            Self::Dlt => "dlt",
            Self::SenderId => "sender_id",
        }
    }

    /// The scheme under which senders of a kind must be registered to be carried in a country.
    pub fn of(country: &str, kind: Kind) -> Option<Self> {
        SCHEMES.get(&(country, kind)).copied()
    }
}

static SCHEMES: LazyLock<HashMap<(&'static str, Kind), Scheme>> = LazyLock::new(|| {
    let lines = TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).skip(1);
    lines.map(|text| line(text).unwrap_or_else(|| panic!("in data/registration.csv: {text}"))).collect()
});

fn line(text: &'static str) -> Option<((&'static str, Kind), Scheme)> {
    let mut cells = text.splitn(4, ',');
    let (country, kind, scheme) = (cells.next()?, cells.next()?, cells.next()?);
    cells.next().filter(|source| !source.is_empty())?;
    Country::parse(country).ok()?;
    let kind = Kind::ALL.into_iter().find(|known| known.as_str() == kind)?;
    Some(((country, kind), Scheme::ALL.into_iter().find(|known| known.as_str() == scheme)?))
}

/// How far a registration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// Nobody asked for it.
    #[default]
    Unregistered,
    /// It was asked for.
    Pending,
    /// It was granted.
    Registered,
    /// It was refused, or taken away.
    Rejected,
}

impl State {
    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unregistered => "unregistered",
            Self::Pending => "pending",
            Self::Registered => "registered",
            Self::Rejected => "rejected",
        }
    }
}

/// What shows a registration: the registries' own ids.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Evidence {
    /// The brand (10DLC).
    pub brand_id: Option<String>,
    /// The campaign (10DLC).
    pub campaign_id: Option<String>,
    /// The verification (toll-free).
    pub verification_id: Option<String>,
    /// The entity (DLT).
    pub entity_id: Option<String>,
}

impl Evidence {
    /// The name of an id that a scheme wants and that is missing.
    const fn lacks(&self, scheme: Scheme) -> Option<&'static str> {
        match scheme {
            Scheme::TenDlc if self.brand_id.is_none() => Some("brand_id"),
            Scheme::TenDlc if self.campaign_id.is_none() => Some("campaign_id"),
            Scheme::TollFree if self.verification_id.is_none() => Some("verification_id"),
            Scheme::Dlt if self.entity_id.is_none() => Some("entity_id"),
            Scheme::TenDlc | Scheme::TollFree | Scheme::Dlt | Scheme::ShortCode | Scheme::SenderId => None,
        }
    }
}

/// A sender that the operator listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What it is.
    pub kind: Kind,
    /// What it can carry; what its kind can, if that is not said. Nobody can write to a name, whatever is said.
    pub can: Option<BTreeSet<Capability>>,
    /// The countries of recipients that it is for; empty for all.
    pub countries: Vec<Country>,
    /// The purposes that it is for; empty for all.
    pub purposes: Vec<Purpose>,
    /// How far its registration is, where it must be registered.
    pub state: State,
    /// What shows it.
    pub evidence: Evidence,
    /// The templates of its texts, where they must be registered.
    pub templates: Vec<Template>,
    /// How much may go from it in a day.
    pub daily: Option<Daily>,
}

/// What an operator says of senders.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// The senders.
    pub listed: BTreeMap<Sender, Listed>,
    /// Whether only these may be used.
    pub only_listed: bool,
}

/// Why a sender may not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotRegistered {
    /// It is not listed.
    Unlisted,
    /// It is listed as one that no texts can be sent from.
    CannotSend,
    /// It is not for the recipient's country.
    Country {
        /// Its two letters; `None` for a number of no country.
        country: Option<&'static str>,
    },
    /// It is not for messages of this purpose.
    Purpose(Purpose),
    /// It must be registered there, and is not.
    State {
        /// With whom.
        scheme: Scheme,
        /// How far it is.
        state: State,
    },
    /// It is said to be registered, but an id that shows it is missing.
    Evidence {
        /// With whom.
        scheme: Scheme,
        /// The name of the id.
        lacks: &'static str,
    },
    /// The text is none that was registered for it.
    Template,
}

impl NotRegistered {
    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unlisted => "sender_not_listed",
            Self::CannotSend => "cannot_send",
            Self::Country { .. } => "not_for_country",
            Self::Purpose(_) => "not_for_purpose",
            Self::State { state: State::Pending, .. } => "registration_pending",
            Self::State { state: State::Rejected, .. } => "registration_rejected",
            Self::State { .. } => "not_registered",
            Self::Evidence { .. } => "evidence_missing",
            Self::Template => "template_required",
        }
    }
}

impl fmt::Display for NotRegistered {
    /// A sentence without a full stop, and without the sender.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlisted => f.write_str("the sender is not one that the operator listed"),
            Self::CannotSend => f.write_str("the sender is listed as one that no texts can be sent from"),
            Self::Country { country: Some(country) } => write!(f, "the sender is not listed for {country}"),
            Self::Country { country: None } => {
                f.write_str("the sender is listed for some countries, and the number is of none")
            }
            Self::Purpose(purpose) => write!(f, "the sender is not listed for {} messages", purpose.as_str()),
            Self::State { scheme, state } => {
                write!(
                    f,
                    "the sender must be registered there ({}), and is {}",
                    scheme.as_str(),
                    state.as_str()
                )
            }
            Self::Evidence { scheme, lacks } => {
                write!(f, "the sender has no {lacks}, which shows its registration ({})", scheme.as_str())
            }
            Self::Template => {
                f.write_str("the text is none of the templates that are registered for the sender")
            }
        }
    }
}

impl Policy {
    /// No sender is looked at.
    pub const OFF: Self = Self { listed: BTreeMap::new(), only_listed: false };

    /// Every reason why a sender may not be used for a message. Without a text no template is looked for.
    pub fn refuses(
        &self,
        sender: &Sender,
        recipient: PhoneNumber,
        purpose: Purpose,
        text: Option<&str>,
    ) -> Vec<NotRegistered> {
        let Some(listed) = self.listed.get(sender) else {
            return if self.only_listed { vec![NotRegistered::Unlisted] } else { Vec::new() };
        };
        let mut found = Vec::new();
        if !self.can(sender, Capability::TextOut) {
            found.push(NotRegistered::CannotSend);
        }
        let country = Place::of(recipient).map(Place::country);
        let is_for = |listed: &Country| Some(listed.as_str()) == country;
        if !listed.countries.is_empty() && !listed.countries.iter().any(is_for) {
            found.push(NotRegistered::Country { country });
        }
        if !listed.purposes.is_empty() && !listed.purposes.contains(&purpose) {
            found.push(NotRegistered::Purpose(purpose));
        }
        if let Some(scheme) = country.and_then(|country| Scheme::of(country, listed.kind)) {
            found.extend(match (listed.state, listed.evidence.lacks(scheme)) {
                (State::Registered, None) => None,
                (State::Registered, Some(lacks)) => Some(NotRegistered::Evidence { scheme, lacks }),
                (state, _) => Some(NotRegistered::State { scheme, state }),
            });
            let is_known = |text| listed.templates.iter().any(|template| template.fits(text));
            if scheme == Scheme::Dlt && text.is_some_and(|text| !is_known(text)) {
                found.push(NotRegistered::Template);
            }
        }
        found
    }

    /// Whether a sender can carry this, as it is listed, or else as its kind can: all can do all, but that nobody can write to a name.
    pub fn can(&self, sender: &Sender, capability: Capability) -> bool {
        if capability == Capability::TextIn && matches!(sender, Sender::Alphanumeric(_)) {
            return false;
        }
        let listed = self.listed.get(sender).and_then(|listed| listed.can.as_ref());
        listed.is_none_or(|can| can.contains(&capability))
    }

    /// How much may go from a sender in a day, if a message to this number counts.
    pub fn daily(&self, sender: &Sender, recipient: PhoneNumber) -> Option<&Daily> {
        self.listed.get(sender)?.daily.as_ref().filter(|daily| daily.concerns(recipient))
    }

    /// What networks in India want to be told with a message: the entity and the template that fits.
    pub fn dlt(&self, sender: &Sender, recipient: PhoneNumber, text: &str) -> Option<Dlt> {
        let listed = self.listed.get(sender)?;
        let scheme = Scheme::of(Place::of(recipient)?.country(), listed.kind);
        let template = listed.templates.iter().find(|template| template.fits(text))?;
        let entity_id = listed.evidence.entity_id.clone()?;
        (scheme == Some(Scheme::Dlt)).then(|| Dlt { entity_id, template_id: template.id.clone() })
    }
}

/// What networks in India are told with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dlt {
    /// The principal entity's id.
    pub entity_id: String,
    /// The template's id.
    pub template_id: String,
}

/// A text that was registered, with places where messages differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    id: String,
    /// What stands between the variables: one more than there are.
    pieces: Vec<String>,
}

impl Template {
    /// Reads `1107160000000012345: Dear {#var#}, your order is on its way.`: the id, a colon and a space, and the text as it
    /// was registered. `None` if it is written otherwise.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, text) = text.split_once(": ")?;
        let is_id = (1..=64).contains(&id.len()) && id.bytes().all(|octet| octet.is_ascii_alphanumeric());
        let pieces: Vec<String> = text.split(VARIABLE).map(str::to_owned).collect();
        (is_id && !text.is_empty()).then(|| Self { id: id.to_owned(), pieces })
    }

    /// Whether a text is this one, with up to [`VARIABLE_MAX`] characters in the place of each variable.
    pub fn fits(&self, text: &str) -> bool {
        let [first, rest @ ..] = &self.pieces[..] else { return false };
        let Some(begin) = text.strip_prefix(first.as_str()) else { return false };
        // Where the pieces so far may end: octets.
        let mut ends = vec![text.len() - begin.len()];
        for piece in rest {
            let mut next: Vec<usize> = Vec::new();
            for end in ends {
                let places = text[end..].char_indices().map(|(at, _)| end + at).chain([text.len()]);
                let fitting =
                    places.take(VARIABLE_MAX + 1).filter(|at| text[*at..].starts_with(piece.as_str()));
                next.extend(fitting.map(|at| at + piece.len()));
            }
            next.sort_unstable();
            next.dedup();
            ends = next;
        }
        ends.contains(&text.len())
    }
}

impl fmt::Display for Template {
    /// As it is read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.id, self.pieces.join(VARIABLE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Environment;
    use proptest::prelude::*;

    fn sender(text: &str) -> Sender {
        Sender::parse(text, None, Environment::Test).unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    fn number(text: &str) -> PhoneNumber {
        PhoneNumber::from_stored(text).unwrap_or_else(|| panic!("{text}"))
    }

    fn listed(from: &str, state: State) -> Listed {
        Listed {
            kind: Kind::of(&sender(from)),
            countries: Vec::new(),
            purposes: Vec::new(),
            state,
            evidence: Evidence::default(),
            templates: Vec::new(),
            daily: None,
            can: None,
        }
    }

    #[test]
    fn nobody_can_write_to_a_name_and_the_rest_can_what_is_said() {
        use Capability::{TextIn, TextOut};
        let check = |from: &str, said: Option<&[Capability]>, expected: [bool; 2]| {
            let can = said.map(|said| said.iter().copied().collect());
            let listed = Listed { can, ..listed(from, State::Registered) };
            let policy = Policy { listed: [(sender(from), listed)].into(), only_listed: false };
            assert_eq!(
                [TextOut, TextIn].map(|one| policy.can(&sender(from), one)),
                expected,
                "{from} {said:?}"
            );
            let refused = policy.refuses(&sender(from), number("+46701234567"), Purpose::Alert, None);
            assert_eq!(refused.contains(&NotRegistered::CannotSend), !expected[0], "{from}");
        };
        for from in ["+46700000001", "72345"] {
            check(from, None, [true, true]);
            check(from, Some(&[TextOut]), [true, false]);
            check(from, Some(&[TextIn]), [false, true]);
            assert!(Policy::OFF.can(&sender(from), TextIn));
        }
        check("Acme", None, [true, false]);
        check("Acme", Some(&[TextOut, TextIn]), [true, false]);
        assert!(!Policy::OFF.can(&sender("Acme"), TextIn));
    }

    #[test]
    fn a_sender_is_used_for_what_it_is_registered_for() {
        let check = |from: &str, listed: Option<Listed>, to: &str, purpose, expected: &[&str]| {
            let listed = listed.map(|listed| (sender(from), listed)).into_iter().collect();
            let policy = Policy { listed, only_listed: false };
            let found = policy.refuses(&sender(from), number(to), purpose, Some("Hello"));
            let words: Vec<&str> = found.iter().map(|found| found.as_str()).collect();
            assert_eq!(words, expected, "{from} {to} {policy:?}");
            assert!(found.iter().all(|found| !found.to_string().contains(from)));
        };
        const LONG: &str = "+12125551234";
        const US: &str = "+13055551234";
        const SE: &str = "+46701234567";
        const IN: &str = "+919876543210";
        let of = |state| Some(listed(LONG, state));
        use Purpose::{Alert, Marketing};
        check(LONG, None, US, Marketing, &[]);
        check(LONG, of(State::Unregistered), SE, Marketing, &[]);
        check(LONG, of(State::Unregistered), US, Marketing, &["not_registered"]);
        check(LONG, of(State::Pending), US, Marketing, &["registration_pending"]);
        check(LONG, of(State::Rejected), US, Marketing, &["registration_rejected"]);
        check(LONG, of(State::Registered), US, Marketing, &["evidence_missing"]);
        let evidence = Evidence {
            brand_id: Some("B1".to_owned()),
            campaign_id: Some("C1".to_owned()),
            ..Evidence::default()
        };
        let good = Listed { evidence, purposes: vec![Marketing], ..listed(LONG, State::Registered) };
        let good = Listed { countries: vec![Country::US], ..good };
        check(LONG, Some(good.clone()), US, Marketing, &[]);
        check(LONG, Some(good.clone()), US, Alert, &["not_for_purpose"]);
        check(LONG, Some(good.clone()), SE, Alert, &["not_for_country", "not_for_purpose"]);
        check(LONG, Some(good), "+881612345678", Marketing, &["not_for_country"]);
        const FREE: &str = "+18002345678";
        check(FREE, Some(listed(FREE, State::Pending)), US, Alert, &["registration_pending"]);
        check(FREE, Some(listed(FREE, State::Registered)), "+14165551234", Alert, &["evidence_missing"]);
        check("72345", Some(listed("72345", State::Unregistered)), US, Alert, &["not_registered"]);
        check("72345", Some(listed("72345", State::Registered)), US, Alert, &[]);
        check("Acme", Some(listed("Acme", State::Unregistered)), SE, Alert, &[]);
        check("Acme", Some(listed("Acme", State::Unregistered)), "+6581234567", Alert, &["not_registered"]);
        check(
            "ACMEIN",
            Some(listed("ACMEIN", State::Registered)),
            IN,
            Alert,
            &["evidence_missing", "template_required"],
        );

        let strict = Policy { only_listed: true, ..Policy::default() };
        let found = strict.refuses(&sender(LONG), number(SE), Alert, None);
        assert_eq!(found, [NotRegistered::Unlisted]);
    }

    #[test]
    fn a_text_to_india_is_a_template_that_was_registered() {
        let template =
            Template::parse("1107160000000012345: Dear {#var#}, order {#var#} is on its way. -ACME").unwrap();
        assert_eq!(
            template.to_string(),
            "1107160000000012345: Dear {#var#}, order {#var#} is on its way. -ACME"
        );
        let check = |text: &str, fits| assert_eq!(template.fits(text), fits, "{text}");
        check("Dear Ada, order 42 is on its way. -ACME", true);
        check("Dear , order  is on its way. -ACME", true);
        check("Dear Ada, order 1, order 42 is on its way. -ACME", true);
        check("Dear Ada, order 42 is on its way.", false);
        check("Dear Ada, order 42 is on its way. -ACME!", false);
        check("dear Ada, order 42 is on its way. -ACME", false);
        check(&format!("Dear {}, order 42 is on its way. -ACME", "é".repeat(VARIABLE_MAX)), true);
        check(&format!("Dear {}, order 42 is on its way. -ACME", "é".repeat(VARIABLE_MAX + 1)), false);
        for none in ["", "1107", "1107:x", ": x", "11 07: x", "1107: "] {
            assert_eq!(Template::parse(none), None, "{none:?}");
        }
        let open = Template::parse("1: {#var#}{#var#}").unwrap();
        assert!(open.fits(&"x".repeat(2 * VARIABLE_MAX)) && !open.fits(&"x".repeat(2 * VARIABLE_MAX + 1)));

        let evidence = Evidence { entity_id: Some("E1".to_owned()), ..Evidence::default() };
        let listed = Listed { evidence, templates: vec![template], ..listed("ACMEIN", State::Registered) };
        let policy = Policy { listed: [(sender("ACMEIN"), listed)].into(), only_listed: false };
        let text = "Dear Ada, order 42 is on its way. -ACME";
        let of = |to: &str, text: &str| policy.dlt(&sender("ACMEIN"), number(to), text);
        let told = Dlt { entity_id: "E1".to_owned(), template_id: "1107160000000012345".to_owned() };
        assert_eq!(of("+919876543210", text), Some(told));
        assert_eq!((of("+919876543210", "Hello"), of("+46701234567", text)), (None, None));
        let refused = policy.refuses(&sender("ACMEIN"), number("+919876543210"), Purpose::Alert, Some(text));
        assert_eq!(refused, []);
    }

    #[test]
    fn each_line_of_the_table_is_one_and_each_scheme_has_a_line() {
        for scheme in Scheme::ALL {
            assert!(SCHEMES.values().any(|known| *known == scheme), "{scheme:?}");
        }
        assert_eq!(Scheme::of("US", Kind::LongCode), Some(Scheme::TenDlc));
        assert_eq!(Scheme::of("SE", Kind::LongCode), None);
    }

    proptest! {
        /// What is put in the place of the variables is found again, whatever it looks like.
        #[test]
        fn a_template_fits_what_is_made_of_it(
            pieces in prop::collection::vec("[a-c ]{0,6}", 1..5), values in prop::collection::vec("[a-cé]{0,30}", 4)
        ) {
            let written = pieces.join(VARIABLE);
            prop_assume!(!written.is_empty());
            let template = Template::parse(&format!("1: {written}")).unwrap();
            let mut text = pieces[0].clone();
            for (value, piece) in values.iter().zip(&pieces[1..]) {
                text.push_str(value);
                text.push_str(piece);
            }
            prop_assert!(template.fits(&text));
        }

        #[test]
        fn any_text_can_be_compared(written: String, text: String) {
            if let Some(template) = Template::parse(&format!("1: {written}")) {
                template.fits(&text);
            }
        }
    }
}
