//! Who a message is from: a phone number, a short code, or a name.
//!
//! [`Sender::parse`] takes what is written and decides which of the three it is. Whether the account owns the
//! sender, and whether a carrier lets us use it, is not known here; nor type of number and numbering plan, which
//! are the carrier's business.

use std::fmt;

use crate::account::Environment;
use crate::address::{Country, InvalidPhoneNumber, PhoneNumber, is_emergency};

/// The characters of an alphanumeric sender (TS 23.040 §9.1.2.5: ten octets hold eleven septets).
const ALPHANUMERIC_MAX: usize = 11;

/// The digits of a short code. No standard says so; these are the lengths in use.
const SHORT_CODE_MIN: usize = 3;
/// See [`SHORT_CODE_MIN`].
const SHORT_CODE_MAX: usize = 8;

/// Short codes above this length may also be a national phone number of the default country.
const SHORT_CODE_CERTAIN_MAX: usize = 6;

/// Countries whose networks don't carry alphanumeric senders: the message is refused, or comes from a number
/// nobody chose. In both, messages between networks are routed by number only, and replies are expected to work.
/// As of November 2026; carriers elsewhere ask for registration, which they say themselves.
const WITHOUT_ALPHANUMERIC: [Country; 2] = [Country::US, Country::CA];

/// Who a message is from. `Display` prints it as it is stored and compared: `+46701234567`, `72345`, `Tidings`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sender {
    /// A phone number that can be answered.
    PhoneNumber(PhoneNumber),
    /// A short number inside the networks of one country.
    ShortCode(ShortCode),
    /// A name; nobody can answer it.
    Alphanumeric(Alphanumeric),
}

/// The three kinds of sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SenderKind {
    /// A phone number.
    PhoneNumber,
    /// A short code.
    ShortCode,
    /// A name.
    Alphanumeric,
}

impl SenderKind {
    /// The word for it in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            SenderKind::PhoneNumber => "phone_number",
            SenderKind::ShortCode => "short_code",
            SenderKind::Alphanumeric => "alphanumeric",
        }
    }
}

impl Sender {
    /// Reads a sender. With a letter in it, it is a name; three to six plain digits are a short code; the rest is
    /// read as [`PhoneNumber::parse`] does. Seven or eight plain digits are a phone number if the default country
    /// has it (a Danish one, say), else a short code.
    ///
    /// Case is kept, and counts: `TIDINGS` and `Tidings` are two senders.
    ///
    /// # Errors
    /// The reason, in words for the one who wrote it.
    pub fn parse(
        text: &str,
        default_country: Option<Country>,
        environment: Environment,
    ) -> Result<Sender, InvalidSender> {
        if text.is_empty() {
            return Err(InvalidSender::Empty);
        }
        if text.contains(char::is_alphabetic) {
            return Alphanumeric::parse(text).map(Sender::Alphanumeric);
        }
        let phone_number = || {
            PhoneNumber::parse(text, default_country, environment)
                .map(Sender::PhoneNumber)
                .map_err(InvalidSender::PhoneNumber)
        };
        let plain = text.bytes().all(|octet| octet.is_ascii_digit());
        if !plain || text.len() > SHORT_CODE_MAX {
            return phone_number();
        }
        if text.len() > SHORT_CODE_CERTAIN_MAX
            && default_country.is_some()
            && let Ok(number) = phone_number()
        {
            return Ok(number);
        }
        if is_emergency(text) {
            return Err(InvalidSender::Emergency);
        }
        Small::new(text, SHORT_CODE_MIN)
            .map(|digits| Sender::ShortCode(ShortCode(digits)))
            .ok_or(InvalidSender::TooShort)
    }

    /// A sender as [`Display`](fmt::Display) printed it; only its form is looked at.
    pub fn from_stored(text: &str) -> Option<Sender> {
        if let Some(number) = PhoneNumber::from_stored(text) {
            return Some(Sender::PhoneNumber(number));
        }
        if text.bytes().all(|octet| octet.is_ascii_digit()) {
            return Small::new(text, SHORT_CODE_MIN).map(|digits| Sender::ShortCode(ShortCode(digits)));
        }
        Alphanumeric::parse(text).ok().map(Sender::Alphanumeric)
    }

