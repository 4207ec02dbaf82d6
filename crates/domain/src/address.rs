//! Phone numbers: parsed once at the door, trusted from then on.
//!
//! A [`PhoneNumber`] is E.164, small and copyable. [`PhoneNumber::parse`] takes what people and programs write
//! and refuses the rest with a reason each; what is assigned in which country is the knowledge of libphonenumber
//! (its Rust port `rlibphonenumber`, data in the binary). Numbers move between carriers, so this says nothing
//! about whose customer a number is, nor whether it can receive a message now.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

use rlibphonenumber::{
    NumberLengthType, PHONE_NUMBER_UTIL, ParseError, PhoneNumberType, Region, ValidationError,
};

use crate::account::Environment;

/// The digits of an international number (ITU-T E.164 §6.2.1).
const DIGITS_MAX: u32 = 15;

/// E.164 names no minimum; the shortest numbers in use (Niue, Ascension) have seven digits with the country's.
const DIGITS_MIN: u32 = 7;

/// The octets of a written number. The longest sensible spelling has 15 digits and a separator after each.
pub const TEXT_OCTETS_MAX: usize = 64;

/// Numbers of up to so many digits, written without `+`, are codes inside a network.
const SHORT_NUMBER_DIGITS_MAX: usize = 6;

/// Bits in which what a number is for is kept beside its at most fifteen digits, which are fifty bits.
const KIND_BITS: u32 = 4;
/// Numbers that were looked at lately, each with what it is for, in the place that its last digits give.
static LATELY: [AtomicU64; 16_384] = [const { AtomicU64::new(0) }; 16_384];

/// A phone number in E.164.
///
/// Eight octets, also inside an `Option`. `Display` prints it in full (`+46701234567`), which is also what is
/// stored; `Debug` prints it masked, so that it doesn't slip into a log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhoneNumber(NonZeroU64);

impl PhoneNumber {
    /// Reads a number as people write it: `+46 (0)70-123 45 67`, or `070-123 45 67` with a default country.
    /// Spaces, dashes, dots, slashes and parentheses are passed over; `00` and other international prefixes
    /// count where the default country dials them.
    ///
    /// In [`Environment::Test`], numbers that are no one's are taken too, as long as they have a length that is
    /// possible in their country (7 to 15 digits where the country code is no one's either). `+1 555 000 2222` hurts
    /// nobody there.
    ///
    /// # Errors
    /// The reason, in words for the one who wrote it. Some are judgements: emergency and premium numbers are
    /// refused in both environments, digits of other scripts and invisible characters always, because two
    /// spellings that look alike must not be two numbers.
    pub fn parse(
        text: &str,
        default_country: Option<Country>,
        environment: Environment,
    ) -> Result<PhoneNumber, InvalidPhoneNumber> {
        let written = Written::read(text)?;
        let region = default_country.map(Country::region);
        let parsed = PHONE_NUMBER_UTIL.parse(written.text(), region);
        let number = parsed.as_ref().ok().and_then(in_e164);

        let reason = match &parsed {
            Ok(parsed) => match (PHONE_NUMBER_UTIL.get_number_type(parsed), number) {
                (PhoneNumberType::Unknown, _) => why_unknown(&written, parsed),
                (PhoneNumberType::PremiumRate, _) => InvalidPhoneNumber::Premium,
                (kind, Some(number)) => {
                    number.remember(NumberKind::from_library(kind));
                    return Ok(number);
                }
                (_, None) => InvalidPhoneNumber::TooLong,
            },
            Err(error) => why_unread(&written, error),
        };
        let fictional = match (environment, reason) {
            (Environment::Live, _) => None,
            (Environment::Test, InvalidPhoneNumber::NotAssigned) => number,
            // A number of a wrong length is a mistyped one, also among those that are no one's.
            (Environment::Test, InvalidPhoneNumber::UnknownCountryCode) if written.international() => {
                number.or_else(|| PhoneNumber::from_stored(written.text()))
            }
            (Environment::Test, _) => None,
        };
        fictional.filter(|number| reads_as_itself(*number, &written)).ok_or(reason)
    }

    /// A number as [`Display`](fmt::Display) printed it. It was judged when it was parsed, so only its form is
    /// looked at: ranges come and go, and what we have stored must stay readable.
    pub fn from_stored(text: &str) -> Option<PhoneNumber> {
        let digits = text.strip_prefix('+')?;
        let plain = digits.bytes().all(|octet| octet.is_ascii_digit()) && !digits.starts_with('0');
        if !plain || digits.len() > DIGITS_MAX as usize {
            return None;
        }
        PhoneNumber::from_digits(digits.parse().ok()?)
    }

    /// A number from its digits, country code first, under the same conditions as [`PhoneNumber::from_stored`].
    pub fn from_digits(digits: u64) -> Option<PhoneNumber> {
        (10u64.pow(DIGITS_MIN - 1)..10u64.pow(DIGITS_MAX))
            .contains(&digits)
            .then(|| NonZeroU64::new(digits).map(PhoneNumber))
            .flatten()
    }

    /// The digits, country code first, as one number: no E.164 number begins with 0.
    pub const fn digits(self) -> u64 {
        self.0.get()
    }

    /// The country code of E.164: 1, 46, 225. Not the country: 1 is shared by 25 of them.
    pub const fn calling_code(self) -> u16 {
        self.divided().0
    }

    /// The calling code, and the rest with its number of digits.
    const fn divided(self) -> (u16, u64, u32) {
        let digits = self.0.get();
        let length = digits.ilog10() + 1;
        // E.164 assigns the codes so that the first two digits tell the length.
        let code_length = match digits / 10u64.pow(length - 2) {
            10..=19 | 70..=79 => 1,
            20
            | 27
            | 28
            | 30..=34
            | 36
            | 39..=41
            | 43..=49
            | 51..=58
            | 60..=66
            | 81..=84
            | 86
            | 89..=95
            | 98 => 2,
            _ => 3,
        };
        let national_range = 10u64.pow(length - code_length);
        ((digits / national_range) as u16, digits % national_range, length - code_length)
    }

    /// The country, or `None` for numbers of none (satellites, international freephone) and unknown codes. Where
    /// countries share a calling code and the range is no one's, the main one of them: `+1 555…` is `US`.
    ///
    /// Takes up to some microseconds.
    pub fn country(self) -> Option<Country> {
        let number = self.for_library();
        PHONE_NUMBER_UTIL
            .get_region_for_number(&number)
            .or_else(|| PHONE_NUMBER_UTIL.get_region_for_country_code(number.country_code))
            .and_then(Country::from_region)
    }

    /// What the number is for, by its range. Takes some microseconds, unless the same number was parsed or asked for lately:
    /// each recipient is looked at when a message is accepted and again just before it goes.
    pub fn kind(self) -> NumberKind {
        let known = self.place().load(Ordering::Relaxed);
        if known >> KIND_BITS == self.digits()
            && let Some(kind) = NumberKind::ALL.get((known & ((1 << KIND_BITS) - 1)) as usize)
        {
            return *kind;
        }
        let kind = NumberKind::from_library(PHONE_NUMBER_UTIL.get_number_type(&self.for_library()));
        self.remember(kind);
        kind
    }

    fn remember(self, kind: NumberKind) {
        self.place().store(self.digits() << KIND_BITS | kind as u64, Ordering::Relaxed);
    }

    fn place(self) -> &'static AtomicU64 {
        &LATELY[(self.digits() % LATELY.len() as u64) as usize]
    }

    /// The number for logs and for eyes that need not see it: `+4670•••••67`.
    pub const fn masked(self) -> Masked {
        Masked(self)
    }

    fn for_library(self) -> rlibphonenumber::PhoneNumber {
        let (calling_code, national, length) = self.divided();
        let significant = if national == 0 { 1 } else { national.ilog10() + 1 };
        let leading_zeros = length.saturating_sub(significant);
        rlibphonenumber::PhoneNumber {
            country_code: i32::from(calling_code),
            national_number: national,
            italian_leading_zero: (leading_zeros > 0).then_some(true),
            number_of_leading_zeros: (leading_zeros > 1).then_some(leading_zeros as i32),
            ..Default::default()
        }
    }
}

impl fmt::Display for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{}", self.0)
    }
}

impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.masked())
    }
}

/// A number that shows its first four and its last two digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Masked(PhoneNumber);

impl fmt::Display for Masked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.digits();
        let length = digits.ilog10() + 1;
        // A short number would show too much with four.
        let shown = if length < 9 { 2 } else { 4 };
        write!(f, "+{}", digits / 10u64.pow(length - shown))?;
        for _ in 0..length - shown - 2 {
            f.write_str("•")?;
        }
        write!(f, "{:02}", digits % 100)
    }
}

/// Builds the library's tables, which takes some 70 ms. For the start of a program, so that the first message
/// doesn't wait.
pub fn warm_up() {
    std::sync::LazyLock::force(&PHONE_NUMBER_UTIL);
}