    /// What is stored; the same as `to_string()`.
    pub fn to_stored(&self) -> String {
        self.to_string()
    }

    /// Which kind it is.
    pub const fn kind(&self) -> SenderKind {
        match self {
            Sender::PhoneNumber(_) => SenderKind::PhoneNumber,
            Sender::ShortCode(_) => SenderKind::ShortCode,
            Sender::Alphanumeric(_) => SenderKind::Alphanumeric,
        }
    }

    /// Whether a message to this recipient can be from this sender. The recipient's country is looked up only
    /// for names.
    ///
    /// # Errors
    /// [`SenderNotUsable`] if the networks of the recipient's country don't carry it.
    pub fn check_for(&self, recipient: PhoneNumber) -> Result<(), SenderNotUsable> {
        match (self, recipient) {
            (Sender::PhoneNumber(_) | Sender::ShortCode(_), _) => Ok(()),
            (Sender::Alphanumeric(_), recipient) => {
                let refusing = WITHOUT_ALPHANUMERIC.into_iter();
                // Most recipients are told apart by the code alone.
                let mut refusing =
                    refusing.filter(|country| country.calling_code() == recipient.calling_code());
                match refusing.next().and_then(|_| recipient.country()) {
                    Some(country) if WITHOUT_ALPHANUMERIC.contains(&country) => {
                        Err(SenderNotUsable::Alphanumeric { country })
                    }
                    _ => Ok(()),
                }
            }
        }
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sender::PhoneNumber(number) => number.fmt(f),
            Sender::ShortCode(code) => f.write_str(code.as_str()),
            Sender::Alphanumeric(name) => f.write_str(name.as_str()),
        }
    }
}

/// Three to eight digits; a leading zero counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShortCode(Small<SHORT_CODE_MAX>);

impl ShortCode {
    /// The digits.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Debug for ShortCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One to eleven letters, digits, spaces and `+ - _ & .`, with at least one letter, and no space at the ends.
///
/// These are the characters that carriers agree on, and all of them are in the GSM alphabet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Alphanumeric(Small<ALPHANUMERIC_MAX>);

impl Alphanumeric {
    fn parse(text: &str) -> Result<Alphanumeric, InvalidSender> {
        if let Some(character) = text.chars().find(|&character| !is_allowed(character)) {
            return Err(match character.is_control() {
                true => InvalidSender::ControlCharacter,
                false => InvalidSender::Character(character),
            });
        }
        if text.starts_with(' ') || text.ends_with(' ') {
            return Err(InvalidSender::SpaceAtEnd);
        }
        if !text.contains(|character: char| character.is_ascii_alphabetic()) {
            return Err(InvalidSender::NoLetter);
        }
        Small::new(text, 1).map(Alphanumeric).ok_or(InvalidSender::TooLong)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Debug for Alphanumeric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

fn is_allowed(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, ' ' | '+' | '-' | '_' | '&' | '.')
}

/// A short ASCII text without a heap.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Small<const MAX: usize> {
    // Filled with zeros, and before the length, so that the order is that of the texts.
    octets: [u8; MAX],
    length: u8,
}

impl<const MAX: usize> Small<MAX> {
    fn new(text: &str, min: usize) -> Option<Small<MAX>> {
        let mut octets = [0; MAX];
        octets.get_mut(..text.len()).filter(|place| place.len() >= min)?.copy_from_slice(text.as_bytes());
        Some(Small { octets, length: text.len() as u8 })
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.octets[..usize::from(self.length)]).expect("copied from a str")
    }
}

/// Why a text isn't a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidSender {
    /// Nothing there.
    Empty,
    /// A name of more than eleven characters.
    TooLong,
    /// Fewer than three digits.
    TooShort,
    /// A name with a line end, NUL or the like.
    ControlCharacter,
    /// A name with a character that carriers don't take.
    Character(char),
    /// A name with a space at one of its ends.
    SpaceAtEnd,
    /// A name without a letter.
    NoLetter,
    /// An emergency number.
    Emergency,
    /// It looks like a phone number, and isn't a valid one.
    PhoneNumber(InvalidPhoneNumber),
}