/// What a number is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NumberKind {
    /// A mobile phone.
    Mobile,
    /// A line in a building.
    FixedLine,
    /// One of the two; in North America the number doesn't tell.
    FixedLineOrMobile,
    /// Free for the caller.
    TollFree,
    /// Dear for the caller. [`PhoneNumber::parse`] refuses these.
    Premium,
    /// The cost is shared.
    SharedCost,
    /// A line over the internet.
    Voip,
    /// Follows a person.
    Personal,
    /// A pager.
    Pager,
    /// One number of a company for all its places.
    UniversalAccess,
    /// A mailbox.
    Voicemail,
    /// Not assigned, as far as is known.
    Unknown,
}

impl NumberKind {
    /// All of them, in their order.
    const ALL: [Self; 12] = [
        Self::Mobile,
        Self::FixedLine,
        Self::FixedLineOrMobile,
        Self::TollFree,
        Self::Premium,
        Self::SharedCost,
        Self::Voip,
        Self::Personal,
        Self::Pager,
        Self::UniversalAccess,
        Self::Voicemail,
        Self::Unknown,
    ];

    const fn from_library(kind: PhoneNumberType) -> Self {
        match kind {
            PhoneNumberType::FixedLine => Self::FixedLine,
            PhoneNumberType::Mobile => Self::Mobile,
            PhoneNumberType::FixedLineOrMobile => Self::FixedLineOrMobile,
            PhoneNumberType::TollFree => Self::TollFree,
            PhoneNumberType::PremiumRate => Self::Premium,
            PhoneNumberType::SharedCost => Self::SharedCost,
            PhoneNumberType::VoIP => Self::Voip,
            PhoneNumberType::PersonalNumber => Self::Personal,
            PhoneNumberType::Pager => Self::Pager,
            PhoneNumberType::UAN => Self::UniversalAccess,
            PhoneNumberType::VoiceMail => Self::Voicemail,
            PhoneNumberType::Unknown => Self::Unknown,
        }
    }

    /// The word for it in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            NumberKind::Mobile => "mobile",
            NumberKind::FixedLine => "fixed_line",
            NumberKind::FixedLineOrMobile => "fixed_line_or_mobile",
            NumberKind::TollFree => "toll_free",
            NumberKind::Premium => "premium",
            NumberKind::SharedCost => "shared_cost",
            NumberKind::Voip => "voip",
            NumberKind::Personal => "personal",
            NumberKind::Pager => "pager",
            NumberKind::UniversalAccess => "universal_access",
            NumberKind::Voicemail => "voicemail",
            NumberKind::Unknown => "unknown",
        }
    }
}

/// A country that has phone numbers, by the two letters of ISO 3166 (and `AC`, `TA`, `XK`, which have numbers but
/// no entry there).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country([u8; 2]);

impl Country {
    /// The United States.
    pub const US: Country = Country(*b"US");
    /// Canada.
    pub const CA: Country = Country(*b"CA");

    /// The country of two letters, capital or small.
    ///
    /// # Errors
    /// [`UnknownCountry`] if it has no phone numbers, or isn't there.
    pub fn parse(text: &str) -> Result<Country, UnknownCountry> {
        Region::from_code(text).ok().and_then(Country::from_region).ok_or(UnknownCountry)
    }

    /// The two capital letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("made of ASCII letters only")
    }

    /// The calling code of its numbers.
    pub fn calling_code(self) -> u16 {
        let code = PHONE_NUMBER_UTIL.get_country_code_for_region(self.region());
        code.and_then(|code| code.try_into().ok()).expect("made of known countries only")
    }

    fn from_region(region: Region) -> Option<Country> {
        PHONE_NUMBER_UTIL.get_country_code_for_region(region)?;
        Some(Country(region.as_region_str().as_bytes().try_into().ok()?))
    }

    fn region(self) -> Region {
        Region::from_code(self.as_str()).expect("two letters are a region")
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Not the two letters of a country with phone numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownCountry;

impl fmt::Display for UnknownCountry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Not a country with phone numbers; write its two letters from ISO 3166, such as SE.")
    }
}

impl std::error::Error for UnknownCountry {}

/// Why a text isn't a phone number we would send to. The sentences never repeat the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InvalidPhoneNumber {
    /// Nothing there.
    Empty,
    /// Characters, but no digit.
    NoDigits,
    /// A letter.
    Letters,
    /// A digit that isn't one of 0 to 9.
    OtherDigits,
    /// CR, LF, tab, NUL and the like.
    ControlCharacter,
    /// A character without a picture: zero-width, or one that turns the direction of writing.
    InvisibleCharacter,
    /// Another character that has no business in a number.
    UnexpectedCharacter(char),
    /// No country code, and no default country to take it from.
    NationalForm,
    /// No country has this code.
    UnknownCountryCode,
    /// Fewer digits than the numbers of the country.
    TooShort,
    /// More digits than the numbers of the country, or than E.164 allows.
    TooLong,
    /// A length between those of the country.
    WrongLength,
    /// The right length, but the area code or range is no one's.
    NotAssigned,
    /// An emergency number.
    Emergency,
    /// A short code.
    ShortNumber,
    /// A premium-rate number.
    Premium,
}

impl InvalidPhoneNumber {
    /// A stable lower-case word for the reason.
    pub const fn code(self) -> &'static str {
        match self {
            InvalidPhoneNumber::Empty => "empty",
            InvalidPhoneNumber::NoDigits => "no_digits",
            InvalidPhoneNumber::Letters => "letters",
            InvalidPhoneNumber::OtherDigits => "other_digits",
            InvalidPhoneNumber::ControlCharacter => "control_character",
            InvalidPhoneNumber::InvisibleCharacter => "invisible_character",
            InvalidPhoneNumber::UnexpectedCharacter(_) => "unexpected_character",
            InvalidPhoneNumber::NationalForm => "national_form",
            InvalidPhoneNumber::UnknownCountryCode => "unknown_country_code",
            InvalidPhoneNumber::TooShort => "too_short",
            InvalidPhoneNumber::TooLong => "too_long",
            InvalidPhoneNumber::WrongLength => "wrong_length",
            InvalidPhoneNumber::NotAssigned => "not_assigned",
            InvalidPhoneNumber::Emergency => "emergency_number",
            InvalidPhoneNumber::ShortNumber => "short_number",
            InvalidPhoneNumber::Premium => "premium_number",
        }
    }
}

impl fmt::Display for InvalidPhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InvalidPhoneNumber::Empty => "The phone number is empty.",
            InvalidPhoneNumber::NoDigits => "There are no digits in the phone number.",
            InvalidPhoneNumber::Letters => "The phone number has letters; write it in digits.",
            InvalidPhoneNumber::OtherDigits => "The phone number has digits other than 0 to 9.",
            InvalidPhoneNumber::ControlCharacter => {
                "The phone number has a control character, such as a line end."
            }
            InvalidPhoneNumber::InvisibleCharacter => {
                "The phone number has an invisible character; it may come from copying. Type it by hand."
            }
            InvalidPhoneNumber::UnexpectedCharacter(character) => {
                return write!(f, "The phone number has a {character:?} where none belongs.");
            }
            InvalidPhoneNumber::NationalForm => {
                "The phone number has no country code; write it with + and the country code first."
            }
            InvalidPhoneNumber::UnknownCountryCode => "No country has the country code of this phone number.",
            InvalidPhoneNumber::TooShort => "The phone number is too short for its country.",
            InvalidPhoneNumber::TooLong => "The phone number is too long for its country.",
            InvalidPhoneNumber::WrongLength => "The phone number has a length that its country doesn't use.",
            InvalidPhoneNumber::NotAssigned => "The area code or range of this phone number isn't assigned.",
            InvalidPhoneNumber::Emergency => "This is an emergency number.",
            InvalidPhoneNumber::ShortNumber => {
                "This is a short code, not the phone number of a person; write it with + and the country code."
            }
            InvalidPhoneNumber::Premium => "This is a premium-rate number.",
        })
    }
}

impl std::error::Error for InvalidPhoneNumber {}

/// What was written, reduced to an optional `+` and digits.
struct Written {
    octets: [u8; TEXT_OCTETS_MAX],
    length: usize,
}

impl Written {
    fn read(text: &str) -> Result<Written, InvalidPhoneNumber> {
        if text.is_empty() {
            return Err(InvalidPhoneNumber::Empty);
        }
        if text.len() > TEXT_OCTETS_MAX {
            return Err(InvalidPhoneNumber::TooLong);
        }
        let mut written = Written { octets: [0; TEXT_OCTETS_MAX], length: 0 };
        for character in text.chars() {
            match character {
                '0'..='9' => written.push(character as u8),
                '+' if written.length == 0 => written.push(b'+'),
                ' ' | '-' | '(' | ')' | '.' | '/' => {}
                // The same in the types of a typesetter: spaces, dashes, minus.
                '\u{A0}' | '\u{2009}' | '\u{202F}' | '\u{2010}'..='\u{2015}' | '\u{2212}' => {}
                character => return Err(why_refused(character)),
            }
        }
        if written.digits().is_empty() {
            return Err(InvalidPhoneNumber::NoDigits);
        }
        Ok(written)
    }