impl InvalidSender {
    /// A stable lower-case word for the reason; that of the phone number, if it is one.
    pub const fn code(self) -> &'static str {
        match self {
            InvalidSender::Empty => "empty",
            InvalidSender::TooLong => "too_long",
            InvalidSender::TooShort => "too_short",
            InvalidSender::ControlCharacter => "control_character",
            InvalidSender::Character(_) => "unexpected_character",
            InvalidSender::SpaceAtEnd => "space_at_end",
            InvalidSender::NoLetter => "no_letter",
            InvalidSender::Emergency => "emergency_number",
            InvalidSender::PhoneNumber(reason) => reason.code(),
        }
    }
}

impl fmt::Display for InvalidSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InvalidSender::Empty => "The sender is empty.",
            InvalidSender::TooLong => "An alphanumeric sender has at most 11 characters.",
            InvalidSender::TooShort => "A short code has three to eight digits.",
            InvalidSender::ControlCharacter => "The sender has a control character, such as a line end.",
            InvalidSender::Character(character) => {
                return write!(
                    f,
                    "An alphanumeric sender can't have {character:?}; it has the letters A to Z, digits, spaces \
                     and + - _ & . only."
                );
            }
            InvalidSender::SpaceAtEnd => "The sender begins or ends with a space.",
            InvalidSender::NoLetter => "An alphanumeric sender has at least one letter.",
            InvalidSender::Emergency => "An emergency number can't be a sender.",
            InvalidSender::PhoneNumber(reason) => return reason.fmt(f),
        })
    }
}

impl std::error::Error for InvalidSender {}

/// Why a sender can't be used for a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SenderNotUsable {
    /// The networks of this country don't carry alphanumeric senders.
    Alphanumeric {
        /// The recipient's country.
        country: Country,
    },
    /// An answer is waited for, and nobody can write to it.
    CannotReceive,
}

impl SenderNotUsable {
    /// A stable lower-case word for the reason.
    pub const fn code(self) -> &'static str {
        match self {
            SenderNotUsable::Alphanumeric { .. } => "alphanumeric_not_carried",
            SenderNotUsable::CannotReceive => "cannot_receive",
        }
    }
}

impl fmt::Display for SenderNotUsable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SenderNotUsable::Alphanumeric { country } => write!(
                f,
                "Networks in {country} don't carry alphanumeric senders; send from a phone number or a short code."
            ),
            SenderNotUsable::CannotReceive => f.write_str(
                "An answer is waited for, and nobody can write to this sender; send from one that can receive texts.",
            ),
        }
    }
}

impl std::error::Error for SenderNotUsable {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn country(letters: &str) -> Option<Country> {
        (!letters.is_empty()).then(|| Country::parse(letters).unwrap())
    }

    #[test]
    fn a_sender_is_one_of_three() {
        #[track_caller]
        fn check(text: &str, default_country: &str, kind: SenderKind, stored: &str) {
            let sender = Sender::parse(text, country(default_country), Environment::Live).unwrap();
            assert_eq!((sender.kind(), sender.to_stored().as_str()), (kind, stored));
            assert_eq!(Sender::from_stored(stored), Some(sender));
        }
        use SenderKind::*;
        check("+46701234567", "", PhoneNumber, "+46701234567");
        check("070-123 45 67", "SE", PhoneNumber, "+46701234567");
        check("+1 (800) 234-5678", "", PhoneNumber, "+18002345678");
        check("72345", "", ShortCode, "72345");
        check("72345", "US", ShortCode, "72345");
        check("0123", "", ShortCode, "0123");
        check("123456", "SE", ShortCode, "123456");
        check("12345678", "", ShortCode, "12345678");
        // Eight digits are a phone number in Denmark, and nothing in the United States.
        check("20123456", "DK", PhoneNumber, "+4520123456");
        check("20123456", "US", ShortCode, "20123456");
        check("Tidings", "", Alphanumeric, "Tidings");
        check("A", "", Alphanumeric, "A");
        check("4you", "US", Alphanumeric, "4you");
        check("Bus & Rail", "", Alphanumeric, "Bus & Rail");
        check("a.b-c_d+e", "", Alphanumeric, "a.b-c_d+e");
        check("+Pharmacy", "", Alphanumeric, "+Pharmacy");
        check("ABCDEFGHIJK", "", Alphanumeric, "ABCDEFGHIJK");
    }