    fn push(&mut self, octet: u8) {
        self.octets[self.length] = octet;
        self.length += 1;
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.octets[..self.length]).expect("only + and digits are pushed")
    }

    fn international(&self) -> bool {
        self.text().starts_with('+')
    }

    fn digits(&self) -> &str {
        self.text().trim_start_matches('+')
    }
}

fn why_refused(character: char) -> InvalidPhoneNumber {
    match character {
        '\u{AD}'
        | '\u{61C}'
        | '\u{200B}'..='\u{200F}'
        | '\u{202A}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}'
        | '\u{FEFF}' => InvalidPhoneNumber::InvisibleCharacter,
        _ if character.is_control() => InvalidPhoneNumber::ControlCharacter,
        _ if character.is_numeric() => InvalidPhoneNumber::OtherDigits,
        _ if character.is_alphabetic() => InvalidPhoneNumber::Letters,
        _ => InvalidPhoneNumber::UnexpectedCharacter(character),
    }
}

/// The library's number as E.164, if it has a length of E.164.
fn in_e164(number: &rlibphonenumber::PhoneNumber) -> Option<PhoneNumber> {
    let zeros = match number.italian_leading_zero() {
        true => u32::try_from(number.number_of_leading_zeros()).ok()?,
        false => 0,
    };
    let significant = if number.national_number == 0 { 1 } else { number.national_number.ilog10() + 1 };
    let calling_code = u64::try_from(number.country_code).ok()?;
    let national_range = 10u64.checked_pow(zeros.checked_add(significant)?)?;
    PhoneNumber::from_digits(calling_code.checked_mul(national_range)?.checked_add(number.national_number)?)
}

/// Whether this, written down, is the same number again. One that is no one's may not be: of `+46 00…` each reading
/// takes a zero for the prefix that is dialled at home.
fn reads_as_itself(number: PhoneNumber, written: &Written) -> bool {
    let text = number.to_string();
    let again = || match PHONE_NUMBER_UTIL.parse(&text, None) {
        Ok(parsed) => in_e164(&parsed) == Some(number),
        // Of a country that does not exist nothing is taken for a prefix.
        Err(_) => true,
    };
    text == written.text() || again()
}

fn why_unread(written: &Written, error: &ParseError) -> InvalidPhoneNumber {
    match error {
        ParseError::InvalidCountryCode if written.international() => InvalidPhoneNumber::UnknownCountryCode,
        ParseError::InvalidCountryCode => {
            why_short(written.digits()).unwrap_or(InvalidPhoneNumber::NationalForm)
        }
        ParseError::TooLongNsn => InvalidPhoneNumber::TooLong,
        ParseError::NotANumber(_) | ParseError::TooShortAfterIdd | ParseError::TooShortNsn => {
            InvalidPhoneNumber::TooShort
        }
    }
}

fn why_unknown(written: &Written, parsed: &rlibphonenumber::PhoneNumber) -> InvalidPhoneNumber {
    if !written.international()
        && let Some(reason) = why_short(written.digits())
    {
        return reason;
    }
    match PHONE_NUMBER_UTIL.is_possible_number_with_reason(parsed) {
        Err(ValidationError::InvalidCountryCode) => InvalidPhoneNumber::UnknownCountryCode,
        Err(ValidationError::TooShort) | Ok(NumberLengthType::IsPossibleLocalOnly) => {
            // `+1 911` is a way of writing 911.
            let national = rlibphonenumber::get_national_significant_number_owned(parsed);
            match is_emergency(&national) {
                true => InvalidPhoneNumber::Emergency,
                false => InvalidPhoneNumber::TooShort,
            }
        }
        Err(ValidationError::TooLong) => InvalidPhoneNumber::TooLong,
        Err(ValidationError::InvalidLength) => InvalidPhoneNumber::WrongLength,
        Ok(NumberLengthType::IsPossible) => InvalidPhoneNumber::NotAssigned,
    }
}

fn why_short(digits: &str) -> Option<InvalidPhoneNumber> {
    if is_emergency(digits) {
        Some(InvalidPhoneNumber::Emergency)
    } else if digits.len() <= SHORT_NUMBER_DIGITS_MAX {
        Some(InvalidPhoneNumber::ShortNumber)
    } else {
        None
    }
}

/// Whether these digits call the police, an ambulance or the fire brigade somewhere in the world. Short numbers
/// are refused anyway; this gives the reason its name, and keeps the like from being a sender.
pub(crate) fn is_emergency(digits: &str) -> bool {
    // The two that mobile phones dial anywhere (3GPP TS 22.101 §10.1.1), then national ones by their digits.
    const EMERGENCY: [&str; 47] = [
        "112", "911", "000", "110", "118", "119", "999", //
        "100", "101", "102", "103", "104", "105", "106", "107", "108", "111", "113", "114", "115", "116",
        "117", "120", "122", "123", "125", "128", "131", "132", "133", "140", "144", "150", "155", "158",
        "166", "190", "191", "192", "193", "194", "195", "197", "198", "199", "995", "997",
    ];
    EMERGENCY.contains(&digits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn country(letters: &str) -> Option<Country> {
        (!letters.is_empty()).then(|| Country::parse(letters).unwrap())
    }

    #[test]
    fn a_written_number_becomes_e164() {
        #[track_caller]
        fn check(text: &str, default_country: &str, expected: &str, of: &str, kind: NumberKind) {
            for environment in [Environment::Live, Environment::Test] {
                let number = PhoneNumber::parse(text, country(default_country), environment).unwrap();
                assert_eq!(number.to_string(), expected);
                assert_eq!(number.country().map(|country| country.to_string()).unwrap_or_default(), of);
                assert_eq!(number.kind(), kind);
                assert_eq!(PhoneNumber::from_stored(expected), Some(number));
                // What was normalised once stays as it is.
                assert_eq!(PhoneNumber::parse(expected, None, environment), Ok(number));
            }
        }
        use NumberKind::*;
        check("+46701234567", "", "+46701234567", "SE", Mobile);
        check("+46 (0)70-123 45 67", "", "+46701234567", "SE", Mobile);
        check(" (+46) 70.123/45\u{A0}67 ", "", "+46701234567", "SE", Mobile);
        check("+46\u{2011}70\u{2013}123\u{202F}4567", "", "+46701234567", "SE", Mobile);
        check("070-123 45 67", "SE", "+46701234567", "SE", Mobile);
        check("0046701234567", "SE", "+46701234567", "SE", Mobile);
        check("011 46 70 123 45 67", "US", "+46701234567", "SE", Mobile);
        check("+46701234567", "US", "+46701234567", "SE", Mobile);
        check("(650) 253-0000", "US", "+16502530000", "US", FixedLineOrMobile);
        check("+14168101234", "", "+14168101234", "CA", FixedLineOrMobile);
        check("+18002345678", "", "+18002345678", "US", TollFree);
        // Argentina: the 15 of a mobile at home is a 9 abroad.
        check("011 15-3456-7890", "AR", "+5491134567890", "AR", Mobile);
        check("+54 9 11 3456 7890", "", "+5491134567890", "AR", Mobile);
        // Côte d'Ivoire: ten digits since 2021, the first one a zero.
        check("+225 07 12 34 56 78", "", "+2250712345678", "CI", Mobile);
        check("0712345678", "CI", "+2250712345678", "CI", Mobile);
        // Italy: the zero belongs to the number.
        check("+39 06 4890 1234", "", "+390648901234", "IT", FixedLine);
        check("06 4890 1234", "IT", "+390648901234", "IT", FixedLine);
        check("+39 312 345 6789", "", "+393123456789", "IT", Mobile);
        check("+39 06 6982 1234", "", "+390669821234", "VA", FixedLine);
        // Guernsey and Jersey live in +44, Kazakhstan in +7.
        check("+447781123456", "", "+447781123456", "GG", Mobile);
        check("07797 712345", "JE", "+447797712345", "JE", Mobile);
        check("+447400123456", "", "+447400123456", "GB", Mobile);
        check("+77710009998", "", "+77710009998", "KZ", Mobile);
        // Small countries.
        check("+6834002", "", "+6834002", "NU", FixedLine);
        check("55555", "FK", "+50055555", "FK", Mobile);
        // International freephone is of no country.
        check("+80012345678", "", "+80012345678", "", TollFree);
    }

    #[test]
    fn what_is_no_number_to_send_to_is_refused_with_the_reason() {
        #[track_caller]
        fn check(text: &str, default_country: &str, expected: InvalidPhoneNumber) {
            let got = PhoneNumber::parse(text, country(default_country), Environment::Live);
            assert_eq!(got, Err(expected), "{text:?}");
            assert!(expected.to_string().ends_with('.'));
        }
        use InvalidPhoneNumber::*;
        check("", "", Empty);
        check("  ", "", NoDigits);
        check("+", "SE", NoDigits);
        check("--", "SE", NoDigits);
        check("not a number", "SE", Letters);
        check("1-800-FLOWERS", "US", Letters);
        check("tel:+46701234567", "", Letters);
        check("+46701234567 ext. 5", "", Letters);
        check("+46701234567;ext=5", "", UnexpectedCharacter(';'));
        check("+46701234567,+46701234568", "", UnexpectedCharacter(','));
        check("46+701234567", "", UnexpectedCharacter('+'));
        check("++46701234567", "", UnexpectedCharacter('+'));
        check("\u{FF0B}46701234567", "", UnexpectedCharacter('\u{FF0B}'));
        check("*123#", "SE", UnexpectedCharacter('*'));
        check("+46701234567\u{301}", "", UnexpectedCharacter('\u{301}'));
        // Arabic-Indic, Devanagari and full-width digits.
        check("+٤٦٧٠١٢٣٤٥٦٧", "", OtherDigits);
        check("+४६701234567", "", OtherDigits);
        check("+４６701234567", "", OtherDigits);
        check("+4670123456²", "", OtherDigits);
        check("\u{202E}76543210764+", "", InvisibleCharacter);
        check("\u{202D}+46701234567\u{202C}", "", InvisibleCharacter);
        check("+4670\u{200B}1234567", "", InvisibleCharacter);
        check("+46701234567\r\n", "", ControlCharacter);
        check("+46701234567\r\nX-Header: 1", "", ControlCharacter);
        check("+4670123\u{0}4567", "", ControlCharacter);
        check("+46\t701234567", "", ControlCharacter);
        check("070-123 45 67", "", NationalForm);
        check("0046701234567", "", NationalForm);
        check("46701234567", "US", TooLong);
        check("+999123456789", "", UnknownCountryCode);
        check("+0701234567", "", UnknownCountryCode);
        check("+1", "", TooShort);
        check("+4670", "", TooShort);
        check("+1650253000", "", TooShort);
        check("+16502530000000", "", TooLong);
        check("+467012345678901234567890", "", TooLong);
        check(&"1".repeat(100_000), "US", TooLong);
        check(&"+".repeat(65), "US", TooLong);
        check("+15550002222", "", NotAssigned);
        check("+1 911 555 1234", "", NotAssigned);
        check("+46 99 999 99 99", "", NotAssigned);
        check("911", "US", Emergency);
        check("911", "", Emergency);
        check("112", "SE", Emergency);
        check("+1911", "", Emergency);
        check("+46 112", "", Emergency);
        check("72345", "US", ShortNumber);
        check("72345", "", ShortNumber);
        check("+1 900 234 5678", "", Premium);
        check("09001 234567", "DE", Premium);
    }

    #[test]
    fn the_test_environment_takes_numbers_that_are_no_ones() {
        #[track_caller]
        fn check(text: &str, default_country: &str, expected: Result<&str, InvalidPhoneNumber>) {
            let got = PhoneNumber::parse(text, country(default_country), Environment::Test);
            assert_eq!(got.map(|number| number.to_string()), expected.map(str::to_owned), "{text:?}");
        }
        use InvalidPhoneNumber::*;
        check("+15550002222", "", Ok("+15550002222"));
        check("+1 (555) 000-2222", "", Ok("+15550002222"));
        check("555 000 2222", "US", Ok("+15550002222"));
        check("+999123456789", "", Ok("+999123456789"));
        check("+4670 12", "", Err(TooShort));
        check("+46 99 999 99 99", "", Ok("+46999999999"));
        check("+123456789012345", "", Err(TooLong));
        check("+1234567890123456", "", Err(TooLong));
        check("+0123456789", "", Err(UnknownCountryCode));
        check("555", "US", Err(ShortNumber));
        check("911", "US", Err(Emergency));
        check("+19002345678", "", Err(Premium));
        check("+1555000222X", "", Err(Letters));
        check("5550002222", "", Err(NationalForm));
        let fictional = PhoneNumber::from_stored("+15550002222").unwrap();
        assert_eq!((fictional.country(), fictional.kind()), (Some(Country::US), NumberKind::Unknown));
        assert_eq!(PhoneNumber::from_stored("+999123456789").unwrap().country(), None);
    }

    #[test]
    fn a_masked_number_tells_little() {
        #[track_caller]
        fn check(number: &str, masked: &str) {
            let number = PhoneNumber::from_stored(number).unwrap();
            assert_eq!(number.masked().to_string(), masked);
            assert_eq!(format!("{number:?}"), masked);
        }
        check("+46701234512", "+4670•••••12");
        check("+16502530000", "+1650•••••00");
        check("+6834002", "+68•••02");
        check("+123456789012345", "+1234•••••••••45");
    }

    #[test]
    fn only_what_was_stored_is_read_back() {
        for text in [
            "",
            "+",
            "46701234567",
            "+0701234567",
            "+46 701234567",
            "+123456",
            "+1234567890123456",
            "+-4670123",
        ] {
            assert_eq!(PhoneNumber::from_stored(text), None, "{text:?}");
        }
        assert_eq!(PhoneNumber::from_digits(0), None);
        assert_eq!(PhoneNumber::from_digits(u64::MAX), None);
        assert_eq!(size_of::<Option<PhoneNumber>>(), 8);
    }

    #[test]
    fn a_calling_code_is_found_as_the_library_finds_it() {
        for code in PHONE_NUMBER_UTIL.get_supported_calling_codes() {
            let code = u16::try_from(code).unwrap();
            let number = PhoneNumber::from_stored(&format!("+{code}23456789")).unwrap();
            assert_eq!(number.calling_code(), code);
        }
        for region in PHONE_NUMBER_UTIL.get_supported_regions() {
            let country = Country::from_region(region).unwrap();
            assert_eq!(Country::parse(country.as_str()), Ok(country));
            assert!(country.calling_code() > 0);
        }
    }

    #[test]
    fn a_country_is_two_letters_that_have_phone_numbers() {
        assert_eq!(Country::parse("se").unwrap().to_string(), "SE");
        assert_eq!(Country::parse("SE").unwrap().calling_code(), 46);
        for text in ["", "S", "SWE", "001", "ZZ", "AA", "é", "S1"] {
            assert_eq!(Country::parse(text), Err(UnknownCountry), "{text:?}");
        }
    }

    #[test]
    fn the_librarys_examples_keep_their_country_and_their_kind() {
        for region in PHONE_NUMBER_UTIL.get_supported_regions() {
            let Ok(example) = PHONE_NUMBER_UTIL.get_example_number(region) else { continue };
            let number = PhoneNumber::parse(&example.to_string(), None, Environment::Live).unwrap();
            assert_eq!(number.to_string(), example.to_string());
            assert_eq!(number.country(), example.get_region_code().and_then(Country::from_region));
            assert_ne!(number.kind(), NumberKind::Unknown);
            let found = PHONE_NUMBER_UTIL.get_number_type(&number.for_library());
            assert_eq!(number.kind(), NumberKind::from_library(found), "{number}");
        }
    }

    proptest! {
        /// Numbers that share a place do not pass for each other.
        #[test]
        fn what_was_asked_lately_is_what_is_found_anew(digits in 1_000_000_u64..999_999_999_999_999, times in 1_u64..1_000) {
            for digits in [digits, digits + times * LATELY.len() as u64, digits] {
                let Some(number) = PhoneNumber::from_digits(digits) else { continue };
                let found = PHONE_NUMBER_UTIL.get_number_type(&number.for_library());
                prop_assert_eq!(number.kind(), NumberKind::from_library(found));
            }
        }

        #[test]
        fn parsing_never_panics(text: String, dialled in "[+0-9 ()./-]{0,30}", default_us: bool) {
            let default_country = default_us.then_some(Country::US);
            for text in [text, dialled] {
                let live = PhoneNumber::parse(&text, default_country, Environment::Live);
                let test = PhoneNumber::parse(&text, default_country, Environment::Test);
                // What live takes, test takes alike.
                if let Ok(number) = live {
                    prop_assert_eq!(test, Ok(number));
                }
                if let Ok(number) = test {
                    prop_assert_eq!(PhoneNumber::from_stored(&number.to_string()), Some(number));
                    number.country();
                    number.kind();
                }
            }
        }

        #[test]
        fn digits_survive_the_library(digits in 1_000_000u64..999_999_999_999_999) {
            let number = PhoneNumber::from_digits(digits).unwrap();
            prop_assert_eq!(in_e164(&number.for_library()), Some(number));
        }
    }
}