    #[test]
    fn what_is_no_sender_is_refused_with_the_reason() {
        #[track_caller]
        fn check(text: &str, expected: InvalidSender) {
            assert_eq!(Sender::parse(text, country("US"), Environment::Live), Err(expected), "{text:?}");
            assert!(expected.to_string().ends_with('.'));
        }
        use InvalidSender::*;
        check("", Empty);
        check("12", TooShort);
        check("ABCDEFGHIJKL", TooLong);
        check(&"A".repeat(100_000), TooLong);
        check("Tidings\r\n", ControlCharacter);
        check("Tid\0ings", ControlCharacter);
        check("Tidings!", Character('!'));
        check("Café", Character('é'));
        check("Тidings", Character('Т'));
        check("Tid\u{200B}ings", Character('\u{200B}'));
        check("\u{202E}sgnidiT", Character('\u{202E}'));
        check(" Tidings", SpaceAtEnd);
        check("Tidings ", SpaceAtEnd);
        check("911", Emergency);
        check("112", Emergency);
        check("😀", PhoneNumber(InvalidPhoneNumber::UnexpectedCharacter('😀')));
        check("٧٢٣٤٥", PhoneNumber(InvalidPhoneNumber::OtherDigits));
        check("72345\n", PhoneNumber(InvalidPhoneNumber::ControlCharacter));
        check("+1", PhoneNumber(InvalidPhoneNumber::TooShort));
        check("+15550002222", PhoneNumber(InvalidPhoneNumber::NotAssigned));
        check("+19002345678", PhoneNumber(InvalidPhoneNumber::Premium));
        check("123456789", PhoneNumber(InvalidPhoneNumber::TooShort));
        let fictional = Sender::parse("+15550001111", None, Environment::Test).unwrap();
        assert_eq!(fictional.to_string(), "+15550001111");
    }

    #[test]
    fn a_name_is_not_for_recipients_whose_networks_drop_it() {
        #[track_caller]
        fn check(sender: &str, recipient: &str, refused_in: Option<&str>) {
            let sender = Sender::from_stored(sender).unwrap();
            let got = sender.check_for(PhoneNumber::from_stored(recipient).unwrap());
            let country = refused_in.map(|letters| Country::parse(letters).unwrap());
            assert_eq!(got.err(), country.map(|country| SenderNotUsable::Alphanumeric { country }));
        }
        check("Tidings", "+16502530000", Some("US"));
        check("Tidings", "+14168101234", Some("CA"));
        // Nobody's area code, in the test environment.
        check("Tidings", "+15550002222", Some("US"));
        check("Tidings", "+18762101234", None);
        check("Tidings", "+46701234567", None);
        check("Tidings", "+999123456789", None);
        check("72345", "+16502530000", None);
        check("+46701234567", "+16502530000", None);
    }

    #[test]
    fn only_what_was_stored_is_read_back() {
        for text in [
            "",
            "12",
            "123456789",
            "+",
            "+1",
            "+12345678901234567",
            " A",
            "A ",
            "Tidings!",
            "ABCDEFGHIJKL",
            "...",
        ] {
            assert_eq!(Sender::from_stored(text), None, "{text:?}");
        }
        assert!(size_of::<Option<Sender>>() <= 24);
    }

    proptest! {
        #[test]
        fn every_sender_survives_the_store(text: String, likely in "[+A-Za-z0-9 ._&-]{1,12}") {
            for text in [text, likely] {
                if let Ok(sender) = Sender::parse(&text, Some(Country::US), Environment::Test) {
                    prop_assert_eq!(Sender::from_stored(&sender.to_stored()), Some(sender));
                }
                Sender::from_stored(&text);
            }
        }
    }
}
